//! The arguments of `hrmc run` that training and solving take, and the run that they name.

#![expect(clippy::disallowed_methods, reason = "a run that the user named may not be there")]

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::failure::{Failure, fail_with_batch};
use super::interrupt::TimeLimit;
use super::project::Project;
use super::{spec, terminal};
use crate::reading::shortened;
use crate::shell;
use crate::train::{Checkpoint, Data, Run, SolveOptions, Solver};

/// Arguments of training.
#[derive(Debug, Args)]
pub struct TrainArguments {
    /// Stop at this step, counted from the beginning of the run. The learning rate still follows the schedule of
    /// the spec; `--set train.steps=N` changes that too
    #[arg(long, value_name = "N", conflicts_with = "puzzle", value_parser = super::positive)]
    pub steps: Option<usize>,
    /// Seed of every random stream [default: that of the spec]
    #[arg(long, value_name = "N", conflicts_with = "puzzle")]
    pub seed: Option<u64>,
    /// Replace a value of the spec, as in `--set train.batch=64`; with `--puzzle` only values of `infer`, as in
    /// `--set model.infer.segments=16`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Continue a run from its checkpoint `last`; with `auto`, the newest unfinished run of the same resolved spec,
    /// overrides and data, or a new one if there is none
    #[arg(long, value_name = "RUN|auto", conflicts_with = "puzzle")]
    pub resume: Option<PathBuf>,
    /// Save and end before this time is over, with exit code 124: 90s, 30m, 11h, 1h30m or 2d
    #[arg(long, value_name = "TIME", conflicts_with = "puzzle", value_parser = TimeLimit::parse, allow_hyphen_values = true)]
    pub max_time: Option<TimeLimit>,
    /// Dataset folder to use instead of the data of the spec
    #[arg(long, value_name = "DIR", conflicts_with = "puzzle")]
    pub data: Option<PathBuf>,
    /// Evaluate only the first examples of the test data, in place of those by `eval_share`; 0 for no evaluation
    #[arg(long, value_name = "N", conflicts_with = "puzzle")]
    pub eval_limit: Option<usize>,
    /// Write event files for TensorBoard, too, to a folder in this one, named like the run
    #[arg(long, value_name = "DIR", conflicts_with = "puzzle")]
    pub tensorboard: Option<PathBuf>,
}

impl TrainArguments {
    /// Returns whether the run to go on with is to be found.
    pub fn finds_run(&self) -> bool {
        // As paths, `auto` and `auto/` are one.
        self.resume.as_ref().is_some_and(|run| run.as_os_str() == "auto")
    }
}

/// Arguments of solving.
#[derive(Debug, Args)]
pub struct SolveArguments {
    /// Checkpoint to solve with [default: best, or last if there was no evaluation yet]
    #[arg(long, conflicts_with = "train")]
    pub checkpoint: Option<CheckpointName>,
    /// Copies of a task of ARC that vote, besides the task itself [default: all that the run was trained on; 8 of a task
    /// that it has never seen]
    #[arg(long, value_name = "N", value_parser = super::copies, conflicts_with = "train")]
    pub copies: Option<usize>,
    /// Show what the model does after every update of every state: on a terminal an animation with keys, else frame after
    /// frame
    #[arg(long, requires = "puzzle", conflicts_with_all = ["train", "copies"])]
    pub trace: bool,
    /// File for the trace, `.html` for a page or `.json`
    #[arg(short, long, value_name = "FILE", requires = "trace")]
    pub output: Option<PathBuf>,
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

/// Arguments of commands that answer many questions with a trained model.
#[derive(Debug, Args)]
pub struct AnswerArguments {
    /// Checkpoint to answer with [default: best, or last if there was no evaluation yet]
    #[arg(long)]
    checkpoint: Option<CheckpointName>,
    /// Replace a value of `infer` in the spec, as in `--set model.infer.segments=16`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Rows in a batch [default: that of the spec]
    #[arg(long, value_name = "ROWS", value_parser = super::rows)]
    batch: Option<usize>,
    /// Number of threads; it does not change any result [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::positive)]
    threads: Option<usize>,
    /// Device that runs the programs [default: that of hrmc.toml, else cpu]
    #[arg(long)]
    device: Option<String>,
}

impl AnswerArguments {
    /// Returns the checkpoint that the user names.
    pub fn checkpoint_name(&self) -> Option<CheckpointName> {
        self.checkpoint
    }

