//! What luminal_cuda's compiler gets wrong, and that graphs are changed so that it does not come to it.
//!
//! Each test compiles one small graph in processes with the emulated driver (tier T0): as it is, which has to go
//! wrong, so that the test is known to test something, and changed, which has to be right. Without a C++
//! compiler these tests say so and pass.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use hrmc::internals::device::{EngineOptions, Executable, Places, Session};
use hrmc::internals::graph::ops::{Add, Assign, Embed, Scale};
use hrmc::internals::graph::{DType, Graph, TensorType};
use hrmc_baseline::LuminalCuda;
use hrmc_baseline::faults::avoid;
use hrmc_testing::fake_cuda;
use luminal::compiler_utils::ToIdsMut;
use luminal::graph_tensor::GraphTensor;
use luminal::op::{Contiguous, SumReduce};
use luminal::prelude::Matmul;
use luminal::shape::symbolic::Expression;
use luminal::shape::{Axes3, Axis, R0, R1, R2, R3, ShapeTracker};
use luminal_cuda::CudaCompiler;

/// Says in a process with the emulated driver how the graph is to be compiled.
const INSIDE: &str = "HRMC_TEST_GRAPH";

/// How a graph is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    AsItIs,
    Changed,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::AsItIs => "as it is",
            Form::Changed => "changed",
        }
    }
}

/// What a test expects of the emulated driver.
const WORKS: &str = "the emulated driver works";

fn open() -> Session {
    Session::open(&LuminalCuda::new(Places::default()), &EngineOptions { threads: 1 }).expect(WORKS)
}

fn session(graph: Graph) -> Session {
    let mut session = open();
    session.load("program", Executable::Graph(graph)).expect(WORKS);
    session
}

/// Runs `body` in a process for each form. As it is it must go wrong and say `symptom`; changed it must succeed.
fn differs(test: &str, symptom: &str, body: fn(Form)) {
    if let Some(form) = env::var_os(INSIDE) {
        // Has CUDA loaded and given to luminal_cuda.
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[1]));
        graph.set_output("y", x);
        drop(session(graph));
        body(if form == Form::AsItIs.name() { Form::AsItIs } else { Form::Changed });
        return;
    }
    let Some(libraries) = fake_cuda::libraries(env!("CARGO_TARGET_TMPDIR")) else { return };
    let [plain, changed] = [Form::AsItIs, Form::Changed].map(|form| again(test, form.name(), &libraries));
    assert!(!plain.status.success() && said(&plain).contains(symptom), "as it is: {}", said(&plain));
    assert!(changed.status.success(), "changed: {}", said(&changed));
}

/// Starts a test again, with the emulated driver.
fn again(test: &str, inside: &str, libraries: &Path) -> Output {
    Command::new(env::current_exe().expect("the test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, inside)
        .env("LD_LIBRARY_PATH", libraries)
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("the test can be started again")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn compile(graph: &mut luminal::graph::Graph, form: Form, results: impl ToIdsMut) {
    if form == Form::Changed {
        avoid(graph);
    }
    graph.compile(CudaCompiler::<f32>::default(), results);
    graph.execute();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7 + 3) % 11) as f32 - 5.0).collect()
}

/// `sum_k a[m][k] b[k][n]`, where `a` gives an element.
fn product(a: impl Fn(usize, usize) -> f32, b: &[f32], [rows, inner, columns]: [usize; 3]) -> Vec<f32> {
    let element = |row, column| (0..inner).map(|k| a(row, k) * b[k * columns + column]).sum();
    (0..rows * columns).map(|index| element(index / columns, index % columns)).collect()
}

#[test]
fn a_negation_that_others_read_stays() {
    differs("a_negation_that_others_read_stays", "panicked", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let a = graph.tensor::<R1<3>>().set(vec![1.0, 2.0, 3.0]);
        let b = graph.tensor::<R1<3>>().set(vec![4.0, -5.0, 6.0]);
        let negated = b * -1.0;
        let mut difference = (a + negated).retrieve();
        let mut power = negated.exp2().retrieve();
        compile(&mut graph, form, (&mut difference, &mut power));
        assert_eq!(difference.data(), [-3.0, 7.0, -3.0]);
        assert_eq!(power.data(), [0.0625, 32.0, 0.015625]);
    });
}

