//! `hrmc data show`: what a dataset holds, and test rows that training data contains.

use hrmc::internals::data::random::Stream;
use hrmc::internals::data::{
    BuiltDataset, Copies, Dataset, DatasetBuilder, Existing, Metadata, Pair, PuzzleKind, PuzzleSplits, Split,
    SplitToWrite, SudokuSize, SudokuSymmetry, TokenType, generate_sudoku, write_dataset,
};
use hrmc_testing::workplace::Workplace;
use serde_json::{Value, json};

use crate::HRMC;

/// 9x9 puzzles of which no two are equivalent.
fn puzzles(count: usize) -> Vec<Pair> {
    generate_sudoku(SudokuSize::Nine, 36, count, 7).expect("there are many")
}

fn moved(pair: &Pair) -> Pair {
    let symmetry = SudokuSymmetry::draw(SudokuSize::Nine, &mut Stream::new(1, "moved", 0));
    Pair {
        question: symmetry.apply(&pair.question),
        answer: symmetry.apply(&pair.answer),
        rating: pair.rating,
    }
}

fn write_sudoku(place: &Workplace, folder: &str, train: &[Pair], test: &[Pair]) {
    let splits = PuzzleSplits { train: train.to_vec(), test: test.to_vec() };
    let built = BuiltDataset::from_puzzles(PuzzleKind::Sudoku(SudokuSize::Nine), &splits, Copies::None, 0)
        .expect("it fits");
    built.write(place.path(folder), Existing::Refuse).expect("the folder can be written");
}

fn shown(place: &Workplace, arguments: &str) -> Value {
    let said = place.succeed(&format!("data show {arguments} --json"));
    serde_json::from_str(&said).expect("it is JSON")
}

/// Returns text with one space for every gap and line break.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn sizes_lengths_shares_and_rows_are_shown_in_80_columns_without_colours() {
    let place = Workplace::new(HRMC);
    let all = puzzles(6);
    write_sudoku(&place, "d", &all[..4], &all[4..]);
    let said = place.run("data show d");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let text = in_one_line(&said.out);
    for part in [
        "train of `d` Sudoku 9x9, 4 examples, 4 puzzles, 4 groups, rows of 81 tokens, vocabulary of 11",
        "examples of each set: `all` 4",
        "tokens that are not padding: 81 in every row",
        "labels that count: 81 in every row; 0.00% of all are ignored",
        "no row occurs twice",
        "test of `d` Sudoku 9x9, 2 examples",
        "none of 2 test rows is in `train`",
        "test answers with a solution grid equivalent to that of a training puzzle: 0 of 2",
    ] {
        assert!(text.contains(part), "`{part}` in {}", said.out);
    }
    // 45 of 81 cells are blank, and each digit is a ninth of the labels.
    let blank = said.out.lines().find(|line| line.contains(" 1 blank")).expect("it is listed");
    assert!(blank.contains("55.56% ====") && blank.contains("0.00%"), "{blank}");
    assert!(said.out.contains("11.11%") && said.out.contains("+-------+"), "{}", said.out);
    assert!(said.out.lines().all(|line| line.chars().count() <= 80) && !said.out.contains('\u{1b}'));
}

#[test]
fn the_result_in_json_has_everything() {
    let place = Workplace::new(HRMC);
    let all = puzzles(6);
    write_sudoku(&place, "d", &all[..4], &all[4..]);
    let shown = shown(&place, "d");
    let train = &shown["train"];
    assert_eq!(
        (&train["kind"], &train["examples"], &train["seq_len"]),
        (&json!("sudoku"), &json!(4), &json!(81))
    );
    assert_eq!(train["sets"], json!([{ "name": "all", "examples": 4, "puzzles": 4, "groups": 4 }]));
    assert_eq!(train["input_lengths"], json!({ "min": 81, "median": 81, "max": 81 }));
    assert_eq!(train["label_tokens"], json!([0, 0, 36, 36, 36, 36, 36, 36, 36, 36, 36]));
    assert_eq!(train["input_tokens"][1], json!(4 * 45));
    assert_eq!((&train["token_names"][1], &train["token_names"][2]), (&json!("blank"), &json!("1")));
    assert_eq!(train["repeated"], json!({ "in_group": 0, "across_groups": 0 }));
    assert_eq!(train["rows"][1]["inputs"], json!(all[1].question));
    assert_eq!((&shown["leaks"][0]["against"], &shown["findings"]), (&Value::Null, &json!([])));
    assert_eq!(shown["leaks"][0]["rows"]["of"], 2);
}

