//! Running programs on a device.
//!
//! A [`Session`] owns the memory that programs share by name (weights, moments, carry, rows) and runs
//! them. [`Device::Cpu`] executes plans with fused kernels; [`Device::Reference`] gives the graph,
//! decomposed to primitives, to luminal itself: slow, and the oracle of all tests. [`Device::LuminalCuda`] gives it to
//! luminal_cuda: the baseline of what runs on a GPU.

pub mod cpu;
pub mod cuda;
mod luminal_cuda;
mod memory;
mod reference;

use std::collections::BTreeMap;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::graph::luminal_cuda::Fault;
use crate::graph::{DType, Graph, TensorType};
use crate::ir::Precision;
use crate::plan::{Demands, Plan};

use self::luminal_cuda::LuminalCuda;
use cpu::CpuProgram;
use cpu::kernels::WeightShape;
use cuda::Gpu;
use memory::Buffer;
use reference::ReferenceProgram;

/// What runs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Fused kernels on the CPU.
    Cpu,
    /// luminal's primitives, interpreted.
    Reference,
    /// Fused kernels and cuBLAS on an NVIDIA GPU.
    Cuda,
    /// luminal's primitives, compiled by luminal_cuda for an NVIDIA GPU.
    LuminalCuda,
}

impl Device {
    /// All devices.
    pub const ALL: &[Device] = &[Device::Cpu, Device::Reference, Device::Cuda, Device::LuminalCuda];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Reference => "reference",
            Device::Cuda => "cuda",
            Device::LuminalCuda => "luminal-cuda",
        }
    }

    /// Returns what it asks of plans with products in `precision`.
    pub fn demands(self, precision: Precision) -> Demands {
        match self {
            Device::Cuda => Demands::cuda(precision),
            Device::Cpu | Device::Reference | Device::LuminalCuda => Demands::cpu(precision),
        }
    }

    /// Returns whether it multiplies in bf16 where a plan asks for it.
    pub fn multiplies_in_bf16(self) -> bool {
        match self {
            Device::Cpu => cpu::kernels::multiplies_in_bf16(),
            Device::Cuda => true,
            Device::Reference | Device::LuminalCuda => false,
        }
    }
}

/// Why a session cannot do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The system refused memory.
    #[error("cannot allocate {bytes} bytes for {what}; use a smaller batch or model")]
    OutOfMemory {
        /// Size that was asked for.
        bytes: usize,
        /// What it was for.
        what: String,
    },
    /// There is no CUDA to run on.
    #[error(
        "cannot run on CUDA: {reason}; `hrmc devices` shows what there is, and `--device cpu` works everywhere"
    )]
    NoCuda {
        /// What is missing.
        reason: String,
    },
    /// A device failed.
    #[error("the GPU failed at {what}: {reason}; what was saved before is still there")]
    Device {
        /// What was being done.
        what: String,
        /// What the driver says.
        reason: String,
    },
    /// A kernel was not accepted.
    #[error(
        "cannot compile the kernels of `{file}` for {architecture}: {reason}; this is a fault of hrmc or of NVRTC, \
         and `--device cpu` works everywhere"
    )]
    Kernel {
        /// The file.
        file: String,
        /// What it was compiled for.
        architecture: String,
        /// What the compiler says.
        reason: String,
    },
    /// luminal_cuda failed.
    #[error(transparent)]
    LuminalCuda(#[from] Fault),
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}; try fewer with `--threads`")]
    Threads {
        /// Threads that were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// What is told the index of each call of a run and the seconds that it took.
pub type Observe<'a> = &'a mut (dyn FnMut(usize, f64) + Send);

/// A program that a session can run.
pub enum Executable {
    /// A plan for [`Device::Cpu`].
    Planned(Plan),
    /// A plan for [`Device::Cuda`].
    Cuda(Plan),
    /// A graph without detach markers for [`Device::Reference`].
    Decomposed(Graph),
    /// The same for [`Device::LuminalCuda`].
    LuminalCuda(Graph),
}

impl Executable {
    /// Returns a plan for a device that runs plans.
    ///
    /// # Panics
    ///
    /// Panics if the device runs graphs.
    pub fn of(plan: Plan, device: Device) -> Executable {
        match device {
            Device::Cpu => Executable::Planned(plan),
            Device::Cuda => Executable::Cuda(plan),
            Device::Reference | Device::LuminalCuda => panic!("the device `{}` runs graphs", device.name()),
        }
    }
}

enum Loaded {
    Cpu(CpuProgram),
    Reference(ReferenceProgram),
}

struct Named {
    ty: TensorType,
    buffer: Buffer,
    newest: Newest,
    /// The same weight as products of a forward pass read it.
    arranged: Option<Arranged>,
}

/// Where the newest content of memory is that a device has too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newest {
    /// Here alone; the device gets it before the next run that has to do with it.
    Here,
    /// Here and on the device.
    Everywhere,
    /// On the device alone.
    There,
}

