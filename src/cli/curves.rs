//! The curves of trainings: what is drawn of the lines that runs have written.
//!
//! Training has a line for each step, too many to draw. Steps next to each other are averaged in windows of equal size:
//! losses over their steps, and what is known of rows that halted over these rows. Evaluations are drawn as they are.
//!
//! Runs whose specs differ in the seed alone are one curve: the mean over them at each window, with a band of one
//! standard deviation up and down. It ends where the shortest of them ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::failure::Failure;
use super::over_seeds::Spread;
use super::terminal::path_text;
use super::{run_arguments, terminal};
use crate::chart::{AxisNumbers, AxisScale, Chart, ChartAxis, ChartPoint, Series};
use crate::spec::{Spec, SpecDiff, shown};
use crate::store::{MetricsLine, RunFolder, TimesKind, TimesLine};

/// Most windows of a curve.
const MAX_WINDOWS: u64 = 100;

/// Most values in the name of a run.
const MAX_DIFFERENCES: usize = 4;

/// The path of the seed in a spec.
const SEED: &str = "train.seed";

/// What is drawn from bottom to top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LoggedQuantity {
    /// The loss that is trained
    Loss,
    /// Loss of the tokens
    TokenLoss,
    /// Loss of q_halt
    HaltLoss,
    /// Loss of q_continue
    ContinueLoss,
    /// Share of the tokens that are right
    Accuracy,
    /// Share of the answers with all tokens right
    Exact,
    /// Share of the answers that obey the rules
    Valid,
    /// Share of the answers about which q_halt is right
    QAccuracy,
    /// Segments until a row halts
    Segments,
    /// Learning rate of the weights
    Lr,
    /// Norm of the gradient
    GradientNorm,
    /// Rows per second
    Rate,
    /// Memory of the process
    Memory,
}

impl LoggedQuantity {
    /// Returns what it is called on its axis and in the heads of tables.
    pub fn name(self) -> &'static str {
        match self {
            LoggedQuantity::Loss => "loss",
            LoggedQuantity::TokenLoss => "loss of the tokens",
            LoggedQuantity::HaltLoss => "loss of q_halt",
            LoggedQuantity::ContinueLoss => "loss of q_continue",
            LoggedQuantity::Accuracy => "token accuracy",
            LoggedQuantity::Exact => "exact accuracy",
            LoggedQuantity::Valid => "valid answers",
            LoggedQuantity::QAccuracy => "accuracy of q_halt",
            LoggedQuantity::Segments => "segments",
            LoggedQuantity::Lr => "learning rate",
            LoggedQuantity::GradientNorm => "norm of the gradient",
            LoggedQuantity::Rate => "rows per second",
            LoggedQuantity::Memory => "memory",
        }
    }

    /// Returns the name for programs: that of the field in the files of a run.
    pub fn key(self) -> &'static str {
        match self {
            LoggedQuantity::Loss => "loss",
            LoggedQuantity::TokenLoss => "token_loss",
            LoggedQuantity::HaltLoss => "halt_loss",
            LoggedQuantity::ContinueLoss => "continue_loss",
            LoggedQuantity::Accuracy => "accuracy",
            LoggedQuantity::Exact => "exact_accuracy",
            LoggedQuantity::Valid => "valid_accuracy",
            LoggedQuantity::QAccuracy => "q_halt_accuracy",
            LoggedQuantity::Segments => "mean_segments",
            LoggedQuantity::Lr => "lr",
            LoggedQuantity::GradientNorm => "gradient_norm",
            LoggedQuantity::Rate => "rows_per_second",
            LoggedQuantity::Memory => "resident_bytes",
        }
    }

    fn numbers(self) -> AxisNumbers {
        match self {
            LoggedQuantity::Accuracy
            | LoggedQuantity::Exact
            | LoggedQuantity::Valid
            | LoggedQuantity::QAccuracy => AxisNumbers::Percent,
            LoggedQuantity::Memory => AxisNumbers::Scaled { unit: "B".to_string() },
            _ => AxisNumbers::Plain,
        }
    }

    /// Returns the value in a measurement, where it is there.
    pub fn of(self, measured: &LoggedLine<'_>) -> Option<f64> {
        let means = measured.line.means();
        match self {
            LoggedQuantity::Loss => Some(means.loss),
            LoggedQuantity::TokenLoss => Some(means.token_loss),
            LoggedQuantity::HaltLoss => means.halt_loss,
            LoggedQuantity::ContinueLoss => means.continue_loss,
            LoggedQuantity::Accuracy => means.accuracy,
            LoggedQuantity::Exact => means.exact_accuracy,
            LoggedQuantity::Valid => means.valid_accuracy,
            LoggedQuantity::QAccuracy => means.q_halt_accuracy,
            LoggedQuantity::Segments => means.mean_segments,
            LoggedQuantity::Lr => match measured.line {
                MetricsLine::Train { lr, .. } => Some(f64::from(*lr)),
                MetricsLine::Evaluation { .. } => None,
            },
            LoggedQuantity::GradientNorm => match measured.line {
                MetricsLine::Train { gradient_norm, .. } => *gradient_norm,
                MetricsLine::Evaluation { .. } => None,
            },
            LoggedQuantity::Rate => measured.times.map(|times| times.rows_per_second),
            LoggedQuantity::Memory => measured.times?.resident_bytes.map(|bytes| bytes as f64),
        }
    }

    /// Returns how much a measurement counts in a mean of several.
    fn weight(self, measured: &LoggedLine<'_>) -> f64 {
        match self {
            LoggedQuantity::Accuracy
            | LoggedQuantity::Exact
            | LoggedQuantity::Valid
            | LoggedQuantity::QAccuracy
            | LoggedQuantity::Segments => measured.line.means().count as f64,
            _ => 1.0,
        }
    }
}

