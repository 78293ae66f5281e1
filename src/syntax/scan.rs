//! The scanner of the language: the tokens of a text, whether it follows the grammar or not.
//!
//! Reading a spec is the grammar's part. This is for what has to look at a text before it can be read, or as far as it
//! cannot be: repairs, comments, an editor, the values of a sweep.

use crate::span::Span;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A name or a keyword.
    Name,
    /// A number.
    Number,
    /// A string with its quotes; one that is never closed ends with its line.
    Text,
    /// A comment, up to the end of its line.
    Comment,
    /// A line feed.
    Newline,
    /// A sign or a delimiter, `<-` included.
    Symbol,
    /// A character that the language does not have.
    Unexpected,
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text.
    pub text: &'a str,
    /// Its place.
    pub span: Span,
}

impl Token<'_> {
    /// Returns whether the token is this symbol.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// Returns whether the token is a string that is closed.
    pub fn is_closed(&self) -> bool {
        self.kind == TokenKind::Text && string(self.text).1
    }

    /// Returns whether an item continues on the next line behind this token.
    pub fn continues(&self) -> bool {
        self.kind == TokenKind::Symbol && ["=", "<-", "+", "-", "*", "/"].contains(&self.text)
    }

    /// Returns whether the token says something: it is neither a comment nor white space.
    pub fn is_content(&self) -> bool {
        self.kind != TokenKind::Comment && !self.text.trim().is_empty()
    }
}

/// Goes through the tokens of a text, white space left out.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Begins at the beginning of a text.
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// Continues at a byte.
    pub fn go_to(&mut self, at: usize) {
        self.at = at;
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r']);
        let start = self.text.len() - rest.len();
        let first = rest.chars().next()?;
        let run = |wanted: &dyn Fn(char) -> bool| rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        let (kind, length) = match first {
            '\n' => (TokenKind::Newline, 1),
            '#' => (TokenKind::Comment, rest.find('\n').unwrap_or(rest.len())),
            '"' => (TokenKind::Text, string(rest).0),
            '0'..='9' => (TokenKind::Number, number(rest)),
            _ if is_name(first) => (TokenKind::Name, run(&|c| is_name(c) || c.is_ascii_digit())),
            '<' if rest.starts_with("<-") => (TokenKind::Symbol, 2),
            '{' | '}' | '(' | ')' | '[' | ']' => (TokenKind::Symbol, 1),
            '.' | ',' | ':' | '=' | '<' | '+' | '-' | '*' | '/' => (TokenKind::Symbol, 1),
            _ => (TokenKind::Unexpected, first.len_utf8()),
        };
        self.at = start + length;
        Some(Token { kind, text: &rest[..length], span: Span::new(start, start + length) })
    }
}

/// Returns the tokens of a text, white space left out.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    Scanner::new(text).collect()
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

/// Returns the length of the number at the beginning of `text`, with whatever letters stick to it.
fn number(text: &str) -> usize {
    let mut length = 0;
    loop {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        length += text[length..].find(|c| !part(c)).unwrap_or(text.len() - length);
        // The sign of an exponent.
        let (before, rest) = text.split_at(length);
        let is_exponent =
            before.ends_with(['e', 'E']) && before[..length - 1].ends_with(|c: char| c.is_ascii_digit());
        let mut after = rest.chars();
        let signed =
            matches!(after.next(), Some('+' | '-')) && after.next().is_some_and(|c| c.is_ascii_digit());
        if !(is_exponent && signed) {
            return length;
        }
        length += 1;
    }
}

/// Returns the length of the string at the beginning of `text`, and whether it is closed.
fn string(text: &str) -> (usize, bool) {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return (text[..at].trim_end_matches('\r').len(), false),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (at + 1, true),
            _ => {}
        }
    }
    (text.trim_end_matches('\r').len(), false)
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{TokenKind, tokens};

    #[test]
    fn tokens_are_told_apart() {
        let found: Vec<_> = tokens("a_1 <- net(x) # é\r\n\"q\\\"\" 1_0.5é; 1e-4 2e - 3")
            .iter()
            .map(|token| (token.kind, token.text))
            .collect();
        assert_eq!(
            found,
            [
                (TokenKind::Name, "a_1"),
                (TokenKind::Symbol, "<-"),
                (TokenKind::Name, "net"),
                (TokenKind::Symbol, "("),
                (TokenKind::Name, "x"),
                (TokenKind::Symbol, ")"),
                (TokenKind::Comment, "# é\r"),
                (TokenKind::Newline, "\n"),
                (TokenKind::Text, "\"q\\\"\""),
                (TokenKind::Number, "1_0.5"),
                (TokenKind::Unexpected, "é"),
                (TokenKind::Unexpected, ";"),
                (TokenKind::Number, "1e-4"),
                (TokenKind::Number, "2e"),
                (TokenKind::Symbol, "-"),
                (TokenKind::Number, "3"),
            ]
        );
    }

    #[test]
    fn a_string_that_is_never_closed_ends_with_its_line() {
        for text in ["\"ab\nc", "\"ab\r\nc"] {
            let found = tokens(text);
            assert_eq!(found.iter().map(|token| token.text).collect::<Vec<_>>(), ["\"ab", "\n", "c"]);
            assert!(!found[0].is_closed());
        }
        assert!(tokens("\"a\\\"\"")[0].is_closed() && !tokens("\"a\\\"")[0].is_closed());
    }

    proptest! {
        #[test]
        fn tokens_are_in_order_and_only_white_space_is_left_out(text in "[a-z0-9_.\"\\\\#<=\\-+(){}, \t\r\n×\u{a0}]{0,40}") {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert!(text[end..token.span.start].chars().all(|c| matches!(c, ' ' | '\t' | '\r')));
                prop_assert!(token.span.start < token.span.end);
                prop_assert_eq!(&text[token.span.start..token.span.end], token.text);
                end = token.span.end;
            }
            prop_assert!(text[end..].chars().all(|c| matches!(c, ' ' | '\t' | '\r')));
        }
    }
}
