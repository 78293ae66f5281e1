//! `hrmc diff`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::census::Census;
use super::compile::default_batch;
use super::failure::Failure;
use super::project::Project;
use super::terminal::{bytes, flops, grouped, heading};
use super::values::{Blocks, Values, one_block};
use super::{datasets, spec, terminal};
use crate::ir::Model;
use crate::lower::Sizes;

const EXAMPLES: &str = "\
Examples:
  hrmc diff specs/sudoku.hrm specs/maze.hrm
  hrmc diff specs/sudoku.hrm specs/sudoku.hrm --set-b model.N=3   what one edit costs
  hrmc diff old.hrm new.hrm --batch 1 --json
  hrmc diff old.hrm new.hrm --exit-code > /dev/null || echo they differ";

/// Style of what only the first spec has.
const REMOVED: Style = AnsiColor::Red.on_default();
/// Style of what only the second spec has.
const ADDED: Style = AnsiColor::Green.on_default();

/// Say how two specs differ: in their values, in their loop nests, and in what they cost.
///
/// Both specs are resolved first, so a default that is written out is no difference. Costs are those of one
/// training and one evaluation segment, as `hrmc compile` shows them, each at the batch of its spec unless
/// `--batch` says otherwise. The exit code is 0 whether the specs differ or not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// First spec
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Second spec
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Replace a value of both specs, as in `--set train.batch=64`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Replace a value of the second spec alone, after `--set`; may be repeated
    #[arg(long = "set-b", value_name = "PATH=VALUE")]
    second_overrides: Vec<String>,
    /// Rows in a batch for both [default: that of each spec's `train` block, else 1]
    #[arg(long, value_name = "N", value_parser = super::rows)]
    batch: Option<usize>,
    /// Exit with 1 if the specs differ in a value or in their loop nests
    #[arg(long)]
    exit_code: bool,
    /// Write the difference as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc diff`.
///
/// # Errors
///
/// Returns a failure if a spec cannot be read or has an error, or if `--exit-code` finds a difference.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let project = Project::find()?;
    let load = |path: &PathBuf, overrides: &[String]| {
        spec::load(spec::read(Some(path), &project)?, overrides).map(|loaded| loaded.model)
    };
    let second_overrides = [arguments.overrides.as_slice(), &arguments.second_overrides].concat();
    let (first, second) =
        (load(&arguments.first, &arguments.overrides)?, load(&arguments.second, &second_overrides)?);
    let census = |model: &Model| -> Result<Census, Failure> {
        let puzzle_rows = datasets::puzzle_rows(model, &project)?.count;
        let batch = arguments.batch.unwrap_or_else(|| default_batch(model));
        Ok(Census::take(model, Sizes { batch, puzzle_rows }, None))
    };
    let blocks = if one_block(&first) && one_block(&second) { Blocks::Once } else { Blocks::PerNetwork };
    let (a, b) = (Values::of(&first, blocks), Values::of(&second, blocks));
    let difference = Difference {
        values: value_changes(&a, &b),
        loop_nest: line_changes(&a.segment, &b.segment),
        cost: cost_changes(&census(&first)?, &census(&second)?),
    };
    if arguments.json {
        let (first, second) = (&arguments.first, &arguments.second);
        terminal::print_json(&json!({
            "a": first,
            "b": second,
            "equal": difference.is_empty(),
            "values": difference.values,
            "loop_nest": difference.loop_nest,
            "cost": difference.cost,
        }))?;
    } else {
        terminal::print(difference.to_text())?;
    }
    if arguments.exit_code && !difference.is_empty() { Err(Failure::Reported) } else { Ok(()) }
}

/// How two specs differ.
struct Difference {
    values: Vec<ValueChange>,
    /// Every line of both loop nests.
    loop_nest: Vec<LineChange>,
    /// Every figure of both, equal ones too.
    cost: Vec<CostChange>,
}

