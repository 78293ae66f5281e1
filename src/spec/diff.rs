//! How two specs differ in what they mean: in their values, and in their networks, states and loop nests.

use serde::Serialize;

use crate::ir::Model;
use crate::spell::{Blocks, Entry, NameOf, Parts, Values, one_block};

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
    /// Every network of both.
    pub networks: Vec<LineChange>,
    /// Every state of both.
    pub states: Vec<LineChange>,
    /// Every line of both loop nests.
    pub loop_nest: Vec<LineChange>,
    /// Whether the loop nests differ in more than the counts of labelled loops.
    #[serde(skip)]
    nests_differ: bool,
}

/// A path whose value differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueChange {
    /// The path, as an override of the first spec has it.
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

/// A line of a loop nest, or a network or a state on a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineChange {
    /// Where it stands.
    pub side: Side,
    /// The line, indented.
    pub line: String,
}

/// What overrides cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structure {
    /// Steps, and counts of loops without a label.
    LoopNest,
    /// Which networks there are.
    Networks,
    /// Which states there are.
    States,
}

impl Structure {
    /// Returns what the part is called.
    pub fn name(self) -> &'static str {
        match self {
            Structure::LoopNest => "loop nest",
            Structure::Networks => "networks",
            Structure::States => "states",
        }
    }
}

impl ValueChange {
    /// Returns the override that gives the first spec the value of the second one, as in `train.batch=64`.
    pub fn to_override(&self) -> String {
        format!("{}={}", self.path, shown(self.new.as_deref()))
    }
}

/// Returns a value as an override has it: `none` for one that is absent.
pub fn shown(value: Option<&str>) -> &str {
    value.unwrap_or("none")
}

impl SpecDiff {
    /// Compares two models.
    pub(super) fn of(first: &Model, second: &Model) -> SpecDiff {
        let blocks = if one_block(first) && one_block(second) { Blocks::Once } else { Blocks::PerNetwork };
        let (a, b) = (Values::of(first, blocks), Values::of(second, blocks));
        let mut values = Vec::new();
        changes(&a.entries, &b.entries, &mut values);
        SpecDiff {
            values,
            networks: named_changes(&a, &b, NameOf::Network),
            states: named_changes(&a, &b, NameOf::State),
            loop_nest: line_changes(&a.segment, &b.segment),
            nests_differ: a.nest != b.nest,
        }
    }

    /// Returns whether both specs mean the same.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.structure().is_empty()
    }

    /// Returns whether both specs have the same loop nest.
    pub fn has_one_loop_nest(&self) -> bool {
        is_equal(&self.loop_nest)
    }

    /// Returns the overrides that give the first spec the values of the second one, as in `train.batch=64`. They make
    /// it mean the same unless the two differ in [structure](SpecDiff::structure).
    pub fn overrides(&self) -> Vec<String> {
        self.values.iter().map(ValueChange::to_override).collect()
    }

    /// Returns in which parts the two differ that overrides cannot change.
    pub fn structure(&self) -> Vec<Structure> {
        let parts = [
            (Structure::LoopNest, self.nests_differ),
            (Structure::Networks, !is_equal(&self.networks)),
            (Structure::States, !is_equal(&self.states)),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
    }
}

/// Returns whether both sides have every line.
pub fn is_equal(lines: &[LineChange]) -> bool {
    lines.iter().all(|change| change.side == Side::Both)
}

/// Adds what an override of the first has to say to make it the second.
fn changes(a: &[Entry], b: &[Entry], found: &mut Vec<ValueChange>) {
    for old in a {
        let new = b.iter().find(|new| new.path == old.path && new.name_of == old.name_of);
        match (new, &old.parts) {
            // Networks, states and loops cannot be taken away.
            (None, _) if old.name_of.is_some() => {}
            (None, _) => found.push(change(&old.path, Some(&old.value), None)),
            (Some(new), parts) => match (parts, &new.parts) {
                (Parts::Section(a), Parts::Section(b)) => changes(a, b, found),
                (Parts::Settings { word, entries: a }, Parts::Settings { word: other, entries: b })
                    if word == other =>
                {
                    changes(a, b, found);
                }
                _ if old.value != new.value => {
                    found.push(change(&old.path, Some(&old.value), Some(&new.value)));
                }
                _ => {}
            },
        }
    }
    for new in b.iter().filter(|new| new.name_of.is_none() && a.iter().all(|old| old.path != new.path)) {
        match &new.parts {
            // A whole section is no value; each of its entries is.
            Parts::Section(b) => changes(&[], b, found),
            Parts::None | Parts::Settings { .. } => found.push(change(&new.path, None, Some(&new.value))),
        }
    }
}

fn change(path: &str, old: Option<&str>, new: Option<&str>) -> ValueChange {
    ValueChange { path: path.to_string(), old: old.map(str::to_string), new: new.map(str::to_string) }
}

/// Compares the networks or the states by their names, in order; what both have is on one line for both.
fn named_changes(a: &Values, b: &Values, kind: NameOf) -> Vec<LineChange> {
    let entries = |values: &Values| -> Vec<Entry> {
        values.entries.iter().filter(|entry| entry.name_of == Some(kind)).cloned().collect()
    };
    let (a, b) = (entries(a), entries(b));
    let paths = |entries: &[Entry]| entries.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>();
    let keyword = if kind == NameOf::Network { "network" } else { "state" };
    let line = |side: Side, path: &str| {
        let list = if side == Side::New { &b } else { &a };
        let entry =
            list.iter().find(|entry| entry.path == path).expect("the line is the path of one of them");
        let name = path.rsplit('.').next().expect("splitting yields a part");
        match side {
            Side::Both => format!("{keyword} {name}"),
            Side::Old | Side::New => format!("{keyword} {name} = {}", entry.value),
        }
    };
    let changed = line_changes(&paths(&a), &paths(&b));
    changed.into_iter().map(|change| LineChange { line: line(change.side, &change.line), ..change }).collect()
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
    use proptest::prelude::ProptestConfig;
    use proptest::{prop_assert, prop_assert_eq, prop_assume, proptest};
    use serde_json::json;

    use super::{LineChange, Side, Structure, line_changes};
    use crate::diagnostic::Diagnostic;
    use crate::spec::{Spec, SpecError};
    use crate::spell;
    use crate::spell::testing::{is_idle, models, relative};

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

    /// Returns the spec of a generated model, or nothing where its loop nest is refused.
    fn spec_of(model: &crate::ir::Model) -> Option<Spec> {
        unless_idle(Spec::parse("generated.hrm", &spell::text(model)))
    }

    fn unless_idle(spec: Result<Spec, SpecError>) -> Option<Spec> {
        match spec {
            Err(error) if is_idle(&error.diagnostics().cloned().collect::<Vec<Diagnostic>>()) => None,
            spec => Some(spec.expect("nothing else is wrong with it")),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn overrides_reach_every_model_of_one_structure(one in models(), other in models()) {
            let second = relative(&one, other);
            let (Some(first), Some(second)) = (spec_of(&one), spec_of(&second)) else {
                prop_assume!(false, "the loop nest is refused");
                unreachable!("assumed");
            };
            let diff = first.diff(&second);
            prop_assert_eq!(diff.structure(), Vec::<Structure>::new());
            let overrides = diff.overrides();
            let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
            let arrived = first.with(&overrides);
            prop_assert!(arrived.is_ok(), "{overrides:#?}\n{arrived:?}");
            let arrived = arrived.expect("it is there");
            prop_assert_eq!(arrived.model(), second.model());
        }
    }
}
