//! Grids of colours on a canvas, as rows of tokens, and their copies in other colours, turned and flipped.

mod copies;
mod encode;
mod grid;

pub use copies::{ArcCopy, parse_name};
pub use encode::{CanvasPlace, SIDE, VOCABULARY, cells_of_grid, crop, encode, find};
pub use grid::{ArcGrid, ArcPair, COLOURS};
