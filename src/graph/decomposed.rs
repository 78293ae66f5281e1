//! Graphs of hrmc as graphs of luminal: operators as nodes of a luminal graph, and their decomposition to its
//! primitives.

use std::collections::BTreeMap;

use ::luminal::op::{InputTensor, Operator};
use ::luminal::shape::ShapeTracker;
use ::luminal::tensor::Tensor as Data;

use super::luminal::{Primitives, Tensor, values};
use super::{Graph, NodeId, Op, Phase, TensorType, Value};

/// A node of ours inside a luminal graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub op: Op,
    pub types: Vec<TensorType>,
    /// Age; the order of equals.
    pub sequence: u64,
    /// Part of the program the node belongs to.
    pub phase: Phase,
    /// Stretch of the program that it stems from.
    pub stretch: usize,
}

impl Operator for Node {
    /// Evaluates the operator through its decomposition, so that luminal can run any graph of ours.
    fn process(&mut self, inputs: Vec<(InputTensor, ShapeTracker)>) -> Vec<Data> {
        let mut primitives = Primitives::new();
        let inputs: Vec<Tensor> = inputs
            .iter()
            .map(|(data, tracker)| {
                let shape: Vec<usize> =
                    tracker.shape().iter().map(|size| size.to_usize().expect("sizes are constant")).collect();
                primitives.data("operand", &shape, values(data.borrowed()).clone())
            })
            .collect();
        let outputs = self.op.as_operation().decompose(&mut primitives, &inputs);
        primitives.run(&outputs).into_iter().map(Data::new).collect()
    }
}

/// Returns our node behind a luminal operator.
pub(super) fn node(operator: &dyn Operator) -> &Node {
    operator.as_any().downcast_ref().expect("a graph of ours holds nodes of ours")
}

/// A graph of ours, decomposed to primitives, ready to be run by luminal again and again.
pub struct Decomposed {
    /// The graph of primitives.
    pub primitives: Primitives,
    /// What can be read after a run, by name.
    pub outputs: Vec<(String, Tensor)>,
    input_shapes: BTreeMap<String, Vec<usize>>,
}

// SAFETY: everything in it is its own: tensors are vectors, operators are luminal's and functions of ours over vectors,
// and the pointers that luminal's constants hold lead into the boxed graph, which goes along. Nothing belongs to a
// thread.
unsafe impl Send for Decomposed {}

impl Decomposed {
    /// Decomposes every operator of `graph`.
    ///
    /// Named outputs become readable, and so does, under the name of the overwritten input, the result
    /// of every operator that works in place.
    pub fn new(graph: &Graph) -> Self {
        let mut decomposed = Decomposed::decompose(graph);
        decomposed.primitives.keep(decomposed.outputs.iter_mut().map(|(_, tensor)| tensor));
        decomposed
    }

    /// Decomposes every operator of `graph`; nothing is kept or compiled yet.
    pub fn decompose(graph: &Graph) -> Self {
        let mut primitives = Primitives::new();
        let mut tensors: BTreeMap<Value, Tensor> = BTreeMap::new();
        let mut outputs = Vec::new();
        let mut input_shapes = BTreeMap::new();
        for node in graph.order() {
            let op = graph.op(node);
            let results = if let Op::Input(input) = op {
                input_shapes.insert(input.name.clone(), input.ty.shape.clone());
                vec![primitives.input(&input.name, &input.ty.shape)]
            } else {
                let operands: Vec<Tensor> =
                    graph.operands(node).iter().map(|operand| tensors[operand]).collect();
                op.as_operation().decompose(&mut primitives, &operands)
            };
            for (value, tensor) in graph.results(node).into_iter().zip(results) {
                debug_assert_eq!(
                    primitives.shape(tensor),
                    graph.ty(value).shape,
                    "{}",
                    op.as_operation().name()
                );
                tensors.insert(value, tensor);
            }
            for (name, value) in updated_inputs(graph, node) {
                outputs.push((name, tensors[&value]));
            }
        }
        for (name, value) in graph.outputs() {
            outputs.push((name.clone(), tensors[value]));
        }
        Decomposed { primitives, outputs, input_shapes }
    }

    /// Runs the graph: `input` gives the values of each input, the result the values of each output.
    pub fn run(&mut self, mut input: impl FnMut(&str) -> Vec<f32>) -> Vec<(String, Vec<f32>)> {
        let graph = &mut self.primitives.graph;
        graph.tensors.clear();
        for (name, node) in &self.primitives.inputs {
            let values = input(name);
            let expected: usize = self.input_shapes[name].iter().product();
            assert_eq!(values.len(), expected, "the values of `{name}` fill its shape");
            graph.set_tensor(*node, 0, Data::new(values));
        }
        graph.execute();
        self.outputs.iter().map(|(name, tensor)| (name.clone(), self.primitives.fetch(*tensor))).collect()
    }
}

/// Returns the inputs a node overwrites, each with the value that replaces it.
pub fn updated_inputs(graph: &Graph, node: NodeId) -> Vec<(String, Value)> {
    let operands = graph.operands(node);
    graph
        .op(node)
        .as_operation()
        .in_place()
        .iter()
        .filter_map(|&(input, output)| match graph.op(operands[input].node) {
            Op::Input(input) => Some((input.name.clone(), Value { node, output: output as u8 })),
            _ => None,
        })
        .collect()
}
