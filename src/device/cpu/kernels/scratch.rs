//! Working memory of a task.
//!
//! Every thread keeps buffers that grow to the largest size asked for and are reused afterwards, so
//! kernels stop allocating after the first step. A buffer is taken out of its slot while it is in use: a
//! kernel that runs inside another one (or a task stolen meanwhile) finds an empty slot and allocates its own
//! buffer instead of sharing. The content of a buffer is whatever was left there.

use std::cell::RefCell;

/// One cache line; makes every scratch buffer start at a multiple of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

thread_local! {
    static FREE: RefCell<Vec<Vec<CacheLine>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `run` with `len` floats of unspecified content, aligned to 64 bytes.
pub fn with_scratch<R>(len: usize, run: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut lines = FREE.with(|free| free.borrow_mut().pop()).unwrap_or_default();
    let needed = len.div_ceil(16);
    if lines.len() < needed {
        lines.resize(needed, CacheLine([0.0; 16]));
    }
    // SAFETY: `CacheLine` is `repr(C)` around sixteen floats without padding, so the lines are
    // `16 * lines.len() >= len` initialised floats; the vector is not touched while the slice lives.
    let floats = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) };
    let result = run(floats);
    FREE.with(|free| free.borrow_mut().push(lines));
    result
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
    len.div_ceil(16) * 16
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
    fn carved_parts_are_aligned_and_disjoint() {
        with_scratch(aligned(5) + aligned(20), |mut rest| {
            let first = carve(&mut rest, 5);
            let second = carve(&mut rest, 20);
            assert_eq!((first.len(), second.len(), rest.len()), (5, 20, 0));
            assert_eq!(second.as_ptr() as usize % 64, 0);
        });
    }
}
