//! Cards by their data sheets, for predictions.

use crate::ir::Precision;
use crate::plan::Machine;

/// A card. Rates are those that NVIDIA states for dense products, in bf16 with sums in f32 on tensor cores and in f32
/// without them, and for memory; no card reaches all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// A100 with SXM4 and 80 GB: 312 and 19.5 TFLOP/s, 2.039 TB/s.
    A100,
    /// H100 with SXM5: 989 and 67 TFLOP/s, 3.35 TB/s.
    H100,
    /// H200 with SXM: 989 and 67 TFLOP/s, 4.8 TB/s.
    H200,
    /// L40S: 362 and 91.6 TFLOP/s, 0.864 TB/s.
    L40s,
    /// GeForce RTX 4090: 165 and 82.6 TFLOP/s, 1.008 TB/s.
    Rtx4090,
}

impl Card {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Card::A100 => "A100",
            Card::H100 => "H100",
            Card::H200 => "H200",
            Card::L40s => "L40S",
            Card::Rtx4090 => "RTX 4090",
        }
    }

    /// Returns the architecture that kernels are compiled for.
    pub fn architecture(self) -> &'static str {
        match self {
            Card::A100 => "sm_80",
            Card::L40s | Card::Rtx4090 => "sm_89",
            Card::H100 | Card::H200 => "sm_90",
        }
    }

    /// Returns the rates for products in `precision`.
    pub fn machine(self, precision: Precision) -> Machine {
        let (bf16, f32, gigabytes_per_s) = match self {
            Card::A100 => (312_000.0, 19_500.0, 2039.0),
            Card::H100 => (989_000.0, 67_000.0, 3350.0),
            Card::H200 => (989_000.0, 67_000.0, 4800.0),
            Card::L40s => (362_000.0, 91_600.0, 864.0),
            Card::Rtx4090 => (165_000.0, 82_600.0, 1008.0),
        };
        let gflop_per_s = match precision {
            Precision::F32 => f32,
            Precision::Bf16 => bf16,
        };
        Machine { gflop_per_s, gigabytes_per_s }
    }
}
