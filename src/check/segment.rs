//! The statements `state`, `segment` and `gradient`: states, the loop nest that updates them, and the gradient policy.

use std::collections::BTreeMap;

use super::Context;
use super::constant::Constant;
use super::keys::RESERVED;
use super::names::{Named, suggest, wrong_name};
use super::outline::{Outline, StateName};
use super::reader::{MAX_INTEGER, Reals, to_usize};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir::{self, NetworkId, StateId};
use crate::span::Span;
use crate::syntax::ast::{
    Binary, Call, Entries, Entry, Expr, ExprKind, Gradient, Name, Operator, Repeat, StepKind, Steps, Update,
};

/// Most blocks that an unrolled segment runs: ten times the deepest published, and compiled within a minute.
const MAX_BLOCKS: usize = 2_048;
/// Name of the embedded input.
const INPUT: &str = "x";

/// A loop nest with what later checks need to know about its text.
#[derive(Debug, Default)]
pub(super) struct Nest<'a> {
    /// The steps; parts with errors are left out.
    pub(super) steps: Vec<ir::Step>,
    /// Place of every update of `steps`, in the order of the text.
    pub(super) updates: Vec<Span>,
    /// Place of every update of each state, errors or not.
    updated: BTreeMap<StateId, Span>,
    /// States that an update reads, errors or not.
    read: BTreeMap<StateId, Span>,
    labels: BTreeMap<&'a str, LoopLabel>,
    /// The largest count of a loop, and where it stands.
    largest: Option<(usize, Span)>,
    /// Whether anything was left out.
    broken: bool,
    /// Whether every step of the text is in the tree.
    complete: bool,
}

/// A labelled loop.
#[derive(Debug)]
struct LoopLabel {
    span: Span,
    count: Option<usize>,
}

impl<'a> Context<'a> {
    /// Returns how each state begins, or `None` for those with an error.
    pub(super) fn state_inits(&mut self, outline: &Outline<'a>) -> Vec<Option<ir::Normal>> {
        if outline.states.is_empty() {
            self.missing_statement(outline, "state", "state z = normal(std = 1, truncate = 2)");
        }
        let default = Some(ir::Normal { std: 1.0, truncate: 2.0 });
        outline
            .states
            .iter()
            .map(|state| match state.init {
                None => default.clone(),
                Some(init) => {
                    let (_, settings) = self.chosen(&super::keys::STATE, init)?;
                    let std = self.real_or(&settings, "std", Reals::Positive, 1.0);
                    let truncate = self.real_or(&settings, "truncate", Reals::Positive, 2.0);
                    Some(ir::Normal { std: std?, truncate: truncate? })
                }
            })
            .collect()
    }

