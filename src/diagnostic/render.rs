//! The one place that turns diagnostics into text.

use std::borrow::Cow;
use std::ops::Range;

use codespan_reporting::diagnostic as report;
use codespan_reporting::files;
use codespan_reporting::term;
use codespan_reporting::term::termcolor::{Ansi, NoColor, WriteColor};
use serde_json::json;

use super::{Diagnostic, Label, Mend, Severity};
use crate::span::{Origin, Source, Span};

/// Whether rendered text carries colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appearance {
    /// Text alone.
    Plain,
    /// Text with ANSI escape sequences.
    Coloured,
}

/// Returns the diagnostics as text for people, with excerpts from `source`, in the order given.
pub fn render(source: &Source, diagnostics: &[Diagnostic], appearance: Appearance) -> String {
    let bytes = match appearance {
        Appearance::Plain => render_into(NoColor::new(Vec::new()), source, diagnostics).into_inner(),
        Appearance::Coloured => render_into(Ansi::new(Vec::new()), source, diagnostics).into_inner(),
    };
    String::from_utf8(bytes).expect("the renderer writes the UTF-8 it was given")
}

fn render_into<W: WriteColor>(mut writer: W, source: &Source, diagnostics: &[Diagnostic]) -> W {
    let config = term::Config { chars: term::Chars::ascii(), ..term::Config::default() };
    let mut files = Files { known: Vec::new() };
    let reports: Vec<report::Diagnostic<usize>> =
        diagnostics.iter().map(|diagnostic| to_report(source, diagnostic, &mut files)).collect();
    for report in reports {
        term::emit_to_write_style(&mut writer, &config, &files, &report)
            .expect("spans lie inside the source and memory takes every byte");
    }
    writer
}

/// Longest line that is shown whole, in bytes. No line that a person wrote is longer.
const MAX_LINE: usize = 500;

/// Bytes of a longer line that are shown before and after the place a label points to.
const AROUND: (usize, usize) = (60, 120);

/// The texts that labels point into.
struct Files<'a> {
    known: Vec<Excerpt<'a>>,
}

/// A text that a label points into, or a part of one line of it.
struct Excerpt<'a> {
    name: &'a str,
    /// The whole text.
    whole: &'a str,
    /// The part that is shown, as bytes of the whole.
    shown: Range<usize>,
    /// The part as it is written: without characters that a terminal obeys.
    text: Cow<'a, str>,
    /// Where the lines of the part begin in it.
    starts: Vec<usize>,
    /// Lines of the text before the part.
    lines_before: usize,
    /// Characters before the part on its first line.
    columns_before: usize,
}

impl<'a> Files<'a> {
    /// Returns the file that shows a place, and where the place is in it.
    fn place(&mut self, origin: &Origin<'a>) -> (usize, Range<usize>) {
        let shown = shown(origin.text, origin.span);
        let (start, end) = (origin.span.start, origin.span.end.min(shown.end));
        let range = start - shown.start..end - shown.start;
        let same =
            |known: &Excerpt| known.shown == shown && known.name == origin.name && known.whole == origin.text;
        let id = self.known.iter().position(same).unwrap_or_else(|| {
            self.known.push(Excerpt::new(origin, shown));
            self.known.len() - 1
        });
        (id, range)
    }

    fn excerpt(&self, id: usize) -> Result<&Excerpt<'a>, files::Error> {
        self.known.get(id).ok_or(files::Error::FileMissing)
    }
}

/// Returns what is shown of a text for the sake of a place in it: everything, unless a line there is very long.
fn shown(text: &str, span: Span) -> Range<usize> {
    let begins = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |length| at + length);
    if text[begins..line_end(span.end)].lines().all(|line| line.len() <= MAX_LINE) {
        return 0..text.len();
    }
    let first = span.start.saturating_sub(AROUND.0).max(begins);
    let last = (span.start + AROUND.1).min(line_end(span.start));
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let first = (first..span.start).find(is_boundary).unwrap_or(span.start);
    let last = (span.start..=last).rev().find(is_boundary).unwrap_or(span.start);
    first..last
}

