//! Cutting work into tasks.
//!
//! Borders of tasks depend on sizes only, so the number of threads cannot change a result.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

/// Elements a cheap elementwise kernel handles in one task: 64 KiB of each operand.
pub const CHUNK: usize = 16 * 1024;

/// Work, in elementary operations, below which handing tasks to other threads costs more than it saves.
const SERIAL_WORK: usize = 24 * 1024;

/// Calls `run` once for every number below `tasks`, on the rayon pool if `work` is worth it.
///
/// `work` is a rough count of vectorisable operations of all tasks together. Tasks must not depend
/// on each other.
pub fn for_each_task(tasks: usize, work: usize, run: impl Fn(usize) + Sync + Send) {
    if tasks <= 1 || work < SERIAL_WORK {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    }
}

/// Calls `run` with consecutive ranges of `size` numbers (the last may be shorter) that cover `0..total`.
pub fn for_each_block(total: usize, size: usize, work: usize, run: impl Fn(Range<usize>) + Sync + Send) {
    let size = size.max(1);
    for_each_task(total.div_ceil(size), work, |task| {
        let start = task * size;
        run(start..total.min(start + size));
    });
}

/// A mutable slice that several tasks write to, each its own part.
#[derive(Clone, Copy)]
pub struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Shared` only hands out parts through `part`, whose contract forbids overlap, so sending it
// to another thread is as safe as sending disjoint `&mut [T]`.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above; `&Shared` gives no access that `Shared` does not.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Borrows `slice` for as long as tasks may use its parts.
    pub fn new(slice: &'a mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// Returns the number of elements of the whole slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the first element; writing through it is up to the caller.
    pub fn pointer(&self) -> *mut T {
        self.start
    }

    /// Returns the elements of `range`.
    ///
    /// # Safety
    ///
    /// No two parts that are alive at the same time may overlap.
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {} elements", self.len);
        // SAFETY: the range lies inside the borrowed slice (checked above); the caller rules out aliasing.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn blocks_cover_everything_once() {
        for (total, size, work) in [(0, 4, 0), (1, 4, 0), (12, 4, 1 << 20), (13, 4, 1 << 20), (5, 0, 0)] {
            let seen = Mutex::new(Vec::new());
            for_each_block(total, size, work, |range| seen.lock().expect("no panic").extend(range));
            let mut seen = seen.into_inner().expect("no panic");
            seen.sort_unstable();
            assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }
    }
}
