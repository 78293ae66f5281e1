//! What a training keeps in the folder of its run: metrics, the newest two checkpoints, and the best.

use std::path::{Path, PathBuf};

use super::divergence::Divergence;
use super::error::Error;
use super::patience::Patience;
use super::score::Score;
use super::trainer::{Record, Trainer};
use crate::ir::OnDivergence;
use crate::store::checkpoint::{Before, Saved};
use crate::store::log::LogProblems;
use crate::store::{
    CheckpointError, MetricMeans, MetricsLine, MetricsLog, RunFolder, RunFolderError, RunLock, TimesLine,
    TimesLog,
};
use crate::system;
use crate::units::{bytes, counted};

/// Bytes of a line of metrics and one of times, rounded up.
const LINE_BYTES: u64 = 600;

/// The folder of a run, and what was kept in it.
pub struct Keeper {
    folder: RunFolder,
    eval_every: Option<u64>,
    /// Held from the moment a run is resumed to the end of its training.
    lock: Option<RunLock>,
    log: Option<MetricsLog>,
    times: Option<TimesLog>,
    /// Step of the checkpoint from which the training would go on.
    saved: Option<u64>,
    /// Whether that checkpoint is `last`, so that it becomes the previous one when `last` is written.
    last_is_sound: bool,
    /// Checksum of the lines of metrics that the checkpoint has.
    metrics_sha256: Option<String>,
    /// The best evaluation of all, and its step.
    best: Option<(Score, u64)>,
    patience: Patience,
    /// Whether the checkpoint says that `patience` has ended the training.
    has_ended: bool,
    notes: Vec<String>,
}

impl Keeper {
    /// Prepares to keep a new training in a run.
    ///
    /// # Errors
    ///
    /// Returns an error if the run has a checkpoint of another training.
    pub fn of_new(folder: &RunFolder, eval_every: Option<u64>) -> Result<Keeper, Error> {
        let keeper = Keeper::of(folder, eval_every);
        if keeper.folder.checkpoints().iter().any(|folder| Saved::open(folder).is_ok()) {
            return Err(trained_before(&keeper.folder));
        }
        Ok(keeper)
    }

