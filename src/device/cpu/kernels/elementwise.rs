//! Sums, scalings and repetitions of whole tensors.

use super::Store;
use super::parallel::{CHUNK, Shared, for_each_block};
use super::simd::{logistic, vectorised};

/// `out = a + b`.
///
/// # Shapes
///
/// All of one length.
pub fn add(out: &mut [f32], a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), out.len());
    assert_eq!(b.len(), out.len());
    by_chunks(
        out,
        #[inline(always)]
        |range, out| {
            for ((out, a), b) in out.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                *out = a + b;
            }
        },
    );
}

/// `out = factor x`.
///
/// # Shapes
///
/// Both of one length.
pub fn scale(out: &mut [f32], x: &[f32], factor: f32) {
    assert_eq!(x.len(), out.len());
    by_chunks(
        out,
        #[inline(always)]
        |range, out| {
            for (out, x) in out.iter_mut().zip(&x[range]) {
                *out = factor * x;
            }
        },
    );
}

/// `out = 1 / (1 + e^-x)`.
///
/// # Shapes
///
/// Both of one length.
pub fn sigmoid(out: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), out.len());
    by_chunks(
        out,
        #[inline(always)]
        |range, out| {
            for (out, x) in out.iter_mut().zip(&x[range]) {
                *out = logistic(*x);
            }
        },
    );
}

/// `out[b, s] = x[b, s] + positions[s]`.
///
/// # Shapes
///
/// `out`, `x` `[B, S, D]`, `positions` `[S, D]`.
pub fn add_suffix(out: &mut [f32], x: &[f32], positions: &[f32]) {
    assert_eq!(x.len(), out.len());
    let size = positions.len();
    assert!(size > 0 && out.len().is_multiple_of(size), "{} elements of {size} positions", out.len());
    let work = out.len() / 4;
    let batch = out.len() / size;
    let out = Shared::new(out);
    for_each_block(batch, CHUNK.div_ceil(size), work, |rows| {
        // SAFETY: the rows of different tasks are disjoint.
        let out = unsafe { out.part(rows.start * size..rows.end * size) };
        vectorised(
            #[inline(always)]
            || {
                let x = x[rows.start * size..rows.end * size].chunks_exact(size);
                for (out, x) in out.chunks_exact_mut(size).zip(x) {
                    for ((out, x), position) in out.iter_mut().zip(x).zip(positions) {
                        *out = x + position;
                    }
                }
            },
        );
    });
}

/// `out[i] = Σ_b dy[b, i]`, the gradient of what was repeated along the batch.
///
/// With rows in place of the batch this is the gradient of a bias.
///
/// # Shapes
///
/// `out` `[S, D]` (or `[D]`), `dy` `[B, S, D]` (or `[R, D]`).
pub fn sum_leading(out: &mut [f32], dy: &[f32], store: Store) {
    let size = out.len();
    assert!(size > 0 && dy.len().is_multiple_of(size), "{} elements into {size}", dy.len());
    let out = Shared::new(out);
    for_each_block(size, 512, dy.len() / 4, |range| {
        // SAFETY: the ranges of different tasks are disjoint.
        let out = unsafe { out.part(range.clone()) };
        vectorised(
            #[inline(always)]
            || {
                if store == Store::Replace {
                    out.fill(0.0);
                }
                for dy in dy.chunks_exact(size) {
                    for (out, dy) in out.iter_mut().zip(&dy[range.clone()]) {
                        *out += dy;
                    }
                }
            },
        );
    });
}

/// `out = value` everywhere.
pub fn fill(out: &mut [f32], value: f32) {
    out.fill(value);
}

/// `out = a` where `a` is not below `b`, else `b`.
///
/// # Shapes
///
/// All of one length.
pub fn maximum(out: &mut [f32], a: &[f32], b: &[f32]) {
    for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = if a < b { b } else { a };
    }
}

