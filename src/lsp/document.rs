//! A text that is open in the editor, and everything that is known about it.

use std::collections::BTreeMap;

use super::position::Lines;
use super::words::{Word, words};
use crate::check::{check, let_values};
use crate::diagnostic::{self, Diagnostic};
use crate::ir;
use crate::span::Source;
use crate::syntax::parse;

/// An open text.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) source: Source,
    pub(super) lines: Lines,
    /// What is wrong with it, sorted by place.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Values of its `let`s.
    pub(super) lets: BTreeMap<String, String>,
    /// What it means, or what the newest text without an error meant: while an edit is under way, most of it
    /// still holds.
    pub(super) model: Option<ir::Model>,
}

impl Document {
    /// Reads and checks a text; `before` is the document that it replaces.
    pub(super) fn new(name: &str, text: String, before: Option<Document>) -> Document {
        let source = Source::new(name, text);
        let parsed = parse(&source);
        let checked = check(&parsed.file);
        let mut diagnostics = parsed.diagnostics;
        diagnostics.extend(checked.diagnostics);
        diagnostic::sort(&mut diagnostics);
        let lines = Lines::of(&source.text);
        let lets = let_values(&parsed.file);
        let model = checked.model.or_else(|| before.and_then(|before| before.model));
        Document { source, lines, diagnostics, lets, model }
    }

    /// Returns the words of the text.
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        words(&self.source.text)
    }
}
