//! How many test rows an evaluation on the way takes: as many as keep it below a share of the training.
//!
//! With `E` steps between two evaluations, at most `K` segments and `R` rollouts of each row, and evaluation batches of
//! `B` rows, that is
//!
//! ```text
//! rows = B * max(1, floor(share * E * T / (R * K * V)))
//! ```
//!
//! or all, if there are fewer. `T` and `V` are the floating-point operations of one run of the programs for training and
//! evaluation, planned for the CPU, so the number is the same on every device. A batch that is not full costs what a full
//! one does, so none is taken.

use crate::ir::Model;
use crate::lower::{Program, Sizes};
use crate::pipeline::compile;
use crate::store::RunManifest;

/// Test rows of an evaluation on the way, and what their number follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SampleSize {
    /// The rows.
    pub(super) rows: usize,
    /// FLOPs of the training between two evaluations, `E * T`.
    train_flops: u64,
    /// FLOPs of an evaluation of one batch, `R * K * V`.
    eval_flops: u64,
}

impl SampleSize {
    /// Returns that of a model which is evaluated every `every` steps in batches of `evaluate_batch` rows; `None` if its
    /// spec asks for all rows.
    pub(super) fn of(model: &Model, sizes: Sizes, every: u64, evaluate_batch: usize) -> Option<SampleSize> {
        let train = model.train.as_ref()?;
        let share = train.eval_share?;
        let infer = model.inference();
        let passes = infer.segments as u64 * infer.rollouts.map_or(1, |rollouts| rollouts.count as u64);
        let evaluate = Program::Evaluate { averaged: train.ema.is_some() };
        let evaluate = compile(model, evaluate, Sizes { batch: evaluate_batch, ..sizes }).flops();
        let train_flops = recorded(every.saturating_mul(compile(model, Program::Train, sizes).flops()));
        let eval_flops = recorded(passes.saturating_mul(evaluate)).max(1);
        let batches = (f64::from(share) * train_flops as f64 / eval_flops as f64).floor().max(1.0);
        let rows = (batches as usize).saturating_mul(evaluate_batch);
        Some(SampleSize { rows, train_flops, eval_flops })
    }

    /// Returns that of a run.
    pub(super) fn of_run(manifest: &RunManifest) -> Option<SampleSize> {
        let RunManifest { eval_rows, train_flops, eval_flops, .. } = *manifest;
        Some(SampleSize { rows: eval_rows?, train_flops: train_flops?, eval_flops: eval_flops? })
    }

    /// Writes it down in the description of a run.
    pub(super) fn write_to(self, manifest: &mut RunManifest) {
        manifest.eval_rows = Some(self.rows);
        manifest.train_flops = Some(self.train_flops);
        manifest.eval_flops = Some(self.eval_flops);
    }
}

/// Returns a number that TOML can hold.
fn recorded(number: u64) -> u64 {
    number.min(i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Infer, Rollouts};
    use crate::train::testing;

    const SIZES: Sizes = Sizes { batch: testing::BATCH, puzzle_rows: testing::PUZZLE_ROWS };

    fn of(share: f32, every: u64, infer: Option<Infer>) -> SampleSize {
        let mut model = testing::model();
        model.infer = infer;
        model.train.as_mut().expect("the tiny model is trained").eval_share = Some(share);
        SampleSize::of(&model, SIZES, every, 2).expect("the spec asks for it")
    }

    fn infer(segments: usize, rollouts: usize) -> Option<Infer> {
        let rollouts = (rollouts > 1).then_some(Rollouts { count: rollouts, noise: 0.5 });
        Some(Infer { segments, halt: false, rollouts, settle: None, check: None })
    }

    #[test]
    fn as_many_batches_are_taken_as_the_share_allows() {
        let found = of(0.25, 40, None);
        let evaluate =
            compile(&testing::model(), Program::Evaluate { averaged: true }, Sizes { batch: 2, ..SIZES });
        let train = compile(&testing::model(), Program::Train, SIZES);
        assert_eq!(found.train_flops, 40 * train.flops());
        assert_eq!(found.eval_flops, 3 * evaluate.flops(), "the tiny model has three segments");
        let batches = found.train_flops / 4 / found.eval_flops;
        assert!(batches > 1, "{batches}");
        assert_eq!(found.rows as u64, 2 * batches);
    }

    #[test]
    fn segments_and_rollouts_are_paid_for() {
        let plain = of(0.25, 400, infer(2, 1));
        for (more, factor) in [(infer(6, 1), 3), (infer(2, 4), 4)] {
            let more = of(0.25, 400, more);
            assert_eq!(more.eval_flops, factor * plain.eval_flops);
            assert!(more.rows < plain.rows);
        }
    }

    #[test]
    fn a_batch_is_taken_at_least_and_nothing_where_no_share_is_given() {
        assert_eq!(of(1e-6, 1, None).rows, 2);
        assert_eq!(SampleSize::of(&testing::model(), SIZES, 1, 2), None);
    }

    #[test]
    fn a_run_keeps_it() {
        let data = testing::data();
        let mut manifest = RunManifest::new("tiny", "", 1, "cpu", &data.train, &data.test);
        assert_eq!(SampleSize::of_run(&manifest), None);
        // More than any training has.
        let size = of(0.5, u64::MAX, None);
        size.write_to(&mut manifest);
        assert_eq!(SampleSize::of_run(&manifest), Some(size));
        assert!(toml::to_string(&manifest).is_ok(), "TOML holds its numbers");
    }
}
