//! Answers to rows, in the order of the rows, read from the memory of a session.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::slice;

use serde::Serialize;

use super::error::Error;
use super::halting::StoppedBy;
use super::infer::{Rows, SlotPass, infer};
use super::metrics::{Metrics, SegmentRows};
use super::slots::{self, SlotRow};
use crate::data::puzzle::{answer_cells, is_valid_solution};
use crate::data::{Dataset, IGNORED_LABEL, PuzzleKind};
use crate::device::{DeviceError, Session};
use crate::ir::{Check, Loss, Model};
use crate::lower::names::Scope;

const SCOPE: Scope = Scope::Evaluate;

/// The answer to a row of a dataset, that of its best rollout.
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
/// for answer in solver.evaluate(training.data().test(), Some(4))?.answers {
///     assert!((0.0..=1.0).contains(&answer.confidence));
///     println!("row {}: {} segments, right: {}", answer.row, answer.segments, answer.equals_label());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowAnswer {
    /// Number of the row, from 0.
    pub row: usize,
    /// Predicted tokens, `[S]`.
    pub tokens: Vec<i32>,
    /// Number of the best rollout, from 0.
    pub rollout: usize,
    /// Segments of that rollout.
    pub segments: u32,
    /// Segments of all rollouts.
    pub passes: u32,
    /// Why that rollout stopped.
    pub stopped_by: StoppedBy,
    /// Q value of halting, before the sigmoid; `None` for a model without a Q head.
    pub q_halt: Option<f32>,
    /// Probability that the model gives to the whole answer: the product of the probabilities of its tokens, by the
    /// function of the loss (softmax or stablemax). Of ARC, the answer is the grid in the upper left corner of the
    /// canvas with the end around it, and the whole canvas where there is no grid.
    pub confidence: f64,
    /// Distance by which the state that the tokens are predicted from moved in the last segment,
    /// `rms(z - before) / rms(before)`.
    pub drift: f32,
    /// Whether it obeys the rules by which answers are judged; `None` if there are none.
    pub valid: Option<bool>,
    /// Labels that are right.
    pub labels_right: u32,
    /// Labels that count.
    pub labels: u32,
    /// Mean loss over the labels, 0 without labels.
    pub token_loss: f32,
    /// Loss of `q_halt`; `None` for a model without a Q head.
    pub halt_loss: Option<f32>,
}

impl RowAnswer {
    /// Returns whether the answer equals the label wherever there is one; false for a row without labels.
    pub fn equals_label(&self) -> bool {
        self.labels > 0 && self.labels_right == self.labels
    }

    /// Returns whether it is right: by the rules, else by the label; `None` if there is neither.
    pub fn is_right(&self) -> Option<bool> {
        self.valid.or((self.labels > 0).then(|| self.equals_label()))
    }

    /// Returns the probability of being right by the model's own estimate, the sigmoid of its Q value of halting; `None`
    /// for a model without a Q head.
    pub fn q(&self) -> Option<f64> {
        self.q_halt.map(slots::sigmoid)
    }

    /// Returns whether every number that the model computed for the row is finite. Otherwise there is no answer.
    pub fn is_finite(&self) -> bool {
        self.confidence.is_finite() && self.q_halt.is_none_or(f32::is_finite) && self.token_loss.is_finite()
    }

    /// Returns what an evaluation sums up.
    pub(super) fn metrics(&self) -> Metrics {
        let rows = SegmentRows {
            token_loss: &[self.token_loss],
            halt_loss: self.halt_loss.as_ref().map(slice::from_ref),
            // Only training has a target for it.
            continue_loss: None,
            right: &[self.labels_right as f32],
            counted: &[self.labels as f32],
            q_halt: self.q_halt.as_ref().map(slice::from_ref),
            steps: &[self.segments],
            halted: &[true],
        };
        let counts = |valid: bool| f64::from(u8::from(valid && self.labels > 0));
        Metrics { valid_accuracy: self.valid.map(counts), ..Metrics::of(&rows, 1) }
    }

