//! The costs of two models, figure by figure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Census;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureUnit {
    /// Elements of tensors.
    Elements,
    /// Floating-point operations.
    Flops,
    /// Bytes.
    Bytes,
    /// Rows of a batch.
    Rows,
}

/// A figure of both specs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CostChange {
    pub(crate) name: String,
    pub(crate) unit: FigureUnit,
    /// Absent where the first spec has no such thing.
    pub(crate) old: Option<u64>,
    /// Absent where the second spec has no such thing.
    pub(crate) new: Option<u64>,
}

/// Returns every figure of two censuses, equal ones too.
pub(super) fn cost_changes(a: &Census, b: &Census) -> Vec<CostChange> {
    let mut changes = Vec::new();
    let mut add = |name: String, unit: FigureUnit, old: Option<u64>, new: Option<u64>| {
        // Zero stands for an absent part, as in the census.
        if old.is_some_and(|count| count > 0) || new.is_some_and(|count| count > 0) {
            changes.push(CostChange { name, unit, old, new });
        }
    };
    let network = |census: &Census, name: &str| {
        census.parameters.networks.iter().find(|network| network.name == name).map(|it| it.parameters)
    };
    let mut seen = BTreeSet::new();
    for one in a.parameters.networks.iter().chain(&b.parameters.networks) {
        if seen.insert(&one.name) {
            let name = format!("parameters of network {}", one.name);
            add(name, FigureUnit::Elements, network(a, &one.name), network(b, &one.name));
        }
    }
    let parts = |census: &Census| {
        let parameters = &census.parameters;
        [
            ("token embedding", FigureUnit::Elements, parameters.token_embedding),
            ("position embedding", FigureUnit::Elements, parameters.position_embedding),
            ("puzzle table", FigureUnit::Elements, parameters.puzzle_table),
            ("token head", FigureUnit::Elements, parameters.token_head),
            ("q head", FigureUnit::Elements, parameters.q_head),
            ("all parameters", FigureUnit::Elements, parameters.total),
            ("batch", FigureUnit::Rows, census.batch as u64),
        ]
    };
    let training = |census: &Census| {
        census.train.as_ref().map(|train| [train.program.flops, train.kept_bytes, train.program.memory.peak])
    };
    let evaluation = |census: &Census| {
        [
            ("work of an evaluation segment", FigureUnit::Flops, census.evaluate.flops),
            ("peak memory of evaluation", FigureUnit::Bytes, census.evaluate.memory.peak),
        ]
    };
    for ((name, unit, old), (_, _, new)) in parts(a).into_iter().zip(parts(b)) {
        add(name.to_string(), unit, Some(old), Some(new));
    }
    let (old, new) = (training(a), training(b));
    for (index, (name, unit)) in [
        ("work of a training segment", FigureUnit::Flops),
        ("activations kept", FigureUnit::Bytes),
        ("peak memory of training", FigureUnit::Bytes),
    ]
    .into_iter()
    .enumerate()
    {
        let figure = |figures: Option<[u64; 3]>| figures.map(|figures| figures[index]);
        add(name.to_string(), unit, figure(old), figure(new));
    }
    for ((name, unit, old), (_, _, new)) in evaluation(a).into_iter().zip(evaluation(b)) {
        add(name.to_string(), unit, Some(old), Some(new));
    }
    changes
}
