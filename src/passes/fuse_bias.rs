use crate::graph::ops::{AddSuffix, LinearBias};
use crate::graph::{Graph, Op};

/// Merges the bias of a linear layer into the product before it.
///
/// Leaves alone a product that anything else reads, and what is added to more axes than the last one.
pub fn fuse_bias(graph: &mut Graph) {
    for node in graph.order() {
        if !graph.contains(node) || !matches!(graph.op(node), Op::AddSuffix(_)) {
            continue;
        }
        let operands = graph.operands(node);
        let (product, bias) = (operands[AddSuffix::X], operands[AddSuffix::SUFFIX]);
        let fits = matches!(graph.op(product.node), Op::Linear(_))
            && graph.only_reader(product).is_some()
            && graph.ty(bias).shape.len() == 1;
        if !fits {
            continue;
        }
        let mut inputs = graph.operands(product.node);
        inputs.push(bias);
        let results = graph.add_like(LinearBias.into(), &inputs, node);
        graph.replace(graph.results(node)[AddSuffix::Y], results[LinearBias::Y]);
        graph.remove(node);
        graph.remove(product.node);
    }
}

#[cfg(test)]
mod tests {
    use super::fuse_bias;
    use crate::graph::ops::{AddSuffix, Gelu, Linear};
    use crate::graph::{Graph, Value};
    use crate::passes::testing::{input, leaves_alone, shows};

    fn product(graph: &mut Graph) -> Value {
        let x = input(graph, "x", &[2, 4]);
        let w = input(graph, "w", &[3, 4]);
        graph.add1(Linear.into(), &[x, w])
    }

    fn biased(graph: &mut Graph) -> Value {
        let product = product(graph);
        let bias = input(graph, "bias", &[3]);
        let sum = graph.add1(AddSuffix.into(), &[product, bias]);
        let hidden = graph.add1(Gelu.into(), &[sum]);
        graph.set_output("hidden", hidden);
        product
    }

    #[test]
    fn product_and_bias_become_one_operator() {
        shows("product_and_bias_become_one_operator", fuse_bias, |graph| {
            biased(graph);
        });
    }

    #[test]
    fn a_product_that_anything_else_reads_is_left_alone() {
        leaves_alone(fuse_bias, |graph| {
            let product = biased(graph);
            graph.set_output("product", product);
        });
    }

    #[test]
    fn positions_are_left_alone() {
        leaves_alone(fuse_bias, |graph| {
            let product = product(graph);
            let positions = input(graph, "positions", &[2, 3]);
            let sum = graph.add1(AddSuffix.into(), &[product, positions]);
            graph.set_output("sum", sum);
        });
    }
}
