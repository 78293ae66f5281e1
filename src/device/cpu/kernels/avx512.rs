//! Products in the registers of AVX-512, in f32 and in bf16.
//!
//! A product runs along its depth in *units* of 32 bits: one f32, or two neighbours in bf16 that one
//! instruction (`vdpbf16ps`) multiplies, adds up and accumulates in f32.
//!
//! The right operand is arranged once into *panels*: [`PANEL`] columns, unit by unit, so that the inner loop
//! reads whole registers one after the other. The left operand is read one unit at a time, in any order; it
//! stays where it is if it is f32 and contiguous along the depth, and is copied chunk by chunk otherwise.
//! The inner loop keeps six rows by four registers of the result and adds up one chunk of the
//! depth; a chunk of a panel and of the left rows stays in cache meanwhile.
//!
//! Rounding to bf16 is to nearest, ties to even; numbers below the normal range become zero.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_or_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_storeu_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::ops::Range;

use super::Store;
use super::operand::{MatrixSizes, MatrixView};
use super::parallel::{Shared, for_each_task};
use super::scratch::{with_scratch, with_shared_scratch};

/// Columns of a panel.
pub const PANEL: usize = VECTORS * LANES;
/// Rows of the result in registers.
pub const ROWS: usize = 6;
/// Registers of a row of the result.
const VECTORS: usize = 4;
/// Units in a register.
const LANES: usize = 16;
/// Units of the depth that are added up at a time.
pub const CHUNK: usize = 256;

/// What 32 bits of an operand hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One element in f32.
    Single,
    /// Two elements in bf16, the lower bits first.
    Pair,
}

impl Unit {
    /// Returns whether this processor multiplies such units.
    pub fn available(self) -> bool {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        wide && match self {
            Unit::Single => true,
            Unit::Pair => is_x86_feature_detected!("avx512bf16"),
        }
    }

    /// Elements along the depth in one unit.
    pub const fn elements(self) -> usize {
        match self {
            Unit::Single => 1,
            Unit::Pair => 2,
        }
    }
}

/// A right operand arranged in panels.
#[derive(Debug, Clone, Copy)]
pub struct Panels<'a> {
    data: &'a [f32],
    unit: Unit,
    /// Units of the whole depth.
    units: usize,
}

impl<'a> Panels<'a> {
    /// Views panels that [`arrange_panels`] has filled.
    pub fn new(data: &'a [f32], depth: usize, unit: Unit) -> Self {
        Panels { data, unit, units: depth.div_ceil(unit.elements()) }
    }

    /// Leaves out the first columns, whole panels of them.
    pub fn skip_columns(self, columns: usize) -> Self {
        assert!(columns.is_multiple_of(PANEL), "{columns} columns are not whole panels");
        Panels { data: &self.data[columns * self.units..], ..self }
    }
}

/// Returns the length of the panels of a right operand.
pub const fn panels_len(columns: usize, depth: usize, unit: Unit) -> usize {
    columns.div_ceil(PANEL).saturating_mul(depth.div_ceil(unit.elements())).saturating_mul(PANEL)
}

/// Arranges `right`, `depth` rows of `columns` columns, in panels.
///
/// # Panics
///
/// Panics if the processor cannot multiply such units.
pub fn arrange_panels(target: &mut [f32], right: MatrixView<'_>, columns: usize, depth: usize, unit: Unit) {
    assert!(unit.available(), "the processor has the instructions");
    let size = panels_len(PANEL, depth, unit);
    let target = Shared::new(target);
    for_each_task(columns.div_ceil(PANEL), columns * depth / 4, |panel| {
        // SAFETY: every panel has its own part.
        let target = unsafe { target.part(panel * size..(panel + 1) * size) };
        let (first, right) = (panel * PANEL, right.skip_columns(panel * PANEL));
        arrange(target, PANEL, right, PANEL.min(columns - first), depth, unit);
    });
}