/// A device with memory of its own. What it has of named memory is a copy, and [`Named::newest`] says which is newer.
trait Remote {
    /// Loads a program, whose named memory is allocated here.
    fn load(&mut self, name: &str, executable: Executable) -> Result<(), DeviceError>;

    /// Takes over what is newer here, runs a program once, and says what is newer there.
    fn run(
        &mut self,
        name: &str,
        memory: &mut BTreeMap<String, Named>,
        observe: Option<Observe<'_>>,
    ) -> Result<(), DeviceError>;

    /// Copies the content of memory to `buffer`.
    fn fetch(&mut self, name: &str, buffer: &mut Buffer) -> Result<(), DeviceError>;

    /// Returns the bytes of its memory.
    fn bytes(&self) -> usize;
}

/// An arranged copy of a weight.
struct Arranged {
    shape: WeightShape,
    buffer: Buffer,
    /// Whether it is a copy of the present content.
    valid: bool,
}

/// Memory and programs on one device.
pub struct Session {
    pool: ThreadPool,
    memory: BTreeMap<String, Named>,
    arena: Buffer,
    programs: BTreeMap<String, Loaded>,
    /// What runs all programs, if it is not the processor.
    remote: Option<Box<dyn Remote>>,
    runs: u64,
}

impl Session {
    /// Starts a session with a number of threads, at least one.
    ///
    /// # Errors
    ///
    /// Returns an error if the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self, DeviceError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("hrmc-{index}"))
            .build()
            .map_err(|error| DeviceError::Threads { threads, reason: error.to_string() })?;
        Ok(Session {
            pool,
            memory: BTreeMap::new(),
            arena: Buffer::empty(),
            programs: BTreeMap::new(),
            remote: None,
            runs: 0,
        })
    }

    /// Loads a program under a name and allocates the memory it needs; memory of a name that exists is shared.
    ///
    /// # Errors
    ///
    /// Returns an error if the memory cannot be had.
    pub fn load(&mut self, name: &str, executable: Executable) -> Result<(), DeviceError> {
        let loaded = match executable {
            Executable::Cuda(ref plan) => {
                for memory in &plan.memory {
                    self.allocate(&memory.name, &memory.ty)?;
                }
                return self.remote(Gpu::open)?.load(name, executable);
            }
            Executable::LuminalCuda(ref graph) => {
                self.allocate_named(graph)?;
                return self.remote(LuminalCuda::open)?.load(name, executable);
            }
            Executable::Planned(plan) => {
                for memory in &plan.memory {
                    self.allocate(&memory.name, &memory.ty)?;
                }
                if self.arena.bytes() < plan.arena_bytes {
                    // The old arena goes first: both at once might not fit.
                    self.arena = Buffer::empty();
                    self.arena = Buffer::zeroed(plan.arena_bytes, "activations")?;
                }
                let mut program = CpuProgram::new(plan);
                self.allocate_arranged(&mut program)?;
                Loaded::Cpu(program)
            }
            Executable::Decomposed(graph) => {
                self.allocate_named(&graph)?;
                Loaded::Reference(ReferenceProgram::new(&graph))
            }
        };
        self.programs.insert(name.to_string(), loaded);
        Ok(())
    }

    /// Returns the device, which the first program opens.
    fn remote<R: Remote + 'static>(
        &mut self,
        open: impl FnOnce() -> Result<R, DeviceError>,
    ) -> Result<&mut dyn Remote, DeviceError> {
        if self.remote.is_none() {
            self.remote = Some(Box::new(open()?));
        }
        Ok(self.remote.as_mut().expect("it was opened").as_mut())
    }

    fn allocate_named(&mut self, graph: &Graph) -> Result<(), DeviceError> {
        let mut named = graph.inputs().iter().chain(graph.outputs());
        named.try_for_each(|(name, &value)| self.allocate(name, graph.ty(value)))
    }

    fn allocate(&mut self, name: &str, ty: &TensorType) -> Result<(), DeviceError> {
        if let Some(named) = self.memory.get(name) {
            assert_eq!(&named.ty, ty, "programs agree on the type of `{name}`");
            return Ok(());
        }
        let buffer = Buffer::zeroed(ty.bytes(), name)?;
        self.memory
            .insert(name.to_string(), Named { ty: ty.clone(), buffer, newest: Newest::Here, arranged: None });
        Ok(())
    }

    /// Allocates the arranged weights of a program; one that another program has arranged in another way is left to
    /// that program.
    fn allocate_arranged(&mut self, program: &mut CpuProgram) -> Result<(), DeviceError> {
        let mut other = Vec::new();
        for (name, shape) in program.weights() {
            let named = self.memory.get_mut(name).expect("the memory of the plan is allocated");
            match &named.arranged {
                Some(arranged) if arranged.shape == shape => {}
                Some(_) => other.push(name.to_string()),
                None => {
                    let len = shape.arranged_len().expect("only what can be arranged is wanted");
                    let buffer = Buffer::zeroed(4 * len, name)?;
                    named.arranged = Some(Arranged { shape, buffer, valid: false });
                }
            }
        }
        other.iter().for_each(|name| program.leave(name));
        Ok(())
    }

    /// Runs a program once.
    ///
    /// # Errors
    ///
    /// Returns an error if a device fails; the processor does not.
    ///
    /// # Panics
    ///
    /// Panics if no program of this name is loaded.
    pub fn run(&mut self, name: &str) -> Result<(), DeviceError> {
        self.runs += 1;
        self.execute(name, None)
    }

    /// Runs a program once and calls `observe` with the index of each call and the seconds it took.
    ///
    /// Only planned programs have calls to observe; others run as with [`Session::run`].
    ///
    /// # Errors
    ///
    /// Returns an error if a device fails.
    pub fn run_profiled(&mut self, name: &str, observe: Observe<'_>) -> Result<(), DeviceError> {
        self.execute(name, Some(observe))
    }

    fn execute(&mut self, name: &str, observe: Option<Observe<'_>>) -> Result<(), DeviceError> {
        if let Some(remote) = &mut self.remote {
            return remote.run(name, &mut self.memory, observe);
        }
        match self.programs.get_mut(name).expect("the program is loaded") {
            Loaded::Cpu(program) => {
                let (memory, arena) = (&mut self.memory, &mut self.arena);
                self.pool.install(|| program.run(memory, arena, observe));
                Ok(())
            }
            Loaded::Reference(program) => {
                interpret(program, &mut self.memory);
                Ok(())
            }
        }
    }

    /// Returns the names and types of all memory, sorted by name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &TensorType)> {
        self.memory.iter().map(|(name, named)| (name.as_str(), &named.ty))
    }

    /// Returns whether memory of this name exists.
    pub fn has(&self, name: &str) -> bool {
        self.memory.contains_key(name)
    }

    fn named(&self, name: &str) -> &Named {
        let named = self.memory.get(name).unwrap_or_else(|| panic!("no program uses memory `{name}`"));
        assert_ne!(named.newest, Newest::There, "`{name}` was fetched");
        named
    }

    /// Returns memory that is about to be written.
    fn named_mut(&mut self, name: &str) -> &mut Named {
        let named = self.memory.get_mut(name).unwrap_or_else(|| panic!("no program uses memory `{name}`"));
        assert_ne!(named.newest, Newest::There, "`{name}` was fetched");
        named.newest = Newest::Here;
        if let Some(arranged) = &mut named.arranged {
            arranged.valid = false;
        }
        named
    }

    /// Brings the content of memory from a device, where that is newer; what a run leaves in rows of results is
    /// here already.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    ///
    /// # Panics
    ///
    /// Panics if no program uses memory of this name.
    pub fn fetch(&mut self, name: &str) -> Result<(), DeviceError> {
        let named = self.memory.get_mut(name).unwrap_or_else(|| panic!("no program uses memory `{name}`"));
        if named.newest == Newest::There {
            let remote = self.remote.as_mut().expect("a device wrote to it");
            remote.fetch(name, &mut named.buffer)?;
            named.newest = Newest::Everywhere;
        }
        Ok(())
    }

    /// Returns f32 memory.
    ///
    /// # Panics
    ///
    /// Panics if there is no f32 memory of this name, or only a device has its content.
    pub fn f32(&self, name: &str) -> &[f32] {
        let named = self.named(name);
        assert_eq!(named.ty.dtype, DType::F32, "`{name}` holds f32");
        &named.buffer.as_f32()[..named.ty.elements()]
    }

    /// Returns f32 memory for writing.
    ///
    /// # Panics
    ///
    /// Panics if there is no f32 memory of this name, or only a device has its content.
    pub fn f32_mut(&mut self, name: &str) -> &mut [f32] {
        let named = self.named_mut(name);
        assert_eq!(named.ty.dtype, DType::F32, "`{name}` holds f32");
        &mut named.buffer.as_f32_mut()[..named.ty.elements()]
    }

    /// Returns i32 memory.
    ///
    /// # Panics
    ///
    /// Panics if there is no i32 memory of this name, or only a device has its content.
    pub fn i32(&self, name: &str) -> &[i32] {
        let named = self.named(name);
        assert_eq!(named.ty.dtype, DType::I32, "`{name}` holds i32");
        &named.buffer.as_i32()[..named.ty.elements()]
    }

    /// Returns i32 memory for writing.
    ///
    /// # Panics
    ///
    /// Panics if there is no i32 memory of this name, or only a device has its content.
    pub fn i32_mut(&mut self, name: &str) -> &mut [i32] {
        let named = self.named_mut(name);
        assert_eq!(named.ty.dtype, DType::I32, "`{name}` holds i32");
        &mut named.buffer.as_i32_mut()[..named.ty.elements()]
    }

    /// Returns the bytes of all memory, the arena included; of a device with memory of its own, what is there.
    pub fn bytes(&self) -> usize {
        if let Some(remote) = &self.remote {
            return remote.bytes();
        }
        let of = |named: &Named| {
            named.buffer.bytes() + named.arranged.as_ref().map_or(0, |arranged| arranged.buffer.bytes())
        };
        self.arena.bytes() + self.memory.values().map(of).sum::<usize>()
    }

    /// Returns how many programs have run.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Runs `work` in the session's threads.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

