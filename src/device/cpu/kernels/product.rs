//! Products of matrices.
//!
//! The three forms a linear layer needs, with the letters of its weight `w[n, k]` kept throughout:
//!
//! ```text
//! forward           out[r, n] = a[r, k] · b[n, k]ᵀ      product_nt
//! input gradient    out[r, k] = a[r, n] · b[n, k]       product_nn
//! weight gradient   out[n, k] = a[r, n]ᵀ · b[r, k]      product_tn
//! ```
//!
//! The result is cut into tiles; each tile is one task, and sums over the whole depth, so no sum crosses a task.
//! A tile is multiplied in the registers of AVX-512 where there are such, by one call of the `gemm` crate elsewhere.

use std::ops::Range;

use super::Store;
#[cfg(target_arch = "x86_64")]
use super::avx512::{self, Panels, Unit};
use super::operand::{MatrixSizes, MatrixView};
use super::parallel::{Shared, for_each_task};
use super::scratch::Scratch;
use crate::ir::Precision;

/// Sizes of a product, and how far apart rows lie in memory.
///
/// Strides count elements from one row to the next, so that a product can read and write columns of a
/// wider matrix: pass the slice that starts at the first such column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductShape {
    /// Rows `R` of activations.
    pub r: usize,
    /// Output width `n` of the layer.
    pub n: usize,
    /// Input width `k` of the layer.
    pub k: usize,
    /// Elements from one row of `out` to the next.
    pub out_stride: usize,
    /// Elements from one row of `a` to the next.
    pub a_stride: usize,
    /// Elements from one row of `b` to the next.
    pub b_stride: usize,
    /// Arithmetic of the factors; sums are f32.
    pub precision: Precision,
}

impl ProductShape {
    /// Returns the shape of a [`product_nt`] of contiguous matrices.
    pub const fn nt(r: usize, n: usize, k: usize) -> Self {
        ProductShape { r, n, k, out_stride: n, a_stride: k, b_stride: k, precision: Precision::F32 }
    }

    /// Returns the shape of a [`product_nn`] of contiguous matrices.
    pub const fn nn(r: usize, n: usize, k: usize) -> Self {
        ProductShape { r, n, k, out_stride: k, a_stride: n, b_stride: k, precision: Precision::F32 }
    }

    /// Returns the shape of a [`product_tn`] of contiguous matrices.
    pub const fn tn(r: usize, n: usize, k: usize) -> Self {
        ProductShape { r, n, k, out_stride: k, a_stride: n, b_stride: k, precision: Precision::F32 }
    }

    /// Replaces the arithmetic of the factors, which is f32 unless set.
    pub const fn with_precision(self, precision: Precision) -> Self {
        ProductShape { precision, ..self }
    }
}

/// The weight `w[n, k]` of a forward pass.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// Its rows.
    Rows(&'a [f32]),
    /// What [`arrange_weight`] made of it.
    Arranged(&'a [f32]),
}

impl Weight<'_> {
    /// Calls `run` with the weight, or with one of the equal `parts` of its rows, as a right operand.
    pub(super) fn with<R>(
        self,
        part: usize,
        shape: WeightShape,
        stride: usize,
        method: Method,
        run: impl FnOnce(Right<'_>) -> R,
    ) -> R {
        let WeightShape { n, k, parts, .. } = shape;
        let rows = n / parts;
        match (self, method) {
            (Weight::Rows(w), _) => {
                let w = MatrixView::new(w, n, k, stride).transposed().skip_columns(part * rows);
                with_right(w, rows, k, method, run)
            }
            #[cfg(target_arch = "x86_64")]
            (Weight::Arranged(data), Method::Panels(unit)) => {
                let size = avx512::panels_len(rows, k, unit);
                run(Right::Panels(Panels::new(&data[part * size..(part + 1) * size], k, unit)))
            }
            (Weight::Arranged(_), Method::Gemm) => unreachable!("`gemm` takes rows"),
        }
    }
}

/// What an arranged weight depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightShape {
    /// Output width `n`.
    pub n: usize,
    /// Input width `k`.
    pub k: usize,
    /// Equal parts of the rows that are multiplied separately: 2 for a gated unit, else 1.
    pub parts: usize,
    /// Arithmetic of the products.
    pub precision: Precision,
}

