//! `hrmc data`: datasets from CSV files, from tasks of ARC and from generators.

use std::fs;

use hrmc::internals::data::{Dataset, Split, read_identifiers};
use hrmc_testing::workplace::Workplace;

use crate::HRMC;

/// A 4x4 Sudoku and its answer.
const ROW: &str = "s,12..34....43..21,1234341221434321,3\n";

fn csv(place: &Workplace, rows: &str) {
    fs::create_dir_all(place.path("csv")).expect("the folder can be made");
    for split in ["train", "test"] {
        place.write(&format!("csv/{split}.csv"), &format!("source,question,answer,rating\n{rows}"));
    }
}

#[test]
fn generated_datasets_have_the_asked_for_sizes() {
    let place = Workplace::new(HRMC);
    let said =
        place.succeed("data sudoku --generate --size 4 --givens 8 --train 12 --test 5 --augment 3 -o s");
    assert!(said.contains("wrote `s`: 48 examples in 12 groups for training, 5 examples"), "{said}");
    let train = Dataset::open(place.path("s"), Split::Train).expect("it was written");
    assert_eq!((train.groups(), train.examples(), train.metadata().seq_len), (12, 48, 16));
    place.succeed("data maze --generate --size 5 --min-path 6 --train 3 --test 2 --dihedral -o m");
    let train = Dataset::open(place.path("m"), Split::Train).expect("it was written");
    assert_eq!((train.groups(), train.examples(), train.metadata().seq_len), (3, 24, 25));
}

#[test]
fn the_seed_decides_what_is_generated() {
    let place = Workplace::new(HRMC);
    for (folder, seed) in [("a", 1), ("b", 1), ("c", 2)] {
        let command = format!("data sudoku --generate --size 4 --train 5 --test 5 --seed {seed} -o {folder}");
        place.succeed(&command);
    }
    let [a, b, c] = ["a", "b", "c"]
        .map(|folder| Dataset::open(place.path(folder), Split::Train).expect("it was written").fingerprint());
    assert_eq!(a, b);
    assert_ne!(a, c);
}

#[test]
fn csv_files_become_datasets() {
    let place = Workplace::new(HRMC);
    csv(&place, ROW);
    place.succeed("data sudoku --from csv --size 4 -o d");
    let test = Dataset::open(place.path("d"), Split::Test).expect("it was written");
    assert_eq!(test.examples(), 1);
}

#[test]
fn a_dataset_is_only_replaced_on_request() {
    let place = Workplace::new(HRMC);
    let command = "data sudoku --generate --size 4 --train 2 --test 2 -o d";
    place.succeed(command);
    assert!(place.fail(command).contains("already holds a dataset"));
    place.succeed(&format!("{command} --replace"));
    fs::create_dir(place.path("full")).expect("the folder can be made");
    place.write("full/letter.txt", "dear");
    let message = place.fail("data sudoku --generate --size 4 --train 2 --test 2 -o full --replace");
    assert!(message.contains("letter.txt"), "{message}");
}

#[test]
fn wrong_rows_are_reported_with_file_and_row() {
    let place = Workplace::new(HRMC);
    assert!(place.fail("data sudoku --from csv --size 4 -o d").contains("train.csv"));
    csv(&place, &ROW.replace("12..34", "12..3x"));
    let message = place.fail("data sudoku --from csv --size 4 -o d");
    assert!(message.contains("train.csv`, row 1 (line 2)") && message.contains("`x`"), "{message}");
    csv(&place, ROW);
    let message = place.fail("data sudoku --from csv --size 9 -o d");
    assert!(message.contains("row 1") && message.contains("expected 81"), "{message}");
    assert!(place.fail("data maze --from csv -o d").contains("row 1"));
    assert!(!place.path("d").exists(), "nothing is left of a failure");
}

#[test]
fn impossible_requests_are_refused() {
    let place = Workplace::new(HRMC);
    assert!(place.fail("data sudoku --generate --size 4 --givens 99 -o d").contains("99"));
    assert!(place.fail("data maze --generate --size 2 -o d").contains("2x2"));
    assert!(place.fail("data maze --generate --size 5 --min-path 99 -o d").contains("99"));
}

const TASK: &str =
    r#"{"train": [{"input": [[1, 2]], "output": [[2], [3]]}], "test": [{"input": [[4]], "output": [[5]]}]}"#;

#[test]
fn tasks_of_arc_become_a_dataset_with_copies() {
    let place = Workplace::new(HRMC);
    for file in ["training/a", "training/b", "evaluation/c"] {
        fs::create_dir_all(place.path("ARC-AGI/data").join(file).parent().expect("it is in a folder"))
            .expect("the folder can be made");
        place.write(&format!("ARC-AGI/data/{file}.json"), TASK);
    }
    let said = place.succeed("data arc --from ARC-AGI --copies 3 -o d");
    assert!(
        said.contains(
            "wrote `d`: 20 examples in 3 groups for training, 4 examples for evaluation, rows of 900 tokens, \
             vocabulary of 12"
        ),
        "{said}"
    );
    assert!(said.contains("--data d"), "{said}");
    let names = read_identifiers(&place.path("d")).expect("it was written");
    assert_eq!((names.len(), names[1].as_str(), names[5].as_str()), (13, "c", "a"));
    // The same tasks in a file, in another order.
    place.write("evaluation.json", &format!("{{\"c\": {TASK}}}"));
    place.write("training.json", &format!("{{\"b\": {TASK}, \"a\": {TASK}}}"));
    place.succeed("data arc --from evaluation.json training.json --copies 3 -o same");
    place.succeed("data arc --from ARC-AGI --copies 3 --no-translation --seed 1 -o other");
    let fingerprint =
        |folder| Dataset::open(place.path(folder), Split::Train).expect("it was written").fingerprint();
    assert_eq!(fingerprint("same"), fingerprint("d"));
    assert_ne!(fingerprint("other"), fingerprint("d"));
    let plain = place.succeed("data arc --from ARC-AGI --copies 0 -o d --replace");
    assert!(plain.contains("5 examples in 3 groups for training, 1 example for evaluation"), "{plain}");
    place.write("training.json", &format!("{{\"b\": {TASK}}}").replace("[[5]]", "[[5, 77]]"));
    assert!(place.fail("data arc --from ARC-AGI -o d").contains("already holds a dataset"));
    let message = place.fail("data arc --from training.json -o wrong");
    assert!(
        message.contains("`training.json`: task `b`") && message.contains("77 at row 1, column 2"),
        "{message}"
    );
    assert!(!place.path("wrong").exists(), "nothing is left of a failure");
}

#[test]
fn a_task_with_few_copies_is_told() {
    let place = Workplace::new(HRMC);
    let pair = r#"{"input": [[0]], "output": [[1]]}"#;
    place.write("training.json", &format!(r#"{{"a": {{"train": [{pair}], "test": [{pair}]}}}}"#));
    let said = place.succeed("data arc --from training.json --copies 20 -o d");
    assert!(
        said.contains("1 task of few colours or much symmetry got fewer than 20 different copies"),
        "{said}"
    );
    assert!(said.contains("18 examples in 1 group for training, 0 examples for evaluation"), "{said}");
}

#[test]
fn ratings_of_csv_files_are_kept() {
    let place = Workplace::new(HRMC);
    csv(&place, ROW);
    place.succeed("data sudoku --from csv --size 4 --augment 2 -o d");
    let train = Dataset::open(place.path("d"), Split::Train).expect("it was written");
    assert_eq!([0, 1, 2].map(|example| train.rating(example)), [Some(3); 3]);
}
