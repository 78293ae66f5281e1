//! A checked model as paths with values, in the manner of `--set`, and its loop nest as lines of text.
//!
//! Both come from the text that `hrmc show` prints, so every default is written out, and two specs that say
//! the same thing in different words have the same values. Names of blocks are no values, since `show` chooses
//! them: what a block says stands under each network that is made of it, or once under `model.block` where
//! every network is made of one block.

use crate::check;
use crate::ir::Model;
use crate::span::{Source, Span};
use crate::syntax::ast::{Entries, Expr, ExprKind, File, Item, Section, StatementKind};
use crate::syntax::parse;

/// What a model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Paths and values, in the order of the text.
    pub values: Vec<Entry>,
    /// Lines of the loop nest, indented.
    pub segment: Vec<String>,
}

/// One path and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path, e.g. `train.optimizer.lr`.
    pub path: String,
    /// The value as a spec spells it.
    pub value: String,
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
        let source = Source::new("shown", check::show(model));
        let file = parse(&source).file;
        let mut reader = Reader { source: &source, values: Vec::new(), segment: Vec::new(), blocks };
        reader.file(&file);
        Values { values: reader.values, segment: reader.segment }
    }
}

/// Returns whether every network of `model` is made of the same block.
pub fn one_block(model: &Model) -> bool {
    model.networks.windows(2).all(|pair| pair[0].block == pair[1].block)
}

struct Reader<'a> {
    source: &'a Source,
    values: Vec<Entry>,
    segment: Vec<String>,
    blocks: Blocks,
}

impl Reader<'_> {
    fn add(&mut self, path: impl Into<String>, value: impl Into<String>) {
        self.values.push(Entry { path: path.into(), value: value.into() });
    }

    fn text(&self, span: Span) -> String {
        // A value that takes several lines is one value all the same.
        self.source.slice(span).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn file(&mut self, file: &File) {
        for item in &file.items {
            match item {
                // `show` writes what a base says in its place.
                Item::Base(_) => {}
                Item::Model(model) => {
                    self.add("model", &model.name.text);
                    let sections = model.statements.iter().filter_map(|statement| match &statement.kind {
                        StatementKind::Block(section) => Some(section),
                        _ => None,
                    });
                    let blocks: Vec<&Section> = sections.collect();
                    if self.blocks == Blocks::Once
                        && let [block] = blocks[..]
                    {
                        self.entries("model.block", &block.entries);
                    }
                    for statement in &model.statements {
                        self.statement(&statement.kind, statement.span, &blocks);
                    }
                }
                Item::Train(train) => self.entries("train", &train.entries),
                // `show` prints a spec over its base.
            }
        }
    }

    fn statement(&mut self, statement: &StatementKind, span: Span, blocks: &[&Section]) {
        match statement {
            // `show` computes every `let`, and blocks stand where they are used.
            StatementKind::Let(_) | StatementKind::Block(_) | StatementKind::Without(_) => {}
            StatementKind::Network(network) => {
                let path = format!("model.{}", network.name.text);
                let ExprKind::Binary(product) = &network.value.kind else {
                    return self.add(path, self.text(network.value.span));
                };
                self.add(format!("{path}.layers"), self.text(product.left.span));
                if self.blocks == Blocks::PerNetwork
                    && let ExprKind::Name(name) = &product.right.kind
                    && let Some(block) = blocks.iter().find(|block| block.name.text == *name)
                {
                    self.entries(&format!("{path}.block"), &block.entries);
                }
            }
            StatementKind::State(state) => {
                for name in &state.names {
                    let path = format!("model.{}", name.text);
                    match &state.init {
                        Some(init) => self.value(path, init, init.span),
                        None => self.add(path, "normal"),
                    }
                }
            }
            StatementKind::Segment(segment) => {
                let text = self.source.slice(segment.steps.span);
                let inner = &text[1..text.len() - 1];
                self.segment = unindented(inner);
            }
            StatementKind::Gradient(gradient) => {
                let value = self.text(Span::new(gradient.policy.span.start, span.end));
                self.add("model.gradient", value);
            }
            StatementKind::Predict(predict) => {
                let what = &predict.what.text;
                let end = predict.entries.as_ref().map_or(span.end, |entries| entries.span.start);
                let value = self.text(Span::new(predict.state.span.start, end));
                self.add(format!("predict.{what}"), value);
                if let Some(entries) = &predict.entries {
                    self.entries(&format!("model.{what}"), entries);
                }
            }
            StatementKind::Halt(halt) => {
                self.add("model.halt", &halt.policy.text);
                if let Some(entries) = &halt.entries {
                    self.entries("model.halt", entries);
                }
            }
            StatementKind::Section(section) => {
                self.entries(&format!("model.{}", section.name.text), &section.entries);
            }
            StatementKind::Entry(entry) => {
                if let Some(key) = &entry.key {
                    self.value(format!("model.{}", key.text), &entry.value.expr, entry.value.span);
                }
            }
        }
    }

    fn entries(&mut self, prefix: &str, entries: &Entries) {
        for entry in &entries.entries {
            match &entry.key {
                Some(key) => {
                    self.value(format!("{prefix}.{}", key.text), &entry.value.expr, entry.value.span)
                }
                None => self.value(prefix.to_string(), &entry.value.expr, entry.value.span),
            }
        }
    }

    fn value(&mut self, path: String, expr: &Expr, span: Span) {
        match &expr.kind {
            ExprKind::Call(call) => {
                self.add(path.as_str(), &call.callee.text);
                self.entries(&path, &call.arguments);
            }
            _ => self.add(path, self.text(span)),
        }
    }
}