/// Arranges `right` in shared scratch and calls `run` with the panels.
pub fn with_panels<R>(
    right: MatrixView<'_>,
    columns: usize,
    depth: usize,
    unit: Unit,
    run: impl FnOnce(Panels<'_>) -> R,
) -> R {
    with_shared_scratch(panels_len(columns, depth, unit), |data| {
        arrange_panels(data, right, columns, depth, unit);
        run(Panels::new(data, depth, unit))
    })
}

/// Returns the scratch of [`multiply`] for a left operand whose rows, or else whose columns, are contiguous.
pub fn multiply_scratch(rows: usize, depth: usize, by_row: bool, unit: Unit) -> usize {
    let in_place = unit == Unit::Single && by_row;
    if in_place { 0 } else { copy_len(rows, depth.div_ceil(unit.elements()).min(CHUNK), by_row) }
}

/// Multiplies on the calling thread: `out = left · right`, or `out += left · right`.
///
/// # Safety
///
/// The `rows` rows of `columns` elements from `out` on, `out_stride` apart, may be written by this
/// call alone.
pub unsafe fn multiply(
    out: *mut f32,
    out_stride: usize,
    left: MatrixView<'_>,
    right: Panels<'_>,
    sizes: MatrixSizes,
    store: Store,
) {
    let MatrixSizes { rows, columns, depth } = sizes;
    let Panels { data, unit, units } = right;
    assert!(unit.available(), "the processor has the instructions");
    assert_eq!(units, depth.div_ceil(unit.elements()), "the panels have the depth of the product");
    assert!(data.len() >= columns.div_ceil(PANEL) * PANEL * units, "the panels have all columns");
    left.check(rows, depth);
    let in_place = unit == Unit::Single && left.along == 1;
    with_scratch(multiply_scratch(rows, depth, left.along == 1, unit), |copy| {
        // A product without depth has one empty chunk, which stores zeros.
        for start in (0..units.max(1)).step_by(CHUNK) {
            let chunk = CHUNK.min(units - start);
            let first = start * unit.elements();
            let part = left.skip_columns(first);
            let elements = (depth - first).min(chunk * unit.elements());
            let rows_of_units = if in_place {
                Left { data: part.data.as_ptr().cast(), down: part.down, along: 1 }
            } else {
                let (down, along) = copy_units(copy, part, rows, elements, unit);
                Left { data: copy.as_ptr().cast(), down, along }
            };
            let store = if start > 0 { Store::Add } else { store };
            // SAFETY: the checks above bound the operands, the caller the result.
            unsafe { add_chunk(out, out_stride, rows_of_units, right, start..start + chunk, sizes, store) };
        }
    });
}

/// Multiplies `left`, whose first unit is the first of `units`, with these units of `right`.
///
/// # Safety
///
/// The processor has the instructions, `left` has all rows and units, and the result can be written by this call alone.
unsafe fn add_chunk(
    out: *mut f32,
    out_stride: usize,
    left: Left,
    right: Panels<'_>,
    units: Range<usize>,
    sizes: MatrixSizes,
    store: Store,
) {
    let MatrixSizes { rows, columns, .. } = sizes;
    for column in (0..columns).step_by(PANEL) {
        let panel = &right.data[column * right.units..(column + PANEL) * right.units];
        let panel = panel[units.start * PANEL..units.end * PANEL].as_ptr().cast::<u32>();
        let width = PANEL.min(columns - column);
        for row in (0..rows).step_by(ROWS) {
            let height = ROWS.min(rows - row);
            // SAFETY: as the caller says; the panel was cut to these units.
            unsafe {
                let left = Left { data: left.data.add(row * left.down), ..left };
                let target = out.add(row * out_stride + column);
                tile(right.unit, height, width)(units.len(), left, panel, target, out_stride, width, store);
            }
        }
    }
}

/// A left operand of small products, as pairs in bf16: rows of pairs, or pairs of rows.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    data: &'a [f32],
    rows: usize,
    units: usize,
    down: usize,
    along: usize,
}

