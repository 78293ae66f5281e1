//! From the checked model to graphs: one program for a training segment, one for an evaluation segment.
//!
//! A program is the whole of one segment: it resets the rows that begin a puzzle, embeds the input, runs the loop nest,
//! and computes heads, losses and correctness. Training adds the targets, the gradients of `loss / B` and the updates.
//! Both programs store the states in the carry for the next segment. Lowering cannot fail, because the checker has
//! found every problem before.

mod block;
mod embedding;
mod heads;
pub mod names;
pub mod parameters;
mod segment;
mod stretch;

use crate::autodiff::differentiate;
use crate::graph::ops::{
    AdamAtan2, AdamW, Add, BceWithLogits, Choose, ClipFactor, Concat, Correctness, Detach, Equal, Fill,
    KeepLoss, Maximum, Multiply, ResetRows, RowDistance, Scale, ScaleBy, Sigmoid, SignSgdRows, SumOfSquares,
    TokenLoss, TokenLossKind,
};
use crate::graph::{Graph, Phase, TensorType, Value};
use crate::ir::{Block, Halt, Loss, Model, Optimizer, QTarget, Train};
use crate::optim::{self, Rule, StepNames, WeightMemory};

use heads::QValues;
use names::Scope;
use parameters::{PUZZLE_TABLE, Parameter, Role, parameters, state_init};
use segment::Flow;

pub use stretch::Purpose;

/// Weight of the losses of the Q values beside the loss of the tokens.
pub const Q_LOSS_SCALE: f32 = 0.5;

/// What a program does.
///
/// # Examples
///
/// ```
/// use hrmc::{Compiled, Program, Sizes, Spec};
///
/// let spec = Spec::quickstart();
/// let sizes = Sizes::of(spec.model());
/// let [train, evaluate] = [Program::Train, Program::Evaluate { averaged: true }]
///     .map(|program| Compiled::of(spec.model(), program, sizes));
/// assert!(train.flops() > evaluate.flops());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// One training segment with its updates. Where gradients are accumulated, that of the last range of rows.
    Train,
    /// One training segment of a range of rows, whose gradients are added to those of ranges before it. No weight changes.
    ///
    /// Sums of gradients form a pairwise tree, as the digits of a binary number do when it is counted up: the gradients of
    /// the range are added to the sums of `1, 2, 4 …` ranges that are kept at the first levels, and the result is kept at
    /// this level.
    Accumulate {
        /// Sums that are added, which is the level where the result is kept.
        level: usize,
    },
    /// One training segment whose gradients are outputs; weights stay as they are.
    Gradients,
    /// One evaluation segment.
    Evaluate {
        /// Whether the moving averages stand in for the weights.
        averaged: bool,
    },
    /// One evaluation segment whose states are outputs, before the first update and after each, with what the heads would
    /// answer there.
    Trace {
        /// Whether the queries, keys and values of the last update of each state are outputs too.
        attention: bool,
    },
}

/// Sizes that do not come from the model.
///
/// # Examples
///
/// ```
/// use hrmc::{Sizes, Spec};
///
/// let spec = Spec::quickstart();
/// let of_the_spec = Sizes::of(spec.model());
/// let one_row = Sizes { batch: 1, ..of_the_spec };
/// assert!(one_row.batch < of_the_spec.batch);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows in a batch, `B`.
    pub batch: usize,
    /// Puzzle identifiers of the dataset.
    pub puzzle_rows: usize,
}

impl Sizes {
    /// Returns the batch that the `train` block of a model says, or one row, and a puzzle table of one row.
    pub fn of(model: &Model) -> Sizes {
        Sizes { batch: model.train.as_ref().map_or(1, |train| train.batch), puzzle_rows: 1 }
    }
}

/// Training settings that shape a graph.
struct TrainingSettings<'a> {
    loss: Loss,
    train: Option<&'a Train>,
}

/// Sums of losses over the states that there is a loss after, each `[B]`.
#[derive(Default)]
struct PartialLosses {
    token: Option<Value>,
    keep: Option<Value>,
    conflict: Option<Value>,
    /// Right and counted labels at the end.
    right: Option<(Value, Value)>,
}

