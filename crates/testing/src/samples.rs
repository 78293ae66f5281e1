//! A small random instance of every operator.

#![expect(missing_docs, reason = "each function draws the operator of its name")]

use hrmc::internals::data::IGNORED_LABEL;
use hrmc::internals::graph::ops::{
    AdamAtan2, AdamW, Add, AddRmsNorm, AddSuffix, Assign, Attention, AttentionGrad, Average, BceWithLogits,
    BceWithLogitsGrad, Choose, Concat, Correctness, Detach, Embed, EmbedGrad, Equal, Fill, Linear,
    LinearAddRmsNorm, LinearGradInput, LinearGradWeight, LinearSwiGlu, Maximum, Pad, ResetRows, Reshape,
    RmsNorm, RmsNormGrad, Rotate, RowDistance, Scale, Sigmoid, SignSgdRows, Slice, SumLeading, SwiGlu,
    SwiGluGrad, TokenLoss, TokenLossGrad, TokenLossKind, Transpose,
};
use hrmc::internals::graph::{Op, TensorType};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sizes that samples are made of; luminal's interpreter asks for small ones.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Rows.
    pub batch: usize,
    /// Positions of a row.
    pub positions: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Half of the width of one head.
    pub half: usize,
    /// Width of a hidden layer.
    pub inner: usize,
    /// Different tokens.
    pub vocab: usize,
}

impl Sizes {
    fn width(self) -> usize {
        self.heads * 2 * self.half
    }

    /// `[B, T, D]`.
    fn rows(self) -> Vec<usize> {
        vec![self.batch, self.positions, self.width()]
    }
}

/// Sizes that fill more than one tile, warp or block of each kernel and end within another.
pub const LARGE: [Sizes; 2] = [
    Sizes { batch: 2, positions: 70, heads: 2, half: 18, inner: 37, vocab: 41 },
    Sizes { batch: 9, positions: 11, heads: 1, half: 37, inner: 66, vocab: 70 },
];

/// Contents of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers.
    F32(Vec<f32>),
    /// Whole numbers.
    I32(Vec<i32>),
}

/// How closely a kernel follows the decomposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Elements are moved, compared or counted: no rounding.
    Exact,
    /// Sums are rounded in another order.
    Rounded,
}

/// Calls a macro with the kind of every operator, the function here that draws it, and the inputs that a gradient goes
/// to, if there are any.
#[macro_export]
macro_rules! every_operator {
    ($make:ident) => {
        $make! {
            Detach => detach,
            Reshape => reshape (0),
            Slice => slice (0),
            Pad => pad (0),
            Concat => concat (0, 1),
            Transpose => transpose (0),
            Add => add (0, 1),
            Scale => scale (0),
            AddSuffix => add_suffix (0, 1),
            SumLeading => sum_leading,
            Fill => fill,
            Sigmoid => sigmoid,
            Maximum => maximum,
            Choose => choose,
            Equal => equal,
            Linear => linear (0, 1),
            LinearGradInput => linear_grad_input,
            LinearGradWeight => linear_grad_weight,
            RmsNorm => rms_norm (0),
            RmsNormGrad => rms_norm_grad,
            Rotate => rotate (0),
            Attention => attention (0),
            AttentionGrad => attention_grad,
            SwiGlu => swiglu (0),
            SwiGluGrad => swiglu_grad,
            Embed => embed (0),
            EmbedGrad => embed_grad,
            ResetRows => reset_rows,
            RowDistance => row_distance,
            TokenLoss => token_loss (0),
            TokenLossGrad => token_loss_grad,
            Correctness => correctness,
            BceWithLogits => bce_with_logits (0),
            BceWithLogitsGrad => bce_with_logits_grad,
            AdamAtan2 => adam_atan2,
            AdamW => adam_w,
            SignSgdRows => sign_sgd_rows,
            Average => average,
            Assign => assign,
            AddRmsNorm => add_rms_norm,
            LinearSwiGlu => linear_swiglu,
            LinearAddRmsNorm => linear_add_rms_norm,
        }
    };
}
pub use every_operator;

