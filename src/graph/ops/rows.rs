//! Operators on the rows of a batch.

use super::{Operation, ShapeError, require};
use crate::graph::TensorType;
use crate::graph::luminal::{Primitives, Tensor};

/// Replaces every position of the rows whose mask is 1 by `init`: `z [B, T, D]`, `mask [B]`, `init [D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetRows;

impl Operation for ResetRows {
    fn name(&self) -> &'static str {
        "reset_rows"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (z, mask, init) = (&inputs[0], &inputs[1], &inputs[2]);
        require(z.shape.len() == 3 && mask.shape == z.shape[..1] && init.shape == z.shape[2..], || {
            format!("needs [B, T, D], [B] and [D], found {z}, {mask} and {init}")
        })?;
        Ok(vec![z.clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let shape = p.shape(inputs[0]);
        let mask = p.expand_trailing(inputs[1], &shape[1..]);
        let mask = p.contiguous(mask);
        let init = p.expand_leading(inputs[2], &shape[..2]);
        vec![p.select(mask, init, inputs[0])]
    }
}
