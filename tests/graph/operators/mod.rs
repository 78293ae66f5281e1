//! Every operator: its CPU kernel and its CUDA kernels against its decomposition into luminal's primitives, and
//! its gradient rule against finite differences.

mod emulated;
mod gpu;
mod planted;
mod rows;
mod tensor;

use std::collections::BTreeSet;

use hrmc::internals::autodiff::differentiate;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::cuda::kernels::{Kernel, Template};
use hrmc::internals::device::cuda::launch::{Element, launches};
use hrmc::internals::device::reference::Reference;
use hrmc::internals::graph::ops::{
    AdamAtan2, AdamW, Add, AddRmsNorm, Attention, Detach, Linear, LinearAddRmsNorm, LinearSwiGlu, RmsNorm,
    Rotate, Scale, SignSgdRows, SwiGlu,
};
use hrmc::internals::graph::{Graph, Op, TensorType, Value};
use hrmc_testing::emulator::ORDERS;
use hrmc_testing::running::{Loaded, add_inputs, difference, graph_of, operators};
use hrmc_testing::samples::{self, Agreement, Draw, LARGE, Sample, Sizes, Values, every_operator};
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use emulated::{LONG, Narrow, WIDE};

fn sizes() -> impl Strategy<Value = Sizes> {
    (1..=3_usize, 1..=4_usize, 1..=3_usize, 1..=2_usize, 1..=4_usize, 2..=5_usize).prop_map(
        |(batch, positions, heads, half, inner, vocab)| Sizes { batch, positions, heads, half, inner, vocab },
    )
}

/// Calls `check` with a number of small drawn samples; the same ones every time.
fn for_samples(cases: u32, sample: fn(&mut Draw) -> Sample, check: impl Fn(&Sample) -> Option<String>) {
    for_samples_of(sizes(), cases, sample, check);
}

