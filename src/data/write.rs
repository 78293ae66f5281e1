//! Writing datasets that are in memory.

use std::ops::ControlFlow;
use std::path::Path;

use super::dataset::{Dataset, Split};
use super::error::DataError;
use super::size::SplitSize;
use super::writer::{DatasetWriter, Existing, TokenType};

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
    let writer = DatasetWriter::create(folder.as_ref(), existing)?;
    for split in splits {
        let written = write_split(&writer, split, &mut || ControlFlow::Continue(()))?;
        debug_assert!(written.is_continue(), "nothing stops it");
    }
    writer.finish(identifiers)
}

/// Writes a split, and returns what it holds. `may_go_on` is called before every group, and may stop the work there.
///
/// # Errors
///
/// As [`write_dataset`].
pub(super) fn write_split(
    writer: &DatasetWriter,
    split: &SplitToWrite<'_>,
    may_go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<(), SplitSize>, DataError> {
    let dataset = split.dataset;
    let metadata = dataset.metadata();
    let mut rows = writer.begin_split(split.split, metadata.clone(), split.tokens)?;
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for set in 0..metadata.sets.len() {
        if set > 0 {
            rows.next_set()?;
        }
        for group in dataset.set(set).groups {
            if may_go_on().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            for puzzle in dataset.puzzles_of(group) {
                for example in dataset.examples_of(puzzle) {
                    inputs.clear();
                    inputs.extend(dataset.inputs(example));
                    labels.clear();
                    labels.extend(dataset.stored_labels(example));
                    rows.add_example(&inputs, &labels)?;
                    if let Some(rating) = dataset.rating(example) {
                        rows.rate_example(rating);
                    }
                }
                rows.end_puzzle(dataset.identifier(puzzle))?;
            }
            rows.end_group()?;
        }
    }
    rows.finish(metadata.num_puzzle_identifiers).map(ControlFlow::Continue)
}
