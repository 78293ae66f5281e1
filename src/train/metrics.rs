//! Losses and accuracies of a segment, as sums over rows.
//!
//! Losses are summed over all rows of the batch. The other figures are summed over the rows that *count*: those
//! that halted in this call and have at least one label. Means divide losses by the rows and the rest by
//! the counted rows.

use serde::Serialize;

use crate::lower::Q_LOSS_SCALE;
use crate::store::MetricMeans;

/// Results of one segment, one entry per row.
#[derive(Debug, Clone, Copy)]
pub struct SegmentRows<'a> {
    /// Mean loss over the labels of the row, 0 without labels.
    pub token_loss: &'a [f32],
    /// Loss of `q_halt`; `None` for a model without a Q head.
    pub halt_loss: Option<&'a [f32]>,
    /// Loss of `q_continue`; `None` where there is no target.
    pub continue_loss: Option<&'a [f32]>,
    /// Labels that are right.
    pub right: &'a [f32],
    /// Labels that count.
    pub counted: &'a [f32],
    /// Q value of halting, before the sigmoid; `None` for a model without a Q head.
    pub q_halt: Option<&'a [f32]>,
    /// Segments done on the row, this one included.
    pub steps: &'a [u32],
    /// Whether the row halted.
    pub halted: &'a [bool],
}

/// Sums over rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Metrics {
    /// Rows whose losses were summed.
    pub rows: usize,
    /// Rows that halted and have labels; the next five are sums over them.
    pub count: usize,
    /// Fraction of the labels that are right.
    pub accuracy: f64,
    /// Rows with all labels right.
    pub exact_accuracy: f64,
    /// Rows whose answer obeys the rules; `None` in training and where there are no rules.
    pub valid_accuracy: Option<f64>,
    /// Rows where `q_halt >= 0` says correctly whether all labels are right; `None` without a Q head.
    pub q_halt_accuracy: Option<f64>,
    /// Segments.
    pub steps: f64,
    /// Loss of the tokens.
    pub token_loss: f64,
    /// Loss of `q_halt`; `None` without a Q head.
    pub halt_loss: Option<f64>,
    /// Loss of `q_continue`; `None` without a target.
    pub continue_loss: Option<f64>,
}

impl Metrics {
    /// Sums up the first `rows` rows of a segment; the others are padding.
    pub fn of(segment: &SegmentRows<'_>, rows: usize) -> Self {
        let sum = |values: &[f32]| values[..rows].iter().map(|&value| f64::from(value)).sum::<f64>();
        let mut metrics = Metrics {
            rows,
            q_halt_accuracy: segment.q_halt.map(|_| 0.0),
            token_loss: sum(segment.token_loss),
            halt_loss: segment.halt_loss.map(sum),
            continue_loss: segment.continue_loss.map(sum),
            ..Metrics::default()
        };
        for row in 0..rows {
            let (right, counted) = (segment.right[row], segment.counted[row]);
            if !segment.halted[row] || counted == 0.0 {
                continue;
            }
            let exact = right == counted;
            metrics.count += 1;
            metrics.accuracy += f64::from(right) / f64::from(counted);
            metrics.exact_accuracy += f64::from(u8::from(exact));
            metrics.steps += f64::from(segment.steps[row]);
            if let (Some(sum), Some(q_halt)) = (&mut metrics.q_halt_accuracy, segment.q_halt) {
                *sum += f64::from(u8::from((q_halt[row] >= 0.0) == exact));
            }
        }
        metrics
    }

