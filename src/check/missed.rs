//! Names that nothing has looked at, because something else is wrong with their statement.
//!
//! A reader of a statement gives up where it cannot go on: at a value of the wrong kind, an unknown word, a unit. The
//! names behind that place would be reported only after it is mended. Here every statement is searched once more for
//! names where no word of the language can stand, and those that stand for nothing are reported.

use super::Context;
use super::constant::is_no_name;
use super::keys::{self, Group, Key};
use super::outline::Outline;
use crate::span::Span;
use crate::syntax::ast::{
    Call, Definition, Entries, Expr, ExprKind, Model, Operator, Statement, StatementKind, StepKind, Steps,
    Train,
};
use crate::syntax::nearest;

/// What a name may stand for where it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A number, and nothing else.
    Number,
    /// A number, or a word that is no name; what is reckoned with is a number.
    Unclear,
    /// A word, even where it looks like a sum: a path without quotes, for example.
    Word,
}

impl<'a> Context<'a> {
    /// Reports the names of a file that stand for nothing and that no check has looked at.
    pub(super) fn missed_names(&mut self, model: &'a Model, train: Option<&'a Train>, outline: &Outline<'a>) {
        for statement in &model.statements {
            self.missed_in(statement, outline);
        }
        if let Some(train) = train {
            self.missed_in_entries(&train.entries, Some(&keys::TRAIN));
        }
    }

    fn missed_in(&mut self, statement: &'a Statement, outline: &Outline<'a>) {
        match &statement.kind {
            StatementKind::Let(definition) => self.missed_in_expr(&definition.value, Meaning::Number),
            StatementKind::Block(section) => self.missed_in_entries(&section.entries, Some(&keys::BLOCK)),
            StatementKind::Network(definition) => self.missed_in_network(definition, outline),
            StatementKind::State(state) => {
                if let Some(init) = &state.init {
                    self.missed_in_choice(init, Some(&keys::STATE));
                }
            }
            StatementKind::Segment(segment) => self.missed_in_steps(&segment.steps, outline),
            StatementKind::Gradient(gradient) => {
                // The last argument is a label, which is no name of the model.
                if let [counts @ .., _] = gradient.arguments.as_slice() {
                    counts.iter().for_each(|count| self.missed_in_expr(count, Meaning::Number));
                }
            }
            StatementKind::Predict(predict) => {
                self.missed_state(&predict.state.text, predict.state.span, outline);
                if let Some(position) = &predict.position {
                    self.missed_in_expr(position, Meaning::Number);
                }
                if let Some(entries) = &predict.entries {
                    self.missed_in_entries(entries, group(&keys::PREDICT, &predict.what.text));
                }
            }
            StatementKind::Halt(halt) => {
                if let Some(entries) = &halt.entries {
                    self.missed_in_entries(entries, group(&keys::HALT, &halt.policy.text));
                }
            }
            StatementKind::Section(section) => {
                let known = keys::SECTIONS.iter().find(|(word, _)| *word == section.name.text);
                self.missed_in_entries(&section.entries, known.map(|(_, group)| *group));
            }
            StatementKind::Entry(entry) => self.missed_in_expr(&entry.value.expr, Meaning::Unclear),
            StatementKind::Without(_) => {}
        }
    }

    /// Searches `count * block`.
    fn missed_in_network(&mut self, definition: &'a Definition, outline: &Outline<'a>) {
        match &definition.value.ungrouped().kind {
            ExprKind::Binary(binary) if binary.operator == Operator::Multiply => {
                self.missed_in_expr(&binary.left, Meaning::Number);
                let block = binary.right.ungrouped();
                match &block.kind {
                    ExprKind::Name(name) if self.is_missed(name, block.span) => {
                        self.block_named(name, block.span, outline);
                    }
                    ExprKind::Name(_) => {}
                    _ => self.missed_in_expr(block, Meaning::Unclear),
                }
            }
            _ => self.missed_in_expr(&definition.value, Meaning::Unclear),
        }
    }

    fn missed_in_steps(&mut self, steps: &'a Steps, outline: &Outline<'a>) {
        for step in &steps.steps {
            match &step.kind {
                StepKind::Update(update) => {
                    self.missed_state(&update.state.text, update.state.span, outline);
                    self.missed_in_sum(&update.value, outline);
                }
                StepKind::Repeat(repeat) => {
                    self.missed_in_expr(&repeat.count, Meaning::Number);
                    self.missed_in_steps(&repeat.body, outline);
                }
            }
        }
    }

