//! Root-mean-square norm without a scale.

use super::{Backward, Operation, ShapeError, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// `y = x r` with `r = 1 / sqrt(mean(x²) + eps)` per row: `x [.., D]` to `y [.., D]` and `r [..]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNorm {
    /// Added to the mean square.
    pub eps: f32,
}

/// `dx = r (dy - y mean(dy y))` from `y [.., D]`, `r [..]`, `dy [.., D]`.
///
/// With `y = x r`, `dr/dx = -r³ x / D`, so `dx = r dy - x r³ mean(dy x) = r (dy - y mean(dy y))`. Only the
/// output and the factor of each row are needed, never the input.
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNormGrad;

/// Returns the normalized rows and the factor of each row.
pub(super) fn normalize(p: &mut Primitives, x: Tensor, eps: f32) -> [Tensor; 2] {
    let shape = p.shape(x);
    let last = shape.len() - 1;
    let square = p.mul(x, x);
    let sum = p.sum(square, last);
    let mean = p.scale(sum, 1.0 / shape[last] as f32);
    let padded = p.offset(mean, eps);
    let root = p.sqrt(padded);
    let factor = p.recip(root);
    let wide = p.expand(factor, last, shape[last]);
    [p.mul(x, wide), factor]
}

operands!(RmsNorm { inputs: [X], outputs: [Y, FACTOR: F32] });

impl Operation for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("eps", format!("{:?}", self.eps))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let x = &inputs[Self::X];
        Ok(vec![x.clone(), TensorType::f32(&x.shape[..x.shape.len() - 1])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        normalize(p, inputs[Self::X], self.eps).to_vec()
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(
            graph.add1(RmsNormGrad.into(), &[at.outputs[Self::Y], at.outputs[Self::FACTOR], at.gradient()]),
        )]
    }
}

operands!(RmsNormGrad { inputs: [Y, FACTOR: F32, DY], outputs: [DX] });

impl Operation for RmsNormGrad {
    fn name(&self) -> &'static str {
        "rms_norm_grad"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::Y], &inputs[Self::DY])?;
        require_equal(
            &TensorType::f32(&inputs[Self::Y].shape[..inputs[Self::Y].shape.len() - 1]),
            &inputs[Self::FACTOR],
        )?;
        Ok(vec![inputs[Self::Y].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (y, factor, dy) = (inputs[Self::Y], inputs[Self::FACTOR], inputs[Self::DY]);
        let shape = p.shape(y);
        let last = shape.len() - 1;
        let product = p.mul(dy, y);
        let sum = p.sum(product, last);
        let mean = p.scale(sum, 1.0 / shape[last] as f32);
        let mean = p.expand(mean, last, shape[last]);
        let along = p.mul(y, mean);
        let across = p.sub(dy, along);
        let factor = p.expand(factor, last, shape[last]);
        vec![p.mul(across, factor)]
    }
}
