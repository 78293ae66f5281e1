//! Datasets that the published code wrote: read, batched and written again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hrmc::internals::data::{
    Dataset, Existing, IGNORED_LABEL, Split, SplitToWrite, TestBatches, TokenType, TrainLoader, write_dataset,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    batch_size: usize,
    test: Vec<ExpectedBatch>,
}

#[derive(Deserialize, Debug, PartialEq)]
struct ExpectedBatch {
    set: String,
    effective: usize,
    puzzle_identifiers: Vec<i32>,
    label_ignored_per_row: Vec<usize>,
    input_sum_per_row: Vec<i32>,
    label_sum_nonignored_per_row: Vec<i32>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/official-format")
}

fn expected() -> BTreeMap<String, Expected> {
    let json = fs::read_to_string(root().join("expected-batches.json")).unwrap();
    serde_json::from_str(&json).unwrap()
}

#[test]
fn test_batches_are_those_of_the_published_loader() {
    for (folder, expected) in expected() {
        let dataset = Dataset::open(root().join(folder), Split::Test).unwrap();
        let seq_len = dataset.metadata().seq_len;
        let batches: Vec<ExpectedBatch> = TestBatches::new(&dataset, expected.batch_size)
            .map(|batch| {
                let labels = || batch.labels.chunks(seq_len);
                let counted = |row: &[i32]| row.iter().filter(|&&label| label != IGNORED_LABEL).sum();
                ExpectedBatch {
                    set: dataset.metadata().sets[batch.set].clone(),
                    effective: batch.real_rows,
                    puzzle_identifiers: batch.puzzles.clone(),
                    label_ignored_per_row: labels()
                        .map(|row| row.iter().filter(|&&label| label == IGNORED_LABEL).count())
                        .collect(),
                    input_sum_per_row: batch.inputs.chunks(seq_len).map(|row| row.iter().sum()).collect(),
                    label_sum_nonignored_per_row: labels().map(counted).collect(),
                }
            })
            .collect();
        assert_eq!(batches, expected.test);
    }
}

#[test]
fn writing_a_dataset_again_gives_the_same_bytes() {
    for folder in expected().into_keys() {
        let original = root().join(&folder);
        let identifiers: Vec<String> =
            serde_json::from_str(&fs::read_to_string(original.join("identifiers.json")).unwrap()).unwrap();
        let datasets =
            [Split::Train, Split::Test].map(|split| (split, Dataset::open(&original, split).unwrap()));
        let scratch = tempfile::tempdir().unwrap();
        let copy = scratch.path().join("copy");
        let splits = datasets.each_ref().map(|(split, dataset)| SplitToWrite {
            split: *split,
            dataset,
            // Only augmented Sudoku has wide training tokens.
            tokens: if folder == "sudoku" && *split == Split::Train { TokenType::I8 } else { TokenType::U1 },
        });
        write_dataset(&copy, &splits, &identifiers, Existing::Refuse).unwrap();

        assert_eq!(
            fs::read(copy.join("identifiers.json")).unwrap(),
            fs::read(original.join("identifiers.json")).unwrap()
        );
        for split in ["train", "test"] {
            for entry in fs::read_dir(original.join(split)).unwrap() {
                let name = entry.unwrap().file_name();
                let written = fs::read(copy.join(split).join(&name)).unwrap();
                let wanted = fs::read(original.join(split).join(&name)).unwrap();
                assert!(written == wanted, "{folder}/{split}/{} differs", name.display());
            }
        }
    }
}

#[test]
fn one_epoch_of_training_visits_every_group_once() {
    let dataset = Arc::new(Dataset::open(root().join("arc"), Split::Train).unwrap());
    let mut loader = TrainLoader::new(Arc::clone(&dataset), None, 0).unwrap();
    // One row at a time, so every group gives one example.
    let mut groups: Vec<usize> = (0..dataset.groups())
        .map(|_| {
            let row = loader.next_rows(1).remove(0);
            let puzzle =
                (0..dataset.puzzles()).find(|&puzzle| dataset.identifier(puzzle) == row.puzzle).unwrap();
            let is_example = |example| {
                dataset.inputs(example).eq(row.inputs.iter().copied())
                    && dataset.labels(example).eq(row.labels.iter().copied())
            };
            assert!(dataset.examples_of(puzzle).any(is_example));
            (0..dataset.groups()).find(|&group| dataset.puzzles_of(group).contains(&puzzle)).unwrap()
        })
        .collect();
    assert_eq!(loader.epochs_done(), 1.0);
    groups.sort_unstable();
    assert_eq!(groups, (0..dataset.groups()).collect::<Vec<_>>());
}
