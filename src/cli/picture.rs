//! Puzzles and answers as pictures for the terminal.

use super::terminal::{self, grouped};
use crate::data::mistakes::{Mistake, mistakes};
use crate::data::puzzle::{self, Drawing, WRONG, WRONG_PATH, is_valid_solution, judge};
use crate::data::{IGNORED_LABEL, PuzzleKind};

/// Widest picture that is drawn in one piece, in characters.
const MAX_WIDTH: usize = 100;

/// Text between question and answer.
const GAP: &str = "   ";

/// The answer that is expected of a puzzle.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its tokens, or for cells of which nothing is expected `IGNORED_LABEL`.
    pub tokens: &'a [i32],
    /// What it is, as in `the answer in the data`.
    pub name: &'a str,
}

/// Draws a question and its answer, beside each other if there is room, and explains marks of wrong cells.
pub fn side_by_side(
    kind: PuzzleKind,
    question: &[i32],
    answer: &[i32],
    expected: Option<Expected<'_>>,
) -> String {
    let mistakes = mistakes(kind, question, answer, expected.map(|expected| expected.tokens));
    let asked = puzzle::draw(kind, question, None, &[]);
    let solved = puzzle::draw(kind, question, Some(answer), &mistakes);
    let (left, right) = (terminal::coloured(&asked), terminal::coloured(&solved));
    let mut text = if 2 * width(&asked) + GAP.len() > MAX_WIDTH {
        format!("{left}\n{right}")
    } else {
        left.lines().zip(right.lines()).map(|(left, right)| format!("{left}{GAP}{right}\n")).collect()
    };
    text.push_str(&legend(kind, &mistakes, expected));
    text
}

/// Returns a line that explains the marks of wrong cells; nothing if there is none.
fn legend(kind: PuzzleKind, mistakes: &[Option<Mistake>], expected: Option<Expected<'_>>) -> String {
    let count = |which: Mistake| mistakes.iter().filter(|&&mistake| mistake == Some(which)).count();
    let mut reasons = Vec::new();
    match count(Mistake::BreaksRules) {
        0 => {}
        1 => reasons.push("1 breaks the rules".to_string()),
        cells => reasons.push(format!("{} break the rules", grouped(cells as u64))),
    }
    if let (Some(expected), cells @ 1..) = (expected, count(Mistake::DiffersFromLabel)) {
        let differ = if cells == 1 { "differs" } else { "differ" };
        reasons.push(format!("{} {differ} from {}", grouped(cells as u64), expected.name));
    }
    let marks = match kind {
        PuzzleKind::Maze { .. } => format!("`{WRONG_PATH}` on the path or `{WRONG}`"),
        _ => format!("`{WRONG}`"),
    };
    match reasons.is_empty() {
        true => String::new(),
        false => format!("cells marked {marks}: {}\n", reasons.join(", ")),
    }
}

/// Draws titled pictures beside each other, as many in a row as fit in `columns`.
pub fn row_of(pictures: &[(String, Drawing)], columns: usize) -> String {
    let widths: Vec<usize> =
        pictures.iter().map(|(title, drawing)| title.chars().count().max(width(drawing))).collect();
    let mut text = String::new();
    let mut first = 0;
    while first < pictures.len() {
        let mut used = widths[first];
        let mut end = first + 1;
        while end < pictures.len() && used + GAP.len() + widths[end] <= columns {
            used += GAP.len() + widths[end];
            end += 1;
        }
        if first > 0 {
            text.push('\n');
        }
        let row = &pictures[first..end];
        let blocks: Vec<Vec<(String, usize)>> = row
            .iter()
            .map(|(title, drawing)| {
                let titled = std::iter::once((title.clone(), title.chars().count()));
                let coloured = terminal::coloured(drawing);
                let lines = coloured.lines().zip(&drawing.lines);
                titled.chain(lines.map(|(shown, line)| (shown.to_string(), line_width(line)))).collect()
            })
            .collect();
        let height = blocks.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let mut shown = String::new();
            let mut missing = 0;
            for (block, width) in blocks.iter().zip(&widths[first..end]) {
                let (part, used) = block.get(line).cloned().unwrap_or_default();
                if !part.is_empty() {
                    shown.push_str(&format!("{:missing$}{part}", ""));
                    missing = 0;
                }
                missing += width - used + GAP.len();
            }
            text.push_str(shown.trim_end_matches(' '));
            text.push('\n');
        }
        first = end;
    }
    text
}

