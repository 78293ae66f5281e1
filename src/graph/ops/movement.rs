//! Inputs, and operators that move elements without changing them.

use super::{Backward, Operation, ShapeError, require};
use crate::graph::luminal::{Primitives, Tensor};
use crate::graph::{Graph, TensorType, Value};

/// Named memory that persists between runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Name, unique in the graph.
    pub name: String,
    /// Type of the memory.
    pub ty: TensorType,
}

/// Passes its input on and stops gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Detach;

/// The same elements under another shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Reshape {
    /// The new shape.
    pub shape: Vec<usize>,
}

/// The part `start..end` of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Axis that is cut.
    pub axis: usize,
    /// First index that stays.
    pub start: usize,
    /// First index that does not.
    pub end: usize,
}

/// Zeros before and after the elements on an axis; the gradient of [`Slice`].
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// Axis that grows.
    pub axis: usize,
    /// Zeros before.
    pub before: usize,
    /// Zeros after.
    pub after: usize,
}

/// Two tensors one after the other on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Concat {
    /// Axis along which they meet.
    pub axis: usize,
}

/// Exchanges the last two axes: `[B, S, D]` to `[B, D, S]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Transpose;

operands!(Input { inputs: [], outputs: [MEMORY] });

impl Operation for Input {
    fn name(&self) -> &'static str {
        "input"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }

    fn output_types(&self, _inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![self.ty.clone()])
    }

    fn decompose(&self, p: &mut Primitives, _inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.input(&self.name, &self.ty.shape)]
    }
}

operands!(Detach { inputs: [X], outputs: [Y] });

impl Operation for Detach {
    fn name(&self) -> &'static str {
        "detach"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[Self::X].clone()])
    }

    fn decompose(&self, _p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![inputs[Self::X]]
    }

    fn gradient(&self, _graph: &mut Graph, _at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![None]
    }

    fn view_of(&self) -> Option<usize> {
        Some(Self::X)
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(Reshape { inputs: [X], outputs: [Y] });

impl Operation for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("shape", format!("{:?}", self.shape))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let ty = TensorType { dtype: inputs[Self::X].dtype, shape: self.shape.clone() };
        require(ty.elements() == inputs[Self::X].elements(), || {
            format!("needs as many elements, found {} and {ty}", inputs[Self::X])
        })?;
        Ok(vec![ty])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.reshape(inputs[Self::X], &self.shape)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let shape = graph.ty(at.inputs[Self::X]).shape.clone();
        vec![Some(graph.add1(Reshape { shape }.into(), &[at.gradient()]))]
    }

    fn view_of(&self) -> Option<usize> {
        Some(Self::X)
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(Slice { inputs: [X], outputs: [Y] });

impl Operation for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("axis", self.axis.to_string()), ("range", format!("{}..{}", self.start, self.end))]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let mut ty = inputs[Self::X].clone();
        require(
            self.axis < ty.shape.len() && self.start < self.end && self.end <= ty.shape[self.axis],
            || format!("needs {}..{} within axis {} of {}", self.start, self.end, self.axis, inputs[Self::X]),
        )?;
        ty.shape[self.axis] = self.end - self.start;
        Ok(vec![ty])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.slice(inputs[Self::X], self.axis, self.start, self.end)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let after = graph.ty(at.inputs[Self::X]).shape[self.axis] - self.end;
        let pad = Pad { axis: self.axis, before: self.start, after };
        vec![Some(graph.add1(pad.into(), &[at.gradient()]))]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(Pad { inputs: [X], outputs: [Y] });

impl Operation for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("axis", self.axis.to_string()),
            ("before", self.before.to_string()),
            ("after", self.after.to_string()),
        ]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let mut ty = inputs[Self::X].clone();
        require(self.axis < ty.shape.len(), || {
            format!("needs axis {}, found {}", self.axis, inputs[Self::X])
        })?;
        ty.shape[self.axis] += self.before + self.after;
        Ok(vec![ty])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![p.pad(inputs[Self::X], self.axis, self.before, self.after)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let size = graph.ty(at.inputs[Self::X]).shape[self.axis];
        let slice = Slice { axis: self.axis, start: self.before, end: self.before + size };
        vec![Some(graph.add1(slice.into(), &[at.gradient()]))]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(Concat { inputs: [A, B], outputs: [Y] });

impl Operation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("axis", self.axis.to_string())]
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (a, b) = (&inputs[Self::A], &inputs[Self::B]);
        let mut ty = a.clone();
        let fits = a.shape.len() == b.shape.len()
            && (0..a.shape.len()).all(|axis| axis == self.axis || a.shape[axis] == b.shape[axis]);
        require(fits, || format!("needs equal shapes but for axis {}, found {a} and {b}", self.axis))?;
        ty.shape[self.axis] += b.shape[self.axis];
        Ok(vec![ty])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let [first, second] = [Self::A, Self::B].map(|input| p.shape(inputs[input])[self.axis]);
        let a = p.pad(inputs[Self::A], self.axis, 0, second);
        let b = p.pad(inputs[Self::B], self.axis, first, 0);
        vec![p.add(a, b)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        let [first, second] = [Self::A, Self::B].map(|input| graph.ty(at.inputs[input]).shape[self.axis]);
        let mut part = |wanted: bool, start: usize, end: usize| {
            wanted.then(|| graph.add1(Slice { axis: self.axis, start, end }.into(), &[at.gradient()]))
        };
        vec![part(at.wanted[Self::A], 0, first), part(at.wanted[Self::B], first, first + second)]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}

operands!(Transpose { inputs: [X], outputs: [Y] });

impl Operation for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn output_types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let mut ty = inputs[Self::X].clone();
        require(ty.shape.len() == 3, || format!("needs [B, S, D], found {}", inputs[Self::X]))?;
        ty.shape.swap(1, 2);
        Ok(vec![ty])
    }

    fn decompose(&self, p: &mut Primitives, inputs: &[Tensor]) -> Vec<Tensor> {
        let transposed = p.permute(inputs[Self::X], &[0, 2, 1]);
        vec![p.contiguous(transposed)]
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Vec<Option<Value>> {
        vec![Some(graph.add1(Transpose.into(), &[at.gradient()]))]
    }

    fn inputs_follow_outputs(&self) -> bool {
        true
    }
}
