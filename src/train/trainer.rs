//! Training: one segment and one optimizer step at a time.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::answers::{AskedRow, RowAnswer};
use super::divergence::{Divergence, NotFinite, Watched, gradient_norm};
use super::error::Error;
use super::evaluate::{self, Evaluation, EvaluationProgress, EvaluationRequest};
use super::explore::draw_floors;
use super::fit::check_fit;
use super::halting::{SlotOutcome, halts, is_last};
use super::infer;
use super::init::initialize;
use super::metrics::Metrics;
use super::refill::{mask, refill};
use super::schedule::{StepScalars, step_scalars};
use super::slots::{self, SlotRow};
use super::solve::{self, Answer, Question};
use super::streams::EXPLORE;
use crate::data::random::Stream;
use crate::data::{Augment, Dataset, Row, TrainLoader};
use crate::device::{Device, DeviceError, EngineOptions, Executable, Session};
use crate::ir::{Model, Train};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::{Parameter, parameters};
use crate::lower::{Program, Sizes};
use crate::pipeline::{compile, executable};
use crate::store::checkpoint::{self, Before, Saved, StoredCheckpoint, TrainerState, Waited};
use crate::store::tensors::WeightsFile;
use crate::store::{CheckpointError, MetricMeans, MetricsLine};

/// Name the training program is loaded under.
const PROGRAM: &str = "train";

const SCOPE: Scope = Scope::Train;

/// The parts of a [`Trainer`].
pub struct TrainerParts<'a> {
    /// The model; needs a `train` block.
    pub model: Model,
    /// Device that runs its programs.
    pub device: &'a dyn Device,
    /// Limits on what the device may use of the machine.
    pub engine: EngineOptions,
    /// Rows of the training batch, and of the puzzle table.
    pub sizes: Sizes,
    /// Rows of the evaluation batch.
    pub evaluate_batch: usize,
    /// Training data.
    pub data: Arc<Dataset>,
    /// Symmetries under which training rows are drawn.
    pub augment: Option<Augment>,
    /// Seed of every random stream.
    pub seed: u64,
    /// Steps of the whole schedule; see [`steps_in`](super::schedule::steps_in).
    pub total_steps: u64,
}

impl TrainerParts<'_> {
    /// Returns the programs of a trainer, with their sizes.
    pub fn programs(model: &Model, sizes: Sizes, evaluate_batch: usize) -> [(Program, Sizes); 2] {
        let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
        let evaluate = Sizes { batch: evaluate_batch, ..sizes };
        [(Program::Train, sizes), (Program::Evaluate { averaged }, evaluate)]
    }
}

/// The result of one step.
///
/// # Examples
///
/// ```
/// # use hrmc::{Data, Spec, TrainOptions, Training};
/// # let small = ["train.data.train=64", "train.data.test=8"];
/// # let spec = Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = Data::of(&spec, ".".as_ref())?;
/// # let mut training = Training::new(&spec, data, TrainOptions::default())?;
/// let report = training.step()?;
/// assert_eq!((report.step, report.refilled), (1, training.sizes().batch));
/// println!("learning rate {}, loss {:.3}", report.learning_rate(), report.means().loss);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Optimizer steps done, this one included.
    pub step: u64,
    /// Passes over the groups of the training data, this step included.
    pub epochs: f64,
    /// Slots that took a new row before this step.
    pub refilled: usize,
    /// Slots that halted after it.
    pub halted: usize,
    /// Norm of the gradient of the mean loss of the batch, over all weights that are trained, the puzzle vectors of the
    /// batch included; before the optimizer makes a step of it.
    pub gradient_norm: Option<f64>,
    /// Floating-point operations of products and attention in all steps that led here, this one included.
    pub flops: f64,
    /// Learning rates and scalars of the optimizer.
    #[doc(hidden)]
    pub scalars: StepScalars,
    /// Losses of all rows, and what the rows that halted got right.
    #[doc(hidden)]
    pub metrics: Metrics,
}

