//! The checked model: what a spec means once every name is resolved and every number is known.
//!
//! # What it means
//!
//! A [`Model`] describes one *segment*: the embedded input `x` is computed once, then the loop nest
//! [`Model::segment`] updates the recurrent states, then the heads read them. Every state has the
//! shape `[B, P + S, D]` with `P` prefix positions ([`Model::prefix_positions`]), `S` tokens and one
//! width `D` for the whole model.
//!
//! * An [`Update`] reads its operands, adds them from left to right, runs the stack of blocks of its
//!   network on the sum and stores the result in its state. A network adds nothing of its own.
//! * A network owns its weights. Two updates that name the same network share them.
//! * Loops have constant counts. [`unroll()`] lists the updates in the order in which they run and says
//!   for each whether it is differentiated. The result of an update that is not is *detached*: no
//!   gradient flows through it. The states at the start of a segment are always detached. Gradients do
//!   flow from a differentiated update into the embedded input.
//! * The carry between segments is the value of every state at the end of the segment, detached.
//!
//! Nothing here knows about text, spans or tensors. A model that [`validate()`] accepts can be lowered;
//! lowering cannot fail.

mod text;
mod unroll;
mod validate;

pub use text::to_text;
pub use unroll::{UnrolledUpdate, unroll};
pub use validate::{Violation, validate};

/// Index of a state in [`Model::states`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub usize);

/// Index of a network in [`Model::networks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub usize);

/// One reasoning model.
///
/// # Examples
///
/// ```
/// let spec = hrmc::Spec::open("specs/sudoku.hrm", &[])?;
/// let model = spec.model();
/// assert_eq!((model.tokens.vocab, model.tokens.positions), (11, 81));
/// assert_eq!(model.states.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Name given in the spec.
    pub name: String,
    /// Width `D` of every state.
    pub hidden: usize,
    /// What a row of tokens looks like.
    pub tokens: Tokens,
    /// Learned vectors per puzzle, placed before the tokens.
    pub puzzles: Option<Puzzles>,
    /// Stacks of blocks; each owns its weights.
    pub networks: Vec<Network>,
    /// Recurrent states.
    pub states: Vec<State>,
    /// The loop nest of one segment.
    pub segment: Vec<Step>,
    /// Which updates are differentiated.
    pub gradient: Gradient,
    /// Head that predicts the tokens.
    pub token_head: TokenHead,
    /// Head that predicts the Q values; absent where the halting policy needs none.
    pub q_head: Option<QHead>,
    /// When a row stops being refined.
    pub halt: Halt,
    /// How answers are sought; absent where the spec leaves it at the largest number of segments.
    pub infer: Option<Infer>,
    /// How the model is trained; absent in a spec without a `train` block.
    pub train: Option<Train>,
}

/// A row of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// Vocabulary size `V`.
    pub vocab: usize,
    /// Tokens in a row, `S`.
    pub positions: usize,
    /// Whether a learned vector per position (prefix included) is added to the embeddings.
    pub learned_positions: bool,
}

/// The table of puzzle vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Puzzles {
    /// Width of one vector; padded with zeros to `positions * D`.
    pub width: usize,
    /// Prefix positions `P` the vector is spread over.
    pub positions: usize,
}

/// A stack of equal blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name given in the spec.
    pub name: String,
    /// Name its weights are stored under, e.g. `H_level`.
    pub stored_as: String,
    /// Blocks in the stack.
    pub layers: usize,
    /// What each block looks like.
    pub block: Block,
}

/// One block: mix over positions, then feed forward, each followed by residual and norm.
///
/// `x = norm(x + mix(x)); x = norm(x + swiglu(x))` with `norm(x) = x / sqrt(mean(x^2) + eps)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// How positions exchange information.
    pub mixing: Mixing,
    /// Width `F` of the gated feed-forward unit.
    pub inner: usize,
    /// `eps` of the norm.
    pub norm_eps: f32,
}

