//! A canonical form of Sudoku grids: two grids have the same form if and only if a symmetry moves one onto the other.
//!
//! The method is refinement and individualization, as programs for canonical labels of graphs have it (McKay,
//! *Practical graph isomorphism*, 1981). Rows, columns and digits have colours, which are numbers. In a round of
//! refinement, each takes up the colours of the givens that it has and of the lines beside it. What no symmetry could
//! exchange soon has another colour. If lines with the same colour are left, each of them in turn is given a colour of
//! its own, and refinement goes on. Where all lines differ, the colours are an order of rows and columns, digits are
//! numbered as they appear, and the smallest grid that arises is the form.
//!
//! No colour depends on where a line stands or what a digit is called, so a grid and its images have the same search,
//! up to the order of its branches. That holds for the number of branches too, which is limited: the few grids that
//! have more have no form, and neither have their images. The limit is far above what puzzles need, since lines
//! without givens, and equal lines beside each other, are never told apart. Colours are hashes: two that are equal by
//! chance cost a branch, and never make a wrong form.
//!
//! In a full grid every line has every digit, and refinement begins with nothing. There the colours of lines begin with
//! the cycles of their pairs, see [`cycle_lengths`].

use super::symmetry::cycle_lengths;
use super::{BLANK, DIGIT_ZERO, SudokuSize, is_digit, is_solved_sudoku};

/// Most branches of a search. Grids that were made to need many take up to 60 ms in a release build, puzzles 8 µs.
const MOST_BRANCHES: usize = 1 << 14;

/// Most cells on a side.
const SIDE: usize = 16;

/// Begins the colours of rows.
const ROW: u64 = 0x9e37_79b9_7f4a_7c15;
/// Begins the colours of columns.
const COLUMN: u64 = 0xc2b2_ae3d_27d4_eb4f;
/// Begins the colours of digits.
const DIGIT: u64 = 0x1656_67b1_9e37_79f9;
/// Changes the colour of a line that is told apart.
const CHOSEN: u64 = 0x27d4_eb2f_1656_67c5;

/// Returns the canonical form of a grid of tokens, `[side * side]`: one of its images under the symmetries, the same
/// for all of them. `None` for a grid with so many symmetries of its own that the search for it is given up.
///
/// Tokens that are no digits only move. The grid need not keep the rules.
///
/// # Panics
///
/// If the grid does not have the cells of the size.
pub fn canonical_sudoku(size: SudokuSize, grid: &[i32]) -> Option<Vec<i32>> {
    canonical_within(size, grid, MOST_BRANCHES)
}

/// As [`canonical_sudoku`], with at most so many branches.
fn canonical_within(size: SudokuSize, grid: &[i32], most_branches: usize) -> Option<Vec<i32>> {
    let boards = boards(size, grid);
    let mut level = roots(&boards);
    let mut branches = level.len();
    let mut best: Option<Vec<i32>> = None;
    while !level.is_empty() {
        let least = level.iter().map(Colours::summary).min().expect("a level has branches");
        level.retain(|branch| branch.summary() == least);
        let choices: Vec<Vec<GridLine>> =
            level.iter().map(|branch| branch.choices(&boards[branch.board])).collect();
        branches += choices.iter().map(Vec::len).sum::<usize>();
        if branches > most_branches {
            return None;
        }
        let mut next = Vec::new();
        for (branch, choices) in level.iter().zip(&choices) {
            let board = &boards[branch.board];
            if choices.is_empty() {
                let image = branch.image(board);
                if best.as_ref().is_none_or(|best| image < *best) {
                    best = Some(image);
                }
            }
            next.extend(choices.iter().map(|&line| branch.with(board, line)));
        }
        level = next;
    }
    best
}