impl StepReport {
    /// Returns the learning rate of the weights.
    pub fn learning_rate(&self) -> f32 {
        self.scalars.lr
    }

    /// Returns means of losses and accuracies over the rows of the batch.
    pub fn means(&self) -> MetricMeans {
        self.metrics.means()
    }

    /// Returns the line of `metrics.jsonl` about the step.
    pub fn line(&self) -> MetricsLine {
        MetricsLine::Train {
            step: self.step,
            epochs: self.epochs,
            lr: self.scalars.lr,
            gradient_norm: self.gradient_norm,
            flops: Some(self.flops),
            means: self.metrics.means(),
        }
    }
}

/// What the run of a trainer records in a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Exact accuracy of the evaluation after which the checkpoint is kept, if there was one.
    pub exact_accuracy: Option<f64>,
    /// Mean loss of that evaluation.
    pub loss: Option<f64>,
    /// Checksum of the lines of metrics so far.
    pub metrics_sha256: Option<String>,
    /// How long the training has waited for a better evaluation.
    pub waited: Option<Waited>,
}

/// A model in training.
pub struct Trainer {
    model: Model,
    session: Session,
    parameters: Vec<Parameter>,
    puzzle_rows: usize,
    loader: TrainLoader,
    augment: Option<Augment>,
    explore: Stream,
    /// Fingerprint of the training data.
    data_hash: String,
    seed: u64,
    total_steps: u64,
    step: u64,
    /// How often it has gone back because a number was not finite.
    rollbacks: u32,
    /// Segments each slot has done on its row.
    steps: Vec<u32>,
    /// Whether each slot takes a new row before the next segment.
    halted: Vec<bool>,
    /// Floating-point operations of a step.
    step_flops: u64,
    /// The weights whose updates sum up the squares of their gradients.
    watched: Vec<Watched>,
    /// The first numbers that were not finite. The memory is spoiled then, and no further step is done.
    diverged: Option<Divergence>,
}

impl Trainer {
    /// Compiles the programs, draws the weights and makes everything ready for the first step.
    ///
    /// # Errors
    ///
    /// Returns an error if threads cannot be started, memory cannot be allocated, the model has no `train` block, or
    /// the data does not fit it.
    pub fn new(parts: TrainerParts<'_>) -> Result<Self, Error> {
        Trainer::with_program(parts, Program::Train)
    }

    /// Does the same with another program than [`Program::Train`] for a step, one of the same inputs and results.
    pub(crate) fn with_program(parts: TrainerParts<'_>, program: Program) -> Result<Self, Error> {
        let TrainerParts { model, device, sizes, evaluate_batch, data, augment, seed, total_steps, .. } =
            parts;
        if model.train.is_none() {
            return Err(Error::unsuitable(format!(
                "the model `{}` cannot be trained: its spec has no `train` block",
                model.name
            )));
        }
        check_fit(&model, sizes.puzzle_rows, &data, "the training puzzles")?;
        let data_hash = data.fingerprint();
        let loader = TrainLoader::new(data, augment.clone(), seed)?;
        let mut session = Session::open(device, &parts.engine)?;
        let [_, (evaluate, evaluate_sizes)] = TrainerParts::programs(&model, sizes, evaluate_batch);
        let training = executable(&model, program, sizes, device);
        let step_flops = match &training {
            Executable::Plan(plan) => plan.flops(),
            Executable::Graph(_) => compile(&model, program, sizes).flops(),
        };
        session.load(PROGRAM, training)?;
        session.load(infer::PROGRAM, executable(&model, evaluate, evaluate_sizes, device))?;
        let parameters = parameters(&model, sizes.puzzle_rows);
        initialize(&mut session, &parameters, seed)?;
        let watched = Watched::of(&session, &parameters);
        let batch = sizes.batch;
        Ok(Trainer {
            model,
            session,
            parameters,
            puzzle_rows: sizes.puzzle_rows,
            loader,
            augment,
            explore: Stream::new(seed, EXPLORE, 0),
            data_hash,
            seed,
            total_steps,
            step: 0,
            rollbacks: 0,
            steps: vec![0; batch],
            halted: vec![true; batch],
            step_flops,
            watched,
            diverged: None,
        })
    }

