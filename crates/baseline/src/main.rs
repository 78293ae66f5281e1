//! The `hrmc` command line, with the device `luminal-cuda`.

use std::process::ExitCode;
use std::sync::Arc;

use hrmc_baseline::LuminalCuda;

fn main() -> ExitCode {
    hrmc::internals::cli::main(|places| vec![Arc::new(LuminalCuda::new(places.clone()))])
}
