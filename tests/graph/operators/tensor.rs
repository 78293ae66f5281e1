//! The kernels on tensor cores: their emulated instructions against the layouts that NVIDIA documents, the kernels
//! against the operators in f32, and faults that are put into them.
//!
//! Inputs are rounded to bf16 before anything reads them, so that a difference is what the kernel rounds itself.

use std::ffi::c_int;

use half::bf16;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::cuda::tiles::{Heads, TileLaunch, linear_swiglu};
use hrmc::internals::graph::ops::{Attention, AttentionGrad, LinearSwiGlu, rope_tables};
use hrmc::internals::graph::{Op, TensorType};

use hrmc_testing::direct::{Piece, Value};
use hrmc_testing::emulator::{Emulator, ORDERS, emulator, text_of_kernels};
use hrmc_testing::running::{Loaded, Results, graph_of};
use hrmc_testing::samples::{Agreement, Draw, Sample, Sizes, Values};

use crate::CACHE;

const THETA: f32 = 30.0;

fn sizes(batch: usize, positions: usize, heads: usize, half: usize) -> Sizes {
    Sizes { batch, positions, heads, half, inner: 1, vocab: 2 }
}

fn heads_of(sizes: Sizes) -> Heads {
    let [batch, positions, heads, head_width] =
        [sizes.batch, sizes.positions, sizes.heads, 2 * sizes.half].map(|size| size as u64);
    Heads { batch, positions, heads, head_width }
}

/// Numbers between -1 and 1 that bf16 has.
fn rounded(draw: &mut Draw, shape: &[usize]) -> Vec<f32> {
    let Values::F32(values) = draw.even(shape).1 else { unreachable!("even numbers are f32") };
    values.into_iter().map(|value| bf16::from_f32(value).to_f32()).collect()
}

/// Returns the results of an operator in f32 on the CPU.
fn expected(op: impl Into<Op>, inputs: &[(&[usize], &[f32])]) -> Results {
    let inputs = inputs.iter().map(|(shape, values)| (TensorType::f32(shape), Values::F32(values.to_vec())));
    let sample = Sample { op: op.into(), inputs: inputs.collect(), agreement: Agreement::Rounded };
    Loaded::new(graph_of(&sample), &Cpu).run(&sample.inputs)
}

/// Says where numbers differ by more than `tolerance (1 + |expected|)`, if anywhere.
fn difference(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> Option<String> {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).enumerate().find_map(|(at, (found, expected))| {
        let within = (found - expected).abs() <= tolerance * (1.0 + expected.abs());
        (!within).then(|| format!("{what}[{at}] is {found}, expected {expected}"))
    })
}

/// Tables of attention, as arguments.
struct Tables(Option<[Piece; 2]>);

impl Tables {
    fn of(sizes: Sizes, theta: Option<f32>) -> Tables {
        Tables(theta.map(|theta| {
            let (cos, sin) = rope_tables(sizes.positions, 2 * sizes.half, theta);
            [Piece::of_f32(&cos), Piece::of_f32(&sin)]
        }))
    }

    fn arguments(&mut self) -> [Value<'_>; 2] {
        match &mut self.0 {
            Some([cos, sin]) => [Value::Memory(cos), Value::Memory(sin)],
            None => [Value::Null, Value::Null],
        }
    }
}

/// Launches a kernel of attention on values and on what all of them take: tables, scale, and sizes.
fn launch<'a>(
    emulator: &Emulator,
    (blocks, heads): (TileLaunch, Heads),
    mut values: Vec<Value<'a>>,
    tables: &'a mut Tables,
    order: c_int,
) -> Result<(), String> {
    let scale = 1.0 / (heads.head_width as f32).sqrt();
    values.extend(tables.arguments());
    values.push(Value::Number(scale));
    values.extend([heads.positions, heads.heads, heads.head_width].map(Value::Size));
    emulator.launch(blocks.kernel.name(), blocks.blocks, blocks.threads, &mut values, order)
}

