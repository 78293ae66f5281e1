//! Copies that only move elements.

use super::parallel::{CHUNK, Shared, for_each_block};

/// What a copy does with the places it does not copy to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// They keep their content.
    Keep,
    /// They become zero.
    Zero,
}

/// Which positions a [`copy_axis`] copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyShape {
    /// Batch rows `B` of both tensors.
    pub batch: usize,
    /// Width `D` of both tensors.
    pub width: usize,
    /// Positions of `out`.
    pub out_positions: usize,
    /// First position of `out` that is written.
    pub out_start: usize,
    /// Positions of `x`.
    pub in_positions: usize,
    /// First position of `x` that is read.
    pub in_start: usize,
    /// Number of positions that are copied.
    pub count: usize,
}

/// `out[b, out_start + s] = x[b, in_start + s]` for `s < count`: slices and concatenations along axis 1.
///
/// With `width` 1 it pads or cuts the last axis of a matrix.
///
/// # Shapes
///
/// `out` `[B, out_positions, D]`, `x` `[B, in_positions, D]`.
pub fn copy_axis(out: &mut [f32], x: &[f32], rest: Rest, shape: CopyShape) {
    let CopyShape { batch, width, out_positions, out_start, in_positions, in_start, count } = shape;
    assert_eq!(out.len(), batch * out_positions * width);
    assert_eq!(x.len(), batch * in_positions * width);
    assert!(
        out_start + count <= out_positions && in_start + count <= in_positions,
        "{shape:?} leaves a tensor"
    );
    let (out_row, in_row) = (out_positions * width, in_positions * width);
    let work = batch * count * width / 4;
    let out = Shared::new(out);
    for_each_block(batch, CHUNK.div_ceil(out_row.max(1)), work, |rows| {
        for row in rows {
            // SAFETY: the batch rows of different tasks are disjoint.
            let out = unsafe { out.part(row * out_row..(row + 1) * out_row) };
            let (copied, from) =
                (out_start * width..(out_start + count) * width, row * in_row + in_start * width);
            if rest == Rest::Zero {
                out[..copied.start].fill(0.0);
                out[copied.end..].fill(0.0);
            }
            out[copied].copy_from_slice(&x[from..from + count * width]);
        }
    });
}

/// Zeros before and after `x` on an axis: `out[b, out_start + s] = x[b, s]` for `s < count`, and 0 elsewhere.
///
/// # Shapes
///
/// As for [`copy_axis`].
pub fn pad(out: &mut [f32], x: &[f32], shape: CopyShape) {
    copy_axis(out, x, Rest::Zero, shape);
}

/// `out[b, d, s] = x[b, s, d]`.
///
/// # Shapes
///
/// `out` `[B, D, S]`, `x` `[B, S, D]`.
pub fn transpose(out: &mut [f32], x: &[f32], batch: usize, positions: usize, width: usize) {
    assert_eq!(out.len(), batch * positions * width);
    assert_eq!(x.len(), out.len());
    let size = positions * width;
    let work = x.len() / 2;
    let out = Shared::new(out);
    for_each_block(batch, CHUNK.div_ceil(size.max(1)), work, |rows| {
        for row in rows {
            // SAFETY: the batch rows of different tasks are disjoint.
            let out = unsafe { out.part(row * size..(row + 1) * size) };
            transpose_matrix(out, positions, &x[row * size..(row + 1) * size], width, positions, width);
        }
    });
}

/// `out[j, i] = x[i, j]` for `i < rows`, `j < columns`, on the calling thread.
///
/// Squares of four by four are transposed in registers.
pub(super) fn transpose_matrix(
    out: &mut [f32],
    out_stride: usize,
    x: &[f32],
    x_stride: usize,
    rows: usize,
    columns: usize,
) {
    const SIDE: usize = 4;
    let whole = (rows / SIDE * SIDE, columns / SIDE * SIDE);
    for i in (0..whole.0).step_by(SIDE) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| x[(i + row) * x_stride..][..columns].as_chunks::<SIDE>().0);
        for (square, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
            for j in 0..SIDE {
                out[(square * SIDE + j) * out_stride + i..][..SIDE]
                    .copy_from_slice(&[a[j], b[j], c[j], d[j]]);
            }
        }
    }
    for j in 0..columns {
        let rest = if j < whole.1 { whole.0..rows } else { 0..rows };
        for i in rest {
            out[j * out_stride + i] = x[i * x_stride + j];
        }
    }
}

