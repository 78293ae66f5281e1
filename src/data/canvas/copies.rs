//! Copies of a task: their symmetries, their colours, and their names.
//!
//! A copy is called after its task: `007bbfb7_t4_0614732958` has image 4 of every grid, with colour 1 made 6, colour 2
//! made 1 and so on. Newer builders write `007bbfb7|||t4|||0614732958`. Names of tasks may have these characters too, so
//! a name is read from its end.

use super::grid::{ArcGrid, COLOURS};
use crate::data::dihedral::{DIHEDRAL_IMAGES, INVERSES, rectangle_image, swaps_sides};
use crate::data::random::Stream;

/// Draws for each copy that is asked for.
const DRAWS_PER_COPY: usize = 5;

/// What stands between the parts of a name; the first is what hrmc writes.
const SEPARATORS: [&str; 2] = ["_", "|||"];

/// How a copy differs from its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArcCopy {
    /// The dihedral image of every grid.
    image: u8,
    /// What each colour becomes.
    colours: [u8; COLOURS],
}

impl ArcCopy {
    /// Draws a copy: an image, and an order of all colours but 0, which stays.
    pub fn draw(random: &mut Stream) -> ArcCopy {
        let image = random.below(DIHEDRAL_IMAGES) as u8;
        let mut colours = std::array::from_fn(|colour| colour as u8);
        random.shuffle(&mut colours[1..]);
        ArcCopy { image, colours }
    }

    /// Returns the copy of a grid.
    pub fn apply(&self, grid: &ArcGrid) -> ArcGrid {
        moved(grid, usize::from(self.image), &self.colours)
    }

    /// Returns the grid that a grid is the copy of.
    pub fn undo(&self, grid: &ArcGrid) -> ArcGrid {
        let mut colours = [0; COLOURS];
        for (before, &after) in (0..).zip(&self.colours) {
            colours[usize::from(after)] = before;
        }
        moved(grid, INVERSES[usize::from(self.image)], &colours)
    }

    /// Returns the name of the copy of a task.
    pub fn name(&self, task: &str) -> String {
        let [separator, _] = SEPARATORS;
        let colours: String = self.colours.iter().map(u8::to_string).collect();
        format!("{task}{separator}t{}{separator}{colours}", self.image)
    }

    /// Returns all that there is to it, for a hash.
    pub(in crate::data) fn bytes(&self) -> impl Iterator<Item = u8> {
        std::iter::once(self.image).chain(self.colours)
    }

    /// Returns the task itself as a copy.
    pub(super) fn identity() -> ArcCopy {
        ArcCopy { image: 0, colours: std::array::from_fn(|colour| colour as u8) }
    }

    /// Returns what is left of the copy on grids that have some colours only.
    pub(super) fn on_colours(&self, is_used: impl Fn(usize) -> bool) -> ArcCopy {
        let colours = std::array::from_fn(|colour| if is_used(colour) { self.colours[colour] } else { 0 });
        ArcCopy { colours, ..*self }
    }
}

/// Returns the name of the random stream of a task: part 0 draws its copies, and part 1 the places of its grids where
/// they are stored.
pub fn stream_of(task: &str) -> String {
    format!("arc {task}")
}

/// Draws so many copies of a task that are new, or fewer where these are not found in five times as many draws: a task
/// of few colours and much symmetry has few different copies.
pub fn draw_copies(
    task: &str,
    count: usize,
    seed: u64,
    mut is_new: impl FnMut(&ArcCopy) -> bool,
) -> Vec<ArcCopy> {
    let mut random = Stream::new(seed, &stream_of(task), 0);
    let mut copies = Vec::new();
    for _ in 0..count.saturating_mul(DRAWS_PER_COPY) {
        if copies.len() == count {
            break;
        }
        let copy = ArcCopy::draw(&mut random);
        if is_new(&copy) {
            copies.push(copy);
        }
    }
    copies.shrink_to_fit();
    copies
}

/// Returns the task that a name belongs to, and the copy; no copy for the task itself.
pub fn parse_name(name: &str) -> (&str, Option<ArcCopy>) {
    let copy = SEPARATORS.iter().find_map(|separator| {
        let (rest, colours) = name.rsplit_once(separator)?;
        let (task, image) = rest.rsplit_once(separator)?;
        let image = match image.strip_prefix('t')?.as_bytes() {
            [digit @ b'0'..=b'7'] => digit - b'0',
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
            images[usize::from(copy.image)] += 1;
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
