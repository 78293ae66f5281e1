//! Where gradients flow in a segment.

use crate::ir::{Model, Operand, StateInit, UnrolledUpdate, unroll};

/// The updates of a segment in the order in which they run, and what the gradient of the loss reaches.
pub(super) struct Gradients<'a> {
    pub updates: Vec<UnrolledUpdate<'a>>,
    /// Whether the gradient reaches the result of each update.
    pub reached: Vec<bool>,
    /// Whether it reaches the embedded input.
    pub input: bool,
    /// Whether it reaches what each state begins as; only the embedded input is not detached there.
    pub begins: Vec<bool>,
}

impl Gradients<'_> {
    /// Follows the gradient back from the heads, which have a loss at the end and, where a loop is supervised, after each
    /// of its iterations. It reaches an update that the policy differentiates if a head reads the result, or an update
    /// that it reaches.
    pub fn of(model: &Model) -> Gradients<'_> {
        let updates = unroll(model);
        // Whether the gradient reaches the value that each state has at this point, from the end on.
        let mut wanted = vec![false; model.states.len()];
        let keep = model.keep_head.as_ref().map(|head| head.state);
        let conflict = model.conflict_head.as_ref().map(|head| head.state);
        if let Some(head) = &model.q_head {
            wanted[head.state.0] = true;
        }
        let mut reached = vec![false; updates.len()];
        let mut input = false;
        for (index, unrolled) in updates.iter().enumerate().rev() {
            if unrolled.supervised {
                let heads = [Some(model.token_head.state), keep, conflict];
                heads.into_iter().flatten().for_each(|state| wanted[state.0] = true);
            }
            let update = unrolled.update;
            let is_wanted = std::mem::replace(&mut wanted[update.state.0], false);
            reached[index] = unrolled.differentiated && is_wanted;
            if reached[index] {
                for operand in update.operands.iter().chain(update.around.iter().flatten()) {
                    match operand {
                        Operand::State(state) => wanted[state.0] = true,
                        Operand::Input => input = true,
                    }
                }
            }
            if unrolled.begins_detached {
                wanted.fill(false);
            }
        }
        let begins: Vec<bool> = wanted
            .iter()
            .zip(&model.states)
            .map(|(wanted, state)| *wanted && state.init == StateInit::Input)
            .collect();
        input |= begins.contains(&true);
        Gradients { updates, reached, input, begins }
    }
}

#[cfg(test)]
mod tests {
    use super::Gradients;
    use crate::ir::testing::{example, update};
    use crate::ir::{Gradient, Model, Operand, StateId};

    #[test]
    fn a_result_that_only_the_carry_has_gets_no_gradient() {
        let state = |index| Operand::State(StateId(index));
        let segment = vec![
            update(0, 0, &[Operand::Input]),
            update(1, 1, &[state(0)]),
            // The heads read state 1, and nothing reads this before the segment ends.
            update(0, 0, &[state(1), Operand::Input]),
        ];
        let model = Model { segment, gradient: Gradient::Full, ..example() };
        let gradients = Gradients::of(&model);
        assert_eq!((gradients.reached, gradients.input), (vec![true, true, false], true));
        let one_step = Model { gradient: Gradient::OneStep, ..model.clone() };
        let gradients = Gradients::of(&one_step);
        assert_eq!((gradients.reached, gradients.input), (vec![false, true, false], false));
    }
}
