//! What the rows of a dataset are.

use super::sudoku::SudokuSize;

/// What the rows of a dataset are: it decides how they are read, drawn and judged.
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
    /// A grid of ARC on a canvas of [`ARC_SIDE`] x [`ARC_SIDE`]. Tokens: 0 padding, 1 end of the grid, 2 and up the
    /// colours 0 and up.
    Arc,
    /// A grid of tokens whose meaning hrmc does not know.
    Grid {
        /// Cells from top to bottom.
        rows: usize,
        /// Cells from left to right.
        columns: usize,
        /// Number of different tokens.
        vocab: usize,
    },
    /// A row of tokens whose meaning hrmc does not know.
    Tokens {
        /// Tokens in a row.
        length: usize,
        /// Number of different tokens.
        vocab: usize,
    },
}

/// Cells on one side of the canvas on which grids of ARC lie.
pub const ARC_SIDE: usize = 30;

/// Tokens of a row of ARC: padding, end of the grid and ten colours.
pub const ARC_VOCAB: usize = 12;

impl PuzzleKind {
    /// Returns the cells of the grid from top to bottom, and from left to right.
    pub fn shape(self) -> (usize, usize) {
        match self {
            PuzzleKind::Sudoku(size) => (size.side(), size.side()),
            PuzzleKind::Maze { side } => (side, side),
            PuzzleKind::Arc => (ARC_SIDE, ARC_SIDE),
            PuzzleKind::Grid { rows, columns, .. } => (rows, columns),
            PuzzleKind::Tokens { length, .. } => (1, length),
        }
    }

    /// Returns the number of tokens in a row, `S`.
    pub fn seq_len(self) -> usize {
        let (rows, columns) = self.shape();
        rows * columns
    }

    /// Returns the number of different tokens, `V`.
    pub fn vocab_size(self) -> usize {
        match self {
            PuzzleKind::Sudoku(size) => size.side() + 2,
            PuzzleKind::Maze { .. } => 6,
            PuzzleKind::Arc => ARC_VOCAB,
            PuzzleKind::Grid { vocab, .. } | PuzzleKind::Tokens { vocab, .. } => vocab,
        }
    }

    /// Returns the word for it in `dataset.json`.
    pub fn family(self) -> &'static str {
        match self {
            PuzzleKind::Sudoku(_) => "sudoku",
            PuzzleKind::Maze { .. } => "maze",
            PuzzleKind::Arc => "arc",
            PuzzleKind::Grid { .. } => "grid",
            PuzzleKind::Tokens { .. } => "tokens",
        }
    }

    /// Returns whether there are rules by which an answer is right or wrong without a label.
    pub fn has_rules(self) -> bool {
        matches!(self, PuzzleKind::Sudoku(_) | PuzzleKind::Maze { .. })
    }

    /// Returns the kind with this word in `dataset.json`, of rows of `length` tokens below `vocab`; a grid has the
    /// `columns` that are given, or else is square.
    ///
    /// # Errors
    ///
    /// Returns why rows of these sizes are not of this kind; `Ok(None)` for a word that is not one of hrmc's.
    pub(crate) fn named(
        word: &str,
        length: usize,
        vocab: usize,
        columns: Option<usize>,
    ) -> Result<Option<PuzzleKind>, String> {
        let side = length.isqrt();
        let is_square = side * side == length;
        let kind = match word {
            "sudoku" => SudokuSize::from_side(side).filter(|_| is_square).map(PuzzleKind::Sudoku),
            "maze" => is_square.then_some(PuzzleKind::Maze { side }),
            "arc" => Some(PuzzleKind::Arc),
            "grid" => {
                let columns = columns.or(is_square.then_some(side)).unwrap_or(0);
                let is_whole = columns > 0 && length.is_multiple_of(columns);
                is_whole.then(|| PuzzleKind::Grid { rows: length / columns, columns, vocab })
            }
            "tokens" => Some(PuzzleKind::Tokens { length, vocab }),
            _ => return Ok(None),
        };
        let fits = |kind: &PuzzleKind| kind.seq_len() == length && kind.vocab_size() == vocab;
        match kind.filter(fits) {
            Some(kind) => Ok(Some(kind)),
            None => Err(format!(
                "`kind` is `{word}`, but rows of {length} tokens of {vocab} kinds are {}",
                match word {
                    "sudoku" => "no Sudoku, which has 16, 36, 81 or 256 cells and two kinds more than a side",
                    "maze" => "no maze, which is square and has 6 kinds of tokens",
                    "arc" => "no grids of ARC, which have 900 tokens of 12 kinds",
                    _ => "not whole rows of a grid; write the `columns` that it has",
                }
            )),
        }
    }

    /// Returns the kind with rules that rows of these sizes may be; the rows themselves may be something else. One pair
    /// of sizes is ambiguous: 4x4 Sudoku and 4x4 mazes both have 16 tokens of 6 kinds, and that is taken for Sudoku.
    pub(crate) fn of_sizes(length: usize, vocab: usize) -> Option<PuzzleKind> {
        let of = |word| PuzzleKind::named(word, length, vocab, None).ok().flatten();
        of("sudoku").or_else(|| of("maze"))
    }

    /// Returns the kinds that rows of these sizes can be, those that say most first.
    pub(super) fn candidates(length: usize, vocab: usize) -> impl Iterator<Item = PuzzleKind> {
        let of = move |word| PuzzleKind::named(word, length, vocab, None).ok().flatten();
        ["sudoku", "maze", "arc"].into_iter().filter_map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_suggest_puzzles_with_rules() {
        let kinds = [
            PuzzleKind::Sudoku(SudokuSize::Four),
            PuzzleKind::Sudoku(SudokuSize::Six),
            PuzzleKind::Sudoku(SudokuSize::Nine),
            PuzzleKind::Sudoku(SudokuSize::Sixteen),
            PuzzleKind::Maze { side: 6 },
            PuzzleKind::Maze { side: 30 },
        ];
        for kind in kinds {
            assert_eq!(PuzzleKind::of_sizes(kind.seq_len(), kind.vocab_size()), Some(kind));
        }
        assert_eq!(PuzzleKind::of_sizes(900, 12), None);
        assert_eq!(PuzzleKind::of_sizes(899, 6), None);
        let ambiguous: Vec<PuzzleKind> = PuzzleKind::candidates(16, 6).collect();
        assert_eq!(ambiguous, [PuzzleKind::Sudoku(SudokuSize::Four), PuzzleKind::Maze { side: 4 }]);
    }

    #[test]
    fn a_word_that_does_not_fit_its_sizes_is_refused() {
        let named = |word, length, vocab, columns| PuzzleKind::named(word, length, vocab, columns);
        assert_eq!(
            named("grid", 12, 5, Some(4)),
            Ok(Some(PuzzleKind::Grid { rows: 3, columns: 4, vocab: 5 }))
        );
        assert_eq!(named("tokens", 12, 5, None), Ok(Some(PuzzleKind::Tokens { length: 12, vocab: 5 })));
        assert_eq!(named("words", 12, 5, None), Ok(None), "another tool may use the key");
        for (word, length, vocab, columns) in
            [("sudoku", 81, 12, None), ("maze", 15, 6, None), ("arc", 81, 12, None), ("grid", 12, 5, None)]
        {
            let message = named(word, length, vocab, columns).expect_err("it does not fit");
            assert!(message.starts_with(&format!("`kind` is `{word}`, but rows of {length}")), "{message}");
        }
    }
}
