//! Specs: a text, put over its base, with values replaced, read and checked.
//!
//! [`Spec::open`] and [`Spec::parse`] are the way from text to a checked model; [`examine`] is the same for those who
//! want every problem and what can be read in spite of them, too. A spec that has an error comes back as a
//! [`SpecError`], which displays as the rendered diagnostics. [`Spec::diff`] says how two specs differ in what they
//! mean, and [`Axis`] with [`combinations`] makes the specs of a sweep.

#![expect(clippy::disallowed_methods, reason = "specs are read, and the bases that they name")]

mod diff;
mod overrides;
mod sweep;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

pub use diff::{LineChange, Side, SpecDiff, Structure, ValueChange, is_equal, shown};
pub use sweep::{Axis, MAX_COMBINATIONS, SweepError, check_paths, combinations};

use crate::check::check;
use crate::diagnostic::{self, Appearance, Code, Diagnostic, render};
use crate::ir;
use crate::reading::{self, Kind};
use crate::span::Source;
use crate::spell;
use crate::syntax::{self, BaseFile, Parsed, Whole, ast, over_base, parse, parse_override};
use crate::system::reason;

/// Name of the built-in spec.
const QUICKSTART_NAME: &str = "quickstart.hrm (built in)";

/// The built-in spec; part of the binary, so that it works in any folder.
const QUICKSTART: &str = include_str!("../../specs/quickstart.hrm");

/// A spec without errors.
///
/// # Examples
///
/// ```
/// use hrmc::Spec;
///
/// let spec = Spec::open("specs/sudoku.hrm", &["model.N=3", "train.batch=64"])?;
/// assert_eq!(spec.model().max_segments(), 16);
/// assert!(spec.resolved().contains("repeat 3"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its text over its base, and behind it the overrides: what messages point into.
    pub(crate) source: Source,
    /// Its syntax tree, overrides applied.
    pub(crate) file: ast::File,
    /// What it means.
    pub(crate) model: ir::Model,
    /// Warnings, each with the text it points into.
    pub(crate) warnings: Vec<(Source, Vec<Diagnostic>)>,
    /// Values that were replaced, each as in `train.batch=64`.
    overrides: Vec<String>,
}

/// The error of a spec that cannot be read or is refused.
///
/// # Examples
///
/// ```
/// use hrmc::Spec;
///
/// let error = Spec::parse("mine.hrm", "model mine { tokens { vocab = 11 } }").expect_err("much is missing");
/// assert!(error.diagnostics().count() > 1);
/// println!("{error}"); // each problem with its line
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Unreadable {
        /// The path as it was given.
        path: String,
        /// What is in the way.
        reason: String,
    },
    /// The path leads to a folder.
    #[error("`{path}` is a folder, expected a spec: a file like `model.hrm`")]
    Folder {
        /// The path as it was given.
        path: String,
    },
    /// There are errors in the spec, and perhaps warnings.
    #[error("{}", rendered(.0))]
    Faulty(Vec<(Source, Vec<Diagnostic>)>),
}

/// A spec with everything that is to be said about it.
pub struct Examined {
    /// Its text, and behind it the overrides: what messages point into.
    pub source: Source,
    /// Its syntax tree as far as it could be read, overrides applied where they could be.
    pub file: ast::File,
    /// What it means, if there is no error.
    pub model: Option<ir::Model>,
    /// Errors and warnings, each with the text it points into.
    pub diagnostics: Vec<(Source, Vec<Diagnostic>)>,
}

impl Spec {
    /// Reads the spec in a file, puts it over its base, replaces values as `--set` does, and checks it.
    ///
    /// # Errors
    ///
    /// Returns why the file cannot be read, or what is wrong with the spec or an override.
    pub fn open(path: impl AsRef<Path>, overrides: &[&str]) -> Result<Spec, SpecError> {
        Spec::read(read_source(path.as_ref())?, overrides)
    }

    /// Reads and checks a spec from its text; messages call it `name`.
    ///
    /// The path of a base counts from the folder of `name`.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the spec.
    pub fn parse(name: &str, text: &str) -> Result<Spec, SpecError> {
        Spec::read::<&str>(Source::new(name, text), &[])
    }

