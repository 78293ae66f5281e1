//! The oracle: luminal runs the decomposed graph.

use std::collections::BTreeMap;

use super::Named;
use crate::graph::luminal::Decomposed;
use crate::graph::{DType, Graph};

/// A decomposed graph over the session's memory.
pub(super) struct ReferenceProgram {
    decomposed: Decomposed,
}

impl ReferenceProgram {
    pub(super) fn new(graph: &Graph) -> Self {
        ReferenceProgram { decomposed: Decomposed::new(graph) }
    }

    pub(super) fn run(&mut self, memory: &mut BTreeMap<String, Named>) {
        let results = self.decomposed.run(|name| {
            let named = &memory[name];
            let elements = named.ty.elements();
            match named.ty.dtype {
                DType::F32 => named.buffer.as_f32()[..elements].to_vec(),
                DType::I32 => named.buffer.as_i32()[..elements].iter().map(|&value| value as f32).collect(),
            }
        });
        for (name, values) in results {
            let named = memory.get_mut(&name).expect("outputs have memory");
            named.buffer.as_f32_mut()[..values.len()].copy_from_slice(&values);
        }
    }
}
