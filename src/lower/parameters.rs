//! The weights of a model, under the names of the published state dict.

use super::Sizes;
use crate::graph::TensorType;
use crate::ir::{FeedForward, Mixing, Model, Network, Norm, Normal, QOutputs, StateInit, Update};

/// Token embedding `[V, D]`.
pub const EMBED_TOKENS: &str = "inner.embed_tokens.embedding_weight";
/// Learned positions `[P + S, D]`.
pub const EMBED_POSITIONS: &str = "inner.embed_pos.embedding_weight";
/// Puzzle table `[ids, width]`.
pub const PUZZLE_TABLE: &str = "inner.puzzle_emb.weights";
/// Linear map of the candidates, `[D, K]`.
pub const EMBED_CANDIDATES: &str = "inner.embed_candidates.weight";
/// Its bias, `[D]`.
pub const EMBED_CANDIDATES_BIAS: &str = "inner.embed_candidates.bias";
/// Learned vectors before the tokens, `[P, D]`.
pub const PREFIX: &str = "inner.prefix.weight";
/// Bias of the tokens, `[V]`, or `[K]` with candidates.
pub const TOKEN_BIAS: &str = "inner.lm_head.bias";
/// Head of the candidates that are to be kept, `[K, D]`.
pub const KEEP_HEAD: &str = "inner.keep_head.weight";
/// Its bias, `[K]`.
pub const KEEP_BIAS: &str = "inner.keep_head.bias";
/// Head of the conflict, `[1, D]`.
pub const CONFLICT_HEAD: &str = "inner.conflict_head.weight";
/// Its bias, `[1]`.
pub const CONFLICT_BIAS: &str = "inner.conflict_head.bias";
/// Head of the tokens `[V, D]`, or `[K, D]` with candidates.
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
    /// Whether the optimizer lets it decay.
    pub decays: bool,
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

    fn of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn qkv(&self) -> LinearNames {
        LinearNames(self.of("self_attn.qkv_proj"))
    }

    pub(super) fn attention_out(&self) -> LinearNames {
        LinearNames(self.of("self_attn.o_proj"))
    }

    pub(super) fn mixer_up(&self) -> LinearNames {
        LinearNames(self.of("mlp_t.gate_up_proj"))
    }

    pub(super) fn mixer_down(&self) -> LinearNames {
        LinearNames(self.of("mlp_t.down_proj"))
    }

    /// Gate and up of a gated unit, or up alone.
    pub(super) fn up(&self, unit: FeedForward) -> LinearNames {
        LinearNames(match unit {
            FeedForward::SwiGlu => self.of("mlp.gate_up_proj"),
            FeedForward::Gelu => self.of("mlp.up_proj"),
        })
    }

    pub(super) fn down(&self) -> LinearNames {
        LinearNames(self.of("mlp.down_proj"))
    }

    /// The norm before the first half.
    pub(super) fn first_norm(&self) -> NormNames {
        NormNames(self.of("norm_1"))
    }

    /// The norm before the second half.
    pub(super) fn second_norm(&self) -> NormNames {
        NormNames(self.of("norm_2"))
    }
}

/// Names of the weights of a linear map.
pub(super) struct LinearNames(String);

impl LinearNames {
    pub(super) fn weight(&self) -> String {
        format!("{}.weight", self.0)
    }

    pub(super) fn bias(&self) -> String {
        format!("{}.bias", self.0)
    }
}

/// Names of the weights of a norm of layers.
pub(super) struct NormNames(String);

impl NormNames {
    /// The norm around a network.
    pub(super) fn around(stored_as: &str) -> NormNames {
        NormNames(format!("inner.{stored_as}.norm"))
    }

    pub(super) fn scale(&self) -> String {
        format!("{}.weight", self.0)
    }

    pub(super) fn shift(&self) -> String {
        format!("{}.bias", self.0)
    }
}

/// Name of the vectors of the rows of the grid that a network reads, `[side, D]`.
pub(super) fn grid_rows(stored_as: &str) -> String {
    format!("inner.{stored_as}.row_positions.weight")
}

/// Name of the vectors of its columns, `[side, D]`.
pub(super) fn grid_columns(stored_as: &str) -> String {
    format!("inner.{stored_as}.column_positions.weight")
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
/// `1 / sqrt(width of the last axis)`; Q weights and the puzzle table begin at zero. In a block with a norm before each
/// half, what leads into the residual stream begins with half of that deviation, and so do the heads of a model with
/// candidates. Biases begin at zero, scales of norms at 1.
pub fn parameters(model: &Model, puzzle_rows: usize) -> Vec<Parameter> {
    let mut list = ParameterList { model, all: Vec::new(), network: None };
    let width = model.hidden;
    for state in &model.states {
        if let StateInit::Normal(normal) = &state.init {
            let init = Init::Normal(normal.clone());
            list.add(state_init(&state.stored_as), vec![width], Role::Fixed, Some(init));
        }
    }
    match model.candidates {
        Some(candidates) => {
            list.matrix(EMBED_CANDIDATES.to_string(), width, candidates.values, 1.0);
            list.vector(EMBED_CANDIDATES_BIAS.to_string(), width, 0.0);
        }
        None => list.matrix(EMBED_TOKENS.to_string(), model.tokens.vocab, width, 1.0),
    }
    if model.tokens.learned_positions {
        list.matrix(EMBED_POSITIONS.to_string(), model.total_positions(), width, 1.0);
    }
    if let Some(prefix) = &model.prefix {
        list.positions(PREFIX.to_string(), prefix.positions, prefix.std);
    }
    if let Some(puzzles) = &model.puzzles {
        let zero = Some(Init::Constant(0.0));
        list.add(PUZZLE_TABLE.to_string(), vec![puzzle_rows, puzzles.width], Role::PuzzleTable, zero);
    }
    for network in &model.networks {
        list.network(network);
    }
    list.heads();
    list.all
}

/// The weights of a model so far.
struct ParameterList<'a> {
    model: &'a Model,
    all: Vec<Parameter>,
    /// The network whose weights are being listed.
    network: Option<&'a str>,
}

