//! Kernels that no shipped program spends time in; they are written for clarity.

use super::{AttentionShape, Rope};

/// `sqrt(sum (new - old)^2 / (sum old^2 + smallest))` of each row, summed in f64.
///
/// # Shapes
///
/// `out` `[B]`, `new` and `old` `[B, S, D]`.
pub fn row_distance(out: &mut [f32], new: &[f32], old: &[f32], smallest: f32) {
    let row = new.len() / out.len();
    for ((out, new), old) in out.iter_mut().zip(new.chunks_exact(row)).zip(old.chunks_exact(row)) {
        let (mut moved, mut before) = (0.0, 0.0);
        for (&new, &old) in new.iter().zip(old) {
            let (new, old) = (f64::from(new), f64::from(old));
            moved += (new - old) * (new - old);
            before += old * old;
        }
        *out = (moved / (before + f64::from(smallest))).sqrt() as f32;
    }
}

/// `x cos + rotate_half(x) sin` on queries and keys, or back; values are copied.
///
/// The executor meets this only where a rotation is not part of attention.
///
/// # Shapes
///
/// `out` and `qkv` `[B, S, 3D]`.
pub fn rotate(out: &mut [f32], qkv: &[f32], rope: Rope<'_>, inverse: bool, shape: AttentionShape) {
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
