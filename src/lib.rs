//! hrmc: a compiler and runner for hierarchical reasoning models.

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
mod store;
mod syntax;
mod system;
mod train;
mod units;

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
