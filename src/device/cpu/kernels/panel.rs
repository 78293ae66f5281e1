//! Small products inside one task, without packing and without a call into `gemm`.
//!
//! Attention multiplies matrices of a few dozen rows, right after the same task has written them. To arrange such
//! operands costs more than to multiply them, so these products read them where they lie. The right operand and the
//! result have rows of whole registers (multiples of [`PANEL`] elements). The left operand is read one element at a
//! time, in any order.
//!
//! The inner loop keeps a tile of the result in registers: a few rows by two registers.

use pulp::{Arch, Simd, WithSimd};

use super::Store;

/// Columns of a result come in multiples of this many elements.
pub const PANEL: usize = 16;

/// `out[i, j] (+)= Σ_p left[i, p] right[p, j]` for `i < rows`, `j < columns`, `p < depth`.
#[derive(Debug, Clone, Copy)]
pub struct PanelProduct<'a> {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result, a multiple of [`PANEL`].
    pub columns: usize,
    /// Length of the sums.
    pub depth: usize,
    /// Left operand; element `(i, p)` lies at `i * left_down + p * left_along`.
    pub left: &'a [f32],
    /// Elements from one row of `left` to the next.
    pub left_down: usize,
    /// Elements from one column of `left` to the next.
    pub left_along: usize,
    /// Right operand, rows of at least `columns` elements.
    pub right: &'a [f32],
    /// Elements from one row of `right` to the next.
    pub right_stride: usize,
    /// Whether the result is added to what is there.
    pub store: Store,
}

impl PanelProduct<'_> {
    /// Multiplies into `out`, whose rows lie `out_stride` elements apart.
    pub fn into(self, out: &mut [f32], out_stride: usize) {
        let PanelProduct { rows, columns, depth, .. } = self;
        assert!(columns.is_multiple_of(PANEL), "{columns} columns are not whole panels");
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * out_stride + columns <= out.len(), "the result does not fit");
        if depth > 0 {
            assert!((rows - 1) * self.left_down + (depth - 1) * self.left_along < self.left.len());
            assert!((depth - 1) * self.right_stride + columns <= self.right.len());
        }
        Arch::new().dispatch(CheckedProduct { product: self, out: out.as_mut_ptr(), out_stride });
    }
}

/// A product whose bounds have been checked, and where its result goes.
struct CheckedProduct<'a> {
    product: PanelProduct<'a>,
    out: *mut f32,
    out_stride: usize,
}

impl WithSimd for CheckedProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Twelve rows of two registers, the operands and a spare one fill 32 registers; with 16 wide
        // registers of AVX2 there is room for six rows.
        let tall = if S::F32_LANES == 8 { 6 } else { 12 };
        let columns = self.product.columns;
        let mut column = 0;
        while column + 2 * S::F32_LANES <= columns {
            // SAFETY: `PanelProduct::into` has checked the bounds; the columns lie below `columns`.
            unsafe { self.column_of_tiles::<S, 2>(simd, column, tall) };
            column += 2 * S::F32_LANES;
        }
        while column < columns {
            // SAFETY: as above; a panel is a whole number of registers.
            unsafe { self.column_of_tiles::<S, 1>(simd, column, tall) };
            column += S::F32_LANES;
        }
    }
}

