//! Curves of runs: in the terminal and in files.

use std::fs;
use std::path::Path;

use hrmc_testing::python::python;
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

/// Returns the points of each tag in a folder of event files, as TensorBoard itself reads them; `None` where it is not.
fn scalars(folder: &Path) -> Option<serde_json::Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/event_files.py");
    let said = python(script, &[folder.to_str().expect("the path is text")], "")?;
    let tags: serde_json::Value = serde_json::from_str(&said).expect("the script writes JSON");
    if let Some(reason) = tags.get("absent") {
        eprintln!("event files were not read: Python has no TensorBoard: {reason}");
        return None;
    }
    Some(tags)
}

#[test]
fn tensorboard_reads_the_curves_of_a_training_that_went_on_without_a_point_twice() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    let stopped = place.succeed("run tiny.hrm --train --steps 10 --tensorboard events");
    assert!(stopped.contains("--resume runs/tiny-001 --tensorboard events`"), "{stopped}");
    place.succeed("run --train --resume runs/tiny-001 --steps 14 --tensorboard events");
    let first = place.path("events/tiny-001/events.out.tfevents.0000000001.hrmc");
    let second = place.path("events/tiny-001/events.out.tfevents.0000000002.hrmc");
    assert!(first.is_file() && second.is_file());
    // A process that was killed had written more steps than it had saved.
    let more = fs::read(&second).expect("it is there");
    let mut whole = fs::read(&first).expect("it is there");
    whole.extend(&more[version_length(&more)..]);
    fs::write(&first, whole).expect("it can be written");

    place.succeed("plot runs/tiny-001 --to tensorboard -o afterwards");
    let message = place.fail("plot runs/tiny-001 --to tensorboard -o afterwards");
    assert!(message.contains("`afterwards/tiny-001` has event files already"), "{message}");
    assert!(place.fail("plot runs/tiny-001 --to tensorboard").contains("event files need a folder"));

    let (Some(live), Some(later)) =
        (scalars(&place.path("events/tiny-001")), scalars(&place.path("afterwards/tiny-001")))
    else {
        return;
    };
    let metrics = read(&place, "runs/tiny-001/metrics.jsonl");
    let lines: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    for (kind, of) in [("train", "training"), ("evaluation", "evaluation")] {
        for key in [
            "loss",
            "token_loss",
            "halt_loss",
            "accuracy",
            "exact_accuracy",
            "mean_segments",
            "lr",
            "gradient_norm",
        ] {
            let expected: Vec<(u64, f32)> = lines
                .iter()
                .filter(|line| line["kind"] == kind)
                .filter_map(|line| Some((line["step"].as_u64()?, line[key].as_f64()? as f32)))
                .collect();
            for tags in [&live, &later] {
                let points = tags[format!("{of}/{key}")].as_array().cloned().unwrap_or_default();
                let found: Vec<(u64, f32)> = points
                    .iter()
                    .filter_map(|point| Some((point[0].as_u64()?, point[1].as_f64()? as f32)))
                    .collect();
                assert_eq!(found, expected, "{of}/{key}");
            }
        }
    }
    assert_eq!(later["training/rows_per_second"].as_array().map(Vec::len), Some(14));
}

/// Returns the bytes of the first record of an event file.
fn version_length(file: &[u8]) -> usize {
    let length: [u8; 8] = file[..8].try_into().expect("it has a length");
    16 + u64::from_le_bytes(length) as usize
}
