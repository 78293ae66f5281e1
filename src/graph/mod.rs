//! The graph: the only door to luminal.
//!
//! # What it means
//!
//! A [`Graph`] is a luminal graph whose nodes are operators of hrmc ([`Op`]). A node takes values and
//! yields one or more; a [`Value`] names one output of one node. Values are immutable, with one
//! exception: an operator with [`Operation::in_place`] outputs overwrites the memory of an input, so
//! everything else that reads that input must run before it. [`Graph::order`] and the planner see to
//! that; the graph need not say it.
//!
//! * A value exists for every run of the graph, with the shape given by [`Graph::ty`].
//! * [`Op::Input`] nodes are named memory: weights, moments, carry, rows. It persists between runs.
//! * [`Graph::outputs`] are the named values that the outside reads after a run.
//! * [`Op::Detach`] cuts gradients and otherwise passes its input on. It is gone after the passes.
//!
//! Numbering is stable: nodes are ordered by the moment they were made, so the same calls give the same
//! text. luminal reports errors by panicking; every call that could is behind a shape check here.

pub mod decomposed;
pub mod luminal;
pub mod ops;
mod text;
mod types;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use ::luminal::graph::{Dependency, NodeIndex};
use ::luminal::prelude::petgraph::Direction;
use ::luminal::prelude::petgraph::visit::EdgeRef;

use ops::Scale;
pub use ops::{Backward, NamedOperand, Op, Operation, ShapeError, Signature, Storage};
pub use text::{to_dot, to_text};
pub use types::{DType, TensorType};
pub use validate::{Violation, validate};

/// One node of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NodeIndex);

/// One output of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Node that yields the value.
    pub node: NodeId,
    /// Which of its outputs.
    pub output: u8,
}

/// Part of a program a node belongs to; costs are reported by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// What evaluation would do too.
    Forward,
    /// What only makes a training target.
    Target,
    /// Gradients.
    Backward,
    /// New weights, moments and carry.
    Update,
}

impl Phase {
    /// Returns the name in text.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Forward => "forward",
            Phase::Target => "target",
            Phase::Backward => "backward",
            Phase::Update => "update",
        }
    }
}

/// When operators that work in place run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updates {
    /// As early as they can: they free what they read.
    Early,
    /// Last, equal ones side by side; and mere copies as early as they can, so that those of inputs meet as well.
    Together,
}

/// A graph of operators.
pub struct Graph {
    inner: Box<::luminal::graph::Graph>,
    outputs: BTreeMap<String, Value>,
    inputs: BTreeMap<String, Value>,
    next_sequence: u64,
    phase: Phase,
    stretch: usize,
}

impl Default for Graph {
    fn default() -> Self {
        Graph::new()
    }
}

impl Graph {
    /// Returns an empty graph.
    pub fn new() -> Self {
        Graph {
            inner: Box::new(::luminal::graph::Graph::new()),
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            next_sequence: 0,
            phase: Phase::Forward,
            stretch: 0,
        }
    }

    /// Returns the input of this name, made on first use.
    ///
    /// # Panics
    ///
    /// Panics if the name is taken by an input of another type; that is a fault of lowering.
    pub fn input(&mut self, name: &str, ty: TensorType) -> Value {
        if let Some(&value) = self.inputs.get(name) {
            assert_eq!(self.ty(value), &ty, "input `{name}` has one type");
            return value;
        }
        let op = Op::Input(ops::Input { name: name.to_string(), ty });
        let value = self.add(op, &[])[0];
        self.inputs.insert(name.to_string(), value);
        value
    }

    /// Adds a node and returns its outputs.
    ///
    /// # Panics
    ///
    /// Panics if the operator does not accept inputs of these types; stages that build graphs work
    /// from a checked model, so that is a fault of hrmc.
    pub fn add(&mut self, op: Op, inputs: &[Value]) -> Vec<Value> {
        self.add_at(op, inputs, self.next_sequence, self.phase, self.stretch)
    }

    /// Sets the phase of the nodes that are added from now on.
    pub fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Returns the phase a node belongs to.
    pub fn phase(&self, node: NodeId) -> Phase {
        self.weight(node).phase
    }

    /// Sets the stretch of the program of the nodes that are added from now on, and returns the one before. Whoever
    /// makes the graph numbers the stretches, from 0.
    pub fn set_stretch(&mut self, stretch: usize) -> usize {
        std::mem::replace(&mut self.stretch, stretch)
    }

