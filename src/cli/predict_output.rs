//! Answers of `hrmc predict`, written in the order of the questions.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::{Failure, fail};
use super::terminal;
use crate::data::puzzle::written;
use crate::data::{AnswerArray, AnswerShape, PuzzleKind};
use crate::ir::Halt;
use crate::train::{AskedRow, RowAnswer, Solver};

/// Columns of answers in CSV, and the keys of their lines in JSON.
const COLUMNS: [&str; 11] = [
    "row",
    "answer",
    "confidence",
    "q",
    "segments",
    "rollout",
    "stopped_by",
    "drift",
    "settled",
    "valid",
    "right",
];

/// Distance below which a state counts as settled where the spec names none.
const SETTLED: f32 = 0.01;

/// Returns the distance below which a state counts as settled.
fn settles_below(solver: &Solver) -> f32 {
    let model = solver.model();
    let of_policy = match model.halt {
        Halt::Residual { eps, .. } => Some(eps),
        _ => None,
    };
    model.inference().settle.or(of_policy).unwrap_or(SETTLED)
}

/// Where answers go, and in which form.
enum AnswerOutput {
    Text(AnswerText),
    Array(AnswerArray),
}

/// A text of answers.
struct AnswerText {
    form: AnswerForm,
    /// `None` for standard output.
    file: Option<(PathBuf, Box<dyn Write>)>,
}

/// How a text holds answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerForm {
    JsonLines,
    Csv,
}

impl AnswerOutput {
    /// Begins the form that the name of the file tells. Some questions may be `marked`, and have no answer.
    fn create(file: Option<&Path>, marked: bool, solver: &Solver) -> Result<AnswerOutput, Failure> {
        let Some(path) = file else {
            return Ok(AnswerOutput::Text(AnswerText { form: AnswerForm::JsonLines, file: None }));
        };
        let form = match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => AnswerForm::JsonLines,
            Some("csv") => AnswerForm::Csv,
            Some("npy") => {
                let tokens = &solver.model().tokens;
                let (positions, vocab) = (tokens.positions, tokens.vocab);
                let shape = AnswerShape { positions, vocab, has_gaps: marked };
                return Ok(AnswerOutput::Array(AnswerArray::create(path, shape).map_err(fail)?));
            }
            _ => {
                return Err(Failure::message(format!(
                    "cannot tell the form of `{}` from its name; expected one that ends in `.jsonl`, `.csv` or `.npy`",
                    path.display()
                )));
            }
        };
        let file = Some((path.to_path_buf(), terminal::create_file(path)?));
        let mut text = AnswerText { form, file };
        if form == AnswerForm::Csv {
            text.write(&format!("{},error\n", COLUMNS.join(",")))?;
        }
        Ok(AnswerOutput::Text(text))
    }
}

impl AnswerText {
    fn write(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.file {
            None => terminal::print(text),
            Some((path, file)) => {
                file.write_all(text.as_bytes()).map_err(|error| Failure::cannot_write(path, &error))
            }
        }
    }

    fn answer(&mut self, values: &[Value; COLUMNS.len()]) -> Result<(), Failure> {
        let line = match self.form {
            AnswerForm::JsonLines => {
                let pairs = COLUMNS.iter().zip(values).map(|(key, value)| format!("\"{key}\": {value}"));
                format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(", "))
            }
            AnswerForm::Csv => {
                let field = |value: &Value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => csv_field(text),
                    Value::Array(tokens) => {
                        let words: Vec<String> = tokens.iter().map(Value::to_string).collect();
                        words.join(" ")
                    }
                    other => other.to_string(),
                };
                format!("{},\n", values.iter().map(field).collect::<Vec<_>>().join(","))
            }
        };
        self.write(&line)
    }

    fn error(&mut self, row: usize, reason: &str) -> Result<(), Failure> {
        let line = match self.form {
            AnswerForm::JsonLines => format!("{}\n", json!({ "row": row, "error": reason })),
            AnswerForm::Csv => {
                let empty = ",".repeat(COLUMNS.len());
                format!("{row}{empty}{}\n", csv_field(reason))
            }
        };
        self.write(&line)
    }
}

