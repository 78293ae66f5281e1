use std::collections::BTreeSet;

use crate::graph::{Graph, Op, Value};

/// Removes nodes whose results nobody reads.
///
/// Keeps named outputs, inputs that are read, and everything that works in place.
pub fn remove_unread(graph: &mut Graph) {
    let named: BTreeSet<Value> = graph.outputs().values().copied().collect();
    for node in graph.order().into_iter().rev() {
        let unread = graph
            .results(node)
            .iter()
            .all(|value| !named.contains(value) && graph.readers(*value).is_empty());
        let op = graph.op(node);
        if unread && (matches!(op, Op::Input(_)) || op.as_operation().in_place().is_empty()) {
            graph.remove(node);
        }
    }
}
