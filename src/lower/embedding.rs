//! The embedded input `x`.

use super::Lowering;
use super::parameters::{EMBED_POSITIONS, EMBED_TOKENS, PUZZLE_TABLE};
use crate::graph::ops::{AddSuffix, Concat, Embed, Pad, Reshape, Scale};
use crate::graph::{TensorType, Value};

/// Factor of the sum of embeddings and learned positions, `1 / sqrt(2)` as the published code writes it.
const POSITION_SCALE: f32 = 0.707_106_77;

/// The embedded input and what it was made of.
#[derive(Clone, Copy)]
pub(super) struct Embedded {
    /// `[B, P + S, D]`.
    pub x: Value,
    /// Rows of the puzzle table, `[B, width]`.
    pub puzzle_rows: Option<Value>,
}

impl Lowering<'_> {
    /// `sqrt(D) (puzzle rows ++ tokens)`, or `sqrt(D / 2) (puzzle rows ++ tokens + positions)`.
    ///
    /// Puzzle rows are padded with zeros to `P D` and cut into `P` positions.
    pub(super) fn embed(&mut self) -> Embedded {
        let (batch, width) = (self.sizes.batch, self.model.hidden);
        let ids = self.tokens();
        let table = self.weight(EMBED_TOKENS);
        let mut x = self.graph.add1(Embed.into(), &[table, ids]);
        let mut puzzle_rows = None;
        if let Some(puzzles) = &self.model.puzzles {
            let ids = self.graph.input(&self.scope.puzzles(), TensorType::i32(&[batch]));
            let table = self.weight(PUZZLE_TABLE);
            let rows = self.graph.add1(Embed.into(), &[table, ids]);
            let after = puzzles.positions * width - puzzles.width;
            let padded = if after == 0 {
                rows
            } else {
                self.graph.add1(Pad { axis: 1, before: 0, after }.into(), &[rows])
            };
            let prefix = Reshape { shape: vec![batch, puzzles.positions, width] };
            let prefix = self.graph.add1(prefix.into(), &[padded]);
            x = self.graph.add1(Concat { axis: 1 }.into(), &[prefix, x]);
            puzzle_rows = Some(rows);
        }
        let mut factor = (width as f32).sqrt();
        if self.model.tokens.learned_positions {
            let positions = self.weight(EMBED_POSITIONS);
            x = self.graph.add1(AddSuffix.into(), &[x, positions]);
            factor *= POSITION_SCALE;
        }
        let x = self.graph.add1(Scale { factor }.into(), &[x]);
        Embedded { x, puzzle_rows }
    }
}
