//! What is explained of a model, held against its trajectories by numpy (`tests/explain.py`).

use std::fs;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use hrmc::internals::explain::{ExplainRequest, Explanation, Point, explain};
use hrmc::{Checkpoint, Data, Question, Run, SolveOptions, Solver, Spec, TrainOptions, Training};
use hrmc_testing::python::python;
use serde_json::json;
use tempfile::TempDir;

/// Puzzles that are explained.
const PUZZLES: usize = 8;

/// A run that the tests share, and its data.
static TRAINED: LazyLock<(TempDir, Run, Data)> = LazyLock::new(|| trained(&[]));

/// Returns a small quickstart with two cycles that was trained for some steps, and its data.
fn trained(overrides: &[&str]) -> (TempDir, Run, Data) {
    let small = ["train.data.train=64", "train.data.test=16", "train.steps=5", "model.N=2"];
    let spec =
        Spec::open("specs/quickstart.hrm", &[&small, overrides].concat()).expect("the spec is shipped");
    let data = Data::of(&spec, ".".as_ref()).expect("such puzzles exist");
    let options = TrainOptions { threads: 2, ..TrainOptions::default() };
    let mut training = Training::new(&spec, data.clone(), options).expect("it fits");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let run = Run::create(folder.path(), &training).expect("the disk has room");
    training.run(&run, |_| ControlFlow::Continue(())).expect("the device does not fail");
    (folder, run, data)
}

fn solver(run: &Run, batch: usize) -> Solver {
    let options = SolveOptions { batch, threads: 2, ..SolveOptions::default() };
    run.solver(Checkpoint::Last, options).expect("there is a checkpoint")
}

fn explained(run: &Run, data: &Data, batch: usize, point: Point) -> Explanation {
    let mut solver = solver(run, batch);
    let request = ExplainRequest { batch, point, ..ExplainRequest::of(solver.model(), PUZZLES) };
    let found = explain(&mut solver, data.test(), &request, &mut |_, _| ControlFlow::Continue(()));
    found.expect("it fits").expect("it is not stopped")
}

#[test]
fn every_number_is_that_of_numpy() {
    let (folder, run, data) = &*TRAINED;
    let found = explained(run, data, 5, Point::Mean);
    let file = folder.path().join("explained.json");
    fs::write(&file, json!(found).to_string()).expect("the disk has room");

    let mut solver = solver(run, 1);
    let (width, model) = (solver.model().hidden, solver.model().clone());
    let initial: Vec<String> = model.states.iter().map(|state| state.name.clone()).collect();
    let mut lines = String::new();
    for row in 0..PUZZLES {
        let question = Question::new(data.test().inputs(row).collect());
        let updates = solver.trace(&question, found.segments).expect("it fits");
        // The state before its first update is not among the updates: it is known from how far that moved it.
        let mut before: Vec<Option<Vec<f32>>> = vec![None; initial.len()];
        let mut traced = Vec::new();
        for update in updates {
            let state = initial.iter().position(|name| *name == update.state).expect("it is one of them");
            let began = before[state].replace(update.values.clone());
            let began = began.unwrap_or_else(|| run_initial_state(run, &update.state, update.values.len()));
            traced.push(json!({
                "segment": update.segment,
                "state": update.state,
                "before": began,
                "after": update.values,
                "tokens": update.tokens,
            }));
        }
        let label: Vec<i32> = data.test().labels(row).collect();
        lines.push_str(&format!(
            "{}\n",
            json!({ "question": question.tokens, "label": label, "updates": traced })
        ));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/explain.py");
    let arguments = [width.to_string(), file.display().to_string()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match python(script, &arguments, &lines).as_deref().map(str::trim) {
        None => {}
        Some("") => eprintln!("`{script}` held nothing against anything: `python3` has no numpy"),
        Some(compared) => {
            let compared: usize = compared.parse().expect("the script prints a number");
            // Two states: 24 residuals, 20 shares, 72 places on each of two axes; 24 updates with four numbers each.
            assert!(compared > 200, "{compared}");
        }
    }
}

/// Returns an initial state of a run for all positions.
fn run_initial_state(run: &Run, state: &str, elements: usize) -> Vec<f32> {
    let file = fs::read(run.path().join("last/weights.safetensors")).expect("it was saved");
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("it is whole");
    let stored = if state == "z_low" { "L_init" } else { "H_init" };
    let name =
        tensors.names().into_iter().find(|name| name.ends_with(stored)).expect("it is there").to_string();
    let tensor = tensors.tensor(&name).expect("it is there");
    let values =
        tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
    values.collect::<Vec<f32>>().into_iter().cycle().take(elements).collect()
}

#[test]
fn the_batch_changes_nothing() {
    let (_, run, data) = &*TRAINED;
    let one = explained(run, data, 1, Point::Position(2));
    let five = explained(run, data, 5, Point::Position(2));
    assert_eq!(one, five);
}

#[test]
fn weights_that_were_never_trained_fill_as_many_dimensions_as_those_drawn_anew() {
    // The vectors of puzzles are 0 at first, and a rate that is far too small leaves them there as far as f32 goes.
    let still = ["train.optimizer.lr=0", "train.puzzles.lr=1e-30", "train.ema=none"];
    let (_folder, run, data) = trained(&still);
    let found = explained(&run, &data, 4, Point::Mean);
    for state in &found.states {
        assert!(!state.participation.is_empty());
        for found in &state.participation {
            assert_eq!(found.trained, found.untrained, "{} of {}", found.trajectories, state.state);
        }
    }
}

#[test]
fn it_can_be_stopped_before_every_segment() {
    let (_, run, data) = &*TRAINED;
    let mut solver = solver(run, 4);
    let request = ExplainRequest { batch: 4, ..ExplainRequest::of(solver.model(), PUZZLES) };
    let all = PUZZLES * request.passes();
    for stop in [0, all / 2, all - 1] {
        let mut watch = |done: usize, of: usize| {
            assert_eq!(of, all);
            if done >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let found = explain(&mut solver, data.test(), &request, &mut watch).expect("it fits");
        // Slots work side by side: after the segment before the last, all rows of the last batch are done but for one.
        assert_eq!(found.is_none(), stop < all - 4 || stop == 0, "{stop}");
    }
}
