//! The specs of a sweep: every combination of some values.

use std::collections::BTreeSet;

use serde::Serialize;

use super::overrides::override_source;
use super::{SpecError, examine};
use crate::diagnostic::{Code, has_errors};
use crate::span::Source;
use crate::syntax::{Scanner, TokenKind, parse_override};

/// Most combinations of one sweep.
pub const MAX_COMBINATIONS: usize = 10_000;

/// Why there is no sweep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// A text is no `path=values`.
    #[error("`{text}`: expected `path=values`, as in `model.N=1,2,3`")]
    NoValues {
        /// The whole text.
        text: String,
    },
    /// A list has nothing between two commas, or nothing at all.
    #[error("`{text}`: there is no value between the commas")]
    EmptyValue {
        /// The whole text.
        text: String,
    },
    /// A range ends before it begins.
    #[error("`{text}`: the range `{range}` is empty; write the smaller number first")]
    EmptyRange {
        /// The whole text.
        text: String,
        /// The range in it.
        range: String,
    },
    /// Two axes have the same path.
    #[error("`{path}` is set twice; list all of its values once, as in `{path}=1,2`")]
    Twice {
        /// The path.
        path: String,
    },
    /// An axis has a value twice.
    #[error("`{text}` has `{value}` twice; list each value once")]
    Repeated {
        /// The text.
        text: String,
        /// The value.
        value: String,
    },
    /// There are more than [`MAX_COMBINATIONS`].
    #[error("the sweep has more than 10,000 combinations; try fewer values")]
    TooMany,
}

/// A path and the values to try.
///
/// # Examples
///
/// ```
/// use hrmc::{Axis, Spec};
///
/// let axes = [Axis::parse("model.N=1,2")?, Axis::parse("train.seed=0..2")?];
/// for overrides in Axis::combinations(&axes)? {
///     let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
///     Spec::open("specs/quickstart.hrm", &overrides)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Axis {
    /// The path, as an override has it.
    pub path: String,
    /// The values, as a spec spells them.
    pub values: Vec<String>,
}

impl Axis {
    /// Returns every combination of one value of each axis, as overrides of a spec; the last axis varies fastest.
    ///
    /// # Errors
    ///
    /// Returns an error if two axes have the same path, or there are more than 10,000 combinations.
    pub fn combinations(axes: &[Axis]) -> Result<Vec<Vec<String>>, SweepError> {
        combinations(axes)
    }

    /// Reads `path=values`: a list with commas, in which `A..B` stands for every integer from A to B.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the text.
    pub fn parse(text: &str) -> Result<Axis, SweepError> {
        let Some((path, list)) = text.split_once('=') else {
            return Err(SweepError::NoValues { text: text.to_string() });
        };
        let path = path.trim().to_string();
        let mut values = Vec::new();
        for part in parts(list) {
            match range(part) {
                None if part.is_empty() => {
                    return Err(SweepError::EmptyValue { text: text.to_string() });
                }
                None => values.push(part.to_string()),
                Some((first, last)) if first > last => {
                    let (text, range) = (text.to_string(), part.to_string());
                    return Err(SweepError::EmptyRange { text, range });
                }
                Some((first, last)) if last - first >= MAX_COMBINATIONS as u64 => {
                    return Err(SweepError::TooMany);
                }
                Some((first, last)) => values.extend((first..=last).map(|number| number.to_string())),
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(value) = values.iter().find(|value| !seen.insert(value.replace('_', ""))) {
            return Err(SweepError::Repeated { text: text.to_string(), value: value.clone() });
        }
        Ok(Axis { path, values })
    }
}

/// Splits a list at the commas that stand outside of parentheses and strings.
fn parts(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0usize);
    for token in Scanner::new(list).filter(|token| token.kind == TokenKind::Symbol) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                parts.push(list[start..token.span.start].trim());
                start = token.span.end;
            }
            _ => {}
        }
    }
    parts.push(list[start..].trim());
    parts
}

/// Reads `A..B`.
fn range(part: &str) -> Option<(u64, u64)> {
    let (first, last) = part.split_once("..")?;
    let number = |text: &str| text.trim().replace('_', "").parse().ok();
    Some((number(first)?, number(last)?))
}

