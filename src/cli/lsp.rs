//! `hrmc lsp`.

use clap::Args;

use super::failure::{Failure, fail};
use crate::lsp;

const EXAMPLES: &str = "\
Examples:
  hrmc lsp    started by an editor; `editors/README.md` says how to set one up";

/// Start the language server of an editor.
///
/// It reports problems while you type, explains words, completes them, finds definitions and formats specs. It
/// speaks the Language Server Protocol over standard input and output, so an editor starts it, not a person.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Runs `hrmc lsp`.
///
/// # Errors
///
/// Returns a failure if the editor goes away or does not keep to the protocol.
pub fn run(Arguments {}: &Arguments) -> Result<(), Failure> {
    lsp::serve_stdio().map_err(fail)
}
