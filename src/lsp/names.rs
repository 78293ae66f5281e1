//! Names that a text gives to things, and what the word at a place refers to.

use super::place::{CursorScope, Walk};
use crate::span::Span;
use crate::syntax::{Token, TokenKind};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Model,
    Let,
    Block,
    Network,
    State,
    /// A loop, by its label.
    Loop,
}

/// Where a name is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition<'a> {
    pub(super) thing: Thing,
    pub(super) name: &'a str,
    /// Place of the name.
    pub(super) span: Span,
}

/// Returns the names that a text gives, in its order.
pub(super) fn definitions<'a>(words: &[Token<'a>]) -> Vec<Definition<'a>> {
    let mut found = Vec::new();
    let mut walk = Walk::new();
    for (index, word) in words.iter().enumerate() {
        if word.kind == TokenKind::Name {
            let place = walk.place();
            let previous = place.item.last();
            let alone = place.item.len() == 1;
            let next = words.get(index + 1);
            let thing = match (&place.scope, place.word(0)) {
                (CursorScope::Top, Some("model")) if alone => Some(Thing::Model),
                (CursorScope::Model, Some("let")) if alone => Some(Thing::Let),
                (CursorScope::Model, Some("block")) if alone => Some(Thing::Block),
                (CursorScope::Model, Some("network")) if alone => Some(Thing::Network),
                (CursorScope::Model, Some("state"))
                    if !place.is_behind("=") && (alone || previous.is_some_and(|it| it.is_symbol(","))) =>
                {
                    Some(Thing::State)
                }
                (CursorScope::Steps, None) if next.is_some_and(|next| next.is_symbol(":")) => {
                    Some(Thing::Loop)
                }
                _ => None,
            };
            found.extend(thing.map(|thing| Definition { thing, name: word.text, span: word.span }));
        }
        walk.step(*word);
    }
    found
}

/// A name that stands for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameUse<'a> {
    name: &'a str,
    is_loop: bool,
}

impl NameUse<'_> {
    /// Returns the first of the definitions that gives the name.
    pub(super) fn find<'d>(&self, definitions: Vec<Definition<'d>>) -> Option<Definition<'d>> {
        let fits = |definition: &Definition<'d>| (definition.thing == Thing::Loop) == self.is_loop;
        definitions.into_iter().find(|definition| definition.name == self.name && fits(definition))
    }
}

/// Returns where the name at `word` is given, if it refers to something in the text or is given there itself.
pub(super) fn definition_of<'a>(words: &[Token<'a>], word: Token<'a>) -> Option<Definition<'a>> {
    let mut definitions = definitions(words);
    match definitions.iter().position(|definition| definition.span == word.span) {
        Some(own) => Some(definitions.swap_remove(own)),
        None => reference(words, word)?.find(definitions),
    }
}

/// Returns what the name at `word` refers to; nothing if it is a word of the language.
pub(super) fn reference<'a>(words: &[Token<'a>], word: Token<'a>) -> Option<NameUse<'a>> {
    if word.kind != TokenKind::Name {
        return None;
    }
    let place = super::place::place_at(words, word.span.start);
    let is_loop = match &place.scope {
        CursorScope::Model => match place.word(0) {
            Some("gradient") => true,
            // What stands in front of `=`, or behind a keyword that chooses, refers to nothing.
            Some("network" | "let") if !place.is_behind("=") => return None,
            Some("predict") if !place.item.iter().any(|before| before.text == "from") => return None,
            Some("block" | "halt" | "model") | None => return None,
            _ => false,
        },
        CursorScope::Steps | CursorScope::Operands | CursorScope::Position | CursorScope::Value(..) => false,
        CursorScope::Entries(_) if place.is_behind("=") => false,
        CursorScope::Entries(_) | CursorScope::Top | CursorScope::Unknown => return None,
    };
    // A word of the key means itself, whatever has the same name.
    if place.key().is_some_and(|(_, key)| key.choices.iter().any(|choice| choice.name == word.text)) {
        return None;
    }
    Some(NameUse { name: word.text, is_loop })
}

/// Returns the word that stands at or ends at a byte; a name is preferred.
pub(super) fn word_at<'a>(words: &[Token<'a>], byte: usize) -> Option<Token<'a>> {
    let touching = words.iter().filter(|word| word.span.start <= byte && byte <= word.span.end);
    touching.max_by_key(|word| (word.kind == TokenKind::Name, word.span.end > byte)).copied()
}

#[cfg(test)]
mod tests {
    use super::{Thing, definition_of, definitions};
    use crate::syntax::tokens;

    const TEXT: &str = "\
model m {
  let N = 2
  block encoder { hidden = 8 * N, mlp = swiglu }
  network mlp = N * encoder
  state a, b = normal
  segment {
    cycle: repeat N { a <- mlp(a + b + x) }
    b <- mlp(a)
  }
  gradient last cycle
  predict tokens from b
  predict q from a[N - 1]
}
train { batch = N }
";

    #[test]
    fn every_name_is_found_with_what_it_stands_for() {
        let found: Vec<_> = definitions(&tokens(TEXT)).iter().map(|it| (it.thing, it.name)).collect();
        assert_eq!(
            found,
            [
                (Thing::Model, "m"),
                (Thing::Let, "N"),
                (Thing::Block, "encoder"),
                (Thing::Network, "mlp"),
                (Thing::State, "a"),
                (Thing::State, "b"),
                (Thing::Loop, "cycle"),
            ]
        );
    }

    #[test]
    fn names_refer_to_where_they_are_given() {
        let words = tokens(TEXT);
        let mut resolved = Vec::new();
        for word in &words {
            if let Some(definition) = definition_of(&words, *word) {
                assert_eq!(definition.name, word.text);
                resolved.push(word.text);
            }
        }
        let expected = "m N encoder N mlp N encoder a b cycle N a mlp a b b mlp a cycle b a N N";
        assert_eq!(resolved.join(" "), expected, "`mlp` as a key and `x` refer to nothing");
    }
}