    /// Returns the built-in spec: a small model that trains in a minute.
    pub fn quickstart() -> Spec {
        Spec::read::<&str>(quickstart_source(), &[]).expect("tests check the built-in spec")
    }

    /// Reads and checks a spec with values replaced, each as in `train.batch=64`.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the spec or an override.
    #[doc(hidden)]
    pub fn read<S: AsRef<str>>(source: Source, overrides: &[S]) -> Result<Spec, SpecError> {
        examine(source, overrides).into_spec(overrides)
    }

    /// Returns the text of a spec in the canonical layout, as `hrmc fmt` writes it; messages call it `name`.
    ///
    /// # Errors
    ///
    /// Returns what does not follow the grammar.
    pub fn format(name: &str, text: &str) -> Result<String, SpecError> {
        let source = Source::new(name, text);
        syntax::format(&source).map_err(|found| SpecError::Faulty(vec![(source, found)]))
    }

    /// Returns the same spec with values replaced, each as in `train.batch=64`.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with an override.
    pub fn with(&self, overrides: &[&str]) -> Result<Spec, SpecError> {
        let said: Vec<Diagnostic> = self.warnings.iter().flat_map(|(_, found)| found.clone()).collect();
        let examined = examine_tree(self.source.clone(), self.file.clone(), Vec::new(), &said, overrides);
        let mut spec = examined.into_spec(overrides)?;
        spec.overrides.splice(0..0, self.overrides.iter().cloned());
        Ok(spec)
    }

    /// Returns what the spec means.
    pub fn model(&self) -> &ir::Model {
        &self.model
    }

    /// Returns its text over its base, and behind it the overrides: what messages point into.
    #[doc(hidden)]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns its syntax tree, overrides applied.
    #[doc(hidden)]
    pub fn file(&self) -> &ast::File {
        &self.file
    }

    /// Returns the warnings, each list with the text that it points into.
    pub fn warnings(&self) -> &[(Source, Vec<Diagnostic>)] {
        &self.warnings
    }

    /// Returns the values that were replaced, each as in `train.batch=64`.
    pub fn overrides(&self) -> &[String] {
        &self.overrides
    }

    /// Changes how the model is trained, where the spec says how, without a change of the text.
    #[doc(hidden)]
    pub fn change_training(&mut self, change: impl FnOnce(&mut ir::Train)) {
        if let Some(train) = &mut self.model.train {
            change(train);
        }
    }

    /// Returns the folder of the file in which `data` is written; `None` if an override says it, or no file.
    pub(crate) fn folder_of_data(&self) -> Option<&Path> {
        let origin = self.source.origin(self.data_expr()?.span);
        let is_override = |text: &String| overrides::override_source(text).name == origin.name;
        if self.overrides.iter().any(is_override) {
            return None;
        }
        Path::new(origin.name).parent()
    }

    /// Returns whether its text gives generated data a seed.
    pub(crate) fn writes_seed_of_data(&self) -> bool {
        let Some(ast::ExprKind::Call(call)) = self.data_expr().map(|expr| &expr.ungrouped().kind) else {
            return false;
        };
        entry(&call.arguments, "seed").is_some()
    }

    /// Returns the expression behind `data` in its text.
    fn data_expr(&self) -> Option<&ast::Expr> {
        let train = self.file.trains().next()?;
        entry(&train.entries, "data").map(|entry| &entry.value.expr)
    }

    /// Drops the warnings that are not `wanted`.
    pub(crate) fn retain_warnings(&mut self, mut wanted: impl FnMut(&Diagnostic) -> bool) {
        self.warnings.iter_mut().for_each(|(_, found)| found.retain(&mut wanted));
    }

    /// Returns a spec that means the same, with every default written out and no base.
    pub fn resolved(&self) -> String {
        spell::text(&self.model)
    }

    /// Returns how `other` differs from this spec in what it means.
    pub fn diff(&self, other: &Spec) -> SpecDiff {
        SpecDiff::of(&self.model, &other.model)
    }
}

