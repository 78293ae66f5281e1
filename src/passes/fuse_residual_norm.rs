use crate::graph::ops::{AddRmsNorm, LinearAddRmsNorm};
use crate::graph::{Graph, Op};

/// Merges the norm with the sum before it, and with the product that is one of its summands.
///
/// Leaves alone sums and products that anything else reads.
pub fn fuse_residual_norm(graph: &mut Graph) {
    for node in graph.order() {
        if !graph.contains(node) {
            continue;
        }
        let Op::RmsNorm(norm) = graph.op(node) else { continue };
        let eps = norm.eps;
        let sum = graph.operands(node)[0];
        if !matches!(graph.op(sum.node), Op::Add(_)) || graph.only_reader(sum).is_none() {
            continue;
        }
        let terms = graph.operands(sum.node);
        let product = [1, 0].into_iter().find(|&side| {
            let term = terms[side];
            terms[0] != terms[1]
                && matches!(graph.op(term.node), Op::Linear(_))
                && graph.only_reader(term).is_some()
        });
        let (op, inputs): (Op, Vec<_>) = match product {
            Some(side) => {
                let mut inputs = graph.operands(terms[side].node);
                inputs.push(terms[1 - side]);
                (LinearAddRmsNorm { eps }.into(), inputs)
            }
            None => (AddRmsNorm { eps }.into(), terms.clone()),
        };
        let results = graph.add_like(op, &inputs, node);
        for (old, new) in graph.results(node).into_iter().zip(results) {
            graph.replace(old, new);
        }
        graph.remove(node);
        graph.remove(sum.node);
        if let Some(side) = product {
            graph.remove(terms[side].node);
        }
    }
}