/// Largest error of attention, of the largest value plus what is expected. Rotated queries and keys, weights and
/// results are rounded, each by at most `2^-8` of itself; products of them are exact, and sums are in f32. Errors of
/// the terms of a score and of the weights of a mean have either sign, so that little more than the last rounding is
/// left; the worst that is seen is half of this.
const ATTENTION_TOLERANCE: f32 = 1.0 / 256.0;
/// Log-sum-exp has the error of scores alone, averaged with weights.
const LSE_TOLERANCE: f32 = 1.0 / 1024.0;

/// Largest error of a gradient of attention, of the largest element of its third. The result is rounded by up to `2^-8`
/// of itself; what is rounded before it has errors of either sign, and they add up to less. What attention gave is
/// rounded too: where it is used, and few positions have all the weight, its error shows.
const GRADIENT_TOLERANCE: f32 = 1.0 / 128.0;
const GRADIENT_TOLERANCE_WITH_OUT: f32 = 1.0 / 64.0;

/// How attention is drawn.
#[derive(Debug, Clone, Copy)]
struct Case {
    sizes: Sizes,
    theta: Option<f32>,
    /// What numbers of `qkv` are multiplied by. Larger ones make few weights large; they are drawn without rotation,
    /// so that scores have no error.
    factor: f32,
}

/// Says where attention in bf16 differs from attention in f32.
fn attention_differs(emulator: &Emulator, case: Case, orders: &[c_int]) -> Option<String> {
    let Case { sizes, theta, factor } = case;
    let heads = heads_of(sizes);
    let (width, rows) = (sizes.heads * 2 * sizes.half, sizes.batch * sizes.positions);
    let shape = [sizes.batch, sizes.positions, 3 * width];
    let qkv: Vec<f32> =
        rounded(&mut Draw::new(sizes, 1), &shape).into_iter().map(|value| factor * value).collect();
    let results = expected(Attention { heads: sizes.heads, rope_theta: theta }, &[(&shape, &qkv)]);
    let blocks = heads.attention().expect("the heads are narrow enough");
    orders.iter().find_map(|&order| {
        let mut tables = Tables::of(sizes, theta);
        let mut out = Piece::unwritten(2 * rows * width);
        let mut lse = Piece::unwritten(4 * rows * sizes.heads);
        let mut qkv = Piece::of_bf16(&qkv);
        let values = [&mut out, &mut lse, &mut qkv].map(Value::Memory).into();
        let ran = launch(emulator, (blocks, heads), values, &mut tables, order);
        let problem = ran.err().or_else(|| {
            difference("out", &out.bf16(), &results["output.0"], factor * ATTENTION_TOLERANCE)
                .or_else(|| difference("lse", &lse.f32(), &results["output.1"], LSE_TOLERANCE))
        });
        problem.map(|problem| format!("{case:?}, order {order}: {problem}"))
    })
}

/// How the gradient of attention is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    TwoLaunches,
    /// The first of the two is given what attention gave.
    TwoLaunchesWithOut,
    /// Where the head is short.
    OneLaunch,
}

