//! The sums over the rows, and the report that they end as.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calibration::{Calibration, CalibrationSums};
use super::row::{JudgedRow, PathOutcome};
use super::score::{ScoreReport, ScoredRow, test_score};
use super::share::Share;

/// What makes an answer right for the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RightBy {
    /// It is exact: each cell with a label equals it.
    Label,
    /// It is valid: it obeys the rules, whichever solution it is.
    Rules,
}

impl RightBy {
    fn is_right(self, row: &JudgedRow) -> Option<bool> {
        match self {
            RightBy::Label => row.is_exact(),
            RightBy::Rules => row.is_valid,
        }
    }
}

/// What is said about a set of answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerReport {
    /// Rows.
    pub rows: u64,
    /// Exact answers among the rows with labels.
    pub exact: Share,
    /// Cells that equal their label, of all rows together. The cells of a row depend on each other, so chance leaves
    /// more open than the interval says.
    pub cells: Share,
    /// Mean over the rows with labels of the share of their cells that equal their label; `None` without such rows.
    pub mean_cells: Option<f64>,
    /// Valid answers among the rows whose rules are known; `None` if none are.
    pub valid: Option<Share>,
    /// Mean number of segments; `None` without rows.
    pub mean_segments: Option<f64>,
    /// Rows by their number of segments, ascending.
    pub segments: Vec<SegmentCount>,
    /// More about Sudoku; `None` without a row of it.
    pub sudoku: Option<SudokuReport>,
    /// More about mazes; `None` without a row of them.
    pub maze: Option<MazeReport>,
    /// What makes an answer right for the figures that follow.
    pub right_by: RightBy,
    /// Rows of which that is unknown. They are left out of the figures that follow.
    pub unjudged: u64,
    /// Whether the Q value of halting means what it says; `None` if no row has one that is a number.
    pub calibration: Option<Calibration>,
    /// What the Q value of halting says about which answers are right; `None` if no row has one.
    pub q_halt: Option<ScoreReport>,
    /// What the confidence says about which answers are right; `None` if no row has one.
    pub confidence: Option<ScoreReport>,
    /// What a small drift says about which answers are right: the score is minus the drift; `None` if no row has one.
    pub drift: Option<ScoreReport>,
}

/// Rows with one number of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SegmentCount {
    /// Segments.
    pub segments: u32,
    /// Rows that ran so many.
    pub rows: u64,
}

/// What is said about answers to Sudoku.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SudokuReport {
    /// Rules that the answers break, all together; see [`JudgedRow::rules_broken`].
    pub rules_broken: u64,
    /// Answers that break none.
    pub without_broken: Share,
    /// Rows by rating: to 0, 1 to 4, 5 to 9, 10 to 19, 20 to 49, 50 to 99, 100 and more. The ranges are fixed, so that
    /// reports can be compared. Those without rows are left out, as are rows without a rating.
    pub by_rating: Vec<RowGroup>,
    /// Rows by the number of digits that the question gives, ascending.
    pub by_givens: Vec<RowGroup>,
}

/// Rows with a number in one range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RowGroup {
    /// Smallest number; `None` for no bound.
    pub from: Option<i32>,
    /// Largest number; `None` for no bound.
    pub to: Option<i32>,
    /// Rows.
    pub rows: u64,
    /// Exact answers among those with labels.
    pub exact: Share,
    /// Rules that the answers break, all together.
    pub rules_broken: u64,
}

impl RowGroup {
    /// Returns the range in words, e.g. `7`, `1 to 4`, `to 0`, `100 and more`.
    pub fn label(&self) -> String {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from == to => from.to_string(),
            (Some(from), Some(to)) => format!("{from} to {to}"),
            (Some(from), None) => format!("{from} and more"),
            (None, Some(to)) => format!("to {to}"),
            (None, None) => "all".to_owned(),
        }
    }
}