impl fmt::Debug for SpecError {
    /// Writes the rendered problems, as they are read where `main` returns the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SpecError {
    /// Returns the errors and warnings in order; none where the file could not be read.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problems().iter().flat_map(|(_, found)| found)
    }

    /// Returns the errors and warnings, each list with the text that it points into.
    pub fn problems(&self) -> &[(Source, Vec<Diagnostic>)] {
        match self {
            SpecError::Unreadable { .. } | SpecError::Folder { .. } => &[],
            SpecError::Faulty(problems) => problems,
        }
    }

    /// Returns that a file cannot be read, with what the system says.
    fn cannot_read(path: &Path, error: &io::Error) -> SpecError {
        SpecError::Unreadable { path: path.display().to_string(), reason: reason(error) }
    }
}

/// Returns the entry of a key.
fn entry<'a>(entries: &'a ast::Entries, key: &str) -> Option<&'a ast::Entry> {
    entries.entries.iter().find(|entry| entry.key.as_ref().is_some_and(|name| name.text == key))
}

/// Returns problems as text without colours.
fn rendered(problems: &[(Source, Vec<Diagnostic>)]) -> String {
    let text: String =
        problems.iter().map(|(source, found)| render(source, found, Appearance::Plain)).collect();
    text.trim_end().to_string()
}

/// Returns the text of the built-in spec.
pub fn quickstart_source() -> Source {
    Source::new(QUICKSTART_NAME, QUICKSTART)
}

/// Reads the text of a spec.
///
/// # Errors
///
/// Returns why it cannot be read: it is not there, a folder, or not text.
pub fn read_source(path: &Path) -> Result<Source, SpecError> {
    if path.is_dir() {
        return Err(SpecError::Folder { path: path.display().to_string() });
    }
    Ok(Source::new(path.display().to_string(), read_text(path, &reading::SPEC)?))
}

/// Reads a file of text: a spec, or what is read as one is.
///
/// # Errors
///
/// Returns why it cannot be read, and for what is not text, in which line.
pub fn read_text(path: &Path, kind: &Kind) -> Result<String, SpecError> {
    reading::text(path, kind).map_err(|error| SpecError::cannot_read(path, &error))
}

/// Reads the base of a spec.
fn read_base(path: &Path) -> Result<BaseFile, String> {
    let text = reading::text(path, &reading::SPEC).map_err(|error| reason(&error))?;
    // A name can be spelled in many ways; what the system calls the file cannot.
    let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    Ok(BaseFile { text, identity })
}

