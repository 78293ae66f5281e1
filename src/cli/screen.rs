//! The whole screen of a terminal, for as long as something plays on it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::failure::Failure;
use crate::system::reason;

/// Whether the screen is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The alternate screen, without a cursor, and no wrapped lines.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// Has the screen until it is dropped: the alternate screen, raw mode and no cursor.
pub struct Screen;

impl Screen {
    /// Takes the screen of the terminal behind standard output, whose keys come from standard input.
    ///
    /// # Errors
    ///
    /// Returns a failure if the terminal refuses.
    pub fn take() -> Result<Screen, Failure> {
        let failed =
            |error: io::Error| Failure::message(format!("cannot use the terminal: {}", reason(&error)));
        enable_raw_mode().map_err(failed)?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let screen = Screen;
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes()).and_then(|()| out.flush()).map_err(failed)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the screen back, if it is taken. A process that ends without dropping what has the screen calls this itself.
pub fn leave() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        let _ = disable_raw_mode();
    }
}
