//! Byte ranges, source files, and where a byte stands on the page.

use std::sync::Arc;

/// A half-open range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
}

impl Span {
    /// No bytes at all: the place of what was never written in a text.
    pub const EMPTY: Span = Span { start: 0, end: 0 };

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
///
/// A text may be put together from several: a spec over its base, values from a command line. Then it
/// remembers where each piece is from, and [`Source::origin`] leads back there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How messages call the text: usually the path as the user gave it.
    pub name: String,
    /// The text.
    pub text: String,
    /// Where the text is from, in order and without gaps; empty if it is all one piece.
    pieces: Vec<Piece>,
}

/// A stretch of a text that was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Bytes of the stretch.
    length: usize,
    /// Name and whole text of where it is from.
    origin: Arc<(String, String)>,
    /// Where it begins there; `None` if it was only put between the others.
    offset: Option<usize>,
}

/// A place in the text that a user wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Name of that text.
    pub name: &'a str,
    /// That text.
    pub text: &'a str,
    /// The place in it.
    pub span: Span,
}

/// A place on the page, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// Line, counted from 1.
    pub line: usize,
    /// Character in the line, counted from 1.
    pub column: usize,
}

impl Source {
    /// Returns a source with this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into(), pieces: Vec::new() }
    }

    /// Replaces the text under `span` by the text under `part` of another source, between `before` and `after`.
    pub fn splice(&mut self, span: Span, before: &str, other: &Source, part: Span, after: &str) {
        let rest = self.cut(Span::new(span.end, self.text.len()));
        let mut pieces = self.cut(Span::new(0, span.start));
        let glue = Arc::clone(&pieces.last().or(rest.first()).map_or_else(
            || Arc::new((self.name.clone(), self.text.clone())),
            |piece| Arc::clone(&piece.origin),
        ));
        let filler = |text: &str| Piece { length: text.len(), origin: Arc::clone(&glue), offset: None };
        pieces.push(filler(before));
        pieces.extend(other.cut(part));
        pieces.push(filler(after));
        pieces.extend(rest);
        pieces.retain(|piece| piece.length > 0);
        let text = format!("{before}{}{after}", other.slice(part));
        self.text.replace_range(span.start..span.end, &text);
        self.pieces = pieces;
    }

    /// Adds another text behind this one and returns where it begins. It is not part of this text; a place in it leads
    /// to the file that it is from.
    pub fn append(&mut self, other: &Source) -> usize {
        let mut pieces = self.cut(Span::new(0, self.text.len()));
        let origin = Arc::new((self.name.clone(), self.text.clone()));
        pieces.push(Piece { length: 1, origin, offset: None });
        pieces.extend(other.cut(Span::new(0, other.text.len())));
        self.pieces = pieces;
        self.text.push('\n');
        let place = self.text.len();
        self.text.push_str(&other.text);
        place
    }

    /// Removes the text under `span`.
    pub fn remove(&mut self, span: Span) {
        let nothing = Source::new("", "");
        self.splice(span, "", &nothing, Span::new(0, 0), "");
    }

    /// Returns the pieces of the text under `span`.
    fn cut(&self, span: Span) -> Vec<Piece> {
        if self.pieces.is_empty() {
            let origin = Arc::new((self.name.clone(), self.text.clone()));
            return vec![Piece { length: span.end - span.start, origin, offset: Some(span.start) }];
        }
        let mut start = 0;
        let mut found = Vec::new();
        for piece in &self.pieces {
            let end = start + piece.length;
            let (from, to) = (start.max(span.start), end.min(span.end));
            if from < to {
                let offset = piece.offset.map(|offset| offset + from - start);
                found.push(Piece { length: to - from, origin: Arc::clone(&piece.origin), offset });
            }
            start = end;
        }
        found
    }

    /// Returns the place that a span of this text is from. A span over several pieces becomes its first part that
    /// a user wrote.
    pub fn origin(&self, span: Span) -> Origin<'_> {
        let whole = Origin { name: &self.name, text: &self.text, span };
        let mut start = 0;
        let mut last = None;
        for piece in &self.pieces {
            let end = start + piece.length;
            // The end of what a user wrote is a place of its own.
            if let (None, Some(last)) = (piece.offset, last)
                && span == Span::new(start, start)
            {
                return last;
            }
            if let Some(offset) = piece.offset {
                let from = span.start.max(start);
                let to = span.end.min(end).max(from);
                let there = Span::new(offset + from.min(end) - start, offset + to.min(end) - start);
                let place = Origin { name: &piece.origin.0, text: &piece.origin.1, span: there };
                if span.start < end && (from < span.end || span.start == span.end) {
                    return place;
                }
                last = Some(Origin { span: Span::new(there.end, there.end), ..place });
            }
            start = end;
        }
        last.unwrap_or(whole)
    }

    /// Returns the place that a span of this text is from, if all of it is from there. A place without bytes has to have
    /// bytes from there on both sides, for else it may be meant as the end of one text or as the beginning of another.
    pub fn exact_origin(&self, span: Span) -> Option<Origin<'_>> {
        if self.pieces.is_empty() {
            return Some(Origin { name: &self.name, text: &self.text, span });
        }
        let around =
            if span.start == span.end { Span::new(span.start.checked_sub(1)?, span.end + 1) } else { span };
        let mut start = 0;
        let piece = self.pieces.iter().find(|piece| {
            start += piece.length;
            around.end <= start
        })?;
        let begins = start - piece.length;
        let there = |at: usize| Some(at.checked_sub(begins)? + piece.offset?);
        there(around.start)?;
        let span = Span::new(there(span.start)?, there(span.end)?);
        Some(Origin { name: &piece.origin.0, text: &piece.origin.1, span })
    }

    /// Returns the text under `span`.
    pub fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    /// Returns line and column of a byte of this text, wherever it is from. A byte past the end stands after the last
    /// character, one inside a character stands where the character does.
    pub fn location(&self, byte: usize) -> LineColumn {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        LineColumn {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineColumn, Source, Span};

    #[test]
    fn location_counts_lines_and_characters_from_one() {
        let source = Source::new("a.hrm", "é = 1\nb = 2");
        assert_eq!(source.location(0), LineColumn { line: 1, column: 1 });
        assert_eq!(source.location(2), LineColumn { line: 1, column: 2 });
        assert_eq!(source.location(7), LineColumn { line: 2, column: 1 });
        assert_eq!(source.location(999), LineColumn { line: 2, column: 6 });
    }

    #[test]
    fn location_inside_a_character_is_that_of_the_character() {
        let source = Source::new("a.hrm", "é");
        assert_eq!(source.location(1), LineColumn { line: 1, column: 1 });
    }

    #[test]
    fn places_in_an_appended_text_lead_to_it() {
        let mut source = Source::new("a.hrm", "ab");
        let place = source.append(&Source::new("given", "cd"));
        assert_eq!(source.slice(Span::new(place, place + 2)), "cd");
        let origin = |start: usize, end: usize| {
            let found = source.origin(Span::new(start, end));
            (found.name, found.span)
        };
        assert_eq!(origin(place + 1, place + 2), ("given", Span::new(1, 2)));
        assert_eq!(origin(0, 1), ("a.hrm", Span::new(0, 1)));
        assert_eq!(origin(2, 2), ("a.hrm", Span::new(2, 2)), "the end of the text itself");
        let place = source.append(&Source::new("empty", ""));
        assert_eq!(source.origin(Span::new(place, place)).name, "empty");
    }

    #[test]
    fn joined_spans_cover_both_and_the_gap() {
        assert_eq!(Span::new(7, 9).to(Span::new(1, 2)), Span::new(1, 9));
    }
}
