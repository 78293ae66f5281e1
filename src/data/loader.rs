//! Rows for training, one at a time as slots become free.
//!
//! The order of the groups is shuffled anew for every epoch; each group gives one of its puzzles, drawn
//! uniformly, and that puzzle gives as many of its examples as there is room for, without repeats. So an
//! epoch is one visit to every group, however many copies of it there are.
//!
//! The published loader makes whole batches and the model throws away the rows for slots that have not
//! halted. Here a row is only made for a slot that takes it: [`TrainLoader::next_rows`] is asked for as many
//! rows as slots have halted, and "room" means what is left of that number. The rows of one request may
//! come from two epochs. There is no last, short batch to drop, since the stream never ends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::dataset::Dataset;
use super::error::DataError;
use super::random::Stream;

/// Name of the random stream that orders, draws and augments training rows.
const STREAM: &str = "shuffle";

/// One training row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Tokens, `[S]`.
    pub inputs: Vec<i32>,
    /// Labels, `[S]`, with [`IGNORED_LABEL`](super::IGNORED_LABEL) where nothing is asked for.
    pub labels: Vec<i32>,
    /// Puzzle identifier.
    pub puzzle: i32,
}

/// The place of a [`TrainLoader`] in its stream. A loader restored to it goes on with the same rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderState {
    /// Seed of the stream.
    pub seed: u64,
    /// Groups of the dataset, to notice that it is another one.
    pub groups: usize,
    /// Finished epochs.
    pub epoch: u64,
    /// Groups already visited in this epoch.
    pub visited: usize,
    /// Words drawn from the stream that draws and augments.
    pub draw_position: u64,
}

/// An endless stream of training rows.
#[derive(Debug, Clone)]
pub struct TrainLoader {
    dataset: Arc<Dataset>,
    augment: Option<Augment>,
    seed: u64,
    epoch: u64,
    visited: usize,
    /// The groups in the order of this epoch.
    order: Vec<u32>,
    draws: Stream,
}

impl TrainLoader {
    /// Begins the stream.
    ///
    /// # Errors
    ///
    /// If the dataset has no groups, or does not fit the augmentation.
    pub fn new(dataset: Arc<Dataset>, augment: Option<Augment>, seed: u64) -> Result<TrainLoader, DataError> {
        if dataset.groups() == 0 {
            return Err(DataError::request("the training data has no puzzles"));
        }
        if u32::try_from(dataset.groups()).is_err() {
            return Err(DataError::request(format!("cannot train on {} groups", dataset.groups())));
        }
        if let Some(augment) = &augment {
            augment.check(&dataset)?;
        }
        let order = epoch_order(dataset.groups(), seed, 0);
        let draws = Stream::new(seed, STREAM, 0);
        Ok(TrainLoader { dataset, augment, seed, epoch: 0, visited: 0, order, draws })
    }

    /// Goes on from a recorded place.
    ///
    /// # Errors
    ///
    /// As [`TrainLoader::new`]; besides, if the place was recorded on a dataset of another size.
    pub fn restore(
        dataset: Arc<Dataset>,
        augment: Option<Augment>,
        state: &LoaderState,
    ) -> Result<TrainLoader, DataError> {
        let mut loader = TrainLoader::new(dataset, augment, state.seed)?;
        if state.groups != loader.order.len() || state.visited >= loader.order.len() {
            return Err(DataError::request(format!(
                "the loader was saved {} groups into an epoch of {}, but the training data has {} groups",
                state.visited,
                state.groups,
                loader.order.len()
            )));
        }
        if state.epoch != 0 {
            loader.order = epoch_order(loader.order.len(), state.seed, state.epoch);
        }
        loader.epoch = state.epoch;
        loader.visited = state.visited;
        loader.draws.seek(state.draw_position);
        Ok(loader)
    }

    /// Returns the place in the stream.
    pub fn state(&self) -> LoaderState {
        LoaderState {
            seed: self.seed,
            groups: self.order.len(),
            epoch: self.epoch,
            visited: self.visited,
            draw_position: self.draws.position(),
        }
    }

    /// Returns how often the stream has gone through the dataset. One epoch is one visit to every group.
    pub fn epochs_done(&self) -> f64 {
        self.epoch as f64 + self.visited as f64 / self.order.len() as f64
    }

