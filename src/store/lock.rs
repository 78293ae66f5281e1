//! One writer for a run: an advisory lock of the operating system on a file in its folder.
//!
//! The system releases the lock when the process ends, however it ends. The file says who has it, for the message to
//! others. Readers need no lock.

#![expect(clippy::disallowed_methods, reason = "the file of the lock is made and read")]

use std::fs::{File, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::error::{RunFolderError, written};
use crate::reading;

/// Name of the file.
pub const LOCK: &str = "lock";

/// Tries before a lock is taken for held: [`holder`] has it for a moment.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The right to write a run, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    folder: PathBuf,
    file: File,
    /// Whether the file system has locks.
    guards: bool,
}

impl RunLock {
    /// Takes the lock of the run in `folder`.
    ///
    /// # Errors
    ///
    /// Returns an error if another process has it, or the file cannot be written.
    pub fn take(folder: &Path) -> Result<RunLock, RunFolderError> {
        let path = folder.join(LOCK);
        let mut options = File::options();
        let file = written(&path, options.read(true).write(true).create(true).truncate(false).open(&path))?;
        let mut tries = 1;
        let guards = loop {
            match file.try_lock() {
                Ok(()) => break true,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(RunFolderError::InUse {
                        folder: folder.to_owned(),
                        holder: said_in(&path).unwrap_or_else(|| "another process".to_owned()),
                    });
                }
                // A file system without locks, as some that computers share.
                Err(TryLockError::Error(_)) => break false,
            }
        };
        let mut lock = RunLock { folder: folder.to_owned(), file, guards };
        let host = gethostname::gethostname();
        let holder = format!("process {} on `{}`\n", std::process::id(), host.display());
        // On a full disk the lock is held all the same, and the message to others names nobody.
        let _ = lock.say(&holder);
        Ok(lock)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// Returns what the user should know where the file system has no locks.
    pub fn warning(&self) -> Option<String> {
        (!self.guards).then(|| {
            format!(
                "the file system of `{}` has no locks: nothing stops another process from training the same run",
                self.folder.display()
            )
        })
    }

    /// Returns whether the folder is still where it was when the lock was taken.
    pub fn is_in_place(&self) -> bool {
        let ours = self.file.try_clone().and_then(same_file::Handle::from_file);
        ours.is_ok_and(|ours| {
            same_file::Handle::from_path(self.folder.join(LOCK)).is_ok_and(|found| found == ours)
        })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The file stays, empty: were it removed, two processes could lock two files of this name.
        let _ = self.say("");
    }
}

/// Returns who trains the run in `folder` at this moment.
pub fn holder(folder: &Path) -> Option<String> {
    let path = folder.join(LOCK);
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(said_in(&path).unwrap_or_else(|| "another process".to_owned())),
        _ => None,
    }
}

fn said_in(path: &Path) -> Option<String> {
    let said = reading::text(path, &reading::LOCK).ok()?;
    Some(said.trim().to_owned()).filter(|said| !said.is_empty())
}
