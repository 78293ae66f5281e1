//! The symmetries of Sudoku: changes of a grid that keep it valid.
//!
//! Digits may be renamed, rows moved inside their band, bands moved, columns moved inside their stack, stacks
//! moved, and, where boxes are square, the grid transposed.

use std::cmp::Ordering;

use super::{DIGIT_ZERO, SudokuSize, is_digit};
use crate::data::random::Stream;

/// One symmetry of the grids of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SudokuSymmetry {
    size: SudokuSize,
    /// New digit of each digit, both counted from 0.
    digits: Vec<usize>,
    /// Row of the (transposed) grid that each row comes from.
    rows: Vec<usize>,
    /// Column of the (transposed) grid that each column comes from.
    columns: Vec<usize>,
    transpose: bool,
}

impl SudokuSymmetry {
    /// Draws a symmetry, each equally likely.
    pub fn draw(size: SudokuSize, random: &mut Stream) -> SudokuSymmetry {
        let mut digits: Vec<usize> = (0..size.side()).collect();
        random.shuffle(&mut digits);
        let transpose = size.box_rows() == size.box_columns() && random.coin();
        let rows = draw_lines(size.box_columns(), size.box_rows(), random);
        let columns = draw_lines(size.box_rows(), size.box_columns(), random);
        SudokuSymmetry { size, digits, rows, columns, transpose }
    }

    /// Applies the symmetry to a grid of tokens, `[side * side]`. Tokens that are no digits only move.
    pub fn apply(&self, grid: &[i32]) -> Vec<i32> {
        let side = self.size.side();
        let mut moved = Vec::with_capacity(grid.len());
        for &row in &self.rows {
            for &column in &self.columns {
                let source = if self.transpose { column * side + row } else { row * side + column };
                let token = grid[source];
                moved.push(if is_digit(self.size, token) {
                    self.digits[(token - DIGIT_ZERO - 1) as usize] as i32 + DIGIT_ZERO + 1
                } else {
                    token
                });
            }
        }
        moved
    }
}

/// Draws an order of the rows (or columns) that keeps the lines of a band (or stack) together.
fn draw_lines(bands: usize, lines_in_band: usize, random: &mut Stream) -> Vec<usize> {
    let mut band_order: Vec<usize> = (0..bands).collect();
    random.shuffle(&mut band_order);
    let mut lines = Vec::with_capacity(bands * lines_in_band);
    for band in band_order {
        let mut inside: Vec<usize> = (0..lines_in_band).collect();
        random.shuffle(&mut inside);
        lines.extend(inside.into_iter().map(|line| band * lines_in_band + line));
    }
    lines
}

/// Describes a solved 9x9 grid by what no symmetry changes, so two grids with different signatures cannot be
/// moved onto each other. (Grids with equal signatures may still be different.)
///
/// Two rows of a solved grid define a permutation of the digits: the one of the first row goes to the one
/// below it in the second. Renaming digits and moving columns keep its cycle lengths. The signature is the
/// sorted list of the cycle lengths of all pairs of rows, pairs inside a band told apart from others, and
/// the same for columns; the two lists are put in order, so that transposing does not matter.
pub(super) fn signature(grid: &[i32]) -> [Vec<u64>; 2] {
    let side = grid.len().isqrt();
    let mut lists = [
        pair_cycles(side, |line, place| grid[line * side + place]),
        pair_cycles(side, |line, place| grid[place * side + line]),
    ];
    if lists[0].cmp(&lists[1]) == Ordering::Greater {
        lists.swap(0, 1);
    }
    lists
}

