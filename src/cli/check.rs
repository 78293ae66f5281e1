//! `hrmc check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::project::{Devices, Project};
use super::{spec, terminal};
use crate::diagnostic::{Severity, to_json};

const EXAMPLES: &str = "\
Examples:
  hrmc check specs/sudoku.hrm
  hrmc check specs/*.hrm
  hrmc check my.hrm --set model.N=3 --json";

/// Report every problem of specs.
///
/// Reports every error and warning of each spec, sorted by place, on standard error. It runs nothing and reads
/// no data. The exit code is 1 if there is an error, and 0 if there are only warnings.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Specs to check, or folders of runs for their specs [default: that of hrmc.toml, else the built-in quickstart]
    specs: Vec<PathBuf>,
    /// Replace a value of the spec, as in `--set train.batch=64`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Write the diagnostics as a JSON array to standard output
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc check`.
///
/// # Errors
///
/// Returns a failure if a spec cannot be read or has an error.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let paths: Vec<Option<&PathBuf>> =
        if arguments.specs.is_empty() { vec![None] } else { arguments.specs.iter().map(Some).collect() };
    let mut found = Vec::new();
    let mut unreadable = false;
    for path in paths {
        match spec::read(path.map(PathBuf::as_path), &project) {
            Ok(source) => found.extend(spec::examine(source, &arguments.overrides).diagnostics),
            // The other specs are worth checking all the same.
            Err(Failure::Message(message)) => {
                terminal::error(&message);
                unreadable = true;
            }
            Err(other) => return Err(other),
        }
    }
    let count = |severity: Severity| {
        found.iter().flat_map(|(_, found)| found).filter(|one| one.severity == severity).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    // A reader that has gone away does not make a faulty spec a good one.
    let mut written = Ok(());
    if arguments.json {
        let all = found.iter().flat_map(|(source, found)| match to_json(source, found) {
            serde_json::Value::Array(list) => list,
            other => vec![other],
        });
        written = terminal::print_json(&json!(all.collect::<Vec<_>>()));
    } else {
        spec::report(&found);
        if errors + warnings > 0 {
            let errors = terminal::counted(errors, "error");
            terminal::note(format_args!("{errors}, {}", terminal::counted(warnings, "warning")));
            // Errors first: only they make a spec unusable.
            let worst = found.iter().flat_map(|(_, found)| found).min_by_key(|one| one.severity);
            if let Some(worst) = worst {
                terminal::note(format_args!("`hrmc help {}` says more", worst.code.as_str()));
            }
        }
    }
    if errors > 0 || unreadable { Err(Failure::Reported) } else { written }
}
