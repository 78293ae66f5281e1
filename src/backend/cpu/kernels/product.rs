//! Products of matrices.
//!
//! The three forms a linear layer needs, with the letters of its weight `w[N, K]` kept throughout:
//!
//! ```text
//! forward           out[R, N] = a[R, K] · b[N, K]ᵀ      product_nt
//! input gradient    out[R, K] = a[R, N] · b[N, K]       product_nn
//! weight gradient   out[N, K] = a[R, N]ᵀ · b[R, K]      product_tn
//! ```
//!
//! The result is cut into tiles along its longer side; each tile is one task and one call of the `gemm`
//! crate on the thread that runs it.

use super::Store;
use super::parallel::{Shared, for_each_block};

/// Sizes of a product, and how far apart rows lie in memory.
///
/// Strides count elements from one row to the next, so that a product can read and write columns of a
/// wider matrix: pass the slice that starts at the first such column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductShape {
    /// Rows `R` of activations.
    pub r: usize,
    /// Output width `N` of the layer.
    pub n: usize,
    /// Input width `K` of the layer.
    pub k: usize,
    /// Elements from one row of `out` to the next.
    pub out_stride: usize,
    /// Elements from one row of `a` to the next.
    pub a_stride: usize,
    /// Elements from one row of `b` to the next.
    pub b_stride: usize,
}

impl ProductShape {
    /// Returns the shape of a [`product_nt`] of contiguous matrices.
    pub const fn nt(r: usize, n: usize, k: usize) -> Self {
        ProductShape { r, n, k, out_stride: n, a_stride: k, b_stride: k }
    }

    /// Returns the shape of a [`product_nn`] of contiguous matrices.
    pub const fn nn(r: usize, n: usize, k: usize) -> Self {
        ProductShape { r, n, k, out_stride: k, a_stride: n, b_stride: k }
    }

    /// Returns the shape of a [`product_tn`] of contiguous matrices.
    pub const fn tn(r: usize, n: usize, k: usize) -> Self {
        ProductShape { r, n, k, out_stride: k, a_stride: n, b_stride: k }
    }
}

/// `out[R, N] = a[R, K] · b[N, K]ᵀ + bias[N]`, the forward pass of a linear layer.
///
/// # Shapes
///
/// `out` `[R, N]`, `a` `[R, K]`, `b` `[N, K]`, `bias` `[N]`, with the strides of `shape`.
pub fn product_nt(
    out: &mut [f32],
    a: &[f32],
    b: &[f32],
    bias: Option<&[f32]>,
    store: Store,
    shape: ProductShape,
) {
    let ProductShape { r, n, k, .. } = shape;
    if let Some(bias) = bias {
        assert_eq!(bias.len(), n, "length of the bias");
        for row in out.chunks_mut(shape.out_stride.max(1)).take(r) {
            match store {
                Store::Replace => row[..n].copy_from_slice(bias),
                Store::Add => row[..n].iter_mut().zip(bias).for_each(|(out, bias)| *out += bias),
            }
        }
    }
    let store = if bias.is_some() { Store::Add } else { store };
    let sizes = Sizes { rows: r, columns: n, depth: k };
    let a = Operand::new(a, r, k, shape.a_stride);
    let b = Operand::new(b, n, k, shape.b_stride).transposed();
    tiled(out, shape.out_stride, a, b, sizes, store);
}

/// `out[R, K] = a[R, N] · b[N, K]`, the gradient of a linear layer's input.
///
/// # Shapes
///
/// `out` `[R, K]`, `a` `[R, N]`, `b` `[N, K]`, with the strides of `shape`.
pub fn product_nn(out: &mut [f32], a: &[f32], b: &[f32], store: Store, shape: ProductShape) {
    let ProductShape { r, n, k, .. } = shape;
    let sizes = Sizes { rows: r, columns: k, depth: n };
    let a = Operand::new(a, r, n, shape.a_stride);
    let b = Operand::new(b, n, k, shape.b_stride);
    tiled(out, shape.out_stride, a, b, sizes, store);
}

/// `out[N, K] = a[R, N]ᵀ · b[R, K]`, the gradient of a linear layer's weight.
///
/// # Shapes
///
/// `out` `[N, K]`, `a` `[R, N]`, `b` `[R, K]`, with the strides of `shape`.
pub fn product_tn(out: &mut [f32], a: &[f32], b: &[f32], store: Store, shape: ProductShape) {
    let ProductShape { r, n, k, .. } = shape;
    let sizes = Sizes { rows: n, columns: k, depth: r };
    let a = Operand::new(a, r, n, shape.a_stride).transposed();
    let b = Operand::new(b, r, k, shape.b_stride);
    tiled(out, shape.out_stride, a, b, sizes, store);
}

/// Sizes of `out[rows, columns] = left[rows, depth] · right[depth, columns]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
}

