//! Bidirectional attention and the rotation of its queries and keys.
//!
//! A row of `qkv [B, S, 3D]` holds all heads of the queries, then of the keys, then of the values; head
//! `a` of `A` owns the columns `a E .. (a + 1) E` of each third, with `E = D / A`.
//!
//! `o = softmax(q kᵀ / sqrt(E)) v` per head. The second output is the logarithm of the softmax's
//! denominator, `lse = log(sum exp(q kᵀ / sqrt(E)))`, `[B, A, S]`, from which the backward pass
//! recomputes the probabilities instead of storing them.

use super::{Backward, Operation, ShapeError, require, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// Rotates queries and keys by their position: `x cos + rotate_half(x) sin`, `[B, S, 3D]` to the same.
///
/// Element `i` of the first half of a head pairs with element `i` of the second half; both turn by
/// `s theta^(-2 i / E)` at position `s`. The values pass through.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotate {
    /// Number of heads `A`.
    pub heads: usize,
    /// Base of the frequencies.
    pub theta: f32,
    /// Whether to turn back, which is also the gradient.
    pub inverse: bool,
}

/// Attention of `qkv [B, S, 3D]` to `o [B, S, D]` and `lse [B, A, S]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Number of heads `A`.
    pub heads: usize,
    /// Rotates queries and keys first, by [`Rotate`] of this base.
    pub rope_theta: Option<f32>,
}

/// Gradient of [`Attention`] with respect to `qkv`, from `qkv`, `lse` and `do`.
///
/// With `P = exp(S - lse)`: `dv = Pᵀ do`, `dP = do vᵀ`, `dS = P (dP - rowsum(P dP))`,
/// `dq = dS k / sqrt(E)`, `dk = dSᵀ q / sqrt(E)`. The row sum equals `rowsum(do o)`; written like this the
/// output of attention is not needed.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionGrad {
    /// Number of heads `A`.
    pub heads: usize,
    /// As in [`Attention`]; the gradient is with respect to the unrotated input.
    pub rope_theta: Option<f32>,
}

/// Returns the tables `cos` and `sin`, each `[S, E]`, computed from f32 angles.
pub fn rope_tables(positions: usize, head_width: usize, theta: f32) -> (Vec<f32>, Vec<f32>) {
    let half = head_width / 2;
    let mut cos = Vec::with_capacity(positions * head_width);
    let mut sin = Vec::with_capacity(positions * head_width);
    for position in 0..positions {
        for column in 0..head_width {
            let exponent = (2 * (column % half)) as f32 / head_width as f32;
            let frequency = 1.0 / theta.powf(exponent);
            let angle = position as f32 * frequency;
            cos.push(angle.cos());
            sin.push(angle.sin());
        }
    }
    (cos, sin)
}

/// Splits `qkv [B, S, 3D]` into three tensors `[B, A, S, E]`.
fn split(p: &mut Primitives, qkv: Tensor, heads: usize) -> [Tensor; 3] {
    let shape = p.shape(qkv);
    let (batch, positions, width) = (shape[0], shape[1], shape[2] / 3);
    [0, 1, 2].map(|third| {
        let part = p.slice(qkv, 2, third * width, (third + 1) * width);
        let part = p.reshape(part, &[batch, positions, heads, width / heads]);
        let part = p.permute(part, &[0, 2, 1, 3]);
        p.contiguous(part)
    })
}

/// Joins three tensors `[B, A, S, E]` to `[B, S, 3D]`.
fn join(p: &mut Primitives, parts: [Tensor; 3]) -> Tensor {
    let shape = p.shape(parts[0]);
    let (batch, heads, positions, head_width) = (shape[0], shape[1], shape[2], shape[3]);
    let width = heads * head_width;
    let padded: Vec<Tensor> = parts
        .into_iter()
        .enumerate()
        .map(|(third, part)| {
            let part = merge_heads(p, part);
            let part = p.reshape(part, &[batch, positions, width]);
            p.pad(part, 2, third * width, (2 - third) * width)
        })
        .collect();
    let two = p.add(padded[0], padded[1]);
    p.add(two, padded[2])
}

