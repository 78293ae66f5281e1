//! The shipped specs: each trains at a reduced size, and a few are the models their names say.

use std::fs;

use hrmc_testing::workplace::{Said, Workplace, shipped};

use crate::HRMC;

/// Returns the names of all shipped specs, sorted.
fn specs() -> Vec<String> {
    let folder = shipped("");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the specs are checked in")
        .map(|entry| entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".hrm"))
        .collect();
    names.sort();
    names
}

/// Returns overrides that make a spec small enough to train in a test: 4x4 Sudoku, width 32.
fn reduced(place: &Workplace, spec: &str) -> Vec<String> {
    let shown = place.succeed(&format!("show {spec}"));
    let mut sets = vec![
        "model.tokens.vocab=6".to_string(),
        "model.tokens.positions=16".to_string(),
        "model.encoder.hidden=32".to_string(),
        "train.data=sudoku(size = 4, givens = 8, train = 16, test = 8, augment = false)".to_string(),
        "train.batch=4".to_string(),
        "train.steps=3".to_string(),
    ];
    if shown.contains("heads") {
        sets.push("model.encoder.heads=2".to_string());
    }
    if shown.contains("puzzles {") {
        sets.push("model.puzzles.width=32".to_string());
    }
    sets.into_iter().flat_map(|set| ["--set".to_string(), set]).collect()
}

#[test]
fn every_spec_trains_for_a_few_steps_at_a_reduced_size() {
    for name in specs() {
        let place = Workplace::new(HRMC);
        let spec = shipped(&name);
        let output = place
            .command(&format!("run {spec} --train --threads 1 --eval-limit 8"))
            .args(reduced(&place, &spec))
            .output()
            .expect("the binary runs");
        let said = Said::of(output);
        assert_eq!(said.code, Some(0), "{name}: {}", said.err);
        assert!(said.out.contains("accuracy"), "{name}: {}", said.out);
        assert!(!said.err.contains("NaN"), "{name}: {}", said.err);
    }
}

#[test]
fn every_spec_names_its_source_in_one_comment() {
    for name in specs() {
        let text = fs::read_to_string(shipped(&name)).expect("the spec is checked in");
        assert!(text.starts_with("# "), "{name} begins with a comment");
    }
}

#[test]
fn the_table_of_specs_says_what_the_compiler_says() {
    let place = Workplace::new(HRMC);
    let table = fs::read_to_string(shipped("README.md")).expect("the table is checked in");
    for name in specs() {
        let report = place.succeed(&format!("compile {} --emit json", shipped(&name)));
        let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
        let number = |value: &serde_json::Value| value.as_u64().expect("it is a number");
        let flops = number(&report["train"]["flops"]) as f64;
        let work = match flops {
            1e12.. => format!("{:.1} TFLOP", flops / 1e12),
            _ => format!("{:.1} GFLOP", flops / 1e9),
        };
        let row = table.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} has a row in specs/README.md"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let expected =
            [number(&report["parameters"]["total_without_puzzle_table"]), number(&report["batch"])];
        let said = [cells[3], cells[4]].map(|cell| cell.replace(',', "").parse().expect("it is a number"));
        assert_eq!((said, cells[5]), (expected, work.as_str()), "{name}");
        assert!(!cells[6].is_empty(), "{name}: the published accuracy, or that there is none");
    }
}

#[test]
fn every_spec_is_in_the_canonical_layout() {
    let place = Workplace::new(HRMC);
    for name in specs() {
        place.succeed(&format!("fmt --check {}", shipped(&name)));
    }
}

fn parameters(place: &Workplace, name: &str) -> u64 {
    let report = place.succeed(&format!("compile {} --batch 1 --emit json", shipped(name)));
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    report["parameters"]["total_without_puzzle_table"].as_u64().expect("it is a number")
}

#[test]
fn relatives_have_the_sizes_of_their_papers() {
    let place = Workplace::new(HRMC);
    // 27 M for the hierarchical model, 7 M for the recursive one with attention, 5 M with the mixer.
    assert_eq!(parameters(&place, "arc-1.hrm"), 27_276_290);
    assert_eq!(parameters(&place, "arc-2.hrm"), 27_276_290);
    let recursive = parameters(&place, "trm-maze.hrm");
    assert!((6_700_000..7_000_000).contains(&recursive), "{recursive}");
    let mixer = parameters(&place, "trm-sudoku.hrm");
    assert!((4_900_000..5_200_000).contains(&mixer), "{mixer}");
    // More recursion costs no weights.
    let published = parameters(&place, "sudoku.hrm");
    for deeper in ["ablation-3x3.hrm", "ablation-6x3.hrm"] {
        assert_eq!(parameters(&place, deeper), published);
    }
}

