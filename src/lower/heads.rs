//! Heads that read the states.

use super::parameters::{Q_BIAS, Q_HEAD, TOKEN_HEAD};
use super::{Lowering, Purpose};
use crate::graph::Value;
use crate::graph::ops::{AddSuffix, Reshape, Slice};
use crate::ir::QOutputs;

/// Q values of each row, before the sigmoid, each `[B]`.
#[derive(Clone, Copy)]
pub(super) struct QValues {
    pub q_halt: Value,
    pub q_continue: Option<Value>,
}

impl Lowering<'_> {
    /// Logits `[B, S, V]` of the token positions.
    pub(super) fn token_head(&mut self, states: &[Value]) -> Value {
        let before = self.graph.set_stretch(Purpose::TokenHead.stretch());
        let mut z = states[self.model.token_head.state.0];
        let prefix = self.model.prefix_positions();
        if prefix > 0 {
            let slice = Slice { axis: 1, start: prefix, end: self.model.total_positions() };
            z = self.graph.add1(slice.into(), &[z]);
        }
        let logits = self.linear(z, TOKEN_HEAD);
        self.graph.set_stretch(before);
        logits
    }

    /// Q values from one position of a state, `[B, 2]` or `[B, 1]`: of halting, and of going on if the model predicts it.
    pub(super) fn q_values(&mut self, states: &[Value]) -> Option<Value> {
        let head = self.model.q_head.as_ref()?;
        let slice = Slice { axis: 1, start: head.position, end: head.position + 1 };
        let z = self.graph.add1(slice.into(), &[states[head.state.0]]);
        let shape = vec![self.sizes.batch, self.model.hidden];
        let z = self.graph.add1(Reshape { shape }.into(), &[z]);
        let q = self.linear(z, Q_HEAD);
        let bias = self.weight(Q_BIAS);
        Some(self.graph.add1(AddSuffix.into(), &[q, bias]))
    }

    /// The same, each by itself.
    pub(super) fn q_head(&mut self, states: &[Value]) -> Option<QValues> {
        let head = self.model.q_head.as_ref()?;
        let before = self.graph.set_stretch(Purpose::QHead.stretch());
        let batch = self.sizes.batch;
        let q = self.q_values(states)?;
        let mut column = |index: usize| {
            let value = self.graph.add1(Slice { axis: 1, start: index, end: index + 1 }.into(), &[q]);
            self.graph.add1(Reshape { shape: vec![batch] }.into(), &[value])
        };
        let values = match head.outputs {
            QOutputs::HaltContinue => QValues { q_halt: column(0), q_continue: Some(column(1)) },
            QOutputs::Halt => QValues { q_halt: column(0), q_continue: None },
        };
        self.graph.set_stretch(before);
        Some(values)
    }
}
