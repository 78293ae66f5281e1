//! Tasks of ARC: reading them, and building a dataset of them and their copies.
//!
//! A task shows a few pairs of grids, and asks for the output grid of one or more test inputs. As in the published code,
//! every task has an identifier of its own, and so has each of its copies, which differ in a symmetry and in the
//! colours.

mod build;
mod canvas;
mod copies;
mod grid;
mod tasks;

pub use build::{ArcBuild, WrittenArc};
pub use canvas::{CanvasPlace, SIDE, crop, encode};
pub use copies::{ArcCopy, parse_name};
pub use grid::{ArcGrid, ArcPair, ArcTask};
pub use tasks::{parse_task, parse_tasks, read_tasks};
