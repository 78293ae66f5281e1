//! Every key the language knows, as one table.
//!
//! The reader of entries, the suggestions, the override paths and the test of the reference all go by it.

/// Keys that may stand together.
#[derive(Debug)]
pub struct Group {
    /// What the keys belong to, for messages.
    pub title: &'static str,
    /// The keys.
    pub keys: &'static [Key],
    /// Key that a lone value between parentheses stands for.
    pub positional: Option<&'static str>,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Words its value may be, each with what may be set in parentheses; empty where the value is no word.
    pub choices: &'static [Choice],
    /// Word whose settings count where the key is not given.
    pub default: Option<&'static str>,
    /// Keys of the same list that it excludes: an override of one takes the place of the others.
    pub excludes: &'static [&'static str],
}

/// A word a value may be.
#[derive(Debug)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// What may be set in parentheses behind it.
    pub group: &'static Group,
}

impl Group {
    /// Returns the key with this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn group(title: &'static str, keys: &'static [Key]) -> Group {
    Group { title, keys, positional: None }
}

impl Key {
    /// Returns the choice of a word.
    pub fn choice(&self, word: &str) -> Option<&'static Choice> {
        self.choices.iter().find(|choice| choice.name == word)
    }
}

const fn key(name: &'static str) -> Key {
    Key { name, choices: &[], default: None, excludes: &[] }
}

