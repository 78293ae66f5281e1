//! Where the puzzles of a dataset lie among copies of them that are made when they are asked for.
//!
//! In the stored dataset, each group is one puzzle. Its copies lie behind it, as a builder would have stored them.

use std::ops::Range;
use std::sync::Arc;

use super::canvas::{ArcCopy, CanvasPlace, TaskCopies, encode, find};

/// The numbers of puzzles and examples when copies are counted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CopiedPuzzles {
    tasks: Arc<TaskCopies>,
    /// `[groups]`: the identifier of each group, as it is stored.
    stored_identifiers: Vec<i32>,
    /// `[groups + 1]`: the first stored example of each group, then the end.
    stored_starts: Vec<usize>,
    /// `[groups + 1]`: the first example of each group, then the end.
    example_starts: Vec<usize>,
    /// `[groups + 1]`: the first puzzle of each group, then the end.
    puzzle_starts: Vec<usize>,
}

/// Where the tokens of an example come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExampleSource {
    /// The stored example.
    pub stored: usize,
    /// What is done to it, if anything.
    pub copy: Option<ArcCopy>,
}

impl CopiedPuzzles {
    /// Counts the copies of puzzles with these identifiers, each a group of its own, with the first stored example of
    /// each and then the end.
    pub(super) fn new(
        tasks: Arc<TaskCopies>,
        stored_identifiers: &[i32],
        stored_starts: &[usize],
    ) -> CopiedPuzzles {
        let (mut example_starts, mut puzzle_starts) = (vec![0], vec![0]);
        let (mut examples, mut puzzles) = (0, 0);
        for (&identifier, stored) in stored_identifiers.iter().zip(stored_starts.windows(2)) {
            let in_group = 1 + tasks.copies_of(identifier).len();
            puzzles += in_group;
            examples += in_group * (stored[1] - stored[0]);
            puzzle_starts.push(puzzles);
            example_starts.push(examples);
        }
        CopiedPuzzles {
            tasks,
            stored_identifiers: stored_identifiers.to_vec(),
            stored_starts: stored_starts.to_vec(),
            example_starts,
            puzzle_starts,
        }
    }

    pub(super) fn examples(&self) -> usize {
        *self.example_starts.last().expect("it has the end")
    }

    pub(super) fn puzzles(&self) -> usize {
        *self.puzzle_starts.last().expect("it has the end")
    }

    /// Returns the number of puzzles in the groups before one.
    pub(super) fn puzzles_before(&self, group: usize) -> usize {
        self.puzzle_starts[group]
    }

    /// Returns the number of examples in the groups before one.
    pub(super) fn examples_before(&self, group: usize) -> usize {
        self.example_starts[group]
    }

    pub(super) fn examples_of(&self, puzzle: usize) -> Range<usize> {
        let group = group_at(&self.puzzle_starts, puzzle);
        let length = self.length(group);
        let first = self.example_starts[group] + (puzzle - self.puzzle_starts[group]) * length;
        first..first + length
    }

    pub(super) fn group_of(&self, example: usize) -> usize {
        group_at(&self.example_starts, example)
    }

    pub(super) fn puzzle_of(&self, example: usize) -> usize {
        let group = self.group_of(example);
        self.puzzle_starts[group] + (example - self.example_starts[group]) / self.length(group)
    }

    pub(super) fn identifier(&self, puzzle: usize) -> i32 {
        let group = group_at(&self.puzzle_starts, puzzle);
        let place = puzzle - self.puzzle_starts[group];
        let first = self.tasks.identifier_of(self.stored_identifiers[group]);
        first + i32::try_from(place).expect("all copies have identifiers")
    }

    pub(super) fn source(&self, example: usize) -> ExampleSource {
        let group = self.group_of(example);
        let (place, length) = (example - self.example_starts[group], self.length(group));
        let copies = self.tasks.copies_of(self.stored_identifiers[group]);
        ExampleSource {
            stored: self.stored_starts[group] + place % length,
            copy: (place / length).checked_sub(1).map(|copy| copies[copy]),
        }
    }

    /// Yields all that there is to the copies, for a hash.
    pub(super) fn bytes_to_hash(&self) -> impl Iterator<Item = u8> {
        self.stored_identifiers
            .iter()
            .flat_map(|&identifier| self.tasks.copies_of(identifier).iter().flat_map(ArcCopy::bytes))
    }

    /// Returns the stored examples of a group.
    fn length(&self, group: usize) -> usize {
        self.stored_starts[group + 1] - self.stored_starts[group]
    }
}

/// Returns the group whose part of a list has a place.
fn group_at(starts: &[usize], place: usize) -> usize {
    starts.partition_point(|&start| start <= place) - 1
}

/// Returns the copy of a canvas, `[S]`, with its grid in the corner; one without a grid stays as it is.
pub(super) fn copied(canvas: Vec<i32>, copy: &ArcCopy) -> Vec<i32> {
    match find(&canvas) {
        Some(grid) => encode(Some(&copy.apply(&grid)), CanvasPlace::default()),
        None => canvas,
    }
}