    /// Checks the loop nest.
    ///
    /// An update counts the blocks of its network, if `networks` are known.
    pub(super) fn nest(
        &mut self,
        outline: &Outline<'a>,
        networks: Option<&[ir::Network]>,
    ) -> Option<Nest<'a>> {
        let Some(segment) = outline.segment else {
            let (state, network) = (outline.state(), outline.network());
            let example = format!("segment {{ {state} <- {network}({state} + x) }}");
            self.missing_statement(outline, "segment", &example);
            return None;
        };
        let mut nest = Nest { complete: segment.steps.complete, ..Nest::default() };
        nest.steps = self.steps(&segment.steps, outline, &mut nest);
        let layers = |network: NetworkId| networks.map_or(1, |networks| networks[network.0].layers);
        let length = count_blocks(&nest.steps, &layers);
        if length > MAX_BLOCKS {
            // What is to be changed is most likely the largest count.
            let span = nest.largest.map_or(segment.keyword, |(_, span)| span);
            self.report(segment_too_long(span, length));
            nest.broken = true;
        }
        Some(nest)
    }

    fn steps(&mut self, steps: &'a Steps, outline: &Outline<'a>, nest: &mut Nest<'a>) -> Vec<ir::Step> {
        nest.complete &= steps.complete;
        let mut checked = Vec::new();
        for step in &steps.steps {
            let step = match &step.kind {
                StepKind::Update(update) => {
                    let update = self.update(update, outline, nest);
                    if update.is_some() {
                        nest.updates.push(step.span);
                    }
                    update.map(ir::Step::Update)
                }
                StepKind::Repeat(repeat) => {
                    self.repeat(repeat, step.span, outline, nest).map(ir::Step::Repeat)
                }
            };
            nest.broken |= step.is_none();
            checked.extend(step);
        }
        checked
    }

    fn repeat(
        &mut self,
        repeat: &'a Repeat,
        step: Span,
        outline: &Outline<'a>,
        nest: &mut Nest<'a>,
    ) -> Option<ir::Repeat> {
        let expected = || ("an integer of at least 1".to_string(), Some("repeat 2 { … }".to_string()));
        let count = self.number(&repeat.count, "repeat", &expected);
        let count = match count.map(Constant::integer) {
            Some(Some(0)) => {
                self.report(no_iterations(repeat.count.span));
                None
            }
            Some(_) => self.integer_value(&repeat.count, "repeat", 1..=MAX_INTEGER).map(to_usize),
            None => None,
        };
        if let Some(count) = count.filter(|&count| nest.largest.is_none_or(|(largest, _)| count > largest)) {
            nest.largest = Some((count, repeat.count.span));
        }
        if let Some(label) = &repeat.label {
            match nest.labels.get(label.text.as_str()) {
                Some(first) => self.report(duplicate_label(label, first.span)),
                None => {
                    nest.labels.insert(&label.text, LoopLabel { span: label.span, count });
                }
            }
        }
        if repeat.body.steps.is_empty() && repeat.body.complete {
            self.report(no_body(repeat.body.span, step));
            return None;
        }
        let body = self.steps(&repeat.body, outline, nest);
        let label = repeat.label.as_ref().map(|label| label.text.clone());
        Some(ir::Repeat { label, count: count?, body })
    }

    fn update(
        &mut self,
        update: &'a Update,
        outline: &Outline<'a>,
        nest: &mut Nest<'a>,
    ) -> Option<ir::Update> {
        let state = self.state(&update.state.text, update.state.span, outline);
        if let Some(state) = state {
            nest.updated.entry(state).or_insert(update.state.span);
        }
        let ExprKind::Call(Call { callee, arguments }) = &update.value.ungrouped().kind else {
            self.report(no_network_call(update, outline));
            return None;
        };
        let network = self.network_id(callee, outline);
        let mut operands = Some(Vec::new());
        match arguments.entries.as_slice() {
            [entry] if entry.key.is_none() => match self.unitless(&entry.value) {
                Some(sum) => self.operands(sum, outline, nest, &mut operands),
                None => operands = None,
            },
            _ => {
                if arguments.complete {
                    self.report(no_sum(callee, arguments));
                }
                operands = None;
            }
        }
        Some(ir::Update { state: state?, network: network?, operands: operands? })
    }

    /// Appends the operands of a sum from left to right.
    fn operands(
        &mut self,
        expr: &'a Expr,
        outline: &Outline<'a>,
        nest: &mut Nest<'a>,
        operands: &mut Option<Vec<ir::Operand>>,
    ) {
        let operand = match &expr.ungrouped().kind {
            ExprKind::Binary(Binary { operator: Operator::Add, left, right }) => {
                self.operands(left, outline, nest, operands);
                self.operands(right, outline, nest, operands);
                return;
            }
            ExprKind::Name(name) if name == INPUT => Some(ir::Operand::Input),
            ExprKind::Name(name) => {
                let state = self.state(name, expr.span, outline);
                if let Some(state) = state {
                    nest.read.entry(state).or_insert(expr.span);
                }
                state.map(ir::Operand::State)
            }
            _ => {
                self.report(no_operand(expr));
                None
            }
        };
        match (operand, operands.as_mut()) {
            (Some(operand), Some(list)) => list.push(operand),
            _ => *operands = None,
        }
    }

    /// Returns the state with this name, or reports that there is none.
    pub(super) fn state(&mut self, name: &str, span: Span, outline: &Outline<'a>) -> Option<StateId> {
        self.seen.insert(span);
        let index = outline.states.iter().position(|state| state.name.text == name);
        if index.is_none() && self.complete {
            let named = self.names.get(name).copied();
            self.report(unknown_state(name, span, named, outline));
        }
        index.map(StateId)
    }

    /// Returns the network with this name, or reports that there is none.
    pub(super) fn network_id(&mut self, name: &Name, outline: &Outline<'a>) -> Option<NetworkId> {
        self.seen.insert(name.span);
        let index = outline.networks.iter().position(|network| network.name.text == name.text);
        if index.is_none() && self.complete {
            let named = self.names.get(name.text.as_str()).copied();
            self.report(unknown_network(name, named, outline));
        }
        index.map(NetworkId)
    }

    /// Reports states that are never updated or never read.
    pub(super) fn idle_states(
        &mut self,
        outline: &Outline<'a>,
        nest: &Nest<'a>,
        predicted: &[Option<StateId>],
    ) {
        if !nest.complete || !self.complete {
            return;
        }
        for (index, state) in outline.states.iter().enumerate() {
            let id = StateId(index);
            if !nest.updated.contains_key(&id) {
                self.report(never_updated(state, nest.read.get(&id).copied()));
            }
            if !nest.read.contains_key(&id) && !predicted.contains(&Some(id)) {
                self.report(never_read(state, nest.updated.get(&id).copied()));
            }
        }
    }

    /// Checks the gradient policy.
    pub(super) fn gradient(
        &mut self,
        outline: &Outline<'a>,
        nest: Option<&Nest<'a>>,
    ) -> Option<ir::Gradient> {
        let Some(gradient) = outline.gradient else { return Some(ir::Gradient::OneStep) };
        let (word, _) =
            self.chosen_word(&super::keys::GRADIENT, &gradient.policy.text, gradient.policy.span, None)?;
        if word == "last" {
            return self.last(gradient, nest);
        }
        if let [extra, .., last] | [extra @ last] = gradient.arguments.as_slice() {
            let rest = Span::new(gradient.policy.span.end, last.span.end);
            self.report(gradient_takes_nothing(word, extra.span, rest));
            return None;
        }
        Some(if word == "full" { ir::Gradient::Full } else { ir::Gradient::OneStep })
    }

    fn last(&mut self, gradient: &'a Gradient, nest: Option<&Nest<'a>>) -> Option<ir::Gradient> {
        let (count_expr, label) = match gradient.arguments.as_slice() {
            [label] => (None, label),
            [count, label] => (Some(count), label),
            _ => {
                let label = nest.and_then(Nest::only_label);
                let edit =
                    label.map(|label| (label, Edit::behind(gradient.policy.span, format!(" {label}"))));
                self.report(last_of_what(gradient.policy.span, edit));
                return None;
            }
        };
        let ExprKind::Name(name) = &label.kind else {
            let edit = nest.and_then(Nest::only_label).map(|only| (only, Edit::replace(label.span, only)));
            self.report(last_of_what(label.span, edit));
            return None;
        };
        let count = match count_expr {
            Some(expr) => self.integer_value(expr, "last", 1..=MAX_INTEGER).map(to_usize),
            None => Some(1),
        };
        let nest = nest?;
        let Some(loop_) = nest.labels.get(name.as_str()) else {
            if nest.complete && self.complete {
                self.report(unknown_loop(name, label.span, nest));
            }
            return None;
        };
        let count = count?;
        if let Some(available) = loop_.count.filter(|&available| count > available) {
            let span = count_expr.map_or(label.span, |expr| expr.span);
            self.report(more_than_the_loop_has(name, span, count, loop_.span, available));
            return None;
        }
        Some(ir::Gradient::Last { count, label: name.clone() })
    }
}

