//! What runs a plan for CUDA: the emulator of kernels (tier T0), or with the variable HRMC_T2 set to `required` the GPU
//! of this machine (tier T2).

use std::ffi::c_int;

use hrmc::internals::device::cuda::Cuda;
use hrmc::internals::device::{EngineOptions, Executable, Places, Session};
use hrmc::internals::graph::DType;
use hrmc::internals::plan::Plan;

use hrmc_testing::emulator::{Contents, Emulator, emulator};
use hrmc_testing::on_a_gpu;

use crate::CACHE;

/// Something that runs a plan once.
pub trait Runner {
    /// Runs a plan on contents by name, in one order of threads where that can be chosen.
    ///
    /// # Errors
    ///
    /// Returns what was found to be wrong.
    fn run(&self, plan: &Plan, contents: &Contents, order: c_int) -> Result<Contents, String>;
}

impl Runner for Emulator {
    fn run(&self, plan: &Plan, contents: &Contents, order: c_int) -> Result<Contents, String> {
        Emulator::run(self, plan, contents, order)
    }
}

/// The GPU of this machine.
struct Gpu;

impl Runner for Gpu {
    fn run(&self, plan: &Plan, contents: &Contents, _order: c_int) -> Result<Contents, String> {
        let message = |error: hrmc::internals::device::DeviceError| error.to_string();
        let mut session =
            Session::open(&Cuda::new(Places::default()), &EngineOptions::default()).map_err(message)?;
        session.load("program", Executable::Plan(plan.clone())).map_err(message)?;
        for memory in &plan.memory {
            let name = &memory.name;
            let Some(values) = contents.get(name) else { continue };
            match memory.ty.dtype {
                DType::F32 => session.f32_mut(name).map_err(message)?.copy_from_slice(values),
                DType::I32 => {
                    let integers = values.iter().map(|value| value.to_bits().cast_signed());
                    session
                        .i32_mut(name)
                        .map_err(message)?
                        .iter_mut()
                        .zip(integers)
                        .for_each(|(to, value)| *to = value);
                }
            }
        }
        session.run("program").map_err(message)?;
        let mut results = Contents::new();
        for memory in &plan.memory {
            let name = &memory.name;
            let values = match memory.ty.dtype {
                DType::F32 => session.f32(name).map_err(message)?.to_vec(),
                DType::I32 => session
                    .i32(name)
                    .map_err(message)?
                    .iter()
                    .map(|value| f32::from_bits(value.cast_unsigned()))
                    .collect(),
            };
            results.insert(name.clone(), values);
        }
        Ok(results)
    }
}

/// Returns what runs plans here; `None`, after saying that T0 did not run, where there is nothing.
pub fn runner() -> Option<&'static dyn Runner> {
    if on_a_gpu() {
        return Some(&Gpu);
    }
    emulator(CACHE).map(|emulator| emulator as &dyn Runner)
}
