//! Single puzzles: reading one that somebody types, judging an answer, drawing both.

use std::fmt;

use super::canvas::cells_of_grid;
use super::kind::{ARC_SIDE, PuzzleKind};
use super::maze::{self, GOAL, OPEN, PATH, START, WALL, is_optimal_path, solve_maze};
use super::mistakes::{Mistake, mistakes};
use super::sudoku::{
    self, BLANK, DIGIT_ZERO, Solutions, SudokuSize, find_conflict, is_solved_sudoku, solve_sudoku,
};
use crate::reading::shortened;

/// Why a text is not a puzzle. Rows and columns are those of the grid, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PuzzleError {
    /// The number of rows is wrong.
    #[error("the puzzle has {found} rows; expected {side} rows of {side} cells, or one line of all cells")]
    Rows {
        /// Rows in the text.
        found: usize,
        /// Cells on one side of the grid.
        side: usize,
    },
    /// A row of tokens does not have the length of the model's rows.
    #[error("there are {found} tokens; expected {expected}")]
    Length {
        /// Tokens in the text.
        found: usize,
        /// Tokens in a row, `S`.
        expected: usize,
    },
    /// A word is no token of the vocabulary.
    #[error("token {number} is `{word}`; expected a number below {vocab}")]
    Token {
        /// Which one, counted from 1.
        number: usize,
        /// The word.
        word: String,
        /// Number of different tokens, `V`.
        vocab: usize,
    },
    /// A grid of ARC is not typed but comes with its task.
    #[error("a question of ARC is a file of JSON with its task, not a grid")]
    Arc,
    /// The only line has the wrong length.
    #[error("the line has {found} cells; expected {}", side * side)]
    Line {
        /// Cells in it.
        found: usize,
        /// Cells on one side of the grid.
        side: usize,
    },
    /// There are no cells.
    #[error("there are no cells; expected {side} rows of {side} cells, or one line of all cells")]
    Empty {
        /// Cells on one side of the grid.
        side: usize,
    },
    /// A row has the wrong length.
    #[error("row {row} has {found} cells; expected {side}{}", if *.open_ends { OPEN_ENDS } else { "" })]
    Columns {
        /// The row.
        row: usize,
        /// Cells in it.
        found: usize,
        /// Cells on one side of the grid.
        side: usize,
        /// Whether open cells at the end of the row may have been lost.
        open_ends: bool,
    },
    /// A character means nothing.
    #[error("row {row}, column {column} has `{character}`; expected {expected}")]
    Character {
        /// The row; the line if there is only one, of another length than it should have.
        row: usize,
        /// The column.
        column: usize,
        /// The character.
        character: char,
        /// What may stand there.
        expected: String,
    },
    /// Two givens break the rules of Sudoku.
    #[error(
        "row {row}, column {column} has {digit}, which row {other_row}, column {other_column} of the same {unit} \
         has already"
    )]
    Conflict {
        /// Row of the second given.
        row: usize,
        /// Column of the second given.
        column: usize,
        /// The digit of both.
        digit: char,
        /// Row of the first given.
        other_row: usize,
        /// Column of the first given.
        other_column: usize,
        /// `row`, `column` or `box`.
        unit: &'static str,
    },
    /// The cells do not make a maze.
    #[error("{reason}")]
    Maze {
        /// What is wrong.
        reason: String,
    },
}

const OPEN_ENDS: &str = " (write `.` for open cells at the end of a row)";

/// Reads a puzzle of a known kind and returns its tokens, `[S]`.
///
/// Sudoku: digits, then letters from A for 10, with `.`, `0`, `_`, `-`, `*` or `x` for a blank cell, as one line or row
/// by row. Spaces between cells are skipped; in a row without a character for each cell they are blank cells, and so are
/// empty fields between commas. Mazes: `#` for a wall, space or `.` for an open cell, `S` and `G`, as one line or row by
/// row. Commas, semicolons and the lines of a drawn grid may separate cells of both. Empty lines are skipped.
///
/// Rows of tokens, and grids without rules: numbers, with spaces, commas or line ends between them.
///
/// # Errors
///
/// If the text is not one such grid, or its givens break the rules.
pub fn parse_puzzle(kind: PuzzleKind, text: &str) -> Result<Vec<i32>, PuzzleError> {
    match kind {
        PuzzleKind::Sudoku(size) => parse_sudoku(size, text),
        PuzzleKind::Maze { side } => parse_maze(side, text),
        PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => parse_tokens(kind, text),
        PuzzleKind::Arc => Err(PuzzleError::Arc),
    }
}

/// Reads the answer to a puzzle, `[S]`: as [`parse_puzzle`], with `o` on the path of a maze, whether or not it obeys the
/// rules.
///
/// # Errors
///
/// If the text is not one such grid.
pub fn parse_answer(kind: PuzzleKind, text: &str) -> Result<Vec<i32>, PuzzleError> {
    match kind {
        PuzzleKind::Sudoku(size) => sudoku_grid(size, text),
        PuzzleKind::Maze { side } => {
            let lines = cells_of_lines(text, is_separator);
            parse_cells(side, &lines, true, |character| {
                let token = if character == '.' { Some(OPEN) } else { maze::token(character) };
                token.ok_or_else(|| {
                    "`#`, space or `.` for an open cell, `S`, `G`, or `o` on the path".to_owned()
                })
            })
        }
        PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => parse_tokens(kind, text),
        PuzzleKind::Arc => Err(PuzzleError::Arc),
    }
}

