//! Values of constant expressions.
//!
//! Integers are exact as long as they stay integers: a division that leaves no rest is an integer again.

use std::fmt;

use super::Context;
use super::keys::RESERVED;
use super::names::wrong_name;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::syntax::ast::{Expr, ExprKind, Operator};
use crate::syntax::nearest;

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Constant {
    /// An integer that is exact.
    Integer(i128),
    /// Any other finite number.
    Real(f64),
}

impl fmt::Display for Constant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Integer(value) => write!(formatter, "{value}"),
            Constant::Real(value) => write!(formatter, "{value:?}"),
        }
    }
}

impl Constant {
    /// Returns the value as a real number.
    pub(super) fn real(self) -> f64 {
        match self {
            Constant::Integer(value) => value as f64,
            Constant::Real(value) => value,
        }
    }

    /// Returns the value as an integer, if it is one.
    pub(super) fn integer(self) -> Option<i128> {
        match self {
            Constant::Integer(value) => Some(value),
            Constant::Real(value) => (value.fract() == 0.0 && value.abs() < 1e30).then_some(value as i128),
        }
    }

    fn read(literal: &str) -> Option<Constant> {
        let digits = literal.replace('_', "");
        if digits.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(value) = digits.parse()
        {
            return Some(Constant::Integer(value));
        }
        digits.parse().ok().filter(|value: &f64| value.is_finite()).map(Constant::Real)
    }

    fn apply(operator: Operator, left: Constant, right: Constant) -> Option<Constant> {
        if let (Constant::Integer(left), Constant::Integer(right)) = (left, right) {
            let exact = match operator {
                Operator::Add => left.checked_add(right),
                Operator::Subtract => left.checked_sub(right),
                Operator::Multiply => left.checked_mul(right),
                Operator::Divide if right == 0 => return None,
                Operator::Divide if left % right == 0 => Some(left / right),
                Operator::Divide => None,
            };
            if let Some(value) = exact {
                return Some(Constant::Integer(value));
            }
        }
        let (left, right) = (left.real(), right.real());
        let value = match operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
        };
        value.is_finite().then_some(Constant::Real(value))
    }
}

impl<'a> Context<'a> {
    /// Returns the value of an expression, or reports why it has none.
    pub(super) fn constant(&mut self, expr: &'a Expr) -> Option<Constant> {
        match &expr.kind {
            ExprKind::Number(literal) => {
                let value = Constant::read(literal);
                if value.is_none() {
                    self.report(too_large(expr.span));
                }
                value
            }
            ExprKind::Name(name) => self.named_constant(name, expr.span),
            ExprKind::Group(inner) => self.constant(inner),
            ExprKind::Negative(inner) => {
                Constant::apply(Operator::Subtract, Constant::Integer(0), self.constant(inner)?)
            }
            ExprKind::Binary(binary) => {
                let left = self.constant(&binary.left);
                let right = self.constant(&binary.right);
                let (left, right) = (left?, right?);
                let value = Constant::apply(binary.operator, left, right);
                if value.is_none() {
                    let by_zero = binary.operator == Operator::Divide && right.real() == 0.0;
                    self.report(match by_zero {
                        true => division_by_zero(binary.right.span, expr.span),
                        false => too_large(expr.span),
                    });
                }
                value
            }
            ExprKind::Text(_) | ExprKind::Call(_) | ExprKind::Tuple(_) => {
                self.report(no_number(expr));
                None
            }
        }
    }

    /// Returns the value of a name, or reports why it has none.
    pub(super) fn named_constant(&mut self, name: &'a str, span: Span) -> Option<Constant> {
        self.seen.insert(span);
        if let Some(definition) = self.lets.get_mut(name) {
            definition.used = true;
            let value = definition.value;
            self.let_uses.push((span, name));
            return value;
        }
        if self.complete {
            if let Some(&later) = self.let_names.get(name) {
                self.report(used_too_early(name, span, later));
                return None;
            }
            if is_no_name(name) && !self.names.contains_key(name) {
                self.report(no_number_in_words(name, span));
                return None;
            }
            let meant = nearest(name, self.lets.keys().copied());
            self.report(match self.names.get(name).filter(|named| named.kind != "a number") {
                Some(named) => wrong_name(name, span, "a number", *named)
                    .help("write a number, or define one with `let` under another name"),
                None => unknown_constant(name, span, meant),
            });
        }
        None
    }
}

