//! `hrmc sweep`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::project::Project;
use super::run::{Common, TrainArguments};
use super::terminal::{counted, duration, grouped, heading, percent};
use super::train::{Subject, Trained, train, trained_parameters};
use super::{datasets, spec, terminal};
use crate::diagnostic::{Code, has_errors};
use crate::lower::Sizes;
use crate::span::Source;
use crate::syntax::parse_override;

const EXAMPLES: &str = "\
Examples:
  hrmc sweep specs/quickstart.hrm --set model.N=1,2,3 --set train.seed=0..2
  hrmc sweep specs/quickstart.hrm --set 'train.loss=stablemax,softmax' --steps 500
  hrmc sweep specs/quickstart.hrm --set 'train.optimizer.betas=(0.9, 0.95),(0.9, 0.99)' --dry-run";

/// Most combinations of one sweep.
const MOST_COMBINATIONS: usize = 10_000;

/// Train a spec once for every combination of values, and print one table.
///
/// Each `--set` names a path and its values: a list with commas, in which `A..B` stands for every whole number
/// from A to B, both included. A comma within parentheses belongs to a value. The last `--set` varies fastest.
/// Every combination gets a run folder of its own, and its `run.toml` records the values.
///
/// A combination that fails is reported, and the others go on; the exit code is 1 in the end. Ctrl-C saves the
/// combination that is under way and leaves out the rest.
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
    /// Dataset to use instead of that of the spec
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
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let project = Project::find()?;
    let axes = arguments.axes.iter().map(|text| Axis::read(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(axis) =
        axes.iter().enumerate().find(|(index, axis)| axes[..*index].iter().any(|it| it.path == axis.path))
    {
        return Err(Failure::message(format!(
            "`{}` is set twice; list its values in one `--set`",
            axis.1.path
        )));
    }
    let combinations = product(&axes)?;
    let source = spec::read(arguments.spec.as_deref(), &project)?;
    refuse_unknown_paths(&source, &combinations)?;
    let sweep = Sweep { arguments, project: &project, axes: &axes, source: &source };
    let rows = if arguments.dry_run {
        combinations.into_iter().map(|values| sweep.listed(values)).collect::<Result<Vec<_>, _>>()?
    } else {
        sweep.train(combinations)?
    };
    if arguments.common.json {
        let rows: Vec<_> = rows.iter().map(|row| sweep.row_to_json(row)).collect();
        terminal::print_json(&json!(rows))?;
    } else {
        terminal::print(sweep.table(&rows))?;
    }
    let failed = rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).count();
    if failed == 0 {
        return Ok(());
    }
    terminal::note(format_args!("{} failed", counted(failed, "combination")));
    Err(Failure::Reported)
}

/// A path and the values to try.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Axis {
    path: String,
    values: Vec<String>,
}

impl Axis {
    /// Reads `path=values`.
    fn read(text: &str) -> Result<Axis, Failure> {
        let Some((path, list)) = text.split_once('=') else {
            return Err(Failure::message(format!(
                "`--set {text}`: expected `path=values`; write it like `--set model.N=1,2,3`"
            )));
        };
        let path = path.trim().to_string();
        let mut values = Vec::new();
        for part in parts(list) {
            match range(part) {
                None if part.is_empty() => {
                    return Err(Failure::message(format!(
                        "`--set {text}`: there is no value between the commas"
                    )));
                }
                None => values.push(part.to_string()),
                Some((first, last)) if first > last => {
                    return Err(Failure::message(format!(
                        "`--set {text}`: the range `{part}` is empty; write the smaller number first"
                    )));
                }
                Some((first, last)) if last - first >= MOST_COMBINATIONS as u64 => {
                    return Err(too_many());
                }
                Some((first, last)) => values.extend((first..=last).map(|number| number.to_string())),
            }
        }
        Ok(Axis { path, values })
    }
}

/// Splits a list at the commas that stand outside of parentheses and strings.
fn parts(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut in_string, mut escaped) = (0, 0usize, false, false);
    for (at, character) in list.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list[start..].trim());
    parts
}

/// Reads `A..B`.
fn range(part: &str) -> Option<(u64, u64)> {
    let (first, last) = part.split_once("..")?;
    let number = |text: &str| text.trim().replace('_', "").parse().ok();
    Some((number(first)?, number(last)?))
}