/// Says where the gradient of attention in bf16, made in any way, differs from the one in f32, which other tests
/// compare with finite differences.
fn attention_grad_differs(emulator: &Emulator, case: Case, orders: &[c_int]) -> Option<String> {
    let Case { sizes, theta, factor } = case;
    let heads = heads_of(sizes);
    let (width, rows) = (sizes.heads * 2 * sizes.half, sizes.batch * sizes.positions);
    let (shape, narrow) = ([sizes.batch, sizes.positions, 3 * width], [sizes.batch, sizes.positions, width]);
    let mut draw = Draw::new(sizes, 3);
    let qkv: Vec<f32> = rounded(&mut draw, &shape).into_iter().map(|value| factor * value).collect();
    let dout = rounded(&mut draw, &narrow);
    let forward = expected(Attention { heads: sizes.heads, rope_theta: theta }, &[(&shape, &qkv)]);
    let (out, lse) = (&forward["output.0"], &forward["output.1"]);
    let lse_shape = [sizes.batch, sizes.heads, sizes.positions];
    let inputs: [(&[usize], &[f32]); 3] = [(&shape, &qkv), (&lse_shape, lse), (&narrow, &dout)];
    let results = expected(AttentionGrad { heads: sizes.heads, rope_theta: theta }, &inputs);
    let blocks = heads.attention_grad().expect("the heads are narrow enough");
    let ways = [Way::TwoLaunches, Way::TwoLaunchesWithOut, Way::OneLaunch];
    let ways =
        ways.into_iter().filter(|&way| way != Way::OneLaunch || heads.attention_grad_short().is_some());
    let ways: Vec<(c_int, Way)> =
        ways.flat_map(|way| orders.iter().map(move |&order| (order, way))).collect();
    ways.into_iter().find_map(|(order, way)| {
        let mut tables = Tables::of(sizes, theta);
        let mut dqkv = Piece::unwritten(2 * rows * 3 * width);
        let mut delta = Piece::unwritten(4 * rows * sizes.heads);
        let [mut qkv, mut out, mut dout] = [&qkv, out, &dout].map(|values| Piece::of_bf16(values));
        let mut lse = Piece::of_f32(lse);
        let with_out = way == Way::TwoLaunchesWithOut;
        let tolerance = if with_out { GRADIENT_TOLERANCE_WITH_OUT } else { GRADIENT_TOLERANCE };
        let ran = if way == Way::OneLaunch {
            let blocks = heads.attention_grad_short().expect("the heads are short");
            let values = [&mut dqkv, &mut delta, &mut qkv, &mut lse, &mut dout].map(Value::Memory);
            launch(emulator, (blocks, heads), values.into(), &mut tables, order)
        } else {
            let out = if with_out { Value::Memory(&mut out) } else { Value::Null };
            let mut values: Vec<Value<'_>> = [&mut dqkv, &mut delta, &mut qkv].map(Value::Memory).into();
            values.extend([out, Value::Memory(&mut lse), Value::Memory(&mut dout)]);
            launch(emulator, (blocks[0], heads), values, &mut tables, order).and_then(|()| {
                let values = [&mut dqkv, &mut qkv, &mut lse, &mut dout, &mut delta].map(Value::Memory);
                launch(emulator, (blocks[1], heads), values.into(), &mut tables, order)
            })
        };
        let problem =
            ran.err().or_else(|| thirds_differ(&dqkv.bf16(), &results["output.0"], width, tolerance));
        problem.map(|problem| format!("{case:?}, order {order}, {way:?}: {problem}"))
    })
}

/// Says where one of three gradients differs by more than `tolerance` of the largest element of that third.
fn thirds_differ(found: &[f32], expected: &[f32], width: usize, tolerance: f32) -> Option<String> {
    let third = |values: &[f32], index: usize| -> Vec<f32> {
        values.chunks(3 * width).flat_map(|row| row[index * width..][..width].to_vec()).collect()
    };
    ["dq", "dk", "dv"].into_iter().enumerate().find_map(|(index, what)| {
        let (found, expected) = (third(found, index), third(expected, index));
        let most = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        found.iter().zip(&expected).enumerate().find_map(|(at, (found, expected))| {
            let within = (found - expected).abs() <= tolerance * most;
            (!within).then(|| format!("{what}[{at}] is {found}, expected {expected}; at most {most}"))
        })
    })
}

/// Sizes of attention: within a tile and across, whole units and not, heads of both kernels.
const ATTENTION_SIZES: [(usize, usize, usize, usize); 12] = [
    (1, 1, 1, 1),
    (2, 3, 2, 4),
    (1, 17, 3, 3),
    (2, 33, 1, 8),
    (1, 31, 2, 5),
    (1, 82, 2, 16),
    (2, 32, 1, 32),
    (1, 82, 2, 32),
    (1, 150, 1, 32),
    (1, 40, 2, 37),
    (1, 90, 1, 64),
    (1, 70, 1, 48),
];

fn for_attention_cases(differs: impl Fn(Case) -> Option<String>) {
    for (batch, positions, heads, half) in ATTENTION_SIZES {
        let sizes = sizes(batch, positions, heads, half);
        for (theta, factor) in [(None, 1.0), (None, 4.0), (Some(THETA), 1.0)] {
            assert_eq!(differs(Case { sizes, theta, factor }), None);
        }
    }
}

