//! One segment: the loop nest, unrolled.

use super::{Lowering, Program};
use crate::graph::Value;
use crate::graph::ops::{Add, Detach};
use crate::ir::{Operand, unroll};

/// Whether a segment is differentiated as the gradient policy says, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// As the policy says.
    Policy,
    /// Nowhere.
    Detached,
}

impl Lowering<'_> {
    /// Runs the updates of a segment on `states` and returns the new states.
    ///
    /// The result of an update that is not differentiated passes through a detach marker.
    pub(super) fn segment(&mut self, x: Value, mut states: Vec<Value>, flow: Flow) -> Vec<Value> {
        let model = self.model;
        for (index, unrolled) in unroll(model).into_iter().enumerate() {
            let update = unrolled.update;
            let mut sum = None;
            for operand in &update.operands {
                let term = match operand {
                    Operand::State(state) => states[state.0],
                    Operand::Input => x,
                };
                sum = Some(match sum {
                    Some(sum) => self.graph.add1(Add.into(), &[sum, term]),
                    None => term,
                });
            }
            let input = sum.expect("a checked update has operands");
            let mut result = self.network(&model.networks[update.network.0], input);
            if flow == Flow::Detached || !unrolled.differentiated {
                result = self.graph.add1(Detach.into(), &[result]);
            }
            if self.program == Program::Trace {
                self.graph.set_output(&self.scope.updated(index), result);
            }
            states[update.state.0] = result;
        }
        states
    }
}