/// Returns the lines that hold something, without the indentation that all of them share.
fn unindented(text: &str) -> Vec<String> {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.trim_start().is_empty()).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line[shared..].to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Blocks, Values, one_block};
    use crate::ir::Model;
    use crate::span::Source;
    use crate::spec::Spec;

    fn model(overrides: &[&str]) -> Model {
        let text = include_str!("../../specs/sudoku.hrm");
        Spec::read(Source::new("sudoku.hrm", text), overrides).map(|spec| spec.model).expect("it is right")
    }

    #[test]
    fn paths_are_those_of_overrides_and_defaults_are_there() {
        let values = Values::of(&model(&[]), Blocks::Once);
        let value = |path: &str| {
            let found = values.values.iter().find(|entry| entry.path == path);
            found.map_or("-", |entry| entry.value.as_str()).to_string()
        };
        for (path, expected) in [
            ("model", "sudoku"),
            ("model.tokens.positions", "81"),
            ("model.block.heads", "8"),
            ("model.block.positions", "rope"),
            ("model.block.positions.theta", "10_000"),
            ("model.low.layers", "4"),
            ("model.z_low.truncate", "2.0"),
            ("model.gradient", "one_step"),
            ("predict.q", "z_high[0]"),
            ("model.q.outputs", "(halt, continue)"),
            ("model.halt.max_segments", "16"),
            ("train.optimizer.betas", "(0.9, 0.95)"),
            ("train.eval_every", "2_000 epochs"),
            ("train.seed", "0"),
        ] {
            assert_eq!(value(path), expected, "{path}");
        }
        assert_eq!(values.segment[0], "cycle: repeat 2 {");
        assert_eq!(values.segment.len(), 6, "{:?}", values.segment);
    }

    #[test]
    fn blocks_stand_under_their_networks_where_they_differ() {
        let mut one = model(&[]);
        assert!(one_block(&one));
        one.networks[1].block.inner = 512;
        assert!(!one_block(&one));
        let values = Values::of(&one, Blocks::PerNetwork);
        let mlp = |path: &str| values.values.iter().find(|entry| entry.path == path).map(|it| &it.value);
        assert_ne!(mlp("model.low.block.mlp.width"), mlp("model.high.block.mlp.width"));
    }
}