struct Lowering<'a> {
    model: &'a Model,
    sizes: Sizes,
    program: Program,
    scope: Scope,
    graph: Graph,
    parameters: Vec<Parameter>,
    /// Dropouts so far.
    dropout_sites: u32,
    /// Ranges of rows whose gradients are accumulated; the sizes are those of one of them.
    ranges: usize,
}

/// Lowers one program of `model`.
///
/// A model without a `train` block evaluates with the stablemax loss; [`Program::Train`] of it has no
/// updates, so ask for it only where there is one.
pub fn lower(model: &Model, program: Program, sizes: Sizes) -> Graph {
    let ranges = match program {
        Program::Train | Program::Accumulate { .. } => {
            model.train.as_ref().map_or(1, |train| train.accumulate)
        }
        Program::Gradients | Program::Evaluate { .. } | Program::Trace { .. } => 1,
    };
    let sizes = Sizes { batch: (sizes.batch / ranges).max(1), ..sizes };
    let scope = match program {
        Program::Train | Program::Accumulate { .. } if ranges > 1 => Scope::Range,
        Program::Train | Program::Accumulate { .. } | Program::Gradients => Scope::Train,
        Program::Evaluate { .. } | Program::Trace { .. } => Scope::Evaluate,
    };
    let mut lowering = Lowering {
        model,
        sizes,
        program,
        scope,
        graph: Graph::new(),
        parameters: parameters(model, sizes.puzzle_rows),
        dropout_sites: 0,
        ranges,
    };
    let training = TrainingSettings {
        loss: model.train.as_ref().map_or(Loss::Stablemax, |train| train.loss),
        train: model.train.as_ref(),
    };
    lowering.run(&training);
    lowering.graph
}

