//! Grids of colours on a canvas, as rows of tokens, and their copies in other colours, turned and flipped.

mod copies;
mod encode;
mod grid;
mod task_copies;

pub use copies::{ArcCopy, draw_copies, parse_name, stream_of};
pub use encode::{CanvasPlace, SIDE, VOCABULARY, cells_of_grid, crop, encode, find};
pub use grid::{ArcGrid, ArcPair, COLOURS};
pub use task_copies::{ColourSet, TaskCopies};