/// How positions exchange information inside a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Mixing {
    /// Bidirectional attention.
    Attention {
        /// Number of heads `A`; divides the width.
        heads: usize,
        /// Base of the rotary frequencies; `None` without rotation.
        rope_theta: Option<f32>,
    },
    /// A gated unit over the `P + S` positions of each channel.
    Mlp {
        /// Width of the unit.
        inner: usize,
    },
}

/// A recurrent state.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Name given in the spec.
    pub name: String,
    /// Name its initial vector is stored under, e.g. `H_init`.
    pub stored_as: String,
    /// How its initial vector is drawn, once, when the model is created.
    pub init: Normal,
}

/// A normal distribution, cut at `truncate` standard deviations and widened so that the result has `std`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    /// Standard deviation of the result.
    pub std: f32,
    /// Where the tails are cut, in standard deviations.
    pub truncate: f32,
}

/// One step of the loop nest.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `state <- network(sum of operands)`.
    Update(Update),
    /// `label: repeat count { body }`.
    Repeat(Repeat),
}

/// One update of a state.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// State that is replaced.
    pub state: StateId,
    /// Network that computes the new value.
    pub network: NetworkId,
    /// What is added up, from left to right; never empty.
    pub operands: Vec<Operand>,
}

/// One summand of an update's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// Present value of a state.
    State(StateId),
    /// The embedded input `x`.
    Input,
}

/// A loop with a constant count.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeat {
    /// Label, where the spec gives one.
    pub label: Option<String>,
    /// Iterations, at least 1.
    pub count: usize,
    /// What each iteration does.
    pub body: Vec<Step>,
}

/// Which updates of a segment are differentiated.
#[derive(Debug, Clone, PartialEq)]
pub enum Gradient {
    /// The last update of every state.
    OneStep,
    /// Every update of the last `count` iterations of the loop with this label, and what follows it.
    Last {
        /// Whole iterations.
        count: usize,
        /// Label of the loop.
        label: String,
    },
    /// Every update.
    Full,
}

/// Linear head from the token positions of a state to the vocabulary, without bias.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenHead {
    /// State that is read.
    pub state: StateId,
}

/// Linear head from one position of a state to the Q values, with bias.
#[derive(Debug, Clone, PartialEq)]
pub struct QHead {
    /// State that is read.
    pub state: StateId,
    /// Position that is read; prefix positions count.
    pub position: usize,
    /// Initial value of the bias; the weights begin at zero.
    pub bias: f32,
    /// What the outputs are.
    pub outputs: QOutputs,
}

/// Outputs of the Q head, in the order of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QOutputs {
    /// `(halt, continue)`.
    HaltContinue,
    /// `halt` alone.
    Halt,
}

/// When a row stops being refined.
#[derive(Debug, Clone, PartialEq)]
pub enum Halt {
    /// Halts when `q_halt > q_continue`, or `q_halt > 0` where `q_continue` has no target; what has a target is
    /// trained.
    QLearning {
        /// Largest number of segments, `M`.
        max_segments: usize,
        /// Probability of a random minimum number of segments.
        explore: f32,
        /// What `q_continue` is trained towards.
        target: QTarget,
    },
    /// Halts when `q_halt > 0`; only `q_halt` is trained.
    Bce {
        /// Largest number of segments, `M`.
        max_segments: usize,
        /// Probability of a random minimum number of segments.
        explore: f32,
    },
    /// Always runs the same number of segments.
    Fixed {
        /// Number of segments, `M`.
        segments: usize,
    },
    /// Halts when the state `z` that the tokens are predicted from has settled, all positions together: after the
    /// second segment or a later one, when `rms(z - z') / rms(z') < eps` with `z'` its value a segment before.
    Residual {
        /// Largest distance of a state that has settled.
        eps: f32,
        /// Largest number of segments, `M`.
        max_segments: usize,
    },
}

/// Target of `q_continue`; that of `q_halt` is whether every counted token is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QTarget {
    /// The sigmoid of `q_halt` of a further segment at the last segment, else of its larger Q value.
    Bootstrap,
    /// Nothing: no further segment is run, and `q_continue` is neither trained nor read.
    None,
}