/// One operator with inputs.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The operator.
    pub op: Op,
    /// Type and content of each input.
    pub inputs: Vec<(TensorType, Values)>,
    /// How closely its kernels follow its decomposition.
    pub agreement: Agreement,
}

impl Sample {
    fn rounded(op: impl Into<Op>, inputs: Vec<(TensorType, Values)>) -> Self {
        Sample { op: op.into(), inputs, agreement: Agreement::Rounded }
    }

    fn exact(op: impl Into<Op>, inputs: Vec<(TensorType, Values)>) -> Self {
        Sample { op: op.into(), inputs, agreement: Agreement::Exact }
    }
}

/// A seeded source of sizes and contents.
pub struct Draw {
    /// Sizes of what is drawn.
    pub sizes: Sizes,
    source: ChaCha8Rng,
}

impl Draw {
    /// Returns a source; equal seeds draw equal samples.
    pub fn new(sizes: Sizes, seed: u64) -> Self {
        Draw { sizes, source: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.source.next_u32() as usize) % bound
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    fn unit(&mut self) -> f32 {
        (self.source.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    fn fill(&mut self, shape: &[usize], mut element: impl FnMut(&mut Self) -> f32) -> (TensorType, Values) {
        let ty = TensorType::f32(shape);
        let values = (0..ty.elements()).map(|_| element(self)).collect();
        (ty, Values::F32(values))
    }

    /// Elements between -1 and 1.
    pub fn even(&mut self, shape: &[usize]) -> (TensorType, Values) {
        self.fill(shape, |draw| 2.0 * draw.unit() - 1.0)
    }

    /// Elements whose size is between `least` and `least + 1`, of either sign.
    fn away_from_zero(&mut self, shape: &[usize], least: f32) -> (TensorType, Values) {
        self.fill(shape, |draw| {
            let size = least + draw.unit();
            if draw.coin() { size } else { -size }
        })
    }

    /// Elements between `low` and `high`.
    fn between(&mut self, shape: &[usize], low: f32, high: f32) -> (TensorType, Values) {
        self.fill(shape, |draw| low + (high - low) * draw.unit())
    }

    /// Few different elements, so that equals are common; their sums are exact.
    fn coarse(&mut self, shape: &[usize]) -> (TensorType, Values) {
        self.fill(shape, |draw| draw.below(5) as f32 * 0.25 - 0.5)
    }

    /// Zeros and ones.
    fn mask(&mut self, shape: &[usize]) -> (TensorType, Values) {
        self.fill(shape, |draw| draw.below(2) as f32)
    }

    fn numbers(&mut self, shape: &[usize], below: usize) -> (TensorType, Values) {
        let ty = TensorType::i32(shape);
        let values = (0..ty.elements()).map(|_| self.below(below) as i32).collect();
        (ty, Values::I32(values))
    }

    /// Labels `[B, T]` of which some, and sometimes a whole row, are not counted.
    fn labels(&mut self) -> (TensorType, Values) {
        let Sizes { batch, positions, vocab, .. } = self.sizes;
        let mut labels = Vec::with_capacity(batch * positions);
        for _ in 0..batch {
            let nothing_counts = self.below(4) == 0;
            for _ in 0..positions {
                let ignored = nothing_counts || self.below(4) == 0;
                labels.push(if ignored { IGNORED_LABEL } else { self.below(vocab) as i32 });
            }
        }
        (TensorType::i32(&[batch, positions]), Values::I32(labels))
    }

    fn scalar(&mut self, low: f32, high: f32) -> (TensorType, Values) {
        self.between(&[1], low, high)
    }

    fn loss_kind(&mut self) -> TokenLossKind {
        if self.coin() { TokenLossKind::Stablemax } else { TokenLossKind::Softmax }
    }

    fn rope(&mut self) -> Option<f32> {
        self.coin().then_some(30.0)
    }
}

pub fn detach(draw: &mut Draw) -> Sample {
    let x = draw.even(&draw.sizes.rows());
    Sample::exact(Detach, vec![x])
}

pub fn reshape(draw: &mut Draw) -> Sample {
    let rows = draw.sizes.rows();
    let x = draw.even(&rows);
    Sample::exact(Reshape { shape: vec![rows[0] * rows[1], rows[2]] }, vec![x])
}

pub fn slice(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let axis = draw.below(3);
    let start = draw.below(shape[axis]);
    let end = start + 1 + draw.below(shape[axis] - start);
    let x = draw.even(&shape);
    Sample::exact(Slice { axis, start, end }, vec![x])
}

pub fn pad(draw: &mut Draw) -> Sample {
    let (axis, before, after) = (draw.below(3), draw.below(3), draw.below(3));
    let x = draw.even(&draw.sizes.rows());
    Sample::exact(Pad { axis, before, after }, vec![x])
}

pub fn concat(draw: &mut Draw) -> Sample {
    let axis = draw.below(3);
    let shape = draw.sizes.rows();
    let mut other = shape.clone();
    other[axis] = 1 + draw.below(3);
    let inputs = vec![draw.even(&shape), draw.even(&other)];
    Sample::exact(Concat { axis }, inputs)
}

pub fn transpose(draw: &mut Draw) -> Sample {
    let x = draw.even(&draw.sizes.rows());
    Sample::exact(Transpose, vec![x])
}

pub fn add(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.even(&shape), draw.even(&shape)];
    Sample::exact(Add, inputs)
}

pub fn scale(draw: &mut Draw) -> Sample {
    // A factor of one is a copy.
    let factor = if draw.coin() { 1.0 } else { 4.0 * draw.unit() - 2.0 };
    let x = draw.even(&draw.sizes.rows());
    Sample::exact(Scale { factor }, vec![x])
}

pub fn add_suffix(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let leading = 1 + draw.below(2);
    let inputs = vec![draw.even(&shape), draw.even(&shape[leading..])];
    Sample::exact(AddSuffix, inputs)
}

pub fn sum_leading(draw: &mut Draw) -> Sample {
    let axes = draw.below(3);
    let x = draw.even(&draw.sizes.rows());
    Sample::rounded(SumLeading { axes }, vec![x])
}

pub fn fill(draw: &mut Draw) -> Sample {
    let value = draw.unit();
    Sample::exact(Fill { value, shape: draw.sizes.rows() }, Vec::new())
}

pub fn sigmoid(draw: &mut Draw) -> Sample {
    let x = draw.between(&draw.sizes.rows(), -8.0, 8.0);
    Sample::rounded(Sigmoid, vec![x])
}

pub fn maximum(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.coarse(&shape), draw.coarse(&shape)];
    Sample::exact(Maximum, inputs)
}

pub fn choose(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.mask(&shape), draw.even(&shape), draw.even(&shape)];
    Sample::exact(Choose, inputs)
}

