//! What a model does while it solves a puzzle: its states, and what its heads would answer, after every update.

use std::ops::ControlFlow;

use serde::Serialize;

use super::answers::AskedRow;
use super::attention::attention_weights;
use super::error::Error;
use super::halting::{StoppedBy, wants_to_halt};
use super::infer::{Rows, SlotPass, infer_with};
use super::init::initialize;
use super::slots::{self, SlotRow};
use super::solve::check_row;
use crate::device::{Device, DeviceError, EngineOptions, Session};
use crate::ir::{Infer, Loss, Mixing, Model, UnrolledUpdate, unroll};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::parameters;
use crate::lower::{Program, Sizes};
use crate::pipeline::executable;

/// Name that the program is loaded under.
const PROGRAM: &str = "trace";

const SCOPE: Scope = Scope::Evaluate;

/// Positions up to which the attention of the first segment is kept beside that of the last.
const FEW_POSITIONS: usize = 256;
/// Positions beyond which no attention is kept: its size is their square.
pub const MOST_ATTENTION_POSITIONS: usize = 1024;

/// A state after one update of the loop nest.
///
/// # Examples
///
/// ```
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// let mut solver = run.solver(hrmc::Checkpoint::Last, hrmc::SolveOptions::default())?;
/// # let question = hrmc::Question::new(training.data().test().inputs(0).collect());
/// for update in solver.trace(&question, 2)? {
///     let positions = update.values.chunks(update.width).count();
///     println!("{} in segment {} moved by {:.3}", update.state, update.segment, update.moved);
///     assert!(positions >= 36);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateUpdate {
    /// Segment, counted from 1.
    pub segment: usize,
    /// Iteration of each loop around the update, outermost first, counted from 1.
    pub iterations: Vec<usize>,
    /// Name of the state.
    pub state: String,
    /// Relative distance by which the state moved, `|after - before| / |before|` over all positions.
    pub moved: f64,
    /// Distance by which the state moved, `rms(after - before)` over all positions and the width: the forward residual of
    /// figure 3 of [arXiv:2506.21734](https://arxiv.org/abs/2506.21734).
    pub residual: f64,
    /// The state after the update, `[P + S, D]` row by row: the positions of the puzzle prefix, then the tokens.
    pub values: Vec<f32>,
    /// Width of the model, `D`.
    pub width: usize,
    /// Tokens that the model would answer if its segment ended soon after this update, `[S]`: if it is not one of the
    /// state that the tokens are predicted from, the next update of that state is made first.
    pub tokens: Vec<i32>,
    /// Probability of each token there, `[S, V]`.
    pub probabilities: Vec<f32>,
    /// Q value of halting there, before the sigmoid; `None` for a model without a Q head.
    pub q_halt: Option<f32>,
}

/// One attempt on a row, update by update.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutTrace {
    /// Number of the rollout, from 0.
    pub rollout: usize,
    /// Why it stopped.
    pub stopped_by: StoppedBy,
    /// Whether its answer is that of the row.
    pub is_best: bool,
    /// Every update of every segment.
    pub updates: Vec<StateUpdate>,
    /// For each segment, the distance by which the state that the tokens are predicted from moved in it,
    /// `rms(z - before) / rms(before)`.
    pub drifts: Vec<f32>,
    /// Attention in the last segment, and where there are few positions in the first one too, in the last update of each
    /// state; none of layers without it, and none where there are too many positions.
    pub attention: Vec<AttentionMap>,
}

/// What the positions of one row attend to in one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMap {
    /// The update, an index of [`RolloutTrace::updates`].
    pub update: usize,
    /// Layer of the network, from 0.
    pub layer: usize,
    /// Heads, `A`.
    pub heads: usize,
    /// Share of each position (the last index) in what another one takes up, `[A, P + S, P + S]`.
    pub weights: Vec<f32>,
}

/// A model whose states can be read after every update.
pub(crate) struct Tracer {
    model: Model,
    session: Session,
    puzzle_rows: usize,
}

impl Tracer {
    /// Compiles the program for so many rows at once. Its weights are zero until there are some.
    pub(super) fn new(
        model: Model,
        sizes: Sizes,
        attention: bool,
        device: &dyn Device,
        options: &EngineOptions,
    ) -> Result<Tracer, Error> {
        let mut session = Session::open(device, options)?;
        session.load(PROGRAM, executable(&model, Program::Trace { attention }, sizes, device))?;
        Ok(Tracer { model, session, puzzle_rows: sizes.puzzle_rows })
    }

