//! Evaluation: computes an answer to every row of a dataset, and counts what is right.

use std::ops::ControlFlow;

use serde::Serialize;

use super::error::Error;
use super::fit::check_fit;
use super::infer::{self, SegmentPass};
use super::init::initialize;
use super::metrics::{Metrics, SegmentRows};
use super::slots::{self, SlotRow};
use super::solve::{self, Answer, Question};
use crate::data::{Dataset, TestBatches};
use crate::device::{Device, DeviceError, EngineOptions, Session};
use crate::ir::Model;
use crate::lower::names::Scope;
use crate::lower::parameters::{Parameter, parameters};
use crate::lower::{Program, Sizes};
use crate::pipeline::executable;
use crate::store::checkpoint;
use crate::store::tensors::WeightsFile;
use crate::store::{CheckpointError, MetricMeans};

const SCOPE: Scope = Scope::Evaluate;

/// What to evaluate, and what to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EvaluationRequest {
    /// Examples to evaluate, from the first; `None` for all.
    pub limit: Option<usize>,
    /// Examples, from the first, whose predicted tokens are kept; those of a large dataset take more memory than many a
    /// model.
    pub keep_predictions: usize,
}

/// Progress of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationProgress {
    /// Examples that are done.
    pub examples: usize,
    /// Examples in all.
    pub total: usize,
}

/// The result of an evaluation.
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
/// let mut solver = run.solver(hrmc::Checkpoint::Last, hrmc::SolveOptions::default())?;
/// let evaluation = solver.evaluate(training.data().test(), Some(2))?;
/// assert_eq!((evaluation.examples, evaluation.predictions.len()), (2, 2));
/// println!("{:?} of the tokens are right", evaluation.means().accuracy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Examples that were evaluated.
    pub examples: usize,
    /// Sums over the examples, each by its last segment, that of its best rollout.
    #[doc(hidden)]
    pub metrics: Metrics,
    /// Predicted tokens `[S]` of the first examples, in the order of the dataset, as many as were asked for: all of
    /// [`Solver::evaluate`](super::Solver::evaluate), three of the last evaluation of a training.
    pub predictions: Vec<Vec<i32>>,
}

impl Evaluation {
    /// Returns means of losses and accuracies over the examples.
    pub fn means(&self) -> MetricMeans {
        self.metrics.means()
    }

    /// Returns whether its losses are finite. Otherwise the model has computed nothing, and its accuracies, too, mean
    /// nothing.
    pub fn is_finite(&self) -> bool {
        self.metrics.loss().is_finite()
    }
}

/// Evaluates every row of `dataset` as the spec says under `infer`, else by its defaults.
///
/// Rows of padding drop out. `observe` is called before every segment and may stop the evaluation there, which
/// then gives `None`; it is called once more at the end.
///
/// # Errors
///
/// Returns an error if the dataset does not fit the model, or a device fails.
pub(super) fn evaluate(
    session: &mut Session,
    model: &Model,
    puzzle_rows: usize,
    dataset: &Dataset,
    request: EvaluationRequest,
    observe: &mut dyn FnMut(EvaluationProgress) -> ControlFlow<()>,
) -> Result<Option<Evaluation>, Error> {
    check_fit(model, puzzle_rows, dataset, "the puzzles")?;
    let total = request.limit.unwrap_or(usize::MAX).min(dataset.examples());
    let mut evaluation = Evaluation { examples: 0, metrics: Metrics::default(), predictions: Vec::new() };
    let batch_size = slots::slots(session, SCOPE);
    for batch in TestBatches::new(dataset, batch_size) {
        let rows = batch.real_rows.min(total - evaluation.examples);
        if rows == 0 {
            break;
        }
        let positions = model.tokens.positions;
        for slot in 0..batch_size {
            let tokens = slot * positions..(slot + 1) * positions;
            let row = SlotRow {
                tokens: &batch.inputs[tokens.clone()],
                labels: &batch.labels[tokens],
                puzzle: batch.puzzles[slot],
            };
            slots::put(session, SCOPE, slot, row)?;
        }
        let kept = request.keep_predictions.saturating_sub(evaluation.examples);
        let mut answers = Answers::new(session, rows, kept > 0);
        let first = evaluation.examples;
        let mut may_run = || observe(EvaluationProgress { examples: first, total });
        if infer::infer(session, model, first, rows, &mut may_run, &mut |pass| answers.keep(pass))?.is_break()
        {
            return Ok(None);
        }
        evaluation.metrics.add(&Metrics::of(&answers.rows(), rows));
        evaluation.examples += rows;
        answers.predictions.truncate(kept);
        evaluation.predictions.append(&mut answers.predictions);
    }
    // Nothing is left to stop.
    let _ = observe(EvaluationProgress { examples: evaluation.examples, total });
    Ok(Some(evaluation))
}

