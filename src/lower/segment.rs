//! One segment: the loop nest, unrolled.

use super::{Lowering, Program, Purpose};
use crate::graph::Value;
use crate::graph::ops::{Add, Detach};
use crate::ir::{Operand, UnrolledUpdate, Update, unroll};

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
        let updates = unroll(self.model);
        for (index, unrolled) in updates.iter().enumerate() {
            self.graph.set_stretch(Purpose::Update(index).stretch());
            let state = unrolled.update.state;
            let is_last = updates[index + 1..].iter().all(|later| later.update.state != state);
            let keeps_attention = is_last && self.program == Program::Trace { attention: true };
            let mut result = self.update(unrolled.update, x, &states, keeps_attention.then_some(index));
            if flow == Flow::Detached || !unrolled.differentiated {
                result = self.graph.add1(Detach.into(), &[result]);
            }
            states[state.0] = result;
            if matches!(self.program, Program::Trace { .. }) {
                self.graph.set_output(&self.scope.updated(index), result);
                self.decode(&updates, index, x, &states);
            }
        }
        self.graph.set_stretch(Purpose::Rest.stretch());
        states
    }

    /// Returns the result of an update. With `kept`, its place in the segment, its queries, keys and values are outputs.
    fn update(&mut self, update: &Update, x: Value, states: &[Value], kept: Option<usize>) -> Value {
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
        let model = self.model;
        self.network(&model.networks[update.network.0], input, kept)
    }

    /// Makes outputs of what the heads answer after the update `index`.
    ///
    /// After an update of the state that the tokens are predicted from, they read the states as they are. After any other
    /// update, the next update of that state is made first, from the states as they are (figure 7 of
    /// arXiv:2506.21734 calls this a preliminary high-level update). It goes nowhere else. Behind the last update, the
    /// next one is that of another segment.
    fn decode(&mut self, updates: &[UnrolledUpdate<'_>], index: usize, x: Value, states: &[Value]) {
        let answer = self.model.token_head.state;
        let mut states = states.to_vec();
        if updates[index].update.state != answer {
            let mut after = updates[index + 1..].iter().chain(updates);
            // A state that is never updated is read as it is.
            if let Some(next) = after.find(|next| next.update.state == answer) {
                states[answer.0] = self.update(next.update, x, &states, None);
            }
        }
        let logits = self.token_head(&states);
        self.graph.set_output(&self.scope.decoded(index), logits);
        if let Some(q) = self.q_values(&states) {
            self.graph.set_output(&self.scope.decoded_q(index), q);
        }
    }
}