impl Lowering<'_> {
    fn run(&mut self, training: &TrainingSettings<'_>) {
        let scope = self.scope;
        let carry = self.carry();
        let begun = self.begin(&carry);
        let embedded = self.embed();
        let before: Vec<Value> = begun.into_iter().map(|state| state.unwrap_or(embedded.x)).collect();
        if matches!(self.program, Program::Trace { .. }) {
            for (state, &value) in self.model.states.iter().zip(&before) {
                self.graph.set_output(&scope.begun(&state.name), value);
            }
        }
        let supervised = self.segment(embedded.x, before.clone(), Flow::Policy);
        let states = supervised.last().expect("a segment has an update").clone();
        let logits = self.token_head(&states);
        let q = self.q_head(&states);
        self.graph.set_output(&scope.logits(), logits);
        if let Some(q) = q {
            self.graph.set_output(&scope.q_halt(), q.q_halt);
            if let Some(q_continue) = q.q_continue {
                self.graph.set_output(&scope.q_continue(), q_continue);
            }
        }
        let detached: Vec<Value> =
            states.iter().map(|&state| self.graph.add1(Detach.into(), &[state])).collect();
        // Training needs it for the policy; of an answer it says whether the state had settled.
        if !self.trains() || matches!(self.model.halt, Halt::Residual { .. }) {
            let answer = self.model.token_head.state.0;
            let residual = self.graph.add1(RowDistance.into(), &[detached[answer], before[answer]]);
            self.graph.set_output(&scope.residual(), residual);
        }
        let target = if self.trains() { self.target(embedded.x, &detached) } else { None };
        let loss = self.losses(&supervised, logits, q, target, training.loss);
        match self.program {
            Program::Evaluate { .. } | Program::Trace { .. } => {}
            Program::Gradients => {
                for (name, gradient) in self.gradients(loss, embedded.puzzle_rows) {
                    self.graph.set_output(&scope.gradient(&name), gradient);
                }
            }
            Program::Train => {
                if let Some(train) = training.train {
                    let gradients = self.gradients(loss, embedded.puzzle_rows);
                    let gradients = self.accumulated(self.ranges.ilog2() as usize, gradients);
                    self.updates(train, gradients);
                }
            }
            Program::Accumulate { level } => {
                let gradients = self.gradients(loss, embedded.puzzle_rows);
                for (name, sum) in self.accumulated(level, gradients) {
                    if name == LOCAL_PUZZLE_ROWS {
                        self.graph.set_output(&scope.puzzle_gradient(), sum);
                        continue;
                    }
                    let ty = self.graph.ty(sum).clone();
                    let memory = self.graph.input(&names::partial(level, &name), ty);
                    optim::store(&mut self.graph, memory, sum);
                }
            }
        }
        self.graph.set_phase(Phase::Update);
        for (memory, state) in carry.into_iter().zip(detached) {
            if let Some(memory) = memory {
                optim::store(&mut self.graph, memory, state);
            }
        }
    }

    /// Returns whether the program is one of training.
    fn trains(&self) -> bool {
        match self.program {
            Program::Train | Program::Accumulate { .. } | Program::Gradients => true,
            Program::Evaluate { .. } | Program::Trace { .. } => false,
        }
    }

    /// Returns the dropout of a block in this program.
    fn dropout_rate(&self, block: &Block) -> f32 {
        match self.program {
            Program::Train | Program::Accumulate { .. } | Program::Gradients => block.dropout,
            // A search keeps its own.
            Program::Evaluate { .. } | Program::Trace { .. } if block.dropout > 0.0 => {
                self.model.infer.and_then(|infer| infer.search).map_or(0.0, |search| search.dropout)
            }
            Program::Evaluate { .. } | Program::Trace { .. } => 0.0,
        }
    }

    /// Returns the input of a weight, by its name in the state dict.
    fn weight(&mut self, name: &str) -> Value {
        let parameter = self
            .parameters
            .iter()
            .find(|parameter| parameter.name == name)
            .expect("lowering asks for its own weights");
        let averaged =
            self.program == Program::Evaluate { averaged: true } && parameter.role == Role::Trained;
        let memory = if averaged { names::average(name) } else { names::parameter(name) };
        let ty = parameter.ty();
        self.graph.input(&memory, ty)
    }

    fn tokens(&mut self) -> Value {
        let ty = TensorType::i32(&[self.sizes.batch, self.model.tokens.positions]);
        self.graph.input(&self.scope.tokens(), ty)
    }

    fn rows(&mut self, name: &str) -> Value {
        self.graph.input(name, TensorType::f32(&[self.sizes.batch]))
    }

    /// Returns the memory of each state that is kept from one segment to the next.
    fn carry(&mut self) -> Vec<Option<Value>> {
        let shape = [self.sizes.batch, self.model.total_positions(), self.model.hidden];
        let model = self.model;
        let states = model.states.iter();
        states
            .map(|state| {
                let name = self.scope.carry(&state.name);
                state.init.is_carried().then(|| self.graph.input(&name, TensorType::f32(&shape)))
            })
            .collect()
    }

    /// Returns the states at the start of a segment, all detached: the carry, with the rows that begin a sequence set to
    /// the initial state. There is none of a state that begins as the embedded input.
    fn begin(&mut self, carry: &[Option<Value>]) -> Vec<Option<Value>> {
        let model = self.model;
        let states = carry.iter().zip(&model.states);
        states
            .map(|(&z, state)| {
                let z = z?;
                let mask = self.rows(&self.scope.reset());
                let init = self.weight(&state_init(&state.stored_as));
                Some(self.graph.add1(ResetRows.into(), &[z, mask, init]))
            })
            .collect()
    }

    /// Target of `q_continue` from a further segment: the sigmoid of its `q_halt` where the sequence ends with
    /// this segment, else of the larger of its Q values.
    fn target(&mut self, x: Value, states: &[Value]) -> Option<Value> {
        // A row of a single segment never goes on, so there is nothing to learn about going on.
        let Halt::QLearning { max_segments: 2.., target: QTarget::Bootstrap, .. } = self.model.halt else {
            return None;
        };
        self.graph.set_phase(Phase::Target);
        let x = self.graph.add1(Detach.into(), &[x]);
        let next = self.segment(x, states.to_vec(), Flow::Detached);
        let next = next.last().expect("a segment has an update");
        let QValues { q_halt, q_continue } = self.q_head(next).expect("q-learning has a Q head");
        let q_continue = q_continue.expect("q-learning predicts both Q values");
        let best = self.graph.add1(Maximum.into(), &[q_halt, q_continue]);
        let at_limit = self.rows(&self.scope.at_limit());
        let best = self.graph.add1(Choose.into(), &[at_limit, q_halt, best]);
        let target = self.graph.add1(Sigmoid.into(), &[best]);
        let target = self.graph.add1(Detach.into(), &[target]);
        self.graph.set_output(&self.scope.target_q_continue(), target);
        self.graph.set_phase(Phase::Forward);
        Some(target)
    }

    /// Returns the loss of each row, `[B]`: those of tokens, candidates and conflict, as means over the states in
    /// `supervised`, plus half of the losses of the Q values. `last_logits` are those of the last of them. Its parts are outputs, and so is what is right at the end.
    fn losses(
        &mut self,
        supervised: &[Vec<Value>],
        last_logits: Value,
        q: Option<QValues>,
        target: Option<Value>,
        loss: Loss,
    ) -> Value {
        let scope = self.scope;
        let labels = TensorType::i32(&[self.sizes.batch, self.model.tokens.positions]);
        let labels = self.graph.input(&scope.labels(), labels);
        let kind = match loss {
            Loss::Stablemax => TokenLossKind::Stablemax,
            Loss::Softmax => TokenLossKind::Softmax,
        };
        let mut sums = PartialLosses::default();
        let last = supervised.len() - 1;
        for (iteration, states) in supervised.iter().enumerate() {
            let logits = if iteration == last { last_logits } else { self.token_head(states) };
            let loss = self.graph.add1(TokenLoss { kind }.into(), &[logits, labels]);
            sums.token = Some(self.plus(sums.token, loss));
            if let Some((logits, loss)) = self.keep_loss(states) {
                sums.keep = Some(self.plus(sums.keep, loss));
                if iteration == last {
                    self.graph.set_output(&scope.keep_logits(), logits);
                }
            }
            if let Some((logit, loss)) = self.conflict_loss(states) {
                sums.conflict = Some(self.plus(sums.conflict, loss));
                if iteration == last {
                    self.graph.set_output(&scope.conflict(), logit);
                }
            }
            if iteration == last {
                let correctness = self.graph.add(Correctness.into(), &[logits, labels]);
                sums.right = Some((correctness[Correctness::RIGHT], correctness[Correctness::COUNTED]));
            } else if matches!(self.program, Program::Evaluate { .. }) {
                let right = self.graph.add(Correctness.into(), &[logits, labels])[Correctness::RIGHT];
                self.graph.set_output(&scope.right_after(iteration), right);
            }
        }
        let (right, counted) = sums.right.expect("the last states are decoded");
        self.graph.set_output(&scope.right(), right);
        self.graph.set_output(&scope.counted(), counted);
        let mut total = self.weighted_losses(&sums, supervised.len());
        if let Some(q) = q {
            let exact = self.graph.add1(Equal.into(), &[right, counted]);
            let halt_loss = self.graph.add1(BceWithLogits.into(), &[q.q_halt, exact]);
            self.graph.set_output(&scope.halt_loss(), halt_loss);
            let mut q_loss = halt_loss;
            if let (Some(q_continue), Some(target)) = (q.q_continue, target) {
                let continue_loss = self.graph.add1(BceWithLogits.into(), &[q_continue, target]);
                self.graph.set_output(&scope.continue_loss(), continue_loss);
                q_loss = self.graph.add1(Add.into(), &[halt_loss, continue_loss]);
            }
            let half = self.scaled(q_loss, Q_LOSS_SCALE);
            total = self.graph.add1(Add.into(), &[total, half]);
        }
        total
    }

    /// Returns the weighted sum of the means over so many supervised states; the means are outputs.
    fn weighted_losses(&mut self, sums: &PartialLosses, states: usize) -> Value {
        let (model, scope) = (self.model, self.scope);
        let mut token = self.scaled(sums.token.expect("the token head has a loss"), 1.0 / states as f32);
        self.graph.set_output(&scope.token_loss(), token);
        if model.candidates.is_some() && self.trains() {
            let weight = self.rows(&scope.token_weight());
            token = self.graph.add1(Multiply.into(), &[token, weight]);
        }
        let mut total = self.scaled(token, model.token_head.weight);
        let others = [
            (sums.keep, model.keep_head.as_ref().map(|head| head.weight), scope.keep_loss()),
            (sums.conflict, model.conflict_head.as_ref().map(|head| head.weight), scope.conflict_loss()),
        ];
        for (sum, weight, name) in others {
            if let (Some(sum), Some(weight)) = (sum, weight) {
                let mean = self.scaled(sum, 1.0 / states as f32);
                self.graph.set_output(&name, mean);
                let weighted = self.scaled(mean, weight);
                total = self.graph.add1(Add.into(), &[total, weighted]);
            }
        }
        if model.candidates.is_some() {
            self.graph.set_output(&scope.loss(), total);
        }
        total
    }

    /// Returns the logits of the candidates and their loss `[B]`, if the model has some.
    fn keep_loss(&mut self, states: &[Value]) -> Option<(Value, Value)> {
        let head = self.model.keep_head.as_ref()?;
        let logits = self.keep_head(states)?;
        let kept = self.graph.ty(logits).clone();
        let kept = self.graph.input(&self.scope.kept(), kept);
        let loss = KeepLoss { keep: head.keep, remove: head.remove };
        Some((logits, self.graph.add1(loss.into(), &[logits, kept])))
    }

    /// Returns the logit of the conflict and its loss `[B]`, if the model predicts it.
    fn conflict_loss(&mut self, states: &[Value]) -> Option<(Value, Value)> {
        let logit = self.conflict_head(states)?;
        let lost = self.rows(&self.scope.lost());
        Some((logit, self.graph.add1(BceWithLogits.into(), &[logit, lost])))
    }

    fn plus(&mut self, sum: Option<Value>, term: Value) -> Value {
        match sum {
            Some(sum) => self.graph.add1(Add.into(), &[sum, term]),
            None => term,
        }
    }

    fn scaled(&mut self, x: Value, factor: f32) -> Value {
        if factor == 1.0 { x } else { self.graph.add1(Scale { factor }.into(), &[x]) }
    }

    /// Returns the gradients of `loss / B`, by name in the state dict: every trained weight, then each row's
    /// own copy of its puzzle vector.
    fn gradients(&mut self, loss: Value, puzzle_rows: Option<Value>) -> Vec<(String, Value)> {
        self.graph.set_phase(Phase::Backward);
        let batch = self.sizes.batch;
        let trained: Vec<String> = self
            .parameters
            .iter()
            .filter(|parameter| parameter.role == Role::Trained)
            .map(|parameter| parameter.name.clone())
            .collect();
        let mut wanted: Vec<Value> = trained.iter().map(|name| self.weight(name)).collect();
        wanted.extend(puzzle_rows);
        let value = 1.0 / (batch * self.ranges) as f32;
        let seed = self.graph.add1(Fill { value, shape: vec![batch] }.into(), &[]);
        let found = differentiate(&mut self.graph, loss, seed, &wanted);
        let names = trained.into_iter().chain(puzzle_rows.map(|_| LOCAL_PUZZLE_ROWS.to_string()));
        names
            .zip(wanted)
            .zip(found)
            .map(|((name, value), gradient)| {
                let zero = Scale { factor: 0.0 };
                let gradient = gradient.unwrap_or_else(|| self.graph.add1(zero.into(), &[value]));
                (name, gradient)
            })
            .collect()
    }

    /// Adds the sums at the first `levels` to the gradients of weights.
    fn accumulated(&mut self, levels: usize, gradients: Vec<(String, Value)>) -> Vec<(String, Value)> {
        self.graph.set_phase(Phase::Update);
        let add_levels = |(name, mut sum): (String, Value)| {
            if name != LOCAL_PUZZLE_ROWS {
                for level in 0..levels {
                    let ty = self.graph.ty(sum).clone();
                    let before = self.graph.input(&names::partial(level, &name), ty);
                    sum = self.graph.add1(Add.into(), &[before, sum]);
                }
            }
            (name, sum)
        };
        gradients.into_iter().map(add_levels).collect()
    }

    /// Scales the gradients of the weights down to a norm of at most `most`. Puzzle vectors are left out: the size of
    /// their gradients does not matter.
    fn clipped(&mut self, most: f32, gradients: Vec<(String, Value)>) -> Vec<(String, Value)> {
        let mut sum = None;
        for (_, gradient) in gradients.iter().filter(|(name, _)| name != LOCAL_PUZZLE_ROWS) {
            let squares = self.graph.add1(SumOfSquares.into(), &[*gradient]);
            sum = Some(self.plus(sum, squares));
        }
        let Some(sum) = sum else { return gradients };
        self.graph.set_output(names::STEP_NORM_SQUARED, sum);
        let factor = self.graph.add1(ClipFactor { most }.into(), &[sum]);
        let clip = |(name, gradient): (String, Value)| {
            let is_row = name == LOCAL_PUZZLE_ROWS;
            let gradient =
                if is_row { gradient } else { self.graph.add1(ScaleBy.into(), &[gradient, factor]) };
            (name, gradient)
        };
        gradients.into_iter().map(clip).collect()
    }

    /// Returns the puzzle identifiers of all rows of the batch, and the gradients of their vectors.
    fn all_puzzle_rows(&mut self, gradient: Value) -> (Value, Value) {
        let scope = self.scope;
        if self.ranges == 1 {
            return (self.graph.input(&scope.puzzles(), TensorType::i32(&[self.sizes.batch])), gradient);
        }
        let earlier = self.sizes.batch * (self.ranges - 1);
        let width = self.graph.ty(gradient).width();
        let ids = self.graph.input(&scope.all_puzzles(), TensorType::i32(&[self.sizes.batch * self.ranges]));
        let shape = TensorType::f32(&[earlier, width]);
        let earlier_gradients = self.graph.input(&scope.earlier_puzzle_gradients(), shape);
        (ids, self.graph.add1(Concat { axis: 0 }.into(), &[earlier_gradients, gradient]))
    }

    fn updates(&mut self, train: &Train, mut gradients: Vec<(String, Value)>) {
        self.graph.set_phase(Phase::Update);
        if let Some(most) = train.clip {
            gradients = self.clipped(most, gradients);
        }
        let adam = train.optimizer.adam();
        let (beta1, beta2, weight_decay) = (adam.beta1, adam.beta2, adam.weight_decay);
        let rule = |decays: bool| {
            let weight_decay = if decays { weight_decay } else { 0.0 };
            match train.optimizer {
                Optimizer::AdamAtan2(_) => Rule::AdamAtan2(AdamAtan2 { beta1, beta2, weight_decay }),
                Optimizer::AdamW { eps, .. } => Rule::AdamW(AdamW { beta1, beta2, weight_decay, eps }),
            }
        };
        let step =
            StepNames { lr: names::STEP_LR, scale: names::STEP_SCALE, root_scale: names::STEP_ROOT_SCALE };
        for (name, gradient) in gradients {
            if name == LOCAL_PUZZLE_ROWS {
                let settings = train.puzzle_optimizer.as_ref().expect("a puzzle table has an optimizer");
                let table = self.weight(PUZZLE_TABLE);
                let (ids, gradient) = self.all_puzzle_rows(gradient);
                let rule = SignSgdRows { weight_decay: settings.weight_decay };
                let squares =
                    optim::update_rows(&mut self.graph, rule, table, ids, gradient, names::STEP_PUZZLE_LR);
                self.graph.set_output(&names::squares(PUZZLE_TABLE), squares);
                continue;
            }
            let (moment1, moment2, average) =
                (names::moment1(&name), names::moment2(&name), names::average(&name));
            let memory = WeightMemory {
                weight: self.weight(&name),
                gradient,
                moment1: &moment1,
                moment2: &moment2,
                average: train.ema.map(|rate| (average.as_str(), rate)),
            };
            let decays = self.parameters.iter().any(|parameter| parameter.name == name && parameter.decays);
            let squares = optim::update(&mut self.graph, &rule(decays), &memory, step);
            self.graph.set_output(&names::squares(&name), squares);
        }
    }
}

/// Name of the gradient of each row's own copy of its puzzle vector, `[B, width]`.
pub const LOCAL_PUZZLE_ROWS: &str = "inner.puzzle_emb.local_weights";
