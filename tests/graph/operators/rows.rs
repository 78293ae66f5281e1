//! Rows of a batch do not meet: what an operator of an evaluation program computes for a row has the same bits alone,
//! in another place, and among other rows. So the answer to a puzzle depends neither on the puzzles beside it nor on
//! their number.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use hrmc::Spec;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::cpu::kernels::multiplies_in_bf16;
use hrmc::internals::graph::{Op, TensorType};
use hrmc::internals::ir::Precision;
use hrmc::internals::lower::{Program, Sizes as ProgramSizes};
use hrmc::internals::pipeline::compile;
use hrmc_testing::running::{Loaded, Results, graph_of};
use hrmc_testing::samples::{self, Draw, Sample, Sizes, Values};
use proptest::prelude::Strategy;

use super::for_samples_of;

/// Returns which inputs of an operator have a part for each row of the batch, along their first axis; the others are
/// weights and tables. `None` for operators of training, which may bring rows together.
fn inputs_by_row(op: &Op) -> Option<&'static [usize]> {
    match op {
        Op::Slice(_) | Op::Pad(_) | Op::Transpose(_) | Op::Scale(_) | Op::AddSuffix(_) => Some(&[0]),
        Op::Sigmoid(_) | Op::Linear(_) | Op::RmsNorm(_) | Op::Rotate(_) | Op::Attention(_) => Some(&[0]),
        Op::SwiGlu(_) | Op::LinearSwiGlu(_) => Some(&[0]),
        Op::Concat(_) | Op::Add(_) | Op::Maximum(_) | Op::Equal(_) | Op::AddRmsNorm(_) => Some(&[0, 1]),
        Op::TokenLoss(_) | Op::Correctness(_) | Op::BceWithLogits(_) => Some(&[0, 1]),
        Op::RowDistance(_) | Op::ResetRows(_) | Op::Assign(_) => Some(&[0, 1]),
        Op::Choose(_) => Some(&[0, 1, 2]),
        Op::Embed(_) => Some(&[1]),
        Op::LinearAddRmsNorm(_) => Some(&[0, 2]),
        Op::Input(_) | Op::Detach(_) | Op::Reshape(_) | Op::Fill(_) => None,
        Op::SumLeading(_) | Op::LinearGradInput(_) | Op::LinearGradWeight(_) | Op::RmsNormGrad(_) => None,
        Op::AttentionGrad(_) | Op::SwiGluGrad(_) | Op::EmbedGrad(_) | Op::TokenLossGrad(_) => None,
        Op::BceWithLogitsGrad(_) => None,
        Op::AdamAtan2(_) | Op::AdamW(_) | Op::SignSgdRows(_) | Op::Average(_) => None,
    }
}

/// Returns whether an operator works along the axis of the rows, which no program does.
fn is_along_rows(op: &Op) -> bool {
    match op {
        Op::Slice(slice) => slice.axis == 0,
        Op::Pad(pad) => pad.axis == 0,
        Op::Concat(concat) => concat.axis == 0,
        _ => false,
    }
}

/// Returns the rows of some inputs of a sample in another batch, in this order.
fn batch_of(sample: &Sample, by_row: &[usize], rows: &[usize]) -> Sample {
    let take = |index: usize, (ty, values): &(TensorType, Values)| {
        if !by_row.contains(&index) {
            return (ty.clone(), values.clone());
        }
        let size = ty.elements() / ty.shape[0];
        let shape = [&[rows.len()], &ty.shape[1..]].concat();
        let part = |row: &usize| row * size..(row + 1) * size;
        let values = match values {
            Values::F32(values) => {
                Values::F32(rows.iter().flat_map(|row| values[part(row)].to_vec()).collect())
            }
            Values::I32(values) => {
                Values::I32(rows.iter().flat_map(|row| values[part(row)].to_vec()).collect())
            }
        };
        (TensorType { dtype: ty.dtype, shape }, values)
    };
    let inputs = sample.inputs.iter().enumerate().map(|(index, input)| take(index, input)).collect();
    Sample { inputs, ..sample.clone() }
}

/// Says where a row of a batch differs from the same row of another one, by its bits.
fn differs(all: &Results, batch: usize, some: &Results, rows: &[usize]) -> Option<String> {
    assert!(!all.is_empty() && all.keys().eq(some.keys()), "the same results are compared");
    for (name, all) in all {
        let size = all.len() / batch;
        assert!(size > 0 && some[name].len() == size * rows.len(), "{name} has a part for each row");
        for (place, &row) in rows.iter().enumerate() {
            let one = &all[row * size..(row + 1) * size];
            let other = &some[name][place * size..(place + 1) * size];
            if let Some(at) = (0..size).find(|&at| one[at].to_bits() != other[at].to_bits()) {
                let (one, other) = (one[at], other[at]);
                return Some(format!(
                    "{name}[{at}] of row {row} of {batch} is {one:?}, and as number {place} of {rows:?} it is {other:?}"
                ));
            }
        }
    }
    None
}