    /// Returns the dataset that the rows come from.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Returns the next `count` rows.
    pub fn next_rows(&mut self, count: usize) -> Vec<Row> {
        let mut rows = Vec::with_capacity(count);
        while rows.len() < count {
            let group = self.next_group();
            let puzzles = self.dataset.puzzles_of(group);
            let puzzle = puzzles.start + self.draws.below(puzzles.len());
            let examples = self.dataset.examples_of(puzzle);
            let room = (count - rows.len()).min(examples.len());
            for choice in self.draws.sample(examples.len(), room) {
                rows.push(self.row(puzzle, examples.start + choice));
            }
        }
        rows
    }

    fn next_group(&mut self) -> usize {
        let group = self.order[self.visited] as usize;
        self.visited += 1;
        if self.visited == self.order.len() {
            self.visited = 0;
            self.epoch += 1;
            self.order = epoch_order(self.order.len(), self.seed, self.epoch);
        }
        group
    }

    fn row(&mut self, puzzle: usize, example: usize) -> Row {
        let inputs: Vec<i32> = self.dataset.inputs(example).collect();
        let labels: Vec<i32> = self.dataset.labels(example).collect();
        let examples = self.dataset.examples_of(puzzle).len();
        let puzzle = self.dataset.identifier(puzzle);
        match &self.augment {
            None => Row { inputs, labels, puzzle },
            Some(augment) => {
                let (inputs, labels) = augment.draw(&inputs, &labels, examples, &mut self.draws);
                Row { inputs, labels, puzzle }
            }
        }
    }
}