/// Puts a spec over its base, applies overrides to it, reads it and checks it.
pub fn examine<S: AsRef<str>>(source: Source, overrides: &[S]) -> Examined {
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

/// Reads a spec that has no base any more, applies overrides to it and checks it.
pub fn examine_whole<S: AsRef<str>>(source: Source, overrides: &[S]) -> Examined {
    let Parsed { file, diagnostics } = parse(&source);
    let unused = if overrides.is_empty() { Vec::new() } else { check(&file).diagnostics };
    examine_tree(source, file, diagnostics, &unused, overrides)
}

/// Applies overrides to the tree of a spec and checks it. `found` has the problems of its text. If there are any,
/// overrides may have lost their place, so that only their own text is checked. `unused` has the diagnostics about
/// parts that the spec does not use; without overrides it is not read.
fn examine_tree<S: AsRef<str>>(
    mut source: Source,
    mut file: ast::File,
    mut found: Vec<Diagnostic>,
    unused: &[Diagnostic],
    overrides: &[S],
) -> Examined {
    let mut refused = Vec::new();
    for text in overrides.iter().map(AsRef::as_ref) {
        let place = source.append(&overrides::override_source(text));
        match parse_override(text, place) {
            Ok(given) if found.is_empty() => {
                refused.extend(overrides::apply(&mut file, &given).err().map(|refused| *refused))
            }
            Ok(_) => {}
            Err(broken) => refused.extend(broken),
        }
    }
    let checked = check(&file);
    found.extend(checked.diagnostics);
    diagnostic::sort(&mut found);
    // What the spec uses itself is not to be removed because an override took its place.
    if !overrides.is_empty() {
        let is_unused = |code: Code| matches!(code, Code::UnusedLet | Code::UnusedBlock);
        found.retain(|diagnostic| !is_unused(diagnostic.code) || unused.contains(diagnostic));
    }
    let model = checked.model.filter(|_| refused.is_empty() && !diagnostic::has_errors(&found));
    let diagnostics = [refused, found].map(|found| (source.clone(), found));
    let diagnostics = diagnostics.into_iter().filter(|(_, found)| !found.is_empty()).collect();
    Examined { source, file, model, diagnostics }
}

impl Examined {
    /// Returns the spec, or what is wrong with it.
    fn into_spec<S: AsRef<str>>(self, overrides: &[S]) -> Result<Spec, SpecError> {
        let Examined { source, file, model, diagnostics } = self;
        match model {
            Some(model) => {
                let overrides = overrides.iter().map(|text| text.as_ref().to_string()).collect();
                Ok(Spec { source, file, model, warnings: diagnostics, overrides })
            }
            None => Err(SpecError::Faulty(diagnostics)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Spec, SpecError};
    use crate::diagnostic::Code;

    #[test]
    fn a_spec_over_a_base_is_opened_with_values_replaced() {
        let spec = Spec::open("specs/sudoku-small.hrm", &["train.batch=7"]).expect("it is right");
        assert_eq!(spec.model().train.as_ref().map(|train| train.batch), Some(7));
        let again = Spec::parse("resolved.hrm", &spec.resolved()).expect("what is shown is a spec");
        assert_eq!(again.model(), spec.model());
        assert!(spec.diff(&again).is_empty());
    }

    #[test]
    fn a_number_that_an_override_hides_is_no_warning() {
        let spec = Spec::open("specs/sudoku.hrm", &["model.segment.cycle=3", "model.segment.step=1"]);
        let spec = spec.expect("the loops have these labels");
        assert_eq!(spec.warnings(), []);
        let again = spec.with(&["train.batch=3"]).expect("there is such a path");
        assert_eq!(again.warnings(), []);
        assert_eq!(again.overrides(), ["model.segment.cycle=3", "model.segment.step=1", "train.batch=3"]);
        assert_eq!(crate::ir::unroll(again.model()).len(), 6);
    }

    #[test]
    fn the_built_in_spec_is_right_and_says_nothing() {
        let spec = Spec::quickstart();
        assert!(spec.warnings().iter().all(|(_, found)| found.is_empty()));
        assert_eq!(spec.source().name, "quickstart.hrm (built in)");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_reason() {
        let said = |path: &str| Spec::open(path, &[]).expect_err("it is no spec").to_string();
        assert_eq!(said("nothing.hrm"), "cannot read `nothing.hrm`: there is no such file or folder");
        assert_eq!(said("specs"), "`specs` is a folder, expected a spec: a file like `model.hrm`");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("a.hrm");
        std::fs::write(&path, b"model\n\n\xff").expect("the folder can be written");
        let error = Spec::open(&path, &[]).expect_err("it is not UTF-8");
        assert_eq!(error.to_string(), format!("cannot read `{}`: line 3 is not UTF-8 text", path.display()));
        assert_eq!(error.diagnostics().count(), 0);
    }

    #[test]
    fn the_error_of_a_faulty_spec_displays_as_its_diagnostics() {
        let overrides = ["model.N=0", "model.nothing=1"];
        let error = Spec::open("specs/sudoku.hrm", &overrides).expect_err("there is no such path");
        let codes: Vec<Code> = error.diagnostics().map(|one| one.code).collect();
        assert!(codes.contains(&Code::UnknownPath), "{codes:?}");
        let said = error.to_string();
        assert!(said.contains("error[unknown-path]: the spec has no `model.nothing`"), "{said}");
        assert!(!said.contains('\u{1b}') && !said.ends_with('\n'), "{said}");
        assert!(matches!(error, SpecError::Faulty(_)));
    }

    #[test]
    fn a_warning_is_kept_with_the_text_it_points_into() {
        let text = Spec::quickstart().source().text.replacen("let N", "let unread = 1\n  let N", 1);
        let spec = Spec::parse("mine.hrm", &text).expect("a warning refuses nothing");
        let (source, found) = &spec.warnings()[0];
        assert_eq!((source.name.as_str(), found[0].code), ("mine.hrm", Code::UnusedLet));
        assert_eq!(source.slice(found[0].primary.span), "unread");
    }
}
