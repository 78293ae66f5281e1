//! From a plan to launches: which kernel makes each call, in how many blocks, with which arguments.
//!
//! A call of a plan becomes one or more steps: kernels of hrmc, and products, which cuBLAS makes. Consecutive updates
//! of one kind share a step. The steps of a plan describe all work of a device, so a machine without that device can
//! count them, test them and predict their time.

use super::kernels::{Kernel, Template};
use super::tiles::{self, Heads};
use crate::graph::ops::{
    AdamW, AddSuffix, Assign, Attention, AttentionGrad, Average, Concat, Correctness, Embed, EmbedGrad, Fill,
    Linear, LinearAddRmsNorm, LinearGradInput, LinearGradWeight, LinearSwiGlu, MIN_SUM_OF_SQUARES, Pad,
    ResetRows, Rotate, RowDistance, STRETCH, Scale, SignSgdRows, Slice, SumLeading, SwiGlu, SwiGluGrad,
    TokenLoss, TokenLossGrad, TokenLossKind, Transpose,
};
use crate::graph::{Op, TensorType};
use crate::plan::{Call, Location, Place, Plan};

pub use crate::plan::Element;

/// Threads of a block where each element has one.
const BLOCK: u64 = 256;
/// Lanes of a warp, and columns that a block of sums works on.
const WARP: u64 = 32;
/// Warps of a block that works on rows.
const WARPS: u64 = 8;
/// Elements that a thread of some kernels moves at once.
const EACH_THREAD: u64 = 4;
/// Side of the tile of a product that a kernel makes.
const TILE: u64 = 64;
/// Columns of a head that a block of attention makes.
const COLUMNS: u64 = 64;
/// Elements of a tensor that a block of updates works on, or some such stretches where there would be too many.
const CHUNK: u64 = STRETCH as u64;
/// The most chunks of a tensor.
const MAX_CHUNKS: u64 = 1 << 15;

/// The output that is an operator's result; what else it yields follows.
const RESULT: usize = 0;

/// The most blocks of a launch that any device accepts.
pub const MAX_BLOCKS: u64 = (1 << 31) - 1;

/// What a device does to run a plan once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Launches {
    /// The steps, in order. Each is one launch.
    pub steps: Vec<LaunchStep>,
    /// Tables that [`Argument::Cos`] and [`Argument::Sin`] refer to.
    pub tables: Vec<RotationTable>,
    /// Lists of chunks that [`Argument::Chunks`] refers to, made once: what they lead to does not move.
    pub chunks: Vec<Vec<ChunkWord>>,
    /// Bytes of [`Argument::Scratch`]: the most that any call needs.
    pub scratch_bytes: u64,
}

impl Launches {
    /// Returns the kernels of all steps, each once, sorted.
    pub fn kernels(&self) -> Vec<Kernel> {
        let mut kernels: Vec<Kernel> = self
            .steps
            .iter()
            .filter_map(|step| match &step.task {
                Task::Kernel(launch) => Some(launch.kernel.clone()),
                Task::Product(_) => None,
            })
            .collect();
        kernels.sort();
        kernels.dedup();
        kernels
    }
}

/// One launch.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchStep {
    /// Index of the call in [`Plan::calls`]; of the last one, where several in a row are one launch.
    pub call: usize,
    /// What is done.
    pub task: Task,
    /// Floating-point operations of products and attention.
    pub flops: u64,
    /// Bytes read and written, each once.
    pub bytes: u64,
}

impl LaunchStep {
    /// Returns the kernel that is run, if the step is not a product.
    pub fn launch(&self) -> Option<&Launch> {
        match &self.task {
            Task::Kernel(launch) => Some(launch),
            Task::Product(_) => None,
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Runs a kernel of hrmc.
    Kernel(Launch),
    /// Makes a product, for which cuBLAS has kernels.
    Product(Product),
}

impl Task {
    /// Returns the name in reports.
    pub fn name(&self) -> String {
        match self {
            Task::Kernel(launch) => launch.kernel.name(),
            Task::Product(Product { kind, factors, result, .. }) => {
                format!("{}_{}_{}", kind.name(), result.name(), factors.name())
            }
        }
    }
}

/// The product `out[i, j] = sum over l of a(i, l) b(l, j)` of matrices whose rows lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// How the factors lie.
    pub kind: ProductKind,
    /// Where the left factor is.
    pub a: Location,
    /// Where the right factor is.
    pub b: Location,
    /// Where the result goes, `[rows, columns]`.
    pub out: Location,
    /// Rows of the result.
    pub rows: u64,
    /// Columns of the result.
    pub columns: u64,
    /// Terms of each sum.
    pub terms: u64,
    /// Elements of both factors.
    pub factors: Element,
    /// Elements of the result; sums are f32.
    pub result: Element,
}

/// How the factors of a product lie in memory; `t` is for one that is used transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProductKind {
    /// `a [rows, terms]`, `b [columns, terms]`: the forward pass.
    Nt,
    /// `a [rows, terms]`, `b [terms, columns]`: the gradient of the input.
    Nn,
    /// `a [terms, rows]`, `b [terms, columns]`: the gradient of the weight.
    Tn,
}