impl WeightShape {
    /// Returns the elements that [`arrange_weight`] writes; none if products take the rows as they are.
    pub fn arranged_len(&self) -> Option<usize> {
        match Method::best(self.precision) {
            Method::Gemm => None,
            #[cfg(target_arch = "x86_64")]
            Method::Panels(unit) => {
                Some(avx512::panels_len(self.n / self.parts, self.k, unit).saturating_mul(self.parts))
            }
        }
    }
}

/// Arranges a weight that several products will read.
///
/// # Shapes
///
/// `w` `[n, k]`; `target` as long as [`WeightShape::arranged_len`] says, and aligned to 64 bytes to be read fast.
pub fn arrange_weight(target: &mut [f32], w: &[f32], shape: WeightShape) {
    assert_eq!(Some(target.len()), shape.arranged_len(), "length of the arranged weight");
    let WeightShape { n, k, parts, precision } = shape;
    assert_eq!(w.len(), n * k, "length of the weight");
    assert!(n.is_multiple_of(parts), "{n} rows in {parts} equal parts");
    match Method::best(precision) {
        Method::Gemm => unreachable!("`gemm` has no length above"),
        #[cfg(target_arch = "x86_64")]
        Method::Panels(unit) => {
            let w = MatrixView::new(w, n, k, k).transposed();
            let rows = n / parts;
            for (part, target) in target.chunks_mut(avx512::panels_len(rows, k, unit).max(1)).enumerate() {
                avx512::arrange_panels(target, w.skip_columns(part * rows), rows, k, unit);
            }
        }
    }
}

/// `out[r, n] = a[r, k] · b[n, k]ᵀ + bias[n]`, the forward pass of a linear layer.
///
/// # Shapes
///
/// `out` `[r, n]`, `a` `[r, k]`, `b` `[n, k]`, `bias` `[n]`, with the strides of `shape`.
pub fn product_nt(
    out: &mut [f32],
    a: &[f32],
    b: Weight<'_>,
    bias: Option<&[f32]>,
    store: Store,
    shape: ProductShape,
) {
    let ProductShape { r, n, k, precision, .. } = shape;
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
    let sizes = MatrixSizes { rows: r, columns: n, depth: k };
    let a = MatrixView::new(a, r, k, shape.a_stride);
    let method = Method::best(precision);
    let grid = Grid::for_weight(sizes, method);
    let weight = WeightShape { n, k, parts: 1, precision };
    b.with(0, weight, shape.b_stride, method, |b| tiled(out, shape.out_stride, a, b, grid, store));
}

/// `out[r, k] = a[r, n] · b[n, k]`, the gradient of a linear layer's input.
///
/// # Shapes
///
/// `out` `[r, k]`, `a` `[r, n]`, `b` `[n, k]`, with the strides of `shape`.
pub fn product_nn(out: &mut [f32], a: &[f32], b: &[f32], store: Store, shape: ProductShape) {
    let ProductShape { r, n, k, precision, .. } = shape;
    let sizes = MatrixSizes { rows: r, columns: k, depth: n };
    let a = MatrixView::new(a, r, n, shape.a_stride);
    let b = MatrixView::new(b, n, k, shape.b_stride);
    product(out, shape.out_stride, a, b, sizes, store, Method::best(precision));
}

/// `out[n, k] = a[r, n]ᵀ · b[r, k]`, the gradient of a linear layer's weight.
///
/// # Shapes
///
/// `out` `[n, k]`, `a` `[r, n]`, `b` `[r, k]`, with the strides of `shape`.
pub fn product_tn(out: &mut [f32], a: &[f32], b: &[f32], store: Store, shape: ProductShape) {
    let ProductShape { r, n, k, precision, .. } = shape;
    let sizes = MatrixSizes { rows: n, columns: k, depth: r };
    let a = MatrixView::new(a, r, n, shape.a_stride).transposed();
    let b = MatrixView::new(b, r, k, shape.b_stride);
    product(out, shape.out_stride, a, b, sizes, store, Method::best(precision));
}

