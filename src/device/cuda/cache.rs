//! Compiled kernels, kept on the disk between runs.
//!
//! The name of a file is the hash of everything the kernels depend on: text, architecture and the compiler's version.
//! The first line of a file is the hash of the rest, so that a damaged file is found and compiled again. The cache only
//! saves time: where it cannot be read or written, kernels are compiled each time. The caller chooses its folder.

#![expect(clippy::disallowed_methods, reason = "compiled kernels are kept where the caller says")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::hash::sha256;
use crate::reading;

/// The place of one compiled image in the cache.
pub(super) struct CacheFile {
    file: Option<PathBuf>,
}

impl CacheFile {
    /// Returns the place in `folder` of the image that a compiler makes of a text.
    pub(super) fn of(folder: Option<&Path>, text: &str, architecture: &str, compiler: &str) -> CacheFile {
        let key = sha256(format!("{compiler}\n{architecture}\n{text}"));
        CacheFile { file: folder.map(|folder| folder.join(format!("{key}.cubin"))) }
    }

    /// Returns the image, if the cache has it undamaged.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        read(self.file.as_deref()?)
    }

    /// Writes an image.
    pub(super) fn write(&self, image: &[u8]) {
        if let Some(file) = &self.file {
            write(file, image);
        }
    }
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let content = reading::bytes(file, &reading::KERNELS).ok()?;
    let end = content.iter().position(|&byte| byte == b'\n')?;
    let image = content[end + 1..].to_vec();
    (sha256(&image).as_bytes() == &content[..end]).then_some(image)
}

fn write(file: &Path, image: &[u8]) {
    let content = [sha256(image).as_bytes(), b"\n", image].concat();
    let folder = file.parent().expect("the file is in a folder");
    // Several processes may write the same file. Each writes a temporary file and renames it.
    let whole =
        fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder)).and_then(|new| {
            fs::write(new.path(), content)?;
            new.persist(file).map_err(|error| error.error)
        });
    // Without the file the next run compiles again; nothing is lost.
    drop(whole);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{read, write};

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("kernels").join("one.cubin");
        assert_eq!(read(&file), None);
        write(&file, b"an\nimage");
        assert_eq!(read(&file).as_deref(), Some(b"an\nimage".as_slice()));
        let mut content = fs::read(&file).expect("it was written");
        *content.last_mut().expect("it is not empty") ^= 1;
        fs::write(&file, &content).expect("it can be written");
        assert_eq!(read(&file), None);
        fs::write(&file, &content[..20]).expect("it can be written");
        assert_eq!(read(&file), None);
    }
}
