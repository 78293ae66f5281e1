//! The norm of layers, with a learned scale and shift.
//!
//! `y = (x - m) s scale + shift` over the last axis, with `m = mean(x)` and `s = 1 / sqrt(mean((x - m)^2) + eps)` (Ba
//! et al. 2016). With `n = (x - m) s`, a gradient `dy` of `y` and `g = dy scale` give
//! `dx = s (g - mean(g) - n mean(g n))` and `dscale = Σ dy n` over all rows.

use super::Store;
use super::elementwise::{sum_of_rows, sum_of_rows_scratch};
use super::parallel::{CHUNK, Shared, for_each_block};
use super::scratch::Scratch;
use super::simd::{LANES, dot, sum_lanes, vectorised};

/// Norms every row.
///
/// # Shapes
///
/// `y`, `x` `[R, width]`, `mean`, `factor` `[R]`, `scale`, `shift` `[width]`.
pub fn layer_norm(
    y: &mut [f32],
    mean: &mut [f32],
    factor: &mut [f32],
    x: &[f32],
    (scale, shift): (&[f32], &[f32]),
    eps: f32,
) {
    let width = scale.len();
    let rows = rows_of(x, width);
    assert_eq!(y.len(), x.len());
    assert_eq!((mean.len(), factor.len(), shift.len()), (rows, rows, width));
    let (y, mean, factor) = (Shared::new(y), Shared::new(mean), Shared::new(factor));
    for_each_block(rows, rows_per_task(width), x.len(), |rows| {
        // SAFETY: the rows of different tasks are disjoint.
        let (y, mean, factor) = unsafe {
            (y.part(rows.start * width..rows.end * width), mean.part(rows.clone()), factor.part(rows.clone()))
        };
        let x = &x[rows.start * width..rows.end * width];
        vectorised(
            #[inline(always)]
            || {
                for (row, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
                    let m = sum(x) / width as f32;
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = x - m;
                    }
                    let s = 1.0 / (dot(y, y) / width as f32 + eps).sqrt();
                    for ((y, scale), shift) in y.iter_mut().zip(scale).zip(shift) {
                        *y = (*y * s).mul_add(*scale, *shift);
                    }
                    (mean[row], factor[row]) = (m, s);
                }
            },
        );
    });
}

/// Gradient of [`layer_norm`] with respect to `x`.
///
/// # Shapes
///
/// `dx`, `x`, `dy` `[R, width]`, `mean`, `factor` `[R]` as the forward pass left them, `scale` `[width]`.
pub fn layer_norm_grad(
    dx: &mut [f32],
    x: &[f32],
    (mean, factor): (&[f32], &[f32]),
    scale: &[f32],
    dy: &[f32],
) {
    let width = scale.len();
    let rows = rows_of(x, width);
    assert_eq!((dx.len(), dy.len()), (x.len(), x.len()));
    assert_eq!((mean.len(), factor.len()), (rows, rows));
    let dx = Shared::new(dx);
    for_each_block(rows, rows_per_task(width), 2 * x.len(), |rows| {
        // SAFETY: the rows of different tasks are disjoint.
        let dx = unsafe { dx.part(rows.start * width..rows.end * width) };
        vectorised(
            #[inline(always)]
            || {
                for (row, dx) in rows.zip(dx.chunks_exact_mut(width)) {
                    let range = row * width..(row + 1) * width;
                    let (x, dy) = (&x[range.clone()], &dy[range]);
                    let (m, s) = (mean[row], factor[row]);
                    for ((dx, dy), scale) in dx.iter_mut().zip(dy).zip(scale) {
                        *dx = dy * scale;
                    }
                    let (mean_g, mean_gn) = (sum(dx) / width as f32, along(dx, x, m) * s / width as f32);
                    for (dx, x) in dx.iter_mut().zip(x) {
                        *dx = s * (*dx - mean_g - (x - m) * s * mean_gn);
                    }
                }
            },
        );
    });
}

