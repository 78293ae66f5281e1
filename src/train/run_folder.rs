//! The folder of a run.
//!
//! ```text
//! runs/maze-003/
//!   run.toml        [`RunManifest`]: what is trained, on what, with which seed
//!   metrics.jsonl   one [`MetricsLine`] per line
//!   last/           checkpoint to go on from
//!   best/           checkpoint with the best exact accuracy
//! ```
//!
//! Nothing in it depends on the clock, the path or the number of threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, CheckpointError};
use super::evaluate::Evaluation;
use super::metrics::MetricMeans;
use super::trainer::StepReport;
use crate::data::Dataset;
use crate::device::Device;
use crate::hash::sha256;
use crate::system;

const MANIFEST: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const LAST: &str = "last";
const BEST: &str = "best";

/// Number of the format of `run.toml`, increased whenever an older hrmc could not read it.
const FORMAT: u32 = 1;

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// A file or folder that cannot be read.
    #[error("cannot read `{file}`: {}", system::reason(reason))]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write `{file}`: {}", system::reason(reason))]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// A folder that is not the folder of a run.
    #[error("`{folder}` is not the folder of a run: it has no `run.toml`")]
    NotARun {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that is not what it should be.
    #[error("`{file}` is damaged: {reason}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint in the folder is not what it should be.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What a run is: the content of `run.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunManifest {
    format: u32,
    /// Version of hrmc that began the run.
    pub version: String,
    /// Name of the model.
    pub name: String,
    /// Name of the device.
    pub device: String,
    /// Seed of every random stream.
    pub seed: u64,
    /// SHA-256 of the spec.
    pub spec_sha256: String,
    /// Fingerprint of the training data.
    pub train_data_sha256: String,
    /// Fingerprint of the test data.
    pub test_data_sha256: String,
    /// What the command line put into the spec, e.g. `model.N=3`; the resolved spec says it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// The resolved spec: every default written out, every override applied.
    pub spec: String,
}

impl RunManifest {
    /// Describes a run of this version of hrmc.
    pub fn new(name: &str, spec: &str, seed: u64, device: Device, train: &Dataset, test: &Dataset) -> Self {
        RunManifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            device: device.name().to_owned(),
            seed,
            spec_sha256: sha256(spec),
            train_data_sha256: train.fingerprint(),
            test_data_sha256: test.fingerprint(),
            overrides: Vec::new(),
            spec: spec.to_owned(),
        }
    }

    /// Records what the command line put into the spec.
    pub fn with_overrides(self, overrides: &[String]) -> Self {
        RunManifest { overrides: overrides.to_vec(), ..self }
    }
}

/// One line of `metrics.jsonl`.
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
    /// Returns the line of a training step.
    pub fn train(report: &StepReport) -> Self {
        MetricsLine::Train {
            step: report.step,
            epochs: report.epochs,
            lr: report.scalars.lr,
            means: report.metrics.means(),
        }
    }

    /// Returns the line of an evaluation after `step` steps.
    pub fn evaluation(step: u64, evaluation: &Evaluation) -> Self {
        MetricsLine::Evaluation { step, examples: evaluation.examples, means: evaluation.metrics.means() }
    }

    /// Returns the optimizer steps done.
    pub fn step(&self) -> u64 {
        match self {
            MetricsLine::Train { step, .. } | MetricsLine::Evaluation { step, .. } => *step,
        }
    }
}

