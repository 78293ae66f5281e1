//! hrmc: a compiler and runner for hierarchical reasoning models, small recurrent networks that learn to solve puzzles
//! ([arXiv:2506.21734](https://arxiv.org/abs/2506.21734)).
//!
//! # From text to an answer
//!
//! 1. A [`Spec`] is a text that describes a model: its networks, states and loop nest, its gradients, its training and
//!    its halting. [`Spec::open`] and [`Spec::parse`] check the text and report every problem at once ([`SpecError`]).
//!    The meaning of a spec is a [`Model`]: all names are resolved, all defaults filled in.
//! 2. A [`Program`] of a model is one segment of training or of evaluation. [`Compiled`] is a program as a plan: kernel
//!    calls in order, with their memory laid out. Work and memory are known before the program runs, and [`Census`] has
//!    them for a whole model.
//! 3. [`Data`] has the puzzles for training and for evaluation. They come from the spec, from a folder, or from
//!    [rows](Dataset::from_rows) of your own.
//! 4. [`Training`] runs a spec on its data, one [step](Training::step) at a time or [to the end](Training::run). It
//!    keeps metrics and checkpoints in the folder of a [`Run`].
//! 5. A [`Solver`] is a trained model. It answers puzzles ([`Solver::solve`]), measures its accuracy
//!    ([`Solver::evaluate`]) and records its states after each update ([`Solver::trace`]).
//!
//! [`language`] describes the language of specs.
//!
//! A [`Device`] runs the programs. It is the CPU unless [`TrainOptions`] or [`SolveOptions`] name another one of
//! [`devices`]. On the CPU, the same spec, data and seed give the same bytes for any number of threads.
//!
//! The other names are for special tasks. [`Axis`] makes the specs of a sweep, and [`SpecDiff`] has the differences of
//! two specs. [`Fixture`] compares hrmc with the recorded results of a published model. `LaunchReport` lists the
//! launches of a GPU for a model, and needs no GPU.
//!
//! Shapes have letters: `B` rows in a batch, `S` tokens in a row, `P` prefix positions of the puzzle vector before the
//! tokens, `D` width of the model, `V` tokens in the vocabulary.
//!
//! # Example
//!
//! A model trains on 4x4 Sudoku for a few steps, answers a puzzle, and shows how far its states moved.
//!
//! ```
//! use std::ops::ControlFlow;
//! use std::path::Path;
//!
//! use hrmc::{Checkpoint, Data, Event, Question, Run, SolveOptions, Spec, TrainOptions, Training};
//!
//! let spec = Spec::parse("small.hrm", "
//!     model small {
//!       tokens  { vocab = 6, positions = 16 }
//!       puzzles { width = 16 }                 # a learned position before the tokens
//!       block encoder { hidden = 16, heads = 2 }
//!       network low  = 1 * encoder
//!       network high = 1 * encoder
//!       state z_low, z_high = normal(std = 1, truncate = 2)
//!       segment {
//!         cycle: repeat 2 {
//!           z_low  <- low(z_low + z_high + x)
//!           z_high <- high(z_high + z_low)
//!         }
//!       }
//!       gradient one_step
//!       predict tokens from z_high
//!       predict q from z_high[0] { outputs = (halt, continue), bias = -5 }
//!       halt q_learning { max_segments = 3, explore = 0.1 }
//!     }
//!     train {
//!       data      = sudoku(size = 4, givens = 8, train = 40, test = 8, augment = true)
//!       optimizer = adam_atan2(lr = 3e-3, betas = (0.9, 0.95), weight_decay = 0.1)
//!       puzzles   = sign_sgd(lr = 1e-3, weight_decay = 0.1)
//!       batch     = 8
//!       steps     = 20
//!     }
//! ")?;
//!
//! let data = Data::of(&spec, Path::new("."))?;
//! let mut training = Training::new(&spec, data, TrainOptions::default())?;
//! let folder = tempfile::tempdir()?;
//! let run = Run::create(folder.path(), &training)?;
//! let outcome = training.run(&run, |event| {
//!     if let Event::Step(report) = event {
//!         println!("step {}: loss {:.3}", report.step, report.means().loss);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(outcome.step, 20);
//!
//! let mut solver = run.solver(Checkpoint::default(), SolveOptions::default())?;
//! let puzzle = Question::new(training.data().test().inputs(0).collect());
//! let answer = &solver.solve(&[puzzle.clone()])?[0];
//! println!("answer {:?}, confidence {:?}", answer.tokens(), answer.confidence());
//!
//! // Two cycles, each with an update of both states.
//! let updates = solver.trace(&puzzle, 1)?;
//! assert_eq!(updates.len(), 4);
//! for update in updates {
//!     println!("{} moved by {:.3} of its length", update.state, update.moved);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `cli` is the command line, `lsp` the language server behind `hrmc lsp`, `cuda` the device for NVIDIA GPUs. All three
//! are on by default. A program that trains on the CPU needs none of them.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]

