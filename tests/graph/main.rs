//! Graphs and plans: every operator alone, whole programs, and what they cost.

#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

mod counters;
mod operators;
mod programs;

/// Where compiled kernels are kept for the next time.
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");