    /// Returns the stretch of the program that a node stems from. A node of the backward pass has that of the node
    /// whose gradient it computes.
    pub fn stretch(&self, node: NodeId) -> usize {
        self.weight(node).stretch
    }

    /// Adds a node with one output and returns it.
    pub fn add1(&mut self, op: Op, inputs: &[Value]) -> Value {
        let [output] = self.add(op, inputs)[..] else { panic!("the operator has one output") };
        output
    }

    /// Adds a node that takes the place in the order of `like`; passes use this for what they fuse.
    pub fn add_like(&mut self, op: Op, inputs: &[Value], like: NodeId) -> Vec<Value> {
        let &decomposed::Node { sequence, phase, stretch, .. } = self.weight(like);
        self.add_at(op, inputs, sequence, phase, stretch)
    }

    fn add_at(
        &mut self,
        op: Op,
        inputs: &[Value],
        sequence: u64,
        phase: Phase,
        stretch: usize,
    ) -> Vec<Value> {
        let (name, named) = (op.as_operation().name(), op.as_operation().inputs());
        assert_eq!(inputs.len(), named.len(), "`{name}` has its inputs");
        let input_types: Vec<TensorType> = inputs.iter().map(|&value| self.ty(value).clone()).collect();
        let types = match op.as_operation().output_types(&input_types) {
            Ok(types) => types,
            Err(error) => panic!("`{name}`: {error}"),
        };
        self.next_sequence = self.next_sequence.max(sequence + 1);
        let count = types.len();
        let trackers: Vec<_> = input_types.iter().map(|ty| luminal::tracker(&ty.shape)).collect();
        let mut new = self.inner.add_op(decomposed::Node { op, types, sequence, phase, stretch });
        for (value, tracker) in inputs.iter().zip(trackers) {
            new = new.input(value.node.0, value.output, tracker);
        }
        let node = NodeId(new.finish());
        (0..count).map(|output| Value { node, output: output as u8 }).collect()
    }

    /// Names a value that the outside reads after a run.
    pub fn set_output(&mut self, name: &str, value: Value) {
        self.outputs.insert(name.to_string(), value);
    }

    /// Returns the named outputs, sorted by name.
    pub fn outputs(&self) -> &BTreeMap<String, Value> {
        &self.outputs
    }

    /// Returns the named inputs, sorted by name.
    pub fn inputs(&self) -> &BTreeMap<String, Value> {
        &self.inputs
    }

    fn weight(&self, node: NodeId) -> &decomposed::Node {
        decomposed::node(self.inner.graph.node_weight(node.0).expect("a node id of this graph").as_ref())
    }

    /// Returns whether a node exists; a pass that removes nodes on its way asks before it looks at one.
    pub fn contains(&self, node: NodeId) -> bool {
        self.inner.graph.contains_node(node.0)
    }

    /// Returns the operator of a node.
    pub fn op(&self, node: NodeId) -> &Op {
        &self.weight(node).op
    }

