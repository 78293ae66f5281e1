//! Rows of a table, and the gradient of the table.

use super::Store;
use super::parallel::{CHUNK, Shared, for_each_block};
use super::simd::vectorised;

/// `out[r] = scale table[ids[r]]`.
///
/// # Shapes
///
/// `out` `[R, D]`, `table` `[V, D]`, `ids` `[R]`, each in `0..V`.
pub fn embed(out: &mut [f32], table: &[f32], ids: &[i32], width: usize, scale: f32) {
    assert_eq!(out.len(), ids.len() * width);
    let work = out.len() / 4;
    let out = Shared::new(out);
    for_each_block(ids.len(), CHUNK.div_ceil(width.max(1)), work, |rows| {
        // SAFETY: the rows of different tasks are disjoint.
        let out = unsafe { out.part(rows.start * width..rows.end * width) };
        vectorised(
            #[inline(always)]
            || {
                for (out, id) in out.chunks_exact_mut(width.max(1)).zip(&ids[rows]) {
                    for (out, value) in out.iter_mut().zip(row_of(table, *id, width)) {
                        *out = scale * value;
                    }
                }
            },
        );
    });
}

/// `dtable[v] = scale Σ dy[r]` over the rows with `ids[r] = v`, added in the order of the rows.
///
/// # Shapes
///
/// `dtable` `[V, D]`, `ids` `[R]`, `dy` `[R, D]`.
pub fn embed_grad(dtable: &mut [f32], ids: &[i32], dy: &[f32], width: usize, scale: f32, store: Store) {
    assert_eq!(dy.len(), ids.len() * width);
    assert!(width > 0 && dtable.len().is_multiple_of(width));
    let rows = dtable.len() / width;
    let dtable = Shared::new(dtable);
    // A task owns some columns of the whole table, so that rows are added in one order.
    for_each_block(width, 64, dy.len() / 4, |columns| {
        let target = |row: usize| {
            // SAFETY: the columns of different tasks are disjoint, and only one row is used at a time.
            unsafe { dtable.part(row * width + columns.start..row * width + columns.end) }
        };
        vectorised(
            #[inline(always)]
            || {
                if store == Store::Replace {
                    (0..rows).for_each(|row| target(row).fill(0.0));
                }
                for (id, dy) in ids.iter().zip(dy.chunks_exact(width)) {
                    for (target, dy) in target(index_of(*id, rows)).iter_mut().zip(&dy[columns.clone()]) {
                        *target += scale * dy;
                    }
                }
            },
        );
    });
}

/// Returns the row of `table` that belongs to `id`.
#[inline(always)]
fn row_of(table: &[f32], id: i32, width: usize) -> &[f32] {
    let index = index_of(id, table.len() / width.max(1));
    &table[index * width..(index + 1) * width]
}

/// Checks an id against the size of its table.
#[inline(always)]
pub(super) fn index_of(id: i32, rows: usize) -> usize {
    usize::try_from(id)
        .ok()
        .filter(|&index| index < rows)
        .expect("ids are checked against the table before they reach a kernel")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{
        assert_close, assert_same_on_any_threads, differences, numbers, values, wide,
    };
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn table_and_gradient_agree_with_the_formula(
            vocab in 1_usize..6, width in 1_usize..150, rows in 0_usize..12, scale in 0.5_f32..9.0, add: bool, seed: u64,
        ) {
            let (table, ids, dy) =
                (values(seed, vocab * width), numbers(seed, rows, vocab), values(seed ^ 1, rows * width));
            let mut out = vec![0.0; rows * width];
            embed(&mut out, &table, &ids, width, scale);
            for at in 0..out.len() {
                prop_assert_eq!(out[at], scale * table[ids[at / width] as usize * width + at % width]);
            }
            let mut dtable = table.clone();
            embed_grad(&mut dtable, &ids, &dy, width, scale, if add { Store::Add } else { Store::Replace });
            let mut exact = if add { wide(&table) } else { vec![0.0; table.len()] };
            for at in 0..dy.len() {
                exact[ids[at / width] as usize * width + at % width] += f64::from(scale) * f64::from(dy[at]);
            }
            // At most twelve additions of numbers below nine.
            assert_close(&dtable, &exact, 1e-5);
        }
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (vocab, width, ids) = (3, 2, [2, 0, 2, 2]);
        let (table, dy) = (values(1, vocab * width), values(2, ids.len() * width));
        let value = |table: &[f64]| -> f64 {
            (0..dy.len())
                .map(|at| 2.0 * table[ids[at / width] as usize * width + at % width] * f64::from(dy[at]))
                .sum()
        };
        let exact = differences(&wide(&table), value);
        let mut dtable = vec![0.0; table.len()];
        embed_grad(&mut dtable, &ids, &dy, width, 2.0, Store::Replace);
        assert_close(&dtable, &exact, 1e-6);
    }

    #[test]
    fn tables_are_the_same_on_any_threads() {
        let (vocab, width, rows) = (11, 512, 1000);
        let (table, ids, dy) = (values(1, vocab * width), numbers(2, rows, vocab), values(3, rows * width));
        assert_same_on_any_threads(|| {
            let (mut out, mut dtable) = (vec![0.0; rows * width], vec![0.0; vocab * width]);
            embed(&mut out, &table, &ids, width, 22.6);
            embed_grad(&mut dtable, &ids, &dy, width, 22.6, Store::Replace);
            [out, dtable].concat()
        });
    }
}
