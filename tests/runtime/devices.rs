//! Devices are behind one trait: one that a program brings along runs what the others run.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::{
    Buffer, Engine, EngineOptions, Executable, Form, Memory, MemoryId, Observe, Status,
};
use hrmc::{
    Checkpoint, Data, Device, DeviceError, Question, Run, SolveOptions, Spec, TrainOptions, Training,
};
use tempfile::TempDir;

/// How often each function of an engine was called.
#[derive(Debug, Default)]
struct Counts {
    opened: AtomicUsize,
    loaded: AtomicUsize,
    run: AtomicUsize,
    fetched: AtomicUsize,
}

/// Counts calls and leaves the work to the CPU. As a device with memory of its own would, it keeps what a program has
/// written until somebody reads it.
#[derive(Debug, Default)]
struct Counting {
    counts: Arc<Counts>,
}

impl Device for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn about(&self) -> &'static str {
        "The CPU, counted"
    }

    fn form(&self) -> Form {
        Form::Plan
    }

    fn status(&self) -> Status {
        Cpu.status()
    }

    fn open(&self, options: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError> {
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        let engine = CountingEngine {
            cpu: Cpu.open(options)?,
            own: Memory::default(),
            names: Vec::new(),
            counts: Arc::clone(&self.counts),
        };
        Ok(Box::new(engine))
    }
}

struct CountingEngine {
    cpu: Box<dyn Engine>,
    /// The memory of the device.
    own: Memory,
    /// Each piece of memory: that of the session, our own, the version that we have, and whether we have written it.
    names: Vec<Piece>,
    counts: Arc<Counts>,
}

struct Piece {
    session: MemoryId,
    own: MemoryId,
    version: Option<u64>,
    own_version: u64,
}

impl Engine for CountingEngine {
    fn load(&mut self, name: &str, program: Executable, memory: &mut Memory) -> Result<(), DeviceError> {
        self.counts.loaded.fetch_add(1, Ordering::Relaxed);
        for (name, ty) in program.memory() {
            let session = memory.id(name).expect("a session has the memory of its programs");
            let own = self.own.allocate(name, ty)?;
            if self.names.iter().all(|piece| piece.session != session) {
                self.names.push(Piece { session, own, version: None, own_version: 0 });
            }
        }
        self.cpu.load(name, program, &mut self.own)
    }

    fn run(
        &mut self,
        name: &str,
        memory: &mut Memory,
        observe: Option<Observe<'_>>,
    ) -> Result<(), DeviceError> {
        self.counts.run.fetch_add(1, Ordering::Relaxed);
        for piece in &mut self.names {
            let version = memory.version(piece.session);
            if piece.version != Some(version) {
                let words = memory.content(piece.session).words().to_vec();
                self.own.write(piece.own).words_mut().copy_from_slice(&words);
                piece.version = Some(version);
            }
            piece.own_version = self.own.version(piece.own);
        }
        self.cpu.run(name, &mut self.own, observe)?;
        for piece in &mut self.names {
            if self.own.version(piece.own) != piece.own_version {
                piece.version = Some(memory.written_elsewhere(piece.session));
            }
        }
        Ok(())
    }

    fn fetch(&mut self, id: MemoryId, buffer: &mut Buffer) -> Result<(), DeviceError> {
        self.counts.fetched.fetch_add(1, Ordering::Relaxed);
        let piece = self.names.iter().find(|piece| piece.session == id).expect("it was loaded");
        buffer.words_mut().copy_from_slice(self.own.content(piece.own).words());
        Ok(())
    }

    fn bytes(&self, memory: &Memory) -> usize {
        memory.bytes()
    }
}

/// Trains a small quickstart; returns the run and a puzzle.
fn trained(device: &Arc<dyn Device>) -> (TempDir, Run, Question) {
    let overrides = ["train.data.train=64", "train.data.test=8", "train.steps=5"];
    let spec = Spec::open("specs/quickstart.hrm", &overrides).expect("the spec is shipped");
    let data = Data::of(&spec, ".".as_ref()).expect("such puzzles exist");
    let options = TrainOptions { device: Arc::clone(device), threads: 2, ..TrainOptions::default() };
    let mut training = Training::new(&spec, data, options).expect("it fits");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let run = Run::create(folder.path(), &training).expect("the disk has room");
    training.run(&run, |_| ControlFlow::Continue(())).expect("the device does not fail");
    let question = Question::new(training.data().test().inputs(0).collect());
    (folder, run, question)
}

/// Trains a small quickstart and answers a puzzle; returns the checkpoint's weights and the answer.
fn quickstart(device: Arc<dyn Device>) -> (Vec<u8>, Vec<i32>) {
    let (_folder, run, question) = trained(&device);
    let options = SolveOptions { device, threads: 2, ..SolveOptions::default() };
    let mut solver = run.solver(Checkpoint::Last, options).expect("there is a checkpoint");
    let answers = solver.solve(&[question]).expect("it fits");
    let weights = std::fs::read(run.path().join("last/weights.safetensors")).expect("it was saved");
    (weights, answers[0].tokens().to_vec())
}

#[test]
fn a_trace_has_the_weights_of_its_solver_though_the_files_are_gone() {
    let (folder, run, question) = trained(&(Arc::new(Cpu) as Arc<dyn Device>));
    let solver = || run.solver(Checkpoint::Last, SolveOptions::default()).expect("there is a checkpoint");
    let (mut first, mut second) = (solver(), solver());
    let expected = first.trace(&question, 2).expect("it fits");
    folder.close().expect("the run can be removed");
    assert_eq!(second.trace(&question, 2).expect("it needs no file"), expected);
    assert!(expected.iter().all(|update| update.moved > 0.0 && update.moved.is_finite()));
}

#[test]
fn a_device_of_the_caller_runs_the_quickstart() {
    let counting = Counting::default();
    let counts = Arc::clone(&counting.counts);
    assert_eq!(quickstart(Arc::new(counting)), quickstart(Arc::new(Cpu)), "both compute the same bits");
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    // The trainer and the solver.
    assert_eq!(count(&counts.opened), 2);
    // Training and evaluation, then evaluation alone.
    assert_eq!(count(&counts.loaded), 3);
    // Five steps, the segments of one batch of eight, and those of one answer.
    let segments = Spec::quickstart().model().max_segments();
    assert_eq!(count(&counts.run), 5 + segments + segments);
    assert!(count(&counts.fetched) > 0, "results come when they are read");
}
