//! Measures the segments of a model against the peak of one large product in the same run.
//!
//! Floating-point operations are counted on the program as it was lowered, before any pass: work that a
//! pass proves unnecessary and skips counts as done, so that the figure compares with any other
//! implementation of the same model.

use std::time::Instant;

use serde::Serialize;

use crate::backend::cpu::kernels::{ProductShape, Store, Weight, product_nt};
use crate::backend::{BackendError, Device, Executable, Session};
use crate::ir::Model;
use crate::lower::names::{self, Scope};
use crate::lower::{Options, Program};
use crate::pipeline;

/// Side of the square product whose speed counts as the peak.
const PEAK_SIDE: usize = 2048;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct BenchOptions {
    /// Rows in a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Measured runs of each program, after one that is not.
    pub repeat: usize,
}

/// Times of one program.
#[derive(Debug, Clone, Serialize)]
pub struct ProgramTimes {
    /// `train` or `evaluate`.
    pub program: &'static str,
    /// Shortest run in seconds.
    pub best_s: f64,
    /// Median run in seconds.
    pub median_s: f64,
    /// Rows per second of the best run.
    pub sequences_per_s: f64,
    /// Floating-point operations of products and attention, in units of 10^9.
    pub gflop: f64,
    /// Rate of the best run.
    pub gflop_per_s: f64,
    /// Rate as a share of the peak of this run.
    pub share_of_peak: f64,
    /// Kernel calls of one run.
    pub calls: usize,
}

/// Time of one kind of kernel in a program.
#[derive(Debug, Clone, Serialize)]
pub struct KernelTime {
    /// Name of the operator.
    pub operator: &'static str,
    /// Part of the program.
    pub phase: &'static str,
    /// Calls in one run.
    pub calls: usize,
    /// Seconds in one run.
    pub seconds: f64,
    /// Floating-point operations in one run, in units of 10^9.
    pub gflop: f64,
    /// Bytes read and written in one run, in units of 10^9.
    pub gigabytes: f64,
}

/// What a benchmark found.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// Name of the model.
    pub model: String,
    /// Device that ran it.
    pub device: &'static str,
    /// Rows in a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Best rate of a square product, in 10^9 operations per second.
    pub peak_gflop_per_s: f64,
    /// Seconds from the checked model to the first finished training segment.
    pub start_s: f64,
    /// Times of each program.
    pub programs: Vec<ProgramTimes>,
    /// Bytes of weights, optimizer state, carry and activations.
    pub memory_bytes: usize,
    /// Times by kernel of a training segment; empty unless asked for.
    pub kernels: Vec<KernelTime>,
}

