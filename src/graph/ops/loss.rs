//! Losses and correctness.
//!
//! Losses leave out negative labels, such as [`IGNORED_LABEL`](crate::data::IGNORED_LABEL). The loss of a row is the
//! mean over its other labels. A row without other labels has loss 0 and counts as exact.

use super::{Backward, Operation, ShapeError, require, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{DType, Graph, TensorType, Value};

/// How logits become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLossKind {
    /// `s(x) / sum s(x)` with `s(x) = x + 1` for `x >= 0`, else `1 / (1 - x)`.
    Stablemax,
    /// `e^x / sum e^x`.
    Softmax,
}

/// Mean negative log likelihood of each row: `logits [B, S, V]`, `labels [B, S]` to `[B]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLoss {
    /// How logits become probabilities.
    pub kind: TokenLossKind,
}

/// Gradient of [`TokenLoss`] from `logits`, `labels` and `dloss [B]`.
///
/// Stablemax: `d / dx_j = s'(x_j) (1 / sum s - [j = label] / s_j)`, `s' = 1` for `x >= 0`, else `s²`.
/// Softmax: `p_j - [j = label]`. Both divided by the counted labels of the row.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLossGrad {
    /// How logits become probabilities.
    pub kind: TokenLossKind,
}

/// Right and counted labels of each row: `logits [B, S, V]`, `labels [B, S]` to `[B]` and `[B]`.
///
/// The prediction is the first of the largest logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Correctness;

/// `max(q, 0) - q target + log(1 + e^-|q|)`: `q [B]`, `target [B]` to `[B]`. The target is a constant.
#[derive(Debug, Clone, PartialEq)]
pub struct BceWithLogits;

/// `dq = dloss (sigmoid(q) - target)` from `q`, `target`, `dloss`.
#[derive(Debug, Clone, PartialEq)]
pub struct BceWithLogitsGrad;

impl TokenLossKind {
    fn attribute(self) -> Vec<(&'static str, String)> {
        let name = match self {
            TokenLossKind::Stablemax => "stablemax",
            TokenLossKind::Softmax => "softmax",
        };
        vec![("kind", name.to_string())]
    }
}

/// Parts both the loss and its gradient are made of, over `R = B S` tokens.
struct LossParts {
    /// `s(x)` or `e^(x - max)`, `[R, V]`.
    s: Tensor,
    /// Sum of `s` over the vocabulary, `[R]`.
    sum: Tensor,
    /// 1 at the label, `[R, V]`.
    hot: Tensor,
    /// 1 where the label counts, `[R]`.
    keep: Tensor,
    /// 1 over the counted labels of the row, at least one, `[B]`.
    inverse_count: Tensor,
    batch: usize,
    positions: usize,
    vocab: usize,
}

fn stable(p: &mut Primitives, x: Tensor) -> Tensor {
    let negative = p.negative(x);
    let shape = p.shape(x);
    let zero = p.constant(0.0, &shape);
    let below = p.mul(negative, x);
    let flipped = p.complement(below);
    let low = p.recip(flipped);
    let above = p.maximum(x, zero);
    let high = p.offset(above, 1.0);
    p.select(negative, low, high)
}

fn parts(p: &mut Primitives, kind: TokenLossKind, logits: Tensor, labels: Tensor) -> LossParts {
    let [batch, positions, vocab] = p.shape(logits)[..] else { unreachable!("logits have three axes") };
    let rows = batch * positions;
    let x = p.reshape(logits, &[rows, vocab]);
    let labels = p.reshape(labels, &[rows]);
    let s = match kind {
        TokenLossKind::Stablemax => stable(p, x),
        TokenLossKind::Softmax => {
            let max = p.max(x, 1);
            let max = p.expand(max, 1, vocab);
            let shifted = p.sub(x, max);
            p.exp(shifted)
        }
    };
    let sum = p.sum(s, 1);
    let ignored = p.negative(labels);
    let keep = p.complement(ignored);
    let hot = p.one_hot(labels, vocab);
    let by_row = p.reshape(keep, &[batch, positions]);
    let count = p.sum(by_row, 1);
    let one = p.constant(1.0, &[batch]);
    let count = p.maximum(count, one);
    let inverse_count = p.recip(count);
    LossParts { s, sum, hot, keep, inverse_count, batch, positions, vocab }
}

fn token_types(logits: &TensorType, labels: &TensorType) -> Result<(), ShapeError> {
    require(
        logits.shape.len() == 3 && labels.dtype == DType::I32 && labels.shape == logits.shape[..2],
        || format!("needs [B, S, V] and labels [B, S], found {logits} and {labels}"),
    )
}

operands!(TokenLoss { inputs: [LOGITS: F32, LABELS], outputs: [LOSS: F32] });

