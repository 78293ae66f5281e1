//! Copies of a task: their symmetries, their colours, and their names.
//!
//! A copy is called after its task: `007bbfb7_t4_0614732958` has image 4 of every grid, with colour 1 made 6, colour 2
//! made 1 and so on. Newer builders write `007bbfb7|||t4|||0614732958`. Names of tasks may have these characters too, so
//! a name is read from its end.

use super::grid::{ArcGrid, COLOURS};
use crate::data::dihedral::{DIHEDRAL_IMAGES, INVERSES, rectangle_image, swaps_sides};
use crate::data::random::Stream;

/// What stands between the parts of a name; the first is what hrmc writes.
const SEPARATORS: [&str; 2] = ["_", "|||"];

/// How a copy differs from its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArcCopy {
    /// The dihedral image of every grid.
    image: usize,
    /// What each colour becomes.
    colours: [u8; COLOURS],
}

impl ArcCopy {
    /// Draws a copy: an image, and an order of all colours but 0, which stays.
    pub fn draw(random: &mut Stream) -> ArcCopy {
        let image = random.below(DIHEDRAL_IMAGES);
        let mut colours = std::array::from_fn(|colour| colour as u8);
        random.shuffle(&mut colours[1..]);
        ArcCopy { image, colours }
    }

    /// Returns the copy of a grid.
    pub fn apply(&self, grid: &ArcGrid) -> ArcGrid {
        moved(grid, self.image, &self.colours)
    }

    /// Returns the grid that a grid is the copy of.
    pub fn undo(&self, grid: &ArcGrid) -> ArcGrid {
        let mut colours = [0; COLOURS];
        for (before, &after) in (0..).zip(&self.colours) {
            colours[usize::from(after)] = before;
        }
        moved(grid, INVERSES[self.image], &colours)
    }

    /// Returns the name of the copy of a task.
    pub fn name(&self, task: &str) -> String {
        let [separator, _] = SEPARATORS;
        let colours: String = self.colours.iter().map(u8::to_string).collect();
        format!("{task}{separator}t{}{separator}{colours}", self.image)
    }
}

/// Returns the task that a name belongs to, and the copy; no copy for the task itself.
pub fn parse_name(name: &str) -> (&str, Option<ArcCopy>) {
    let copy = SEPARATORS.iter().find_map(|separator| {
        let (rest, colours) = name.rsplit_once(separator)?;
        let (task, image) = rest.rsplit_once(separator)?;
        let image = match image.strip_prefix('t')?.as_bytes() {
            [digit @ b'0'..=b'7'] => usize::from(digit - b'0'),
            _ => return None,
        };
        let colours: [u8; COLOURS] = colours.as_bytes().try_into().ok()?;
        let mut sorted = colours;
        sorted.sort_unstable();
        (sorted == *b"0123456789")
            .then(|| (task, Some(ArcCopy { image, colours: colours.map(|digit| digit - b'0') })))
    });
    copy.unwrap_or((name, None))
}

fn moved(grid: &ArcGrid, image: usize, colours: &[u8; COLOURS]) -> ArcGrid {
    let (rows, columns) = (grid.rows(), grid.columns());
    let mut cells = rectangle_image(grid.cells(), rows, columns, image);
    cells.iter_mut().for_each(|cell| *cell = colours[usize::from(*cell)]);
    ArcGrid::of_cells(if swaps_sides(image) { rows } else { columns }, cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_is_undone() {
        let mut random = Stream::new(0, "copies", 0);
        let grid = ArcGrid::of_cells(4, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 7]);
        let mut images = [0; DIHEDRAL_IMAGES];
        for _ in 0..200 {
            let copy = ArcCopy::draw(&mut random);
            assert_eq!(copy.undo(&copy.apply(&grid)), grid, "{copy:?}");
            assert_eq!(copy.colours[0], 0);
            assert_eq!(parse_name(&copy.name("a")), ("a", Some(copy)));
            images[copy.image] += 1;
        }
        assert!(images.iter().all(|&count| count > 0), "{images:?}");
    }

    #[test]
    fn names_are_those_of_the_published_builders() {
        let (task, copy) = parse_name("e133d23d_t4_0614732958");
        let copy = copy.unwrap();
        assert_eq!((task, copy.image, copy.colours), ("e133d23d", 4, [0, 6, 1, 4, 7, 3, 2, 9, 5, 8]));
        assert_eq!(copy.name("e133d23d"), "e133d23d_t4_0614732958");
        assert_eq!(parse_name("e133d23d|||t4|||0614732958"), ("e133d23d", Some(copy)));
        let grid = ArcGrid::of_cells(2, vec![1, 2]);
        assert_eq!(copy.apply(&grid).cells(), [1, 6], "flipped left and right, 2 made 1 and 1 made 6");
    }

    #[test]
    fn a_task_may_have_the_characters_between_the_parts() {
        let (task, copy) = parse_name("l6abcd_t4_x_t4_0614732958");
        assert_eq!((task, copy.is_some()), ("l6abcd_t4_x", true));
        for name in [
            "a_b",
            "a_t4",
            "a_t4_123",
            "a_t8_0123456789",
            "a_t44_0123456789",
            "a_4_0123456789",
            "a_t4_0123456788",
            "a_t4|||0123456789",
            "_",
            "",
        ] {
            assert_eq!(parse_name(name), (name, None));
        }
    }
}
