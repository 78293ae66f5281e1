//! No key is accepted and ignored: for each there are two specs that differ in it alone, and what they leave behind
//! differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::thread;

use hrmc::internals::check::keys::{Group, Key, SECTIONS, STATEMENTS};
use hrmc::internals::device::cpu::kernels::multiplies_in_bf16;
use hrmc::internals::syntax::STATEMENT_KEYWORDS;
use hrmc_testing::workplace::Workplace;
use safetensors::SafeTensors;

use crate::HRMC;

/// A model that trains a step in a millisecond, with as many keys as go together.
const TINY: &str = "\
model tiny {
  let N = 2

  tokens { vocab = 6, positions = 16 }
  puzzles { width = 16, positions = 1 }

  block encoder {
    hidden = 16
    heads = 2
    positions = rope(theta = 30)
    mlp = swiglu(expansion = 1, multiple_of = 8)
    norm = post_rms(eps = 1e-5)
  }

  network low = 1 * encoder
  network high = 1 * encoder

  state z_low, z_high = normal(std = 1, truncate = 2)

  segment {
    cycle: repeat N {
      step: repeat 2 { z_low <- low(z_low + z_high + x) }
      z_high <- high(z_high + z_low)
    }
  }
  gradient one_step

  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }

  halt q_learning { max_segments = 3, explore = 0, target = bootstrap }

  infer { segments = 3, halt = false, rollouts = 2, noise = 0.5 }
}

train {
  data = sudoku(size = 4, givens = 8, train = 8, test = 6, augment = true)
  loss = stablemax
  optimizer = adam_atan2(lr = 1e-2, betas = (0.9, 0.95), weight_decay = 0.1)
  puzzles = sign_sgd(lr = 1e-2, weight_decay = 0.1)
  ema = 0.9
  schedule = cosine(warmup_steps = 2, min_ratio = 0.1)
  batch = 4
  steps = 6
  eval_every = 3 steps
  precision = f32
  seed = 3
}
";

/// Replacements that make one spec of another.
type Edits = &'static [(&'static str, &'static str)];

/// Where two specs must differ, and where they must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Differs {
    /// The trained weights.
    Weights,
    /// The number of steps or of rows in them, hence the weights.
    Length,
    /// What evaluation finds; training does not differ.
    Answers,
    /// The number of puzzles that are evaluated; which puzzles there are to train on may change with it.
    Tested,
    /// The weights that evaluation uses, and what it finds; training does not differ.
    Average,
    /// When the model is evaluated; training does not differ.
    Evaluations,
    /// What compiling says about weights and work. For models that no generated data fits.
    Cost,
    /// Whether it can be trained at all: the data of one fits the model, that of the other does not; or the numbers of the
    /// other do not remain finite.
    Refused,
    /// The trained weights, or what the run says where the processor has no such products.
    Arithmetic,
}

/// Two specs that differ in one key.
struct Row {
    /// The key with everything it stands in.
    path: &'static str,
    /// What makes [`TINY`] a spec with the key.
    given: Edits,
    /// What is written there, and what else may be.
    change: (&'static str, &'static str),
    differs: Differs,
}

const fn row(path: &'static str, change: (&'static str, &'static str), differs: Differs) -> Row {
    Row { path, given: &[], change, differs }
}

const fn given(
    given: Edits,
    path: &'static str,
    change: (&'static str, &'static str),
    differs: Differs,
) -> Row {
    Row { path, given, change, differs }
}

const JUDGED_BY_LABELS: Edits = &[("noise = 0.5", "noise = 0.5, check = equal")];

const ELSEWHERE: Edits =
    &[("sudoku(size = 4, givens = 8, train = 8, test = 6, augment = true)", "\"elsewhere\"")];
const MIXER: Edits =
    &[("heads = 2\n", "mixing = mlp(expansion = 1, multiple_of = 8)\n"), ("rope(theta = 30)", "none")];
