//! Bidirectional attention with rotary positions, forward and backward.
//!
//! ```text
//! q, k, v        the three thirds of a row of qkv, cut into heads
//! q', k'         rotate(q) / sqrt(d), rotate(k)
//! rotate(x)      x cos + [-x_hi, x_lo] sin          halves as pairs (Su et al. 2021)
//! p              softmax(q' k'ᵀ)
//! out            p v
//! ```
//!
//! A task handles some heads of some batch rows. Scores are computed for a block of queries at a time, so
//! that a block stays in cache and memory does not grow with `S²`. They are stored with one column per
//! query: maxima, exponentials and sums then run over many queries side by side and no sum
//! crosses a register. The backward pass computes scores again from the logarithms of the softmax
//! sums (Dao et al. 2022):
//!
//! ```text
//! p = exp(q' k'ᵀ - lse)      dv = pᵀ dout       dp = dout vᵀ
//! ds = p (dp - Σ p dp)       dq' = ds k'        dk' = dsᵀ q'
//! ```

use pulp::{Arch, Simd, WithSimd};

use super::Store;
use super::layout::transpose_matrix;
use super::panel::{PANEL, PanelProduct};
use super::parallel::{Shared, for_each_block};
#[cfg(target_arch = "x86_64")]
use super::product::multiplies_in_bf16;
use super::scratch::{aligned, carve, with_scratch};
use super::simd::{LANES, exp, ln, vectorised};
use crate::ir::Precision;

/// Queries whose scores are held at a time, side by side.
const QUERIES: usize = 32;

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Batch rows `B`.
    pub batch: usize,
    /// Positions `S`.
    pub positions: usize,
    /// Heads `A`.
    pub heads: usize,
    /// Width `E` of one head; even if positions are rotated.
    pub head_width: usize,
    /// Arithmetic of the factors of products; sums and softmax are f32.
    pub precision: Precision,
}

impl AttentionShape {
    /// Returns the model width `D = A E`.
    pub const fn width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Whether products multiply pairs in bf16.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn in_pairs(&self) -> bool {
        self.precision == Precision::Bf16 && multiplies_in_bf16()
    }

    /// Heads in one task: enough that a small head does not cost more to hand out than to compute.
    pub(super) fn heads_per_task(&self) -> usize {
        (60_000 / (self.positions * self.positions * self.head_width).max(1)).max(1)
    }

    pub(super) fn work(&self) -> usize {
        self.batch * self.heads * self.positions * self.positions * self.head_width / 4
    }
}

/// The tables of rotary positions, `cos` and `sin` `[S, E]`.
#[derive(Debug, Clone, Copy)]
pub struct Rope<'a> {
    /// Cosines of the angles; both halves of a row hold the same angles.
    pub cos: &'a [f32],
    /// Sines of the angles.
    pub sin: &'a [f32],
}

/// Returns the elements of scratch of a task of [`attention`].
pub(super) fn scratch(shape: AttentionShape) -> usize {
    let AttentionShape { positions, head_width, .. } = shape;
    let padded = head_width.next_multiple_of(PANEL);
    let rows = aligned(positions.saturating_mul(padded)).saturating_mul(3);
    rows.saturating_add((head_width + positions + padded).saturating_mul(QUERIES))
}

/// Returns the elements of scratch of a task of [`attention_grad`].
pub(super) fn grad_scratch(shape: AttentionShape) -> usize {
    let AttentionShape { positions, head_width, .. } = shape;
    let padded = head_width.next_multiple_of(PANEL);
    let rows = aligned(positions.saturating_mul(padded)).saturating_mul(7);
    rows.saturating_add((head_width + positions).saturating_mul(2 * QUERIES))
}

