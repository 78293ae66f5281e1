//! What `hrmc eval` says about the answers to a set of puzzles.

use serde_json::json;

use super::terminal::{self, duration, flops, grouped, percent};
use super::train::summarize;
use crate::chart::{AxisNumbers, AxisScale, Chart, ChartAxis, ChartPoint, Glyphs, Series};
use crate::data::Split;
use crate::data::arc::{TestVotes, VoteOutcome};
use crate::ir::Infer;
use crate::measures::{AnswerReport, Calibration, RightBy, RowGroup, ScoreReport, Share};
use crate::store::MetricMeans;

/// What was found with one setting.
pub struct SettingOutcome {
    /// How answers were computed.
    pub inference: Infer,
    /// Examples that were evaluated.
    pub examples: usize,
    /// The split that they are of.
    pub split: Split,
    /// Means of losses and accuracies.
    pub means: MetricMeans,
    /// Everything else about the answers.
    pub report: AnswerReport,
    /// Segments of all rollouts of all puzzles.
    pub passes: u64,
    /// Floating-point operations of a segment of one puzzle.
    pub flops_of_pass: f64,
    /// Time of the evaluation.
    pub seconds: f64,
    /// The vote over the copies of tasks of ARC.
    pub vote: Option<VoteOutcome>,
}

impl SettingOutcome {
    /// Returns the share of the answers that are right: by the rules where there are any, else by the label.
    fn right(&self) -> Share {
        match (self.report.right_by, self.report.valid) {
            (RightBy::Rules, Some(valid)) => valid,
            _ => self.report.exact,
        }
    }

    fn passes_of_one(&self) -> f64 {
        self.passes as f64 / self.examples.max(1) as f64
    }

    fn flops_of_one(&self) -> f64 {
        self.flops_of_pass * self.passes_of_one()
    }

    fn seconds_of_one(&self) -> f64 {
        self.seconds / self.examples.max(1) as f64
    }

    /// Returns what an answer costs.
    pub fn cost_json(&self) -> serde_json::Value {
        json!({
            "passes_per_puzzle": self.passes_of_one(),
            "flops_per_puzzle": self.flops_of_one(),
            "seconds_per_puzzle": self.seconds_of_one(),
        })
    }

    /// Returns everything, as one of several settings.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "segments": self.inference.segments,
            "rollouts": self.inference.rollouts.map_or(1, |rollouts| rollouts.count),
            "noise": self.inference.rollouts.map(|rollouts| rollouts.noise),
            "examples": self.examples,
            "metrics": self.means,
            "report": self.report,
            "cost": self.cost_json(),
            "arc": self.vote.as_ref().map(vote_json),
        })
    }

    fn costs(&self) -> String {
        format!(
            "{}, {:.2} passes and {} for each puzzle",
            flops(self.flops_of_one() as u64),
            self.passes_of_one(),
            milliseconds(self.seconds_of_one()),
        )
    }
}

/// Returns a short time, e.g. `1.25 ms`.
fn milliseconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.3} ms", 1e3 * seconds) } else { duration(seconds) }
}

/// Returns the report about one setting.
pub fn text(outcome: &SettingOutcome) -> String {
    let SettingOutcome { report, means, .. } = outcome;
    let mut text = match means.count {
        0 => format!(
            "nothing is measured: no right answers are known of {}\n",
            terminal::counted(outcome.examples, "row")
        ),
        _ => format!("{}\n", summarize(means, outcome.examples, outcome.split)),
    };
    if means.count == 0 {
        return text;
    }
    let mut line = |what: &str, said: String| text.push_str(&format!("  {what:<12}{said}\n"));
    line("exact", report.exact.to_string());
    if let Some(valid) = &report.valid {
        line("valid", valid.to_string());
    }
    if let Some(sudoku) = &report.sudoku {
        line("rules", format!("{} broken in all", grouped(sudoku.rules_broken)));
        if sudoku.by_rating.len() > 1 {
            line("by rating", groups(&sudoku.by_rating));
        }
        if sudoku.by_givens.len() > 1 {
            line("by givens", groups(&sudoku.by_givens));
        }
    }
    if let Some(maze) = &report.maze {
        line(
            "path",
            format!("{} have a path; {} a shortest one", maze.path.percent(), maze.shortest.percent()),
        );
        if let (Some(moves), Some(ratio)) = (maze.mean_extra_moves, maze.mean_length_ratio) {
            line("length", format!("{moves:.2} moves over the shortest, {ratio:.4} times its length"));
        }
    }
    let scores: Vec<String> =
        [("q", &report.q_halt), ("confidence", &report.confidence), ("drift", &report.drift)]
            .into_iter()
            .filter_map(|(name, score)| Some(format!("{name} {:.4}", score.as_ref()?.auc?)))
            .collect();
    if !scores.is_empty() {
        line("tells right", format!("area under the curve: {}", scores.join(", ")));
    }
    if let Some(calibration) = &report.calibration
        && let Some(error) = calibration.expected_error
    {
        let bins = bins(calibration);
        line("q is off by", format!("{} on average, over ten bins:\n{}", percent(error), bins.trim_end()));
    }
    if let Some(surest) = report.confidence.as_ref().and_then(half) {
        line("surest half", format!("{} right, by confidence", surest.percent()));
    }
    for k in ATTEMPTS {
        if let Some(score) = outcome.vote.as_ref().and_then(|vote| vote.pass_at(k)) {
            let said = format!(
                "{} of {} tasks with all their test inputs; {} of the test inputs",
                percent(score.whole_tasks),
                grouped(score.tasks as u64),
                percent(score.test_inputs),
            );
            line(&format!("pass@{k}"), said);
        }
    }
    line("costs", outcome.costs());
    text.push_str(&losses(means));
    text.push_str(&format!("in {}\n", duration(outcome.seconds)));
    text
}

