//! Whether the labels of a row obey the rules of a kind, and what is wrong with those that do not.
//!
//! Ignored labels are as good as what the question has in their place.

use super::kind::{ARC_SIDE, PuzzleKind};
use super::maze;
use super::sudoku::{self, BLANK, DIGIT_ZERO, SudokuSize};

/// Label of a position that is neither trained nor scored.
pub const IGNORED_LABEL: i32 = -100;

/// The end of a grid of ARC; colours begin behind it.
const END_OF_GRID: i32 = 1;

/// Returns whether a question and its labels, `[S]` both, are what a kind has. Every row is of a kind without rules.
pub(super) fn obey(kind: PuzzleKind, question: &[i32], labels: &[i32]) -> bool {
    match kind {
        PuzzleKind::Sudoku(size) => {
            question.iter().all(|&token| token == BLANK || sudoku::is_digit(size, token))
                && is_right_sudoku(size, question, labels)
        }
        PuzzleKind::Maze { .. } => fault_of_maze(question, labels).is_none(),
        PuzzleKind::Arc => is_arc_grid(question) && (is_ignored(labels) || is_arc_grid(labels)),
        PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => true,
    }
}

fn is_ignored(labels: &[i32]) -> bool {
    labels.iter().all(|&label| label == IGNORED_LABEL)
}

/// Returns whether the colours on a canvas make up one rectangle.
fn is_arc_grid(canvas: &[i32]) -> bool {
    let cells = || (0..canvas.len()).filter(|&cell| canvas[cell] > END_OF_GRID);
    let (rows, columns) = (|| cells().map(|cell| cell / ARC_SIDE), || cells().map(|cell| cell % ARC_SIDE));
    let length = |first: Option<usize>, last: Option<usize>| match (first, last) {
        (Some(first), Some(last)) => last - first + 1,
        _ => 0,
    };
    let area = length(rows().min(), rows().max()) * length(columns().min(), columns().max());
    area > 0 && area == cells().count()
}

/// Returns whether the labels that count are digits, keep the givens, and break no rule.
pub(super) fn is_right_sudoku(size: SudokuSize, question: &[i32], labels: &[i32]) -> bool {
    let side = size.side();
    // One bit for each digit.
    let (mut in_rows, mut in_columns, mut in_boxes) = ([0_u32; 16], [0_u32; 16], [0_u32; 16]);
    let mut is_right = true;
    for row in 0..side {
        for column in 0..side {
            let cell = row * side + column;
            let (given, label) = (question[cell], labels[cell]);
            let digit = if label == IGNORED_LABEL { given } else { label };
            if !sudoku::is_digit(size, digit) {
                is_right &= label == IGNORED_LABEL;
                continue;
            }
            is_right &= digit == given || !sudoku::is_digit(size, given);
            let bit = 1 << (digit - DIGIT_ZERO);
            for used in [&mut in_rows[row], &mut in_columns[column], &mut in_boxes[size.box_of(row, column)]]
            {
                is_right &= *used & bit == 0;
                *used |= bit;
            }
        }
    }
    is_right
}

/// Says what is wrong with the labels of a Sudoku that are not right.
pub(super) fn fault_of_sudoku(size: SudokuSize, question: &[i32], labels: &[i32]) -> String {
    let side = size.side();
    let place = |cell: usize| format!("row {}, column {} of the grid", cell / side + 1, cell % side + 1);
    for (cell, (&given, &label)) in question.iter().zip(labels).enumerate() {
        if label == IGNORED_LABEL {
            continue;
        }
        if !sudoku::is_digit(size, label) {
            return format!("token {label} at {} is no digit", place(cell));
        }
        if sudoku::is_digit(size, given) && label != given {
            let [given, label] = [given, label].map(|token| token - DIGIT_ZERO);
            return format!("{label} at {}, where the question gives {given}", place(cell));
        }
    }
    let grid: Vec<i32> = question
        .iter()
        .zip(labels)
        .map(|(&given, &label)| if label == IGNORED_LABEL { given } else { label })
        .collect();
    let conflict = sudoku::find_conflict(size, &grid).expect("what is wrong is a digit, a given or a rule");
    format!(
        "{} twice in a {}, at {} and at {}",
        grid[conflict.first] - DIGIT_ZERO,
        conflict.unit,
        place(conflict.first),
        place(conflict.second)
    )
}

/// Says what is wrong with the labels of a maze; without all labels only those that count are compared with the
/// question.
pub(super) fn fault_of_maze(question: &[i32], labels: &[i32]) -> Option<String> {
    if let Err(reason) = maze::check_question(question) {
        return Some(reason);
    }
    let answer: Vec<i32> = question
        .iter()
        .zip(labels)
        .map(|(&given, &label)| if label == IGNORED_LABEL { given } else { label })
        .collect();
    match labels.contains(&IGNORED_LABEL) {
        true => maze::check_cells(question, &answer).err(),
        false => maze::check_answer(question, &answer).err(),
    }
}