impl CheckedProduct<'_> {
    /// Computes `REGISTERS` registers of columns from `column` on, for all rows.
    ///
    /// # Safety
    ///
    /// The bounds of the product have been checked and the columns exist.
    #[inline(always)]
    unsafe fn column_of_tiles<S: Simd, const REGISTERS: usize>(&self, simd: S, column: usize, tall: usize) {
        let rows = self.product.rows;
        let mut row = 0;
        // SAFETY: every tile ends at `rows`.
        unsafe {
            while tall == 12 && row + 12 <= rows {
                self.tile::<S, 12, REGISTERS>(simd, row, column);
                row += 12;
            }
            while row + 6 <= rows {
                self.tile::<S, 6, REGISTERS>(simd, row, column);
                row += 6;
            }
            match rows - row {
                1 => self.tile::<S, 1, REGISTERS>(simd, row, column),
                2 => self.tile::<S, 2, REGISTERS>(simd, row, column),
                3 => self.tile::<S, 3, REGISTERS>(simd, row, column),
                4 => self.tile::<S, 4, REGISTERS>(simd, row, column),
                5 => self.tile::<S, 5, REGISTERS>(simd, row, column),
                _ => {}
            }
        }
    }

    /// Computes one tile of the result in registers.
    ///
    /// # Safety
    ///
    /// The bounds of the product have been checked and the tile lies inside the result.
    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: usize, const REGISTERS: usize>(
        &self,
        simd: S,
        row: usize,
        column: usize,
    ) {
        let PanelProduct { depth, left, left_down, left_along, right, right_stride, store, .. } =
            self.product;
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
        // SAFETY: `into` has checked that element `(rows - 1, depth - 1)` of the left operand, row
        // `depth - 1` of the right one and row `rows - 1` of the result lie in their slices; every address
        // below is at most that far. Unaligned reads need no alignment; `f32s` is plain data of `lanes` floats.
        unsafe {
            let mut left = left.as_ptr().add(row * left_down);
            let mut right = right.as_ptr().add(column);
            for step in 0..depth {
                let mut factors = [simd.splat_f32s(0.0); REGISTERS];
                for (register, factor) in factors.iter_mut().enumerate() {
                    *factor = right.add(register * lanes).cast::<S::f32s>().read_unaligned();
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let element = simd.splat_f32s(*left.add(i * left_down));
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        *sum = simd.mul_add_f32s(element, factor, *sum);
                    }
                }
                // The last step must not move the pointers past their slices.
                if step + 1 < depth {
                    left = left.add(left_along);
                    right = right.add(right_stride);
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (register, sum) in sums.iter().enumerate() {
                    let at = (row + i) * self.out_stride + column + register * lanes;
                    let target = self.out.add(at).cast::<S::f32s>();
                    let value = match store {
                        Store::Replace => *sum,
                        Store::Add => simd.add_f32s(*sum, target.read_unaligned()),
                    };
                    target.write_unaligned(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, values};
    use super::*;

    /// The instruction sets other than the widest take other tiles and registers.
    #[test]
    fn narrow_registers_give_the_same_product() {
        let (rows, columns, depth) = (23, 48, 19);
        let (left, right) = (values(1, rows * depth), values(2, depth * columns));
        let product = PanelProduct {
            rows,
            columns,
            depth,
            left: &left,
            left_down: depth,
            left_along: 1,
            right: &right,
            right_stride: columns,
            store: Store::Replace,
        };
        let mut widest = vec![0.0; rows * columns];
        product.into(&mut widest, columns);
        let mut narrow = vec![0.0; rows * columns];
        Simd::vectorize(
            pulp::Scalar,
            CheckedProduct { product, out: narrow.as_mut_ptr(), out_stride: columns },
        );
        assert_close(&narrow, &super::super::testing::wide(&widest), 5e-6);
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = pulp::x86::V3::try_new() {
            narrow.fill(0.0);
            Simd::vectorize(avx2, CheckedProduct { product, out: narrow.as_mut_ptr(), out_stride: columns });
            assert_eq!(narrow, widest);
        }
    }

    proptest! {
        #[test]
        fn products_agree_with_the_formula(
            rows in 1_usize..40, panels in 1_usize..5, depth in 0_usize..50, pads in [0_usize..3, 0_usize..3, 0_usize..3],
            flip: bool, add: bool, seed: u64,
        ) {
            let columns = panels * PANEL;
            let (out_stride, right_stride) = (columns + pads[0], columns + pads[1]);
            let (left_down, left_along) = if flip { (1, rows + pads[2]) } else { (depth + pads[2], 1) };
            let (left, right) = (values(seed, (rows + 3) * (depth + 3)), values(seed ^ 1, depth * right_stride));
            let old = values(seed ^ 2, rows * out_stride);
            let mut out = old.clone();
            let store = if add { Store::Add } else { Store::Replace };
            PanelProduct { rows, columns, depth, left: &left, left_down, left_along, right: &right, right_stride, store }
                .into(&mut out, out_stride);
            let exact: Vec<f64> = (0..rows * out_stride)
                .map(|at| {
                    let (i, j) = (at / out_stride, at % out_stride);
                    let sum: f64 = (0..depth)
                        .filter(|_| j < columns)
                        .map(|p| f64::from(left[i * left_down + p * left_along]) * f64::from(right[p * right_stride + j]))
                        .sum();
                    if add || j >= columns { sum + f64::from(old[at]) } else { sum }
                })
                .collect();
            // Fifty products below one.
            assert_close(&out, &exact, 5e-6);
        }
    }
}
