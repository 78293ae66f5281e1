//! Grids as rows of tokens, and back.
//!
//! A row of tokens is a canvas of 30 times 30 cells, mostly padding. A grid lies on it at some place, each colour plus
//! 2. Tokens of the end stand below the grid, in its columns, and right of it, in its rows, wherever the canvas goes on
//! there. The corner where both would meet stays padding.

use super::grid::{ArcGrid, ArcPair, COLOURS};
use crate::data::kind::ARC_SIDE;
use crate::data::random::Stream;

/// Cells on one side of the canvas.
pub const SIDE: usize = ARC_SIDE;
/// Number of different tokens.
pub const VOCABULARY: usize = COLOURS + COLOUR_ZERO as usize;

const PADDING: i32 = 0;
const END: i32 = 1;
const COLOUR_ZERO: i32 = 2;

/// Where the first cell of a grid lies on the canvas, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CanvasPlace {
    /// Its row.
    pub row: usize,
    /// Its column.
    pub column: usize,
}

impl CanvasPlace {
    /// Draws a place where both grids of a pair fit, each equally likely.
    pub fn draw(pair: &ArcPair, random: &mut Stream) -> CanvasPlace {
        let longest =
            |length: fn(&ArcGrid) -> usize| length(&pair.input).max(pair.output.as_ref().map_or(0, length));
        let row = random.below(SIDE - longest(ArcGrid::rows) + 1);
        CanvasPlace { row, column: random.below(SIDE - longest(ArcGrid::columns) + 1) }
    }
}

/// Returns the tokens of a grid at a place, `[S]`; all padding for no grid.
///
/// # Panics
///
/// If the grid does not fit there.
pub fn encode(grid: Option<&ArcGrid>, place: CanvasPlace) -> Vec<i32> {
    let mut tokens = vec![PADDING; SIDE * SIDE];
    let Some(grid) = grid else { return tokens };
    let (bottom, right) = (place.row + grid.rows(), place.column + grid.columns());
    assert!(bottom <= SIDE && right <= SIDE, "the grid lies on the canvas");
    for (row, cells) in (place.row..).zip(grid.cells().chunks(grid.columns())) {
        for (column, &colour) in (place.column..).zip(cells) {
            tokens[row * SIDE + column] = COLOUR_ZERO + i32::from(colour);
        }
        if right < SIDE {
            tokens[row * SIDE + right] = END;
        }
    }
    if bottom < SIDE {
        tokens[bottom * SIDE + place.column..bottom * SIDE + right].fill(END);
    }
    tokens
}

/// Returns the grid in the upper left corner of a canvas, `[S]`: of the rectangles that begin there and have nothing but
/// colours, the largest, and of equally large ones that with the fewest rows. There is none if the first token is no
/// colour.
///
/// # Panics
///
/// If the canvas does not have 30 times 30 tokens.
pub fn crop(tokens: &[i32]) -> Option<ArcGrid> {
    let (rows, columns) = corner(tokens)?;
    let rows = tokens.chunks(SIDE).take(rows);
    let cells = rows.flat_map(|row| &row[..columns]).map(|token| (token - COLOUR_ZERO) as u8).collect();
    Some(ArcGrid::of_cells(columns, cells))
}

/// Returns the cells that show the grid that [`crop`] finds, ascending: its own, and those below and right of it that
/// have to be its end, where the canvas goes on. `None` without a grid.
///
/// # Panics
///
/// If the canvas does not have 30 times 30 tokens.
pub fn cells_of_grid(tokens: &[i32]) -> Option<Vec<usize>> {
    let (rows, columns) = corner(tokens)?;
    let shows = |cell: &usize| {
        let (row, column) = (cell / SIDE, cell % SIDE);
        // The corner where both ends would meet is padding.
        (row < rows && column <= columns) || (row == rows && column < columns)
    };
    Some((0..tokens.len()).filter(shows).collect())
}

/// Returns the rows and columns of the grid in the upper left corner.
fn corner(tokens: &[i32]) -> Option<(usize, usize)> {
    assert_eq!(tokens.len(), SIDE * SIDE, "it is a canvas");
    // Columns in which all rows so far have colours.
    let mut columns = SIDE;
    let (mut most_rows, mut most_columns) = (0, 0);
    for (rows, row) in (1..).zip(tokens.chunks(SIDE)) {
        columns = row[..columns].iter().take_while(|token| is_colour(token)).count();
        if rows * columns > most_rows * most_columns {
            (most_rows, most_columns) = (rows, columns);
        }
    }
    (most_rows > 0).then_some((most_rows, most_columns))
}

