//! Specs broken the way people break them: each is refused, and the lines that are wrong are named.
//!
//! `tests/fixtures/broken/EXPECTED` lists, by file, every line that holds an error. Naming fewer means that one
//! slip hides the next; naming more means that one slip is reported where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hrmc::internals::check::check;
use hrmc::internals::diagnostic::{self, Appearance, Severity, render};
use hrmc::internals::span::Source;
use hrmc::internals::syntax::{format, parse};

use crate::HRMC;

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
        let output = Command::new(HRMC).args(["check", &path]).output();
        let output = output.expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said:.1000}");
        assert!(said.contains("error["), "{name}: {said:.1000}");
        assert!(!said.contains("panicked"), "{name}: {said:.1000}");
    }
}

/// Returns a shipped spec in which one piece of text is replaced.
fn with(piece: &str, replacement: &str) -> String {
    let text = include_str!("../../specs/sudoku-small.hrm");
    assert!(text.contains(piece), "`{piece}` is in the spec");
    text.replacen(piece, replacement, 1)
}

/// Texts that no person writes, each with the line of its first error.
fn monsters() -> Vec<(&'static str, String, usize)> {
    let whole = || with("", "");
    vec![
        ("only a byte order mark", "\u{feff}".to_string(), 1),
        ("lines that end with carriage returns alone", whole().replace('\n', "\r"), 1),
        ("a comment before such lines", "# A comment.\n# Another.\rmodel m {\r}\r".to_string(), 2),
        ("only empty lines", "\n".repeat(100), 101),
        ("a byte of nothing", with("vocab", "vo\0cab"), 6),
        ("vertical tabs", whole().replace("  let", "\u{b}let"), 3),
        ("text turned around", with("vocab", "\u{202e}vocab"), 6),
        ("a combined letter", with("heads", "hea\u{301}ds"), 10),
        ("digits of another script", with("11", "١١"), 6),
        ("a sign of full width", with("positions = 9", "positions ＝ 9"), 6),
        ("a picture", with("hidden", "🧠"), 9),
        ("braces without end", "{".repeat(1_000_000), 1),
        ("parentheses without end", with("let N = 2", &format!("let N = {}", "(".repeat(1_000_000))), 3),
        (
            "paired parentheses",
            with("let N = 2", &format!("let N = {}2{}", "(".repeat(9_999), ")".repeat(9_999))),
            3,
        ),
        ("nested loops", with("cycle:", &"repeat 1 { ".repeat(100_000)), 22),
        ("closing braces without end", whole() + &"}".repeat(1_000_000), 46),
        ("commas without end", with("vocab = 11,", &format!("vocab = 11{}", ",".repeat(20_000))), 6),
        ("a sum without end", with("z_low + z_high + x", &["x"; 20_000].join(" + ")), 23),
        ("signs without end", with("let N = 2", &format!("let N = {}2", "-".repeat(100_000))), 3),
        ("a name without end", format!("model {}", "a".repeat(1_000_000)), 1),
        ("a string without end", with("\"data/sudoku\"", &format!("\"{}", "a".repeat(1_000_000))), 36),
        ("a comment without end", format!("{}\nmodel", "#".repeat(1_000_000)), 2),
        (
            "many states",
            with(
                "state z_low",
                &format!("state s{}", (0..5_000).map(|n| format!(", s{n}")).collect::<String>()),
            ),
            19,
        ),
        ("many keys", with("vocab", &"foo = 1\n".repeat(20_000)), 6),
        ("many strangers", "@\n".repeat(20_000), 1),
        ("a loop of a thousand million", with("repeat N", "repeat 1_000_000_000"), 22),
        (
            "loops whose product is too large",
            whole().replace("repeat N", "repeat 100_000").replace("repeat T", "repeat 100_000"),
            22,
        ),
        ("a count beyond 64 bits", with("repeat N", "repeat 9223372036854775808"), 22),
        ("a count beyond 128 bits", with("repeat N", "repeat 340282366920938463463374607431768211456"), 22),
        ("deep networks in long loops", whole().replace("2 * encoder", "1_000 * encoder"), 22),
        ("a number made of itself", with("let N = 2", "let N = N + 1"), 3),
        ("numbers made of each other", with("let N = 2", "let N = T"), 3),
        ("a product beyond all numbers", with("let N = 2", &format!("let N = 2{}", " * 1e300".repeat(2))), 3),
        ("a thousand million positions", with("9 * 9", "1_000_000_000"), 6),
        ("a million layers", with("low  = 2", "low  = 1_000_000"), 16),
        ("negative layers", with("low  = 2", "low  = -1"), 16),
        ("no number", with("explore = 0.1", "explore = NaN"), 32),
        ("an infinite number", with("explore = 0.1", "explore = 1e999"), 32),
        ("a rate that rounds to nothing", with("lr = 5e-4", "lr = 1e-400"), 38),
        ("a hexadecimal number", with("vocab = 11", "vocab = 0x0b"), 6),
        ("a position beyond memory", with("z_high[0]", "z_high[999_999_999_999]"), 30),
        ("more iterations than there are", with("one_step", "last 99_999_999_999 cycle"), 27),
        ("a seed beyond 64 bits", with("batch ", "seed = 99_999_999_999_999_999_999\n  batch "), 41),
        ("two specs in one file", whole() + &whole(), 47),
        ("a model in a segment", with("segment {", "segment { model b { }"), 21),
        ("a base that is a folder", "base \".\"\n".to_string(), 1),
        ("a base that is no file", "base \"\"\n".to_string(), 1),
    ]
}

#[test]
fn texts_that_no_person_writes_are_refused_in_few_words() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("monster.hrm");
    let mut wrong = Vec::new();
    for (what, text, line) in monsters() {
        fs::write(&path, text).expect("the folder can be written");
        let begun = Instant::now();
        let output = Command::new(HRMC).arg("check").arg(&path).output();
        let output = output.expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        // Warnings may come first.
        let mut error = said.lines().skip_while(|line| !line.starts_with("error"));
        let place = error.find(|line| line.trim_start().starts_with("--> ")).unwrap_or_default();
        let right = output.status.code() == Some(1)
            && place.contains(&format!("monster.hrm:{line}:"))
            && said.len() < 100_000
            && !said.contains("panicked")
            && !said.contains('\r')
            // What is quadratic in such texts takes hours.
            && begun.elapsed() < Duration::from_secs(30);
        if !right {
            wrong.push(format!("{what}, line {line}, {:?}: {said:.600}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
