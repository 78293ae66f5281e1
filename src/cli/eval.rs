//! `hrmc eval`.

#![expect(clippy::disallowed_methods, reason = "the user is told how long it took")]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::data_show::how_found;
use super::eval_report::{self, SettingOutcome};
use super::failure::{Failure, Stop, fail};
use super::interrupt::{Busy, Interrupt};
use super::predict::SplitName;
use super::progress::Progress;
use super::project::{Devices, Project};
use super::run_arguments::AnswerArguments;
use super::terminal::{counted, grouped};
use super::trace::{RowsToTrace, TraceOutput};
use super::{data_check, run_arguments, terminal, trace};
use crate::data::arc::{AnsweredCopy, Vote, VoteOutcome, questions};
use crate::data::{Dataset, IdentifierNames, Leaks, PuzzleKind, Split, find_leaks};
use crate::ir::Model;
use crate::lower::{Program, Sizes};
use crate::measures::{JudgedRow, Measures, RightBy, judge_row};
use crate::pipeline::Compiled;
use crate::train::{AskedRow, Data, EvaluationProgress, EvaluationRequest, RowAnswer, Run, Splits, rule};

const EXAMPLES: &str = "\
Examples:
  hrmc eval runs/quickstart-001
  hrmc eval runs/sudoku-001 --data data/sudoku-hard --limit 1000
  hrmc eval runs/sudoku-001 --segments 1,2,4,8,16,32 --chart segments.svg
  hrmc eval runs/sudoku-001 --rollouts 1,4,16 --noise 0.5 --json
  hrmc eval runs/sudoku-001 --set model.infer.settle=0.01
  hrmc eval runs/arc-001 --copies 300 --submission submission.json";

/// Evaluate a trained run on held-out puzzles.
///
/// Answers every puzzle of the test data and reports how many answers are right in every token (exact accuracy) and by
/// the rules of the puzzle, what the model's own estimates are worth, and what an answer costs. `infer` in the spec says
/// how answers are computed. By default every puzzle runs for the largest number of segments; with `halt residual` it
/// stops when its state has settled. A puzzle that stops makes room for the next one.
///
/// Of ARC, the answers to all copies of a task are mapped back and voted on.
///
/// `--segments` and `--rollouts` take lists, and give a table and a chart of accuracy against computing.
///
/// Ctrl-C ends it after the segment that is under way, without a result. The exit code is then 130; after SIGTERM it is
/// 143, and after SIGHUP 129.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder of the run
    run: PathBuf,
    /// Dataset folder to use instead of the data of the run; only one of its splits is read
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Split to evaluate
    #[arg(long, value_name = "SPLIT", value_enum, default_value = "test")]
    split: SplitName,
    /// Evaluate only the first examples
    #[arg(long, value_name = "N", value_parser = super::positive)]
    limit: Option<usize>,
    /// Copies of each task of ARC that vote, besides the task itself [default: all that the dataset has]
    #[arg(long, value_name = "N")]
    copies: Option<usize>,
    /// File for two attempts at each task of ARC, in the form that the competition takes
    #[arg(long, value_name = "FILE")]
    submission: Option<PathBuf>,
    /// Print a line for each task of ARC: votes of the best answers, and the place of the right one
    #[arg(long)]
    tasks: bool,
    /// Most segments of a puzzle; several give a row of the table each
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::positive)]
    segments: Vec<usize>,
    /// Attempts on each puzzle, of which the best counts; several give a row of the table each
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::positive)]
    rollouts: Vec<usize>,
    /// Noise on the initial states of every attempt but the first [default: that of the spec]
    #[arg(long, value_name = "STD")]
    noise: Option<f32>,
    /// Show what the model does on the first N puzzles, after every update of every state, instead of evaluating
    #[arg(long, value_name = "N", value_parser = super::positive)]
    #[arg(conflicts_with_all = ["segments", "rollouts", "noise", "chart", "copies", "submission", "tasks", "limit"])]
    trace: Option<usize>,
    /// File for the trace, `.html` for a page or `.json`
    #[arg(short, long, value_name = "FILE", requires = "trace")]
    output: Option<PathBuf>,
    /// File for a chart of accuracy against computing, in SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[command(flatten)]
    answering: AnswerArguments,
    /// Write the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc eval`.
