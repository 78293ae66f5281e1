//! Building a dataset of tasks and their copies.
//!
//! The demonstrations of every task go to the training split; its test pairs go to the test split if the task is for
//! evaluation, and to the training split otherwise. A task is a group in each split that it has pairs in. Its copies are
//! the puzzles of the group. They have the same identifiers in both splits, which is how the vector of an evaluation
//! task is learned. Grids for training lie anywhere on their canvas, a pair at the same place, but for one random pair
//! of each copy, which lies in the corner, like every grid for testing.
//!
//! This is what the published builder does. It takes tasks in the order of the disk, draws from numpy, and numbers
//! identifiers by split, so its files differ in order and in what is random. Here the tasks come as they are given,
//! identifiers count from 1 in the order of tasks and copies, and what is drawn for a task depends on the seed and on
//! its name alone.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::tasks::ArcTask;
use crate::data::canvas::{
    ArcCopy, ArcGrid, ArcPair, CanvasPlace, SIDE, VOCABULARY, draw_copies, encode, stream_of,
};
use crate::data::dataset::{Metadata, Split};
use crate::data::error::DataError;
use crate::data::random::Stream;
use crate::data::writer::{DatasetWriter, Existing, SplitWriter, TokenType, WrittenDataset};

/// How to build a dataset of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcBuild {
    /// Different copies of each task, besides the task itself.
    pub copies: usize,
    /// Whether grids for training lie anywhere on their canvas.
    pub translate: bool,
    /// Seed of the copies and of the places.
    pub seed: u64,
}

/// What was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenArc {
    /// The dataset.
    pub dataset: WrittenDataset,
    /// Tasks of which fewer different copies were found than asked for.
    pub short_tasks: usize,
}

impl ArcBuild {
    /// Writes a dataset of tasks to a folder, and returns what was written. There is no test split if no task is for
    /// evaluation.
    ///
    /// `may_go_on` is called before every task, before every copy of one, and before the dataset is moved to its place.
    /// It may stop the work there, which then leaves nothing.
    ///
    /// # Errors
    ///
    /// If there are no tasks, something stands in the way, or the system refuses.
    pub fn write(
        &self,
        tasks: &[ArcTask],
        folder: impl AsRef<Path>,
        existing: Existing,
        may_go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), WrittenArc>, DataError> {
        if tasks.is_empty() {
            return Err(DataError::request("there are no tasks to build a dataset of"));
        }
        let writer = DatasetWriter::create(folder.as_ref(), existing)?;
        let metadata = Metadata { kind: Some("arc".to_owned()), ..Metadata::new(VOCABULARY, SIDE * SIDE) };
        let mut train = writer.begin_split(Split::Train, metadata.clone(), TokenType::U1)?;
        let has_test = tasks.iter().any(|task| task.split == Split::Test);
        let mut test =
            has_test.then(|| writer.begin_split(Split::Test, metadata, TokenType::U1)).transpose()?;
        let mut identifiers = vec!["<blank>".to_owned()];
        let mut short_tasks = 0;
        for task in tasks {
            if may_go_on().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let copies = self.copies_of(task);
            short_tasks += usize::from(copies.len() < self.copies + 1);
            let mut places = Stream::new(self.seed, &stream_of(&task.id), 1);
            for copy in &copies {
                if may_go_on().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                let identifier = i32::try_from(identifiers.len())
                    .map_err(|_| DataError::request("there are too many copies to number; ask for fewer"))?;
                identifiers.push(copy.map_or_else(|| task.id.clone(), |copy| copy.name(&task.id)));
                let (shown, asked) = (copied(&task.train, *copy), copied(&task.test, *copy));
                match (&mut test, task.split) {
                    (Some(test), Split::Test) => {
                        self.add_train(&mut train, &shown, &mut places)?;
                        for pair in &asked {
                            add(test, pair, CanvasPlace::default())?;
                        }
                        test.end_puzzle(identifier)?;
                    }
                    _ => self.add_train(&mut train, &[shown, asked].concat(), &mut places)?,
                }
                train.end_puzzle(identifier)?;
            }
            train.end_group()?;
            if let (Some(test), Split::Test) = (&mut test, task.split) {
                test.end_group()?;
            }
        }
        let train = train.finish(identifiers.len())?;
        let test = test.map(|test| test.finish(identifiers.len())).transpose()?;
        if may_go_on().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        writer.finish(&identifiers)?;
        let dataset = WrittenDataset {
            train,
            test: test.unwrap_or_default(),
            seq_len: SIDE * SIDE,
            vocab_size: VOCABULARY,
        };
        Ok(ControlFlow::Continue(WrittenArc { dataset, short_tasks }))
    }

