//! The fuzz target on a stable compiler: its corpus and deterministic mutations of it, for a bounded time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::HRMC;

/// Mutated texts that are tried.
const TRIES: u64 = 10_000;
/// Longest text that is tried, in bytes.
const MAX_LENGTH: usize = 8 << 10;
/// Seconds one text may take in a debug build on a busy machine. It takes milliseconds; a hang takes forever.
const PATIENCE_S: f64 = 20.0;

/// Pieces that a mutation puts in, since random bytes seldom make a word.
const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "#",
    "\n",
    "\r\n",
    ",",
    "=",
    "<-",
    ":",
    "+",
    "-",
    "*",
    "/",
    "\\",
    "_",
    "1",
    "1e999",
    "0",
    "-1",
    "99999999999999999999",
    "é",
    "“",
    "\u{feff}",
    "\u{a0}",
    "\0",
    " x ",
    " let a = 1\n",
    " model m {",
    " train {",
    " block b {",
    " network n = 2 * b\n",
    " state z\n",
    " segment {",
    " repeat 2 {",
    " l: repeat 3 {",
    " z <- n(z + x)\n",
    " gradient last 2 l\n",
    " predict q from z[0]\n",
    " halt bce {",
    " 5 epochs",
    "((((((((",
    "repeat 1 {repeat 1 {",
    "{{{{{{{{",
    "+1+1+1+1",
    "\"\\",
];

fn corpus() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = ["fuzz/corpus/spec", "specs", "tests/fixtures/broken", "tests/fixtures/err"]
        .iter()
        .flat_map(|folder| fs::read_dir(Path::new(folder)).expect("the corpus is checked in"))
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_none_or(|extension| extension == "hrm"))
        .collect();
    files.sort();
    files.into_iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// Runs the target and fails if it takes too long.
fn exercise(bytes: &[u8]) {
    let start = Instant::now();
    hrmc_fuzz_entry::exercise(bytes);
    let elapsed_s = start.elapsed().as_secs_f64();
    assert!(elapsed_s < PATIENCE_S, "{elapsed_s} s for {:?}", String::from_utf8_lossy(bytes));
}

/// Returns a number below `bound`. That small ones are a little likelier does no harm here.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    (random.next_u64() % bound.max(1) as u64) as usize
}

/// Changes a text in one to four places.
fn mutate(text: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut ChaCha8Rng) {
    for _ in 0..1 + below(random, 4) {
        let at = below(random, text.len() + 1);
        let end = (at + below(random, 24)).min(text.len());
        match below(random, 6) {
            0 => drop(text.drain(at..end)),
            1 => {
                let piece = PIECES[below(random, PIECES.len())];
                text.splice(at..end, piece.bytes());
            }
            2 => {
                let piece = PIECES[below(random, PIECES.len())];
                text.splice(at..at, piece.repeat(1 + below(random, 80)).bytes());
            }
            3 => {
                let other = &corpus[below(random, corpus.len())];
                let from = below(random, other.len() + 1);
                let to = (from + below(random, 200)).min(other.len());
                text.splice(at..end, other[from..to].iter().copied());
            }
            4 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = random.next_u64() as u8;
                }
            }
            _ => {
                let copied = text[at..end].to_vec();
                text.splice(at..at, copied);
            }
        }
    }
    text.truncate(MAX_LENGTH);
}

#[test]
fn the_corpus_passes() {
    let corpus = corpus();
    assert!(corpus.len() > 100, "{} texts", corpus.len());
    corpus.iter().for_each(|text| exercise(text));
}

#[test]
fn mutations_of_the_corpus_pass() {
    let corpus: Vec<Vec<u8>> = corpus().into_iter().filter(|text| text.len() <= MAX_LENGTH).collect();
    for seed in 0..TRIES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut text = corpus[below(&mut random, corpus.len())].clone();
        mutate(&mut text, &corpus, &mut random);
        exercise(&text);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_by_the_command_line() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let spec = fs::read("specs/maze.hrm").expect("it is shipped");
    for (index, bad) in
        [&[0xff, 0xfe][..], &[0xc3], &[0xed, 0xa0, 0x80], &[0xf8, 0x88]].into_iter().enumerate()
    {
        let mut bytes = spec.clone();
        bytes.splice(200..200, bad.iter().copied());
        let path = folder.path().join(format!("{index}.hrm"));
        fs::write(&path, bytes).expect("the folder can be written");
        for command in ["check", "show", "fmt", "compile"] {
            let output = Command::new(HRMC).arg(command).arg(&path).output();
            let output = output.expect("the binary runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            assert!(said.contains("line 6 is not UTF-8 text"), "{command}: {said}");
        }
    }
}