    /// Reads the answer of a rollout that has ended, to a row of this kind.
    pub(super) fn read(
        session: &Session,
        model: &Model,
        kind: PuzzleKind,
        pass: &SlotPass,
    ) -> Result<RowAnswer, DeviceError> {
        let SlotPass { slot, row, rollout, outcome, stopped, .. } = *pass;
        let value = |name: String| Ok::<f32, DeviceError>(session.f32(&name)?[slot]);
        let loss = model.train.as_ref().map_or(Loss::Stablemax, |train| train.loss);
        let halt_loss = SCOPE.halt_loss();
        let tokens = slots::prediction(session, SCOPE, slot)?;
        let cells = answer_cells(kind, &tokens);
        Ok(RowAnswer {
            row,
            tokens,
            rollout,
            segments: outcome.steps,
            passes: pass.passes,
            stopped_by: stopped.expect("the rollout has ended"),
            q_halt: outcome.q_halt,
            confidence: slots::log_probability(session, SCOPE, slot, loss, &cells)?.exp(),
            drift: outcome.residual.expect("evaluation computes it"),
            valid: None,
            labels_right: value(SCOPE.right())? as u32,
            labels: value(SCOPE.counted())? as u32,
            token_loss: value(SCOPE.token_loss())?,
            halt_loss: session.has(&halt_loss).then(|| value(halt_loss)).transpose()?,
        })
    }
}

/// A row that is to be answered.
///
/// # Examples
///
/// ```
/// let row = hrmc::AskedRow::unlabelled(0, vec![2, 1, 1, 2]);
/// assert_eq!(row.labels.len(), 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRow {
    /// Its number. Rows come with ascending numbers; the number decides the noise of rollouts.
    pub row: usize,
    /// Tokens, `[S]`.
    pub tokens: Vec<i32>,
    /// Labels, `[S]`, with -100 where nothing is known.
    pub labels: Vec<i32>,
    /// Puzzle identifier; 0 is the blank one.
    pub puzzle: i32,
}

impl AskedRow {
    /// Returns a row of a dataset.
    pub fn of(dataset: &Dataset, row: usize) -> AskedRow {
        AskedRow {
            row,
            tokens: dataset.inputs(row).collect(),
            labels: dataset.labels(row).collect(),
            puzzle: dataset.identifier(dataset.puzzle_of(row)),
        }
    }

    /// Returns a row without labels that belongs to no puzzle of a dataset.
    pub fn unlabelled(row: usize, tokens: Vec<i32>) -> AskedRow {
        AskedRow { row, labels: vec![IGNORED_LABEL; tokens.len()], tokens, puzzle: 0 }
    }
}

/// Returns the kind by whose rules answers are right, if there are any: the one that `infer` names, else that of the data.
pub fn rule(model: &Model, kind: PuzzleKind) -> Option<PuzzleKind> {
    match model.inference().check {
        None => Some(kind).filter(|kind| kind.has_rules()),
        Some(Check::Equal) => None,
        Some(check) => {
            let tokens = &model.tokens;
            let named = PuzzleKind::named(check.name(), tokens.positions, tokens.vocab, None);
            named.expect("a checked model has tokens for its rules")
        }
    }
}

/// Answers the rows of one kind that `next` gives, and gives each with its answer to `take`, in the order of the rows.
/// `may_run` is called before every segment and may end the work there. Rows have to fit the model.
pub(super) fn answer_rows(
    session: &mut Session,
    model: &Model,
    kind: PuzzleKind,
    next: &mut dyn FnMut() -> Result<Option<AskedRow>, Error>,
    may_run: &mut dyn FnMut() -> ControlFlow<()>,
    take: &mut dyn FnMut(&AskedRow, RowAnswer),
) -> Result<ControlFlow<()>, Error> {
    let slots = slots::slots(session, SCOPE);
    let (begun, answered) = (VecDeque::new(), BTreeMap::new());
    let (rule, slots) = (rule(model, kind), vec![None; slots]);
    let mut answering = Answering { model, kind, rule, slots, begun, answered, next, may_run, take };
    infer(session, model, &mut answering)
}

