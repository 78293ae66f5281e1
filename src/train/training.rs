//! The training of a spec, from the first step to the last: when to evaluate, when to save, which checkpoint is best.

#![expect(
    clippy::disallowed_methods,
    reason = "a checkpoint is saved every few minutes, and times are recorded"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::answers::{AskedRow, RowAnswer};
use super::data::{Data, DataSize, absolute_text, untrained};
use super::divergence::Divergence;
use super::error::Error;
use super::evaluate::{Evaluation, EvaluationProgress, EvaluationRequest};
use super::health::{Concern, Health};
use super::keeper::Keeper;
use super::memory::{Wanted, check_memory};
use super::metrics::Metrics;
use super::patience::evaluations_in_a_row;
use super::run::{Checkpoint, Run};
use super::sample::SampleSize;
use super::schedule::{rate_factor, steps_in};
use super::solve::{Answer, Question};
use super::trainer::{StepReport, Trainer, TrainerParts};
use crate::data::Dataset;
use crate::device::{Device, EngineOptions};
use crate::ir::{self, Length, Model, OnDivergence, Schedule, ScheduleShape, Train};
use crate::lower::Sizes;
use crate::spec::Spec;
use crate::store::{MetricMeans, MetricsLine, OWN_DATA, RunManifest, TimesKind, TimesLine};
use crate::system;
use crate::units::counted;

/// Answers that the last evaluation of a training keeps, from the first test example.
pub const SHOWN_ANSWERS: usize = 3;

/// Optimizer steps in which vectors of new puzzles are learned, unless the options say otherwise.
pub const ADAPT_STEPS: u64 = 200;

/// How a spec is trained, beyond the keys of the spec itself. On one device, no option changes the result of a step.
///
/// # Examples
///
/// ```
/// use hrmc::{Places, TrainOptions, devices};
///
/// let cpu = devices(&Places::default()).remove(0);
/// let options = TrainOptions { device: cpu, steps: Some(100), eval_limit: Some(64), ..TrainOptions::default() };
/// assert_eq!(options.device.name(), "cpu");
/// ```
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Device that runs the programs.
    pub device: Arc<dyn Device>,
    /// Threads to compute with.
    pub threads: usize,
    /// Step to stop at, counted from the beginning of the run; `None` for the last of the schedule.
    pub steps: Option<u64>,
    /// Test examples of each evaluation, from the first; 0 for no evaluation, `None` for as many as the spec says: by
    /// `eval_share`, else all.
    pub eval_limit: Option<usize>,
    /// Time between two checkpoints: the most training that a crash can lose.
    pub save_every: Duration,
}

impl Default for TrainOptions {
    /// The CPU with a thread for each core, all steps, all test examples, a checkpoint every five minutes.
    fn default() -> Self {
        TrainOptions {
            device: Arc::new(crate::device::cpu::Cpu),
            threads: EngineOptions::default().threads,
            steps: None,
            eval_limit: None,
            save_every: Duration::from_secs(300),
        }
    }
}

