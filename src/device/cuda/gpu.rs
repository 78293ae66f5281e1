//! The engine of a GPU: its memory and its programs.
//!
//! Weights, moments and the carry stay on the device. The rows that the host writes between runs are small and lie side
//! by side there, and so do the results that it reads, so that a run makes one copy in, one copy out and one wait. The
//! first run of a program starts its launches one by one, because libraries initialise themselves then. The second run
//! records them as a graph, and from then on a run is one launch of that graph.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::NAME;
use super::cache::CacheFile;
use super::driver::{
    Blas, DeviceEvent, DeviceMemory, Function, Module, OpenCard, Pointer, Recorded, Staging,
};
use super::kernels::{Family, Kernel, ParameterKind, source};
use super::launch::{Argument, ChunkWord, Launch, LaunchStep, Launches, Task, launches};
use super::nvrtc::{Compiler, architecture_for};
use super::probe::Version;
use crate::device::{
    Buffer, DeviceError, Engine, Executable, Memory as HostMemory, MemoryId, Observe, Places,
};
use crate::graph::ops::rope_tables;
use crate::ir::Precision;
use crate::plan::{ALIGNMENT, Location, Plan};

/// The lowest compute capability of devices that multiply in bf16.
const BF16_FROM: Version = Version { major: 8, minor: 0 };

/// Memory above this many bytes is copied by itself: so large a copy takes as long as its bytes do.
const MAX_STAGED: usize = 4 << 20;

/// The largest gap in bytes between two pieces of memory that are copied together: copying the gap takes about as long
/// as starting a second copy.
const MAX_BETWEEN: usize = 64 << 10;

/// A GPU with memory and programs.
pub(super) struct Gpu {
    card: Arc<OpenCard>,
    /// Programs are dropped first: their recordings refer to the memory below.
    programs: BTreeMap<String, GpuProgram>,
    blas: Blas,
    compiler: Compiler,
    /// Architecture that kernels are compiled for, by the compiler's name.
    architecture: String,
    /// Compiled kernels, by their text.
    modules: BTreeMap<String, Module>,
    /// Folder for compiled kernels.
    kernel_cache: Option<PathBuf>,
    blocks: Vec<DeviceBlock>,
    named: BTreeMap<MemoryId, DevicePlace>,
    arena: Option<DeviceMemory>,
    scratch: Option<DeviceMemory>,
}

/// DeviceMemory of several names that lie side by side.
struct DeviceBlock {
    memory: DeviceMemory,
    /// Pinned host memory for copies of the block; memory that is copied by itself has none.
    staging: Option<Staging>,
}

/// Where named memory is on the device.
#[derive(Clone, Copy)]
struct DevicePlace {
    block: usize,
    /// Offset in the block, in bytes.
    start: usize,
    bytes: usize,
    /// Whether a program writes to it.
    written: bool,
    /// Version of the content; absent before the first copy.
    version: Option<u64>,
}

/// How a program uses named memory.
#[derive(Clone, Copy, Default)]
struct Use {
    /// It reads the content from before the run.
    reads: bool,
    writes: bool,
}

/// A loaded program: its launches, and what they need on the device.
struct GpuProgram {
    launches: Launches,
    /// The memory that the plan names, in its order, with its use.
    memory: Vec<(MemoryId, Use)>,
    functions: BTreeMap<Kernel, Function>,
    /// Cosines and sines of each table.
    tables: Vec<[DeviceMemory; 2]>,
    /// Lists of chunks, and whether their addresses are up to date.
    chunks: Vec<DeviceMemory>,
    chunks_valid: bool,
    /// Blocks of results that are copied out after each run.
    results: BTreeSet<usize>,
    runs: u64,
    recorded: Option<Recorded>,
}

/// The kind of memory that decides which block a name is put into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum BlockKind {
    /// Written by the host, read by programs.
    In,
    /// Written by programs, read by the host after each run.
    Out,
    /// Copied by itself, when it has to be.
    Alone,
}

impl Gpu {
    /// Opens the first GPU.
    ///
    /// # Errors
    ///
    /// Returns an error if a library is missing, or the device reports one.
    pub(super) fn open(places: &Places) -> Result<Gpu, DeviceError> {
        let card = OpenCard::open(places)?;
        let compiler = Compiler::load(&places.toolkits)
            .map_err(|why| DeviceError::NoCuda { reason: why.about("NVRTC") })?;
        Ok(Gpu {
            blas: Blas::open(&card)?,
            architecture: architecture_for(card.capability, &compiler.architectures()),
            compiler,
            kernel_cache: places.kernel_cache.clone(),
            modules: BTreeMap::new(),
            blocks: Vec::new(),
            named: BTreeMap::new(),
            arena: None,
            scratch: None,
            programs: BTreeMap::new(),
            card,
        })
    }

