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
        let puzzle = self.dataset.identifier(puzzle);
        match &self.augment {
            None => Row { inputs, labels, puzzle },
            Some(augment) => {
                let (inputs, labels) = augment.draw(&inputs, &labels, &mut self.draws);
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
