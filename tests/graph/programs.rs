//! Whole programs: what lowering makes of small specs, that passes and devices agree about them, and what they cost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use hrmc::internals::check::check;
use hrmc::internals::data::IGNORED_LABEL;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::reference::Reference;
use hrmc::internals::device::{Device, EngineOptions, Executable, Session};
use hrmc::internals::graph::{self, DType, Graph, Op, Phase, TensorType};
use hrmc::internals::ir::{Halt, Mixing, Model, Precision, QOutputs, gated_width};
use hrmc::internals::lower::names::Scope;
use hrmc::internals::lower::parameters::{Role, parameters};
use hrmc::internals::lower::{Program, Sizes, lower};
use hrmc::internals::parity::{BF16_GRADIENTS, BF16_OUTPUTS};
use hrmc::internals::passes::{PASSES, Pass, simplify};
use hrmc::internals::pipeline::{compile, compile_for, executable};
use hrmc::internals::plan::{self, Demands, Plan, plan};
use hrmc::internals::span::Source;
use hrmc::internals::syntax::parse;
use hrmc_testing::emulator;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::CACHE;

/// Specs of `tests/fixtures/ok`, one for each way in which lowering can go.
const CASES: [&str; 6] = [
    "commas_newlines_and_constants",
    "direct_prediction_is_one_update",
    "learned_positions_replace_rotation",
    "one_network_serves_both_states",
    "three_levels_are_one_more_loop",
    "two_levels_of_the_published_model",
];

const OPTIONS: Sizes = Sizes { batch: 2, puzzle_rows: 3 };

/// Returns the model in f32, so that what should be equal is equal up to few roundings.
fn model_of(text: &str) -> Model {
    let parsed = parse(&Source::new("spec.hrm".to_string(), text.to_string()));
    assert_eq!(parsed.diagnostics, [], "the spec is well formed");
    let mut model = check(&parsed.file).model.expect("the spec has no problem");
    if let Some(train) = &mut model.train {
        train.precision = Precision::F32;
    }
    model
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

fn text_of(case: &str) -> String {
    read(&format!("tests/fixtures/ok/{case}.hrm"))
}

/// Returns the program with everything in it that a model has.
fn fullest(model: &Model) -> Program {
    if model.train.is_some() { Program::Train } else { Program::Gradients }
}

fn snapshot(stage: &str, case: &str, content: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new("../../snapshots").join(stage));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(case, content));
}

fn plan_text(plan: &Plan) -> String {
    plan::to_text(plan, &plan::Machine::reference(plan.precision))
}

#[test]
fn specs_become_graphs_with_their_detach_boundary() {
    for case in CASES {
        let text = text_of(case);
        let model = model_of(&text);
        let graph = lower(&model, fullest(&model), OPTIONS);
        assert_eq!(graph::validate(&graph), Ok(()), "{case}");
        let content = format!("{text}\n---------- graph ----------\n\n{}", graph::to_text(&graph));
        snapshot("graph", case, &content);
    }
}

#[test]
fn one_update_becomes_a_short_plan() {
    let text = text_of("direct_prediction_is_one_update");
    let compiled = compile(&model_of(&text), Program::Evaluate { averaged: false }, OPTIONS);
    let content = format!("{text}\n---------- plan ----------\n\n{}", plan_text(&compiled.plan));
    snapshot("plan", "direct_prediction_is_one_update", &content);
}

#[test]
fn the_segment_of_the_published_model_costs_what_is_recorded() {
    let text = text_of("two_levels_of_the_published_model");
    let model = model_of(&text);
    let mut content = format!("{text}\n---------- cost ----------\n");
    for (name, program) in [("train", Program::Train), ("evaluate", Program::Evaluate { averaged: false })] {
        let compiled = compile(&model, program, OPTIONS);
        let plan = &compiled.plan;
        let _ = writeln!(content, "\n{name}");
        for (phase, work) in plan.work() {
            let phase = phase.name();
            let _ = writeln!(
                content,
                "  {phase}: {} calls, {} flops, {} bytes",
                work.calls, work.flops, work.bytes
            );
        }
        let _ = writeln!(content, "  named {} bytes, arena {} bytes", plan.named_bytes(), plan.arena_bytes);
        let _ = writeln!(content, "  kept for backward {} bytes", plan.kept_bytes);
        for pass in &compiled.passes {
            let _ = writeln!(content, "  {}: {} -> {}", pass.name, pass.before, pass.after);
        }
    }
    snapshot("plan", "two_levels_of_the_published_model", &content);
}

