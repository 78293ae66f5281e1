//! Tasks of ARC, from their files to a vote.

use std::fs;
use std::path::Path;

use hrmc_testing::workplace::Workplace;

use crate::HRMC;

const SPEC: &str = "\
model small {
  tokens { vocab = 12, positions = 900 }
  puzzles { width = 16, positions = 1 }
  block encoder { hidden = 16, heads = 2, mlp = swiglu(expansion = 1, multiple_of = 8) }
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

/// A place with a run on three tasks with two copies each.
fn trained() -> Workplace {
    let place = Workplace::new(HRMC);
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/official-format/arc/source/ARC-AGI");
    place.succeed(&format!("data arc --from {} --copies 2 -o tasks", source.display()));
    place.write("small.hrm", SPEC);
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
    place.write("tiny.hrm", hrmc_testing::workplace::TINY);
    place.succeed("run tiny.hrm --train --steps 1");
    for option in ["--copies 1", "--submission s.json", "--tasks"] {
        let message = place.fail(&format!("eval runs/tiny-001 {option}"));
        assert!(message.contains("is for tasks of ARC") && message.contains("`sudoku`"), "{message}");
    }
}