/// The scratch of products.
impl ProductShape {
    /// Returns the scratch of [`product_nt`].
    pub fn scratch_nt(&self, is_arranged: bool) -> Scratch {
        let (sizes, method) = (self.sizes_nt(), Method::best(self.precision));
        let whole = if is_arranged { 0 } else { right_scratch(self.n, self.k, method) };
        Scratch { whole, ..Grid::for_weight(sizes, method).tile_scratch(true, method) }
    }

    /// Returns the scratch of [`linear_add_rms_norm`](super::linear_add_rms_norm).
    pub fn scratch_nt_and_norm(&self, is_arranged: bool) -> Scratch {
        let (sizes, method) = (self.sizes_nt(), Method::best(self.precision));
        let Scratch { whole, .. } = self.scratch_nt(is_arranged);
        Scratch { whole, ..Grid::for_weight_and_rows(sizes, method).tile_scratch(true, method) }
    }

    /// Returns the scratch of [`product_nn`].
    pub fn scratch_nn(&self) -> Scratch {
        let sizes = MatrixSizes { rows: self.r, columns: self.k, depth: self.n };
        scratch(sizes, true, Method::best(self.precision))
    }

    /// Returns the scratch of [`product_tn`].
    pub fn scratch_tn(&self) -> Scratch {
        let sizes = MatrixSizes { rows: self.n, columns: self.k, depth: self.r };
        scratch(sizes, false, Method::best(self.precision))
    }

    fn sizes_nt(&self) -> MatrixSizes {
        MatrixSizes { rows: self.r, columns: self.n, depth: self.k }
    }
}

/// Returns the scratch of a product whose right operand lies row by row.
fn scratch(sizes: MatrixSizes, left_by_row: bool, method: Method) -> Scratch {
    let grid = Grid::new(sizes, left_by_row, true, method);
    let whole = right_scratch(sizes.columns, sizes.depth, method);
    Scratch { whole, ..grid.tile_scratch(left_by_row, method) }
}

/// Returns the elements of scratch that hold an arranged right operand.
pub(super) fn right_scratch(columns: usize, depth: usize, method: Method) -> usize {
    match method {
        Method::Gemm => 0,
        #[cfg(target_arch = "x86_64")]
        Method::Panels(unit) => avx512::panels_len(columns, depth, unit),
    }
}

/// How a tile is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// By the `gemm` crate, in f32.
    Gemm,
    /// In registers of AVX-512.
    #[cfg(target_arch = "x86_64")]
    Panels(Unit),
}

impl Method {
    /// Returns the best method of this processor.
    ///
    /// What it cannot multiply in bf16 it multiplies in f32, which is as fast and more exact.
    pub fn best(precision: Precision) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if precision == Precision::Bf16 && Unit::Pair.available() {
                return Method::Panels(Unit::Pair);
            }
            if Unit::Single.available() {
                return Method::Panels(Unit::Single);
            }
        }
        let _ = precision;
        Method::Gemm
    }
}

/// Returns whether this processor multiplies in bf16.
pub fn multiplies_in_bf16() -> bool {
    Method::best(Precision::Bf16) != Method::best(Precision::F32)
}

/// A right operand as a [`Method`] wants it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right<'a> {
    /// Where it is.
    Plain(MatrixView<'a>),
    /// Arranged once for all tiles.
    #[cfg(target_arch = "x86_64")]
    Panels(Panels<'a>),
}

impl Right<'_> {
    /// Leaves out the first columns, whole multiples of the width of the kernel.
    pub fn skip_columns(self, columns: usize) -> Self {
        match self {
            Right::Plain(operand) => Right::Plain(operand.skip_columns(columns)),
            #[cfg(target_arch = "x86_64")]
            Right::Panels(panels) => Right::Panels(panels.skip_columns(columns)),
        }
    }
}

