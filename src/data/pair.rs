//! Puzzles with their answers, before they are a dataset.

/// A puzzle and its answer as tokens, both `[S]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What is asked.
    pub question: Vec<i32>,
    /// The whole answer.
    pub answer: Vec<i32>,
}

/// Puzzles for training and for testing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuzzleSplits {
    /// Training puzzles.
    pub train: Vec<Pair>,
    /// Test puzzles.
    pub test: Vec<Pair>,
}