/// Measures the training and the evaluation segment of `model` on the CPU.
///
/// # Errors
///
/// Returns an error if the memory cannot be had.
pub fn measure(model: &Model, options: BenchOptions, profile: bool) -> Result<BenchReport, BackendError> {
    let lowering = Options { batch: options.batch, puzzle_rows: 1 };
    let start = Instant::now();
    let mut session = Session::new(options.threads)?;
    let mut programs: Vec<(&'static str, Program, Scope)> = Vec::new();
    if model.train.is_some() {
        programs.push(("train", Program::Train, Scope::Train));
    }
    let mut start_s = 0.0;
    let mut calls = Vec::new();
    programs.push(("evaluate", Program::Evaluate { averaged: false }, Scope::Evaluate));
    for (index, &(name, program, scope)) in programs.iter().enumerate() {
        let plan = pipeline::compile(model, program, lowering).plan;
        calls.push(
            plan.calls
                .iter()
                .map(|call| (call.op.as_operation().name(), call.phase.name(), call.flops, call.bytes))
                .collect::<Vec<_>>(),
        );
        session.load(name, Executable::Planned(plan))?;
        fill(&mut session, model, scope);
        if index == 0 {
            session.run(name);
            start_s = start.elapsed().as_secs_f64();
        }
    }
    let peak_gflop_per_s = peak(&session);
    let mut times = Vec::new();
    for (&(name, program, _), calls) in programs.iter().zip(&calls) {
        let gflop = pipeline::lowered_flops(model, program, lowering) as f64 / 1e9;
        let mut seconds = repeat(options.repeat, || session.run(name));
        seconds.sort_by(f64::total_cmp);
        let (best_s, median_s) = (seconds[0], seconds[seconds.len() / 2]);
        times.push(ProgramTimes {
            program: name,
            best_s,
            median_s,
            sequences_per_s: options.batch as f64 / best_s,
            gflop,
            gflop_per_s: gflop / best_s,
            share_of_peak: gflop / best_s / peak_gflop_per_s,
            calls: calls.len(),
        });
    }
    let kernels = if profile {
        profile_kernels(&mut session, programs[0].0, &calls[0], options.repeat)
    } else {
        Vec::new()
    };
    Ok(BenchReport {
        model: model.name.clone(),
        device: Device::Cpu.name(),
        batch: options.batch,
        threads: options.threads,
        peak_gflop_per_s,
        start_s,
        programs: times,
        memory_bytes: session.bytes(),
        kernels,
    })
}

/// Runs once, then measures each of `count` runs in seconds.
fn repeat(count: usize, mut run: impl FnMut()) -> Vec<f64> {
    run();
    (0..count.max(1))
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect()
}

fn peak(session: &Session) -> f64 {
    let side = PEAK_SIDE;
    let [a, b] = [1, 2].map(|seed| pattern(side * side, seed, 1.0));
    let mut out = vec![0.0; side * side];
    let shape = ProductShape::nt(side, side, side);
    let seconds = repeat(8, || {
        session.install(|| product_nt(&mut out, &a, Weight::Rows(&b), None, Store::Replace, shape));
    });
    let best = seconds.into_iter().fold(f64::INFINITY, f64::min);
    2.0 * (side as f64).powi(3) / best / 1e9
}

/// Returns values without structure in `-scale .. scale`; what they are does not matter, that they are finite does.
fn pattern(len: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        })
        .collect()
}

/// Fills weights and rows with plausible values.
fn fill(session: &mut Session, model: &Model, scope: Scope) {
    let memory: Vec<(String, Vec<usize>)> =
        session.names().map(|(name, ty)| (name.to_string(), ty.shape.clone())).collect();
    for (index, (name, shape)) in memory.iter().enumerate() {
        if name.starts_with("param.") || name.starts_with("average.") {
            let width = shape.last().copied().unwrap_or(1) as f32;
            let values = pattern(shape.iter().product(), index as u64 + 1, 1.7 / width.sqrt());
            session.f32_mut(name).copy_from_slice(&values);
        }
    }
    for name in [names::STEP_LR, names::STEP_SCALE, names::STEP_PUZZLE_LR] {
        if session.has(name) {
            session.f32_mut(name)[0] = 1e-5;
        }
    }
    if session.has(names::STEP_ROOT_SCALE) {
        session.f32_mut(names::STEP_ROOT_SCALE)[0] = 1.0;
    }
    let vocab = model.tokens.vocab as i32;
    for name in [scope.tokens(), scope.labels()] {
        for (index, value) in session.i32_mut(&name).iter_mut().enumerate() {
            *value = (index as i32 * 7 + 3) % vocab;
        }
    }
    if session.has(&scope.reset()) {
        session.f32_mut(&scope.reset()).fill(1.0);
    }
}

fn profile_kernels(
    session: &mut Session,
    program: &'static str,
    calls: &[(&'static str, &'static str, u64, u64)],
    repeat: usize,
) -> Vec<KernelTime> {
    let runs = repeat.max(1);
    let mut best = vec![f64::INFINITY; calls.len()];
    for _ in 0..runs {
        session.run_profiled(program, &mut |index, seconds| best[index] = best[index].min(seconds));
    }
    let mut table: Vec<KernelTime> = Vec::new();
    for (&(operator, phase, flops, bytes), seconds) in calls.iter().zip(best) {
        let at = table.iter().position(|row| row.operator == operator && row.phase == phase).unwrap_or_else(
            || {
                table.push(KernelTime {
                    operator,
                    phase,
                    calls: 0,
                    seconds: 0.0,
                    gflop: 0.0,
                    gigabytes: 0.0,
                });
                table.len() - 1
            },
        );
        let row = &mut table[at];
        row.calls += 1;
        row.seconds += seconds;
        row.gflop += flops as f64 / 1e9;
        row.gigabytes += bytes as f64 / 1e9;
    }
    table.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    table
}
