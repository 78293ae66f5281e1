//! Inference: computes the answers to rows, as many at once as a batch has slots.
//!
//! A *rollout* is one attempt on a row: segments from the initial states until the row stops, at the
//! largest number of segments of [`Infer`] or when one of its rules says so. The answer of
//! a rollout is that of its last segment. The first rollout begins from the initial states, the others from
//! initial states with normal noise. Of several rollouts, the answer is that of the one with the largest
//! `q_halt` at its end; under [`Halt::Residual`], of the one whose state moved least in its last segment; among
//! equals, of the first.
//!
//! A row leaves its slot after its last rollout, and the next row takes the slot, so that the time follows the
//! segments that rows use.
//!
//! Each row and rollout draws its noise from its own part of the stream `rollout`, so an answer depends
//! neither on the rows beside it nor on how often it is computed.

use std::ops::ControlFlow;

use super::error::Error;
use super::halting::{SlotOutcome, StoppedBy, stops};
use super::init::standard_normal;
use super::refill::mask;
use super::slots;
use super::streams::ROLLOUT;
use crate::data::random::Stream;
use crate::device::{DeviceError, Session};
use crate::ir::{Halt, Infer, Model, Rollouts};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::state_init;

/// Name that the evaluation program is loaded under.
pub(super) const PROGRAM: &str = "evaluate";

const SCOPE: Scope = Scope::Evaluate;

/// One segment of the row in a slot, while its results are in the memory of the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotPass {
    /// The slot.
    pub slot: usize,
    /// Number of the row.
    pub row: usize,
    /// Number of the rollout, from 0.
    pub rollout: usize,
    /// Segments of all rollouts of the row so far, this one included.
    pub passes: u32,
    /// Results of the segment.
    pub outcome: SlotOutcome,
    /// Why the rollout ends with this segment, if it does.
    pub stopped: Option<StoppedBy>,
    /// Whether the rollout ends here with a better score than every rollout before it.
    pub is_best: bool,
    /// Whether this was the last rollout of the row, which leaves the slot.
    pub leaves: bool,
}

/// Rows to be answered, and what is done with their answers.
pub(super) trait Rows {
    /// Puts the next row into a slot and returns its number, which decides the noise of its rollouts; `None` if there is
    /// none left.
    fn next(&mut self, session: &mut Session, slot: usize) -> Result<Option<usize>, Error>;

    /// Returns whether another segment may run.
    fn may_run(&mut self) -> ControlFlow<()>;

    /// Takes the results of a segment.
    fn take(&mut self, session: &Session, passes: &[SlotPass]) -> Result<(), Error>;
}

/// A row in a slot.
struct Attempt {
    row: usize,
    rollout: usize,
    /// Segments done in this rollout.
    segments: u32,
    /// Segments done in all rollouts.
    passes: u32,
    /// The best score of a rollout, if one has ended.
    best: Option<f32>,
}

/// Answers `rows` as the model says until none is left, or until it is not to run any more.
pub(super) fn infer(
    session: &mut Session,
    model: &Model,
    rows: &mut dyn Rows,
) -> Result<ControlFlow<()>, Error> {
    infer_with(session, PROGRAM, model, model.inference(), rows)
}

