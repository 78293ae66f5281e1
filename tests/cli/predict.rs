//! Answering many questions, and evaluation with several settings.

use std::fs;

use hrmc::internals::data::{Dataset, Split};
use hrmc_testing::python::python;
use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// A place with a run of the tiny model on 4x4 Sudoku.
fn trained() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.succeed("run tiny.hrm --train --steps 4");
    place
}

const ONE: &str = "1.....2......4..";
const TWO: &str = "..3.....4.......";

#[test]
fn questions_of_every_form_are_answered_alike_and_in_order() {
    let place = trained();
    place.write("typed.txt", &format!("{ONE}\n{TWO}\n"));
    place.write("lines.jsonl", &format!("\"{ONE}\"\n{{\"question\": \"{TWO}\"}}\n"));
    place.write("table.csv", &format!("question,source\n{ONE},a\n{TWO},b\n"));
    let expected = place.succeed("predict runs/tiny-001 typed.txt");
    let lines: Vec<serde_json::Value> = expected.lines().map(json).collect();
    assert_eq!(lines.len(), 2);
    for (row, line) in lines.iter().enumerate() {
        assert_eq!(line["row"], row);
        assert_eq!(line["answer"].as_str().map(str::len), Some(16));
        assert!((0.0..=1.0).contains(&line["confidence"].as_f64().expect("it is a number")));
        for key in ["q", "segments", "drift", "settled", "stopped_by", "valid"] {
            assert!(!line[key].is_null(), "`{key}` is missing in {line}");
        }
    }
    assert_ne!(lines[0]["q"], lines[1]["q"]);
    for file in ["lines.jsonl", "table.csv"] {
        assert_eq!(place.succeed(&format!("predict runs/tiny-001 {file} --batch 1")), expected, "{file}");
    }
    place.succeed("predict runs/tiny-001 typed.txt -o answers.csv");
    let table = fs::read_to_string(place.path("answers.csv")).expect("it was written");
    let answer = lines[1]["answer"].as_str().expect("it is a text");
    assert!(table.lines().nth(2).is_some_and(|line| line.starts_with(&format!("1,{answer},"))), "{table}");
}