#[test]
fn attention_equals_attention_in_f32() {
    let Some(emulator) = emulator(CACHE) else { return };
    for_attention_cases(|case| attention_differs(emulator, case, &ORDERS));
}

#[test]
fn a_head_that_is_too_wide_has_no_kernel() {
    assert_eq!(heads_of(sizes(1, 1, 1, 65)).attention(), None);
    assert_eq!(heads_of(sizes(1, 1, 1, 65)).attention_grad(), None);
    assert_eq!(heads_of(sizes(1, 1, 1, 33)).attention_grad_short(), None);
    assert_eq!(heads_of(sizes(1, 97, 1, 32)).attention_grad_short(), None);
}

#[test]
fn the_gradient_of_attention_equals_the_one_in_f32() {
    let Some(emulator) = emulator(CACHE) else { return };
    for_attention_cases(|case| attention_grad_differs(emulator, case, &ORDERS));
}

/// Largest error of the gated product, of `1 + |expected|`. Products are exact, and sums, of at most 250 terms below
/// one, are in f32; then the gate, what it gates and the result are rounded, each by at most `2^-8` of itself. An error
/// of the gate moves the gated unit by at most 1.3 times as much: 3.3 times `2^-8`.
const GATED_TOLERANCE: f32 = 1.0 / 64.0;
/// The product is rounded once.
const PRODUCT_TOLERANCE: f32 = 1.01 / 256.0;

/// Says where the gated product in bf16 differs from the one in f32, or from itself where the product is not kept.
fn gated_product_differs(
    emulator: &Emulator,
    [rows, inner, terms]: [usize; 3],
    orders: &[c_int],
) -> Option<String> {
    let mut draw = Draw::new(sizes(1, 1, 1, 1), 2);
    let (x_shape, w_shape) = ([rows, terms], [2 * inner, terms]);
    let (x, w) = (rounded(&mut draw, &x_shape), rounded(&mut draw, &w_shape));
    let results = expected(LinearSwiGlu { keep: true }, &[(&x_shape, &x), (&w_shape, &w)]);
    let blocks = linear_swiglu(rows as u64, inner as u64);
    orders.iter().find_map(|&order| {
        let mut outs = [(); 2].map(|()| Piece::unwritten(2 * rows * inner));
        let mut wide = Piece::unwritten(4 * rows * inner);
        let (mut x, mut w) = (Piece::of_bf16(&x), Piece::of_bf16(&w));
        let problem = outs.iter_mut().enumerate().find_map(|(keep, out)| {
            let wide = if keep == 1 { Value::Memory(&mut wide) } else { Value::Null };
            let mut values = vec![Value::Memory(out), wide, Value::Memory(&mut x), Value::Memory(&mut w)];
            values.extend([rows, inner, terms].map(|size| Value::Size(size as u64)));
            emulator.launch(blocks.kernel.name(), blocks.blocks, blocks.threads, &mut values, order).err()
        });
        let problem = problem.or_else(|| {
            difference("out", &outs[1].bf16(), &results["output.0"], GATED_TOLERANCE)
                .or_else(|| difference("wide", &wide.bf16(), &results["output.1"], PRODUCT_TOLERANCE))
                .or_else(|| (outs[0].content() != outs[1].content()).then(|| "kept or not".to_string()))
        });
        problem.map(|problem| format!("{rows} {inner} {terms}, order {order}: {problem}"))
    })
}

#[test]
fn the_gated_product_equals_the_one_in_f32() {
    let Some(emulator) = emulator(CACHE) else { return };
    let cases = [
        [1, 1, 1],
        [3, 5, 7],
        [17, 8, 16],
        [70, 37, 36],
        [257, 64, 32],
        [256, 65, 33],
        [100, 128, 96],
        [300, 72, 250],
    ];
    for case in cases {
        assert_eq!(gated_product_differs(emulator, case, &ORDERS), None);
    }
}

