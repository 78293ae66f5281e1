//! Executes a plan with the CPU kernels.

#![expect(clippy::disallowed_methods, reason = "calls are timed for whoever watches")]

use std::collections::BTreeMap;
use std::ptr;
use std::time::Instant;

use super::arranged::Arranged;
use super::kernels::{
    self, AdamAtan2Step, AdamWStep, AttentionShape, CopyShape, LossShape, ProductShape, Rest, Rope, Scratch,
    SignSgdStep, Store, SwigluShape, Weight, WeightShape,
};
use crate::device::{Buffer, Memory, MemoryId, Observe};
use crate::graph::ops::{
    AdamAtan2, AdamW, Add, AddRmsNorm, AddSuffix, Assign, Attention, AttentionGrad, Average, BceWithLogits,
    BceWithLogitsGrad, Choose, Concat, Correctness, Embed, EmbedGrad, Equal, Fill, Linear, LinearAddRmsNorm,
    LinearGradInput, LinearGradWeight, LinearSwiGlu, MIN_SUM_OF_SQUARES, Maximum, Pad, ResetRows, RmsNorm,
    RmsNormGrad, Rotate, RowDistance, Scale, Sigmoid, SignSgdRows, Slice, SumLeading, SwiGlu, SwiGluGrad,
    TokenLoss, TokenLossGrad, Transpose, rope_tables,
};
use crate::graph::{DType, Op, Operation, TensorType};
use crate::ir::Precision;
use crate::plan::{Call, Location, Place, Plan};

/// A plan with the tables its kernels need.
pub(super) struct CpuProgram {
    plan: Plan,
    /// The memory that the plan names, in its order.
    memory: Vec<MemoryId>,
    /// Whether the plan writes to each of it.
    written: Vec<bool>,
    /// Rotation tables of each call that rotates, by index in [`CpuProgram::tables`].
    rotations: Vec<Option<usize>>,
    tables: Vec<RotationTables>,
    /// The weights that several calls read, by index in [`Plan::memory`]: these are arranged once.
    weights: Vec<Option<WeightShape>>,
    pointers: Pointers,
}

struct RotationTables {
    positions: usize,
    head_width: usize,
    theta: f32,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Memory of one run: where each place begins.
struct Pointers {
    named: Vec<*mut u8>,
    arranged: Vec<Arrangement>,
    arena: *mut u8,
}

/// The arranged copy of one named memory.
struct Arrangement {
    start: *mut f32,
    /// Whether the copy is that of the present content.
    valid: bool,
}

// SAFETY: the pointers are set at the beginning of a run and used by that run alone.
unsafe impl Send for Pointers {}
// SAFETY: as above.
unsafe impl Sync for Pointers {}

impl CpuProgram {
    /// Prepares a plan, whose memory is allocated.
    pub(super) fn new(plan: Plan, memory: &Memory) -> Self {
        let mut tables: Vec<RotationTables> = Vec::new();
        let rotations = plan
            .calls
            .iter()
            .map(|call| {
                let (qkv, heads, theta) = match &call.op {
                    Op::Attention(op) => (Attention::QKV, op.heads, op.rope_theta?),
                    Op::AttentionGrad(op) => (AttentionGrad::QKV, op.heads, op.rope_theta?),
                    Op::Rotate(op) => (Rotate::QKV, op.heads, op.theta),
                    _ => return None,
                };
                let shape = &call.inputs[qkv].ty.shape;
                let (positions, head_width) = (shape[1], shape[2] / 3 / heads);
                let found = tables.iter().position(|table| {
                    table.positions == positions && table.head_width == head_width && table.theta == theta
                });
                Some(found.unwrap_or_else(|| {
                    let (cos, sin) = rope_tables(positions, head_width, theta);
                    tables.push(RotationTables { positions, head_width, theta, cos, sin });
                    tables.len() - 1
                }))
            })
            .collect();
        let weights = shared_weights(&plan);
        let pointers = Pointers { named: Vec::new(), arranged: Vec::new(), arena: ptr::null_mut() };
        let find = |name: &str| memory.id(name).expect("a session has the memory of its programs");
        let memory = plan.memory.iter().map(|memory| find(&memory.name)).collect();
        let written = plan.written();
        CpuProgram { plan, memory, written, rotations, tables, weights, pointers }
    }