    /// Returns the type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.weight(value.node).types[value.output as usize]
    }

    /// Returns the values a node takes, in order.
    pub fn operands(&self, node: NodeId) -> Vec<Value> {
        let mut operands: Vec<(u8, Value)> = self
            .inner
            .graph
            .edges_directed(node.0, Direction::Incoming)
            .filter_map(|edge| {
                let (input, output, _) = edge.weight().as_data()?;
                Some((input, Value { node: NodeId(edge.source()), output }))
            })
            .collect();
        operands.sort();
        operands.into_iter().map(|(_, value)| value).collect()
    }

    /// Returns the outputs of a node.
    pub fn results(&self, node: NodeId) -> Vec<Value> {
        (0..self.weight(node).types.len()).map(|output| Value { node, output: output as u8 }).collect()
    }

    /// Returns the nodes that take `value` with the position they take it at, in order.
    pub fn readers(&self, value: Value) -> Vec<(NodeId, usize)> {
        let mut readers: Vec<(u64, NodeId, usize)> = self
            .inner
            .graph
            .edges_directed(value.node.0, Direction::Outgoing)
            .filter_map(|edge| {
                let (input, output, _) = edge.weight().as_data()?;
                let node = NodeId(edge.target());
                (output == value.output).then(|| (self.weight(node).sequence, node, input as usize))
            })
            .collect();
        readers.sort();
        readers.into_iter().map(|(_, node, input)| (node, input)).collect()
    }

    /// Returns whether `value` is a named output.
    pub fn is_output(&self, value: Value) -> bool {
        self.outputs.values().any(|&output| output == value)
    }

    /// Returns whether anything reads `value`, a named output included.
    pub fn is_read(&self, value: Value) -> bool {
        let mut edges = self.inner.graph.edges_directed(value.node.0, Direction::Outgoing);
        edges.any(|edge| edge.weight().as_data().is_some_and(|(_, output, _)| output == value.output))
            || self.is_output(value)
    }

    /// Returns the only reader of `value`, unless there are several or it is a named output.
    pub fn only_reader(&self, value: Value) -> Option<NodeId> {
        if self.is_output(value) {
            return None;
        }
        match self.readers(value)[..] {
            [(node, _)] => Some(node),
            _ => None,
        }
    }

    /// Makes every reader of `old`, and every output named after it, use `new`.
    pub fn replace(&mut self, old: Value, new: Value) {
        let edges: Vec<_> = self
            .inner
            .graph
            .edges_directed(old.node.0, Direction::Outgoing)
            .filter(|edge| edge.weight().as_data().is_some_and(|(_, output, _)| output == old.output))
            .map(|edge| (edge.id(), edge.target(), *edge.weight()))
            .collect();
        for (id, target, weight) in edges {
            let Some((input_order, _, shape)) = weight.as_data() else { continue };
            self.inner.graph.remove_edge(id);
            self.inner.graph.add_edge(
                new.node.0,
                target,
                Dependency::Data { input_order, output_order: new.output, shape },
            );
        }
        for output in self.outputs.values_mut() {
            if *output == old {
                *output = new;
            }
        }
    }

    /// Removes a node; whatever read it must have been redirected.
    pub fn remove(&mut self, node: NodeId) {
        if let Op::Input(input) = self.op(node) {
            let name = input.name.clone();
            self.inputs.remove(&name);
        }
        self.inner.graph.remove_node(node.0);
    }

    /// Returns all nodes in the order in which they run: operands first, then inputs, then by age. An operator that
    /// works in place runs after every other reader of what it overwrites, and as early as that allows.
    pub fn order(&self) -> Vec<NodeId> {
        self.order_with(Updates::Early)
    }

    /// Returns all nodes as [`Graph::order`] does, but with operators that work in place where `updates` says.
    pub fn order_with(&self, updates: Updates) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.inner.graph.node_indices().map(NodeId).collect();
        let mut waits: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut releases: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for &node in &nodes {
            let mut before: BTreeSet<NodeId> =
                self.operands(node).into_iter().map(|value| value.node).collect();
            let operands = self.operands(node);
            for &(input, _) in self.op(node).as_operation().in_place() {
                before.extend(
                    self.readers_of_memory(operands[input]).into_iter().filter(|&reader| reader != node),
                );
            }
            waits.insert(node, before.len());
            for other in before {
                releases.entry(other).or_default().push(node);
            }
        }
        // Inputs cost nothing, and an update may wait for one that was made after it became possible. Early updates
        // come next among the ready nodes: they free the gradient they consume. Late ones come last, and equal ones
        // meet.
        let rank = |node: NodeId| {
            let weight = self.weight(node);
            let op = weight.op.as_operation();
            let (turn, rule) = match (&weight.op, updates) {
                (Op::Input(_), _) => (0, String::new()),
                (Op::Scale(Scale { factor: 1.0 }), Updates::Together) => (1, String::new()),
                _ if op.in_place().is_empty() => (2, String::new()),
                (_, Updates::Early) => (1, String::new()),
                (_, Updates::Together) => (3, format!("{} {:?}", op.name(), op.attributes())),
            };
            (turn, rule, weight.sequence, node)
        };
        let mut ready: BTreeSet<(u8, String, u64, NodeId)> =
            nodes.iter().filter(|node| waits[node] == 0).map(|&node| rank(node)).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some((.., node)) = ready.pop_first() {
            order.push(node);
            for &next in releases.get(&node).into_iter().flatten() {
                let waiting = waits.get_mut(&next).expect("every node has a count");
                *waiting -= 1;
                if *waiting == 0 {
                    ready.insert(rank(next));
                }
            }
        }
        assert_eq!(order.len(), nodes.len(), "the graph has no cycle");
        order
    }

    /// Returns the nodes that read the memory of `value`, also through views of it.
    fn readers_of_memory(&self, value: Value) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            for (reader, _) in self.readers(value) {
                if found.insert(reader) && self.op(reader).as_operation().is_view() {
                    open.extend(self.results(reader));
                }
            }
        }
        found
    }

    /// Returns how often each operator occurs, by name.
    pub fn census(&self) -> BTreeMap<&'static str, usize> {
        let mut census = BTreeMap::new();
        for node in self.order() {
            if !matches!(self.op(node), Op::Input(_)) {
                *census.entry(self.op(node).as_operation().name()).or_insert(0) += 1;
            }
        }
        census
    }

    /// Returns the number of operators, inputs not counted.
    pub fn operators(&self) -> usize {
        self.inner.graph.node_indices().filter(|&n| !matches!(self.op(NodeId(n)), Op::Input(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::ops::{Add, Assign, Average, Linear, Reshape, RmsNorm};
    use super::{Graph, Op, Scale, TensorType, Updates, Value, validate};

    fn input(graph: &mut Graph, name: &str) -> Value {
        graph.input(name, TensorType::f32(&[2, 3]))
    }

    fn scale(graph: &mut Graph, x: Value, factor: f32) -> Value {
        graph.add1(Scale { factor }.into(), &[x])
    }

    /// Returns the operators in order, each by its name and, for an input, the input's.
    fn names(graph: &Graph) -> Vec<String> {
        let name = |op: &Op| match op {
            Op::Input(input) => input.name.clone(),
            _ => op.as_operation().name().to_string(),
        };
        graph.order().into_iter().map(|node| name(graph.op(node))).collect()
    }

    #[test]
    fn an_input_is_made_once() {
        let mut graph = Graph::new();
        assert_eq!(input(&mut graph, "x"), input(&mut graph, "x"));
        assert_eq!(graph.inputs().len(), 1);
    }

    #[test]
    fn replacing_a_value_redirects_both_inputs_of_a_reader_and_the_outputs_named_after_it() {
        let mut graph = Graph::new();
        let [x, y] = ["x", "y"].map(|name| input(&mut graph, name));
        let sum = graph.add1(Add.into(), &[x, x]);
        graph.set_output("x again", x);
        graph.replace(x, y);
        assert_eq!(graph.operands(sum.node), [y, y]);
        assert_eq!(graph.outputs()["x again"], y);
        assert!(!graph.is_read(x));
    }

    #[test]
    fn replacing_one_output_of_a_node_leaves_the_others() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x");
        let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[x]);
        let [read, factor] = [norm[0], norm[1]].map(|value| scale(&mut graph, value, 2.0));
        graph.replace(norm[0], x);
        assert_eq!(graph.operands(read.node), [x]);
        assert_eq!(graph.operands(factor.node), [norm[1]]);
    }

    #[test]
    fn only_reader_is_none_for_no_reader_for_two_and_for_a_named_output() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x");
        let y = scale(&mut graph, x, 2.0);
        assert_eq!(graph.only_reader(y), None);
        let z = scale(&mut graph, y, 3.0);
        assert_eq!(graph.only_reader(y), Some(z.node));
        graph.set_output("y", y);
        assert_eq!(graph.only_reader(y), None);
        let twice = graph.add1(Add.into(), &[z, z]);
        assert_eq!(graph.only_reader(z), None, "`{}` reads it twice", twice.node.0.index());
    }

    #[test]
    fn operators_run_in_the_order_they_were_made_in() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x");
        let y = scale(&mut graph, x, 2.0);
        let z = input(&mut graph, "z");
        graph.add1(Add.into(), &[z, y]);
        assert_eq!(names(&graph), ["x", "z", "scale", "add"]);
    }

    #[test]
    fn a_node_added_like_another_takes_its_place() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x");
        let early = scale(&mut graph, x, 2.0);
        let late = graph.add1(Add.into(), &[x, x]);
        let new = graph.add_like(RmsNorm { eps: 0.1 }.into(), &[x], early.node)[0];
        graph.remove(early.node);
        assert_eq!(names(&graph), ["x", "rms_norm", "add"]);
        assert_eq!(graph.phase(new.node), graph.phase(late.node));
    }

    #[test]
    fn an_update_waits_for_readers_that_were_added_after_it() {
        let mut graph = Graph::new();
        let [memory, value] = ["memory", "value"].map(|name| input(&mut graph, name));
        graph.add1(Assign.into(), &[memory, value]);
        scale(&mut graph, memory, 2.0);
        assert_eq!(names(&graph), ["memory", "value", "scale", "assign"]);
    }

    #[test]
    fn an_update_waits_for_readers_of_views() {
        let mut graph = Graph::new();
        let [memory, value] = ["memory", "value"].map(|name| input(&mut graph, name));
        graph.add1(Assign.into(), &[memory, value]);
        let view = graph.add1(Reshape { shape: vec![6] }.into(), &[memory]);
        scale(&mut graph, view, 2.0);
        assert_eq!(names(&graph), ["memory", "value", "reshape", "scale", "assign"]);
    }

    #[test]
    fn an_update_runs_as_soon_as_it_can() {
        let mut graph = Graph::new();
        let [memory, value] = ["memory", "value"].map(|name| input(&mut graph, name));
        let ready = scale(&mut graph, value, 2.0);
        let later = scale(&mut graph, value, 3.0);
        graph.add1(Add.into(), &[later, value]);
        graph.add1(Assign.into(), &[memory, ready]);
        assert_eq!(names(&graph), ["memory", "value", "scale", "assign", "scale", "add"]);
    }

    #[test]
    fn updates_that_run_together_come_last_and_equal_ones_side_by_side() {
        let mut graph = Graph::new();
        let value = input(&mut graph, "value");
        let mut update = |name: &str, rate: Option<f32>| {
            let memory = input(&mut graph, name);
            let op = rate.map_or_else(|| Assign.into(), |rate| Average { rate }.into());
            graph.add(op, &[memory, value]);
        };
        update("a", Some(0.5));
        update("b", None);
        update("c", Some(0.25));
        update("d", Some(0.5));
        scale(&mut graph, value, 2.0);
        let order = graph.order_with(Updates::Together).into_iter();
        let working: Vec<String> = order
            .filter(|&node| !matches!(graph.op(node), Op::Input(_)))
            .map(|node| {
                let op = graph.op(node).as_operation();
                format!("{}{:?}", op.name(), op.attributes())
            })
            .collect();
        let [quarter, half] = ["0.25", "0.5"].map(|rate| format!("average[(\"rate\", \"{rate}\")]"));
        assert_eq!(working, ["scale[(\"factor\", \"2.0\")]", "assign[]", &quarter, &half, &half]);
    }

    #[test]
    fn an_update_does_not_wait_for_memory_that_was_named_late() {
        let mut graph = Graph::new();
        let value = input(&mut graph, "value");
        let ready = scale(&mut graph, value, 2.0);
        scale(&mut graph, value, 3.0);
        let memory = input(&mut graph, "memory");
        graph.add1(Assign.into(), &[memory, ready]);
        assert_eq!(names(&graph), ["value", "memory", "scale", "assign", "scale"]);
    }

    #[test]
    fn an_average_follows_the_update_whose_result_it_reads() {
        let mut graph = Graph::new();
        let [memory, average, value] = ["memory", "average", "value"].map(|name| input(&mut graph, name));
        let new = graph.add1(Assign.into(), &[memory, value]);
        graph.add1(Average { rate: 0.5 }.into(), &[average, new]);
        assert_eq!(validate(&graph), Ok(()));
        assert_eq!(names(&graph)[3..], ["assign", "average"]);
    }

    #[test]
    fn the_validator_finds_memory_that_is_overwritten_twice() {
        let mut graph = Graph::new();
        let [memory, a] = ["memory", "a"].map(|name| input(&mut graph, name));
        let b = scale(&mut graph, a, 2.0);
        let first = graph.add1(Assign.into(), &[memory, a]);
        // The second update reads the result of the first, so that an order exists.
        let mixed = graph.add1(Add.into(), &[first, b]);
        graph.add1(Assign.into(), &[first, mixed]);
        let found = validate(&graph).expect_err("memory is overwritten twice");
        assert_eq!(found[0].0, "`assign` overwrites a value that is no input");
    }

    #[test]
    fn shapes_that_do_not_fit_are_named_both() {
        let op: Op = Linear.into();
        let error = op
            .as_operation()
            .output_types(&[TensorType::f32(&[2, 3]), TensorType::f32(&[4, 5])])
            .expect_err("3 is not 5");
        assert_eq!(error.to_string(), "needs [.., I] and [O, I], found f32[2, 3] and f32[4, 5]");
    }
}
