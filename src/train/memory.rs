//! Checks that programs fit in memory, before any of it is allocated.

use crate::device::Device;
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
    /// Bytes that are available.
    pub available: u64,
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
        format!(
            "a batch of {} of `{}` needs {} of memory, but {} are available; {what_to_do}",
            counted(self.rows, "row"),
            self.model,
            bytes(self.needed),
            bytes(self.available),
        )
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
    model: &Model,
    programs: &[(Program, Sizes)],
    device: &dyn Device,
) -> Result<(), TooLarge> {
    let Some(available) = device.available_bytes() else { return Ok(()) };
    let largest = programs.iter().map(|(_, sizes)| sizes.batch).max().unwrap_or(1);
    let needed = |batch: usize| {
        let plan = |&(program, sizes): &(Program, Sizes)| {
            let sizes = Sizes { batch: sizes.batch.min(batch), ..sizes };
            compile_for(model, program, sizes, device.demands(model.precision())).plan
        };
        let plans: Vec<Plan> = programs.iter().map(plan).collect();
        device.session_bytes(&plans.iter().collect::<Vec<_>>())
    };
    refuse(model, largest, available, &needed)
}

fn refuse(model: &Model, rows: usize, available: u64, needed: &dyn Fn(usize) -> u64) -> Result<(), TooLarge> {
    let bytes_needed = needed(rows);
    if bytes_needed <= available {
        return Ok(());
    }
    let smaller = (0..usize::BITS).map(|shift| rows >> shift).skip(1).take_while(|&rows| rows > 0);
    let fits = smaller.into_iter().find(|&rows| needed(rows) <= available);
    Err(TooLarge { model: model.name.clone(), rows, needed: bytes_needed, available, fits })
}

#[cfg(test)]
mod tests {
    use super::refuse;
    use crate::train::testing;

    #[test]
    fn a_batch_that_does_not_fit_is_refused_with_one_that_does() {
        let model = testing::model();
        let needed = |rows: usize| 1024 * rows as u64;
        assert_eq!(refuse(&model, 32, 32 * 1024, &needed), Ok(()));
        let refused = refuse(&model, 32, 9 * 1024, &needed).expect_err("it does not fit");
        assert_eq!(refused.fits, Some(8));
        assert_eq!(
            refused.to_string(),
            "a batch of 32 rows of `tiny` needs 32.00 KiB of memory, but 9.00 KiB are available; use a smaller batch, \
             for example 8 rows"
        );
        let refused = refuse(&model, 32, 9, &needed).expect_err("it does not fit").to_string();
        assert!(refused.ends_with("even a batch of 1 row does not fit; use a smaller model"), "{refused}");
    }
}
