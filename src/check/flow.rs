//! The flow of values and gradients in one segment: networks without a gradient, an embedded input without use, updates
//! whose result nobody reads.
//!
//! The check walks backward through the unrolled segment, the same list that lowering uses, and begins at the heads.
//! The last update of a needed state gives its value. If that update is differentiated, its network learns, and its
//! operands are needed in turn. If not, the gradient ends there.

use super::Context;
use super::outline::Outline;
use super::segment::Nest;
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir::{self, NetworkId, Operand, StateId, UnrolledUpdate, Update};
use crate::span::Span;
use crate::syntax::ast::Name;

impl<'a> Context<'a> {
    /// Reports what gets no gradient and what is computed for nothing.
    pub(super) fn flow(&mut self, outline: &Outline<'a>, nest: &Nest<'a>, model: &ir::Model) {
        let unrolled = ir::unroll(model);
        let updates = model.updates();
        let reach = reach(model, &unrolled);
        for (index, network) in outline.networks.iter().enumerate() {
            let uses = updates.iter().position(|update| update.network == NetworkId(index));
            match uses {
                None => self.report(never_used(&network.name, self.statement(network.name.span))),
                Some(_) if reach.networks[index] => {}
                Some(first) => {
                    let policy = outline.gradient.map(|gradient| gradient.policy.span);
                    self.report(without_gradient(&network.name, nest.updates[first], policy));
                }
            }
        }
        let first_input = updates.iter().position(|update| update.operands.contains(&Operand::Input));
        match first_input {
            None => {
                let segment = outline.segment.map_or(outline.name.span, |segment| segment.keyword);
                self.report(input_never_read(segment));
            }
            Some(_) if reach.input => {}
            Some(first) => self.report(input_without_gradient(nest.updates[first])),
        }
        for (index, update) in updates.iter().enumerate() {
            if let Some(by) = overwritten(update, &unrolled) {
                let by = updates.iter().position(|other| std::ptr::eq(*other, by));
                let by = by.expect("the overwriting update is one of them");
                let state = &outline.states[update.state.0].name.text;
                self.report(dead_update(state, nest.updates[index], nest.updates[by]));
            }
        }
        if let Some(infer) = &model.infer
            && infer.rollouts.is_some()
            && !noise_matters(model, &unrolled, infer.segments)
        {
            let section = outline.infer.expect("the rollouts come from this statement");
            let entry = |name: &str| {
                let mut entries = section.entries.entries.iter();
                let named = entries.find(|entry| entry.key.as_ref().is_some_and(|key| key.text == name));
                named.map(|entry| entry.span)
            };
            let both = ["rollouts", "noise"].into_iter().filter_map(entry).map(Edit::Remove).collect();
            self.report(equal_rollouts(entry("rollouts").unwrap_or(section.name.span), both));
        }
    }
}

/// What the gradient reaches.
#[derive(Debug)]
struct Reach {
    /// By network.
    networks: Vec<bool>,
    /// The embedded input.
    input: bool,
}

