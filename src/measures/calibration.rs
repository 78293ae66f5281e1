//! Whether a Q value means what it says.

use serde::Serialize;

use super::share::Share;

const BINS: usize = 10;

/// Predicted against observed shares of right answers, by the probability `sigmoid(q_halt)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Rows in the bins.
    pub rows: u64,
    /// Ten bins of equal width, from 0 to 1. A probability on a border is in the upper bin, and 1 in the last.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error: the mean over the rows of `|mean predicted - observed share|` of their bin; `None`
    /// without rows.
    pub expected_error: Option<f64>,
}

/// The rows whose probability lies in one range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Lower end of the range.
    pub from: f64,
    /// Upper end of the range.
    pub to: f64,
    /// Mean probability; `None` without rows.
    pub mean_predicted: Option<f64>,
    /// Right answers among the rows.
    pub right: Share,
}

/// Sums for a [`Calibration`].
#[derive(Debug, Clone, Default)]
pub(super) struct CalibrationSums {
    bins: [BinSums; BINS],
}

#[derive(Debug, Clone, Copy, Default)]
struct BinSums {
    rows: u64,
    right: u64,
    predicted: f64,
}

impl CalibrationSums {
    /// Adds a row. Its Q value, before the sigmoid, is a number or infinite.
    pub fn add(&mut self, q_halt: f64, is_right: bool) {
        let probability = sigmoid(q_halt);
        let bin = ((probability * BINS as f64) as usize).min(BINS - 1);
        let sums = &mut self.bins[bin];
        sums.rows += 1;
        sums.right += u64::from(is_right);
        sums.predicted += probability;
    }

    pub fn finish(&self) -> Calibration {
        let rows: u64 = self.bins.iter().map(|bin| bin.rows).sum();
        // The rows of a bin times its error is the difference of its sums.
        let errors: f64 = self.bins.iter().map(|bin| (bin.predicted - bin.right as f64).abs()).sum();
        let border = |bin: usize| bin as f64 / BINS as f64;
        let bin = |(index, sums): (usize, &BinSums)| CalibrationBin {
            from: border(index),
            to: border(index + 1),
            mean_predicted: (sums.rows > 0).then(|| sums.predicted / sums.rows as f64),
            right: Share::of(sums.right, sums.rows),
        };
        Calibration {
            rows,
            bins: self.bins.iter().enumerate().map(bin).collect(),
            expected_error: (rows > 0).then(|| errors / rows as f64),
        }
    }
}

/// Returns `1 / (1 + e^-x)`, the same on all machines.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(rows: &[(f64, bool)]) -> Calibration {
        let mut sums = CalibrationSums::default();
        rows.iter().for_each(|&(q_halt, is_right)| sums.add(q_halt, is_right));
        sums.finish()
    }

    #[test]
    fn rows_are_in_the_bin_of_their_probability() {
        // sigmoid(0) = 0.5 begins the sixth bin; sigmoid(-ln 3) = 0.25; infinite values are the ends.
        let found = calibration(&[
            (0.0, true),
            (0.0, false),
            (-3.0_f64.ln(), false),
            (f64::INFINITY, true),
            (f64::NEG_INFINITY, false),
        ]);
        let rows: Vec<u64> = found.bins.iter().map(|bin| bin.right.of).collect();
        assert_eq!(rows, [1, 0, 1, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(found.bins[5].mean_predicted, Some(0.5));
        assert_eq!(found.bins[5].right.count, 1);
        assert_eq!(found.bins[1].mean_predicted, None);
        assert_eq!((found.bins[2].from, found.bins[2].to), (0.2, 0.3));
        // The third bin says 0.25 and has no right answer: (0.25 · 1) / 5 rows. All others are as they say.
        let error = found.expected_error.expect("there are rows");
        assert!((error - 0.05).abs() < 1e-15, "{error}");
    }

    #[test]
    fn nothing_has_no_error() {
        assert_eq!(calibration(&[]).expected_error, None);
        assert_eq!(calibration(&[]).bins.len(), BINS);
    }
}
