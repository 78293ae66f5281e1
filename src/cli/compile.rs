//! `hrmc compile`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::census::to_text;
use super::failure::{Failure, fail};
use super::project::{Devices, Project};
use super::{launches, spec, terminal};
use crate::census::{self, Census};
use crate::device::cuda::card::Card;
use crate::device::cuda::launch_text::plan_text;
use crate::lower::{Program, Sizes};
use crate::pipeline::Compiled;
use crate::plan::{Demands, Machine};
use crate::train::PuzzleRows;
use crate::{graph, ir, pipeline, plan, syntax};

const EXAMPLES: &str = "\
Examples:
  hrmc compile specs/sudoku.hrm
  hrmc compile specs/sudoku.hrm --set model.N=4 --batch 32
  hrmc compile specs/quickstart.hrm --emit plan --program evaluate
  hrmc compile specs/sudoku.hrm --emit plan --gflops 95 --gbs 12
  hrmc compile specs/quickstart.hrm --emit dot | dot -Tsvg > graph.svg
  hrmc compile specs/sudoku.hrm --device cuda
  hrmc compile specs/maze.hrm --device cuda --card a100 --batch 96
  hrmc compile specs/sudoku.hrm --device cuda --emit kernels -o kernels";

/// Compile a spec and report what it costs, without running anything.
///
/// The report has the parameters of each network, the work of one segment of training (forward, backward and
/// target pass) and of evaluation, the activations kept for the backward pass, the memory for the batch, and
/// the operators before and after each pass. `--emit` writes one stage of the compiler instead.
///
/// With `--device cuda` it reports what CUDA runs: launches, work, and the time that a card should take at best, by its
/// data sheet. No GPU is needed for that.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    chosen: spec::Chosen,
    /// Rows in a batch [default: that of the spec, else 1]
    #[arg(long, value_name = "ROWS", value_parser = super::rows)]
    batch: Option<usize>,
    /// What the plan is for
    #[arg(long, default_value = "cpu")]
    device: Target,
    /// Card that times are predicted for, and that kernels are compiled for [default: h100]
    #[arg(long, value_parser = card_parser())]
    card: Option<Card>,
    /// Write a stage instead of the report
    #[arg(long, value_name = "STAGE")]
    emit: Option<Stage>,
    /// Program whose graph or plan is written [default: train, or evaluate if the spec does not train]
    #[arg(long, requires = "emit")]
    program: Option<ProgramName>,
    /// Rate of a large product for which `--emit plan` predicts times, in GFLOP/s; `hrmc bench` measures it
    /// [default: 480, or 1000 in bf16, of the machine of docs/benchmarks.md; for CUDA that of the card]
    #[arg(long, value_name = "RATE", requires = "emit", value_parser = rate)]
    gflops: Option<f64>,
    /// Rate of memory for which `--emit plan` predicts times, in GB/s; `hrmc bench` measures it
    /// [default: 40; for CUDA that of the card]
    #[arg(long, value_name = "RATE", requires = "emit", value_parser = rate)]
    gbs: Option<f64>,
    /// Write to a file instead of standard output; for kernels, the folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The CPU
    Cpu,
    /// A GPU of NVIDIA
    Cuda,
}

/// What `--emit` writes.
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
    /// The report as JSON
    Json,
    /// The kernels for CUDA, as text, and compiled where NVRTC is found
    Kernels,
}

/// A program of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgramName {
    /// One segment of training
    Train,
    /// One segment of evaluation
    Evaluate,
}