/// Returns the grid on a canvas, `[S]`, wherever it lies: the smallest rectangle with all colours. `None` if there is
/// none, or it has other tokens.
///
/// # Panics
///
/// If the canvas does not have 30 times 30 tokens.
pub fn find(tokens: &[i32]) -> Option<ArcGrid> {
    assert_eq!(tokens.len(), SIDE * SIDE, "it is a canvas");
    let coloured = || (0..tokens.len()).filter(|&cell| is_colour(&tokens[cell]));
    let (top, bottom) = (coloured().next()? / SIDE, coloured().next_back()? / SIDE);
    let left = coloured().map(|cell| cell % SIDE).min()?;
    let right = coloured().map(|cell| cell % SIDE).max()?;
    let cells: Vec<i32> =
        (top..=bottom).flat_map(|row| &tokens[row * SIDE + left..=row * SIDE + right]).copied().collect();
    let colours = || cells.iter().map(|token| (token - COLOUR_ZERO) as u8).collect();
    cells.iter().all(is_colour).then(|| ArcGrid::of_cells(right - left + 1, colours()))
}

fn is_colour(token: &i32) -> bool {
    (COLOUR_ZERO..VOCABULARY as i32).contains(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(rows: &[&[i32]]) -> Vec<i32> {
        let mut tokens = vec![PADDING; SIDE * SIDE];
        for (row, cells) in rows.iter().enumerate() {
            tokens[row * SIDE..row * SIDE + cells.len()].copy_from_slice(cells);
        }
        tokens
    }

    fn grid(rows: &[&[i64]]) -> ArcGrid {
        ArcGrid::new(&rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_grid_has_its_end_below_and_right_but_not_in_the_corner() {
        let small = grid(&[&[0, 9], &[3, 4]]);
        let expected = canvas(&[&[2, 11, 1], &[5, 6, 1], &[1, 1]]);
        assert_eq!(encode(Some(&small), CanvasPlace::default()), expected);
        let moved = encode(Some(&small), CanvasPlace { row: 1, column: 2 });
        assert_eq!(moved, canvas(&[&[], &[0, 0, 2, 11, 1], &[0, 0, 5, 6, 1], &[0, 0, 1, 1]]));
        let last = encode(Some(&small), CanvasPlace { row: 28, column: 28 });
        assert_eq!(last.iter().filter(|&&token| token == END).count(), 0);
        let wide = ArcGrid::of_cells(30, vec![7; 60]);
        let tokens = encode(Some(&wide), CanvasPlace::default());
        assert_eq!(tokens.iter().filter(|&&token| token == END).count(), 30, "only below");
        assert_eq!(encode(None, CanvasPlace::default()), [PADDING; 900]);
    }

    #[test]
    fn what_was_encoded_is_cropped() {
        let mut random = Stream::new(0, "grids", 0);
        for _ in 0..200 {
            let (rows, columns) = (1 + random.below(30), 1 + random.below(30));
            let cells = (0..rows * columns).map(|_| random.below(10) as u8).collect();
            let grid = ArcGrid::of_cells(columns, cells);
            let place =
                CanvasPlace { row: random.below(SIDE - rows + 1), column: random.below(SIDE - columns + 1) };
            assert_eq!(find(&encode(Some(&grid), place)).as_ref(), Some(&grid));
            assert_eq!(crop(&encode(Some(&grid), CanvasPlace::default())), Some(grid));
        }
    }

    #[test]
    fn a_grid_is_shown_by_its_cells_and_its_end() {
        for (rows, columns) in [(1, 1), (2, 3), (30, 4), (5, 30), (30, 30)] {
            let grid = ArcGrid::of_cells(columns, vec![4; rows * columns]);
            let tokens = encode(Some(&grid), CanvasPlace::default());
            let expected: Vec<usize> = (0..900).filter(|&cell| tokens[cell] != PADDING).collect();
            assert_eq!(cells_of_grid(&tokens), Some(expected), "{rows}x{columns}");
        }
        // What stands where the end should be, and anywhere else, changes no place.
        let tokens = canvas(&[&[2, 3, 0], &[4, 5, 9], &[1, 0], &[], &[7, 7]]);
        assert_eq!(cells_of_grid(&tokens), Some(vec![0, 1, 2, 30, 31, 32, 60, 61]));
        assert_eq!(cells_of_grid(&canvas(&[&[1, 2, 3]])), None);
    }

    #[test]
    fn the_largest_rectangle_is_cropped_and_the_flattest_of_equals() {
        let crop = |rows: &[&[i32]]| crop(&canvas(rows));
        assert_eq!(crop(&[&[2, 3, 4, 5], &[6]]), Some(grid(&[&[0, 1, 2, 3]])));
        assert_eq!(crop(&[&[2, 3, 4], &[6, 7], &[8, 9]]), Some(grid(&[&[0, 1], &[4, 5], &[6, 7]])));
        assert_eq!(crop(&[&[2, 3], &[4]]), Some(grid(&[&[0, 1]])), "two rows of one column are as large");
        assert_eq!(crop(&[&[2, 12, 3]]), Some(grid(&[&[0]])));
        assert_eq!(crop(&[&[1, 2, 3], &[2, 2]]), None);
    }
}
