//! Places of the protocol, lines and UTF-16 units counted from 0, and bytes of a text.

use lsp_types::{Position, Range};

use crate::span::Span;

/// Where the lines of a text begin.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// Finds the lines of `text`. As in the protocol, a line ends with `\n`, `\r\n` or `\r`.
    pub(super) fn of(text: &str) -> Lines {
        let bytes = text.as_bytes();
        let ends_line = |at: usize| match bytes[at] {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        let starts = (0..bytes.len()).filter(|&at| ends_line(at)).map(|at| at + 1);
        Lines { starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Returns the byte at a position. One past the end of a line is the end of the line, one inside a
    /// character its beginning.
    pub(super) fn byte(&self, text: &str, position: Position) -> usize {
        let line = position.line as usize;
        let Some(&start) = self.starts.get(line) else { return text.len() };
        let end = self.starts.get(line + 1).copied().unwrap_or(text.len());
        let content = text[start..end].trim_end_matches(['\n', '\r']);
        let mut units = 0;
        for (at, character) in content.char_indices() {
            units += character.len_utf16();
            if units > position.character as usize {
                return start + at;
            }
        }
        start + content.len()
    }

    /// Returns the position of a byte; one inside a character has the position of the character.
    pub(super) fn position(&self, text: &str, byte: usize) -> Position {
        let mut byte = byte.min(text.len());
        while !text.is_char_boundary(byte) {
            byte -= 1;
        }
        let line = self.starts.partition_point(|&start| start <= byte) - 1;
        let character = text[self.starts[line]..byte].encode_utf16().count();
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Position::new(small(line), small(character))
    }

    /// Returns the range of a span.
    pub(super) fn range(&self, text: &str, span: Span) -> Range {
        Range::new(self.position(text, span.start), self.position(text, span.end))
    }
}

#[cfg(test)]
mod tests {
    use lsp_types::Position;

    use super::Lines;

    #[test]
    fn characters_count_as_utf16_units() {
        let text = "a\né𝄞b = 1\r\nc";
        let lines = Lines::of(text);
        for (byte, line, character) in [(0, 0, 0), (2, 1, 0), (4, 1, 1), (8, 1, 3), (9, 1, 4), (15, 2, 0)] {
            let position = Position::new(line, character);
            assert_eq!(lines.position(text, byte), position, "byte {byte}");
            assert_eq!(lines.byte(text, position), byte, "{position:?}");
        }
    }

    #[test]
    fn places_that_do_not_exist_are_moved_to_ones_that_do() {
        let text = "é𝄞\nb";
        let lines = Lines::of(text);
        assert_eq!(lines.byte(text, Position::new(0, 2)), 2, "inside of a pair of surrogates");
        assert_eq!(lines.byte(text, Position::new(0, 99)), 6, "past the end of a line");
        assert_eq!(lines.byte(text, Position::new(9, 0)), text.len(), "past the end of the text");
        assert_eq!(lines.position(text, 1), Position::new(0, 0), "inside of a character");
        assert_eq!(lines.position(text, 99), Position::new(1, 1));
    }
}
