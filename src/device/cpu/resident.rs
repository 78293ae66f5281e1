//! The resident memory of a process that runs programs on the processor.
//!
//! Most of it follows from the plans: named memory, the arena, arranged weights and scratch are what the engine and the
//! kernels allocate, and all of it is touched. The rest was measured with the programs of the shipped specs, as what
//! the system counts (`RssAnon` and `RssFile`) less what follows from the plans. `benches/memory.py` compares the whole
//! with what the system counts.

use super::execute::{arranged_bytes, scratch_of};
use super::kernels::Scratch;
use crate::device::{EngineOptions, ResidentMemory};
use crate::plan::{Plan, arena_bytes, named_bytes};
use crate::system::memory::code_bytes;

/// Bytes of machine code where the system does not tell: those of a release build for x86-64.
const CODE: u64 = 6 << 20;

/// Bytes that a process has before it compiles anything, and the buffer through which it writes a checkpoint.
const HEAP: u64 = 2 << 20;

/// Bytes that compiling leaves in the heap for each call of a plan: the plan, and holes that graphs have left behind.
const COMPILED_CALL: u64 = 8 << 10;

/// Bytes of a thread besides scratch: its stack, what the allocator keeps for it, and small buffers.
const THREAD: u64 = 192 << 10;

/// How much of the allocator's memory the buffers of the crate `gemm` take: it frees them after each tile, and tiles of
/// other sizes leave holes.
const PACKED_COPIES: u64 = 2;

/// Returns the memory of a process that has loaded all of `plans`.
pub(super) fn resident_memory(plans: &[&Plan], options: &EngineOptions) -> ResidentMemory {
    let code = code_bytes().unwrap_or(CODE);
    let calls: usize = plans.iter().map(|plan| plan.calls.len()).sum();
    let scratch = plans.iter().map(|plan| scratch_of(plan)).fold(Scratch::default(), Scratch::max);
    let [whole, part, packed] =
        [scratch.whole, scratch.part, scratch.packed].map(|len| (len as u64).saturating_mul(4));
    let thread = packed.saturating_mul(PACKED_COPIES).saturating_add(part).saturating_add(THREAD);
    ResidentMemory {
        // Constants and libraries take half as much as the code. Nearly all of it is read when a model is trained.
        program: (code + code / 2).saturating_add(HEAP + COMPILED_CALL * calls as u64),
        data: 0,
        named: named_bytes(plans),
        activations: arena_bytes(plans),
        arranged: arranged_bytes(plans),
        scratch: whole.saturating_add(thread.saturating_mul(options.threads as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::resident_memory;
    use crate::device::cpu::Cpu;
    use crate::device::{EngineOptions, Executable, Session};
    use crate::ir::Precision;
    use crate::lower::{Program, Sizes};
    use crate::pipeline::compile;
    use crate::plan::Plan;
    use crate::spec::Spec;

    fn plans(batch: usize) -> Vec<Plan> {
        let spec = Spec::quickstart();
        let sizes = Sizes { batch, puzzle_rows: 1 };
        let programs = [Program::Train, Program::Evaluate { averaged: true }];
        programs.into_iter().map(|program| compile(spec.model(), program, sizes).plan).collect()
    }

    #[test]
    fn what_follows_from_the_plans_is_what_a_session_allocates() {
        for precision in [Precision::F32, Precision::Bf16] {
            let plans: Vec<Plan> = plans(3).into_iter().map(|plan| Plan { precision, ..plan }).collect();
            let all: Vec<&Plan> = plans.iter().collect();
            let options = EngineOptions { threads: 1 };
            let expected = resident_memory(&all, &options);
            let mut session = Session::open(&Cpu, &options).expect("a thread can start");
            for (name, plan) in ["train", "evaluate"].into_iter().zip(plans.clone()) {
                session.load(name, Executable::Plan(plan)).expect("it is small");
            }
            let planned = expected.named + expected.activations + expected.arranged;
            // Buffers are whole multiples of the alignment.
            let slack = 64 * plans.iter().map(|plan| plan.memory.len()).sum::<usize>() as u64;
            let allocated = session.bytes() as u64;
            assert!(
                (planned..=planned + slack).contains(&allocated),
                "{planned} predicted, {allocated} allocated"
            );
        }
    }

    #[test]
    fn each_thread_has_scratch_of_its_own() {
        let plans = plans(3);
        let all: Vec<&Plan> = plans.iter().collect();
        let scratch = |threads| resident_memory(&all, &EngineOptions { threads }).scratch;
        let thread = scratch(2) - scratch(1);
        assert!(thread >= 64 << 10, "{thread} bytes");
        assert_eq!(scratch(9) - scratch(1), 8 * thread);
        assert!(scratch(1) < 2 * thread + (64 << 20));
    }
}