    /// Returns the name and the shape of each weight that the program wants to keep arranged.
    pub(super) fn weights(&self) -> impl Iterator<Item = (&str, MemoryId, WeightShape)> {
        let named = self.plan.memory.iter().zip(&self.memory).zip(&self.weights);
        named.filter_map(|((memory, &id), shape)| shape.map(|shape| (memory.name.as_str(), id, shape)))
    }

    /// Takes a weight as it is, because the engine keeps it arranged in another way.
    pub(super) fn read_as_it_is(&mut self, weight: MemoryId) {
        for (id, shape) in self.memory.iter().zip(&mut self.weights) {
            if *id == weight {
                *shape = None;
            }
        }
    }

    /// Runs every call once and reports the seconds of each to `observe`, if there is one.
    pub(super) fn run(
        &mut self,
        memory: &mut Memory,
        arena: &mut Buffer,
        arranged: &mut Arranged,
        mut observe: Option<Observe<'_>>,
    ) {
        self.point(memory, arena, arranged);
        for index in 0..self.plan.calls.len() {
            let start = observe.as_ref().map(|_| Instant::now());
            self.call(index);
            if let (Some(observe), Some(start)) = (&mut observe, start) {
                observe(index, start.elapsed().as_secs_f64());
            }
        }
        for (index, &id) in self.memory.iter().enumerate() {
            if self.written[index] {
                memory.written_here(id);
            }
            if self.weights[index].is_some()
                && let Some(copy) = arranged.get_mut(&id)
            {
                copy.version = self.pointers.arranged[index].valid.then(|| memory.version(id));
            }
        }
    }

    /// Finds the memory of a run.
    fn point(&mut self, memory: &Memory, arena: &mut Buffer, arranged: &mut Arranged) {
        assert!(arena.bytes() >= self.plan.arena_bytes, "the arena holds the plan");
        let Pointers { named: starts, arranged: arrangements, arena: arena_start } = &mut self.pointers;
        *arena_start = arena.start();
        starts.clear();
        arrangements.clear();
        for ((wanted, &id), weight) in self.plan.memory.iter().zip(&self.memory).zip(&self.weights) {
            let buffer = memory.content(id);
            assert!(buffer.bytes() >= wanted.ty.bytes(), "`{}` is allocated", wanted.name);
            starts.push(buffer.start());
            arrangements.push(match (weight, arranged.get_mut(&id)) {
                (Some(shape), Some(copy)) => {
                    assert_eq!(copy.shape, *shape, "`{}` is arranged as the program wants it", wanted.name);
                    let valid = copy.version == Some(memory.version(id));
                    Arrangement { start: copy.buffer.start().cast(), valid }
                }
                _ => Arrangement { start: ptr::null_mut(), valid: false },
            });
        }
    }

