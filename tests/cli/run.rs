//! Training, resuming, evaluating and solving from the command line, and their errors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hrmc_testing::workplace::{Said, TINY, Workplace, shipped};

use crate::HRMC;

fn tiny() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place
}

/// Returns the content of every file below a folder, by its path in it.
pub fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let inner = path.strip_prefix(folder).expect("it lies in the folder").to_path_buf();
                found.insert(inner, fs::read(&path).expect("the file can be read"));
            }
        }
    }
    found
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn training_leaves_a_run_and_draws_held_out_puzzles() {
    let place = tiny();
    let said = place.run("run tiny.hrm --train");
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in
        ["held-out puzzle 3", "trained to step 20", "run folder: runs/tiny-001", "on 9 held-out puzzles"]
    {
        assert!(said.out.contains(part), "`{part}` is missing in:\n{}", said.out);
    }
    for part in ["training 20/20", "step 8: ", "step 16: ", "step 20: "] {
        assert!(said.err.contains(part), "`{part}` is missing in:\n{}", said.err);
    }
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "nobody watches");
    let files = content(&place.path("runs/tiny-001"));
    for name in ["run.toml", "metrics.jsonl", "last/weights.safetensors", "best/average.safetensors"] {
        assert!(files.contains_key(Path::new(name)), "`{name}` is missing");
    }
    let metrics = String::from_utf8(files[Path::new("metrics.jsonl")].clone()).expect("it is text");
    let lines: Vec<serde_json::Value> = metrics.lines().map(json).collect();
    assert_eq!(lines.iter().filter(|line| line["kind"] == "train").count(), 20);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "evaluation").count(), 3);
}

#[test]
fn a_run_that_goes_on_ends_with_the_same_bytes() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 12 --runs whole --threads 1");
    let stopped = place.succeed("run tiny.hrm --train --steps 5 --runs parts --threads 2");
    assert!(
        stopped.contains("continue with `hrmc run --train --resume parts/tiny-001 --threads 2`"),
        "{stopped}"
    );
    place.succeed("run --train --resume parts/tiny-001 --steps 12 --threads 2");
    let (whole, parts) = (content(&place.path("whole/tiny-001")), content(&place.path("parts/tiny-001")));
    for name in [
        "run.toml",
        "last/weights.safetensors",
        "last/average.safetensors",
        "last/state.safetensors",
        "last/state.json",
    ] {
        assert_eq!(whole[Path::new(name)], parts[Path::new(name)], "{name}");
    }
}

#[test]
fn a_run_that_is_done_says_how_to_get_more() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 5");
    let message = place.fail("run --train --resume runs/tiny-001 --steps 5");
    assert!(message.contains("has done 5 steps already"), "{message}");
}

#[test]
fn the_seed_decides_everything() {
    let place = tiny();
    for (runs, seed) in [("a", 7), ("b", 7), ("c", 8)] {
        place.succeed(&format!("run tiny.hrm --train --steps 3 --seed {seed} --runs {runs}"));
    }
    let [a, b, c] = ["a", "b", "c"].map(|runs| {
        let mut files = content(&place.path(format!("{runs}/tiny-001")));
        files.remove(Path::new("times.jsonl")).expect("times are written");
        files
    });
    assert_eq!(a, b);
    let weights = Path::new("last/weights.safetensors");
    assert_ne!(a[weights], c[weights]);
}

#[test]
fn results_can_be_had_as_json() {
    let place = tiny();
    let trained = json(&place.succeed("run tiny.hrm --train --steps 4 --json"));
    assert_eq!((trained["step"].as_u64(), trained["total_steps"].as_u64()), (Some(4), Some(20)));
    assert_eq!(trained["interrupted"], false);
    let evaluated = json(&place.succeed("eval runs/tiny-001 --json"));
    assert_eq!(evaluated["examples"], 9);
    assert_eq!(evaluated["metrics"], trained["evaluation"], "the best checkpoint is the one just evaluated");
    let limited = json(&place.succeed("eval runs/tiny-001 --json --limit 5 --checkpoint last"));
    assert_eq!(limited["examples"], 5);
}

