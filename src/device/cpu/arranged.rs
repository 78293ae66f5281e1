//! Copies of weights in panels, as the products of a forward pass read them.

use std::collections::BTreeMap;

use super::kernels::WeightShape;
use crate::device::{Buffer, MemoryId};

/// Arranged copies of weights, by the memory that they are copies of.
pub(super) type Arranged = BTreeMap<MemoryId, ArrangedWeight>;

/// A weight as products of a forward pass read it.
pub(super) struct ArrangedWeight {
    pub(super) shape: WeightShape,
    pub(super) buffer: Buffer,
    /// Version of the weight that it is a copy of; absent before the first copy.
    pub(super) version: Option<u64>,
}
