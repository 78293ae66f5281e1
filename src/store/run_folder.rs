//! The folder of a run.
//!
//! ```text
//! runs/maze-003/
//!   run.toml        [`RunManifest`]: what is trained, on what, with which seed
//!   metrics.jsonl   one [`MetricsLine`] per line
//!   times.jsonl     one [`TimesLine`](super::TimesLine) per line
//!   last/           newest checkpoint, from which training continues
//!   previous/       the one before, in case `last` is damaged
//!   best/           checkpoint with the best exact accuracy
//!   lock            locked by the process that trains the run, and names it
//! ```
//!
//! At the end of a training, nothing in it depends on the clock, the path or the number of threads, but the step of
//! `previous`, and `times.jsonl`.

#![expect(clippy::disallowed_methods, reason = "run folders are read")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{FormatOnly, Saved, beside};
use super::disk::{self, Appended};
use super::error::{CheckpointError, RunFolderError, written};
use super::lock::{self, RunLock};
use super::log::{KeptLines, MetricsLine, MetricsLog, parse_lines};
use crate::data::{Dataset, Metadata};
use crate::hash::sha256;
use crate::reading::{self, Kind};

/// Name of the manifest; a folder that has it is the folder of a run.
pub const MANIFEST: &str = "run.toml";
/// Name of the file of metrics.
pub const METRICS: &str = "metrics.jsonl";
/// Where lines of metrics that could not be used are kept.
const DAMAGED_METRICS: &str = "metrics.jsonl.damaged";
const LAST: &str = "last";
const PREVIOUS: &str = "previous";
/// Folder of the checkpoint to which a training goes back.
const ROLLBACK: &str = "rollback";
const BEST: &str = "best";
/// Folder of data that belongs to the run alone.
pub const OWN_DATA: &str = "data";

/// Version of the format of `run.toml`. It grows whenever an older hrmc could not read the file.
const FORMAT: u32 = 2;
/// The format without a checksum.
const UNGUARDED_FORMAT: u32 = 1;

/// What stands before the checksum of `run.toml`, in its last line.
const SUM: &str = "sha256 = \"";

/// The content of `run.toml`, which describes a run.
///
/// # Examples
///
/// ```
/// # let small = ["train.data.train=64", "train.data.test=8"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// let run = hrmc::Run::create(folder.path(), &training)?;
/// assert_eq!((run.manifest().device.as_str(), run.manifest().seed), ("cpu", 0));
/// assert_eq!(run.manifest().overrides, ["train.data.train=64", "train.data.test=8"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Fingerprint of the test data; empty if the run began without.
    pub test_data_sha256: String,
    /// Absolute path of the folder of data, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_folder: Option<String>,
    /// Its path from the folder of the run, by which it is found when both were moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_from_run: Option<String>,
    /// What its rows are, by the word for it in `dataset.json`; absent in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Cells of a row of a grid that is not square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
    /// Test rows that an evaluation on the way takes, by `eval_share` of the spec; absent without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_rows: Option<usize>,
    /// FLOPs of the training between two evaluations, from which this number follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_flops: Option<u64>,
    /// FLOPs of evaluating a batch of rows by as many segments as the spec allows, from which it follows, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_flops: Option<u64>,
    /// Values of the spec that the user replaced, e.g. `model.N=3`. The resolved spec has them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// The resolved spec: every default written out, every override applied.
    pub spec: String,
}

