//! Recorded models: configuration and tensors of a parity fixture.
//!
//! `NAME.json` holds the configuration, the noise of each group of tensors, and an index; the tensors are
//! in `NAME.safetensors` beside it.

#![expect(clippy::disallowed_methods, reason = "recorded models are read")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::ir::{
    Adam, Block, Data, Gradient, Halt, Length, Loss, Mixing, Model, Network, NetworkId, Normal, Operand,
    Optimizer, Precision, Puzzles, QHead, QOutputs, QTarget, Repeat, Schedule, ScheduleShape, SignSgd, State,
    StateId, Step, TokenHead, Tokens, Train, Update, gated_width,
};
use crate::system;

/// Why a fixture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("`{path}` is no fixture: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Arch {
    #[default]
    Hrm,
    Trm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Positions {
    Rope,
    Learned,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LossName {
    Stablemax,
    Softmax,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(non_snake_case, reason = "the names of the published configuration")]
struct ModelConfig {
    vocab_size: usize,
    seq_len: usize,
    hidden_size: usize,
    num_heads: usize,
    expansion: f64,
    H_cycles: usize,
    L_cycles: usize,
    H_layers: usize,
    L_layers: usize,
    pos_encodings: Positions,
    rms_norm_eps: f32,
    rope_theta: f32,
    puzzle_emb_ndim: usize,
    num_puzzle_identifiers: usize,
    halt_max_steps: usize,
    halt_exploration_prob: f32,
    loss_type: LossName,
    forward_dtype: String,
    #[serde(default)]
    mlp_t: bool,
    #[serde(default)]
    puzzle_emb_len: usize,
    #[serde(default)]
    no_ACT_continue: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainConfig {
    total_steps: u64,
    lr: f64,
    lr_min_ratio: f64,
    lr_warmup_steps: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
    puzzle_emb_lr: f64,
    puzzle_emb_weight_decay: f64,
    #[serde(default)]
    ema: bool,
    #[serde(default)]
    ema_rate: f64,
}

/// How far apart an f32 and an f64 evaluation of a group of tensors are.
#[derive(Debug, Clone, Deserialize)]
pub struct Noise {
    /// Largest difference.
    pub f32_vs_f64_max_abs: f64,
    /// Largest absolute value.
    pub max_abs: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Config {
    name: String,
    #[serde(default)]
    arch: Arch,
    batch: usize,
    model: ModelConfig,
    train: TrainConfig,
    segments: usize,
    optimizer_steps: usize,
    noise: BTreeMap<String, Noise>,
}

/// Values of a recorded tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedValues {
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// 32-bit integers; booleans are 0 and 1.
    I32(Vec<i32>),
}

impl RecordedValues {
    /// Returns the values as f64.
    pub fn wide(&self) -> Vec<f64> {
        match self {
            RecordedValues::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
            RecordedValues::I32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        }
    }
}

/// A recorded model with what it computed.
///
/// # Examples
///
/// ```
/// let missing = hrmc::Fixture::open("tests/fixtures/none.json".as_ref()).expect_err("there is no such record");
/// println!("{missing}");
/// ```
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Name.
    pub name: String,
    /// The model it records, built like a spec's.
    pub model: Model,
    /// Rows in a batch.
    pub batch: usize,
    /// Puzzle identifiers of the table.
    pub puzzle_rows: usize,
    /// Training-mode calls with fixed weights.
    pub segments: usize,
    /// Calls with an update each.
    pub optimizer_steps: usize,
    /// Steps of the whole schedule.
    pub total_steps: u64,
    /// Noise by group.
    pub noise: BTreeMap<String, Noise>,
    /// All tensors.
    pub tensors: BTreeMap<String, RecordedValues>,
}

impl Fixture {
    /// Reads `path`, a `.json` file with the `.safetensors` file beside it.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file and the reason.
    pub fn open(path: &Path) -> Result<Self, FixtureError> {
        let text = read(path)?;
        let config: Config = serde_json::from_slice(&text)
            .map_err(|error| FixtureError::Format { path: path.to_path_buf(), reason: error.to_string() })?;
        let wrong = |reason: String| FixtureError::Format { path: path.to_path_buf(), reason };
        let model = build(&config).map_err(wrong)?;
        let tensors_path = path.with_extension("safetensors");
        let bytes = read(&tensors_path)?;
        let tensors = read_tensors(&bytes)
            .map_err(|reason| FixtureError::Format { path: tensors_path.clone(), reason })?;
        let fixture = Fixture {
            name: config.name,
            model,
            batch: config.batch,
            puzzle_rows: config.model.num_puzzle_identifiers,
            segments: config.segments,
            optimizer_steps: config.optimizer_steps,
            total_steps: config.train.total_steps,
            noise: config.noise,
            tensors,
        };
        fixture.check_inputs().map_err(|reason| FixtureError::Format { path: tensors_path, reason })?;
        Ok(fixture)
    }

    /// Replaces the arithmetic of the model, which is f32 as it was for the record.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        if let Some(train) = &mut self.model.train {
            train.precision = precision;
        }
        self
    }

    /// Returns an f32 tensor that [`Fixture::open`] found.
    pub fn f32(&self, name: &str) -> &[f32] {
        match &self.tensors[name] {
            RecordedValues::F32(values) => values,
            RecordedValues::I32(_) => panic!("`{name}` was checked to hold f32"),
        }
    }

    /// Returns an i32 tensor that [`Fixture::open`] found.
    pub fn i32(&self, name: &str) -> &[i32] {
        match &self.tensors[name] {
            RecordedValues::I32(values) => values,
            RecordedValues::F32(_) => panic!("`{name}` was checked to hold i32"),
        }
    }

    /// Returns the names of the states in the tensors' names, in the order of the model's states.
    pub fn state_names(&self) -> [&'static str; 2] {
        ["z_H", "z_L"]
    }

    /// Checks that every tensor a run needs is there with the right size.
    fn check_inputs(&self) -> Result<(), String> {
        let (batch, tokens) = (self.batch, self.batch * self.model.tokens.positions);
        let width = self.batch * self.model.total_positions() * self.model.hidden;
        let mut needed: Vec<(String, usize, bool)> = Vec::new();
        for parameter in crate::lower::parameters::parameters(&self.model, self.puzzle_rows) {
            needed.push((format!("param.{}", parameter.name), parameter.elements(), true));
        }
        for state in self.state_names() {
            needed.push((format!("carry.{state}"), width, true));
        }
        for name in ["steps", "halted"] {
            needed.push((format!("carry.{name}"), batch, false));
        }
        let batches =
            (0..self.segments.max(self.optimizer_steps).max(1)).map(|index| format!("batch.{index}"));
        for prefix in std::iter::once("carry".to_string()).chain(batches) {
            needed.push((format!("{prefix}.inputs"), tokens, false));
            needed.push((format!("{prefix}.labels"), tokens, false));
            needed.push((format!("{prefix}.puzzle_identifiers"), batch, false));
        }
        for (name, elements, is_float) in needed {
            match self.tensors.get(&name) {
                None => return Err(format!("tensor `{name}` is missing")),
                Some(RecordedValues::F32(values)) if is_float && values.len() == elements => {}
                Some(RecordedValues::I32(values)) if !is_float && values.len() == elements => {}
                Some(_) => {
                    return Err(format!(
                        "tensor `{name}` does not have {elements} elements of the right type"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FixtureError> {
    std::fs::read(path)
        .map_err(|error| FixtureError::Read { path: path.to_path_buf(), reason: system::reason(&error) })
}

fn read_tensors(bytes: &[u8]) -> Result<BTreeMap<String, RecordedValues>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let words = view.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
            let values = match view.dtype() {
                Dtype::F32 => RecordedValues::F32(words.map(f32::from_le_bytes).collect()),
                Dtype::I32 => RecordedValues::I32(words.map(i32::from_le_bytes).collect()),
                other => return Err(format!("tensor `{name}` has type {other:?}, expected F32 or I32")),
            };
            Ok((name, values))
        })
        .collect()
}

/// Builds the recorded model. States are the answer (`z_H`), then the latent (`z_L`).
fn build(config: &Config) -> Result<Model, String> {
    let m = &config.model;
    let width = m.hidden_size;
    if m.forward_dtype != "float32" {
        return Err(format!("`forward_dtype` is `{}`, expected `float32`", m.forward_dtype));
    }
    let trm = config.arch == Arch::Trm;
    if m.mlp_t && !trm {
        return Err("`mlp_t` needs `arch` = `trm`".to_string());
    }
    if !m.mlp_t && (m.num_heads == 0 || !width.is_multiple_of(m.num_heads)) {
        return Err(format!("{} heads do not divide a width of {width}", m.num_heads));
    }
    let positions = match m.puzzle_emb_len {
        0 => m.puzzle_emb_ndim.div_ceil(width),
        length => length,
    };
    if (m.puzzle_emb_ndim == 0) != (positions == 0) || m.puzzle_emb_ndim > positions * width {
        return Err(format!(
            "a puzzle vector of {} does not fit {positions} positions of {width}",
            m.puzzle_emb_ndim
        ));
    }
    let puzzles = (m.puzzle_emb_ndim > 0).then_some(Puzzles { width: m.puzzle_emb_ndim, positions });
    let total = positions + m.seq_len;
    let rope_theta = (m.pos_encodings == Positions::Rope).then_some(m.rope_theta);
    let mixing = if m.mlp_t {
        Mixing::Mlp { inner: gated_width(m.expansion, total, 256) }
    } else {
        Mixing::Attention { heads: m.num_heads, rope_theta }
    };
    let block = Block { mixing, inner: gated_width(m.expansion, width, 256), norm_eps: m.rms_norm_eps };
    let network = |name: &str, layers: usize| Network {
        name: name.to_string(),
        stored_as: format!("{name}_level"),
        layers,
        block: block.clone(),
    };
    let networks = if trm {
        vec![network("L", m.L_layers)]
    } else {
        vec![network("L", m.L_layers), network("H", m.H_layers)]
    };
    let state = |name: &str| State {
        name: format!("z_{name}"),
        stored_as: format!("{name}_init"),
        init: Normal { std: 1.0, truncate: 2.0 },
    };
    let (high, low) = (StateId(0), StateId(1));
    let step_low = Step::Update(Update {
        state: low,
        network: NetworkId(0),
        operands: vec![Operand::State(high), Operand::Input, Operand::State(low)],
    });
    let step_high = Step::Update(Update {
        state: high,
        network: NetworkId(networks.len() - 1),
        operands: vec![Operand::State(high), Operand::State(low)],
    });
    let steps = Repeat { label: Some("step".to_string()), count: m.L_cycles, body: vec![step_low] };
    let cycle = Repeat {
        label: Some("cycle".to_string()),
        count: m.H_cycles,
        body: vec![Step::Repeat(steps), step_high],
    };
    let gradient =
        if trm { Gradient::Last { count: 1, label: "cycle".to_string() } } else { Gradient::OneStep };
    let (max_segments, explore) = (m.halt_max_steps, m.halt_exploration_prob);
    let halt = if m.no_ACT_continue {
        Halt::Bce { max_segments, explore }
    } else {
        Halt::QLearning { max_segments, explore, target: QTarget::Bootstrap }
    };
    let t = &config.train;
    let train = Train {
        data: Data::Folder(String::new()),
        loss: match m.loss_type {
            LossName::Stablemax => Loss::Stablemax,
            LossName::Softmax => Loss::Softmax,
        },
        optimizer: Optimizer::AdamAtan2(Adam {
            lr: t.lr as f32,
            beta1: t.beta1 as f32,
            beta2: t.beta2 as f32,
            weight_decay: t.weight_decay as f32,
        }),
        puzzle_optimizer: puzzles.is_some().then_some(SignSgd {
            lr: t.puzzle_emb_lr as f32,
            weight_decay: t.puzzle_emb_weight_decay as f32,
        }),
        ema: t.ema.then_some(t.ema_rate as f32),
        schedule: Schedule {
            shape: ScheduleShape::Cosine,
            warmup_steps: t.lr_warmup_steps.round() as u64,
            min_ratio: t.lr_min_ratio as f32,
        },
        batch: config.batch,
        length: Length::Steps(t.total_steps),
        eval_every: None,
        precision: Precision::F32,
        seed: 0,
    };
    Ok(Model {
        name: config.name.clone(),
        hidden: width,
        tokens: Tokens {
            vocab: m.vocab_size,
            positions: m.seq_len,
            learned_positions: m.pos_encodings == Positions::Learned,
        },
        puzzles,
        networks,
        states: vec![state("H"), state("L")],
        segment: vec![Step::Repeat(cycle)],
        gradient,
        token_head: TokenHead { state: high },
        q_head: Some(QHead { state: high, position: 0, bias: -5.0, outputs: QOutputs::HaltContinue }),
        halt,
        infer: None,
        train: Some(train),
    })
}
