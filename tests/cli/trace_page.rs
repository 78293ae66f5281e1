//! The page of a trace, in headless Chromium: `tests/browser` opens it and does what a person would.
//!
//! Node, Chromium and the packages that `npm ci` installs in `tests/browser` are needed. Where one is missing, the tests
//! pass and print that they did not run, unless the variable HRMC_BROWSER is `required`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use hrmc_testing::workplace::{TINY, Workplace};
use serde_json::Value;

use crate::HRMC;

/// Exit code of `check.mjs` where there is no browser, or no packages.
const NOT_CHECKED: i32 = 3;

/// Returns a place with a run of the tiny model.
fn trained() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.write("puzzle.txt", "1...\n....\n..2.\n....\n");
    place.succeed("run tiny.hrm --train --steps 4");
    place
}

/// Says that a test did not run, or fails where it has to.
fn did_not_run(reason: &str) {
    let is_required = env::var_os("HRMC_BROWSER").is_some_and(|value| value == "required");
    assert!(!is_required, "pages have to be opened in a browser: {reason}");
    eprintln!("a page was not opened in a browser: {reason}");
}

/// Runs a script of `tests/browser`; `None`, said aloud, where there is no Node.
fn node(script: &str, arguments: &[&str]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script);
    match Command::new("node").arg(script).args(arguments).output() {
        Ok(output) => Some(output),
        Err(reason) => {
            did_not_run(&format!("no `node`: {reason}"));
            None
        }
    }
}

/// Holds a page against its document, and the last frame against an answer.
fn check(page: &Path, answer: Option<&str>) {
    let page = page.to_str().expect("temporary folders have plain names");
    let mut arguments = vec![page];
    if let Some(answer) = answer {
        arguments.extend(["--answer", answer]);
    }
    let Some(output) = node("check.mjs", &arguments) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => {}
        Some(NOT_CHECKED) => did_not_run(said.trim()),
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Checks the page of a made-up trace, with sizes of models that nobody trains in a test.
fn check_made_up(kind: &str) {
    let place = trained();
    place.succeed("run runs/tiny-001 --puzzle puzzle.txt --trace -o real.html");
    let real = place.path("real.html");
    let Some(output) = node("documents.mjs", &[kind, real.to_str().expect("it is text")]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page: PathBuf = place.path("made-up.html");
    fs::write(&page, output.stdout).expect("the folder can be written");
    check(&page, None);
}

#[test]
fn the_last_frame_of_the_page_is_the_answer_of_the_command() {
    let place = trained();
    let solve =
        "run runs/tiny-001 --puzzle puzzle.txt --set model.infer.rollouts=2 --set model.infer.noise=1";
    let answer: Value =
        serde_json::from_str(&place.succeed(&format!("{solve} --json"))).expect("the answer is JSON");
    let tokens: Vec<String> =
        answer["answer"].as_array().expect("it is a list").iter().map(Value::to_string).collect();
    place.succeed(&format!("{solve} --trace -o trace.html"));
    check(&place.path("trace.html"), Some(&tokens.join(",")));
}

#[test]
fn several_puzzles_with_several_rollouts_have_a_page() {
    check_made_up("several");
}

#[test]
fn tokens_of_a_model_without_attention_have_a_page() {
    check_made_up("tokens");
}

#[test]
fn a_large_maze_has_a_page() {
    check_made_up("maze");
}

#[test]
fn a_task_of_arc_has_a_page() {
    check_made_up("arc");
}