/// Does the same with samples of these sizes.
fn for_samples_of(
    sizes: impl Strategy<Value = Sizes>,
    cases: u32,
    sample: fn(&mut Draw) -> Sample,
    check: impl Fn(&Sample) -> Option<String>,
) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&(sizes, any::<u64>()), |(sizes, seed)| {
        let sample = sample(&mut Draw::new(sizes, seed));
        match check(&sample) {
            None => Ok(()),
            Some(problem) => Err(TestCaseError::fail(format!("{sample:?}: {problem}"))),
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn kernel_and_decomposition_agree(sample: &Sample) -> Option<String> {
    let fast = Loaded::new(graph_of(sample), &Cpu).run(&sample.inputs);
    let plain = Loaded::new(graph_of(sample), &Reference).run(&sample.inputs);
    assert!(!fast.is_empty(), "something is compared");
    difference(&fast, &plain, sample.agreement)
}

/// Step of the differences. A difference of four points errs by `step⁴ / 30` of the fifth derivative; rounding of
/// the values by about `1e-7 / step`. Both are below 1e-5 for the functions at hand.
const STEP: f32 = 1.0 / 32.0;

/// Largest difference between a gradient and its estimate, relative to `1 + |gradient|`: fifty times the errors
/// above, and far below any wrong factor.
const GRADIENT_TOLERANCE: f64 = 5e-4;

/// Compares the gradient of `sum(cotangent output)` with finite differences, for each of `wanted` inputs.
fn gradient_and_differences_agree(
    inputs: &[(TensorType, Values)],
    wanted: &[usize],
    build: &dyn Fn(&mut Graph, &[Value]) -> Value,
) -> Option<String> {
    let mut graph = Graph::new();
    let values = add_inputs(&mut graph, inputs);
    let output = build(&mut graph, &values);
    let ty = graph.ty(output).clone();
    // Any smooth and uneven weights do; these have no symmetry an error could hide behind.
    let cotangent: Vec<f32> = (0..ty.elements()).map(|index| (1.7 * index as f32 + 0.5).sin()).collect();
    let seed = graph.input("cotangent", ty);
    let wanted_values: Vec<Value> = wanted.iter().map(|&index| values[index]).collect();
    let gradients = differentiate(&mut graph, output, seed, &wanted_values);
    for (index, gradient) in wanted.iter().zip(gradients) {
        let gradient = gradient.unwrap_or_else(|| panic!("input {index} has a gradient"));
        // Several inputs may share one gradient, and it may be the seed itself; outputs have memory of their own.
        let copy = graph.add1(Scale { factor: 1.0 }.into(), &[gradient]);
        graph.set_output(&format!("gradient.{index}"), copy);
    }
    let mut loaded = Loaded::new(graph, &Cpu);
    loaded.set("cotangent", &Values::F32(cotangent.clone()));
    let gradients = loaded.run(inputs);

    let mut forward = Graph::new();
    let values = add_inputs(&mut forward, inputs);
    let output = build(&mut forward, &values);
    let output = forward.add1(Scale { factor: 1.0 }.into(), &[output]);
    forward.set_output("output", output);
    let mut forward = Loaded::new(forward, &Cpu);
    let mut point = inputs.to_vec();
    for &index in wanted {
        let gradient = &gradients[&format!("gradient.{index}")];
        for (at, &gradient) in gradient.iter().enumerate() {
            let mut value = |steps: f32| {
                let (Values::F32(moved), Values::F32(original)) = (&mut point[index].1, &inputs[index].1)
                else {
                    panic!("input {index} is differentiable")
                };
                moved[at] = original[at] + steps * STEP;
                let output = &forward.run(&point)["output"];
                output
                    .iter()
                    .zip(&cotangent)
                    .map(|(&y, &weight)| f64::from(y) * f64::from(weight))
                    .sum::<f64>()
            };
            let near = value(1.0) - value(-1.0);
            let far = value(2.0) - value(-2.0);
            value(0.0);
            let estimate = (8.0 * near - far) / (12.0 * f64::from(STEP));
            let gradient = f64::from(gradient);
            let within = (gradient - estimate).abs() <= GRADIENT_TOLERANCE * (1.0 + gradient.abs());
            if !within {
                return Some(format!("gradient.{index}[{at}] is {gradient}, differences say {estimate}"));
            }
        }
    }
    None
}

/// Compares the CUDA kernels of an operator with its decomposition over small samples, and with its CPU kernel over
/// large ones.
fn emulated_cuda_agrees(sample: fn(&mut Draw) -> Sample) {
    let Some(runner) = gpu::runner() else { return };
    for_samples(16, sample, |sample| emulated::differs(runner, sample, &Reference));
    for (seed, sizes) in LARGE.into_iter().enumerate() {
        // Some samples draw what they are, so more than one is drawn.
        for draw in 0..3 {
            let sample = sample(&mut Draw::new(sizes, 10 * seed as u64 + draw));
            let found = emulated::differs(runner, &sample, &Cpu);
            assert_eq!(
                found,
                None,
                "{:?} of {:?}",
                sample.op,
                sample.inputs.iter().map(|it| &it.0).collect::<Vec<_>>()
            );
        }
    }
}

/// Compares the CUDA kernels of an operator for bf16 with its decomposition, for bf16 in each place that can have it
/// over small samples, and with its CPU kernel for bf16 everywhere over large ones.
fn emulated_cuda_agrees_in_bf16(sample: fn(&mut Draw) -> Sample) {
    let Some(runner) = gpu::runner() else { return };
    let orders = || ORDERS.into_iter().cycle();
    for_samples(3, sample, |sample| {
        let sample = emulated::rounded(sample);
        Narrow::all(&sample).zip(orders()).find_map(|(narrow, order)| {
            emulated::differs_in_bf16(runner, &sample, narrow, order, &Reference)
                .map(|problem| format!("{narrow:?}, order {order}: {problem}"))
        })
    });
    for (sizes, order) in LARGE.into_iter().chain([WIDE, LONG]).zip(orders()) {
        for draw in 0..3 {
            let sample = emulated::rounded(&sample(&mut Draw::new(sizes, draw)));
            let narrow = Narrow::all(&sample).last().expect("there is a choice");
            let found = emulated::differs_in_bf16(runner, &sample, narrow, order, &Cpu);
            assert_eq!(found, None, "{:?}", sample.op);
        }
    }
}

/// Makes five tests of each operator, the last for those that are differentiable, with the inputs a
/// gradient goes to. An operator that is missing here does not compile.
macro_rules! operators {
    ($($variant:ident => $sample:ident $(($($input:literal),+))?),+ $(,)?) => {
        fn assert_sample_is_of(name: &str, op: &Op) {
            let found = match op {
                Op::Input(_) => "input",
                $(Op::$variant(_) => stringify!($sample),)+
            };
            assert_eq!(found, name);
        }

        mod kernel_equals_decomposition {
            $(#[test]
            fn $sample() {
                super::for_samples(64, super::samples::$sample, |sample| {
                    super::assert_sample_is_of(stringify!($sample), &sample.op);
                    super::kernel_and_decomposition_agree(sample)
                });
            })+
        }

        mod emulated_cuda_equals_decomposition {
            $(#[test]
            fn $sample() {
                super::emulated_cuda_agrees(super::samples::$sample);
            })+
        }

        mod emulated_cuda_in_bf16_equals_decomposition {
            $(#[test]
            fn $sample() {
                super::emulated_cuda_agrees_in_bf16(super::samples::$sample);
            })+
        }

        /// The samples of all operators.
        const SAMPLES: &[fn(&mut Draw) -> Sample] = &[$(samples::$sample),+];

        mod gradient_equals_differences {
            $($(#[test]
            fn $sample() {
                super::for_samples(16, super::samples::$sample, |sample| {
                    super::gradient_and_differences_agree(&sample.inputs, &[$($input),+], &|graph, inputs| {
                        graph.add(sample.op.clone(), inputs)[0]
                    })
                });
            })?)+
        }
    };
}

every_operator!(operators);

#[test]
fn samples_in_bf16_reach_every_kernel() {
    // What hands on what it reads yields f32 only from f32. Products read bf16, on tensor cores if they write it too.
    let hands_on = |template| {
        use Template::{Add, AddSuffix, CopyAxis, Pad, Scale, Transpose};
        [Add, AddSuffix, CopyAxis, Pad, Scale, Transpose].contains(&template)
    };
    let never = |kernel: &Kernel| match kernel.elements[..] {
        [Element::F32, ref rest @ ..] if hands_on(kernel.template) => rest.contains(&Element::Bf16),
        [Element::F32, Element::Bf16] => false,
        _ => kernel.template == Template::LinearSwiglu,
    };
    let all = Kernel::all();
    let mut missing: BTreeSet<String> =
        all.iter().filter(|kernel| !never(kernel)).map(Kernel::name).collect();
    for sample in SAMPLES {
        // Some samples draw what they are.
        for (seed, sizes) in (0..8).flat_map(|seed| [SIZES, LARGE[1], WIDE, LONG].map(|sizes| (seed, sizes)))
        {
            let sample = sample(&mut Draw::new(sizes, seed));
            for narrow in Narrow::all(&sample) {
                let (plan, _) = emulated::plan_in_bf16(&sample, narrow);
                for kernel in launches(&plan).kernels() {
                    missing.remove(&kernel.name());
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

const SIZES: Sizes = Sizes { batch: 2, positions: 3, heads: 2, half: 1, inner: 3, vocab: 3 };

#[test]
fn a_value_used_twice_gets_the_sum_of_its_contributions() {
    let mut draw = Draw::new(SIZES, 1);
    let inputs = [draw.even(&[2, 3, 4]), draw.even(&[4, 4])];
    // `x` is used three times: by a product, by the sum behind it, and twice by the last sum.
    let found = gradient_and_differences_agree(&inputs, &[0, 1], &|graph, values| {
        let product = graph.add1(Linear.into(), &[values[0], values[1]]);
        let sum = graph.add1(Add.into(), &[product, values[0]]);
        let twice = graph.add1(Add.into(), &[values[0], values[0]]);
        let again = graph.add1(Linear.into(), &[sum, values[1]]);
        graph.add1(Add.into(), &[again, twice])
    });
    assert_eq!(found, None);
}

#[test]
fn gradients_flow_through_a_whole_block() {
    let mut draw = Draw::new(SIZES, 2);
    let shapes: [&[usize]; 5] = [&[2, 3, 4], &[12, 4], &[4, 4], &[6, 4], &[4, 3]];
    let inputs = shapes.map(|shape| draw.even(shape));
    let found = gradient_and_differences_agree(&inputs, &[0, 1, 2, 3, 4], &|graph, values| {
        let [x, qkv, out, gate_up, down] = values[..] else { panic!("five inputs") };
        let qkv = graph.add1(Linear.into(), &[x, qkv]);
        let qkv = graph.add1(Rotate { heads: 2, theta: 30.0, inverse: false }.into(), &[qkv]);
        let mixed = graph.add(Attention { heads: 2, rope_theta: None }.into(), &[qkv])[0];
        let mixed = graph.add1(Linear.into(), &[mixed, out]);
        let sum = graph.add1(Add.into(), &[x, mixed]);
        let x = graph.add(RmsNorm { eps: 0.1 }.into(), &[sum])[0];
        let wide = graph.add1(Linear.into(), &[x, gate_up]);
        let hidden = graph.add1(SwiGlu.into(), &[wide]);
        let change = graph.add1(Linear.into(), &[hidden, down]);
        let sum = graph.add1(Add.into(), &[x, change]);
        graph.add(RmsNorm { eps: 0.1 }.into(), &[sum])[0]
    });
    assert_eq!(found, None);
}

#[test]
fn detach_lets_no_gradient_through() {
    let mut graph = Graph::new();
    let ty = TensorType::f32(&[2, 3]);
    let x = graph.input("x", ty.clone());
    let y = graph.input("y", ty.clone());
    let seed = graph.input("seed", ty);
    let cut = graph.add1(Detach.into(), &[x]);
    let sum = graph.add1(Add.into(), &[cut, y]);
    let before = graph.operators();
    assert_eq!(differentiate(&mut graph, sum, seed, &[x, y]), [None, Some(seed)]);
    assert_eq!(graph.operators(), before, "nothing is computed for what is cut off");
}

#[test]
fn nothing_is_computed_for_inputs_that_no_one_asks_about() {
    let mut graph = Graph::new();
    let x = graph.input("x", TensorType::f32(&[2, 3]));
    let w = graph.input("w", TensorType::f32(&[4, 3]));
    let seed = graph.input("seed", TensorType::f32(&[2, 4]));
    let y = graph.add1(Linear.into(), &[x, w]);
    let gradients = differentiate(&mut graph, y, seed, &[w]);
    assert!(gradients[0].is_some());
    assert_eq!(operators(&graph), ["linear", "linear_grad_weight"]);
}

#[test]
fn the_gradient_of_what_the_loss_does_not_depend_on_is_none() {
    let mut graph = Graph::new();
    let ty = TensorType::f32(&[2]);
    let [x, y, seed] = ["x", "y", "seed"].map(|name| graph.input(name, ty.clone()));
    let loss = graph.add1(Scale { factor: 2.0 }.into(), &[x]);
    assert_eq!(differentiate(&mut graph, loss, seed, &[y]), [None]);
}

/// Compares a fused operator with the composition of its parts, both on the CPU, over drawn samples.
fn fused_equals(sample: fn(&mut Draw) -> Sample, compose: fn(&mut Graph, &Op, &[Value]) -> Vec<Value>) {
    for_samples(24, sample, |sample| {
        let mut graph = Graph::new();
        let inputs = add_inputs(&mut graph, &sample.inputs);
        for (index, output) in compose(&mut graph, &sample.op, &inputs).into_iter().enumerate() {
            graph.set_output(&format!("output.{index}"), output);
        }
        let parts = Loaded::new(graph, &Cpu).run(&sample.inputs);
        let fused = Loaded::new(graph_of(sample), &Cpu).run(&sample.inputs);
        difference(&fused, &parts, Agreement::Rounded)
    });
}

#[test]
fn add_rms_norm_equals_sum_and_norm() {
    fused_equals(samples::add_rms_norm, |graph, op, inputs| {
        let Op::AddRmsNorm(AddRmsNorm { eps }) = *op else { panic!("a fused norm") };
        let sum = graph.add1(Add.into(), inputs);
        graph.add(RmsNorm { eps }.into(), &[sum])
    });
}

#[test]
fn linear_add_rms_norm_equals_product_sum_and_norm() {
    fused_equals(samples::linear_add_rms_norm, |graph, op, inputs| {
        let Op::LinearAddRmsNorm(LinearAddRmsNorm { eps }) = *op else { panic!("a fused norm") };
        let product = graph.add1(Linear.into(), &inputs[..2]);
        let sum = graph.add1(Add.into(), &[inputs[2], product]);
        graph.add(RmsNorm { eps }.into(), &[sum])
    });
}

#[test]
fn linear_swiglu_equals_product_and_gate() {
    fused_equals(samples::linear_swiglu, |graph, op, inputs| {
        let Op::LinearSwiGlu(LinearSwiGlu { keep }) = *op else { panic!("a fused gate") };
        let wide = graph.add1(Linear.into(), inputs);
        let hidden = graph.add1(SwiGlu.into(), &[wide]);
        if keep { vec![hidden, wide] } else { vec![hidden] }
    });
}

#[test]
fn attention_with_rope_equals_rotation_and_attention() {
    fused_equals(samples::attention, |graph, op, inputs| {
        let Op::Attention(attention) = op else { panic!("attention") };
        let heads = attention.heads;
        let qkv = match attention.rope_theta {
            Some(theta) => graph.add1(Rotate { heads, theta, inverse: false }.into(), inputs),
            None => inputs[0],
        };
        graph.add(Attention { heads, rope_theta: None }.into(), &[qkv])
    });
}

#[test]
fn attention_grad_with_rope_equals_rotation_there_and_back() {
    fused_equals(samples::attention_grad, |graph, op, inputs| {
        let Op::AttentionGrad(grad) = op else { panic!("a gradient of attention") };
        let heads = grad.heads;
        let Some(theta) = grad.rope_theta else { return graph.add(op.clone(), inputs) };
        let mut inputs = inputs.to_vec();
        inputs[0] = graph.add1(Rotate { heads, theta, inverse: false }.into(), &inputs[..1]);
        let plain = hrmc::internals::graph::ops::AttentionGrad { heads, rope_theta: None };
        let turned = graph.add1(plain.into(), &inputs);
        vec![graph.add1(Rotate { heads, theta, inverse: true }.into(), &[turned])]
    });
}

/// One weight with its moments and gradient: three elements, so that every sign occurs.
const WEIGHT: [f64; 3] = [0.5, -2.0, 0.25];
const MOMENT1: [f64; 3] = [0.1, -0.3, 0.0];
const MOMENT2: [f64; 3] = [0.02, 0.5, 0.1];
const GRADIENT: [f64; 3] = [-0.4, 0.2, 1.5];

/// Compares one update with the formula, where `step(m, v, left)` is what a weight is moved by over the learning
/// rate, given its first moment as it is, the second one corrected, and the correction `1 - beta1^t` of the first.
fn update_is_the_formula(op: &Op, step: impl Fn(f64, f64, f64) -> f64) {
    let (lr, beta1, beta2, weight_decay, time) = (0.01, 0.9, 0.95, 0.5, 3);
    let [left1, left2] = [beta1, beta2].map(|beta: f64| 1.0 - beta.powi(time));
    let row = |values: [f64; 3]| (TensorType::f32(&[1, 3]), Values::F32(values.map(|v| v as f32).to_vec()));
    let scalar = |value: f64| (TensorType::f32(&[1]), Values::F32(vec![value as f32]));
    let mut inputs: Vec<_> = [WEIGHT, MOMENT1, MOMENT2, GRADIENT].map(row).into();
    inputs.extend([lr, lr / left1, 1.0 / left2.sqrt()].map(scalar));
    let mut graph = Graph::new();
    let values = add_inputs(&mut graph, &inputs);
    graph.add(op.clone(), &values);
    let found = Loaded::new(graph, &Cpu).run(&inputs);
    for at in 0..3 {
        let m = beta1 * MOMENT1[at] + (1.0 - beta1) * GRADIENT[at];
        let v = beta2 * MOMENT2[at] + (1.0 - beta2) * GRADIENT[at] * GRADIENT[at];
        let w = WEIGHT[at] - lr * weight_decay * WEIGHT[at] - lr * step(m, v / left2, left1);
        for (name, expected) in [("input.0", w), ("input.1", m), ("input.2", v)] {
            // A handful of f32 roundings of numbers of about one.
            let error = (f64::from(found[name][at]) - expected).abs();
            assert!(error < 1e-6, "{name}[{at}]: {} instead of {expected}", found[name][at]);
        }
    }
}

#[test]
fn adam_w_is_the_formula() {
    // An `eps` that can be seen.
    let op = AdamW { beta1: 0.9, beta2: 0.95, weight_decay: 0.5, eps: 0.1 }.into();
    update_is_the_formula(&op, |m, v, left| m / left / (v.sqrt() + 0.1));
}

#[test]
fn adam_atan2_is_the_formula() {
    let op = AdamAtan2 { beta1: 0.9, beta2: 0.95, weight_decay: 0.5 }.into();
    // The published code corrects the first moment outside of `atan2`.
    update_is_the_formula(&op, |m, v, left| m.atan2(v.sqrt()) / left);
}

#[test]
fn sign_sgd_moves_the_rows_that_occur_by_the_sign_of_their_summed_gradient() {
    let inputs = [
        (TensorType::f32(&[3, 2]), Values::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        (TensorType::i32(&[3]), Values::I32(vec![2, 0, 2])),
        (TensorType::f32(&[3, 2]), Values::F32(vec![0.5, -1.0, 0.0, 0.25, -2.0, -1.0])),
        (TensorType::f32(&[1]), Values::F32(vec![0.1])),
    ];
    let mut graph = Graph::new();
    let values = add_inputs(&mut graph, &inputs);
    graph.add(SignSgdRows { weight_decay: 0.5 }.into(), &values);
    let found = Loaded::new(graph, &Cpu).run(&inputs);
    // Each is `w (1 - 0.1 * 0.5) - 0.1 sign(g)`; the gradients of row 2 sum to -1.5 and -2, row 1 does not occur.
    let expected: [f32; 6] = [0.95, 1.9 - 0.1, 3.0, 4.0, 4.75 + 0.1, 5.7 + 0.1];
    for (found, expected) in found["input.0"].iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }
}