/// A path whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ValueChange {
    path: String,
    /// Absent where only the second spec has the path.
    old: Option<String>,
    /// Absent where only the first spec has the path.
    new: Option<String>,
}

/// Which of two texts a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Both,
    Old,
    New,
}

/// A line of a loop nest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LineChange {
    side: Side,
    line: String,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Elements,
    Flops,
    Bytes,
    Rows,
}

/// A figure of both specs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CostChange {
    name: String,
    unit: Unit,
    /// Absent where the first spec has no such thing.
    old: Option<u64>,
    /// Absent where the second spec has no such thing.
    new: Option<u64>,
}

fn value_changes(a: &Values, b: &Values) -> Vec<ValueChange> {
    let value = |values: &Values, path: &str| {
        values.values.iter().find(|entry| entry.path == path).map(|entry| entry.value.clone())
    };
    let mut seen = BTreeSet::new();
    let paths = a.values.iter().chain(&b.values).map(|entry| &entry.path);
    paths
        .filter(|path| seen.insert(path.as_str()))
        .map(|path| ValueChange { path: path.clone(), old: value(a, path), new: value(b, path) })
        .filter(|change| change.old != change.new)
        .collect()
}

/// Compares two texts by their longest common subsequence of lines.
fn line_changes(a: &[String], b: &[String]) -> Vec<LineChange> {
    // `common[i][j]` is the length of the longest common subsequence of `a[i..]` and `b[j..]`.
    let mut common = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] =
                if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut changes = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let (side, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            i += 1;
            j += 1;
            (Side::Both, &a[i - 1])
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            (Side::Old, &a[i - 1])
        } else {
            j += 1;
            (Side::New, &b[j - 1])
        };
        changes.push(LineChange { side, line: line.clone() });
    }
    changes
}

