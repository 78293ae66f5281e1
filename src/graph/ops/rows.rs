//! Operators on the rows of a batch.

use super::{Operation, ShapeError, require, require_equal};
use crate::graph::TensorType;
use crate::graph::luminal::{Primitives, Tensor};

/// Replaces every position of the rows whose mask is 1 by `init`: `z [B, S, D]`, `mask [B]`, `init [D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetRows;

/// How far rows have moved: `rms(new - old) / rms(old)` of each row, from `new` and `old`, both `[B, S, D]`, to `[B]`.
///
/// A row of zeros that stays zero has moved by 0; one that leaves zero has moved very far. For that, the operator adds
/// [`MIN_SUM_OF_SQUARES`] to the sum of squares in the denominator, too little to change any other row. It has no
/// gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct RowDistance;

/// What the squares of a row sum to at least.
pub const MIN_SUM_OF_SQUARES: f32 = f32::MIN_POSITIVE;

operands!(RowDistance { inputs: [NEW, OLD], outputs: [DISTANCE: F32] });

impl Operation for RowDistance {
    fn name(&self) -> &'static str {
        "row_distance"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let new = &inputs[Self::NEW];
        require_equal(new, &inputs[Self::OLD])?;
        require(new.shape.len() == 3, || format!("needs [B, S, D], found {new}"))?;
        Ok(vec![TensorType::f32(&new.shape[..1])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let shape = p.shape(inputs[Self::NEW]);
        let difference = p.sub(inputs[Self::NEW], inputs[Self::OLD]);
        // Both means are over the same number of elements, so that it cancels.
        let [moved, old] = [difference, inputs[Self::OLD]].map(|x| {
            let x = p.contiguous(x);
            let x = p.reshape(x, &[shape[0], shape[1] * shape[2]]);
            let squares = p.mul(x, x);
            p.sum(squares, 1)
        });
        let old = p.offset(old, MIN_SUM_OF_SQUARES);
        let ratio = p.div(moved, old);
        vec![p.sqrt(ratio)]
    }
}

operands!(ResetRows { inputs: [Z, MASK: F32, INIT: F32], outputs: [Y] });

impl Operation for ResetRows {
    fn name(&self) -> &'static str {
        "reset_rows"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (z, mask, init) = (&inputs[Self::Z], &inputs[Self::MASK], &inputs[Self::INIT]);
        require(z.shape.len() == 3 && mask.shape == z.shape[..1] && init.shape == z.shape[2..], || {
            format!("needs [B, S, D], [B] and [D], found {z}, {mask} and {init}")
        })?;
        Ok(vec![z.clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let shape = p.shape(inputs[Self::Z]);
        let mask = p.expand_trailing(inputs[Self::MASK], &shape[1..]);
        let mask = p.contiguous(mask);
        let init = p.expand_leading(inputs[Self::INIT], &shape[..2]);
        vec![p.select(mask, init, inputs[Self::Z])]
    }
}
