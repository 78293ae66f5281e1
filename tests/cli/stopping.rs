//! Ends before the end: signals that are really sent, and the limit of time.

use std::fs;
use std::path::Path;

use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

/// Options of a training that does not end by itself.
const ENDLESS: [&str; 4] = ["--set", "train.steps=100_000_000", "--eval-limit", "0"];

fn tiny() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

fn endless<'a>(begin: &[&'a str]) -> Vec<&'a str> {
    [begin, &ENDLESS].concat()
}

#[test]
fn a_signal_saves_says_how_to_go_on_and_has_its_exit_code() {
    for (signal, code, cause, again) in [
        ("INT", 130, "Ctrl-C", "Ctrl-C again ends now without saving"),
        ("TERM", 143, "SIGTERM", "a second signal ends now without saving"),
        ("HUP", 129, "SIGHUP", "a second signal ends now without saving"),
    ] {
        let place = tiny();
        let mut running = place.start(&endless(&["run", "tiny.hrm", "--train"]));
        running.wait_for_metrics();
        running.signal(signal);
        let said = running.end();
        assert_eq!(said.code, Some(code), "{}", said.err);
        assert_eq!(said.out, "continue with `hrmc run --train --resume runs/tiny-001 --eval-limit 0`\n");
        let answer = format!("stopping after this step, to save; {again} (");
        assert_eq!(said.err.matches(&answer).count(), 1, "{}", said.err);
        assert!(
            said.err.contains(&format!(" ({cause}); everything is saved in `runs/tiny-001`")),
            "{}",
            said.err
        );
        let state = fs::read_to_string(place.path("runs/tiny-001/last/state.json")).expect("it was saved");
        let step = json(&state)["trainer"]["step"].as_u64().expect("it is a number");
        let more = step + 2;
        place.succeed(&format!("run --train --resume runs/tiny-001 --steps {more} --eval-limit 0"));
    }
}

#[test]
fn results_for_scripts_say_what_stopped_a_training() {
    let place = tiny();
    let mut running = place.start(&endless(&["run", "tiny.hrm", "--train", "--json"]));
    running.wait_for_metrics();
    running.signal("TERM");
    let said = running.end();
    assert_eq!(said.code, Some(143), "{}", said.err);
    let result = json(&said.out);
    assert_eq!((&result["interrupted"], &result["stopped_by"]), (&true.into(), &"SIGTERM".into()));
    let whole = json(&place.succeed("run tiny.hrm --train --steps 2 --json"));
    assert_eq!((&whole["interrupted"], &whole["stopped_by"]), (&false.into(), &serde_json::Value::Null));
}

#[test]
fn a_signal_is_answered_within_a_step_and_a_second_one_ends_at_once() {
    let place = tiny();
    // A step of half a minute: this test never waits for its end.
    place.write("slow.hrm", &TINY.replace("batch      = 4", "batch      = 16_384"));
    let mut running = place.start(&["run", "slow.hrm", "--train", "--threads", "1"]);
    running.wait_for_words("run folder `runs/tiny-001`");
    running.signal("INT");
    running.wait_for_words("stopping after this step, to save");
    std::thread::sleep(std::time::Duration::from_millis(200));
    running.signal("TERM");
    let said = running.end();
    assert_eq!(said.code, Some(143), "the second signal decides: {}", said.err);
    let answer =
        "stopping after this step, to save; Ctrl-C again ends now without saving (nothing is saved yet)\n";
    assert!(said.err.ends_with(answer), "{}", said.err);
    assert!(!place.path("runs/tiny-001/last").exists(), "the step was not waited for");
}

#[test]
fn a_signal_before_the_first_step_ends_at_once_and_leaves_nothing() {
    let place = tiny();
    place.write("much.hrm", &TINY.replace("train = 40", "train = 16_000_000"));
    let mut running = place.start(&["run", "much.hrm", "--train"]);
    // Puzzles are generated for a long time, which nothing tells.
    running.wait_until("it hears signals", |running| hears_signals(running.id()));
    running.signal("INT");
    let said = running.end();
    assert_eq!(said.code, Some(130), "{}", said.err);
    assert_eq!(said.err, "stopped before the end; there is no result\n");
    assert!(!place.path("runs").exists());
}

/// Returns whether a process has a thread that waits for signals.
fn hears_signals(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .any(|name| name.trim() == "signals")
}

#[test]
fn an_evaluation_is_left_between_segments_without_a_result() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 1");
    // One batch that never ends.
    let arguments =
        ["eval", "runs/tiny-001", "--json", "--batch", "9", "--set", "model.infer.segments=1_000_000"];
    let mut running = place.start(&arguments);
    running.wait_until("it hears signals", |running| hears_signals(running.id()));
    // What it reads first is read in no time.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal("TERM");
    let said = running.end();
    assert_eq!(said.code, Some(143), "{}", said.err);
    let result = json(&said.out);
    assert_eq!((&result["metrics"], &result["examples"]), (&serde_json::Value::Null, &0.into()));
    assert_eq!(result["stopped_by"], "SIGTERM");
    let answer = "stopping before the next segment; there will be no result; a second signal ends now\n";
    assert!(said.err.starts_with(answer), "{}", said.err);
    assert!(said.err.contains("stopped after 0 examples; there is no result"), "{}", said.err);
}

