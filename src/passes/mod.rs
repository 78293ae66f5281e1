//! Graph-to-graph rewrites.
//!
//! Each pass is one file and one line in [`PASSES`], which gives the order and the names. A pass keeps the
//! types and values of named outputs and of everything that works in place; it never changes what a
//! graph computes beyond the rounding of sums.

mod fuse_gated_unit;
mod fuse_residual_norm;
mod fuse_rotation;
mod narrow_reads;
mod recompute_gated_unit;
mod remove_detach;
mod remove_unread;
mod share_equal;
#[cfg(test)]
mod testing;

use crate::graph::{Graph, validate};

/// A rewrite with its name.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Name in reports and snapshots.
    pub name: &'static str,
    /// The rewrite.
    pub run: fn(&mut Graph),
}

/// All passes, in the order in which they run.
pub const PASSES: &[Pass] = &[
    Pass { name: "remove-detach", run: remove_detach::remove_detach },
    Pass { name: "share-equal", run: share_equal::share_equal },
    Pass { name: "remove-unread", run: remove_unread::remove_unread },
    Pass { name: "fuse-rotation", run: fuse_rotation::fuse_rotation },
    Pass { name: "narrow-reads", run: narrow_reads::narrow_reads },
    Pass { name: "fuse-gated-unit", run: fuse_gated_unit::fuse_gated_unit },
    Pass { name: "recompute-gated-unit", run: recompute_gated_unit::recompute_gated_unit },
    Pass { name: "fuse-residual-norm", run: fuse_residual_norm::fuse_residual_norm },
];

/// Operators before and after one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassReport {
    /// Name of the pass.
    pub name: &'static str,
    /// Operators before it.
    pub before: usize,
    /// Operators after it.
    pub after: usize,
}

/// Runs all passes and reports what each did.
pub fn optimize(graph: &mut Graph) -> Vec<PassReport> {
    PASSES
        .iter()
        .map(|pass| {
            let before = graph.operators();
            (pass.run)(graph);
            debug_assert_eq!(validate(graph), Ok(()), "after `{}`", pass.name);
            PassReport { name: pass.name, before, after: graph.operators() }
        })
        .collect()
}

/// Runs only what an executor of any kind needs: no detach markers and nothing unread.
pub fn simplify(graph: &mut Graph) {
    remove_detach::remove_detach(graph);
    remove_unread::remove_unread(graph);
}
