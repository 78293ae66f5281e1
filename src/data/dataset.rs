//! A dataset in memory, and reading one from a folder.
//!
//! The folder format is that of the published HRM code. A *group* is an original puzzle with all its
//! augmented copies, a *puzzle* is one copy and has one identifier, an *example* is one pair of input and
//! label rows:
//!
//! ```text
//! identifiers.json                        names of the puzzle identifiers
//! train/dataset.json                      [`Metadata`]
//! train/<set>__inputs.npy                 [examples, S]
//! train/<set>__labels.npy                 [examples, S]
//! train/<set>__puzzle_identifiers.npy     [puzzles]
//! train/<set>__puzzle_indices.npy         [puzzles + 1]  first example of each puzzle, then the end
//! train/<set>__group_indices.npy          [groups + 1]   first puzzle of each group, then the end
//! train/<set>__ratings.npy                [examples]     how hard each example is; may be missing
//! test/...                                the same
//! ```
//!
//! Ratings are not part of the published format. Nothing trains on them, and they change no fingerprint.
//!
//! Arrays may hold integers of any width, sign and byte order. Everything is checked when it is read, so a
//! [`Dataset`] that exists is consistent: indices stay inside, tokens are below the vocabulary size, every
//! puzzle and every group has something in it.
//!
//! A dataset of tasks may have copies that are not stored ([`Dataset::with_copies`]). Its puzzles, examples and
//! identifiers are counted, and its rows given, as if they were.

#![expect(clippy::disallowed_methods, reason = "it is looked for datasets")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::hash::Hasher;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::canvas::TaskCopies;
use super::copied::{CopiedPuzzles, ExampleSource, copied};
use super::error::DataError;
use super::folder::{is_dataset, no_dataset};
use super::kind::PuzzleKind;
use super::npy::IntegerArray;
use super::rules::{self, IGNORED_LABEL};
use crate::reading;

/// Rows that are looked at where the metadata does not say what they are.
const MOST_GUESSED: usize = 10_000;

/// A part of a dataset: training or test.
///
/// # Examples
///
/// ```
/// use hrmc::{Metadata, Split};
///
/// let none = Metadata::read("data/none".as_ref(), Split::Train)?;
/// assert!(none.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Training examples.
    Train,
    /// Held-out examples.
    Test,
}

impl Split {
    /// Returns the name of the folder.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The content of `dataset.json`.
///
/// # Examples
///
/// ```
/// let metadata = hrmc::Metadata::new(11, 81);
/// assert_eq!((metadata.vocab_size, metadata.seq_len), (11, 81));
/// assert_eq!(metadata.num_puzzle_identifiers, 1);
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Metadata {
    /// Token of padding.
    pub pad_id: i32,
    /// Label that is neither trained nor scored, if any.
    pub ignore_label_id: Option<i32>,
    /// Puzzle identifier of no puzzle.
    pub blank_identifier_id: i32,
    /// Number of different tokens, `V`.
    pub vocab_size: usize,
    /// Tokens in a row, `S`.
    pub seq_len: usize,
    /// Number of puzzle identifiers over all splits, the blank one included.
    pub num_puzzle_identifiers: usize,
    /// Groups in this split, over all sets.
    pub total_groups: usize,
    /// Examples per puzzle.
    pub mean_puzzle_examples: f64,
    /// Names of the sets.
    pub sets: Vec<String>,
    /// What the rows are: `sudoku`, `maze`, `arc`, `grid` or `tokens`. Not part of the published format, and absent in
    /// folders of other tools, where the content tells it.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub kind: Option<String>,
    /// Cells of a row of a `grid` that is not square. Not part of the published format.
    #[serde(default, deserialize_with = "count_or_nothing")]
    pub columns: Option<usize>,
}

/// Takes a key that another tool may use for something else: whatever is not text counts as absent.
fn text_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(str::to_owned))
}

/// Takes a key that another tool may use for something else: whatever is not a count counts as absent.
fn count_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_u64().and_then(|count| usize::try_from(count).ok()))
}

impl Metadata {
    /// Returns the metadata of a dataset of one set `all` with padding, ignored label and blank identifier
    /// 0, one puzzle identifier and no examples yet.
    pub fn new(vocab_size: usize, seq_len: usize) -> Metadata {
        Metadata {
            pad_id: 0,
            ignore_label_id: Some(0),
            blank_identifier_id: 0,
            vocab_size,
            seq_len,
            num_puzzle_identifiers: 1,
            total_groups: 0,
            mean_puzzle_examples: 1.0,
            sets: vec!["all".to_owned()],
            kind: None,
            columns: None,
        }
    }

    /// Returns the metadata of a dataset of puzzles of one kind, without examples yet.
    pub fn for_kind(kind: PuzzleKind) -> Metadata {
        let columns = match kind {
            PuzzleKind::Grid { rows, columns, .. } if rows != columns => Some(columns),
            _ => None,
        };
        let kind_name = Some(kind.family().to_owned());
        Metadata { kind: kind_name, columns, ..Metadata::new(kind.vocab_size(), kind.seq_len()) }
    }

    /// Returns the kind of the rows, if the metadata names it.
    pub fn declared_kind(&self) -> Option<PuzzleKind> {
        self.named_kind().ok().flatten()
    }

    fn named_kind(&self) -> Result<Option<PuzzleKind>, String> {
        let Some(word) = &self.kind else { return Ok(None) };
        PuzzleKind::named(word, self.seq_len, self.vocab_size, self.columns)
    }

    /// Reads the metadata of a split of a dataset folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if it is there and cannot be read.
    pub fn read(folder: &Path, split: Split) -> Result<Option<Metadata>, DataError> {
        let file = Metadata::file(folder, split);
        if file.exists() { Metadata::read_file(&file).map(Some) } else { Ok(None) }
    }

