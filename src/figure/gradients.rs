//! Where gradients flow in a segment.

use crate::ir::{Model, Operand, UnrolledUpdate, unroll};

/// The updates of a segment in the order in which they run, and what the gradient of the loss reaches.
pub(super) struct Gradients<'a> {
    pub updates: Vec<UnrolledUpdate<'a>>,
    /// Whether the gradient reaches the result of each update.
    pub reached: Vec<bool>,
    /// Whether it reaches the embedded input.
    pub input: bool,
}

impl Gradients<'_> {
    /// Follows the gradient back from the heads. It reaches an update that the policy differentiates if a head reads
    /// the result, or an update that it reaches.
    pub fn of(model: &Model) -> Gradients<'_> {
        let updates = unroll(model);
        // Whether the gradient reaches the value that each state has at this point, from the end on.
        let mut wanted = vec![false; model.states.len()];
        wanted[model.token_head.state.0] = true;
        if let Some(head) = &model.q_head {
            wanted[head.state.0] = true;
        }
        let mut reached = vec![false; updates.len()];
        let mut input = false;
        for (index, unrolled) in updates.iter().enumerate().rev() {
            let update = unrolled.update;
            let is_wanted = std::mem::replace(&mut wanted[update.state.0], false);
            reached[index] = unrolled.differentiated && is_wanted;
            if reached[index] {
                for operand in &update.operands {
                    match operand {
                        Operand::State(state) => wanted[state.0] = true,
                        Operand::Input => input = true,
                    }
                }
            }
        }
        Gradients { updates, reached, input }
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