/// [`attention`](fn@super::attention) with all arithmetic in f32.
pub(super) fn attention(
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { batch, positions, heads, head_width, .. } = shape;
    let width = shape.width();
    let padded = head_width.next_multiple_of(PANEL);
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    for_each_block(batch * heads, shape.heads_per_task(), shape.work(), |tasks| {
        let rows_size = positions * padded;
        with_scratch(scratch(shape), |mut rest| {
            let q = carve(&mut rest, rows_size);
            let k = carve(&mut rest, rows_size);
            let v = carve(&mut rest, rows_size);
            let transposed = carve(&mut rest, head_width * QUERIES);
            let weights = carve(&mut rest, positions * QUERIES);
            let mixed = carve(&mut rest, QUERIES * padded);
            for task in tasks {
                let source = Head::new(qkv, task, shape);
                source.take(q, 0, rope, inv_sqrt(head_width));
                source.take(k, 1, rope, 1.0);
                source.take(v, 2, None, 1.0);
                // SAFETY: every head of every batch row has its own part of `lse`.
                let lse = unsafe { lse.part(task * positions..(task + 1) * positions) };
                let (row, head) = (task / heads, task % heads);
                for start in (0..positions).step_by(QUERIES) {
                    let count = QUERIES.min(positions - start);
                    let columns = count.next_multiple_of(PANEL);
                    transpose(transposed, &q[start * padded..], padded, count, head_width);
                    scores(weights, k, transposed, columns, shape);
                    let factors = softmax::<QUERIES>(weights, &mut lse[start..start + count]);
                    PanelProduct {
                        rows: count,
                        columns: padded,
                        depth: positions,
                        left: weights,
                        left_down: 1,
                        left_along: QUERIES,
                        right: v,
                        right_stride: padded,
                        store: Store::Replace,
                    }
                    .into(mixed, padded);
                    vectorised(
                        #[inline(always)]
                        || {
                            with_usual_width(
                                head_width,
                                #[inline(always)]
                                |head_width| {
                                    let rows =
                                        mixed.chunks_exact(head_width.next_multiple_of(PANEL)).zip(factors);
                                    for (i, (mixed, factor)) in rows.take(count).enumerate() {
                                        let at = (row * positions + start + i) * width + head * head_width;
                                        // SAFETY: every head of every batch row has its own columns of its own rows.
                                        let out = unsafe { out.part(at..at + head_width) };
                                        scaled(out, &mixed[..head_width], factor);
                                    }
                                },
                            );
                        },
                    );
                }
            }
        });
    });
}

/// [`attention_grad`](super::attention_grad) with all arithmetic in f32.
pub(super) fn attention_grad(
    dqkv: &mut [f32],
    qkv: &[f32],
    lse: &[f32],
    dout: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { batch, positions, heads, head_width, .. } = shape;
    let width = shape.width();
    let padded = head_width.next_multiple_of(PANEL);
    let dqkv = Shared::new(dqkv);
    for_each_block(batch * heads, shape.heads_per_task(), 2 * shape.work(), |tasks| {
        let rows_size = positions * padded;
        with_scratch(grad_scratch(shape), |mut rest| {
            let q = carve(&mut rest, rows_size);
            let k = carve(&mut rest, rows_size);
            let v = carve(&mut rest, rows_size);
            let dy = carve(&mut rest, rows_size);
            let dq = carve(&mut rest, rows_size);
            let dk = carve(&mut rest, rows_size);
            let dv = carve(&mut rest, rows_size);
            let transposed = carve(&mut rest, head_width * QUERIES);
            let transposed_dy = carve(&mut rest, head_width * QUERIES);
            let weights = carve(&mut rest, positions * QUERIES);
            let dscores = carve(&mut rest, positions * QUERIES);
            for task in tasks {
                let source = Head::new(qkv, task, shape);
                source.take(q, 0, rope, inv_sqrt(head_width));
                source.take(k, 1, rope, 1.0);
                source.take(v, 2, None, 1.0);
                let (row, head) = (task / heads, task % heads);
                let first = row * positions * width + head * head_width;
                let dout = &dout[first..];
                vectorised(
                    #[inline(always)]
                    || take_rows(dy, dout, width, padded, head_width),
                );
                let lse = &lse[task * positions..(task + 1) * positions];
                for start in (0..positions).step_by(QUERIES) {
                    let count = QUERIES.min(positions - start);
                    let columns = count.next_multiple_of(PANEL);
                    transpose(transposed, &q[start * padded..], padded, count, head_width);
                    transpose(transposed_dy, &dy[start * padded..], padded, count, head_width);
                    scores(weights, k, transposed, columns, shape);
                    scores(dscores, v, transposed_dy, columns, shape);
                    score_gradients::<QUERIES>(weights, dscores, &lse[start..start + count]);
                    let store = if start == 0 { Store::Replace } else { Store::Add };
                    let by_key = |left: &[f32], right: &[f32], target: &mut [f32]| {
                        PanelProduct {
                            rows: positions,
                            columns: padded,
                            depth: count,
                            left,
                            left_down: QUERIES,
                            left_along: 1,
                            right: &right[start * padded..],
                            right_stride: padded,
                            store,
                        }
                        .into(target, padded);
                    };
                    by_key(weights, dy, dv);
                    by_key(dscores, q, dk);
                    PanelProduct {
                        rows: count,
                        columns: padded,
                        depth: positions,
                        left: dscores,
                        left_down: 1,
                        left_along: QUERIES,
                        right: k,
                        right_stride: padded,
                        store: Store::Replace,
                    }
                    .into(&mut dq[start * padded..], padded);
                }
                store_gradients(dqkv, task, [dq, dk, dv], rope, shape);
            }
        });
    });
}