#[test]
fn a_test_puzzle_that_is_a_training_puzzle_moved_by_a_symmetry_spoils_a_result() {
    let place = Workplace::new(HRMC);
    let all = puzzles(6);
    write_sudoku(&place, "d", &all[..4], &[all[4].clone(), moved(&all[2])]);
    let leaks = &shown(&place, "d")["leaks"][0];
    assert_eq!(leaks["rows"]["first"], json!([{ "test": 1, "train": 2, "is_equal": false }]));
    let said = place.succeed("data show d");
    assert!(
        said.contains("1 of 2 test rows is also in `train` (1 of 2 groups), all by a symmetry"),
        "{said}"
    );
    assert!(said.contains("test rows as training rows, counted from 0: 1 as 2"), "{said}");
    let message = place.fail("data show d --strict");
    assert!(message.starts_with("error: 1 of 2 test rows"), "{message}");
    assert!(place.fail("data show d --strict --json").contains("shows memory"));
}

#[test]
fn equal_solutions_alone_are_a_note() {
    let place = Workplace::new(HRMC);
    let all = puzzles(4);
    let mut other = all[1].clone();
    // One given less.
    let given = other.question.iter().position(|&token| token != 1).expect("it has givens");
    other.question[given] = 1;
    write_sudoku(&place, "d", &all[..3], &[all[3].clone(), moved(&other)]);
    let said = place.run("data show d --strict");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.contains("none of 2 test rows is in `train`"), "{}", said.out);
    assert!(in_one_line(&said.out).contains("to that of a training puzzle: 1 of 2"), "{}", said.out);
}

#[test]
fn what_nothing_can_be_learned_from_fails_only_if_it_is_asked_for() {
    let place = Workplace::new(HRMC);
    let all = puzzles(2);
    let unlabelled: Vec<Pair> = all
        .iter()
        .map(|pair| Pair { question: pair.question.clone(), answer: vec![0; 81], rating: None })
        .collect();
    write_sudoku(&place, "d", &unlabelled, &puzzles(3)[2..]);
    let said = place.run("data show d");
    assert!(said.code == Some(0) && said.err.contains("nothing to learn"), "{}", said.err);
    assert!(place.fail("data show d --strict").contains("nothing to learn"));
    assert!(place.fail("data show d --strict --json").contains("nothing to learn"));
    assert_eq!(shown(&place, "d")["findings"][0]["severity"], "error");
}

/// A canvas of ARC with a grid in its upper left corner; its digits are tokens.
fn canvas(grid: &[&str]) -> Vec<i32> {
    let mut canvas = vec![0; 900];
    for (row, line) in grid.iter().enumerate() {
        for (column, digit) in line.bytes().enumerate() {
            canvas[row * 30 + column] = i32::from(digit - b'0');
        }
    }
    canvas
}

/// A split of tasks, each with one pair.
fn tasks(tasks: &[(i32, [&str; 2], [&str; 2])]) -> Dataset {
    let metadata = Metadata { num_puzzle_identifiers: 9, ..Metadata::new(12, 900) };
    let mut builder = DatasetBuilder::new(metadata).expect("it is sound");
    for (identifier, input, output) in tasks {
        builder.add_example(&canvas(input), &canvas(output)).expect("it fits");
        builder.end_puzzle(*identifier).expect("it has an example");
        builder.end_group().expect("it has a puzzle");
    }
    builder.finish().expect("everything is ended")
}

