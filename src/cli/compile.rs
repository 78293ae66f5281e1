//! `hrmc compile`.

#[cfg(feature = "cuda")]
mod cuda;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::census::to_text;
use super::failure::Failure;
use super::project::{Devices, Project};
use super::{spec, terminal};
use crate::census::{Census, CensusOptions};
#[cfg(feature = "cuda")]
use crate::device::cuda::card::Card;
use crate::lower::{Program, Sizes};
use crate::pipeline::compile;
use crate::plan::Machine;
use crate::train::{DataSize, PuzzleRows, evaluate_batch};
use crate::{figure, graph, ir, plan, syntax};

const EXAMPLES: &str = "\
Examples:
  hrmc compile specs/sudoku.hrm
  hrmc compile specs/sudoku.hrm --set model.N=4 --batch 32
  hrmc compile specs/sudoku.hrm --emit svg -o segment.svg
  hrmc compile specs/quickstart.hrm --emit plan --program evaluate
  hrmc compile specs/sudoku.hrm --emit plan --gflops 95 --gbs 12
  hrmc compile specs/quickstart.hrm --emit dot | dot -Tsvg > graph.svg";

/// Compile a spec and report its cost, without running anything.
///
/// The report has the parameters of each network, the work of one segment of training (forward, backward and
/// target pass) and of evaluation, the activations kept for the backward pass, the memory for the batch, and
/// the operators before and after each pass. `both in one session` is the memory that `hrmc run --train` takes at
/// most on this machine. `--emit` writes one stage of the compiler instead.
#[cfg_attr(
    feature = "cuda",
    doc = "",
    doc = " With `--device cuda` it reports what a GPU would run: launches, work, and the shortest time",
    doc = " that they can take on a card by its data sheet. That needs no GPU."
)]
#[derive(Debug, Args)]
#[command(after_help = examples())]
pub struct Arguments {
    #[command(flatten)]
    chosen: spec::Chosen,
    /// Rows in a batch [default: that of the spec, else 1]
    #[arg(long, value_name = "ROWS", value_parser = super::rows)]
    batch: Option<usize>,
    /// Threads that memory is predicted for [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::positive)]
    threads: Option<usize>,
    /// Device that the plan is for
    #[arg(long, default_value = "cpu")]
    device: Target,
    /// Card that times are predicted for, and that kernels are compiled for [default: h100]
    #[cfg(feature = "cuda")]
    #[arg(long, value_parser = cuda::card_parser())]
    card: Option<Card>,
    /// Write a stage instead of the report
    #[arg(long, value_name = "STAGE")]
    emit: Option<Stage>,
    /// Program whose graph or plan is written [default: train, or evaluate if the spec does not train]
    #[arg(long, requires = "emit")]
    program: Option<CompileProgram>,
    /// Rate of a large product for which `--emit plan` predicts times, in GFLOP/s; `hrmc bench` measures it
    #[cfg_attr(
        not(feature = "cuda"),
        doc = " [default: 480, or 1000 in bf16, of the machine of docs/benchmarks.md]"
    )]
    #[cfg_attr(
        feature = "cuda",
        doc = " [default: 480, or 1000 in bf16, of the machine of docs/benchmarks.md; for CUDA that of the card]"
    )]
    #[arg(long, value_name = "RATE", requires = "emit", value_parser = rate)]
    gflops: Option<f64>,
    /// Rate of memory for which `--emit plan` predicts times, in GB/s; `hrmc bench` measures it
    #[cfg_attr(not(feature = "cuda"), doc = " [default: 40]")]
    #[cfg_attr(feature = "cuda", doc = " [default: 40; for CUDA that of the card]")]
    #[arg(long, value_name = "RATE", requires = "emit", value_parser = rate)]
    gbs: Option<f64>,
    #[cfg_attr(not(feature = "cuda"), doc = " Write to a file instead of standard output")]
    #[cfg_attr(
        feature = "cuda",
        doc = " Write to a file instead of standard output; for kernels, the folder"
    )]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The devices of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The CPU
    Cpu,
    /// An NVIDIA GPU
    #[cfg(feature = "cuda")]
    Cuda,
}

/// The stages of `--emit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The syntax tree, with the bytes of each node
    Ast,
    /// The checked model
    Model,
    /// The graph after all passes
    Graph,
    /// The plan: calls, memory, cost and predicted times
    Plan,
    /// The graph in Graphviz's language
    Dot,
    /// The loop nest and one segment as a picture: gradients, shared weights, work
    Svg,
    /// The report as JSON
    Json,
    /// The kernels for CUDA: their text, and compiled if NVRTC is found
    #[cfg(feature = "cuda")]
    Kernels,
}

/// A program of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompileProgram {
    /// One segment of training
    Train,
    /// One segment of evaluation
    Evaluate,
}

