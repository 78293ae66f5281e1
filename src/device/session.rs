//! Programs on one device, and the memory that they share.

use std::cell::RefCell;
use std::fmt;

use super::memory::{Buffer, Memory, MemoryId};
use super::{Device, DeviceError, Engine, EngineOptions, Executable, Observe};
use crate::graph::{DType, TensorType};

/// Memory and programs on one device.
///
/// Programs share memory by name (weights, moments, carry, rows). A session knows of its device only the
/// [`Engine`]; what a device has written is fetched when it is read.
pub struct Session {
    memory: Memory,
    engine: RefCell<Box<dyn Engine>>,
    runs: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("memory", &self.memory)
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Starts a session on a device.
    ///
    /// # Errors
    ///
    /// Returns an error if the device cannot be used, or its threads cannot be started.
    pub fn open(device: &dyn Device, options: &EngineOptions) -> Result<Self, DeviceError> {
        Ok(Session::new(device.open(options)?))
    }

    /// Starts a session on an engine.
    pub fn new(engine: Box<dyn Engine>) -> Self {
        Session { memory: Memory::default(), engine: RefCell::new(engine), runs: 0 }
    }

    /// Loads a program under a name and allocates the memory it needs; memory of a name that exists is shared.
    ///
    /// # Errors
    ///
    /// Returns an error if the memory cannot be had, or the device does not run programs of this form.
    pub fn load(&mut self, name: &str, program: Executable) -> Result<(), DeviceError> {
        for (name, ty) in program.memory() {
            self.memory.allocate(name, ty)?;
        }
        self.engine.get_mut().load(name, program, &mut self.memory)
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
        self.engine.get_mut().run(name, &mut self.memory, None)
    }

    /// Runs a program once and calls `observe` with the index of each call and the seconds it took.
    ///
    /// Only plans have calls to observe; graphs run as with [`Session::run`].
    ///
    /// # Errors
    ///
    /// Returns an error if a device fails.
    pub fn run_profiled(&mut self, name: &str, observe: Observe<'_>) -> Result<(), DeviceError> {
        self.engine.get_mut().run(name, &mut self.memory, Some(observe))
    }

    /// Returns the names and types of all memory, sorted by name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &TensorType)> {
        self.memory.names()
    }

    /// Returns whether memory of this name exists.
    pub fn has(&self, name: &str) -> bool {
        self.memory.id(name).is_some()
    }

    /// Returns the type of memory, if there is some of this name.
    pub fn ty(&self, name: &str) -> Option<&TensorType> {
        self.memory.id(name).map(|id| self.memory.ty(id))
    }

    /// Returns f32 memory.
    ///
    /// # Errors
    ///
    /// Returns an error if a device has the content and fails to give it.
    ///
    /// # Panics
    ///
    /// Panics if there is no f32 memory of this name.
    pub fn f32(&self, name: &str) -> Result<&[f32], DeviceError> {
        let (id, elements) = self.find(name, DType::F32);
        Ok(&self.fetched(id)?.as_f32()[..elements])
    }

    /// Returns f32 memory for writing.
    ///
    /// # Errors
    ///
    /// Returns an error if a device has the content and fails to give it.
    ///
    /// # Panics
    ///
    /// Panics if there is no f32 memory of this name.
    pub fn f32_mut(&mut self, name: &str) -> Result<&mut [f32], DeviceError> {
        let (id, elements) = self.find(name, DType::F32);
        self.fetched(id)?;
        Ok(&mut self.memory.write(id).as_f32_mut()[..elements])
    }

    /// Returns i32 memory.
    ///
    /// # Errors
    ///
    /// Returns an error if a device has the content and fails to give it.
    ///
    /// # Panics
    ///
    /// Panics if there is no i32 memory of this name.
    pub fn i32(&self, name: &str) -> Result<&[i32], DeviceError> {
        let (id, elements) = self.find(name, DType::I32);
        Ok(&self.fetched(id)?.as_i32()[..elements])
    }

    /// Returns i32 memory for writing.
    ///
    /// # Errors
    ///
    /// Returns an error if a device has the content and fails to give it.
    ///
    /// # Panics
    ///
    /// Panics if there is no i32 memory of this name.
    pub fn i32_mut(&mut self, name: &str) -> Result<&mut [i32], DeviceError> {
        let (id, elements) = self.find(name, DType::I32);
        self.fetched(id)?;
        Ok(&mut self.memory.write(id).as_i32_mut()[..elements])
    }

    /// Returns the bytes of all memory, that of activations included; of a device with memory of its own, what is
    /// there.
    pub fn bytes(&self) -> usize {
        self.engine.borrow().bytes(&self.memory)
    }

    /// Returns how many programs have run.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Finds memory of a type and says how many elements it has.
    fn find(&self, name: &str, dtype: DType) -> (MemoryId, usize) {
        let id = self.memory.id(name).unwrap_or_else(|| panic!("no program uses memory `{name}`"));
        let ty = self.memory.ty(id);
        assert_eq!(ty.dtype, dtype, "`{name}` holds {}", ty.dtype.name());
        (id, ty.elements())
    }

    /// Returns the content of memory, which the device gives where only it has that.
    fn fetched(&self, id: MemoryId) -> Result<&Buffer, DeviceError> {
        self.memory.fetched(id, |buffer| self.engine.borrow_mut().fetch(id, buffer))
    }
}

