//! Questions from a file, one at a time: typed puzzles, JSON lines, CSV or an array.
//!
//! A question may come with its answer. What cannot be read is an error of its own, and the next question can still be
//! read.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::csv_rows::{CsvFault, CsvRow, CsvRows};
use super::error::DataError;
use super::kind::PuzzleKind;
use super::npy::IntegerArray;
use super::puzzle::{is_frame, line_cells, parse_answer, parse_puzzle};
use super::rules::IGNORED_LABEL;
use crate::reading::{self, TextLines, shortened};

/// A question that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadQuestion {
    /// Tokens, `[S]`.
    pub tokens: Vec<i32>,
    /// Labels, `[S]`; [`IGNORED_LABEL`] where the answer is not known.
    pub labels: Vec<i32>,
}

/// How a text holds questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionForm {
    /// As people type them: one on each line, or row by row.
    Typed,
    /// JSON on each line.
    JsonLines,
    /// CSV with the column `question`, and perhaps `answer`.
    Csv,
}

impl QuestionForm {
    /// Returns the form that the name of a file tells, or the first character of its text.
    pub fn of(file: &Path, first: Option<u8>) -> QuestionForm {
        let extension = file.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("csv") => QuestionForm::Csv,
            Some("jsonl" | "json") => QuestionForm::JsonLines,
            _ if matches!(first, Some(b'{' | b'[' | b'"')) => QuestionForm::JsonLines,
            _ => QuestionForm::Typed,
        }
    }
}

/// Questions that are read one at a time.
pub struct Questions {
    file: PathBuf,
    kind: PuzzleKind,
    source: QuestionInput,
    /// Questions that were read, well or not.
    read: usize,
}

enum QuestionInput {
    Lines { lines: TextLines<Box<dyn BufRead>>, form: QuestionForm, rows: Option<usize> },
    Csv { rows: CsvRows<Box<dyn Read>>, question: usize, answer: Option<usize> },
    Array { array: IntegerArray<Box<dyn Read>>, length: usize },
}

