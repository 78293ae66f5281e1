//! What is done to a training row at every draw: a symmetry, or another place on its canvas.
//!
//! A training row of Sudoku or of a maze is another row of the same kind under each symmetry. The question moves, and
//! so does a solution grid. The path of a maze is found anew: which of the shortest paths is the answer depends on what
//! is above and below, so that the path by the rule of hrmc, turned, is seldom the path by that rule. A label that is
//! not by the rule is moved along.
//!
//! A pair of grids of ARC lies anywhere on its canvas, input and output at the same place. A dataset that is stored has
//! one pair of each puzzle in the corner, where all pairs for testing lie. So a draw leaves each pair there as often as
//! that: a puzzle of `n` pairs has them there in one of `n` draws.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::canvas::{ArcPair, CanvasPlace, encode, find};
use super::dataset::Dataset;
use super::dihedral::{DIHEDRAL_IMAGES, dihedral_image};
use super::error::DataError;
use super::kind::PuzzleKind;
use super::maze;
use super::random::Stream;
use super::rules::IGNORED_LABEL;
use super::sudoku::{SudokuSize, SudokuSymmetry};

/// Draws of a symmetry before a row is given unchanged. Each draw is refused only if it shows what is held out, which
/// is rare unless that is a large part of all that there is.
const DRAWS: usize = 100;

/// Shows every training row in a fresh random way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Augment {
    change: RowChange,
    held_out: Arc<BTreeSet<Vec<u8>>>,
}

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowChange {
    /// A symmetry of Sudoku.
    Sudoku(SudokuSize),
    /// A turn or a flip of a maze.
    Maze { side: usize },
    /// A pair of grids of ARC is laid elsewhere.
    Place,
}

impl Augment {
    /// Returns the augmentation of Sudoku of one size.
    pub fn new(size: SudokuSize) -> Augment {
        Augment { change: RowChange::Sudoku(size), held_out: Arc::default() }
    }

    /// Returns the symmetries of puzzles of a kind; `None` if none are known that a row may be shown under.
    pub fn of_kind(kind: PuzzleKind) -> Option<Augment> {
        let change = match kind {
            PuzzleKind::Sudoku(size) => RowChange::Sudoku(size),
            PuzzleKind::Maze { side } => RowChange::Maze { side },
            PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => return None,
        };
        Some(Augment { change, held_out: Arc::default() })
    }

    /// Returns what lays pairs of grids of ARC at other places.
    pub fn places() -> Augment {
        Augment { change: RowChange::Place, held_out: Arc::default() }
    }

    /// Makes sure that training never sees the solution grid of a Sudoku in `dataset`, or a maze in it: a draw that
    /// would show one is drawn again.
    pub fn with_held_out(self, dataset: &Dataset) -> Augment {
        let held_out = (0..dataset.examples()).filter_map(|example| self.key_in(dataset, example)).collect();
        Augment { held_out: Arc::new(held_out), ..self }
    }

    /// Checks that the training data is of this kind and shows nothing that is held out itself.
    pub(super) fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        let (kind, what) = match self.change {
            RowChange::Sudoku(size) => (PuzzleKind::Sudoku(size), format!("Sudoku symmetries for {size}")),
            RowChange::Maze { side } => {
                (PuzzleKind::Maze { side }, format!("symmetries of mazes of {side}x{side}"))
            }
            RowChange::Place => (PuzzleKind::Arc, "other places of grids of ARC".to_owned()),
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
        let Some(example) = (0..dataset.examples()).find(is_held_out) else { return Ok(()) };
        let (array, shown) = match self.change {
            RowChange::Sudoku(_) => ("train/labels", "the solution grid is also that of a held-out puzzle"),
            RowChange::Maze { .. } => ("train/inputs", "the maze is also a held-out one"),
            RowChange::Place => unreachable!("no place is held out"),
        };
        Err(DataError::array_row(array, example, format!("{shown}; remove it from one of the two")))
    }

    /// Changes the inputs and labels of a row, `[S]` each, so that it shows nothing that is held out. Its puzzle has
    /// this many examples.
    pub(super) fn draw(
        &self,
        inputs: &[i32],
        labels: &[i32],
        examples: usize,
        random: &mut Stream,
    ) -> (Vec<i32>, Vec<i32>) {
        for _ in 0..DRAWS {
            let (inputs, labels) = match self.change {
                RowChange::Sudoku(size) => {
                    let symmetry = SudokuSymmetry::draw(size, random);
                    (symmetry.apply(inputs), symmetry.apply(labels))
                }
                RowChange::Maze { .. } => maze_image(inputs, labels, random.below(DIHEDRAL_IMAGES)),
                RowChange::Place => placed(inputs, labels, examples, random),
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
        match self.change {
            RowChange::Sudoku(_) => packed(dataset.labels(example)),
            RowChange::Maze { .. } => packed(dataset.inputs(example)),
            RowChange::Place => None,
        }
    }

    /// Returns what may not be shown if it is that of a held-out row.
    fn key(&self, inputs: &[i32], labels: &[i32]) -> Option<Vec<u8>> {
        match self.change {
            RowChange::Sudoku(_) => packed(labels.iter().copied()),
            RowChange::Maze { .. } => packed(inputs.iter().copied()),
            RowChange::Place => None,
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

/// Lays the grids of a pair at another place, or in the corner; a row that has no grid stays as it is.
fn placed(inputs: &[i32], labels: &[i32], examples: usize, random: &mut Stream) -> (Vec<i32>, Vec<i32>) {
    let Some(input) = find(inputs) else { return (inputs.to_vec(), labels.to_vec()) };
    let pair = ArcPair { input, output: find(labels) };
    let is_in_corner = random.below(examples) == 0;
    let place = if is_in_corner { CanvasPlace::default() } else { CanvasPlace::draw(&pair, random) };
    let mut answer = encode(pair.output.as_ref(), place);
    // What is no part of a grid is ignored, if anything is.
    if labels.contains(&IGNORED_LABEL) {
        answer.iter_mut().filter(|label| **label == 0).for_each(|label| *label = IGNORED_LABEL);
    }
    (encode(Some(&pair.input), place), answer)
}
