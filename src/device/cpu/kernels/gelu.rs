//! GELU in its form by tanh: `y = x / (1 + e^-2u)` with `2 u = a x (1 + c x^2)`, `a = 2 sqrt(2 / pi)`, `c = 0.044715`
//! (Hendrycks and Gimpel 2016).

use super::elementwise::by_chunks;
use super::simd::exp;
use crate::graph::ops::{GELU_CUBE, GELU_SLOPE};

/// `y = gelu(x)`.
///
/// # Shapes
///
/// Both of one length.
pub fn gelu(y: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), y.len());
    by_chunks(
        y,
        #[inline(always)]
        |range, y| {
            for (y, &x) in y.iter_mut().zip(&x[range]) {
                *y = x / divisor(x);
            }
        },
    );
}

/// Gradient of [`gelu`]: `dx = dy (s + x s (1 - s) a (1 + 3 c x^2))` with `s = 1 / (1 + e^-2u)`.
///
/// # Shapes
///
/// All of one length.
pub fn gelu_grad(dx: &mut [f32], x: &[f32], dy: &[f32]) {
    assert_eq!(x.len(), dx.len());
    assert_eq!(dy.len(), dx.len());
    by_chunks(
        dx,
        #[inline(always)]
        |range, dx| {
            for ((dx, &x), dy) in dx.iter_mut().zip(&x[range.clone()]).zip(&dy[range]) {
                let s = 1.0 / divisor(x);
                let slope = GELU_SLOPE * (3.0 * GELU_CUBE * x).mul_add(x, 1.0);
                *dx = dy * (x * s * (1.0 - s)).mul_add(slope, s);
            }
        },
    );
}

#[inline(always)]
fn argument(x: f32) -> f32 {
    GELU_SLOPE * x * (GELU_CUBE * x).mul_add(x, 1.0)
}

/// Returns `1 + e^-2u`, for arguments below -88 that of -88: a result is too small to tell.
#[inline(always)]
fn divisor(x: f32) -> f32 {
    let negative = -argument(x);
    1.0 + exp(if negative > 88.0 { 88.0 } else { negative })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, differences, inner, values, wide};
    use super::*;

    fn naive(x: &[f64]) -> Vec<f64> {
        let root = (2.0 / std::f64::consts::PI).sqrt();
        x.iter().map(|x| 0.5 * x * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn unit_and_gradient_agree_with_the_formula(len in 1_usize..300, reach in 0.1_f32..6.0, seed: u64) {
            let x: Vec<f32> = values(seed, len).iter().map(|x| reach * x).collect();
            let dy = values(seed ^ 1, len);
            let (mut y, mut dx) = (vec![9.0; len], vec![9.0; len]);
            gelu(&mut y, &x);
            // The share has few units in the last place of error, and more where the exponent is large.
            assert_close(&y, &naive(&wide(&x)), 1e-6);
            gelu_grad(&mut dx, &x, &dy);
            let exact = differences(&wide(&x), |x| inner(&naive(x), &wide(&dy)));
            assert_close(&dx, &exact, 2e-6);
        }
    }

    #[test]
    fn far_from_zero_the_unit_is_the_argument_or_nothing() {
        let x = [-1e6, -1e4, -20.0, 20.0, 1e4, f32::NAN];
        let (mut y, mut dx) = ([9.0; 6], [9.0; 6]);
        gelu(&mut y, &x);
        assert!(y[..3].iter().all(|y| y.abs() < 1e-30), "{y:?}");
        assert_eq!(y[3..5], x[3..5]);
        assert!(y[5].is_nan());
        gelu_grad(&mut dx[1..5], &x[1..5], &[1.0; 4]);
        assert!(dx[1..3].iter().all(|dx| dx.abs() < 1e-20), "{dx:?}");
        assert_eq!(dx[3..5], [1.0; 2]);
    }

    #[test]
    fn units_are_the_same_on_any_threads() {
        let len = 200_003;
        let (x, dy) = (values(1, len), values(2, len));
        assert_same_on_any_threads(|| {
            let (mut y, mut dx) = (vec![0.0; len], vec![0.0; len]);
            gelu(&mut y, &x);
            gelu_grad(&mut dx, &x, &dy);
            [y, dx].concat()
        });
    }
}