/// Fills all memory of a session with seeded contents that a run could have.
fn fill(session: &mut Session, model: &Model) {
    let memory: Vec<(String, TensorType)> =
        session.names().map(|(name, ty)| (name.to_string(), ty.clone())).collect();
    let mut source = ChaCha8Rng::seed_from_u64(7);
    for (name, ty) in memory {
        let mut unit = || (source.next_u32() >> 8) as f32 / (1 << 24) as f32;
        match ty.dtype {
            DType::I32 => {
                let bound = if name.ends_with(".puzzles") { OPTIONS.puzzle_rows } else { model.tokens.vocab };
                for value in session.i32_mut(&name).expect("the device gives it") {
                    let ignored = name.ends_with(".labels") && unit() < 0.2;
                    *value = if ignored { IGNORED_LABEL } else { (unit() * bound as f32) as i32 };
                }
            }
            DType::F32 => {
                let mut element = |index: usize| match name.as_str() {
                    // The first row begins a sequence, the second ends one.
                    _ if name.ends_with(".reset") => f32::from(u8::from(index == 0)),
                    _ if name.ends_with(".at_limit") => f32::from(u8::from(index == 1)),
                    // Moments that are not zero keep the updates from acting like the sign of a gradient.
                    _ if name.starts_with("moment2.") => 0.25 + unit(),
                    _ if name.starts_with("step.") => 0.01 + 0.01 * unit(),
                    // Sizes a model begins with; larger ones make the recurrence amplify rounding.
                    _ if name.starts_with("param.") || name.starts_with("average.") => {
                        (2.0 * unit() - 1.0) / (ty.width() as f32).sqrt()
                    }
                    _ => unit() - 0.5,
                };
                let values: Vec<f32> = (0..ty.elements()).map(&mut element).collect();
                session.f32_mut(&name).expect("the device gives it").copy_from_slice(&values);
            }
        }
    }
}

fn session(device: &dyn Device, threads: usize) -> Session {
    Session::open(device, &EngineOptions { threads }).expect("threads can start")
}

/// Returns all f32 memory after two runs.
fn results(model: &Model, executable: Executable) -> BTreeMap<String, Vec<f32>> {
    let device: &dyn Device = match executable {
        Executable::Plan(_) => &Cpu,
        Executable::Graph(_) => &Reference,
    };
    let mut session = session(device, 2);
    session.load("program", executable).expect("small programs fit");
    fill(&mut session, model);
    session.run("program").expect("the processor does not fail");
    session.run("program").expect("the processor does not fail");
    let names: Vec<String> =
        session.names().filter(|(_, ty)| ty.dtype == DType::F32).map(|(name, _)| name.to_string()).collect();
    names
        .into_iter()
        .map(|name| (name.clone(), session.f32(&name).expect("the device gives it").to_vec()))
        .collect()
}

/// Panics unless both agree: a segment is some hundred dependent operators, each rounding by about 1e-7, and the
/// norms keep the states near one.
fn assert_agree(case: &str, found: &BTreeMap<String, Vec<f32>>, expected: &BTreeMap<String, Vec<f32>>) {
    assert!(found.keys().eq(expected.keys()), "{case}: the same memory");
    for (name, expected) in expected {
        for (index, (found, expected)) in found[name].iter().zip(expected).enumerate() {
            let within = (found - expected).abs() <= 1e-4 * (1.0 + expected.abs());
            assert!(within, "{case}: {name}[{index}] is {found}, expected {expected}");
        }
    }
}

fn programs(model: &Model) -> Vec<Program> {
    let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
    vec![fullest(model), Program::Gradients, Program::Evaluate { averaged }]
}

fn unoptimized(model: &Model, program: Program, options: Sizes) -> Plan {
    let mut graph = lower(model, program, options);
    simplify(&mut graph);
    plan(&graph, Precision::F32)
}

