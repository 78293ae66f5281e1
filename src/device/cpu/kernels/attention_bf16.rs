//! [`attention`](fn@super::attention) with the factors of its products in bf16.
//!
//! The formulas and the tasks are the same. What a task multiplies it rounds once per head: rows become pairs along the
//! head (`left · rightᵀ`) or pairs of neighbouring positions (sums over positions). Scores, softmax and all sums
//! are f32; weights are rounded when they are factors.

use super::Store;
use super::attention::{
    AttentionShape, Head, Rope, inv_sqrt, scaled, score_gradients, softmax, store_gradients, take_rows,
};
use super::avx512::{PANEL, Pairs, Panels, Unit, arrange_panels, pairs_len, panels_len};
use super::operand::MatrixView;
use super::panel;
use super::parallel::{Shared, for_each_block};
use super::scratch::{aligned, carve, with_scratch};
use super::simd::vectorised;

/// Queries whose scores are held at a time, side by side: the columns of a panel.
const QUERIES: usize = PANEL;

/// Sizes of one head: positions, width, and the width padded to whole registers.
#[derive(Clone, Copy)]
struct HeadSizes {
    positions: usize,
    width: usize,
    padded: usize,
}

impl HeadSizes {
    fn new(shape: AttentionShape) -> Self {
        let AttentionShape { positions, head_width: width, .. } = shape;
        HeadSizes { positions, width, padded: width.next_multiple_of(panel::PANEL) }
    }

    /// Elements of all rows of a head in f32.
    fn rows(self) -> usize {
        self.positions.saturating_mul(self.padded)
    }

    /// Elements of [`HeadSizes::transposed`].
    fn transposed_len(self) -> usize {
        panels_len(self.positions, self.width, Unit::Pair)
    }

    /// Elements of [`HeadSizes::stacked`].
    fn stacked_len(self) -> usize {
        panels_len(self.width, self.positions, Unit::Pair)
    }

    fn operand(self, rows: &[f32]) -> MatrixView<'_> {
        MatrixView::new(rows, self.positions, self.width, self.padded)
    }

    /// Arranges rows as columns, for sums along the head; a block of queries is a panel.
    fn transposed<'a>(self, target: &'a mut [f32], rows: &[f32]) -> Panels<'a> {
        arrange_panels(target, self.operand(rows).transposed(), self.positions, self.width, Unit::Pair);
        Panels::new(target, self.width, Unit::Pair)
    }

    /// Arranges rows as they are, for sums over positions.
    fn stacked<'a>(self, target: &'a mut [f32], rows: &[f32]) -> Panels<'a> {
        arrange_panels(target, self.operand(rows), self.width, self.positions, Unit::Pair);
        Panels::new(target, self.positions, Unit::Pair)
    }

    /// Rounds rows, for sums along the head.
    fn pairs<'a>(self, target: &'a mut [f32], rows: &[f32]) -> Pairs<'a> {
        Pairs::new(target, self.operand(rows), self.positions, self.width)
    }
}

/// Returns the elements of each part of the scratch of a task of [`attention`].
fn parts(shape: AttentionShape) -> [usize; 7] {
    let (sizes, positions) = (HeadSizes::new(shape), shape.positions);
    [
        sizes.rows(),
        sizes.transposed_len(),
        pairs_len(positions, shape.head_width),
        sizes.stacked_len(),
        positions.saturating_mul(QUERIES),
        pairs_len(QUERIES, positions),
        QUERIES * sizes.padded,
    ]
}

/// Returns the elements of each part of the scratch of a task of [`attention_grad`].
fn grad_parts(shape: AttentionShape) -> [usize; 14] {
    let (sizes, positions) = (HeadSizes::new(shape), shape.positions);
    let (rows, transposed, stacked) = (sizes.rows(), sizes.transposed_len(), sizes.stacked_len());
    let (pairs, scores) = (pairs_len(positions, shape.head_width), positions.saturating_mul(QUERIES));
    let factors = pairs_len(positions, QUERIES).max(pairs_len(QUERIES, positions));
    [
        rows, rows, rows, rows, transposed, transposed, stacked, stacked, stacked, pairs, pairs, scores,
        scores, factors,
    ]
}

