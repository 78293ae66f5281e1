//! What the tests of the measures share.

/// Numbers that a few lines of any language give again: the generator of the C standard's example.
pub(super) struct Numbers {
    state: u32,
}

impl Numbers {
    pub fn new(seed: u32) -> Numbers {
        Numbers { state: seed }
    }

    /// Returns the next number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        (self.state >> 8) as usize % bound
    }
}
