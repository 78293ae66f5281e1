//! What CUDA would run for a model: launches, kernels and the time that a card should take at best.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::failure::Failure;
use super::terminal::{bytes, duration, flops, grouped, note};
use crate::device::cuda::card::Card;
use crate::device::cuda::kernels::{Family, source};
use crate::device::cuda::launch::{Argument, MOST_BLOCKS, Product, Step, Task, launches};
use crate::device::cuda::nvrtc::{Compiler, Usage};
use crate::device::cuda::probe::list;
use crate::graph::Phase;
use crate::ir::Precision;
use crate::plan::{Location, Machine, Plan};

/// What is said about every plan for CUDA.
const STATE: &str = "what CUDA runs";

/// Seconds from one launch to the next that a host usually needs, where launches are not one graph.
const BETWEEN_LAUNCHES: f64 = 2.5e-6;

/// What CUDA runs for some programs, and the time that it should take a card at best.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the card.
    card: &'static str,
    /// Rate of products and attention, in 10^9 operations per second.
    gflop_per_s: f64,
    /// Rate of memory, in 10^9 bytes per second.
    gigabytes_per_s: f64,
    programs: Vec<ProgramReport>,
}

#[derive(Debug, Serialize)]
struct ProgramReport {
    program: &'static str,
    /// Arithmetic of the factors of products, and how activations lie in memory.
    precision: &'static str,
    /// Bytes on the device.
    memory_bytes: u64,
    scratch_bytes: u64,
    /// Seconds of the launches that arithmetic bounds, and of those that memory bounds.
    seconds_by_arithmetic: f64,
    seconds_by_memory: f64,
    /// Share of the rate of products that is reached if no launch takes longer than what bounds it.
    share_of_rate: f64,
    /// Seconds that launching alone takes the host, were the launches not one graph.
    seconds_to_launch: f64,
    /// Whether a launch has more blocks than a device accepts.
    too_many_blocks: bool,
    all: Cost,
    phases: Vec<(&'static str, Cost)>,
    kernels: Vec<(String, Cost)>,
}

/// Launches, their work and their time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Cost {
    launches: usize,
    flops: u64,
    bytes: u64,
    seconds: f64,
    /// Seconds of it that arithmetic would take alone.
    arithmetic_seconds: f64,
}

impl Cost {
    fn add(&mut self, other: &Cost) {
        self.launches += other.launches;
        self.flops = self.flops.saturating_add(other.flops);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.seconds += other.seconds;
        self.arithmetic_seconds += other.arithmetic_seconds;
    }
}

impl Report {
    /// Reports programs of one precision, each with its name.
    pub fn of(programs: &[(&'static str, &Plan)], card: Card) -> Report {
        let machine = card.machine(programs[0].1.precision);
        let programs = programs.iter().map(|(name, plan)| ProgramReport::of(name, plan, &machine)).collect();
        let Machine { gflop_per_s, gigabytes_per_s } = machine;
        Report { card: card.name(), gflop_per_s, gigabytes_per_s, programs }
    }

    /// Returns the report as text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{STATE}\n");
        for program in &self.programs {
            program.write(&mut text, self.card);
        }
        text
    }
}

impl ProgramReport {
    fn of(program: &'static str, plan: &Plan, machine: &Machine) -> ProgramReport {
        let launched = launches(plan);
        let mut phases: BTreeMap<Phase, Cost> = BTreeMap::new();
        let mut kernels: BTreeMap<String, Cost> = BTreeMap::new();
        let (mut all, mut seconds_by_arithmetic) = (Cost::default(), 0.0);
        for step in &launched.steps {
            let (flops, bytes) = (step.flops, step.bytes);
            let (seconds, arithmetic_seconds) = (machine.seconds(flops, bytes), machine.seconds(flops, 0));
            let cost = Cost { launches: 1, flops, bytes, seconds, arithmetic_seconds };
            phases.entry(plan.calls[step.call].phase).or_default().add(&cost);
            kernels.entry(name(&step.task)).or_default().add(&cost);
            all.add(&cost);
            if arithmetic_seconds >= seconds {
                seconds_by_arithmetic += seconds;
            }
        }
        let tables: usize = launched.tables.iter().map(|table| 8 * table.positions * table.head_width).sum();
        let chunks: usize = launched.chunks.iter().map(|words| 8 * words.len()).sum();
        ProgramReport {
            program,
            precision: match plan.precision {
                Precision::F32 => "f32",
                Precision::Bf16 => "bf16",
            },
            memory_bytes: plan.peak_bytes() as u64 + launched.scratch_bytes + (tables + chunks) as u64,
            scratch_bytes: launched.scratch_bytes,
            seconds_by_arithmetic,
            seconds_by_memory: all.seconds - seconds_by_arithmetic,
            share_of_rate: all.arithmetic_seconds / all.seconds,
            seconds_to_launch: all.launches as f64 * BETWEEN_LAUNCHES,
            too_many_blocks: launched
                .steps
                .iter()
                .filter_map(Step::launch)
                .any(|launch| launch.blocks > MOST_BLOCKS),
            all,
            phases: phases.into_iter().map(|(phase, cost)| (phase.name(), cost)).collect(),
            kernels: kernels.into_iter().collect(),
        }
    }

    fn write(&self, text: &mut String, card: &str) {
        let Cost { launches, seconds, .. } = self.all;
        let _ = writeln!(text, "\n{}: {} launches", self.program, grouped(launches as u64));
        if self.too_many_blocks {
            let _ = writeln!(text, "  some have more blocks than a device accepts: use a smaller batch");
        }
        for (name, cost) in self.phases.iter().chain([&("all", self.all)]) {
            let _ = writeln!(
                text,
                "  {name:<10}{:>7} launches{:>14}{:>14} moved{:>14}",
                grouped(cost.launches as u64),
                flops(cost.flops),
                bytes(cost.bytes),
                time(cost.seconds),
            );
        }
        let _ = writeln!(
            text,
            "  at best {} on an {card}: {} bound by arithmetic, {} by memory; {:.0}% of its rate in {}",
            time(seconds),
            time(self.seconds_by_arithmetic),
            time(self.seconds_by_memory),
            100.0 * self.share_of_rate,
            self.precision,
        );
        let _ = writeln!(
            text,
            "  without a graph, launching takes the host some {} ({:.1} us each): {:.0}% of that",
            time(self.seconds_to_launch),
            BETWEEN_LAUNCHES * 1e6,
            100.0 * self.seconds_to_launch / seconds,
        );
        let _ = writeln!(
            text,
            "  memory {}, of which {} is scratch",
            bytes(self.memory_bytes),
            bytes(self.scratch_bytes)
        );
        for (name, cost) in &self.kernels {
            let arithmetic = cost.arithmetic_seconds / cost.seconds;
            let bound = if arithmetic > 0.5 { "arithmetic" } else { "memory" };
            let _ = writeln!(
                text,
                "    {name:<38}{:>12}{:>6.0}% arithmetic, bound by {bound:<10}{:>8}",
                time(cost.seconds),
                100.0 * arithmetic,
                grouped(cost.launches as u64)
            );
        }
    }
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
/// a card. Returns a table of what was written.
///
/// # Errors
///
/// Returns a failure if a file cannot be written or the compiler does not accept a kernel.
pub fn write_kernels(plan: &Plan, folder: &Path, card: Card) -> Result<String, Failure> {
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
            let compiled = compiler.compile(family, &kernels, card.architecture()).map_err(|log| {
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
        format!("for {}", card.architecture()),
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