/// Calls `run` with `right`, `depth` rows of `columns` columns, arranged for `method`.
pub(super) fn with_right<R>(
    right: MatrixView<'_>,
    columns: usize,
    depth: usize,
    method: Method,
    run: impl FnOnce(Right<'_>) -> R,
) -> R {
    match method {
        Method::Gemm => {
            right.check(depth, columns);
            run(Right::Plain(right))
        }
        #[cfg(target_arch = "x86_64")]
        Method::Panels(unit) => {
            avx512::with_panels(right, columns, depth, unit, |panels| run(Right::Panels(panels)))
        }
    }
}

/// Arranges the right operand, cuts the result into tasks, and computes them.
fn product(
    out: &mut [f32],
    out_stride: usize,
    left: MatrixView<'_>,
    right: MatrixView<'_>,
    sizes: MatrixSizes,
    store: Store,
    method: Method,
) {
    let grid = Grid::new(sizes, left.along == 1, right.along == 1, method);
    with_right(right, sizes.columns, sizes.depth, method, |right| {
        tiled(out, out_stride, left, right, grid, store);
    });
}

/// Computes the tiles of a result.
fn tiled(
    out: &mut [f32],
    out_stride: usize,
    left: MatrixView<'_>,
    right: Right<'_>,
    grid: Grid,
    store: Store,
) {
    let MatrixSizes { rows, columns, .. } = grid.sizes;
    MatrixView::new(out, rows, columns, out_stride);
    let out = Shared::new(out);
    grid.for_each_tile(|tile| {
        let sizes = MatrixSizes { rows: tile.rows.len(), columns: tile.columns.len(), ..grid.sizes };
        let (left, right) = (left.skip_rows(tile.rows.start), right.skip_columns(tile.columns.start));
        // SAFETY: `out` holds the whole result (checked above), and the tiles of different tasks have no
        // element in common.
        unsafe {
            let target = out.tile(tile.rows.start * out_stride + tile.columns.start, out_stride, sizes);
            multiply_raw(target, out_stride, left, right, sizes, store);
        }
    });
}

/// A rectangle of a result.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

/// How a result is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    sizes: MatrixSizes,
    tile_rows: usize,
    tile_columns: usize,
}

impl Grid {
    /// Chooses the grid that should be finished first by two threads that take tiles in turn.
    ///
    /// Small tiles balance better; large ones arrange less. The costs are cycles as measured with AVX-512; they
    /// decide about speed only, and depend on sizes alone.
    pub fn new(sizes: MatrixSizes, left_by_row: bool, right_by_row: bool, method: Method) -> Self {
        Grid::with_order(sizes, left_by_row, right_by_row, false, method)
    }

    /// Chooses the grid of a product with a weight: [`Grid::new`] for a right operand whose rows are contiguous
    /// along the depth.
    pub fn for_weight(sizes: MatrixSizes, method: Method) -> Self {
        Grid::with_order(sizes, true, false, false, method)
    }

    /// [`Grid::for_weight`] for a result whose rows are read again as soon as they are whole: rather than read
    /// everything twice, it takes tiles of whole rows if they cost little more.
    pub fn for_weight_and_rows(sizes: MatrixSizes, method: Method) -> Self {
        Grid::with_order(sizes, true, false, true, method)
    }

    /// Returns the scratch that one tile takes, for a left operand whose rows, or else whose columns, are contiguous.
    pub fn tile_scratch(&self, left_by_row: bool, method: Method) -> Scratch {
        let (rows, columns, depth) = (self.tile_rows, self.tile_columns, self.sizes.depth);
        match method {
            // `gemm` arranges as much of both operands as it multiplies at a time.
            Method::Gemm => {
                /// Elements of the depth, and most rows, that it takes at a time.
                const TAKEN: (usize, usize) = (512, 192);
                let packed = depth.min(TAKEN.0).saturating_mul(columns + rows.min(TAKEN.1));
                Scratch { packed, ..Scratch::default() }
            }
            #[cfg(target_arch = "x86_64")]
            Method::Panels(unit) => {
                let part = avx512::multiply_scratch(rows, depth, left_by_row, unit);
                Scratch { part, ..Scratch::default() }
            }
        }
    }

    /// Returns the elements of one tile.
    pub fn tile_len(&self) -> usize {
        self.tile_rows.saturating_mul(self.tile_columns)
    }

    /// Returns whether every tile has all columns.
    pub fn has_whole_rows(&self) -> bool {
        self.tile_columns >= self.sizes.columns
    }