/// Rows in one task of a kernel that multiplies blocks of rows by one weight of `weight` elements.
///
/// Blocks are as tall as eight tasks allow, because every block reads (and packs) the whole weight.
pub(super) fn row_block(rows: usize, weight: usize) -> usize {
    let tasks = (2 * rows * weight / 4_000_000).clamp(1, 8);
    rows.div_ceil(tasks).next_multiple_of(8)
}

/// A matrix that is read: element `(i, j)` lies at `i * down + j * along`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand<'a> {
    data: &'a [f32],
    down: usize,
    along: usize,
}

impl<'a> Operand<'a> {
    /// Views `rows` rows of `columns` elements, `stride` elements apart.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let needed = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns };
        assert!(columns <= stride || rows <= 1, "rows of {columns} elements overlap at stride {stride}");
        assert!(data.len() >= needed, "{} elements for {rows} rows of {columns} at {stride}", data.len());
        Operand { data, down: stride, along: 1 }
    }

    /// Exchanges rows and columns.
    pub fn transposed(self) -> Self {
        Operand { data: self.data, down: self.along, along: self.down }
    }

    /// Leaves out the first rows.
    pub fn skip_rows(self, row: usize) -> Self {
        Operand { data: &self.data[(row * self.down).min(self.data.len())..], ..self }
    }

    /// Leaves out the first columns.
    fn skip_columns(self, column: usize) -> Self {
        self.transposed().skip_rows(column).transposed()
    }
}

/// Cuts the result into tasks.
fn tiled(
    out: &mut [f32],
    out_stride: usize,
    left: Operand<'_>,
    right: Operand<'_>,
    sizes: Sizes,
    store: Store,
) {
    let Sizes { rows, columns, depth } = sizes;
    Operand::new(out, rows, columns, out_stride);
    if rows == 0 || columns == 0 {
        return;
    }
    // Eight tasks balance two to four threads; a task below four million operations is not worth having.
    let work = 2 * rows * columns * depth.max(1);
    let tasks = (work / 4_000_000).clamp(1, 8);
    let shared = Shared::new(out);
    let multiply_tile = |rows_from: usize, columns_from: usize, sizes: Sizes| {
        let start = rows_from * out_stride + columns_from;
        // SAFETY: the check above proves that every element of the tile lies in `out`, and tiles of
        // different tasks have no element in common.
        unsafe {
            let tile = shared.pointer().add(start);
            multiply_raw(
                tile,
                out_stride,
                left.skip_rows(rows_from),
                right.skip_columns(columns_from),
                sizes,
                store,
            );
        }
    };
    if columns >= rows {
        let width = columns.div_ceil(tasks).next_multiple_of(48);
        for_each_block(columns, width, work / 8, |part| {
            multiply_tile(0, part.start, Sizes { columns: part.len(), ..sizes });
        });
    } else {
        let height = rows.div_ceil(tasks).next_multiple_of(8);
        for_each_block(rows, height, work / 8, |part| {
            multiply_tile(part.start, 0, Sizes { rows: part.len(), ..sizes });
        });
    }
}

/// Multiplies on the calling thread: `out = left · right`, or `out += left · right`.
pub(super) fn multiply(
    out: &mut [f32],
    out_stride: usize,
    left: Operand<'_>,
    right: Operand<'_>,
    sizes: Sizes,
    store: Store,
) {
    Operand::new(out, sizes.rows, sizes.columns, out_stride);
    // SAFETY: the line above proves that `out` holds all rows; `out` is borrowed for writing.
    unsafe { multiply_raw(out.as_mut_ptr(), out_stride, left, right, sizes, store) }
}

