//! The command line around the language: check, show, fmt, completions, help and `hrmc.toml`.

use std::fs;

use hrmc_testing::workplace::{Said, Workplace, shipped};

use crate::HRMC;

const BROKEN: &str = "model m {\n  tokens { vocab = 6, positons = 4 }\n}\n";

#[test]
fn shipped_specs_pass_the_check_in_silence() {
    let place = Workplace::new(HRMC);
    for name in ["quickstart.hrm", "sudoku-small.hrm", "sudoku.hrm", "maze.hrm"] {
        let said = place.run(&format!("check {}", shipped(name)));
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "{name}");
    }
}

#[test]
fn every_problem_of_a_spec_is_reported_with_its_place() {
    let place = Workplace::new(HRMC);
    place.write("broken.hrm", BROKEN);
    let said = place.run("check broken.hrm");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("error[unknown-key]"), "{}", said.err);
    assert!(said.err.contains("broken.hrm:2:23"), "{}", said.err);
    assert!(said.err.contains("error[missing-statement]"), "{}", said.err);
    assert!(!said.err.contains('\u{1b}'), "nobody watches, so there are no colours: {}", said.err);
}

#[test]
fn diagnostics_can_be_had_as_json() {
    let place = Workplace::new(HRMC);
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
    let place = Workplace::new(HRMC);
    for command in ["check", "show", "compile", "run --train", "bench"] {
        let message = place.fail(&format!("{command} --set train.btch=3"));
        assert!(message.contains("error[unknown-path]"), "{message}");
        assert!(message.contains("`train.batch`"), "{message}");
    }
}

#[test]
fn overrides_change_the_shown_spec() {
    let place = Workplace::new(HRMC);
    let shown = place.succeed("show --set train.batch=7 --set model.encoder.heads=4");
    assert!(shown.contains("batch         = 7"), "{shown}");
    assert!(shown.contains("heads     = 4"), "{shown}");
}

#[test]
fn a_shown_spec_shows_as_itself() {
    let place = Workplace::new(HRMC);
    for name in ["quickstart.hrm", "sudoku-small.hrm", "sudoku.hrm", "maze.hrm"] {
        let shown = place.succeed(&format!("show {}", shipped(name)));
        place.write("shown.hrm", &shown);
        assert_eq!(place.succeed("show shown.hrm"), shown, "{name}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let place = Workplace::new(HRMC);
    for command in ["check", "show", "compile", "fmt"] {
        assert_eq!(
            place.fail(&format!("{command} absent.hrm")),
            "error: cannot read `absent.hrm`: there is no such file or folder\n"
        );
    }
    assert!(place.fail("check .").contains("`.` is a folder without `run.toml`; expected a spec"));
    fs::write(place.path("bytes.hrm"), [0xff, 0xfe, 0x00]).expect("the folder can be written");
    assert_eq!(
        place.fail("check bytes.hrm"),
        "error: cannot read `bytes.hrm`: it is text in UTF-16; save it as UTF-8\n"
    );
}

#[test]
fn fmt_rewrites_files_and_check_names_those_it_would() {
    let place = Workplace::new(HRMC);
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
    let place = Workplace::new(HRMC);
    let neat = fs::read_to_string(shipped("quickstart.hrm")).expect("it is shipped");
    let messy = neat.replace("  tokens  {", "tokens{");
    place.command("fmt -").write_stdin(messy).assert().success().stdout(neat);
    let broken = place.command("fmt -").write_stdin("model {").assert().code(1);
    let said = Said::of(broken.get_output().clone());
    assert!(said.err.contains("standard input:1"), "{}", said.err);
    assert_eq!(said.out, "");
}

#[test]
fn shipped_specs_are_in_the_canonical_layout() {
    let place = Workplace::new(HRMC);
    for name in ["quickstart.hrm", "sudoku-small.hrm", "sudoku.hrm", "maze.hrm"] {
        place.succeed(&format!("fmt --check {}", shipped(name)));
    }
}

#[test]
fn completions_exist_for_the_usual_shells() {
    let place = Workplace::new(HRMC);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.succeed(&format!("completions {shell}")).contains("hrmc"), "{shell}");
    }
}

