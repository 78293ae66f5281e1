use crate::graph::ops::LinearSwiGlu;
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
        let wide = graph.operands(node)[0];
        if !matches!(graph.op(wide.node), Op::Linear(_)) || graph.is_output(wide) {
            continue;
        }
        let keep = graph.readers(wide).len() > 1;
        let inputs = graph.operands(wide.node);
        let results = graph.add_like(LinearSwiGlu { keep }.into(), &inputs, node);
        graph.replace(graph.results(node)[0], results[0]);
        graph.remove(node);
        if keep {
            graph.replace(wide, results[1]);
        }
        graph.remove(wide.node);
    }
}
