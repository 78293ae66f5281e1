//! Pairs of ARC grids, and a canonical form of them.
//!
//! A row of an ARC dataset is a canvas of 30x30 tokens, with a grid somewhere on it: 0 is padding, 1 the border below
//! and to the right of the grid, 2 and up are the colours 0 and up. Copies of a task differ in where the grids lie, in
//! how they are turned and flipped, and in the names of the colours 1 to 9.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::dataset::Metadata;

/// Cells on a side of the canvas.
const CANVAS: usize = 30;
/// Colours.
const COLOURS: usize = 10;
/// Token of the border below and to the right of a grid.
pub(super) const BORDER: i32 = 1;
/// Token of the colour 0.
pub(super) const COLOUR_ZERO: i32 = 2;
/// Ways to turn and flip a grid.
const IMAGES: usize = 8;

/// Returns whether the rows of a dataset have the size of those of ARC.
pub(super) fn is_arc(metadata: &Metadata) -> bool {
    metadata.seq_len == CANVAS * CANVAS && metadata.vocab_size == COLOURS + COLOUR_ZERO as usize
}

/// The grid of a row.
struct CroppedGrid {
    height: usize,
    width: usize,
    /// `[height * width]`
    colours: Vec<u8>,
}

impl CroppedGrid {
    /// Returns the smallest rectangle with all colours of a canvas; `None` if there is none, or it has other tokens.
    fn of(canvas: &[i32]) -> Option<CroppedGrid> {
        let colour = |token: i32| {
            let colour = u8::try_from(token - COLOUR_ZERO).ok()?;
            (usize::from(colour) < COLOURS).then_some(colour)
        };
        let coloured = || (0..canvas.len()).filter(|&cell| colour(canvas[cell]).is_some());
        let (top, bottom) = (coloured().next()? / CANVAS, coloured().next_back()? / CANVAS);
        let left = coloured().map(|cell| cell % CANVAS).min()?;
        let right = coloured().map(|cell| cell % CANVAS).max()?;
        let cells = (top..=bottom).flat_map(|row| (left..=right).map(move |column| row * CANVAS + column));
        let colours: Option<Vec<u8>> = cells.map(|cell| colour(canvas[cell])).collect();
        Some(CroppedGrid { height: bottom - top + 1, width: right - left + 1, colours: colours? })
    }

    /// Adds height, width and cells of an image, its colours named in the order in which they appear. 0 keeps its name.
    fn add_image(&self, image: usize, names: &mut ColourNames, form: &mut Vec<i32>) {
        let [turned, upside_down, mirrored] = [4, 2, 1].map(|bit| image & bit != 0);
        let (height, width) = if turned { (self.width, self.height) } else { (self.height, self.width) };
        form.extend([height as i32, width as i32]);
        for row in 0..height {
            for column in 0..width {
                let row = if upside_down { height - 1 - row } else { row };
                let column = if mirrored { width - 1 - column } else { column };
                let (row, column) = if turned { (column, row) } else { (row, column) };
                form.push(names.of(self.colours[row * self.width + column]));
            }
        }
    }

    /// Returns how often each colour is there.
    fn counts(&self) -> [usize; COLOURS] {
        let mut counts = [0; COLOURS];
        self.colours.iter().for_each(|&colour| counts[usize::from(colour)] += 1);
        counts
    }
}

/// New names of colours.
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

/// Returns what an input and its output, `[900]` each, have in common with all their copies, and with no other pair.
/// `None` if one of them has no grid.
pub(super) fn canonical_pair(input: &[i32], output: &[i32]) -> Option<Vec<i32>> {
    let grids = [CroppedGrid::of(input)?, CroppedGrid::of(output)?];
    let form = |image: usize| {
        let (mut names, mut form) = (ColourNames::new(), Vec::new());
        grids.iter().for_each(|grid| grid.add_image(image, &mut names, &mut form));
        form
    };
    (0..IMAGES).map(form).min()
}

/// Returns a number that copies of a pair share.
pub(super) fn pair_summary(input: &[i32], output: &[i32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let grids = [input, output].map(CroppedGrid::of);
    for grid in &grids {
        let sides = grid.as_ref().map(|grid| (grid.height.min(grid.width), grid.height.max(grid.width)));
        sides.hash(&mut hasher);
    }
    let [input, output] = grids.map(|grid| grid.map_or([0; COLOURS], |grid| grid.counts()));
    let mut counts: Vec<(usize, usize)> = input.into_iter().zip(output).collect();
    counts[1..].sort_unstable();
    counts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) mod testing {
    use super::{BORDER, CANVAS, COLOUR_ZERO};

    /// Returns the canvas of a grid of digits whose first cell is at a row and a column.
    pub(in crate::data) fn canvas(grid: &[&str], row: usize, column: usize) -> Vec<i32> {
        let mut canvas = vec![0; CANVAS * CANVAS];
        let (height, width) = (grid.len(), grid[0].len());
        for (line, cells) in grid.iter().enumerate() {
            for (place, digit) in cells.bytes().enumerate() {
                canvas[(row + line) * CANVAS + column + place] = i32::from(digit - b'0') + COLOUR_ZERO;
            }
            if column + width < CANVAS {
                canvas[(row + line) * CANVAS + column + width] = BORDER;
            }
        }
        if row + height < CANVAS {
            canvas[(row + height) * CANVAS + column..][..width].fill(BORDER);
        }
        canvas
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
        let grid = CroppedGrid::of(&canvas(&["1023", "4005"], 3, 3)).expect("there is one");
        let forms: std::collections::BTreeSet<_> = (0..IMAGES)
            .map(|image| {
                let mut cells = Vec::new();
                // Colours that are not renamed show that the images differ.
                let mut names =
                    ColourNames { names: std::array::from_fn(|colour| Some(colour as i32)), next: 0 };
                grid.add_image(image, &mut names, &mut cells);
                cells
            })
            .collect();
        assert_eq!(forms.len(), IMAGES);
        for image in forms {
            let (height, width) = (image[0] as usize, image[1] as usize);
            let digits: String = image[2..].iter().map(|colour| colour.to_string()).collect();
            let lines: Vec<&str> = (0..height).map(|row| &digits[row * width..][..width]).collect();
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
