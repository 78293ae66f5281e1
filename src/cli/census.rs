//! What the compiler knows about a model without running it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use super::terminal::{bytes, counted, flops, grouped};
use crate::graph::Phase;
use crate::ir::{Gradient, Model, Step};
use crate::lower::parameters::{
    EMBED_POSITIONS, EMBED_TOKENS, PUZZLE_TABLE, Parameter, Q_BIAS, Q_HEAD, Role, TOKEN_HEAD, parameters,
};
use crate::lower::{Program, Sizes};
use crate::passes::PassReport;
use crate::pipeline::compile;
use crate::plan::{Plan, Work, session_bytes};

/// Cost of a model at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Census {
    model: String,
    /// Rows in a batch, `B`.
    pub(super) batch: usize,
    puzzle_rows: usize,
    /// Where the number of puzzle rows comes from; absent without a puzzle table.
    puzzle_rows_origin: Option<String>,
    pub(super) parameters: ParameterCount,
    /// Absent in a spec without a `train` block.
    pub(super) train: Option<TrainCost>,
    pub(super) evaluate: ProgramCost,
    /// Bytes of a session that trains and evaluates.
    session_bytes: u64,
}

/// Elements of the weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ParameterCount {
    pub(super) networks: Vec<NetworkCount>,
    pub(super) token_embedding: u64,
    pub(super) position_embedding: u64,
    pub(super) puzzle_table: u64,
    pub(super) token_head: u64,
    pub(super) q_head: u64,
    /// Everything that is trained.
    pub(super) total: u64,
    total_without_puzzle_table: u64,
    /// Initial states: drawn once and never trained, so not in the total.
    fixed: u64,
}

/// Elements of the weights of one network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct NetworkCount {
    pub(super) name: String,
    layers: usize,
    pub(super) parameters: u64,
}

/// Cost of one segment of training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TrainCost {
    #[serde(flatten)]
    pub(super) program: ProgramCost,
    /// Activations that the forward pass keeps for the backward pass.
    pub(super) kept_bytes: u64,
    /// The same in the model with every loop count doubled.
    kept_bytes_with_doubled_loops: u64,
    /// How the spec spells the gradient policy.
    gradient: String,
}

/// Cost of one run of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ProgramCost {
    phases: BTreeMap<&'static str, PhaseCost>,
    pub(super) flops: u64,
    pub(super) memory: MemoryCost,
    passes: Vec<PassCost>,
}

/// Cost of one phase of a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct PhaseCost {
    calls: usize,
    flops: u64,
    bytes: u64,
}

/// Bytes that a program needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct MemoryCost {
    weights: u64,
    /// Moving averages of the weights.
    averages: u64,
    optimizer: u64,
    carry: u64,
    /// Inputs and results of each row.
    rows: u64,
    activations: u64,
    pub(super) peak: u64,
}

/// Operators before and after one pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct PassCost {
    name: &'static str,
    before: usize,
    after: usize,
}

impl Census {
    /// Compiles `model` for training and evaluation and records what that costs.
    pub fn take(model: &Model, options: Sizes, puzzle_rows_origin: Option<String>) -> Census {
        let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
        let evaluate = compile(model, Program::Evaluate { averaged }, options);
        let train = model.train.as_ref().map(|_| compile(model, Program::Train, options));
        let plans: Vec<&Plan> = train.iter().chain([&evaluate]).map(|compiled| &compiled.plan).collect();
        let session_bytes = session_bytes(&plans);
        let train = train.map(|compiled| TrainCost {
            program: ProgramCost::new(&compiled.plan, &compiled.passes),
            kept_bytes: compiled.plan.kept_bytes as u64,
            kept_bytes_with_doubled_loops: kept_with_doubled_loops(model, options) as u64,
            gradient: spell(&model.gradient),
        });
        Census {
            model: model.name.clone(),
            batch: options.batch,
            puzzle_rows: options.puzzle_rows,
            puzzle_rows_origin,
            parameters: ParameterCount::new(model, options.puzzle_rows),
            train,
            evaluate: ProgramCost::new(&evaluate.plan, &evaluate.passes),
            session_bytes,
        }
    }