/// Replaces scores by `e^(score - highest)`, notes the logarithms of their sums, and returns the factors `1 / sum`.
pub(super) fn softmax<const Q: usize>(weights: &mut [f32], lse: &mut [f32]) -> [f32; Q] {
    vectorised(
        #[inline(always)]
        || {
            let (highest, sums) = softmax_columns::<Q>(weights, lse.len().next_multiple_of(PANEL));
            let mut log_sums = [0.0; Q];
            let mut factors = [0.0; Q];
            for i in 0..Q {
                log_sums[i] = highest[i] + ln(sums[i]);
                factors[i] = 1.0 / sums[i];
            }
            lse.copy_from_slice(&log_sums[..lse.len()]);
            factors
        },
    )
}

/// Replaces scores by weights `p` and `dp` by `ds = p (dp - Σ p dp)`.
///
/// Columns beyond the last query hold zeros; their weights become one, which no sum reads.
pub(super) fn score_gradients<const Q: usize>(weights: &mut [f32], dscores: &mut [f32], lse: &[f32]) {
    let mut log_sums = [0.0; Q];
    log_sums[..lse.len()].copy_from_slice(lse);
    let means = vectorised(
        #[inline(always)]
        || weight_columns(weights, dscores, &log_sums, lse.len().next_multiple_of(PANEL)),
    );
    Arch::new().dispatch(Centre { weights: &*weights, dscores, means: &means });
}

/// Turns the gradients of queries, keys and values of one head back and puts them where they belong.
pub(super) fn store_gradients(
    dqkv: Shared<'_>,
    task: usize,
    [dq, dk, dv]: [&[f32]; 3],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { positions, heads, head_width, .. } = shape;
    let (row, head, width) = (task / heads, task % heads, shape.width());
    let parts = [(dq, rope, inv_sqrt(head_width)), (dk, rope, 1.0), (dv, None, 1.0)];
    for (third, (gradient, rope, factor)) in parts.into_iter().enumerate() {
        let first = row * positions * 3 * width + third * width + head * head_width;
        vectorised(
            #[inline(always)]
            || {
                with_usual_width(
                    head_width,
                    #[inline(always)]
                    |head_width| {
                        let rows = gradient.chunks_exact(head_width.next_multiple_of(PANEL));
                        for (position, gradient) in rows.enumerate() {
                            let at = first + position * 3 * width;
                            // SAFETY: every head of every batch row has its own columns of its own rows.
                            let target = unsafe { dqkv.part(at..at + head_width) };
                            rotate_back(target, &gradient[..head_width], rope, position, head_width, factor);
                        }
                    },
                );
            },
        );
    }
}

/// One head of one batch row of `qkv`.
pub(super) struct Head<'a> {
    /// From the first element of its queries on.
    data: &'a [f32],
    width: usize,
    head_width: usize,
}

impl<'a> Head<'a> {
    pub fn new(qkv: &'a [f32], task: usize, shape: AttentionShape) -> Self {
        let (row, head) = (task / shape.heads, task % shape.heads);
        let width = shape.width();
        let data = &qkv[row * shape.positions * 3 * width + head * shape.head_width..];
        Head { data, width, head_width: shape.head_width }
    }

