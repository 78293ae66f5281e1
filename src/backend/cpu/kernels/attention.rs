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
//! One task handles one head of one batch row. Scores are computed for a block of queries at a time, so
//! that a block stays in cache and memory does not grow with `T²`. The backward pass computes
//! them again from the logarithms of the softmax sums (Dao et al. 2022):
//!
//! ```text
//! p = exp(q' k'ᵀ - lse)      dv = pᵀ dout       dp = dout vᵀ
//! ds = p (dp - Σ dout out)   dq' = ds k'        dk' = dsᵀ q'
//! ```

use super::Store;
use super::parallel::{Shared, for_each_task};
use super::product::{Operand, Sizes, multiply};
use super::scratch::{aligned, carve, with_scratch};
use super::simd::{dot, exp, exp_in_place, largest, vectorised};

/// Queries whose scores are held at a time.
const QUERIES: usize = 64;

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Batch rows `B`.
    pub batch: usize,
    /// Positions `T`.
    pub positions: usize,
    /// Heads `H`.
    pub heads: usize,
    /// Width `d` of one head; even if positions are rotated.
    pub head_width: usize,
}

impl AttentionShape {
    /// Returns the model width `D = H d`.
    pub const fn width(&self) -> usize {
        self.heads * self.head_width
    }

    fn work(&self) -> usize {
        self.batch * self.heads * self.positions * self.positions * self.head_width / 4
    }
}

/// The tables of rotary positions, `cos` and `sin` `[T, d]`.
#[derive(Debug, Clone, Copy)]
pub struct Rope<'a> {
    /// Cosines of the angles; both halves of a row hold the same angles.
    pub cos: &'a [f32],
    /// Sines of the angles.
    pub sin: &'a [f32],
}

/// `out = softmax(q' k'ᵀ) v` for every head.
///
/// # Shapes
///
/// `out` `[B, T, D]`, `lse` `[B, H, T]`: the logarithm of the softmax sum of each query, for
/// the gradient; `qkv` `[B, T, 3D]`: all heads of q, then of k, then of v.
pub fn attention(
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { batch, positions, heads, head_width } = shape;
    check(shape, qkv, rope);
    assert_eq!(out.len() * 3, qkv.len());
    assert_eq!(lse.len(), batch * heads * positions);
    let width = shape.width();
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    for_each_task(batch * heads, shape.work(), |task| {
        let (row, head) = (task / heads, task % heads);
        let qkv = &qkv[row * positions * 3 * width..(row + 1) * positions * 3 * width];
        // SAFETY: every task has its own part of `lse`.
        let lse = unsafe { lse.part(task * positions..(task + 1) * positions) };
        let size = aligned(positions * head_width);
        with_scratch(4 * size + aligned(QUERIES * positions), |mut rest| {
            let q = carve(&mut rest, positions * head_width);
            let k = carve(&mut rest, positions * head_width);
            let mixed = carve(&mut rest, positions * head_width);
            let scores = carve(&mut rest, QUERIES * positions);
            vectorised(
                #[inline(always)]
                || {
                    take_head(
                        q,
                        &qkv[head * head_width..],
                        3 * width,
                        rope,
                        head_width,
                        inv_sqrt(head_width),
                    );
                    take_head(k, &qkv[width + head * head_width..], 3 * width, rope, head_width, 1.0);
                },
            );
            let k = Operand::new(k, positions, head_width, head_width);
            let v = Operand::new(&qkv[2 * width + head * head_width..], positions, head_width, 3 * width);
            for start in (0..positions).step_by(QUERIES) {
                let count = QUERIES.min(positions - start);
                let q = Operand::new(&q[start * head_width..], count, head_width, head_width);
                let scores = &mut scores[..count * positions];
                let sizes = Sizes { rows: count, columns: positions, depth: head_width };
                multiply(scores, positions, q, k.transposed(), sizes, Store::Replace);
                vectorised(
                    #[inline(always)]
                    || {
                        for (scores, lse) in
                            scores.chunks_exact_mut(positions).zip(&mut lse[start..start + count])
                        {
                            let shift = largest(scores);
                            let sum = exp_in_place(scores, shift);
                            let factor = 1.0 / sum;
                            for score in scores.iter_mut() {
                                *score *= factor;
                            }
                            *lse = shift + sum.ln();
                        }
                    },
                );
                let mixed = &mut mixed[start * head_width..(start + count) * head_width];
                let sizes = Sizes { rows: count, columns: head_width, depth: positions };
                multiply(
                    mixed,
                    head_width,
                    Operand::new(scores, count, positions, positions),
                    v,
                    sizes,
                    Store::Replace,
                );
            }
            for (position, mixed) in mixed.chunks_exact(head_width).enumerate() {
                let at = (row * positions + position) * width + head * head_width;
                // SAFETY: every task has its own head of its own batch row.
                unsafe { out.part(at..at + head_width) }.copy_from_slice(mixed);
            }
        });
    });
}

