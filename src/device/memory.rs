//! Aligned, zeroed memory.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use super::DeviceError;
use crate::plan::ALIGNMENT;

/// Gives a dangling pointer the alignment of real memory.
#[repr(align(64))]
struct Line;

/// Memory aligned for vector loads, zero when new. Its pages are touched only when used.
pub(super) struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a buffer owns its memory; sharing it follows the borrow of the buffer.
unsafe impl Send for Buffer {}
// SAFETY: as above; nothing inside has interior mutability.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub(super) fn empty() -> Self {
        Buffer { start: NonNull::<Line>::dangling().cast(), bytes: 0 }
    }

    /// Allocates at least `bytes` bytes for `what`.
    pub(super) fn zeroed(bytes: usize, what: &str) -> Result<Self, DeviceError> {
        let refused = || DeviceError::OutOfMemory { bytes, what: format!("`{what}`") };
        if bytes == 0 {
            return Ok(Buffer::empty());
        }
        let bytes = bytes.checked_next_multiple_of(ALIGNMENT).ok_or_else(refused)?;
        let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| refused())?;
        // SAFETY: the layout has a size above zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        Ok(Buffer { start, bytes })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(super) fn as_f32(&self) -> &[f32] {
        // SAFETY: the memory is aligned for f32, initialised, and any bits are an f32. An empty buffer has length 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    pub(super) fn as_f32_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `as_f32`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    pub(super) fn words(&self) -> &[u32] {
        // SAFETY: as for `as_f32`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    pub(super) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as for `as_f32_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    pub(super) fn as_i32(&self) -> &[i32] {
        // SAFETY: as for `as_f32`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    pub(super) fn as_i32_mut(&mut self) -> &mut [i32] {
        // SAFETY: as for `as_f32_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / 4) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let layout =
                Layout::from_size_align(self.bytes, ALIGNMENT).expect("the layout it was allocated with");
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}
