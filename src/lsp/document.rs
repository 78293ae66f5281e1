//! A text that is open in the editor, and everything that is known about it.

#![expect(clippy::disallowed_methods, reason = "bases of a spec that is being edited are read")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::position::Lines;
use crate::check::{check, let_values};
use crate::diagnostic;
use crate::ir;
use crate::reading;
use crate::span::{Source, Span};
use crate::syntax::{BaseFile, Faulty, Token, over_base, parse, tokens};
use crate::system;

/// An open text.
#[derive(Debug)]
pub(super) struct Document {
    /// The text, by the path of its file.
    pub(super) source: Source,
    pub(super) lines: Lines,
    /// The text over its base, or what it was before the edit that is under way.
    pub(super) whole: Source,
    /// What is wrong with it, each sorted by place and with the text that it points into.
    pub(super) faults: Vec<Faulty>,
    /// Place of the path of the base, if the text has one.
    pub(super) base: Option<Span>,
    /// Values of its `let`s.
    pub(super) lets: BTreeMap<String, String>,
    /// What it means, or what the newest text without an error meant: while an edit is under way, most of it
    /// still holds.
    pub(super) model: Option<ir::Model>,
}

/// A place in a text, as an editor is told about it.
pub(super) enum Spot {
    /// In the document itself.
    Here(Span),
    /// In another file: its path, its text and the place in it.
    Elsewhere(String, String, Span),
}

impl Document {
    /// Reads and checks a text; `before` is the document that it replaces, `read` finds bases.
    pub(super) fn new(
        name: &str,
        text: String,
        before: Option<Document>,
        read: &dyn Fn(&Path) -> Result<BaseFile, String>,
    ) -> Document {
        let source = Source::new(name, text);
        let (old_whole, old_model) = match before {
            Some(before) => (Some(before.whole), before.model),
            None => (None, None),
        };
        let base = parse(&source).file.bases().next().map(|base| base.path_span);
        let (faults, whole, lets, model);
        match over_base(source.clone(), fs::canonicalize(name).ok(), read) {
            Ok(merged) => {
                let parsed = merged.parse();
                let checked = check(&parsed.file);
                let mut found = parsed.diagnostics;
                found.extend(checked.diagnostics);
                diagnostic::sort(&mut found);
                lets = let_values(&parsed.file);
                model = checked.model.or(old_model);
                faults = merged.refused.into_iter().chain([(merged.source.clone(), found)]).collect();
                whole = merged.source;
            }
            Err(faulty) => {
                faults = vec![faulty];
                lets = let_values(&parse(&source).file);
                model = old_model;
                whole = old_whole.unwrap_or_else(|| source.clone());
            }
        }
        let lines = Lines::of(&source.text);
        Document { source, lines, whole, faults, base, lets, model }
    }

    /// Returns what the text means as it stands, if nothing is wrong with it.
    pub(super) fn current_model(&self) -> Option<&ir::Model> {
        let refused = self.faults.iter().any(|(_, found)| diagnostic::has_errors(found));
        self.model.as_ref().filter(|_| !refused)
    }

    /// Returns the tokens of the text.
    pub(super) fn words(&self) -> Vec<Token<'_>> {
        tokens(&self.source.text)
    }

    /// Returns where a place of the text over its base is from.
    pub(super) fn spot_of_whole(&self, span: Span) -> Spot {
        self.spot(&self.whole, span)
    }

    /// Returns where a place in a text that was put together is from.
    pub(super) fn spot(&self, text: &Source, span: Span) -> Spot {
        let origin = text.origin(span);
        if origin.name == self.source.name {
            // An edit may have moved what `whole` remembers.
            let length = self.source.text.len();
            return Spot::Here(Span::new(origin.span.start.min(length), origin.span.end.min(length)));
        }
        Spot::Elsewhere(origin.name.to_string(), origin.text.to_string(), origin.span)
    }
}

/// Reads the file of a base from the disk.
pub(super) fn read_file(path: &Path) -> Result<BaseFile, String> {
    let text = reading::text(path, &reading::SPEC).map_err(|error| system::reason(&error))?;
    Ok(BaseFile { text, identity: identity(path) })
}

/// Returns what the system calls a file, however its path is spelled.
pub(super) fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}
