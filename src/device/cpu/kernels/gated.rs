//! The gated feed-forward unit.
//!
//! `h = silu(gate) * up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, "GLU variants"). The two
//! operands come from one product whose weight holds the gate rows, then the up rows.

use super::Store;
use super::operand::{MatrixSizes, MatrixView};
use super::parallel::{CHUNK, Shared, for_each_block};
use super::product::{Grid, Method, Right, Weight, WeightShape, multiply, multiply_raw, right_scratch};
use super::scratch::{Scratch, with_scratch};
use super::simd::{LANES, logistic, vectorised};
use crate::ir::Precision;

/// Sizes of a gated unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwigluShape {
    /// Rows `R`.
    pub rows: usize,
    /// Input width `k`; only the fused kernel reads it.
    pub width: usize,
    /// Inner width `F`.
    pub inner: usize,
    /// Arithmetic of the product's factors; only the fused kernel reads it.
    pub precision: Precision,
}

impl SwigluShape {
    /// Returns the tiles of [`linear_swiglu`].
    fn grid(&self, method: Method) -> Grid {
        let SwigluShape { rows, width, inner, .. } = *self;
        // Twice the depth stands for the two products of a tile.
        Grid::for_weight(MatrixSizes { rows, columns: inner, depth: 2 * width }, method)
    }

    /// Returns the scratch of [`linear_swiglu`]; `keeps` says that the gradient will need the product.
    pub fn scratch(&self, keeps: bool, is_arranged: bool) -> Scratch {
        let method = Method::best(self.precision);
        let grid = self.grid(method);
        let whole =
            if is_arranged { 0 } else { right_scratch(self.inner, self.width, method).saturating_mul(2) };
        let product = if keeps { 0 } else { grid.tile_len().saturating_mul(2) };
        let Scratch { part, packed, .. } = grid.tile_scratch(true, method);
        Scratch { whole, part: product.saturating_add(part), packed }
    }
}

/// `h = silu(gate) * up`.
///
/// # Shapes
///
/// `h` `[R, F]`, `gate_up` `[R, 2F]`: each row holds the gates, then the values they scale.
pub fn swiglu(h: &mut [f32], gate_up: &[f32], shape: SwigluShape) {
    let SwigluShape { rows, inner, .. } = shape;
    assert_eq!(h.len(), rows * inner);
    assert_eq!(gate_up.len(), 2 * rows * inner);
    let h = Shared::new(h);
    for_each_block(rows, CHUNK.div_ceil(2 * inner.max(1)), rows * inner * 2, |rows| {
        // SAFETY: the rows of different tasks are disjoint.
        let h = unsafe { h.part(rows.start * inner..rows.end * inner) };
        let gate_up = &gate_up[2 * rows.start * inner..2 * rows.end * inner];
        vectorised(
            #[inline(always)]
            || {
                for (h, gate_up) in
                    h.chunks_exact_mut(inner.max(1)).zip(gate_up.chunks_exact(2 * inner.max(1)))
                {
                    let (gates, ups) = gate_up.split_at(inner);
                    gate_row(h, gates, ups);
                }
            },
        );
    });
}

/// `h = silu(x · w_gateᵀ) * (x · w_upᵀ)`.
///
/// A task computes some columns of gates and the same columns of values for some rows, and combines them
/// while they are in cache.
///
/// # Shapes
///
/// `h` `[r, F]`, `x` `[r, k]`, `w` `[2F, k]`: gate rows, then up rows. `gate_up` `[r, 2F]` receives the
/// product when the gradient will need it; without it, the product never leaves the scratch of a task.
pub fn linear_swiglu(
    h: &mut [f32],
    gate_up: Option<&mut [f32]>,
    x: &[f32],
    w: Weight<'_>,
    shape: SwigluShape,
) {
    let SwigluShape { rows, width, inner, precision } = shape;
    assert_eq!(h.len(), rows * inner);
    assert!(gate_up.as_ref().is_none_or(|gate_up| gate_up.len() == 2 * rows * inner));
    let x = MatrixView::new(x, rows, width, width);
    let (h, gate_up) = (Shared::new(h), gate_up.map(Shared::new));
    let method = Method::best(precision);
    let grid = shape.grid(method);
    let run = |w_gate: Right<'_>, w_up: Right<'_>| {
        grid.for_each_tile(|tile| {
            let sizes = MatrixSizes { rows: tile.rows.len(), columns: tile.columns.len(), depth: width };
            let x = x.skip_rows(tile.rows.start);
            let (w_gate, w_up) =
                (w_gate.skip_columns(tile.columns.start), w_up.skip_columns(tile.columns.start));
            let size = sizes.rows * sizes.columns;
            with_scratch(if gate_up.is_some() { 0 } else { 2 * size }, |scratch| {
                match gate_up {
                    // SAFETY: the tiles of different tasks are disjoint, and gates and values lie apart.
                    Some(gate_up) => unsafe {
                        let gates =
                            gate_up.tile(tile.rows.start * 2 * inner + tile.columns.start, 2 * inner, sizes);
                        multiply_raw(gates, 2 * inner, x, w_gate, sizes, Store::Replace);
                        let ups = gate_up.tile(
                            tile.rows.start * 2 * inner + inner + tile.columns.start,
                            2 * inner,
                            sizes,
                        );
                        multiply_raw(ups, 2 * inner, x, w_up, sizes, Store::Replace);
                    },
                    None => {
                        let (gates, ups) = scratch.split_at_mut(size);
                        multiply(gates, sizes.columns, x, w_gate, sizes, Store::Replace);
                        multiply(ups, sizes.columns, x, w_up, sizes, Store::Replace);
                    }
                }
                vectorised(
                    #[inline(always)]
                    || {
                        for (i, row) in tile.rows.clone().enumerate() {
                            let at = row * inner + tile.columns.start;
                            // SAFETY: the tiles of different tasks are disjoint; nothing writes to `gate_up` any more.
                            let (h, gates, ups) = unsafe {
                                let h = h.part(at..at + sizes.columns);
                                match gate_up {
                                    Some(gate_up) => {
                                        let at = row * 2 * inner + tile.columns.start;
                                        (
                                            h,
                                            &*gate_up.part(at..at + sizes.columns),
                                            &*gate_up.part(at + inner..at + inner + sizes.columns),
                                        )
                                    }
                                    None => (
                                        h,
                                        &scratch[i * sizes.columns..][..sizes.columns],
                                        &scratch[size + i * sizes.columns..][..sizes.columns],
                                    ),
                                }
                            };
                            gate_row(h, gates, ups);
                        }
                    },
                );
            });
        })
    };
    let weight = WeightShape { n: 2 * inner, k: width, parts: 2, precision };
    w.with(0, weight, width, method, |w_gate| {
        w.with(1, weight, width, method, |w_up| run(w_gate, w_up));
    });
}

