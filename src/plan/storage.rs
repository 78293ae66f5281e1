//! How values lie in memory where a device stores activations in bf16.
//!
//! Everything in the arena that lies between operators is rounded to bf16 when it is written, the residual stream and
//! the gradients of activations included, as in the PyTorch program of the paper. In f32 remain: named memory; what
//! losses and Q values are computed from, back to the product that made it; what losses, norms and attention leave for
//! their gradients; and gradients of weights.
//!
//! Products take both factors in bf16. A factor that is stored in f32, as every weight is, gets a rounded copy:
//! [`round_factors`] puts it into the graph, as a [`Scale`] by one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Element, find_roots, name_memory};
use crate::graph::ops::Scale;
use crate::graph::{DType, Graph, NodeId, Op, Updates, Value};
use crate::ir::Precision;

/// Returns how each value that owns memory lies there, for the operators of `order`.
pub(super) fn elements(
    graph: &Graph,
    order: &[NodeId],
    roots: &BTreeMap<Value, Value>,
    named: &BTreeMap<Value, usize>,
    storage: Precision,
) -> BTreeMap<Value, Element> {
    let exact = exact_values(graph, order, roots, named);
    let element = |root: Value| match (graph.ty(root).dtype, storage) {
        (DType::I32, _) => Element::I32,
        (DType::F32, Precision::Bf16) if !named.contains_key(&root) && !exact.contains(&root) => {
            Element::Bf16
        }
        (DType::F32, _) => Element::F32,
    };
    roots.values().map(|&root| (root, element(root))).collect()
}

/// Returns the values of the arena that remain in f32, by what makes them and by what reads them.
fn exact_values(
    graph: &Graph,
    order: &[NodeId],
    roots: &BTreeMap<Value, Value>,
    named: &BTreeMap<Value, usize>,
) -> BTreeSet<Value> {
    let mut exact = BTreeSet::new();
    for &node in order.iter().rev() {
        let op = graph.op(node);
        let results: Vec<Value> = graph.results(node).iter().map(|value| roots[value]).collect();
        let made =
            results.iter().enumerate().filter(|(index, _)| yields_f32(op, *index)).map(|(_, root)| *root);
        exact.extend(made);
        let passes_on =
            moves(op) && results.iter().any(|root| exact.contains(root) || named.contains_key(root));
        for (index, operand) in graph.operands(node).iter().enumerate() {
            if passes_on || reads_f32(op, index) {
                exact.insert(roots[operand]);
            }
        }
    }
    exact
}

/// Returns whether an operator hands on what it reads, so that both are in f32 if one has to be.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Detach(_)
            | Op::Reshape(_)
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Concat(_)
            | Op::Transpose(_)
            | Op::Add(_)
            | Op::Scale(_)
            | Op::AddSuffix(_)
    )
}

