//! `hrmc run`.

#![expect(clippy::disallowed_methods, reason = "what the user named is a file or a run")]

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::project::{Devices, Project};
use super::run_arguments::{Common, SolveArguments, TrainArguments};
use super::{solve, spec, train};
use crate::shell;
use crate::train::Run;

const EXAMPLES: &str = "\
Examples:
  hrmc run --train                                        train the built-in 6x6 Sudoku
  hrmc run specs/sudoku-small.hrm --train --steps 500     stop after 500 steps
  hrmc run specs/sudoku.hrm --train --set train.batch=64 --seed 7
  hrmc run --train --resume runs/quickstart-001           continue a run where it stopped
  hrmc run specs/sudoku.hrm --train --resume auto --max-time 11h
                                                          the same line again and again, until it is done
  hrmc run runs/quickstart-001 --puzzle my.txt            solve a puzzle
  hrmc run --puzzle - < my.txt                            the same with the newest run
  hrmc run runs/arc_1-001 --puzzle 007bbfb7.json --copies 100
                                                          answer a task of ARC

Exit codes of `--train`:
  0    trained to the last step, or to that of `--steps`
  1    a problem, which one message explains
  124  the time of `--max-time` was over before that; everything is saved
  129, 130, 143  stopped by SIGHUP, Ctrl-C (SIGINT) or SIGTERM before that; everything is saved";

/// Train a model, or solve a puzzle with a trained one.
///
/// With `--train` it trains the model of a spec, evaluates it at intervals, and leaves a run folder with the
/// metrics and the checkpoints `best` and `last`. Ctrl-C saves after the step that is under way and prints the
/// command that continues; a second one ends at once, without saving. The same seed gives the same bytes, for any
/// number of threads, and whether or not the run was interrupted.
///
/// With `--resume auto`, the same command line begins a training and goes on with it, as a queue of jobs needs it. A
/// run that another process trains is refused. If all runs of the spec are finished, it says so and trains nothing; to
/// train once more, leave `--resume auto` out.
///
/// With `--puzzle` it solves a puzzle with the best checkpoint of a run and draws it. Sudoku is written row by
/// row with `.` for a blank cell, a maze with `#`, `.`, `S` and `G`. A task of ARC is a file of JSON as published: its
/// copies are answered, the answers voted on, and the two best drawn.
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

impl Arguments {
    /// Refuses what a run that is named has fixed.
    ///
    /// # Errors
    ///
    /// Returns an error for the command line.
    pub fn check(&self) -> Result<(), clap::Error> {
        let TrainArguments { resume, seed, overrides, .. } = &self.training;
        let is_given = [
            ("a spec", self.subject.is_some()),
            ("`--seed`", seed.is_some()),
            ("`--set`", !overrides.is_empty()),
        ];
        match is_given.iter().find(|(_, is_given)| *is_given) {
            Some((what, _)) if resume.is_some() && !self.training.finds_run() => Err(clap::Error::raw(
                clap::error::ErrorKind::ArgumentConflict,
                format!(
                    "{what} cannot be used with `--resume RUN`, since a run goes on with its own spec; `--resume auto` \
                     finds the run of a spec\n"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Runs `hrmc run`.
///
/// # Errors
///
/// Returns a failure if there is a problem with the spec, the data, the run or the puzzle.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
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
                    "`{}` is the folder of a run; continue it with `hrmc run --train --resume {}`",
                    subject.display(),
                    shell::path(subject)
                )));
            }
            train::run(subject, &arguments.training, &arguments.common, &project, interrupt)
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
            "`{}` is a file, but a puzzle is solved with a run; train one with `hrmc run {} --train`",
            subject.display(),
            shell::path(subject)
        ))),
        Some(subject) => Ok(subject.to_path_buf()),
        None => {
            let spec = spec::load(spec::read(None, project)?, &[])?;
            let name = &spec.model().name;
            let runs = project.runs(arguments.common.runs.as_deref());
            match Run::newest(&runs, name)? {
                Some(folder) => Ok(folder),
                None => {
                    let chosen = arguments.common.runs.as_deref();
                    let option =
                        chosen.map_or(String::new(), |runs| format!(" --runs {}", shell::path(runs)));
                    Err(Failure::message(format!(
                        "there is no run of `{name}` in `{}`; train one with `hrmc run --train{option}`",
                        runs.display()
                    )))
                }
            }
        }
    }
}
