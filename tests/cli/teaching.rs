//! Data that cannot teach, splits that are not needed, and where data is found.

use std::fs;

use hrmc::internals::data::{Dataset, Split};
use hrmc::internals::hash::sha256;
use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

/// What the spec `tiny.hrm` says about its data.
const GENERATED: &str = "sudoku(size = 4, givens = 8, train = 40, test = 9, augment = true)";

/// A folder with `tiny.hrm`, whose data is the folder `data` beside it, and that folder.
fn place() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", &TINY.replace(GENERATED, "\"data\""));
    generate(&place, "data", 0);
    place
}

fn generate(place: &Workplace, folder: &str, seed: u64) {
    let sizes = "--size 4 --givens 8 --train 24 --test 8";
    place.succeed(&format!("data sudoku --generate {sizes} --seed {seed} -o {folder}"));
}

/// Changes the bytes behind the header of an array.
fn change(place: &Workplace, array: &str, change: impl Fn(&mut [u8])) {
    let file = place.path(array);
    let mut bytes = fs::read(&file).expect("the array is there");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    change(&mut bytes[header..]);
    fs::write(&file, bytes).expect("the array can be written");
}

fn ignore_all(place: &Workplace, split: &str) {
    change(place, &format!("data/{split}/all__labels.npy"), |labels| labels.fill(0));
}

fn rename(place: &Workplace, from: &str, to: &str) {
    fs::rename(place.path(from), place.path(to)).expect("the folder can be renamed");
}

/// Puts the test split of a dataset of another seed in place of that of `data`.
fn change_test_puzzles(place: &Workplace) {
    generate(place, "other", 1);
    fs::remove_dir_all(place.path("data/test")).expect("the folder can be removed");
    rename(place, "other/test", "data/test");
}

#[test]
fn labels_that_are_all_ignored_are_refused_and_nothing_is_solved() {
    let place = place();
    ignore_all(&place, "train");
    ignore_all(&place, "test");
    let message = place.fail("run tiny.hrm --train --steps 2");
    assert!(
        message.contains("cannot be trained on: every label of the 24 rows of `train` is ignored"),
        "{message}"
    );
    assert!(!place.path("runs").exists(), "nothing was begun");
    assert!(place.fail("data check data").contains("there is nothing to learn"));
    assert!(
        place.run("data check data").err.contains("warning: every label of the 8 rows of `test` is ignored")
    );
}

#[test]
fn test_labels_that_are_all_ignored_measure_nothing() {
    let place = place();
    ignore_all(&place, "test");
    let said = place.run("run tiny.hrm --train --steps 8");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.err.contains("warning: `data`: every label of the 8 rows of `test` is ignored"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("best so far") && !said.out.contains("solved"), "{}{}", said.err, said.out);
    assert!(!place.path("runs/tiny-001/best").exists());
    let message = place.fail("eval runs/tiny-001");
    assert!(message.contains("there is nothing to evaluate in `data`: every label"), "{message}");
}

#[test]
fn what_misleads_is_said_before_training_and_in_an_evaluation() {
    let place = place();
    // The first test row is a training row, and the second one has no label.
    let of = |split: &str, array: &str| {
        let bytes = fs::read(place.path(format!("data/{split}/all__{array}.npy"))).expect("it is there");
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[header..].to_vec()
    };
    for array in ["inputs", "labels"] {
        let train = of("train", array);
        change(&place, &format!("data/test/all__{array}.npy"), |tokens| {
            tokens[..16].copy_from_slice(&train[16..32])
        });
    }
    change(&place, "data/test/all__labels.npy", |labels| labels[16..32].fill(0));
    let shared = "warning: `data`: 1 of 8 rows of `test`, first row 0 (counted from 0), are also in `train`, there as row 1";
    let without =
        "warning: `data`: 1 of 8 rows of `test`, first row 1 (counted from 0), have no label that counts";
    let trained = place.run("run tiny.hrm --train --steps 2");
    assert!(trained.err.contains(shared) && trained.err.contains(without), "{}", trained.err);
    let at = |text: &str| trained.err.find(text).expect("it is said");
    assert!(at("warning: ") < at("training `tiny`"), "{}", trained.err);
    let resumed = place.run("run --train --resume runs/tiny-001 --steps 4");
    assert!(resumed.code == Some(0) && !resumed.err.contains("warning"), "it was said: {}", resumed.err);
    let evaluated = place.run("eval runs/tiny-001");
    assert!(evaluated.code == Some(0) && evaluated.err.contains(without), "{}", evaluated.err);
    let checked = place.run("data check data --json");
    let checked: serde_json::Value = serde_json::from_str(&checked.out).expect("it is JSON");
    assert_eq!((checked["train"].as_u64(), checked["test"].as_u64()), (Some(24), Some(8)));
    let kinds: Vec<_> =
        checked["findings"].as_array().expect("a list").iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["rows-without-labels", "shared-rows"]);
    assert_eq!(checked["findings"][1]["first"], serde_json::json!({ "split": "test", "row": 0 }));
    assert_eq!(checked["findings"][1]["severity"], "warning");
}