fn reach(model: &ir::Model, unrolled: &[UnrolledUpdate<'_>]) -> Reach {
    let mut reach = Reach { networks: vec![false; model.networks.len()], input: false };
    let mut needed = vec![false; model.states.len()];
    needed[model.token_head.state.0] = true;
    if let Some(q_head) = &model.q_head {
        needed[q_head.state.0] = true;
    }
    for unrolled in unrolled.iter().rev() {
        let update = unrolled.update;
        if !std::mem::replace(&mut needed[update.state.0], false) || !unrolled.differentiated {
            continue;
        }
        reach.networks[update.network.0] = true;
        for operand in &update.operands {
            match operand {
                Operand::Input => reach.input = true,
                Operand::State(StateId(state)) => needed[*state] = true,
            }
        }
    }
    reach
}

/// Returns whether what is predicted after `segments` segments depends on an initial state.
fn noise_matters(model: &ir::Model, unrolled: &[UnrolledUpdate<'_>], segments: usize) -> bool {
    let mut needed = vec![false; model.states.len()];
    needed[model.token_head.state.0] = true;
    if let Some(q_head) = &model.q_head {
        needed[q_head.state.0] = true;
    }
    // Going backward from segment to segment, what is needed comes to a rest within as many as there are states.
    for _ in 0..segments.min(model.states.len() + 1) {
        for unrolled in unrolled.iter().rev() {
            let update = unrolled.update;
            if std::mem::replace(&mut needed[update.state.0], false) {
                for operand in &update.operands {
                    if let Operand::State(StateId(state)) = operand {
                        needed[*state] = true;
                    }
                }
            }
        }
    }
    needed.contains(&true)
}

/// Returns the update that replaces a result of `update` before anything has read it.
fn overwritten<'m>(update: &Update, unrolled: &[UnrolledUpdate<'m>]) -> Option<&'m Update> {
    let mut pending = false;
    for step in unrolled {
        if pending {
            if step.update.operands.contains(&Operand::State(update.state)) {
                pending = false;
            } else if step.update.state == update.state {
                return Some(step.update);
            }
        }
        if std::ptr::eq(step.update, update) {
            pending = true;
        }
    }
    None
}

fn never_used(network: &Name, statement: Span) -> Diagnostic {
    Diagnostic::error(
        Code::NetworkNeverUsed,
        network.span,
        format!("the network `{}` is never used", network.text),
    )
    .label("defined here")
    .help(format!("use it in the segment with `… <- {}(…)`, or remove it", network.text))
    .offer("remove it", [Edit::Remove(statement)])
}

fn without_gradient(network: &Name, usage: Span, policy: Option<Span>) -> Diagnostic {
    let message = format!("the weights of the network `{}` get no gradient", network.text);
    let diagnostic = Diagnostic::error(Code::NetworkWithoutGradient, network.span, message)
        .label("would never learn")
        .secondary(usage, "no result of this reaches a prediction through differentiated updates")
        .help("use it in a differentiated update, or differentiate more with `gradient last LOOP` or `gradient full`");
    match policy {
        Some(policy) => diagnostic.secondary(policy, "the gradient policy"),
        None => diagnostic.note("the gradient policy is `one_step`, the default"),
    }
}

fn input_never_read(segment: Span) -> Diagnostic {
    Diagnostic::warning(
        Code::InputNeverRead,
        segment,
        "no update reads `x`, so the model never sees a puzzle",
    )
    .label("in this segment")
    .help("add `x` to the sum that a network reads")
}

fn input_without_gradient(usage: Span) -> Diagnostic {
    let message = "the embedded input gets no gradient, so the embeddings never learn";
    Diagnostic::warning(Code::InputWithoutGradient, usage, message)
        .label("reads `x`, but is not differentiated")
        .help("differentiate an update that reads `x`")
}

fn equal_rollouts(span: Span, both: Vec<Edit>) -> Diagnostic {
    Diagnostic::warning(
        Code::WithoutEffect,
        span,
        "`rollouts` has no effect: no prediction depends on an initial state",
    )
    .label("all rollouts are the same")
    .note("they differ by noise on the initial states, which are replaced before anything reads them")
    .mend("remove `rollouts` and `noise`", both)
}

fn dead_update(state: &str, span: Span, by: Span) -> Diagnostic {
    let message = format!("this value of `{state}` is replaced before anything reads it");
    let diagnostic = Diagnostic::warning(Code::DeadUpdate, span, message).label("computed for nothing");
    let diagnostic = diagnostic.help(format!("read `{state}` in between, or remove the update"));
    match by == span {
        true => diagnostic.note("the next iteration replaces it"),
        false => diagnostic.secondary(by, "replaced here").offer("remove the update", [Edit::Remove(span)]),
    }
}
