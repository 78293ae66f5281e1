//! Writing a dataset folder row by row, exactly as the published builders do.
//!
//! Everything is written to a folder beside the destination, which is moved to its place at the end. So a failure leaves
//! no half of a dataset behind. Rows are in memory one at a time; only what has one number for each puzzle, group or
//! rated example is kept until the end of a set.

#![expect(clippy::disallowed_methods, reason = "datasets are written")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::dataset::{Metadata, RowKind, Split, array_file, mean_puzzle_examples};
use super::error::DataError;
use super::npy::{self, ArrayWriter};
use super::size::SplitSize;

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

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenDataset {
    /// The training split.
    pub train: SplitSize,
    /// The test split; nothing of it where there is none.
    pub test: SplitSize,
    /// Tokens in a row, `S`.
    pub seq_len: usize,
    /// Number of different tokens, `V`.
    pub vocab_size: usize,
}

/// A dataset folder that is being written.
///
/// Nothing stays of one that is dropped before [`DatasetWriter::finish`].
pub(super) struct DatasetWriter {
    folder: PathBuf,
    scratch: TempDir,
}

impl DatasetWriter {
    /// Begins a dataset that will stand at `folder`.
    ///
    /// # Errors
    ///
    /// If something stands in the way, or the system refuses.
    pub(super) fn create(folder: &Path, existing: Existing) -> Result<DatasetWriter, DataError> {
        check_destination(folder, existing)?;
        let parent = match folder.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(write_error(parent))?;
        let scratch = tempfile::Builder::new()
            .prefix(".hrmc-dataset-")
            .tempdir_in(parent)
            .map_err(write_error(parent))?;
        let writer = DatasetWriter { folder: folder.to_owned(), scratch };
        let new = writer.new_folder();
        fs::create_dir(&new).map_err(write_error(&new))?;
        Ok(writer)
    }

    /// Begins a split with the first set of `metadata`, whose totals and mean do not matter.
    ///
    /// # Errors
    ///
    /// If the metadata contradicts itself, or the system refuses.
    pub(super) fn begin_split(
        &self,
        split: Split,
        metadata: Metadata,
        tokens: TokenType,
    ) -> Result<SplitWriter, DataError> {
        let folder = self.new_folder().join(split.name());
        metadata.check().map_err(|reason| DataError::file(folder.join("dataset.json"), reason))?;
        fs::create_dir(&folder).map_err(write_error(&folder))?;
        let set = SetWriter::create(&folder, &metadata.sets[0], metadata.seq_len, tokens)?;
        Ok(SplitWriter { folder, metadata, tokens, set, ended: 0, size: SplitSize::default() })
    }

    /// Writes the names of the puzzle identifiers, and moves the dataset to its place.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn finish(self, identifiers: &[String]) -> Result<(), DataError> {
        let new = self.new_folder();
        let identifiers_file = new.join("identifiers.json");
        write_list(&identifiers_file, identifiers).map_err(write_error(&identifiers_file))?;
        let folder = self.folder.as_path();
        let old = self.scratch.path().join("old");
        let is_replaced = folder.exists();
        if is_replaced {
            // An empty folder or, as checked before, a dataset that may be replaced.
            fs::rename(folder, &old).map_err(write_error(folder))?;
        }
        fs::rename(&new, folder).map_err(|reason| {
            if is_replaced {
                // The old dataset would go away with the scratch folder. Only the first error is reported.
                let _ = fs::rename(&old, folder);
            }
            write_error(folder)(reason)
        })
    }

    fn new_folder(&self) -> PathBuf {
        self.scratch.path().join("new")
    }
}

/// A split of a dataset that is being written.
///
/// Add the examples of a puzzle, end the puzzle, add the next; end the group after its last puzzle.
pub(super) struct SplitWriter {
    folder: PathBuf,
    metadata: Metadata,
    tokens: TokenType,
    set: SetWriter,
    /// Sets that were ended.
    ended: usize,
    /// What they hold.
    size: SplitSize,
}

