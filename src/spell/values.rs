//! A checked model as paths with values, in the manner of overrides, and its loop nest as lines of text.
//!
//! Both come from the tree of the model, so every default is there, and two specs that say the same thing in different
//! words have the same values. Names of blocks are no values, since the tree chooses them: what a block says stands
//! under each network that is made of it, or once under `model.block` where every network is made of one block.

use super::node;
use super::tree::tree;
use crate::ir::Model;
use crate::syntax::ast::{
    self, Expr, ExprKind, Gradient, Halt, Item, Predict, Repeat, StatementKind, StepKind, Steps,
};
use crate::syntax::{print_expr, print_steps, print_value};

/// What a model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Paths and values, in the order of the text.
    pub entries: Vec<Entry>,
    /// Lines of the loop nest, indented.
    pub segment: Vec<String>,
    /// The same lines without the counts of labelled loops, which are values.
    pub nest: Vec<String>,
}

/// One path and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path, e.g. `train.optimizer.lr`.
    pub path: String,
    /// The whole value on one line.
    pub value: String,
    /// What the value is made of.
    pub parts: Parts,
    /// What the path is the name of, where an override cannot make it.
    pub name_of: Option<NameOf>,
}

/// What a value is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Nothing that has a path.
    None,
    /// A word with settings.
    Settings {
        /// The word.
        word: String,
        /// The settings.
        entries: Vec<Entry>,
    },
    /// Entries behind a keyword or a name. The whole is no value of an override.
    Section(Vec<Entry>),
}

/// Things that have a name and that an override cannot make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOf {
    /// A network.
    Network,
    /// A state.
    State,
    /// A loop, by its label.
    Loop,
}

/// Whether what the blocks say stands once or under each network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// Once; every network is made of the same block.
    Once,
    /// Under each network.
    PerNetwork,
}

impl Values {
    /// Returns what `model` says.
    ///
    /// `blocks` can only be [`Blocks::Once`] where [`one_block`] holds.
    pub fn of(model: &Model, blocks: Blocks) -> Values {
        let mut values = Values { entries: Vec::new(), segment: Vec::new(), nest: Vec::new() };
        for item in &tree(model).items {
            match item {
                // A model has been put over its base.
                Item::Base(_) => {}
                Item::Model(model) => values.model(model, blocks),
                Item::Train(train) => values.entries.push(section("train", entries("train", &train.entries))),
            }
        }
        values
    }

    fn model(&mut self, model: &ast::Model, blocks: Blocks) {
        self.entries.push(plain("model", &model.name.text));
        let mut seen: Vec<&ast::Section> = Vec::new();
        for statement in &model.statements {
            match &statement.kind {
                StatementKind::Block(block) => {
                    if blocks == Blocks::Once && seen.is_empty() {
                        self.entries.push(section("model.block", entries("model.block", &block.entries)));
                    }
                    seen.push(block);
                }
                StatementKind::Network(network) => {
                    let per_network = (blocks == Blocks::PerNetwork).then_some(&seen[..]);
                    self.entries.push(network_entry(network, per_network));
                }
                StatementKind::State(state) => {
                    for name in &state.names {
                        let init = state.init.as_ref().expect("the tree of a model has every default");
                        let entry = value(format!("model.{}", name.text), init, print_expr(init));
                        self.entries.push(Entry { name_of: Some(NameOf::State), ..entry });
                    }
                }
                StatementKind::Segment(segment) => {
                    self.segment = print_steps(&segment.steps);
                    self.nest = print_steps(&without_counts(&segment.steps));
                    loops(&segment.steps, &mut self.entries);
                }
                StatementKind::Gradient(gradient) => {
                    self.entries.push(plain("model.gradient", &gradient_text(gradient)));
                }
                StatementKind::Predict(predict) => self.entries.push(predict_entry(predict)),
                StatementKind::Halt(halt) => self.entries.push(halt_entry(halt)),
                StatementKind::Section(given) => {
                    let path = format!("model.{}", given.name.text);
                    let inner = entries(&path, &given.entries);
                    self.entries.push(section(path, inner));
                }
                // Every `let` is computed, and nothing is left of a base.
                StatementKind::Let(_) | StatementKind::Without(_) | StatementKind::Entry(_) => {}
            }
        }
    }
}

/// Returns whether every network of `model` is made of the same block.
pub fn one_block(model: &Model) -> bool {
    model.networks.windows(2).all(|pair| pair[0].block == pair[1].block)
}

fn plain(path: impl Into<String>, value: &str) -> Entry {
    Entry { path: path.into(), value: value.to_string(), parts: Parts::None, name_of: None }
}

fn section(path: impl Into<String>, inner: Vec<Entry>) -> Entry {
    let value = format!("{{ {} }}", assignments(&inner));
    Entry { path: path.into(), value, parts: Parts::Section(inner), name_of: None }
}

/// Returns entries as they stand between delimiters.
fn assignments(entries: &[Entry]) -> String {
    let assignment = |entry: &Entry| {
        let key = entry.path.rsplit('.').next().expect("splitting yields a part");
        format!("{key} = {}", entry.value)
    };
    entries.iter().map(assignment).collect::<Vec<_>>().join(", ")
}

fn entries(prefix: &str, entries: &ast::Entries) -> Vec<Entry> {
    let entry = |entry: &ast::Entry| {
        let key = entry.key.as_ref().expect("the tree of a model names every setting");
        value(format!("{prefix}.{}", key.text), &entry.value.expr, print_value(&entry.value))
    };
    entries.entries.iter().map(entry).collect()
}

fn value(path: String, expr: &Expr, text: String) -> Entry {
    let parts = match &expr.kind {
        ExprKind::Call(call) => {
            let entries = entries(&path, &call.arguments);
            Parts::Settings { word: call.callee.text.clone(), entries }
        }
        _ => Parts::None,
    };
    Entry { path, value: text, parts, name_of: None }
}

