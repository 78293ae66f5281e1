//! The failures of commands.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::system::reason;
use crate::train::{Error, TooLarge};

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// One message for the user: what is wrong, where, and what to do.
    Message(String),
    /// Everything is reported already; only the exit code is left.
    Reported,
    /// Standard output was closed, as by `| head`. This is not an error of the user.
    OutputClosed,
    /// A signal or the limit of time came before the end; what is to be said about it is reported already.
    Stopped(Stop),
}

/// Why a command ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupted,
    /// The request to terminate, as of `kill`.
    Terminated,
    /// The terminal was closed.
    HungUp,
    /// The time of `--max-time` is over.
    TimeIsUp,
}

impl Stop {
    /// Returns the exit code: for a signal 128 and its number, as shells have it; for time that of `timeout`.
    pub fn code(self) -> u8 {
        match self {
            Stop::Interrupted => 130,
            Stop::Terminated => 143,
            Stop::HungUp => 129,
            Stop::TimeIsUp => 124,
        }
    }

    /// Returns the name in results for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Interrupted => "SIGINT",
            Stop::Terminated => "SIGTERM",
            Stop::HungUp => "SIGHUP",
            Stop::TimeIsUp => "max-time",
        }
    }
}

impl Failure {
    /// Returns a failure with a message.
    pub fn message(message: impl Into<String>) -> Failure {
        Failure::Message(message.into())
    }

    /// Returns a failure to read a file.
    pub fn cannot_read(path: &Path, error: &io::Error) -> Failure {
        Failure::Message(format!("cannot read `{}`: {}", path.display(), reason(error)))
    }

    /// Returns a failure to write a file.
    pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
        Failure::Message(format!("cannot write `{}`: {}", path.display(), reason(error)))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Spec(error) => error.into(),
            other => fail(other),
        }
    }
}

/// Turns an error of training or solving into a failure. `option` is the option that sets the size of the batch, as in
/// `--batch `.
pub fn fail_with_batch(error: Error, option: &str) -> Failure {
    match error {
        Error::Memory(too_large) => fail_too_large(&too_large, option),
        other => other.into(),
    }
}

/// Turns programs that are too large into a failure. `option` is the option that sets the size of the batch.
pub fn fail_too_large(too_large: &TooLarge, option: &str) -> Failure {
    Failure::Message(too_large.message(&|rows| format!("`{option}{rows}`")))
}

/// Turns the error of a stage, which displays as one message, into a failure.
pub fn fail(error: impl Display) -> Failure {
    Failure::Message(error.to_string())
}
