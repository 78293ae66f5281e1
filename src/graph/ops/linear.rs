//! Products with a weight matrix.
//!
//! Leading axes are rows: an input `[.., I]` counts as `[R, I]`. Weights are `[O, I]`, one row per
//! output of `O`, as PyTorch stores them; `I` is the width of an input.

use super::{Backward, Operation, ShapeError, require};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// `y = x wᵀ`: `x [R, I]`, `w [O, I]` to `[R, O]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear;

/// `dx = dy w`: `dy [R, O]`, `w [O, I]` to `[R, I]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearGradInput;

/// `dw = dyᵀ x`: `dy [R, O]`, `x [R, I]` to `[O, I]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearGradWeight;

fn rows(p: &mut Primitives, x: Tensor) -> Tensor {
    let shape = p.shape(x);
    let width = shape[shape.len() - 1];
    let rows = shape.iter().product::<usize>() / width;
    p.reshape(x, &[rows, width])
}

/// Returns `x wᵀ` with the leading axes of `x`.
pub(super) fn product(p: &mut Primitives, x: Tensor, w: Tensor) -> Tensor {
    let mut shape = p.shape(x);
    let last = shape.len() - 1;
    shape[last] = p.shape(w)[0];
    let x = rows(p, x);
    let y = p.product(x, w);
    p.reshape(y, &shape)
}

pub(super) fn linear_type(x: &TensorType, w: &TensorType) -> Result<TensorType, ShapeError> {
    require(w.shape.len() == 2 && x.width() == w.shape[1], || {
        format!("needs [.., I] and [O, I], found {x} and {w}")
    })?;
    Ok(x.with_width(w.shape[0]))
}

/// Returns the floating-point operations of `elements` sums of `terms` products.
pub(super) fn product_flops(elements: usize, terms: usize) -> u64 {
    (elements as u64).saturating_mul(terms as u64).saturating_mul(2)
}

operands!(Linear { inputs: [X, W], outputs: [Y] });

impl Operation for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![linear_type(&inputs[Self::X], &inputs[Self::W])?])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![product(p, inputs[Self::X], inputs[Self::W])]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let (x, w, dy) = (at.inputs[Self::X], at.inputs[Self::W], at.gradient());
        vec![
            at.wanted[Self::X].then(|| graph.add1(LinearGradInput.into(), &[dy, w])),
            at.wanted[Self::W].then(|| graph.add1(LinearGradWeight.into(), &[dy, x])),
        ]
    }

    fn flops(&self, inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        product_flops(outputs[Self::Y].elements(), inputs[Self::X].width())
    }

    fn factors(&self) -> &'static [usize] {
        &[Self::X, Self::W]
    }
}

operands!(LinearGradInput { inputs: [DY, W], outputs: [DX] });

impl Operation for LinearGradInput {
    fn name(&self) -> &'static str {
        "linear_grad_input"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (dy, w) = (&inputs[Self::DY], &inputs[Self::W]);
        require(w.shape.len() == 2 && dy.width() == w.shape[0], || {
            format!("needs [.., O] and [O, I], found {dy} and {w}")
        })?;
        Ok(vec![dy.with_width(w.shape[1])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let transposed = p.permute(inputs[Self::W], &[1, 0]);
        let transposed = p.contiguous(transposed);
        vec![product(p, inputs[Self::DY], transposed)]
    }

    fn flops(&self, inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        product_flops(outputs[Self::DX].elements(), inputs[Self::DY].width())
    }

    fn factors(&self) -> &'static [usize] {
        &[Self::DY, Self::W]
    }
}

operands!(LinearGradWeight { inputs: [DY, X], outputs: [DW: F32] });

impl Operation for LinearGradWeight {
    fn name(&self) -> &'static str {
        "linear_grad_weight"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (dy, x) = (&inputs[Self::DY], &inputs[Self::X]);
        require(dy.rows() == x.rows(), || format!("needs [R, O] and [R, I], found {dy} and {x}"))?;
        Ok(vec![TensorType::f32(&[dy.width(), x.width()])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [dy, x] = [Self::DY, Self::X].map(|input| {
            let flat = rows(p, inputs[input]);
            let transposed = p.permute(flat, &[1, 0]);
            p.contiguous(transposed)
        });
        vec![p.product(dy, x)]
    }

    fn flops(&self, inputs: &[TensorType], outputs: &[TensorType]) -> u64 {
        product_flops(outputs[Self::DW].elements(), inputs[Self::DY].rows())
    }

    fn factors(&self) -> &'static [usize] {
        &[Self::DY, Self::X]
    }
}
