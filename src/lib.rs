//! hrmc: a compiler and runner for hierarchical reasoning models.

pub mod backend;
pub mod ir;
