//! Curves of runs: in the terminal and in files.

use std::fs;

use hrmc_testing::workplace::{TINY, Workplace};

use crate::HRMC;

fn read(place: &Workplace, name: &str) -> String {
    fs::read_to_string(place.path(name)).expect("it was written")
}

/// Returns a place with a short run, and two more that differ in the seed and in the batch.
fn place() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.succeed("run tiny.hrm --train");
    place.succeed("run tiny.hrm --train --seed 4");
    place.succeed("run tiny.hrm --train --set train.batch=8 --steps 8");
    place
}

#[test]
fn curves_are_drawn_in_the_terminal_and_written_as_files() {
    let place = place();
    let drawn = place.succeed("plot runs/tiny-001");
    for part in ["Loss of tiny-001", "Token accuracy of tiny-001", "Exact accuracy of tiny-001", "steps"] {
        assert!(drawn.contains(part), "`{part}` is missing in:\n{drawn}");
    }
    assert!(drawn.contains("● training   ■ evaluation"), "{drawn}");
    let ascii = place.succeed("plot runs/tiny-001 --ascii --y gradient-norm,rate --x seconds --log");
    assert!(ascii.is_ascii() && ascii.contains("Norm of the gradient of tiny-001"), "{ascii}");

    let several = place.succeed("plot runs/tiny-001 runs/tiny-002 runs/tiny-003 --y loss");
    assert!(several.contains("Loss in training") && several.contains("Loss in evaluation"), "{several}");
    assert!(several.contains("● train.batch=4 (2 seeds)   ■ train.batch=8"), "{several}");

    // The same as a picture and as a page, which are the same for the same run.
    for name in ["a.svg", "b.svg"] {
        place.succeed(&format!("plot runs/tiny-001 -o {name}"));
    }
    let picture = read(&place, "a.svg");
    assert!(picture.starts_with("<svg ") && picture == read(&place, "b.svg"));
    assert_eq!(picture.matches("<title>Loss of tiny-001</title>").count(), 1);
    place.succeed("plot runs/tiny-001 runs/tiny-002 -o page.html");
    let page = read(&place, "page.html");
    for part in ["<!doctype html>", "Training of tiny-001 (2 seeds)", "runs/tiny-002", ">Runs</h2>"] {
        assert!(page.contains(part), "`{part}` is missing in:\n{page}");
    }
    assert_eq!(place.succeed("plot runs/tiny-001 --to svg"), picture);
    let message = place.fail("plot runs/tiny-001 -o curves.png");
    assert!(message.contains("expected one that ends in `.svg`, `.html` or `.csv`, or `--to`"), "{message}");
}

#[test]
fn tables_and_json_have_what_the_run_has_written() {
    let place = place();
    place.succeed("plot runs/tiny-001 runs/tiny-003 -o curves.csv");
    let table = read(&place, "curves.csv");
    let lines: Vec<&str> = table.lines().collect();
    // A head, 20 steps and 3 evaluations, 8 steps and 1 evaluation.
    assert_eq!(lines.len(), 1 + 23 + 9, "{table}");
    assert!(lines[0].starts_with("run,name,of,step,epochs,seconds,flops,count,loss,"), "{table}");
    assert!(lines[1].starts_with("runs/tiny-001,train.batch=4,training,1,0.1,"), "{table}");
    assert!(lines[9].starts_with("runs/tiny-001,train.batch=4,evaluation,8,"), "{table}");
    let cells: Vec<&str> = lines[0].split(',').collect();
    assert!(lines.iter().all(|line| line.split(',').count() == cells.len()), "{table}");
    let short = place.succeed("plot runs/tiny-003 --to csv --y exact");
    assert!(short.starts_with("run,name,of,step,epochs,seconds,flops,count,exact_accuracy\n"), "{short}");

    let json: serde_json::Value =
        serde_json::from_str(&place.succeed("plot runs/tiny-001 --y lr --x flops --json"))
            .expect("it is JSON");
    assert_eq!((json["x"].as_str(), json["runs"][0]["step"].as_u64()), (Some("flops"), Some(20)));
    assert_eq!(json["figures"][0]["y"], "lr");
    assert_eq!(json["figures"][0]["curves"][0]["points"].as_array().map(Vec::len), Some(20));
}

#[test]
fn a_run_that_is_damaged_old_or_has_just_begun_is_drawn_as_far_as_it_goes() {
    let place = place();
    let metrics = place.path("runs/tiny-001/metrics.jsonl");
    let text = fs::read_to_string(&metrics).expect("it is there");
    // A process is writing the last line.
    fs::write(&metrics, &text[..text.len() - 20]).expect("it can be written");
    place.succeed("plot runs/tiny-001");
    fs::write(&metrics, text.replacen("\"step\":2,", "\"step\":x,", 1)).expect("it can be written");
    let said = place.run("plot runs/tiny-001 --y loss");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.err.contains("line 2 is not a line of metrics") && said.err.contains("what can be read"),
        "{}",
        said.err
    );
    assert!(said.out.contains("Loss of tiny-001"), "{}", said.out);

    // What older versions did not write.
    let old = text.lines().map(|line| {
        let end = line.find(",\"gradient_norm\"");
        let Some(end) = end else { return format!("{line}\n") };
        let rest = line.find(",\"count\"").expect("every line has it");
        format!("{}{}\n", &line[..end], &line[rest..])
    });
    fs::write(&metrics, old.collect::<String>()).expect("it can be written");
    fs::remove_file(place.path("runs/tiny-001/times.jsonl")).expect("it is there");
    place.succeed("plot runs/tiny-001 --x epoch");
    let message = place.fail("plot runs/tiny-001 --x flops");
    assert!(message.contains("it was trained by a version of hrmc that did not record them"), "{message}");
    assert!(place.fail("plot runs/tiny-001 --x seconds").contains("`times.jsonl` is missing"));
    let drawn = place.succeed("plot runs/tiny-001 --y gradient-norm");
    assert!(drawn.contains("no points"), "{drawn}");

    fs::write(&metrics, "").expect("it can be written");
    let said = place.run("plot runs/tiny-001");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("`runs/tiny-001` has done no step yet"), "{}", said.err);
}
