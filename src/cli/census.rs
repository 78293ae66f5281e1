//! The census of a model as text.

use std::fmt::Write;

use super::terminal::{bytes, counted, flops, grouped};
use crate::census::{Census, MemoryCost, PassCost, ProgramCost};
use crate::device::ResidentMemory;
use crate::graph::Phase;

/// Returns the census as text.
pub fn to_text(census: &Census) -> String {
    let mut text = String::new();
    write_parameters(census, &mut text);
    write_work(census, &mut text);
    write_memory(census, &mut text);
    write_passes(census, &mut text);
    text
}

fn write_parameters(census: &Census, text: &mut String) {
    let parameters = &census.parameters;
    let _ = writeln!(text, "parameters of `{}`", census.model);
    let mut line = |name: &str, count: u64, remark: &str| {
        let line = format!("  {name:<26}{:>16}  {remark}", grouped(count));
        let _ = writeln!(text, "{}", line.trim_end());
    };
    for network in &parameters.networks {
        line(&format!("network {}", network.name), network.parameters, &counted(network.layers, "block"));
    }
    line("token embedding", parameters.token_embedding, "");
    if parameters.position_embedding > 0 {
        line("position embedding", parameters.position_embedding, "");
    }
    if let Some(origin) = &census.puzzle_rows_origin {
        let remark = format!("{}, {origin}", counted(census.puzzle_rows, "row"));
        line("puzzle table", parameters.puzzle_table, &remark);
    }
    line("token head", parameters.token_head, "");
    if parameters.q_head > 0 {
        line("q head", parameters.q_head, "");
    }
    line("total", parameters.total, "");
    if census.puzzle_rows_origin.is_some() {
        line("total without puzzle table", parameters.total_without_puzzle_table, "");
    }
    line("initial states", parameters.fixed, "fixed, not in the total");
}

fn write_work(census: &Census, text: &mut String) {
    let _ = writeln!(text, "\nwork of one segment, {}", counted(census.batch, "row"));
    if let Some(train) = &census.train {
        let _ = writeln!(text, "  training{:>41}", flops(train.program.flops));
        write_phases(text, &train.program);
    }
    let _ = writeln!(text, "  evaluation{:>39}", flops(census.evaluate.flops));
    write_phases(text, &census.evaluate);
}

fn write_memory(census: &Census, text: &mut String) {
    let _ = writeln!(text, "\nmemory for {}", counted(census.batch, "row"));
    if let Some(train) = &census.train {
        write_memory_of(text, "training", &train.program.memory);
    }
    write_memory_of(text, "evaluation", &census.evaluate.memory);
    if let Some(train) = &census.train {
        write_session(census, text);
        let _ = writeln!(text, "\nactivations kept for the backward pass");
        let kept = bytes(train.kept_bytes);
        let doubled = bytes(train.kept_bytes_with_doubled_loops);
        let _ = writeln!(text, "  {:<26}{kept:>21}", format!("gradient {}", train.gradient));
        let _ = writeln!(text, "  {:<26}{doubled:>21}", "every loop count doubled");
        let verdict = if train.kept_bytes == train.kept_bytes_with_doubled_loops {
            "they do not depend on the loop counts"
        } else {
            "they depend on the loop counts"
        };
        let _ = writeln!(text, "  {verdict}");
    }
}

/// Writes what a process takes that trains and evaluates.
fn write_session(census: &Census, text: &mut String) {
    let ResidentMemory { program, data, named, activations, arranged, scratch } = census.session;
    let _ = writeln!(text, "  {:<26}{:>21}", "both in one session", bytes(census.session_bytes));
    let threads = format!("work of {}", counted(census.threads, "thread"));
    let parts = [
        ("weights to results", named),
        ("activations", activations),
        ("arranged weights", arranged),
        (&threads, scratch),
        ("data", data),
        ("program", program),
    ];
    for (name, size) in parts {
        let _ = writeln!(text, "    {name:<24}{:>21}", bytes(size));
    }
    if data == 0 {
        let _ = writeln!(text, "  without the data, which is not there");
    }
}

fn write_passes(census: &Census, text: &mut String) {
    let _ = writeln!(text, "\noperators before and after each pass");
    let show = |pass: &PassCost| format!("{} -> {}", grouped(pass.before as u64), grouped(pass.after as u64));
    let train = census.train.as_ref().map(|train| &train.program.passes);
    let _ = match train {
        Some(_) => writeln!(text, "  {:<26}{:>18}{:>18}", "", "training", "evaluation"),
        None => writeln!(text, "  {:<26}{:>18}", "", "evaluation"),
    };
    for (index, pass) in census.evaluate.passes.iter().enumerate() {
        let _ = match train {
            Some(train) => {
                writeln!(text, "  {:<26}{:>18}{:>18}", pass.name, show(&train[index]), show(pass))
            }
            None => writeln!(text, "  {:<26}{:>18}", pass.name, show(pass)),
        };
    }
}

/// Names of the phases in text, in the order in which they are shown.
const PHASES: [Phase; 4] = [Phase::Forward, Phase::Target, Phase::Backward, Phase::Update];

fn write_phases(text: &mut String, cost: &ProgramCost) {
    for phase in PHASES {
        if let Some(cost) = cost.phases.get(phase.name()) {
            let _ = writeln!(
                text,
                "    {:<24}{:>21}{:>14}  {} moved",
                phase.name(),
                flops(cost.flops),
                counted(cost.calls, "call"),
                bytes(cost.bytes),
            );
        }
    }
}

fn write_memory_of(text: &mut String, name: &str, memory: &MemoryCost) {
    let _ = writeln!(text, "  {:<26}{:>21}", format!("{name}, peak"), bytes(memory.peak));
    let parts = [
        ("weights", memory.weights),
        ("averaged weights", memory.averages),
        ("optimizer", memory.optimizer),
        ("carry", memory.carry),
        ("rows and results", memory.rows),
        ("activations", memory.activations),
    ];
    for (name, size) in parts {
        if size > 0 {
            let _ = writeln!(text, "    {name:<24}{:>21}", bytes(size));
        }
    }
}