impl Halt {
    /// Returns the largest number of segments `M` a row may take.
    pub fn max_segments(&self) -> usize {
        match *self {
            Halt::QLearning { max_segments, .. }
            | Halt::Bce { max_segments, .. }
            | Halt::Residual { max_segments, .. } => max_segments,
            Halt::Fixed { segments } => segments,
        }
    }

    /// Returns whether rows stop early in evaluation and use unless the spec says otherwise, of at most `segments`.
    ///
    /// A state that has settled stays as it is, so that nothing is lost; a Q value is a guess.
    pub fn stops_inference(&self, segments: usize) -> bool {
        matches!(self, Halt::Residual { .. }) && segments > 1
    }
}

/// How answers are sought, in evaluation and in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Infer {
    /// Most segments `M` of a row; may be more than training takes.
    pub segments: usize,
    /// Whether a row stops before that when the halting policy says so.
    pub halt: bool,
    /// Attempts from different initial states; `None` for a single one.
    pub rollouts: Option<Rollouts>,
    /// Distance below which a row stops that has moved less than this in a segment, as [`Halt::Residual`] measures it.
    pub settle: Option<f32>,
    /// By what an answer is right; `None` for the rule of the kind of puzzles.
    pub check: Option<Check>,
}

/// By what an answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It equals the label, wherever there is one.
    Equal,
    /// It obeys the rules of Sudoku and keeps the givens.
    Sudoku,
    /// It is a shortest path through the maze.
    Maze,
}

impl Check {
    /// Returns the word for it in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Check::Equal => "equal",
            Check::Sudoku => "sudoku",
            Check::Maze => "maze",
        }
    }

    /// Returns whether rows of these tokens can be judged by it.
    pub fn fits(self, tokens: &Tokens) -> bool {
        let side = tokens.positions.isqrt();
        let is_square = side * side == tokens.positions;
        match self {
            Check::Equal => true,
            Check::Sudoku => is_square && matches!(side, 4 | 6 | 9 | 16) && tokens.vocab == side + 2,
            Check::Maze => is_square && tokens.vocab == 6,
        }
    }
}

/// Attempts on one row, of which the one counts that the halting policy likes best at its end: the one with the largest
/// `q_halt`, under [`Halt::Residual`] that whose state has moved least in its last segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollouts {
    /// Number of attempts, at least 2.
    pub count: usize,
    /// Standard deviation of the normal noise on the initial states of every attempt but the first.
    pub noise: f32,
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Train {
    /// Where the puzzles come from.
    pub data: Data,
    /// What is done to a training row when it is drawn, besides what generated Sudoku does by itself.
    pub augment: Augmentation,
    /// Loss of one token.
    pub loss: Loss,
    /// Optimizer of every weight but the puzzle table and the initial states.
    pub optimizer: Optimizer,
    /// Optimizer of the puzzle table; present exactly when the model has one.
    pub puzzle_optimizer: Option<SignSgd>,
    /// Rate of the moving average of the weights that evaluation uses.
    pub ema: Option<f32>,
    /// Course of the learning rates.
    pub schedule: Schedule,
    /// Rows in a batch, `B`.
    pub batch: usize,
    /// When training ends.
    pub length: Length,
    /// How often the model is evaluated; `None` only at the end.
    pub eval_every: Option<Length>,
    /// Most FLOPs of an evaluation on the way, as a share of those of the training between two evaluations, which decides
    /// how many test rows it takes; `None` for all rows.
    pub eval_share: Option<f32>,
    /// Evaluations in a row without a better result after which training ends; `None` for as many as there are.
    pub patience: Option<usize>,
    /// Arithmetic of activations.
    pub precision: Precision,
    /// What is done about a number that is not finite.
    pub on_divergence: OnDivergence,
    /// Seed of every random stream but that of generated puzzles.
    pub seed: u64,
}

/// What is done to a training row when it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Augmentation {
    /// Nothing.
    None,
    /// It passes through a random symmetry of its puzzle: Sudoku, or a maze.
    Symmetries,
    /// Its task of ARC has copies that are not stored, of which one is drawn. Its grids lie at another place each time.
    Copies {
        /// Copies of each task.
        count: usize,
        /// Seed of the copies.
        seed: u64,
    },
}

