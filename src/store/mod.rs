//! What a run leaves on the disk: the only code that touches its files.
//!
//! [`run_folder`] is the folder with its manifest, [`log`] the metrics in it, [`checkpoint`] what training goes on from.

pub mod checkpoint;
mod error;
pub mod log;
pub mod run_folder;

pub use checkpoint::{CheckpointError, TrainerState};
pub use error::RunFolderError;
pub use log::{MetricMeans, MetricsLine, MetricsLog};
pub use run_folder::{RunFolder, RunManifest};
