//! The command line around the language: check, show, fmt, completions, help and `hrmc.toml`.

mod support;

use std::fs;

use support::{Workplace, shipped};

const BROKEN: &str = "model m {\n  tokens { vocab = 6, positons = 4 }\n}\n";

#[test]
fn shipped_specs_pass_the_check_in_silence() {
    let place = Workplace::new();
    for name in ["quickstart.hrm", "sudoku-small.hrm", "sudoku.hrm", "maze.hrm"] {
        let said = place.run(&format!("check {}", shipped(name)));
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "{name}");
    }
}

#[test]
fn every_problem_of_a_spec_is_reported_with_its_place() {
    let place = Workplace::new();
    place.write("broken.hrm", BROKEN);
    let said = place.run("check broken.hrm");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("error[unknown-key]"), "{}", said.err);
    assert!(said.err.contains("broken.hrm:2:23"), "{}", said.err);
    assert!(said.err.contains("error[missing-key]"), "{}", said.err);
    assert!(!said.err.contains('\u{1b}'), "nobody watches, so there are no colours: {}", said.err);
}

#[test]
fn diagnostics_can_be_had_as_json() {
    let place = Workplace::new();
    place.write("broken.hrm", BROKEN);
    let said = place.run("check broken.hrm --json");
    assert_eq!(said.code, Some(1));
    let found: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    let found = found.as_array().expect("it is a list");
    assert!(found.iter().any(|one| one["code"] == "unknown-key" && one["primary"]["line"] == 2), "{found:?}");
    assert_eq!(place.succeed(&format!("check --json {}", shipped("maze.hrm"))), "[]\n");
}

#[test]
fn an_override_with_an_unknown_path_names_the_nearest_ones() {
    let place = Workplace::new();
    for command in ["check", "show", "compile", "run --train", "bench"] {
        let message = place.fail(&format!("{command} --set train.btch=3"));
        assert!(message.contains("error[unknown-path]"), "{message}");
        assert!(message.contains("`train.batch`"), "{message}");
    }
}

#[test]
fn overrides_change_the_shown_spec() {
    let place = Workplace::new();
    let shown = place.succeed("show --set train.batch=7 --set model.encoder.heads=4");
    assert!(shown.contains("batch      = 7"), "{shown}");
    assert!(shown.contains("heads     = 4"), "{shown}");
}

#[test]
fn a_shown_spec_shows_as_itself() {
    let place = Workplace::new();
    for name in ["quickstart.hrm", "sudoku-small.hrm", "sudoku.hrm", "maze.hrm"] {
        let shown = place.succeed(&format!("show {}", shipped(name)));
        place.write("shown.hrm", &shown);
        assert_eq!(place.succeed("show shown.hrm"), shown, "{name}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let place = Workplace::new();
    for command in ["check", "show", "compile", "fmt"] {
        assert_eq!(
            place.fail(&format!("{command} absent.hrm")),
            "error: cannot read `absent.hrm`: there is no such file or folder\n"
        );
    }
    assert!(place.fail("check .").contains("`.` is a folder, expected a spec"));
    fs::write(place.path("bytes.hrm"), [0xff, 0xfe, 0x00]).expect("the folder can be written");
    assert_eq!(place.fail("check bytes.hrm"), "error: cannot read `bytes.hrm`: it is not UTF-8 text\n");
}

#[test]
fn fmt_rewrites_files_and_check_names_those_it_would() {
    let place = Workplace::new();
    let neat = fs::read_to_string(shipped("quickstart.hrm")).expect("it is shipped");
    let messy = neat.replace("  tokens  {", "tokens{");
    assert_ne!(neat, messy);
    place.write("a.hrm", &messy);
    let message = place.fail("fmt --check a.hrm");
    assert!(message.contains("`a.hrm` is not in the canonical layout"), "{message}");
    assert_eq!(fs::read_to_string(place.path("a.hrm")).expect("it is there"), messy);
    place.succeed("fmt a.hrm");
    assert_eq!(fs::read_to_string(place.path("a.hrm")).expect("it is there"), neat);
    place.succeed("fmt --check a.hrm");
}

#[test]
fn fmt_reads_standard_input() {
    let place = Workplace::new();
    let neat = fs::read_to_string(shipped("quickstart.hrm")).expect("it is shipped");
    let messy = neat.replace("  tokens  {", "tokens{");
    place.command("fmt -").write_stdin(messy).assert().success().stdout(neat);
    let broken = place.command("fmt -").write_stdin("model {").assert().code(1);
    let said = support::Said::of(broken.get_output().clone());
    assert!(said.err.contains("standard input:1"), "{}", said.err);
    assert_eq!(said.out, "");
}

#[test]
fn shipped_specs_are_in_the_canonical_layout() {
    let place = Workplace::new();
    for name in ["quickstart.hrm", "sudoku-small.hrm", "sudoku.hrm", "maze.hrm"] {
        place.succeed(&format!("fmt --check {}", shipped(name)));
    }
}

#[test]
fn completions_exist_for_the_usual_shells() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.succeed(&format!("completions {shell}")).contains("hrmc"), "{shell}");
    }
}

