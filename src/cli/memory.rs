//! Whether a batch fits in memory, before any of it is allocated.

use std::fs;

use super::failure::Failure;
use super::terminal::{bytes, counted};
use crate::device::Device;
use crate::device::cpu::arranged_bytes;
use crate::device::cuda::probe::{Driver, probe};
use crate::ir::Model;
use crate::lower::{Program, Sizes};
use crate::pipeline::compile_for;
use crate::plan::session_bytes;

/// Refuses programs that need more memory in one session than there is.
///
/// `option` is how the user says the size of the batch, as in `--batch `. Nothing is checked where the system does not tell how much there is, or where the device does not run a plan.
///
/// # Errors
///
/// Returns a failure with both figures and a batch that fits.
pub fn check(
    model: &Model,
    programs: &[(Program, Sizes)],
    device: Device,
    option: &str,
) -> Result<(), Failure> {
    let available = match device {
        Device::Cpu => available_bytes(),
        Device::Cuda => device_bytes(),
        Device::Reference | Device::LuminalCuda => None,
    };
    let Some(available) = available else { return Ok(()) };
    let largest = programs.iter().map(|(_, options)| options.batch).max().unwrap_or(1);
    let needed = |batch: usize| {
        let plan = |&(program, options): &(Program, Sizes)| {
            let options = Sizes { batch: options.batch.min(batch), ..options };
            compile_for(model, program, options, device.demands(model.precision())).plan
        };
        let plans: Vec<_> = programs.iter().map(plan).collect();
        let plans: Vec<_> = plans.iter().collect();
        let arranged = if device == Device::Cpu { arranged_bytes(&plans) } else { 0 };
        session_bytes(&plans) + arranged
    };
    let batch = Batch { rows: largest, option };
    refuse(model, &batch, available, &needed)
}

/// The size of a batch and how the user says it.
struct Batch<'a> {
    rows: usize,
    option: &'a str,
}

fn refuse(
    model: &Model,
    batch: &Batch<'_>,
    available: u64,
    needed: &dyn Fn(usize) -> u64,
) -> Result<(), Failure> {
    let bytes_needed = needed(batch.rows);
    if bytes_needed <= available {
        return Ok(());
    }
    let smaller = (0..usize::BITS).map(|shift| batch.rows >> shift).skip(1).take_while(|&rows| rows > 0);
    let what_to_do = match smaller.into_iter().find(|&rows| needed(rows) <= available) {
        Some(rows) => format!("use a smaller batch, for example `{}{rows}`", batch.option),
        None => "even a batch of 1 row does not fit; use a smaller model".to_string(),
    };
    Err(Failure::message(format!(
        "a batch of {} of `{}` needs {} of memory, but {} are available; {what_to_do}",
        counted(batch.rows, "row"),
        model.name,
        bytes(bytes_needed),
        bytes(available),
    )))
}

/// Returns the memory that programs can still take, where the system tells.
fn available_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Returns the memory of the first GPU, if there is one.
fn device_bytes() -> Option<u64> {
    match probe().driver {
        Driver::Ready { devices, .. } => devices.first().map(|device| device.memory_bytes),
        _ => None,
    }
}

/// Returns the largest resident memory of this process so far, where the system tells.
pub fn peak_resident_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Returns the bytes of the line that begins with `label`.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::{Batch, kibibytes, refuse};
    use crate::cli::failure::Failure;
    use crate::cli::spec;
    use crate::span::Source;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(kibibytes("MemTotal: 9 kB\nMemAvailable:   24 kB\n", "MemAvailable:"), Some(24 * 1024));
        assert_eq!(kibibytes("MemTotal: 9 kB\n", "MemAvailable:"), None);
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused_with_one_that_does() {
        let source = Source::new("quickstart", include_str!("../../specs/quickstart.hrm"));
        let model = spec::load(source, &[]).map(|spec| spec.model).expect("it is right");
        let needed = |rows: usize| 1024 * rows as u64;
        let batch = Batch { rows: 32, option: "--batch " };
        assert!(refuse(&model, &batch, 32 * 1024, &needed).is_ok());
        let Err(Failure::Message(message)) = refuse(&model, &batch, 9 * 1024, &needed) else {
            panic!("it does not fit");
        };
        assert_eq!(
            message,
            "a batch of 32 rows of `quickstart` needs 32.00 KiB of memory, but 9.00 KiB are available; use a \
             smaller batch, for example `--batch 8`"
        );
        let Err(Failure::Message(message)) = refuse(&model, &batch, 9, &needed) else {
            panic!("it does not fit");
        };
        assert!(message.ends_with("even a batch of 1 row does not fit; use a smaller model"), "{message}");
    }
}
