//! Reading: every file that hrmc is given comes in through here.
//!
//! A file may be longer than anything that hrmc can use, or have no end at all. So each kind of file has a bound, a
//! [`Kind`], and whatever is longer is refused by name. The bounds are listed in `docs/limits.md`. A file may also be
//! of another kind than the one that is expected. A few such kinds are known by their first bytes ([`another`]), and
//! the error says what to do with them. A text may begin with a byte order mark, which is left out.
//!
//! Every error is an [`io::Error`], whose text is the reason after ``cannot read `FILE`: ``.
//!
//! [`json`] and [`toml`] turn texts into values and say in plain words what is wrong with them.

#![deny(clippy::arithmetic_side_effects)]
#![expect(clippy::disallowed_methods, reason = "files are read here and nowhere else")]

mod another;
pub mod json;
pub mod tensors;
pub mod toml;
mod words;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

pub use words::shortened;

/// What the bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileForm {
    /// Text in UTF-8.
    Text,
    /// An array of numpy.
    Array,
    /// Tensors in the format safetensors.
    Tensors,
    /// What hrmc has made for itself.
    Own,
}

/// A kind of file, with the most that is read of one.
#[derive(Debug)]
pub struct Kind {
    /// What messages call it.
    pub name: &'static str,
    /// Bytes that are read at most.
    pub most: u64,
    wanted: FileForm,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bytes of the longest kind of file that may also come through a pipe. A longer one has to be a file, whose length is
/// known before it is read.
pub const MOST_OF_A_PIPE: u64 = 64 * MIB;

const fn kind(name: &'static str, most: u64, wanted: FileForm) -> Kind {
    Kind { name, most, wanted }
}

/// Specs, and their bases.
pub const SPEC: Kind = kind("a spec", 2 * MIB, FileForm::Text);
/// The defaults of a project.
pub const PROJECT: Kind = kind("`hrmc.toml`", 64 * KIB, FileForm::Text);
/// Puzzles that somebody types.
pub const PUZZLE: Kind = kind("a puzzle", 256 * KIB, FileForm::Text);
/// Questions that are answered one after the other.
pub const QUESTIONS: Kind = kind("a file of questions", 8 * GIB, FileForm::Text);
/// Descriptions of datasets.
pub const METADATA: Kind = kind("`dataset.json`", MIB, FileForm::Text);
/// Names of puzzle identifiers.
pub const IDENTIFIERS: Kind = kind("`identifiers.json`", 64 * MIB, FileForm::Text);
/// Tasks of ARC.
pub const ARC: Kind = kind("ARC tasks", 64 * MIB, FileForm::Text);
/// Arrays of datasets.
pub const ARRAY: Kind = kind("an array", 16 * GIB, FileForm::Array);
/// Puzzles in CSV files.
pub const CSV: Kind = kind("a CSV file", 8 * GIB, FileForm::Text);
/// Descriptions of runs.
pub const MANIFEST: Kind = kind("`run.toml`", 4 * MIB, FileForm::Text);
/// Metrics of runs.
pub const METRICS: Kind = kind("`metrics.jsonl`", GIB, FileForm::Text);
/// Times of the steps of runs.
pub const TIMES: Kind = kind("`times.jsonl`", GIB, FileForm::Text);
/// States of trainers.
pub const STATE: Kind = kind("`state.json`", 64 * MIB, FileForm::Text);
/// Checksums of checkpoints.
pub const CHECKSUMS: Kind = kind("`SHA256SUMS`", 64 * KIB, FileForm::Text);
/// What the file of a lock says.
pub const LOCK: Kind = kind("a lock", 64 * KIB, FileForm::Text);
/// Weights, and the other tensors of checkpoints.
pub const TENSORS: Kind = kind("a file of tensors", 32 * GIB, FileForm::Tensors);
/// Configurations of recorded models.
pub const FIXTURE: Kind = kind("a fixture", MIB, FileForm::Text);
/// Tensors of recorded models.
pub const FIXTURE_TENSORS: Kind = kind("the tensors of a fixture", 2 * GIB, FileForm::Tensors);
/// Kernels that were compiled before.
pub const KERNELS: Kind = kind("compiled kernels", 64 * MIB, FileForm::Own);

/// Bytes of the longest header of an array.
pub const MOST_OF_ARRAY_HEADER: u64 = 64 * KIB;
/// Bytes of the longest header of a file of tensors.
pub const MOST_OF_TENSORS_HEADER: u64 = 16 * MIB;
/// Bytes of the longest line of a file of questions.
pub const MOST_OF_LINE: u64 = MIB;
/// Bytes of the longest row of a CSV file.
pub const MOST_OF_CSV_ROW: u64 = MIB;

/// Bytes that are read at once of a file that is not read as a whole.
pub const BUFFER: usize = 1 << 16;

/// Reads a text, without its byte order mark.
///
/// # Errors
///
/// Returns what the system says, or that the file is too long, of another kind, or not UTF-8.
pub fn text(path: &Path, kind: &Kind) -> io::Result<String> {
    decode(bytes(path, kind)?)
}

/// Does the same with what comes through a pipe.
///
/// # Errors
///
/// As [`text`].
pub fn text_of(input: impl Read, kind: &Kind) -> io::Result<String> {
    decode(all(input, kind)?)
}

/// Reads a whole file.
///
/// # Errors
///
/// Returns what the system says, or that the file is too long or of another kind.
pub fn bytes(path: &Path, kind: &Kind) -> io::Result<Vec<u8>> {
    all(admit(path, kind)?.0, kind)
}

/// Opens a file that is not read as a whole, and returns it with its length.
///
/// # Errors
///
/// As [`bytes`]; besides, if it is no file but a pipe or a device, which have no length.
pub fn open(path: &Path, kind: &Kind) -> io::Result<(BufReader<File>, u64)> {
    debug_assert!(kind.most > MOST_OF_A_PIPE, "only then is the length that of the file");
    let (file, length) = admit(path, kind)?;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    refuse_another(reader.fill_buf()?, kind)?;
    Ok((reader, length))
}

/// The lines of a text that is not read as a whole and may have no end.
pub struct TextLines<R> {
    input: R,
    number: usize,
}

impl<R: BufRead> TextLines<R> {
    /// Begins with the first line.
    pub fn new(input: R) -> TextLines<R> {
        TextLines { input, number: 0 }
    }

