//! CPU kernels: pure functions over slices of `f32`. They know no graphs and no plans; all they share with the rest of
//! hrmc is the precision of products and the label that does not count.
//!
//! # Conventions
//!
//! Tensors are row-major and contiguous unless a stride is given. Letters: `B` rows of a batch, `S` positions, `D`
//! model width, `A` heads, `E` width of one head, `F` feed-forward width, `V` vocabulary, `R` rows of any matrix; and
//! in products, as BLAS has them, `r` rows, `n` outputs and `k` inputs of a weight. A kernel panics when the length of
//! a slice contradicts its shape; it never fails otherwise.
//!
//! # The same bits for any number of threads
//!
//! A kernel cuts its work into tasks whose borders depend on the sizes alone, and no sum crosses a
//! task. Which thread runs a task, and when, therefore cannot show in the result. Tasks are handed to
//! the rayon pool the caller runs in; small work stays on the calling thread.
//!
//! # Speed
//!
//! Loops are written so that the compiler vectorises them; `pulp` compiles each of them for several
//! instruction sets and picks one when the program runs. Sums keep sixteen (or a multiple) partial sums,
//! added in a fixed order at the end, because the compiler may not reorder a sum by itself.
//! Products run in registers of AVX-512, in f32 or, where the processor can, in bf16; the right operand is arranged in
//! panels, for a weight that several calls read once per update. Other processors use the `gemm` crate, in f32, one
//! call per tile. The small products inside attention stay in the task that made their operands.
//!
//! Working memory belongs to the threads and is reused, so that after the first steps nothing allocates (but for
//! `gemm`, to arrange operands). Each kernel that takes some says how much ([`Scratch`]), so that it can be predicted.

pub mod attention;
#[cfg(target_arch = "x86_64")]
mod attention_bf16;
pub mod elementwise;
pub mod embedding;
pub mod gated;
pub mod layout;
pub mod loss;
pub mod norm;
pub mod optimizer;
pub mod product;

#[cfg(target_arch = "x86_64")]
mod avx512;
mod operand;
mod panel;
mod parallel;
mod plain;
mod scratch;
mod simd;
#[cfg(test)]
mod testing;

pub use attention::{AttentionShape, Rope};
pub use elementwise::{add, add_suffix, choose, equal, fill, maximum, scale, sigmoid, sum_leading};
pub use embedding::{embed, embed_grad};
pub use gated::{SwigluShape, linear_swiglu, swiglu, swiglu_grad};
pub use layout::{CopyShape, Rest, copy_axis, pad, reset_rows, transpose};
pub use loss::{LossShape, bce_with_logits, bce_with_logits_grad, correctness, token_loss, token_loss_grad};
pub use norm::{add_rms_norm, linear_add_rms_norm, rms_norm, rms_norm_grad};
pub use optimizer::{
    AdamAtan2Step, AdamWStep, SignSgdStep, adam_atan2, adam_w, assign, average, sign_sgd_rows,
};
pub use plain::{rotate, row_distance};
pub use product::{
    ProductShape, Weight, WeightShape, arrange_weight, multiplies_in_bf16, product_nn, product_nt, product_tn,
};
pub use scratch::{Scratch, free_shared_scratch};

/// Whether a kernel overwrites its result or adds to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The old content is not read.
    Replace,
    /// The result is added to the old content.
    Add,
}

impl AttentionShape {
    /// Returns the scratch of [`attention`](fn@attention).
    pub fn scratch(self) -> Scratch {
        #[cfg(target_arch = "x86_64")]
        if self.in_pairs() {
            return Scratch { part: attention_bf16::scratch(self), ..Scratch::default() };
        }
        Scratch { part: attention::scratch(self), ..Scratch::default() }
    }

    /// Returns the scratch of [`attention_grad`].
    pub fn grad_scratch(self) -> Scratch {
        #[cfg(target_arch = "x86_64")]
        if self.in_pairs() {
            return Scratch { part: attention_bf16::grad_scratch(self), ..Scratch::default() };
        }
        Scratch { part: attention::grad_scratch(self), ..Scratch::default() }
    }
}

/// `out = softmax(q' k'ᵀ) v` for every head.
///
/// # Shapes
///
/// `out` `[B, S, D]`, `lse` `[B, A, S]`: the logarithm of the softmax sum of each query, for
/// the gradient; `qkv` `[B, S, 3D]`: all heads of q, then of k, then of v.
pub fn attention(
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    attention::check(shape, qkv, lse, rope);
    assert_eq!(out.len() * 3, qkv.len());
    #[cfg(target_arch = "x86_64")]
    if shape.in_pairs() {
        return attention_bf16::attention(out, lse, qkv, rope, shape);
    }
    attention::attention(out, lse, qkv, rope, shape);
}

/// Gradient of [`attention`](fn@attention) with respect to `qkv`, before rotation.
///
/// # Shapes
///
/// `dqkv`, `qkv` `[B, S, 3D]`, `lse` `[B, A, S]` as the forward pass left it, `dout` `[B, S, D]`.
pub fn attention_grad(
    dqkv: &mut [f32],
    qkv: &[f32],
    lse: &[f32],
    dout: &[f32],
    rope: Option<Rope<'_>>,
    shape: AttentionShape,
) {
    attention::check(shape, qkv, lse, rope);
    assert_eq!(dqkv.len(), qkv.len());
    assert_eq!(dout.len() * 3, qkv.len());
    #[cfg(target_arch = "x86_64")]
    if shape.in_pairs() {
        return attention_bf16::attention_grad(dqkv, qkv, lse, dout, rope, shape);
    }
    attention::attention_grad(dqkv, qkv, lse, dout, rope, shape);
}