/// Returns an answer in one line as [`parse_answer`] reads it; `None` for rows that are best written as their tokens.
pub fn written(kind: PuzzleKind, answer: &[i32]) -> Option<String> {
    match kind {
        PuzzleKind::Sudoku(size) => {
            let cell = |&token: &i32| match token {
                BLANK => '.',
                digit if sudoku::is_digit(size, digit) => sudoku::character(digit - DIGIT_ZERO),
                _ => '?',
            };
            Some(answer.iter().map(cell).collect())
        }
        PuzzleKind::Maze { .. } => Some(answer.iter().map(|&token| maze::character(token)).collect()),
        PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => None,
    }
}

/// Returns how a token is written where there is room for a few characters; nothing for padding.
pub fn token_name(kind: PuzzleKind, token: i32) -> String {
    match kind {
        PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => token.to_string(),
        _ if token == 0 => String::new(),
        PuzzleKind::Sudoku(size) => match token {
            BLANK => ".".to_owned(),
            digit if sudoku::is_digit(size, digit) => sudoku::character(digit - DIGIT_ZERO).to_string(),
            other => other.to_string(),
        },
        PuzzleKind::Maze { .. } => maze::character(token).to_string(),
        PuzzleKind::Arc if token == 1 => "end".to_owned(),
        PuzzleKind::Arc => (token - 2).to_string(),
    }
}

/// Returns how many cells a line has.
pub(super) fn line_cells(kind: PuzzleKind, line: &str) -> usize {
    match kind {
        PuzzleKind::Sudoku(size) => sudoku_cells(size, line).len(),
        PuzzleKind::Maze { .. } => line.chars().filter(|&character| !is_separator(character)).count(),
        PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => words(line).count(),
    }
}

/// A puzzle of several that a text has, with the line where it begins, counted from 1.
pub type Located<T> = (usize, T);

/// Reads the puzzles in a text: one on each line, or row by row one after the other.
///
/// Whether a line is a whole puzzle is decided by the length of most lines, so that one wrong line is one wrong puzzle.
pub fn parse_puzzles(kind: PuzzleKind, text: &str) -> Vec<Located<Result<Vec<i32>, PuzzleError>>> {
    let (rows, columns) = kind.shape();
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !is_frame(kind, line))
        .collect();
    let of_length = |length: usize| lines.iter().filter(|(_, line)| line_cells(kind, line) == length).count();
    let parse = |part: &[(usize, &str)]| {
        let text: Vec<&str> = part.iter().map(|(_, line)| *line).collect();
        (part[0].0, parse_puzzle(kind, &text.join("\n")))
    };
    if lines.len() > 1 && 2 * of_length(rows * columns) > lines.len() {
        return lines.chunks(1).map(parse).collect();
    }
    let several = lines.len() > rows && lines.len().is_multiple_of(rows) && of_length(columns) == lines.len();
    match lines[..] {
        [] => vec![(1, parse_puzzle(kind, text))],
        _ if several => lines.chunks(rows).map(parse).collect(),
        [(first, _), ..] => vec![(first, parse_puzzle(kind, text))],
    }
}

fn sudoku_grid(size: SudokuSize, text: &str) -> Result<Vec<i32>, PuzzleError> {
    let side = size.side();
    let lines = text
        .lines()
        .filter(|line| !is_frame(PuzzleKind::Sudoku(size), line))
        .map(|line| sudoku_cells(size, line));
    let lines: Vec<Vec<char>> = lines.filter(|line| !line.is_empty()).collect();
    parse_cells(side, &lines, false, |character| match character {
        '.' | '0' | '_' | '-' | '*' | 'x' | 'X' => Ok(BLANK),
        _ => sudoku::digit(size, character).map(|digit| DIGIT_ZERO + digit).ok_or_else(|| {
            let last = sudoku::character(side as i32);
            format!("1 to {last}, or `.` for a blank cell")
        }),
    })
}

fn parse_sudoku(size: SudokuSize, text: &str) -> Result<Vec<i32>, PuzzleError> {
    let side = size.side();
    let grid = sudoku_grid(size, text)?;
    match find_conflict(size, &grid) {
        None => Ok(grid),
        Some(conflict) => Err(PuzzleError::Conflict {
            row: conflict.second / side + 1,
            column: conflict.second % side + 1,
            digit: sudoku::character(grid[conflict.second] - DIGIT_ZERO),
            other_row: conflict.first / side + 1,
            other_column: conflict.first % side + 1,
            unit: conflict.unit,
        }),
    }
}

fn parse_maze(side: usize, text: &str) -> Result<Vec<i32>, PuzzleError> {
    let lines = cells_of_lines(text, is_separator);
    let grid = parse_cells(side, &lines, true, |character| {
        let token = if character == '.' { Some(OPEN) } else { maze::token(character) };
        token
            .filter(|&token| token != PATH)
            .ok_or_else(|| "`#`, space or `.` for an open cell, `S` or `G`".to_owned())
    })?;
    maze::check_question(&grid).map_err(|reason| PuzzleError::Maze { reason })?;
    Ok(grid)
}

