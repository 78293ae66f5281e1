//! Reads `path=value` as it stands on a command line.

use super::{ast, parse};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Source, Span};

/// A value that replaces the one a spec gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The text as it was given; spans point into it.
    pub source: Source,
    /// The path, e.g. `train`, `optimizer`, `lr`; never empty.
    pub path: Vec<ast::Name>,
    /// The value.
    pub value: ast::Value,
}

/// An override that cannot be used, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The text the diagnostics point into.
    pub source: Source,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Override {
    /// Returns the place of the whole path.
    pub fn path_span(&self) -> Span {
        let first = self.path.first().expect("a path has at least one name");
        first.span.to(self.path[self.path.len() - 1].span)
    }
}

/// Reads `path=value`, for example `train.optimizer.lr=1e-3`.
///
/// # Errors
///
/// Returns what does not follow the grammar, with places in `text`.
pub fn parse_override(text: &str) -> Result<Override, Box<Rejected>> {
    let source = Source::new("--set", text);
    read(text)
        .map_err(|diagnostics| Box::new(Rejected { source: source.clone(), diagnostics }))
        .map(|(path, value)| Override { source, path, value })
}

fn read(text: &str) -> Result<(Vec<ast::Name>, ast::Value), Vec<Diagnostic>> {
    let Some(equals) = text.find('=') else {
        return Err(vec![
            Diagnostic::error(Code::Syntax, Span::new(0, text.len()), "expected `path=value`")
                .help("write it like `train.batch=64`"),
        ]);
    };
    let path = parse::parse_path(text, equals)?;
    Ok((path, parse::parse_value(text, equals + 1)?))
}

#[cfg(test)]
mod tests {
    use super::parse_override;

    #[test]
    fn path_and_value_keep_their_places() {
        let read = parse_override("train.optimizer.lr = 1e-3").expect("it is well formed");
        let path: Vec<&str> = read.path.iter().map(|name| name.text.as_str()).collect();
        assert_eq!(path, ["train", "optimizer", "lr"]);
        assert_eq!(read.source.slice(read.value.span), "1e-3");
        assert_eq!(read.source.slice(read.path_span()), "train.optimizer.lr");
    }

    #[test]
    fn broken_overrides_say_where() {
        for (text, message, at) in [
            ("train.batch", "expected `path=value`", 0),
            ("train.=3", "expected a name, found `=`", 6),
            ("train.batch=", "expected a value, found the end of the line", 12),
            ("train.batch=1 2", "expected a comma or a new line, found `2`", 14),
            ("train.batch=(1", "`(` is never closed", 12),
        ] {
            let rejected = parse_override(text).expect_err(text);
            assert_eq!(rejected.diagnostics[0].message, message, "{text}");
            assert_eq!(rejected.diagnostics[0].primary.span.start, at, "{text}");
        }
    }
}