/// What happens while a spec is trained.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
///
/// use hrmc::{Data, Event, Run, Spec, TrainOptions, Training};
///
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = Data::of(&spec, ".".as_ref())?;
/// # let folder = tempfile::tempdir()?;
/// let mut training = Training::new(&spec, data, TrainOptions::default())?;
/// let run = Run::create(folder.path(), &training)?;
/// let outcome = training.run(&run, |event| match event {
///     // Enough is enough.
///     Event::Step(report) if report.step == 2 => ControlFlow::Break(()),
///     _ => ControlFlow::Continue(()),
/// })?;
/// assert!(outcome.interrupted);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Event<'a> {
    /// The training begins, or continues.
    Begin,
    /// Something that the user should know about the files of the run, or about what is not done.
    Note(&'a str),
    /// A step was done.
    Step(&'a StepReport),
    /// An evaluation has come so far. This is told before each of its segments, and at its end.
    Evaluating {
        /// Examples that are done.
        examples: usize,
        /// Examples there are to do.
        total: usize,
    },
    /// An evaluation was done after a step.
    Evaluated {
        /// Optimizer steps done.
        step: u64,
        /// What it found.
        evaluation: &'a Evaluation,
        /// Whether its exact accuracy is the best so far; of equals, the one with the lowest loss is, then the newest.
        best: bool,
    },
    /// Something is wrong with a training that goes on. Each concern is told once.
    Concern {
        /// Optimizer steps done.
        step: u64,
        /// What is wrong.
        concern: &'a Concern,
    },
    /// A number was not finite, and the training goes back to an earlier step, as its spec says.
    WentBack {
        /// What was not finite: one message.
        divergence: &'a str,
        /// Optimizer steps done, now.
        step: u64,
        /// Factor of all learning rates from here on.
        rate_factor: f64,
    },
    /// The checkpoint `last` was written after a step.
    Saved {
        /// Optimizer steps done.
        step: u64,
    },
}

/// How a training ended.
///
/// # Examples
///
/// ```
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// # let options = hrmc::TrainOptions { steps: Some(6), ..hrmc::TrainOptions::default() };
/// let mut training = hrmc::Training::resume(&run, run.data(".")?, options)?;
/// let outcome = training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// assert_eq!((outcome.step, outcome.interrupted), (6, false));
/// println!("best exact accuracy so far: {:?}", outcome.best);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Optimizer steps done, those of earlier parts of the run included.
    pub step: u64,
    /// Whether the caller stopped it.
    pub interrupted: bool,
    /// The last evaluation, if there was one.
    pub evaluation: Option<Evaluation>,
    /// Best exact accuracy of any evaluation of the run.
    pub best: Option<f64>,
    /// Step of that evaluation.
    pub best_step: Option<u64>,
    /// Whether the training is finished before its last step, because `patience` of its spec has ended it.
    pub is_out_of_patience: bool,
}

/// A spec in training.
///
/// # Examples
///
/// ```
/// use hrmc::{Data, Spec, TrainOptions, Training};
///
/// let small = ["train.data.train=64", "train.data.test=8"];
/// let spec = Spec::open("specs/quickstart.hrm", &small)?;
/// let data = Data::of(&spec, ".".as_ref())?;
/// let mut training = Training::new(&spec, data, TrainOptions::default())?;
/// for _ in 0..3 {
///     println!("loss {:.3}", training.step()?.means().loss);
/// }
/// assert_eq!(training.steps_done(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Training {
    spec: Spec,
    data: Data,
    options: TrainOptions,
    trainer: Trainer,
    sizes: Sizes,
    seed: u64,
    /// Test rows of an evaluation on the way, if the spec does not ask for all.
    sample: Option<SampleSize>,
    /// Step to stop at.
    stop: u64,
    /// What it keeps in the folder of its run, once there is one.
    keeper: Option<Keeper>,
}

impl Run {
    /// Makes a folder for a training in `runs`, `NAME-NNN` with the next free number.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be made or written.
    pub fn create(runs: impl AsRef<Path>, training: &Training) -> Result<Run, Error> {
        Run::create_folder(runs.as_ref(), training.manifest(), training.spec().clone())
    }

    /// Makes a folder for a training as [`Run::create`], and moves the folder of its data into it.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Run::create`], or if the data was not read from a folder.
    pub fn create_with_data(runs: impl AsRef<Path>, training: &Training) -> Result<Run, Error> {
        let folder = training.data().read_from().ok_or_else(|| {
            Error::unsuitable(format!("{} is in no folder that could be moved", training.data().name()))
        })?;
        Run::move_with_data(runs.as_ref(), training.manifest(), training.spec().clone(), folder)
    }
}

impl Training {
    /// Compiles the programs of a spec, checks that they fit in memory and the data fits them, and draws the weights.
    ///
    /// # Errors
    ///
    /// Returns an error if the spec has no `train` block, the data does not fit it, or memory or threads cannot be had.
    pub fn new(spec: &Spec, data: Data, options: TrainOptions) -> Result<Training, Error> {
        if spec.model().train.is_none() {
            return Err(untrained(spec.model()));
        }
        data.check_fit(spec)?;
        data.refuse_what_teaches_nothing()?;
        let spec = data.kept_in(spec);
        let seed = train_of(spec.model()).seed;
        Training::prepare(spec, data, seed, options, None)
    }

