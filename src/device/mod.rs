//! Devices, which run programs.
//!
//! A [`Device`] is a kind of hardware, or an interpreter, that a program can be compiled for: it says which
//! [`Form`] of a program it runs, what a plan for it looks like, and how much memory it has. Opened, it is an
//! [`Engine`], which loads and runs programs. A [`Session`] owns the [`Memory`] that programs share by name and an
//! engine, and knows no device.
//!
//! | device | what it runs | how |
//! |---|---|---|
//! | [`mod@cpu`] | plans | fused kernels on all cores |
//! | [`mod@reference`] | graphs | luminal's primitives, interpreted: slow, and the oracle of all tests |
//! | `cuda` | plans | fused kernels and cuBLAS on an NVIDIA GPU |
//!
//! A new device is a folder beside these and a line in [`devices`]; one from outside of the crate is handed to the
//! caller's list.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod memory;
mod peak;
pub mod reference;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::graph::{Graph, TensorType};
use crate::ir::Precision;
use crate::plan::{Demands, Plan, arena_bytes, named_bytes};

pub use error::DeviceError;
pub use memory::{Buffer, Memory, MemoryId};
pub use session::Session;

pub use crate::system::memory::{AvailableMemory, MemoryBound};

/// A kind of hardware, or an interpreter, that runs programs.
///
/// To bring a device of your own, implement this trait, and `Engine` of `hrmc::internals::device`. `Engine` may still
/// change. `tests/runtime/devices.rs` of the sources has an example.
///
/// # Examples
///
/// ```
/// let devices = hrmc::devices(&hrmc::Places::default());
/// for device in &devices {
///     println!("{}: {}", device.name(), device.status().summary);
/// }
/// assert_eq!(devices[0].name(), "cpu");
/// ```
pub trait Device: fmt::Debug + Send + Sync {
    /// Returns the name, as on the command line.
    fn name(&self) -> &'static str;

    /// Returns one sentence about the device, without a full stop.
    fn about(&self) -> &'static str;

    /// Returns the form of the programs that the device runs.
    fn form(&self) -> Form;

    /// Returns what the device demands of plans with products in `precision`.
    fn demands(&self, precision: Precision) -> Demands {
        Demands::cpu(precision)
    }

    /// Returns whether the device multiplies in bf16 where a plan asks for it.
    fn multiplies_in_bf16(&self) -> bool {
        false
    }

    /// Returns whether `--device auto` may choose the device: it is for use, and not only for comparison.
    fn is_preferred(&self) -> bool {
        false
    }

    /// Returns whether `hrmc bench` may measure the device.
    fn is_fast(&self) -> bool {
        true
    }

    /// Returns whether the device can run on this machine, and what was found of it.
    fn status(&self) -> Status;

    /// Returns what the user should know before a program runs on the device: settings that are ignored, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the memory that a session can have, what this process has already included; `None` where the system
    /// does not tell, or the need of the device is not known.
    fn available_memory(&self) -> Option<AvailableMemory> {
        None
    }

    /// Returns the memory of the device that a session takes which has loaded all of `plans`. For the processor, that
    /// is the memory of the process.
    fn resident_memory(&self, plans: &[&Plan], _: &EngineOptions) -> ResidentMemory {
        ResidentMemory {
            named: named_bytes(plans),
            activations: arena_bytes(plans),
            ..ResidentMemory::default()
        }
    }

    /// Measures the best rate of one large product with factors in `precision`, in 10^9 operations per second.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    fn product_rate(&self, precision: Precision, options: &EngineOptions) -> Result<f64, DeviceError> {
        peak::product_rate(&|| self.open(options), self.demands(precision))
    }

    /// Measures the best rate of a large copy, bytes read and written, in 10^9 bytes per second.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    fn copy_rate(&self, options: &EngineOptions) -> Result<f64, DeviceError> {
        peak::copy_rate(&|| self.open(options), self.demands(Precision::F32))
    }

    /// Opens the device, so that it can load programs.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is missing, or what the device says.
    fn open(&self, options: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError>;
}

/// An opened device: it owns loaded programs, and the memory that they need besides that of the session.
pub trait Engine: Send {
    /// Loads a program under a name. The memory that it names is allocated.
    ///
    /// # Errors
    ///
    /// Returns an error if the device refuses memory or kernels, or does not run programs of this form.
    fn load(&mut self, name: &str, program: Executable, memory: &mut Memory) -> Result<(), DeviceError>;

    /// Runs a program once: sends the memory whose host copy is newer, and records in `memory` which memory the program
    /// has written. Calls `observe`, if there is one, for each call of a plan.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    ///
    /// # Panics
    ///
    /// Panics if no program of this name is loaded.
    fn run(
        &mut self,
        name: &str,
        memory: &mut Memory,
        observe: Option<Observe<'_>>,
    ) -> Result<(), DeviceError>;

