//! Update rules, in place.

use super::embedding::index_of;
use super::parallel::{CHUNK, Shared, for_each_block, for_each_task};
use super::scratch::with_scratch;
use super::simd::{atan2, vectorised};

/// Constants of one [`adam_atan2`] update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamAtan2Step {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// `lr / (1 - beta1^t)` at update `t`, counted from one.
    pub step_scale: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    pub root_scale: f32,
}

/// Adam with an arcus tangent in place of the quotient, which needs no epsilon (Everett et al. 2024):
///
/// ```text
/// m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
/// p = p (1 - lr weight_decay) - step_scale atan2(m, root_scale sqrt(v))
/// ```
///
/// # Shapes
///
/// All of one length.
pub fn adam_atan2(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: AdamAtan2Step) {
    let AdamAtan2Step { lr, beta1, beta2, weight_decay, step_scale, root_scale } = step;
    let keep = 1.0 - lr * weight_decay;
    by_parameters(
        p,
        m,
        v,
        g,
        #[inline(always)]
        |p, m, v, g| {
            for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * (g * g);
                *p = *p * keep - step_scale * atan2(*m, v.sqrt() * root_scale);
            }
        },
    );
}

/// Constants of one [`adam_w`] update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// `lr / (1 - beta1^t)` at update `t`, counted from one.
    pub step_scale: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    pub root_scale: f32,
    /// Added to the root.
    pub eps: f32,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019):
///
/// ```text
/// m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
/// p = p (1 - lr weight_decay) - step_scale m / (root_scale sqrt(v) + eps)
/// ```
///
/// # Shapes
///
/// All of one length.
pub fn adam_w(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: AdamWStep) {
    let AdamWStep { lr, beta1, beta2, weight_decay, step_scale, root_scale, eps } = step;
    let keep = 1.0 - lr * weight_decay;
    by_parameters(
        p,
        m,
        v,
        g,
        #[inline(always)]
        |p, m, v, g| {
            for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * (g * g);
                *p = *p * keep - step_scale * (*m / (v.sqrt() * root_scale + eps));
            }
        },
    );
}

/// Constants of one [`sign_sgd_rows`] update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignSgdStep {
    /// Learning rate.
    pub lr: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// Moves every row of a table that occurs in `ids`, once:
/// `w = w (1 - lr weight_decay) - lr sign(Σ g)` over the rows `g` of equal id, with `sign(0) = 0`.
///
/// # Shapes
///
/// `table` `[ids, D]`, `ids` `[B]`, `grad_rows` `[B, D]`.
pub fn sign_sgd_rows(table: &mut [f32], ids: &[i32], grad_rows: &[f32], width: usize, step: SignSgdStep) {
    assert!(width > 0 && table.len().is_multiple_of(width));
    assert_eq!(grad_rows.len(), ids.len() * width);
    let rows = table.len() / width;
    let keep = 1.0 - step.lr * step.weight_decay;
    let table = Shared::new(table);
    for_each_task(ids.len(), grad_rows.len() / 4, |task| {
        let id = ids[task];
        if ids[..task].contains(&id) {
            return;
        }
        let row = index_of(id, rows);
        // SAFETY: only the first task with this id gets here, so no other one touches this row.
        let weights = unsafe { table.part(row * width..(row + 1) * width) };
        with_scratch(width, |sum| {
            vectorised(
                #[inline(always)]
                || {
                    sum.fill(0.0);
                    for (_, g) in ids
                        .iter()
                        .zip(grad_rows.chunks_exact(width))
                        .skip(task)
                        .filter(|(other, _)| **other == id)
                    {
                        for (sum, g) in sum.iter_mut().zip(g) {
                            *sum += g;
                        }
                    }
                    for (weight, sum) in weights.iter_mut().zip(&*sum) {
                        let sign = if *sum == 0.0 { 0.0 } else { 1.0_f32.copysign(*sum) };
                        *weight = *weight * keep - step.lr * sign;
                    }
                },
            );
        });
    });
}

/// `memory = value`.
///
/// # Shapes
///
/// Both of one length.
pub fn assign(memory: &mut [f32], value: &[f32]) {
    memory.copy_from_slice(value);
}

/// `average = rate average + (1 - rate) p`.
///
/// # Shapes
///
/// Both of one length.
pub fn average(average: &mut [f32], p: &[f32], rate: f32) {
    assert_eq!(p.len(), average.len());
    let len = average.len();
    let average = Shared::new(average);
    for_each_block(len, CHUNK, len / 4, |range| {
        // SAFETY: the ranges of different tasks are disjoint.
        let average = unsafe { average.part(range.clone()) };
        vectorised(
            #[inline(always)]
            || {
                for (average, p) in average.iter_mut().zip(&p[range]) {
                    *average = (1.0 - rate) * p + rate * *average;
                }
            },
        );
    });
}

