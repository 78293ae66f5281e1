//! Sudoku of four sizes: its rules, its symmetries and canonical forms, a solver and a generator.
//!
//! Grids are rows of tokens, `[side * side]`: 1 is a blank cell, 2 and up are the digits 1 and up.

mod canonical;
mod generate;
mod solve;
mod symmetry;

pub use canonical::{canonical_sudoku, sudoku_summary};
pub use generate::{SudokuRequest, generate_sudoku, generate_sudoku_splits};
pub use solve::{Solutions, solve_sudoku};
pub use symmetry::SudokuSymmetry;

use std::fmt;

/// Token of a blank cell.
pub const BLANK: i32 = 1;

/// Token of the digit 0, if there was one: digit `d` is token `DIGIT_ZERO + d`.
pub const DIGIT_ZERO: i32 = 1;

/// Size of a Sudoku.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SudokuSize {
    /// 4x4 with boxes of 2 rows and 2 columns.
    Four,
    /// 6x6 with boxes of 2 rows and 3 columns.
    Six,
    /// 9x9 with boxes of 3 rows and 3 columns.
    Nine,
    /// 16x16 with boxes of 4 rows and 4 columns.
    Sixteen,
}

impl SudokuSize {
    /// All sizes.
    pub const ALL: [SudokuSize; 4] =
        [SudokuSize::Four, SudokuSize::Six, SudokuSize::Nine, SudokuSize::Sixteen];

    /// The sizes that are generated. A full grid of 16x16 takes hours to find by trial.
    pub const GENERATED: [SudokuSize; 3] = [SudokuSize::Four, SudokuSize::Six, SudokuSize::Nine];

    /// Returns the size with a number of cells on one side.
    pub fn from_side(side: usize) -> Option<SudokuSize> {
        SudokuSize::ALL.into_iter().find(|size| size.side() == side)
    }

    /// Returns the cells on one side, which is also the largest digit.
    pub fn side(self) -> usize {
        self.box_rows() * self.box_columns()
    }

    /// Returns the cells of the grid.
    pub fn cells(self) -> usize {
        self.side() * self.side()
    }

    /// Returns the rows in a box.
    pub fn box_rows(self) -> usize {
        match self {
            SudokuSize::Four | SudokuSize::Six => 2,
            SudokuSize::Nine => 3,
            SudokuSize::Sixteen => 4,
        }
    }

    /// Returns the columns in a box.
    pub fn box_columns(self) -> usize {
        match self {
            SudokuSize::Four => 2,
            SudokuSize::Six | SudokuSize::Nine => 3,
            SudokuSize::Sixteen => 4,
        }
    }

    /// Returns the box of a cell, counted row by row from the top left.
    pub(crate) fn box_of(self, row: usize, column: usize) -> usize {
        row / self.box_rows() * self.box_rows() + column / self.box_columns()
    }

    /// Returns the fewest givens with which a puzzle can have exactly one solution.
    fn fewest_givens(self) -> usize {
        match self {
            SudokuSize::Four => 4,
            SudokuSize::Six => 8,
            SudokuSize::Nine => 17,
            SudokuSize::Sixteen => 55,
        }
    }
}

impl fmt::Display for SudokuSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{side}x{side}", side = self.side())
    }
}

/// Two cells that hold the same digit and share a row, column or box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub first: usize,
    pub second: usize,
    /// `row`, `column` or `box`.
    pub unit: &'static str,
}

/// Returns a pair of cells that break the rules, ignoring cells without a digit.
pub(crate) fn find_conflict(size: SudokuSize, grid: &[i32]) -> Option<Conflict> {
    conflicts(size, grid).next()
}

/// Yields every pair of cells that break the rules, ignoring cells without a digit.
pub(crate) fn conflicts(size: SudokuSize, grid: &[i32]) -> impl Iterator<Item = Conflict> {
    let side = size.side();
    let conflict = move |first: usize, second: usize| {
        let (row, column) = (second / side, second % side);
        let (other_row, other_column) = (first / side, first % side);
        let unit = if row == other_row {
            "row"
        } else if column == other_column {
            "column"
        } else if size.box_of(row, column) == size.box_of(other_row, other_column) {
            "box"
        } else {
            return None;
        };
        Some(Conflict { first, second, unit })
    };
    (0..size.cells()).filter(move |&second| is_digit(size, grid[second])).flat_map(move |second| {
        let equal = (0..second).filter(move |&first| grid[first] == grid[second]);
        equal.filter_map(move |first| conflict(first, second))
    })
}