impl<'a> Excerpt<'a> {
    fn new(origin: &Origin<'a>, shown: Range<usize>) -> Excerpt<'a> {
        let before = &origin.text[..shown.start];
        let begins = before.rfind('\n').map_or(0, |newline| newline + 1);
        Excerpt {
            name: origin.name,
            whole: origin.text,
            starts: files::line_starts(&origin.text[shown.clone()]).collect(),
            lines_before: before.matches('\n').count(),
            columns_before: before[begins..].chars().count(),
            text: printable(&origin.text[shown.clone()]),
            shown,
        }
    }
}

/// Returns a text with spaces in place of control characters, byte for byte; line ends and tabs stay.
fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<String> = text.split("\r\n").map(|line| line.replace(obeyed, " ")).collect();
    Cow::Owned(lines.join("\r\n"))
}

impl<'a> files::Files<'a> for Files<'a> {
    type FileId = usize;
    type Name = &'a str;
    type Source = &'a str;

    fn name(&'a self, id: usize) -> Result<&'a str, files::Error> {
        Ok(self.excerpt(id)?.name)
    }

    fn source(&'a self, id: usize) -> Result<&'a str, files::Error> {
        Ok(&self.excerpt(id)?.text)
    }

    fn line_index(&'a self, id: usize, byte: usize) -> Result<usize, files::Error> {
        Ok(self.excerpt(id)?.starts.partition_point(|&start| start <= byte) - 1)
    }

    fn line_number(&'a self, id: usize, line: usize) -> Result<usize, files::Error> {
        Ok(self.excerpt(id)?.lines_before + line + 1)
    }

    fn column_number(&'a self, id: usize, line: usize, byte: usize) -> Result<usize, files::Error> {
        let columns_before = if line == 0 { self.excerpt(id)?.columns_before } else { 0 };
        let range = self.line_range(id, line)?;
        Ok(columns_before + files::column_index(self.source(id)?, range, byte) + 1)
    }

    fn line_range(&'a self, id: usize, line: usize) -> Result<Range<usize>, files::Error> {
        let excerpt = self.excerpt(id)?;
        let start = |line: usize| excerpt.starts.get(line).copied();
        let end = start(line + 1).unwrap_or(excerpt.shown.len());
        let range = start(line).map(|start| start..end);
        range.ok_or(files::Error::LineTooLarge { given: line, max: excerpt.starts.len() - 1 })
    }
}

fn to_report<'a>(
    source: &'a Source,
    diagnostic: &Diagnostic,
    files: &mut Files<'a>,
) -> report::Diagnostic<usize> {
    let severity = match diagnostic.severity {
        Severity::Error => report::Severity::Error,
        Severity::Warning => report::Severity::Warning,
    };
    let mut labels = vec![to_label(report::LabelStyle::Primary, source, &diagnostic.primary, files)];
    let secondary = diagnostic.secondary.iter();
    labels.extend(secondary.map(|label| to_label(report::LabelStyle::Secondary, source, label, files)));
    let mut notes: Vec<String> = diagnostic.notes.iter().map(|note| format!("note: {note}")).collect();
    notes.extend(diagnostic.help.iter().map(|help| format!("help: {help}")));
    report::Diagnostic::new(severity)
        .with_code(diagnostic.code.as_str())
        .with_message(&diagnostic.message)
        .with_labels(labels)
        .with_notes(notes)
}

fn to_label<'a>(
    style: report::LabelStyle,
    source: &'a Source,
    label: &Label,
    files: &mut Files<'a>,
) -> report::Label<usize> {
    let origin = source.origin(label.span);
    let (id, range) = files.place(&origin);
    report::Label::new(style, id, range).with_message(&label.text)
}

