//! hrmc: a compiler and runner for hierarchical reasoning models.

pub mod data;
pub mod ir;