    fn call(&mut self, index: usize) {
        let call = &self.plan.calls[index];
        if let Some(WeightRead { input, memory, shape }) = weight_of(call, self.plan.precision)
            && !self.pointers.arranged[memory].start.is_null()
            && !self.pointers.arranged[memory].valid
        {
            let len = shape.arranged_len().expect("only what can be arranged has memory for it");
            let w = Operands { call, pointers: &self.pointers }.f32(input);
            // SAFETY: the engine has allocated this many elements for the arranged weight, and nothing else uses them
            // while this call is prepared.
            let target = unsafe { std::slice::from_raw_parts_mut(self.pointers.arranged[memory].start, len) };
            kernels::arrange_weight(target, w, shape);
            self.pointers.arranged[memory].valid = true;
        }
        let table = self.rotations[index].map(|table| &self.tables[table]);
        let rope = table.map(|table| Rope { cos: &table.cos, sin: &table.sin });
        run_call(call, &Operands { call, pointers: &self.pointers }, rope, self.plan.precision);
        for place in &call.outputs {
            if let Location::Named(memory) = place.location {
                self.pointers.arranged[memory].valid = false;
            }
        }
    }
}

/// A weight that a call of a forward pass reads.
struct WeightRead {
    /// Which input of the call it is.
    input: usize,
    /// Index of its memory in [`Plan::memory`].
    memory: usize,
    shape: WeightShape,
}

/// Returns the weight that a call of a forward pass reads.
fn weight_of(call: &Call, precision: Precision) -> Option<WeightRead> {
    let (input, parts) = match &call.op {
        Op::Linear(_) => (Linear::W, 1),
        Op::LinearAddRmsNorm(_) => (LinearAddRmsNorm::W, 1),
        Op::LinearSwiGlu(_) => (LinearSwiGlu::W, 2),
        _ => return None,
    };
    let place = &call.inputs[input];
    let Location::Named(memory) = place.location else { return None };
    let [n, k] = place.ty.shape[..] else { return None };
    Some(WeightRead { input, memory, shape: WeightShape { n, k, parts, precision } })
}

/// Returns the weights that several calls read in the same way, by index in [`Plan::memory`].
///
/// To arrange a weight for a single call is not worth memory of its own: that call does it in its scratch.
fn shared_weights(plan: &Plan) -> Vec<Option<WeightShape>> {
    let mut uses: Vec<Vec<WeightShape>> = vec![Vec::new(); plan.memory.len()];
    for call in &plan.calls {
        if let Some(weight) = weight_of(call, plan.precision) {
            uses[weight.memory].push(weight.shape);
        }
    }
    uses.iter()
        .map(|uses| {
            let first = *uses.first()?;
            let shared = uses.len() > 1 && uses.iter().all(|shape| *shape == first);
            (shared && first.arranged_len().is_some()).then_some(first)
        })
        .collect()
}

/// Returns the bytes of the arranged weights of a session that has loaded all of `plans`.
pub(super) fn arranged_bytes(plans: &[&Plan]) -> u64 {
    let arranged: BTreeMap<&str, usize> = plans
        .iter()
        .flat_map(|plan| plan.memory.iter().zip(shared_weights(plan)))
        .filter_map(|(memory, shape)| Some((memory.name.as_str(), shape?.arranged_len()?.saturating_mul(4))))
        .collect();
    arranged.values().fold(0_usize, |sum, &bytes| sum.saturating_add(bytes)) as u64
}

/// Returns the scratch that the calls of `plan` take at most, each kind of it.
pub(super) fn scratch_of(plan: &Plan) -> Scratch {
    let arranged = shared_weights(plan);
    let scratch = plan.calls.iter().map(|call| scratch_of_call(call, &arranged, plan.precision));
    scratch.fold(Scratch::default(), Scratch::max)
}

/// Returns the scratch of one call, some of whose weights are arranged.
fn scratch_of_call(call: &Call, arranged: &[Option<WeightShape>], precision: Precision) -> Scratch {
    let (inputs, outputs) = (|input: usize| &call.inputs[input].ty, |output: usize| &call.outputs[output].ty);
    let is_arranged = weight_of(call, precision).is_some_and(|weight| arranged[weight.memory].is_some());
    match &call.op {
        Op::Linear(_) => {
            linear_shape(inputs(Linear::X), inputs(Linear::W), precision).scratch_nt(is_arranged)
        }
        Op::LinearAddRmsNorm(_) => {
            let (x, w) = (inputs(LinearAddRmsNorm::X), inputs(LinearAddRmsNorm::W));
            linear_shape(x, w, precision).scratch_nt_and_norm(is_arranged)
        }
        Op::LinearGradInput(_) => {
            let (dy, w) = (inputs(LinearGradInput::DY), inputs(LinearGradInput::W));
            grad_input_shape(dy, w, precision).scratch_nn()
        }
        Op::LinearGradWeight(_) => {
            let (dy, x) = (inputs(LinearGradWeight::DY), inputs(LinearGradWeight::X));
            grad_weight_shape(dy, x, precision).scratch_tn()
        }
        Op::LinearSwiGlu(op) => {
            let width = inputs(LinearSwiGlu::X).width();
            gated_shape(outputs(LinearSwiGlu::H), width, precision).scratch(op.keep, is_arranged)
        }
        Op::Attention(op) => attention_shape(inputs(Attention::QKV), op.heads, precision).scratch(),
        Op::AttentionGrad(op) => {
            attention_shape(inputs(AttentionGrad::QKV), op.heads, precision).grad_scratch()
        }
        Op::SignSgdRows(_) => Scratch { part: inputs(SignSgdRows::TABLE).width(), ..Scratch::default() },
        // The others compute where they read and write.
        _ => Scratch::default(),
    }
}

/// Gives the kernels of one call their slices.
///
/// The plan's validator shows that outputs overlap no input but the one they replace, and each output is
/// taken once, so the slices of one call never alias.
struct Operands<'a> {
    call: &'a Call,
    pointers: &'a Pointers,
}

