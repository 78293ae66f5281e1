//! The one place where the stages meet.

use crate::backend::{Device, Executable};
use crate::graph::Graph;
use crate::ir::Model;
use crate::lower::{Options, Program, lower};
use crate::passes::{PassReport, optimize, simplify};
use crate::plan::{Plan, plan};

/// What compiling one program yields.
pub struct Compiled {
    /// The graph after all passes.
    pub graph: Graph,
    /// Operators before and after each pass.
    pub passes: Vec<PassReport>,
    /// What runs.
    pub plan: Plan,
}

/// Compiles one program of `model` to a plan.
pub fn compile(model: &Model, program: Program, options: Options) -> Compiled {
    let mut graph = lower(model, program, options);
    let passes = optimize(&mut graph);
    let plan = plan(&graph, model.precision());
    Compiled { graph, passes, plan }
}

/// Compiles one program of `model` to what `device` runs.
pub fn executable(model: &Model, program: Program, options: Options, device: Device) -> Executable {
    match device {
        Device::Cpu | Device::Cuda => Executable::of(compile(model, program, options).plan, device),
        Device::Reference => Executable::Decomposed(simplified(model, program, options)),
        Device::LuminalCuda => Executable::LuminalCuda(simplified(model, program, options)),
    }
}

/// Returns the graph of one program with nothing fused.
fn simplified(model: &Model, program: Program, options: Options) -> Graph {
    let mut graph = lower(model, program, options);
    simplify(&mut graph);
    graph
}

/// Returns the floating-point operations of products and attention in one program as it is lowered, before
/// any pass skips work.
pub fn lowered_flops(model: &Model, program: Program, options: Options) -> u64 {
    plan(&simplified(model, program, options), model.precision()).flops()
}
