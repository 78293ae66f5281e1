//! What holds for every spec: layout and comments are free, `fmt` keeps everything but them, `show` loses nothing.
//!
//! A seed decides how a spec is written. It is written twice, by one choice of words and numbers and by another of
//! white space, separators, line ends and comments, wherever the grammar lets them stand.

use hrmc::internals::check::check;
use hrmc::internals::ir;
use hrmc::internals::span::Source;
use hrmc::internals::spell;
use hrmc::internals::syntax::{BaseFile, Whole, format, over_base, parse, to_text};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Writes a spec piece by piece.
struct Writer {
    /// Decides what is said.
    words: ChaCha8Rng,
    /// Decides how it is laid out.
    layout: ChaCha8Rng,
    text: String,
    newline: &'static str,
    comments: usize,
}

fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

impl Writer {
    fn new(words: u64, layout: u64) -> Writer {
        let mut layout = ChaCha8Rng::seed_from_u64(layout);
        let newline = ["\n", "\r\n"][below(&mut layout, 2)];
        Writer { words: ChaCha8Rng::seed_from_u64(words), layout, text: String::new(), newline, comments: 0 }
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[below(&mut self.words, choices.len())]
    }

    fn maybe(&mut self) -> bool {
        below(&mut self.words, 2) == 0
    }

    /// Writes white space that stays on the line.
    fn space(&mut self) {
        let space = [" ", "  ", "\t", " \t "][below(&mut self.layout, 4)];
        self.text.push_str(space);
    }

    /// Writes white space that may break the line, maybe with comments.
    fn gap(&mut self) {
        self.space();
        for _ in 0..[0, 0, 0, 0, 0, 1, 1, 2][below(&mut self.layout, 8)] {
            self.line_end();
            self.space();
        }
    }

    /// Ends the line, maybe with a comment.
    fn line_end(&mut self) {
        if below(&mut self.layout, 3) == 0 {
            self.comments += 1;
            let kinds = ["# note", "#", "#x = 1, \"", "# { ( [", "# é ≤ #", "#\t tab  "];
            let kind = kinds[below(&mut self.layout, kinds.len())];
            self.text.push_str(kind);
            // Numbered, so that a comment that changes places is noticed.
            self.text.push_str(&format!(" {}", self.comments));
        }
        self.text.push_str(self.newline);
    }

    /// Separates two items of a list.
    fn separator(&mut self) {
        match below(&mut self.layout, 4) {
            0 => self.text.push(','),
            1 => {
                self.gap();
                self.text.push(',');
                self.gap();
            }
            _ => {
                self.space();
                self.line_end();
                if below(&mut self.layout, 3) == 0 {
                    self.text.push_str(self.newline);
                }
            }
        }
        self.space();
    }

    /// Writes words with white space between them.
    fn put(&mut self, words: &str) {
        for word in words.split(' ') {
            self.text.push_str(word);
            self.space();
        }
    }

    /// Writes a sign, after which the line may break.
    fn sign(&mut self, sign: &str) {
        self.text.push_str(sign);
        self.gap();
    }

