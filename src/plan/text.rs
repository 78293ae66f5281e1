//! The stable text form of a plan.

use std::fmt::Write;

use super::{Location, Machine, Place, Plan, Predicted};

/// Returns the text form: memory by name, then one line per call with its cost and the time predicted for
/// `machine`, then the same for each phase and for all of it.
pub fn to_text(plan: &Plan, machine: &Machine) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "arena {} bytes, kept for backward {} bytes", plan.arena_bytes, plan.kept_bytes);
    let _ = writeln!(
        text,
        "predicted for products at {} GFLOP/s and memory at {} GB/s",
        machine.gflop_per_s, machine.gigabytes_per_s
    );
    for memory in &plan.memory {
        let kind = if memory.is_input { "input" } else { "output" };
        let _ = writeln!(text, "{kind} {}: {}", memory.name, memory.ty);
    }
    for (index, call) in plan.calls.iter().enumerate() {
        let list =
            |places: &[Place]| places.iter().map(|place| show(plan, place)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "{index:>4} {:<8} {} ({}) -> {} flops {} bytes {} predicted {:.2} us",
            call.phase.name(),
            call.op.as_operation().name(),
            list(&call.inputs),
            list(&call.outputs),
            call.flops,
            call.bytes,
            machine.seconds(call.flops, call.bytes) * 1e6,
        );
    }
    let phases = plan.predicted(machine);
    for (phase, predicted) in &phases {
        total(&mut text, phase.name(), predicted);
    }
    let mut all = Predicted::default();
    phases.values().for_each(|predicted| all.add(predicted));
    total(&mut text, "all", &all);
    text
}

fn total(text: &mut String, name: &str, predicted: &Predicted) {
    let Predicted { work, seconds } = predicted;
    let _ = writeln!(
        text,
        "total {name:<8} calls {} flops {} bytes {} predicted {:.2} us",
        work.calls,
        work.flops,
        work.bytes,
        seconds * 1e6
    );
}

fn show(plan: &Plan, place: &Place) -> String {
    match place.location {
        Location::Named(index) => plan.memory[index].name.clone(),
        Location::Arena(offset) => format!("@{offset} {}", place.ty),
    }
}