/// Writes answers in the order of the rows.
pub struct AnswerWriter {
    output: AnswerOutput,
    kind: PuzzleKind,
    settles_below: f32,
    /// Errors of questions behind one that is not answered yet.
    pending: Vec<(usize, String)>,
    /// Answers that were written.
    pub answers: usize,
    /// Errors that were written in place of answers.
    pub marked: usize,
}

impl AnswerWriter {
    /// Begins a file, or standard output where there is none. `mark_errors` says whether questions may be
    /// [marked](AnswerWriter::mark).
    ///
    /// # Errors
    ///
    /// Returns a failure if the file cannot be written, or has another form.
    pub fn create(
        file: Option<&Path>,
        mark_errors: bool,
        kind: PuzzleKind,
        solver: &Solver,
    ) -> Result<AnswerWriter, Failure> {
        Ok(AnswerWriter {
            output: AnswerOutput::create(file, mark_errors, solver)?,
            kind,
            settles_below: settles_below(solver),
            pending: Vec::new(),
            answers: 0,
            marked: 0,
        })
    }

    /// Keeps the error of a question for its place.
    pub fn mark(&mut self, row: usize, reason: String) {
        self.pending.push((row, reason));
    }

    /// Writes the errors of the questions before a row.
    fn mark_before(&mut self, row: usize) -> Result<(), Failure> {
        let later = self.pending.iter().position(|(marked, _)| *marked > row).unwrap_or(self.pending.len());
        for (row, reason) in self.pending.drain(..later) {
            self.marked += 1;
            match &mut self.output {
                AnswerOutput::Text(text) => text.error(row, &reason)?,
                AnswerOutput::Array(array) => {
                    // There is no place for words in an array.
                    terminal::warning(&format!("no answer to {reason}"));
                    array.push(None).map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the errors of the questions behind the last answer.
    ///
    /// # Errors
    ///
    /// Returns a failure if they cannot be written.
    pub fn mark_rest(&mut self) -> Result<(), Failure> {
        self.mark_before(usize::MAX)
    }

    /// Writes the answer to the next row.
    ///
    /// # Errors
    ///
    /// Returns a failure if it cannot be written, or is not made of numbers.
    pub fn answer(&mut self, asked: &AskedRow, answer: &RowAnswer) -> Result<(), Failure> {
        self.mark_before(asked.row)?;
        if !answer.is_finite() {
            return Err(Failure::message(format!(
                "the model computes numbers that are not finite for row {}, so it has no answer; take another \
                 checkpoint (`--checkpoint`), or train again with a lower learning rate",
                asked.row
            )));
        }
        self.answers += 1;
        let text = match &mut self.output {
            AnswerOutput::Text(text) => text,
            AnswerOutput::Array(array) => return array.push(Some(&answer.tokens)).map_err(fail),
        };
        let shown = written(self.kind, &answer.tokens);
        text.answer(&[
            json!(answer.row),
            shown.map_or_else(|| json!(answer.tokens), |text| json!(text)),
            json!(answer.confidence),
            json!(answer.q()),
            json!(answer.segments),
            json!(answer.rollout),
            json!(answer.stopped_by),
            json!(answer.drift),
            json!(answer.drift < self.settles_below),
            json!(answer.valid),
            json!(answer.is_right()),
        ])
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// Returns a failure if it cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        match self.output {
            AnswerOutput::Text(AnswerText { file: Some((path, mut file)), .. }) => {
                file.flush().map_err(|error| Failure::cannot_write(&path, &error))
            }
            AnswerOutput::Text(_) => Ok(()),
            AnswerOutput::Array(array) => array.finish().map_err(fail),
        }
    }
}

/// Returns a text as a field of CSV.
fn csv_field(text: &str) -> String {
    let is_plain = !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if is_plain { text.to_string() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