/// Gradient of [`swiglu`]: with `s = 1 / (1 + e^-gate)`,
/// `dgate = dh up s (1 + gate (1 - s))` and `dup = dh gate s`.
///
/// # Shapes
///
/// `dgate_up`, `gate_up` `[R, 2F]`, `dh` `[R, F]`.
pub fn swiglu_grad(dgate_up: &mut [f32], gate_up: &[f32], dh: &[f32], shape: SwigluShape) {
    let SwigluShape { rows, inner, .. } = shape;
    assert_eq!(dh.len(), rows * inner);
    assert_eq!(gate_up.len(), 2 * rows * inner);
    assert_eq!(dgate_up.len(), gate_up.len());
    let dgate_up = Shared::new(dgate_up);
    for_each_block(rows, CHUNK.div_ceil(4 * inner.max(1)), rows * inner * 3, |rows| {
        let range = 2 * rows.start * inner..2 * rows.end * inner;
        // SAFETY: the rows of different tasks are disjoint.
        let dgate_up = unsafe { dgate_up.part(range.clone()) };
        let dh = &dh[rows.start * inner..rows.end * inner];
        vectorised(
            #[inline(always)]
            || {
                let gate_up = gate_up[range].chunks_exact(2 * inner);
                for ((dgate_up, gate_up), dh) in
                    dgate_up.chunks_exact_mut(2 * inner).zip(gate_up).zip(dh.chunks_exact(inner))
                {
                    let (dgates, dups) = dgate_up.split_at_mut(inner);
                    let (gates, ups) = gate_up.split_at(inner);
                    grad_row(dgates, dups, gates, ups, dh);
                }
            },
        );
    });
}

/// One row of [`swiglu_grad`].
///
/// Works on arrays of one register, because the compiler gives up on proving that five slices do not
/// overlap.
#[inline(always)]
fn grad_row(dgates: &mut [f32], dups: &mut [f32], gates: &[f32], ups: &[f32], dh: &[f32]) {
    let (dgate_chunks, dgate_tail) = dgates.as_chunks_mut::<LANES>();
    let (dup_chunks, dup_tail) = dups.as_chunks_mut::<LANES>();
    let ((gate_chunks, gate_tail), (up_chunks, up_tail)) =
        (gates.as_chunks::<LANES>(), ups.as_chunks::<LANES>());
    let (dh_chunks, dh_tail) = dh.as_chunks::<LANES>();
    let targets = dgate_chunks.iter_mut().zip(dup_chunks);
    for ((dgates, dups), ((gates, ups), dh)) in targets.zip(gate_chunks.iter().zip(up_chunks).zip(dh_chunks))
    {
        let (mut new_dgates, mut new_dups) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            (new_dgates[lane], new_dups[lane]) = grad_of_one(gates[lane], ups[lane], dh[lane]);
        }
        (*dgates, *dups) = (new_dgates, new_dups);
    }
    let targets = dgate_tail.iter_mut().zip(dup_tail);
    for ((dgate, dup), ((gate, up), dh)) in targets.zip(gate_tail.iter().zip(up_tail).zip(dh_tail)) {
        (*dgate, *dup) = grad_of_one(*gate, *up, *dh);
    }
}