    /// Continues a run from its checkpoint `last`: the next step is the one that would have followed it.
    ///
    /// `data` is [that of the run](Run::data). If a program [made](Data::given) the data of the run, it makes the
    /// same data again. Only a folder that [stands in](Data::open) for the data of the run may have another test split.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no checkpoint, it is damaged, or belongs to other data; else as [`Training::new`].
    pub fn resume(run: &Run, data: Data, options: TrainOptions) -> Result<Training, Error> {
        data.check_fit_of(run.spec().model())?;
        run.refuse_other_puzzles(&data, options.eval_limit)?;
        let manifest = run.manifest();
        let sample = SampleSize::of_run(manifest);
        let mut training = Training::prepare(run.spec().clone(), data, manifest.seed, options, sample)?;
        training.continue_from(run)?;
        Ok(training)
    }

    /// Takes a new run for this process before [`Training::run`] does.
    ///
    /// # Errors
    ///
    /// Returns an error if another process has taken it.
    pub fn take(&mut self, run: &Run) -> Result<(), Error> {
        let mut keeper = Keeper::of_new(run.folder(), self.eval_every())?;
        keeper.lock()?;
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Restores the newest checkpoint of a run, and takes the run for this process.
    pub(super) fn continue_from(&mut self, run: &Run) -> Result<(), Error> {
        let keeper = Keeper::resume(run.folder(), self.eval_every(), &mut self.trainer)?;
        let (has_ended, is_at_end) = (keeper.has_ended(), keeper.is_out_of_patience(&self.trainer));
        self.keeper = Some(keeper);
        let step = self.trainer.steps_done();
        if has_ended {
            return Err(Error::unsuitable(format!(
                "`{}` is finished: its training ended after {}, because {} found nothing better (`patience`); begin \
                 another run with more patience (`--set train.patience=N`, or `=none` for all steps)",
                run.path().display(),
                counted(step as usize, "step"),
                evaluations_in_a_row(train_of(self.spec.model()).patience.unwrap_or(0)),
            )));
        }
        if is_at_end {
            // A process that was killed when it was about to say so.
            return Ok(());
        }
        let is_evaluated = !self.is_evaluation_due(step) || run.folder().has_evaluation(step);
        if step > self.stop || (step == self.stop && is_evaluated) {
            return Err(Error::unsuitable(format!(
                "`{}` has done {} already; ask for more, counted from the beginning of the run (`--steps N`, or \
                 `TrainOptions::steps`)",
                run.path().display(),
                counted(step as usize, "step"),
            )));
        }
        Ok(())
    }

    /// Makes this a training that has not begun; `start` is a checkpoint of step 0.
    #[cfg(test)]
    pub(super) fn begin_again(&mut self, start: &Path) {
        self.trainer.restore(start).expect("it is a checkpoint of this training");
        self.keeper = None;
    }

    /// Begins to learn vectors for puzzles that a run has never seen, from rows of these.
    ///
    /// The weights are those of a checkpoint of the run, averaged if it has averages, and stay as they are. Every row of
    /// the puzzle table begins as the mean of the learned ones.
    ///
    /// # Errors
    ///
    /// Returns an error if the model of the run has no puzzle vectors, there is no such checkpoint, or the data does not
    /// fit; else as [`Training::new`].
    pub fn adapt(
        run: &Run,
        checkpoint: Checkpoint,
        data: Data,
        options: TrainOptions,
    ) -> Result<Training, Error> {
        let model = run.spec().model();
        if model.puzzles.is_none() {
            return Err(Error::unsuitable(format!(
                "the model `{}` has no vectors of puzzles (`puzzles` in its spec), so it cannot learn any",
                model.name
            )));
        }
        data.check_fit_of(model)?;
        data.refuse_what_teaches_nothing()?;
        let (_, weights) = run.weights(checkpoint)?;
        let mut spec = run.spec().clone();
        let rows = data.train().examples();
        spec.change_training(|train| {
            train.data = ir::Data::Folder(OWN_DATA.to_string());
            train.optimizer.adam_mut().lr = 0.0;
            train.schedule = Schedule { shape: ScheduleShape::Constant, warmup_steps: 0, min_ratio: 1.0 };
            train.ema = None;
            train.batch = train.batch.min(rows);
            train.length = Length::Steps(options.steps.unwrap_or(ADAPT_STEPS));
            train.eval_every = None;
            train.eval_share = None;
            train.patience = None;
            train.augment = ir::Augmentation::None;
        });
        let seed = run.manifest().seed;
        let options = TrainOptions { eval_limit: Some(0), ..options };
        let mut training = Training::prepare(spec, data, seed, options, None)?;
        training.trainer.load_weights_for_other_puzzles(&weights)?;
        Ok(training)
    }

    /// Prepares a training; `sample` is that of its run, if there is one.
    fn prepare(
        spec: Spec,
        data: Data,
        seed: u64,
        mut options: TrainOptions,
        sample: Option<SampleSize>,
    ) -> Result<Training, Error> {
        if !data.test().has_labels() {
            // An evaluation would measure nothing, and a checkpoint would be the best of equals.
            options.eval_limit = Some(0);
        }
        let model = spec.model();
        let train = train_of(model);
        let sizes = Sizes { batch: train.batch, puzzle_rows: data.puzzle_rows(model) };
        let total_steps = steps_in(train.length, data.train().metadata(), sizes.batch);
        if total_steps == 0 {
            return Err(Error::unsuitable(format!(
                "the training of `{}` is shorter than one step; raise `train.epochs` or lower `train.batch`",
                model.name
            )));
        }
        let examples = options.eval_limit.unwrap_or(usize::MAX).min(data.test().examples());
        let evaluate_batch = evaluate_batch(sizes.batch, examples);
        let programs = TrainerParts::programs(model, sizes, evaluate_batch);
        let engine = EngineOptions { threads: options.threads };
        let wanted = Wanted { model, programs: &programs, data_bytes: DataSize::of_data(&data).bytes };
        check_memory(&wanted, &*options.device, &engine)?;
        let augment = data.augment(model)?;
        let trainer = Trainer::new(TrainerParts {
            model: model.clone(),
            device: &*options.device,
            engine,
            sizes,
            evaluate_batch,
            data: Arc::clone(data.train()),
            augment,
            seed,
            total_steps,
        })?;
        let stop = options.steps.unwrap_or(total_steps);
        let mut training = Training { spec, data, options, trainer, sizes, seed, sample, stop, keeper: None };
        training.sample = training.sample.or_else(|| training.sample_size());
        Ok(training)
    }

    /// Returns how many test rows the spec lets an evaluation on the way take, if it does not ask for all.
    fn sample_size(&self) -> Option<SampleSize> {
        let examples = Some(self.data.test().examples()).filter(|&examples| examples > 0)?;
        let evaluate_batch = evaluate_batch(self.sizes.batch, examples);
        SampleSize::of(self.spec.model(), self.sizes, self.eval_every()?, evaluate_batch)
    }

    /// Does one step: one segment of every row of the batch, and one update of the weights.
    ///
    /// # Errors
    ///
    /// Returns an error if a device fails or a number is not finite.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        self.trainer.step()
    }

