//! Rules every checked model obeys.

use super::Model;

/// A broken rule; always a fault of hrmc, never of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Checks `model` against the rules above.
pub fn verify(_model: &Model) -> Result<(), Vec<Violation>> {
    Ok(())
}