impl ProductKind {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            ProductKind::Nt => "product_nt",
            ProductKind::Nn => "product_nn",
            ProductKind::Tn => "product_tn",
        }
    }
}

/// One kernel at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// What runs.
    pub kernel: Kernel,
    /// Blocks, in one dimension.
    pub blocks: u64,
    /// Threads of a block in two dimensions.
    pub threads: [u32; 2],
    /// What the kernel is given, in order.
    pub arguments: Vec<Argument>,
}

/// One argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// Start of a place in memory.
    Memory(Location),
    /// Start of the memory that belongs to a call while it runs.
    Scratch,
    /// The cosines of a table.
    Cos(usize),
    /// The sines of a table.
    Sin(usize),
    /// Start of a list of chunks.
    Chunks(usize),
    /// No memory.
    Null,
    /// A size, 64 bits wide.
    Size(u64),
    /// A number.
    Number(f32),
}

/// A word of a list of chunks, 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkWord {
    /// Address of a place in memory, and so many bytes behind it.
    Address {
        /// The place.
        location: Location,
        /// Bytes from its start.
        offset_bytes: u64,
    },
    /// A size.
    Size(u64),
}

/// Rotation tables, by [`rope_tables`](crate::graph::ops::rope_tables).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotationTable {
    /// Positions `S`.
    pub positions: usize,
    /// Width `E` of a head.
    pub head_width: usize,
    /// Base of the frequencies.
    pub theta: f32,
}

/// Returns the launches of a plan.
pub fn launches(plan: &Plan) -> Launches {
    let mut all = Launches::default();
    let mut calls = plan.calls.as_slice();
    while let Some(call) = calls.first() {
        let (together, rest) = calls.split_at(together(calls));
        calls = rest;
        let index = plan.calls.len() - calls.len() - 1;
        Placing { call, together, index, all: &mut all }.place();
    }
    all
}

/// Returns how many of the first of some calls are one launch: updates by one rule with equal numbers, where none reads
/// or writes what another one writes.
fn together(calls: &[Call]) -> usize {
    let first = &calls[0];
    let scalars: &[usize] = match first.op {
        Op::AdamAtan2(_) | Op::AdamW(_) => &AdamW::SCALARS,
        Op::Average(_) | Op::Assign(_) | Op::Scale(Scale { factor: 1.0 }) => &[],
        _ => return 1,
    };
    let independent = |call: &Call, other: &Call| {
        let touched = || call.inputs.iter().chain(&call.outputs);
        !other.outputs.iter().any(|output| touched().any(|place| place.overlaps(output)))
    };
    let joins = |&at: &usize| {
        let call = &calls[at];
        call.op == first.op
            && call
                .inputs
                .iter()
                .map(|place| place.element)
                .eq(first.inputs.iter().map(|place| place.element))
            && call
                .outputs
                .iter()
                .map(|place| place.element)
                .eq(first.outputs.iter().map(|place| place.element))
            && scalars.iter().all(|&scalar| call.inputs[scalar] == first.inputs[scalar])
            && calls[..at].iter().all(|other| independent(call, other) && independent(other, call))
    };
    (1..calls.len()).take_while(joins).count() + 1
}

impl Heads {
    fn of(qkv: &TensorType, heads: usize) -> Heads {
        Heads {
            batch: qkv.shape[0] as u64,
            positions: qkv.shape[1] as u64,
            heads: heads as u64,
            head_width: (qkv.shape[2] / 3 / heads) as u64,
        }
    }

    fn scale(&self) -> Argument {
        Argument::Number(1.0 / (self.head_width as f32).sqrt())
    }

    fn sizes(&self) -> [Argument; 3] {
        [self.positions, self.heads, self.head_width].map(Argument::Size)
    }

    /// Blocks of one tile of positions each, all columns of a head in one of them.
    fn tiles(&self) -> u64 {
        self.batch * self.heads * self.positions.div_ceil(WARPS)
    }

    /// Blocks where each makes [`COLUMNS`] columns.
    fn column_blocks(&self) -> u64 {
        self.tiles() * self.head_width.div_ceil(COLUMNS)
    }
}

/// Adds the launches of one call, or of some that are made together.
struct Placing<'a> {
    /// The first of the calls.
    call: &'a Call,
    /// All of them.
    together: &'a [Call],
    /// Index of the last one.
    index: usize,
    all: &'a mut Launches,
}

