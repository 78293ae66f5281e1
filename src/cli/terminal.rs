//! Writing to the terminal: colours only on a terminal, and no panic when an output is closed.

#![expect(clippy::disallowed_methods, reason = "output is written where the user says")]

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::failure::Failure;
use crate::data::puzzle::{Drawing, PieceRole};
use crate::diagnostic::Appearance;
use crate::system::reason;

pub use crate::units::{bytes, counted, duration, flops, grouped, percent, rate};

/// Style of `error:`.
const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Style of headings.
const HEADING: Style = Style::new().bold();

/// Writes text to standard output; escape sequences are dropped unless a terminal shows them.
///
/// # Errors
///
/// Returns a failure if the text cannot be written.
pub fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::message(format!("cannot write to standard output: {}", reason(&error))),
    })
}

/// Writes a JSON value and a newline to standard output.
///
/// # Errors
///
/// Returns a failure if it cannot be written.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(format!("{value:#}\n"))
}

/// Writes text to a file, or to standard output where there is none.
///
/// # Errors
///
/// Returns a failure if the text cannot be written.
pub fn print_to(file: Option<&Path>, text: &str) -> Result<(), Failure> {
    match file {
        Some(path) => fs::write(path, text).map_err(|error| Failure::cannot_write(path, &error)),
        None => print(text),
    }
}

/// Writes a line to standard error. A closed standard error is ignored.
pub fn note(line: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Writes `error: message` to standard error.
pub fn error(message: &str) {
    note(format_args!("{ERROR}error{ERROR:#}: {message}"));
}

/// Writes text that is already rendered to standard error.
pub fn write_error_text(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Returns whether diagnostics on standard error should carry colours.
pub fn error_appearance() -> Appearance {
    match AutoStream::choice(&io::stderr()) {
        ColorChoice::Never => Appearance::Plain,
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Appearance::Coloured,
    }
}

/// Returns whether standard error is a terminal.
pub fn error_is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Returns text in the style of a heading.
pub fn heading(text: &str) -> String {
    format!("{HEADING}{text}{HEADING:#}")
}

/// Returns a drawing with a style for each role.
pub fn coloured(drawing: &Drawing) -> String {
    let mut text = String::new();
    for line in &drawing.lines {
        for cell in line {
            // Space shows no style, and dropping it keeps the text short.
            let style = if cell.text.trim().is_empty() { Style::new() } else { role_style(cell.role) };
            text.push_str(&format!("{style}{}{style:#}", cell.text));
        }
        text.push('\n');
    }
    text
}

fn role_style(role: PieceRole) -> Style {
    match role {
        PieceRole::Frame | PieceRole::Wall => Style::new().dimmed(),
        PieceRole::Given | PieceRole::Open | PieceRole::Blank => Style::new(),
        PieceRole::Filled | PieceRole::Path => AnsiColor::Green.on_default(),
        PieceRole::Start | PieceRole::Goal => AnsiColor::Cyan.on_default().bold(),
        PieceRole::Wrong => AnsiColor::Red.on_default().bold(),
    }
}
