//! `hrmc diff`.

use std::fmt::Write;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde_json::json;

use super::compile::default_batch;
use super::failure::Failure;
use super::project::{Devices, Project};
use super::terminal::{bytes, flops, grouped, heading};
use super::{spec, terminal};
use crate::census::{Census, CensusOptions, CostChange, FigureUnit};
use crate::lower::Sizes;
use crate::spec::{LineChange, Side, Spec, SpecDiff, ValueChange, is_equal, shown};
use crate::train::{PuzzleRows, Run};

const EXAMPLES: &str = "\
Examples:
  hrmc diff specs/sudoku.hrm specs/maze.hrm
  hrmc diff specs/sudoku.hrm specs/sudoku.hrm --set-b model.N=3   the cost of one edit
  hrmc diff runs/sudoku-001 specs/sudoku.hrm                      a run and the spec as it is now
  hrmc diff old.hrm new.hrm --batch 1 --json
  hrmc diff old.hrm new.hrm --exit-code > /dev/null || echo they differ";

/// Style of what only the first spec has.
const REMOVED: Style = AnsiColor::Red.on_default();
/// Style of what only the second spec has.
const ADDED: Style = AnsiColor::Green.on_default();

/// Compare two specs: their values, their networks, states and loop nests, and their cost.
///
/// Both specs are resolved first, so writing out a default makes no difference. Each value is written as
/// `--set PATH=VALUE` takes it, with `none` for what is absent. Costs are those of one
/// training and one evaluation segment, as `hrmc compile` shows them, each at the batch of its spec unless
/// `--batch` says otherwise. The exit code is 0 whether the specs differ or not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// First spec, or the folder of a run for its spec
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Second spec, or the folder of a run for its spec
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
    /// Exit with 1 if the specs mean different things
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
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let load =
        |path: &PathBuf, overrides: &[String]| spec::load(spec::read(Some(path), &project)?, overrides);
    let second_overrides = [arguments.overrides.as_slice(), &arguments.second_overrides].concat();
    let (first, second) =
        (load(&arguments.first, &arguments.overrides)?, load(&arguments.second, &second_overrides)?);
    for path in [&arguments.first, &arguments.second] {
        // Of what is no run, there are no weights.
        if let Some(warning) = Run::open(path).ok().and_then(|run| run.unusable_numbers()) {
            terminal::warning(&warning);
        }
    }
    let census = |spec: &Spec| -> Result<Census, Failure> {
        let model = spec.model();
        let puzzle_rows = PuzzleRows::of(spec, project.root())?.count;
        let batch = arguments.batch.unwrap_or_else(|| default_batch(model));
        Ok(Census::of(model, Sizes { batch, puzzle_rows }, CensusOptions::default()))
    };
    let difference =
        Difference { spec: first.diff(&second), cost: census(&first)?.changes(&census(&second)?) };
    let written = if arguments.json {
        let (first, second) = (&arguments.first, &arguments.second);
        terminal::print_json(&json!({
            "a": terminal::path_text(first),
            "b": terminal::path_text(second),
            "equal": difference.spec.is_empty(),
            "values": difference.spec.values,
            "networks": difference.spec.networks,
            "states": difference.spec.states,
            "loop_nest": difference.spec.loop_nest,
            "cost": difference.cost,
        }))
    } else {
        terminal::print(difference.to_text())
    };
    if arguments.exit_code && !difference.spec.is_empty() { Err(Failure::Reported) } else { written }
}

/// The difference of two specs.
struct Difference {
    spec: SpecDiff,
    /// Every figure of both, equal ones too.
    cost: Vec<CostChange>,
}

impl Difference {
    fn to_text(&self) -> String {
        if self.spec.is_empty() && self.cost.iter().all(|change| change.old == change.new) {
            return "the two specs mean the same\n".to_string();
        }
        let mut text = String::new();
        self.write_values(&mut text);
        for (title, lines) in [("networks", &self.spec.networks), ("states", &self.spec.states)] {
            if !is_equal(lines) {
                write_lines(&mut text, title, lines);
            }
        }
        write_lines(&mut text, "loop nest", &self.spec.loop_nest);
        self.write_cost(&mut text);
        text
    }

    fn write_values(&self, text: &mut String) {
        let _ = writeln!(text, "{}", heading("values"));
        if self.spec.values.is_empty() {
            let _ = writeln!(text, "  all equal");
        }
        let width = self.spec.values.iter().map(|change| change.path.len()).max().unwrap_or(0);
        for ValueChange { path, old, new } in &self.spec.values {
            let (old, new) = (shown(old.as_deref()), shown(new.as_deref()));
            let _ = writeln!(text, "  {path:<width$}  {REMOVED}{old}{REMOVED:#} -> {ADDED}{new}{ADDED:#}");
        }
    }

    fn write_cost(&self, text: &mut String) {
        let _ = writeln!(text, "\n{}", heading("cost"));
        for CostChange { name, unit, old, new } in &self.cost {
            let shown = |count: &Option<u64>| match (count, unit) {
                (None, _) => "-".to_string(),
                (Some(count), FigureUnit::Elements | FigureUnit::Rows) => grouped(*count),
                (Some(count), FigureUnit::Flops) => flops(*count),
                (Some(count), FigureUnit::Bytes) => bytes(*count),
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

/// Writes the lines of both under a title.
fn write_lines(text: &mut String, title: &str, lines: &[LineChange]) {
    let _ = writeln!(text, "\n{}", heading(title));
    if is_equal(lines) {
        let _ = writeln!(text, "  equal");
        return;
    }
    for LineChange { side, line } in lines {
        let _ = match side {
            Side::Both => writeln!(text, "    {line}"),
            Side::Old => writeln!(text, "  {REMOVED}- {line}{REMOVED:#}"),
            Side::New => writeln!(text, "  {ADDED}+ {line}{ADDED:#}"),
        };
    }
}
