//! What is wrong with a training whose numbers are still finite: a Q head that diverges, an accuracy that has fallen.
//!
//! Both are read from the lines of `metrics.jsonl` alone, in their order, so a training that is resumed sees what it
//! would have seen, and says each thing once.

use std::fmt;

use serde::Serialize;

use crate::store::{MetricMeans, MetricsLine};
use crate::units::{grouped, percent};

/// Steps over which the losses of the Q values are averaged.
const STRETCH_STEPS: u64 = 100;

/// Loss of a Q value above which it does harm: four times that of a guess, `ln 2`. A row with this loss is sure of the
/// wrong thing by 15 to 1.
const Q_LOSS_LIMIT: f64 = 4.0 * std::f64::consts::LN_2;

/// Part of the highest exact accuracy that an evaluation may lose.
const EXACT_FALL: f64 = 0.5;

/// Accuracy of the tokens that an evaluation may lose.
const TOKEN_FALL: f64 = 0.1;

/// Standard deviations of the accuracy of an evaluation that are no fall, but chance.
const DEVIATIONS: f64 = 3.0;

/// Something that is wrong with a training that goes on.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
///
/// use hrmc::Event;
///
/// let watch = |event: &Event<'_>| match event {
///     Event::Concern { concern, .. } => {
///         eprintln!("warning: {concern}");
///         ControlFlow::Break(())
///     }
///     _ => ControlFlow::Continue(()),
/// };
/// # let _ = watch(&Event::Begin);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Concern {
    /// In two stretches of 100 steps, the mean loss of a Q value was above four times that of a guess, and it grew.
    QHead {
        /// The Q value.
        value: &'static str,
        /// Its mean loss in the stretch before.
        before: f64,
        /// Its mean loss in the last stretch.
        loss: f64,
    },
    /// An evaluation is far worse than the best one, by more than chance.
    Fallen {
        /// Which accuracy.
        accuracy: &'static str,
        /// Its highest value.
        peak: f64,
        /// Step of that.
        peak_step: u64,
        /// Its value now.
        now: f64,
    },
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concern::QHead { value, before, loss } => write!(
                f,
                "the Q head diverges: the loss of `{value}` was {before:.2} and then {loss:.2} in the last stretches \
                 of {STRETCH_STEPS} steps, where a guess has {:.2}; rows halt by this value, so lower the learning rate",
                std::f64::consts::LN_2
            ),
            Concern::Fallen { accuracy, peak, peak_step, now } => write!(
                f,
                "{accuracy} has fallen to {}, from {} at step {}; `best` keeps the best weights; stop here, or train \
                 again with a lower learning rate or more data",
                percent(*now),
                percent(*peak),
                grouped(*peak_step)
            ),
        }
    }
}

/// What was seen of a training.
#[derive(Debug, Default)]
pub(super) struct Health {
    q: Vec<QLoss>,
    q_diverged: bool,
    exact: Peak,
    tokens: Peak,
    fallen: bool,
}

/// The loss of a Q value.
#[derive(Debug, Default)]
struct QLoss {
    sum: f64,
    count: u64,
    before: Option<f64>,
}

/// The highest accuracy, and its step.
#[derive(Debug, Default)]
struct Peak {
    accuracy: f64,
    step: u64,
}

impl Health {
    /// Returns what was seen of the training with these lines.
    pub(super) fn of(lines: &[MetricsLine]) -> Health {
        let mut health = Health::default();
        for line in lines {
            health.see(line);
        }
        health
    }

    /// Takes in a line, and returns what is wrong if that is new.
    pub(super) fn see(&mut self, line: &MetricsLine) -> Option<Concern> {
        match line {
            MetricsLine::Train { step, means, .. } => self.trained(*step, means),
            MetricsLine::Evaluation { step, examples, means } => self.evaluated(*step, *examples, means),
        }
    }

    fn trained(&mut self, step: u64, means: &MetricMeans) -> Option<Concern> {
        let losses = [("q_halt", means.halt_loss), ("q_continue", means.continue_loss)];
        self.q.resize_with(losses.len(), QLoss::default);
        let mut found = None;
        for (q, (value, loss)) in self.q.iter_mut().zip(losses) {
            let Some(loss) = loss else { continue };
            q.sum += loss;
            q.count += 1;
            if step.is_multiple_of(STRETCH_STEPS) {
                let mean = q.sum / q.count as f64;
                let before = q.before.replace(mean).filter(|&before| before > Q_LOSS_LIMIT && mean > before);
                (q.sum, q.count) = (0.0, 0);
                found = found.or(before.map(|before| Concern::QHead { value, before, loss: mean }));
            }
        }
        let is_new = found.is_some() && !self.q_diverged;
        self.q_diverged |= is_new;
        found.filter(|_| is_new)
    }

