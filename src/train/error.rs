//! Why something cannot be trained, evaluated or solved.

use std::fmt;

use crate::check::Misfits;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::spec::SpecError;
use crate::store::{CheckpointError, RunFolderError};

use super::memory::TooLarge;

/// Why something cannot be trained, evaluated or solved.
///
/// # Examples
///
/// ```
/// use hrmc::{Error, Run};
///
/// let error = Run::open("runs/none-001").expect_err("there is no such run");
/// assert!(matches!(error, Error::Run(_)));
/// println!("{error}"); // one message: what, where, and what to do
/// ```
#[derive(thiserror::Error)]
pub enum Error {
    /// The spec has an error, or cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The data is not what it should be.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A run cannot be read or written.
    #[error(transparent)]
    Run(#[from] RunFolderError),
    /// The data is not what the model takes.
    #[error(transparent)]
    Misfit(#[from] Misfits),
    /// The programs need more memory than there is.
    #[error(transparent)]
    Memory(#[from] TooLarge),
    /// The model and what it is given do not fit together.
    #[error("{reason}")]
    Unsuitable {
        /// What does not fit, and what to do.
        reason: String,
    },
}

impl fmt::Debug for Error {
    /// Writes the message, as it is read where `main` returns the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn unsuitable(reason: impl Into<String>) -> Self {
        Error::Unsuitable { reason: reason.into() }
    }
}