impl Questions {
    /// Begins with a text; errors call it `file`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is CSV without the column `question`.
    pub fn of_text(
        file: &Path,
        kind: PuzzleKind,
        mut input: Box<dyn BufRead>,
    ) -> Result<Questions, DataError> {
        let read_error = |reason| DataError::Read { file: file.to_owned(), reason };
        let first =
            input.fill_buf().map_err(read_error)?.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        let form = QuestionForm::of(file, first);
        let source = if form == QuestionForm::Csv {
            let mut rows = CsvRows::new(input as Box<dyn Read>);
            let header = rows.next_row().map_err(|fault| match fault {
                CsvFault::Read(reason) => read_error(reason),
                _ => DataError::file(file, "is not a CSV file"),
            })?;
            let names: Vec<String> =
                header.map_or_else(Vec::new, |header| header.record.iter().map(str::to_owned).collect());
            let place = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.trim()));
            let Some(question) = place(&["question", "input"]) else {
                let found = shortened(&names.join(","));
                return Err(DataError::file(
                    file,
                    format!("has the columns `{found}`; expected one named `question`"),
                ));
            };
            let answer = place(&["answer", "output"]);
            QuestionInput::Csv { rows, question, answer }
        } else {
            QuestionInput::Lines { lines: TextLines::new(input), form, rows: None }
        };
        Ok(Questions { file: file.to_owned(), kind, source, read: 0 })
    }

    /// Begins with a file: an array of integers `[rows, S]` if its name ends in `.npy`, else a text.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or its rows are not as long as those of the kind.
    pub fn open(file: &Path, kind: PuzzleKind) -> Result<Questions, DataError> {
        let read_error = |reason| DataError::Read { file: file.to_owned(), reason };
        if file.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("npy")) {
            let (reader, _) = reading::open(file, &reading::QUESTIONS).map_err(read_error)?;
            return Questions::of_text(file, kind, Box::new(reader));
        }
        let (reader, bytes) = reading::open(file, &reading::ARRAY).map_err(read_error)?;
        Questions::of_array(file, kind, Box::new(reader), bytes)
    }

    /// Begins with an array of `bytes` bytes; errors call it `file`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or its rows are not as long as those of the kind.
    pub fn of_array(
        file: &Path,
        kind: PuzzleKind,
        input: Box<dyn Read>,
        bytes: u64,
    ) -> Result<Questions, DataError> {
        let array = IntegerArray::read(file, input, bytes)?;
        let length = kind.seq_len();
        let fits = match array.shape() {
            [_, columns] => *columns == length,
            [_, rows, columns] => (*rows, *columns) == kind.shape(),
            _ => false,
        };
        if !fits {
            let reason = format!("has shape {:?}; expected [rows, {length}]", array.shape());
            return Err(DataError::file(file, reason));
        }
        Ok(Questions { file: file.to_owned(), kind, source: QuestionInput::Array { array, length }, read: 0 })
    }

    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the next question; the inner error is about this question alone, and names its place.
    ///
    /// # Errors
    ///
    /// If nothing more can be read.
    pub fn next_question(&mut self) -> Result<Option<Result<ReadQuestion, String>>, DataError> {
        let read_error = |reason| DataError::Read { file: self.file.clone(), reason };
        let kind = self.kind;
        let found = match &mut self.source {
            QuestionInput::Lines { lines, form, rows } => {
                next_lines(lines, *form, kind, rows).map_err(read_error)?.map(|(line, text)| {
                    let question = match form {
                        QuestionForm::JsonLines => of_json(kind, &text),
                        _ => parse_puzzle(kind, &text).map(without_answer).map_err(|error| error.to_string()),
                    };
                    question.map_err(|reason| format!("line {line}: {reason}"))
                })
            }
            QuestionInput::Csv { rows, question, answer } => match rows.next_row() {
                Ok(None) => None,
                Ok(Some(CsvRow { record, line })) => {
                    let field = |column: usize| record.get(column).unwrap_or("");
                    let answer = answer.map(field).filter(|answer| !answer.is_empty());
                    let question = of_texts(kind, field(*question), answer);
                    Some(question.map_err(|reason| format!("line {line}: {reason}")))
                }
                Err(CsvFault::Row { line, reason }) => Some(Err(format!("line {line}: {reason}"))),
                Err(fault) => return Err(fault.error(&self.file, self.read + 1)),
            },
            QuestionInput::Array { array, length } => array.next_values(*length)?.map(|values| {
                let vocab = kind.vocab_size();
                let known = |&value: &i64| usize::try_from(value).is_ok_and(|value| value < vocab);
                match values.iter().find(|value| !known(value)) {
                    None => Ok(without_answer(values.iter().map(|&value| value as i32).collect())),
                    Some(value) => Err(format!("token {value} is outside the vocabulary of {vocab}")),
                }
            }),
        };
        let Some(found) = found else { return Ok(None) };
        self.read += 1;
        let row = self.read - 1;
        Ok(Some(found.map_err(|reason| format!("row {row} (counted from 0), {reason}"))))
    }
}

fn without_answer(tokens: Vec<i32>) -> ReadQuestion {
    ReadQuestion { labels: vec![IGNORED_LABEL; tokens.len()], tokens }
}

/// Returns the text of the next question and its line: a line, or as many as the grid has rows where the first line is
/// one row. What lies between grids is left out.
fn next_lines(
    lines: &mut TextLines<Box<dyn BufRead>>,
    form: QuestionForm,
    kind: PuzzleKind,
    rows: &mut Option<usize>,
) -> std::io::Result<Option<(usize, String)>> {
    let mut text = String::new();
    let mut begun = None;
    let mut found = 0;
    while let Some(line) = lines.next_line()? {
        let is_left_out =
            if form == QuestionForm::Typed { is_frame(kind, &line) } else { line.trim().is_empty() };
        if is_left_out {
            continue;
        }
        let (height, columns) = kind.shape();
        let is_row = || form == QuestionForm::Typed && line_cells(kind, &line) <= columns;
        let rows = *rows.get_or_insert_with(|| if is_row() { height } else { 1 });
        begun.get_or_insert(lines.number());
        text.push_str(&line);
        text.push('\n');
        found += 1;
        if found == rows {
            break;
        }
    }
    Ok(begun.map(|line| (line, text)))
}