/// A kernel for each instruction, and its wrapper. What lanes hold is in memory, lane by lane.
const PROBES: &str = r#"
#line 1 "probes"
extern "C" __global__ void probe_multiply(float *sums, const u32 *left, const u32 *right) {
  float s[4] = {};
  u32 a[4], b[2];
  for (int i = 0; i < 4; i++) a[i] = left[threadIdx.x * 4 + i];
  for (int i = 0; i < 2; i++) b[i] = right[threadIdx.x * 2 + i];
  multiply(s, a, b);
  for (int i = 0; i < 4; i++) sums[threadIdx.x * 4 + i] = s[i];
}
extern "C" __global__ void probe_matrices(u32 *plain, u32 *turned, const u32 *rows, const Bf16 *content) {
  __shared__ Unit tile[32];
  copy_unit(tile + threadIdx.x, content + 8 * threadIdx.x, 8);
  close_copies();
  await_copies<0>();
  __syncthreads();
  u32 words[4];
  load_matrices(words, tile + rows[threadIdx.x]);
  for (int i = 0; i < 4; i++) plain[threadIdx.x * 4 + i] = words[i];
  load_matrices_turned(words, tile + rows[threadIdx.x]);
  for (int i = 0; i < 4; i++) turned[threadIdx.x * 4 + i] = words[i];
}
extern "C" __global__ void probe_copies(Unit *out, const Bf16 *content) {
  __shared__ Unit tile[4];
  for (int i = 0; i < 3; i++) {
    copy_unit(tile + i, content + 8 * i, i == 1 ? 5 : 8);
    close_copies();
  }
  await_copies<1>();
  for (int i = 0; i < 3; i++) out[i] = tile[i];
  await_copies<0>();
  out[3] = tile[2];
}
#define PROBE(name) \
  extern "C" const char *emulate_##name(uint64_t blocks, unsigned x, unsigned y, void **values, int order) { \
    return emulator::launch([](void **values) { emulator::call(name, values); }, blocks, x, y, values, order); \
  }
PROBE(probe_multiply)
PROBE(probe_matrices)
PROBE(probe_copies)
"#;

fn probes() -> Option<Emulator> {
    Emulator::of(&format!("{}{PROBES}", text_of_kernels()), CACHE)
}

/// Elements of a matrix that are small integers, so that bf16 has them and sums of their products are exact.
fn element(row: usize, column: usize) -> f32 {
    ((7 * row + 3 * column) % 17) as f32 - 8.0
}

/// Row and column of element `index` of the left factor that `lane` holds, as the PTX documentation has it for
/// `mma.m16n8k16` with 16 bits: `groupID = lane >> 2`, `threadID_in_group = lane % 4`, and
/// `row = groupID` for `i < 2` and `4 <= i < 6`, else `groupID + 8`;
/// `col = threadID_in_group * 2 + (i & 1)` for `i < 4`, else 8 more.
fn left_place(lane: usize, index: usize) -> (usize, usize) {
    let row = [0, 0, 8, 8, 0, 0, 8, 8][index];
    let column = [0, 1, 0, 1, 8, 9, 8, 9][index];
    (lane / 4 + row, lane % 4 * 2 + column)
}

/// Of the right factor: `row = threadID_in_group * 2 + (i & 1)` for `i < 2`, else 8 more; `col = groupID`.
fn right_place(lane: usize, index: usize) -> (usize, usize) {
    (lane % 4 * 2 + [0, 1, 8, 9][index], lane / 4)
}

/// Of the sums: `row = groupID` for `i < 2`, else 8 more; `col = threadID_in_group * 2 + (i & 1)`.
fn sums_place(lane: usize, index: usize) -> (usize, usize) {
    (lane / 4 + [0, 0, 8, 8][index], lane % 4 * 2 + [0, 1, 0, 1][index])
}

/// Elements of all lanes, those of each in order.
fn held(each: usize, element: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    (0..32)
        .flat_map(|lane| (0..each).map(move |index| (lane, index)))
        .map(|(lane, index)| element(lane, index))
        .collect()
}

