//! Rows of a table.

use super::{Backward, Operation, ShapeError, require};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{DType, Graph, TensorType, Value};

/// `y[r] = table[ids[r]]`: `table [V, D]`, `ids [..]` to `[.., D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Embed;

/// `dtable[v] = sum of dy[r] over ids[r] = v`: `ids [..]`, `dy [.., D]` to `[V, D]`.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedGrad {
    /// Rows of the table, `V`.
    pub rows: usize,
}

operands!(Embed { inputs: [TABLE: F32, IDS], outputs: [Y] });

impl Operation for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (table, ids) = (&inputs[Self::TABLE], &inputs[Self::IDS]);
        require(table.shape.len() == 2 && ids.dtype == DType::I32, || {
            format!("needs [V, D] and row numbers, found {table} and {ids}")
        })?;
        let mut shape = ids.shape.clone();
        shape.push(table.shape[1]);
        Ok(vec![TensorType::f32(&shape)])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (table, ids) = (inputs[Self::TABLE], inputs[Self::IDS]);
        let [rows, width] = p.shape(table)[..] else { unreachable!("the table has two axes") };
        let mut shape = p.shape(ids);
        let ids = p.reshape(ids, &[shape.iter().product()]);
        let one_hot = p.one_hot(ids, rows);
        let columns = p.permute(table, &[1, 0]);
        let columns = p.contiguous(columns);
        let y = p.product(one_hot, columns);
        shape.push(width);
        vec![p.reshape(y, &shape)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let rows = graph.ty(at.inputs[Self::TABLE]).shape[0];
        vec![
            at.wanted[Self::TABLE]
                .then(|| graph.add1(EmbedGrad { rows }.into(), &[at.inputs[Self::IDS], at.gradient()])),
            None,
        ]
    }
}

operands!(EmbedGrad { inputs: [IDS, DY], outputs: [DTABLE: F32] });

impl Operation for EmbedGrad {
    fn name(&self) -> &'static str {
        "embed_grad"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("rows", self.rows.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (ids, dy) = (&inputs[Self::IDS], &inputs[Self::DY]);
        require(ids.dtype == DType::I32 && ids.elements() == dy.rows(), || {
            format!("needs one row for each number, found {ids} and {dy}")
        })?;
        Ok(vec![TensorType::f32(&[self.rows, dy.width()])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let (ids, dy) = (inputs[Self::IDS], inputs[Self::DY]);
        let count = p.shape(ids).iter().product();
        let ids = p.reshape(ids, &[count]);
        let one_hot = p.one_hot(ids, self.rows);
        let one_hot = p.permute(one_hot, &[1, 0]);
        let one_hot = p.contiguous(one_hot);
        let shape = p.shape(dy);
        let dy = p.reshape(dy, &[count, shape[shape.len() - 1]]);
        let columns = p.permute(dy, &[1, 0]);
        let columns = p.contiguous(columns);
        vec![p.product(one_hot, columns)]
    }
}