/// Returns whether a character stands between cells: one of a list, or of a drawn grid.
fn is_separator(character: char) -> bool {
    matches!(character, ',' | ';' | '-') || is_drawn(character)
}

/// Returns whether a character belongs to the lines of a drawn grid, and to nothing else.
fn is_drawn(character: char) -> bool {
    // The range has the characters with which boxes are drawn.
    matches!(character, '|' | '+' | '=' | '\u{2500}'..='\u{257f}')
}

/// Returns whether a line has no cells: it is empty, or a line between boxes. Dashes alone may be blank cells of a Sudoku,
/// and spaces are open cells of a maze.
pub(super) fn is_frame(kind: PuzzleKind, line: &str) -> bool {
    if matches!(kind, PuzzleKind::Maze { .. }) {
        return line.chars().all(is_separator);
    }
    let has_cells = line.chars().any(|character| !character.is_whitespace() && !is_separator(character));
    let is_drawn_line = line.chars().any(|character| is_drawn(character) && character != '|');
    !has_cells && (is_drawn_line || !line.contains(['-', ',', ';']))
}

/// Returns the characters of the cells in a line of a Sudoku, with `.` for cells that are left blank.
fn sudoku_cells(size: SudokuSize, line: &str) -> Vec<char> {
    let side = size.side();
    let inner: String = line.chars().filter(|&character| !is_drawn(character)).collect();
    for separator in [',', ';'] {
        let fields: Vec<&str> = inner.split(separator).map(str::trim).collect();
        if fields.len() == side || fields.len() == size.cells() {
            return fields.into_iter().map(|field| sudoku_cell(size, field)).collect();
        }
    }
    let words: Vec<&str> =
        inner.split(|character: char| character.is_whitespace() || ",;".contains(character)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    if words.len() == side && words.iter().any(|word| word.len() > 1) {
        return words.into_iter().map(|word| sudoku_cell(size, word)).collect();
    }
    let dense: Vec<char> =
        inner.chars().filter(|&character| !character.is_whitespace() && !",;".contains(character)).collect();
    // Dashes that are as many as the cells are blank cells, others are a line between boxes.
    if dense.iter().all(|&character| character == '-') && dense.len() != side && dense.len() != size.cells() {
        return Vec::new();
    }
    let is_one_for_each = inner.chars().count() <= side && dense.len() < side && inner.contains(' ');
    if is_one_for_each && !dense.is_empty() {
        let cells = inner.chars().map(|character| if character.is_whitespace() { '.' } else { character });
        return cells.chain(std::iter::repeat('.')).take(side).collect();
    }
    dense
}

/// Returns the character of a cell that is written as a word: a number, a character, or nothing for a blank cell.
fn sudoku_cell(size: SudokuSize, word: &str) -> char {
    let number = word.parse().ok().filter(|&number: &i32| number > 0 && number <= size.side() as i32);
    match (number, word.chars().next()) {
        (Some(number), _) => sudoku::character(number),
        (None, None) => '.',
        (None, Some(character)) if word.chars().count() == 1 => character,
        // A word that is no cell is reported by a character that is none.
        (None, Some(_)) => '?',
    }
}

/// Returns the words of a text between spaces and commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| character.is_whitespace() || matches!(character, ',' | ';' | '[' | ']'))
        .filter(|word| !word.is_empty())
}

fn parse_tokens(kind: PuzzleKind, text: &str) -> Result<Vec<i32>, PuzzleError> {
    let vocab = kind.vocab_size();
    let token = |(index, word): (usize, &str)| {
        let token =
            word.parse::<i32>().ok().filter(|&token| usize::try_from(token).is_ok_and(|token| token < vocab));
        token.ok_or_else(|| PuzzleError::Token { number: index + 1, word: shortened(word), vocab })
    };
    let tokens: Vec<i32> = words(text).enumerate().map(token).collect::<Result<_, _>>()?;
    match tokens.len() == kind.seq_len() {
        true => Ok(tokens),
        false => Err(PuzzleError::Length { found: tokens.len(), expected: kind.seq_len() }),
    }
}

/// Returns the cells of the lines that have some.
fn cells_of_lines(text: &str, is_skipped: impl Fn(char) -> bool) -> Vec<Vec<char>> {
    let cells = |line: &str| line.chars().filter(|&character| !is_skipped(character)).collect::<Vec<char>>();
    text.lines().map(cells).filter(|line| !line.is_empty()).collect()
}

fn parse_cells(
    side: usize,
    lines: &[Vec<char>],
    open_ends: bool,
    token: impl Fn(char) -> Result<i32, String>,
) -> Result<Vec<i32>, PuzzleError> {
    let rows: Vec<&[char]> = match lines {
        [line] if line.len() == side * side => line.chunks(side).collect(),
        lines => lines.iter().map(Vec::as_slice).collect(),
    };
    // A character that is no cell may be why there are too many, so it is named before anything is counted.
    let mut grid = Vec::new();
    for (row, cells) in rows.iter().enumerate() {
        for (column, &character) in cells.iter().enumerate() {
            grid.push(token(character).map_err(|expected| PuzzleError::Character {
                row: row + 1,
                column: column + 1,
                character,
                expected,
            })?);
        }
    }
    match rows[..] {
        [] => return Err(PuzzleError::Empty { side }),
        [line] if side != 1 => return Err(PuzzleError::Line { found: line.len(), side }),
        _ if rows.len() != side => return Err(PuzzleError::Rows { found: rows.len(), side }),
        _ => {}
    }
    match rows.iter().position(|cells| cells.len() != side) {
        Some(row) => Err(PuzzleError::Columns { row: row + 1, found: rows[row].len(), side, open_ends }),
        None => Ok(grid),
    }
}

