//! Which evaluation of a training is the best.

use crate::store::{MetricMeans, TrainerState};

/// How good an evaluation found the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Fraction of the examples with every token right.
    pub exact_accuracy: f64,
    /// Mean loss, finite or, where it was not recorded, infinite.
    pub loss: f64,
}

impl Score {
    /// Returns the score of an evaluation; `None` if its loss is not finite, because its accuracy means nothing then.
    pub fn of(means: &MetricMeans) -> Option<Score> {
        let exact_accuracy = means.exact_accuracy.unwrap_or(0.0);
        means.loss.is_finite().then_some(Score { exact_accuracy, loss: means.loss })
    }

    /// Returns the score that a checkpoint was kept for.
    pub fn of_checkpoint(state: &TrainerState) -> Option<Score> {
        let loss = state.loss.unwrap_or(f64::INFINITY);
        Some(Score { exact_accuracy: state.exact_accuracy?, loss })
    }

    /// Returns whether it is the best, where `best` is that of all before: it has the higher exact accuracy, among equals
    /// the lower loss, and among those of equal loss it is the newest.
    pub fn is_best(self, best: Option<Score>) -> bool {
        best.is_none_or(|best| (self.exact_accuracy, best.loss) >= (best.exact_accuracy, self.loss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(exact_accuracy: f64, loss: f64) -> Score {
        Score { exact_accuracy, loss }
    }

    fn means(loss: f64) -> MetricMeans {
        MetricMeans {
            count: 1,
            loss,
            token_loss: loss,
            halt_loss: None,
            continue_loss: None,
            accuracy: None,
            exact_accuracy: Some(1.0),
            q_halt_accuracy: None,
            valid_accuracy: None,
            mean_segments: None,
        }
    }

    #[test]
    fn accuracy_decides_then_loss_then_age() {
        let best = score(0.5, 1.0);
        assert!(score(0.6, 9.0).is_best(Some(best)));
        assert!(!score(0.4, 0.1).is_best(Some(best)));
        assert!(score(0.5, 0.9).is_best(Some(best)));
        assert!(!score(0.5, 1.1).is_best(Some(best)));
        assert!(best.is_best(Some(best)));
        assert!(score(0.0, 9.0).is_best(None));
        // A checkpoint of an older hrmc has no loss.
        assert!(score(0.5, 9.0).is_best(Some(score(0.5, f64::INFINITY))));
    }

    #[test]
    fn a_loss_that_is_not_finite_has_no_score() {
        assert_eq!(Score::of(&means(2.0)), Some(score(1.0, 2.0)));
        for loss in [f64::NAN, f64::INFINITY] {
            assert_eq!(Score::of(&means(loss)), None);
        }
    }
}
