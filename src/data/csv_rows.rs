//! Rows of CSV files, each up to a bound.

use std::io::{self, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::error::DataError;
use crate::reading::{self, MOST_OF_CSV_ROW};

/// The rows of a CSV file, the header included, which may differ in length. Fields are not trimmed.
pub(super) struct CsvRows<R> {
    reader: csv::Reader<BoundedRow<R>>,
    /// The row that was read last.
    record: StringRecord,
}

/// A row that was read.
pub(super) struct CsvRow<'a> {
    pub record: &'a StringRecord,
    /// Line of the file where it begins, counted from 1.
    pub line: u64,
}

/// Why the next row cannot be read.
pub(super) enum CsvFault {
    /// It is no text; those after it can be read.
    Row {
        /// Line of the file, counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// It is too long, and nothing after it is found any more.
    TooLong {
        /// Line of the file, counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no more bytes.
    Read(io::Error),
}

impl CsvFault {
    /// Returns the error of a file; `row` is counted from 1 after the header.
    pub(super) fn error(self, file: &Path, row: usize) -> DataError {
        match self {
            CsvFault::Row { line, reason } | CsvFault::TooLong { line, reason } => {
                DataError::CsvRow { file: file.to_owned(), row, line, reason }
            }
            CsvFault::Read(reason) => DataError::Read { file: file.to_owned(), reason },
        }
    }
}

impl<R: Read> CsvRows<R> {
    /// Begins with the header.
    pub(super) fn new(input: R) -> CsvRows<R> {
        let input = BoundedRow { input, read: 0, most: 0 };
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
        CsvRows { reader, record: StringRecord::new() }
    }

    /// Reads the next row; `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<CsvRow<'_>>, CsvFault> {
        let line = self.reader.position().line();
        let most = self.reader.position().byte().saturating_add(MOST_OF_CSV_ROW);
        self.reader.get_mut().most = most;
        match self.reader.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let line = self.record.position().map_or(line, |position| position.line());
                Ok(Some(CsvRow { record: &self.record, line }))
            }
            Err(error) => Err(match error.into_kind() {
                csv::ErrorKind::Io(reason) if reason.kind() == io::ErrorKind::InvalidData => {
                    CsvFault::TooLong { line, reason: reason.to_string() }
                }
                csv::ErrorKind::Io(reason) => CsvFault::Read(reason),
                // Neither rows of different lengths nor the types of fields are left to the reader.
                _ => {
                    let reason = "has characters that are not UTF-8 text".to_owned();
                    CsvFault::Row { line, reason }
                }
            }),
        }
    }
}

/// The bytes of a CSV file up to where the row that is being read has to end.
struct BoundedRow<R> {
    input: R,
    /// Bytes that were read.
    read: u64,
    /// Bytes that may be read.
    most: u64,
}

impl<R: Read> Read for BoundedRow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.most.saturating_sub(self.read)).unwrap_or(usize::MAX);
        let part = buffer.len().min(left);
        if part == 0 && !buffer.is_empty() {
            return Err(reading::refusal(format!(
                "is longer than {MOST_OF_CSV_ROW} bytes, the most of a row"
            )));
        }
        let read = self.input.read(&mut buffer[..part])?;
        self.read += read as u64;
        Ok(read)
    }
}