#[test]
fn a_command_line_that_cannot_be_read_gives_2() {
    let place = Workplace::new();
    for arguments in [
        "",
        "frobnicate",
        "check --frobnicate",
        "run",
        "run --train --puzzle a.txt",
        "compile --batch 0",
        "compile --emit soup",
        "data sudoku -o d",
        "data sudoku --generate --size 5 -o d",
        "run --train --device abacus",
    ] {
        let said = place.run(arguments);
        assert_eq!(said.code, Some(2), "`hrmc {arguments}`: {}", said.err);
        assert!(!said.err.contains("panicked"), "{}", said.err);
    }
}

#[test]
fn help_shows_examples() {
    let place = Workplace::new();
    let help = place.succeed("--help");
    assert!(help.contains("hrmc run --train"), "{help}");
    for command in
        ["check", "compile", "show", "fmt", "run", "eval", "data", "verify", "bench", "completions"]
    {
        assert!(place.succeed(&format!("help {command}")).contains("Examples:"), "{command}");
    }
}

#[test]
fn hrmc_toml_gives_the_spec_also_from_a_folder_below() {
    let place = Workplace::new();
    fs::create_dir_all(place.path("specs/deep")).expect("the folder can be made");
    fs::copy(shipped("sudoku-small.hrm"), place.path("specs/mine.hrm")).expect("it is shipped");
    place.write("hrmc.toml", "spec = \"specs/mine.hrm\"\n");
    assert!(place.succeed("show").starts_with("model sudoku_small"));
    let mut below = place.command("show");
    let below = below.current_dir(place.path("specs/deep")).assert().success();
    assert!(support::Said::of(below.get_output().clone()).out.starts_with("model sudoku_small"));
}

#[test]
fn mistakes_in_hrmc_toml_have_a_line() {
    let place = Workplace::new();
    place.write("hrmc.toml", "threads = 2\ndevise = \"cpu\"\n");
    let message = place.fail("check");
    assert!(message.contains("hrmc.toml`, line 2, column 1: unknown field `devise`"), "{message}");
    place.write("hrmc.toml", "device = \"abacus\"\n");
    assert!(place.fail("check").contains("line 1, column 10"), "{}", place.fail("check"));
    place.write("hrmc.toml", "threads = = 2\n");
    assert!(place.fail("check").contains("line 1"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_is_no_problem() {
    let place = Workplace::new();
    let mut shell = assert_cmd::Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_hrmc");
    let script = format!("set -e; ({binary} compile --emit plan; echo code $? >&2) | head -n 1");
    let output = shell.current_dir(place.path("")).arg("-c").arg(script).output().expect("sh runs");
    let said = support::Said::of(output);
    assert_eq!(said.err, "code 0\n");
    assert_eq!(said.out.lines().count(), 1);
}