    /// Returns the path of the metadata of a split of a dataset folder.
    pub(crate) fn file(folder: &Path, split: Split) -> PathBuf {
        folder.join(split.name()).join("dataset.json")
    }

    fn read_file(file: &Path) -> Result<Metadata, DataError> {
        let json = reading::text(file, &reading::METADATA)
            .map_err(|reason| DataError::Read { file: file.to_path_buf(), reason })?;
        Metadata::parse(file, &json)
    }

    /// Reads and checks the text of `dataset.json`; errors call it `file`.
    fn parse(file: &Path, json: &str) -> Result<Metadata, DataError> {
        let metadata: Metadata = reading::json::value(json)
            .map_err(|fault| DataError::file(file, format!("is not dataset metadata: {fault}")))?;
        metadata.check().map_err(|reason| DataError::file(file, reason))?;
        Ok(metadata)
    }

    /// Returns the text of `dataset.json`: one line, the keys in their usual order, no final newline.
    pub fn to_json(&self) -> String {
        let mut json = self.published_json();
        json.pop();
        if let Some(kind) = &self.kind {
            let kind = serde_json::to_string(kind).expect("text is always valid JSON");
            write!(json, ", \"kind\": {kind}").expect("writing to a string succeeds");
        }
        if let Some(columns) = self.columns {
            write!(json, ", \"columns\": {columns}").expect("writing to a string succeeds");
        }
        json.push('}');
        json
    }

    /// Returns the text of the keys that the published format has.
    fn published_json(&self) -> String {
        let text = |value: &String| serde_json::to_string(value).expect("text is always valid JSON");
        let sets: Vec<String> = self.sets.iter().map(text).collect();
        let ignored = self.ignore_label_id.map_or("null".to_owned(), |label| label.to_string());
        format!(
            "{{\"pad_id\": {}, \"ignore_label_id\": {ignored}, \"blank_identifier_id\": {}, \
             \"vocab_size\": {}, \"seq_len\": {}, \"num_puzzle_identifiers\": {}, \"total_groups\": {}, \
             \"mean_puzzle_examples\": {:?}, \"sets\": [{}]}}",
            self.pad_id,
            self.blank_identifier_id,
            self.vocab_size,
            self.seq_len,
            self.num_puzzle_identifiers,
            self.total_groups,
            self.mean_puzzle_examples,
            sets.join(", "),
        )
    }

    /// Checks a row of inputs or of labels, `[S]`; errors call its array `array`.
    pub(super) fn check_row(
        &self,
        kind: RowKind,
        array: &Path,
        row: usize,
        tokens: &[i32],
    ) -> Result<(), DataError> {
        if tokens.len() != self.seq_len {
            let reason = format!("has length {}; expected {}", tokens.len(), self.seq_len);
            return Err(DataError::array_row(array, row, reason));
        }
        let ignored = if kind == RowKind::Labels { self.ignore_label_id } else { None };
        // Nearly every row is right, and this needs no branch for each token.
        if tokens.iter().fold(true, |right, &token| right & inside(i64::from(token), self.vocab_size)) {
            return Ok(());
        }
        let wrong = tokens
            .iter()
            .position(|&token| !inside(i64::from(token), self.vocab_size) && Some(token) != ignored);
        let Some(column) = wrong else { return Ok(()) };
        let reason = out_of_vocabulary("token", i64::from(tokens[column]), self.vocab_size);
        Err(DataError::array_row(array, row, format!("{reason}, in column {column}")))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.vocab_size == 0 || self.vocab_size > i32::MAX as usize {
            return Err(format!("`vocab_size` is {}; expected a positive 32-bit number", self.vocab_size));
        }
        if self.seq_len == 0 {
            return Err("`seq_len` is 0; expected at least one token in a row".to_owned());
        }
        if !inside(i64::from(self.pad_id), self.vocab_size) {
            return Err(format!("`pad_id` {} is outside the vocabulary of {}", self.pad_id, self.vocab_size));
        }
        if self.num_puzzle_identifiers > i32::MAX as usize {
            return Err(format!(
                "`num_puzzle_identifiers` is {}; expected a 32-bit number",
                self.num_puzzle_identifiers
            ));
        }
        if !inside(i64::from(self.blank_identifier_id), self.num_puzzle_identifiers) {
            return Err(format!(
                "`blank_identifier_id` {} is not one of the {} puzzle identifiers",
                self.blank_identifier_id, self.num_puzzle_identifiers
            ));
        }
        self.named_kind()?;
        if self.sets.is_empty() {
            return Err("`sets` is empty; expected at least one set".to_owned());
        }
        let mut seen = BTreeSet::new();
        for set in &self.sets {
            if set.is_empty() || set.contains(['/', '\\', '\0']) {
                return Err(format!(
                    "`sets` has `{}`, which cannot begin the name of a file",
                    reading::shortened(set)
                ));
            }
            if !seen.insert(set) {
                return Err(format!("`sets` has `{set}` twice"));
            }
        }
        Ok(())
    }
}

/// What a row of tokens is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    /// A question.
    Inputs,
    /// An answer, which may have ignored labels.
    Labels,
}

fn inside(value: i64, count: usize) -> bool {
    usize::try_from(value).is_ok_and(|value| value < count)
}

/// Tokens, one byte each as long as all of them fit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TokenArray {
    Narrow(Vec<u8>),
    Wide(Vec<i32>),
}

impl TokenArray {
    fn with_capacity(capacity: usize) -> TokenArray {
        TokenArray::Narrow(Vec::with_capacity(capacity))
    }

    fn push(&mut self, token: i32) {
        match self {
            TokenArray::Narrow(tokens) => match u8::try_from(token) {
                Ok(token) => tokens.push(token),
                Err(_) => {
                    let mut wide: Vec<i32> = tokens.iter().map(|&token| i32::from(token)).collect();
                    wide.push(token);
                    *self = TokenArray::Wide(wide);
                }
            },
            TokenArray::Wide(tokens) => tokens.push(token),
        }
    }

