//! Parts of a model in words.

use crate::ir::{Model, Operand, Update};

/// Returns an update as a formula.
pub(super) fn formula(model: &Model, update: &Update) -> String {
    let term = |operand: &Operand| match operand {
        Operand::State(state) => model.states[state.0].name.clone(),
        Operand::Input => "x".to_owned(),
    };
    let (state, network) = (&model.states[update.state.0].name, &model.networks[update.network.0].name);
    let result = format!("{network}({})", update.operands.iter().map(term).collect::<Vec<_>>().join(" + "));
    match &update.around {
        None => format!("{state} ← {result}"),
        Some(around) => {
            let terms = around.iter().map(term).chain([result]).collect::<Vec<_>>();
            format!("{state} ← norm({})", terms.join(" + "))
        }
    }
}

/// Returns words as a list: `a`, `a and b`, `a, b and c`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
