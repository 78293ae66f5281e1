use crate::graph::ops::{LinearSwiGlu, SwiGlu};
use crate::graph::{Graph, Op};

/// Merges the gated unit into the product before it.
///
/// The product stays an output where its gradient needs it. Leaves alone a product that is a named output.
pub fn fuse_gated_unit(graph: &mut Graph) {
    for node in graph.order() {
        if !graph.contains(node) {
            continue;
        }
        if !matches!(graph.op(node), Op::SwiGlu(_)) {
            continue;
        }
        let wide = graph.operands(node)[SwiGlu::X];
        if !matches!(graph.op(wide.node), Op::Linear(_)) || graph.is_output(wide) {
            continue;
        }
        let keep = graph.readers(wide).len() > 1;
        let inputs = graph.operands(wide.node);
        let results = graph.add_like(LinearSwiGlu { keep }.into(), &inputs, node);
        graph.replace(graph.results(node)[SwiGlu::H], results[LinearSwiGlu::H]);
        graph.remove(node);
        if keep {
            graph.replace(wide, results[LinearSwiGlu::PRODUCT]);
        }
        graph.remove(wide.node);
    }
}

#[cfg(test)]
mod tests {
    use super::fuse_gated_unit;
    use crate::graph::ops::{Linear, SwiGlu, SwiGluGrad};
    use crate::graph::{Graph, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    fn gated(graph: &mut Graph) -> [Value; 2] {
        let x = input(graph, "x", &[2, 4]);
        let w = input(graph, "w", &[6, 4]);
        let wide = graph.add1(Linear.into(), &[x, w]);
        let hidden = graph.add1(SwiGlu.into(), &[wide]);
        graph.set_output("hidden", hidden);
        [wide, hidden]
    }

    #[test]
    fn a_product_that_only_the_gate_reads_is_never_stored() {
        shows("a_product_that_only_the_gate_reads_is_never_stored", fuse_gated_unit, |graph| {
            gated(graph);
        });
    }

    #[test]
    fn a_product_that_the_gradient_needs_is_a_second_output() {
        shows("a_product_that_the_gradient_needs_is_a_second_output", fuse_gated_unit, |graph| {
            let [wide, _] = gated(graph);
            let seed = input(graph, "seed", &[2, 3]);
            let gradient = graph.add1(SwiGluGrad.into(), &[wide, seed]);
            graph.set_output("gradient", gradient);
        });
    }

    #[test]
    fn a_product_that_is_a_named_output_is_left_alone() {
        leaves_alone(fuse_gated_unit, |graph| {
            let [wide, _] = gated(graph);
            graph.set_output("wide", wide);
        });
    }
}
