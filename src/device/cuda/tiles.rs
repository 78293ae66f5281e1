//! Numbers of blocks and threads of the kernels on tensor cores.
//!
//! The sizes here must agree with the constants of `kernels/attention_bf16.cu` and `kernels/product_bf16.cu`.
//!
//! Two rules hold for all these kernels. Every pointer is a multiple of [`ALIGNMENT`] bytes. The kernels declare their
//! shared memory themselves, so a launch asks for none.

use super::kernels::Template;

/// Bytes that are moved at once.
pub const ALIGNMENT: u64 = 16;

/// Threads of a warp.
const WARP: u32 = 32;
/// Warps of a block of attention.
const ATTENTION_WARPS: u32 = 4;
/// Rows of a tile that a warp multiplies at once.
const ROWS: u64 = 16;

/// Most positions and columns of a head that one block of attention's gradient holds whole.
const MAX_SHORT: [u64; 2] = [96, 64];
/// Its warps.
const SHORT_WARPS: u32 = 6;
/// Rows and columns that a block of the gated product makes.
const GATED_TILE: [u64; 2] = [256, 64];
/// Its warps.
const GATED_WARPS: u32 = 8;

/// A kernel with its blocks and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileLaunch {
    /// The kernel.
    pub kernel: Template,
    /// Blocks, in one dimension.
    pub blocks: u64,
    /// Threads of a block in two dimensions.
    pub threads: [u32; 2],
}

/// Sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Rows `B` of the batch.
    pub batch: u64,
    /// Positions `S`.
    pub positions: u64,
    /// Heads `A`.
    pub heads: u64,
    /// Width `E` of a head.
    pub head_width: u64,
}

impl Heads {
    /// Returns the launch of the narrower kernel that is wide enough; `None` if neither is. The number beside a kernel
    /// is the number of parts of [`ROWS`] rows that a warp works on.
    fn blocks(self, narrow: (Template, u64), wide: (Template, u64)) -> Option<TileLaunch> {
        let (kernel, parts) = match self.head_width {
            0..=64 => narrow,
            65..=128 => wide,
            _ => return None,
        };
        let tiles = self.positions.div_ceil(u64::from(ATTENTION_WARPS) * parts * ROWS);
        Some(TileLaunch { kernel, blocks: self.batch * self.heads * tiles, threads: [WARP, ATTENTION_WARPS] })
    }

    /// Returns the launch of attention. Its arguments are `out`, `lse`, `qkv`, the two tables of the rotation or null
    /// for both, the scale of the scores, and the sizes `positions`, `heads`, `head_width`. `None` if no kernel takes
    /// heads of this width.
    pub fn attention(self) -> Option<TileLaunch> {
        self.blocks((Template::AttentionBf16Of64, 2), (Template::AttentionBf16Of128, 1))
    }

    /// Returns the one launch of the gradient of attention where a block holds a head: `dqkv`, memory for
    /// `delta [B, A, S]` in f32, `qkv`, `lse`, `dout`, then what [`Heads::attention`] takes. `None` for longer rows or
    /// wider heads.
    pub fn attention_grad_short(self) -> Option<TileLaunch> {
        let fits = self.positions <= MAX_SHORT[0] && self.head_width <= MAX_SHORT[1];
        fits.then_some(TileLaunch {
            kernel: Template::AttentionGradBf16Short,
            blocks: self.batch * self.heads,
            threads: [WARP, SHORT_WARPS],
        })
    }

    /// Returns the two launches of the gradient of attention, in order. The first takes `dqkv`, `delta`, `qkv`, `out`
    /// or null, `lse`, `dout`; the second takes `dqkv`, `qkv`, `lse`, `dout`, `delta`. The other arguments of both are
    /// those of [`Heads::attention`] from the tables on. `delta [B, A, S]` in f32 passes from the first to the second.
    /// The first launch is faster where it has `out`.
    pub fn attention_grad(self) -> Option<[TileLaunch; 2]> {
        let queries = self.blocks(
            (Template::AttentionGradQueriesBf16Of64, 2),
            (Template::AttentionGradQueriesBf16Of128, 1),
        )?;
        let keys =
            self.blocks((Template::AttentionGradKeysBf16Of64, 1), (Template::AttentionGradKeysBf16Of128, 1))?;
        Some([queries, keys])
    }
}

/// Returns the launch of the gated product of `x [rows, terms]` and `w [2 inner, terms]`: `out [rows, inner]`, the
/// product `[rows, 2 inner]` or null, `x`, `w`, and the sizes `rows`, `inner`, `terms`.
pub fn linear_swiglu(rows: u64, inner: u64) -> TileLaunch {
    let blocks = rows.div_ceil(GATED_TILE[0]) * inner.div_ceil(GATED_TILE[1]);
    TileLaunch { kernel: Template::LinearSwigluBf16, blocks, threads: [WARP, GATED_WARPS] }
}
