//! Rows with candidates in training: what a step shows of them, and what becomes of them after it.
//!
//! The question, the true values and the candidates of each row are in memory of the trainer, as the puzzle has its cells
//! and values. Each step shows a row under a symmetry of its own, and all that is random about a row in a step comes from
//! a stream of that step and slot.

use super::deduction::{CandidateGrid, Deduced, DeductionPolicy, Predicted, RowView, value_of};
use super::metrics::DeductionSums;
use super::streams::{BRANCHES, STARTS, VIEWS, unit};
use crate::data::random::Stream;
use crate::data::{Augment, IGNORED_LABEL, Row};
use crate::device::{DeviceError, Session};
use crate::graph::TensorType;
use crate::ir::{Candidates, Model, Starts};
use crate::lower::names::Scope;

const SCOPE: Scope = Scope::Train;

/// The least and the largest share of the open tokens that is filled in where some of it is wrong.
const FILLED_WITH_ERRORS: [f64; 2] = [0.1, 1.0];
/// The least and the largest share of what is filled in that is wrong then.
const WRONG: [f64; 2] = [0.01, 0.3];

/// Where the rows of a step come from, and what is random about them.
#[derive(Debug)]
pub(super) struct Pool {
    candidates: Candidates,
    starts: Starts,
    seed: u64,
    tokens: usize,
    batch: usize,
    /// How each row is shown in this step.
    views: Vec<RowView>,
}

/// What the candidates of the batch have come to in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PoolReport {
    /// Rows that were solved, rightly.
    pub solved: usize,
    /// Rows of which the model said rightly whether they had lost a true candidate.
    pub judged: usize,
    /// Candidates of the open tokens of the questions, after the step.
    pub left: usize,
    /// Those tokens.
    pub open: usize,
}

impl PoolReport {
    /// Adds what the batch has come to, of so many rows, to the sums of a step.
    pub fn add_to(self, sums: &mut DeductionSums, rows: usize) {
        sums.stepped += rows as f64;
        sums.solved += self.solved as f64;
        sums.judged += self.judged as f64;
        sums.open += self.open as f64;
        sums.left += self.left as f64;
    }
}

impl Pool {
    /// Makes room for the rows of a batch; `None` for a model without candidates.
    ///
    /// # Errors
    ///
    /// Returns an error if the memory cannot be had.
    pub fn new(
        session: &mut Session,
        model: &Model,
        batch: usize,
        seed: u64,
    ) -> Result<Option<Pool>, DeviceError> {
        let Some(candidates) = model.candidates else { return Ok(None) };
        let tokens = model.tokens.positions;
        for name in [SCOPE.tokens(), SCOPE.truth()] {
            session.reserve(&name, &TensorType::i32(&[batch, tokens]))?;
        }
        session.reserve(&SCOPE.deduced(), &TensorType::f32(&[batch, tokens, candidates.values]))?;
        let starts = model.train.as_ref().map_or(Starts::default(), |train| train.starts);
        let views = vec![RowView::plain(tokens, candidates.values); batch];
        Ok(Some(Pool { candidates, starts, seed, tokens, batch, views }))
    }

    fn stream(&self, name: &str, step: u64, slot: usize) -> Stream {
        Stream::new(self.seed, name, step.wrapping_mul(self.batch as u64).wrapping_add(slot as u64))
    }

    /// Puts a new row into a slot, with the candidates that it begins with.
    pub fn put(&self, session: &mut Session, step: u64, slot: usize, row: &Row) -> Result<(), DeviceError> {
        let truth: Vec<i32> = row
            .labels
            .iter()
            .map(|&label| value_of(&self.candidates, label).map_or(-1, |value| value as i32))
            .collect();
        let mut grid = CandidateGrid::of_question(&self.candidates, &row.inputs);
        self.fill_in(&mut grid, &truth, &mut self.stream(STARTS, step, slot));
        let place = slot * self.tokens..(slot + 1) * self.tokens;
        session.i32_mut(&SCOPE.tokens())?[place.clone()].copy_from_slice(&row.inputs);
        session.i32_mut(&SCOPE.truth())?[place].copy_from_slice(&truth);
        self.keep(session, slot, &grid)
    }