/// Returns the digit that a character stands for: 1 to 9, then letters from A for 10.
pub(crate) fn digit(size: SudokuSize, character: char) -> Option<i32> {
    let digit = match character {
        '1'..='9' => character as i32 - '0' as i32,
        'A'..='G' => character as i32 - 'A' as i32 + 10,
        'a'..='g' => character as i32 - 'a' as i32 + 10,
        _ => return None,
    };
    (digit <= size.side() as i32).then_some(digit)
}

/// Returns the character of a digit.
pub(crate) fn character(digit: i32) -> char {
    char::from_digit(digit as u32, 17).map_or('?', |character| character.to_ascii_uppercase())
}

pub(crate) fn is_digit(size: SudokuSize, token: i32) -> bool {
    token > DIGIT_ZERO && token <= DIGIT_ZERO + size.side() as i32
}

/// Returns whether a grid is complete and keeps all rules.
pub fn is_solved_sudoku(size: SudokuSize, grid: &[i32]) -> bool {
    grid.len() == size.cells()
        && grid.iter().all(|&token| is_digit(size, token))
        && find_conflict(size, grid).is_none()
}

/// Returns how many digits a question gives.
pub fn count_givens(size: SudokuSize, question: &[i32]) -> usize {
    question.iter().filter(|&&token| is_digit(size, token)).count()
}

/// Returns how many rules an answer breaks.
///
/// For each row, column and box and each digit there is a rule: the unit holds the digit. For each given there is
/// another: it stands. An answer that breaks none is a solution. A wrong or empty cell in an otherwise right grid
/// breaks three rules, those of its row, column and box that miss the digit.
///
/// # Panics
///
/// If question or answer do not have the cells of the size.
pub fn broken_rules(size: SudokuSize, question: &[i32], answer: &[i32]) -> usize {
    assert_eq!(question.len(), size.cells(), "a question has all its cells");
    assert_eq!(answer.len(), size.cells(), "an answer has all its cells");
    let side = size.side();
    // The digits of each unit as bits: rows, then columns, then boxes.
    let mut held = vec![0_u32; 3 * side];
    for (cell, &token) in answer.iter().enumerate().filter(|&(_, &token)| is_digit(size, token)) {
        let (row, column) = (cell / side, cell % side);
        for unit in [row, side + column, 2 * side + size.box_of(row, column)] {
            held[unit] |= 1 << (token - DIGIT_ZERO);
        }
    }
    let missing: usize = held.iter().map(|digits| side - digits.count_ones() as usize).sum();
    let changed =
        question.iter().zip(answer).filter(|&(&given, &token)| given != BLANK && given != token).count();
    missing + changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_unit() {
        let conflict = |cells: [i32; 16]| find_conflict(SudokuSize::Four, &cells).map(|found| found.unit);
        assert_eq!(conflict([2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Some("row"));
        assert_eq!(conflict([2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]), Some("column"));
        assert_eq!(conflict([2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Some("box"));
        assert_eq!(conflict([2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2]), None);
    }

    #[test]
    fn boxes_of_6x6_have_two_rows_and_three_columns() {
        let boxes: Vec<usize> = (0..36).map(|cell| SudokuSize::Six.box_of(cell / 6, cell % 6)).collect();
        assert_eq!(boxes[..6], [0, 0, 0, 1, 1, 1]);
        assert_eq!(boxes[6..12], [0, 0, 0, 1, 1, 1]);
        assert_eq!(boxes[12..18], [2, 2, 2, 3, 3, 3]);
        assert_eq!(boxes[30..], [4, 4, 4, 5, 5, 5]);
    }

    #[test]
    fn an_incomplete_grid_is_not_solved() {
        let mut grid = vec![2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2];
        assert!(is_solved_sudoku(SudokuSize::Four, &grid));
        grid[7] = BLANK;
        assert!(!is_solved_sudoku(SudokuSize::Four, &grid));
    }
}