    /// Compiles and loads kernels.
    fn functions(&mut self, kernels: &[Kernel]) -> Result<BTreeMap<Kernel, Function>, DeviceError> {
        let mut functions = BTreeMap::new();
        for &family in Family::ALL {
            let of_family: Vec<&Kernel> = kernels.iter().filter(|kernel| kernel.family() == family).collect();
            if of_family.is_empty() {
                continue;
            }
            let text = source(family, kernels);
            if !self.modules.contains_key(&text) {
                let module = self.make_module(family.file(), &text)?;
                self.modules.insert(text.clone(), module);
            }
            for kernel in of_family {
                functions.insert(kernel.clone(), self.modules[&text].function(&kernel.name())?);
            }
        }
        Ok(functions)
    }

    fn make_module(&self, file: &str, text: &str) -> Result<Module, DeviceError> {
        let architecture = &self.architecture;
        let cached =
            CacheFile::of(self.kernel_cache.as_deref(), text, architecture, &self.compiler.version());
        // An image that another driver does not accept is compiled again.
        if let Some(module) = cached.read().and_then(|image| self.card.load(&image, file).ok()) {
            return Ok(module);
        }
        let compiled = self.compiler.compile_text(file, text, architecture).map_err(|reason| {
            DeviceError::Kernel { file: file.to_string(), architecture: architecture.clone(), reason }
        })?;
        let module = self.card.load(&compiled.image, file)?;
        cached.write(&compiled.image);
        Ok(module)
    }

    /// Allocates memory with a content.
    fn upload(&self, values: &[f32]) -> Result<DeviceMemory, DeviceError> {
        let memory = self.card.allocate(4 * values.len(), "rotations")?;
        let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        self.card.write(memory.start(), &words)?;
        Ok(memory)
    }

    /// Refuses products in bf16 where the device has no instructions for them.
    fn check_precision(&self, precision: Precision) -> Result<(), DeviceError> {
        let capability = self.card.capability;
        if precision == Precision::Bf16 && capability < BF16_FROM {
            return Err(DeviceError::NoCuda {
                reason: format!(
                    "the device has compute capability {capability}, and `precision = bf16` needs {BF16_FROM}; \
                     set `train.precision = f32`"
                ),
            });
        }
        Ok(())
    }

    /// Places the memory of a plan that has no place yet.
    fn place(&mut self, plan: &Plan, named: &[(MemoryId, Use)]) -> Result<(), DeviceError> {
        let mut new: BTreeMap<BlockKind, Vec<(MemoryId, &str, usize)>> = BTreeMap::new();
        for (memory, (id, used)) in plan.memory.iter().zip(named) {
            let bytes = memory.ty.bytes();
            let role = match (used.reads, used.writes) {
                _ if bytes > MAX_STAGED => BlockKind::Alone,
                (_, false) => BlockKind::In,
                (false, true) => BlockKind::Out,
                (true, true) => BlockKind::Alone,
            };
            if !self.named.contains_key(id) {
                new.entry(role).or_default().push((*id, &memory.name, bytes));
            }
        }
        for (role, names) in new {
            match role {
                BlockKind::Alone => names.chunks(1).try_for_each(|name| self.add_block(name, false))?,
                BlockKind::In | BlockKind::Out => self.add_block(&names, true)?,
            }
        }
        Ok(())
    }

    /// Allocates a block for names side by side.
    fn add_block(&mut self, names: &[(MemoryId, &str, usize)], staged: bool) -> Result<(), DeviceError> {
        let mut bytes = 0;
        let mut places = Vec::new();
        for (id, _, size) in names {
            let block = self.blocks.len();
            places.push((
                *id,
                DevicePlace { block, start: bytes, bytes: *size, written: false, version: None },
            ));
            bytes += size.next_multiple_of(ALIGNMENT);
        }
        let what = match names {
            [(_, name, _)] => format!("`{name}`"),
            _ => "rows and results".to_string(),
        };
        let memory = self.card.allocate(bytes, &what)?;
        if staged {
            // Blocks are copied whole, with what is between the names.
            self.card.write(memory.start(), &vec![0; bytes / 4])?;
        }
        let staging = if staged { Some(self.card.allocate_staging(bytes, &what)?) } else { None };
        self.blocks.push(DeviceBlock { memory, staging });
        self.named.extend(places);
        Ok(())
    }

