//! Runs small graphs on a device and compares what comes out.

use std::collections::BTreeMap;

use hrmc::internals::device::{Device, EngineOptions, Executable, Form, Session};
use hrmc::internals::graph::decomposed::updated_inputs;
use hrmc::internals::graph::ops::Scale;
use hrmc::internals::graph::{Graph, Op, TensorType, Value, validate};
use hrmc::internals::ir::Precision;
use hrmc::internals::plan::plan_for;

use crate::samples::{Agreement, Sample, Values};

/// Everything a graph computes, by name: its outputs, and the memory it overwrites.
pub type Results = BTreeMap<String, Vec<f32>>;

/// Adds the inputs of a sample, `input.0`, `input.1`, ….
pub fn add_inputs(graph: &mut Graph, inputs: &[(TensorType, Values)]) -> Vec<Value> {
    inputs
        .iter()
        .enumerate()
        .map(|(index, (ty, _))| graph.input(&format!("input.{index}"), ty.clone()))
        .collect()
}

/// Returns the graph of one operator: `output.0`, `output.1`, …, or the memory it overwrites.
pub fn graph_of(sample: &Sample) -> Graph {
    let mut graph = Graph::new();
    let mut inputs = add_inputs(&mut graph, &sample.inputs);
    if sample.op.as_operation().is_view() {
        // A named output has memory of its own, so what is viewed must not be an input.
        inputs[0] = graph.add1(Scale { factor: 1.0 }.into(), &[inputs[0]]);
    }
    let outputs = graph.add(sample.op.clone(), &inputs);
    let replaced: Vec<usize> = sample.op.as_operation().in_place().iter().map(|pair| pair.1).collect();
    for (index, output) in outputs.into_iter().enumerate() {
        if !replaced.contains(&index) {
            graph.set_output(&format!("output.{index}"), output);
        }
    }
    assert_eq!(validate(&graph), Ok(()));
    graph
}

/// Returns the names of what a graph computes.
pub fn result_names(graph: &Graph) -> Vec<String> {
    let mut names: Vec<String> = graph.outputs().keys().cloned().collect();
    for node in graph.order() {
        names.extend(updated_inputs(graph, node).into_iter().map(|(name, _)| name));
    }
    names
}

/// A graph loaded on a device.
pub struct Loaded {
    session: Session,
    results: Vec<String>,
}

impl Loaded {
    /// Loads a graph on a device, which computes in f32.
    pub fn new(graph: Graph, device: &dyn Device) -> Self {
        Loaded::in_precision(graph, device, Precision::F32)
    }

    /// Loads a graph on a device.
    pub fn in_precision(graph: Graph, device: &dyn Device, precision: Precision) -> Self {
        let results = result_names(&graph);
        let executable = match device.form() {
            Form::Plan => Executable::Plan(plan_for(&graph, device.demands(precision))),
            Form::Graph => Executable::Graph(graph),
        };
        let options = EngineOptions { threads: 2 };
        let mut session = Session::open(device, &options).expect("two threads can start");
        session.load("program", executable).expect("small programs fit");
        Loaded { session, results }
    }

    /// Sets an input.
    pub fn set(&mut self, name: &str, values: &Values) {
        match values {
            Values::F32(values) => {
                self.session.f32_mut(name).expect("the device gives it").copy_from_slice(values)
            }
            Values::I32(values) => {
                self.session.i32_mut(name).expect("the device gives it").copy_from_slice(values)
            }
        }
    }

    /// Sets `input.0`, `input.1`, … and runs.
    pub fn run(&mut self, inputs: &[(TensorType, Values)]) -> Results {
        for (index, (_, values)) in inputs.iter().enumerate() {
            self.set(&format!("input.{index}"), values);
        }
        self.session.run("program").expect("the device does not fail");
        self.results
            .iter()
            .map(|name| (name.clone(), self.session.f32(name).expect("the device gives it").to_vec()))
            .collect()
    }
}

/// Says where two results differ by more than their agreement allows, if anywhere.
///
/// Sums of the samples have at most some forty terms no larger than four; rounding them in another order moves
/// the sum by far less than `40 * 4 * f32::EPSILON`, about 2e-5.
pub fn difference(found: &Results, expected: &Results, agreement: Agreement) -> Option<String> {
    let tolerance = match agreement {
        Agreement::Exact => 0.0,
        Agreement::Rounded => 2e-5,
    };
    difference_within(found, expected, tolerance)
}

/// Largest difference of results relative to `1 + |expected|`.
///
/// Sums have at most some two hundred terms no larger than four, rounded to half of `f32::EPSILON` each: ten
/// times less in practice, since the errors have either sign.
pub const TOLERANCE: f32 = 1e-4;

/// Says where two results differ by more than `tolerance (1 + |expected|)`, if anywhere.
pub fn difference_within(found: &Results, expected: &Results, tolerance: f32) -> Option<String> {
    assert!(found.keys().eq(expected.keys()), "both have the same results");
    for (name, expected) in expected {
        for (at, (&found, &expected)) in found[name].iter().zip(expected).enumerate() {
            let within = (found - expected).abs() <= tolerance * (1.0 + expected.abs());
            if !within {
                return Some(format!("{name}[{at}] is {found}, expected {expected}"));
            }
        }
    }
    None
}

/// Returns the operators of a graph, inputs left out.
pub fn operators(graph: &Graph) -> Vec<&'static str> {
    graph
        .order()
        .into_iter()
        .filter(|&node| !matches!(graph.op(node), Op::Input(_)))
        .map(|node| graph.op(node).as_operation().name())
        .collect()
}