    fn get(&self, index: usize) -> i32 {
        match self {
            TokenArray::Narrow(tokens) => i32::from(tokens[index]),
            TokenArray::Wide(tokens) => tokens[index],
        }
    }

    fn len(&self) -> usize {
        match self {
            TokenArray::Narrow(tokens) => tokens.len(),
            TokenArray::Wide(tokens) => tokens.len(),
        }
    }

    fn slice(&self, range: Range<usize>) -> impl Iterator<Item = i32> {
        range.map(|index| self.get(index))
    }

    /// Returns the tokens of a row as they are stored, or of a copy of it.
    fn row(&self, range: Range<usize>, source: ExampleSource) -> RowTokens<'_> {
        match source.copy {
            None => RowTokens::Stored { array: self, range },
            Some(copy) => RowTokens::Made(copied(self.slice(range).collect(), &copy).into_iter()),
        }
    }

    /// Feeds the tokens of a row to a hash that does not depend on how the tokens are stored.
    fn hash_row(&self, row: Range<usize>, hasher: &mut impl Hasher) {
        match self {
            TokenArray::Narrow(tokens) => hasher.write(&tokens[row]),
            TokenArray::Wide(tokens) => {
                let narrow: Result<Vec<u8>, _> =
                    tokens[row.clone()].iter().map(|&token| u8::try_from(token)).collect();
                match narrow {
                    Ok(narrow) => hasher.write(&narrow),
                    Err(_) => tokens[row].iter().for_each(|&token| hasher.write_i32(token)),
                }
            }
        }
    }

    fn hash_into(&self, digest: &mut Sha256) {
        match self {
            TokenArray::Narrow(tokens) => {
                digest.update(b"u1");
                digest.update(tokens);
            }
            TokenArray::Wide(tokens) => {
                digest.update(b"i4");
                tokens.iter().for_each(|token| digest.update(token.to_le_bytes()));
            }
        }
    }
}

/// The tokens of a row.
enum RowTokens<'a> {
    /// They lie in an array.
    Stored { array: &'a TokenArray, range: Range<usize> },
    /// They were made for whoever asked.
    Made(std::vec::IntoIter<i32>),
}

impl Iterator for RowTokens<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        match self {
            RowTokens::Stored { array, range } => range.next().map(|index| array.get(index)),
            RowTokens::Made(tokens) => tokens.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            RowTokens::Stored { range, .. } => range.size_hint(),
            RowTokens::Made(tokens) => tokens.size_hint(),
        }
    }
}

/// Where a set ends in the arrays of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct SetEnd {
    examples: usize,
    puzzles: usize,
    groups: usize,
}

/// What belongs to one set of a dataset, as ranges into the whole dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRanges {
    /// Its examples.
    pub examples: Range<usize>,
    /// Its puzzles.
    pub puzzles: Range<usize>,
    /// Its groups.
    pub groups: Range<usize>,
}

/// One split of a dataset, in memory and known to be consistent.
///
/// # Examples
///
/// ```
/// use hrmc::Dataset;
///
/// // Rows of two tokens to be swapped; token 0 is padding.
/// let rows = [(vec![1, 2], vec![2, 1]), (vec![3, 1], vec![1, 3])];
/// let dataset = Dataset::from_rows(4, &rows)?;
/// assert_eq!(dataset.examples(), 2);
/// assert_eq!(dataset.labels(1).collect::<Vec<_>>(), [1, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    metadata: Metadata,
    /// `[examples * S]`
    inputs: TokenArray,
    /// `[examples * S]`, as stored: the ignored label is not replaced yet.
    labels: TokenArray,
    /// `[puzzles]`
    puzzle_identifiers: Vec<i32>,
    /// `[puzzles + 1]`
    puzzle_starts: Vec<usize>,
    /// `[groups + 1]`
    group_starts: Vec<usize>,
    /// `[examples]`, or shorter where the last ones have none.
    ratings: Vec<Option<i32>>,
    /// `[sets]`
    set_ends: Vec<SetEnd>,
    /// Copies that are not stored. The arrays above do not count them.
    copies: Option<CopiedPuzzles>,
    fingerprint: Fingerprint,
    guessed: GuessedKind,
}

/// The kind that the content of a dataset suggests, once something has asked for it.
#[derive(Debug, Clone, Default)]
struct GuessedKind(OnceLock<PuzzleKind>);

impl PartialEq for GuessedKind {
    /// Equal content suggests an equal kind, whether or not it is known yet.
    fn eq(&self, _: &GuessedKind) -> bool {
        true
    }
}

/// The fingerprint of a dataset, once something has asked for it.
#[derive(Debug, Clone, Default)]
struct Fingerprint(OnceLock<String>);

impl PartialEq for Fingerprint {
    /// Equal content has an equal fingerprint, whether or not it is known yet.
    fn eq(&self, _: &Fingerprint) -> bool {
        true
    }
}

