//! The stable text form of a checked model.
//!
//! It shows what the loop nest comes to: every update of one segment in the order in which it runs, with
//! its place in the loops, and a line wherever the gradient is cut.

use std::fmt::Write;

use super::{
    Adam, Augmentation, Block, Data, Gradient, Halt, Infer, Length, Loss, Mixing, Model, Network,
    OnDivergence, Operand, Optimizer, Precision, QOutputs, QTarget, Repeat, ScheduleShape, Step, Train,
    Update, unroll,
};

/// Returns the text form of `model`.
pub fn to_text(model: &Model) -> String {
    let mut text = Text { model, lines: String::new() };
    text.model();
    text.lines
}

struct Text<'a> {
    model: &'a Model,
    lines: String,
}

impl Text<'_> {
    fn line(&mut self, depth: usize, line: impl AsRef<str>) {
        let line = line.as_ref().trim_end();
        writeln!(self.lines, "{}{line}", "  ".repeat(depth)).expect("memory takes every byte");
    }

    fn model(&mut self) {
        let model = self.model;
        let (prefix, tokens, hidden) = (model.prefix_positions(), model.tokens.positions, model.hidden);
        let total = model.total_positions();
        self.line(0, format!("model {}", model.name));
        self.line(1, format!("sizes P = {prefix}, S = {tokens}, D = {hidden}, V = {}", model.tokens.vocab));
        if let Some(puzzles) = &model.puzzles {
            let (width, positions) = (puzzles.width, puzzles.positions);
            self.line(1, format!("puzzles [B, {width}] padded to [B, {positions}, {hidden}]"));
        }
        let mut parts = "tokens".to_string();
        if prefix > 0 {
            parts = format!("(puzzle ++ {parts})");
        }
        if model.tokens.learned_positions {
            parts = format!("sqrt(1/2) * ({parts} + positions)");
        }
        self.line(1, format!("input x [B, {total}, {hidden}] = sqrt(D) * {parts}"));
        for state in &model.states {
            let (name, stored_as) = (&state.name, &state.stored_as);
            let (std, truncate) = (state.init.std, state.init.truncate);
            let init = format!("normal(std = {std}, truncate = {truncate})");
            self.line(1, format!("state {name} [B, {total}, {hidden}] from {stored_as} [{hidden}] = {init}"));
        }
        for network in &model.networks {
            let Network { name, stored_as, layers, block } = network;
            let weights = layers * block_weights(block, hidden, total);
            self.line(
                1,
                format!("network {name} stored as {stored_as}, {weights} weights, {layers} blocks of"),
            );
            self.line(2, mixing(&block.mixing, hidden, total));
            self.line(2, format!("swiglu [{hidden}] -> [{}] -> [{hidden}]", block.inner));
            self.line(2, format!("norm after each, eps = {:?}", block.norm_eps));
        }
        self.line(1, "segment");
        self.steps(&model.segment, 2);
        self.unrolled();
        let token_state = &model.states[model.token_head.state.0].name;
        self.line(1, format!("predict tokens [B, {tokens}, {}] from {token_state}", model.tokens.vocab));
        if let Some(q_head) = &model.q_head {
            let state = &model.states[q_head.state.0].name;
            let (outputs, rows) = match q_head.outputs {
                QOutputs::HaltContinue => ("halt, continue", 2),
                QOutputs::Halt => ("halt", 1),
            };
            let (position, bias) = (q_head.position, q_head.bias);
            self.line(
                1,
                format!("predict q ({outputs}) [B, {rows}] from {state}[{position}], bias = {bias}"),
            );
        }
        self.line(1, halt(&model.halt));
        if let Some(inference) = &model.infer {
            self.line(1, infer(inference));
        }
        if let Some(train) = &model.train {
            self.train(train);
        }
    }

    fn steps(&mut self, steps: &[Step], depth: usize) {
        for step in steps {
            match step {
                Step::Update(update) => {
                    let update = self.update(update);
                    self.line(depth, update);
                }
                Step::Repeat(Repeat { label, count, body }) => {
                    let label = label.as_ref().map_or(String::new(), |label| format!("{label}: "));
                    self.line(depth, format!("{label}repeat {count}"));
                    self.steps(body, depth + 1);
                }
            }
        }
    }

    fn update(&self, update: &Update) -> String {
        let operands: Vec<&str> = update
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::State(state) => self.model.states[state.0].name.as_str(),
                Operand::Input => "x",
            })
            .collect();
        let state = &self.model.states[update.state.0].name;
        format!("{state} <- {}({})", self.model.networks[update.network.0].name, operands.join(" + "))
    }

    /// Writes the updates in the order in which they run, and where the gradient is cut.
    fn unrolled(&mut self) {
        let policy = match &self.model.gradient {
            Gradient::OneStep => "one_step".to_string(),
            Gradient::Last { count, label } => format!("last {count} {label}"),
            Gradient::Full => "full".to_string(),
        };
        let updates = unroll(self.model);
        let learning = updates.iter().filter(|update| update.differentiated).count();
        let total = updates.len();
        self.line(1, format!("gradient {policy}: {learning} of {total} updates are differentiated"));
        let width = updates.iter().map(|update| self.update(update.update).len()).max().unwrap_or(0);
        let mut differentiated = false;
        for unrolled in &updates {
            if unrolled.differentiated && !differentiated {
                self.line(2, "------ detach ------");
            }
            differentiated = unrolled.differentiated;
            let mark = if differentiated { "grad" } else { "    " };
            let iterations: Vec<String> = unrolled.iterations.iter().map(usize::to_string).collect();
            let update = self.update(unrolled.update);
            self.line(2, format!("{mark} {update:width$}  [{}]", iterations.join(", ")));
        }
    }

    fn train(&mut self, train: &Train) {
        self.line(1, "train");
        self.line(2, format!("data {}", data(train)));
        // Nothing done has no line, so that a model has the text, and the hash, that it had before there was a choice.
        match train.augment {
            Augmentation::None => {}
            Augmentation::Symmetries => self.line(2, "augment symmetries"),
            Augmentation::Copies { count, seed } => {
                self.line(2, format!("augment copies(count = {count}, seed = {seed})"));
            }
        }
        self.line(
            2,
            match train.loss {
                Loss::Stablemax => "loss stablemax",
                Loss::Softmax => "loss softmax",
            },
        );
        let (name, eps) = match &train.optimizer {
            Optimizer::AdamAtan2(_) => ("adam_atan2", String::new()),
            Optimizer::AdamW { eps, .. } => ("adamw", format!(", eps = {eps:?}")),
        };
        let Adam { lr, beta1, beta2, weight_decay } = train.optimizer.adam();
        let betas = format!("betas = ({beta1:?}, {beta2:?})");
        self.line(2, format!("optimizer {name}(lr = {lr:?}, {betas}, weight_decay = {weight_decay:?}{eps})"));
        if let Some(puzzles) = &train.puzzle_optimizer {
            let (lr, weight_decay) = (puzzles.lr, puzzles.weight_decay);
            self.line(2, format!("puzzles sign_sgd(lr = {lr:?}, weight_decay = {weight_decay:?})"));
        }
        if let Some(ema) = train.ema {
            self.line(2, format!("ema {ema:?}"));
        }
        let shape = match train.schedule.shape {
            ScheduleShape::Constant => "constant",
            ScheduleShape::Cosine => "cosine",
            ScheduleShape::Linear => "linear",
        };
        let (warmup_steps, min_ratio) = (train.schedule.warmup_steps, train.schedule.min_ratio);
        self.line(2, format!("schedule {shape}(warmup_steps = {warmup_steps}, min_ratio = {min_ratio:?})"));
        // The plain policy has no line, so that a model has the text, and the hash, that it had before there was another.
        if let OnDivergence::Rollback { lr_factor, most } = train.on_divergence {
            self.line(2, format!("on_divergence rollback(lr_factor = {lr_factor:?}, most = {most})"));
        }
        self.line(2, format!("batch {}", train.batch));
        self.line(2, format!("length {}", length(&train.length)));
        match &train.eval_every {
            Some(every) => self.line(2, format!("evaluate every {}", length(every))),
            None => self.line(2, "evaluate at the end"),
        }
        // What is not given has no line, either.
        if let Some(share) = train.eval_share {
            self.line(2, format!("evaluation share {share:?}"));
        }
        if let Some(patience) = train.patience {
            self.line(2, format!("patience {patience} evaluations"));
        }
        self.line(
            2,
            match train.precision {
                Precision::F32 => "precision f32",
                Precision::Bf16 => "precision bf16",
            },
        );
        self.line(2, format!("seed {}", train.seed));
    }
}

