//! A run survives whatever happens at a change that it makes to the disk.
//!
//! A small training with evaluations is run once undisturbed, and its changes to the disk are counted. Then it is run
//! again for each change and each fault. What is left must be what the message says, and the training must go on to the
//! bytes of the undisturbed one.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::span::Source;
use crate::spec::Spec;
use crate::store::checkpoint::Saved;
use crate::store::disk::faults::{self, Fault, INPUT_OUTPUT, NO_SPACE};
use crate::store::lock::LOCK;
use crate::store::times::TIMES;
use crate::train::{Data, Error, Run, TrainOptions, Training};

const TINY: &str = "model tiny {
  tokens { vocab = 6, positions = 16 }
  puzzles { width = 8 }
  block encoder { hidden = 8, heads = 1, positions = rope(theta = 30), mlp = swiglu(width = 8), norm = post_rms }
  network low = 1 * encoder
  network high = 1 * encoder
  state z_low, z_high = normal(std = 1, truncate = 2)
  segment {
    cycle: repeat 1 {
      step: repeat 1 { z_low <- low(z_low + z_high + x) }
      z_high <- high(z_high + z_low)
    }
  }
  gradient one_step
  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }
  halt q_learning { max_segments = 3, explore = 0.3, target = bootstrap }
}
train {
  data = sudoku(size = 4, givens = 8, train = 12, test = 2, augment = true)
  loss = stablemax
  optimizer = adam_atan2(lr = 3e-3, betas = (0.9, 0.95), weight_decay = 0.1)
  puzzles = sign_sgd(lr = 1e-3, weight_decay = 0.1)
  ema = 0.9
  schedule = cosine(warmup_steps = 2, min_ratio = 0.05)
  batch = 2
  steps = 5
  eval_every = 2 steps
  precision = f32
}
";

/// How a training ends.
struct End {
    /// Steps it has done then.
    steps: u64,
    /// What is said when somebody wants to go on with it.
    refusal: &'static str,
}

/// The end of [`TINY`], at its last step.
const LAST_STEP: End = End { steps: 5, refusal: "has done 5 steps already" };

/// A training that can be begun again.
struct Bench {
    training: Training,
    /// A checkpoint of step 0.
    start: PathBuf,
    directory: TempDir,
}

impl Bench {
    fn new(text: &str) -> Bench {
        let source = Source::new("tiny.hrm".to_owned(), text.to_owned());
        let spec = Spec::read::<&str>(source, &[]).expect("the spec is right");
        let data = Data::of(&spec, Path::new(".")).expect("it is generated");
        let options = TrainOptions { threads: 1, ..TrainOptions::default() };
        let mut training = Training::new(&spec, data, options).expect("the model is tiny");
        let directory = TempDir::new().expect("a temporary folder");
        let run = Run::create(directory.path().join("start"), &training).expect("the disk has room");
        let stopped = training.run(&run, |_| ControlFlow::Break(())).expect("the disk has room");
        assert_eq!(stopped.step, 0, "it is stopped when it begins");
        Bench { training, start: run.path().join("last"), directory }
    }

    /// Begins a run in `runs`, and trains it to the end.
    fn train(&mut self, runs: &Path) -> Result<(), Error> {
        let run = Run::create(runs, &self.training)?;
        self.training.run(&run, |_| ControlFlow::Continue(())).map(drop)
    }

    /// Trains a run from what is left of it to the end.
    fn go_on(&mut self, run: &Path, end: &End) {
        self.training.begin_again(&self.start);
        let run = Run::open(run).expect("the description of the run is whole");
        match self.training.continue_from(&run) {
            Ok(()) => {
                let outcome = self.training.run(&run, |_| ControlFlow::Continue(()));
                assert_eq!(outcome.expect("nothing is in the way any more").step, end.steps);
            }
            Err(error) => assert!(error.to_string().contains(end.refusal), "{error}"),
        }
        self.training.begin_again(&self.start);
    }
}

