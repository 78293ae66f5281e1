//! Generated data and its seed.

use std::fs;

use hrmc::internals::data::{Dataset, Split};
use hrmc::internals::hash::sha256;
use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

#[test]
fn a_sweep_over_seeds_measures_the_same_puzzles() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.succeed("sweep tiny.hrm --set train.seed=1,2 --steps 1");
    let hashes = |run: &str| -> Vec<String> {
        let manifest =
            fs::read_to_string(place.path(format!("runs/{run}/run.toml"))).expect("it was written");
        manifest.lines().filter(|line| line.contains("data_sha256")).map(str::to_string).collect()
    };
    assert_eq!(hashes("tiny-001"), hashes("tiny-002"));
    place.succeed("run tiny.hrm --train --steps 1 --set train.data.seed=1");
    assert!(hashes("tiny-003").iter().zip(hashes("tiny-001")).all(|(other, one)| *other != one));
}

#[test]
fn puzzles_of_seed_0_are_those_of_earlier_versions() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.succeed("run tiny.hrm --train --steps 1 --seed 5");
    let manifest = fs::read_to_string(place.path("runs/tiny-001/run.toml")).expect("it was written");
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 40 --test 9 --seed 0 -o data");
    for (split, key) in [(Split::Train, "train"), (Split::Test, "test")] {
        let hash = Dataset::open(place.path("data"), split).expect("it was written").fingerprint();
        assert!(manifest.contains(&format!("{key}_data_sha256 = \"{hash}\"")), "{manifest}");
    }
}

#[test]
fn a_run_of_an_earlier_version_goes_on_with_its_puzzles() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.succeed("run tiny.hrm --train --steps 2 --set train.data.seed=3");
    let file = place.path("runs/tiny-001/run.toml");
    let manifest: toml::Table =
        fs::read_to_string(&file).expect("it was written").parse().expect("it is a table");
    let text = |key: &str| manifest[key].as_str().expect("it is text").to_string();
    // Generated puzzles had the seed of the training, 3, and the file had no checksum of its own.
    let spec = text("spec").replace(", seed = 3)", ")");
    assert_ne!(spec, text("spec"));
    let mut old = manifest.clone();
    ["sha256", "overrides"].map(|key| old.remove(key));
    old.insert("format".to_string(), toml::Value::Integer(1));
    old.insert("spec_sha256".to_string(), toml::Value::String(sha256(&spec)));
    old.insert("spec".to_string(), toml::Value::String(spec));
    fs::write(&file, old.to_string()).expect("it can be written");
    place.succeed("run --train --resume runs/tiny-001 --steps 4");
    assert!(!place.run("eval runs/tiny-001").err.contains("have changed"));
}
