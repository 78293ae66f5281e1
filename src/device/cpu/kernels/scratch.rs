//! Working memory of a task.
//!
//! Every thread keeps buffers that grow to the largest size asked for and are reused afterwards, so
//! kernels stop allocating after the first step. A buffer is taken out of its slot while it is in use: a
//! kernel that runs inside another one (or a task stolen meanwhile) finds an empty slot and allocates its own
//! buffer instead of sharing. The content of a buffer is whatever was left there.
//!
//! What a call needs once, and not in each of its tasks, comes from buffers that all threads share
//! ([`with_shared_scratch`]): any thread may begin a call, and each would keep a large buffer of its own.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

/// One cache line; makes every scratch buffer start at a multiple of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

thread_local! {
    static FREE: RefCell<Vec<Vec<CacheLine>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that are free for whichever thread begins a call, the largest last.
static SHARED: Mutex<Vec<Vec<CacheLine>>> = Mutex::new(Vec::new());

/// Elements of working memory of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scratch {
    /// Once, while the call runs.
    pub whole: usize,
    /// On each thread that does a part of it.
    pub part: usize,
    /// On each such thread besides, in memory that the crate `gemm` allocates and frees.
    pub packed: usize,
}

impl Scratch {
    /// Returns the scratch of two calls that run one after the other.
    pub fn max(self, other: Scratch) -> Scratch {
        Scratch {
            whole: self.whole.max(other.whole),
            part: self.part.max(other.part),
            packed: self.packed.max(other.packed),
        }
    }
}

/// Calls `run` with `len` floats of unspecified content, aligned to 64 bytes.
pub fn with_scratch<R>(len: usize, run: impl FnOnce(&mut [f32]) -> R) -> R {
    let lines = FREE.with(|free| free.borrow_mut().pop()).unwrap_or_default();
    let (result, lines) = with_lines(lines, len, run);
    FREE.with(|free| free.borrow_mut().push(lines));
    result
}

/// Does the same with a buffer that all threads share.
pub fn with_shared_scratch<R>(len: usize, run: impl FnOnce(&mut [f32]) -> R) -> R {
    let shared = || SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = shared().pop().unwrap_or_default();
    let (result, lines) = with_lines(lines, len, run);
    let mut free = shared();
    let place = free.partition_point(|other| other.len() <= lines.len());
    free.insert(place, lines);
    result
}

/// Frees the buffers that threads share and nobody uses.
pub fn free_shared_scratch() {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Calls `run` with the first `len` floats of a buffer, which grows if it has to, and returns the buffer.
fn with_lines<R>(
    mut lines: Vec<CacheLine>,
    len: usize,
    run: impl FnOnce(&mut [f32]) -> R,
) -> (R, Vec<CacheLine>) {
    let needed = len.div_ceil(16);
    if lines.len() < needed {
        // The old content is of no use, and beside the new buffer it would be one too many.
        lines = Vec::new();
        lines.resize(needed, CacheLine([0.0; 16]));
    }
    // SAFETY: `CacheLine` is `repr(C)` around sixteen floats without padding, so the lines are
    // `16 * lines.len() >= len` initialised floats; the vector is not touched while the slice lives.
    let floats = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) };
    (run(floats), lines)
}

/// Splits the first `len` elements off `rest`, rounded up so that the next part is aligned again.
pub fn carve<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let whole = std::mem::take(rest);
    let (head, tail) = whole.split_at_mut(aligned(len));
    *rest = tail;
    &mut head[..len]
}

/// Returns `len` rounded up to whole cache lines, the space [`carve`] needs for it.
pub const fn aligned(len: usize) -> usize {
    len.div_ceil(16).saturating_mul(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_buffers_do_not_overlap() {
        with_scratch(100, |outer| {
            outer.fill(1.0);
            with_scratch(200, |inner| inner.fill(2.0));
            assert!(outer.iter().all(|&x| x == 1.0));
            assert_eq!(outer.as_ptr() as usize % 64, 0);
        });
    }

    #[test]
    fn shared_buffers_are_used_by_one_at_a_time() {
        with_shared_scratch(100, |outer| {
            outer.fill(1.0);
            let inner = std::thread::scope(|scope| {
                scope.spawn(|| with_shared_scratch(200, |inner| inner.fill(2.0))).join()
            });
            inner.expect("the other thread has a buffer of its own");
            assert!(outer.iter().all(|&x| x == 1.0));
            free_shared_scratch();
            assert!(outer.iter().all(|&x| x == 1.0), "what is in use is not freed");
        });
        let first = with_shared_scratch(100, |buffer| buffer.as_ptr() as usize);
        let again = with_shared_scratch(100, |buffer| buffer.as_ptr() as usize);
        assert_eq!(first % 64, 0);
        assert_eq!(again % 64, 0);
    }

    #[test]
    fn carved_parts_are_aligned_and_disjoint() {
        with_scratch(aligned(5) + aligned(20), |mut rest| {
            let first = carve(&mut rest, 5);
            let second = carve(&mut rest, 20);
            assert_eq!((first.len(), second.len(), rest.len()), (5, 20, 0));
            assert_eq!(second.as_ptr() as usize % 64, 0);
        });
    }
}