/// Turns `[B, A, S, E]` into `[B, S, A E]`.
fn merge_heads(p: &mut Primitives, x: Tensor) -> Tensor {
    let shape = p.shape(x);
    let x = p.permute(x, &[0, 2, 1, 3]);
    p.reshape(x, &[shape[0], shape[2], shape[1] * shape[3]])
}

/// Rotates `x [B, A, S, E]`.
fn rotate(p: &mut Primitives, x: Tensor, theta: f32, inverse: bool) -> Tensor {
    let shape = p.shape(x);
    let (positions, width) = (shape[2], shape[3]);
    let (cos, mut sin) = rope_tables(positions, width, theta);
    if inverse {
        sin.iter_mut().for_each(|value| *value = -*value);
    }
    let cos = p.data("cos", &[positions, width], cos);
    let sin = p.data("sin", &[positions, width], sin);
    let cos = p.expand_leading(cos, &shape[..2]);
    let sin = p.expand_leading(sin, &shape[..2]);
    let half = width / 2;
    let first = p.slice(x, 3, 0, half);
    let second = p.slice(x, 3, half, width);
    let negative = p.scale(second, -1.0);
    let left = p.pad(negative, 3, 0, half);
    let right = p.pad(first, 3, half, 0);
    let half_turned = p.add(left, right);
    let a = p.mul(x, cos);
    let b = p.mul(half_turned, sin);
    p.add(a, b)
}

/// Returns `q`, `k` and `v` `[B, A, S, E]`, rotated where asked.
fn heads(p: &mut Primitives, qkv: Tensor, heads: usize, rope_theta: Option<f32>) -> [Tensor; 3] {
    let [mut q, mut k, v] = split(p, qkv, heads);
    if let Some(theta) = rope_theta {
        q = rotate(p, q, theta, false);
        k = rotate(p, k, theta, false);
    }
    [q, k, v]
}

fn transpose(p: &mut Primitives, x: Tensor) -> Tensor {
    let x = p.permute(x, &[0, 1, 3, 2]);
    p.contiguous(x)
}

fn qkv_width(qkv: &TensorType, heads: usize) -> Result<usize, ShapeError> {
    require(qkv.shape.len() == 3 && qkv.width().is_multiple_of(3 * heads), || {
        format!("needs [B, S, 3D] with {heads} heads dividing D, found {qkv}")
    })?;
    Ok(qkv.width() / 3)
}

fn describe(heads: usize, rope_theta: Option<f32>) -> Vec<(&'static str, String)> {
    let mut attributes = vec![("heads", heads.to_string())];
    if let Some(theta) = rope_theta {
        attributes.push(("rope", format!("{theta:?}")));
    }
    attributes
}

/// Floating-point operations of the two products of attention over `[B, S, D]`.
fn attention_flops(qkv: &TensorType) -> u64 {
    let (batch, positions, width) = (qkv.shape[0] as u64, qkv.shape[1] as u64, qkv.shape[2] as u64 / 3);
    [batch, positions, positions, width].into_iter().fold(4, u64::saturating_mul)
}

operands!(Rotate { inputs: [QKV], outputs: [ROTATED] });

impl Operation for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut attributes = vec![("heads", self.heads.to_string()), ("theta", format!("{:?}", self.theta))];
        if self.inverse {
            attributes.push(("inverse", "true".to_string()));
        }
        attributes
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let width = qkv_width(&inputs[Self::QKV], self.heads)?;
        require((width / self.heads).is_multiple_of(2), || {
            format!("needs an even head width, found {}", width / self.heads)
        })?;
        Ok(vec![inputs[Self::QKV].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [q, k, v] = split(p, inputs[Self::QKV], self.heads);
        let q = rotate(p, q, self.theta, self.inverse);
        let k = rotate(p, k, self.theta, self.inverse);
        vec![join(p, [q, k, v])]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let back = Rotate { inverse: !self.inverse, ..self.clone() };
        vec![Some(graph.add1(back.into(), &[at.gradient()]))]
    }
}