fn depends_on_other_rows(sample: &Sample) -> Option<String> {
    if is_along_rows(&sample.op) {
        return None;
    }
    let by_row = inputs_by_row(&sample.op).expect("it is an operator of evaluation programs");
    let batch = sample.inputs[by_row[0]].0.shape[0];
    let others = [
        vec![0],
        vec![batch - 1],
        (0..batch).rev().collect(),
        // More rows, some of them twice, each in another place.
        (0..2 * batch + 1).map(|place| (3 * place + 1) % batch).collect(),
    ];
    let mut precisions = vec![Precision::F32];
    precisions.extend(multiplies_in_bf16().then_some(Precision::Bf16));
    for precision in precisions {
        let run =
            |sample: &Sample| Loaded::in_precision(graph_of(sample), &Cpu, precision).run(&sample.inputs);
        let all = run(sample);
        for rows in &others {
            if let Some(found) = differs(&all, batch, &run(&batch_of(sample, by_row, rows)), rows) {
                return Some(format!("{precision:?}: {found}"));
            }
        }
    }
    None
}

/// Sizes that fill more than one tile of a kernel, or less than one.
fn sizes() -> impl Strategy<Value = Sizes> {
    (2..=8_usize, 1..=33_usize, 1..=3_usize, 1..=17_usize, 1..=70_usize, 2..=40_usize).prop_map(
        |(batch, positions, heads, half, inner, vocab)| Sizes { batch, positions, heads, half, inner, vocab },
    )
}

/// Makes a test of each operator that evaluation programs have, before the passes or after them.
/// `operators_of_evaluations_are_all_tested` holds the list against the programs.
macro_rules! operators_of_evaluations {
    ($($sample:ident),+ $(,)?) => {
        const TESTED: &[(&str, fn(&mut Draw) -> Sample)] = &[$((stringify!($sample), samples::$sample)),+];

        mod a_row_depends_on_no_other {
            $(#[test]
            fn $sample() {
                let cases = super::sizes();
                super::for_samples_of(cases, 12, super::samples::$sample, super::depends_on_other_rows);
            })+
        }
    };
}

operators_of_evaluations!(
    add,
    add_rms_norm,
    add_suffix,
    assign,
    attention,
    bce_with_logits,
    concat,
    correctness,
    embed,
    equal,
    linear,
    linear_add_rms_norm,
    linear_swiglu,
    pad,
    reset_rows,
    rms_norm,
    rotate,
    row_distance,
    scale,
    slice,
    swiglu,
    token_loss,
    transpose,
);

/// Specs that hrmc ships, and those of tests.
fn specs() -> Vec<PathBuf> {
    let mut specs: Vec<PathBuf> = ["specs", "tests/fixtures/ok"]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("specs are checked in"))
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hrm"))
        .collect();
    specs.sort();
    specs
}

#[test]
fn operators_of_evaluations_are_all_tested() {
    // No other size of these programs.
    const BATCH: usize = 29;
    let mut found = BTreeSet::new();
    for path in specs() {
        let spec = Spec::open(&path, &[]).expect("the spec has no problem");
        let model = spec.model();
        let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
        let sizes = ProgramSizes { batch: BATCH, puzzle_rows: 3 };
        for call in &compile(model, Program::Evaluate { averaged }, sizes).plan.calls {
            let name = call.op.as_operation().name();
            let place = format!("`{name}` in `{}`", path.display());
            found.insert(name);
            assert!(!is_along_rows(&call.op), "{place} works along the rows");
            let by_row = inputs_by_row(&call.op);
            let by_row = by_row.unwrap_or_else(|| panic!("{place} is taken for an operator of training"));
            for (index, input) in call.inputs.iter().enumerate() {
                let rows = input.ty.shape[0];
                assert_eq!(rows == BATCH, by_row.contains(&index), "{place}: input {index} has {rows} rows");
            }
        }
    }
    // The passes fuse these with their neighbours in every program.
    found.extend(["add_rms_norm", "rms_norm", "rotate", "swiglu"]);
    let tested: BTreeSet<&str> = TESTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, tested);
    for (name, sample) in TESTED {
        let sizes = Sizes { batch: 2, positions: 3, heads: 2, half: 1, inner: 3, vocab: 3 };
        assert_eq!(sample(&mut Draw::new(sizes, 1)).op.as_operation().name(), *name);
    }
}

#[test]
fn a_row_that_another_one_changes_is_found() {
    let results = |values: &[f32]| Results::from([("output.0".to_owned(), values.to_vec())]);
    let all = results(&[1.0, 2.0]);
    assert_eq!(differs(&all, 2, &results(&[2.0, 1.0]), &[1, 0]), None);
    let found = differs(&all, 2, &results(&[2.0, 1.0 + f32::EPSILON]), &[1, 0]).expect("it differs by a bit");
    assert!(found.contains("row 0 of 2 is 1.0, and as number 1 of [1, 0] it is 1.0000001"), "{found}");
    assert!(
        differs(&results(&[0.0, 2.0]), 2, &results(&[-0.0]), &[0]).is_some(),
        "the sign of zero is a bit"
    );
}
