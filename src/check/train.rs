//! The `train` block.

use super::dataset::{self, DatasetShape};
use super::names::listed;
use super::outline::Outline;
use super::reader::{Fields, MAX_INTEGER, MAX_ROWS, Reals, to_usize};
use super::{Context, keep_one};
use crate::data::{ARC_SIDE, ARC_VOCAB, MAZE_SIDES, PuzzleKind};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::ir;
use crate::span::Span;
use crate::syntax::ast::{Expr, ExprKind, Train, Value};
use crate::syntax::nearest;

/// Most steps a length may count; more would not be exact as a real number.
const MAX_STEPS: i128 = 1_000_000_000_000;

/// Most copies of a task, ten times those of the paper. Each takes a row of the puzzle table.
const MAX_COPIES: i128 = 10_000;

/// Most times that a training may go back. By then, even a factor close to one has made the rates small.
const MAX_ROLLBACKS: i128 = 1000;

impl<'a> Context<'a> {
    /// Checks the `train` block against the model, as far as that is known.
    pub(super) fn train(
        &mut self,
        train: &'a Train,
        outline: &Outline<'a>,
        model: Option<&ir::Model>,
    ) -> Option<ir::Train> {
        let fields = self.fields(&super::keys::TRAIN, train.keyword, Some(&train.entries));
        let data = self.data(&fields);
        if let (Some(data), Some(model)) = (&data, model) {
            self.data_fits(&fields, data, outline, model);
        }
        let augment = self.augment(&fields, data.as_ref(), outline, model);
        let loss = self.choice(&fields, "loss", "stablemax").map(|(word, _)| match word {
            "softmax" => ir::Loss::Softmax,
            _ => ir::Loss::Stablemax,
        });
        let optimizer = self.optimizer(&fields, outline);
        let puzzle_optimizer = self.puzzle_optimizer(&fields, outline);
        let ema = match fields.get("ema") {
            Some(_) => self.real(&fields, "ema", Reals::OpenFraction).map(Some),
            None => Some(None),
        };
        let schedule = self.schedule(&fields);
        let batch = self.integer(&fields, "batch", 1..=MAX_ROWS);
        let length = self.length(&fields);
        let eval_every = self.eval_every(&fields, length);
        let eval_share = self.eval_share(&fields);
        let patience = self.patience(&fields, length, eval_every.flatten());
        if let (Some(schedule), Some(ir::Length::Steps(steps))) = (&schedule, length)
            && schedule.warmup_steps >= steps
        {
            self.report(only_warmup(
                fields.span("schedule"),
                schedule.warmup_steps,
                fields.span("steps"),
                steps,
            ));
        }
        let precision = self.choice(&fields, "precision", "f32").map(|(word, _)| match word {
            "bf16" => ir::Precision::Bf16,
            _ => ir::Precision::F32,
        });
        let on_divergence = self.on_divergence(&fields);
        let seed = self.seed(&fields);
        Some(ir::Train {
            data: data?,
            augment: augment?,
            loss: loss?,
            optimizer: optimizer?,
            puzzle_optimizer: puzzle_optimizer?,
            ema: ema?,
            schedule: schedule?,
            batch: batch?,
            length: length?,
            eval_every: eval_every?,
            eval_share: eval_share?,
            patience: patience?,
            precision: precision?,
            on_divergence: on_divergence?,
            seed: seed?,
        })
    }

    fn seed(&mut self, fields: &Fields<'a>) -> Option<u64> {
        let Some(value) = fields.get("seed") else { return Some(0) };
        let expr = self.unitless(value)?;
        let seed = self.integer_value(expr, "seed", 0..=i128::from(u64::MAX))?;
        Some(u64::try_from(seed).expect("the range ends with u64"))
    }

    fn data(&mut self, fields: &Fields<'a>) -> Option<ir::Data> {
        let value = self.required(fields, "data", None)?;
        let expr = self.unitless(value)?;
        match &expr.ungrouped().kind {
            ExprKind::Text(folder) if folder.trim().is_empty() => {
                self.report(no_folder(expr.span));
                None
            }
            ExprKind::Text(folder) => Some(ir::Data::Folder(folder.clone())),
            ExprKind::Call(_) | ExprKind::Name(_) => {
                let key = super::keys::TRAIN.key("data").expect("the table has this key");
                match self.chosen(key, expr)? {
                    ("sudoku", settings) => self.sudoku(&settings).map(ir::Data::Sudoku),
                    (_, settings) => self.maze(&settings).map(ir::Data::Maze),
                }
            }
            _ => {
                self.report(no_data(expr));
                None
            }
        }
    }