impl Operation for TokenLoss {
    fn name(&self) -> &'static str {
        "token_loss"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        self.kind.attribute()
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        token_types(&inputs[Self::LOGITS], &inputs[Self::LABELS])?;
        Ok(vec![TensorType::f32(&inputs[Self::LOGITS].shape[..1])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let LossParts { s, sum, hot, keep, inverse_count, batch, positions, .. } =
            parts(p, self.kind, inputs[Self::LOGITS], inputs[Self::LABELS]);
        let chosen = p.mul(s, hot);
        let chosen = p.sum(chosen, 1);
        // An ignored token has no label to choose; 1 in place of 0 keeps its logarithm finite.
        let ignored = p.complement(keep);
        let chosen = p.add(chosen, ignored);
        let log_sum = p.log(sum);
        let log_chosen = p.log(chosen);
        let nll = p.sub(log_sum, log_chosen);
        let nll = p.mul(nll, keep);
        let nll = p.reshape(nll, &[batch, positions]);
        let total = p.sum(nll, 1);
        vec![p.mul(total, inverse_count)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let grad = TokenLossGrad { kind: self.kind };
        vec![
            Some(graph.add1(grad.into(), &[at.inputs[Self::LOGITS], at.inputs[Self::LABELS], at.gradient()])),
            None,
        ]
    }
}

operands!(TokenLossGrad { inputs: [LOGITS: F32, LABELS, DLOSS: F32], outputs: [DLOGITS] });

impl Operation for TokenLossGrad {
    fn name(&self) -> &'static str {
        "token_loss_grad"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        self.kind.attribute()
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        token_types(&inputs[Self::LOGITS], &inputs[Self::LABELS])?;
        require_equal(&TensorType::f32(&inputs[Self::LOGITS].shape[..1]), &inputs[Self::DLOSS])?;
        Ok(vec![inputs[Self::LOGITS].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let LossParts { s, sum, hot, keep, inverse_count, batch, positions, vocab } =
            parts(p, self.kind, inputs[Self::LOGITS], inputs[Self::LABELS]);
        let rows = batch * positions;
        let inverse_sum = p.recip(sum);
        let inverse_sum = p.expand(inverse_sum, 1, vocab);
        let slope = match self.kind {
            TokenLossKind::Stablemax => {
                // s'(x) / sum - [label] s'(x) / s(x), with s' = s² below zero and 1 above.
                let x = p.reshape(inputs[Self::LOGITS], &[rows, vocab]);
                let negative = p.negative(x);
                let square = p.mul(s, s);
                let one = p.constant(1.0, &[rows, vocab]);
                let derivative = p.select(negative, square, one);
                let inverse = p.recip(s);
                let chosen = p.mul(hot, inverse);
                let difference = p.sub(inverse_sum, chosen);
                p.mul(derivative, difference)
            }
            TokenLossKind::Softmax => {
                let probability = p.mul(s, inverse_sum);
                p.sub(probability, hot)
            }
        };
        let per_row = p.mul(inputs[Self::DLOSS], inverse_count);
        let per_row = p.expand(per_row, 1, positions);
        let per_row = p.reshape(per_row, &[rows]);
        let weight = p.mul(per_row, keep);
        let weight = p.expand(weight, 1, vocab);
        let grad = p.mul(slope, weight);
        vec![p.reshape(grad, &[batch, positions, vocab])]
    }
}

operands!(Correctness { inputs: [LOGITS: F32, LABELS], outputs: [RIGHT: F32, COUNTED: F32] });

impl Operation for Correctness {
    fn name(&self) -> &'static str {
        "correctness"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        token_types(&inputs[Self::LOGITS], &inputs[Self::LABELS])?;
        let rows = TensorType::f32(&inputs[Self::LOGITS].shape[..1]);
        Ok(vec![rows.clone(), rows])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [batch, positions, vocab] = p.shape(inputs[Self::LOGITS])[..] else {
            unreachable!("logits have three axes")
        };
        let rows = batch * positions;
        let x = p.reshape(inputs[Self::LOGITS], &[rows, vocab]);
        let labels = p.reshape(inputs[Self::LABELS], &[rows]);
        let max = p.max(x, 1);
        let max = p.expand(max, 1, vocab);
        let below = p.less_than(x, max);
        let largest = p.complement(below);
        // The first of the largest has the greatest distance from the end of the vocabulary.
        let rank = p.data("rank", &[vocab], (0..vocab).map(|index| (vocab - index) as f32).collect());
        let rank = p.expand(rank, 0, rows);
        let ranked = p.mul(largest, rank);
        let best = p.max(ranked, 1);
        let prediction = p.scale(best, -1.0);
        let prediction = p.offset(prediction, vocab as f32);
        let ignored = p.negative(labels);
        let keep = p.complement(ignored);
        let equal = p.equal(prediction, labels);
        let right = p.mul(equal, keep);
        [right, keep]
            .map(|x| {
                let x = p.reshape(x, &[batch, positions]);
                p.sum(x, 1)
            })
            .to_vec()
    }
}

operands!(BceWithLogits { inputs: [Q: F32, TARGET: F32], outputs: [LOSS: F32] });

impl Operation for BceWithLogits {
    fn name(&self) -> &'static str {
        "bce_with_logits"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::Q], &inputs[Self::TARGET])?;
        Ok(vec![inputs[Self::Q].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (q, target) = (inputs[Self::Q], inputs[Self::TARGET]);
        let shape = p.shape(q);
        let zero = p.constant(0.0, &shape);
        let positive = p.maximum(q, zero);
        let product = p.mul(q, target);
        let linear = p.sub(positive, product);
        let size = p.abs(q);
        let negative = p.scale(size, -1.0);
        let power = p.exp(negative);
        let sum = p.offset(power, 1.0);
        let log = p.log(sum);
        vec![p.add(linear, log)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let inputs = [at.inputs[Self::Q], at.inputs[Self::TARGET], at.gradient()];
        vec![Some(graph.add1(BceWithLogitsGrad.into(), &inputs)), None]
    }
}

operands!(BceWithLogitsGrad { inputs: [Q: F32, TARGET: F32, DLOSS: F32], outputs: [DQ] });

impl Operation for BceWithLogitsGrad {
    fn name(&self) -> &'static str {
        "bce_with_logits_grad"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::Q], &inputs[Self::TARGET])?;
        require_equal(&inputs[Self::TARGET], &inputs[Self::DLOSS])?;
        Ok(vec![inputs[Self::Q].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let s = p.sigmoid(inputs[Self::Q]);
        let difference = p.sub(s, inputs[Self::TARGET]);
        vec![p.mul(difference, inputs[Self::DLOSS])]
    }
}
