//! Puzzles with their answers, before they are a dataset.

use super::error::DataError;
use crate::system::memory;
use crate::units::{bytes, counted};

/// A puzzle and its answer as tokens, both `[S]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What is asked.
    pub question: Vec<i32>,
    /// The whole answer.
    pub answer: Vec<i32>,
    /// How hard it is, where that is known.
    pub rating: Option<i32>,
}

/// Puzzles for training and for testing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuzzleSplits {
    /// Training puzzles.
    pub train: Vec<Pair>,
    /// Test puzzles.
    pub test: Vec<Pair>,
}

/// Refuses to make so many puzzles that memory does not hold them.
pub(super) fn check_room(puzzles: usize, cells: usize) -> Result<(), DataError> {
    let Some(available) = memory::available() else { return Ok(()) };
    // A question and an answer, and what tells equal puzzles.
    let of_one = size_of::<Pair>().saturating_add(cells.saturating_mul(3 * size_of::<i32>()));
    let needed = (puzzles as u64).saturating_mul(of_one as u64);
    if needed <= available.bytes {
        return Ok(());
    }
    Err(DataError::request(format!(
        "{} of {} take {} of memory, and there are {}; ask for fewer",
        counted(puzzles, "puzzle"),
        counted(cells, "cell"),
        bytes(needed),
        bytes(available.bytes),
    )))
}
