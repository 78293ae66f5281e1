//! What hrmc has for CUDA so far: it finds what a machine offers.
//!
//! Nothing of CUDA is needed to build hrmc or to start it. Libraries are loaded when somebody asks, by their
//! names, and what is missing is said with where it was looked for.

pub mod probe;
