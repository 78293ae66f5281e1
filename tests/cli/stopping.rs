//! Ends before the end: signals that are really sent, the limit of time, and how runs and sweeps go on afterwards; and
//! the list of runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hrmc_testing::workplace::{Running, TINY, Workplace};

use crate::HRMC;

/// Options of a training that does not end by itself.
const ENDLESS: [&str; 4] = ["--set", "train.steps=1_000_000", "--eval-limit", "0"];

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
    // A signal before the first step would end the training at once. What comes before it takes milliseconds.
    let begun = processor_time(running.id());
    running.wait_until("its first step", |running| processor_time(running.id()) > begun + 100);
    running.signal("INT");
    running.wait_for_words("stopping after this step, to save");
    std::thread::sleep(Duration::from_millis(200));
    running.signal("TERM");
    let said = running.end();
    assert_eq!(said.code, Some(143), "the second signal decides: {}", said.err);
    let answer =
        "stopping after this step, to save; Ctrl-C again ends now without saving (no step is saved yet)\n";
    assert!(said.err.ends_with(answer), "{}", said.err);
    let metrics = fs::read(place.path("runs/tiny-001/metrics.jsonl")).expect("it is there");
    assert!(metrics.is_empty(), "the step was not waited for");
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
    assert_eq!(said.err, "stopped before the training began; there is nothing to save\n");
    assert!(!place.path("runs").exists());
}

/// Returns how long a process has computed, in hundredths of a second.
fn processor_time(process: u32) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return 0 };
    // The second field is the name in parentheses; times as a user and in the system are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').expect("the name stands in parentheses");
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|field| field.parse::<u64>().expect("it is a number")).sum()
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
    std::thread::sleep(Duration::from_millis(300));
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
    for command in ["run tiny.hrm --train", "sweep tiny.hrm --set train.seed=0..1"] {
        let negative = place.run(&format!("{command} --max-time -1s"));
        let message = "expected a time such as 90s";
        assert!(negative.code == Some(2) && negative.err.contains(message), "{}", negative.err);
    }
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

#[test]
fn the_same_command_begins_a_training_goes_on_with_it_and_says_when_it_is_finished() {
    let place = tiny();
    let auto = "run tiny.hrm --train --resume auto --threads 1";
    place.succeed("run tiny.hrm --train --threads 1 --runs whole");
    // Runs of other specs, overrides, seeds and data are not gone on with.
    place.succeed("run tiny.hrm --train --steps 1 --set train.batch=2");
    place.succeed("run tiny.hrm --train --steps 1 --seed 8");
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 30 --test 6 -o data/four");
    place.succeed("run tiny.hrm --train --steps 1 --data data/four");
    let said = place.run(&format!("{auto} --steps 5"));
    assert!(said.err.contains("steps 1 to 5 of 20; run folder `runs/tiny-004`"), "{}", said.err);
    let mut running = place.start(&endless(&["run", "tiny.hrm", "--train", "--resume", "auto"]));
    running.wait_until("its run", |_| place.path("runs/tiny-005/run.toml").exists());
    running.signal("TERM");
    assert_eq!(running.end().code, Some(143), "another length is another spec");
    let said = place.run(auto);
    assert!(said.err.contains("continuing with steps 6 to 20; run folder `runs/tiny-004`"), "{}", said.err);
    let weights = |run: &str| fs::read(place.path(format!("{run}/last/weights.safetensors"))).expect("it is");
    assert!(weights("runs/tiny-004") == weights("whole/tiny-001"));
    // A job that is started once more does nothing, and a loop over it ends.
    let said = place.run(auto);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.starts_with("`runs/tiny-004` was finished before: it has done 20 steps\naccuracy: "),
        "{}",
        said.out
    );
    let result = json(&place.succeed(&format!("{auto} --json")));
    let evaluated = json(&place.succeed("eval runs/tiny-004 --checkpoint last --json"));
    assert_eq!((&result["was_finished"], &result["step"]), (&true.into(), &20.into()));
    assert_eq!(result["evaluation"], evaluated["metrics"]);
    assert_eq!(result["run"], "runs/tiny-004");
    assert!(!place.path("runs/tiny-006").exists());
    place.succeed("run --train --resume auto tiny.hrm --steps 25");
    // Without it, another run begins.
    place.succeed("run tiny.hrm --train --steps 1");
    assert!(place.path("runs/tiny-006").exists());
}

