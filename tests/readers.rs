//! Reads many damaged inputs with each reader, and reports panics, long times and too much memory.
//!
//! `cargo test --test readers` tries a thousand inputs of each reader, or more. The long run is
//! `cargo test --release --test readers -- --inputs 1000000`, with `--reader NAME` for one of them. An input follows from
//! its number: `--reader NAME --only NUMBER` reads a single one and writes it to `target/tmp`.
//!
//! This program has a `main` of its own, since its allocator counts what each thread holds.

#![allow(clippy::disallowed_methods, reason = "the inputs are files, and reading them is timed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Seek, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hrmc_fuzz_entry::mutate::{input, joined, split};
use hrmc_fuzz_entry::readers::{READERS, Reader, fresh, prepare};

/// Counts the bytes that the thread holds now, and the most that it has held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
    /// What the last panic of the thread said.
    static SAID: Cell<String> = const { Cell::new(String::new()) };
}

fn took(bytes: usize) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get().wrapping_add(bytes));
        // A thread may free what another one took.
        let now = if held.get() > usize::MAX / 2 { 0 } else { held.get() };
        let _ = MOST.try_with(|most| most.set(most.get().max(now)));
    });
}

fn gave(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub(bytes)));
}

// SAFETY: everything is passed on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: `start` came from `System` with this layout.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks are there for a moment.
        took(size);
        gave(layout.size());
        // SAFETY: as for `dealloc`; the caller answers for the size.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Seconds that one input may take.
const PATIENCE_S: f64 = 5.0;

/// How many times slower a build without optimization is, on a busy machine.
const SLOWNESS: f64 = if cfg!(debug_assertions) { 4.0 } else { 1.0 };

/// Faults that are reported for each reader.
const MOST_FAULTS: usize = 20;

/// What the command line asks for.
struct Wanted {
    inputs: Option<u64>,
    reader: Option<String>,
    only: Option<u64>,
    threads: usize,
}

impl Wanted {
    /// Reads the arguments. What `cargo test` gives to every test program is left alone.
    fn of(mut arguments: impl Iterator<Item = String>) -> Wanted {
        let mut wanted = Wanted { inputs: None, reader: None, only: None, threads: 2 };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let number = arguments.next().and_then(|number| number.parse().ok());
                number.unwrap_or_else(|| panic!("`{argument}` takes a whole number"))
            };
            match argument.as_str() {
                "--inputs" => wanted.inputs = Some(number()),
                "--only" => wanted.only = Some(number()),
                "--threads" => wanted.threads = number() as usize,
                "--reader" => wanted.reader = arguments.next(),
                _ => {}
            }
        }
        wanted
    }
}

/// What the inputs of a reader have shown.
#[derive(Default)]
struct Found {
    faults: Vec<String>,
    longest_s: f64,
    most_bytes: usize,
}

