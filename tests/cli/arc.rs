//! Tasks of ARC, from their files to a vote.

use std::fs;
use std::path::Path;

use hrmc_testing::workplace::Workplace;

use crate::HRMC;

const SPEC: &str = "\
model small {
  tokens { vocab = 12, positions = 900 }
  puzzles { width = 16, positions = 1 }
  block encoder { hidden = 16, mixing = mlp(width = 8), positions = none, mlp = swiglu(width = 8) }
  network net = 1 * encoder
  state z
  segment { z <- net(z + x) }
  predict tokens from z
  predict q from z[0]
  halt bce { max_segments = 2 }
}

train {
  data = \"tasks\"
  optimizer = adamw(lr = 1e-3)
  puzzles = sign_sgd(lr = 1e-2)
  batch = 2
  steps = 2
}
";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// A place with a dataset of three tasks for evaluation, with so many copies of each.
fn with_tasks(copies: usize) -> Workplace {
    let place = Workplace::new(HRMC);
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/official-format/arc/source/ARC-AGI");
    place.succeed(&format!("data arc --from {} --copies {copies} -o tasks", source.display()));
    place.write("small.hrm", SPEC);
    place.write("made.hrm", &SPEC.replace("data = \"tasks\"", "data = \"tasks\"\n  augment = copies(2)"));
    place
}

/// A place with a run on three tasks with two copies each.
fn trained() -> Workplace {
    let place = with_tasks(2);
    let trained = place.run("run small.hrm --train --eval-limit 0");
    assert_eq!(trained.code, Some(0), "{}", trained.err);
    place
}

#[test]
fn answers_to_the_copies_of_tasks_are_voted_on() {
    let place = trained();
    let found = json(&place.succeed("eval runs/small-001 --submission all.json --json"));
    let tasks = found["arc"]["tasks"].as_array().expect("there are tasks");
    // One of the three tasks has two test inputs.
    let tests: Vec<&serde_json::Value> =
        tasks.iter().flat_map(|task| task["tests"].as_array().unwrap()).collect();
    assert_eq!((tasks.len(), tests.len()), (3, 4));
    assert!(tests.iter().all(|test| test["copies"] == 3), "a task and its two copies: {tests:?}");
    assert_eq!(found["arc"]["pass"][1]["k"], 2);
    assert_eq!(found["arc"]["pass"][1]["tasks"], 3);
    let submission = json(&fs::read_to_string(place.path("all.json")).expect("it was written"));
    let attempts = submission.as_object().expect("it has the tasks by their names");
    assert_eq!(attempts.len(), 3);
    assert!(
        attempts.values().all(|tests| tests[0]["attempt_1"].is_array() && tests[0]["attempt_2"].is_array())
    );
    let few = json(&place.succeed("eval runs/small-001 --copies 1 --json"));
    assert_eq!(few["arc"]["tasks"][0]["tests"][0]["copies"], 2);
    let said = place.succeed("eval runs/small-001 --tasks");
    assert!(said.contains("pass@2") && said.contains("tasks with all their test inputs"), "{said}");
    assert!(attempts.keys().all(|task| said.contains(task.as_str())), "{said}");
}

#[test]
fn what_tasks_do_not_have_is_refused() {
    let place = trained();
    let message = place.fail("eval runs/small-001 --copies 3");
    assert!(message.contains("has at most 2 copies of each task"), "{message}");
    let said = json(&place.succeed("eval runs/small-001 --split train --limit 2 --json"));
    assert_eq!(
        (&said["arc"], &said["trained_on"]["rows"]),
        (&json("null"), &said["trained_on"]["of"]),
        "{said}"
    );
    let message = place.fail("eval runs/small-001 --split train --tasks");
    assert!(message.contains("`--tasks` is about the test split"), "{message}");
    // Rows of other tasks would be answered by the vectors of these.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/official-format/arc/source");
    place.succeed(&format!("data arc --from {}/ConceptARC --copies 2 -o other", source.display()));
    for command in ["eval runs/small-001 --split train", "predict runs/small-001 --split train"] {
        let message = place.fail(&format!("{command} --data other"));
        assert!(message.contains("puzzle identifier 1 is `Count1` in `other`, and `"), "{message}");
    }
    let limited = json(&place.succeed("eval runs/small-001 --limit 1 --json"));
    let tasks = limited["arc"]["tasks"].as_array().expect("there are tasks");
    assert_eq!(tasks.len(), 1, "tasks that were not asked are not counted: {limited}");
    let said = place.run("data arc --from tasks --copies 10001 -o more");
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("expected an integer from 0 to 10000"), "{}", said.err);
    place.write("tiny.hrm", hrmc_testing::workplace::TINY);
    place.succeed("run tiny.hrm --train --steps 1");
    for (options, said) in [
        ("--segments 2,2", "`--segments` has 2 twice"),
        ("--rollouts 1,2", "add `--noise STD`"),
        ("--noise 0.5", "add `--rollouts N`"),
        ("--chart c.png", "expected one that ends in `.svg`"),
    ] {
        let message = place.fail(&format!("eval runs/tiny-001 {options}"));
        assert!(message.contains(said), "{message}");
    }
    for option in ["--copies 1", "--submission s.json", "--tasks"] {
        let message = place.fail(&format!("eval runs/tiny-001 {option}"));
        assert!(message.contains("is for tasks of ARC") && message.contains("`sudoku`"), "{message}");
    }
}

