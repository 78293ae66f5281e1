//! The CPU backend: kernels, and the executor of a plan.

mod execute;
pub mod kernels;
mod plain;

pub use execute::{CpuProgram, arranged_bytes};
