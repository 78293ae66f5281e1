//! Every place in a text where a name that it gives stands, by its syntax tree: what references and renaming go by.
//!
//! The tree knows what the words of a line alone do not, as whether a word behind `gradient last` is a number or a loop.

use crate::check::keys::{self, Group, Key};
use crate::span::Span;
use crate::syntax::ast::{
    Call, Entries, Expr, ExprKind, File, Gradient, Model, Name, Statement, StatementKind, Step, StepKind,
};

/// Names of which no two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameSpace {
    /// The name of the model.
    Models,
    /// Numbers, blocks, networks and states.
    Things,
    /// Labels of loops.
    Loops,
}

/// A place where a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrence<'a> {
    pub(super) space: NameSpace,
    pub(super) name: &'a str,
    pub(super) span: Span,
    /// Whether the name is given here.
    pub(super) gives: bool,
}

impl Occurrence<'_> {
    /// Returns whether both are the same name.
    pub(super) fn is_of(&self, other: &Occurrence<'_>) -> bool {
        (self.space, self.name) == (other.space, other.name)
    }
}

/// Returns the places where names stand, in the order of the text.
pub(super) fn occurrences(file: &File) -> Vec<Occurrence<'_>> {
    let mut walk = TreeWalk { found: Vec::new() };
    file.models().for_each(|model| walk.model(model));
    file.trains().for_each(|train| walk.entries(&train.entries, Some(&keys::TRAIN)));
    walk.found.sort_by_key(|occurrence| occurrence.span);
    walk.found
}

struct TreeWalk<'a> {
    found: Vec<Occurrence<'a>>,
}

impl<'a> TreeWalk<'a> {
    fn push(&mut self, space: NameSpace, name: &'a str, span: Span, gives: bool) {
        self.found.push(Occurrence { space, name, span, gives });
    }

    fn given(&mut self, name: &'a Name) {
        self.push(NameSpace::Things, &name.text, name.span, true);
    }

    /// Notes a name that stands for a thing, unless the language has given it.
    fn used(&mut self, name: &'a str, span: Span) {
        if !keys::RESERVED.contains(&name) {
            self.push(NameSpace::Things, name, span, false);
        }
    }

    fn model(&mut self, model: &'a Model) {
        self.push(NameSpace::Models, &model.name.text, model.name.span, true);
        model.statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'a Statement) {
        match &statement.kind {
            StatementKind::Let(definition) | StatementKind::Network(definition) => {
                self.given(&definition.name);
                self.expr(&definition.value);
            }
            StatementKind::Block(section) => {
                self.given(&section.name);
                self.entries(&section.entries, Some(&keys::BLOCK));
            }
            StatementKind::State(state) => {
                state.names.iter().for_each(|name| self.given(name));
                state.init.iter().for_each(|init| self.choice(init, &keys::STATE));
            }
            StatementKind::Segment(segment) => self.steps(&segment.steps.steps),
            StatementKind::Gradient(gradient) => self.gradient(gradient),
            StatementKind::Predict(predict) => {
                self.used(&predict.state.text, predict.state.span);
                predict.position.iter().for_each(|position| self.expr(position));
                let group = settings(&keys::PREDICT, &predict.what.text);
                predict.entries.iter().for_each(|entries| self.entries(entries, group));
            }
            StatementKind::Halt(halt) => {
                let group = settings(&keys::HALT, &halt.policy.text);
                halt.entries.iter().for_each(|entries| self.entries(entries, group));
            }
            StatementKind::Without(names) => names.iter().for_each(|name| self.used(&name.text, name.span)),
            StatementKind::Section(section) => {
                let known = keys::SECTIONS.iter().find(|(word, _)| *word == section.name.text);
                self.entries(&section.entries, known.map(|(_, group)| *group));
            }
            StatementKind::Entry(entry) => self.expr(&entry.value.expr),
        }
    }

    fn gradient(&mut self, gradient: &'a Gradient) {
        let (counts, label) = match gradient.arguments.split_last() {
            Some((last, counts)) if gradient.policy.text == "last" => (counts, Some(last)),
            _ => (&gradient.arguments[..], None),
        };
        counts.iter().for_each(|count| self.expr(count));
        if let Some(Expr { kind: ExprKind::Name(name), span }) = label {
            self.push(NameSpace::Loops, name, *span, false);
        }
    }

    fn steps(&mut self, steps: &'a [Step]) {
        for step in steps {
            match &step.kind {
                StepKind::Update(update) => {
                    self.used(&update.state.text, update.state.span);
                    self.expr(&update.value);
                }
                StepKind::Repeat(repeat) => {
                    if let Some(label) = &repeat.label {
                        self.push(NameSpace::Loops, &label.text, label.span, true);
                    }
                    self.expr(&repeat.count);
                    self.steps(&repeat.body.steps);
                }
            }
        }
    }