#[test]
fn passes_keep_what_every_program_computes() {
    for case in CASES {
        let model = model_of(&text_of(case));
        for program in programs(&model) {
            let plain = Executable::Plan(unoptimized(&model, program, OPTIONS));
            let optimized = executable(&model, program, OPTIONS, &Cpu);
            assert_agree(case, &results(&model, optimized), &results(&model, plain));
        }
    }
}

/// What is computed again is what would have been kept, to the last bit.
#[test]
fn computing_the_gated_unit_again_changes_no_bit() {
    for case in CASES {
        let model = model_of(&text_of(case));
        let bits = |passes: &[&Pass]| {
            let mut graph = lower(&model, fullest(&model), OPTIONS);
            passes.iter().for_each(|pass| (pass.run)(&mut graph));
            let plan = plan(&graph, Precision::F32);
            let kept = plan.kept_bytes;
            let results = results(&model, Executable::Plan(plan));
            let to_bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
            let bits: BTreeMap<String, Vec<u32>> =
                results.into_iter().map(|(name, values)| (name, to_bits(values))).collect();
            (kept, bits)
        };
        let all: Vec<&Pass> = PASSES.iter().collect();
        let without: Vec<&Pass> = PASSES.iter().filter(|pass| pass.name != "recompute-gated-unit").collect();
        let ((less, found), (more, expected)) = (bits(&all), bits(&without));
        assert!(less < more, "{case}: {less} bytes are kept, {more} without the pass");
        assert!(found == expected, "{case}: the results differ");
    }
}

#[test]
fn the_cpu_and_luminal_compute_the_same() {
    for case in CASES {
        let model = model_of(&text_of(case));
        let [cpu, reference] = [&Cpu as &dyn Device, &Reference]
            .map(|device| results(&model, executable(&model, fullest(&model), OPTIONS, device)));
        assert_agree(case, &cpu, &reference);
    }
}

/// Returns the bits of all memory of a session.
fn contents(session: &Session) -> BTreeMap<String, Vec<f32>> {
    let bits = |(name, ty): (&str, &TensorType)| match ty.dtype {
        DType::F32 => (name.to_string(), session.f32(name).expect("the device gives it").to_vec()),
        DType::I32 => {
            let words = session
                .i32(name)
                .expect("the device gives it")
                .iter()
                .map(|&value| f32::from_bits(value.cast_unsigned()));
            (name.to_string(), words.collect())
        }
    };
    session.names().map(bits).collect()
}

#[test]
fn the_cpu_and_the_emulated_cuda_kernels_compute_the_same() {
    let Some(emulator) = emulator::emulator(CACHE) else { return };
    for (case, order) in CASES.into_iter().zip(emulator::ORDERS.into_iter().cycle()) {
        let model = model_of(&text_of(case));
        for program in programs(&model) {
            let plan = compile_for(&model, program, OPTIONS, Demands::cuda(Precision::F32)).plan;
            let on_cpu = || executable(&model, program, OPTIONS, &Cpu);
            let expected = results(&model, on_cpu());
            let mut session = session(&Cpu, 1);
            session.load("program", on_cpu()).expect("small programs fit");
            fill(&mut session, &model);
            let mut found = contents(&session);
            for _ in 0..2 {
                found =
                    emulator.run(&plan, &found, order).unwrap_or_else(|problem| panic!("{case}: {problem}"));
            }
            found.retain(|name, _| expected.contains_key(name));
            assert_agree(&format!("{case}, {program:?}"), &found, &expected);
        }
    }
}

/// Returns the root mean square of the differences over that of what is expected.
fn relative_rms(found: &[f32], expected: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value).powi(2);
    let differences: f64 = found.iter().zip(expected).map(|(found, expected)| square(found - expected)).sum();
    (differences / expected.iter().map(|&value| square(value)).sum::<f64>()).sqrt()
}

