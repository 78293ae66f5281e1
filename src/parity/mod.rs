//! Parity: trains and evaluates a recorded model as any other and compares every recorded value.
//!
//! Three things are run: training-mode calls with fixed weights (outputs, carry, losses, metrics, and the
//! gradients of the first), evaluation from an empty carry, and optimizer steps. A value may differ from
//! the record by ten times the noise of its group, which is how far an f32 evaluation was from an f64 one.
//! Three allowances are needed beyond that:
//!
//! * A loss over a batch is one number, and a single sample of its noise may be near zero by luck. It is the
//!   sum over rows of a function of the Q values whose slope is at most 1, so its noise counts as at least
//!   that of the Q values.
//! * The record is f32, so nothing can be compared more closely than a few units in the last place of the
//!   largest value of its group ([`ROUNDING`]).
//! * The first updates act like the sign of the gradient: an element whose gradient is nearly zero may step
//!   the other way by rounding alone. [`SIGN_FRACTION`] of the elements may be off by up to `2 lr` per update, and
//!   what is computed from updated weights is compared to [`AFTER_UPDATE`] of the group's largest value.
//!
//! A model that multiplies in bf16 is compared with the f32 record by the root mean square of the differences of
//! a group, relative to that of the record, and only for one segment: the recurrence of random weights amplifies any
//! rounding from segment to segment. Compared are outputs and carry of the first segment ([`BF16_OUTPUTS`]) and its
//! gradients ([`BF16_GRADIENTS`]), these only if rounding has made no answer right or wrong, for that changes what the
//! Q values are trained towards.

mod calls;
mod fixture;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::DataError;
use crate::device::{Device, DeviceError, EngineOptions, Form};
use crate::ir::Precision;
use crate::train::Error;

pub use fixture::{Fixture, FixtureError, Noise, RecordedValues};

/// Bound as a multiple of the recorded noise.
pub const NOISE_FACTOR: f64 = 10.0;
/// Units in the last place of the largest value of a group that rounding of the record itself allows.
pub const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;
/// Fraction of the elements of updated weights that may have stepped the other way.
pub const SIGN_FRACTION: f64 = 1e-4;
/// Relative bound of what is computed from updated weights.
pub const AFTER_UPDATE: f64 = 1e-4;
/// Bound of outputs in bf16, relative to their root mean square.
///
/// Rounding a factor to eight bits is off by 2^-9 / sqrt(3) of it at random, so each product and each residual branch
/// adds about 0.16% at random; dozens of them in a row, in a recurrence that may amplify, add up to a few percent
/// (4.4% at most in the recorded models).
pub const BF16_OUTPUTS: f64 = 0.10;
/// Bound of gradients in bf16, relative to their root mean square: they go through all that again.
pub const BF16_GRADIENTS: f64 = 0.15;

/// Comparison of one group of values.
#[derive(Debug, Clone, Serialize)]
pub struct ReportRow {
    /// Name of the group, as in the fixture's `noise`.
    pub group: String,
    /// Values compared.
    pub values: usize,
    /// Largest difference; in bf16 the root mean square of all, relative to the record.
    pub largest: f64,
    /// Tensor and element with the largest difference.
    pub worst: String,
    /// Bound of the difference.
    pub bound: f64,
    /// Elements beyond the bound that the allowance for sign-like updates covers.
    pub excused: usize,
    /// Whether the group agrees.
    pub pass: bool,
}

/// Comparison of a fixture on a device.
///
/// # Examples
///
/// ```
/// use hrmc::{Fixture, Places, devices};
///
/// let cpu = &devices(&Places::default())[0];
/// // The record of a published model, where the sources of hrmc are.
/// if let Ok(fixture) = Fixture::open("tests/fixtures/rope-nopuzzle.json".as_ref()) {
///     let verdict = fixture.verify(&**cpu, 2)?;
///     assert!(verdict.pass, "{} tensors", verdict.tensors);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Name of the fixture.
    pub fixture: String,
    /// Device it ran on.
    pub device: &'static str,
    /// One row per group.
    pub rows: Vec<ReportRow>,
    /// Recorded tensors that were compared.
    pub tensors: usize,
    /// What was not compared, and why.
    pub note: Option<String>,
    /// Whether every group agrees.
    pub pass: bool,
}

