//! The root-mean-square norm without a learned scale, alone and fused with what precedes it.
//!
//! `norm(x) = x / sqrt(mean(x^2) + eps)` over the last axis (Zhang and Sennrich 2019).
//! With `s = 1 / sqrt(mean(x^2) + eps)` and `y = s x`, a gradient `dy` of `y` gives
//! `dx = s (dy - y mean(dy y))`, which needs `y` and `s` but not `x`.

use super::Store;
use super::operand::{MatrixSizes, MatrixView};
use super::parallel::{CHUNK, Shared, for_each_block};
use super::product::{Grid, Method, ProductShape, Weight, WeightShape, multiply_raw};
use super::simd::{dot, vectorised};

/// `y = x / sqrt(mean(x^2) + eps)`, row by row.
///
/// # Shapes
///
/// `y`, `x` `[R, width]`, `inv_rms` `[R]`: the factor `1 / sqrt(mean(x^2) + eps)` of each row, which the
/// gradient needs.
pub fn rms_norm(y: &mut [f32], inv_rms: Option<&mut [f32]>, x: &[f32], width: usize, eps: f32) {
    assert_eq!(x.len(), y.len());
    let block = rows_per_task(width);
    by_blocks(
        y,
        inv_rms,
        width,
        block,
        4,
        #[inline(always)]
        |rows, y, inv_rms| {
            y.copy_from_slice(&x[rows.start * width..rows.end * width]);
            normalise_rows(y, inv_rms, width, eps);
        },
    );
}

/// `y = norm(a + b)`, row by row.
///
/// # Shapes
///
/// `y`, `a`, `b` `[R, width]`, `inv_rms` `[R]`.
pub fn add_rms_norm(
    y: &mut [f32],
    inv_rms: Option<&mut [f32]>,
    a: &[f32],
    b: &[f32],
    width: usize,
    eps: f32,
) {
    assert_eq!(a.len(), y.len());
    assert_eq!(b.len(), y.len());
    let block = rows_per_task(width);
    by_blocks(
        y,
        inv_rms,
        width,
        block,
        4,
        #[inline(always)]
        |rows, y, inv_rms| {
            let range = rows.start * width..rows.end * width;
            for ((y, a), b) in y.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                *y = a + b;
            }
            normalise_rows(y, inv_rms, width, eps);
        },
    );
}

/// `y = norm(residual + x · wᵀ)`, the end of both halves of a block.
///
/// The product adds to a copy of the residual. Tasks with whole rows norm them while they are in cache; otherwise the
/// norm is a second pass.
///
/// # Shapes
///
/// `y`, `residual` `[r, n]`, `inv_rms` `[r]`, `x` `[r, k]`, `w` `[n, k]` with the letters and strides of
/// `shape`; the output stride must be `n`.
pub fn linear_add_rms_norm(
    y: &mut [f32],
    mut inv_rms: Option<&mut [f32]>,
    x: &[f32],
    w: Weight<'_>,
    residual: &[f32],
    eps: f32,
    shape: ProductShape,
) {
    let ProductShape { r, n, k, precision, .. } = shape;
    assert_eq!(shape.out_stride, n, "the result must be contiguous");
    assert_eq!(y.len(), r * n);
    assert_eq!(residual.len(), y.len());
    let x = MatrixView::new(x, r, k, shape.a_stride);
    let sizes = MatrixSizes { rows: r, columns: n, depth: k };
    let method = Method::best(precision);
    let grid = Grid::for_weight_and_rows(sizes, method);
    assert!(inv_rms.as_ref().is_none_or(|inv_rms| inv_rms.len() == r));
    let (sums, factors) = (Shared::new(y), inv_rms.as_deref_mut().map(Shared::new));
    w.with(0, WeightShape { n, k, parts: 1, precision }, shape.b_stride, method, |w| {
        grid.for_each_tile(|tile| {
            let sizes = MatrixSizes { rows: tile.rows.len(), columns: tile.columns.len(), depth: k };
            for row in tile.rows.clone() {
                let range = row * n + tile.columns.start..row * n + tile.columns.end;
                // SAFETY: the tiles of different tasks are disjoint.
                unsafe { sums.part(range.clone()) }.copy_from_slice(&residual[range]);
            }
            let (x, w) = (x.skip_rows(tile.rows.start), w.skip_columns(tile.columns.start));
            // SAFETY: as above; the copies are finished.
            unsafe {
                let target = sums.tile(tile.rows.start * n + tile.columns.start, n, sizes);
                multiply_raw(target, n, x, w, sizes, Store::Add);
            }
            if grid.has_whole_rows() {
                // SAFETY: as above; the product is finished.
                let (y, factors) = unsafe {
                    let factors = factors.map(|factors| factors.part(tile.rows.clone()));
                    (sums.part(tile.rows.start * n..tile.rows.end * n), factors)
                };
                vectorised(
                    #[inline(always)]
                    || normalise_rows(y, factors, n, eps),
                );
            }
        })
    });
    if grid.has_whole_rows() {
        return;
    }
    by_blocks(
        y,
        inv_rms,
        n,
        rows_per_task(n),
        4,
        #[inline(always)]
        |_, y, inv_rms| normalise_rows(y, inv_rms, n, eps),
    );
}

