//! Writing to the terminal: colours only where somebody sees them, and no panic when nobody reads.

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::failure::Failure;
use crate::data::puzzle::{Drawing, Role};
use crate::diagnostic::Appearance;
use crate::system::reason;

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

/// Writes a line to standard error. A closed standard error is nobody's problem.
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

/// Returns whether somebody watches standard error.
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

fn role_style(role: Role) -> Style {
    match role {
        Role::Frame | Role::Wall => Style::new().dimmed(),
        Role::Given | Role::Open | Role::Blank => Style::new(),
        Role::Filled | Role::Path => AnsiColor::Green.on_default(),
        Role::Start | Role::Goal => AnsiColor::Cyan.on_default().bold(),
        Role::Wrong => AnsiColor::Red.on_default().bold(),
    }
}

/// Returns a whole number grouped by thousands, e.g. `27,276,290`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of bytes with a unit, e.g. `1.50 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    scaled(count, 1024.0, &UNITS)
}

/// Returns a number of floating-point operations with a unit, e.g. `12.3 GFLOP`.
pub fn flops(count: u64) -> String {
    const UNITS: [&str; 5] = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"];
    scaled(count, 1000.0, &UNITS)
}

fn scaled(count: u64, base: f64, units: &[&str]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    if unit == 0 { format!("{count} {}", units[0]) } else { format!("{value:.2} {}", units[unit]) }
}

/// Returns a number of seconds, e.g. `1 min 20 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Returns a share as a percentage, e.g. `97.27%`.
pub fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// Returns a rate with about three digits, e.g. `0.214`, `21.4` or `2140`.
pub fn rate(per_second: f64) -> String {
    let decimals = if per_second < 1.0 {
        3
    } else if per_second < 100.0 {
        1
    } else {
        0
    };
    format!("{per_second:.decimals$}")
}

/// Returns `count noun`, with the noun in the plural unless there is one.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count as u64))
}

#[cfg(test)]
mod tests {
    use super::{bytes, counted, duration, flops, grouped};

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(27_276_290), "27,276,290");
    }

    #[test]
    fn units_follow_the_size() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!(flops(12_340_000_000), "12.34 GFLOP");
    }

    #[test]
    fn durations_use_the_two_largest_units() {
        assert_eq!(duration(1.25), "1.2 s");
        assert_eq!(duration(80.4), "1 min 20 s");
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(1_200, "row"), "1,200 rows");
    }
}
