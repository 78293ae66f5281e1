//! Changes to the files of a run: the only place where one is made, written, renamed or removed.
//!
//! A file is on the disk, and not only in the memory of the system, when [`write_file`] or [`Appended::sync`] returns;
//! a renaming is when [`sync_folder`] of the folder around it returns. Tests plant faults at each change.

#![expect(clippy::disallowed_methods, reason = "files of runs are written")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Bytes in one call of the system.
const BUFFER: usize = 1 << 20;

/// Makes a folder, whose parent is there.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    faults::change()?;
    fs::create_dir(folder)
}

/// Makes a folder, and those above it.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    faults::change()?;
    fs::create_dir_all(folder)
}

/// Writes a file and waits until it is on the disk.
pub fn write_file(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    faults::change()?;
    let mut writer = BufWriter::with_capacity(BUFFER, Written(File::create(file)?));
    write(&mut writer)?;
    writer.flush()?;
    faults::change()?;
    writer.get_ref().0.sync_all()
}

/// Gives a file or folder another name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    faults::change()?;
    fs::rename(from, to)
}

/// Removes a folder with everything in it; one that is not there is no error.
pub fn remove_folder(folder: &Path) -> io::Result<()> {
    faults::change()?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a file, or a folder with everything in it; of a link, only the link.
pub fn remove(path: &Path) -> io::Result<()> {
    faults::change()?;
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Waits until the entries of a folder are on the disk. Only Unix can open a folder for that.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    faults::change()?;
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Returns the folder that holds a file or folder.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file to which text is added.
#[derive(Debug)]
pub struct Appended(File);

impl Appended {
    /// Opens a file that is there.
    pub fn open(file: &Path) -> io::Result<Appended> {
        faults::change()?;
        OpenOptions::new().append(true).open(file).map(Appended)
    }

    /// Adds text.
    pub fn add(&mut self, text: &str) -> io::Result<()> {
        write_all(&mut self.0, text.as_bytes())
    }

    /// Waits until everything that was added is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        faults::change()?;
        self.0.sync_data()
    }
}

/// A file whose writing can be made to fail.
struct Written(File);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(&mut self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    match faults::change() {
        Ok(()) => file.write_all(bytes),
        Err(fault) => {
            // What a full disk or a killed process leaves of a write is a part of it.
            file.write_all(&bytes[..faults::part(bytes.len())])?;
            Err(fault)
        }
    }
}

/// Nothing fails by itself outside of tests.
#[cfg(not(test))]
mod faults {
    use std::io;

    #[expect(clippy::unnecessary_wraps, reason = "in tests it can fail")]
    pub(super) const fn change() -> io::Result<()> {
        Ok(())
    }

    pub(super) const fn part(_bytes: usize) -> usize {
        0
    }
}

/// Faults that a test plants at one of the changes of its thread.
#[cfg(test)]
pub mod faults {
    use std::cell::Cell;
    use std::io;

    /// What goes wrong at a change.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// The system refuses, with the number of its error; nothing is changed.
        Refused(i32),
        /// The disk is full; a write leaves half of its bytes.
        Short,
        /// The process is killed; a write leaves half of its bytes, and nothing changes any more.
        Killed,
    }

    /// Linux's number for a full disk.
    pub const NO_SPACE: i32 = 28;
    /// Linux's number for a disk that fails.
    pub const INPUT_OUTPUT: i32 = 5;

    thread_local! {
        static PLANTED: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
        static CHANGES: Cell<usize> = const { Cell::new(0) };
    }

    /// Runs `act`, and returns its result and how many changes it made to the disk.
    pub fn count<T>(act: impl FnOnce() -> T) -> (T, usize) {
        CHANGES.set(0);
        let result = act();
        (result, CHANGES.get())
    }

    /// Runs `act`, with a fault at one of its changes, counted from 0.
    pub fn with<T>(at: usize, fault: Fault, act: impl FnOnce() -> T) -> T {
        PLANTED.set(Some((at, fault)));
        let (result, _) = count(act);
        PLANTED.set(None);
        result
    }

    pub(super) fn change() -> io::Result<()> {
        let number = CHANGES.replace(CHANGES.get() + 1);
        match PLANTED.get() {
            Some((at, Fault::Refused(code))) if number == at => Err(io::Error::from_raw_os_error(code)),
            Some((at, Fault::Short)) if number == at => Err(io::Error::from_raw_os_error(NO_SPACE)),
            Some((at, Fault::Killed)) if number >= at => Err(io::Error::from_raw_os_error(INPUT_OUTPUT)),
            _ => Ok(()),
        }
    }

    /// Returns how many bytes of a write that fails reach the disk.
    pub(super) fn part(bytes: usize) -> usize {
        match PLANTED.get() {
            Some((at, Fault::Short)) if CHANGES.get() == at + 1 => bytes / 2,
            // Only the first write after the kill was under way.
            Some((at, Fault::Killed)) if CHANGES.get() == at + 1 => bytes / 2,
            _ => 0,
        }
    }
}