/// Returns a number that no symmetry changes: two grids with different numbers have different canonical forms. It is
/// what the search for the form begins with.
///
/// # Panics
///
/// If the grid does not have the cells of the size.
pub fn sudoku_summary(size: SudokuSize, grid: &[i32]) -> u64 {
    roots(&boards(size, grid)).iter().map(Colours::summary).min().expect("there is a root")
}

/// Returns the grid and, where boxes are square, the transposed one.
fn boards(size: SudokuSize, grid: &[i32]) -> Vec<Board> {
    let side = size.side();
    assert_eq!(grid.len(), size.cells(), "a grid has all its cells");
    let mut board = Board::new(size, grid.to_vec());
    if is_solved_sudoku(size, grid) {
        board.rows = board.cycles(GridLine::Row, size.box_rows());
        board.columns = board.cycles(GridLine::Column, size.box_columns());
    }
    if size.box_rows() != size.box_columns() {
        return vec![board];
    }
    let transposed = (0..size.cells()).map(|cell| grid[cell % side * side + cell / side]).collect();
    let (rows, columns) = (board.columns, board.rows);
    let transposed = Board { rows, columns, ..Board::new(size, transposed) };
    vec![board, transposed]
}

fn roots(boards: &[Board]) -> Vec<Colours> {
    boards.iter().enumerate().map(|(index, board)| Colours::root(index, board)).collect()
}

/// A token that is not blank.
#[derive(Debug, Clone, Copy)]
struct GivenToken {
    row: usize,
    column: usize,
    /// The digit, counted from 0; the side for a token that is none.
    digit: usize,
    /// The colour of a token that is no digit.
    token: u64,
}

/// A grid in one of its two orientations.
struct Board {
    size: SudokuSize,
    grid: Vec<i32>,
    givens: Vec<GivenToken>,
    /// What distinguishes rows before the first round.
    rows: [u64; SIDE],
    columns: [u64; SIDE],
}

/// A row, or a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GridLine {
    Row(usize),
    Column(usize),
}

impl Board {
    fn new(size: SudokuSize, grid: Vec<i32>) -> Board {
        let side = size.side();
        let given = |(cell, &token): (usize, &i32)| {
            let (digit, token) = match is_digit(size, token) {
                true => ((token - DIGIT_ZERO - 1) as usize, 0),
                false => (side, mix(token as u64)),
            };
            GivenToken { row: cell / side, column: cell % side, digit, token }
        };
        let givens = grid.iter().enumerate().filter(|&(_, &token)| token != BLANK).map(given).collect();
        Board { size, grid, givens, rows: [0; SIDE], columns: [0; SIDE] }
    }

    /// Yields the tokens of a line.
    fn line(&self, line: GridLine) -> impl Iterator<Item = i32> {
        let side = self.size.side();
        let (start, step) = match line {
            GridLine::Row(row) => (row * side, 1),
            GridLine::Column(column) => (column, side),
        };
        (0..side).map(move |place| self.grid[start + place * step])
    }

    fn is_empty(&self, line: GridLine) -> bool {
        self.line(line).all(|token| token == BLANK)
    }

    /// Returns whether nothing changes when two lines change places.
    fn are_twins(&self, one: GridLine, other: GridLine) -> bool {
        let block = |line| match line {
            GridLine::Row(row) => row / self.size.box_rows(),
            GridLine::Column(column) => column / self.size.box_columns(),
        };
        block(one) == block(other) && self.line(one).eq(self.line(other))
    }

    /// Returns a colour for each line of a solved grid that knows the cycles of its pairs with other lines.
    fn cycles(&self, line: impl Fn(usize) -> GridLine, lines_in_block: usize) -> [u64; SIDE] {
        let side = self.size.side();
        let mut colours = [0_u64; SIDE];
        for first in 0..side {
            for second in first + 1..side {
                let mut image = [0; SIDE];
                for (from, to) in self.line(line(first)).zip(self.line(line(second))) {
                    image[(from - DIGIT_ZERO - 1) as usize] = (to - DIGIT_ZERO - 1) as usize;
                }
                let same_block = u64::from(first / lines_in_block == second / lines_in_block);
                let cycles = mix(2 * cycle_lengths(&image[..side]) + same_block);
                colours[first] = colours[first].wrapping_add(cycles);
                colours[second] = colours[second].wrapping_add(cycles);
            }
        }
        colours
    }
}

