//! When a row stops being refined.

use serde::Serialize;

use crate::ir::{Halt, Infer, QTarget};

/// The values that decide whether a slot halts after a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotOutcome {
    /// Segments done on the row, this one included.
    pub steps: u32,
    /// Minimum number of segments that exploration has drawn in this call; 1 without exploration.
    pub floor: u32,
    /// Q value of halting, before the sigmoid; `None` for a model without a Q head.
    pub q_halt: Option<f32>,
    /// Q value of continuing, before the sigmoid; `None` unless the model predicts it.
    pub q_continue: Option<f32>,
    /// Distance by which the state that the tokens are predicted from moved in this segment; `None` in training unless
    /// the policy needs it.
    pub residual: Option<f32>,
}

/// Why a row stopped.
///
/// # Examples
///
/// ```
/// assert_eq!(serde_json::to_string(&hrmc::StoppedBy::Limit)?, "\"limit\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppedBy {
    /// It has done the largest number of segments.
    Limit,
    /// Its Q values said that it is done.
    Halted,
    /// The state from which its tokens are predicted has settled.
    Settled,
}

/// First segment after which a state can have settled: the first segment moves it away from its initial value.
const MIN_SETTLED: u32 = 2;

/// Returns whether a slot halts during training.
///
/// `steps >= M`, or `q_halt > q_continue` (`q_halt > 0` where `q_continue` is not trained) with `steps >= floor`. Under
/// [`Halt::Residual`] a slot halts when its residual is below `eps`, though not after its first segment. A value
/// that is not a number never halts a row before the limit.
///
/// # Panics
///
/// Panics if the policy needs a value that is `None`; the program of a checked model yields what its policy needs.
pub fn halts(policy: &Halt, slot: SlotOutcome) -> bool {
    is_last(policy, slot.steps) || wants_to_halt(policy, slot) && slot.steps >= slot.floor
}

/// Returns why a row stops in evaluation and use, if it does: its policy says so and `infer` listens, its state has
/// settled as `infer` asks, or it has done the largest number of segments of `infer`. There is no exploration.
///
/// # Panics
///
/// Panics as [`halts`] does.
pub(super) fn stops(policy: &Halt, infer: &Infer, slot: SlotOutcome) -> Option<StoppedBy> {
    if infer.halt && wants_to_halt(policy, slot) {
        return Some(if matches!(policy, Halt::Residual { .. }) {
            StoppedBy::Settled
        } else {
            StoppedBy::Halted
        });
    }
    if infer.settle.is_some_and(|eps| has_settled(slot, eps)) {
        return Some(StoppedBy::Settled);
    }
    (slot.steps as usize >= infer.segments).then_some(StoppedBy::Limit)
}

/// Returns whether a state has moved less than `eps` in a segment, which is not the first one.
fn has_settled(slot: SlotOutcome, eps: f32) -> bool {
    slot.steps >= MIN_SETTLED && slot.residual.expect("it is computed where it is asked for") < eps
}

/// Returns whether the policy stops here, before any limit.
pub(super) fn wants_to_halt(policy: &Halt, slot: SlotOutcome) -> bool {
    match policy {
        Halt::Fixed { .. } => false,
        Halt::Residual { eps, .. } => has_settled(slot, *eps),
        Halt::QLearning { target: QTarget::Bootstrap, .. } => {
            let q_continue = slot.q_continue.expect("q-learning predicts `q_continue`");
            slot.q_halt.expect("q-learning predicts `q_halt`") > q_continue
        }
        Halt::QLearning { target: QTarget::None, .. } | Halt::Bce { .. } => {
            slot.q_halt.expect("the policy predicts `q_halt`") > 0.0
        }
    }
}

/// Returns whether the segment that makes `steps` is the last one a row may take.
pub fn is_last(policy: &Halt, steps: u32) -> bool {
    steps as usize >= policy.max_segments()
}

#[cfg(test)]
mod tests {
    use super::StoppedBy::{Halted, Limit, Settled};
    use super::*;

    const Q_LEARNING: Halt = Halt::QLearning { max_segments: 4, explore: 0.1, target: QTarget::Bootstrap };
    const BCE: Halt = Halt::Bce { max_segments: 4, explore: 0.1 };

    fn slot(steps: u32, floor: u32, q_halt: f32, q_continue: f32) -> SlotOutcome {
        SlotOutcome { steps, floor, q_halt: Some(q_halt), q_continue: Some(q_continue), residual: None }
    }

    #[test]
    fn q_learning_halts_when_halting_is_worth_more() {
        assert!(halts(&Q_LEARNING, slot(1, 1, -1.0, -2.0)));
        assert!(!halts(&Q_LEARNING, slot(1, 1, -2.0, -1.0)));
        assert!(!halts(&Q_LEARNING, slot(1, 1, -5.0, -5.0)), "equal values go on");
    }

