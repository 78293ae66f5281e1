//! hrmc: a compiler and runner for hierarchical reasoning models.

pub mod autodiff;
pub mod bench;
pub mod census;
pub mod check;
pub mod cli;
pub mod data;
pub mod device;
pub mod diagnostic;
pub mod graph;
pub mod hash;
pub mod ir;
pub mod lower;
pub mod lsp;
pub mod optim;
pub mod parity;
pub mod passes;
pub mod pipeline;
pub mod plan;
pub mod span;
pub mod spec;
pub mod syntax;
pub mod system;
pub mod train;
