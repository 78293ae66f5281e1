//! The launches of CUDA for a model, with the shortest time that a card can take for them, as data that serialises.

use std::collections::BTreeMap;

use serde::Serialize;

use super::card::Card;
use super::launch::{LaunchStep, MAX_BLOCKS, launches};
use crate::graph::Phase;
use crate::ir::Precision;
use crate::plan::{Machine, Plan};

/// Seconds from one launch to the next that a host usually needs, where launches are not one graph.
pub(crate) const BETWEEN_LAUNCHES: f64 = 2.5e-6;

/// The launches of CUDA for some programs, with the shortest time that a card can take for them.
///
/// # Examples
///
/// ```
/// use hrmc::{Card, LaunchReport, Sizes, Spec};
///
/// let spec = Spec::quickstart();
/// let report = LaunchReport::of(spec.model(), Sizes::of(spec.model()), Card::H200);
/// let json = serde_json::to_value(&report)?;
/// println!("{} launches of a training segment", json["programs"][0]["all"]["launches"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaunchReport {
    /// Name of the card.
    pub(crate) card: &'static str,
    /// Rate of products and attention, in 10^9 operations per second.
    pub(crate) gflop_per_s: f64,
    /// Rate of memory, in 10^9 bytes per second.
    pub(crate) gigabytes_per_s: f64,
    pub(crate) programs: Vec<ProgramReport>,
}

/// What CUDA runs for one program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgramReport {
    pub(crate) program: &'static str,
    /// Arithmetic of the factors of products, and how activations lie in memory.
    pub(crate) precision: &'static str,
    /// Bytes on the device.
    pub(crate) memory_bytes: u64,
    pub(crate) scratch_bytes: u64,
    /// Seconds of the launches that arithmetic bounds, and of those that memory bounds.
    pub(crate) seconds_by_arithmetic: f64,
    pub(crate) seconds_by_memory: f64,
    /// Fraction of the rate of products that is reached if no launch takes longer than what bounds it.
    pub(crate) share_of_rate: f64,
    /// Seconds that launching alone takes the host, were the launches not one graph.
    pub(crate) seconds_to_launch: f64,
    /// Whether a launch has more blocks than a device accepts.
    pub(crate) too_many_blocks: bool,
    pub(crate) all: Cost,
    pub(crate) phases: Vec<(&'static str, Cost)>,
    pub(crate) kernels: Vec<(String, Cost)>,
}

/// Launches, their work and their time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cost {
    pub(crate) launches: usize,
    pub(crate) flops: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Seconds of it that arithmetic would take alone.
    pub(crate) arithmetic_seconds: f64,
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

impl LaunchReport {
    /// Reports programs of one precision, each with its name.
    pub fn of_plans(programs: &[(&'static str, &Plan)], card: Card) -> LaunchReport {
        let machine = card.machine(programs[0].1.precision);
        let programs = programs.iter().map(|(name, plan)| ProgramReport::of(name, plan, &machine)).collect();
        let Machine { gflop_per_s, gigabytes_per_s } = machine;
        LaunchReport { card: card.name(), gflop_per_s, gigabytes_per_s, programs }
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
            kernels.entry(step.task.name()).or_default().add(&cost);
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
                .filter_map(LaunchStep::launch)
                .any(|launch| launch.blocks > MAX_BLOCKS),
            all,
            phases: phases.into_iter().map(|(phase, cost)| (phase.name(), cost)).collect(),
            kernels: kernels.into_iter().collect(),
        }
    }
}
