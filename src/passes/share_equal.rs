use std::collections::HashMap;

use crate::graph::{Graph, NodeId, Op, Value};

/// Computes equal operators on equal operands once.
///
/// Keeps the first of them. Leaves alone inputs, everything that works in place, and a named output that
/// equals another: each has memory of its own.
pub fn share_equal(graph: &mut Graph) {
    let mut seen: HashMap<(String, Vec<Value>), NodeId> = HashMap::new();
    for node in graph.order() {
        let op = graph.op(node);
        if matches!(op, Op::Input(_)) || !op.as_operation().in_place().is_empty() {
            continue;
        }
        // The debug form names every field of an operator, so equal text means equal operators.
        let key = (format!("{op:?}"), graph.operands(node));
        match seen.get(&key) {
            Some(&first) => {
                let pairs: Vec<_> = graph.results(node).into_iter().zip(graph.results(first)).collect();
                if pairs.iter().any(|&(old, new)| graph.is_output(old) && graph.is_output(new)) {
                    continue;
                }
                for (old, new) in pairs {
                    graph.replace(old, new);
                }
                graph.remove(node);
            }
            None => {
                seen.insert(key, node);
            }
        }
    }
}