const BCE: Edits = &[
    (
        "halt q_learning { max_segments = 3, explore = 0, target = bootstrap }",
        "halt bce { max_segments = 3 }",
    ),
    ("outputs = (halt, continue), bias = -5", "outputs = halt, bias = 5"),
];
/// Rows that would halt at once: what keeps them is exploration.
const HASTY: Edits = &[("target = bootstrap", "target = none"), ("bias = -5", "bias = 5")];
const NO_Q: Edits = &[
    ("  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }\n", ""),
    (", rollouts = 2, noise = 0.5", ""),
];
const SETTLES: Edits = &[
    NO_Q[0],
    NO_Q[1],
    (
        "halt q_learning { max_segments = 3, explore = 0, target = bootstrap }",
        "halt residual { max_segments = 3, eps = 1e-9 }",
    ),
];
const FIXED: Edits = &[
    NO_Q[0],
    NO_Q[1],
    ("halt q_learning { max_segments = 3, explore = 0, target = bootstrap }", "halt fixed(2)"),
];
const ADAMW: Edits = &[("adam_atan2(lr = 1e-2,", "adamw(lr = 1e-2, eps = 1e-8,")];
const CONSTANT: Edits = &[("cosine(warmup_steps = 2, min_ratio = 0.1)", "constant(warmup_steps = 2)")];
const LINEAR: Edits = &[("cosine(", "linear(")];
const MAZE: Edits = &[(
    "sudoku(size = 4, givens = 8, train = 8, test = 6, augment = true)",
    "maze(size = 4, min_path = 3, train = 8, test = 6)",
)];
const MAZE_AS_IT_IS: Edits = &[MAZE[0], ("  seed = 3\n", "  augment = none\n  seed = 3\n")];
/// Tasks of ARC, which [`train`] makes.
const TASKS: Edits = &[
    ("sudoku(size = 4, givens = 8, train = 8, test = 6, augment = true)", "\"tasks\""),
    ("vocab = 6, positions = 16 }", "vocab = 12, positions = 900 }"),
    ("heads = 2\n", "mixing = mlp(width = 8)\n"),
    ("rope(theta = 30)", "none"),
    ("infer { segments = 3, halt = false, rollouts = 2, noise = 0.5 }", "infer { segments = 1 }"),
    ("steps = 6\n", "steps = 2\n"),
    ("eval_every = 3 steps\n", "augment = copies(2)\n"),
    ("batch = 4", "batch = 2"),
];
const ONE_EPOCH: Edits = &[("steps = 6\n", "epochs = 2\n")];
/// The first steps make numbers that are not finite; with the lower rate none does.
const DIVERGES: Edits = &[
    ("adam_atan2(lr = 1e-2,", "adam_atan2(lr = 1e35,"),
    ("  seed = 3\n", "  on_divergence = rollback(lr_factor = 1e-37)\n  seed = 3\n"),
];
/// So do those with the first of the lower rates.
const DIVERGES_TWICE: Edits = &[
    ("adam_atan2(lr = 1e-2,", "adam_atan2(lr = 1e38,"),
    ("  seed = 3\n", "  on_divergence = rollback(lr_factor = 1e-20, most = 2)\n  seed = 3\n"),
];
/// Each step multiplies the weights by more than one.
const WORSENS: Edits = &[
    (
        "adam_atan2(lr = 1e-2, betas = (0.9, 0.95), weight_decay = 0.1)",
        "adam_atan2(lr = 1, weight_decay = 3)",
    ),
    ("eval_every = 3 steps\n", "eval_every = 1 steps\n  patience = 1\n"),
];
const HALTS_EARLY: Edits = &[("bias = -5", "bias = 5"), ("target = bootstrap", "target = none")];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("let", ("let N = 2", "let N = 3"), Differs::Weights),
    given(ELSEWHERE, "tokens.vocab", ("vocab = 6", "vocab = 7"), Differs::Cost),
    given(ELSEWHERE, "tokens.positions", ("positions = 16 }", "positions = 17 }"), Differs::Cost),
    row("puzzles.width", ("width = 16", "width = 9"), Differs::Weights),
    row("puzzles.positions", ("width = 16, positions = 1", "width = 16, positions = 2"), Differs::Weights),
    row("block.hidden", ("hidden = 16", "hidden = 32"), Differs::Weights),
    row("block.heads", ("heads = 2", "heads = 4"), Differs::Weights),
    row("block.positions", ("rope(theta = 30)", "learned"), Differs::Weights),
    row("block.positions", ("rope(theta = 30)", "none"), Differs::Weights),
    row("block.positions.rope.theta", ("theta = 30", "theta = 10_000"), Differs::Weights),
    row("block.mixing", ("heads = 2\n    positions = rope(theta = 30)", "mixing = mlp"), Differs::Weights),
    given(&[("heads = 2", "heads = 2, mixing = attention"), ("rope(theta = 30)", "none")],
        "block.mixing", ("heads = 2, mixing = attention", "mixing = mlp(width = 8)"), Differs::Weights),
    given(MIXER, "block.mixing.mlp.expansion", ("mlp(expansion = 1", "mlp(expansion = 2"), Differs::Weights),
    given(MIXER, "block.mixing.mlp.multiple_of",
        ("mlp(expansion = 1, multiple_of = 8", "mlp(expansion = 1, multiple_of = 32"), Differs::Weights),
    given(MIXER, "block.mixing.mlp.width", ("mlp(expansion = 1, multiple_of = 8)", "mlp(width = 24)"), Differs::Weights),
    row("block.mlp.swiglu.expansion", ("expansion = 1", "expansion = 2"), Differs::Weights),
    row("block.mlp.swiglu.multiple_of", ("multiple_of = 8", "multiple_of = 32"), Differs::Weights),
    row("block.mlp.swiglu.width", ("expansion = 1, multiple_of = 8", "width = 24"), Differs::Weights),
    row("block.norm.post_rms.eps", ("eps = 1e-5", "eps = 0.1"), Differs::Weights),
    row("network", ("low = 1 *", "low = 2 *"), Differs::Weights),
    row("state.normal.std", ("std = 1", "std = 0.5"), Differs::Weights),
    row("state.normal.truncate", ("truncate = 2", "truncate = 1"), Differs::Weights),
    row("segment", ("low(z_low + z_high + x)", "low(z_low + x)"), Differs::Weights),
    row("segment", ("repeat 2", "repeat 1"), Differs::Weights),
    row("gradient", ("one_step", "last cycle"), Differs::Weights),
    row("gradient", ("one_step", "full"), Differs::Weights),
    given(&[("one_step", "last step")], "gradient", ("last step", "last 2 step"), Differs::Weights),
    row("predict", ("predict tokens from z_high", "predict tokens from z_low"), Differs::Weights),
    row("predict", ("predict q from z_high[0]", "predict q from z_low[0]"), Differs::Weights),
    row("predict", ("z_high[0]", "z_high[3]"), Differs::Weights),
    given(BCE, "predict.q.outputs", ("outputs = halt", "outputs = (halt, continue)"), Differs::Weights),
    row("predict.q.bias", ("bias = -5", "bias = 0"), Differs::Weights),
    row("halt.q_learning.max_segments", ("max_segments = 3", "max_segments = 2"), Differs::Weights),
    given(HASTY, "halt.q_learning.explore", ("explore = 0,", "explore = 1,"), Differs::Weights),
    row("halt.q_learning.target", ("target = bootstrap", "target = none"), Differs::Weights),
    given(&[("outputs = (halt, continue), bias = -5", "outputs = (halt, continue), bias = 0")],
        "halt", ("q_learning { max_segments = 3, explore = 0, target = bootstrap }", "bce { max_segments = 3 }"), Differs::Weights),
    given(BCE, "halt.bce.max_segments", ("bias = 5 }\n\n  halt bce { max_segments = 3", "bias = -5 }\n\n  halt bce { max_segments = 2"), Differs::Weights),
    given(BCE, "halt.bce.explore", ("max_segments = 3", "max_segments = 3, explore = 1"), Differs::Weights),
    given(FIXED, "halt.fixed.segments", ("fixed(2)", "fixed(segments = 1)"), Differs::Weights),
    given(SETTLES, "halt.residual.eps", ("eps = 1e-9", "eps = 1e9"), Differs::Weights),
    given(SETTLES, "halt.residual.max_segments", ("max_segments = 3", "max_segments = 2"), Differs::Weights),
    given(SETTLES, "halt", ("residual { max_segments = 3, eps = 1e-9 }", "fixed(2)"), Differs::Weights),
    row("infer.segments", ("infer { segments = 3", "infer { segments = 5"), Differs::Answers),
    given(HALTS_EARLY, "infer.halt", ("halt = false", "halt = true"), Differs::Answers),
    row("infer.settle", ("noise = 0.5", "noise = 0.5, settle = 2"), Differs::Answers),
    given(JUDGED_BY_LABELS, "infer.check", ("check = equal", "check = sudoku"), Differs::Answers),
    given(JUDGED_BY_LABELS, "infer.check", ("check = equal", "check = maze"), Differs::Answers),
    row("infer.rollouts", ("rollouts = 2", "rollouts = 5"), Differs::Answers),
    row("infer.noise", ("noise = 0.5", "noise = 5"), Differs::Answers),
    row("train.data", ("sudoku(size = 4, givens = 8, train = 8, test = 6, augment = true)", "maze(size = 4, train = 8, test = 6)"), Differs::Weights),
    row("train.data.sudoku.size", ("size = 4, givens = 8", "size = 6, givens = 8"), Differs::Refused),
    row("train.data.sudoku.givens", ("givens = 8", "givens = 9"), Differs::Weights),
    row("train.data.sudoku.train", ("train = 8", "train = 12"), Differs::Weights),
    row("train.data.sudoku.test", ("test = 6", "test = 5"), Differs::Tested),
    row("train.data.sudoku.augment", ("augment = true", "augment = false"), Differs::Weights),
    row("train.data.sudoku.seed", ("augment = true", "augment = true, seed = 1"), Differs::Weights),
    given(MAZE, "train.data.maze.size", ("size = 4", "size = 5"), Differs::Refused),
    given(MAZE, "train.data.maze.min_path", ("min_path = 3", "min_path = 7"), Differs::Weights),
    given(MAZE, "train.data.maze.train", ("train = 8", "train = 12"), Differs::Weights),
    given(MAZE, "train.data.maze.test", ("test = 6", "test = 5"), Differs::Tested),
    given(MAZE, "train.data.maze.seed", ("min_path = 3", "min_path = 3, seed = 1"), Differs::Weights),
    given(MAZE_AS_IT_IS, "train.augment", ("augment = none", "augment = symmetries"), Differs::Weights),
    given(TASKS, "train.augment", ("augment = copies(2)", "augment = none"), Differs::Weights),
    given(TASKS, "train.augment.copies.count", ("copies(2)", "copies(count = 3)"), Differs::Weights),
    given(TASKS, "train.augment.copies.seed", ("copies(2)", "copies(2, seed = 1)"), Differs::Weights),
    row("train.loss", ("stablemax", "softmax"), Differs::Weights),
    row("train.optimizer", ("adam_atan2(", "adamw("), Differs::Weights),
    row("train.optimizer.adam_atan2.lr", ("adam_atan2(lr = 1e-2", "adam_atan2(lr = 2e-2"), Differs::Weights),
    row("train.optimizer.adam_atan2.betas", ("(0.9, 0.95)", "(0.8, 0.95)"), Differs::Weights),
    row("train.optimizer.adam_atan2.betas", ("(0.9, 0.95)", "(0.9, 0.99)"), Differs::Weights),
    row("train.optimizer.adam_atan2.weight_decay", ("0.95), weight_decay = 0.1", "0.95), weight_decay = 1"), Differs::Weights),
    given(ADAMW, "train.optimizer.adamw.lr", ("adamw(lr = 1e-2", "adamw(lr = 2e-2"), Differs::Weights),
    given(ADAMW, "train.optimizer.adamw.betas", ("(0.9, 0.95)", "(0.8, 0.95)"), Differs::Weights),
    given(ADAMW, "train.optimizer.adamw.betas", ("(0.9, 0.95)", "(0.9, 0.99)"), Differs::Weights),
    given(ADAMW, "train.optimizer.adamw.weight_decay", ("0.95), weight_decay = 0.1", "0.95), weight_decay = 1"), Differs::Weights),
    given(ADAMW, "train.optimizer.adamw.eps", ("eps = 1e-8", "eps = 0.1"), Differs::Weights),
    row("train.puzzles.sign_sgd.lr", ("sign_sgd(lr = 1e-2", "sign_sgd(lr = 2e-2"), Differs::Weights),
    row("train.puzzles.sign_sgd.weight_decay", ("sign_sgd(lr = 1e-2, weight_decay = 0.1", "sign_sgd(lr = 1e-2, weight_decay = 1"), Differs::Weights),
    row("train.ema", ("ema = 0.9", "ema = 0.5"), Differs::Average),
    row("train.ema", ("  ema = 0.9\n", ""), Differs::Average),
    row("train.schedule", ("cosine(", "linear("), Differs::Weights),
    row("train.schedule", ("cosine(warmup_steps = 2, min_ratio = 0.1)", "constant"), Differs::Weights),
    row("train.schedule.cosine.warmup_steps", ("warmup_steps = 2", "warmup_steps = 4"), Differs::Weights),
    row("train.schedule.cosine.min_ratio", ("min_ratio = 0.1", "min_ratio = 0.9"), Differs::Weights),
    given(LINEAR, "train.schedule.linear.warmup_steps", ("warmup_steps = 2", "warmup_steps = 4"), Differs::Weights),
    given(LINEAR, "train.schedule.linear.min_ratio", ("min_ratio = 0.1", "min_ratio = 0.9"), Differs::Weights),
    given(CONSTANT, "train.schedule.constant.warmup_steps", ("warmup_steps = 2", "warmup_steps = 4"), Differs::Weights),
    row("train.batch", ("batch = 4", "batch = 2"), Differs::Length),
    given(ONE_EPOCH, "train.epochs", ("epochs = 2", "epochs = 3"), Differs::Length),
    row("train.steps", ("steps = 6\n", "steps = 7\n"), Differs::Length),
    row("train.eval_every", ("eval_every = 3 steps", "eval_every = 2 steps"), Differs::Evaluations),
    row("train.eval_every", ("eval_every = 3 steps", "eval_every = 1 epochs"), Differs::Evaluations),
    row("train.eval_share", ("eval_every = 3 steps\n", "eval_every = 3 steps\n  eval_share = 0.001\n"), Differs::Answers),
    given(WORSENS, "train.patience", ("patience = 1", "patience = 2"), Differs::Length),
    row("train.precision", ("f32", "bf16"), Differs::Arithmetic),
    given(DIVERGES, "train.on_divergence",
        ("on_divergence = rollback(lr_factor = 1e-37)", "on_divergence = stop"), Differs::Refused),
    given(DIVERGES, "train.on_divergence.rollback.lr_factor", ("lr_factor = 1e-37", "lr_factor = 1e-36"), Differs::Weights),
    given(DIVERGES_TWICE, "train.on_divergence.rollback.most", ("most = 2", "most = 1"), Differs::Refused),
    row("train.seed", ("seed = 3", "seed = 4"), Differs::Weights),
];

