//! Trainings that diverge: what is left of them, and that going back gives the same bytes however often they are killed.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::span::Source;
use crate::spec::Spec;
use crate::store::MetricsLine;
use crate::store::lock::LOCK;
use crate::store::times::TIMES;
use crate::train::{
    Checkpoint, Concern, Data, Divergence, Error, Event, NotFinite, Run, SolveOptions, TrainOptions, Training,
};

/// A model whose decay multiplies its weights by about a hundred in each step.
const EXPLODES: &str = "\
model tiny {
  tokens { vocab = 6, positions = 16 }
  block encoder { hidden = 16, heads = 2, mlp = swiglu(width = 16) }
  network net = 1 * encoder
  state z
  segment { z <- net(z + x) }
  predict tokens from z
  predict q from z[0] { outputs = (halt, continue), bias = -5 }
  halt q_learning { max_segments = 3, explore = 0.5 }
}

train {
  data          = sudoku(size = 4, givens = 8, train = 12, test = 4, augment = true)
  optimizer     = adam_atan2(lr = 1, weight_decay = 100)
  ema           = 0.9
  batch         = 4
  steps         = 9
  eval_every    = 3 steps
  on_divergence = stop
}
";

fn spec(overrides: &[&str]) -> Spec {
    Spec::read(Source::new("tiny.hrm", EXPLODES), overrides).expect("it is right")
}

fn options() -> TrainOptions {
    TrainOptions { threads: 1, ..TrainOptions::default() }
}

fn training(spec: &Spec) -> Training {
    let data = Data::of(spec, Path::new(".")).expect("it is generated");
    Training::new(spec, data, options()).expect("it fits")
}

/// Returns the content of every file of a run but its lock and its times, by its path in it.
pub(super) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("it is a folder") {
            let path = entry.expect("it can be read").path();
            let inner = path.strip_prefix(folder).expect("it lies in the folder").to_path_buf();
            if path.is_dir() {
                open.push(path);
            } else if ![LOCK, TIMES].map(Path::new).contains(&inner.as_path()) {
                found.insert(inner, fs::read(&path).expect("it can be read"));
            }
        }
    }
    found
}

/// Copies a run.
pub(super) fn copy(from: &Path, to: &Path) {
    for (inner, bytes) in files(from) {
        let file = to.join(inner);
        fs::create_dir_all(file.parent().expect("it has one")).expect("the disk has room");
        fs::write(file, bytes).expect("the disk has room");
    }
}

/// Trains to the first divergence.
fn diverge(spec: &Spec) -> (TempDir, Run, Box<Divergence>) {
    let directory = TempDir::new().expect("a temporary folder");
    let mut training = training(spec);
    let run = Run::create(directory.path(), &training).expect("there is room");
    let stopped = training.run(&run, |_| ControlFlow::Continue(()));
    let Err(Error::Diverged(divergence)) = stopped else { panic!("it diverges: {stopped:?}") };
    (directory, run, divergence)
}

#[test]
fn a_training_that_diverges_stops_and_leaves_what_was_good() {
    let (_directory, run, divergence) = diverge(&spec(&[]));
    assert_eq!(divergence.step, 6);
    assert!(matches!(divergence.what, NotFinite::Loss { .. }), "{divergence}");
    let last = run.path().join("last");
    let part = format!("; nothing of this step is saved, and `{}` still holds step 3; ", last.display());
    assert!(divergence.to_string().contains(&part), "{divergence}");
    let metrics = run.metrics().expect("it is whole");
    assert!(metrics.iter().all(|line| line.means().loss.is_finite()));
    assert_eq!(metrics.iter().filter(|line| !line.is_evaluation()).count(), 5);
    assert!(!run.path().join("rollback").exists(), "nothing goes back there");
    // It is whole, and diverges again.
    let data = run.data(".").expect("it is generated");
    let mut resumed = Training::resume(&run, data, options()).expect("the checkpoint is whole");
    assert_eq!(resumed.steps_done(), 3);
    assert!(matches!(resumed.run(&run, |_| ControlFlow::Continue(())), Err(Error::Diverged(_))));
}

/// What is finite in training and not in evaluation.
const IN_EVALUATION: [&str; 2] = ["train.optimizer.weight_decay=1e3", "train.eval_every=2 steps"];