    #[test]
    fn q_learning_without_a_target_halts_above_zero() {
        let policy = Halt::QLearning { max_segments: 4, explore: 0.1, target: QTarget::None };
        assert!(halts(&policy, slot(1, 1, 0.1, 0.5)), "`q_continue` is not read");
        assert!(!halts(&policy, slot(1, 1, -0.1, -0.5)));
    }

    #[test]
    fn bce_halts_above_zero() {
        let slot = |q_halt| SlotOutcome {
            steps: 1,
            floor: 1,
            q_halt: Some(q_halt),
            q_continue: None,
            residual: None,
        };
        assert!(halts(&BCE, slot(0.1)));
        assert!(!halts(&BCE, slot(0.0)));
    }

    #[test]
    fn the_limit_halts_whatever_the_q_values_say() {
        for policy in [Q_LEARNING, BCE] {
            assert!(halts(&policy, slot(4, 1, -2.0, -1.0)));
            assert!(!halts(&policy, slot(3, 1, -2.0, -1.0)));
        }
    }

    #[test]
    fn the_floor_delays_halting_but_not_the_limit() {
        for policy in [Q_LEARNING, BCE] {
            assert!(!halts(&policy, slot(2, 3, 1.0, 0.0)));
            assert!(halts(&policy, slot(3, 3, 1.0, 0.0)));
            assert!(halts(&policy, slot(4, 4, 1.0, 0.0)));
        }
    }

    #[test]
    fn fixed_needs_no_q_values() {
        let policy = Halt::Fixed { segments: 2 };
        let slot = |steps| SlotOutcome { steps, floor: 1, q_halt: None, q_continue: None, residual: None };
        assert!(!halts(&policy, slot(1)));
        assert!(halts(&policy, slot(2)));
    }

    #[test]
    fn inference_has_a_limit_of_its_own_and_listens_if_told_to() {
        let infer = |segments, halt| Infer { segments, halt, rollouts: None, settle: None, check: None };
        for policy in [Q_LEARNING, BCE] {
            let sure = |steps| slot(steps, 9, 1.0, 0.0);
            assert_eq!(stops(&policy, &infer(6, true), sure(1)), Some(Halted), "no floor holds it back");
            assert_eq!(stops(&policy, &infer(6, false), sure(1)), None);
            let doubtful = |steps| slot(steps, 1, -1.0, 0.0);
            assert_eq!(
                stops(&policy, &infer(6, true), doubtful(5)),
                None,
                "the limit of training is no limit"
            );
            assert_eq!(stops(&policy, &infer(6, true), doubtful(6)), Some(Limit));
        }
    }

    #[test]
    fn a_state_that_has_settled_halts_though_not_after_the_first_segment() {
        let policy = Halt::Residual { eps: 0.1, max_segments: 4 };
        let slot = |steps, residual| SlotOutcome {
            steps,
            floor: 1,
            q_halt: None,
            q_continue: None,
            residual: Some(residual),
        };
        assert!(!halts(&policy, slot(1, 0.0)));
        assert!(halts(&policy, slot(2, 0.09)));
        assert!(!halts(&policy, slot(2, 0.1)));
        assert!(!halts(&policy, slot(3, f32::NAN)));
        assert!(halts(&policy, slot(4, 9.0)));
        let infer = |halt| Infer { segments: 6, halt, rollouts: None, settle: None, check: None };
        assert_eq!(stops(&policy, &infer(true), slot(2, 0.09)), Some(Settled));
        assert_eq!(stops(&policy, &infer(false), slot(2, 0.09)), None);
        let settle = Infer { settle: Some(0.2), ..infer(false) };
        assert_eq!(stops(&policy, &settle, slot(2, 0.15)), Some(Settled));
        assert_eq!(stops(&Halt::Fixed { segments: 3 }, &settle, slot(2, 0.15)), Some(Settled));
        assert_eq!(stops(&policy, &settle, slot(1, 0.15)), None);
        assert_eq!(stops(&policy, &settle, slot(6, f32::NAN)), Some(Limit));
    }

    #[test]
    fn a_single_segment_is_always_the_last() {
        let policy = Halt::QLearning { max_segments: 1, explore: 0.0, target: QTarget::Bootstrap };
        assert!(halts(&policy, slot(1, 1, -2.0, -1.0)));
    }

    #[test]
    fn q_values_that_are_not_numbers_continue_to_the_limit() {
        assert!(!halts(&Q_LEARNING, slot(1, 1, f32::NAN, 0.0)));
        assert!(halts(&Q_LEARNING, slot(4, 1, f32::NAN, 0.0)));
    }
}
