//! Sums, masks and other element-by-element operators.

use super::{Backward, Operation, ShapeError, require, require_equal};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// `a + b` of equal types.
#[derive(Debug, Clone, PartialEq)]
pub struct Add;

/// `x factor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// The factor.
    pub factor: f32,
}

/// `x + p`, where the shape of `p` is the end of the shape of `x`: a bias, or one vector per position.
#[derive(Debug, Clone, PartialEq)]
pub struct AddSuffix;

/// Sum over the leading axes, down to the last `axes` of them; the gradient of [`AddSuffix`].
#[derive(Debug, Clone, PartialEq)]
pub struct SumLeading {
    /// Axes that stay.
    pub axes: usize,
}

/// The same value everywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Fill {
    /// The value.
    pub value: f32,
    /// The shape.
    pub shape: Vec<usize>,
}

/// `1 / (1 + e^-x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sigmoid;

/// The larger of `a` and `b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Maximum;

/// `a` where the mask is 1, `b` where it is 0: inputs mask, `a`, `b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Select;

/// 1 where `a == b`, else 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Equal;

impl Operation for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[0], &inputs[1])?;
        Ok(vec![inputs[0].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.add(inputs[0], inputs[1])]
    }

    fn gradient(&self, _graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(at.gradient()), Some(at.gradient())]
    }
}

impl Operation for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("factor", format!("{:?}", self.factor))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.scale(inputs[0], self.factor)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(graph.add1(self.clone().into(), &[at.gradient()]))]
    }
}

impl Operation for AddSuffix {
    fn name(&self) -> &'static str {
        "add_suffix"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (x, suffix) = (&inputs[0], &inputs[1]);
        require(x.shape.ends_with(&suffix.shape), || format!("needs the end of {x}, found {suffix}"))?;
        Ok(vec![x.clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let shape = p.shape(inputs[0]);
        let leading = shape.len() - p.shape(inputs[1]).len();
        let suffix = p.expand_leading(inputs[1], &shape[..leading]);
        vec![p.add(inputs[0], suffix)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let axes = graph.ty(at.inputs[1]).shape.len();
        vec![
            Some(at.gradient()),
            at.wanted[1].then(|| graph.add1(SumLeading { axes }.into(), &[at.gradient()])),
        ]
    }
}

impl Operation for SumLeading {
    fn name(&self) -> &'static str {
        "sum_leading"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("axes", self.axes.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let shape = &inputs[0].shape;
        require(shape.len() > self.axes, || {
            format!("needs more than {} axes, found {}", self.axes, inputs[0])
        })?;
        Ok(vec![TensorType::f32(&shape[shape.len() - self.axes..])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let mut x = p.contiguous(inputs[0]);
        while p.shape(x).len() > self.axes {
            x = p.sum(x, 0);
        }
        vec![x]
    }
}

impl Operation for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("value", format!("{:?}", self.value))]
    }

    fn output_types(&self, _inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&self.shape)])
    }

    fn decompose(&self, p: &mut Primitives, _inputs: &[Tensor]) -> Vec<Tensor> {
        let value = p.constant(self.value, &self.shape);
        vec![p.contiguous(value)]
    }
}

impl Operation for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.sigmoid(inputs[0])]
    }
}

impl Operation for Maximum {
    fn name(&self) -> &'static str {
        "maximum"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[0], &inputs[1])?;
        Ok(vec![inputs[0].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.maximum(inputs[0], inputs[1])]
    }
}

impl Operation for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[0], &inputs[1])?;
        require_equal(&inputs[1], &inputs[2])?;
        Ok(vec![inputs[1].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.select(inputs[0], inputs[1], inputs[2])]
    }
}

impl Operation for Equal {
    fn name(&self) -> &'static str {
        "equal"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[0], &inputs[1])?;
        Ok(vec![TensorType::f32(&inputs[0].shape)])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.equal(inputs[0], inputs[1])]
    }
}
