//! Puzzles and answers as pictures for the terminal.

use super::terminal;
use crate::data::PuzzleKind;
use crate::data::puzzle::{self, Drawing, is_valid_solution, judge};

/// Widest picture that is drawn in one piece, in characters.
const MAX_WIDTH: usize = 100;

/// Text between question and answer.
const GAP: &str = "   ";

/// Draws a question and its answer, beside each other if there is room.
pub fn side_by_side(kind: PuzzleKind, question: &[i32], answer: &[i32]) -> String {
    let asked = puzzle::draw(kind, question, None);
    let solved = puzzle::draw(kind, question, Some(answer));
    if 2 * width(&asked) + GAP.len() > MAX_WIDTH {
        return format!("{}\n{}", terminal::coloured(&asked), terminal::coloured(&solved));
    }
    let (left, right) = (terminal::coloured(&asked), terminal::coloured(&solved));
    left.lines().zip(right.lines()).map(|(left, right)| format!("{left}{GAP}{right}\n")).collect()
}

fn width(drawing: &Drawing) -> usize {
    let line_width = |line: &Vec<puzzle::Cell>| line.iter().map(|cell| cell.text.chars().count()).sum();
    drawing.lines.iter().map(line_width).max().unwrap_or(0)
}

/// Returns whether an answer solves its puzzle, and whether it is the expected one if there is a label.
pub fn verdict(kind: PuzzleKind, question: &[i32], answer: &[i32], labels: Option<&[i32]>) -> &'static str {
    let equals_label = labels.is_some_and(|labels| judge(kind, question, answer, labels).equals_label);
    match (is_valid_solution(kind, question, answer), equals_label, labels.is_some()) {
        (_, true, _) => "solved",
        (true, false, true) => "solved, though not by the answer in the data",
        (true, false, false) => "solved: the answer obeys the rules",
        (false, false, _) => "not solved: the answer breaks the rules",
    }
}