fn main() -> ExitCode {
    let wanted = Wanted::of(std::env::args().skip(1));
    let names: Vec<&str> = READERS.iter().map(|reader| reader.name).collect();
    if let Some(name) = wanted.reader.as_deref().filter(|name| !names.contains(name)) {
        println!("there is no reader `{name}`; there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let page = fs::read_to_string("docs/limits.md").expect("it is checked in");
    let table: Vec<String> = READERS.iter().map(memory).collect();
    if !page.contains(&table.join("\n")) {
        println!("expected in `docs/limits.md`:\n{}", table.join("\n"));
        return ExitCode::FAILURE;
    }
    // What a panic says is written with its input.
    panic::set_hook(Box::new(|panic| SAID.set(panic.to_string().replace('\n', " "))));
    let mut failed = false;
    for reader in
        READERS.iter().filter(|reader| wanted.reader.as_ref().is_none_or(|name| name == reader.name))
    {
        let start = Instant::now();
        let found = run(reader, &wanted);
        println!(
            "{}: {} inputs in {:.1} s, at most {:.0} ms and {} KiB for one; {} faults",
            reader.name,
            if wanted.only.is_some() { 1 } else { wanted.inputs.unwrap_or(reader.few) },
            start.elapsed().as_secs_f64(),
            found.longest_s * 1e3,
            found.most_bytes >> 10,
            found.faults.len()
        );
        found.faults.iter().take(MOST_FAULTS).for_each(|fault| println!("  {fault}"));
        failed |= !found.faults.is_empty();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Returns the row of a reader in the table of `docs/limits.md`.
fn memory(reader: &Reader) -> String {
    format!("| `{}` | {} MiB | {} |", reader.name, reader.memory.bytes >> 20, reader.memory.for_each_byte)
}

/// Returns the valid inputs of a reader.
fn corpus(reader: &Reader) -> Vec<Vec<Vec<u8>>> {
    let mut folders = vec![Path::new("fuzz/corpus").join(reader.name)];
    if reader.name == "spec" {
        folders.extend(["specs", "tests/fixtures/broken", "tests/fixtures/err"].map(PathBuf::from));
    }
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| reader.name != "spec" || path.extension().is_none_or(|extension| extension == "hrm"))
        .collect();
    files.sort();
    let read = |path: PathBuf| split(&fs::read(path).expect("it can be read"), reader.parts);
    let mut inputs: Vec<_> = files.into_iter().map(read).collect();
    inputs.extend(fresh(reader));
    assert!(!inputs.is_empty(), "the corpus of `{}` is empty", reader.name);
    inputs
}

/// The place where a thread notes which input it reads, for when the process does not live to say it.
fn note(reader: &Reader, thread: usize) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.{thread}", reader.name))
}

fn run(reader: &Reader, wanted: &Wanted) -> Found {
    let corpus = corpus(reader);
    if let Some(number) = wanted.only {
        let parts = input(reader, &corpus, number);
        let path = note(reader, 0).with_extension("input");
        fs::write(&path, joined(&parts)).expect("the folder for tests can be written");
        println!("input {number} of `{}` is in `{}`", reader.name, path.display());
        let found = Mutex::new(Found::default());
        prepare(reader);
        exercise(reader, &parts, number, &found);
        return found.into_inner().expect("no thread panics");
    }
    let inputs = wanted.inputs.unwrap_or(reader.few);
    let next = AtomicU64::new(0);
    let found = Mutex::new(Found::default());
    // Which input each thread reads, and since when, in milliseconds of the run.
    let readings: Vec<[AtomicU64; 2]> = (0..wanted.threads).map(|_| Default::default()).collect();
    let start = Instant::now();
    let now_ms = || start.elapsed().as_millis() as u64;
    thread::scope(|scope| {
        let workers: Vec<_> = readings
            .iter()
            .enumerate()
            .map(|(thread, reading)| {
                let (corpus, next, found) = (&corpus, &next, &found);
                let work = move || {
                    prepare(reader);
                    let mut note =
                        fs::File::create(note(reader, thread)).expect("the folder for tests can be written");
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= inputs {
                            break;
                        }
                        note.rewind()
                            .and_then(|()| write!(note, "{number:<20}"))
                            .expect("there is room for a number");
                        reading[1].store(now_ms(), Ordering::Relaxed);
                        reading[0].store(number + 1, Ordering::Relaxed);
                        exercise(reader, &input(reader, corpus, number), number, found);
                    }
                    reading[0].store(0, Ordering::Relaxed);
                };
                thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, work).expect("a thread starts")
            })
            .collect();
        // An input that never ends would hide itself.
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            for [number, since_ms] in &readings {
                let (number, since_ms) = (number.load(Ordering::Relaxed), since_ms.load(Ordering::Relaxed));
                if number > 0 && now_ms().saturating_sub(since_ms) as f64 > 4e3 * PATIENCE_S * SLOWNESS {
                    println!("{}: input {} does not end", reader.name, number - 1);
                    std::process::exit(1);
                }
            }
        }
    });
    (0..wanted.threads).for_each(|thread| drop(fs::remove_file(note(reader, thread))));
    found.into_inner().expect("no thread panics")
}

/// Reads one input and notes what is wrong with how that went.
fn exercise(reader: &Reader, parts: &[Vec<u8>], number: u64, found: &Mutex<Found>) {
    let length: usize = parts.iter().map(Vec::len).sum();
    let before = HELD.get();
    MOST.set(before);
    let start = Instant::now();
    let outcome = panic::catch_unwind(|| (reader.read)(parts));
    let elapsed_s = start.elapsed().as_secs_f64();
    let held = MOST.get().saturating_sub(before);
    let bound = reader.memory.bytes + reader.memory.for_each_byte * length;
    let mut found = found.lock().expect("no thread panics while it holds the lock");
    found.longest_s = found.longest_s.max(elapsed_s);
    found.most_bytes = found.most_bytes.max(held);
    let mut fault = |what: String| found.faults.push(format!("input {number}, {length} bytes: {what}"));
    if outcome.is_err() {
        fault(SAID.take());
    }
    if elapsed_s > PATIENCE_S * SLOWNESS {
        fault(format!("{elapsed_s:.1} s"));
    }
    if held > bound {
        fault(format!("{held} bytes of memory, at most {bound}"));
    }
}