/// Rows that are being answered.
struct Answering<'a> {
    model: &'a Model,
    kind: PuzzleKind,
    /// The kind by whose rules answers are judged, if there are any.
    rule: Option<PuzzleKind>,
    /// The row in each slot with its best answer so far, `[B]`.
    slots: Vec<Option<(AskedRow, Option<RowAnswer>)>>,
    /// Numbers of the rows that were begun and not given away, in their order.
    begun: VecDeque<usize>,
    /// Answers to rows behind one that is not answered yet, by the number of the row.
    answered: BTreeMap<usize, (AskedRow, RowAnswer)>,
    next: &'a mut dyn FnMut() -> Result<Option<AskedRow>, Error>,
    may_run: &'a mut dyn FnMut() -> ControlFlow<()>,
    take: &'a mut dyn FnMut(&AskedRow, RowAnswer),
}

impl Rows for Answering<'_> {
    fn next(&mut self, session: &mut Session, slot: usize) -> Result<Option<usize>, Error> {
        let Some(asked) = (self.next)()? else { return Ok(None) };
        let AskedRow { row, tokens, labels, puzzle } = &asked;
        slots::put(session, SCOPE, slot, SlotRow { tokens, labels, puzzle: *puzzle })?;
        let row = *row;
        self.begun.push_back(row);
        self.slots[slot] = Some((asked, None));
        Ok(Some(row))
    }

    fn may_run(&mut self) -> ControlFlow<()> {
        (self.may_run)()
    }

    fn take(&mut self, session: &Session, passes: &[SlotPass]) -> Result<(), Error> {
        for pass in passes {
            let place = &mut self.slots[pass.slot];
            if let (Some((asked, best)), true) = (place.as_mut(), pass.is_best) {
                let answer = RowAnswer::read(session, self.model, self.kind, pass)?;
                let valid = self.rule.map(|kind| is_valid_solution(kind, &asked.tokens, &answer.tokens));
                *best = Some(RowAnswer { valid, ..answer });
            }
            if let (Some((asked, best)), true) = (place.take_if(|_| pass.leaves), pass.leaves) {
                let answer = best.expect("the first rollout is the best before any other");
                let answer = RowAnswer { passes: pass.passes, ..answer };
                self.answered.insert(asked.row, (asked, answer));
            }
        }
        while let Some(found) = self.begun.front().and_then(|row| self.answered.remove(row)) {
            self.begun.pop_front();
            (self.take)(&found.0, found.1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ARC_VOCAB;
    use crate::data::arc::crop;
    use crate::data::random::Stream;
    use crate::ir::{Infer, StateId, TokenHead, Tokens};
    use crate::lower::names;
    use crate::lower::parameters::{EMBED_TOKENS, TOKEN_HEAD};
    use crate::train::{Evaluator, testing};

    /// Returns a tiny model with one slot and the loss softmax, whose answer in a cell follows the question there, and
    /// which is rather sure of it.
    fn evaluator(tokens: Tokens) -> Evaluator {
        let mut model = testing::model();
        model.tokens = tokens;
        model.train.as_mut().expect("the tiny model is trained").loss = Loss::Softmax;
        model.infer = Some(Infer { segments: 1, halt: false, settle: None, rollouts: None, check: None });
        model.token_head = TokenHead { state: StateId(0) };
        let mut evaluator = testing::evaluator_of(model, 1);
        for name in [EMBED_TOKENS, TOKEN_HEAD] {
            weights(&mut evaluator, name).iter_mut().for_each(|weight| *weight *= 20.0);
        }
        evaluator
    }

    fn weights<'a>(evaluator: &'a mut Evaluator, name: &str) -> &'a mut [f32] {
        evaluator.session_mut().f32_mut(&names::parameter(name)).expect("it is on the host")
    }

    fn answer(evaluator: &mut Evaluator, kind: PuzzleKind, tokens: &[i32]) -> RowAnswer {
        let mut asked = Some(AskedRow::unlabelled(0, tokens.to_vec()));
        let mut found = None;
        let mut may_run = || ControlFlow::Continue(());
        let whole = evaluator
            .answer(kind, &mut || Ok(asked.take()), &mut may_run, &mut |_, answer| found = Some(answer));
        assert!(whole.expect("the row fits").is_continue());
        found.expect("there is an answer")
    }

    /// Asserts that the confidence is the product over these cells of the largest softmax of the logits, which the
    /// session still has.
    #[track_caller]
    fn assert_is_product(answer: &RowAnswer, evaluator: &Evaluator, cells: impl Iterator<Item = usize>) {
        let vocab = evaluator.model().tokens.vocab;
        let logits = evaluator.session().f32(&SCOPE.logits()).expect("it is on the host");
        let largest = |cell: usize| {
            let weights: Vec<f64> =
                logits[cell * vocab..][..vocab].iter().map(|&logit| f64::from(logit).exp()).collect();
            weights.iter().copied().fold(0.0, f64::max) / weights.iter().sum::<f64>()
        };
        let expected: f64 = cells.map(largest).product();
        assert!(expected > 0.0, "the product is too small to compare");
        // Relative: a product of up to 900 factors against a sum of logarithms.
        assert!((answer.confidence / expected - 1.0).abs() < 1e-10, "{}, {expected}", answer.confidence);
    }

    #[test]
    fn confidence_is_the_probability_of_all_cells_where_all_are_the_answer() {
        let mut evaluator = evaluator(testing::model().tokens);
        let data = testing::data().test;
        let question: Vec<i32> = data.inputs(0).collect();
        let answer = answer(&mut evaluator, data.kind(), &question);
        assert_is_product(&answer, &evaluator, 0..16);
    }

    #[test]
    fn confidence_in_a_grid_of_arc_is_that_of_its_cells_and_its_end() {
        let mut evaluator = evaluator(Tokens { vocab: ARC_VOCAB, positions: 900, learned_positions: false });
        let mut random = Stream::new(1, "questions", 0);
        let (mut with_grid, mut without) = (0, 0);
        while with_grid == 0 || without == 0 {
            assert!(with_grid + without < 20, "{with_grid} answers show a grid, {without} show none");
            let question: Vec<i32> = (0..900).map(|_| random.below(ARC_VOCAB) as i32).collect();
            let found = answer(&mut evaluator, PuzzleKind::Arc, &question);
            let Some(grid) = crop(&found.tokens) else {
                without += 1;
                assert_is_product(&found, &evaluator, 0..900);
                continue;
            };
            with_grid += 1;
            let (rows, columns) = (grid.rows(), grid.columns());
            let shown = |cell: &usize| {
                let (row, column) = (cell / 30, cell % 30);
                row <= rows && column <= columns && (row, column) != (rows, columns)
            };
            assert_is_product(&found, &evaluator, (0..900).filter(shown));
            // As a row of tokens, the same answer has all its cells.
            let tokens = PuzzleKind::Tokens { length: 900, vocab: ARC_VOCAB };
            let as_tokens = answer(&mut evaluator, tokens, &question);
            assert_eq!(as_tokens.tokens, found.tokens);
            assert_is_product(&as_tokens, &evaluator, 0..900);
            assert!(as_tokens.confidence < found.confidence);
        }
    }

    #[test]
    fn a_logit_that_is_no_number_leaves_no_confidence_in_any_cell() {
        let mut evaluator = evaluator(testing::model().tokens);
        weights(&mut evaluator, TOKEN_HEAD)[0] = f32::NAN;
        let data = testing::data().test;
        let question: Vec<i32> = data.inputs(0).collect();
        let answer = answer(&mut evaluator, data.kind(), &question);
        assert!(answer.confidence.is_nan() && !answer.is_finite());
    }
}
