//! Tasks of ARC: reading them, building a dataset of them and their copies, and voting over the answers.
//!
//! A task shows a few pairs of grids, and asks for the output grid of one or more test inputs. As in the published code,
//! every task has an identifier of its own, and so has each of its copies, which differ in a symmetry and in the
//! colours. Copies of the tasks for evaluation are trained on their demonstrations; each is then asked, the answers are
//! mapped back, and the most frequent ones are given ([`Vote`]).

mod build;
mod canonical;
mod copying;
mod tasks;
mod vote;

#[cfg(test)]
pub(super) use canonical::testing;

pub use super::canvas::{ArcCopy, ArcGrid, ArcPair, CanvasPlace, SIDE, crop, encode, find, parse_name};
pub use build::{ArcBuild, WrittenArc};
pub use canonical::{canonical_pair, pair_summary};
pub use copying::draw_task_copies;
pub use tasks::{ArcTask, parse_task, parse_tasks, read_tasks};
pub use vote::{
    AnsweredCopy, ArcQuestions, ArcScore, RankedAnswer, TaskVotes, TestVotes, Vote, VoteOutcome, questions,
};