    fn entries(&mut self, entries: &'a Entries, group: Option<&'static Group>) {
        for (index, entry) in entries.entries.iter().enumerate() {
            let name = match &entry.key {
                Some(key) => Some(key.text.as_str()),
                None => group.and_then(|group| group.positional).filter(|_| index == 0),
            };
            match group.zip(name).and_then(|(group, name)| group.key(name)) {
                Some(key) if !key.choices.is_empty() => self.choice(&entry.value.expr, key),
                _ => self.expr(&entry.value.expr),
            }
        }
    }

    /// Goes through a value that is a word of the language, maybe with settings, or several of them.
    fn choice(&mut self, expr: &'a Expr, key: &'static Key) {
        match &expr.ungrouped().kind {
            ExprKind::Call(Call { callee, arguments }) => {
                self.entries(arguments, settings(key, &callee.text));
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|part| self.choice(part, key)),
            _ => {}
        }
    }

    /// Goes through a value whose names stand for things.
    fn expr(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Name(name) => self.used(name, expr.span),
            ExprKind::Call(Call { callee, arguments }) => {
                self.used(&callee.text, callee.span);
                arguments.entries.iter().for_each(|entry| self.expr(&entry.value.expr));
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(|part| self.expr(part)),
            ExprKind::Group(inner) | ExprKind::Negative(inner) => self.expr(inner),
            ExprKind::Binary(binary) => {
                self.expr(&binary.left);
                self.expr(&binary.right);
            }
            ExprKind::Number(_) | ExprKind::Text(_) => {}
        }
    }
}

/// Returns what may be set behind a word.
fn settings(key: &'static Key, word: &str) -> Option<&'static Group> {
    key.choice(word).map(|choice| choice.group)
}

/// Says why a text cannot be a new name.
pub(super) fn refuse_name(name: &str) -> Result<(), String> {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    let continues = |c: char| begins(c) || c.is_ascii_digit();
    if !name.starts_with(begins) || !name.chars().all(continues) {
        return Err(format!(
            "`{name}` is no name: a name is made of the letters a to z, digits and `_`, and begins with no digit"
        ));
    }
    if keys::RESERVED.contains(&name) {
        return Err(format!("`{name}` means something in every spec; choose another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NameSpace, occurrences, refuse_name};
    use crate::span::Source;
    use crate::syntax::parse;

    const TEXT: &str = "\
model m {
  let N = 2
  let rope = (N + 1) * 2
  block encoder { hidden = 8 * N, heads = rope, positions = rope(theta = N), mlp = swiglu }
  network mlp = N * encoder
  state a, b = normal(std = N)
  segment {
    N: repeat N { a <- mlp(a + b + x) }
    b <- mlp(a)
  }
  gradient last N N
  predict tokens from b
  predict q from a[N - 1] { outputs = (halt, continue), bias = -N }
  halt fixed(N)
}
train { batch = N, eval_every = N steps, optimizer = adamw(lr = 1, betas = (N, N)) }
";

    #[test]
    fn every_place_of_a_name_is_found_and_no_word_of_the_language() {
        let source = Source::new("a.hrm", TEXT);
        let parsed = parse(&source);
        assert_eq!(parsed.diagnostics, []);
        let found = occurrences(&parsed.file);
        let of = |space: NameSpace, name: &str| {
            let of = found.iter().filter(|one| one.space == space && one.name == name);
            let lines = of.map(|one| source.location(one.span.start).line);
            lines.map(|line| line.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert!(found.iter().all(|one| source.slice(one.span) == one.name));
        assert_eq!(of(NameSpace::Models, "m"), "1");
        assert_eq!(of(NameSpace::Things, "N"), "2 3 4 4 5 6 8 11 13 13 14 16 16 16 16");
        assert_eq!(of(NameSpace::Loops, "N"), "8 11");
        assert_eq!(of(NameSpace::Things, "rope"), "3 4");
        assert_eq!(of(NameSpace::Things, "encoder"), "4 5");
        assert_eq!(of(NameSpace::Things, "mlp"), "5 8 9");
        assert_eq!(of(NameSpace::Things, "a"), "6 8 8 9 13");
        assert_eq!(of(NameSpace::Things, "b"), "6 8 9 12");
        assert_eq!(found.iter().filter(|one| one.gives).count(), 8);
        assert_eq!(found.len(), 1 + 15 + 2 + 2 + 2 + 3 + 5 + 4);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(refuse_name("z_2"), Ok(()));
        for name in ["", "2z", "z-2", "é", "a b", "x", "model", "repeat"] {
            assert!(refuse_name(name).is_err(), "{name}");
        }
    }
}