    /// Writes items between delimiters.
    fn list(&mut self, open: &str, items: &[Item], close: &str) {
        self.text.push_str(open);
        let is_paren = open == "(";
        if is_paren && !items.is_empty() {
            self.gap();
        } else if !is_paren && below(&mut self.layout, 2) == 0 {
            self.separator_without_comma();
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.separator();
            }
            self.item(item);
        }
        if !items.is_empty() && below(&mut self.layout, 3) == 0 {
            self.separator();
        }
        self.space();
        self.text.push_str(close);
    }

    fn separator_without_comma(&mut self) {
        self.space();
        self.line_end();
        self.space();
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Entry(key, value) => {
                self.put(key);
                self.sign("=");
                self.value(value);
            }
            Item::Update(state, network, operands) => {
                self.put(state);
                self.sign("<-");
                self.put(network);
                self.sign("(");
                self.joined(operands, "+");
                self.text.push(')');
            }
            Item::Repeat(label, count, body) => {
                if let Some(label) = label {
                    self.put(label);
                    self.text.push(':');
                    self.space();
                }
                self.put("repeat");
                self.put(count);
                self.list("{", body, "}");
            }
            Item::Words(words) => self.put(words),
            Item::Without(names) => {
                self.put("without");
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                self.joined(&names, ",");
            }
            Item::Definition(head, value) => {
                self.put(head);
                self.sign("=");
                self.value(value);
            }
            Item::Section(head, items) => {
                self.put(head);
                self.list("{", items, "}");
            }
        }
    }

    fn joined(&mut self, parts: &[String], operator: &str) {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.space();
                self.sign(operator);
            }
            self.text.push_str(part);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Plain(text) => self.text.push_str(text),
            Value::Sum(parts) => self.joined(parts, "+"),
            Value::Product(parts) => self.joined(parts, "*"),
            Value::Call(name, items) => {
                self.text.push_str(name);
                self.list("(", items, ")");
            }
            Value::Tuple(parts) => {
                self.sign("(");
                self.joined(parts, ",");
                self.text.push(')');
            }
        }
    }
}

