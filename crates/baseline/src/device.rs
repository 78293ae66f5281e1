//! The device `luminal-cuda`: luminal_cuda runs the decomposed graph on a GPU.
//!
//! Memory that a program reads goes to the device when it is newer on the host, and stays there: weights, moments and
//! carry are overwritten there by the programs. After a run only its rows of results come out; the rest is fetched
//! when somebody reads it.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

use hrmc::internals::device::cuda::Cuda;
use hrmc::internals::device::cuda::nvrtc::Compiler;
use hrmc::internals::device::cuda::probe::{Driver, load_cublas, probe};
use hrmc::internals::device::reference::numbers;
use hrmc::internals::device::{
    Buffer, Device, DeviceError, Engine, EngineOptions, Executable, Form, Memory, MemoryId, Observe, Places,
    Status,
};
use hrmc::internals::graph::Graph;
use hrmc::internals::ir::Precision;
use serde_json::{Map, json};

use crate::door::{Fault, Program, Tensor, Transfers};

const NAME: &str = "luminal-cuda";

/// Bytes of a number on the device; whole numbers are f32 there too.
const NUMBER_BYTES: usize = 4;

/// luminal's primitives, compiled by luminal_cuda for the first NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuminalCuda {
    places: Places,
}

impl LuminalCuda {
    /// Returns the device, which looks for its libraries in `places`.
    pub fn new(places: Places) -> LuminalCuda {
        LuminalCuda { places }
    }

    /// Returns the device of hrmc that runs on the same GPU.
    fn cuda(&self) -> Cuda {
        Cuda::new(self.places.clone())
    }
}

impl Device for LuminalCuda {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "luminal's primitives, compiled by luminal_cuda for an NVIDIA GPU: to compare with"
    }

    fn form(&self) -> Form {
        Form::Graph
    }

    fn status(&self) -> Status {
        let problem = self.cuda().status().problem;
        let summary = match problem {
            None => "luminal_cuda on the first device, to compare with",
            Some(_) => "cannot run here; see `cuda`",
        };
        let facts = Map::from_iter([("problem".to_string(), json!(problem))]);
        Status { summary: summary.to_string(), details: Vec::new(), facts, problem }
    }

    /// Measures the GPU with cuBLAS: a graph of primitives has no calls to observe.
    fn product_rate(&self, precision: Precision, options: &EngineOptions) -> Result<f64, DeviceError> {
        self.cuda().product_rate(precision, options)
    }

    /// Measures the GPU with a kernel of hrmc, for the same reason.
    fn copy_rate(&self, options: &EngineOptions) -> Result<f64, DeviceError> {
        self.cuda().copy_rate(options)
    }

    fn open(&self, _: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError> {
        Ok(Box::new(Runner::open(&self.places)?))
    }
}

/// A device that luminal_cuda knows how to use, with memory and programs.
struct Runner {
    device: ManuallyDrop<Contents>,
    /// Whether the device may be lost. Then nothing can be freed, and luminal_cuda would panic at the attempt.
    lost: bool,
}

/// What is on the device.
struct Contents {
    transfers: Transfers,
    memory: BTreeMap<String, Tensor>,
    /// What is known of the memory on the host for all that programs name.
    known: BTreeMap<MemoryId, Known>,
    programs: BTreeMap<String, Loaded>,
}

/// Memory of the host, as the device knows it.
struct Known {
    name: String,
    bytes: usize,
    /// Version of what is on the device; absent before the first copy.
    version: Option<u64>,
}

struct Loaded {
    program: Program,
    /// Rows that a run leaves for the host.
    results: Vec<MemoryId>,
}