impl<'a> ParameterList<'a> {
    fn add(&mut self, name: String, shape: Vec<usize>, role: Role, init: Option<Init>) {
        let std = 1.0 / (shape[shape.len() - 1] as f32).sqrt();
        let init = init.unwrap_or(Init::Normal(Normal { std, truncate: 2.0 }));
        let network = self.network.map(str::to_string);
        self.all.push(Parameter { name, shape, role, init, decays: true, network });
    }

    /// Adds `[rows, columns]` that begins with `part` of the usual deviation.
    fn matrix(&mut self, name: String, rows: usize, columns: usize, part: f32) {
        let std = part / (columns as f32).sqrt();
        let init = Init::Normal(Normal { std, truncate: 2.0 });
        self.add(name, vec![rows, columns], Role::Trained, Some(init));
    }

    /// Adds a vector that begins with one value and does not decay.
    fn vector(&mut self, name: String, width: usize, value: f32) {
        self.add(name, vec![width], Role::Trained, Some(Init::Constant(value)));
        self.do_not_decay();
    }

    /// Adds vectors of places, which do not decay.
    fn positions(&mut self, name: String, count: usize, std: f32) {
        let init = Init::Normal(Normal { std, truncate: 2.0 });
        self.add(name, vec![count, self.model.hidden], Role::Trained, Some(init));
        self.do_not_decay();
    }

    fn do_not_decay(&mut self) {
        if let Some(last) = self.all.last_mut() {
            last.decays = false;
        }
    }

    /// Adds the matrix `[rows, columns]` of a linear map, and its bias if the block has some.
    fn linear(&mut self, names: &LinearNames, has_bias: bool, rows: usize, columns: usize, part: f32) {
        self.matrix(names.weight(), rows, columns, part);
        if has_bias {
            self.vector(names.bias(), rows, 0.0);
        }
    }

    fn norm(&mut self, names: &NormNames) {
        self.vector(names.scale(), self.model.hidden, 1.0);
        self.vector(names.shift(), self.model.hidden, 0.0);
    }

    fn network(&mut self, network: &'a Network) {
        self.network = Some(network.name.as_str());
        let (model, block) = (self.model, &network.block);
        let (width, positions) = (model.hidden, model.total_positions());
        if let Some(std) = block.grid {
            let side = model.tokens.positions.isqrt();
            self.positions(grid_rows(&network.stored_as), side, std);
            self.positions(grid_columns(&network.stored_as), side, std);
        }
        // What a norm before each half adds to the residual stream is small at first.
        let into_stream = if block.norm == Norm::PostRms { 1.0 } else { 0.5 };
        for layer in 0..network.layers {
            let names = BlockNames::new(&network.stored_as, layer);
            if block.norm == Norm::PreLayer {
                self.norm(&names.first_norm());
            }
            match block.mixing {
                Mixing::Attention { .. } => {
                    self.linear(&names.qkv(), block.bias, 3 * width, width, 1.0);
                    self.linear(&names.attention_out(), block.bias, width, width, into_stream);
                }
                Mixing::Mlp { inner } => {
                    self.linear(&names.mixer_up(), block.bias, 2 * inner, positions, 1.0);
                    self.linear(&names.mixer_down(), block.bias, positions, inner, into_stream);
                }
            }
            if block.norm == Norm::PreLayer {
                self.norm(&names.second_norm());
            }
            let wide = match block.unit {
                FeedForward::SwiGlu => 2 * block.inner,
                FeedForward::Gelu => block.inner,
            };
            self.linear(&names.up(block.unit), block.bias, wide, width, 1.0);
            self.linear(&names.down(), block.bias, width, block.inner, into_stream);
        }
        if block.norm == Norm::PreLayer && has_norm_around(model, network) {
            self.norm(&NormNames::around(&network.stored_as));
        }
        self.network = None;
    }

    fn heads(&mut self) {
        let model = self.model;
        let (width, predicted) = (model.hidden, model.predicted_tokens());
        let part = if model.candidates.is_some() { 0.5 } else { 1.0 };
        self.matrix(TOKEN_HEAD.to_string(), predicted, width, part);
        if let Some(bias) = model.token_head.bias {
            self.vector(TOKEN_BIAS.to_string(), predicted, bias);
        }
        if model.keep_head.is_some() {
            self.matrix(KEEP_HEAD.to_string(), predicted, width, part);
            self.vector(KEEP_BIAS.to_string(), predicted, 0.0);
        }
        if model.conflict_head.is_some() {
            self.matrix(CONFLICT_HEAD.to_string(), 1, width, part);
            self.vector(CONFLICT_BIAS.to_string(), 1, 0.0);
        }
        if let Some(head) = &model.q_head {
            let outputs = q_outputs(head.outputs);
            let (zero, bias) = (Init::Constant(0.0), Init::Constant(head.bias));
            self.add(Q_HEAD.to_string(), vec![outputs, width], Role::Trained, Some(zero));
            self.add(Q_BIAS.to_string(), vec![outputs], Role::Trained, Some(bias));
        }
    }
}

/// Returns whether an update applies the norm around a network.
fn has_norm_around(model: &Model, network: &Network) -> bool {
    let is_around =
        |update: &&Update| update.around.is_some() && model.networks[update.network.0].name == network.name;
    model.updates().iter().any(is_around)
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
