//! The rows of a batch in the memory of a session.

use super::explore::NO_FLOOR;
use super::halting::SlotOutcome;
use super::metrics::SegmentRows;
use crate::device::{DeviceError, Session};
use crate::ir::Loss;
use crate::lower::names::Scope;

/// One row to put into a slot.
#[derive(Clone, Copy)]
pub(super) struct SlotRow<'a> {
    /// Tokens, `[S]`.
    pub tokens: &'a [i32],
    /// Labels, `[S]`.
    pub labels: &'a [i32],
    /// Puzzle identifier.
    pub puzzle: i32,
}

/// Returns the slots `B` of the program with this scope.
pub(crate) fn slots(session: &Session, scope: Scope) -> usize {
    session.ty(&scope.counted()).expect("every program of a model counts labels").elements()
}

/// Puts a row into a slot.
pub(super) fn put(
    session: &mut Session,
    scope: Scope,
    slot: usize,
    row: SlotRow<'_>,
) -> Result<(), DeviceError> {
    for (name, values) in [(scope.tokens(), row.tokens), (scope.labels(), row.labels)] {
        let start = slot * values.len();
        session.i32_mut(&name)?[start..start + values.len()].copy_from_slice(values);
    }
    // A model without a puzzle table has no use for the identifier.
    if session.has(&scope.puzzles()) {
        session.i32_mut(&scope.puzzles())?[slot] = row.puzzle;
    }
    Ok(())
}

/// Writes which slots begin a row, as ones and zeros `[B]`.
pub(super) fn set_reset(session: &mut Session, scope: Scope, mask: &[f32]) -> Result<(), DeviceError> {
    // A model that never reads a state before it updates it has nothing to reset.
    if session.has(&scope.reset()) {
        session.f32_mut(&scope.reset())?.copy_from_slice(mask);
    }
    Ok(())
}

/// Returns f32 memory that not every model has.
fn optional<'a>(session: &'a Session, name: &str) -> Result<Option<&'a [f32]>, DeviceError> {
    session.has(name).then(|| session.f32(name)).transpose()
}

/// Returns the results of the segment that just ran.
pub(super) fn results<'a>(
    session: &'a Session,
    scope: Scope,
    steps: &'a [u32],
    halted: &'a [bool],
) -> Result<SegmentRows<'a>, DeviceError> {
    Ok(SegmentRows {
        token_loss: session.f32(&scope.token_loss())?,
        halt_loss: optional(session, &scope.halt_loss())?,
        continue_loss: optional(session, &scope.continue_loss())?,
        right: session.f32(&scope.right())?,
        counted: session.f32(&scope.counted())?,
        q_halt: optional(session, &scope.q_halt())?,
        steps,
        halted,
    })
}

/// Returns the values that decide whether the first slots halt, without exploration. `steps` are the segments that
/// they have done.
pub(super) fn outcomes(
    session: &Session,
    scope: Scope,
    steps: &[u32],
) -> Result<Vec<SlotOutcome>, DeviceError> {
    let q_halt = optional(session, &scope.q_halt())?;
    let q_continue = optional(session, &scope.q_continue())?;
    let residual = optional(session, &scope.residual())?;
    let outcome = |(slot, &steps): (usize, &u32)| SlotOutcome {
        steps,
        floor: NO_FLOOR,
        q_halt: q_halt.map(|q| q[slot]),
        q_continue: q_continue.map(|q| q[slot]),
        residual: residual.map(|residual| residual[slot]),
    };
    Ok(steps.iter().enumerate().map(outcome).collect())
}

/// Returns the logits of a row.
fn logits_of(session: &Session, scope: Scope, row: usize) -> Result<&[f32], DeviceError> {
    let logits = session.f32(&scope.logits())?;
    let row_logits = logits.len() / slots(session, scope);
    Ok(&logits[row * row_logits..(row + 1) * row_logits])
}

