use crate::graph::ops::{Add, AddRmsNorm, LinearAddRmsNorm, RmsNorm};
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
        let sum = graph.operands(node)[RmsNorm::X];
        if !matches!(graph.op(sum.node), Op::Add(_)) || graph.only_reader(sum).is_none() {
            continue;
        }
        let terms = graph.operands(sum.node);
        let product = [(Add::B, Add::A), (Add::A, Add::B)].into_iter().find(|&(side, other)| {
            let term = terms[side];
            term != terms[other]
                && matches!(graph.op(term.node), Op::Linear(_))
                && graph.only_reader(term).is_some()
        });
        let (op, inputs): (Op, Vec<_>) = match product {
            Some((side, residual)) => {
                let mut inputs = graph.operands(terms[side].node);
                inputs.push(terms[residual]);
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
        if let Some((side, _)) = product {
            graph.remove(terms[side].node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fuse_residual_norm;
    use crate::graph::ops::{Add, Linear, RmsNorm, RmsNormGrad};
    use crate::graph::{Graph, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    /// Adds `norm(first + second)` as an output and returns the norm's outputs.
    fn norm(graph: &mut Graph, first: Value, second: Value) -> Vec<Value> {
        let sum = graph.add1(Add.into(), &[first, second]);
        let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[sum]);
        graph.set_output("normal", norm[0]);
        norm
    }

    fn product(graph: &mut Graph) -> Value {
        let h = input(graph, "h", &[2, 3]);
        let w = input(graph, "w", &[4, 3]);
        graph.add1(Linear.into(), &[h, w])
    }

    #[test]
    fn product_sum_and_norm_become_one_operator() {
        shows("product_sum_and_norm_become_one_operator", fuse_residual_norm, |graph| {
            let x = input(graph, "x", &[2, 4]);
            let change = product(graph);
            let norm = norm(graph, x, change);
            // The gradient reads the norm's outputs, which the new operator has too.
            let seed = input(graph, "seed", &[2, 4]);
            let gradient = graph.add1(RmsNormGrad.into(), &[norm[0], norm[1], seed]);
            graph.set_output("gradient", gradient);
        });
    }

    #[test]
    fn a_sum_without_a_product_joins_the_norm_alone() {
        shows("a_sum_without_a_product_joins_the_norm_alone", fuse_residual_norm, |graph| {
            let [x, y] = ["x", "y"].map(|name| input(graph, name, &[2, 4]));
            norm(graph, x, y);
        });
    }

    #[test]
    fn a_product_that_is_read_twice_stays_a_summand() {
        shows("a_product_that_is_read_twice_stays_a_summand", fuse_residual_norm, |graph| {
            let x = input(graph, "x", &[2, 4]);
            let change = product(graph);
            norm(graph, x, change);
            graph.set_output("change", change);
        });
    }

    #[test]
    fn a_product_added_to_itself_stays_a_summand() {
        shows("a_product_added_to_itself_stays_a_summand", fuse_residual_norm, |graph| {
            let change = product(graph);
            norm(graph, change, change);
        });
    }

    #[test]
    fn a_sum_that_anything_else_reads_is_left_alone() {
        leaves_alone(fuse_residual_norm, |graph| {
            let x = input(graph, "x", &[2, 4]);
            let change = product(graph);
            let sum = graph.add1(Add.into(), &[x, change]);
            let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[sum]);
            graph.set_output("normal", norm[0]);
            graph.set_output("sum", sum);
        });
    }
}