#[test]
fn sound_data_is_said_to_be_sound() {
    let place = place();
    let said = place.run("data check data");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, "`data`: 24 rows in `train`, 8 rows in `test`; nothing is wrong\n");
    assert!(!place.run("run tiny.hrm --train --steps 1").err.contains("warning"));
    assert!(place.fail("data check tiny.hrm").contains("tiny.hrm"));
}

#[test]
fn labels_outside_the_vocabulary_are_counted() {
    let place = place();
    change(&place, "data/test/all__labels.npy", |labels| labels[20..23].fill(9));
    let message = place.fail("data check data");
    let expected = "row 1 (counted from 0): label 9 is outside the vocabulary of 6, in column 4; 2 more in this file \
                    are outside of it";
    assert!(message.contains(expected), "{message}");
    assert!(place.fail("run tiny.hrm --train").contains(expected));
}

#[test]
fn a_split_that_is_not_needed_may_be_missing() {
    let place = place();
    rename(&place, "data/test", "elsewhere");
    let message = place.fail("run tiny.hrm --train --steps 2");
    assert!(
        message.contains("`data` has no test split: there is no file `data/test/dataset.json`"),
        "{message}"
    );
    assert!(message.contains("(`--eval-limit 0`)"), "{message}");
    place.succeed("run tiny.hrm --train --steps 2 --eval-limit 0");
    assert!(place.fail("eval runs/tiny-001").contains("`data` has no test split"));
    rename(&place, "data/train", "train");
    rename(&place, "elsewhere", "data/test");
    assert!(place.fail("run tiny.hrm --train").contains("`data` has no training split"));
    let said = place.run("eval runs/tiny-001");
    assert!(said.code == Some(0) && said.out.contains("on 8 held-out puzzles"), "{}", said.err);
    assert!(!said.err.contains("warning"), "the run began without test puzzles: {}", said.err);
}

#[test]
fn changed_test_puzzles_are_a_warning_in_eval_and_refused_in_training() {
    let place = place();
    place.succeed("run tiny.hrm --train --steps 2");
    change_test_puzzles(&place);
    let changed = "the test puzzles of `data` have changed since `runs/tiny-001` began";
    let said = place.run("eval runs/tiny-001");
    assert!(said.code == Some(0) && said.err.contains(&format!("warning: {changed}")), "{}", said.err);
    let evaluated: serde_json::Value =
        serde_json::from_str(&place.succeed("eval runs/tiny-001 --json")).expect("it is JSON");
    assert_eq!(evaluated["is_test_data_of_run"], false);
    assert!(!place.run("eval runs/tiny-001 --data data").err.contains("have changed"), "it was asked for");
    let message = place.fail("run --train --resume runs/tiny-001 --steps 4");
    assert!(message.contains(changed) && message.contains("`--data data`"), "{message}");
    place.succeed("run --train --resume runs/tiny-001 --steps 4 --eval-limit 0");
    place.succeed("run tiny.hrm --train --steps 2 --eval-limit 0 --runs others");
    assert!(!place.run("eval others/tiny-001").err.contains("have changed"), "its test puzzles are these");
    let said = place.run("run --train --resume runs/tiny-001 --steps 6 --data data");
    assert!(
        said.code == Some(0) && said.err.contains("warning: the test puzzles of `data` are not"),
        "{}",
        said.err
    );
}

