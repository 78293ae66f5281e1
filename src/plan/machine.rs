//! What a call should take on a machine: the roofline.
//!
//! A call can be no faster than its arithmetic at the rate of a large product, and no faster than its
//! bytes at the speed of memory. The prediction is the larger of the two. It is a bound where every byte
//! comes from memory; a call whose operands are still in cache beats it.

use crate::ir::Precision;

use super::Work;

/// Rates of a machine, all its threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Rate of a large product, in 10^9 operations per second.
    pub gflop_per_s: f64,
    /// Rate at which memory is read and written, in 10^9 bytes per second.
    pub gigabytes_per_s: f64,
}

impl Machine {
    /// Returns the machine of `docs/benchmarks.md`, two cores with AVX-512, for products in `precision`.
    pub fn reference(precision: Precision) -> Machine {
        let gflop_per_s = match precision {
            Precision::F32 => 480.0,
            Precision::Bf16 => 1000.0,
        };
        Machine { gflop_per_s, gigabytes_per_s: 40.0 }
    }

    /// Returns the seconds that work of one call takes at least.
    pub fn seconds(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.gflop_per_s).max(bytes as f64 / self.gigabytes_per_s) / 1e9
    }
}

/// Work of one phase with its predicted time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Predicted {
    /// What is done.
    pub work: Work,
    /// Sum of the predictions of the calls.
    pub seconds: f64,
}

impl Predicted {
    /// Adds the work of other calls.
    pub fn add(&mut self, other: &Predicted) {
        self.work.calls = self.work.calls.saturating_add(other.work.calls);
        self.work.flops = self.work.flops.saturating_add(other.work.flops);
        self.work.bytes = self.work.bytes.saturating_add(other.work.bytes);
        self.seconds += other.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn a_call_is_bound_by_the_slower_of_arithmetic_and_memory() {
        let machine = Machine { gflop_per_s: 100.0, gigabytes_per_s: 10.0 };
        assert_eq!(machine.seconds(200_000_000_000, 1), 2.0);
        assert_eq!(machine.seconds(1, 30_000_000_000), 3.0);
        assert_eq!(machine.seconds(0, 0), 0.0);
    }
}