fn interpret(program: &mut ReferenceProgram, memory: &mut BTreeMap<String, Named>) {
    program.run(memory);
    for arranged in memory.values_mut().filter_map(|named| named.arranged.as_mut()) {
        arranged.valid = false;
    }
}

#[cfg(test)]
mod tests {
    use super::memory::Buffer;
    use super::{DeviceError, Executable, Session};
    use crate::graph::ops::{Add, Assign, Linear, Scale};
    use crate::graph::{Graph, TensorType};
    use crate::ir::Precision;
    use crate::plan::{ALIGNMENT, plan};

    /// A program that stores `factor x` in `x`, over `elements` elements.
    fn multiply(name: &str, elements: usize, factor: f32) -> Graph {
        let mut graph = Graph::new();
        let x = graph.input(name, TensorType::f32(&[elements]));
        let scaled = graph.add1(Scale { factor }.into(), &[x]);
        graph.add1(Assign.into(), &[x, scaled]);
        graph
    }

    fn load(session: &mut Session, name: &str, graph: &Graph) {
        session.load(name, Executable::Planned(plan(graph, Precision::F32))).expect("small programs fit");
    }

    fn run(session: &mut Session, name: &str) {
        session.run(name).expect("the processor does not fail");
    }

    #[test]
    fn programs_share_memory_of_the_same_name() {
        let mut session = Session::new(1).expect("a thread can start");
        load(&mut session, "double", &multiply("x", 3, 2.0));
        load(&mut session, "triple", &multiply("x", 3, 3.0));
        session.f32_mut("x").copy_from_slice(&[1.0, 2.0, 3.0]);
        run(&mut session, "double");
        run(&mut session, "triple");
        assert_eq!(session.f32("x"), [6.0, 12.0, 18.0]);
        assert_eq!(session.runs(), 2);
    }

