//! From a plan to launches: which kernel makes each call, in how many blocks, with which arguments.
//!
//! A call of a plan is one step, or a few in a row: kernels of hrmc, and products, which a library makes. The steps of a
//! plan say all that a device has to do, so they can be counted, tested and priced on a machine without one.

use super::kernels::Kernel;
use crate::graph::ops::{LEAST_SQUARES, TokenLossKind};
use crate::graph::{Op, TensorType};
use crate::plan::{Call, Location, Plan};

/// Threads of a block where each element has one.
const BLOCK: u64 = 256;
/// Lanes of a warp, and columns that a block of sums works on.
const WARP: u64 = 32;
/// Warps of a block that works on rows.
const WARPS: u64 = 8;
/// Side of the tile of a product that a kernel makes.
const TILE: u64 = 64;
/// Columns of a head that a block of attention makes.
const COLUMNS: u64 = 64;

/// The most blocks of a launch that any device accepts.
pub const MOST_BLOCKS: u64 = (1 << 31) - 1;

/// What a device does to run a plan once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Launches {
    /// The steps, in order. Each is one launch.
    pub steps: Vec<Step>,
    /// Tables that [`Argument::Cos`] and [`Argument::Sin`] refer to.
    pub tables: Vec<Table>,
    /// Bytes of [`Argument::Scratch`]: the most that any call needs.
    pub scratch_bytes: u64,
}

/// One launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Index of the call in [`Plan::calls`].
    pub call: usize,
    /// What is done.
    pub task: Task,
}

impl Step {
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

/// Type of the elements of a matrix in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// 32-bit floating point.
    F32,
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
    /// No memory.
    Null,
    /// A size, 64 bits wide.
    Size(u64),
    /// A number.
    Number(f32),
}

/// Rotation tables, by [`rope_tables`](crate::graph::ops::rope_tables).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Table {
    /// Positions `T`.
    pub positions: usize,
    /// Width `K` of a head.
    pub head_width: usize,
    /// Base of the frequencies.
    pub theta: f32,
}

/// Returns the launches of a plan. Products are in f32 whatever the precision of the plan.
pub fn launches(plan: &Plan) -> Launches {
    let mut all = Launches::default();
    for (index, call) in plan.calls.iter().enumerate() {
        Placing { call, index, all: &mut all }.place();
    }
    all
}

/// Sizes of the arguments of attention.
struct Heads {
    batch: u64,
    positions: u64,
    heads: u64,
    head_width: u64,
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
    fn blocks(&self) -> u64 {
        self.tiles() * self.head_width.div_ceil(COLUMNS)
    }
}

