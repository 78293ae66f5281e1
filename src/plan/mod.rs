//! The plan: the kernel calls of a program, their order, and their memory.
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

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod machine;
mod storage;
mod text;
mod validate;

use std::collections::BTreeMap;

use crate::graph::{Graph, NodeId, Op, Phase, TensorType, Updates, Value};
use crate::ir::Precision;

pub use machine::{Machine, Predicted};
pub use storage::round_factors;
pub use text::to_text;
pub use validate::{Violation, validate};

/// Offsets in the arena are multiples of this, so that vector loads never straddle values.
pub const ALIGNMENT: usize = 64;

/// What runs, in which order, in which memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Named memory: inputs and outputs of the graph, sorted by name.
    pub memory: Vec<NamedMemory>,
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// Size of the arena in bytes.
    pub arena_bytes: usize,
    /// Bytes of values that the forward pass leaves for the backward pass.
    pub kept_bytes: usize,
    /// Arithmetic of products: of their factors, since sums are f32.
    pub precision: Precision,
}

/// A named piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedMemory {
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
    /// Stretch of the program that it stems from.
    pub stretch: usize,
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
    /// How elements lie there.
    pub element: Element,
    /// Where it is.
    pub location: Location,
}

/// How an element lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// The upper half of that, rounded to the nearest.
    Bf16,
    /// 32-bit signed integer.
    I32,
}

impl Element {
    /// Returns the bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Element::F32 | Element::I32 => 4,
            Element::Bf16 => 2,
        }
    }

    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::Bf16 => "bf16",
            Element::I32 => "i32",
        }
    }
}

impl Place {
    /// Returns the bytes it takes.
    pub fn bytes(&self) -> usize {
        self.ty.elements().saturating_mul(self.element.bytes())
    }

    /// Returns whether both share memory.
    pub fn overlaps(&self, other: &Place) -> bool {
        match (self.location, other.location) {
            (Location::Named(a), Location::Named(b)) => a == b,
            (Location::Arena(a), Location::Arena(b)) => {
                a < b.saturating_add(other.bytes()) && b < a.saturating_add(self.bytes())
            }
            _ => false,
        }
    }
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
        self.work_by(|call| call.phase)
    }

    /// Returns the work of the calls that have the same key, for each key.
    pub fn work_by<K: Ord>(&self, key: impl Fn(&Call) -> K) -> BTreeMap<K, Work> {
        let mut work: BTreeMap<K, Work> = BTreeMap::new();
        for call in &self.calls {
            let entry = work.entry(key(call)).or_default();
            entry.calls = entry.calls.saturating_add(1);
            entry.flops = entry.flops.saturating_add(call.flops);
            entry.bytes = entry.bytes.saturating_add(call.bytes);
        }
        work
    }

    /// Returns the work of each phase and the time that its calls should take on `machine`.
    pub fn predicted(&self, machine: &Machine) -> BTreeMap<Phase, Predicted> {
        let mut phases: BTreeMap<Phase, Predicted> = BTreeMap::new();
        for call in &self.calls {
            let work = Work { calls: 1, flops: call.flops, bytes: call.bytes };
            let seconds = machine.seconds(call.flops, call.bytes);
            phases.entry(call.phase).or_default().add(&Predicted { work, seconds });
        }
        phases
    }

    /// Returns the floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.calls.iter().fold(0, |sum, call| sum.saturating_add(call.flops))
    }

    /// Returns the bytes of all named memory.
    pub fn named_bytes(&self) -> usize {
        self.memory.iter().fold(0, |sum, memory| sum.saturating_add(memory.ty.bytes()))
    }

    /// Returns the bytes that one run needs at most: named memory and arena.
    pub fn peak_bytes(&self) -> usize {
        self.named_bytes().saturating_add(self.arena_bytes)
    }
}

/// A stretch of the arena in time and space.
struct Interval {
    root: Value,
    bytes: usize,
    first: usize,
    last: usize,
}

/// What a device asks of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// Arithmetic of products.
    pub precision: Precision,
    /// When memory is updated: early, so that gradients are freed, or together, so that equal updates are one launch.
    pub updates: Updates,
    /// How activations lie in memory.
    pub storage: Precision,
}

impl Demands {
    /// Returns what the CPU asks for.
    pub fn cpu(precision: Precision) -> Demands {
        Demands { precision, updates: Updates::Early, storage: Precision::F32 }
    }