impl Placing<'_> {
    fn input(&self, index: usize) -> Argument {
        Argument::Memory(self.call.inputs[index].location)
    }

    fn output(&self, index: usize) -> Argument {
        Argument::Memory(self.call.outputs[index].location)
    }

    fn step(&mut self, task: Task, flops: u64, bytes: u64) {
        self.all.steps.push(LaunchStep { call: self.index, task, flops, bytes });
    }

    /// Says that the last step moves so many bytes, and not all that its arguments lead to.
    fn moves(&mut self, bytes: u64) {
        let last = self.all.steps.last_mut().filter(|step| step.call == self.index);
        last.expect("a step of this call comes before").bytes = bytes;
    }

    /// Returns all outputs, then all inputs but those that an output replaces.
    fn operands(&self) -> Vec<Argument> {
        let replaced =
            |input: usize| self.call.op.as_operation().in_place().iter().any(|pair| pair.0 == input);
        let outputs = (0..self.call.outputs.len()).map(|index| self.output(index));
        let inputs = (0..self.call.inputs.len()).filter(|&input| !replaced(input));
        outputs.chain(inputs.map(|index| self.input(index))).collect()
    }

    fn ty(&self, input: usize) -> &TensorType {
        &self.call.inputs[input].ty
    }

    fn out_ty(&self, output: usize) -> &TensorType {
        &self.call.outputs[output].ty
    }

    /// Returns the place that an argument leads to, if it is one of the call.
    fn place_of(&self, argument: Argument) -> Option<&Place> {
        let Argument::Memory(location) = argument else { return None };
        let mut places = self.call.outputs.iter().chain(&self.call.inputs);
        Some(places.find(|place| place.location == location).expect("arguments are of the call"))
    }

    /// Returns how the elements lie that an argument leads to.
    fn element(&self, argument: Argument) -> Element {
        self.place_of(argument).expect("elements of everything else are always the same").element
    }

    /// Runs a function for the elements that its arguments lead to.
    fn launch(&mut self, template: Template, blocks: u64, threads: [u64; 2], arguments: Vec<Argument>) {
        let typed = template.typed_parameters();
        let elements = typed.into_iter().map(|parameter| self.element(arguments[parameter])).collect();
        self.launch_for(Kernel { template, elements }, blocks, threads, arguments);
    }

    fn launch_for(&mut self, kernel: Kernel, blocks: u64, threads: [u64; 2], arguments: Vec<Argument>) {
        let threads = threads.map(|count| u32::try_from(count).expect("a block is small"));
        let flops = match kernel.template {
            Template::Attention
            | Template::AttentionBf16Of64
            | Template::AttentionBf16Of128
            | Template::AttentionGradBf16Short
            | Template::LinearSwiglu
            | Template::LinearSwigluBf16 => self.call.flops,
            Template::AttentionGradQueries
            | Template::AttentionGradKeys
            | Template::AttentionGradQueriesBf16Of64
            | Template::AttentionGradQueriesBf16Of128
            | Template::AttentionGradKeysBf16Of64
            | Template::AttentionGradKeysBf16Of128 => self.call.flops / 2,
            _ => 0,
        };
        let places = arguments.iter().filter_map(|&argument| self.place_of(argument));
        let bytes = places.map(|place| place.bytes() as u64).sum();
        self.step(Task::Kernel(Launch { kernel, blocks, threads, arguments }), flops, bytes);
    }

    /// Launches one thread for each of `count` elements, or for [`EACH_THREAD`] of them where a thread of the kernel
    /// moves that many. The count is the last argument. For 0 elements there is no launch.
    fn elements(&mut self, template: Template, count: u64, mut arguments: Vec<Argument>) {
        arguments.push(Argument::Size(count));
        if count > 0 {
            let each = match template {
                Template::Add | Template::Swiglu | Template::SwigluGrad => EACH_THREAD,
                _ => 1,
            };
            self.launch(template, count.div_ceil(each * BLOCK), [BLOCK, 1], arguments);
        }
    }

    /// Blocks of eight warps.
    fn warps(&mut self, template: Template, blocks: u64, arguments: Vec<Argument>) {
        self.launch(template, blocks, [WARP, WARPS], arguments);
    }

    /// Outputs and inputs in order, one thread for each element of the result.
    fn pointwise(&mut self, template: Template) {
        let count = elements(self.out_ty(RESULT));
        let arguments = self.operands();
        self.elements(template, count, arguments);
    }

    /// The product of both factors into output `output`, of `[rows, columns]` by sums of `terms`.
    fn product(&mut self, kind: ProductKind, output: usize, rows: usize, columns: usize, terms: usize) {
        let &[a, b] = self.call.op.as_operation().factors() else {
            unreachable!("a product has two factors")
        };
        let [a, b] = [a, b].map(|factor| &self.call.inputs[factor]);
        assert_eq!(a.element, b.element, "the planner stores factors alike");
        let Place { location: out, element: result, .. } = self.call.outputs[output];
        let [rows, columns, terms] = [rows, columns, terms].map(|size| size as u64);
        let bytes = [a, b, &self.call.outputs[output]].map(|place| place.bytes() as u64).iter().sum();
        let (a, b, factors) = (a.location, b.location, a.element);
        let product = Product { kind, a, b, out, rows, columns, terms, factors, result };
        let flops = rows.saturating_mul(columns).saturating_mul(terms).saturating_mul(2);
        self.step(Task::Product(product), flops, bytes);
    }

    /// `y = x wᵀ` of inputs `x` and `w` into output `output`.
    fn linear(&mut self, x: usize, w: usize, output: usize) {
        let (rows, columns, terms) = (self.ty(x).rows(), self.ty(w).shape[0], self.ty(w).shape[1]);
        self.product(ProductKind::Nt, output, rows, columns, terms);
    }

    /// A kernel with one warp for each row of the result; `eps` stands before the sizes where there is one.
    fn rows(&mut self, template: Template, mut arguments: Vec<Argument>, eps: Option<f32>) {
        let (rows, width) = (self.out_ty(RESULT).rows() as u64, self.out_ty(RESULT).width() as u64);
        arguments.extend(eps.map(Argument::Number));
        arguments.extend([rows, width].map(Argument::Size));
        self.warps(template, rows.div_ceil(WARPS), arguments);
    }

    /// A kernel with one block for each row of a batch of logits, input `logits`.
    fn tokens(&mut self, template: Template, logits: usize, kind: Option<TokenLossKind>) {
        let [batch, positions, vocab] = [0, 1, 2].map(|axis| self.ty(logits).shape[axis] as u64);
        let mut arguments = self.operands();
        arguments.extend(kind.map(|kind| Argument::Size(u64::from(kind == TokenLossKind::Softmax))));
        arguments.extend([positions, vocab].map(Argument::Size));
        self.warps(template, batch, arguments);
    }

    /// Copies `count` indices of an axis of an input into the result.
    fn copy(&mut self, input: usize, axis: usize, out_start: usize, in_start: usize, count: usize) {
        let (x, out) = (self.ty(input), self.out_ty(RESULT));
        let batch: u64 = x.shape[..axis].iter().map(|&size| size as u64).product();
        let width: u64 = x.shape[axis + 1..].iter().map(|&size| size as u64).product();
        let sizes =
            [count, out.shape[axis], out_start, x.shape[axis], in_start].map(|size| size as u64 * width);
        let mut arguments = vec![self.output(RESULT), self.input(input)];
        arguments.extend(sizes.map(Argument::Size));
        let elements = batch * sizes[0];
        if elements > 0 {
            self.elements(Template::CopyAxis, elements, arguments);
            let bytes = [&self.call.inputs[input], &self.call.outputs[RESULT]]
                .map(|place| place.element.bytes() as u64);
            self.moves(elements * bytes.iter().sum::<u64>());
        }
    }

    /// Returns the arguments of a table, which may be absent.
    fn table(&mut self, heads: &Heads, theta: Option<f32>) -> [Argument; 2] {
        let Some(theta) = theta else { return [Argument::Null; 2] };
        let table = RotationTable {
            positions: heads.positions as usize,
            head_width: heads.head_width as usize,
            theta,
        };
        let found = self.all.tables.iter().position(|other| *other == table).unwrap_or_else(|| {
            self.all.tables.push(table);
            self.all.tables.len() - 1
        });
        [Argument::Cos(found), Argument::Sin(found)]
    }

    /// Rotates `from` into the result.
    fn rotate(&mut self, from: Argument, heads: &Heads, theta: f32, inverse: bool) {
        let mut arguments = vec![self.output(RESULT), from];
        arguments.extend(self.table(heads, Some(theta)));
        arguments.push(Argument::Number(if inverse { -1.0 } else { 1.0 }));
        arguments.extend(heads.sizes());
        let pairs = heads.batch * heads.positions * 3 * heads.heads * (heads.head_width / 2);
        self.elements(Template::Rotate, pairs, arguments);
    }

    /// Returns whether arguments of the call lie in bf16, as the kernels on tensor cores take them.
    fn in_bf16<const COUNT: usize>(&self, arguments: [Argument; COUNT]) -> bool {
        arguments.into_iter().all(|argument| self.element(argument) == Element::Bf16)
    }

    fn launch_tiles(&mut self, tiles: tiles::TileLaunch, arguments: Vec<Argument>) {
        let tiles::TileLaunch { kernel, blocks, threads } = tiles;
        self.launch(kernel, blocks, threads.map(u64::from), arguments);
    }

    fn attention(&mut self, heads: &Heads, theta: Option<f32>) {
        let mut arguments =
            vec![self.output(Attention::OUT), self.output(Attention::LSE), self.input(Attention::QKV)];
        arguments.extend(self.table(heads, theta));
        arguments.push(heads.scale());
        arguments.extend(heads.sizes());
        match heads.attention() {
            Some(tiles) if self.in_bf16([self.output(Attention::OUT), self.input(Attention::QKV)]) => {
                self.launch_tiles(tiles, arguments)
            }
            _ => self.warps(Template::Attention, heads.column_blocks(), arguments),
        }
    }

    fn attention_grad(&mut self, heads: &Heads, theta: Option<f32>) {
        let table = self.table(heads, theta);
        let mut rest: Vec<Argument> = table.to_vec();
        rest.push(heads.scale());
        rest.extend(heads.sizes());
        let [qkv, lse, dout] =
            [AttentionGrad::QKV, AttentionGrad::LSE, AttentionGrad::DOUT].map(|input| self.input(input));
        let output = self.output(AttentionGrad::DQKV);
        let scratch = 4 * heads.batch * heads.heads * heads.positions;
        self.all.scratch_bytes = self.all.scratch_bytes.max(scratch);
        let read = self.call.inputs.iter().map(|place| place.bytes() as u64).sum::<u64>() + scratch;
        let third = self.call.outputs[AttentionGrad::DQKV].bytes() as u64 / 3;
        let second = [[output, qkv, lse, dout, Argument::Scratch].as_slice(), &rest].concat();
        let in_bf16 = self.in_bf16([output, qkv, dout]);
        match (heads.attention_grad_short(), heads.attention_grad()) {
            (Some(all), _) if in_bf16 => {
                let arguments = [output, Argument::Scratch, qkv, lse, dout];
                self.launch_tiles(all, [arguments.as_slice(), &rest].concat());
                self.moves(read + 3 * third);
            }
            (None, Some([queries, keys])) if in_bf16 => {
                let first = [output, Argument::Scratch, qkv, Argument::Null, lse, dout];
                self.launch_tiles(queries, [first.as_slice(), &rest].concat());
                self.moves(read + third);
                self.launch_tiles(keys, second);
                self.moves(read + 2 * third);
            }
            _ => {
                let first = [Argument::Scratch, qkv, lse, dout];
                self.warps(Template::AttentionGradDelta, heads.tiles(), [first.as_slice(), &rest].concat());
                self.moves(read);
                self.warps(Template::AttentionGradQueries, heads.column_blocks(), second.clone());
                self.moves(read + third);
                self.warps(Template::AttentionGradKeys, heads.column_blocks(), second);
                self.moves(read + 2 * third);
                if let Some(theta) = theta {
                    self.rotate(output, heads, theta, true);
                }
            }
        }
    }

    /// The gated unit of a product, in one launch where the product need not be kept or tensor cores make it.
    fn linear_swiglu(&mut self, keep: bool) {
        let (rows, inner) =
            (self.out_ty(LinearSwiGlu::H).rows() as u64, self.out_ty(LinearSwiGlu::H).width() as u64);
        let [out, x, w] =
            [self.output(LinearSwiGlu::H), self.input(LinearSwiGlu::X), self.input(LinearSwiGlu::W)];
        let wide = if keep { self.output(LinearSwiGlu::PRODUCT) } else { Argument::Null };
        let sizes = [rows, inner, self.ty(LinearSwiGlu::X).width() as u64].map(Argument::Size);
        if self.in_bf16([out, x, w]) && (!keep || self.in_bf16([wide])) {
            let arguments = [[out, wide, x, w].as_slice(), &sizes].concat();
            self.launch_tiles(tiles::linear_swiglu(rows, inner), arguments);
        } else if keep {
            self.linear(LinearSwiGlu::X, LinearSwiGlu::W, LinearSwiGlu::PRODUCT);
            self.gate(wide);
        } else {
            let blocks = rows.div_ceil(TILE) * inner.div_ceil(TILE / 2);
            let arguments = [[out, x, w].as_slice(), &sizes].concat();
            self.launch(Template::LinearSwiglu, blocks, [16, 16], arguments);
        }
    }

    /// One block for each chunk of the tensors of all calls together, of which `tensors` returns those of one.
    fn chunks(&mut self, template: Template, tensors: fn(&Call) -> Vec<&Place>, rest: Vec<Argument>) {
        let (mut words, mut blocks, mut bytes) = (Vec::new(), 0, 0);
        for call in self.together {
            let tensors = tensors(call);
            let (changed, squares) = match template {
                Template::AdamAtan2 | Template::AdamW => (3, Some(&call.outputs[AdamW::SQUARES])),
                Template::Average => (1, None),
                _ => (0, None),
            };
            // What changes is read and written.
            bytes += tensors.iter().chain(&tensors[..changed]).map(|place| place.bytes() as u64).sum::<u64>();
            bytes += squares.map_or(0, |place| place.bytes() as u64);
            let count = elements(&tensors[0].ty);
            let chunk = count.div_ceil(MAX_CHUNKS).next_multiple_of(CHUNK).max(CHUNK);
            for start in (0..count).step_by(chunk as usize) {
                words.extend(tensors.iter().map(|place| ChunkWord::Address {
                    location: place.location,
                    offset_bytes: place.element.bytes() as u64 * start,
                }));
                words.extend(squares.map(|place| ChunkWord::Address {
                    location: place.location,
                    offset_bytes: place.element.bytes() as u64 * (start / CHUNK),
                }));
                words.push(ChunkWord::Size(chunk.min(count - start)));
                blocks += 1;
            }
        }
        let elements = match template {
            Template::Assign => tensors(self.call).iter().map(|place| place.element).collect(),
            _ => Vec::new(),
        };
        let arguments = [vec![Argument::Chunks(self.all.chunks.len())], rest].concat();
        self.all.chunks.push(words);
        self.launch_for(Kernel { template, elements }, blocks, [BLOCK, 1], arguments);
        self.moves(bytes);
    }

    /// Updates of the Adam family.
    fn adam(&mut self, template: Template, numbers: &[f32]) {
        let mut rest = AdamW::SCALARS.map(|scalar| self.input(scalar)).to_vec();
        rest.extend(numbers.iter().map(|&number| Argument::Number(number)));
        self.chunks(template, |call| AdamW::TENSORS.map(|tensor| &call.inputs[tensor]).to_vec(), rest);
    }

    fn place(&mut self) {
        match &self.call.op {
            Op::Input(_) | Op::Detach(_) | Op::Reshape(_) => unreachable!("inputs and views make no call"),
            Op::Slice(op) => self.copy(Slice::X, op.axis, 0, op.start, op.end - op.start),
            Op::Concat(op) => {
                let [first, second] = [Concat::A, Concat::B].map(|input| self.ty(input).shape[op.axis]);
                self.copy(Concat::A, op.axis, 0, 0, first);
                self.copy(Concat::B, op.axis, first, 0, second);
            }
            Op::Pad(op) => {
                let (x, out) = (self.ty(Pad::X), self.out_ty(Pad::Y));
                let width: usize = x.shape[op.axis + 1..].iter().product();
                let sizes =
                    [x.shape[op.axis], out.shape[op.axis], op.before].map(|size| (size * width) as u64);
                let count = elements(out);
                let mut arguments = self.operands();
                arguments.extend(sizes.map(Argument::Size));
                self.elements(Template::Pad, count, arguments);
            }
            Op::Transpose(_) => {
                let [batch, rows, columns] = [0, 1, 2].map(|axis| self.ty(Transpose::X).shape[axis] as u64);
                let mut arguments = self.operands();
                arguments.extend([rows, columns].map(Argument::Size));
                let squares = rows.div_ceil(WARP) * columns.div_ceil(WARP);
                self.warps(Template::Transpose, batch * squares, arguments);
            }
            Op::Add(_) => self.pointwise(Template::Add),
            Op::Scale(Scale { factor: 1.0 }) => {
                self.chunks(
                    Template::Assign,
                    |call| vec![&call.outputs[Scale::Y], &call.inputs[Scale::X]],
                    Vec::new(),
                );
            }
            Op::Scale(op) => {
                let count = elements(self.out_ty(Scale::Y));
                let arguments =
                    vec![self.output(Scale::Y), self.input(Scale::X), Argument::Number(op.factor)];
                self.elements(Template::Scale, count, arguments);
            }
            Op::AddSuffix(_) => {
                let mut arguments = self.operands();
                arguments.push(Argument::Size(elements(self.ty(AddSuffix::SUFFIX))));
                let count = elements(self.out_ty(AddSuffix::Y));
                self.elements(Template::AddSuffix, count, arguments);
            }
            Op::SumLeading(_) => {
                let size = elements(self.out_ty(SumLeading::Y));
                let rows = elements(self.ty(SumLeading::X)) / size;
                let mut arguments = self.operands();
                arguments.extend([rows, size].map(Argument::Size));
                self.warps(Template::SumLeading, size.div_ceil(WARP), arguments);
            }
            Op::Fill(op) => {
                let count = elements(self.out_ty(Fill::Y));
                let arguments = vec![self.output(Fill::Y), Argument::Number(op.value)];
                self.elements(Template::Fill, count, arguments);
            }
            Op::Sigmoid(_) => self.pointwise(Template::Sigmoid),
            Op::Maximum(_) => self.pointwise(Template::Maximum),
            Op::Choose(_) => self.pointwise(Template::Choose),
            Op::Equal(_) => self.pointwise(Template::Equal),
            Op::Linear(_) => self.linear(Linear::X, Linear::W, Linear::Y),
            Op::LinearGradInput(_) => {
                let [terms, columns] = [0, 1].map(|axis| self.ty(LinearGradInput::W).shape[axis]);
                self.product(
                    ProductKind::Nn,
                    LinearGradInput::DX,
                    self.ty(LinearGradInput::DY).rows(),
                    columns,
                    terms,
                );
            }
            Op::LinearGradWeight(_) => {
                let (rows, columns) =
                    (self.ty(LinearGradWeight::DY).width(), self.ty(LinearGradWeight::X).width());
                self.product(
                    ProductKind::Tn,
                    LinearGradWeight::DW,
                    rows,
                    columns,
                    self.ty(LinearGradWeight::DY).rows(),
                );
            }
            Op::RmsNorm(op) => self.rows(Template::RmsNorm, self.operands(), Some(op.eps)),
            Op::RmsNormGrad(_) => self.rows(Template::RmsNormGrad, self.operands(), None),
            Op::AddRmsNorm(op) => self.rows(Template::AddRmsNorm, self.operands(), Some(op.eps)),
            Op::LinearAddRmsNorm(op) => {
                self.linear(LinearAddRmsNorm::X, LinearAddRmsNorm::W, LinearAddRmsNorm::Y);
                // The norm takes the product from where it leaves its result.
                let product = self.output(LinearAddRmsNorm::Y);
                let arguments = vec![
                    product,
                    self.output(LinearAddRmsNorm::FACTOR),
                    product,
                    self.input(LinearAddRmsNorm::RESIDUAL),
                ];
                self.rows(Template::AddRmsNorm, arguments, Some(op.eps));
            }
            Op::Rotate(op) => {
                let heads = Heads::of(self.ty(Rotate::QKV), op.heads);
                self.rotate(self.input(Rotate::QKV), &heads, op.theta, op.inverse);
            }
            Op::Attention(op) => self.attention(&Heads::of(self.ty(Attention::QKV), op.heads), op.rope_theta),
            Op::AttentionGrad(op) => {
                self.attention_grad(&Heads::of(self.ty(AttentionGrad::QKV), op.heads), op.rope_theta)
            }
            Op::SwiGlu(_) => self.gate(self.input(SwiGlu::X)),
            Op::SwiGluGrad(_) => {
                let (inner, count) =
                    (self.ty(SwiGluGrad::DH).width() as u64, elements(self.ty(SwiGluGrad::DH)));
                let mut arguments = self.operands();
                arguments.push(Argument::Size(inner));
                self.elements(Template::SwigluGrad, count, arguments);
            }
            Op::LinearSwiGlu(op) => self.linear_swiglu(op.keep),
            Op::Embed(_) => {
                let (width, count) = (self.ty(Embed::TABLE).width() as u64, elements(self.out_ty(Embed::Y)));
                let mut arguments = self.operands();
                arguments.push(Argument::Size(width));
                self.elements(Template::Embed, count, arguments);
                let rows = (4 * count).min(self.call.inputs[Embed::TABLE].bytes() as u64);
                self.moves(
                    rows + (self.call.inputs[Embed::IDS].bytes() + self.call.outputs[Embed::Y].bytes())
                        as u64,
                );
            }
            Op::EmbedGrad(op) => {
                let (tokens, width) =
                    (elements(self.ty(EmbedGrad::IDS)), self.ty(EmbedGrad::DY).width() as u64);
                let mut arguments = self.operands();
                arguments.extend([tokens, width].map(Argument::Size));
                self.warps(Template::EmbedGrad, op.rows as u64 * width.div_ceil(WARP), arguments);
            }
            Op::ResetRows(_) => {
                let (z, count) = (self.ty(ResetRows::Z), elements(self.ty(ResetRows::Z)));
                let sizes = [count / z.shape[0] as u64, z.width() as u64];
                let mut arguments = self.operands();
                arguments.extend(sizes.map(Argument::Size));
                self.elements(Template::ResetRows, count, arguments);
            }
            Op::RowDistance(_) => {
                let batch = self.ty(RowDistance::NEW).shape[0] as u64;
                let row = elements(self.ty(RowDistance::NEW)) / batch;
                let mut arguments = self.operands();
                arguments.extend([Argument::Number(MIN_SUM_OF_SQUARES), Argument::Size(row)]);
                self.warps(Template::RowDistance, batch, arguments);
            }
            Op::TokenLoss(op) => self.tokens(Template::TokenLoss, TokenLoss::LOGITS, Some(op.kind)),
            Op::TokenLossGrad(op) => {
                self.tokens(Template::TokenLossGrad, TokenLossGrad::LOGITS, Some(op.kind))
            }
            Op::Correctness(_) => self.tokens(Template::Correctness, Correctness::LOGITS, None),
            Op::BceWithLogits(_) => self.pointwise(Template::BceWithLogits),
            Op::BceWithLogitsGrad(_) => self.pointwise(Template::BceWithLogitsGrad),
            Op::AdamAtan2(op) => self.adam(Template::AdamAtan2, &[op.beta1, op.beta2, op.weight_decay]),
            Op::AdamW(op) => self.adam(Template::AdamW, &[op.beta1, op.beta2, op.weight_decay, op.eps]),
            Op::SignSgdRows(op) => {
                let (batch, width) =
                    (elements(self.ty(SignSgdRows::IDS)), self.ty(SignSgdRows::TABLE).width() as u64);
                let mut arguments = self.operands();
                arguments.push(Argument::Number(op.weight_decay));
                arguments.extend([batch, width].map(Argument::Size));
                self.launch(Template::SignSgdRows, batch, [BLOCK, 1], arguments);
                let rows = 8 * batch * width;
                self.moves(
                    rows + (self.call.inputs[SignSgdRows::IDS].bytes()
                        + self.call.inputs[SignSgdRows::GRADIENT].bytes()) as u64,
                );
            }
            Op::Average(op) => {
                let rest = vec![Argument::Number(op.rate)];
                self.chunks(
                    Template::Average,
                    |call| vec![&call.inputs[Average::AVERAGE], &call.inputs[Average::WEIGHT]],
                    rest,
                );
            }
            Op::Assign(_) => {
                self.chunks(
                    Template::Assign,
                    |call| vec![&call.inputs[Assign::MEMORY], &call.inputs[Assign::VALUE]],
                    Vec::new(),
                );
            }
        }
    }

    /// The gated unit of `wide` into the result.
    fn gate(&mut self, wide: Argument) {
        let (inner, count) = (self.out_ty(RESULT).width() as u64, elements(self.out_ty(RESULT)));
        self.elements(Template::Swiglu, count, vec![self.output(RESULT), wide, Argument::Size(inner)]);
    }
}

