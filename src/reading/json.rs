//! Values from JSON.

use serde::de::DeserializeOwned;

pub use super::words::Fault;
use super::words::plain;

/// Reads a value.
///
/// # Errors
///
/// Returns the place where the text is not JSON, or where a value is missing or not the right one.
pub fn value<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    // Only what is wrong is read a second time, slowly, to know the path of the wrong value.
    serde_json::from_str(text).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = serde_path_to_error::deserialize(&mut reader);
        let value = read.map_err(|error| fault(error.inner(), Some(error.path())))?;
        reader.end().map_err(|error| fault(&error, None))?;
        Ok(value)
    })
}

fn fault(error: &serde_json::Error, path: Option<&serde_path_to_error::Path>) -> Fault {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let said = said.strip_suffix(&place).unwrap_or(&said);
    let reason = match (error.classify(), path) {
        (serde_json::error::Category::Data, Some(path)) => plain(path, said, "an object"),
        (serde_json::error::Category::Eof, _) => "the text ends too early".to_string(),
        _ => format!("this is not JSON: {}", grammar(said)),
    };
    Fault { line: error.line(), column: error.column(), reason }
}

/// Says what does not follow the grammar of JSON.
fn grammar(said: &str) -> &'static str {
    match said {
        "expected `:`" => "a `:` is missing",
        "expected `,` or `]`" => "a `,` or `]` is missing",
        "expected `,` or `}`" => "a `,` or `}` is missing",
        "trailing comma" => "there is a comma behind the last entry",
        "trailing characters" => "there is something behind the end",
        "key must be a string" => "a key stands between double quotes",
        "invalid number" | "number out of range" => "the number cannot be read",
        "recursion limit exceeded" => "too many lists or objects lie in each other",
        _ if said.starts_with("control character") => {
            "a text between quotes ends in the line where it begins"
        }
        _ if said.contains("escape") || said.contains("unicode") => "the text behind a `\\` means nothing",
        _ => "expected a value",
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
    struct Inner {
        cycles: usize,
        rate: f64,
        kind: Kind,
        names: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Rope,
        Learned,
    }

    fn said(inner: &str) -> String {
        let text = format!("{{\"model\": {{{inner}}}}}");
        let fault = value::<BTreeMap<String, Inner>>(&text).expect_err("it is wrong");
        assert_eq!(fault.line, 1);
        fault.reason
    }

    #[test]
    fn values_are_refused_in_words_without_types_of_rust() {
        let right = |key: &str, wrong: &str| {
            let pairs = [("cycles", "1"), ("rate", "0.5"), ("kind", "\"rope\""), ("names", "[]")];
            let pairs =
                pairs.map(|(name, value)| format!("\"{name}\": {}", if name == key { wrong } else { value }));
            said(&pairs.join(", "))
        };
        assert_eq!(right("cycles", "\"2\""), "`model.cycles` takes a whole number, not `\"2\"`");
        assert_eq!(right("cycles", "1.5"), "`model.cycles` takes a whole number, not `1.5`");
        assert_eq!(
            right("cycles", "-3"),
            "`model.cycles` takes a whole number that is not negative, not `-3`"
        );
        assert_eq!(right("cycles", "null"), "`model.cycles` takes a whole number, not `null`");
        assert_eq!(right("rate", "[]"), "`model.rate` takes a number, not a list");
        assert_eq!(right("names", "{}"), "`model.names` takes a list, not an object");
        assert_eq!(right("names", "[\"a\", true]"), "`model.names[1]` takes text between quotes, not `true`");
        assert_eq!(
            right("kind", "\"none\""),
            "`none` is no choice for `model.kind`; there is `rope` or `learned`"
        );
        assert_eq!(said("\"cycles\": 1"), "`model.rate` is missing");
        assert_eq!(said("\"cycles\": 1, \"cycles\": 2"), "`cycles` is there twice");
        assert_eq!(
            said("\"cycle\": 1"),
            "there is no key `cycle`; there is `cycles`, `rate`, `kind`, `names`"
        );
    }

    #[test]
    fn a_text_that_is_not_json_is_refused_with_the_place() {
        let said = |text: &str| value::<BTreeMap<String, u8>>(text).expect_err("it is wrong").to_string();
        assert_eq!(said("{\"a\": 1"), "line 1, column 7: the text ends too early");
        assert_eq!(said("{\"a\" 1}"), "line 1, column 6: this is not JSON: a `:` is missing");
        assert_eq!(
            said("{\"a\": 1,\n}"),
            "line 2, column 1: this is not JSON: there is a comma behind the last entry"
        );
        assert_eq!(said("{} x"), "line 1, column 4: this is not JSON: there is something behind the end");
        assert_eq!(said("model x {}"), "line 1, column 1: this is not JSON: expected a value");
        let deep = "[".repeat(100_000);
        assert!(value::<serde_json::Value>(&deep).is_err());
    }
}
