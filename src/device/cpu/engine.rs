//! Plans on the processor: one arena, and weights that are kept arranged for the products that read them.

use std::collections::BTreeMap;

use rayon::ThreadPool;

use super::NAME;
use super::arranged::{Arranged, ArrangedWeight};
use super::execute::CpuProgram;
use super::kernels;
use crate::device::{Buffer, DeviceError, Engine, Executable, Memory, MemoryId, Observe};

/// Programs on the processor.
pub(super) struct CpuEngine {
    pool: ThreadPool,
    arena: Buffer,
    arranged: Arranged,
    programs: BTreeMap<String, CpuProgram>,
}

impl CpuEngine {
    pub(super) fn new(pool: ThreadPool) -> CpuEngine {
        CpuEngine { pool, arena: Buffer::empty(), arranged: Arranged::new(), programs: BTreeMap::new() }
    }

    /// Allocates the arranged weights of a program; one that another program has arranged in another way is left to
    /// that program.
    fn allocate_arranged(&mut self, program: &mut CpuProgram) -> Result<(), DeviceError> {
        let mut other = Vec::new();
        for (name, id, shape) in program.weights() {
            match self.arranged.get(&id) {
                Some(arranged) if arranged.shape == shape => {}
                Some(_) => other.push(id),
                None => {
                    let len = shape.arranged_len().expect("only what can be arranged is wanted");
                    let buffer = Buffer::zeroed(4 * len, name)?;
                    self.arranged.insert(id, ArrangedWeight { shape, buffer, version: None });
                }
            }
        }
        other.into_iter().for_each(|id| program.read_as_it_is(id));
        Ok(())
    }
}

impl Drop for CpuEngine {
    fn drop(&mut self) {
        kernels::free_shared_scratch();
    }
}

impl Engine for CpuEngine {
    fn load(&mut self, name: &str, program: Executable, memory: &mut Memory) -> Result<(), DeviceError> {
        let plan = program.into_plan(NAME)?;
        if self.arena.bytes() < plan.arena_bytes {
            // The old arena goes first: both at once might not fit.
            self.arena = Buffer::empty();
            self.arena = Buffer::zeroed(plan.arena_bytes, "activations")?;
        }
        let mut program = CpuProgram::new(plan, memory);
        self.allocate_arranged(&mut program)?;
        self.programs.insert(name.to_string(), program);
        Ok(())
    }

    fn run(
        &mut self,
        name: &str,
        memory: &mut Memory,
        observe: Option<Observe<'_>>,
    ) -> Result<(), DeviceError> {
        let program = self.programs.get_mut(name).expect("the program is loaded");
        let (arena, arranged) = (&mut self.arena, &mut self.arranged);
        self.pool.install(|| program.run(memory, arena, arranged, observe));
        Ok(())
    }

    fn fetch(&mut self, _: MemoryId, _: &mut Buffer) -> Result<(), DeviceError> {
        unreachable!("everything is written on the host")
    }

    fn bytes(&self, memory: &Memory) -> usize {
        let arranged: usize = self.arranged.values().map(|arranged| arranged.buffer.bytes()).sum();
        self.arena.bytes() + memory.bytes() + arranged
    }
}
