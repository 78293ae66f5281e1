//! `hrmc adapt`.

#![expect(
    clippy::disallowed_methods,
    reason = "learning ends after a time, and needs a folder until its run is made"
)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::failure::{Failure, fail, fail_with_batch};
use super::interrupt::{Busy, Interrupt, TimeLimit};
use super::progress::Progress;
use super::project::{Devices, Project};
use super::run_arguments::{self, CheckpointName};
use super::solve_arc::{self, AskedTask};
use super::terminal::{self, counted, duration};
use crate::data::arc::{ArcBuild, ArcTask};
use crate::data::{Existing, IdentifierNames, PuzzleKind};
use crate::ir::Augmentation;
use crate::store::disk::parent;
use crate::train::{ADAPT_STEPS, Checkpoint, Data, Event, Run, Splits, TrainOptions, Training};

const EXAMPLES: &str = "\
Examples:
  hrmc adapt runs/arc_1-001 --task new.json
  hrmc adapt runs/arc_1-001 --task new.json --copies 50 --max-time 2m
  hrmc run runs/arc_1-002 --puzzle new.json          ask the new run again";

/// Learn a task of ARC that a run has never seen, and answer it.
///
/// A model of ARC knows a task by a vector of its own, which is learned from the demonstrations. This learns vectors for
/// the task and copies of it (in other colours, turned and flipped), while all other weights stay as they are. The result
/// is a new run beside the old one, with the task in its folder `data`. The test inputs are then answered and voted on as
/// `hrmc run RUN --puzzle` does.
///
/// It ends after 200 steps or 30 seconds, unless `--steps` or `--max-time` say otherwise, and exits with 0 in either case.
/// Where the time decides, another machine learns more or less, and `hrmc run --train --resume` goes on to the last step.
/// The new run knows only the new tasks, since the others are none of its data.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder of the run
    run: PathBuf,
    /// File with the task, in JSON as published, or with several; `-` for standard input
    #[arg(long, value_name = "FILE")]
    task: PathBuf,
    /// Copies of each task to learn and to ask, besides the task itself
    #[arg(long, value_name = "N", value_parser = super::copies, default_value_t = 8)]
    copies: usize,
    /// Most optimizer steps
    #[arg(long, value_name = "N", value_parser = super::positive, default_value_t = ADAPT_STEPS as usize)]
    steps: usize,
    /// Learn no longer than this: 30s, 5m or 1h
    #[arg(long, value_name = "TIME", value_parser = TimeLimit::parse, default_value = "30s")]
    max_time: TimeLimit,
    /// Checkpoint to begin with [default: best, or last if there was no evaluation yet]
    #[arg(long)]
    checkpoint: Option<CheckpointName>,
    /// Number of threads; it does not change what a step learns [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::positive)]
    threads: Option<usize>,
    /// Device that runs the programs [default: that of hrmc.toml, else cpu]
    #[arg(long)]
    device: Option<String>,
    /// Write the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc adapt`.
///
/// # Errors
///
/// Returns a failure if there is a problem with the run, the task or the memory.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let run = run_arguments::open(&arguments.run, &[])?;
    let kind = run.kind(project.root());
    if kind != PuzzleKind::Arc {
        return Err(Failure::message(format!(
            "`{}` solves puzzles of the kind `{}`; only a model of ARC learns a vector for each task",
            arguments.run.display(),
            kind.family()
        )));
    }
    let tasks = solve_arc::read(&arguments.task)?;
    let known = run.identifiers(project.root());
    for task in &tasks {
        if known.iter().flat_map(IdentifierNames::iter).any(|(_, name)| name == task.id) {
            terminal::note(format_args!(
                "note: `{}` was trained on the task `{}` already; the new run learns it anew",
                run.path().display(),
                task.id
            ));
        }
    }
    let learned = learn(arguments, &run, &tasks, &project, interrupt)?;
    interrupt.begin(Busy {
        next: "stopping before the next segment; what was learned stays".to_string(),
        cost: String::new(),
    });
    let names = learned.identifiers(project.root());
    let asked: Vec<AskedTask> =
        tasks.into_iter().map(|task| AskedTask::find(task, names.as_ref(), None)).collect();
    let batch = solve_arc::count_questions(&asked).min(solve_arc::MOST_AT_ONCE);
    let device = arguments.device.as_deref();
    let options = run_arguments::solve_options(&project, device, arguments.threads, batch)?;
    let mut solver = run_arguments::solver(&learned, Checkpoint::Last, options)?;
    let stop = || interrupt.reason();
    solve_arc::answer(&learned, &asked, &arguments.task, &mut solver, arguments.json, &stop)
}

/// Learns vectors of tasks, and returns the run that has them.
fn learn(
    arguments: &Arguments,
    run: &Run,
    tasks: &[ArcTask],
    project: &Project<'_>,
    interrupt: &Interrupt,
) -> Result<Run, Failure> {
    let runs = parent(run.path()).to_path_buf();
    let place = tempfile::Builder::new()
        .prefix(".hrmc-task-")
        .tempdir_in(&runs)
        .map_err(|error| Failure::cannot_write(&runs, &error))?;
    let folder = place.path().join("data");
    let build = ArcBuild { copies: arguments.copies, translate: true, seed: run.manifest().seed };
    let whole = build.write(tasks, &folder, Existing::Refuse, &mut || ControlFlow::Continue(()));
    let _written = whole.map_err(fail)?;
    // The copies are in the folder, whatever was done to the rows of the run.
    let mut spec = run.spec().clone();
    spec.change_training(|train| train.augment = Augmentation::None);
    let data = Data::open_splits(&spec, &folder, Splits::Both)?;
    let options = TrainOptions {
        device: project.device(arguments.device.as_deref()),
        threads: project.threads(arguments.threads)?,
        steps: Some(arguments.steps as u64),
        ..TrainOptions::default()
    };
    let checkpoint = run_arguments::checkpoint(arguments.checkpoint);
    let mut training = Training::adapt(run, checkpoint, data, options)
        .map_err(|error| fail_with_batch(error, "--set train.batch="))?;
    let learned = Run::create_with_data(&runs, &training)?;
    interrupt.begin(Busy { next: "stopping after this step, to save".to_string(), cost: String::new() });
    let begun = Instant::now();
    let mut progress = Progress::new("learning", 0, training.last_step());
    let mut accuracy = None;
    let outcome = training.run(&learned, |event| {
        if let Event::Step(report) = event {
            accuracy = report.means().accuracy.or(accuracy);
            progress.show(report.step, String::new);
        }
        let ends = begun.elapsed() >= arguments.max_time.time || interrupt.reason().is_some();
        if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    progress.clear();
    if let Some(stop) = interrupt.reason() {
        terminal::note(format_args!("stopped; what was learned is in `{}`", learned.path().display()));
        return Err(Failure::Stopped(stop));
    }
    let right = accuracy.map_or(String::new(), |share| {
        format!(
            "; in the last step {} of the tokens of the demonstrations were right",
            terminal::percent(share)
        )
    });
    terminal::note(format_args!(
        "learned {} in {} and {}{right}; the new run is `{}`",
        match tasks {
            [task] => format!("`{}`", task.id),
            tasks => counted(tasks.len(), "task"),
        },
        counted(outcome.step as usize, "step"),
        duration(begun.elapsed().as_secs_f64()),
        learned.path().display(),
    ));
    Ok(learned)
}
