//! Reading specs: from a file or the built-in one, with overrides, and reporting what is wrong with them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::project::Project;
use super::terminal::{self, grouped};
use crate::check::{self, check};
use crate::diagnostic::{self, Diagnostic, render};
use crate::ir;
use crate::span::Source;
use crate::syntax::{self, BaseFile, Parsed, Whole, ast, over_base, parse};
use crate::system::reason;

/// Name of the spec that is used where none is given.
const QUICKSTART_NAME: &str = "quickstart.hrm (built in)";

/// The spec that is used where none is given; part of the binary, so that it works in any folder.
const QUICKSTART: &str = include_str!("../../specs/quickstart.hrm");

/// The arguments that choose a spec, of every command that takes one alone.
#[derive(Debug, Args)]
pub struct Chosen {
    /// The spec [default: that of hrmc.toml, else the built-in quickstart]
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

/// A spec without errors.
pub struct Spec {
    /// Its text, overrides applied.
    pub source: Source,
    /// Its syntax tree.
    pub file: ast::File,
    /// What it means.
    pub model: ir::Model,
}

/// A spec with everything that is to be said about it.
pub struct Examined {
    /// Its text, overrides applied where they could be.
    pub source: Source,
    /// Its syntax tree, as far as it could be read.
    pub file: ast::File,
    /// What it means, if there is no error.
    pub model: Option<ir::Model>,
    /// Errors and warnings, each with the text it points into.
    pub diagnostics: Vec<(Source, Vec<Diagnostic>)>,
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
///
/// Returns a failure if it cannot be read or is not text.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = read.map_err(|error| Failure::cannot_read(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = sound.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Failure::message(format!("cannot read `{}`: line {line} is not UTF-8 text", path.display()))
    })
}

/// Reads the spec at `path`, else that of the project, else the built-in one.
///
/// # Errors
///
/// Returns a failure if the file cannot be read.
pub fn read(path: Option<&Path>, project: &Project<'_>) -> Result<Source, Failure> {
    let path: PathBuf = match (path, project.spec()) {
        (Some(path), _) => path.to_path_buf(),
        (None, Some(path)) => path,
        (None, None) => return Ok(Source::new(QUICKSTART_NAME, QUICKSTART)),
    };
    if path.is_dir() {
        return Err(Failure::message(format!(
            "`{}` is a folder, expected a spec: a file like `model.hrm`",
            path.display()
        )));
    }
    Ok(Source::new(path.display().to_string(), read_text(&path)?))
}

/// Reads the base of a spec.
fn read_base(path: &Path) -> Result<BaseFile, String> {
    let text = fs::read_to_string(path).map_err(|error| reason(&error))?;
    // A name can be spelled in many ways; what the system calls the file cannot.
    let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    Ok(BaseFile { text, identity })
}

/// Puts a spec over its base, applies overrides to it, reads it and checks it.
pub fn examine(source: Source, overrides: &[String]) -> Examined {
    let identity = fs::canonicalize(&source.name).ok();
    match over_base(source.clone(), identity, &read_base) {
        Ok(Whole { source, refused: None }) => examine_whole(source, overrides),
        Ok(whole) => {
            // What can be read is worth checking, though values from the command line may have lost their place.
            let Parsed { file, .. } = whole.parse();
            let checked = check(&file);
            let diagnostics =
                whole.refused.into_iter().chain([(whole.source, checked.diagnostics)]).collect();
            Examined { file: parse(&source).file, source, model: None, diagnostics }
        }
        Err(faulty) => {
            let file = parse(&source).file;
            Examined { source, file, model: None, diagnostics: vec![faulty] }
        }
    }
}

/// Applies overrides to a spec that has no base any more, reads it and checks it.
pub fn examine_whole(source: Source, overrides: &[String]) -> Examined {
    let mut diagnostics = Vec::new();
    let mut parsed_overrides = Vec::new();
    for text in overrides {
        match syntax::parse_override(text) {
            Ok(parsed) => parsed_overrides.push(parsed),
            Err(rejected) => diagnostics.push((rejected.source, rejected.diagnostics)),
        }
    }
    let source = match check::apply_overrides(&source, &parsed_overrides) {
        Ok(source) => source,
        Err(rejected) => {
            diagnostics.extend(rejected.into_iter().map(|rejected| (rejected.source, rejected.diagnostics)));
            source
        }
    };
    let parsed = parse(&source);
    let checked = check(&parsed.file);
    let mut found = parsed.diagnostics;
    found.extend(checked.diagnostics);
    diagnostic::sort(&mut found);
    diagnostics.push((source.clone(), found));
    let refused = diagnostics.iter().any(|(_, found)| diagnostic::has_errors(found));
    let model = checked.model.filter(|_| !refused);
    Examined { source, file: parsed.file, model, diagnostics }
}

/// Most problems of one text that are shown.
const MOST_SHOWN: usize = 100;

/// Writes errors and warnings to standard error, of very many the first ones.
pub fn report(diagnostics: &[(Source, Vec<Diagnostic>)]) {
    let appearance = terminal::error_appearance();
    for (source, found) in diagnostics {
        let shown = &found[..found.len().min(MOST_SHOWN)];
        terminal::write_error_text(&render(source, shown, appearance));
        if found.len() > shown.len() {
            let rest = grouped((found.len() - shown.len()) as u64);
            terminal::note(format_args!("{rest} more problems in `{}` are not shown", source.name));
        }
    }
}

/// Checks a spec and reports what is to be said about it.
///
/// # Errors
///
/// Returns a failure, already reported, if there is an error in it.
pub fn load(source: Source, overrides: &[String]) -> Result<Spec, Failure> {
    let examined = examine(source, overrides);
    report(&examined.diagnostics);
    match examined.model {
        Some(model) => Ok(Spec { source: examined.source, file: examined.file, model }),
        None => Err(Failure::Reported),
    }
}