fn write(place: &Workplace, folder: &str, train: &Dataset, test: &Dataset) {
    let splits = [(Split::Train, train), (Split::Test, test)].map(|(split, dataset)| SplitToWrite {
        split,
        dataset,
        tokens: TokenType::U1,
    });
    let names: Vec<String> = (0..9).map(|task| format!("task{task}")).collect();
    write_dataset(place.path(folder), &splits, &names, Existing::Refuse).expect("the folder can be written");
}

#[test]
fn tasks_are_found_in_the_training_split_of_another_dataset() {
    let place = Workplace::new(HRMC);
    let one = (1, ["234", "522"], ["23", "42"]);
    // The same pair, flipped and with other colours, and its output alone turned back.
    let flipped = (4, ["982", "226"], ["82", "29"]);
    let other = (4, ["982", "226"], ["28", "92"]);
    write(
        &place,
        "a",
        &tasks(&[(1, ["22", "33"], ["2", "3"])]),
        &tasks(&[one, (2, ["23", "32"], ["2", "2"])]),
    );
    write(&place, "b", &tasks(&[(3, ["66", "77"], ["8", "2"]), flipped]), &tasks(&[other]));
    let found = shown(&place, "a --against b");
    assert_eq!(
        (&found["leaks"][0]["rows"]["count"], &found["leaks"][1]["against"]),
        (&json!(0), &json!("b"))
    );
    let rows = &found["leaks"][1]["rows"];
    assert_eq!(
        (&rows["count"], &rows["whole_groups"], &rows["of_groups"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(rows["first"], json!([{ "test": 0, "train": 1, "is_equal": false }]));
    assert_eq!(found["leaks"][1]["solutions"], Value::Null);
    place.succeed("data show a --strict");
    let message = place.fail("data show a --strict --against b");
    assert!(message.contains("1 of 2 test rows is also in `train` of `b`"), "{message}");
    let said = place.succeed("data show a");
    assert!(said.contains("2 colour 0"), "{said}");
    assert!(said.contains("\n  0 0    0 0 \n  1 1    1 1 \n"), "the colours of both grids: {said}");
}

#[test]
fn datasets_of_other_sizes_and_splits_that_are_not_there_cannot_be_compared() {
    let place = Workplace::new(HRMC);
    let all = puzzles(3);
    write_sudoku(&place, "d", &all[..2], &all[2..]);
    place.succeed("data maze --generate --size 5 --min-path 6 --train 3 --test 2 -o m");
    let message = place.fail("data show d --against m");
    assert!(
        message.contains("`m` has rows of 25 tokens of a vocabulary of 6, and `d` has rows of 81"),
        "{message}"
    );
    assert!(place.fail("data show d --against nowhere").contains("`nowhere`"));
    std::fs::remove_dir_all(place.path("d/test")).expect("the folder can be removed");
    let found = shown(&place, "d");
    assert_eq!((&found["test"], &found["leaks"]), (&Value::Null, &json!([])));
    assert!(place.fail("data show d --against m").contains("`d` has no test split"));
    assert!(place.fail("data show nowhere").contains("nowhere"));
}

#[test]
fn mazes_and_rows_without_rules_are_shown_too() {
    let place = Workplace::new(HRMC);
    place.succeed("data maze --generate --size 30 --min-path 30 --train 2 --test 1 -o m");
    let said = place.succeed("data show m");
    assert!(said.contains("mazes 30x30") && said.contains("2 open"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let rows = [(vec![1, 2, 0], vec![2, 1, 0]), (vec![1, 2, 0], vec![2, 1, 0])];
    let data = Dataset::from_rows(40, &rows).expect("it is sound");
    write(&place, "p", &data, &data);
    let said = place.run("data show p");
    assert!(said.out.contains("1 repetition of a row before, 0 of them in its group"), "{}", said.out);
    assert!(said.out.contains("  row 1\n   1  2\n  labels\n   2  1\n"), "{}", said.out);
    assert!(
        said.out.contains("2 of 2 test rows are also in `train` (2 of 2 groups), all equal"),
        "{}",
        said.out
    );
    assert_eq!(said.err, "", "the page has all of it");
}
