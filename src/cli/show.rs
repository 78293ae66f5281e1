//! `hrmc show`.

use clap::Args;

use super::failure::Failure;
use super::project::{Devices, Project};
use super::{spec, terminal};

const EXAMPLES: &str = "\
Examples:
  hrmc show specs/sudoku.hrm
  hrmc show specs/sudoku.hrm --set train.batch=64 > mine.hrm
  hrmc show runs/quickstart-001                                    the spec that a run was trained by";

/// Print a spec with every default written out.
///
/// hrmc replaces constants by their values and writes out every default. The result is a spec of the same model.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    chosen: spec::Chosen,
}

/// Runs `hrmc show`.
///
/// # Errors
///
/// Returns a failure if the spec cannot be read or has an error.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let loaded = arguments.chosen.load(&project)?;
    terminal::print(loaded.resolved())
}
