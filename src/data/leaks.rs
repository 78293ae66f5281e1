//! Test rows that training data contains.
//!
//! A test row is contained in training data if one of its rows is equal, or is moved onto it by a symmetry of the
//! puzzle:
//!
//! | rows | what is compared | symmetries |
//! |---|---|---|
//! | Sudoku | the question | those of Sudoku, see [`canonical_sudoku`] |
//! | mazes | the question | the eight ways to turn and flip a square |
//! | ARC | both grids, wherever they lie | turns, flips, other names of the colours 1 to 9 |
//! | anything else | the question and the labels | none |
//!
//! The answer of a Sudoku or a maze follows from its question, and that of a maze is not moved along: which of its
//! shortest paths is the answer depends on what is above and below.
//!
//! Where there are symmetries, a group stands for its first puzzle. In the published format the others are copies of
//! it, and a thousand canonical forms of one puzzle say nothing new. The last puzzle of a group is compared with the
//! first by what no symmetry changes; where they differ, all puzzles of the group are taken. Rows are counted among
//! those that were taken.
//!
//! Canonical forms are made for few rows. First each row has a number that is cheap and that no symmetry changes; only
//! rows of both splits whose numbers meet are compared by their forms.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::arc::{canonical_pair, pair_summary};
use super::dataset::Dataset;
use super::dihedral::{DIHEDRAL_IMAGES, dihedral_image};
use super::kind::PuzzleKind;
use super::rules::IGNORED_LABEL;
use super::sudoku::{SudokuSize, canonical_sudoku, is_solved_sudoku, sudoku_summary};

/// Most rows that are named.
const NAMED: usize = 5;

/// A test row that the training data contains. Rows are counted from 0 over all sets of their split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// The test row.
    pub test: usize,
    /// The first such training row that was compared.
    pub train: usize,
    /// Whether one of the training rows that were compared is equal; else a symmetry moves one onto the test row.
    pub is_equal: bool,
}

/// The test rows that training data contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leaks {
    /// The test rows that it contains.
    pub count: usize,
    /// The test rows that were compared.
    pub of: usize,
    /// Those among `count` that are equal to a training row that was compared.
    pub equal: usize,
    /// Those among `count` that are no training rows of the same puzzle identifier.
    pub of_other_identifiers: usize,
    /// Test groups with such a row. A group of ARC is a task.
    pub groups: usize,
    /// Test groups of which all rows are such rows.
    pub whole_groups: usize,
    /// All test groups.
    pub of_groups: usize,
    /// Test rows with too many symmetries of their own to have a canonical form, which were compared as they are.
    pub undecided: usize,
    /// The first of the rows.
    pub first: Vec<Leak>,
}

/// Returns the test rows that training data contains, equal or moved by a symmetry of the puzzle.
///
/// Data of another size contains none.
pub fn find_leaks(train: &Dataset, test: &Dataset) -> Leaks {
    let compared = Compared::of(train, test);
    let found = compare(train, test, compared);
    let leaks: BTreeMap<usize, Leak> = found.leaks.iter().map(|leak| (leak.test, *leak)).collect();
    let (mut groups, mut whole_groups) = (0, 0);
    for rows in found.rows.chunk_by(|&one, &next| test.group_of(one) == test.group_of(next)) {
        let among = rows.iter().filter(|row| leaks.contains_key(row)).count();
        groups += usize::from(among > 0);
        whole_groups += usize::from(among == rows.len());
    }
    Leaks {
        count: found.leaks.len(),
        of: found.rows.len(),
        equal: found.leaks.iter().filter(|leak| leak.is_equal).count(),
        of_other_identifiers: found.of_other_identifiers,
        groups,
        whole_groups,
        of_groups: test.groups(),
        undecided: found.undecided,
        first: found.leaks.into_iter().take(NAMED).collect(),
    }
}

/// Test puzzles whose solution is equivalent to that of a training puzzle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EqualSolutions {
    /// The test rows with such a solution.
    pub count: usize,
    /// The test rows with a complete solution.
    pub of: usize,
    /// The first of the rows, with the rows whose solution they have.
    pub first: Vec<Leak>,
}