/// Returns the elements of scratch of a task of [`attention`].
pub fn scratch(shape: AttentionShape) -> usize {
    parts(shape).into_iter().map(aligned).fold(0, usize::saturating_add)
}

/// Returns the elements of scratch of a task of [`attention_grad`].
pub fn grad_scratch(shape: AttentionShape) -> usize {
    grad_parts(shape).into_iter().map(aligned).fold(0, usize::saturating_add)
}

/// [`attention`](fn@super::attention) on a processor that multiplies pairs.
pub fn attention(
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { batch, positions, heads, head_width, .. } = shape;
    let width = shape.width();
    let sizes = HeadSizes::new(shape);
    let padded = sizes.padded;
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    for_each_block(batch * heads, shape.heads_per_task(), shape.work(), |tasks| {
        let parts = parts(shape);
        with_scratch(scratch(shape), |mut rest| {
            let [rows, q, k, v, weights, rounded, mixed] = parts.map(|len| carve(&mut rest, len));
            for task in tasks {
                let source = Head::new(qkv, task, shape);
                source.take(rows, 0, rope, inv_sqrt(head_width));
                let q = sizes.transposed(q, rows);
                source.take(rows, 1, rope, 1.0);
                let k = sizes.pairs(k, rows);
                source.take(rows, 2, None, 1.0);
                let v = sizes.stacked(v, rows);
                // SAFETY: every head of every batch row has its own part of `lse`.
                let lse = unsafe { lse.part(task * positions..(task + 1) * positions) };
                let (row, head) = (task / heads, task % heads);
                for start in (0..positions).step_by(QUERIES) {
                    let count = QUERIES.min(positions - start);
                    let columns = count.next_multiple_of(panel::PANEL);
                    k.multiply(weights, QUERIES, q.skip_columns(start), 0, columns, Store::Replace);
                    let factors = softmax::<QUERIES>(weights, &mut lse[start..start + count]);
                    by_query(rounded, weights, count, positions).multiply(
                        mixed,
                        padded,
                        v,
                        0,
                        head_width,
                        Store::Replace,
                    );
                    for (i, factor) in factors.iter().enumerate().take(count) {
                        let at = (row * positions + start + i) * width + head * head_width;
                        // SAFETY: every head of every batch row has its own columns of its own rows.
                        let out = unsafe { out.part(at..at + head_width) };
                        vectorised(
                            #[inline(always)]
                            || scaled(out, &mixed[i * padded..][..head_width], *factor),
                        );
                    }
                }
            }
        });
    });
}

/// Rounds columns of scores, for sums over positions.
fn by_query<'a>(target: &'a mut [f32], scores: &[f32], count: usize, positions: usize) -> Pairs<'a> {
    Pairs::new(target, MatrixView::new(scores, positions, QUERIES, QUERIES).transposed(), count, positions)
}

/// Rounds rows of scores, for sums over the first `count` queries.
fn by_key<'a>(target: &'a mut [f32], scores: &[f32], count: usize, positions: usize) -> Pairs<'a> {
    Pairs::new(target, MatrixView::new(scores, positions, QUERIES, QUERIES), positions, count)
}

