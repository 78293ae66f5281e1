//! The error of the files of a run.

use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::CheckpointError;
use crate::system;

/// The error of a run folder.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// A file or folder that cannot be read.
    #[error("cannot read `{file}`: {}", system::reason(reason))]
    Read {
        /// The file.
        file: PathBuf,
        /// The error, in the words of the system.
        reason: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write `{file}`: {}", system::reason(reason))]
    Write {
        /// The file.
        file: PathBuf,
        /// The error, in the words of the system.
        reason: io::Error,
    },
    /// A folder that is not the folder of a run.
    #[error("`{folder}` is not the folder of a run: it has no `run.toml`")]
    NotARun {
        /// The folder.
        folder: PathBuf,
    },
    /// A file with unexpected content.
    #[error("`{file}` is damaged: {reason}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that was changed after it was written.
    #[error("`{file}`: {what}")]
    Changed {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        what: &'static str,
    },
    /// A file of another version of hrmc.
    #[error("`{file}` has format {format}, of another version of hrmc; this one reads up to {known}")]
    OtherFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// A run that another process trains.
    #[error("`{folder}` is being trained by {holder}; wait until it ends, or begin a run of its own")]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that trains it.
        holder: String,
    },
    /// A folder that was deleted or renamed while it was trained.
    #[error(
        "the folder `{folder}` is not there any more: it was deleted or renamed while it was trained; {kept}"
    )]
    Gone {
        /// The folder.
        folder: PathBuf,
        /// What is left.
        kept: String,
    },
    /// A checkpoint in the folder cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

pub(super) fn written<T>(file: &Path, result: io::Result<T>) -> Result<T, RunFolderError> {
    result.map_err(|reason| RunFolderError::Write { file: file.to_owned(), reason })
}
