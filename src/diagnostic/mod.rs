//! Problems that a stage finds in a source text, as plain data.
//!
//! A [`Diagnostic`] names a [`Code`], describes the problem in one sentence, and points at the smallest useful
//! place. It may add labels, notes (facts), a help (what to do) and mends (edits that do it). Stages only collect
//! diagnostics. [`render()`] turns them into text for people, [`to_json`] into text for programs. Every code has a
//! [`Page`] that explains it.

mod catalog;
mod mend;
mod page;
mod render;

pub use catalog::{CODES, Code};
pub use mend::{Change, Edit, Mend, apply};
pub use page::{Example, ExampleFile, Page};
pub use render::{Appearance, render, to_json};

use crate::span::Span;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The spec is refused.
    Error,
    /// The spec is accepted, but hardly means what its author wanted.
    Warning,
}

/// A place with a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark; may be empty for a primary label.
    pub text: String,
}

/// One problem of a spec.
///
/// # Examples
///
/// ```
/// let overrides = ["model.encoder.heads=7"];
/// let error = hrmc::Spec::open("specs/sudoku.hrm", &overrides).expect_err("7 heads do not divide 512");
/// let problem = error.diagnostics().next().expect("there is one");
/// assert_eq!(problem.code.as_str(), "head-width");
/// println!("{}", problem.message);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of problem it is.
    pub code: Code,
    /// One sentence that makes sense alone: lower case, no full stop, user names in backticks.
    pub message: String,
    /// Where the problem is.
    pub primary: Label,
    /// Where the expectation came from.
    pub secondary: Vec<Label>,
    /// Facts.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// Edits of the text that do it, each alone, where the check knows them.
    pub mends: Vec<Mend>,
}

impl Diagnostic {
    /// Returns an error that points at `span`.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: Label { span, text: String::new() },
            secondary: Vec::new(),
            notes: Vec::new(),
            help: None,
            mends: Vec::new(),
        }
    }

    /// Returns a warning that points at `span`.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Sets the remark at the primary place.
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.primary.text = text.into();
        self
    }

    /// Adds a second place.
    pub fn secondary(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds a fact.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// Says what to do, where there is something to say.
    pub fn maybe_help(mut self, text: Option<String>) -> Diagnostic {
        self.help = text.or(self.help);
        self
    }

    /// Says what to do, with the edits that do it.
    pub fn mend(self, title: impl Into<String>, edits: impl IntoIterator<Item = Edit>) -> Diagnostic {
        let title = title.into();
        self.help(title.clone()).offer(title, edits)
    }

    /// Adds edits that do what has been said, or one of several such things.
    pub fn offer(mut self, title: impl Into<String>, edits: impl IntoIterator<Item = Edit>) -> Diagnostic {
        self.mends.push(Mend { title: title.into(), edits: edits.into_iter().collect() });
        self
    }

    /// Adds the edit that writes a text in a place.
    pub fn write(self, span: Span, text: &str) -> Diagnostic {
        self.offer(format!("write `{text}`"), [Edit::replace(span, text)])
    }

    /// Says that `word` was meant at a place.
    pub fn meant(self, span: Span, word: &str) -> Diagnostic {
        self.help(format!("did you mean `{word}`?")).write(span, word)
    }

    /// Moves every place.
    pub fn move_places(&mut self, moved: impl Fn(Span) -> Span) {
        let labels = self.secondary.iter_mut().chain([&mut self.primary]).map(|label| &mut label.span);
        let edits = self.mends.iter_mut().flat_map(|mend| &mut mend.edits).map(Edit::span_mut);
        labels.chain(edits).for_each(|span| *span = moved(*span));
    }
}

/// Sorts diagnostics by place, then by code and message, and drops those said twice.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        (a.primary.span, a.code.as_str(), &a.message).cmp(&(b.primary.span, b.code.as_str(), &b.message))
    });
    diagnostics.dedup();
}

/// Returns whether any of the diagnostics is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::{Code, Diagnostic, has_errors, sort};
    use crate::span::Span;

    #[test]
    fn sorting_goes_by_place_and_drops_repetitions() {
        let late = Diagnostic::error(Code::Syntax, Span::new(9, 10), "late");
        let early = Diagnostic::warning(Code::UnusedLet, Span::new(1, 2), "early");
        let mut diagnostics = vec![late.clone(), early.clone(), late.clone()];
        sort(&mut diagnostics);
        assert_eq!(diagnostics, [early, late]);
    }

    #[test]
    fn warnings_alone_are_no_errors() {
        let warning = Diagnostic::warning(Code::UnusedLet, Span::new(0, 0), "unused");
        assert!(!has_errors(&[warning]));
    }
}