/// What is said about answers to mazes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MazeReport {
    /// Exact answers among those with labels: the one shortest path that the dataset has.
    pub exact: Share,
    /// Answers that mark one path from start to goal, see [`PathOutcome`].
    pub path: Share,
    /// Answers whose path is a shortest one, any of them.
    pub shortest: Share,
    /// Mean over the answers with a path of its moves less those of a shortest one; `None` without such answers.
    pub mean_extra_moves: Option<f64>,
    /// Mean over the answers with a path of its moves divided by those of a shortest one; `None` without such answers.
    pub mean_length_ratio: Option<f64>,
}

/// Sums over rows, which end as an [`AnswerReport`].
///
/// Beside the sums, 16 bytes are kept of each row that has a score.
#[derive(Debug, Clone)]
pub struct Measures {
    right_by: RightBy,
    /// How many rows to expect.
    expected: usize,
    rows: u64,
    exact: Tally,
    cells_right: u64,
    cells: u64,
    /// Sum over the rows with labels.
    cell_shares: f64,
    valid: Tally,
    segments: BTreeMap<u32, u64>,
    sudoku: Option<SudokuSums>,
    maze: Option<MazeSums>,
    unjudged: u64,
    calibration: CalibrationSums,
    scored: Vec<ScoredRow>,
    q_halt: Presence,
    confidence: Presence,
    drift: Presence,
}

/// How many rows have a property, among those of which it is known.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u64,
    of: u64,
}

impl Tally {
    fn add(&mut self, has_it: Option<bool>) {
        self.count += u64::from(has_it == Some(true));
        self.of += u64::from(has_it.is_some());
    }

    fn share(self) -> Share {
        Share::of(self.count, self.of)
    }
}

/// Rows that have a score.
#[derive(Debug, Clone, Copy, Default)]
struct Presence {
    /// Those whose score is a number or infinite.
    numbers: u64,
    not_a_number: u64,
}

impl Presence {
    /// Counts a score, and returns it as it is kept.
    fn keep(&mut self, score: Option<f64>) -> f32 {
        match score {
            Some(score) if !score.is_nan() => {
                self.numbers += 1;
                score as f32
            }
            Some(_) => {
                self.not_a_number += 1;
                f32::NAN
            }
            None => f32::NAN,
        }
    }

    fn is_any(self) -> bool {
        self.numbers + self.not_a_number > 0
    }
}

/// Sums over rows of Sudoku.
#[derive(Debug, Clone, Default)]
struct SudokuSums {
    broken: BrokenSums,
    without_broken: Tally,
    by_rating: [BrokenSums; RATINGS.len() + 1],
    by_givens: BTreeMap<u32, BrokenSums>,
}

/// Smallest ratings of the groups after the first.
const RATINGS: [i32; 6] = [1, 5, 10, 20, 50, 100];

#[derive(Debug, Clone, Copy, Default)]
struct BrokenSums {
    rows: u64,
    exact: Tally,
    rules_broken: u64,
}

impl BrokenSums {
    fn add(&mut self, row: &JudgedRow, rules_broken: u32) {
        self.rows += 1;
        self.exact.add(row.is_exact());
        self.rules_broken += u64::from(rules_broken);
    }

    fn group(&self, from: Option<i32>, to: Option<i32>) -> RowGroup {
        RowGroup { from, to, rows: self.rows, exact: self.exact.share(), rules_broken: self.rules_broken }
    }
}

impl SudokuSums {
    fn add(&mut self, row: &JudgedRow, rules_broken: u32) {
        self.broken.add(row, rules_broken);
        self.without_broken.add(Some(rules_broken == 0));
        if let Some(rating) = row.rating {
            let group = RATINGS.iter().filter(|&&from| from <= rating).count();
            self.by_rating[group].add(row, rules_broken);
        }
        if let Some(givens) = row.givens {
            self.by_givens.entry(givens).or_default().add(row, rules_broken);
        }
    }