#[test]
fn emulated_cuda_in_bf16_stays_as_close_to_f32_as_verification_asks() {
    let Some(emulator) = emulator::emulator(CACHE) else { return };
    for (case, order) in CASES.into_iter().zip(emulator::ORDERS.into_iter().cycle()) {
        let model = model_of(&text_of(case));
        for program in programs(&model) {
            let plan = compile_for(&model, program, OPTIONS, Demands::cuda(Precision::Bf16)).plan;
            let mut session = session(&Cpu, 1);
            let on_cpu = executable(&model, program, OPTIONS, &Cpu);
            session.load("program", on_cpu).expect("small programs fit");
            fill(&mut session, &model);
            let before = contents(&session);
            session.run("program").expect("the processor does not fail");
            let found =
                emulator.run(&plan, &before, order).unwrap_or_else(|problem| panic!("{case}: {problem}"));
            for (name, expected) in contents(&session) {
                let output = ["carry.", "logits", ".q_", "_loss"].iter().any(|part| name.contains(part))
                    && !name.starts_with("step.");
                let most = match name.contains(".grad.") {
                    true => BF16_GRADIENTS,
                    false if output => BF16_OUTPUTS,
                    false => continue,
                };
                let distance = relative_rms(&found[&name], &expected);
                assert!(distance <= most, "{case}, {program:?}: {name} is off by {distance}, at most {most}");
                assert!(distance > 0.0 || !name.contains("logits"), "{case}: {name} is not rounded");
            }
        }
    }
}

#[test]
fn every_pass_leaves_a_valid_graph() {
    for case in CASES {
        let model = model_of(&text_of(case));
        for program in programs(&model) {
            let mut graph = lower(&model, program, OPTIONS);
            for pass in PASSES {
                (pass.run)(&mut graph);
                assert_eq!(graph::validate(&graph), Ok(()), "{case} after `{}`", pass.name);
            }
            assert_eq!(plan::validate(&plan(&graph, Precision::F32)), Ok(()), "{case}");
        }
    }
}

#[test]
fn compiling_twice_gives_the_same_text() {
    for case in CASES {
        let model = model_of(&text_of(case));
        let texts = || {
            let compiled = compile(&model, fullest(&model), OPTIONS);
            [graph::to_text(&compiled.graph), graph::to_dot(&compiled.graph), plan_text(&compiled.plan)]
        };
        assert_eq!(texts(), texts(), "{case}");
    }
}

#[test]
fn nothing_the_detach_boundary_cuts_off_is_differentiated() {
    // One gradient of attention for each differentiated block, however many updates run before it.
    for (case, blocks) in [
        ("direct_prediction_is_one_update", 4),
        ("two_levels_of_the_published_model", 3),
        ("learned_positions_replace_rotation", 3),
        ("three_levels_are_one_more_loop", 4 + 2 + 1),
    ] {
        let model = model_of(&text_of(case));
        let graph = lower(&model, Program::Gradients, OPTIONS);
        assert_eq!(graph.census()["attention_grad"], blocks, "{case}");
    }
}

/// Returns the published model with other loop counts.
fn cycles(high: usize, low: usize) -> Model {
    let text = text_of("two_levels_of_the_published_model");
    let changed =
        text.replace("let N = 2", &format!("let N = {high}")).replace("let T = 2", &format!("let T = {low}"));
    model_of(&changed)
}

#[test]
fn what_is_kept_for_one_step_gradients_does_not_depend_on_the_cycles() {
    let kept = |high, low| compile(&cycles(high, low), Program::Train, OPTIONS).plan.kept_bytes;
    assert!(kept(2, 2) > 0);
    assert_eq!(kept(4, 2), kept(2, 2));
    assert_eq!(kept(2, 4), kept(2, 2));
    assert_eq!(kept(8, 8), kept(2, 2));
}

#[test]
fn the_arena_of_one_step_gradients_does_not_depend_on_the_cycles() {
    let arena = |high, low| compile(&cycles(high, low), Program::Train, OPTIONS).plan.arena_bytes;
    assert_eq!(arena(8, 8), arena(2, 2));
}