    #[test]
    fn memory_is_zero_when_new_and_stays_when_another_program_is_loaded() {
        let mut session = Session::new(1).expect("a thread can start");
        load(&mut session, "double", &multiply("x", 3, 2.0));
        assert_eq!(session.f32("x"), [0.0; 3]);
        session.f32_mut("x").fill(1.0);
        load(&mut session, "other", &multiply("y", 1000, 2.0));
        run(&mut session, "other");
        run(&mut session, "double");
        assert_eq!(session.f32("x"), [2.0; 3]);
    }

    #[test]
    fn devices_and_program_kinds_share_a_session() {
        let mut session = Session::new(1).expect("a thread can start");
        load(&mut session, "planned", &multiply("x", 2, 2.0));
        session.load("plain", Executable::Decomposed(multiply("x", 2, 5.0))).expect("it fits");
        session.f32_mut("x").copy_from_slice(&[1.0, -1.0]);
        run(&mut session, "planned");
        run(&mut session, "plain");
        assert_eq!(session.f32("x"), [10.0, -10.0]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[64, 96]));
        let w = graph.input("w", TensorType::f32(&[96, 96]));
        let y = graph.add1(Linear.into(), &[x, w]);
        let sum = graph.add1(Add.into(), &[x, y]);
        graph.set_output("y", sum);
        let run = |threads: usize| -> Vec<u32> {
            let mut session = Session::new(threads).expect("threads can start");
            load(&mut session, "program", &graph);
            for name in ["x", "w"] {
                let values = session.f32_mut(name);
                values.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.37).sin());
            }
            run(&mut session, "program");
            session.f32("y").iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    /// `y = w (w x)`, so that `w` is worth arranging.
    fn twice() -> Graph {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[1, 2]));
        let w = graph.input("w", TensorType::f32(&[2, 2]));
        let once = graph.add1(Linear.into(), &[x, w]);
        let twice = graph.add1(Linear.into(), &[once, w]);
        graph.set_output("y", twice);
        graph
    }

    #[test]
    fn an_arranged_weight_follows_whoever_writes_the_weight() {
        let mut session = Session::new(1).expect("a thread can start");
        load(&mut session, "twice", &twice());
        // Neither reads `w` in a product; both write it.
        session.load("plain", Executable::Decomposed(multiply_matrix(3.0))).expect("it fits");
        load(&mut session, "planned", &multiply_matrix(2.0));
        session.f32_mut("x").copy_from_slice(&[1.0, 10.0]);
        session.f32_mut("w").copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
        run(&mut session, "twice");
        assert_eq!(session.f32("y"), [1.0, 10.0]);
        session.f32_mut("w").copy_from_slice(&[0.0, 2.0, 1.0, 0.0]);
        run(&mut session, "twice");
        assert_eq!(session.f32("y"), [2.0, 20.0]);
        run(&mut session, "planned");
        run(&mut session, "twice");
        assert_eq!(session.f32("y"), [8.0, 80.0]);
        run(&mut session, "plain");
        run(&mut session, "twice");
        run(&mut session, "twice");
        assert_eq!(session.f32("y"), [72.0, 720.0]);
    }

    /// A program that stores `factor w` in the matrix `w`.
    fn multiply_matrix(factor: f32) -> Graph {
        let mut graph = Graph::new();
        let w = graph.input("w", TensorType::f32(&[2, 2]));
        let scaled = graph.add1(Scale { factor }.into(), &[w]);
        graph.add1(Assign.into(), &[w, scaled]);
        graph
    }

    #[test]
    fn every_call_of_a_profiled_run_is_observed() {
        let mut session = Session::new(1).expect("a thread can start");
        load(&mut session, "double", &multiply("x", 3, 2.0));
        session.f32_mut("x").fill(1.0);
        let mut observed = Vec::new();
        session
            .run_profiled("double", &mut |call, seconds| observed.push((call, seconds >= 0.0)))
            .expect("the processor does not fail");
        assert_eq!(observed, [(0, true), (1, true)]);
        assert_eq!(session.f32("x"), [2.0; 3]);
    }

    #[test]
    fn buffers_are_aligned_zeroed_and_refused_when_too_large() {
        let buffer = Buffer::zeroed(100, "a tensor").expect("a hundred bytes can be had");
        assert_eq!(buffer.start() as usize % ALIGNMENT, 0);
        assert_eq!(buffer.bytes(), 128);
        assert!(buffer.as_f32().iter().all(|&value| value == 0.0));
        for bytes in [usize::MAX, isize::MAX as usize] {
            let refused = Buffer::zeroed(bytes, "a tensor").err();
            assert_eq!(refused, Some(DeviceError::OutOfMemory { bytes, what: "`a tensor`".to_string() }));
        }
    }
}
