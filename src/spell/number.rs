//! Numbers as a spec spells them.

use super::node;
use crate::syntax::ast::{Expr, ExprKind};

/// Returns an integer as a spec spells it, its thousands set off.
pub fn integer(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// Returns an integer.
pub(super) fn count(number: impl TryInto<u64>) -> Expr {
    node::number(integer(number))
}

/// Returns a real number by the shortest text that reads as it.
pub(super) fn real(number: f32) -> Expr {
    if number.is_sign_negative() {
        return node::expr(ExprKind::Negative(Box::new(real(-number))));
    }
    if number.fract() == 0.0 && (1_000.0..16_777_216.0).contains(&number) {
        return count(number as u64);
    }
    node::number(format!("{number:?}"))
}

/// Returns a number of epochs by the shortest text that reads as it.
pub(super) fn epochs(number: f64) -> Expr {
    if number.fract() == 0.0 && number < 1e15 {
        return count(number as u64);
    }
    node::number(format!("{number:?}"))
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn thousands_are_set_off() {
        assert_eq!(
            ["7", "999", "1_000", "12_345_678"],
            [7u64, 999, 1_000, 12_345_678].map(integer).each_ref().map(String::as_str)
        );
    }
}
