//! Every operator on the emulated CUDA kernels.

use hrmc::backend::Device;
use hrmc::backend::cuda::launch::{Task, launches};
use hrmc::graph::ops::{AdamAtan2, AdamW, Assign, Average};
use hrmc::graph::{Graph, Op, TensorType};
use hrmc::ir::Precision;
use hrmc::plan::{Demands, plan_for};

use crate::emulator::{Contents, Emulator, ORDERS};
use crate::running::{Loaded, graph_of, result_names};
use crate::samples::{Agreement, Sample, Sizes, Values};

/// Returns the bits of contents, by the names of [`running::add_inputs`](crate::running::add_inputs).
fn contents(inputs: &[(TensorType, Values)]) -> Contents {
    let bits = |values: &Values| match values {
        Values::F32(values) => values.clone(),
        Values::I32(values) => values.iter().map(|&value| f32::from_bits(value.cast_unsigned())).collect(),
    };
    inputs.iter().enumerate().map(|(index, (_, values))| (format!("input.{index}"), bits(values))).collect()
}

/// Says where a sample gives something else on `emulator` than on `device`, in any order of threads.
pub fn differs(emulator: &Emulator, sample: &Sample, device: Device) -> Option<String> {
    let expected = Loaded::new(graph_of(sample), device).run(&sample.inputs);
    let tolerance = match sample.agreement {
        Agreement::Exact => 0.0,
        // Sums have at most some two hundred terms no larger than four, rounded to half of `f32::EPSILON` each: ten
        // times less in practice, since the errors have either sign.
        Agreement::Rounded => 1e-4,
    };
    ORDERS.into_iter().find_map(|order| {
        let graph: Graph = graph_of(sample);
        let names = result_names(&graph);
        match emulator.run(&plan_for(&graph, Demands::cuda(Precision::F32)), &contents(&sample.inputs), order)
        {
            Err(problem) => Some(format!("order {order}: {problem}")),
            Ok(mut found) => {
                found.retain(|name, _| names.contains(name));
                crate::running::difference_within(&found, &expected, tolerance)
                    .map(|problem| format!("order {order}: {problem}"))
            }
        }
    })
}

/// Sizes that fill more than one tile, warp or block of each kernel and end within another.
pub const LARGE: [Sizes; 2] = [
    Sizes { batch: 2, positions: 70, heads: 2, half: 18, inner: 37, vocab: 41 },
    Sizes { batch: 9, positions: 11, heads: 1, half: 37, inner: 66, vocab: 70 },
];

/// Elements of the tensors that are updated together: fewer than a block has threads, and more than one chunk.
const TENSORS: [usize; 4] = [3, 4096, 9000, 300];

/// Returns a graph of updates by one rule of the tensors of some numbers, and the contents of its memory.
fn updates(op: &Op, numbers: &[usize]) -> (Graph, Contents) {
    let mut graph = Graph::new();
    let mut contents = Contents::new();
    let tensors = op.as_operation().in_place().len() + 1;
    let scalars = if tensors == 4 { 3 } else { 0 };
    for &number in numbers {
        let mut inputs = Vec::new();
        for index in 0..tensors + scalars {
            let is_tensor = index < tensors;
            let name = if is_tensor { format!("{number}.{index}") } else { format!("scalar.{index}") };
            let (size, shift) = if is_tensor { (TENSORS[number], number) } else { (1, 0) };
            // Uneven, and positive where a second moment is.
            let value = |at: usize| 0.6 + (0.37 * (at + 7 * index + shift) as f32).sin() / 2.0;
            contents.insert(name.clone(), (0..size).map(value).collect());
            inputs.push(graph.input(&name, TensorType::f32(&[size])));
        }
        graph.add(op.clone(), &inputs);
    }
    (graph, contents)
}

#[test]
fn updates_of_many_tensors_have_the_bits_of_single_ones() {
    let Some(emulator) = crate::emulator::emulator() else { return };
    let ops: [Op; 4] = [
        AdamAtan2 { beta1: 0.9, beta2: 0.95, weight_decay: 0.1 }.into(),
        AdamW { beta1: 0.9, beta2: 0.95, weight_decay: 0.1, eps: 1e-3 }.into(),
        Average { rate: 0.9 }.into(),
        Assign.into(),
    ];
    for op in ops {
        let run = |numbers: &[usize], order| {
            let (graph, contents) = updates(&op, numbers);
            let plan = plan_for(&graph, Demands::cuda(Precision::F32));
            let steps = launches(&plan).steps;
            assert!(matches!(&steps[..], [step] if matches!(step.task, Task::Kernel(_))), "{steps:?}");
            emulator.run(&plan, &contents, order).unwrap_or_else(|problem| panic!("{op:?}: {problem}"))
        };
        for order in ORDERS {
            let all = run(&[0, 1, 2, 3], order);
            for number in 0..TENSORS.len() {
                for (name, single) in run(&[number], order) {
                    let bits =
                        |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&all[&name]), bits(&single), "{op:?}: {name}");
                }
            }
        }
    }
}