/// A branch of the search: the colours of the lines, digits and boxes of a board.
#[derive(Debug, Clone, Copy)]
struct Colours {
    board: usize,
    side: usize,
    rows: [u64; SIDE],
    columns: [u64; SIDE],
    /// The last used one is that of all tokens that are no digits.
    digits: [u64; SIDE + 1],
    boxes: [u64; SIDE],
}

impl Colours {
    fn root(index: usize, board: &Board) -> Colours {
        let mut colours = Colours {
            board: index,
            side: board.size.side(),
            rows: board.rows.map(|colour| colour.wrapping_add(ROW)),
            columns: board.columns.map(|colour| colour.wrapping_add(COLUMN)),
            digits: [DIGIT; SIDE + 1],
            boxes: [0; SIDE],
        };
        colours.refine(board);
        colours
    }

    /// Returns this branch with a line that is told apart.
    fn with(&self, board: &Board, line: GridLine) -> Colours {
        let mut colours = *self;
        let colour = match line {
            GridLine::Row(row) => &mut colours.rows[row],
            GridLine::Column(column) => &mut colours.columns[column],
        };
        *colour = mix(colour.wrapping_add(CHOSEN));
        colours.refine(board);
        colours
    }

    /// Refines for as long as that tells more lines and digits apart.
    fn refine(&mut self, board: &Board) {
        let mut classes = 0;
        loop {
            self.round(board);
            let now = count(&self.rows[..self.side])
                + count(&self.columns[..self.side])
                + count(&self.digits[..self.side]);
            if now <= classes {
                return;
            }
            classes = now;
        }
    }

    fn round(&mut self, board: &Board) {
        let size = board.size;
        let [mut rows, mut columns, mut boxes] = [[0_u64; SIDE]; 3];
        let mut digits = [0_u64; SIDE + 1];
        for given in &board.givens {
            let its_box = size.box_of(given.row, given.column);
            // A product for each, so that row, column, digit and box cannot change places.
            let seen = mix(self.rows[given.row]
                .wrapping_mul(ROW)
                .wrapping_add(self.columns[given.column].wrapping_mul(COLUMN))
                .wrapping_add(self.digits[given.digit].wrapping_add(given.token).wrapping_mul(DIGIT))
                .wrapping_add(self.boxes[its_box]));
            for sum in [
                &mut rows[given.row],
                &mut columns[given.column],
                &mut digits[given.digit],
                &mut boxes[its_box],
            ] {
                *sum = sum.wrapping_add(seen);
            }
        }
        for (colour, sum) in self.digits.iter_mut().zip(digits) {
            *colour = mix(colour.wrapping_mul(DIGIT).wrapping_add(sum));
        }
        self.boxes = boxes;
        settle(&mut self.rows[..self.side], &rows, size.box_rows());
        settle(&mut self.columns[..self.side], &columns, size.box_columns());
    }

    /// Returns a number that is the same for branches that a symmetry moves onto each other.
    fn summary(&self) -> u64 {
        let sum = |colours: &[u64]| colours.iter().fold(0_u64, |sum, &colour| sum.wrapping_add(mix(colour)));
        let [rows, columns, digits] =
            [&self.rows[..self.side], &self.columns[..self.side], &self.digits[..self.side]].map(sum);
        mix(rows.wrapping_mul(ROW).wrapping_add(columns.wrapping_mul(COLUMN)).wrapping_add(digits))
    }

