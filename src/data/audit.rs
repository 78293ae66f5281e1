//! What keeps data from teaching, or from measuring what was taught.
//!
//! [`audit`] goes once over the rows of both splits and names each kind of fault with its count and its first row. It
//! looks for rows without a label that counts, for answers that contradict their questions or each other, and for rows
//! that occur twice. Rows are compared by two 64-bit hashes, one of the question and one of the answer: two different
//! rows are taken for equal once in millions of large datasets, and a finding changes no result.
//!
//! Some data repeats itself with good reason, and nothing is said about that:
//!
//! - The copies of a puzzle make up a group. They may be equal, since each epoch draws one of them.
//! - Where hrmc does not know the kind of puzzle, the identifier is part of the question: tasks of ARC share inputs and
//!   differ in what is asked for.
//! - Few rows that occur twice within a split change nothing. The same holds for few test rows that are training rows
//!   of another identifier: in ARC-AGI-1, one test pair in 419 is that of a training task.
//! - Labels may be ignored where the question has padding, and at the givens of a Sudoku.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::dataset::{Dataset, Split};
use super::kind::PuzzleKind;
use super::rules::{IGNORED_LABEL, fault_of_maze, fault_of_sudoku, is_right_sudoku};
use super::sudoku::BLANK;

/// Smallest share of rows that has to occur twice before that is a finding.
const REPEATED_SHARE: f64 = 0.01;
/// Smallest share of test rows that have to be training rows of another identifier before that is a finding.
const FOREIGN_SHARE: f64 = 0.01;
/// Smallest share of ignored labels that is a finding.
const IGNORED_SHARE: f64 = 0.5;

/// A row of a dataset.
///
/// # Examples
///
/// ```
/// let place = hrmc::RowPlace { split: hrmc::Split::Test, row: 3 };
/// assert_eq!(place.to_string(), "row 3 of `test`");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RowPlace {
    /// The split.
    pub split: Split,
    /// The row, counted from 0 over all sets of the split.
    pub row: usize,
}

impl std::fmt::Display for RowPlace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "row {} of `{}`", self.row, self.split)
    }
}

/// A kind of fault in data.
///
/// # Examples
///
/// ```
/// use hrmc::FindingKind;
///
/// assert!(FindingKind::NothingToLearn.is_error());
/// assert!(!FindingKind::SharedRows.is_error(), "such data can be trained on, though it misleads");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The training split has no rows, or every label of it is ignored.
    NothingToLearn,
    /// Every label of the test split is ignored.
    NothingToMeasure,
    /// The test split has no rows.
    NoTestRows,
    /// Some rows have no label that counts.
    RowsWithoutLabels,
    /// Many labels are ignored in the rows that have others.
    ManyIgnoredLabels,
    /// Answers that contradict their questions, or the rules of the puzzle.
    WrongAnswers,
    /// Questions that have different answers.
    ContradictoryAnswers,
    /// Test rows that are training rows.
    SharedRows,
    /// Rows that occur more than once in a split.
    RepeatedRows,
}

impl FindingKind {
    /// Returns whether there is nothing to train on.
    pub fn is_error(self) -> bool {
        self == FindingKind::NothingToLearn
    }
}

/// A fault in data, with its count and its first row.
///
/// It displays as one line that says what to do.
///
/// # Examples
///
/// ```
/// use hrmc::{Data, Dataset, FindingKind};
///
/// let rows = [(vec![1, 2], vec![2, 1]), (vec![3, 1], vec![1, 3])];
/// let data = Data::given(Dataset::from_rows(4, &rows)?, Dataset::from_rows(4, &rows[1..])?);
/// let finding = &data.findings()[0];
/// assert_eq!((finding.kind, finding.count, finding.of), (FindingKind::SharedRows, 1, 1));
/// println!("{finding}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The rows that are concerned; for [`FindingKind::ManyIgnoredLabels`] the labels.
    pub count: usize,
    /// The rows, or labels, among which they are.
    pub of: usize,
    /// The first of the rows, if there is one.
    pub first: Option<RowPlace>,
    /// The row that it repeats or contradicts, if there is one.
    pub other: Option<RowPlace>,
    /// What is wrong and what to do, in one line.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Returns what keeps data from teaching or measuring, errors first. A split that is not given is not looked at.