impl RunManifest {
    /// Describes a run of this version of hrmc.
    pub fn new(name: &str, spec: &str, seed: u64, device: &str, train: &Dataset, test: &Dataset) -> Self {
        let kind = if train.examples() > 0 { train.kind() } else { test.kind() };
        let described = Metadata::for_kind(kind);
        RunManifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            device: device.to_owned(),
            seed,
            spec_sha256: sha256(spec),
            train_data_sha256: train.fingerprint(),
            test_data_sha256: test.fingerprint(),
            data_folder: None,
            data_from_run: None,
            kind: described.kind,
            columns: described.columns,
            eval_rows: None,
            train_flops: None,
            eval_flops: None,
            overrides: Vec::new(),
            spec: spec.to_owned(),
        }
    }

    /// Reads the text of `run.toml`; errors call it `file`.
    ///
    /// # Errors
    ///
    /// Returns an error if it is damaged, was changed, or is of another version of hrmc.
    pub fn parse(file: &Path, text: &str) -> Result<RunManifest, RunFolderError> {
        let damaged = |fault: reading::toml::Fault| RunFolderError::Damaged {
            file: file.to_owned(),
            reason: fault.to_string(),
        };
        let end = text.rfind(SUM).filter(|&at| at == 0 || text[..at].ends_with('\n'));
        let (body, sum) =
            end.map_or((text, None), |at| (&text[..at], text[at + SUM.len()..].strip_suffix("\"\n")));
        let FormatOnly { format } = reading::toml::value(body).map_err(damaged)?;
        if format == 0 || format > FORMAT {
            return Err(RunFolderError::OtherFormat { file: file.to_owned(), format, known: FORMAT });
        }
        let manifest: RunManifest = reading::toml::value(body).map_err(damaged)?;
        if manifest.spec_sha256 != sha256(&manifest.spec) {
            let what = "its spec was changed; begin a new run for another spec";
            return Err(RunFolderError::Changed { file: file.to_owned(), what });
        }
        if manifest.is_guarded() && sum != Some(sha256(body).as_str()) {
            let what =
                "it was changed or damaged after it was written: the checksum in its last line differs";
            return Err(RunFolderError::Changed { file: file.to_owned(), what });
        }
        Ok(manifest)
    }

    /// Returns whether a checksum guards the file that it was read from.
    pub fn is_guarded(&self) -> bool {
        self.format > UNGUARDED_FORMAT
    }

    /// Returns the text of `run.toml`, with its checksum in the last line.
    fn to_text(&self) -> String {
        let body = toml::to_string_pretty(self).expect("the manifest is plain data");
        let sum = sha256(&body);
        format!("{body}{SUM}{sum}\"\n")
    }

    /// Records the values of the spec that the user replaced.
    pub fn with_overrides(self, overrides: &[String]) -> Self {
        RunManifest { overrides: overrides.to_vec(), ..self }
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
        let folder = RunFolder::reserve(runs, &manifest.name)?;
        folder.describe(manifest)?;
        Ok(folder)
    }

    /// Makes a new folder as [`RunFolder::create`]. It becomes a run when it is [described](RunFolder::describe).
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be made.
    pub fn reserve(runs: &Path, name: &str) -> Result<Self, RunFolderError> {
        written(runs, disk::create_folders(runs))?;
        let mut number = highest_number(runs, name)? + 1;
        loop {
            let path = runs.join(format!("{name}-{number:03}"));
            match disk::create_folder(&path) {
                Ok(()) => return Ok(RunFolder { path }),
                // Another run took this number just now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(reason) => return Err(RunFolderError::Write { file: path, reason }),
            }
        }
    }

    /// Moves a folder of data into a folder that was reserved, and returns its path there.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be moved.
    pub fn take_data(&self, data: &Path) -> Result<PathBuf, RunFolderError> {
        let inside = self.path.join(OWN_DATA);
        written(&inside, disk::rename(data, &inside))?;
        Ok(inside)
    }

    /// Writes the manifest of a folder that was reserved.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn describe(&self, manifest: &RunManifest) -> Result<(), RunFolderError> {
        let path = &self.path;
        let file = path.join(MANIFEST);
        let text = manifest.to_text();
        let temporary = path.join(format!("{MANIFEST}.new"));
        written(&temporary, disk::write_file(&temporary, |writer| writer.write_all(text.as_bytes())))?;
        written(&file, disk::rename(&temporary, &file))?;
        // A power cut may not take the folder away from a run that goes on.
        let runs = disk::parent(path);
        [path, runs, disk::parent(runs)]
            .into_iter()
            .try_for_each(|folder| written(folder, disk::sync_folder(folder)))
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// Returns an error if it has no manifest, or may not be looked into.
    pub fn open(path: &Path) -> Result<Self, RunFolderError> {
        let file = path.join(MANIFEST);
        match file.metadata() {
            Ok(found) if found.is_file() => Ok(RunFolder { path: path.to_owned() }),
            Err(reason) if reason.kind() == io::ErrorKind::PermissionDenied => {
                Err(RunFolderError::Read { file, reason })
            }
            _ => Err(RunFolderError::NotARun { folder: path.to_owned() }),
        }
    }

    /// Returns the run with the highest number in `runs` of the model `name`, if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` exists and cannot be read.
    pub fn newest(runs: &Path, name: &str) -> Result<Option<Self>, RunFolderError> {
        Ok(RunFolder::all(runs)?.into_iter().rfind(|folder| folder.is_named_for(name)))
    }

    /// Returns the runs in `runs`: by their names without the number, and those of one name by their number. A folder
    /// that may not be looked into counts.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` exists and cannot be read.
    pub fn all(runs: &Path) -> Result<Vec<Self>, RunFolderError> {
        let is_run = |path: &PathBuf| !matches!(RunFolder::open(path), Err(RunFolderError::NotARun { .. }));
        let mut found: Vec<RunFolder> =
            entries(runs)?.into_iter().filter(is_run).map(|path| RunFolder { path }).collect();
        found.sort_by_cached_key(|folder| {
            let (stem, number) = numbered(&folder.path).unzip();
            (stem.map(str::to_owned), number, folder.path.clone())
        });
        Ok(found)
    }

    /// Reads the manifest.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be read or was changed.
    pub fn manifest(&self) -> Result<RunManifest, RunFolderError> {
        let file = self.path.join(MANIFEST);
        RunManifest::parse(&file, &read_text(&file, &reading::MANIFEST)?)
    }

    /// Returns whether its name is that of a run of the model `name`.
    pub fn is_named_for(&self, name: &str) -> bool {
        numbered(&self.path).is_some_and(|(stem, _)| stem == name)
    }

    /// Returns the path of the manifest.
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the newest checkpoint, from which training continues.
    pub fn last(&self) -> PathBuf {
        self.path.join(LAST)
    }

    /// Returns the folder of the checkpoint before the newest one.
    pub fn previous(&self) -> PathBuf {
        self.path.join(PREVIOUS)
    }

    /// Returns the folder of the checkpoint with the best exact accuracy.
    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Returns the folder of the checkpoint to which a training goes back when a number is not finite.
    pub fn rollback(&self) -> PathBuf {
        self.path.join(ROLLBACK)
    }

    /// Returns the folders of all checkpoints, those first from which training rather continues.
    pub fn checkpoints(&self) -> [PathBuf; 3] {
        [self.last(), self.previous(), self.best()]
    }

    /// Opens the checkpoint to use the model with: `best`, or the newest one if there was no evaluation yet.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, or the one to use is damaged.
    pub fn best_or_last(&self) -> Result<Saved, CheckpointError> {
        match Saved::open(&self.best()) {
            Err(CheckpointError::Absent { .. }) => self.newest_checkpoint(),
            other => other,
        }
    }

    /// Opens the newest checkpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, or it is damaged.
    pub fn newest_checkpoint(&self) -> Result<Saved, CheckpointError> {
        match Saved::open(&self.last()) {
            // A save was interrupted when it had put `last` aside.
            Err(absent @ CheckpointError::Absent { .. }) => {
                Saved::open(&self.previous()).map_err(|error| match error {
                    CheckpointError::Absent { .. } => absent,
                    other => other,
                })
            }
            other => other,
        }
    }

    /// Takes turns with other processes that look for a run in `runs` or make one there: waits until none does, and none
    /// does until the lock is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if that lasts for half a minute, or the folder cannot be made or written.
    pub fn turn(runs: &Path) -> Result<RunLock, RunFolderError> {
        written(runs, disk::create_folders(runs))?;
        let mut tries = 300;
        loop {
            match RunLock::take(runs) {
                Err(RunFolderError::InUse { .. }) if tries > 0 => tries -= 1,
                taken => return taken,
            }
        }
    }

    /// Takes the right to write the run.
    ///
    /// # Errors
    ///
    /// Returns an error if another process has it, or the file of the lock cannot be written.
    pub fn lock(&self) -> Result<RunLock, RunFolderError> {
        RunLock::take(&self.path)
    }

    /// Returns which process trains the run at this moment.
    pub fn holder(&self) -> Option<String> {
        lock::holder(&self.path)
    }

    /// Opens `metrics.jsonl` to add lines after those of the first `step` steps; later lines are dropped.
    ///
    /// `eval_every` is the number of steps between evaluations, and `expected` the checksum of the lines that the
    /// checkpoint of that step has. The log says what is wrong with its lines; if anything is, the file as it was is
    /// kept beside it.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or written.
    pub fn metrics_log(
        &self,
        step: u64,
        eval_every: Option<u64>,
        expected: Option<&str>,
    ) -> Result<MetricsLog, RunFolderError> {
        let file = self.path.join(METRICS);
        let bytes = match reading::bytes(&file, &reading::METRICS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(|reason| RunFolderError::Read { file: file.clone(), reason })?,
        };
        // The lines stay unchanged, so a resumed run has the same bytes as one that was never interrupted.
        let kept = KeptLines::of(&bytes, step, eval_every, expected);
        if !kept.problems.damaged.is_empty() {
            let damaged = self.path.join(DAMAGED_METRICS);
            written(&damaged, disk::write_file(&damaged, |writer| writer.write_all(&bytes)))?;
        }
        let temporary = self.path.join(format!("{METRICS}.new"));
        written(&temporary, disk::write_file(&temporary, |writer| writer.write_all(kept.text.as_bytes())))?;
        written(&file, disk::rename(&temporary, &file))?;
        written(&self.path, disk::sync_folder(&self.path))?;
        let log = written(&file, Appended::open(&file))?;
        Ok(MetricsLog::new(file, log, kept))
    }

    /// Returns the step of the last line of metrics that can be read.
    pub fn newest_step_of_metrics(&self) -> Option<u64> {
        self.readable_metrics().last().map(MetricsLine::step)
    }

    /// Returns whether the metrics have an evaluation after a step.
    pub fn has_evaluation(&self, step: u64) -> bool {
        self.readable_metrics().iter().any(|line| line.is_evaluation() && line.step() == step)
    }

    /// Returns the lines of metrics that can be read.
    pub fn readable_metrics(&self) -> Vec<MetricsLine> {
        let bytes = reading::bytes(&self.path.join(METRICS), &reading::METRICS).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().filter_map(|line| reading::json::value(line).ok()).collect()
    }

    /// Returns the bytes of all checkpoints on the disk, those of interrupted saves included.
    pub fn checkpoint_bytes(&self) -> u64 {
        let bytes = |folder: PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum::<u64>()
        };
        let places = |folder: PathBuf| [beside(&folder, ".new"), beside(&folder, ".old"), folder];
        self.checkpoints().into_iter().flat_map(places).map(bytes).sum()
    }

    /// Reads `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be read or is damaged.
    pub fn metrics(&self) -> Result<Vec<MetricsLine>, RunFolderError> {
        let file = self.path.join(METRICS);
        let text = read_text(&file, &reading::METRICS)?;
        parse_lines(&file, &text)
    }
}

