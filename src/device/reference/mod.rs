//! The oracle: luminal runs the decomposed graph, on one thread.

use std::collections::BTreeMap;

use super::memory::{Buffer, Memory, MemoryId};
use super::{Device, DeviceError, Engine, EngineOptions, Executable, Form, Observe, Status};
use crate::graph::decomposed::Decomposed;
use crate::graph::{DType, TensorType};

const NAME: &str = "reference";

/// luminal's primitives, interpreted: slow, and only for tiny models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference;

impl Device for Reference {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "luminal's primitives, interpreted: slow, and only for tiny models"
    }

    fn form(&self) -> Form {
        Form::Graph
    }

    fn is_fast(&self) -> bool {
        false
    }

    fn status(&self) -> Status {
        Status {
            problem: None,
            summary: "luminal's primitives on one thread, to compare with".to_string(),
            details: Vec::new(),
            facts: serde_json::Map::new(),
        }
    }

    fn open(&self, _: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError> {
        Ok(Box::new(Interpreter { programs: BTreeMap::new() }))
    }
}

struct Interpreter {
    programs: BTreeMap<String, Decomposed>,
}

impl Engine for Interpreter {
    fn load(&mut self, name: &str, program: Executable, _: &mut Memory) -> Result<(), DeviceError> {
        let graph = program.into_graph(NAME)?;
        self.programs.insert(name.to_string(), Decomposed::new(&graph));
        Ok(())
    }

    fn run(&mut self, name: &str, memory: &mut Memory, _: Option<Observe<'_>>) -> Result<(), DeviceError> {
        let program = self.programs.get_mut(name).expect("the program is loaded");
        let find =
            |memory: &Memory, name: &str| memory.id(name).expect("a session has the memory of its programs");
        let results = program.run(|name| {
            let id = find(memory, name);
            numbers(memory.content(id), memory.ty(id))
        });
        for (name, values) in results {
            let id = find(memory, &name);
            memory.write(id).as_f32_mut()[..values.len()].copy_from_slice(&values);
        }
        Ok(())
    }

    fn fetch(&mut self, _: MemoryId, _: &mut Buffer) -> Result<(), DeviceError> {
        unreachable!("everything is written on the host")
    }

    fn bytes(&self, memory: &Memory) -> usize {
        memory.bytes()
    }
}

/// Returns the first elements of a buffer, as many as the type has, as primitives hold them: all are f32.
pub fn numbers(buffer: &Buffer, ty: &TensorType) -> Vec<f32> {
    match ty.dtype {
        DType::F32 => buffer.as_f32()[..ty.elements()].to_vec(),
        DType::I32 => buffer.as_i32()[..ty.elements()].iter().map(|&value| value as f32).collect(),
    }
}