/// Returns what a network says; `blocks` are those of the model where they stand under their networks.
fn network_entry(network: &ast::Definition, blocks: Option<&[&ast::Section]>) -> Entry {
    let path = format!("model.{}", network.name.text);
    let ExprKind::Binary(product) = &network.value.kind else {
        unreachable!("the tree of a model makes a network of a count and a block")
    };
    let layers = print_expr(&product.left);
    let mut line = format!("{layers} * block");
    let mut inner = vec![plain(format!("{path}.layers"), &layers)];
    let is_its = |block: &&&ast::Section| product.right.kind == ExprKind::Name(block.name.text.clone());
    if let Some(block) = blocks.and_then(|blocks| blocks.iter().find(is_its)) {
        let prefix = format!("{path}.block");
        let block = section(prefix.as_str(), entries(&prefix, &block.entries));
        line = format!("{line} {}", block.value);
        inner.push(block);
    }
    Entry { path, value: line, parts: Parts::Section(inner), name_of: Some(NameOf::Network) }
}

/// Adds the counts of labelled loops.
fn loops(steps: &Steps, found: &mut Vec<Entry>) {
    for step in &steps.steps {
        let StepKind::Repeat(Repeat { label, count, body }) = &step.kind else { continue };
        if let Some(label) = label {
            let entry = plain(format!("model.segment.{}", label.text), &print_expr(count));
            found.push(Entry { name_of: Some(NameOf::Loop), ..entry });
        }
        loops(body, found);
    }
}

/// Returns the loop nest without the counts of labelled loops.
fn without_counts(steps: &Steps) -> Steps {
    let mut steps = steps.clone();
    for step in &mut steps.steps {
        if let StepKind::Repeat(repeat) = &mut step.kind {
            if repeat.label.is_some() {
                repeat.count = node::word("N");
            }
            repeat.body = without_counts(&repeat.body);
        }
    }
    steps
}

fn gradient_text(gradient: &Gradient) -> String {
    let arguments = gradient.arguments.iter().map(print_expr);
    [gradient.policy.text.clone()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn predict_entry(predict: &Predict) -> Entry {
    let path = format!("model.{}", predict.what.text);
    let from = plain(format!("{path}.from"), &predict.state.text);
    if predict.what.text == "tokens" {
        return from;
    }
    let mut inner = vec![from];
    inner.extend(
        predict.position.as_ref().map(|position| plain(format!("{path}.position"), &print_expr(position))),
    );
    inner.extend(predict.entries.iter().flat_map(|given| entries(&path, given)));
    section(path, inner)
}

fn halt_entry(halt: &Halt) -> Entry {
    let entries = halt.entries.as_ref().map_or(Vec::new(), |given| entries("model.halt", given));
    let word = halt.policy.text.clone();
    let value = format!("{word}({})", assignments(&entries));
    let parts = Parts::Settings { word, entries };
    Entry { path: "model.halt".to_string(), value, parts, name_of: None }
}

#[cfg(test)]
mod tests {
    use super::{Blocks, Entry, Parts, Values, one_block};
    use crate::check::check;
    use crate::ir::Model;
    use crate::span::Source;
    use crate::syntax::parse;

    fn model() -> Model {
        let text = include_str!("../../specs/sudoku.hrm");
        check(&parse(&Source::new("sudoku.hrm", text)).file).model.expect("it is right")
    }

    /// Returns the value at a path.
    fn find(entries: &[Entry], path: &str) -> Option<String> {
        entries.iter().find_map(|entry| match &entry.parts {
            _ if entry.path == path => Some(entry.value.clone()),
            Parts::None => None,
            Parts::Settings { entries, .. } | Parts::Section(entries) => find(entries, path),
        })
    }

    #[test]
    fn paths_are_those_of_overrides_and_defaults_are_there() {
        let values = Values::of(&model(), Blocks::Once);
        for (path, expected) in [
            ("model", "sudoku"),
            ("model.tokens.positions", "81"),
            ("model.block.heads", "8"),
            ("model.block.positions", "rope(theta = 10_000)"),
            ("model.block.positions.theta", "10_000"),
            ("model.low.layers", "4"),
            ("model.z_low.truncate", "2.0"),
            ("model.segment.cycle", "2"),
            ("model.gradient", "one_step"),
            ("model.tokens.from", "z_high"),
            ("model.q", "{ from = z_high, position = 0, outputs = (halt, continue), bias = -5.0 }"),
            ("model.q.from", "z_high"),
            ("model.q.position", "0"),
            ("model.q.outputs", "(halt, continue)"),
            ("model.halt", "q_learning(max_segments = 16, explore = 0.1, target = bootstrap)"),
            ("model.halt.max_segments", "16"),
            ("train.optimizer.betas", "(0.9, 0.95)"),
            ("train.eval_every", "2_000 epochs"),
            ("train.seed", "0"),
        ] {
            assert_eq!(find(&values.entries, path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(values.segment[0], "cycle: repeat 2 {");
        assert_eq!(values.nest[0], "cycle: repeat N {");
        assert_eq!(values.segment.len(), 6, "{:?}", values.segment);
    }

    #[test]
    fn blocks_stand_under_their_networks_where_they_differ() {
        let mut model = model();
        assert!(one_block(&model));
        model.networks[1].block.inner = 512;
        assert!(!one_block(&model));
        let values = Values::of(&model, Blocks::PerNetwork);
        let width = |network: &str| find(&values.entries, &format!("model.{network}.block.mlp.width"));
        assert_eq!((width("low").as_deref(), width("high").as_deref()), (Some("1_536"), Some("512")));
    }
}