    /// Returns the number of the line that was read last, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Reads the next line, without its end.
    ///
    /// # Errors
    ///
    /// Returns what the system says, or that the line is too long or not UTF-8.
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        (&mut self.input).take(MOST_OF_LINE.saturating_add(1)).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        if bytes.len() as u64 > MOST_OF_LINE {
            let reason =
                format!("line {} is longer than {}, the most of one", self.number, size(MOST_OF_LINE));
            return Err(refusal(reason));
        }
        let end = if bytes.ends_with(b"\r\n") { 2 } else { usize::from(bytes.ends_with(b"\n")) };
        bytes.truncate(bytes.len().saturating_sub(end));
        const MARK: &[u8] = "\u{feff}".as_bytes();
        if self.number == 1 && bytes.starts_with(MARK) {
            bytes.drain(..MARK.len());
        }
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| refusal(format!("line {} is not UTF-8 text", self.number)))
    }
}

/// Returns the text that some bytes are, without its byte order mark.
///
/// # Errors
///
/// Returns in which line they are not UTF-8.
pub fn decode(mut bytes: Vec<u8>) -> io::Result<String> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = sound.iter().filter(|&&byte| byte == b'\n').count().saturating_add(1);
        refusal(format!("line {line} is not UTF-8 text"))
    })
}

