//! Elementary functions and sums in a form that vectorises.
//!
//! Nothing here branches on a value; choices are selections. All functions are `#[inline(always)]`, so that
//! they take the instruction set of the loop they are used in, and that loop belongs inside
//! [`vectorised`].
//!
//! Sources: exponential and logarithm use the polynomials of Cephes `expf` and `logf` (S. Moshier); the
//! arcus tangent uses the polynomial of SLEEF `atan2f` with 3.5 ulp (N. Shibata).

use pulp::Arch;

/// Partial sums of a sum over a row; one AVX-512 register, two AVX2 registers, four of NEON.
pub const LANES: usize = 16;

/// Runs `body` compiled for the widest instruction set of this machine.
///
/// What `body` calls must be inlined into it to profit, and so must `body` itself: write
/// `vectorised(#[inline(always)] || …)`. Otherwise the compiler may leave it a function of its own, without
/// the instruction set.
#[inline(always)]
pub fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(body)
}

/// Below this, `exp` would not be a normal number; it is taken to be zero.
const EXP_LOW: f32 = -87.3;

/// Returns `e^x` for `x <= 88`, with an error below 2 ulp; zero where the result would not be normal.
///
/// What larger arguments give is unspecified: every use subtracts a maximum or takes a negative argument, and
/// the check would cost a tenth of the function.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number, which is left in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let inside = if x < EXP_LOW { EXP_LOW } else { x };
    let shifted = inside.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the product with the first is exact.
    let rest = whole.mul_add(-0.693_359_4, inside);
    let rest = whole.mul_add(2.121_944_4e-4, rest);
    let series = 1.987_569_1e-4_f32;
    let series = series.mul_add(rest, 1.398_199_9e-3);
    let series = series.mul_add(rest, 8.333_452e-3);
    let series = series.mul_add(rest, 4.166_579_6e-2);
    let series = series.mul_add(rest, 1.666_666_5e-1);
    let series = series.mul_add(rest, 5.0e-1);
    let value = series.mul_add(rest * rest, rest) + 1.0;
    let power_of_two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < EXP_LOW { 0.0 } else { value * power_of_two }
}

/// Returns the natural logarithm of a positive normal number with an error below 2 ulp.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // x = 2^whole (1 + rest) with 1 + rest between the roots of 1/2 and of 2.
    const ROOT_OF_HALF: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(ROOT_OF_HALF);
    let whole = ((shifted as i32) >> 23) as f32;
    let rest = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(ROOT_OF_HALF)) - 1.0;
    let series = 7.037_683_6e-2_f32;
    let series = series.mul_add(rest, -1.151_461e-1);
    let series = series.mul_add(rest, 1.167_699_9e-1);
    let series = series.mul_add(rest, -1.242_014_1e-1);
    let series = series.mul_add(rest, 1.424_932_3e-1);
    let series = series.mul_add(rest, -1.666_805_7e-1);
    let series = series.mul_add(rest, 2.000_071_5e-1);
    let series = series.mul_add(rest, -2.499_999_4e-1);
    let series = series.mul_add(rest, 3.333_333e-1);
    let square = rest * rest;
    let value = (series * rest).mul_add(square, whole * -2.121_944_4e-4);
    let value = (-0.5_f32).mul_add(square, value) + rest;
    let value = whole.mul_add(0.693_359_4, value);
    if x.is_nan() { x } else { value }
}

/// Returns `1 / (1 + e^-x)` with an error below 3 ulp (zero below -87.3).
#[inline(always)]
pub fn logistic(x: f32) -> f32 {
    let small = exp(-x.abs());
    let above = if x >= 0.0 { 1.0 } else { small };
    above / (1.0 + small)
}

/// Returns the angle of the point (`right`, `up`) for `right >= 0`, with an error below 4 ulp.
///
/// The angle of the origin is zero.
#[inline(always)]
pub fn atan2(up: f32, right: f32) -> f32 {
    let height = up.abs();
    let steep = height > right;
    let small = if steep { right } else { height };
    let large = if steep { height } else { right };
    let large = if large == 0.0 { 1.0 } else { large };
    let ratio = small / large;
    let square = ratio * ratio;
    let series = 2.823_639e-3_f32;
    let series = series.mul_add(square, -1.595_690_3e-2);
    let series = series.mul_add(square, 4.250_499e-2);
    let series = series.mul_add(square, -7.489_009e-2);
    let series = series.mul_add(square, 1.063_479_3e-1);
    let series = series.mul_add(square, -1.420_273_6e-1);
    let series = series.mul_add(square, 1.999_269_5e-1);
    let series = series.mul_add(square, -3.333_31e-1);
    let angle = ratio.mul_add(square * series, ratio);
    let angle = if steep { std::f32::consts::FRAC_PI_2 - angle } else { angle };
    angle.copysign(up)
}

