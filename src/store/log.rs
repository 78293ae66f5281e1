//! `metrics.jsonl`: the measurements of training and evaluation, one per line.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::error::{RunFolderError, written};

/// Means over rows.
///
/// Losses are means over all rows. Accuracies and segments are means over the rows that count: a row counts in the
/// segment at which it halts. In training many a step has few such rows or none, and the means of none are `None`; in
/// an evaluation every example counts once.
///
/// # Examples
///
/// ```
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// let mut solver = run.solver(hrmc::Checkpoint::Last, hrmc::SolveOptions::default())?;
/// let means = solver.evaluate(training.data().test(), Some(4))?.means();
/// assert_eq!(means.count, 4);
/// println!("{:.1}% exact", 100.0 * means.exact_accuracy.unwrap_or(0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricMeans {
    /// Rows that halted and have labels.
    pub count: usize,
    /// `token_loss + 0.5 (halt_loss + continue_loss)`.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Loss of the tokens.
    #[serde(deserialize_with = "number_or_null")]
    pub token_loss: f64,
    /// Loss of `q_halt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_loss: Option<f64>,
    /// Loss of `q_continue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_loss: Option<f64>,
    /// Fraction of the labels that are right, averaged over rows.
    pub accuracy: Option<f64>,
    /// Fraction of the rows with all labels right.
    pub exact_accuracy: Option<f64>,
    /// Fraction of the rows where `q_halt >= 0` is correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q_halt_accuracy: Option<f64>,
    /// Segments per row.
    pub mean_segments: Option<f64>,
}

/// JSON writes `null` for a NaN, which a loss may be when training diverges.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// One line of `metrics.jsonl`.
///
/// # Examples
///
/// ```
/// use hrmc::MetricsLine;
///
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// for line in run.metrics()? {
///     match line {
///         MetricsLine::Train { step, means, .. } => println!("step {step}: loss {:.3}", means.loss),
///         MetricsLine::Evaluation { step, means, .. } => println!("step {step}: {:?} exact", means.exact_accuracy),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsLine {
    /// A training step.
    Train {
        /// Optimizer steps done.
        step: u64,
        /// Passes over the groups of the training data.
        epochs: f64,
        /// Learning rate of the weights.
        lr: f32,
        /// Means over the rows of the batch.
        #[serde(flatten)]
        means: MetricMeans,
    },
    /// An evaluation.
    Evaluation {
        /// Optimizer steps done.
        step: u64,
        /// Examples that were evaluated.
        examples: usize,
        /// Means over the examples.
        #[serde(flatten)]
        means: MetricMeans,
    },
}

impl MetricsLine {
    /// Returns the optimizer steps done.
    pub fn step(&self) -> u64 {
        match self {
            MetricsLine::Train { step, .. } | MetricsLine::Evaluation { step, .. } => *step,
        }
    }
}

/// The part that every line of `metrics.jsonl` has.
#[derive(Deserialize)]
pub(super) struct StepOfLine {
    pub(super) step: u64,
}

/// Returns the whole lines of `metrics.jsonl`, as text and parsed.
pub(super) fn parse_lines<'a, T: Deserialize<'a>>(
    file: &Path,
    text: &'a str,
) -> Result<Vec<(&'a str, T)>, RunFolderError> {
    let mut lines = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // The run was interrupted while it wrote its last line.
        if !line.ends_with('\n') {
            break;
        }
        let parsed = serde_json::from_str(line).map_err(|error| RunFolderError::Damaged {
            file: file.to_owned(),
            reason: format!("line {} is not a line of metrics: {error}", index + 1),
        })?;
        lines.push((line, parsed));
    }
    Ok(lines)
}

/// `metrics.jsonl`, open for adding lines.
#[derive(Debug)]
pub struct MetricsLog {
    file: PathBuf,
    log: File,
}

impl MetricsLog {
    pub(super) fn new(file: PathBuf, log: File) -> MetricsLog {
        MetricsLog { file, log }
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn append(&mut self, line: &MetricsLine) -> Result<(), RunFolderError> {
        written(&self.file, self.log.write_all(to_line(line).as_bytes()))
    }
}

/// Returns a line of the file.
pub fn to_line(line: &MetricsLine) -> String {
    let mut json = serde_json::to_string(line).expect("a line is plain data");
    json.push('\n');
    json
}
