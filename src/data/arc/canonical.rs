//! A canonical form of pairs of grids.
//!
//! Copies of a task differ in where the grids lie on their canvases, in how they are turned and flipped, and in the names
//! of the colours 1 to 9. Nothing of this is in the form.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::data::canvas::{ArcGrid, COLOURS, find};
use crate::data::dihedral::{DIHEDRAL_IMAGES, rectangle_image, swaps_sides};

/// New names of colours, in the order in which they appear. 0 keeps its name.
struct ColourNames {
    names: [Option<i32>; COLOURS],
    next: i32,
}

impl ColourNames {
    fn new() -> ColourNames {
        let mut names = [None; COLOURS];
        names[0] = Some(0);
        ColourNames { names, next: 0 }
    }

    fn of(&mut self, colour: u8) -> i32 {
        let next = &mut self.next;
        *self.names[usize::from(colour)].get_or_insert_with(|| {
            *next += 1;
            *next
        })
    }
}

/// Returns what an input and its output, canvases of `[S]` each, have in common with all their copies, and with no other
/// pair. `None` if one of them has no grid.
pub fn canonical_pair(input: &[i32], output: &[i32]) -> Option<Vec<i32>> {
    let grids = [find(input)?, find(output)?];
    let form = |image: usize| {
        let (mut names, mut form) = (ColourNames::new(), Vec::new());
        for grid in &grids {
            let (rows, columns) = (grid.rows(), grid.columns());
            form.extend(
                if swaps_sides(image) { [columns, rows] } else { [rows, columns] }.map(|side| side as i32),
            );
            let cells = rectangle_image(grid.cells(), rows, columns, image);
            form.extend(cells.into_iter().map(|colour| names.of(colour)));
        }
        form
    };
    (0..DIHEDRAL_IMAGES).map(form).min()
}

/// Returns a number that copies of a pair share.
pub fn pair_summary(input: &[i32], output: &[i32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let grids = [input, output].map(find);
    for grid in &grids {
        let sides = |grid: &ArcGrid| {
            let (rows, columns) = (grid.rows(), grid.columns());
            (rows.min(columns), rows.max(columns))
        };
        grid.as_ref().map(sides).hash(&mut hasher);
    }
    let [input, output] = grids.map(|grid| grid.map_or([0; COLOURS], |grid| counts(&grid)));
    let mut counts: Vec<(usize, usize)> = input.into_iter().zip(output).collect();
    counts[1..].sort_unstable();
    counts.hash(&mut hasher);
    hasher.finish()
}

/// Returns how often each colour is there.
fn counts(grid: &ArcGrid) -> [usize; COLOURS] {
    let mut counts = [0; COLOURS];
    grid.cells().iter().for_each(|&colour| counts[usize::from(colour)] += 1);
    counts
}

#[cfg(test)]
pub(in crate::data) mod testing {
    use crate::data::canvas::{ArcGrid, CanvasPlace, encode};

    /// Returns the canvas of a grid of digits whose first cell is at a row and a column.
    pub(in crate::data) fn canvas(grid: &[&str], row: usize, column: usize) -> Vec<i32> {
        let cells = grid.iter().flat_map(|line| line.bytes().map(|digit| digit - b'0')).collect();
        encode(Some(&ArcGrid::of_cells(grid[0].len(), cells)), CanvasPlace { row, column })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::canvas;
    use super::*;

    fn form(input: &[&str], output: &[&str]) -> Option<Vec<i32>> {
        canonical_pair(&canvas(input, 0, 0), &canvas(output, 0, 0))
    }

    #[test]
    fn copies_of_a_pair_have_its_form() {
        let (input, output) = (["120", "300"], ["12", "30", "44"]);
        let expected = form(&input, &output);
        // Moved; with other colours; turned by a quarter to the right.
        assert_eq!(canonical_pair(&canvas(&input, 7, 2), &canvas(&output, 0, 28)), expected);
        assert_eq!(form(&["560", "900"], &["56", "90", "77"]), expected);
        assert_eq!(form(&["31", "02", "00"], &["431", "402"]), expected);
        assert!(expected.is_some());
    }

    #[test]
    fn other_pairs_have_another_form() {
        let expected = form(&["120", "300"], &["12", "30", "44"]);
        for (input, output) in [
            // The black cells are another colour; only one grid is flipped; two colours of one grid change places.
            (["129", "399"], ["12", "39", "44"]),
            (["021", "003"], ["12", "30", "44"]),
            (["210", "300"], ["12", "30", "44"]),
        ] {
            assert_ne!(form(&input, &output), expected);
        }
    }

    #[test]
    fn every_image_of_a_grid_has_one_form() {
        let cells = [1, 0, 2, 3, 4, 0, 0, 5];
        let images: std::collections::BTreeSet<(usize, Vec<u8>)> = (0..DIHEDRAL_IMAGES)
            .map(|image| (if swaps_sides(image) { 2 } else { 4 }, rectangle_image(&cells, 2, 4, image)))
            .collect();
        assert_eq!(images.len(), DIHEDRAL_IMAGES, "they differ");
        for (columns, cells) in images {
            let digits: String = cells.iter().map(u8::to_string).collect();
            let lines: Vec<&str> = (0..8 / columns).map(|row| &digits[row * columns..][..columns]).collect();
            assert_eq!(form(&lines, &["1"]), form(&["1023", "4005"], &["1"]));
            assert_eq!(
                pair_summary(&canvas(&lines, 0, 0), &canvas(&["1"], 5, 5)),
                pair_summary(&canvas(&["1023", "4005"], 1, 1), &canvas(&["1"], 0, 0))
            );
        }
    }

    #[test]
    fn a_canvas_of_30_cells_has_no_border_and_others_may_have_no_grid() {
        let wide = "1".repeat(30);
        let full: Vec<&str> = vec![&wide; 30];
        assert!(form(&full, &["1"]).is_some());
        assert_eq!(canonical_pair(&[0; 900], &canvas(&["1"], 0, 0)), None);
        let mut broken = canvas(&["123", "456", "789"], 0, 0);
        broken[31] = 1;
        assert_eq!(canonical_pair(&broken, &canvas(&["1"], 0, 0)), None);
    }
}