/// Returns the answer that a dataset has for a question: the only solution of a Sudoku, or the path of a maze
/// by the breadth-first rule. `None` if there is no solution, a Sudoku has more than one, or the kind has no rules.
///
/// # Panics
///
/// If the question is not one that [`parse_puzzle`] could return.
pub fn expected_answer(kind: PuzzleKind, question: &[i32]) -> Option<Vec<i32>> {
    match kind {
        PuzzleKind::Sudoku(size) => match solve_sudoku(size, question) {
            Solutions::One(answer) => Some(answer),
            Solutions::None | Solutions::Many | Solutions::Unknown => None,
        },
        PuzzleKind::Maze { .. } => solve_maze(question),
        PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => None,
    }
}

/// Returns the cells that say what an answer is, ascending: all, but of ARC those of the grid that it shows and of the
/// end around it, where it shows one.
pub fn answer_cells(kind: PuzzleKind, answer: &[i32]) -> Vec<usize> {
    let of_grid = match kind {
        PuzzleKind::Arc if answer.len() == kind.seq_len() => cells_of_grid(answer),
        _ => None,
    };
    of_grid.unwrap_or_else(|| (0..answer.len()).collect())
}

/// Returns whether an answer solves the puzzle, whether or not it is the one in the dataset.
///
/// A Sudoku must be complete, keep the rules and keep the givens. A maze must be the question with the cells
/// of one shortest path marked, any of them. Without rules, nothing is known to be valid.
pub fn is_valid_solution(kind: PuzzleKind, question: &[i32], answer: &[i32]) -> bool {
    if question.len() != kind.seq_len() || answer.len() != kind.seq_len() {
        return false;
    }
    match kind {
        PuzzleKind::Sudoku(size) => {
            let keeps_givens =
                question.iter().zip(answer).all(|(&given, &token)| given == BLANK || given == token);
            keeps_givens && is_solved_sudoku(size, answer)
        }
        PuzzleKind::Maze { .. } => {
            maze::check_question(question).is_ok() && is_optimal_path(question, answer)
        }
        PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => false,
    }
}

/// What is to be said about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it solves the puzzle, see [`is_valid_solution`].
    pub is_valid: bool,
    /// Whether it has the label in every cell that has one, which is what exact accuracy counts; false without labels.
    pub equals_label: bool,
}

/// Judges an answer by the rules and by its labels, `[S]`, where [`IGNORED_LABEL`](super::IGNORED_LABEL) asks
/// for nothing.
pub fn judge(kind: PuzzleKind, question: &[i32], answer: &[i32], labels: &[i32]) -> Judgement {
    let has_labels = labels.iter().any(|&label| label != super::IGNORED_LABEL);
    let equals_label = has_labels
        && answer.len() == labels.len()
        && labels.iter().zip(answer).all(|(&label, &token)| label == super::IGNORED_LABEL || label == token);
    Judgement { is_valid: is_valid_solution(kind, question, answer), equals_label }
}

/// What a piece of a drawing stands for, so that it can be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceRole {
    /// A line or space between cells.
    Frame,
    /// A digit of the question.
    Given,
    /// A digit of the answer.
    Filled,
    /// A cell of a Sudoku without a digit.
    Blank,
    /// A wall of a maze.
    Wall,
    /// An open cell of a maze.
    Open,
    /// The start of a maze.
    Start,
    /// The goal of a maze.
    Goal,
    /// A cell on the path.
    Path,
    /// A cell of the answer that is wrong.
    Wrong,
    /// A cell of the answer that has just changed.
    Changed,
    /// A cell of a grid of ARC with this colour, 0 to 9.
    Colour(u8),
    /// A token whose meaning hrmc does not know.
    Token,
}

/// A piece of a drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What to print.
    pub text: String,
    /// What it stands for.
    pub role: PieceRole,
    /// The cell of the puzzle that it shows, if it shows one.
    pub cell: Option<usize>,
}

impl Cell {
    fn of(self, cell: usize) -> Cell {
        Cell { cell: Some(cell), ..self }
    }
}

/// A puzzle as lines of text. It displays as plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// The lines, from top to bottom; each has its pieces from left to right.
    pub lines: Vec<Vec<Cell>>,
}

impl fmt::Display for Drawing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            for cell in line {
                formatter.write_str(&cell.text)?;
            }
            formatter.write_str("\n")?;
        }
        Ok(())
    }
}

impl PuzzleKind {
    /// Returns whether an answer obeys the rules and keeps what the question gives.
    pub fn accepts(self, question: &[i32], answer: &[i32]) -> bool {
        is_valid_solution(self, question, answer)
    }

