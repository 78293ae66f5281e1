//! Training steps whose gradients are accumulated: the batch is cut into equal ranges of rows, which go through the
//! programs one after another.
//!
//! The rows of the whole batch have memory of the scope [`Scope::Train`], as without ranges. The programs work on memory
//! of the scope [`Scope::Range`], which has the rows of one range.

use std::ops::Range;

use super::error::Error;
use crate::device::{DeviceError, Session};
use crate::graph::{DType, TensorType};
use crate::lower::Program;
use crate::lower::names::Scope;

/// Name that the program of the last range is loaded under.
pub(super) const PROGRAM: &str = "train";

const PART: Scope = Scope::Range;
const WHOLE: Scope = Scope::Train;

/// How a batch is cut.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Ranges, a power of two.
    count: usize,
    /// Rows of one.
    rows: usize,
    /// What is taken into the memory of a range before it runs.
    taken: Vec<RowMemory>,
    /// What is given back after it.
    given: Vec<RowMemory>,
    has_puzzles: bool,
}

/// Memory with a part for each row.
#[derive(Debug)]
struct RowMemory {
    part: String,
    whole: String,
    dtype: DType,
    /// Elements of a row.
    elements: usize,
}

impl Ranges {
    /// Returns the programs of a step, with the names that they are loaded under, the last one first.
    pub fn programs(last: Program, ranges: usize) -> Vec<(String, Program)> {
        let accumulate =
            (0..ranges.ilog2() as usize).map(|level| (accumulating(level), Program::Accumulate { level }));
        [(PROGRAM.to_owned(), last)].into_iter().chain(accumulate).collect()
    }

    /// Makes room for the rows of the whole batch, after the programs were loaded.
    ///
    /// # Errors
    ///
    /// Returns an error if the memory cannot be had.
    pub fn new(session: &mut Session, count: usize, rows: usize) -> Result<Ranges, DeviceError> {
        let own = [PART.puzzle_gradient(), PART.earlier_puzzle_gradients(), PART.all_puzzles()];
        let read = [
            PART.tokens(),
            PART.labels(),
            PART.puzzles(),
            PART.reset(),
            PART.at_limit(),
            PART.candidates(),
            PART.kept(),
            PART.lost(),
            PART.token_weight(),
            PART.dropout_keys(),
        ];
        let prefix = format!("{}.", PART.name());
        let carried = PART.carry("");
        let parts: Vec<(String, TensorType)> = session
            .names()
            .filter(|(name, _)| name.starts_with(&prefix) && !own.iter().any(|own| own == name))
            .map(|(name, ty)| (name.to_owned(), ty.clone()))
            .collect();
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        for (part, ty) in parts {
            let whole = format!("{}.{}", WHOLE.name(), &part[prefix.len()..]);
            let mut shape = ty.shape.clone();
            shape[0] *= count;
            session.reserve(&whole, &TensorType { dtype: ty.dtype, shape })?;
            let memory = || RowMemory {
                part: part.clone(),
                whole: whole.clone(),
                dtype: ty.dtype,
                elements: ty.elements() / rows,
            };
            let is_carry = part.starts_with(&carried);
            if is_carry || read.contains(&part) {
                taken.push(memory());
            }
            if is_carry || !read.contains(&part) {
                given.push(memory());
            }
        }
        let has_puzzles = session.has(&PART.puzzle_gradient());
        Ok(Ranges { count, rows, taken, given, has_puzzles })
    }

    /// Runs the programs of one step.
    ///
    /// # Errors
    ///
    /// Returns an error if a device fails.
    pub fn run(&self, session: &mut Session) -> Result<(), Error> {
        if self.has_puzzles {
            let all = session.i32(&WHOLE.puzzles())?.to_vec();
            session.i32_mut(&PART.all_puzzles())?.copy_from_slice(&all);
        }
        for index in 0..self.count {
            let rows = index * self.rows..(index + 1) * self.rows;
            for memory in &self.taken {
                memory.take(session, rows.clone())?;
            }
            if index + 1 == self.count {
                session.run(PROGRAM)?;
            } else {
                session.run(&accumulating(index.trailing_ones() as usize))?;
                self.keep_puzzle_gradients(session, index)?;
            }
            for memory in &self.given {
                memory.give(session, rows.clone())?;
            }
        }
        Ok(())
    }

    fn keep_puzzle_gradients(&self, session: &mut Session, index: usize) -> Result<(), DeviceError> {
        if self.has_puzzles {
            let gradients = session.f32(&PART.puzzle_gradient())?.to_vec();
            let place = index * gradients.len()..(index + 1) * gradients.len();
            session.f32_mut(&PART.earlier_puzzle_gradients())?[place].copy_from_slice(&gradients);
        }
        Ok(())
    }
}

/// Returns the name of the program that keeps its sums at a level.
fn accumulating(level: usize) -> String {
    format!("accumulate.{level}")
}

impl RowMemory {
    fn take(&self, session: &mut Session, rows: Range<usize>) -> Result<(), DeviceError> {
        let range = rows.start * self.elements..rows.end * self.elements;
        match self.dtype {
            DType::F32 => {
                let values = session.f32(&self.whole)?[range].to_vec();
                session.f32_mut(&self.part)?.copy_from_slice(&values);
            }
            DType::I32 => {
                let values = session.i32(&self.whole)?[range].to_vec();
                session.i32_mut(&self.part)?.copy_from_slice(&values);
            }
        }
        Ok(())
    }

    fn give(&self, session: &mut Session, rows: Range<usize>) -> Result<(), DeviceError> {
        let range = rows.start * self.elements..rows.end * self.elements;
        match self.dtype {
            DType::F32 => {
                let values = session.f32(&self.part)?.to_vec();
                session.f32_mut(&self.whole)?[range].copy_from_slice(&values);
            }
            DType::I32 => {
                let values = session.i32(&self.part)?.to_vec();
                session.i32_mut(&self.whole)?[range].copy_from_slice(&values);
            }
        }
        Ok(())
    }
}