/// Returns the gradients of one gate and one value.
#[inline(always)]
fn grad_of_one(gate: f32, up: f32, dh: f32) -> (f32, f32) {
    let share = logistic(gate);
    let silu = gate * share;
    (dh * up * (share + silu * (1.0 - share)), dh * silu)
}

/// One row of [`swiglu`].
#[inline(always)]
fn gate_row(h: &mut [f32], gates: &[f32], ups: &[f32]) {
    for ((h, gate), up) in h.iter_mut().zip(gates).zip(ups) {
        *h = gate * logistic(*gate) * up;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::product::{ProductShape, product_nt};
    use super::super::testing::{
        assert_close, assert_same_on_any_threads, differences, inner as sum_of_products, values, wide,
    };
    use super::*;

    fn naive(gate_up: &[f64], inner: usize) -> Vec<f64> {
        gate_up
            .chunks(2 * inner)
            .flat_map(|row| (0..inner).map(move |j| row[j] / (1.0 + (-row[j]).exp()) * row[inner + j]))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn unit_and_gradient_agree_with_the_formula(rows in 1_usize..6, inner in 1_usize..40, seed: u64) {
            let shape = SwigluShape { rows, width: 0, inner, precision: Precision::F32 };
            let gate_up: Vec<f32> = values(seed, 2 * rows * inner).iter().map(|x| 6.0 * x).collect();
            let dh = values(seed ^ 1, rows * inner);
            let (mut h, mut dgate_up) = (vec![0.0; rows * inner], vec![0.0; 2 * rows * inner]);
            swiglu(&mut h, &gate_up, shape);
            // A handful of roundings of values up to 36.
            assert_close(&h, &naive(&wide(&gate_up), inner), 1e-6);
            swiglu_grad(&mut dgate_up, &gate_up, &dh, shape);
            let exact = differences(&wide(&gate_up), |at| sum_of_products(&naive(at, inner), &wide(&dh)));
            assert_close(&dgate_up, &exact, 3e-6);
        }

        #[test]
        fn fused_unit_agrees_with_the_formula(
            rows in 1_usize..50, width in 1_usize..40, inner in 1_usize..60, seed: u64,
        ) {
            let shape = SwigluShape { rows, width, inner, precision: Precision::F32 };
            let (x, w) = (values(seed, rows * width), values(seed ^ 1, 2 * inner * width));
            let exact: Vec<f64> = (0..rows * 2 * inner)
                .map(|at| (at / (2 * inner), at % (2 * inner)))
                .map(|(i, j)| sum_of_products(&wide(&x[i * width..][..width]), &wide(&w[j * width..][..width])))
                .collect();
            let (mut h, mut kept) = (vec![0.0; rows * inner], vec![0.0; 2 * rows * inner]);
            linear_swiglu(&mut h, Some(&mut kept), &x, Weight::Rows(&w), shape);
            // Sums of at most 40 products below one, then a product of two of them.
            assert_close(&kept, &exact, 5e-6);
            assert_close(&h, &naive(&exact, inner), 1e-5);
            let mut alone = vec![0.0; rows * inner];
            linear_swiglu(&mut alone, None, &x, Weight::Rows(&w), shape);
            prop_assert_eq!(h, alone);
        }
    }

    /// Every sum has one order, however the result is cut.
    #[test]
    fn fusion_changes_no_bit() {
        let (rows, width, inner) = (130, 70, 200);
        let (x, w) = (values(1, rows * width), values(2, 2 * inner * width));
        for precision in [Precision::F32, Precision::Bf16] {
            let shape = SwigluShape { rows, width, inner, precision };
            let (mut fused, mut gate_up, mut h) =
                (vec![0.0; rows * inner], vec![0.0; rows * 2 * inner], vec![0.0; rows * inner]);
            linear_swiglu(&mut fused, None, &x, Weight::Rows(&w), shape);
            let product = ProductShape::nt(rows, 2 * inner, width).with_precision(precision);
            product_nt(&mut gate_up, &x, Weight::Rows(&w), None, Store::Replace, product);
            swiglu(&mut h, &gate_up, shape);
            assert_eq!(fused, h, "{precision:?}");
        }
    }

    #[test]
    fn units_are_the_same_on_any_threads() {
        let shape = SwigluShape { rows: 500, width: 64, inner: 96, precision: Precision::F32 };
        let (x, w, dh) = (values(1, 500 * 64), values(2, 192 * 64), values(3, 500 * 96));
        assert_same_on_any_threads(|| {
            let (mut h, mut gate_up, mut dgate_up) =
                (vec![0.0; 500 * 96], vec![0.0; 500 * 192], vec![0.0; 500 * 192]);
            linear_swiglu(&mut h, Some(&mut gate_up), &x, Weight::Rows(&w), shape);
            swiglu_grad(&mut dgate_up, &gate_up, &dh, shape);
            [h, gate_up, dgate_up].concat()
        });
    }
}
