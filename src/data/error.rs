//! The errors of datasets and puzzles.

use std::io;
use std::path::PathBuf;

use crate::system;

/// A problem with a dataset, a CSV file or a request to generate puzzles.
///
/// Each variant displays as one message that names the file, the row and the reason.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder that cannot be read.
    #[error("cannot read `{file}`: {}", system::reason(reason))]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write `{file}`: {}", system::reason(reason))]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// A whole file that is not what it should be.
    #[error("`{file}`: {reason}")]
    File {
        /// The file; the plain name of the array for a dataset that was never on disk.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// One row of an array that is not what it should be.
    #[error("`{file}`, row {row} (counted from 0): {reason}")]
    ArrayRow {
        /// The file; the plain name of the array for a dataset that was never on disk.
        file: PathBuf,
        /// Row, counted from 0 as numpy does.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// One row of a CSV file that is not what it should be.
    #[error("`{file}`, row {row} (line {line}): {reason}")]
    CsvRow {
        /// The file.
        file: PathBuf,
        /// Puzzle, counted from 1 after the header.
        row: usize,
        /// Line of the file, counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A folder that holds something that writing a dataset would destroy.
    #[error("`{folder}` {reason}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What stands there.
        reason: String,
    },
    /// A request that cannot be met.
    #[error("{reason}")]
    Request {
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl DataError {
    pub(super) fn file(file: impl Into<PathBuf>, reason: impl Into<String>) -> DataError {
        DataError::File { file: file.into(), reason: reason.into() }
    }

    pub(super) fn array_row(file: impl Into<PathBuf>, row: usize, reason: impl Into<String>) -> DataError {
        DataError::ArrayRow { file: file.into(), row, reason: reason.into() }
    }

    pub(super) fn request(reason: impl Into<String>) -> DataError {
        DataError::Request { reason: reason.into() }
    }
}
