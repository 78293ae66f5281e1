//! Losses over token logits and Q values, and what counts as right.
//!
//! For the tokens, the loss of a labelled position is `-log(s(x_label) / Σ s(x))` with
//!
//! ```text
//! softmax      s(x) = e^x
//! stablemax    s(x) = x + 1 for x >= 0, 1 / (1 - x) otherwise      (Prieto et al. 2025)
//! ```
//!
//! evaluated in f64, because a nearly certain prediction leaves a difference of 1e-8 that still carries the
//! gradient. A row's loss is the mean over its labelled positions, zero if there are none.

use super::parallel::{Shared, for_each_block};
use super::simd::vectorised;
use crate::data::IGNORED_LABEL;
use crate::graph::ops::TokenLossKind;

impl TokenLossKind {
    /// Returns `s(x)`; `shift` is the largest logit, which softmax subtracts.
    #[inline(always)]
    fn score(self, x: f64, shift: f64) -> f64 {
        match self {
            TokenLossKind::Stablemax => {
                let below = 1.0 / (1.0 - x.min(0.0));
                if x < 0.0 { below } else { x + 1.0 }
            }
            TokenLossKind::Softmax => (x - shift).exp(),
        }
    }

    /// Returns `s'(x)`, given `s(x)`.
    #[inline(always)]
    fn slope(self, x: f64, score: f64) -> f64 {
        match self {
            TokenLossKind::Stablemax => {
                // The sign of a logit is as good as random: a selection is cheaper than a branch.
                let below = score * score;
                if x < 0.0 { below } else { 1.0 }
            }
            TokenLossKind::Softmax => score,
        }
    }
}

/// Sizes of a batch of token predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossShape {
    /// Batch rows `B`.
    pub batch: usize,
    /// Labelled positions `S`.
    pub positions: usize,
    /// Vocabulary `V`.
    pub vocab: usize,
}

impl LossShape {
    fn check(&self, logits: &[f32], labels: &[i32]) {
        assert_eq!(logits.len(), self.batch * self.positions * self.vocab);
        assert_eq!(labels.len(), self.batch * self.positions);
    }

    /// Yields the logits and the label of every position of a row that has one.
    fn labelled<'a>(
        &self,
        row: usize,
        logits: &'a [f32],
        labels: &'a [i32],
    ) -> impl Iterator<Item = (usize, &'a [f32], usize)> + use<'a> {
        let (positions, vocab) = (self.positions, self.vocab);
        let labels = &labels[row * positions..(row + 1) * positions];
        labels.iter().enumerate().filter(|(_, label)| **label != IGNORED_LABEL).map(
            move |(position, label)| {
                let label = super::embedding::index_of(*label, vocab);
                (position, &logits[(row * positions + position) * vocab..][..vocab], label)
            },
        )
    }

    fn count(&self, row: usize, labels: &[i32]) -> usize {
        let labels = &labels[row * self.positions..(row + 1) * self.positions];
        labels.iter().filter(|label| **label != IGNORED_LABEL).count()
    }
}

/// `loss[b] = mean of -log(s(x_label) / Σ s(x))` over the labelled positions of row `b`.
///
/// # Shapes
///
/// `loss` `[B]`, `logits` `[B, S, V]`, `labels` `[B, S]`: in `0..V`, or [`IGNORED_LABEL`].
pub fn token_loss(loss: &mut [f32], logits: &[f32], labels: &[i32], kind: TokenLossKind, shape: LossShape) {
    shape.check(logits, labels);
    assert_eq!(loss.len(), shape.batch);
    let loss = Shared::new(loss);
    for_each_block(shape.batch, 1, logits.len() * 8, |rows| {
        let row = rows.start;
        let sum: f64 = shape
            .labelled(row, logits, labels)
            .map(|(_, logits, label)| {
                let shift = shift_of(logits);
                let sum: f64 = logits.iter().map(|&x| kind.score(f64::from(x), shift)).sum();
                -(kind.score(f64::from(logits[label]), shift) / sum).ln()
            })
            .sum();
        let count = shape.count(row, labels).max(1);
        // SAFETY: every task has its own row.
        let loss = unsafe { loss.part(row..row + 1) };
        loss[0] = (sum / count as f64) as f32;
    });
}