/// Elements of memory for [`Pairs`] of `rows` rows and `depth` columns, in either order.
pub fn pairs_len(rows: usize, depth: usize) -> usize {
    let units = depth.div_ceil(Unit::Pair.elements());
    copy_len(rows, units, true).max(copy_len(rows, units, false))
}

impl<'a> Pairs<'a> {
    /// Rounds `left`, `rows` rows of `depth` columns.
    ///
    /// # Panics
    ///
    /// Panics if the processor cannot multiply pairs.
    pub fn new(target: &'a mut [f32], left: MatrixView<'_>, rows: usize, depth: usize) -> Self {
        assert!(Unit::Pair.available(), "the processor has the instructions");
        left.check(rows, depth);
        let units = depth.div_ceil(Unit::Pair.elements());
        let (down, along) = copy_units(target, left, rows, depth, Unit::Pair);
        Pairs { data: target, rows, units, down, along }
    }

    /// `out (+)= left · right`, for the units of `right` from `first` on.
    ///
    /// # Panics
    ///
    /// Panics if an operand or the result is too short.
    pub fn multiply(
        self,
        out: &mut [f32],
        out_stride: usize,
        right: Panels<'_>,
        first: usize,
        columns: usize,
        store: Store,
    ) {
        let Pairs { data, rows, units, down, along } = self;
        assert!(
            right.unit == Unit::Pair && first + units <= right.units,
            "the panels have the depth of the product"
        );
        assert!(
            right.data.len() >= columns.div_ceil(PANEL) * PANEL * right.units,
            "the panels have all columns"
        );
        MatrixView::new(out, rows, columns, out_stride);
        for start in (0..units.max(1)).step_by(CHUNK) {
            let chunk = CHUNK.min(units - start);
            let left = Left { data: data[start * along..].as_ptr().cast(), down, along };
            let sizes = MatrixSizes { rows, columns, depth: 2 * chunk };
            let store = if start > 0 { Store::Add } else { store };
            let range = first + start..first + start + chunk;
            // SAFETY: the processor has the instructions, since there are `Pairs`; all lengths were checked above, and
            // `out` is borrowed for writing.
            unsafe { add_chunk(out.as_mut_ptr(), out_stride, left, right, range, sizes, store) };
        }
    }
}

/// Distance of two rows of a copy whose rows are contiguous.
///
/// A stride that is a power of two would put all rows into a few sets of the cache.
const fn row_stride(units: usize) -> usize {
    units.next_multiple_of(LANES) + LANES
}

/// Elements that [`copy_units`] writes for a left operand whose rows are contiguous, or whose columns are.
const fn copy_len(rows: usize, units: usize, by_row: bool) -> usize {
    let (count, stride) =
        if by_row { (rows, row_stride(units)) } else { (units, rows.next_multiple_of(LANES)) };
    count.saturating_mul(stride)
}

/// Copies a left operand as units, in its own order; returns the distances of two rows and of two units.
///
/// Rows that are contiguous are copied as pairs; single elements of them are read where they are.
fn copy_units(
    target: &mut [f32],
    left: MatrixView<'_>,
    rows: usize,
    depth: usize,
    unit: Unit,
) -> (usize, usize) {
    if left.along == 1 {
        assert_eq!(unit, Unit::Pair, "single elements of contiguous rows stay where they are");
        let stride = row_stride(depth.div_ceil(unit.elements()));
        // SAFETY: whoever has a unit has asked for the instructions; `left` was checked, and `pair_rows` checks the
        // target.
        unsafe { pair_rows(target, stride, left, rows, depth) };
        (stride, 1)
    } else {
        let stride = rows.next_multiple_of(LANES);
        arrange(target, stride, left.transposed(), rows, depth, unit);
        (1, stride)
    }
}

/// A left operand in units: row `i`, unit `p` at `i * down + p * along`.
#[derive(Debug, Clone, Copy)]
struct Left {
    data: *const u32,
    down: usize,
    along: usize,
}

