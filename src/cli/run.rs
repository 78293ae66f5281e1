//! `hrmc run`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};

use super::failure::Failure;
use super::project::{Devices, Project};
use super::{solve, spec, train};
use crate::train::{Checkpoint, Run};

const EXAMPLES: &str = "\
Examples:
  hrmc run --train                                        train the built-in 6x6 Sudoku
  hrmc run specs/sudoku-small.hrm --train --steps 500     stop after 500 steps
  hrmc run specs/sudoku.hrm --train --set train.batch=64 --seed 7
  hrmc run --train --resume runs/quickstart-001           continue a run where it stopped
  hrmc run runs/quickstart-001 --puzzle my.txt            solve a puzzle
  hrmc run --puzzle - < my.txt                            the same with the newest run";

/// Train a model, or solve a puzzle with a trained one.
///
/// With `--train` it trains the model of a spec, evaluates it at intervals, and leaves a run folder with the
/// metrics and the checkpoints `best` and `last`. Ctrl-C saves and prints the command that continues. The same
/// seed gives the same bytes, for any number of threads, and whether or not the run was interrupted.
///
/// With `--puzzle` it solves a puzzle with the best checkpoint of a run and draws it. Sudoku is written row by
/// row with `.` for a blank cell, a maze with `#`, `.`, `S` and `G`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("what").required(true).args(["train", "puzzle"]))]
pub struct Arguments {
    /// Spec to train [default: that of hrmc.toml, else the built-in quickstart], or run to solve with
    /// [default: the newest one of that spec]
    #[arg(value_name = "SPEC|RUN")]
    subject: Option<PathBuf>,
    /// Train
    #[arg(long)]
    train: bool,
    /// Solve the puzzle in a file, or on standard input for `-`
    #[arg(long, value_name = "FILE")]
    puzzle: Option<PathBuf>,
    #[command(flatten)]
    training: TrainArguments,
    #[command(flatten)]
    solving: SolveArguments,
    #[command(flatten)]
    common: Common,
}

/// Arguments of training.
#[derive(Debug, Args)]
pub struct TrainArguments {
    /// Stop at this step, counted from the beginning of the run. The learning rate still follows the schedule of
    /// the spec; `--set train.steps=N` changes that too
    #[arg(long, value_name = "N", conflicts_with = "puzzle", value_parser = super::positive)]
    pub steps: Option<usize>,
    /// Seed of every random stream [default: that of the spec]
    #[arg(long, value_name = "N", conflicts_with_all = ["puzzle", "resume"])]
    pub seed: Option<u64>,
    /// Replace a value of the spec, as in `--set train.batch=64`; with `--puzzle` only values of `infer`, as in
    /// `--set model.infer.segments=16`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE", conflicts_with = "resume")]
    pub overrides: Vec<String>,
    /// Continue a run from its checkpoint `last`
    #[arg(long, value_name = "RUN", conflicts_with_all = ["puzzle", "subject"])]
    pub resume: Option<PathBuf>,
    /// Dataset folder to use instead of the data of the spec
    #[arg(long, value_name = "DIR", conflicts_with = "puzzle")]
    pub data: Option<PathBuf>,
    /// Evaluate only the first examples of the test data; 0 for no evaluation
    #[arg(long, value_name = "N", conflicts_with = "puzzle")]
    pub eval_limit: Option<usize>,
}

/// Arguments of solving.
#[derive(Debug, Args)]
pub struct SolveArguments {
    /// Checkpoint to solve with [default: best, or last if there was no evaluation yet]
    #[arg(long, conflicts_with = "train")]
    pub checkpoint: Option<CheckpointName>,
}

/// Arguments of both.
#[derive(Debug, Args)]
pub struct Common {
    /// Number of threads; it does not change any result [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::positive)]
    pub threads: Option<usize>,
    /// Device that runs the programs [default: that of the resumed run or of hrmc.toml, else cpu]
    #[arg(long)]
    pub device: Option<String>,
    /// Folder of the runs [default: runs]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Write the result as JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// One of the checkpoints of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckpointName {
    /// The one with the best exact accuracy
    Best,
    /// The newest one
    Last,
}

/// Returns the checkpoint asked for, else the one to use the model with.
pub fn checkpoint(name: Option<CheckpointName>) -> Checkpoint {
    match name {
        Some(CheckpointName::Best) => Checkpoint::Best,
        Some(CheckpointName::Last) => Checkpoint::Last,
        None => Checkpoint::Usable,
    }
}

/// Opens the folder of a run, and reports the warnings about its spec.
///
/// # Errors
///
/// Returns a failure if it is not the folder of a run, `run.toml` is damaged, or an override cannot be used.
pub fn open(path: &Path, overrides: &[String]) -> Result<Run, Failure> {
    if !path.exists() {
        return Err(Failure::message(format!(
            "there is no run `{}`; train one with `hrmc run SPEC --train`",
            path.display()
        )));
    }
    let run = Run::open_with(path, overrides)?;
    if !overrides.is_empty() {
        spec::report(run.spec().warnings());
    }
    Ok(run)
}

/// Runs `hrmc run`.
///
/// # Errors
///
/// Returns a failure if there is a problem with the spec, the data, the run or the puzzle.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let subject = arguments.subject.as_deref();
    match &arguments.puzzle {
        Some(puzzle) => {
            let run = run_to_solve_with(subject, arguments, &project)?;
            let overrides = &arguments.training.overrides;
            solve::run(&run, overrides, puzzle, &arguments.solving, &arguments.common, &project)
        }
        None => {
            if let Some(subject) = subject.filter(|subject| Run::is_run(subject)) {
                return Err(Failure::message(format!(
                    "`{0}` is the folder of a run; continue it with `hrmc run --train --resume {0}`",
                    subject.display()
                )));
            }
            train::run(subject, &arguments.training, &arguments.common, &project)
        }
    }
}

/// Returns the folder of the run to solve with.
fn run_to_solve_with(
    subject: Option<&Path>,
    arguments: &Arguments,
    project: &Project<'_>,
) -> Result<PathBuf, Failure> {
    match subject {
        Some(subject) if subject.is_file() => Err(Failure::message(format!(
            "`{0}` is a file, but a puzzle is solved with a run; train one with `hrmc run {0} --train`",
            subject.display()
        ))),
        Some(subject) => Ok(subject.to_path_buf()),
        None => {
            let spec = spec::load(spec::read(None, project)?, &[])?;
            let name = &spec.model().name;
            let runs = project.runs(arguments.common.runs.as_deref());
            match Run::newest(&runs, name)? {
                Some(folder) => Ok(folder),
                None => Err(Failure::message(format!(
                    "there is no run of `{name}` in `{}`; train one with `hrmc run --train`",
                    runs.display()
                ))),
            }
        }
    }
}
