//! Writing to the terminal: colours only on a terminal, and no panic when an output is closed.

#![expect(clippy::disallowed_methods, reason = "output is written where the user says")]

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{Ansi256Color, AnsiColor, Style};
use terminal_size::{Height, Width, terminal_size_of};

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

/// Returns a path as text for a result in JSON, which is UTF-8; what is not UTF-8 in it is replaced.
pub fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Writes text to a file, or to standard output where there is none.
///
/// # Errors
///
/// Returns a failure if the text cannot be written.
pub fn print_to(file: Option<&Path>, text: &str) -> Result<(), Failure> {
    match file {
        Some(path) => write_file(path, text),
        None => print(text),
    }
}

/// Makes a folder and those above it, where they are missing.
///
/// # Errors
///
/// Returns a failure if it cannot be made.
pub fn create_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::cannot_write(path, &error))
}

/// Begins a file that is written bit by bit, so that what was written stays whatever comes after.
///
/// # Errors
///
/// Returns a failure if it cannot be made.
pub fn create_file(path: &Path) -> Result<Box<dyn Write>, Failure> {
    match fs::File::create(path) {
        Ok(file) => Ok(Box::new(io::BufWriter::new(file))),
        Err(error) => Err(Failure::cannot_write(path, &error)),
    }
}

/// Writes a file as a whole. However this process ends, the file has its old content or the new one.
///
/// # Errors
///
/// Returns a failure if the file cannot be written.
pub fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    replace(path, text).map_err(|error| Failure::cannot_write(path, &error))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The file that a link leads to is replaced, and the link stays.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".hrmc-");
    match fs::metadata(&place) {
        // A pipe or a device has no content to keep.
        Ok(found) if !found.is_file() => return fs::write(&place, text),
        Ok(found) => {
            // A file that must not be written must not be replaced either.
            OpenOptions::new().write(true).open(&place)?;
            builder.permissions(found.permissions());
        }
        #[cfg(unix)]
        Err(_) => {
            use std::os::unix::fs::PermissionsExt;
            // What the user lets new files have is taken off.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        #[cfg(not(unix))]
        Err(_) => {}
    }
    let folder = place.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut new = match builder.tempfile_in(folder) {
        // A file may be open for writing in a folder that is not.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && place.exists() => {
            return fs::write(&place, text);
        }
        other => other?,
    };
    new.write_all(text.as_bytes())?;
    new.persist(&place).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a line to standard error, in place of a bar if there is one. A closed standard error is ignored.
///
/// On a terminal the line is wrapped at words, and never within backticks: what stands there can be copied.
pub fn note(line: impl Display) {
    erase_bar();
    let text = line.to_string();
    let text = if error_is_watched() { wrapped(&text, error_size().columns) } else { text };
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Stands for a space at which a line must not be wrapped.
const KEPT_SPACE: char = '\u{e000}';

/// Returns text with lines of at most `width` columns, where words allow it.
pub fn wrapped(text: &str, width: usize) -> String {
    let mut quoted = false;
    let kept: String = text
        .chars()
        .map(|character| {
            quoted ^= character == '`';
            if quoted && character == ' ' { KEPT_SPACE } else { character }
        })
        .collect();
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(&kept, options).replace(KEPT_SPACE, " ")
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl TerminalSize {
    /// A usual size where a terminal does not tell.
    fn of(found: Option<(Width, Height)>) -> TerminalSize {
        match found {
            Some((Width(columns), Height(rows))) if columns > 0 => {
                TerminalSize { columns: columns.into(), rows: rows.into() }
            }
            _ => TerminalSize { columns: 80, rows: 24 },
        }
    }
}

/// Returns the width of the terminal behind standard output in characters; a usual one where there is none.
pub fn output_columns() -> usize {
    output_size().columns
}

/// Returns the size of the terminal behind standard output; a usual one where there is none.
pub fn output_size() -> TerminalSize {
    TerminalSize::of(terminal_size_of(io::stdout()))
}

/// Returns the size of the terminal behind standard error; a usual one where it does not tell.
pub fn error_size() -> TerminalSize {
    TerminalSize::of(terminal_size_of(io::stderr()))
}

/// Whether the cursor stands at the beginning of a bar.
static BAR_IS_DRAWN: AtomicBool = AtomicBool::new(false);

/// What erases a bar, with the cursor at its beginning.
pub const ERASE_BAR: &str = "\r\u{1b}[J";

/// Keep a terminal from wrapping lines that became too long because its width has just changed.
const NO_WRAP: &str = "\u{1b}[?7l";
const WRAP: &str = "\u{1b}[?7h";

/// Returns what draws a bar in place of the one before.
pub fn bar_text(lines: &[String]) -> String {
    let up = if lines.len() > 1 { format!("\u{1b}[{}A", lines.len() - 1) } else { String::new() };
    format!("{ERASE_BAR}{NO_WRAP}{}{WRAP}{up}\r", lines.join("\n"))
}

/// Draws a bar on standard error, in place of the one before. It stays until something else is written there.
pub fn draw_bar(lines: &[String]) {
    let mut out = io::stderr().lock();
    BAR_IS_DRAWN.store(true, Ordering::Relaxed);
    let _ = out.write_all(bar_text(lines).as_bytes()).and_then(|()| out.flush());
}

/// Erases the bar, if there is one.
pub fn erase_bar() {
    let mut out = io::stderr().lock();
    if BAR_IS_DRAWN.swap(false, Ordering::Relaxed) {
        let _ = out.write_all(ERASE_BAR.as_bytes()).and_then(|()| out.flush());
    }
}

/// Writes `warning: message` to standard error.
pub fn warning(message: &str) {
    note(format_args!("warning: {message}"));
}

/// Writes `error: message` to standard error.
pub fn error(message: &str) {
    note(format_args!("{ERROR}error{ERROR:#}: {message}"));
}

/// Writes text that is already rendered to standard error.
pub fn write_error_text(text: &str) {
    erase_bar();
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

/// Returns lines of cells, each column to the right and as wide as it must be, and a remark behind each line. The first
/// line is the head.
pub fn columns(lines: &[(Vec<String>, String)]) -> String {
    let count = lines.iter().map(|(cells, _)| cells.len()).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|(cells, _)| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for (index, (cells, remark)) in lines.iter().enumerate() {
        let mut shown = String::new();
        for (column, &width) in widths.iter().enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            shown.push_str(&format!("{cell:>width$}  "));
        }
        shown.push_str(remark);
        let shown = shown.trim_end();
        text.push_str(&if index == 0 { heading(shown) } else { shown.to_string() });
        text.push('\n');
    }
    text
}

/// Returns rows that are all of one length as CSV.
pub fn csv_text<'a>(rows: impl IntoIterator<Item = &'a Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("all rows are of one length, and memory takes everything");
    }
    let bytes = writer.into_inner().expect("memory takes everything");
    String::from_utf8(bytes).expect("all cells are text")
}

