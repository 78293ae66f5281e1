//! Rules every plan obeys.
//!
//! 1. Offsets are aligned and within the arena.
//! 2. No output of a call overlaps an input of the same call, except where the operator works in place, and
//!    none overlaps another output.
//! 3. What a call reads from the arena was written, and nothing has overwritten it since. A named output is
//!    written before it is read.
//! 4. Named memory is written only by in-place operators and by whoever yields the named output.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALIGNMENT, Location, Place, Plan};

/// A broken rule; always a fault of hrmc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Checks `plan` against the rules above.
///
/// # Errors
///
/// Returns every violation found.
pub fn validate(plan: &Plan) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    // Offset of each live stretch of the arena, with its end.
    let mut written: BTreeMap<usize, usize> = BTreeMap::new();
    let mut named: BTreeSet<usize> = (0..plan.memory.len()).filter(|&at| plan.memory[at].is_input).collect();
    for (index, call) in plan.calls.iter().enumerate() {
        let name = call.op.as_operation().name();
        let mut blame =
            |message: String| violations.push(Violation(format!("call {index}, `{name}`: {message}")));
        for input in &call.inputs {
            match input.location {
                Location::Arena(offset) => {
                    if written.get(&offset).is_none_or(|&end| end < offset.saturating_add(input.bytes())) {
                        blame(format!("reads {} at {offset}, which does not hold it", input.ty));
                    }
                }
                Location::Named(memory) => {
                    if !named.contains(&memory) {
                        blame(format!("reads `{}` before it is written", plan.memory[memory].name));
                    }
                }
            }
        }
        for (position, output) in call.outputs.iter().enumerate() {
            let shares = |input: &Place| input.overlaps(output);
            let allowed =
                call.op.as_operation().in_place().iter().find(|pair| pair.1 == position).map(|pair| pair.0);
            let clash =
                call.inputs.iter().enumerate().any(|(at, input)| Some(at) != allowed && shares(input));
            if clash {
                blame(format!("output {position} overlaps an input"));
            }
            if call.outputs[..position].iter().any(|other| other.overlaps(output)) {
                blame(format!("output {position} overlaps another"));
            }
            match output.location {
                Location::Arena(offset) => {
                    let end = offset.saturating_add(output.bytes());
                    if offset % ALIGNMENT != 0 || end > plan.arena_bytes {
                        blame(format!("output {position} at {offset} is outside the arena or not aligned"));
                    }
                    written.retain(|&start, &mut stop| stop <= offset || start >= end);
                    written.insert(offset, end);
                }
                Location::Named(memory) => {
                    if plan.memory[memory].is_input && allowed.is_none() {
                        blame(format!("overwrites `{}`", plan.memory[memory].name));
                    }
                    named.insert(memory);
                }
            }
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}
