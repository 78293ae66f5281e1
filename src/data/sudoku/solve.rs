//! Backtracking over the blank cell with the fewest candidates, candidates kept as bit masks. Puzzles of somebody else
//! are solved by the fewest choices of any sort, since some of them would take hours otherwise.

use super::{BLANK, DIGIT_ZERO, SudokuSize, find_conflict, is_digit};
use crate::data::random::Stream;

/// How many solutions a puzzle has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Solutions {
    /// It contradicts itself.
    None,
    /// Exactly one, given as tokens.
    One(Vec<i32>),
    /// Two or more.
    Many,
    /// Not known: the search was given up.
    Unknown,
}

/// Choices after which a search is given up. A puzzle that was made for people takes some hundreds; this takes a tenth
/// of a second.
const MOST_CHOICES: usize = 100_000;

/// Solves a Sudoku and tells whether its solution is the only one.
///
/// # Panics
///
/// If `question` is not a grid of this size made of blanks and digits.
pub fn solve_sudoku(size: SudokuSize, question: &[i32]) -> Solutions {
    assert_eq!(question.len(), size.cells(), "a grid has all its cells");
    assert!(
        question.iter().all(|&token| token == BLANK || is_digit(size, token)),
        "a question has blanks and digits only"
    );
    if find_conflict(size, question).is_some() {
        return Solutions::None;
    }
    let mut solutions = Vec::new();
    let mut choices_left = MOST_CHOICES;
    Search::new(size, question).visit_by_fewest_choices(&mut choices_left, &mut |grid| {
        solutions.push(grid.to_vec());
        solutions.len() == 2
    });
    match solutions.len() {
        0 | 1 if choices_left == 0 => Solutions::Unknown,
        0 => Solutions::None,
        1 => Solutions::One(solutions.remove(0)),
        _ => Solutions::Many,
    }
}

/// Digits of the largest Sudoku.
const MOST_DIGITS: usize = 16;

/// A partly filled grid without conflicts. In the masks, bit `d - 1` stands for digit `d`.
pub(super) struct Search {
    size: SudokuSize,
    grid: Vec<i32>,
    used_in_row: [u32; MOST_DIGITS],
    used_in_column: [u32; MOST_DIGITS],
    used_in_box: [u32; MOST_DIGITS],
}

impl Search {
    /// Begins with a grid without conflicts.
    pub(super) fn new(size: SudokuSize, grid: &[i32]) -> Search {
        let mut search = Search {
            size,
            grid: vec![BLANK; size.cells()],
            used_in_row: [0; MOST_DIGITS],
            used_in_column: [0; MOST_DIGITS],
            used_in_box: [0; MOST_DIGITS],
        };
        for (cell, &token) in grid.iter().enumerate() {
            if token != BLANK {
                search.place(cell, 1 << (token - DIGIT_ZERO - 1));
            }
        }
        search
    }

    pub(super) fn grid(&self) -> &[i32] {
        &self.grid
    }

    fn toggle(&mut self, cell: usize, bit: u32) {
        let (row, column) = (cell / self.size.side(), cell % self.size.side());
        self.used_in_row[row] ^= bit;
        self.used_in_column[column] ^= bit;
        self.used_in_box[self.size.box_of(row, column)] ^= bit;
    }

    fn place(&mut self, cell: usize, bit: u32) {
        self.grid[cell] = bit.trailing_zeros() as i32 + 1 + DIGIT_ZERO;
        self.toggle(cell, bit);
    }

    /// Makes a cell blank and returns the bit of the digit that it had.
    fn clear(&mut self, cell: usize) -> u32 {
        let bit = 1 << (self.grid[cell] - DIGIT_ZERO - 1);
        self.grid[cell] = BLANK;
        self.toggle(cell, bit);
        bit
    }

