//! Every operator on the CUDA kernels, emulated or on a GPU.

use half::bf16;
use hrmc::internals::device::Device;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::cuda::launch::{Task, launches};
use hrmc::internals::device::reference::Reference;
use hrmc::internals::graph::ops::{AdamAtan2, AdamW, Assign, Average, Scale, SignSgdRows};
use hrmc::internals::graph::{Graph, Op, TensorType};
use hrmc::internals::ir::Precision;
use hrmc::internals::plan::{Demands, Plan, plan_for, round_factors};

use hrmc_testing::emulator::{Contents, ORDERS};
use hrmc_testing::running::{Loaded, TOLERANCE, add_inputs, difference_within, graph_of, result_names};
use hrmc_testing::samples::{Agreement, Sample, Sizes, Values};

use super::gpu::{self, Runner};

/// Returns the bits of contents, by the names of [`running::add_inputs`](hrmc_testing::running::add_inputs).
fn contents(inputs: &[(TensorType, Values)]) -> Contents {
    let bits = |values: &Values| match values {
        Values::F32(values) => values.clone(),
        Values::I32(values) => values.iter().map(|&value| f32::from_bits(value.cast_unsigned())).collect(),
    };
    inputs.iter().enumerate().map(|(index, (_, values))| (format!("input.{index}"), bits(values))).collect()
}

/// Says where a sample gives something else on `runner` than on `device`, in any order of threads.
pub fn differs(runner: &dyn Runner, sample: &Sample, device: &dyn Device) -> Option<String> {
    let expected = Loaded::new(graph_of(sample), device).run(&sample.inputs);
    let tolerance = match sample.agreement {
        Agreement::Exact => 0.0,
        Agreement::Rounded => TOLERANCE,
    };
    ORDERS.into_iter().find_map(|order| {
        let graph: Graph = graph_of(sample);
        let names = result_names(&graph);
        match runner.run(&plan_for(&graph, Demands::cuda(Precision::F32)), &contents(&sample.inputs), order) {
            Err(problem) => Some(format!("order {order}: {problem}")),
            Ok(mut found) => {
                found.retain(|name, _| names.contains(name));
                difference_within(&found, &expected, tolerance)
                    .map(|problem| format!("order {order}: {problem}"))
            }
        }
    })
}

/// Which inputs and outputs of an operator lie in bf16, as bits: inputs first, then all outputs at once.
#[derive(Debug, Clone, Copy)]
pub struct Narrow(pub usize);

impl Narrow {
    /// Returns every choice for a sample; inputs that are no f32 or change in place are what they are.
    pub fn all(sample: &Sample) -> impl Iterator<Item = Narrow> + use<> {
        let replaced: Vec<usize> = sample.op.as_operation().in_place().iter().map(|pair| pair.0).collect();
        let mut free = 1 << sample.inputs.len();
        for (index, (_, values)) in sample.inputs.iter().enumerate() {
            if matches!(values, Values::F32(_)) && !replaced.contains(&index) {
                free |= 1 << index;
            }
        }
        (0..2 << sample.inputs.len()).filter(move |choice| choice & !free == 0).map(Narrow)
    }
}

/// Returns a sample whose inputs bf16 can hold.
pub fn rounded(sample: &Sample) -> Sample {
    let mut sample = sample.clone();
    for (_, values) in &mut sample.inputs {
        if let Values::F32(values) = values {
            for value in values {
                *value = bf16::from_f32(*value).to_f32();
            }
        }
    }
    sample
}

