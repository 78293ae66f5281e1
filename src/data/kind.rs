//! Which puzzle the rows of a dataset are.

use super::dataset::Metadata;
use super::sudoku::SudokuSize;

/// A puzzle that hrmc can read, check, solve and draw.
///
/// # Examples
///
/// ```
/// use hrmc::{PuzzleKind, Question};
///
/// let maze = PuzzleKind::Maze { side: 4 };
/// let question = Question::parse(maze, "S..#\n#.##\n#..#\n##.G")?;
/// let answer = Question::parse(maze, "S..#\n#.##\n#..#\n##.G")?.tokens;
/// assert!(!maze.accepts(&question.tokens, &answer), "no path is drawn");
/// print!("{}", maze.draw(&question.tokens, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PuzzleKind {
    /// Sudoku. Tokens: 0 padding, 1 blank, 2 and up the digits 1 and up.
    Sudoku(SudokuSize),
    /// A square maze. Tokens: 0 padding, 1 wall, 2 open, 3 start, 4 goal, 5 path.
    Maze {
        /// Cells on one side.
        side: usize,
    },
}

impl PuzzleKind {
    /// Returns the kind of puzzle in a dataset, or `None` where hrmc does not know it (ARC, for example).
    ///
    /// The size of a row and of the vocabulary decide. One pair of sizes is ambiguous: 4x4 Sudoku and 4x4
    /// mazes both have 16 tokens of 6 kinds. That is Sudoku, unless the dataset has `"kind": "maze"`.
    pub fn of(metadata: &Metadata) -> Option<PuzzleKind> {
        let side = metadata.seq_len.isqrt();
        if side * side != metadata.seq_len {
            return None;
        }
        let sudoku = SudokuSize::from_side(side)
            .filter(|_| metadata.vocab_size == side + 2 && metadata.kind.as_deref() != Some("maze"));
        let maze = (metadata.vocab_size == 6).then_some(PuzzleKind::Maze { side });
        sudoku.map(PuzzleKind::Sudoku).or(maze)
    }

    /// Returns the cells on one side of the grid.
    pub fn side(self) -> usize {
        match self {
            PuzzleKind::Sudoku(size) => size.side(),
            PuzzleKind::Maze { side } => side,
        }
    }

    /// Returns the number of tokens in a row, `S`.
    pub fn seq_len(self) -> usize {
        self.side() * self.side()
    }

    /// Returns the number of different tokens, `V`.
    pub fn vocab_size(self) -> usize {
        match self {
            PuzzleKind::Sudoku(size) => size.side() + 2,
            PuzzleKind::Maze { .. } => 6,
        }
    }

    /// Returns the name of the family: `sudoku` or `maze`.
    pub fn family(self) -> &'static str {
        match self {
            PuzzleKind::Sudoku(_) => "sudoku",
            PuzzleKind::Maze { .. } => "maze",
        }
    }
}

/// A puzzle and its answer as tokens, both `[S]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What is asked.
    pub question: Vec<i32>,
    /// The whole answer.
    pub answer: Vec<i32>,
}

/// Puzzles for training and for testing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuzzleSplits {
    /// Training puzzles.
    pub train: Vec<Pair>,
    /// Test puzzles.
    pub test: Vec<Pair>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_from_the_sizes() {
        let kinds = [
            PuzzleKind::Sudoku(SudokuSize::Four),
            PuzzleKind::Sudoku(SudokuSize::Six),
            PuzzleKind::Sudoku(SudokuSize::Nine),
            PuzzleKind::Maze { side: 4 },
            PuzzleKind::Maze { side: 6 },
            PuzzleKind::Maze { side: 30 },
        ];
        for kind in kinds {
            assert_eq!(PuzzleKind::of(&Metadata::for_kind(kind)), Some(kind));
        }
    }

    #[test]
    fn arc_is_not_a_kind() {
        assert_eq!(PuzzleKind::of(&Metadata::new(12, 900)), None);
        assert_eq!(PuzzleKind::of(&Metadata::new(6, 899)), None);
    }
}