impl<'a> Operands<'a> {
    fn op(&self) -> &'a dyn Operation {
        self.call.op.as_operation()
    }

    fn start(&self, place: &Place) -> *mut u8 {
        match place.location {
            Location::Named(index) => self.pointers.named[index],
            // SAFETY: the offset lies within the arena, as the plan's validator checks.
            Location::Arena(offset) => unsafe { self.pointers.arena.add(offset) },
        }
    }

    fn f32(&self, input: usize) -> &'a [f32] {
        let place = &self.call.inputs[input];
        assert_eq!(place.ty.dtype, DType::F32, "`{}` holds f32", self.op().inputs()[input].name);
        // SAFETY: the memory holds this many initialised elements, is aligned, and no output overlaps it.
        unsafe { std::slice::from_raw_parts(self.start(place).cast(), place.ty.elements()) }
    }

    fn i32(&self, input: usize) -> &'a [i32] {
        let place = &self.call.inputs[input];
        assert_eq!(place.ty.dtype, DType::I32, "`{}` holds i32", self.op().inputs()[input].name);
        // SAFETY: as for `f32`.
        unsafe { std::slice::from_raw_parts(self.start(place).cast(), place.ty.elements()) }
    }

    fn out(&self, output: usize) -> &'a mut [f32] {
        let place = &self.call.outputs[output];
        assert_eq!(place.ty.dtype, DType::F32, "`{}` holds f32", self.op().outputs()[output].name);
        // SAFETY: as for `f32`; an in-place operator does not take the input that the output replaces.
        unsafe { std::slice::from_raw_parts_mut(self.start(place).cast(), place.ty.elements()) }
    }

    /// Returns the weight at `input`, arranged if the engine keeps it so.
    fn weight(&self, input: usize, precision: Precision) -> Weight<'a> {
        if let Some(WeightRead { memory, shape, .. }) = weight_of(self.call, precision)
            && !self.pointers.arranged[memory].start.is_null()
        {
            let len = shape.arranged_len().expect("only what can be arranged has memory for it");
            // SAFETY: the engine has allocated this many elements, and `CpuProgram::call` has filled them.
            return Weight::Arranged(unsafe {
                std::slice::from_raw_parts(self.pointers.arranged[memory].start, len)
            });
        }
        Weight::Rows(self.f32(input))
    }

    fn scalar(&self, input: usize) -> f32 {
        self.f32(input)[0]
    }

    fn ty(&self, input: usize) -> &'a TensorType {
        &self.call.inputs[input].ty
    }

    fn out_ty(&self, output: usize) -> &'a TensorType {
        &self.call.outputs[output].ty
    }
}

fn attention_shape(qkv: &TensorType, heads: usize, precision: Precision) -> AttentionShape {
    AttentionShape {
        batch: qkv.shape[0],
        positions: qkv.shape[1],
        heads,
        head_width: qkv.shape[2] / 3 / heads,
        precision,
    }
}

fn loss_shape(logits: &TensorType) -> LossShape {
    LossShape { batch: logits.shape[0], positions: logits.shape[1], vocab: logits.shape[2] }
}

/// Returns the copy of `count` indices of an axis between two tensors.
fn copy_shape(
    out: &TensorType,
    x: &TensorType,
    axis: usize,
    out_start: usize,
    in_start: usize,
    count: usize,
) -> CopyShape {
    CopyShape {
        batch: x.shape[..axis].iter().product(),
        width: x.shape[axis + 1..].iter().product(),
        out_positions: out.shape[axis],
        out_start,
        in_positions: x.shape[axis],
        in_start,
        count,
    }
}

