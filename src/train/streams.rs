//! The named random streams of a run.
//!
//! Every random decision of a run draws from a stream with a name, so that adding draws to one cannot change
//! another. The loader has the stream `shuffle`; the streams of this module are `init`, `explore`,
//! `rollout` and `sample`.

use crate::data::random::Stream;

/// Name of the stream that draws the weights; weight number `i` draws from part `i`.
pub const INIT: &str = "init";

/// Name of the stream that draws minimum numbers of segments.
pub const EXPLORE: &str = "explore";

/// Name of the stream that draws the noise on initial states; every example and rollout has its own part.
pub const ROLLOUT: &str = "rollout";

/// Name of the stream that draws the examples of an evaluation that takes a sample.
pub const SAMPLE: &str = "sample";

/// Values of a uniform draw: all multiples of `2^-53` in `0 .. 1`, which f64 holds exactly.
const UNIT_STEPS: usize = 1 << 53;

/// Draws a number in `0 .. 1`, each multiple of `2^-53` equally likely.
pub fn unit(stream: &mut Stream) -> f64 {
    stream.below(UNIT_STEPS) as f64 / UNIT_STEPS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_draws_are_uniform() {
        let mut stream = Stream::new(1, "unit", 0);
        let draws: Vec<f64> = (0..10_000).map(|_| unit(&mut stream)).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        // Five standard deviations of the mean of 10,000 uniform draws are 0.0144.
        assert!((mean - 0.5).abs() < 0.0144, "{mean}");
    }

    #[test]
    fn unit_draws_never_change() {
        let mut stream = Stream::new(7, EXPLORE, 0);
        let draws = [unit(&mut stream), unit(&mut stream)];
        let mut again = Stream::new(7, EXPLORE, 0);
        again.seek(2);
        assert_eq!(stream.position(), 4);
        assert_eq!(unit(&mut again), draws[1]);
    }
}