    /// Takes the run for this process, and restores its newest checkpoint that is whole.
    ///
    /// # Errors
    ///
    /// Returns an error if another process trains the run, the checkpoints belong to another training, or all of them
    /// are damaged.
    pub fn resume(
        folder: &RunFolder,
        eval_every: Option<u64>,
        trainer: &mut Trainer,
    ) -> Result<Keeper, Error> {
        let mut keeper = Keeper::of(folder, eval_every);
        keeper.lock()?;
        let mut refused = None;
        for folder in keeper.folder.checkpoints() {
            match trainer.restore(&folder) {
                Ok(record) => {
                    let step = trainer.steps_done();
                    keeper.saved = Some(step);
                    keeper.last_is_sound = folder == keeper.folder.last();
                    keeper.metrics_sha256 = record.metrics_sha256;
                    keeper.patience = Patience::of(record.waited);
                    keeper.has_ended = keeper.is_out_of_patience(trainer);
                    keeper.count_evaluation_of_log(trainer);
                    keeper.notes.extend(Saved::open(&folder)?.warning());
                    if !keeper.last_is_sound {
                        keeper.notes.push(keeper.cost_of_going_back(refused.as_ref(), &folder, step));
                    }
                    return Ok(keeper);
                }
                Err(CheckpointError::Absent { .. }) => {}
                Err(error) if error.is_of_this_checkpoint() => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
        keeper.notes.push(format!(
            "`{}` has no checkpoint yet: its training begins at step 0",
            keeper.folder.path().display()
        ));
        Ok(keeper)
    }

    fn of(folder: &RunFolder, eval_every: Option<u64>) -> Keeper {
        Keeper {
            folder: folder.clone(),
            eval_every,
            lock: None,
            log: None,
            times: None,
            saved: None,
            last_is_sound: false,
            metrics_sha256: None,
            best: None,
            patience: Patience::default(),
            has_ended: false,
            notes: Vec::new(),
        }
    }

    /// Says why the newest checkpoint is not the one from which training goes on, and what that costs.
    fn cost_of_going_back(&self, refused: Option<&CheckpointError>, to: &Path, step: u64) -> String {
        let why = match refused {
            Some(error) => error.to_string(),
            None => format!("there is no checkpoint in `{}`", self.folder.last().display()),
        };
        let newest = self.folder.newest_step_of_metrics().unwrap_or(step);
        let cost = match newest.saturating_sub(step) {
            0 => "no step is lost".to_owned(),
            lost => format!("{} from {} on are done again", counted(lost as usize, "step"), step + 1),
        };
        format!("{why}; going on from `{}`, of step {step}: {cost}", to.display())
    }

    /// Returns whether it keeps a training in `folder`.
    pub fn is_of(&self, folder: &RunFolder) -> bool {
        self.folder == *folder
    }

    /// Returns what the user should know, once.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Returns the best exact accuracy of any evaluation so far.
    pub fn best(&self) -> Option<f64> {
        self.best.map(|(best, _)| best.exact_accuracy)
    }

    /// Returns the step of that evaluation.
    pub fn best_step(&self) -> Option<u64> {
        self.best.map(|(_, step)| step)
    }

    /// Returns whether as many evaluations as the spec has patience for found nothing better.
    pub fn is_out_of_patience(&self, trainer: &Trainer) -> bool {
        trainer.train().patience.is_some_and(|limit| self.patience.is_over(limit))
    }

    /// Counts the evaluation after the step of a trainer for `patience`, if the schedule has it on the way.
    fn count_evaluation(&mut self, trainer: &Trainer, means: &MetricMeans) {
        let step = trainer.steps_done();
        let is_on_the_way = step != trainer.total_steps()
            && self.eval_every.is_some_and(|every| step.is_multiple_of(every))
            && trainer.train().patience.is_some()
            && !self.is_out_of_patience(trainer);
        if let Some(score) = Score::of(means).filter(|_| is_on_the_way) {
            self.patience.see(step, score);
        }
    }

    /// Counts the evaluation after the step from which a training goes on: the checkpoint does not know of it.
    fn count_evaluation_of_log(&mut self, trainer: &Trainer) {
        let lines = self.lines();
        let of_step = |line: &&MetricsLine| line.is_evaluation() && line.step() == trainer.steps_done();
        if let Some(line) = lines.iter().rfind(of_step) {
            self.count_evaluation(trainer, line.means());
        }
    }

    /// Returns whether the checkpoint from which a training would go on says that `patience` has ended it.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Ends the training because of `patience`: saves the checkpoint `last` once more, which says so.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written; it says which checkpoint is left.
    pub fn end(&mut self, trainer: &Trainer) -> Result<(), Error> {
        if self.has_ended {
            return Ok(());
        }
        self.patience.close();
        self.write_last(trainer)?;
        self.has_ended = true;
        Ok(())
    }

    /// Takes the run for this process.
    ///
    /// # Errors
    ///
    /// Returns an error if another process has it.
    pub fn lock(&mut self) -> Result<(), Error> {
        let lock = self.folder.lock()?;
        self.notes.extend(lock.warning());
        self.lock = Some(lock);
        Ok(())
    }

    /// Opens the run for writing, and saves a first checkpoint if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if another process trains the run or has trained it in the meantime, the disk has no room for
    /// what the training will write, or a file cannot be written.
    pub fn open(&mut self, trainer: &Trainer, steps_to_do: u64) -> Result<(), Error> {
        if self.lock.is_none() {
            self.lock()?;
            let newest = Saved::open(&self.folder.last()).ok().map(|saved| saved.state().step);
            if newest != self.saved {
                return Err(trained_before(&self.folder));
            }
        }
        self.check_room(trainer, steps_to_do)?;
        let expected = self.metrics_sha256.as_deref();
        let log = self.folder.metrics_log(trainer.steps_done(), self.eval_every, expected);
        let log = log.map_err(|error| self.with_what_is_kept(error.into()))?;
        self.notes.extend(log_note(&self.folder, log.problems()));
        self.log = Some(log);
        self.open_times(trainer)?;
        self.best = match Saved::open(&self.folder.best()) {
            Ok(saved) => Score::of_checkpoint(saved.state()).map(|score| (score, saved.state().step)),
            Err(CheckpointError::Absent { .. }) => None,
            Err(error) => {
                self.notes.push(format!("{error}; the next evaluation makes another best checkpoint"));
                None
            }
        };
        if self.saved.is_none() { self.save(trainer) } else { Ok(()) }
    }

    /// Lets other processes write the run.
    pub fn close(&mut self) {
        (self.lock, self.log, self.times) = (None, None, None);
    }

    /// Refuses a training for whose checkpoints the disk has no room; metrics grow slowly, so they are warned about.
    fn check_room(&mut self, trainer: &Trainer, steps_to_do: u64) -> Result<(), Error> {
        let Some(free) = system::free_disk_bytes(self.folder.path()) else { return Ok(()) };
        let free = free.saturating_add(self.folder.checkpoint_bytes());
        let (kept, besides) = match trainer.train().on_divergence {
            OnDivergence::Stop => (4_u64, ""),
            OnDivergence::Rollback { .. } => (5, " one to go back to,"),
        };
        let checkpoints = kept.saturating_mul(trainer.checkpoint_bytes());
        let needed = checkpoints.saturating_add(LINE_BYTES.saturating_mul(steps_to_do));
        let run = self.folder.path().display();
        if free < checkpoints {
            return Err(Error::unsuitable(format!(
                "the disk has too little room for the run `{run}`: its checkpoints (the newest two, the best,{besides} \
                 and one while it is written) take up to {}, and {} are free; make room, or choose a folder on another disk \
                 (`--runs DIR`)",
                bytes(checkpoints),
                bytes(free),
            )));
        }
        if free < needed {
            self.notes.push(format!(
                "the disk of the run `{run}` may become full: its checkpoints and metrics take up to {}, and {} are free",
                bytes(needed),
                bytes(free),
            ));
        }
        Ok(())
    }

    fn opened(&mut self) -> &mut MetricsLog {
        self.log.as_mut().expect("the run is open for writing")
    }

    /// Adds a line of metrics.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn append(&mut self, line: &MetricsLine) -> Result<(), Error> {
        self.opened().append(line).map_err(|error| self.with_what_is_kept(error.into()))
    }

    fn open_times(&mut self, trainer: &Trainer) -> Result<(), Error> {
        let log = self.folder.times_log(trainer.steps_done());
        self.times = Some(log.map_err(|error| self.with_what_is_kept(error.into()))?);
        Ok(())
    }

    /// Returns the seconds that the run had been in training when it was opened.
    pub fn seconds_before(&self) -> f64 {
        self.times.as_ref().map_or(0.0, TimesLog::seconds_before)
    }

    /// Adds a line of times.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn append_times(&mut self, line: &TimesLine) -> Result<(), Error> {
        let log = self.times.as_mut().expect("the run is open for writing");
        log.append(line).map_err(|error| self.with_what_is_kept(error.into()))
    }