/// Floating-point operations of a training segment of a published model, by the formula of the PyTorch
/// yardstick: forward twice, once more for the target, and twice the last update of each state for its gradient.
///
/// The yardstick runs both heads in the pass for the target; here that pass needs no logits.
fn step_flops(model: &Model, batch: usize, high_cycles: usize, low_cycles: usize) -> u64 {
    let (total, tokens) = (model.total_positions(), model.tokens.positions);
    let (width, vocab) = (model.hidden, model.tokens.vocab);
    let pass = |network: usize| {
        let network = &model.networks[network];
        let inner = network.block.inner;
        let products = 2 * (4 * width * width + 3 * width * inner);
        network.layers * batch * total * (products + 4 * total * width)
    };
    let (low, high) = (pass(0), pass(1));
    let (logits, q) = (batch * 2 * tokens * width * vocab, batch * 2 * width * 2);
    let states = high_cycles * low_cycles * low + high_cycles * high;
    let forward = states + logits + q;
    let target = states + q;
    (forward + target + 2 * (low + high + logits + q)) as u64
}

#[test]
fn a_training_segment_costs_what_the_formula_says() {
    let small = model_of(&read("specs/sudoku-small.hrm"));
    let options = Sizes { batch: 32, puzzle_rows: 1 };
    let plan = unoptimized(&small, Program::Train, options);
    assert_eq!(plan.flops(), step_flops(&small, 32, 2, 2));
    // The yardstick states 47.0 GFLOP, logits of the target pass included.
    let target_logits = 32 * 2 * 81 * 128 * 11;
    let gigaflops = (plan.flops() + target_logits) as f64 / 1e9;
    assert!((gigaflops - 47.0).abs() < 0.05, "{gigaflops}");

    let tiny = cycles(3, 2);
    let plan = unoptimized(&tiny, Program::Train, OPTIONS);
    assert_eq!(plan.flops(), step_flops(&tiny, 2, 3, 2));
}

#[test]
fn only_the_target_pass_gets_cheaper_by_narrow_reads() {
    let model = model_of(&read("specs/sudoku-small.hrm"));
    let options = Sizes { batch: 32, puzzle_rows: 1 };
    let plain = unoptimized(&model, Program::Train, options).work();
    let optimized = compile(&model, Program::Train, options).plan.work();
    for phase in [Phase::Forward, Phase::Backward, Phase::Update] {
        assert_eq!(optimized[&phase].flops, plain[&phase].flops, "{}", phase.name());
    }
    // The last block of the last update needs one position behind its attention.
    let (rows, width, inner) = (32 * 80, 128, 512);
    let saved = 2 * rows * (width * width + 3 * width * inner);
    assert_eq!(plain[&Phase::Target].flops - optimized[&Phase::Target].flops, saved);
}

/// Elements of all weights that an optimizer moves, but the puzzle table, counted from the paper's formulas.
fn trained_elements(model: &Model) -> usize {
    let width = model.hidden;
    let positions = model.total_positions();
    let mut count = 2 * model.tokens.vocab * width;
    if model.tokens.learned_positions {
        count += positions * width;
    }
    for network in &model.networks {
        let mixing = match network.block.mixing {
            Mixing::Attention { .. } => 4 * width * width,
            Mixing::Mlp { inner } => 3 * positions * inner,
        };
        count += network.layers * (mixing + 3 * width * network.block.inner);
    }
    let outputs = model.q_head.as_ref().map_or(0, |head| match head.outputs {
        QOutputs::HaltContinue => 2,
        QOutputs::Halt => 1,
    });
    count + outputs * (width + 1)
}

fn count(model: &Model, role: Role) -> usize {
    parameters(model, 10).iter().filter(|weight| weight.role == role).map(|weight| weight.elements()).sum()
}

#[test]
fn parameter_counts_equal_the_formula() {
    let specs =
        ["maze", "sudoku", "sudoku-small", "quickstart"].map(|name| read(&format!("specs/{name}.hrm")));
    for text in specs.into_iter().chain(CASES.map(text_of)) {
        let model = model_of(&text);
        assert_eq!(count(&model, Role::Trained), trained_elements(&model), "{}", model.name);
        assert_eq!(count(&model, Role::Fixed), model.states.len() * model.hidden, "{}", model.name);
        let table = model.puzzles.as_ref().map_or(0, |puzzles| 10 * puzzles.width);
        assert_eq!(count(&model, Role::PuzzleTable), table, "{}", model.name);
    }
}