/// How much of a fixture is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything that is recorded.
    Whole,
    /// The first training-mode call with its gradients.
    FirstSegment,
}

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The device cannot run the model.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The recorded rows are none of the model.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be trained or evaluated.
    #[error(transparent)]
    Train(#[from] Error),
    /// The record has a tensor that no rule explains.
    #[error("fixture `{fixture}` records `{tensor}`, which no rule of the format explains")]
    Unexplained {
        /// Name of the fixture.
        fixture: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// A recorded tensor has another size than what was computed.
    #[error("fixture `{fixture}`: `{tensor}` has {recorded} elements where the model yields {computed}")]
    Size {
        /// Name of the fixture.
        fixture: String,
        /// Name of the tensor.
        tensor: String,
        /// Elements recorded.
        recorded: usize,
        /// Elements computed.
        computed: usize,
    },
}

impl Fixture {
    /// Trains and evaluates the recorded model on `device` and compares everything that is recorded; a device that
    /// interprets a graph only runs the first segment.
    ///
    /// # Errors
    ///
    /// Returns an error if the device cannot run the model or the record cannot be matched with it.
    pub fn verify(&self, device: &dyn Device, threads: usize) -> Result<Verdict, VerifyError> {
        let extent = match device.form() {
            Form::Plan => Extent::Whole,
            Form::Graph => Extent::FirstSegment,
        };
        verify(self, device, threads, extent)
    }
}

/// Runs `fixture` on `device` and compares what comes out.
///
/// # Errors
///
/// Returns an error if the device cannot run the model or the record cannot be matched with it.
pub fn verify(
    fixture: &Fixture,
    device: &dyn Device,
    threads: usize,
    extent: Extent,
) -> Result<Verdict, VerifyError> {
    let rounded = fixture.model.precision() == Precision::Bf16;
    let computed = calls::run(fixture, device, EngineOptions { threads }, extent)?;
    let recorded = fixture.tensors.get(&format!("expect.{EXACT}")).map(RecordedValues::wide);
    let same_answers = !rounded || computed.get(EXACT) == recorded.as_ref();
    let mut groups: BTreeMap<String, Quantity> = BTreeMap::new();
    let mut tensors = 0;
    for (name, recorded) in &fixture.tensors {
        let Some(item) = name.strip_prefix("expect.") else { continue };
        if rounded && !(survives_rounding(item) && (same_answers || !item.starts_with("grad."))) {
            continue;
        }
        if extent == Extent::FirstSegment && !item.starts_with("segment.0.") && !item.starts_with("grad.") {
            continue;
        }
        let unexplained = || VerifyError::Unexplained { fixture: fixture.name.clone(), tensor: name.clone() };
        let group = group_of(item).ok_or_else(unexplained)?;
        let values = computed.get(item).ok_or_else(unexplained)?;
        let recorded = recorded.wide();
        if recorded.len() != values.len() {
            return Err(VerifyError::Size {
                fixture: fixture.name.clone(),
                tensor: name.clone(),
                recorded: recorded.len(),
                computed: values.len(),
            });
        }
        tensors += 1;
        let noise = noise_of(fixture, &group).ok_or_else(unexplained)?;
        let learning_rate = fixture.learning_rate(&group);
        groups
            .entry(group.clone())
            .or_insert_with(|| Quantity::new(&group, &noise, learning_rate, rounded))
            .compare(item, &recorded, values);
    }
    let rows: Vec<ReportRow> = groups.into_values().map(Quantity::finish).collect();
    let pass = rows.iter().all(|row| row.pass);
    let note = (!same_answers).then(|| {
        "gradients are not compared: rounding made an answer right or wrong, which changes the Q targets"
            .to_string()
    });
    Ok(Verdict { fixture: fixture.name.clone(), device: device.name(), rows, tensors, note, pass })
}

/// The tensor that counts exactly right answers in the first segment.
const EXACT: &str = "segment.0.metric.exact_accuracy";

/// Returns whether a tensor depends on no decision and no update, so that it can be compared in bf16.
fn survives_rounding(item: &str) -> bool {
    let what = item.rsplit('.').next().unwrap_or_default();
    let continuous = ["logits", "q_halt_logits", "q_continue_logits", "z_H", "z_L"].contains(&what);
    item.starts_with("grad.") || continuous && item.starts_with("segment.0.")
}

/// Returns the group whose noise bounds a tensor, named without `expect.`.
fn group_of(item: &str) -> Option<String> {
    let parts: Vec<&str> = item.split('.').collect();
    match parts[..] {
        ["grad", ..] => Some("grad".to_string()),
        ["segment", _, ..] => Some(format!("segment.{}", parts[2..].join("."))),
        ["eval" | "ema_eval", ..] => Some(item.to_string()),
        ["train", step, "param", "inner", "puzzle_emb", ..] => Some(format!("train.{step}.param.puzzle_emb")),
        ["train", step, kind @ ("param" | "ema"), ..] => Some(format!("train.{step}.{kind}")),
        ["train", _, ref rest @ ..] if !rest.is_empty() => Some(format!("train.{}", rest.join("."))),
        _ => None,
    }
}

/// Returns the recorded noise of a group, for losses at least that of the Q values they are made of.
fn noise_of(fixture: &Fixture, group: &str) -> Option<Noise> {
    let mut noise = fixture.noise.get(group)?.clone();
    let sources: &[&str] = match group.rsplit('.').next() {
        Some("q_halt_loss") => &["q_halt_logits"],
        Some("q_continue_loss") => &["q_continue_logits"],
        Some("loss") => &["q_halt_logits", "q_continue_logits"],
        _ => &[],
    };
    let call = group.split('.').next().unwrap_or_default();
    for source in sources.iter().filter_map(|source| fixture.noise.get(&format!("{call}.{source}"))) {
        noise.f32_vs_f64_max_abs = noise.f32_vs_f64_max_abs.max(source.f32_vs_f64_max_abs);
    }
    Some(noise)
}

/// What may differ in a group besides rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Allowance {
    None,
    /// Some elements by up to this much: updated weights.
    Sign(f64),
    /// Everything by this much: computed from updated weights.
    Everywhere(f64),
}

