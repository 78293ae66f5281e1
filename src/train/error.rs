//! The error of training, evaluation and solving.

use std::fmt;

use crate::check::Misfits;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::spec::SpecError;
use crate::store::{CheckpointError, RunFolderError};

use super::divergence::Divergence;
use super::memory::TooLarge;

/// The error of training, evaluation and solving.
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
    /// The device failed, or cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The data cannot be read, or is damaged.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A run cannot be read or written.
    #[error(transparent)]
    Run(#[from] RunFolderError),
    /// The data does not fit the model.
    #[error(transparent)]
    Misfit(#[from] Misfits),
    /// The programs need more memory than the device has.
    #[error(transparent)]
    Memory(#[from] TooLarge),
    /// A number of a training is not finite.
    #[error(transparent)]
    Diverged(Box<Divergence>),
    /// The model and its inputs do not fit together.
    #[error("{reason}")]
    Unsuitable {
        /// The whole message: what does not fit, and what to do.
        reason: String,
    },
}

impl fmt::Debug for Error {
    /// Writes the message, so that it can be read when `main` returns the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn unsuitable(reason: impl Into<String>) -> Self {
        Error::Unsuitable { reason: reason.into() }
    }
}