/// Returns the highest number of a run of `name` in `runs`, 0 if there is none. What only has the name of a run counts
/// too.
fn highest_number(runs: &Path, name: &str) -> Result<u64, RunFolderError> {
    let entries = entries(runs)?;
    let of_name = entries.iter().filter_map(|path| numbered(path)).filter(|(stem, _)| *stem == name);
    Ok(of_name.map(|(_, number)| number).max().unwrap_or(0))
}

/// Returns the paths of what is in a folder; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, RunFolderError> {
    let read = |reason| RunFolderError::Read { file: folder.to_owned(), reason };
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => {
            let entries = other.map_err(read)?;
            entries.map(|entry| entry.map(|entry| entry.path()).map_err(read)).collect()
        }
    }
}

/// Takes the last part of a path apart, `NAME-NNN`, where it has this form.
fn numbered(path: &Path) -> Option<(&str, u64)> {
    let (stem, digits) = path.file_name()?.to_str()?.rsplit_once('-')?;
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    // One more than the highest number has to be a number, too.
    (number < u64::MAX).then_some((stem, number))
}

fn read_text(file: &Path, kind: &Kind) -> Result<String, RunFolderError> {
    reading::text(file, kind).map_err(|reason| RunFolderError::Read { file: file.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes folders in a new folder; those whose names end with `!` are runs, without that sign.
    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let runs = tempfile::tempdir().expect("a temporary folder can be made");
        for name in names {
            let folder = runs.path().join(name.trim_end_matches('!'));
            fs::create_dir(&folder).expect("the folder can be made");
            if name.ends_with('!') {
                fs::write(folder.join(MANIFEST), "").expect("the file can be written");
            }
        }
        runs
    }

    #[test]
    fn the_newest_run_has_the_name_that_is_there_and_is_a_run() {
        let runs =
            folder_with(&["tiny-9!", "tiny-010", "tiny-2!", "tiny-+11!", "tiny-x-12!", "other-13!", "tiny!"]);
        let newest = |name| {
            let found = RunFolder::newest(runs.path(), name).expect("the folder can be read");
            found.map(|folder| folder.path.strip_prefix(runs.path()).expect("it is in it").to_owned())
        };
        assert_eq!(newest("tiny"), Some("tiny-9".into()));
        assert_eq!(newest("tiny-x"), Some("tiny-x-12".into()));
        assert_eq!(newest("none"), None);
        assert_eq!(highest_number(runs.path(), "tiny").expect("the folder can be read"), 10, "010 is taken");
        assert_eq!(RunFolder::newest(&runs.path().join("absent"), "tiny").expect("there is none"), None);
    }

    #[test]
    fn runs_are_listed_by_name_and_number() {
        let runs = folder_with(&["b-10!", "b-9!", "a-11!", "c-1", "mine!", "a-18446744073709551615!"]);
        let all = RunFolder::all(runs.path()).expect("the folder can be read");
        let names: Vec<_> = all
            .iter()
            .filter_map(|folder| folder.path.file_name())
            .map(|name| name.to_string_lossy())
            .collect();
        assert_eq!(names, ["a-18446744073709551615", "mine", "a-11", "b-9", "b-10"]);
        assert_eq!(highest_number(runs.path(), "a").expect("the folder can be read"), 11);
    }
}
