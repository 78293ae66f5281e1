//! `hrmc eval`.

#![expect(clippy::disallowed_methods, reason = "the user is told how long it took")]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Stop, fail_with_batch};
use super::interrupt::{Busy, Interrupt};
use super::progress::Progress;
use super::project::{Devices, Project};
use super::terminal::{counted, duration, percent};
use super::train::summarize;
use super::{data_check, run_arguments, terminal};
use crate::data::Split;
use crate::store::MetricMeans;
use crate::train::{Data, EvaluationProgress, EvaluationRequest, Run, SolveOptions, Splits};

const EXAMPLES: &str = "\
Examples:
  hrmc eval runs/quickstart-001
  hrmc eval runs/sudoku-001 --data data/sudoku-hard --limit 1000
  hrmc eval runs/sudoku-001 --set model.infer.rollouts=4 --set model.infer.noise=0.5
  hrmc eval runs/sudoku-001 --checkpoint last --json";

/// Evaluate a trained run on held-out puzzles.
///
/// Solves every puzzle of the test data and reports how many answers are right in every token (exact accuracy), how
/// many tokens are right, and the losses. `infer` in the spec says how answers are computed. By default every puzzle
/// runs for the largest number of segments; with `halt residual` it stops when its state has settled.
///
/// Ctrl-C ends it after the segment that is under way, without a result. The exit code is then 130; after SIGTERM it is
/// 143, and after SIGHUP 129.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder of the run
    run: PathBuf,
    /// Dataset folder to use instead of the data of the run; only its test split is read
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Evaluate only the first examples
    #[arg(long, value_name = "N", value_parser = super::positive)]
    limit: Option<usize>,
    /// Checkpoint to evaluate [default: best, or last if there was no evaluation yet]
    #[arg(long)]
    checkpoint: Option<run_arguments::CheckpointName>,
    /// Replace a value of `infer` in the spec, as in `--set model.infer.segments=16`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Rows in a batch [default: that of the spec]
    #[arg(long, value_name = "ROWS", value_parser = super::rows)]
    batch: Option<usize>,
    /// Number of threads; it does not change any result [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::positive)]
    threads: Option<usize>,
    /// Device that runs the programs [default: that of hrmc.toml, else cpu]
    #[arg(long)]
    device: Option<String>,
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
    interrupt.begin(Busy {
        next: "stopping before the next segment; there will be no result".to_string(),
        cost: String::new(),
    });
    let project = Project::find(devices)?;
    let run = run_arguments::open(&arguments.run, &arguments.overrides)?;
    let train = run.spec().model().train.as_ref().expect("a run has a spec with a `train` block");
    let splits = Splits::Only(Split::Test);
    let data = match &arguments.data {
        Some(folder) => Data::open_splits(run.spec(), folder, splits)?,
        None => run.splits(project.root(), splits)?,
    };
    data.check_fit(run.spec())?;
    let is_changed = run.changed(&data).contains(&Split::Test);
    say_what_misleads(&run, &data, is_changed && arguments.data.is_none())?;
    let examples = arguments.limit.unwrap_or(usize::MAX).min(data.test().examples());
    let options = SolveOptions {
        device: project.device(arguments.device.as_deref()),
        threads: project.threads(arguments.threads)?,
        batch: arguments.batch.unwrap_or(train.batch).min(examples.max(1)),
    };
    let checkpoint = run_arguments::checkpoint(arguments.checkpoint);
    let mut solver = run.solver(checkpoint, options).map_err(|error| fail_with_batch(error, "--batch "))?;
    solver.notes().iter().for_each(|note| terminal::warning(note));
    let begun = Instant::now();
    let request = EvaluationRequest { limit: arguments.limit, ..EvaluationRequest::default() };
    let mut progress = Progress::new("evaluating", 0, examples as u64);
    let mut examples_done = 0;
    let mut watch = |done: EvaluationProgress| {
        if done.examples < done.total {
            progress.show(done.examples as u64, String::new);
        }
        examples_done = done.examples;
        if interrupt.reason().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let evaluation = solver.evaluate_watched(data.test(), request, &mut watch, &mut |_, _| {})?;
    progress.clear();
    let means = evaluation.map(|evaluation| evaluation.metrics.means());
    // What is complete is not stopped.
    let stop = if means.is_none() { interrupt.reason() } else { None };
    if arguments.json {
        terminal::print_json(&json!({
            "run": terminal::path_text(&arguments.run),
            "data": data.name().trim_matches(|c| c == '`'),
            "is_test_data_of_run": (!run.manifest().test_data_sha256.is_empty()).then_some(!is_changed),
            "examples": examples_done,
            "metrics": means,
            "stopped_by": stop.map(Stop::name),
        }))?;
    }
    let Some(means) = means else {
        let stop = stop.expect("only a signal stops an evaluation");
        terminal::note(format_args!(
            "stopped after {}; there is no result",
            counted(examples_done, "example")
        ));
        return Err(Failure::Stopped(stop));
    };
    if arguments.json {
        return Ok(());
    }
    terminal::print(format!(
        "{}\n{}in {}\n",
        summarize(&means, examples_done),
        losses(&means),
        duration(begun.elapsed().as_secs_f64()),
    ))
}

/// Warns about data that misleads, and about puzzles that are not those of the run though nobody asked for others.
fn say_what_misleads(run: &Run, data: &Data, is_changed: bool) -> Result<(), Failure> {
    if !data.test().has_labels() {
        let why = data.findings().first().map_or("it has no labels", |finding| &finding.message);
        return Err(Failure::message(format!("there is nothing to evaluate in {}: {why}", data.name())));
    }
    data_check::warn(data);
    if is_changed {
        terminal::warning(&format!(
            "the test puzzles of {} have changed since `{}` began: the figures are not those of its training, and \
             cannot be compared with them; bring the old ones back, or name other data with `--data DIR`",
            data.name(),
            run.path().display()
        ));
    }
    Ok(())
}

fn losses(means: &MetricMeans) -> String {
    let mut text = format!("loss of the tokens {:.4}", means.token_loss);
    if let Some(loss) = means.halt_loss {
        text.push_str(&format!(", of q_halt {loss:.4}"));
    }
    if let Some(share) = means.q_halt_accuracy {
        text.push_str(&format!("; q_halt is right about {} of its answers", percent(share)));
    }
    text.push('\n');
    text
}
