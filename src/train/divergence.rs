//! Numbers that are not finite: where training finds the first one, and what it says then.
//!
//! A loss that is not finite makes every gradient so, and a gradient makes weights so: from that step on, a training
//! computes nothing, and each save would put nothing in the place of something. The losses of a step are on the host
//! anyway, and the update of each weight says whether its gradient and its new value are finite
//! ([`SQUARES`](crate::graph::ops::AdamW::SQUARES)). So the step that makes such a number is the one that ends with
//! [`Divergence`], on every device, before anything of it is saved.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::metrics::SegmentRows;
use crate::device::{DeviceError, Session};
use crate::ir::{OnDivergence, Precision, Train};
use crate::lower::names;
use crate::lower::parameters::{PUZZLE_TABLE, Parameter};
use crate::units::{counted, grouped};

/// The first number of a training that is not finite.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct Divergence {
    /// Step that made it.
    pub step: u64,
    /// Learning rate of the weights in that step.
    pub learning_rate: f32,
    /// What is not finite.
    pub what: NotFinite,
    /// How often training had gone back before.
    pub rollbacks: u32,
    /// What is left of the training.
    pub left: Remaining,
    /// What to change, a phrase each.
    advice: Vec<&'static str>,
}

/// What is not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFinite {
    /// A loss.
    Loss {
        /// Its name in messages.
        name: &'static str,
        /// Rows in which it is not finite.
        rows: usize,
        /// Rows of the batch.
        batch: usize,
    },
    /// The loss of an evaluation after the step, though the weights are finite.
    Evaluation,
    /// The gradients of weights: a number, its square, or a sum of squares.
    Gradient {
        /// Name of the first of these weights in the state dict.
        weight: String,
        /// How many there are besides.
        others: usize,
    },
    /// Weights, though their gradients are finite.
    Weight {
        /// Name of the first of them in the state dict.
        weight: String,
        /// Numbers of it that are not finite.
        numbers: usize,
        /// How many weights there are besides.
        others: usize,
    },
}

/// What is left when a training has diverged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remaining {
    /// Nothing that the trainer knows of: it has no run.
    Unknown,
    /// A checkpoint.
    Checkpoint {
        /// Its folder.
        folder: PathBuf,
        /// Optimizer steps it has done.
        step: u64,
    },
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let besides = |others: usize, link: &str| match others {
            0 => String::new(),
            others => format!(", {link} of {}", counted(others, "other weight")),
        };
        match self {
            NotFinite::Loss { name, rows, batch } => {
                write!(f, "the loss of {name} is not finite in {rows} of {}", counted(*batch, "row"))
            }
            NotFinite::Evaluation => f.write_str("the loss of the evaluation after it is not finite"),
            NotFinite::Gradient { weight, others } => {
                let besides = besides(*others, "nor are those");
                write!(f, "the gradient of `{weight}` is not finite, or its square is not{besides}")
            }
            NotFinite::Weight { weight, numbers, others } => {
                let (numbers, besides) = (counted(*numbers, "number"), besides(*others, "and some"));
                write!(f, "the update leaves {numbers} of the weight `{weight}` not finite{besides}")
            }
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; ", self.short())?;
        match &self.left {
            Remaining::Unknown => {
                f.write_str("this training cannot go on, but checkpoints saved before are whole; ")?
            }
            Remaining::Checkpoint { folder, step } if *step < self.step => {
                let (folder, step) = (folder.display(), grouped(*step));
                write!(f, "nothing of this step is saved, and `{folder}` still holds step {step}; ")?;
            }
            Remaining::Checkpoint { folder, .. } => {
                let folder = folder.display();
                write!(f, "its weights are finite and saved in `{folder}`, but too large to compute with; ")?;
            }
        }
        if self.rollbacks > 0 {
            write!(f, "going back {} did not help; ", counted(self.rollbacks as usize, "time"))?;
        }
        write!(
            f,
            "lower the learning rate (`train.optimizer.lr`; in this step it was {:?})",
            self.learning_rate
        )?;
        self.advice.iter().try_for_each(|advice| write!(f, ", or {advice}"))
    }
}

impl Divergence {
    /// Looks for numbers that are not finite in the results of a step: losses, then gradients, then weights.
    pub(super) fn find(
        session: &Session,
        segment: &SegmentRows<'_>,
        watched: &[Watched],
        at: impl FnOnce(NotFinite) -> Divergence,
    ) -> Result<Option<Divergence>, DeviceError> {
        let what = match bad_loss(segment) {
            Some(loss) => Some(loss),
            None => bad_weights(session, watched)?,
        };
        Ok(what.map(at))
    }