/// What is drawn from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// Optimizer steps
    Step,
    /// Passes over the training data
    Epoch,
    /// Seconds of training, by the clock of the machine
    Seconds,
    /// Floating-point operations of products and attention in training
    Flops,
}

impl Against {
    /// Returns the place of a measurement, where it is known.
    fn of(self, measured: &LoggedLine<'_>) -> Option<f64> {
        match self {
            Against::Step => Some(measured.line.step() as f64),
            Against::Epoch => measured.epochs,
            Against::Seconds => measured.times.map(|times| times.seconds),
            Against::Flops => measured.flops,
        }
    }

    /// Returns the name for programs.
    pub fn key(self) -> &'static str {
        match self {
            Against::Step => "step",
            Against::Epoch => "epochs",
            Against::Seconds => "seconds",
            Against::Flops => "flops",
        }
    }

    /// Returns the axis for places up to `most`, and what one of its units is.
    fn axis(self, most: f64) -> (ChartAxis, f64) {
        let (name, unit) = match self {
            Against::Step => ("steps", 1.0),
            Against::Epoch => ("epochs", 1.0),
            Against::Seconds if most >= 7200.0 => ("hours", 3600.0),
            Against::Seconds if most >= 120.0 => ("minutes", 60.0),
            Against::Seconds => ("seconds", 1.0),
            Against::Flops => ("floating-point operations", 1.0),
        };
        let numbers = match self {
            Against::Flops => AxisNumbers::Scaled { unit: "FLOP".to_string() },
            _ => AxisNumbers::Plain,
        };
        (ChartAxis { name: name.to_string(), scale: AxisScale::Linear, numbers }, unit)
    }

    /// Says why no measurement of a run has a place.
    fn reason(self) -> &'static str {
        match self {
            Against::Step | Against::Epoch => "its evaluations have no training steps around them",
            Against::Seconds => "its `times.jsonl` is missing or cannot be read",
            Against::Flops => "it was trained by a version of hrmc that did not record them",
        }
    }
}

/// What was measured on which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CurveOf {
    /// The rows of the batches.
    Training,
    /// Held-out rows.
    Evaluation,
}

impl CurveOf {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            CurveOf::Training => "training",
            CurveOf::Evaluation => "evaluation",
        }
    }
}

/// A line of metrics, and what else is known of its step.
pub struct LoggedLine<'a> {
    /// The line.
    pub line: &'a MetricsLine,
    /// What it is about.
    pub of: CurveOf,
    /// Passes over the training data by then.
    pub epochs: Option<f64>,
    /// Floating-point operations of the training by then.
    pub flops: Option<f64>,
    /// When it was done, and how fast.
    pub times: Option<&'a TimesLine>,
}

/// What a run has written.
pub struct LoggedRun {
    /// Its folder.
    pub path: PathBuf,
    spec: Spec,
    lines: Vec<MetricsLine>,
    times: BTreeMap<(u64, bool), TimesLine>,
}

