//! Evaluations during a training: which rows they take, and what decides which is the best.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;

use super::divergence::{copy, files};
use super::patience::{begun_of, options};
use crate::span::Source;
use crate::spec::Spec;
use crate::store::checkpoint::Saved;
use crate::store::times::TIMES;
use crate::store::{MetricsLine, TimesKind};
use crate::train::{Checkpoint, Event, Run, SolveOptions, TrainOptions, Training};

const SMALL: &str = "\
model tiny {
  tokens { vocab = 6, positions = 16 }
  block encoder { hidden = 16, heads = 2, mlp = swiglu(width = 16) }
  network net = 1 * encoder
  state z
  segment { z <- net(z + x) }
  predict tokens from z
  halt fixed(2)
}

train {
  data       = sudoku(size = 4, givens = 8, train = 12, test = 30, augment = true)
  optimizer  = adam_atan2(lr = 1e-2)
  batch      = 4
  steps      = 8
  eval_every = 2 steps
  eval_share = 0.9
  seed       = 5
}
";

fn spec(overrides: &[&str]) -> Spec {
    Spec::read(Source::new("tiny.hrm", SMALL), overrides).expect("it is right")
}

fn begun(runs: &Path, overrides: &[&str], options: TrainOptions) -> (Training, Run) {
    begun_of(&spec(overrides), runs, options)
}

/// Trains, and returns the examples of each evaluation.
fn evaluated(training: &mut Training, run: &Run) -> Vec<usize> {
    let trained = training.run(run, |_| ControlFlow::Continue(()));
    trained.expect("its numbers are finite");
    let examples = |line: &MetricsLine| match line {
        MetricsLine::Evaluation { examples, .. } => Some(*examples),
        MetricsLine::Train { .. } => None,
    };
    run.metrics().expect("it is whole").iter().filter_map(examples).collect()
}

#[test]
fn evaluations_on_the_way_take_a_sample_and_the_last_one_takes_all_rows() {
    let runs = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(runs.path(), &[], options());
    let rows = training.sample_rows().expect("it is a share");
    assert!(rows.is_multiple_of(4) && (4..30).contains(&rows), "{rows}");
    assert_eq!(run.manifest().eval_rows, Some(rows));
    let (train, evaluate) = (run.manifest().train_flops, run.manifest().eval_flops);
    let share = evaluate.expect("it is recorded") as f64 * (rows / 4) as f64;
    assert!(share < 0.9 * train.expect("it is recorded") as f64);
    assert_eq!(evaluated(&mut training, &run), [rows, rows, rows, 30]);
    // Another share, another number; and none where all rows are taken anyway.
    let (_, run) = begun(runs.path(), &["train.eval_share=1e-6"], options());
    assert_eq!(run.manifest().eval_rows, Some(4));
    let (training, run) = begun(runs.path(), &["train.eval_share=none"], options());
    assert_eq!((training.sample_rows(), run.manifest().eval_rows), (None, None));
    let (training, _) = begun(runs.path(), &["train.data.test=4"], options());
    assert_eq!(training.sample_rows(), None);
}

#[test]
fn a_limit_takes_the_place_of_the_sample() {
    let runs = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(runs.path(), &[], TrainOptions { eval_limit: Some(7), ..options() });
    assert_eq!(training.sample_rows(), None);
    assert_eq!(evaluated(&mut training, &run), [7, 7, 7, 7]);
    assert!(run.manifest().eval_rows.is_some(), "it is there for who goes on without the limit");
}

#[test]
fn the_last_evaluation_is_compared_by_the_rows_that_the_others_have() {
    let runs = TempDir::new().expect("a temporary folder");
    // Without an update, all evaluations find the same, and of equals the newest is the best.
    let still = ["train.optimizer.lr=1e-30", "train.eval_share=1e-6"];
    let (mut training, run) = begun(runs.path(), &still, options());
    evaluated(&mut training, &run);
    let means: Vec<_> =
        run.metrics().expect("it is whole").into_iter().filter(MetricsLine::is_evaluation).collect();
    let (first, last) = (means[0].means(), means[3].means());
    assert_ne!(first.loss, last.loss, "the last one has other rows");
    let best = Saved::open(&run.path().join("best")).expect("it is whole");
    assert_eq!((best.state().step, best.state().loss), (8, Some(first.loss)));
    // The last line is what an evaluation of all rows finds.
    let mut solver = run.solver(Checkpoint::Last, SolveOptions::default()).expect("it is whole");
    let all = solver.evaluate(training.data().test(), None).expect("it fits").means();
    assert_eq!(&all, last);
}

#[test]
fn a_training_that_goes_on_takes_the_same_rows() {
    let directory = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(&directory.path().join("whole"), &[], options());
    let mut killed = 0;
    training
        .run(&run, |event| {
            if matches!(event, Event::Evaluated { .. } | Event::Step(_)) {
                copy(run.path(), &directory.path().join(killed.to_string()));
                killed += 1;
            }
            ControlFlow::Continue(())
        })
        .expect("its numbers are finite");
    assert_eq!(killed, 12);
    let whole = files(run.path());
    // After the last event nothing is left to do.
    for number in 0..killed - 1 {
        let run = Run::open(directory.path().join(number.to_string())).expect("it is a run");
        let data = run.data(".").expect("it is generated");
        let mut resumed = Training::resume(&run, data, options()).expect("it goes on");
        evaluated(&mut resumed, &run);
        assert!(files(run.path()) == whole, "killed after event {number}");
    }
}

#[test]
fn times_have_a_line_for_each_step_and_evaluation_and_go_on_with_the_run() {
    let directory = TempDir::new().expect("a temporary folder");
    let steps = |steps| TrainOptions { steps: Some(steps), ..options() };
    let (mut training, run) = begun(directory.path(), &[], steps(3));
    evaluated(&mut training, &run);
    let whole = || {
        let times = run.folder().times();
        let lines: Vec<_> =
            times.iter().map(|line| (line.kind == TimesKind::Evaluation, line.step)).collect();
        let metrics = run.metrics().expect("it is whole");
        assert_eq!(lines, metrics.iter().map(|line| (line.is_evaluation(), line.step())).collect::<Vec<_>>());
        assert!(times.is_sorted_by(|one, next| one.seconds <= next.seconds), "{times:?}");
        assert!(times.iter().all(|line| line.rows_per_second > 0.0));
        times
    };
    let before = whole();
    assert_eq!(before[0].resident_bytes.is_some(), cfg!(target_os = "linux"));
    // Times of steps that are done again, and half a line.
    let file = run.path().join(TIMES);
    let text = fs::read_to_string(&file).expect("it is there");
    let last = text.lines().last().expect("it has lines").replace("\"step\":3", "\"step\":4");
    fs::write(&file, format!("{text}{last}\n{{\"kind\":\"tra")).expect("the disk has room");
    let data = run.data(".").expect("it is generated");
    let mut resumed = Training::resume(&run, data, steps(5)).expect("it goes on");
    evaluated(&mut resumed, &run);
    let after = whole();
    assert_eq!(after[..before.len()], before);

    // A run without them goes on all the same.
    fs::remove_file(&file).expect("it is there");
    let data = run.data(".").expect("it is generated");
    let mut resumed = Training::resume(&run, data, steps(6)).expect("it goes on");
    evaluated(&mut resumed, &run);
    assert_eq!(run.folder().times().iter().map(|line| line.step).collect::<Vec<_>>(), [6, 6]);
}