    /// Returns the task itself, as nothing, and copies that all differ in their grids.
    pub fn copies_of(&self, task: &ArcTask) -> Vec<Option<ArcCopy>> {
        let mut seen = BTreeSet::from([content(task, None)]);
        let is_new = |copy: &ArcCopy| seen.insert(content(task, Some(*copy)));
        let copies = draw_copies(&task.id, self.copies, self.seed, is_new);
        std::iter::once(None).chain(copies.into_iter().map(Some)).collect()
    }

    /// Adds the pairs of a copy to the training split.
    fn add_train(
        &self,
        train: &mut SplitWriter,
        pairs: &[ArcPair],
        places: &mut Stream,
    ) -> Result<(), DataError> {
        let in_corner = places.below(pairs.len());
        for (number, pair) in pairs.iter().enumerate() {
            let is_moved = self.translate && number != in_corner;
            let place = if is_moved { CanvasPlace::draw(pair, places) } else { CanvasPlace::default() };
            add(train, pair, place)?;
        }
        Ok(())
    }
}

fn add(rows: &mut SplitWriter, pair: &ArcPair, place: CanvasPlace) -> Result<(), DataError> {
    rows.add_example(&encode(Some(&pair.input), place), &encode(pair.output.as_ref(), place))
}

fn copied(pairs: &[ArcPair], copy: Option<ArcCopy>) -> Vec<ArcPair> {
    let grid = |grid: &ArcGrid| copy.map_or_else(|| grid.clone(), |copy| copy.apply(grid));
    pairs
        .iter()
        .map(|pair| ArcPair { input: grid(&pair.input), output: pair.output.as_ref().map(grid) })
        .collect()
}