/// Gradient of [`token_loss`]: at a labelled position of row `b` with `n` of them,
/// `dlogits[v] = dloss[b] / n (s'(x_v) / Σ s - [v = label] s'(x_v) / s(x_v))`; zero elsewhere.
///
/// # Shapes
///
/// `dlogits`, `logits` `[B, S, V]`, `labels` `[B, S]`, `dloss` `[B]`.
pub fn token_loss_grad(
    dlogits: &mut [f32],
    logits: &[f32],
    labels: &[i32],
    dloss: &[f32],
    kind: TokenLossKind,
    shape: LossShape,
) {
    shape.check(logits, labels);
    assert_eq!(dlogits.len(), logits.len());
    assert_eq!(dloss.len(), shape.batch);
    let size = shape.positions * shape.vocab;
    let dlogits = Shared::new(dlogits);
    for_each_block(shape.batch, 1, logits.len() * 8, |rows| {
        let row = rows.start;
        // SAFETY: every task has its own row.
        let dlogits = unsafe { dlogits.part(row * size..(row + 1) * size) };
        dlogits.fill(0.0);
        let factor = f64::from(dloss[row]) / shape.count(row, labels).max(1) as f64;
        vectorised(
            #[inline(always)]
            || {
                for (position, logits, label) in shape.labelled(row, logits, labels) {
                    let shift = shift_of(logits);
                    let sum: f64 = logits.iter().map(|&x| kind.score(f64::from(x), shift)).sum();
                    let dlogits = &mut dlogits[position * shape.vocab..][..shape.vocab];
                    let share = factor / sum;
                    for (dlogit, &x) in dlogits.iter_mut().zip(logits) {
                        let x = f64::from(x);
                        *dlogit = (share * kind.slope(x, kind.score(x, shift))) as f32;
                    }
                    let x = f64::from(logits[label]);
                    let score = kind.score(x, shift);
                    dlogits[label] = (factor * kind.slope(x, score) * (1.0 / sum - 1.0 / score)) as f32;
                }
            },
        );
    });
}

/// Counts, per row, the labelled positions and those whose largest logit is the label's.
///
/// Of several equal largest logits the first one counts.
///
/// # Shapes
///
/// `right`, `counted` `[B]` (whole numbers), `logits` `[B, S, V]`, `labels` `[B, S]`.
pub fn correctness(right: &mut [f32], counted: &mut [f32], logits: &[f32], labels: &[i32], shape: LossShape) {
    shape.check(logits, labels);
    assert_eq!(right.len(), shape.batch);
    assert_eq!(counted.len(), shape.batch);
    for (row, (right, counted)) in right.iter_mut().zip(counted).enumerate() {
        let hits =
            shape.labelled(row, logits, labels).filter(|(_, logits, label)| first_largest(logits) == *label);
        *right = hits.count() as f32;
        *counted = shape.count(row, labels) as f32;
    }
}

/// `loss = log(1 + e^q) - q target`, the cross entropy of a Q value seen as a logit.
///
/// # Shapes
///
/// `loss`, `q`, `target` `[B]`.
pub fn bce_with_logits(loss: &mut [f32], q: &[f32], target: &[f32]) {
    assert_eq!(q.len(), loss.len());
    assert_eq!(target.len(), loss.len());
    for ((loss, &q), &target) in loss.iter_mut().zip(q).zip(target) {
        let (q, target) = (f64::from(q), f64::from(target));
        *loss = (q.max(0.0) - q * target + (-q.abs()).exp().ln_1p()) as f32;
    }
}

/// Gradient of [`bce_with_logits`] with respect to `q`: `dq = dloss (1 / (1 + e^-q) - target)`.
///
/// # Shapes
///
/// `dq`, `q`, `target`, `dloss` `[B]`.
pub fn bce_with_logits_grad(dq: &mut [f32], q: &[f32], target: &[f32], dloss: &[f32]) {
    assert_eq!(q.len(), dq.len());
    assert_eq!(target.len(), dq.len());
    assert_eq!(dloss.len(), dq.len());
    for (((dq, &q), &target), &dloss) in dq.iter_mut().zip(q).zip(target).zip(dloss) {
        let probability = 1.0 / (1.0 + (-f64::from(q)).exp());
        *dq = (f64::from(dloss) * (probability - f64::from(target))) as f32;
    }
}