    fn sudoku(&mut self, settings: &Fields<'a>) -> Option<ir::GeneratedSudoku> {
        let size = self.integer(settings, "size", 1..=MAX_INTEGER);
        let fewest = match size {
            Some(4) => Some(4),
            Some(6) => Some(8),
            Some(9) => Some(17),
            Some(other) => {
                self.report(sudoku_size(settings.span("size"), other));
                None
            }
            None => None,
        };
        let most = size.map_or(MAX_INTEGER, |size| (size * size) as i128 - 1);
        let givens = self.integer(settings, "givens", fewest.unwrap_or(1)..=most);
        let train = self.integer(settings, "train", 1..=MAX_INTEGER);
        let test = self.integer(settings, "test", 1..=MAX_INTEGER);
        let augment = self.choice(settings, "augment", "true").map(|(word, _)| word == "true");
        let seed = self.seed(settings);
        fewest?;
        Some(ir::GeneratedSudoku {
            size: size?,
            givens: givens?,
            train: train?,
            test: test?,
            augment: augment?,
            seed: seed?,
        })
    }

    fn maze(&mut self, settings: &Fields<'a>) -> Option<ir::GeneratedMaze> {
        let sides = *MAZE_SIDES.start() as i128..=*MAZE_SIDES.end() as i128;
        let size = self.integer(settings, "size", sides);
        let cells = size.map_or(MAX_INTEGER, |size| (size * size) as i128);
        let min_path = self.integer_or(settings, "min_path", 2..=cells, size.unwrap_or(2));
        let train = self.integer(settings, "train", 1..=MAX_INTEGER);
        let test = self.integer(settings, "test", 1..=MAX_INTEGER);
        let seed = self.seed(settings);
        Some(ir::GeneratedMaze { size: size?, min_path: min_path?, train: train?, test: test?, seed: seed? })
    }

    /// Compares vocabulary and positions with generated puzzles, whose sizes are known.
    fn data_fits(&mut self, fields: &Fields<'a>, data: &ir::Data, outline: &Outline<'a>, model: &ir::Model) {
        let (what, vocab, size) = match data {
            ir::Data::Folder(_) => return,
            ir::Data::Sudoku(sudoku) => ("Sudoku puzzles", sudoku.size + 2, sudoku.size),
            ir::Data::Maze(maze) => ("mazes", 6, maze.size),
        };
        let dataset = DatasetShape { what: format!("{what} of side {size}"), vocab, positions: size * size };
        let tokens = outline.tokens.map(|section| &section.entries);
        self.diagnostics.extend(dataset::compare(&dataset, model, tokens, fields.span("data")));
    }

    /// Reads what is done to training rows, and compares it with data and model, as far as these are known.
    fn augment(
        &mut self,
        fields: &Fields<'a>,
        data: Option<&ir::Data>,
        outline: &Outline<'a>,
        model: Option<&ir::Model>,
    ) -> Option<ir::Augmentation> {
        let (word, settings) = self.choice(fields, "augment", "none")?;
        let augment = match word {
            "symmetries" => ir::Augmentation::Symmetries,
            "copies" => {
                let count = self.integer(&settings, "count", 1..=MAX_COPIES);
                let seed = self.seed(&settings);
                ir::Augmentation::Copies { count: count?, seed: seed? }
            }
            _ => ir::Augmentation::None,
        };
        match (augment, data) {
            (ir::Augmentation::None, _) | (_, None) => {}
            (ir::Augmentation::Symmetries, Some(ir::Data::Sudoku(sudoku))) => {
                if !sudoku.augment {
                    self.report(sudoku_as_it_is(fields));
                }
            }
            (ir::Augmentation::Symmetries, Some(ir::Data::Maze(_))) => {}
            (_, Some(ir::Data::Folder(_))) => {
                let section = outline.tokens.map(|section| section.name.span);
                if let Some(model) = model {
                    self.diagnostics.extend(augment_fits(augment, &model.tokens, fields, section));
                }
            }
            (ir::Augmentation::Copies { .. }, Some(data)) => self.report(copies_of_generated(fields, data)),
        }
        Some(augment)
    }