#[test]
fn a_base_is_found_beside_its_spec_and_messages_name_the_right_file() {
    let place = Workplace::new(HRMC);
    fs::create_dir(place.path("deep")).expect("the folder can be made");
    place.write("base.hrm", &fs::read_to_string(shipped("quickstart.hrm")).expect("the spec is checked in"));
    place.write("deep/mine.hrm", "base \"../base.hrm\"\nmodel mine { let side = 4 }\ntrain { batch = 5 }\n");
    let shown = place
        .command("show deep/mine.hrm --set")
        .arg("train.data=sudoku(size = 4, givens = 8, train = 16, test = 8, augment = true)")
        .output()
        .expect("the binary runs");
    let shown = Said::of(shown);
    assert!(shown.out.contains("positions = 16") && shown.out.contains("batch         = 5"), "{}", shown.err);
    assert!(!shown.out.contains("base"), "{}", shown.out);
    place.write("deep/mine.hrm", "base \"../base.hrm\"\nmodel mine {\n  block encoder { heads = 5 }\n}\n");
    let message = place.fail("check deep/mine.hrm");
    assert!(message.contains("mine.hrm:3:27") && message.contains("base.hrm:11:17"), "{message}");
}

#[test]
fn a_base_that_cannot_be_used_is_one_message() {
    let place = Workplace::new(HRMC);
    place.write("lost.hrm", "base \"absent.hrm\"\n");
    assert!(place.fail("check lost.hrm").contains("cannot read the base `absent.hrm`"));
    place.write("a.hrm", "base \"b.hrm\"\n");
    place.write("b.hrm", "base \"a.hrm\"\n");
    assert!(place.fail("check a.hrm").contains("is a base of itself"));
    place.write("d.hrm", "model d { }\nbase \"a.hrm\"\n");
    assert!(place.fail("check d.hrm").contains("`base` stands first"));
    place.write("c.hrm", "base \"q.hrm\"\nmodel c { without heads }\n");
    place.write("q.hrm", &fs::read_to_string(shipped("quickstart.hrm")).expect("the spec is checked in"));
    assert!(place.fail("check c.hrm").contains("the base has nothing called `heads`"));
}

#[test]
fn the_base_of_a_spec_on_standard_input_lies_in_the_working_folder() {
    let place = Workplace::new(HRMC);
    place.write("q.hrm", &fs::read_to_string(shipped("quickstart.hrm")).expect("the spec is checked in"));
    let check = |text: &str| {
        let output = place.command("check -").write_stdin(text).output();
        Said::of(output.expect("the binary runs"))
    };
    let said = check("base \"q.hrm\"\nmodel mine { block encoder { heads = 4 } }\n");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let said = check("base \"absent.hrm\"\n");
    assert!(
        said.err.contains("cannot read the base `absent.hrm`") && said.err.contains("-:1:6"),
        "{}",
        said.err
    );
}

#[test]
fn attention_becomes_a_mixer_in_the_block_that_has_it() {
    let place = Workplace::new(HRMC);
    place.write("q.hrm", &fs::read_to_string(shipped("quickstart.hrm")).expect("the spec is checked in"));
    place.write(
        "mixer.hrm",
        "base \"q.hrm\"\nmodel mixer {\n  block encoder {\n    without heads, positions  # not for a mixer\n    \
         mixing = mlp(expansion = 4)\n  }\n}\n",
    );
    let shown = place.succeed("show mixer.hrm");
    assert!(shown.contains("mixing    = mlp(width = ") && !shown.contains("heads"), "{shown}");
    assert_eq!(shown.matches("block encoder").count(), 1, "{shown}");
}

#[test]
fn a_slip_in_a_spec_over_a_base_does_not_hide_the_next() {
    let place = Workplace::new(HRMC);
    place.write("q.hrm", &fs::read_to_string(shipped("quickstart.hrm")).expect("the spec is checked in"));
    place.write(
        "mine.hrm",
        "base \"q.hrm\"\nmodel mine {\n  block encoder { heads = 7, mlp swiglu }\n  state z_low = normal(std = -1)\n  \
         segment { z_low <- low(z_low + }\n}\ntrain {\n  batch = 0\n  epochs 3\n  data = \"data\n}\n",
    );
    let said = place.run("check mine.hrm");
    let errors: Vec<&str> = said.err.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(
        errors,
        [
            "error[syntax]: expected `=`, found `swiglu`",
            "error[unbalanced-delimiter]: `(` is never closed",
            "error[syntax]: expected `=`, found `3`",
            "error[unclosed-string]: this string is never closed",
            "error[head-width]: 7 heads do not divide the width 64",
            "error[out-of-range]: `std` must be above 0, found -1",
            "error[out-of-range]: `batch` must be at least 1, found 0",
        ],
        "{}",
        said.err
    );
    for place in ["mine.hrm:3:", "mine.hrm:4:", "mine.hrm:8:"] {
        assert!(said.err.contains(place), "{}", said.err);
    }
}