/// An item of a list.
enum Item {
    Entry(&'static str, Value),
    Update(String, String, Vec<String>),
    Repeat(Option<String>, String, Vec<Item>),
    Words(String),
    Without(Vec<&'static str>),
    Definition(String, Value),
    Section(String, Vec<Item>),
}

enum Value {
    Plain(String),
    Sum(Vec<String>),
    Product(Vec<String>),
    Call(&'static str, Vec<Item>),
    Tuple(Vec<String>),
}

fn plain(text: impl ToString) -> Value {
    Value::Plain(text.to_string())
}

/// Returns the statements of a model that surely makes sense, and its `train` block.
fn spec(writer: &mut Writer) -> (Vec<Item>, Option<Vec<Item>>) {
    let hidden = writer.pick(&[8, 16, 24]);
    let states = writer.pick(&[1, 2, 3]);
    // The last one reads what all others became, so a gradient reaches every network.
    let last_state = states - 1;
    let networks = writer.pick(&[1, 2]).min(states);
    let mixer = writer.maybe();
    let puzzles = writer.maybe();
    let mut model = Vec::new();
    model.push(Item::Definition(
        "let rows".to_string(),
        plain(writer.pick(&["4", "2 + 2", "8 / 2", "(3) + 1"])),
    ));
    let form = writer.pick(&[0, 1, 2]);
    let positions = match form {
        0 => Value::Product(vec!["rows".to_string(), "rows".to_string()]),
        1 => Value::Sum(vec!["rows".to_string(), "(3 * rows)".to_string()]),
        _ => plain("rows * 1_0 - 2 * -(rows)"),
    };
    let vocab = writer.pick(&["6", "2 * 5", "1_1"]);
    // The tokens of a maze, and 16 positions.
    let fits_mazes = vocab == "6" && form < 2;
    model.push(Item::Section(
        "tokens".to_string(),
        vec![Item::Entry("vocab", plain(vocab)), Item::Entry("positions", positions)],
    ));
    if puzzles {
        let mut entries = vec![Item::Entry("width", plain(writer.pick(&[3, 8, 20])))];
        if writer.maybe() {
            entries.push(Item::Entry("positions", plain(writer.pick(&[3, 4]))));
        }
        model.push(Item::Section("puzzles".to_string(), entries));
    }
    let block = block(writer, hidden, mixer);
    model.push(Item::Section("block encoder".to_string(), block));
    for network in 0..networks {
        let layers = writer.pick(&["encoder", "1 * encoder", "(1 + 1) * encoder", "2 * (encoder)"]);
        model.push(Item::Definition(format!("network net{network}"), plain(layers)));
    }
    let names: Vec<String> = (0..states).map(|state| format!("z{state}")).collect();
    let statements = if writer.maybe() { vec![names.join(", ")] } else { names };
    for names in statements {
        let state = state(writer, &names);
        model.push(state);
    }
    let nest = nest(writer, states, networks);
    let last = writer.pick(&["gradient full", "gradient last 2 cycle", "gradient last cycle"]);
    model.push(Item::Section("segment".to_string(), nest));
    model.push(Item::Words(last.to_string()));
    model.push(Item::Words(format!("predict tokens from z{last_state}")));
    let policy = writer.pick(&[Policy::Fixed, Policy::Bce, Policy::QLearning, Policy::Residual]);
    match policy {
        Policy::Fixed => model.push(Item::Words(format!("halt fixed({})", writer.pick(&[1, 2])))),
        Policy::Residual => {
            let entries = vec![Item::Entry("eps", plain("1e-2")), Item::Entry("max_segments", plain(4))];
            model.push(Item::Section("halt residual".to_string(), entries));
        }
        Policy::Bce => {
            model.push(Item::Section(
                format!("predict q from z{last_state}[0]"),
                vec![Item::Entry("outputs", plain("halt"))],
            ));
            let explore = writer.pick(&["0", "0.1", "1"]);
            let entries = vec![Item::Entry("max_segments", plain(4)), Item::Entry("explore", plain(explore))];
            model.push(Item::Section("halt bce".to_string(), entries));
        }
        Policy::QLearning => {
            let outputs = Value::Tuple(vec!["halt".to_string(), "continue".to_string()]);
            let bias = plain(writer.pick(&["-5", "-(2 + 3)", "0.25"]));
            let entries = vec![Item::Entry("outputs", outputs), Item::Entry("bias", bias)];
            model.push(Item::Section(format!("predict q from z{last_state}[1]"), entries));
            let entries = vec![Item::Entry("max_segments", plain(writer.pick(&[2, 16])))];
            model.push(Item::Section("halt q_learning".to_string(), entries));
        }
    }
    if writer.maybe() {
        let entries = infer(writer, policy);
        model.push(Item::Section("infer".to_string(), entries));
    }
    let with_train = writer.maybe();
    let train = with_train.then(|| train(writer, puzzles, fits_mazes));
    (model, train)
}

/// When a row stops.
#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Fixed,
    Bce,
    QLearning,
    Residual,
}

fn state(writer: &mut Writer, names: &str) -> Item {
    if writer.maybe() {
        let settings = vec![
            Item::Entry("std", plain(writer.pick(&["1", "0.5", "1e-1"]))),
            Item::Entry("truncate", plain(writer.pick(&["2", "3.5"]))),
        ];
        Item::Definition(format!("state {names}"), Value::Call("normal", settings))
    } else {
        Item::Words(format!("state {names}"))
    }
}

/// Returns what a policy lets `infer` say.
fn infer(writer: &mut Writer, policy: Policy) -> Vec<Item> {
    let mut infer = Vec::new();
    if writer.maybe() {
        infer.push(Item::Entry("segments", plain(writer.pick(&["2", "8", "2 * 9", "rows"]))));
    }
    if writer.maybe() {
        let halt = if policy == Policy::Fixed { "false" } else { writer.pick(&["true", "false"]) };
        infer.push(Item::Entry("halt", plain(halt)));
    }
    if policy != Policy::Fixed && writer.maybe() {
        infer.push(Item::Entry("rollouts", plain(writer.pick(&[2, 7]))));
        infer.push(Item::Entry("noise", plain(writer.pick(&["0.5", "1 / 8"]))));
    }
    infer
}

/// Returns the entries of a section, if a list has it.
fn section<'a>(items: &'a [Item], head: &str) -> Option<&'a [Item]> {
    items.iter().find_map(|item| match item {
        Item::Section(found, entries) if found == head => Some(&entries[..]),
        _ => None,
    })
}

fn has(entries: &[Item], key: &str) -> bool {
    entries.iter().any(|entry| matches!(entry, Item::Entry(found, _) if *found == key))
}

