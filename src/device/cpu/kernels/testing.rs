//! What the tests of the kernels share: seeded values, comparisons, pools of threads.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Returns `len` values spread evenly over -1 … 1.
pub fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut source = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| (source.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Returns `len` whole numbers from `0..below`.
pub fn numbers(seed: u64, len: usize, below: usize) -> Vec<i32> {
    let mut source = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| (source.next_u32() as usize % below) as i32).collect()
}

/// Widens every element.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Panics unless `|actual - exact| <= tolerance * (1 + |exact|)` for every element.
#[track_caller]
pub fn assert_close(actual: &[f32], exact: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), exact.len());
    for (at, (&actual, &exact)) in actual.iter().zip(exact).enumerate() {
        let error = (f64::from(actual) - exact).abs();
        assert!(error <= tolerance * (1.0 + exact.abs()), "element {at}: {actual} instead of {exact}");
    }
}

/// Returns the gradient of `value` at `at` by central differences.
pub fn differences(at: &[f64], value: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    // The error of a central difference in f64 is least near the cube root of the rounding error.
    let step = 1e-5;
    let mut point = at.to_vec();
    (0..at.len())
        .map(|i| {
            point[i] = at[i] + step;
            let above = value(&point);
            point[i] = at[i] - step;
            let below = value(&point);
            point[i] = at[i];
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Returns the sum of products, used to turn a tensor into one number to differentiate.
pub fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Panics unless `run` gives the same bits in pools of one, two and three threads; returns its result.
#[track_caller]
pub fn assert_same_on_any_threads(run: impl Fn() -> Vec<f32> + Sync) -> Vec<f32> {
    let on = |threads: usize| -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can start");
        pool.install(&run)
    };
    let alone = on(1);
    for threads in [2, 3] {
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&alone) == bits(&on(threads)), "the result differs on {threads} threads");
    }
    alone
}
