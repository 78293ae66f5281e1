//! `hrmc run RUN --puzzle FILE --trace` and `hrmc eval RUN --trace N`: what a model does while it solves a puzzle.

pub mod document;
mod frames;
mod player;

use std::path::{Path, PathBuf};

pub use document::TraceDocument;

use super::failure::Failure;
use super::run_arguments::CheckpointName;
use super::trace_page::trace_page;
use super::{picture, terminal};
use crate::data::PuzzleKind;
use crate::train::{AskedRow, Run, Solver};

/// Puzzles that are traced at once.
const MOST_PUZZLES: usize = 64;

/// Where a trace goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceOutput {
    /// An animation where there is a terminal, else frame after frame.
    Terminal,
    /// JSON, to a file or to standard output.
    Json(Option<PathBuf>),
    /// A page, to a file.
    Page(PathBuf),
}

impl TraceOutput {
    /// Returns where a trace goes that the user wants in a file, or as JSON on standard output.
    ///
    /// # Errors
    ///
    /// Returns a failure for a file of another kind.
    pub fn of(file: Option<&Path>, is_json: bool) -> Result<TraceOutput, Failure> {
        let Some(file) = file else {
            return Ok(if is_json { TraceOutput::Json(None) } else { TraceOutput::Terminal });
        };
        let ends_in = |end: &str| file.extension().is_some_and(|found| found.eq_ignore_ascii_case(end));
        if ends_in("json") {
            Ok(TraceOutput::Json(Some(file.to_path_buf())))
        } else if ends_in("html") || ends_in("htm") {
            Ok(TraceOutput::Page(file.to_path_buf()))
        } else {
            Err(Failure::message(format!(
                "cannot tell the form of `{}` from its name; expected one that ends in `.html` or `.json`",
                file.display()
            )))
        }
    }

    /// Shows or writes a trace.
    ///
    /// # Errors
    ///
    /// Returns a failure if it cannot be written, or the animation is ended by Ctrl-C.
    pub fn give(&self, document: &TraceDocument) -> Result<(), Failure> {
        match self {
            TraceOutput::Terminal if player::is_possible() => {
                player::play(document)?;
                terminal::print(answers(document))
            }
            TraceOutput::Terminal => {
                for (puzzle, traced) in document.puzzles.iter().enumerate() {
                    if document.puzzles.len() > 1 {
                        terminal::print(format!(
                            "{}\n",
                            terminal::heading(&format!("puzzle {}", puzzle + 1))
                        ))?;
                    }
                    for at in 0..traced.frames() {
                        let text = frames::frame_text(document, puzzle, at, terminal::output_columns());
                        terminal::print(format!("{text}\n"))?;
                    }
                }
                terminal::print(answers(document))
            }
            TraceOutput::Json(None) => terminal::print(format!("{}\n", document.to_json())),
            TraceOutput::Json(Some(file)) => write(file, &format!("{}\n", document.to_json()), document),
            TraceOutput::Page(file) => write(file, &trace_page(&document.to_json()), document),
        }
    }
}

/// Writes a trace to a file, and says what it has and what it has not.
fn write(file: &Path, text: &str, document: &TraceDocument) -> Result<(), Failure> {
    terminal::write_file(file, text)?;
    let left_out = match document.left_out.is_empty() {
        true => String::new(),
        false => format!("; left out: {}", document.left_out.join("; ")),
    };
    terminal::note(format_args!(
        "wrote the trace to `{}` ({}){left_out}",
        file.display(),
        terminal::bytes(text.len() as u64)
    ));
    Ok(())
}

/// Draws every puzzle with its answer.
fn answers(document: &TraceDocument) -> String {
    let mut text = String::new();
    for (number, traced) in document.puzzles.iter().enumerate() {
        if document.puzzles.len() > 1 {
            text.push_str(&format!("{}\n", terminal::heading(&format!("puzzle {}", number + 1))));
        }
        let best = &traced.rollouts[traced.best];
        let answer = &best.frames[best.frames.len() - 1].answer;
        text.push_str(&picture::side_by_side(traced.kind(), &traced.input, answer, None));
        text.push_str(&format!("{}\n", traced.verdict));
    }
    text
}

