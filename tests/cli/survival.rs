//! Runs that are killed again and again end as if nothing had happened.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hrmc_testing::workplace::{TINY, Workplace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::HRMC;
use crate::run::content;

/// The files of a run that depend on spec, data and seed alone.
fn decided(run: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = content(run);
    // When the checkpoint before the last was saved depends on the kills.
    files.retain(|path, _| !path.starts_with("previous"));
    files
}

/// Trains `runs` runs, and kills each of them at random moments, `kills` times in all at least.
fn kill_at_random(runs: usize, kills: usize) {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
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
            let mut child = Command::new(HRMC)
                .args(arguments.split(' '))
                .current_dir(place.path(""))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("hrmc starts");
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
