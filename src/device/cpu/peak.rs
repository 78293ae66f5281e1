//! The peak rate of the processor, measured on the kernels themselves.

#![expect(clippy::disallowed_methods, reason = "the processor's peak is measured")]

use std::time::Instant;

use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::kernels::{ProductShape, Store, Weight, product_nt};
use crate::ir::Precision;

/// Side of the square product whose speed counts as the peak.
const PEAK_SIDE: usize = 2048;

/// Elements that are copied to measure the speed of memory: 128 MiB, more than caches hold.
const COPIED: usize = 32 << 20;

/// Elements that one task copies.
const COPY_BLOCK: usize = 256 << 10;

/// Measured runs, after one that is not.
const RUNS: usize = 8;

/// Returns the best rate of one large product with factors in `precision`, in 10^9 operations per second.
pub(super) fn product_rate(pool: &ThreadPool, precision: Precision) -> f64 {
    let side = PEAK_SIDE;
    let [a, b] = [1, 2].map(|seed| pattern(side * side, seed));
    let mut out = vec![0.0; side * side];
    let shape = ProductShape::nt(side, side, side).with_precision(precision);
    let seconds = best(|| {
        pool.install(|| product_nt(&mut out, &a, Weight::Rows(&b), None, Store::Replace, shape));
    });
    2.0 * (side as f64).powi(3) / seconds / 1e9
}

/// Returns the best rate of a copy, bytes read and written, in 10^9 bytes per second.
pub(super) fn copy_rate(pool: &ThreadPool) -> f64 {
    let from = vec![1.0_f32; COPIED];
    let mut to = vec![0.0_f32; COPIED];
    let seconds = best(|| {
        pool.install(|| {
            to.par_chunks_mut(COPY_BLOCK)
                .zip(from.par_chunks(COPY_BLOCK))
                .for_each(|(to, from)| to.copy_from_slice(from));
        });
    });
    (2 * COPIED * size_of::<f32>()) as f64 / seconds / 1e9
}

/// Returns the seconds of the shortest run.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let seconds = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

/// Returns values without structure between -1 and 1; what they are does not matter, that they are finite does.
fn pattern(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
