//! The folder of a run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use crate::store::log::to_line;
use crate::store::run_folder::{MANIFEST, METRICS};
use crate::store::{MetricsLine, RunFolder, RunManifest};
use crate::train::metrics::Metrics;
use crate::train::testing;

const SPEC: &str = "model tiny {\n  # \"quoted\"\n}\n";

fn manifest() -> RunManifest {
    let data = testing::data();
    RunManifest::new("tiny", SPEC, 7, "cpu", &data.train, &data.test)
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
    let file = OpenOptions::new().append(true).open(run.path().join(METRICS));
    file.and_then(|mut file| file.write_all(b"{\"kind\":\"trai")).expect("the disk has room");
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
    let lines: Vec<MetricsLine> = (0..4).map(|_| testing::step(&mut trainer).line()).collect();
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
    assert!(run.best_or_last().is_err());
    assert_eq!(run.best_accuracy().expect("none is no error"), None);
    let trainer = testing::trainer(1);
    trainer.save(&run.last(), None).expect("the disk has room");
    assert_eq!(run.best_or_last().expect("there is one"), run.last());
    trainer.save(&run.best(), Some(0.25)).expect("the disk has room");
    assert_eq!(run.best_or_last().expect("there is one"), run.best());
    assert_eq!(run.best_accuracy().expect("it is whole"), Some(0.25));
}
