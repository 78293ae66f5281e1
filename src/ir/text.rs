//! The stable text form of a checked model.
//!
//! It shows what the loop nest comes to: every update of one segment in the order in which it runs, with
//! its place in the loops, and a line wherever the gradient is cut.

use std::fmt::Write;

use super::{
    Adam, Augmentation, Block, Candidates, CellChoice, ConflictHead, Data, FeedForward, Gradient, Halt,
    Infer, KeepHead, Length, Loss, Mixing, Model, Network, Norm, Normal, OnDivergence, Operand, Optimizer,
    Precision, Prefix, QOutputs, QTarget, Repeat, ScheduleShape, Search, Starts, StateInit, Step, TokenHead,
    Train, Update, unroll,
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
        if let Some(Prefix { positions, std }) = &model.prefix {
            self.line(1, format!("prefix [{positions}, {hidden}] anew in every update, std = {std:?}"));
        }
        if model.tokens.learned_positions {
            parts = format!("sqrt(1/2) * ({parts} + positions)");
        }
        match &model.candidates {
            Some(candidates) => self.candidates(candidates),
            None => self.line(1, format!("input x [B, {total}, {hidden}] = sqrt(D) * {parts}")),
        }
        for state in &model.states {
            let (name, stored_as) = (&state.name, &state.stored_as);
            let begins = match &state.init {
                StateInit::Normal(Normal { std, truncate }) => {
                    format!("from {stored_as} [{hidden}] = normal(std = {std}, truncate = {truncate})")
                }
                StateInit::Input => "= x in every segment".to_string(),
            };
            self.line(1, format!("state {name} [B, {total}, {hidden}] {begins}"));
        }
        for network in &model.networks {
            let Network { name, stored_as, layers, block } = network;
            let weights = layers * block_weights(block, hidden, total) + self.around_weights(network);
            self.line(
                1,
                format!("network {name} stored as {stored_as}, {weights} weights, {layers} blocks of"),
            );
            self.line(2, mixing(&block.mixing, hidden, total));
            let unit = match block.unit {
                FeedForward::SwiGlu => "swiglu",
                FeedForward::Gelu => "gelu",
            };
            self.line(2, format!("{unit} [{hidden}] -> [{}] -> [{hidden}]", block.inner));
            let norm = match block.norm {
                Norm::PostRms => "norm after each",
                Norm::PreRms => "norm before each",
                Norm::PreLayer => "norm of layers before each",
            };
            self.line(2, format!("{norm}, eps = {:?}", block.norm_eps));
            // What a block does not have has no line, so that a model has the text, and the hash, that it had before
            // there was a choice.
            if let Some(std) = block.grid {
                self.line(
                    2,
                    format!("positions of rows and columns are added before the first, std = {std:?}"),
                );
            }
            if block.bias {
                self.line(2, "linear maps have biases");
            }
            if block.dropout > 0.0 {
                self.line(2, format!("dropout {:?} after each", block.dropout));
            }
        }
        self.line(1, "segment");
        self.steps(&model.segment, 2);
        self.unrolled();
        let token_state = &model.states[model.token_head.state.0].name;
        let TokenHead { weight, bias, .. } = model.token_head;
        let mut head =
            format!("predict tokens [B, {tokens}, {}] from {token_state}", model.predicted_tokens());
        if weight != 1.0 {
            head.push_str(&format!(", weight = {weight:?}"));
        }
        if let Some(bias) = bias {
            head.push_str(&format!(", bias = {bias:?}"));
        }
        self.line(1, head);
        if let Some(KeepHead { state, weight, keep, remove }) = &model.keep_head {
            let state = &model.states[state.0].name;
            let weights = format!("weight = {weight:?}, keep = {keep:?}, remove = {remove:?}");
            self.line(
                1,
                format!("predict keep [B, {tokens}, {}] from {state}, {weights}", model.predicted_tokens()),
            );
        }
        if let Some(ConflictHead { state, position, weight }) = &model.conflict_head {
            let state = &model.states[state.0].name;
            self.line(1, format!("predict conflict [B, 1] from {state}[{position}], weight = {weight:?}"));
        }
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

    fn candidates(&mut self, candidates: &Candidates) {
        let (model, total) = (self.model, self.model.total_positions());
        let Candidates { values, first, remove, conflict, cell, temperature } = candidates;
        let last = first + values - 1;
        self.line(
            1,
            format!("candidates [B, {}, {values}] of the tokens {first} to {last}", model.tokens.positions),
        );
        let cell = cell_choice(*cell);
        self.line(2, format!("removed below {remove:?}, conflict from {conflict:?}"));
        self.line(2, format!("branches at {cell} token, temperature = {temperature:?}"));
        self.line(
            1,
            format!("input x [B, {total}, {}] = linear map of candidates, with a bias", model.hidden),
        );
    }

    /// Returns the weights of the norm around a network, if it has one with weights.
    fn around_weights(&self, network: &Network) -> usize {
        let is_around = |update: &&Update| {
            update.around.is_some() && self.model.networks[update.network.0].name == network.name
        };
        let has_norm = network.block.norm == Norm::PreLayer && self.model.updates().iter().any(is_around);
        let norm = if has_norm { 2 * self.model.hidden } else { 0 };
        let side = self.model.tokens.positions.isqrt();
        norm + network.block.grid.map_or(0, |_| 2 * side * self.model.hidden)
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
        let sum = |operands: &[Operand]| {
            let names = operands.iter().map(|operand| match operand {
                Operand::State(state) => self.model.states[state.0].name.as_str(),
                Operand::Input => "x",
            });
            names.collect::<Vec<&str>>().join(" + ")
        };
        let state = &self.model.states[update.state.0].name;
        let result = format!("{}({})", self.model.networks[update.network.0].name, sum(&update.operands));
        match update.around.as_deref() {
            None => format!("{state} <- {result}"),
            Some([]) => format!("{state} <- norm({result})"),
            Some(around) => format!("{state} <- norm({} + {result})", sum(around)),
        }
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
        if let Some(label) = &self.model.supervise {
            self.line(1, format!("supervise {label}: a loss after each of its iterations"));
        }
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
        // What is not given has no line, either.
        if let Some(clip) = train.clip {
            self.line(2, format!("clip {clip:?}"));
        }
        self.line(2, format!("batch {}", train.batch));
        if train.accumulate > 1 {
            self.line(2, format!("accumulate {}", train.accumulate));
        }
        let Starts { hints, errors } = train.starts;
        if (hints, errors) != (0.0, 0.0) {
            self.line(2, format!("starts with hints {hints:?}, with errors {errors:?}"));
        }
        self.line(2, format!("length {}", length(&train.length)));
        match &train.eval_every {
            Some(every) => self.line(2, format!("evaluate every {}", length(every))),
            None => self.line(2, "evaluate at the end"),
        }
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
    let unit = match block.unit {
        FeedForward::SwiGlu => 3 * hidden * block.inner,
        FeedForward::Gelu => 2 * hidden * block.inner,
    };
    let biases = match (block.bias, &block.mixing, block.unit) {
        (false, _, _) => 0,
        (true, mixing, unit) => {
            let mixing = match mixing {
                Mixing::Attention { .. } => 4 * hidden,
                Mixing::Mlp { inner } => 2 * inner + positions,
            };
            let unit = match unit {
                FeedForward::SwiGlu => 2 * block.inner + hidden,
                FeedForward::Gelu => block.inner + hidden,
            };
            mixing + unit
        }
    };
    let norms = if block.norm == Norm::PreLayer { 4 * hidden } else { 0 };
    mixing + unit + biases + norms
}

/// Returns which open token takes a value, as in `branches at … token`.
fn cell_choice(cell: CellChoice) -> &'static str {
    match cell {
        CellChoice::Random => "any open",
        CellChoice::Fewest => "the most certain",
    }
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
        Halt::Solved { max_segments } => format!("halt solved, after at most {max_segments} segments"),
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
    if let Some(abstain) = infer.abstain {
        text.push_str(&format!(", no answer above {abstain:?}"));
    }
    if let Some(Search { chains, cell, conflict, dropout }) = infer.search {
        text.push_str(&format!(
            ", {chains} chains that branch at {} token, conflict from {conflict:?}, dropout {dropout:?}",
            cell_choice(cell)
        ));
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