    fn finish(&self) -> SudokuReport {
        let by_rating = self.by_rating.iter().enumerate().map(|(group, sums)| {
            let from = group.checked_sub(1).map(|before| RATINGS[before]);
            sums.group(from, RATINGS.get(group).map(|next| next - 1))
        });
        let by_givens = self.by_givens.iter().map(|(&givens, sums)| {
            let givens = i32::try_from(givens).unwrap_or(i32::MAX);
            sums.group(Some(givens), Some(givens))
        });
        SudokuReport {
            rules_broken: self.broken.rules_broken,
            without_broken: self.without_broken.share(),
            by_rating: by_rating.filter(|group| group.rows > 0).collect(),
            by_givens: by_givens.collect(),
        }
    }
}

/// Sums over rows of mazes.
#[derive(Debug, Clone, Default)]
struct MazeSums {
    exact: Tally,
    path: Tally,
    shortest: Tally,
    extra_moves: u64,
    length_ratios: f64,
}

impl MazeSums {
    fn add(&mut self, row: &JudgedRow, path: PathOutcome) {
        self.exact.add(row.is_exact());
        match path {
            PathOutcome::NoPath => {
                self.path.add(Some(false));
                self.shortest.add(Some(false));
            }
            PathOutcome::Path { moves, shortest } => {
                self.path.add(Some(true));
                self.shortest.add(Some(moves == shortest));
                self.extra_moves += u64::from(moves.saturating_sub(shortest));
                self.length_ratios += f64::from(moves) / f64::from(shortest.max(1));
            }
        }
    }

    fn finish(&self) -> MazeReport {
        let mean = |sum: f64| (self.path.count > 0).then(|| sum / self.path.count as f64);
        MazeReport {
            exact: self.exact.share(),
            path: self.path.share(),
            shortest: self.shortest.share(),
            mean_extra_moves: mean(self.extra_moves as f64),
            mean_length_ratio: mean(self.length_ratios),
        }
    }
}

impl Measures {
    /// Returns sums over no rows yet. There is room for the scores of `expected` rows; more may come.
    pub fn new(right_by: RightBy, expected: usize) -> Measures {
        Measures {
            right_by,
            expected,
            rows: 0,
            exact: Tally::default(),
            cells_right: 0,
            cells: 0,
            cell_shares: 0.0,
            valid: Tally::default(),
            segments: BTreeMap::new(),
            sudoku: None,
            maze: None,
            unjudged: 0,
            calibration: CalibrationSums::default(),
            scored: Vec::new(),
            q_halt: Presence::default(),
            confidence: Presence::default(),
            drift: Presence::default(),
        }
    }

    /// Adds the next row of the dataset.
    pub fn add(&mut self, row: &JudgedRow) {
        self.rows += 1;
        self.exact.add(row.is_exact());
        self.valid.add(row.is_valid);
        self.cells += u64::from(row.cells);
        self.cells_right += u64::from(row.cells_right);
        if row.cells > 0 {
            self.cell_shares += f64::from(row.cells_right) / f64::from(row.cells);
        }
        *self.segments.entry(row.segments).or_default() += 1;
        if let Some(rules_broken) = row.rules_broken {
            self.sudoku.get_or_insert_default().add(row, rules_broken);
        }
        if let Some(path) = row.path {
            self.maze.get_or_insert_default().add(row, path);
        }
        match self.right_by.is_right(row) {
            Some(is_right) => self.add_scores(row, is_right),
            None => self.unjudged += 1,
        }
    }

    fn add_scores(&mut self, row: &JudgedRow, is_right: bool) {
        if row.q_halt.is_none() && row.confidence.is_none() && row.drift.is_none() {
            return;
        }
        if self.scored.is_empty() {
            // A vector that grows takes up to twice as much.
            self.scored.reserve_exact(self.expected);
        }
        self.scored.push(ScoredRow {
            q_halt: self.q_halt.keep(row.q_halt),
            confidence: self.confidence.keep(row.confidence),
            drift: self.drift.keep(row.drift),
            is_right,
        });
        if let Some(q_halt) = row.q_halt.filter(|q_halt| !q_halt.is_nan()) {
            self.calibration.add(q_halt, is_right);
        }
    }

