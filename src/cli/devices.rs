//! `hrmc devices`.

use std::fmt::Write;
use std::thread;

use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::terminal;
use crate::device::Device;
use crate::device::cpu::kernels::multiplies_in_bf16;
use crate::device::cuda::probe::{CudaDevice, Driver, Found, Loadable, list, probe};

const EXAMPLES: &str = "\
Examples:
  hrmc devices
  hrmc devices --json";

/// List what hrmc can run on, and what this machine has of CUDA.
///
/// For the CPU it shows the cores and the instructions that kernels make use of. For CUDA it shows the driver, its
/// devices and the libraries NVRTC and cuBLAS; where one is missing, it says so and where it was looked for: first as
/// the system's loader does, then in `lib64` of the folders that the variables CUDA_HOME and CUDA_PATH name.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Write the list as JSON
    #[arg(long)]
    json: bool,
}

/// What the CPU has that kernels make use of.
struct Cpu {
    threads: usize,
    avx2: bool,
    avx512: bool,
    bf16: bool,
}

impl Cpu {
    fn of_this_machine() -> Cpu {
        #[cfg(target_arch = "x86_64")]
        let (avx2, avx512) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("avx512f"));
        #[cfg(not(target_arch = "x86_64"))]
        let (avx2, avx512) = (false, false);
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Cpu { threads, avx2, avx512, bf16: multiplies_in_bf16() }
    }

    fn instructions(&self) -> String {
        let all = [("AVX2", self.avx2), ("AVX-512", self.avx512), ("products in bf16", self.bf16)];
        let found: Vec<&str> = all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
        if found.is_empty() { "no vector instructions that are used".to_string() } else { found.join(", ") }
    }
}

/// Runs `hrmc devices`.
///
/// # Errors
///
/// Returns a failure if the list cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (cpu, cuda) = (Cpu::of_this_machine(), probe());
    if arguments.json {
        terminal::print_json(&to_json(&cpu, &cuda))
    } else {
        terminal::print(to_text(&cpu, &cuda))
    }
}

fn to_text(cpu: &Cpu, cuda: &Found) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "{name:<13}{what}");
    };
    line(
        Device::Cpu.name(),
        &format!("{}; {}", terminal::counted(cpu.threads, "thread"), cpu.instructions()),
    );
    line(Device::Reference.name(), "luminal's primitives on one thread, to compare with");
    for (device, what) in [
        (Device::LuminalCuda, "luminal_cuda on the first device, to compare with"),
        (Device::Cuda, "kernels and cuBLAS on the first device"),
    ] {
        let runs = cuda.problem().is_none();
        line(device.name(), if runs { what } else { "cannot run here; see below" });
    }
    match &cuda.driver {
        Driver::Ready { version, devices } => {
            line("", &format!("driver: for CUDA {version}"));
            for (index, device) in devices.iter().enumerate() {
                let memory = terminal::bytes(device.memory_bytes);
                line(
                    "",
                    &format!(
                        "device {index}: {}, {memory}, compute capability {}",
                        device.name, device.capability
                    ),
                );
            }
        }
        driver => line("", &driver.problem().expect("a driver that is not ready has a problem")),
    }
    for (name, library) in [("NVRTC", &cuda.nvrtc), ("cuBLAS", &cuda.cublas)] {
        let what = match library {
            Loadable::Found { from, version } => format!("{name}: {version}, `{from}`"),
            Loadable::Broken { from, reason } => format!("{name}: `{from}` does not work: {reason}"),
            Loadable::Missing { looked } => format!("{name}: not found; looked for {}", list(looked)),
        };
        line("", &what);
    }
    text
}

fn to_json(cpu: &Cpu, cuda: &Found) -> Value {
    let library = |library: &Loadable| match library {
        Loadable::Found { from, version } => json!({ "from": from, "version": version.to_string() }),
        Loadable::Broken { from, reason } => json!({ "from": from, "problem": reason }),
        Loadable::Missing { looked } => json!({ "problem": "not found", "looked_for": looked }),
    };
    let (version, devices) = match &cuda.driver {
        Driver::Missing { .. } | Driver::Broken { .. } => (None, Vec::new()),
        Driver::TooOld { version } | Driver::NoDevice { version } => (Some(version.to_string()), Vec::new()),
        Driver::Ready { version, devices } => {
            let device = |device: &CudaDevice| {
                json!({
                    "name": device.name,
                    "memory_bytes": device.memory_bytes,
                    "compute_capability": device.capability.to_string(),
                })
            };
            (Some(version.to_string()), devices.iter().map(device).collect())
        }
    };
    json!({
        "cpu": {
            "runs": true, "threads": cpu.threads, "avx2": cpu.avx2, "avx512": cpu.avx512, "bf16": cpu.bf16,
        },
        "reference": { "runs": true },
        "luminal-cuda": { "runs": cuda.problem().is_none(), "problem": cuda.problem() },
        "cuda": {
            "runs": cuda.problem().is_none(),
            "problem": cuda.problem(),
            "driver": { "version": version, "problem": cuda.driver.problem() },
            "devices": devices,
            "nvrtc": library(&cuda.nvrtc),
            "cublas": library(&cuda.cublas),
        },
    })
}