fn pair_cycles(side: usize, token: impl Fn(usize, usize) -> i32) -> Vec<u64> {
    let lines_in_band = side.isqrt();
    let mut pairs = Vec::with_capacity(side * (side - 1) / 2);
    for first in 0..side {
        for second in first + 1..side {
            let mut image = [0; 16];
            for place in 0..side {
                let digit = |line| (token(line, place) - DIGIT_ZERO - 1) as usize;
                image[digit(first)] = digit(second);
            }
            let same_band = u64::from(first / lines_in_band == second / lines_in_band);
            pairs.push(same_band + 2 * cycle_lengths(&image[..side]));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Returns the cycle lengths of a permutation as one number: how many cycles of each length, in base 16.
pub(super) fn cycle_lengths(image: &[usize]) -> u64 {
    let mut seen = 0_u32;
    let mut counts = 0;
    for start in 0..image.len() {
        let mut length = 0;
        let mut digit = start;
        while seen & 1 << digit == 0 {
            seen |= 1 << digit;
            digit = image[digit];
            length += 1;
        }
        if length > 0 {
            counts += 1 << (4 * (length - 1));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::solve::Search;
    use super::super::{BLANK, is_solved_sudoku};
    use super::*;

    fn solved(size: SudokuSize, random: &mut Stream) -> Vec<i32> {
        let mut search = Search::new(size, &vec![BLANK; size.cells()]);
        assert!(search.fill(random));
        search.grid().to_vec()
    }

    #[test]
    fn a_symmetry_keeps_solved_grids_solved() {
        let mut random = Stream::new(1, "symmetry", 0);
        for size in SudokuSize::GENERATED {
            for _ in 0..50 {
                let grid = solved(size, &mut random);
                let moved = SudokuSymmetry::draw(size, &mut random).apply(&grid);
                assert!(is_solved_sudoku(size, &moved), "{size}: {grid:?} became {moved:?}");
            }
        }
    }

    #[test]
    fn blanks_move_with_the_digits() {
        let mut random = Stream::new(2, "symmetry", 0);
        for size in SudokuSize::GENERATED {
            let answer = solved(size, &mut random);
            let mut question = answer.clone();
            question.iter_mut().step_by(3).for_each(|token| *token = BLANK);
            let symmetry = SudokuSymmetry::draw(size, &mut random);
            let (question, answer) = (symmetry.apply(&question), symmetry.apply(&answer));
            let blanks = question.iter().filter(|&&token| token == BLANK).count();
            assert_eq!(blanks, size.cells().div_ceil(3));
            assert!(question.iter().zip(&answer).all(|(&given, &token)| given == BLANK || given == token));
        }
    }

    #[test]
    fn all_grids_of_4x4_fall_into_the_orbits_of_their_symmetries() {
        // The 288 grids of 4x4 form two classes, of 96 and 192 grids.
        let mut random = Stream::new(3, "symmetry", 0);
        let mut orbit_sizes = BTreeSet::new();
        for _ in 0..8 {
            let grid = solved(SudokuSize::Four, &mut random);
            let orbit: BTreeSet<Vec<i32>> =
                (0..4000).map(|_| SudokuSymmetry::draw(SudokuSize::Four, &mut random).apply(&grid)).collect();
            orbit_sizes.insert(orbit.len());
        }
        assert_eq!(orbit_sizes, BTreeSet::from([96, 192]));
    }

    #[test]
    fn only_square_boxes_are_transposed() {
        let mut random = Stream::new(4, "symmetry", 0);
        assert!((0..100).all(|_| !SudokuSymmetry::draw(SudokuSize::Six, &mut random).transpose));
        let transposed = (0..1000).filter(|_| SudokuSymmetry::draw(SudokuSize::Nine, &mut random).transpose);
        // Five standard deviations of a binomial with mean 500 are 79.
        assert!(transposed.count().abs_diff(500) < 79);
    }

    #[test]
    fn no_symmetry_changes_a_signature() {
        let mut random = Stream::new(5, "symmetry", 0);
        let mut signatures = BTreeSet::new();
        for _ in 0..100 {
            let grid = solved(SudokuSize::Nine, &mut random);
            let moved = SudokuSymmetry::draw(SudokuSize::Nine, &mut random).apply(&grid);
            assert_eq!(signature(&grid), signature(&moved));
            signatures.insert(signature(&grid));
        }
        assert_eq!(signatures.len(), 100, "random grids of different classes should not share signatures");
    }
}