fn cost_changes(a: &Census, b: &Census) -> Vec<CostChange> {
    let mut changes = Vec::new();
    let mut add = |name: String, unit: Unit, old: Option<u64>, new: Option<u64>| {
        // Zero stands for an absent part, as in the census.
        if old.is_some_and(|count| count > 0) || new.is_some_and(|count| count > 0) {
            changes.push(CostChange { name, unit, old, new });
        }
    };
    let network = |census: &Census, name: &str| {
        census.parameters.networks.iter().find(|network| network.name == name).map(|it| it.parameters)
    };
    let mut seen = BTreeSet::new();
    for one in a.parameters.networks.iter().chain(&b.parameters.networks) {
        if seen.insert(&one.name) {
            let name = format!("parameters of network {}", one.name);
            add(name, Unit::Elements, network(a, &one.name), network(b, &one.name));
        }
    }
    let parts = |census: &Census| {
        let parameters = &census.parameters;
        [
            ("token embedding", Unit::Elements, parameters.token_embedding),
            ("position embedding", Unit::Elements, parameters.position_embedding),
            ("puzzle table", Unit::Elements, parameters.puzzle_table),
            ("token head", Unit::Elements, parameters.token_head),
            ("q head", Unit::Elements, parameters.q_head),
            ("all parameters", Unit::Elements, parameters.total),
            ("batch", Unit::Rows, census.batch as u64),
        ]
    };
    let training = |census: &Census| {
        census.train.as_ref().map(|train| [train.program.flops, train.kept_bytes, train.program.memory.peak])
    };
    let evaluation = |census: &Census| {
        [
            ("work of an evaluation segment", Unit::Flops, census.evaluate.flops),
            ("peak memory of evaluation", Unit::Bytes, census.evaluate.memory.peak),
        ]
    };
    for ((name, unit, old), (_, _, new)) in parts(a).into_iter().zip(parts(b)) {
        add(name.to_string(), unit, Some(old), Some(new));
    }
    let (old, new) = (training(a), training(b));
    for (index, (name, unit)) in [
        ("work of a training segment", Unit::Flops),
        ("activations kept", Unit::Bytes),
        ("peak memory of training", Unit::Bytes),
    ]
    .into_iter()
    .enumerate()
    {
        let figure = |figures: Option<[u64; 3]>| figures.map(|figures| figures[index]);
        add(name.to_string(), unit, figure(old), figure(new));
    }
    for ((name, unit, old), (_, _, new)) in evaluation(a).into_iter().zip(evaluation(b)) {
        add(name.to_string(), unit, Some(old), Some(new));
    }
    changes
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.loop_nest.iter().all(|change| change.side == Side::Both)
    }

    fn to_text(&self) -> String {
        if self.is_empty() && self.cost.iter().all(|change| change.old == change.new) {
            return "the two specs mean the same\n".to_string();
        }
        let mut text = String::new();
        self.write_values(&mut text);
        self.write_loop_nest(&mut text);
        self.write_cost(&mut text);
        text
    }

    fn write_values(&self, text: &mut String) {
        let _ = writeln!(text, "{}", heading("values"));
        if self.values.is_empty() {
            let _ = writeln!(text, "  all equal");
        }
        let width = self.values.iter().map(|change| change.path.len()).max().unwrap_or(0);
        for ValueChange { path, old, new } in &self.values {
            let shown = |value: &Option<String>| value.clone().unwrap_or("(none)".to_string());
            let (old, new) = (shown(old), shown(new));
            let _ = writeln!(text, "  {path:<width$}  {REMOVED}{old}{REMOVED:#} -> {ADDED}{new}{ADDED:#}");
        }
    }

    fn write_loop_nest(&self, text: &mut String) {
        let _ = writeln!(text, "\n{}", heading("loop nest"));
        if self.loop_nest.iter().all(|change| change.side == Side::Both) {
            let _ = writeln!(text, "  equal");
            return;
        }
        for LineChange { side, line } in &self.loop_nest {
            let _ = match side {
                Side::Both => writeln!(text, "    {line}"),
                Side::Old => writeln!(text, "  {REMOVED}- {line}{REMOVED:#}"),
                Side::New => writeln!(text, "  {ADDED}+ {line}{ADDED:#}"),
            };
        }
    }

    fn write_cost(&self, text: &mut String) {
        let _ = writeln!(text, "\n{}", heading("cost"));
        for CostChange { name, unit, old, new } in &self.cost {
            let shown = |count: &Option<u64>| match (count, unit) {
                (None, _) => "-".to_string(),
                (Some(count), Unit::Elements | Unit::Rows) => grouped(*count),
                (Some(count), Unit::Flops) => flops(*count),
                (Some(count), Unit::Bytes) => bytes(*count),
            };
            let change = match (old, new) {
                (Some(old), Some(new)) if old == new => "equal".to_string(),
                (Some(old), Some(new)) if *old > 0 => format!("x {:.3}", *new as f64 / *old as f64),
                _ => String::new(),
            };
            let line = format!("  {name:<30}{:>15} -> {:>15}  {change}", shown(old), shown(new));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineChange, Side, line_changes};

    #[test]
    fn lines_keep_their_order_and_equal_ones_stand_once() {
        let lines = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let changes = line_changes(&lines("a b c d"), &lines("a x c d e"));
        let found: Vec<(Side, &str)> =
            changes.iter().map(|LineChange { side, line }| (*side, line.as_str())).collect();
        assert_eq!(
            found,
            [
                (Side::Both, "a"),
                (Side::Old, "b"),
                (Side::New, "x"),
                (Side::Both, "c"),
                (Side::Both, "d"),
                (Side::New, "e")
            ]
        );
    }

    #[test]
    fn a_text_that_is_empty_differs_in_every_line() {
        let changes = line_changes(&[], &["a".to_string()]);
        assert_eq!(changes, [LineChange { side: Side::New, line: "a".to_string() }]);
        assert_eq!(line_changes(&[], &[]), []);
    }
}