    fn evaluated(&mut self, step: u64, examples: usize, means: &MetricMeans) -> Option<Concern> {
        let deviation = |share: f64| (share * (1.0 - share) / examples.max(1) as f64).sqrt();
        // How far the tokens of one row vary together is not known; this is the most.
        let most = deviation(0.5);
        let exact = means.exact_accuracy.unwrap_or(0.0);
        let tokens = means.accuracy.unwrap_or(0.0);
        let peak = self.exact.accuracy;
        let found = self.exact.fall(
            "exact accuracy",
            step,
            exact,
            (EXACT_FALL * peak).max(DEVIATIONS * deviation(peak)),
        );
        let found = found.or(self.tokens.fall(
            "the accuracy of the tokens",
            step,
            tokens,
            TOKEN_FALL.max(DEVIATIONS * most),
        ));
        let is_new = found.is_some() && !self.fallen;
        self.fallen |= is_new;
        found.filter(|_| is_new)
    }
}

impl Peak {
    /// Returns a concern if the accuracy has fallen by more than `bearable`.
    fn fall(&mut self, name: &'static str, step: u64, now: f64, bearable: f64) -> Option<Concern> {
        if now >= self.accuracy {
            *self = Peak { accuracy: now, step };
            return None;
        }
        let Peak { accuracy: peak, step: peak_step } = *self;
        (peak - now > bearable).then_some(Concern::Fallen { accuracy: name, peak, peak_step, now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means() -> MetricMeans {
        MetricMeans {
            count: 4,
            loss: 1.0,
            token_loss: 0.5,
            halt_loss: Some(0.5),
            continue_loss: None,
            accuracy: Some(0.9),
            exact_accuracy: Some(0.5),
            q_halt_accuracy: None,
            valid_accuracy: None,
            mean_segments: None,
        }
    }

    /// Returns what is said about steps with these losses of `q_continue`, one for each stretch, and at which steps.
    fn about_q(losses: &[f64]) -> Vec<(u64, Concern)> {
        let mut health = Health::default();
        let steps = 1..=losses.len() as u64 * STRETCH_STEPS;
        let see = |step: u64| {
            let loss = losses[((step - 1) / STRETCH_STEPS) as usize];
            let means = MetricMeans { continue_loss: Some(loss), ..means() };
            Some((
                step,
                health.see(&MetricsLine::Train {
                    step,
                    epochs: 0.0,
                    lr: 0.1,
                    gradient_norm: None,
                    flops: None,
                    means,
                })?,
            ))
        };
        steps.filter_map(see).collect()
    }

    #[test]
    fn a_q_loss_that_is_high_and_grows_is_told_once() {
        let told = Concern::QHead { value: "q_continue", before: 3.0, loss: 5.0 };
        assert_eq!(about_q(&[0.5, 3.0, 5.0, 9.0, 20.0]), [(300, told)]);
    }

    #[test]
    fn a_q_loss_that_falls_or_is_low_is_nothing() {
        assert_eq!(about_q(&[9.0, 5.0, 3.0, 2.0]), []);
        assert_eq!(about_q(&[0.1, 0.7, 1.4, 2.7]), []);
        // The first stretch is only just too high.
        assert_eq!(about_q(&[2.0, 3.0]), []);
    }

    /// Returns what is said about evaluations of some examples by exact accuracy and that of the tokens.
    fn about_accuracy(examples: usize, evaluations: &[(f64, f64)]) -> Vec<Concern> {
        let mut health = Health::default();
        let see = |(index, &(exact, tokens)): (usize, &(f64, f64))| {
            let means = MetricMeans { exact_accuracy: Some(exact), accuracy: Some(tokens), ..means() };
            health.see(&MetricsLine::Evaluation { step: 10 * (index as u64 + 1), examples, means })
        };
        evaluations.iter().enumerate().filter_map(see).collect()
    }

    #[test]
    fn an_accuracy_that_falls_far_is_told_once() {
        let fallen = Concern::Fallen { accuracy: "exact accuracy", peak: 0.8, peak_step: 20, now: 0.3 };
        let evaluations = [(0.1, 0.9), (0.8, 0.95), (0.5, 0.9), (0.3, 0.9), (0.1, 0.5)];
        assert_eq!(about_accuracy(1000, &evaluations), [fallen]);
        let name = "the accuracy of the tokens";
        let fallen = Concern::Fallen { accuracy: name, peak: 0.6, peak_step: 10, now: 0.45 };
        assert_eq!(about_accuracy(1000, &[(0.0, 0.6), (0.0, 0.55), (0.0, 0.45)]), [fallen]);
    }

    #[test]
    fn chance_is_no_fall() {
        // Two of eight puzzles, and then none.
        assert_eq!(about_accuracy(8, &[(0.25, 0.6), (0.0, 0.45)]), []);
        assert_eq!(about_accuracy(1000, &[(0.02, 0.6), (0.011, 0.55)]), []);
    }

    #[test]
    fn messages_say_what_and_what_to_do() {
        let q = Concern::QHead { value: "q_halt", before: 3.0, loss: 5.25 };
        assert_eq!(
            q.to_string(),
            "the Q head diverges: the loss of `q_halt` was 3.00 and then 5.25 in the last stretches of 100 steps, where \
             a guess has 0.69; rows halt by this value, so lower the learning rate"
        );
        let fallen = Concern::Fallen { accuracy: "exact accuracy", peak: 0.8, peak_step: 2000, now: 0.3 };
        assert_eq!(
            fallen.to_string(),
            "exact accuracy has fallen to 30.00%, from 80.00% at step 2,000; `best` keeps the best weights; stop here, \
             or train again with a lower learning rate or more data"
        );
    }
}
