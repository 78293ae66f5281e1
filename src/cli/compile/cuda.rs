//! `hrmc compile --device cuda`.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::{Arguments, Stage, Target, machine, program};
use crate::cli::failure::{Failure, fail};
use crate::cli::{launches, terminal};
use crate::device::cuda::card::Card;
use crate::device::cuda::launch_text::plan_text;
use crate::device::cuda::report::LaunchReport;
use crate::ir::Model;
use crate::lower::Sizes;
use crate::pipeline::{Compiled, compile_for};
use crate::plan::Demands;

/// Examples after those that need no CUDA.
pub const EXAMPLES: &str = "
  hrmc compile specs/sudoku.hrm --device cuda
  hrmc compile specs/maze.hrm --device cuda --card a100 --batch 96
  hrmc compile specs/sudoku.hrm --device cuda --emit kernels -o kernels";

/// Returns the parser of `--card`. The help of each name is the data sheet of the card.
pub fn card_parser() -> impl TypedValueParser<Value = Card> {
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

/// Refuses stages that do not depend on CUDA, and `--card` without it.
///
/// # Errors
///
/// Returns a failure that says where the option is allowed.
pub fn check(arguments: &Arguments) -> Result<(), Failure> {
    let is_for_cuda = arguments.device == Target::Cuda;
    if is_for_cuda && !matches!(arguments.emit, None | Some(Stage::Plan | Stage::Kernels | Stage::Json)) {
        return Err(Failure::message(
            "`--device cuda` is for the report, `--emit json`, `plan` and `kernels`; \
             other stages do not depend on a device",
        ));
    }
    if arguments.card.is_some() && !is_for_cuda {
        return Err(Failure::message("`--card` is for `--device cuda`"));
    }
    Ok(())
}

/// Returns the report, or the stage that is asked for.
///
/// # Errors
///
/// Returns a failure if the model has no such program.
pub fn text(arguments: &Arguments, model: &Model, sizes: Sizes) -> Result<String, Failure> {
    match arguments.emit {
        Some(Stage::Plan) => {
            let plan = compiled(arguments, model, sizes)?.plan;
            Ok(plan_text(&plan, &machine(arguments, card(arguments).machine(model.precision()))))
        }
        Some(Stage::Json) => {
            let report = LaunchReport::of(model, sizes, card(arguments));
            Ok(format!("{:#}\n", serde_json::to_value(&report).map_err(fail)?))
        }
        _ => Ok(launches::to_text(&LaunchReport::of(model, sizes, card(arguments)))),
    }
}

/// Writes the kernels into the folder of `--output`, and prints their names.
///
/// # Errors
///
/// Returns a failure if there is no folder, or it cannot be written.
pub fn write_kernels(arguments: &Arguments, model: &Model, sizes: Sizes) -> Result<(), Failure> {
    let folder = arguments.output.as_deref().ok_or_else(kernels_need_more)?;
    let plan = compiled(arguments, model, sizes)?.plan;
    terminal::print(launches::write_kernels(&plan, folder, card(arguments))?)
}

/// Returns the failure for `--emit kernels` without its other options.
pub fn kernels_need_more() -> Failure {
    Failure::message("`--emit kernels` needs `--device cuda`, and a folder to write to with `-o`")
}

fn card(arguments: &Arguments) -> Card {
    arguments.card.unwrap_or(Card::H100)
}

fn compiled(arguments: &Arguments, model: &Model, sizes: Sizes) -> Result<Compiled, Failure> {
    let program = program(model, arguments.program)?;
    Ok(compile_for(model, program, sizes, Demands::cuda(model.precision())))
}