#[cfg(test)]
mod tests {
    use crate::device::cpu::Cpu;
    use crate::device::reference::Reference;
    use crate::device::{Device, DeviceError, EngineOptions, Executable, Session};
    use crate::graph::ops::{Add, Assign, Linear, Scale};
    use crate::graph::{Graph, TensorType};
    use crate::ir::Precision;
    use crate::plan::plan;

    /// A program that stores `factor x` in `x`, over `elements` elements.
    fn multiply(name: &str, elements: usize, factor: f32) -> Graph {
        let mut graph = Graph::new();
        let x = graph.input(name, TensorType::f32(&[elements]));
        let scaled = graph.add1(Scale { factor }.into(), &[x]);
        graph.add1(Assign.into(), &[x, scaled]);
        graph
    }

    fn session(threads: usize) -> Session {
        Session::open(&Cpu, &EngineOptions { threads }).expect("threads can start")
    }

    fn load(session: &mut Session, name: &str, graph: &Graph) {
        session.load(name, Executable::Plan(plan(graph, Precision::F32))).expect("small programs fit");
    }

    fn run(session: &mut Session, name: &str) {
        session.run(name).expect("the processor does not fail");
    }

    #[test]
    fn programs_share_memory_of_the_same_name() {
        let mut session = session(1);
        load(&mut session, "double", &multiply("x", 3, 2.0));
        load(&mut session, "triple", &multiply("x", 3, 3.0));
        session.f32_mut("x").expect("it is on the host").copy_from_slice(&[1.0, 2.0, 3.0]);
        run(&mut session, "double");
        run(&mut session, "triple");
        assert_eq!(session.f32("x").expect("it is on the host"), [6.0, 12.0, 18.0]);
        assert_eq!(session.runs(), 2);
    }

    #[test]
    fn memory_is_zero_when_new_and_stays_when_another_program_is_loaded() {
        let mut session = session(1);
        load(&mut session, "double", &multiply("x", 3, 2.0));
        assert_eq!(session.f32("x").expect("it is on the host"), [0.0; 3]);
        session.f32_mut("x").expect("it is on the host").fill(1.0);
        load(&mut session, "other", &multiply("y", 1000, 2.0));
        run(&mut session, "other");
        run(&mut session, "double");
        assert_eq!(session.f32("x").expect("it is on the host"), [2.0; 3]);
    }

    #[test]
    fn a_program_of_another_form_is_refused() {
        let message =
            session(1).load("plain", Executable::Graph(multiply("x", 2, 5.0))).expect_err("it is a graph");
        assert_eq!(
            message.to_string(),
            "the device `cpu` does not run graphs; compile the program for this device"
        );
        let mut session = Session::open(&Reference, &EngineOptions::default()).expect("it needs nothing");
        let plan = Executable::Plan(plan(&multiply("x", 2, 5.0), Precision::F32));
        assert_eq!(
            session.load("planned", plan),
            Err(DeviceError::Form { device: Reference.name(), form: "plans" })
        );
        session.load("plain", Executable::Graph(multiply("x", 2, 5.0))).expect("it fits");
        session.f32_mut("x").expect("it is on the host").copy_from_slice(&[1.0, -1.0]);
        run(&mut session, "plain");
        assert_eq!(session.f32("x").expect("it is on the host"), [5.0, -5.0]);
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
            let mut session = session(threads);
            load(&mut session, "program", &graph);
            for name in ["x", "w"] {
                let values = session.f32_mut(name).expect("it is on the host");
                values.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.37).sin());
            }
            run(&mut session, "program");
            session.f32("y").expect("it is on the host").iter().map(|value| value.to_bits()).collect()
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
        let mut session = session(1);
        load(&mut session, "twice", &twice());
        // Neither reads `w` in a product; both write it.
        load(&mut session, "plain", &multiply_matrix(3.0));
        load(&mut session, "planned", &multiply_matrix(2.0));
        session.f32_mut("x").expect("it is on the host").copy_from_slice(&[1.0, 10.0]);
        session.f32_mut("w").expect("it is on the host").copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
        run(&mut session, "twice");
        assert_eq!(session.f32("y").expect("it is on the host"), [1.0, 10.0]);
        session.f32_mut("w").expect("it is on the host").copy_from_slice(&[0.0, 2.0, 1.0, 0.0]);
        run(&mut session, "twice");
        assert_eq!(session.f32("y").expect("it is on the host"), [2.0, 20.0]);
        run(&mut session, "planned");
        run(&mut session, "twice");
        assert_eq!(session.f32("y").expect("it is on the host"), [8.0, 80.0]);
        run(&mut session, "plain");
        run(&mut session, "twice");
        run(&mut session, "twice");
        assert_eq!(session.f32("y").expect("it is on the host"), [72.0, 720.0]);
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
        let mut session = session(1);
        load(&mut session, "double", &multiply("x", 3, 2.0));
        session.f32_mut("x").expect("it is on the host").fill(1.0);
        let mut observed = Vec::new();
        session
            .run_profiled("double", &mut |call, seconds| observed.push((call, seconds >= 0.0)))
            .expect("the processor does not fail");
        assert_eq!(observed, [(0, true), (1, true)]);
        assert_eq!(session.f32("x").expect("it is on the host"), [2.0; 3]);
    }
}