/// The file of a task of the fixture, and the name of the task.
fn a_task(place: &Workplace, folder: &str) -> (String, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/official-format/arc/source");
    let mut files: Vec<_> = fs::read_dir(source.join(folder))
        .expect("the fixture is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    let name = files[0].file_name().and_then(|name| name.to_str()).expect("it has a name").to_string();
    fs::copy(&files[0], place.path(&name)).expect("the folder can be written");
    (name.clone(), name.trim_end_matches(".json").to_string())
}

#[test]
fn a_task_that_the_run_knows_is_answered_and_drawn_with_two_attempts() {
    let place = trained();
    let (file, task) = a_task(&place, "ARC-AGI/data/evaluation");
    let said = place.run(&format!("run runs/small-001 --puzzle {file}"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(!said.err.contains("never seen"), "{}", said.err);
    assert!(
        said.out.starts_with(&format!("task {task}, asked in itself and 2 copies of it\n")),
        "{}",
        said.out
    );
    for part in ["demonstration 1", "output", "question 1", "attempt 1: ", " of 3 votes"] {
        assert!(said.out.contains(part), "`{part}` in {}", said.out);
    }
    let found = json(&place.succeed(&format!("run runs/small-001 --puzzle {file} --copies 1 --json")));
    assert_eq!((&found["task"], &found["seen"], &found["copies"]), (&task.into(), &true.into(), &1.into()));
    assert_eq!(found["tests"][0]["copies"], 2);
}

#[test]
fn a_task_that_the_run_has_never_seen_is_said_to_be_and_can_be_learned() {
    let place = trained();
    let (file, task) = a_task(&place, "ConceptARC/corpus/Count");
    let said = place.run(&format!("run runs/small-001 --puzzle {file}"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let heading = format!("task {task}, never seen by the run, asked in itself and ");
    assert!(said.out.starts_with(&heading), "{}", said.out);
    assert!(said.err.contains("hrmc adapt runs/small-001 --task Count1.json"), "{}", said.err);
    let weights =
        |run: &str| fs::read(place.path(format!("{run}/last/weights.safetensors"))).expect("it is there");
    let before = weights("runs/small-001");
    let adapted =
        place.run(&format!("adapt runs/small-001 --task {file} --copies 1 --steps 4 --max-time 1h"));
    assert_eq!(adapted.code, Some(0), "{}", adapted.err);
    assert!(adapted.err.contains(&format!("learned `{task}` in 4 steps")), "{}", adapted.err);
    assert!(
        adapted.out.starts_with(&format!("task {task}, asked in itself and 1 copy of it\n")),
        "{}",
        adapted.out
    );
    assert_eq!(weights("runs/small-001"), before, "the old run stays as it is");
    // All weights are equal but the vectors of the puzzles, of which there are three now: the blank one, the task, a copy.
    let [before, after] = [before, weights("runs/small-002")].map(|bytes| tensors(&bytes));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, values) in &before {
        match name.as_str() {
            "inner.puzzle_emb.weights" => assert_eq!(after[name].len(), 3 * 16 * 4),
            _ => assert_eq!(&after[name], values, "{name}"),
        }
    }
    let vectors: Vec<&[u8]> = after["inner.puzzle_emb.weights"].chunks(16 * 4).collect();
    assert_ne!(vectors[1], vectors[0], "the vector of the task was learned");
    // The new run is one like any other, and has its data.
    let again = json(&place.succeed(&format!("run runs/small-002 --puzzle {file} --json")));
    assert_eq!((&again["seen"], &again["copies"]), (&true.into(), &1.into()));
    place.succeed("eval runs/small-002");
    fs::rename(place.path("runs/small-002"), place.path("moved")).expect("it can be moved");
    place.succeed("eval moved");
    let more = place.succeed("run --train --resume moved --steps 6 --eval-limit 0 --json");
    assert_eq!(json(&more)["step"], 6);
}

/// The bytes of the tensors in a file of weights, by their names.
fn tensors(bytes: &[u8]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).expect("it is a file of weights");
    tensors.iter().map(|(name, view)| (name.to_string(), view.data().to_vec())).collect()
}

#[test]
fn only_tasks_of_arc_are_learned() {
    let place = trained();
    place.write("broken.json", r#"{"train": [], "test": []}"#);
    let message = place.fail("adapt runs/small-001 --task broken.json");
    assert!(message.contains("broken.json"), "{message}");
    place.write("tiny.hrm", hrmc_testing::workplace::TINY);
    place.succeed("run tiny.hrm --train --steps 1");
    let (file, _) = a_task(&place, "ConceptARC/corpus/Count");
    let message = place.fail(&format!("adapt runs/tiny-001 --task {file}"));
    assert!(message.contains("only a model of ARC learns a vector for each task"), "{message}");
    place.write("my.txt", "1...\n..2.\n....\n.4..\n");
    let message = place.fail("run runs/tiny-001 --puzzle my.txt --copies 2");
    assert!(message.contains("`--copies` is for tasks of ARC"), "{message}");
    let leftovers: Vec<_> = fs::read_dir(place.path("runs"))
        .expect("it is there")
        .filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        })
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

/// Returns the weights of a checkpoint of a run.
fn weights(place: &Workplace, run: &str) -> Vec<u8> {
    fs::read(place.path(format!("runs/{run}/last/weights.safetensors"))).expect("a checkpoint was saved")
}

#[test]
fn copies_that_are_not_stored_are_trained_on_evaluated_and_voted_on() {
    let place = with_tasks(0);
    place.succeed("run made.hrm --train --eval-limit 2");
    let (file, task) = a_task(&place, "ConceptARC/corpus/Count");
    let said = place.succeed(&format!("adapt runs/small-001 --task {file} --copies 1 --steps 1"));
    assert!(said.contains(&task), "{said}");
    let found = json(&place.succeed("eval runs/small-001 --submission all.json --json"));
    let tasks = found["arc"]["tasks"].as_array().expect("there are tasks");
    let tests: Vec<&serde_json::Value> =
        tasks.iter().flat_map(|task| task["tests"].as_array().unwrap()).collect();
    assert_eq!((found["examples"].as_u64(), tasks.len(), tests.len()), (Some(12), 3, 4));
    assert!(tests.iter().all(|test| test["copies"] == 3), "a task and its two copies: {tests:?}");
    // The run has the same copies when its data is named.
    assert_eq!(json(&place.succeed("eval runs/small-001 --data tasks --json"))["arc"], found["arc"]);
    let few = json(&place.succeed("eval runs/small-001 --copies 1 --json"));
    assert_eq!(few["arc"]["tasks"][0]["tests"][0]["copies"], 2);
    let message = place.fail("eval runs/small-001 --copies 3");
    assert!(
        message.contains("has at most 2 copies of each task") && message.contains("`augment = copies(3)`"),
        "{message}"
    );
    let predicted = place.succeed("predict runs/small-001 --split test");
    assert_eq!(predicted.lines().count(), 12);
    assert_eq!(place.succeed("predict runs/small-001 --data tasks --split test"), predicted);
    // Seven tasks with two copies each, and the blank identifier.
    let compiled = place.succeed("compile made.hrm");
    assert!(compiled.contains("22 rows, from `tasks`, with `augment = copies(2)`"), "{compiled}");
}

#[test]
fn a_training_goes_on_with_the_same_copies_whichever_splits_it_needs() {
    let place = with_tasks(0);
    place.succeed("run made.hrm --train --steps 4 --eval-limit 0");
    place.succeed("run made.hrm --train --steps 2 --eval-limit 1");
    place.succeed("run --train --resume runs/small-002 --steps 4 --eval-limit 0");
    assert!(weights(&place, "small-001") == weights(&place, "small-002"));
    place.succeed("run made.hrm --train --steps 4 --eval-limit 0 --set train.augment.seed=1");
    assert!(weights(&place, "small-001") != weights(&place, "small-003"));
    place.succeed("run made.hrm --train --steps 4 --eval-limit 0 --seed 1");
    let differs = place.succeed("diff runs/small-001 runs/small-003");
    assert!(differs.contains("train.augment.seed"), "{differs}");
    let runs = place.succeed("runs");
    assert!(runs.contains("small-004"), "{runs}");
}

#[test]
fn data_that_has_copies_or_no_tasks_is_refused() {
    let place = with_tasks(1);
    let message = place.fail("run made.hrm --train");
    assert!(
        message.contains("`augment = copies(2)` does not fit the data `tasks`: it has copies already"),
        "{message}"
    );
    assert!(message.contains("`hrmc data arc --copies 0`"), "{message}");
    fs::remove_dir_all(place.path("tasks")).expect("it was written");
    let message = place.fail("run made.hrm --train");
    assert!(message.contains("hrmc data arc --from ARC-AGI --copies 0 -o tasks"), "{message}");
    let message = place.fail("run made.hrm --train --set train.augment=symmetries");
    assert!(message.contains("error[data-mismatch]") && message.contains("copies(1_000)"), "{message}");
}
