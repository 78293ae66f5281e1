//! The CUDA kernels, which an emulator runs on the CPU (tier T0).
//!
//! The kernels are compiled as C++ behind `cuda_on_host.h`. What they mean is tested, in three orders of
//! their threads; that they compile for a device, and how fast they are there, is not. Without a C++ compiler the
//! tests say so and pass.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt::Write;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;

use half::bf16;
use hrmc::internals::device::cuda::kernels::{
    COMMON, Family, Kernel, ParameterKind, TENSOR, text_with_entries,
};
use hrmc::internals::device::cuda::launch::{
    Argument, ChunkWord, Element, Launch, Launches, Product, ProductKind, Task, launches,
};
use hrmc::internals::graph::ops::rope_tables;
use hrmc::internals::plan::{Location, Plan};
use libloading::Library;

/// The bits of named memory.
pub type Contents = BTreeMap<String, Vec<f32>>;

/// How the emulator orders threads.
pub const ORDERS: [c_int; 3] = [0, 1, 2];

/// Words on each side of every piece of memory that no kernel may write.
pub const GUARD: usize = 4096;
/// What these words are, as a number 1e30: what reads it is far off, and what writes a result of it writes other bits.
pub const GUARDED: u32 = 0x7149_f2ca;
/// What memory holds that nobody has written: NaN.
const UNWRITTEN: u32 = u32::MAX;

/// Compiled kernels.
pub struct Emulator {
    /// Copies of one library. Each has a state of its own and runs one launch at a time.
    copies: Vec<Mutex<Library>>,
}

/// Returns all kernels, one text.
pub fn text_of_kernels() -> String {
    let kernels = Kernel::all();
    let families = Family::ALL
        .iter()
        .map(|&family| format!("#line 1 \"{}\"\n{}", family.file(), text_with_entries(family, &kernels)));
    let families = families.collect::<Vec<_>>().join("\n");
    format!("#line 1 \"common.cu\"\n{COMMON}\n#line 1 \"tensor.cu\"\n{TENSOR}\n{families}")
}

impl Emulator {
    /// Compiles a text of kernels, into the folder `cache` and only if it is not there. Returns `None` if there is no
    /// C++ compiler.
    pub fn of(kernels: &str, cache: &str) -> Option<Emulator> {
        Emulator::with_copies(1, kernels, cache)
    }

    fn with_copies(copies: usize, kernels: &str, cache: &str) -> Option<Emulator> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator");
        let mut text = format!("#include \"cuda_on_host.h\"\n{kernels}\n");
        for kernel in Kernel::all() {
            let name = kernel.name();
            let _ = writeln!(
                text,
                "extern \"C\" const char *emulate_{name}(uint64_t blocks, unsigned x, unsigned y, void **values, \
                 int order) {{ return emulator::launch([](void **values) {{ emulator::call({name}, values); }}, \
                 blocks, x, y, values, order); }}"
            );
        }
        let headers = ["cuda_on_host.h", "tensor_on_host.h"].map(|header| {
            fs::read_to_string(format!("{folder}/{header}")).expect("the headers are checked in")
        });
        let mut hasher = DefaultHasher::new();
        (&text, headers).hash(&mut hasher);
        let stem = Path::new(cache).join(format!("emulated-{:016x}", hasher.finish()));
        let library = stem.with_extension("so");
        // Tests run beside each other: each has a folder of its own, and whoever is last renames the same content.
        let own_folder = tempfile::tempdir_in(cache).expect("the folder for tests can be written");
        if !library.exists() {
            let own = |extension: &str| own_folder.path().join("kernels").with_extension(extension);
            fs::write(own("cpp"), text).expect("the folder for tests can be written");
            let compiler = Command::new("g++")
                .args([
                    "-std=c++17",
                    "-O1",
                    "-ffp-contract=off",
                    "-w",
                    "-shared",
                    "-fPIC",
                    "-I",
                    folder,
                    "-o",
                ])
                .args([own("so"), own("cpp")])
                .output();
            let Ok(output) = compiler else {
                eprintln!("T0 did not run: there is no C++ compiler `g++` to emulate CUDA with");
                return None;
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "the kernels compile as C++: {said}");
            fs::rename(own("so"), &library).expect("the folder for tests can be written");
        }
        let copies = (0..copies).map(|copy| {
            // The system loads a file once. So each further copy has a file of its own.
            let library = match copy {
                0 => library.clone(),
                copy => {
                    let file = own_folder.path().join(format!("{copy}.so"));
                    fs::copy(&library, &file).expect("the folder for tests can be written");
                    file
                }
            };
            // SAFETY: the library is the one that was made above; nothing runs when it is loaded.
            Mutex::new(unsafe { Library::new(&library) }.expect("a library that was compiled can be loaded"))
        });
        Some(Emulator { copies: copies.collect() })
    }

    /// Returns a copy of the library that runs nothing; waits for one if all run something.
    pub(crate) fn free_copy(&self) -> MutexGuard<'_, Library> {
        for copy in &self.copies {
            match copy.try_lock() {
                Ok(copy) => return copy,
                Err(TryLockError::Poisoned(copy)) => return copy.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.copies[0].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a plan once on contents by name, in one order of threads.
    ///
    /// # Errors
    ///
    /// Returns what the emulator or the guards around memory find.
    pub fn run(&self, plan: &Plan, contents: &Contents, order: c_int) -> Result<Contents, String> {
        let all = launches(plan);
        let mut memory = Memory::of(plan, &all, contents);
        let library = self.free_copy();
        for step in &all.steps {
            match &step.task {
                Task::Kernel(launch) => memory.launch(&library, launch, order)?,
                Task::Product(product) => memory.product(product),
            }
        }
        memory.check_guards()?;
        let named = plan.memory.iter().zip(&memory.named);
        Ok(named.map(|(memory, guarded)| (memory.name.clone(), guarded.content())).collect())
    }
}

/// Returns the kernels of hrmc, compiled once in this process, with `cache` as for [`Emulator::of`].
pub fn emulator(cache: &str) -> Option<&'static Emulator> {
    static EMULATOR: OnceLock<Option<Emulator>> = OnceLock::new();
    // As many tests run at the same time, if nobody says otherwise.
    let copies = || thread::available_parallelism().map_or(1, usize::from);
    EMULATOR.get_or_init(|| Emulator::with_copies(copies(), &text_of_kernels(), cache)).as_ref()
}

