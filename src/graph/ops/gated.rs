//! The gated unit of the feed-forward layer.

use super::{Backward, Operation, ShapeError, require, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// `h = silu(gate) up` from `[.., 2F]` (gate columns, then up columns) to `[.., F]`; `silu(x) = x sigmoid(x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct SwiGlu;

/// Gradient of [`SwiGlu`] from its input `[.., 2F]` and `dh [.., F]`.
///
/// `dgate = dh up s (1 + gate (1 - s))`, `dup = dh gate s`, with `s = sigmoid(gate)`.
#[derive(Debug, Clone, PartialEq)]
pub struct SwiGluGrad;

fn split(p: &mut Primitives, x: Tensor) -> (Tensor, Tensor, usize) {
    let shape = p.shape(x);
    let last = shape.len() - 1;
    let half = shape[last] / 2;
    (p.slice(x, last, 0, half), p.slice(x, last, half, 2 * half), last)
}

/// Returns `silu(gate) up`.
pub(super) fn gate(p: &mut Primitives, x: Tensor) -> Tensor {
    let (gate, up, _) = split(p, x);
    let s = p.sigmoid(gate);
    let silu = p.mul(gate, s);
    p.mul(silu, up)
}

pub(super) fn gated_type(x: &TensorType) -> Result<TensorType, ShapeError> {
    require(x.width().is_multiple_of(2), || format!("needs [.., 2F], found {x}"))?;
    Ok(x.with_width(x.width() / 2))
}

operands!(SwiGlu { inputs: [X], outputs: [H] });

impl Operation for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![gated_type(&inputs[Self::X])?])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![gate(p, inputs[Self::X])]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(graph.add1(SwiGluGrad.into(), &[at.inputs[Self::X], at.gradient()]))]
    }
}

operands!(SwiGluGrad { inputs: [X, DH], outputs: [DX] });

impl Operation for SwiGluGrad {
    fn name(&self) -> &'static str {
        "swiglu_grad"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&gated_type(&inputs[Self::X])?, &inputs[Self::DH])?;
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (gate, up, last) = split(p, inputs[Self::X]);
        let dh = inputs[Self::DH];
        let half = p.shape(gate)[last];
        let s = p.sigmoid(gate);
        let rest = p.complement(s);
        let slope = p.mul(gate, rest);
        let slope = p.offset(slope, 1.0);
        let slope = p.mul(slope, s);
        let dgate = p.mul(dh, up);
        let dgate = p.mul(dgate, slope);
        let silu = p.mul(gate, s);
        let dup = p.mul(dh, silu);
        let left = p.pad(dgate, last, 0, half);
        let right = p.pad(dup, last, half, 0);
        vec![p.add(left, right)]
    }
}