/// Gradient of [`attention`] with respect to `qkv`, before rotation.
///
/// # Shapes
///
/// `dqkv`, `qkv` `[B, T, 3D]`, `out`, `dout` `[B, T, D]`, `lse` `[B, H, T]`; `out` and `lse` as the
/// forward pass left them.
pub fn attention_grad(
    dqkv: &mut [f32],
    qkv: &[f32],
    out: &[f32],
    lse: &[f32],
    dout: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    let AttentionShape { batch, positions, heads, head_width } = shape;
    check(shape, qkv, rope);
    assert_eq!(dqkv.len(), qkv.len());
    assert_eq!(out.len() * 3, qkv.len());
    assert_eq!(dout.len(), out.len());
    assert_eq!(lse.len(), batch * heads * positions);
    let width = shape.width();
    let dqkv = Shared::new(dqkv);
    for_each_task(batch * heads, 2 * shape.work(), |task| {
        let (row, head) = (task / heads, task % heads);
        let qkv = &qkv[row * positions * 3 * width..(row + 1) * positions * 3 * width];
        let first = row * positions * width + head * head_width;
        let (out, dout) = (&out[first..], &dout[first..]);
        let lse = &lse[task * positions..(task + 1) * positions];
        let size = aligned(positions * head_width);
        let block = aligned(QUERIES * positions);
        with_scratch(5 * size + 2 * block, |mut rest| {
            let q = carve(&mut rest, positions * head_width);
            let k = carve(&mut rest, positions * head_width);
            let dq = carve(&mut rest, positions * head_width);
            let dk = carve(&mut rest, positions * head_width);
            let dv = carve(&mut rest, positions * head_width);
            let p = carve(&mut rest, QUERIES * positions);
            let ds = carve(&mut rest, QUERIES * positions);
            vectorised(
                #[inline(always)]
                || {
                    take_head(
                        q,
                        &qkv[head * head_width..],
                        3 * width,
                        rope,
                        head_width,
                        inv_sqrt(head_width),
                    );
                    take_head(k, &qkv[width + head * head_width..], 3 * width, rope, head_width, 1.0);
                },
            );
            let k = Operand::new(k, positions, head_width, head_width);
            let v = Operand::new(&qkv[2 * width + head * head_width..], positions, head_width, 3 * width);
            for start in (0..positions).step_by(QUERIES) {
                let count = QUERIES.min(positions - start);
                let q = Operand::new(&q[start * head_width..], count, head_width, head_width);
                let dout_rows = Operand::new(&dout[start * width..], count, head_width, width);
                let (p, ds) = (&mut p[..count * positions], &mut ds[..count * positions]);
                let sizes = Sizes { rows: count, columns: positions, depth: head_width };
                multiply(p, positions, q, k.transposed(), sizes, Store::Replace);
                multiply(ds, positions, dout_rows, v.transposed(), sizes, Store::Replace);
                vectorised(
                    #[inline(always)]
                    || {
                        for (i, (p, ds)) in
                            p.chunks_exact_mut(positions).zip(ds.chunks_exact_mut(positions)).enumerate()
                        {
                            let at = (start + i) * width;
                            let mean = dot(&out[at..at + head_width], &dout[at..at + head_width]);
                            let lse = lse[start + i];
                            for (p, ds) in p.iter_mut().zip(ds) {
                                *p = exp(*p - lse);
                                *ds = *p * (*ds - mean);
                            }
                        }
                    },
                );
                let store = if start == 0 { Store::Replace } else { Store::Add };
                let (p, ds) = (
                    Operand::new(p, count, positions, positions),
                    Operand::new(ds, count, positions, positions),
                );
                let sizes = Sizes { rows: positions, columns: head_width, depth: count };
                multiply(dv, head_width, p.transposed(), dout_rows, sizes, store);
                multiply(dk, head_width, ds.transposed(), q, sizes, store);
                let sizes = Sizes { rows: count, columns: head_width, depth: positions };
                multiply(&mut dq[start * head_width..], head_width, ds, k, sizes, Store::Replace);
            }
            let parts = [(&*dq, rope, inv_sqrt(head_width)), (&*dk, rope, 1.0), (&*dv, None, 1.0)];
            for (third, (gradient, rope, factor)) in parts.into_iter().enumerate() {
                for (position, gradient) in gradient.chunks_exact(head_width).enumerate() {
                    let at = (row * positions + position) * 3 * width + third * width + head * head_width;
                    // SAFETY: every task has its own head of its own batch row.
                    let target = unsafe { dqkv.part(at..at + head_width) };
                    vectorised(
                        #[inline(always)]
                        || give_row(target, gradient, rope, position, factor),
                    );
                }
            }
        });
    });
}

