//! The one place that turns diagnostics into text.

use codespan_reporting::diagnostic as report;
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term;
use codespan_reporting::term::termcolor::{Ansi, NoColor, WriteColor};
use serde_json::json;

use super::{Diagnostic, Label, Severity};
use crate::span::Source;

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
    let files = SimpleFile::new(&source.name, &source.text);
    let config = term::Config { chars: term::Chars::ascii(), ..term::Config::default() };
    for diagnostic in diagnostics {
        term::emit_to_write_style(&mut writer, &config, &files, &to_report(diagnostic))
            .expect("spans lie inside the source and memory takes every byte");
    }
    writer
}

fn to_report(diagnostic: &Diagnostic) -> report::Diagnostic<()> {
    let severity = match diagnostic.severity {
        Severity::Error => report::Severity::Error,
        Severity::Warning => report::Severity::Warning,
    };
    let mut labels = vec![to_label(report::LabelStyle::Primary, &diagnostic.primary)];
    labels.extend(diagnostic.secondary.iter().map(|label| to_label(report::LabelStyle::Secondary, label)));
    let mut notes: Vec<String> = diagnostic.notes.iter().map(|note| format!("note: {note}")).collect();
    notes.extend(diagnostic.help.iter().map(|help| format!("help: {help}")));
    report::Diagnostic::new(severity)
        .with_code(diagnostic.code.as_str())
        .with_message(&diagnostic.message)
        .with_labels(labels)
        .with_notes(notes)
}

fn to_label(style: report::LabelStyle, label: &Label) -> report::Label<()> {
    report::Label::new(style, (), label.span.start..label.span.end).with_message(&label.text)
}

/// Returns the diagnostics as a JSON array for programs. Bytes count from 0, lines and columns from 1.
pub fn to_json(source: &Source, diagnostics: &[Diagnostic]) -> serde_json::Value {
    let label = |label: &Label| {
        let location = source.location(label.span.start);
        json!({
            "file": source.name,
            "start": label.span.start,
            "end": label.span.end,
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
