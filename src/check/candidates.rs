//! The statement `candidates`, and the heads that only a model with candidates has.

use super::Context;
use super::block::Placed;
use super::outline::{Outline, parts};
use super::reader::{Fields, MAX_ROWS, Reals};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir::{self, CellChoice};
use crate::span::Span;
use crate::syntax::ast::Predict;

impl<'a> Context<'a> {
    /// Returns `Some(None)` for a model without candidates and `None` if there is an error.
    pub(super) fn candidates(
        &mut self,
        outline: &Outline<'a>,
        vocab: Option<Placed<usize>>,
    ) -> Option<Option<ir::Candidates>> {
        let Some(section) = outline.candidates else { return Some(None) };
        let (owner, entries) = parts(section);
        let fields = self.fields(&super::keys::CANDIDATES, owner, entries);
        let values = self.integer(&fields, "values", 2..=MAX_ROWS);
        let first = self.integer(&fields, "first", 0..=MAX_ROWS);
        let remove = self.real_or(&fields, "remove", Reals::Fraction, 0.1);
        let conflict = self.real_or(&fields, "conflict", Reals::Fraction, 0.5);
        let cell = self.cell(&fields, CellChoice::Random);
        let temperature = self.real_or(&fields, "temperature", Reals::Positive, 1.5);
        self.conflict_is_predicted(&fields, outline);
        if let Some(puzzles) = outline.puzzles {
            let statement = self.statement(puzzles.name.span);
            self.report(not_with_puzzles(owner, puzzles.name.span, statement));
        }
        let (values, first, vocab) = (values?, first?, vocab?);
        if first + values > vocab.value {
            self.report(values_outside(&fields, values, first, vocab));
            return None;
        }
        let (remove, conflict, cell, temperature) = (remove?, conflict?, cell?, temperature?);
        Some(Some(ir::Candidates { values, first, remove, conflict, cell, temperature }))
    }

    /// Returns which open token takes a value.
    pub(super) fn cell(&mut self, fields: &Fields<'a>, default: CellChoice) -> Option<CellChoice> {
        self.choice(fields, "cell", default.name()).map(|(word, _)| match word {
            "fewest" => CellChoice::Fewest,
            _ => CellChoice::Random,
        })
    }

    /// Reports `conflict` where nothing predicts one.
    pub(super) fn conflict_is_predicted(&mut self, fields: &Fields<'a>, outline: &Outline<'a>) {
        let may_be_there = !self.complete || self.misspelt.contains("predict conflict");
        if fields.get("conflict").is_some() && outline.predict_conflict.is_none() && !may_be_there {
            self.report(no_conflict_predicted(fields));
        }
    }

    /// Returns the head that says which candidates are to be kept; `Some(None)` for a model without candidates and
    /// `None` if there is an error.
    pub(super) fn keep_head(&mut self, outline: &Outline<'a>) -> Option<Option<ir::KeepHead>> {
        let Some(predict) = outline.predict_keep else {
            if let Some(section) = outline.candidates {
                if self.complete && !self.misspelt.contains("predict keep") {
                    self.report(nothing_keeps(section.name.span, outline));
                }
                return None;
            }
            return Some(None);
        };
        self.head_of_candidates(predict, "keep", outline);
        let settings = self.predict_settings(predict)?;
        self.reads_every_position(predict, "candidates are judged");
        let state = self.state(&predict.state.text, predict.state.span, outline);
        let weight = self.real_or(&settings, "weight", Reals::Positive, 1.0);
        let keep = self.real_or(&settings, "keep", Reals::Positive, 4.0);
        let remove = self.real_or(&settings, "remove", Reals::Positive, 0.5);
        Some(Some(ir::KeepHead { state: state?, weight: weight?, keep: keep?, remove: remove? }))
    }

    /// Returns the head that finds conflicts; `Some(None)` for a model without one and `None` if there is an error.
    pub(super) fn conflict_head(
        &mut self,
        outline: &Outline<'a>,
        positions: Option<usize>,
    ) -> Option<Option<ir::ConflictHead>> {
        let Some(predict) = outline.predict_conflict else { return Some(None) };
        self.head_of_candidates(predict, "conflict", outline);
        let settings = self.predict_settings(predict)?;
        let state = self.state(&predict.state.text, predict.state.span, outline);
        let position = self.read_position(predict, positions);
        let weight = self.real_or(&settings, "weight", Reals::Positive, 0.1);
        Some(Some(ir::ConflictHead { state: state?, position: position?, weight: weight? }))
    }

    /// Reports a head that is about candidates in a model without some.
    fn head_of_candidates(&mut self, predict: &Predict, what: &str, outline: &Outline<'a>) {
        if outline.candidates.is_none() && self.complete && !self.misspelt.contains("candidates") {
            let span = predict.what.span;
            self.report(no_candidates(span, self.statement(span), &format!("predict {what}"), outline));
        }
    }
}

/// Says that a statement is about candidates and the model has none.
pub(super) fn no_candidates(span: Span, statement: Span, what: &str, outline: &Outline<'_>) -> Diagnostic {
    Diagnostic::error(
        Code::CandidatesMismatch,
        span,
        format!("`{what}` is about candidates, and there are none"),
    )
    .label("needs candidates")
    .secondary(outline.name.span, "this model has no `candidates`")
    .help("remove it, or add `candidates { values = …, first = … }`")
    .offer("remove it", [Edit::Remove(statement)])
}

fn not_with_puzzles(span: Span, puzzles: Span, statement: Span) -> Diagnostic {
    let message = "`candidates` and `puzzles` exclude each other";
    Diagnostic::error(Code::ConflictingKeys, span, message)
        .label("the input is a map of the candidates alone")
        .secondary(puzzles, "puts a vector of the puzzle before the tokens")
        .note("`prefix` puts vectors before the tokens that are the same for every puzzle")
        .help("remove `puzzles`, or the candidates with all that belongs to them")
        .offer("remove `puzzles`", [Edit::Remove(statement)])
}

fn values_outside(fields: &Fields<'_>, values: usize, first: usize, vocab: Placed<usize>) -> Diagnostic {
    let end = first + values;
    let message = format!(
        "{values} values from token {first} on need a vocabulary of {end}, and there are {} tokens",
        vocab.value
    );
    let diagnostic = Diagnostic::error(Code::OutOfRange, fields.span("values"), message)
        .label(format!("the last of them is token {}", end - 1))
        .secondary(vocab.span, format!("the last token is {}", vocab.value - 1))
        .help("have fewer values, or begin with an earlier token");
    match vocab.value.checked_sub(first) {
        Some(fitting @ 2..) => diagnostic.write(fields.span("values"), &fitting.to_string()),
        _ => diagnostic,
    }
}

fn no_conflict_predicted(fields: &Fields<'_>) -> Diagnostic {
    let message = "`conflict` has no effect: the model does not predict conflicts";
    Diagnostic::warning(Code::WithoutEffect, fields.span("conflict"), message)
        .label("no probability is compared with it")
        .help("add `predict conflict from …`, or remove it")
        .offer("remove it", fields.remove(&["conflict"]))
}

fn nothing_keeps(span: Span, outline: &Outline<'_>) -> Diagnostic {
    let state = outline.predict_tokens.map_or(outline.state(), |predict| predict.state.text.as_str());
    let statement = format!("predict keep from {state}");
    Diagnostic::error(Code::CandidatesMismatch, span, "nothing says which candidates are to be kept")
        .label("`predict keep` is missing")
        .mend(format!("add `{statement}`"), [Edit::Add(outline.body, statement)])
}