/// Returns statements over those of a base, and maybe a `train` block over its own, that surely make sense.
fn derived(writer: &mut Writer, model: &[Item], train: Option<&[Item]>) -> (Vec<Item>, Option<Vec<Item>>) {
    let mut over = Vec::new();
    let mut gone = Vec::new();
    match writer.pick(&[0, 1, 2]) {
        0 => {
            let definitions = [("let rows", "side"), ("let side", "half + half"), ("let half", "2")];
            over.extend(definitions.map(|(head, value)| Item::Definition(head.to_string(), plain(value))));
        }
        1 => {
            over.push(Item::Definition("let rows".to_string(), plain("2 * 2")));
            over.push(Item::Section("tokens".to_string(), vec![Item::Entry("positions", plain(16))]));
        }
        _ => {}
    }
    let block = section(model, "block encoder").expect("every model has the block");
    match (has(block, "mixing"), writer.maybe()) {
        (true, true) => {
            let entries = vec![Item::Without(vec!["mixing"]), Item::Entry("heads", plain(2))];
            over.push(Item::Section("block encoder".to_string(), entries));
        }
        (false, true) => {
            let entries = vec![
                Item::Without(vec!["heads", "positions"]),
                Item::Entry("mixing", Value::Call("mlp", vec![Item::Entry("expansion", plain(1))])),
            ];
            over.push(Item::Section("block encoder".to_string(), entries));
        }
        _ => {}
    }
    if writer.maybe() {
        let state = state(writer, "z0");
        over.push(state);
    }
    match section(model, "infer") {
        Some(entries) if has(entries, "halt") && writer.maybe() => {
            over.push(Item::Section("infer".to_string(), vec![Item::Without(vec!["halt"])]));
        }
        Some(_) if writer.maybe() => gone.push("infer"),
        _ => {}
    }
    let mut over_train = Vec::new();
    let train = train.unwrap_or_default();
    if has(train, "ema") && writer.maybe() {
        over_train.push(Item::Without(vec!["seed", "ema"]));
    }
    if !train.is_empty() && writer.maybe() {
        over_train.push(Item::Entry("steps", plain(150)));
    }
    if section(model, "puzzles").is_some() && writer.maybe() {
        gone.push("puzzles");
    }
    if !gone.is_empty() {
        let at = below(&mut writer.words, over.len() + 1);
        over.insert(at, Item::Without(gone));
    }
    (over, (!train.is_empty() && writer.maybe()).then_some(over_train))
}

fn block(writer: &mut Writer, hidden: usize, mixer: bool) -> Vec<Item> {
    let mut block = vec![Item::Entry("hidden", plain(hidden))];
    if mixer {
        let settings = vec![Item::Entry("expansion", plain(writer.pick(&["4", "0.5"])))];
        block.push(Item::Entry("mixing", Value::Call("mlp", settings)));
    } else {
        block.push(Item::Entry("heads", plain(writer.pick(&["2", "4", "1 + 1"]))));
        let theta = vec![Item::Entry("theta", plain(writer.pick(&["30", "1e4"])))];
        block.push(match writer.pick(&[0, 1, 2]) {
            0 => Item::Entry("positions", Value::Call("rope", theta)),
            1 => Item::Entry("positions", plain("learned")),
            _ => Item::Entry("positions", plain("none")),
        });
    }
    let mut unit = vec![Item::Entry("expansion", plain(writer.pick(&["4", "2.5"])))];
    if writer.maybe() {
        unit.push(Item::Entry("multiple_of", plain(writer.pick(&[8, 64]))));
    }
    block.push(Item::Entry("mlp", Value::Call("swiglu", unit)));
    if writer.maybe() {
        let eps = vec![Item::Entry("eps", plain(writer.pick(&["1e-5", "0.001"])))];
        block.push(Item::Entry("norm", Value::Call("post_rms", eps)));
    }
    block
}

