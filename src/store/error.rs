//! The errors of the files of a run.

use std::io;
use std::path::{Path, PathBuf};

use crate::device::DeviceError;
use crate::system;

/// The error of reading or writing a checkpoint or a file of weights.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no checkpoint.
    #[error("there is no checkpoint in `{folder}`")]
    Absent {
        /// The folder that was looked in.
        folder: PathBuf,
    },
    /// A file that cannot be read.
    #[error("cannot read `{file}`: {}", system::reason(reason))]
    Read {
        /// The file.
        file: PathBuf,
        /// The error, in the words of the system.
        reason: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot save the checkpoint: `{file}`: {}", system::reason(reason))]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// The error, in the words of the system.
        reason: io::Error,
    },
    /// A file whose bytes are not those that were saved, that cannot be parsed, or whose parts contradict each other.
    #[error("`{file}` is damaged: {reason}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that is missing, unexpected, or of another type or shape.
    #[error("`{file}`: tensor `{tensor}` {reason}")]
    Tensor {
        /// The file.
        file: PathBuf,
        /// Name of the tensor in the file.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A checkpoint of another model, seed, dataset or format.
    #[error("cannot continue from `{folder}`: {reason}")]
    Unfit {
        /// The checkpoint.
        folder: PathBuf,
        /// How it differs.
        reason: String,
    },
}

impl CheckpointError {
    /// Returns the error for the checkpoint in `folder`, which does not belong to this training.
    pub fn unfit(folder: &Path, reason: String) -> Self {
        CheckpointError::Unfit { folder: folder.to_owned(), reason }
    }

    pub(super) fn damaged(file: &Path, reason: impl ToString) -> Self {
        CheckpointError::Damaged { file: file.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn tensor(file: &Path, tensor: &str, reason: impl Into<String>) -> Self {
        CheckpointError::Tensor { file: file.to_owned(), tensor: tensor.to_owned(), reason: reason.into() }
    }

    pub(super) fn read(file: &Path, reason: io::Error) -> Self {
        CheckpointError::Read { file: file.to_owned(), reason }
    }

    pub(super) fn change<T>(file: &Path, result: io::Result<T>) -> Result<T, Self> {
        result.map_err(|reason| CheckpointError::Write { file: file.to_owned(), reason })
    }

    /// Returns whether another checkpoint of the same run may be better.
    pub fn is_of_this_checkpoint(&self) -> bool {
        !matches!(self, CheckpointError::Device(_) | CheckpointError::Unfit { .. })
    }
}

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
    /// A link in place of the folder of a run, which is to be removed.
    #[error("`{folder}` is a link to the folder of a run; remove the link yourself, or the run where it is")]
    Linked {
        /// The link.
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
