//! The weights of a model, under the names of the published state dict.

use super::Sizes;
use crate::graph::TensorType;
use crate::ir::{Mixing, Model, Normal, QOutputs};

/// Token embedding `[V, D]`.
pub const EMBED_TOKENS: &str = "inner.embed_tokens.embedding_weight";
/// Learned positions `[P + S, D]`.
pub const EMBED_POSITIONS: &str = "inner.embed_pos.embedding_weight";
/// Puzzle table `[ids, width]`.
pub const PUZZLE_TABLE: &str = "inner.puzzle_emb.weights";
/// Head of the tokens `[V, D]`.
pub const TOKEN_HEAD: &str = "inner.lm_head.weight";
/// Head of the Q values, `[outputs, D]`.
pub const Q_HEAD: &str = "inner.q_head.weight";
/// Bias of the Q values, `[outputs]`.
pub const Q_BIAS: &str = "inner.q_head.bias";

/// Who updates a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The optimizer.
    Trained,
    /// The optimizer of the puzzle table.
    PuzzleTable,
    /// Nobody: the initial state, drawn once.
    Fixed,
}

/// How a weight begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// Truncated normal.
    Normal(Normal),
    /// The same value everywhere.
    Constant(f32),
}

/// One weight of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name in the state dict.
    pub name: String,
    /// Sizes.
    pub shape: Vec<usize>,
    /// Who updates it.
    pub role: Role,
    /// How it begins.
    pub init: Init,
    /// Network it belongs to, by its name in the spec; `None` for embeddings, heads and initial states.
    pub network: Option<String>,
}

impl Parameter {
    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the type.
    pub fn ty(&self) -> TensorType {
        TensorType::f32(&self.shape)
    }
}

/// Names of the weights of one block.
pub(super) struct BlockNames {
    prefix: String,
}

impl BlockNames {
    pub(super) fn new(stored_as: &str, layer: usize) -> Self {
        BlockNames { prefix: format!("inner.{stored_as}.layers.{layer}.") }
    }

    pub(super) fn qkv(&self) -> String {
        format!("{}self_attn.qkv_proj.weight", self.prefix)
    }

    pub(super) fn attention_out(&self) -> String {
        format!("{}self_attn.o_proj.weight", self.prefix)
    }

    pub(super) fn mixer_gate_up(&self) -> String {
        format!("{}mlp_t.gate_up_proj.weight", self.prefix)
    }

    pub(super) fn mixer_down(&self) -> String {
        format!("{}mlp_t.down_proj.weight", self.prefix)
    }

    pub(super) fn gate_up(&self) -> String {
        format!("{}mlp.gate_up_proj.weight", self.prefix)
    }

    pub(super) fn down(&self) -> String {
        format!("{}mlp.down_proj.weight", self.prefix)
    }
}

/// Returns the number of Q values.
pub fn q_outputs(outputs: QOutputs) -> usize {
    match outputs {
        QOutputs::HaltContinue => 2,
        QOutputs::Halt => 1,
    }
}

/// Returns every weight of `model`, in a fixed order; `puzzle_rows` is the number of puzzle identifiers.
///
/// Weights begin as a normal distribution cut at two standard deviations, with standard deviation
/// `1 / sqrt(width of the last axis)`; Q weights and the puzzle table begin at zero.
pub fn parameters(model: &Model, puzzle_rows: usize) -> Vec<Parameter> {
    let width = model.hidden;
    let mut all = Vec::new();
    let mut add = |name: String, shape: Vec<usize>, role: Role, init: Option<Init>, network: Option<&str>| {
        let std = 1.0 / (shape[shape.len() - 1] as f32).sqrt();
        let init = init.unwrap_or(Init::Normal(Normal { std, truncate: 2.0 }));
        all.push(Parameter { name, shape, role, init, network: network.map(str::to_string) });
    };
    for state in &model.states {
        let init = Init::Normal(state.init.clone());
        add(state_init(&state.stored_as), vec![width], Role::Fixed, Some(init), None);
    }
    add(EMBED_TOKENS.to_string(), vec![model.tokens.vocab, width], Role::Trained, None, None);
    if model.tokens.learned_positions {
        add(EMBED_POSITIONS.to_string(), vec![model.total_positions(), width], Role::Trained, None, None);
    }
    if let Some(puzzles) = &model.puzzles {
        let zero = Some(Init::Constant(0.0));
        add(PUZZLE_TABLE.to_string(), vec![puzzle_rows, puzzles.width], Role::PuzzleTable, zero, None);
    }
    for network in &model.networks {
        let owner = Some(network.name.as_str());
        for layer in 0..network.layers {
            let names = BlockNames::new(&network.stored_as, layer);
            let mut weight = |name: String, rows: usize, columns: usize| {
                add(name, vec![rows, columns], Role::Trained, None, owner);
            };
            match network.block.mixing {
                Mixing::Attention { .. } => {
                    weight(names.qkv(), 3 * width, width);
                    weight(names.attention_out(), width, width);
                }
                Mixing::Mlp { inner } => {
                    let positions = model.total_positions();
                    weight(names.mixer_gate_up(), 2 * inner, positions);
                    weight(names.mixer_down(), positions, inner);
                }
            }
            weight(names.gate_up(), 2 * network.block.inner, width);
            weight(names.down(), width, network.block.inner);
        }
    }
    add(TOKEN_HEAD.to_string(), vec![model.tokens.vocab, width], Role::Trained, None, None);
    if let Some(head) = &model.q_head {
        let outputs = q_outputs(head.outputs);
        add(Q_HEAD.to_string(), vec![outputs, width], Role::Trained, Some(Init::Constant(0.0)), None);
        add(Q_BIAS.to_string(), vec![outputs], Role::Trained, Some(Init::Constant(head.bias)), None);
    }
    all
}

/// Returns the state-dict name of an initial state.
pub fn state_init(stored_as: &str) -> String {
    format!("inner.{stored_as}")
}

/// Returns the elements of the weights that are trained.
pub fn trained_parameters(model: &Model, sizes: Sizes) -> u64 {
    parameters(model, sizes.puzzle_rows)
        .iter()
        .filter(|parameter| parameter.role != Role::Fixed)
        .map(|parameter| parameter.elements() as u64)
        .sum()
}
