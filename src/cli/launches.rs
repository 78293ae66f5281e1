//! What CUDA would run for a model: launches, kernels and the time that a card should take at best.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::failure::Failure;
use super::terminal::{bytes, duration, flops, grouped, note};
use crate::backend::cuda::kernels::{Family, source};
use crate::backend::cuda::launch::{Argument, MOST_BLOCKS, Product, Task, launches};
use crate::backend::cuda::nvrtc::{Compiler, Usage};
use crate::backend::cuda::probe::list;
use crate::graph::Phase;
use crate::plan::{Location, Machine, Plan, Predicted, Work};

/// What is said about every plan for CUDA.
const STATE: &str = "what CUDA runs";

/// Architecture of the card that times are predicted for, and that kernels are compiled for.
const ARCHITECTURE: &str = "sm_90";

/// Returns the report of some programs, each with its name.
pub fn report(programs: &[(&str, &Plan)]) -> String {
    let machine = Machine::h100(programs[0].1.precision);
    let mut text = format!("{STATE}\n");
    for (title, plan) in programs {
        let all = launches(plan);
        let _ = writeln!(text, "\n{title}: {}", format_args!("{} launches", grouped(all.steps.len() as u64)));
        if all
            .steps
            .iter()
            .any(|step| matches!(&step.task, Task::Kernel(launch) if launch.blocks > MOST_BLOCKS))
        {
            let _ = writeln!(text, "  some have more blocks than a device accepts: use a smaller batch");
        }
        let mut phases: BTreeMap<Phase, Predicted> = BTreeMap::new();
        let mut uses: BTreeMap<String, Predicted> = BTreeMap::new();
        let mut total = Predicted::default();
        let mut by_arithmetic = 0.0;
        for step in &all.steps {
            let seconds = machine.seconds(step.flops, step.bytes);
            let work = Work { calls: 1, flops: step.flops, bytes: step.bytes };
            let predicted = Predicted { work, seconds };
            phases.entry(plan.calls[step.call].phase).or_default().add(&predicted);
            uses.entry(name(&step.task)).or_default().add(&predicted);
            total.add(&predicted);
            if machine.seconds(step.flops, 0) >= seconds {
                by_arithmetic += seconds;
            }
        }
        for (phase, predicted) in &phases {
            phase_line(&mut text, phase.name(), predicted);
        }
        phase_line(&mut text, "all", &total);
        let _ = writeln!(
            text,
            "  at best {} on an H100: {} bound by arithmetic, {} by memory; {:.0}% of its rate",
            time(total.seconds),
            time(by_arithmetic),
            time(total.seconds - by_arithmetic),
            100.0 * machine.seconds(total.work.flops, 0) / total.seconds,
        );
        let tables: usize = all.tables.iter().map(|table| 8 * table.positions * table.head_width).sum();
        let chunks: usize = all.chunks.iter().map(|words| 8 * words.len()).sum();
        let device = plan.peak_bytes() as u64 + all.scratch_bytes + (tables + chunks) as u64;
        let _ =
            writeln!(text, "  memory {}, of which {} is scratch", bytes(device), bytes(all.scratch_bytes));
        for (name, predicted) in uses {
            let Predicted { work, seconds } = predicted;
            let arithmetic = 100.0 * machine.seconds(work.flops, 0) / seconds;
            let _ = writeln!(
                text,
                "    {name:<38}{:>12}{arithmetic:>6.0}% arithmetic{:>8}",
                time(seconds),
                grouped(work.calls as u64)
            );
        }
    }
    text
}

fn phase_line(text: &mut String, name: &str, predicted: &Predicted) {
    let Predicted { work, seconds } = predicted;
    let _ = writeln!(
        text,
        "  {name:<10}{:>7} launches{:>14}{:>14} moved{:>14}",
        grouped(work.calls as u64),
        flops(work.flops),
        bytes(work.bytes),
        time(*seconds),
    );
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.3} ms", seconds * 1e3) } else { duration(seconds) }
}

/// Returns every call of a plan with its launches.
pub fn plan_text(plan: &Plan, machine: &Machine) -> String {
    let all = launches(plan);
    let mut text = format!(
        "{STATE}\npredicted for products at {} GFLOP/s and memory at {} GB/s\narena {} bytes, scratch {} bytes\n",
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
        let name = name(&step.task);
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

/// Returns what a step is called in reports.
fn name(task: &Task) -> String {
    match task {
        Task::Kernel(launch) => launch.kernel.name(),
        Task::Product(Product { kind, factors, result, .. }) => {
            format!("{}_{}_{}", kind.name(), result.name(), factors.name())
        }
    }
}

fn show_place(plan: &Plan, location: Location) -> String {
    match location {
        Location::Named(index) => plan.memory[index].name.clone(),
        Location::Arena(offset) => format!("@{offset}"),
    }
}

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

/// Writes the text of the kernels that a plan uses into a folder, and where NVRTC is found also what they become for
/// an H100. Returns a table of what was written.
///
/// # Errors
///
/// Returns a failure if a file cannot be written or the compiler does not accept a kernel.
pub fn write_kernels(plan: &Plan, folder: &Path) -> Result<String, Failure> {
    let kernels = launches(plan).kernels();
    fs::create_dir_all(folder).map_err(|error| Failure::cannot_write(folder, &error))?;
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|error| Failure::cannot_write(&path, &error))
    };
    let compiler = Compiler::load();
    let used = |family: Family| kernels.iter().any(|kernel| kernel.family() == family);
    let mut text = String::new();
    let mut table: Vec<Usage> = Vec::new();
    for &family in Family::ALL.iter().filter(|&&family| used(family)) {
        write(family.file(), &source(family, &kernels))?;
        let _ = writeln!(text, "{}", family.file());
        if let Ok(compiler) = &compiler {
            let compiled = compiler.compile(family, &kernels, ARCHITECTURE).map_err(|log| {
                Failure::message(format!("NVRTC does not accept `{}`: {log}", family.file()))
            })?;
            let name = family.file().replace(".cu", ".ptx");
            write(&name, &compiled.ptx)?;
            let _ = writeln!(text, "{name}");
            table.extend(compiled.usage);
        }
    }
    if let Err(looked) = compiler {
        note(format_args!("there is no NVRTC here, so nothing was compiled; looked for {}", list(&looked)));
        return Ok(text);
    }
    let _ = writeln!(
        text,
        "\n{:<38}{:>11}{:>8}{:>9}",
        format!("for {ARCHITECTURE}"),
        "registers",
        "shared",
        "spilled"
    );
    for used in table {
        let Usage { kernel, registers, shared_bytes, spilled_bytes } = used;
        let _ = writeln!(text, "{kernel:<38}{registers:>11}{shared_bytes:>8}{spilled_bytes:>9}");
    }
    Ok(text)
}