/// Returns the plan of one operator that reads and writes bf16 where `narrow` says so: named memory is f32, so copies
/// of inputs go before it, and what it yields is stored behind it.
pub fn plan_in_bf16(sample: &Sample, narrow: Narrow) -> (Plan, Vec<String>) {
    let mut graph = Graph::new();
    let mut inputs = add_inputs(&mut graph, &sample.inputs);
    for (index, input) in inputs.iter_mut().enumerate() {
        // A named output has memory of its own, so what is viewed must not be an input.
        let viewed = index == 0 && sample.op.as_operation().is_view();
        if viewed || narrow.0 >> index & 1 == 1 {
            *input = graph.add1(Scale { factor: 1.0 }.into(), &[*input]);
        }
    }
    let outputs = graph.add(sample.op.clone(), &inputs);
    let replaced: Vec<usize> = sample.op.as_operation().in_place().iter().map(|pair| pair.1).collect();
    for (index, output) in outputs.into_iter().enumerate().filter(|(index, _)| !replaced.contains(index)) {
        let name = format!("output.{index}");
        if narrow.0 >> sample.inputs.len() & 1 == 1 {
            let memory = graph.input(&name, graph.ty(output).clone());
            graph.add(Assign.into(), &[memory, output]);
        } else {
            graph.set_output(&name, output);
        }
    }
    round_factors(&mut graph);
    let names = result_names(&graph);
    (plan_for(&graph, Demands::cuda(Precision::Bf16)), names)
}

/// Says where a sample whose inputs bf16 can hold gives something else with kernels for bf16.
///
/// A result that is stored in bf16, with eight significant bits, is off by 2^-8 of it at most. Where a call is several
/// kernels, what is between them is rounded as well, and a result is made of two such terms, each as large as the
/// largest result at most.
pub fn differs_in_bf16(
    runner: &dyn Runner,
    sample: &Sample,
    narrow: Narrow,
    order: i32,
    device: &dyn Device,
) -> Option<String> {
    let expected = Loaded::new(graph_of(sample), device).run(&sample.inputs);
    let (plan, names) = plan_in_bf16(sample, narrow);
    let mut found = match runner.run(&plan, &contents(&sample.inputs), order) {
        Ok(found) => found,
        Err(problem) => return Some(problem),
    };
    found.retain(|name, _| names.contains(name));
    let half = 1.0 / 256.0;
    let largest = expected.values().flatten().fold(0.0_f32, |most, value| most.max(value.abs()));
    let tolerance = match sample.op {
        Op::LinearAddRmsNorm(_) | Op::LinearSwiGlu(_) | Op::Attention(_) | Op::AttentionGrad(_) => {
            half * (1.0 + 2.0 * largest)
        }
        _ => half + 1e-4,
    };
    let inexact = |value: &f32| value.to_bits() & 0xffff != 0;
    match sample.agreement {
        Agreement::Exact if !expected.values().flatten().any(inexact) => {
            difference_within(&found, &expected, 0.0)
        }
        Agreement::Exact | Agreement::Rounded => difference_within(&found, &expected, tolerance),
    }
}

/// A head that is too wide for tensor cores.
pub const WIDE: Sizes = Sizes { batch: 2, positions: 9, heads: 1, half: 66, inner: 3, vocab: 5 };

/// A row that is too long for one block of attention.
pub const LONG: Sizes = Sizes { batch: 1, positions: 130, heads: 2, half: 9, inner: 3, vocab: 5 };

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
        let results = graph.add(op.clone(), &inputs);
        for &squares in results.get(tensors - 1..).unwrap_or(&[]) {
            graph.set_output(&format!("{number}.squares"), squares);
        }
    }
    (graph, contents)
}

