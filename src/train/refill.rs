//! Which slots take a new row before a segment.

/// What happens to the slots of a batch before a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refill {
    /// Slots that take the next rows, in the order in which they take them.
    pub slots: Vec<usize>,
    /// Segments each slot has done on its row: 0 for the slots that take a new one.
    pub steps: Vec<u32>,
}

/// Refills the slots that halted.
///
/// # Panics
///
/// Panics unless `halted` and `steps` have one entry per slot.
pub fn refill(halted: &[bool], steps: &[u32]) -> Refill {
    assert_eq!(halted.len(), steps.len(), "every slot has both");
    let slots = (0..halted.len()).filter(|&slot| halted[slot]).collect();
    let steps = halted.iter().zip(steps).map(|(&halted, &steps)| if halted { 0 } else { steps }).collect();
    Refill { slots, steps }
}

/// Returns a mask as numbers, `[B]`: 1 where `holds`, else 0.
pub fn mask(holds: impl IntoIterator<Item = bool>) -> Vec<f32> {
    holds.into_iter().map(|holds| if holds { 1.0 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halted_slots_take_rows_and_start_from_zero() {
        let refill = refill(&[true, false, false, true], &[3, 2, 0, 1]);
        assert_eq!(refill, Refill { slots: vec![0, 3], steps: vec![0, 2, 0, 0] });
    }

    #[test]
    fn nothing_is_refilled_while_every_slot_goes_on() {
        assert_eq!(refill(&[false, false], &[1, 2]), Refill { slots: vec![], steps: vec![1, 2] });
    }

    #[test]
    fn masks_are_ones_and_zeros() {
        assert_eq!(mask([true, false]), [1.0, 0.0]);
    }
}