    fn with_order(
        sizes: MatrixSizes,
        left_by_row: bool,
        right_by_row: bool,
        rows_again: bool,
        method: Method,
    ) -> Self {
        /// Columns and rows of the result that the inner kernels compute at a time.
        const KERNEL: (usize, usize) = (64, 6);
        /// To hand out a task and to begin a product.
        const TASK_CYCLES: f64 = 3000.0;
        const SMALL: usize = 2_000_000;
        /// Rows whose chunk of the depth stays in cache while all columns pass.
        const MAX_ROWS: usize = 480;
        let MatrixSizes { rows, columns, depth } = sizes;
        if rows.saturating_mul(columns).saturating_mul(depth) < SMALL {
            return Grid { sizes, tile_rows: rows.max(1), tile_columns: columns.max(1) };
        }
        let cost = |grid: &Grid| {
            let (height, width) = (grid.tile_rows, grid.tile_columns);
            // In floating point, since the sizes of a spec may be beyond any memory.
            let multiplications = width.next_multiple_of(KERNEL.0) as f64
                * height.next_multiple_of(KERNEL.1) as f64
                * depth as f64;
            let (rate, arranging) = match method {
                Method::Gemm => (32.0, gemm_arranges(left_by_row, right_by_row, height, width)),
                #[cfg(target_arch = "x86_64")]
                Method::Panels(unit) => {
                    /// Bytes of a tile and of its left rows that stay in cache from one chunk of the depth to the next.
                    const CACHE: usize = 640 * 1024;
                    // Left rows come from memory, once for all columns of the tile.
                    let rows = if unit == Unit::Single && left_by_row { 0.2 } else { 0.4 };
                    let chunks = depth.div_ceil(unit.elements() * avx512::CHUNK);
                    let kept = (4 * height).saturating_mul(width + avx512::CHUNK) <= CACHE || chunks == 1;
                    let sums = if kept { 0.0 } else { 0.7 * (height as f64 * width as f64 * chunks as f64) };
                    // Panels come from a cache farther away, once for all rows of the tile.
                    let panels = 0.2 / unit.elements() as f64;
                    let arranging = rows * height as f64 + panels * width as f64 + sums / depth as f64;
                    (32.0 * unit.elements() as f64, arranging)
                }
            };
            let tile = multiplications / rate + arranging * depth as f64 + TASK_CYCLES;
            // The last tile of one thread may start when the other one has nothing left to do. A grid
            // whose last row or column is cut short has less work than it has tiles.
            let whole = rows as f64 / height as f64 * columns as f64 / width as f64;
            let again =
                if rows_again && width < columns { 2.0 * (rows as f64 * columns as f64) } else { 0.0 };
            tile * (whole + 1.0) / 2.0 + again
        };
        const PARTS: [usize; 10] = [1, 2, 3, 4, 5, 6, 8, 11, 16, 24];
        let mut best: Option<(f64, Grid)> = None;
        let least_parts = if method == Method::Gemm { 1 } else { rows.div_ceil(MAX_ROWS) };
        for rows_parts in PARTS.into_iter().map(|parts| parts * least_parts) {
            for column_parts in PARTS {
                if !(4..=48).contains(&(rows_parts / least_parts * column_parts)) {
                    continue;
                }
                let tile_rows = rows.div_ceil(rows_parts).next_multiple_of(KERNEL.1);
                let tile_columns = columns.div_ceil(column_parts).next_multiple_of(KERNEL.0);
                let grid =
                    Grid { sizes, tile_rows: tile_rows.min(rows), tile_columns: tile_columns.min(columns) };
                let cost = cost(&grid);
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, grid));
                }
            }
        }
        best.expect("there are several candidates").1
    }

    /// Calls `run` with every tile, on the rayon pool if there is more than one.
    pub fn for_each_tile(self, run: impl Fn(Tile) + Sync + Send) {
        let MatrixSizes { rows, columns, depth } = self.sizes;
        if rows == 0 || columns == 0 {
            return;
        }
        let down = rows.div_ceil(self.tile_rows);
        let along = columns.div_ceil(self.tile_columns);
        for_each_task(down * along, rows * columns * depth.max(1), |task| {
            let (row, column) = (task / along * self.tile_rows, task % along * self.tile_columns);
            run(Tile {
                rows: row..rows.min(row + self.tile_rows),
                columns: column..columns.min(column + self.tile_columns),
            });
        });
    }
}

