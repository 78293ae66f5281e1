//! Text to syntax tree and back.
//!
//! [`parse()`] reads a file by the grammar in `grammar/hrm.pest`. It does not stop at the first mistake: what cannot be
//! read is reported and left out, and the lists it is missing from are marked incomplete. [`format()`] writes the
//! canonical layout, [`print()`] that of a tree that no text was read for. [`merge_base`] puts a spec over its base,
//! [`over_base`] finds the base first. [`parse_override`] reads an override, `path=value`. What has to look at a text
//! that may not follow the grammar, such as an editor, goes through its [`tokens`].

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
pub use layout::{format, print, print_expr, print_steps, print_value};
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