///
/// # Errors
///
/// Returns a failure if there is a problem with the run, its data or the memory.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
    if arguments.trace.is_none() {
        interrupt.begin(Busy {
            next: "stopping before the next segment; there will be no result".to_string(),
            cost: String::new(),
        });
    }
    let project = Project::find(devices)?;
    let run = run_arguments::open(&arguments.run, &arguments.answering.overrides)?;
    arguments.check_lists(run.spec().model())?;
    let split = Split::from(arguments.split);
    let splits = Splits::Only(split);
    let data = match &arguments.data {
        Some(folder) => Data::open_splits(run.spec(), folder, splits)?,
        None => run.splits(project.root(), splits)?,
    };
    data.check_fit(run.spec())?;
    arguments.check_arc(&data, split)?;
    if arguments.data.is_some() {
        run_arguments::check_identifiers(&run, &data, &project)?;
    }
    let is_changed = run.changed(&data).contains(&split);
    say_what_misleads(&run, &data, split, is_changed && arguments.data.is_none())?;
    // Data that is generated, and the training split itself, need not be had once more.
    let own = Some(data.train()).filter(|train| arguments.data.is_none() && train.examples() > 0);
    let own = own.filter(|_| !run.changed(&data).contains(&Split::Train)).cloned();
    let trained_on = TrainedOn::find(&run, own, data.of_split(split), &project);
    // Who asks for the training split knows it.
    if split == Split::Test || arguments.data.is_some() {
        trained_on.say(&run);
    }
    if let Some(count) = arguments.trace {
        return trace_rows(arguments, &run, data.of_split(split), count, &project);
    }
    let settings = arguments.settings(run.spec().model());
    let is_single = settings.len() == 1;
    let mut outcomes = Vec::new();
    for setting in settings {
        let other = match setting.is_empty() {
            true => None,
            false => {
                let overrides = [arguments.answering.overrides.clone(), setting].concat();
                Some(run_arguments::open(&arguments.run, &overrides)?)
            }
        };
        let run = other.as_ref().unwrap_or(&run);
        match evaluate(arguments, run, &data, split, &project, interrupt)? {
            Evaluated::Whole(outcome) => outcomes.push(*outcome),
            Evaluated::Stopped { examples, stop } => {
                if arguments.json {
                    let mut result = describe(arguments, run, &data, is_changed, examples);
                    result["trained_on"] = trained_on.to_json();
                    result["metrics"] = json!(null);
                    result["stopped_by"] = json!(stop.name());
                    terminal::print_json(&result)?;
                }
                terminal::note(format_args!(
                    "stopped after {}; there is no result",
                    counted(examples, "example")
                ));
                return Err(Failure::Stopped(stop));
            }
        }
    }
    if let (Some(file), Some(vote)) = (&arguments.submission, &outcomes[0].vote) {
        terminal::write_file(file, &format!("{}\n", vote.submission()))?;
        terminal::note(format_args!(
            "wrote attempts at {} to `{}`",
            counted(vote.tasks.len(), "task"),
            file.display()
        ));
    }
    if let Some(file) = &arguments.chart {
        terminal::write_file(file, &eval_report::chart(&outcomes).to_svg(720, 440))?;
        terminal::note(format_args!("wrote the chart to `{}`", file.display()));
    }
    if arguments.json {
        let mut result = describe(arguments, &run, &data, is_changed, outcomes[0].examples);
        result["trained_on"] = trained_on.to_json();
        if is_single {
            let outcome = outcomes.remove(0);
            result["metrics"] = json!(outcome.means);
            result["report"] = json!(outcome.report);
            result["cost"] = outcome.cost_json();
            result["arc"] = json!(outcome.vote.as_ref().map(eval_report::vote_json));
        } else {
            result["settings"] = outcomes.iter().map(SettingOutcome::to_json).collect();
        }
        return terminal::print_json(&result);
    }
    match &outcomes[..] {
        [outcome] => {
            let table = outcome.vote.as_ref().filter(|_| arguments.tasks).map(VoteOutcome::table);
            terminal::print(format!("{}{}", eval_report::text(outcome), table.unwrap_or_default()))
        }
        outcomes => terminal::print(eval_report::table(outcomes)),
    }
}