/// Returns every combination of one value of each axis; the last axis varies fastest.
fn product(axes: &[Axis]) -> Result<Vec<Vec<String>>, Failure> {
    let mut combinations = vec![Vec::new()];
    for axis in axes {
        if combinations.len().saturating_mul(axis.values.len()) > MOST_COMBINATIONS {
            return Err(too_many());
        }
        combinations = combinations
            .into_iter()
            .flat_map(|begun| {
                axis.values.iter().map(move |value| {
                    let text = format!("{}={value}", axis.path);
                    begun.iter().cloned().chain([text]).collect::<Vec<String>>()
                })
            })
            .collect();
    }
    Ok(combinations)
}

fn too_many() -> Failure {
    Failure::message(format!(
        "the sweep has more than {} combinations; try fewer values",
        grouped(MOST_COMBINATIONS as u64)
    ))
}

/// Refuses values that do not follow the grammar and paths that name nothing, before anything is trained.
fn refuse_unknown_paths(source: &Source, combinations: &[Vec<String>]) -> Result<(), Failure> {
    for text in combinations.iter().flatten() {
        if let Err(rejected) = parse_override(text) {
            spec::report(&[(rejected.source, rejected.diagnostics)]);
            return Err(Failure::Reported);
        }
    }
    let first = combinations.first().expect("every axis has a value");
    let mut found = spec::examine(source.clone(), first).diagnostics;
    for (_, diagnostics) in &mut found {
        diagnostics.retain(|diagnostic| diagnostic.code == Code::UnknownPath);
    }
    if found.iter().any(|(_, diagnostics)| has_errors(diagnostics)) {
        spec::report(&found);
        return Err(Failure::Reported);
    }
    Ok(())
}

struct Sweep<'a> {
    arguments: &'a Arguments,
    project: &'a Project,
    axes: &'a [Axis],
    source: &'a Source,
}

/// One combination and what became of it.
struct Row {
    /// `path=value` for each axis.
    values: Vec<String>,
    outcome: Outcome,
}

/// What became of a combination.
enum Outcome {
    /// It was only listed; its parameters are known.
    Listed(u64),
    Trained(Box<Trained>),
    /// Why it could not be trained.
    Failed(String),
    /// Ctrl-C came before it began.
    LeftOut,
}

impl Sweep<'_> {
    /// Checks a combination without training it.
    fn listed(&self, values: Vec<String>) -> Result<Row, Failure> {
        let outcome = match spec::load(self.source.clone(), &values) {
            Ok(loaded) => {
                let puzzle_rows = datasets::puzzle_rows(&loaded.model, self.project)?.count;
                Outcome::Listed(trained_parameters(&loaded.model, Sizes { batch: 1, puzzle_rows }))
            }
            Err(failure) => Outcome::Failed(why(failure)?),
        };
        Ok(Row { values, outcome })
    }

    fn train(&self, combinations: Vec<Vec<String>>) -> Result<Vec<Row>, Failure> {
        let interrupt = Interrupt::listen()?;
        let total = combinations.len();
        let mut rows = Vec::new();
        for (index, values) in combinations.into_iter().enumerate() {
            if interrupt.is_requested() {
                rows.push(Row { values, outcome: Outcome::LeftOut });
                continue;
            }
            let title = format!("combination {} of {total}: {}", index + 1, values.join(" "));
            terminal::note(heading(&title));
            let arguments = TrainArguments {
                steps: self.arguments.steps,
                seed: None,
                overrides: values.clone(),
                resume: None,
                data: self.arguments.data.clone(),
                eval_limit: self.arguments.eval_limit,
            };
            let subject = Subject::Spec(self.source.clone());
            let outcome = match train(subject, &arguments, &self.arguments.common, self.project, &interrupt) {
                Ok(trained) => Outcome::Trained(Box::new(trained)),
                Err(failure) => Outcome::Failed(why(failure)?),
            };
            rows.push(Row { values, outcome });
        }
        if interrupt.is_requested() {
            let left_out = rows.iter().filter(|row| matches!(row.outcome, Outcome::LeftOut)).count();
            terminal::note(format_args!("stopped; {} left out", counted(left_out, "combination")));
        }
        Ok(rows)
    }

    /// Returns the value of each axis.
    fn axis_values<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = (&'r str, &'r str)> {
        self.axes
            .iter()
            .zip(&row.values)
            .map(|(axis, text)| (axis.path.as_str(), &text[axis.path.len() + 1..]))
    }

    fn row_to_json(&self, row: &Row) -> serde_json::Value {
        let values: serde_json::Map<String, serde_json::Value> =
            self.axis_values(row).map(|(path, value)| (path.to_string(), json!(value))).collect();
        match &row.outcome {
            Outcome::Listed(parameters) => {
                json!({ "status": "listed", "values": values, "parameters": parameters })
            }
            Outcome::LeftOut => json!({ "status": "left out", "values": values }),
            Outcome::Failed(why) => json!({ "status": "failed", "values": values, "error": why }),
            Outcome::Trained(trained) => {
                let means = trained.evaluation.as_ref().map(|evaluation| evaluation.metrics.means());
                json!({
                    "status": if trained.is_stopped() { "interrupted" } else { "trained" },
                    "values": values,
                    "parameters": trained.parameters,
                    "step": trained.step,
                    "best_exact_accuracy": trained.best,
                    "exact_accuracy": means.as_ref().and_then(|means| means.exact_accuracy),
                    "accuracy": means.as_ref().and_then(|means| means.accuracy),
                    "loss": means.as_ref().map(|means| means.loss),
                    "seconds": trained.elapsed_s,
                    "run": trained.folder,
                })
            }
        }
    }

    /// Returns the table: a row for each combination.
    fn table(&self, rows: &[Row]) -> String {
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
                Outcome::Listed(parameters) => {
                    line.push(grouped(*parameters));
                    String::new()
                }
                Outcome::Trained(trained) => {
                    line.extend(figures(trained));
                    let path = trained.folder.display();
                    if trained.is_stopped() { format!("{path} (interrupted)") } else { path.to_string() }
                }
                Outcome::Failed(why) => format!("failed: {why}"),
                Outcome::LeftOut => "left out".to_string(),
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
    let means = trained.evaluation.as_ref().map(|evaluation| evaluation.metrics.means());
    let share = |value: Option<f64>| value.map_or("-".to_string(), percent);
    [
        grouped(trained.parameters),
        grouped(trained.step),
        share(trained.best),
        share(means.as_ref().and_then(|means| means.exact_accuracy)),
        share(means.as_ref().and_then(|means| means.accuracy)),
        means.as_ref().map_or("-".to_string(), |means| format!("{:.4}", means.loss)),
        duration(trained.elapsed_s),
    ]
}