impl Arguments {
    fn card(&self) -> Card {
        self.card.unwrap_or(Card::H100)
    }
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
    let of_a_program =
        matches!(arguments.emit, Some(Stage::Graph | Stage::Plan | Stage::Dot | Stage::Kernels));
    if arguments.program.is_some() && !of_a_program {
        return Err(Failure::message(
            "`--program` is for `--emit graph`, `plan`, `dot` and `kernels`; the other stages are of the whole model",
        ));
    }
    if arguments.device == Target::Cuda
        && !matches!(arguments.emit, None | Some(Stage::Plan | Stage::Kernels | Stage::Json))
    {
        return Err(Failure::message(
            "`--device cuda` is for the report, `--emit json`, `plan` and `kernels`; other stages know no device",
        ));
    }
    if arguments.card.is_some() && arguments.device != Target::Cuda {
        return Err(Failure::message("`--card` is for `--device cuda`"));
    }
    let rows = PuzzleRows::of(model, project.root())?;
    let options =
        Sizes { batch: arguments.batch.unwrap_or_else(|| default_batch(model)), puzzle_rows: rows.count };
    let census = || Census::of(model, options, rows.origin.clone());
    let text = match arguments.emit {
        None if arguments.device == Target::Cuda => {
            launches::to_text(&census::launches(model, options, arguments.card()))
        }
        None => to_text(&census()),
        Some(Stage::Json) if arguments.device == Target::Cuda => {
            let report = census::launches(model, options, arguments.card());
            format!("{:#}\n", serde_json::to_value(&report).map_err(fail)?)
        }
        Some(Stage::Json) => format!("{:#}\n", json!(census())),
        Some(Stage::Ast) => syntax::to_text(&loaded.file),
        Some(Stage::Model) => ir::to_text(model),
        Some(Stage::Kernels) => {
            let (Target::Cuda, Some(folder)) = (arguments.device, &arguments.output) else {
                return Err(Failure::message(
                    "`--emit kernels` needs `--device cuda`, and a folder to write to with `-o`",
                ));
            };
            let compiled = compile_for(model, program(model, arguments.program)?, options, Target::Cuda);
            return terminal::print(launches::write_kernels(&compiled.plan, folder, arguments.card())?);
        }
        Some(stage @ (Stage::Graph | Stage::Plan | Stage::Dot)) => {
            let compiled = compile_for(model, program(model, arguments.program)?, options, arguments.device);
            match stage {
                Stage::Plan if arguments.device == Target::Cuda => {
                    plan_text(&compiled.plan, &machine(model, arguments))
                }
                Stage::Plan => plan::to_text(&compiled.plan, &machine(model, arguments)),
                Stage::Dot => graph::to_dot(&compiled.graph),
                Stage::Ast | Stage::Model | Stage::Graph | Stage::Json | Stage::Kernels => {
                    graph::to_text(&compiled.graph)
                }
            }
        }
    };
    terminal::print_to(arguments.output.as_deref(), &text)
}

fn compile_for(model: &ir::Model, program: Program, options: Sizes, target: Target) -> Compiled {
    let demands = match target {
        Target::Cpu => Demands::cpu(model.precision()),
        Target::Cuda => Demands::cuda(model.precision()),
    };
    pipeline::compile_for(model, program, options, demands)
}

/// Returns the rows in a batch where the command line does not say.
pub fn default_batch(model: &ir::Model) -> usize {
    model.train.as_ref().map_or(1, |train| train.batch)
}

fn machine(model: &ir::Model, arguments: &Arguments) -> Machine {
    let reference = match arguments.device {
        Target::Cpu => Machine::reference(model.precision()),
        Target::Cuda => arguments.card().machine(model.precision()),
    };
    Machine {
        gflop_per_s: arguments.gflops.unwrap_or(reference.gflop_per_s),
        gigabytes_per_s: arguments.gbs.unwrap_or(reference.gigabytes_per_s),
    }
}

/// Returns what reads the name of a card. The help of each name is its data sheet.
fn card_parser() -> impl TypedValueParser<Value = Card> {
    let names = Card::ALL.map(|card| {
        let sheet = card.data_sheet();
        PossibleValue::new(sheet.id).help(format!(
            "{}: {} TFLOP/s in bf16, {} in f32, {} TB/s",
            sheet.full_name,
            sheet.bf16_tflop_per_s,
            sheet.f32_tflop_per_s,
            sheet.gigabytes_per_s / 1000.0,
        ))
    });
    PossibleValuesParser::new(names)
        .map(|id| Card::from_id(&id).expect("the possible values are the ids of the cards"))
}

/// Reads a rate, which is above zero.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("a rate is a number above 0".to_string()),
    }
}

fn program(model: &ir::Model, name: Option<ProgramName>) -> Result<Program, Failure> {
    let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
    match name {
        Some(ProgramName::Train) if model.train.is_none() => Err(Failure::message(format!(
            "`{}` has no `train` block, so there is no program to train it; use `--program evaluate`",
            model.name
        ))),
        Some(ProgramName::Train) => Ok(Program::Train),
        Some(ProgramName::Evaluate) => Ok(Program::Evaluate { averaged }),
        None if model.train.is_some() => Ok(Program::Train),
        None => Ok(Program::Evaluate { averaged }),
    }
}