pub fn audit(train: Option<&Dataset>, test: Option<&Dataset>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (split, dataset) in [(Split::Train, train), (Split::Test, test)] {
        if let Some(dataset) = dataset {
            labels(split, dataset, &mut findings);
            answers(split, dataset, &mut findings);
        }
    }
    Comparison { train, test }.report(&mut findings);
    findings.sort_by_key(|finding| (!finding.kind.is_error(), finding.kind));
    findings
}

/// Rows of a split that are equal to a row before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RepeatedRows {
    /// Those that are in the group of the first such row. Copies of a puzzle may be equal.
    pub in_group: usize,
    /// Those that are in another group.
    pub across_groups: usize,
}

/// Returns how many rows of a split occur before. Where hrmc does not know the kind of puzzle, rows with different
/// identifiers differ.
pub fn repeated_rows(dataset: &Dataset) -> RepeatedRows {
    let comparison = Comparison { train: Some(dataset), test: None };
    let keys = comparison.keys(true);
    let mut repeated = [FoundRows::default(), FoundRows::default()];
    let mut all = 0;
    for equal in keys.chunk_by(RowKey::is_equal) {
        all += equal.len() - 1;
        comparison.equal_rows(equal, &mut FoundRows::default(), &mut repeated);
    }
    let across_groups = repeated[0].count;
    RepeatedRows { in_group: all - across_groups, across_groups }
}

/// Returns `3 of 40 rows of `train``, and the first of them.
fn some(count: usize, of: usize, first: RowPlace) -> String {
    let RowPlace { split, row } = first;
    format!(
        "{count} of {of} {} of `{split}`, first row {row} (counted from 0),",
        if of == 1 { "row" } else { "rows" }
    )
}

/// Looks for labels that do not count.
fn labels(split: Split, dataset: &Dataset, findings: &mut Vec<Finding>) {
    let rows = dataset.examples();
    let finding = |kind, count, of, row: Option<usize>, message| Finding {
        kind,
        count,
        of,
        first: row.map(|row| RowPlace { split, row }),
        other: None,
        message,
    };
    if rows == 0 {
        let (kind, message) = match split {
            Split::Train => {
                (FindingKind::NothingToLearn, "`train` has no rows, so there is nothing to learn")
            }
            Split::Test => {
                (FindingKind::NoTestRows, "`test` has no rows, so nothing is evaluated; add held-out puzzles")
            }
        };
        findings.push(finding(kind, 0, 0, None, message.to_owned()));
        return;
    }
    let asks = |token: i32| match dataset.kind() {
        PuzzleKind::Sudoku(_) => token == BLANK,
        _ => token != dataset.metadata().pad_id,
    };
    let mut without = (0, None);
    let (mut ignored, mut asked, mut first_ignored) = (0, 0, None);
    for row in 0..rows {
        let (mut row_counts, mut row_ignored, mut row_asked) = (false, 0, 0);
        for (token, label) in dataset.inputs(row).zip(dataset.labels(row)) {
            let counts = label != IGNORED_LABEL;
            row_counts |= counts;
            row_asked += usize::from(asks(token));
            row_ignored += usize::from(asks(token) && !counts);
        }
        if row_counts {
            (ignored, asked) = (ignored + row_ignored, asked + row_asked);
            if row_ignored > 0 {
                first_ignored = first_ignored.or(Some(row));
            }
        } else {
            without = (without.0 + 1, without.1.or(Some(row)));
        }
    }
    let label = dataset
        .metadata()
        .ignore_label_id
        .map_or(String::new(), |label| format!(" (`ignore_label_id` is {label})"));
    if let (count, Some(row)) = without {
        let first = RowPlace { split, row };
        if count < rows {
            let message = format!(
                "{} have no label that counts{label} and teach nothing; give them answers, or remove them",
                some(count, rows, first)
            );
            findings.push(finding(FindingKind::RowsWithoutLabels, count, rows, Some(row), message));
        } else {
            let (kind, so) = match split {
                Split::Train => (FindingKind::NothingToLearn, "there is nothing to learn"),
                Split::Test => (FindingKind::NothingToMeasure, "nothing can be evaluated"),
            };
            let message = format!(
                "every label of the {rows} rows of `{split}` is ignored{label}, from row {row} on, so {so}; write the \
                 answers into the labels, or change `ignore_label_id` in `{split}/dataset.json`"
            );
            findings.push(finding(kind, count, rows, Some(row), message));
        }
    }
    if let Some(row) = first_ignored
        && ignored as f64 > IGNORED_SHARE * asked as f64
    {
        let message = format!(
            "{ignored} of {asked} labels of `{split}` where the question asks for something are ignored{label}, the \
             first in row {row} (counted from 0); write the answers into the labels, if that is not intended"
        );
        findings.push(finding(FindingKind::ManyIgnoredLabels, ignored, asked, Some(row), message));
    }
}

