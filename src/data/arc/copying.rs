//! Copies of the tasks of a dataset, in place of stored ones.

use crate::data::canvas::{ColourSet, TaskCopies, find};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::kind::PuzzleKind;

/// Draws up to `count` copies of each task of a dataset that has none. `splits` are all that there are of it, and
/// `names` those of its identifiers.
///
/// # Errors
///
/// If the rows are not those of tasks, or the tasks have copies already.
pub fn draw_task_copies(
    splits: &[&Dataset],
    names: Vec<String>,
    count: usize,
    seed: u64,
) -> Result<TaskCopies, DataError> {
    let identifiers = splits.iter().map(|split| split.metadata().num_puzzle_identifiers).max().unwrap_or(0);
    let mut colours: Vec<Option<ColourSet>> = vec![None; identifiers];
    for split in splits {
        add_colours(split, &mut colours)?;
    }
    TaskCopies::draw(names, &colours, count, seed)
}

/// Adds the colours of the tasks of a split, by their identifiers.
fn add_colours(split: &Dataset, colours: &mut [Option<ColourSet>]) -> Result<(), DataError> {
    if split.examples() == 0 {
        return Ok(());
    }
    if split.kind() != PuzzleKind::Arc {
        return Err(DataError::request(format!(
            "copies are made of tasks of ARC, and its rows are of the kind `{}`",
            split.kind().family()
        )));
    }
    if split.metadata().ignore_label_id.is_some_and(|ignored| ignored != split.metadata().pad_id) {
        return Err(DataError::request("copies are made where padding is the ignored label, or none is"));
    }
    for group in 0..split.groups() {
        let puzzles = split.puzzles_of(group);
        let puzzle = puzzles.start;
        if puzzles.len() > 1 {
            return Err(DataError::request(format!(
                "it has copies already: group {group} (counted from 0) has {} puzzles; build it without any (`hrmc \
                 data arc --copies 0`)",
                puzzles.len()
            )));
        }
        let identifier = usize::try_from(split.identifier(puzzle)).expect("identifiers count from 0");
        let of_task = colours[identifier].get_or_insert_default();
        for example in split.examples_of(puzzle) {
            let inputs: Vec<i32> = split.inputs(example).collect();
            let labels: Vec<i32> = split.labels(example).collect();
            let input = find(&inputs).ok_or_else(|| no_grid("inputs", example))?;
            of_task.add(&input);
            match find(&labels) {
                Some(output) => of_task.add(&output),
                None if split.stored_labels(example).all(|label| label == split.metadata().pad_id) => {}
                None => return Err(no_grid("labels", example)),
            }
        }
    }
    Ok(())
}