    /// Copies queries (`third` 0), keys (1) or values (2) into rows padded with zeros.
    pub fn take(&self, target: &mut [f32], third: usize, rope: Option<Rope<'_>>, factor: f32) {
        let (stride, source) = (3 * self.width, &self.data[third * self.width..]);
        vectorised(
            #[inline(always)]
            || {
                with_usual_width(
                    self.head_width,
                    #[inline(always)]
                    |width| {
                        let padded = width.next_multiple_of(PANEL);
                        if rope.is_none() && factor == 1.0 {
                            return take_rows(target, source, stride, padded, width);
                        }
                        for (position, target) in target.chunks_exact_mut(padded).enumerate() {
                            let source = &source[position * stride..][..width];
                            rotate(&mut target[..width], source, rope, position, width, factor);
                            target[width..].fill(0.0);
                        }
                    },
                );
            },
        );
    }
}

/// `weights[j, i] = Σ_c rows[j, c] transposed[c, i]`: one column per query.
fn scores(weights: &mut [f32], rows: &[f32], transposed: &[f32], columns: usize, shape: AttentionShape) {
    PanelProduct {
        rows: shape.positions,
        columns,
        depth: shape.head_width,
        left: rows,
        left_down: shape.head_width.next_multiple_of(PANEL),
        left_along: 1,
        right: transposed,
        right_stride: QUERIES,
        store: Store::Replace,
    }
    .into(weights, QUERIES);
}

/// Turns `count` rows into columns; the columns after them become zero.
fn transpose(transposed: &mut [f32], rows: &[f32], stride: usize, count: usize, width: usize) {
    if count < QUERIES {
        transposed.fill(0.0);
    }
    transpose_matrix(transposed, QUERIES, rows, stride, count, width);
}

/// Replaces scores by `e^(score - highest)`; returns the highest score and the sum of each column.
#[inline(always)]
fn softmax_columns<const Q: usize>(weights: &mut [f32], columns: usize) -> ([f32; Q], [f32; Q]) {
    let (rows, _) = weights.as_chunks_mut::<Q>();
    let (mut all_highest, mut all_sums) = ([0.0; Q], [1.0; Q]);
    for start in (0..columns).step_by(LANES) {
        let mut highest = [f32::NEG_INFINITY; LANES];
        for row in rows.iter() {
            for (highest, &score) in highest.iter_mut().zip(lanes(row, start)) {
                *highest = if score > *highest { score } else { *highest };
            }
        }
        let mut sums = [0.0; LANES];
        for row in rows.iter_mut() {
            let scores = lanes_mut(row, start);
            for i in 0..LANES {
                scores[i] = exp(scores[i] - highest[i]);
                sums[i] += scores[i];
            }
        }
        *lanes_mut(&mut all_highest, start) = highest;
        *lanes_mut(&mut all_sums, start) = sums;
    }
    (all_highest, all_sums)
}

/// Replaces scores by weights `p = e^(score - log_sum)`; returns `Σ p dp` of each column.
#[inline(always)]
fn weight_columns<const Q: usize>(
    weights: &mut [f32],
    dscores: &[f32],
    log_sums: &[f32; Q],
    columns: usize,
) -> [f32; Q] {
    let mut all_means = [0.0; Q];
    let (weights, _) = weights.as_chunks_mut::<Q>();
    let (dscores, _) = dscores.as_chunks::<Q>();
    for start in (0..columns).step_by(LANES) {
        let log_sums = *lanes(log_sums, start);
        let mut means = [0.0; LANES];
        for (weights, dscores) in weights.iter_mut().zip(dscores.iter()) {
            let (weights, dscores) = (lanes_mut(weights, start), *lanes(dscores, start));
            let mut new = *weights;
            for i in 0..LANES {
                new[i] = exp(new[i] - log_sums[i]);
                means[i] += new[i] * dscores[i];
            }
            *weights = new;
        }
        *lanes_mut(&mut all_means, start) = means;
    }
    all_means
}

/// `ds = p (dp - mean)`, with a mean per column.
///
/// Spelled out in registers: left to itself, the compiler vectorises along the rows and gathers.
struct Centre<'a> {
    weights: &'a [f32],
    dscores: &'a mut [f32],
    means: &'a [f32],
}

impl WithSimd for Centre<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (means, _) = S::as_simd_f32s(self.means);
        let (weights, _) = S::as_simd_f32s(self.weights);
        let (dscores, _) = S::as_mut_simd_f32s(self.dscores);
        for (weights, dscores) in weights.chunks_exact(means.len()).zip(dscores.chunks_exact_mut(means.len()))
        {
            for ((weight, dscore), mean) in weights.iter().zip(dscores).zip(means) {
                *dscore = simd.mul_f32s(*weight, simd.sub_f32s(*dscore, *mean));
            }
        }
    }
}

