//! Shares with what chance leaves open.

use std::fmt;

use serde::Serialize;

use crate::units::{grouped, percent};

/// Standard deviations that have 95% of a normal distribution between them.
const DEVIATIONS: f64 = 1.959_963_984_540_054;

/// How many of some things have a property.
///
/// It displays as `83.20% (1,664 of 2,000; 81.50% to 84.77%)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Those that have it.
    pub count: u64,
    /// All.
    pub of: u64,
    /// `count / of`; `None` of nothing.
    pub share: Option<f64>,
    /// Lower end of the 95% interval of the share, in 0..=1.
    pub low: f64,
    /// Upper end of the 95% interval of the share, in 0..=1.
    pub high: f64,
}

impl Share {
    /// Returns the share with its 95% interval by Wilson (1927), from 0 to 1 of nothing.
    ///
    /// With `p` the share, `n` all and `z` = 1.96, the interval is
    /// `(p + z²/2n ± z √(p (1 - p) / n + z²/4n²)) / (1 + z²/n)`. It takes the things as independent of each other.
    ///
    /// # Panics
    ///
    /// If `count` is more than `of`.
    pub fn of(count: u64, of: u64) -> Share {
        assert!(count <= of, "{count} of {of} is no share");
        if of == 0 {
            return Share { count, of, share: None, low: 0.0, high: 1.0 };
        }
        let n = of as f64;
        let p = count as f64 / n;
        let spread = DEVIATIONS * DEVIATIONS / n;
        let middle = p + spread / 2.0;
        let half = DEVIATIONS * (p * (1.0 - p) / n + spread / (4.0 * n)).sqrt();
        // At the ends rounding may go past the share.
        let low = ((middle - half) / (1.0 + spread)).clamp(0.0, p);
        let high = ((middle + half) / (1.0 + spread)).clamp(p, 1.0);
        Share { count, of, share: Some(p), low, high }
    }

    /// Returns the share as a percentage, `-` of nothing.
    pub fn percent(&self) -> String {
        self.share.map_or_else(|| "-".to_owned(), percent)
    }

    /// Returns the interval as percentages, e.g. `81.50% to 84.77%`.
    pub fn interval(&self) -> String {
        format!("{} to {}", percent(self.low), percent(self.high))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, of) = (grouped(self.count), grouped(self.of));
        write!(formatter, "{} ({count} of {of}", self.percent())?;
        if self.of > 0 {
            write!(formatter, "; {}", self.interval())?;
        }
        formatter.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::*;

    #[test]
    fn the_interval_is_that_of_wilson() {
        // The roots x of (p - x)² = z² x (1 - x) / n, which the interval solves, in Python's `decimal` with 40 digits.
        for (count, of, low, high) in [
            (0, 10, 0.0, 0.277_532_799_862_889_25),
            (10, 10, 0.722_467_200_137_110_7, 1.0),
            (1, 1, 0.206_549_314_377_237_4, 1.0),
            (7, 20, 0.181_191_824_101_082_05, 0.567_145_723_314_763_8),
            (1664, 2000, 0.814_981_773_556_305_3, 0.847_745_307_048_944_8),
        ] {
            let share = Share::of(count, of);
            // Absolute: the roots have rounding of their own.
            assert!((share.low - low).abs() < 1e-12, "{share:?}, {low}");
            assert!((share.high - high).abs() < 1e-12, "{share:?}, {high}");
        }
    }

    #[test]
    fn shares_are_written_with_counts_and_interval() {
        assert_eq!(Share::of(1664, 2000).to_string(), "83.20% (1,664 of 2,000; 81.50% to 84.77%)");
        assert_eq!(Share::of(0, 0).to_string(), "- (0 of 0)");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_interval_is_in_0_to_1_and_holds_the_share(of in 1_u64..1 << 40, part in 0.0_f64..=1.0) {
            for count in [0, ((of as f64 * part) as u64).min(of), of] {
                let share = Share::of(count, of);
                let middle = share.share.expect("it is of something");
                prop_assert!(0.0 <= share.low && share.low <= middle, "{share:?}");
                prop_assert!(middle <= share.high && share.high <= 1.0, "{share:?}");
                prop_assert!(share.low < share.high, "{share:?}");
            }
        }
    }
}