#[test]
fn a_question_that_cannot_be_read_ends_the_work_or_is_marked() {
    let place = trained();
    place.write("typed.txt", &format!("{ONE}\n12\n{TWO}\n"));
    let message = place.fail("predict runs/tiny-001 typed.txt");
    assert!(
        message.contains("row 1 (counted from 0), line 2: the line has 2 cells; expected 16"),
        "{message}"
    );
    assert!(message.contains("--mark-errors"), "{message}");
    let marked = place.succeed("predict runs/tiny-001 typed.txt --mark-errors");
    let lines: Vec<serde_json::Value> = marked.lines().map(json).collect();
    assert_eq!(lines.iter().map(|line| line["row"].clone()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(lines[1]["error"].as_str().is_some_and(|error| error.contains("expected 16")));
    assert!(lines[0]["error"].is_null() && lines[2]["error"].is_null());
    assert!(
        place.fail("predict runs/tiny-001 typed.txt -o answers.txt").contains("`.jsonl`, `.csv` or `.npy`")
    );
    assert!(place.fail("predict runs/tiny-001 absent.txt").contains("`absent.txt`"));
}

/// Returns the rows of an array as another library reads them.
fn rows<T: npyz::Deserialize>(place: &Workplace, name: &str) -> Vec<Vec<T>> {
    let bytes = fs::read(place.path(name)).expect("it was written");
    let array = npyz::NpyFile::new(&bytes[..]).expect("it is an array");
    let columns = array.shape()[1] as usize;
    let mut values = array.into_vec::<T>().expect("it has such values").into_iter();
    std::iter::from_fn(|| Some(values.by_ref().take(columns).collect::<Vec<T>>()))
        .take_while(|row| !row.is_empty())
        .collect()
}

#[test]
fn answers_are_written_as_an_array_that_can_be_asked_again() {
    let place = trained();
    place.write("typed.txt", &format!("{ONE}\n{TWO}\n{ONE}\n"));
    let answers = place.succeed("predict runs/tiny-001 typed.txt");
    place.succeed("predict runs/tiny-001 typed.txt -o answers.npy");
    let digits = |line: &str| -> Vec<u8> {
        let answer = json(line)["answer"].as_str().expect("it is a text").to_owned();
        answer.bytes().map(|digit| if digit == b'.' { 1 } else { digit - b'0' + 1 }).collect()
    };
    let expected: Vec<Vec<u8>> = answers.lines().map(digits).collect();
    assert_eq!(rows::<u8>(&place, "answers.npy"), expected);
    // What was written is an array of questions, too.
    let again = place.succeed("predict runs/tiny-001 answers.npy");
    assert_eq!(again.lines().count(), 3);
    assert_ne!(json(again.lines().next().expect("there are three"))["answer"], serde_json::Value::Null);
    place.write("none.txt", "");
    place.succeed("predict runs/tiny-001 none.txt -o none.npy");
    assert_eq!(rows::<u8>(&place, "none.npy"), Vec::<Vec<u8>>::new());
}

#[test]
fn an_array_marks_errors_with_rows_that_are_no_answers() {
    let place = trained();
    place.write("typed.txt", &format!("{ONE}\n12\n{TWO}\n3\n"));
    let said = place.run("predict runs/tiny-001 typed.txt --mark-errors -o answers.npy");
    assert_eq!(said.code, Some(0), "{}", said.err);
    let row = "no answer to row 1 (counted from 0), line 2: the line has 2 cells; expected 16";
    assert!(said.err.contains(row) && said.err.contains("row 3 (counted from 0), line 4"), "{}", said.err);
    let found = rows::<i32>(&place, "answers.npy");
    assert_eq!((found.len(), &found[1], &found[3]), (4, &vec![-1; 16], &vec![-1; 16]));
    assert!(found[0].iter().chain(&found[2]).all(|token| (0..6).contains(token)), "{found:?}");
    // Without the flag the answers before the error make a whole array.
    let message = place.fail("predict runs/tiny-001 typed.txt --batch 1 -o cut.npy");
    assert!(message.contains("--mark-errors"), "{message}");
    assert_eq!(rows::<u8>(&place, "cut.npy").len(), 1);
}

#[test]
fn rows_of_data_are_answered_as_evaluation_does() {
    let place = trained();
    let answers = place.succeed("predict runs/tiny-001 --limit 5");
    let right = answers.lines().filter(|line| json(line)["right"] == true).count();
    let evaluated = json(&place.succeed("eval runs/tiny-001 --limit 5 --json"));
    assert_eq!(evaluated["report"]["valid"]["count"], right);
    assert_eq!(answers.lines().count(), 5);
    let train = place.succeed("predict runs/tiny-001 --split train --limit 3");
    assert_eq!(train.lines().count(), 3);
}

#[test]
fn an_evaluation_reports_what_plain_python_finds_in_the_answers() {
    let place = trained();
    place.succeed("data sudoku --generate --size 4 --givens 11 --train 30 --test 60 -o four");
    let answers = place.succeed("predict runs/tiny-001 --data four --batch 8");
    let evaluated = json(&place.succeed("eval runs/tiny-001 --data four --json"));
    place.write("report.json", &evaluated["report"].to_string());
    let data = Dataset::open(place.path("four"), Split::Test).expect("it was written");
    let row = |(row, line): (usize, &str)| {
        let mut line = json(line);
        assert_eq!(line["row"], row);
        let token = |cell: u8| match cell {
            b'?' => 0,
            b'.' => 1,
            digit => digit - b'0' + 1,
        };
        let answer = line["answer"].as_str().expect("it is a text").bytes().map(token).collect::<Vec<u8>>();
        line["answer"] = answer.into();
        line["kind"] = "sudoku".into();
        line["question"] = data.inputs(row).collect::<Vec<i32>>().into();
        line["label"] = data.labels(row).collect::<Vec<i32>>().into();
        line["rating"] = data.rating(row).into();
        format!("{line}\n")
    };
    let rows: String = answers.lines().enumerate().map(row).collect();
    let report = place.path("report.json");
    let arguments = ["rules", report.to_str().expect("the folder has a plain name")];
    let Some(said) = python("tests/measures.py", &arguments, &rows) else { return };
    let compared: usize = said.trim().parse().expect("it says how many numbers there are");
    assert!(compared > 200, "{compared} numbers were compared");
}

#[test]
fn several_puzzles_of_a_file_are_solved() {
    let place = trained();
    place.write("two.txt", &format!("{ONE}\n{TWO}\n"));
    let said = place.succeed("run runs/tiny-001 --puzzle two.txt");
    assert!(said.contains("puzzle 1") && said.contains("puzzle 2"), "{said}");
    let both = json(&place.succeed("run runs/tiny-001 --puzzle two.txt --json"));
    assert_eq!(both.as_array().map(Vec::len), Some(2));
    place.write("bad.txt", &format!("{ONE}\n{TWO}1\n{TWO}\n{TWO}\n"));
    let message = place.fail("run runs/tiny-001 --puzzle bad.txt");
    assert!(message.contains("puzzle 2 (line 2)"), "{message}");
}

#[test]
fn accuracy_against_computing_is_a_table_and_a_chart() {
    let place = trained();
    let said =
        place.succeed("eval runs/tiny-001 --segments 1,2,4 --rollouts 1,2 --noise 0.5 --chart out.svg");
    assert_eq!(
        said.lines().filter(|line| line.contains("FLOP") && line.matches('%').count() == 4).count(),
        6,
        "{said}"
    );
    let chart = fs::read_to_string(place.path("out.svg")).expect("it was written");
    assert!(chart.starts_with("<svg") && chart.contains("2 rollouts"));
    let settings = json(&place.succeed("eval runs/tiny-001 --segments 1,2 --json"));
    let flops = |index: usize| settings["settings"][index]["cost"]["flops_per_puzzle"].as_f64();
    assert_eq!(flops(1), flops(0).map(|flops| 2.0 * flops));
    let one = json(&place.succeed("eval runs/tiny-001 --segments 2 --json"));
    assert_eq!(one["metrics"], settings["settings"][1]["metrics"]);
    assert!(place.fail("eval runs/tiny-001 --rollouts 4").contains("add `--noise STD`"));
}

#[test]
fn rows_without_rules_can_be_asked_and_judged_by_their_labels() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.succeed("data sudoku --generate --size 4 --givens 8 --train 30 --test 6 -o four");
    for split in ["train", "test"] {
        let file = place.path(format!("four/{split}/dataset.json"));
        let text = fs::read_to_string(&file).expect("it is there").replace("\"sudoku\"", "\"tokens\"");
        fs::write(&file, text).expect("it can be written");
    }
    let said = place.run("run tiny.hrm --train --steps 2 --data four");
    assert!(
        said.out.contains("from that of the data") || said.out.contains("that of the data"),
        "{}",
        said.out
    );
    place.write("row.txt", "2 1 1 1 1 1 3 1 1 1 1 1 1 5 1 1\n");
    let line = json(&place.succeed("predict runs/tiny-001 row.txt"));
    assert_eq!(line["answer"].as_array().map(Vec::len), Some(16));
    assert!(line["valid"].is_null() && line["right"].is_null());
    let solved = place.succeed("run runs/tiny-001 --puzzle row.txt");
    assert!(solved.contains("whether the answer is right cannot be known"), "{solved}");
    let rows = place.succeed("predict runs/tiny-001 --data four --limit 2");
    assert!(rows.lines().all(|line| json(line)["right"].is_boolean()), "{rows}");
}