/// What is done about a loss, gradient or weight that is not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnDivergence {
    /// Training ends with an error.
    Stop,
    /// Training goes back to the last step at which it was evaluated, and on with lower learning rates.
    Rollback {
        /// Factor of all learning rates from then on, once more for each time.
        lr_factor: f32,
        /// Most times that it goes back before it ends with an error.
        most: usize,
    },
}

/// Where puzzles come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A dataset folder in the format of the published code.
    Folder(String),
    /// Sudoku puzzles that are generated on the spot.
    Sudoku(GeneratedSudoku),
    /// Mazes that are generated on the spot.
    Maze(GeneratedMaze),
}

/// Generated Sudoku puzzles; every puzzle has exactly one solution.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedSudoku {
    /// Side of the grid: 4, 6 or 9.
    pub size: usize,
    /// Cells that are given.
    pub givens: usize,
    /// Puzzles for training.
    pub train: usize,
    /// Puzzles for evaluation; their solution grids do not occur in training.
    pub test: usize,
    /// Whether every draw of a training puzzle passes through a random Sudoku symmetry.
    pub augment: bool,
    /// Seed of the puzzles.
    pub seed: u64,
}

/// Generated mazes with the breadth-first label rule.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedMaze {
    /// Side of the square grid.
    pub size: usize,
    /// Least number of cells on the shortest path, ends included.
    pub min_path: usize,
    /// Mazes for training.
    pub train: usize,
    /// Mazes for evaluation.
    pub test: usize,
    /// Seed of the mazes.
    pub seed: u64,
}

/// Loss of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Cross entropy over `s(x) / sum s`, `s(x) = x + 1` for `x >= 0`, else `1 / (1 - x)`.
    Stablemax,
    /// Cross entropy over the softmax.
    Softmax,
}

/// Optimizer of the weights.
#[derive(Debug, Clone, PartialEq)]
pub enum Optimizer {
    /// Adam with `atan2` in place of the division; decoupled decay.
    AdamAtan2(Adam),
    /// AdamW with decoupled decay.
    AdamW {
        /// Moments, rate and decay.
        adam: Adam,
        /// Added to the denominator.
        eps: f32,
    },
}

impl Optimizer {
    /// Returns the settings every member of the family has.
    pub fn adam(&self) -> &Adam {
        match self {
            Optimizer::AdamAtan2(adam) | Optimizer::AdamW { adam, .. } => adam,
        }
    }

    /// Returns the same settings to change them.
    pub fn adam_mut(&mut self) -> &mut Adam {
        match self {
            Optimizer::AdamAtan2(adam) | Optimizer::AdamW { adam, .. } => adam,
        }
    }
}

/// Settings shared by the Adam family.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    /// Learning rate after warm-up. It may be 0 in a model with puzzle vectors, which are then all that is learned.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f32,
}

/// Sign descent on the rows of the puzzle table that occur in a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct SignSgd {
    /// Learning rate after warm-up.
    pub lr: f32,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f32,
}

/// Course of the learning rate: linear warm-up from 0, then one of the shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Shape after the warm-up.
    pub shape: ScheduleShape,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Fraction of the learning rate that is left at the end; 1 keeps it constant.
    pub min_ratio: f32,
}

/// Shape of the learning rate after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleShape {
    /// Stays where it is.
    Constant,
    /// Half a cosine down to `min_ratio`.
    Cosine,
    /// A straight line down to `min_ratio`.
    Linear,
}

/// A stretch of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Passes over the groups of the dataset.
    Epochs(f64),
    /// Optimizer steps.
    Steps(u64),
}

/// Arithmetic of activations. Weights and optimizer state are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// bfloat16 with f32 accumulation.
    Bf16,
}

impl Model {
    /// Returns the arithmetic of activations: that of training, since what is trained is what is run.
    pub fn precision(&self) -> Precision {
        self.train.as_ref().map_or(Precision::F32, |train| train.precision)
    }

    /// Returns the number of prefix positions `P` before the tokens.
    pub fn prefix_positions(&self) -> usize {
        self.puzzles.as_ref().map_or(0, |puzzles| puzzles.positions)
    }