impl Runner {
    /// Makes the first device ready.
    fn open(places: &Places) -> Result<Self, DeviceError> {
        let found = probe(places);
        let devices = match (found.problem(), found.driver) {
            (None, Driver::Ready { devices, .. }) => devices,
            (reason, _) => return Err(no_cuda(reason.expect("what is not ready has a problem"))),
        };
        let compiler = Compiler::load(&places.toolkits).map_err(|why| no_cuda(why.about("NVRTC")))?;
        let cublas = load_cublas(&places.toolkits).map_err(|why| no_cuda(why.about("cuBLAS")))?;
        let capability = devices[0].capability;
        let architecture = format!("sm_{}{}", capability.major, capability.minor);
        let compile = move |text: &str| {
            compiler.compile_text("luminal_cuda.cu", text, &architecture).map(|compiled| compiled.ptx)
        };
        luminal_cudarc::provide(luminal_cudarc::Provided { compile: Box::new(compile), cublas });
        let contents = Contents {
            transfers: Transfers::new()?,
            memory: BTreeMap::new(),
            known: BTreeMap::new(),
            programs: BTreeMap::new(),
        };
        Ok(Runner { device: ManuallyDrop::new(contents), lost: false })
    }

    fn with<R>(&mut self, work: impl FnOnce(&mut Contents) -> Result<R, Fault>) -> Result<R, DeviceError> {
        let result = work(&mut self.device);
        self.lost |= matches!(result, Err(Fault::Other(_)));
        Ok(result?)
    }
}

impl Drop for Runner {
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

impl From<Fault> for DeviceError {
    fn from(fault: Fault) -> DeviceError {
        DeviceError::Other(fault.to_string())
    }
}

/// Returns the memory of a name that a program uses.
fn find(memory: &Memory, name: &str) -> MemoryId {
    memory.id(name).expect("a session has the memory of its programs")
}

impl Contents {
    fn load(&mut self, name: &str, graph: &Graph, memory: &Memory) -> Result<(), Fault> {
        let program = Program::new(graph, &mut self.transfers)?;
        for name in program.inputs().chain(program.outputs()) {
            let id = find(memory, name);
            let bytes = NUMBER_BYTES * memory.ty(id).elements();
            self.known.entry(id).or_insert_with(|| Known { name: name.to_string(), bytes, version: None });
        }
        let results = graph
            .outputs()
            .iter()
            .filter(|(_, value)| graph.ty(**value).shape.len() == 1)
            .map(|(name, _)| find(memory, name))
            .collect();
        self.programs.insert(name.to_string(), Loaded { program, results });
        Ok(())
    }

    fn run(&mut self, name: &str, memory: &mut Memory) -> Result<(), Fault> {
        let Loaded { program, results } = self.programs.get_mut(name).expect("the program is loaded");
        for input in program.inputs() {
            let id = find(memory, input);
            let known = self.known.get_mut(&id).expect("the memory of programs is known");
            let version = Some(memory.version(id));
            if known.version != version {
                let tensor = self.transfers.upload(numbers(memory.content(id), memory.ty(id)))?;
                self.memory.insert(input.to_string(), tensor);
                known.version = version;
            }
        }
        program.run(&mut self.memory)?;
        for output in program.outputs() {
            let id = find(memory, output);
            let known = self.known.get_mut(&id).expect("the memory of programs is known");
            known.version = Some(memory.written_elsewhere(id));
        }
        for &id in &*results {
            let known = self.known.get_mut(&id).expect("the memory of programs is known");
            let values = self.transfers.download(&self.memory[&known.name])?;
            memory.write(id).as_f32_mut()[..values.len()].copy_from_slice(&values);
            known.version = Some(memory.version(id));
        }
        Ok(())
    }

    fn fetch(&mut self, id: MemoryId, buffer: &mut Buffer) -> Result<(), Fault> {
        let values = self.transfers.download(&self.memory[&self.known[&id].name])?;
        buffer.as_f32_mut()[..values.len()].copy_from_slice(&values);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.known.values().filter(|known| known.version.is_some()).map(|known| known.bytes).sum()
    }
}

impl Engine for Runner {
    fn load(&mut self, name: &str, program: Executable, memory: &mut Memory) -> Result<(), DeviceError> {
        let graph = program.into_graph(NAME)?;
        self.with(|device| device.load(name, &graph, memory))
    }

    fn run(&mut self, name: &str, memory: &mut Memory, _: Option<Observe<'_>>) -> Result<(), DeviceError> {
        self.with(|device| device.run(name, memory))
    }

    fn fetch(&mut self, id: MemoryId, buffer: &mut Buffer) -> Result<(), DeviceError> {
        self.with(|device| device.fetch(id, buffer))
    }

    fn bytes(&self, _: &Memory) -> usize {
        self.device.bytes()
    }
}