/// `out = a` where the mask is not 0, else `b`.
///
/// # Shapes
///
/// All of one length.
pub fn choose(out: &mut [f32], mask: &[f32], a: &[f32], b: &[f32]) {
    for (index, out) in out.iter_mut().enumerate() {
        *out = if mask[index] != 0.0 { a[index] } else { b[index] };
    }
}

/// `out = 1` where `a = b`, else 0.
///
/// # Shapes
///
/// All of one length.
pub fn equal(out: &mut [f32], a: &[f32], b: &[f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = f32::from(u8::from(a == b));
    }
}

/// Calls `run` (vectorised) with consecutive pieces of `out`.
fn by_chunks(out: &mut [f32], run: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync + Send) {
    let len = out.len();
    let out = Shared::new(out);
    for_each_block(len, CHUNK, len / 4, |range| {
        // SAFETY: the ranges of different tasks are disjoint.
        let part = unsafe { out.part(range.clone()) };
        vectorised(
            #[inline(always)]
            || run(range, part),
        );
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, values, wide};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sums_agree_with_the_formula(len in 1_usize..40_000, factor in -3.0_f32..3.0, seed: u64) {
            let [a, b] = [0, 1].map(|salt| values(seed ^ salt, len));
            let mut out = vec![0.0; len];
            add(&mut out, &a, &b);
            prop_assert!((0..len).all(|i| out[i] == a[i] + b[i]));
            scale(&mut out, &a, factor);
            prop_assert!((0..len).all(|i| out[i] == factor * a[i]));
            sigmoid(&mut out, &b);
            let exact: Vec<f64> = b.iter().map(|&x| 1.0 / (1.0 + (-f64::from(x)).exp())).collect();
            // Three units in the last place of numbers below one.
            assert_close(&out, &exact, 2e-7);
        }

        #[test]
        fn batches_agree_with_the_formula(batch in 1_usize..9, size in 1_usize..2000, add: bool, seed: u64) {
            let (x, positions) = (values(seed, batch * size), values(seed ^ 1, size));
            let mut out = vec![0.0; batch * size];
            add_suffix(&mut out, &x, &positions);
            prop_assert!((0..batch * size).all(|i| out[i] == x[i] + positions[i % size]));
            let mut sum = positions.clone();
            sum_leading(&mut sum, &x, if add { Store::Add } else { Store::Replace });
            let start = |i: usize| if add { f64::from(positions[i]) } else { 0.0 };
            let exact: Vec<f64> =
                (0..size).map(|i| start(i) + (0..batch).map(|b| f64::from(x[b * size + i])).sum::<f64>()).collect();
            // At most nine additions of numbers below nine.
            assert_close(&sum, &exact, 2e-6);
        }
    }

    #[test]
    fn gradient_of_positions_is_the_sum_over_the_batch() {
        let (batch, size) = (3, 7);
        let (x, positions, dy) = (values(1, batch * size), values(2, size), values(3, batch * size));
        let value = |positions: &[f64]| -> f64 {
            (0..batch * size).map(|i| (f64::from(x[i]) + positions[i % size]) * f64::from(dy[i])).sum()
        };
        let exact = super::super::testing::differences(&wide(&positions), value);
        let mut sum = vec![0.0; size];
        sum_leading(&mut sum, &dy, Store::Replace);
        assert_close(&sum, &exact, 1e-6);
    }

    #[test]
    fn sums_are_the_same_on_any_threads() {
        let (batch, size) = (50, 9_000);
        let (x, positions) = (values(1, batch * size), values(2, size));
        assert_same_on_any_threads(|| {
            let (mut out, mut sum) = (vec![0.0; batch * size], vec![0.0; size]);
            add_suffix(&mut out, &x, &positions);
            sum_leading(&mut sum, &out, Store::Replace);
            let (mut scaled, mut both) = (out.clone(), out.clone());
            scale(&mut scaled, &out, 0.3);
            add(&mut both, &scaled, &x);
            [out, sum, scaled, both].concat()
        });
    }
}
