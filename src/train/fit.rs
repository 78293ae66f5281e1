//! Whether data fits a model.

use super::error::Error;
use crate::check::{DatasetShape, fit};
use crate::data::Dataset;
use crate::ir::Model;

/// Checks that every row of `dataset` fits `model`, whose puzzle table has `puzzle_rows` rows. Messages call the
/// dataset `what`, a plural.
pub(crate) fn check_fit(
    model: &Model,
    puzzle_rows: usize,
    dataset: &Dataset,
    what: &str,
) -> Result<(), Error> {
    fit(model, &shape(dataset, what))?;
    let identifiers = dataset.metadata().num_puzzle_identifiers;
    if model.puzzles.is_some() && identifiers > puzzle_rows {
        return Err(Error::unsuitable(format!(
            "the puzzle table of the model `{}` has {puzzle_rows} rows, but {what} have {identifiers} puzzle \
             identifiers; use the data it was trained on",
            model.name
        )));
    }
    Ok(())
}

/// Returns the sizes of a dataset that the checker compares.
pub(crate) fn shape(dataset: &Dataset, what: &str) -> DatasetShape {
    let metadata = dataset.metadata();
    DatasetShape { what: what.to_string(), vocab: metadata.vocab_size, positions: metadata.seq_len }
}
