//! The unit of a feed-forward layer without a gate.

use super::{Backward, Operation, ShapeError, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// `y = x sigmoid(2 u)` with `u = sqrt(2 / pi) (x + 0.044715 x³)`: the form of GELU by tanh (Hendrycks and Gimpel
/// 2016).
#[derive(Debug, Clone, PartialEq)]
pub struct Gelu;

/// Gradient of [`Gelu`] from `x` and `dy`: `dx = dy (s + x s (1 - s) 2 u')` with `s = sigmoid(2 u)`.
#[derive(Debug, Clone, PartialEq)]
pub struct GeluGrad;

/// `2 sqrt(2 / pi)`.
pub const GELU_SLOPE: f32 = 1.595_769_1;
/// Factor of the cube.
pub const GELU_CUBE: f32 = 0.044_715;

/// Returns `sigmoid(2 u)` and `x²`.
fn share(p: &mut Primitives, x: Tensor) -> [Tensor; 2] {
    let square = p.mul(x, x);
    let bent = p.scale(square, GELU_CUBE);
    let bent = p.offset(bent, 1.0);
    let argument = p.mul(x, bent);
    let argument = p.scale(argument, GELU_SLOPE);
    [p.sigmoid(argument), square]
}

operands!(Gelu { inputs: [X], outputs: [Y] });

impl Operation for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [share, _] = share(p, inputs[Self::X]);
        vec![p.mul(inputs[Self::X], share)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(graph.add1(GeluGrad.into(), &[at.inputs[Self::X], at.gradient()]))]
    }
}

operands!(GeluGrad { inputs: [X, DY], outputs: [DX] });

impl Operation for GeluGrad {
    fn name(&self) -> &'static str {
        "gelu_grad"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::X], &inputs[Self::DY])?;
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = inputs[Self::X];
        let [share, square] = share(p, x);
        let slope = p.scale(square, 3.0 * GELU_CUBE);
        let slope = p.offset(slope, 1.0);
        let slope = p.scale(slope, GELU_SLOPE);
        let rest = p.complement(share);
        let steep = p.mul(x, share);
        let steep = p.mul(steep, rest);
        let steep = p.mul(steep, slope);
        let slope = p.add(share, steep);
        vec![p.mul(inputs[Self::DY], slope)]
    }
}
