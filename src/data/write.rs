//! Writing a dataset folder exactly as the published builders do.

#![expect(clippy::disallowed_methods, reason = "datasets are written")]

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Split, array_file};
use super::error::DataError;
use super::npy;

/// The entries that a dataset folder has. Nothing else is ever replaced.
const ENTRIES: [&str; 3] = ["identifiers.json", "test", "train"];

/// Integer type of the token arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `|u1`, which the published builders use nearly everywhere.
    U1,
    /// `<i8`, which they use for augmented Sudoku training data.
    I8,
}

/// What to do about a dataset that stands where one is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Report an error and leave it alone.
    Refuse,
    /// Replace it, provided that the folder holds nothing but a dataset.
    Replace,
}

/// One split to be written.
#[derive(Debug, Clone, Copy)]
pub struct SplitToWrite<'a> {
    /// Which one.
    pub split: Split,
    /// Its content.
    pub dataset: &'a Dataset,
    /// Integer type of its token arrays.
    pub tokens: TokenType,
}

/// Writes a dataset folder: `identifiers.json` and a folder for each split.
///
/// Everything is written beside `folder` first and moved there at the end, so a failure leaves no half of a
/// dataset behind.
///
/// # Errors
///
/// If something stands in the way, a token does not fit in its type, or the system refuses.
pub fn write_dataset(
    folder: impl AsRef<Path>,
    splits: &[SplitToWrite<'_>],
    identifiers: &[String],
    existing: Existing,
) -> Result<(), DataError> {
    let whole =
        write_watched(folder.as_ref(), splits, identifiers, existing, &mut || ControlFlow::Continue(()))?;
    debug_assert!(whole.is_continue(), "nothing stops it");
    Ok(())
}

/// Does the same and calls `may_go_on` before every large file and before the dataset is moved to its place. It may
/// stop the work there, which then leaves nothing.
///
/// # Errors
///
/// As [`write_dataset`].
pub(super) fn write_watched(
    folder: &Path,
    splits: &[SplitToWrite<'_>],
    identifiers: &[String],
    existing: Existing,
    may_go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<()>, DataError> {
    let write_error = |file: &Path| {
        let file = file.to_owned();
        move |reason| DataError::Write { file, reason }
    };
    check_destination(folder, existing)?;

    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(write_error(parent))?;
    let scratch =
        tempfile::Builder::new().prefix(".hrmc-dataset-").tempdir_in(parent).map_err(write_error(parent))?;

    let new = scratch.path().join("new");
    fs::create_dir(&new).map_err(write_error(&new))?;
    let identifiers_file = new.join("identifiers.json");
    fs::write(&identifiers_file, json_list(identifiers)).map_err(write_error(&identifiers_file))?;
    for split in splits {
        if write_split(&new.join(split.split.name()), split, may_go_on)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if may_go_on().is_break() {
        return Ok(ControlFlow::Break(()));
    }

    let old = scratch.path().join("old");
    let is_replaced = folder.exists();
    if is_replaced {
        // An empty folder or, as checked above, a dataset that may be replaced.
        fs::rename(folder, &old).map_err(write_error(folder))?;
    }
    fs::rename(&new, folder).map_err(|reason| {
        if is_replaced {
            // The old dataset would go away with the scratch folder. Only the first error is reported.
            let _ = fs::rename(&old, folder);
        }
        write_error(folder)(reason)
    })?;
    Ok(ControlFlow::Continue(()))
}

fn check_destination(folder: &Path, existing: Existing) -> Result<(), DataError> {
    let read_error = |reason| DataError::Read { file: folder.to_owned(), reason };
    let in_the_way = |reason: String| Err(DataError::Folder { folder: folder.to_owned(), reason });
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(read_error(error)),
    };
    let mut is_empty = true;
    for entry in entries {
        is_empty = false;
        let name = entry.map_err(read_error)?.file_name();
        if !ENTRIES.iter().any(|&known| name == known) {
            let name = PathBuf::from(name);
            return in_the_way(format!(
                "has `{}`, which is not part of a dataset; choose another folder",
                name.display()
            ));
        }
    }
    if !is_empty && existing == Existing::Refuse {
        return in_the_way(
            "already holds a dataset; choose another folder, or replace it with `--replace`".to_owned(),
        );
    }
    Ok(())
}

fn json_list(values: &[String]) -> String {
    let texts: Vec<String> =
        values.iter().map(|value| serde_json::to_string(value).expect("text is always valid JSON")).collect();
    format!("[{}]", texts.join(", "))
}

fn write_split(
    folder: &Path,
    split: &SplitToWrite<'_>,
    may_go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<()>, DataError> {
    let dataset = split.dataset;
    let write_error = |file: PathBuf| move |reason| DataError::Write { file, reason };
    fs::create_dir(folder).map_err(write_error(folder.to_owned()))?;
    let metadata_file = folder.join("dataset.json");
    fs::write(&metadata_file, dataset.metadata().to_json()).map_err(write_error(metadata_file))?;

    for (index, set) in dataset.metadata().sets.iter().enumerate() {
        if may_go_on().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let ranges = dataset.set(index);
        let shape = [ranges.examples.len(), dataset.metadata().seq_len];
        let inputs = ranges.examples.clone().flat_map(|example| dataset.inputs(example));
        let labels = ranges.examples.clone().flat_map(|example| dataset.stored_labels(example));
        write_tokens(&array_file(folder, set, "inputs"), &shape, inputs, split.tokens)?;
        if may_go_on().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        write_tokens(&array_file(folder, set, "labels"), &shape, labels, split.tokens)?;

        let identifiers = ranges.puzzles.clone().map(|puzzle| dataset.identifier(puzzle));
        npy::write(&array_file(folder, set, "puzzle_identifiers"), &[ranges.puzzles.len()], identifiers)?;
        let puzzle_ends = ranges.puzzles.clone().map(|puzzle| dataset.examples_of(puzzle).end);
        write_starts(&array_file(folder, set, "puzzle_indices"), ranges.examples.start, puzzle_ends)?;
        let group_ends = ranges.groups.clone().map(|group| dataset.puzzles_of(group).end);
        write_starts(&array_file(folder, set, "group_indices"), ranges.puzzles.start, group_ends)?;
    }
    Ok(ControlFlow::Continue(()))
}

fn write_tokens(
    file: &Path,
    shape: &[usize],
    tokens: impl Iterator<Item = i32>,
    token_type: TokenType,
) -> Result<(), DataError> {
    match token_type {
        TokenType::I8 => npy::write(file, shape, tokens.map(i64::from)),
        TokenType::U1 => {
            let mut too_large = None;
            let bytes = tokens.map(|token| {
                u8::try_from(token).unwrap_or_else(|_| {
                    too_large = Some(token);
                    0
                })
            });
            npy::write(file, shape, bytes)?;
            match too_large {
                None => Ok(()),
                Some(token) => Err(DataError::file(file, format!("token {token} does not fit in one byte"))),
            }
        }
    }
}

/// Writes an index array: 0, then where each item ends, counted from `begin`.
fn write_starts(
    file: &Path,
    begin: usize,
    ends: impl ExactSizeIterator<Item = usize>,
) -> Result<(), DataError> {
    let mut starts = vec![0];
    for end in ends {
        let start = i32::try_from(end - begin)
            .map_err(|_| DataError::file(file, format!("index {} does not fit in 32 bits", end - begin)))?;
        starts.push(start);
    }
    npy::write(file, &[starts.len()], starts.into_iter())
}
