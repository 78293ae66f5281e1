//! The command line: one file for each part of it, one for an editor that talks to its server, and one for the
//! commands of README.md.

#![cfg(feature = "cli")]
#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

mod arc;
mod augment;
mod compile;
mod data;
mod devices;
mod divergence;
mod explain;
mod family;
mod language;
mod leaks;
#[cfg(feature = "lsp")]
mod lsp;
mod plot;
mod predict;
#[cfg(all(unix, feature = "cuda"))]
mod readme;
mod run;
#[cfg(target_os = "linux")]
mod stopping;
mod survival;
mod teaching;
mod tools;
#[cfg(target_os = "linux")]
mod trace;
mod trace_page;
#[cfg(unix)]
mod words;

/// The binary under test.
const HRMC: &str = env!("CARGO_BIN_EXE_hrmc");