impl SplitWriter {
    /// Adds an example to the puzzle being written; `inputs` and `labels` are both `[S]`.
    ///
    /// # Errors
    ///
    /// If a row has the wrong length, or a token that is not in the vocabulary or does not fit in its type.
    pub(super) fn add_example(&mut self, inputs: &[i32], labels: &[i32]) -> Result<(), DataError> {
        let row = self.set.examples;
        self.metadata.check_row(RowKind::Inputs, self.set.inputs.file(), row, inputs)?;
        self.metadata.check_row(RowKind::Labels, self.set.labels.file(), row, labels)?;
        self.set.inputs.push(inputs)?;
        self.set.labels.push(labels)?;
        self.set.examples += 1;
        Ok(())
    }

    /// Says how hard the example that was added last is. A set has ratings if each of its examples has one.
    pub(super) fn rate_example(&mut self, rating: i32) {
        if self.set.ratings.len() + 1 == self.set.examples {
            self.set.ratings.push(rating);
        }
    }

    /// Ends the puzzle being written.
    ///
    /// # Errors
    ///
    /// If it has no examples, or there are too many.
    pub(super) fn end_puzzle(&mut self, identifier: i32) -> Result<(), DataError> {
        let file = array_file(&self.folder, self.set_name(), "puzzle_indices");
        end(&mut self.set.puzzle_starts, self.set.examples, file, "the puzzle has no examples")?;
        self.set.identifiers.push(identifier);
        Ok(())
    }

    /// Ends the group being written.
    ///
    /// # Errors
    ///
    /// If it has no puzzles.
    pub(super) fn end_group(&mut self) -> Result<(), DataError> {
        let file = array_file(&self.folder, self.set_name(), "group_indices");
        end(&mut self.set.group_starts, self.set.identifiers.len(), file, "the group has no puzzles")
    }

    /// Ends a set and begins the next one.
    ///
    /// # Errors
    ///
    /// If a puzzle or a group was not ended, or the system refuses.
    pub(super) fn next_set(&mut self) -> Result<(), DataError> {
        let name = &self.metadata.sets[self.ended + 1];
        let next = SetWriter::create(&self.folder, name, self.metadata.seq_len, self.tokens)?;
        let set = std::mem::replace(&mut self.set, next);
        let name = self.set_name().to_owned();
        set.finish(&self.folder, &name, &mut self.size)?;
        self.ended += 1;
        Ok(())
    }

    /// Ends the last set, and describes the split. `identifiers` is the number of puzzle identifiers over all splits,
    /// the blank one included.
    ///
    /// # Errors
    ///
    /// If a puzzle or a group was not ended, the metadata contradicts itself, or the system refuses.
    pub(super) fn finish(mut self, identifiers: usize) -> Result<SplitSize, DataError> {
        let name = self.set_name().to_owned();
        self.set.finish(&self.folder, &name, &mut self.size)?;
        self.metadata.num_puzzle_identifiers = identifiers;
        self.metadata.total_groups = self.size.groups;
        self.metadata.mean_puzzle_examples = mean_puzzle_examples(self.size.examples, self.size.puzzles);
        let file = self.folder.join("dataset.json");
        self.metadata.check().map_err(|reason| DataError::file(&file, reason))?;
        fs::write(&file, self.metadata.to_json()).map_err(write_error(&file))?;
        Ok(self.size)
    }

    fn set_name(&self) -> &str {
        &self.metadata.sets[self.ended]
    }
}

/// The arrays of a set.
struct SetWriter {
    inputs: TokenWriter,
    labels: TokenWriter,
    examples: usize,
    /// `[puzzles]`
    identifiers: Vec<i32>,
    /// `[puzzles + 1]`
    puzzle_starts: Vec<i32>,
    /// `[groups + 1]`
    group_starts: Vec<i32>,
    /// `[examples]`, or fewer once an example had none.
    ratings: Vec<i32>,
}

