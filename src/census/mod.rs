//! What the compiler knows about a model without running it: parameters, work and memory, as data that serialises.

mod diff;
#[cfg(feature = "cuda")]
mod launches;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::device::cpu::Cpu;
use crate::device::{Device, EngineOptions, ResidentMemory};
use crate::graph::Phase;
use crate::ir::{Gradient, Model, Step};
use crate::lower::names::{MemoryKind, memory_kind};
use crate::lower::parameters::{
    EMBED_POSITIONS, EMBED_TOKENS, PUZZLE_TABLE, Parameter, Q_BIAS, Q_HEAD, Role, TOKEN_HEAD, parameters,
};
use crate::lower::{Program, Sizes};
use crate::passes::PassReport;
use crate::pipeline::compile;
use crate::plan::{Plan, Work};

pub use crate::lower::parameters::trained_parameters;
pub use diff::{CostChange, FigureUnit};

use diff::cost_changes;

/// Cost of a model at one batch size.
///
/// # Examples
///
/// ```
/// use hrmc::{Census, CensusOptions, Sizes, Spec};
///
/// let spec = Spec::open("specs/sudoku-small.hrm", &[])?;
/// let census = Census::of(spec.model(), Sizes::of(spec.model()), CensusOptions::default());
/// let json = serde_json::to_value(&census)?;
/// println!("{} parameters", json["parameters"]["total"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Census {
    pub(crate) model: String,
    /// Rows in a batch, `B`.
    pub(crate) batch: usize,
    pub(crate) puzzle_rows: usize,
    /// Where the number of puzzle rows comes from; absent without a puzzle table.
    pub(crate) puzzle_rows_origin: Option<String>,
    pub(crate) parameters: ParameterCount,
    /// Absent in a spec without a `train` block.
    pub(crate) train: Option<TrainCost>,
    pub(crate) evaluate: ProgramCost,
    /// Bytes that a process takes at most that trains and evaluates on the processor.
    pub(crate) session_bytes: u64,
    /// The same by what it is for.
    pub(crate) session: ResidentMemory,
    /// Threads of that process.
    pub(crate) threads: usize,
}

/// What a census takes from outside of the model.
///
/// # Examples
///
/// ```
/// use hrmc::{Census, CensusOptions, Sizes, Spec};
///
/// let spec = Spec::open("specs/sudoku-small.hrm", &[])?;
/// let bytes = |threads| {
///     let options = CensusOptions { threads, ..CensusOptions::default() };
///     serde_json::json!(Census::of(spec.model(), Sizes::of(spec.model()), options))["session_bytes"].as_u64()
/// };
/// assert!(bytes(8) > bytes(1), "each thread has working memory");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CensusOptions {
    /// Where the number of puzzle rows comes from; absent without a puzzle table.
    pub puzzle_rows_origin: Option<String>,
    /// Rows of an evaluation batch during a training; those of the training batch if absent.
    pub evaluate_batch: Option<usize>,
    /// Bytes of the data in memory.
    pub data_bytes: u64,
    /// Threads that train.
    pub threads: usize,
}

impl Default for CensusOptions {
    /// One thread for each core, and no data.
    fn default() -> Self {
        let EngineOptions { threads } = EngineOptions::default();
        CensusOptions { puzzle_rows_origin: None, evaluate_batch: None, data_bytes: 0, threads }
    }
}

/// Elements of the weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterCount {
    pub(crate) networks: Vec<NetworkCount>,
    pub(crate) token_embedding: u64,
    pub(crate) position_embedding: u64,
    pub(crate) puzzle_table: u64,
    pub(crate) token_head: u64,
    pub(crate) q_head: u64,
    /// Everything that is trained.
    pub(crate) total: u64,
    pub(crate) total_without_puzzle_table: u64,
    /// Initial states: drawn once and never trained, so not in the total.
    pub(crate) fixed: u64,
}