const fn excluding(name: &'static str, excludes: &'static [&'static str]) -> Key {
    Key { excludes, ..key(name) }
}

const fn choice(name: &'static str, choices: &'static [Choice]) -> Key {
    Key { choices, ..key(name) }
}

const fn choice_or(name: &'static str, default: &'static str, choices: &'static [Choice]) -> Key {
    Key { default: Some(default), ..choice(name, choices) }
}

const fn word(name: &'static str) -> Choice {
    Choice { name, group: &NOTHING }
}

const fn with(name: &'static str, group: &'static Group) -> Choice {
    Choice { name, group }
}

/// What takes no settings.
pub static NOTHING: Group = group("this", &[]);

/// `tokens { … }`.
pub static TOKENS: Group = group("`tokens`", &[key("vocab"), key("positions")]);

/// `puzzles { … }`.
pub static PUZZLES: Group = group("`puzzles`", &[key("width"), key("positions")]);

/// `block name { … }`.
pub static BLOCK: Group = group(
    "`block`",
    &[
        key("hidden"),
        key("heads"),
        choice_or("positions", "rope", &[with("rope", &ROPE), word("learned"), word("none")]),
        choice("mixing", &[word("attention"), with("mlp", &MIXER)]),
        choice_or("mlp", "swiglu", &[with("swiglu", &SWIGLU)]),
        choice_or("norm", "post_rms", &[with("post_rms", &POST_RMS)]),
    ],
);

static ROPE: Group = group("`rope`", &[key("theta")]);
static MIXER: Group = group("`mlp`", GATED_UNIT);
static SWIGLU: Group = group("`swiglu`", GATED_UNIT);

const GATED_UNIT: &[Key] = &[
    excluding("expansion", &["width"]),
    excluding("multiple_of", &["width"]),
    excluding("width", &["expansion", "multiple_of"]),
];
static POST_RMS: Group = group("`post_rms`", &[key("eps")]);

/// `state name = …`.
pub static STATE: Key = choice_or("state", "normal", &[with("normal", &NORMAL)]);

static NORMAL: Group = group("`normal`", &[key("std"), key("truncate")]);

/// `gradient …`. What follows `last` is no list of keys.
pub static GRADIENT: Key = choice("gradient", &[word("one_step"), word("last"), word("full")]);

/// `predict …`.
pub static PREDICT: Key = choice("predict", &[with("tokens", &PREDICT_TOKENS), with("q", &PREDICT_Q)]);

static PREDICT_TOKENS: Group = group("`predict tokens`", &[]);
static PREDICT_Q: Group = group("`predict q`", &[choice("outputs", OUTPUTS), key("bias")]);

/// Outputs of the Q head: one of the words, or several between parentheses.
pub static OUTPUT: Key = choice("outputs", OUTPUTS);

const OUTPUTS: &[Choice] = &[word("halt"), word("continue")];

/// `halt …`.
pub static HALT: Key = choice(
    "halt",
    &[with("q_learning", &Q_LEARNING), with("bce", &BCE), with("fixed", &FIXED), with("residual", &RESIDUAL)],
);

static Q_LEARNING: Group = group(
    "`q_learning`",
    &[key("max_segments"), key("explore"), choice("target", &[word("bootstrap"), word("none")])],
);
static BCE: Group = group("`bce`", &[key("max_segments"), key("explore")]);
static RESIDUAL: Group = group("`residual`", &[key("eps"), key("max_segments")]);
static FIXED: Group = Group { title: "`fixed`", keys: &[key("segments")], positional: Some("segments") };

/// `infer { … }`.
pub static INFER: Group = group(
    "`infer`",
    &[
        key("segments"),
        choice("halt", &[word("true"), word("false")]),
        key("settle"),
        key("rollouts"),
        key("noise"),
        choice("check", &[word("equal"), word("sudoku"), word("maze")]),
    ],
);

/// `train { … }`.
pub static TRAIN: Group = group(
    "`train`",
    &[
        choice("data", &[with("sudoku", &SUDOKU), with("maze", &MAZE)]),
        choice_or("augment", "none", &[word("none"), word("symmetries"), with("copies", &COPIES)]),
        choice("loss", &[word("stablemax"), word("softmax")]),
        choice("optimizer", &[with("adam_atan2", &ADAM_ATAN2), with("adamw", &ADAMW)]),
        choice("puzzles", &[with("sign_sgd", &SIGN_SGD)]),
        key("ema"),
        choice_or(
            "schedule",
            "constant",
            &[with("constant", &CONSTANT), with("cosine", &COSINE), with("linear", &LINEAR)],
        ),
        key("batch"),
        excluding("epochs", &["steps"]),
        excluding("steps", &["epochs"]),
        key("eval_every"),
        key("eval_share"),
        key("patience"),
        choice("precision", &[word("f32"), word("bf16")]),
        choice_or("on_divergence", "stop", &[word("stop"), with("rollback", &ROLLBACK)]),
        key("seed"),
    ],
);

static COPIES: Group =
    Group { title: "`copies`", keys: &[key("count"), key("seed")], positional: Some("count") };
static SUDOKU: Group = group(
    "`sudoku`",
    &[
        key("size"),
        key("givens"),
        key("train"),
        key("test"),
        choice("augment", &[word("true"), word("false")]),
        key("seed"),
    ],
);
static MAZE: Group = group("`maze`", &[key("size"), key("min_path"), key("train"), key("test"), key("seed")]);
static ADAM_ATAN2: Group = group("`adam_atan2`", &[key("lr"), key("betas"), key("weight_decay")]);
static ADAMW: Group = group("`adamw`", &[key("lr"), key("betas"), key("weight_decay"), key("eps")]);
static SIGN_SGD: Group = group("`sign_sgd`", &[key("lr"), key("weight_decay")]);
static CONSTANT: Group = group("`constant`", &[key("warmup_steps")]);
static COSINE: Group = group("`cosine`", &[key("warmup_steps"), key("min_ratio")]);
static ROLLBACK: Group = group("`rollback`", &[key("lr_factor"), key("most")]);
static LINEAR: Group = group("`linear`", &[key("warmup_steps"), key("min_ratio")]);

/// Words that a list of entries in braces stands behind, each with its keys.
pub static SECTIONS: &[(&str, &Group)] =
    &[("tokens", &TOKENS), ("puzzles", &PUZZLES), ("block", &BLOCK), ("infer", &INFER), ("train", &TRAIN)];

/// Statements that choose among words.
pub static STATEMENTS: &[&Key] = &[&STATE, &GRADIENT, &PREDICT, &HALT];

/// A usual value of each key that takes a number, for advice.
const USUAL: &[(&str, &str)] = &[
    ("batch", "32"),
    ("betas", "(0.9, 0.95)"),
    ("bias", "-5"),
    ("count", "1_000"),
    ("ema", "0.999"),
    ("epochs", "100"),
    ("eps", "1e-5"),
    ("eval_every", "100 steps"),
    ("eval_share", "0.05"),
    ("expansion", "4"),
    ("explore", "0.1"),
    ("givens", "24"),
    ("heads", "8"),
    ("hidden", "512"),
    ("lr", "1e-4"),
    ("lr_factor", "0.5"),
    ("max_segments", "16"),
    ("min_path", "12"),
    ("min_ratio", "0.1"),
    ("most", "3"),
    ("multiple_of", "256"),
    ("noise", "0.5"),
    ("patience", "5"),
    ("positions", "81"),
    ("rollouts", "4"),
    ("seed", "0"),
    ("segments", "16"),
    ("settle", "0.01"),
    ("size", "6"),
    ("std", "1"),
    ("steps", "1_000"),
    ("test", "500"),
    ("theta", "10_000"),
    ("train", "1_000"),
    ("truncate", "2"),
    ("vocab", "11"),
    ("warmup_steps", "100"),
    ("weight_decay", "0.1"),
    ("width", "512"),
];

/// Returns a usual value of a key that takes a number.
pub fn usual_value(key: &str) -> Option<&'static str> {
    USUAL.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

/// Units a value may have.
pub static UNITS: &[&str] = &["epochs", "steps"];

/// Names no spec may give, since they mean something already.
pub static RESERVED: &[&str] = &[
    "x", "q", "true", "false", "model", "train", "let", "tokens", "puzzles", "block", "network", "state",
    "segment", "repeat", "gradient", "predict", "from", "halt", "infer", "base", "without",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_takes_a_number_has_a_usual_value() {
        fn visit(group: &Group) {
            for key in group.keys {
                assert!(
                    !key.choices.is_empty() || usual_value(key.name).is_some(),
                    "{} `{}`",
                    group.title,
                    key.name
                );
                key.choices.iter().for_each(|choice| visit(choice.group));
            }
        }
        SECTIONS.iter().for_each(|(_, group)| visit(group));
        STATEMENTS.iter().flat_map(|key| key.choices).for_each(|choice| visit(choice.group));
    }
}
