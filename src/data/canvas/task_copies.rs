//! Copies of tasks that are made when they are asked for.
//!
//! They are what a builder would store, without the cells: for each task, a list of images and of orders of colours.
//! Names, identifiers and grids follow from that. The draws are those of [`ArcBuild`](crate::data::arc::ArcBuild) with
//! the same seed. It refuses copies whose grids are those of another copy. Here the grids are not looked at, and a copy
//! is refused if it differs from another one in colours alone that its task does not have; copies of a task with
//! symmetries of its own may be equal.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::copies::{ArcCopy, draw_copies, parse_name};
use super::grid::{ArcGrid, COLOURS};
use crate::data::error::DataError;
use crate::reading::shortened;

/// The colours that a task has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColourSet([bool; COLOURS]);

impl ColourSet {
    /// Adds the colours of a grid.
    pub fn add(&mut self, grid: &ArcGrid) {
        grid.cells().iter().for_each(|&colour| self.0[usize::from(colour)] = true);
    }
}

/// The copies of the tasks of a dataset. A task has an identifier as it is stored, counted without copies; its copies
/// follow it in the identifiers that count them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCopies {
    /// `[stored]`: the names of the stored identifiers.
    names: Vec<String>,
    /// `[stored]`: the copies of each.
    copies: Vec<Vec<ArcCopy>>,
    /// `[stored + 1]`: what each stored identifier becomes, then the number of all.
    starts: Vec<i32>,
}

impl TaskCopies {
    /// Draws up to `count` copies of each task. Names and colours are by stored identifier; an identifier of no task
    /// has no colours.
    ///
    /// # Errors
    ///
    /// If a task has no name or is a copy itself, or there are too many copies to number.
    pub fn draw(
        names: Vec<String>,
        colours: &[Option<ColourSet>],
        count: usize,
        seed: u64,
    ) -> Result<TaskCopies, DataError> {
        let mut all = TaskCopies { names, copies: Vec::with_capacity(colours.len()), starts: vec![0] };
        for (identifier, colours) in colours.iter().enumerate() {
            let copies = match colours {
                None => Vec::new(),
                Some(colours) => all.draw_of(identifier, colours, count, seed)?,
            };
            let next = i32::try_from(copies.len() + 1).ok().and_then(|more| all.end().checked_add(more));
            all.starts.push(next.ok_or_else(|| {
                DataError::request("there are too many copies to number; ask for fewer copies of each task")
            })?);
            all.copies.push(copies);
        }
        all.names.truncate(colours.len());
        Ok(all)
    }

    fn draw_of(
        &self,
        identifier: usize,
        colours: &ColourSet,
        count: usize,
        seed: u64,
    ) -> Result<Vec<ArcCopy>, DataError> {
        let name = self.names.get(identifier).ok_or_else(|| {
            DataError::request(format!("puzzle identifier {identifier} has no name in `identifiers.json`"))
        })?;
        if let (task, Some(_)) = parse_name(name) {
            return Err(DataError::request(format!(
                "it has copies already, such as `{}` of task `{}`; build it without any (`hrmc data arc --copies 0`)",
                shortened(name),
                shortened(task)
            )));
        }
        let shown = |copy: &ArcCopy| copy.on_colours(|colour| colours.0[colour]);
        let mut seen = BTreeSet::from([shown(&ArcCopy::identity())]);
        Ok(draw_copies(name, count, seed, |copy| seen.insert(shown(copy))))
    }

    fn end(&self) -> i32 {
        *self.starts.last().expect("there is a first one")
    }

    /// Returns the number of identifiers, copies included.
    pub fn identifiers(&self) -> usize {
        usize::try_from(self.end()).expect("identifiers count from 0")
    }

    /// Returns the number of identifiers as they are stored.
    pub(in crate::data) fn stored_identifiers(&self) -> usize {
        self.copies.len()
    }

    /// Returns what a stored identifier becomes; the copies have those behind it.
    pub(in crate::data) fn identifier_of(&self, stored: i32) -> i32 {
        self.starts[index(stored)]
    }