/// Rows that are to be traced.
pub struct RowsToTrace {
    /// What they are.
    pub kind: PuzzleKind,
    /// The rows, each with its number if it is one of a dataset.
    pub rows: Vec<(AskedRow, Option<usize>)>,
}

/// Shows or writes what a model does on each row. `load` gives the model, with one slot.
///
/// # Errors
///
/// Returns a failure if there are too many rows, one does not fit the model, the model fails, or the trace cannot be given.
pub fn trace(
    run: &Run,
    checkpoint: Option<CheckpointName>,
    asked: &RowsToTrace,
    load: impl FnOnce() -> Result<Solver, Failure>,
    output: &TraceOutput,
) -> Result<(), Failure> {
    let RowsToTrace { kind, rows } = asked;
    check_count(rows.len())?;
    let mut solver = load()?;
    let mut document = begin(run, checkpoint, *kind);
    for (asked, number) in rows {
        document.add(&solver.trace_row(asked)?, *kind, asked, *number, rows.len());
    }
    output.give(&document)
}

/// Returns an empty document about a run.
fn begin(run: &Run, checkpoint: Option<CheckpointName>, kind: PuzzleKind) -> TraceDocument {
    let checkpoint = match checkpoint {
        Some(CheckpointName::Best) => "best",
        Some(CheckpointName::Last) => "last",
        Some(CheckpointName::Previous) => "previous",
        None => "best, or last where there is none",
    };
    let path = terminal::path_text(run.path());
    TraceDocument::new(path, checkpoint.to_string(), kind, run.spec().model())
}

/// Refuses more puzzles than a trace can have.
fn check_count(puzzles: usize) -> Result<(), Failure> {
    if puzzles <= MOST_PUZZLES {
        return Ok(());
    }
    Err(Failure::message(format!(
        "a trace has at most {MOST_PUZZLES} puzzles, and these are {}; trace fewer",
        terminal::grouped(puzzles as u64)
    )))
}

#[cfg(test)]
mod testing {
    //! A small trace for the tests of this module.

    use super::TraceDocument;
    use crate::data::PuzzleKind;
    use crate::ir::testing::example;
    use crate::train::{AskedRow, RolloutTrace, StateUpdate, StoppedBy};

    /// Returns a trace of a puzzle with three segments of two updates.
    pub fn document() -> TraceDocument {
        let kind = PuzzleKind::Tokens { length: 4, vocab: 5 };
        let mut model = example();
        model.tokens.vocab = 5;
        let mut document = TraceDocument::new("runs/a".to_string(), "best".to_string(), kind, &model);
        let asked = AskedRow { labels: vec![3, 1, 3, 3], ..AskedRow::unlabelled(0, vec![3; 4]) };
        document.add(&[rollout(4, 3)], kind, &asked, Some(7), 1);
        document
    }

    /// Returns a rollout over so many cells. Update `i` answers with the token `i % 5` in cell `i % 4`, with 3 elsewhere,
    /// and is not sure of anything.
    pub fn rollout(cells: usize, segments: usize) -> RolloutTrace {
        let update = |at: usize| {
            let mut tokens = vec![3; cells];
            tokens[at % 4] = (at % 5) as i32;
            StateUpdate {
                segment: at / 2 + 1,
                iterations: Vec::new(),
                state: ["z_low", "z_high"][at % 2].to_string(),
                moved: 1.0 / (at + 1) as f64,
                residual: 0.5 / (at + 1) as f64,
                values: (0..16).map(|value| (at * value) as f32).collect(),
                width: 8,
                tokens,
                probabilities: vec![0.2; 5 * cells],
                q_halt: Some(at as f32 - 3.0),
            }
        };
        RolloutTrace {
            rollout: 0,
            stopped_by: StoppedBy::Limit,
            is_best: true,
            updates: (0..2 * segments).map(update).collect(),
            drifts: (1..=segments).map(|segment| 0.25 / segment as f32).collect(),
            attention: Vec::new(),
        }
    }
}