impl Dataset {
    /// Reads one split of a dataset folder.
    ///
    /// # Errors
    ///
    /// If a file is missing, is not what the format says, or does not agree with another one.
    pub fn open(folder: impl AsRef<Path>, split: Split) -> Result<Dataset, DataError> {
        let metadata_file = Metadata::file(folder.as_ref(), split);
        let json =
            reading::text(&metadata_file, &reading::METADATA).map_err(|reason| match reason.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if !is_dataset(folder.as_ref()) => {
                    no_dataset(folder.as_ref())
                }
                _ => DataError::Read { file: metadata_file.clone(), reason },
            })?;
        Dataset::read(&metadata_file, &json, &|file| {
            let (reader, length) = reading::open(file, &reading::ARRAY)?;
            Ok((Box::new(reader), length))
        })
    }

    /// Reads one split from the text of its `dataset.json`, which errors call `metadata_file`; `open` gives each of its
    /// arrays, which are beside that file, with its length in bytes.
    ///
    /// # Errors
    ///
    /// As [`Dataset::open`].
    #[doc(hidden)]
    pub fn read(metadata_file: &Path, json: &str, open: &OpenArray<'_>) -> Result<Dataset, DataError> {
        let metadata = Metadata::parse(metadata_file, json)?;
        let folder = metadata_file.parent().unwrap_or(Path::new(""));
        let mut dataset = Dataset::empty(metadata.clone());
        for set in &metadata.sets {
            dataset.read_set(folder, set, open)?;
        }
        dataset.check_totals().map_err(|reason| DataError::file(metadata_file, reason))?;
        // The JSON reader may be wrong in the last digit.
        dataset.metadata.mean_puzzle_examples = dataset.mean_puzzle_examples();
        Ok(dataset)
    }

    fn empty(metadata: Metadata) -> Dataset {
        Dataset {
            metadata,
            inputs: TokenArray::with_capacity(0),
            labels: TokenArray::with_capacity(0),
            puzzle_identifiers: Vec::new(),
            puzzle_starts: vec![0],
            group_starts: vec![0],
            ratings: Vec::new(),
            set_ends: Vec::new(),
            copies: None,
            fingerprint: Fingerprint::default(),
            guessed: GuessedKind::default(),
        }
    }

    fn read_set(&mut self, folder: &Path, set: &str, open: &OpenArray<'_>) -> Result<(), DataError> {
        let path = |array: &str| array_file(folder, set, array);
        let array = |file: &Path| {
            let (reader, length) =
                open(file).map_err(|reason| DataError::Read { file: file.to_owned(), reason })?;
            IntegerArray::read(file, reader, length)
        };
        let begin = self.end();
        let Metadata { vocab_size, seq_len, .. } = self.metadata;

        let input_examples = read_tokens(array(&path("inputs"))?, seq_len, &mut self.inputs, |token| {
            if inside(token, vocab_size) {
                Ok(())
            } else {
                Err(out_of_vocabulary("token", token, vocab_size))
            }
        })?;
        let ignored = self.metadata.ignore_label_id.map(i64::from);
        let label_examples = read_tokens(array(&path("labels"))?, seq_len, &mut self.labels, |label| {
            if inside(label, vocab_size) || Some(label) == ignored {
                Ok(())
            } else {
                Err(out_of_vocabulary("label", label, vocab_size))
            }
        })?;
        if label_examples != input_examples {
            let reason =
                format!("has {label_examples} rows, but `{}` has {input_examples}", path("inputs").display());
            return Err(DataError::file(path("labels"), reason));
        }

        let identifiers_file = path("puzzle_identifiers");
        for (row, identifier) in read_list(array(&identifiers_file)?)?.into_iter().enumerate() {
            let count = self.metadata.num_puzzle_identifiers;
            if !inside(identifier, count) {
                let reason = format!("puzzle identifier {identifier} is not below {count}");
                return Err(DataError::array_row(&identifiers_file, row, reason));
            }
            self.puzzle_identifiers.push(identifier as i32);
        }
        let puzzles = self.puzzle_identifiers.len() - begin.puzzles;

        let puzzle_file = path("puzzle_indices");
        let puzzle_starts = read_list(array(&puzzle_file)?)?;
        if puzzle_starts.len() != puzzles + 1 {
            let reason = format!(
                "has {} entries; expected {}, one more than the puzzles in `{}`",
                puzzle_starts.len(),
                puzzles + 1,
                identifiers_file.display()
            );
            return Err(DataError::file(puzzle_file, reason));
        }
        append_starts(&mut self.puzzle_starts, &puzzle_starts, input_examples, begin.examples, "examples")
            .map_err(|(row, reason)| DataError::array_row(puzzle_file, row, reason))?;

        let group_file = path("group_indices");
        let group_starts = read_list(array(&group_file)?)?;
        append_starts(&mut self.group_starts, &group_starts, puzzles, begin.puzzles, "puzzles")
            .map_err(|(row, reason)| DataError::array_row(group_file, row, reason))?;

        let ratings_file = path("ratings");
        match open(&ratings_file) {
            Ok((reader, length)) => {
                let ratings = read_list(IntegerArray::read(&ratings_file, reader, length)?)?;
                if ratings.len() != input_examples {
                    let reason = format!(
                        "has {} ratings, but `{}` has {input_examples} rows",
                        ratings.len(),
                        path("inputs").display()
                    );
                    return Err(DataError::file(ratings_file, reason));
                }
                self.ratings.resize(begin.examples, None);
                for (row, rating) in ratings.into_iter().enumerate() {
                    let rating = i32::try_from(rating).map_err(|_| {
                        let reason = format!("rating {rating} does not fit in 32 bits");
                        DataError::array_row(&ratings_file, row, reason)
                    })?;
                    self.ratings.push(Some(rating));
                }
            }
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => {}
            Err(reason) => return Err(DataError::Read { file: ratings_file, reason }),
        }

        self.set_ends.push(self.end());
        Ok(())
    }

    fn end(&self) -> SetEnd {
        SetEnd {
            examples: self.inputs.len() / self.metadata.seq_len,
            puzzles: self.puzzle_identifiers.len(),
            groups: self.group_starts.len() - 1,
        }
    }

    fn check_totals(&self) -> Result<(), String> {
        // The mean is written with all its digits; this leaves room for a writer that keeps nine of them.
        const RELATIVE_TOLERANCE: f64 = 1e-8;
        if self.metadata.total_groups != self.groups() {
            return Err(format!(
                "`total_groups` is {}, but the number of groups in the sets is {}",
                self.metadata.total_groups,
                self.groups()
            ));
        }
        let mean = self.mean_puzzle_examples();
        if (self.metadata.mean_puzzle_examples - mean).abs() > RELATIVE_TOLERANCE * mean {
            return Err(format!(
                "`mean_puzzle_examples` is {}, but the sets have {} examples in {} puzzles, which is {mean}",
                self.metadata.mean_puzzle_examples,
                self.examples(),
                self.puzzles()
            ));
        }
        Ok(())
    }

    fn mean_puzzle_examples(&self) -> f64 {
        mean_puzzle_examples(self.examples(), self.puzzles())
    }

    /// Makes a dataset of questions and answers, each a row `[S]` of tokens below `vocab`.
    ///
    /// Every row is a puzzle of its own, and all share one puzzle identifier. Every token of an answer is trained and
    /// scored, but for token 0, which is padding. [`DatasetBuilder`] can say more.
    ///
    /// # Errors
    ///
    /// If there is no row, rows differ in length, or a token is not below `vocab`.
    pub fn from_rows(vocab: usize, rows: &[(Vec<i32>, Vec<i32>)]) -> Result<Dataset, DataError> {
        let Some((first, _)) = rows.first() else {
            return Err(DataError::request("a dataset needs at least one row"));
        };
        let mut builder = DatasetBuilder::new(Metadata::new(vocab, first.len()))?;
        for (question, answer) in rows {
            builder.add_example(question, answer)?;
            builder.end_puzzle(0)?;
            builder.end_group()?;
        }
        builder.finish()
    }

    /// Returns the metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns what the rows are: the kind that the metadata names, else the one whose rules all labels obey; with very
    /// many rows, of 10,000 of them.
    pub fn kind(&self) -> PuzzleKind {
        self.metadata.declared_kind().unwrap_or_else(|| *self.guessed.0.get_or_init(|| self.guess()))
    }

    fn guess(&self) -> PuzzleKind {
        let Metadata { seq_len, vocab_size, .. } = self.metadata;
        let step = self.examples().div_ceil(MOST_GUESSED).max(1);
        let obeys = |kind: &PuzzleKind| {
            self.examples() > 0
                && (0..self.examples()).step_by(step).all(|row| {
                    let question: Vec<i32> = self.inputs(row).collect();
                    let labels: Vec<i32> = self.labels(row).collect();
                    rules::obey(*kind, &question, &labels)
                })
        };
        let unknown = PuzzleKind::Tokens { length: seq_len, vocab: vocab_size };
        PuzzleKind::candidates(seq_len, vocab_size).find(obeys).unwrap_or(unknown)
    }

    /// Returns the dataset with copies of its puzzles, which are tasks of ARC. Each is made when it is asked for, and lies
    /// in the corner of its canvas.
    ///
    /// # Errors
    ///
    /// If a group has several puzzles, or there are other identifiers than those of the copies.
    pub(crate) fn with_copies(self, tasks: &Arc<TaskCopies>) -> Result<Dataset, DataError> {
        let metadata = &self.metadata;
        if self.copies.is_some()
            || self.puzzles() != self.groups()
            || metadata.num_puzzle_identifiers > tasks.stored_identifiers()
        {
            return Err(DataError::request("copies are made of a dataset that has none, with its own tasks"));
        }
        // What is stored tells the kind, and is not looked at again with every copy.
        let _told = self.kind();
        let copies = CopiedPuzzles::new(Arc::clone(tasks), &self.puzzle_identifiers, &self.puzzle_starts);
        let metadata = Metadata {
            blank_identifier_id: tasks.identifier_of(metadata.blank_identifier_id),
            num_puzzle_identifiers: tasks.identifiers(),
            mean_puzzle_examples: mean_puzzle_examples(copies.examples(), copies.puzzles()),
            ..metadata.clone()
        };
        Ok(Dataset { metadata, copies: Some(copies), fingerprint: Fingerprint::default(), ..self })
    }

    /// Returns the dataset with nothing but what is stored. Its identifiers are those of the folder.
    pub(crate) fn without_copies(&self) -> Cow<'_, Dataset> {
        match self.copies {
            None => Cow::Borrowed(self),
            Some(_) => {
                let fingerprint = Fingerprint::default();
                let stored = Dataset { copies: None, fingerprint, ..self.clone() };
                let mean = mean_puzzle_examples(stored.examples(), stored.puzzles());
                let metadata = Metadata { mean_puzzle_examples: mean, ..stored.metadata };
                Cow::Owned(Dataset { metadata, ..stored })
            }
        }
    }

    /// Returns the number of examples.
    pub fn examples(&self) -> usize {
        match &self.copies {
            None => self.stored_examples(),
            Some(copies) => copies.examples(),
        }
    }

    /// Returns the number of examples that lie in memory.
    pub(super) fn stored_examples(&self) -> usize {
        self.inputs.len() / self.metadata.seq_len
    }

    /// Returns the number of puzzles.
    pub fn puzzles(&self) -> usize {
        match &self.copies {
            None => self.stored_puzzles(),
            Some(copies) => copies.puzzles(),
        }
    }

    /// Returns the number of puzzles that lie in memory.
    pub(super) fn stored_puzzles(&self) -> usize {
        self.puzzle_identifiers.len()
    }

    /// Returns the number of groups.
    pub fn groups(&self) -> usize {
        self.group_starts.len() - 1
    }

    /// Returns what belongs to a set.
    ///
    /// # Panics
    ///
    /// If `set` is not below the number of sets.
    pub fn set(&self, set: usize) -> SetRanges {
        let begin = if set == 0 { SetEnd::default() } else { self.set_ends[set - 1] };
        let end = self.set_ends[set];
        let groups = begin.groups..end.groups;
        match &self.copies {
            None => SetRanges {
                examples: begin.examples..end.examples,
                puzzles: begin.puzzles..end.puzzles,
                groups,
            },
            Some(copies) => SetRanges {
                examples: copies.examples_before(groups.start)..copies.examples_before(groups.end),
                puzzles: copies.puzzles_before(groups.start)..copies.puzzles_before(groups.end),
                groups,
            },
        }
    }

    /// Returns the puzzles of a group.
    pub fn puzzles_of(&self, group: usize) -> Range<usize> {
        match &self.copies {
            None => self.group_starts[group]..self.group_starts[group + 1],
            Some(copies) => copies.puzzles_before(group)..copies.puzzles_before(group + 1),
        }
    }

    /// Returns the examples of a puzzle.
    pub fn examples_of(&self, puzzle: usize) -> Range<usize> {
        match &self.copies {
            None => self.puzzle_starts[puzzle]..self.puzzle_starts[puzzle + 1],
            Some(copies) => copies.examples_of(puzzle),
        }
    }

    /// Returns the puzzle that an example belongs to.
    pub fn puzzle_of(&self, example: usize) -> usize {
        match &self.copies {
            None => self.puzzle_starts.partition_point(|&start| start <= example) - 1,
            Some(copies) => copies.puzzle_of(example),
        }
    }

    /// Returns the group that an example belongs to.
    pub(super) fn group_of(&self, example: usize) -> usize {
        match &self.copies {
            None => {
                let puzzle = self.puzzle_of(example);
                self.group_starts.partition_point(|&start| start <= puzzle) - 1
            }
            Some(copies) => copies.group_of(example),
        }
    }

    /// Returns the identifier of a puzzle.
    pub fn identifier(&self, puzzle: usize) -> i32 {
        match &self.copies {
            None => self.puzzle_identifiers[puzzle],
            Some(copies) => copies.identifier(puzzle),
        }
    }

    /// Returns how hard an example is, where the dataset says so. For Sudoku of the paper, that is how often a
    /// solver has to guess.
    pub fn rating(&self, example: usize) -> Option<i32> {
        self.ratings.get(self.source(example).stored).copied().flatten()
    }

    /// Returns the number of examples that room for ratings is kept for.
    pub(super) fn rated(&self) -> usize {
        self.ratings.len()
    }

    /// Returns the input tokens of an example, `[S]`.
    pub fn inputs(&self, example: usize) -> impl Iterator<Item = i32> {
        let source = self.source(example);
        self.inputs.row(self.row(source.stored), source)
    }

    /// Returns the labels of an example, `[S]`, with -100 where nothing is asked for.
    pub fn labels(&self, example: usize) -> impl Iterator<Item = i32> {
        let ignored = self.metadata.ignore_label_id;
        self.stored_labels(example)
            .map(move |label| if Some(label) == ignored { IGNORED_LABEL } else { label })
    }

    /// Returns the labels of an example as they are stored, `[S]`.
    pub(super) fn stored_labels(&self, example: usize) -> impl Iterator<Item = i32> {
        let source = self.source(example);
        self.labels.row(self.row(source.stored), source)
    }

    /// Feeds the input tokens of an example to a hash.
    pub(super) fn hash_inputs(&self, example: usize, hasher: &mut impl Hasher) {
        match self.source(example) {
            ExampleSource { stored, copy: None } => self.inputs.hash_row(self.row(stored), hasher),
            ExampleSource { .. } => hash_made(self.inputs(example), hasher),
        }
    }

    /// Feeds the labels of an example to a hash, as they are stored.
    pub(super) fn hash_labels(&self, example: usize, hasher: &mut impl Hasher) {
        match self.source(example) {
            ExampleSource { stored, copy: None } => self.labels.hash_row(self.row(stored), hasher),
            ExampleSource { .. } => hash_made(self.stored_labels(example), hasher),
        }
    }

    fn source(&self, example: usize) -> ExampleSource {
        match &self.copies {
            None => ExampleSource { stored: example, copy: None },
            Some(copies) => copies.source(example),
        }
    }

    /// Returns where the tokens of a stored example lie.
    fn row(&self, stored: usize) -> Range<usize> {
        stored * self.metadata.seq_len..(stored + 1) * self.metadata.seq_len
    }

    /// Returns whether any label is trained and scored.
    pub fn has_labels(&self) -> bool {
        let ignored = self.metadata.ignore_label_id;
        // A copy has labels where its puzzle has.
        self.labels.slice(0..self.labels.len()).any(|label| Some(label) != ignored)
    }

    /// Returns the SHA-256 of everything in the dataset, in hexadecimal.
    ///
    /// It depends on the content only, not on the integer types of the files. It is computed once.
    pub fn fingerprint(&self) -> String {
        let computed = self.fingerprint.0.get_or_init(|| {
            let mut digest = Sha256::new();
            // What the rows are called does not change them.
            digest.update(self.metadata.published_json());
            self.inputs.hash_into(&mut digest);
            self.labels.hash_into(&mut digest);
            self.puzzle_identifiers.iter().for_each(|identifier| digest.update(identifier.to_le_bytes()));
            for starts in [&self.puzzle_starts, &self.group_starts] {
                starts.iter().for_each(|&start| digest.update((start as u64).to_le_bytes()));
            }
            if let Some(copies) = &self.copies {
                digest.update(b"copies");
                digest.update(copies.bytes_to_hash().collect::<Vec<u8>>());
            }
            digest.finalize().iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a string succeeds");
                text
            })
        });
        computed.clone()
    }
}

