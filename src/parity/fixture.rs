//! Recorded models: configuration and tensors of a parity fixture.
//!
//! `NAME.json` holds the configuration, the noise of each group of tensors, and an index; the tensors are
//! in `NAME.safetensors` beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::check::MAX_ROWS;
use crate::data::IGNORED_LABEL;
use crate::ir::{
    self, Adam, Augmentation, Block, Data, Gradient, Halt, Length, Loss, Mixing, Model, Network, NetworkId,
    Normal, OnDivergence, Operand, Optimizer, Precision, Puzzles, QHead, QOutputs, QTarget, Repeat, Schedule,
    ScheduleShape, SignSgd, State, StateId, Step, TokenHead, Tokens, Train, Update, gated_width,
};
use crate::reading;
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
        let unreadable = |path: &Path, error: io::Error| FixtureError::Read {
            path: path.to_path_buf(),
            reason: system::reason(&error),
        };
        let text = reading::text(path, &reading::FIXTURE).map_err(|error| unreadable(path, error))?;
        let beside = path.with_extension("safetensors");
        let tensors = reading::bytes(&beside, &reading::FIXTURE_TENSORS);
        Fixture::read(path, &text, &tensors.map_err(|error| unreadable(&beside, error))?)
    }

    /// Reads the text and the tensors of a fixture whose text is at `path`.
    ///
    /// # Errors
    ///
    /// As [`Fixture::open`].
    #[doc(hidden)]
    pub fn read(path: &Path, text: &str, tensors: &[u8]) -> Result<Self, FixtureError> {
        let wrong = |reason: String| FixtureError::Format { path: path.to_path_buf(), reason };
        let config: Config = reading::json::value(text).map_err(|fault| wrong(fault.to_string()))?;
        config.check().map_err(wrong)?;
        let model = build(&config).map_err(wrong)?;
        let tensors_path = path.with_extension("safetensors");
        let tensors = read_tensors(tensors)
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
        let has = |name: String, elements: usize, is_float: bool| match self.tensors.get(&name) {
            None => Err(format!("tensor `{name}` is missing")),
            Some(RecordedValues::F32(values)) if is_float && values.len() == elements => Ok(()),
            Some(RecordedValues::I32(values)) if !is_float && values.len() == elements => Ok(()),
            Some(_) => Err(format!("tensor `{name}` does not have {elements} elements of the right type")),
        };
        for parameter in crate::lower::parameters::parameters(&self.model, self.puzzle_rows) {
            has(format!("param.{}", parameter.name), parameter.elements(), true)?;
        }
        for state in self.state_names() {
            has(format!("carry.{state}"), width, true)?;
        }
        for name in ["steps", "halted"] {
            has(format!("carry.{name}"), batch, false)?;
        }
        // Their number is one that the file claims, so the first one that is missing ends this.
        let batches =
            (0..self.segments.max(self.optimizer_steps).max(1)).map(|index| format!("batch.{index}"));
        for prefix in std::iter::once("carry".to_string()).chain(batches) {
            has(format!("{prefix}.inputs"), tokens, false)?;
            has(format!("{prefix}.labels"), tokens, false)?;
            has(format!("{prefix}.puzzle_identifiers"), batch, false)?;
        }
        self.check_indices()
    }

    /// Checks the integers that kernels take for rows of a table.
    fn check_indices(&self) -> Result<(), String> {
        let vocab = self.model.tokens.vocab;
        for (name, values) in &self.tensors {
            let RecordedValues::I32(values) = values else { continue };
            let (count, besides) = match name.rsplit_once('.') {
                Some((_, "inputs")) => (vocab, None),
                Some((_, "labels")) => (vocab, Some(IGNORED_LABEL)),
                Some((_, "puzzle_identifiers")) => (self.puzzle_rows, None),
                _ => continue,
            };
            let fits = |value: i32| {
                usize::try_from(value).is_ok_and(|value| value < count) || Some(value) == besides
            };
            if let Some(wrong) = values.iter().find(|&&value| !fits(value)) {
                return Err(format!("tensor `{name}` has {wrong}, which is not below {count}"));
            }
        }
        Ok(())
    }
}

fn read_tensors(bytes: &[u8]) -> Result<BTreeMap<String, RecordedValues>, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("it is not a whole safetensors file ({error})"))?;
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

/// The smallest and the largest value of a figure.
type Bounds = std::ops::RangeInclusive<usize>;

/// Largest expansion of a gated unit, as in a spec.
const MAX_EXPANSION: f64 = 1_024.0;

/// Most blocks that one segment runs, as in a spec.
const MAX_BLOCKS: usize = 2_048;

