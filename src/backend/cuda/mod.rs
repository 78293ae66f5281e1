//! What hrmc has for CUDA so far: it finds what a machine offers, and knows the kernels that a plan needs.
//!
//! Nothing of CUDA is needed to build hrmc or to start it. Libraries are loaded when somebody asks, by their
//! names, and what is missing is said with where it was looked for ([`probe`]).
//!
//! The kernels are text ([`kernels`]), and [`launch`] says which of them make the calls of a plan. No driver is given
//! any of it yet: an emulator on the CPU runs them in the tests of all operators.

pub mod kernels;
pub mod launch;
pub mod probe;
