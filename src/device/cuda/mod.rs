//! CUDA: the device that runs plans on an NVIDIA GPU, with kernels of hrmc and matrix products of cuBLAS.
//!
//! Building hrmc and starting it needs nothing of CUDA. `probe` loads the libraries by their names when the device is
//! opened or listed, and reports each library that is missing with the names and paths that it tried.
//!
//! `kernels` has the text of the kernels. `launch` turns a plan into launches of kernels and products, `nvrtc` compiles
//! the kernels, `cache` keeps them on the disk, and `gpu` runs the launches through `driver`. `report`, `emit` and
//! `launch_text` describe launches without a GPU, for the data sheet of a `card`. The tests run all of it on an
//! emulated driver; no GPU has run it yet. `docs/cuda.md` of the sources says more.

mod cache;
pub mod card;
mod driver;
pub mod emit;
mod gpu;
pub mod kernels;
pub mod launch;
pub mod launch_text;
pub mod nvrtc;
pub mod probe;
pub mod report;
pub mod tiles;

use serde_json::{Map, Value, json};

use super::{AvailableMemory, Device, DeviceError, Engine, EngineOptions, Form, MemoryBound, Places, Status};
use crate::ir::Precision;
use crate::plan::Demands;
use crate::units::bytes;
use gpu::Gpu;
use probe::{CudaDevice, Driver, Found, Loadable, probe};

const NAME: &str = "cuda";

/// The first NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuda {
    places: Places,
}

impl Cuda {
    /// Returns the device. `places` says where it looks for libraries, and where it keeps compiled kernels.
    pub fn new(places: Places) -> Cuda {
        Cuda { places }
    }
}

impl Device for Cuda {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Fused kernels and cuBLAS on an NVIDIA GPU"
    }

    fn form(&self) -> Form {
        Form::Plan
    }

    fn demands(&self, precision: Precision) -> Demands {
        Demands::cuda(precision)
    }

    fn multiplies_in_bf16(&self) -> bool {
        true
    }

    fn is_preferred(&self) -> bool {
        true
    }

    fn status(&self) -> Status {
        let mut status = status(&probe(&self.places));
        status.details.extend(self.notes());
        status
    }

    /// Returns what of the environment is ignored, and which compiled kernels are not used.
    fn notes(&self) -> Vec<String> {
        let cache = self.places.kernel_cache.as_deref().and_then(cache::problem);
        self.places.ignored.iter().cloned().chain(cache).collect()
    }

    /// Returns the memory of the first GPU, if there is one.
    fn available_memory(&self) -> Option<AvailableMemory> {
        match probe(&self.places).driver {
            Driver::Ready { devices, .. } => devices
                .first()
                .map(|device| AvailableMemory { bytes: device.memory_bytes, bound: MemoryBound::Machine }),
            _ => None,
        }
    }

    fn open(&self, _: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError> {
        Ok(Box::new(Gpu::open(&self.places)?))
    }
}

/// Returns the status of the device, by what a probe found.
fn status(found: &Found) -> Status {
    let problem = found.problem();
    let summary = match problem {
        None => "kernels and cuBLAS on the first device",
        Some(_) => "cannot run here; see below",
    };
    Status { summary: summary.to_string(), details: details(found), facts: facts(found), problem }
}

fn details(found: &Found) -> Vec<String> {
    let mut lines = Vec::new();
    match &found.driver {
        Driver::Ready { version, devices } => {
            lines.push(format!("driver: for CUDA {version}"));
            for (index, device) in devices.iter().enumerate() {
                let CudaDevice { name, memory_bytes, capability } = device;
                let memory = bytes(*memory_bytes);
                lines.push(format!("device {index}: {name}, {memory}, compute capability {capability}"));
            }
        }
        _ => lines.push(found.driver_problem().expect("a driver that is not ready has a problem")),
    }
    // Where it hides every device, the line before says so.
    if let Some(value) = &found.visible_devices
        && !matches!(found.driver, Driver::NoDevice { .. })
    {
        lines.push(format!(
            "CUDA_VISIBLE_DEVICES is set to `{value}`, which chooses the devices and their order"
        ));
    }
    for (name, library) in [("NVRTC", &found.nvrtc), ("cuBLAS", &found.cublas)] {
        lines.push(match library {
            Loadable::Found { from, version } => format!("{name}: {version}, `{from}`"),
            Loadable::Broken { from, reason } => format!("{name}: `{from}` does not work: {reason}"),
            Loadable::NotLoaded(why) => format!("{name}: {why}"),
        });
    }
    lines
}

fn facts(found: &Found) -> Map<String, Value> {
    let library = |library: &Loadable| match library {
        Loadable::Found { from, version } => json!({ "from": from, "version": version.to_string() }),
        Loadable::Broken { from, reason } => json!({ "from": from, "problem": reason }),
        Loadable::NotLoaded(why) if why.refused.is_empty() => {
            json!({ "problem": "not found", "looked_for": why.looked })
        }
        Loadable::NotLoaded(why) => {
            json!({ "problem": why.to_string(), "refused": why.refused, "looked_for": why.looked })
        }
    };
    let (version, devices) = match &found.driver {
        Driver::NotLoaded(_) | Driver::Broken { .. } => (None, Vec::new()),
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
    let facts = json!({
        "problem": found.problem(),
        "driver": { "version": version, "problem": found.driver_problem() },
        "visible_devices": found.visible_devices,
        "devices": devices,
        "nvrtc": library(&found.nvrtc),
        "cublas": library(&found.cublas),
    });
    facts.as_object().expect("it is an object").clone()
}