fn of_texts(kind: PuzzleKind, question: &str, answer: Option<&str>) -> Result<ReadQuestion, String> {
    let question = without_answer(parse_puzzle(kind, question).map_err(|error| error.to_string())?);
    match answer {
        None => Ok(question),
        Some(answer) => {
            let labels = parse_answer(kind, answer).map_err(|error| format!("the answer: {error}"))?;
            Ok(ReadQuestion { labels, ..question })
        }
    }
}

/// A question in a line of JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonQuestion {
    Bare(JsonCells),
    Named {
        #[serde(alias = "input", alias = "inputs")]
        question: JsonCells,
        #[serde(default, alias = "output", alias = "label", alias = "labels")]
        answer: Option<JsonCells>,
    },
}

/// Cells in JSON: a text as people type it, or tokens.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonCells {
    Text(String),
    Row(Vec<i64>),
    Grid(Vec<Vec<i64>>),
}

fn of_json(kind: PuzzleKind, line: &str) -> Result<ReadQuestion, String> {
    let (question, answer) = match reading::json::value::<JsonQuestion>(line) {
        Ok(JsonQuestion::Bare(question)) => (question, None),
        Ok(JsonQuestion::Named { question, answer }) => (question, answer),
        Err(_) => {
            return Err(format!(
                "`{}` is no question; expected a text, a list of tokens, or `{{\"question\": …}}` with either",
                shortened(line.trim())
            ));
        }
    };
    let cells =
        |cells: JsonCells, parse: fn(PuzzleKind, &str) -> Result<Vec<i32>, super::puzzle::PuzzleError>| {
            match cells {
                JsonCells::Text(text) => parse(kind, &text).map_err(|error| error.to_string()),
                JsonCells::Row(row) => tokens(kind, row),
                JsonCells::Grid(rows) => tokens(kind, rows.concat()),
            }
        };
    let question = without_answer(cells(question, parse_puzzle)?);
    match answer {
        None => Ok(question),
        Some(answer) => {
            let labels = cells(answer, parse_answer).map_err(|reason| format!("the answer: {reason}"))?;
            Ok(ReadQuestion { labels, ..question })
        }
    }
}