/// Returns the content of the files of a run that depend on spec, data and seed alone.
fn content(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![run.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            let inner = path.strip_prefix(run).expect("it lies in the run").to_path_buf();
            // When the checkpoint before the last was saved depends on the interruption, and times on the machine.
            if inner.starts_with("previous") || inner.starts_with(LOCK) || inner.starts_with(TIMES) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(inner, fs::read(path).expect("it can be read"));
            }
        }
    }
    found
}

/// Checks that a message about a save that failed says what is left.
fn check_message(message: &str, run: &Path) {
    let whole = ["last", "previous", "best"].into_iter().find_map(|name| {
        let saved = Saved::open(&run.join(name)).ok()?;
        saved.check_bytes().ok().map(|()| format!("the checkpoint of step {} in", saved.state().step))
    });
    let expected = whole.as_deref().unwrap_or("nothing of this run is saved yet");
    assert!(message.contains(expected), "`{expected}` is not in: {message}");
}

/// What may go wrong at a change.
const FAULTS: [Fault; 4] =
    [Fault::Refused(NO_SPACE), Fault::Refused(INPUT_OUTPUT), Fault::Short, Fault::Killed];

/// Runs the training of a spec with faults at each change that it makes, those that `choose` gives for the number of the
/// change and the number of all.
fn survive(text: &str, end: &End, choose: impl Fn(usize, usize) -> Vec<Fault>) {
    let mut bench = Bench::new(text);
    let whole = bench.directory.path().join("whole");
    let (result, changes) = faults::count(|| bench.train(&whole));
    result.expect("nothing is in the way");
    let expected = content(&whole.join("tiny-001"));
    assert_eq!(expected.len(), 12, "{:?}", expected.keys());
    let chosen = |at| choose(at, changes).into_iter().map(move |fault| (at, fault));
    for (at, fault) in (0..changes).flat_map(chosen) {
        let runs = bench.directory.path().join("broken");
        bench.training.begin_again(&bench.start);
        let result = faults::with(at, fault, || bench.train(&runs));
        let error = result.expect_err("the fault is noticed").to_string();
        let run = runs.join("tiny-001");
        if Run::is_run(&run) {
            let is_of_keeping = error.contains("; ");
            assert!(is_of_keeping || !run.join("metrics.jsonl").exists(), "{at} {fault:?}: {error}");
            if is_of_keeping && fault != Fault::Killed {
                check_message(&error, &run);
            }
            bench.go_on(&run, end);
            assert!(content(&run) == expected, "{at} {fault:?}: the files differ after `{error}`");
        } else {
            // The run was never begun: its description could not be written.
            assert!(error.contains("cannot write"), "{at} {fault:?}: {error}");
            assert!(!run.join("last").exists());
        }
        let _ = fs::remove_dir_all(&runs);
    }
    println!("{changes} changes of the disk");
    assert!(changes > 100, "{changes}");
}

#[test]
fn a_fault_at_any_change_of_the_disk_costs_no_checkpoint() {
    survive(TINY, &LAST_STEP, |at, _| vec![FAULTS[at % FAULTS.len()]]);
}

#[test]
#[ignore = "it takes minutes; docs/testing.md has the command"]
fn every_fault_at_any_change_of_the_disk_costs_no_checkpoint() {
    survive(TINY, &LAST_STEP, |_, _| FAULTS.to_vec());
}

#[test]
fn a_fault_while_the_end_by_patience_is_saved_does_not_change_it() {
    let text = [
        // Each step multiplies the weights by minus two.
        ("lr = 3e-3, betas = (0.9, 0.95), weight_decay = 0.1", "lr = 1, weight_decay = 3"),
        ("cosine(warmup_steps = 2, min_ratio = 0.05)", "constant"),
        ("ema = 0.9", "ema = 0.01"),
        ("eval_every = 2 steps", "eval_every = 2 steps\n  patience = 1"),
    ]
    .iter()
    .fold(TINY.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
    let end = End { steps: 4, refusal: "is finished: its training ended after 4 steps" };
    // A checkpoint takes fewer changes than these.
    survive(&text, &end, |at, all| if at + 40 < all { Vec::new() } else { vec![FAULTS[at % FAULTS.len()]] });
}