    /// Enlarges the memory that programs share while they run, if it is too small. Recordings that refer to the old
    /// memory are dropped.
    fn grow(&mut self, arena_bytes: usize, scratch_bytes: usize) -> Result<(), DeviceError> {
        let wanted =
            [(&mut self.arena, arena_bytes, "activations"), (&mut self.scratch, scratch_bytes, "scratch")];
        for (memory, bytes, what) in wanted {
            if memory.as_ref().map_or(0, DeviceMemory::bytes) >= bytes {
                continue;
            }
            for program in self.programs.values_mut() {
                program.recorded = None;
                program.chunks_valid = false;
            }
            // The old memory goes first: both at once might not fit.
            *memory = None;
            *memory = Some(self.card.allocate(bytes, what)?);
        }
        Ok(())
    }

    /// Starts the copies of memory that a program reads and that is newer on the host.
    fn send(&mut self, program: &GpuProgram, memory: &HostMemory) -> Result<(), DeviceError> {
        let mut staged: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (id, used) in &program.memory {
            let place = self.named.get_mut(id).expect("it was given a place");
            let version = Some(memory.version(*id));
            if !used.reads || place.version == version {
                continue;
            }
            place.version = version;
            let words = &memory.content(*id).words()[..place.bytes / 4];
            let block = &mut self.blocks[place.block];
            match &mut block.staging {
                None => self.card.write(block.memory.start() + place.start as u64, words)?,
                Some(staging) => {
                    staging.words_mut()[place.start / 4..][..words.len()].copy_from_slice(words);
                    staged.entry(place.block).or_default().insert(place.start);
                }
            }
        }
        for (index, starts) in staged {
            let block = &self.blocks[index];
            let staging = block.staging.as_ref().expect("only such blocks are collected");
            let mut places: Vec<&DevicePlace> =
                self.named.values().filter(|place| place.block == index).collect();
            places.sort_by_key(|place| place.start);
            for range in spans(&places, &starts) {
                let to = block.memory.start() + range.start as u64;
                self.card.begin_write(to, staging, range.start / 4, range.len() / 4)?;
            }
        }
        Ok(())
    }