/// Returns the cycles that `gemm` needs to arrange the operands of a tile, per element of the depth.
fn gemm_arranges(left_by_row: bool, right_by_row: bool, height: usize, width: usize) -> f64 {
    /// Rows up to which `gemm` reads a right operand in place, if its columns are contiguous.
    const ROWS_IN_PLACE: usize = 48;
    /// Columns up to which `gemm` reads a left operand in place.
    const COLUMNS_IN_PLACE: usize = 128;
    let for_right = match right_by_row {
        true if height <= ROWS_IN_PLACE => 0.0,
        true => 0.25,
        false => 2.5,
    };
    let for_left = if left_by_row || width <= COLUMNS_IN_PLACE { 0.0 } else { 0.5 };
    for_right * width as f64 + for_left * height as f64
}

impl Shared<'_> {
    /// Returns the address of a tile whose rows lie `stride` elements apart, after checking that it fits.
    pub fn tile(&self, start: usize, stride: usize, sizes: MatrixSizes) -> *mut f32 {
        let end = start + sizes.rows.saturating_sub(1) * stride + sizes.columns;
        assert!(end <= self.len(), "a tile ends at {end} of {} elements", self.len());
        self.pointer().wrapping_add(start)
    }
}

/// Multiplies on the calling thread: `out = left · right`, or `out += left · right`.
pub(super) fn multiply(
    out: &mut [f32],
    out_stride: usize,
    left: MatrixView<'_>,
    right: Right<'_>,
    sizes: MatrixSizes,
    store: Store,
) {
    MatrixView::new(out, sizes.rows, sizes.columns, out_stride);
    // SAFETY: the line above proves that `out` holds all rows; `out` is borrowed for writing.
    unsafe { multiply_raw(out.as_mut_ptr(), out_stride, left, right, sizes, store) }
}

/// [`multiply`] into a tile of a larger matrix.
///
/// # Safety
///
/// The `rows` rows of `columns` elements from `out` on, `out_stride` apart, may be written by this
/// call alone.
pub(super) unsafe fn multiply_raw(
    out: *mut f32,
    out_stride: usize,
    left: MatrixView<'_>,
    right: Right<'_>,
    sizes: MatrixSizes,
    store: Store,
) {
    let MatrixSizes { rows, columns, depth } = sizes;
    if rows == 0 || columns == 0 {
        return;
    }
    let right = match right {
        Right::Plain(right) => right,
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller lends the result.
        Right::Panels(right) => unsafe {
            return avx512::multiply(out, out_stride, left, right, sizes, store);
        },
    };
    left.check(rows, depth);
    right.check(depth, columns);
    let multiply = gemm_f32::gemm::f32::get_gemm_fn();
    for begin in (0..depth.max(1)).step_by(GEMM_DEPTH) {
        // The crate likes columns that lie together, so it gets `outᵀ = rightᵀ · leftᵀ`.
        // SAFETY: the assertions bound all elements that are read, the caller those that are written.
        unsafe {
            multiply(
                columns,
                rows,
                GEMM_DEPTH.min(depth - begin),
                out,
                out_stride as isize,
                1,
                store == Store::Add || begin > 0,
                right.data.as_ptr().add(begin * right.down),
                right.down as isize,
                right.along as isize,
                left.data.as_ptr().add(begin * left.along),
                left.down as isize,
                left.along as isize,
                1.0,
                1.0,
                IN_ONE_ORDER,
                false,
                false,
                gemm_common::Parallelism::None,
            );
        }
    }
}

/// Depth that `gemm` sums without a break, whatever the number of rows and columns.
const GEMM_DEPTH: usize = 512;