#[test]
fn an_evaluation_that_is_not_finite_ends_the_training_and_is_not_the_best() {
    let (_directory, run, divergence) = diverge(&spec(&IN_EVALUATION));
    assert_eq!((divergence.step, &divergence.what), (4, &NotFinite::Evaluation));
    let last = run.path().join("last");
    let part = format!(
        "; its weights are finite and saved in `{}`, but too large to compute with; ",
        last.display()
    );
    assert!(divergence.to_string().contains(&part), "{divergence}");
    let evaluated = run.metrics().expect("it is whole").into_iter().filter(MetricsLine::is_evaluation);
    assert_eq!(evaluated.map(|line| line.step()).collect::<Vec<_>>(), [2]);
    let evaluate = |checkpoint| {
        let mut solver = run.solver(checkpoint, SolveOptions::default()).expect("the checkpoint is whole");
        let data = run.data(".").expect("it is generated");
        solver.evaluate(data.test(), None).map(|evaluation| evaluation.means().loss)
    };
    assert!(evaluate(Checkpoint::Best).expect("it is finite").is_finite());
    let message = evaluate(Checkpoint::Last).expect_err("it is not finite").to_string();
    let start = format!("the losses of `{}", last.display());
    assert!(
        message.starts_with(&start) && message.contains("are not finite, so its accuracies mean"),
        "{message}"
    );
}

#[test]
fn going_back_gives_the_same_bytes_wherever_the_training_is_killed() {
    let going_back = "train.on_divergence=rollback(lr_factor = 1e-9, most = 1)";
    // The divergence is one of a step, and one of an evaluation.
    for (overrides, expected) in [(vec![going_back], 3), ([&IN_EVALUATION[..], &[going_back]].concat(), 2)] {
        let directory = TempDir::new().expect("a temporary folder");
        let mut training = training(&spec(&overrides));
        let run = Run::create(directory.path().join("whole"), &training).expect("there is room");
        // After every event, the folder is what a process that is killed there would leave.
        let mut killed = 0;
        let mut went_back = Vec::new();
        let outcome = training.run(&run, |event| {
            if let Event::WentBack { step, rate_factor, .. } = event {
                went_back.push((*step, (rate_factor * 1e9).round()));
            }
            copy(run.path(), &directory.path().join(killed.to_string()));
            killed += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(outcome.expect("the lower rate helps").step, 9);
        assert_eq!(went_back, [(expected, 1.0)]);
        let whole = files(run.path());
        assert!(killed > 20 && whole.contains_key(Path::new("rollback/state.json")), "{killed}");
        for number in 0..killed {
            let run = Run::open(directory.path().join(number.to_string())).expect("it is a run");
            let data = run.data(".").expect("it is generated");
            // The last events leave nothing to do.
            if let Ok(mut resumed) = Training::resume(&run, data, options()) {
                resumed.run(&run, |_| ControlFlow::Continue(())).expect("it goes on");
            }
            let resumed = files(run.path());
            let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&resumed), names(&whole), "killed after event {number}");
            for (name, bytes) in &resumed {
                assert!(*bytes == whole[name], "`{}` differs, killed after event {number}", name.display());
            }
        }
    }
}

#[test]
fn a_training_goes_back_only_so_often() {
    let spec = spec(&["train.on_divergence=rollback(lr_factor = 0.9, most = 2)"]);
    let (_directory, _run, divergence) = diverge(&spec);
    assert_eq!(divergence.rollbacks, 2);
    assert!(divergence.to_string().contains("; going back 2 times did not help; "), "{divergence}");
}

#[test]
fn a_resumed_training_remembers_the_accuracy_that_it_has_lost() {
    let directory = TempDir::new().expect("a temporary folder");
    let spec = spec(&["train.optimizer=adam_atan2(lr = 1e-3)", "train.steps=12"]);
    let data = Data::of(&spec, Path::new(".")).expect("it is generated");
    let mut training =
        Training::new(&spec, data, TrainOptions { steps: Some(3), ..options() }).expect("it fits");
    let run = Run::create(directory.path(), &training).expect("there is room");
    training.run(&run, |_| ControlFlow::Continue(())).expect("it trains");
    // As if everything had been right.
    let file = run.path().join("metrics.jsonl");
    let text = fs::read_to_string(&file).expect("it is there");
    let perfect = text.replace("\"exact_accuracy\":0.0", "\"exact_accuracy\":1.0");
    assert_ne!(text, perfect);
    fs::write(&file, perfect).expect("the disk has room");
    let data = run.data(".").expect("it is generated");
    let mut resumed = Training::resume(&run, data, options()).expect("it goes on");
    let mut concerns = Vec::new();
    let outcome = resumed.run(&run, |event| {
        if let Event::Concern { step, concern } = event {
            concerns.push((*step, (*concern).clone()));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.expect("it trains").step, 12);
    let [(6, Concern::Fallen { peak, peak_step: 3, .. })] = concerns[..] else { panic!("{concerns:?}") };
    assert_eq!(peak, 1.0);
}
