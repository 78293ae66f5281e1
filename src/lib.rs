//! hrmc: a compiler and runner for hierarchical reasoning models, small recurrent networks that learn to solve puzzles
//! ([arXiv:2506.21734](https://arxiv.org/abs/2506.21734)).
//!
//! # From text to an answer
//!
//! 1. A [`Spec`] is a text that describes a model: its networks, states and loop nest, how it is differentiated,
//!    trained and halted. [`Spec::open`] and [`Spec::parse`] check it and report every problem at once ([`SpecError`]).
//!    What it means is a [`Model`]: names resolved, every default filled in.
//! 2. [`Compiled`] is one [`Program`] of a model, a segment of training or of evaluation, as a plan: kernel calls over
//!    memory that is laid out. Work and memory are known before anything runs; [`Census`] has them for a whole model.
//! 3. [`Data`] is what a model is trained and judged on: the puzzles that its spec describes, a folder, or
//!    [rows](Dataset::from_rows) of your own.
//! 4. [`Training`] runs a spec on its data, one [step](Training::step) at a time or [to the end](Training::run), and
//!    keeps metrics and checkpoints in the folder of a [`Run`].
//! 5. A [`Solver`] is a trained model that is asked ([`Solver::solve`]), measured ([`Solver::evaluate`]) and watched
//!    while it thinks ([`Solver::trace`]).
//!
//! The language of specs has a page of its own: [`language`].
//!
//! A [`Device`] runs the programs: the CPU unless [`TrainOptions`] or [`SolveOptions`] say another one of [`devices`].
//! The same spec, data and seed give the same bytes on the CPU, whatever the number of threads.
//!
//! The other names are for special tasks: [`Axis`] makes the specs of a sweep, [`SpecDiff`] says how two specs differ,
//! [`Fixture`] compares hrmc with what a published model computed, `LaunchReport` says what a GPU would run, without
//! one.
//!
//! Shapes are in letters: `B` rows in a batch, `S` tokens in a row, `P` positions of the puzzle prefix before them, `D`
//! width of the model, `V` tokens in the vocabulary.
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
//! `cli` is the command line, `lsp` the language server behind `hrmc lsp`, `cuda` the device for NVIDIA GPUs. All are
//! on by default, and a program that trains on the CPU needs none.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]

mod autodiff;
mod bench;
mod census;
mod check;
#[cfg(feature = "cli")]
mod cli;
mod data;
mod device;
mod diagnostic;
mod graph;
mod hash;
mod ir;
mod lower;
#[cfg(feature = "lsp")]
mod lsp;
mod optim;
mod parity;
mod passes;
mod pipeline;
mod plan;
mod span;
mod spec;
mod spell;
mod store;
mod syntax;
mod system;
mod train;
mod units;

pub use census::Census;
pub use data::{Dataset, DatasetBuilder, Metadata, PuzzleKind, Split};
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
    Answer, Checkpoint, Data, Error, Evaluation, Event, Outcome, Question, Run, SegmentOutput, SolveOptions,
    Solver, StateUpdate, StepReport, TrainOptions, Training,
};

#[doc = include_str!("../grammar/REFERENCE.md")]
pub mod language {}

/// The front page, whose example is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// What tests, benchmarks and members of this workspace need of the modules. Nothing here is promised.
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