/// Elements of the weights of one network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkCount {
    pub(crate) name: String,
    pub(crate) layers: usize,
    pub(crate) parameters: u64,
}

/// Cost of one segment of training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainCost {
    #[serde(flatten)]
    pub(crate) program: ProgramCost,
    /// Activations that the forward pass keeps for the backward pass.
    pub(crate) kept_bytes: u64,
    /// The same in the model with every loop count doubled.
    pub(crate) kept_bytes_with_doubled_loops: u64,
    /// How the spec spells the gradient policy.
    pub(crate) gradient: String,
}

/// Cost of one run of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgramCost {
    pub(crate) phases: BTreeMap<&'static str, PhaseCost>,
    pub(crate) flops: u64,
    pub(crate) memory: MemoryCost,
    pub(crate) passes: Vec<PassCost>,
}

/// Cost of one phase of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseCost {
    pub(crate) calls: usize,
    pub(crate) flops: u64,
    pub(crate) bytes: u64,
}

/// Bytes that a program needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryCost {
    pub(crate) weights: u64,
    /// Moving averages of the weights.
    pub(crate) averages: u64,
    pub(crate) optimizer: u64,
    pub(crate) carry: u64,
    /// Inputs and results of each row.
    pub(crate) rows: u64,
    pub(crate) activations: u64,
    pub(crate) peak: u64,
}

/// Operators before and after one pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PassCost {
    pub(crate) name: &'static str,
    pub(crate) before: usize,
    pub(crate) after: usize,
}

impl Census {
    /// Compiles `model` for training and evaluation and records what that costs.
    pub fn of(model: &Model, sizes: Sizes, options: CensusOptions) -> Census {
        let CensusOptions { puzzle_rows_origin, evaluate_batch, data_bytes, threads } = options;
        let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
        let evaluate = compile(model, Program::Evaluate { averaged }, sizes);
        let train = model.train.as_ref().map(|_| compile(model, Program::Train, sizes));
        let during_training = evaluate_batch.filter(|batch| *batch != sizes.batch && train.is_some());
        let during_training = during_training
            .map(|batch| compile(model, Program::Evaluate { averaged }, Sizes { batch, ..sizes }));
        let both = train.iter().chain([during_training.as_ref().unwrap_or(&evaluate)]);
        let plans: Vec<&Plan> = both.map(|compiled| &compiled.plan).collect();
        let session = Cpu.resident_memory(&plans, &EngineOptions { threads });
        let session = ResidentMemory { data: data_bytes, ..session };
        let train = train.map(|compiled| TrainCost {
            program: ProgramCost::new(&compiled.plan, &compiled.passes),
            kept_bytes: compiled.plan.kept_bytes as u64,
            kept_bytes_with_doubled_loops: kept_with_doubled_loops(model, sizes) as u64,
            gradient: spelled_gradient(&model.gradient),
        });
        Census {
            model: model.name.clone(),
            batch: sizes.batch,
            puzzle_rows: sizes.puzzle_rows,
            puzzle_rows_origin,
            parameters: ParameterCount::of(model, sizes.puzzle_rows),
            train,
            evaluate: ProgramCost::new(&evaluate.plan, &evaluate.passes),
            session_bytes: session.total(),
            session,
            threads,
        }
    }

    /// Returns every figure of this census and of `other`, equal ones too.
    pub fn changes(&self, other: &Census) -> Vec<CostChange> {
        cost_changes(self, other)
    }
}

