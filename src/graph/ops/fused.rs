//! Fused operators, which passes make of neighbouring ones. Each is defined as the composition of its parts.

use super::linear::{linear_type, product, product_flops};
use super::norm::normalize;
use super::{Operation, ShapeError, gated, require_equal};
use crate::graph::TensorType;
use crate::graph::luminal::{Primitives, Tensor};

/// `norm(a + b)`: outputs as [`RmsNorm`](super::RmsNorm).
#[derive(Debug, Clone, PartialEq)]
pub struct AddRmsNorm {
    /// Added to the mean square.
    pub eps: f32,
}

/// `swiglu(x wᵀ)`: `x [.., I]`, `w [2F, I]` to `h [.., F]` and, if kept, the product `[.., 2F]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearSwiGlu {
    /// Whether the product is an output too, for the backward pass.
    pub keep: bool,
}

/// `norm(residual + x wᵀ)`: inputs `x`, `w`, `residual`; outputs as [`RmsNorm`](super::RmsNorm).
#[derive(Debug, Clone, PartialEq)]
pub struct LinearAddRmsNorm {
    /// Added to the mean square.
    pub eps: f32,
}

fn norm_types(y: TensorType) -> Vec<TensorType> {
    let factors = TensorType::f32(&y.shape[..y.shape.len() - 1]);
    vec![y, factors]
}

operands!(AddRmsNorm { inputs: [A, B], outputs: [Y, FACTOR: F32] });

impl Operation for AddRmsNorm {
    fn name(&self) -> &'static str {
        "add_rms_norm"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("eps", format!("{:?}", self.eps))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::A], &inputs[Self::B])?;
        Ok(norm_types(inputs[Self::A].clone()))
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let sum = p.add(inputs[Self::A], inputs[Self::B]);
        normalize(p, sum, self.eps).to_vec()
    }
}

operands!(LinearSwiGlu { inputs: [X, W], outputs: [H, PRODUCT] });

impl Operation for LinearSwiGlu {
    fn name(&self) -> &'static str {
        "linear_swiglu"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        if self.keep { vec![("keep", "true".to_string())] } else { Vec::new() }
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let wide = linear_type(&inputs[Self::X], &inputs[Self::W])?;
        let mut types = vec![gated::gated_type(&wide)?];
        if self.keep {
            types.push(wide);
        }
        Ok(types)
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let wide = product(p, inputs[Self::X], inputs[Self::W]);
        let mut outputs = vec![gated::gate(p, wide)];
        if self.keep {
            outputs.push(wide);
        }
        outputs
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        product_flops(inputs[Self::X].elements(), inputs[Self::W].shape[0])
    }

    fn factors(&self) -> &'static [usize] {
        &[Self::X, Self::W]
    }
}

operands!(LinearAddRmsNorm { inputs: [X, W, RESIDUAL], outputs: [Y, FACTOR: F32] });

impl Operation for LinearAddRmsNorm {
    fn name(&self) -> &'static str {
        "linear_add_rms_norm"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("eps", format!("{:?}", self.eps))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let y = linear_type(&inputs[Self::X], &inputs[Self::W])?;
        require_equal(&y, &inputs[Self::RESIDUAL])?;
        Ok(norm_types(y))
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let mixed = product(p, inputs[Self::X], inputs[Self::W]);
        let sum = p.add(inputs[Self::RESIDUAL], mixed);
        normalize(p, sum, self.eps).to_vec()
    }

    fn flops(&self, inputs: &[TensorType], _outputs: &[TensorType]) -> u64 {
        product_flops(inputs[Self::X].elements(), inputs[Self::W].shape[0])
    }

    fn factors(&self) -> &'static [usize] {
        &[Self::X, Self::W]
    }
}