impl LoggedRun {
    /// Reads the lines of a run, which may be in training. What cannot be read is warned about.
    ///
    /// # Errors
    ///
    /// Returns a failure if it is not the folder of a run, or its description is damaged.
    pub fn open(path: &Path) -> Result<LoggedRun, Failure> {
        let run = run_arguments::open(path, &[])?;
        let folder = RunFolder::open(path).map_err(crate::train::Error::from)?;
        let lines = run.metrics().unwrap_or_else(|error| {
            terminal::warning(&format!("{error}; what can be read of `{}` is shown", path.display()));
            folder.readable_metrics()
        });
        if lines.is_empty() {
            terminal::warning(&format!("`{}` has done no step yet", path.display()));
        }
        let times = folder.times().into_iter();
        let times = times.map(|line| ((line.step, line.kind == TimesKind::Evaluation), line)).collect();
        Ok(LoggedRun { path: path.to_path_buf(), spec: run.spec().clone(), lines, times })
    }

    /// Returns the name of its folder.
    pub fn name(&self) -> String {
        // `.` has no name of its own.
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| path_text(&self.path))
    }

    /// Returns the steps that it has done.
    pub fn steps(&self) -> u64 {
        self.lines.last().map_or(0, MetricsLine::step)
    }

    /// Returns the seconds that it has been in training, where they are known.
    pub fn seconds(&self) -> Option<f64> {
        self.times.values().map(|line| line.seconds).max_by(f64::total_cmp)
    }

    /// Returns the seed.
    fn seed(&self) -> Option<u64> {
        self.spec.model().train.as_ref().map(|train| train.seed)
    }

    /// Yields everything that was measured, in the order in which it was.
    pub fn measured(&self) -> impl Iterator<Item = LoggedLine<'_>> {
        let (mut epochs, mut flops, mut step) = (None, None, 0);
        self.lines.iter().map(move |line| {
            let of = if line.is_evaluation() { CurveOf::Evaluation } else { CurveOf::Training };
            if let MetricsLine::Train { step: done, epochs: passes, flops: work, .. } = line {
                (step, epochs, flops) = (*done, Some(*passes), *work);
            }
            let is_known = line.step() == step;
            LoggedLine {
                line,
                of,
                epochs: epochs.filter(|_| is_known),
                flops: flops.filter(|_| is_known),
                times: self.times.get(&(line.step(), line.is_evaluation())),
            }
        })
    }

    /// Returns the best exact accuracy of its evaluations.
    pub fn best_exact(&self) -> Option<f64> {
        let exact = self.last_evaluations().filter_map(|line| line.means().exact_accuracy);
        exact.max_by(f64::total_cmp)
    }

    /// Returns its last evaluation.
    pub fn last_evaluation(&self) -> Option<&MetricsLine> {
        self.last_evaluations().last()
    }

    fn last_evaluations(&self) -> impl Iterator<Item = &MetricsLine> {
        self.lines.iter().filter(|line| line.is_evaluation())
    }
}

/// Runs that are drawn as one curve.
pub struct RunGroup {
    /// Its name in the legend: in what it differs from the others.
    pub label: String,
    /// The runs, which differ in their seed alone.
    pub runs: Vec<LoggedRun>,
}