/// Returns one register of a row of scores.
#[inline(always)]
fn lanes<const Q: usize>(row: &[f32; Q], start: usize) -> &[f32; LANES] {
    row[start..].first_chunk().expect("a row is a whole number of registers")
}

/// Returns one register of a row of scores, to be written.
#[inline(always)]
fn lanes_mut<const Q: usize>(row: &mut [f32; Q], start: usize) -> &mut [f32; LANES] {
    row[start..].first_chunk_mut().expect("a row is a whole number of registers")
}

/// Panics unless `qkv`, the logarithms of the softmax sums and the rotation tables are as long as the shape says.
pub(super) fn check(shape: AttentionShape, qkv: &[f32], lse: &[f32], rope: Option<Rope<'_>>) {
    assert_eq!(qkv.len(), shape.batch * shape.positions * 3 * shape.width());
    assert_eq!(lse.len(), shape.batch * shape.heads * shape.positions);
    if let Some(rope) = rope {
        assert_eq!(rope.cos.len(), shape.positions * shape.head_width);
        assert_eq!(rope.sin.len(), shape.positions * shape.head_width);
        assert!(shape.head_width.is_multiple_of(2), "a rotated head has two halves");
    }
}

pub(super) fn inv_sqrt(head_width: usize) -> f32 {
    1.0 / (head_width as f32).sqrt()
}

/// Copies rows of `width` elements, `stride` apart, and pads them with zeros.
#[inline(always)]
pub(super) fn take_rows(target: &mut [f32], source: &[f32], stride: usize, padded: usize, width: usize) {
    for (position, target) in target.chunks_exact_mut(padded).enumerate() {
        target[..width].copy_from_slice(&source[position * stride..][..width]);
        target[width..].fill(0.0);
    }
}

/// Calls `run` with `width` as a constant if it is a usual one, so that loops over a head unroll.
#[inline(always)]
fn with_usual_width(width: usize, run: impl FnOnce(usize)) {
    match width {
        8 => run(8),
        16 => run(16),
        32 => run(32),
        64 => run(64),
        other => run(other),
    }
}

/// `target = x cos + [-x_hi, x_lo] sin`, times `factor`, for one row.
#[inline(always)]
fn rotate(target: &mut [f32], x: &[f32], rope: Option<Rope<'_>>, position: usize, width: usize, factor: f32) {
    let Some(rope) = rope else { return scaled(target, x, factor) };
    let half = width / 2;
    let (cos_low, cos_high) = rope.cos[position * width..][..width].split_at(half);
    let (sin_low, sin_high) = rope.sin[position * width..][..width].split_at(half);
    let (low, high) = target[..width].split_at_mut(half);
    let (x_low, x_high) = x[..width].split_at(half);
    mixed(low, [x_low, cos_low, x_high, sin_low], factor, -factor);
    mixed(high, [x_high, cos_high, x_low, sin_high], factor, factor);
}

/// Turns a gradient back, the transpose of [`rotate`].
#[inline(always)]
fn rotate_back(
    target: &mut [f32],
    dx: &[f32],
    rope: Option<Rope<'_>>,
    position: usize,
    width: usize,
    factor: f32,
) {
    let Some(rope) = rope else { return scaled(target, dx, factor) };
    let half = width / 2;
    let (cos_low, cos_high) = rope.cos[position * width..][..width].split_at(half);
    let (sin_low, sin_high) = rope.sin[position * width..][..width].split_at(half);
    let (low, high) = target[..width].split_at_mut(half);
    let (dx_low, dx_high) = dx[..width].split_at(half);
    mixed(low, [dx_low, cos_low, dx_high, sin_high], factor, factor);
    mixed(high, [dx_high, cos_high, dx_low, sin_low], factor, -factor);
}

/// `target = first a b + second c d`.
///
/// Halves of a head are short: most are one register or a quarter of one.
#[inline(always)]
fn mixed(target: &mut [f32], operands: [&[f32]; 4], first: f32, second: f32) {
    let at = mixed_pieces::<LANES>(target, operands, 0, first, second);
    let at = mixed_pieces::<4>(target, operands, at, first, second);
    mixed_pieces::<1>(target, operands, at, first, second);
}