/// Numbers of answers of which one has to be right, as the published code has them. The second is that of the competition.
const ATTEMPTS: [usize; 5] = [1, 2, 10, 100, 1000];

/// Returns the scores of a vote and its tasks.
pub fn vote_json(vote: &VoteOutcome) -> serde_json::Value {
    let scores = ATTEMPTS.into_iter().filter_map(|k| {
        let score = vote.pass_at(k)?;
        Some(json!({
            "k": k,
            "tasks": score.tasks,
            "by_whole_tasks": score.whole_tasks,
            "by_test_inputs": score.test_inputs,
        }))
    });
    let test = |test: &TestVotes| {
        json!({
            "copies": test.copies,
            "without_grid": test.without_grid,
            "answers": test.answers.len(),
            "votes_of_best": test.answers.first().map(|answer| answer.votes),
            "place_of_right": test.rank(),
        })
    };
    let tasks = vote
        .tasks
        .iter()
        .map(|task| json!({ "task": task.task, "tests": task.tests.iter().map(test).collect::<Vec<_>>() }));
    json!({ "pass": scores.collect::<Vec<_>>(), "tasks": tasks.collect::<Vec<_>>() })
}

/// Returns a table of the bins that have rows: what the Q value says, and how many answers are right.
fn bins(calibration: &Calibration) -> String {
    let head = ["q", "rows", "mean of q", "right", "95% interval"];
    let mut lines = vec![(head.map(str::to_string).to_vec(), String::new())];
    for bin in calibration.bins.iter().filter(|bin| bin.right.of > 0) {
        let cells = [
            format!("{:.1} to {:.1}", bin.from, bin.to),
            grouped(bin.right.of),
            bin.mean_predicted.map_or_else(|| "-".to_string(), percent),
            bin.right.percent(),
            bin.right.interval(),
        ];
        lines.push((cells.to_vec(), String::new()));
    }
    terminal::columns(&lines).lines().map(|line| format!("    {line}\n")).collect()
}

/// Returns how many are right of the half with the highest score.
fn half(score: &ScoreReport) -> Option<&Share> {
    score.coverage.iter().find(|point| point.coverage >= 0.5).map(|point| &point.right)
}

fn groups(groups: &[RowGroup]) -> String {
    let group =
        |group: &RowGroup| format!("{}: {} of {}", group.label(), group.exact.percent(), grouped(group.rows));
    groups.iter().map(group).collect::<Vec<_>>().join("; ")
}

fn losses(means: &MetricMeans) -> String {
    let mut text = format!("loss of the tokens {:.4}", means.token_loss);
    if let Some(loss) = means.halt_loss {
        text.push_str(&format!(", of q_halt {loss:.4}"));
    }
    if let Some(share) = means.q_halt_accuracy {
        text.push_str(&format!("; q_halt is right about {} of its answers", percent(share)));
    }
    text.push('\n');
    text
}