/// The best answer so far for each row of a batch.
struct Answers {
    token_loss: Vec<f32>,
    halt_loss: Option<Vec<f32>>,
    right: Vec<f32>,
    counted: Vec<f32>,
    q_halt: Option<Vec<f32>>,
    steps: Vec<u32>,
    halted: Vec<bool>,
    /// Empty unless they are kept.
    predictions: Vec<Vec<i32>>,
}

impl Answers {
    fn new(session: &Session, rows: usize, keep_predictions: bool) -> Answers {
        let has_q = session.has(&SCOPE.q_halt());
        let zeros = || vec![0.0; rows];
        Answers {
            token_loss: zeros(),
            halt_loss: has_q.then(zeros),
            right: zeros(),
            counted: zeros(),
            q_halt: has_q.then(zeros),
            steps: vec![0; rows],
            halted: vec![false; rows],
            predictions: if keep_predictions { vec![Vec::new(); rows] } else { Vec::new() },
        }
    }

    /// Takes over the rows whose best answer is that of this segment.
    fn keep(&mut self, pass: &SegmentPass<'_>) -> Result<(), DeviceError> {
        let session = pass.session;
        let (token_loss, right, counted) =
            (session.f32(&SCOPE.token_loss())?, session.f32(&SCOPE.right())?, session.f32(&SCOPE.counted())?);
        let q = match &self.q_halt {
            Some(_) => Some((session.f32(&SCOPE.halt_loss())?, session.f32(&SCOPE.q_halt())?)),
            None => None,
        };
        for (row, _) in pass.improved.iter().enumerate().filter(|(_, improved)| **improved) {
            self.token_loss[row] = token_loss[row];
            self.right[row] = right[row];
            self.counted[row] = counted[row];
            if let (Some(halt_losses), Some(q_halts), Some((halt_loss, q_halt))) =
                (&mut self.halt_loss, &mut self.q_halt, q)
            {
                halt_losses[row] = halt_loss[row];
                q_halts[row] = q_halt[row];
            }
            self.steps[row] = pass.segment;
            self.halted[row] = true;
            if let Some(prediction) = self.predictions.get_mut(row) {
                *prediction = slots::prediction(session, SCOPE, row)?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> SegmentRows<'_> {
        SegmentRows {
            token_loss: &self.token_loss,
            halt_loss: self.halt_loss.as_deref(),
            // Only training has a target for it.
            continue_loss: None,
            right: &self.right,
            counted: &self.counted,
            q_halt: self.q_halt.as_deref(),
            steps: &self.steps,
            halted: &self.halted,
        }
    }
}

/// A model that answers and is not trained.
pub struct Evaluator {
    model: Model,
    session: Session,
    puzzle_rows: usize,
    parameters: Vec<Parameter>,
}

impl Evaluator {
    /// Compiles the program [`Evaluate`](Program::Evaluate) of `model` and loads it. Its weights are zero until
    /// [`Evaluator::load_weights`] or [`Evaluator::draw_weights`] brings some.
    ///
    /// # Errors
    ///
    /// Returns an error if threads cannot be started or memory cannot be allocated.
    pub fn new(
        model: Model,
        sizes: Sizes,
        device: &dyn Device,
        options: &EngineOptions,
    ) -> Result<Self, Error> {
        let mut session = Session::open(device, options)?;
        let program = Program::Evaluate { averaged: false };
        session.load(infer::PROGRAM, executable(&model, program, sizes, device))?;
        let parameters = parameters(&model, sizes.puzzle_rows);
        Ok(Evaluator { model, session, puzzle_rows: sizes.puzzle_rows, parameters })
    }

    /// Draws the weights of a new model, for use without training or weights from elsewhere.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    pub fn draw_weights(&mut self, seed: u64) -> Result<(), Error> {
        Ok(initialize(&mut self.session, &self.parameters, seed)?)
    }

    /// Reads weights from a safetensors file with the names of the published state dict.
    ///
    /// Weights go to the moving averages too, where the program reads those.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or a tensor is missing, unexpected or of another shape.
    pub fn load_weights(&mut self, file: &WeightsFile) -> Result<(), CheckpointError> {
        checkpoint::load_weights(&mut self.session, &self.parameters, file)
    }

    /// Evaluates every row of `dataset` as the spec says under `infer`, else by its defaults.
    ///
    /// Rows of padding drop out. `observe` is called before every segment and may stop the evaluation there, which
    /// then gives `None`; it is called once more at the end.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset does not fit the model, or a device fails.
    pub fn evaluate(
        &mut self,
        dataset: &Dataset,
        request: EvaluationRequest,
        observe: &mut dyn FnMut(EvaluationProgress) -> ControlFlow<()>,
    ) -> Result<Option<Evaluation>, Error> {
        evaluate(&mut self.session, &self.model, self.puzzle_rows, dataset, request, observe)
    }

    /// Answers questions.
    ///
    /// # Errors
    ///
    /// Returns an error if a question does not fit the model, or a device fails.
    pub fn solve(&mut self, questions: &[Question]) -> Result<Vec<Answer>, Error> {
        solve::solve(&mut self.session, &self.model, self.puzzle_rows, questions)
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the rows in a batch, `B`.
    pub fn batch(&self) -> usize {
        slots::slots(&self.session, SCOPE)
    }

    /// Returns the memory for tests that choose the weights themselves.
    #[cfg(test)]
    pub(super) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Returns the memory and the program.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;

    fn whole(_: EvaluationProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn run(evaluator: &mut Evaluator, request: EvaluationRequest) -> Evaluation {
        let data = testing::data().test;
        evaluator.evaluate(&data, request, &mut whole).expect("fits").expect("not stopped")
    }

    #[test]
    fn every_example_is_evaluated_once_to_the_limit() {
        let mut evaluator = testing::evaluator();
        let evaluation = run(&mut evaluator, EvaluationRequest::default());
        // Ten examples in batches of four: the last batch has two rows of padding.
        assert_eq!(evaluation.examples, 10);
        assert_eq!((evaluation.metrics.rows, evaluation.metrics.count), (10, 10));
        assert_eq!(evaluation.metrics.means().mean_segments, Some(3.0));
        assert_eq!(evaluation.metrics.continue_loss, None);
        assert_eq!(evaluator.session().runs(), 9);
    }

    #[test]
    fn accuracy_is_that_of_the_predictions() {
        let mut evaluator = testing::evaluator();
        let request = EvaluationRequest { limit: None, keep_predictions: usize::MAX };
        let evaluation = run(&mut evaluator, request);
        let data = testing::data().test;
        let shares = evaluation.predictions.iter().enumerate().map(|(example, predicted)| {
            let right = data.labels(example).zip(predicted).filter(|(label, token)| label == *token).count();
            right as f64 / predicted.len() as f64
        });
        assert!((shares.sum::<f64>() - evaluation.metrics.accuracy).abs() < 1e-12);
    }

    #[test]
    fn predictions_are_those_of_solving() {
        let mut evaluator = testing::evaluator();
        let request = EvaluationRequest { limit: Some(2), keep_predictions: usize::MAX };
        let evaluation = run(&mut evaluator, request);
        let questions = [testing::question(0), testing::question(1)];
        let answers = evaluator.solve(&questions).expect("fits");
        let tokens: Vec<Vec<i32>> = answers.iter().map(|answer| answer.tokens().to_vec()).collect();
        assert_eq!(evaluation.predictions, tokens);
    }

    #[test]
    fn a_limit_gives_the_sums_of_the_first_examples() {
        let mut evaluator = testing::evaluator();
        let all = run(&mut evaluator, EvaluationRequest { limit: Some(4), keep_predictions: 0 });
        let cut = run(&mut evaluator, EvaluationRequest { limit: Some(6), keep_predictions: 0 });
        assert_eq!((all.examples, cut.examples), (4, 6));
        assert_eq!((all.metrics.rows, cut.metrics.rows), (4, 6));
        assert!(cut.metrics.token_loss > all.metrics.token_loss);
    }

    #[test]
    fn an_evaluation_can_be_stopped_before_every_segment_but_not_after_the_last() {
        let data = testing::data().test;
        let run = |asked: usize| {
            let mut seen = Vec::new();
            let mut observe = |progress: EvaluationProgress| {
                seen.push(progress.examples);
                if seen.len() == asked { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let mut evaluator = testing::evaluator();
            let found = evaluator.evaluate(&data, EvaluationRequest::default(), &mut observe).expect("fits");
            (found.map(|evaluation| evaluation.examples), evaluator.session().runs(), seen)
        };
        // Ten examples in batches of four, with three segments each.
        assert_eq!(run(1), (None, 0, vec![0]));
        assert_eq!(run(6), (None, 5, vec![0, 0, 0, 4, 4, 4]));
        assert_eq!(run(10), (Some(10), 9, vec![0, 0, 0, 4, 4, 4, 8, 8, 8, 10]));
    }

    #[test]
    fn data_of_another_size_is_refused() {
        let mut evaluator = testing::evaluator();
        let metadata = crate::data::Metadata::new(6, 9);
        let data = crate::data::DatasetBuilder::new(metadata).and_then(|builder| builder.finish());
        let refused = evaluator.evaluate(
            &data.expect("an empty dataset is consistent"),
            EvaluationRequest::default(),
            &mut whole,
        );
        let message = refused.expect_err("it does not fit").to_string();
        assert_eq!(
            message,
            "the puzzles have positions = 9, the model has positions = 16; write `positions = 9` in `tokens`, or use other data"
        );
    }
}