/// Words between guards.
struct Guarded(Vec<u32>);

impl Guarded {
    fn of(words: Vec<u32>) -> Guarded {
        let guard = || std::iter::repeat_n(GUARDED, GUARD);
        Guarded(guard().chain(words).chain(guard()).collect())
    }

    fn content(&self) -> Vec<f32> {
        self.0[GUARD..self.0.len() - GUARD].iter().map(|&word| f32::from_bits(word)).collect()
    }

    fn start(&mut self, offset_bytes: usize) -> *mut c_void {
        self.0[GUARD + offset_bytes / 4..].as_mut_ptr().cast()
    }

    fn is_whole(&self) -> bool {
        let end = self.0.len() - GUARD;
        self.0[..GUARD].iter().chain(&self.0[end..]).all(|&word| word == GUARDED)
    }
}

/// Memory of one run.
struct Memory {
    named: Vec<Guarded>,
    arena: Guarded,
    scratch: Guarded,
    /// Cosines and sines of each table.
    tables: Vec<[Guarded; 2]>,
    /// Lists of chunks.
    chunks: Vec<Vec<u64>>,
}

impl Memory {
    fn of(plan: &Plan, all: &Launches, contents: &Contents) -> Memory {
        let words = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        let named = plan.memory.iter().map(|memory| {
            let content = contents.get(&memory.name);
            Guarded::of(content.map_or_else(|| vec![UNWRITTEN; memory.ty.elements()], |values| words(values)))
        });
        let tables = all.tables.iter().map(|table| {
            let (cos, sin) = rope_tables(table.positions, table.head_width, table.theta);
            [cos, sin].map(|values| Guarded::of(words(&values)))
        });
        let mut memory = Memory {
            named: named.collect(),
            arena: Guarded::of(vec![UNWRITTEN; plan.arena_bytes / 4]),
            scratch: Guarded::of(vec![UNWRITTEN; all.scratch_bytes as usize / 4]),
            tables: tables.collect(),
            chunks: Vec::new(),
        };
        let mut word = |word: &ChunkWord| match *word {
            ChunkWord::Address { location, offset_bytes } => memory.start(location) as u64 + offset_bytes,
            ChunkWord::Size(size) => size,
        };
        memory.chunks = all.chunks.iter().map(|words| words.iter().map(&mut word).collect()).collect();
        memory
    }

