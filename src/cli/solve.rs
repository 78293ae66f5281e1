//! `hrmc run RUN --puzzle`.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::failure::Failure;
use super::picture::Expected;
use super::project::Project;
use super::run_arguments::{self, Common, SolveArguments};
use super::solve_arc::{AskedTask, MOST_AT_ONCE};
use super::terminal::{counted, percent};
use super::trace::{RowsToTrace, TraceOutput};
use super::{picture, solve_arc, spec, terminal, trace};
use crate::data::puzzle::{expected_answer, is_valid_solution, parse_puzzles};
use crate::data::{PuzzleKind, Solutions, solve_sudoku};
use crate::reading;
use crate::train::{Answer, AskedRow, Question, Solver};

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
    /// Whether the answer obeys the rules; `None` where there are none.
    valid: Option<bool>,
}

/// Solves the puzzles in a file and draws them. `overrides` may replace values of `infer`.
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
    let kind = run.kind(project.root());
    let solver = |batch| {
        let options = run_arguments::solve_options(project, common.device.as_deref(), common.threads, batch)?;
        run_arguments::solver(&run, run_arguments::checkpoint(arguments.checkpoint), options)
    };
    let trace_all = |rows: Vec<AskedRow>| {
        let output = TraceOutput::of(arguments.output.as_deref(), common.json)?;
        let asked = RowsToTrace { kind, rows: rows.into_iter().map(|row| (row, None)).collect() };
        trace::trace(&run, arguments.checkpoint, &asked, || solver(1), &output)
    };
    if kind == PuzzleKind::Arc {
        let names = run.identifiers(project.root());
        let find = |task| AskedTask::find(task, names.as_ref(), arguments.copies);
        let tasks: Vec<AskedTask> = solve_arc::read(file)?.into_iter().map(find).collect();
        if arguments.trace {
            return trace_all(tasks.iter().flat_map(AskedTask::own_questions).collect());
        }
        let mut solver = solver(solve_arc::count_questions(&tasks).min(MOST_AT_ONCE))?;
        // A signal ends the process: there is nothing to lose.
        return solve_arc::answer(&run, &tasks, file, &mut solver, common.json, &|| None);
    }
    if arguments.copies.is_some() {
        return Err(Failure::message(format!(
            "`--copies` is for tasks of ARC, and `{}` solves puzzles of the kind `{}`",
            path.display(),
            kind.family()
        )));
    }
    let text = spec::read_text(file, &reading::PUZZLE)?;
    let name = if file == Path::new("-") { "standard input".to_string() } else { file.display().to_string() };
    let typed = parse_puzzles(kind, &text);
    let is_single = typed.len() == 1;
    let mut questions = Vec::new();
    for (number, (line, puzzle)) in typed.into_iter().enumerate() {
        questions.push(puzzle.map_err(|error| {
            let place =
                if is_single { String::new() } else { format!(", puzzle {} (line {line})", number + 1) };
            Failure::message(format!("`{name}`{place} is not {}: {error}", described(kind)))
        })?);
    }
    if arguments.trace {
        return trace_all(questions.into_iter().map(|tokens| AskedRow::unlabelled(0, tokens)).collect());
    }
    let mut solver = solver(questions.len().min(MOST_AT_ONCE))?;
    let mut reports = Vec::new();
    for (index, part) in questions.chunks(MOST_AT_ONCE).enumerate() {
        let asked: Vec<Question> =
            part.iter().map(|tokens| Question { tokens: tokens.clone(), puzzle: BLANK_PUZZLE }).collect();
        for (place, (question, answer)) in part.iter().zip(solver.solve(&asked)?).enumerate() {
            let report = SolveReport::new(kind, question, answer, &solver);
            if common.json {
                reports.push(report.to_json());
                continue;
            }
            let number = index * MOST_AT_ONCE + place + 1;
            let title = format!("{}\n", terminal::heading(&format!("puzzle {number}")));
            let gap = if number == questions.len() { "" } else { "\n" };
            let (title, gap) = if is_single { (String::new(), "") } else { (title, gap) };
            terminal::print(format!("{title}{}{gap}", report.to_text()))?;
        }
    }
    match (common.json, is_single) {
        (false, _) => Ok(()),
        (true, true) => terminal::print_json(&reports.remove(0)),
        (true, false) => terminal::print_json(&json!(reports)),
    }
}

