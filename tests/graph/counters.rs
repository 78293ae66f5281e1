//! What a segment costs, without a clock: a plan that grew fails here.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use hrmc::internals::check::check;
use hrmc::internals::ir::{Model, Precision};
use hrmc::internals::lower::{Program, Sizes};
use hrmc::internals::pipeline::{compile, lowered_flops};
use hrmc::internals::span::Source;
use hrmc::internals::syntax::parse;

/// The specs of the benchmarks with the rows of a batch.
const CASES: [(&str, usize); 3] = [("sudoku-small", 32), ("sudoku", 16), ("maze", 2)];

const PROGRAMS: [(&str, Program); 2] =
    [("train", Program::Train), ("evaluate", Program::Evaluate { averaged: false })];

fn shipped(name: &str) -> Model {
    let path = format!("specs/{name}.hrm");
    let text = fs::read_to_string(&path).expect("the spec is shipped");
    let parsed = parse(&Source::new(path, text));
    check(&parsed.file).model.expect("shipped specs have no problem")
}

#[test]
fn segments_of_the_benchmarks_cost_what_is_recorded() {
    let mut text = String::new();
    for (name, batch) in CASES {
        let model = shipped(name);
        let options = Sizes { batch, puzzle_rows: 1 };
        for (title, program) in PROGRAMS {
            let plan = compile(&model, program, options).plan;
            let work = plan.work().into_values();
            let bytes: u64 = work.map(|work| work.bytes).sum();
            let _ = writeln!(
                text,
                "{name}, batch {batch}, {title}: {} calls\n  {} flops as written, {} as planned\n  {bytes} bytes read and written\n  {} bytes of named memory, {} of arena, {} kept for backward",
                plan.calls.len(),
                lowered_flops(&model, program, options),
                plan.flops(),
                plan.named_bytes(),
                plan.arena_bytes,
                plan.kept_bytes,
            );
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new("../../snapshots/plan"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("segments_of_the_benchmarks", text));
}

/// The precision decides how products compute, not what a plan does.
#[test]
fn precision_changes_no_cost() {
    let mut model = shipped("sudoku-small");
    let options = Sizes { batch: 2, puzzle_rows: 1 };
    let mut cost = |precision| {
        model.train.as_mut().expect("it trains").precision = precision;
        let plan = compile(&model, Program::Train, options).plan;
        (plan.calls.len(), plan.flops(), plan.work(), plan.arena_bytes)
    };
    assert_eq!(cost(Precision::F32), cost(Precision::Bf16));
}