#[test]
fn what_nohup_starts_outlives_its_terminal() {
    let place = tiny();
    let command =
        format!("trap '' HUP; exec '{HRMC}' {}", endless(&["run", "tiny.hrm", "--train"]).join(" "));
    let mut running = place.start_program(Path::new("sh"), &["-c", &command]);
    running.wait_for_metrics();
    running.signal("HUP");
    running.signal("TERM");
    let said = running.end();
    assert_eq!(said.code, Some(143), "{}", said.err);
    assert_eq!(said.err.matches("stopping").count(), 1, "{}", said.err);
}

#[test]
fn what_has_nothing_to_save_ends_at_once_with_the_code_of_the_signal() {
    let place = tiny();
    for arguments in [
        &["bench", "tiny.hrm", "--repeat", "100_000_000", "--threads", "1"][..],
        &["data", "sudoku", "--generate", "--train", "16_000_000", "-o", "data/much"],
    ] {
        let mut running = place.start(arguments);
        running.wait_until("it hears signals", |running| hears_signals(running.id()));
        running.signal("HUP");
        let said = running.end();
        assert_eq!(said.code, Some(129), "{arguments:?}: {}", said.err);
        assert_eq!(said.err, "stopped before the end; there is no result\n", "{arguments:?}");
    }
    assert!(!place.path("data").exists(), "nothing was written");
}

#[test]
fn the_limit_of_time_saves_and_has_an_exit_code_of_its_own() {
    let place = tiny();
    let limited = [&endless(&["run", "tiny.hrm", "--train"])[..], &["--max-time", "1s"]].concat();
    let said = place.start(&limited).end();
    assert_eq!(said.code, Some(124), "{}", said.err);
    assert!(said.err.contains("(`--max-time 1s`); everything is saved in `runs/tiny-001`"), "{}", said.err);
    assert_eq!(
        said.out,
        "continue with `hrmc run --train --resume runs/tiny-001 --eval-limit 0 --max-time 1s`\n"
    );
    assert!(place.path("runs/tiny-001/last/state.json").is_file());
    // Time enough stops nothing.
    let whole = json(&place.succeed("run tiny.hrm --train --steps 2 --max-time 2d --json"));
    assert_eq!(whole["stopped_by"], serde_json::Value::Null);
    let said = place.run("run tiny.hrm --train --max-time 90");
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("expected a time such as 90s, 30m, 11h, 1h30m or 2d"), "{}", said.err);
}

#[test]
fn a_stopped_sweep_prints_a_table_of_what_there_is() {
    let place = tiny();
    let said = place.interrupt(&endless(&["sweep", "tiny.hrm", "--set", "train.seed=0..2", "--json"]));
    assert_eq!(said.code, Some(130), "{}", said.err);
    let rows = json(&said.out);
    let rows = rows.as_array().expect("it is a list");
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("status"), ["interrupted", "left out", "left out"]);
    assert_eq!(column("stopped_by"), ["SIGINT", "SIGINT", "SIGINT"]);
    assert!(place.path("runs/tiny-001/last/state.json").is_file(), "what was trained is saved");
    assert!(said.err.contains("stopped; 2 combinations left out"), "{}", said.err);
}

#[test]
fn exit_codes_are_in_the_help() {
    let place = Workplace::new(HRMC);
    for command in ["--help", "run --help", "sweep --help", "eval --help"] {
        let help = place.succeed(command);
        for code in ["129", "130", "143"] {
            assert!(help.contains(code), "`hrmc {command}` does not say {code}");
        }
        assert!(help.contains("124") || command.starts_with("eval"), "`hrmc {command}` does not say 124");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_for_scripts_name_folders_that_are_not_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = tiny();
    let raw = OsStr::from_bytes(b"raw\xff");
    let run = |arguments: &str, path: &OsStr, more: &str| {
        let mut command = place.command(arguments);
        let output = command.arg(path).args(more.split_whitespace()).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        json(&String::from_utf8(output.stdout).expect("a result is UTF-8"))
    };
    let trained = run("run tiny.hrm --train --steps 1 --json --runs", raw, "");
    assert_eq!(trained["run"], "raw\u{fffd}/tiny-001");
    let folder = Path::new(raw).join("tiny-001");
    assert_eq!(run("eval --json", folder.as_os_str(), "")["run"], "raw\u{fffd}/tiny-001");
    let swept = run("sweep tiny.hrm --set train.seed=8 --steps 1 --json --runs", raw, "");
    assert_eq!(swept[0]["run"], "raw\u{fffd}/tiny-002");
    let spec = place.path(raw).join("a.hrm");
    fs::copy(place.path("tiny.hrm"), &spec).expect("it can be copied");
    assert_eq!(
        run("diff --json tiny.hrm", Path::new(raw).join("a.hrm").as_os_str(), "")["b"],
        "raw\u{fffd}/a.hrm"
    );
    assert_eq!(run("check --json", Path::new(raw).join("a.hrm").as_os_str(), ""), json("[]"));
}
