//! Model to syntax tree, every default written out.

use std::collections::BTreeSet;

use super::node;
use super::node::{call, definition, entries, entry, expr, name, section, statement, value, word};
use super::number::{count, epochs, real};
use crate::check::keys::RESERVED;
use crate::ir::{
    Adam, Augmentation, Block, Data, Gradient, Halt, Infer, Length, Loss, Mixing, Model, OnDivergence,
    Operand, Optimizer, Precision, QHead, QOutputs, QTarget, Schedule, ScheduleShape, Step, Train, Update,
};
use crate::span::Span;
use crate::syntax::ast::{
    self, Delimiter, Entry, Expr, ExprKind, File, Item, Operator, Statement, StatementKind,
};

/// Returns the tree of a spec that checks to a model equal to `model`.
pub fn tree(model: &Model) -> File {
    let body = ast::Model {
        name: name(model.name.as_str()),
        statements: statements(model),
        body: Span::EMPTY,
        span: Span::EMPTY,
        complete: true,
    };
    let mut items = vec![Item::Model(body)];
    if let Some(train) = &model.train {
        let entries = entries(Delimiter::Brace, train_entries(train));
        items.push(Item::Train(ast::Train { keyword: Span::EMPTY, entries, span: Span::EMPTY }));
    }
    File { items, span: Span::EMPTY, complete: true }
}

fn statements(model: &Model) -> Vec<Statement> {
    let mut kinds = Vec::new();
    let tokens =
        vec![entry("vocab", count(model.tokens.vocab)), entry("positions", count(model.tokens.positions))];
    kinds.push(StatementKind::Section(section("tokens", tokens)));
    if let Some(puzzles) = &model.puzzles {
        let inner = vec![entry("width", count(puzzles.width)), entry("positions", count(puzzles.positions))];
        kinds.push(StatementKind::Section(section("puzzles", inner)));
    }
    let mut blocks: Vec<&Block> = Vec::new();
    for network in &model.networks {
        if !blocks.contains(&&network.block) {
            blocks.push(&network.block);
        }
    }
    let names = block_names(model, blocks.len());
    for (block, name) in blocks.iter().zip(&names) {
        kinds.push(StatementKind::Block(section(name.as_str(), block_entries(model, block))));
    }
    for network in &model.networks {
        let block = blocks.iter().position(|block| **block == network.block).expect("every block is listed");
        let value = binary(count(network.layers), Operator::Multiply, word(names[block].as_str()));
        kinds.push(StatementKind::Network(definition(&network.name, value)));
    }
    for state in &model.states {
        let settings = vec![entry("std", real(state.init.std)), entry("truncate", real(state.init.truncate))];
        let init = Some(call("normal", settings));
        kinds.push(StatementKind::State(ast::State { names: vec![name(state.name.as_str())], init }));
    }
    let steps = steps(model, &model.segment);
    kinds.push(StatementKind::Segment(ast::Segment { keyword: Span::EMPTY, steps }));
    kinds.push(StatementKind::Gradient(gradient(&model.gradient)));
    kinds.push(StatementKind::Predict(ast::Predict {
        what: name("tokens"),
        state: name(model.states[model.token_head.state.0].name.as_str()),
        position: None,
        entries: None,
    }));
    if let Some(q_head) = &model.q_head {
        kinds.push(StatementKind::Predict(predict_q(model, q_head)));
    }
    kinds.push(StatementKind::Halt(halt(&model.halt)));
    if let Some(infer) = &model.infer {
        kinds.push(StatementKind::Section(section("infer", infer_entries(infer))));
    }
    kinds.into_iter().map(statement).collect()
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    expr(ExprKind::Binary(ast::Binary { operator, left: Box::new(left), right: Box::new(right) }))
}

fn block_entries(model: &Model, block: &Block) -> Vec<Entry> {
    let mut inner = vec![entry("hidden", count(model.hidden))];
    let rope_theta = match &block.mixing {
        Mixing::Attention { heads, rope_theta } => {
            inner.extend([entry("mixing", word("attention")), entry("heads", count(*heads))]);
            *rope_theta
        }
        Mixing::Mlp { inner: width } => {
            inner.push(entry("mixing", call("mlp", vec![entry("width", count(*width))])));
            None
        }
    };
    let positions = match rope_theta {
        Some(theta) => call("rope", vec![entry("theta", real(theta))]),
        None if model.tokens.learned_positions => word("learned"),
        None => word("none"),
    };
    inner.push(entry("positions", positions));
    inner.push(entry("mlp", call("swiglu", vec![entry("width", count(block.inner))])));
    inner.push(entry("norm", call("post_rms", vec![entry("eps", real(block.norm_eps))])));
    inner
}

