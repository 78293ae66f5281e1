//! How two specs differ in what they mean: in their values and in their loop nests.

use std::collections::BTreeSet;

use serde::Serialize;

use super::values::{Blocks, Values, one_block};
use crate::ir::Model;

/// How two specs differ.
///
/// # Examples
///
/// ```
/// use hrmc::Spec;
///
/// let [sudoku, maze] = ["specs/sudoku.hrm", "specs/maze.hrm"].map(|path| Spec::open(path, &[]));
/// let diff = sudoku?.diff(&maze?);
/// let positions = diff.values.iter().find(|change| change.path == "model.tokens.positions").expect("they differ");
/// assert_eq!((positions.old.as_deref(), positions.new.as_deref()), (Some("81"), Some("900")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecDiff {
    /// The paths whose values differ, in the order of the texts.
    pub values: Vec<ValueChange>,
    /// Every line of both loop nests.
    pub loop_nest: Vec<LineChange>,
}

/// A path whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    /// The path, as in `--set`.
    pub path: String,
    /// Value in the first spec; absent where only the second one has the path.
    pub old: Option<String>,
    /// Value in the second spec; absent where only the first one has the path.
    pub new: Option<String>,
}

/// Which of two texts a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both have it.
    Both,
    /// Only the first one has it.
    Old,
    /// Only the second one has it.
    New,
}

/// A line of a loop nest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineChange {
    /// Where it stands.
    pub side: Side,
    /// The line, indented.
    pub line: String,
}

impl SpecDiff {
    /// Compares two models.
    pub(super) fn of(first: &Model, second: &Model) -> SpecDiff {
        let blocks = if one_block(first) && one_block(second) { Blocks::Once } else { Blocks::PerNetwork };
        let (a, b) = (Values::of(first, blocks), Values::of(second, blocks));
        SpecDiff { values: value_changes(&a, &b), loop_nest: line_changes(&a.segment, &b.segment) }
    }

    /// Returns whether both specs have the same values and the same loop nest.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.has_one_loop_nest()
    }

    /// Returns whether both specs have the same loop nest.
    pub fn has_one_loop_nest(&self) -> bool {
        self.loop_nest.iter().all(|change| change.side == Side::Both)
    }
}

fn value_changes(a: &Values, b: &Values) -> Vec<ValueChange> {
    let value = |values: &Values, path: &str| {
        values.values.iter().find(|entry| entry.path == path).map(|entry| entry.value.clone())
    };
    let mut seen = BTreeSet::new();
    let paths = a.values.iter().chain(&b.values).map(|entry| &entry.path);
    paths
        .filter(|path| seen.insert(path.as_str()))
        .map(|path| ValueChange { path: path.clone(), old: value(a, path), new: value(b, path) })
        .filter(|change| change.old != change.new)
        .collect()
}

/// Compares two texts by their longest common subsequence of lines.
fn line_changes(a: &[String], b: &[String]) -> Vec<LineChange> {
    // `common[i][j]` is the length of the longest common subsequence of `a[i..]` and `b[j..]`.
    let mut common = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] =
                if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut changes = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let (side, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            i += 1;
            j += 1;
            (Side::Both, &a[i - 1])
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            (Side::Old, &a[i - 1])
        } else {
            j += 1;
            (Side::New, &b[j - 1])
        };
        changes.push(LineChange { side, line: line.clone() });
    }
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{LineChange, Side, line_changes};
    use crate::spec::Spec;

    #[test]
    fn lines_keep_their_order_and_equal_ones_stand_once() {
        let lines = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let changes = line_changes(&lines("a b c d"), &lines("a x c d e"));
        let found: Vec<(Side, &str)> =
            changes.iter().map(|LineChange { side, line }| (*side, line.as_str())).collect();
        assert_eq!(
            found,
            [
                (Side::Both, "a"),
                (Side::Old, "b"),
                (Side::New, "x"),
                (Side::Both, "c"),
                (Side::Both, "d"),
                (Side::New, "e")
            ]
        );
    }

    #[test]
    fn a_text_that_is_empty_differs_in_every_line() {
        let changes = line_changes(&[], &["a".to_string()]);
        assert_eq!(changes, [LineChange { side: Side::New, line: "a".to_string() }]);
        assert_eq!(line_changes(&[], &[]), []);
    }

    #[test]
    fn shipped_specs_differ_in_what_they_say_and_serialise() {
        let open = |path: &str| Spec::open(path, &[]).expect("it is shipped");
        let (sudoku, maze) = (open("specs/sudoku.hrm"), open("specs/maze.hrm"));
        let diff = sudoku.diff(&maze);
        let name = &diff.values[0];
        assert_eq!(
            (name.path.as_str(), name.old.as_deref(), name.new.as_deref()),
            ("model", Some("sudoku"), Some("maze"))
        );
        assert!(!diff.is_empty() && diff.has_one_loop_nest());
        let json = serde_json::to_value(&diff).expect("it is plain data");
        assert_eq!(json["values"][0], json!({ "path": "model", "old": "sudoku", "new": "maze" }));
        assert_eq!(json["loop_nest"][0], json!({ "side": "both", "line": "cycle: repeat 2 {" }));
        assert!(sudoku.diff(&sudoku).is_empty());
    }
}