impl Arguments {
    /// Returns what each row of the table replaces in the spec; one row that replaces nothing if none are asked for.
    fn settings(&self, model: &Model) -> Vec<Vec<String>> {
        let segments = self.segments.iter().map(|count| vec![format!("model.infer.segments={count}")]);
        let segments: Vec<Vec<String>> =
            if self.segments.is_empty() { vec![vec![]] } else { segments.collect() };
        let noise = self.noise.map(|noise| format!("model.infer.noise={noise}"));
        let has_rollouts = model.inference().rollouts.is_some();
        let rollouts = self.rollouts.iter().map(|&count| match count {
            1 if has_rollouts => {
                vec!["model.infer.rollouts=1".to_string(), "model.infer.noise=none".to_string()]
            }
            1 => vec![],
            _ => {
                [Some(format!("model.infer.rollouts={count}")), noise.clone()].into_iter().flatten().collect()
            }
        });
        let mut rollouts: Vec<Vec<String>> = rollouts.collect();
        if rollouts.is_empty() {
            rollouts.push(noise.into_iter().collect());
        }
        let both =
            |rollouts: &Vec<String>, segments: &Vec<String>| [segments.clone(), rollouts.clone()].concat();
        rollouts
            .iter()
            .flat_map(|rollouts| segments.iter().map(move |segments| both(rollouts, segments)))
            .collect()
    }

    /// Refuses lists that say one thing twice, options that need another one, and a chart of another kind of file.
    fn check_lists(&self, model: &Model) -> Result<(), Failure> {
        for (option, list) in [("--segments", &self.segments), ("--rollouts", &self.rollouts)] {
            if let Some(twice) = list.iter().enumerate().find(|(at, value)| list[..*at].contains(value)) {
                return Err(Failure::message(format!("`{option}` has {} twice", twice.1)));
            }
        }
        let has_rollouts = model.inference().rollouts.is_some();
        let several = self.rollouts.iter().find(|&&count| count > 1);
        match (several, self.noise) {
            (Some(count), None) if !has_rollouts => Err(Failure::message(format!(
                "{count} attempts on a puzzle differ by their noise, and the spec names none; add `--noise STD`, for example \
                 `--noise 0.5`"
            ))),
            (None, Some(_)) if !has_rollouts || !self.rollouts.is_empty() => Err(Failure::message(
                "`--noise` is for several attempts on a puzzle; add `--rollouts N`, for example `--rollouts 4`",
            )),
            _ => match &self.chart {
                Some(file) if file.extension().is_none_or(|end| !end.eq_ignore_ascii_case("svg")) => {
                    Err(Failure::message(format!(
                        "cannot tell the form of `{}` from its name; expected one that ends in `.svg`",
                        file.display()
                    )))
                }
                _ => Ok(()),
            },
        }
    }