/// What a spec left behind.
#[derive(PartialEq)]
struct Left {
    code: Option<i32>,
    /// What was said, without the progress of training.
    said: String,
    weights: BTreeMap<String, Vec<u8>>,
    average: BTreeMap<String, Vec<u8>>,
    /// Lines of the metrics, by their kind, without times.
    trained: Vec<String>,
    evaluated: Vec<String>,
    /// The spec as the run keeps it.
    recorded: String,
}

/// Returns the tensors of a file, none if there is no file.
fn tensors(place: &Workplace, file: &str) -> BTreeMap<String, Vec<u8>> {
    let Ok(bytes) = fs::read(place.path(file)) else { return BTreeMap::new() };
    let file = SafeTensors::deserialize(&bytes).expect("the file is whole");
    file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect()
}

/// Trains a spec.
fn train(text: &str) -> Left {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", text);
    if text.contains("\"tasks\"") {
        let pair = |input: &str, output: &str| format!(r#"{{"input": {input}, "output": {output}}}"#);
        let (one, other) = (pair("[[1, 2]]", "[[2], [3]]"), pair("[[4]]", "[[5, 0, 1]]"));
        place.write("evaluation.json", &format!(r#"{{"a": {{"train": [{one}], "test": [{other}]}}}}"#));
        place.succeed("data arc --from evaluation.json --copies 0 -o tasks");
    }
    let said = place.run("run tiny.hrm --train --threads 1");
    let metrics = fs::read_to_string(place.path("runs/tiny-001/metrics.jsonl")).unwrap_or_default();
    let of_kind = |kind: &str| -> Vec<String> {
        let wanted = format!("\"kind\":\"{kind}\"");
        metrics.lines().filter(|line| line.contains(&wanted)).map(str::to_string).collect()
    };
    let notes = said.err.lines().filter(|line| !line.starts_with("training "));
    Left {
        code: said.code,
        said: notes.collect::<Vec<_>>().join("\n"),
        weights: tensors(&place, "runs/tiny-001/last/weights.safetensors"),
        average: tensors(&place, "runs/tiny-001/last/average.safetensors"),
        trained: of_kind("train"),
        evaluated: of_kind("evaluation"),
        recorded: fs::read_to_string(place.path("runs/tiny-001/run.toml")).unwrap_or_default(),
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// Returns what compiling a spec says about weights and work.
fn cost(text: &str) -> String {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", text);
    place.succeed("compile tiny.hrm --emit json")
}

/// Makes one replacement that must be possible, and only in one place.
fn edit(text: &str, (from, to): (&str, &str)) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` stands once in:\n{text}");
    text.replace(from, to)
}

/// Returns what is wrong with a row.
fn fault(row: &Row) -> Option<String> {
    let before = row.given.iter().fold(TINY.to_string(), |text, &change| edit(&text, change));
    let after = edit(&before, row.change);
    let fault = |what: &str| Some(format!("`{}`, {:?}: {what}", row.path, row.change));
    if row.differs == Differs::Cost {
        return if cost(&before) == cost(&after) { fault("costs the same") } else { None };
    }
    let (before, after) = (train(&before), train(&after));
    if before.code != Some(0) {
        return fault(&format!("cannot be trained before: {}", before.said));
    }
    if row.differs == Differs::Refused {
        return if after.code == Some(1) { None } else { fault("is accepted") };
    }
    if after.code != Some(0) {
        return fault(&format!("cannot be trained: {}", after.said));
    }
    let same_training = before.weights == after.weights && before.trained == after.trained;
    let holds = match row.differs {
        Differs::Weights => before.weights != after.weights,
        Differs::Length => before.weights != after.weights && before.trained != after.trained,
        Differs::Answers => {
            same_training && before.average == after.average && before.evaluated != after.evaluated
        }
        Differs::Tested => {
            let examples = |left: &Left| {
                let of = |line: &String| json(line)["examples"].as_u64().expect("it is a number");
                left.evaluated.iter().map(of).collect::<Vec<_>>()
            };
            examples(&before) == [6, 6] && examples(&after) == [5, 5]
        }
        Differs::Average => {
            same_training && before.average != after.average && before.evaluated != after.evaluated
        }
        Differs::Evaluations => same_training && before.evaluated.len() != after.evaluated.len(),
        Differs::Arithmetic => {
            before.recorded != after.recorded
                && if multiplies_in_bf16() {
                    before.weights != after.weights
                } else {
                    before.said != after.said
                }
        }
        Differs::Cost | Differs::Refused => unreachable!("answered above"),
    };
    if holds { None } else { fault("has another effect than it should, or none") }
}

#[test]
fn every_key_changes_what_it_should_and_nothing_else() {
    let next = Mutex::new(ROWS.iter());
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    // The lock is not held while the row is at work.
                    let row = next.lock().expect("no thread panics").next();
                    let Some(row) = row else { break };
                    let found = fault(row);
                    faults.lock().expect("no thread panics").extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no thread panics");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_weight_moves_but_the_initial_states() {
    let learned = edit(TINY, ("rope(theta = 30)", "learned"));
    let [early, late] = ["steps = 3\n", "steps = 6\n"].map(|steps| {
        let constant = edit(&learned, ("cosine(warmup_steps = 2, min_ratio = 0.1)", "constant"));
        train(&edit(&constant, ("steps = 6\n", steps))).weights
    });
    assert!(early.contains_key("inner.embed_pos.embedding_weight"), "{:?}", early.keys());
    for (name, before) in &early {
        assert_eq!(before == &late[name], name.ends_with("_init"), "{name}");
    }
}

/// Adds the keys of a group that can be set, and the words that can be chosen behind them.
fn keys_of(path: &str, group: &Group, found: &mut Vec<(String, &'static str)>) {
    for key in group.keys {
        key_of(&format!("{path}.{}", key.name), key, found);
    }
}

/// Adds a key that can be set, with the words that may be chosen, or "" for what is no word.
fn key_of(path: &str, key: &Key, found: &mut Vec<(String, &'static str)>) {
    if key.choices.is_empty() {
        found.push((path.to_string(), ""));
    }
    for choice in key.choices {
        // A word without others beside it is nothing to choose.
        if key.choices.len() > 1 {
            found.push((path.to_string(), choice.name));
        }
        keys_of(&format!("{path}.{}", choice.name), choice.group, found);
    }
}

#[test]
fn every_key_and_word_has_a_row() {
    let mut keys = Vec::new();
    for (section, group) in SECTIONS {
        keys_of(section, group, &mut keys);
    }
    for statement in STATEMENTS {
        key_of(statement.name, statement, &mut keys);
    }
    assert!(keys.len() > 80, "the tables are walked to the end: {}", keys.len());
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_string).collect()
    };
    let written: Vec<(&str, BTreeSet<String>)> = ROWS
        .iter()
        .map(|row| (row.path, words(row.change.0).union(&words(row.change.1)).cloned().collect()))
        .collect();
    let without: Vec<String> = keys
        .into_iter()
        .filter(|(path, word)| {
            !written.iter().any(|(row, words)| row == path && (word.is_empty() || words.contains(*word)))
        })
        .map(|(path, word)| format!("{path} {word}"))
        .collect();
    assert_eq!(without, Vec::<String>::new());
    for keyword in STATEMENT_KEYWORDS {
        let begins = |row: &Row| row.path.split('.').next() == Some(keyword);
        // What `without` takes away is shown where bases are.
        assert!(*keyword == "without" || ROWS.iter().any(begins), "`{keyword}` has no row");
    }
}
