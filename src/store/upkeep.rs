//! The folder of a run as a whole: what it takes on the disk, and how it is removed.

#![expect(clippy::disallowed_methods, reason = "run folders are measured and removed")]

use std::fs;
use std::path::{Path, PathBuf};

use super::disk;
use super::error::{RunFolderError, written};
use super::lock::LOCK;
use super::run_folder::{MANIFEST, RunFolder};

impl RunFolder {
    /// Returns the bytes of all files in the folder; what cannot be read counts nothing.
    pub fn size_bytes(&self) -> u64 {
        size_bytes(self.path())
    }

    /// Returns whether its path is a link, so that the run is somewhere else.
    pub fn is_link(&self) -> bool {
        self.path().is_symlink()
    }

    /// Removes the folder with everything in it, and returns the bytes that it took.
    ///
    /// # Errors
    ///
    /// Returns an error if the path is a link, another process trains the run, or the system refuses. What is left of the folder is then
    /// still that of a run, and can be removed later.
    pub fn remove(&self) -> Result<u64, RunFolderError> {
        if self.is_link() {
            return Err(RunFolderError::Linked { folder: self.path().to_owned() });
        }
        let lock = self.lock()?;
        let bytes = self.size_bytes();
        // The manifest goes last: as long as it is there, the rest is found.
        for path in content(self.path())? {
            let name = path.file_name();
            if name != Some(MANIFEST.as_ref()) && name != Some(LOCK.as_ref()) {
                written(&path, disk::remove(&path))?;
            }
        }
        drop(lock);
        written(self.path(), disk::remove_folder(self.path()))?;
        Ok(bytes)
    }
}

fn content(folder: &Path) -> Result<Vec<PathBuf>, RunFolderError> {
    let read = |reason| RunFolderError::Read { file: folder.to_owned(), reason };
    let entries = fs::read_dir(folder).map_err(read)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(read)).collect()
}

fn size_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, found)| if found.is_dir() { size_bytes(&path) } else { found.len() })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes the folder of a run, with 7 bytes in files.
    fn run_folder(runs: &Path) -> RunFolder {
        let path = runs.join("tiny-001");
        fs::create_dir_all(path.join("last")).expect("the folder can be made");
        for (name, text) in [(MANIFEST, "abc"), ("last/state.json", "de"), ("metrics.jsonl", "fg")] {
            fs::write(path.join(name), text).expect("the folder can be written");
        }
        RunFolder::open(&path).expect("it has a manifest")
    }

    #[test]
    fn a_run_is_measured_and_removed_with_everything_in_it() {
        let runs = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = run_folder(runs.path());
        assert_eq!(folder.size_bytes(), 7);
        let bytes = folder.remove().expect("nobody trains it");
        assert!(bytes >= 7, "the file of the lock counts, too");
        assert_eq!(fs::read_dir(runs.path()).expect("it is there").count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_run_behind_a_link_is_not_removed() {
        let runs = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = run_folder(runs.path());
        let link = runs.path().join("link-001");
        std::os::unix::fs::symlink(folder.path(), &link).expect("the link can be made");
        let linked = RunFolder::open(&link).expect("a run can be read behind a link");
        let error = linked.remove().expect_err("it is a link");
        assert!(matches!(error, RunFolderError::Linked { .. }), "{error}");
        assert_eq!(folder.size_bytes(), 7, "nothing is gone");
    }

    #[test]
    fn a_run_in_training_is_not_removed() {
        let runs = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = run_folder(runs.path());
        let lock = folder.lock().expect("nobody trains it");
        let error = folder.remove().expect_err("it is locked");
        assert!(matches!(error, RunFolderError::InUse { .. }), "{error}");
        assert!(folder.path().join("last/state.json").exists());
        drop(lock);
        folder.remove().expect("nobody trains it any more");
    }
}