#[test]
fn a_folder_of_data_counts_from_the_file_that_names_it_then_from_the_project() {
    let place = place();
    fs::create_dir_all(place.path("deep/specs")).expect("the folder can be made");
    fs::rename(place.path("tiny.hrm"), place.path("deep/tiny.hrm")).expect("the file can be moved");
    place.write("deep/specs/over.hrm", "base \"../tiny.hrm\"\nmodel over { }\ntrain { batch = 3 }\n");
    let name = |arguments: &str| {
        let said = place.run(&format!("run {arguments} --train --steps 1"));
        let line = said.err.lines().find(|line| line.starts_with("training")).map(str::to_string);
        line.unwrap_or(said.err)
    };
    assert!(name("deep/tiny.hrm").contains(" on `data`, "), "in the project");
    generate(&place, "deep/data", 2);
    assert!(name("deep/tiny.hrm").contains(" on `deep/data`, "));
    assert!(name("deep/specs/over.hrm").contains(" on `deep/specs/../data`, "), "the base names it");
    assert!(
        name("deep/tiny.hrm --set train.data=\"data\"").contains(" on `data`, "),
        "the command line names it"
    );
    fs::remove_dir_all(place.path("data")).expect("the folder can be removed");
    fs::remove_dir_all(place.path("deep/data")).expect("the folder can be removed");
    let message = place.fail("run deep/tiny.hrm --train");
    assert!(message.contains("there is no dataset `data`, nor `deep/data`"), "{message}");
}

#[test]
fn a_run_finds_its_data_from_anywhere_and_after_a_move() {
    let place = place();
    fs::create_dir(place.path("project")).expect("the folder can be made");
    for name in ["tiny.hrm", "data"] {
        rename(&place, name, &format!("project/{name}"));
    }
    place.succeed("run project/tiny.hrm --train --steps 1 --runs project/runs");
    let manifest = fs::read_to_string(place.path("project/runs/tiny-001/run.toml")).expect("it was written");
    let absolute = place.path("project/data");
    assert!(manifest.contains(&format!("data_folder = \"{}\"", absolute.display())), "{manifest}");
    assert!(manifest.contains("data_from_run = \"../../data\""), "{manifest}");
    // The current folder has no `data`.
    place.succeed("eval project/runs/tiny-001");
    rename(&place, "project", "moved");
    place.succeed("eval moved/runs/tiny-001");
    place.succeed("run --train --resume moved/runs/tiny-001 --steps 2");
    // A run that goes away from its data, to where another dataset is.
    generate(&place, "data", 3);
    rename(&place, "moved", "project");
    fs::create_dir(place.path("other")).expect("the folder can be made");
    rename(&place, "project/runs/tiny-001", "other/tiny-001");
    let said = place.run("eval other/tiny-001");
    assert!(said.code == Some(0) && !said.err.contains("have changed"), "{}", said.err);
    rename(&place, "project", "lost");
    rename(&place, "data", "gone");
    let message = place.fail("eval other/tiny-001");
    assert!(
        message.contains(&format!("there is no dataset `{}`, nor `other/", absolute.display())),
        "{message}"
    );
}

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
    for key in ["sha256", "overrides"] {
        old.remove(key);
    }
    old.insert("format".to_string(), toml::Value::Integer(1));
    old.insert("spec_sha256".to_string(), toml::Value::String(sha256(&spec)));
    old.insert("spec".to_string(), toml::Value::String(spec));
    fs::write(&file, old.to_string()).expect("it can be written");
    place.succeed("run --train --resume runs/tiny-001 --steps 4");
    assert!(!place.run("eval runs/tiny-001").err.contains("have changed"));
}

#[test]
fn a_split_that_is_broken_or_empty_is_not_passed_over_by_a_check() {
    let place = place();
    fs::remove_file(place.path("data/test/dataset.json")).expect("it can be removed");
    let message = place.fail("data check data");
    assert!(message.contains("data/test/dataset.json"), "{message}");
    generate(&place, "other", 1);
    fs::remove_dir_all(place.path("other/test")).expect("the folder can be removed");
    place.succeed("data check other");
    place.write("other/test", "a file");
    let message = place.fail("data check other");
    assert!(message.contains("other/test"), "{message}");
}