fn tokens(kind: PuzzleKind, values: Vec<i64>) -> Result<Vec<i32>, String> {
    let (vocab, length) = (kind.vocab_size(), kind.seq_len());
    if values.len() != length {
        return Err(format!("there are {} tokens; expected {length}", values.len()));
    }
    let token = |value: i64| {
        let known = usize::try_from(value).is_ok_and(|value| value < vocab);
        if known {
            Ok(value as i32)
        } else {
            Err(format!("token {value} is outside the vocabulary of {vocab}"))
        }
    };
    values.into_iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::data::sudoku::SudokuSize;

    const FOUR: PuzzleKind = PuzzleKind::Sudoku(SudokuSize::Four);
    const ONE: &str = "1.....2......4..";
    const TOKENS: [i32; 16] = [2, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 5, 1, 1];

    fn all(name: &str, kind: PuzzleKind, text: &str) -> Vec<Result<ReadQuestion, String>> {
        let input = Box::new(Cursor::new(text.as_bytes().to_vec()));
        let mut questions = Questions::of_text(Path::new(name), kind, input).expect("it can be read");
        std::iter::from_fn(|| questions.next_question().expect("it can be read")).collect()
    }

    #[test]
    fn questions_come_typed_as_json_and_as_csv() {
        let rows: String =
            ONE.as_bytes().chunks(4).map(|row| format!("{}\n", String::from_utf8_lossy(row))).collect();
        let answer = "1234341221434321";
        let labels: Vec<i32> = answer.bytes().map(|digit| i32::from(digit - b'0') + 1).collect();
        let ignored = vec![IGNORED_LABEL; 16];
        for (name, text, labels) in [
            ("-", format!("{ONE}\n{ONE}\n"), &ignored),
            ("-", format!("{rows}\n{rows}"), &ignored),
            ("q.txt", format!("+--+\n{rows}+--+\n{rows}"), &ignored),
            ("q.jsonl", format!("\"{ONE}\"\n{{\"input\": \"{ONE}\", \"more\": 1}}\n"), &ignored),
            ("-", format!("{TOKENS:?}\n{{\"question\": {TOKENS:?}}}\n"), &ignored),
            ("q.csv", format!("source,question\nx,{ONE}\ny,{ONE}\n"), &ignored),
            ("q.csv", format!("answer,question\n{answer},{ONE}\n{answer},{ONE}\n"), &labels),
            (
                "q.jsonl",
                format!("{{\"question\": \"{ONE}\", \"answer\": \"{answer}\"}}\n").repeat(2),
                &labels,
            ),
        ] {
            let expected = Ok(ReadQuestion { tokens: TOKENS.to_vec(), labels: labels.clone() });
            assert_eq!(all(name, FOUR, &text), [expected.clone(), expected], "{text}");
        }
    }

    #[test]
    fn a_wrong_question_is_named_and_the_next_one_is_read() {
        let found = all("-", FOUR, &format!("{ONE}\n12\n\n{ONE}\n"));
        assert!(found[0].is_ok() && found[2].is_ok());
        let message = found[1].as_ref().expect_err("it is short");
        assert_eq!(message, "row 1 (counted from 0), line 2: the line has 2 cells; expected 16");
        let found = all("q.jsonl", FOUR, "{\"question\": [1, 2]}\n{\"quest\": 1}\n[1, 2\n");
        assert_eq!(
            found[0].as_ref().expect_err("it is short").split(": ").last(),
            Some("there are 2 tokens; expected 16")
        );
        assert!(
            found[1..].iter().all(|one| one.as_ref().is_err_and(|reason| reason.contains("is no question")))
        );
        let maze = PuzzleKind::Maze { side: 3 };
        let found = all("q.csv", maze, "question,answer\nS  ##  G ,Soo##oxG \n");
        assert!(found[0].as_ref().expect_err("x is no cell").contains("the answer: row 3, column 1 has `x`"));
    }

    #[test]
    fn a_row_of_a_table_that_is_no_text_is_one_question_and_one_too_long_is_the_end() {
        let text = [b"question\n".as_slice(), ONE.as_bytes(), b"\n\xff\n", ONE.as_bytes(), b"\n"].concat();
        let end = [b"question\n1\n\"".as_slice(), &vec![b'1'; 2 << 20]].concat();
        let open = |bytes: &[u8]| {
            let input = Box::new(Cursor::new(bytes.to_vec()));
            Questions::of_text(Path::new("q.csv"), FOUR, input).expect("it has the column")
        };
        let mut questions = open(&text);
        let mut next = || questions.next_question().expect("it can be read");
        assert!(next().is_some_and(|one| one.is_ok()));
        let wrong = next().and_then(Result::err).expect("it is no text");
        assert_eq!(wrong, "row 1 (counted from 0), line 3: has characters that are not UTF-8 text");
        assert!(next().is_some_and(|one| one.is_ok()) && next().is_none());
        let mut questions = open(&end);
        assert!(questions.next_question().is_ok_and(|one| one.is_some_and(|one| one.is_err())));
        let said = questions.next_question().expect_err("it is too long").to_string();
        assert_eq!(said, "`q.csv`, row 2 (line 3): is longer than 1048576 bytes, the most of a row");
    }

    #[test]
    fn a_table_without_questions_is_refused() {
        let input = Box::new(Cursor::new(b"puzzle,solution\n1,2\n".to_vec()));
        let refused = Questions::of_text(Path::new("q.csv"), FOUR, input).err().expect("there is no column");
        assert_eq!(
            refused.to_string(),
            "`q.csv`: has the columns `puzzle,solution`; expected one named `question`"
        );
    }
}