impl SetWriter {
    fn create(folder: &Path, set: &str, seq_len: usize, tokens: TokenType) -> Result<SetWriter, DataError> {
        let array = |name: &str| TokenWriter::create(array_file(folder, set, name), seq_len, tokens);
        Ok(SetWriter {
            inputs: array("inputs")?,
            labels: array("labels")?,
            examples: 0,
            identifiers: Vec::new(),
            puzzle_starts: vec![0],
            group_starts: vec![0],
            ratings: Vec::new(),
        })
    }

    fn finish(self, folder: &Path, set: &str, size: &mut SplitSize) -> Result<(), DataError> {
        let file = |array: &str| array_file(folder, set, array);
        if self.puzzle_starts.last().map(|&end| end as usize) != Some(self.examples) {
            return Err(DataError::file(file("puzzle_indices"), "the last puzzle was not ended"));
        }
        if self.group_starts.last().map(|&end| end as usize) != Some(self.identifiers.len()) {
            return Err(DataError::file(file("group_indices"), "the last group was not ended"));
        }
        size.examples += self.examples;
        size.puzzles += self.identifiers.len();
        size.groups += self.group_starts.len() - 1;
        self.inputs.finish()?;
        self.labels.finish()?;
        if self.ratings.len() == self.examples && self.examples > 0 {
            size.rated = size.examples;
            npy::write(file("ratings"), self.ratings)?;
        }
        npy::write(file("puzzle_identifiers"), self.identifiers)?;
        npy::write(file("puzzle_indices"), self.puzzle_starts)?;
        npy::write(file("group_indices"), self.group_starts)
    }
}

/// An array of tokens, `[examples, S]`.
enum TokenWriter {
    U1(ArrayWriter<u8>),
    I8(ArrayWriter<i64>),
}

impl TokenWriter {
    fn create(file: PathBuf, seq_len: usize, tokens: TokenType) -> Result<TokenWriter, DataError> {
        Ok(match tokens {
            TokenType::U1 => TokenWriter::U1(ArrayWriter::create(file, Some(seq_len))?),
            TokenType::I8 => TokenWriter::I8(ArrayWriter::create(file, Some(seq_len))?),
        })
    }

    fn file(&self) -> &Path {
        match self {
            TokenWriter::U1(array) => array.file(),
            TokenWriter::I8(array) => array.file(),
        }
    }

    fn push(&mut self, tokens: &[i32]) -> Result<(), DataError> {
        match self {
            TokenWriter::I8(array) => array.push(tokens.iter().map(|&token| i64::from(token))),
            TokenWriter::U1(array) => {
                // A negative token is a large number without its sign.
                let largest = tokens.iter().map(|&token| token as u32).max().unwrap_or(0);
                if largest > u32::from(u8::MAX) {
                    let reason = format!("token {} does not fit in one byte", largest as i32);
                    return Err(DataError::file(array.file(), reason));
                }
                array.push(tokens.iter().map(|&token| token as u8))
            }
        }
    }

    fn finish(self) -> Result<(), DataError> {
        match self {
            TokenWriter::U1(array) => array.finish(),
            TokenWriter::I8(array) => array.finish(),
        }
    }
}

/// Appends where an item ends to an index array, whose last entry is where the item begins.
fn end(starts: &mut Vec<i32>, end: usize, file: PathBuf, if_empty: &str) -> Result<(), DataError> {
    let Ok(next) = i32::try_from(end) else {
        return Err(DataError::file(file, format!("index {end} does not fit in 32 bits")));
    };
    if starts.last() == Some(&next) {
        return Err(DataError::array_row(file, starts.len() - 1, if_empty));
    }
    starts.push(next);
    Ok(())
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

fn write_error(file: &Path) -> impl Fn(io::Error) -> DataError {
    let file = file.to_owned();
    move |reason| DataError::Write { file: file.clone(), reason }
}

/// Writes texts as a list of JSON on one line.
fn write_list(file: &Path, texts: &[String]) -> io::Result<()> {
    let mut output = BufWriter::new(File::create(file)?);
    let mut before = "[";
    for text in texts {
        output.write_all(before.as_bytes())?;
        serde_json::to_writer(&mut output, text)?;
        before = ", ";
    }
    output.write_all(if texts.is_empty() { b"[]" } else { b"]" })?;
    output.flush()
}
