//! Measures the programs of a model against what the machine can do, measured in the same run: the peak of one
//! large product and the speed of memory.
//!
//! Floating-point operations are counted on the program as it was lowered, before any pass: work that a
//! pass proves unnecessary and skips counts as done, so that the figure compares with any other
//! implementation of the same model.

#![expect(clippy::disallowed_methods, reason = "programs are timed")]

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::device::{Device, DeviceError, EngineOptions, Executable, Form, Session};
use crate::ir::{Model, Precision};
use crate::lower::names::{self, Scope};
use crate::lower::{Program, Sizes};
use crate::pipeline;
use crate::plan::{Machine, Plan};
use crate::system::memory::largest_resident_bytes;

/// What one row of a report times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// One training segment.
    Train,
    /// One evaluation segment.
    Evaluate,
    /// All evaluation segments of an answer, from an empty carry.
    Answer,
}

impl Measured {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Measured::Train => "train",
            Measured::Evaluate => "evaluate",
            Measured::Answer => "answer",
        }
    }

    /// Returns the program that is run.
    pub fn program(self) -> Program {
        match self {
            Measured::Train => Program::Train,
            Measured::Evaluate | Measured::Answer => Program::Evaluate { averaged: false },
        }
    }

    /// Returns how often the program is run.
    fn segments(self, model: &Model) -> usize {
        match self {
            Measured::Train | Measured::Evaluate => 1,
            Measured::Answer => {
                model.infer.as_ref().map_or(model.halt.max_segments(), |infer| infer.segments)
            }
        }
    }

    fn scope(self) -> Scope {
        match self {
            Measured::Train => Scope::Train,
            Measured::Evaluate | Measured::Answer => Scope::Evaluate,
        }
    }
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// What runs the programs.
    pub device: Arc<dyn Device>,
    /// Rows in a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Measured runs of each program, after one that is not.
    pub repeat: usize,
    /// Whether the kernels of the first program are timed too.
    pub profile: bool,
}

/// Times of one program.
#[derive(Debug, Clone, Serialize)]
pub struct ProgramTimes {
    /// Name of what was measured.
    pub program: &'static str,
    /// Segments of one run.
    pub segments: usize,
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
    /// Rate as a share of the peak of this run, in the precision of the model.
    pub share_of_peak: f64,
    /// Kernel calls of one run; absent where no plan says how many there are.
    pub calls: Option<usize>,
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
    /// Seconds that the plan predicts from the peak and the copy of this run.
    pub predicted_s: f64,
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
    /// Arithmetic of the factors of products.
    pub precision: &'static str,
    /// Best rate of a square product in that precision, in 10^9 operations per second.
    pub peak_gflop_per_s: f64,
    /// The same in f32.
    pub peak_f32_gflop_per_s: f64,
    /// Best rate of a copy, bytes read and written, in 10^9 bytes per second.
    pub copy_gigabytes_per_s: f64,
    /// Seconds from the checked model to the end of the first segment of the first program.
    pub start_s: f64,
    /// Times of each program.
    pub programs: Vec<ProgramTimes>,
    /// Bytes of weights, optimizer state, carry and activations.
    pub memory_bytes: usize,
    /// Largest resident memory of the process, the measurements of the machine not included; absent where the
    /// system does not tell.
    pub resident_bytes: Option<u64>,
    /// Times by kernel of the first program; empty unless asked for.
    pub kernels: Vec<KernelTime>,
}

/// Measures programs of `model`; the first is the one whose start-up and kernels are timed.
///
/// # Errors
///
/// Returns an error if the memory cannot be had, or a device fails.
pub fn measure(
    model: &Model,
    measured: &[Measured],
    options: BenchOptions,
) -> Result<BenchReport, DeviceError> {
    let lowering = Sizes { batch: options.batch, puzzle_rows: 1 };
    let start = Instant::now();
    let device = &*options.device;
    let engine = EngineOptions { threads: options.threads };
    let mut session = Session::open(device, &engine)?;
    let mut start_s = 0.0;
    let mut plans: Vec<Plan> = Vec::new();
    for (index, measured) in measured.iter().enumerate() {
        let demands = device.demands(model.precision());
        let plan = pipeline::compile_for(model, measured.program(), lowering, demands).plan;
        plans.push(plan.clone());
        let executable = match device.form() {
            Form::Plan => Executable::Plan(plan),
            Form::Graph => pipeline::executable(model, measured.program(), lowering, device),
        };
        session.load(measured.name(), executable)?;
        fill(&mut session, model, measured.scope())?;
        session.run(measured.name())?;
        if index == 0 {
            start_s = start.elapsed().as_secs_f64();
        }
    }
    let mut times = Vec::new();
    for (measured, plan) in measured.iter().zip(&plans) {
        let segments = measured.segments(model);
        let gflop =
            segments as f64 * pipeline::lowered_flops(model, measured.program(), lowering) as f64 / 1e9;
        let mut seconds = repeat(options.repeat, || run(&mut session, *measured, segments))?;
        seconds.sort_by(f64::total_cmp);
        let (best_s, median_s) = (seconds[0], seconds[seconds.len() / 2]);
        times.push(ProgramTimes {
            program: measured.name(),
            segments,
            best_s,
            median_s,
            sequences_per_s: options.batch as f64 / best_s,
            gflop,
            gflop_per_s: gflop / best_s,
            share_of_peak: 0.0,
            calls: (device.form() == Form::Plan).then(|| segments * plan.calls.len()),
        });
    }
    // What follows takes memory of its own.
    let resident_bytes = largest_resident_bytes();
    let peak_f32_gflop_per_s = device.product_rate(Precision::F32, &engine)?;
    let precision = if device.multiplies_in_bf16() { model.precision() } else { Precision::F32 };
    let (precision, peak_gflop_per_s) = match precision {
        Precision::F32 => ("f32", peak_f32_gflop_per_s),
        Precision::Bf16 => ("bf16", device.product_rate(Precision::Bf16, &engine)?),
    };
    for row in &mut times {
        row.share_of_peak = row.gflop_per_s / peak_gflop_per_s;
    }
    let copy_gigabytes_per_s = device.copy_rate(&engine)?;
    let kernels = match (measured.first(), plans.first()) {
        (Some(first), Some(plan)) if options.profile => {
            let machine = Machine { gflop_per_s: peak_gflop_per_s, gigabytes_per_s: copy_gigabytes_per_s };
            profile_kernels(&mut session, first.name(), plan, &machine, options.repeat)?
        }
        _ => Vec::new(),
    };
    Ok(BenchReport {
        model: model.name.clone(),
        device: device.name(),
        batch: options.batch,
        threads: options.threads,
        precision,
        peak_gflop_per_s,
        peak_f32_gflop_per_s,
        copy_gigabytes_per_s,
        start_s,
        programs: times,
        memory_bytes: session.bytes(),
        resident_bytes,
        kernels,
    })
}

