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
pub struct Choose;

/// 1 where `a == b`, else 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Equal;

operands!(Add { inputs: [A, B], outputs: [Y] });

impl Operation for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::A], &inputs[Self::B])?;
        Ok(vec![inputs[Self::A].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.add(inputs[Self::A], inputs[Self::B])]
    }

    fn gradient(&self, _graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(at.gradient()), Some(at.gradient())]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(Scale { inputs: [X], outputs: [Y] });

impl Operation for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("factor", format!("{:?}", self.factor))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.scale(inputs[Self::X], self.factor)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(graph.add1(self.clone().into(), &[at.gradient()]))]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(AddSuffix { inputs: [X, SUFFIX], outputs: [Y] });

impl Operation for AddSuffix {
    fn name(&self) -> &'static str {
        "add_suffix"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (x, suffix) = (&inputs[Self::X], &inputs[Self::SUFFIX]);
        require(x.shape.ends_with(&suffix.shape), || format!("needs the end of {x}, found {suffix}"))?;
        Ok(vec![x.clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let shape = p.shape(inputs[Self::X]);
        let leading = shape.len() - p.shape(inputs[Self::SUFFIX]).len();
        let suffix = p.expand_leading(inputs[Self::SUFFIX], &shape[..leading]);
        vec![p.add(inputs[Self::X], suffix)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let axes = graph.ty(at.inputs[Self::SUFFIX]).shape.len();
        vec![
            Some(at.gradient()),
            at.wanted[Self::SUFFIX].then(|| graph.add1(SumLeading { axes }.into(), &[at.gradient()])),
        ]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(SumLeading { inputs: [X], outputs: [Y: F32] });

impl Operation for SumLeading {
    fn name(&self) -> &'static str {
        "sum_leading"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("axes", self.axes.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let shape = &inputs[Self::X].shape;
        require(shape.len() > self.axes, || {
            format!("needs more than {} axes, found {}", self.axes, inputs[Self::X])
        })?;
        Ok(vec![TensorType::f32(&shape[shape.len() - self.axes..])])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let mut x = p.contiguous(inputs[Self::X]);
        while p.shape(x).len() > self.axes {
            x = p.sum(x, 0);
        }
        vec![x]
    }
}

operands!(Fill { inputs: [], outputs: [Y] });

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

operands!(Sigmoid { inputs: [X: F32], outputs: [Y: F32] });

impl Operation for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.sigmoid(inputs[Self::X])]
    }
}

operands!(Maximum { inputs: [A: F32, B: F32], outputs: [Y: F32] });

impl Operation for Maximum {
    fn name(&self) -> &'static str {
        "maximum"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::A], &inputs[Self::B])?;
        Ok(vec![inputs[Self::A].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.maximum(inputs[Self::A], inputs[Self::B])]
    }
}

operands!(Choose { inputs: [MASK: F32, A: F32, B: F32], outputs: [Y: F32] });

impl Operation for Choose {
    fn name(&self) -> &'static str {
        "choose"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::MASK], &inputs[Self::A])?;
        require_equal(&inputs[Self::A], &inputs[Self::B])?;
        Ok(vec![inputs[Self::A].clone()])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.select(inputs[Self::MASK], inputs[Self::A], inputs[Self::B])]
    }
}

operands!(Equal { inputs: [A: F32, B: F32], outputs: [Y: F32] });

impl Operation for Equal {
    fn name(&self) -> &'static str {
        "equal"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        require_equal(&inputs[Self::A], &inputs[Self::B])?;
        Ok(vec![TensorType::f32(&inputs[Self::A].shape)])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.equal(inputs[Self::A], inputs[Self::B])]
    }
}
