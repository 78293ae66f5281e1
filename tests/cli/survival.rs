//! What becomes of runs that are killed, damaged, moved, or trained by two processes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hrmc_testing::workplace::{TINY, Workplace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::HRMC;
use crate::run::content;

fn tiny() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place
}

/// The files of a run that depend on spec, data and seed alone.
fn decided(run: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = content(run);
    // When the checkpoint before the last was saved depends on the kills, and times on the machine.
    files.retain(|path, _| !path.starts_with("previous") && !path.ends_with("times.jsonl"));
    files
}

fn start(place: &Workplace, arguments: &str) -> Child {
    Command::new(HRMC)
        .args(arguments.split(' '))
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hrmc starts")
}

/// Waits until a file has a text, while a process runs.
fn wait_for(file: &Path, text: &str, child: &mut Child) {
    while !fs::read_to_string(file).is_ok_and(|found| found.contains(text)) {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it goes on until it is stopped");
        sleep(Duration::from_millis(5));
    }
}

/// Trains `runs` runs, and kills each of them at random moments, `kills` times in all at least.
fn kill_at_random(runs: usize, kills: usize) {
    let place = tiny();
    let spec = "tiny.hrm --set train.steps=40 --set train.eval_every=3steps";
    let begun = Instant::now();
    place.succeed(&format!("run {spec} --train --threads 1 --runs whole"));
    let longest = begun.elapsed() / 3;
    let expected = decided(&place.path("whole/tiny-001"));
    let mut random = StdRng::seed_from_u64(1);
    let mut done = 0;
    let mut killed = 0;
    while done < runs || killed < kills {
        let folder = format!("killed-{done}");
        let run = place.path(format!("{folder}/tiny-001"));
        loop {
            let arguments = if run.join("run.toml").exists() {
                format!("run --train --resume {folder}/tiny-001 --threads 1")
            } else {
                let _ = fs::remove_dir_all(place.path(&folder));
                format!("run {spec} --train --threads 1 --runs {folder}")
            };
            let mut child = start(&place, &arguments);
            sleep(longest.mul_f64(random.random_range(0.0..1.0)) + Duration::from_millis(5));
            // A process that has ended cannot be killed.
            let _ = child.kill();
            let said = child.wait_with_output().expect("it was started");
            if said.status.code().is_none() {
                killed += 1;
                continue;
            }
            let message = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success() || message.contains("has done 40 steps already"), "{message}");
            break;
        }
        let found = decided(&run);
        let names: Vec<_> = found.keys().filter(|name| found.get(*name) != expected.get(*name)).collect();
        assert!(found == expected, "these files of run {done} differ after {killed} kills: {names:?}");
        done += 1;
    }
    println!("{killed} kills of {done} runs, each with the bytes of the undisturbed one");
}

#[test]
fn a_run_that_is_killed_ends_with_the_same_bytes() {
    kill_at_random(2, 16);
}

#[test]
#[ignore = "it takes minutes; docs/testing.md has the command"]
fn a_run_survives_four_hundred_kills() {
    kill_at_random(20, 400);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 12 --runs whole");
    place.succeed("run tiny.hrm --train --steps 10");
    let run = place.path("runs/tiny-001");
    let damage = |name: &str| {
        let bytes = fs::read(run.join(name)).expect("it is there");
        fs::write(run.join(name), &bytes[..bytes.len() / 2]).expect("it can be written");
    };
    damage("last/state.safetensors");
    let said = place.run("run --train --resume runs/tiny-001 --steps 12");
    assert_eq!(said.code, Some(0), "{}", said.err);
    let warning =
        "warning: `runs/tiny-001/last/state.safetensors` is damaged: its bytes are not those that were saved";
    let cost = "going on from `runs/tiny-001/previous`, of step 8: 2 steps from 9 on are done again";
    assert!(said.err.contains(warning) && said.err.contains(cost), "{}", said.err);
    let whole = decided(&place.path("whole/tiny-001"));
    let found = decided(&run);
    for name in ["last/weights.safetensors", "last/state.json", "last/SHA256SUMS"] {
        assert_eq!(found[Path::new(name)], whole[Path::new(name)], "{name}");
    }

    // The damaged one was replaced, and did not become the one before.
    damage("last/state.json");
    let said = place.run("run --train --resume runs/tiny-001 --steps 13");
    assert!(said.code == Some(0) && said.err.contains("of step 8"), "{}", said.err);
    ["last/weights.safetensors", "previous/state.json", "best/state.safetensors"]
        .into_iter()
        .for_each(damage);
    let message = place.fail("run --train --resume runs/tiny-001 --steps 14");
    assert!(message.contains("`runs/tiny-001/last/weights.safetensors` is damaged"), "{message}");
}

