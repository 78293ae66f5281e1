//! Checks that programs fit in memory, before any of it is allocated.

use crate::device::{AvailableMemory, Device, EngineOptions, MemoryBound, ResidentMemory};
use crate::ir::Model;
use crate::lower::{Program, Sizes};
use crate::pipeline::compile_for;
use crate::plan::Plan;
use crate::units::{bytes, counted};

/// Programs that need more memory in one session than the device has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message(&|rows| counted(rows, "row")))]
pub struct TooLarge {
    /// Name of the model.
    pub model: String,
    /// Rows of the largest batch.
    pub rows: usize,
    /// Bytes that are needed.
    pub needed: u64,
    /// Bytes that are available, and what says so.
    pub available: AvailableMemory,
    /// Rows of a batch that fits, if one does.
    pub fits: Option<usize>,
}

impl TooLarge {
    /// Returns the message; `spell` writes how the user asks for a batch of that many rows.
    pub fn message(&self, spell: &dyn Fn(usize) -> String) -> String {
        let what_to_do = match self.fits {
            Some(rows) => format!("use a smaller batch, for example {}", spell(rows)),
            None => "even a batch of 1 row does not fit; use a smaller model".to_string(),
        };
        let bound = match &self.available.bound {
            MemoryBound::Machine => "on this machine".to_string(),
            MemoryBound::Group { file, bytes: limit } => {
                format!("in this control group, whose limit in `{}` is {}", file.display(), bytes(*limit))
            }
            MemoryBound::AddressSpace { bytes: limit } => {
                format!("in an address space of {} (`ulimit -v`)", bytes(*limit))
            }
        };
        format!(
            "a batch of {} of `{}` needs {} of memory, but {} are available {bound}; {what_to_do}",
            counted(self.rows, "row"),
            self.model,
            bytes(self.needed),
            bytes(self.available.bytes),
        )
    }
}

/// Programs of a model that are to run in one session.
pub struct Wanted<'a> {
    /// The model.
    pub model: &'a Model,
    /// The programs, with their sizes.
    pub programs: &'a [(Program, Sizes)],
    /// Bytes of the data in memory.
    pub data_bytes: u64,
}

impl Wanted<'_> {
    /// Returns the memory that the programs take on a device, with at most `batch` rows.
    fn memory(&self, batch: usize, device: &dyn Device, options: &EngineOptions) -> ResidentMemory {
        let plan = |&(program, sizes): &(Program, Sizes)| {
            let sizes = Sizes { batch: sizes.batch.min(batch), ..sizes };
            compile_for(self.model, program, sizes, device.demands(self.model.precision())).plan
        };
        let plans: Vec<Plan> = self.programs.iter().map(plan).collect();
        let memory = device.resident_memory(&plans.iter().collect::<Vec<_>>(), options);
        ResidentMemory { data: self.data_bytes, ..memory }
    }
}

/// Refuses programs that need more memory in one session than the device has.
///
/// A device that does not report its memory refuses nothing.
///
/// # Errors
///
/// Returns an error with both figures and a batch that fits.
pub fn check_memory(
    wanted: &Wanted<'_>,
    device: &dyn Device,
    options: &EngineOptions,
) -> Result<(), TooLarge> {
    let Some(available) = device.available_memory() else { return Ok(()) };
    let largest = wanted.programs.iter().map(|(_, sizes)| sizes.batch).max().unwrap_or(1);
    refuse(wanted.model, largest, available, &|batch| wanted.memory(batch, device, options).total())
}

fn refuse(
    model: &Model,
    rows: usize,
    available: AvailableMemory,
    needed: &dyn Fn(usize) -> u64,
) -> Result<(), TooLarge> {
    let bytes_needed = needed(rows);
    if bytes_needed <= available.bytes {
        return Ok(());
    }
    let smaller = (0..usize::BITS).map(|shift| rows >> shift).skip(1).take_while(|&rows| rows > 0);
    let fits = smaller.into_iter().find(|&rows| needed(rows) <= available.bytes);
    Err(TooLarge { model: model.name.clone(), rows, needed: bytes_needed, available, fits })
}