    fn candidates(&self, cell: usize) -> u32 {
        let (row, column) = (cell / self.size.side(), cell % self.size.side());
        let used = self.used_in_row[row]
            | self.used_in_column[column]
            | self.used_in_box[self.size.box_of(row, column)];
        !used & ((1 << self.size.side()) - 1)
    }

    /// Returns the blank cell with the fewest candidates, and the candidates.
    fn tightest_cell(&self) -> Option<(usize, u32)> {
        let mut tightest: Option<(usize, u32)> = None;
        for cell in (0..self.grid.len()).filter(|&cell| self.grid[cell] == BLANK) {
            let candidates = self.candidates(cell);
            if tightest.is_none_or(|(_, fewest)| candidates.count_ones() < fewest.count_ones()) {
                tightest = Some((cell, candidates));
                if candidates.count_ones() <= 1 {
                    break;
                }
            }
        }
        tightest
    }

    /// Shows every solution until `stop` returns true, and returns whether it did. The grid is as before
    /// afterwards, except that a solution at which the search stopped stays in it.
    pub(super) fn visit(&mut self, stop: &mut impl FnMut(&[i32]) -> bool) -> bool {
        let Some((cell, mut candidates)) = self.tightest_cell() else {
            return stop(&self.grid);
        };
        while candidates != 0 {
            let bit = candidates & candidates.wrapping_neg();
            candidates ^= bit;
            self.place(cell, bit);
            if self.visit(stop) {
                return true;
            }
            self.clear(cell);
        }
        false
    }

    /// As [`Search::visit`], in another order: what has the fewest choices is decided first, be it the digit of a cell
    /// or the place of a digit in a row, a column or a box. Ends when no choices are left.
    fn visit_by_fewest_choices(
        &mut self,
        choices_left: &mut usize,
        stop: &mut impl FnMut(&[i32]) -> bool,
    ) -> bool {
        let Some(choices) = self.fewest_choices() else {
            return stop(&self.grid);
        };
        for (cell, bit) in choices {
            *choices_left = choices_left.saturating_sub(1);
            if *choices_left == 0 {
                return true;
            }
            self.place(cell, bit);
            if self.visit_by_fewest_choices(choices_left, stop) {
                return true;
            }
            self.clear(cell);
        }
        false
    }

    /// Returns the cells and digits of which exactly one is right, as few as can be; `None` for a full grid.
    fn fewest_choices(&self) -> Option<Vec<(usize, u32)>> {
        let side = self.size.side();
        let bits_of = |mask: u32| (0..side).map(|digit| 1 << digit).filter(move |bit| mask & bit != 0);
        let (tightest, candidates) = self.tightest_cell()?;
        let mut fewest = candidates.count_ones() as usize;
        let of_cell = || bits_of(candidates).map(|bit| (tightest, bit)).collect();
        if fewest <= 1 {
            return Some(of_cell());
        }
        // Cells where a digit may go, for each row, column and box.
        let mut places: [[[usize; MOST_DIGITS]; MOST_DIGITS]; 3] = Default::default();
        let units = |cell: usize| {
            let (row, column) = (cell / side, cell % side);
            [row, column, self.size.box_of(row, column)]
        };
        let blank: Vec<(usize, u32)> = (0..self.grid.len())
            .filter(|&cell| self.grid[cell] == BLANK)
            .map(|cell| (cell, self.candidates(cell)))
            .collect();
        for &(cell, mask) in &blank {
            for (sort, unit) in units(cell).into_iter().enumerate() {
                bits_of(mask).for_each(|bit| places[sort][unit][bit.trailing_zeros() as usize] += 1);
            }
        }
        let used = [&self.used_in_row, &self.used_in_column, &self.used_in_box];
        let mut best = None;
        for (sort, unit, bit) in (0..3).flat_map(|sort| {
            (0..side).flat_map(move |unit| bits_of(u32::MAX).map(move |bit| (sort, unit, bit)))
        }) {
            let count = places[sort][unit][bit.trailing_zeros() as usize];
            if used[sort][unit] & bit == 0 && count < fewest {
                fewest = count;
                best = Some((sort, unit, bit));
            }
        }
        Some(match best {
            None => of_cell(),
            Some((sort, unit, bit)) => {
                let fits = |&&(cell, mask): &&(usize, u32)| units(cell)[sort] == unit && mask & bit != 0;
                blank.iter().filter(fits).map(|&(cell, _)| (cell, bit)).collect()
            }
        })
    }

