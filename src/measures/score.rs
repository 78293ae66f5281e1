//! How well a score tells right answers from wrong ones.
//!
//! The area under the ROC curve is the probability that a right answer has a higher score than a wrong one, both drawn
//! at random, where equal scores count as half (Mann and Whitney 1947). Risk against coverage (El-Yaniv and Wiener
//! 2010) says how many answers are wrong if only those of the highest scores are given.

use serde::Serialize;

use super::share::Share;

/// Coverages that are reported, in tenths.
const TENTHS: u64 = 10;

/// What a score says about which answers are right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreReport {
    /// Right answers among the rows that have the score.
    pub right: Share,
    /// Rows that are left out because their score is not a number.
    pub not_a_number: u64,
    /// Area under the ROC curve; `None` unless there are right and wrong answers.
    pub auc: Option<f64>,
    /// Right answers among the rows of the highest scores, for coverages of 10%, 20% … 100%; empty without rows.
    pub coverage: Vec<CoveragePoint>,
    /// Area under the curve of risk against coverage: the mean, over every number of rows taken from the highest score
    /// down, of the share of wrong answers among them; `None` without rows.
    pub risk_area: Option<f64>,
}

/// The rows of the highest scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CoveragePoint {
    /// Share of the rows that was asked for. More are taken if others have the same score as the last of them, because
    /// no threshold parts these.
    pub coverage: f64,
    /// Right answers among the rows that are taken.
    pub right: Share,
}

/// What is kept of a row: its scores, not a number where it has none, and whether its answer is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoredRow {
    pub q_halt: f32,
    pub confidence: f32,
    pub drift: f32,
    pub is_right: bool,
}

