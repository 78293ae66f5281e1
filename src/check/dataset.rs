//! Whether a model fits the data it is trained on.

use super::keys;
use crate::diagnostic::{Code, Diagnostic};
use crate::ir;
use crate::span::Span;
use crate::syntax::ast::{Entries, File, StatementKind};

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
        .filter(|(_, found, expected)| found != expected)
        .map(|(key, found, expected)| {
            let written = tokens.map(|tokens| {
                let entry = tokens
                    .entries
                    .iter()
                    .find(|entry| entry.key.as_ref().is_some_and(|name| name.text == key));
                entry.map_or(tokens.span, |entry| entry.value.span)
            });
            disagree(&dataset.what, key, found, expected, written.unwrap_or(data), data)
        })
        .collect()
}

fn disagree(what: &str, key: &str, found: usize, expected: usize, written: Span, data: Span) -> Diagnostic {
    let message = format!("{what} have {key} = {expected}, the model has {key} = {found}");
    Diagnostic::error(Code::DataMismatch, written, message)
        .label(format!("expected {expected}"))
        .secondary(data, format!("{key} = {expected} here"))
        .help(format!("write `{key} = {expected}` in `tokens`, or use other data"))
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
