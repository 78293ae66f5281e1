//! How far runs are, for whoever lists them or goes on with one.

use std::path::{Path, PathBuf};

use super::data::{Data, training_metadata};
use super::error::Error;
use super::patience::has_ended;
use super::run::Run;
use super::schedule::steps_in;
use crate::data::Metadata;
use crate::ir::{self, Length, Model};
use crate::store::checkpoint::Saved;
use crate::store::{CheckpointError, MetricMeans, MetricsLine, RunFolder, TrainerState};

/// What the folder of a run says about its training.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The folder.
    pub path: PathBuf,
    /// Name of the model, if `run.toml` can be read.
    pub model: Option<String>,
    /// Optimizer steps of the newest checkpoint, if it can be read; 0 if there is none yet.
    pub step: Option<u64>,
    /// Steps of the whole schedule; `None` if the spec counts them in epochs of data that is not there.
    pub total_steps: Option<u64>,
    /// What becomes of it.
    pub state: RunState,
    /// Best exact accuracy of any evaluation.
    pub best: Option<f64>,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It has done all steps of its schedule, or `patience` has ended it.
    Finished,
    /// It can go on.
    Unfinished,
    /// A process trains it: which one.
    Running(String),
    /// It cannot be read: why.
    Damaged(String),
}

impl Standing {
    /// Returns that of every run in `runs`; relative paths of datasets are looked for below `root`.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` is there and cannot be read.
    pub fn all(runs: &Path, root: &Path) -> Result<Vec<Standing>, Error> {
        Ok(RunFolder::all(runs)?.iter().map(|folder| Standing::of(folder, root)).collect())
    }

    /// Returns that of one run.
    pub fn of(folder: &RunFolder, root: &Path) -> Standing {
        let run = Run::open(folder.path());
        let total_steps = run.as_ref().ok().and_then(|run| total_steps(run.spec().model(), root));
        // The one from which training would go on, if it is whole.
        let mut there = folder.checkpoints().into_iter().map(|checkpoint| Saved::open(&checkpoint));
        let newest = match there.find(|saved| !matches!(saved, Err(CheckpointError::Absent { .. }))) {
            Some(saved) => saved
                .and_then(|saved| saved.check_headers().map(|()| Some(saved.state().clone())))
                .map_err(|error| error.to_string()),
            None => Ok(None),
        };
        let step_of = |state: &Option<TrainerState>| state.as_ref().map_or(0, |state| state.step);
        let step = newest.as_ref().ok().map(step_of);
        let is_done = |run: &Run, state: &Option<TrainerState>| {
            let ended = state.as_ref().is_some_and(|state| has_ended(run.spec().model(), state));
            ended || total_steps.is_some_and(|total| step_of(state) >= total)
        };
        let state = match (folder.holder(), &run, newest) {
            (Some(holder), _, _) => RunState::Running(holder),
            (None, Err(error), _) => RunState::Damaged(error.to_string()),
            (None, Ok(_), Err(why)) => RunState::Damaged(why),
            (None, Ok(run), Ok(state)) if is_done(run, &state) => RunState::Finished,
            (None, Ok(_), Ok(_)) => RunState::Unfinished,
        };
        Standing {
            path: folder.path().to_path_buf(),
            model: run.ok().map(|run| run.manifest().name.clone()),
            step,
            total_steps,
            state,
            best: best_accuracy(folder),
            bytes: folder.size_bytes(),
        }
    }
}

/// Returns the steps of the schedule of a model. Of a dataset folder, only the metadata is read.
fn total_steps(model: &Model, root: &Path) -> Option<u64> {
    let train = model.train.as_ref()?;
    let puzzles = |count: usize| Metadata {
        total_groups: count,
        mean_puzzle_examples: 1.0,
        ..Metadata::new(model.tokens.vocab, model.tokens.positions)
    };
    let metadata = match (&train.length, &train.data) {
        // The data does not matter.
        (Length::Steps(_), _) => puzzles(0),
        (Length::Epochs(_), ir::Data::Sudoku(wanted)) => puzzles(wanted.train),
        (Length::Epochs(_), ir::Data::Maze(wanted)) => puzzles(wanted.train),
        (Length::Epochs(_), ir::Data::Folder(folder)) => {
            training_metadata(model, &root.join(folder)).ok().flatten()?
        }
    };
    Some(steps_in(train.length, &metadata, train.batch))
}

fn best_accuracy(folder: &RunFolder) -> Option<f64> {
    Saved::open(&folder.best()).ok()?.state().exact_accuracy
}

impl Run {
    /// Returns the runs in `runs` of the same resolved spec, overrides and data, the newest first. The second list says
    /// which runs of the same model cannot be read.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` is there and cannot be read.
    pub fn alike(
        runs: &Path,
        spec: &crate::spec::Spec,
        data: &Data,
    ) -> Result<(Vec<Run>, Vec<String>), Error> {
        let kept = data.kept_in(spec);
        let (text, seed) = (kept.resolved(), kept.model().train.as_ref().map_or(0, |train| train.seed));
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for folder in RunFolder::all(runs)?.into_iter().rev() {
            match folder.manifest() {
                Ok(manifest) => {
                    let is_alike = manifest.spec == text
                        && manifest.seed == seed
                        && manifest.overrides == kept.overrides();
                    if is_alike {
                        found.push(Run::open(folder.path())?);
                    }
                }
                Err(error) if folder.is_named_for(&kept.model().name) => unreadable.push(error.to_string()),
                Err(_) => {}
            }
        }
        // Fingerprints of large data take their time, so that they are asked for last.
        found.retain(|run| run.changed(data).is_empty());
        Ok((found, unreadable))
    }

    /// Returns which process trains it at this moment.
    pub fn holder(&self) -> Option<String> {
        self.folder().holder()
    }

    /// Returns the optimizer steps of the newest checkpoint that can be read; 0 if there is none.
    pub fn steps_done(&self) -> u64 {
        self.newest_state().map_or(0, |state| state.step)
    }

    /// Returns whether its training is finished before its last step, because `patience` of its spec has ended it.
    pub fn is_out_of_patience(&self) -> bool {
        self.newest_state().is_some_and(|state| has_ended(self.spec().model(), &state))
    }

    fn newest_state(&self) -> Option<TrainerState> {
        let checkpoints = self.folder().checkpoints();
        checkpoints.iter().find_map(|folder| Saved::open(folder).ok()).map(|saved| saved.state().clone())
    }

    /// Returns what the evaluation after a step found, and of how many examples.
    pub fn evaluation_after(&self, step: u64) -> Option<(usize, MetricMeans)> {
        self.metrics().ok()?.into_iter().rev().find_map(|line| match line {
            MetricsLine::Evaluation { step: after, examples, means } if after == step => {
                Some((examples, means))
            }
            _ => None,
        })
    }

    /// Returns the best exact accuracy of any evaluation.
    pub fn best_accuracy(&self) -> Option<f64> {
        best_accuracy(self.folder())
    }

    /// Returns the step of that evaluation.
    pub fn best_step(&self) -> Option<u64> {
        Saved::open(&self.folder().best()).ok().map(|saved| saved.state().step)
    }
}