    /// Returns whether the log has an evaluation after a step.
    pub fn has_evaluation(&self, step: u64) -> bool {
        self.log.as_ref().is_some_and(|log| log.has_evaluation(step))
    }

    /// Saves the checkpoint `last`, unless that of this step is there.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written; it says which checkpoint is left.
    pub fn save(&mut self, trainer: &Trainer) -> Result<(), Error> {
        if self.saved == Some(trainer.steps_done()) && self.last_is_sound {
            return Ok(());
        }
        self.write_last(trainer)
    }

    fn write_last(&mut self, trainer: &Trainer) -> Result<(), Error> {
        let (last, previous) = (self.folder.last(), self.folder.previous());
        let before = if self.last_is_sound { Before::Kept(&previous) } else { Before::Removed };
        self.write(trainer, &last, before, None)?;
        (self.saved, self.last_is_sound) = (Some(trainer.steps_done()), true);
        Ok(())
    }

    /// Adds the line of an evaluation, and keeps the checkpoint if it is the best so far by the means that `judged` has.
    /// Returns whether it is.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written; it says which checkpoint is left.
    pub fn keep_evaluation(
        &mut self,
        trainer: &Trainer,
        line: &MetricsLine,
        judged: &MetricMeans,
    ) -> Result<bool, Error> {
        let best = self.best.map(|(best, _)| best);
        let score = Score::of(judged).filter(|score| score.is_best(best));
        if score.is_some() {
            // Before the line: a run that is killed between them evaluates again, and saves the same.
            let best = self.folder.best();
            self.write(trainer, &best, Before::Removed, score)?;
            self.best = score.map(|score| (score, trainer.steps_done()));
        }
        self.append(line)?;
        self.opened().sync().map_err(|error| self.with_what_is_kept(error.into()))?;
        self.count_evaluation(trainer, judged);
        Ok(score.is_some())
    }

    /// Saves the checkpoint to which the training goes back.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written; it says which checkpoint is left.
    pub fn save_for_rollback(&mut self, trainer: &Trainer) -> Result<(), Error> {
        let folder = self.folder.rollback();
        self.write(trainer, &folder, Before::Removed, None)
    }

