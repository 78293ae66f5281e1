//! Kernels that no shipped program spends time in; they are written for clarity.

use super::kernels::{AttentionShape, Rope};

/// Replaces every position of the rows whose mask is not 0 by `init`, and copies the others.
///
/// # Shapes
///
/// `out` and `z` `[B, T, D]`, `mask` `[B]`, `init` `[D]`.
pub(super) fn reset_rows(out: &mut [f32], z: &[f32], mask: &[f32], init: &[f32]) {
    let row = z.len() / mask.len();
    for ((out, z), mask) in out.chunks_exact_mut(row).zip(z.chunks_exact(row)).zip(mask) {
        if *mask == 0.0 {
            out.copy_from_slice(z);
        } else {
            out.chunks_exact_mut(init.len()).for_each(|position| position.copy_from_slice(init));
        }
    }
}

/// `x cos + rotate_half(x) sin` on queries and keys, or back; values are copied.
///
/// The executor meets this only where a rotation is not part of attention.
///
/// # Shapes
///
/// `out` and `qkv` `[B, T, 3D]`.
pub(super) fn rotate_qkv(out: &mut [f32], qkv: &[f32], rope: Rope<'_>, inverse: bool, shape: AttentionShape) {
    let AttentionShape { positions, heads, head_width, .. } = shape;
    let (width, half) = (heads * head_width, head_width / 2);
    let sign = if inverse { -1.0 } else { 1.0 };
    out.copy_from_slice(qkv);
    for (index, (out, x)) in out.chunks_exact_mut(3 * width).zip(qkv.chunks_exact(3 * width)).enumerate() {
        let table = (index % positions) * head_width;
        for head in (0..2 * width).step_by(head_width) {
            for column in 0..half {
                let (cos, sin) = (rope.cos[table + column], sign * rope.sin[table + column]);
                let (first, second) = (x[head + column], x[head + half + column]);
                out[head + column] = first * cos - second * sin;
                out[head + half + column] = second * cos + first * sin;
            }
        }
    }
}
