//! `hrmc predict`.

use std::cell::RefCell;
use std::io::{self, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Failure, fail};
use super::interrupt::{Busy, Interrupt};
use super::progress::Progress;
use super::project::{Devices, Project};
use super::run_arguments::{self, AnswerArguments};
use super::terminal::{self, counted};
use crate::data::puzzle::written;
use crate::data::{PuzzleKind, Questions, Split, has_entry};
use crate::train::{AskedRow, Data, Error, RowAnswer, Run, Solver, Splits};

const EXAMPLES: &str = "\
Examples:
  hrmc predict runs/sudoku-001 puzzles.txt
  hrmc predict runs/sudoku-001 questions.csv -o answers.csv
  generate | hrmc predict runs/mine-001 - --mark-errors > answers.jsonl
  hrmc predict runs/sudoku-001 --data data/sudoku-hard --split test --limit 1000 -o answers.jsonl";

/// Answer many questions with a trained model.
///
/// FILE has typed puzzles, one on each line or row by row; or JSON lines (a text, a list of tokens, or
/// `{\"question\": …, \"answer\": …}`); or CSV with the column `question`, and perhaps `answer`; or an array `.npy` of
/// tokens. `-` reads standard input. Without FILE, the rows of a dataset are answered.
///
/// Answers come in the order of the questions, each as soon as those before it are there. A line of JSON has: `row`,
/// from 0; `answer`; `confidence`, the probability that the model gives to the whole answer; `q`, its own estimate of
/// being right; `segments`; `stopped_by`; `drift`, how far the state moved in the last segment; `settled`, whether that
/// is little; `valid`, whether the answer obeys the rules; and `right`, where that can be known.
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
    /// File for the answers, `.jsonl` or `.csv` [default: JSON lines to standard output]
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
    let writer =
        RefCell::new(AnswerWriter::create(arguments.output.as_deref(), kind, settles_below(&solver))?);
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
    let whole = solver.answer(kind, &mut read_next, &mut may_run, &mut |asked, answer| {
        *done.borrow_mut() += 1;
        if let Err(failure) = writer.borrow_mut().answer(asked, &answer) {
            fail_later(failure);
        }
    })?;
    progress.clear();
    let mut writer = writer.into_inner();
    if whole.is_continue() {
        writer.mark_rest()?;
    }
    writer.finish()?;
    let (answers, marked) = (writer.answers, writer.marked);
    if let Some(failure) = failed.into_inner() {
        return Err(failure);
    }
    let errors =
        if marked > 0 { format!(", and {} marked", counted(marked, "error")) } else { String::new() };
    if let Some(file) = &arguments.output {
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

/// Distance below which a state counts as settled where the spec names none.
const SETTLED: f32 = 0.01;

/// Returns the distance below which a state counts as settled.
fn settles_below(solver: &Solver) -> f32 {
    let model = solver.model();
    let of_policy = match model.halt {
        crate::ir::Halt::Residual { eps, .. } => Some(eps),
        _ => None,
    };
    model.inference().settle.or(of_policy).unwrap_or(SETTLED)
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

/// The forms of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerForm {
    JsonLines,
    Csv,
}

/// Columns of answers in CSV, and the keys of their lines in JSON.
const COLUMNS: [&str; 11] = [
    "row",
    "answer",
    "confidence",
    "q",
    "segments",
    "rollout",
    "stopped_by",
    "drift",
    "settled",
    "valid",
    "right",
];

/// Writes answers in the order of the rows.
struct AnswerWriter {
    /// `None` for standard output.
    file: Option<(PathBuf, Box<dyn Write>)>,
    form: AnswerForm,
    kind: PuzzleKind,
    settles_below: f32,
    /// Errors of questions behind one that is not answered yet.
    pending: Vec<(usize, String)>,
    answers: usize,
    marked: usize,
}

impl AnswerWriter {
    fn create(path: Option<&Path>, kind: PuzzleKind, settles_below: f32) -> Result<AnswerWriter, Failure> {
        let form = match path.map(|path| path.extension().and_then(|extension| extension.to_str())) {
            None | Some(Some("jsonl")) => AnswerForm::JsonLines,
            Some(Some("csv")) => AnswerForm::Csv,
            Some(_) => {
                return Err(Failure::message(format!(
                    "cannot tell the form of `{}` from its name; expected one that ends in `.jsonl` or `.csv`",
                    path.unwrap_or(Path::new("")).display()
                )));
            }
        };
        let file = path.map(|path| Ok::<_, Failure>((path.to_path_buf(), terminal::create_file(path)?)));
        let file = file.transpose()?;
        let (pending, answers, marked) = (Vec::new(), 0, 0);
        let mut writer = AnswerWriter { file, form, kind, settles_below, pending, answers, marked };
        if form == AnswerForm::Csv {
            writer.write(&format!("{},error\n", COLUMNS.join(",")))?;
        }
        Ok(writer)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.file {
            None => terminal::print(text),
            Some((path, file)) => {
                file.write_all(text.as_bytes()).map_err(|error| Failure::cannot_write(path, &error))
            }
        }
    }

    /// Keeps the error of a question for its place.
    fn mark(&mut self, row: usize, reason: String) {
        self.pending.push((row, reason));
    }

    /// Writes the errors of the questions before a row.
    fn mark_before(&mut self, row: usize) -> Result<(), Failure> {
        let later = self.pending.iter().position(|(marked, _)| *marked > row).unwrap_or(self.pending.len());
        for (row, reason) in self.pending.drain(..later).collect::<Vec<_>>() {
            self.marked += 1;
            let line = match self.form {
                AnswerForm::JsonLines => format!("{}\n", json!({ "row": row, "error": reason })),
                AnswerForm::Csv => {
                    let empty = ",".repeat(COLUMNS.len());
                    format!("{row}{empty}{}\n", csv_field(&reason))
                }
            };
            self.write(&line)?;
        }
        Ok(())
    }

    fn mark_rest(&mut self) -> Result<(), Failure> {
        self.mark_before(usize::MAX)
    }

    fn answer(&mut self, asked: &AskedRow, answer: &RowAnswer) -> Result<(), Failure> {
        self.mark_before(asked.row)?;
        if !answer.is_finite() {
            return Err(Failure::message(format!(
                "the model computes numbers that are not finite for row {}, so it has no answer; take another \
                 checkpoint (`--checkpoint`), or train again with a lower learning rate",
                asked.row
            )));
        }
        self.answers += 1;
        let shown = written(self.kind, &answer.tokens);
        let values: [Value; 11] = [
            json!(answer.row),
            shown.map_or_else(|| json!(answer.tokens), |text| json!(text)),
            json!(answer.confidence),
            json!(answer.q()),
            json!(answer.segments),
            json!(answer.rollout),
            json!(answer.stopped_by),
            json!(answer.drift),
            json!(answer.drift < self.settles_below),
            json!(answer.valid),
            json!(answer.is_right()),
        ];
        let line = match self.form {
            AnswerForm::JsonLines => {
                let pairs = COLUMNS.iter().zip(&values).map(|(key, value)| format!("\"{key}\": {value}"));
                format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(", "))
            }
            AnswerForm::Csv => {
                let field = |value: &Value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => csv_field(text),
                    Value::Array(tokens) => {
                        let words: Vec<String> = tokens.iter().map(Value::to_string).collect();
                        words.join(" ")
                    }
                    other => other.to_string(),
                };
                format!("{},\n", values.iter().map(field).collect::<Vec<_>>().join(","))
            }
        };
        self.write(&line)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.file {
            None => Ok(()),
            Some((path, file)) => file.flush().map_err(|error| Failure::cannot_write(path, &error)),
        }
    }
}

/// Returns a text as a field of CSV.
fn csv_field(text: &str) -> String {
    let is_plain = !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if is_plain { text.to_string() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