impl Config {
    /// Checks that every figure is one that a model can have.
    fn check(&self) -> Result<(), String> {
        const SIZE: Bounds = 1..=MAX_ROWS as usize;
        const OR_NONE: Bounds = 0..=MAX_ROWS as usize;
        let m = &self.model;
        let figures = [
            ("batch", self.batch, SIZE),
            ("vocab_size", m.vocab_size, 2..=MAX_ROWS as usize),
            ("seq_len", m.seq_len, SIZE),
            ("hidden_size", m.hidden_size, SIZE),
            ("num_heads", m.num_heads, if m.mlp_t { OR_NONE } else { SIZE }),
            ("H_cycles", m.H_cycles, SIZE),
            ("L_cycles", m.L_cycles, SIZE),
            ("H_layers", m.H_layers, if self.arch == Arch::Trm { OR_NONE } else { SIZE }),
            ("L_layers", m.L_layers, SIZE),
            ("puzzle_emb_ndim", m.puzzle_emb_ndim, OR_NONE),
            ("puzzle_emb_len", m.puzzle_emb_len, OR_NONE),
            ("num_puzzle_identifiers", m.num_puzzle_identifiers, SIZE),
            ("halt_max_steps", m.halt_max_steps, SIZE),
            ("segments", self.segments, OR_NONE),
            ("optimizer_steps", self.optimizer_steps, OR_NONE),
        ];
        for (name, found, bounds) in figures {
            if !bounds.contains(&found) {
                return Err(format!("{name} is {found}, expected {} to {}", bounds.start(), bounds.end()));
            }
        }
        if !(m.expansion > 0.0 && m.expansion <= MAX_EXPANSION) {
            return Err(format!("expansion is {}, expected above 0 to {MAX_EXPANSION}", m.expansion));
        }
        if self.train.total_steps == 0 {
            return Err("total_steps is 0, expected at least 1".to_string());
        }
        let blocks = (m.L_cycles.checked_mul(m.L_layers))
            .and_then(|low| low.checked_add(m.H_layers.max(m.L_layers)))
            .and_then(|cycle| cycle.checked_mul(m.H_cycles));
        if blocks.is_none_or(|blocks| blocks > MAX_BLOCKS) {
            return Err(format!("H_cycles, L_cycles and layers make more than {MAX_BLOCKS} blocks"));
        }
        Ok(())
    }
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
    if !m.mlp_t && !width.is_multiple_of(m.num_heads) {
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
        data: Data::Folder("recorded".to_string()),
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
        eval_share: None,
        patience: None,
        precision: Precision::F32,
        augment: Augmentation::None,
        on_divergence: OnDivergence::Stop,
        seed: 0,
    };
    let model = Model {
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
    };
    match ir::validate(&model) {
        Ok(()) => Ok(model),
        Err(violations) => {
            Err(violations.into_iter().map(|ir::Violation(rule)| rule).collect::<Vec<_>>().join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use safetensors::SafeTensors;
    use serde_json::{Value, json};

    use super::Fixture;

    /// Returns the message about a fixture with one figure changed.
    fn said(fixture: &str, place: &str, value: Value) -> String {
        let file = |ending: &str| format!("tests/fixtures/{fixture}.{ending}");
        let text = fs::read_to_string(file("json")).expect("it is checked in");
        let mut config: Value = serde_json::from_str(&text).expect("it is JSON");
        *config.pointer_mut(place).expect("there is such a figure") = value;
        let tensors = fs::read(file("safetensors")).expect("it is checked in");
        let read = Fixture::read(Path::new("f.json"), &config.to_string(), &tensors);
        read.expect_err("no model has this figure").to_string()
    }

    #[test]
    fn a_figure_that_no_model_has_is_refused_by_name() {
        let sizes = [
            "batch",
            "model/vocab_size",
            "model/seq_len",
            "model/hidden_size",
            "model/num_heads",
            "model/H_cycles",
            "model/L_cycles",
            "model/H_layers",
            "model/L_layers",
            "model/num_puzzle_identifiers",
            "model/halt_max_steps",
            "train/total_steps",
        ];
        for place in sizes {
            let name = place.rsplit('/').next().unwrap_or(place);
            let none = said("rope-puzzle", &format!("/{place}"), json!(0));
            assert!(none.starts_with(&format!("`f.json` is no fixture: {name} is 0, expected ")), "{none}");
        }
        for (place, value, expected) in [
            (
                "/model/H_cycles",
                json!(3000),
                "`f.json` is no fixture: H_cycles, L_cycles and layers make more than 2048 blocks",
            ),
            ("/model/num_heads", json!(3), "`f.json` is no fixture: 3 heads do not divide a width of 64"),
            (
                "/model/num_heads",
                json!(64),
                "`f.json` is no fixture: `L` rotates heads of odd width; `H` rotates heads of odd width",
            ),
            (
                "/model/rope_theta",
                json!(-1),
                "`f.json` is no fixture: theta of a rotation must be above 0, found -1; ",
            ),
            (
                "/model/expansion",
                json!(1e30),
                "`f.json` is no fixture: expansion is 1000000000000000000000000000000, expected above 0 to 1024",
            ),
            ("/model/vocab_size", json!(5), "`f.safetensors` is no fixture: tensor `"),
            (
                "/model/vocab_size",
                json!(u64::MAX),
                "`f.json` is no fixture: vocab_size is 18446744073709551615, expected 2 to 1048576",
            ),
            ("/model/seq_len", json!("16"), "`f.json` is no fixture: line 1, column "),
        ] {
            let found = said("rope-puzzle", place, value);
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_number_that_is_no_row_of_its_table_is_refused() {
        let text = fs::read_to_string("tests/fixtures/rope-puzzle.json").expect("it is checked in");
        let whole = fs::read("tests/fixtures/rope-puzzle.safetensors").expect("it is checked in");
        let file = SafeTensors::deserialize(&whole).expect("it is whole");
        for (name, value, expected) in [
            ("batch.0.inputs", 6, "has 6, which is not below 6"),
            ("batch.1.labels", -1, "has -1, which is not below 6"),
            ("carry.puzzle_identifiers", 5, "has 5, which is not below 5"),
        ] {
            let data = file.tensor(name).expect("every fixture has it").data();
            let place = data.as_ptr() as usize - whole.as_ptr() as usize;
            let mut changed = whole.clone();
            changed[place..place + 4].copy_from_slice(&i32::to_le_bytes(value));
            let read = Fixture::read(Path::new("f.json"), &text, &changed);
            let found = read.expect_err("a kernel would read beside its table").to_string();
            assert_eq!(found, format!("`f.safetensors` is no fixture: tensor `{name}` {expected}"));
        }
    }
}