/// Returns the number of weights of one block.
fn block_weights(block: &Block, hidden: usize, positions: usize) -> usize {
    let mixing = match block.mixing {
        // Queries, keys, values and output, each `[D, D]`.
        Mixing::Attention { .. } => 4 * hidden * hidden,
        // Gate, up and down, each between `P + S` and the width of the unit.
        Mixing::Mlp { inner } => 3 * positions * inner,
    };
    mixing + 3 * hidden * block.inner
}

fn mixing(mixing: &Mixing, hidden: usize, positions: usize) -> String {
    match mixing {
        Mixing::Attention { heads, rope_theta } => {
            let rope =
                rope_theta.map_or("no rotation".to_string(), |theta| format!("rope(theta = {theta:?})"));
            format!("attention with {heads} heads of width {}, {rope}", hidden / heads)
        }
        Mixing::Mlp { inner } => format!("mixer over positions [{positions}] -> [{inner}] -> [{positions}]"),
    }
}

fn halt(halt: &Halt) -> String {
    match halt {
        Halt::QLearning { max_segments, explore, target } => {
            let target = match target {
                QTarget::Bootstrap => "",
                QTarget::None => ", target = none",
            };
            format!("halt q_learning after at most {max_segments} segments, explore = {explore:?}{target}")
        }
        Halt::Bce { max_segments, explore } => {
            format!("halt bce after at most {max_segments} segments, explore = {explore:?}")
        }
        Halt::Fixed { segments } => format!("halt fixed after {segments} segments"),
        Halt::Residual { eps, max_segments } => {
            format!("halt residual below {eps:?}, after at most {max_segments} segments")
        }
    }
}

