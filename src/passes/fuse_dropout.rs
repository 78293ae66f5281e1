use crate::graph::ops::{Add, Dropout, DropoutAdd};
use crate::graph::{Graph, Op};

/// Merges a dropout into the sum that it is a summand of.
///
/// Leaves alone a dropout that anything else reads.
pub fn fuse_dropout(graph: &mut Graph) {
    for node in graph.order() {
        if !graph.contains(node) || !matches!(graph.op(node), Op::Add(_)) {
            continue;
        }
        let terms = graph.operands(node);
        let dropped = [(Add::B, Add::A), (Add::A, Add::B)].into_iter().find(|&(side, other)| {
            let term = terms[side];
            term != terms[other]
                && matches!(graph.op(term.node), Op::Dropout(_))
                && graph.only_reader(term).is_some()
        });
        let Some((side, residual)) = dropped else { continue };
        let (term, residual) = (terms[side], terms[residual]);
        let Op::Dropout(dropout) = graph.op(term.node).clone() else { continue };
        let operands = graph.operands(term.node);
        let inputs = [operands[Dropout::X], operands[Dropout::KEYS], residual];
        let results = graph.add_like(DropoutAdd { dropout }.into(), &inputs, node);
        graph.replace(graph.results(node)[Add::Y], results[DropoutAdd::Y]);
        graph.remove(node);
        graph.remove(term.node);
    }
}

#[cfg(test)]
mod tests {
    use super::fuse_dropout;
    use crate::graph::ops::{Add, Dropout};
    use crate::graph::{Graph, TensorType, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    fn dropped(graph: &mut Graph) -> Value {
        let x = input(graph, "x", &[2, 4]);
        let keys = graph.input("keys", TensorType::i32(&[2]));
        graph.add1(Dropout { rate: 0.5, site: 3 }.into(), &[x, keys])
    }

    #[test]
    fn dropout_and_sum_become_one_operator() {
        shows("dropout_and_sum_become_one_operator", fuse_dropout, |graph| {
            let residual = input(graph, "residual", &[2, 4]);
            let dropped = dropped(graph);
            let sum = graph.add1(Add.into(), &[residual, dropped]);
            graph.set_output("sum", sum);
        });
    }

    #[test]
    fn a_dropout_that_is_read_twice_is_left_alone() {
        leaves_alone(fuse_dropout, |graph| {
            let dropped = dropped(graph);
            let sum = graph.add1(Add.into(), &[dropped, dropped]);
            graph.set_output("sum", sum);
        });
    }
}