    fn optimizer(&mut self, fields: &Fields<'a>, outline: &Outline<'a>) -> Option<ir::Optimizer> {
        let (word, settings) = self.required_choice(fields, "optimizer", Some("adam_atan2(lr = 1e-4)"))?;
        // Where the weights stay as they are, the vectors of puzzles can still be learned.
        let rates = if outline.puzzles.is_some() { Reals::NotNegative } else { Reals::Positive };
        let lr = self.real(&settings, "lr", rates);
        let betas = match settings.get("betas") {
            Some(value) => self.betas(value),
            None => Some([0.9, 0.95]),
        };
        let weight_decay = self.real_or(&settings, "weight_decay", Reals::NotNegative, 0.0);
        let eps = match word {
            "adamw" => self.real_or(&settings, "eps", Reals::Positive, 1e-8),
            _ => Some(0.0),
        };
        let [beta1, beta2] = betas?;
        let adam = ir::Adam { lr: lr?, beta1, beta2, weight_decay: weight_decay? };
        let eps = eps?;
        Some(match word {
            "adamw" => ir::Optimizer::AdamW { adam, eps },
            _ => ir::Optimizer::AdamAtan2(adam),
        })
    }

    fn betas(&mut self, value: &'a Value) -> Option<[f32; 2]> {
        let expr = self.unitless(value)?;
        let ExprKind::Tuple(parts) = &expr.kind else {
            self.report(no_pair(expr.span, &expr.describe()));
            return None;
        };
        let [first, second] = parts.as_slice() else {
            self.report(no_pair(expr.span, &expr.describe()));
            return None;
        };
        let beta1 = self.real_number(first, "betas", Reals::Decay);
        let beta2 = self.real_number(second, "betas", Reals::Decay);
        Some([beta1?, beta2?])
    }

    /// Returns `Some(None)` for a model without puzzle vectors and `None` if there is an error.
    fn puzzle_optimizer(
        &mut self,
        fields: &Fields<'a>,
        outline: &Outline<'a>,
    ) -> Option<Option<ir::SignSgd>> {
        match (outline.puzzles, fields.entry_span("puzzles")) {
            (None, None) => Some(None),
            (None, Some(span)) => {
                if self.complete {
                    self.report(optimizer_without_puzzles(span, outline.name.span));
                }
                None
            }
            (Some(section), None) => {
                if fields.may_miss("puzzles") {
                    self.report(puzzles_without_optimizer(fields, section.name.span));
                }
                None
            }
            (Some(_), Some(_)) => {
                let (_, settings) = self.required_choice(fields, "puzzles", None)?;
                let lr = self.real(&settings, "lr", Reals::Positive);
                let weight_decay = self.real_or(&settings, "weight_decay", Reals::NotNegative, 0.0);
                Some(Some(ir::SignSgd { lr: lr?, weight_decay: weight_decay? }))
            }
        }
    }

    fn schedule(&mut self, fields: &Fields<'a>) -> Option<ir::Schedule> {
        let (word, settings) = self.choice(fields, "schedule", "constant")?;
        let shape = match word {
            "cosine" => ir::ScheduleShape::Cosine,
            "linear" => ir::ScheduleShape::Linear,
            _ => ir::ScheduleShape::Constant,
        };
        let warmup_steps = match settings.get("warmup_steps") {
            Some(value) => self
                .unitless(value)
                .and_then(|expr| self.integer_value(expr, "warmup_steps", 0..=MAX_STEPS))
                .map(|steps| to_usize(steps) as u64),
            None => Some(0),
        };
        let min_ratio = match shape {
            ir::ScheduleShape::Constant => Some(1.0),
            ir::ScheduleShape::Cosine | ir::ScheduleShape::Linear => {
                self.real_or(&settings, "min_ratio", Reals::Fraction, 0.0)
            }
        };
        Some(ir::Schedule { shape, warmup_steps: warmup_steps?, min_ratio: min_ratio? })
    }

    fn on_divergence(&mut self, fields: &Fields<'a>) -> Option<ir::OnDivergence> {
        let (word, settings) = self.choice(fields, "on_divergence", "stop")?;
        if word == "stop" {
            return Some(ir::OnDivergence::Stop);
        }
        let lr_factor = self.real_or(&settings, "lr_factor", Reals::OpenFraction, 0.5);
        let most = self.integer_or(&settings, "most", 1..=MAX_ROLLBACKS, 3);
        Some(ir::OnDivergence::Rollback { lr_factor: lr_factor?, most: most? })
    }

