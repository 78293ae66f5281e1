//! Update rules, in place.
//!
//! Those that follow gradients also write down the sums of their squares, or infinity where a number is not finite.

use super::embedding::index_of;
use super::parallel::{CHUNK, Shared, for_each_block, for_each_task};
use super::scratch::with_scratch;
use super::simd::{atan2, dot, vectorised};
use crate::graph::ops::STRETCH;

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
/// All of one length; `squares` has an element for each [`STRETCH`] of them.
pub fn adam_atan2(
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    squares: &mut [f32],
    step: AdamAtan2Step,
) {
    let AdamAtan2Step { lr, beta1, beta2, weight_decay, step_scale, root_scale } = step;
    let keep = 1.0 - lr * weight_decay;
    by_parameters(
        p,
        m,
        v,
        g,
        squares,
        #[inline(always)]
        |p, m, v, g| {
            let mut largest = 0;
            for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * (g * g);
                *p = *p * keep - step_scale * atan2(*m, v.sqrt() * root_scale);
                largest = largest.max(exponent(*p)).max(exponent(*v));
            }
            largest
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
/// All of one length; `squares` has an element for each [`STRETCH`] of them.
pub fn adam_w(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], squares: &mut [f32], step: AdamWStep) {
    let AdamWStep { lr, beta1, beta2, weight_decay, step_scale, root_scale, eps } = step;
    let keep = 1.0 - lr * weight_decay;
    by_parameters(
        p,
        m,
        v,
        g,
        squares,
        #[inline(always)]
        |p, m, v, g| {
            let mut largest = 0;
            for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * (g * g);
                *p = *p * keep - step_scale * (*m / (v.sqrt() * root_scale + eps));
                largest = largest.max(exponent(*p)).max(exponent(*v));
            }
            largest
        },
    );
}

/// The bits of the exponent of a number that is not finite.
const NOT_FINITE: u32 = 0x7f80_0000;

/// Returns the bits of the exponent of a number; those of infinity and of a NaN are the largest.
#[inline(always)]
fn exponent(x: f32) -> u32 {
    x.to_bits() & NOT_FINITE
}