    /// Trains to the last step, and keeps metrics and checkpoints in the folder of a run.
    ///
    /// `watch` gets every event, and may stop the training after any of them. Everything is saved then, and a further
    /// call continues. A first checkpoint is saved before the first step, and one before each evaluation. If `patience`
    /// of the spec ends the training before its last step, it is finished, and a further call does nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if another process trains the run or has trained it, the disk has too little room, a number is
    /// not finite, a device fails, or a file cannot be written. Checkpoints that were saved before stay as they are.
    pub fn run(
        &mut self,
        run: &Run,
        watch: impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        let mut keeper = match self.keeper.take().filter(|keeper| keeper.is_of(run.folder())) {
            Some(keeper) => keeper,
            None => Keeper::of_new(run.folder(), self.eval_every())?,
        };
        let outcome = self.run_keeping(&mut keeper, Watch { watch, stopped: false });
        keeper.close();
        self.keeper = Some(keeper);
        outcome
    }

    fn run_keeping<W: FnMut(&Event<'_>) -> ControlFlow<()>>(
        &mut self,
        keeper: &mut Keeper,
        mut watch: Watch<W>,
    ) -> Result<Outcome, Error> {
        keeper.open(&self.trainer, self.stop.saturating_sub(self.trainer.steps_done()))?;
        watch.tell(&Event::Begin);
        if self.trainer.steps_done() == 0 {
            watch.tell(&Event::Saved { step: 0 });
        }
        for note in keeper.take_notes() {
            watch.tell(&Event::Note(&note));
        }
        if train_of(self.spec.model()).patience.is_some() && self.options.eval_limit == Some(0) {
            watch.tell(&Event::Note("`patience` has no effect: this training is not evaluated"));
        }
        let mut latest = None;
        let mut health = Health::of(&keeper.lines());
        let mut saved = Instant::now();
        let mut clock = Clock::new(keeper.seconds_before());
        // A run that was killed before the end of an evaluation makes it up.
        let step = self.trainer.steps_done();
        let mut is_made_up = step > 0 && self.is_evaluation_due(step) && !keeper.has_evaluation(step);
        if !is_made_up {
            self.save_for_rollback(keeper)?;
        }
        while !watch.stopped && (is_made_up || !self.is_done(keeper)) {
            if !std::mem::take(&mut is_made_up) {
                clock.begin();
                match self.trainer.step() {
                    Ok(report) => {
                        let times = clock.line(TimesKind::Train, report.step, self.sizes.batch);
                        let line = report.line();
                        keeper.append(&line)?;
                        keeper.append_times(&times)?;
                        watch.tell(&Event::Step(&report));
                        watch.tell_concern(report.step, health.see(&line));
                    }
                    Err(Error::Diverged(divergence)) => {
                        self.go_back(keeper, *divergence, &mut watch)?;
                        (health, saved) = (Health::of(&keeper.lines()), Instant::now());
                        continue;
                    }
                    Err(error) => return Err(keeper.with_what_is_kept(error)),
                }
            }
            let step = self.trainer.steps_done();
            let is_evaluated = self.is_evaluation_due(step);
            if !is_evaluated {
                self.save_for_rollback(keeper)?;
            }
            if self.is_due(step) || saved.elapsed() > self.options.save_every {
                // Evaluation leaves the state of training alone and may take long, so the state is safe first.
                self.save(keeper, &mut watch)?;
                saved = Instant::now();
            }
            if is_evaluated {
                clock.begin();
                let evaluation =
                    self.evaluate_on_the_way(&mut watch).map_err(|error| keeper.with_what_is_kept(error))?;
                let Some((evaluation, judged)) = evaluation else { continue };
                if !evaluation.is_finite() {
                    self.go_back(keeper, self.trainer.evaluation_diverged(), &mut watch)?;
                    (health, saved) = (Health::of(&keeper.lines()), Instant::now());
                    continue;
                }
                let times = clock.line(TimesKind::Evaluation, step, evaluation.examples);
                // Before the line of the evaluation, which says that nothing is left to make up.
                self.save_for_rollback(keeper)?;
                latest = Some(self.keep_evaluation(keeper, evaluation, &judged, &mut health, &mut watch)?);
                keeper.append_times(&times)?;
            }
        }
        let is_out_of_patience = keeper.is_out_of_patience(&self.trainer);
        if is_out_of_patience {
            keeper.end(&self.trainer)?;
        } else if watch.stopped {
            self.save(keeper, &mut watch)?;
        }
        Ok(Outcome {
            step: self.trainer.steps_done(),
            interrupted: watch.stopped && !is_out_of_patience,
            evaluation: latest,
            best: keeper.best(),
            best_step: keeper.best_step(),
            is_out_of_patience,
        })
    }