/// Returns the examples of a puzzle on average, as `dataset.json` has them.
pub(super) fn mean_puzzle_examples(examples: usize, puzzles: usize) -> f64 {
    if puzzles == 0 { 1.0 } else { examples as f64 / puzzles as f64 }
}

/// Feeds the tokens of a copy to a hash, as [`TokenArray::hash_row`] feeds stored ones.
fn hash_made(tokens: impl Iterator<Item = i32>, hasher: &mut impl Hasher) {
    let bytes: Vec<u8> = tokens.map(|token| token as u8).collect();
    hasher.write(&bytes);
}

fn out_of_vocabulary(what: &str, token: i64, vocab_size: usize) -> String {
    format!("{what} {token} is outside the vocabulary of {vocab_size}")
}

/// Opens an array, and returns it with its length in bytes.
type OpenArray<'a> = dyn Fn(&Path) -> io::Result<(Box<dyn Read>, u64)> + 'a;

/// Appends the tokens of a file and returns its number of rows.
fn read_tokens(
    array: IntegerArray<impl Read>,
    seq_len: usize,
    tokens: &mut TokenArray,
    check: impl Fn(i64) -> Result<(), String>,
) -> Result<usize, DataError> {
    let file = &array.file().to_owned();
    let &[rows, columns] = array.shape() else {
        let reason = format!("has shape {:?}; expected [examples, {seq_len}]", array.shape());
        return Err(DataError::file(file, reason));
    };
    if columns != seq_len {
        let reason = format!("has rows of {columns} tokens; `seq_len` of `dataset.json` is {seq_len}");
        return Err(DataError::file(file, reason));
    }
    if let TokenArray::Narrow(narrow) = tokens {
        narrow.reserve_exact(rows * columns);
    }
    let mut index = 0;
    // The first wrong token, and the number of all.
    let mut wrong: Option<(usize, String)> = None;
    let mut wrong_tokens = 0;
    array.for_each(|token| {
        match check(token) {
            Ok(()) => tokens.push(i32::try_from(token).expect("a checked token is a 32-bit number")),
            Err(reason) => {
                wrong_tokens += 1;
                wrong.get_or_insert((index, reason));
            }
        }
        index += 1;
        Ok(())
    })?;
    let Some((index, mut reason)) = wrong else { return Ok(rows) };
    reason.push_str(&format!(", in column {}", index % columns));
    match wrong_tokens - 1 {
        0 => {}
        1 => reason.push_str("; one more in this file is outside of it"),
        more => reason.push_str(&format!("; {more} more in this file are outside of it")),
    }
    Err(DataError::array_row(file, index / columns, reason))
}

