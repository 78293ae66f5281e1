//! Positions of a square of tokens.

use super::{Backward, Operation, ShapeError, require, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// The sum of a vector for the row and one for the column of each token of a square, after `prefix` positions of zeros:
/// `rows [side, D]`, `columns [side, D]` to `y [prefix + side², D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GridPositions {
    /// Positions before the first token.
    pub prefix: usize,
}

/// Gradient of [`GridPositions`] with respect to the vectors of one axis, from `dy [prefix + side², D]` to
/// `[side, D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GridPositionsGrad {
    /// Positions before the first token.
    pub prefix: usize,
    /// Whether the vectors are those of columns.
    pub columns: bool,
}

operands!(GridPositions { inputs: [ROWS: F32, COLUMNS: F32], outputs: [Y] });

impl Operation for GridPositions {
    fn name(&self) -> &'static str {
        "grid_positions"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("prefix", self.prefix.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (rows, columns) = (&inputs[Self::ROWS], &inputs[Self::COLUMNS]);
        require_equal(rows, columns)?;
        let [side, width] = rows.shape[..] else {
            return Err(ShapeError(format!("needs [side, D], found {rows}")));
        };
        Ok(vec![TensorType::f32(&[self.prefix + side * side, width])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [side, width] = p.shape(inputs[Self::ROWS])[..] else { unreachable!("vectors have two axes") };
        let rows = p.expand(inputs[Self::ROWS], 1, side);
        let columns = p.expand(inputs[Self::COLUMNS], 0, side);
        let sum = p.add(rows, columns);
        let sum = p.reshape(sum, &[side * side, width]);
        vec![if self.prefix == 0 { sum } else { p.pad(sum, 0, self.prefix, 0) }]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let mut of = |columns| {
            let grad = GridPositionsGrad { prefix: self.prefix, columns };
            Some(graph.add1(grad.into(), &[at.gradient()]))
        };
        vec![of(false), of(true)]
    }
}

operands!(GridPositionsGrad { inputs: [DY], outputs: [DVECTORS: F32] });

impl Operation for GridPositionsGrad {
    fn name(&self) -> &'static str {
        "grid_positions_grad"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("prefix", self.prefix.to_string()), ("columns", self.columns.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let dy = &inputs[Self::DY];
        let side = dy.shape[0].saturating_sub(self.prefix).isqrt();
        require(dy.shape.len() == 2 && self.prefix + side * side == dy.shape[0], || {
            format!("needs [{} + side², D], found {dy}", self.prefix)
        })?;
        Ok(vec![TensorType::f32(&[side, dy.width()])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let dy = inputs[Self::DY];
        let [positions, width] = p.shape(dy)[..] else { unreachable!("positions have two axes") };
        let side = (positions - self.prefix).isqrt();
        let tokens = p.slice(dy, 0, self.prefix, positions);
        let square = p.reshape(tokens, &[side, side, width]);
        vec![p.sum(square, if self.columns { 0 } else { 1 })]
    }
}