    /// Returns what CUDA asks for. In bf16 the graph has to have gone through [`round_factors`].
    pub fn cuda(precision: Precision) -> Demands {
        Demands { precision, updates: Updates::Together, storage: precision }
    }
}

/// Plans the execution of `graph` on the CPU, with products in `precision`.
pub fn plan(graph: &Graph, precision: Precision) -> Plan {
    plan_for(graph, Demands::cpu(precision))
}

/// Plans the execution of `graph` as a device asks for it.
pub fn plan_for(graph: &Graph, demands: Demands) -> Plan {
    let Demands { precision, updates, storage } = demands;
    let order: Vec<NodeId> = graph
        .order_with(updates)
        .into_iter()
        .filter(|&node| !matches!(graph.op(node), Op::Input(_)))
        .collect();
    let roots = find_roots(graph, &order);
    let (memory, named) = name_memory(graph, &roots);
    let elements = storage::elements(graph, &order, &roots, &named, storage);
    let intervals = find_intervals(graph, &order, &roots, &elements, &named);
    let kept_bytes = kept(graph, &order, &intervals);
    let (offsets, arena_bytes) = assign_offsets(&intervals);
    let place = |value: Value| {
        let root = roots[&value];
        let location = match named.get(&root) {
            Some(&index) => Location::Named(index),
            None => Location::Arena(offsets[&root]),
        };
        Place { ty: graph.ty(value).clone(), element: elements[&root], location }
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
            let bytes = inputs.iter().chain(&outputs).map(|place| place.bytes() as u64).sum();
            let (phase, stretch) = (graph.phase(node), graph.stretch(node));
            Call { op, phase, stretch, inputs, outputs, flops, bytes }
        })
        .collect();
    let plan = Plan { memory, calls, arena_bytes, kept_bytes, precision };
    debug_assert_eq!(validate(&plan), Ok(()));
    plan
}

/// Maps every value to the one that owns its memory: views and in-place results to what they share.
fn find_roots(graph: &Graph, order: &[NodeId]) -> BTreeMap<Value, Value> {
    let mut roots: BTreeMap<Value, Value> = graph.inputs().values().map(|&value| (value, value)).collect();
    for &node in order {
        let op = graph.op(node).as_operation();
        let operands = graph.operands(node);
        for (index, value) in graph.results(node).into_iter().enumerate() {
            let replaced = || op.in_place().iter().find(|pair| pair.1 == index).map(|pair| pair.0);
            let shared = op.view_of().or_else(replaced);
            let root = shared.map_or(value, |input| roots[&operands[input]]);
            roots.insert(value, root);
        }
    }
    roots
}

/// Returns the named memory, and for each value that owns some its index.
fn name_memory(graph: &Graph, roots: &BTreeMap<Value, Value>) -> (Vec<NamedMemory>, BTreeMap<Value, usize>) {
    let mut memory = Vec::new();
    for (name, &value) in graph.inputs() {
        memory.push((NamedMemory { name: name.clone(), ty: graph.ty(value).clone(), is_input: true }, value));
    }
    for (name, &value) in graph.outputs() {
        let root = roots[&value];
        assert!(
            memory.iter().all(|(_, other)| *other != root),
            "output `{name}` has memory of its own; lowering names every result once"
        );
        memory.push((NamedMemory { name: name.clone(), ty: graph.ty(value).clone(), is_input: false }, root));
    }
    memory.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let named = memory.iter().enumerate().map(|(index, (_, root))| (*root, index)).collect();
    (memory.into_iter().map(|(memory, _)| memory).collect(), named)
}

