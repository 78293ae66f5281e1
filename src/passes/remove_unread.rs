use crate::graph::{Graph, Op};

/// Removes nodes whose results nobody reads.
///
/// Keeps named outputs, inputs that are read, and everything that works in place.
pub fn remove_unread(graph: &mut Graph) {
    for node in graph.order().into_iter().rev() {
        let unread = !graph.results(node).into_iter().any(|value| graph.is_read(value));
        let op = graph.op(node);
        if unread && (matches!(op, Op::Input(_)) || op.as_operation().in_place().is_empty()) {
            graph.remove(node);
        }
    }
}
