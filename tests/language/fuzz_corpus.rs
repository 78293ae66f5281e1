//! The corpus of the fuzz target for specs. `tests/readers.rs` changes it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::HRMC;

/// Seconds one text may take in a debug build on a busy machine. It takes milliseconds; a hang takes forever.
const PATIENCE_S: f64 = 20.0;

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

#[test]
fn the_corpus_passes() {
    let corpus = corpus();
    assert!(corpus.len() > 100, "{} texts", corpus.len());
    corpus.iter().for_each(|text| exercise(text));
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
