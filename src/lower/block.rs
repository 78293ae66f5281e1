//! One block of a network, and the stack of them.

use super::Lowering;
use super::parameters::BlockNames;
use crate::graph::Value;
use crate::graph::ops::{Add, Attention, Linear, RmsNorm, Rotate, SwiGlu, Transpose};
use crate::ir::{Block, Mixing, Network};

impl Lowering<'_> {
    /// Runs the stack of blocks of `network` on `x [B, P + S, D]`. With `kept`, the place of an update in its segment, the
    /// queries, keys and values are outputs.
    pub(super) fn network(&mut self, network: &Network, mut x: Value, kept: Option<usize>) -> Value {
        for layer in 0..network.layers {
            let names = BlockNames::new(&network.stored_as, layer);
            x = match network.block.mixing {
                Mixing::Attention { heads, rope_theta } => {
                    let qkv = self.linear(x, &names.qkv());
                    if let Some(update) = kept {
                        self.graph.set_output(&self.scope.qkv(update, layer), qkv);
                    }
                    self.attention(&names, &network.block, (heads, rope_theta), x, qkv)
                }
                Mixing::Mlp { .. } => self.mixer(&names, &network.block, x),
            };
            x = self.gated(&names.gate_up(), &names.down(), network.block.norm_eps, x);
        }
        x
    }

    /// `norm(x + o_proj(attention(qkv)))`, with `qkv = qkv_proj(x)`.
    fn attention(
        &mut self,
        names: &BlockNames,
        block: &Block,
        (heads, rope_theta): (usize, Option<f32>),
        x: Value,
        mut qkv: Value,
    ) -> Value {
        if let Some(theta) = rope_theta {
            qkv = self.graph.add1(Rotate { heads, theta, inverse: false }.into(), &[qkv]);
        }
        let mixed = self.graph.add(Attention { heads, rope_theta: None }.into(), &[qkv])[Attention::OUT];
        let out = self.linear(mixed, &names.attention_out());
        self.residual_norm(x, out, block.norm_eps)
    }

    /// `norm(xᵀ + swiglu(xᵀ))ᵀ`: the gated unit runs over the positions of each channel.
    fn mixer(&mut self, names: &BlockNames, block: &Block, x: Value) -> Value {
        let transposed = self.graph.add1(Transpose.into(), &[x]);
        let mixed = self.gated(&names.mixer_gate_up(), &names.mixer_down(), block.norm_eps, transposed);
        self.graph.add1(Transpose.into(), &[mixed])
    }

    /// `norm(x + down(swiglu(gate_up(x))))`.
    fn gated(&mut self, gate_up: &str, down: &str, eps: f32, x: Value) -> Value {
        let wide = self.linear(x, gate_up);
        let hidden = self.graph.add1(SwiGlu.into(), &[wide]);
        let out = self.linear(hidden, down);
        self.residual_norm(x, out, eps)
    }

    fn residual_norm(&mut self, x: Value, change: Value, eps: f32) -> Value {
        let sum = self.graph.add1(Add.into(), &[x, change]);
        self.graph.add(RmsNorm { eps }.into(), &[sum])[RmsNorm::Y]
    }

    pub(super) fn linear(&mut self, x: Value, weight: &str) -> Value {
        let weight = self.weight(weight);
        self.graph.add1(Linear.into(), &[x, weight])
    }
}