    /// Returns what is said about the rows.
    pub fn report(mut self) -> AnswerReport {
        let scored = &mut self.scored;
        let mut test = |presence: Presence, score: fn(&ScoredRow) -> f32| {
            presence.is_any().then(|| test_score(scored, score, presence.not_a_number))
        };
        let q_halt = test(self.q_halt, |row| row.q_halt);
        let confidence = test(self.confidence, |row| row.confidence);
        let drift = test(self.drift, |row| -row.drift);
        let segments: u64 = self.segments.iter().map(|(&segments, rows)| u64::from(segments) * rows).sum();
        let segment_counts = self.segments.iter().map(|(&segments, &rows)| SegmentCount { segments, rows });
        AnswerReport {
            rows: self.rows,
            exact: self.exact.share(),
            cells: Share::of(self.cells_right, self.cells),
            mean_cells: (self.exact.of > 0).then(|| self.cell_shares / self.exact.of as f64),
            valid: (self.valid.of > 0).then(|| self.valid.share()),
            mean_segments: (self.rows > 0).then(|| segments as f64 / self.rows as f64),
            segments: segment_counts.collect(),
            sudoku: self.sudoku.as_ref().map(SudokuSums::finish),
            maze: self.maze.as_ref().map(MazeSums::finish),
            right_by: self.right_by,
            unjudged: self.unjudged,
            calibration: (self.q_halt.numbers > 0).then(|| self.calibration.finish()),
            q_halt,
            confidence,
            drift,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::score::CoveragePoint;
    use crate::measures::testing::Numbers;

    /// Rows of a model that is often right and knows it to some degree. Some rows have no labels, some Q values are not
    /// a number, and some drifts and ratings are missing.
    fn rows() -> Vec<JudgedRow> {
        let mut numbers = Numbers::new(1);
        (0..300).map(|_| row(|bound| numbers.below(bound))).collect()
    }

    fn row(mut below: impl FnMut(usize) -> usize) -> JudgedRow {
        let mut row = JudgedRow { cells: 16, cells_right: 16, ..JudgedRow::default() };
        if below(3) == 0 {
            row.cells_right = below(16) as u32;
        }
        if below(20) == 0 {
            (row.cells, row.cells_right) = (0, 0);
        }
        let is_exact = row.is_exact() == Some(true);
        let rules_broken = if is_exact { 0 } else { 1 + below(9) as u32 };
        row.rules_broken = Some(rules_broken);
        row.is_valid = Some(rules_broken == 0);
        let q_halt = (below(4001) as f64 - 2000.0) / 400.0 + if is_exact { 1.5 } else { -1.5 };
        row.q_halt = Some(if below(25) == 0 { f64::NAN } else { q_halt });
        row.confidence = Some(below(20) as f64 / 20.0 + if is_exact { 0.25 } else { 0.0 });
        let drift = below(1000) as f64 / 1000.0 + if is_exact { 0.0 } else { 0.2 };
        row.drift = (below(30) > 0).then_some(drift);
        row.segments = 1 + below(8) as u32;
        let rating = below(150) as i32 - 5;
        row.rating = (below(10) > 0).then_some(rating);
        row.givens = Some(17 + below(4) as u32);
        row
    }

    fn report(right_by: RightBy, rows: &[JudgedRow]) -> AnswerReport {
        let mut measures = Measures::new(right_by, rows.len());
        rows.iter().for_each(|row| measures.add(row));
        measures.report()
    }

    /// Absolute: sums of a few hundred numbers around 1, in another order.
    #[track_caller]
    fn assert_close(found: Option<f64>, expected: f64) {
        let found = found.expect("there is a figure");
        assert!((found - expected).abs() < 1e-12, "{found}, {expected}");
    }

    fn counts(points: &[CoveragePoint]) -> Vec<(u64, u64)> {
        points.iter().map(|point| (point.right.count, point.right.of)).collect()
    }

    // The expected figures are those of plain Python, which goes over lists of all rows by the definitions: all pairs
    // for the area under the ROC curve, all numbers of rows for that of the risk.

    #[test]
    fn sums_over_rows_are_those_of_python() {
        let found = report(RightBy::Label, &rows());
        assert_eq!(found.rows, 300);
        assert_eq!(found.exact, Share::of(181, 287));
        assert_eq!(found.cells, Share::of(3633, 4592));
        assert_close(found.mean_cells, 0.7911585365853658);
        assert_eq!(found.valid, Some(Share::of(181, 300)));
        assert_close(found.mean_segments, 4.463333333333333);
        let segments: Vec<(u32, u64)> =
            found.segments.iter().map(|count| (count.segments, count.rows)).collect();
        assert_eq!(segments, [(1, 42), (2, 35), (3, 33), (4, 42), (5, 38), (6, 35), (7, 40), (8, 35)]);
        assert_eq!(found.maze, None);

        let sudoku = found.sudoku.expect("the rows are of Sudoku");
        assert_eq!((sudoku.rules_broken, sudoku.without_broken), (633, Share::of(181, 300)));
        let by_rating = [
            ("to 0", 1, 1, 1, 0),
            ("1 to 4", 6, 5, 5, 8),
            ("5 to 9", 8, 6, 8, 10),
            ("10 to 19", 26, 15, 26, 53),
            ("20 to 49", 58, 38, 56, 110),
            ("50 to 99", 101, 61, 96, 215),
            ("100 and more", 76, 39, 72, 192),
        ];
        let by_givens = [
            ("17", 72, 45, 69, 147),
            ("18", 62, 32, 59, 151),
            ("19", 88, 56, 84, 170),
            ("20", 78, 48, 75, 165),
        ];
        let found = |groups: &[RowGroup]| -> Vec<(String, u64, Share, u64)> {
            groups.iter().map(|group| (group.label(), group.rows, group.exact, group.rules_broken)).collect()
        };
        let expected = |(label, rows, exact, of, broken): (&str, u64, u64, u64, u64)| {
            (label.to_owned(), rows, Share::of(exact, of), broken)
        };
        assert_eq!(found(&sudoku.by_rating), by_rating.map(expected));
        assert_eq!(found(&sudoku.by_givens), by_givens.map(expected));
    }

    #[test]
    fn calibration_is_that_of_python() {
        let found = report(RightBy::Label, &rows());
        assert_eq!(found.unjudged, 13);
        let calibration = found.calibration.expect("there are Q values");
        assert_eq!(calibration.rows, 274);
        assert_close(calibration.expected_error, 0.2326152021723375);
        let bins = [
            (23, 71, 0.036011725003908666),
            (15, 20, 0.13604995544727017),
            (9, 11, 0.24346023000193837),
            (8, 14, 0.34686776789836454),
            (3, 7, 0.44357361366127396),
            (10, 15, 0.553460361980953),
            (5, 8, 0.6466271259093643),
            (8, 13, 0.7527169856251008),
            (14, 21, 0.855372342111384),
            (77, 94, 0.9662163977594352),
        ];
        for (bin, (right, rows, predicted)) in calibration.bins.iter().zip(bins) {
            assert_eq!(bin.right, Share::of(right, rows));
            assert_close(bin.mean_predicted, predicted);
        }

        let by_rules = report(RightBy::Rules, &rows());
        assert_eq!(by_rules.unjudged, 0);
        assert_close(by_rules.calibration.expect("there are Q values").expected_error, 0.24031184279709605);
    }

    #[test]
    fn areas_and_coverage_are_those_of_python() {
        let found = report(RightBy::Label, &rows());
        let scores = [found.q_halt, found.confidence, found.drift].map(|score| score.expect("rows have it"));
        let areas = [
            (Share::of(172, 274), 13, 0.7575524395804833, 0.1914651618550253),
            // Many rows have the same confidence.
            (Share::of(181, 287), 0, 0.7515636401542792, 0.18724314325977343),
            (Share::of(177, 279), 0, 0.6912318599756286, 0.21465722048370292),
        ];
        let right = [
            [28, 52, 70, 88, 104, 122, 142, 162, 172, 172],
            [36, 63, 85, 96, 120, 137, 147, 166, 181, 181],
            [28, 51, 71, 84, 102, 121, 140, 153, 169, 177],
        ];
        let taken = [
            [28, 55, 83, 110, 137, 165, 192, 220, 247, 274],
            [36, 68, 100, 118, 157, 186, 206, 234, 264, 287],
            [28, 56, 84, 112, 140, 168, 197, 224, 252, 279],
        ];
        for (index, score) in scores.iter().enumerate() {
            let (share, not_a_number, auc, risk_area) = areas[index];
            assert_eq!((score.right, score.not_a_number), (share, not_a_number));
            assert_close(score.auc, auc);
            assert_close(score.risk_area, risk_area);
            let expected: Vec<(u64, u64)> = right[index].into_iter().zip(taken[index]).collect();
            assert_eq!(counts(&score.coverage), expected);
        }
    }

    #[test]
    fn what_is_right_for_the_scores_can_be_the_rules() {
        let found = report(RightBy::Rules, &rows());
        assert_eq!(found.exact, Share::of(181, 287), "what is exact stays");
        let scores = [found.q_halt, found.confidence, found.drift].map(|score| score.expect("rows have it"));
        let expected = [
            (287, 0.7460313447927199, 0.21722538760959428),
            (300, 0.7530990296671154, 0.20528335451709323),
            (291, 0.6925612052730696, 0.23501079500453162),
        ];
        for (score, (rows, auc, risk_area)) in scores.iter().zip(expected) {
            assert_eq!(score.right.of, rows);
            assert_close(score.auc, auc);
            assert_close(score.risk_area, risk_area);
        }
    }

    #[test]
    fn mazes_have_means_over_the_answers_with_a_path() {
        let maze =
            |cells_right, path| JudgedRow { cells: 9, cells_right, path: Some(path), ..JudgedRow::default() };
        let rows = [
            maze(9, PathOutcome::Path { moves: 4, shortest: 4 }),
            maze(5, PathOutcome::Path { moves: 4, shortest: 4 }),
            maze(3, PathOutcome::Path { moves: 6, shortest: 4 }),
            maze(0, PathOutcome::NoPath),
        ];
        let found = report(RightBy::Label, &rows).maze.expect("they are mazes");
        let expected = MazeReport {
            exact: Share::of(1, 4),
            path: Share::of(3, 4),
            shortest: Share::of(2, 4),
            mean_extra_moves: Some(2.0 / 3.0),
            mean_length_ratio: Some(3.5 / 3.0),
        };
        assert_eq!(found, expected);
        let none = report(RightBy::Label, &rows[3..]).maze.expect("it is a maze");
        assert_eq!((none.mean_extra_moves, none.mean_length_ratio), (None, None));
    }

    #[test]
    fn what_no_row_has_is_not_reported() {
        let found = report(RightBy::Label, &[]);
        let json = serde_json::to_value(&found).expect("it is plain data");
        let nothing = serde_json::json!({"count": 0, "of": 0, "share": null, "low": 0.0, "high": 1.0});
        assert_eq!((&json["exact"], json["right_by"].as_str()), (&nothing, Some("label")));
        for absent in
            ["valid", "mean_cells", "sudoku", "maze", "calibration", "q_halt", "confidence", "drift"]
        {
            assert!(json[absent].is_null(), "{absent}");
        }

        let only_nan = JudgedRow { cells: 1, cells_right: 1, q_halt: Some(f64::NAN), ..JudgedRow::default() };
        let found = report(RightBy::Label, &[only_nan]);
        assert_eq!(found.calibration, None);
        assert_eq!(found.q_halt.expect("it has a Q value").not_a_number, 1);
        assert_eq!(found.confidence, None);
    }

    #[test]
    fn scores_do_not_depend_on_the_order_of_rows() {
        let mut turned = rows();
        turned.reverse();
        let [found, other] = [rows(), turned].map(|rows| report(RightBy::Label, &rows));
        assert_eq!(found.q_halt, other.q_halt);
        assert_eq!(found.confidence, other.confidence);
        assert_eq!(found.drift, other.drift);
    }
}
