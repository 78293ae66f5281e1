//! Grids of colours, and pairs of them.

use crate::data::kind::ARC_SIDE;

/// Most cells on one side of a grid.
pub(super) const MOST_CELLS: usize = ARC_SIDE;
/// Number of colours.
pub const COLOURS: usize = 10;

/// A grid of colours 0 to 9, with 1 to 30 rows and columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArcGrid {
    columns: usize,
    /// `[rows * columns]`
    cells: Vec<u8>,
}

impl ArcGrid {
    /// Makes a grid of rows of colours.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with them, as the end of a sentence about the grid. Rows and columns count from 1.
    pub fn new(rows: &[Vec<i64>]) -> Result<ArcGrid, String> {
        let Some(first) = rows.first() else { return Err("has no rows".to_owned()) };
        if rows.len() > MOST_CELLS {
            return Err(format!("has {} rows; expected at most {MOST_CELLS}", rows.len()));
        }
        let columns = first.len();
        let mut cells = Vec::with_capacity(rows.len() * columns);
        for (row, colours) in (1..).zip(rows) {
            match colours.len() {
                0 => return Err(format!("has no cells in row {row}")),
                count if count > MOST_CELLS => {
                    return Err(format!("has {count} cells in row {row}; expected at most {MOST_CELLS}"));
                }
                count if count != columns => {
                    return Err(format!("has {count} cells in row {row}, but {columns} in row 1"));
                }
                _ => {}
            }
            for (column, &colour) in (1..).zip(colours) {
                match u8::try_from(colour) {
                    Ok(cell) if usize::from(cell) < COLOURS => cells.push(cell),
                    _ => {
                        return Err(format!(
                            "has {colour} at row {row}, column {column}; expected a colour, 0 to {}",
                            COLOURS - 1
                        ));
                    }
                }
            }
        }
        Ok(ArcGrid { columns, cells })
    }

    /// Makes a grid of cells that are known to be colours, at least one, in whole rows.
    pub(in crate::data) fn of_cells(columns: usize, cells: Vec<u8>) -> ArcGrid {
        debug_assert!(columns > 0 && !cells.is_empty() && cells.len().is_multiple_of(columns));
        ArcGrid { columns, cells }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.columns
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the colours, row by row.
    pub fn cells(&self) -> &[u8] {
        &self.cells
    }

    /// Returns the grid as a list of lists in JSON.
    pub fn to_json(&self) -> String {
        let row = |cells: &[u8]| {
            let cells: Vec<String> = cells.iter().map(u8::to_string).collect();
            format!("[{}]", cells.join(", "))
        };
        let rows: Vec<String> = self.cells.chunks(self.columns).map(row).collect();
        format!("[{}]", rows.join(", "))
    }
}

/// An input grid with its output grid, where that is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArcPair {
    /// What is shown.
    pub input: ArcGrid,
    /// What it becomes.
    pub output: Option<ArcGrid>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_grid_is_refused_with_its_place() {
        let said = |rows: &[Vec<i64>]| ArcGrid::new(rows).unwrap_err();
        assert_eq!(said(&[]), "has no rows");
        assert_eq!(said(&[vec![]]), "has no cells in row 1");
        assert_eq!(said(&[vec![1, 2], vec![1]]), "has 1 cells in row 2, but 2 in row 1");
        assert_eq!(said(&[vec![1, 2], vec![]]), "has no cells in row 2");
        assert_eq!(said(&[vec![1], vec![10]]), "has 10 at row 2, column 1; expected a colour, 0 to 9");
        assert_eq!(said(&[vec![1, -1]]), "has -1 at row 1, column 2; expected a colour, 0 to 9");
        assert_eq!(said(&vec![vec![1]; 31]), "has 31 rows; expected at most 30");
        assert_eq!(said(&[vec![1; 31]]), "has 31 cells in row 1; expected at most 30");
        let grid = ArcGrid::new(&[vec![1, 2, 3], vec![4, 5, 6]]).unwrap();
        assert_eq!((grid.rows(), grid.columns(), grid.cells()), (2, 3, &[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(grid.to_json(), "[[1, 2, 3], [4, 5, 6]]");
    }
}