fn read_list(array: IntegerArray<impl Read>) -> Result<Vec<i64>, DataError> {
    let &[length] = array.shape() else {
        let reason = format!("has shape {:?}; expected a plain list", array.shape());
        return Err(DataError::file(array.file(), reason));
    };
    let mut values = Vec::with_capacity(length);
    array.for_each(|value| {
        values.push(value);
        Ok(())
    })?;
    Ok(values)
}

/// Checks the index array of one set and appends it to the starts of all sets before it, shifted by `shift`.
fn append_starts(
    starts: &mut Vec<usize>,
    indices: &[i64],
    count: usize,
    shift: usize,
    what: &str,
) -> Result<(), (usize, String)> {
    match indices.first() {
        None => return Err((0, "the list is empty; expected at least a 0".to_owned())),
        Some(0) => {}
        Some(first) => return Err((0, format!("the first index is {first}; expected 0"))),
    }
    for (row, pair) in indices.windows(2).enumerate() {
        if pair[1] <= pair[0] {
            let reason = format!("index {} does not increase over {} before it", pair[1], pair[0]);
            return Err((row + 1, reason));
        }
        if pair[1] > count as i64 {
            return Err((row + 1, format!("index {} is beyond the end of the {count} {what}", pair[1])));
        }
        starts.push(shift + pair[1] as usize);
    }
    let last = indices[indices.len() - 1];
    if last != count as i64 {
        return Err((indices.len() - 1, format!("the last index is {last}; expected {count}, all {what}")));
    }
    Ok(())
}

