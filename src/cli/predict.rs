//! `hrmc predict`.

use std::cell::RefCell;
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Failure, fail};
use super::interrupt::{Busy, Interrupt};
use super::predict_output::AnswerWriter;
use super::progress::Progress;
use super::project::{Devices, Project};
use super::run_arguments::{self, AnswerArguments};
use super::terminal::{self, counted};
use crate::data::{PuzzleKind, Questions, Split, has_entry};
use crate::train::{AskedRow, Data, Error, Run, Splits};

const EXAMPLES: &str = "\
Examples:
  hrmc predict runs/sudoku-001 puzzles.txt
  hrmc predict runs/sudoku-001 questions.csv -o answers.csv
  generate | hrmc predict runs/mine-001 - --mark-errors > answers.jsonl
  hrmc predict runs/sudoku-001 --data data/sudoku-hard --split test --limit 1000 -o answers.jsonl";

/// Answer many questions with a trained model.
///
/// FILE has typed puzzles, one on each line or row by row; or JSON lines (a text, a list of tokens, or
/// `{"question": …, "answer": …}`); or CSV with the column `question`, and perhaps `answer`; or an array `.npy` of
/// tokens. `-` reads puzzles or JSON lines from standard input. Without FILE, the rows of a dataset are answered.
///
/// Answers come in the order of the questions, each as soon as those before it are there. A line of JSON has: `row`,
/// from 0; `answer`; `confidence`, the probability that the model gives to the whole answer (of ARC, to its grid and
/// the end around it); `q`, its own estimate of being right; `segments`; `stopped_by`; `drift`, how far the state moved
/// in the last segment; `settled`, whether that is little; `valid`, whether the answer obeys the rules; and `right`,
/// where that can be known.
///
/// An array `.npy` has the tokens of the answers alone, `[rows, S]`. With `--mark-errors`, a row of it that has no
/// answer is -1 throughout, and standard error says why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder of the run
    run: PathBuf,
    /// File with questions, or `-` for standard input
    #[arg(conflicts_with = "data")]
    file: Option<PathBuf>,
    /// Dataset folder with the questions [default: the data of the run]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Split of the dataset
    #[arg(long, value_name = "SPLIT", value_enum, default_value = "test", conflicts_with = "file")]
    split: SplitName,
    /// File for the answers, `.jsonl`, `.csv` or `.npy` [default: JSON lines to standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Answer only the first questions
    #[arg(long, value_name = "N", value_parser = super::positive)]
    limit: Option<usize>,
    /// Go on behind a question that cannot be read, and write the error in place of its answer
    #[arg(long)]
    mark_errors: bool,
    #[command(flatten)]
    answering: AnswerArguments,
}

/// A split of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SplitName {
    /// Training rows
    Train,
    /// Held-out rows
    Test,
}

impl From<SplitName> for Split {
    fn from(name: SplitName) -> Split {
        match name {
            SplitName::Train => Split::Train,
            SplitName::Test => Split::Test,
        }
    }
}

