//! The `hrmc` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    hrmc::internals::cli::main(|_| Vec::new())
}