fn run_call(call: &Call, at: &Operands<'_>, rope: Option<Rope<'_>>, precision: Precision) {
    match &call.op {
        Op::Input(_) | Op::Detach(_) | Op::Reshape(_) => unreachable!("inputs and views make no call"),
        Op::Slice(Slice { axis, start, end }) => {
            let shape = copy_shape(at.out_ty(Slice::Y), at.ty(Slice::X), *axis, 0, *start, end - start);
            kernels::copy_axis(at.out(Slice::Y), at.f32(Slice::X), Rest::Keep, shape);
        }
        Op::Pad(op) => {
            let count = at.ty(Pad::X).shape[op.axis];
            let shape = copy_shape(at.out_ty(Pad::Y), at.ty(Pad::X), op.axis, op.before, 0, count);
            kernels::pad(at.out(Pad::Y), at.f32(Pad::X), shape);
        }
        Op::Concat(op) => {
            let out = at.out(Concat::Y);
            let [first, second] = [Concat::A, Concat::B].map(|input| at.ty(input).shape[op.axis]);
            let shape = copy_shape(at.out_ty(Concat::Y), at.ty(Concat::A), op.axis, 0, 0, first);
            kernels::copy_axis(out, at.f32(Concat::A), Rest::Keep, shape);
            let shape = copy_shape(at.out_ty(Concat::Y), at.ty(Concat::B), op.axis, first, 0, second);
            kernels::copy_axis(out, at.f32(Concat::B), Rest::Keep, shape);
        }
        Op::Transpose(_) => {
            let shape = &at.ty(Transpose::X).shape;
            kernels::transpose(at.out(Transpose::Y), at.f32(Transpose::X), shape[0], shape[1], shape[2]);
        }
        Op::Add(_) => kernels::add(at.out(Add::Y), at.f32(Add::A), at.f32(Add::B)),
        Op::Scale(op) => kernels::scale(at.out(Scale::Y), at.f32(Scale::X), op.factor),
        Op::AddSuffix(_) => {
            kernels::add_suffix(at.out(AddSuffix::Y), at.f32(AddSuffix::X), at.f32(AddSuffix::SUFFIX))
        }
        Op::SumLeading(_) => {
            kernels::sum_leading(at.out(SumLeading::Y), at.f32(SumLeading::X), Store::Replace)
        }
        Op::Fill(op) => kernels::fill(at.out(Fill::Y), op.value),
        Op::Sigmoid(_) => kernels::sigmoid(at.out(Sigmoid::Y), at.f32(Sigmoid::X)),
        Op::Maximum(_) => kernels::maximum(at.out(Maximum::Y), at.f32(Maximum::A), at.f32(Maximum::B)),
        Op::Choose(_) => {
            kernels::choose(at.out(Choose::Y), at.f32(Choose::MASK), at.f32(Choose::A), at.f32(Choose::B));
        }
        Op::Equal(_) => kernels::equal(at.out(Equal::Y), at.f32(Equal::A), at.f32(Equal::B)),
        Op::Linear(_) => {
            let shape = linear_shape(at.ty(Linear::X), at.ty(Linear::W), precision);
            kernels::product_nt(
                at.out(Linear::Y),
                at.f32(Linear::X),
                at.weight(Linear::W, precision),
                None,
                Store::Replace,
                shape,
            );
        }
        Op::LinearGradInput(_) => {
            let shape = grad_input_shape(at.ty(LinearGradInput::DY), at.ty(LinearGradInput::W), precision);
            kernels::product_nn(
                at.out(LinearGradInput::DX),
                at.f32(LinearGradInput::DY),
                at.f32(LinearGradInput::W),
                Store::Replace,
                shape,
            );
        }
        Op::LinearGradWeight(_) => {
            let shape = grad_weight_shape(at.ty(LinearGradWeight::DY), at.ty(LinearGradWeight::X), precision);
            kernels::product_tn(
                at.out(LinearGradWeight::DW),
                at.f32(LinearGradWeight::DY),
                at.f32(LinearGradWeight::X),
                Store::Replace,
                shape,
            );
        }
        Op::RmsNorm(op) => kernels::rms_norm(
            at.out(RmsNorm::Y),
            Some(at.out(RmsNorm::FACTOR)),
            at.f32(RmsNorm::X),
            at.ty(RmsNorm::X).width(),
            op.eps,
        ),
        Op::RmsNormGrad(_) => {
            kernels::rms_norm_grad(
                at.out(RmsNormGrad::DX),
                at.f32(RmsNormGrad::Y),
                at.f32(RmsNormGrad::FACTOR),
                at.f32(RmsNormGrad::DY),
                None,
                at.ty(RmsNormGrad::Y).width(),
            );
        }
        Op::AddRmsNorm(op) => {
            kernels::add_rms_norm(
                at.out(AddRmsNorm::Y),
                Some(at.out(AddRmsNorm::FACTOR)),
                at.f32(AddRmsNorm::A),
                at.f32(AddRmsNorm::B),
                at.ty(AddRmsNorm::A).width(),
                op.eps,
            );
        }
        Op::LinearAddRmsNorm(op) => {
            let shape = linear_shape(at.ty(LinearAddRmsNorm::X), at.ty(LinearAddRmsNorm::W), precision);
            let (x, w, residual) = (
                at.f32(LinearAddRmsNorm::X),
                at.weight(LinearAddRmsNorm::W, precision),
                at.f32(LinearAddRmsNorm::RESIDUAL),
            );
            kernels::linear_add_rms_norm(
                at.out(LinearAddRmsNorm::Y),
                Some(at.out(LinearAddRmsNorm::FACTOR)),
                x,
                w,
                residual,
                op.eps,
                shape,
            );
        }
        Op::Rotate(op) => {
            let rope = rope.expect("a rotation has its table");
            kernels::rotate(
                at.out(Rotate::ROTATED),
                at.f32(Rotate::QKV),
                rope,
                op.inverse,
                attention_shape(at.ty(Rotate::QKV), op.heads, precision),
            );
        }
        Op::Attention(op) => {
            kernels::attention(
                at.out(Attention::OUT),
                at.out(Attention::LSE),
                at.f32(Attention::QKV),
                rope,
                attention_shape(at.ty(Attention::QKV), op.heads, precision),
            );
        }
        Op::AttentionGrad(op) => {
            let shape = attention_shape(at.ty(AttentionGrad::QKV), op.heads, precision);
            kernels::attention_grad(
                at.out(AttentionGrad::DQKV),
                at.f32(AttentionGrad::QKV),
                at.f32(AttentionGrad::LSE),
                at.f32(AttentionGrad::DOUT),
                rope,
                shape,
            );
        }
        Op::SwiGlu(_) => kernels::swiglu(
            at.out(SwiGlu::H),
            at.f32(SwiGlu::X),
            gated_shape(at.out_ty(SwiGlu::H), 0, precision),
        ),
        Op::SwiGluGrad(_) => {
            kernels::swiglu_grad(
                at.out(SwiGluGrad::DX),
                at.f32(SwiGluGrad::X),
                at.f32(SwiGluGrad::DH),
                gated_shape(at.ty(SwiGluGrad::DH), 0, precision),
            );
        }
        Op::LinearSwiGlu(op) => {
            let wide = op.keep.then(|| at.out(LinearSwiGlu::PRODUCT));
            let shape = gated_shape(at.out_ty(LinearSwiGlu::H), at.ty(LinearSwiGlu::X).width(), precision);
            kernels::linear_swiglu(
                at.out(LinearSwiGlu::H),
                wide,
                at.f32(LinearSwiGlu::X),
                at.weight(LinearSwiGlu::W, precision),
                shape,
            );
        }
        Op::Embed(_) => kernels::embed(
            at.out(Embed::Y),
            at.f32(Embed::TABLE),
            at.i32(Embed::IDS),
            at.ty(Embed::TABLE).width(),
            1.0,
        ),
        Op::EmbedGrad(_) => {
            kernels::embed_grad(
                at.out(EmbedGrad::DTABLE),
                at.i32(EmbedGrad::IDS),
                at.f32(EmbedGrad::DY),
                at.ty(EmbedGrad::DY).width(),
                1.0,
                Store::Replace,
            );
        }
        Op::ResetRows(_) => kernels::reset_rows(
            at.out(ResetRows::Y),
            at.f32(ResetRows::Z),
            at.f32(ResetRows::MASK),
            at.f32(ResetRows::INIT),
        ),
        Op::RowDistance(_) => {
            let (new, old) = (at.f32(RowDistance::NEW), at.f32(RowDistance::OLD));
            kernels::row_distance(at.out(RowDistance::DISTANCE), new, old, MIN_SUM_OF_SQUARES);
        }
        Op::TokenLoss(op) => {
            let shape = loss_shape(at.ty(TokenLoss::LOGITS));
            kernels::token_loss(
                at.out(TokenLoss::LOSS),
                at.f32(TokenLoss::LOGITS),
                at.i32(TokenLoss::LABELS),
                op.kind,
                shape,
            );
        }
        Op::TokenLossGrad(op) => {
            let shape = loss_shape(at.ty(TokenLossGrad::LOGITS));
            kernels::token_loss_grad(
                at.out(TokenLossGrad::DLOGITS),
                at.f32(TokenLossGrad::LOGITS),
                at.i32(TokenLossGrad::LABELS),
                at.f32(TokenLossGrad::DLOSS),
                op.kind,
                shape,
            );
        }
        Op::Correctness(_) => {
            kernels::correctness(
                at.out(Correctness::RIGHT),
                at.out(Correctness::COUNTED),
                at.f32(Correctness::LOGITS),
                at.i32(Correctness::LABELS),
                loss_shape(at.ty(Correctness::LOGITS)),
            );
        }
        Op::BceWithLogits(_) => kernels::bce_with_logits(
            at.out(BceWithLogits::LOSS),
            at.f32(BceWithLogits::Q),
            at.f32(BceWithLogits::TARGET),
        ),
        Op::BceWithLogitsGrad(_) => {
            kernels::bce_with_logits_grad(
                at.out(BceWithLogitsGrad::DQ),
                at.f32(BceWithLogitsGrad::Q),
                at.f32(BceWithLogitsGrad::TARGET),
                at.f32(BceWithLogitsGrad::DLOSS),
            );
        }
        Op::AdamAtan2(op) => {
            let step = AdamAtan2Step {
                lr: at.scalar(AdamAtan2::LR),
                beta1: op.beta1,
                beta2: op.beta2,
                weight_decay: op.weight_decay,
                step_scale: at.scalar(AdamAtan2::STEP_SCALE),
                root_scale: at.scalar(AdamAtan2::ROOT_SCALE),
            };
            kernels::adam_atan2(
                at.out(AdamAtan2::NEW_WEIGHT),
                at.out(AdamAtan2::NEW_MOMENT1),
                at.out(AdamAtan2::NEW_MOMENT2),
                at.f32(AdamAtan2::GRADIENT),
                at.out(AdamAtan2::SQUARES),
                step,
            );
        }
        Op::AdamW(op) => {
            let step = AdamWStep {
                lr: at.scalar(AdamW::LR),
                beta1: op.beta1,
                beta2: op.beta2,
                weight_decay: op.weight_decay,
                step_scale: at.scalar(AdamW::STEP_SCALE),
                root_scale: at.scalar(AdamW::ROOT_SCALE),
                eps: op.eps,
            };
            kernels::adam_w(
                at.out(AdamW::NEW_WEIGHT),
                at.out(AdamW::NEW_MOMENT1),
                at.out(AdamW::NEW_MOMENT2),
                at.f32(AdamW::GRADIENT),
                at.out(AdamW::SQUARES),
                step,
            );
        }
        Op::SignSgdRows(op) => {
            let step = SignSgdStep { lr: at.scalar(SignSgdRows::LR), weight_decay: op.weight_decay };
            kernels::sign_sgd_rows(
                at.out(SignSgdRows::NEW_TABLE),
                at.i32(SignSgdRows::IDS),
                at.f32(SignSgdRows::GRADIENT),
                at.out(SignSgdRows::SQUARES),
                step,
            );
        }
        Op::Average(op) => kernels::average(at.out(Average::NEW_AVERAGE), at.f32(Average::WEIGHT), op.rate),
        Op::Assign(_) => kernels::assign(at.out(Assign::NEW_MEMORY), at.f32(Assign::VALUE)),
    }
}

fn linear_shape(x: &TensorType, w: &TensorType, precision: Precision) -> ProductShape {
    ProductShape::nt(x.rows(), w.shape[0], w.shape[1]).with_precision(precision)
}

fn grad_input_shape(dy: &TensorType, w: &TensorType, precision: Precision) -> ProductShape {
    ProductShape::nn(dy.rows(), w.shape[0], w.shape[1]).with_precision(precision)
}

fn grad_weight_shape(dy: &TensorType, x: &TensorType, precision: Precision) -> ProductShape {
    ProductShape::tn(dy.rows(), dy.width(), x.width()).with_precision(precision)
}

fn gated_shape(h: &TensorType, width: usize, precision: Precision) -> SwigluShape {
    SwigluShape { rows: h.rows(), width, inner: h.width(), precision }
}
