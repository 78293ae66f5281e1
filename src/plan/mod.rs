//! The plan: what runs, in which order, in which memory.
//!
//! # What it means
//!
//! A [`Plan`] is a list of [`Call`]s over two kinds of memory. *Named* memory persists: the inputs of the
//! graph and its outputs. Everything else lives in one *arena*, at offsets chosen when planning so that
//! values that exist at the same time never overlap. A value exists from the call that yields it to the
//! last call that reads it. Views share the memory of what they view and make no call; an operator that
//! works in place writes to the memory of its input.
//!
//! All shapes are known, so the plan also states what a run costs: floating-point operations, bytes read
//! and written, calls, and peak memory. A runtime allocates once and then only executes.

mod text;
mod verify;

use std::collections::BTreeMap;

use crate::graph::{Graph, NodeId, Op, Phase, TensorType, Value};

pub use text::to_text;
pub use verify::{Violation, verify};

/// Offsets in the arena are multiples of this, so that vector loads never straddle values.
pub const ALIGNMENT: usize = 64;

/// What runs, in which order, in which memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Named memory: inputs and outputs of the graph, sorted by name.
    pub memory: Vec<Memory>,
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// Size of the arena in bytes.
    pub arena_bytes: usize,
    /// Bytes of values that the forward pass leaves for the backward pass.
    pub kept_bytes: usize,
}

/// A named piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Name, unique.
    pub name: String,
    /// Type of what it holds.
    pub ty: TensorType,
    /// Whether the graph reads it before writing it.
    pub is_input: bool,
}

/// One operator at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The operator.
    pub op: Op,
    /// Part of the program it belongs to.
    pub phase: Phase,
    /// What it reads, in order.
    pub inputs: Vec<Place>,
    /// What it writes, in order.
    pub outputs: Vec<Place>,
    /// Floating-point operations of products and attention.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

/// A typed piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Type of what it holds.
    pub ty: TensorType,
    /// Where it is.
    pub location: Location,
}

/// Where a value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// Index in [`Plan::memory`].
    Named(usize),
    /// Byte offset in the arena.
    Arena(usize),
}

/// Work of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Operators at work.
    pub calls: usize,
    /// Floating-point operations of products and attention.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

impl Plan {
    /// Returns the work of each phase.
    pub fn work(&self) -> BTreeMap<Phase, Work> {
        let mut work: BTreeMap<Phase, Work> = BTreeMap::new();
        for call in &self.calls {
            let entry = work.entry(call.phase).or_default();
            entry.calls += 1;
            entry.flops += call.flops;
            entry.bytes += call.bytes;
        }
        work
    }

    /// Returns the floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.calls.iter().map(|call| call.flops).sum()
    }

    /// Returns the bytes of all named memory.
    pub fn named_bytes(&self) -> usize {
        self.memory.iter().map(|memory| memory.ty.bytes()).sum()
    }

    /// Returns the bytes that one run needs at most: named memory and arena.
    pub fn peak_bytes(&self) -> usize {
        self.named_bytes() + self.arena_bytes
    }
}

/// A stretch of the arena in time and space.
struct Interval {
    root: Value,
    bytes: usize,
    first: usize,
    last: usize,
}

/// Plans the execution of `graph`.
pub fn plan(graph: &Graph) -> Plan {
    let order: Vec<NodeId> =
        graph.order().into_iter().filter(|&node| !matches!(graph.op(node), Op::Input(_))).collect();
    let roots = find_roots(graph, &order);
    let (memory, named) = name_memory(graph, &roots);
    let intervals = find_intervals(graph, &order, &roots, &named);
    let kept_bytes = kept(graph, &order, &intervals);
    let (offsets, arena_bytes) = assign_offsets(&intervals);
    let place = |value: Value| {
        let root = roots[&value];
        let location = match named.get(&root) {
            Some(&index) => Location::Named(index),
            None => Location::Arena(offsets[&root]),
        };
        Place { ty: graph.ty(value).clone(), location }
    };
    let calls = order
        .iter()
        .filter(|&&node| !graph.op(node).as_operation().is_view())
        .map(|&node| {
            let inputs: Vec<Place> = graph.operands(node).into_iter().map(place).collect();
            let outputs: Vec<Place> = graph.results(node).into_iter().map(place).collect();
            let types = |places: &[Place]| places.iter().map(|place| place.ty.clone()).collect::<Vec<_>>();
            let op = graph.op(node).clone();
            let flops = op.as_operation().flops(&types(&inputs), &types(&outputs));
            let bytes = inputs.iter().chain(&outputs).map(|place| place.ty.bytes() as u64).sum();
            Call { op, phase: graph.phase(node), inputs, outputs, flops, bytes }
        })
        .collect();
    let plan = Plan { memory, calls, arena_bytes, kept_bytes };
    debug_assert_eq!(verify(&plan), Ok(()));
    plan
}