    /// Takes the weights of another session of the model.
    pub(super) fn take_weights(&mut self, from: &Session) -> Result<(), DeviceError> {
        for parameter in parameters(&self.model, self.puzzle_rows) {
            let name = names::parameter(&parameter.name);
            if self.session.has(&name) {
                self.session.f32_mut(&name)?.copy_from_slice(from.f32(&name)?);
            }
        }
        Ok(())
    }

    /// Draws the weights of a model that was not trained.
    pub(crate) fn draw_weights(&mut self, seed: u64) -> Result<(), Error> {
        Ok(initialize(&mut self.session, &parameters(&self.model, self.puzzle_rows), seed)?)
    }

    /// Runs segments on rows, as many at once as there are slots, and shows every one.
    pub(crate) fn watch(
        &mut self,
        inference: Infer,
        watching: Watching<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let Tracer { model, session, puzzle_rows } = self;
        watch_rows(session, PROGRAM, (model, *puzzle_rows), inference, watching)
    }

    /// Returns every rollout of one row.
    pub(super) fn trace(&mut self, asked: &AskedRow, inference: Infer) -> Result<Vec<RolloutTrace>, Error> {
        let mut asked = Some(asked.clone());
        let mut found = Vec::new();
        let mut kept = KeptRollout::default();
        let whole = self.watch(
            inference,
            Watching {
                next: &mut || Ok(asked.take()),
                may_run: &mut || ControlFlow::Continue(()),
                see: &mut |seen| {
                    kept.add(seen)?;
                    if let Some(stopped_by) = seen.pass.stopped {
                        let is_best = seen.pass.is_best;
                        if is_best {
                            found.iter_mut().for_each(|earlier: &mut RolloutTrace| earlier.is_best = false);
                        }
                        let KeptRollout { updates, drifts, attention } = std::mem::take(&mut kept);
                        let rollout = seen.pass.rollout;
                        found.push(RolloutTrace { rollout, stopped_by, is_best, updates, drifts, attention });
                    }
                    Ok(())
                },
            },
        )?;
        debug_assert!(whole.is_continue(), "nothing stops it");
        Ok(found)
    }
}

/// What is kept of a rollout that goes on.
#[derive(Default)]
struct KeptRollout {
    updates: Vec<StateUpdate>,
    drifts: Vec<f32>,
    attention: Vec<AttentionMap>,
}

impl KeptRollout {
    fn add(&mut self, seen: &SeenSegment<'_>) -> Result<(), Error> {
        let SlotPass { outcome, stopped, .. } = seen.pass;
        let positions = seen.model.total_positions();
        let is_kept = stopped.is_some() || outcome.steps == 1 && positions <= FEW_POSITIONS;
        if is_kept && positions <= MOST_ATTENTION_POSITIONS {
            self.attention.extend(seen.attention(self.updates.len())?);
        }
        for update in seen.updates()? {
            if !update.is_finite() {
                return Err(Error::unsuitable(
                    "the model computes numbers that are not finite for this puzzle, so there is nothing to trace; its \
                     weights are unusable, or too large for this puzzle: take another checkpoint (`--checkpoint`)",
                ));
            }
            self.updates.push(seen.state_update(&update));
        }
        self.drifts.push(seen.drift());
        Ok(())
    }
}

/// Rows that are answered while somebody watches.
pub(crate) struct Watching<'a> {
    /// Gives the next row, if there is one left.
    pub next: &'a mut dyn FnMut() -> Result<Option<AskedRow>, Error>,
    /// Is called before every segment, and may end the work there.
    pub may_run: &'a mut dyn FnMut() -> ControlFlow<()>,
    /// Sees every segment of every row.
    pub see: &'a mut dyn FnMut(&SeenSegment<'_>) -> Result<(), Error>,
}

/// Runs segments of a program on rows, and shows every one.
pub(super) fn watch_rows(
    session: &mut Session,
    program: &str,
    (model, puzzle_rows): (&Model, usize),
    inference: Infer,
    watching: Watching<'_>,
) -> Result<ControlFlow<()>, Error> {
    let slots = vec![None; slots::slots(session, SCOPE)];
    let mut watched = WatchedRows { model, puzzle_rows, updates: unroll(model), slots, watching };
    infer_with(session, program, model, inference, &mut watched)
}

/// Rows that are watched while they are answered.
struct WatchedRows<'a, 'w> {
    model: &'a Model,
    puzzle_rows: usize,
    updates: Vec<UnrolledUpdate<'a>>,
    /// The row in each slot, `[B]`.
    slots: Vec<Option<AskedRow>>,
    watching: Watching<'w>,
}

