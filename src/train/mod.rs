//! Running programs: training, evaluation, solving, and what is kept between runs.
//!
//! # What it means
//!
//! A batch has `B` *slots*. A slot holds a row of the data until the row *halts*; then it takes the next row
//! and starts again from the initial states. One [`Trainer::step`] is one segment of every slot and one
//! optimizer step:
//!
//! 1. [`refill`]: halted slots take rows from the loader; their states are reset, their steps counted from 0.
//! 2. [`schedule`]: the learning rate and the optimizer's scalars of this step.
//! 3. The program `train` runs: forward, target, loss, gradients, update, carry.
//! 4. [`explore`]: every slot draws a minimum number of segments for this call.
//! 5. [`halting`]: a slot halts at the largest number of segments, or when its Q values or its residual say
//!    so and it is not below its minimum.
//! 6. [`metrics`]: what the slots that halted got right.
//!
//! Each of these is a pure function of its own; [`Trainer`] only connects them to the memory of a
//! [`Session`](crate::device::Session). Nothing here prints, reads a clock or knows where a program came from. Only
//! [`checkpoint`] and [`run_folder`] touch files.
//!
//! The same seed gives the same bytes, whatever the number of threads and wherever a run was interrupted.

pub mod checkpoint;
mod error;
mod evaluate;
pub mod explore;
pub mod halting;
mod infer;
pub mod init;
pub mod metrics;
pub mod refill;
pub mod run_folder;
pub mod schedule;
mod slots;
mod solve;
pub mod streams;
mod trainer;

#[cfg(test)]
mod testing;

pub use checkpoint::CheckpointError;
pub use error::RuntimeError;
pub use evaluate::{Evaluation, EvaluationProgress, EvaluationRequest, Evaluator};
pub use metrics::{MetricMeans, Metrics};
pub use run_folder::{MetricsLine, RunFolder, RunFolderError, RunManifest};
pub use solve::{Question, SolvedSegment, Solving};
pub use trainer::{StepReport, Trainer, TrainerParts};
