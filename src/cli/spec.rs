//! Reads specs, from a file or the built-in one, applies overrides, and reports problems.

#![expect(clippy::disallowed_methods, reason = "what the user named may be a folder")]

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Failure, fail};
use super::project::Project;
use super::terminal::{self, grouped};
use crate::diagnostic::{Diagnostic, render};
use crate::reading::{self, Kind};
use crate::span::Source;
use crate::spec::{self, Examined, SpecError};
use crate::train::Run;

pub use crate::spec::Spec;

/// The arguments that choose a spec, for commands that take exactly one.
#[derive(Debug, Args)]
pub struct Chosen {
    /// The spec, or the folder of a run for its spec [default: that of hrmc.toml, else the built-in quickstart]
    spec: Option<PathBuf>,
    /// Replace a value of the spec, as in `--set train.batch=64`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

impl Chosen {
    /// Reads and checks the spec.
    ///
    /// # Errors
    ///
    /// Returns a failure if it cannot be read or has an error.
    pub fn load(&self, project: &Project<'_>) -> Result<Spec, Failure> {
        load(read(self.spec.as_deref(), project)?, &self.overrides)
    }
}

/// Reads a file of some kind, or standard input for `-`.
///
/// # Errors
///
/// Returns a failure if it cannot be read or is not text.
pub fn read_text(path: &Path, kind: &Kind) -> Result<String, Failure> {
    if path == Path::new("-") {
        return reading::text_of(io::stdin().lock(), kind)
            .map_err(|error| Failure::cannot_read(Path::new("standard input"), &error));
    }
    spec::read_text(path, kind).map_err(fail)
}

/// Reads the spec at `path`, which may be the folder of a run, else that of the project, else the built-in one.
///
/// # Errors
///
/// Returns a failure if the file cannot be read, or the run is damaged.
pub fn read(path: Option<&Path>, project: &Project<'_>) -> Result<Source, Failure> {
    let path: PathBuf = match (path, project.spec()) {
        (Some(path), _) => path.to_path_buf(),
        (None, Some(path)) => path,
        (None, None) => return Ok(spec::quickstart_source()),
    };
    if path == Path::new("-") && !path.is_dir() {
        return Ok(Source::new("-", read_text(&path, &reading::SPEC)?));
    }
    if Run::is_run(&path) {
        return Ok(Run::read_spec(&path)?);
    }
    if path.is_dir() {
        return Err(Failure::message(format!(
            "`{}` is a folder without `run.toml`; expected a spec, a file like `model.hrm`, or the folder of a run",
            path.display()
        )));
    }
    spec::read_source(&path).map_err(fail)
}

/// Puts a spec over its base, applies overrides to it, reads it and checks it.
pub fn examine(source: Source, overrides: &[String]) -> Examined {
    spec::examine(source, overrides)
}

/// The largest number of problems of one text that are shown.
const MAX_SHOWN: usize = 100;

/// Writes errors and warnings to standard error: the first ones, if there are very many.
pub fn report(diagnostics: &[(Source, Vec<Diagnostic>)]) {
    let appearance = terminal::error_appearance();
    for (source, found) in diagnostics {
        let shown = &found[..found.len().min(MAX_SHOWN)];
        terminal::write_error_text(&render(source, shown, appearance));
        if found.len() > shown.len() {
            let rest = grouped((found.len() - shown.len()) as u64);
            terminal::note(format_args!("{rest} more problems in `{}` are not shown", source.name));
        }
    }
}

impl From<SpecError> for Failure {
    /// Reports the problems of a spec in the colours of the terminal.
    fn from(error: SpecError) -> Failure {
        if error.problems().is_empty() {
            return fail(error);
        }
        report(error.problems());
        Failure::Reported
    }
}

/// Checks a spec and reports its problems.
///
/// # Errors
///
/// Returns a failure, already reported, if the spec has an error.
pub fn load(source: Source, overrides: &[String]) -> Result<Spec, Failure> {
    let spec = Spec::read(source, overrides)?;
    report(spec.warnings());
    Ok(spec)
}