/// Returns what a text should be, as in `a 9x9 sudoku`.
fn described(kind: PuzzleKind) -> String {
    let (rows, columns) = kind.shape();
    match kind {
        PuzzleKind::Tokens { length, .. } => format!("a row of {length} tokens"),
        _ => format!("a {rows}x{columns} {}", kind.family()),
    }
}

/// What is said about the answer to one puzzle.
struct SolveReport<'a> {
    kind: PuzzleKind,
    question: &'a [i32],
    answer: Vec<i32>,
    lines: Vec<SegmentLine>,
    /// Number of the best rollout, from 1.
    rollout: usize,
    rollouts: Option<usize>,
    has_q_head: bool,
}

impl<'a> SolveReport<'a> {
    fn new(kind: PuzzleKind, question: &'a [i32], found: Answer, solver: &Solver) -> SolveReport<'a> {
        let mut lines: Vec<SegmentLine> = Vec::new();
        let rollout = found.rollout + 1;
        let mut answer = question.to_vec();
        for (index, output) in found.segments.into_iter().enumerate() {
            lines.push(SegmentLine {
                segment: index + 1,
                changed: answer.iter().zip(&output.tokens).filter(|(before, after)| before != after).count(),
                confidence: output.confidence(),
                valid: kind.has_rules().then(|| is_valid_solution(kind, question, &output.tokens)),
            });
            answer = output.tokens;
        }
        let rollouts = solver.model().inference().rollouts.map(|rollouts| rollouts.count);
        let has_q_head = solver.model().q_head.is_some();
        SolveReport { kind, question, answer, lines, rollout, rollouts, has_q_head }
    }

    /// Returns the segment since which the answer stands, from 1.
    fn settled(&self) -> usize {
        self.lines.iter().rfind(|line| line.changed > 0).map_or(1, |line| line.segment)
    }

    fn to_json(&self) -> serde_json::Value {
        let (kind, question, answer) = (self.kind, self.question, &self.answer);
        let expected = expected_answer(kind, question);
        let (rows, columns) = kind.shape();
        json!({
            "family": kind.family(),
            "rows": rows,
            "columns": columns,
            "question": question,
            "answer": answer,
            "valid": kind.has_rules().then(|| is_valid_solution(kind, question, answer)),
            "has_expected_answer": expected.is_some(),
            "equals_expected_answer": expected.as_ref() == Some(answer),
            "settled_in_segment": self.settled(),
            "segments": self.lines,
            "rollout": self.rollout,
            "rollouts": self.rollouts.unwrap_or(1),
        })
    }

    fn to_text(&self) -> String {
        let (kind, question, answer) = (self.kind, self.question, &self.answer[..]);
        let expected = expected_answer(kind, question);
        // A maze may have several shortest paths, of which the expected answer is one.
        let solution = expected.as_deref().filter(|_| matches!(kind, PuzzleKind::Sudoku(_)));
        let solution = solution.map(|tokens| Expected { tokens, name: "the only solution" });
        let mut text = picture::side_by_side(kind, question, answer, solution);
        for line in &self.lines {
            let confidence =
                line.confidence.map_or(String::new(), |share| format!(", confidence {}", percent(share)));
            let valid = match line.valid {
                Some(true) => ", the answer obeys the rules",
                Some(false) => ", the answer breaks the rules",
                None => "",
            };
            let changed = counted(line.changed, "cell");
            text.push_str(&format!("segment {}: {changed} changed{valid}{confidence}\n", line.segment));
        }
        if let Some(rollouts) = self.rollouts {
            let best =
                if self.has_q_head { "it has the highest confidence" } else { "its state has settled most" };
            text.push_str(&format!("rollout {} of {rollouts} is the best: {best}\n", self.rollout));
        }
        text.push_str(picture::verdict(kind, question, answer, None));
        text.push_str(&format!("; it stands since segment {} of {}\n", self.settled(), self.lines.len()));
        if expected.is_none() {
            text.push_str(match kind {
                PuzzleKind::Sudoku(size) => match solve_sudoku(size, question) {
                    Solutions::None => "note: the puzzle has no solution\n",
                    Solutions::Unknown => {
                        "note: whether the puzzle has one solution takes too long to find out\n"
                    }
                    _ => "note: the puzzle has more than one solution\n",
                },
                PuzzleKind::Maze { .. } => "note: no path leads to the goal of the maze\n",
                PuzzleKind::Arc | PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. } => "",
            });
        }
        text
    }
}
