//! Comparing specs, training many of them, and timing one: `hrmc diff`, `hrmc sweep` and `hrmc bench`.

use std::fs;

use hrmc_testing::workplace::{Workplace, shipped};

use crate::HRMC;

/// A model that trains a step in a millisecond: 4x4 Sudoku, one block per network.
const TINY: &str = "\
model tiny {
  let N = 1

  tokens { vocab = 6, positions = 16 }

  block encoder { hidden = 16, heads = 2, mlp = swiglu(width = 16) }

  network low  = 1 * encoder
  network high = 1 * encoder

  state z_low, z_high = normal(std = 1, truncate = 2)

  segment {
    cycle: repeat N {
      z_low  <- low(z_low + z_high + x)
      z_high <- high(z_high + z_low)
    }
  }
  gradient one_step

  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }

  halt q_learning { max_segments = 2 }
}

train {
  data      = sudoku(size = 4, givens = 8, train = 20, test = 4, augment = true)
  optimizer = adam_atan2(lr = 1e-3)
  batch     = 4
  steps     = 4
}
";

fn tiny() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn a_spec_and_its_resolved_form_mean_the_same() {
    let place = tiny();
    let shown = place.succeed("show tiny.hrm");
    place.write("shown.hrm", &shown);
    assert_eq!(place.succeed("diff tiny.hrm shown.hrm --exit-code"), "the two specs mean the same\n");
}

#[test]
fn a_difference_is_shown_as_values_loop_nest_and_cost() {
    let place = tiny();
    let edited = TINY.replace("let N = 1", "let N = 2").replace("gradient one_step", "gradient full");
    place.write("edited.hrm", &edited.replace("lr = 1e-3", "lr = 1e-2").replace("low  = 1 *", "low  = 2 *"));
    let said = place.run("diff tiny.hrm edited.hrm");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    for part in [
        "model.low.layers     1 -> 2",
        "model.segment.cycle  1 -> 2",
        "model.gradient       one_step -> full",
        "train.optimizer.lr   0.001 -> 0.01",
        "  - cycle: repeat 1 {\n  + cycle: repeat 2 {\n      z_low <- low(z_low + z_high + x)\n",
        "parameters of network low               1,792 ->           3,584  x 2.000",
        "parameters of network high              1,792 ->           1,792  equal",
        "work of a training segment",
        "activations kept",
        "peak memory of training",
    ] {
        assert!(said.out.contains(part), "`{part}` is missing in:\n{}", said.out);
    }
    assert!(!said.out.contains("model.high.layers"), "equal values are left out:\n{}", said.out);
    assert!(!said.out.contains('\u{1b}'), "nobody watches");
    assert_eq!(place.run("diff tiny.hrm edited.hrm --exit-code").code, Some(1));
}

#[test]
fn a_difference_can_be_had_as_json() {
    let place = tiny();
    let found = json(&place.succeed("diff tiny.hrm tiny.hrm --set-b model.N=2 --json"));
    assert_eq!(found["equal"], false);
    let count = serde_json::json!([{ "path": "model.segment.cycle", "old": "1", "new": "2" }]);
    assert_eq!(found["values"], count, "the count of a loop with a label is a value");
    assert_eq!(found["states"][0], serde_json::json!({ "side": "both", "line": "state z_low" }));
    assert_eq!(found["loop_nest"][0], serde_json::json!({ "side": "old", "line": "cycle: repeat 1 {" }));
    let cost = |name: &str| {
        let list = found["cost"].as_array().expect("it is a list");
        list.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("`{name}` is missing")).clone()
    };
    let kept = cost("activations kept");
    assert_eq!(kept["old"], kept["new"], "one step is kept, however many there are");
    let work = cost("work of an evaluation segment");
    assert!(work["new"].as_u64() > work["old"].as_u64(), "{work}");
    let both = json(&place.succeed("diff tiny.hrm tiny.hrm --set model.N=2 --json"));
    assert_eq!(both["equal"], true);
}

#[test]
fn shipped_specs_can_be_compared() {
    let place = Workplace::new(HRMC);
    let text = place.succeed(&format!("diff {} {}", shipped("sudoku.hrm"), shipped("maze.hrm")));
    assert!(text.contains("model.tokens.positions  81 -> 900\n"), "{text}");
    assert!(text.contains("loop nest\n  equal\n"), "{text}");
}

#[test]
fn a_broken_spec_is_not_compared() {
    let place = tiny();
    place.write("broken.hrm", &TINY.replace("heads = 2", "heads = 3"));
    let message = place.fail("diff tiny.hrm broken.hrm");
    assert!(message.contains("error[head-width]"), "{message}");
    assert!(message.contains("broken.hrm:"), "{message}");
    assert!(place.fail("diff tiny.hrm absent.hrm").contains("cannot read `absent.hrm`"));
}

#[test]
fn a_sweep_trains_every_combination_and_prints_one_table() {
    let place = tiny();
    let said = place.run("sweep tiny.hrm --set model.N=1,2 --set train.seed=0..2 --steps 2 --threads 1");
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    let lines = &lines[..7];
    for name in ["model.N", "train.seed", "parameters", "best exact", "tokens", "loss", "time"] {
        assert!(lines[0].contains(name), "`{name}` is missing in {}", lines[0]);
    }
    let mut expected = ["1 0", "1 1", "1 2", "2 0", "2 1", "2 2"].iter();
    for (number, line) in lines[1..].iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(Some(&words[..2].join(" ").as_str()), expected.next());
        assert_eq!(words.last(), Some(&format!("runs/tiny-{:03}", number + 1).as_str()));
    }
    let manifest = fs::read_to_string(place.path("runs/tiny-006/run.toml")).expect("it is there");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let overrides = manifest["overrides"].as_array().expect("it is a list");
    assert_eq!(
        overrides.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>(),
        ["model.N=2", "train.seed=2"]
    );
    assert!(manifest["spec"].as_str().expect("it is text").contains("cycle: repeat 2 {"));
}