/// Returns a nest in which every state is updated from all of them.
fn nest(writer: &mut Writer, states: usize, networks: usize) -> Vec<Item> {
    let operands: Vec<String> =
        (0..states).map(|state| format!("z{state}")).chain(["x".to_string()]).collect();
    let updates = (0..states)
        .map(|state| Item::Update(format!("z{state}"), format!("net{}", state % networks), operands.clone()));
    let mut body = Vec::new();
    for update in updates {
        body.push(match writer.pick(&[0, 1, 2]) {
            0 => Item::Repeat(None, "2".to_string(), vec![update]),
            1 => Item::Repeat(None, "(rows - 3)".to_string(), vec![update]),
            _ => update,
        });
    }
    vec![Item::Repeat(Some("cycle".to_string()), writer.pick(&["2", "3"]).to_string(), body)]
}

fn train(writer: &mut Writer, puzzles: bool, fits_mazes: bool) -> Vec<Item> {
    let optimizer = writer.pick(&["adamw", "adam_atan2"]);
    let mut settings = vec![Item::Entry("lr", plain(writer.pick(&["1e-3", "0.5 / 1_000"])))];
    if writer.maybe() {
        let betas = Value::Tuple(vec!["0.9".to_string(), writer.pick(&["0.95", "0.999"]).to_string()]);
        settings.push(Item::Entry("betas", betas));
    }
    let data = if fits_mazes && writer.maybe() {
        let settings =
            [("size", "4"), ("min_path", "2 + 1"), ("train", "4_000"), ("test", "512"), ("seed", "7")];
        let settings = settings.map(|(key, value)| Item::Entry(key, plain(value)));
        Value::Call("maze", settings.into_iter().collect())
    } else {
        plain(writer.pick(&["\"data/a\"", "\"a # b, { é \\\" \\\\\""]))
    };
    let mut train = vec![
        Item::Entry("data", data),
        Item::Entry("optimizer", Value::Call(optimizer, settings)),
        Item::Entry("batch", plain(writer.pick(&[1, 32]))),
    ];
    if fits_mazes && writer.maybe() {
        train.push(Item::Entry("augment", plain(writer.pick(&["none", "symmetries"]))));
    }
    if puzzles {
        train.push(Item::Entry("puzzles", Value::Call("sign_sgd", vec![Item::Entry("lr", plain("1e-3"))])));
    }
    if writer.maybe() {
        train.push(Item::Entry("loss", plain(writer.pick(&["softmax", "stablemax"]))));
        train.push(Item::Entry("ema", plain("0.999")));
        train.push(Item::Entry("precision", plain(writer.pick(&["f32", "bf16"]))));
        train.push(Item::Entry("seed", plain(writer.pick(&["7", "18_446_744_073_709_551_615"]))));
    }
    if writer.maybe() {
        let settings = vec![
            Item::Entry("lr_factor", plain(writer.pick(&["0.25", "1 / 2"]))),
            Item::Entry("most", plain(writer.pick(&[1, 3]))),
        ];
        train.push(Item::Entry("on_divergence", Value::Call("rollback", settings)));
    }
    if writer.maybe() {
        train.push(Item::Entry("epochs", plain(writer.pick(&["3", "2.5"]))));
        train.push(Item::Entry("eval_every", plain("1 epochs")));
    } else {
        train.push(Item::Entry("steps", plain(200)));
        train.push(Item::Entry("eval_every", plain("2 * 25 steps")));
        let schedule = writer.pick(&["cosine", "linear"]);
        let settings = vec![
            Item::Entry("warmup_steps", plain(writer.pick(&[0, 10]))),
            Item::Entry("min_ratio", plain(writer.pick(&["0", "0.1"]))),
        ];
        train.push(Item::Entry("schedule", Value::Call(schedule, settings)));
    }
    train
}

/// Returns a spec by two seeds: what it says and how it is laid out.
fn written(words: u64, layout: u64) -> Source {
    let mut writer = Writer::new(words, layout);
    let (model, train) = spec(&mut writer);
    write(writer, "written.hrm", &model, train.as_deref(), None)
}