    /// Copies the content of memory that the device has [written](Memory::written_elsewhere) to `buffer`.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    fn fetch(&mut self, id: MemoryId, buffer: &mut Buffer) -> Result<(), DeviceError>;

    /// Returns the bytes of the memory of a session; of a device with memory of its own, the bytes there.
    fn bytes(&self, memory: &Memory) -> usize;
}

/// What is told the index of each call of a run and the seconds that it took.
pub type Observe<'a> = &'a mut (dyn FnMut(usize, f64) + Send);

/// What an engine may take of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads to compute with, at least one; they do not change any result.
    pub threads: usize,
}

impl Default for EngineOptions {
    /// One thread for each core.
    fn default() -> Self {
        EngineOptions { threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get) }
    }
}

/// The memory that a process takes at most, in bytes, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ResidentMemory {
    /// The program itself, its libraries, and what compiling leaves behind.
    pub program: u64,
    /// The rows of both splits.
    pub data: u64,
    /// What programs share by name: weights and their averages, moments, carry, rows and results.
    pub named: u64,
    /// Activations of one run.
    pub activations: u64,
    /// Copies of weights, arranged as products read them.
    pub arranged: u64,
    /// Working memory of threads.
    pub scratch: u64,
}

impl ResidentMemory {
    /// Returns all of it.
    pub fn total(&self) -> u64 {
        let ResidentMemory { program, data, named, activations, arranged, scratch } = *self;
        [program, data, named, activations, arranged, scratch].into_iter().fold(0, u64::saturating_add)
    }
}

/// A form of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Fused, and planned as the device [demands](Device::demands).
    Plan,
    /// A graph without detach markers, for a device that decomposes it into primitives.
    Graph,
}

/// A program that an engine can load.
pub enum Executable {
    /// Calls over memory that is laid out.
    Plan(Plan),
    /// A graph without detach markers.
    Graph(Graph),
}

impl Executable {
    /// Returns the names and types of the memory that the program shares with others.
    pub fn memory(&self) -> Box<dyn Iterator<Item = (&str, &TensorType)> + '_> {
        match self {
            Executable::Plan(plan) => {
                Box::new(plan.memory.iter().map(|memory| (memory.name.as_str(), &memory.ty)))
            }
            Executable::Graph(graph) => {
                let named = graph.inputs().iter().chain(graph.outputs());
                Box::new(named.map(|(name, &value)| (name.as_str(), graph.ty(value))))
            }
        }
    }

    /// Returns the plan.
    ///
    /// # Errors
    ///
    /// Returns an error in the name of `device` if it is a graph.
    pub fn into_plan(self, device: &'static str) -> Result<Plan, DeviceError> {
        match self {
            Executable::Plan(plan) => Ok(plan),
            Executable::Graph(_) => Err(DeviceError::Form { device, form: "graphs" }),
        }
    }

    /// Returns the graph.
    ///
    /// # Errors
    ///
    /// Returns an error in the name of `device` if it is a plan.
    pub fn into_graph(self, device: &'static str) -> Result<Graph, DeviceError> {
        match self {
            Executable::Graph(graph) => Ok(graph),
            Executable::Plan(_) => Err(DeviceError::Form { device, form: "plans" }),
        }
    }
}

/// State of a device on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Why programs cannot run on the device; `None` if they can.
    pub problem: Option<String>,
    /// Description of the device, in a few words.
    pub summary: String,
    /// Further facts, a line each.
    pub details: Vec<String>,
    /// The same facts as data.
    pub facts: Map<String, Value>,
}

/// What of a machine devices use: toolkits that they read, a cache that they write, and what to say about both. The
/// library does not take it from the environment; the caller says it.
///
/// # Examples
///
/// ```
/// use hrmc::{Places, devices};
///
/// let places = Places { kernel_cache: Some("kernels".into()), ..Places::default() };
/// assert!(devices(&places).iter().any(|device| device.name() == "reference"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Folders of CUDA toolkits, the best first, besides the usual one.
    pub toolkits: Vec<PathBuf>,
    /// Folder for compiled kernels; without one they are compiled each time.
    ///
    /// It is made for its owner alone. A folder or a file in it that belongs to another user is not used.
    pub kernel_cache: Option<PathBuf>,
    /// The variable CUDA_VISIBLE_DEVICES, which the driver reads, for messages.
    pub visible_devices: Option<String>,
    /// Settings that were ignored, each with the reason, for messages.
    pub ignored: Vec<String>,
}

/// Returns the devices of hrmc.
#[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "CUDA alone has places"))]
pub fn devices(places: &Places) -> Vec<Arc<dyn Device>> {
    Vec::from([
        Arc::new(cpu::Cpu) as Arc<dyn Device>,
        Arc::new(reference::Reference),
        #[cfg(feature = "cuda")]
        Arc::new(cuda::Cuda::new(places.clone())),
    ])
}