/// Calls `run` (vectorised) with equal pieces of a parameter, its moments and its gradient.
fn by_parameters(
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    run: impl Fn(&mut [f32], &mut [f32], &mut [f32], &[f32]) + Sync + Send,
) {
    let len = p.len();
    assert_eq!(m.len(), len);
    assert_eq!(v.len(), len);
    assert_eq!(g.len(), len);
    let (p, m, v) = (Shared::new(p), Shared::new(m), Shared::new(v));
    for_each_block(len, CHUNK / 2, len, |range| {
        // SAFETY: the ranges of different tasks are disjoint, and the three slices are different.
        let (p, m, v) = unsafe { (p.part(range.clone()), m.part(range.clone()), v.part(range.clone())) };
        vectorised(
            #[inline(always)]
            || run(p, m, v, &g[range]),
        );
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, numbers, values, wide};
    use super::*;

    /// Constants of update `t`.
    fn constants(t: i32) -> (AdamAtan2Step, AdamWStep) {
        let (lr, beta1, beta2, weight_decay) = (0.01, 0.9_f32, 0.95_f32, 0.1);
        let step_scale = lr / (1.0 - beta1.powi(t));
        let root_scale = 1.0 / (1.0 - beta2.powi(t)).sqrt();
        let eps = 1e-8;
        (
            AdamAtan2Step { lr, beta1, beta2, weight_decay, step_scale, root_scale },
            AdamWStep { lr, beta1, beta2, weight_decay, step_scale, root_scale, eps },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn adam_agrees_with_the_formula(len in 1_usize..200, t in 1_i32..50, plain: bool, seed: u64) {
            let (mut p, mut m, g) = (values(seed, len), values(seed ^ 1, len), values(seed ^ 2, len));
            let mut v: Vec<f32> = values(seed ^ 3, len).iter().map(|x| x * x).collect();
            let (old_p, old_m, old_v, wide_g) = (wide(&p), wide(&m), wide(&v), wide(&g));
            let (atan2_step, adamw_step) = constants(t);
            if plain {
                adam_w(&mut p, &mut m, &mut v, &g, adamw_step);
            } else {
                adam_atan2(&mut p, &mut m, &mut v, &g, atan2_step);
            }
            let (lr, beta1, beta2) = (0.01, 0.9_f64, 0.95_f64);
            let exact_m: Vec<f64> = (0..len).map(|i| beta1 * old_m[i] + (1.0 - beta1) * wide_g[i]).collect();
            let exact_v: Vec<f64> = (0..len).map(|i| beta2 * old_v[i] + (1.0 - beta2) * wide_g[i].powi(2)).collect();
            let exact_p: Vec<f64> = (0..len)
                .map(|i| {
                    let root = (exact_v[i] / (1.0 - beta2.powi(t))).sqrt();
                    let direction = if plain { exact_m[i] / (root + 1e-8) } else { exact_m[i].atan2(root) };
                    old_p[i] * (1.0 - lr * 0.1) - lr / (1.0 - beta1.powi(t)) * direction
                })
                .collect();
            // The constants themselves are rounded to f32: a few 1e-7 of numbers near one.
            assert_close(&m, &exact_m, 3e-7);
            assert_close(&v, &exact_v, 3e-7);
            if !plain {
                assert_close(&p, &exact_p, 1e-6);
            } else {
                // The quotient is unbounded; its relative error is what is bounded.
                for i in 0..len {
                    let moved = (exact_p[i] - old_p[i]).abs();
                    prop_assert!((f64::from(p[i]) - exact_p[i]).abs() <= 3e-6 * (1.0 + moved));
                }
            }
        }

        #[test]
        fn rows_move_by_the_sign_of_their_sum(rows in 1_usize..6, batch in 1_usize..9, width in 1_usize..20, seed: u64) {
            let (old, ids) = (values(seed, rows * width), numbers(seed, batch, rows));
            // Whole numbers, so that sums of zero occur.
            let g: Vec<f32> = numbers(seed ^ 1, batch * width, 3).iter().map(|&x| x as f32 - 1.0).collect();
            let mut table = old.clone();
            sign_sgd_rows(&mut table, &ids, &g, width, SignSgdStep { lr: 0.01, weight_decay: 0.5 });
            let exact: Vec<f64> = (0..rows * width)
                .map(|at| {
                    let (row, j) = (at / width, at % width);
                    let slots: Vec<usize> = (0..batch).filter(|&b| ids[b] as usize == row).collect();
                    let sum: f64 = slots.iter().map(|&b| f64::from(g[b * width + j])).sum();
                    let sign = if sum == 0.0 { 0.0 } else { sum.signum() };
                    let old = f64::from(old[at]);
                    if slots.is_empty() { old } else { old * (1.0 - 0.01 * 0.5) - 0.01 * sign }
                })
                .collect();
            // Two roundings of numbers near one.
            assert_close(&table, &exact, 2e-7);
        }

        #[test]
        fn averages_agree_with_the_formula(len in 1_usize..200, rate in 0.5_f32..1.0, seed: u64) {
            let (old, p) = (values(seed, len), values(seed ^ 1, len));
            let mut mean = old.clone();
            average(&mut mean, &p, rate);
            let rate = f64::from(rate);
            let exact: Vec<f64> =
                (0..len).map(|i| (1.0 - rate) * f64::from(p[i]) + rate * f64::from(old[i])).collect();
            assert_close(&mean, &exact, 2e-7);
        }
    }

    #[test]
    fn nothing_to_learn_leaves_only_the_decay() {
        let (mut p, mut m, mut v) = ([2.0], [0.0], [0.0]);
        adam_atan2(&mut p, &mut m, &mut v, &[0.0], constants(1).0);
        assert_eq!((p[0], m[0], v[0]), (2.0 * (1.0 - 0.01 * 0.1), 0.0, 0.0));
    }

    #[test]
    fn updates_are_the_same_on_any_threads() {
        let len = 150_000;
        let (p, g, ids, rows) = (values(1, len), values(2, len), numbers(3, 300, 40), values(4, 300 * 512));
        assert_same_on_any_threads(|| {
            let (mut p, mut m, mut v, mut mean) = (p.clone(), vec![0.0; len], vec![0.0; len], g.clone());
            adam_atan2(&mut p, &mut m, &mut v, &g, constants(1).0);
            average(&mut mean, &p, 0.99);
            let mut table = values(5, 40 * 512);
            sign_sgd_rows(&mut table, &ids, &rows, 512, SignSgdStep { lr: 0.1, weight_decay: 0.1 });
            [p, m, v, mean, table].concat()
        });
    }
}