/// Returns what softmax subtracts before the exponential.
fn shift_of(logits: &[f32]) -> f64 {
    f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// Returns the place of the first largest element.
fn first_largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{
        assert_close, assert_same_on_any_threads, differences, inner, numbers, values, wide,
    };
    use super::*;

    /// Labels of which about a third are ignored; the first row has none at all.
    fn some_labels(seed: u64, shape: LossShape) -> Vec<i32> {
        let mut labels = numbers(seed, shape.batch * shape.positions, shape.vocab);
        for (at, pick) in numbers(seed ^ 9, labels.len(), 3).into_iter().enumerate() {
            if pick == 0 || at < shape.positions {
                labels[at] = IGNORED_LABEL;
            }
        }
        labels
    }

    fn naive(logits: &[f64], labels: &[i32], kind: TokenLossKind, shape: LossShape) -> Vec<f64> {
        let score = |x: f64| match kind {
            TokenLossKind::Softmax => x.exp(),
            TokenLossKind::Stablemax if x >= 0.0 => x + 1.0,
            TokenLossKind::Stablemax => 1.0 / (1.0 - x),
        };
        (0..shape.batch)
            .map(|row| {
                let (mut sum, mut count) = (0.0, 0);
                for at in row * shape.positions..(row + 1) * shape.positions {
                    if labels[at] != IGNORED_LABEL {
                        let logits = &logits[at * shape.vocab..][..shape.vocab];
                        let total: f64 = logits.iter().map(|&x| score(x)).sum();
                        sum -= (score(logits[labels[at] as usize]) / total).ln();
                        count += 1;
                    }
                }
                if count == 0 { 0.0 } else { sum / f64::from(count) }
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn loss_and_gradient_agree_with_the_formula(
            batch in 1_usize..4, positions in 1_usize..6, vocab in 2_usize..8, soft: bool, seed: u64,
        ) {
            let shape = LossShape { batch, positions, vocab };
            let kind = if soft { TokenLossKind::Softmax } else { TokenLossKind::Stablemax };
            let logits: Vec<f32> = values(seed, batch * positions * vocab).iter().map(|x| 8.0 * x).collect();
            let (labels, dloss) = (some_labels(seed, shape), values(seed ^ 1, batch));
            let (mut loss, mut dlogits) = (vec![9.0; batch], vec![9.0; logits.len()]);
            token_loss(&mut loss, &logits, &labels, kind, shape);
            // Evaluated in f64; only the result is rounded.
            assert_close(&loss, &naive(&wide(&logits), &labels, kind, shape), 1e-7);
            prop_assert_eq!(loss[0], 0.0);
            token_loss_grad(&mut dlogits, &logits, &labels, &dloss, kind, shape);
            let exact =
                differences(&wide(&logits), |at| inner(&naive(at, &labels, kind, shape), &wide(&dloss)));
            // The error of the differences; a kink of stablemax has equal slopes on both sides.
            assert_close(&dlogits, &exact, 1e-7);
        }

        #[test]
        fn q_loss_and_gradient_agree_with_the_formula(len in 1_usize..9, seed: u64) {
            let q: Vec<f32> = values(seed, len).iter().map(|x| 10.0 * x).collect();
            let target: Vec<f32> = values(seed ^ 1, len).iter().map(|x| x.abs()).collect();
            let dloss = values(seed ^ 2, len);
            let (mut loss, mut dq) = (vec![0.0; len], vec![0.0; len]);
            bce_with_logits(&mut loss, &q, &target);
            let formula = |q: &[f64]| -> Vec<f64> {
                q.iter()
                    .zip(&target)
                    .map(|(q, &t)| {
                        let p = 1.0 / (1.0 + (-q).exp());
                        -f64::from(t) * p.ln() - (1.0 - f64::from(t)) * (1.0 - p).ln()
                    })
                    .collect()
            };
            assert_close(&loss, &formula(&wide(&q)), 1e-6);
            bce_with_logits_grad(&mut dq, &q, &target, &dloss);
            assert_close(&dq, &differences(&wide(&q), |q| inner(&formula(q), &wide(&dloss))), 1e-6);
        }
    }

    #[test]
    fn first_of_equal_logits_counts() {
        let shape = LossShape { batch: 2, positions: 3, vocab: 3 };
        let logits =
            [1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0, 5.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let labels = [0, 2, 2, IGNORED_LABEL, IGNORED_LABEL, IGNORED_LABEL];
        let (mut right, mut counted) = ([9.0; 2], [9.0; 2]);
        correctness(&mut right, &mut counted, &logits, &labels, shape);
        assert_eq!((right, counted), ([2.0, 0.0], [3.0, 0.0]));
    }

    #[test]
    fn certain_predictions_keep_a_gradient() {
        let shape = LossShape { batch: 1, positions: 1, vocab: 2 };
        let mut loss = [0.0];
        token_loss(&mut loss, &[30.0, 0.0], &[0], TokenLossKind::Softmax, shape);
        assert!(loss[0] > 9.0e-14 && loss[0] < 9.7e-14, "{}", loss[0]);
    }

    #[test]
    fn losses_are_the_same_on_any_threads() {
        let shape = LossShape { batch: 16, positions: 81, vocab: 11 };
        let (logits, labels, dloss) = (values(1, 16 * 81 * 11), some_labels(2, shape), values(3, 16));
        assert_same_on_any_threads(|| {
            let (mut loss, mut dlogits) = (vec![0.0; 16], vec![0.0; logits.len()]);
            token_loss(&mut loss, &logits, &labels, TokenLossKind::Stablemax, shape);
            token_loss_grad(&mut dlogits, &logits, &labels, &dloss, TokenLossKind::Stablemax, shape);
            [loss, dlogits].concat()
        });
    }
}
