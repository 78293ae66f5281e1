//! `hrmc sweep`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Stop, fail};
use super::interrupt::{Busy, Interrupt, TimeLimit};
use super::project::{Devices, Project};
use super::run_arguments::{Common, TrainArguments};
use super::terminal::{counted, duration, grouped, heading, percent};
use super::train::{Subject, Trained, train};
use super::{spec, terminal};
use crate::lower::Sizes;
use crate::lower::parameters::trained_parameters;
use crate::span::Source;
use crate::spec::{Axis, check_paths, combinations};
use crate::train::PuzzleRows;

const EXAMPLES: &str = "\
Examples:
  hrmc sweep specs/quickstart.hrm --set model.N=1,2,3 --set train.seed=0..2
  hrmc sweep specs/quickstart.hrm --set 'train.loss=stablemax,softmax' --steps 500
  hrmc sweep specs/quickstart.hrm --set 'train.optimizer.betas=(0.9, 0.95),(0.9, 0.99)' --dry-run";

/// Train a spec once for every combination of values, and print one table.
///
/// Each `--set` names a path and its values: a list with commas, in which `A..B` stands for every integer
/// from A to B, both included. A comma within parentheses belongs to a value. The last `--set` varies fastest.
/// Every combination gets a run folder of its own, and its `run.toml` records the values.
///
/// A combination that fails is reported, the others still run, and the exit code is 1. Ctrl-C saves the combination
/// that is being trained and leaves the rest out; the exit code is then 130 (143 after SIGTERM, 129 after SIGHUP, and 124
/// when the time of `--max-time` is over).
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Spec to train [default: that of hrmc.toml, else the built-in quickstart]
    spec: Option<PathBuf>,
    /// Values to try, as in `--set model.N=1,2,3` or `--set train.seed=0..2`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUES", required = true)]
    axes: Vec<String>,
    /// Stop every combination at this step; the schedule stays that of the spec
    #[arg(long, value_name = "N", value_parser = super::positive)]
    steps: Option<usize>,
    /// Save and end before this time is over, with exit code 124: 90s, 30m, 11h, 1h30m or 2d
    #[arg(long, value_name = "TIME", value_parser = TimeLimit::parse)]
    max_time: Option<TimeLimit>,
    /// Dataset folder to use instead of the data of the spec
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Evaluate only the first examples of the test data; 0 for no evaluation
    #[arg(long, value_name = "N")]
    eval_limit: Option<usize>,
    /// List the combinations and train nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs `hrmc sweep`.
///
/// # Errors
///
/// Returns a failure if the values cannot be read, or if a combination failed.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let axes = arguments.axes.iter().map(|text| Axis::parse(text)).collect::<Result<Vec<_>, _>>();
    let axes = axes.map_err(fail)?;
    let combinations = combinations(&axes).map_err(fail)?;
    let source = spec::read(arguments.spec.as_deref(), &project)?;
    check_paths(&source, &combinations)?;
    if let Some(limit) = &arguments.max_time {
        interrupt.limit(limit.time);
    }
    let sweep = Sweep { arguments, project: &project, axes: &axes, source: &source, interrupt };
    let rows = if arguments.dry_run {
        combinations.into_iter().map(|values| sweep.listed(values)).collect::<Result<Vec<_>, _>>()?
    } else {
        sweep.train(combinations)?
    };
    let printed = if arguments.common.json {
        let rows: Vec<_> = rows.iter().map(|row| sweep.row_to_json(row)).collect();
        terminal::print_json(&json!(rows))
    } else {
        terminal::print(sweep.table(&rows))
    };
    if let Some(stop) = rows.iter().find_map(SweepRow::stopped) {
        return Err(Failure::Stopped(stop));
    }
    printed?;
    let failed = rows.iter().filter(|row| matches!(row.outcome, SweepOutcome::Failed(_))).count();
    if failed == 0 {
        return Ok(());
    }
    terminal::note(format_args!("{} failed", counted(failed, "combination")));
    Err(Failure::Reported)
}