/// Runs `hrmc predict`.
///
/// # Errors
///
/// Returns a failure if there is a problem with the run, the questions or the memory.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
    interrupt.begin(Busy {
        next: "stopping before the next segment; the answers so far stay".to_string(),
        cost: String::new(),
    });
    let project = Project::find(devices)?;
    let run = run_arguments::open(&arguments.run, &arguments.answering.overrides)?;
    let mut source = QuestionSource::open(arguments, &run, &project)?;
    let kind = source.kind();
    let most = source.rows().unwrap_or(usize::MAX).min(arguments.limit.unwrap_or(usize::MAX));
    let mut solver = arguments.answering.solver(&run, &project, most)?;
    let output = arguments.output.as_deref();
    let writer = RefCell::new(AnswerWriter::create(output, arguments.mark_errors, kind, &solver)?);
    let failed: RefCell<Option<Failure>> = RefCell::new(None);
    let fail_later = |failure: Failure| {
        failed.borrow_mut().get_or_insert(failure);
    };
    let mut progress = Progress::new("answering", 0, most as u64);
    let mut next = 0;
    let mut read_next = || -> Result<Option<AskedRow>, Error> {
        loop {
            if next >= most || failed.borrow().is_some() {
                return Ok(None);
            }
            let row = next;
            next += 1;
            match source.next(row) {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(asked))) => return Ok(Some(asked)),
                Ok(Some(Err(reason))) if arguments.mark_errors => writer.borrow_mut().mark(row, reason),
                Ok(Some(Err(reason))) => {
                    fail_later(Failure::message(format!(
                        "{}: {reason}; mend it, or go on behind such questions with `--mark-errors`",
                        source.name()
                    )));
                }
                Err(failure) => fail_later(failure),
            }
        }
    };
    let done = RefCell::new(0);
    let mut may_run = || {
        if most < usize::MAX {
            progress.show(*done.borrow(), String::new);
        }
        let stops = interrupt.reason().is_some() || failed.borrow().is_some();
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let answered = solver.answer(kind, &mut read_next, &mut may_run, &mut |asked, answer| {
        *done.borrow_mut() += 1;
        if let Err(failure) = writer.borrow_mut().answer(asked, &answer) {
            fail_later(failure);
        }
    });
    progress.clear();
    let mut writer = writer.into_inner();
    if answered.as_ref().is_ok_and(ControlFlow::is_continue) {
        writer.mark_rest()?;
    }
    let (answers, marked) = (writer.answers, writer.marked);
    // Whatever ended the work, the answers so far make a whole file.
    let finished = writer.finish();
    let whole = answered?;
    if let Some(failure) = failed.into_inner() {
        return Err(failure);
    }
    finished?;
    let errors =
        if marked > 0 { format!(", and {} marked", counted(marked, "error")) } else { String::new() };
    if let Some(file) = output {
        terminal::note(format_args!("wrote {}{errors} to `{}`", counted(answers, "answer"), file.display()));
    } else if marked > 0 {
        terminal::note(format_args!("{}{errors}", counted(answers, "answer")));
    }
    match interrupt.reason() {
        Some(stop) if whole.is_break() => {
            terminal::note(format_args!("stopped before the end, after {}", counted(answers, "answer")));
            Err(Failure::Stopped(stop))
        }
        _ => Ok(()),
    }
}

/// Where questions come from.
enum QuestionSource {
    /// A split of a dataset.
    Data(Data, Split),
    /// A file, or standard input.
    Questions(Questions, PuzzleKind),
}

impl QuestionSource {
    fn open(arguments: &Arguments, run: &Run, project: &Project<'_>) -> Result<QuestionSource, Failure> {
        let split = Split::from(arguments.split);
        let splits = Splits::Only(split);
        let folder = arguments
            .file
            .as_ref()
            .filter(|file| ["train", "test"].iter().any(|split| has_entry(file, split)));
        if let Some(file) = arguments.file.as_ref().filter(|_| folder.is_none()) {
            let kind = run.kind(project.root());
            let questions = match file == Path::new("-") {
                true => Questions::of_text(
                    Path::new("standard input"),
                    kind,
                    Box::new(BufReader::new(io::stdin())),
                ),
                false => Questions::open(file, kind),
            };
            return Ok(QuestionSource::Questions(questions.map_err(fail)?, kind));
        }
        let data = match arguments.data.as_ref().or(folder) {
            Some(folder) => Data::open_splits(run.spec(), folder, splits)?,
            None => run.splits(project.root(), splits)?,
        };
        data.check_fit(run.spec())?;
        if arguments.data.is_some() || folder.is_some() {
            run_arguments::check_identifiers(run, &data, project)?;
        }
        Ok(QuestionSource::Data(data, split))
    }

    fn kind(&self) -> PuzzleKind {
        match self {
            QuestionSource::Data(data, split) => data.of_split(*split).kind(),
            QuestionSource::Questions(_, kind) => *kind,
        }
    }

    /// Returns the number of questions, if it is known.
    fn rows(&self) -> Option<usize> {
        match self {
            QuestionSource::Data(data, split) => Some(data.of_split(*split).examples()),
            QuestionSource::Questions(..) => None,
        }
    }

    fn name(&self) -> String {
        match self {
            QuestionSource::Data(data, _) => data.name().to_string(),
            QuestionSource::Questions(questions, _) => format!("`{}`", questions.file().display()),
        }
    }

    /// Returns the next question, which is number `row`; the inner error is about it alone.
    fn next(&mut self, row: usize) -> Result<Option<Result<AskedRow, String>>, Failure> {
        match self {
            QuestionSource::Data(data, split) => {
                let dataset = data.of_split(*split);
                Ok((row < dataset.examples()).then(|| Ok(AskedRow::of(dataset, row))))
            }
            QuestionSource::Questions(questions, _) => {
                let question = questions.next_question().map_err(fail)?;
                Ok(question.map(|question| {
                    question.map(|found| AskedRow {
                        row,
                        tokens: found.tokens,
                        labels: found.labels,
                        puzzle: 0,
                    })
                }))
            }
        }
    }
}