#[test]
fn a_typed_puzzle_is_solved_and_drawn() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 4");
    let puzzle = "1 2 . .\n3 4 . .\n. . 4 3\n. . 2 1\n";
    let said = place.command("run runs/tiny-001 --puzzle -").write_stdin(puzzle).output();
    let said = Said::of(said.expect("the binary runs"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in ["| 1 2 | . . |", "segment 3: ", "obeys the rules", "breaks the rules", "of 3"] {
        // An answer obeys the rules or it does not.
        assert!(said.out.contains(part) || part.ends_with("rules"), "`{part}` is missing in:\n{}", said.out);
    }
    place.write("puzzle.txt", puzzle);
    let solved = json(&place.succeed("run --puzzle puzzle.txt runs/tiny-001 --json"));
    assert_eq!(solved["question"].as_array().map(Vec::len), Some(16));
    assert_eq!(solved["answer"].as_array().map(Vec::len), Some(16));
    assert_eq!(solved["segments"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_spec_says_how_answers_are_sought() {
    let place = tiny();
    place.write("puzzle.txt", "1 2 . .\n3 4 . .\n. . 4 3\n. . 2 1\n");
    let segments = |infer: &str, runs: &str| {
        place.succeed(&format!("run tiny.hrm --train --steps 2 --runs {runs} {infer}"));
        let evaluated = json(&place.succeed(&format!("eval {runs}/tiny-001 --json")));
        let solved = json(&place.succeed(&format!("run {runs}/tiny-001 --puzzle puzzle.txt --json")));
        let solved_segments = solved["segments"].as_array().expect("it is a list").len();
        (evaluated["metrics"]["mean_segments"].as_f64().expect("rows were evaluated"), solved_segments)
    };
    assert_eq!(segments("", "plain"), (3.0, 3));
    assert_eq!(segments("--set model.infer.segments=5", "more"), (5.0, 5));
    let rolled = "--set model.infer.rollouts=2 --set model.infer.noise=0.5";
    assert_eq!(segments(rolled, "rolled"), (3.0, 3));
    let said = place.succeed("run rolled/tiny-001 --puzzle puzzle.txt");
    assert!(said.contains(" of 2 is the best: it has the highest confidence"), "{said}");
    // Two steps of training do not overcome this bias, so every row of a `bce` model stops at once.
    let sure = TINY.replace("halt q_learning", "halt bce").replace("bias = -5", "bias = 9");
    place.write("tiny.hrm", &sure);
    assert_eq!(segments("--set model.infer.halt=true", "sure"), (1.0, 1));
    assert_eq!(segments("--set model.infer.halt=false", "patient"), (3.0, 3));
}

#[test]
fn a_finished_run_seeks_answers_in_another_way() {
    let place = tiny();
    place.write("puzzle.txt", "1 2 . .\n3 4 . .\n. . 4 3\n. . 2 1\n");
    place.succeed("run tiny.hrm --train --steps 2");
    let evaluated =
        |sets: &str| json(&place.succeed(&format!("eval runs/tiny-001 --json {sets}")))["metrics"].clone();
    let plain = evaluated("");
    assert_eq!(evaluated("--set model.infer.segments=3"), plain);
    assert_eq!(evaluated("--set model.infer.segments=5")["mean_segments"], 5.0);
    let rolled = evaluated("--set model.infer.rollouts=4 --set model.infer.noise=2");
    assert_ne!(rolled["token_loss"], plain["token_loss"], "another rollout counts for some row");
    let solved = "run runs/tiny-001 --puzzle puzzle.txt --json --set model.infer.segments=7";
    assert_eq!(json(&place.succeed(solved))["segments"].as_array().map(Vec::len), Some(7));
    assert_eq!(evaluated(""), plain, "the run itself stays as it is");
    // What is trained cannot change any more.
    for (path, value) in
        [("train.batch", "2"), ("model.halt.max_segments", "9"), ("model.infernal.segments", "2")]
    {
        for command in ["eval runs/tiny-001", "run runs/tiny-001 --puzzle puzzle.txt"] {
            let message = place.fail(&format!("{command} --set {path}={value}"));
            assert!(message.contains(&format!("`{path}` is fixed by the run `runs/tiny-001`")), "{message}");
        }
    }
    let message = place.fail("eval runs/tiny-001 --set model.infer.segment=2");
    assert!(
        message.contains("error[unknown-path]") && message.contains("`model.infer.segments`"),
        "{message}"
    );
    assert!(place.fail("eval runs/tiny-001 --set model.infer.noise=1").contains("error[conflicting-keys]"));
    let said = place.run("eval runs/tiny-001 --set model.infer.segments=1 --set model.infer.halt=true");
    assert!(said.code == Some(0) && said.err.contains("warning[without-effect]"), "{}", said.err);
    assert_eq!(said.err.matches("warning").count(), 1, "{}", said.err);
}

#[test]
fn a_residual_model_stops_early_and_chooses_among_rollouts() {
    let place = tiny();
    let settled =
        TINY.replace("  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }\n", "").replace(
            "halt q_learning { max_segments = 3, explore = 0.5 }",
            "halt residual { eps = 1e3, max_segments = 3 }",
        );
    place.write("tiny.hrm", &settled);
    place.write("puzzle.txt", "1 2 . .\n3 4 . .\n. . 4 3\n. . 2 1\n");
    let trained = json(&place.succeed("run tiny.hrm --train --steps 2 --json"));
    assert_eq!(trained["evaluation"]["mean_segments"], 2.0);
    let evaluated =
        |sets: &str| json(&place.succeed(&format!("eval runs/tiny-001 --json {sets}")))["metrics"].clone();
    assert_eq!(evaluated("--set model.infer.segments=9")["mean_segments"], 2.0);
    assert_eq!(evaluated("--set model.infer.halt=false")["mean_segments"], 3.0);
    let rolled = "--set model.infer.rollouts=3 --set model.infer.noise=1";
    assert_ne!(evaluated(rolled)["token_loss"], evaluated("")["token_loss"]);
    let said = place.succeed(&format!("run runs/tiny-001 --puzzle puzzle.txt {rolled}"));
    assert!(said.contains(" of 3 is the best: its state has settled most"), "{said}");
}

#[test]
fn the_newest_run_solves_where_none_is_named() {
    let place = tiny();
    place.write("hrmc.toml", "spec = \"tiny.hrm\"\nruns = \"mine\"\nthreads = 1\n");
    place.write("puzzle.txt", "1 2 . .\n3 4 . .\n. . 4 3\n. . 2 1\n");
    let message = place.fail("run --puzzle puzzle.txt");
    assert!(message.contains("there is no run of `tiny` in `mine`"), "{message}");
    place.succeed("run --train --steps 1");
    place.succeed("run --train --steps 1");
    assert!(place.path("mine/tiny-002/run.toml").is_file());
    place.succeed("run --puzzle puzzle.txt");
}

#[test]
fn a_wrong_puzzle_is_reported_with_row_and_column() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 1");
    place.write("wrong.txt", "12..\n3y..\n..43\n..21\n");
    assert_eq!(
        place.fail("run runs/tiny-001 --puzzle wrong.txt"),
        "error: `wrong.txt` is not a 4x4 sudoku: row 2, column 2 has `y`; expected 1 to 4, or `.` for a blank \
         cell\n"
    );
    assert!(place.fail("run runs/tiny-001 --puzzle absent.txt").contains("cannot read `absent.txt`"));
    assert!(place.fail("run tiny.hrm --puzzle wrong.txt").contains("`tiny.hrm` is a file"));
    assert!(place.fail("run absent --puzzle wrong.txt").contains("there is no run `absent`"));
}

#[test]
fn a_missing_dataset_names_the_command_that_builds_it() {
    let place = Workplace::new(HRMC);
    let message = place.fail(&format!("run {} --train", shipped("sudoku-small.hrm")));
    assert!(message.contains("there is no dataset `data/sudoku`, nor `"), "{message}");
    assert!(message.contains("`hrmc data sudoku --from CSVDIR -o data/sudoku`"), "{message}");
    let message = place.fail(&format!("run {} --train", shipped("maze.hrm")));
    assert!(message.contains("`hrmc data maze --from CSVDIR -o data/maze-30x30-hard-1k`"), "{message}");
}

#[test]
fn data_that_does_not_fit_is_refused_with_both_sizes() {
    let place = tiny();
    place.succeed("data maze --generate --size 5 --train 4 --test 2 -o mazes");
    let message = place.fail("run tiny.hrm --train --data mazes");
    assert!(message.contains("have positions = 25, the model has positions = 16"), "{message}");
    place.write(
        "other.hrm",
        &TINY.replace("sudoku(size = 4, givens = 8, train = 40, test = 9, augment = true)", "\"mazes\""),
    );
    let message = place.fail("run other.hrm --train");
    assert!(message.contains("error[data-mismatch]"), "{message}");
    assert!(message.contains("positions = 25"), "{message}");
    place.succeed("run tiny.hrm --train --steps 1");
    assert!(place.fail("eval runs/tiny-001 --data mazes").contains("have positions = 25"));
    assert!(place.fail("eval runs/tiny-001 --data absent").contains("there is no dataset `absent`"));
}

#[test]
fn a_dataset_folder_is_trained_on_and_evaluated() {
    let place = tiny();
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 30 --test 6 --augment 2 -o data/four");
    place.succeed("run tiny.hrm --train --steps 3 --data data/four");
    assert_eq!(json(&place.succeed("eval runs/tiny-001 --json"))["examples"], 6);
    place.succeed("run --train --resume runs/tiny-001 --steps 5");
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 30 --test 6 --seed 1 -o data/other");
    let message = place.fail("run --train --resume runs/tiny-001 --steps 9 --data data/other");
    assert!(message.contains("it was trained on other data"), "{message}");
}

#[test]
fn data_in_place_of_generated_puzzles_decides_the_sizes() {
    let place = tiny();
    place.succeed("data sudoku --generate --size 6 --train 30 --test 6 -o data/six");
    let sized = "--set model.tokens.positions=36 --set model.tokens.vocab=8";
    let refused = place.run(&format!("run tiny.hrm --train {sized}"));
    assert!(refused.code == Some(1) && refused.err.contains("Sudoku puzzles of side 4"), "{}", refused.err);
    place.succeed(&format!("run tiny.hrm --train --steps 2 --data data/six {sized}"));
}

#[test]
fn truncated_data_is_reported_with_its_file() {
    let place = tiny();
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 30 --test 6 -o data/four");
    let file = place.path("data/four/train/all__inputs.npy");
    let bytes = fs::read(&file).expect("it is there");
    fs::write(&file, &bytes[..bytes.len() - 7]).expect("it can be written");
    let message = place.fail("run tiny.hrm --train --data data/four");
    assert!(message.contains("all__inputs.npy"), "{message}");
}

#[test]
fn folders_that_are_no_runs_are_refused() {
    let place = tiny();
    assert!(place.fail("eval absent").contains("there is no run `absent`"));
    assert!(place.fail("eval .").contains("`.` is not the folder of a run"));
    place.succeed("run tiny.hrm --train --steps 1");
    assert!(place.fail("run runs/tiny-001 --train").contains("--resume runs/tiny-001"));
    assert!(place.fail("run --train --resume absent").contains("there is no run `absent`"));
}

#[test]
fn a_spec_that_does_not_train_is_refused() {
    let place = Workplace::new(HRMC);
    let (model, _) = TINY.split_once("train {").expect("there is a `train` block");
    place.write("model.hrm", model);
    let message = place.fail("run model.hrm --train");
    assert!(message.contains("`tiny` has no `train` block"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_batch_that_does_not_fit_in_memory_is_refused_with_the_figure() {
    let place = Workplace::new(HRMC);
    place.succeed("data sudoku --generate --size 9 --train 2 --test 2 -o nine");
    let spec = shipped("sudoku-small.hrm");
    let message = place.fail(&format!("run {spec} --train --data nine --set train.batch=1_000_000"));
    assert!(message.contains("a batch of 1,000,000 rows of `sudoku_small` needs "), "{message}");
    assert!(message.contains("`--set train.batch="), "{message}");
    assert!(!place.path("runs").exists(), "nothing was begun");
}

#[test]
fn the_reference_device_trains_the_same_model() {
    let place = tiny();
    let run = |device: &str| {
        let command = format!("run tiny.hrm --train --steps 1 --runs {device} --device {device} --json");
        json(&place.succeed(&command))["evaluation"]["token_loss"].as_f64().expect("it is a number")
    };
    let (cpu, reference) = (run("cpu"), run("reference"));
    // Both compute in f32, in another order; the loss is a mean near 2.
    assert!((cpu - reference).abs() < 1e-3, "{cpu} and {reference}");
}

#[test]
fn more_threads_than_cores_are_warned_about_and_many_more_are_refused() {
    let place = tiny();
    let message = place.fail("run tiny.hrm --train --threads 100000");
    assert!(message.contains("`--threads 100000` is too many: there "), "{message}");
    place.write("hrmc.toml", "threads = 100000\n");
    let message = place.fail("run tiny.hrm --train");
    assert!(message.contains("`threads = 100000` in `hrmc.toml` is too many: there "), "{message}");
    assert!(!place.path("runs").exists(), "nothing was begun");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (threads, warns) in [(cores, false), (cores + 1, true)] {
        let said = place.run(&format!("run tiny.hrm --train --steps 1 --eval-limit 0 --threads {threads}"));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(said.err.contains("warning: `--threads "), warns, "{}", said.err);
    }
}

/// A control group of version 1, which goes away with the value.
#[cfg(target_os = "linux")]
struct Group(PathBuf);

#[cfg(target_os = "linux")]
impl Group {
    /// Makes a group; none where that is not allowed.
    fn new() -> Option<Group> {
        let folder = Path::new("/sys/fs/cgroup/memory").join(format!("hrmc-test-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Group(folder);
        group.0.join("memory.limit_in_bytes").is_file().then_some(group)
    }

    /// Runs a command line with so many bytes of memory.
    fn run(&self, bytes: u64, place: &Workplace, arguments: &str) -> Said {
        fs::write(self.0.join("memory.limit_in_bytes"), bytes.to_string()).expect("a limit can be set");
        let join = format!("echo $$ > {} && exec {HRMC} {arguments}", self.0.join("cgroup.procs").display());
        let shell = std::process::Command::new("sh").args(["-c", &join]).current_dir(place.path("")).output();
        Said::of(shell.expect("there is a shell"))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Group {
    fn drop(&mut self) {
        // The last process may be leaving still.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Where control groups of version 1 can be made, the kernel is asked: what the check lets pass is not killed.
#[cfg(target_os = "linux")]
#[test]
fn a_training_fits_into_a_control_group_of_the_predicted_size_and_is_refused_in_a_smaller_one() {
    let place = tiny();
    let batch = 2048;
    let report = json(&place.succeed(&format!("compile tiny.hrm --batch {batch} --threads 1 --emit json")));
    let predicted = report["session_bytes"].as_u64().expect("it is a number");
    let Some(group) = Group::new() else {
        println!("this test did not run: no control group of version 1 can be made here");
        return;
    };
    let train = format!("run tiny.hrm --train --steps 2 --threads 1 --set train.batch={batch} --runs above");
    // The pages of the kernel for the process count too.
    let above = group.run(predicted + (4 << 20), &place, &train);
    assert_eq!(above.code, Some(0), "{}", above.err);
    let below = group.run(predicted - (64 << 10), &place, &train.replace("above", "below"));
    below.assert_one_message(&train);
    let limit = group.0.join("memory.limit_in_bytes");
    assert!(below.err.contains(&format!("whose limit in `{}` is ", limit.display())), "{}", below.err);
    let fits = below.err.trim_end().rsplit("--set train.batch=").next().expect("there is a last part");
    let fits: usize = fits.trim_end_matches('`').parse().expect("it names a batch");
    assert!(fits < batch && !place.path("below").exists());
    let smaller = train.replace(&format!("batch={batch}"), &format!("batch={fits}"));
    let smaller = group.run(predicted - (64 << 10), &place, &smaller);
    assert_eq!(smaller.code, Some(0), "{}", smaller.err);
}
