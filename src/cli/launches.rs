//! What CUDA would run for a model: launches, kernels and the time that a card should take at best.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::failure::Failure;
use super::terminal::{bytes, duration, flops, grouped, note};
use crate::backend::cuda::kernels::Family;
use crate::backend::cuda::launch::{Argument, Launches, MOST_BLOCKS, Product, Task, launches};
use crate::backend::cuda::nvrtc::{Compiler, Usage, source};
use crate::backend::cuda::probe::list;
use crate::graph::Phase;
use crate::ir::Precision;
use crate::plan::{Location, Machine, Plan, Predicted};

/// What is said about every plan for CUDA.
const STATE: &str = "what CUDA runs, with kernels in f32";

/// Architecture of the card that times are predicted for, and that kernels are compiled for.
const ARCHITECTURE: &str = "sm_90";

/// Returns the report of some programs, each with its name.
pub fn report(programs: &[(&str, &Plan)]) -> String {
    let machine = Machine::h100();
    let mut text = format!("{STATE}\n");
    for (title, plan) in programs {
        let all = launches(plan);
        let _ = writeln!(text, "\n{title}: {}", format_args!("{} launches", grouped(all.steps.len() as u64)));
        if plan.precision == Precision::Bf16 {
            let _ = writeln!(text, "  the spec asks for products in bf16, for which there are no kernels");
        }
        if all
            .steps
            .iter()
            .any(|step| matches!(&step.task, Task::Kernel(launch) if launch.blocks > MOST_BLOCKS))
        {
            let _ = writeln!(text, "  some have more blocks than a device accepts: use a smaller batch");
        }
        let mut starts: BTreeMap<Phase, usize> = BTreeMap::new();
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for step in &all.steps {
            *starts.entry(plan.calls[step.call].phase).or_default() += 1;
            *uses.entry(name(&step.task)).or_default() += 1;
        }
        let mut total = Predicted::default();
        for (phase, predicted) in plan.predicted(&machine) {
            total.add(&predicted);
            let started = starts.get(&phase).copied().unwrap_or(0);
            phase_line(&mut text, phase.name(), started, &predicted);
        }
        phase_line(&mut text, "all", all.steps.len(), &total);
        let (arithmetic, memory) = bounds(plan, &machine);
        let _ = writeln!(
            text,
            "  at best {} on an H100: {} bound by arithmetic, {} by memory",
            time(total.seconds),
            time(arithmetic),
            time(memory)
        );
        let tables: usize = all.tables.iter().map(|table| 8 * table.positions * table.head_width).sum();
        let device = plan.peak_bytes() as u64 + all.scratch_bytes + tables as u64;
        let _ =
            writeln!(text, "  memory {}, of which {} is scratch", bytes(device), bytes(all.scratch_bytes));
        for (name, uses) in uses {
            let _ = writeln!(text, "    {name:<26}{:>8}", grouped(uses as u64));
        }
    }
    text
}

fn phase_line(text: &mut String, name: &str, launches: usize, predicted: &Predicted) {
    let Predicted { work, seconds } = predicted;
    let _ = writeln!(
        text,
        "  {name:<10}{:>7} launches{:>14}{:>14} moved{:>14}",
        grouped(launches as u64),
        flops(work.flops),
        bytes(work.bytes),
        time(*seconds),
    );
}

/// Returns the predicted seconds of the calls that arithmetic bounds, and of those that memory bounds.
fn bounds(plan: &Plan, machine: &Machine) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for call in &plan.calls {
        let seconds = machine.seconds(call.flops, call.bytes);
        if machine.seconds(call.flops, 0) < seconds { sums.1 += seconds } else { sums.0 += seconds }
    }
    sums
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
    let mut last = None;
    for step in &all.steps {
        if last != Some(step.call) {
            let call = &plan.calls[step.call];
            let _ = writeln!(
                text,
                "{:>4} {:<8} {} flops {} bytes {} predicted {:.2} us",
                step.call,
                call.phase.name(),
                call.op.as_operation().name(),
                call.flops,
                call.bytes,
                machine.seconds(call.flops, call.bytes) * 1e6,
            );
        }
        last = Some(step.call);
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
        let _ = writeln!(text, "       {name}{what}");
    }
    text
}

/// Returns what a step is called in reports.
fn name(task: &Task) -> &'static str {
    match task {
        Task::Kernel(launch) => launch.kernel.name(),
        Task::Product(product) => product.kind.name(),
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
    let Launches { steps, .. } = launches(plan);
    fs::create_dir_all(folder).map_err(|error| Failure::cannot_write(folder, &error))?;
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|error| Failure::cannot_write(&path, &error))
    };
    let compiler = Compiler::load();
    let used = |family: Family| {
        steps
            .iter()
            .any(|step| matches!(&step.task, Task::Kernel(launch) if launch.kernel.family() == family))
    };
    let mut text = String::new();
    let mut table: Vec<Usage> = Vec::new();
    for &family in Family::ALL.iter().filter(|&&family| used(family)) {
        write(family.file(), &source(family))?;
        let _ = writeln!(text, "{}", family.file());
        if let Ok(compiler) = &compiler {
            let compiled = compiler.compile(family, ARCHITECTURE).map_err(|log| {
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
        "\n{:<26}{:>11}{:>8}{:>9}",
        format!("for {ARCHITECTURE}"),
        "registers",
        "shared",
        "spilled"
    );
    for used in table {
        let Usage { kernel, registers, shared_bytes, spilled_bytes } = used;
        let _ = writeln!(text, "{kernel:<26}{registers:>11}{shared_bytes:>8}{spilled_bytes:>9}");
    }
    Ok(text)
}
