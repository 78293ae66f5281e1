//! `hrmc verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::{Failure, fail};
use super::project::{Devices, Project};
use super::terminal;
use crate::device::Form;
use crate::ir::Precision;
use crate::parity::{Extent, Fixture, Verdict, verify};

const EXAMPLES: &str = "\
Examples:
  hrmc verify tests/fixtures/rope-puzzle.json
  hrmc verify tests/fixtures/rope-puzzle.json --device reference --first-segment
  hrmc verify tests/fixtures/rope-puzzle.json --precision bf16
  hrmc verify tests/fixtures/*.json --json";

/// Compare hrmc with everything that recorded models computed.
///
/// A fixture is a `.json` file with the configuration of a small model, and a `.safetensors` file beside it with
/// the weights, inputs and results of the model. hrmc builds the model as it builds that of a spec, and compares
/// outputs, losses, metrics, carry, gradients, evaluation and optimizer steps. The bound of each group is ten
/// times its recorded rounding noise. The exit code is 1 if any group differs by more.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Fixtures to compare
    #[arg(required = true, value_name = "FIXTURE.json")]
    fixtures: Vec<PathBuf>,
    /// Device that runs the model [default: that of hrmc.toml, else cpu]
    #[arg(long)]
    device: Option<String>,
    /// Threads [default: that of hrmc.toml, else one for each core]
    #[arg(long, value_name = "COUNT", value_parser = super::positive)]
    threads: Option<usize>,
    /// Arithmetic of the factors of products; bf16 compares the first segment, with wider bounds
    #[arg(long, default_value = "f32")]
    precision: PrecisionName,
    /// Run only the first training segment, with its losses and gradients
    #[arg(long)]
    first_segment: bool,
    /// Write the comparison as JSON, one object per fixture
    #[arg(long)]
    json: bool,
}

/// Arithmetic of the factors of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionName {
    /// 32-bit floating point, as in the record.
    F32,
    /// bfloat16.
    Bf16,
}

impl PrecisionName {
    fn precision(self) -> Precision {
        match self {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Bf16 => Precision::Bf16,
        }
    }
}

/// Runs `hrmc verify`.
///
/// # Errors
///
/// Returns a failure if a fixture cannot be read or does not agree.
pub fn run(arguments: &Arguments, devices: &Devices) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let device = project.device(arguments.device.as_deref());
    let threads = project.threads(arguments.threads)?;
    // Optimizer steps and evaluation of an interpreted graph take minutes, so devices that run graphs stop earlier;
    // in bf16 only the first segment can be compared.
    let rounded = arguments.precision == PrecisionName::Bf16;
    if rounded && !device.multiplies_in_bf16() {
        return Err(Failure::message(format!(
            "`--precision bf16`: the device `{}` has no products in bf16 here, so there is nothing to compare",
            device.name()
        )));
    }
    let primitives = device.form() == Form::Graph;
    let extent =
        if arguments.first_segment || rounded || primitives { Extent::FirstSegment } else { Extent::Whole };
    let mut verdicts = Vec::new();
    let mut written = Ok(());
    for path in &arguments.fixtures {
        let fixture = Fixture::open(path).map_err(fail)?.with_precision(arguments.precision.precision());
        let verdict = verify(&fixture, &*device, threads, extent).map_err(fail)?;
        if !arguments.json {
            written = written.and_then(|()| terminal::print(table(&verdict, extent)));
        }
        verdicts.push(verdict);
    }
    if arguments.json {
        let value = serde_json::to_value(&verdicts).map_err(fail)?;
        written = terminal::print_json(&value);
    }
    let failed: Vec<&str> =
        verdicts.iter().filter(|verdict| !verdict.pass).map(|verdict| verdict.fixture.as_str()).collect();
    if failed.is_empty() {
        return written;
    }
    Err(Failure::message(format!(
        "`{}` does not agree with its record on {}",
        failed.join("`, `"),
        device.name()
    )))
}

fn table(verdict: &Verdict, extent: Extent) -> String {
    let what = match extent {
        Extent::Whole => "everything recorded",
        Extent::FirstSegment => "first segment and gradients",
    };
    let mut text = terminal::heading(&format!("{} on {}: {what}\n", verdict.fixture, verdict.device));
    text.push_str(&format!(
        "{:<34} {:>9} {:>12} {:>12}  verdict\n",
        "group", "values", "difference", "bound"
    ));
    for row in &verdict.rows {
        let mut note = if row.pass { "agrees".to_string() } else { format!("DIFFERS at {}", row.worst) };
        if row.excused > 0 {
            note.push_str(&format!(" ({} sign-like)", terminal::counted(row.excused, "element")));
        }
        text.push_str(&format!(
            "{:<34} {:>9} {:>12.2e} {:>12.2e}  {note}\n",
            row.group, row.values, row.largest, row.bound
        ));
    }
    if let Some(note) = &verdict.note {
        text.push_str(&format!("{note}\n"));
    }
    let conclusion = if verdict.pass { "agrees" } else { "DIFFERS" };
    text.push_str(&format!(
        "{conclusion}: {} of {}\n",
        terminal::counted(verdict.tensors, "tensor"),
        verdict.fixture
    ));
    text
}
