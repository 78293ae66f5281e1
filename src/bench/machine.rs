//! What the machine can do at most, measured.

use std::convert::Infallible;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::{pattern, repeat};
use crate::backend::Session;
use crate::backend::cpu::kernels::{ProductShape, Store, Weight, product_nt};
use crate::ir::Precision;

/// Side of the square product whose speed counts as the peak.
const PEAK_SIDE: usize = 2048;

/// Elements that are copied to measure the speed of memory: 128 MiB, more than caches hold.
const COPIED: usize = 32 << 20;

/// Elements that one task copies.
const COPY_BLOCK: usize = 256 << 10;

/// Returns the best rate of one large product with factors in `precision`, in 10^9 operations per second.
pub(super) fn product_rate(session: &Session, precision: Precision) -> f64 {
    let side = PEAK_SIDE;
    let [a, b] = [1, 2].map(|seed| pattern(side * side, seed, 1.0));
    let mut out = vec![0.0; side * side];
    let shape = ProductShape::nt(side, side, side).with_precision(precision);
    let Ok(seconds) = repeat(8, || {
        session.install(|| product_nt(&mut out, &a, Weight::Rows(&b), None, Store::Replace, shape));
        Ok::<(), Infallible>(())
    });
    2.0 * (side as f64).powi(3) / best(seconds) / 1e9
}

/// Returns the best rate of a copy, bytes read and written, in 10^9 bytes per second.
pub(super) fn copy_rate(session: &Session) -> f64 {
    let from = vec![1.0_f32; COPIED];
    let mut to = vec![0.0_f32; COPIED];
    let Ok(seconds) = repeat(8, || {
        session.install(|| {
            to.par_chunks_mut(COPY_BLOCK)
                .zip(from.par_chunks(COPY_BLOCK))
                .for_each(|(to, from)| to.copy_from_slice(from));
        });
        Ok::<(), Infallible>(())
    });
    (2 * COPIED * size_of::<f32>()) as f64 / best(seconds) / 1e9
}

fn best(seconds: Vec<f64>) -> f64 {
    seconds.into_iter().fold(f64::INFINITY, f64::min)
}