    /// Returns the length `P + S` of every state.
    pub fn total_positions(&self) -> usize {
        self.prefix_positions() + self.tokens.positions
    }

    /// Returns the updates of the loop nest in the order of the text, each once.
    pub fn updates(&self) -> Vec<&Update> {
        let mut updates = Vec::new();
        collect_updates(&self.segment, &mut updates);
        updates
    }

    /// Returns the largest number of segments `M` a row may take.
    pub fn max_segments(&self) -> usize {
        self.halt.max_segments()
    }

    /// Returns how answers are sought: as the spec says, else by one attempt of the largest number of segments, which
    /// ends early where the halting policy settles, as `halt residual` does.
    pub fn inference(&self) -> Infer {
        let segments = self.max_segments();
        let halt = self.halt.stops_inference(segments);
        self.infer.unwrap_or(Infer { segments, halt, rollouts: None, settle: None, check: None })
    }
}

fn collect_updates<'a>(steps: &'a [Step], updates: &mut Vec<&'a Update>) {
    for step in steps {
        match step {
            Step::Update(update) => updates.push(update),
            Step::Repeat(repeat) => collect_updates(&repeat.body, updates),
        }
    }
}

/// Returns the width of a gated unit: two thirds of `expansion * width`, rounded to an integer and
/// then up to a multiple.
///
/// `multiple_of * ceil(round(expansion * width * 2 / 3) / multiple_of)`, as in the published code.
pub fn gated_width(expansion: f64, width: usize, multiple_of: usize) -> usize {
    let raw = (expansion * width as f64 * 2.0 / 3.0).round_ties_even() as usize;
    raw.div_ceil(multiple_of) * multiple_of
}

#[cfg(test)]
pub(crate) mod testing {
    //! Small models for the tests of the stages that work on them.

    use super::{
        Block, Gradient, Halt, Mixing, Model, Network, NetworkId, Normal, Operand, QHead, QOutputs, QTarget,
        Repeat, State, StateId, Step, TokenHead, Tokens, Update,
    };

    /// Returns a model with the states `z_low` and `z_high`, the networks `low` and `high`, width 8 and 4 tokens.
    pub(crate) fn example() -> Model {
        let block =
            Block { mixing: Mixing::Attention { heads: 2, rope_theta: None }, inner: 8, norm_eps: 1e-5 };
        let network = |name: &str, stored_as: &str| Network {
            name: name.to_string(),
            stored_as: stored_as.to_string(),
            layers: 1,
            block: block.clone(),
        };
        let state = |name: &str, stored_as: &str| State {
            name: name.to_string(),
            stored_as: stored_as.to_string(),
            init: Normal { std: 1.0, truncate: 2.0 },
        };
        Model {
            name: "example".to_string(),
            hidden: 8,
            tokens: Tokens { vocab: 3, positions: 4, learned_positions: false },
            puzzles: None,
            networks: vec![network("low", "L_level"), network("high", "H_level")],
            states: vec![state("z_low", "L_init"), state("z_high", "H_init")],
            segment: vec![
                update(0, 0, &[Operand::Input]),
                update(1, 1, &[Operand::State(StateId(0)), Operand::State(StateId(1))]),
            ],
            gradient: Gradient::OneStep,
            token_head: TokenHead { state: StateId(1) },
            q_head: Some(QHead {
                state: StateId(1),
                position: 0,
                bias: -5.0,
                outputs: QOutputs::HaltContinue,
            }),
            halt: Halt::QLearning { max_segments: 2, explore: 0.5, target: QTarget::Bootstrap },
            infer: None,
            train: None,
        }
    }

    /// Returns `state <- network(operands)`.
    pub(crate) fn update(state: usize, network: usize, operands: &[Operand]) -> Step {
        Step::Update(Update {
            state: StateId(state),
            network: NetworkId(network),
            operands: operands.to_vec(),
        })
    }

    /// Returns `label: repeat count { body }`.
    pub(crate) fn repeat(label: Option<&str>, count: usize, body: Vec<Step>) -> Step {
        Step::Repeat(Repeat { label: label.map(str::to_string), count, body })
    }
}