/// Maps every value to the one that owns its memory: views and in-place results to what they share.
fn find_roots(graph: &Graph, order: &[NodeId]) -> BTreeMap<Value, Value> {
    let mut roots: BTreeMap<Value, Value> = graph.inputs().values().map(|&value| (value, value)).collect();
    for &node in order {
        let op = graph.op(node).as_operation();
        let operands = graph.operands(node);
        for (index, value) in graph.results(node).into_iter().enumerate() {
            let shared = if op.is_view() {
                Some(operands[0])
            } else {
                op.in_place().iter().find(|pair| pair.1 == index).map(|pair| operands[pair.0])
            };
            let root = shared.map_or(value, |operand| roots[&operand]);
            roots.insert(value, root);
        }
    }
    roots
}

/// Returns the named memory, and for each value that owns some its index.
fn name_memory(graph: &Graph, roots: &BTreeMap<Value, Value>) -> (Vec<Memory>, BTreeMap<Value, usize>) {
    let mut memory = Vec::new();
    for (name, &value) in graph.inputs() {
        memory.push((Memory { name: name.clone(), ty: graph.ty(value).clone(), is_input: true }, value));
    }
    for (name, &value) in graph.outputs() {
        let root = roots[&value];
        assert!(
            memory.iter().all(|(_, other)| *other != root),
            "output `{name}` has memory of its own; lowering names every result once"
        );
        memory.push((Memory { name: name.clone(), ty: graph.ty(value).clone(), is_input: false }, root));
    }
    memory.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let named = memory.iter().enumerate().map(|(index, (_, root))| (*root, index)).collect();
    (memory.into_iter().map(|(memory, _)| memory).collect(), named)
}

fn find_intervals(
    graph: &Graph,
    order: &[NodeId],
    roots: &BTreeMap<Value, Value>,
    named: &BTreeMap<Value, usize>,
) -> Vec<Interval> {
    let mut intervals: BTreeMap<Value, Interval> = BTreeMap::new();
    for (time, &node) in order.iter().enumerate() {
        for value in graph.results(node) {
            let root = roots[&value];
            if root == value && !named.contains_key(&root) {
                let bytes = graph.ty(value).bytes().next_multiple_of(ALIGNMENT).max(ALIGNMENT);
                intervals.insert(root, Interval { root, bytes, first: time, last: time });
            }
        }
        for operand in graph.operands(node) {
            if let Some(interval) = intervals.get_mut(&roots[&operand]) {
                interval.last = time;
            }
        }
    }
    let mut intervals: Vec<Interval> = intervals.into_values().collect();
    intervals.sort_by_key(|interval| (interval.first, interval.root));
    intervals
}

/// Returns the bytes that exist when the first gradient is computed and are read after that.
fn kept(graph: &Graph, order: &[NodeId], intervals: &[Interval]) -> usize {
    let Some(start) = order.iter().position(|&node| graph.phase(node) == Phase::Backward) else { return 0 };
    intervals
        .iter()
        .filter(|interval| interval.first < start && interval.last >= start)
        .map(|interval| interval.bytes)
        .sum()
}

/// Chooses offsets: largest first, each at the lowest place that is free during its whole life.
fn assign_offsets(intervals: &[Interval]) -> (BTreeMap<Value, usize>, usize) {
    let mut by_size: Vec<&Interval> = intervals.iter().collect();
    by_size.sort_by_key(|interval| (std::cmp::Reverse(interval.bytes), interval.first, interval.root));
    let mut placed: Vec<(usize, &Interval)> = Vec::new();
    let mut offsets = BTreeMap::new();
    let mut arena_bytes = 0;
    for interval in by_size {
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(_, other)| other.first <= interval.last && interval.first <= other.last)
            .map(|(offset, other)| (*offset, offset + other.bytes))
            .collect();
        busy.sort_unstable();
        let mut offset = 0;
        for (start, end) in busy {
            if offset + interval.bytes <= start {
                break;
            }
            offset = offset.max(end);
        }
        arena_bytes = arena_bytes.max(offset + interval.bytes);
        offsets.insert(interval.root, offset);
        placed.push((offset, interval));
    }
    (offsets, arena_bytes)
}
