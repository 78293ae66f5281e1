//! One frame of a trace as text: every rollout beside the others, and what the model thinks of it.

use std::fmt;

use super::document::{TraceDocument, TraceFrame, TracedRollout, UpdateLine};
use crate::cli::picture::row_of;
use crate::cli::terminal::{self, counted, percent};
use crate::data::PuzzleKind;
use crate::data::mistakes::{Mistake, mistakes};
use crate::data::puzzle::{Drawing, PieceRole, WRONG, draw};
use crate::train::sigmoid;

/// Marks a cell that has just changed.
const CHANGED: &str = "*";

/// The text of a frame.
pub struct FrameText {
    /// Which update it is.
    pub heading: String,
    /// Pictures beside each other, as far as there is room.
    pub pictures: String,
    /// What is to be said about each rollout.
    pub remarks: Vec<String>,
}

impl fmt::Display for FrameText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}", self.heading, self.pictures)?;
        self.remarks.iter().try_for_each(|remark| writeln!(formatter, "{remark}"))
    }
}

/// Returns the text of a frame, with pictures in so many columns.
pub fn frame_text(document: &TraceDocument, puzzle: usize, at: usize, columns: usize) -> FrameText {
    let traced = &document.puzzles[puzzle];
    let best = &traced.rollouts[traced.best];
    let mut pictures = Vec::new();
    for (number, rollout) in traced.rollouts.iter().enumerate() {
        let title = match traced.rollouts.len() {
            1 => "answer".to_string(),
            _ if number == traced.best => format!("rollout {}, the best", number + 1),
            _ => format!("rollout {}", number + 1),
        };
        let frame = newest(rollout, at);
        pictures.push((title, answer(traced.kind(), &traced.input, frame)));
    }
    pictures.push((
        "confidence, in tenths".to_string(),
        confidence(traced.kind(), &traced.input, newest(best, at)),
    ));
    let remark = |(number, rollout): (usize, &TracedRollout)| {
        let name = match traced.rollouts.len() {
            1 => String::new(),
            _ => format!("rollout {}: ", number + 1),
        };
        format!("{name}{}", remarks(document, traced.kind(), rollout, at))
    };
    FrameText {
        heading: terminal::heading(&heading(document, best, at)),
        pictures: row_of(&pictures, columns),
        remarks: traced.rollouts.iter().enumerate().map(remark).collect(),
    }
}

/// Returns the frame at a place, or the last one of a rollout that has stopped before it.
fn newest(rollout: &TracedRollout, at: usize) -> &TraceFrame {
    &rollout.frames[at.min(rollout.frames.len() - 1)]
}

/// Says which update it is, as in `segment 3 of 16, cycle 2, step 1: z_low <- low`.
fn heading(document: &TraceDocument, best: &TracedRollout, at: usize) -> String {
    let frame = newest(best, at);
    let UpdateLine { state, network, loops, iterations } = &document.updates[frame.update];
    let mut text = format!("segment {} of {}", frame.segment, best.segments);
    for (label, iteration) in loops.iter().zip(iterations) {
        text.push_str(&format!(", {} {iteration}", label.as_deref().unwrap_or("iteration")));
    }
    format!("{text}: {} <- {network}", document.states[*state])
}

/// Says what changed, how far the states moved and what the model thinks of its answer.
fn remarks(document: &TraceDocument, kind: PuzzleKind, rollout: &TracedRollout, at: usize) -> String {
    let frame = newest(rollout, at);
    let mut parts = Vec::new();
    if at >= rollout.frames.len() {
        parts.push(format!("it had stopped after segment {}", rollout.segments));
    } else {
        parts.push(format!("{} changed", counted(frame.changed.len(), "cell")));
    }
    if kind.has_rules() {
        parts.push(match frame.against_rules.len() {
            0 => "none against the rules".to_string(),
            cells => format!("{cells} against the rules"),
        });
    }
    if let Some(q) = frame.q_halt {
        parts.push(format!("{} sure of being right", percent(sigmoid(q))));
    }
    for (state, name) in document.states.iter().enumerate() {
        let seen = &rollout.frames[..=at.min(rollout.frames.len() - 1)];
        if let Some(last) = seen.iter().rfind(|frame| document.updates[frame.update].state == state) {
            parts.push(format!("{name} moved by {:.4}", last.moved));
        }
    }
    if let Some(drift) = frame.drift {
        parts
            .push(format!("{} drifted by {drift:.4} in the segment", document.states[document.answer_state]));
    }
    parts.join(", ")
}

/// Draws the answer of a frame; cells that have just changed are marked.
fn answer(kind: PuzzleKind, question: &[i32], frame: &TraceFrame) -> Drawing {
    let wrong: Vec<Option<Mistake>> = mistakes(kind, question, &frame.answer, None);
    let mut drawing = draw(kind, question, Some(&frame.answer), &wrong);
    for line in &mut drawing.lines {
        for at in 0..line.len() {
            if !line[at].cell.is_some_and(|cell| frame.changed.contains(&cell)) {
                continue;
            }
            if !matches!(line[at].role, PieceRole::Colour(_) | PieceRole::Wrong) {
                line[at].role = PieceRole::Changed;
            }
            // Behind a cell there is room for a mark, but not in a maze.
            if let Some(mark) = line.get_mut(at + 1).filter(|mark| mark.cell.is_none() && mark.text == " ") {
                mark.text = CHANGED.to_string();
                mark.role = PieceRole::Changed;
            }
        }
    }
    drawing
}

/// Draws how sure the model is of each cell, in tenths that are rounded down.
fn confidence(kind: PuzzleKind, question: &[i32], frame: &TraceFrame) -> Drawing {
    let mut drawing = draw(kind, question, Some(&frame.answer), &[]);
    for piece in drawing.lines.iter_mut().flatten() {
        let Some(cell) = piece.cell else {
            if piece.text == WRONG {
                piece.text = " ".to_string();
            }
            piece.role = PieceRole::Frame;
            continue;
        };
        let tenths = (10.0 * frame.confidence[cell]).floor().min(9.0) as u8;
        let width = piece.text.chars().count();
        piece.text = format!("{tenths:>width$}");
        piece.role = match tenths {
            9 => PieceRole::Frame,
            5..9 => PieceRole::Changed,
            _ => PieceRole::Wrong,
        };
    }
    drawing
}
