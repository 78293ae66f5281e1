//! The columns of an unrolled segment: which updates are drawn, and which are left out because they repeat others.

use std::ops::Range;

use crate::ir::{Model, Repeat, Step};

/// Fewest equal iterations of which all but the first are left out where a segment is long.
const MANY: usize = 3;

/// A column of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StripColumn {
    /// One update, by its place in the unrolled segment.
    Update(usize),
    /// Iterations that equal the one before.
    LeftOut {
        /// The updates that they have, by their places.
        updates: Range<usize>,
        iterations: usize,
    },
}

impl StripColumn {
    /// Returns the places of the updates that it stands for.
    pub fn updates(&self) -> Range<usize> {
        match self {
            StripColumn::Update(index) => *index..index + 1,
            StripColumn::LeftOut { updates, .. } => updates.clone(),
        }
    }
}

/// Iterations of a loop, above the columns that they take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoopBracket {
    /// Loops around the loop.
    pub depth: usize,
    pub label: Option<String>,
    /// Iterations of the loop in all.
    pub count: usize,
    /// The iterations that the columns have, counted from 0.
    pub iterations: Range<usize>,
    pub columns: Range<usize>,
}

/// The columns of a segment and the loops that they belong to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StripColumns {
    pub columns: Vec<StripColumn>,
    pub brackets: Vec<LoopBracket>,
}

impl StripColumns {
    /// Lays out the segment of `model`: all of it if that takes at most `room` columns, else with the first of many
    /// equal iterations in place of them. Updates are equal if their marks are; `marks` has one for each.
    pub fn new<M: PartialEq>(model: &Model, marks: &[M], room: usize) -> StripColumns {
        let mut walk =
            ColumnWalk { marks, shortens: marks.len() > room, next: 0, columns: vec![], brackets: vec![] };
        walk.steps(&model.segment, 0);
        StripColumns { columns: walk.columns, brackets: walk.brackets }
    }

    /// Returns the loops around each other at most.
    pub fn depth(&self) -> usize {
        self.brackets.iter().map(|bracket| bracket.depth + 1).max().unwrap_or(0)
    }

    /// Cuts the columns into lines of at most `room`. A line is at least half full, and ends where the fewest loops go
    /// on.
    pub fn lines(&self, room: usize) -> Vec<Range<usize>> {
        let mut lines = Vec::new();
        let mut start = 0;
        while self.columns.len() - start > room {
            let cut = |end: &usize| {
                let goes_on =
                    |bracket: &&LoopBracket| bracket.columns.start < *end && *end < bracket.columns.end;
                self.brackets.iter().filter(goes_on).count()
            };
            let end = (start + room.div_ceil(2)..=start + room)
                .rev()
                .min_by_key(cut)
                .expect("a line has room for a column");
            lines.push(start..end);
            start = end;
        }
        lines.push(start..self.columns.len());
        lines
    }
}

struct ColumnWalk<'a, M> {
    marks: &'a [M],
    shortens: bool,
    /// Place of the next update.
    next: usize,
    columns: Vec<StripColumn>,
    brackets: Vec<LoopBracket>,
}