struct Quantity {
    name: String,
    /// Bound of everything that no update came before.
    strict: f64,
    bound: f64,
    allowance: Allowance,
    values: usize,
    largest: f64,
    worst: (f64, String),
    beyond: usize,
    broken: bool,
    /// Whether the root mean square counts.
    rounded: bool,
    /// Sums of the squares of differences and of the record.
    squares: [f64; 2],
}

impl Quantity {
    fn new(name: &str, noise: &Noise, learning_rate: f64, rounded: bool) -> Self {
        let allowance = allowance_of(name, noise, learning_rate);
        let strict = (NOISE_FACTOR * noise.f32_vs_f64_max_abs).max(ROUNDING * noise.max_abs);
        let mut bound = strict;
        if let Allowance::Everywhere(slack) = allowance {
            bound = bound.max(slack);
        }
        Quantity {
            name: name.to_string(),
            strict,
            bound,
            allowance,
            values: 0,
            largest: 0.0,
            worst: (-1.0, String::new()),
            beyond: 0,
            broken: false,
            rounded,
            squares: [0.0; 2],
        }
    }

    fn compare(&mut self, item: &str, recorded: &[f64], computed: &[f64]) {
        self.values += recorded.len();
        // The first call of training runs with the recorded weights.
        let first_call = item.starts_with("train.1.") && matches!(self.allowance, Allowance::Everywhere(_));
        let bound = if first_call { self.strict } else { self.bound };
        for (index, (recorded, computed)) in recorded.iter().zip(computed).enumerate() {
            let difference = (recorded - computed).abs();
            self.squares[0] += difference * difference;
            self.squares[1] += recorded * recorded;
            // A comparison that is false for NaN counts NaN as broken.
            let within = difference <= bound;
            if difference > self.worst.0 || difference.is_nan() {
                self.worst = (difference, format!("{item}[{index}]"));
            }
            self.largest = if difference.is_nan() { f64::NAN } else { self.largest.max(difference) };
            if !within {
                self.beyond += 1;
                let excusable = matches!(self.allowance, Allowance::Sign(limit) if difference <= limit);
                self.broken |= !excusable;
            }
        }
    }

    fn finish(self) -> ReportRow {
        if self.rounded {
            let bound = if self.name == "grad" { BF16_GRADIENTS } else { BF16_OUTPUTS };
            let relative = (self.squares[0] / self.squares[1].max(f64::MIN_POSITIVE)).sqrt();
            return ReportRow {
                group: self.name,
                values: self.values,
                largest: relative,
                worst: self.worst.1,
                bound,
                excused: 0,
                pass: relative <= bound,
            };
        }
        let excusable = (self.values as f64 * SIGN_FRACTION).ceil() as usize;
        let pass = !self.broken && (self.beyond == 0 || self.beyond <= excusable);
        ReportRow {
            group: self.name,
            values: self.values,
            largest: self.largest,
            worst: self.worst.1,
            bound: self.bound,
            excused: if pass { self.beyond } else { 0 },
            pass,
        }
    }
}

fn allowance_of(group: &str, noise: &Noise, learning_rate: f64) -> Allowance {
    let parts: Vec<&str> = group.split('.').collect();
    match parts[..] {
        ["train", step, "param" | "ema", ..] => {
            Allowance::Sign(2.0 * learning_rate * step.parse::<f64>().unwrap_or(1.0))
        }
        ["train", "halted"] => Allowance::None,
        ["train", ..] => Allowance::Everywhere(AFTER_UPDATE * noise.max_abs),
        ["ema_eval", "metric", name] if !name.ends_with("loss") => Allowance::None,
        ["ema_eval", ..] => Allowance::Everywhere(AFTER_UPDATE * noise.max_abs),
        _ => Allowance::None,
    }
}
