//! Compiled kernels, kept on the disk between runs.
//!
//! The name of a file is the hash of everything the kernels depend on: text, architecture and the compiler's version.
//! The first line of a file is the hash of the rest, so that a damaged file is found and compiled again. The cache only
//! saves time: where it cannot be read or written, kernels are compiled each time. The caller chooses its folder.
//!
//! The hash does not tell who wrote a file. The folder is made for its owner alone, and neither a folder nor a file of
//! another user is used: whoever can write kernels here runs them as this user.

#![expect(clippy::disallowed_methods, reason = "compiled kernels are kept where the caller says")]

use std::fs::{self, DirBuilder, Metadata};
use std::io;
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
        CacheFile { file: folder.map(|folder| folder.join(format!("{key}.{EXTENSION}"))) }
    }

    /// Returns the image, if the cache has it undamaged.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        read(self.file.as_deref()?, &is_own)
    }

    /// Writes an image.
    pub(super) fn write(&self, image: &[u8]) {
        if let Some(file) = &self.file {
            // Without the file the next run compiles again; nothing is lost.
            drop(write(file, image, &is_own));
        }
    }
}

const EXTENSION: &str = "cubin";

/// Returns what is wrong with the owners of a cache, if anything is.
pub(super) fn problem(folder: &Path) -> Option<String> {
    problem_of(folder, &is_own)
}

fn problem_of(folder: &Path, is_own: &dyn Fn(&Metadata) -> bool) -> Option<String> {
    let shown = folder.display();
    if !is_own(&fs::metadata(folder).ok()?) {
        return Some(format!(
            "the folder of compiled kernels, `{shown}`, belongs to another user and is not used; kernels are compiled \
             each time"
        ));
    }
    let entries = fs::read_dir(folder).ok()?.flatten();
    let of_others = entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|found| !is_own(&found)))
        .count();
    (of_others > 0).then(|| {
        format!(
            "compiled kernels in `{shown}` that belong to another user are not used: {of_others}; remove them"
        )
    })
}

/// Returns whether this user owns a file or a folder.
#[cfg(unix)]
fn is_own(found: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(found) == rustix::process::geteuid().as_raw()
}

/// Other systems keep the folders of users apart by themselves.
#[cfg(not(unix))]
fn is_own(_: &Metadata) -> bool {
    true
}

fn read(file: &Path, is_own: &dyn Fn(&Metadata) -> bool) -> Option<Vec<u8>> {
    let folder = file.parent().expect("the file is in a folder");
    if !is_own(&fs::metadata(folder).ok()?) || !is_own(&fs::metadata(file).ok()?) {
        return None;
    }
    let content = reading::bytes(file, &reading::KERNELS).ok()?;
    let end = content.iter().position(|&byte| byte == b'\n')?;
    let image = content[end + 1..].to_vec();
    (sha256(&image).as_bytes() == &content[..end]).then_some(image)
}

fn write(file: &Path, image: &[u8], is_own: &dyn Fn(&Metadata) -> bool) -> io::Result<()> {
    let content = [sha256(image).as_bytes(), b"\n", image].concat();
    let folder = file.parent().expect("the file is in a folder");
    make_private(folder, is_own)?;
    // Several processes may write the same file. Each writes a temporary file and renames it.
    let new = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(new.path(), content)?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

/// Makes a folder that its owner alone can read and write. Refuses a folder of another user.
fn make_private(folder: &Path, is_own: &dyn Fn(&Metadata) -> bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    if !is_own(&fs::metadata(folder)?) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // An older hrmc made it readable for all.
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{is_own, problem_of, read, write};

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("kernels").join("one.cubin");
        assert_eq!(read(&file, &is_own), None);
        write(&file, b"an\nimage", &is_own).expect("it can be written");
        assert_eq!(read(&file, &is_own).as_deref(), Some(b"an\nimage".as_slice()));
        let mut content = fs::read(&file).expect("it was written");
        *content.last_mut().expect("it is not empty") ^= 1;
        fs::write(&file, &content).expect("it can be written");
        assert_eq!(read(&file, &is_own), None);
        fs::write(&file, &content[..20]).expect("it can be written");
        assert_eq!(read(&file, &is_own), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().expect("a temporary folder");
        let kernels = folder.path().join("hrmc").join("kernels");
        let mode = || fs::metadata(&kernels).expect("it is there").permissions().mode() & 0o777;
        write(&kernels.join("one.cubin"), b"image", &is_own).expect("it can be written");
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&kernels, fs::Permissions::from_mode(0o755)).expect("it is ours");
        write(&kernels.join("two.cubin"), b"image", &is_own).expect("it can be written");
        assert_eq!(mode(), 0o700, "a folder of an older hrmc becomes private");
        assert_eq!(problem_of(&kernels, &is_own), None);
    }

    #[test]
    fn folders_and_files_of_another_user_are_not_used_and_said_to_be_there() {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("one.cubin");
        write(&file, b"image", &is_own).expect("it can be written");
        assert_eq!(read(&file, &|_| false), None);
        let said = problem_of(folder.path(), &|_| false).expect("it is another user's");
        assert!(said.contains("belongs to another user and is not used"), "{said}");
        assert!(write(&file, b"other", &|_| false).is_err());
        assert_eq!(read(&file, &|found| found.is_dir()), None, "the file is another user's");
        let said = problem_of(folder.path(), &|found| found.is_dir()).expect("the file is another user's");
        assert!(said.contains("that belong to another user are not used: 1"), "{said}");
        assert_eq!(read(&file, &is_own).as_deref(), Some(b"image".as_slice()));
    }
}