/// Looks for answers that contradict their questions, or the rules.
///
/// Where nobody says what the rows are, their sizes suggest it, and most of them have to agree.
fn answers(split: Split, dataset: &Dataset, findings: &mut Vec<Finding>) {
    let metadata = dataset.metadata();
    let suggested = || PuzzleKind::of_sizes(metadata.seq_len, metadata.vocab_size);
    let declared = metadata.declared_kind();
    let Some(kind) = declared.or_else(suggested).filter(|kind| kind.has_rules()) else { return };
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    let mut wrong: Option<(usize, String)> = None;
    let mut count = 0;
    for row in 0..dataset.examples() {
        question.clear();
        answer.clear();
        question.extend(dataset.inputs(row));
        answer.extend(dataset.labels(row));
        let fault = match kind {
            PuzzleKind::Sudoku(size) => (!is_right_sudoku(size, &question, &answer)).then(|| {
                if wrong.is_none() { fault_of_sudoku(size, &question, &answer) } else { String::new() }
            }),
            _ => fault_of_maze(&question, &answer),
        };
        if let Some(why) = fault {
            count += 1;
            wrong.get_or_insert((row, why));
        }
    }
    if declared.is_none() && 2 * count > dataset.examples() {
        return;
    }
    if let Some((row, why)) = wrong {
        let (of, first) = (dataset.examples(), RowPlace { split, row });
        let is = if matches!(kind, PuzzleKind::Sudoku(_)) { "Sudoku" } else { "a maze" };
        let message = format!(
            "{} have a wrong answer: {why}; mend or remove them (rows of this length and vocabulary are taken for \
             {is})",
            some(count, of, first)
        );
        findings.push(Finding {
            kind: FindingKind::WrongAnswers,
            count,
            of,
            first: Some(first),
            other: None,
            message,
        });
    }
}

/// A row, by what is compared. Keys are sorted by question, then answer, then place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey {
    question: u64,
    answer: u64,
    /// Rows of the training split first.
    row: usize,
}

impl RowKey {
    fn is_equal(&self, other: &RowKey) -> bool {
        self.question == other.question && self.answer == other.answer
    }
}

/// Both splits, whose rows are compared with each other.
struct Comparison<'a> {
    train: Option<&'a Dataset>,
    test: Option<&'a Dataset>,
}

/// Rows of a kind that were found.
#[derive(Default)]
struct FoundRows {
    count: usize,
    /// The first row, and the one that it is like.
    first: Option<(usize, usize)>,
}

impl FoundRows {
    fn add(&mut self, row: usize, other: usize) {
        self.count += 1;
        if self.first.is_none_or(|(first, _)| row < first) {
            self.first = Some((row, other));
        }
    }
}

