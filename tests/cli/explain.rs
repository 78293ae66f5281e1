//! `hrmc explain`: its page, its files, and several runs side by side.

use hrmc_testing::workplace::{TINY, Workplace};
use serde_json::Value;

use crate::HRMC;

/// Returns a place with two trained runs of a hierarchical model and one of a model that does not halt.
fn trained() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.write("plain.hrm", "base \"tiny.hrm\"\nmodel plain {\n  without q\n  halt fixed(2)\n}\n");
    place.succeed("run tiny.hrm --train");
    place.succeed("run tiny.hrm --train --seed 4");
    place.succeed("run plain.hrm --train");
    place
}

fn read(place: &Workplace, name: &str) -> String {
    std::fs::read_to_string(place.path(name)).expect("it was written")
}

#[test]
fn runs_are_explained_side_by_side() {
    let place = trained();
    let text = place.succeed("explain runs/tiny-001 runs/plain-001 --limit 5 -o figures");
    assert!(
        text.contains("tiny (runs/tiny-001): 5 puzzles of generated 4x4 Sudoku, 3 segments of 2 updates"),
        "{text}"
    );
    let page = read(&place, "figures/index.html");
    assert!(page.contains("<title>What tiny and plain do</title>"));
    for heading in ["How far the states move", "Where the states go", "How many dimensions they fill"] {
        assert!(page.contains(heading), "{heading}");
    }
    let residuals = read(&place, "figures/residuals.csv");
    // Three segments of the one model and two of the other, each with an update of both states.
    assert_eq!(residuals.lines().count(), 1 + 6 + 4, "{residuals}");
    assert!(residuals.starts_with("model,state,segment,update,residual\ntiny,z_low,1,1,"), "{residuals}");
    assert!(read(&place, "figures/participation.svg").contains("plain: z_high, untrained"));
    let everything: Value =
        serde_json::from_str(&read(&place, "figures/explained.json")).expect("it is JSON");
    assert_eq!(everything[0]["adaptive"].as_array().map(Vec::len), Some(2), "2 and 3 segments at most");
    assert_eq!(everything[1]["adaptive"].as_array().map(Vec::len), Some(0), "it does not learn to halt");
    assert_eq!(everything[1]["by_segments"][2]["segments"], 4);
}

#[test]
fn runs_of_one_model_are_named_by_their_folders() {
    let place = trained();
    place.succeed("explain runs/tiny-001 runs/tiny-002 --limit 4 -o both.html");
    let page = read(&place, "both.html");
    assert!(page.contains("What runs/tiny-001 and runs/tiny-002 do"));
    assert!(page.contains("runs/tiny-002: z_low"));
}

#[test]
fn results_for_scripts_are_those_of_the_evaluation() {
    let place = trained();
    let found = place.succeed("explain runs/tiny-001 --segments 3,1,3 --limit 9 --json");
    let found: Value = serde_json::from_str(&found).expect("it is JSON");
    let counts: Vec<u64> = found[0]["by_segments"]
        .as_array()
        .expect("it is a list")
        .iter()
        .filter_map(|part| part["segments"].as_u64())
        .collect();
    assert_eq!(counts, [1, 3]);
    let evaluated: Value =
        serde_json::from_str(&place.succeed("eval runs/tiny-001 --json")).expect("it is JSON");
    let own = &found[0]["by_segments"][1]["report"];
    for figure in ["exact", "cells", "valid", "calibration", "drift", "q_halt", "sudoku"] {
        assert_eq!(own[figure], evaluated["report"][figure], "{figure}");
    }
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let place = trained();
    for (arguments, expected) in [
        ("explain runs/absent", "there is no run `runs/absent`"),
        ("explain head-width", "`hrmc help head-width` explains it"),
        ("explain runs/tiny-001 --position 17", "has the positions 0 to 16"),
        ("explain runs/tiny-001 -o figures.pdf", "expected a file that ends in `.html`, or a folder"),
        ("explain runs/tiny-001 --data absent", "absent"),
    ] {
        let message = place.fail(arguments);
        assert!(message.contains(expected), "{message}");
    }
    place.succeed("explain runs/tiny-001 --position 16 --limit 2");
    assert_eq!(place.run("explain").code, Some(2));
}