    /// Returns the copies of the task of a stored identifier.
    pub(in crate::data) fn copies_of(&self, stored: i32) -> &[ArcCopy] {
        &self.copies[index(stored)]
    }

    /// Returns the name of an identifier.
    pub fn name(&self, identifier: i32) -> Option<Cow<'_, str>> {
        if identifier < 0 || identifier >= self.end() {
            return None;
        }
        let stored = self.starts.partition_point(|&start| start <= identifier) - 1;
        let name = self.names.get(stored)?;
        match index(identifier - self.starts[stored]) {
            0 => Some(Cow::Borrowed(name)),
            place => Some(Cow::Owned(self.copies[stored][place - 1].name(name))),
        }
    }

    /// Returns the bytes that it takes in memory.
    pub fn bytes(&self) -> u64 {
        let copies = self.copies.iter().map(|copies| copies.len() * size_of::<ArcCopy>()).sum::<usize>();
        let names = self.names.iter().map(String::len).sum::<usize>();
        let of_each = size_of::<String>() + size_of::<Vec<ArcCopy>>() + size_of::<i32>();
        (copies + names + self.copies.len() * of_each) as u64
    }
}

fn index(identifier: i32) -> usize {
    usize::try_from(identifier).expect("identifiers count from 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colours(used: &[usize]) -> Option<ColourSet> {
        let mut set = ColourSet::default();
        used.iter().for_each(|&colour| set.0[colour] = true);
        Some(set)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn identifiers_count_the_copies_of_each_task_behind_it() {
        let used = [None, colours(&[0, 1, 2, 3]), None, colours(&[0, 4, 5, 6])];
        let copies = TaskCopies::draw(names(&["<blank>", "a", "nothing", "b"]), &used, 3, 0).unwrap();
        assert_eq!(copies.identifiers(), 10);
        assert_eq!([0, 1, 2, 3].map(|stored| copies.identifier_of(stored)), [0, 1, 5, 6]);
        let name = |identifier| copies.name(identifier).map(Cow::into_owned);
        assert_eq!((name(0).as_deref(), name(5).as_deref()), (Some("<blank>"), Some("nothing")));
        assert_eq!((name(1).as_deref(), name(6).as_deref()), (Some("a"), Some("b")));
        assert_eq!((name(-1), name(10)), (None, None));
        for (stored, task, first) in [(1, "a", 2), (3, "b", 7)] {
            for (place, copy) in (0..).zip(copies.copies_of(stored)) {
                let name = name(first + place).unwrap();
                assert_eq!(parse_name(&name), (task, Some(*copy)));
            }
        }
        // Each task has a stream of its own.
        assert_ne!(copies.copies_of(1), copies.copies_of(3));
        let other = TaskCopies::draw(names(&["<blank>", "a", "nothing", "b"]), &used, 3, 1).unwrap();
        assert_ne!(copies.copies_of(1), other.copies_of(1));
    }

    #[test]
    fn copies_that_differ_in_colours_alone_that_the_task_does_not_have_count_as_one() {
        let drawn = |used: &[usize]| {
            let copies = TaskCopies::draw(names(&["a"]), &[colours(used)], 1000, 0).unwrap();
            copies.copies_of(0).len()
        };
        // Eight images of black alone, the task itself being the first; and each with nine names of one colour.
        assert_eq!(drawn(&[0]), 7);
        assert_eq!(drawn(&[0, 3]), 71);
        // Of two colours there are 8 * 9 * 8, of which the draws may miss one, and of three enough.
        assert!((570..576).contains(&drawn(&[3, 4])));
        assert_eq!(drawn(&[0, 3, 4, 7]), 1000);
    }

    #[test]
    fn what_has_copies_or_no_name_is_refused() {
        let said = |list: &[&str]| {
            let used = vec![colours(&[1]); 2];
            TaskCopies::draw(names(list), &used, 1, 0).unwrap_err().to_string()
        };
        assert_eq!(
            said(&["a", "a_t4_0614732958"]),
            "it has copies already, such as `a_t4_0614732958` of task `a`; build it without any (`hrmc data arc \
             --copies 0`)"
        );
        assert_eq!(said(&["a"]), "puzzle identifier 1 has no name in `identifiers.json`");
    }
}