operands!(Attention { inputs: [QKV], outputs: [OUT, LSE: F32] });

impl Operation for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        describe(self.heads, self.rope_theta)
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let qkv = &inputs[Self::QKV];
        let width = qkv_width(qkv, self.heads)?;
        let lse = TensorType::f32(&[qkv.shape[0], self.heads, qkv.shape[1]]);
        Ok(vec![qkv.with_width(width), lse])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [q, k, v] = heads(p, inputs[Self::QKV], self.heads, self.rope_theta);
        let shape = p.shape(q);
        let (positions, head_width) = (shape[2], shape[3]);
        let scores = p.product(q, k);
        let scores = p.scale(scores, 1.0 / (head_width as f32).sqrt());
        let max = p.max(scores, 3);
        let wide_max = p.expand(max, 3, positions);
        let shifted = p.sub(scores, wide_max);
        let powers = p.exp(shifted);
        let sum = p.sum(powers, 3);
        let wide_sum = p.expand(sum, 3, positions);
        let probabilities = p.div(powers, wide_sum);
        let values = transpose(p, v);
        let mixed = p.product(probabilities, values);
        let out = merge_heads(p, mixed);
        let log = p.log(sum);
        let lse = p.add(max, log);
        vec![out, lse]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let grad = AttentionGrad { heads: self.heads, rope_theta: self.rope_theta };
        let inputs = [at.inputs[Self::QKV], at.outputs[Self::LSE], at.gradient()];
        vec![Some(graph.add1(grad.into(), &inputs))]
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        attention_flops(&inputs[Self::QKV])
    }
}

operands!(AttentionGrad { inputs: [QKV, LSE: F32, DOUT], outputs: [DQKV] });

impl Operation for AttentionGrad {
    fn name(&self) -> &'static str {
        "attention_grad"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        describe(self.heads, self.rope_theta)
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let width = qkv_width(&inputs[Self::QKV], self.heads)?;
        let lse = TensorType::f32(&[inputs[Self::QKV].shape[0], self.heads, inputs[Self::QKV].shape[1]]);
        require_equal(&lse, &inputs[Self::LSE])?;
        require_equal(&inputs[Self::QKV].with_width(width), &inputs[Self::DOUT])?;
        Ok(vec![inputs[Self::QKV].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [q, k, v] = heads(p, inputs[Self::QKV], self.heads, self.rope_theta);
        let shape = p.shape(q);
        let (positions, head_width) = (shape[2], shape[3]);
        let scale = 1.0 / (head_width as f32).sqrt();
        let dout = p.reshape(inputs[Self::DOUT], &[shape[0], positions, self.heads, head_width]);
        let dout = p.permute(dout, &[0, 2, 1, 3]);
        let dout = p.contiguous(dout);
        let scores = p.product(q, k);
        let scores = p.scale(scores, scale);
        let lse = p.expand(inputs[Self::LSE], 3, positions);
        let shifted = p.sub(scores, lse);
        let probabilities = p.exp(shifted);

        let probabilities_transposed = transpose(p, probabilities);
        let dout_transposed = transpose(p, dout);
        let dv = p.product(probabilities_transposed, dout_transposed);
        let dprobabilities = p.product(dout, v);
        let product = p.mul(probabilities, dprobabilities);
        let delta = p.sum(product, 3);
        let delta = p.expand(delta, 3, positions);
        let centred = p.sub(dprobabilities, delta);
        let dscores = p.mul(probabilities, centred);
        let dscores = p.scale(dscores, scale);
        let k_transposed = transpose(p, k);
        let mut dq = p.product(dscores, k_transposed);
        let dscores_transposed = transpose(p, dscores);
        let q_transposed = transpose(p, q);
        let mut dk = p.product(dscores_transposed, q_transposed);
        if let Some(theta) = self.rope_theta {
            dq = rotate(p, dq, theta, true);
            dk = rotate(p, dk, theta, true);
        }
        vec![join(p, [dq, dk, dv])]
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        attention_flops(&inputs[Self::QKV]).saturating_mul(2)
    }
}