/// Adds the launches of one call.
struct Placing<'a> {
    call: &'a Call,
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

    fn step(&mut self, task: Task) {
        self.all.steps.push(Step { call: self.index, task });
    }

    /// Returns all outputs, then all inputs but the first `replaced`, which are outputs at once.
    fn all_but_replaced(&self, replaced: usize) -> Vec<Argument> {
        let outputs = (0..self.call.outputs.len()).map(|index| self.output(index));
        outputs.chain((replaced..self.call.inputs.len()).map(|index| self.input(index))).collect()
    }

    fn ty(&self, input: usize) -> &TensorType {
        &self.call.inputs[input].ty
    }

    fn out_ty(&self, output: usize) -> &TensorType {
        &self.call.outputs[output].ty
    }

    fn launch(&mut self, kernel: Kernel, blocks: u64, threads: [u64; 2], arguments: Vec<Argument>) {
        let threads = threads.map(|count| u32::try_from(count).expect("a block is small"));
        self.step(Task::Kernel(Launch { kernel, blocks, threads, arguments }));
    }

    /// One thread for each of `count` elements; the count is the last argument. Nothing runs for no elements.
    fn elements(&mut self, kernel: Kernel, count: u64, mut arguments: Vec<Argument>) {
        arguments.push(Argument::Size(count));
        if count > 0 {
            self.launch(kernel, count.div_ceil(BLOCK), [BLOCK, 1], arguments);
        }
    }

    /// Blocks of eight warps.
    fn warps(&mut self, kernel: Kernel, blocks: u64, arguments: Vec<Argument>) {
        self.launch(kernel, blocks, [WARP, WARPS], arguments);
    }

    /// Outputs and inputs in order, one thread for each element of the first output.
    fn pointwise(&mut self, kernel: Kernel) {
        let count = elements(self.out_ty(0));
        let arguments = self.all_but_replaced(0);
        self.elements(kernel, count, arguments);
    }

    /// The product of both inputs into output `output`, of `[rows, columns]` by sums of `terms`.
    fn product(&mut self, kind: ProductKind, output: usize, rows: usize, columns: usize, terms: usize) {
        let [a, b] = [0, 1].map(|input| self.call.inputs[input].location);
        let out = self.call.outputs[output].location;
        let [rows, columns, terms] = [rows, columns, terms].map(|size| size as u64);
        let (factors, result) = (Element::F32, Element::F32);
        self.step(Task::Product(Product { kind, a, b, out, rows, columns, terms, factors, result }));
    }

    /// `y = x wᵀ` into output `output`.
    fn linear(&mut self, output: usize) {
        let (rows, columns, terms) = (self.ty(0).rows(), self.ty(1).shape[0], self.ty(1).shape[1]);
        self.product(ProductKind::Nt, output, rows, columns, terms);
    }

    /// A kernel with one warp for each row of the first output; `eps` stands before the sizes where there is one.
    fn rows(&mut self, kernel: Kernel, mut arguments: Vec<Argument>, eps: Option<f32>) {
        let (rows, width) = (self.out_ty(0).rows() as u64, self.out_ty(0).width() as u64);
        arguments.extend(eps.map(Argument::Number));
        arguments.extend([rows, width].map(Argument::Size));
        self.warps(kernel, rows.div_ceil(WARPS), arguments);
    }

    /// A kernel with one block for each row of a batch of logits, input `logits`.
    fn tokens(&mut self, kernel: Kernel, kind: Option<TokenLossKind>) {
        let (batch, positions, vocab) =
            (self.ty(0).shape[0] as u64, self.ty(0).shape[1] as u64, self.ty(0).shape[2] as u64);
        let mut arguments = self.all_but_replaced(0);
        arguments.extend(kind.map(|kind| Argument::Size(u64::from(kind == TokenLossKind::Softmax))));
        arguments.extend([positions, vocab].map(Argument::Size));
        self.warps(kernel, batch, arguments);
    }

    /// Copies `count` indices of an axis of an input into the first output.
    fn copy(&mut self, input: usize, axis: usize, out_start: usize, in_start: usize, count: usize) {
        let (x, out) = (self.ty(input), self.out_ty(0));
        let batch: u64 = x.shape[..axis].iter().map(|&size| size as u64).product();
        let width: u64 = x.shape[axis + 1..].iter().map(|&size| size as u64).product();
        let sizes =
            [count, out.shape[axis], out_start, x.shape[axis], in_start].map(|size| size as u64 * width);
        let mut arguments = vec![self.output(0), self.input(input)];
        arguments.extend(sizes.map(Argument::Size));
        self.elements(Kernel::CopyAxis, batch * sizes[0], arguments);
    }

    /// Returns the arguments of a table, which may be absent.
    fn table(&mut self, heads: &Heads, theta: Option<f32>) -> [Argument; 2] {
        let Some(theta) = theta else { return [Argument::Null; 2] };
        let table =
            Table { positions: heads.positions as usize, head_width: heads.head_width as usize, theta };
        let found = self.all.tables.iter().position(|other| *other == table).unwrap_or_else(|| {
            self.all.tables.push(table);
            self.all.tables.len() - 1
        });
        [Argument::Cos(found), Argument::Sin(found)]
    }

    /// Rotates `from` into the first output.
    fn rotate(&mut self, from: Argument, heads: &Heads, theta: f32, inverse: bool) {
        let mut arguments = vec![self.output(0), from];
        arguments.extend(self.table(heads, Some(theta)));
        arguments.push(Argument::Number(if inverse { -1.0 } else { 1.0 }));
        arguments.extend(heads.sizes());
        let pairs = heads.batch * heads.positions * 3 * heads.heads * (heads.head_width / 2);
        self.elements(Kernel::RotateQkv, pairs, arguments);
    }

    fn attention(&mut self, heads: &Heads, theta: Option<f32>) {
        let mut arguments = vec![self.output(0), self.output(1), self.input(0)];
        arguments.extend(self.table(heads, theta));
        arguments.push(heads.scale());
        arguments.extend(heads.sizes());
        self.warps(Kernel::Attention, heads.blocks(), arguments);
    }

    fn attention_grad(&mut self, heads: &Heads, theta: Option<f32>) {
        let table = self.table(heads, theta);
        let mut rest: Vec<Argument> = table.to_vec();
        rest.push(heads.scale());
        rest.extend(heads.sizes());
        let inputs = [0, 1, 2].map(|index| self.input(index));
        let delta = [[Argument::Scratch].as_slice(), &inputs, &rest].concat();
        self.warps(Kernel::AttentionGradDelta, heads.tiles(), delta);
        let output = self.output(0);
        let main = [[output].as_slice(), &inputs, &[Argument::Scratch], &rest].concat();
        self.warps(Kernel::AttentionGradQueries, heads.blocks(), main.clone());
        self.warps(Kernel::AttentionGradKeys, heads.blocks(), main);
        if let Some(theta) = theta {
            self.rotate(output, heads, theta, true);
        }
        let scratch = 4 * heads.batch * heads.heads * heads.positions;
        self.all.scratch_bytes = self.all.scratch_bytes.max(scratch);
    }

    /// An update of the Adam family.
    fn adam(&mut self, kernel: Kernel, numbers: &[f32]) {
        let mut arguments = self.all_but_replaced(3);
        arguments.extend(numbers.iter().map(|&number| Argument::Number(number)));
        let count = elements(self.out_ty(0));
        self.elements(kernel, count, arguments);
    }

    fn place(&mut self) {
        match &self.call.op {
            Op::Input(_) | Op::Detach(_) | Op::Reshape(_) => unreachable!("inputs and views make no call"),
            Op::Slice(op) => self.copy(0, op.axis, 0, op.start, op.end - op.start),
            Op::Concat(op) => {
                let [first, second] = [0, 1].map(|input| self.ty(input).shape[op.axis]);
                self.copy(0, op.axis, 0, 0, first);
                self.copy(1, op.axis, first, 0, second);
            }
            Op::Pad(op) => {
                let (x, out) = (self.ty(0), self.out_ty(0));
                let width: usize = x.shape[op.axis + 1..].iter().product();
                let sizes =
                    [x.shape[op.axis], out.shape[op.axis], op.before].map(|size| (size * width) as u64);
                let count = elements(out);
                let mut arguments = self.all_but_replaced(0);
                arguments.extend(sizes.map(Argument::Size));
                self.elements(Kernel::PadAxis, count, arguments);
            }
            Op::Transpose(_) => {
                let [batch, rows, columns] = [0, 1, 2].map(|axis| self.ty(0).shape[axis] as u64);
                let mut arguments = self.all_but_replaced(0);
                arguments.extend([rows, columns].map(Argument::Size));
                let squares = rows.div_ceil(WARP) * columns.div_ceil(WARP);
                self.warps(Kernel::TransposeLastTwo, batch * squares, arguments);
            }
            Op::Add(_) => self.pointwise(Kernel::Add),
            Op::Scale(op) => {
                let count = elements(self.out_ty(0));
                let arguments = vec![self.output(0), self.input(0), Argument::Number(op.factor)];
                self.elements(Kernel::Scale, count, arguments);
            }
            Op::AddSuffix(_) => {
                let mut arguments = self.all_but_replaced(0);
                arguments.push(Argument::Size(elements(self.ty(1))));
                let count = elements(self.out_ty(0));
                self.elements(Kernel::AddSuffix, count, arguments);
            }
            Op::SumLeading(_) => {
                let size = elements(self.out_ty(0));
                let rows = elements(self.ty(0)) / size;
                let mut arguments = self.all_but_replaced(0);
                arguments.extend([rows, size].map(Argument::Size));
                self.warps(Kernel::SumLeading, size.div_ceil(WARP), arguments);
            }
            Op::Fill(op) => {
                let count = elements(self.out_ty(0));
                let arguments = vec![self.output(0), Argument::Number(op.value)];
                self.elements(Kernel::Fill, count, arguments);
            }
            Op::Sigmoid(_) => self.pointwise(Kernel::Sigmoid),
            Op::Maximum(_) => self.pointwise(Kernel::Maximum),
            Op::Select(_) => self.pointwise(Kernel::Choose),
            Op::Equal(_) => self.pointwise(Kernel::Equal),
            Op::Linear(_) => self.linear(0),
            Op::LinearGradInput(_) => {
                let [terms, columns] = [0, 1].map(|axis| self.ty(1).shape[axis]);
                self.product(ProductKind::Nn, 0, self.ty(0).rows(), columns, terms);
            }
            Op::LinearGradWeight(_) => {
                let (rows, columns) = (self.ty(0).width(), self.ty(1).width());
                self.product(ProductKind::Tn, 0, rows, columns, self.ty(0).rows());
            }
            Op::RmsNorm(op) => self.rows(Kernel::RmsNorm, self.all_but_replaced(0), Some(op.eps)),
            Op::RmsNormGrad(_) => self.rows(Kernel::RmsNormGrad, self.all_but_replaced(0), None),
            Op::AddRmsNorm(op) => self.rows(Kernel::AddRmsNorm, self.all_but_replaced(0), Some(op.eps)),
            Op::LinearAddRmsNorm(op) => {
                self.linear(0);
                // The norm takes the product from where it leaves its result.
                let product = self.output(0);
                let arguments = vec![product, self.output(1), product, self.input(2)];
                self.rows(Kernel::AddRmsNorm, arguments, Some(op.eps));
            }
            Op::Rotate(op) => {
                let heads = Heads::of(self.ty(0), op.heads);
                self.rotate(self.input(0), &heads, op.theta, op.inverse);
            }
            Op::Attention(op) => self.attention(&Heads::of(self.ty(0), op.heads), op.rope_theta),
            Op::AttentionGrad(op) => self.attention_grad(&Heads::of(self.ty(0), op.heads), op.rope_theta),
            Op::SwiGlu(_) => self.gate(self.input(0)),
            Op::SwiGluGrad(_) => {
                let (inner, count) = (self.ty(1).width() as u64, elements(self.ty(1)));
                let mut arguments = self.all_but_replaced(0);
                arguments.push(Argument::Size(inner));
                self.elements(Kernel::SwigluGrad, count, arguments);
            }
            Op::LinearSwiGlu(op) if op.keep => {
                self.linear(1);
                self.gate(self.output(1));
            }
            Op::LinearSwiGlu(_) => {
                let (rows, inner) = (self.out_ty(0).rows() as u64, self.out_ty(0).width() as u64);
                let mut arguments = self.all_but_replaced(0);
                arguments.extend([rows, inner, self.ty(0).width() as u64].map(Argument::Size));
                let blocks = rows.div_ceil(TILE) * inner.div_ceil(TILE / 2);
                self.launch(Kernel::ProductSwiglu, blocks, [16, 16], arguments);
            }
            Op::Embed(_) => {
                let (width, count) = (self.ty(0).width() as u64, elements(self.out_ty(0)));
                let mut arguments = self.all_but_replaced(0);
                arguments.push(Argument::Size(width));
                self.elements(Kernel::Embed, count, arguments);
            }
            Op::EmbedGrad(op) => {
                let (tokens, width) = (elements(self.ty(0)), self.ty(1).width() as u64);
                let mut arguments = self.all_but_replaced(0);
                arguments.extend([tokens, width].map(Argument::Size));
                self.warps(Kernel::EmbedGrad, op.rows as u64 * width.div_ceil(WARP), arguments);
            }
            Op::ResetRows(_) => {
                let (z, count) = (self.ty(0), elements(self.ty(0)));
                let sizes = [count / z.shape[0] as u64, z.width() as u64];
                let mut arguments = self.all_but_replaced(0);
                arguments.extend(sizes.map(Argument::Size));
                self.elements(Kernel::ResetRows, count, arguments);
            }
            Op::RowDistance(_) => {
                let batch = self.ty(0).shape[0] as u64;
                let row = elements(self.ty(0)) / batch;
                let mut arguments = self.all_but_replaced(0);
                arguments.extend([Argument::Number(LEAST_SQUARES), Argument::Size(row)]);
                self.warps(Kernel::RowDistance, batch, arguments);
            }
            Op::TokenLoss(op) => self.tokens(Kernel::TokenLoss, Some(op.kind)),
            Op::TokenLossGrad(op) => self.tokens(Kernel::TokenLossGrad, Some(op.kind)),
            Op::Correctness(_) => self.tokens(Kernel::Correctness, None),
            Op::BceWithLogits(_) => self.pointwise(Kernel::BceWithLogits),
            Op::BceWithLogitsGrad(_) => self.pointwise(Kernel::BceWithLogitsGrad),
            Op::AdamAtan2(op) => self.adam(Kernel::AdamAtan2, &[op.beta1, op.beta2, op.weight_decay]),
            Op::AdamW(op) => self.adam(Kernel::AdamW, &[op.beta1, op.beta2, op.weight_decay, op.eps]),
            Op::SignSgdRows(op) => {
                let (batch, width) = (elements(self.ty(1)), self.ty(0).width() as u64);
                let mut arguments = self.all_but_replaced(1);
                arguments.push(Argument::Number(op.weight_decay));
                arguments.extend([batch, width].map(Argument::Size));
                self.launch(Kernel::SignSgdRows, batch, [BLOCK, 1], arguments);
            }
            Op::Average(op) => {
                let mut arguments = self.all_but_replaced(1);
                arguments.push(Argument::Number(op.rate));
                let count = elements(self.out_ty(0));
                self.elements(Kernel::Average, count, arguments);
            }
            Op::Assign(_) => {
                let count = elements(self.out_ty(0));
                let mut arguments = self.all_but_replaced(1);
                // One stretch: all of it.
                arguments.extend([count, count, 0, count, 0].map(Argument::Size));
                self.elements(Kernel::CopyAxis, count, arguments);
            }
        }
    }

    /// The gated unit of `wide` into the first output.
    fn gate(&mut self, wide: Argument) {
        let (inner, count) = (self.out_ty(0).width() as u64, elements(self.out_ty(0)));
        self.elements(Kernel::Swiglu, count, vec![self.output(0), wide, Argument::Size(inner)]);
    }
}

fn elements(ty: &TensorType) -> u64 {
    ty.elements() as u64
}