/// Multiplies one chunk of a few rows with one panel; the arguments are those of [`tile_of_singles`].
type TileKernel = unsafe fn(usize, Left, *const u32, *mut f32, usize, usize, Store);

/// Returns the kernel for some rows and columns of the result.
fn tile(unit: Unit, height: usize, width: usize) -> TileKernel {
    macro_rules! table {
        ($kernel:ident: $($height:literal)*) => {
            [$([$kernel::<$height, 1>, $kernel::<$height, 2>, $kernel::<$height, 3>, $kernel::<$height, 4>]),*]
        };
    }
    const SINGLES: [[TileKernel; VECTORS]; ROWS] = table!(tile_of_singles: 1 2 3 4 5 6);
    const PAIRS: [[TileKernel; VECTORS]; ROWS] = table!(tile_of_pairs: 1 2 3 4 5 6);
    let table = match unit {
        Unit::Single => &SINGLES,
        Unit::Pair => &PAIRS,
    };
    table[height - 1][width.div_ceil(LANES) - 1]
}

macro_rules! define_tile {
    ($name:ident, $features:literal, |$sum:ident, $element:ident, $factor:ident| $accumulate:expr) => {
        /// Multiplies `units` units of `HEIGHT` rows of `left` with a panel of `width` columns in `VECTORS` registers.
        ///
        /// # Safety
        ///
        /// The processor has the instructions; all units of the rows and of the panel can be read, and all rows and
        /// columns of the result can be written.
        #[target_feature(enable = $features)]
        unsafe fn $name<const HEIGHT: usize, const VECTORS: usize>(
            units: usize,
            left: Left,
            panel: *const u32,
            out: *mut f32,
            out_stride: usize,
            width: usize,
            store: Store,
        ) {
            let mut sums = [[_mm512_setzero_ps(); VECTORS]; HEIGHT];
            for unit in 0..units {
                let mut factors = [_mm512_setzero_si512(); VECTORS];
                for (vector, factor) in factors.iter_mut().enumerate() {
                    // SAFETY: the panel has this unit.
                    *factor = unsafe { _mm512_loadu_si512(panel.add(unit * PANEL + vector * LANES).cast()) };
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the rows have this unit.
                    let unit = unsafe { left.data.add(row * left.down + unit * left.along).read() };
                    let $element = _mm512_set1_epi32(unit.cast_signed());
                    for (sum, &$factor) in sums.iter_mut().zip(&factors) {
                        let $sum = *sum;
                        *sum = $accumulate;
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (vector, &sum) in sums.iter().enumerate() {
                    let lanes = first_lanes(width - vector * LANES);
                    // SAFETY: the lanes that are read or written lie inside the result.
                    unsafe {
                        let target = out.add(row * out_stride + vector * LANES);
                        let sum = match store {
                            Store::Replace => sum,
                            Store::Add => _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, target), sum),
                        };
                        _mm512_mask_storeu_ps(target, lanes, sum);
                    }
                }
            }
        }
    };
}

define_tile!(tile_of_singles, "avx512f", |sum, element, factor| {
    _mm512_fmadd_ps(_mm512_castsi512_ps(element), _mm512_castsi512_ps(factor), sum)
});

define_tile!(tile_of_pairs, "avx512f,avx512bf16", |sum, element, factor| {
    // SAFETY: both types are 512 bits without further meaning.
    let [element, factor] =
        unsafe { [element, factor].map(|bits| std::mem::transmute::<__m512i, __m512bh>(bits)) };
    _mm512_dpbf16_ps(sum, element, factor)
});

/// Returns the mask of the first lanes of a register, of all of them if there are more.
const fn first_lanes(count: usize) -> u16 {
    if count >= LANES { u16::MAX } else { (1 << count) - 1 }
}

