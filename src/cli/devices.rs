//! `hrmc devices`.

use std::fmt::Write;

use clap::Args;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::project::Devices;
use super::terminal;
use crate::device::Status;

const EXAMPLES: &str = "\
Examples:
  hrmc devices
  hrmc devices --json";

#[cfg_attr(not(feature = "cuda"), doc = " List the devices that hrmc can run on.")]
#[cfg_attr(
    feature = "cuda",
    doc = " List the devices that hrmc can run on, and the parts of CUDA on this machine."
)]
///
/// For the CPU it shows the threads and the vector instructions that kernels use.
#[cfg_attr(
    feature = "cuda",
    doc = " For CUDA it shows the",
    doc = " driver, its devices and the libraries NVRTC and cuBLAS. If one of them cannot be loaded, it",
    doc = " says why; if one is missing, it lists the names that it tried: with the system's loader, then",
    doc = " in `lib64` of the folders that the variables CUDA_HOME and CUDA_PATH name."
)]
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Write the list as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc devices`.
///
/// # Errors
///
/// Returns a failure if the list cannot be written.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let found: Vec<(&str, Status)> = devices.iter().map(|device| (device.name(), device.status())).collect();
    if arguments.json { terminal::print_json(&to_json(found)) } else { terminal::print(to_text(&found)) }
}

fn to_text(found: &[(&str, Status)]) -> String {
    let mut text = String::new();
    for (name, status) in found {
        let _ = writeln!(text, "{name:<13}{}", status.summary);
        for line in &status.details {
            let _ = writeln!(text, "{:<13}{line}", "");
        }
    }
    text
}

fn to_json(found: Vec<(&str, Status)>) -> Value {
    let of = |status: Status| {
        let mut object = Map::new();
        object.insert("runs".to_string(), json!(status.problem.is_none()));
        object.extend(status.facts);
        Value::Object(object)
    };
    Value::Object(found.into_iter().map(|(name, status)| (name.to_string(), of(status))).collect())
}
