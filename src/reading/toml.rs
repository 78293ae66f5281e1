//! Values from TOML.

use serde::de::DeserializeOwned;

pub use super::words::Fault;
use super::words::{plain, shortened};

/// Reads a value.
///
/// # Errors
///
/// Returns the place where the text is not TOML, or where a value is missing or not the right one.
pub fn value<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let reader = ::toml::Deserializer::parse(text).map_err(|error| {
        let at = start(&error);
        fault(text, at, grammar(text, at, error.message()))
    })?;
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let reason = plain(error.path(), error.inner().message().trim_end(), "a table");
        fault(text, start(error.inner()), reason)
    })
}

fn start(error: &::toml::de::Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

fn fault(text: &str, at: usize, reason: String) -> Fault {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count().saturating_add(1);
    let column = before.chars().rev().take_while(|&character| character != '\n').count().saturating_add(1);
    Fault { line, column, reason }
}

/// Says what does not follow the grammar of TOML. The parser's own words are about that grammar, so the line is looked
/// at, for what people get wrong.
fn grammar(text: &str, at: usize, said: &str) -> String {
    let begin = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1));
    let line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let (key, value) =
        line.split_once('=').map_or((line.trim(), ""), |(key, value)| (key.trim(), value.trim()));
    if said.starts_with("duplicate key") {
        return format!("`{}` is there twice", shortened(key));
    }
    match value.chars().next() {
        Some('"') if value.contains('\\') => {
            "a backslash is written `\\\\`, or put the text between single quotes".to_string()
        }
        Some('"' | '\'') => "the text between quotes does not end where it should".to_string(),
        Some(first) if first.is_alphabetic() || "./~\\_“”‘’".contains(first) => {
            "put the value between double quotes".to_string()
        }
        Some(_) => format!("the value of `{}` cannot be read", shortened(key)),
        None => "this is not TOML; expected `KEY = VALUE`".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::value;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is tested")]
    struct Table {
        spec: Option<String>,
        threads: Option<usize>,
        device: Option<::toml::Spanned<String>>,
        inner: Option<BTreeMap<String, u8>>,
    }

    fn said(text: &str) -> String {
        value::<Table>(text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_text_that_is_not_toml_is_refused_by_what_to_write() {
        assert_eq!(said("\nspec = tiny.hrm"), "line 2, column 8: put the value between double quotes");
        assert_eq!(said("spec = ./tiny.hrm"), "line 1, column 8: put the value between double quotes");
        let windows = said("spec = \"C:\\users\\tiny.hrm\"");
        assert!(
            windows.ends_with(": a backslash is written `\\\\`, or put the text between single quotes"),
            "{windows}"
        );
        let open = said("spec = \"tiny.hrm\nthreads = 2");
        assert!(open.starts_with("line 1") && open.ends_with("does not end where it should"), "{open}");
        let twice = said("threads = 2\nthreads = 3");
        assert!(twice.starts_with("line 2") && twice.ends_with("`threads` is there twice"), "{twice}");
        assert!(said("threads").ends_with("expected `KEY = VALUE`"));
        assert!(said("threads = 2 3").starts_with("line 1"));
        assert!(said(&format!("inner = {}", "[".repeat(10_000))).starts_with("line 1"));
        assert!(said(&format!("{} = 1-", "key".repeat(10_000))).len() < 300);
    }

    #[test]
    fn values_are_refused_in_words_without_types_of_rust() {
        assert_eq!(said("threads = \"2\""), "line 1, column 11: `threads` takes a whole number, not `\"2\"`");
        assert_eq!(said("spec = 2"), "line 1, column 8: `spec` takes text between quotes, not `2`");
        assert_eq!(said("device = []"), "line 1, column 10: `device` takes text between quotes, not a list");
        assert_eq!(said("[inner]\na = true"), "line 2, column 5: `inner.a` takes a whole number, not `true`");
        assert_eq!(
            said("threads = 1\nsped = \"x\""),
            "line 2, column 1: there is no key `sped`; there is `spec`, `threads`, `device`, `inner`"
        );
    }
}
