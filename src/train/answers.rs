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
use crate::data::puzzle::is_valid_solution;
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
    /// function of the loss (softmax or stablemax).
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

    /// Reads the answer of a rollout that has ended.
    pub(super) fn read(session: &Session, model: &Model, pass: &SlotPass) -> Result<RowAnswer, DeviceError> {
        let SlotPass { slot, row, rollout, outcome, stopped, .. } = *pass;
        let value = |name: String| Ok::<f32, DeviceError>(session.f32(&name)?[slot]);
        let loss = model.train.as_ref().map_or(Loss::Stablemax, |train| train.loss);
        let halt_loss = SCOPE.halt_loss();
        Ok(RowAnswer {
            row,
            tokens: slots::prediction(session, SCOPE, slot)?,
            rollout,
            segments: outcome.steps,
            passes: pass.passes,
            stopped_by: stopped.expect("the rollout has ended"),
            q_halt: outcome.q_halt,
            confidence: slots::log_probability(session, SCOPE, slot, loss)?.exp(),
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

/// Answers the rows that `next` gives, and gives each with its answer to `take`, in the order of the rows. `may_run` is
/// called before every segment and may end the work there. Rows have to fit the model.
pub(super) fn answer_rows(
    session: &mut Session,
    model: &Model,
    rule: Option<PuzzleKind>,
    next: &mut dyn FnMut() -> Result<Option<AskedRow>, Error>,
    may_run: &mut dyn FnMut() -> ControlFlow<()>,
    take: &mut dyn FnMut(&AskedRow, RowAnswer),
) -> Result<ControlFlow<()>, Error> {
    let slots = slots::slots(session, SCOPE);
    let (begun, answered) = (VecDeque::new(), BTreeMap::new());
    let mut answering =
        Answering { model, rule, slots: vec![None; slots], begun, answered, next, may_run, take };
    infer(session, model, &mut answering)
}

/// Rows that are being answered.
struct Answering<'a> {
    model: &'a Model,
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
                let answer = RowAnswer::read(session, self.model, pass)?;
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