/// Returns whether an output is in f32 whoever reads it.
fn yields_f32(op: &Op, output: usize) -> bool {
    match op {
        Op::RmsNorm(_) | Op::AddRmsNorm(_) | Op::LinearAddRmsNorm(_) | Op::Attention(_) => output == 1,
        Op::SumLeading(_)
        | Op::Sigmoid(_)
        | Op::Maximum(_)
        | Op::Select(_)
        | Op::Equal(_)
        | Op::LinearGradWeight(_)
        | Op::EmbedGrad(_)
        | Op::RowDistance(_)
        | Op::TokenLoss(_)
        | Op::Correctness(_)
        | Op::BceWithLogits(_) => true,
        Op::Input(_)
        | Op::Detach(_)
        | Op::Reshape(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat(_)
        | Op::Transpose(_)
        | Op::Add(_)
        | Op::Scale(_)
        | Op::AddSuffix(_)
        | Op::Fill(_)
        | Op::Linear(_)
        | Op::LinearGradInput(_)
        | Op::RmsNormGrad(_)
        | Op::Rotate(_)
        | Op::AttentionGrad(_)
        | Op::SwiGlu(_)
        | Op::SwiGluGrad(_)
        | Op::Embed(_)
        | Op::ResetRows(_)
        | Op::TokenLossGrad(_)
        | Op::BceWithLogitsGrad(_)
        | Op::AdamAtan2(_)
        | Op::AdamW(_)
        | Op::SignSgdRows(_)
        | Op::Average(_)
        | Op::Assign(_)
        | Op::LinearSwiGlu(_) => false,
    }
}

/// Returns whether an input has to be in f32.
fn reads_f32(op: &Op, input: usize) -> bool {
    match op {
        Op::Sigmoid(_)
        | Op::Maximum(_)
        | Op::Select(_)
        | Op::Equal(_)
        | Op::TokenLoss(_)
        | Op::TokenLossGrad(_)
        | Op::Correctness(_)
        | Op::BceWithLogits(_)
        | Op::BceWithLogitsGrad(_)
        | Op::AdamAtan2(_)
        | Op::AdamW(_)
        | Op::Average(_) => true,
        // Memory and scalars; what is stored may be rounded.
        Op::Assign(_) | Op::Embed(_) => input == 0,
        Op::SignSgdRows(_) => input != 2,
        Op::ResetRows(_) => input > 0,
        // The factor of a norm, and the logarithm of the denominators.
        Op::RmsNormGrad(_) | Op::AttentionGrad(_) => input == 1,
        Op::Input(_)
        | Op::Detach(_)
        | Op::Reshape(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat(_)
        | Op::Transpose(_)
        | Op::Add(_)
        | Op::Scale(_)
        | Op::AddSuffix(_)
        | Op::SumLeading(_)
        | Op::Fill(_)
        | Op::Linear(_)
        | Op::LinearGradInput(_)
        | Op::LinearGradWeight(_)
        | Op::RmsNorm(_)
        | Op::Rotate(_)
        | Op::Attention(_)
        | Op::SwiGlu(_)
        | Op::SwiGluGrad(_)
        | Op::EmbedGrad(_)
        | Op::RowDistance(_)
        | Op::AddRmsNorm(_)
        | Op::LinearSwiGlu(_)
        | Op::LinearAddRmsNorm(_) => false,
    }
}

/// Returns whether the first two inputs are factors of a product.
fn is_product(op: &Op) -> bool {
    matches!(
        op,
        Op::Linear(_)
            | Op::LinearGradInput(_)
            | Op::LinearGradWeight(_)
            | Op::LinearSwiGlu(_)
            | Op::LinearAddRmsNorm(_)
    )
}

/// Gives each factor of a product that would be stored in f32 a copy that is stored in bf16.
///
/// Keeps the types and values of everything. Leaves alone what products read already in bf16.
pub fn round_factors(graph: &mut Graph) {
    let order = graph.order_with(Updates::Together);
    let order: Vec<NodeId> =
        order.into_iter().filter(|&node| !matches!(graph.op(node), Op::Input(_))).collect();
    let roots = find_roots(graph, &order);
    let (_, named) = name_memory(graph, &roots);
    let elements = elements(graph, &order, &roots, &named, Precision::Bf16);
    let mut stored: BTreeMap<Value, Element> =
        roots.iter().map(|(&value, root)| (value, elements[root])).collect();
    let mut copies: BTreeMap<Value, Value> = BTreeMap::new();
    for node in order {
        if !is_product(graph.op(node)) {
            continue;
        }
        let before = graph.operands(node);
        let mut operands = before.clone();
        for operand in operands[..2].iter_mut().filter(|operand| stored[operand] == Element::F32) {
            let copy = copies.entry(*operand);
            *operand =
                *copy.or_insert_with(|| graph.add_like(Scale { factor: 1.0 }.into(), &[*operand], node)[0]);
        }
        if operands == before {
            continue;
        }
        let op = graph.op(node).clone();
        for (old, new) in graph.results(node).into_iter().zip(graph.add_like(op, &operands, node)) {
            graph.replace(old, new);
            stored.insert(new, stored[&old]);
        }
        graph.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::round_factors;
    use crate::graph::ops::{
        Add, Assign, Average, Linear, LinearGradInput, LinearGradWeight, RmsNorm, Slice, TokenLoss,
        TokenLossKind,
    };
    use crate::graph::{Graph, TensorType, verify};
    use crate::ir::Precision;
    use crate::plan::{Call, Demands, Element, Place, Plan, plan_for};

    fn in_bf16(graph: &mut Graph) -> Plan {
        round_factors(graph);
        assert_eq!(verify(graph), Ok(()));
        plan_for(graph, Demands::cuda(Precision::Bf16))
    }

    /// Returns each call with the elements that it reads and writes.
    fn calls(plan: &Plan) -> Vec<String> {
        let show = |call: &Call| {
            let names = |places: &[Place]| {
                places.iter().map(|place| place.element.name()).collect::<Vec<_>>().join(" ")
            };
            format!("{} {} -> {}", call.op.as_operation().name(), names(&call.inputs), names(&call.outputs))
        };
        plan.calls.iter().map(show).collect()
    }

    #[test]
    fn activations_are_rounded_and_logits_and_what_norms_leave_are_not() {
        let mut graph = Graph::new();
        let [x, w] = ["x", "w"].map(|name| graph.input(name, TensorType::f32(&[4, 4, 4])));
        let head = graph.input("head", TensorType::f32(&[6, 4]));
        let labels = graph.input("labels", TensorType::i32(&[4, 3]));
        let sum = graph.add1(Add.into(), &[x, w]);
        let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[sum]);
        graph.set_output("factor", norm[1]);
        let logits = graph.add1(Linear.into(), &[norm[0], head]);
        let answers = graph.add1(Slice { axis: 1, start: 1, end: 4 }.into(), &[logits]);
        let loss = graph.add1(TokenLoss { kind: TokenLossKind::Softmax }.into(), &[answers, labels]);
        graph.set_output("loss", loss);
        let expected = [
            "scale f32 -> bf16",
            "add f32 f32 -> bf16",
            "rms_norm bf16 -> bf16 f32",
            "linear bf16 bf16 -> f32",
            "slice f32 -> f32",
            "token_loss f32 i32 -> f32",
        ];
        let plan = in_bf16(&mut graph);
        assert_eq!(calls(&plan), expected);
        let [rounded, add] = [0, 1].map(|call| &plan.calls[call]);
        assert_eq!([rounded.bytes, add.bytes], [6 * 6 * 4, 4 * 4 * 4 * (4 + 4 + 2)]);
        assert_eq!(add.outputs[0].element, Element::Bf16);
    }

    #[test]
    fn a_weight_has_one_rounded_copy_and_copies_come_first() {
        let mut graph = Graph::new();
        let [x, v, w, m] = ["x", "v", "w", "m"].map(|name| graph.input(name, TensorType::f32(&[4, 4])));
        let y = graph.add1(Linear.into(), &[x, v]);
        let z = graph.add1(Linear.into(), &[y, w]);
        let dy = graph.add1(LinearGradInput.into(), &[z, w]);
        let dw = graph.add1(LinearGradWeight.into(), &[z, y]);
        graph.add(Average { rate: 0.5 }.into(), &[w, dw]);
        graph.add(Assign.into(), &[m, dy]);
        let expected = [
            "scale f32 -> bf16",
            "scale f32 -> bf16",
            "scale f32 -> bf16",
            "linear bf16 bf16 -> bf16",
            "linear bf16 bf16 -> bf16",
            "linear_grad_input bf16 bf16 -> bf16",
            "linear_grad_weight bf16 bf16 -> f32",
            "assign f32 bf16 -> f32",
            "average f32 f32 -> f32",
        ];
        assert_eq!(calls(&in_bf16(&mut graph)), expected);
    }

    #[test]
    fn nothing_is_rounded_where_everything_is_f32() {
        let mut graph = Graph::new();
        let [x, w] = ["x", "w"].map(|name| graph.input(name, TensorType::f32(&[4, 4])));
        let y = graph.add1(Linear.into(), &[x, w]);
        let z = graph.add1(Linear.into(), &[y, w]);
        graph.set_output("z", z);
        let plan = plan_for(&graph, Demands::cuda(Precision::F32));
        assert_eq!(calls(&plan), ["linear f32 f32 -> f32"; 2]);
    }
}