/// Returns every combination of one value of each axis, as overrides `path=value`; the last axis varies fastest.
///
/// # Errors
///
/// Returns the path that two axes have, or that there are more than [`MAX_COMBINATIONS`].
pub fn combinations(axes: &[Axis]) -> Result<Vec<Vec<String>>, SweepError> {
    for (index, axis) in axes.iter().enumerate() {
        if axes[..index].iter().any(|other| other.path == axis.path) {
            return Err(SweepError::Twice { path: axis.path.clone() });
        }
    }
    let mut combinations = vec![Vec::new()];
    for axis in axes {
        if combinations.len().saturating_mul(axis.values.len()) > MAX_COMBINATIONS {
            return Err(SweepError::TooMany);
        }
        combinations = combinations
            .into_iter()
            .flat_map(|begun| {
                axis.values.iter().map(move |value| {
                    let text = format!("{}={value}", axis.path);
                    begun.iter().cloned().chain([text]).collect::<Vec<String>>()
                })
            })
            .collect();
    }
    Ok(combinations)
}

/// Refuses values that do not follow the grammar and paths that `source` does not have, before anything is trained.
///
/// # Errors
///
/// Returns the values that cannot be read, or the paths that name nothing.
pub fn check_paths(source: &Source, combinations: &[Vec<String>]) -> Result<(), SpecError> {
    for text in combinations.iter().flatten() {
        if let Err(found) = parse_override(text, 0) {
            return Err(SpecError::Faulty(vec![(override_source(text), found)]));
        }
    }
    let Some(first) = combinations.first() else { return Ok(()) };
    let mut found = examine(source.clone(), first).diagnostics;
    for (_, diagnostics) in &mut found {
        diagnostics.retain(|diagnostic| diagnostic.code == Code::UnknownPath);
    }
    if found.iter().any(|(_, diagnostics)| has_errors(diagnostics)) {
        return Err(SpecError::Faulty(found));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Axis, MAX_COMBINATIONS, SweepError, check_paths, combinations, parts};
    use crate::spec::quickstart_source;

    fn axis(text: &str) -> Axis {
        Axis::parse(text).expect("it is right")
    }

    #[test]
    fn lists_and_ranges_are_values() {
        assert_eq!(axis("model.N=1,2 , 7").values, ["1", "2", "7"]);
        assert_eq!(axis("train.seed = 0..2, 1_0..11").values, ["0", "1", "2", "10", "11"]);
        assert_eq!(axis("train.seed = 0..2").path, "train.seed");
        assert_eq!(axis("train.ema=0.9").values, ["0.9"], "a number is no range");
    }

    #[test]
    fn commas_in_parentheses_and_strings_belong_to_a_value() {
        assert_eq!(parts("(0.9, 0.95),(1, 2)"), ["(0.9, 0.95)", "(1, 2)"]);
        assert_eq!(parts(r#""a,b","c\",d""#), [r#""a,b""#, r#""c\",d""#]);
    }

    #[test]
    fn the_last_axis_varies_fastest() {
        let found = combinations(&[axis("a=1,2"), axis("b=3..4")]).expect("they are few");
        assert_eq!(found, [["a=1", "b=3"], ["a=1", "b=4"], ["a=2", "b=3"], ["a=2", "b=4"]]);
    }

    #[test]
    fn values_that_cannot_be_read_are_refused() {
        for (text, part) in [
            ("model.N", "expected `path=values`"),
            ("model.N=1,,2", "no value between the commas"),
            ("model.N=", "no value between the commas"),
            ("model.N=3..1", "the range `3..1` is empty"),
            ("train.seed=1_0,2,10", "has `10` twice; list each value once"),
            ("train.seed=0..2,1", "has `1` twice"),
            ("model.N=0..18446744073709551615", "more than 10,000 combinations"),
        ] {
            let message = Axis::parse(text).expect_err("it is wrong").to_string();
            assert!(message.contains(part), "{message}");
        }
        let wide = axis("a=1..200");
        let both = [wide.clone(), Axis { path: "b".to_string(), ..wide.clone() }];
        assert_eq!(combinations(&both), Err(SweepError::TooMany));
        assert_eq!(combinations(&[wide.clone(), wide]), Err(SweepError::Twice { path: "a".to_string() }));
        assert_eq!(MAX_COMBINATIONS, 10_000, "the message says this number");
    }

    #[test]
    fn paths_that_name_nothing_are_refused_and_other_errors_are_not() {
        let check = |text: &str| check_paths(&quickstart_source(), &[vec![text.to_string()]]);
        assert_eq!(check("model.N=0"), Ok(()), "a combination may be wrong; the others go on");
        let error = check("model.nothing=1").expect_err("there is no such path");
        assert!(error.to_string().contains("the spec has no `model.nothing`"), "{error}");
        assert!(check("model.N=(").is_err());
    }
}