    pub(super) fn new(
        step: u64,
        learning_rate: f32,
        what: NotFinite,
        rollbacks: u32,
        train: &Train,
    ) -> Divergence {
        let mut advice = vec!["warm up for more steps (`train.schedule`)"];
        if train.precision == Precision::Bf16 {
            advice.push("compute in f32 (`train.precision`)");
        }
        if train.on_divergence == OnDivergence::Stop {
            advice.push("let training go back by itself (`train.on_divergence = rollback`)");
        }
        Divergence { step, learning_rate, what, rollbacks, left: Remaining::Unknown, advice }
    }

    /// Returns what happened, without what to do.
    pub fn short(&self) -> String {
        format!("training diverged in step {}: {}", grouped(self.step), self.what)
    }

    /// Says which checkpoint is left.
    pub fn with_checkpoint(self, folder: PathBuf, step: u64) -> Divergence {
        Divergence { left: Remaining::Checkpoint { folder, step }, ..self }
    }
}

/// A weight whose update sums up the squares of its gradient and says whether something is spoiled.
pub(super) struct Watched {
    /// Its name in the state dict.
    weight: String,
    /// Name of the memory with the sums.
    squares: String,
}

impl Watched {
    /// Returns the weights of a session whose updates do.
    pub(super) fn of(session: &Session, parameters: &[Parameter]) -> Vec<Watched> {
        let watched = parameters.iter().map(|parameter| Watched {
            weight: parameter.name.clone(),
            squares: names::squares(&parameter.name),
        });
        watched.filter(|watched| session.has(&watched.squares)).collect()
    }
}

fn bad_loss(segment: &SegmentRows<'_>) -> Option<NotFinite> {
    let losses = [
        ("the tokens", Some(segment.token_loss)),
        ("`q_halt`", segment.halt_loss),
        ("`q_continue`", segment.continue_loss),
    ];
    losses.into_iter().find_map(|(name, loss)| {
        let loss = loss?;
        let rows = not_finite(loss);
        (rows > 0).then_some(NotFinite::Loss { name, rows, batch: loss.len() })
    })
}

fn bad_weights(session: &Session, watched: &[Watched]) -> Result<Option<NotFinite>, DeviceError> {
    let (mut gradients, mut weights) = (Vec::new(), Vec::new());
    for Watched { weight, squares } in watched {
        if not_finite(session.f32(squares)?) == 0 {
            continue;
        }
        let numbers = not_finite(session.f32(&names::parameter(weight))?);
        // The moment is the mean of squares of gradients. A puzzle table has none, but its update goes by signs, which
        // are finite.
        let moment = names::moment2(weight);
        let of_gradient = numbers == 0 || (session.has(&moment) && not_finite(session.f32(&moment)?) > 0);
        if of_gradient {
            gradients.push(weight);
        } else {
            weights.push((weight, numbers));
        }
    }
    Ok(match (gradients.first(), weights.first()) {
        (Some(&weight), _) => {
            Some(NotFinite::Gradient { weight: weight.clone(), others: gradients.len() - 1 })
        }
        (None, Some(&(weight, numbers))) => {
            Some(NotFinite::Weight { weight: weight.clone(), numbers, others: weights.len() - 1 })
        }
        (None, None) => None,
    })
}

/// Returns the norm of the gradient that the last step followed: the root of the sum of the squares of all its numbers,
/// over all weights that are trained. `None` for a program without updates.
///
/// The gradient is that of the mean loss of the batch. Of the puzzle table it is that of the rows in the batch, each
/// counted once, for the others have none. Sums are f32 within a stretch and f64 beyond, always in the same order.
pub(super) fn gradient_norm(session: &Session, watched: &[Watched]) -> Result<Option<f64>, DeviceError> {
    let mut total = 0.0;
    for Watched { weight, squares } in watched {
        let squares = session.f32(squares)?.iter().map(|&sum| f64::from(sum));
        total += if weight == PUZZLE_TABLE {
            let mut seen = BTreeSet::new();
            let puzzles = session.i32(&names::Scope::Train.puzzles())?;
            puzzles
                .iter()
                .zip(squares)
                .filter(|(puzzle, _)| seen.insert(**puzzle))
                .map(|(_, sum)| sum)
                .sum::<f64>()
        } else {
            squares.sum::<f64>()
        };
    }
    Ok((!watched.is_empty()).then_some(total.sqrt()))
}