    /// Returns whether the training is over, by its steps or by `patience`.
    fn is_done(&self, keeper: &Keeper) -> bool {
        self.trainer.steps_done() >= self.stop || keeper.is_out_of_patience(&self.trainer)
    }

    /// Saves the checkpoint to go back to, if the spec asks for one and this is a step for it: the first, or one that the
    /// schedule evaluates. Other steps at which a training is saved depend on the clock, and on where it was stopped.
    fn save_for_rollback(&mut self, keeper: &mut Keeper) -> Result<(), Error> {
        let step = self.trainer.steps_done();
        let is_due = step == 0 || self.eval_every().is_some_and(|every| step.is_multiple_of(every));
        match train_of(self.spec.model()).on_divergence {
            OnDivergence::Rollback { .. } if is_due => keeper.save_for_rollback(&self.trainer),
            OnDivergence::Rollback { .. } | OnDivergence::Stop => Ok(()),
        }
    }

    /// Goes back because a number is not finite, if the spec asks for that and it was not done too often.
    fn go_back<W: FnMut(&Event<'_>) -> ControlFlow<()>>(
        &mut self,
        keeper: &mut Keeper,
        divergence: Divergence,
        watch: &mut Watch<W>,
    ) -> Result<(), Error> {
        let train = train_of(self.spec.model());
        match train.on_divergence {
            OnDivergence::Rollback { most, .. } if (self.trainer.rollbacks() as usize) < most => {
                keeper.go_back(&mut self.trainer)?;
                watch.tell(&Event::WentBack {
                    divergence: &divergence.short(),
                    step: self.trainer.steps_done(),
                    rate_factor: rate_factor(train, self.trainer.rollbacks()),
                });
                Ok(())
            }
            OnDivergence::Rollback { .. } | OnDivergence::Stop => {
                Err(Error::Diverged(Box::new(keeper.left_by(divergence))))
            }
        }
    }