/// Puts runs together that differ in their seed alone, unless each is to be drawn, and names them by their differences.
pub fn grouped(runs: Vec<LoggedRun>, each: bool) -> Vec<RunGroup> {
    let mut groups: Vec<Vec<LoggedRun>> = Vec::new();
    for run in runs {
        let is_alike = |group: &&mut Vec<LoggedRun>| {
            !each
                && is_but_seed(&group[0].spec.diff(&run.spec))
                && group.iter().all(|other| other.seed() != run.seed())
        };
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    let labels = labels(&groups);
    labels.into_iter().zip(groups).map(|(label, runs)| RunGroup { label, runs }).collect()
}

fn is_but_seed(diff: &SpecDiff) -> bool {
    diff.structure().is_empty() && diff.values.iter().all(|change| change.path == SEED)
}

/// Returns the names of groups: their differences, or the names of their folders where these are many or none.
fn labels(groups: &[Vec<LoggedRun>]) -> Vec<String> {
    let first = &groups[0][0].spec;
    let diffs: Vec<SpecDiff> = groups.iter().map(|group| first.diff(&group[0].spec)).collect();
    // Each path that differs, with the value of the first spec.
    let mut paths: Vec<(&str, &str)> = Vec::new();
    for change in diffs.iter().flat_map(|diff| &diff.values) {
        if paths.iter().all(|(path, _)| *path != change.path) {
            paths.push((&change.path, shown(change.old.as_deref())));
        }
    }
    let has_structure = diffs.iter().any(|diff| !diff.structure().is_empty());
    let by_values = !paths.is_empty() && paths.len() <= MAX_DIFFERENCES && !has_structure;
    let name = |group: &Vec<LoggedRun>, diff: &SpecDiff| {
        if !by_values {
            return group[0].name();
        }
        let value = |(path, old): &(&str, &str)| {
            let change = diff.values.iter().find(|change| change.path == *path);
            format!("{path}={}", change.map_or(*old, |change| shown(change.new.as_deref())))
        };
        paths.iter().map(value).collect::<Vec<_>>().join(" ")
    };
    let mut names: Vec<String> = groups.iter().zip(&diffs).map(|(group, diff)| name(group, diff)).collect();
    let is_unique = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if by_values && !is_unique(&names) {
        names =
            groups.iter().zip(names).map(|(group, name)| format!("{name} ({})", group[0].name())).collect();
    }
    if !is_unique(&names) {
        names = groups.iter().map(|group| path_text(&group[0].path)).collect();
    }
    let with_seeds = |(group, name): (&Vec<LoggedRun>, String)| match group.len() {
        1 => name,
        seeds => format!("{name} ({seeds} seeds)"),
    };
    groups.iter().zip(names).map(with_seeds).collect()
}

/// A curve with what it is of.
pub struct Curve {
    /// Index of the group.
    pub group: usize,
    /// The rows.
    pub of: CurveOf,
    /// Its points, from left to right.
    pub points: Vec<CurvePoint>,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Its place.
    pub x: f64,
    /// Its value.
    pub y: f64,
    /// Standard deviation over seeds, if there are several.
    pub deviation: Option<f64>,
}

/// The curves of one quantity.
pub struct PlotFigure {
    /// What is drawn.
    pub quantity: LoggedQuantity,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// Returns the curves of a quantity, and whether some measurement had no place.
///
/// # Errors
///
/// Returns a failure if no measurement of a run has a place.
pub fn figure(
    groups: &[RunGroup],
    quantity: LoggedQuantity,
    against: Against,
) -> Result<PlotFigure, Failure> {
    let most = groups.iter().flat_map(|group| &group.runs).map(LoggedRun::steps).max().unwrap_or(0);
    let window = most.div_ceil(MAX_WINDOWS).max(1);
    let mut curves = Vec::new();
    for of in [CurveOf::Training, CurveOf::Evaluation] {
        for (index, group) in groups.iter().enumerate() {
            let mut found = Vec::new();
            for run in &group.runs {
                found.push(windows(run, of, quantity, against, window)?);
            }
            let points = mean(&found);
            if !points.is_empty() {
                curves.push(Curve { group: index, of, points });
            }
        }
    }
    Ok(PlotFigure { quantity, curves })
}

/// Returns the mean place and value in each window that has any, by its number.
fn windows(
    run: &LoggedRun,
    of: CurveOf,
    quantity: LoggedQuantity,
    against: Against,
    window: u64,
) -> Result<BTreeMap<u64, (f64, f64)>, Failure> {
    /// Sums over a window.
    #[derive(Default)]
    struct Sums {
        places: f64,
        lines: f64,
        values: f64,
        weights: f64,
    }
    let mut sums: BTreeMap<u64, Sums> = BTreeMap::new();
    let mut is_placed = true;
    for measured in run.measured().filter(|measured| measured.of == of) {
        let Some(value) = quantity.of(&measured) else { continue };
        let Some(place) = against.of(&measured) else {
            is_placed = false;
            continue;
        };
        let step = measured.line.step();
        let number = if of == CurveOf::Training { step.saturating_sub(1) / window } else { step };
        let sums = sums.entry(number).or_default();
        let weight = quantity.weight(&measured);
        sums.places += place;
        sums.lines += 1.0;
        sums.values += weight * value;
        sums.weights += weight;
    }
    if sums.is_empty() && !is_placed {
        return Err(Failure::message(format!(
            "`{}` cannot be drawn over `--x {}`: {}; choose another `--x`",
            run.path.display(),
            against.to_possible_value().expect("no value is hidden").get_name(),
            against.reason()
        )));
    }
    let means = sums.into_iter().filter(|(_, sums)| sums.weights > 0.0);
    Ok(means.map(|(number, sums)| (number, (sums.places / sums.lines, sums.values / sums.weights))).collect())
}

/// Returns the mean over runs in each window that all of them have.
fn mean(runs: &[BTreeMap<u64, (f64, f64)>]) -> Vec<CurvePoint> {
    let Some((first, others)) = runs.split_first() else { return Vec::new() };
    let mut points = Vec::new();
    for (number, &point) in first {
        let others: Option<Vec<(f64, f64)>> = others.iter().map(|run| run.get(number).copied()).collect();
        let Some(others) = others else { continue };
        let all: Vec<(f64, f64)> = std::iter::once(point).chain(others).collect();
        let x = all.iter().map(|(x, _)| x).sum::<f64>() / all.len() as f64;
        let values: Vec<f64> = all.iter().map(|(_, y)| *y).collect();
        // What is not finite stays to be seen: it is left out of the chart, and counted there.
        let spread =
            Spread::of(&values).unwrap_or(Spread { mean: f64::NAN, deviation: None, interval: None });
        points.push(CurvePoint { x, y: spread.mean, deviation: spread.deviation });
    }
    points
}

impl PlotFigure {
    /// Returns the charts. If several groups were measured in training and in evaluation, that makes two.
    pub fn charts(&self, groups: &[RunGroup], against: Against, scale: AxisScale) -> Vec<Chart> {
        let has = |of: CurveOf| self.curves.iter().any(|curve| curve.of == of);
        let has_both = has(CurveOf::Training) && has(CurveOf::Evaluation);
        let places = self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.x);
        let (x, unit) = against.axis(places.fold(0.0, f64::max));
        let chart = |title: String, curves: Vec<&Curve>| {
            let name = |curve: &Curve| match groups.len() {
                1 if has_both => curve.of.name().to_string(),
                _ => groups[curve.group].label.clone(),
            };
            let series = |curve: &&Curve| Series {
                name: name(curve),
                points: curve.points.iter().map(|point| self.drawn(point, unit)).collect(),
            };
            Chart {
                title,
                x: x.clone(),
                y: ChartAxis {
                    name: self.quantity.name().to_string(),
                    scale,
                    numbers: self.quantity.numbers(),
                },
                series: curves.iter().map(series).collect(),
            }
        };
        let name = capitalized(self.quantity.name());
        let of = |of: CurveOf| self.curves.iter().filter(|curve| curve.of == of).collect::<Vec<_>>();
        match groups {
            [group] => {
                vec![chart(format!("{name} of {}", group.label), self.curves.iter().collect())]
            }
            _ if has_both => [CurveOf::Training, CurveOf::Evaluation]
                .map(|set| chart(format!("{name} in {}", set.name()), of(set)))
                .to_vec(),
            _ => vec![chart(name, self.curves.iter().collect())],
        }
    }

    fn drawn(&self, point: &CurvePoint, unit: f64) -> ChartPoint {
        let (least, most) = match self.quantity.numbers() {
            AxisNumbers::Percent => (0.0, 1.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let band = point.deviation.map(|deviation| {
            ((point.y - deviation).max(least).min(point.y), (point.y + deviation).min(most).max(point.y))
        });
        ChartPoint { x: point.x / unit, y: point.y, band }
    }

    /// Returns the curves for programs.
    pub fn to_json(&self, groups: &[RunGroup]) -> serde_json::Value {
        let point = |point: &CurvePoint| {
            let mut json = json!({ "x": point.x, "y": point.y });
            if let Some(deviation) = point.deviation {
                json["deviation"] = json!(deviation);
            }
            json
        };
        let curve = |curve: &Curve| {
            json!({
                "name": groups[curve.group].label,
                "of": curve.of.name(),
                "points": curve.points.iter().map(point).collect::<Vec<_>>(),
            })
        };
        json!({
            "y": self.quantity.key(),
            "curves": self.curves.iter().map(curve).collect::<Vec<_>>(),
        })
    }
}

/// Returns a name as it begins a heading.
pub fn capitalized(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Glyphs;
    use crate::store::MetricMeans;

    fn means(count: usize, loss: f64, exact: Option<f64>) -> MetricMeans {
        MetricMeans {
            count,
            loss,
            token_loss: loss,
            halt_loss: None,
            continue_loss: None,
            accuracy: exact,
            exact_accuracy: exact,
            valid_accuracy: None,
            q_halt_accuracy: None,
            mean_segments: None,
        }
    }

    /// Returns a run of the quickstart with other values, whose loss falls from `loss` by 0.1 with each step, evaluated
    /// after each second one.
    fn run(name: &str, overrides: &[&str], steps: u64, loss: f64) -> LoggedRun {
        let spec = Spec::quickstart().with(overrides).expect("the overrides are right");
        let (mut lines, mut times) = (Vec::new(), BTreeMap::new());
        for step in 1..=steps {
            // Half of the steps have no rows that halted.
            let exact = step.is_multiple_of(2).then_some(0.5);
            let means_of_step = means(usize::from(exact.is_some()), loss - 0.1 * step as f64, exact);
            lines.push(MetricsLine::Train {
                step,
                epochs: step as f64 / 10.0,
                lr: 0.5,
                gradient_norm: Some(step as f64),
                flops: Some(1e6 * step as f64),
                means: means_of_step,
            });
            let kind = TimesKind::Train;
            let line = TimesLine {
                kind,
                step,
                seconds: 60.0 * step as f64,
                rows_per_second: 10.0,
                resident_bytes: None,
            };
            times.insert((step, false), line);
            if step.is_multiple_of(2) {
                let means = means(8, loss, Some(0.25));
                lines.push(MetricsLine::Evaluation { step, examples: 8, means });
            }
        }
        LoggedRun { path: Path::new("runs").join(name), spec, lines, times }
    }

    fn labels_of(runs: Vec<LoggedRun>, each: bool) -> Vec<String> {
        grouped(runs, each).into_iter().map(|group| group.label).collect()
    }

    #[test]
    fn runs_are_named_by_their_differences_and_seeds_are_one_curve() {
        let two = || run("q-002", &["train.seed=1"], 2, 1.0);
        let large = || run("q-003", &["train.batch=8", "train.seed=2"], 2, 1.0);
        assert_eq!(labels_of(vec![run("q-001", &[], 2, 1.0)], false), ["q-001"]);
        assert_eq!(labels_of(vec![run("q-001", &[], 2, 1.0), two()], false), ["q-001 (2 seeds)"]);
        assert_eq!(labels_of(vec![run("q-001", &[], 2, 1.0), two()], true), ["train.seed=0", "train.seed=1"]);
        let batch = Spec::quickstart().model().train.as_ref().map_or(0, |train| train.batch);
        assert_eq!(
            labels_of(vec![run("q-001", &["train.seed=2"], 2, 1.0), two(), large()], false),
            [format!("train.batch={batch} (2 seeds)"), "train.batch=8".to_string()]
        );
        // Equal runs have nothing but their names, and a curve each.
        assert_eq!(
            labels_of(vec![two(), run("q-009", &["train.seed=1"], 2, 1.0)], false),
            ["q-002", "q-009"]
        );
        let mut elsewhere = two();
        elsewhere.path = PathBuf::from("others/q-002");
        assert_eq!(labels_of(vec![two(), elsewhere], false), ["runs/q-002", "others/q-002"]);
        // Too many differences make no name.
        let many = [
            "train.batch=8",
            "train.steps=9",
            "train.optimizer.lr=1",
            "train.ema=none",
            "train.loss=softmax",
        ];
        assert_eq!(labels_of(vec![two(), run("q-004", &many, 2, 1.0)], false), ["q-002", "q-004"]);
    }

    #[test]
    fn steps_are_averaged_in_windows_and_accuracies_over_rows() {
        let groups = grouped(vec![run("q-001", &[], 4 * MAX_WINDOWS, 0.0)], false);
        let points = |quantity, against| {
            let figure = figure(&groups, quantity, against).expect("everything is there");
            figure.curves.into_iter().next().expect("it was trained").points
        };
        let loss = points(LoggedQuantity::Loss, Against::Step);
        assert_eq!(loss.len() as u64, MAX_WINDOWS);
        // The first four steps, of which two had rows that halted.
        assert!((loss[0].x - 2.5).abs() < 1e-12 && (loss[0].y + 0.25).abs() < 1e-12, "{:?}", loss[0]);
        let exact = points(LoggedQuantity::Exact, Against::Epoch);
        assert!((exact[0].x - 0.3).abs() < 1e-12 && exact[0].y == 0.5, "{:?}", exact[0]);
        assert_eq!(
            points(LoggedQuantity::GradientNorm, Against::Flops)[0],
            CurvePoint { x: 2.5e6, y: 2.5, deviation: None }
        );
    }

    #[test]
    fn the_curve_of_several_seeds_is_their_mean_where_all_of_them_are() {
        let groups =
            grouped(vec![run("a", &["train.seed=1"], 4, 1.0), run("b", &["train.seed=2"], 3, 3.0)], false);
        let figure = figure(&groups, LoggedQuantity::Loss, Against::Step).expect("everything is there");
        let training = &figure.curves[0].points;
        assert_eq!(training.len(), 3);
        assert!((training[0].y - 1.9).abs() < 1e-12, "{training:?}");
        // Of two values, the deviation is their distance by the root of two.
        assert!((training[0].deviation.expect("there are two") - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(figure.curves[1].points.iter().map(|point| point.x).collect::<Vec<_>>(), [2.0]);
        let shares =
            super::figure(&groups, LoggedQuantity::Exact, Against::Step).expect("everything is there");
        let charts = shares.charts(&groups, Against::Step, AxisScale::Linear);
        assert_eq!((charts.len(), charts[0].title.as_str()), (1, "Exact accuracy of a (2 seeds)"));
    }

    #[test]
    fn evaluations_have_the_place_of_their_step_and_a_place_that_is_missing_is_said() {
        let evaluation = |groups: &[RunGroup], against| {
            let figure = figure(groups, LoggedQuantity::Loss, against)?;
            Ok(figure.curves[1].points.iter().map(|point| point.x).collect::<Vec<_>>())
        };
        let mut old = run("q-001", &[], 4, 1.0);
        let groups = grouped(vec![run("q-001", &[], 4, 1.0)], false);
        let places: Result<_, Failure> = evaluation(&groups, Against::Flops);
        assert_eq!(places.expect("everything is there"), [2e6, 4e6]);
        for line in &mut old.lines {
            if let MetricsLine::Train { flops, .. } = line {
                *flops = None;
            }
        }
        old.times.clear();
        let groups = grouped(vec![old], false);
        for (against, expected) in [
            (
                Against::Flops,
                "`runs/q-001` cannot be drawn over `--x flops`: it was trained by a version of hrmc that did not record \
                 them; choose another `--x`",
            ),
            (
                Against::Seconds,
                "`runs/q-001` cannot be drawn over `--x seconds`: its `times.jsonl` is missing or cannot be read; choose \
                 another `--x`",
            ),
        ] {
            match evaluation(&groups, against) {
                Err(Failure::Message(message)) => assert_eq!(message, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn long_trainings_are_drawn_over_minutes_and_hours() {
        for (steps, unit, last) in [(1, "seconds", 60.0), (4, "minutes", 4.0), (240, "hours", 4.0)] {
            let groups = grouped(vec![run("q-001", &[], steps, 1.0)], false);
            let figure = figure(&groups, LoggedQuantity::Lr, Against::Seconds).expect("everything is there");
            let chart = figure.charts(&groups, Against::Seconds, AxisScale::Log10).remove(0);
            assert_eq!(chart.x.name, unit);
            let found = chart.series[0].points.last().expect("there are points").x;
            assert!((found - last).abs() < 0.02, "{found} {unit}");
        }
    }

    #[test]
    fn several_groups_have_a_chart_for_training_and_one_for_evaluation() {
        let groups =
            grouped(vec![run("a", &["train.batch=8"], 4, 1.0), run("b", &["train.batch=16"], 4, 2.0)], false);
        let figure = figure(&groups, LoggedQuantity::Loss, Against::Step).expect("everything is there");
        let charts = figure.charts(&groups, Against::Step, AxisScale::Linear);
        let titles: Vec<&str> = charts.iter().map(|chart| chart.title.as_str()).collect();
        assert_eq!(titles, ["Loss in training", "Loss in evaluation"]);
        for chart in charts {
            for columns in [60, 61, 80, 200] {
                let text = chart.to_text(columns, Glyphs::Ascii);
                assert!(text.lines().all(|line| line.len() <= columns), "{text}");
                assert!(text.contains("train.batch=16"), "{text}");
            }
        }
    }
}