impl Comparison<'_> {
    fn report(&self, findings: &mut Vec<Finding>) {
        let keys = self.keys(true);
        let mut contradictory = FoundRows::default();
        let mut shared = FoundRows::default();
        let mut repeated = [FoundRows::default(), FoundRows::default()];
        for question in keys.chunk_by(|one, next| one.question == next.question) {
            if question.len() == 1 {
                continue;
            }
            let answers = question.chunk_by(|one, next| one.answer == next.answer);
            answers.clone().for_each(|equal| self.equal_rows(equal, &mut shared, &mut repeated));
            if answers.count() > 1 {
                let first = question.iter().map(|key| key.row).min().expect("a chunk is not empty");
                let others = question.iter().filter(|key| self.contradict(key.row, first));
                others.for_each(|key| contradictory.add(key.row, first));
            }
        }
        let [rows, test_rows] = [self.train, self.test].map(|split| split.map_or(0, Dataset::examples));
        if let Some((first, other)) = contradictory.first {
            let (first, other) = (self.place(first), self.place(other));
            let of = rows + test_rows;
            let message = format!(
                "{} of {of} rows have the question of another row and a different answer, first {first} and {other} \
                 (counted from 0); keep one answer for each question",
                contradictory.count
            );
            findings.push(Finding {
                kind: FindingKind::ContradictoryAnswers,
                count: contradictory.count,
                of,
                first: Some(first),
                other: Some(other),
                message,
            });
        }
        if shared.first.is_none() && self.has_identifiers() && self.train.is_some() && self.test.is_some() {
            let keys = self.keys(false);
            keys.chunk_by(RowKey::is_equal)
                .for_each(|equal| self.equal_rows(equal, &mut shared, &mut Default::default()));
            if (shared.count as f64) < FOREIGN_SHARE * test_rows as f64 {
                shared = FoundRows::default();
            }
        }
        if let Some((first, other)) = shared.first {
            let (first, other) = (self.place(first), self.place(other));
            let message = format!(
                "{} are also in `train`, there as row {}: accuracy on them shows memory; remove them from one of the \
                 splits",
                some(shared.count, test_rows, first),
                other.row
            );
            findings.push(Finding {
                kind: FindingKind::SharedRows,
                count: shared.count,
                of: test_rows,
                first: Some(first),
                other: Some(other),
                message,
            });
        }
        for (found, of) in repeated.into_iter().zip([rows, test_rows]) {
            let Some((first, other)) = found.first else { continue };
            if (found.count as f64) < REPEATED_SHARE * of as f64 {
                continue;
            }
            let (first, other) = (self.place(first), self.place(other));
            let message = format!(
                "{} occur before, the first as row {}: they count more than others; remove them, if that is not \
                 intended",
                some(found.count, of, first),
                other.row
            );
            findings.push(Finding {
                kind: FindingKind::RepeatedRows,
                count: found.count,
                of,
                first: Some(first),
                other: Some(other),
                message,
            });
        }
    }

    /// Takes note of rows with equal questions and answers, in the order of their places.
    fn equal_rows(&self, equal: &[RowKey], shared: &mut FoundRows, repeated: &mut [FoundRows; 2]) {
        let (train, test) = equal.split_at(equal.partition_point(|key| self.split(key.row) == Split::Train));
        if let Some(first) = train.first() {
            test.iter().for_each(|key| shared.add(key.row, first.row));
        }
        for (rows, repeated) in [train, test].into_iter().zip(repeated) {
            let [first, others @ ..] = rows else { continue };
            if !others.is_empty() {
                let group = self.group(first.row);
                let others = others.iter().filter(|key| self.group(key.row) != group);
                others.for_each(|key| repeated.add(key.row, first.row));
            }
        }
    }

    /// Returns the rows of both splits, sorted; `identified` makes the identifier a part of the question.
    fn keys(&self, identified: bool) -> Vec<RowKey> {
        let identified = identified && self.has_identifiers();
        let rows = [self.train, self.test].into_iter().flatten().map(Dataset::examples).sum();
        let mut keys = Vec::with_capacity(rows);
        for dataset in [self.train, self.test].into_iter().flatten() {
            for puzzle in 0..dataset.puzzles() {
                for example in dataset.examples_of(puzzle) {
                    let mut question = DefaultHasher::new();
                    if identified {
                        dataset.identifier(puzzle).hash(&mut question);
                    }
                    dataset.hash_inputs(example, &mut question);
                    let mut answer = DefaultHasher::new();
                    dataset.hash_labels(example, &mut answer);
                    keys.push(RowKey {
                        question: question.finish(),
                        answer: answer.finish(),
                        row: keys.len(),
                    });
                }
            }
        }
        keys.sort_unstable();
        keys
    }

    /// Returns whether the identifier of a puzzle says what is asked for.
    fn has_identifiers(&self) -> bool {
        [self.train, self.test]
            .into_iter()
            .flatten()
            .any(|dataset| !dataset.kind().has_rules() && dataset.metadata().num_puzzle_identifiers > 1)
    }

    /// Returns whether two rows with the same question have different labels where both have labels.
    fn contradict(&self, one: usize, other: usize) -> bool {
        let [one, other] = [one, other].map(|row| {
            let (dataset, place) = (self.dataset(row), self.place(row));
            dataset.labels(place.row)
        });
        one.zip(other).any(|(one, other)| one != other && one != IGNORED_LABEL && other != IGNORED_LABEL)
    }

    fn group(&self, row: usize) -> usize {
        self.dataset(row).group_of(self.place(row).row)
    }

    fn split(&self, row: usize) -> Split {
        if row < self.train.map_or(0, Dataset::examples) { Split::Train } else { Split::Test }
    }

    fn place(&self, row: usize) -> RowPlace {
        let split = self.split(row);
        let before = if split == Split::Train { 0 } else { self.train.map_or(0, Dataset::examples) };
        RowPlace { split, row: row - before }
    }

    fn dataset(&self, row: usize) -> &Dataset {
        let dataset = if self.split(row) == Split::Train { self.train } else { self.test };
        dataset.expect("a split that is not given has no rows")
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::{BuiltDataset, Copies};
    use super::super::dataset::{DatasetBuilder, Metadata};
    use super::super::maze::{MazeRequest, generate_maze_splits};
    use super::super::sudoku::{SudokuRequest, generate_sudoku_splits};
    use super::*;
    use crate::data::sudoku::{DIGIT_ZERO, SudokuSize};

    /// Questions and answers, each a puzzle and a group of its own, with its identifier.
    fn dataset(metadata: Metadata, rows: &[(i32, Vec<i32>, Vec<i32>)]) -> Dataset {
        let mut builder = DatasetBuilder::new(metadata).unwrap();
        for (identifier, question, answer) in rows {
            builder.add_example(question, answer).unwrap();
            builder.end_puzzle(*identifier).unwrap();
            builder.end_group().unwrap();
        }
        builder.finish().unwrap()
    }

    /// Rows that hrmc knows no rules for, of three tokens from 1 to 8.
    fn plain(rows: &[([i32; 3], [i32; 3])]) -> Dataset {
        let rows: Vec<_> =
            rows.iter().map(|(question, answer)| (0, question.to_vec(), answer.to_vec())).collect();
        dataset(Metadata::new(9, 3), &rows)
    }

    fn sudoku(rows: &[(&str, &str)]) -> Dataset {
        let tokens = |text: &str| -> Vec<i32> {
            let token = |character: char| match character {
                '.' => BLANK,
                'x' => 0,
                digit => digit.to_digit(10).unwrap() as i32 + DIGIT_ZERO,
            };
            text.chars().map(token).collect()
        };
        let rows: Vec<_> =
            rows.iter().map(|(question, answer)| (0, tokens(question), tokens(answer))).collect();
        dataset(Metadata::for_kind(PuzzleKind::Sudoku(SudokuSize::Four)), &rows)
    }

    /// Kind, count and row of a finding.
    type Short = (FindingKind, usize, Option<usize>);

    /// What is found, and the messages.
    fn found(train: &Dataset, test: &Dataset) -> (Vec<Short>, Vec<String>) {
        let findings = audit(Some(train), Some(test));
        let short = |finding: &Finding| (finding.kind, finding.count, finding.first.map(|first| first.row));
        (findings.iter().map(short).collect(), findings.into_iter().map(|finding| finding.message).collect())
    }

    /// A training split that nothing is wrong with.
    fn sound() -> Dataset {
        plain(&[([1, 1, 1], [2, 2, 2]), ([1, 1, 2], [2, 2, 3])])
    }

    #[test]
    fn ignored_labels_are_an_error_where_there_are_no_others() {
        let nothing = plain(&[([1, 2, 3], [0; 3]), ([3, 2, 1], [0; 3])]);
        let (kinds, messages) = found(&nothing, &sound());
        assert_eq!(kinds, [(FindingKind::NothingToLearn, 2, Some(0))]);
        assert!(kinds[0].0.is_error());
        assert!(messages[0].starts_with(
            "every label of the 2 rows of `train` is ignored (`ignore_label_id` is 0), from row 0 on, so there is \
             nothing to learn"
        ));
        let (kinds, _) = found(&sound(), &nothing);
        assert_eq!(kinds, [(FindingKind::NothingToMeasure, 2, Some(0))]);
        assert!(!kinds[0].0.is_error());
    }

    #[test]
    fn rows_without_labels_and_many_ignored_labels_are_named() {
        let rows = [([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [0; 3]), ([3, 3, 3], [4; 3])];
        let (kinds, messages) = found(&plain(&rows), &sound());
        assert_eq!(kinds, [(FindingKind::RowsWithoutLabels, 1, Some(1))]);
        assert!(
            messages[0].starts_with("1 of 3 rows of `train`, first row 1 (counted from 0), have no label")
        );
        let rows =
            [([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [0, 0, 1]), ([3, 3, 3], [4, 0, 0]), ([1, 1, 3], [4, 0, 0])];
        let (kinds, messages) = found(&plain(&rows[..3]), &sound());
        assert_eq!(kinds, [], "4 of 9 labels are ignored: {messages:?}");
        let (kinds, _) = found(&plain(&rows), &sound());
        assert_eq!(kinds, [], "6 of 12 labels are ignored");
        let (kinds, _) = found(&plain(&rows[1..]), &sound());
        assert_eq!(kinds, [(FindingKind::ManyIgnoredLabels, 6, Some(0))], "of 9");
    }

    #[test]
    fn labels_may_be_ignored_at_padding_and_at_givens() {
        let padded = plain(&[([1, 0, 0], [1, 0, 0]), ([2, 0, 0], [2, 0, 0])]);
        assert_eq!(found(&padded, &sound()).0, []);
        let masked = sudoku(&[("1234341221434...", "xxxxxxxxxxxxx321")]);
        assert_eq!(audit(Some(&masked), None), []);
    }

    #[test]
    fn answers_that_contradict_questions_or_rules_are_named_with_the_cell() {
        let right = ("12..34....43..21", "1234341221434321");
        let changed = ("21..34....43..21", "1234341221434321");
        let breaking = ("12..34....43..21", "1232341221434321");
        let open = ("12..34....43..21", "123.341221434321");
        let message = |wrong| {
            let (kinds, mut messages) = found(&sudoku(&[right, wrong, wrong]), &sudoku(&[]));
            assert!(kinds.contains(&(FindingKind::WrongAnswers, 2, Some(1))), "{kinds:?}");
            messages.retain(|message| message.contains("wrong answer"));
            messages.remove(0)
        };
        assert_eq!(
            message(changed),
            "2 of 3 rows of `train`, first row 1 (counted from 0), have a wrong answer: 1 at row 1, column 1 of the \
             grid, where the question gives 2; mend or remove them (rows of this length and vocabulary are taken for \
             Sudoku)"
        );
        assert!(
            message(breaking)
                .contains("2 twice in a row, at row 1, column 2 of the grid and at row 1, column 4")
        );
        assert!(message(open).contains("token 1 at row 1, column 4 of the grid is no digit"));
        assert_eq!(audit(Some(&sudoku(&[right])), None), []);
    }

    #[test]
    fn wrong_paths_are_named() {
        let kind = PuzzleKind::Maze { side: 3 };
        let right = (0, vec![3, 2, 2, 1, 1, 2, 1, 1, 4], vec![3, 5, 5, 1, 1, 5, 1, 1, 4]);
        let broken = (0, vec![3, 2, 2, 1, 1, 2, 1, 1, 4], vec![3, 5, 2, 1, 1, 5, 1, 1, 4]);
        let through_a_wall = (0, vec![3, 2, 2, 1, 1, 2, 1, 1, 4], vec![3, 2, 2, 5, 5, 2, 1, 5, 4]);
        let messages = |row| {
            let findings = audit(Some(&dataset(Metadata::for_kind(kind), &[row])), None);
            findings.into_iter().map(|finding| finding.message).collect::<String>()
        };
        assert_eq!(messages(right), "");
        assert!(messages(broken).contains("does not lead from `S` to `G`"));
        assert!(messages(through_a_wall).contains("`o` at row 2, column 1, where the question has `#`"));
    }

    #[test]
    fn equal_questions_with_different_answers_are_named() {
        let rows = [([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [1; 3]), ([1, 2, 3], [1, 2, 4])];
        let (kinds, messages) = found(&plain(&rows), &plain(&[([3, 2, 1], [2; 3])]));
        assert_eq!(kinds, [(FindingKind::ContradictoryAnswers, 2, Some(2))]);
        assert_eq!(
            messages[0],
            "2 of 4 rows have the question of another row and a different answer, first row 2 of `train` and row 0 of \
             `train` (counted from 0); keep one answer for each question"
        );
        let partly = [([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [1, 2, 0])];
        assert_eq!(found(&plain(&partly), &sound()).0, [], "a label that is ignored contradicts none");
    }

    #[test]
    fn test_rows_that_are_training_rows_are_named() {
        let train = [([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [1; 3]), ([3, 2, 2], [1; 3])];
        let test = [([5, 2, 3], [1, 2, 3]), ([3, 2, 2], [1; 3]), ([1, 2, 3], [1, 2, 3])];
        let (kinds, messages) = found(&plain(&train), &plain(&test));
        assert_eq!(kinds, [(FindingKind::SharedRows, 2, Some(1))]);
        assert!(messages[0].starts_with(
            "2 of 3 rows of `test`, first row 1 (counted from 0), are also in `train`, there as row 2"
        ));
    }

    #[test]
    fn repeated_rows_are_named_unless_they_are_copies_or_few() {
        let row = ([1, 2, 3], [1, 2, 3]);
        let (kinds, messages) = found(&plain(&[row, ([3, 2, 1], [1; 3]), row, row]), &sound());
        assert_eq!(kinds, [(FindingKind::RepeatedRows, 2, Some(2))]);
        assert!(messages[0].contains("occur before, the first as row 0"));
        let data = plain(&[row, ([3, 2, 1], [1; 3]), row, row]);
        assert_eq!(repeated_rows(&data), RepeatedRows { in_group: 0, across_groups: 2 });

        let mut group = DatasetBuilder::new(Metadata::new(9, 3)).unwrap();
        for _ in 0..3 {
            group.add_example(&row.0, &row.1).unwrap();
            group.end_puzzle(0).unwrap();
        }
        group.end_group().unwrap();
        let group = group.finish().unwrap();
        assert_eq!(found(&group, &sound()).0, []);
        assert_eq!(repeated_rows(&group), RepeatedRows { in_group: 2, across_groups: 0 });

        let many = |rows: i32| -> Vec<_> {
            let different = (0..rows).map(|row| (0, vec![row / 100, row % 100 + 1, 5], vec![1, 2, 3]));
            different.chain([(0, vec![0, 1, 5], vec![1, 2, 3])]).collect()
        };
        assert_eq!(found(&dataset(Metadata::new(200, 3), &many(98)), &sound()).0.len(), 1);
        assert_eq!(found(&dataset(Metadata::new(200, 3), &many(100)), &sound()).0, []);
    }

    #[test]
    fn the_identifier_is_part_of_a_question_that_has_no_rules() {
        let metadata = Metadata { num_puzzle_identifiers: 300, ..Metadata::new(9, 3) };
        let row = |identifier, answer: i32| (identifier, vec![1, 2, 3], vec![answer; 3]);
        let train = dataset(metadata.clone(), &[row(1, 1), row(2, 2), row(3, 1)]);
        assert_eq!(audit(Some(&train), None), [], "tasks may share inputs, answers and both");
        let other =
            |identifier| (identifier, vec![identifier % 8, identifier / 8 % 8, identifier / 64], vec![7; 3]);
        let test = |rows: i32| -> Vec<_> { [row(9, 1)].into_iter().chain((1..rows).map(other)).collect() };
        let kinds = |rows| found(&train, &dataset(metadata.clone(), &test(rows))).0;
        assert_eq!(kinds(101), [], "one test row in 101 is that of another task");
        assert_eq!(kinds(100), [(FindingKind::SharedRows, 1, Some(0))]);
        let same = dataset(metadata.clone(), &[row(2, 2), other(1), other(2)]);
        assert_eq!(found(&train, &same).0, [(FindingKind::SharedRows, 1, Some(0))]);
        let contradictory = dataset(metadata.clone(), &[row(2, 3)]);
        assert_eq!(found(&train, &contradictory).0, [(FindingKind::ContradictoryAnswers, 1, Some(0))]);
    }

    #[test]
    fn rows_are_equal_however_their_tokens_are_stored() {
        let narrow = dataset(Metadata::new(1000, 3), &[(0, vec![1, 2, 3], vec![1; 3])]);
        let wide = dataset(
            Metadata::new(1000, 3),
            &[(0, vec![1, 2, 999], vec![999; 3]), (0, vec![1, 2, 3], vec![1; 3])],
        );
        assert_eq!(found(&wide, &narrow).0, [(FindingKind::SharedRows, 1, Some(0))]);
        assert_eq!(found(&narrow, &wide).0, [(FindingKind::SharedRows, 1, Some(1))]);
    }

    #[test]
    fn a_split_without_rows_and_one_that_is_not_given_differ() {
        let (kinds, messages) = found(&sound(), &plain(&[]));
        assert_eq!(kinds, [(FindingKind::NoTestRows, 0, None)]);
        assert_eq!(messages, ["`test` has no rows, so nothing is evaluated; add held-out puzzles"]);
        assert_eq!(audit(Some(&sound()), None), []);
        assert_eq!(audit(None, Some(&sound())), []);
    }

    #[test]
    fn nothing_is_wrong_with_what_the_published_code_wrote() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/official-format/arc");
        let [train, test] = [Split::Train, Split::Test].map(|split| Dataset::open(folder, split).unwrap());
        assert!(train.metadata().num_puzzle_identifiers > 1 && train.examples() > train.groups());
        assert_eq!(audit(Some(&train), Some(&test)), []);
    }

    #[test]
    fn nothing_is_wrong_with_what_hrmc_generates() {
        for (size, givens, copies) in [
            (SudokuSize::Four, 8, 0),
            (SudokuSize::Four, 6, 10),
            (SudokuSize::Six, 20, 3),
            (SudokuSize::Nine, 40, 3),
        ] {
            let request = SudokuRequest { size, givens, train: 60, test: 30, seed: 0 };
            let splits = generate_sudoku_splits(&request).unwrap();
            let copies = Copies::Symmetries(copies);
            let built = BuiltDataset::from_puzzles(PuzzleKind::Sudoku(size), &splits, copies, 0).unwrap();
            assert_eq!(audit(Some(&built.train), Some(&built.test)), [], "{size} with {givens} givens");
        }
        for side in [4, 5, 9] {
            let request = MazeRequest { side, min_path: side, train: 30, test: 20, seed: 0 };
            let splits = generate_maze_splits(&request).unwrap();
            let kind = PuzzleKind::Maze { side };
            let built = BuiltDataset::from_puzzles(kind, &splits, Copies::Dihedral, 0).unwrap();
            assert_eq!(audit(Some(&built.train), Some(&built.test)), [], "mazes of side {side}");
        }
    }
}