/// Returns how many of some numbers are not finite.
pub(super) fn not_finite(numbers: &[f32]) -> usize {
    numbers.iter().filter(|number| !number.is_finite()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::device::cpu::Cpu;
    use crate::device::reference::Reference;
    use crate::ir::{Adam, Optimizer};
    use crate::lower::parameters::TOKEN_HEAD;
    use crate::store::checkpoint::Before;
    use crate::train::{Error, Record, Trainer, testing};

    fn divergence(trainer: &mut Trainer) -> Divergence {
        match trainer.step() {
            Err(Error::Diverged(divergence)) => *divergence,
            other => panic!("not a divergence: {other:?}"),
        }
    }

    /// Returns trainers of the tiny model on every device that every machine has.
    fn trainers() -> [Trainer; 2] {
        [&Cpu as &dyn Device, &Reference].map(|device| {
            Trainer::new(crate::train::TrainerParts { device, ..testing::parts(1) }).expect("it fits")
        })
    }

    fn plant(trainer: &mut Trainer, memory: &str, value: f32) {
        trainer.session_mut().f32_mut(memory).expect("it is on the host")[3] = value;
    }

    #[test]
    fn a_loss_that_is_not_finite_is_found_in_its_step_and_no_further_step_is_done() {
        for mut trainer in trainers() {
            testing::step(&mut trainer);
            plant(&mut trainer, &names::parameter(TOKEN_HEAD), f32::NAN);
            let found = divergence(&mut trainer);
            let batch = testing::BATCH;
            assert_eq!(
                (found.step, &found.what),
                (2, &NotFinite::Loss { name: "the tokens", rows: batch, batch })
            );
            assert_eq!(divergence(&mut trainer), found);
            assert_eq!(trainer.steps_done(), 1, "the step that diverged does not count");
        }
    }

    #[test]
    fn a_gradient_whose_square_is_not_finite_is_found_in_its_step() {
        // A moment that stands for a gradient of 1e30 or more: all losses are still finite.
        for mut trainer in trainers() {
            plant(&mut trainer, &names::moment2(TOKEN_HEAD), f32::INFINITY);
            let expected = NotFinite::Gradient { weight: TOKEN_HEAD.into(), others: 0 };
            assert_eq!(divergence(&mut trainer).what, expected);
        }
    }

    #[test]
    fn a_weight_that_is_not_finite_is_found_though_nothing_reads_it_yet() {
        // No puzzle of side 4 has the padding token 0. The reference multiplies with the whole table.
        let embedding = "inner.embed_tokens.embedding_weight";
        let mut trainer = testing::trainer(1);
        plant(&mut trainer, &names::parameter(embedding), f32::NEG_INFINITY);
        let found = divergence(&mut trainer).what;
        assert_eq!(found, NotFinite::Weight { weight: embedding.into(), numbers: 1, others: 0 });
    }

    #[test]
    fn an_update_beyond_all_numbers_is_found() {
        let mut model = testing::model();
        let train = model.train.as_mut().expect("the tiny model is trained");
        train.optimizer = Optimizer::AdamAtan2(Adam { lr: 1e38, beta1: 0.9, beta2: 0.95, weight_decay: 1e3 });
        train.schedule.warmup_steps = 0;
        let mut trainer = testing::trainer_of(model, 1);
        assert!(matches!(divergence(&mut trainer).what, NotFinite::Weight { others: 1.., .. }));
    }

    #[test]
    fn a_puzzle_vector_that_is_not_finite_is_found() {
        let mut trainer = testing::trainer(1);
        // One puzzle, of number 0, is in every slot: its vector is read, so the loss shows it first.
        plant(&mut trainer, &names::parameter(PUZZLE_TABLE), f32::NAN);
        assert!(matches!(divergence(&mut trainer).what, NotFinite::Loss { .. }));
        let watched = Watched::of(trainer.session(), trainer.parameters());
        assert!(watched.iter().any(|watched| watched.weight == PUZZLE_TABLE));
    }

    #[test]
    fn every_trained_weight_is_watched() {
        let trainer = testing::trainer(1);
        let watched = Watched::of(trainer.session(), trainer.parameters());
        let trained =
            trainer.parameters().iter().filter(|one| one.role != crate::lower::parameters::Role::Fixed);
        assert_eq!(watched.len(), trained.count());
    }

    #[test]
    fn the_norm_of_the_gradient_is_over_all_weights_and_each_puzzle_of_the_batch_once() {
        let mut norms = Vec::new();
        for mut trainer in trainers() {
            let norm = testing::step(&mut trainer).gradient_norm.expect("a training program updates weights");
            // After the first step, a moment is the gradient times one less its decay.
            let beta1 = testing::train().optimizer.adam().beta1;
            let session = trainer.session();
            let moments = trainer.parameters().iter().map(|parameter| names::moment1(&parameter.name));
            let of_weights: f64 = moments
                .filter(|moment| session.has(moment))
                .flat_map(|moment| session.f32(&moment).expect("it is on the host"))
                .map(|&moment| (f64::from(moment) / f64::from(1.0 - beta1)).powi(2))
                .sum();
            // One puzzle is in every slot.
            let of_puzzle = session.f32(&names::squares(PUZZLE_TABLE)).expect("it is on the host");
            assert_eq!(of_puzzle, [of_puzzle[0]; testing::BATCH]);
            let expected = (of_weights + f64::from(of_puzzle[0])).sqrt();
            // Each square and each sum of squares is rounded to f32.
            assert!((norm / expected - 1.0).abs() < 1e-5, "{norm} instead of {expected}");
            assert!(of_puzzle[0] > 0.0 && of_weights > 0.0);
            norms.push(norm);
        }
        // The gradients of both devices differ by their rounding.
        assert!((norms[0] / norms[1] - 1.0).abs() < 1e-4, "{norms:?}");
    }

    #[test]
    fn the_work_of_a_step_is_that_of_its_program_on_every_device() {
        use crate::lower::{Program, Sizes};
        let sizes = Sizes { batch: testing::BATCH, puzzle_rows: testing::PUZZLE_ROWS };
        let flops = crate::pipeline::compile(&testing::model(), Program::Train, sizes).flops() as f64;
        for mut trainer in trainers() {
            assert_eq!(testing::step(&mut trainer).flops, flops);
            assert_eq!(testing::step(&mut trainer).flops, 2.0 * flops);
        }
    }

    #[test]
    fn a_restored_trainer_goes_on() {
        let folder = tempfile::tempdir().expect("temporary folders exist");
        let last = folder.path().join("last");
        let mut trainer = testing::trainer(1);
        testing::step(&mut trainer);
        trainer.save(&last, Before::Removed, Record::default()).expect("it can be written");
        plant(&mut trainer, &names::parameter(TOKEN_HEAD), f32::NAN);
        divergence(&mut trainer);
        trainer.restore(&last).expect("it is whole");
        let mut plain = testing::trainer(1);
        testing::step(&mut plain);
        assert_eq!(testing::step(&mut trainer), testing::step(&mut plain));
    }

    #[test]
    fn the_message_says_what_where_and_what_to_do() {
        let mut train = testing::train();
        let what = NotFinite::Loss { name: "the tokens", rows: 3, batch: 4 };
        let plain = Divergence::new(1234, 0.5, what.clone(), 0, &train);
        assert_eq!(
            plain.clone().with_checkpoint("runs/a-001/last".into(), 1200).to_string(),
            "training diverged in step 1,234: the loss of the tokens is not finite in 3 of 4 rows; nothing of this \
             step is saved, and `runs/a-001/last` still holds step 1,200; lower the learning rate \
             (`train.optimizer.lr`; in this step it was 0.5), or warm up for more steps (`train.schedule`), or let \
             training go back by itself (`train.on_divergence = rollback`)"
        );
        train.precision = Precision::Bf16;
        train.on_divergence = OnDivergence::Rollback { lr_factor: 0.5, most: 1 };
        let gradient = NotFinite::Gradient { weight: "w".into(), others: 2 };
        assert_eq!(
            Divergence::new(7, 1e-4, gradient, 1, &train).to_string(),
            "training diverged in step 7: the gradient of `w` is not finite, or its square is not, nor are those of 2 \
             other weights; this training cannot go on, but checkpoints saved before are whole; going back 1 time did \
             not help; lower the learning rate (`train.optimizer.lr`; in this step it was 0.0001), or warm up for \
             more steps (`train.schedule`), or compute in f32 (`train.precision`)"
        );
        let weight = NotFinite::Weight { weight: "w".into(), numbers: 1, others: 1 };
        assert_eq!(
            weight.to_string(),
            "the update leaves 1 number of the weight `w` not finite, and some of 1 other weight"
        );
    }
}
