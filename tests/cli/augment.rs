//! What is done to training rows when they are drawn.

use std::fs;

use hrmc::internals::data::{
    DatasetBuilder, Existing, Metadata, Split, SplitToWrite, TokenType, write_dataset,
};
use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

const GENERATED: &str = "data       = sudoku(size = 4, givens = 8, train = 40, test = 9, augment = true)";

/// A folder with the spec `tiny.hrm`, whose data and augmentation are as given.
fn place(data: &str) -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", &TINY.replace(GENERATED, data));
    place
}

fn weights(place: &Workplace, run: &str) -> Vec<u8> {
    fs::read(place.path(format!("runs/{run}/last/weights.safetensors"))).expect("a checkpoint was saved")
}

#[test]
fn sudoku_and_mazes_of_folders_are_shown_under_symmetries_and_go_on_with_the_same_rows() {
    for puzzles in ["sudoku --generate --size 4 --givens 8", "maze --generate --size 4"] {
        let place = place("data = \"d\", augment = symmetries");
        place.succeed(&format!("data {puzzles} --train 12 --test 4 -o d"));
        place.succeed("run tiny.hrm --train --steps 9");
        place.succeed("run tiny.hrm --train --steps 4");
        place.succeed("run --train --resume runs/tiny-002 --steps 9");
        assert!(weights(&place, "tiny-001") == weights(&place, "tiny-002"), "{puzzles}");
        // What is held out is known without an evaluation, too.
        place.succeed("run tiny.hrm --train --steps 9 --eval-limit 0");
        assert!(weights(&place, "tiny-001") == weights(&place, "tiny-003"), "{puzzles}");
        place.succeed("run tiny.hrm --train --steps 9 --set train.augment=none");
        assert!(weights(&place, "tiny-001") != weights(&place, "tiny-004"), "{puzzles}");
        let shown = place.succeed("show runs/tiny-001");
        assert!(shown.contains("augment       = symmetries"), "{shown}");
        let differs = place.succeed("diff runs/tiny-001 runs/tiny-004");
        assert!(differs.contains("train.augment"), "{differs}");
    }
}

#[test]
fn rows_without_symmetries_are_refused() {
    let place = place("data = \"d\", augment = symmetries");
    let metadata = Metadata { kind: Some("grid".to_string()), ..Metadata::new(6, 16) };
    let mut builder = DatasetBuilder::new(metadata).expect("the metadata is right");
    let row: Vec<i32> = (0..16).map(|cell| 1 + cell % 5).collect();
    builder.add_example(&row, &row).and_then(|()| builder.end_puzzle(0)).expect("it fits");
    builder.end_group().expect("it has a puzzle");
    let dataset = &builder.finish().expect("everything was ended");
    let splits =
        [Split::Train, Split::Test].map(|split| SplitToWrite { split, dataset, tokens: TokenType::U1 });
    write_dataset(place.path("d"), &splits, &["<blank>".to_string()], Existing::Refuse)
        .expect("there is room");
    let message = place.fail("run tiny.hrm --train --steps 1");
    assert!(
        message.contains(
            "`augment = symmetries` is for Sudoku and mazes, and the rows of `d` are of the kind `grid`; remove it"
        ),
        "{message}"
    );
    place.succeed("run tiny.hrm --train --steps 1 --set train.augment=none");
}

#[test]
fn what_is_trained_on_and_held_out_is_refused() {
    let place = place("data = \"d\", augment = symmetries");
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 12 --test 4 -o d");
    fs::remove_dir_all(place.path("d/test")).expect("it was written");
    fs::create_dir(place.path("d/test")).expect("nothing is there");
    for file in fs::read_dir(place.path("d/train")).expect("it was written") {
        let file = file.expect("the folder can be listed").path();
        let name = file.file_name().expect("it is a file");
        fs::copy(&file, place.path("d/test").join(name)).expect("there is room");
    }
    let message = place.fail("run tiny.hrm --train --steps 1");
    assert!(message.contains("the solution grid is also that of a held-out puzzle"), "{message}");
}
