//! Nodes of a syntax tree that no text was read for.

use crate::span::Span;
use crate::syntax::ast::{
    Call, Definition, Delimiter, Entries, Entry, Expr, ExprKind, Name, Section, Statement, StatementKind,
    Step, StepKind, Steps, Value,
};

pub(super) fn name(text: impl Into<String>) -> Name {
    Name { text: text.into(), span: Span::EMPTY }
}

pub(super) fn expr(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::EMPTY }
}

pub(super) fn number(text: impl Into<String>) -> Expr {
    expr(ExprKind::Number(text.into()))
}

pub(super) fn word(text: impl Into<String>) -> Expr {
    expr(ExprKind::Name(text.into()))
}

/// Returns `callee(arguments)`.
pub(super) fn call(callee: impl Into<String>, arguments: Vec<Entry>) -> Expr {
    let arguments = entries(Delimiter::Paren, arguments);
    expr(ExprKind::Call(Call { callee: name(callee), arguments }))
}

pub(super) fn value(expr: Expr) -> Value {
    Value { expr, unit: None, span: Span::EMPTY }
}

/// Returns `key = expr`.
pub(super) fn entry(key: &str, expr: Expr) -> Entry {
    Entry { key: Some(name(key)), value: value(expr), span: Span::EMPTY }
}

pub(super) fn entries(delimiter: Delimiter, entries: Vec<Entry>) -> Entries {
    Entries { delimiter, entries, without: Vec::new(), span: Span::EMPTY, complete: true }
}

/// Returns entries between braces behind a name.
pub(super) fn section(title: impl Into<String>, inner: Vec<Entry>) -> Section {
    Section { name: name(title), entries: entries(Delimiter::Brace, inner) }
}

pub(super) fn definition(title: &str, value: Expr) -> Definition {
    Definition { name: name(title), value }
}

pub(super) fn statement(kind: StatementKind) -> Statement {
    Statement { kind, span: Span::EMPTY }
}

pub(super) fn step(kind: StepKind) -> Step {
    Step { kind, span: Span::EMPTY }
}

pub(super) fn steps(steps: Vec<Step>) -> Steps {
    Steps { steps, span: Span::EMPTY, complete: true }
}
