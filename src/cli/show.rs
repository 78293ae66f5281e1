//! `hrmc show`.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::project::Project;
use super::{spec, terminal};
use crate::check;

const EXAMPLES: &str = "\
Examples:
  hrmc show specs/sudoku.hrm
  hrmc show specs/sudoku.hrm --set train.batch=64 > mine.hrm";

/// Print a spec with every default written out.
///
/// Constants are replaced by their values and every default is written out. The result is a spec again, and
/// it means the same model.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Spec to show [default: that of hrmc.toml, else the built-in quickstart]
    spec: Option<PathBuf>,
    /// Replace a value of the spec, as in `--set train.batch=64`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

/// Runs `hrmc show`.
///
/// # Errors
///
/// Returns a failure if the spec cannot be read or has an error.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let project = Project::find()?;
    let source = spec::read(arguments.spec.as_deref(), &project)?;
    let loaded = spec::load(source, &arguments.overrides)?;
    terminal::print(check::show(&loaded.model))
}
