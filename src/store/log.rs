//! `metrics.jsonl`: the measurements of training and evaluation, one per line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::disk::Appended;
use super::error::{RunFolderError, written};
use crate::hash::hexadecimal;
use crate::reading;

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
    /// Fraction of the rows whose answer obeys the rules; `None` in training and where there are no rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_accuracy: Option<f64>,
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
        /// Norm of the gradient of the loss, over all weights that are trained; `None` in runs of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gradient_norm: Option<f64>,
        /// Floating-point operations of products and attention in all steps up to this one; `None` in runs of older
        /// versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flops: Option<f64>,
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
    /// Returns the means over rows.
    pub fn means(&self) -> &MetricMeans {
        match self {
            MetricsLine::Train { means, .. } | MetricsLine::Evaluation { means, .. } => means,
        }
    }

    /// Returns whether it is about an evaluation.
    pub fn is_evaluation(&self) -> bool {
        matches!(self, MetricsLine::Evaluation { .. })
    }

    /// Returns the optimizer steps done.
    pub fn step(&self) -> u64 {
        match self {
            MetricsLine::Train { step, .. } | MetricsLine::Evaluation { step, .. } => *step,
        }
    }
}

/// Returns the whole lines of `metrics.jsonl`; errors call it `file`.
///
/// # Errors
///
/// Returns the number of a line that cannot be read.
pub fn parse_lines(file: &Path, text: &str) -> Result<Vec<MetricsLine>, RunFolderError> {
    // A last line without an end is one that a process was killed while it wrote.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let parse = |(index, line)| {
        reading::json::value(line).map_err(|fault| RunFolderError::Damaged {
            file: file.to_owned(),
            reason: format!("line {} is not a line of metrics: {}", index + 1, fault.reason),
        })
    };
    whole.enumerate().map(parse).collect()
}

/// What a log was found to have when a training opened it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LogProblems {
    /// Numbers of lines that cannot be read.
    pub damaged: Vec<usize>,
    /// Steps of which there is no line: the first and the last of each gap.
    pub missing: Vec<(u64, u64)>,
    /// Whether lines were changed after they were written.
    pub changed: bool,
}

/// The lines of a log that a training keeps when it continues.
pub(super) struct KeptLines {
    pub(super) text: String,
    pub(super) problems: LogProblems,
    sum: LogSum,
    /// Steps of the evaluations.
    evaluated: BTreeSet<u64>,
}

impl KeptLines {
    /// Keeps the lines of the first `step` steps of a log. `expected` is the checksum that the checkpoint has.
    pub(super) fn of(bytes: &[u8], step: u64, eval_every: Option<u64>, expected: Option<&str>) -> KeptLines {
        let mut kept = KeptLines {
            text: String::new(),
            problems: LogProblems::default(),
            sum: LogSum::new(eval_every),
            evaluated: BTreeSet::new(),
        };
        // Lines that were written after the checkpoint follow; they are written again.
        let mut steps_seen = 0;
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let parsed = std::str::from_utf8(line).ok().and_then(|text| {
                // The process ended while it wrote its last line.
                let whole = text.ends_with('\n');
                Some((text, reading::json::value::<MetricsLine>(text).ok().filter(|_| whole)?))
            });
            let Some((text, parsed)) = parsed else {
                if steps_seen < step {
                    kept.problems.damaged.push(index + 1);
                }
                continue;
            };
            if parsed.step() > step {
                continue;
            }
            if let MetricsLine::Train { step: seen, .. } = parsed {
                if seen > steps_seen + 1 {
                    kept.problems.missing.push((steps_seen + 1, seen - 1));
                }
                steps_seen = seen;
            } else {
                kept.evaluated.insert(parsed.step());
            }
            kept.sum.add(&parsed, text);
            kept.text.push_str(text);
        }
        if steps_seen < step {
            kept.problems.missing.push((steps_seen + 1, step));
        }
        let whole = kept.problems.damaged.is_empty() && kept.problems.missing.is_empty();
        kept.problems.changed = whole && expected.is_some_and(|expected| expected != kept.sum.value());
        kept
    }
}

/// The checksum of the lines that follow from spec, data and seed: all but those of evaluations that were made where a
/// training was told to stop, and not by the schedule.
#[derive(Debug, Clone)]
struct LogSum {
    sum: Sha256,
    eval_every: Option<u64>,
    /// The line of the last evaluation. It counts from the next step on, so that a checkpoint of a step has the same
    /// sum before its evaluation and after it.
    evaluation: String,
}

impl LogSum {
    fn new(eval_every: Option<u64>) -> LogSum {
        LogSum { sum: Sha256::new(), eval_every, evaluation: String::new() }
    }

    fn add(&mut self, line: &MetricsLine, text: &str) {
        match line {
            MetricsLine::Train { .. } => {
                self.sum.update(std::mem::take(&mut self.evaluation));
                self.sum.update(text);
            }
            MetricsLine::Evaluation { step, .. } => {
                if self.eval_every.is_some_and(|every| step.is_multiple_of(every)) {
                    text.clone_into(&mut self.evaluation);
                }
            }
        }
    }

    fn value(&self) -> String {
        hexadecimal(&self.sum.clone().finalize())
    }
}

/// `metrics.jsonl`, open for adding lines.
#[derive(Debug)]
pub struct MetricsLog {
    file: PathBuf,
    log: Appended,
    sum: LogSum,
    evaluated: BTreeSet<u64>,
    problems: LogProblems,
}

impl MetricsLog {
    pub(super) fn new(file: PathBuf, log: Appended, kept: KeptLines) -> MetricsLog {
        let KeptLines { sum, evaluated, problems, .. } = kept;
        MetricsLog { file, log, sum, evaluated, problems }
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn append(&mut self, line: &MetricsLine) -> Result<(), RunFolderError> {
        let text = to_line(line);
        written(&self.file, self.log.add(&text))?;
        self.sum.add(line, &text);
        if let MetricsLine::Evaluation { step, .. } = line {
            self.evaluated.insert(*step);
        }
        Ok(())
    }

    /// Waits until all lines are on the disk.
    ///
    /// # Errors
    ///
    /// Returns an error if the disk fails.
    pub fn sync(&self) -> Result<(), RunFolderError> {
        written(&self.file, self.log.sync())
    }

    /// Returns the checksum of the lines, which a checkpoint keeps.
    pub fn sha256(&self) -> String {
        self.sum.value()
    }

    /// Returns whether there was an evaluation after a step.
    pub fn has_evaluation(&self, step: u64) -> bool {
        self.evaluated.contains(&step)
    }

    /// Returns what was wrong with the lines that were there.
    pub fn problems(&self) -> &LogProblems {
        &self.problems
    }
}

/// Returns a line of the file.
pub fn to_line(line: &MetricsLine) -> String {
    let mut json = serde_json::to_string(line).expect("a line is plain data");
    json.push('\n');
    json
}