/// `dx = s (dy - y mean(dy y))` with `dy = dy1 + dy2`, the gradient of the norm.
///
/// # Shapes
///
/// `dx`, `y`, `dy1`, `dy2` `[R, width]`, `inv_rms` `[R]`; `y` and `inv_rms` as the forward pass left them.
pub fn rms_norm_grad(
    dx: &mut [f32],
    y: &[f32],
    inv_rms: &[f32],
    dy1: &[f32],
    dy2: Option<&[f32]>,
    width: usize,
) {
    assert_eq!(y.len(), dx.len());
    assert_eq!(dy1.len(), dx.len());
    assert!(dy2.is_none_or(|dy2| dy2.len() == dy1.len()));
    assert_eq!(inv_rms.len() * width, dx.len());
    by_blocks(
        dx,
        None,
        width,
        rows_per_task(width),
        6,
        #[inline(always)]
        |rows, dx, _| {
            for (row, dx) in rows.zip(dx.chunks_exact_mut(width)) {
                let range = row * width..(row + 1) * width;
                let (y, dy1) = (&y[range.clone()], &dy1[range.clone()]);
                match dy2 {
                    None => dx.copy_from_slice(dy1),
                    Some(dy2) => {
                        for ((dx, a), b) in dx.iter_mut().zip(dy1).zip(&dy2[range]) {
                            *dx = a + b;
                        }
                    }
                }
                let mean = dot(dx, y) / width as f32;
                for (dx, y) in dx.iter_mut().zip(y) {
                    *dx = inv_rms[row] * (*dx - y * mean);
                }
            }
        },
    );
}

/// Rows of a cheap kernel in one task.
fn rows_per_task(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1)
}

/// Calls `run` (vectorised) with consecutive blocks of rows of `y` and of `inv_rms`.
///
/// `effort` is the work per element.
fn by_blocks(
    y: &mut [f32],
    inv_rms: Option<&mut [f32]>,
    width: usize,
    block: usize,
    effort: usize,
    run: impl Fn(std::ops::Range<usize>, &mut [f32], Option<&mut [f32]>) + Sync + Send,
) {
    let rows = y.len().checked_div(width).unwrap_or(0);
    assert_eq!(rows * width, y.len(), "{} elements are not rows of {width}", y.len());
    if let Some(inv_rms) = &inv_rms {
        assert_eq!(inv_rms.len(), rows);
    }
    let work = y.len() * effort / 8;
    let y = Shared::new(y);
    let inv_rms = inv_rms.map(Shared::new);
    for_each_block(rows, block, work, |rows| {
        // SAFETY: the row ranges of different tasks are disjoint, hence also these parts.
        let (y, inv_rms) = unsafe {
            (y.part(rows.start * width..rows.end * width), inv_rms.map(|inv_rms| inv_rms.part(rows.clone())))
        };
        vectorised(
            #[inline(always)]
            || run(rows, y, inv_rms),
        );
    });
}