    /// Returns a question as plain text, with an answer filled in where there is one. Cells that break the rules are
    /// marked: with `!` behind a digit, and in a maze by `x` for the path and `!` for anything else.
    ///
    /// # Panics
    ///
    /// If question or answer do not have the size of the kind, `[S]`.
    pub fn draw(self, question: &[i32], answer: Option<&[i32]>) -> String {
        let wrong = answer.map(|answer| mistakes(self, question, answer, None));
        draw(self, question, answer, wrong.as_deref().unwrap_or_default()).to_string()
    }
}

/// Marks a wrong cell.
pub const WRONG: &str = "!";
/// Marks a wrong cell of a maze that is on the path of the answer.
pub const WRONG_PATH: &str = "x";

/// Draws a question, with an answer filled in where there is one. `wrong` says which cells are; none are if it is empty.
///
/// # Panics
///
/// If question or answer do not have the size of the kind, `[S]`.
pub fn draw(
    kind: PuzzleKind,
    question: &[i32],
    answer: Option<&[i32]>,
    wrong: &[Option<Mistake>],
) -> Drawing {
    let is_wrong = |cell: usize| wrong.get(cell).is_some_and(Option::is_some);
    let answer = answer.unwrap_or(question);
    assert_eq!(question.len(), kind.seq_len(), "a question has all its cells");
    assert_eq!(answer.len(), kind.seq_len(), "an answer has all its cells");
    match kind {
        PuzzleKind::Sudoku(size) => draw_sudoku(size, question, answer, &is_wrong),
        PuzzleKind::Maze { side } => draw_maze(side, answer, &is_wrong),
        PuzzleKind::Arc => draw_arc(answer, &is_wrong),
        PuzzleKind::Grid { columns, vocab, .. } => draw_tokens(columns, vocab, answer, &is_wrong),
        PuzzleKind::Tokens { vocab, .. } => draw_tokens(TOKENS_IN_LINE, vocab, answer, &is_wrong),
    }
}

/// Tokens of a row without rules that are drawn in one line.
const TOKENS_IN_LINE: usize = 20;

/// Draws the grid of colours that begins at the top left of what is no padding, a digit for each cell.
fn draw_arc(canvas: &[i32], is_wrong: &dyn Fn(usize) -> bool) -> Drawing {
    let colour = |cell: usize| u8::try_from(canvas[cell] - 2).ok().filter(|&colour| colour < 10);
    let coloured: Vec<usize> = (0..canvas.len()).filter(|&cell| colour(cell).is_some()).collect();
    let span = |of: &dyn Fn(usize) -> usize| {
        let all = || coloured.iter().map(|&cell| of(cell));
        all().min().unwrap_or(0)..all().max().map_or(0, |last| last + 1)
    };
    let (rows, columns) = (span(&|cell| cell / ARC_SIDE), span(&|cell| cell % ARC_SIDE));
    let draw = |cell: usize| {
        let drawn = match colour(cell) {
            Some(colour) => piece(colour.to_string(), PieceRole::Colour(colour)),
            None => piece(".", PieceRole::Blank),
        };
        let mark = if is_wrong(cell) { WRONG } else { " " };
        let role = if is_wrong(cell) { PieceRole::Wrong } else { drawn.role };
        [drawn.of(cell), piece(mark, role)]
    };
    let line = |row: usize| columns.clone().flat_map(|column| draw(row * ARC_SIDE + column)).collect();
    Drawing { lines: rows.map(line).collect() }
}

/// Draws numbers in lines, each as wide as the largest of the vocabulary.
fn draw_tokens(columns: usize, vocab: usize, answer: &[i32], is_wrong: &dyn Fn(usize) -> bool) -> Drawing {
    let width = vocab.saturating_sub(1).to_string().len();
    let draw = |(cell, token): (usize, &i32)| {
        let role = if is_wrong(cell) { PieceRole::Wrong } else { PieceRole::Token };
        let mark = if is_wrong(cell) { WRONG } else { " " };
        [piece(format!("{token:>width$}"), role).of(cell), piece(mark, role)]
    };
    let cells: Vec<Cell> = answer.iter().enumerate().flat_map(draw).collect();
    Drawing { lines: cells.chunks(2 * columns).map(<[Cell]>::to_vec).collect() }
}

fn piece(text: impl Into<String>, role: PieceRole) -> Cell {
    Cell { text: text.into(), role, cell: None }
}

fn draw_sudoku(
    size: SudokuSize,
    question: &[i32],
    answer: &[i32],
    is_wrong: &dyn Fn(usize) -> bool,
) -> Drawing {
    let side = size.side();
    let boxes_across = side / size.box_columns();
    let rule = format!("{}+", format!("+{}", "-".repeat(2 * size.box_columns() + 1)).repeat(boxes_across));
    let mut lines = Vec::new();
    for row in 0..side {
        if row % size.box_rows() == 0 {
            lines.push(vec![piece(&rule, PieceRole::Frame)]);
        }
        let mut line = Vec::new();
        for column in 0..side {
            let frame = if column % size.box_columns() == 0 { "| " } else { "" };
            line.push(piece(frame, PieceRole::Frame));
            let cell = row * side + column;
            let drawn = draw_sudoku_cell(size, question[cell], answer[cell]).of(cell);
            if is_wrong(cell) {
                line.push(Cell { role: PieceRole::Wrong, ..drawn });
                line.push(piece(WRONG, PieceRole::Wrong));
            } else {
                line.push(drawn);
                line.push(piece(" ", PieceRole::Frame));
            }
        }
        line.push(piece("|", PieceRole::Frame));
        lines.push(line);
    }
    lines.push(vec![piece(&rule, PieceRole::Frame)]);
    Drawing { lines }
}

