//! The device `cuda`: kernels under NVRTC (tier T1), and the command line on an emulated driver (T0) or on a GPU (T2).

#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

#[cfg(all(unix, feature = "cli"))]
mod device;
#[cfg(all(unix, feature = "cli"))]
mod driver;
mod nvrtc;

/// The binary under test.
#[cfg(all(unix, feature = "cli"))]
const HRMC: &str = env!("CARGO_BIN_EXE_hrmc");

/// Where the emulated driver is kept for the next time.
#[cfg(all(unix, feature = "cli"))]
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");