/// Words that other languages have for values, in lower case. A spec may define them, but nobody means that.
const VALUES_ELSEWHERE: &[&str] = &[
    "none",
    "null",
    "nil",
    "nan",
    "inf",
    "infinity",
    "yes",
    "no",
    "on",
    "off",
    "auto",
    "default",
    "undefined",
];

/// Returns whether a word can be the name of no number: it is reserved, or it is a value in other languages.
pub(super) fn is_no_name(word: &str) -> bool {
    let lower = word.to_lowercase();
    RESERVED.contains(&word) || ["true", "false"].contains(&&*lower) || VALUES_ELSEWHERE.contains(&&*lower)
}

fn no_number_in_words(word: &str, span: Span) -> Diagnostic {
    Diagnostic::error(Code::WrongType, span, format!("expected a number, found `{word}`"))
        .label("expected a number")
        .help("write a number, or the name of one that a `let` defines")
}

fn division_by_zero(divisor: Span, whole: Span) -> Diagnostic {
    Diagnostic::error(Code::DivisionByZero, divisor, "this expression divides by zero")
        .label("is 0")
        .secondary(whole, "has no value")
        .help("divide by another number")
}

fn too_large(span: Span) -> Diagnostic {
    Diagnostic::error(Code::NumberTooLarge, span, "this number is too large to reckon with")
        .label("too large")
        .help("write a smaller number")
}

fn no_number(expr: &Expr) -> Diagnostic {
    Diagnostic::error(Code::WrongType, expr.span, format!("expected a number, found {}", expr.describe()))
        .label("expected a number")
}

fn used_too_early(name: &str, span: Span, later: Span) -> Diagnostic {
    Diagnostic::error(Code::UnknownName, span, format!("`{name}` is used before its `let`"))
        .label("not defined yet")
        .secondary(later, "defined only here")
        .help("move the `let` up")
}

fn unknown_constant(name: &str, span: Span, meant: Option<&str>) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(Code::UnknownName, span, format!("no `let` before this defines `{name}`"))
            .label("expected a number or the name of one");
    match meant {
        Some(meant) => diagnostic.meant(span, meant),
        None => diagnostic.help(format!("define it in the model with `let {name} = …`")),
    }
}

#[cfg(test)]
mod tests {
    use super::Constant::{Integer, Real};
    use super::{Constant, Operator};

    #[test]
    fn literals_are_integers_as_long_as_they_can_be() {
        assert_eq!(Constant::read("10_000"), Some(Integer(10_000)));
        assert_eq!(Constant::read("1e4"), Some(Real(1e4)));
        assert_eq!(Constant::read("0.5"), Some(Real(0.5)));
        assert_eq!(Constant::read("1e999"), None);
        assert_eq!(Real(1e4).integer(), Some(10_000));
        assert_eq!(Real(0.5).integer(), None);
    }

    #[test]
    fn division_without_rest_stays_an_integer() {
        assert_eq!(Constant::apply(Operator::Divide, Integer(6), Integer(3)), Some(Integer(2)));
        assert_eq!(Constant::apply(Operator::Divide, Integer(1), Integer(4)), Some(Real(0.25)));
        assert_eq!(Constant::apply(Operator::Divide, Integer(1), Integer(0)), None);
        assert_eq!(Constant::apply(Operator::Divide, Real(1.0), Integer(0)), None);
    }

    #[test]
    fn integers_that_overflow_become_real() {
        let large = Integer(i128::MAX);
        assert_eq!(
            Constant::apply(Operator::Multiply, large, large),
            Some(Real(i128::MAX as f64 * i128::MAX as f64))
        );
    }
}