/// Replaces every position of the rows whose mask is not 0 by `init`, and copies the others.
///
/// # Shapes
///
/// `out` and `z` `[B, S, D]`, `mask` `[B]`, `init` `[D]`.
pub fn reset_rows(out: &mut [f32], z: &[f32], mask: &[f32], init: &[f32]) {
    let row = z.len() / mask.len();
    for ((out, z), mask) in out.chunks_exact_mut(row).zip(z.chunks_exact(row)).zip(mask) {
        if *mask == 0.0 {
            out.copy_from_slice(z);
        } else {
            out.chunks_exact_mut(init.len()).for_each(|position| position.copy_from_slice(init));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_same_on_any_threads, numbers, values};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn copies_move_exactly_what_they_say(
            batch in 1_usize..4, width in 1_usize..9, count in 0_usize..6, starts in [0_usize..4, 0_usize..4],
            ends in [0_usize..4, 0_usize..4], zero: bool, seed: u64,
        ) {
            let shape = CopyShape {
                batch, width, count,
                out_start: starts[0], in_start: starts[1],
                out_positions: starts[0] + count + ends[0], in_positions: starts[1] + count + ends[1],
            };
            let x = values(seed, batch * shape.in_positions * width);
            let old = values(seed ^ 1, batch * shape.out_positions * width);
            let mut out = old.clone();
            copy_axis(&mut out, &x, if zero { Rest::Zero } else { Rest::Keep }, shape);
            for at in 0..out.len() {
                let (b, t, d) = (at / width / shape.out_positions, at / width % shape.out_positions, at % width);
                let expected = if (starts[0]..starts[0] + count).contains(&t) {
                    x[(b * shape.in_positions + t - starts[0] + starts[1]) * width + d]
                } else if zero { 0.0 } else { old[at] };
                prop_assert_eq!(out[at], expected);
            }
        }

        #[test]
        fn transposition_exchanges_the_axes(batch in 1_usize..4, positions in 1_usize..40, width in 1_usize..40, seed: u64) {
            let x = values(seed, batch * positions * width);
            let mut out = vec![0.0; x.len()];
            transpose(&mut out, &x, batch, positions, width);
            for (at, &x) in x.iter().enumerate() {
                let (b, t, d) = (at / width / positions, at / width % positions, at % width);
                prop_assert_eq!(out[(b * width + d) * positions + t], x);
            }
        }

        #[test]
        fn masked_rows_are_reset(batch in 1_usize..6, positions in 1_usize..5, width in 1_usize..9, seed: u64) {
            let (old, init) = (values(seed, batch * positions * width), values(seed ^ 1, width));
            let mask: Vec<f32> = numbers(seed, batch, 2).into_iter().map(|bit| bit as f32).collect();
            let mut z = vec![0.0; old.len()];
            reset_rows(&mut z, &old, &mask, &init);
            for at in 0..z.len() {
                let reset = mask[at / width / positions] != 0.0;
                prop_assert_eq!(z[at], if reset { init[at % width] } else { old[at] });
            }
        }
    }

    #[test]
    fn copies_are_the_same_on_any_threads() {
        let x = values(1, 40 * 100 * 90);
        assert_same_on_any_threads(|| {
            let (mut transposed, mut cut) = (vec![0.0; x.len()], vec![1.0; 40 * 60 * 90]);
            transpose(&mut transposed, &x, 40, 100, 90);
            let shape = CopyShape {
                batch: 40,
                width: 90,
                out_positions: 60,
                out_start: 5,
                in_positions: 100,
                in_start: 30,
                count: 50,
            };
            copy_axis(&mut cut, &x, Rest::Zero, shape);
            [transposed, cut].concat()
        });
    }
}
