//! `hrmc fmt`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::{spec, terminal};
use crate::reading;
use crate::shell;
use crate::span::Source;
use crate::syntax;

const EXAMPLES: &str = "\
Examples:
  hrmc fmt specs/*.hrm
  hrmc fmt --check specs/*.hrm
  hrmc fmt - < my.hrm";

/// Put specs into the canonical layout.
///
/// Rewrites each file in place and keeps comments at their statements. `-` reads standard input and writes
/// standard output.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Specs to lay out, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; name the files that would change and exit with 1 if there are any
    #[arg(long)]
    check: bool,
}

/// Runs `hrmc fmt`.
///
/// # Errors
///
/// Returns a failure if a file cannot be read, parsed or written, or `--check` finds one to change.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut failed = false;
    for file in &arguments.files {
        match format(file, arguments.check) {
            Ok(()) => {}
            // The other files are worth formatting all the same.
            Err(Failure::Message(message)) => {
                terminal::error(&message);
                failed = true;
            }
            Err(Failure::Reported) => failed = true,
            Err(Failure::OutputClosed) if failed => return Err(Failure::Reported),
            Err(ended @ (Failure::OutputClosed | Failure::Stopped(_))) => return Err(ended),
        }
    }
    if failed { Err(Failure::Reported) } else { Ok(()) }
}

fn format(file: &Path, only_check: bool) -> Result<(), Failure> {
    let is_stream = file == Path::new("-");
    let name = if is_stream { "standard input".to_string() } else { file.display().to_string() };
    let source = Source::new(name, spec::read_text(file, &reading::SPEC)?);
    let formatted = match syntax::format(&source) {
        Ok(formatted) => formatted,
        Err(diagnostics) => {
            spec::report(&[(source, diagnostics)]);
            return Err(Failure::Reported);
        }
    };
    match (only_check, is_stream) {
        (true, _) if formatted == source.text => Ok(()),
        (true, _) => Err(Failure::message(format!(
            "`{}` is not in the canonical layout; `hrmc fmt {}` lays it out",
            source.name,
            if is_stream { "-".to_string() } else { shell::path(file) }
        ))),
        (false, true) => terminal::print(formatted),
        (false, false) if formatted == source.text => Ok(()),
        (false, false) => terminal::write_file(file, &formatted),
    }
}