/// Returns why a combination failed, after saying it; only nobody reading ends the sweep.
fn why(failure: Failure) -> Result<String, Failure> {
    match failure {
        Failure::Message(message) => {
            terminal::error(&message);
            Ok(message)
        }
        Failure::Reported => Ok("the spec has an error, reported above".to_string()),
        Failure::OutputClosed => Err(Failure::OutputClosed),
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, parts, product};
    use crate::cli::failure::Failure;

    fn axis(text: &str) -> Axis {
        Axis::read(text).expect("it is right")
    }

    #[test]
    fn lists_and_ranges_are_values() {
        assert_eq!(axis("model.N=1,2 , 7").values, ["1", "2", "7"]);
        assert_eq!(axis("train.seed = 0..2, 1_0..11").values, ["0", "1", "2", "10", "11"]);
        assert_eq!(axis("train.seed = 0..2").path, "train.seed");
        assert_eq!(axis("train.ema=0.9").values, ["0.9"], "a number is no range");
    }

    #[test]
    fn commas_in_parentheses_and_strings_belong_to_a_value() {
        assert_eq!(parts("(0.9, 0.95),(1, 2)"), ["(0.9, 0.95)", "(1, 2)"]);
        assert_eq!(parts(r#""a,b","c\",d""#), [r#""a,b""#, r#""c\",d""#]);
    }

    #[test]
    fn the_last_axis_varies_fastest() {
        let combinations = product(&[axis("a=1,2"), axis("b=3..4")]).expect("they are few");
        assert_eq!(combinations, [["a=1", "b=3"], ["a=1", "b=4"], ["a=2", "b=3"], ["a=2", "b=4"]]);
    }

    #[test]
    fn values_that_cannot_be_read_are_refused() {
        for (text, part) in [
            ("model.N", "expected `path=values`"),
            ("model.N=1,,2", "no value between the commas"),
            ("model.N=", "no value between the commas"),
            ("model.N=3..1", "the range `3..1` is empty"),
            ("model.N=0..18446744073709551615", "more than 10,000 combinations"),
        ] {
            let Err(Failure::Message(message)) = Axis::read(text) else { panic!("`{text}` is wrong") };
            assert!(message.contains(part), "{message}");
        }
        let wide = axis("a=1..200");
        assert!(product(&[wide.clone(), Axis { path: "b".to_string(), ..wide }]).is_err());
    }
}