/// Returns a spec over the one that `words` decides, by two seeds of its own, and that one, in the layout `layout`.
fn pair(words: u64, layout: u64) -> (Source, Source) {
    let mut writer = Writer::new(words, layout);
    let (model, train) = spec(&mut writer);
    let base = write(writer, "base.hrm", &model, train.as_deref(), None);
    let mut writer = Writer::new(words.rotate_left(1), layout.wrapping_add(1));
    let (over, over_train) = derived(&mut writer, &model, train.as_deref());
    (base, write(writer, "written.hrm", &over, over_train.as_deref(), Some("base.hrm")))
}

/// Returns a spec over a base that is nowhere but in memory.
fn over(base: &Source, spec: &Source) -> Whole {
    let read = |path: &std::path::Path| {
        assert_eq!(path.to_str(), Some("base.hrm"));
        Ok(BaseFile { text: base.text.clone(), identity: path.to_path_buf() })
    };
    let whole = over_base(spec.clone(), None, &read);
    whole.unwrap_or_else(|(text, found)| panic!("{found:#?}\n{}\nover\n{}", text.text, base.text))
}

/// Writes out a model and a `train` block.
fn write(
    mut writer: Writer,
    name: &str,
    model: &[Item],
    train: Option<&[Item]>,
    base: Option<&str>,
) -> Source {
    while below(&mut writer.layout, 2) == 0 {
        writer.line_end();
    }
    if let Some(base) = base {
        writer.put(&format!("base \"{base}\""));
        writer.line_end();
    }
    writer.put("model m");
    writer.list("{", model, "}");
    writer.space();
    writer.line_end();
    if let Some(train) = train {
        writer.put("train");
        writer.list("{", train, "}");
        writer.space();
    }
    while below(&mut writer.layout, 2) == 0 {
        writer.line_end();
    }
    Source::new(name, writer.text)
}

/// Returns the tree of a text without places, and fails if the text does not follow the grammar.
fn tree(source: &Source) -> String {
    let parsed = parse(source);
    assert_eq!(parsed.diagnostics, [], "{}", source.text);
    let lines = to_text(&parsed.file);
    let without_place = |line: &str| line.rsplit_once(" @").map_or(line, |(node, _)| node).to_string();
    lines.lines().map(without_place).collect::<Vec<_>>().join("\n")
}

fn model(source: &Source) -> Option<ir::Model> {
    check(&parse(source).file).model
}

/// Returns the comments of a text in their order.
fn comments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut escaped = false;
        for (at, character) in line.char_indices() {
            match character {
                '#' if !in_string => {
                    found.push(line[at..].trim_end().to_string());
                    break;
                }
                '"' if !escaped => in_string = !in_string,
                _ => {}
            }
            escaped = character == '\\' && !escaped;
        }
    }
    found
}

#[test]
fn generated_specs_make_sense_and_have_comments() {
    let sources: Vec<Source> = (0..200).map(|seed| written(seed, seed + 1_000)).collect();
    for source in &sources {
        let checked = check(&parse(source).file);
        assert!(checked.model.is_some(), "{:#?}\n{}", checked.diagnostics, source.text);
    }
    let commented = sources.iter().filter(|source| comments(&source.text).len() > 5).count();
    assert!(commented > 150, "{commented} of 200 have comments");
    assert!(sources.iter().any(|source| source.text.contains('\r')), "some have other line ends");
}

#[test]
fn generated_specs_over_a_base_make_sense() {
    let pairs: Vec<(Source, Source)> = (0..200).map(|seed| pair(seed, seed + 1_000)).collect();
    for (base, spec) in &pairs {
        let whole = over(base, spec);
        assert_eq!(whole.refused, None);
        let checked = check(&whole.parse().file);
        assert!(checked.model.is_some(), "{:#?}\n{}", checked.diagnostics, whole.source.text);
    }
    for word in ["without heads", "let side", "state z0", "without mixing", "infer", "puzzles"] {
        let count = pairs.iter().filter(|(_, spec)| tree_text(&spec.text).contains(word)).count();
        assert!(count > 10, "{word} is in {count} of 200");
    }
}

