use crate::graph::{Graph, Op};

/// Removes detach markers; nothing after differentiation reads them.
///
/// Requires that gradients are in the graph. Keeps everything else.
pub fn remove_detach(graph: &mut Graph) {
    for node in graph.order() {
        if matches!(graph.op(node), Op::Detach(_)) {
            let source = graph.operands(node)[0];
            graph.replace(graph.results(node)[0], source);
            graph.remove(node);
        }
    }
}
