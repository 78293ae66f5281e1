//! A trained model that solves puzzles, and can be evaluated and traced.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::answers::{AskedRow, RowAnswer};
use super::error::Error;
use super::evaluate::{Evaluation, EvaluationProgress, EvaluationRequest, Evaluator};
use super::memory::{Wanted, check_memory};
use super::solve::{Answer, Question};
use super::trace::{RolloutTrace, StateUpdate, Tracer, Watching};
use crate::data::{Dataset, PuzzleKind};
use crate::device::{Device, EngineOptions};
use crate::ir::{Infer, Model};
use crate::lower::{Program, Sizes};
use crate::store::tensors::WeightsFile;
use crate::units::counted;

/// Options of a [`Solver`]. On one device, none of them changes an answer.
///
/// # Examples
///
/// ```
/// let options = hrmc::SolveOptions { batch: 16, threads: 1, ..hrmc::SolveOptions::default() };
/// assert_eq!(options.device.name(), "cpu");
/// ```
#[derive(Debug, Clone)]
pub struct SolveOptions {
    /// Device that runs the programs.
    pub device: Arc<dyn Device>,
    /// Threads to compute with.
    pub threads: usize,
    /// Rows that are answered at once.
    pub batch: usize,
}

impl Default for SolveOptions {
    /// The CPU with a thread for each core, one row at once.
    fn default() -> Self {
        SolveOptions {
            device: Arc::new(crate::device::cpu::Cpu),
            threads: EngineOptions::default().threads,
            batch: 1,
        }
    }
}

/// A trained model that solves puzzles.
///
/// # Examples
///
/// ```
/// use hrmc::{Checkpoint, Question, SolveOptions};
///
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// let mut solver = run.solver(Checkpoint::default(), SolveOptions { batch: 8, ..SolveOptions::default() })?;
/// let test = training.data().test();
/// let questions: Vec<Question> = (0..8).map(|row| Question::new(test.inputs(row).collect())).collect();
/// for (question, answer) in questions.iter().zip(solver.solve(&questions)?) {
///     let right = test.kind().accepts(&question.tokens, answer.tokens());
///     println!("right: {right}, confidence {:?}", answer.confidence());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Solver {
    evaluator: Evaluator,
    options: SolveOptions,
    sizes: Sizes,
    weights: WeightsFile,
    notes: Vec<String>,
    /// The program that keeps every state, made when it is first asked for.
    tracer: Option<Tracer>,
}

impl Solver {
    pub(super) fn new(
        evaluator: Evaluator,
        options: SolveOptions,
        sizes: Sizes,
        weights: WeightsFile,
        notes: Vec<String>,
    ) -> Solver {
        Solver { evaluator, options, sizes, weights, notes, tracer: None }
    }

    /// Returns what the user should know about the checkpoint.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Answers questions, each with the way to its answer, as the spec says under `infer`, else by its defaults: with
    /// Q-learning, as many segments as training takes at most.
    ///
    /// # Errors
    ///
    /// Returns an error if a question does not fit the model, or a device fails.
    pub fn solve(&mut self, questions: &[Question]) -> Result<Vec<Answer>, Error> {
        self.evaluator.solve(questions)
    }

    /// Evaluates the rows of `dataset`, as the spec says under `infer`, else by its defaults, and keeps the answers.
    ///
    /// `limit` is how many rows are evaluated, from the first; `None` for all.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset does not fit the model, the losses are not finite, or a device fails.
    pub fn evaluate(&mut self, dataset: &Dataset, limit: Option<usize>) -> Result<Evaluation, Error> {
        let request = EvaluationRequest { limit, keep_answers: usize::MAX, ..EvaluationRequest::default() };
        let go_on = &mut |_| ControlFlow::Continue(());
        let evaluation = self.evaluate_watched(dataset, request, go_on, &mut |_, _| {})?;
        Ok(evaluation.expect("nothing stops it"))
    }

    /// Does the same as `request` says and calls `watch` before every segment, which may stop the evaluation; it then
    /// gives `None`. `take` gets every answer, in the order of the dataset.
    pub(crate) fn evaluate_watched(
        &mut self,
        dataset: &Dataset,
        request: EvaluationRequest,
        watch: &mut dyn FnMut(EvaluationProgress) -> ControlFlow<()>,
        take: &mut dyn FnMut(&AskedRow, &RowAnswer),
    ) -> Result<Option<Evaluation>, Error> {
        let evaluation = self.evaluator.evaluate(dataset, request, watch, take)?;
        match evaluation {
            Some(evaluation) if !evaluation.is_finite() => Err(Error::unsuitable(format!(
                "the losses of `{}` on {} are not finite, so its accuracies mean nothing; its weights are unusable, or \
                 too large for these puzzles: take another checkpoint (`--checkpoint`), or train again with a lower \
                 learning rate",
                self.weights.path.display(),
                counted(evaluation.examples, "puzzle"),
            ))),
            other => Ok(other),
        }
    }

    /// Answers the rows that `next` gives, as many at once as the options say, and gives each with its answer to `take`,
    /// in the order of the rows. `kind` says what they are.
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
        self.evaluator.answer(kind, next, may_run, take)
    }

    /// Runs segments of an evaluation on rows, and shows every one, without the updates in it.
    pub(crate) fn watch(
        &mut self,
        inference: Infer,
        watching: Watching<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        self.evaluator.watch(inference, watching)
    }

    /// Answers one question segment by segment, as training does, and returns what every update made of its state.
    ///
    /// `segments` is how many segments are run, which may be more than training takes; halting is not asked for. A
    /// segment has as many updates as its loop nest, unrolled.
    ///
    /// # Errors
    ///
    /// Returns an error if the question does not fit the model, memory cannot be had, or a device fails.
    pub fn trace(&mut self, question: &Question, segments: usize) -> Result<Vec<StateUpdate>, Error> {
        let Question { tokens, puzzle } = question.clone();
        let asked = AskedRow { puzzle, ..AskedRow::unlabelled(0, tokens) };
        let inference = Infer { segments, halt: false, settle: None, rollouts: None, check: None };
        let mut rollouts = self.own_tracer()?.trace(&asked, inference)?;
        Ok(rollouts.remove(0).updates)
    }

    /// Answers one row as the spec says under `infer`, else by its defaults, and returns every rollout update by update.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Solver::trace`] does.
    #[doc(hidden)]
    pub fn trace_row(&mut self, asked: &AskedRow) -> Result<Vec<RolloutTrace>, Error> {
        let inference = self.model().inference();
        self.own_tracer()?.trace(asked, inference)
    }

    fn own_tracer(&mut self) -> Result<&mut Tracer, Error> {
        let tracer = match self.tracer.take() {
            Some(tracer) => tracer,
            None => self.new_tracer(1, true)?,
        };
        Ok(self.tracer.insert(tracer))
    }

    /// Returns a program that keeps every state of so many rows at once, with the weights of this model.
    pub(crate) fn new_tracer(&self, batch: usize, attention: bool) -> Result<Tracer, Error> {
        let sizes = Sizes { batch, ..self.sizes };
        let engine = EngineOptions { threads: self.options.threads };
        let model = self.evaluator.model().clone();
        let programs = [(Program::Trace { attention }, sizes)];
        let wanted = Wanted { model: &model, programs: &programs, data_bytes: 0 };
        check_memory(&wanted, &*self.options.device, &engine)?;
        let mut tracer = Tracer::new(model, sizes, attention, &*self.options.device, &engine)?;
        // Not from the file, which a training may have replaced.
        tracer.take_weights(self.evaluator.session())?;
        Ok(tracer)
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        self.evaluator.model()
    }
}