fn no_grid(array: &str, example: usize) -> DataError {
    DataError::array_row(array, example, "its colours are not one rectangle, so that it cannot be turned")
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::super::build::ArcBuild;
    use super::super::tasks::{parse_task, read_tasks};
    use super::*;
    use crate::data::augment::Augment;
    use crate::data::canvas::parse_name;
    use crate::data::dataset::{DatasetBuilder, Metadata, Split, read_identifiers};
    use crate::data::identifiers::IdentifierNames;
    use crate::data::loader::TrainLoader;
    use crate::data::rules::IGNORED_LABEL;
    use crate::data::writer::Existing;

    const COPIES: usize = 6;

    fn build(folder: &Path, copies: usize, translate: bool) {
        let sources = ["ARC-AGI", "ConceptARC"];
        let sources: Vec<PathBuf> = sources
            .iter()
            .map(|source| format!("tests/fixtures/official-format/arc/source/{source}").into())
            .collect();
        let build = ArcBuild { copies, translate, seed: 3 };
        let go_on = &mut || ControlFlow::Continue(());
        let written = build.write(&read_tasks(&sources).unwrap(), folder, Existing::Refuse, go_on).unwrap();
        assert!(written.is_continue());
    }

    /// The splits of a folder without copies, with such that are made.
    fn made(folder: &Path, seed: u64) -> ([Dataset; 2], Arc<TaskCopies>) {
        let stored = [Split::Train, Split::Test].map(|split| Dataset::open(folder, split).unwrap());
        let names = read_identifiers(folder).unwrap();
        let copies = Arc::new(draw_task_copies(&[&stored[0], &stored[1]], names, COPIES, seed).unwrap());
        (stored.map(|split| split.with_copies(&copies).unwrap()), copies)
    }

    #[test]
    fn made_copies_are_those_that_are_stored() {
        let place = tempfile::tempdir().unwrap();
        let (plain, whole) = (place.path().join("plain"), place.path().join("whole"));
        build(&plain, 0, false);
        build(&whole, COPIES, false);
        let (splits, copies) = made(&plain, 3);
        let names = read_identifiers(&whole).unwrap();
        assert_eq!(copies.identifiers(), names.len());
        for (identifier, name) in (0..).zip(&names) {
            assert_eq!(copies.name(identifier).as_deref(), Some(name.as_str()));
        }
        for (made, split) in splits.iter().zip([Split::Train, Split::Test]) {
            let stored = Dataset::open(&whole, split).unwrap();
            assert_eq!(made.metadata(), stored.metadata());
            assert_eq!(
                (made.examples(), made.puzzles(), made.groups()),
                (stored.examples(), stored.puzzles(), stored.groups())
            );
            assert_eq!(made.set(0), stored.set(0));
            for group in 0..stored.groups() {
                assert_eq!(made.puzzles_of(group), stored.puzzles_of(group));
            }
            for puzzle in 0..stored.puzzles() {
                assert_eq!(made.identifier(puzzle), stored.identifier(puzzle));
                assert_eq!(made.examples_of(puzzle), stored.examples_of(puzzle));
            }
            for example in 0..stored.examples() {
                assert_eq!(made.puzzle_of(example), stored.puzzle_of(example));
                assert_eq!(made.group_of(example), stored.group_of(example));
                assert!(made.inputs(example).eq(stored.inputs(example)), "{split} {example}");
                assert!(made.labels(example).eq(stored.labels(example)), "{split} {example}");
            }
            assert_eq!((made.kind(), made.has_labels()), (stored.kind(), stored.has_labels()));
        }
    }

    #[test]
    fn other_copies_are_another_dataset_and_equal_ones_are_the_same() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("plain");
        build(&folder, 0, true);
        let plain = Dataset::open(&folder, Split::Train).unwrap().fingerprint();
        let fingerprint = |seed| made(&folder, seed).0[0].fingerprint();
        assert_eq!(fingerprint(3), fingerprint(3));
        assert_ne!(fingerprint(3), fingerprint(4));
        assert_ne!(fingerprint(3), plain);
        assert_eq!(
            made(&folder, 3).0[0].without_copies().examples(),
            Dataset::open(&folder, Split::Train).unwrap().examples()
        );
    }

    #[test]
    fn copies_are_drawn_for_training_at_other_places_and_go_on_from_a_saved_one() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("plain");
        build(&folder, 0, true);
        let ([train, _], copies) = made(&folder, 3);
        let stored = Dataset::open(&folder, Split::Train).unwrap();
        let names = IdentifierNames::Copied(Arc::clone(&copies));
        let train = Arc::new(train);
        let begin = || TrainLoader::new(Arc::clone(&train), Some(Augment::places()), 5).unwrap();
        let (mut loader, mut again) = (begin(), begin());
        let rows = loader.next_rows(300);
        assert_eq!(again.next_rows(300), rows);
        let mut restored =
            TrainLoader::restore(Arc::clone(&train), Some(Augment::places()), &loader.state()).unwrap();
        assert_eq!(restored.next_rows(20), loader.next_rows(20));
        let mut in_corner = 0;
        let mut shown_copies = 0;
        for row in &rows {
            let name = names.get(row.puzzle).unwrap();
            let (task, copy) = parse_name(&name);
            shown_copies += usize::from(copy.is_some());
            let undone =
                |tokens: &[i32]| find(tokens).map(|grid| copy.map_or(grid.clone(), |copy| copy.undo(&grid)));
            let pair = (undone(&row.inputs), undone(&row.labels));
            let is_of_task = |&puzzle: &usize| {
                names.get(copies.identifier_of(stored.identifier(puzzle))).as_deref() == Some(task)
            };
            let puzzle = (0..stored.puzzles()).find(is_of_task).expect("its task is there");
            let grid = |tokens: Vec<i32>| find(&tokens);
            assert!(
                stored.examples_of(puzzle).any(|example| {
                    pair == (grid(stored.inputs(example).collect()), grid(stored.labels(example).collect()))
                }),
                "{name}"
            );
            in_corner += usize::from(row.inputs[0] > 1);
        }
        assert!(shown_copies > 200, "six of seven are copies: {shown_copies}");
        // Of three or four pairs of a task, one lies in the corner on average.
        assert!((50..150).contains(&in_corner), "{in_corner}");
    }

    #[test]
    fn what_cannot_be_copied_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("whole");
        build(&folder, 1, true);
        let train = Dataset::open(&folder, Split::Train).unwrap();
        let said = |split: &Dataset| {
            let names = vec!["<blank>".to_owned(), "a".to_owned()];
            draw_task_copies(&[split], names, 1, 0).unwrap_err().to_string()
        };
        assert_eq!(
            said(&train),
            "it has copies already: group 0 (counted from 0) has 2 puzzles; build it without any (`hrmc data arc \
             --copies 0`)"
        );
        let rows = |metadata: Metadata, row: &[i32]| {
            let mut builder =
                DatasetBuilder::new(Metadata { num_puzzle_identifiers: 2, ..metadata }).unwrap();
            builder.add_example(row, row).unwrap();
            builder.end_puzzle(1).unwrap();
            builder.end_group().unwrap();
            builder.finish().unwrap()
        };
        assert_eq!(
            said(&rows(Metadata::new(4, 2), &[1, 2])),
            "copies are made of tasks of ARC, and its rows are of the kind `tokens`"
        );
        let mut broken = vec![0; 900];
        (broken[0], broken[31]) = (2, 2);
        assert_eq!(
            said(&rows(Metadata::for_kind(PuzzleKind::Arc), &broken)),
            "`inputs`, row 0 (counted from 0): its colours are not one rectangle, so that it cannot be turned"
        );
    }

    #[test]
    fn an_unknown_answer_stays_unknown() {
        let text = r#"{"train": [{"input": [[1, 2]], "output": [[3]]}], "test": [{"input": [[4, 1]]}]}"#;
        let task = parse_task(Path::new("a.json"), text, Split::Test).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("plain");
        let build = ArcBuild { copies: 0, translate: true, seed: 0 };
        let go_on = &mut || ControlFlow::Continue(());
        assert!(build.write(&[task], &folder, Existing::Refuse, go_on).unwrap().is_continue());
        let ([_, test], _) = made(&folder, 0);
        assert_eq!(test.examples(), 1 + COPIES);
        assert!(!test.has_labels());
        assert!((0..test.examples()).all(|example| test.labels(example).all(|label| label == IGNORED_LABEL)));
    }
}