pub fn equal(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.coarse(&shape), draw.coarse(&shape)];
    Sample::exact(Equal, inputs)
}

pub fn linear(draw: &mut Draw) -> Sample {
    let Sizes { inner, .. } = draw.sizes;
    let inputs = vec![draw.even(&draw.sizes.rows()), draw.even(&[inner, draw.sizes.width()])];
    Sample::rounded(Linear, inputs)
}

pub fn linear_grad_input(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, inner, .. } = draw.sizes;
    let inputs = vec![draw.even(&[batch, positions, inner]), draw.even(&[inner, draw.sizes.width()])];
    Sample::rounded(LinearGradInput, inputs)
}

pub fn linear_grad_weight(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, inner, .. } = draw.sizes;
    let inputs = vec![draw.even(&[batch, positions, inner]), draw.even(&draw.sizes.rows())];
    Sample::rounded(LinearGradWeight, inputs)
}

pub fn rms_norm(draw: &mut Draw) -> Sample {
    // Rows of at least 0.5 keep the high derivatives small that finite differences neglect.
    let x = draw.away_from_zero(&draw.sizes.rows(), 0.5);
    Sample::rounded(RmsNorm { eps: 1e-5 }, vec![x])
}

pub fn rms_norm_grad(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.even(&shape), draw.between(&shape[..2], 0.5, 2.0), draw.even(&shape)];
    Sample::rounded(RmsNormGrad, inputs)
}

