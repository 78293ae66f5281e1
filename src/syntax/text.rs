//! The stable text form of a syntax tree: one node a line, children indented, each with its bytes.

use std::fmt::Write;

use super::ast::{
    Delimiter, Entries, Entry, Expr, ExprKind, File, Item, Name, Statement, StatementKind, Step, StepKind,
    Steps,
};
use crate::span::Span;

/// Returns the text form of `file`.
pub fn to_text(file: &File) -> String {
    let mut tree = TreeText { text: String::new(), depth: 0 };
    tree.node("file", file.span, |tree| {
        for item in &file.items {
            match item {
                Item::Base(base) => tree.leaf(&format!("base {:?}", base.path), base.span),
                Item::Model(model) => tree.node(&format!("model {}", model.name.text), model.span, |tree| {
                    model.statements.iter().for_each(|statement| tree.statement(statement));
                    tree.complete(model.complete);
                }),
                Item::Train(train) => tree.node("train", train.span, |tree| tree.entries(&train.entries)),
            }
        }
        tree.complete(file.complete);
    });
    tree.text
}

struct TreeText {
    text: String,
    depth: usize,
}

impl TreeText {
    fn node(&mut self, head: &str, span: Span, children: impl FnOnce(&mut TreeText)) {
        let indent = "  ".repeat(self.depth);
        writeln!(self.text, "{indent}{head} @{}..{}", span.start, span.end).expect("memory takes every byte");
        self.depth += 1;
        children(self);
        self.depth -= 1;
    }

    fn leaf(&mut self, head: &str, span: Span) {
        self.node(head, span, |_| ());
    }

    fn complete(&mut self, complete: bool) {
        if !complete {
            self.text.push_str(&"  ".repeat(self.depth));
            self.text.push_str("incomplete\n");
        }
    }

    fn name(&mut self, role: &str, name: &Name) {
        self.leaf(&format!("{role} {}", name.text), name.span);
    }

    fn statement(&mut self, statement: &Statement) {
        let span = statement.span;
        match &statement.kind {
            StatementKind::Let(definition) => {
                self.node(&format!("let {}", definition.name.text), span, |tree| {
                    tree.expr(&definition.value)
                });
            }
            StatementKind::Network(definition) => {
                self.node(&format!("network {}", definition.name.text), span, |tree| {
                    tree.expr(&definition.value)
                });
            }
            StatementKind::Block(section) => {
                self.node(&format!("block {}", section.name.text), span, |tree| {
                    tree.entries(&section.entries)
                });
            }
            StatementKind::Section(section) => {
                self.node(&format!("section {}", section.name.text), span, |tree| {
                    tree.entries(&section.entries)
                });
            }
            StatementKind::State(state) => self.node("state", span, |tree| {
                state.names.iter().for_each(|name| tree.name("name", name));
                state.init.iter().for_each(|init| tree.expr(init));
            }),
            StatementKind::Segment(segment) => self.node("segment", span, |tree| tree.steps(&segment.steps)),
            StatementKind::Gradient(gradient) => {
                self.node(&format!("gradient {}", gradient.policy.text), span, |tree| {
                    gradient.arguments.iter().for_each(|argument| tree.expr(argument));
                });
            }
            StatementKind::Predict(predict) => {
                self.node(&format!("predict {}", predict.what.text), span, |tree| {
                    tree.name("from", &predict.state);
                    if let Some(position) = &predict.position {
                        tree.node("position", position.span, |tree| tree.expr(position));
                    }
                    predict.entries.iter().for_each(|entries| tree.entries(entries));
                });
            }
            StatementKind::Halt(halt) => self.node(&format!("halt {}", halt.policy.text), span, |tree| {
                halt.entries.iter().for_each(|entries| tree.entries(entries));
            }),
            StatementKind::Without(names) => self.node("without", span, |tree| {
                names.iter().for_each(|name| tree.name("name", name));
            }),
            StatementKind::Entry(entry) => self.entry(entry),
        }
    }

    fn steps(&mut self, steps: &Steps) {
        steps.steps.iter().for_each(|step| self.step(step));
        self.complete(steps.complete);
    }

    fn step(&mut self, step: &Step) {
        match &step.kind {
            StepKind::Update(update) => {
                self.node(&format!("update {}", update.state.text), step.span, |tree| {
                    tree.expr(&update.value)
                });
            }
            StepKind::Repeat(repeat) => self.node("repeat", step.span, |tree| {
                repeat.label.iter().for_each(|label| tree.name("label", label));
                tree.node("count", repeat.count.span, |tree| tree.expr(&repeat.count));
                tree.steps(&repeat.body);
            }),
        }
    }

    fn entries(&mut self, entries: &Entries) {
        let head = match entries.delimiter {
            Delimiter::Brace => "entries",
            Delimiter::Paren => "arguments",
        };
        self.node(head, entries.span, |tree| {
            entries.entries.iter().for_each(|entry| tree.entry(entry));
            for without in &entries.without {
                tree.node("without", without.span, |tree| {
                    without.names.iter().for_each(|name| tree.name("name", name));
                });
            }
            tree.complete(entries.complete);
        });
    }

    fn entry(&mut self, entry: &Entry) {
        let head = match &entry.key {
            Some(key) => format!("entry {}", key.text),
            None => "positional".to_string(),
        };
        self.node(&head, entry.span, |tree| {
            tree.expr(&entry.value.expr);
            entry.value.unit.iter().for_each(|unit| tree.name("unit", unit));
        });
    }

    fn expr(&mut self, expr: &Expr) {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Number(text) => self.leaf(&format!("number {text}"), span),
            ExprKind::Text(text) => self.leaf(&format!("string {text:?}"), span),
            ExprKind::Name(name) => self.leaf(&format!("name {name}"), span),
            ExprKind::Call(call) => {
                self.node(&format!("call {}", call.callee.text), span, |tree| tree.entries(&call.arguments));
            }
            ExprKind::Tuple(parts) => {
                self.node("tuple", span, |tree| parts.iter().for_each(|part| tree.expr(part)));
            }
            ExprKind::Group(inner) => self.node("group", span, |tree| tree.expr(inner)),
            ExprKind::Negative(inner) => self.node("negative", span, |tree| tree.expr(inner)),
            ExprKind::Binary(binary) => self.node(binary.operator.symbol(), span, |tree| {
                tree.expr(&binary.left);
                tree.expr(&binary.right);
            }),
        }
    }
}