#[test]
fn a_product_that_others_read_stays() {
    differs("a_product_that_others_read_stays", "panicked", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let [a, b] = [numbers(2 * 3), numbers(4 * 3)];
        let left = graph.tensor::<R2<2, 3>>().set(a.clone());
        let right = graph.tensor::<R2<4, 3>>().set(b.clone());
        let terms = left.expand::<R3<2, 4, 3>, _>() * right.expand::<R3<2, 4, 3>, _>();
        let mut sums = terms.sum_reduce::<R2<2, 4>, _>().retrieve();
        let mut powers = terms.exp2().retrieve();
        compile(&mut graph, form, (&mut sums, &mut powers));
        let all: Vec<f32> = (0..24).map(|at| a[at / 12 * 3 + at % 3] * b[at % 12]).collect();
        assert_eq!(sums.data(), all.chunks(3).map(|terms| terms.iter().sum()).collect::<Vec<f32>>());
        assert_eq!(powers.data(), all.iter().map(|x| x.exp2()).collect::<Vec<_>>());
    });
}

#[test]
fn the_sum_of_a_turned_product_is_turned() {
    differs("the_sum_of_a_turned_product_is_turned", "left == right", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let [a, b] = [numbers(2 * 3), numbers(4 * 3)];
        let left = graph.tensor::<R2<2, 3>>().set(a.clone());
        let right = graph.tensor::<R2<4, 3>>().set(b.clone());
        let terms = left.expand::<R3<2, 4, 3>, _>() * right.expand::<R3<2, 4, 3>, _>();
        let turned = terms.permute::<R3<4, 2, 3>, Axes3<1, 0, 2>>();
        // luminal's own method is mistaken about the order of what it returns.
        let sum = graph.add_op(SumReduce(2)).input(turned.id, 0, turned.shape).finish();
        let shape = ShapeTracker::new(&[4.into(), 2.into()]);
        let mut found = GraphTensor::<R2<4, 2>>::from_id(sum, shape, &mut *graph).retrieve();
        compile(&mut graph, form, &mut found);
        let element = |row: usize, column: usize| (0..3).map(|k| a[row * 3 + k] * b[column * 3 + k]).sum();
        assert_eq!(found.data(), (0..8).map(|at| element(at % 2, at / 2)).collect::<Vec<f32>>());
    });
}

#[test]
fn a_batch_of_permuted_matrices_is_multiplied_in_its_order() {
    differs("a_batch_of_permuted_matrices_is_multiplied_in_its_order", "left == right", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let [a, b] = [numbers(3 * 2 * 4), numbers(4 * 5)];
        let left = graph.tensor::<R3<3, 2, 4>>().set(a.clone());
        let right = graph.tensor::<R2<4, 5>>().set(b.clone());
        let turned = left.permute::<R3<2, 3, 4>, Axes3<1, 0, 2>>();
        let mut found = turned.matmul(right).retrieve();
        compile(&mut graph, form, &mut found);
        let element = |row: usize, k: usize| a[(row % 3 * 2 + row / 3) * 4 + k];
        assert_eq!(found.data(), product(element, &b, [6, 4, 5]));
    });
}

#[test]
fn a_padded_factor_has_its_zeros() {
    differs("a_padded_factor_has_its_zeros", "fake CUDA: ", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let [a, b] = [numbers(3 * 4), numbers(4 * 5)];
        let left = graph.tensor::<R2<3, 4>>().set(a.clone());
        let right = graph.tensor::<R2<4, 5>>().set(b.clone());
        let padded = left.pad::<R2<2048, 4>, _, _>(&[(1, 2044), (0, 0)]);
        let mut found = padded.matmul(right).retrieve();
        compile(&mut graph, form, &mut found);
        let element = |row: usize, k: usize| if (1..4).contains(&row) { a[(row - 1) * 4 + k] } else { 0.0 };
        assert_eq!(found.data(), product(element, &b, [2048, 4, 5]));
    });
}

#[test]
fn a_sliced_factor_begins_at_its_slice() {
    differs("a_sliced_factor_begins_at_its_slice", "left == right", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let [a, b] = [numbers(4 * 4), numbers(4 * 5)];
        let left = graph.tensor::<R2<4, 4>>().set(a.clone());
        let right = graph.tensor::<R2<4, 5>>().set(b.clone());
        let part = left.slice((Expression::from(2).., ..)).realize::<R2<2, 4>>();
        let mut found = part.matmul(right).retrieve();
        compile(&mut graph, form, &mut found);
        assert_eq!(found.data(), product(|row, k| a[(row + 2) * 4 + k], &b, [2, 4, 5]));
    });
}

#[test]
fn a_factor_near_minus_one_keeps_its_value() {
    differs("a_factor_near_minus_one_keeps_its_value", "left == right", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let a = graph.tensor::<R1<2>>().set(vec![1.0, 2.0]);
        let b = graph.tensor::<R1<2>>().set(vec![1024.0, -4096.0]);
        let mut found = (a + b * -1.000_061).retrieve();
        compile(&mut graph, form, &mut found);
        assert_eq!(found.data(), [1.0 - 1024.0625, 2.0 + 4096.25]);
    });
}

