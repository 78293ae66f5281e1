//! Specs broken the way people break them: each is refused, and the lines that are wrong are named.
//!
//! `tests/fixtures/broken/EXPECTED` lists, by file, every line that holds an error. Naming fewer means that one
//! slip hides the next; naming more means that one slip is reported where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use hrmc::check::check;
use hrmc::diagnostic::{self, Appearance, Severity, render};
use hrmc::span::Source;
use hrmc::syntax::{format, parse};

const FOLDER: &str = "tests/fixtures/broken";

/// Returns the lines that hold an error, by file.
fn expected() -> BTreeMap<String, Vec<usize>> {
    let table = fs::read_to_string(Path::new(FOLDER).join("EXPECTED")).expect("the table is checked in");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let (name, lines) = row.split_once(' ').expect("a row holds a name and lines");
        let lines = lines.split(',').map(|line| line.parse().expect("lines are numbers"));
        (name.to_string(), lines.collect())
    })
    .collect()
}

#[test]
fn every_broken_spec_is_in_the_table() {
    let listed: BTreeSet<String> = expected().into_keys().map(|name| format!("{name}.hrm")).collect();
    let found: BTreeSet<String> = fs::read_dir(FOLDER)
        .expect("the specs are checked in")
        .map(|entry| entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "EXPECTED")
        .collect();
    assert_eq!(listed, found);
    assert!(found.len() >= 60, "{} broken specs", found.len());
}

#[test]
fn every_broken_line_is_named_and_no_other() {
    let mut wrong = Vec::new();
    for (name, lines) in expected() {
        let text = fs::read_to_string(Path::new(FOLDER).join(format!("{name}.hrm"))).expect("it is UTF-8");
        let source = Source::new(format!("{name}.hrm"), text);
        let parsed = parse(&source);
        let checked = check(&parsed.file);
        let mut found = parsed.diagnostics;
        found.extend(checked.diagnostics);
        diagnostic::sort(&mut found);
        let errors: Vec<usize> = found
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .map(|diagnostic| source.location(diagnostic.primary.span.start).line)
            .collect();
        let named: BTreeSet<usize> = errors.iter().copied().collect();
        let right: BTreeSet<usize> = lines.iter().copied().collect();
        if named != right || errors.first() != lines.first() || checked.model.is_some() {
            let said = render(&source, &found, Appearance::Plain);
            wrong.push(format!("{name}: expected {lines:?}, found {named:?}\n{said:.1500}"));
        }
        assert!(format(&source).is_err() || !found.iter().any(|one| one.code == diagnostic::Code::Syntax));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_command_line_refuses_every_broken_spec_and_never_panics() {
    for name in expected().into_keys() {
        let path = format!("{FOLDER}/{name}.hrm");
        let output = Command::new(env!("CARGO_BIN_EXE_hrmc")).args(["check", &path]).output();
        let output = output.expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said:.1000}");
        assert!(said.contains("error["), "{name}: {said:.1000}");
        assert!(!said.contains("panicked"), "{name}: {said:.1000}");
    }
}
