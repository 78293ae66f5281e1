//! A segment allocates nothing once its buffers have grown.
//!
//! The allocator of this program counts; the file has a single test, because tests of one program run at the
//! same time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use hrmc::internals::check::check;
use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::device::cpu::kernels::multiplies_in_bf16;
use hrmc::internals::device::{EngineOptions, Session};
use hrmc::internals::ir::Precision;
use hrmc::internals::lower::names::Scope;
use hrmc::internals::lower::{Program, Sizes};
use hrmc::internals::pipeline::executable;
use hrmc::internals::span::Source;
use hrmc::internals::syntax::parse;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: `start` came from `System` with this layout.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for `dealloc`; the caller answers for the size.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Segments that let every buffer grow.
const WARM_UP: usize = 8;

/// Segments that are counted.
const COUNTED: usize = 48;

/// Allocations of all segments together that rayon makes now and then, when a queue of tasks needs another block,
/// and buffers of a thread that met a task for the first time.
const NOW_AND_THEN: u64 = 32;

/// Returns the allocations of each program's segments after the first ones.
fn allocations(threads: usize, precision: Precision) -> Vec<u64> {
    let text = include_str!("../specs/quickstart.hrm");
    let parsed = parse(&Source::new("quickstart".to_string(), text.to_string()));
    let mut model = check(&parsed.file).model.expect("the spec has no problem");
    model.train.as_mut().expect("it trains").precision = precision;
    let options = Sizes { batch: 8, puzzle_rows: 1 };
    let mut session = Session::open(&Cpu, &EngineOptions { threads }).expect("threads start");
    let programs = [
        ("train", Program::Train, Scope::Train),
        ("evaluate", Program::Evaluate { averaged: false }, Scope::Evaluate),
    ];
    for (name, program, scope) in programs {
        session.load(name, executable(&model, program, options, &Cpu)).expect("it fits");
        session.f32_mut(&scope.reset()).expect("the device gives it").fill(1.0);
    }
    programs
        .iter()
        .map(|(name, ..)| {
            (0..WARM_UP).for_each(|_| session.run(name).expect("the processor does not fail"));
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            (0..COUNTED).for_each(|_| session.run(name).expect("the processor does not fail"));
            ALLOCATIONS.load(Ordering::Relaxed) - before
        })
        .collect()
}

#[test]
fn a_segment_allocates_next_to_nothing_after_the_first_ones() {
    if !multiplies_in_bf16() {
        // The products of other processors are those of a library, which allocates in each of them.
        return;
    }
    for precision in [Precision::F32, Precision::Bf16] {
        for threads in [1, 2] {
            for found in allocations(threads, precision) {
                assert!(
                    found <= NOW_AND_THEN,
                    "{precision:?}, {threads} threads: {found} in {COUNTED} segments"
                );
            }
        }
    }
}