    fn launch(&mut self, library: &Library, launch: &Launch, order: c_int) -> Result<(), String> {
        let name = launch.kernel.name();
        // Every argument takes eight bytes, of which a kernel reads as many as it declares.
        let mut values: Vec<u64> = Vec::new();
        let mut kinds = Vec::new();
        for &argument in &launch.arguments {
            let (kind, value) = match argument {
                Argument::Size(size) => (ParameterKind::Size, size),
                Argument::Number(number) => (ParameterKind::Number, u64::from(number.to_bits())),
                Argument::Null => (ParameterKind::Pointer, 0),
                Argument::Memory(location) => pointer(self.start(location)),
                Argument::Scratch => pointer(self.scratch.start(0)),
                Argument::Chunks(list) => pointer(self.chunks[list].as_mut_ptr().cast()),
                Argument::Cos(table) => pointer(self.tables[table][0].start(0)),
                Argument::Sin(table) => pointer(self.tables[table][1].start(0)),
            };
            kinds.push(kind);
            values.push(value);
        }
        assert_eq!(kinds, launch.kernel.parameters(), "`{name}` is given what it takes");
        let mut pointers: Vec<*mut u64> = values.iter_mut().map(std::ptr::from_mut).collect();
        type Emulate = unsafe extern "C" fn(u64, c_uint, c_uint, *mut *mut u64, c_int) -> *const c_char;
        // SAFETY: the wrapper of each kernel is compiled with this type.
        let emulate = unsafe { library.get::<Emulate>(format!("emulate_{name}\0").as_bytes()) };
        let emulate = emulate.expect("every kernel has a wrapper");
        let [x, y] = launch.threads;
        // SAFETY: the arguments are as many and of the kinds that the kernel takes, and pointers are to memory that
        // lives until the end of the run. The lock on the library keeps others out.
        let problem = unsafe { emulate(launch.blocks, x, y, pointers.as_mut_ptr(), order) };
        if problem.is_null() {
            return Ok(());
        }
        // SAFETY: the emulator returns a text that lives until the next launch.
        let problem = unsafe { CStr::from_ptr(problem) }.to_string_lossy().into_owned();
        Err(format!("`{name}`: {problem}"))
    }

    /// Returns where a place starts.
    fn start(&mut self, location: Location) -> *mut c_void {
        match location {
            Location::Named(index) => self.named[index].start(0),
            Location::Arena(offset) => self.arena.start(offset),
        }
    }

    /// Makes a product as the library does on a device, term by term.
    fn product(&mut self, product: &Product) {
        let [rows, columns, terms] = [product.rows, product.columns, product.terms].map(|size| size as usize);
        let [a, b, out] = [product.a, product.b, product.out].map(|place| self.start(place));
        let [a_row, a_term] = match product.kind {
            ProductKind::Nt | ProductKind::Nn => [terms, 1],
            ProductKind::Tn => [1, rows],
        };
        let [b_column, b_term] = match product.kind {
            ProductKind::Nt => [terms, 1],
            ProductKind::Nn | ProductKind::Tn => [1, columns],
        };
        for row in 0..rows {
            for column in 0..columns {
                let mut sum = 0.0;
                for term in 0..terms {
                    // SAFETY: both are within factors of as many elements as the sizes say, which the plan holds there.
                    let [left, right] = unsafe {
                        [
                            read(a, product.factors, row * a_row + term * a_term),
                            read(b, product.factors, column * b_column + term * b_term),
                        ]
                    };
                    sum += left * right;
                }
                // SAFETY: the result has `rows * columns` elements.
                unsafe { write(out, product.result, row * columns + column, sum) };
            }
        }
    }

    fn check_guards(&self) -> Result<(), String> {
        let tables = self.tables.iter().flatten();
        let all = self.named.iter().chain([&self.arena, &self.scratch]).chain(tables);
        match all.into_iter().position(|guarded| !guarded.is_whole()) {
            None => Ok(()),
            Some(index) => Err(format!("something was written outside of memory {index}")),
        }
    }
}

fn pointer(start: *mut c_void) -> (ParameterKind, u64) {
    (ParameterKind::Pointer, start as u64)
}

/// Reads an element.
///
/// # Safety
///
/// There is such an element at `start`.
unsafe fn read(start: *const c_void, element: Element, at: usize) -> f32 {
    match element {
        // SAFETY: as promised.
        Element::F32 => unsafe { *start.cast::<f32>().add(at) },
        // SAFETY: as promised.
        Element::Bf16 => unsafe { *start.cast::<bf16>().add(at) }.to_f32(),
        Element::I32 => unreachable!("products have no whole numbers"),
    }
}

/// Writes an element, rounded to the nearest.
///
/// # Safety
///
/// There is room for such an element at `start`.
unsafe fn write(start: *mut c_void, element: Element, at: usize, value: f32) {
    match element {
        // SAFETY: as promised.
        Element::F32 => unsafe { *start.cast::<f32>().add(at) = value },
        // SAFETY: as promised.
        Element::Bf16 => unsafe { *start.cast::<bf16>().add(at) = bf16::from_f32(value) },
        Element::I32 => unreachable!("products have no whole numbers"),
    }
}
