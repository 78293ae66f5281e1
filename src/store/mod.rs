//! The files of a run. Only this module reads and writes them.
//!
//! [`run_folder`] is the folder with its manifest, [`log`] the metrics in it, [`times`] how long they took, and
//! [`checkpoint`] the state from which a training continues: [`tensors`] are its large files, and [`sums`] guards all of
//! them. Every change to the disk is one of [`disk`], and [`lock`] sees to it that one process makes them.

pub mod checkpoint;
pub mod disk;
mod error;
pub mod lock;
pub mod log;
pub mod run_folder;
pub mod sums;
pub mod tensors;
pub mod times;
mod upkeep;

pub use checkpoint::TrainerState;
pub use error::{CheckpointError, RunFolderError};
pub use lock::RunLock;
pub use log::{MetricMeans, MetricsLine, MetricsLog};
pub use run_folder::{OWN_DATA, RunFolder, RunManifest};
pub use times::{TimesKind, TimesLine, TimesLog};