fn check(shape: AttentionShape, qkv: &[f32], rope: Option<Rope<'_>>) {
    assert_eq!(qkv.len(), shape.batch * shape.positions * 3 * shape.width());
    if let Some(rope) = rope {
        assert_eq!(rope.cos.len(), shape.positions * shape.head_width);
        assert_eq!(rope.sin.len(), shape.positions * shape.head_width);
        assert!(shape.head_width.is_multiple_of(2), "a rotated head has two halves");
    }
}

fn inv_sqrt(head_width: usize) -> f32 {
    1.0 / (head_width as f32).sqrt()
}

/// Copies one head out of rows `stride` apart, rotates it and scales it.
#[inline(always)]
fn take_head(
    target: &mut [f32],
    source: &[f32],
    stride: usize,
    rope: Option<Rope<'_>>,
    head_width: usize,
    factor: f32,
) {
    let half = head_width / 2;
    for (position, target) in target.chunks_exact_mut(head_width).enumerate() {
        let source = &source[position * stride..][..head_width];
        let Some(rope) = rope else {
            for (target, source) in target.iter_mut().zip(source) {
                *target = source * factor;
            }
            continue;
        };
        let (cos, sin) = (
            &rope.cos[position * head_width..][..head_width],
            &rope.sin[position * head_width..][..head_width],
        );
        let (low, high) = target.split_at_mut(half);
        let (source_low, source_high) = source.split_at(half);
        for j in 0..half {
            low[j] = (source_low[j] * cos[j] - source_high[j] * sin[j]) * factor;
            high[j] = (source_high[j] * cos[half + j] + source_low[j] * sin[half + j]) * factor;
        }
    }
}

/// Scales the gradient of one rotated row and turns it back: the transpose of what [`take_head`] does.
#[inline(always)]
fn give_row(target: &mut [f32], gradient: &[f32], rope: Option<Rope<'_>>, position: usize, factor: f32) {
    let head_width = target.len();
    let half = head_width / 2;
    let Some(rope) = rope else {
        for (target, gradient) in target.iter_mut().zip(gradient) {
            *target = gradient * factor;
        }
        return;
    };
    let (cos, sin) =
        (&rope.cos[position * head_width..][..head_width], &rope.sin[position * head_width..][..head_width]);
    let (low, high) = target.split_at_mut(half);
    let (gradient_low, gradient_high) = gradient.split_at(half);
    for j in 0..half {
        low[j] = (gradient_low[j] * cos[j] + gradient_high[j] * sin[half + j]) * factor;
        high[j] = (gradient_high[j] * cos[half + j] - gradient_low[j] * sin[j]) * factor;
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
        let AttentionShape { batch, positions, heads, head_width } = shape;
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
            let shape = AttentionShape { batch, positions, heads, head_width: 2 * half };
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
            let shape = AttentionShape { batch, positions, heads, head_width: 2 * half };
            let qkv = values(seed, batch * positions * 3 * shape.width());
            let dout = values(seed ^ 2, qkv.len() / 3);
            let (cos, sin) = tables(positions, 2 * half, seed ^ 1);
            let rope = rotate.then_some(Rope { cos: &cos, sin: &sin });
            let (mut out, mut lse) = (vec![0.0; qkv.len() / 3], vec![0.0; batch * heads * positions]);
            let mut dqkv = vec![0.0; qkv.len()];
            attention(&mut out, &mut lse, &qkv, rope, shape);
            attention_grad(&mut dqkv, &qkv, &out, &lse, &dout, rope, shape);
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
            let shape = AttentionShape { batch: 1, positions, heads: 1, head_width };
            let qkv = values(5, positions * 3 * head_width);
            let dout = values(6, positions * head_width);
            let (mut out, mut lse) = (vec![0.0; positions * head_width], vec![0.0; positions]);
            let mut dqkv = vec![0.0; qkv.len()];
            attention(&mut out, &mut lse, &qkv, None, shape);
            attention_grad(&mut dqkv, &qkv, &out, &lse, &dout, None, shape);

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
        let shape = AttentionShape { batch: 3, positions: 70, heads: 4, head_width: 32 };
        let qkv = values(1, 3 * 70 * 3 * 128);
        let dout = values(2, 3 * 70 * 128);
        let (cos, sin) = tables(70, 32, 3);
        assert_same_on_any_threads(|| {
            let rope = Some(Rope { cos: &cos, sin: &sin });
            let (mut out, mut lse, mut dqkv) =
                (vec![0.0; dout.len()], vec![0.0; 3 * 4 * 70], vec![0.0; qkv.len()]);
            attention(&mut out, &mut lse, &qkv, rope, shape);
            attention_grad(&mut dqkv, &qkv, &out, &lse, &dout, rope, shape);
            [out, lse, dqkv].concat()
        });
    }
}