/// Sorts rows by a score and returns what it says. Rows where it is not a number are passed over.
pub(super) fn test_score(
    rows: &mut [ScoredRow],
    score: impl Fn(&ScoredRow) -> f32,
    not_a_number: u64,
) -> ScoreReport {
    // From the highest score down, and then the rows without one.
    let order = |a: &ScoredRow, b: &ScoredRow| {
        let (a, b) = (score(a), score(b));
        a.is_nan().cmp(&b.is_nan()).then(b.total_cmp(&a))
    };
    rows.sort_unstable_by(order);
    let rows = &rows[..rows.partition_point(|row| !score(row).is_nan())];
    let all = rows.len() as u64;
    let all_right = rows.iter().filter(|row| row.is_right).count() as u64;
    let all_wrong = all - all_right;

    let (mut right, mut wrong) = (0_u64, 0_u64);
    // Twice the pairs of a right and a wrong answer in which the right one is higher.
    let mut wins = 0_u64;
    let mut risks = 0.0_f64;
    let mut coverage: Vec<CoveragePoint> = Vec::new();
    for equal in rows.chunk_by(|a, b| score(a) == score(b)) {
        let size = equal.len() as u64;
        let right_here = equal.iter().filter(|row| row.is_right).count() as u64;
        let wrong_here = size - right_here;
        wins += right_here * (2 * (all_wrong - wrong - wrong_here) + wrong_here);
        let taken = right + wrong;
        for place in 1..=size {
            // Of rows that are equal, each order is as likely, so this is the mean over all of them.
            let wrong_so_far = wrong as f64 + place as f64 * (wrong_here as f64 / size as f64);
            risks += wrong_so_far / (taken + place) as f64;
        }
        right += right_here;
        wrong += wrong_here;
        for tenths in coverage.len() as u64 + 1..=TENTHS {
            if (all * tenths).div_ceil(TENTHS) <= right + wrong {
                let right = Share::of(right, right + wrong);
                coverage.push(CoveragePoint { coverage: tenths as f64 / TENTHS as f64, right });
            }
        }
    }
    ScoreReport {
        right: Share::of(all_right, all),
        not_a_number,
        auc: (all_right > 0 && all_wrong > 0)
            .then(|| wins as f64 / (2.0 * all_right as f64 * all_wrong as f64)),
        coverage,
        risk_area: (all > 0).then(|| risks / all as f64),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn rows(scores: &[(f32, bool)]) -> Vec<ScoredRow> {
        let row = |&(q_halt, is_right): &(f32, bool)| ScoredRow {
            q_halt,
            confidence: f32::NAN,
            drift: f32::NAN,
            is_right,
        };
        scores.iter().map(row).collect()
    }

    fn test(scores: &[(f32, bool)]) -> ScoreReport {
        test_score(&mut rows(scores), |row| row.q_halt, 0)
    }

    /// Returns the area by its definition.
    fn auc_of_all_pairs(scores: &[(f32, bool)]) -> Option<f64> {
        let mut wins = 0.0;
        let mut pairs = 0.0;
        for &(right, _) in scores.iter().filter(|(_, is_right)| *is_right) {
            for &(wrong, _) in scores.iter().filter(|(_, is_right)| !is_right) {
                pairs += 1.0;
                wins += if right > wrong {
                    1.0
                } else if right == wrong {
                    0.5
                } else {
                    0.0
                };
            }
        }
        (pairs > 0.0).then(|| wins / pairs)
    }

    #[test]
    fn sixteen_bytes_of_a_row_are_kept() {
        assert_eq!(size_of::<ScoredRow>(), 16);
    }

    #[test]
    fn the_areas_are_those_worked_out_by_hand() {
        // From the highest down: right, wrong, then a right and a wrong one of equal score, then wrong.
        let found = test(&[(1.0, true), (4.0, true), (1.0, false), (2.0, false), (0.0, false)]);
        // The right one at 4 wins 3 pairs; that at 1 loses one, shares one and wins one.
        assert_eq!(found.auc, Some(4.5 / 6.0));
        // Risks: 0/1, 1/2, 1.5/3, 2/4, 3/5.
        let area = found.risk_area.expect("there are rows");
        assert!((area - (0.0 + 0.5 + 0.5 + 0.5 + 0.6) / 5.0).abs() < 1e-15, "{area}");
        let taken: Vec<(u64, u64)> =
            found.coverage.iter().map(|point| (point.right.count, point.right.of)).collect();
        // 50% and 60% are three rows, but the third is equal to the fourth.
        let expected = [(1, 1), (1, 1), (1, 2), (1, 2), (2, 4), (2, 4), (2, 4), (2, 4), (2, 5), (2, 5)];
        assert_eq!(taken, expected);
        assert_eq!(found.coverage[9].coverage, 1.0);
        assert_eq!(found.right, Share::of(2, 5));
    }

    #[test]
    fn one_class_has_no_area_and_no_rows_have_nothing() {
        let found = test(&[(1.0, true), (2.0, true)]);
        assert_eq!((found.auc, found.risk_area), (None, Some(0.0)));
        assert_eq!(found.coverage.len(), 10);
        let none = test(&[(f32::NAN, true)]);
        assert_eq!((none.auc, none.risk_area, none.coverage.len()), (None, None, 0));
        assert_eq!(none.right, Share::of(0, 0));
    }

    #[test]
    fn zeros_of_both_signs_are_equal_and_infinite_scores_are_the_ends() {
        assert_eq!(test(&[(0.0, true), (-0.0, false)]).auc, Some(0.5));
        assert_eq!(test(&[(f32::INFINITY, true), (f32::MAX, false)]).auc, Some(1.0));
        assert_eq!(test(&[(f32::NEG_INFINITY, true), (f32::MIN, false)]).auc, Some(0.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_area_is_that_of_all_pairs(
            scores in proptest::collection::vec((-4_i8..4, any::<bool>()), 0..60),
            seed in any::<u64>(),
        ) {
            let scores: Vec<(f32, bool)> =
                scores.into_iter().map(|(score, is_right)| (f32::from(score), is_right)).collect();
            let found = test(&scores);
            prop_assert_eq!(found.auc, auc_of_all_pairs(&scores));
            // Another order of the rows changes nothing, and higher scores cover the rows from the top.
            let mut shuffled = scores.clone();
            crate::data::random::Stream::new(seed, "rows", 0).shuffle(&mut shuffled);
            prop_assert_eq!(&test(&shuffled), &found);
            prop_assert!(found.coverage.is_sorted_by_key(|point| point.right.of));
        }

        #[test]
        fn a_perfect_score_has_the_least_risk(right in 1_usize..30, wrong in 1_usize..30) {
            let scores = [vec![(1.0, true); right], vec![(0.0, false); wrong]].concat();
            let turned = |&(score, is_right): &(f32, bool)| (-score, is_right);
            let turned: Vec<(f32, bool)> = scores.iter().map(turned).collect();
            prop_assert_eq!(test(&scores).auc, Some(1.0));
            prop_assert_eq!(test(&turned).auc, Some(0.0));
            prop_assert!(test(&scores).risk_area < test(&turned).risk_area);
        }
    }
}