    /// Returns the fewest lines of which one has to be told apart from the others; none if the colours are an order.
    fn choices(&self, board: &Board) -> Vec<GridLine> {
        let mut best: Option<(usize, u64, Vec<GridLine>)> = None;
        for (colours, line) in
            [(&self.rows, GridLine::Row as fn(usize) -> GridLine), (&self.columns, GridLine::Column)]
        {
            for first in 0..self.side {
                let colour = colours[first];
                if colours[..first].contains(&colour) || !colours[first + 1..self.side].contains(&colour) {
                    continue;
                }
                let mut class: Vec<GridLine> = Vec::new();
                for line in (first..self.side).filter(|&other| colours[other] == colour).map(line) {
                    if !board.is_empty(line) && !class.iter().any(|&other| board.are_twins(other, line)) {
                        class.push(line);
                    }
                }
                let is_better =
                    best.as_ref().is_none_or(|(length, other, _)| (class.len(), colour) < (*length, *other));
                if class.len() > 1 && is_better {
                    best = Some((class.len(), colour, class));
                }
            }
        }
        best.map_or(Vec::new(), |(_, _, class)| class)
    }

    /// Returns the grid with its lines in the order of their colours, and its digits in that of their appearance.
    fn image(&self, board: &Board) -> Vec<i32> {
        let (size, side) = (board.size, self.side);
        let rows = order(&self.rows[..side], size.box_rows());
        let columns = order(&self.columns[..side], size.box_columns());
        let mut names = [None; SIDE];
        let mut next = DIGIT_ZERO;
        let mut image = Vec::with_capacity(size.cells());
        for row in rows {
            for &column in &columns {
                let token = board.grid[row * side + column];
                image.push(match is_digit(size, token) {
                    true => *names[(token - DIGIT_ZERO - 1) as usize].get_or_insert_with(|| {
                        next += 1;
                        next
                    }),
                    false => token,
                });
            }
        }
        image
    }
}

/// Gives each line a colour that knows its own, what it has seen, and the lines of its band or stack.
fn settle(colours: &mut [u64], seen: &[u64; SIDE], lines_in_block: usize) {
    for (block, seen) in colours.chunks_mut(lines_in_block).zip(seen.chunks(lines_in_block)) {
        let mut sum = 0_u64;
        for (colour, seen) in block.iter_mut().zip(seen) {
            *colour = mix(colour.wrapping_mul(ROW).wrapping_add(*seen));
            sum = sum.wrapping_add(mix(*colour));
        }
        block.iter_mut().for_each(|colour| *colour = mix(colour.wrapping_add(mix(sum))));
    }
}

/// Returns the lines in the order of the colours of their blocks, and of their own inside of these.
fn order(colours: &[u64], lines_in_block: usize) -> Vec<usize> {
    let lines: Vec<usize> = (0..colours.len()).collect();
    let mut blocks: Vec<Vec<usize>> = lines.chunks(lines_in_block).map(<[usize]>::to_vec).collect();
    blocks.iter_mut().for_each(|block| block.sort_by_key(|&line| colours[line]));
    blocks.sort_by_cached_key(|block| block.iter().map(|&line| colours[line]).collect::<Vec<_>>());
    blocks.concat()
}

/// Returns the number of different colours.
fn count(colours: &[u64]) -> usize {
    (0..colours.len()).filter(|&index| !colours[..index].contains(&colours[index])).count()
}

