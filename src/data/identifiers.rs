//! The names of puzzle identifiers.

use std::borrow::Cow;
use std::sync::Arc;

use super::canvas::TaskCopies;

/// The names of the puzzle identifiers of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentifierNames {
    /// Those of `identifiers.json`, by their numbers.
    Stored(Vec<String>),
    /// Those of tasks and of their copies, which are made when they are asked for.
    Copied(Arc<TaskCopies>),
}

impl IdentifierNames {
    /// Returns the name of an identifier.
    pub fn get(&self, identifier: i32) -> Option<Cow<'_, str>> {
        match self {
            IdentifierNames::Stored(names) => {
                let name = usize::try_from(identifier).ok().and_then(|identifier| names.get(identifier));
                name.map(|name| Cow::Borrowed(name.as_str()))
            }
            IdentifierNames::Copied(copies) => copies.name(identifier),
        }
    }

    /// Yields all identifiers with their names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (i32, Cow<'_, str>)> {
        (0..).map_while(|identifier| Some((identifier, self.get(identifier)?)))
    }
}
