//! hrmc: a compiler and runner for hierarchical reasoning models.

pub mod autodiff;
pub mod backend;
pub mod bench;
pub mod check;
pub mod cli;
pub mod data;
pub mod diagnostic;
pub mod graph;
pub mod hash;
pub mod ir;
pub mod lower;
pub mod lsp;
pub mod optim;
pub mod passes;
pub mod pipeline;
pub mod plan;
pub mod runtime;
pub mod span;
pub mod syntax;
pub mod system;
pub mod verify;
