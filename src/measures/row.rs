//! What is known of one answer.

use crate::data::{
    IGNORED_LABEL, PuzzleKind, SudokuSize, broken_rules, count_givens, path_moves, shortest_moves,
};

/// What is known of the answer to one row of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct JudgedRow {
    /// Cells with a label.
    pub cells: u32,
    /// Those of them whose answer equals the label.
    pub cells_right: u32,
    /// Whether the answer obeys the rules and keeps the question; `None` where no rules are known.
    pub is_valid: Option<bool>,
    /// Rules of Sudoku that the answer breaks, see [`broken_rules`]; `None` for other puzzles.
    pub rules_broken: Option<u32>,
    /// What the path of a maze is; `None` for other puzzles.
    pub path: Option<PathOutcome>,
    /// Digits that the question of a Sudoku gives; `None` for other puzzles.
    pub givens: Option<u32>,
    /// How hard the puzzle is, as its dataset says.
    pub rating: Option<i32>,
    /// Segments that the model ran.
    pub segments: u32,
    /// Q value of halting, before the sigmoid.
    pub q_halt: Option<f64>,
    /// How sure the model is of its tokens, those of ARC's grid alone; higher is surer.
    pub confidence: Option<f64>,
    /// How far the states still moved at the end.
    pub drift: Option<f64>,
}

/// What the marks of an answer to a maze are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathOutcome {
    /// Not one path from start to goal, or the answer changes the question.
    NoPath,
    /// One path from start to goal over open cells, see [`path_moves`].
    Path {
        /// Moves from start to goal.
        moves: u32,
        /// Moves of a shortest path.
        shortest: u32,
    },
}

impl JudgedRow {
    /// Returns whether each cell with a label equals it; `None` without labels.
    pub fn is_exact(&self) -> Option<bool> {
        (self.cells > 0).then_some(self.cells_right == self.cells)
    }
}

/// Returns what follows from the labels and from the rules of the puzzle. All else is left as [`Default`] has it.
///
/// Cells whose label is [`IGNORED_LABEL`] do not count. Without a kind, no rules are known.
///
/// # Panics
///
/// If question, answer and labels are not all `[S]`, or do not have the size of the kind.
pub fn judge_row(kind: Option<PuzzleKind>, question: &[i32], answer: &[i32], labels: &[i32]) -> JudgedRow {
    assert_eq!(question.len(), answer.len(), "question and answer have the same cells");
    assert_eq!(question.len(), labels.len(), "labels are those of all cells");
    let mut row = JudgedRow::default();
    for (&token, &label) in answer.iter().zip(labels).filter(|&(_, &label)| label != IGNORED_LABEL) {
        row.cells += 1;
        row.cells_right += u32::from(token == label);
    }
    if let Some(kind) = kind {
        assert_eq!(question.len(), kind.seq_len(), "a question has all its cells");
        match kind {
            PuzzleKind::Sudoku(size) => judge_sudoku(size, question, answer, &mut row),
            PuzzleKind::Maze { .. } => judge_maze(question, answer, &mut row),
            PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => {}
        }
    }
    row
}

fn judge_sudoku(size: SudokuSize, question: &[i32], answer: &[i32], row: &mut JudgedRow) {
    let broken = broken_rules(size, question, answer);
    row.is_valid = Some(broken == 0);
    row.rules_broken = Some(broken as u32);
    row.givens = Some(count_givens(size, question) as u32);
}

