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

#[cfg(test)]
mod tests {
    use super::remove_unread;
    use crate::graph::ops::{Add, Assign, RmsNorm, Scale};
    use crate::passes::testing::{input, leaves_alone, shows};

    #[test]
    fn a_chain_that_ends_nowhere_disappears_with_its_input() {
        shows("a_chain_that_ends_nowhere_disappears_with_its_input", remove_unread, |graph| {
            let [x, unread] = ["x", "unread"].map(|name| input(graph, name, &[2]));
            let first = graph.add1(Scale { factor: 2.0 }.into(), &[unread]);
            graph.add1(Add.into(), &[first, x]);
            let kept = graph.add1(Scale { factor: 3.0 }.into(), &[x]);
            graph.set_output("kept", kept);
        });
    }

    #[test]
    fn updates_stay_though_nobody_reads_their_result() {
        leaves_alone(remove_unread, |graph| {
            let [memory, x] = ["memory", "x"].map(|name| input(graph, name, &[2]));
            let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
            graph.add1(Assign.into(), &[memory, doubled]);
        });
    }

    #[test]
    fn a_node_stays_if_only_its_second_output_is_read() {
        leaves_alone(remove_unread, |graph| {
            let x = input(graph, "x", &[2, 2]);
            let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[x]);
            graph.set_output("factor", norm[1]);
        });
    }
}
