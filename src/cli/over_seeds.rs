//! What some runs that differ in their seed alone have in common: mean, deviation and interval of a figure.
//!
//! For values `x_1 … x_n` with the mean `m = Σ x_i / n`, the deviation is `s = √(Σ (x_i - m)² / (n - 1))`. The
//! interval is `m ± t s / √n`, where a variable with Student's t-distribution of `n - 1` degrees of freedom lies
//! between `-t` and `t` with a probability of 95%. It holds for values that are about normal. An interval of two or
//! three runs is wide, since so few say little.

use serde::Serialize;

/// Probability of the interval.
const CONFIDENCE: f64 = 0.95;

/// Mean, deviation and interval of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean of the values.
    pub mean: f64,
    /// Standard deviation of the values, estimated with `n - 1`; `None` for a single value.
    pub deviation: Option<f64>,
    /// Ends of the interval that has the true mean with a probability of 95%; `None` for a single value.
    pub interval: Option<(f64, f64)>,
}

impl Spread {
    /// Returns that of some values; `None` if there are none, or one is not finite.
    pub fn of(values: &[f64]) -> Option<Spread> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        if values.len() == 1 {
            return Some(Spread { mean, deviation: None, interval: None });
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        let reach = quantile(values.len() - 1) * deviation / count.sqrt();
        Some(Spread { mean, deviation: Some(deviation), interval: Some((mean - reach, mean + reach)) })
    }
}

/// Returns the `t` with `P(|T| <= t)` = 95% for `freedom` degrees of freedom, at least 1.
fn quantile(freedom: usize) -> f64 {
    // For one degree it is 12.7, and it falls towards 1.96.
    let (mut low, mut high) = (1.0, 13.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if probability(middle, freedom) < CONFIDENCE { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Returns `P(|T| <= t)` for a whole number `ν` of degrees of freedom. With `θ = atan(t / √ν)` it is, for even `ν`,
/// `sin θ (1 + 1/2 cos² θ + (1·3)/(2·4) cos⁴ θ + … up to cos^(ν - 2) θ)`, and for odd `ν`,
/// `2/π (θ + sin θ (cos θ + 2/3 cos³ θ + (2·4)/(3·5) cos⁵ θ + … up to cos^(ν - 2) θ))`
/// (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn probability(t: f64, freedom: usize) -> f64 {
    let angle = libm::atan(t / (freedom as f64).sqrt());
    let (sine, cosine) = libm::sincos(angle);
    let is_odd = freedom % 2 == 1;
    let mut sum = 0.0;
    let mut term = if is_odd { cosine } else { 1.0 };
    // The power of the cosine in the term.
    let mut power = freedom % 2;
    while power + 2 <= freedom {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    if is_odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_those_of_tables() {
        // To the digits that printed tables have.
        for (freedom, expected) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (9, 2.262),
            (10, 2.228),
            (29, 2.045),
            (120, 1.980),
            (9999, 1.960),
        ] {
            let found = quantile(freedom);
            assert!((found - expected).abs() < 6e-4, "{freedom}: {found}");
        }
    }

    #[test]
    fn a_spread_is_computed_with_one_less_than_the_number_of_values() {
        let spread = Spread::of(&[1.0, 2.0, 6.0]).expect("they are finite");
        // The squares sum to 4 + 1 + 9 = 14, so that s = √7, and t = 4.302653.
        assert!((spread.mean - 3.0).abs() < 1e-12);
        assert!((spread.deviation.expect("there are three") - 7f64.sqrt()).abs() < 1e-12);
        let (low, high) = spread.interval.expect("there are three");
        let reach = 4.302_653 * (7f64 / 3.0).sqrt();
        assert!((low - (3.0 - reach)).abs() < 1e-5 && (high - (3.0 + reach)).abs() < 1e-5, "{low} {high}");
    }

    #[test]
    fn few_values_and_values_that_are_not_finite_say_less() {
        assert_eq!(Spread::of(&[2.0]), Some(Spread { mean: 2.0, deviation: None, interval: None }));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        assert_eq!(
            Spread::of(&[0.5, 0.5]),
            Some(Spread { mean: 0.5, deviation: Some(0.0), interval: Some((0.5, 0.5)) })
        );
    }
}