#[cfg(test)]
mod tests {
    use super::{Wanted, check_memory, refuse};
    use crate::device::{
        AvailableMemory, Device, DeviceError, Engine, EngineOptions, Form, MemoryBound, ResidentMemory,
        Status, cpu::Cpu,
    };
    use crate::lower::Sizes;
    use crate::plan::Plan;
    use crate::train::TrainerParts;
    use crate::train::testing;

    fn available(bytes: u64, bound: MemoryBound) -> AvailableMemory {
        AvailableMemory { bytes, bound }
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused_with_one_that_does() {
        let model = testing::model();
        let needed = |rows: usize| 1024 * rows as u64;
        let on_machine = |bytes| available(bytes, MemoryBound::Machine);
        assert_eq!(refuse(&model, 32, on_machine(32 * 1024), &needed), Ok(()));
        let refused = refuse(&model, 32, on_machine(9 * 1024), &needed).expect_err("it does not fit");
        assert_eq!(refused.fits, Some(8));
        assert_eq!(
            refused.to_string(),
            "a batch of 32 rows of `tiny` needs 32.00 KiB of memory, but 9.00 KiB are available on this machine; use a \
             smaller batch, for example 8 rows"
        );
        let refused = refuse(&model, 32, on_machine(9), &needed).expect_err("it does not fit").to_string();
        assert!(refused.ends_with("even a batch of 1 row does not fit; use a smaller model"), "{refused}");
    }

    #[test]
    fn the_message_names_the_limit() {
        let model = testing::model();
        let refused = |bound| {
            refuse(&model, 2, available(1 << 20, bound), &|rows| (rows as u64) << 20)
                .expect_err("it does not fit")
        };
        let group = MemoryBound::Group { file: "/sys/fs/cgroup/a/memory.max".into(), bytes: 3 << 20 };
        let message = refused(group).to_string();
        let expected = "1.00 MiB are available in this control group, whose limit in `/sys/fs/cgroup/a/memory.max` is \
                        3.00 MiB; use a smaller batch, for example 1 row";
        assert!(message.ends_with(expected), "{message}");
        let message = refused(MemoryBound::AddressSpace { bytes: 5 << 20 }).to_string();
        assert!(message.contains("available in an address space of 5.00 MiB (`ulimit -v`)"), "{message}");
    }

    /// The processor, with a bound on memory.
    #[derive(Debug)]
    struct Bounded(u64);

    impl Device for Bounded {
        fn name(&self) -> &'static str {
            "bounded"
        }

        fn about(&self) -> &'static str {
            "The CPU with a bound on memory"
        }

        fn form(&self) -> Form {
            Form::Plan
        }

        fn status(&self) -> Status {
            Cpu.status()
        }

        fn available_memory(&self) -> Option<AvailableMemory> {
            Some(available(self.0, MemoryBound::Machine))
        }

        fn resident_memory(&self, plans: &[&Plan], options: &EngineOptions) -> ResidentMemory {
            Cpu.resident_memory(plans, options)
        }

        fn open(&self, options: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError> {
            Cpu.open(options)
        }
    }

    #[test]
    fn everything_that_is_counted_is_checked() {
        let model = testing::model();
        let sizes = Sizes { batch: 64, puzzle_rows: 1 };
        let programs = TrainerParts::programs(&model, sizes, 10);
        let options = EngineOptions { threads: 2 };
        let wanted = Wanted { model: &model, programs: &programs, data_bytes: 12_345_678 };
        let memory = wanted.memory(64, &Cpu, &options);
        assert_eq!(memory.data, 12_345_678);
        assert!(memory.program > 0 && memory.named > 0 && memory.activations > 0 && memory.scratch > 0);
        assert_eq!(check_memory(&wanted, &Bounded(memory.total()), &options), Ok(()));
        let refused =
            check_memory(&wanted, &Bounded(memory.total() - 1), &options).expect_err("a byte is missing");
        assert_eq!((refused.needed, refused.fits), (memory.total(), Some(32)));
        let more_threads = EngineOptions { threads: 3 };
        assert!(check_memory(&wanted, &Bounded(memory.total()), &more_threads).is_err());
    }
}
