//! The text form of what CUDA runs for a plan: each call with its launches.

use std::fmt::Write;

use super::launch::{Argument, Product, Task, launches};
use crate::plan::{Location, Machine, Plan};

/// First line of what is said about every plan for CUDA.
pub const HEADING: &str = "what CUDA runs";

/// Returns every call of a plan with its launches.
pub fn plan_text(plan: &Plan, machine: &Machine) -> String {
    let all = launches(plan);
    let mut text = format!(
        "{HEADING}\npredicted for products at {} GFLOP/s and memory at {} GB/s\narena {} bytes, scratch {} bytes\n",
        machine.gflop_per_s, machine.gigabytes_per_s, plan.arena_bytes, all.scratch_bytes
    );
    for (index, table) in all.tables.iter().enumerate() {
        let (positions, width) = (table.positions, table.head_width);
        let _ =
            writeln!(text, "table {index}: {positions} positions, heads of {width}, theta {:?}", table.theta);
    }
    let mut shown = 0;
    for step in &all.steps {
        for (index, call) in plan.calls.iter().enumerate().take(step.call + 1).skip(shown) {
            let name = call.op.as_operation().name();
            let _ = writeln!(text, "{index:>4} {:<8} {name}", call.phase.name());
        }
        shown = step.call + 1;
        let name = step.task.name();
        let what = match &step.task {
            Task::Kernel(launch) => {
                let [x, y] = launch.threads;
                let arguments: Vec<String> =
                    launch.arguments.iter().map(|argument| show(plan, argument)).collect();
                format!("<{}, {x}x{y}>({})", launch.blocks, arguments.join(", "))
            }
            Task::Product(product) => {
                let Product { rows, columns, terms, .. } = product;
                let [out, a, b] = [product.out, product.a, product.b].map(|place| show_place(plan, place));
                format!("({out}, {a}, {b}, {rows}, {columns}, {terms})")
            }
        };
        let (flops, bytes) = (step.flops, step.bytes);
        let predicted = machine.seconds(flops, bytes) * 1e6;
        let _ = writeln!(text, "       {name}{what} flops {flops} bytes {bytes} predicted {predicted:.2} us");
    }
    text
}

/// Returns a place as text: the name of memory, or the offset in the arena.
fn show_place(plan: &Plan, location: Location) -> String {
    match location {
        Location::Named(index) => plan.memory[index].name.clone(),
        Location::Arena(offset) => format!("@{offset}"),
    }
}

/// Returns an argument of a kernel as text.
fn show(plan: &Plan, argument: &Argument) -> String {
    match argument {
        Argument::Memory(location) => show_place(plan, *location),
        Argument::Scratch => "scratch".to_string(),
        Argument::Chunks(list) => format!("chunks {list}"),
        Argument::Cos(table) => format!("cos {table}"),
        Argument::Sin(table) => format!("sin {table}"),
        Argument::Null => "none".to_string(),
        Argument::Size(size) => size.to_string(),
        Argument::Number(number) => format!("{number:?}"),
    }
}