/// Gradient of [`layer_norm`] with respect to the scale.
///
/// # Shapes
///
/// `dscale` `[width]`, `x`, `dy` `[R, width]`, `mean`, `factor` `[R]`.
pub fn layer_norm_grad_scale(dscale: &mut [f32], x: &[f32], (mean, factor): (&[f32], &[f32]), dy: &[f32]) {
    let width = dscale.len();
    let rows = rows_of(x, width);
    assert_eq!(dy.len(), x.len());
    assert_eq!((mean.len(), factor.len()), (rows, rows));
    sum_of_rows(
        dscale,
        rows,
        x.len() / 2,
        Store::Replace,
        #[inline(always)]
        |rows, dscale| {
            for row in rows {
                let range = row * width..(row + 1) * width;
                let (m, s) = (mean[row], factor[row]);
                for ((dscale, x), dy) in dscale.iter_mut().zip(&x[range.clone()]).zip(&dy[range]) {
                    *dscale = (dy * s).mul_add(x - m, *dscale);
                }
            }
        },
    );
}

/// Returns the scratch of [`layer_norm_grad_scale`] of so many elements in rows of `width`.
pub fn layer_norm_grad_scale_scratch(elements: usize, width: usize) -> Scratch {
    sum_of_rows_scratch(elements / width.max(1), width)
}

fn rows_of(x: &[f32], width: usize) -> usize {
    assert!(width > 0 && x.len().is_multiple_of(width), "{} elements are not rows of {width}", x.len());
    x.len() / width
}

fn rows_per_task(width: usize) -> usize {
    (CHUNK / width).max(1)
}

/// Returns the sum of some elements.
#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    let (wide, tail) = x.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for x in wide {
        for (sum, x) in lanes.iter_mut().zip(x) {
            *sum += x;
        }
    }
    for (sum, x) in lanes.iter_mut().zip(tail) {
        *sum += x;
    }
    sum_lanes(lanes)
}

