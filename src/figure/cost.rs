//! What a segment costs, in the figures that the compiler has of it.

use std::collections::BTreeMap;

use crate::census::ParameterCount;
use crate::graph::{Phase, TensorType};
use crate::ir::Model;
use crate::lower::names::Scope;
use crate::lower::{Program, Purpose, Sizes};
use crate::pipeline::compile;
use crate::plan::Work;

/// Cost of one segment of training, or of evaluation for a model that is not trained.
pub(super) struct SegmentCost {
    pub sizes: Sizes,
    pub scope: Scope,
    pub parameters: ParameterCount,
    /// Work of each phase.
    pub phases: BTreeMap<Phase, Work>,
    /// Activations that the forward pass keeps for the backward pass.
    pub kept_bytes: u64,
    by_purpose: BTreeMap<(Phase, Purpose), Work>,
    memory: BTreeMap<String, TensorType>,
}

impl SegmentCost {
    /// Compiles the segment.
    pub fn of(model: &Model, sizes: Sizes) -> SegmentCost {
        let (program, scope) = match &model.train {
            Some(_) => (Program::Train, Scope::Train),
            None => (Program::Evaluate { averaged: false }, Scope::Evaluate),
        };
        let plan = compile(model, program, sizes).plan;
        SegmentCost {
            sizes,
            scope,
            parameters: ParameterCount::of(model, sizes.puzzle_rows),
            phases: plan.work(),
            kept_bytes: plan.kept_bytes as u64,
            by_purpose: plan.work_by(|call| (call.phase, Purpose::of(call.stretch))),
            memory: plan.memory.into_iter().map(|memory| (memory.name, memory.ty)).collect(),
        }
    }

    /// Returns the work of a phase for a purpose.
    pub fn work(&self, phase: Phase, purpose: Purpose) -> Work {
        self.by_purpose.get(&(phase, purpose)).copied().unwrap_or_default()
    }

    /// Returns the operations of a phase.
    pub fn flops(&self, phase: Phase) -> u64 {
        self.phases.get(&phase).map_or(0, |work| work.flops)
    }

    /// Returns the type of what the memory of this name holds, if the program has it.
    pub fn memory(&self, name: &str) -> Option<&TensorType> {
        self.memory.get(name)
    }
}