/// [`multiply`] into a tile of a larger matrix.
///
/// # Safety
///
/// The `rows` rows of `columns` elements from `out` on, `out_stride` apart, may be written by this
/// call alone.
unsafe fn multiply_raw(
    out: *mut f32,
    out_stride: usize,
    left: Operand<'_>,
    right: Operand<'_>,
    sizes: Sizes,
    store: Store,
) {
    let Sizes { rows, columns, depth } = sizes;
    if rows == 0 || columns == 0 {
        return;
    }
    if depth > 0 {
        let last = |operand: Operand<'_>, i: usize, j: usize| i * operand.down + j * operand.along;
        assert!(last(left, rows - 1, depth - 1) < left.data.len(), "left operand is too short");
        assert!(last(right, depth - 1, columns - 1) < right.data.len(), "right operand is too short");
    }
    // SAFETY: the assertions bound all elements that are read, the caller those that are written.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out,
            1,
            out_stride as isize,
            store == Store::Add,
            left.data.as_ptr(),
            left.along as isize,
            left.down as isize,
            right.data.as_ptr(),
            right.along as isize,
            right.down as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, values};
    use super::*;

    /// `out[i, j] = Σ_p left(i, p) right(p, j)` in f64.
    fn naive(
        rows: usize,
        columns: usize,
        depth: usize,
        left: impl Fn(usize, usize) -> f32,
        right: impl Fn(usize, usize) -> f32,
    ) -> Vec<f64> {
        let element = |i, j| (0..depth).map(|p| f64::from(left(i, p)) * f64::from(right(p, j))).sum();
        (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
    }

    /// The columns `0..width` of a matrix with a stride.
    fn columns_of(matrix: &[f32], rows: usize, width: usize, stride: usize) -> Vec<f32> {
        (0..rows).flat_map(|i| matrix[i * stride..i * stride + width].to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn products_agree_with_the_formula(
            r in 1_usize..70, n in 1_usize..90, k in 1_usize..70, pad in 0_usize..3, add: bool, seed: u64,
        ) {
            // A sum of up to 90 products of numbers below one: rounding stays below 90 * 2^-24 * 90.
            let tolerance = 2e-5;
            let store = if add { Store::Add } else { Store::Replace };
            let expect = |product: Vec<f64>, old: &[f32]| -> Vec<f64> {
                product.iter().zip(old).map(|(p, &o)| if add { p + f64::from(o) } else { *p }).collect()
            };

            let (a, b, bias) = (values(seed, r * (k + pad)), values(seed ^ 1, n * (k + pad)), values(seed ^ 2, n));
            let mut out = values(seed ^ 3, r * (n + pad));
            let old = columns_of(&out, r, n, n + pad);
            let shape = ProductShape { r, n, k, out_stride: n + pad, a_stride: k + pad, b_stride: k + pad };
            let mut plain = out.clone();
            product_nt(&mut plain, &a, &b, None, store, shape);
            let exact = expect(naive(r, n, k, |i, p| a[i * (k + pad) + p], |p, j| b[j * (k + pad) + p]), &old);
            assert_close(&columns_of(&plain, r, n, n + pad), &exact, tolerance);
            product_nt(&mut out, &a, &b, Some(&bias), store, shape);
            let exact: Vec<f64> = exact.iter().enumerate().map(|(i, x)| x + f64::from(bias[i % n])).collect();
            assert_close(&columns_of(&out, r, n, n + pad), &exact, tolerance);

            let (a, b) = (values(seed, r * (n + pad)), values(seed ^ 1, n * (k + pad)));
            let mut out = values(seed ^ 3, r * (k + pad));
            let old = columns_of(&out, r, k, k + pad);
            let shape = ProductShape { r, n, k, out_stride: k + pad, a_stride: n + pad, b_stride: k + pad };
            product_nn(&mut out, &a, &b, store, shape);
            let exact = expect(naive(r, k, n, |i, p| a[i * (n + pad) + p], |p, j| b[p * (k + pad) + j]), &old);
            assert_close(&columns_of(&out, r, k, k + pad), &exact, tolerance);

            let (a, b) = (values(seed, r * (n + pad)), values(seed ^ 1, r * (k + pad)));
            let mut out = values(seed ^ 3, n * (k + pad));
            let old = columns_of(&out, n, k, k + pad);
            product_tn(&mut out, &a, &b, store, shape);
            let exact = expect(naive(n, k, r, |i, p| a[p * (n + pad) + i], |p, j| b[p * (k + pad) + j]), &old);
            assert_close(&columns_of(&out, n, k, k + pad), &exact, tolerance);
        }
    }

    #[test]
    fn columns_beside_the_result_are_left_alone() {
        let mut out = vec![7.0; 3 * 10];
        let shape = ProductShape { r: 3, n: 4, k: 2, out_stride: 10, a_stride: 2, b_stride: 2 };
        product_nt(&mut out, &[1.0; 6], &[1.0; 8], None, Store::Replace, shape);
        for row in out.chunks(10) {
            assert_eq!(row, [2.0, 2.0, 2.0, 2.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]);
        }
    }

    #[test]
    fn products_are_the_same_on_any_threads() {
        let (r, n, k) = (300, 260, 129);
        let (x, w, dy) = (values(1, r * k), values(2, n * k), values(3, r * n));
        assert_same_on_any_threads(|| {
            let (mut y, mut dx, mut dw) = (vec![0.0; r * n], vec![0.0; r * k], vec![0.0; n * k]);
            product_nt(&mut y, &x, &w, None, Store::Replace, ProductShape::nt(r, n, k));
            product_nn(&mut dx, &dy, &w, Store::Replace, ProductShape::nn(r, n, k));
            product_tn(&mut dw, &dy, &x, Store::Replace, ProductShape::tn(r, n, k));
            [y, dx, dw].concat()
        });
    }

    #[test]
    fn empty_depth_gives_zero_or_keeps() {
        let mut out = [3.0; 4];
        product_nt(&mut out, &[], &[], None, Store::Add, ProductShape::nt(2, 2, 0));
        assert_eq!(out, [3.0; 4]);
        product_nt(&mut out, &[], &[], None, Store::Replace, ProductShape::nt(2, 2, 0));
        assert_eq!(out, [0.0; 4]);
    }
}