    /// Fills in some open tokens, as the shares of the training say.
    fn fill_in(&self, grid: &mut CandidateGrid, truth: &[i32], random: &mut Stream) {
        let Starts { hints, errors } = self.starts;
        let kind = unit(random);
        let between = |[least, most]: [f64; 2], random: &mut Stream| least + (most - least) * unit(random);
        let (filled, wrong) = if kind < f64::from(hints) {
            (unit(random), 0.0)
        } else if kind < f64::from(hints) + f64::from(errors) {
            (between(FILLED_WITH_ERRORS, random), between(WRONG, random))
        } else {
            return;
        };
        for (token, &value) in truth.iter().enumerate() {
            // All three are drawn for every token, so that a draw does not depend on the ones before it.
            let (is_filled, is_wrong) = (unit(random) < filled, unit(random) < wrong);
            let other = random.below(self.candidates.values - 1);
            let Ok(value) = usize::try_from(value) else { continue };
            if is_filled && !grid.is_given(token) {
                // The other values are all equally likely.
                let other = if other < value { other } else { other + 1 };
                grid.pin(token, if is_wrong { other } else { value });
            }
        }
    }

    fn keep(&self, session: &mut Session, slot: usize, grid: &CandidateGrid) -> Result<(), DeviceError> {
        let size = grid.possible().len();
        let kept = &mut session.f32_mut(&SCOPE.deduced())?[slot * size..(slot + 1) * size];
        for (kept, &possible) in kept.iter_mut().zip(grid.possible()) {
            *kept = if possible { 1.0 } else { 0.0 };
        }
        Ok(())
    }

    fn grid(&self, session: &Session, slot: usize) -> Result<CandidateGrid, DeviceError> {
        let place = slot * self.tokens..(slot + 1) * self.tokens;
        let size = self.tokens * self.candidates.values;
        let question = &session.i32(&SCOPE.tokens())?[place];
        let kept = &session.f32(&SCOPE.deduced())?[slot * size..(slot + 1) * size];
        Ok(CandidateGrid::kept(&self.candidates, question, kept))
    }

    fn truth<'a>(&self, session: &'a Session, slot: usize) -> Result<&'a [i32], DeviceError> {
        Ok(&session.i32(&SCOPE.truth())?[slot * self.tokens..(slot + 1) * self.tokens])
    }

    /// Writes what the step shows: candidates, those that are true, labels, and whether one is lost.
    pub fn show(
        &mut self,
        session: &mut Session,
        step: u64,
        augment: Option<&Augment>,
    ) -> Result<(), DeviceError> {
        let mut shown = Vec::with_capacity(self.batch);
        for slot in 0..self.batch {
            let truth = self.truth(session, slot)?;
            self.views[slot] = self.view(augment, truth, &mut self.stream(VIEWS, step, slot));
            shown.push(ShownRow::of(&self.grid(session, slot)?, truth, &self.views[slot]));
        }
        // The token loss is a mean over all tokens that count in the batch.
        let counted: usize = shown.iter().map(|row| row.counted).sum();
        let share = self.batch as f64 / counted.max(1) as f64;
        for (slot, row) in shown.iter().enumerate() {
            row.write(session, SCOPE, slot)?;
            session.f32_mut(&SCOPE.token_weight())?[slot] = (row.counted as f64 * share) as f32;
        }
        Ok(())
    }

    /// Draws how a row is shown.
    fn view(&self, augment: Option<&Augment>, truth: &[i32], random: &mut Stream) -> RowView {
        let Candidates { values, first, .. } = self.candidates;
        let labels: Vec<i32> =
            truth.iter().map(|&value| if value < 0 { IGNORED_LABEL } else { value + first as i32 }).collect();
        match augment.and_then(|augment| augment.draw_symmetry(&labels, (first, values), random)) {
            Some((tokens, values)) => RowView { tokens, values },
            None => RowView::plain(self.tokens, values),
        }
    }

    /// Projects and branches every row by what the program of the step said, and returns which rows are done with: those
    /// that are solved, and those in which a conflict was found that is indeed one. `steps` are the segments done on each
    /// row, of which there are at most `most`.
    pub fn advance(
        &self,
        session: &mut Session,
        step: u64,
        steps: &[u32],
        most: usize,
    ) -> Result<(Vec<bool>, PoolReport), DeviceError> {
        let policy = DeductionPolicy::of_training(&self.candidates);
        let mut report = PoolReport::default();
        let mut done = Vec::with_capacity(self.batch);
        for (slot, &steps) in steps.iter().enumerate() {
            let mut grid = self.grid(session, slot)?;
            let truth = self.truth(session, slot)?;
            let was_intact = grid.is_intact(truth);
            let predicted = predicted(session, SCOPE, slot, grid.possible().len())?;
            let random = &mut self.stream(BRANCHES, step, slot);
            let deduced = grid.deduce(&predicted, &self.views[slot], &policy, random);
            let is_intact = grid.is_intact(truth);
            let believed = predicted.conflict.is_some_and(|logit| logit > 0.0);
            report.judged += usize::from(believed != was_intact);
            report.solved += usize::from(deduced == Deduced::Solved && is_intact);
            for token in (0..self.tokens).filter(|&token| !grid.is_given(token)) {
                report.open += 1;
                report.left += grid.count(token);
            }
            done.push(match deduced {
                Deduced::Solved => true,
                Deduced::Conflict => !is_intact || steps as usize >= most,
                Deduced::Pinned { .. } => steps as usize >= most,
            });
            self.keep(session, slot, &grid)?;
        }
        Ok((done, report))
    }
}