    /// Returns whether the schedule has an evaluation after a step.
    fn is_due(&self, step: u64) -> bool {
        step == self.stop || self.eval_every().is_some_and(|every| step.is_multiple_of(every))
    }

    /// Returns whether the training evaluates after a step.
    fn is_evaluation_due(&self, step: u64) -> bool {
        self.options.eval_limit != Some(0) && self.is_due(step)
    }

    fn save<W: FnMut(&Event<'_>) -> ControlFlow<()>>(
        &mut self,
        keeper: &mut Keeper,
        watch: &mut Watch<W>,
    ) -> Result<(), Error> {
        keeper.save(&self.trainer)?;
        watch.tell(&Event::Saved { step: self.trainer.steps_done() });
        Ok(())
    }

    /// Keeps what an evaluation has found; `judged` decides whether it is the best.
    fn keep_evaluation<W: FnMut(&Event<'_>) -> ControlFlow<()>>(
        &mut self,
        keeper: &mut Keeper,
        evaluation: Evaluation,
        judged: &MetricMeans,
        health: &mut Health,
        watch: &mut Watch<W>,
    ) -> Result<Evaluation, Error> {
        let step = self.trainer.steps_done();
        let line = MetricsLine::Evaluation {
            step,
            examples: evaluation.examples,
            means: evaluation.metrics.means(),
        };
        let best = keeper.keep_evaluation(&self.trainer, &line, judged)?;
        watch.tell(&Event::Evaluated { step, evaluation: &evaluation, best });
        watch.tell_concern(step, health.see(&line));
        Ok(evaluation)
    }