    /// Goes back to that checkpoint, with lower learning rates. All lines after it are dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if it is damaged, or a file cannot be written.
    pub fn go_back(&mut self, trainer: &mut Trainer) -> Result<(), Error> {
        let record = trainer.go_back(&self.folder.rollback())?;
        let expected = record.metrics_sha256.as_deref();
        self.patience = Patience::of(record.waited);
        self.log = Some(self.folder.metrics_log(trainer.steps_done(), self.eval_every, expected)?);
        self.open_times(trainer)?;
        self.count_evaluation_of_log(trainer);
        // Twice, so that the checkpoint before it has gone back, too: if this process dies and one of them is damaged, the
        // training still goes on as it would have.
        for _ in 0..2 {
            self.saved = None;
            self.save(trainer)?;
        }
        // It knows of this rollback from now on, as it would if the training were resumed here.
        self.save_for_rollback(trainer)
    }

    /// Adds to a divergence which checkpoint is left.
    pub fn left_by(&self, divergence: Divergence) -> Divergence {
        match self.saved {
            Some(step) => divergence.with_checkpoint(self.folder.last(), step),
            None => divergence,
        }
    }

    /// Returns the lines of metrics that can be read.
    pub fn lines(&self) -> Vec<MetricsLine> {
        self.folder.readable_metrics()
    }

    fn write(
        &mut self,
        trainer: &Trainer,
        folder: &Path,
        before: Before<'_>,
        score: Option<Score>,
    ) -> Result<(), Error> {
        if self.lock.as_ref().is_some_and(|lock| !lock.is_in_place()) {
            let saved = self.saved.unwrap_or(0);
            return Err(RunFolderError::Gone {
                folder: self.folder.path().to_path_buf(),
                kept: format!(
                    "the training stopped after step {}, and the newest checkpoint that was saved there is of step {saved}",
                    trainer.steps_done()
                ),
            }
            .into());
        }
        // The lines that the checkpoint counts on are on the disk before it is.
        let written = self.opened().sync().map_err(Error::from).and_then(|()| {
            let record = Record {
                exact_accuracy: score.map(|score| score.exact_accuracy),
                loss: score.map(|score| score.loss),
                metrics_sha256: Some(self.opened().sha256()),
                waited: self.patience.at(trainer.steps_done()),
            };
            trainer.save(folder, before, record).map_err(Error::from)
        });
        written.map_err(|error| self.with_what_is_kept(error))
    }

    /// Adds to an error that ends the training what is left on the disk.
    pub fn with_what_is_kept(&self, error: Error) -> Error {
        let whole = |folder: &PathBuf| {
            let saved = Saved::open(folder).ok()?;
            saved.check_bytes().ok().map(|()| saved.state().step)
        };
        let folders = self.folder.checkpoints();
        let kept = folders.iter().find_map(|folder| Some((folder, whole(folder)?)));
        let kept = match kept {
            Some((folder, step)) => {
                format!(
                    "the checkpoint of step {step} in `{}` is whole, and training can go on from it",
                    folder.display()
                )
            }
            None => "nothing of this run is saved yet".to_owned(),
        };
        Error::unsuitable(format!("{error}; {kept}"))
    }
}

fn trained_before(folder: &RunFolder) -> Error {
    Error::unsuitable(format!(
        "`{}` was trained before; continue it with `Training::resume`, or create a new run for this training",
        folder.path().display()
    ))
}

fn log_note(folder: &RunFolder, problems: &LogProblems) -> Option<String> {
    let LogProblems { damaged, missing, changed } = problems;
    let mut what = Vec::new();
    if let Some(first) = damaged.first() {
        let others = match damaged.len() - 1 {
            0 => String::new(),
            others => format!(" and {} after it", counted(others, "line")),
        };
        what.push(format!(
            "line {first}{others} cannot be read (the file as it was is `metrics.jsonl.damaged`)"
        ));
    }
    if let Some((from, to)) = missing.first() {
        let others = if missing.len() > 1 { ", and others" } else { "" };
        what.push(format!("the lines of steps {from} to {to} are missing{others}"));
    }
    if *changed {
        what.push("lines were changed after they were written".to_owned());
    }
    let file = folder.path().join(crate::store::run_folder::METRICS);
    (!what.is_empty())
        .then(|| format!("`{}`: {}; the training itself loses nothing", file.display(), what.join("; ")))
}