/// Returns what the program has said about the row in a slot, whose candidates are so many numbers.
pub(super) fn predicted(
    session: &Session,
    scope: Scope,
    slot: usize,
    size: usize,
) -> Result<Predicted<'_>, DeviceError> {
    let place = slot * size..(slot + 1) * size;
    let conflict = scope.conflict();
    Ok(Predicted {
        keep: &session.f32(&scope.keep_logits())?[place.clone()],
        tokens: &session.f32(&scope.logits())?[place],
        conflict: session.has(&conflict).then(|| session.f32(&conflict)).transpose()?.map(|all| all[slot]),
    })
}

/// A row as a program reads it.
pub(super) struct ShownRow {
    candidates: Vec<f32>,
    kept: Vec<f32>,
    labels: Vec<i32>,
    lost: bool,
    /// Labels that count: of the open tokens of the question, if no true candidate is lost.
    pub counted: usize,
}

impl ShownRow {
    /// Shows candidates with true values, -1 where there is none, under a view.
    pub fn of(grid: &CandidateGrid, truth: &[i32], view: &RowView) -> ShownRow {
        let values = view.values.len();
        let size = grid.possible().len();
        let lost = !grid.is_intact(truth);
        let mut shown = ShownRow {
            candidates: vec![0.0; size],
            kept: vec![0.0; size],
            labels: vec![IGNORED_LABEL; grid.tokens()],
            lost,
            counted: 0,
        };
        for (position, &token) in view.tokens.iter().enumerate() {
            for value in (0..values).filter(|&value| grid.has(token, value)) {
                let place = position * values + view.values[value];
                shown.candidates[place] = 1.0;
                // Where no value is known to be true, nothing is known to be wrong.
                if truth[token] < 0 || truth[token] as usize == value {
                    shown.kept[place] = 1.0;
                }
            }
            if !lost && !grid.is_given(token) && truth[token] >= 0 {
                shown.labels[position] = view.values[truth[token] as usize] as i32;
                shown.counted += 1;
            }
        }
        shown
    }

    /// Writes the row into a slot of a program.
    pub fn write(&self, session: &mut Session, scope: Scope, slot: usize) -> Result<(), DeviceError> {
        let (size, tokens) = (self.candidates.len(), self.labels.len());
        session.f32_mut(&scope.candidates())?[slot * size..(slot + 1) * size]
            .copy_from_slice(&self.candidates);
        session.f32_mut(&scope.kept())?[slot * size..(slot + 1) * size].copy_from_slice(&self.kept);
        session.i32_mut(&scope.labels())?[slot * tokens..(slot + 1) * tokens].copy_from_slice(&self.labels);
        if session.has(&scope.lost()) {
            session.f32_mut(&scope.lost())?[slot] = if self.lost { 1.0 } else { 0.0 };
        }
        Ok(())
    }
}