impl<M: PartialEq> ColumnWalk<'_, M> {
    fn steps(&mut self, steps: &[Step], depth: usize) {
        for step in steps {
            match step {
                Step::Update(_) => {
                    self.columns.push(StripColumn::Update(self.next));
                    self.next += 1;
                }
                Step::Repeat(repeat) => self.repeat(repeat, depth),
            }
        }
    }

    fn repeat(&mut self, repeat: &Repeat, depth: usize) {
        let size = updates_of(&repeat.body);
        let marks = self.marks;
        let mut iteration = 0;
        while iteration < repeat.count {
            let of = |later: usize| {
                let start = self.next + (later - iteration) * size;
                &marks[start..start + size]
            };
            let end = (iteration + 1..repeat.count)
                .find(|&later| of(later) != of(iteration))
                .unwrap_or(repeat.count);
            let equal = end - iteration;
            let first = self.columns.len();
            self.steps(&repeat.body, depth + 1);
            self.bracket(repeat, depth, iteration..iteration + 1, first);
            iteration += 1;
            if self.shortens && equal >= MANY {
                let first = self.columns.len();
                let updates = self.next..self.next + (equal - 1) * size;
                self.next = updates.end;
                self.columns.push(StripColumn::LeftOut { updates, iterations: equal - 1 });
                self.bracket(repeat, depth, iteration..end, first);
                iteration = end;
            }
        }
    }

    fn bracket(&mut self, repeat: &Repeat, depth: usize, iterations: Range<usize>, first: usize) {
        self.brackets.push(LoopBracket {
            depth,
            label: repeat.label.clone(),
            count: repeat.count,
            iterations,
            columns: first..self.columns.len(),
        });
    }
}

/// Returns the updates that steps unroll to.
fn updates_of(steps: &[Step]) -> usize {
    let of = |step: &Step| match step {
        Step::Update(_) => 1,
        Step::Repeat(repeat) => repeat.count * updates_of(&repeat.body),
    };
    steps.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::{StripColumn, StripColumns};
    use crate::figure::gradients::Gradients;
    use crate::ir::testing::{example, repeat, update};
    use crate::ir::{Gradient, Model, Operand, StateId};

    /// Returns the columns of `outer: repeat N { inner: repeat T { low }; high }`, each as a letter: the place of an
    /// update, or `+` and the iterations left out.
    fn columns(cycles: usize, steps: usize, gradient: Gradient, room: usize) -> String {
        let [low, high] = [0, 1].map(|index| Operand::State(StateId(index)));
        let low_update = update(0, 0, &[low, Operand::Input]);
        let high_update = update(1, 1, &[high, low]);
        let body = vec![repeat(Some("inner"), steps, vec![low_update]), high_update];
        let model = Model { segment: vec![repeat(Some("outer"), cycles, body)], gradient, ..example() };
        let marks = Gradients::of(&model).reached;
        let strip = StripColumns::new(&model, &marks, room);
        let covered: Vec<usize> = strip.columns.iter().flat_map(StripColumn::updates).collect();
        assert_eq!(covered, (0..marks.len()).collect::<Vec<_>>(), "every update has its column");
        let shown = |column: &StripColumn| match column {
            StripColumn::Update(index) => index.to_string(),
            StripColumn::LeftOut { iterations, .. } => format!("+{iterations}"),
        };
        strip.columns.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_short_segment_is_drawn_whole() {
        assert_eq!(columns(2, 3, Gradient::OneStep, 8), "0 1 2 3 4 5 6 7");
    }

    #[test]
    fn of_many_equal_iterations_the_first_is_drawn() {
        // The last step of the last cycle has a gradient, and the two before it are no longer many.
        assert_eq!(columns(3, 3, Gradient::OneStep, 8), "0 +2 3 4 +2 7 8 9 10 11");
        assert_eq!(columns(3, 6, Gradient::Full, 8), "0 +5 6 +2");
    }

    #[test]
    fn lines_end_between_iterations_of_the_outer_loop() {
        let marks = vec![(); 12];
        let low = update(0, 0, &[Operand::Input]);
        let body = vec![repeat(None, 2, vec![low.clone()]), low];
        let model = Model { segment: vec![repeat(None, 4, body)], ..example() };
        let strip = StripColumns::new(&model, &marks, 12);
        assert_eq!(strip.lines(12).len(), 1);
        assert_eq!(strip.lines(7), [0..6, 6..12]);
        assert_eq!(strip.lines(4), [0..3, 3..6, 6..9, 9..12]);
        assert_eq!(strip.lines(1).len(), 12);
        assert_eq!(strip.depth(), 2);
    }
}