fn judge_maze(question: &[i32], answer: &[i32], row: &mut JudgedRow) {
    let moves = path_moves(question, answer);
    // Where there is a path, there is a shortest one.
    let path = moves.zip(moves.and_then(|_| shortest_moves(question)));
    row.is_valid = Some(path.is_some_and(|(moves, shortest)| moves == shortest));
    row.path = Some(path.map_or(PathOutcome::NoPath, |(moves, shortest)| PathOutcome::Path {
        moves: moves as u32,
        shortest: shortest as u32,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::puzzle::{is_valid_solution, parse_puzzle};
    use crate::measures::testing::Numbers;

    /// A Sudoku whose answer has `case / 4` random cells overwritten, by 0 for empty and by one digit too many.
    fn spoiled_sudoku(size: SudokuSize, case: usize, numbers: &mut Numbers) -> (Vec<i32>, Vec<i32>) {
        let (side, rows, columns) = (size.side(), size.box_rows(), size.box_columns());
        let digit =
            |cell: usize| (cell / side % rows * columns + cell / side / rows + cell % side) % side + 1;
        let mut answer: Vec<i32> = (0..size.cells()).map(|cell| digit(cell) as i32 + 1).collect();
        let question = answer.iter().map(|&token| if numbers.below(2) == 1 { token } else { 1 }).collect();
        for _ in 0..case / 4 {
            let cell = numbers.below(side) * side + numbers.below(side);
            answer[cell] = numbers.below(side + 2) as i32 + 1;
        }
        (question, answer)
    }

    #[test]
    fn broken_rules_of_sudoku_are_those_that_were_counted_elsewhere() {
        // By plain Python on lists of digits, which looks for each digit in each row, column and box and compares the
        // givens, for the same numbers.
        let expected = [
            (
                SudokuSize::Four,
                [0, 0, 0, 0, 4, 4, 3, 4, 4, 3, 6, 6, 5, 9, 10, 11, 14, 12, 11, 8, 11, 8, 14, 14, 17],
            ),
            (
                SudokuSize::Six,
                [0, 0, 0, 0, 3, 3, 4, 4, 7, 4, 8, 6, 7, 10, 10, 8, 10, 10, 15, 14, 17, 15, 13, 12, 17],
            ),
            (
                SudokuSize::Nine,
                [0, 0, 0, 0, 3, 4, 3, 3, 7, 8, 6, 6, 6, 11, 8, 0, 11, 15, 14, 7, 17, 17, 18, 11, 19],
            ),
        ];
        let givens = [
            37, 44, 45, 46, 32, 38, 34, 49, 42, 46, 32, 38, 35, 47, 45, 45, 37, 35, 39, 40, 44, 35, 39, 34,
            46,
        ];
        for (size, expected) in expected {
            let mut numbers = Numbers::new(size.side() as u32);
            for (case, broken) in expected.into_iter().enumerate() {
                let (question, answer) = spoiled_sudoku(size, case, &mut numbers);
                let labels = vec![IGNORED_LABEL; size.cells()];
                let row = judge_row(Some(PuzzleKind::Sudoku(size)), &question, &answer, &labels);
                assert_eq!(row.rules_broken, Some(broken), "{size}, case {case}");
                assert_eq!(row.is_valid, Some(broken == 0), "{size}, case {case}");
                assert_eq!(
                    row.is_valid,
                    Some(is_valid_solution(PuzzleKind::Sudoku(size), &question, &answer))
                );
                assert_eq!((row.is_exact(), row.path), (None, None));
                if size == SudokuSize::Nine {
                    assert_eq!(row.givens, Some(givens[case]));
                }
            }
        }
    }

    /// A maze of 5x5 cells with the marks of a random walk, sometimes with a changed cell.
    fn walked_maze(numbers: &mut Numbers) -> Option<(Vec<i32>, Vec<i32>)> {
        const SIDE: usize = 5;
        let cells = SIDE * SIDE;
        let mut question: Vec<i32> = (0..cells).map(|_| if numbers.below(4) == 0 { 1 } else { 2 }).collect();
        let (start, goal) = (numbers.below(cells), numbers.below(cells));
        if start == goal {
            return None;
        }
        (question[start], question[goal]) = (3, 4);
        let mut answer = question.clone();
        let mut at = start;
        for _ in 0..12 {
            let (row, column) = (at / SIDE, at % SIDE);
            let mut next = vec![];
            next.extend((row + 1 < SIDE).then_some(at + SIDE));
            next.extend((column > 0).then(|| at - 1));
            next.extend((column + 1 < SIDE).then_some(at + 1));
            next.extend((row > 0).then(|| at - SIDE));
            next.retain(|&cell| answer[cell] == 2 || answer[cell] == 4);
            if next.is_empty() || next.contains(&goal) {
                break;
            }
            at = next[numbers.below(next.len())];
            answer[at] = 5;
        }
        if numbers.below(4) == 0 {
            answer[numbers.below(cells)] = numbers.below(5) as i32 + 1;
        }
        Some((question, answer))
    }

    #[test]
    fn paths_of_mazes_are_those_that_were_found_elsewhere() {
        // By plain Python, for the same numbers: each marked cell has two neighbours on the path, start and goal have
        // one, and all hang together. A dot is no path; a digit is a path, and counts its moves beyond a shortest one.
        let expected = "\
             .......0..00...4....00..000.02000...0..0000..0.0.000....2...0.00.20..00..00...0.\
             .00.00....02..0...0..006...0..0..0.0.0.....0..0.0...0.0......0..0.0.0....00....0\
             ..0.0.0.02040..004.....0....0...0.0..00..0...0.0.00.00.00..0.0.00.....0.000.....";
        let kind = PuzzleKind::Maze { side: 5 };
        let mut numbers = Numbers::new(5);
        let mut found = String::new();
        while found.len() < expected.len() {
            let Some((question, answer)) = walked_maze(&mut numbers) else { continue };
            let row = judge_row(Some(kind), &question, &answer, &question);
            assert_eq!(row.is_valid, Some(is_valid_solution(kind, &question, &answer)));
            found.push_str(&match row.path.expect("it is a maze") {
                PathOutcome::NoPath => ".".to_owned(),
                PathOutcome::Path { moves, shortest } => (moves - shortest).to_string(),
            });
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn ignored_labels_do_not_count_and_valid_answers_need_not_be_exact() {
        let kind = PuzzleKind::Maze { side: 3 };
        let question = parse_puzzle(kind, "S..\n...\n..G").expect("it is right");
        // The label goes down and right, the answer right and down.
        let label = [3, 2, 2, 5, 2, 2, 5, 5, 4];
        let answer = [3, 5, 5, 2, 2, 5, 2, 2, 4];
        let row = judge_row(Some(kind), &question, &answer, &label);
        assert_eq!((row.cells, row.cells_right, row.is_exact()), (9, 3, Some(false)));
        let path = PathOutcome::Path { moves: 4, shortest: 4 };
        assert_eq!((row.is_valid, row.path, row.rules_broken), (Some(true), Some(path), None));

        let ignored = [3, -100, -100, -100, 2, -100, -100, -100, 4];
        let row = judge_row(None, &question, &answer, &ignored);
        assert_eq!((row.cells, row.cells_right, row.is_exact()), (3, 3, Some(true)));
        assert_eq!((row.is_valid, row.path), (None, None));
    }

    #[test]
    fn a_maze_that_cannot_be_solved_has_no_path() {
        let kind = PuzzleKind::Maze { side: 2 };
        for question in [[3, 1, 1, 4], [3, 2, 2, 2]] {
            let row = judge_row(Some(kind), &question, &question, &question);
            assert_eq!((row.is_valid, row.path), (Some(false), Some(PathOutcome::NoPath)));
        }
    }
}