    /// Evaluates as options and spec say; `None` if the caller stops it. The means are those that can be compared with
    /// other evaluations of the run, of the rows that each of them takes.
    fn evaluate_on_the_way<W: FnMut(&Event<'_>) -> ControlFlow<()>>(
        &mut self,
        watch: &mut Watch<W>,
    ) -> Result<Option<(Evaluation, MetricMeans)>, Error> {
        let step = self.trainer.steps_done();
        // Some answers of the last evaluation are worth showing.
        let keep_answers = if step == self.stop { SHOWN_ANSWERS } else { 0 };
        let of_sample = EvaluationRequest { keep_answers, ..self.sample_request() };
        let all = EvaluationRequest { limit: self.options.eval_limit, sample: None, ..of_sample };
        let request = if step == self.trainer.total_steps() { all } else { of_sample };
        let test = Arc::clone(self.data.test());
        // In order, as the answers are.
        let mut sample = of_sample.rows(&test).into_iter().peekable();
        let mut judged = Metrics::default();
        let observe = &mut |done: EvaluationProgress| {
            watch.tell(&Event::Evaluating { examples: done.examples, total: done.total });
            if watch.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let take = &mut |_: &AskedRow, answer: &RowAnswer| {
            if sample.next_if_eq(&answer.row).is_some() {
                judged.add(&answer.metrics());
            }
        };
        let evaluation = self.trainer.evaluate(&test, request, observe, take)?;
        Ok(evaluation.map(|evaluation| (evaluation, judged.means())))
    }

    /// Returns which rows an evaluation on the way takes.
    fn sample_request(&self) -> EvaluationRequest {
        let default = EvaluationRequest::default();
        match (self.options.eval_limit, self.sample) {
            (None, Some(SampleSize { rows, .. })) => {
                EvaluationRequest { limit: Some(rows), sample: Some(self.seed), ..default }
            }
            (limit, _) => EvaluationRequest { limit, ..default },
        }
    }

    /// Returns how many test rows an evaluation on the way takes by `eval_share`; `None` if it takes as many as the one
    /// after the last step.
    pub fn sample_rows(&self) -> Option<usize> {
        let rows = self.sample.filter(|_| self.options.eval_limit.is_none())?.rows;
        Some(rows).filter(|&rows| rows < self.data.test().examples())
    }

    /// Evaluates all rows of a dataset with the weights of this moment, averaged if the spec asks for averages.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset does not fit the model, or a device fails.
    pub fn evaluate(&mut self, dataset: &Dataset) -> Result<Evaluation, Error> {
        let whole = &mut |_| ControlFlow::Continue(());
        let request = EvaluationRequest::default();
        let evaluation = self.trainer.evaluate(dataset, request, whole, &mut |_, _| {})?;
        Ok(evaluation.expect("nothing stops it"))
    }

    /// Answers questions with the weights of this moment.
    ///
    /// # Errors
    ///
    /// Returns an error if a question does not fit the model, or a device fails.
    pub fn solve(&mut self, questions: &[Question]) -> Result<Vec<Answer>, Error> {
        self.trainer.solve(questions)
    }

    /// Returns what the run of this training is: its manifest.
    pub(super) fn manifest(&self) -> RunManifest {
        let mut manifest = RunManifest::new(
            &self.spec.model().name,
            &self.spec.resolved(),
            self.seed,
            self.options.device.name(),
            self.data.train(),
            self.data.test(),
        )
        .with_overrides(self.spec.overrides());
        manifest.test_data_sha256 = self.data.test_hash().unwrap_or_default();
        manifest.data_folder = self.data.read_from().and_then(absolute_text);
        if let Some(sample) = self.sample {
            sample.write_to(&mut manifest);
        }
        manifest
    }

    /// Returns the spec, with what was chosen besides.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the data.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Returns the options.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Returns the rows of a training batch, and of the puzzle table.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Returns the seed of every random stream.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the optimizer steps done.
    pub fn steps_done(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// Returns the step at which [`Training::run`] stops.
    pub fn last_step(&self) -> u64 {
        self.stop
    }

    /// Returns the steps of the whole schedule.
    pub fn total_steps(&self) -> u64 {
        self.trainer.total_steps()
    }

    /// Returns the steps between two evaluations; `None` if there is only one, at the end.
    pub fn eval_every(&self) -> Option<u64> {
        let every = train_of(self.spec.model()).eval_every?;
        Some(steps_in(every, self.data.train().metadata(), self.sizes.batch).max(1))
    }
}

/// Returns the rows of an evaluation batch, for a training batch of `batch` rows and as many test examples.
pub fn evaluate_batch(batch: usize, examples: usize) -> usize {
    // A batch larger than the data would only hold padding.
    batch.min(examples).max(1)
}

fn train_of(model: &Model) -> &Train {
    model.train.as_ref().expect("a training has a spec with a `train` block")
}

/// Shortest time between two looks at the memory of the process.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Measures how long steps and evaluations take.
struct Clock {
    /// Seconds of training before it was started.
    before: f64,
    started: Instant,
    /// When the present step or evaluation began.
    begun: Instant,
    /// When the memory of the process was looked at.
    looked: Option<Instant>,
}

impl Clock {
    fn new(before: f64) -> Clock {
        let now = Instant::now();
        Clock { before, started: now, begun: now, looked: None }
    }

    /// A step or an evaluation begins.
    fn begin(&mut self) {
        self.begun = Instant::now();
    }

    /// Returns the line about the step or the evaluation that has just ended, of so many rows.
    fn line(&mut self, kind: TimesKind, step: u64, rows: usize) -> TimesLine {
        let now = Instant::now();
        // A clock may be too coarse for a small model.
        let took = (now - self.begun).max(Duration::from_nanos(1));
        let is_time = self.looked.is_none_or(|looked| now - looked >= BETWEEN_LOOKS);
        if is_time {
            self.looked = Some(now);
        }
        TimesLine {
            kind,
            step,
            seconds: self.before + (now - self.started).as_secs_f64(),
            rows_per_second: rows as f64 / took.as_secs_f64(),
            resident_bytes: if is_time { system::memory::resident_bytes() } else { None },
        }
    }
}

/// Tells the caller what happens, and remembers whether it wants to stop.
struct Watch<W> {
    watch: W,
    stopped: bool,
}

impl<W: FnMut(&Event<'_>) -> ControlFlow<()>> Watch<W> {
    fn tell(&mut self, event: &Event<'_>) {
        self.stopped |= (self.watch)(event).is_break();
    }

    fn tell_concern(&mut self, step: u64, concern: Option<Concern>) {
        if let Some(concern) = &concern {
            self.tell(&Event::Concern { step, concern });
        }
    }
}