fn find_intervals(
    graph: &Graph,
    order: &[NodeId],
    roots: &BTreeMap<Value, Value>,
    elements: &BTreeMap<Value, Element>,
    named: &BTreeMap<Value, usize>,
) -> Vec<Interval> {
    let mut intervals: BTreeMap<Value, Interval> = BTreeMap::new();
    for (time, &node) in order.iter().enumerate() {
        for value in graph.results(node) {
            let root = roots[&value];
            if root == value && !named.contains_key(&root) {
                let bytes = graph.ty(value).elements().saturating_mul(elements[&root].bytes());
                let bytes = bytes.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
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
        .fold(0, |sum, interval| sum.saturating_add(interval.bytes))
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
            .map(|(offset, other)| (*offset, offset.saturating_add(other.bytes)))
            .collect();
        busy.sort_unstable();
        let mut offset = 0;
        for (start, end) in busy {
            if start.checked_sub(offset).is_some_and(|gap| interval.bytes <= gap) {
                break;
            }
            offset = offset.max(end);
        }
        arena_bytes = arena_bytes.max(offset.saturating_add(interval.bytes));
        offsets.insert(interval.root, offset);
        placed.push((offset, interval));
    }
    (offsets, arena_bytes)
}

impl Plan {
    /// Returns whether a run writes to each piece of named memory, in the order of [`Plan::memory`].
    pub fn written(&self) -> Vec<bool> {
        let mut written = vec![false; self.memory.len()];
        for place in self.calls.iter().flat_map(|call| &call.outputs) {
            if let Location::Named(index) = place.location {
                written[index] = true;
            }
        }
        written
    }
}

/// Returns the bytes of the named memory of a session that has loaded all of `plans`: memory of one name is shared.
pub fn named_bytes(plans: &[&Plan]) -> u64 {
    let named: BTreeMap<&str, usize> = plans
        .iter()
        .flat_map(|plan| &plan.memory)
        .map(|memory| (memory.name.as_str(), memory.ty.bytes()))
        .collect();
    named.values().fold(0_usize, |sum, &bytes| sum.saturating_add(bytes)) as u64
}

/// Returns the bytes of the arena of a session that has loaded all of `plans`, which share it.
pub fn arena_bytes(plans: &[&Plan]) -> u64 {
    plans.iter().map(|plan| plan.arena_bytes).max().unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::{ALIGNMENT, Location, Plan, Precision, plan, validate};
    use crate::graph::ops::{Add, Assign, Linear, Reshape, RmsNorm, Scale};
    use crate::graph::{Graph, Phase, TensorType, Value};

    fn input(graph: &mut Graph, name: &str, shape: &[usize]) -> Value {
        graph.input(name, TensorType::f32(shape))
    }

    fn scale(graph: &mut Graph, x: Value, factor: f32) -> Value {
        graph.add1(Scale { factor }.into(), &[x])
    }

    /// Returns the plan of `y = ((2x) * 3) + 2x` over 8 elements.
    fn small() -> Plan {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", &[8]);
        let doubled = scale(&mut graph, x, 2.0);
        let more = scale(&mut graph, doubled, 3.0);
        let sum = graph.add1(Add.into(), &[more, doubled]);
        graph.set_output("y", sum);
        plan(&graph, Precision::F32)
    }

    fn blame(plan: &Plan) -> Vec<String> {
        match validate(plan) {
            Ok(()) => Vec::new(),
            Err(violations) => violations.into_iter().map(|violation| violation.0).collect(),
        }
    }

    fn arena(plan: &Plan, call: usize) -> usize {
        match plan.calls[call].outputs[0].location {
            Location::Arena(offset) => offset,
            Location::Named(_) => panic!("call {call} writes to the arena"),
        }
    }

    #[test]
    fn values_that_live_at_once_lie_side_by_side() {
        let plan = small();
        assert_eq!(blame(&plan), [] as [&str; 0]);
        assert_eq!([arena(&plan, 0), arena(&plan, 1)], [0, ALIGNMENT]);
        assert_eq!(plan.arena_bytes, 2 * ALIGNMENT);
    }

    #[test]
    fn memory_is_used_again_once_its_value_is_dead() {
        let mut graph = Graph::new();
        let mut x = input(&mut graph, "x", &[8]);
        for _ in 0..6 {
            x = scale(&mut graph, x, 2.0);
        }
        graph.set_output("y", x);
        let plan = plan(&graph, Precision::F32);
        assert_eq!(plan.calls.len(), 6);
        assert_eq!(plan.arena_bytes, 2 * ALIGNMENT);
    }

    #[test]
    fn the_validator_finds_an_output_over_an_input() {
        let mut plan = small();
        plan.calls[1].outputs[0].location = plan.calls[0].outputs[0].location;
        let found = blame(&plan);
        assert_eq!(found[0], "call 1, `scale`: output 0 overlaps an input");
    }

    #[test]
    fn the_validator_finds_a_read_of_what_was_overwritten() {
        let mut plan = small();
        // The second call reads nothing of the arena and overwrites what the third still needs.
        plan.calls[1].inputs = plan.calls[0].inputs.clone();
        plan.calls[1].outputs = plan.calls[0].outputs.clone();
        plan.calls[1].outputs[0].ty = TensorType::f32(&[4]);
        let found = blame(&plan);
        assert!(
            found.contains(&"call 2, `add`: reads f32[8] at 0, which does not hold it".to_string()),
            "{found:?}"
        );
    }

    #[test]
    fn the_validator_finds_an_offset_that_is_not_aligned() {
        let mut plan = small();
        plan.calls[1].outputs[0].location = Location::Arena(ALIGNMENT - 4);
        let found = blame(&plan);
        assert_eq!(found[0], "call 1, `scale`: output 0 at 60 is outside the arena or not aligned");
    }

    #[test]
    fn the_validator_finds_an_output_beyond_the_arena() {
        let mut plan = small();
        plan.arena_bytes -= ALIGNMENT;
        assert_eq!(blame(&plan), ["call 1, `scale`: output 0 at 64 is outside the arena or not aligned"]);
    }

    #[test]
    fn the_validator_finds_an_input_that_is_overwritten() {
        let mut plan = small();
        plan.calls[1].outputs[0].location = plan.calls[0].inputs[0].location;
        let found = blame(&plan);
        assert_eq!(found[0], "call 1, `scale`: overwrites `x`");
    }

    #[test]
    fn the_validator_finds_an_output_read_before_it_is_written() {
        let mut plan = small();
        plan.calls[0].inputs = plan.calls[2].outputs.clone();
        assert_eq!(blame(&plan)[0], "call 0, `scale`: reads `y` before it is written");
    }

    #[test]
    fn the_validator_finds_outputs_of_one_call_that_overlap() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", &[2, 8]);
        let norm = graph.add(RmsNorm { eps: 0.1 }.into(), &[x]);
        let [y, factor] = [norm[0], norm[1]].map(|value| scale(&mut graph, value, 1.0));
        graph.set_output("y", y);
        graph.set_output("factor", factor);
        let mut plan = plan(&graph, Precision::F32);
        plan.calls[0].outputs[1].location = plan.calls[0].outputs[0].location;
        assert_eq!(blame(&plan)[0], "call 0, `rms_norm`: output 1 overlaps another");
    }

    #[test]
    fn views_make_no_call_and_share_memory() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", &[2, 4]);
        let doubled = scale(&mut graph, x, 2.0);
        let flat = graph.add1(Reshape { shape: vec![8] }.into(), &[doubled]);
        let y = scale(&mut graph, flat, 3.0);
        graph.set_output("y", y);
        let plan = plan(&graph, Precision::F32);
        assert_eq!(plan.calls.len(), 2);
        assert_eq!(plan.calls[1].inputs[0].location, plan.calls[0].outputs[0].location);
        assert_eq!(plan.calls[1].inputs[0].ty, TensorType::f32(&[8]));
    }

    #[test]
    fn a_view_of_an_input_is_the_input() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", &[2, 4]);
        let flat = graph.add1(Reshape { shape: vec![8] }.into(), &[x]);
        let y = scale(&mut graph, flat, 3.0);
        graph.set_output("y", y);
        let plan = plan(&graph, Precision::F32);
        let Location::Named(index) = plan.calls[0].inputs[0].location else { panic!("x is named") };
        assert_eq!(plan.memory[index].name, "x");
    }

    #[test]
    fn an_update_writes_to_its_memory_after_everything_has_read_it() {
        let mut graph = Graph::new();
        let [memory, x] = ["memory", "x"].map(|name| input(&mut graph, name, &[8]));
        let sum = graph.add1(Add.into(), &[memory, x]);
        graph.add1(Assign.into(), &[memory, sum]);
        let late = scale(&mut graph, memory, 2.0);
        graph.set_output("old", late);
        let plan = plan(&graph, Precision::F32);
        let names: Vec<_> = plan.calls.iter().map(|call| call.op.as_operation().name()).collect();
        assert_eq!(names, ["add", "scale", "assign"]);
        assert_eq!(plan.calls[2].outputs[0].location, plan.calls[1].inputs[0].location);
    }

    #[test]
    fn costs_count_products_and_every_byte_read_or_written() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", &[2, 3]);
        let w = input(&mut graph, "w", &[5, 3]);
        let y = graph.add1(Linear.into(), &[x, w]);
        let z = scale(&mut graph, y, 2.0);
        graph.set_output("z", z);
        let plan = plan(&graph, Precision::F32);
        assert_eq!(plan.flops(), 2 * 2 * 3 * 5);
        let work = plan.work()[&Phase::Forward];
        assert_eq!((work.calls, work.flops), (2, plan.flops()));
        assert_eq!(work.bytes, 4 * (2 * 3 + 5 * 3 + 2 * 5 + 2 * 5 + 2 * 5));
        assert_eq!(plan.named_bytes(), 4 * (2 * 3 + 5 * 3 + 2 * 5));
        assert_eq!(plan.peak_bytes(), plan.named_bytes() + plan.arena_bytes);
    }

    #[test]
    fn what_the_backward_pass_reads_is_kept() {
        let mut graph = Graph::new();
        let x = input(&mut graph, "x", &[8]);
        let kept = scale(&mut graph, x, 2.0);
        let dropped = scale(&mut graph, kept, 3.0);
        let loss = scale(&mut graph, dropped, 4.0);
        graph.set_output("loss", loss);
        graph.set_phase(Phase::Backward);
        let first = scale(&mut graph, x, 0.5);
        let gradient = graph.add1(Add.into(), &[first, kept]);
        graph.set_output("gradient", gradient);
        assert_eq!(plan(&graph, Precision::F32).kept_bytes, ALIGNMENT);
    }

    /// Builds a graph of sums, factors, and views from random choices, over tensors of different sizes.
    fn random(choices: &[(u8, usize, usize)]) -> Graph {
        let mut graph = Graph::new();
        let mut values: Vec<Value> = [8, 24, 40]
            .into_iter()
            .enumerate()
            .map(|(index, size)| input(&mut graph, &format!("x{index}"), &[size, 2]))
            .collect();
        for &(kind, first, second) in choices {
            let a = values[first % values.len()];
            let ty = graph.ty(a).clone();
            let value = match kind % 4 {
                0 => scale(&mut graph, a, 2.0),
                1 => {
                    let b = values[second % values.len()];
                    let b = if graph.ty(b) == &ty { b } else { a };
                    graph.add1(Add.into(), &[a, b])
                }
                2 => graph.add1(Reshape { shape: ty.shape.iter().rev().copied().collect() }.into(), &[a]),
                _ => graph.add(RmsNorm { eps: 0.1 }.into(), &[a])[0],
            };
            values.push(value);
        }
        let last = scale(&mut graph, values[values.len() - 1], 1.0);
        graph.set_output("last", last);
        graph
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn live_values_never_overlap(choices in proptest::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 1..40)) {
            let graph = random(&choices);
            let plan = plan(&graph, Precision::F32);
            prop_assert_eq!(validate(&plan), Ok(()));
            // What each byte of the arena holds, by the number of the output that wrote it, against what
            // the graph says each call reads.
            let mut holds: BTreeMap<usize, Value> = BTreeMap::new();
            let order = graph.order();
            let working = order.iter().filter(|&&node| {
                let op = graph.op(node);
                !matches!(op, crate::graph::Op::Input(_)) && !op.as_operation().is_view()
            });
            let mut source: BTreeMap<Value, Value> = BTreeMap::new();
            for &node in &order {
                for value in graph.results(node) {
                    let view = graph.op(node).as_operation().view_of();
                    let of = view.map_or(value, |input| source[&graph.operands(node)[input]]);
                    source.insert(value, of);
                }
            }
            for (call, &node) in plan.calls.iter().zip(working) {
                for (place, value) in call.inputs.iter().zip(graph.operands(node)) {
                    if let Location::Arena(offset) = place.location {
                        for byte in (offset..offset + place.ty.bytes()).step_by(4) {
                            prop_assert_eq!(holds.get(&byte), Some(&source[&value]));
                        }
                    }
                }
                for (place, value) in call.outputs.iter().zip(graph.results(node)) {
                    if let Location::Arena(offset) = place.location {
                        prop_assert!(offset + place.ty.bytes() <= plan.arena_bytes);
                        for byte in (offset..offset + place.ty.bytes()).step_by(4) {
                            holds.insert(byte, value);
                        }
                    }
                }
            }
        }
    }
}
