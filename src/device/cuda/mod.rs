//! What hrmc has for CUDA so far: it finds what a machine offers, and knows the kernels that a plan needs.
//!
//! Nothing of CUDA is needed to build hrmc or to start it. Libraries are loaded when somebody asks, by their
//! names, and what is missing is said with where it was looked for ([`probe`]).
//!
//! The kernels are text ([`kernels`]), [`launch`] says which of them make the calls of a plan, and [`nvrtc`] compiles
//! them where its library is. No driver is given any of it yet: an emulator on the CPU runs them in the tests of all operators.

mod cache;
pub mod card;
mod driver;
pub mod emit;
mod gpu;
pub mod kernels;
pub mod launch;
pub mod launch_text;
pub mod nvrtc;
pub mod probe;
pub mod report;
pub mod tiles;

pub(super) use gpu::Gpu;
