//! Ctrl-C: the first one asks for an orderly end, a second one ends at once.

#![expect(clippy::disallowed_methods, reason = "a second Ctrl-C ends the process at once")]

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::Failure;

/// Exit code of a process that Ctrl-C ended, by convention.
const INTERRUPTED: i32 = 130;

/// Whether the user asked for an orderly end.
#[derive(Debug, Clone)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
}

impl Interrupt {
    /// Begins to listen for Ctrl-C and for the request to terminate.
    ///
    /// # Errors
    ///
    /// Returns a failure if the system refuses.
    pub fn listen() -> Result<Interrupt, Failure> {
        let requested = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&requested);
        ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                process::exit(INTERRUPTED);
            }
        })
        .map_err(|error| Failure::message(format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(Interrupt { requested })
    }

    /// Returns whether an end was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}