#[test]
fn the_twin_of_a_product_has_the_documented_fragments() {
    let Some(emulator) = probes() else { return };
    let left = |row, column| element(row, column);
    let right = |row, column| element(column + 5, row);
    let expected = held(4, |lane, index| {
        let (row, column) = sums_place(lane, index);
        (0..16).map(|term| left(row, term) * right(term, column)).sum()
    });
    for order in ORDERS {
        let mut sums = Piece::unwritten(32 * 4 * 4);
        let mut left = Piece::of_bf16(&held(8, |lane, index| {
            left(left_place(lane, index).0, left_place(lane, index).1)
        }));
        let mut right = Piece::of_bf16(&held(4, |lane, index| {
            right(right_place(lane, index).0, right_place(lane, index).1)
        }));
        let mut values = [&mut sums, &mut left, &mut right].map(Value::Memory);
        assert_eq!(emulator.launch("probe_multiply", 1, [32, 1], &mut values, order), Ok(()));
        assert_eq!(sums.f32(), expected);
    }
}

#[test]
fn the_twin_of_loads_has_the_documented_fragments() {
    let Some(emulator) = probes() else { return };
    // Rows are where they are by no rule that a wrong lane could share. bf16 has the integers up to 256.
    let place = |row: usize| row * 13 % 32;
    let content: Vec<f32> = (0..256).map(|index| index as f32).collect();
    let at = |matrix: usize, row: usize, column: usize| content[8 * place(8 * matrix + row) + column];
    // Thread `lane` receives elements `lane % 4 * 2` and the next of row `lane / 4` of each matrix, in its register;
    // turned around, of column `lane / 4`.
    let plain = held(8, |lane, index| at(index / 2, lane / 4, lane % 4 * 2 + index % 2));
    let turned = held(8, |lane, index| at(index / 2, lane % 4 * 2 + index % 2, lane / 4));
    for order in ORDERS {
        let mut found = [Piece::unwritten(32 * 16), Piece::unwritten(32 * 16)];
        let [found_plain, found_turned] = &mut found;
        let mut rows =
            Piece::of_f32(&(0..32).map(|row| f32::from_bits(place(row) as u32)).collect::<Vec<_>>());
        let mut content = Piece::of_bf16(&content);
        let mut values = [found_plain, found_turned, &mut rows, &mut content].map(Value::Memory);
        assert_eq!(emulator.launch("probe_matrices", 1, [32, 1], &mut values, order), Ok(()));
        assert_eq!(found[0].bf16(), plain);
        assert_eq!(found[1].bf16(), turned);
    }
}

#[test]
fn the_twin_of_copies_makes_them_at_once_or_as_late_as_may_be() {
    let Some(emulator) = probes() else { return };
    let content: Vec<f32> = (1..=24).map(|index| index as f32).collect();
    for order in ORDERS {
        let mut out = Piece::unwritten(4 * 16);
        let mut from = Piece::of_bf16(&content);
        let mut values = [&mut out, &mut from].map(Value::Memory);
        assert_eq!(emulator.launch("probe_copies", 1, [1, 1], &mut values, order), Ok(()));
        let out = out.bf16();
        assert_eq!(out[..8], content[..8]);
        assert_eq!(out[8..16], [9.0, 10.0, 11.0, 12.0, 13.0, 0.0, 0.0, 0.0]);
        // What is not waited for is there only where copies are made at once.
        let there = order == ORDERS[0];
        assert!(out[16..24].iter().zip(&content[16..]).all(|(found, copied)| there == (found == copied)));
        assert_eq!(out[24..], content[16..]);
    }
}

/// Asserts that a fault in the kernels' text is found: `wrong` in place of the first `right`.
fn assert_found(right: &str, wrong: &str, differs: impl Fn(&Emulator) -> Option<String>) {
    let text = text_of_kernels();
    assert!(text.contains(right), "`{right}` stands in the kernels");
    if let Some(emulator) = Emulator::of(&text.replacen(right, wrong, 1), CACHE) {
        assert!(differs(&emulator).is_some(), "`{wrong}` in place of `{right}` is found");
    }
}

/// Two parts of a warp, several tiles of others, the last one not full.
fn attention_in_tiles(emulator: &Emulator) -> Option<String> {
    let case = Case { sizes: sizes(1, 82, 2, 32), theta: Some(THETA), factor: 1.0 };
    attention_differs(emulator, case, &ORDERS)
}