    /// Fills the blank cells, trying digits in random order. Returns whether that is possible.
    pub(super) fn fill(&mut self, random: &mut Stream) -> bool {
        let Some((cell, candidates)) = self.tightest_cell() else {
            return true;
        };
        let mut bits: Vec<u32> =
            (0..self.size.side()).map(|digit| 1 << digit).filter(|bit| candidates & bit != 0).collect();
        random.shuffle(&mut bits);
        for bit in bits {
            self.place(cell, bit);
            if self.fill(random) {
                return true;
            }
            self.clear(cell);
        }
        false
    }

    /// Makes a cell of a puzzle with one solution blank, if the puzzle still has just one solution then.
    /// Returns whether it did.
    pub(super) fn dig(&mut self, cell: usize) -> bool {
        let bit = self.clear(cell);
        let mut others = self.candidates(cell) & !bit;
        let before = self.grid.clone();
        while others != 0 {
            let other = others & others.wrapping_neg();
            others ^= other;
            self.place(cell, other);
            let solvable = self.visit(&mut |_| true);
            if solvable {
                *self = Search::new(self.size, &before);
                self.place(cell, bit);
                return false;
            }
            self.clear(cell);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_288_grids_of_4x4() {
        let mut count = 0;
        Search::new(SudokuSize::Four, &[BLANK; 16]).visit(&mut |_| {
            count += 1;
            false
        });
        assert_eq!(count, 288);
    }

    #[test]
    fn both_orders_find_the_same_grids() {
        let mut found = [Vec::new(), Vec::new()];
        let question: Vec<i32> = [2, 1, 1, 1].into_iter().chain([BLANK; 12]).collect();
        Search::new(SudokuSize::Four, &question).visit(&mut |grid| {
            found[0].push(grid.to_vec());
            false
        });
        Search::new(SudokuSize::Four, &question).visit_by_fewest_choices(&mut { usize::MAX }, &mut |grid| {
            found[1].push(grid.to_vec());
            false
        });
        found.iter_mut().for_each(|grids| grids.sort());
        assert_eq!(found[0].len(), 72);
        assert_eq!(found[0], found[1]);
    }

    /// Puzzles without a solution. The first is known to keep solvers busy that look for the tightest cell alone, and the
    /// second keeps this one busy.
    #[test]
    fn a_search_that_takes_too_long_is_given_up() {
        for (text, found) in [
            (
                ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4.........",
                Solutions::None,
            ),
            (
                ".....5.8....6.1.43..........1.5........1.6...3......9553.....61........4.........",
                Solutions::Unknown,
            ),
        ] {
            let digit = |digit: char| digit.to_digit(10).map_or(BLANK, |digit| digit as i32 + DIGIT_ZERO);
            let question: Vec<i32> = text.chars().map(digit).collect();
            assert_eq!(solve_sudoku(SudokuSize::Nine, &question), found);
        }
    }

    #[test]
    fn no_one_and_many_solutions_are_told_apart() {
        let solved = vec![2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2];
        let mut question = solved.clone();
        question[0] = BLANK;
        question[9] = BLANK;
        assert_eq!(solve_sudoku(SudokuSize::Four, &question), Solutions::One(solved));
        assert_eq!(solve_sudoku(SudokuSize::Four, &[BLANK; 16]), Solutions::Many);
        question[15] = 3;
        assert_eq!(solve_sudoku(SudokuSize::Four, &question), Solutions::None);
    }
}