/// Returns a sum, or infinity if the largest of some exponents is that of a number that is not finite.
fn spoil(sum: f32, largest: u32) -> f32 {
    if largest == NOT_FINITE { f32::INFINITY } else { sum }
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
/// `table` `[ids, D]`, `ids` `[B]`, `grad_rows` `[B, D]`, `squares` `[B]`.
pub fn sign_sgd_rows(
    table: &mut [f32],
    ids: &[i32],
    grad_rows: &[f32],
    squares: &mut [f32],
    step: SignSgdStep,
) {
    let width = grad_rows.len() / ids.len();
    assert!(width > 0 && table.len().is_multiple_of(width));
    assert_eq!(grad_rows.len(), ids.len() * width);
    assert_eq!(squares.len(), ids.len());
    let rows = table.len() / width;
    let keep = 1.0 - step.lr * step.weight_decay;
    let (table, squares) = (Shared::new(table), Shared::new(squares));
    for_each_task(ids.len(), grad_rows.len() / 4, |task| {
        let id = ids[task];
        if ids[..task].contains(&id) {
            return;
        }
        let row = index_of(id, rows);
        // SAFETY: only the first task with this id gets here, so no other one touches this row.
        let weights = unsafe { table.part(row * width..(row + 1) * width) };
        let (sum, largest) = with_scratch(width, |sum| {
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
                    let mut largest = 0;
                    for (weight, sum) in weights.iter_mut().zip(&*sum) {
                        let sign = if *sum == 0.0 { 0.0 } else { 1.0_f32.copysign(*sum) };
                        *weight = *weight * keep - step.lr * sign;
                        largest = largest.max(exponent(*weight)).max(exponent(*sum));
                    }
                    (dot(sum, sum), largest)
                },
            )
        });
        for slot in (task..ids.len()).filter(|&slot| ids[slot] == id) {
            // SAFETY: only the first task with this id gets here, so no other one touches the slots of that id.
            unsafe { squares.part(slot..slot + 1) }.fill(spoil(sum, largest));
        }
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

/// Calls `run` (vectorised) with equal stretches of a parameter, its moments and its gradient. It returns the largest
/// exponent of what it has made.
fn by_parameters(
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    squares: &mut [f32],
    run: impl Fn(&mut [f32], &mut [f32], &mut [f32], &[f32]) -> u32 + Sync + Send,
) {
    /// Elements of a task.
    const BLOCK: usize = CHUNK / 2;
    const { assert!(BLOCK.is_multiple_of(STRETCH), "no stretch belongs to two tasks") };
    let len = p.len();
    assert_eq!(m.len(), len);
    assert_eq!(v.len(), len);
    assert_eq!(g.len(), len);
    assert_eq!(squares.len(), len.div_ceil(STRETCH));
    let (p, m, v, squares) = (Shared::new(p), Shared::new(m), Shared::new(v), Shared::new(squares));
    for_each_block(len, BLOCK, len, |range| {
        for start in range.clone().step_by(STRETCH) {
            let stretch = start..range.end.min(start + STRETCH);
            let index = start / STRETCH;
            // SAFETY: the stretches of different tasks are disjoint, and the four slices are different.
            let (p, m, v, squares) = unsafe {
                (
                    p.part(stretch.clone()),
                    m.part(stretch.clone()),
                    v.part(stretch.clone()),
                    squares.part(index..index + 1),
                )
            };
            let g = &g[stretch];
            let (sum, largest) = vectorised(
                #[inline(always)]
                || (dot(g, g), run(p, m, v, g)),
            );
            squares.fill(spoil(sum, largest));
        }
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
            let mut squares = [-1.0];
            if plain {
                adam_w(&mut p, &mut m, &mut v, &g, &mut squares, adamw_step);
            } else {
                adam_atan2(&mut p, &mut m, &mut v, &g, &mut squares, atan2_step);
            }
            // A sum of less than 200 squares, each below one.
            assert_close(&squares, &[wide_g.iter().map(|g| g * g).sum::<f64>()], 2e-5);
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
            let (mut table, mut squares) = (old.clone(), vec![-1.0; batch]);
            sign_sgd_rows(&mut table, &ids, &g, &mut squares, SignSgdStep { lr: 0.01, weight_decay: 0.5 });
            let sum = |id: i32, j: usize| -> f32 {
                (0..batch).filter(|&b| ids[b] == id).map(|b| g[b * width + j]).sum()
            };
            let exact = ids.iter().map(|&id| (0..width).map(|j| sum(id, j).powi(2)).sum::<f32>());
            // Sums of whole numbers are exact.
            prop_assert_eq!(squares, exact.collect::<Vec<_>>());
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
        adam_atan2(&mut p, &mut m, &mut v, &[0.0], &mut [0.0], constants(1).0);
        assert_eq!((p[0], m[0], v[0]), (2.0 * (1.0 - 0.01 * 0.1), 0.0, 0.0));
    }

    #[test]
    fn updates_are_the_same_on_any_threads() {
        let len = 150_000;
        let (p, g, ids, rows) = (values(1, len), values(2, len), numbers(3, 300, 40), values(4, 300 * 512));
        assert_same_on_any_threads(|| {
            let (mut p, mut m, mut v, mut mean) = (p.clone(), vec![0.0; len], vec![0.0; len], g.clone());
            let mut squares = vec![-1.0; len.div_ceil(STRETCH)];
            adam_atan2(&mut p, &mut m, &mut v, &g, &mut squares, constants(1).0);
            average(&mut mean, &p, 0.99);
            let mut table = values(5, 40 * 512);
            let mut squares_of_rows = vec![-1.0; ids.len()];
            let step = SignSgdStep { lr: 0.1, weight_decay: 0.1 };
            sign_sgd_rows(&mut table, &ids, &rows, &mut squares_of_rows, step);
            [p, m, v, mean, table, squares, squares_of_rows].concat()
        });
    }

    #[test]
    fn a_stretch_is_spoiled_by_a_gradient_or_a_weight_that_is_not_finite_and_by_a_square_that_is_not() {
        let len = 3 * STRETCH + 5;
        // Where the number stands, and the stretch that it spoils.
        let places = [(0, 0), (STRETCH - 1, 0), (STRETCH, 1), (2 * STRETCH + 9, 2), (len - 1, 3)];
        for (at, stretch) in places {
            for plain in [false, true] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
                    // A weight may be 1e30; the square of a gradient may not.
                    for in_weight in [false, true] {
                        let (mut p, mut g) = (values(1, len), values(2, len));
                        let spoils = !in_weight || !bad.is_finite();
                        if in_weight {
                            p[at] = bad
                        } else {
                            g[at] = bad
                        }
                        let (mut m, mut v, mut squares) = (vec![0.0; len], vec![0.0; len], vec![-1.0; 4]);
                        let (atan2_step, adamw_step) = constants(1);
                        if plain {
                            adam_w(&mut p, &mut m, &mut v, &g, &mut squares, adamw_step);
                        } else {
                            adam_atan2(&mut p, &mut m, &mut v, &g, &mut squares, atan2_step);
                        }
                        let spoiled: Vec<bool> = squares.iter().map(|sum| !sum.is_finite()).collect();
                        let expected: Vec<bool> = (0..4).map(|index| spoils && index == stretch).collect();
                        assert_eq!(spoiled, expected, "{bad} at {at}, in the weight: {in_weight}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_are_spoiled_by_a_sum_or_a_weight_that_is_not_finite() {
        let ids = [2, 0, 2, 1];
        let step = SignSgdStep { lr: 0.1, weight_decay: 0.1 };
        let spoiled = |change: fn(&mut [f32], &mut [f32])| {
            let (mut table, mut g, mut squares) = ([1.0; 6], [1.0; 8], [-1.0; 4]);
            change(&mut table, &mut g);
            sign_sgd_rows(&mut table, &ids, &g, &mut squares, step);
            squares.map(|sum| !sum.is_finite())
        };
        assert_eq!(spoiled(|_, _| {}), [false; 4]);
        assert_eq!(spoiled(|_, g| g[5] = f32::NAN), [true, false, true, false]);
        assert_eq!(spoiled(|_, g| g[2] = f32::INFINITY), [false, true, false, false]);
        assert_eq!(spoiled(|table, _| table[3] = f32::INFINITY), [false, false, false, true]);
    }
}