/// Runs all segments of one row of the report.
fn run(session: &mut Session, measured: Measured, segments: usize) -> Result<(), DeviceError> {
    let reset = measured.scope().reset();
    for segment in 0..segments {
        if session.has(&reset) {
            session.f32_mut(&reset)?.fill(if segment == 0 { 1.0 } else { 0.0 });
        }
        session.run(measured.name())?;
    }
    Ok(())
}

/// Runs once, then measures each of `count` runs in seconds.
fn repeat<E>(count: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<Vec<f64>, E> {
    run()?;
    (0..count.max(1))
        .map(|_| {
            let start = Instant::now();
            run()?;
            Ok(start.elapsed().as_secs_f64())
        })
        .collect()
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
fn fill(session: &mut Session, model: &Model, scope: Scope) -> Result<(), DeviceError> {
    let memory: Vec<(String, Vec<usize>)> =
        session.names().map(|(name, ty)| (name.to_string(), ty.shape.clone())).collect();
    for (index, (name, shape)) in memory.iter().enumerate() {
        if name.starts_with("param.") || name.starts_with("average.") {
            let width = shape.last().copied().unwrap_or(1) as f32;
            let values = pattern(shape.iter().product(), index as u64 + 1, 1.7 / width.sqrt());
            session.f32_mut(name)?.copy_from_slice(&values);
        }
    }
    for name in [names::STEP_LR, names::STEP_SCALE, names::STEP_PUZZLE_LR] {
        if session.has(name) {
            session.f32_mut(name)?[0] = 1e-5;
        }
    }
    if session.has(names::STEP_ROOT_SCALE) {
        session.f32_mut(names::STEP_ROOT_SCALE)?[0] = 1.0;
    }
    let vocab = model.tokens.vocab as i32;
    for name in [scope.tokens(), scope.labels()] {
        for (index, value) in session.i32_mut(&name)?.iter_mut().enumerate() {
            *value = (index as i32 * 7 + 3) % vocab;
        }
    }
    if session.has(&scope.reset()) {
        session.f32_mut(&scope.reset())?.fill(1.0);
    }
    Ok(())
}

fn profile_kernels(
    session: &mut Session,
    program: &'static str,
    plan: &Plan,
    machine: &Machine,
    repeat: usize,
) -> Result<Vec<KernelTime>, DeviceError> {
    let mut best = vec![f64::INFINITY; plan.calls.len()];
    for _ in 0..repeat.max(1) {
        session.run_profiled(program, &mut |index, seconds| best[index] = best[index].min(seconds))?;
    }
    let mut table: Vec<KernelTime> = Vec::new();
    for (call, seconds) in plan.calls.iter().zip(best) {
        // Calls that a device makes together are observed as the last of them.
        let seconds = if seconds.is_finite() { seconds } else { 0.0 };
        let (operator, phase) = (call.op.as_operation().name(), call.phase.name());
        let at = table.iter().position(|row| row.operator == operator && row.phase == phase).unwrap_or_else(
            || {
                table.push(KernelTime {
                    operator,
                    phase,
                    calls: 0,
                    seconds: 0.0,
                    predicted_s: 0.0,
                    gflop: 0.0,
                    gigabytes: 0.0,
                });
                table.len() - 1
            },
        );
        let row = &mut table[at];
        row.calls += 1;
        row.seconds += seconds;
        row.predicted_s += machine.seconds(call.flops, call.bytes);
        row.gflop += call.flops as f64 / 1e9;
        row.gigabytes += call.bytes as f64 / 1e9;
    }
    table.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(table)
}