/// Returns a hash of all pairs of a copy, whatever their order and whichever are test pairs.
fn content(task: &ArcTask, copy: Option<ArcCopy>) -> [u8; 32] {
    let mut pairs = [copied(&task.train, copy), copied(&task.test, copy)].concat();
    pairs.sort_unstable();
    let mut digest = Sha256::new();
    for pair in &pairs {
        for grid in std::iter::once(&pair.input).chain(&pair.output) {
            digest.update([grid.rows() as u8, grid.columns() as u8]);
            digest.update(grid.cells());
        }
        digest.update([0]);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::super::tasks::{parse_task, read_tasks};
    use super::*;
    use crate::data::canvas::{crop, parse_name};
    use crate::data::dataset::{Dataset, read_identifiers};
    use crate::data::size::SplitSize;

    const PLAIN: ArcBuild = ArcBuild { copies: 4, translate: true, seed: 0 };

    fn fixture(path: &str) -> PathBuf {
        Path::new("tests/fixtures/official-format/arc").join(path)
    }

    fn tasks() -> Vec<ArcTask> {
        read_tasks(&[fixture("source/ARC-AGI"), fixture("source/ConceptARC")]).unwrap()
    }

    fn write(build: &ArcBuild, tasks: &[ArcTask], folder: &Path) -> WrittenArc {
        let go_on = &mut || ControlFlow::Continue(());
        build.write(tasks, folder, Existing::Refuse, go_on).unwrap().continue_value().unwrap()
    }

    /// A pair of rows of tokens.
    type TaskRows = (Vec<i32>, Vec<i32>);

    /// The rows of every puzzle of a split, by its name, in groups.
    fn groups(dataset: &Dataset, names: &[String]) -> Vec<BTreeMap<String, Vec<TaskRows>>> {
        let rows = |example| {
            let labels = dataset.labels(example).map(|label| label.max(0)).collect();
            (dataset.inputs(example).collect(), labels)
        };
        (0..dataset.groups())
            .map(|group| {
                dataset
                    .puzzles_of(group)
                    .map(|puzzle| {
                        let name = names[dataset.identifier(puzzle) as usize].clone();
                        (name, dataset.examples_of(puzzle).map(rows).collect())
                    })
                    .collect()
            })
            .collect()
    }

    /// Returns a canvas and the place of its grid, moved to the corner.
    fn in_corner(tokens: &[i32]) -> (Vec<i32>, CanvasPlace) {
        let is_used = |&(_, token): &(usize, &i32)| *token != 0;
        let used = || tokens.iter().enumerate().filter(is_used).map(|(cell, _)| cell);
        let row = used().map(|cell| cell / SIDE).min().unwrap();
        let column = used().map(|cell| cell % SIDE).min().unwrap();
        let mut moved = vec![0; SIDE * SIDE];
        used().for_each(|cell| moved[cell - row * SIDE - column] = tokens[cell]);
        (moved, CanvasPlace { row, column })
    }

    /// Returns the grids of rows, in some order, after checking that each pair lies at one place as it should.
    fn pairs(rows: &[TaskRows], split: Split) -> Vec<ArcPair> {
        let mut in_place = 0;
        let mut pairs: Vec<ArcPair> = rows
            .iter()
            .map(|(inputs, labels)| {
                let ((input, place), (output, output_place)) = (in_corner(inputs), in_corner(labels));
                assert_eq!(place, output_place, "a pair lies at one place");
                in_place += usize::from(place == CanvasPlace::default());
                let (input, output) = (crop(&input).unwrap(), crop(&output));
                assert_eq!(&encode(Some(&input), place), inputs, "with its end");
                assert_eq!(&encode(output.as_ref(), place), labels, "with its end");
                ArcPair { input, output }
            })
            .collect();
        assert!(in_place > 0, "one pair lies in the corner");
        assert!(split == Split::Train || in_place == rows.len(), "grids for testing lie in the corner");
        pairs.sort();
        pairs
    }

    /// Checks that a dataset has these tasks, their copies by their names, and nothing else.
    fn check(folder: &Path, tasks: &[ArcTask], copies: usize) {
        let names = read_identifiers(folder).unwrap();
        assert_eq!(names.len(), 1 + tasks.len() * (copies + 1));
        assert_eq!(names[0], "<blank>");
        let mut named_in = BTreeMap::new();
        for split in [Split::Train, Split::Test] {
            let dataset = Dataset::open(folder, split).unwrap();
            let groups = groups(&dataset, &names);
            let expected: Vec<&ArcTask> =
                tasks.iter().filter(|task| split == Split::Train || task.split == Split::Test).collect();
            assert_eq!(groups.len(), expected.len());
            assert_eq!(dataset.metadata().num_puzzle_identifiers, names.len());
            for group in groups {
                let (first, _) = group.first_key_value().unwrap();
                let id = parse_name(first).0.to_owned();
                let task = expected.iter().find(|task| task.id == id).unwrap();
                assert_eq!(group.len(), copies + 1);
                assert!(group.contains_key(&id), "the task itself");
                for (name, rows) in group {
                    let (of, copy) = parse_name(&name);
                    assert_eq!(of, id);
                    let wanted = match (split, task.split) {
                        (Split::Test, _) => task.test.clone(),
                        (Split::Train, Split::Test) => task.train.clone(),
                        (Split::Train, Split::Train) => [task.train.clone(), task.test.clone()].concat(),
                    };
                    let mut wanted = copied(&wanted, copy);
                    wanted.sort();
                    assert_eq!(pairs(&rows, split), wanted, "{split} {name}");
                    named_in.entry(name).or_insert_with(Vec::new).push(split);
                }
            }
        }
        assert_eq!(named_in.len(), names.len() - 1, "every identifier has a puzzle");
    }

    #[test]
    fn what_the_published_builder_wrote_is_what_the_sources_say() {
        check(&fixture(""), &tasks(), 4);
    }

    #[test]
    fn what_is_built_is_what_the_sources_say() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("arc");
        let written = write(&PLAIN, &tasks(), &folder);
        check(&folder, &tasks(), 4);
        // What `dataset.json` of the published dataset says, but for the kind.
        for split in [Split::Train, Split::Test] {
            let metadata = |folder: &Path| Metadata::read(folder, split).unwrap().unwrap();
            let ours = metadata(&folder);
            assert_eq!(ours.kind.as_deref(), Some("arc"));
            assert_eq!(Metadata { kind: None, ..ours }, metadata(&fixture("")));
        }
        let size = |examples, puzzles, groups| SplitSize { examples, puzzles, groups, rated: 0 };
        assert_eq!((written.dataset.train, written.dataset.test), (size(250, 45, 9), size(20, 15, 3)));
        assert_eq!(written.short_tasks, 0);
        let json = fs::read_to_string(folder.join("test/dataset.json")).unwrap();
        assert!(json.ends_with("\"sets\": [\"all\"], \"kind\": \"arc\"}"), "{json}");
    }

    #[test]
    fn the_seed_decides_every_byte() {
        let place = tempfile::tempdir().unwrap();
        let files = |name: &str, build: &ArcBuild| {
            let folder = place.path().join(name);
            write(build, &tasks(), &folder);
            let arrays = ["train/all__inputs.npy", "train/all__labels.npy", "test/all__inputs.npy"];
            arrays.map(|file| fs::read(folder.join(file)).unwrap())
        };
        let first = files("first", &PLAIN);
        assert!(first == files("second", &PLAIN));
        assert!(first != files("third", &ArcBuild { seed: 1, ..PLAIN }));
        let still = files("still", &ArcBuild { translate: false, ..PLAIN });
        assert!(still[0] != first[0] && still[2] == first[2], "only places of training grids differ");
        let names = |name: &str| read_identifiers(&place.path().join(name)).unwrap();
        assert_eq!(names("still"), names("first"));
        assert_ne!(names("third"), names("first"));
    }

    #[test]
    fn without_translation_every_grid_lies_in_the_corner() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("arc");
        write(&ArcBuild { translate: false, copies: 0, seed: 0 }, &tasks(), &folder);
        check(&folder, &tasks(), 0);
        let train = Dataset::open(&folder, Split::Train).unwrap();
        for example in 0..train.examples() {
            let (_, place) = in_corner(&train.inputs(example).collect::<Vec<_>>());
            assert_eq!(place, CanvasPlace::default());
        }
    }

    #[test]
    fn copies_differ_and_a_plain_task_has_few() {
        // One colour at one cell: ten colours, of which 0 stays, and no symmetry shows.
        let text = r#"{"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}"#;
        let task = parse_task(Path::new("a.json"), text, Split::Test).unwrap();
        let build = ArcBuild { copies: 20, ..PLAIN };
        assert_eq!(build.copies_of(&task).len(), 9);
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("arc");
        assert_eq!(write(&build, &[task], &folder).short_tasks, 1);
        let test = Dataset::open(&folder, Split::Test).unwrap();
        let colours: BTreeSet<i32> =
            (0..test.examples()).map(|example| test.inputs(example).next().unwrap()).collect();
        assert_eq!(colours, (3..12).collect());
        assert!(!test.has_labels(), "nobody knows the answer");
    }

    #[test]
    fn a_stopped_build_leaves_nothing_and_tasks_are_needed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("arc");
        let stop = |at: usize| {
            let mut asked = 0;
            let go_on = &mut || {
                asked += 1;
                if asked == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let written = PLAIN.write(&tasks(), &folder, Existing::Refuse, go_on).unwrap();
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), usize::from(written.is_continue()));
            (written.is_break(), asked)
        };
        // Nine tasks, five puzzles of each, and the move at the end.
        assert_eq!([1, 54, 55, 56].map(stop), [(true, 1), (true, 54), (true, 55), (false, 55)]);
        let none = PLAIN.write(&[], &folder, Existing::Replace, &mut || ControlFlow::Continue(()));
        assert_eq!(none.unwrap_err().to_string(), "there are no tasks to build a dataset of");
    }
}
