//! The parser that the grammar is made into.

mod generated {
    /// The parser generated from the grammar.
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/hrm.pest"]
    pub(crate) struct Grammar;
}

pub(super) use generated::{Grammar, Rule};
