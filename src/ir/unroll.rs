//! Lists the updates of a segment in the order in which they run and marks the differentiated ones.

use super::{Gradient, Model, Step, Update};

/// One update of the unrolled segment.
#[derive(Debug, Clone, PartialEq)]
pub struct UnrolledUpdate<'a> {
    /// The update.
    pub update: &'a Update,
    /// Iteration of each enclosing loop, outermost first, counted from 0.
    pub iterations: Vec<usize>,
    /// Whether gradients flow through this update; its result is detached otherwise.
    pub differentiated: bool,
}

/// Unrolls the loop nest of one segment.
///
/// The gradient policy decides which updates are differentiated: with
/// [`Gradient::OneStep`] the last update of every state, with [`Gradient::Last`] every update from the
/// last `count` iterations of the named loop on, with [`Gradient::Full`] all of them. A named loop inside
/// other loops runs several times; its last run counts.
///
/// Requires that the named loop exists and has at least `count` iterations, as the validator checks.
pub fn unroll(model: &Model) -> Vec<UnrolledUpdate<'_>> {
    let mut walk = Unroll { gradient: &model.gradient, updates: Vec::new(), boundary: 0 };
    walk.steps(&model.segment, &mut Vec::new());
    let Unroll { mut updates, boundary, .. } = walk;
    match &model.gradient {
        Gradient::OneStep => {
            let mut seen = vec![false; model.states.len()];
            for unrolled in updates.iter_mut().rev() {
                let seen = &mut seen[unrolled.update.state.0];
                unrolled.differentiated = !*seen;
                *seen = true;
            }
        }
        Gradient::Last { .. } => {
            for (index, unrolled) in updates.iter_mut().enumerate() {
                unrolled.differentiated = index >= boundary;
            }
        }
        Gradient::Full => updates.iter_mut().for_each(|unrolled| unrolled.differentiated = true),
    }
    updates
}

struct Unroll<'a> {
    gradient: &'a Gradient,
    updates: Vec<UnrolledUpdate<'a>>,
    /// Number of updates that had run when the last iterations of the named loop began.
    boundary: usize,
}

impl<'a> Unroll<'a> {
    fn steps(&mut self, steps: &'a [Step], iterations: &mut Vec<usize>) {
        for step in steps {
            match step {
                Step::Update(update) => self.updates.push(UnrolledUpdate {
                    update,
                    iterations: iterations.clone(),
                    differentiated: false,
                }),
                Step::Repeat(repeat) => {
                    for iteration in 0..repeat.count {
                        if let Gradient::Last { count, label } = self.gradient
                            && repeat.label.as_ref() == Some(label)
                            && iteration + count == repeat.count
                        {
                            self.boundary = self.updates.len();
                        }
                        iterations.push(iteration);
                        self.steps(&repeat.body, iterations);
                        iterations.pop();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unroll;
    use crate::ir::testing::{example, repeat, update};
    use crate::ir::{Gradient, Model, Operand, Step};

    /// Returns one character an update: its network's first letter, upper case where it is differentiated.
    fn trace(model: &Model) -> String {
        unroll(model)
            .iter()
            .map(|unrolled| {
                let name = &model.networks[unrolled.update.network.0].name;
                let letter = name.chars().next().expect("names are not empty");
                if unrolled.differentiated { letter.to_ascii_uppercase() } else { letter }
            })
            .collect()
    }

    /// `outer: repeat 3 { inner: repeat 2 { low }; high }` under a policy.
    fn nested(gradient: Gradient) -> Model {
        let low = || update(0, 0, &[Operand::Input]);
        let body = vec![repeat(Some("inner"), 2, vec![low()]), update(1, 1, &[Operand::Input])];
        Model { segment: vec![repeat(Some("outer"), 3, body)], gradient, ..example() }
    }

    fn last(count: usize, label: &str) -> Gradient {
        Gradient::Last { count, label: label.to_string() }
    }

    #[test]
    fn one_step_differentiates_the_last_update_of_every_state() {
        assert_eq!(trace(&nested(Gradient::OneStep)), "llhllhlLH");
    }

    #[test]
    fn one_step_picks_last_updates_that_are_far_apart() {
        let low = || update(0, 0, &[Operand::Input]);
        let high = || update(1, 1, &[Operand::Input]);
        let model = Model { segment: vec![low(), repeat(None, 3, vec![high()])], ..example() };
        assert_eq!(trace(&model), "LhhH");
    }

    #[test]
    fn full_differentiates_everything() {
        assert_eq!(trace(&nested(Gradient::Full)), "LLHLLHLLH");
    }

    #[test]
    fn last_differentiates_whole_iterations_and_what_follows() {
        assert_eq!(trace(&nested(last(1, "outer"))), "llhllhLLH");
        assert_eq!(trace(&nested(last(2, "outer"))), "llhLLHLLH");
        assert_eq!(trace(&nested(last(3, "outer"))), "LLHLLHLLH");
    }

    #[test]
    fn last_of_an_inner_loop_counts_in_its_last_run() {
        assert_eq!(trace(&nested(last(1, "inner"))), "llhllhlLH");
        assert_eq!(trace(&nested(last(2, "inner"))), "llhllhLLH");
    }

    #[test]
    fn what_follows_the_named_loop_is_differentiated() {
        let low = || update(0, 0, &[Operand::Input]);
        let high = || update(1, 1, &[Operand::Input]);
        let steps: Vec<Step> = vec![high(), repeat(Some("a"), 2, vec![low()]), high(), high()];
        let model = Model { segment: steps, gradient: last(1, "a"), ..example() };
        assert_eq!(trace(&model), "hlLHH");
    }

    #[test]
    fn iterations_count_from_zero_with_the_outermost_first() {
        let model = nested(Gradient::Full);
        let iterations: Vec<Vec<usize>> =
            unroll(&model).into_iter().map(|unrolled| unrolled.iterations).collect();
        assert_eq!(iterations[..4], [vec![0, 0], vec![0, 1], vec![0], vec![1, 0]]);
    }
}