fn steps(model: &Model, steps: &[Step]) -> ast::Steps {
    let step = |step: &Step| match step {
        Step::Update(Update { state, network, operands }) => {
            let operand = |operand: &Operand| match operand {
                Operand::State(state) => word(model.states[state.0].name.as_str()),
                Operand::Input => word("x"),
            };
            let sum = operands.iter().map(operand).reduce(|left, right| binary(left, Operator::Add, right));
            let sum = value(sum.expect("an update reads something"));
            let argument = Entry { key: None, value: sum, span: Span::EMPTY };
            ast::StepKind::Update(ast::Update {
                state: name(model.states[state.0].name.as_str()),
                value: call(model.networks[network.0].name.as_str(), vec![argument]),
            })
        }
        Step::Repeat(repeat) => ast::StepKind::Repeat(ast::Repeat {
            label: repeat.label.as_deref().map(name),
            count: count(repeat.count),
            body: self::steps(model, &repeat.body),
        }),
    };
    node::steps(steps.iter().map(step).map(node::step).collect())
}

fn gradient(gradient: &Gradient) -> ast::Gradient {
    let (policy, arguments) = match gradient {
        Gradient::OneStep => ("one_step", Vec::new()),
        Gradient::Last { count: iterations, label } => {
            ("last", vec![count(*iterations), word(label.as_str())])
        }
        Gradient::Full => ("full", Vec::new()),
    };
    ast::Gradient { policy: name(policy), arguments }
}

fn predict_q(model: &Model, q_head: &QHead) -> ast::Predict {
    let outputs = match q_head.outputs {
        QOutputs::HaltContinue => expr(ExprKind::Tuple(vec![word("halt"), word("continue")])),
        QOutputs::Halt => word("halt"),
    };
    let inner = vec![entry("outputs", outputs), entry("bias", real(q_head.bias))];
    ast::Predict {
        what: name("q"),
        state: name(model.states[q_head.state.0].name.as_str()),
        position: Some(count(q_head.position)),
        entries: Some(entries(Delimiter::Brace, inner)),
    }
}

fn halt(halt: &Halt) -> ast::Halt {
    let most = |most: usize| entry("max_segments", count(most));
    let (policy, delimiter, inner) = match halt {
        Halt::QLearning { max_segments, explore, target } => {
            let target = match target {
                QTarget::Bootstrap => "bootstrap",
                QTarget::None => "none",
            };
            let explore = entry("explore", real(*explore));
            (
                "q_learning",
                Delimiter::Brace,
                vec![most(*max_segments), explore, entry("target", word(target))],
            )
        }
        Halt::Bce { max_segments, explore } => {
            ("bce", Delimiter::Brace, vec![most(*max_segments), entry("explore", real(*explore))])
        }
        Halt::Fixed { segments } => ("fixed", Delimiter::Paren, vec![entry("segments", count(*segments))]),
        Halt::Residual { eps, max_segments } => {
            ("residual", Delimiter::Brace, vec![entry("eps", real(*eps)), most(*max_segments)])
        }
    };
    ast::Halt { policy: name(policy), entries: Some(entries(delimiter, inner)) }
}

fn infer_entries(infer: &Infer) -> Vec<Entry> {
    let mut inner =
        vec![entry("segments", count(infer.segments)), entry("halt", word(infer.halt.to_string()))];
    if let Some(settle) = infer.settle {
        inner.push(entry("settle", real(settle)));
    }
    if let Some(rollouts) = infer.rollouts {
        inner.extend([entry("rollouts", count(rollouts.count)), entry("noise", real(rollouts.noise))]);
    }
    if let Some(check) = infer.check {
        inner.push(entry("check", word(check.name().to_string())));
    }
    inner
}

