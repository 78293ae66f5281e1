//! The norm of the gradient, and its bound.

use super::{Operation, ShapeError, require};
use crate::graph::TensorType;
use crate::graph::luminal::{Primitives, Tensor};

/// Sum of the squares of all elements: `x` to `[1]`. It has no gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct SumOfSquares;

/// `min(1, most / (sqrt(sum) + 1e-6))`: the factor that bounds a norm whose square is `sum [1]` (Pascanu et al. 2013).
/// It has no gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipFactor {
    /// Largest norm.
    pub most: f32,
}

/// `x factor`, with a factor `[1]` from memory. It has no gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleBy;

/// Added to a norm before it divides.
pub const CLIP_EPS: f32 = 1e-6;

operands!(SumOfSquares { inputs: [X: F32], outputs: [SUM: F32] });

impl Operation for SumOfSquares {
    fn name(&self) -> &'static str {
        "sum_of_squares"
    }

    fn output_types(&self, _inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&[1])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = inputs[Self::X];
        let elements = p.shape(x).iter().product();
        let x = p.reshape(x, &[1, elements]);
        let squares = p.mul(x, x);
        vec![p.sum(squares, 1)]
    }
}

operands!(ClipFactor { inputs: [SUM: F32], outputs: [FACTOR: F32] });

impl Operation for ClipFactor {
    fn name(&self) -> &'static str {
        "clip_factor"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("most", format!("{:?}", self.most))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require(inputs[Self::SUM].shape == [1], || format!("needs [1], found {}", inputs[Self::SUM]))?;
        Ok(vec![inputs[Self::SUM].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let norm = p.sqrt(inputs[Self::SUM]);
        let norm = p.offset(norm, CLIP_EPS);
        let inverse = p.recip(norm);
        let factor = p.scale(inverse, self.most);
        let one = p.constant(1.0, &[1]);
        let above = p.less_than(one, factor);
        vec![p.select(above, one, factor)]
    }
}

operands!(ScaleBy { inputs: [X, FACTOR: F32], outputs: [Y] });

impl Operation for ScaleBy {
    fn name(&self) -> &'static str {
        "scale_by"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require(inputs[Self::FACTOR].shape == [1], || format!("needs [1], found {}", inputs[Self::FACTOR]))?;
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let shape = p.shape(inputs[Self::X]);
        let factor = p.reshape(inputs[Self::FACTOR], &[]);
        let factor = p.expand_leading(factor, &shape);
        vec![p.mul(inputs[Self::X], factor)]
    }
}