/// Continues [`mixed`] at `at` as long as there are `SIZE` elements left; returns where it stopped.
#[inline(always)]
fn mixed_pieces<const SIZE: usize>(
    target: &mut [f32],
    operands: [&[f32]; 4],
    at: usize,
    first: f32,
    second: f32,
) -> usize {
    let (targets, _) = target[at..].as_chunks_mut::<SIZE>();
    let [a, b, c, d] = operands.map(|operand| operand[at..].as_chunks::<SIZE>().0);
    let count = targets.len();
    for ((((target, a), b), c), d) in targets.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        // An array of its own tells the compiler that the target overlaps none of the operands.
        let mut piece = [0.0; SIZE];
        for i in 0..SIZE {
            piece[i] = first * (a[i] * b[i]) + second * (c[i] * d[i]);
        }
        *target = piece;
    }
    at + count * SIZE
}

/// `target = factor x`.
#[inline(always)]
pub(super) fn scaled(target: &mut [f32], x: &[f32], factor: f32) {
    let (targets, target_tail) = target.as_chunks_mut::<8>();
    let (pieces, tail) = x.as_chunks::<8>();
    for (target, piece) in targets.iter_mut().zip(pieces) {
        *target = piece.map(
            #[inline(always)]
            |x| x * factor,
        );
    }
    for (target, x) in target_tail.iter_mut().zip(tail) {
        *target = x * factor;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, differences, inner, values, wide};
    use super::*;

    /// Tables with unequal halves, which the kernel must respect as well.
    fn tables(positions: usize, head_width: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
        (values(seed, positions * head_width), values(seed ^ 77, positions * head_width))
    }

    /// The formula at the head of the file, element by element in f64.
    fn naive(qkv: &[f64], rope: Option<(&[f64], &[f64])>, shape: AttentionShape) -> Vec<f64> {
        let AttentionShape { batch, positions, heads, head_width, .. } = shape;
        let width = shape.width();
        let mut out = vec![0.0; batch * positions * width];
        for row in 0..batch {
            for head in 0..heads {
                let take = |third: usize, position: usize, j: usize| {
                    qkv[(row * positions + position) * 3 * width + third * width + head * head_width + j]
                };
                let rotated = |third: usize, position: usize, j: usize| match rope {
                    None => take(third, position, j),
                    Some((cos, sin)) => {
                        let half = head_width / 2;
                        let partner = if j < half {
                            -take(third, position, j + half)
                        } else {
                            take(third, position, j - half)
                        };
                        take(third, position, j) * cos[position * head_width + j]
                            + partner * sin[position * head_width + j]
                    }
                };
                for i in 0..positions {
                    let weights: Vec<f64> = (0..positions)
                        .map(|j| (0..head_width).map(|c| rotated(0, i, c) * rotated(1, j, c)).sum::<f64>())
                        .map(|score| (score / (head_width as f64).sqrt()).exp())
                        .collect();
                    let sum: f64 = weights.iter().sum();
                    for c in 0..head_width {
                        out[(row * positions + i) * width + head * head_width + c] =
                            (0..positions).map(|j| weights[j] * take(2, j, c)).sum::<f64>() / sum;
                    }
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn attention_agrees_with_the_formula(
            batch in 1_usize..3, positions in 1_usize..150, heads in 1_usize..3, half in 1_usize..20, rotate: bool,
            seed: u64,
        ) {
            let shape = AttentionShape { batch, positions, heads, head_width: 2 * half, precision: Precision::F32 };
            let qkv: Vec<f32> = values(seed, batch * positions * 3 * shape.width()).iter().map(|x| 2.0 * x).collect();
            let (cos, sin) = tables(positions, 2 * half, seed ^ 1);
            let rope = rotate.then_some(Rope { cos: &cos, sin: &sin });
            let (mut out, mut lse) = (vec![0.0; qkv.len() / 3], vec![0.0; batch * heads * positions]);
            attention(&mut out, &mut lse, &qkv, rope, shape);
            let (cos, sin) = (wide(&cos), wide(&sin));
            let exact = naive(&wide(&qkv), rotate.then_some((&cos[..], &sin[..])), shape);
            // Scores up to 50 carry an absolute error near 5e-6, which becomes relative in the exponential.
            assert_close(&out, &exact, 2e-5);
        }

        #[test]
        fn gradient_agrees_with_differences(
            batch in 1_usize..3, positions in 1_usize..5, heads in 1_usize..3, half in 1_usize..4, rotate: bool, seed: u64,
        ) {
            let shape = AttentionShape { batch, positions, heads, head_width: 2 * half, precision: Precision::F32 };
            let qkv = values(seed, batch * positions * 3 * shape.width());
            let dout = values(seed ^ 2, qkv.len() / 3);
            let (cos, sin) = tables(positions, 2 * half, seed ^ 1);
            let rope = rotate.then_some(Rope { cos: &cos, sin: &sin });
            let (mut out, mut lse) = (vec![0.0; qkv.len() / 3], vec![0.0; batch * heads * positions]);
            let mut dqkv = vec![0.0; qkv.len()];
            attention(&mut out, &mut lse, &qkv, rope, shape);
            attention_grad(&mut dqkv, &qkv, &lse, &dout, rope, shape);
            let (cos, sin, dout) = (wide(&cos), wide(&sin), wide(&dout));
            let tables = rotate.then_some((&cos[..], &sin[..]));
            let exact = differences(&wide(&qkv), |qkv| inner(&naive(qkv, tables, shape), &dout));
            // Short sums of numbers near one.
            assert_close(&dqkv, &exact, 5e-6);
        }
    }

    /// The gradient over several blocks of queries, against a plain evaluation of its formula in f64.
    #[test]
    fn long_gradient_agrees_with_the_formula() {
        for (positions, head_width) in [(150, 8), (131, 64), (82, 32)] {
            let shape =
                AttentionShape { batch: 1, positions, heads: 1, head_width, precision: Precision::F32 };
            let qkv = values(5, positions * 3 * head_width);
            let dout = values(6, positions * head_width);
            let (mut out, mut lse) = (vec![0.0; positions * head_width], vec![0.0; positions]);
            let mut dqkv = vec![0.0; qkv.len()];
            attention(&mut out, &mut lse, &qkv, None, shape);
            attention_grad(&mut dqkv, &qkv, &lse, &dout, None, shape);

            let scale = 1.0 / (head_width as f64).sqrt();
            let at = |third: usize, i: usize, c: usize| f64::from(qkv[(i * 3 + third) * head_width + c]);
            let grad = |i: usize, c: usize| f64::from(dout[i * head_width + c]);
            let mut exact = vec![0.0; qkv.len()];
            for i in 0..positions {
                let dot = |f: &dyn Fn(usize) -> f64| (0..head_width).map(f).sum::<f64>();
                let weights: Vec<f64> =
                    (0..positions).map(|j| (scale * dot(&|c| at(0, i, c) * at(1, j, c))).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let dp: Vec<f64> = (0..positions).map(|j| dot(&|c| grad(i, c) * at(2, j, c))).collect();
                let mean: f64 = (0..positions).map(|j| weights[j] / sum * dp[j]).sum();
                for j in 0..positions {
                    let p = weights[j] / sum;
                    let ds = p * (dp[j] - mean) * scale;
                    for c in 0..head_width {
                        exact[i * 3 * head_width + c] += ds * at(1, j, c);
                        exact[(j * 3 + 1) * head_width + c] += ds * at(0, i, c);
                        exact[(j * 3 + 2) * head_width + c] += p * grad(i, c);
                    }
                }
            }
            // Sums of up to 150 terms whose sizes add up to a few units.
            assert_close(&dqkv, &exact, 5e-6);
        }
    }

    #[test]
    fn attention_is_the_same_on_any_threads() {
        let shape =
            AttentionShape { batch: 3, positions: 70, heads: 4, head_width: 32, precision: Precision::F32 };
        let qkv = values(1, 3 * 70 * 3 * 128);
        let dout = values(2, 3 * 70 * 128);
        let (cos, sin) = tables(70, 32, 3);
        assert_same_on_any_threads(|| {
            let rope = Some(Rope { cos: &cos, sin: &sin });
            let (mut out, mut lse, mut dqkv) =
                (vec![0.0; dout.len()], vec![0.0; 3 * 4 * 70], vec![0.0; qkv.len()]);
            attention(&mut out, &mut lse, &qkv, rope, shape);
            attention_grad(&mut dqkv, &qkv, &lse, &dout, rope, shape);
            [out, lse, dqkv].concat()
        });
    }
}