    /// Returns the rows in a batch for so many questions.
    pub fn batch(&self, run: &Run, questions: usize) -> usize {
        let train = run.spec().model().train.as_ref().expect("a run has a spec with a `train` block");
        self.batch.unwrap_or(train.batch).min(questions.max(1))
    }

    /// Returns the rows in a batch for so many questions where each takes much memory: at most `most`, unless the user says
    /// otherwise.
    pub fn small_batch(&self, run: &Run, questions: usize, most: usize) -> usize {
        let batch = self.batch(run, questions);
        if self.batch.is_some() { batch } else { batch.min(most) }
    }

    /// Loads the model that answers so many questions at once, and says what is to be known about its checkpoint.
    ///
    /// # Errors
    ///
    /// Returns a failure if there is a problem with the checkpoint or the memory.
    pub fn solver_of_batch(&self, run: &Run, project: &Project<'_>, batch: usize) -> Result<Solver, Failure> {
        let options = solve_options(project, self.device.as_deref(), self.threads, batch)?;
        solver(run, checkpoint(self.checkpoint), options)
    }

    /// Loads the model that answers so many questions, and says what is to be known about its checkpoint.
    ///
    /// # Errors
    ///
    /// Returns a failure if there is a problem with the checkpoint or the memory.
    pub fn solver(&self, run: &Run, project: &Project<'_>, questions: usize) -> Result<Solver, Failure> {
        self.solver_of_batch(run, project, self.batch(run, questions))
    }
}

/// Returns how a model is run: by what the user says, else as the project does.
///
/// # Errors
///
/// Returns a failure if there cannot be so many threads.
pub fn solve_options(
    project: &Project<'_>,
    device: Option<&str>,
    threads: Option<usize>,
    batch: usize,
) -> Result<SolveOptions, Failure> {
    Ok(SolveOptions { device: project.device(device), threads: project.threads(threads)?, batch })
}

/// Loads the model of a run, and says what is to be known about its checkpoint.
///
/// # Errors
///
/// Returns a failure if there is a problem with the checkpoint or the memory.
pub fn solver(run: &Run, checkpoint: Checkpoint, options: SolveOptions) -> Result<Solver, Failure> {
    let solver = run.solver(checkpoint, options).map_err(|error| fail_with_batch(error, "--batch "))?;
    solver.notes().iter().for_each(|note| terminal::warning(note));
    Ok(solver)
}

/// One of the checkpoints of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckpointName {
    /// The one with the best exact accuracy
    Best,
    /// The newest one
    Last,
    /// The one before the newest
    Previous,
}

/// Returns the checkpoint asked for, else the one to use the model with.
pub fn checkpoint(name: Option<CheckpointName>) -> Checkpoint {
    match name {
        Some(CheckpointName::Best) => Checkpoint::Best,
        Some(CheckpointName::Last) => Checkpoint::Last,
        Some(CheckpointName::Previous) => Checkpoint::Previous,
        None => Checkpoint::BestOrLast,
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

/// Refuses data whose puzzle identifiers are not those that a run has vectors for: a task would be answered by the vector
/// of another one.
///
/// # Errors
///
/// Returns a failure that names the first of them.
pub fn check_identifiers(run: &Run, data: &Data, project: &Project<'_>) -> Result<(), Failure> {
    if run.spec().model().puzzles.is_none() {
        return Ok(());
    }
    let (Some(known), Some(found)) =
        (run.identifiers(project.root()), data.identifier_names().ok().flatten())
    else {
        return Ok(());
    };
    let Some((identifier, name)) =
        found.iter().find(|(identifier, name)| known.get(*identifier).is_none_or(|known| known != *name))
    else {
        return Ok(());
    };
    let known = match known.get(identifier) {
        Some(known) => format!("`{}` in that of `{}`", shortened(&known), run.path().display()),
        None => format!("not there in that of `{}`", run.path().display()),
    };
    Err(Failure::message(format!(
        "puzzle identifier {identifier} is `{}` in {}, and {known}: its puzzles would be answered by the vectors of \
         others; use data with the same identifiers, or ask tasks of ARC with `hrmc run {} --puzzle FILE`",
        shortened(&name),
        data.name(),
        shell::path(run.path()),
    )))
}
