//! Rules every graph obeys, checked after each pass in tests and debug builds.
//!
//! 1. Every node's recorded types are what its shape rule yields for its operands.
//! 2. Every node has the operands that its operator names, and results for them, perhaps without the last.
//! 3. The graph has no cycle, the order imposed by in-place operators included.
//! 4. Memory is overwritten only by operators that work in place on an input or on the result of such an
//!    operator, at most once per run.
//! 5. Every named output exists.

use std::collections::BTreeSet;

use super::{Graph, Op};

/// A broken rule; always a fault of hrmc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Checks `graph` against the rules above.
///
/// # Errors
///
/// Returns every violation found.
pub fn validate(graph: &Graph) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    let order = graph.order();
    let mut overwritten = BTreeSet::new();
    for &node in &order {
        let op = graph.op(node).as_operation();
        let operands = graph.operands(node);
        let types: Vec<_> = operands.iter().map(|&value| graph.ty(value).clone()).collect();
        let found: Vec<_> = graph.results(node).iter().map(|&value| graph.ty(value).clone()).collect();
        let most = op.outputs().len();
        if types.len() != op.inputs().len() || found.len() > most || found.len() + 1 < most {
            violations.push(Violation(format!("`{}` has other operands than it names", op.name())));
            continue;
        }
        match op.output_types(&types) {
            Ok(expected) if expected == found => {}
            Ok(_) => violations.push(Violation(format!("`{}` records other types than its rule", op.name()))),
            Err(error) => violations.push(Violation(format!("`{}`: {error}", op.name()))),
        }
        for &(input, _) in op.in_place() {
            let target = operands[input];
            if !matches!(graph.op(target.node), Op::Input(_)) {
                violations.push(Violation(format!("`{}` overwrites a value that is no input", op.name())));
            }
            if !overwritten.insert(target) {
                violations.push(Violation(format!("`{}` overwrites an input twice", op.name())));
            }
        }
    }
    for (name, value) in graph.outputs() {
        if !order.contains(&value.node) {
            violations.push(Violation(format!("output `{name}` has no node")));
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}