/// Returns whether all logits of a row are finite.
pub(super) fn is_finite(session: &Session, scope: Scope, row: usize) -> Result<bool, DeviceError> {
    Ok(logits_of(session, scope, row)?.iter().all(|logit| logit.is_finite()))
}

/// Returns the logarithm of the probability that a row's predicted tokens have together in some `cells`, by the
/// function of the loss; not a number if any logit of the row is none.
pub(super) fn log_probability(
    session: &Session,
    scope: Scope,
    row: usize,
    loss: Loss,
    cells: &[usize],
) -> Result<f64, DeviceError> {
    if !is_finite(session, scope, row)? {
        return Ok(f64::NAN);
    }
    let logits = logits_of(session, scope, row)?;
    let positions = session.i32(&scope.tokens())?.len() / slots(session, scope);
    let vocab = logits.len() / positions;
    Ok(cells.iter().map(|cell| log_of_largest(&logits[cell * vocab..(cell + 1) * vocab], loss)).sum())
}

/// Returns the logarithm of the probability of the largest of logits that are all finite.
fn log_of_largest(logits: &[f32], loss: Loss) -> f64 {
    -logits.iter().map(|&logit| weight(logit, logits, loss)).sum::<f64>().ln()
}

/// Returns the weight of a token, relative to that of the largest of the logits.
fn weight(logit: f32, logits: &[f32], loss: Loss) -> f64 {
    let largest = logits[first_largest(logits)];
    match loss {
        Loss::Softmax => (f64::from(logit) - f64::from(largest)).exp(),
        Loss::Stablemax => stablemax(logit) / stablemax(largest),
    }
}

/// `x + 1` for x of at least 0, else `1 / (1 - x)`: what stablemax takes in place of the exponential.
fn stablemax(logit: f32) -> f64 {
    let x = f64::from(logit);
    if x >= 0.0 { x + 1.0 } else { 1.0 / (1.0 - x) }
}

/// Returns the probability that a Q value stands for.
pub fn sigmoid(q: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(q)).exp())
}

/// Returns the predicted tokens of a row: the first of the largest logits.
pub(super) fn prediction(session: &Session, scope: Scope, row: usize) -> Result<Vec<i32>, DeviceError> {
    let logits = logits_of(session, scope, row)?;
    let positions = session.i32(&scope.tokens())?.len() / slots(session, scope);
    Ok(decoded(logits, logits.len() / positions))
}

/// Returns the tokens that logits `[S, V]` predict: the first of the largest ones.
pub(super) fn decoded(logits: &[f32], vocab: usize) -> Vec<i32> {
    logits.chunks_exact(vocab).map(|logits| first_largest(logits) as i32).collect()
}

/// Returns the probability of each token, `[S, V]`, that logits `[S, V]` stand for by the function of the loss.
pub(super) fn probabilities(logits: &[f32], vocab: usize, loss: Loss) -> Vec<f32> {
    let mut shares = Vec::with_capacity(logits.len());
    for logits in logits.chunks_exact(vocab) {
        let weights: Vec<f64> = logits.iter().map(|&logit| weight(logit, logits, loss)).collect();
        let sum: f64 = weights.iter().sum();
        shares.extend(weights.iter().map(|weight| (weight / sum) as f32));
    }
    shares
}

fn first_largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{first_largest, log_of_largest};
    use crate::ir::Loss;

    #[test]
    fn the_probability_of_the_largest_logit_is_that_of_the_loss() {
        let logits = [1.0, 3.0, -1.0];
        // By hand: 4 / (2 + 4 + 1/2), and 1 / (e^-2 + 1 + e^-4).
        assert!((log_of_largest(&logits, Loss::Stablemax).exp() - 4.0 / 6.5).abs() < 1e-12);
        let softmax = 1.0 / ((-2.0f64).exp() + 1.0 + (-4.0f64).exp());
        assert!((log_of_largest(&logits, Loss::Softmax).exp() - softmax).abs() < 1e-12);
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(first_largest(&[0.0, 2.0, 2.0, 1.0]), 1);
        assert_eq!(first_largest(&[3.0]), 0);
    }
}
