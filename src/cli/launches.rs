//! The launches of CUDA for a model as text, and its kernels as files.

#![expect(clippy::disallowed_methods, reason = "kernels are written where the user says")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::failure::Failure;
use super::project::places;
use super::terminal::{bytes, duration, flops, grouped, note, write_file};
use crate::device::cuda::card::Card;
use crate::device::cuda::emit::{Compilation, Emitted, emit};
use crate::device::cuda::launch_text::HEADING;
use crate::device::cuda::nvrtc::Usage;
use crate::device::cuda::report::{BETWEEN_LAUNCHES, Cost, LaunchReport, ProgramReport};
use crate::plan::Plan;

/// Returns a report as text.
pub fn to_text(report: &LaunchReport) -> String {
    let mut text = format!("{HEADING}\n");
    for program in &report.programs {
        write_program(&mut text, program, report.card);
    }
    text
}

fn write_program(text: &mut String, report: &ProgramReport, card: &str) {
    let Cost { launches, seconds, .. } = report.all;
    let _ = writeln!(text, "\n{}: {} launches", report.program, grouped(launches as u64));
    if report.too_many_blocks {
        let _ = writeln!(text, "  some launches have more blocks than a device accepts: use a smaller batch");
    }
    for (name, cost) in report.phases.iter().chain([&("all", report.all)]) {
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
        time(report.seconds_by_arithmetic),
        time(report.seconds_by_memory),
        100.0 * report.share_of_rate,
        report.precision,
    );
    let _ = writeln!(
        text,
        "  without a graph, launching takes the host some {} ({:.1} us each): {:.0}% of that",
        time(report.seconds_to_launch),
        BETWEEN_LAUNCHES * 1e6,
        100.0 * report.seconds_to_launch / seconds,
    );
    let _ = writeln!(
        text,
        "  memory {}, of which {} is scratch",
        bytes(report.memory_bytes),
        bytes(report.scratch_bytes)
    );
    for (name, cost) in &report.kernels {
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

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.3} ms", seconds * 1e3) } else { duration(seconds) }
}

/// Writes the text of the kernels that a plan uses into a folder; if NVRTC is found, also the kernels compiled for a
/// card. Returns a list of the files and a table of the compiled kernels.
///
/// # Errors
///
/// Returns a failure if a file cannot be written or the compiler does not accept a kernel.
pub fn write_kernels(plan: &Plan, folder: &Path, card: Card) -> Result<String, Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::cannot_write(folder, &error))?;
    let write = |name: &str, content: &str| write_file(&folder.join(name), content);
    let Emitted { architecture, families, no_compiler } = emit(plan, card, &places().toolkits);
    let mut text = String::new();
    let mut table: Vec<&Usage> = Vec::new();
    for family in &families {
        write(family.file, &family.text)?;
        let _ = writeln!(text, "{}", family.file);
        match &family.compilation {
            Compilation::NotTried => {}
            Compilation::Refused { log } => {
                return Err(Failure::message(format!("NVRTC does not accept `{}`: {log}", family.file)));
            }
            Compilation::Done { file, ptx, usage } => {
                write(file, ptx)?;
                let _ = writeln!(text, "{file}");
                table.extend(usage);
            }
        }
    }
    if let Some(why) = no_compiler {
        note(format_args!("nothing was compiled: {}", why.about("NVRTC")));
        return Ok(text);
    }
    let _ = writeln!(
        text,
        "\n{:<38}{:>11}{:>8}{:>9}",
        format!("for {architecture}"),
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