/// Returns the words of a text with one blank between them, comments left out.
fn tree_text(text: &str) -> String {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layout_means_nothing(words in any::<u64>(), one in any::<u64>(), other in any::<u64>()) {
        let (one, other) = (written(words, one), written(words, other));
        prop_assert_eq!(tree(&one), tree(&other));
        prop_assert_eq!(model(&one), model(&other));
    }

    #[test]
    fn formatting_keeps_the_tree_and_the_comments(words in any::<u64>(), layout in any::<u64>()) {
        let source = written(words, layout);
        let once = Source::new("once.hrm", format(&source).expect("it follows the grammar"));
        prop_assert_eq!(tree(&once), tree(&source), "{}", source.text);
        prop_assert_eq!(comments(&once.text), comments(&source.text), "{}\n{}", source.text, once.text);
        // A tabulator inside of a comment is the user's.
        let code = |line: &str| line.split('#').next().is_none_or(|code| !code.contains('\t'));
        prop_assert!(!once.text.contains('\r') && once.text.lines().all(code), "{}", once.text);
        prop_assert!(once.text.lines().all(|line| line.trim_end() == line), "{}", once.text);
        let twice = format(&once);
        prop_assert_eq!(twice.as_ref(), Ok(&once.text), "{}", source.text);
    }

    #[test]
    fn layout_means_nothing_to_a_spec_over_a_base(words in any::<u64>(), one in any::<u64>(), other in any::<u64>()) {
        let ((base, spec), (other_base, other_spec)) = (pair(words, one), pair(words, other));
        let whole = over(&base, &spec);
        let model = model(&whole.source);
        prop_assert!(model.is_some(), "{}", whole.source.text);
        for (base, spec) in [(&base, &other_spec), (&other_base, &spec)] {
            let again = over(base, spec);
            prop_assert_eq!(self::model(&again.source), model.clone(), "{}", again.source.text);
        }
        // So does the canonical layout, which keeps what every part says and its comments.
        let formatted = |source: &Source| {
            let once = Source::new(source.name.clone(), format(source).expect("it follows the grammar"));
            assert_eq!(tree(&once), tree(source), "{}", source.text);
            assert_eq!(comments(&once.text), comments(&source.text), "{}", source.text);
            assert_eq!(format(&once).as_ref(), Ok(&once.text), "{}", source.text);
            once
        };
        let again = over(&formatted(&base), &formatted(&spec));
        prop_assert_eq!(self::model(&again.source), model, "{}", again.source.text);
    }

    #[test]
    fn a_shown_spec_over_a_base_says_the_same(words in any::<u64>(), layout in any::<u64>()) {
        let (base, spec) = pair(words, layout);
        let whole = over(&base, &spec);
        let model = model(&whole.source).expect("it makes sense");
        let shown = Source::new("shown.hrm", spell::text(&model));
        prop_assert_eq!(self::model(&shown), Some(model), "{}", shown.text);
        prop_assert!(!shown.text.contains("base ") && !shown.text.contains("without"), "{}", shown.text);
    }

    #[test]
    fn a_shown_spec_says_the_same(words in any::<u64>(), layout in any::<u64>()) {
        let source = written(words, layout);
        let checked = check(&parse(&source).file);
        prop_assert!(checked.model.is_some(), "{:?}\n{}", checked.diagnostics, source.text);
        let model = checked.model.expect("it was there");
        let shown = Source::new("shown.hrm", spell::text(&model));
        let again = self::model(&shown);
        prop_assert_eq!(again.as_ref(), Some(&model), "{}", shown.text);
        prop_assert_eq!(spell::text(&model), shown.text.clone());
        prop_assert_eq!(format(&shown), Ok(shown.text.clone()), "what is shown is laid out already");
    }
}