impl Rows for WatchedRows<'_, '_> {
    fn next(&mut self, session: &mut Session, slot: usize) -> Result<Option<usize>, Error> {
        let Some(asked) = (self.watching.next)()? else { return Ok(None) };
        check_row(self.model, self.puzzle_rows, &asked.tokens, asked.puzzle)?;
        let AskedRow { row, tokens, labels, puzzle } = &asked;
        slots::put(session, SCOPE, slot, SlotRow { tokens, labels, puzzle: *puzzle })?;
        let row = *row;
        self.slots[slot] = Some(asked);
        Ok(Some(row))
    }

    fn may_run(&mut self) -> ControlFlow<()> {
        (self.watching.may_run)()
    }

    fn take(&mut self, session: &Session, passes: &[SlotPass]) -> Result<(), Error> {
        for &pass in passes {
            let asked = self.slots[pass.slot].as_ref().expect("a row that is answered lies in its slot");
            let (model, schedule) = (self.model, &self.updates);
            (self.watching.see)(&SeenSegment { session, model, schedule, asked, pass })?;
        }
        Ok(())
    }
}

/// A segment of one row, while its results are in memory.
pub(crate) struct SeenSegment<'a> {
    session: &'a Session,
    model: &'a Model,
    /// The updates of the segment.
    schedule: &'a [UnrolledUpdate<'a>],
    /// The row.
    pub asked: &'a AskedRow,
    /// Where it is, and what comes of it.
    pub(super) pass: SlotPass,
}

/// An update of one row, while its results are in memory.
pub(crate) struct SeenUpdate<'a> {
    /// Its place in the segment, from 0.
    pub index: usize,
    /// The state, an index of the model's states.
    pub state: usize,
    /// The state before it, `[P + S, D]`.
    pub before: &'a [f32],
    /// The state after it, `[P + S, D]`.
    pub after: &'a [f32],
    /// Logits of the tokens if the segment ended here, `[S, V]`.
    pub logits: &'a [f32],
    /// Q value of halting if the segment ended here, before the sigmoid.
    pub q_halt: Option<f32>,
}

impl SeenUpdate<'_> {
    /// Returns whether the state and the answer are made of numbers.
    pub(crate) fn is_finite(&self) -> bool {
        let all = |values: &[f32]| values.iter().all(|value| value.is_finite());
        all(self.after) && all(self.logits) && self.q_halt.is_none_or(f32::is_finite)
    }

    /// Returns `rms(after - before)`.
    pub(crate) fn residual(&self) -> f64 {
        (squared_distance(self.before, self.after) / self.after.len() as f64).sqrt()
    }

    /// Returns the tokens that the model would answer here, `[S]`.
    pub(crate) fn tokens(&self, vocab: usize) -> Vec<i32> {
        slots::decoded(self.logits, vocab)
    }
}

impl<'a> SeenSegment<'a> {
    /// Returns the number of the segment, from 1.
    pub(crate) fn segment(&self) -> usize {
        self.pass.outcome.steps as usize
    }

    /// Returns the slot that the row lies in.
    pub(crate) fn slot(&self) -> usize {
        self.pass.slot
    }

    /// Returns the tokens that the model answers after the segment, `[S]`.
    pub(crate) fn answer(&self) -> Result<Vec<i32>, DeviceError> {
        slots::prediction(self.session, SCOPE, self.pass.slot)
    }

    /// Returns the Q value of halting after the segment, before the sigmoid.
    pub(crate) fn q_halt(&self) -> Option<f32> {
        self.pass.outcome.q_halt
    }

    /// Returns the distance by which the state that the tokens are predicted from moved in the segment,
    /// `rms(z - before) / rms(before)`.
    pub(crate) fn drift(&self) -> f32 {
        self.pass.outcome.residual.expect("evaluation computes it")
    }

    /// Returns whether the halting policy would stop here, before any limit.
    pub(crate) fn wants_to_halt(&self) -> bool {
        wants_to_halt(&self.model.halt, self.pass.outcome)
    }

