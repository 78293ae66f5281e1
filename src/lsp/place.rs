//! What surrounds a place in a text.
//!
//! The text is being typed, so it rarely follows the grammar: its braces may be open, and the syntax tree may
//! be empty. This module goes by words and delimiters alone, and knows what may stand where from the tables of
//! [`keys`].

use crate::check::keys::{self, Group, Key};
use crate::syntax::{Token, TokenKind};

/// What may stand at a place.
#[derive(Debug, Clone)]
pub(super) enum CursorScope {
    /// Items of a file.
    Top,
    /// Statements of a model.
    Model,
    /// Steps of the loop nest.
    Steps,
    /// What an update adds up.
    Operands,
    /// A position of a state.
    Position,
    /// Entries.
    Entries(Entries),
    /// A part of the value of a key.
    Value(Entries, &'static Key),
    /// Nothing that is known.
    Unknown,
}

/// A list of entries.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    /// Statement it belongs to, as the reference calls it, e.g. `predict q`.
    pub(super) section: String,
    /// Word it stands behind, e.g. `rope`; absent for the entries of the section itself.
    pub(super) word: Option<&'static str>,
    /// The keys.
    pub(super) group: &'static Group,
}

/// What stands before a place.
#[derive(Debug, Clone)]
pub(super) struct CursorPlace<'a> {
    /// What may stand there.
    pub(super) scope: CursorScope,
    /// Words of the same item before it.
    pub(super) item: Vec<Token<'a>>,
    /// Keys that the list around it has before it.
    pub(super) given: Vec<&'a str>,
}

impl<'a> CursorPlace<'a> {
    /// Returns the text of a word of the item.
    pub(super) fn word(&self, index: usize) -> Option<&'a str> {
        self.item.get(index).map(|word| word.text)
    }

    /// Returns whether the place is behind a sign of the item.
    pub(super) fn is_behind(&self, sign: &str) -> bool {
        self.item.iter().any(|word| word.is_symbol(sign))
    }

    /// Returns the key whose value stands at the place.
    pub(super) fn key(&self) -> Option<(&Entries, &'static Key)> {
        match &self.scope {
            CursorScope::Value(entries, key) => Some((entries, key)),
            CursorScope::Entries(entries) if self.is_behind("=") => {
                self.word(0).and_then(|name| entries.group.key(name)).map(|key| (entries, key))
            }
            _ => None,
        }
    }
}

/// Goes through the words of a text and knows what surrounds each.
pub(super) struct Walk<'a> {
    /// Each with the place of the opening delimiter.
    outer: Vec<CursorPlace<'a>>,
    place: CursorPlace<'a>,
}

impl<'a> Walk<'a> {
    /// Begins at the beginning of a text.
    pub(super) fn new() -> Walk<'a> {
        let place = CursorPlace { scope: CursorScope::Top, item: Vec::new(), given: Vec::new() };
        Walk { outer: Vec::new(), place }
    }

    /// Returns what surrounds the place behind the words so far.
    pub(super) fn place(&self) -> &CursorPlace<'a> {
        &self.place
    }

    /// Goes on behind `word`.
    pub(super) fn step(&mut self, word: Token<'a>) {
        let place = &mut self.place;
        match (word.kind, word.text) {
            (TokenKind::Comment, _) => {}
            (TokenKind::Newline, _) if place.item.last().is_some_and(Token::continues) => {}
            (TokenKind::Newline, _) => place.item.clear(),
            _ if !word.is_content() => {}
            // Several names behind one keyword are one item.
            (TokenKind::Symbol, ",")
                if matches!(place.word(0), Some("state" | "without")) && !place.is_behind("=") =>
            {
                place.item.push(word);
            }
            (TokenKind::Symbol, ",") => place.item.clear(),
            (TokenKind::Symbol, open @ ("(" | "[" | "{")) => {
                let scope = inner(place, open);
                let inner = CursorPlace { scope, item: Vec::new(), given: Vec::new() };
                self.outer.push(std::mem::replace(place, inner));
            }
            (TokenKind::Symbol, ")" | "]" | "}") => {
                if let Some(outer) = self.outer.pop() {
                    *place = outer;
                    place.item.push(word);
                }
            }
            _ => {
                // The word behind a comma was the key of the next entry.
                if word.is_symbol("=") && place.word(0) == Some("without") {
                    place.item.drain(..place.item.len() - 1);
                }
                if word.is_symbol("=")
                    && let [key] = place.item[..]
                {
                    place.given.push(key.text);
                }
                place.item.push(word);
            }
        }
    }
}

/// Returns what surrounds the byte `at`; a word that reaches up to it is not before it.
pub(super) fn place_at<'a>(words: &[Token<'a>], at: usize) -> CursorPlace<'a> {
    let mut walk = Walk::new();
    for word in words.iter().take_while(|word| word.span.end <= at && word.span.start < at) {
        walk.step(*word);
    }
    walk.place
}