/// Adds up partial sums, always in the same order.
#[inline(always)]
pub fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Returns the sum of products of equal-numbered elements.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_wide, a_rest) = a.as_chunks::<{ 4 * LANES }>();
    let (b_wide, b_rest) = b.as_chunks::<{ 4 * LANES }>();
    // Four registers of partial sums hide the latency of the addition.
    let mut wide = [[0.0_f32; LANES]; 4];
    for (a, b) in a_wide.iter().zip(b_wide) {
        for (part, lanes) in wide.iter_mut().enumerate() {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum = a[part * LANES + lane].mul_add(b[part * LANES + lane], *sum);
            }
        }
    }
    let mut lanes = [0.0_f32; LANES];
    for (lane, sum) in lanes.iter_mut().enumerate() {
        *sum = (wide[0][lane] + wide[1][lane]) + (wide[2][lane] + wide[3][lane]);
    }
    let (a_rest, a_tail) = a_rest.as_chunks::<LANES>();
    let (b_rest, b_tail) = b_rest.as_chunks::<LANES>();
    for (a, b) in a_rest.iter().zip(b_rest) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum = a[lane].mul_add(b[lane], *sum);
        }
    }
    for ((a, b), sum) in a_tail.iter().zip(b_tail).zip(&mut lanes) {
        *sum = a.mul_add(*b, *sum);
    }
    sum_lanes(lanes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Distance between `actual` and the exact value in units of the last place of the exact value.
    fn ulps(actual: f32, exact: f64) -> f64 {
        let rounded = exact as f32;
        let unit = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
        (f64::from(actual) - exact).abs() / unit
    }

    #[test]
    fn exp_stays_within_two_ulp() {
        let mut worst = 0.0_f64;
        for step in 0..400_000 {
            let x = -87.3 + step as f32 * (175.3 / 400_000.0);
            worst = worst.max(ulps(exp(x), f64::from(x).exp()));
        }
        assert!(worst < 2.0, "{worst}");
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-100.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_stays_within_two_ulp() {
        for step in 0..300_000 {
            let x = 2.0_f32.powf(-120.0 + step as f32 * (240.0 / 300_000.0));
            let error = ulps(ln(x), f64::from(x).ln());
            assert!(error < 2.0, "{error} at {x}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert!(ln(f32::NAN).is_nan());
    }

    #[test]
    fn logistic_stays_within_three_ulp() {
        for step in 0..200_000 {
            let x = -87.0 + step as f32 * (174.0 / 200_000.0);
            let error = ulps(logistic(x), 1.0 / (1.0 + (-f64::from(x)).exp()));
            assert!(error < 3.0, "{error} at {x}");
        }
        assert!(logistic(f32::NAN).is_nan());
    }

    #[test]
    fn atan2_at_the_corners() {
        assert_eq!(atan2(0.0, 0.0), 0.0);
        assert_eq!(atan2(0.0, 3.0), 0.0);
        assert_eq!(atan2(2.0, 0.0), std::f32::consts::FRAC_PI_2);
        assert_eq!(atan2(-2.0, 0.0), -std::f32::consts::FRAC_PI_2);
        assert!(atan2(f32::NAN, 1.0).is_nan() && atan2(1.0, f32::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn atan2_stays_within_four_ulp(up in -10.0_f32..10.0, right in 0.0_f32..10.0, scale in -60_i32..60) {
            let (up, right) = (up * 2.0_f32.powi(scale), right * 2.0_f32.powi(scale));
            let error = ulps(atan2(up, right), f64::from(up).atan2(f64::from(right)));
            prop_assert!(error < 4.0, "{error}");
        }

        #[test]
        fn sums_agree_with_f64(values in prop::collection::vec(-1.0_f32..1.0, 0..300)) {
            let exact: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            // Sixteen lanes add at most 300 / 16 rounding errors of half an ulp each.
            let sum = vectorised(|| dot(&values, &values));
            prop_assert!((f64::from(sum) - exact).abs() <= 2e-6 * exact.max(1e-30));
        }
    }
}