#[test]
fn a_missing_barrier_of_attention_is_found() {
    let right = "// From here on all see this tile, and nobody needs the other one.\n    __syncthreads();";
    assert_found(right, "", attention_in_tiles);
    let right = "// Nobody may overwrite what others still read.\n  __syncthreads();";
    assert_found(right, "", attention_in_tiles);
    let right = "// The next part, or whoever comes next, uses the same memory.\n    __syncthreads();";
    assert_found(right, "", attention_in_tiles);
}

fn gradient_in_tiles(emulator: &Emulator) -> Option<String> {
    let case = Case { sizes: sizes(1, 82, 2, 32), theta: Some(THETA), factor: 1.0 };
    attention_grad_differs(emulator, case, &ORDERS)
}

#[test]
fn faults_of_the_gradient_of_attention_are_found() {
    for tile in ["keys", "queries"] {
        let right = format!(
            "// From here on all see these {tile}, and nobody needs the others.\n      __syncthreads();"
        );
        let right = if tile == "keys" { right } else { right.replace("\n      ", "\n    ") };
        assert_found(&right, "", gradient_in_tiles);
    }
    for what in ["the whole head", "delta, and nobody needs keys and values"] {
        let right = format!("// From here on all see {what}.\n  __syncthreads();");
        assert_found(&right, "", gradient_in_tiles);
    }
    assert_found("rows[turn][1][query]", "rows[1 - turn][1][query]", gradient_in_tiles);
    let right = "values[(column + half) ^ turn] : -values[(column - half) ^ turn]";
    assert_found(
        right,
        "-values[(column + half) ^ turn] : values[(column - half) ^ turn]",
        gradient_in_tiles,
    );
    assert_found("if (pass == 0)\n#pragma unroll", "if (pass == 2)\n#pragma unroll", gradient_in_tiles);
}

#[test]
fn copies_that_nobody_waits_for_are_found() {
    let right = "await_copies<0>();\n    // From here on all see this tile";
    assert_found(right, "// From here on all see this tile", attention_in_tiles);
    assert_found(right, &right.replace("<0>", "<1>"), attention_in_tiles);
}

/// Several tiles in every direction, none of them full.
fn gated_product_in_tiles(emulator: &Emulator) -> Option<String> {
    gated_product_differs(emulator, [260, 72, 104], &ORDERS)
}

#[test]
fn faults_of_the_gated_product_are_found() {
    let right = "// From here on all see this slice, and nobody needs the other one.\n    __syncthreads();";
    assert_found(right, "", gated_product_in_tiles);
    let right = "await_copies<0>();\n    // From here on all see this slice";
    assert_found(right, "// From here on all see this slice", gated_product_in_tiles);
    assert_found("at / 2 * 8 + fragment * 2 + at % 2", "fragment * 8 + at", gated_product_in_tiles);
    assert_found("!there ? 0 : left < 8 ? (int)left : 8", "!there ? 0 : 8", gated_product_in_tiles);
    assert_found("if (row >= rows) continue;", "if (row > rows) continue;", gated_product_in_tiles);
}

#[test]
fn a_wrong_index_into_a_fragment_is_found() {
    let right = "lane / 16 * 8 + lane % 8, unit0 + lane / 8 % 2";
    assert_found(right, "lane % 16, unit0 + lane / 16", attention_in_tiles);
    let right = "sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]";
    assert_found(right, "sums[i % 2][i / 2 * 2], sums[i % 2][i / 2 * 2 + 1]", attention_in_tiles);
    let right = "column = chunk * 16 + i / 4 % 2 * 8 + (int)threadIdx.x % 4 * 2 + i % 2;";
    assert_found(
        right,
        "column = chunk * 16 + i / 4 % 2 * 8 + (int)threadIdx.x % 4 + i % 2;",
        attention_in_tiles,
    );
}

#[test]
fn positions_beyond_the_last_are_found() {
    let right = "if (position >= own.positions || column0 >= width) continue;";
    assert_found(right, "if (position > own.positions || column0 >= width) continue;", attention_in_tiles);
    let right = "if (other0 + column >= positions)";
    assert_found(right, "if (other0 + column > positions)", attention_in_tiles);
}