/// Returns the error of a file that is not what it has to be; `reason` goes on after ``cannot read `FILE`: ``.
pub fn refusal(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Opens a file if it is not too long.
fn admit(path: &Path, kind: &Kind) -> io::Result<(File, u64)> {
    // This is asked first, because opening a pipe may take forever.
    let found = fs::metadata(path)?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() && kind.most > MOST_OF_A_PIPE {
        let reason = format!(
            "it is a pipe or a device, whose length cannot be held against {}, the most of {}; copy it to a file",
            size(kind.most),
            kind.name
        );
        return Err(refusal(reason));
    }
    if found.len() > kind.most {
        return Err(too_long(kind));
    }
    Ok((File::open(path)?, found.len()))
}

/// Reads everything, if it is not too long.
fn all(input: impl Read, kind: &Kind) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(kind.most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > kind.most {
        return Err(too_long(kind));
    }
    refuse_another(&bytes, kind)?;
    Ok(bytes)
}

fn too_long(kind: &Kind) -> io::Error {
    refusal(format!("it is longer than {}, the most of {}", size(kind.most), kind.name))
}

fn refuse_another(bytes: &[u8], kind: &Kind) -> io::Result<()> {
    another::advice(bytes, kind.wanted).map_or(Ok(()), |advice| Err(refusal(advice)))
}

/// Returns a round number of bytes with its unit, e.g. `64 KiB`.
fn size(bytes: u64) -> String {
    let units = [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    let round = units.iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
    round.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, name)| format!("{} {name}", bytes.div_euclid(*unit)),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{self, Read};

    use super::*;

    fn said<T: std::fmt::Debug>(result: io::Result<T>) -> String {
        crate::system::reason(&result.expect_err("it is refused"))
    }

    /// Every bound, as a row of the table in `docs/limits.md`.
    fn rows() -> Vec<String> {
        let row = |name: &str, most: u64, pipe: bool| {
            format!("| {name} | {} | {} |", size(most), if pipe { "yes" } else { "no" })
        };
        let kinds = [
            SPEC,
            PROJECT,
            PUZZLE,
            QUESTIONS,
            METADATA,
            IDENTIFIERS,
            ARC,
            ARRAY,
            CSV,
            MANIFEST,
            METRICS,
            TIMES,
            STATE,
            CHECKSUMS,
            LOCK,
            TENSORS,
            FIXTURE,
            FIXTURE_TENSORS,
            KERNELS,
        ];
        let files = kinds.iter().map(|kind| row(kind.name, kind.most, kind.most <= MOST_OF_A_PIPE));
        let parts = [
            ("the header of an array", MOST_OF_ARRAY_HEADER),
            ("the header of a file of tensors", MOST_OF_TENSORS_HEADER),
            ("a line of a file of questions", MOST_OF_LINE),
            ("a row of a CSV file", MOST_OF_CSV_ROW),
        ];
        files.chain(parts.map(|(name, most)| row(name, most, false))).collect()
    }

    #[test]
    fn the_documentation_lists_every_bound() {
        let table = rows().join("\n");
        let page = include_str!("../../docs/limits.md");
        assert!(page.contains(&table), "expected in `docs/limits.md`:\n{table}");
    }

    #[test]
    fn what_is_longer_than_its_bound_is_refused_by_number() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("long");
        File::create(&path).and_then(|file| file.set_len(64 * GIB)).expect("a sparse file takes no room");
        for kind in [&SPEC, &PUZZLE, &METRICS, &TENSORS, &ARRAY] {
            let expected = format!("it is longer than {}, the most of {}", size(kind.most), kind.name);
            assert_eq!(said(bytes(&path, kind)), expected);
        }
        assert_eq!(said(open(&path, &ARRAY)), "it is longer than 16 GiB, the most of an array");
        let endless = || io::repeat(b'1');
        assert_eq!(said(text_of(endless(), &PUZZLE)), "it is longer than 256 KiB, the most of a puzzle");
        let just = text_of(endless().take(PUZZLE.most), &PUZZLE).expect("this is the most");
        assert_eq!(just.len() as u64, PUZZLE.most);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_refused() {
        let zero = Path::new("/dev/zero");
        assert_eq!(said(text(zero, &PROJECT)), "it is longer than 64 KiB, the most of `hrmc.toml`");
        assert_eq!(
            said(bytes(zero, &TENSORS)),
            "it is a pipe or a device, whose length cannot be held against 32 GiB, the most of a file of tensors; \
             copy it to a file"
        );
    }

    #[test]
    fn a_byte_order_mark_is_left_out_and_other_encodings_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("text");
        let read = |content: &[u8]| {
            fs::write(&path, content).expect("the folder can be written");
            text(&path, &PUZZLE)
        };
        assert_eq!(read(b"\xef\xbb\xbf12").expect("it is text"), "12");
        assert_eq!(said(read(b"1\n2\n\xff")), "line 3 is not UTF-8 text");
        assert_eq!(said(read(b"\xff\xfe1\0")), "it is text in UTF-16; save it as UTF-8");
        assert_eq!(said(text(folder.path(), &PUZZLE)), "it is a folder");
        assert_eq!(said(text(&folder.path().join("none"), &PUZZLE)), "there is no such file or folder");
    }
}