fn infer(infer: &Infer) -> String {
    let mut text = format!("infer at most {} segments, halt = {}", infer.segments, infer.halt);
    if let Some(settle) = infer.settle {
        text.push_str(&format!(", settled below {settle:?}"));
    }
    if let Some(rollouts) = infer.rollouts {
        text.push_str(&format!(", the best of {} rollouts with noise {:?}", rollouts.count, rollouts.noise));
    }
    if let Some(check) = infer.check {
        text.push_str(&format!(", right by {}", check.name()));
    }
    text
}

fn data(train: &Train) -> String {
    // Puzzles had the seed of the training once, and checkpoints of that time know their model by this text.
    let seeded = |seed: u64| if seed == train.seed { String::new() } else { format!(", seed = {seed}") };
    match &train.data {
        Data::Folder(folder) => format!("folder {folder:?}"),
        Data::Sudoku(sudoku) => format!(
            "sudoku of side {} with {} givens, {} for training, {} for evaluation, augment = {}{}",
            sudoku.size,
            sudoku.givens,
            sudoku.train,
            sudoku.test,
            sudoku.augment,
            seeded(sudoku.seed)
        ),
        Data::Maze(maze) => format!(
            "mazes of side {} with paths of at least {} cells, {} for training, {} for evaluation{}",
            maze.size,
            maze.min_path,
            maze.train,
            maze.test,
            seeded(maze.seed)
        ),
    }
}

fn length(length: &Length) -> String {
    match length {
        Length::Epochs(epochs) => format!("{epochs} epochs"),
        Length::Steps(steps) => format!("{steps} steps"),
    }
}