    /// Returns the part of one row in memory that has a part for each.
    fn of_row(&self, name: &str) -> Result<&'a [f32], DeviceError> {
        let values = self.session.f32(name)?;
        let each = values.len() / slots::slots(self.session, SCOPE);
        Ok(&values[self.pass.slot * each..(self.pass.slot + 1) * each])
    }

    /// Returns the updates of the segment; only of the program that traces them.
    pub(crate) fn updates(&self) -> Result<Vec<SeenUpdate<'a>>, DeviceError> {
        let begun = self.model.states.iter().map(|state| SCOPE.begun(&state.name));
        let mut newest: Vec<String> = begun.collect();
        let mut found = Vec::new();
        for (index, unrolled) in self.schedule.iter().enumerate() {
            let (state, after) = (unrolled.update.state.0, SCOPE.updated(index));
            let q = SCOPE.decoded_q(index);
            found.push(SeenUpdate {
                index,
                state,
                before: self.of_row(&newest[state])?,
                after: self.of_row(&after)?,
                logits: self.of_row(&SCOPE.decoded(index))?,
                q_halt: match self.session.has(&q) {
                    true => Some(self.of_row(&q)?[0]),
                    false => None,
                },
            });
            newest[state] = after;
        }
        Ok(found)
    }

    /// Returns an update with copies of its results.
    fn state_update(&self, update: &SeenUpdate<'_>) -> StateUpdate {
        let vocab = self.model.tokens.vocab;
        let loss = self.model.train.as_ref().map_or(Loss::Stablemax, |train| train.loss);
        let iterations = &self.schedule[update.index].iterations;
        StateUpdate {
            segment: self.segment(),
            iterations: iterations.iter().map(|iteration| iteration + 1).collect(),
            state: self.model.states[update.state].name.clone(),
            moved: distance(update.before, update.after),
            residual: update.residual(),
            values: update.after.to_vec(),
            width: self.model.hidden,
            tokens: update.tokens(vocab),
            probabilities: slots::probabilities(update.logits, vocab, loss),
            q_halt: update.q_halt,
        }
    }

    /// Returns the attention that the program keeps. `before` is how many updates there were before this segment.
    fn attention(&self, before: usize) -> Result<Vec<AttentionMap>, DeviceError> {
        let mut found = Vec::new();
        for (index, unrolled) in self.schedule.iter().enumerate() {
            let network = &self.model.networks[unrolled.update.network.0];
            let Mixing::Attention { heads, rope_theta } = network.block.mixing else { continue };
            for layer in 0..network.layers {
                let name = SCOPE.qkv(index, layer);
                if self.session.has(&name) {
                    let weights =
                        attention_weights(self.of_row(&name)?, self.model.hidden, heads, rope_theta);
                    found.push(AttentionMap { update: before + index, layer, heads, weights });
                }
            }
        }
        Ok(found)
    }
}

/// Returns `|after - before| / |before|`.
fn distance(before: &[f32], after: &[f32]) -> f64 {
    let length: f64 = before.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    (squared_distance(before, after) / length).sqrt()
}