impl Nest<'_> {
    /// Returns the label of a loop, if there is one only.
    fn only_label(&self) -> Option<&str> {
        let mut labels = self.labels.keys();
        labels.next().filter(|_| labels.next().is_none()).copied()
    }

    /// Returns whether `steps` holds everything the text says.
    pub(super) fn is_whole(&self) -> bool {
        self.complete && !self.broken
    }
}

/// Returns the number of blocks that the unrolled steps run, or the largest number there is.
fn count_blocks(steps: &[ir::Step], layers: &dyn Fn(NetworkId) -> usize) -> usize {
    steps.iter().fold(0, |sum, step| {
        sum.saturating_add(match step {
            ir::Step::Update(update) => layers(update.network),
            ir::Step::Repeat(repeat) => count_blocks(&repeat.body, layers).saturating_mul(repeat.count),
        })
    })
}

/// Sets the names that states and networks are stored under.
///
/// The published codes have two states, of which the one that predicts the tokens is the high one, and one
/// network for both or one for each. Models of that shape get the published names. Other models keep the names of the
/// spec.
pub(crate) fn name_storage(model: &mut ir::Model) {
    let high = model.token_head.state;
    let states = model.states.len();
    for (index, state) in model.states.iter_mut().enumerate() {
        state.stored_as = match states {
            1 => "H_init".to_string(),
            2 if StateId(index) == high => "H_init".to_string(),
            2 => "L_init".to_string(),
            _ => format!("{}_init", state.name),
        };
    }
    let names = match (model.networks.len(), states) {
        (1, _) => Some(vec!["L_level"]),
        (2, 2) => match (serves(model, NetworkId(0)), serves(model, NetworkId(1))) {
            (Serves::High, Serves::Low) => Some(vec!["H_level", "L_level"]),
            (Serves::Low, Serves::High) => Some(vec!["L_level", "H_level"]),
            _ => None,
        },
        _ => None,
    };
    for (index, network) in model.networks.iter_mut().enumerate() {
        network.stored_as = match &names {
            Some(names) => names[index].to_string(),
            None => format!("{}_level", network.name),
        };
    }
}

