//! A checked model as a syntax tree, and from the tree as text or as paths with values.
//!
//! [`tree()`] is the way back from a model to the language. [`text()`] prints that tree: the spec that `hrmc show`
//! writes. [`Values`] lists the same tree as the paths of overrides: what two specs are compared by. Nothing that is
//! printed here is ever read again.
//!
//! The tree says the same as the spec the model came from, but not in the same words: constants are
//! computed, equal blocks are one block, and widths stand in place of the factors they came from.

mod node;
mod number;
mod tree;
mod values;

pub use number::integer;
pub use tree::tree;
pub use values::{Blocks, Entry, NameOf, Parts, Values, one_block};

use crate::ir::Model;
use crate::syntax;

/// Returns the text of a spec that checks to a model equal to `model`, every default written out.
pub fn text(model: &Model) -> String {
    syntax::print(&tree(model))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
