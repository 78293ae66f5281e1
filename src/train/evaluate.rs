//! Evaluation: computes an answer to every row of a dataset, and counts what is right.

use std::cell::Cell;
use std::ops::ControlFlow;

use serde::Serialize;

use super::answers::{AskedRow, RowAnswer, answer_rows};
use super::error::Error;
use super::fit::check_fit;
use super::infer;
use super::init::initialize;
use super::metrics::Metrics;
use super::slots;
use super::solve::{self, Answer, Question};
use super::streams::SAMPLE;
use super::trace::{Watching, watch_rows};
use crate::data::random::Stream;
use crate::data::{Dataset, PuzzleKind};
use crate::device::{Device, EngineOptions, Session};
use crate::ir::{Infer, Model};
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
    /// Examples to evaluate; `None` for all.
    pub limit: Option<usize>,
    /// Seed of the sample that a limit takes; `None` for the first examples.
    pub sample: Option<u64>,
    /// Copies of each puzzle to evaluate, besides the puzzle itself; `None` for all. A group has the puzzle first.
    pub copies: Option<usize>,
    /// Examples, from the first, whose answers are kept; those of a large dataset take more memory than many a model.
    pub keep_answers: usize,
}

impl EvaluationRequest {
    /// Returns the examples to evaluate, in the order of the dataset.
    pub(crate) fn rows(&self, dataset: &Dataset) -> Vec<usize> {
        let mut rows: Vec<usize> = match self.copies {
            None => (0..dataset.examples()).collect(),
            Some(copies) => (0..dataset.groups())
                .flat_map(|group| dataset.puzzles_of(group).take(copies.saturating_add(1)))
                .flat_map(|puzzle| dataset.examples_of(puzzle))
                .collect(),
        };
        match (self.limit, self.sample) {
            (Some(limit), Some(seed)) if limit < rows.len() => {
                let mut places = Stream::new(seed, SAMPLE, 0).sample(rows.len(), limit);
                places.sort_unstable();
                places.into_iter().map(|place| rows[place]).collect()
            }
            (limit, _) => {
                rows.truncate(limit.unwrap_or(usize::MAX));
                rows
            }
        }
    }
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
/// assert_eq!((evaluation.examples, evaluation.answers.len()), (2, 2));
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
    /// Answers to the first examples, in the order of the dataset, as many as were asked for: all of
    /// [`Solver::evaluate`](super::Solver::evaluate), three of the last evaluation of a training.
    pub answers: Vec<RowAnswer>,
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
/// `observe` is called before every segment and may stop the evaluation there, which then gives `None`; it is called
/// once more at the end. `take` gets every answer, in the order of the dataset.
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
    take: &mut dyn FnMut(&AskedRow, &RowAnswer),
) -> Result<Option<Evaluation>, Error> {
    check_fit(model, puzzle_rows, dataset, "the puzzles")?;
    let rows = request.rows(dataset);
    let (total, examples) = (rows.len(), Cell::new(0));
    let mut evaluation = Evaluation { examples: 0, metrics: Metrics::default(), answers: Vec::new() };
    let mut rows = rows.into_iter();
    let whole = answer_rows(
        session,
        model,
        dataset.kind(),
        &mut || Ok(rows.next().map(|row| AskedRow::of(dataset, row))),
        &mut || observe(EvaluationProgress { examples: examples.get(), total }),
        &mut |asked, answer| {
            // Sums in the order of the dataset have the same bits for any number of slots.
            evaluation.metrics.add(&answer.metrics());
            evaluation.examples += 1;
            examples.set(evaluation.examples);
            take(asked, &answer);
            if evaluation.answers.len() < request.keep_answers {
                evaluation.answers.push(answer);
            }
        },
    )?;
    if whole.is_break() {
        return Ok(None);
    }
    // Nothing is left to stop.
    let _ = observe(EvaluationProgress { examples: evaluation.examples, total });
    Ok(Some(evaluation))
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
    /// `observe` is called before every segment and may stop the evaluation there, which then gives `None`; it is called
    /// once more at the end. `take` gets every answer, in the order of the dataset.
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
        evaluate(&mut self.session, &self.model, self.puzzle_rows, dataset, request, observe, take)
    }

    /// Answers the rows that `next` gives, as many at once as the batch has slots, and gives each with its answer to
    /// `take`, in the order of the rows. `kind` says what they are.
    ///
    /// `may_run` is called before every segment and may end the work there.
    ///
    /// # Errors
    ///
    /// Returns an error if `next` does, a row does not fit the model, or a device fails.
    pub fn answer(
        &mut self,
        kind: PuzzleKind,
        next: &mut dyn FnMut() -> Result<Option<AskedRow>, Error>,
        may_run: &mut dyn FnMut() -> ControlFlow<()>,
        take: &mut dyn FnMut(&AskedRow, RowAnswer),
    ) -> Result<ControlFlow<()>, Error> {
        let (model, puzzle_rows) = (&self.model, self.puzzle_rows);
        let mut checked = || match next()? {
            Some(row) => {
                solve::check_row(model, puzzle_rows, &row.tokens, row.puzzle)?;
                Ok(Some(row))
            }
            None => Ok(None),
        };
        answer_rows(&mut self.session, model, kind, &mut checked, may_run, take)
    }

    /// Runs segments on rows, and shows every one.
    pub(super) fn watch(
        &mut self,
        inference: Infer,
        watching: Watching<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let Evaluator { model, session, puzzle_rows, .. } = self;
        watch_rows(session, infer::PROGRAM, (model, *puzzle_rows), inference, watching)
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
        evaluator.evaluate(&data, request, &mut whole, &mut |_, _| {}).expect("fits").expect("not stopped")
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
        let request = EvaluationRequest { keep_answers: usize::MAX, ..EvaluationRequest::default() };
        let evaluation = run(&mut evaluator, request);
        let data = testing::data().test;
        let shares = evaluation.answers.iter().map(|answer| {
            let labels = data.labels(answer.row);
            let right = labels.zip(&answer.tokens).filter(|(label, token)| label == *token).count();
            right as f64 / answer.tokens.len() as f64
        });
        assert!((shares.sum::<f64>() - evaluation.metrics.accuracy).abs() < 1e-12);
    }

    #[test]
    fn predictions_are_those_of_solving() {
        let mut evaluator = testing::evaluator();
        let request =
            EvaluationRequest { limit: Some(2), keep_answers: usize::MAX, ..EvaluationRequest::default() };
        let evaluation = run(&mut evaluator, request);
        let questions = [testing::question(0), testing::question(1)];
        let answers = evaluator.solve(&questions).expect("fits");
        let tokens: Vec<Vec<i32>> = answers.iter().map(|answer| answer.tokens().to_vec()).collect();
        let evaluated: Vec<Vec<i32>> = evaluation.answers.into_iter().map(|answer| answer.tokens).collect();
        assert_eq!(evaluated, tokens);
    }

    #[test]
    fn a_sample_is_drawn_by_its_seed_and_keeps_the_order() {
        let mut evaluator = testing::evaluator();
        let mut rows = |seed: u64| -> Vec<usize> {
            let request =
                EvaluationRequest { limit: Some(5), sample: Some(seed), copies: None, keep_answers: 9 };
            run(&mut evaluator, request).answers.iter().map(|answer| answer.row).collect()
        };
        let [one, again, other] = [1, 1, 2].map(&mut rows);
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert!(one.is_sorted() && one != [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_limit_gives_the_sums_of_the_first_examples() {
        let mut evaluator = testing::evaluator();
        let all = run(&mut evaluator, EvaluationRequest { limit: Some(4), ..EvaluationRequest::default() });
        let cut = run(&mut evaluator, EvaluationRequest { limit: Some(6), ..EvaluationRequest::default() });
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
            let request = EvaluationRequest::default();
            let found = evaluator.evaluate(&data, request, &mut observe, &mut |_, _| {}).expect("fits");
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
            &mut |_, _| {},
        );
        let message = refused.expect_err("it does not fit").to_string();
        assert_eq!(
            message,
            "the puzzles have positions = 9, the model has positions = 16; write `positions = 9` in `tokens`, or use other data"
        );
    }
}