#[test]
fn a_run_in_training_is_not_gone_on_with_and_not_removed() {
    let place = tiny();
    let mut running = place.start(&endless(&["run", "tiny.hrm", "--train"]));
    running.wait_for_metrics();
    let holder = format!("is being trained by process {} on `", running.id());
    let message = place.fail(&endless(&["run tiny.hrm --train --resume auto"]).join(" "));
    assert!(
        message.contains("`runs/tiny-001` trains the same and ") && message.contains(&holder),
        "{message}"
    );
    let message = place.fail("runs --remove tiny-001");
    assert!(message.contains(&holder) && message.contains("nothing was removed"), "{message}");
    let listed = json(&place.succeed("runs --json"));
    assert_eq!(listed[0]["state"], "running");
    let named = format!("process {} on `", running.id());
    assert!(listed[0]["trained_by"].as_str().is_some_and(|holder| holder.starts_with(&named)), "{listed}");
    running.signal("INT");
    assert_eq!(running.end().code, Some(130));
    assert_eq!(json(&place.succeed("runs --json"))[0]["state"], "unfinished");
}

#[test]
fn a_run_that_is_named_has_its_spec_and_takes_no_other() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 1");
    for (more, what) in [("tiny.hrm", "a spec"), ("--seed 1", "`--seed`"), ("--set train.batch=2", "`--set`")]
    {
        let said = place.run(&format!("run --train --resume runs/tiny-001 {more}"));
        assert_eq!(said.code, Some(2), "{}", said.err);
        let expected = format!("error: {what} cannot be used with `--resume RUN`");
        assert!(said.err.starts_with(&expected), "{}", said.err);
    }
}