fn qkv(draw: &mut Draw) -> (TensorType, Values) {
    let mut shape = draw.sizes.rows();
    shape[2] *= 3;
    draw.even(&shape)
}

pub fn rotate(draw: &mut Draw) -> Sample {
    let inverse = draw.coin();
    let qkv = qkv(draw);
    Sample::rounded(Rotate { heads: draw.sizes.heads, theta: 30.0, inverse }, vec![qkv])
}

pub fn attention(draw: &mut Draw) -> Sample {
    let rope_theta = draw.rope();
    let qkv = qkv(draw);
    Sample::rounded(Attention { heads: draw.sizes.heads, rope_theta }, vec![qkv])
}

pub fn attention_grad(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, heads, .. } = draw.sizes;
    let rope_theta = draw.rope();
    let shape = draw.sizes.rows();
    let inputs = vec![qkv(draw), draw.between(&[batch, heads, positions], 0.5, 2.0), draw.even(&shape)];
    Sample::rounded(AttentionGrad { heads, rope_theta }, inputs)
}

fn wide(draw: &mut Draw) -> (TensorType, Values) {
    let Sizes { batch, positions, inner, .. } = draw.sizes;
    draw.between(&[batch, positions, 2 * inner], -2.0, 2.0)
}

pub fn swiglu(draw: &mut Draw) -> Sample {
    let x = wide(draw);
    Sample::rounded(SwiGlu, vec![x])
}

pub fn swiglu_grad(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, inner, .. } = draw.sizes;
    let inputs = vec![wide(draw), draw.even(&[batch, positions, inner])];
    Sample::rounded(SwiGluGrad, inputs)
}

pub fn embed(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, vocab, .. } = draw.sizes;
    let inputs = vec![draw.even(&[vocab, draw.sizes.width()]), draw.numbers(&[batch, positions], vocab)];
    Sample::exact(Embed, inputs)
}

pub fn embed_grad(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, vocab, .. } = draw.sizes;
    let inputs = vec![draw.numbers(&[batch, positions], vocab), draw.even(&draw.sizes.rows())];
    Sample::rounded(EmbedGrad { rows: vocab }, inputs)
}

pub fn reset_rows(draw: &mut Draw) -> Sample {
    let inputs =
        vec![draw.even(&draw.sizes.rows()), draw.mask(&[draw.sizes.batch]), draw.even(&[draw.sizes.width()])];
    Sample::exact(ResetRows, inputs)
}

pub fn row_distance(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let mut inputs = vec![draw.even(&shape), draw.away_from_zero(&shape, 0.5)];
    // The first row is one of zeros that has not moved.
    let row = shape[1] * shape[2];
    for (_, values) in &mut inputs {
        let Values::F32(values) = values else { unreachable!("states are numbers") };
        values[..row].fill(0.0);
    }
    Sample::rounded(RowDistance, inputs)
}

fn logits(draw: &mut Draw) -> (TensorType, Values) {
    let Sizes { batch, positions, vocab, .. } = draw.sizes;
    // The slope of stablemax changes at zero; finite differences must not reach across.
    draw.away_from_zero(&[batch, positions, vocab], 0.2)
}

pub fn token_loss(draw: &mut Draw) -> Sample {
    let kind = draw.loss_kind();
    let inputs = vec![logits(draw), draw.labels()];
    Sample::rounded(TokenLoss { kind }, inputs)
}

pub fn token_loss_grad(draw: &mut Draw) -> Sample {
    let kind = draw.loss_kind();
    let inputs = vec![logits(draw), draw.labels(), draw.even(&[draw.sizes.batch])];
    Sample::rounded(TokenLossGrad { kind }, inputs)
}