#[test]
fn ones_that_are_copied_and_summed_are_not_counted() {
    differs("ones_that_are_copied_and_summed_are_not_counted", "left == right", |form| {
        let mut graph = Box::new(luminal::graph::Graph::new());
        let ones = graph.constant(1.0).expand::<R1<4>, _>();
        let mut copied = (ones.id, ones.shape);
        for _ in 0..4 {
            let copy = graph.add_op(Contiguous).input(copied.0, 0, copied.1).finish();
            copied = (copy, ShapeTracker::new(&[4.into()]));
        }
        let copied = GraphTensor::<R1<4>>::from_id(copied.0, copied.1, &mut *graph);
        let sum = copied.sum_reduce::<R0, Axis<0>>();
        let mut found = (sum + graph.constant(-1.0)).retrieve();
        compile(&mut graph, form, &mut found);
        assert_eq!(found.data(), [3.0]);
    });
}

/// Runs `body` in a process with the emulated driver.
fn inside(test: &str, body: fn()) {
    if env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    let Some(libraries) = fake_cuda::libraries(env!("CARGO_TARGET_TMPDIR")) else { return };
    let output = again(test, "inside", &libraries);
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{}", said(&output));
}

/// What a session loads is changed before luminal_cuda sees it, or this panics, as the tests above show.
#[test]
fn a_session_changes_what_it_loads() {
    inside("a_session_changes_what_it_loads", || {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[2]));
        let y = graph.input("y", TensorType::f32(&[2]));
        let negated = graph.add1(Scale { factor: -1.0 }.into(), &[y]);
        let difference = graph.add1(Add.into(), &[x, negated]);
        let shifted = graph.add1(Scale { factor: -1.000_061 }.into(), &[y]);
        let near = graph.add1(Add.into(), &[x, shifted]);
        for (name, value) in [("difference", difference), ("near", near), ("negated", negated)] {
            // What is kept is left alone by luminal_cuda.
            let doubled = graph.add1(Scale { factor: 2.0 }.into(), &[value]);
            graph.set_output(name, doubled);
        }
        let mut session = session(graph);
        session.f32_mut("x").expect(WORKS).copy_from_slice(&[1.0, 2.0]);
        session.f32_mut("y").expect(WORKS).copy_from_slice(&[1024.0, -4096.0]);
        session.run("program").expect(WORKS);
        assert_eq!(session.f32("difference").expect(WORKS), [-2046.0, 8196.0]);
        assert_eq!(session.f32("near").expect(WORKS), [2.0 - 2048.125, 4.0 + 8192.5]);
        assert_eq!(session.f32("negated").expect(WORKS), [-2048.0, 8192.0]);
    });
}

/// Results that are inputs, or one tensor under two names, and an input that nothing reads; run twice, with new
/// content between.
#[test]
fn results_may_be_inputs_and_each_other() {
    inside("results_may_be_inputs_and_each_other", || {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[2]));
        let state = graph.input("state", TensorType::f32(&[2]));
        graph.input("unread", TensorType::f32(&[2]));
        let sum = graph.add1(Add.into(), &[x, state]);
        graph.add1(Assign.into(), &[state, sum]);
        for (name, value) in [("same", x), ("sum", sum), ("again", sum)] {
            graph.set_output(name, value);
        }
        let mut session = session(graph);
        session.f32_mut("state").expect(WORKS).copy_from_slice(&[10.0, 20.0]);
        for run in 1..=2 {
            session.f32_mut("x").expect(WORKS).copy_from_slice(&[run as f32, 2.0]);
            session.run("program").expect(WORKS);
            assert_eq!(session.f32("same").expect(WORKS), [run as f32, 2.0]);
            assert_eq!(session.f32("sum").expect(WORKS), session.f32("again").expect(WORKS));
        }
        assert_eq!(session.f32("sum").expect(WORKS), [13.0, 24.0]);
        assert_eq!(session.f32("state").expect(WORKS), [13.0, 24.0]);
    });
}

/// Its kernels count elements in 32 bits: two to the power of 31 and more would not be computed, without a word.
#[test]
fn a_tensor_that_is_too_large_is_refused() {
    inside("a_tensor_that_is_too_large_is_refused", || {
        let mut graph = Graph::new();
        let table = graph.input("table", TensorType::f32(&[32_769, 1]));
        let ids = graph.input("ids", TensorType { shape: vec![65_536], dtype: DType::I32 });
        let found = graph.add1(Embed.into(), &[table, ids]);
        graph.set_output("found", found);
        let error = open().load("program", Executable::Graph(graph)).expect_err("it is too large");
        assert!(error.to_string().contains("a tensor of 2147549184 elements"), "{error}");
    });
}
