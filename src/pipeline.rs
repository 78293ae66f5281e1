//! The one place where the stages meet.

use crate::device::{Device, Executable, Form};
use crate::graph::Graph;
use crate::ir::{Model, Precision};
use crate::lower::{Program, Sizes, lower};
use crate::passes::{PassReport, optimize, simplify};
use crate::plan::{Demands, Plan, plan, plan_for, round_factors};

/// What compiling one program yields.
pub struct Compiled {
    /// The graph after all passes.
    pub graph: Graph,
    /// Operators before and after each pass.
    pub passes: Vec<PassReport>,
    /// What runs.
    pub plan: Plan,
}

/// Compiles one program of `model` to a plan for the CPU.
pub fn compile(model: &Model, program: Program, options: Sizes) -> Compiled {
    compile_for(model, program, options, Demands::cpu(model.precision()))
}

/// Compiles one program of `model` to a plan that a device asks for.
pub fn compile_for(model: &Model, program: Program, options: Sizes, demands: Demands) -> Compiled {
    let mut graph = lower(model, program, options);
    let passes = optimize(&mut graph);
    if demands.storage == Precision::Bf16 {
        round_factors(&mut graph);
    }
    let plan = plan_for(&graph, demands);
    Compiled { graph, passes, plan }
}

/// Compiles one program of `model` to what `device` runs.
pub fn executable(model: &Model, program: Program, options: Sizes, device: &dyn Device) -> Executable {
    match device.form() {
        Form::Plan => {
            let demands = device.demands(model.precision());
            Executable::Plan(compile_for(model, program, options, demands).plan)
        }
        Form::Graph => Executable::Graph(simplified(model, program, options)),
    }
}

/// Returns the graph of one program with nothing fused.
fn simplified(model: &Model, program: Program, options: Sizes) -> Graph {
    let mut graph = lower(model, program, options);
    simplify(&mut graph);
    graph
}

/// Returns the floating-point operations of products and attention in one program as it is lowered, before
/// any pass skips work.
pub fn lowered_flops(model: &Model, program: Program, options: Sizes) -> u64 {
    plan(&simplified(model, program, options), model.precision()).flops()
}
