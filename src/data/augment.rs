//! Symmetries at every draw.
//!
//! A training row of Sudoku or of a maze is another row of the same kind under each symmetry. The question moves, and
//! so does a solution grid. The path of a maze is found anew: which of the shortest paths is the answer depends on what
//! is above and below, so that the path by the rule of hrmc, turned, is seldom the path by that rule. A label that is
//! not by the rule is moved along.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dataset::Dataset;
use super::dihedral::{DIHEDRAL_IMAGES, dihedral_image};
use super::error::DataError;
use super::kind::PuzzleKind;
use super::maze;
use super::random::Stream;
use super::sudoku::{SudokuSize, SudokuSymmetry};

/// Draws of a symmetry before a row is given unchanged. Each draw is refused only if it shows what is held out, which
/// is rare unless that is a large part of all that there is.
const DRAWS: usize = 100;

/// Shows every training row under a fresh random symmetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Augment {
    puzzle: SymmetricPuzzle,
    held_out: Arc<BTreeSet<Vec<u8>>>,
}

/// A puzzle whose symmetries are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SymmetricPuzzle {
    Sudoku(SudokuSize),
    Maze { side: usize },
}

impl Augment {
    /// Returns the augmentation of Sudoku of one size.
    pub fn new(size: SudokuSize) -> Augment {
        Augment { puzzle: SymmetricPuzzle::Sudoku(size), held_out: Arc::default() }
    }

    /// Returns the augmentation of puzzles of a kind; `None` if no symmetries are known of it.
    pub fn of_kind(kind: PuzzleKind) -> Option<Augment> {
        let puzzle = match kind {
            PuzzleKind::Sudoku(size) => SymmetricPuzzle::Sudoku(size),
            PuzzleKind::Maze { side } => SymmetricPuzzle::Maze { side },
            PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => return None,
        };
        Some(Augment { puzzle, held_out: Arc::default() })
    }

    /// Makes sure that training never sees the solution grid of a Sudoku in `dataset`, or a maze in it: a draw that
    /// would show one is drawn again.
    pub fn with_held_out(self, dataset: &Dataset) -> Augment {
        let held_out = (0..dataset.examples()).filter_map(|example| self.key_in(dataset, example)).collect();
        Augment { held_out: Arc::new(held_out), ..self }
    }

    /// Checks that the training data is of this kind and shows nothing that is held out itself.
    pub(super) fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        let (kind, what) = match self.puzzle {
            SymmetricPuzzle::Sudoku(size) => {
                (PuzzleKind::Sudoku(size), format!("Sudoku symmetries for {size}"))
            }
            SymmetricPuzzle::Maze { side } => {
                (PuzzleKind::Maze { side }, format!("symmetries of mazes of {side}x{side}"))
            }
        };
        if dataset.kind() != kind {
            return Err(DataError::request(format!(
                "{what} do not fit the training data, which has rows of {} tokens and a vocabulary of {}",
                dataset.metadata().seq_len,
                dataset.metadata().vocab_size
            )));
        }
        if self.held_out.is_empty() {
            return Ok(());
        }
        let is_held_out = |example: &usize| self.holds_out(self.key_in(dataset, *example));
        let (array, shown) = match self.puzzle {
            SymmetricPuzzle::Sudoku(_) => {
                ("train/labels", "the solution grid is also that of a held-out puzzle")
            }
            SymmetricPuzzle::Maze { .. } => ("train/inputs", "the maze is also a held-out one"),
        };
        match (0..dataset.examples()).find(is_held_out) {
            None => Ok(()),
            Some(example) => {
                Err(DataError::array_row(array, example, format!("{shown}; remove it from one of the two")))
            }
        }
    }

    /// Draws a symmetry that shows nothing that is held out, and applies it to the inputs and labels of a row, both
    /// `[S]`.
    pub(super) fn draw(&self, inputs: &[i32], labels: &[i32], random: &mut Stream) -> (Vec<i32>, Vec<i32>) {
        for _ in 0..DRAWS {
            let (inputs, labels) = match self.puzzle {
                SymmetricPuzzle::Sudoku(size) => {
                    let symmetry = SudokuSymmetry::draw(size, random);
                    (symmetry.apply(inputs), symmetry.apply(labels))
                }
                SymmetricPuzzle::Maze { .. } => maze_image(inputs, labels, random.below(DIHEDRAL_IMAGES)),
            };
            if self.held_out.is_empty() || !self.holds_out(self.key(&inputs, &labels)) {
                return (inputs, labels);
            }
        }
        (inputs.to_vec(), labels.to_vec())
    }

    fn holds_out(&self, key: Option<Vec<u8>>) -> bool {
        key.is_some_and(|key| self.held_out.contains(&key))
    }

    fn key_in(&self, dataset: &Dataset, example: usize) -> Option<Vec<u8>> {
        match self.puzzle {
            SymmetricPuzzle::Sudoku(_) => packed(dataset.labels(example)),
            SymmetricPuzzle::Maze { .. } => packed(dataset.inputs(example)),
        }
    }

    /// Returns what may not be shown if it is that of a held-out row.
    fn key(&self, inputs: &[i32], labels: &[i32]) -> Option<Vec<u8>> {
        match self.puzzle {
            SymmetricPuzzle::Sudoku(_) => packed(labels.iter().copied()),
            SymmetricPuzzle::Maze { .. } => packed(inputs.iter().copied()),
        }
    }
}

/// Packs a row; `None` for one with an ignored label, which is no solution grid.
fn packed(tokens: impl Iterator<Item = i32>) -> Option<Vec<u8>> {
    tokens.map(|token| u8::try_from(token).ok()).collect()
}

/// Returns an image of a maze, with the path by the rule if its labels are that path, else with its labels moved along.
fn maze_image(inputs: &[i32], labels: &[i32], image: usize) -> (Vec<i32>, Vec<i32>) {
    let question = dihedral_image(inputs, image);
    let by_rule = maze::check_question(inputs).is_ok()
        && maze::solve_maze(inputs).is_some_and(|answer| answer == labels);
    let path = if by_rule { maze::solve_maze(&question) } else { None };
    let labels = path.unwrap_or_else(|| dihedral_image(labels, image));
    (question, labels)
}
