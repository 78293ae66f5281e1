//! Names of a model: what they stand for, and what is said about one that stands for nothing that fits.

use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::syntax::nearest;

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    /// Where it is defined.
    pub(super) span: Span,
    /// What kind of thing it is, e.g. `a block`.
    pub(super) kind: &'static str,
}

/// Reports a name that stands for something, but not for `expected`.
pub(super) fn wrong_name(name: &str, span: Span, expected: &str, found: Named) -> Diagnostic {
    Diagnostic::error(Code::WrongName, span, format!("`{name}` is {}, expected {expected}", found.kind))
        .label(format!("expected {expected}"))
        .secondary(found.span, format!("{} here", found.kind))
}

/// Returns the words as `a`, `b` or `c`.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => "nothing".to_string(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// Suggests the nearest candidate for the word at a place, or lists them all. The nearest, or the only one, is a mend.
pub(super) fn suggest<'a>(
    diagnostic: Diagnostic,
    span: Span,
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let help = suggestion(word, candidates.clone());
    let nearest = nearest(word, candidates.clone());
    let mut known = candidates;
    let only = known.next().filter(|_| known.next().is_none());
    match nearest.or(only) {
        Some(candidate) => diagnostic.write(span, candidate).maybe_help(help),
        None => diagnostic.maybe_help(help),
    }
}

/// Returns a help that names the nearest candidate, or lists them all.
pub(super) fn suggestion<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    match nearest(word, candidates.clone()) {
        Some(candidate) => Some(format!("did you mean `{candidate}`?")),
        None if candidates.clone().next().is_none() => None,
        None => Some(format!("known here: {}", listed(candidates))),
    }
}
