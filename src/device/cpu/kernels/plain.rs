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

/// Sums of vectors of rows and columns, after `prefix` positions of zeros.
///
/// # Shapes
///
/// `out` `[prefix + side², D]`, `rows`, `columns` `[side, D]`.
pub fn grid_positions(out: &mut [f32], rows: &[f32], columns: &[f32], side: usize, prefix: usize) {
    let width = rows.len() / side;
    let (before, tokens) = out.split_at_mut(prefix * width);
    before.fill(0.0);
    for (index, out) in tokens.chunks_exact_mut(width).enumerate() {
        let row = &rows[index / side * width..][..width];
        let column = &columns[index % side * width..][..width];
        for ((out, row), column) in out.iter_mut().zip(row).zip(column) {
            *out = row + column;
        }
    }
}

/// The sum of the gradients of the tokens of each row, or of each column, of a square.
///
/// # Shapes
///
/// `out` `[side, D]`, `dy` `[prefix + side², D]`.
pub fn grid_positions_grad(out: &mut [f32], dy: &[f32], side: usize, prefix: usize, columns: bool) {
    let width = out.len() / side;
    out.fill(0.0);
    for (index, dy) in dy[prefix * width..].chunks_exact(width).enumerate() {
        let place = if columns { index % side } else { index / side };
        for (out, dy) in out[place * width..][..width].iter_mut().zip(dy) {
            *out += dy;
        }
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