fn line_width(line: &[puzzle::Cell]) -> usize {
    line.iter().map(|cell| cell.text.chars().count()).sum()
}

fn width(drawing: &Drawing) -> usize {
    drawing.lines.iter().map(|line| line_width(line)).max().unwrap_or(0)
}

/// Returns whether an answer solves its puzzle, and whether it is the expected one if there is a label.
pub fn verdict(kind: PuzzleKind, question: &[i32], answer: &[i32], labels: Option<&[i32]>) -> &'static str {
    // Where no label counts, the rules alone can judge.
    let labels = labels.filter(|labels| labels.iter().any(|&label| label != IGNORED_LABEL));
    let equals_label = labels.is_some_and(|labels| judge(kind, question, answer, labels).equals_label);
    if !kind.has_rules() {
        return match (labels.is_some(), equals_label) {
            (true, true) => "right: the answer is that of the data",
            (true, false) => "wrong: the answer differs from that of the data",
            (false, _) => "whether the answer is right cannot be known: there is no label, and no rule",
        };
    }
    match (is_valid_solution(kind, question, answer), equals_label, labels.is_some()) {
        (true, true, _) => "solved",
        (true, false, true) => "solved, though not by the answer in the data",
        (true, false, false) => "solved: the answer obeys the rules",
        (false, true, _) => "not solved: the answer is that of the data, which breaks the rules",
        (false, false, _) => "not solved: the answer breaks the rules",
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, side_by_side, verdict};
    use crate::data::puzzle::parse_puzzle;
    use crate::data::{IGNORED_LABEL, PuzzleKind, SudokuSize};

    /// Returns the lines below a picture without colours.
    fn below(kind: PuzzleKind, question: &str, answer: &[i32], expected: Option<&[i32]>) -> String {
        let question = parse_puzzle(kind, question).expect("it is right");
        let expected = expected.map(|tokens| Expected { tokens, name: "the answer in the data" });
        let text = anstream::adapter::strip_str(&side_by_side(kind, &question, answer, expected)).to_string();
        text.lines().skip_while(|line| !line.starts_with("cells")).map(str::to_string).collect()
    }

    #[test]
    fn an_answer_that_breaks_the_rules_is_not_called_solved_even_if_the_data_has_it() {
        const FOUR: PuzzleKind = PuzzleKind::Sudoku(SudokuSize::Four);
        let question = parse_puzzle(FOUR, "12..\n..12\n21..\n..21").expect("it is right");
        let right = [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2];
        let mut wrong = right;
        wrong[3] = 4;
        let ignored = [IGNORED_LABEL; 16];
        for (answer, labels, said) in [
            (right, Some(right), "solved"),
            (right, Some(wrong), "solved, though not by the answer in the data"),
            (right, Some(ignored), "solved: the answer obeys the rules"),
            (right, None, "solved: the answer obeys the rules"),
            (wrong, Some(wrong), "not solved: the answer is that of the data, which breaks the rules"),
            (wrong, Some(ignored), "not solved: the answer breaks the rules"),
            (wrong, Some(right), "not solved: the answer breaks the rules"),
        ] {
            assert_eq!(verdict(FOUR, &question, &answer, labels.as_ref().map(|labels| &labels[..])), said);
        }
    }

    #[test]
    fn marks_of_wrong_cells_are_explained_and_nothing_is_where_there_is_none() {
        const FOUR: PuzzleKind = PuzzleKind::Sudoku(SudokuSize::Four);
        let question = "12..\n..12\n21..\n..21";
        let right = [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2];
        assert_eq!(below(FOUR, question, &right, Some(&right)), "");
        let mut wrong = right;
        wrong[3] = 4;
        assert_eq!(below(FOUR, question, &wrong, None), "cells marked `!`: 3 break the rules");
        assert_eq!(below(FOUR, question, &wrong, Some(&right)), "cells marked `!`: 1 breaks the rules");
        assert_eq!(
            below(FOUR, question, &right, Some(&wrong)),
            "cells marked `!`: 1 differs from the answer in the data"
        );
        const MAZE: PuzzleKind = PuzzleKind::Maze { side: 3 };
        assert_eq!(
            below(MAZE, "S.G\n...\n...", &[3, 2, 4, 5, 2, 2, 2, 2, 2], Some(&[3, 5, 4, 2, 2, 2, 2, 2, 2])),
            "cells marked `x` on the path or `!`: 1 breaks the rules, 1 differs from the answer in the data"
        );
    }
}
