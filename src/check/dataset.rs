//! Whether a model fits the data it is trained on.

use std::fmt;

use super::keys;
use crate::diagnostic::{Code, Diagnostic};
use crate::ir;
use crate::span::Span;
use crate::syntax::ast::{Entries, Entry, File, StatementKind};

/// What is known about a dataset before a model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetShape {
    /// How messages call the dataset, e.g. `the puzzles in data/sudoku`; a plural.
    pub what: String,
    /// Vocabulary size.
    pub vocab: usize,
    /// Tokens in a row.
    pub positions: usize,
}

/// Compares a model with a dataset folder once that has been opened.
///
/// `file` is the file that `model` comes from; the diagnostics point at its `data` and `tokens`. Returns one
/// error for each size that differs.
pub fn check_dataset(file: &File, model: &ir::Model, dataset: &DatasetShape) -> Vec<Diagnostic> {
    let data = file.trains().next().map(|train| {
        let entry = train
            .entries
            .entries
            .iter()
            .find(|entry| entry.key.as_ref().is_some_and(|key| key.text == "data"));
        entry.map_or(train.keyword, |entry| entry.value.span)
    });
    let tokens = file.models().next().and_then(|model| {
        model.statements.iter().find_map(|statement| match &statement.kind {
            StatementKind::Section(section) if section.name.text == "tokens" => Some(&section.entries),
            _ => None,
        })
    });
    compare(dataset, model, tokens, data.unwrap_or(file.span))
}

/// Compares the sizes of a model with those of a dataset.
pub(super) fn compare(
    dataset: &DatasetShape,
    model: &ir::Model,
    tokens: Option<&Entries>,
    data: Span,
) -> Vec<Diagnostic> {
    misfits(model, dataset)
        .into_iter()
        .map(|misfit| {
            let written = tokens.and_then(|tokens| {
                let mut entries = tokens.entries.iter();
                let is_it = |entry: &&Entry| entry.key.as_ref().is_some_and(|name| name.text == misfit.key);
                entries.find(is_it).map(|entry| entry.value.span)
            });
            let place = written.or(tokens.map(|tokens| tokens.span)).unwrap_or(data);
            disagree(&misfit, written, place, data)
        })
        .collect()
}

/// The sizes in which a dataset differs from what a model takes, at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Misfits(Vec<Misfit>);

impl Misfits {
    /// Returns the message without what to do, for a model that is trained and cannot change.
    pub fn of_a_trained_model(&self) -> String {
        self.0.iter().map(Misfit::message).collect::<Vec<_>>().join("; ")
    }
}

/// A size in which a dataset differs from what a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Misfit {
    /// How messages call the dataset; a plural.
    what: String,
    /// The key of `tokens`.
    key: &'static str,
    /// Size in the model.
    model: usize,
    /// Size in the dataset.
    data: usize,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message(), self.help())
    }
}

impl Misfit {
    fn message(&self) -> String {
        let Misfit { what, key, model, data } = self;
        format!("{what} have {key} = {data}, the model has {key} = {model}")
    }

    fn help(&self) -> String {
        format!("write `{} = {}` in `tokens`, or use other data", self.key, self.data)
    }
}

/// Checks that the sizes of a dataset are those that a model takes.
///
/// Both must be equal. A smaller vocabulary could be computed with, but tokens of different meaning would go
/// unnoticed.
///
/// # Errors
///
/// Returns the sizes that differ.
pub fn fit(model: &ir::Model, dataset: &DatasetShape) -> Result<(), Misfits> {
    let found = misfits(model, dataset);
    if found.is_empty() { Ok(()) } else { Err(Misfits(found)) }
}

/// Returns the sizes in which a dataset differs from what a model takes: the one rule that says whether data fits a
/// model.
fn misfits(model: &ir::Model, dataset: &DatasetShape) -> Vec<Misfit> {
    let sizes = [
        ("vocab", model.tokens.vocab, dataset.vocab),
        ("positions", model.tokens.positions, dataset.positions),
    ];
    debug_assert!(
        sizes.iter().all(|(key, ..)| keys::TOKENS.key(key).is_some()),
        "these are keys of `tokens`"
    );
    sizes
        .into_iter()
        .filter(|(_, model, data)| model != data)
        .map(|(key, model, data)| Misfit { what: dataset.what.clone(), key, model, data })
        .collect()
}

/// `written` is the place of the value in the spec, if there is one.
fn disagree(misfit: &Misfit, written: Option<Span>, place: Span, data: Span) -> Diagnostic {
    let Misfit { key, data: expected, .. } = misfit;
    let diagnostic = Diagnostic::error(Code::DataMismatch, place, misfit.message())
        .label(format!("expected {expected}"))
        .secondary(data, format!("{key} = {expected} here"))
        .help(misfit.help());
    match written {
        Some(written) => diagnostic.write(written, &expected.to_string()),
        None => diagnostic,
    }
}

#[cfg(test)]
mod tests {
    use super::{DatasetShape, check_dataset};
    use crate::check::tests::model;
    use crate::span::Source;
    use crate::syntax::parse;

    const SPEC: &str = include_str!("../../specs/sudoku-small.hrm");

    fn messages(vocab: usize, positions: usize) -> Vec<(String, String)> {
        let source = Source::new("a.hrm", SPEC);
        let dataset = DatasetShape { what: "the puzzles".to_string(), vocab, positions };
        check_dataset(&parse(&source).file, &model(SPEC), &dataset)
            .into_iter()
            .map(|diagnostic| (diagnostic.message, source.slice(diagnostic.primary.span).to_string()))
            .collect()
    }

    #[test]
    fn equal_sizes_pass() {
        assert_eq!(messages(11, 81), []);
    }

    #[test]
    fn each_size_that_differs_is_reported_at_its_value() {
        let expected = [
            ("the puzzles have vocab = 6, the model has vocab = 11", "11"),
            ("the puzzles have positions = 900, the model has positions = 81", "9 * 9"),
        ]
        .map(|(message, place)| (message.to_string(), place.to_string()));
        assert_eq!(messages(6, 900), expected);
    }
}