    /// Searches the value of an update: networks that are applied to states.
    fn missed_in_sum(&mut self, expr: &'a Expr, outline: &Outline<'a>) {
        match &expr.kind {
            ExprKind::Name(name) => self.missed_state(name, expr.span, outline),
            ExprKind::Call(Call { callee, arguments }) => {
                if self.is_missed(&callee.text, callee.span) {
                    self.network_id(callee, outline);
                }
                arguments.entries.iter().for_each(|entry| self.missed_in_sum(&entry.value.expr, outline));
            }
            // A factor is a number that somebody hopes to put before a state.
            ExprKind::Binary(binary) if binary.operator != Operator::Multiply => {
                self.missed_in_sum(&binary.left, outline);
                self.missed_in_sum(&binary.right, outline);
            }
            ExprKind::Binary(binary) => {
                for side in [&binary.left, &binary.right] {
                    match &side.ungrouped().kind {
                        ExprKind::Name(name) => self.missed_number(name, side.ungrouped(), true),
                        _ => self.missed_in_sum(side, outline),
                    }
                }
            }
            ExprKind::Group(inner) | ExprKind::Negative(inner) => self.missed_in_sum(inner, outline),
            ExprKind::Tuple(parts) => parts.iter().for_each(|part| self.missed_in_sum(part, outline)),
            ExprKind::Number(_) | ExprKind::Text(_) => {}
        }
    }

    fn missed_in_entries(&mut self, entries: &'a Entries, group: Option<&'static Group>) {
        for (index, entry) in entries.entries.iter().enumerate() {
            let name = match &entry.key {
                Some(key) => Some(key.text.as_str()),
                None => group.and_then(|group| group.positional).filter(|_| index == 0),
            };
            let key = group.zip(name).and_then(|(group, name)| {
                group.key(name).or_else(|| {
                    let meant = nearest(name, group.keys.iter().map(|key| key.name))?;
                    group.key(meant)
                })
            });
            match key {
                Some(key) if key.choices.is_empty() => {
                    self.missed_in_expr(&entry.value.expr, Meaning::Number);
                }
                key => self.missed_in_choice(&entry.value.expr, key),
            }
        }
    }

    /// Searches a word and the settings behind it. `key` is what it is given to, if that is known.
    fn missed_in_choice(&mut self, expr: &'a Expr, key: Option<&'static Key>) {
        match &expr.ungrouped().kind {
            ExprKind::Call(Call { callee, arguments }) => {
                self.missed_in_entries(arguments, key.and_then(|key| group(key, &callee.text)));
            }
            _ => self.missed_in_expr(expr, if key.is_some() { Meaning::Word } else { Meaning::Unclear }),
        }
    }

    /// Searches an expression.
    fn missed_in_expr(&mut self, expr: &'a Expr, meaning: Meaning) {
        let inner = if meaning == Meaning::Word { Meaning::Word } else { Meaning::Number };
        match &expr.kind {
            ExprKind::Name(name) => self.missed_number(name, expr, meaning == Meaning::Number),
            ExprKind::Negative(negated) => self.missed_in_expr(negated, inner),
            ExprKind::Group(grouped) => self.missed_in_expr(grouped, meaning),
            ExprKind::Binary(binary) => {
                self.missed_in_expr(&binary.left, inner);
                self.missed_in_expr(&binary.right, inner);
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|part| self.missed_in_expr(part, meaning)),
            ExprKind::Call(call) => self.missed_in_entries(&call.arguments, None),
            ExprKind::Number(_) | ExprKind::Text(_) => {}
        }
    }

    /// Returns whether no check has looked at a name, and it stands for nothing at all.
    fn is_missed(&self, name: &str, span: Span) -> bool {
        !self.seen.contains(&span) && !self.names.contains_key(name) && !is_no_name(name)
    }

    /// Looks up a number, which is used then. Reports that there is none only where the name `must` be one.
    fn missed_number(&mut self, name: &'a str, expr: &'a Expr, must: bool) {
        if self.lets.contains_key(name) || must && self.is_missed(name, expr.span) {
            self.named_constant(name, expr.span);
        }
    }

    fn missed_state(&mut self, name: &str, span: Span, outline: &Outline<'a>) {
        if self.is_missed(name, span) {
            self.state(name, span, outline);
        }
    }
}