    /// Returns the census as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        json!(self)
    }

    /// Returns the census as text for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_parameters(&mut text);
        self.write_work(&mut text);
        self.write_memory(&mut text);
        self.write_passes(&mut text);
        text
    }

    fn write_parameters(&self, text: &mut String) {
        let parameters = &self.parameters;
        let _ = writeln!(text, "parameters of `{}`", self.model);
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
        if let Some(origin) = &self.puzzle_rows_origin {
            let remark = format!("{}, {origin}", counted(self.puzzle_rows, "row"));
            line("puzzle table", parameters.puzzle_table, &remark);
        }
        line("token head", parameters.token_head, "");
        if parameters.q_head > 0 {
            line("q head", parameters.q_head, "");
        }
        line("total", parameters.total, "");
        if self.puzzle_rows_origin.is_some() {
            line("total without puzzle table", parameters.total_without_puzzle_table, "");
        }
        line("initial states", parameters.fixed, "fixed, not in the total");
    }

    fn write_work(&self, text: &mut String) {
        let _ = writeln!(text, "\nwork of one segment, {}", counted(self.batch, "row"));
        if let Some(train) = &self.train {
            let _ = writeln!(text, "  training{:>41}", flops(train.program.flops));
            write_phases(text, &train.program);
        }
        let _ = writeln!(text, "  evaluation{:>39}", flops(self.evaluate.flops));
        write_phases(text, &self.evaluate);
    }

    fn write_memory(&self, text: &mut String) {
        let _ = writeln!(text, "\nmemory for {}", counted(self.batch, "row"));
        if let Some(train) = &self.train {
            write_memory(text, "training", &train.program.memory);
        }
        write_memory(text, "evaluation", &self.evaluate.memory);
        if let Some(train) = &self.train {
            let _ = writeln!(text, "  both in one session{:>30}", bytes(self.session_bytes));
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

    fn write_passes(&self, text: &mut String) {
        let _ = writeln!(text, "\noperators before and after each pass");
        let show =
            |pass: &PassCost| format!("{} -> {}", grouped(pass.before as u64), grouped(pass.after as u64));
        let train = self.train.as_ref().map(|train| &train.program.passes);
        let _ = match train {
            Some(_) => writeln!(text, "  {:<26}{:>18}{:>18}", "", "training", "evaluation"),
            None => writeln!(text, "  {:<26}{:>18}", "", "evaluation"),
        };
        for (index, pass) in self.evaluate.passes.iter().enumerate() {
            let _ = match train {
                Some(train) => {
                    writeln!(text, "  {:<26}{:>18}{:>18}", pass.name, show(&train[index]), show(pass))
                }
                None => writeln!(text, "  {:<26}{:>18}", pass.name, show(pass)),
            };
        }
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

fn write_memory(text: &mut String, name: &str, memory: &MemoryCost) {
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

impl ParameterCount {
    fn new(model: &Model, puzzle_rows: usize) -> ParameterCount {
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
            let part = match memory.name.split_once('.') {
                Some(("param", _)) => &mut cost.weights,
                Some(("average", _)) => &mut cost.averages,
                Some(("moment1" | "moment2" | "step", _)) => &mut cost.optimizer,
                Some((_, rest)) if rest.starts_with("carry.") => &mut cost.carry,
                _ => &mut cost.rows,
            };
            *part = part.saturating_add(memory.ty.bytes() as u64);
        }
        cost
    }
}

/// Compiles training with every loop count doubled and returns the bytes it keeps for the backward pass.
fn kept_with_doubled_loops(model: &Model, options: Sizes) -> usize {
    let mut doubled = model.clone();
    double_loops(&mut doubled.segment);
    compile(&doubled, Program::Train, options).plan.kept_bytes
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
fn spell(gradient: &Gradient) -> String {
    match gradient {
        Gradient::OneStep => "one_step".to_string(),
        Gradient::Last { count: 1, label } => format!("last {label}"),
        Gradient::Last { count, label } => format!("last {count} {label}"),
        Gradient::Full => "full".to_string(),
    }
}