#[test]
fn the_models_of_the_paper_have_27_million_parameters() {
    let sudoku = model_of(&read("specs/sudoku.hrm"));
    assert_eq!(gated_width(4.0, 512, 256), 1536);
    let blocks = 8 * (4 * 512 * 512 + 3 * 512 * 1536);
    let q_head = 2 * 512 + 2;
    assert_eq!(count(&sudoku, Role::Trained), blocks + 2 * 11 * 512 + q_head);
    assert_eq!(count(&sudoku, Role::Trained), 27_275_266);

    // ARC: thirty by thirty cells of ten colours, padding and end marks.
    let arc = read("specs/maze.hrm").replace("vocab = 6", "vocab = 12");
    assert_eq!(count(&model_of(&arc), Role::Trained), blocks + 2 * 12 * 512 + q_head);
    assert_eq!(count(&model_of(&arc), Role::Trained), 27_276_290);
}

#[test]
fn the_target_pass_exists_only_for_q_learning() {
    for case in CASES {
        let model = model_of(&text_of(case));
        let graph = lower(&model, Program::Gradients, OPTIONS);
        let learns = matches!(model.halt, Halt::QLearning { .. });
        assert_eq!(graph.outputs().contains_key(&Scope::Train.target_q_continue()), learns, "{case}");
        assert_eq!(graph.inputs().contains_key(&Scope::Train.at_limit()), learns, "{case}");
    }
}

#[test]
fn evaluation_with_averages_reads_no_trained_weight() {
    let model = model_of(&text_of("one_network_serves_both_states"));
    let graph = lower(&model, Program::Evaluate { averaged: true }, OPTIONS);
    let weights: Vec<&String> = graph.inputs().keys().filter(|name| name.starts_with("param.")).collect();
    // Initial states are fixed and have no average.
    assert_eq!(weights, ["param.inner.H_init", "param.inner.L_init"]);
    assert!(graph.inputs().keys().any(|name| name.starts_with("average.")));
}

/// Returns the operators of a graph that overwrite memory, each with the name of the memory.
fn overwritten(graph: &Graph) -> Vec<String> {
    graph
        .order()
        .into_iter()
        .filter(|&node| !matches!(graph.op(node), Op::Input(_)))
        .flat_map(|node| graph::decomposed::updated_inputs(graph, node))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn training_updates_every_weight_once_and_evaluation_only_the_carry() {
    let model = model_of(&text_of("two_levels_of_the_published_model"));
    let evaluated = overwritten(&lower(&model, Program::Evaluate { averaged: false }, OPTIONS));
    assert_eq!(evaluated.len(), model.states.len());
    assert!(evaluated.iter().all(|name| name.starts_with("evaluate.carry.")), "{evaluated:?}");

    let mut trained = overwritten(&lower(&model, Program::Train, OPTIONS));
    trained.retain(|name| name.starts_with("param."));
    trained.sort();
    let mut expected: Vec<String> = parameters(&model, OPTIONS.puzzle_rows)
        .into_iter()
        .filter(|weight| weight.role != Role::Fixed)
        .map(|weight| format!("param.{}", weight.name))
        .collect();
    expected.sort();
    assert_eq!(trained, expected);
}

#[test]
fn a_deep_model_is_compiled_whole() {
    let text = read("specs/maze.hrm").replace("let N = 2", "let N = 8").replace("let T = 2", "let T = 8");
    let model = model_of(&text);
    let compiled = compile(&model, Program::Train, Sizes { batch: 2, puzzle_rows: 10 });
    let updates = 8 * 8 + 8;
    let blocks = 4 * updates;
    let census = compiled.graph.census();
    // The pass for the target runs every block once more; each block has two fused norms.
    assert_eq!(census["linear_add_rms_norm"], 2 * 2 * blocks);
    assert_eq!(census["linear_swiglu"], 2 * blocks);
    // The last update of each state is differentiated.
    assert_eq!(census["attention_grad"], 2 * 4);
    assert_eq!(plan::validate(&compiled.plan), Ok(()));
}