/// Returns the diagnostics as a JSON array for programs. Bytes count from 0, lines and columns from 1.
pub fn to_json(source: &Source, diagnostics: &[Diagnostic]) -> serde_json::Value {
    let label = |label: &Label| {
        let origin = source.origin(label.span);
        let location = Source::new(origin.name, origin.text).location(origin.span.start);
        json!({
            "file": origin.name,
            "start": origin.span.start,
            "end": origin.span.end,
            "line": location.line,
            "column": location.column,
            "text": label.text,
        })
    };
    let mend = |mend: &Mend| {
        let (origin, changes) = mend.changes(source)?;
        let changes = changes.iter().map(|change| {
            json!({
                "file": origin.name,
                "start": change.span.start,
                "end": change.span.end,
                "text": change.text,
            })
        });
        Some(json!({ "title": mend.title, "edits": changes.collect::<Vec<_>>() }))
    };
    let diagnostics = diagnostics.iter().map(|diagnostic| {
        json!({
            "severity": match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "code": diagnostic.code.as_str(),
            "message": diagnostic.message,
            "primary": label(&diagnostic.primary),
            "secondary": diagnostic.secondary.iter().map(label).collect::<Vec<_>>(),
            "notes": diagnostic.notes,
            "help": diagnostic.help,
            "mends": diagnostic.mends.iter().filter_map(mend).collect::<Vec<_>>(),
        })
    });
    serde_json::Value::Array(diagnostics.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Appearance, render, to_json};
    use crate::diagnostic::{Code, Diagnostic, Edit};
    use crate::span::{Source, Span};

    fn example() -> (Source, Vec<Diagnostic>) {
        let source = Source::new("a.hrm", "heads = 3\nhidden = 8\n");
        let diagnostic = Diagnostic::error(Code::HeadWidth, Span::new(8, 9), "3 heads do not divide 8")
            .label("does not divide 8")
            .secondary(Span::new(19, 20), "the width")
            .note("a fact")
            .mend("use 4 heads", [Edit::replace(Span::new(8, 9), "4")]);
        (source, vec![diagnostic])
    }

    #[test]
    fn plain_text_has_code_place_labels_notes_and_help() {
        let (source, diagnostics) = example();
        let text = render(&source, &diagnostics, Appearance::Plain);
        for part in [
            "error[head-width]: 3 heads do not divide 8",
            "a.hrm:1:9",
            "does not divide 8",
            "the width",
            "note: a fact",
            "help: use 4 heads",
        ] {
            assert!(text.contains(part), "`{part}` is missing in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "plain text has an escape sequence");
    }

    #[test]
    fn coloured_text_differs_from_plain_text_by_escape_sequences_alone() {
        let (source, diagnostics) = example();
        let coloured = render(&source, &diagnostics, Appearance::Coloured);
        let mut stripped = String::new();
        let mut characters = coloured.chars();
        while let Some(character) = characters.next() {
            match character {
                '\u{1b}' => drop(characters.by_ref().take_while(|&c| c != 'm').count()),
                other => stripped.push(other),
            }
        }
        assert_ne!(coloured, stripped);
        assert_eq!(stripped, render(&source, &diagnostics, Appearance::Plain));
    }

    #[test]
    fn json_has_bytes_lines_and_columns() {
        let (source, diagnostics) = example();
        let json = to_json(&source, &diagnostics);
        assert_eq!(json[0]["code"], "head-width");
        assert_eq!(json[0]["primary"]["line"], 1);
        assert_eq!(json[0]["primary"]["column"], 9);
        assert_eq!(json[0]["secondary"][0]["start"], 19);
        let edit = json!({ "file": "a.hrm", "start": 8, "end": 9, "text": "4" });
        assert_eq!(json[0]["mends"], json!([{ "title": "use 4 heads", "edits": [edit] }]));
    }

    #[test]
    fn a_terminal_obeys_nothing_in_an_excerpt() {
        let source = Source::new("a.hrm", "a\r\u{1b}[2Jb\tc\r\n");
        let said =
            render(&source, &[Diagnostic::error(Code::Syntax, Span::new(6, 7), "no")], Appearance::Plain);
        assert!(said.contains("1 | a  [2Jb c\n"), "{said:?}");
    }

    #[test]
    fn of_a_very_long_line_the_part_around_the_place_is_shown() {
        let text = format!("ok\n{}heads{}\nrest", "é".repeat(100_000), "ü".repeat(100_000));
        let start = text.find("heads").expect("it is there");
        let source = Source::new("a.hrm", text);
        for end in [start + 5, start + 150_005, source.text.len()] {
            let diagnostic = Diagnostic::error(Code::Syntax, Span::new(start, end), "no").label("here");
            let text = render(&source, &[diagnostic.secondary(Span::new(0, 2), "there")], Appearance::Plain);
            assert!(text.contains("a.hrm:2:100001") && text.contains("2 | é"), "{text}");
            assert!(text.contains("ééheadsüü") && text.contains("1 | ok"), "{text}");
            assert!(text.len() < 1_500, "{}", text.len());
        }
    }

    #[test]
    fn place_at_the_end_of_a_text_without_a_newline_is_rendered() {
        let source = Source::new("a.hrm", "model");
        let diagnostics = [Diagnostic::error(Code::Syntax, Span::new(5, 5), "expected a name")];
        assert!(render(&source, &diagnostics, Appearance::Plain).contains("a.hrm:1:6"));
    }
}
