//! What a split of a dataset holds: sizes, lengths, vocabulary.

use serde::Serialize;

use super::audit::{RepeatedRows, repeated_rows};
use super::dataset::Dataset;
use super::kind::PuzzleKind;
use super::maze::{GOAL, OPEN, PATH, START, WALL};
use super::rules::IGNORED_LABEL;
use super::sudoku::{BLANK, DIGIT_ZERO};

/// What a split holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Rows.
    pub examples: usize,
    /// Puzzles.
    pub puzzles: usize,
    /// Groups.
    pub groups: usize,
    /// The sets, in their order.
    pub sets: Vec<SetSize>,
    /// Tokens of the inputs that are not padding; `None` without rows.
    pub input_lengths: Option<Lengths>,
    /// Labels of a row that count; `None` without rows.
    pub label_lengths: Option<Lengths>,
    /// How often each token is in the inputs, `[V]`.
    pub input_tokens: Vec<u64>,
    /// How often each token is a label that counts, `[V]`.
    pub label_tokens: Vec<u64>,
    /// Labels that are neither trained nor scored.
    pub ignored_labels: u64,
    /// All labels.
    pub labels: u64,
    /// Rows that are equal to a row before.
    pub repeated: RepeatedRows,
}

/// Sizes of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetSize {
    /// Its name.
    pub name: String,
    /// Rows.
    pub examples: usize,
    /// Puzzles.
    pub puzzles: usize,
    /// Groups.
    pub groups: usize,
}

/// Lengths of rows, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// The shortest row.
    pub min: usize,
    /// The row in the middle, the shorter one of two.
    pub median: usize,
    /// The longest row.
    pub max: usize,
}

impl Lengths {
    /// Returns the lengths of rows of which `rows[n]` have `n` tokens; `None` without rows.
    fn of(rows: &[usize]) -> Option<Lengths> {
        let min = rows.iter().position(|&rows| rows > 0)?;
        let max = rows.iter().rposition(|&rows| rows > 0)?;
        let half = rows.iter().sum::<usize>().div_ceil(2);
        let mut before = 0;
        let median = rows.iter().position(|rows| {
            before += rows;
            before >= half
        })?;
        Some(Lengths { min, median, max })
    }
}

/// Returns what a token of a kind stands for: a word or a digit, or nothing where hrmc does not know it.
pub fn token_name(kind: PuzzleKind, token: i32) -> String {
    let word = match (kind, token) {
        (PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. }, _) => "",
        (_, 0) => "padding",
        (PuzzleKind::Sudoku(_), BLANK) => "blank",
        (PuzzleKind::Sudoku(_), _) => return (token - DIGIT_ZERO).to_string(),
        (PuzzleKind::Maze { .. }, WALL) => "wall",
        (PuzzleKind::Maze { .. }, OPEN) => "open",
        (PuzzleKind::Maze { .. }, START) => "start",
        (PuzzleKind::Maze { .. }, GOAL) => "goal",
        (PuzzleKind::Maze { .. }, PATH) => "path",
        (PuzzleKind::Maze { .. }, _) => "",
        (PuzzleKind::Arc, 1) => "end of grid",
        (PuzzleKind::Arc, _) => return format!("colour {}", token - 2),
    };
    word.to_owned()
}

/// Returns what a split holds.
pub fn describe(dataset: &Dataset) -> Description {
    let metadata = dataset.metadata();
    let mut input_tokens = vec![0; metadata.vocab_size];
    let mut label_tokens = vec![0; metadata.vocab_size];
    // Rows of each length.
    let mut input_lengths = vec![0; metadata.seq_len + 1];
    let mut label_lengths = vec![0; metadata.seq_len + 1];
    let mut ignored_labels = 0;
    for row in 0..dataset.examples() {
        let (mut tokens, mut labels) = (0, 0);
        for token in dataset.inputs(row) {
            input_tokens[token as usize] += 1;
            tokens += usize::from(token != metadata.pad_id);
        }
        for label in dataset.labels(row) {
            if label == IGNORED_LABEL {
                ignored_labels += 1;
            } else {
                label_tokens[label as usize] += 1;
                labels += 1;
            }
        }
        input_lengths[tokens] += 1;
        label_lengths[labels] += 1;
    }
    let sets = metadata.sets.iter().enumerate().map(|(index, name)| {
        let ranges = dataset.set(index);
        SetSize {
            name: name.clone(),
            examples: ranges.examples.len(),
            puzzles: ranges.puzzles.len(),
            groups: ranges.groups.len(),
        }
    });
    Description {
        examples: dataset.examples(),
        puzzles: dataset.puzzles(),
        groups: dataset.groups(),
        sets: sets.collect(),
        input_lengths: Lengths::of(&input_lengths),
        label_lengths: Lengths::of(&label_lengths),
        input_tokens,
        label_tokens,
        ignored_labels,
        labels: (dataset.examples() * metadata.seq_len) as u64,
        repeated: repeated_rows(dataset),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::{DatasetBuilder, Metadata};
    use super::super::sudoku::SudokuSize;
    use super::*;

    #[test]
    fn tokens_and_lengths_are_counted_without_padding_and_ignored_labels() {
        let mut builder = DatasetBuilder::new(Metadata::new(5, 4)).unwrap();
        for (inputs, labels) in [
            ([1, 2, 0, 0], [3, 3, 0, 0]),
            ([1, 0, 0, 0], [4, 0, 0, 0]),
            ([1, 2, 3, 4], [0, 0, 0, 0]),
            ([1, 2, 0, 0], [3, 3, 0, 0]),
        ] {
            builder.add_example(&inputs, &labels).unwrap();
            builder.end_puzzle(0).unwrap();
            builder.end_group().unwrap();
        }
        let described = describe(&builder.finish().unwrap());
        assert_eq!(described.input_tokens, [7, 4, 3, 1, 1]);
        assert_eq!(described.label_tokens, [0, 0, 0, 4, 1]);
        assert_eq!((described.ignored_labels, described.labels), (11, 16));
        assert_eq!(described.input_lengths, Some(Lengths { min: 1, median: 2, max: 4 }));
        assert_eq!(described.label_lengths, Some(Lengths { min: 0, median: 1, max: 2 }));
        assert_eq!(described.repeated, RepeatedRows { in_group: 0, across_groups: 1 });
        let set = SetSize { name: "all".to_owned(), examples: 4, puzzles: 4, groups: 4 };
        assert_eq!((described.examples, described.sets), (4, vec![set]));
    }

    #[test]
    fn tokens_are_named_where_the_kind_is_known() {
        let names = |kind: PuzzleKind| -> Vec<String> {
            (0..kind.vocab_size()).map(|token| token_name(kind, token as i32)).collect()
        };
        let sudoku = PuzzleKind::Sudoku(SudokuSize::Four);
        assert_eq!(names(sudoku), ["padding", "blank", "1", "2", "3", "4"]);
        assert_eq!(names(PuzzleKind::Maze { side: 5 }), ["padding", "wall", "open", "start", "goal", "path"]);
        assert_eq!(names(PuzzleKind::Arc)[..4], ["padding", "end of grid", "colour 0", "colour 1"]);
        assert_eq!(names(PuzzleKind::Tokens { length: 4, vocab: 3 }), ["", "", ""]);
    }

    #[test]
    fn a_split_without_rows_has_no_lengths() {
        let described = describe(&DatasetBuilder::new(Metadata::new(5, 4)).unwrap().finish().unwrap());
        assert_eq!((described.input_lengths, described.labels), (None, 0));
    }
}
