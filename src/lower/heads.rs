//! Heads that read the states.

use super::parameters::{
    CONFLICT_BIAS, CONFLICT_HEAD, KEEP_BIAS, KEEP_HEAD, Q_BIAS, Q_HEAD, TOKEN_BIAS, TOKEN_HEAD,
};
use super::{Lowering, Purpose};
use crate::graph::Value;
use crate::graph::ops::{Reshape, Slice};
use crate::ir::{QOutputs, StateId};

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
        let z = self.tokens_of(states, self.model.token_head.state);
        let bias = self.model.token_head.bias.map(|_| TOKEN_BIAS);
        let logits = self.map(z, TOKEN_HEAD, bias);
        self.graph.set_stretch(before);
        logits
    }

    /// Logits `[B, S, K]` that each candidate is to be kept.
    pub(super) fn keep_head(&mut self, states: &[Value]) -> Option<Value> {
        let head = self.model.keep_head.as_ref()?;
        let before = self.graph.set_stretch(Purpose::TokenHead.stretch());
        let z = self.tokens_of(states, head.state);
        let logits = self.map(z, KEEP_HEAD, Some(KEEP_BIAS));
        self.graph.set_stretch(before);
        Some(logits)
    }

    /// Logit `[B]` that a true candidate is lost.
    pub(super) fn conflict_head(&mut self, states: &[Value]) -> Option<Value> {
        let head = self.model.conflict_head.as_ref()?;
        let before = self.graph.set_stretch(Purpose::QHead.stretch());
        let z = self.position_of(states, head.state, head.position);
        let logit = self.map(z, CONFLICT_HEAD, Some(CONFLICT_BIAS));
        let logit = self.graph.add1(Reshape { shape: vec![self.sizes.batch] }.into(), &[logit]);
        self.graph.set_stretch(before);
        Some(logit)
    }

    /// The token positions of a state, `[B, S, D]`.
    fn tokens_of(&mut self, states: &[Value], state: StateId) -> Value {
        let z = states[state.0];
        let prefix = self.model.prefix_positions();
        if prefix == 0 {
            return z;
        }
        let slice = Slice { axis: 1, start: prefix, end: self.model.total_positions() };
        self.graph.add1(slice.into(), &[z])
    }

    /// One position of a state, `[B, D]`.
    fn position_of(&mut self, states: &[Value], state: StateId, position: usize) -> Value {
        let slice = Slice { axis: 1, start: position, end: position + 1 };
        let z = self.graph.add1(slice.into(), &[states[state.0]]);
        let shape = vec![self.sizes.batch, self.model.hidden];
        self.graph.add1(Reshape { shape }.into(), &[z])
    }

    /// Q values from one position of a state, `[B, 2]` or `[B, 1]`: of halting, and of going on if the model predicts it.
    pub(super) fn q_values(&mut self, states: &[Value]) -> Option<Value> {
        let head = self.model.q_head.as_ref()?;
        let z = self.position_of(states, head.state, head.position);
        Some(self.map(z, Q_HEAD, Some(Q_BIAS)))
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