/// The folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder `NAME-NNN` in `runs` with the next free number.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be made or the manifest cannot be written.
    pub fn create(runs: &Path, manifest: &RunManifest) -> Result<Self, RunFolderError> {
        written(runs, fs::create_dir_all(runs))?;
        let mut number = highest_number(runs, &manifest.name)? + 1;
        let path = loop {
            let path = runs.join(format!("{}-{number:03}", manifest.name));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // Another run took this number just now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(reason) => return Err(RunFolderError::Write { file: path, reason }),
            }
        };
        let file = path.join(MANIFEST);
        let text = toml::to_string_pretty(manifest).expect("the manifest is plain data");
        written(&file, fs::write(&file, text))?;
        Ok(RunFolder { path })
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// Returns an error if it has no manifest.
    pub fn open(path: &Path) -> Result<Self, RunFolderError> {
        if path.join(MANIFEST).is_file() {
            Ok(RunFolder { path: path.to_owned() })
        } else {
            Err(RunFolderError::NotARun { folder: path.to_owned() })
        }
    }

    /// Returns the run with the highest number in `runs` of the model `name`, if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` exists and cannot be read, or that run has no manifest.
    pub fn newest(runs: &Path, name: &str) -> Result<Option<Self>, RunFolderError> {
        match highest_number(runs, name)? {
            0 => Ok(None),
            number => RunFolder::open(&runs.join(format!("{name}-{number:03}"))).map(Some),
        }
    }

    /// Reads the manifest.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be read or was changed.
    pub fn manifest(&self) -> Result<RunManifest, RunFolderError> {
        let file = self.path.join(MANIFEST);
        let text = read_text(&file)?;
        let damaged = |reason: String| RunFolderError::Damaged { file: file.clone(), reason };
        let manifest: RunManifest =
            toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if manifest.format != FORMAT {
            let reason = format!("it has format {}, but this hrmc reads format {FORMAT}", manifest.format);
            return Err(damaged(reason));
        }
        if manifest.spec_sha256 != sha256(&manifest.spec) {
            return Err(damaged("its spec was changed; begin a new run for another spec".to_owned()));
        }
        Ok(manifest)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the checkpoint to go on from.
    pub fn last(&self) -> PathBuf {
        self.path.join(LAST)
    }

    /// Returns the checkpoint with the best exact accuracy.
    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Returns the best exact accuracy so far, that of the checkpoint `best`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if the checkpoint is damaged.
    pub fn best_accuracy(&self) -> Result<Option<f64>, RunFolderError> {
        match checkpoint::trainer_state(&self.best()) {
            Ok(state) => Ok(state.exact_accuracy),
            Err(CheckpointError::Absent { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the checkpoint to use the model with: `best`, or `last` where there was no evaluation yet.
    ///
    /// # Errors
    ///
    /// Returns an error if there is neither.
    pub fn usable_checkpoint(&self) -> Result<PathBuf, RunFolderError> {
        match checkpoint::usable_weights(&self.best()) {
            Ok(_) => Ok(self.best()),
            Err(_) => {
                checkpoint::usable_weights(&self.last())?;
                Ok(self.last())
            }
        }
    }

    /// Opens `metrics.jsonl` to add lines after those of the first `step` steps; later lines are dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or written, or is damaged. A last line that was cut off
    /// by an interruption is no damage.
    pub fn metrics_log(&self, step: u64) -> Result<MetricsLog, RunFolderError> {
        let file = self.path.join(METRICS);
        let text = if file.exists() { read_text(&file)? } else { String::new() };
        let lines: Vec<(&str, StepOfLine)> = parse_lines(&file, &text)?;
        // Lines are kept as they are, so a resumed run has the same bytes as one that was never interrupted.
        let kept: String =
            lines.iter().filter(|(_, parsed)| parsed.step <= step).map(|(line, _)| *line).collect();
        let temporary = self.path.join(format!("{METRICS}.new"));
        written(&temporary, fs::write(&temporary, kept))?;
        written(&file, fs::rename(&temporary, &file))?;
        let open = OpenOptions::new().append(true).open(&file);
        Ok(MetricsLog { log: written(&file, open)?, file })
    }

    /// Reads `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be read or is damaged.
    pub fn metrics(&self) -> Result<Vec<MetricsLine>, RunFolderError> {
        let file = self.path.join(METRICS);
        let text = read_text(&file)?;
        Ok(parse_lines(&file, &text)?.into_iter().map(|(_, line)| line).collect())
    }
}

/// What every line of `metrics.jsonl` has.
#[derive(Deserialize)]
struct StepOfLine {
    step: u64,
}

/// Returns the whole lines of `metrics.jsonl`, as text and parsed.
fn parse_lines<'a, T: Deserialize<'a>>(
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
    /// Adds a line.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn append(&mut self, line: &MetricsLine) -> Result<(), RunFolderError> {
        written(&self.file, self.log.write_all(to_line(line).as_bytes()))
    }
}

fn to_line(line: &MetricsLine) -> String {
    let mut json = serde_json::to_string(line).expect("a line is plain data");
    json.push('\n');
    json
}

/// Returns the highest number of a run of `name` in `runs`, 0 if there is none.
fn highest_number(runs: &Path, name: &str) -> Result<u64, RunFolderError> {
    let read = |reason| RunFolderError::Read { file: runs.to_owned(), reason };
    let entries = match fs::read_dir(runs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(read)?,
    };
    let mut highest = 0;
    for entry in entries {
        let file_name = entry.map_err(read)?.file_name();
        let number = file_name
            .to_str()
            .and_then(|file_name| file_name.strip_prefix(name)?.strip_prefix('-')?.parse().ok());
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest)
}

fn read_text(file: &Path) -> Result<String, RunFolderError> {
    fs::read_to_string(file).map_err(|reason| RunFolderError::Read { file: file.to_owned(), reason })
}

fn written<T>(file: &Path, result: io::Result<T>) -> Result<T, RunFolderError> {
    result.map_err(|reason| RunFolderError::Write { file: file.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::train::metrics::Metrics;
    use crate::train::testing;

    const SPEC: &str = "model tiny {\n  # \"quoted\"\n}\n";

    fn manifest() -> RunManifest {
        let data = testing::data();
        RunManifest::new("tiny", SPEC, 7, Device::Cpu, &data.train, &data.test)
    }

    fn created() -> (TempDir, RunFolder) {
        let directory = TempDir::new().expect("a temporary folder");
        let run = RunFolder::create(&directory.path().join("runs"), &manifest()).expect("it is empty");
        (directory, run)
    }

    fn line(step: u64) -> MetricsLine {
        let metrics = Metrics { rows: 4, count: 2, accuracy: 1.5, token_loss: 2.0, ..Metrics::default() };
        MetricsLine::Evaluation { step, examples: 4, means: metrics.means() }
    }

    #[test]
    fn runs_are_numbered_from_one() {
        let (directory, first) = created();
        let runs = directory.path().join("runs");
        assert_eq!(first.path(), runs.join("tiny-001"));
        fs::create_dir(runs.join("tiny-041")).expect("the disk has room");
        fs::create_dir(runs.join("tiny-other-099")).expect("the disk has room");
        let next = RunFolder::create(&runs, &manifest()).expect("there is room");
        assert_eq!(next.path(), runs.join("tiny-042"));
        assert_eq!(RunFolder::newest(&runs, "tiny").expect("it can be read"), Some(next));
        assert_eq!(RunFolder::newest(&runs, "maze").expect("it can be read"), None);
        assert_eq!(RunFolder::newest(&runs.join("none"), "tiny").expect("that is no error"), None);
    }

    #[test]
    fn the_manifest_is_what_was_written() {
        let (_directory, run) = created();
        let opened = RunFolder::open(run.path()).expect("it is a run");
        assert_eq!(opened.manifest().expect("it is whole"), manifest());
    }

    #[test]
    fn a_changed_manifest_is_refused() {
        let (_directory, run) = created();
        let file = run.path().join(MANIFEST);
        let text = fs::read_to_string(&file).expect("it exists");
        fs::write(&file, text.replace("quoted", "changed")).expect("the disk has room");
        let message = run.manifest().expect_err("it was changed").to_string();
        assert!(message.ends_with("its spec was changed; begin a new run for another spec"), "{message}");
        fs::write(&file, text.replace("seed = 7", "seed = -7")).expect("the disk has room");
        let message = run.manifest().expect_err("the seed is negative").to_string();
        assert!(message.starts_with(&format!("`{}` is damaged: ", file.display())), "{message}");
    }

    #[test]
    fn a_folder_without_a_manifest_is_not_a_run() {
        let message = RunFolder::open(Path::new("nowhere")).expect_err("it is absent").to_string();
        assert_eq!(message, "`nowhere` is not the folder of a run: it has no `run.toml`");
    }

    #[test]
    fn resuming_drops_later_lines_and_half_a_line() {
        let (_directory, run) = created();
        let mut log = run.metrics_log(0).expect("a new log");
        for step in [10, 20, 30] {
            log.append(&line(step)).expect("the disk has room");
        }
        log.log.write_all(b"{\"kind\":\"trai").expect("the disk has room");
        let mut log = run.metrics_log(20).expect("the log can be read");
        log.append(&line(21)).expect("the disk has room");
        assert_eq!(run.metrics().expect("it is whole"), [line(10), line(20), line(21)]);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let (_directory, run) = created();
        let file = run.path().join(METRICS);
        fs::write(&file, format!("{}nonsense\n", to_line(&line(1)))).expect("the disk has room");
        let message = run.metrics_log(1).expect_err("it is damaged").to_string();
        let start = format!("`{}` is damaged: line 2 is not a line of metrics", file.display());
        assert!(message.starts_with(&start), "{message}");
    }

    #[test]
    fn lines_come_back_as_they_were_written() {
        let mut trainer = testing::trainer(1);
        let lines: Vec<MetricsLine> =
            (0..4).map(|_| MetricsLine::train(&testing::step(&mut trainer))).collect();
        for line in &lines {
            let read: MetricsLine = serde_json::from_str(&to_line(line)).expect("it is a line");
            assert_eq!(&read, line);
        }
        assert_eq!(lines.last().map(MetricsLine::step), Some(4));
    }

    #[test]
    fn a_loss_that_is_not_a_number_can_be_read_back() {
        let (_directory, run) = created();
        let mut log = run.metrics_log(0).expect("a new log");
        let metrics = Metrics { rows: 1, token_loss: f64::NAN, ..Metrics::default() };
        log.append(&MetricsLine::Evaluation { step: 1, examples: 1, means: metrics.means() })
            .expect("the disk has room");
        let lines = run.metrics().expect("it is whole");
        let [MetricsLine::Evaluation { means, .. }] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(means.loss.is_nan() && means.token_loss.is_nan());
    }

    #[test]
    fn the_best_checkpoint_is_preferred_for_use() {
        let (_directory, run) = created();
        assert!(run.usable_checkpoint().is_err());
        assert_eq!(run.best_accuracy().expect("none is no error"), None);
        let mut trainer = testing::trainer(1);
        trainer.save(&run.last(), None).expect("the disk has room");
        assert_eq!(run.usable_checkpoint().expect("there is one"), run.last());
        trainer.save(&run.best(), Some(0.25)).expect("the disk has room");
        assert_eq!(run.usable_checkpoint().expect("there is one"), run.best());
        assert_eq!(run.best_accuracy().expect("it is whole"), Some(0.25));
    }
}