    /// Refuses what only tasks of ARC have, and more copies than there are.
    fn check_arc(&self, data: &Data, split: Split) -> Result<(), Failure> {
        let dataset = data.of_split(split);
        let wanted = [
            ("--copies", self.copies.is_some()),
            ("--submission", self.submission.is_some()),
            ("--tasks", self.tasks),
        ];
        let asked = wanted.iter().find(|(_, is_given)| *is_given);
        if let (Some((option, _)), true) = (asked, dataset.kind() != PuzzleKind::Arc) {
            return Err(Failure::message(format!(
                "`{option}` is for tasks of ARC, and the rows of {} are of the kind `{}`",
                data.name(),
                dataset.kind().family()
            )));
        }
        if let (Some((option, _)), Split::Train) = (asked, split) {
            return Err(Failure::message(format!(
                "`{option}` is about the test split: only its questions are voted on; leave out `--split train`"
            )));
        }
        let most = (0..dataset.groups()).map(|group| dataset.puzzles_of(group).len() - 1).max().unwrap_or(0);
        match self.copies {
            Some(copies) if copies > most => {
                let more = match data.makes_copies() {
                    true => format!("or train with more (`augment = copies({copies})`)"),
                    false => format!("or build it with more (`hrmc data arc --copies {copies}`)"),
                };
                Err(Failure::message(format!(
                    "{} has at most {} of each task; ask for no more with `--copies`, {more}",
                    data.name(),
                    if most == 1 { "1 copy".to_string() } else { format!("{most} copies") },
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Shows or writes what the model does on the first rows.
fn trace_rows(
    arguments: &Arguments,
    run: &Run,
    dataset: &Dataset,
    count: usize,
    project: &Project<'_>,
) -> Result<(), Failure> {
    let output = TraceOutput::of(arguments.output.as_deref(), arguments.json)?;
    let rows = (0..count.min(dataset.examples())).map(|row| (AskedRow::of(dataset, row), Some(row)));
    let asked = RowsToTrace { kind: dataset.kind(), rows: rows.collect() };
    let load = || arguments.answering.solver(run, project, 1);
    trace::trace(run, arguments.answering.checkpoint_name(), &asked, load, &output)
}

/// A vote over the answers to the copies of tasks.
struct ArcVote {
    vote: Vote,
    /// Names of the puzzle identifiers.
    names: IdentifierNames,
    /// The first answer that cannot be counted.
    failed: Option<Failure>,
}

impl ArcVote {
    /// Begins a vote on tasks of ARC whose names are known.
    fn of(data: &Data, split: Split) -> Result<Option<ArcVote>, Failure> {
        let dataset = data.of_split(split);
        // Training grids lie anywhere on their canvas, and are no questions of the task.
        if dataset.kind() != PuzzleKind::Arc || split == Split::Train {
            return Ok(None);
        }
        let Some(names) = data.identifier_names()? else { return Ok(None) };
        let questions = questions(dataset, &names).map_err(fail)?;
        Ok(Some(ArcVote { vote: Vote::new(questions).map_err(fail)?, names, failed: None }))
    }

    fn add(&mut self, asked: &AskedRow, answer: &RowAnswer) {
        let name = self.names.get(asked.puzzle).unwrap_or_default();
        let q_halt = answer.q_halt.map(f64::from);
        let answered = AnsweredCopy { name: &name, question: &asked.tokens, answer: &answer.tokens, q_halt };
        if let Err(error) = self.vote.add(answered) {
            self.failed.get_or_insert_with(|| fail(error));
        }
    }

    fn finish(self) -> Result<VoteOutcome, Failure> {
        match self.failed {
            Some(failure) => Err(failure),
            None => Ok(self.vote.finish()),
        }
    }
}

/// Which of the evaluated rows a run was trained on.
enum TrainedOn {
    Known(Leaks),
    /// Why it is not known.
    Unknown(String),
}

impl TrainedOn {
    /// Looks for rows in the training split of a run, which is read unless it is `own`.
    fn find(run: &Run, own: Option<Arc<Dataset>>, rows: &Dataset, project: &Project<'_>) -> TrainedOn {
        let train = own.map_or_else(|| run.training_rows(project.root(), MOST_TRAINING_BYTES), Ok);
        match train {
            Ok(train) => TrainedOn::Known(find_leaks(&train, rows)),
            Err(reason) => TrainedOn::Unknown(reason),
        }
    }

    fn say(&self, run: &Run) {
        match self {
            TrainedOn::Known(leaks) if leaks.count > 0 => terminal::warning(&format!(
                "`{}` was trained on {} of these {} ({}), whose accuracy shows memory",
                run.path().display(),
                grouped(leaks.count as u64),
                counted(leaks.of, "row"),
                how_found(leaks),
            )),
            TrainedOn::Known(_) => {}
            TrainedOn::Unknown(reason) => terminal::note(format_args!(
                "note: it is not known whether `{}` was trained on any of these rows: {reason}",
                run.path().display()
            )),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            TrainedOn::Known(Leaks { count, of, equal, groups, of_groups, .. }) => json!({
                "rows": count, "of": of, "equal": equal, "groups": groups, "of_groups": of_groups,
            }),
            TrainedOn::Unknown(reason) => json!({ "unknown": reason }),
        }
    }
}

/// Training data that is looked through beside an evaluation has at most so many bytes.
const MOST_TRAINING_BYTES: u64 = 1 << 30;

/// How an evaluation ended.
enum Evaluated {
    Whole(Box<SettingOutcome>),
    Stopped { examples: usize, stop: Stop },
}

/// Evaluates with the settings of a run.
fn evaluate(
    arguments: &Arguments,
    run: &Run,
    data: &Data,
    split: Split,
    project: &Project<'_>,
    interrupt: &Interrupt,
) -> Result<Evaluated, Failure> {
    let model = run.spec().model();
    let train = model.train.as_ref().expect("a run has a spec with a `train` block");
    let dataset = data.of_split(split);
    let request = EvaluationRequest {
        limit: arguments.limit,
        copies: arguments.copies,
        ..EvaluationRequest::default()
    };
    let examples = request.rows(dataset).len();
    let batch = arguments.answering.batch(run, examples);
    let mut solver = arguments.answering.solver(run, project, examples)?;
    let begun = Instant::now();
    let mut progress = Progress::new("evaluating", 0, examples as u64);
    let mut done = 0;
    let mut watch = |at: EvaluationProgress| {
        if at.examples < at.total {
            progress.show(at.examples as u64, String::new);
        }
        done = at.examples;
        if interrupt.reason().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let rule = rule(model, dataset.kind());
    let right_by = if rule.is_some() { RightBy::Rules } else { RightBy::Label };
    let mut measures = Measures::new(right_by, examples);
    let mut passes = 0;
    let mut vote = ArcVote::of(data, split)?;
    let mut take = |asked: &AskedRow, answer: &RowAnswer| {
        passes += u64::from(answer.passes);
        if let Some(vote) = &mut vote {
            vote.add(asked, answer);
        }
        let judged = judge_row(rule, &asked.tokens, &answer.tokens, &asked.labels);
        measures.add(&JudgedRow {
            segments: answer.segments,
            q_halt: answer.q_halt.map(f64::from),
            confidence: Some(answer.confidence),
            drift: Some(f64::from(answer.drift)),
            rating: dataset.rating(asked.row),
            ..judged
        });
    };
    let evaluation = solver.evaluate_watched(dataset, request, &mut watch, &mut take)?;
    progress.clear();
    let Some(evaluation) = evaluation else {
        let stop = interrupt.reason().expect("only a signal stops an evaluation");
        return Ok(Evaluated::Stopped { examples: done, stop });
    };
    let sizes = Sizes { batch, puzzle_rows: data.puzzle_rows(model) };
    let averaged = train.ema.is_some();
    let of_batch = Compiled::of(model, Program::Evaluate { averaged }, sizes).flops();
    Ok(Evaluated::Whole(Box::new(SettingOutcome {
        inference: model.inference(),
        examples: evaluation.examples,
        split,
        means: evaluation.means(),
        report: measures.report(),
        passes,
        flops_of_pass: of_batch as f64 / batch as f64,
        seconds: begun.elapsed().as_secs_f64(),
        vote: vote.map(ArcVote::finish).transpose()?,
    })))
}

/// Returns what was evaluated.
fn describe(
    arguments: &Arguments,
    run: &Run,
    data: &Data,
    is_changed: bool,
    examples: usize,
) -> serde_json::Value {
    json!({
        "run": terminal::path_text(&arguments.run),
        "data": data.name().trim_matches(|c| c == '`'),
        "split": Split::from(arguments.split).name(),
        "is_test_data_of_run": (!run.manifest().test_data_sha256.is_empty()).then_some(!is_changed),
        "examples": examples,
        "stopped_by": null,
    })
}

/// Warns about data that misleads, and about puzzles that are not those of the run though nobody asked for others.
fn say_what_misleads(run: &Run, data: &Data, split: Split, is_changed: bool) -> Result<(), Failure> {
    let dataset = data.of_split(split);
    if !dataset.has_labels() && dataset.kind() != PuzzleKind::Arc {
        let why = data.findings().first().map_or("it has no labels", |finding| &finding.message);
        return Err(Failure::message(format!("there is nothing to evaluate in {}: {why}", data.name())));
    }
    data_check::warn(data);
    if is_changed {
        terminal::warning(&format!(
            "the {split} puzzles of {} have changed since `{}` began: the figures are not those of its training, and \
             cannot be compared with them; bring the old ones back, or name other data with `--data DIR`",
            data.name(),
            run.path().display()
        ));
    }
    Ok(())
}
