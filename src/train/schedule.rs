//! The learning rate of a step, and the number of steps in a length of training.

use std::f64::consts::PI;

use serde::Serialize;

use crate::data::Metadata;
use crate::ir::{Length, OnDivergence, Schedule, ScheduleShape, Train};

/// The scalars that the optimizer needs in step `t`, computed in f64 and rounded once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepScalars {
    /// Learning rate of the weights.
    pub lr: f32,
    /// `lr / (1 - beta1^t)`.
    pub step_scale: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    pub root_scale: f32,
    /// Learning rate of the puzzle table; `None` for a model without one.
    pub puzzle_lr: Option<f32>,
}

/// Returns the learning rate at step `step`, counted from 1, of `total_steps`.
///
/// `base step / warmup` while `step < warmup`. Afterwards `base (min_ratio + (1 - min_ratio) s)` with, at
/// progress `p = (step - warmup) / (total - warmup)`, `s = (1 + cos(pi p)) / 2` for
/// [`ScheduleShape::Cosine`] and `s = 1 - p` for [`ScheduleShape::Linear`]; `base` for [`ScheduleShape::Constant`].
/// After the last step the rate stays that of the last step.
pub fn learning_rate(schedule: &Schedule, base: f64, step: u64, total_steps: u64) -> f64 {
    let warmup = schedule.warmup_steps;
    if step < warmup {
        return base * step as f64 / warmup as f64;
    }
    let rest = total_steps.saturating_sub(warmup).max(1);
    let progress = ((step - warmup) as f64 / rest as f64).min(1.0);
    let fraction = match schedule.shape {
        ScheduleShape::Constant => return base,
        ScheduleShape::Cosine => 0.5 * (1.0 + libm::cos(PI * progress)),
        ScheduleShape::Linear => 1.0 - progress,
    };
    let min_ratio = f64::from(schedule.min_ratio);
    base * (min_ratio + (1.0 - min_ratio) * fraction)
}

/// Returns the scalars of the optimizer at step `step`, counted from 1, of `total_steps`, when training has gone back
/// `rollbacks` times.
pub fn step_scalars(train: &Train, step: u64, total_steps: u64, rollbacks: u32) -> StepScalars {
    let adam = train.optimizer.adam();
    let factor = rate_factor(train, rollbacks);
    let rate = |base: f32| factor * learning_rate(&train.schedule, f64::from(base), step, total_steps);
    let lr = rate(adam.lr);
    let remaining = |beta: f32| 1.0 - libm::pow(f64::from(beta), step as f64);
    StepScalars {
        lr: lr as f32,
        step_scale: (lr / remaining(adam.beta1)) as f32,
        root_scale: (1.0 / remaining(adam.beta2).sqrt()) as f32,
        puzzle_lr: train.puzzle_optimizer.as_ref().map(|sign| rate(sign.lr) as f32),
    }
}

/// Returns the factor of all learning rates when training has gone back `rollbacks` times.
pub fn rate_factor(train: &Train, rollbacks: u32) -> f64 {
    match train.on_divergence {
        OnDivergence::Stop => 1.0,
        OnDivergence::Rollback { lr_factor, .. } => libm::pow(f64::from(lr_factor), f64::from(rollbacks)),
    }
}

