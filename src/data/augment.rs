//! Sudoku symmetries at every draw.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dataset::Dataset;
use super::error::DataError;
use super::kind::PuzzleKind;
use super::random::Stream;
use super::sudoku::{SudokuSize, SudokuSymmetry};

/// Draws of a symmetry before a row is given unchanged. Each draw is refused only if it shows a held-out
/// solution, which is rare unless the held-out grids are a large part of all grids.
const DRAWS: usize = 100;

/// Shows every training row under a fresh random symmetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Augment {
    size: SudokuSize,
    held_out: Arc<BTreeSet<Vec<u8>>>,
}

impl Augment {
    /// Returns the augmentation of Sudoku of one size.
    pub fn new(size: SudokuSize) -> Augment {
        Augment { size, held_out: Arc::default() }
    }

    /// Makes sure that training never sees the solution grid of a puzzle in `dataset`: a draw that would show
    /// one is drawn again.
    pub fn with_held_out(self, dataset: &Dataset) -> Augment {
        let held_out = (0..dataset.examples()).map(|example| key(dataset.labels(example))).collect();
        Augment { held_out: Arc::new(held_out), ..self }
    }

    /// Checks that the training data is Sudoku of this size and has no held-out solution grid itself.
    pub(super) fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        if dataset.kind() != PuzzleKind::Sudoku(self.size) {
            return Err(DataError::request(format!(
                "Sudoku symmetries for {} do not fit the training data, which has rows of {} tokens and a \
                 vocabulary of {}",
                self.size,
                dataset.metadata().seq_len,
                dataset.metadata().vocab_size
            )));
        }
        if self.held_out.is_empty() {
            return Ok(());
        }
        let mut shared =
            (0..dataset.examples()).filter(|&example| self.held_out.contains(&key(dataset.labels(example))));
        match shared.next() {
            None => Ok(()),
            Some(example) => Err(DataError::array_row(
                "train/labels",
                example,
                "the solution grid is also that of a held-out puzzle; remove it from one of the two",
            )),
        }
    }

    /// Draws a symmetry that shows no held-out solution grid, and applies it to the inputs and labels of a row,
    /// `[S]` each.
    pub(super) fn draw(&self, inputs: &[i32], labels: &[i32], random: &mut Stream) -> (Vec<i32>, Vec<i32>) {
        for _ in 0..DRAWS {
            let symmetry = SudokuSymmetry::draw(self.size, random);
            let moved = symmetry.apply(labels);
            if self.held_out.is_empty() || !self.held_out.contains(&key(moved.iter().copied())) {
                return (symmetry.apply(inputs), moved);
            }
        }
        (inputs.to_vec(), labels.to_vec())
    }
}

/// Packs a grid of labels; an ignored label, which no solution grid has, becomes 0.
fn key(labels: impl Iterator<Item = i32>) -> Vec<u8> {
    labels.map(|label| u8::try_from(label).unwrap_or(0)).collect()
}
