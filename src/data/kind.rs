//! Which puzzle the rows of a dataset are.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Metadata;

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