#[test]
fn a_command_line_that_cannot_be_read_gives_2() {
    let place = Workplace::new(HRMC);
    for arguments in [
        "",
        "frobnicate",
        "check --frobnicate",
        "run",
        "run --train --puzzle a.txt",
        "compile --batch 0",
        "compile --batch 1_048_577",
        "bench --batch 18446744073709551615",
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
    let place = Workplace::new(HRMC);
    let help = place.succeed("--help");
    assert!(help.contains("hrmc run --train"), "{help}");
    for command in [
        "check",
        "compile",
        "show",
        "fmt",
        "run",
        "eval",
        "plot",
        "data",
        "verify",
        "bench",
        "devices",
        "completions",
    ] {
        assert!(place.succeed(&format!("help {command}")).contains("Examples:"), "{command}");
    }
}

#[test]
fn hrmc_toml_gives_the_spec_also_from_a_folder_below() {
    let place = Workplace::new(HRMC);
    fs::create_dir_all(place.path("specs/deep")).expect("the folder can be made");
    fs::copy(shipped("sudoku-small.hrm"), place.path("specs/mine.hrm")).expect("it is shipped");
    place.write("hrmc.toml", "spec = \"specs/mine.hrm\"\n");
    assert!(place.succeed("show").starts_with("model sudoku_small"));
    let mut below = place.command("show");
    let below = below.current_dir(place.path("specs/deep")).assert().success();
    assert!(Said::of(below.get_output().clone()).out.starts_with("model sudoku_small"));
}

#[test]
fn mistakes_in_hrmc_toml_have_a_line() {
    let place = Workplace::new(HRMC);
    place.write("hrmc.toml", "threads = 2\ndevise = \"cpu\"\n");
    let message = place.fail("check");
    assert!(message.contains("hrmc.toml`, line 2, column 1: there is no key `devise`"), "{message}");
    place.write("hrmc.toml", "device = \"abacus\"\n");
    assert!(place.fail("check").contains("line 1, column 10"), "{}", place.fail("check"));
    place.write("hrmc.toml", "threads = = 2\n");
    assert!(place.fail("check").contains("line 1"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_is_no_problem() {
    let place = Workplace::new(HRMC);
    let mut shell = std::process::Command::new("sh");
    let binary = HRMC;
    let script = format!("set -e; ({binary} compile --emit plan; echo code $? >&2) | head -n 1");
    let output = shell.current_dir(place.path("")).arg("-c").arg(script).output().expect("sh runs");
    let said = Said::of(output);
    assert_eq!(said.err, "code 0\n");
    assert_eq!(said.out.lines().count(), 1);
}

#[test]
fn a_reader_that_leaves_early_does_not_make_a_faulty_spec_a_good_one() {
    let place = Workplace::new(HRMC);
    // More than a pipe holds, so that writing fails.
    place.write("a.hrm", &format!("model a {{ {} }}", "let x = 1\n".repeat(2000)));
    let script = format!("({HRMC} check a.hrm --json; echo code $? >&2) | head -c 1");
    let mut shell = std::process::Command::new("sh");
    let output = shell.current_dir(place.path("")).arg("-c").arg(script).output().expect("sh runs");
    assert_eq!(Said::of(output).err, "code 1\n");
}

#[test]
fn help_explains_every_code() {
    let place = Workplace::new(HRMC);
    let listed = place.succeed("help --codes");
    for code in hrmc::internals::diagnostic::CODES {
        let text = code.as_str();
        assert!(listed.contains(&format!("{text} ")), "{text} is not listed");
        let page = place.succeed(&format!("help {text}"));
        assert!(page.starts_with(text), "{page}");
        assert!(page.contains(&format!("[{text}]:")), "the page of {text} shows no such message: {page}");
        assert!(page.contains("\nMended\n"), "{page}");
        assert!(!page.contains('\u{1b}'), "nobody watches, so there are no colours: {page}");
    }
}

#[test]
fn help_takes_a_code_however_it_was_copied() {
    let place = Workplace::new(HRMC);
    let page = place.succeed("help head-width");
    for spelling in ["head_width", "HEAD-WIDTH", "error[head-width]:", "[head-width]"] {
        assert_eq!(place.succeed(&format!("help {spelling}")), page, "{spelling}");
    }
}

#[test]
fn help_reaches_subcommands_of_subcommands() {
    let place = Workplace::new(HRMC);
    assert_eq!(place.succeed("help data sudoku").trim_end(), place.succeed("data sudoku --help").trim_end());
    assert!(place.succeed("help").contains("Commands:"));
}

#[test]
fn help_suggests_what_was_meant() {
    let place = Workplace::new(HRMC);
    for (topic, message) in [
        ("head-widht", "there is no subcommand or code `head-widht`; did you mean `head-width`?"),
        ("compil", "there is no subcommand or code `compil`; did you mean `compile`?"),
        ("data sudokku", "`hrmc data` has no subcommand `sudokku`; did you mean `sudoku`?"),
        ("nonsense", "`hrmc help` lists the subcommands, `hrmc help --codes` the codes"),
    ] {
        let said = place.fail(&format!("help {topic}"));
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn misspelt_flags_options_and_subcommands_get_a_suggestion() {
    let place = Workplace::new(HRMC);
    for (arguments, meant) in [
        ("chek", "'check'"),
        ("compil", "'compile'"),
        ("data sudko", "'sudoku'"),
        ("run --trian", "'--train'"),
        ("run --train --devic cpu", "'--device'"),
        ("run --train --device cpuu", "'cpu'"),
        ("compile --emti graph", "'--emit'"),
        ("compile --emit grph", "'graph'"),
        ("check --jsno", "'--json'"),
        ("fmt --chekc a.hrm", "'--check'"),
        ("check --sett a=1", "'--set'"),
        ("completions bsh", "'bash'"),
        ("help --code", "'--codes'"),
    ] {
        let said = place.run(arguments);
        assert_eq!(said.code, Some(2), "`hrmc {arguments}`: {}", said.err);
        assert!(said.err.contains("similar"), "`hrmc {arguments}`: {}", said.err);
        assert!(said.err.contains(meant), "`hrmc {arguments}`: {}", said.err);
    }
}

#[test]
fn misspelt_override_paths_get_the_nearest_ones() {
    let place = Workplace::new(HRMC);
    for (path, meant) in [
        ("train.btch=3", "`train.batch`"),
        ("trian.batch=3", "`train.batch`"),
        ("batch=3", "`train.batch`"),
        ("train.optimizer.learning_rate=1", "`train.optimizer.lr`"),
        ("model.encoder.head=2", "`model.encoder.heads`"),
        ("model.encodr.heads=2", "`model.encoder.heads`"),
        ("model.halt.max_segment=2", "`model.halt.max_segments`"),
        ("model.side_=2", "`model.side`"),
    ] {
        let said = place.fail(&format!("check --set {path}"));
        assert!(said.contains("error[unknown-path]") && said.contains(meant), "{path}: {said}");
    }
}

#[test]
fn the_summary_of_a_check_points_to_the_page_of_an_error() {
    let place = Workplace::new(HRMC);
    place.write("broken.hrm", BROKEN);
    let said = place.run("check broken.hrm");
    assert!(said.err.ends_with("`hrmc help missing-statement` says more\n"), "{}", said.err);
}
