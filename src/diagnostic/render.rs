//! The one place that turns diagnostics into text.

use codespan_reporting::diagnostic as report;
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term;
use codespan_reporting::term::termcolor::{Ansi, NoColor, WriteColor};
use serde_json::json;

use super::{Diagnostic, Label, Severity};
use crate::span::{Origin, Source};

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
    let mut files = Files { known: SimpleFiles::new(), ids: Vec::new() };
    let config = term::Config { chars: term::Chars::ascii(), ..term::Config::default() };
    for diagnostic in diagnostics {
        let report = to_report(source, diagnostic, &mut files);
        term::emit_to_write_style(&mut writer, &config, &files.known, &report)
            .expect("spans lie inside the source and memory takes every byte");
    }
    writer
}

/// The texts that labels point into.
struct Files<'a> {
    known: SimpleFiles<&'a str, &'a str>,
    ids: Vec<(&'a str, &'a str, usize)>,
}

impl<'a> Files<'a> {
    fn id(&mut self, origin: &Origin<'a>) -> usize {
        let known = |(name, text, _): &&(&str, &str, usize)| *name == origin.name && *text == origin.text;
        if let Some((.., id)) = self.ids.iter().find(known) {
            return *id;
        }
        let id = self.known.add(origin.name, origin.text);
        self.ids.push((origin.name, origin.text, id));
        id
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
    let id = files.id(&origin);
    report::Label::new(style, id, origin.span.start..origin.span.end).with_message(&label.text)
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
        })
    });
    serde_json::Value::Array(diagnostics.collect())
}

#[cfg(test)]
mod tests {
    use super::{Appearance, render, to_json};
    use crate::diagnostic::{Code, Diagnostic};
    use crate::span::{Source, Span};

    fn example() -> (Source, Vec<Diagnostic>) {
        let source = Source::new("a.hrm", "heads = 3\nhidden = 8\n");
        let diagnostic = Diagnostic::error(Code::HeadWidth, Span::new(8, 9), "3 heads do not divide 8")
            .label("does not divide 8")
            .secondary(Span::new(19, 20), "the width")
            .note("a fact")
            .help("use 4 heads");
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
    }

    #[test]
    fn place_at_the_end_of_a_text_without_a_newline_is_rendered() {
        let source = Source::new("a.hrm", "model");
        let diagnostics = [Diagnostic::error(Code::Syntax, Span::new(5, 5), "expected a name")];
        assert!(render(&source, &diagnostics, Appearance::Plain).contains("a.hrm:1:6"));
    }
}