#[test]
fn a_damaged_checkpoint_is_not_evaluated_and_another_is_offered() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 2");
    let average = place.path("runs/tiny-001/best/average.safetensors");
    let whole = fs::read(&average).expect("it is there");
    let refused = || {
        let message = place.fail("eval runs/tiny-001");
        assert!(message.contains("best/average.safetensors"), "{message}");
        let offer = "the checkpoint `last` of step 2 is whole: use it with `--checkpoint last`";
        assert!(message.contains(offer), "{message}");
        place.succeed("eval runs/tiny-001 --checkpoint last");
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&average, flipped).expect("it can be written");
    refused();
    fs::remove_file(&average).expect("it is there");
    refused();
    fs::create_dir(&average).expect("it can be made");
    refused();
    fs::remove_dir_all(place.path("runs/tiny-001/best")).expect("it is there");
    place.succeed("eval runs/tiny-001");
    assert!(place.fail("eval runs/tiny-001 --checkpoint best").contains("there is no checkpoint"));
    place.write("runs/tiny-001/run.toml", "format = 1\n");
    assert!(place.fail("eval runs/tiny-001").contains("run.toml` is damaged"));
}

#[test]
fn a_run_of_the_first_format_goes_on_with_a_note() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 10");
    let run = place.path("runs/tiny-001");
    let rewrite = |name: &str, change: &dyn Fn(&str) -> String| {
        let text = fs::read_to_string(run.join(name)).expect("it is there");
        fs::write(run.join(name), change(&text)).expect("it can be written");
    };
    let first = |text: &str| text.replace("\"format\": 2", "\"format\": 1");
    for folder in ["last", "best"] {
        fs::remove_file(run.join(folder).join("SHA256SUMS")).expect("it is there");
        rewrite(&format!("{folder}/state.json"), &first);
    }
    rewrite("run.toml", &|text| {
        let (body, _) = text.rsplit_once("sha256 = ").expect("it has a checksum");
        body.replace("format = 2", "format = 1")
    });
    for command in ["eval runs/tiny-001", "run --train --resume runs/tiny-001"] {
        let said = place.run(command);
        assert_eq!(said.code, Some(0), "{}", said.err);
        let note = "was saved by an hrmc that kept no checksums: nothing guards it against damage";
        assert!(said.err.contains(note), "{}", said.err);
    }
    assert!(run.join("last/SHA256SUMS").exists(), "what is saved now has checksums");
}

#[test]
fn a_second_process_on_a_run_is_refused() {
    let place = tiny();
    place.succeed("run tiny.hrm --train --steps 1 --set train.steps=1_000_000");
    let mut first = start(&place, "run --train --resume runs/tiny-001");
    wait_for(&place.path("runs/tiny-001/metrics.jsonl"), "\"step\":2,", &mut first);
    let message = place.fail("run --train --resume runs/tiny-001");
    let holder = format!("is being trained by process {} on `", first.id());
    assert!(message.contains(&holder), "{message}");
    place.succeed("eval runs/tiny-001 --limit 1");
    assert!(first.try_wait().expect("it can be asked").is_none(), "the first goes on");
    first.kill().expect("it runs");
    first.wait().expect("it was started");
    // The system released the lock, though nobody removed it.
    assert!(place.fail("run --train --resume runs/tiny-001 --steps 1").contains("already"));
}

#[test]
fn a_run_whose_folder_is_gone_ends_with_an_error() {
    let place = tiny();
    let mut child =
        start(&place, "run tiny.hrm --train --set train.steps=1_000_000 --set train.eval_every=2steps");
    wait_for(&place.path("runs/tiny-001/metrics.jsonl"), "\"step\":4,", &mut child);
    // Between two renamings of a save, the system refuses one or the other.
    fs::rename(place.path("runs/tiny-001"), place.path("gone")).expect("it is there");
    let said = child.wait_with_output().expect("it was started");
    let message = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{message}");
    assert!(!place.path("runs/tiny-001").exists(), "nothing is written where it was");
    place.succeed("eval gone --limit 1");
}
