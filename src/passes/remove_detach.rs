use crate::graph::ops::Detach;
use crate::graph::{Graph, Op};

/// Removes detach markers; nothing after differentiation reads them.
///
/// Requires that gradients are in the graph. Keeps everything else.
pub fn remove_detach(graph: &mut Graph) {
    for node in graph.order() {
        if matches!(graph.op(node), Op::Detach(_)) {
            let source = graph.operands(node)[Detach::X];
            graph.replace(graph.results(node)[Detach::Y], source);
            graph.remove(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::remove_detach;
    use crate::graph::ops::{Add, Detach, Scale};
    use crate::passes::testing::{input, shows};

    #[test]
    fn readers_of_a_detach_marker_read_its_source() {
        shows("readers_of_a_detach_marker_read_its_source", remove_detach, |graph| {
            let x = input(graph, "x", &[2]);
            let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
            let cut = graph.add1(Detach.into(), &[doubled]);
            let again = graph.add1(Detach.into(), &[cut]);
            let sum = graph.add1(Add.into(), &[cut, again]);
            graph.set_output("sum", sum);
            graph.set_output("cut", again);
        });
    }
}
