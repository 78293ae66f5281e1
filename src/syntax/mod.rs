//! Text to syntax tree and back.
//!
//! [`parse()`] reads a file by the grammar in `grammar/hrm.pest`. It does not stop at the first mistake: it reports
//! each part that it cannot read, leaves it out, and marks the list around it as incomplete. [`format()`] writes a text
//! in the canonical layout, [`print()`] a tree that was made without a text. [`merge_base`] puts a spec over its base,
//! and [`over_base`] finds the base first. [`parse_override`] reads an override, `path=value`. An editor, whose text
//! may not follow the grammar, reads the [`tokens`] of the text.

pub mod ast;
mod base;
mod expectation;
mod grammar;
mod layout;
mod merge;
mod overrides;
mod parse;
mod repair;
mod scan;
mod text;

pub use base::{BaseFile, Faulty, Whole, over_base};
pub use layout::{format, print, print_expr, print_steps, print_value, quote};
pub use merge::merge_base;
pub use overrides::{Given, Override, parse_override};
pub use parse::{Parsed, parse};
pub use scan::{Scanner, Token, TokenKind, tokens};
pub use text::to_text;

/// Words that begin a statement of a model.
pub const STATEMENT_KEYWORDS: &[&str] = &[
    "let", "tokens", "puzzles", "block", "network", "state", "segment", "gradient", "predict", "halt",
    "infer", "without",
];

/// Returns the candidate that is spelled most like `word`, if one is close enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| match candidate.eq_ignore_ascii_case(word) {
            true => (0, candidate),
            false => (strsim::damerau_levenshtein(word, candidate), candidate),
        })
        .filter(|&(distance, candidate)| {
            let length = word.len().max(candidate.len());
            distance < length && distance <= (length / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_finds_a_slip_and_rejects_another_word() {
        let keys = ["hidden", "heads", "positions"];
        assert_eq!(nearest("hiden", keys), Some("hidden"));
        assert_eq!(nearest("head", keys), Some("heads"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("n", ["N", "in"]), Some("N"));
        assert_eq!(nearest("x", ["y", "xx"]), Some("xx"));
        assert_eq!(nearest("x", ["y"]), None, "nothing of the word is left");
    }
}