    fn length(&mut self, fields: &Fields<'a>) -> Option<ir::Length> {
        match (fields.entry_span("epochs"), fields.entry_span("steps")) {
            (Some(epochs), Some(steps)) => {
                let (first, second) = if epochs < steps { (epochs, steps) } else { (steps, epochs) };
                self.report(two_lengths(second, first));
                None
            }
            (None, None) => {
                if fields.may_miss("epochs") && fields.may_miss("steps") {
                    self.report(no_length(fields));
                }
                None
            }
            (Some(_), None) => {
                let value = self.required(fields, "epochs", None)?;
                let expr = self.unitless(value)?;
                self.epochs(expr, "epochs").map(ir::Length::Epochs)
            }
            (None, Some(_)) => {
                let value = self.required(fields, "steps", None)?;
                let expr = self.unitless(value)?;
                self.steps_number(expr, "steps").map(ir::Length::Steps)
            }
        }
    }

    fn epochs(&mut self, expr: &'a Expr, what: &str) -> Option<f64> {
        self.real_number(expr, what, Reals::Positive)?;
        // The value is kept in full, since epochs are counted as f64.
        self.constant(expr).map(super::constant::Constant::real)
    }

    fn steps_number(&mut self, expr: &'a Expr, what: &str) -> Option<u64> {
        self.integer_value(expr, what, 1..=MAX_STEPS).map(|steps| to_usize(steps) as u64)
    }

    /// Returns `Some(None)` where the model is evaluated at the end alone and `None` if there is an error.
    fn eval_every(&mut self, fields: &Fields<'a>, length: Option<ir::Length>) -> Option<Option<ir::Length>> {
        let Some(value) = fields.get("eval_every") else { return Some(None) };
        let Some(unit) = &value.unit else {
            self.report(unit_missing(value.span));
            return None;
        };
        let every = match unit.text.as_str() {
            "epochs" => ir::Length::Epochs(self.epochs(&value.expr, "eval_every")?),
            "steps" => ir::Length::Steps(self.steps_number(&value.expr, "eval_every")?),
            _ => {
                self.report(unknown_unit(&unit.text, unit.span));
                return None;
            }
        };
        let never = match (every, length) {
            (ir::Length::Epochs(every), Some(ir::Length::Epochs(length))) => every > length,
            (ir::Length::Steps(every), Some(ir::Length::Steps(length))) => every > length,
            _ => false,
        };
        if never {
            let key = if matches!(every, ir::Length::Epochs(_)) { "epochs" } else { "steps" };
            self.report(never_evaluated(fields, key));
        }
        Some(Some(every))
    }

    /// Returns `Some(None)` where every evaluation takes all rows and `None` if there is an error.
    fn eval_share(&mut self, fields: &Fields<'a>) -> Option<Option<f32>> {
        if fields.get("eval_share").is_none() {
            return Some(None);
        }
        let share = self.real(fields, "eval_share", Reals::OpenFraction);
        self.evaluated_on_the_way(
            fields,
            "eval_share",
            "is a share of the training between two evaluations",
        )?;
        share.map(Some)
    }

    /// Returns `Some(None)` where training does all its steps and `None` if there is an error.
    fn patience(
        &mut self,
        fields: &Fields<'a>,
        length: Option<ir::Length>,
        every: Option<ir::Length>,
    ) -> Option<Option<usize>> {
        if fields.get("patience").is_none() {
            return Some(None);
        }
        let patience = self.integer(fields, "patience", 1..=MAX_INTEGER);
        self.evaluated_on_the_way(fields, "patience", "counts evaluations, and the only one is at the end")?;
        let patience = patience?;
        // Counted in one unit, and not longer than the training; the other case has its own warning.
        let (every, length, key) = match (every?, length?) {
            (ir::Length::Epochs(every), ir::Length::Epochs(length)) => (every, length, "epochs"),
            (ir::Length::Steps(every), ir::Length::Steps(length)) => (every as f64, length as f64, "steps"),
            _ => return Some(Some(patience)),
        };
        // The first evaluation is the best of all before it.
        let ends = (patience as f64 + 1.0) * every;
        if every <= length && ends >= length {
            self.report(never_ends_early(fields, patience, key));
        }
        Some(Some(patience))
    }

    /// Reports a key that has no meaning if the model is evaluated at the end alone; `None` if that is so.
    fn evaluated_on_the_way(&mut self, fields: &Fields<'a>, key: &'static str, why: &str) -> Option<()> {
        if fields.get("eval_every").is_some() {
            return Some(());
        }
        if fields.may_miss("eval_every") {
            self.report(needs_evaluations(fields, key, why));
        }
        None
    }
}