pub fn correctness(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, vocab, .. } = draw.sizes;
    let inputs = vec![draw.coarse(&[batch, positions, vocab]), draw.labels()];
    Sample::exact(Correctness, inputs)
}

pub fn bce_with_logits(draw: &mut Draw) -> Sample {
    let batch = [draw.sizes.batch];
    let inputs = vec![draw.between(&batch, -6.0, 6.0), draw.between(&batch, 0.0, 1.0)];
    Sample::rounded(BceWithLogits, inputs)
}

pub fn bce_with_logits_grad(draw: &mut Draw) -> Sample {
    let batch = [draw.sizes.batch];
    let inputs = vec![draw.between(&batch, -6.0, 6.0), draw.between(&batch, 0.0, 1.0), draw.even(&batch)];
    Sample::rounded(BceWithLogitsGrad, inputs)
}

/// Weight, moments, gradient and the scalars of the step; some gradients and moments are zero.
fn adam_inputs(draw: &mut Draw, least_moment: f32) -> Vec<(TensorType, Values)> {
    let shape = [draw.sizes.vocab, draw.sizes.inner];
    vec![
        draw.even(&shape),
        draw.coarse(&shape),
        draw.fill(&shape, |draw| least_moment + 0.5 * draw.below(3) as f32),
        draw.coarse(&shape),
        draw.scalar(0.0, 0.1),
        draw.scalar(0.0, 0.5),
        draw.scalar(1.0, 4.0),
    ]
}

pub fn adam_atan2(draw: &mut Draw) -> Sample {
    let inputs = adam_inputs(draw, 0.0);
    Sample::rounded(AdamAtan2 { beta1: 0.9, beta2: 0.95, weight_decay: 0.5 }, inputs)
}

pub fn adam_w(draw: &mut Draw) -> Sample {
    // A second moment of zero beside a first one that is not would divide by `eps` alone.
    let inputs = adam_inputs(draw, 0.25);
    Sample::rounded(AdamW { beta1: 0.9, beta2: 0.95, weight_decay: 0.5, eps: 1e-8 }, inputs)
}

pub fn sign_sgd_rows(draw: &mut Draw) -> Sample {
    let Sizes { batch, vocab, inner, .. } = draw.sizes;
    // Coarse gradients have exact sums, so that both sides see the same sign.
    let inputs = vec![
        draw.even(&[vocab, inner]),
        draw.numbers(&[batch], vocab),
        draw.coarse(&[batch, inner]),
        draw.scalar(0.0, 0.1),
    ];
    Sample::rounded(SignSgdRows { weight_decay: 0.5 }, inputs)
}

pub fn average(draw: &mut Draw) -> Sample {
    let rate = draw.unit();
    let shape = draw.sizes.rows();
    let inputs = vec![draw.even(&shape), draw.even(&shape)];
    Sample::rounded(Average { rate }, inputs)
}

pub fn assign(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.even(&shape), draw.even(&shape)];
    Sample::exact(Assign, inputs)
}

pub fn add_rms_norm(draw: &mut Draw) -> Sample {
    let shape = draw.sizes.rows();
    let inputs = vec![draw.away_from_zero(&shape, 0.5), draw.even(&shape)];
    Sample::rounded(AddRmsNorm { eps: 1e-5 }, inputs)
}

pub fn linear_swiglu(draw: &mut Draw) -> Sample {
    let keep = draw.coin();
    let inputs = vec![draw.even(&draw.sizes.rows()), draw.even(&[2 * draw.sizes.inner, draw.sizes.width()])];
    Sample::rounded(LinearSwiGlu { keep }, inputs)
}

pub fn linear_add_rms_norm(draw: &mut Draw) -> Sample {
    let Sizes { batch, positions, inner, .. } = draw.sizes;
    let inputs = vec![
        draw.even(&[batch, positions, inner]),
        draw.even(&[draw.sizes.width(), inner]),
        draw.away_from_zero(&draw.sizes.rows(), 0.5),
    ];
    Sample::rounded(LinearAddRmsNorm { eps: 1e-5 }, inputs)
}
