//! Parts of a model in words.

use crate::ir::{Model, Operand, Update};

/// Returns an update as a formula.
pub(super) fn formula(model: &Model, update: &Update) -> String {
    let operands: Vec<&str> = update
        .operands
        .iter()
        .map(|operand| match operand {
            Operand::State(state) => model.states[state.0].name.as_str(),
            Operand::Input => "x",
        })
        .collect();
    let (state, network) = (&model.states[update.state.0].name, &model.networks[update.network.0].name);
    format!("{state} ← {network}({})", operands.join(" + "))
}

/// Returns words as a list: `a`, `a and b`, `a, b and c`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