impl Stage {
    /// Returns whether this is a stage of one program, and not of the whole model.
    fn is_of_a_program(self) -> bool {
        match self {
            Stage::Graph | Stage::Plan | Stage::Dot => true,
            #[cfg(feature = "cuda")]
            Stage::Kernels => true,
            Stage::Ast | Stage::Model | Stage::Svg | Stage::Json => false,
        }
    }
}

fn examples() -> String {
    #[cfg(feature = "cuda")]
    let more = cuda::EXAMPLES;
    #[cfg(not(feature = "cuda"))]
    let more = "";
    format!("{EXAMPLES}{more}")
}

/// Runs `hrmc compile`.
///
/// # Errors
///
/// Returns a failure if the spec has an error, or the result cannot be written.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let loaded = arguments.chosen.load(&project)?;
    let model = &loaded.model;
    if (arguments.gflops.is_some() || arguments.gbs.is_some()) && arguments.emit != Some(Stage::Plan) {
        return Err(Failure::message("`--gflops` and `--gbs` are for `--emit plan`, which predicts times"));
    }
    if arguments.program.is_some() && !arguments.emit.is_some_and(Stage::is_of_a_program) {
        let stages = match cfg!(feature = "cuda") {
            true => "`--emit graph`, `plan`, `dot` and `kernels`",
            false => "`--emit graph`, `plan` and `dot`",
        };
        return Err(Failure::message(format!(
            "`--program` is for {stages}; the other stages are of the whole model"
        )));
    }
    #[cfg(feature = "cuda")]
    cuda::check(arguments)?;
    let rows = PuzzleRows::of(&loaded, project.root())?;
    let sizes =
        Sizes { batch: arguments.batch.unwrap_or_else(|| default_batch(model)), puzzle_rows: rows.count };
    let text = match arguments.device {
        #[cfg(feature = "cuda")]
        Target::Cuda if arguments.emit == Some(Stage::Kernels) => {
            return cuda::write_kernels(arguments, model, sizes);
        }
        #[cfg(feature = "cuda")]
        Target::Cuda => cuda::text(arguments, model, sizes)?,
        Target::Cpu => {
            let census = || -> Result<Census, Failure> {
                // Training says what is wrong with data.
                let data = DataSize::of(&loaded, project.root()).ok().flatten();
                let options = CensusOptions {
                    puzzle_rows_origin: rows.origin.clone(),
                    evaluate_batch: data.map(|data| evaluate_batch(sizes.batch, data.test_examples)),
                    data_bytes: data.map_or(0, |data| data.bytes),
                    threads: match arguments.threads {
                        Some(threads) => threads,
                        None => project.threads(None)?,
                    },
                };
                Ok(Census::of(model, sizes, options))
            };
            let compiled = || Ok::<_, Failure>(compile(model, program(model, arguments.program)?, sizes));
            match arguments.emit {
                None => to_text(&census()?),
                Some(Stage::Json) => format!("{:#}\n", json!(census()?)),
                Some(Stage::Ast) => syntax::to_text(&loaded.file),
                Some(Stage::Model) => ir::to_text(model),
                Some(Stage::Svg) => figure::to_svg(model, sizes),
                Some(Stage::Graph) => graph::to_text(&compiled()?.graph),
                Some(Stage::Dot) => graph::to_dot(&compiled()?.graph),
                Some(Stage::Plan) => {
                    let machine = machine(arguments, Machine::reference(model.precision()));
                    plan::to_text(&compiled()?.plan, &machine)
                }
                #[cfg(feature = "cuda")]
                Some(Stage::Kernels) => return Err(cuda::kernels_need_more()),
            }
        }
    };
    terminal::print_to(arguments.output.as_deref(), &text)
}

/// Returns the rows in a batch if the command line does not give them.
pub fn default_batch(model: &ir::Model) -> usize {
    model.train.as_ref().map_or(1, |train| train.batch)
}

/// Returns the machine that times are predicted for: `reference`, with the given rates in place of its own.
fn machine(arguments: &Arguments, reference: Machine) -> Machine {
    Machine {
        gflop_per_s: arguments.gflops.unwrap_or(reference.gflop_per_s),
        gigabytes_per_s: arguments.gbs.unwrap_or(reference.gigabytes_per_s),
    }
}

/// Reads a rate, which is above zero.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("a rate is a number above 0".to_string()),
    }
}

fn program(model: &ir::Model, name: Option<CompileProgram>) -> Result<Program, Failure> {
    let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
    match name {
        Some(CompileProgram::Train) if model.train.is_none() => Err(Failure::message(format!(
            "`{}` has no `train` block, so there is no program to train it; use `--program evaluate`",
            model.name
        ))),
        Some(CompileProgram::Train) => Ok(Program::Train),
        Some(CompileProgram::Evaluate) => Ok(Program::Evaluate { averaged }),
        None if model.train.is_some() => Ok(Program::Train),
        None => Ok(Program::Evaluate { averaged }),
    }
}