    /// Adds the sums over other rows.
    pub fn add(&mut self, other: &Metrics) {
        let both = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, None) | (None, one) => one,
        };
        self.rows += other.rows;
        self.count += other.count;
        self.accuracy += other.accuracy;
        self.exact_accuracy += other.exact_accuracy;
        self.valid_accuracy = both(self.valid_accuracy, other.valid_accuracy);
        self.q_halt_accuracy = both(self.q_halt_accuracy, other.q_halt_accuracy);
        self.steps += other.steps;
        self.token_loss += other.token_loss;
        self.halt_loss = both(self.halt_loss, other.halt_loss);
        self.continue_loss = both(self.continue_loss, other.continue_loss);
    }

    /// Returns the summed loss that is trained: `token_loss + 0.5 (halt_loss + continue_loss)`.
    pub fn loss(&self) -> f64 {
        let q_losses = self.halt_loss.unwrap_or(0.0) + self.continue_loss.unwrap_or(0.0);
        self.token_loss + f64::from(Q_LOSS_SCALE) * q_losses
    }

    /// Returns the means: losses over all rows, the rest over the counted rows.
    pub fn means(&self) -> MetricMeans {
        let rows = self.rows.max(1) as f64;
        let per_count = |sum: f64| (self.count > 0).then(|| sum / self.count as f64);
        MetricMeans {
            count: self.count,
            loss: self.loss() / rows,
            token_loss: self.token_loss / rows,
            halt_loss: self.halt_loss.map(|sum| sum / rows),
            continue_loss: self.continue_loss.map(|sum| sum / rows),
            accuracy: per_count(self.accuracy),
            exact_accuracy: per_count(self.exact_accuracy),
            valid_accuracy: self.valid_accuracy.and_then(per_count),
            q_halt_accuracy: self.q_halt_accuracy.and_then(per_count),
            mean_segments: per_count(self.steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five rows: exact, half right, going on, without labels, exact but doubted.
    fn segment() -> SegmentRows<'static> {
        SegmentRows {
            token_loss: &[0.5, 1.0, 2.0, 0.0, 0.25],
            halt_loss: Some(&[1.0, 1.0, 1.0, 1.0, 2.0]),
            continue_loss: Some(&[0.5, 0.5, 0.5, 0.5, 0.5]),
            right: &[4.0, 2.0, 4.0, 0.0, 3.0],
            counted: &[4.0, 4.0, 4.0, 0.0, 3.0],
            q_halt: Some(&[0.0, -1.0, 1.0, 1.0, -0.5]),
            steps: &[1, 2, 3, 4, 5],
            halted: &[true, true, false, true, true],
        }
    }

    #[test]
    fn only_halted_rows_with_labels_count_but_all_losses_do() {
        let metrics = Metrics::of(&segment(), 5);
        let expected = Metrics {
            rows: 5,
            count: 3,
            accuracy: 2.5,
            exact_accuracy: 2.0,
            valid_accuracy: None,
            // Right about the first (0 counts as halt) and the second, wrong about the last.
            q_halt_accuracy: Some(2.0),
            steps: 8.0,
            token_loss: 3.75,
            halt_loss: Some(6.0),
            continue_loss: Some(2.5),
        };
        assert_eq!(metrics, expected);
        assert_eq!(metrics.loss(), 8.0);
    }

    #[test]
    fn padding_drops_out() {
        let metrics = Metrics::of(&segment(), 1);
        assert_eq!((metrics.rows, metrics.count, metrics.token_loss), (1, 1, 0.5));
    }

    #[test]
    fn sums_of_parts_are_the_sum_of_the_whole() {
        let mut total = Metrics::default();
        total.add(&Metrics::of(&segment(), 5));
        total.add(&Metrics::of(&segment(), 2));
        assert_eq!((total.rows, total.count, total.steps), (7, 5, 11.0));
        assert_eq!(total.q_halt_accuracy, Some(4.0));
    }

    #[test]
    fn means_divide_losses_by_rows_and_the_rest_by_counted_rows() {
        let means = Metrics::of(&segment(), 5).means();
        assert_eq!(means.loss, 1.6);
        assert_eq!(means.token_loss, 0.75);
        assert_eq!(means.exact_accuracy, Some(2.0 / 3.0));
        assert_eq!(means.mean_segments, Some(8.0 / 3.0));
    }

    #[test]
    fn without_counted_rows_there_are_no_means() {
        let rows = SegmentRows { halted: &[false; 5], ..segment() };
        let means = Metrics::of(&rows, 5).means();
        assert_eq!((means.accuracy, means.exact_accuracy, means.mean_segments), (None, None, None));
        assert_eq!(means.q_halt_accuracy, None);
    }

    #[test]
    fn a_model_without_a_q_head_has_no_q_metrics() {
        let rows = SegmentRows { q_halt: None, halt_loss: None, continue_loss: None, ..segment() };
        let metrics = Metrics::of(&rows, 5);
        assert_eq!((metrics.q_halt_accuracy, metrics.halt_loss, metrics.loss()), (None, None, 3.75));
    }
}