/// Returns the test puzzles whose solution grid is equal to that of a training puzzle, or moved onto it by a symmetry.
///
/// `None` unless both are Sudoku of one size. The answer to a maze has the maze itself in it, and answers to other
/// puzzles may be few and short, so that equal ones say little.
pub fn find_equal_solutions(train: &Dataset, test: &Dataset) -> Option<EqualSolutions> {
    let Compared::Question(size) = Compared::of(train, test) else { return None };
    let found = compare(train, test, Compared::Solution(size));
    Some(EqualSolutions {
        count: found.leaks.len(),
        of: found.rows.len(),
        first: found.leaks.into_iter().take(NAMED).collect(),
    })
}

/// What is compared of two rows, and by which symmetries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// Questions of Sudoku.
    Question(SudokuSize),
    /// Complete answers of Sudoku.
    Solution(SudokuSize),
    /// Questions of mazes.
    Maze,
    /// Inputs and outputs of ARC.
    ArcPair,
    /// Inputs and labels, which must be equal.
    Tokens,
}

/// What a row is compared by in the end: a canonical form, or its tokens where it has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum RowForm {
    Canonical(Vec<i32>),
    Tokens(Vec<i32>),
}

impl Compared {
    fn of(train: &Dataset, test: &Dataset) -> Compared {
        let of = |dataset: &Dataset| match dataset.kind() {
            PuzzleKind::Sudoku(size) => Compared::Question(size),
            PuzzleKind::Maze { .. } => Compared::Maze,
            PuzzleKind::Arc => Compared::ArcPair,
            PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => Compared::Tokens,
        };
        let same = train.metadata().seq_len == test.metadata().seq_len && of(train) == of(test);
        if same { of(train) } else { Compared::Tokens }
    }

    /// Returns what is compared of a row; `None` if it has no such thing.
    fn content(self, dataset: &Dataset, row: usize) -> Option<Vec<i32>> {
        match self {
            Compared::Question(_) | Compared::Maze => Some(dataset.inputs(row).collect()),
            Compared::Solution(size) => {
                let cells = dataset.inputs(row).zip(dataset.labels(row));
                let solution: Vec<i32> =
                    cells.map(|(given, label)| if label == IGNORED_LABEL { given } else { label }).collect();
                is_solved_sudoku(size, &solution).then_some(solution)
            }
            Compared::ArcPair | Compared::Tokens => {
                Some(dataset.inputs(row).chain(dataset.labels(row)).collect())
            }
        }
    }

    /// Returns a number that no symmetry changes.
    fn summary(self, content: &[i32]) -> u64 {
        match self {
            Compared::Question(size) | Compared::Solution(size) => sudoku_summary(size, content),
            Compared::Maze => {
                let side = content.len().isqrt();
                // How far each cell is from the middle, which no image changes.
                let from_middle = |place: usize| (2 * place + 1).abs_diff(side).pow(2);
                let cells = content.iter().enumerate();
                cells.fold(0, |sum: u64, (cell, token)| {
                    sum.wrapping_add(hash(&(from_middle(cell / side) + from_middle(cell % side), token)))
                })
            }
            Compared::ArcPair => {
                let (input, output) = content.split_at(content.len() / 2);
                pair_summary(input, output)
            }
            Compared::Tokens => hash(&content),
        }
    }

    fn form(self, content: &[i32]) -> RowForm {
        let form = match self {
            Compared::Question(size) | Compared::Solution(size) => canonical_sudoku(size, content),
            Compared::Maze => (0..DIHEDRAL_IMAGES).map(|image| dihedral_image(content, image)).min(),
            Compared::ArcPair => {
                let (input, output) = content.split_at(content.len() / 2);
                canonical_pair(input, output)
            }
            Compared::Tokens => None,
        };
        form.map_or_else(|| RowForm::Tokens(content.to_vec()), RowForm::Canonical)
    }