/// Returns the order of the groups in one epoch. Every epoch has its own part of the stream, so that a place
/// in the middle of one can be restored without the orders before it.
fn epoch_order(groups: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..groups as u32).collect();
    Stream::new(seed, STREAM, epoch + 1).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::{prop, proptest};

    use super::super::build::{BuiltDataset, Copies};
    use super::super::dataset::{DatasetBuilder, Metadata};
    use super::super::dihedral::{DIHEDRAL_IMAGES, dihedral_image};
    use super::super::kind::PuzzleKind;
    use super::super::maze::{MazeRequest, generate_maze_splits, is_optimal_path, solve_maze};
    use super::super::sudoku::{BLANK, SudokuRequest, SudokuSize, generate_sudoku_splits, is_solved_sudoku};
    use super::*;

    /// A group of one puzzle with one example.
    const ONE: &[usize] = &[1];

    /// A dataset whose groups hold puzzles with these numbers of examples. Identifiers number the puzzles,
    /// the only token of an example numbers the examples.
    fn dataset(groups: &[&[usize]]) -> Arc<Dataset> {
        let mut metadata = Metadata::new(1000, 1);
        metadata.num_puzzle_identifiers = 1000;
        metadata.ignore_label_id = None;
        let mut builder = DatasetBuilder::new(metadata).unwrap();
        let mut example = 0;
        let mut puzzle = 0;
        for group in groups {
            for &examples in *group {
                for _ in 0..examples {
                    builder.add_example(&[example], &[example]).unwrap();
                    example += 1;
                }
                builder.end_puzzle(puzzle).unwrap();
                puzzle += 1;
            }
            builder.end_group().unwrap();
        }
        Arc::new(builder.finish().unwrap())
    }

    fn examples(rows: &[Row]) -> Vec<i32> {
        rows.iter().map(|row| row.inputs[0]).collect()
    }

    #[test]
    fn each_epoch_is_another_order_of_all_groups() {
        let mut loader = TrainLoader::new(dataset(&[ONE; 20]), None, 0).unwrap();
        let epochs: Vec<Vec<i32>> = (0..3).map(|_| examples(&loader.next_rows(20))).collect();
        for epoch in &epochs {
            assert_eq!(epoch.iter().collect::<BTreeSet<_>>().len(), 20);
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(epochs[1], epochs[2]);
        assert_eq!(loader.epochs_done(), 3.0);
    }

    #[test]
    fn a_request_crosses_the_border_of_an_epoch() {
        let mut loader = TrainLoader::new(dataset(&[ONE; 4]), None, 0).unwrap();
        let rows = examples(&loader.next_rows(10));
        assert_eq!(rows[..4].iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(rows[4..8].iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(loader.epochs_done(), 2.5);
    }

    #[test]
    fn a_puzzle_gives_as_many_examples_as_there_is_room_for() {
        let mut loader = TrainLoader::new(dataset(&[&[5], &[5]]), None, 0).unwrap();
        let rows = loader.next_rows(7);
        let puzzles: Vec<i32> = rows.iter().map(|row| row.puzzle).collect();
        assert_eq!(puzzles, [[puzzles[0]; 5].as_slice(), &[1 - puzzles[0]; 2]].concat());
        assert_eq!(examples(&rows).iter().collect::<BTreeSet<_>>().len(), 7, "drawn without repeats");
        assert_eq!(loader.epochs_done(), 1.0, "what did not fit is left out");
    }

    #[test]
    fn puzzles_of_a_group_are_drawn_equally_often_whatever_their_size() {
        let mut loader = TrainLoader::new(dataset(&[&[1, 4]]), None, 0).unwrap();
        let mut counts: BTreeMap<i32, u32> = BTreeMap::new();
        for _ in 0..1000 {
            *counts.entry(loader.next_rows(1)[0].puzzle).or_default() += 1;
        }
        // Five standard deviations of a binomial with mean 500 are 79.
        assert!(counts[&0].abs_diff(500) < 79, "{counts:?}");
    }

    #[test]
    fn the_ignored_label_becomes_minus_100() {
        let mut builder = DatasetBuilder::new(Metadata::new(5, 3)).unwrap();
        builder.add_example(&[0, 1, 2], &[0, 3, 0]).unwrap();
        builder.end_puzzle(0).unwrap();
        builder.end_group().unwrap();
        let dataset = Arc::new(builder.finish().unwrap());
        let row = TrainLoader::new(dataset, None, 0).unwrap().next_rows(1).remove(0);
        assert_eq!(row, Row { inputs: vec![0, 1, 2], labels: vec![-100, 3, -100], puzzle: 0 });
    }

    #[test]
    fn a_place_in_another_dataset_is_refused() {
        let state = TrainLoader::new(dataset(&[ONE; 4]), None, 0).unwrap().state();
        let error = TrainLoader::restore(dataset(&[ONE; 5]), None, &state).unwrap_err().to_string();
        assert_eq!(
            error,
            "the loader was saved 0 groups into an epoch of 4, but the training data has 5 groups"
        );
    }

    #[test]
    fn a_dataset_without_puzzles_is_refused() {
        let error = TrainLoader::new(dataset(&[]), None, 0).unwrap_err().to_string();
        assert_eq!(error, "the training data has no puzzles");
    }

    fn sudoku(size: SudokuSize, givens: usize, train: usize, test: usize) -> BuiltDataset {
        let request = SudokuRequest { size, givens, train, test, seed: 1 };
        let splits = generate_sudoku_splits(&request).unwrap();
        BuiltDataset::from_puzzles(PuzzleKind::Sudoku(size), &splits, Copies::None, 0).unwrap()
    }

    #[test]
    fn augmented_rows_are_valid_and_fresh() {
        let size = SudokuSize::Six;
        let built = sudoku(size, 20, 1, 1);
        let mut loader = TrainLoader::new(Arc::new(built.train), Some(Augment::new(size)), 0).unwrap();
        let rows = loader.next_rows(50);
        for row in &rows {
            assert!(is_solved_sudoku(size, &row.labels));
            assert_eq!(row.inputs.iter().filter(|&&token| token != BLANK).count(), 20);
            assert!(
                row.inputs.iter().zip(&row.labels).all(|(given, label)| *given == BLANK || given == label)
            );
        }
        assert_eq!(rows.iter().map(|row| &row.labels).collect::<BTreeSet<_>>().len(), 50);
    }

    #[test]
    fn training_never_sees_a_held_out_solution() {
        // Half of all grids of 4x4 are held out, so without the redraws every other row would be one.
        let size = SudokuSize::Four;
        let built = sudoku(size, 8, 400, 400);
        let held_out: BTreeSet<Vec<i32>> =
            (0..400).map(|example| built.test.labels(example).collect()).collect();
        assert!(held_out.len() > 100);
        let seen = |augment| {
            let mut loader = TrainLoader::new(Arc::new(built.train.clone()), Some(augment), 0).unwrap();
            loader.next_rows(1000).iter().filter(|row| held_out.contains(&row.labels)).count()
        };
        assert!(seen(Augment::new(size)) > 300);
        assert_eq!(seen(Augment::new(size).with_held_out(&built.test)), 0);
    }

    fn mazes(train: usize, test: usize) -> BuiltDataset {
        let request = MazeRequest { side: 7, min_path: 9, train, test, seed: 1 };
        let splits = generate_maze_splits(&request).unwrap();
        BuiltDataset::from_puzzles(PuzzleKind::Maze { side: 7 }, &splits, Copies::None, 0).unwrap()
    }

    fn augmented(data: &Dataset) -> TrainLoader {
        TrainLoader::new(Arc::new(data.clone()), Augment::of_kind(data.kind()), 0).unwrap()
    }

    #[test]
    fn every_image_of_a_maze_is_shown_with_the_path_by_the_rule() {
        let built = mazes(1, 1);
        let maze: Vec<i32> = built.train.inputs(0).collect();
        let path: Vec<i32> = built.train.labels(0).collect();
        let images: Vec<Vec<i32>> = (0..DIHEDRAL_IMAGES).map(|image| dihedral_image(&maze, image)).collect();
        let mut counts = [0_u32; DIHEDRAL_IMAGES];
        let mut moved_along = 0;
        for row in augmented(&built.train).next_rows(800) {
            let image = images.iter().position(|image| *image == row.inputs).expect("it is an image");
            counts[image] += 1;
            assert_eq!(Some(&row.labels), solve_maze(&row.inputs).as_ref());
            moved_along += usize::from(row.labels == dihedral_image(&path, image));
        }
        // Five standard deviations of a binomial with mean 100 are 47.
        assert!(counts.iter().all(|&count| count.abs_diff(100) < 47), "{counts:?}");
        assert!(moved_along < 800, "the rule has other paths for some images");
    }

    #[test]
    fn a_path_that_is_not_by_the_rule_is_moved_along() {
        // Right and down, where the rule goes down and right.
        let maze = [3, 2, 2, 2, 2, 2, 2, 2, 4];
        let path = [3, 5, 5, 2, 2, 5, 2, 2, 4];
        assert_ne!(solve_maze(&maze).unwrap(), path);
        assert!(is_optimal_path(&maze, &path));
        let labels = |labels: &[i32]| {
            let mut builder = DatasetBuilder::new(Metadata::for_kind(PuzzleKind::Maze { side: 3 })).unwrap();
            builder.add_example(&maze, labels).unwrap();
            builder.end_puzzle(0).unwrap();
            builder.end_group().unwrap();
            augmented(&builder.finish().unwrap()).next_rows(50)
        };
        let images: BTreeSet<Vec<i32>> =
            (0..DIHEDRAL_IMAGES).map(|image| dihedral_image(&path, image)).collect();
        let shown: BTreeSet<Vec<i32>> = labels(&path).into_iter().map(|row| row.labels).collect();
        assert_eq!(shown, images);
        // So are labels of which most are ignored.
        let few = [0, 0, 5, 0, 0, 0, 0, 0, 0];
        assert!(labels(&few).iter().all(|row| row.labels.iter().filter(|&&label| label == 5).count() == 1));
    }

    #[test]
    fn training_never_sees_a_held_out_maze() {
        let built = mazes(2, 1);
        let maze: Vec<i32> = built.train.inputs(0).collect();
        let [one, other] = [1, 6].map(|image| dihedral_image(&maze, image));
        let mut held_out = DatasetBuilder::new(built.test.metadata().clone()).unwrap();
        for question in [&one, &other] {
            held_out.add_example(question, &solve_maze(question).unwrap()).unwrap();
            held_out.end_puzzle(0).unwrap();
            held_out.end_group().unwrap();
        }
        let augment =
            Augment::of_kind(built.train.kind()).unwrap().with_held_out(&held_out.finish().unwrap());
        let mut loader = TrainLoader::new(Arc::new(built.train.clone()), Some(augment), 0).unwrap();
        let rows = loader.next_rows(400);
        let questions: BTreeSet<&Vec<i32>> = rows.iter().map(|row| &row.inputs).collect();
        assert_eq!(questions.len(), 2 * DIHEDRAL_IMAGES - 2);
        assert!(!questions.contains(&one) && !questions.contains(&other));
    }

    #[test]
    fn rows_without_symmetries_have_no_augmentation() {
        for kind in [
            PuzzleKind::Arc,
            PuzzleKind::Grid { rows: 2, columns: 2, vocab: 3 },
            PuzzleKind::Tokens { length: 4, vocab: 3 },
        ] {
            assert_eq!(Augment::of_kind(kind), None);
        }
        assert_eq!(
            Augment::of_kind(PuzzleKind::Sudoku(SudokuSize::Sixteen)),
            Some(Augment::new(SudokuSize::Sixteen))
        );
    }

    #[test]
    fn augmentation_must_fit_the_training_data() {
        let built = sudoku(SudokuSize::Four, 8, 2, 2);
        let train = Arc::new(built.train);
        let error = |augment| TrainLoader::new(Arc::clone(&train), Some(augment), 0).unwrap_err().to_string();
        assert_eq!(
            error(Augment::new(SudokuSize::Nine)),
            "Sudoku symmetries for 9x9 do not fit the training data, which has rows of 16 tokens and a \
             vocabulary of 6"
        );
        assert_eq!(
            error(Augment::new(SudokuSize::Four).with_held_out(&train)),
            "`train/labels`, row 0 (counted from 0): the solution grid is also that of a held-out puzzle; remove \
             it from one of the two"
        );
        let mazes = mazes(2, 2);
        let augment = Augment::of_kind(PuzzleKind::Maze { side: 7 }).unwrap();
        assert_eq!(
            error(augment.clone()),
            "symmetries of mazes of 7x7 do not fit the training data, which has rows of 16 tokens and a vocabulary \
             of 6"
        );
        let train = Arc::new(mazes.train);
        let error = TrainLoader::new(Arc::clone(&train), Some(augment.with_held_out(&train)), 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`train/inputs`, row 0 (counted from 0): the maze is also a held-out one; remove it from one of the two"
        );
    }

    proptest! {
        #[test]
        fn a_restored_loader_goes_on_with_the_same_rows(
            groups in prop::collection::vec(prop::collection::vec(1..5_usize, 1..4), 1..9),
            before in prop::collection::vec(0..7_usize, 0..12),
            after in prop::collection::vec(0..7_usize, 1..12),
            seed in 0..1000_u64,
        ) {
            let groups: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
            let dataset = dataset(&groups);
            let mut loader = TrainLoader::new(Arc::clone(&dataset), None, seed).unwrap();
            before.iter().for_each(|&count| drop(loader.next_rows(count)));
            let saved = serde_json::to_string(&loader.state()).unwrap();
            let state: LoaderState = serde_json::from_str(&saved).unwrap();
            let mut restored = TrainLoader::restore(dataset, None, &state).unwrap();
            assert_eq!(restored.epochs_done(), loader.epochs_done());
            for &count in &after {
                assert_eq!(restored.next_rows(count), loader.next_rows(count));
            }
            assert_eq!(restored.state(), loader.state());
        }

        #[test]
        fn a_restored_loader_augments_in_the_same_way(before in 0..20_usize, seed in 0..1000_u64) {
            for built in [sudoku(SudokuSize::Nine, 60, 3, 1), mazes(3, 1)] {
                let augment = Augment::of_kind(built.train.kind()).unwrap().with_held_out(&built.test);
                let train = Arc::new(built.train);
                let begin = || TrainLoader::new(Arc::clone(&train), Some(augment.clone()), seed).unwrap();
                let (mut loader, mut again) = (begin(), begin());
                assert_eq!(again.next_rows(before), loader.next_rows(before));
                let mut restored =
                    TrainLoader::restore(Arc::clone(&train), Some(augment.clone()), &loader.state()).unwrap();
                assert_eq!(restored.next_rows(5), loader.next_rows(5));
            }
        }

        #[test]
        fn an_epoch_visits_each_group_exactly_once(
            sizes in prop::collection::vec(1..4_usize, 1..12),
            seed in 0..1000_u64,
        ) {
            let groups: Vec<[usize; 1]> = sizes.iter().map(|&size| [size]).collect();
            let groups: Vec<&[usize]> = groups.iter().map(<[usize; 1]>::as_slice).collect();
            let mut loader = TrainLoader::new(dataset(&groups), None, seed).unwrap();
            let rows = loader.next_rows(sizes.iter().sum());
            let seen: BTreeSet<i32> = examples(&rows).into_iter().collect();
            assert_eq!(seen.len(), rows.len());
            assert_eq!(loader.epochs_done(), 1.0);
        }
    }
}