fn no_folder(span: Span) -> Diagnostic {
    Diagnostic::error(Code::OutOfRange, span, "the data folder has no name")
        .label("expected the path of a folder")
        .help("name a dataset folder, or generate puzzles with `sudoku(…)` or `maze(…)`")
}

fn no_data(expr: &Expr) -> Diagnostic {
    let message = format!("`data` takes a folder, `sudoku(…)` or `maze(…)`, found {}", expr.describe());
    Diagnostic::error(Code::WrongType, expr.span, message)
        .label("expected a string, `sudoku(…)` or `maze(…)`")
        .mend(
            "put the path of the folder between `\"`",
            [Edit::before(expr.span, "\""), Edit::behind(expr.span, "\"")],
        )
}

fn sudoku_size(span: Span, found: usize) -> Diagnostic {
    Diagnostic::error(Code::OutOfRange, span, format!("Sudoku grids have side 4, 6 or 9, found {found}"))
        .label("expected 4, 6 or 9")
}

fn sudoku_as_it_is(fields: &Fields<'_>) -> Diagnostic {
    let message = "`augment = symmetries` contradicts `augment = false` of the generated puzzles";
    Diagnostic::error(Code::ConflictingKeys, fields.span("augment"), message)
        .label("shows every puzzle under a random symmetry")
        .secondary(fields.span("data"), "shows every puzzle as it is")
        .help("keep one of the two; `augment` of `sudoku(…)` is enough, and is `true` if it is not given")
        .offer("remove `augment = symmetries`", fields.remove(&["augment"]))
}

fn copies_of_generated(fields: &Fields<'_>, data: &ir::Data) -> Diagnostic {
    let message = "`copies` are of tasks of ARC in a dataset folder, and the data is generated";
    let diagnostic = Diagnostic::error(Code::ConflictingKeys, fields.span("augment"), message)
        .label("for tasks of ARC")
        .secondary(fields.span("data"), "generated puzzles");
    match data {
        ir::Data::Sudoku(_) => diagnostic
            .help("remove it; `augment` of `sudoku(…)` shows puzzles under symmetries")
            .offer("remove it", fields.remove(&["augment"])),
        _ => diagnostic.mend("write `augment = symmetries`", [fields.set("augment", "symmetries")]),
    }
}

/// Compares what is done to the rows of a folder with the sizes that they have.
fn augment_fits(
    augment: ir::Augmentation,
    tokens: &ir::Tokens,
    fields: &Fields<'_>,
    section: Option<Span>,
) -> Option<Diagnostic> {
    let ir::Tokens { vocab, positions, .. } = *tokens;
    let is_arc = (positions, vocab) == (ARC_SIDE * ARC_SIDE, ARC_VOCAB);
    let has_symmetries = PuzzleKind::of_sizes(positions, vocab).is_some();
    let (label, message) = match augment {
        ir::Augmentation::Symmetries if !has_symmetries => (
            "for Sudoku and mazes",
            format!("hrmc knows no symmetries of rows of {positions} tokens of {vocab} kinds"),
        ),
        ir::Augmentation::Copies { .. } if !is_arc => (
            "for tasks of ARC",
            format!("copies are of tasks of ARC, not of rows of {positions} tokens of {vocab} kinds"),
        ),
        _ => return None,
    };
    let diagnostic = Diagnostic::error(Code::DataMismatch, fields.span("augment"), message).label(label);
    let diagnostic = match section {
        Some(section) => diagnostic.secondary(section, "the sizes of the rows"),
        None => diagnostic,
    };
    let instead = |value: &str| [fields.set("augment", value)];
    Some(match (is_arc, has_symmetries) {
        (true, _) => diagnostic
            .help("tasks of ARC have copies instead: `augment = copies(1_000)`")
            .offer("write `augment = copies(1_000)`", instead("copies(1_000)")),
        (false, true) => diagnostic
            .help("Sudoku and mazes have symmetries instead: `augment = symmetries`")
            .offer("write `augment = symmetries`", instead("symmetries")),
        (false, false) => diagnostic.mend("remove it", fields.remove(&["augment"])),
    })
}

fn no_pair(span: Span, found: &str) -> Diagnostic {
    Diagnostic::error(Code::WrongType, span, format!("`betas` takes two numbers, found {found}"))
        .label("expected two numbers")
        .mend("write `betas = (0.9, 0.95)`", [Edit::replace(span, "(0.9, 0.95)")])
}