fn train_entries(train: &Train) -> Vec<Entry> {
    let loss = match train.loss {
        Loss::Stablemax => "stablemax",
        Loss::Softmax => "softmax",
    };
    let mut inner = vec![
        entry("data", data(&train.data)),
        entry("augment", augment(train.augment)),
        entry("loss", word(loss)),
        entry("optimizer", optimizer(&train.optimizer)),
    ];
    if let Some(puzzles) = &train.puzzle_optimizer {
        let settings = vec![entry("lr", real(puzzles.lr)), entry("weight_decay", real(puzzles.weight_decay))];
        inner.push(entry("puzzles", call("sign_sgd", settings)));
    }
    inner.extend(train.ema.map(|ema| entry("ema", real(ema))));
    inner.push(entry("schedule", schedule(&train.schedule)));
    inner.push(entry("batch", count(train.batch)));
    inner.push(match train.length {
        Length::Epochs(number) => entry("epochs", epochs(number)),
        Length::Steps(steps) => entry("steps", count(steps)),
    });
    if let Some(every) = train.eval_every {
        let (number, unit) = match every {
            Length::Epochs(number) => (epochs(number), "epochs"),
            Length::Steps(steps) => (count(steps), "steps"),
        };
        let mut every = entry("eval_every", number);
        every.value.unit = Some(name(unit));
        inner.push(every);
    }
    inner.extend(train.eval_share.map(|share| entry("eval_share", real(share))));
    inner.extend(train.patience.map(|patience| entry("patience", count(patience))));
    let precision = match train.precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    };
    inner.push(entry("precision", word(precision)));
    inner.push(entry("on_divergence", on_divergence(train.on_divergence)));
    inner.push(entry("seed", count(train.seed)));
    inner
}

fn optimizer(optimizer: &Optimizer) -> Expr {
    let Adam { lr, beta1, beta2, weight_decay } = optimizer.adam();
    let betas = expr(ExprKind::Tuple(vec![real(*beta1), real(*beta2)]));
    let mut settings =
        vec![entry("lr", real(*lr)), entry("betas", betas), entry("weight_decay", real(*weight_decay))];
    match optimizer {
        Optimizer::AdamAtan2(_) => call("adam_atan2", settings),
        Optimizer::AdamW { eps, .. } => {
            settings.push(entry("eps", real(*eps)));
            call("adamw", settings)
        }
    }
}

fn augment(augment: Augmentation) -> Expr {
    match augment {
        Augmentation::None => word("none"),
        Augmentation::Symmetries => word("symmetries"),
        Augmentation::Copies { count: copies, seed } => {
            call("copies", vec![entry("count", count(copies)), entry("seed", count(seed))])
        }
    }
}

fn on_divergence(policy: OnDivergence) -> Expr {
    match policy {
        OnDivergence::Stop => word("stop"),
        OnDivergence::Rollback { lr_factor, most } => {
            call("rollback", vec![entry("lr_factor", real(lr_factor)), entry("most", count(most))])
        }
    }
}

fn schedule(schedule: &Schedule) -> Expr {
    let mut settings = vec![entry("warmup_steps", count(schedule.warmup_steps))];
    let shape = match schedule.shape {
        ScheduleShape::Constant => return call("constant", settings),
        ScheduleShape::Cosine => "cosine",
        ScheduleShape::Linear => "linear",
    };
    settings.push(entry("min_ratio", real(schedule.min_ratio)));
    call(shape, settings)
}

fn data(data: &Data) -> Expr {
    match data {
        Data::Folder(folder) => expr(ExprKind::Text(folder.clone())),
        Data::Sudoku(sudoku) => call(
            "sudoku",
            vec![
                entry("size", count(sudoku.size)),
                entry("givens", count(sudoku.givens)),
                entry("train", count(sudoku.train)),
                entry("test", count(sudoku.test)),
                entry("augment", word(sudoku.augment.to_string())),
                entry("seed", count(sudoku.seed)),
            ],
        ),
        Data::Maze(maze) => call(
            "maze",
            vec![
                entry("size", count(maze.size)),
                entry("min_path", count(maze.min_path)),
                entry("train", count(maze.train)),
                entry("test", count(maze.test)),
                entry("seed", count(maze.seed)),
            ],
        ),
    }
}

/// Returns names for the blocks that no state or network has.
fn block_names(model: &Model, count: usize) -> Vec<String> {
    let mut taken: BTreeSet<String> = RESERVED.iter().map(|name| (*name).to_string()).collect();
    taken.extend(model.states.iter().map(|state| state.name.clone()));
    taken.extend(model.networks.iter().map(|network| network.name.clone()));
    (1..=count)
        .map(|number| {
            let mut name = if count == 1 { "encoder".to_string() } else { format!("encoder_{number}") };
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            name
        })
        .collect()
}