/// Returns the sum of `g (x - mean)`.
#[inline(always)]
fn along(g: &[f32], x: &[f32], mean: f32) -> f32 {
    let (g_wide, g_tail) = g.as_chunks::<LANES>();
    let (x_wide, x_tail) = x.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (g, x) in g_wide.iter().zip(x_wide) {
        for ((sum, g), x) in lanes.iter_mut().zip(g).zip(x) {
            *sum = g.mul_add(x - mean, *sum);
        }
    }
    for ((sum, g), x) in lanes.iter_mut().zip(g_tail).zip(x_tail) {
        *sum = g.mul_add(x - mean, *sum);
    }
    sum_lanes(lanes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, differences, inner, values, wide};
    use super::*;

    const EPS: f32 = 1e-5;

    fn naive(x: &[f64], scale: &[f64], shift: &[f64]) -> Vec<f64> {
        let width = scale.len();
        x.chunks(width)
            .flat_map(|x| {
                let mean = x.iter().sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                let factor = 1.0 / (variance + f64::from(EPS)).sqrt();
                (0..width).map(move |at| (x[at] - mean) * factor * scale[at] + shift[at])
            })
            .collect()
    }

    /// What [`layer_norm`] makes of its arguments.
    struct Normed {
        y: Vec<f32>,
        mean: Vec<f32>,
        factor: Vec<f32>,
    }

    fn normed(x: &[f32], scale: &[f32], shift: &[f32]) -> Normed {
        let rows = x.len() / scale.len();
        let (mut y, mut mean, mut factor) = (vec![9.0; x.len()], vec![9.0; rows], vec![9.0; rows]);
        layer_norm(&mut y, &mut mean, &mut factor, x, (scale, shift), EPS);
        Normed { y, mean, factor }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn norm_agrees_with_the_formula(rows in 1_usize..20, width in 1_usize..140, seed: u64) {
            let x = values(seed, rows * width);
            let (scale, shift) = (values(seed ^ 1, width), values(seed ^ 2, width));
            let Normed { y, mean, factor } = normed(&x, &scale, &shift);
            let exact = naive(&wide(&x), &wide(&scale), &wide(&shift));
            for (at, (&y, &exact)) in y.iter().zip(&exact).enumerate() {
                // An error near 1e-7 of an element or of the mean is magnified by the factor of the row.
                let magnified = 1e-6 * (1.0 + f64::from(factor[at / width]));
                prop_assert!((f64::from(y) - exact).abs() <= magnified * (1.0 + exact.abs()));
            }
            let means: Vec<f64> =
                x.chunks(width).map(|x| wide(x).iter().sum::<f64>() / width as f64).collect();
            assert_close(&mean, &means, 1e-6);
        }

        #[test]
        fn gradients_agree_with_differences(rows in 1_usize..4, width in 2_usize..40, seed: u64) {
            let len = rows * width;
            let (x, dy) = (values(seed, len), values(seed ^ 1, len));
            let (scale, shift) = (values(seed ^ 2, width), values(seed ^ 3, width));
            let Normed { mean, factor, .. } = normed(&x, &scale, &shift);
            let (mut dx, mut dscale) = (vec![9.0; len], vec![9.0; width]);
            layer_norm_grad(&mut dx, &x, (&mean, &factor), &scale, &dy);
            layer_norm_grad_scale(&mut dscale, &x, (&mean, &factor), &dy);
            let value = |x: &[f64], scale: &[f64]| inner(&naive(x, scale, &wide(&shift)), &wide(&dy));
            let exact = differences(&wide(&x), |x| value(x, &wide(&scale)));
            for (at, (&dx, &exact)) in dx.iter().zip(&exact).enumerate() {
                // A row whose elements are nearly equal has a large factor, whose square magnifies the errors of both.
                let magnified = 1.0 + f64::from(factor[at / width]).powi(2);
                prop_assert!((f64::from(dx) - exact).abs() < 4e-6 * magnified, "{dx} instead of {exact}");
            }
            let exact = differences(&wide(&scale), |scale| value(&wide(&x), scale));
            let most = f64::from(factor.iter().copied().fold(0.0, f32::max));
            assert_close(&dscale, &exact, 2e-6 * (1.0 + most));
        }
    }

    #[test]
    fn sums_over_many_rows_agree_with_the_formula() {
        let (rows, width) = (1_030, 7);
        let (x, dy) = (values(1, rows * width), values(2, rows * width));
        let (mean, factor) = (values(3, rows), values(4, rows));
        let mut dscale = vec![9.0; width];
        layer_norm_grad_scale(&mut dscale, &x, (&mean, &factor), &dy);
        let term = |row: usize, at: usize| {
            let [x, dy] = [&x, &dy].map(|values| f64::from(values[row * width + at]));
            dy * (x - f64::from(mean[row])) * f64::from(factor[row])
        };
        let exact: Vec<f64> = (0..width).map(|at| (0..rows).map(|row| term(row, at)).sum()).collect();
        // Parts of 256 terms, each below two.
        assert_close(&dscale, &exact, 1e-5);
    }

    #[test]
    fn norms_are_the_same_on_any_threads() {
        let (rows, width) = (2_000, 96);
        let (x, dy) = (values(1, rows * width), values(2, rows * width));
        let (scale, shift) = (values(3, width), values(4, width));
        assert_same_on_any_threads(|| {
            let Normed { y, mean, factor } = normed(&x, &scale, &shift);
            let (mut dx, mut dscale) = (vec![0.0; x.len()], vec![0.0; width]);
            layer_norm_grad(&mut dx, &x, (&mean, &factor), &scale, &dy);
            layer_norm_grad_scale(&mut dscale, &x, (&mean, &factor), &dy);
            [y, mean, factor, dx, dscale].concat()
        });
    }
}
