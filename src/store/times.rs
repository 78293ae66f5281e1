//! `times.jsonl`: how long the steps of a run took, one per line.
//!
//! These are figures of a machine and an hour, so they lie apart from the metrics: nothing compares them, no checksum
//! guards them, and a run does without them. Lines that cannot be read are passed over.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{self, Appended};
use super::error::{RunFolderError, written};
use super::run_folder::RunFolder;
use crate::reading;

/// Name of the file.
pub const TIMES: &str = "times.jsonl";

/// One line of `times.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimesLine {
    /// What took the time.
    pub kind: TimesKind,
    /// Optimizer steps done.
    pub step: u64,
    /// Seconds that the run has been in training by then, evaluations and saves included; the time between two processes
    /// and the time of steps that were lost do not count.
    pub seconds: f64,
    /// Rows of the batch, or examples of the evaluation, by the seconds that this one took.
    pub rows_per_second: f64,
    /// Memory of the process, where it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
}

/// What a line of `times.jsonl` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimesKind {
    /// A training step.
    Train,
    /// An evaluation.
    Evaluation,
}

impl TimesLine {
    fn is_sound(&self) -> bool {
        [self.seconds, self.rows_per_second].iter().all(|number| number.is_finite() && *number >= 0.0)
    }
}

/// Returns the lines of `times.jsonl` that can be read.
pub fn readable_times(text: &str) -> Vec<TimesLine> {
    // A last line without an end is one that a process was killed while it wrote.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let parsed = whole.filter_map(|line| reading::json::value::<TimesLine>(line).ok());
    parsed.filter(TimesLine::is_sound).collect()
}

/// `times.jsonl`, open for adding lines.
#[derive(Debug)]
pub struct TimesLog {
    file: PathBuf,
    log: Appended,
    seconds: f64,
}

impl TimesLog {
    /// Returns the seconds of training that the file had when it was opened.
    pub fn seconds_before(&self) -> f64 {
        self.seconds
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be written.
    pub fn append(&mut self, line: &TimesLine) -> Result<(), RunFolderError> {
        written(&self.file, self.log.add(&to_text([line])))
    }
}

impl RunFolder {
    /// Returns the lines of `times.jsonl` that can be read; none if the file is missing.
    pub fn times(&self) -> Vec<TimesLine> {
        times_in(&self.path().join(TIMES))
    }

    /// Opens `times.jsonl` to add lines after those of the first `step` steps; later lines are dropped, and so are those
    /// that cannot be read.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn times_log(&self, step: u64) -> Result<TimesLog, RunFolderError> {
        let file = self.path().join(TIMES);
        let mut kept = times_in(&file);
        kept.retain(|line| line.step <= step);
        let text = to_text(&kept);
        let temporary = self.path().join(format!("{TIMES}.new"));
        written(&temporary, disk::write_file(&temporary, |writer| writer.write_all(text.as_bytes())))?;
        written(&file, disk::rename(&temporary, &file))?;
        let log = written(&file, Appended::open(&file))?;
        Ok(TimesLog { file, log, seconds: kept.last().map_or(0.0, |line| line.seconds) })
    }
}

fn times_in(file: &Path) -> Vec<TimesLine> {
    let bytes = reading::bytes(file, &reading::TIMES).unwrap_or_default();
    readable_times(&String::from_utf8_lossy(&bytes))
}

fn to_text<'a>(lines: impl IntoIterator<Item = &'a TimesLine>) -> String {
    let json = |line| serde_json::to_string(line).expect("a line is plain data");
    lines.into_iter().map(|line| json(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: TimesKind, step: u64, seconds: f64) -> TimesLine {
        TimesLine {
            kind,
            step,
            seconds,
            rows_per_second: 100.0,
            resident_bytes: (step == 2).then_some(1 << 20),
        }
    }

    #[test]
    fn lines_that_cannot_be_read_are_passed_over() {
        let [one, two] = [line(TimesKind::Train, 1, 0.5), line(TimesKind::Evaluation, 2, 1.5)];
        let text = to_text([&one, &two]);
        assert_eq!(
            text,
            "{\"kind\":\"train\",\"step\":1,\"seconds\":0.5,\"rows_per_second\":100.0}\n\
             {\"kind\":\"evaluation\",\"step\":2,\"seconds\":1.5,\"rows_per_second\":100.0,\
             \"resident_bytes\":1048576}\n"
        );
        assert_eq!(readable_times(&text), [one, two]);
        let torn = &text[..text.len() - 1];
        assert_eq!(readable_times(torn), [one]);
        let damaged = text.replacen("\"step\":1", "\"step\":-1", 1) + "\u{0}\n{}\n[]\n" + &text;
        assert_eq!(readable_times(&damaged), [two, one, two]);
        assert_eq!(readable_times(&text.replace("1.5", "-1.5")), [one]);
    }

    #[test]
    fn a_log_goes_on_after_a_step() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        #[expect(clippy::disallowed_methods, reason = "a file of a run is damaged")]
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is written");
        write("run.toml", "");
        let run = RunFolder::open(folder.path()).expect("it has a manifest");
        assert_eq!(run.times(), []);
        let mut log = run.times_log(0).expect("it can be written");
        assert_eq!(log.seconds_before(), 0.0);
        let lines = [1, 2, 3].map(|step| line(TimesKind::Train, step, step as f64));
        lines.iter().for_each(|line| log.append(line).expect("it can be written"));
        let log = run.times_log(2).expect("it can be written");
        assert_eq!((log.seconds_before(), run.times()), (2.0, lines[..2].to_vec()));
        write(TIMES, "\u{0}\u{0}{\"kind\":");
        assert_eq!(run.times_log(2).expect("it is written anew").seconds_before(), 0.0);
    }
}
