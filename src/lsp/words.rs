//! The words of a text, whether it follows the grammar or not.

use crate::span::Span;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Comment,
    Newline,
    /// A sign, `<-` included.
    Sign,
}

/// A word and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) span: Span,
}

impl Word<'_> {
    /// Returns whether the word is this sign.
    pub(super) fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    /// Returns whether an expression goes on behind this word, on the next line too.
    pub(super) fn goes_on(&self) -> bool {
        self.kind == Kind::Sign && ["=", "<-", "+", "-", "*", "/"].contains(&self.text)
    }
}

/// Returns the words of `text`, white space left out.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let run = |wanted: &dyn Fn(char) -> bool| rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        let (kind, length) = match first {
            '\n' => (Kind::Newline, 1),
            '#' => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
            '"' => (Kind::Text, string(rest)),
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            _ if first.is_ascii_digit() => {
                (Kind::Number, run(&|c| c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            }
            _ if is_name(first) => (Kind::Name, run(&|c| is_name(c) || c.is_ascii_digit())),
            _ if rest.starts_with("<-") => (Kind::Sign, 2),
            _ => (Kind::Sign, first.len_utf8()),
        };
        words.push(Word { kind, text: &rest[..length], span: Span::new(at, at + length) });
        at += length;
    }
    words
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

/// Returns the length of the string at the beginning of `text`; one that is never closed ends with its line.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Kind, words};

    #[test]
    fn words_are_told_apart() {
        let found: Vec<_> =
            words("a_1 <- net(x) # é\n\"q\\\"\" 1_0.5é").iter().map(|w| (w.kind, w.text)).collect();
        assert_eq!(
            found,
            [
                (Kind::Name, "a_1"),
                (Kind::Sign, "<-"),
                (Kind::Name, "net"),
                (Kind::Sign, "("),
                (Kind::Name, "x"),
                (Kind::Sign, ")"),
                (Kind::Comment, "# é"),
                (Kind::Newline, "\n"),
                (Kind::Text, "\"q\\\"\""),
                (Kind::Number, "1_0.5"),
                (Kind::Sign, "é"),
            ]
        );
    }

    #[test]
    fn a_string_that_is_never_closed_ends_with_its_line() {
        let found: Vec<_> = words("\"ab\nc").iter().map(|word| word.text).collect();
        assert_eq!(found, ["\"ab", "\n", "c"]);
    }
}
