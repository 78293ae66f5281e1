//! Which cells of an answer are wrong, so that they can be shown.

use super::IGNORED_LABEL;
use super::kind::PuzzleKind;
use super::maze::{self, OPEN, PATH};
use super::sudoku::{self, BLANK, SudokuSize};

/// Why a cell of an answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// It breaks the rules: it changes what the question says, means nothing there, is still empty, repeats a digit, or
    /// is on a path that is not a shortest one.
    BreaksRules,
    /// It breaks no rule, but differs from its label.
    DiffersFromLabel,
}

/// Returns for each cell of an answer, `[S]`, whether it is wrong.
///
/// A cell with a label is wrong if it differs from it. Where there is no label, or it is
/// [`IGNORED_LABEL`], the rules decide; of two cells that exclude each other both are wrong then, unless the question
/// gives one of them.
///
/// # Panics
///
/// If question, answer or labels do not have the size of the kind, `[S]`.
pub fn mistakes(
    kind: PuzzleKind,
    question: &[i32],
    answer: &[i32],
    labels: Option<&[i32]>,
) -> Vec<Option<Mistake>> {
    assert_eq!(question.len(), kind.seq_len(), "a question has all its cells");
    assert_eq!(answer.len(), kind.seq_len(), "an answer has all its cells");
    assert!(labels.is_none_or(|labels| labels.len() == kind.seq_len()), "labels are those of all cells");
    let breaks_rules = match kind {
        PuzzleKind::Sudoku(size) => wrong_in_sudoku(size, question, answer),
        PuzzleKind::Maze { side } => wrong_in_maze(side, question, answer),
        PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => vec![false; answer.len()],
    };
    let judge = |(cell, breaks_rules): (usize, bool)| {
        let label = labels.map(|labels| labels[cell]).filter(|&label| label != IGNORED_LABEL);
        match (breaks_rules, label) {
            (_, Some(label)) if label == answer[cell] => None,
            (true, _) => Some(Mistake::BreaksRules),
            (false, Some(_)) => Some(Mistake::DiffersFromLabel),
            (false, None) => None,
        }
    };
    breaks_rules.into_iter().enumerate().map(judge).collect()
}

fn wrong_in_sudoku(size: SudokuSize, question: &[i32], answer: &[i32]) -> Vec<bool> {
    let is_given = |cell: usize| question[cell] != BLANK && question[cell] == answer[cell];
    let is_filled = |cell: usize| question[cell] == BLANK && sudoku::is_digit(size, answer[cell]);
    let mut wrong: Vec<bool> = (0..size.cells()).map(|cell| !is_given(cell) && !is_filled(cell)).collect();
    for conflict in sudoku::conflicts(size, answer) {
        for cell in [conflict.first, conflict.second] {
            wrong[cell] |= !is_given(cell);
        }
    }
    wrong
}

fn wrong_in_maze(side: usize, question: &[i32], answer: &[i32]) -> Vec<bool> {
    let on_path = match maze::check_question(question) {
        Ok(()) => maze::on_shortest_paths(question),
        // Nothing can be said about paths of what is no maze.
        Err(_) => vec![true; side * side],
    };
    let is_wrong = |cell: usize| match (question[cell], answer[cell]) {
        (OPEN, PATH) => !on_path[cell],
        (given, found) => given != found,
    };
    (0..side * side).map(is_wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::Mistake::{BreaksRules, DiffersFromLabel};
    use super::*;
    use crate::data::puzzle::parse_puzzle;

    const FOUR: PuzzleKind = PuzzleKind::Sudoku(SudokuSize::Four);
    const QUESTION: &str = "12..\n..12\n21..\n...1";
    const SOLUTION: [i32; 16] = [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2];

    /// Returns the cells of an answer that are wrong, when some cells of the solution are replaced.
    fn wrong(replaced: &[(usize, i32)], labels: Option<&[i32]>) -> Vec<(usize, Mistake)> {
        let question = parse_puzzle(FOUR, QUESTION).expect("it is right");
        let mut answer = SOLUTION;
        replaced.iter().for_each(|&(cell, token)| answer[cell] = token);
        let found = mistakes(FOUR, &question, &answer, labels);
        found.into_iter().enumerate().filter_map(|(cell, mistake)| Some((cell, mistake?))).collect()
    }

    #[test]
    fn a_right_answer_has_no_mistakes() {
        assert_eq!(wrong(&[], None), []);
        assert_eq!(wrong(&[], Some(&SOLUTION)), []);
    }

    #[test]
    fn cells_that_exclude_each_other_are_wrong_but_not_what_the_question_gives() {
        // Row 1 has 3 twice then, and 3 is in the third row of column 4, none of them given.
        assert_eq!(wrong(&[(3, 4)], None), [(2, BreaksRules), (3, BreaksRules), (11, BreaksRules)]);
        // 1 is given in row 1.
        assert_eq!(wrong(&[(2, 2)], None), [(2, BreaksRules)]);
    }

    #[test]
    fn a_label_tells_which_of_them_is_wrong() {
        assert_eq!(wrong(&[(3, 4)], Some(&SOLUTION)), [(3, BreaksRules)]);
        let mut labels = SOLUTION;
        labels[14] = 4;
        labels[13] = IGNORED_LABEL;
        assert_eq!(wrong(&[], Some(&labels)), [(14, DiffersFromLabel)]);
    }

    #[test]
    fn a_changed_given_an_empty_cell_and_a_token_without_meaning_break_the_rules() {
        assert_eq!(wrong(&[(0, 3)], None)[0], (0, BreaksRules));
        assert_eq!(wrong(&[(3, BLANK)], None), [(3, BreaksRules)]);
        assert_eq!(wrong(&[(3, 0)], None), [(3, BreaksRules)]);
    }

    #[test]
    fn in_a_maze_a_detour_and_a_changed_cell_are_wrong_but_any_shortest_path_is_right() {
        const MAZE: PuzzleKind = PuzzleKind::Maze { side: 3 };
        let question = parse_puzzle(MAZE, "S..\n...\n..G").expect("it is right");
        let wrong = |answer: &str, labels: Option<&[i32]>| -> Vec<(usize, Mistake)> {
            let answer: Vec<i32> =
                answer.chars().map(|character| maze::token(character).expect("it is one")).collect();
            let found = mistakes(MAZE, &question, &answer, labels);
            found.into_iter().enumerate().filter_map(|(cell, mistake)| Some((cell, mistake?))).collect()
        };
        assert_eq!(wrong("Soo  o  G", None), []);
        let label = maze::solve_maze(&question).expect("there is a path");
        let differs = |cell| (cell, DiffersFromLabel);
        assert_eq!(wrong("Soo  o  G", Some(&label)), [1, 2, 3, 5, 6, 7].map(differs));
        assert_eq!(wrong("Soo  o #G", None), [(7, BreaksRules)]);
        let walled = parse_puzzle(MAZE, "S.G\n.#.\n...").expect("it is right");
        let answer = [3, 5, 4, 5, 1, 2, 2, 2, 2];
        let found = mistakes(MAZE, &walled, &answer, None);
        assert_eq!(found.iter().position(Option::is_some), Some(3), "it is on no shortest path");
    }
}
