//! How a new model begins.
//!
//! Weights are drawn from a normal distribution cut at `c` standard deviations and widened so that the result
//! has the standard deviation that is asked for: a standard normal cut at `±c` has the variance
//! `1 - 2 c phi(c) / (Phi(c) - Phi(-c))`. Draws come from the polar method (Marsaglia and Bray 1964), with those
//! beyond the cut rejected.

use std::f64::consts::{PI, SQRT_2};

use super::streams::{INIT, unit};
use crate::data::random::Stream;
use crate::device::{DeviceError, Session};
use crate::ir::Normal;
use crate::lower::names;
use crate::lower::parameters::{Init, Parameter};

/// Draws every weight of a model into a session; averages begin equal to the weights, moments at zero.
///
/// # Errors
///
/// Returns an error if the device fails.
pub fn initialize(session: &mut Session, parameters: &[Parameter], seed: u64) -> Result<(), DeviceError> {
    for (index, parameter) in parameters.iter().enumerate() {
        let mut stream = Stream::new(seed, INIT, index as u64);
        let values = draw(parameter, &mut stream);
        for name in [names::parameter(&parameter.name), names::average(&parameter.name)] {
            if session.has(&name) {
                session.f32_mut(&name)?.copy_from_slice(&values);
            }
        }
        for name in [names::moment1(&parameter.name), names::moment2(&parameter.name)] {
            if session.has(&name) {
                session.f32_mut(&name)?.fill(0.0);
            }
        }
    }
    Ok(())
}

/// Draws the first value of one weight.
pub fn draw(parameter: &Parameter, stream: &mut Stream) -> Vec<f32> {
    match &parameter.init {
        Init::Constant(value) => vec![*value; parameter.elements()],
        Init::Normal(normal) => draw_normal(normal, parameter.elements(), stream),
    }
}

/// Draws `count` numbers from a truncated normal distribution.
fn draw_normal(normal: &Normal, count: usize, stream: &mut Stream) -> Vec<f32> {
    let cut = f64::from(normal.truncate);
    let sigma = f64::from(normal.std) / cut_deviation(cut);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let inside = polar_pair(stream).into_iter().filter(|z| z.abs() <= cut);
        values.extend(inside.map(|z| (sigma * z) as f32));
    }
    values.truncate(count);
    values
}

/// Draws `count` numbers from the standard normal distribution.
pub(super) fn standard_normal(count: usize, stream: &mut Stream) -> Vec<f64> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        values.extend(polar_pair(stream));
    }
    values.truncate(count);
    values
}

/// Returns the standard deviation of a standard normal distribution cut at `±cut`.
fn cut_deviation(cut: f64) -> f64 {
    let mass = libm::erf(cut / SQRT_2);
    let density = libm::exp(-0.5 * cut * cut) / (2.0 * PI).sqrt();
    (1.0 - 2.0 * cut * density / mass).sqrt()
}

/// Draws two independent standard normal numbers.
fn polar_pair(stream: &mut Stream) -> [f64; 2] {
    loop {
        let [u, v] = [2.0 * unit(stream) - 1.0, 2.0 * unit(stream) - 1.0];
        let square = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            let scale = (-2.0 * libm::log(square) / square).sqrt();
            return [u * scale, v * scale];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::parameters::Role;

    fn parameter(init: Init, shape: &[usize]) -> Parameter {
        Parameter { name: "w".into(), shape: shape.to_vec(), role: Role::Trained, init, network: None }
    }

    #[test]
    fn the_result_has_the_deviation_that_was_asked_for() {
        let normal = Normal { std: 0.25, truncate: 2.0 };
        let values = draw(&parameter(Init::Normal(normal), &[200, 500]), &mut Stream::new(3, INIT, 0));
        assert_eq!(values.len(), 100_000);
        let n = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
        // Five standard errors: 0.25 / sqrt(n) for the mean, at most 0.25 / sqrt(2 n) for the deviation.
        assert!(mean.abs() < 0.004, "{mean}");
        assert!((variance.sqrt() - 0.25).abs() < 0.0028, "{}", variance.sqrt());
        // Cut at two sigma of the wider normal: 0.25 * 2 / 0.8796.
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.56 && largest < 0.5685, "{largest}");
    }

    #[test]
    fn a_wide_cut_changes_nothing() {
        assert!((cut_deviation(2.0) - 0.879_625_661_034_235_4).abs() < 1e-12);
        assert!((cut_deviation(9.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn constants_draw_nothing() {
        let mut stream = Stream::new(3, INIT, 0);
        assert_eq!(draw(&parameter(Init::Constant(-5.0), &[2]), &mut stream), [-5.0, -5.0]);
        assert_eq!(stream.position(), 0);
    }

    #[test]
    fn an_odd_count_draws_the_same_numbers_as_a_longer_one() {
        let draw = |count| {
            let normal = Init::Normal(Normal { std: 1.0, truncate: 2.0 });
            draw(&parameter(normal, &[count]), &mut Stream::new(3, INIT, 1))
        };
        assert_eq!(draw(7), draw(12)[..7]);
    }
}