#[test]
fn a_combination_trains_as_the_same_values_do_alone() {
    let place = tiny();
    let rows = json(&place.succeed("sweep tiny.hrm --set train.seed=3,4 --runs swept --threads 2 --json"));
    place.succeed("run tiny.hrm --train --set train.seed=4 --runs alone --threads 1");
    let weights = |run: &str| fs::read(place.path(format!("{run}/last/weights.safetensors"))).expect("it is");
    assert_eq!(weights("swept/tiny-002"), weights("alone/tiny-001"));
    assert_ne!(weights("swept/tiny-001"), weights("swept/tiny-002"));
    assert_eq!(rows[1]["values"]["train.seed"], "4");
    assert_eq!(rows[1]["status"], "trained");
    assert_eq!(rows[1]["run"], "swept/tiny-002");
    assert_eq!(rows[1]["step"], 4);
    assert!(rows[1]["loss"].is_f64() && rows[1]["accuracy"].is_f64(), "{rows}");
}

#[test]
fn a_failing_combination_does_not_stop_the_others() {
    let place = tiny();
    let said = place.run("sweep tiny.hrm --set model.encoder.heads=3,2 --steps 1 --json");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("error[head-width]"), "{}", said.err);
    assert!(said.err.contains("1 combination failed"), "{}", said.err);
    let rows = json(&said.out);
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&"failed".into(), &"trained".into()));
}

#[test]
fn a_dry_run_lists_the_combinations_and_trains_nothing() {
    let place = tiny();
    let text =
        place.succeed("sweep tiny.hrm --set model.low=1*encoder,2*encoder --set train.seed=7 --dry-run");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..2], ["1*encoder", "7"]);
    assert_eq!(rows[2][..2], ["2*encoder", "7"]);
    let count = |row: &[&str]| row[2].replace(',', "").parse::<u64>().expect("it is a number");
    assert_eq!(count(&rows[2]) - count(&rows[1]), 1_792, "one block more");
    assert!(!place.path("runs").exists());
}

#[test]
fn what_no_combination_could_be_is_refused_before_training() {
    let place = tiny();
    for (arguments, part) in [
        ("--set train.sed=1,2", "error[unknown-path]"),
        ("--set train.seed=1,(2", "`(` is never closed"),
        ("--set train.seed", "expected `path=values`"),
        ("--set train.seed=3..1", "the range `3..1` is empty"),
        ("--set train.seed=1 --set train.seed=2", "`train.seed` is set twice"),
        ("--set train.seed=0..999999", "more than 10,000 combinations"),
    ] {
        let message = place.fail(&format!("sweep tiny.hrm {arguments}"));
        assert!(message.contains(part), "{arguments}: {message}");
    }
    assert!(!place.path("runs").exists(), "nothing was begun");
}

#[test]
fn a_benchmark_times_the_programs_it_is_told_to_and_predicts_their_kernels() {
    let place = tiny();
    let command =
        "bench tiny.hrm --program answer --program train --program train --profile --repeat 1 --threads 1";
    let report = json(&place.succeed(&format!("{command} --json")));
    let number = |value: &serde_json::Value| value.as_f64().expect("it is a number");
    let programs = report["programs"].as_array().expect("it is a list");
    let rows: Vec<_> =
        programs.iter().map(|row| (row["program"].as_str(), row["segments"].as_u64())).collect();
    assert_eq!(
        rows,
        [(Some("answer"), Some(2)), (Some("train"), Some(1))],
        "as many as training takes at most"
    );
    for row in programs {
        let share = number(&row["gflop"]) / number(&row["best_s"]) / number(&report["peak_gflop_per_s"]);
        assert!((number(&row["share_of_peak"]) / share - 1.0).abs() < 1e-9, "{row}");
    }
    assert_eq!(
        (&report["precision"], &report["peak_f32_gflop_per_s"]),
        (&json("\"f32\""), &report["peak_gflop_per_s"])
    );
    if cfg!(target_os = "linux") {
        assert!(
            report["resident_bytes"].as_u64() > report["memory_bytes"].as_u64(),
            "the program is resident too"
        );
    }
    let kernels = report["kernels"].as_array().expect("it is a list");
    assert!(kernels.iter().all(|kernel| kernel["phase"] != "backward"), "the first program is profiled");
    for kernel in kernels {
        let by_arithmetic = number(&kernel["gflop"]) / number(&report["peak_gflop_per_s"]);
        let by_memory = number(&kernel["gigabytes"]) / number(&report["copy_gigabytes_per_s"]);
        let predicted = number(&kernel["predicted_s"]);
        let least = by_arithmetic.max(by_memory);
        // Each call is bound by the slower of both, so the sum lies between the larger sum and both together.
        assert!(least * 0.999 <= predicted && predicted <= (by_arithmetic + by_memory) * 1.001, "{kernel}");
    }
}

#[test]
fn training_that_a_spec_does_not_have_is_not_timed() {
    let place = tiny();
    let (model, _) = TINY.split_once("train {").expect("it trains");
    place.write("answers.hrm", model);
    let message = place.fail("bench answers.hrm --program train");
    assert!(message.contains("`tiny` has no `train` block, so there is no training to time"), "{message}");
}

#[test]
fn the_example_of_the_help_sweeps_the_spec_that_is_built_in() {
    let place = Workplace::new(HRMC);
    let said = place.succeed("sweep --set model.N=1,2,3 --set train.seed=0..2 --dry-run --json");
    let combinations = json(&said);
    assert_eq!(combinations.as_array().map(Vec::len), Some(9), "{said}");
}
