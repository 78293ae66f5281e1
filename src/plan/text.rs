//! The stable text form of a plan.

use std::fmt::Write;

use super::{Location, Place, Plan};

/// Returns the text form: memory by name, then one line per call with its cost.
pub fn to_text(plan: &Plan) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "arena {} bytes, kept for backward {} bytes", plan.arena_bytes, plan.kept_bytes);
    for memory in &plan.memory {
        let kind = if memory.is_input { "input" } else { "output" };
        let _ = writeln!(text, "{kind} {}: {}", memory.name, memory.ty);
    }
    for (index, call) in plan.calls.iter().enumerate() {
        let list =
            |places: &[Place]| places.iter().map(|place| show(plan, place)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "{index:>4} {:<8} {} ({}) -> {} flops {} bytes {}",
            call.phase.name(),
            call.op.as_operation().name(),
            list(&call.inputs),
            list(&call.outputs),
            call.flops,
            call.bytes,
        );
    }
    text
}

fn show(plan: &Plan, place: &Place) -> String {
    match place.location {
        Location::Named(index) => plan.memory[index].name.clone(),
        Location::Arena(offset) => format!("@{offset} {}", place.ty),
    }
}
