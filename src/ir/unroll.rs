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
/// last `count` iterations of the named loop on, with [`Gradient::Full`] all of them.
pub fn unroll(model: &Model) -> Vec<UnrolledUpdate<'_>> {
    let mut walk = Walk { gradient: &model.gradient, updates: Vec::new(), boundary: 0 };
    walk.steps(&model.segment, &mut Vec::new());
    let Walk { mut updates, boundary, .. } = walk;
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

struct Walk<'a> {
    gradient: &'a Gradient,
    updates: Vec<UnrolledUpdate<'a>>,
    /// Number of updates that had run when the last iterations of the named loop began.
    boundary: usize,
}

impl<'a> Walk<'a> {
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
                            && iteration + count == repeat.count.max(*count)
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
