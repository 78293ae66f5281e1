//! A checked model as a syntax tree, and from the tree as text or as paths with values.
//!
//! [`tree()`] turns a model back into the language. [`text()`] prints that tree: it is the spec that `hrmc show`
//! writes. [`Values`] lists the same tree as the paths of overrides with their values, by which two specs are compared.
//!
//! The tree means the same as the spec that the model came from, but is spelled differently: constants are computed,
//! equal blocks are one block, and a width stands in place of the factors that it was computed from.

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
