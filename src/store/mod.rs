//! The files of a run. Only this module reads and writes them.
//!
//! [`run_folder`] is the folder with its manifest, [`log`] the metrics in it, and [`checkpoint`] the state from which a
//! training continues.

pub mod checkpoint;
mod error;
pub mod log;
pub mod run_folder;

pub use checkpoint::{CheckpointError, TrainerState};
pub use error::RunFolderError;
pub use log::{MetricMeans, MetricsLine, MetricsLog};
pub use run_folder::{RunFolder, RunManifest};
