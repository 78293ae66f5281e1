//! The `hrmc` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    hrmc::cli::main(|_| Vec::new())
}