impl ParameterCount {
    /// Counts the weights of `model`, with a puzzle table of so many rows.
    pub fn of(model: &Model, puzzle_rows: usize) -> ParameterCount {
        let all = parameters(model, puzzle_rows);
        let sum = |wanted: &dyn Fn(&Parameter) -> bool| -> u64 {
            all.iter().filter(|one| wanted(one)).map(|one| one.elements() as u64).sum()
        };
        let named = |names: &[&str]| sum(&|one| names.contains(&one.name.as_str()));
        let puzzle_table = named(&[PUZZLE_TABLE]);
        let total = sum(&|one| one.role != Role::Fixed);
        ParameterCount {
            networks: model
                .networks
                .iter()
                .map(|network| NetworkCount {
                    name: network.name.clone(),
                    layers: network.layers,
                    parameters: sum(&|one| one.network.as_ref() == Some(&network.name)),
                })
                .collect(),
            token_embedding: named(&[EMBED_TOKENS]),
            position_embedding: named(&[EMBED_POSITIONS]),
            puzzle_table,
            token_head: named(&[TOKEN_HEAD]),
            q_head: named(&[Q_HEAD, Q_BIAS]),
            total,
            total_without_puzzle_table: total - puzzle_table,
            fixed: sum(&|one| one.role == Role::Fixed),
        }
    }
}

impl ProgramCost {
    fn new(plan: &Plan, passes: &[PassReport]) -> ProgramCost {
        let phase = |(phase, work): (Phase, Work)| {
            (phase.name(), PhaseCost { calls: work.calls, flops: work.flops, bytes: work.bytes })
        };
        let pass = |pass: &PassReport| PassCost { name: pass.name, before: pass.before, after: pass.after };
        ProgramCost {
            phases: plan.work().into_iter().map(phase).collect(),
            flops: plan.flops(),
            memory: MemoryCost::new(plan),
            passes: passes.iter().map(pass).collect(),
        }
    }
}

impl MemoryCost {
    fn new(plan: &Plan) -> MemoryCost {
        let mut cost = MemoryCost {
            weights: 0,
            averages: 0,
            optimizer: 0,
            carry: 0,
            rows: 0,
            activations: plan.arena_bytes as u64,
            peak: plan.peak_bytes() as u64,
        };
        for memory in &plan.memory {
            let part = match memory_kind(&memory.name) {
                MemoryKind::Weight => &mut cost.weights,
                MemoryKind::Average => &mut cost.averages,
                MemoryKind::Moment | MemoryKind::StepScalar => &mut cost.optimizer,
                MemoryKind::Carry => &mut cost.carry,
                MemoryKind::Row => &mut cost.rows,
            };
            *part = part.saturating_add(memory.ty.bytes() as u64);
        }
        cost
    }
}

/// Compiles training with every loop count doubled and returns the bytes it keeps for the backward pass.
fn kept_with_doubled_loops(model: &Model, sizes: Sizes) -> usize {
    let mut doubled = model.clone();
    double_loops(&mut doubled.segment);
    compile(&doubled, Program::Train, sizes).plan.kept_bytes
}

fn double_loops(steps: &mut [Step]) {
    for step in steps {
        if let Step::Repeat(repeat) = step {
            repeat.count *= 2;
            double_loops(&mut repeat.body);
        }
    }
}

/// Returns the gradient policy as a spec spells it.
pub fn spelled_gradient(gradient: &Gradient) -> String {
    match gradient {
        Gradient::OneStep => "one_step".to_string(),
        Gradient::Last { count: 1, label } => format!("last {label}"),
        Gradient::Last { count, label } => format!("last {count} {label}"),
        Gradient::Full => "full".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Census, CensusOptions};
    use crate::lower::Sizes;
    use crate::spec::Spec;

    #[test]
    fn costs_serialise_and_a_census_equals_itself() {
        let spec = Spec::quickstart();
        let sizes = Sizes { batch: 2, puzzle_rows: 1 };
        let census = Census::of(spec.model(), sizes, CensusOptions::default());
        let json = serde_json::to_value(&census).expect("it is plain data");
        assert_eq!((&json["batch"], &json["model"]), (&2.into(), &spec.model().name.as_str().into()));
        assert_eq!(json["parameters"]["total"], super::trained_parameters(spec.model(), sizes));
        assert!(census.changes(&census).iter().all(|change| change.old == change.new));
    }
}