    /// Starts all work of a program; `before` is called before each step.
    fn begin(
        &self,
        program: &GpuProgram,
        mut before: impl FnMut(&LaunchStep) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        for step in &program.launches.steps {
            before(step)?;
            match &step.task {
                Task::Product(product) => {
                    let [a, b, out] =
                        [product.a, product.b, product.out].map(|location| self.pointer(program, location));
                    self.blas.product(product, a, b, out)?;
                }
                Task::Kernel(launch) => {
                    let mut arguments: Vec<u64> =
                        launch.arguments.iter().map(|argument| self.argument(program, argument)).collect();
                    let function = program.functions[&launch.kernel];
                    let name = launch.kernel.name();
                    self.card.launch(function, launch.blocks, launch.threads, &mut arguments, &name)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the lists of chunks, if their addresses are out of date.
    fn write_chunks(&self, program: &mut GpuProgram) -> Result<(), DeviceError> {
        if !program.chunks_valid {
            for (memory, list) in program.chunks.iter().zip(&program.launches.chunks) {
                let words = list.iter().map(|word| match *word {
                    ChunkWord::Address { location, offset_bytes } => {
                        self.pointer(program, location) + offset_bytes
                    }
                    ChunkWord::Size(size) => size,
                });
                let halves: Vec<u32> = words.flat_map(|word| [word as u32, (word >> 32) as u32]).collect();
                self.card.write(memory.start(), &halves)?;
            }
            program.chunks_valid = true;
        }
        Ok(())
    }

    fn pointer(&self, program: &GpuProgram, location: Location) -> Pointer {
        match location {
            Location::Arena(offset) => {
                self.arena.as_ref().expect("a program was loaded").start() + offset as u64
            }
            Location::Named(index) => {
                let place = &self.named[&program.memory[index].0];
                self.blocks[place.block].memory.start() + place.start as u64
            }
        }
    }

    /// Returns the eight bytes of an argument, of which a kernel reads as many as it declares.
    fn argument(&self, program: &GpuProgram, argument: &Argument) -> u64 {
        match *argument {
            Argument::Memory(location) => self.pointer(program, location),
            Argument::Scratch => self.scratch.as_ref().expect("a program was loaded").start(),
            Argument::Cos(table) => program.tables[table][0].start(),
            Argument::Sin(table) => program.tables[table][1].start(),
            Argument::Chunks(list) => program.chunks[list].start(),
            Argument::Null => 0,
            Argument::Size(size) => size,
            Argument::Number(number) => u64::from(number.to_bits()),
        }
    }

    /// Starts all work of a program and measures the seconds of each call.
    fn begin_timed(&self, program: &GpuProgram, observe: Observe<'_>) -> Result<(), DeviceError> {
        let mut calls = Vec::new();
        let mut events: Vec<DeviceEvent> = Vec::new();
        let note = |events: &mut Vec<DeviceEvent>| -> Result<(), DeviceError> {
            let event = self.card.event()?;
            self.card.note(&event)?;
            events.push(event);
            Ok(())
        };
        self.begin(program, |step| {
            if calls.last() != Some(&step.call) {
                calls.push(step.call);
                note(&mut events)?;
            }
            Ok(())
        })?;
        note(&mut events)?;
        self.card.synchronize()?;
        for (call, pair) in calls.into_iter().zip(events.windows(2)) {
            observe(call, pair[0].seconds_to(&pair[1])?);
        }
        Ok(())
    }

    /// Runs a program, which the caller has taken out of the list.
    fn run_program(
        &mut self,
        program: &mut GpuProgram,
        memory: &mut HostMemory,
        observe: Option<Observe<'_>>,
    ) -> Result<(), DeviceError> {
        self.send(program, memory)?;
        self.write_chunks(program)?;
        match (observe, &program.recorded) {
            (Some(observe), _) => self.begin_timed(program, observe)?,
            (None, Some(recorded)) => self.card.replay(recorded)?,
            (None, None) if program.runs == 0 => self.begin(program, |_| Ok(()))?,
            (None, None) => {
                let recorded = self.card.record(|| self.begin(program, |_| Ok(())))?;
                self.card.replay(&recorded)?;
                program.recorded = Some(recorded);
            }
        }
        program.runs += 1;
        for &index in &program.results {
            let block = &mut self.blocks[index];
            let staging = block.staging.as_mut().expect("results have staging memory");
            let count = staging.words().len();
            self.card.begin_read(staging, block.memory.start(), count)?;
        }
        self.card.synchronize()?;
        for (id, _) in program.memory.iter().filter(|(_, used)| used.writes) {
            let place = self.named.get_mut(id).expect("it was given a place");
            if program.results.contains(&place.block) {
                let staging = self.blocks[place.block].staging.as_ref().expect("results have staging memory");
                let words = &staging.words()[place.start / 4..][..place.bytes / 4];
                memory.write(*id).words_mut()[..words.len()].copy_from_slice(words);
                place.version = Some(memory.version(*id));
            } else {
                place.version = Some(memory.written_elsewhere(*id));
            }
        }
        Ok(())
    }
}

impl Engine for Gpu {
    fn load(&mut self, name: &str, program: Executable, memory: &mut HostMemory) -> Result<(), DeviceError> {
        let plan = program.into_plan(NAME)?;
        self.card.bind()?;
        self.check_precision(plan.precision)?;
        let launches = launches(&plan);
        let find = |name: &str| memory.id(name).expect("a session has the memory of its programs");
        let ids = plan.memory.iter().map(|memory| find(&memory.name));
        let memory: Vec<(MemoryId, Use)> = ids.zip(uses(&plan)).collect();
        self.place(&plan, &memory)?;
        self.grow(plan.arena_bytes, launches.scratch_bytes as usize)?;
        launches.steps.iter().filter_map(LaunchStep::launch).for_each(check_arguments);
        let functions = self.functions(&launches.kernels())?;
        let tables = launches.tables.iter().map(|table| {
            let (cos, sin) = rope_tables(table.positions, table.head_width, table.theta);
            Ok([self.upload(&cos)?, self.upload(&sin)?])
        });
        let tables = tables.collect::<Result<Vec<_>, DeviceError>>()?;
        let chunks = launches.chunks.iter().map(|list| self.card.allocate(8 * list.len(), "updates"));
        let chunks = chunks.collect::<Result<Vec<_>, DeviceError>>()?;
        let results: BTreeSet<usize> = memory
            .iter()
            .filter(|(_, used)| used.writes && !used.reads)
            .map(|(id, _)| self.named[id].block)
            .filter(|&block| self.blocks[block].staging.is_some())
            .collect();
        for (id, _) in memory.iter().filter(|(_, used)| used.writes) {
            self.named.get_mut(id).expect("it was given a place").written = true;
        }
        let program = GpuProgram {
            launches,
            memory,
            functions,
            tables,
            chunks,
            chunks_valid: false,
            results,
            runs: 0,
            recorded: None,
        };
        self.programs.insert(name.to_string(), program);
        Ok(())
    }

    fn run(
        &mut self,
        name: &str,
        memory: &mut HostMemory,
        observe: Option<Observe<'_>>,
    ) -> Result<(), DeviceError> {
        self.card.bind()?;
        let (name, mut program) = self.programs.remove_entry(name).expect("the program is loaded");
        let run = self.run_program(&mut program, memory, observe);
        self.programs.insert(name, program);
        run
    }

    fn fetch(&mut self, id: MemoryId, buffer: &mut Buffer) -> Result<(), DeviceError> {
        self.card.bind()?;
        let place = &self.named[&id];
        let from = self.blocks[place.block].memory.start() + place.start as u64;
        self.card.read(&mut buffer.words_mut()[..place.bytes / 4], from)
    }

    fn bytes(&self, _: &HostMemory) -> usize {
        let blocks = self.blocks.iter().map(|block| block.memory.bytes()).sum::<usize>();
        let shared =
            [&self.arena, &self.scratch].into_iter().flatten().map(DeviceMemory::bytes).sum::<usize>();
        let own =
            self.programs.values().flat_map(|program| program.tables.iter().flatten().chain(&program.chunks));
        blocks + shared + own.map(DeviceMemory::bytes).sum::<usize>() + self.blas.bytes()
    }
}

/// Returns how a plan uses each memory that it names.
fn uses(plan: &Plan) -> Vec<Use> {
    let pieces = plan.memory.iter().zip(plan.written());
    pieces.map(|(memory, writes)| Use { reads: memory.is_input, writes }).collect()
}

/// Returns ranges of bytes that cover all places that begin at `starts`. Ranges that lie close together become one,
/// unless a program writes to a place between them.
fn spans(places: &[&DevicePlace], starts: &BTreeSet<usize>) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut joins = false;
    for place in places {
        let end = place.start + place.bytes;
        if !starts.contains(&place.start) {
            joins &= !place.written;
            continue;
        }
        match spans.last_mut() {
            Some(last) if joins && place.start - last.end <= MAX_BETWEEN => last.end = end,
            _ => spans.push(place.start..end),
        }
        joins = true;
    }
    spans
}

/// Checks that a launch has the kinds of arguments that its kernel declares.
fn check_arguments(launch: &Launch) {
    let kinds: Vec<ParameterKind> = launch
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Size(_) => ParameterKind::Size,
            Argument::Number(_) => ParameterKind::Number,
            _ => ParameterKind::Pointer,
        })
        .collect();
    assert_eq!(kinds, launch.kernel.parameters(), "`{}` is given what it takes", launch.kernel.name());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{DevicePlace, MAX_BETWEEN, spans};

    #[test]
    fn what_lies_close_together_is_copied_together() {
        let place = |start: usize, bytes: usize, written: bool| DevicePlace {
            block: 0,
            start,
            bytes,
            written,
            version: None,
        };
        let far = 128 + 16 + MAX_BETWEEN;
        let places = [
            place(0, 8, false),
            place(64, 60, false),
            place(128, 16, false),
            place(far, 4, false),
            place(far + 64, 4, true),
            place(far + 128, 4, false),
        ];
        let places: Vec<&DevicePlace> = places.iter().collect();
        let spans = |starts: &[usize]| spans(&places, &starts.iter().copied().collect::<BTreeSet<_>>());
        assert!(spans(&[]).is_empty());
        assert_eq!(spans(&[64]), vec![64..124]);
        assert_eq!(spans(&[0, 128]), vec![0..144]);
        assert_eq!(spans(&[128, far]), vec![128..far + 4]);
        assert_eq!(spans(&[64, far]), [64..124, far..far + 4], "too far apart");
        assert_eq!(
            spans(&[far, far + 128]),
            [far..far + 4, far + 128..far + 132],
            "something is written between"
        );
    }
}