/// Collects puzzles into a [`Dataset`] of one set.
///
/// Add the examples of a puzzle, end the puzzle, add the next; end the group after its last puzzle.
///
/// # Examples
///
/// ```
/// use hrmc::{DatasetBuilder, Metadata};
///
/// // One puzzle with two examples, as ARC has them.
/// let mut builder = DatasetBuilder::new(Metadata { num_puzzle_identifiers: 2, ..Metadata::new(4, 2) })?;
/// builder.add_example(&[1, 2], &[2, 1])?;
/// builder.add_example(&[3, 1], &[1, 3])?;
/// builder.end_puzzle(1)?;
/// builder.end_group()?;
/// let dataset = builder.finish()?;
/// assert_eq!((dataset.examples(), dataset.puzzles()), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DatasetBuilder {
    dataset: Dataset,
}

impl DatasetBuilder {
    /// Begins a dataset. The totals, the mean and the names of the sets in `metadata` do not matter.
    ///
    /// # Errors
    ///
    /// If the metadata contradicts itself.
    pub fn new(mut metadata: Metadata) -> Result<DatasetBuilder, DataError> {
        metadata.sets = vec!["all".to_owned()];
        metadata.check().map_err(|reason| DataError::file("dataset.json", reason))?;
        Ok(DatasetBuilder { dataset: Dataset::empty(metadata) })
    }

    /// Adds an example to the puzzle being built; `inputs` and `labels` are both `[S]`.
    ///
    /// # Errors
    ///
    /// If a row has the wrong length or a token that is not in the vocabulary.
    pub fn add_example(&mut self, inputs: &[i32], labels: &[i32]) -> Result<(), DataError> {
        let row = self.dataset.examples();
        let metadata = &self.dataset.metadata;
        metadata.check_row(RowKind::Inputs, Path::new("inputs"), row, inputs)?;
        metadata.check_row(RowKind::Labels, Path::new("labels"), row, labels)?;
        inputs.iter().for_each(|&token| self.dataset.inputs.push(token));
        labels.iter().for_each(|&token| self.dataset.labels.push(token));
        Ok(())
    }

    /// Says how hard the example that was added last is.
    pub fn rate_example(&mut self, rating: i32) {
        let examples = self.dataset.examples();
        self.dataset.ratings.resize(examples.saturating_sub(1), None);
        self.dataset.ratings.push(Some(rating));
    }

