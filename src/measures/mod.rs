//! What is said about a set of answers after an evaluation.
//!
//! # What it means
//!
//! A [`JudgedRow`] is what is known of one answer. [`judge_row`] fills in what follows from labels and rules; whoever
//! has the model adds segments, Q value, confidence and drift. [`Measures`] takes the rows in the order of the dataset,
//! keeps no tokens, and ends as an [`AnswerReport`].
//!
//! An answer is *exact* if each cell with a label equals it, and *valid* if it obeys the rules and keeps the question.
//! [`RightBy`] chooses which of both the scores are held against. A row for which that is unknown (no labels, or no
//! known rules) is counted in `unjudged`, and left out of what needs it.
//!
//! A *score* is a number that a model gives with an answer, and that should be higher for right answers: the Q value of
//! halting, the confidence, and minus the drift of the states. For scores, 16 bytes of each row are kept: the three as
//! f32, so scores that are equal as f32 are equal here, and whether the answer is right. Everything else is a sum.
//!
//! Sums are f64, in the order of the rows. Rows of equal score are treated alike, so no figure depends on how they are
//! sorted.

mod calibration;
mod report;
mod row;
mod score;
mod share;
#[cfg(test)]
mod testing;
mod trajectory;

pub use calibration::{Calibration, CalibrationBin};
pub use report::{AnswerReport, MazeReport, Measures, RightBy, RowGroup, SegmentCount, SudokuReport};
pub use row::{JudgedRow, PathOutcome, judge_row};
pub use score::{CoveragePoint, ScoreReport};
pub use share::Share;
pub use trajectory::{Component, Covariance, mean_over_positions};
