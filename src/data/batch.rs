//! Batches for evaluation.

use super::dataset::Dataset;
use super::rules::IGNORED_LABEL;

/// Rows for one step, all of one set. `B` is the batch size, padding rows included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Tokens, `[B * S]`.
    pub inputs: Vec<i32>,
    /// Labels, `[B * S]`, with [`IGNORED_LABEL`] where nothing is asked for.
    pub labels: Vec<i32>,
    /// Puzzle identifiers, `[B]`.
    pub puzzles: Vec<i32>,
    /// Rows that are not padding; they come first.
    pub real_rows: usize,
    /// Index of the set in the metadata.
    pub set: usize,
}

/// Goes once through a dataset, in file order.
///
/// Every batch has the full size. The last one of a set is filled with rows of padding, whose labels are
/// all ignored and whose puzzle is the blank one. No example is left out or given twice.
#[derive(Debug, Clone)]
pub struct TestBatches<'a> {
    dataset: &'a Dataset,
    batch_size: usize,
    set: usize,
    next_example: usize,
}

impl<'a> TestBatches<'a> {
    /// Begins at the first example.
    ///
    /// # Panics
    ///
    /// If `batch_size` is 0.
    pub fn new(dataset: &'a Dataset, batch_size: usize) -> TestBatches<'a> {
        assert!(batch_size > 0, "a batch has at least one row");
        TestBatches { dataset, batch_size, set: 0, next_example: 0 }
    }
}

impl Iterator for TestBatches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let metadata = self.dataset.metadata();
        let end = loop {
            if self.set == metadata.sets.len() {
                return None;
            }
            let end = self.dataset.set(self.set).examples.end;
            if self.next_example < end {
                break end;
            }
            self.set += 1;
        };

        let examples = self.next_example..end.min(self.next_example + self.batch_size);
        let real_rows = examples.len();
        self.next_example = examples.end;

        let tokens = self.batch_size * metadata.seq_len;
        let mut inputs = Vec::with_capacity(tokens);
        let mut labels = Vec::with_capacity(tokens);
        let mut puzzles = Vec::with_capacity(self.batch_size);
        for example in examples {
            inputs.extend(self.dataset.inputs(example));
            labels.extend(self.dataset.labels(example));
            puzzles.push(self.dataset.identifier(self.dataset.puzzle_of(example)));
        }
        inputs.resize(tokens, metadata.pad_id);
        labels.resize(tokens, IGNORED_LABEL);
        puzzles.resize(self.batch_size, metadata.blank_identifier_id);
        Some(Batch { inputs, labels, puzzles, real_rows, set: self.set })
    }
}