/// Returns `|after - before|^2`.
fn squared_distance(before: &[f32], after: &[f32]) -> f64 {
    let change = |(before, after): (&f32, &f32)| f64::from(*after) - f64::from(*before);
    before.iter().zip(after).map(change).map(|change| change * change).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::train::infer;
    use crate::train::testing;

    fn tracer(model: Model) -> Tracer {
        let sizes = Sizes { batch: 1, puzzle_rows: testing::PUZZLE_ROWS };
        let options = EngineOptions { threads: 1 };
        let mut tracer = Tracer::new(model, sizes, true, &Cpu, &options).expect("the model is tiny");
        tracer.draw_weights(1).expect("the processor does not fail");
        tracer
    }

    fn asked() -> AskedRow {
        AskedRow::unlabelled(0, testing::question(0).tokens)
    }

    fn fixed(segments: usize) -> Infer {
        Infer { segments, halt: false, settle: None, rollouts: None, check: None }
    }

    /// Returns the updates of a rollout of the tiny model.
    fn traced(segments: usize) -> RolloutTrace {
        tracer(testing::model()).trace(&asked(), fixed(segments)).expect("it fits").remove(0)
    }

    #[test]
    fn every_update_of_every_segment_is_seen() {
        let found = traced(2).updates;
        let seen: Vec<(usize, &[usize], &str)> = found
            .iter()
            .map(|update| (update.segment, update.iterations.as_slice(), update.state.as_str()))
            .collect();
        let segment = |number| {
            [
                (number, [1].as_slice(), "z_low"),
                (number, &[1], "z_high"),
                (number, &[2], "z_low"),
                (number, &[2], "z_high"),
            ]
        };
        assert_eq!(seen, [segment(1), segment(2)].concat());
        assert!(found.iter().all(|update| update.moved > 0.0 && update.values.len() == 17 * 16));
    }

    #[test]
    fn the_last_states_are_those_of_the_evaluation() {
        let found = traced(1).updates;
        let mut evaluator = testing::evaluator_of(testing::model(), 1);
        let (tokens, labels) = (asked().tokens, asked().labels);
        let row = SlotRow { tokens: &tokens, labels: &labels, puzzle: 0 };
        slots::put(evaluator.session_mut(), SCOPE, 0, row).expect("it is here");
        slots::set_reset(evaluator.session_mut(), SCOPE, &[1.0]).expect("it is here");
        evaluator.session_mut().run(infer::PROGRAM).expect("the processor does not fail");
        for state in ["z_low", "z_high"] {
            let last = found.iter().rfind(|update| update.state == state).expect("it is updated");
            let carry = evaluator.session().f32(&SCOPE.carry(state)).expect("it is here");
            assert_eq!(last.values, carry, "{state}");
        }
    }

    #[test]
    fn distances_are_relative_to_the_state_before() {
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(distance(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
    }

    #[test]
    fn the_last_update_answers_as_the_evaluation_does() {
        for segments in [1, 3] {
            let mut model = testing::model();
            model.infer = Some(fixed(segments));
            let answers = testing::evaluator_of(model, 1).solve(&[testing::question(0)]).expect("it fits");
            let found = traced(segments);
            for (segment, output) in answers[0].segments.iter().enumerate() {
                let last = found.updates.iter().rfind(|update| update.segment == segment + 1);
                let last = last.expect("every segment has updates");
                assert_eq!((&last.tokens, last.q_halt), (&output.tokens, output.q_halt), "{}", segment + 1);
            }
            assert_eq!(found.drifts.len(), segments);
        }
    }

    #[test]
    fn before_the_high_update_the_answer_is_that_which_it_would_give() {
        let found = traced(2).updates;
        for pair in found.windows(2).filter(|pair| pair[0].state == "z_low" && pair[1].state == "z_high") {
            assert_eq!(pair[0].probabilities, pair[1].probabilities);
            assert_eq!(pair[0].q_halt, pair[1].q_halt);
        }
        let vocab = testing::model().tokens.vocab;
        for update in &found {
            for (cell, shares) in update.probabilities.chunks_exact(vocab).enumerate() {
                // Six shares in f32.
                assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let answer = shares[update.tokens[cell] as usize];
                assert!(shares.iter().all(|share| *share <= answer));
            }
        }
    }

    #[test]
    fn every_rollout_is_traced_and_the_best_has_the_answer() {
        let rollouts = Some(crate::ir::Rollouts { count: 4, noise: 1.0 });
        let inference = Infer { rollouts, ..fixed(2) };
        let found = tracer(testing::model()).trace(&asked(), inference).expect("it fits");
        let mut model = testing::model();
        model.infer = Some(inference);
        let answer =
            testing::evaluator_of(model, 1).solve(&[testing::question(0)]).expect("it fits").remove(0);
        assert_eq!(found.iter().map(|rollout| rollout.rollout).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let best: Vec<&RolloutTrace> = found.iter().filter(|rollout| rollout.is_best).collect();
        assert_eq!((best.len(), best[0].rollout), (1, answer.rollout));
        assert_eq!(best[0].updates.last().expect("there are updates").tokens, answer.tokens());
        assert!(found.iter().all(|rollout| rollout.stopped_by == StoppedBy::Limit));
        assert_ne!(found[0].updates[0].values, found[1].updates[0].values, "each has noise of its own");
    }

    #[test]
    fn attention_is_kept_of_the_last_updates_of_the_first_and_the_last_segment() {
        let kept: Vec<usize> = traced(3).attention.iter().map(|map| map.update).collect();
        // Four updates a segment, of which the last two are the last of their states; networks of one layer.
        assert_eq!(kept, [2, 3, 10, 11]);
        let kept: Vec<usize> = traced(1).attention.iter().map(|map| map.update).collect();
        assert_eq!(kept, [2, 3]);
        assert!(traced(1).attention.iter().all(|map| map.weights.len() == 2 * 17 * 17));
    }

    #[test]
    fn numbers_that_are_none_are_not_traced() {
        let mut tracer = tracer(testing::model());
        tracer.session.f32_mut(&names::parameter("inner.lm_head.weight")).expect("it is here")[0] = f32::NAN;
        let error = tracer.trace(&asked(), fixed(1)).expect_err("nothing is computed").to_string();
        assert!(error.starts_with("the model computes numbers that are not finite"), "{error}");
    }
}
