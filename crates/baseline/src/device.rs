//! The baseline: luminal_cuda runs the decomposed graph on a GPU.
//!
//! Memory that a program reads goes to the device when it is newer here, and stays there: weights, moments and
//! carry are overwritten there by the programs. After a run only its rows of results come out; the rest is fetched when
//! somebody asks.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

use super::cuda::nvrtc::Compiler;
use super::cuda::probe::{Driver, list, load_cublas, probe};
use super::memory::Buffer;
use super::{DeviceError, Executable, Named, Newest, Observe, Remote};
use crate::graph::luminal_cuda::{Fault, Program, Tensor, Transfers};
use crate::graph::{DType, Graph, TensorType};

/// Bytes of a number on the device; whole numbers are f32 there too.
const NUMBER_BYTES: usize = 4;

/// A device that luminal_cuda knows how to use, with memory and programs.
pub(super) struct LuminalCuda {
    device: ManuallyDrop<Contents>,
    /// Whether the device may be lost. Then nothing can be freed, and luminal_cuda would panic at the attempt.
    lost: bool,
}

struct Contents {
    transfers: Transfers,
    memory: BTreeMap<String, Tensor>,
    programs: BTreeMap<String, Loaded>,
    bytes: usize,
}

struct Loaded {
    program: Program,
    /// Rows that a run leaves for the host.
    results: Vec<String>,
}

impl LuminalCuda {
    /// Makes the first device ready.
    pub(super) fn open() -> Result<Self, DeviceError> {
        let found = probe();
        let devices = match (found.problem(), found.driver) {
            (None, Driver::Ready { devices, .. }) => devices,
            (reason, _) => return Err(no_cuda(reason.expect("what is not ready has a problem"))),
        };
        let missing = |looked: Vec<String>| no_cuda(format!("there is none of {}", list(&looked)));
        let compiler = Compiler::load().map_err(missing)?;
        let cublas = load_cublas().map_err(missing)?;
        let capability = devices[0].capability;
        let architecture = format!("sm_{}{}", capability.major, capability.minor);
        let compile = move |text: &str| {
            compiler.compile_text("luminal_cuda.cu", text, &architecture).map(|compiled| compiled.ptx)
        };
        luminal_cudarc::provide(luminal_cudarc::Provided { compile: Box::new(compile), cublas });
        let contents = Contents {
            transfers: Transfers::new()?,
            memory: BTreeMap::new(),
            programs: BTreeMap::new(),
            bytes: 0,
        };
        Ok(LuminalCuda { device: ManuallyDrop::new(contents), lost: false })
    }

    fn with<R>(&mut self, work: impl FnOnce(&mut Contents) -> Result<R, Fault>) -> Result<R, DeviceError> {
        let result = work(&mut self.device);
        self.lost |= matches!(result, Err(Fault::Other(_)));
        Ok(result?)
    }
}

impl Drop for LuminalCuda {
    fn drop(&mut self) {
        if !self.lost {
            // SAFETY: nothing uses the field after this.
            unsafe { ManuallyDrop::drop(&mut self.device) };
        }
    }
}

fn no_cuda(reason: String) -> DeviceError {
    DeviceError::NoCuda { reason }
}

/// Returns the first elements of a buffer, as many as the type has, as the device holds them.
fn numbers(buffer: &Buffer, ty: &TensorType) -> Vec<f32> {
    match ty.dtype {
        DType::F32 => buffer.as_f32()[..ty.elements()].to_vec(),
        DType::I32 => buffer.as_i32()[..ty.elements()].iter().map(|&value| value as f32).collect(),
    }
}

impl Contents {
    fn load(&mut self, name: &str, graph: &Graph) -> Result<(), Fault> {
        let program = Program::new(graph, &mut self.transfers)?;
        let results = graph
            .outputs()
            .iter()
            .filter(|(_, value)| graph.ty(**value).shape.len() == 1)
            .map(|(name, _)| name.clone())
            .collect();
        self.programs.insert(name.to_string(), Loaded { program, results });
        Ok(())
    }

    fn run(&mut self, name: &str, memory: &mut BTreeMap<String, Named>) -> Result<(), Fault> {
        let Loaded { program, results } = self.programs.get_mut(name).expect("the program is loaded");
        for input in program.inputs() {
            let named = memory.get_mut(input).expect("a session has the memory of its programs");
            if named.newest == Newest::Here {
                let tensor = self.transfers.upload(numbers(&named.buffer, &named.ty))?;
                self.memory.insert(input.to_string(), tensor);
                named.newest = Newest::Everywhere;
            }
        }
        program.run(&mut self.memory)?;
        for output in program.outputs() {
            let named = memory.get_mut(output).expect("a session has the memory of its programs");
            named.newest = Newest::There;
        }
        for name in results {
            let named = memory.get_mut(name).expect("a session has the memory of its programs");
            fetch(&mut self.transfers, &self.memory[name], &mut named.buffer)?;
            named.newest = Newest::Everywhere;
        }
        self.bytes = self.memory.keys().map(|name| NUMBER_BYTES * memory[name].ty.elements()).sum();
        Ok(())
    }
}

fn fetch(transfers: &mut Transfers, tensor: &Tensor, buffer: &mut Buffer) -> Result<(), Fault> {
    let values = transfers.download(tensor)?;
    buffer.as_f32_mut()[..values.len()].copy_from_slice(&values);
    Ok(())
}

impl Remote for LuminalCuda {
    fn load(&mut self, name: &str, executable: Executable) -> Result<(), DeviceError> {
        let Executable::LuminalCuda(graph) = executable else { unreachable!("a session has one device") };
        self.with(|device| device.load(name, &graph))
    }

    fn run(
        &mut self,
        name: &str,
        memory: &mut BTreeMap<String, Named>,
        _: Option<Observe<'_>>,
    ) -> Result<(), DeviceError> {
        self.with(|device| device.run(name, memory))
    }

    fn fetch(&mut self, name: &str, buffer: &mut Buffer) -> Result<(), DeviceError> {
        self.with(|device| fetch(&mut device.transfers, &device.memory[name], buffer))
    }

    fn bytes(&self) -> usize {
        self.device.bytes
    }
}