/// Returns what may stand behind an opening delimiter.
fn inner(place: &CursorPlace<'_>, open: &str) -> CursorScope {
    let first = place.word(0).unwrap_or_default();
    let entries = |found: Option<Entries>| found.map_or(CursorScope::Unknown, CursorScope::Entries);
    match (&place.scope, open) {
        (CursorScope::Top, "{") if first == "model" => CursorScope::Model,
        (CursorScope::Top, "{") => entries(section(first)),
        (CursorScope::Model, "{") if first == "segment" => CursorScope::Steps,
        (CursorScope::Model, "{" | "(") => entries(section(first).or_else(|| statement_entries(place))),
        (CursorScope::Model, "[") => CursorScope::Position,
        (CursorScope::Steps, "{") => CursorScope::Steps,
        (CursorScope::Steps | CursorScope::Operands, "(") => CursorScope::Operands,
        (CursorScope::Entries(_) | CursorScope::Value(..), "(") => settings(place),
        _ => CursorScope::Unknown,
    }
}

/// Returns the entries behind a word that has a list of its own, e.g. `tokens`.
fn section(word: &str) -> Option<Entries> {
    let (name, group) = keys::SECTIONS.iter().find(|(name, _)| *name == word)?;
    Some(Entries { section: name.to_string(), word: None, group })
}

/// Returns the entries behind the word that a statement chooses, e.g. `halt bce`.
fn statement_entries(place: &CursorPlace<'_>) -> Option<Entries> {
    let keyword = place.word(0)?;
    let key = keys::STATEMENTS.iter().find(|key| key.name == keyword)?;
    // `state a, b = normal(…)` chooses behind the names, the others behind the keyword.
    let chosen = match place.item.iter().position(|word| word.is_symbol("=")) {
        Some(equals) => place.word(equals + 1)?,
        None => place.word(1)?,
    };
    let choice = key.choices.iter().find(|choice| choice.name == chosen)?;
    Some(Entries { section: section_of(key, choice.name), word: Some(choice.name), group: choice.group })
}

/// Returns how the reference calls the statement that chose `word` of `key`.
pub(super) fn section_of(key: &Key, word: &str) -> String {
    if key.name == keys::PREDICT.name { format!("{} {word}", key.name) } else { key.name.to_string() }
}

/// Returns what may stand between the parentheses of a value.
fn settings(place: &CursorPlace<'_>) -> CursorScope {
    let Some((entries, key)) = place.key() else { return CursorScope::Unknown };
    let last = place.item.last().filter(|word| word.kind == TokenKind::Name);
    let choice = last.and_then(|word| key.choices.iter().find(|choice| choice.name == word.text));
    match choice {
        Some(choice) => CursorScope::Entries(Entries {
            section: entries.section.clone(),
            word: Some(choice.name),
            group: choice.group,
        }),
        // A tuple, or parentheses of an expression.
        None => CursorScope::Value(entries.clone(), key),
    }
}

#[cfg(test)]
mod tests {
    use super::{CursorScope, place_at};
    use crate::syntax::tokens;

    /// Says what surrounds the `|` of a text.
    fn describe(text: &str) -> String {
        let at = text.find('|').expect("the place is marked");
        let text = text.replacen('|', "", 1);
        let place = place_at(&tokens(&text), at);
        let item: Vec<&str> = place.item.iter().map(|word| word.text).collect();
        let scope = match &place.scope {
            CursorScope::Entries(entries) => {
                format!("{} {} {:?}", entries.section, entries.word.unwrap_or("-"), place.given)
            }
            CursorScope::Value(entries, key) => format!("{} value of {}", entries.section, key.name),
            other => format!("{other:?}"),
        };
        format!("{scope}: {}", item.join(" "))
    }

    #[test]
    fn places_are_known_in_texts_that_are_not_finished() {
        for (text, expected) in [
            ("|", "Top: "),
            ("model m {\n  |", "Model: "),
            ("model m { tokens { vocab = |", "tokens - [\"vocab\"]: vocab ="),
            ("model m { tokens { vocab = 3, |", "tokens - [\"vocab\"]: "),
            ("model m { tokens { vocab = 3 }\n halt |", "Model: halt"),
            ("model m { block b { positions = rope(|", "block rope []: "),
            ("model m { block b { positions = rope(theta = 3)\n |", "block - [\"positions\"]: "),
            ("model m { state a, b = normal(|", "state normal []: "),
            ("model m { state a, |", "Model: state a ,"),
            ("model m { without a, |", "Model: without a ,"),
            ("model m { block b { without heads, |", "block - []: without heads ,"),
            ("model m { block b { without heads, mlp = |", "block - [\"mlp\"]: mlp ="),
            ("base \"a.hrm\"\n|", "Top: "),
            ("model m { halt fixed(|", "halt fixed []: "),
            ("model m { halt bce { |", "halt bce []: "),
            ("model m { predict q from z[|", "Position: "),
            ("model m { predict q from z[0] { outputs = (halt, |", "predict q value of outputs: "),
            ("model m { segment { c: repeat 2 { z <- net(|", "Operands: "),
            ("model m { segment { c: repeat 2 { z <- net(a)\n |", "Steps: "),
            ("model m { segment { z <-\n |", "Steps: z <-"),
            ("train { optimizer = adamw(lr = 1, |", "train adamw [\"lr\"]: "),
            ("train { # optimizer = adamw(\n |", "train - []: "),
            ("whatever { |", "Unknown: "),
            (") } ] |", "Top: "),
        ] {
            assert_eq!(describe(text), expected, "{text}");
        }
    }
}
