//! From a model to a plan: lowering, passes and planning, one after the other. No other module joins these stages.

use std::fmt;

use crate::device::{Device, Executable, Form};
use crate::graph::Graph;
use crate::ir::{Model, Precision};
use crate::lower::{Program, Sizes, lower};
use crate::passes::{PassReport, optimize, simplify};
use crate::plan::{self, Demands, Machine, Plan, plan, plan_for, round_factors};

/// A compiled program: kernel calls in order, with their memory laid out. Its cost is known before it runs.
///
/// # Examples
///
/// ```
/// use hrmc::{Compiled, Program, Sizes, Spec};
///
/// let spec = Spec::quickstart();
/// let compiled = Compiled::of(spec.model(), Program::Train, Sizes::of(spec.model()));
/// println!("{} calls, {} FLOP, {} bytes", compiled.calls(), compiled.flops(), compiled.memory_bytes());
/// assert_eq!(compiled.to_string().lines().filter(|line| line.contains("attention_grad")).count(), 2);
/// ```
pub struct Compiled {
    /// The graph after all passes.
    pub graph: Graph,
    /// Operators before and after each pass.
    pub passes: Vec<PassReport>,
    /// The kernel calls and the layout of memory.
    pub plan: Plan,
}

impl Compiled {
    /// Compiles one program of `model` for the CPU.
    pub fn of(model: &Model, program: Program, sizes: Sizes) -> Compiled {
        compile(model, program, sizes)
    }

    /// Returns the kernel calls of one run.
    pub fn calls(&self) -> usize {
        self.plan.calls.len()
    }

    /// Returns the floating-point operations of products and attention in one run.
    pub fn flops(&self) -> u64 {
        self.plan.flops()
    }

    /// Returns the bytes of memory that the program needs: weights, optimizer state, carry, rows and activations.
    pub fn memory_bytes(&self) -> usize {
        self.plan.peak_bytes()
    }
}

impl fmt::Display for Compiled {
    /// Writes the plan as text, with times predicted for the machine of the benchmarks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plan::to_text(&self.plan, &Machine::reference(self.plan.precision)))
    }
}

/// Compiles one program of `model` to a plan for the CPU.
pub fn compile(model: &Model, program: Program, sizes: Sizes) -> Compiled {
    compile_for(model, program, sizes, Demands::cpu(model.precision()))
}

/// Compiles one program of `model` to a plan that a device asks for.
pub fn compile_for(model: &Model, program: Program, sizes: Sizes, demands: Demands) -> Compiled {
    let mut graph = lower(model, program, sizes);
    let passes = optimize(&mut graph);
    if demands.storage == Precision::Bf16 {
        round_factors(&mut graph);
    }
    let plan = plan_for(&graph, demands);
    Compiled { graph, passes, plan }
}

/// Compiles one program of `model` to what `device` runs.
pub fn executable(model: &Model, program: Program, sizes: Sizes, device: &dyn Device) -> Executable {
    match device.form() {
        Form::Plan => {
            let demands = device.demands(model.precision());
            Executable::Plan(compile_for(model, program, sizes, demands).plan)
        }
        Form::Graph => Executable::Graph(simplified(model, program, sizes)),
    }
}

/// Returns the graph of one program with nothing fused.
fn simplified(model: &Model, program: Program, sizes: Sizes) -> Graph {
    let mut graph = lower(model, program, sizes);
    simplify(&mut graph);
    graph
}

/// Returns the floating-point operations of products and attention in one program as it is lowered, before
/// any pass skips work.
pub fn lowered_flops(model: &Model, program: Program, sizes: Sizes) -> u64 {
    plan(&simplified(model, program, sizes), model.precision()).flops()
}