mod autodiff;
mod bench;
mod census;
mod chart;
mod check;
#[cfg(feature = "cli")]
mod cli;
mod data;
mod device;
mod diagnostic;
mod explain;
mod figure;
mod graph;
mod hash;
mod ir;
mod lower;
#[cfg(feature = "lsp")]
mod lsp;
mod measures;
mod optim;
mod parity;
mod passes;
mod pipeline;
mod plan;
mod reading;
mod shell;
mod span;
mod spec;
mod spell;
mod store;
mod syntax;
mod system;
mod train;
mod units;

pub use census::{Census, CensusOptions};
pub use data::{Dataset, DatasetBuilder, Finding, FindingKind, Metadata, PuzzleKind, RowPlace, Split};
#[cfg(feature = "cuda")]
pub use device::cuda::{card::Card, report::LaunchReport};
pub use device::{Device, DeviceError, Places, devices};
pub use diagnostic::Diagnostic;
pub use ir::Model;
pub use lower::{Program, Sizes};
pub use parity::{Fixture, Verdict};
pub use pipeline::Compiled;
pub use spec::{Axis, Spec, SpecDiff, SpecError};
pub use store::{MetricMeans, MetricsLine, RunManifest};
pub use train::{
    Answer, AskedRow, Checkpoint, Concern, Data, Error, Evaluation, Event, Outcome, Question, RowAnswer, Run,
    SegmentOutput, SolveOptions, Solver, Splits, StateUpdate, StepReport, StoppedBy, TrainOptions, Training,
};

#[doc = include_str!("../grammar/REFERENCE.md")]
pub mod language {}

/// The front page, whose example is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// Modules for tests, benchmarks and members of this workspace. Any name here may change at any time.
#[doc(hidden)]
pub mod internals {
    pub mod autodiff {
        pub use crate::autodiff::*;
    }
    pub mod bench {
        pub use crate::bench::*;
    }
    pub mod census {
        pub use crate::census::*;
    }
    pub mod chart {
        pub use crate::chart::*;
    }
    pub mod check {
        pub use crate::check::*;
    }
    #[cfg(feature = "cli")]
    pub mod cli {
        pub use crate::cli::*;
    }
    pub mod data {
        pub use crate::data::*;
    }
    pub mod device {
        pub use crate::device::*;
    }
    pub mod diagnostic {
        pub use crate::diagnostic::*;
    }
    pub mod explain {
        pub use crate::explain::*;
    }
    pub mod figure {
        pub use crate::figure::*;
    }
    pub mod graph {
        pub use crate::graph::*;
    }
    pub mod hash {
        pub use crate::hash::*;
    }
    pub mod ir {
        pub use crate::ir::*;
    }
    pub mod lower {
        pub use crate::lower::*;
    }
    #[cfg(feature = "lsp")]
    pub mod lsp {
        pub use crate::lsp::*;
    }
    pub mod measures {
        pub use crate::measures::*;
    }
    pub mod optim {
        pub use crate::optim::*;
    }
    pub mod parity {
        pub use crate::parity::*;
    }
    pub mod passes {
        pub use crate::passes::*;
    }
    pub mod pipeline {
        pub use crate::pipeline::*;
    }
    pub mod plan {
        pub use crate::plan::*;
    }
    pub mod reading {
        pub use crate::reading::*;
    }
    pub mod span {
        pub use crate::span::*;
    }
    pub mod spec {
        pub use crate::spec::*;
    }
    pub mod spell {
        pub use crate::spell::*;
    }
    pub mod store {
        pub use crate::store::*;
    }
    pub mod syntax {
        pub use crate::syntax::*;
    }
    pub mod system {
        pub use crate::system::*;
    }
    pub mod train {
        pub use crate::train::*;
    }
    pub mod units {
        pub use crate::units::*;
    }
}
