//! The size of a split, known without its rows.

use std::io;
use std::path::Path;

use super::dataset::{Dataset, Metadata, Split, array_file};
use super::error::DataError;
use super::npy::IntegerArray;
use crate::reading;

/// Numbers of what a split holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitSize {
    /// Its examples.
    pub examples: usize,
    /// Its puzzles.
    pub puzzles: usize,
    /// Its groups.
    pub groups: usize,
    /// Its examples that room for ratings is kept for: all of them, or those up to the last with a rating.
    pub rated: usize,
}

impl SplitSize {
    /// Returns the size of a split whose examples are puzzles and groups of their own, as generated ones are.
    pub fn of_examples(examples: usize) -> SplitSize {
        SplitSize { examples, puzzles: examples, groups: examples, rated: 0 }
    }

    /// Returns the size of a split in memory, without copies that are made when they are asked for.
    pub fn of(dataset: &Dataset) -> SplitSize {
        SplitSize {
            examples: dataset.stored_examples(),
            puzzles: dataset.stored_puzzles(),
            groups: dataset.groups(),
            rated: dataset.rated(),
        }
    }

    /// Reads the size of a split of a dataset folder from the headers of its arrays.
    ///
    /// # Errors
    ///
    /// Returns an error if an array is missing, or is not one of integers.
    pub fn read(folder: &Path, split: Split, metadata: &Metadata) -> Result<SplitSize, DataError> {
        let folder = folder.join(split.name());
        let mut size = SplitSize { groups: metadata.total_groups, ..SplitSize::default() };
        for set in &metadata.sets {
            let rows = |array: &str| -> Result<usize, DataError> {
                let file = array_file(&folder, set, array);
                let (reader, length) = reading::open(&file, &reading::ARRAY)
                    .map_err(|reason| DataError::Read { file: file.clone(), reason })?;
                let array = IntegerArray::read(&file, reader, length)?;
                Ok(array.shape().first().copied().unwrap_or(0))
            };
            let before = size.examples;
            size.examples = size.examples.saturating_add(rows("inputs")?);
            size.puzzles = size.puzzles.saturating_add(rows("puzzle_identifiers")?);
            match rows("ratings") {
                Ok(rated) => size.rated = before.saturating_add(rated),
                Err(DataError::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(size)
    }

    /// Returns the bytes of the split in memory, with the order in which training goes through it.
    pub fn bytes(&self, metadata: &Metadata) -> u64 {
        let token = |ignored: Option<i32>| {
            let narrow =
                metadata.vocab_size <= 256 && ignored.is_none_or(|label| u8::try_from(label).is_ok());
            if narrow { 1 } else { size_of::<i32>() }
        };
        let row = metadata.seq_len.saturating_mul(token(None) + token(metadata.ignore_label_id));
        let puzzle = size_of::<i32>() + size_of::<usize>();
        let group = size_of::<usize>() + size_of::<u32>();
        let rating = size_of::<Option<i32>>();
        let parts =
            [(self.examples, row), (self.puzzles, puzzle), (self.groups, group), (self.rated, rating)];
        parts.into_iter().fold(0, |sum: u64, (count, bytes)| {
            sum.saturating_add((count as u64).saturating_mul(bytes as u64))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::SplitSize;
    use crate::data::{Dataset, Metadata, Split};

    #[test]
    fn headers_tell_what_the_rows_tell() {
        let folder = Path::new("tests/fixtures/official-format/arc");
        for split in [Split::Train, Split::Test] {
            let metadata = Metadata::read(folder, split).expect("it can be read").expect("it is there");
            let dataset = Dataset::open(folder, split).expect("it is whole");
            let size = SplitSize::read(folder, split, &metadata).expect("it is whole");
            assert_eq!(size, SplitSize::of(&dataset));
            assert!(size.bytes(&metadata) >= (2 * size.examples * metadata.seq_len) as u64);
        }
    }

    #[test]
    fn a_token_takes_one_byte_where_all_fit_into_it() {
        let metadata = |vocab, ignored| Metadata { ignore_label_id: ignored, ..Metadata::new(vocab, 10) };
        let bytes = |metadata| SplitSize::of_examples(1).bytes(&metadata) - 24;
        assert_eq!(bytes(metadata(256, Some(0))), 20);
        assert_eq!(bytes(metadata(256, Some(-100))), 50, "labels are wide");
        assert_eq!(bytes(metadata(257, None)), 80);
    }
}
