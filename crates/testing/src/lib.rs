//! What the tests of hrmc share with each other and with those of `crates/baseline`.
//!
//! - [`workplace`] runs a command line in a folder of its own.
//! - [`python`] runs a script of Python, where there is one.
//! - [`samples`] draws an instance of every operator, and [`running`] runs it on a device.
//! - [`emulator`] runs single CUDA kernels and whole plans on the CPU; [`direct`] gives it one kernel at a time.
//! - [`fake_cuda`] is a whole CUDA driver on the CPU, for programs that load one.
//!
//! Only cargo's own tests know where cargo put the binary and where tests may write, so both are arguments here:
//! `env!("CARGO_BIN_EXE_hrmc")` and `env!("CARGO_TARGET_TMPDIR")`.

#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

pub mod direct;
pub mod emulator;
#[cfg(unix)]
pub mod fake_cuda;
pub mod python;
pub mod running;
pub mod samples;
pub mod workplace;

/// Returns whether tests run on the GPU of this machine (tier T2).
pub fn on_a_gpu() -> bool {
    std::env::var_os("HRMC_T2").is_some_and(|value| value == "required")
}
