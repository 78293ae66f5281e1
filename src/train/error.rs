//! Why something cannot be trained, evaluated or solved.

use crate::data::{DataError, Dataset};
use crate::device::DeviceError;
use crate::ir::Model;

/// Why something cannot be trained, evaluated or solved.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The device refused.
    #[error(transparent)]
    Backend(#[from] DeviceError),
    /// The data is not what it should be.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model and what it is given do not fit together.
    #[error("{reason}")]
    Unsuitable {
        /// What does not fit, and what to do.
        reason: String,
    },
}

impl RuntimeError {
    pub(super) fn unsuitable(reason: impl Into<String>) -> Self {
        RuntimeError::Unsuitable { reason: reason.into() }
    }
}

/// Checks that every row of `dataset` can be given to `model`, whose puzzle table has `puzzle_rows` rows.
pub(super) fn check_fits(model: &Model, puzzle_rows: usize, dataset: &Dataset) -> Result<(), RuntimeError> {
    let metadata = dataset.metadata();
    let tokens = &model.tokens;
    if metadata.seq_len != tokens.positions {
        return Err(RuntimeError::unsuitable(format!(
            "the model `{}` takes rows of {} tokens, but the data has rows of {}; set `positions = {}`",
            model.name, tokens.positions, metadata.seq_len, metadata.seq_len
        )));
    }
    if metadata.vocab_size > tokens.vocab {
        return Err(RuntimeError::unsuitable(format!(
            "the model `{}` knows {} tokens, but the data has {}; set `vocab = {}`",
            model.name, tokens.vocab, metadata.vocab_size, metadata.vocab_size
        )));
    }
    if model.puzzles.is_some() && metadata.num_puzzle_identifiers > puzzle_rows {
        return Err(RuntimeError::unsuitable(format!(
            "the puzzle table of the model `{}` has {puzzle_rows} rows, but the data has {} puzzle identifiers; \
             use the data it was trained on",
            model.name, metadata.num_puzzle_identifiers
        )));
    }
    Ok(())
}