struct Sweep<'a> {
    arguments: &'a Arguments,
    project: &'a Project<'a>,
    axes: &'a [Axis],
    source: &'a Source,
    interrupt: &'a Interrupt,
}

/// One combination and its outcome.
struct SweepRow {
    /// `path=value` for each axis.
    values: Vec<String>,
    outcome: SweepOutcome,
}

/// The outcome of a combination.
enum SweepOutcome {
    /// It was only listed, with its number of parameters.
    Listed(u64),
    Trained(Box<Trained>),
    /// Why it could not be trained.
    Failed(String),
    /// The sweep was stopped before it began.
    LeftOut(Stop),
}

impl SweepRow {
    /// Returns why it was left out or not trained to its end, if it was not.
    fn stopped(&self) -> Option<Stop> {
        match &self.outcome {
            SweepOutcome::Trained(trained) => trained.stopped,
            SweepOutcome::LeftOut(stop) => Some(*stop),
            SweepOutcome::Listed(_) | SweepOutcome::Failed(_) => None,
        }
    }
}

impl Sweep<'_> {
    /// Checks a combination without training it.
    fn listed(&self, values: Vec<String>) -> Result<SweepRow, Failure> {
        let outcome = match spec::load(self.source.clone(), &values) {
            Ok(loaded) => {
                let puzzle_rows = PuzzleRows::of(loaded.model(), self.project.root())?.count;
                SweepOutcome::Listed(trained_parameters(&loaded.model, Sizes { batch: 1, puzzle_rows }))
            }
            Err(failure) => SweepOutcome::Failed(why(failure)?),
        };
        Ok(SweepRow { values, outcome })
    }

    fn train(&self, combinations: Vec<Vec<String>>) -> Result<Vec<SweepRow>, Failure> {
        let total = combinations.len();
        let mut rows = Vec::new();
        for (index, values) in combinations.into_iter().enumerate() {
            if let Some(stop) = self.interrupt.reason() {
                rows.push(SweepRow { values, outcome: SweepOutcome::LeftOut(stop) });
                continue;
            }
            self.interrupt.begin(Busy {
                next: "stopping as soon as this combination is ready to be trained".to_string(),
                cost: ", without a table".to_string(),
            });
            let title = format!("combination {} of {total}: {}", index + 1, values.join(" "));
            terminal::note(heading(&title));
            let arguments = TrainArguments {
                steps: self.arguments.steps,
                seed: None,
                overrides: values.clone(),
                resume: None,
                max_time: None,
                data: self.arguments.data.clone(),
                eval_limit: self.arguments.eval_limit,
            };
            let subject = Subject::Spec(self.source.clone());
            let common = &self.arguments.common;
            let outcome = match train(subject, &arguments, common, self.project, self.interrupt) {
                Ok(trained) => SweepOutcome::Trained(Box::new(trained)),
                Err(Failure::Stopped(stop)) => SweepOutcome::LeftOut(stop),
                Err(failure) => SweepOutcome::Failed(why(failure)?),
            };
            rows.push(SweepRow { values, outcome });
        }
        if self.interrupt.reason().is_some() {
            let left_out = rows.iter().filter(|row| matches!(row.outcome, SweepOutcome::LeftOut(_))).count();
            terminal::note(format_args!("stopped; {} left out", counted(left_out, "combination")));
        }
        Ok(rows)
    }

    /// Returns the value of each axis.
    fn axis_values<'r>(&'r self, row: &'r SweepRow) -> impl Iterator<Item = (&'r str, &'r str)> {
        self.axes
            .iter()
            .zip(&row.values)
            .map(|(axis, text)| (axis.path.as_str(), &text[axis.path.len() + 1..]))
    }

    fn row_to_json(&self, row: &SweepRow) -> serde_json::Value {
        let values: serde_json::Map<String, serde_json::Value> =
            self.axis_values(row).map(|(path, value)| (path.to_string(), json!(value))).collect();
        match &row.outcome {
            SweepOutcome::Listed(parameters) => {
                json!({ "status": "listed", "values": values, "parameters": parameters })
            }
            SweepOutcome::LeftOut(stop) => {
                json!({ "status": "left out", "values": values, "stopped_by": stop.name() })
            }
            SweepOutcome::Failed(why) => json!({ "status": "failed", "values": values, "error": why }),
            SweepOutcome::Trained(trained) => {
                let means = trained.outcome.evaluation.as_ref().map(|evaluation| evaluation.metrics.means());
                json!({
                    "status": if trained.stopped.is_some() { "interrupted" } else { "trained" },
                    "stopped_by": trained.stopped.map(Stop::name),
                    "values": values,
                    "parameters": trained.parameters,
                    "step": trained.outcome.step,
                    "best_exact_accuracy": trained.outcome.best,
                    "exact_accuracy": means.as_ref().and_then(|means| means.exact_accuracy),
                    "accuracy": means.as_ref().and_then(|means| means.accuracy),
                    "loss": means.as_ref().map(|means| means.loss),
                    "seconds": trained.elapsed_s,
                    "run": terminal::path_text(&trained.folder),
                })
            }
        }
    }

    /// Returns the table: a row for each combination.
    fn table(&self, rows: &[SweepRow]) -> String {
        let mut head: Vec<String> = self.axes.iter().map(|axis| axis.path.clone()).collect();
        let numbers: &[&str] = if self.arguments.dry_run {
            &["parameters"]
        } else {
            &["parameters", "steps", "best exact", "exact", "tokens", "loss", "time"]
        };
        head.extend(numbers.iter().map(|name| name.to_string()));
        let mut cells: Vec<(Vec<String>, String)> = vec![(head, String::new())];
        for row in rows {
            let mut line: Vec<String> = self.axis_values(row).map(|(_, value)| value.to_string()).collect();
            let remark = match &row.outcome {
                SweepOutcome::Listed(parameters) => {
                    line.push(grouped(*parameters));
                    String::new()
                }
                SweepOutcome::Trained(trained) => {
                    line.extend(figures(trained));
                    let path = trained.folder.display();
                    if trained.stopped.is_some() { format!("{path} (interrupted)") } else { path.to_string() }
                }
                SweepOutcome::Failed(why) => format!("failed: {why}"),
                SweepOutcome::LeftOut(_) => "left out".to_string(),
            };
            line.resize(self.axes.len() + numbers.len(), String::new());
            cells.push((line, remark));
        }
        let mut text = String::new();
        let widths: Vec<usize> = (0..self.axes.len() + numbers.len())
            .map(|column| cells.iter().map(|(line, _)| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        for (index, (line, remark)) in cells.iter().enumerate() {
            let mut shown = String::new();
            for (cell, &width) in line.iter().zip(&widths) {
                let _ = write!(shown, "{cell:>width$}  ");
            }
            shown.push_str(remark);
            let shown = shown.trim_end();
            let _ = match index {
                0 => writeln!(text, "{}", heading(shown)),
                _ => writeln!(text, "{shown}"),
            };
        }
        text
    }
}

/// Returns the figures of a training, in the order of the head of the table.
fn figures(trained: &Trained) -> [String; 7] {
    let means = trained.outcome.evaluation.as_ref().map(|evaluation| evaluation.metrics.means());
    let share = |value: Option<f64>| value.map_or("-".to_string(), percent);
    [
        grouped(trained.parameters),
        grouped(trained.outcome.step),
        share(trained.outcome.best),
        share(means.as_ref().and_then(|means| means.exact_accuracy)),
        share(means.as_ref().and_then(|means| means.accuracy)),
        means.as_ref().map_or("-".to_string(), |means| format!("{:.4}", means.loss)),
        duration(trained.elapsed_s),
    ]
}

/// Reports why a combination failed, and returns the reason. Only what is no failure of the combination ends the sweep.
fn why(failure: Failure) -> Result<String, Failure> {
    match failure {
        Failure::Message(message) => {
            terminal::error(&message);
            Ok(message)
        }
        Failure::Reported => Ok("the spec has an error, reported above".to_string()),
        ended @ (Failure::OutputClosed | Failure::Stopped(_)) => Err(ended),
    }
}