/// Returns a table of several settings, and their chart.
pub fn table(outcomes: &[SettingOutcome]) -> String {
    let head = ["segments", "rollouts", "right", "low", "high", "exact", "passes", "FLOP", "time"];
    let mut lines = vec![(head.map(str::to_string).to_vec(), String::new())];
    for outcome in outcomes {
        let right = outcome.right();
        let cells = vec![
            outcome.inference.segments.to_string(),
            outcome.inference.rollouts.map_or(1, |rollouts| rollouts.count).to_string(),
            right.percent(),
            percent(right.low),
            percent(right.high),
            outcome.report.exact.percent(),
            format!("{:.2}", outcome.passes_of_one()),
            flops(outcome.flops_of_one() as u64),
            milliseconds(outcome.seconds_of_one()),
        ];
        lines.push((cells, String::new()));
    }
    let by = match outcomes[0].report.right_by {
        RightBy::Rules => "right by the rules of the puzzle",
        RightBy::Label => "right by the label",
    };
    let columns = terminal::output_columns().clamp(60, 100);
    format!(
        "{}{by}, with a 95% interval; passes, FLOP and time for each of {} puzzles\n\n{}",
        terminal::columns(&lines),
        grouped(outcomes[0].examples as u64),
        chart(outcomes).to_text(columns, Glyphs::Braille)
    )
}

/// Returns a chart of accuracy against computing, with a line for each number of rollouts.
pub fn chart(outcomes: &[SettingOutcome]) -> Chart {
    let mut series: Vec<Series> = Vec::new();
    for outcome in outcomes {
        let rollouts = outcome.inference.rollouts.map_or(1, |rollouts| rollouts.count);
        let name = if rollouts == 1 { "one rollout".to_string() } else { format!("{rollouts} rollouts") };
        let right = outcome.right();
        let Some(share) = right.share else { continue };
        let point = ChartPoint { x: outcome.flops_of_one(), y: share, band: Some((right.low, right.high)) };
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => series.push(Series { name, points: vec![point] }),
        }
    }
    Chart {
        title: "Right answers against computing".to_string(),
        x: ChartAxis {
            name: "floating-point operations for each puzzle".to_string(),
            scale: AxisScale::Log10,
            numbers: AxisNumbers::Scaled { unit: "FLOP".to_string() },
        },
        y: ChartAxis { name: "right".to_string(), scale: AxisScale::Linear, numbers: AxisNumbers::Percent },
        series,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::{JudgedRow, Measures};

    /// Q values, none of them for probabilities in the middle.
    const Q_VALUES: [f64; 12] = [-4.0, -3.0, -2.0, -1.5, -1.2, -1.0, 0.5, 0.8, 1.2, 1.5, 2.0, 3.0];

    /// What an evaluation of 2,400 answers to 4x4 Sudoku gives, of which more are right the higher the Q value is.
    fn outcome(has_q: bool) -> SettingOutcome {
        let mut measures = Measures::new(RightBy::Rules, 2400);
        for row in 0..2400_u32 {
            let step = row % 12;
            let is_right = row / 12 % 13 < step;
            measures.add(&JudgedRow {
                cells: 16,
                cells_right: if is_right { 16 } else { 9 },
                is_valid: Some(is_right),
                rules_broken: Some(if is_right { 0 } else { 5 }),
                givens: Some(8),
                segments: 1 + row % 4,
                q_halt: has_q.then_some(Q_VALUES[step as usize]),
                confidence: Some(f64::from(step) / 12.0),
                drift: Some(1.0 / f64::from(step + 1)),
                ..JudgedRow::default()
            });
        }
        let report = measures.report();
        let means = MetricMeans {
            count: 2400,
            loss: 0.75,
            token_loss: 0.5,
            halt_loss: has_q.then_some(0.5),
            continue_loss: None,
            accuracy: report.mean_cells,
            exact_accuracy: report.exact.share,
            valid_accuracy: report.valid.and_then(|valid| valid.share),
            q_halt_accuracy: has_q.then_some(0.8),
            mean_segments: report.mean_segments,
        };
        let inference = Infer { segments: 4, halt: true, settle: None, rollouts: None, check: None };
        SettingOutcome {
            split: Split::Test,
            inference,
            examples: 2400,
            means,
            report,
            passes: 6000,
            flops_of_pass: 1e9,
            seconds: 12.0,
            vote: None,
        }
    }

    /// Records a text without its styles.
    fn record(case: &str, text: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../snapshots/eval");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(case, anstream::adapter::strip_str(text).to_string()));
    }

    #[test]
    fn a_report_has_the_bins_of_q_in_80_columns() {
        let said = text(&outcome(true));
        record("calibration_is_a_table", &said);
        let table = bins(outcome(true).report.calibration.as_ref().expect("there are Q values"));
        let table = anstream::adapter::strip_str(&table).to_string();
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        // Seven bins have rows.
        assert_eq!(table.lines().count(), 8, "{table}");
    }

    #[test]
    fn a_model_without_q_has_no_bins() {
        record("without_q_there_is_no_table", &text(&outcome(false)));
    }
}
