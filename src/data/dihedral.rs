//! The eight turns and flips of a grid, with the numbers that the published code gives them.

/// Number of dihedral images of a grid.
pub const DIHEDRAL_IMAGES: usize = 8;

/// The image that undoes each one.
pub(super) const INVERSES: [usize; DIHEDRAL_IMAGES] = [0, 3, 2, 1, 4, 5, 6, 7];

/// Returns an image of a square grid: 0 is the grid itself; 1, 2 and 3 turn it counterclockwise once, twice and three
/// times; 4 flips left and right; 5 flips up and down; 6 transposes; 7 turns counterclockwise once, then flips left and
/// right.
///
/// # Panics
///
/// If `image` is not below [`DIHEDRAL_IMAGES`].
pub fn dihedral_image(grid: &[i32], image: usize) -> Vec<i32> {
    let side = grid.len().isqrt();
    rectangle_image(grid, side, side, image)
}

/// Does the same with a grid of `rows` times `columns` cells; images 1, 3, 6 and 7 have `columns` times `rows`.
///
/// # Panics
///
/// As [`dihedral_image`].
pub(super) fn rectangle_image<T: Copy>(cells: &[T], rows: usize, columns: usize, image: usize) -> Vec<T> {
    let (bottom, right) = (rows.saturating_sub(1), columns.saturating_sub(1));
    let source = |row: usize, column: usize| match image {
        0 => (row, column),
        1 => (column, right - row),
        2 => (bottom - row, right - column),
        3 => (bottom - column, row),
        4 => (row, right - column),
        5 => (bottom - row, column),
        6 => (column, row),
        7 => (bottom - column, right - row),
        _ => panic!("a grid has {DIHEDRAL_IMAGES} images, so there is no number {image}"),
    };
    let (new_rows, new_columns) = if swaps_sides(image) { (columns, rows) } else { (rows, columns) };
    let mut moved = Vec::with_capacity(cells.len());
    for row in 0..new_rows {
        for column in 0..new_columns {
            let (row, column) = source(row, column);
            moved.push(cells[row * columns + column]);
        }
    }
    moved
}

/// Returns whether an image has as many rows as the grid has columns.
pub(super) fn swaps_sides(image: usize) -> bool {
    matches!(image, 1 | 3 | 6 | 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_of_a_square_are_numbered_as_published() {
        let grid = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let images: Vec<Vec<i32>> = (0..DIHEDRAL_IMAGES).map(|image| dihedral_image(&grid, image)).collect();
        assert_eq!(images[1], [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        assert_eq!(images[2], [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(images[3], [7, 4, 1, 8, 5, 2, 9, 6, 3]);
        assert_eq!(images[4], [3, 2, 1, 6, 5, 4, 9, 8, 7]);
        assert_eq!(images[5], [7, 8, 9, 4, 5, 6, 1, 2, 3]);
        assert_eq!(images[6], [1, 4, 7, 2, 5, 8, 3, 6, 9]);
        assert_eq!(images[7], [9, 6, 3, 8, 5, 2, 7, 4, 1]);
    }

    #[test]
    fn a_rectangle_is_turned_with_its_sides() {
        // 1 2 3
        // 4 5 6
        let image = |image| rectangle_image(&[1, 2, 3, 4, 5, 6], 2, 3, image);
        assert_eq!(image(1), [3, 6, 2, 5, 1, 4]);
        assert_eq!(image(2), [6, 5, 4, 3, 2, 1]);
        assert_eq!(image(3), [4, 1, 5, 2, 6, 3]);
        assert_eq!(image(6), [1, 4, 2, 5, 3, 6]);
        assert_eq!(image(7), [6, 3, 5, 2, 4, 1]);
    }
}