/// Returns what may be set behind a word: behind the nearest one, where there is none of that name.
fn group(key: &'static Key, word: &str) -> Option<&'static Group> {
    let meant = || nearest(word, key.choices.iter().map(|choice| choice.name));
    key.choice(word).or_else(|| key.choice(meant()?)).map(|choice| choice.group)
}

#[cfg(test)]
mod tests {
    use crate::check::tests::checked;

    /// A model without a problem, on whose lines the tests write something else.
    const MODEL: &str = "model a {
  let N = 2
  tokens { vocab = 6, positions = 4 }
  block b { hidden = 8, heads = 2 }
  network net = N * b
  state z = normal(std = 1)
  segment { loop: repeat 2 { z <- net(z + x) } }
  gradient last 1 loop
  predict tokens from z
  halt fixed(1)
}
train {
  data = \"d\"
  optimizer = adamw(lr = 1e-3)
  batch = 8
  steps = 10
}
";

    /// Returns the errors after one text was replaced by another.
    fn said(from: &str, to: &str) -> Vec<String> {
        assert!(MODEL.contains(from), "{from}");
        let found = checked(&MODEL.replacen(from, to, 1)).diagnostics;
        found.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn the_model_is_right() {
        assert_eq!(said("N * b", "N * b"), [""; 0]);
    }

    #[test]
    fn two_unknown_names_in_a_statement_are_both_reported() {
        assert_eq!(said("N * b", "M * c"), ["no `let` before this defines `M`", "there is no block `c`"]);
        assert_eq!(
            said("z <- net(z + x)", "z <- net(z + x), y <- nett(zz + x + w)"),
            [
                "there is no state `y`",
                "there is no network `nett`",
                "there is no state `zz`",
                "there is no state `w`"
            ]
        );
        assert_eq!(
            said("repeat 2 { z <- net(z + x) }", "repeat M { z <- net(z + x + w) }"),
            ["no `let` before this defines `M`", "there is no state `w`"]
        );
    }

    #[test]
    fn a_slip_in_a_statement_does_not_hide_its_unknown_names() {
        let unknown = "no `let` before this defines `foo`".to_string();
        for (from, to) in [
            ("heads = 2", "heads = 2, heads = foo"),
            ("heads = 2", "heads = 2 steps, hiden = 3 * foo"),
            ("heads = 2", "heads = (foo, 2)"),
            ("heads = 2", "heads = foo steps"),
            ("heads = 2", "heads = 2, mlp = swigl(width = foo)"),
            ("heads = 2", "heads = 2, colour = foo + 1"),
            ("heads = 2", "heads = half(-foo)"),
            ("normal(std = 1)", "nrmal(std = foo)"),
            ("N * b", "foo * \"b\""),
            ("last 1 loop", "last foo \"loop\""),
            ("lr = 1e-3", "lr = 1e-3, betas = (0.9, 0.95, foo)"),
            ("lr = 1e-3", "lr = \"fast\", weight_decay = foo"),
            ("steps = 10", "steps = 10, eval_every = foo"),
            ("steps = 10", "steps = 10, epochs = foo"),
            ("fixed(1)", "fixed(segments = 1, segments = foo)"),
            ("z <- net(z + x)", "z <- net(z + foo * x)"),
        ] {
            let messages = said(from, to);
            assert!(messages.len() >= 2 && messages.contains(&unknown), "{to}: {messages:?}");
        }
        for value in ["z + foo", "net(z, foo)", "net(a = foo)", "net(z - foo)"] {
            let messages = said("net(z + x)", value);
            assert!(messages.contains(&"there is no state `foo`".to_string()), "{value}: {messages:?}");
        }
    }

    #[test]
    fn what_may_be_a_word_of_the_language_is_not_reported() {
        assert_eq!(said("heads = 2", "heads = 2, colour = blue").len(), 1);
        assert_eq!(said("data = \"d\"", "data = data/mine").len(), 1);
        assert_eq!(said("N * b", "b + N").len(), 1, "each stands for something");
        assert_eq!(said("heads = 2", "heads = 2, colour = blue(shade = dark)").len(), 1);
        assert_eq!(said("adamw(lr = 1e-3)", "sgd(lr = 1e-3, nesterov = true)").len(), 1);
    }

    #[test]
    fn a_let_behind_a_slip_is_not_unused() {
        let messages = said("network net = N * b", "network net = 2 * b");
        assert_eq!(messages, ["`N` is never used"]);
        let messages = said("network net = N * b", "network net = 2 * b\n  infer { segmnts = N }");
        assert_eq!(messages, ["`infer` has no key `segmnts`"]);
    }
}
