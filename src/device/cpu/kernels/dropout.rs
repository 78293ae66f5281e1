//! Dropout by numbers that follow from a key of each row.

use super::parallel::{CHUNK, Shared, for_each_block};
use super::simd::vectorised;
use crate::graph::ops::{Dropout, dropout_seed, is_dropped};

/// `y = 0` where an element is dropped, else `x / (1 - rate)`.
///
/// # Shapes
///
/// `y`, `x` `[B, ..]`, `keys` `[B]`.
pub fn dropout(y: &mut [f32], x: &[f32], keys: &[i32], op: &Dropout) {
    assert_eq!(x.len(), y.len());
    by_rows(
        y,
        keys,
        op,
        #[inline(always)]
        |start, y, of_row| {
            let x = &x[start..start + y.len()];
            for (index, (y, x)) in y.iter_mut().zip(x).enumerate() {
                // Every element is read: the compiler vectorises no loop that reads some elements only.
                let kept = x * of_row.factor;
                *y = if of_row.drops(index) { 0.0 } else { kept };
            }
        },
    );
}

/// `y = residual` where an element is dropped, else `residual + x / (1 - rate)`.
///
/// # Shapes
///
/// `y`, `x`, `residual` `[B, ..]`, `keys` `[B]`.
pub fn dropout_add(y: &mut [f32], x: &[f32], keys: &[i32], residual: &[f32], op: &Dropout) {
    assert_eq!((x.len(), residual.len()), (y.len(), y.len()));
    by_rows(
        y,
        keys,
        op,
        #[inline(always)]
        |start, y, of_row| {
            let range = start..start + y.len();
            let terms = x[range.clone()].iter().zip(&residual[range]);
            for (index, (y, (x, residual))) in y.iter_mut().zip(terms).enumerate() {
                // Every element is read, as above.
                let kept = x * of_row.factor;
                *y = residual + if of_row.drops(index) { 0.0 } else { kept };
            }
        },
    );
}

/// What becomes of the elements of one row.
#[derive(Clone, Copy)]
struct RowOfDropout {
    seed: u32,
    threshold: u32,
    factor: f32,
}

impl RowOfDropout {
    #[inline(always)]
    fn drops(self, index: usize) -> bool {
        is_dropped(self.seed, index as u32, self.threshold)
    }
}

/// Calls `run` (vectorised) with each row: where it starts, its results, and what becomes of its elements.
fn by_rows(
    y: &mut [f32],
    keys: &[i32],
    op: &Dropout,
    run: impl Fn(usize, &mut [f32], RowOfDropout) + Sync + Send,
) {
    let (len, rows) = (y.len(), keys.len());
    assert!(rows > 0 && len.is_multiple_of(rows), "{len} elements of {rows} rows");
    let row = len / rows;
    let (factor, threshold) = (op.factor(), op.threshold());
    let y = Shared::new(y);
    for_each_block(rows, (CHUNK / row.max(1)).max(1), len, |rows| {
        for index in rows {
            // SAFETY: the rows of different tasks are disjoint.
            let y = unsafe { y.part(index * row..(index + 1) * row) };
            let of_row = RowOfDropout { seed: dropout_seed(keys[index], op.site), threshold, factor };
            vectorised(
                #[inline(always)]
                || run(index * row, y, of_row),
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_same_on_any_threads, numbers, values};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn elements_stay_or_go_by_the_key_of_their_row(
            batch in 1_usize..6, row in 1_usize..200, rate in 0.0_f32..0.9, site in 0_u32..9, seed: u64,
        ) {
            let op = Dropout { rate, site };
            let (x, keys) = (values(seed, batch * row), numbers(seed ^ 1, batch, 1 << 24));
            let mut y = vec![9.0; x.len()];
            dropout(&mut y, &x, &keys, &op);
            for (at, (&y, &x)) in y.iter().zip(&x).enumerate() {
                let seed = dropout_seed(keys[at / row], site);
                let is_dropped = is_dropped(seed, (at % row) as u32, op.threshold());
                prop_assert_eq!(y, if is_dropped { 0.0 } else { x * op.factor() });
            }
            let residual = values(seed ^ 2, x.len());
            let mut sum = vec![9.0; x.len()];
            dropout_add(&mut sum, &x, &keys, &residual, &op);
            prop_assert!((0..x.len()).all(|at| sum[at] == residual[at] + y[at]));
        }
    }

    #[test]
    fn gradients_are_those_of_the_elements_that_stay() {
        let op = Dropout { rate: 0.3, site: 2 };
        let (x, dy, keys) = (values(1, 600), values(2, 600), [5, 77, 1 << 23]);
        let (mut y, mut dx) = (vec![9.0; 600], vec![9.0; 600]);
        dropout(&mut y, &x, &keys, &op);
        dropout(&mut dx, &dy, &keys, &op);
        for at in 0..600 {
            assert_eq!(dx[at] * x[at] == 0.0, y[at] == 0.0, "both are zero together");
            assert!(dx[at] == 0.0 || dx[at] == dy[at] * op.factor());
        }
    }

    #[test]
    fn what_is_dropped_is_the_same_on_any_threads() {
        let (batch, row) = (32, 2_501);
        let (x, keys) = (values(1, batch * row), numbers(2, batch, 1 << 24));
        assert_same_on_any_threads(|| {
            let (mut y, mut sum) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let op = Dropout { rate: 0.1, site: 3 };
            dropout(&mut y, &x, &keys, &op);
            dropout_add(&mut sum, &x, &keys, &y, &op);
            [y, sum].concat()
        });
    }
}
