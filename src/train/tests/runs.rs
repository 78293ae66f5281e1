//! The folder of a run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use crate::store::checkpoint::Before;
use crate::store::lock::LOCK;
use crate::store::log::{LogProblems, to_line};
use crate::store::run_folder::{MANIFEST, METRICS};
use crate::store::{MetricsLine, RunFolder, RunManifest};
use crate::train::metrics::Metrics;
use crate::train::{Record, testing};

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
    fs::write(&file, text.replace("seed = 7", "seed = 8")).expect("the disk has room");
    let message = run.manifest().expect_err("the seed was changed").to_string();
    assert!(message.ends_with("the checksum in its last line differs"), "{message}");
    fs::write(&file, text.replace("seed = 7", "seed = -7")).expect("the disk has room");
    let message = run.manifest().expect_err("the seed is negative").to_string();
    assert!(message.starts_with(&format!("`{}` is damaged: ", file.display())), "{message}");
    fs::write(&file, text.replace("format = 2", "format = 3")).expect("the disk has room");
    let message = run.manifest().expect_err("the format is newer").to_string();
    assert!(
        message.ends_with("has format 3, of another version of hrmc; this one reads up to 2"),
        "{message}"
    );
}

#[test]
fn a_manifest_without_a_checksum_is_read() {
    let (_directory, run) = created();
    let file = run.path().join(MANIFEST);
    let text = fs::read_to_string(&file).expect("it exists");
    let (body, _) = text.rsplit_once("sha256 = ").expect("it has a checksum");
    fs::write(&file, body).expect("the disk has room");
    assert!(run.manifest().is_err(), "format 2 has one");
    fs::write(&file, body.replace("format = 2", "format = 1")).expect("the disk has room");
    assert!(!run.manifest().expect("format 1 has none").is_guarded());
}

#[test]
fn a_folder_without_a_manifest_is_not_a_run() {
    let message = RunFolder::open(Path::new("nowhere")).expect_err("it is absent").to_string();
    assert_eq!(message, "`nowhere` is not the folder of a run: it has no `run.toml`");
}

#[test]
fn resuming_drops_later_lines_and_half_a_line() {
    let (_directory, run) = created();
    let mut log = run.metrics_log(0, None, None).expect("a new log");
    for step in [10, 20, 30] {
        log.append(&line(step)).expect("the disk has room");
    }
    let file = OpenOptions::new().append(true).open(run.path().join(METRICS));
    file.and_then(|mut file| file.write_all(b"{\"kind\":\"trai")).expect("the disk has room");
    let mut log = run.metrics_log(20, None, None).expect("the log can be read");
    log.append(&line(21)).expect("the disk has room");
    assert_eq!(run.metrics().expect("it is whole"), [line(10), line(20), line(21)]);
}

/// Returns the line of a training step.
fn trained(step: u64) -> MetricsLine {
    let means = Metrics { rows: 4, token_loss: 2.0, ..Metrics::default() }.means();
    MetricsLine::Train { step, epochs: 0.0, lr: 0.1, gradient_norm: None, flops: None, means }
}

#[test]
fn damaged_missing_and_changed_lines_are_noticed() {
    let (_directory, run) = created();
    let file = run.path().join(METRICS);
    let lines: Vec<String> =
        [trained(1), trained(2), line(2), trained(3), trained(4)].iter().map(to_line).collect();
    let whole = lines.concat();
    let open = |text: &str, expected: Option<&str>| {
        fs::write(&file, text).expect("the disk has room");
        run.metrics_log(4, Some(2), expected).expect("the log can be used")
    };
    let log = open(&whole, None);
    assert_eq!(log.problems(), &LogProblems::default());
    let sum = log.sha256();
    assert!(log.has_evaluation(2) && !log.has_evaluation(4));

    // Without the line of an evaluation, with another figure, and with an evaluation that is not due.
    let [first, second, evaluated, third, fourth] = &lines[..] else { unreachable!("there are five lines") };
    let changed = |text: String| open(&text, Some(&sum)).problems().changed;
    assert!(!changed(whole.clone()));
    assert!(changed([first.as_str(), second, third, fourth].concat()));
    assert!(changed(whole.replacen("\"lr\":0.1", "\"lr\":0.2", 1)));
    assert!(!changed([first.as_str(), second, evaluated, third, &to_line(&line(3)), fourth].concat()));
    // The evaluation of the step itself does not count yet.
    assert!(!changed(format!("{whole}{}", to_line(&line(4)))));

    let log = open(&[first.as_str(), "nonsense\n", evaluated, third, fourth].concat(), Some(&sum));
    assert_eq!((&log.problems().damaged[..], &log.problems().missing[..]), (&[2][..], &[(2, 2)][..]));
    let kept =
        fs::read_to_string(run.path().join("metrics.jsonl.damaged")).expect("the file as it was is kept");
    assert!(kept.contains("nonsense"));
    assert_eq!(run.metrics().expect("what cannot be read is gone").len(), 4);

    let log = open(&[first.as_str(), &second[..9]].concat(), Some(&sum));
    assert_eq!(log.problems().missing, [(2, 4)]);
}

#[test]
fn a_damaged_line_is_named_to_who_reads_the_metrics() {
    let (_directory, run) = created();
    let file = run.path().join(METRICS);
    fs::write(&file, format!("{}nonsense\n", to_line(&line(1)))).expect("the disk has room");
    let message = run.metrics().expect_err("it is damaged").to_string();
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
    let mut log = run.metrics_log(0, None, None).expect("a new log");
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
    let trainer = testing::trainer(1);
    let save = |folder: &Path, exact_accuracy| {
        let record = Record { exact_accuracy, ..Record::default() };
        trainer.save(folder, Before::Removed, record).expect("the disk has room");
    };
    let accuracy = || run.best_or_last().expect("there is one").state().exact_accuracy;
    save(&run.previous(), Some(0.125));
    assert_eq!(accuracy(), Some(0.125), "an interrupted save had put `last` aside");
    save(&run.last(), None);
    assert_eq!(accuracy(), None);
    save(&run.best(), Some(0.25));
    assert_eq!(accuracy(), Some(0.25));
}

#[test]
fn a_run_has_one_writer() {
    let (_directory, run) = created();
    let lock = run.lock().expect("nobody has it");
    let message = run.lock().expect_err("it is taken").to_string();
    let process = format!("is being trained by process {} on `", std::process::id());
    assert!(message.contains(&process), "{message}");
    assert!(run.holder().is_some_and(|holder| message.contains(&holder)));
    assert!(lock.is_in_place());
    let elsewhere = run.path().with_file_name("elsewhere");
    fs::rename(run.path(), &elsewhere).expect("it is there");
    assert!(!lock.is_in_place());
    fs::rename(&elsewhere, run.path()).expect("it is there");
    drop(lock);
    assert_eq!(run.holder(), None);
    assert_eq!(fs::read(run.path().join(LOCK)).expect("the file stays"), b"");
    drop(run.lock().expect("it is free again"));
}
