//! `SHA256SUMS`: the checksum of each file of a checkpoint, as `sha256sum` writes and checks it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk;
use super::error::CheckpointError;
use crate::hash::{hexadecimal, sha256};
use crate::reading;

/// Name of the file of checksums. It is written after all others.
pub const SUMS: &str = "SHA256SUMS";

/// The checksums of the files of a checkpoint.
pub struct Sums {
    file: PathBuf,
    of: BTreeMap<String, String>,
}

impl Sums {
    /// Reads the checksums of the checkpoint in `folder`; `None` if it has none.
    pub fn read(folder: &Path) -> Result<Option<Sums>, CheckpointError> {
        let file = folder.join(SUMS);
        let text = match reading::text(&file, &reading::CHECKSUMS) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(CheckpointError::Read { file, reason }),
        };
        let entry = |line: &str| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned()));
        match text.lines().map(entry).collect() {
            Some(of) => Ok(Some(Sums { file, of })),
            None => Err(CheckpointError::damaged(&file, "a line of it is not a checksum with a file's name")),
        }
    }

    /// Returns the files of the checkpoint with their checksums.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.of.iter().map(|(name, sum)| (name.as_str(), sum.as_str()))
    }

    /// Returns the checksum of a file of the checkpoint.
    pub fn of(&self, name: &str) -> Result<&str, CheckpointError> {
        let sum = self.of.get(name).map(String::as_str);
        sum.ok_or_else(|| CheckpointError::damaged(&self.file, format!("it has no checksum for `{name}`")))
    }
}

/// Checks that bytes that were read from a file are those that were saved.
pub fn check(file: &Path, bytes: &[u8], sum: &str) -> Result<(), CheckpointError> {
    compare(file, &sha256(bytes), sum)
}

/// Checks that the bytes of a file are those that were saved, without keeping them.
pub fn check_file(file: &Path, sum: &str) -> Result<(), CheckpointError> {
    let mut found = Sha256::new();
    let copied =
        reading::open(file, &reading::TENSORS).and_then(|(mut open, _)| io::copy(&mut open, &mut found));
    copied.map_err(|reason| CheckpointError::read(file, reason))?;
    compare(file, &hexadecimal(&found.finalize()), sum)
}

fn compare(file: &Path, found: &str, sum: &str) -> Result<(), CheckpointError> {
    if found == sum {
        Ok(())
    } else {
        let reason = "its bytes are not those that were saved: the checksum differs";
        Err(CheckpointError::damaged(file, reason))
    }
}

/// The files of a checkpoint that is being written, with their checksums.
pub struct Summed<'a> {
    folder: &'a Path,
    text: String,
}

impl Summed<'_> {
    /// Begins a checkpoint in a folder that is there.
    pub fn new(folder: &Path) -> Summed<'_> {
        Summed { folder, text: String::new() }
    }

    /// Writes a file, and waits until it is on the disk.
    pub fn write(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let mut sum = Sha256::new();
        let file = self.folder.join(name);
        let written = disk::write_file(&file, |writer| write(&mut Hashing { writer, sum: &mut sum }));
        CheckpointError::change(&file, written)?;
        self.text.push_str(&format!("{}  {name}\n", hexadecimal(&sum.finalize())));
        Ok(())
    }

    /// Writes the checksums, and waits until everything is on the disk.
    pub fn finish(self) -> Result<(), CheckpointError> {
        let file = self.folder.join(SUMS);
        let written = disk::write_file(&file, |writer| writer.write_all(self.text.as_bytes()));
        CheckpointError::change(&file, written)?;
        CheckpointError::change(self.folder, disk::sync_folder(self.folder))
    }
}

/// A writer that hashes what passes through.
struct Hashing<'a> {
    writer: &'a mut dyn Write,
    sum: &'a mut Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
