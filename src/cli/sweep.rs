//! `hrmc sweep`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Stop, fail};
use super::interrupt::{Busy, Interrupt, TimeLimit};
use super::over_seeds::Spread;
use super::project::{Devices, Project};
use super::run_arguments::{Common, TrainArguments};
use super::terminal::{columns, counted, duration, grouped, heading, percent};
use super::train::{Reuse, Subject, Trained, train};
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
  hrmc sweep specs/quickstart.hrm --set 'train.optimizer.betas=(0.9, 0.95),(0.9, 0.99)' --dry-run

Exit codes:
  0    every combination is trained
  1    a combination failed, or another problem
  124  the time of `--max-time` was over before that; everything is saved
  129, 130, 143  stopped by SIGHUP, Ctrl-C (SIGINT) or SIGTERM before that; everything is saved";

/// Train a spec once for every combination of values, and print one table.
///
/// Each `--set` names a path and its values: a list with commas, in which `A..B` stands for every integer
/// from A to B, both included. A comma within parentheses belongs to a value. The last `--set` varies fastest.
/// Every combination gets a run folder of its own, and its `run.toml` records the values.
///
/// If seeds are among the values (`train.seed`), a second table has the mean of each figure over the seeds, its
/// standard deviation, and the interval that has the true mean with a probability of 95% (Student's t).
///
/// A combination that fails is reported, and the others still run. Ctrl-C saves the combination that is being trained
/// and leaves the rest out. The same command goes on where it was: what was begun is continued, and what was finished
/// is not trained again. It finds the runs by their resolved spec, overrides and data.
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
    #[arg(long, value_name = "TIME", value_parser = TimeLimit::parse, allow_hyphen_values = true)]
    max_time: Option<TimeLimit>,
    /// Dataset folder to use instead of the data of the spec
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Evaluate only the first examples of the test data, in place of those by `eval_share`; 0 for no evaluation
    #[arg(long, value_name = "N")]
    eval_limit: Option<usize>,
    /// Train every combination from the beginning, though the folder has a run of it
    #[arg(long)]
    new_runs: bool,
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
        interrupt.limit(limit.time)?;
    }
    let sweep = Sweep { arguments, project: &project, axes: &axes, source: &source, interrupt };
    let rows = if arguments.dry_run {
        combinations.into_iter().map(|values| sweep.listed(values)).collect::<Result<Vec<_>, _>>()?
    } else {
        sweep.train(combinations)?
    };
    let printed = if arguments.common.json {
        let each = rows.iter().map(|row| sweep.row_to_json(row));
        let seeds = sweep.over_seeds(&rows);
        let all: Vec<_> = each.chain(seeds.iter().map(OverSeeds::to_json)).collect();
        terminal::print_json(&json!(all))
    } else {
        terminal::print(sweep.table(&rows)).and_then(|()| terminal::print(sweep.table_over_seeds(&rows)))
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
                let puzzle_rows = PuzzleRows::of(&loaded, self.project.root())?.count;
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
                tensorboard: None,
            };
            let reuse = if self.arguments.new_runs { Reuse::Nothing } else { Reuse::Same };
            let subject = Subject::Spec(self.source.clone(), reuse);
            let common = &self.arguments.common;
            let outcome = match train(subject, &arguments, common, self.project, self.interrupt) {
                Ok(trained) => {
                    if trained.work.is_none() {
                        let folder = trained.folder.display();
                        terminal::note(format_args!("`{folder}` was finished before; not trained again"));
                    }
                    SweepOutcome::Trained(Box::new(trained))
                }
                Err(Failure::Stopped(stop)) => SweepOutcome::LeftOut(stop),
                Err(failure) => SweepOutcome::Failed(why(failure)?),
            };
            rows.push(SweepRow { values, outcome });
        }
        if self.interrupt.reason().is_some() {
            let left_out = rows.iter().filter(|row| matches!(row.outcome, SweepOutcome::LeftOut(_))).count();
            terminal::note(format_args!(
                "stopped; {} left out; the same command goes on from here",
                counted(left_out, "combination")
            ));
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
                let means = trained.evaluation.as_ref().map(|found| &found.means);
                json!({
                    "status": if trained.stopped.is_some() { "interrupted" } else { "trained" },
                    "stopped_by": trained.stopped.map(Stop::name),
                    "values": values,
                    "parameters": trained.parameters,
                    "was_finished": trained.work.is_none(),
                    "out_of_patience": trained.out_of_patience.is_some(),
                    "step": trained.step,
                    "best_exact_accuracy": trained.best,
                    "exact_accuracy": means.and_then(|means| means.exact_accuracy),
                    "accuracy": means.and_then(|means| means.accuracy),
                    "loss": means.map(|means| means.loss),
                    "seconds": trained.work.as_ref().map(|work| work.elapsed_s),
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
            cells.push((line, remark));
        }
        columns(&cells)
    }

    /// Returns what combinations that differ in their seed alone have in common; nothing unless there are several seeds.
    fn over_seeds(&self, rows: &[SweepRow]) -> Vec<OverSeeds> {
        let seeds = self.axes.iter().find(|axis| axis.path == SEED).map_or(0, |axis| axis.values.len());
        if seeds < 2 || self.arguments.dry_run {
            return Vec::new();
        }
        let mut groups: Vec<(AxisValues, Vec<&Trained>)> = Vec::new();
        for row in rows {
            // Half of a training says nothing about the whole.
            let trained = match &row.outcome {
                SweepOutcome::Trained(trained) if trained.stopped.is_none() => &**trained,
                _ => continue,
            };
            let values = self.axis_values(row).filter(|(path, _)| *path != SEED);
            let values: AxisValues =
                values.map(|(path, value)| (path.to_string(), value.to_string())).collect();
            match groups.iter_mut().find(|(others, _)| *others == values) {
                Some((_, group)) => group.push(trained),
                None => groups.push((values, vec![trained])),
            }
        }
        groups.into_iter().map(|(values, group)| OverSeeds::of(values, &group)).collect()
    }

    /// Returns the table over seeds: a row for each group and figure.
    fn table_over_seeds(&self, rows: &[SweepRow]) -> String {
        let groups = self.over_seeds(rows);
        let Some(first) = groups.first() else { return String::new() };
        let mut head: Vec<String> = first.values.iter().map(|(path, _)| path.clone()).collect();
        head.extend(["seeds", "figure", "mean", "deviation"].map(str::to_string));
        let mut cells = vec![(head, "95% interval".to_string())];
        for group in &groups {
            for (figure, spread) in FIGURES.iter().zip(group.spreads) {
                let Some(Spread { mean, deviation, interval }) = spread else { continue };
                let show = |value: f64| if figure.is_share { percent(value) } else { format!("{value:.4}") };
                let mut line: Vec<String> = group.values.iter().map(|(_, value)| value.clone()).collect();
                line.extend([group.seeds.to_string(), figure.title.to_string(), show(mean)]);
                line.push(deviation.map_or("-".to_string(), show));
                let interval = interval.map(|(low, high)| format!("{} to {}", show(low), show(high)));
                cells.push((line, interval.unwrap_or("-".to_string())));
            }
        }
        format!("\n{}", columns(&cells))
    }
}

