//! The operands of a product.

/// MatrixSizes of `out[rows, columns] = left[rows, depth] · right[depth, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MatrixSizes {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
}

/// A matrix that is read: element `(i, j)` lies at `i * down + j * along`.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatrixView<'a> {
    pub data: &'a [f32],
    pub down: usize,
    pub along: usize,
}

impl<'a> MatrixView<'a> {
    /// Views `rows` rows of `columns` elements, `stride` elements apart.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let needed = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns };
        assert!(columns <= stride || rows <= 1, "rows of {columns} elements overlap at stride {stride}");
        assert!(data.len() >= needed, "{} elements for {rows} rows of {columns} at {stride}", data.len());
        MatrixView { data, down: stride, along: 1 }
    }

    /// Panics unless all elements of `rows` rows of `columns` columns are there.
    #[track_caller]
    pub fn check(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * self.down + (columns - 1) * self.along;
            assert!(last < self.data.len(), "{rows} x {columns} elements of {}", self.data.len());
        }
    }

    /// Exchanges rows and columns.
    pub fn transposed(self) -> Self {
        MatrixView { data: self.data, down: self.along, along: self.down }
    }

    /// Leaves out the first rows.
    pub fn skip_rows(self, row: usize) -> Self {
        MatrixView { data: &self.data[(row * self.down).min(self.data.len())..], ..self }
    }

    /// Leaves out the first columns.
    pub fn skip_columns(self, column: usize) -> Self {
        self.transposed().skip_rows(column).transposed()
    }
}