    /// Ends the puzzle being built.
    ///
    /// # Errors
    ///
    /// If it has no examples, or the identifier is not below the number of identifiers.
    pub fn end_puzzle(&mut self, identifier: i32) -> Result<(), DataError> {
        let row = self.dataset.puzzles();
        let count = self.dataset.metadata.num_puzzle_identifiers;
        if !inside(i64::from(identifier), count) {
            let reason = format!("puzzle identifier {identifier} is not below {count}");
            return Err(DataError::array_row("puzzle_identifiers", row, reason));
        }
        let end = self.dataset.examples();
        if self.dataset.puzzle_starts.last() == Some(&end) {
            return Err(DataError::array_row("puzzle_indices", row, "the puzzle has no examples"));
        }
        self.dataset.puzzle_identifiers.push(identifier);
        self.dataset.puzzle_starts.push(end);
        Ok(())
    }

    /// Ends the group being built.
    ///
    /// # Errors
    ///
    /// If it has no puzzles.
    pub fn end_group(&mut self) -> Result<(), DataError> {
        let end = self.dataset.puzzles();
        if self.dataset.group_starts.last() == Some(&end) {
            let row = self.dataset.groups();
            return Err(DataError::array_row("group_indices", row, "the group has no puzzles"));
        }
        self.dataset.group_starts.push(end);
        Ok(())
    }

    /// Returns the dataset.
    ///
    /// # Errors
    ///
    /// If examples or puzzles are left outside a finished puzzle or group.
    pub fn finish(self) -> Result<Dataset, DataError> {
        let mut dataset = self.dataset;
        let end = dataset.end();
        if dataset.puzzle_starts.last() != Some(&end.examples) {
            return Err(DataError::file("puzzle_indices", "the last puzzle was not ended"));
        }
        if dataset.group_starts.last() != Some(&end.puzzles) {
            return Err(DataError::file("group_indices", "the last group was not ended"));
        }
        dataset.set_ends.push(end);
        dataset.metadata.total_groups = end.groups;
        dataset.metadata.mean_puzzle_examples = dataset.mean_puzzle_examples();
        Ok(dataset)
    }
}

/// Reads the names of the puzzle identifiers of a dataset folder, by their numbers. The first one is the blank.
///
/// # Errors
///
/// If `identifiers.json` is missing, or is no list of texts.
pub fn read_identifiers(folder: &Path) -> Result<Vec<String>, DataError> {
    let file = folder.join("identifiers.json");
    let json = reading::text(&file, &reading::IDENTIFIERS)
        .map_err(|reason| DataError::Read { file: file.clone(), reason })?;
    reading::json::value(&json)
        .map_err(|fault| DataError::file(file, format!("is not a list of names: {fault}")))
}

/// Returns the file of one array of a set, in the folder of a split.
pub(super) fn array_file(split_folder: &Path, set: &str, array: &str) -> PathBuf {
    split_folder.join(format!("{set}__{array}.npy"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sudoku::SudokuSize;

    const FOUR: [i32; 16] = [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2];

    fn dataset(metadata: Metadata, rows: &[([i32; 16], [i32; 16])]) -> Dataset {
        let mut builder = DatasetBuilder::new(metadata).expect("the metadata is right");
        for (question, labels) in rows {
            builder.add_example(question, labels).expect("the row fits");
            builder.end_puzzle(0).expect("it has an example");
            builder.end_group().expect("it has a puzzle");
        }
        builder.finish().expect("everything was ended")
    }

    #[test]
    fn the_content_says_what_rows_are_where_the_metadata_does_not() {
        let mut question = FOUR;
        question[3] = 1;
        let maze = [3, 2, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 4, 1];
        let path = [3, 5, 5, 1, 1, 1, 5, 1, 1, 1, 5, 1, 1, 1, 4, 1];
        let kind = |rows: &[([i32; 16], [i32; 16])]| dataset(Metadata::new(6, 16), rows).kind();
        let tokens = PuzzleKind::Tokens { length: 16, vocab: 6 };
        assert_eq!(kind(&[(question, FOUR)]), PuzzleKind::Sudoku(SudokuSize::Four));
        assert_eq!(kind(&[(maze, path)]), PuzzleKind::Maze { side: 4 });
        assert_eq!(kind(&[(question, FOUR), (maze, path)]), tokens, "all labels have to obey");
        assert_eq!(kind(&[(FOUR, question)]), tokens);
        assert_eq!(kind(&[]), tokens);
        let named = Metadata { kind: Some("grid".to_string()), ..Metadata::new(6, 16) };
        let grid = PuzzleKind::Grid { rows: 4, columns: 4, vocab: 6 };
        assert_eq!(dataset(named, &[(question, FOUR)]).kind(), grid, "the metadata is asked first");
    }

    #[test]
    fn what_rows_are_called_does_not_change_their_fingerprint() {
        let plain = dataset(Metadata::new(6, 16), &[(FOUR, FOUR)]);
        let kind = PuzzleKind::Sudoku(SudokuSize::Four);
        let named = dataset(Metadata::for_kind(kind), &[(FOUR, FOUR)]);
        assert_eq!(plain.fingerprint(), named.fingerprint());
        assert!(named.metadata().to_json().ends_with(r#""sets": ["all"], "kind": "sudoku"}"#));
    }

    #[test]
    fn a_kind_that_does_not_fit_its_rows_is_refused() {
        let metadata = Metadata { kind: Some("maze".to_string()), ..Metadata::new(7, 16) };
        let message = DatasetBuilder::new(metadata).expect_err("a maze has 6 tokens").to_string();
        assert!(
            message.contains("`kind` is `maze`, but rows of 16 tokens of 7 kinds are no maze"),
            "{message}"
        );
    }
}
