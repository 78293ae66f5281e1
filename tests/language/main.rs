//! The language: from text to the checked model and its diagnostics.

#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

mod advice;
mod editors;
mod fixtures;
mod mends;
mod properties;

#[cfg(feature = "cli")]
mod broken;
#[cfg(feature = "cli")]
mod fuzz_corpus;
#[cfg(feature = "cli")]
mod keys_matter;

/// The binary under test.
#[cfg(feature = "cli")]
const HRMC: &str = env!("CARGO_BIN_EXE_hrmc");