fn optimizer_without_puzzles(span: Span, model: Span) -> Diagnostic {
    Diagnostic::error(Code::PuzzleOptimizerMismatch, span, "the model has no puzzle vectors to train")
        .label("would have no effect")
        .secondary(model, "this model has no `puzzles`")
        .help("remove it, or add `puzzles { … }` to the model")
        .offer("remove it", [Edit::Remove(span)])
}

fn puzzles_without_optimizer(fields: &Fields<'_>, section: Span) -> Diagnostic {
    let entry = "puzzles = sign_sgd(lr = 1e-4, weight_decay = 1.0)";
    Diagnostic::error(Code::PuzzleOptimizerMismatch, fields.owner(), "the puzzle vectors have no optimizer")
        .label("`puzzles` is missing")
        .secondary(section, "the vectors")
        .mend(format!("add `{entry}`"), [fields.add(entry)])
}

fn two_lengths(span: Span, first: Span) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(Code::ConflictingKeys, span, "`epochs` and `steps` exclude each other")
            .label("a second length")
            .secondary(first, "the length is given here");
    keep_one(diagnostic, [span, first])
}

fn no_length(fields: &Fields<'_>) -> Diagnostic {
    Diagnostic::error(Code::MissingKey, fields.owner(), "`train` needs `epochs` or `steps`")
        .label("does not say when to stop")
        .help("add `epochs = …` or `steps = …`")
        .offer("add `epochs = 100`", [fields.add("epochs = 100")])
        .offer("add `steps = 1_000`", [fields.add("steps = 1_000")])
}

fn unit_missing(span: Span) -> Diagnostic {
    Diagnostic::error(Code::WrongUnit, span, "`eval_every` needs a unit")
        .label("of what")
        .help("write `epochs` or `steps` behind the number")
        .offer("write `epochs` behind it", [Edit::behind(span, " epochs")])
        .offer("write `steps` behind it", [Edit::behind(span, " steps")])
}

fn unknown_unit(unit: &str, span: Span) -> Diagnostic {
    let units = super::keys::UNITS;
    let diagnostic = Diagnostic::error(Code::WrongUnit, span, format!("there is no unit `{unit}`"))
        .label(format!("expected {}", listed(units.iter().copied())));
    match nearest(unit, units.iter().copied()) {
        Some(meant) => diagnostic.meant(span, meant),
        None => diagnostic,
    }
}

fn never_evaluated(fields: &Fields<'_>, length: &str) -> Diagnostic {
    let message = "the model is evaluated at the end alone";
    Diagnostic::warning(Code::WithoutEffect, fields.span("eval_every"), message)
        .label("longer than the training")
        .secondary(fields.span(length), "the length of the training")
        .help("make it shorter, or leave it out")
        // Both make no sense without it.
        .offer("leave it out", fields.remove(&["eval_every", "eval_share", "patience"]))
}

fn needs_evaluations(fields: &Fields<'_>, key: &str, why: &str) -> Diagnostic {
    Diagnostic::error(Code::MissingKey, fields.span(key), format!("`{key}` needs `eval_every`"))
        .label(why)
        .help(format!("add `eval_every = 100 steps`, or remove `{key}`"))
        .offer("add `eval_every = 100 steps`", [fields.add("eval_every = 100 steps")])
        .offer(format!("remove `{key}`"), fields.remove(&[key]))
}

fn never_ends_early(fields: &Fields<'_>, patience: usize, length: &str) -> Diagnostic {
    let message = "the training is over before `patience` can end it";
    Diagnostic::warning(Code::WithoutEffect, fields.span("patience"), message)
        .label(format!("ends it after {} evaluations at the earliest", patience + 1))
        .secondary(fields.span(length), "the length of the training")
        .help("lower `patience` or `eval_every`, or leave `patience` out")
        .offer("leave `patience` out", fields.remove(&["patience"]))
}

fn only_warmup(span: Span, warmup_steps: u64, steps_span: Span, steps: u64) -> Diagnostic {
    let message = format!("{warmup_steps} steps of warm-up leave nothing of {steps} steps of training");
    Diagnostic::warning(Code::WithoutEffect, span, message)
        .label("the rate never reaches `lr`")
        .secondary(steps_span, "the length of the training")
        .help("warm up for fewer steps, or train longer")
}
