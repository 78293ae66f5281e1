//! Puzzle datasets: formats, builders, generators and batches.
//!
//! # What it means
//!
//! A [`Dataset`] is one split in memory. Its *examples* are pairs of rows of `S` tokens; a *puzzle* has one
//! identifier and one or more examples; a *group* is an original puzzle with its augmented copies. It comes
//! from a folder in the published format ([`Dataset::open`]), from CSV files or from a generator
//! ([`DatasetBuilder`]), and is written to a folder by [`write_dataset`]. Datasets of many copies are written row by
//! row and are never whole in memory ([`PuzzleBuild`]).
//!
//! Copies of tasks of ARC need not be stored: [`TaskCopies`] are made when they are asked for.
//!
//! Two types read the rows of a dataset. [`TestBatches`] goes once through all examples in file order.
//! [`TrainLoader`] is an endless, seeded stream from which a trainer takes as many rows as it has room for,
//! optionally under random symmetries, or at other places of their canvas ([`Augment`]).
//!
//! [`audit()`] says what keeps data from teaching, [`describe()`] what it holds, and [`find_leaks`] which test rows
//! the training data contains.
//!
//! All randomness comes from named streams ([`random::Stream`]), so the same seed gives the same bytes.

mod answer_array;
pub mod arc;
mod audit;
mod augment;
mod batch;
mod build;
mod canvas;
mod copied;
mod csv_rows;
mod dataset;
mod describe;
mod dihedral;
mod error;
mod folder;
mod identifiers;
mod kind;
mod leaks;
mod loader;
mod maze;
pub mod mistakes;
mod npy;
mod pair;
pub mod puzzle;
mod questions;
pub mod random;
mod rules;
mod size;
mod sudoku;
mod write;
mod writer;

pub use answer_array::{AnswerArray, AnswerShape};
pub use audit::{Finding, FindingKind, RepeatedRows, RowPlace, audit, repeated_rows};
pub use augment::Augment;
pub use batch::{Batch, TestBatches};
pub use build::{
    BuiltDataset, Copies, MazeBuild, PuzzleBuild, SudokuBuild, build_maze, build_sudoku, maze_pairs,
    sudoku_pairs,
};
pub use canvas::TaskCopies;
pub use dataset::{Dataset, DatasetBuilder, Metadata, SetRanges, Split, read_identifiers};
pub use describe::{Description, Lengths, SetSize, describe, token_name};
pub use dihedral::{DIHEDRAL_IMAGES, dihedral_image};
pub use error::DataError;
pub use folder::has_entry;
pub use identifiers::IdentifierNames;
pub use kind::{ARC_SIDE, ARC_VOCAB, PuzzleKind};
pub use leaks::{EqualSolutions, Leak, Leaks, find_equal_solutions, find_leaks};
pub use loader::{LoaderState, Row, TrainLoader};
pub use maze::{
    MAZE_SIDES, MazeRequest, generate_maze, generate_maze_splits, is_optimal_path, path_moves,
    shortest_moves, solve_maze,
};
pub use pair::{Pair, PuzzleSplits};
pub use questions::{QuestionForm, Questions, ReadQuestion};
pub use rules::IGNORED_LABEL;
pub use size::SplitSize;
pub use sudoku::{
    Solutions, SudokuRequest, SudokuSize, SudokuSymmetry, broken_rules, canonical_sudoku, count_givens,
    generate_sudoku, generate_sudoku_splits, is_solved_sudoku, solve_sudoku, sudoku_summary,
};
pub use write::{SplitToWrite, write_dataset};
pub use writer::{Existing, TokenType, WrittenDataset};