fn draw_sudoku_cell(size: SudokuSize, question: i32, answer: i32) -> Cell {
    let text = match answer {
        BLANK => ".".to_owned(),
        digit if sudoku::is_digit(size, digit) => sudoku::character(digit - DIGIT_ZERO).to_string(),
        _ => "?".to_owned(),
    };
    let role = match (question, answer) {
        (BLANK, BLANK) => PieceRole::Blank,
        (given, token) if given == token => PieceRole::Given,
        _ => PieceRole::Filled,
    };
    piece(text, role)
}

fn draw_maze(side: usize, answer: &[i32], is_wrong: &dyn Fn(usize) -> bool) -> Drawing {
    let drawn = |cell: usize, token: i32| match token {
        PATH if is_wrong(cell) => piece(WRONG_PATH, PieceRole::Wrong),
        _ if is_wrong(cell) => piece(WRONG, PieceRole::Wrong),
        WALL => piece(maze::character(token), PieceRole::Wall),
        START => piece(maze::character(token), PieceRole::Start),
        GOAL => piece(maze::character(token), PieceRole::Goal),
        PATH => piece(maze::character(token), PieceRole::Path),
        _ => piece(maze::character(token), PieceRole::Open),
    };
    let cells: Vec<Cell> =
        answer.iter().enumerate().map(|(cell, &token)| drawn(cell, token).of(cell)).collect();
    Drawing { lines: cells.chunks(side).map(<[Cell]>::to_vec).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: PuzzleKind = PuzzleKind::Sudoku(SudokuSize::Four);
    const MAZE: PuzzleKind = PuzzleKind::Maze { side: 3 };

    fn message(kind: PuzzleKind, text: &str) -> String {
        parse_puzzle(kind, text).unwrap_err().to_string()
    }

    #[test]
    fn a_sudoku_may_be_typed_in_many_ways() {
        let tokens = vec![2, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 5, 1, 1];
        for text in [
            "1.....2......4..",
            "1000002000000400\n",
            "1...\n..2.\n....\n.4..",
            "1 _ _ _\r\n_ _ 2 _\r\n_ _ _ _\r\n_ 4 _ _\r\n",
            "1,.,.,.\n.,.,2,.\n.,.,.,.\n.,4,.,.\n",
            "1;.;.;.;.;.;2;.;.;.;.;.;.;4;.;.",
            "┌────┬────┐\n│ 1 . │ . . │\n│ . . │ 2 . │\n├────┼────┤\n│ . . │ . . │\n│ . 4 │ . . │\n└────┴────┘",
            "+-----+-----+\n| 1 . | . . |\n| . . | 2 . |\n+-----+-----+\n| . . | . . |\n| . 4 | . . |\n+-----+-----+",
        ] {
            assert_eq!(parse_puzzle(FOUR, text), Ok(tokens.clone()), "{text}");
        }
    }

    #[test]
    fn blank_cells_have_many_characters() {
        let tokens = vec![2, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 5, 1, 1];
        for text in [
            "1---\n--2-\n----\n-4--",
            "1xxx**2*XXXX-4..",
            "1   \n  2 \n- - - -\n 4",
            "1,,,\n,,2,\n,,,\n,4,,",
            "1|---|\n--|2-\n--+--\n--|--\n-4|--\n",
        ] {
            assert_eq!(parse_puzzle(FOUR, text), Ok(tokens.clone()), "{text}");
        }
    }

    #[test]
    fn a_sudoku_of_16x16_has_letters_or_numbers() {
        let kind = PuzzleKind::Sudoku(SudokuSize::Sixteen);
        let row = |first: i32| (0..16).map(move |column| (first + column) % 16 + 1);
        let firsts = (0..16).map(|row| row % 4 * 4 + row / 4);
        let tokens: Vec<i32> = firsts.clone().flat_map(row).map(|digit| digit + DIGIT_ZERO).collect();
        let letters = draw(kind, &tokens, None, &[]).to_string();
        assert!(letters.contains("| 1 2 3 4 | 5 6 7 8 | 9 A B C | D E F G |"), "{letters}");
        assert_eq!(parse_puzzle(kind, &letters), Ok(tokens.clone()));
        let lines = |first| row(first).map(|digit| digit.to_string()).collect::<Vec<_>>().join(" ");
        let numbers: Vec<String> = firsts.map(lines).collect();
        assert_eq!(parse_puzzle(kind, &numbers.join("\n")), Ok(tokens));
        let message = message(kind, &"H".repeat(256));
        assert_eq!(message, "row 1, column 1 has `H`; expected 1 to G, or `.` for a blank cell");
    }

    #[test]
    fn a_text_may_have_several_puzzles() {
        let (one, two) = ("1.....2......4..", "..3.....4.......");
        let rows = |line: &str| -> String {
            line.as_bytes().chunks(4).map(|row| format!("{}\n", String::from_utf8_lossy(row))).collect()
        };
        let expected = [parse_puzzle(FOUR, one).unwrap(), parse_puzzle(FOUR, two).unwrap()];
        for (text, lines) in [
            (format!("{one}\n\n{two}\n"), [1, 3]),
            (format!("{}\n{}", rows(one), rows(two)), [1, 6]),
            (format!("{}{}", rows(one), rows(two)), [1, 5]),
        ] {
            let found = parse_puzzles(FOUR, &text);
            let expected: Vec<_> = lines.into_iter().zip(expected.clone().map(Ok)).collect();
            assert_eq!(found, expected, "{text}");
        }
        let found = parse_puzzles(FOUR, &format!("{one}\n123\n{two}\n{one}\n"));
        let is_right: Vec<(usize, bool)> =
            found.iter().map(|(line, puzzle)| (*line, puzzle.is_ok())).collect();
        assert_eq!(
            is_right,
            [(1, true), (2, false), (3, true), (4, true)],
            "one wrong line is one wrong puzzle"
        );
        let mazes = parse_puzzles(MAZE, "S  ##  G \nS.G......\n");
        assert_eq!(mazes.len(), 2);
        assert_eq!(parse_puzzles(MAZE, "S  \n## \n G \n").len(), 1);
    }

    #[test]
    fn rows_without_rules_are_numbers() {
        let kind = PuzzleKind::Tokens { length: 4, vocab: 12 };
        assert_eq!(parse_puzzle(kind, "[0, 3, 11, 2]"), Ok(vec![0, 3, 11, 2]));
        assert_eq!(message(kind, "0 3 12 2"), "token 3 is `12`; expected a number below 12");
        assert_eq!(message(kind, "0 3"), "there are 2 tokens; expected 4");
        assert_eq!(parse_puzzles(kind, "0 3 11 2\n1 1 1 1\n").len(), 2);
        assert_eq!(kind.draw(&[0, 3, 11, 2], None), " 0  3 11  2 \n");
        let grid = PuzzleKind::Grid { rows: 2, columns: 2, vocab: 5 };
        assert_eq!(parse_puzzle(grid, "1 2\n3 4"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(grid.draw(&[1, 2, 3, 4], None), "1 2 \n3 4 \n");
    }

    #[test]
    fn a_grid_of_arc_is_drawn_without_its_canvas() {
        let mut canvas = vec![0; 900];
        for (cell, token) in [(62, 2), (63, 5), (92, 11), (93, 4), (64, 1), (122, 1)] {
            canvas[cell] = token;
        }
        let drawing = draw(PuzzleKind::Arc, &canvas, None, &[]);
        assert_eq!(drawing.to_string(), "0 3 \n9 2 \n");
        assert_eq!(drawing.lines[1][0].role, PieceRole::Colour(9));
        assert_eq!(PuzzleKind::Arc.draw(&vec![0; 900], None), "");
    }

    #[test]
    fn what_is_drawn_can_be_read_again() {
        for size in SudokuSize::GENERATED {
            let kind = PuzzleKind::Sudoku(size);
            let pair = super::super::generate_sudoku(size, size.cells() / 2, 1, 3).unwrap().remove(0);
            let drawing = draw(kind, &pair.question, None, &[]).to_string();
            assert_eq!(parse_puzzle(kind, &drawing), Ok(pair.question));
        }
        let pair = super::super::generate_maze(7, 8, 1, 3).unwrap().remove(0);
        let kind = PuzzleKind::Maze { side: 7 };
        assert_eq!(parse_puzzle(kind, &draw(kind, &pair.question, None, &[]).to_string()), Ok(pair.question));
    }

    #[test]
    fn a_wrong_sudoku_is_reported_with_row_and_column() {
        assert_eq!(
            message(FOUR, "1...\n..2.\n...."),
            "the puzzle has 3 rows; expected 4 rows of 4 cells, or one line of all cells"
        );
        assert_eq!(message(FOUR, "1...\n..2\n....\n...."), "row 2 has 3 cells; expected 4");
        assert_eq!(message(FOUR, "42.1..242.43..."), "the line has 15 cells; expected 16");
        assert_eq!(message(FOUR, "42.1..242.43....."), "the line has 17 cells; expected 16");
        assert_eq!(
            message(FOUR, " \n"),
            "there are no cells; expected 4 rows of 4 cells, or one line of all cells"
        );
        assert_eq!(
            message(FOUR, "1...\n..2/.\n....\n...."),
            "row 2, column 4 has `/`; expected 1 to 4, or `.` for a blank cell"
        );
        assert_eq!(
            message(FOUR, "1...\n..25\n....\n...."),
            "row 2, column 4 has `5`; expected 1 to 4, or `.` for a blank cell"
        );
        assert_eq!(
            message(FOUR, "1...\n..2.\n....\n1..."),
            "row 4, column 1 has 1, which row 1, column 1 of the same column has already"
        );
    }

    #[test]
    fn a_maze_may_be_typed_in_rows_or_in_one_line() {
        let tokens = vec![3, 2, 2, 1, 1, 2, 2, 4, 2];
        assert_eq!(parse_puzzle(MAZE, "S  \n## \n G \n"), Ok(tokens.clone()));
        assert_eq!(parse_puzzle(MAZE, "S..\n##.\n.G.\n"), Ok(tokens.clone()));
        assert_eq!(parse_puzzle(MAZE, "S  ##  G "), Ok(tokens.clone()));
        assert_eq!(parse_puzzle(MAZE, "+---+\n|S  |\n|## |\n| G |\n+---+"), Ok(tokens));
    }

    #[test]
    fn a_wrong_maze_is_reported_with_row_and_column() {
        assert_eq!(
            message(MAZE, "S  \n##\n G \n"),
            "row 2 has 2 cells; expected 3 (write `.` for open cells at the end of a row)"
        );
        assert_eq!(
            message(MAZE, "S  \n#o \n G "),
            "row 2, column 2 has `o`; expected `#`, space or `.` for an open cell, `S` or `G`"
        );
        assert_eq!(message(MAZE, "S  \n## \n   "), "the maze has 0 cells with goal `G`; expected one");
        assert_eq!(message(MAZE, "S S\n## \n  G"), "the maze has 2 cells with start `S`; expected one");
    }

    #[test]
    fn any_shortest_path_is_valid_but_only_one_is_the_label() {
        let question = parse_puzzle(MAZE, "S..\n...\n..G").unwrap();
        let label = expected_answer(MAZE, &question).unwrap();
        assert_eq!(draw(MAZE, &question, Some(&label), &[]).to_string(), "S  \no  \nooG\n");
        let other: Vec<i32> = "Soo  o  G".chars().map(|character| maze::token(character).unwrap()).collect();
        let judged = |answer: &[i32]| judge(MAZE, &question, answer, &label);
        assert_eq!(judged(&label), Judgement { is_valid: true, equals_label: true });
        assert_eq!(judged(&other), Judgement { is_valid: true, equals_label: false });
        assert_eq!(judged(&question), Judgement { is_valid: false, equals_label: false });
    }

    #[test]
    fn a_valid_sudoku_answer_keeps_the_givens() {
        let question = parse_puzzle(FOUR, "12..\n..12\n21..\n..21").unwrap();
        let answer = parse_puzzle(FOUR, "1234\n3412\n2143\n4321").unwrap();
        assert!(is_valid_solution(FOUR, &question, &answer));
        let other = parse_puzzle(FOUR, "2134\n3412\n1243\n4321").unwrap();
        assert!(is_solved_sudoku(SudokuSize::Four, &other));
        assert!(!is_valid_solution(FOUR, &question, &other));
        assert!(!is_valid_solution(FOUR, &question, &answer[1..]));
    }

    #[test]
    fn roles_tell_givens_from_filled_and_wrong_cells() {
        let question = parse_puzzle(FOUR, "1...\n..2.\n....\n.4..").unwrap();
        let mut answer = question.clone();
        answer[1] = 5;
        answer[0] = 3;
        answer[2] = 0;
        let wrong = mistakes(FOUR, &question, &answer, None);
        let drawing = draw(FOUR, &question, Some(&answer), &wrong);
        let cells: Vec<(&str, PieceRole)> = drawing
            .lines
            .iter()
            .flatten()
            .filter(|cell| cell.role != PieceRole::Frame)
            .map(|cell| (cell.text.as_str(), cell.role))
            .collect();
        assert_eq!(
            cells[..8],
            [
                ("2", PieceRole::Wrong),
                ("!", PieceRole::Wrong),
                ("4", PieceRole::Wrong),
                ("!", PieceRole::Wrong),
                ("?", PieceRole::Wrong),
                ("!", PieceRole::Wrong),
                (".", PieceRole::Wrong),
                ("!", PieceRole::Wrong),
            ]
        );
        assert!(cells.contains(&("2", PieceRole::Given)));
        answer[1] = 4;
        let drawing = draw(FOUR, &question, Some(&answer), &[]);
        assert_eq!(drawing.lines[1][4].role, PieceRole::Filled);
    }

    #[test]
    fn wrong_cells_are_marked_in_plain_text() {
        let question = parse_puzzle(FOUR, "12..\n..12\n21..\n..21").unwrap();
        let answer = parse_puzzle(FOUR, "1234\n3412\n2143\n4321").unwrap();
        assert!(!FOUR.draw(&question, Some(&answer)).contains('!'));
        let mut wrong = answer.clone();
        wrong[3] = 4;
        assert_eq!(
            FOUR.draw(&question, Some(&wrong)),
            "+-----+-----+\n\
             | 1 2 | 3!3!|\n\
             | 3 4 | 1 2 |\n\
             +-----+-----+\n\
             | 2 1 | 4 3!|\n\
             | 4 3 | 2 1 |\n\
             +-----+-----+\n"
        );
        let question = parse_puzzle(MAZE, "S..\n##.\n.G.").unwrap();
        let answer: Vec<i32> = "Soo#oo Go".chars().map(|character| maze::token(character).unwrap()).collect();
        assert_eq!(MAZE.draw(&question, Some(&answer)), "Soo\n#xo\n Go\n");
        assert!(!MAZE.draw(&question, None).contains('!'));
    }

    #[test]
    fn a_drawing_shows_boxes() {
        let question = parse_puzzle(FOUR, "1...\n..2.\n....\n.4..").unwrap();
        assert_eq!(
            draw(FOUR, &question, None, &[]).to_string(),
            "+-----+-----+\n\
             | 1 . | . . |\n\
             | . . | 2 . |\n\
             +-----+-----+\n\
             | . . | . . |\n\
             | . 4 | . . |\n\
             +-----+-----+\n"
        );
    }
}