/// Norms every row in place and notes the factors.
#[inline(always)]
fn normalise_rows(y: &mut [f32], mut inv_rms: Option<&mut [f32]>, width: usize, eps: f32) {
    for (row, y) in y.chunks_exact_mut(width).enumerate() {
        let factor = 1.0 / (dot(y, y) / width as f32 + eps).sqrt();
        for y in y.iter_mut() {
            *y *= factor;
        }
        if let Some(inv_rms) = &mut inv_rms {
            inv_rms[row] = factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, assert_same_on_any_threads, differences, inner, values, wide};
    use super::*;

    const EPS: f32 = 1e-5;

    fn naive(x: &[f64], width: usize) -> Vec<f64> {
        x.chunks(width)
            .flat_map(|x| {
                let mean: f64 = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
                x.iter().map(move |x| x / (mean + f64::from(EPS)).sqrt())
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn norms_agree_with_the_formula(rows in 1_usize..20, width in 1_usize..140, seed: u64) {
            let (a, b) = (values(seed, rows * width), values(seed ^ 1, rows * width));
            let (mut y, mut inv_rms) = (vec![0.0; rows * width], vec![0.0; rows]);
            rms_norm(&mut y, Some(&mut inv_rms), &a, width, EPS);
            // Sixteen lanes add few errors; the root halves them; results are below sqrt(140).
            assert_close(&y, &naive(&wide(&a), width), 2e-6);
            for row in 0..rows {
                let ratio = y[row * width] - a[row * width] * inv_rms[row];
                prop_assert!(ratio.abs() < 1e-5);
            }
            let sum: Vec<f64> = a.iter().zip(&b).map(|(a, b)| f64::from(a + b)).collect();
            add_rms_norm(&mut y, None, &a, &b, width, EPS);
            assert_close(&y, &naive(&sum, width), 2e-6);
        }

        #[test]
        fn fused_norm_agrees_with_the_formula(
            r in 1_usize..60, n in 1_usize..70, k in 1_usize..40, seed: u64,
        ) {
            let (x, w, residual) = (values(seed, r * k), values(seed ^ 1, n * k), values(seed ^ 2, r * n));
            let (mut y, mut inv_rms) = (vec![0.0; r * n], vec![0.0; r]);
            linear_add_rms_norm(&mut y, Some(&mut inv_rms), &x, Weight::Rows(&w), &residual, EPS, ProductShape::nt(r, n, k));
            let sum: Vec<f64> = (0..r * n)
                .map(|at| {
                    let (i, j) = (at / n, at % n);
                    f64::from(residual[at]) + inner(&wide(&x[i * k..][..k]), &wide(&w[j * k..][..k]))
                })
                .collect();
            let exact = naive(&sum, n);
            // The sums carry errors near 1e-6; a row whose rms is small (n = 1, say) magnifies them.
            for (at, (&y, &exact)) in y.iter().zip(&exact).enumerate() {
                let magnified = 2e-6 * (1.0 + f64::from(inv_rms[at / n]));
                prop_assert!((f64::from(y) - exact).abs() <= magnified * (1.0 + exact.abs()));
            }
        }

        #[test]
        fn gradient_agrees_with_differences(rows in 1_usize..4, width in 2_usize..40, seed: u64) {
            let len = rows * width;
            let (x, dy1, dy2) = (values(seed, len), values(seed ^ 1, len), values(seed ^ 2, len));
            let (mut y, mut inv_rms, mut dx) = (vec![0.0; len], vec![0.0; rows], vec![0.0; len]);
            rms_norm(&mut y, Some(&mut inv_rms), &x, width, EPS);
            for second in [None, Some(&dy2[..])] {
                rms_norm_grad(&mut dx, &y, &inv_rms, &dy1, second, width);
                let dy: Vec<f64> = (0..len)
                    .map(|i| f64::from(dy1[i]) + second.map_or(0.0, |dy2| f64::from(dy2[i])))
                    .collect();
                let exact = differences(&wide(&x), |x| inner(&naive(x, width), &dy));
                for (at, (&dx, &exact)) in dx.iter().zip(&exact).enumerate() {
                    // Both terms of the gradient scale with the factor of the row.
                    let scale = 1.0 + f64::from(inv_rms[at / width]);
                    prop_assert!((f64::from(dx) - exact).abs() < 4e-6 * scale, "{dx} instead of {exact}");
                }
            }
        }
    }

    #[test]
    fn norms_are_the_same_on_any_threads() {
        let (r, n, k) = (1000, 96, 64);
        let (x, w, residual) = (values(1, r * k), values(2, n * k), values(3, r * n));
        assert_same_on_any_threads(|| {
            let (mut y, mut inv_rms, mut dx) = (vec![0.0; r * n], vec![0.0; r], vec![0.0; r * n]);
            linear_add_rms_norm(
                &mut y,
                Some(&mut inv_rms),
                &x,
                Weight::Rows(&w),
                &residual,
                EPS,
                ProductShape::nt(r, n, k),
            );
            rms_norm_grad(&mut dx, &y, &inv_rms, &residual, None, n);
            let mut z = vec![0.0; r * n];
            add_rms_norm(&mut z, None, &y, &residual, n, EPS);
            [y, inv_rms, dx, z].concat()
        });
    }
}