/// Writes the units of `source`, one below the other: unit `p` of column `j` at `p * stride + j`.
///
/// Columns up to the next whole register become zero; `source` has `depth` rows of `columns` columns.
fn arrange(
    target: &mut [f32],
    stride: usize,
    source: MatrixView<'_>,
    columns: usize,
    depth: usize,
    unit: Unit,
) {
    let units = depth.div_ceil(unit.elements());
    source.check(depth, columns);
    assert!(stride.is_multiple_of(LANES) && columns <= stride && target.len() >= units * stride);
    let target = target.as_mut_ptr().cast::<u32>();
    // SAFETY: `multiply` and `with_panels` have asked for the instructions; the bounds were checked above.
    unsafe {
        match (unit, source.along == 1) {
            (Unit::Single, true) => single_rows(target, stride, source, columns, depth),
            (Unit::Pair, true) => interleave(target, stride, source, columns, depth),
            (Unit::Single, false) => turn_singles(target, stride, source, columns, depth),
            (Unit::Pair, false) => turn_pairs(target, stride, source, columns, depth),
        }
    }
}

/// [`arrange`] of rows in f32.
///
/// # Safety
///
/// As [`arrange`] checks.
#[target_feature(enable = "avx512f")]
unsafe fn single_rows(target: *mut u32, stride: usize, source: MatrixView<'_>, columns: usize, depth: usize) {
    for row in 0..depth {
        for column in (0..columns).step_by(LANES) {
            let lanes = first_lanes(columns - column);
            // SAFETY: the lanes lie inside the row, and the target has whole registers.
            unsafe {
                let value =
                    _mm512_maskz_loadu_ps(lanes, source.data.as_ptr().add(row * source.down + column));
                _mm512_storeu_si512(target.add(row * stride + column).cast(), _mm512_castps_si512(value));
            }
        }
    }
}

/// [`arrange`] of pairs of rows in bf16.
///
/// # Safety
///
/// As [`arrange`] checks.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn interleave(target: *mut u32, stride: usize, source: MatrixView<'_>, columns: usize, depth: usize) {
    for unit in 0..depth.div_ceil(2) {
        for column in (0..columns).step_by(LANES) {
            let lanes = first_lanes(columns - column);
            let second = if 2 * unit + 1 < depth { lanes } else { 0 };
            // SAFETY: the lanes lie inside the two rows (none of the second if there is none), and the target
            // has whole registers.
            unsafe {
                let row = source.data.as_ptr().wrapping_add(2 * unit * source.down + column);
                let low = half(_mm512_maskz_loadu_ps(lanes, row));
                let high = half(_mm512_maskz_loadu_ps(second, row.wrapping_add(source.down)));
                let pairs = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
                _mm512_storeu_si512(target.add(unit * stride + column).cast(), pairs);
            }
        }
    }
}

/// Rounds to bf16, one number in the lower half of each lane.
#[target_feature(enable = "avx512f,avx512bf16")]
fn half(value: __m512) -> __m512i {
    // SAFETY: both types are 256 bits without further meaning.
    let bits = unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value)) };
    _mm512_cvtepu16_epi32(bits)
}

/// Rounds sixteen pairs of neighbours to bf16, one pair in each lane.
///
/// # Safety
///
/// `count` elements from `data` on can be read; what lies beyond them becomes zero.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pairs(data: *const f32, count: usize) -> __m512i {
    // SAFETY: the lanes that are read are among the `count` elements.
    unsafe {
        let low = _mm512_maskz_loadu_ps(first_lanes(count), data);
        let high = _mm512_maskz_loadu_ps(first_lanes(count.saturating_sub(LANES)), data.wrapping_add(LANES));
        std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Copies rows as units of bf16: row `i`, unit `p` at `i * stride + p`.
///
/// # Safety
///
/// The processor has the instructions, and `source` has `rows` rows of `depth` elements.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pair_rows(target: &mut [f32], stride: usize, source: MatrixView<'_>, rows: usize, depth: usize) {
    for row in 0..rows {
        let target = &mut target[row * stride..(row + 1) * stride];
        for (register, element) in (0..depth).step_by(2 * LANES).enumerate() {
            let target = &mut target[register * LANES..(register + 1) * LANES];
            // SAFETY: the row has this many elements left; the target was cut to one register.
            unsafe {
                let pairs = pairs(source.data.as_ptr().add(row * source.down + element), depth - element);
                _mm512_storeu_si512(target.as_mut_ptr().cast(), pairs);
            }
        }
    }
}

