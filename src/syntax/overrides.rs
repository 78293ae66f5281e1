//! Reads overrides: `path=value`.

use super::ast;
use super::parse::{Fragment, parse_path, parse_policy, parse_value};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;

/// A value that replaces the one a spec gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The path, e.g. `train`, `optimizer`, `lr`; never empty.
    pub path: Vec<ast::Name>,
    /// What stands behind `=`.
    pub value: Given,
    /// Place of the whole override.
    pub span: Span,
}

/// What an override gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A value.
    Value(ast::Value),
    /// What follows the word `gradient`, such as `last 2 cycle`.
    Gradient(ast::Gradient),
}

impl Override {
    /// Returns the place of the whole path.
    pub fn path_span(&self) -> Span {
        let first = self.path.first().expect("a path has at least one name");
        first.span.to(self.path[self.path.len() - 1].span)
    }

    /// Returns the names of the path.
    pub fn names(&self) -> Vec<&str> {
        self.path.iter().map(|name| name.text.as_str()).collect()
    }
}

/// Reads `path=value`, for example `train.optimizer.lr=1e-3`. Its text begins at byte `place` of a source, and places
/// count from there.
///
/// # Errors
///
/// Returns what does not follow the grammar.
pub fn parse_override(text: &str, place: usize) -> Result<Override, Vec<Diagnostic>> {
    let span = Span::new(0, text.len()).shifted(place);
    let Some(equals) = text.find('=') else {
        let diagnostic = Diagnostic::error(Code::Syntax, span, "expected `path=value`");
        return Err(vec![diagnostic.help("write it like `train.batch=64`")]);
    };
    let path = parse_path(text, equals, place)?;
    let fragment = Fragment { text, place, begin: equals + 1 };
    let value = match path.iter().map(|name| name.text.as_str()).collect::<Vec<_>>()[..] {
        ["model", "gradient"] => Given::Gradient(parse_policy(fragment)?),
        _ => Given::Value(parse_value(fragment)?),
    };
    Ok(Override { path, value, span })
}

#[cfg(test)]
mod tests {
    use super::{Given, parse_override};
    use crate::span::Span;

    #[test]
    fn path_and_value_keep_their_places() {
        let text = "train.optimizer.lr = 1e-3";
        let read = parse_override(text, 7).expect("it is well formed");
        assert_eq!(read.names(), ["train", "optimizer", "lr"]);
        let slice = |span: Span| &text[span.start - 7..span.end - 7];
        let Given::Value(value) = &read.value else { panic!("it is a value") };
        assert_eq!((slice(value.span), slice(value.expr.span)), ("1e-3", "1e-3"));
        assert_eq!((slice(read.path_span()), slice(read.span)), ("train.optimizer.lr", text));
    }

    #[test]
    fn what_follows_gradient_is_a_policy() {
        let read = parse_override("model.gradient=last 2 cycle", 0).expect("it is well formed");
        let Given::Gradient(gradient) = &read.value else { panic!("it is a policy") };
        assert_eq!((gradient.policy.text.as_str(), gradient.arguments.len()), ("last", 2));
    }

    #[test]
    fn broken_overrides_say_where() {
        for (text, message, at) in [
            ("train.batch", "expected `path=value`", 0),
            ("train.=3", "expected a name, found `=`", 6),
            ("train.batch=", "expected a value, found the end of the line", 12),
            ("train.batch=1 2", "expected a comma or a new line, found `2`", 14),
            ("train.batch=(1", "`(` is never closed", 12),
            ("model.gradient=last 1 2 3", "expected a comma or a new line, found `3`", 24),
        ] {
            for place in [0, 100] {
                let found = parse_override(text, place).expect_err(text);
                assert_eq!(found[0].message, message, "{text}");
                assert_eq!(found[0].primary.span.start, place + at, "{text}");
            }
        }
    }
}