fn elements(ty: &TensorType) -> u64 {
    ty.elements() as u64
}

#[cfg(test)]
mod tests {
    use super::{Task, launches};
    use crate::graph::ops::{Assign, Average, LinearAddRmsNorm, Scale, Slice};
    use crate::graph::{Graph, TensorType, Value};
    use crate::ir::Precision;
    use crate::plan::{Demands, plan_for};

    fn input(graph: &mut Graph, name: &str) -> Value {
        graph.input(name, TensorType::f32(&[8]))
    }

    /// Returns the name of each launch with the last call that it makes.
    fn steps(graph: &Graph) -> Vec<(&'static str, usize)> {
        let all = launches(&plan_for(graph, Demands::cuda(Precision::F32)));
        let name = |task: &Task| match task {
            Task::Kernel(launch) => launch.kernel.template.name(),
            Task::Product(product) => product.kind.name(),
        };
        all.steps.iter().map(|step| (name(&step.task), step.call)).collect()
    }

    #[test]
    fn steps_cost_what_they_do() {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(&[2, 3]));
        let w = graph.input("w", TensorType::f32(&[5, 3]));
        let residual = graph.input("residual", TensorType::f32(&[2, 5]));
        let norm = graph.add(LinearAddRmsNorm { eps: 0.1 }.into(), &[x, w, residual]);
        let first = graph.add1(Slice { axis: 0, start: 0, end: 1 }.into(), &[norm[0]]);
        graph.set_output("first", first);
        let plan = plan_for(&graph, Demands::cuda(Precision::F32));
        let costs: Vec<_> = launches(&plan).steps.iter().map(|step| (step.flops, step.bytes)).collect();
        let product = (2 * 2 * 3 * 5, 4 * (2 * 3 + 5 * 3 + 2 * 5));
        // The norm reads the product and the residual, and writes its result and a factor for each row.
        assert_eq!(costs, [product, (0, 4 * (3 * 2 * 5 + 2)), (0, 4 * (5 + 5))]);
    }

    #[test]
    fn updates_by_equal_numbers_are_one_launch() {
        let mut graph = Graph::new();
        for (name, rate) in [("a", 0.5), ("b", 0.25), ("c", 0.5)] {
            let [memory, value] =
                [name.to_string(), format!("new {name}")].map(|name| input(&mut graph, &name));
            graph.add(Average { rate }.into(), &[memory, value]);
        }
        assert_eq!(steps(&graph), [("average", 0), ("average", 2)]);
    }

    #[test]
    fn an_update_that_reads_what_another_one_writes_is_a_launch_of_its_own() {
        let mut graph = Graph::new();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| input(&mut graph, name));
        let new = graph.add1(Assign.into(), &[a, b]);
        graph.add(Assign.into(), &[c, new]);
        let other = graph.add1(Scale { factor: 2.0 }.into(), &[b]);
        graph.add(Assign.into(), &[d, other]);
        // The one of `d` is as old as the last one, but depends on nothing.
        assert_eq!(steps(&graph), [("scale", 0), ("assign", 1), ("assign", 3)]);
    }
}
