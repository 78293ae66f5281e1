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
    AdamAtan2, AdamW, Add, BceWithLogits, Choose, Correctness, Detach, Equal, Fill, Maximum, ResetRows,
    RowDistance, Scale, Sigmoid, SignSgdRows, TokenLoss, TokenLossKind,
};
use crate::graph::{Graph, Phase, TensorType, Value};
use crate::ir::{Halt, Loss, Model, Optimizer, QTarget, Train};
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
    /// One training segment with its updates.
    Train,
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

struct Lowering<'a> {
    model: &'a Model,
    sizes: Sizes,
    program: Program,
    scope: Scope,
    graph: Graph,
    parameters: Vec<Parameter>,
}

/// Lowers one program of `model`.
///
/// A model without a `train` block evaluates with the stablemax loss; [`Program::Train`] of it has no
/// updates, so ask for it only where there is one.
pub fn lower(model: &Model, program: Program, sizes: Sizes) -> Graph {
    let scope = match program {
        Program::Train | Program::Gradients => Scope::Train,
        Program::Evaluate { .. } | Program::Trace { .. } => Scope::Evaluate,
    };
    let mut lowering = Lowering {
        model,
        sizes,
        program,
        scope,
        graph: Graph::new(),
        parameters: parameters(model, sizes.puzzle_rows),
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
        let before = self.begin(&carry);
        if matches!(self.program, Program::Trace { .. }) {
            for (state, &value) in self.model.states.iter().zip(&before) {
                self.graph.set_output(&scope.begun(&state.name), value);
            }
        }
        let embedded = self.embed();
        let states = self.segment(embedded.x, before.clone(), Flow::Policy);
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
        let trains = matches!(self.program, Program::Train | Program::Gradients);
        // Training needs it for the policy; of an answer it says whether the state had settled.
        if !trains || matches!(self.model.halt, Halt::Residual { .. }) {
            let answer = self.model.token_head.state.0;
            let residual = self.graph.add1(RowDistance.into(), &[detached[answer], before[answer]]);
            self.graph.set_output(&scope.residual(), residual);
        }
        let target = if trains { self.target(embedded.x, &detached) } else { None };
        let loss = self.losses(logits, q, target, training.loss);
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
                    self.updates(train, gradients);
                }
            }
        }
        self.graph.set_phase(Phase::Update);
        for (memory, state) in carry.into_iter().zip(detached) {
            optim::store(&mut self.graph, memory, state);
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

    /// Returns the memory of each state.
    fn carry(&mut self) -> Vec<Value> {
        let shape = [self.sizes.batch, self.model.total_positions(), self.model.hidden];
        self.model
            .states
            .iter()
            .map(|state| self.graph.input(&self.scope.carry(&state.name), TensorType::f32(&shape)))
            .collect()
    }

    /// Returns the states with the rows that begin a sequence set to the initial state; all detached.
    fn begin(&mut self, carry: &[Value]) -> Vec<Value> {
        let mask = self.rows(&self.scope.reset());
        let model = self.model;
        carry
            .iter()
            .zip(&model.states)
            .map(|(&z, state)| {
                let init = self.weight(&state_init(&state.stored_as));
                self.graph.add1(ResetRows.into(), &[z, mask, init])
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
        let QValues { q_halt, q_continue } = self.q_head(&next).expect("q-learning has a Q head");
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

    /// Returns the loss of each row, `[B]`: tokens, plus half of the losses of the Q values.
    fn losses(&mut self, logits: Value, q: Option<QValues>, target: Option<Value>, loss: Loss) -> Value {
        let scope = self.scope;
        let labels = TensorType::i32(&[self.sizes.batch, self.model.tokens.positions]);
        let labels = self.graph.input(&scope.labels(), labels);
        let kind = match loss {
            Loss::Stablemax => TokenLossKind::Stablemax,
            Loss::Softmax => TokenLossKind::Softmax,
        };
        let mut total = self.graph.add1(TokenLoss { kind }.into(), &[logits, labels]);
        self.graph.set_output(&scope.token_loss(), total);
        let correctness = self.graph.add(Correctness.into(), &[logits, labels]);
        let (right, counted) = (correctness[Correctness::RIGHT], correctness[Correctness::COUNTED]);
        self.graph.set_output(&scope.right(), right);
        self.graph.set_output(&scope.counted(), counted);
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
            let half = self.graph.add1(Scale { factor: Q_LOSS_SCALE }.into(), &[q_loss]);
            total = self.graph.add1(Add.into(), &[total, half]);
        }
        total
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
        let seed = self.graph.add1(Fill { value: 1.0 / batch as f32, shape: vec![batch] }.into(), &[]);
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

    fn updates(&mut self, train: &Train, gradients: Vec<(String, Value)>) {
        self.graph.set_phase(Phase::Update);
        let adam = train.optimizer.adam();
        let (beta1, beta2, weight_decay) = (adam.beta1, adam.beta2, adam.weight_decay);
        let rule = match train.optimizer {
            Optimizer::AdamAtan2(_) => Rule::AdamAtan2(AdamAtan2 { beta1, beta2, weight_decay }),
            Optimizer::AdamW { eps, .. } => Rule::AdamW(AdamW { beta1, beta2, weight_decay, eps }),
        };
        let step =
            StepNames { lr: names::STEP_LR, scale: names::STEP_SCALE, root_scale: names::STEP_ROOT_SCALE };
        for (name, gradient) in gradients {
            if name == LOCAL_PUZZLE_ROWS {
                let settings = train.puzzle_optimizer.as_ref().expect("a puzzle table has an optimizer");
                let table = self.weight(PUZZLE_TABLE);
                let ids = self.graph.input(&self.scope.puzzles(), TensorType::i32(&[self.sizes.batch]));
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
            let squares = optim::update(&mut self.graph, &rule, &memory, step);
            self.graph.set_output(&names::squares(&name), squares);
        }
    }
}

/// Name of the gradient of each row's own copy of its puzzle vector, `[B, width]`.
pub const LOCAL_PUZZLE_ROWS: &str = "inner.puzzle_emb.local_weights";