/// Which states a network updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    /// The one that predicts the tokens.
    High,
    /// Another one.
    Low,
    /// Both, or none.
    Mixed,
}

fn serves(model: &ir::Model, network: NetworkId) -> Serves {
    let mut updates = model.updates().into_iter().filter(|update| update.network == network).peekable();
    if updates.peek().is_none() {
        return Serves::Mixed;
    }
    let (high, low): (Vec<_>, Vec<_>) = updates.partition(|update| update.state == model.token_head.state);
    match (high.is_empty(), low.is_empty()) {
        (false, true) => Serves::High,
        (true, false) => Serves::Low,
        _ => Serves::Mixed,
    }
}

fn no_iterations(span: Span) -> Diagnostic {
    Diagnostic::error(Code::EmptyLoop, span, "`repeat 0` does nothing")
        .label("expected at least 1")
        .help("remove the loop, or repeat at least once")
        .offer("repeat once", [Edit::replace(span, "1")])
}

fn no_body(span: Span, step: Span) -> Diagnostic {
    Diagnostic::error(Code::EmptyLoop, span, "this loop has nothing to repeat")
        .label("empty")
        .help("remove the loop, or give it an update")
        .offer("remove the loop", [Edit::Remove(step)])
}

/// Returns a number as specs spell large ones, in groups of three digits.
fn spelled(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn segment_too_long(span: Span, length: usize) -> Diagnostic {
    let message = format!("a segment runs at most {} blocks, found {}", spelled(MAX_BLOCKS), spelled(length));
    Diagnostic::error(Code::SegmentTooLong, span, message)
        .label("too long once its loops are unrolled")
        .note("every update runs all blocks of its network")
        .help("repeat less often")
}

fn duplicate_label(label: &Name, first: Span) -> Diagnostic {
    Diagnostic::error(Code::DuplicateName, label.span, format!("`{}` already labels a loop", label.text))
        .label("labels a second loop")
        .secondary(first, "labels this loop")
        .help("choose another label")
}

fn unknown_state(name: &str, span: Span, named: Option<Named>, outline: &Outline<'_>) -> Diagnostic {
    let diagnostic = match named {
        Some(named) => wrong_name(name, span, "a state", named),
        None if name == INPUT => {
            let message = "`x` is the embedded input, which is read but never updated";
            Diagnostic::error(Code::WrongName, span, message).label("expected a state")
        }
        None => Diagnostic::error(Code::UnknownName, span, format!("there is no state `{name}`"))
            .label("expected a state"),
    };
    suggest(diagnostic, span, name, outline.states.iter().map(|state| state.name.text.as_str()))
}

fn unknown_network(name: &Name, named: Option<Named>, outline: &Outline<'_>) -> Diagnostic {
    let diagnostic = match named {
        Some(named) => wrong_name(&name.text, name.span, "a network", named),
        None => {
            let message = format!("there is no network `{}`", name.text);
            Diagnostic::error(Code::UnknownName, name.span, message).label("expected a network")
        }
    };
    let networks = outline.networks.iter().map(|network| network.name.text.as_str());
    suggest(diagnostic, name.span, &name.text, networks)
}

fn no_network_call(update: &Update, outline: &Outline<'_>) -> Diagnostic {
    let state = &update.state.text;
    let value = format!("{}({state} + x)", outline.network());
    let message = format!("an update applies a network, found {}", update.value.describe());
    let diagnostic = Diagnostic::error(Code::WrongType, update.value.span, message)
        .label("expected a network applied to a sum")
        .help(format!("write `{state} <- {value}`"));
    match outline.networks[..] {
        [_] => diagnostic.write(update.value.span, &value),
        _ => diagnostic,
    }
}

fn no_sum(network: &Name, arguments: &Entries) -> Diagnostic {
    let found = arguments.entries.len();
    let message = match found {
        1 => format!("`{}` reads a sum of states and `x`, found a setting", network.text),
        _ => format!("`{}` reads one sum of states and `x`, found {found} arguments", network.text),
    };
    let diagnostic = Diagnostic::error(Code::WrongType, arguments.span, message)
        .label("expected one sum")
        .help("add the parts up with `+`");
    let is_part = |entry: &Entry| entry.key.is_none() && entry.value.unit.is_none();
    if found == 0 || !arguments.entries.iter().all(is_part) {
        return diagnostic;
    }
    let gaps = arguments.entries.windows(2).map(|pair| Span::new(pair[0].span.end, pair[1].span.start));
    diagnostic.offer("add the parts up", gaps.map(|gap| Edit::replace(gap, " + ")))
}

fn no_operand(expr: &Expr) -> Diagnostic {
    let message = format!("a network reads a sum of states and `x`, found {}", expr.describe());
    Diagnostic::error(Code::WrongType, expr.span, message)
        .label("expected a state or `x`")
        .help("add states and `x` up with `+`")
}

fn never_updated(state: &StateName<'_>, read: Option<Span>) -> Diagnostic {
    let name = state.name;
    let message = format!("the state `{}` is never updated", name.text);
    let diagnostic = Diagnostic::error(Code::StateNeverUpdated, name.span, message)
        .label("defined here")
        .help(format!("update it in the segment with `{} <- …`, or remove it", name.text));
    match read {
        Some(span) => diagnostic.secondary(span, "read here, always the same"),
        None => diagnostic.offer("remove it", [Edit::Remove(state.item)]),
    }
}

fn never_read(state: &StateName<'_>, updated: Option<Span>) -> Diagnostic {
    let name = state.name;
    let message = format!("the state `{}` is never read", name.text);
    let diagnostic = Diagnostic::error(Code::StateNeverRead, name.span, message)
        .label("defined here")
        .help("read it in an update or in a `predict`, or remove it");
    match updated {
        Some(span) => diagnostic.secondary(span, "updated here"),
        None => diagnostic.offer("remove it", [Edit::Remove(state.item)]),
    }
}

fn gradient_takes_nothing(policy: &str, span: Span, rest: Span) -> Diagnostic {
    Diagnostic::error(Code::WrongType, span, format!("nothing may follow `gradient {policy}`"))
        .label("not expected")
        .help("remove it, or write `gradient last LOOP`")
        .offer("remove it", [Edit::replace(rest, "")])
}

/// `edit` writes the label of the only loop that has one.
fn last_of_what(span: Span, edit: Option<(&str, Edit)>) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code::WrongType, span, "`gradient last` names a labelled loop")
        .label("expected the label of a loop")
        .help("write `gradient last LOOP` or `gradient last 2 LOOP`");
    match edit {
        Some((label, edit)) => diagnostic.offer(format!("write `gradient last {label}`"), [edit]),
        None => diagnostic,
    }
}

