use std::collections::BTreeMap;

use crate::graph::{Graph, NodeId, Op, Value};

/// Computes equal operators on equal operands once.
///
/// Keeps the first of them. Leaves alone inputs, everything that works in place, and a named output that
/// equals another: each has memory of its own.
pub fn share_equal(graph: &mut Graph) {
    let mut seen: BTreeMap<(String, Vec<Value>), NodeId> = BTreeMap::new();
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

#[cfg(test)]
mod tests {
    use super::share_equal;
    use crate::graph::ops::{Add, Average, Scale, Transpose};
    use crate::passes::testing::{input, leaves_alone, shows};

    #[test]
    fn equal_operators_on_what_becomes_equal_are_shared() {
        shows("equal_operators_on_what_becomes_equal_are_shared", share_equal, |graph| {
            let x = input(graph, "x", &[1, 2, 2]);
            let branch = |graph: &mut crate::graph::Graph| {
                let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
                graph.add1(Transpose.into(), &[doubled])
            };
            let (a, b) = (branch(graph), branch(graph));
            let sum = graph.add1(Add.into(), &[a, b]);
            graph.set_output("sum", sum);
        });
    }

    #[test]
    fn another_attribute_or_order_of_operands_is_another_operator() {
        leaves_alone(share_equal, |graph| {
            let [x, y] = ["x", "y"].map(|name| input(graph, name, &[2]));
            let a = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
            let b = graph.add1(Scale { factor: 2.5 }.into(), &[x]);
            let c = graph.add1(Add.into(), &[x, y]);
            let d = graph.add1(Add.into(), &[y, x]);
            for (name, value) in [("a", a), ("b", b), ("c", c), ("d", d)] {
                graph.set_output(name, value);
            }
        });
    }

    #[test]
    fn two_outputs_that_are_equal_keep_memory_of_their_own() {
        leaves_alone(share_equal, |graph| {
            let x = input(graph, "x", &[2]);
            for name in ["a", "b"] {
                let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
                graph.set_output(name, doubled);
            }
        });
    }

    #[test]
    fn updates_of_different_memory_with_the_same_value_both_happen() {
        leaves_alone(share_equal, |graph| {
            let x = input(graph, "x", &[2]);
            for name in ["a", "b"] {
                let memory = input(graph, name, &[2]);
                graph.add1(Average { rate: 0.5 }.into(), &[memory, x]);
            }
        });
    }
}