macro_rules! define_turn {
    ($name:ident, $features:literal, $elements:literal, $load:expr) => {
        /// [`arrange`] of columns that are contiguous: squares of sixteen by sixteen units are turned in registers.
        ///
        /// # Safety
        ///
        /// As [`arrange`] checks.
        #[target_feature(enable = $features)]
        unsafe fn $name(
            target: *mut u32,
            stride: usize,
            source: MatrixView<'_>,
            columns: usize,
            depth: usize,
        ) {
            for column in (0..columns).step_by(LANES) {
                for element in (0..depth).step_by($elements * LANES) {
                    let mut square = [_mm512_setzero_si512(); LANES];
                    for (index, row) in square.iter_mut().enumerate().take(columns - column) {
                        // SAFETY: the column has this many elements left.
                        *row = unsafe {
                            let data = source.data.as_ptr().add((column + index) * source.along + element);
                            $load(data, depth - element)
                        };
                    }
                    turn(&mut square);
                    let units = (depth - element).div_ceil($elements).min(LANES);
                    for (index, row) in square.iter().enumerate().take(units) {
                        // SAFETY: the target has this unit, and whole registers.
                        unsafe {
                            let at = (element / $elements + index) * stride + column;
                            _mm512_storeu_si512(target.add(at).cast(), *row);
                        }
                    }
                }
            }
        }
    };
}

define_turn!(turn_singles, "avx512f", 1, |data: *const f32, count| _mm512_castps_si512(
    _mm512_maskz_loadu_ps(first_lanes(count), data)
));
define_turn!(turn_pairs, "avx512f,avx512bf16", 2, pairs);

/// Exchanges rows and columns of sixteen registers of sixteen lanes.
#[target_feature(enable = "avx512f")]
fn turn(rows: &mut [__m512i; LANES]) {
    // Pairs of rows, then fours, inside the quarters of a register; then the quarters themselves.
    let mut next = [_mm512_setzero_si512(); LANES];
    for i in (0..LANES).step_by(2) {
        next[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        next[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for i in (0..LANES).step_by(4) {
        rows[i] = _mm512_unpacklo_epi64(next[i], next[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(next[i], next[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(next[i + 1], next[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(next[i + 1], next[i + 3]);
    }
    for i in 0..4 {
        let [a, b, c, d] = [rows[i], rows[i + 4], rows[i + 8], rows[i + 12]];
        let low = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d)];
        let high = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        next[i] = _mm512_shuffle_i32x4::<0x88>(low[0], low[1]);
        next[i + 8] = _mm512_shuffle_i32x4::<0xdd>(low[0], low[1]);
        next[i + 4] = _mm512_shuffle_i32x4::<0x88>(high[0], high[1]);
        next[i + 12] = _mm512_shuffle_i32x4::<0xdd>(high[0], high[1]);
    }
    *rows = next;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_turned() {
        if !Unit::Single.available() {
            return;
        }
        let element = |row: usize, column: usize| (row * LANES + column) as i32;
        let mut rows: [[i32; LANES]; LANES] =
            std::array::from_fn(|row| std::array::from_fn(|column| element(row, column)));
        // SAFETY: the processor has the instructions; both types are sixteen times sixteen numbers of 32 bits.
        unsafe {
            let mut square = std::mem::transmute::<[[i32; LANES]; LANES], [__m512i; LANES]>(rows);
            turn(&mut square);
            rows = std::mem::transmute::<[__m512i; LANES], [[i32; LANES]; LANES]>(square);
        }
        for (row, lanes) in rows.iter().enumerate() {
            for (column, &value) in lanes.iter().enumerate() {
                assert_eq!(value, element(column, row));
            }
        }
    }
}