/// Mixes the bits of a number (the finalizer of MurmurHash3), so that sums of colours do not cancel out.
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ number >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ number >> 33
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::solve::Search;
    use super::super::symmetry::SudokuSymmetry;
    use super::*;
    use crate::data::random::Stream;

    fn solved(size: SudokuSize, random: &mut Stream) -> Vec<i32> {
        if !SudokuSize::GENERATED.contains(&size) {
            // Each row is the one above, moved by a box, and by a cell at the end of a band.
            let (side, height) = (size.side(), size.box_rows());
            let digit = |row: usize, column: usize| (row * size.box_columns() + row / height + column) % side;
            let grid: Vec<i32> = (0..size.cells())
                .map(|cell| digit(cell / side, cell % side) as i32 + DIGIT_ZERO + 1)
                .collect();
            assert!(is_solved_sudoku(size, &grid));
            return SudokuSymmetry::draw(size, random).apply(&grid);
        }
        let mut search = Search::new(size, &vec![BLANK; size.cells()]);
        assert!(search.fill(random));
        search.grid().to_vec()
    }

    /// Returns the smallest number that is enough, by halving.
    fn fewest(is_enough: &dyn Fn(usize) -> bool) -> usize {
        let (mut too_few, mut enough) = (0, MOST_BRANCHES);
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            *if is_enough(middle) { &mut enough } else { &mut too_few } = middle;
        }
        enough
    }

    fn form(size: SudokuSize, grid: &[i32]) -> Vec<i32> {
        canonical_sudoku(size, grid).expect("the search ends")
    }

    /// Checks that images of a grid have its form, and that the form is its own.
    fn check(size: SudokuSize, grid: &[i32], random: &mut Stream) {
        let expected = form(size, grid);
        for _ in 0..3 {
            let moved = SudokuSymmetry::draw(size, random).apply(grid);
            assert_eq!(form(size, &moved), expected, "{grid:?} became {moved:?}");
            assert_eq!(sudoku_summary(size, &moved), sudoku_summary(size, grid));
        }
        assert_eq!(form(size, &expected), expected);
    }

    #[test]
    fn images_have_one_form_with_any_number_of_givens() {
        let mut random = Stream::new(1, "canonical", 0);
        for size in SudokuSize::ALL {
            // The full grid of 16x16 is so regular that the search for its form is given up.
            let (blanks, step) = match SudokuSize::GENERATED.contains(&size) {
                true => (0..size.cells() + 1, 1),
                false => (40..200, 20),
            };
            for blanks in blanks.step_by(step) {
                let mut grid = solved(size, &mut random);
                random.sample(size.cells(), blanks).iter().for_each(|&cell| grid[cell] = BLANK);
                check(size, &grid, &mut random);
            }
        }
    }

    #[test]
    fn images_of_what_breaks_rules_or_has_other_tokens_have_one_form() {
        let mut random = Stream::new(2, "canonical", 0);
        for size in SudokuSize::ALL {
            for _ in 0..30 {
                let token = |random: &mut Stream| random.below(size.side() + 2) as i32;
                let grid: Vec<i32> = (0..size.cells()).map(|_| token(&mut random)).collect();
                check(size, &grid, &mut random);
            }
            check(size, &vec![0; size.cells()], &mut random);
            check(size, &vec![2; size.cells()], &mut random);
        }
    }

    /// Puzzles that many symmetries move onto themselves.
    #[test]
    fn regular_grids_have_a_form() {
        const NINE: SudokuSize = SudokuSize::Nine;
        let mut random = Stream::new(3, "canonical", 0);
        let grid = |token: &dyn Fn(usize, usize) -> Option<usize>| -> Vec<i32> {
            let token = |cell: usize| token(cell / 9, cell % 9).map_or(BLANK, |digit| digit as i32 + 2);
            (0..81).map(token).collect()
        };
        let diagonal = |row, column| (row == column).then_some(row);
        let first_row = |row, column| (row == 0).then_some(column);
        let cyclic = |row, column| Some((row * 3 + row / 3 + column) % 9);
        let boxes = |row: usize, column| (row / 3 == column / 3).then_some(row % 3 * 3 + column % 3);
        let one_digit = |row, column| (column == (row * 3 + row / 3) % 9).then_some(0);
        for token in [&diagonal as &dyn Fn(usize, usize) -> _, &first_row, &cyclic, &boxes, &one_digit] {
            check(NINE, &grid(token), &mut random);
        }
        assert!(is_solved_sudoku(NINE, &grid(&cyclic)));
    }

    #[test]
    fn a_search_that_would_take_too_long_is_given_up_for_all_images() {
        let grid: Vec<i32> =
            (0..81).map(|cell| if cell / 9 == cell % 9 { cell / 9 + 2 } else { BLANK }).collect();
        let within = |grid: &[i32], branches| canonical_within(SudokuSize::Nine, grid, branches);
        let branches = fewest(&|branches| within(&grid, branches).is_some());
        assert!(branches > 2592, "each of the 2592 symmetries of the grid has a branch: {branches}");
        let mut random = Stream::new(4, "canonical", 0);
        for _ in 0..3 {
            let moved = SudokuSymmetry::draw(SudokuSize::Nine, &mut random).apply(&grid);
            assert_eq!(within(&moved, branches - 1), None);
            assert_eq!(within(&moved, branches), within(&grid, branches));
        }
        // It breaks the rules: each row has three digits three times.
        let stripes: Vec<i32> = (0..81).map(|cell| (cell / 9 + cell % 9) % 3 + 2).collect();
        assert_eq!(canonical_sudoku(SudokuSize::Nine, &stripes), None);
    }

    #[test]
    fn the_grids_of_4x4_have_two_forms() {
        let mut forms: BTreeMap<Vec<i32>, usize> = BTreeMap::new();
        Search::new(SudokuSize::Four, &[BLANK; 16]).visit(&mut |grid| {
            *forms.entry(form(SudokuSize::Four, grid)).or_default() += 1;
            false
        });
        let mut sizes: Vec<usize> = forms.into_values().collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [96, 192]);
    }

    /// Two 4x4 grids of few givens have the same form if and only if a chain of symmetries leads from one to the other.
    #[test]
    fn there_are_as_many_forms_as_orbits() {
        const FOUR: SudokuSize = SudokuSize::Four;
        let mut random = Stream::new(5, "canonical", 0);
        let symmetries: Vec<_> = (0..20).map(|_| SudokuSymmetry::draw(FOUR, &mut random)).collect();
        let mut grids: BTreeSet<Vec<i32>> = BTreeSet::from([vec![BLANK; 16]]);
        for _ in 0..3 {
            let more: Vec<Vec<i32>> = grids
                .iter()
                .flat_map(|grid| (0..16).flat_map(move |cell| (2..6).map(move |token| (grid, cell, token))))
                .map(|(grid, cell, token)| {
                    let mut grid = grid.clone();
                    grid[cell] = token;
                    grid
                })
                .collect();
            grids.extend(more);
        }
        let forms: BTreeSet<Vec<i32>> = grids.iter().map(|grid| form(FOUR, grid)).collect();
        let all = grids.len();
        let mut orbits = 0;
        while let Some(grid) = grids.pop_first() {
            orbits += 1;
            let mut left = vec![grid];
            while let Some(grid) = left.pop() {
                let images = symmetries.iter().map(|symmetry| symmetry.apply(&grid));
                left.extend(images.filter(|image| grids.remove(image)));
            }
        }
        assert_eq!(forms.len(), orbits, "of {all} grids");
        assert!(all > 30_000 && orbits > 20, "{all} grids, {orbits} orbits");
    }

    #[test]
    fn different_puzzles_stay_different() {
        let mut random = Stream::new(6, "canonical", 0);
        let mut forms = BTreeSet::new();
        for _ in 0..20 {
            let grid = solved(SudokuSize::Nine, &mut random);
            forms.insert(form(SudokuSize::Nine, &grid));
            // The same grid with another blank cell; nearly all grids have no symmetry of their own.
            for cell in [0, 40, 79] {
                let mut open = grid.clone();
                open[cell] = BLANK;
                forms.insert(form(SudokuSize::Nine, &open));
            }
        }
        assert_eq!(forms.len(), 80);
    }
}
