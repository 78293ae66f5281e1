//! Completion: the words that may be typed at a place.

use lsp_types::{CompletionItem, CompletionItemKind, Documentation, MarkupContent, MarkupKind};

use super::document::Document;
use super::hover::{explain_choice, explain_key};
use super::names::{Definition, Thing, definitions, word_at};
use super::place::{CursorPlace, CursorScope, Entries, place_at};
use super::reference::REFERENCE;
use crate::check::keys::{self, Key};
use crate::syntax::{STATEMENT_KEYWORDS, TokenKind, tokens};

/// Returns what may be typed at a byte, in the order in which it is to be offered.
pub(super) fn complete(document: &Document, byte: usize) -> Vec<CompletionItem> {
    let words = document.words();
    let begun = word_at(&words, byte);
    // A comment, and a string that is not closed yet, reach up to the end of their line.
    let is_inside = |kind: TokenKind, is_open: bool, start: usize, end: usize| match kind {
        TokenKind::Comment => start < byte && byte <= end,
        TokenKind::Text => start < byte && (byte < end || is_open && byte == end),
        TokenKind::Name
        | TokenKind::Number
        | TokenKind::Newline
        | TokenKind::Symbol
        | TokenKind::Unexpected => false,
    };
    if words.iter().any(|word| is_inside(word.kind, !word.is_closed(), word.span.start, word.span.end)) {
        return Vec::new();
    }
    let start = begun.filter(|word| word.kind == TokenKind::Name).map_or(byte, |word| word.span.start);
    let place = place_at(&words, start);
    let mut names = definitions(&words);
    // What the base gives may be used as well.
    let whole = tokens(&document.whole.text);
    for definition in definitions(&whole) {
        if !names.iter().any(|own| own.name == definition.name && own.thing == definition.thing) {
            names.push(definition);
        }
    }
    Offer { place: &place, names: &names, items: Vec::new() }.at_place()
}

struct Offer<'a> {
    place: &'a CursorPlace<'a>,
    names: &'a [Definition<'a>],
    items: Vec<CompletionItem>,
}

