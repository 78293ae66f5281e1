//! Byte ranges, source files, and where a byte stands on the page.

/// A half-open range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
}

impl Span {
    /// Returns the range from `start` up to `end`.
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end, "a span ends before it starts");
        Span { start, end }
    }

    /// Returns the smallest range that holds both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Returns the range moved `offset` bytes to the right.
    pub fn shifted(self, offset: usize) -> Span {
        Span { start: self.start + offset, end: self.end + offset }
    }
}

/// A named piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How messages call the text: usually the path as the user gave it.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A place on the page, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line, counted from 1.
    pub line: usize,
    /// Character in the line, counted from 1.
    pub column: usize,
}

impl Source {
    /// Returns a source with this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// Returns the text under `span`.
    pub fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    /// Returns line and column of a byte. A byte past the end stands after the last character, one
    /// inside a character stands where the character does.
    pub fn location(&self, byte: usize) -> Location {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Location { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Location, Source, Span};

    #[test]
    fn location_counts_lines_and_characters_from_one() {
        let source = Source::new("a.hrm", "é = 1\nb = 2");
        assert_eq!(source.location(0), Location { line: 1, column: 1 });
        assert_eq!(source.location(2), Location { line: 1, column: 2 });
        assert_eq!(source.location(7), Location { line: 2, column: 1 });
        assert_eq!(source.location(999), Location { line: 2, column: 6 });
    }

    #[test]
    fn location_inside_a_character_is_that_of_the_character() {
        let source = Source::new("a.hrm", "é");
        assert_eq!(source.location(1), Location { line: 1, column: 1 });
    }

    #[test]
    fn joined_spans_cover_both_and_the_gap() {
        assert_eq!(Span::new(7, 9).to(Span::new(1, 2)), Span::new(1, 9));
    }
}
