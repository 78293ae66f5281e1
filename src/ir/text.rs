//! The stable text form of a checked model.

use super::Model;

/// Returns the text form of `model`.
pub fn to_text(model: &Model) -> String {
    format!("{model:#?}\n")
}
