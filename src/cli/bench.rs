//! `hrmc bench`.

use clap::{Args, ValueEnum};

use super::failure::{Failure, fail, fail_too_large};
use super::project::{Devices, Project};
use super::{spec, terminal};
use crate::bench::{BenchOptions, BenchReport, Measured, measure};
use crate::device::{Device, EngineOptions, Form};
use crate::ir::Model;
use crate::lower::Sizes;
use crate::train::{Wanted, check_memory};

const EXAMPLES: &str = "\
Examples:
  hrmc bench specs/sudoku-small.hrm --batch 32
  hrmc bench specs/sudoku.hrm --batch 16 --repeat 5 --json
  hrmc bench specs/sudoku.hrm --batch 1 --program answer
  hrmc bench specs/quickstart.hrm --profile";
#[cfg(feature = "cuda")]
const CUDA_EXAMPLE: &str = "\n  hrmc bench specs/sudoku.hrm --device cuda --batch 768";
#[cfg(not(feature = "cuda"))]
const CUDA_EXAMPLE: &str = "";

/// Time one training segment and one evaluation segment of a spec.
///
/// Reports the best and the median of several runs, the rate of matrix work, and its share of the peak: the rate of
/// one large product in the same precision, measured in the same run. Weights and rows are random; the time does not
/// depend on them. Work that the compiler skips as unnecessary counts as done.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}{CUDA_EXAMPLE}"))]
pub struct Arguments {
    #[command(flatten)]
    chosen: spec::Chosen,
    /// Rows in a batch [default: that of the spec, else 1]
    #[arg(long, value_name = "ROWS", value_parser = super::rows)]
    batch: Option<usize>,
    /// Program to time; may be repeated, and `--profile` shows the kernels of the first one
    /// [default: train (if the spec trains) and evaluate]
    #[arg(long = "program", value_name = "PROGRAM")]
    programs: Vec<BenchProgram>,
    /// Measured runs of each program, after one run to warm up
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = super::positive)]
    repeat: usize,
    /// Device that runs the programs [default: that of hrmc.toml, else cpu]
    #[arg(long)]
    device: Option<String>,
    /// Threads [default: that of hrmc.toml, else one for each core]
    #[arg(long, value_name = "COUNT", value_parser = super::positive)]
    threads: Option<usize>,
    /// Time each kind of kernel in the first program, too, and print the time beside it that `hrmc compile --emit plan`
    /// predicts from the peak and the copy rate of this run
    #[arg(long)]
    profile: bool,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

/// The choices of `--program`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BenchProgram {
    /// One training segment
    Train,
    /// One evaluation segment
    Evaluate,
    /// All segments of an answer, from an empty carry: the number in `infer`, else the largest number in training
    Answer,
}

impl From<BenchProgram> for Measured {
    fn from(name: BenchProgram) -> Measured {
        match name {
            BenchProgram::Train => Measured::Train,
            BenchProgram::Evaluate => Measured::Evaluate,
            BenchProgram::Answer => Measured::Answer,
        }
    }
}

/// Runs `hrmc bench`.
///
/// # Errors
///
/// Returns a failure if the spec has an error or the memory cannot be allocated.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let loaded = arguments.chosen.load(&project)?;
    let model = &loaded.model;
    let batch = arguments.batch.unwrap_or_else(|| model.train.as_ref().map_or(1, |train| train.batch));
    let lowering = Sizes { batch, puzzle_rows: 1 };
    let measured = measured(model, &arguments.programs)?;
    let programs: Vec<_> = measured.iter().map(|measured| (measured.program(), lowering)).collect();
    let device = project.device(arguments.device.as_deref());
    if !device.is_fast() {
        let (name, others) = (device.name(), names(devices, |other| other.is_fast()));
        return Err(Failure::message(format!("the device `{name}` is not made for speed; time {others}")));
    }
    if device.form() == Form::Graph && arguments.profile {
        let (name, others) = (device.name(), names(devices, |other| other.form() == Form::Plan));
        return Err(Failure::message(format!(
            "`--profile` shows the kernels of a plan, and `{name}` runs none; profile {others}"
        )));
    }
    let threads = project.threads(arguments.threads)?;
    check_memory(&Wanted { model, programs: &programs, data_bytes: 0 }, &*device, &EngineOptions { threads })
        .map_err(|error| fail_too_large(&error, "--batch "))?;
    let options =
        BenchOptions { device, batch, threads, repeat: arguments.repeat, profile: arguments.profile };
    let report = measure(model, &measured, options).map_err(fail)?;
    if arguments.json {
        return terminal::print_json(&serde_json::to_value(&report).map_err(fail)?);
    }
    terminal::print(table(&report))
}

