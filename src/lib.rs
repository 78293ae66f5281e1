//! hrmc: a compiler and runner for hierarchical reasoning models.

pub mod check;
pub mod diagnostic;
pub mod ir;
pub mod span;
pub mod syntax;
