//! `hrmc run RUN --puzzle`.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::failure::{Failure, fail_with_batch};
use super::picture::Expected;
use super::project::Project;
use super::run_arguments::{self, Common, SolveArguments};
use super::terminal::{counted, percent};
use super::{picture, spec, terminal};
use crate::data::puzzle::{expected_answer, is_valid_solution, parse_puzzle};
use crate::data::{PuzzleKind, Solutions, solve_sudoku};
use crate::reading;
use crate::train::{Question, SolveOptions};

/// The puzzle identifier of a puzzle that is in no dataset.
const BLANK_PUZZLE: i32 = 0;

/// The report about one segment.
#[derive(Debug, Serialize)]
struct SegmentLine {
    segment: usize,
    /// Tokens that differ from the segment before.
    changed: usize,
    /// Probability of being right, by the model's own estimate.
    confidence: Option<f64>,
    /// Whether the answer obeys the rules.
    valid: bool,
}

/// Solves the puzzle in a file and draws it. `overrides` may replace values of `infer`.
///
/// # Errors
///
/// Returns a failure if there is a problem with the run or the puzzle.
pub fn run(
    path: &Path,
    overrides: &[String],
    file: &Path,
    arguments: &SolveArguments,
    common: &Common,
    project: &Project<'_>,
) -> Result<(), Failure> {
    let run = run_arguments::open(path, overrides)?;
    let Some(kind) = run.kind(project.root()) else {
        return Err(Failure::message(format!(
            "`{}` was trained on puzzles that hrmc cannot read or draw; it knows Sudoku and mazes",
            path.display()
        )));
    };
    let text = spec::read_text(file, &reading::PUZZLE)?;
    let name = if file == Path::new("-") { "standard input".to_string() } else { file.display().to_string() };
    let question = parse_puzzle(kind, &text).map_err(|error| {
        Failure::message(format!("`{name}` is not a {0}x{0} {1}: {error}", kind.side(), kind.family()))
    })?;
    let options = SolveOptions {
        device: project.device(common.device.as_deref()),
        threads: project.threads(common.threads)?,
        batch: 1,
    };
    let mut solver = run
        .solver(run_arguments::checkpoint(arguments.checkpoint), options)
        .map_err(|error| fail_with_batch(error, "--batch "))?;
    solver.notes().iter().for_each(|note| terminal::warning(note));
    let asked = Question { tokens: question.clone(), puzzle: BLANK_PUZZLE };
    let found = solver.solve(&[asked])?.remove(0);
    let rollout = found.rollout + 1;
    let rollouts = solver.model().inference().rollouts.map(|rollouts| rollouts.count);
    let mut lines: Vec<SegmentLine> = Vec::new();
    let mut answer = question.clone();
    for (index, output) in found.segments.into_iter().enumerate() {
        lines.push(SegmentLine {
            segment: index + 1,
            changed: answer.iter().zip(&output.tokens).filter(|(before, after)| before != after).count(),
            confidence: output.confidence(),
            valid: is_valid_solution(kind, &question, &output.tokens),
        });
        answer = output.tokens;
    }
    let settled = lines.iter().rfind(|line| line.changed > 0).map_or(1, |line| line.segment);
    let expected = expected_answer(kind, &question);
    if common.json {
        return terminal::print_json(&json!({
            "family": kind.family(),
            "side": kind.side(),
            "question": question,
            "answer": answer,
            "valid": is_valid_solution(kind, &question, &answer),
            "has_expected_answer": expected.is_some(),
            "equals_expected_answer": expected.as_ref() == Some(&answer),
            "settled_in_segment": settled,
            "segments": lines,
            "rollout": rollout,
            "rollouts": rollouts.unwrap_or(1),
        }));
    }
    // A maze may have several shortest paths, of which the expected answer is one.
    let solution = expected.as_deref().filter(|_| matches!(kind, PuzzleKind::Sudoku(_)));
    let solution = solution.map(|tokens| Expected { tokens, name: "the only solution" });
    let mut text = picture::side_by_side(kind, &question, &answer, solution);
    for line in &lines {
        let confidence =
            line.confidence.map_or(String::new(), |share| format!(", confidence {}", percent(share)));
        let valid = if line.valid { "obeys the rules" } else { "breaks the rules" };
        text.push_str(&format!(
            "segment {}: {} changed, the answer {valid}{confidence}\n",
            line.segment,
            counted(line.changed, "cell"),
        ));
    }
    if let Some(rollouts) = rollouts {
        let best = match solver.model().q_head {
            Some(_) => "it has the highest confidence",
            None => "its state has settled most",
        };
        text.push_str(&format!("rollout {rollout} of {rollouts} is the best: {best}\n"));
    }
    text.push_str(picture::verdict(kind, &question, &answer, None));
    text.push_str(&format!("; it stands since segment {settled} of {}\n", lines.len()));
    if expected.is_none() {
        text.push_str(match kind {
            PuzzleKind::Sudoku(size) => match solve_sudoku(size, &question) {
                Solutions::None => "note: the puzzle has no solution\n",
                Solutions::Unknown => {
                    "note: whether the puzzle has one solution takes too long to find out\n"
                }
                _ => "note: the puzzle has more than one solution\n",
            },
            PuzzleKind::Maze { .. } => "note: no path leads to the goal of the maze\n",
        });
    }
    terminal::print(text)
}
