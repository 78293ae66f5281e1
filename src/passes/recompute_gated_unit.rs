use crate::graph::ops::{LinearSwiGlu, SwiGlu};
use crate::graph::{Graph, NodeId, Op, Phase, Value};

/// Lets the backward pass compute the gated unit again from the product that is kept anyway.
///
/// The result of the unit is half as large as the product, and computing it again takes one pass over both, so
/// nothing else is worth less of the memory that the forward pass leaves behind. Requires `fuse-gated-unit`.
/// Leaves alone a result that is a named output: it is kept in any case.
pub fn recompute_gated_unit(graph: &mut Graph) {
    for node in graph.order() {
        if !graph.contains(node)
            || !matches!(graph.op(node), Op::LinearSwiGlu(op) if op.keep)
            || is_backward(graph, node)
        {
            continue;
        }
        let results = graph.results(node);
        let (hidden, wide) = (results[LinearSwiGlu::H], results[LinearSwiGlu::PRODUCT]);
        if graph.is_output(hidden) {
            continue;
        }
        let late: Vec<NodeId> = graph
            .readers(hidden)
            .into_iter()
            .map(|(reader, _)| reader)
            .filter(|&reader| is_backward(graph, reader))
            .collect();
        let Some(&first) = late.first() else { continue };
        let again = graph.add_like(SwiGlu.into(), &[wide], first)[SwiGlu::H];
        for reader in late {
            read_instead(graph, reader, hidden, again);
        }
    }
}

fn is_backward(graph: &Graph, node: NodeId) -> bool {
    graph.phase(node) == Phase::Backward
}

/// Makes one reader of `old` read `new`.
fn read_instead(graph: &mut Graph, reader: NodeId, old: Value, new: Value) {
    let operands: Vec<Value> = graph
        .operands(reader)
        .into_iter()
        .map(|operand| if operand == old { new } else { operand })
        .collect();
    let op = graph.op(reader).clone();
    let results = graph.add_like(op, &operands, reader);
    for (old, new) in graph.results(reader).into_iter().zip(results) {
        graph.replace(old, new);
    }
    graph.remove(reader);
}

#[cfg(test)]
mod tests {
    use super::recompute_gated_unit;
    use crate::graph::ops::{Linear, LinearGradWeight, LinearSwiGlu, SwiGluGrad};
    use crate::graph::{Graph, Phase, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    /// Adds a feed-forward layer and the gradients of its second weight and of its gated unit; returns the
    /// result of the unit.
    fn layer(graph: &mut Graph, gradient_phase: Phase) -> Value {
        let x = input(graph, "x", &[2, 4]);
        let [wide, down] = [("wide", [6, 4]), ("down", [4, 3])].map(|(name, ty)| input(graph, name, &ty));
        let unit = graph.add(LinearSwiGlu { keep: true }.into(), &[x, wide]);
        let y = graph.add1(Linear.into(), &[unit[0], down]);
        graph.set_output("y", y);
        graph.set_phase(gradient_phase);
        let [dy, dh] = [("dy", [2, 4]), ("dh", [2, 3])].map(|(name, ty)| input(graph, name, &ty));
        let weight = graph.add1(LinearGradWeight.into(), &[dy, unit[0]]);
        graph.set_output("gradient of down", weight);
        let product = graph.add1(SwiGluGrad.into(), &[unit[1], dh]);
        graph.set_output("gradient of the product", product);
        unit[0]
    }

    #[test]
    fn the_backward_pass_computes_the_gated_unit_again() {
        shows("the_backward_pass_computes_the_gated_unit_again", recompute_gated_unit, |graph| {
            layer(graph, Phase::Backward);
        });
    }

    #[test]
    fn a_gated_unit_that_only_the_forward_pass_reads_is_left_alone() {
        leaves_alone(recompute_gated_unit, |graph| {
            layer(graph, Phase::Forward);
        });
    }

    #[test]
    fn a_gated_unit_that_is_a_named_output_is_left_alone() {
        leaves_alone(recompute_gated_unit, |graph| {
            let hidden = layer(graph, Phase::Backward);
            graph.set_output("hidden", hidden);
        });
    }
}