impl Offer<'_> {
    fn at_place(mut self) -> Vec<CompletionItem> {
        let place = self.place;
        match &place.scope {
            CursorScope::Top if place.item.is_empty() => {
                for keyword in ["base", "model", "train"] {
                    self.keyword(keyword);
                }
            }
            CursorScope::Model => self.in_model(),
            CursorScope::Steps => match &place.item[..] {
                [] => {
                    self.things(&[Thing::State]);
                    self.keyword("repeat");
                }
                [.., last] if last.is_symbol("<-") => self.things(&[Thing::Network]),
                [.., last] if last.is_symbol(":") => self.keyword("repeat"),
                [.., last] if last.text == "repeat" => self.things(&[Thing::Let]),
                _ => {}
            },
            CursorScope::Operands => {
                self.things(&[Thing::State]);
                self.item("x", CompletionItemKind::CONSTANT, "the embedded input", None);
            }
            CursorScope::Position => self.things(&[Thing::Let]),
            CursorScope::Entries(entries) => match place.key() {
                Some((entries, key)) => self.value(entries, key),
                None if place.item.is_empty() => self.keys(entries),
                None if place.word(0) == Some("without") => self.keys(entries),
                None => {}
            },
            CursorScope::Value(entries, key) => self.value(entries, key),
            CursorScope::Top | CursorScope::Unknown => {}
        }
        self.items
    }

    fn in_model(&mut self) {
        let place = self.place;
        let Some(first) = place.word(0) else {
            for keyword in STATEMENT_KEYWORDS {
                self.keyword(keyword);
            }
            return;
        };
        let behind_sign =
            place.item.last().is_some_and(|word| word.kind == TokenKind::Symbol && word.text != ",");
        match first {
            "let" if behind_sign => self.things(&[Thing::Let]),
            "network" if behind_sign => self.things(&[Thing::Block, Thing::Let]),
            "state" if behind_sign => self.choices("state", &keys::STATE),
            "gradient" if place.item.len() > 1 => {
                self.things(&[Thing::Loop]);
                if place.item.len() == 2 {
                    self.things(&[Thing::Let]);
                }
            }
            "without" => self.things(&[Thing::Let, Thing::Block, Thing::Network, Thing::State]),
            "predict" if place.item.last().is_some_and(|word| word.text == "from") => {
                self.things(&[Thing::State]);
            }
            "predict" if place.item.len() == 2 => self.keyword("from"),
            _ if place.item.len() == 1 => {
                if let Some(key) = keys::STATEMENTS.iter().find(|key| key.name == first && first != "state") {
                    self.choices(first, key);
                }
            }
            _ => {}
        }
    }

    fn keys(&mut self, entries: &Entries) {
        for key in entries.group.keys.iter().filter(|key| !self.place.given.contains(&key.name)) {
            let row = REFERENCE.key(&entries.section, entries.word, key.name);
            let default = row.and_then(|row| row.default.clone());
            let detail = default.map_or("no default".to_string(), |default| format!("default {default}"));
            let documentation = explain_key(entries, key.name);
            self.item(key.name, CompletionItemKind::PROPERTY, &detail, documentation);
        }
        // Between the braces of a section, what the base has may be taken away.
        if entries.word.is_none() && self.place.item.is_empty() {
            self.keyword("without");
        }
    }

    fn value(&mut self, entries: &Entries, key: &'static Key) {
        let last = self.place.item.last();
        if last.is_some_and(|word| word.kind == TokenKind::Number) {
            let takes_unit = REFERENCE
                .key(&entries.section, entries.word, key.name)
                .is_some_and(|row| row.value.contains("with a unit"));
            if takes_unit {
                for unit in keys::UNITS {
                    self.item(unit, CompletionItemKind::UNIT, "unit", None);
                }
            }
            return;
        }
        for choice in key.choices {
            let documentation = explain_choice(entries, key.name, choice);
            self.item(choice.name, CompletionItemKind::ENUM_MEMBER, key.name, Some(documentation));
        }
        // A word is no number, so a key takes one or the other.
        if key.choices.is_empty() {
            self.things(&[Thing::Let]);
        }
    }

    fn choices(&mut self, section: &str, key: &Key) {
        for choice in key.choices {
            let row = REFERENCE.key(section, None, choice.name).map(|row| row.value.clone());
            self.item(choice.name, CompletionItemKind::ENUM_MEMBER, key.name, row);
        }
    }

    fn keyword(&mut self, keyword: &str) {
        let documentation = REFERENCE.statement(keyword);
        self.item(keyword, CompletionItemKind::KEYWORD, "", documentation);
    }

    fn things(&mut self, things: &[Thing]) {
        for definition in self.names.iter().filter(|definition| things.contains(&definition.thing)) {
            let (kind, detail) = match definition.thing {
                Thing::Model => (CompletionItemKind::MODULE, "model"),
                Thing::Let => (CompletionItemKind::CONSTANT, "let"),
                Thing::Block => (CompletionItemKind::STRUCT, "block"),
                Thing::Network => (CompletionItemKind::FUNCTION, "network"),
                Thing::State => (CompletionItemKind::VARIABLE, "state"),
                Thing::Loop => (CompletionItemKind::REFERENCE, "loop"),
            };
            self.item(definition.name, kind, detail, None);
        }
    }

    fn item(&mut self, label: &str, kind: CompletionItemKind, detail: &str, documentation: Option<String>) {
        let documentation = documentation
            .map(|value| Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value }));
        self.items.push(CompletionItem {
            label: label.to_string(),
            kind: Some(kind),
            detail: Some(detail.to_string()).filter(|detail| !detail.is_empty()),
            documentation,
            sort_text: Some(format!("{:04}", self.items.len())),
            ..CompletionItem::default()
        });
    }
}
