//! One block of a network, and the stack of them.

use super::Lowering;
use super::parameters::{BlockNames, LinearNames, NormNames, grid_columns, grid_rows};
use crate::graph::ops::{
    Add, AddSuffix, Attention, Dropout, Gelu, GridPositions, LayerNorm, Linear, RmsNorm, Rotate, SwiGlu,
    Transpose,
};
use crate::graph::{TensorType, Value};
use crate::ir::{Block, FeedForward, Mixing, Network, Norm};

impl Lowering<'_> {
    /// Runs the stack of blocks of `network` on `x [B, P + S, D]`. With `kept`, the place of an update in its segment, the
    /// queries, keys and values are outputs.
    pub(super) fn network(&mut self, network: &Network, mut x: Value, kept: Option<usize>) -> Value {
        if network.block.grid.is_some() {
            x = self.place_on_grid(network, x);
        }
        for layer in 0..network.layers {
            let names = BlockNames::new(&network.stored_as, layer);
            let kept = kept.map(|update| self.scope.qkv(update, layer));
            x = self.block(&names, &network.block, x, kept.as_deref());
        }
        x
    }

    /// Adds the vectors of rows and columns to the tokens.
    fn place_on_grid(&mut self, network: &Network, x: Value) -> Value {
        let [rows, columns] = [grid_rows, grid_columns].map(|name| self.weight(&name(&network.stored_as)));
        let prefix = self.model.prefix_positions();
        let positions = self.graph.add1(GridPositions { prefix }.into(), &[rows, columns]);
        self.graph.add1(AddSuffix.into(), &[x, positions])
    }

    /// `x = norm(x + mix(x)); x = norm(x + unit(x))`, or with the norm before each half.
    fn block(&mut self, names: &BlockNames, block: &Block, x: Value, kept: Option<&str>) -> Value {
        let x = match block.mixing {
            Mixing::Attention { heads, rope_theta } => {
                let read = self.norm_before(block, &names.first_norm(), x);
                let qkv = self.linear(block, &names.qkv(), read);
                if let Some(name) = kept {
                    self.graph.set_output(name, qkv);
                }
                let mixed = self.attention(heads, rope_theta, qkv);
                let out = self.linear(block, &names.attention_out(), mixed);
                self.add_half(block, x, out)
            }
            Mixing::Mlp { .. } => self.mixer(names, block, x),
        };
        let read = self.norm_before(block, &names.second_norm(), x);
        let out = self.unit(block, block.unit, &names.up(block.unit), &names.down(), read);
        self.add_half(block, x, out)
    }

    fn attention(&mut self, heads: usize, rope_theta: Option<f32>, mut qkv: Value) -> Value {
        if let Some(theta) = rope_theta {
            qkv = self.graph.add1(Rotate { heads, theta, inverse: false }.into(), &[qkv]);
        }
        self.graph.add(Attention { heads, rope_theta: None }.into(), &[qkv])[Attention::OUT]
    }

    /// The gated unit over the positions of each channel: `norm(xᵀ + swiglu(xᵀ))ᵀ`, or `x + swiglu(norm(x)ᵀ)ᵀ`.
    fn mixer(&mut self, names: &BlockNames, block: &Block, x: Value) -> Value {
        let read = self.norm_before(block, &names.first_norm(), x);
        let transposed = self.graph.add1(Transpose.into(), &[read]);
        let (up, down) = (names.mixer_up(), names.mixer_down());
        let out = self.unit(block, FeedForward::SwiGlu, &up, &down, transposed);
        match block.norm {
            Norm::PostRms => {
                let mixed = self.add_half(block, transposed, out);
                self.graph.add1(Transpose.into(), &[mixed])
            }
            Norm::PreRms | Norm::PreLayer => {
                let out = self.graph.add1(Transpose.into(), &[out]);
                self.add_half(block, x, out)
            }
        }
    }

    /// `down(swiglu(up(x)))` or `down(gelu(up(x)))`.
    fn unit(
        &mut self,
        block: &Block,
        unit: FeedForward,
        up: &LinearNames,
        down: &LinearNames,
        x: Value,
    ) -> Value {
        let wide = self.linear(block, up, x);
        let hidden = match unit {
            FeedForward::SwiGlu => self.graph.add1(SwiGlu.into(), &[wide]),
            FeedForward::Gelu => self.graph.add1(Gelu.into(), &[wide]),
        };
        self.linear(block, down, hidden)
    }

    /// Adds the result of half a block, of which dropout takes its share, and applies the norm that stands behind it.
    fn add_half(&mut self, block: &Block, x: Value, out: Value) -> Value {
        let out = self.dropout(block, out);
        let sum = self.graph.add1(Add.into(), &[x, out]);
        match block.norm {
            Norm::PostRms => self.rms_norm(block, sum),
            Norm::PreRms | Norm::PreLayer => sum,
        }
    }

    /// Applies the norm that stands before half a block.
    fn norm_before(&mut self, block: &Block, names: &NormNames, x: Value) -> Value {
        match block.norm {
            Norm::PostRms => x,
            Norm::PreRms | Norm::PreLayer => self.norm(block, names, x),
        }
    }

    /// Applies the norm of a block.
    pub(super) fn norm(&mut self, block: &Block, names: &NormNames, x: Value) -> Value {
        match block.norm {
            Norm::PostRms | Norm::PreRms => self.rms_norm(block, x),
            Norm::PreLayer => {
                let [scale, shift] = [names.scale(), names.shift()].map(|name| self.weight(&name));
                let norm = LayerNorm { eps: block.norm_eps };
                self.graph.add(norm.into(), &[x, scale, shift])[LayerNorm::Y]
            }
        }
    }

    fn rms_norm(&mut self, block: &Block, x: Value) -> Value {
        self.graph.add(RmsNorm { eps: block.norm_eps }.into(), &[x])[RmsNorm::Y]
    }

    fn dropout(&mut self, block: &Block, x: Value) -> Value {
        let rate = self.dropout_rate(block);
        if rate == 0.0 {
            return x;
        }
        let site = self.dropout_sites;
        self.dropout_sites += 1;
        let keys = TensorType::i32(&[self.sizes.batch]);
        let keys = self.graph.input(&self.scope.dropout_keys(), keys);
        self.graph.add1(Dropout { rate, site }.into(), &[x, keys])
    }

    fn linear(&mut self, block: &Block, names: &LinearNames, x: Value) -> Value {
        let bias = block.bias.then(|| names.bias());
        self.map(x, &names.weight(), bias.as_deref())
    }

    /// Returns a linear map of `x`, with a bias if it has one.
    pub(super) fn map(&mut self, x: Value, weight: &str, bias: Option<&str>) -> Value {
        let weight = self.weight(weight);
        let y = self.graph.add1(Linear.into(), &[x, weight]);
        match bias {
            Some(bias) => {
                let bias = self.weight(bias);
                self.graph.add1(AddSuffix.into(), &[y, bias])
            }
            None => y,
        }
    }
}
