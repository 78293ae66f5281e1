//! When a training ends before its last step: after so many evaluations in a row that found nothing better.
//!
//! The evaluations that the schedule has on the way count. One at which a training was only told to stop does not, and
//! neither does the one after the last step, so the count follows from spec, data and seed alone.

use super::score::Score;
use crate::ir::Model;
use crate::store::TrainerState;
use crate::store::checkpoint::Waited;
use crate::units::counted;

/// How long a training has waited for a better evaluation.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waited: Option<Waited>,
    /// Step and score of the newest evaluation. It counts from the next step on, so that a checkpoint of its step is the
    /// same before it and after it.
    newest: Option<(u64, Score)>,
}

impl Patience {
    /// Returns that of a training that goes on from a checkpoint.
    pub(super) fn of(waited: Option<Waited>) -> Patience {
        Patience { waited, newest: None }
    }

    /// Takes in the evaluation after a step; one that it knows already changes nothing.
    pub(super) fn see(&mut self, step: u64, score: Score) {
        if self.newest.is_none_or(|(seen, _)| seen < step) {
            (self.waited, self.newest) = (self.with_newest(), Some((step, score)));
        }
    }

    /// Returns what the checkpoint of a step has.
    pub(super) fn at(&self, step: u64) -> Option<Waited> {
        let is_newer = self.newest.is_some_and(|(seen, _)| seen < step);
        if is_newer { self.with_newest() } else { self.waited }
    }

    /// Returns whether `limit` evaluations in a row were no better.
    pub(super) fn is_over(&self, limit: usize) -> bool {
        self.with_newest().is_some_and(|waited| waited.evaluations >= limit)
    }

    /// Lets the newest evaluation count from its own step on.
    pub(super) fn close(&mut self) {
        (self.waited, self.newest) = (self.with_newest(), None);
    }

    fn with_newest(&self) -> Option<Waited> {
        let Some((_, score)) = self.newest else { return self.waited };
        let first = Waited { exact_accuracy: score.exact_accuracy, loss: score.loss, evaluations: 0 };
        let Some(waited) = self.waited else { return Some(first) };
        // Of equals the newest is the best, but it is not better.
        let best = Score { exact_accuracy: waited.exact_accuracy, loss: waited.loss };
        let is_better = !best.is_best(Some(score));
        Some(if is_better { first } else { Waited { evaluations: waited.evaluations + 1, ..waited } })
    }
}

/// Returns how many evaluations found nothing better, in words.
pub fn evaluations_in_a_row(patience: usize) -> String {
    match patience {
        1 => "an evaluation".to_owned(),
        patience => format!("{} in a row", counted(patience, "evaluation")),
    }
}

/// Returns whether `patience` has ended the training of a model, by the state of its newest checkpoint.
pub(super) fn has_ended(model: &Model, state: &TrainerState) -> bool {
    let limit = model.train.as_ref().and_then(|train| train.patience);
    limit.is_some_and(|limit| Patience::of(state.waited).is_over(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(exact_accuracy: f64, loss: f64) -> Score {
        Score { exact_accuracy, loss }
    }

    #[test]
    fn evaluations_in_a_row_that_are_not_better_are_counted() {
        let mut patience = Patience::default();
        assert!(!patience.is_over(1), "there was none yet");
        let mut counts = Vec::new();
        // The accuracy decides, then the loss, and what equals the best is not better.
        let found = [(0.5, 2.0), (0.4, 1.0), (0.5, 2.5), (0.5, 1.5), (0.6, 9.0), (0.6, 9.0), (0.5, 0.1)];
        for (index, (accuracy, loss)) in found.into_iter().enumerate() {
            patience.see(10 * (index as u64 + 1), score(accuracy, loss));
            counts.push(patience.with_newest().expect("there was one").evaluations);
        }
        assert_eq!(counts, [0, 1, 2, 0, 0, 1, 2]);
        assert!(patience.is_over(2) && !patience.is_over(3));
    }

    #[test]
    fn an_evaluation_counts_from_the_next_step_on_and_once() {
        let mut patience = Patience::default();
        patience.see(10, score(0.5, 1.0));
        assert_eq!(patience.at(10), None);
        let first = patience.at(11).expect("it counts now");
        assert_eq!(first, Waited { exact_accuracy: 0.5, loss: 1.0, evaluations: 0 });
        patience.see(10, score(0.9, 1.0));
        assert_eq!(patience.at(11), Some(first), "it was known");
        patience.see(20, score(0.4, 1.0));
        assert_eq!(patience.at(20), Some(first));
        assert_eq!(patience.at(21).map(|waited| waited.evaluations), Some(1));
        // So does a training that goes on from the checkpoint of step 20.
        let mut resumed = Patience::of(patience.at(20));
        resumed.see(20, score(0.4, 1.0));
        assert_eq!(resumed.at(21), patience.at(21));
    }

    #[test]
    fn the_end_is_told_by_the_checkpoint_of_its_own_step() {
        let mut patience = Patience::of(Some(Waited { exact_accuracy: 0.5, loss: 1.0, evaluations: 1 }));
        patience.see(30, score(0.1, 1.0));
        assert!(patience.is_over(2) && !Patience::of(patience.at(30)).is_over(2));
        patience.close();
        assert!(Patience::of(patience.at(30)).is_over(2));
    }
}