/// Conjugates the old result, which is nothing to do for real numbers. Without that, `gemm` takes other kernels for few
/// rows or columns, which sum in other orders; then a row would depend on the number of rows beside it.
const IN_ONE_ORDER: bool = true;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, values, wide};
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
            r in 1_usize..70, n in 1_usize..90, k in 1_usize..70, pad in 0_usize..3, add: bool, rounded: bool, seed: u64,
        ) {
            // A sum of up to 90 products of numbers below one: rounding stays below 90 * 2^-24 * 90.
            let tolerance = 2e-5;
            // Products of two numbers in bf16 are exact in f32, so rounding the factors first is all there is to it.
            let precision = if rounded && multiplies_in_bf16() { Precision::Bf16 } else { Precision::F32 };
            let factor = |x: f32| match precision {
                Precision::F32 => x,
                Precision::Bf16 => half::bf16::from_f32(x).to_f32(),
            };
            let store = if add { Store::Add } else { Store::Replace };
            let expect = |product: Vec<f64>, old: &[f32]| -> Vec<f64> {
                product.iter().zip(old).map(|(p, &o)| if add { p + f64::from(o) } else { *p }).collect()
            };

            let (a, b, bias) = (values(seed, r * (k + pad)), values(seed ^ 1, n * (k + pad)), values(seed ^ 2, n));
            let mut out = values(seed ^ 3, r * (n + pad));
            let old = columns_of(&out, r, n, n + pad);
            let shape = ProductShape { r, n, k, out_stride: n + pad, a_stride: k + pad, b_stride: k + pad, precision };
            let mut plain = out.clone();
            product_nt(&mut plain, &a, Weight::Rows(&b), None, store, shape);
            let exact = expect(naive(r, n, k, |i, p| factor(a[i * (k + pad) + p]), |p, j| factor(b[j * (k + pad) + p])), &old);
            assert_close(&columns_of(&plain, r, n, n + pad), &exact, tolerance);
            product_nt(&mut out, &a, Weight::Rows(&b), Some(&bias), store, shape);
            let exact: Vec<f64> = exact.iter().enumerate().map(|(i, x)| x + f64::from(bias[i % n])).collect();
            assert_close(&columns_of(&out, r, n, n + pad), &exact, tolerance);

            let (a, b) = (values(seed, r * (n + pad)), values(seed ^ 1, n * (k + pad)));
            let mut out = values(seed ^ 3, r * (k + pad));
            let old = columns_of(&out, r, k, k + pad);
            let shape = ProductShape { r, n, k, out_stride: k + pad, a_stride: n + pad, b_stride: k + pad, precision };
            product_nn(&mut out, &a, &b, store, shape);
            let exact = expect(naive(r, k, n, |i, p| factor(a[i * (n + pad) + p]), |p, j| factor(b[p * (k + pad) + j])), &old);
            assert_close(&columns_of(&out, r, k, k + pad), &exact, tolerance);

            let (a, b) = (values(seed, r * (n + pad)), values(seed ^ 1, r * (k + pad)));
            let mut out = values(seed ^ 3, n * (k + pad));
            let old = columns_of(&out, n, k, k + pad);
            product_tn(&mut out, &a, &b, store, shape);
            let exact = expect(naive(n, k, r, |i, p| factor(a[p * (n + pad) + i]), |p, j| factor(b[p * (k + pad) + j])), &old);
            assert_close(&columns_of(&out, n, k, k + pad), &exact, tolerance);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// What processors without AVX-512 do, on every processor.
        #[test]
        fn every_method_gives_the_same_product(
            r in 1_usize..70, n in 1_usize..150, k in 1_usize..600, turned: [bool; 2], add: bool, seed: u64,
        ) {
            let (left, right) = (values(seed, r * k), values(seed ^ 1, k * n));
            let left = if turned[0] { MatrixView::new(&left, k, r, r).transposed() } else { MatrixView::new(&left, r, k, k) };
            let right = if turned[1] { MatrixView::new(&right, n, k, k).transposed() } else { MatrixView::new(&right, k, n, n) };
            let store = if add { Store::Add } else { Store::Replace };
            let run = |method: Method| {
                let mut out = values(seed ^ 2, r * n);
                product(&mut out, n, left, right, MatrixSizes { rows: r, columns: n, depth: k }, store, method);
                out
            };
            // Sums of up to 600 products below one, in another order.
            assert_close(&run(Method::Gemm), &wide(&run(Method::best(Precision::F32))), 5e-5);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// So the answer to a puzzle has the same bits alone and in any batch.
        #[test]
        fn a_row_of_a_product_depends_on_no_other_row(
            r in 1_usize..140, n in 1_usize..100, k in 1_usize..1200, part in 0.0_f64..1.0, count in 1_usize..70,
            turned: [bool; 2], add: bool, seed: u64,
        ) {
            let (left, right) = (values(seed, r * k), values(seed ^ 1, k * n));
            let left = if turned[0] { MatrixView::new(&left, k, r, r).transposed() } else { MatrixView::new(&left, r, k, k) };
            let right = if turned[1] { MatrixView::new(&right, n, k, k).transposed() } else { MatrixView::new(&right, k, n, n) };
            let store = if add { Store::Add } else { Store::Replace };
            let first = (part * r as f64) as usize;
            let count = count.min(r - first);
            for method in [Method::Gemm, Method::best(Precision::F32), Method::best(Precision::Bf16)] {
                let mut all = values(seed ^ 2, r * n);
                let mut some = all[first * n..(first + count) * n].to_vec();
                let sizes = |rows| MatrixSizes { rows, columns: n, depth: k };
                product(&mut all, n, left, right, sizes(r), store, method);
                product(&mut some, n, left.skip_rows(first), right, sizes(count), store, method);
                prop_assert_eq!(&all[first * n..(first + count) * n], &some[..]);
            }
        }
    }

    #[test]
    fn an_arranged_weight_is_the_weight() {
        let (r, n, k) = (70, 150, 301);
        let (x, w) = (values(1, r * k), values(2, n * k));
        for precision in [Precision::F32, Precision::Bf16] {
            let weight = WeightShape { n, k, parts: 1, precision };
            let Some(len) = weight.arranged_len() else { continue };
            let mut arranged = vec![f32::NAN; len];
            arrange_weight(&mut arranged, &w, weight);
            let run = |w: Weight<'_>| {
                let mut y = vec![0.0; r * n];
                product_nt(
                    &mut y,
                    &x,
                    w,
                    None,
                    Store::Replace,
                    ProductShape::nt(r, n, k).with_precision(precision),
                );
                y
            };
            assert_eq!(run(Weight::Arranged(&arranged)), run(Weight::Rows(&w)));
        }
    }

    #[test]
    fn columns_beside_the_result_are_left_alone() {
        let mut out = vec![7.0; 3 * 10];
        let shape = ProductShape {
            r: 3,
            n: 4,
            k: 2,
            out_stride: 10,
            a_stride: 2,
            b_stride: 2,
            precision: Precision::F32,
        };
        product_nt(&mut out, &[1.0; 6], Weight::Rows(&[1.0; 8]), None, Store::Replace, shape);
        for row in out.chunks(10) {
            assert_eq!(row, [2.0, 2.0, 2.0, 2.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]);
        }
    }

    #[test]
    fn products_are_the_same_on_any_threads() {
        let (r, n, k) = (300, 260, 129);
        let (x, w, dy) = (values(1, r * k), values(2, n * k), values(3, r * n));
        for precision in [Precision::F32, Precision::Bf16] {
            assert_same_on_any_threads(|| {
                let (mut y, mut dx, mut dw) = (vec![0.0; r * n], vec![0.0; r * k], vec![0.0; n * k]);
                let shape = ProductShape::nt(r, n, k).with_precision(precision);
                product_nt(&mut y, &x, Weight::Rows(&w), None, Store::Replace, shape);
                let shape = ProductShape::nn(r, n, k).with_precision(precision);
                product_nn(&mut dx, &dy, &w, Store::Replace, shape);
                let shape = ProductShape::tn(r, n, k).with_precision(precision);
                product_tn(&mut dw, &dy, &x, Store::Replace, shape);
                [y, dx, dw].concat()
            });
        }
    }

    #[test]
    fn empty_depth_gives_zero_or_keeps() {
        let mut out = [3.0; 4];
        product_nt(&mut out, &[], Weight::Rows(&[]), None, Store::Add, ProductShape::nt(2, 2, 0));
        assert_eq!(out, [3.0; 4]);
        product_nt(&mut out, &[], Weight::Rows(&[]), None, Store::Replace, ProductShape::nt(2, 2, 0));
        assert_eq!(out, [0.0; 4]);
    }
}
