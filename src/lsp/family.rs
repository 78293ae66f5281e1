//! The texts that share their names with an open one: its bases, and the open specs that have it as a base.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsp_types::Uri;

use super::address;
use super::document::{Document, identity, read_file};
use super::position::Lines;
use crate::span::Source;
use crate::syntax::{BaseFile, ast, parse};

/// The open texts, by their addresses.
pub(super) type Documents = BTreeMap<String, Document>;

/// How a text belongs to the one that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinship {
    /// It is the same.
    Own,
    /// It is a base of it.
    Base,
    /// It has it as a base.
    Above,
}

/// One of the texts.
#[derive(Debug)]
pub(super) struct Relative {
    pub(super) kinship: Kinship,
    pub(super) uri: Uri,
    pub(super) source: Source,
    pub(super) lines: Lines,
    pub(super) file: ast::File,
    /// Whether all of the text follows the grammar.
    pub(super) sound: bool,
}

impl Relative {
    fn new(kinship: Kinship, uri: Uri, source: Source) -> Relative {
        let parsed = parse(&source);
        let (lines, sound) = (Lines::of(&source.text), parsed.diagnostics.is_empty());
        Relative { kinship, uri, lines, file: parsed.file, sound, source }
    }
}

/// Returns an open text and its relatives.
///
/// # Errors
///
/// Returns why one of its bases cannot be read.
pub(super) fn family(documents: &Documents, uri: &Uri, document: &Document) -> Result<Vec<Relative>, String> {
    let mut found = vec![Relative::new(Kinship::Own, uri.clone(), document.source.clone())];
    for base in bases(documents, &document.source)? {
        let address = address::address(&base.name);
        let address = address.ok_or_else(|| format!("the path of `{}` has no address", base.name))?;
        found.push(Relative::new(Kinship::Base, address, base));
    }
    let own = identity(Path::new(&document.source.name));
    for (other, text) in documents {
        let is_above = text.base.is_some()
            && bases(documents, &text.source)
                .is_ok_and(|bases| bases.iter().any(|base| identity(Path::new(&base.name)) == own));
        if let (true, Ok(address)) = (is_above, other.parse::<Uri>()) {
            found.push(Relative::new(Kinship::Above, address, text.source.clone()));
        }
    }
    Ok(found)
}

/// Returns the base of a text, the base of that, and so on.
fn bases(documents: &Documents, source: &Source) -> Result<Vec<Source>, String> {
    let mut found: Vec<Source> = Vec::new();
    let mut seen: Vec<PathBuf> = vec![identity(Path::new(&source.name))];
    loop {
        let under = found.last().unwrap_or(source);
        let parsed = parse(under);
        let Some(base) = parsed.file.bases().next() else { return Ok(found) };
        let path = Path::new(&under.name).parent().unwrap_or(Path::new("")).join(&base.path);
        let name = path.display().to_string();
        let file = read(documents, &path).map_err(|why| format!("cannot read the base `{name}`: {why}"))?;
        if seen.contains(&file.identity) {
            return Err(format!("`{name}` is a base of itself"));
        }
        seen.push(file.identity);
        found.push(Source::new(name, file.text));
    }
}

/// Reads a base: as it is in the editor, if it is open there.
pub(super) fn read(documents: &Documents, path: &Path) -> Result<BaseFile, String> {
    let identity = identity(path);
    let open = documents.values().find(|it| self::identity(Path::new(&it.source.name)) == identity);
    match open {
        Some(open) => Ok(BaseFile { text: open.source.text.clone(), identity }),
        None => read_file(path),
    }
}
