//! Training, evaluation and solving: runs programs, and keeps the state between two runs of a program.
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
//! 7. [`Divergence`]: the step ends with it if a loss, a gradient or a weight is not finite.
//!
//! Each of these is a pure function of its own; [`Trainer`] only connects them to the memory of a
//! [`Session`](crate::device::Session). Nothing here prints or touches a file: [`store`](crate::store) writes the
//! files.
//!
//! Around it are the types that a program uses: [`Data`] of a spec, [`Training`] from the first step to the last,
//! [`Run`] with its checkpoints, and [`Solver`] for a trained model.
//!
//! The same seed gives the same bytes, for any number of threads, and whether or not a run was interrupted.

mod answers;
mod attention;
mod data;
mod divergence;
mod error;
mod evaluate;
pub mod explore;
mod fit;
pub mod halting;
mod health;
mod infer;
pub mod init;
mod keeper;
mod memory;
pub mod metrics;
mod patience;
pub mod refill;
mod run;
mod sample;
pub mod schedule;
mod score;
mod slots;
mod solve;
mod solver;
mod standing;
pub mod streams;
mod trace;
mod trainer;
mod training;

#[cfg(test)]
mod testing;
pub use answers::{AskedRow, RowAnswer, rule};
pub use data::{Data, DataSize, PuzzleRows, Splits};
pub use divergence::{Divergence, NotFinite, Remaining};
pub use error::Error;
pub use evaluate::{Evaluation, EvaluationProgress, EvaluationRequest, Evaluator};
pub use halting::StoppedBy;
pub use health::Concern;
pub use memory::{TooLarge, Wanted, check_memory};
pub use metrics::Metrics;
pub use patience::evaluations_in_a_row;
pub use run::{Checkpoint, Run};
pub use slots::sigmoid;
pub use solve::{Answer, Question, SegmentOutput};
pub use solver::{SolveOptions, Solver};
pub use standing::{RunState, Standing};
pub use trace::{AttentionMap, MOST_ATTENTION_POSITIONS, RolloutTrace, StateUpdate};
pub(crate) use trace::{SeenSegment, SeenUpdate, Tracer, Watching};
pub use trainer::{Record, StepReport, Trainer, TrainerParts};
pub use training::{ADAPT_STEPS, Event, Outcome, SHOWN_ANSWERS, TrainOptions, Training, evaluate_batch};

#[cfg(test)]
mod tests {
    mod checkpoints;
    mod divergence;
    mod evaluations;
    mod patience;
    mod runs;
    mod survival;
}