    /// Runs one segment of every slot and updates the weights; slots that halted take the next rows of the data.
    ///
    /// # Errors
    ///
    /// Returns an error if a device fails, or a number is not finite: until a checkpoint is restored, there is no further
    /// step then. Checkpoints that were saved before stay as they are.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        if let Some(divergence) = &self.diverged {
            return Err(Error::Diverged(Box::new(divergence.clone())));
        }
        let waiting = self.halted.iter().filter(|&&halted| halted).count();
        let rows = self.loader.next_rows(waiting);
        self.step_on(&rows)
    }

    /// Does the same with rows that the caller gives, one for each slot that halted, in the order of the slots.
    pub(crate) fn step_on(&mut self, rows: &[Row]) -> Result<StepReport, Error> {
        let refill = refill(&self.halted, &self.steps);
        assert_eq!(rows.len(), refill.slots.len(), "every slot that halted takes a row");
        for (&slot, row) in refill.slots.iter().zip(rows) {
            self.put(slot, row)?;
        }
        slots::set_reset(&mut self.session, SCOPE, &mask(self.halted.iter().copied()))?;

        self.steps = refill.steps.iter().map(|steps| steps + 1).collect();
        self.set_at_limit()?;
        self.step += 1;
        let scalars = step_scalars(self.train(), self.step, self.total_steps, self.rollbacks);
        self.set_scalars(&scalars)?;
        self.session.run(PROGRAM)?;

        let floors = draw_floors(&self.model.halt, self.steps.len(), &mut self.explore);
        self.halted = self.decide_halting(&floors)?;
        let segment = slots::results(&self.session, SCOPE, &self.steps, &self.halted)?;
        let found = Divergence::find(&self.session, &segment, &self.watched, |what| {
            Divergence::new(self.step, scalars.lr, what, self.rollbacks, self.train())
        })?;
        if let Some(divergence) = found {
            self.step -= 1;
            self.diverged = Some(divergence.clone());
            return Err(Error::Diverged(Box::new(divergence)));
        }
        Ok(StepReport {
            step: self.step,
            epochs: self.loader.epochs_done(),
            refilled: refill.slots.len(),
            halted: self.halted.iter().filter(|&&halted| halted).count(),
            gradient_norm: gradient_norm(&self.session, &self.watched)?,
            flops: self.step as f64 * self.step_flops as f64,
            scalars,
            metrics: Metrics::of(&segment, self.steps.len()),
        })
    }

    fn put(&mut self, slot: usize, row: &Row) -> Result<(), DeviceError> {
        let row = SlotRow { tokens: &row.inputs, labels: &row.labels, puzzle: row.puzzle };
        slots::put(&mut self.session, SCOPE, slot, row)
    }

    /// Puts a row into every slot, with the segments done on it and whether it halted, as earlier steps would have left
    /// them.
    pub(crate) fn set_slots(
        &mut self,
        rows: &[Row],
        steps: Vec<u32>,
        halted: Vec<bool>,
    ) -> Result<(), DeviceError> {
        rows.iter().enumerate().try_for_each(|(slot, row)| self.put(slot, row))?;
        (self.steps, self.halted) = (steps, halted);
        Ok(())
    }

    /// Returns, for each slot, the segments done on its row and whether it takes a new one before the next.
    pub(crate) fn slots(&self) -> (&[u32], &[bool]) {
        (&self.steps, &self.halted)
    }

    fn set_at_limit(&mut self) -> Result<(), DeviceError> {
        // Only the target of `q_continue` needs it.
        if self.session.has(&SCOPE.at_limit()) {
            let at_limit = mask(self.steps.iter().map(|&steps| is_last(&self.model.halt, steps)));
            self.session.f32_mut(&SCOPE.at_limit())?.copy_from_slice(&at_limit);
        }
        Ok(())
    }

    fn set_scalars(&mut self, scalars: &StepScalars) -> Result<(), DeviceError> {
        let values = [
            (names::STEP_LR, Some(scalars.lr)),
            (names::STEP_SCALE, Some(scalars.step_scale)),
            (names::STEP_ROOT_SCALE, Some(scalars.root_scale)),
            (names::STEP_PUZZLE_LR, scalars.puzzle_lr),
        ];
        for (name, value) in values {
            if let Some(value) = value
                && self.session.has(name)
            {
                self.session.f32_mut(name)?[0] = value;
            }
        }
        Ok(())
    }

    fn decide_halting(&self, floors: &[u32]) -> Result<Vec<bool>, DeviceError> {
        let outcomes = slots::outcomes(&self.session, SCOPE, &self.steps)?;
        let decide = |(outcome, &floor)| halts(&self.model.halt, SlotOutcome { floor, ..outcome });
        Ok(outcomes.into_iter().zip(floors).map(decide).collect())
    }

    pub(super) fn train(&self) -> &Train {
        self.model.train.as_ref().expect("checked when the trainer was made")
    }

    /// Evaluates every row of `dataset` as the spec says under `infer`, else by its defaults.
    ///
    /// Training is not disturbed. `observe` is called before every segment and may stop the evaluation there, which
    /// then gives `None`; it is called once more at the end. `take` gets every answer, in the order of the dataset.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset does not fit the model, or a device fails.
    pub fn evaluate(
        &mut self,
        dataset: &Dataset,
        request: EvaluationRequest,
        observe: &mut dyn FnMut(EvaluationProgress) -> ControlFlow<()>,
        take: &mut dyn FnMut(&AskedRow, &RowAnswer),
    ) -> Result<Option<Evaluation>, Error> {
        let (model, rows) = (&self.model, self.puzzle_rows);
        evaluate::evaluate(&mut self.session, model, rows, dataset, request, observe, take)
    }

    /// Answers questions with the evaluation program.
    ///
    /// # Errors
    ///
    /// Returns an error if a question does not fit the model, or a device fails.
    pub fn solve(&mut self, questions: &[Question]) -> Result<Vec<Answer>, Error> {
        solve::solve(&mut self.session, &self.model, self.puzzle_rows, questions)
    }

    /// Reads initial weights from a safetensors file with the names of the published state dict. Averages begin equal
    /// to them.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or a tensor is missing, unexpected or of another shape.
    pub fn load_weights(&mut self, file: &Path) -> Result<(), CheckpointError> {
        checkpoint::load_weights(&mut self.session, &self.parameters, &file.into())
    }

    /// Reads initial weights of a model that was trained on other puzzles: every row of the puzzle table begins as the
    /// mean of the rows in the file.
    ///
    /// # Errors
    ///
    /// As [`Trainer::load_weights`].
    pub fn load_weights_for_other_puzzles(&mut self, file: &WeightsFile) -> Result<(), CheckpointError> {
        checkpoint::load_weights_for_other_puzzles(&mut self.session, &self.parameters, file)
    }

    /// Saves a checkpoint in `folder`; `before` says what becomes of the one that is there.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written; see [`checkpoint::save`].
    pub fn save(&self, folder: &Path, before: Before<'_>, record: Record) -> Result<(), CheckpointError> {
        let state = TrainerState {
            step: self.step,
            seed: self.seed,
            steps: self.steps.clone(),
            halted: self.halted.clone(),
            loader: self.loader.state(),
            explore_position: self.explore.position(),
            data: self.data_hash.clone(),
            exact_accuracy: record.exact_accuracy,
            loss: record.loss,
            rollbacks: self.rollbacks,
            waited: record.waited,
            metrics_sha256: record.metrics_sha256,
        };
        checkpoint::save(folder, before, &self.session, &self.model, &self.parameters, &state)
    }

    /// Continues from the checkpoint in `folder`: the next step is the one that would have followed it.
    ///
    /// # Errors
    ///
    /// Returns an error if the checkpoint cannot be read, is damaged, or belongs to another model, seed or
    /// dataset. The trainer then stays as it was.
    pub fn restore(&mut self, folder: &Path) -> Result<Record, CheckpointError> {
        let checkpoint = Saved::open(folder)?.read(&self.session, &self.model, &self.parameters)?;
        self.take(folder, &checkpoint)
    }

    /// Does the same with a checkpoint in memory: `bytes` are those of a file.
    ///
    /// # Errors
    ///
    /// As [`Trainer::restore`].
    #[doc(hidden)]
    pub fn restore_from_memory(
        &mut self,
        bytes: &dyn Fn(&str) -> Vec<u8>,
    ) -> Result<Record, CheckpointError> {
        let checkpoint = StoredCheckpoint::from_memory(bytes, &self.session, &self.model, &self.parameters)?;
        self.take(Path::new("memory"), &checkpoint)
    }

    fn take(&mut self, folder: &Path, checkpoint: &StoredCheckpoint) -> Result<Record, CheckpointError> {
        let state = checkpoint.state();
        let refuse = |reason: String| CheckpointError::unfit(folder, reason);
        if state.seed != self.seed {
            let reason = format!("it was trained with seed {}, not {}", state.seed, self.seed);
            return Err(refuse(reason));
        }
        if state.data != self.data_hash {
            return Err(refuse("it was trained on other data".to_owned()));
        }
        if state.steps.len() != self.steps.len() || state.halted.len() != self.halted.len() {
            let reason = format!("it has a batch of {} rows, not of {}", state.steps.len(), self.steps.len());
            return Err(refuse(reason));
        }
        let data = Arc::clone(self.loader.dataset());
        self.loader = TrainLoader::restore(data, self.augment.clone(), &state.loader)
            .map_err(|error| refuse(error.to_string()))?;
        self.explore.seek(state.explore_position);
        self.step = state.step;
        self.rollbacks = state.rollbacks;
        self.steps.clone_from(&state.steps);
        self.halted.clone_from(&state.halted);
        checkpoint.write_into(&mut self.session)?;
        self.diverged = None;
        Ok(Record {
            exact_accuracy: state.exact_accuracy,
            loss: state.loss,
            metrics_sha256: state.metrics_sha256.clone(),
            waited: state.waited,
        })
    }

    /// Goes back to the checkpoint in `folder`, as [`Trainer::restore`] does, and lowers the learning rates.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Trainer::restore`].
    pub fn go_back(&mut self, folder: &Path) -> Result<Record, CheckpointError> {
        let rollbacks = self.rollbacks + 1;
        let record = self.restore(folder)?;
        self.rollbacks = rollbacks;
        Ok(record)
    }

    /// Returns the divergence of an evaluation after the last step.
    pub(super) fn evaluation_diverged(&self) -> Divergence {
        let rate = step_scalars(self.train(), self.step, self.total_steps, self.rollbacks).lr;
        Divergence::new(self.step, rate, NotFinite::Evaluation, self.rollbacks, self.train())
    }

    /// Returns how often it has gone back because a number was not finite.
    pub fn rollbacks(&self) -> u32 {
        self.rollbacks
    }

    /// Returns the bytes of a checkpoint on the disk, without the little that is not in tensors.
    pub fn checkpoint_bytes(&self) -> u64 {
        checkpoint::size_bytes(&self.session, &self.model, &self.parameters)
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the optimizer steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Returns the steps of the whole schedule.
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// Returns the passes over the groups of the training data.
    pub fn epochs_done(&self) -> f64 {
        self.loader.epochs_done()
    }

    /// Returns the rows in a training batch, `B`.
    pub fn batch(&self) -> usize {
        self.steps.len()
    }

    /// Returns the memory and the programs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the memory for a caller that chooses the weights itself.
    pub(crate) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Returns the weights.
    pub(crate) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Halt, QTarget};
    use crate::lower::{Program, Sizes, lower};
    use crate::train::testing;

    fn whole(_: EvaluationProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn rows_go_through_their_own_episodes() {
        let mut trainer = testing::trainer(1);
        let mut waiting = trainer.batch();
        let mut segments = vec![0; trainer.batch()];
        for step in 1..=20 {
            let before = trainer.halted.clone();
            let report = testing::step(&mut trainer);
            assert_eq!(report.step, step);
            assert_eq!(report.refilled, waiting);
            for slot in 0..trainer.batch() {
                segments[slot] = if before[slot] { 1 } else { segments[slot] + 1 };
                assert_eq!(trainer.steps[slot], segments[slot]);
                assert!(segments[slot] <= 3);
                assert!(trainer.halted[slot] || segments[slot] < 3);
            }
            waiting = report.halted;
        }
    }

    #[test]
    fn only_rows_that_continue_keep_their_data_and_carry() {
        let mut trainer = testing::trainer(1);
        let positions = trainer.model().tokens.positions;
        let rows = |trainer: &Trainer| -> Vec<Vec<i32>> {
            trainer
                .session
                .i32("train.labels")
                .expect("it is on the host")
                .chunks(positions)
                .map(<[i32]>::to_vec)
                .collect()
        };
        let mut kept = 0;
        for _ in 0..12 {
            testing::step(&mut trainer);
            let before = (trainer.halted.clone(), rows(&trainer));
            testing::step(&mut trainer);
            let reset = trainer.session.f32("train.reset").expect("it is on the host").to_vec();
            let after = rows(&trainer);
            for slot in 0..trainer.batch() {
                assert_eq!(reset[slot] == 1.0, before.0[slot]);
                if !before.0[slot] {
                    assert_eq!(after[slot], before.1[slot]);
                    kept += 1;
                }
            }
        }
        assert!(kept > 0, "some rows go on");
    }

    #[test]
    fn training_learns() {
        let mut trainer = testing::trainer(1);
        let first: f64 = (0..10).map(|_| testing::step(&mut trainer).metrics.token_loss).sum();
        (0..100).for_each(|_| {
            testing::step(&mut trainer);
        });
        let last: f64 = (0..10).map(|_| testing::step(&mut trainer).metrics.token_loss).sum();
        assert!(last < 0.9 * first, "{first} to {last}");
    }

    #[test]
    fn averages_begin_at_the_weights_and_follow_them() {
        let mut trainer = testing::trainer(1);
        let pair = |trainer: &Trainer| {
            let name = "inner.lm_head.weight";
            let [weights, averages] = [names::parameter(name), names::average(name)];
            (
                trainer.session.f32(&weights).expect("it is on the host")[0],
                trainer.session.f32(&averages).expect("it is on the host")[0],
            )
        };
        let (start, average) = pair(&trainer);
        assert_eq!(start, average);
        // The learning rate warms up from zero, so the first step moves a little already.
        testing::step(&mut trainer);
        let (weight, average) = pair(&trainer);
        assert_ne!(weight, start);
        assert!((average - (0.9 * start + 0.1 * weight)).abs() < 1e-6);
    }

    #[test]
    fn evaluation_does_not_disturb_training() {
        let mut plain = testing::trainer(1);
        let mut watched = testing::trainer(1);
        let test = testing::data().test;
        for _ in 0..6 {
            watched.evaluate(&test, EvaluationRequest::default(), &mut whole, &mut |_, _| {}).expect("fits");
            assert_eq!(testing::step(&mut plain), testing::step(&mut watched));
        }
    }

    #[test]
    fn a_model_of_one_fixed_segment_needs_no_q_values() {
        let mut model = testing::model();
        model.halt = Halt::Fixed { segments: 1 };
        model.q_head = None;
        let mut trainer = testing::trainer_of(model, 1);
        for _ in 0..3 {
            let report = testing::step(&mut trainer);
            assert_eq!((report.refilled, report.halted), (4, 4));
            assert_eq!(report.metrics.q_halt_accuracy, None);
            assert_eq!(report.metrics.means().mean_segments, Some(1.0));
        }
    }

    #[test]
    fn bce_trains_without_a_target() {
        let mut model = testing::model();
        model.halt = Halt::Bce { max_segments: 2, explore: 0.5 };
        let head = model.q_head.as_mut().expect("the tiny model has a Q head");
        head.outputs = crate::ir::QOutputs::Halt;
        let mut trainer = testing::trainer_of(model, 1);
        let report = testing::step(&mut trainer);
        assert_eq!(report.metrics.continue_loss, None);
        assert!(report.metrics.halt_loss.is_some());
    }

    #[test]
    fn rows_halt_in_training_once_their_state_has_settled() {
        let segments = |eps: f32| {
            let mut model = testing::model();
            model.halt = Halt::Residual { eps, max_segments: 6 };
            model.q_head = None;
            let mut trainer = testing::trainer_of(model, 1);
            let mut halted_at = Vec::new();
            for _ in 0..24 {
                testing::step(&mut trainer);
                let residual = trainer.session.f32(&SCOPE.residual()).expect("it is on the host");
                for (slot, &residual) in residual.iter().enumerate() {
                    let settled = trainer.steps[slot] >= 2 && residual < eps;
                    assert_eq!(trainer.halted[slot], settled || trainer.steps[slot] == 6);
                    halted_at.extend(trainer.halted[slot].then_some(trainer.steps[slot]));
                }
            }
            halted_at
        };
        assert!(segments(1e3).iter().all(|&steps| steps == 2), "everything is settled");
        assert!(segments(1e-9).iter().all(|&steps| steps == 6), "nothing is");
    }

    #[test]
    fn the_residual_is_how_far_the_answer_state_moved() {
        let mut model = testing::model();
        model.halt = Halt::Residual { eps: 1e-9, max_segments: 6 };
        model.q_head = None;
        let mut trainer = testing::trainer_of(model, 1);
        testing::step(&mut trainer);
        let state = |trainer: &Trainer| {
            trainer.session.f32(&SCOPE.carry("z_high")).expect("it is on the host").to_vec()
        };
        let before = state(&trainer);
        testing::step(&mut trainer);
        let after = state(&trainer);
        let row = after.len() / trainer.batch();
        for slot in 0..trainer.batch() {
            let range = slot * row..(slot + 1) * row;
            let square = |x: f32| f64::from(x) * f64::from(x);
            let moved: f64 =
                after[range.clone()].iter().zip(&before[range.clone()]).map(|(a, b)| square(a - b)).sum();
            let size: f64 = before[range].iter().map(|&z| square(z)).sum();
            let found = f64::from(trainer.session.f32(&SCOPE.residual()).expect("it is on the host")[slot]);
            // Relative; rounding of f32 elements is far below.
            assert!((found / (moved / size).sqrt() - 1.0).abs() < 1e-5, "{found}");
        }
    }

    #[test]
    fn without_a_target_no_further_segment_is_run() {
        let step = |target| {
            let mut model = testing::model();
            model.halt = Halt::QLearning { max_segments: 2, explore: 0.5, target };
            let train = lower(&model, Program::Train, Sizes { batch: 4, puzzle_rows: 1 });
            let mut trainer = testing::trainer_of(model, 1);
            (train.operators(), testing::step(&mut trainer).metrics)
        };
        let (whole, bootstrapped) = step(QTarget::Bootstrap);
        let (less, plain) = step(QTarget::None);
        assert!(less < whole);
        assert!(bootstrapped.continue_loss.is_some());
        assert_eq!(plain, Metrics { continue_loss: None, ..bootstrapped });
    }

    #[test]
    fn a_model_without_training_settings_is_refused() {
        let mut model = testing::model();
        model.train = None;
        let refused = Trainer::new(TrainerParts { model, ..testing::parts(1) });
        let message = refused.err().map(|error| error.to_string());
        let expected = "the model `tiny` cannot be trained: its spec has no `train` block";
        assert_eq!(message.as_deref(), Some(expected));
    }
}
