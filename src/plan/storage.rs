//! The number format of each value in memory, where a device stores activations in bf16.
//!
//! A kernel rounds the values that it writes to the arena to bf16, including the residual stream and the gradients of
//! activations, as in the PyTorch program of the paper. These values stay in f32:
//!
//! * named memory;
//! * logits, Q values and losses, and the values between them and the product that made them;
//! * the values that losses, norms and attention save for their gradients;
//! * gradients of weights.
//!
//! Each operator marks such operands in its file with `: F32` ([`Storage`]).
//!
//! Products take both factors in bf16. A factor that is stored in f32, as every weight is, gets a rounded copy:
//! [`round_factors`] puts it into the graph, as a [`Scale`] by one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Element, find_roots, name_memory};
use crate::graph::ops::Scale;
use crate::graph::{DType, Graph, NodeId, Op, Storage, Updates, Value};
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
        let op = graph.op(node).as_operation();
        let results: Vec<Value> = graph.results(node).iter().map(|value| roots[value]).collect();
        let made = results.iter().zip(op.outputs()).filter(|(_, output)| output.storage == Storage::F32);
        exact.extend(made.map(|(root, _)| *root));
        let follow = op.inputs_follow_outputs()
            && results.iter().any(|root| exact.contains(root) || named.contains_key(root));
        for (operand, input) in graph.operands(node).iter().zip(op.inputs()) {
            if follow || input.storage == Storage::F32 {
                exact.insert(roots[operand]);
            }
        }
    }
    exact
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
        let before = graph.operands(node);
        let mut operands = before.clone();
        for &factor in graph.op(node).as_operation().factors() {
            let exact = before[factor];
            if stored[&exact] == Element::F32 {
                let rounded = || graph.add_like(Scale { factor: 1.0 }.into(), &[exact], node)[Scale::Y];
                operands[factor] = *copies.entry(exact).or_insert_with(rounded);
            }
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
    use crate::graph::{Graph, TensorType, validate};
    use crate::ir::Precision;
    use crate::plan::{Call, Demands, Element, Place, Plan, plan_for};

    fn in_bf16(graph: &mut Graph) -> Plan {
        round_factors(graph);
        assert_eq!(validate(graph), Ok(()));
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
