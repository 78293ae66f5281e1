//! Reverse-mode differentiation, graph to graph.
//!
//! The walk goes through the nodes that the loss depends on, in reverse order of execution, carrying the
//! gradient of the loss with respect to each value. Where several readers contribute, contributions are
//! added in the order of the walk. A gradient rule is asked only for inputs that lead to something
//! wanted, so nothing is computed for the sake of constants; [`Op::Detach`] lets nothing through, which
//! is all that the one-step gradient of the paper needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::ops::Add;
use crate::graph::{Backward, Graph, NodeId, Op, Value};

/// Adds the gradients of `loss` with respect to each of `wanted`, given the gradient `seed` of the loss.
///
/// The result has one entry for each wanted value, `None` where the loss does not depend on it. What is added belongs
/// to the stretch of the node that it differentiates.
pub fn differentiate(graph: &mut Graph, loss: Value, seed: Value, wanted: &[Value]) -> Vec<Option<Value>> {
    let order = graph.order();
    let active = active_values(graph, &order, wanted);
    let mut gradients: BTreeMap<Value, Value> = BTreeMap::new();
    gradients.insert(loss, seed);
    let stretch_before = graph.set_stretch(0);
    for &node in order.iter().rev() {
        if matches!(graph.op(node), Op::Input(_)) {
            continue;
        }
        let outputs = graph.results(node);
        let arriving: Vec<Option<Value>> =
            outputs.iter().map(|output| gradients.get(output).copied()).collect();
        let inputs = graph.operands(node);
        let needed: Vec<bool> = inputs.iter().map(|input| active.contains(input)).collect();
        if arriving.iter().all(Option::is_none) || !needed.contains(&true) {
            continue;
        }
        graph.set_stretch(graph.stretch(node));
        let op = graph.op(node).clone();
        let backward = Backward { inputs: &inputs, outputs: &outputs, gradients: &arriving, wanted: &needed };
        let contributions = op.as_operation().gradient(graph, &backward);
        for ((input, contribution), needed) in inputs.iter().zip(contributions).zip(needed) {
            if let (Some(contribution), true) = (contribution, needed) {
                let total = match gradients.get(input) {
                    Some(&sum) => graph.add1(Add.into(), &[sum, contribution]),
                    None => contribution,
                };
                gradients.insert(*input, total);
            }
        }
    }
    graph.set_stretch(stretch_before);
    wanted.iter().map(|value| gradients.get(value).copied()).collect()
}

/// Returns the values through which a gradient can reach a wanted value.
fn active_values(graph: &Graph, order: &[NodeId], wanted: &[Value]) -> BTreeSet<Value> {
    let mut active: BTreeSet<Value> = wanted.iter().copied().collect();
    for &node in order {
        if matches!(graph.op(node), Op::Detach(_)) {
            continue;
        }
        if graph.operands(node).iter().any(|operand| active.contains(operand)) {
            active.extend(graph.results(node));
        }
    }
    active
}