/// Does the same with another program of one evaluation segment, and as `inference` says.
pub(super) fn infer_with(
    session: &mut Session,
    program: &str,
    model: &Model,
    inference: Infer,
    rows: &mut dyn Rows,
) -> Result<ControlFlow<()>, Error> {
    let count = inference.rollouts.map_or(1, |rollouts| rollouts.count);
    let mut attempts: Vec<Option<Attempt>> = (0..slots::slots(session, SCOPE)).map(|_| None).collect();
    let mut is_over = false;
    loop {
        let mut begins = vec![false; attempts.len()];
        for (slot, attempt) in attempts.iter_mut().enumerate() {
            if attempt.is_none() && !is_over {
                *attempt = rows.next(session, slot)?.map(Attempt::new);
                is_over = attempt.is_none();
            }
            begins[slot] = attempt.as_ref().is_some_and(|attempt| attempt.segments == 0);
        }
        if attempts.iter().all(Option::is_none) {
            return Ok(ControlFlow::Continue(()));
        }
        if rows.may_run().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for (slot, attempt) in attempts.iter().enumerate().filter(|(slot, _)| begins[*slot]) {
            let attempt = attempt.as_ref().expect("a row begins");
            if let (1.., Some(rollouts)) = (attempt.rollout, inference.rollouts) {
                write_noisy_states(session, model, rollouts, slot, attempt)?;
            }
        }
        let reset: Vec<bool> = attempts
            .iter()
            .zip(begins)
            .map(|(attempt, begins)| begins && attempt.as_ref().is_some_and(|attempt| attempt.rollout == 0))
            .collect();
        slots::set_reset(session, SCOPE, &mask(reset))?;
        session.run(program)?;

        // What an empty slot says is not asked for.
        let steps = attempts.iter().map(|attempt| attempt.as_ref().map_or(1, |attempt| attempt.segments + 1));
        let outcomes = slots::outcomes(session, SCOPE, &steps.collect::<Vec<u32>>())?;
        let mut passes = Vec::new();
        for (slot, place) in attempts.iter_mut().enumerate() {
            let Some(attempt) = place else { continue };
            let outcome = outcomes[slot];
            attempt.segments = outcome.steps;
            attempt.passes += 1;
            let stopped = stops(&model.halt, &inference, outcome);
            let score = score(&model.halt, outcome);
            let is_best = stopped.is_some() && (attempt.rollout == 0 || is_better(score, attempt.best));
            let leaves = stopped.is_some() && attempt.rollout + 1 == count;
            let Attempt { row, rollout, passes: done, .. } = *attempt;
            passes.push(SlotPass { slot, row, rollout, passes: done, outcome, stopped, is_best, leaves });
            if is_best {
                attempt.best = score;
            }
            if leaves {
                *place = None;
            } else if stopped.is_some() {
                attempt.rollout += 1;
                attempt.segments = 0;
            }
        }
        rows.take(session, &passes)?;
    }
}

impl Attempt {
    fn new(row: usize) -> Attempt {
        Attempt { row, rollout: 0, segments: 0, passes: 0, best: None }
    }
}

/// Returns the score by which rollouts are compared; larger is better.
fn score(policy: &Halt, outcome: SlotOutcome) -> Option<f32> {
    match policy {
        Halt::Residual { .. } => outcome.residual.map(|residual| -residual),
        Halt::QLearning { .. } | Halt::Bce { .. } | Halt::Fixed { .. } => outcome.q_halt,
    }
}

/// Returns whether a value is larger. A NaN is less than any number.
fn is_better(score: Option<f32>, best: Option<f32>) -> bool {
    let rank = |score: Option<f32>| score.filter(|value| !value.is_nan()).unwrap_or(f32::NEG_INFINITY);
    rank(score) > rank(best)
}

