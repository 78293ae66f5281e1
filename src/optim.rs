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
pub struct Slots<'a> {
    /// The weight.
    pub weight: Value,
    /// Its gradient; `None` counts as zero and leaves the weight to its decay.
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

/// Adds the update of one weight, and of its average.
pub fn update(graph: &mut Graph, rule: &Rule, slots: &Slots<'_>, step: StepNames) {
    let ty = graph.ty(slots.weight).clone();
    let m = graph.input(slots.moment1, ty.clone());
    let v = graph.input(slots.moment2, ty.clone());
    let scalars = [step.lr, step.scale, step.root_scale].map(|name| graph.input(name, TensorType::f32(&[1])));
    let op: Op = match rule {
        Rule::AdamAtan2(rule) => rule.clone().into(),
        Rule::AdamW(rule) => rule.clone().into(),
    };
    let updated = graph.add(op, &[slots.weight, m, v, slots.gradient, scalars[0], scalars[1], scalars[2]])[0];
    if let Some((name, rate)) = slots.average {
        let average = graph.input(name, ty);
        graph.add(Average { rate }.into(), &[average, updated]);
    }
}

/// Adds the sign update of the rows of `table` that occur in `ids`.
pub fn update_rows(
    graph: &mut Graph,
    rule: SignSgdRows,
    table: Value,
    ids: Value,
    gradient: Value,
    lr: &str,
) {
    let lr = graph.input(lr, TensorType::f32(&[1]));
    graph.add(rule.into(), &[table, ids, gradient, lr]);
}

/// Stores `value` in the input `memory` at the end of the run.
pub fn store(graph: &mut Graph, memory: Value, value: Value) {
    graph.add(Assign.into(), &[memory, value]);
}