#[test]
fn updates_of_many_tensors_have_the_bits_of_single_ones() {
    let Some(runner) = gpu::runner() else { return };
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
            runner.run(&plan, &contents, order).unwrap_or_else(|problem| panic!("{op:?}: {problem}"))
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

/// Returns what each device says of a sample in the output of this number: the CPU, the reference, then CUDA in every
/// order of threads.
fn said(sample: &Sample, output: usize) -> Vec<Vec<f32>> {
    let name = format!("output.{output}");
    let devices: [&dyn Device; 2] = [&Cpu, &Reference];
    let mut said: Vec<Vec<f32>> = devices
        .map(|device| Loaded::new(graph_of(sample), device).run(&sample.inputs)[&name].clone())
        .to_vec();
    if let Some(runner) = gpu::runner() {
        let plan = plan_for(&graph_of(sample), Demands::cuda(Precision::F32));
        said.extend(ORDERS.map(|order| {
            let found = runner.run(&plan, &contents(&sample.inputs), order);
            found.unwrap_or_else(|problem| panic!("{sample:?}: {problem}"))[&name].clone()
        }));
    }
    said
}

fn constant(shape: &[usize], value: f32) -> (TensorType, Values) {
    let ty = TensorType::f32(shape);
    let values = vec![value; ty.elements()];
    (ty, Values::F32(values))
}

fn plant(inputs: &mut [(TensorType, Values)], input: usize, at: usize, value: f32) {
    let Values::F32(values) = &mut inputs[input].1 else { panic!("numbers are planted in numbers") };
    values[at] = value;
}

#[test]
fn every_device_sums_up_squares_and_says_which_stretches_of_a_weight_are_spoiled() {
    let ops: [Op; 2] = [
        AdamAtan2 { beta1: 0.9, beta2: 0.95, weight_decay: 0.1 }.into(),
        AdamW { beta1: 0.9, beta2: 0.95, weight_decay: 0.1, eps: 1e-3 }.into(),
    ];
    let (weight, gradient) = (AdamW::WEIGHT, AdamW::GRADIENT);
    let cases = [
        (gradient, 4095, f32::NAN, [true, false, false]),
        (gradient, 4096, f32::NEG_INFINITY, [false, true, false]),
        // Its square is not finite.
        (gradient, 8999, 1e30, [false, false, true]),
        (weight, 0, f32::INFINITY, [true, false, false]),
        (weight, 8191, f32::MAX, [false; 3]),
    ];
    for op in ops {
        for (input, at, value, expected) in cases {
            let mut inputs = vec![constant(&[9, 1000], 0.5); 4];
            inputs.extend([constant(&[1], 0.1), constant(&[1], 0.2), constant(&[1], 1.5)]);
            plant(&mut inputs, input, at, value);
            let sample = Sample { op: op.clone(), inputs, agreement: Agreement::Rounded };
            for squares in said(&sample, AdamW::SQUARES) {
                // Each gradient is 0.5; the sums are exact.
                for ((sum, is_spoiled), elements) in squares.into_iter().zip(expected).zip([4096, 4096, 808])
                {
                    let is_right = if is_spoiled { !sum.is_finite() } else { sum == 0.25 * elements as f32 };
                    assert!(is_right, "{op:?}: {sum} for {value} at {at} of input {input}");
                }
            }
        }
    }
}

#[test]
fn every_device_sums_up_squares_and_says_which_rows_of_a_table_are_spoiled() {
    let squares = |ids: [i32; 3], input: usize, at: usize, value: f32| {
        let mut inputs = vec![constant(&[4, 300], 0.5)];
        inputs.push((TensorType::i32(&[3]), Values::I32(ids.to_vec())));
        inputs.extend([constant(&[3, 300], 0.25), constant(&[1], 0.1)]);
        plant(&mut inputs, input, at, value);
        let op = SignSgdRows { weight_decay: 0.1 }.into();
        said(&Sample { op, inputs, agreement: Agreement::Rounded }, SignSgdRows::SQUARES)
    };
    for (ids, input, at, value, expected) in [
        // The reference multiplies each gradient with zero for the rows that are not its own.
        ([2, 2, 2], SignSgdRows::GRADIENT, 299, f32::INFINITY, [None; 3]),
        ([2, 0, 2], SignSgdRows::TABLE, 0, f32::NEG_INFINITY, [Some(75.0), None, Some(75.0)]),
        ([2, 0, 2], SignSgdRows::TABLE, 899, f32::NAN, [None, Some(18.75), None]),
        // Nothing reads that row.
        ([2, 0, 2], SignSgdRows::TABLE, 300, f32::NAN, [Some(75.0), Some(18.75), Some(75.0)]),
    ] {
        // 300 gradients of 0.25 in each row of the batch, whose sums are exact.
        for squares in squares(ids, input, at, value) {
            let finite: Vec<_> = squares.iter().map(|&sum| sum.is_finite().then_some(sum)).collect();
            assert_eq!(finite, expected, "{value} at {at} of input {input}");
        }
    }
}