/// Returns the names of the devices that are wanted, joined by `or`.
fn names(devices: &Devices, is_wanted: impl Fn(&dyn Device) -> bool) -> String {
    let wanted = devices.iter().filter(|device| is_wanted(&***device));
    wanted.map(|device| format!("`{}`", device.name())).collect::<Vec<_>>().join(" or ")
}

/// Returns the programs to time, each once.
fn measured(model: &Model, names: &[BenchProgram]) -> Result<Vec<Measured>, Failure> {
    let trains = model.train.is_some();
    if names.contains(&BenchProgram::Train) && !trains {
        return Err(Failure::message(format!(
            "`{}` has no `train` block, so there is no training to time; use `--program evaluate`",
            model.name
        )));
    }
    let mut measured: Vec<Measured> = Vec::new();
    for &name in names {
        if !measured.contains(&name.into()) {
            measured.push(name.into());
        }
    }
    if names.is_empty() {
        measured.extend(trains.then_some(Measured::Train));
        measured.push(Measured::Evaluate);
    }
    Ok(measured)
}

fn table(report: &BenchReport) -> String {
    let mut text = terminal::heading(&format!(
        "{} on {}, batch {}, {}, {}\n",
        report.model,
        report.device,
        report.batch,
        terminal::counted(report.threads, "thread"),
        report.precision
    ));
    text.push_str(&format!(
        "peak of one large product {:.1} GFLOP/s (in f32 {:.1}), of a copy {:.1} GB/s\n",
        report.peak_gflop_per_s, report.peak_f32_gflop_per_s, report.copy_gigabytes_per_s
    ));
    text.push_str(&format!(
        "first segment after {}, memory {}{}\n\n",
        terminal::duration(report.start_s),
        terminal::bytes(report.memory_bytes as u64),
        report
            .resident_bytes
            .map(|bytes| format!(", at most {} resident", terminal::bytes(bytes)))
            .unwrap_or_default()
    ));
    text.push_str(&format!(
        "{:<10} {:>8} {:>10} {:>10} {:>12} {:>10} {:>10} {:>8} {:>7}\n",
        "program", "segments", "best s", "median s", "sequences/s", "GFLOP", "GFLOP/s", "of peak", "calls"
    ));
    for row in &report.programs {
        text.push_str(&format!(
            "{:<10} {:>8} {:>10.4} {:>10.4} {:>12.1} {:>10.2} {:>10.1} {:>8} {:>7}\n",
            row.program,
            row.segments,
            row.best_s,
            row.median_s,
            row.sequences_per_s,
            row.gflop,
            row.gflop_per_s,
            terminal::percent(row.share_of_peak),
            row.calls.map_or("-".to_string(), |calls| calls.to_string())
        ));
    }
    if report.kernels.is_empty() {
        return text;
    }
    let total: f64 = report.kernels.iter().map(|kernel| kernel.seconds).sum();
    text.push_str(&format!(
        "\n{:<22} {:<9} {:>6} {:>10} {:>7} {:>10} {:>6} {:>10} {:>8}\n",
        "kernel", "phase", "calls", "ms", "share", "predicted", "ratio", "GFLOP/s", "GB/s"
    ));
    for kernel in &report.kernels {
        text.push_str(&format!(
            "{:<22} {:<9} {:>6} {:>10.3} {:>7} {:>10.3} {:>6.2} {:>10.1} {:>8.1}\n",
            kernel.operator,
            kernel.phase,
            kernel.calls,
            kernel.seconds * 1e3,
            terminal::percent(kernel.seconds / total),
            kernel.predicted_s * 1e3,
            kernel.seconds / kernel.predicted_s,
            kernel.gflop / kernel.seconds,
            kernel.gigabytes / kernel.seconds
        ));
    }
    let predicted: f64 = report.kernels.iter().map(|kernel| kernel.predicted_s).sum();
    text.push_str(&format!(
        "{:<22} {:<9} {:>6} {:>10.3} {:>7} {:>10.3} {:>6.2}\n",
        "all",
        "",
        report.kernels.iter().map(|kernel| kernel.calls).sum::<usize>(),
        total * 1e3,
        terminal::percent(1.0),
        predicted * 1e3,
        total / predicted
    ));
    text
}
