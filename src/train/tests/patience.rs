//! Trainings that `patience` ends: where, what they leave, and that they leave the same however often they are killed.

use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;

use super::divergence::{copy, files};
use crate::span::Source;
use crate::spec::Spec;
use crate::store::checkpoint::Saved;
use crate::train::{Data, Event, Run, RunState, Standing, TrainOptions, Training};

/// A model whose decay multiplies its weights by minus two in each step, so that it is the worse the longer it trains.
const WORSENS: &str = "\
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
  data       = sudoku(size = 4, givens = 8, train = 12, test = 4, augment = true)
  optimizer  = adam_atan2(lr = 1, weight_decay = 3)
  batch      = 4
  steps      = 20
  eval_every = 2 steps
  patience   = 2
}
";

fn spec(overrides: &[&str]) -> Spec {
    Spec::read(Source::new("tiny.hrm", WORSENS), overrides).expect("it is right")
}

/// Options of a training with one thread.
pub(super) fn options() -> TrainOptions {
    TrainOptions { threads: 1, ..TrainOptions::default() }
}

/// Begins a run of a spec in a folder.
pub(super) fn begun_of(spec: &Spec, runs: &Path, options: TrainOptions) -> (Training, Run) {
    let data = Data::of(spec, Path::new(".")).expect("it is generated");
    let training = Training::new(spec, data, options).expect("it fits");
    let run = Run::create(runs, &training).expect("there is room");
    (training, run)
}

fn begun(runs: &Path, overrides: &[&str], options: TrainOptions) -> (Training, Run) {
    begun_of(&spec(overrides), runs, options)
}

fn resumed(run: &Run, options: TrainOptions) -> Result<Training, String> {
    let data = run.data(".").expect("it is generated");
    Training::resume(run, data, options).map_err(|error| error.to_string())
}

fn go_on(_: &Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_training_is_finished_when_evaluations_find_nothing_better() {
    let runs = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(runs.path(), &[], options());
    let outcome = training.run(&run, go_on).expect("its numbers are finite");
    assert_eq!((outcome.step, outcome.is_out_of_patience, outcome.interrupted), (6, true, false));
    assert_eq!(outcome.best_step, Some(2));
    assert_eq!(outcome.evaluation.map(|evaluation| evaluation.examples), Some(4));
    let last = Saved::open(&run.path().join("last")).expect("it is whole");
    let waited = last.state().waited.expect("the spec has patience");
    assert_eq!((last.state().step, waited.evaluations), (6, 2));
    assert_eq!(outcome.best, Some(waited.exact_accuracy));
    let best = Saved::open(&run.path().join("best")).expect("it is whole");
    assert_eq!((best.state().step, best.state().loss), (2, Some(waited.loss)));
    let evaluated = run.metrics().expect("it is whole");
    let evaluated: Vec<u64> =
        evaluated.iter().filter(|line| line.is_evaluation()).map(|line| line.step()).collect();
    assert_eq!(evaluated, [2, 4, 6]);

    let standing = &Standing::all(runs.path(), Path::new(".")).expect("they can be read")[0];
    assert_eq!(
        (&standing.state, standing.step, standing.total_steps),
        (&RunState::Finished, Some(6), Some(20))
    );
    assert!(run.is_out_of_patience());
    let whole = files(run.path());
    // The same training does nothing more, and no other one goes on with the run.
    assert_eq!(training.run(&run, go_on).expect("nothing is done").step, 6);
    drop(training);
    for steps in [None, Some(6), Some(100)] {
        let message = resumed(&run, TrainOptions { steps, ..options() }).err().expect("it is finished");
        let expected = "is finished: its training ended after 6 steps, because 2 evaluations in a row found nothing better";
        assert!(message.contains(expected), "{message}");
    }
    assert!(files(run.path()) == whole, "the files differ");
}

#[test]
fn without_patience_it_does_all_its_steps_and_saves_no_count() {
    let runs = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(runs.path(), &["train.patience=none"], options());
    let outcome = training.run(&run, go_on).expect("its numbers are finite");
    assert_eq!((outcome.step, outcome.is_out_of_patience), (20, false));
    let last = Saved::open(&run.path().join("last")).expect("it is whole");
    assert_eq!(last.state().waited, None);
}

#[test]
fn the_evaluation_after_the_last_step_ends_nothing() {
    let runs = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(runs.path(), &["train.steps=6"], options());
    let outcome = training.run(&run, go_on).expect("its numbers are finite");
    assert_eq!((outcome.step, outcome.is_out_of_patience), (6, false));
    let message = resumed(&run, options()).err().expect("it is done");
    assert!(message.contains("has done 6 steps already"), "{message}");
}

#[test]
fn a_training_that_is_not_evaluated_says_that_patience_has_no_effect() {
    let runs = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(runs.path(), &[], TrainOptions { eval_limit: Some(0), ..options() });
    let mut notes = Vec::new();
    let outcome = training.run(&run, |event| {
        if let Event::Note(note) = event {
            notes.push((*note).to_owned());
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.expect("its numbers are finite").step, 20);
    assert_eq!(notes, ["`patience` has no effect: this training is not evaluated"]);
}

#[test]
fn it_ends_with_the_same_bytes_wherever_the_training_is_killed() {
    let directory = TempDir::new().expect("a temporary folder");
    let (mut training, run) = begun(&directory.path().join("whole"), &[], options());
    // After every event, the folder is what a process that is killed there would leave.
    let mut killed = 0;
    training
        .run(&run, |_| {
            copy(run.path(), &directory.path().join(killed.to_string()));
            killed += 1;
            ControlFlow::Continue(())
        })
        .expect("its numbers are finite");
    let whole = files(run.path());
    assert!(killed > 15, "{killed}");
    for number in 0..killed {
        let run = Run::open(directory.path().join(number.to_string())).expect("it is a run");
        // The last event leaves no step to do, but the end is not saved yet.
        assert!(!run.is_out_of_patience());
        let outcome = resumed(&run, options()).expect("it goes on").run(&run, go_on).expect("it ends");
        assert_eq!((outcome.step, outcome.is_out_of_patience), (6, true));
        let resumed = files(run.path());
        assert!(resumed.keys().eq(whole.keys()), "killed after event {number}");
        for (name, bytes) in &resumed {
            assert!(*bytes == whole[name], "`{}` differs, killed after event {number}", name.display());
        }
    }
}

#[test]
fn an_evaluation_at_which_a_training_was_told_to_stop_does_not_count() {
    let directory = TempDir::new().expect("a temporary folder");
    let last = |run: &Run| {
        files(run.path()).into_iter().filter(|(name, _)| name.starts_with("last")).collect::<Vec<_>>()
    };
    let (mut training, whole) = begun(&directory.path().join("whole"), &[], options());
    training.run(&whole, go_on).expect("its numbers are finite");
    // The evaluation after step 1 is the best of all.
    let stops = [Some(1), Some(3), Some(4), Some(5), None];
    let (mut training, run) =
        begun(&directory.path().join("parts"), &[], TrainOptions { steps: stops[0], ..options() });
    training.run(&run, go_on).expect("its numbers are finite");
    drop(training);
    for steps in &stops[1..] {
        let mut training = resumed(&run, TrainOptions { steps: *steps, ..options() }).expect("it goes on");
        training.run(&run, go_on).expect("its numbers are finite");
    }
    assert_eq!(run.best_step(), Some(1));
    assert!(run.is_out_of_patience());
    assert!(last(&run) == last(&whole), "the files differ");
}
