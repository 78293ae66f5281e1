//! What a folder is that was taken for another one.

#![expect(clippy::disallowed_methods, reason = "it is looked into the folder")]

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DataError;

/// Entries of a folder that are looked at.
const MOST_ENTRIES: usize = 1000;

/// Returns the error for a path that has no dataset.
pub(super) fn no_dataset(path: &Path) -> DataError {
    let wrong = |reason: String| DataError::Folder { folder: path.to_owned(), reason };
    let from = |csv: &Path| {
        format!(
            "build a dataset with `hrmc data sudoku --from {} -o DIR`, or with `hrmc data maze`",
            csv.display()
        )
    };
    if path.is_file() {
        return wrong(match path.parent().filter(|_| is_csv(path)) {
            Some(folder) => format!("is a CSV file, not a dataset; {}", from(or_here(folder))),
            None => "is a file; a dataset is a folder".to_owned(),
        });
    }
    if path.join("dataset.json").is_file() {
        return wrong(match path.parent() {
            Some(whole) if whole != Path::new("") => {
                format!("is one split of a dataset; give `{}`", whole.display())
            }
            _ => "is one split of a dataset; give the folder above it".to_owned(),
        });
    }
    let entries = entries(path);
    if entries.iter().any(|entry| is_csv(entry)) {
        return wrong(format!("holds CSV files, not a dataset; {}", from(path)));
    }
    if let Some(inner) = entries.iter().find(|entry| is_dataset(entry)) {
        return wrong(format!("is no dataset, but `{}` is", inner.display()));
    }
    wrong("is no dataset: it has no `train/dataset.json`".to_owned())
}

/// Checks that a path is a folder that may hold CSV files.
pub(super) fn check_csv(path: &Path) -> Result<(), DataError> {
    let wrong = |reason: String| Err(DataError::Folder { folder: path.to_owned(), reason });
    if path.is_file() {
        let folder = or_here(path.parent().unwrap_or(Path::new("")));
        return wrong(format!(
            "is a file; give the folder that has `train.csv` and `test.csv`: `{}`",
            folder.display()
        ));
    }
    if is_dataset(path) {
        return wrong("is a dataset already; give a folder that has `train.csv` and `test.csv`".to_owned());
    }
    Ok(())
}

/// Returns whether a folder has a dataset, or a part of one.
pub(super) fn is_dataset(path: &Path) -> bool {
    ["train", "test"].iter().any(|split| path.join(split).join("dataset.json").is_file())
}

/// Returns whether a folder has something by this name, whatever it is.
pub fn has_entry(folder: &Path, name: &str) -> bool {
    let place = folder.join(name);
    place.exists() || place.is_symlink()
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "csv")
}

/// Returns the folder, or `.` for no name at all.
fn or_here(folder: &Path) -> &Path {
    if folder == Path::new("") { Path::new(".") } else { folder }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut entries: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::build::{SudokuBuild, build_sudoku};
    use super::super::dataset::{Dataset, Split};
    use super::super::sudoku::SudokuSize;

    #[test]
    fn a_folder_beside_the_right_one_is_recognised() {
        let place = tempfile::tempdir().expect("a temporary folder can be made");
        let at = |path: &str| place.path().join(path);
        for folder in ["csv", "parent/data/train", "empty"] {
            fs::create_dir_all(at(folder)).expect("the folder can be written");
        }
        fs::write(at("csv/train.csv"), "source,question,answer,rating\n").expect("the folder can be written");
        fs::write(at("parent/data/train/dataset.json"), "{}").expect("the folder can be written");
        let here = |said: String| said.replace(&place.path().display().to_string(), "HERE");
        let said =
            |path: &str| here(Dataset::open(at(path), Split::Train).expect_err("it is none").to_string());
        assert_eq!(
            said("csv"),
            "`HERE/csv` holds CSV files, not a dataset; build a dataset with `hrmc data sudoku --from HERE/csv -o \
             DIR`, or with `hrmc data maze`"
        );
        assert!(
            said("csv/train.csv").starts_with("`HERE/csv/train.csv` is a CSV file, not a dataset; build")
        );
        assert_eq!(said("parent"), "`HERE/parent` is no dataset, but `HERE/parent/data` is");
        assert_eq!(
            said("parent/data/train"),
            "`HERE/parent/data/train` is one split of a dataset; give `HERE/parent/data`"
        );
        assert_eq!(said("empty"), "`HERE/empty` is no dataset: it has no `train/dataset.json`");
        let build =
            SudokuBuild { size: SudokuSize::Four, subsample: None, copies: 0, min_difficulty: None, seed: 0 };
        let built = |path: &Path| here(build_sudoku(path, &build).expect_err("it is none").to_string());
        assert_eq!(
            built(&at("csv/train.csv")),
            "`HERE/csv/train.csv` is a file; give the folder that has `train.csv` and `test.csv`: `HERE/csv`"
        );
        assert!(built(&at("parent/data")).contains("is a dataset already"));
    }
}
