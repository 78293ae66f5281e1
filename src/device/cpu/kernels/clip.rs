//! The norm of the gradient, and its bound.

use super::parallel::{Shared, for_each_block};
use super::scratch::{Scratch, with_shared_scratch};
use super::simd::{dot, vectorised};
use crate::graph::ops::CLIP_EPS;

/// Elements that share one partial sum.
const PART: usize = 4096;
/// Partial sums that a task makes.
const PARTS_OF_A_TASK: usize = 4;

/// Returns the scratch of [`sum_of_squares`] of so many elements.
pub fn sum_of_squares_scratch(elements: usize) -> Scratch {
    Scratch { whole: elements.div_ceil(PART), ..Scratch::default() }
}

/// Returns the sum of the squares of all elements. Partial sums are in f32, and are added up in f64.
pub fn sum_of_squares(x: &[f32]) -> f32 {
    with_shared_scratch(x.len().div_ceil(PART), |sums| {
        let count = sums.len();
        let parts = Shared::new(sums);
        for_each_block(count, PARTS_OF_A_TASK, x.len() / 4, |range| {
            // SAFETY: the ranges of different tasks are disjoint.
            let sums = unsafe { parts.part(range.clone()) };
            let x = x[range.start * PART..].chunks(PART);
            vectorised(
                #[inline(always)]
                || {
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = dot(x, x);
                    }
                },
            );
        });
        sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() as f32
    })
}

/// Returns `min(1, most / (sqrt(sum) + eps))`: what bounds a norm whose square is `sum`. A norm that is no number gives
/// none.
pub fn clip_factor(sum: f32, most: f32) -> f32 {
    let factor = most / (sum.sqrt() + CLIP_EPS);
    if factor > 1.0 { 1.0 } else { factor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, values};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sums_agree_with_the_formula(len in 1_usize..40_000, seed: u64) {
            let x = values(seed, len);
            let exact: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            // Each of 64 lanes adds 64 positive terms of a part.
            assert_close(&[sum_of_squares(&x)], &[exact], 2e-6);
        }
    }

    #[test]
    fn norms_above_the_largest_are_brought_to_it() {
        assert_eq!(clip_factor(0.0, 0.5), 1.0);
        assert_eq!(clip_factor(0.2, 0.5), 1.0);
        assert!((clip_factor(4.0, 0.5) - 0.25).abs() < 1e-6);
        assert_eq!(clip_factor(f32::INFINITY, 0.5), 0.0);
        assert!(clip_factor(f32::NAN, 0.5).is_nan());
    }

    #[test]
    fn sums_are_the_same_on_any_threads() {
        let x = values(1, 1_000_003);
        assert_same_on_any_threads(|| vec![sum_of_squares(&x)]);
    }
}