/// [`attention_grad`](super::attention_grad) on a processor that multiplies pairs.
pub fn attention_grad(
    dqkv: &mut [f32],
    qkv: &[f32],
    lse: &[f32],
    dout: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { batch, positions, heads, head_width, .. } = shape;
    let width = shape.width();
    let sizes = HeadSizes::new(shape);
    let padded = sizes.padded;
    let dqkv = Shared::new(dqkv);
    for_each_block(batch * heads, shape.heads_per_task(), 2 * shape.work(), |tasks| {
        let parts = grad_parts(shape);
        with_scratch(grad_scratch(shape), |mut rest| {
            let [rows, dq, dk, dv, q, dy, q_stacked, dy_stacked, k_stacked, k, v, weights, dscores, rounded] =
                parts.map(|len| carve(&mut rest, len));
            for task in tasks {
                let source = Head::new(qkv, task, shape);
                let (row, head) = (task / heads, task % heads);
                source.take(rows, 0, rope, inv_sqrt(head_width));
                let (q, q_stacked) = (sizes.transposed(q, rows), sizes.stacked(q_stacked, rows));
                source.take(rows, 1, rope, 1.0);
                let (k, k_stacked) = (sizes.pairs(k, rows), sizes.stacked(k_stacked, rows));
                source.take(rows, 2, None, 1.0);
                let v = sizes.pairs(v, rows);
                let first = row * positions * width + head * head_width;
                vectorised(
                    #[inline(always)]
                    || take_rows(rows, &dout[first..], width, padded, head_width),
                );
                let (dy, dy_stacked) = (sizes.transposed(dy, rows), sizes.stacked(dy_stacked, rows));
                let lse = &lse[task * positions..(task + 1) * positions];
                for start in (0..positions).step_by(QUERIES) {
                    let count = QUERIES.min(positions - start);
                    let columns = count.next_multiple_of(panel::PANEL);
                    k.multiply(weights, QUERIES, q.skip_columns(start), 0, columns, Store::Replace);
                    v.multiply(dscores, QUERIES, dy.skip_columns(start), 0, columns, Store::Replace);
                    score_gradients::<QUERIES>(weights, dscores, &lse[start..start + count]);
                    let store = if start == 0 { Store::Replace } else { Store::Add };
                    // Queries are even in number in all blocks but the last, so a block starts with a pair.
                    let first = start / 2;
                    by_key(rounded, weights, count, positions)
                        .multiply(dv, padded, dy_stacked, first, head_width, store);
                    by_key(rounded, dscores, count, positions)
                        .multiply(dk, padded, q_stacked, first, head_width, store);
                    by_query(rounded, dscores, count, positions).multiply(
                        &mut dq[start * padded..],
                        padded,
                        k_stacked,
                        0,
                        head_width,
                        Store::Replace,
                    );
                }
                store_gradients(dqkv, task, [dq, dk, dv], rope, shape);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_same_on_any_threads, values};
    use super::super::{attention, attention_grad, multiplies_in_bf16};
    use super::*;
    use crate::ir::Precision;

    /// Outputs and gradients in one precision.
    fn run(qkv: &[f32], dout: &[f32], rope: Option<Rope<'_>>, shape: AttentionShape) -> [Vec<f32>; 3] {
        let mut out = vec![f32::NAN; dout.len()];
        let mut lse = vec![f32::NAN; shape.batch * shape.heads * shape.positions];
        let mut dqkv = vec![f32::NAN; qkv.len()];
        attention(&mut out, &mut lse, qkv, rope, shape);
        attention_grad(&mut dqkv, qkv, &lse, dout, rope, shape);
        [out, lse, dqkv]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn bf16_is_near_f32(
            batch in 1_usize..3, positions in 1_usize..200, heads in 1_usize..3, half in 1_usize..45, rotate: bool, seed: u64,
        ) {
            if !multiplies_in_bf16() {
                return Ok(());
            }
            let head_width = 2 * half;
            let shape = AttentionShape { batch, positions, heads, head_width, precision: Precision::F32 };
            let qkv = values(seed, batch * positions * 3 * shape.width());
            let dout = values(seed ^ 1, qkv.len() / 3);
            let (cos, sin) = (values(seed ^ 2, positions * head_width), values(seed ^ 3, positions * head_width));
            let rope = rotate.then_some(Rope { cos: &cos, sin: &sin });
            let exact = run(&qkv, &dout, rope, shape);
            let near = run(&qkv, &dout, rope, AttentionShape { precision: Precision::Bf16, ..shape });
            for (what, (exact, near)) in ["out", "lse", "dqkv"].iter().zip(exact.iter().zip(&near)) {
                let largest = exact.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                for (at, (exact, near)) in exact.iter().zip(near).enumerate() {
                    // Each factor is off by 2^-9 of it at most, and each result goes through three products.
                    let bound = 6.0 * 2.0_f32.powi(-9) * (largest + 0.1);
                    prop_assert!((exact - near).abs() <= bound, "{what} {at}: {near} instead of {exact}");
                }
            }
        }
    }

    #[test]
    fn bf16_is_the_same_on_any_threads() {
        let shape =
            AttentionShape { batch: 3, positions: 70, heads: 4, head_width: 32, precision: Precision::Bf16 };
        let (qkv, dout) = (values(1, 3 * 70 * 3 * 128), values(2, 3 * 70 * 128));
        assert_same_on_any_threads(|| run(&qkv, &dout, None, shape).concat());
    }
}