/// Returns a drawing with a style for each role.
pub fn coloured(drawing: &Drawing) -> String {
    let mut text = String::new();
    for line in &drawing.lines {
        for cell in line {
            let style = role_style(cell.role);
            // Space shows no style but a background, and dropping it keeps the text short.
            let is_shown = !cell.text.trim().is_empty() || style.get_bg_color().is_some();
            let style = if is_shown { style } else { Style::new() };
            text.push_str(&format!("{style}{}{style:#}", cell.text));
        }
        text.push('\n');
    }
    text
}

fn role_style(role: PieceRole) -> Style {
    match role {
        PieceRole::Frame | PieceRole::Wall => Style::new().dimmed(),
        PieceRole::Given | PieceRole::Open | PieceRole::Blank | PieceRole::Token => Style::new(),
        PieceRole::Colour(colour) => arc_style(colour),
        PieceRole::Filled | PieceRole::Path => AnsiColor::Green.on_default(),
        PieceRole::Start | PieceRole::Goal => AnsiColor::Cyan.on_default().bold(),
        PieceRole::Wrong => AnsiColor::Red.on_default().bold(),
        PieceRole::Changed => AnsiColor::Yellow.on_default().bold(),
    }
}

/// Returns a background that is near the colour in which tasks of ARC are usually shown, of the 256 of a terminal.
fn arc_style(colour: u8) -> Style {
    // Black, blue, red, green, yellow, grey, pink, orange, light blue, brown.
    const BACKGROUNDS: [u8; 10] = [16, 27, 160, 34, 226, 247, 201, 208, 117, 88];
    let background = Ansi256Color(BACKGROUNDS[usize::from(colour.min(9))]);
    let is_light = matches!(colour, 4 | 5 | 7 | 8);
    let letters = if is_light { AnsiColor::Black } else { AnsiColor::White };
    letters.on(background)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{path_text, wrapped, write_file};

    fn content(file: &Path) -> String {
        fs::read_to_string(file).expect("the file can be read")
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("out.txt");
        write_file(&file, "one").expect("the folder can be written");
        // A name for the old content: it goes on where the file was not overwritten.
        let old = folder.path().join("old.txt");
        fs::hard_link(&file, &old).expect("a link can be made");
        write_file(&file, "two").expect("the folder can be written");
        assert_eq!((content(&file).as_str(), content(&old).as_str()), ("two", "one"));
        assert_eq!(fs::read_dir(folder.path()).expect("it can be read").count(), 2, "nothing else is left");
        assert!(write_file(&folder.path().join("absent/out.txt"), "one").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_a_file_is_stays_as_it_was() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let [file, link, plain] = ["out.txt", "link.txt", "plain.txt"].map(|name| folder.path().join(name));
        write_file(&file, "one").expect("the folder can be written");
        fs::write(&plain, "").expect("the folder can be written");
        let mode = |file: &Path| fs::metadata(file).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&file), mode(&plain), "a new file has what new files have");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("it is ours");
        symlink("out.txt", &link).expect("a link can be made");
        write_file(&link, "two").expect("the folder can be written");
        assert_eq!((content(&file).as_str(), mode(&file)), ("two", 0o640));
        assert!(link.is_symlink());
        write_file(Path::new("/dev/null"), "gone").expect("it takes everything");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_that_is_not_utf_8_is_text_all_the_same() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        assert_eq!(path_text(Path::new(OsStr::from_bytes(b"a\xff/b"))), "a\u{fffd}/b");
    }

    #[test]
    fn notes_wrap_at_words_and_what_can_be_copied_stays_whole() {
        let text = "stopped after step 12; everything is saved in `my runs/tiny-001`, and `hrmc run --train --resume \
                    'my runs/tiny-001'` continues";
        assert_eq!(wrapped(text, 200), text);
        assert_eq!(
            wrapped(text, 40),
            "stopped after step 12; everything is\nsaved in `my runs/tiny-001`, and\n\
             `hrmc run --train --resume 'my runs/tiny-001'`\ncontinues"
        );
        let path = "/a/very-long/path/that-is/longer-than/the-terminal";
        assert_eq!(wrapped(&format!("see {path} there"), 20), format!("see\n{path}\nthere"));
        // Escape sequences take no room, and lines stay lines.
        assert_eq!(wrapped("\u{1b}[1mone two\u{1b}[0m\n  three", 8), "\u{1b}[1mone two\u{1b}[0m\n  three");
    }
}