fn unknown_loop(name: &str, span: Span, nest: &Nest<'_>) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code::UnknownName, span, format!("no loop is labelled `{name}`"))
        .label("expected the label of a loop");
    match nest.labels.is_empty() {
        true if RESERVED.contains(&name) => diagnostic.help("label a loop, and name its label"),
        true => diagnostic.help(format!("label a loop with `{name}: repeat …`")),
        false => suggest(diagnostic, span, name, nest.labels.keys().copied()),
    }
}

fn more_than_the_loop_has(name: &str, span: Span, count: usize, label: Span, available: usize) -> Diagnostic {
    let message = format!("`{name}` has {available} iterations, the gradient asks for the last {count}");
    Diagnostic::error(Code::OutOfRange, span, message)
        .label(format!("expected at most {available}"))
        .secondary(label, format!("{available} iterations"))
        .help("ask for fewer, or write `gradient full`")
        .write(span, &available.to_string())
}

#[cfg(test)]
mod tests {
    use crate::check::tests::model;

    /// Returns the names that states and networks are stored under.
    fn stored(networks: &str, states: &str, segment: &str, token_state: &str) -> String {
        let text = format!(
            "model a {{\ntokens {{ vocab = 6, positions = 4 }}\nblock b {{ hidden = 8, heads = 2 }}\n{networks}\n\
             state {states}\nsegment {{ {segment} }}\ngradient full\npredict tokens from {token_state}\nhalt fixed(1)\n}}"
        );
        let model = model(&text);
        let states = model.states.iter().map(|state| format!("{}={}", state.name, state.stored_as));
        let networks = model.networks.iter().map(|network| format!("{}={}", network.name, network.stored_as));
        states.chain(networks).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn models_of_the_published_shapes_use_the_published_names() {
        let two = "network f = b\nnetwork g = b";
        let nest = "p <- f(p + q_ + x), q_ <- g(q_ + p)";
        assert_eq!(stored(two, "p, q_", nest, "q_"), "p=L_init q_=H_init f=L_level g=H_level");
        let nest = "q_ <- g(p + q_ + x), p <- f(q_ + p)";
        assert_eq!(stored(two, "p, q_", nest, "p"), "p=H_init q_=L_init f=H_level g=L_level");
        let nest = "p <- f(p + q_ + x), q_ <- f(q_ + p)";
        assert_eq!(stored("network f = b", "p, q_", nest, "q_"), "p=L_init q_=H_init f=L_level");
        assert_eq!(stored("network f = b", "p", "p <- f(p + x)", "p"), "p=H_init f=L_level");
    }

    #[test]
    fn other_models_are_stored_under_the_names_of_the_spec() {
        let two = "network f = b\nnetwork g = b";
        let mixed = "p <- f(p + q_ + x), p <- g(p), q_ <- g(q_ + p)";
        assert_eq!(stored(two, "p, q_", mixed, "q_"), "p=L_init q_=H_init f=f_level g=g_level");
        let three = "p <- f(p + q_ + x), q_ <- g(q_ + p), r <- g(r + q_)";
        assert_eq!(stored(two, "p, q_, r", three, "r"), "p=p_init q_=q__init r=r_init f=f_level g=g_level");
    }
}