    /// Returns the rows to compare, in their order: those of puzzles that are no copies.
    fn rows(self, dataset: &Dataset) -> Vec<usize> {
        if self == Compared::Tokens {
            return (0..dataset.examples()).collect();
        }
        let summary = |puzzle: usize| {
            let rows = dataset.examples_of(puzzle).filter_map(|row| self.content(dataset, row));
            rows.fold(0_u64, |sum, content| sum.wrapping_add(hash(&self.summary(&content))))
        };
        let puzzles = (0..dataset.groups()).flat_map(|group| {
            let puzzles = dataset.puzzles_of(group);
            let (first, last) = (puzzles.start, puzzles.end - 1);
            if first == last || summary(first) == summary(last) { first..first + 1 } else { puzzles }
        });
        puzzles.flat_map(|puzzle| dataset.examples_of(puzzle)).collect()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What was found.
struct ComparedRows {
    /// The test rows that were compared.
    rows: Vec<usize>,
    /// In the order of the test rows.
    leaks: Vec<Leak>,
    of_other_identifiers: usize,
    undecided: usize,
}

fn compare(train: &Dataset, test: &Dataset, compared: Compared) -> ComparedRows {
    // Solutions are those of the questions that are compared.
    let by_question = match compared {
        Compared::Solution(size) => Compared::Question(size),
        other => other,
    };
    let summaries = |dataset: &Dataset| -> Vec<(usize, u64)> {
        let rows = by_question.rows(dataset).into_iter();
        rows.filter_map(|row| Some((row, compared.summary(&compared.content(dataset, row)?)))).collect()
    };
    let form = |dataset: &Dataset, row: usize| {
        compared.form(&compared.content(dataset, row).expect("a row that has a summary has content"))
    };
    let test_rows = summaries(test);
    let asked: BTreeSet<u64> = test_rows.iter().map(|(_, summary)| *summary).collect();
    let mut met = BTreeSet::new();
    let mut known: BTreeMap<RowForm, Vec<usize>> = BTreeMap::new();
    for (row, summary) in summaries(train) {
        if asked.contains(&summary) {
            met.insert(summary);
            known.entry(form(train, row)).or_default().push(row);
        }
    }
    let identifier = |dataset: &Dataset, row: usize| dataset.identifier(dataset.puzzle_of(row));
    let mut found = ComparedRows {
        rows: test_rows.iter().map(|(row, _)| *row).collect(),
        leaks: Vec::new(),
        of_other_identifiers: 0,
        undecided: 0,
    };
    for (row, _) in test_rows.into_iter().filter(|(_, summary)| met.contains(summary)) {
        let form = form(test, row);
        found.undecided += usize::from(matches!(form, RowForm::Tokens(_)) && compared != Compared::Tokens);
        let Some(rows) = known.get(&form) else { continue };
        let content = compared.content(test, row);
        let is_equal = rows.iter().any(|&other| compared.content(train, other) == content);
        found.leaks.push(Leak { test: row, train: rows[0], is_equal });
        let own = identifier(test, row);
        found.of_other_identifiers += usize::from(rows.iter().all(|&other| identifier(train, other) != own));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::arc::testing::canvas;
    use super::super::build::{BuiltDataset, Copies};
    use super::super::dataset::{DatasetBuilder, Metadata};
    use super::super::maze::{MazeRequest, generate_maze_splits, solve_maze};
    use super::super::pair::PuzzleSplits;
    use super::super::random::Stream;
    use super::super::sudoku::{BLANK, SudokuSymmetry, generate_sudoku};
    use super::*;

    /// The rows of a puzzle with its identifier.
    type PuzzleRows = (i32, Vec<(Vec<i32>, Vec<i32>)>);

    fn dataset(metadata: Metadata, groups: &[Vec<PuzzleRows>]) -> Dataset {
        let mut builder = DatasetBuilder::new(metadata).unwrap();
        for group in groups {
            for (identifier, rows) in group {
                rows.iter().for_each(|(question, answer)| builder.add_example(question, answer).unwrap());
                builder.end_puzzle(*identifier).unwrap();
            }
            builder.end_group().unwrap();
        }
        builder.finish().unwrap()
    }

    /// Rows of one kind, each a group of its own.
    fn rows(kind: PuzzleKind, rows: &[(Vec<i32>, Vec<i32>)]) -> Dataset {
        let groups: Vec<Vec<PuzzleRows>> = rows.iter().map(|row| vec![(0, vec![row.clone()])]).collect();
        dataset(Metadata::for_kind(kind), &groups)
    }

    /// The test rows of the leaks, and the training rows.
    fn short(leaks: &Leaks) -> Vec<(usize, usize)> {
        leaks.first.iter().map(|leak| (leak.test, leak.train)).collect()
    }

    #[test]
    fn sudoku_is_found_under_its_symmetries_and_nothing_else_is() {
        for size in [SudokuSize::Six, SudokuSize::Nine] {
            let kind = PuzzleKind::Sudoku(size);
            let mut random = Stream::new(1, "leaks", 0);
            let made = generate_sudoku(size, size.cells() / 2, 12, 0).unwrap();
            let made: Vec<_> = made.into_iter().map(|pair| (pair.question, pair.answer)).collect();
            let symmetry = SudokuSymmetry::draw(size, &mut random);
            let moved = (symmetry.apply(&made[3].0), symmetry.apply(&made[3].1));
            let train = rows(kind, &made[..8]);
            let test = rows(kind, &[made[8].clone(), moved, made[9].clone(), made[5].clone()]);
            let leaks = find_leaks(&train, &test);
            assert_eq!(short(&leaks), [(1, 3), (3, 5)], "{size}");
            assert_eq!((leaks.count, leaks.of, leaks.equal, leaks.undecided), (2, 4, 1, 0));
            assert_eq!((leaks.groups, leaks.whole_groups, leaks.of_groups), (2, 2, 4));
            assert_eq!(find_leaks(&rows(kind, &made[..3]), &test).count, 0);
        }
    }

    #[test]
    fn equal_solutions_are_found_though_the_questions_differ() {
        let size = SudokuSize::Nine;
        let kind = PuzzleKind::Sudoku(size);
        let mut random = Stream::new(2, "leaks", 0);
        let made = generate_sudoku(size, 40, 6, 0).unwrap();
        let made: Vec<_> = made.into_iter().map(|pair| (pair.question, pair.answer)).collect();
        let mut other = made[1].clone();
        let given = other.0.iter().position(|&token| token != BLANK).unwrap();
        other.0[given] = BLANK;
        let symmetry = SudokuSymmetry::draw(size, &mut random);
        let other = (symmetry.apply(&other.0), symmetry.apply(&other.1));
        // Labels may be ignored at the givens, and a row without an answer has none to compare.
        let masked = other.0.iter().zip(&other.1);
        let masked: Vec<i32> =
            masked.map(|(&given, &label)| if given == BLANK { label } else { 0 }).collect();
        let test = rows(kind, &[made[5].clone(), (other.0.clone(), masked), (other.0, vec![0; 81])]);
        let train = rows(kind, &made[..4]);
        assert_eq!(find_leaks(&train, &test).count, 0);
        let found = find_equal_solutions(&train, &test).unwrap();
        assert_eq!((found.count, found.of), (1, 2));
        assert_eq!((found.first[0].test, found.first[0].train), (1, 1));
    }

    #[test]
    fn a_maze_is_found_turned_and_flipped_with_the_answer_of_its_own() {
        let request = MazeRequest { side: 8, min_path: 8, train: 6, test: 3, seed: 0 };
        let splits = generate_maze_splits(&request).unwrap();
        let kind = PuzzleKind::Maze { side: 8 };
        let train: Vec<_> = splits.train.into_iter().map(|pair| (pair.question, pair.answer)).collect();
        let mut test: Vec<_> = splits.test.into_iter().map(|pair| (pair.question, pair.answer)).collect();
        assert_eq!(find_leaks(&rows(kind, &train), &rows(kind, &test)).count, 0);
        for image in 0..DIHEDRAL_IMAGES {
            let question = dihedral_image(&train[4].0, image);
            let answer = solve_maze(&question).unwrap();
            test[1] = (question, answer);
            let leaks = find_leaks(&rows(kind, &train), &rows(kind, &test));
            assert_eq!(short(&leaks), [(1, 4)]);
            assert_eq!(leaks.equal, usize::from(image == 0));
        }
        assert_eq!(find_equal_solutions(&rows(kind, &train), &rows(kind, &test)), None);
    }

    /// A pair of ARC whose grids begin at a place.
    fn pair(input: &[&str], output: &[&str], place: usize) -> (Vec<i32>, Vec<i32>) {
        (canvas(input, place, place), canvas(output, place, place))
    }

    #[test]
    fn an_arc_row_is_found_in_another_task_wherever_it_lies_and_whatever_its_colours_are() {
        let metadata = Metadata { num_puzzle_identifiers: 9, ..Metadata::for_kind(PuzzleKind::Arc) };
        let one = pair(&["123", "400"], &["12"], 0);
        let two = pair(&["11", "22"], &["2"], 0);
        let train = dataset(
            metadata.clone(),
            &[vec![(1, vec![one.clone()])], vec![(2, vec![two.clone(), pair(&["3"], &["5"], 3)])]],
        );
        // Flipped and renamed, with outputs that are not; a row of the task itself, and one of no task.
        let test = dataset(
            metadata,
            &[
                vec![(3, vec![pair(&["978", "005"], &["97"], 4)])],
                vec![(3, vec![pair(&["978", "006"], &["79"], 4)])],
                vec![(2, vec![two, pair(&["6"], &["6"], 0)])],
            ],
        );
        let leaks = find_leaks(&train, &test);
        assert_eq!(short(&leaks), [(2, 1)]);
        assert_eq!((leaks.of, leaks.of_other_identifiers), (4, 0));
        assert_eq!((leaks.groups, leaks.whole_groups, leaks.of_groups), (1, 0, 3));
        let moved = pair(&["879", "500"], &["87"], 4);
        let mirrored = pair(&["978", "005"], &["78"], 4);
        let other = Metadata { num_puzzle_identifiers: 9, ..Metadata::for_kind(PuzzleKind::Arc) };
        let test = dataset(other, &[vec![(3, vec![moved])], vec![(4, vec![mirrored])]]);
        let leaks = find_leaks(&train, &test);
        assert_eq!(short(&leaks), [(0, 0), (1, 0)]);
        assert_eq!((leaks.equal, leaks.of_other_identifiers, leaks.whole_groups), (0, 2, 2));
    }

    #[test]
    fn other_rows_must_be_equal_in_question_and_labels() {
        let data = |rows: &[(Vec<i32>, Vec<i32>)]| Dataset::from_rows(9, rows).unwrap();
        let train = data(&[(vec![1, 2, 3], vec![3, 2, 1]), (vec![4, 5, 6], vec![1, 1, 1])]);
        let test = data(&[(vec![1, 2, 3], vec![3, 2, 2]), (vec![4, 5, 6], vec![1, 1, 1])]);
        assert_eq!(short(&find_leaks(&train, &test)), [(1, 1)]);
        assert_eq!(find_equal_solutions(&train, &test), None);
        let longer = data(&[(vec![4, 5, 6, 0], vec![1, 1, 1, 0])]);
        assert_eq!(find_leaks(&longer, &test).count, 0);
    }

    #[test]
    fn copies_are_passed_over_and_a_group_of_different_puzzles_is_not() {
        let size = SudokuSize::Nine;
        let kind = PuzzleKind::Sudoku(size);
        let pairs = generate_sudoku(size, 40, 4, 0).unwrap();
        let splits = PuzzleSplits { train: pairs[..3].to_vec(), test: pairs[2..].to_vec() };
        let built = BuiltDataset::from_puzzles(kind, &splits, Copies::Symmetries(5), 0).unwrap();
        assert_eq!(Compared::Question(size).rows(&built.train), [0, 6, 12]);
        assert_eq!(short(&find_leaks(&built.train, &built.test)), [(0, 12)]);
        let group: Vec<PuzzleRows> =
            pairs.iter().map(|pair| (0, vec![(pair.question.clone(), pair.answer.clone())])).collect();
        let train = dataset(Metadata::for_kind(kind), &[group]);
        assert_eq!(short(&find_leaks(&train, &built.test)), [(0, 2), (1, 3)]);
    }

    #[test]
    fn a_few_rows_are_named_and_all_are_counted() {
        let all: Vec<_> = (1..9).map(|token| (vec![token], vec![token])).collect();
        let data = Dataset::from_rows(9, &all).unwrap();
        let leaks = find_leaks(&data, &data);
        assert_eq!((leaks.count, leaks.equal, leaks.first.len()), (8, 8, NAMED));
    }
}
