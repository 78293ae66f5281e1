//! What is done with arbitrary bytes, by the fuzz targets and by `tests/readers.rs` alike.

pub mod mutate;
pub mod readers;
mod spec;

pub use spec::exercise;
