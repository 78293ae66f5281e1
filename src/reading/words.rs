//! What is wrong with a value, in plain words. The messages of serde name types of Rust.

use std::fmt;

/// Why a text is not what it has to be, with the place. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the text.
    pub line: usize,
    /// Character of the line.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

/// Most characters of a wrong value that are shown.
const MOST_SHOWN: usize = 60;

/// Puts what serde says about the value at `path` into plain words. `group` is what the format calls keys with values.
pub(super) fn plain(path: &serde_path_to_error::Path, said: &str, group: &str) -> String {
    // `Spanned` of the crate toml is a table with keys of its own.
    let path = path.to_string().replace(".$__serde_spanned_private_value", "");
    let place = if path == "." || path.contains('?') { None } else { Some(shortened(&path)) };
    if let Some((found, expected)) = mismatch(said) {
        let (found, expected) = (value(found, group), kind(found, expected, group));
        return match place {
            Some(place) => format!("`{place}` takes {expected}, not {found}"),
            None => format!("expected {expected}, found {found}"),
        };
    }
    let split = |start: &str| said.strip_prefix(start)?.split_once('`');
    if let Some((name, rest)) = split("unknown field `") {
        return format!("there is no key `{}`{}", shortened(name), choices(rest));
    }
    if let Some((name, rest)) = split("unknown variant `") {
        let whose = place.map_or(String::new(), |place| format!(" for `{place}`"));
        return format!("`{}` is no choice{whose}{}", shortened(name), choices(rest));
    }
    if let Some((name, _)) = split("missing field `") {
        return match place {
            Some(place) if place != name => format!("`{place}.{name}` is missing"),
            _ => format!("`{name}` is missing"),
        };
    }
    if let Some((name, _)) = split("duplicate field `") {
        return format!("`{name}` is there twice");
    }
    match place {
        Some(place) => format!("`{place}` cannot be used: {said}"),
        None => said.to_string(),
    }
}

/// Returns what was found and what was expected, as serde calls both.
fn mismatch(said: &str) -> Option<(&str, &str)> {
    let starts = ["invalid type: ", "invalid value: ", "invalid "];
    starts.iter().find_map(|start| said.strip_prefix(start))?.rsplit_once(", expected ")
}

/// Returns what there is to choose from, as the end of a message.
fn choices(rest: &str) -> String {
    match rest.strip_prefix(", expected ") {
        Some(names) => format!("; there is {}", names.strip_prefix("one of ").unwrap_or(names)),
        None => String::new(),
    }
}

/// Returns a value that serde calls by its type.
fn value(found: &str, group: &str) -> String {
    match found {
        "null" | "unit value" => "`null`".to_string(),
        "sequence" => "a list".to_string(),
        "map" => group.to_string(),
        _ => match found.strip_prefix("string ") {
            Some(text) => format!("`{}`", shortened(text)),
            None => match found.split_once('`').and_then(|(_, rest)| rest.strip_suffix('`')) {
                Some(number) => format!("`{}`", shortened(number)),
                None => shortened(found),
            },
        },
    }
}

/// Returns what has to stand in place of a value that serde calls `found`.
fn kind(found: &str, expected: &str, group: &str) -> String {
    let is_whole = found.starts_with("integer ");
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" if is_whole && found.contains('-') => {
            "a whole number that is not negative".to_string()
        }
        "u8" | "u16" | "u32" | "i8" | "i16" | "i32" if is_whole => "a smaller whole number".to_string(),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
            "a whole number".to_string()
        }
        "f32" | "f64" => "a number".to_string(),
        "a boolean" => "`true` or `false`".to_string(),
        "a string" | "path string" => "text between quotes".to_string(),
        "a sequence" => "a list".to_string(),
        "a map" => group.to_string(),
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => {
            group.to_string()
        }
        other => other.to_string(),
    }
}

/// Returns the beginning of a text that may be very long, for a message.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