/// Puts initial states with noise into the carry of a slot.
fn write_noisy_states(
    session: &mut Session,
    model: &Model,
    rollouts: Rollouts,
    slot: usize,
    attempt: &Attempt,
) -> Result<(), DeviceError> {
    let seed = model.train.as_ref().map_or(0, |train| train.seed);
    let width = model.hidden;
    let elements = model.total_positions() * width;
    let part = attempt.row as u64 * rollouts.count as u64 + attempt.rollout as u64;
    let mut stream = Stream::new(seed, ROLLOUT, part);
    for state in &model.states {
        let init = names::parameter(&state_init(&state.stored_as));
        // A state that is updated before it is read has no initial value to speak of.
        if !session.has(&init) {
            continue;
        }
        let init = session.f32(&init)?.to_vec();
        let noise = standard_normal(elements, &mut stream);
        let carry = session.f32_mut(&SCOPE.carry(&state.name))?;
        let carry = &mut carry[slot * elements..(slot + 1) * elements];
        for (index, (z, noise)) in carry.iter_mut().zip(noise).enumerate() {
            *z = init[index % width] + rollouts.noise * noise as f32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::parameters::{Q_BIAS, Q_HEAD};
    use crate::train::solve::{SolvedSegment, by_segment};
    use crate::train::{Evaluation, EvaluationRequest, Evaluator, testing};

    const EXAMPLES: usize = 10;
    const INFER: Infer = Infer { segments: 1, halt: false, settle: None, rollouts: None, check: None };

    /// Returns the tiny model under `infer`; its Q values differ from row to row and segment to segment.
    fn evaluator(infer: Option<Infer>, batch: usize) -> Evaluator {
        let mut model = testing::model();
        model.halt = Halt::Bce { max_segments: 3, explore: 0.9 };
        model.infer = infer;
        // Token positions differ from row to row, unlike those of the blank puzzle before them.
        model.q_head.as_mut().expect("the tiny model has a Q head").position = 5;
        let mut evaluator = testing::evaluator_of(model, batch);
        let weights = evaluator.session_mut().f32_mut(&names::parameter(Q_HEAD)).expect("it is on the host");
        weights.iter_mut().enumerate().for_each(|(index, weight)| *weight = (1.7 * index as f32).sin());
        evaluator.session_mut().f32_mut(&names::parameter(Q_BIAS)).expect("it is on the host").fill(0.0);
        evaluator
    }

    fn evaluate(evaluator: &mut Evaluator) -> Evaluation {
        let request = EvaluationRequest { keep_answers: usize::MAX, ..EvaluationRequest::default() };
        let data = testing::data().test;
        let whole = &mut |_| ControlFlow::Continue(());
        evaluator.evaluate(&data, request, whole, &mut |_, _| {}).expect("fits").expect("not stopped")
    }

    fn tokens(evaluation: &Evaluation) -> Vec<Vec<i32>> {
        evaluation.answers.iter().map(|answer| answer.tokens.clone()).collect()
    }

    /// Returns the way to the answer of every test example.
    fn solve(evaluator: &mut Evaluator) -> (Vec<SolvedSegment>, Vec<usize>) {
        let questions: Vec<_> = (0..EXAMPLES).map(testing::question).collect();
        let answers = evaluator.solve(&questions).expect("fits");
        (by_segment(&answers), answers.iter().map(|answer| answer.rollout).collect())
    }

    fn q_halt(segment: &SolvedSegment) -> &[f32] {
        segment.q_halt.as_ref().expect("the model has a Q head")
    }

    #[test]
    fn evaluation_runs_as_many_segments_as_the_spec_says() {
        for segments in [1, 5] {
            let infer = Infer { segments, ..INFER };
            let mut evaluator = evaluator(Some(infer), 4);
            assert_eq!(evaluate(&mut evaluator).metrics.means().mean_segments, Some(segments as f64));
            assert_eq!(evaluator.session().runs(), 3 * segments as u64);
            let mut evaluator = self::evaluator(Some(infer), EXAMPLES);
            assert_eq!(solve(&mut evaluator).0.len(), segments);
        }
    }

    #[test]
    fn a_row_that_stops_counts_by_the_segment_it_stopped_at() {
        let plain = Infer { segments: 6, halt: false, ..INFER };
        let (segments, _) = solve(&mut evaluator(Some(plain), EXAMPLES));
        // A bias in the middle of the Q values, so that some rows stop soon and others late.
        let mut sorted: Vec<f32> = segments.iter().flat_map(q_halt).copied().collect();
        sorted.sort_by(f32::total_cmp);
        let bias = -sorted[sorted.len() * 2 / 3];
        let evaluator = |infer, batch| {
            let mut evaluator = evaluator(Some(infer), batch);
            evaluator.session_mut().f32_mut(&names::parameter(Q_BIAS)).expect("it is on the host").fill(bias);
            evaluator
        };
        let (segments, _) = solve(&mut evaluator(plain, EXAMPLES));
        let stops: Vec<usize> = (0..EXAMPLES)
            .map(|row| segments.iter().position(|segment| q_halt(segment)[row] > 0.0).map_or(6, |at| at + 1))
            .collect();
        assert!(stops.contains(&1) && stops.iter().any(|&stop| stop > 1), "rows differ: {stops:?}");
        let expected: Vec<Vec<i32>> =
            stops.iter().enumerate().map(|(row, stop)| segments[stop - 1].predictions[row].clone()).collect();

        let halting = Infer { halt: true, ..plain };
        let evaluation = evaluate(&mut evaluator(halting, 4));
        assert_eq!(tokens(&evaluation), expected);
        assert_eq!(evaluation.metrics.steps, stops.iter().sum::<usize>() as f64);
        let (way, _) = solve(&mut evaluator(halting, EXAMPLES));
        assert_eq!(way.len(), *stops.iter().max().expect("there are rows"));
        assert_eq!(way[way.len() - 1].predictions, expected);
    }

    #[test]
    fn rows_stop_once_their_state_has_settled() {
        let mean_segments = |eps, halt| {
            let mut model = testing::model();
            model.halt = Halt::Residual { eps, max_segments: 3 };
            model.q_head = None;
            model.infer = Some(Infer { segments: 5, halt, ..INFER });
            let evaluation = evaluate(&mut testing::evaluator_of(model, 4));
            evaluation.metrics.means().mean_segments.expect("rows were evaluated")
        };
        assert_eq!(mean_segments(1e3, true), 2.0);
        assert_eq!(mean_segments(1e3, false), 5.0);
        assert_eq!(mean_segments(1e-9, true), 5.0);
    }

    #[test]
    fn no_segment_is_run_for_a_batch_that_has_stopped() {
        let infer = Infer { segments: 100, halt: true, ..INFER };
        let mut evaluator = evaluator(Some(infer), 4);
        evaluator.session_mut().f32_mut(&names::parameter(Q_BIAS)).expect("it is on the host").fill(1e3);
        assert_eq!(evaluate(&mut evaluator).metrics.means().mean_segments, Some(1.0));
        assert_eq!(evaluator.session().runs(), 3);
    }

    #[test]
    fn a_row_that_settles_stops_under_any_policy_when_it_is_asked_for() {
        let plain = Infer { segments: 6, ..INFER };
        let drifts: Vec<f32> = {
            let evaluation = evaluate(&mut evaluator(Some(Infer { segments: 2, ..INFER }), 4));
            evaluation.answers.iter().map(|answer| answer.drift).collect()
        };
        let mut sorted = drifts.clone();
        sorted.sort_by(f32::total_cmp);
        let settle = Some(sorted[EXAMPLES / 2]);
        let evaluation = evaluate(&mut evaluator(Some(Infer { settle, ..plain }), 4));
        for (answer, drift) in evaluation.answers.iter().zip(&drifts) {
            assert_eq!(answer.segments == 2, Some(*drift) < settle, "row {}", answer.row);
            assert_eq!(
                answer.stopped_by == StoppedBy::Limit,
                answer.segments == 6 && Some(answer.drift) >= settle
            );
        }
        assert!(evaluation.answers.iter().any(|answer| answer.stopped_by == StoppedBy::Settled));
    }

    #[test]
    fn a_row_leaves_its_slot_to_the_next_one() {
        // Ten rows, of which every second one stops at once.
        let infer = Infer { segments: 6, halt: true, ..INFER };
        let (segments, _) = solve(&mut evaluator(Some(Infer { halt: false, ..infer }), EXAMPLES));
        let mut first: Vec<f32> = q_halt(&segments[0]).to_vec();
        first.sort_by(f32::total_cmp);
        let bias = -(first[EXAMPLES / 2 - 1] + first[EXAMPLES / 2]) / 2.0;
        let mut evaluator = evaluator(Some(infer), 2);
        evaluator.session_mut().f32_mut(&names::parameter(Q_BIAS)).expect("it is on the host").fill(bias);
        let evaluation = evaluate(&mut evaluator);
        let steps: Vec<u32> = evaluation.answers.iter().map(|answer| answer.segments).collect();
        assert!(steps.iter().filter(|&&steps| steps == 1).count() >= EXAMPLES / 2);
        // Two slots that each take the next row when they are free.
        let mut busy_until = [0, 0];
        steps
            .iter()
            .for_each(|steps| *busy_until.iter_mut().min().expect("there are two") += u64::from(*steps));
        assert_eq!(evaluator.session().runs(), busy_until[0].max(busy_until[1]));
        assert!(evaluator.session().runs() < 5 * 6);
    }

    #[test]
    fn the_rollout_with_the_best_score_counts() {
        let single = Infer { segments: 2, halt: false, ..INFER };
        let many = Infer { rollouts: Some(Rollouts { count: 3, noise: 0.3 }), ..single };
        let (plain, first) = solve(&mut evaluator(Some(single), EXAMPLES));
        let (way, chosen) = solve(&mut evaluator(Some(many), EXAMPLES));
        assert_eq!(first, [0; EXAMPLES]);
        assert!(chosen.contains(&0) && chosen.iter().any(|&rollout| rollout > 0), "{chosen:?}");
        for (row, &rollout) in chosen.iter().enumerate() {
            let (before, after) = (q_halt(&plain[1])[row], q_halt(&way[1])[row]);
            // The first rollout has no noise, so it is what a single attempt would have been.
            assert_eq!(before == after, rollout == 0);
            assert!(after >= before);
        }
        let mut evaluator = evaluator(Some(many), 4);
        assert_eq!(tokens(&evaluate(&mut evaluator)), way[1].predictions);
        assert_eq!(evaluator.session().runs(), 3 * 2 * 3);
    }

    #[test]
    fn the_rollout_that_has_settled_best_counts() {
        let evaluator = |rollouts| {
            let mut model = testing::model();
            model.halt = Halt::Residual { eps: 1e-9, max_segments: 3 };
            model.q_head = None;
            model.infer = Some(Infer { segments: 3, halt: false, rollouts, ..INFER });
            testing::evaluator_of(model, EXAMPLES)
        };
        let residuals = |noise: Option<f32>| {
            let rollouts = noise.map(|noise| Rollouts { count: 3, noise });
            let mut evaluator = evaluator(rollouts);
            let (way, chosen) = solve(&mut evaluator);
            // The session holds what the last rollout came to.
            (way, chosen, evaluator.session().f32(&SCOPE.residual()).expect("it is on the host").to_vec())
        };
        let (plain, _, without_noise) = residuals(None);
        let (way, chosen, last) = residuals(Some(2.0));
        assert!(chosen.contains(&0) && chosen.iter().any(|&rollout| rollout > 0), "{chosen:?}");
        for (row, &rollout) in chosen.iter().enumerate() {
            assert!(rollout != 0 || way[2].predictions[row] == plain[2].predictions[row]);
            assert!(rollout != 0 || without_noise[row] <= last[row]);
            assert!(rollout != 2 || last[row] < without_noise[row]);
        }
    }

    #[test]
    fn little_noise_changes_little_and_the_seed_decides_it() {
        let infer = |noise| Infer { segments: 1, rollouts: Some(Rollouts { count: 2, noise }), ..INFER };
        let states = |noise: f32, seed: u64| {
            let mut evaluator = evaluator(Some(infer(noise)), 1);
            let mut model = evaluator.model().clone();
            model.train.as_mut().expect("the tiny model is trained").seed = seed;
            let rollouts = Rollouts { count: 2, noise };
            let attempt = Attempt { rollout: 1, ..Attempt::new(0) };
            write_noisy_states(evaluator.session_mut(), &model, rollouts, 0, &attempt).expect("it is here");
            evaluator.session().f32(&SCOPE.carry("z_high")).expect("it is on the host").to_vec()
        };
        let [wide, again, narrow, other] =
            [(1.0, 1), (1.0, 1), (0.25, 1), (1.0, 2)].map(|(s, seed)| states(s, seed));
        assert_eq!(wide, again);
        assert_ne!(wide, other);
        let evaluator = evaluator(None, 1);
        let init = evaluator.session().f32(&names::parameter("inner.H_init")).expect("it is on the host");
        let deviation = |states: &[f32]| {
            let squares =
                states.iter().enumerate().map(|(at, z)| f64::from(z - init[at % init.len()]).powi(2));
            (squares.sum::<f64>() / states.len() as f64).sqrt()
        };
        assert!((deviation(&wide) / deviation(&narrow) - 4.0).abs() < 1e-3);
        // 17 positions of 16 channels: five standard errors of the deviation are 5 / sqrt(2 * 272).
        assert!((deviation(&wide) - 1.0).abs() < 0.215, "{}", deviation(&wide));
    }

    #[test]
    fn answers_do_not_depend_on_the_batch() {
        let rollouts = Some(Rollouts { count: 3, noise: 1.0 });
        let infer = Infer { segments: 4, halt: true, rollouts, ..INFER };
        let [three, four] = [3, 4].map(|batch| evaluate(&mut evaluator(Some(infer), batch)));
        assert_eq!(three.answers, four.answers);
        assert_eq!(three.metrics, four.metrics, "to the last bit");
    }

    #[test]
    fn a_larger_q_value_is_better_and_an_equal_one_is_not() {
        assert!(is_better(Some(1.0), Some(0.5)));
        assert!(!is_better(Some(1.0), Some(1.0)));
        assert!(is_better(Some(-9.0), Some(f32::NAN)));
        assert!(!is_better(Some(f32::NAN), Some(-9.0)));
    }
}
