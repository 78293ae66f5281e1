//! References to a name, and its renaming, in a text and in its relatives.

use lsp_types::{Location, TextEdit, Uri};

use super::document::Document;
use super::family::{Documents, Kinship, Relative, family};
use super::names::word_at;
use super::uses::{NameSpace, Occurrence, occurrences, refuse_name};
use crate::span::Span;
use crate::syntax::TokenKind;

/// Returns where the name at a byte stands, with the places that give it where that is asked for.
pub(super) fn references(
    documents: &Documents,
    uri: &Uri,
    document: &Document,
    byte: usize,
    with_given: bool,
) -> Option<Vec<Location>> {
    let relatives = family(documents, uri, document).ok()?;
    let asked = name_at(&relatives, byte)?;
    let mut found = Vec::new();
    for relative in &relatives {
        for occurrence in in_relative(relative, &asked) {
            if with_given || !occurrence.gives {
                let range = relative.lines.range(&relative.source.text, occurrence.span);
                found.push(Location { uri: relative.uri.clone(), range });
            }
        }
    }
    Some(found)
}

/// Returns the place of the name at a byte, and the name, if it can be renamed.
///
/// # Errors
///
/// Returns why it cannot be renamed.
pub(super) fn prepare(
    documents: &Documents,
    uri: &Uri,
    document: &Document,
    byte: usize,
) -> Result<(Span, String), String> {
    let relatives = family(documents, uri, document)?;
    let asked = renamed_at(&relatives, document, byte)?;
    Ok((asked.span, asked.name.to_string()))
}

/// Returns what changes in each text where the name at a byte becomes another.
///
/// # Errors
///
/// Returns why it cannot be renamed so.
pub(super) fn rename(
    documents: &Documents,
    uri: &Uri,
    document: &Document,
    byte: usize,
    new: &str,
) -> Result<Vec<(Uri, Vec<TextEdit>)>, String> {
    let relatives = family(documents, uri, document)?;
    let asked = renamed_at(&relatives, document, byte)?;
    if asked.name == new {
        return Ok(Vec::new());
    }
    refuse_name(new)?;
    let taken = Occurrence { name: new, ..asked };
    let mut changes = Vec::new();
    for relative in &relatives {
        let name = &relative.source.name;
        if in_relative(relative, &taken).next().is_some() {
            return Err(format!("`{new}` is in use already, in `{name}`; choose another name"));
        }
        let edit = |occurrence: Occurrence<'_>| TextEdit {
            range: relative.lines.range(&relative.source.text, occurrence.span),
            new_text: new.to_string(),
        };
        let edits: Vec<TextEdit> = in_relative(relative, &asked).map(edit).collect();
        if !edits.is_empty() {
            changes.push((relative.uri.clone(), edits));
        }
    }
    Ok(changes)
}

/// Returns where a name stands in a text. A model has its name alone, whatever its base is called.
fn in_relative<'a>(relative: &'a Relative, name: &Occurrence<'a>) -> impl Iterator<Item = Occurrence<'a>> {
    let shared = relative.kinship == Kinship::Own || name.space != NameSpace::Models;
    let found = if shared { occurrences(&relative.file) } else { Vec::new() };
    let name = *name;
    found.into_iter().filter(move |one| one.is_of(&name))
}

/// Returns the name at a byte of the text that was asked about, if a text gives it.
fn name_at(relatives: &[Relative], byte: usize) -> Option<Occurrence<'_>> {
    let own = relatives.iter().find(|relative| relative.kinship == Kinship::Own)?;
    let at = |one: &Occurrence<'_>| one.span.start <= byte && byte <= one.span.end;
    let asked = occurrences(&own.file).into_iter().find(at)?;
    let is_given = |relative: &Relative| in_relative(relative, &asked).any(|one| one.gives);
    relatives.iter().any(is_given).then_some(asked)
}

/// Returns the name at a byte, or why it cannot be renamed.
fn renamed_at<'a>(
    relatives: &'a [Relative],
    document: &Document,
    byte: usize,
) -> Result<Occurrence<'a>, String> {
    // A place that cannot be read may hold the name.
    if let Some(unread) = relatives.iter().find(|relative| !relative.sound) {
        let name = &unread.source.name;
        return Err(format!(
            "`{name}` does not follow the grammar, so that uses of a name may be missed; mend it first"
        ));
    }
    let Some(asked) = name_at(relatives, byte) else {
        let words = document.words();
        return Err(match word_at(&words, byte).filter(|word| word.kind == TokenKind::Name) {
            Some(word) => format!("`{}` is no name that the spec gives, and cannot be renamed", word.text),
            None => "there is no name here".to_string(),
        });
    };
    let bases = relatives.iter().filter(|relative| relative.kinship == Kinship::Base);
    // The last is the one that everything else is over.
    let gives = |relative: &&Relative| in_relative(relative, &asked).next().is_some();
    match bases.filter(gives).last() {
        Some(base) => Err(format!(
            "`{}` is a name of the base `{}`; open that file and rename it there",
            asked.name, base.source.name
        )),
        None => Ok(asked),
    }
}
