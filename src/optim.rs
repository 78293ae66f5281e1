//! Update rules, graph to graph: adds the optimizer's operators after the gradients.

use crate::graph::ops::{AdamAtan2, AdamW, Assign, Average, SignSgdRows};
use crate::graph::{Graph, Op, TensorType, Value};

/// How one kind of weight is updated.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// [`AdamAtan2`] with its decays.
    AdamAtan2(AdamAtan2),
    /// [`AdamW`] with its decays.
    AdamW(AdamW),
}

/// Memory one weight's update works on.
pub struct WeightMemory<'a> {
    /// The weight.
    pub weight: Value,
    /// Its gradient.
    pub gradient: Value,
    /// Name of its first moment.
    pub moment1: &'a str,
    /// Name of its second moment.
    pub moment2: &'a str,
    /// Name and rate of its moving average.
    pub average: Option<(&'a str, f32)>,
}

/// Names of the scalars of a step, each `[1]`.
#[derive(Debug, Clone, Copy)]
pub struct StepNames {
    /// Learning rate.
    pub lr: &'static str,
    /// `lr / (1 - beta1^t)`.
    pub scale: &'static str,
    /// `1 / sqrt(1 - beta2^t)`.
    pub root_scale: &'static str,
}

/// Adds the update of one weight, and of its average. Returns for each stretch of the weight the sum of the squares of the
/// gradient, which is not finite if something of the gradient or of the new weight is not.
pub fn update(graph: &mut Graph, rule: &Rule, memory: &WeightMemory<'_>, step: StepNames) -> Value {
    let ty = graph.ty(memory.weight).clone();
    let m = graph.input(memory.moment1, ty.clone());
    let v = graph.input(memory.moment2, ty.clone());
    let scalars = [step.lr, step.scale, step.root_scale].map(|name| graph.input(name, TensorType::f32(&[1])));
    let op: Op = match rule {
        Rule::AdamAtan2(rule) => rule.clone().into(),
        Rule::AdamW(rule) => rule.clone().into(),
    };
    let [lr, scale, root_scale] = scalars;
    let updated = graph.add(op, &[memory.weight, m, v, memory.gradient, lr, scale, root_scale]);
    if let Some((name, rate)) = memory.average {
        let average = graph.input(name, ty);
        graph.add(Average { rate }.into(), &[average, updated[AdamW::NEW_WEIGHT]]);
    }
    updated[AdamW::SQUARES]
}

/// Adds the sign update of the rows of `table` that occur in `ids`. Returns for each entry of `ids` the sum of the squares
/// of the gradient of its row, as [`update`] does.
pub fn update_rows(
    graph: &mut Graph,
    rule: SignSgdRows,
    table: Value,
    ids: Value,
    gradient: Value,
    lr: &str,
) -> Value {
    let lr = graph.input(lr, TensorType::f32(&[1]));
    graph.add(rule.into(), &[table, ids, gradient, lr])[SignSgdRows::SQUARES]
}

/// Stores `value` in the input `memory` at the end of the run.
pub fn store(graph: &mut Graph, memory: Value, value: Value) {
    graph.add(Assign.into(), &[memory, value]);
}

#[cfg(test)]
mod tests {
    use super::{Rule, StepNames, WeightMemory, store, update, update_rows};
    use crate::graph::ops::{AdamAtan2, AdamW, SignSgdRows};
    use crate::graph::{Graph, TensorType, to_text};

    const STEP: StepNames = StepNames { lr: "lr", scale: "scale", root_scale: "root_scale" };

    fn updated(rule: &Rule, average: Option<(&str, f32)>) -> String {
        let mut graph = Graph::new();
        let [weight, gradient] = ["w", "g"].map(|name| graph.input(name, TensorType::f32(&[2, 3])));
        let memory = WeightMemory { weight, gradient, moment1: "m", moment2: "v", average };
        update(&mut graph, rule, &memory, STEP);
        to_text(&graph).lines().filter(|line| line.starts_with('%')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_average_follows_the_new_weight() {
        let rule = Rule::AdamAtan2(AdamAtan2 { beta1: 0.9, beta2: 0.95, weight_decay: 1.0 });
        assert_eq!(
            updated(&rule, Some(("a", 0.99))),
            "%0, %0.1, %0.2, %0.3 = adam_atan2(w, m, v, g, lr, scale, root_scale) \
             { betas = (0.9, 0.95), weight_decay = 1.0 } : f32[2, 3], f32[2, 3], f32[2, 3], f32[1]\n\
             %1 = average(a, %0) { rate = 0.99 } : f32[2, 3]"
        );
    }

    #[test]
    fn without_a_rate_there_is_no_average() {
        let rule = Rule::AdamW(AdamW { beta1: 0.9, beta2: 0.95, weight_decay: 1.0, eps: 1e-8 });
        assert_eq!(
            updated(&rule, None),
            "%0, %0.1, %0.2, %0.3 = adam_w(w, m, v, g, lr, scale, root_scale) \
             { betas = (0.9, 0.95), weight_decay = 1.0, eps = 1e-8 } : f32[2, 3], f32[2, 3], f32[2, 3], f32[1]"
        );
    }

    #[test]
    fn rows_of_a_table_and_memory_are_replaced_in_place() {
        let mut graph = Graph::new();
        let table = graph.input("table", TensorType::f32(&[5, 3]));
        let ids = graph.input("ids", TensorType::i32(&[2]));
        let [gradient, memory] = ["g", "memory"].map(|name| graph.input(name, TensorType::f32(&[2, 3])));
        update_rows(&mut graph, SignSgdRows { weight_decay: 0.5 }, table, ids, gradient, "lr");
        store(&mut graph, memory, gradient);
        let text = to_text(&graph);
        assert!(
            text.contains("sign_sgd_rows(table, ids, g, lr) { weight_decay = 0.5 } : f32[5, 3], f32[2]"),
            "{text}"
        );
        assert!(text.contains("assign(memory, g) : f32[2, 3]"), "{text}");
    }
}