#[test]
fn a_sweep_goes_on_where_it_was_and_measures_over_seeds() {
    let place = tiny();
    let sweep = "sweep tiny.hrm --set train.ema=0.9,0.8 --set train.seed=0..2 --steps 6 --threads 1";
    let whole = place.succeed(&format!("{sweep} --runs whole"));
    let tables: Vec<&str> = whole.split("\n\n").collect();
    assert_eq!((tables.len(), tables[0].lines().count(), tables[1].lines().count()), (2, 7, 9), "{whole}");
    for word in ["train.ema", "seeds", "figure", "mean", "deviation", "95% interval"] {
        assert!(tables[1].lines().next().is_some_and(|head| head.contains(word)), "{whole}");
    }
    // As if it had been stopped in the third of six combinations.
    for (runs, seed, steps) in [("runs", 0, 6), ("runs", 1, 6), ("runs", 2, 3)] {
        place.succeed(&format!(
            "sweep tiny.hrm --set train.ema=0.9 --set train.seed={seed} --steps {steps} --threads 1 --runs {runs}"
        ));
    }
    let said = place.run(&format!("{sweep} --json"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.matches("was finished before; not trained again").count(), 2, "{}", said.err);
    assert!(
        said.err.contains("continuing with steps 4 to 6 of 20; run folder `runs/tiny-003`"),
        "{}",
        said.err
    );
    let rows = json(&said.out);
    let rows = rows.as_array().expect("it is a list");
    assert_eq!(rows.len(), 8, "six combinations, and two rows over seeds");
    for number in 1..=6 {
        let weights = |runs: &str| {
            fs::read(place.path(format!("{runs}/tiny-{number:03}/last/weights.safetensors")))
                .expect("it is there")
        };
        assert!(weights("runs") == weights("whole"), "run {number} differs");
        assert_eq!(rows[number - 1]["run"], format!("runs/tiny-{number:03}"));
    }
    let loss = |row: usize| rows[row]["loss"].as_f64().expect("it is a number");
    let mean = (loss(0) + loss(1) + loss(2)) / 3.0;
    let over = &rows[6];
    assert_eq!((&over["status"], &over["seeds"]), (&"over seeds".into(), &3.into()));
    assert_eq!(over["values"], json(r#"{"train.ema": "0.9"}"#));
    let of = |value: &serde_json::Value| value.as_f64().expect("it is a number");
    assert!((of(&over["loss"]["mean"]) - mean).abs() < 1e-12);
    // Of three values, Student's t is 4.3027.
    let reach = 4.302_652_7 * of(&over["loss"]["deviation"]) / 3f64.sqrt();
    assert!((of(&over["loss"]["interval"][1]) - mean - reach).abs() < 1e-6);
    assert!(!place.path("runs/tiny-007").exists());
    place.succeed("sweep tiny.hrm --set train.ema=0.9 --set train.seed=0 --steps 6 --new-runs");
    assert!(place.path("runs/tiny-007").exists(), "a new run was asked for");
}

#[test]
fn runs_are_listed_as_they_are() {
    let place = tiny();
    assert_eq!(place.run("runs").err, "there are no runs in `runs`\n");
    assert_eq!(place.succeed("runs --json"), "[]\n");
    place.succeed("run tiny.hrm --train");
    place.succeed("run tiny.hrm --train --steps 3");
    place.succeed("run tiny.hrm --train --steps 1");
    place.succeed("run tiny.hrm --train --steps 1");
    fs::rename(place.path("runs/tiny-001"), place.path("runs/tiny-9")).expect("it is there");
    fs::create_dir(place.path("runs/tiny-010")).expect("it can be made");
    place.write("runs/tiny-003/run.toml", "format = 1\n");
    place.write("runs/tiny-004/last/state.json", "{");
    let text = place.succeed("runs");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines[1][..4], ["tiny", "3", "20", "unfinished"]);
    assert_eq!(lines[2][..4], ["-", "1", "-", "damaged"]);
    assert_eq!(lines[3][..4], ["tiny", "-", "20", "damaged"]);
    assert_eq!(lines[4][..4], ["tiny", "20", "20", "finished"]);
    assert!(
        text.contains("`runs/tiny-003/run.toml` is damaged") && text.contains("state.json` is damaged"),
        "{text}"
    );
    let listed = json(&place.succeed("runs --json"));
    assert_eq!(listed[3]["run"], "runs/tiny-9");
    let size =
        |run: &Path| -> u64 { crate::run::content(run).values().map(|bytes| bytes.len() as u64).sum() };
    assert_eq!(listed[3]["bytes"], size(&place.path("runs/tiny-9")));
    let last = json(&place.succeed("run tiny.hrm --train --runs other --json"));
    assert_eq!(listed[3]["best_exact_accuracy"], last["best_exact_accuracy"]);
    // The newest run is that with the highest number, under the name that it has.
    place.write("hrmc.toml", "spec = \"tiny.hrm\"\n");
    place.write("puzzle.txt", "1 2 . .\n3 4 . .\n. . 4 3\n. . 2 1\n");
    place.succeed("run --puzzle puzzle.txt");
    place.succeed("run tiny.hrm --train --steps 1");
    assert!(place.path("runs/tiny-011").exists(), "the number of a folder that is no run is taken");
}

#[test]
fn runs_are_removed_by_name_or_by_age() {
    let place = tiny();
    for _ in 0..3 {
        place.succeed("run tiny.hrm --train --set train.steps=1");
    }
    place.succeed("run tiny.hrm --train --steps 1");
    place.succeed("run tiny.hrm --train --set train.steps=1");
    fs::rename(place.path("runs/tiny-001"), place.path("runs/mine")).expect("it is there");
    let left = || -> Vec<String> {
        let listed = json(&place.succeed("runs --json"));
        let runs = listed.as_array().expect("it is a list").iter();
        runs.map(|run| run["run"].as_str().expect("it is text").replace("runs/", "")).collect()
    };
    let all = ["mine", "tiny-002", "tiny-003", "tiny-004", "tiny-005"];
    let dry = place.succeed("runs --keep 1 --dry-run");
    assert!(dry.starts_with("would remove `runs/tiny-002` (finished), "), "{dry}");
    assert!(dry.contains("would remove `runs/tiny-003`") && dry.contains("would remove 2 runs, "), "{dry}");
    assert_eq!(left(), all);
    // If one of several cannot be removed, none is.
    for (name, part) in [
        ("tiny-9", "`runs/tiny-9` is not the folder of a run"),
        ("..", "`..` is not the name of a run in `runs`"),
        ("tiny-002/last", "is not the name of a run"),
        ("/", "is not the name of a run"),
    ] {
        let message = place.fail(&format!("runs --remove tiny-002 {name}"));
        assert!(message.contains(part), "{message}");
        assert_eq!(left(), all);
    }
    let removed = json(&place.succeed("runs --json --keep 1"));
    assert_eq!(removed["removed"].as_array().map(Vec::len), Some(2), "{removed}");
    assert!(removed["bytes"].as_u64() > Some(10_000), "{removed}");
    assert_eq!(left(), ["mine", "tiny-004", "tiny-005"], "what is unfinished or renamed stays");
    let said = place.succeed("runs --remove runs/tiny-004 mine");
    assert!(
        said.contains("removed `runs/tiny-004` (unfinished), ") && said.contains("removed 2 runs, "),
        "{said}"
    );
    assert_eq!(left(), ["tiny-005"]);
    assert!(!place.path("runs/mine").exists());
}

#[test]
fn the_time_is_over_while_puzzles_are_made() {
    let place = tiny();
    let many = "--set train.data.size=9 --set train.data.givens=20 --set train.data.train=100_000";
    let sizes = "--set model.tokens.vocab=11 --set model.tokens.positions=81";
    let said = place.run(&format!("run tiny.hrm --train --max-time 1s {sizes} {many}"));
    assert_eq!(said.code, Some(124), "{}", said.err);
    assert!(!place.path("runs").exists(), "nothing was begun");
}

/// A spec that is the worse the longer it trains: its decay multiplies the weights by minus two in each step.
fn worsening() -> Workplace {
    let place = Workplace::new(HRMC);
    let [rate, average, evaluations] = [
        (
            "adam_atan2(lr = 1e-3, betas = (0.9, 0.95), weight_decay = 0.1)",
            "adam_atan2(lr = 1, weight_decay = 3)",
        ),
        ("  ema        = 0.9\n", ""),
        ("eval_every = 8 steps", "eval_every = 2 steps\n  patience   = 2"),
    ];
    let schedule = ("cosine(warmup_steps = 3, min_ratio = 0.1)", "constant");
    let text = [rate, average, evaluations, schedule].iter().fold(TINY.to_string(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    place.write("tiny.hrm", &text);
    place
}

#[test]
fn a_run_that_patience_has_ended_is_finished() {
    let place = worsening();
    let said = place.run("run tiny.hrm --train");
    assert_eq!(said.code, Some(0), "{}", said.err);
    let end =
        "stopped after step 6: 2 evaluations in a row found nothing better than after step 2 (`patience`)";
    assert!(said.err.contains(end), "{}", said.err);
    assert!(
        said.out.contains("trained to step 6 in ") && !said.out.contains("continue with"),
        "{}",
        said.out
    );
    let listed = json(&place.succeed("runs --json"));
    assert_eq!((&listed[0]["state"], &listed[0]["step"]), (&"finished".into(), &6.into()));
    for steps in ["", " --steps 10"] {
        let message = place.fail(&format!("run --train --resume runs/tiny-001{steps}"));
        assert!(
            message.contains("`runs/tiny-001` is finished: its training ended after 6 steps"),
            "{message}"
        );
    }
    let said = place.run("run tiny.hrm --train --resume auto");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.starts_with(&format!("`runs/tiny-001` was finished before: {end}\n")), "{}", said.out);
    let result = json(&place.succeed("run tiny.hrm --train --resume auto --json"));
    assert_eq!((&result["was_finished"], &result["out_of_patience"]), (&true.into(), &true.into()));
    assert_eq!((&result["step"], &result["best_step"]), (&6.into(), &2.into()));
    // A sweep takes it for what it wanted, if it wanted as many steps or more.
    let swept = json(&place.succeed("sweep tiny.hrm --set train.seed=5 --json"));
    assert_eq!((&swept[0]["was_finished"], &swept[0]["out_of_patience"]), (&false.into(), &true.into()));
    for (steps, was_finished) in [("", true), (" --steps 10", true), (" --steps 4", false)] {
        let swept = json(&place.succeed(&format!("sweep tiny.hrm --set train.seed=5 --json{steps}")));
        assert_eq!(swept[0]["was_finished"], was_finished, "{steps}");
    }
    assert!(!place.path("runs/tiny-004").exists());
    let result = json(&place.succeed("run tiny.hrm --train --set train.patience=none --json"));
    assert_eq!((&result["step"], &result["out_of_patience"]), (&20.into(), &false.into()));
}

#[test]
fn a_sweep_knows_how_many_rows_its_evaluations_take() {
    let place = tiny();
    place.write(
        "tiny.hrm",
        &TINY.replace("eval_every = 8 steps", "eval_every = 8 steps\n  eval_share = 1e-6"),
    );
    for (steps, examples) in [("", 9), (" --steps 8", 4), (" --steps 8 --eval-limit 2", 2)] {
        let sweep = format!("sweep tiny.hrm --set train.seed=5 --json{steps}");
        let said = place.run(&sweep);
        let line = "evaluating 4 of 9 test examples every 8 steps (`eval_share`), and all after step 20";
        assert_eq!(said.err.contains(line), examples != 2, "{}", said.err);
        let swept = json(&said.out);
        assert_eq!(swept[0]["was_finished"], false, "{said}", said = said.err);
        let run = swept[0]["run"].as_str().expect("it is text");
        let metrics = fs::read_to_string(place.path(format!("{run}/metrics.jsonl"))).expect("it is there");
        let last = metrics.lines().rfind(|line| line.contains("evaluation")).expect("there was one");
        assert_eq!(json(last)["examples"], examples);
        let again = json(&place.succeed(&sweep));
        assert_eq!((&again[0]["was_finished"], &again[0]["run"]), (&true.into(), &run.into()));
    }
}

#[test]
fn a_training_that_evaluated_a_sample_says_how_to_evaluate_all() {
    let place = tiny();
    let train = "run tiny.hrm --train --set train.eval_share=1e-6";
    for (steps, says) in [(" --steps 8", true), (" --steps 8 --eval-limit 4", false), ("", false)] {
        let said = place.succeed(&format!("{train}{steps}"));
        assert_eq!(said.contains("evaluate all held-out puzzles with `hrmc eval runs/tiny-"), says, "{said}");
    }
}

#[test]
fn of_jobs_that_begin_together_one_trains() {
    let place = tiny();
    let job = endless(&["run", "tiny.hrm", "--train", "--resume", "auto"]);
    let mut jobs = [place.start(&job), place.start(&job), place.start(&job)];
    let refused = |jobs: &[Running<'_>]| {
        let message = "`runs/tiny-001` trains the same and is being trained by";
        jobs.iter().filter(|job| job.err().contains(message)).count()
    };
    let begun = Instant::now();
    while refused(&jobs) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", jobs.map(|job| job.err()));
        std::thread::sleep(Duration::from_millis(20));
    }
    jobs.iter_mut().for_each(|job| job.signal("INT"));
    let mut codes = jobs.map(|job| job.end().code);
    codes.sort();
    assert_eq!(codes, [Some(1), Some(1), Some(130)]);
    assert!(place.path("runs/tiny-001").exists() && !place.path("runs/tiny-002").exists());
}

#[test]
fn a_folder_of_the_name_auto_is_a_run_to_continue() {
    let message = tiny().fail("run --train --resume auto/");
    assert!(message.contains("`auto/`"), "{message}");
}

#[test]
fn a_run_whose_weights_are_gone_is_listed_as_damaged() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 4");
    fs::remove_file(place.path("runs/tiny-001/last/weights.safetensors")).expect("it can be removed");
    let listed = json(&place.succeed("runs --json"));
    assert_eq!(listed[0]["state"], "damaged");
    let damage = listed[0]["damage"].as_str().expect("it says why");
    assert!(damage.contains("last/weights.safetensors"), "{damage}");
}

#[test]
fn the_best_checkpoint_does_not_stand_in_for_the_last_one() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 4");
    for name in ["last", "previous"] {
        fs::remove_dir_all(place.path(format!("runs/tiny-001/{name}"))).expect("it can be removed");
    }
    let listed = json(&place.succeed("runs --json"));
    assert_eq!((&listed[0]["step"], &listed[0]["state"]), (&4.into(), &"unfinished".into()));
    let message = place.fail("eval runs/tiny-001 --checkpoint last");
    assert!(message.contains("there is no checkpoint in `runs/tiny-001/last`"), "{message}");
    place.succeed("eval runs/tiny-001");
}

#[cfg(unix)]
#[test]
fn a_run_behind_a_link_stays_where_it_is() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 4 --runs kept");
    fs::create_dir(place.path("runs")).expect("the folder can be made");
    std::os::unix::fs::symlink(place.path("kept/tiny-001"), place.path("runs/tiny-001"))
        .expect("the link can be made");
    let message = place.fail("runs --remove tiny-001");
    assert!(message.contains("`runs/tiny-001` is a link to the folder of a run"), "{message}");
    place.succeed("runs --keep 0");
    assert!(place.path("runs/tiny-001").is_symlink());
    assert!(place.path("kept/tiny-001/last/weights.safetensors").exists());
}
