//! Cards by their data sheets, for predictions.

use crate::ir::Precision;
use crate::plan::Machine;

/// A GPU of NVIDIA by its data sheet.
///
/// # Examples
///
/// ```
/// use hrmc::Card;
///
/// assert_eq!(Card::from_id("h200"), Some(Card::H200));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// A100 with SXM4 and 80 GB.
    A100,
    /// H100 with SXM5.
    H100,
    /// H200 with SXM.
    H200,
    /// L40S.
    L40s,
    /// GeForce RTX 4090.
    Rtx4090,
}

/// What is known of a card. Rates are those that NVIDIA states for dense products, in bf16 with sums in f32 on tensor
/// cores and in f32 without them, and for memory; no card reaches all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataSheet {
    /// What command lines call the card.
    pub id: &'static str,
    /// What reports call it.
    pub name: &'static str,
    /// Its name with what tells it from others of that name.
    pub full_name: &'static str,
    /// Architecture that kernels are compiled for.
    pub architecture: &'static str,
    /// Rate of products in bf16, in 10^12 operations per second.
    pub bf16_tflop_per_s: f64,
    /// Rate of products in f32, in 10^12 operations per second.
    pub f32_tflop_per_s: f64,
    /// Rate of memory, in 10^9 bytes per second.
    pub gigabytes_per_s: f64,
}

impl Card {
    /// All cards.
    pub const ALL: [Card; 5] = [Card::A100, Card::H100, Card::H200, Card::L40s, Card::Rtx4090];

    /// Returns what is known of the card.
    pub fn data_sheet(self) -> DataSheet {
        match self {
            Card::A100 => DataSheet {
                id: "a100",
                name: "A100",
                full_name: "A100 SXM4 80 GB",
                architecture: "sm_80",
                bf16_tflop_per_s: 312.0,
                f32_tflop_per_s: 19.5,
                gigabytes_per_s: 2039.0,
            },
            Card::H100 => DataSheet {
                id: "h100",
                name: "H100",
                full_name: "H100 SXM5",
                architecture: "sm_90",
                bf16_tflop_per_s: 989.0,
                f32_tflop_per_s: 67.0,
                gigabytes_per_s: 3350.0,
            },
            Card::H200 => DataSheet {
                id: "h200",
                name: "H200",
                full_name: "H200 SXM",
                architecture: "sm_90",
                bf16_tflop_per_s: 989.0,
                f32_tflop_per_s: 67.0,
                gigabytes_per_s: 4800.0,
            },
            Card::L40s => DataSheet {
                id: "l40s",
                name: "L40S",
                full_name: "L40S",
                architecture: "sm_89",
                bf16_tflop_per_s: 362.0,
                f32_tflop_per_s: 91.6,
                gigabytes_per_s: 864.0,
            },
            Card::Rtx4090 => DataSheet {
                id: "rtx4090",
                name: "RTX 4090",
                full_name: "GeForce RTX 4090",
                architecture: "sm_89",
                bf16_tflop_per_s: 165.0,
                f32_tflop_per_s: 82.6,
                gigabytes_per_s: 1008.0,
            },
        }
    }

    /// Returns the card that command lines call `id`.
    pub fn from_id(id: &str) -> Option<Card> {
        Card::ALL.into_iter().find(|card| card.data_sheet().id == id)
    }

    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        self.data_sheet().name
    }

    /// Returns the architecture that kernels are compiled for.
    pub fn architecture(self) -> &'static str {
        self.data_sheet().architecture
    }

    /// Returns the rates for products in `precision`.
    pub fn machine(self, precision: Precision) -> Machine {
        let sheet = self.data_sheet();
        let tflop_per_s = match precision {
            Precision::F32 => sheet.f32_tflop_per_s,
            Precision::Bf16 => sheet.bf16_tflop_per_s,
        };
        Machine { gflop_per_s: 1000.0 * tflop_per_s, gigabytes_per_s: sheet.gigabytes_per_s }
    }
}

#[cfg(test)]
mod tests {
    use super::Card;
    use crate::ir::Precision;

    #[test]
    fn every_card_is_found_by_its_id_and_has_whole_gflops() {
        for card in Card::ALL {
            assert_eq!(Card::from_id(card.data_sheet().id), Some(card));
            for precision in [Precision::F32, Precision::Bf16] {
                assert_eq!(card.machine(precision).gflop_per_s.fract(), 0.0, "{}", card.name());
            }
        }
        assert_eq!(Card::from_id("A100"), None);
    }
}