/// Returns the number of optimizer steps in `length`, for training data with this metadata.
///
/// `epochs * groups * mean examples per puzzle / batch`, rounded down, as in the published code.
///
/// # Panics
///
/// Panics if `batch` is 0.
pub fn steps_in(length: Length, metadata: &Metadata, batch: usize) -> u64 {
    assert!(batch > 0, "a batch has at least one row");
    match length {
        Length::Steps(steps) => steps,
        Length::Epochs(epochs) => {
            let rows = epochs * metadata.total_groups as f64 * metadata.mean_puzzle_examples;
            (rows / batch as f64) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;

    fn schedule(shape: ScheduleShape) -> Schedule {
        Schedule { shape, warmup_steps: 4, min_ratio: 0.25 }
    }

    #[test]
    fn warm_up_is_linear_and_reaches_the_base_at_its_end() {
        for shape in [ScheduleShape::Constant, ScheduleShape::Cosine, ScheduleShape::Linear] {
            let rates: Vec<f64> =
                (1..=4).map(|step| learning_rate(&schedule(shape), 8.0, step, 12)).collect();
            assert_eq!(rates, [2.0, 4.0, 6.0, 8.0], "{shape:?}");
        }
    }

    #[test]
    fn shapes_end_at_the_smallest_ratio() {
        let rate = |shape, step| learning_rate(&schedule(shape), 8.0, step, 12);
        assert_eq!(rate(ScheduleShape::Constant, 12), 8.0);
        assert_eq!(rate(ScheduleShape::Linear, 12), 2.0);
        assert_eq!(rate(ScheduleShape::Linear, 8), 5.0);
        assert_eq!(rate(ScheduleShape::Cosine, 12), 2.0);
        // Half way, the cosine is zero up to the rounding of pi / 2.
        assert!((rate(ScheduleShape::Cosine, 8) - 5.0).abs() < 1e-14);
    }

    #[test]
    fn the_rate_stays_after_the_last_step() {
        for shape in [ScheduleShape::Constant, ScheduleShape::Cosine, ScheduleShape::Linear] {
            let schedule = schedule(shape);
            assert_eq!(learning_rate(&schedule, 1.0, 12, 12), learning_rate(&schedule, 1.0, 13, 12));
        }
    }

    #[test]
    fn no_warm_up_begins_at_the_base() {
        let schedule = Schedule { shape: ScheduleShape::Linear, warmup_steps: 0, min_ratio: 0.0 };
        assert_eq!(learning_rate(&schedule, 1.0, 1, 4), 0.75);
    }

    #[test]
    fn a_warm_up_longer_than_training_never_ends() {
        assert_eq!(learning_rate(&schedule(ScheduleShape::Cosine), 8.0, 2, 2), 4.0);
    }

    #[test]
    fn bias_corrections_shrink_with_the_steps() {
        let train = testing::train();
        let adam = train.optimizer.adam().clone();
        let first = step_scalars(&train, 1, 1000, 0);
        let close = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs();
        assert!(close(first.step_scale, first.lr / (1.0 - adam.beta1)));
        assert!(close(first.root_scale, 1.0 / (1.0 - adam.beta2).sqrt()));
        let late = step_scalars(&train, 1000, 1000, 0);
        assert!(close(late.step_scale, late.lr));
        assert!(close(late.root_scale, 1.0));
    }

    #[test]
    fn every_rollback_lowers_all_rates_and_none_leaves_their_bits() {
        let stop = testing::train();
        let on_divergence = OnDivergence::Rollback { lr_factor: 0.25, most: 3 };
        let rollback = Train { on_divergence, ..stop.clone() };
        let plain = step_scalars(&stop, 7, 200, 0);
        assert_eq!(step_scalars(&rollback, 7, 200, 0), plain);
        let twice = step_scalars(&rollback, 7, 200, 2);
        // A power of two scales exactly.
        let puzzle_lr = plain.puzzle_lr.map(|lr| lr / 16.0);
        let lower =
            StepScalars { lr: plain.lr / 16.0, step_scale: plain.step_scale / 16.0, puzzle_lr, ..plain };
        assert_eq!(twice, lower);
    }

    #[test]
    fn steps_follow_the_published_formula() {
        let metadata = Metadata { total_groups: 1000, mean_puzzle_examples: 1.5, ..Metadata::new(11, 81) };
        assert_eq!(steps_in(Length::Epochs(2.0), &metadata, 7), 428);
        assert_eq!(steps_in(Length::Epochs(0.001), &metadata, 7), 0);
        assert_eq!(steps_in(Length::Steps(3), &metadata, 7), 3);
    }
}