/// The axis whose values are draws of one experiment.
const SEED: &str = "train.seed";

/// A figure of a trained combination.
struct Figure {
    title: &'static str,
    /// Name in results for scripts.
    key: &'static str,
    is_share: bool,
    of: fn(&Trained) -> Option<f64>,
}

const FIGURES: [Figure; 4] = [
    Figure { title: "best exact", key: "best_exact_accuracy", is_share: true, of: |trained| trained.best },
    Figure {
        title: "exact",
        key: "exact_accuracy",
        is_share: true,
        of: |trained| trained.evaluation.as_ref()?.means.exact_accuracy,
    },
    Figure {
        title: "tokens",
        key: "accuracy",
        is_share: true,
        of: |trained| trained.evaluation.as_ref()?.means.accuracy,
    },
    Figure {
        title: "loss",
        key: "loss",
        is_share: false,
        of: |trained| Some(trained.evaluation.as_ref()?.means.loss),
    },
];

/// Paths, and the value of each.
type AxisValues = Vec<(String, String)>;

/// Combinations that differ in their seed alone.
struct OverSeeds {
    /// The values of the other axes.
    values: AxisValues,
    seeds: usize,
    /// One for each of [`FIGURES`], where every combination has it.
    spreads: [Option<Spread>; FIGURES.len()],
}

impl OverSeeds {
    fn of(values: AxisValues, group: &[&Trained]) -> OverSeeds {
        let spreads = FIGURES.each_ref().map(|figure| {
            let found: Option<Vec<f64>> = group.iter().map(|trained| (figure.of)(trained)).collect();
            Spread::of(&found?)
        });
        OverSeeds { values, seeds: group.len(), spreads }
    }

    fn to_json(&self) -> serde_json::Value {
        let values: serde_json::Map<_, _> =
            self.values.iter().map(|(path, value)| (path.clone(), json!(value))).collect();
        let mut row = json!({ "status": "over seeds", "values": values, "seeds": self.seeds });
        for (figure, spread) in FIGURES.iter().zip(&self.spreads) {
            row[figure.key] = json!(spread);
        }
        row
    }
}

/// Returns the figures of a training, in the order of the head of the table.
fn figures(trained: &Trained) -> [String; 7] {
    let means = trained.evaluation.as_ref().map(|found| &found.means);
    let share = |value: Option<f64>| value.map_or("-".to_string(), percent);
    [
        grouped(trained.parameters),
        grouped(trained.step),
        share(trained.best),
        share(means.and_then(|means| means.exact_accuracy)),
        share(means.and_then(|means| means.accuracy)),
        means.map_or("-".to_string(), |means| format!("{:.4}", means.loss)),
        trained.work.as_ref().map_or("-".to_string(), |work| duration(work.elapsed_s)),
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
