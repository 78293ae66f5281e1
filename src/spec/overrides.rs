//! Overrides: values that are put in the place of those of a spec, as in `train.batch=64`.
//!
//! An override changes the syntax tree of a spec: the value that its path names is replaced, or its entry is added
//! where the spec leaves a default. Everything after that works as if the spec had been written that way, and messages
//! point into the override. No text is written or read again.
//!
//! What may be left out is taken away by the value `none`, unless that is one of the words of the key.

use crate::check::keys::{self, Group, Key};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Source;
use crate::syntax::ast::{
    Binary, Call, Delimiter, Entries, Entry, Expr, ExprKind, File, Gradient, Halt, Item, Model, Name,
    Operator, Predict, Section, State, Statement, StatementKind, StepKind, Steps, Train, Value,
};
use crate::syntax::{Given, Override};

/// Paths that are suggested for an unknown one.
const SUGGESTIONS: usize = 3;

/// Word that takes away what may be left out.
const NONE: &str = "none";

/// Returns the text of an override as a source, by a name that messages can use.
pub fn override_source(text: &str) -> Source {
    Source::new(format!("override \"{text}\""), text)
}

/// Puts an override into the tree of a spec; the tree stays as it is where that cannot be done.
///
/// # Errors
///
/// Returns that the path names nothing, with the nearest paths that do, or that the value is of the wrong kind.
pub fn apply(file: &mut File, given: &Override) -> Result<(), Box<Diagnostic>> {
    let mut changed = file.clone();
    match set(&mut changed, given) {
        Ok(()) => {
            *file = changed;
            Ok(())
        }
        Err(Refused::Because(diagnostic)) => Err(diagnostic),
        Err(Refused::UnknownPath) => Err(Box::new(unknown_path(given, &known_paths(file)))),
    }
}

/// Why an override cannot be used.
#[derive(Debug)]
enum Refused {
    /// Its path names nothing.
    UnknownPath,
    /// Its value is of the wrong kind.
    Because(Box<Diagnostic>),
}

type Applied = Result<(), Refused>;

impl From<Diagnostic> for Refused {
    fn from(diagnostic: Diagnostic) -> Refused {
        Refused::Because(Box::new(diagnostic))
    }
}

fn set(file: &mut File, given: &Override) -> Applied {
    let names: Vec<&str> = given.names();
    let path = &given.path[1..];
    match names[..] {
        ["model"] => {
            let name = given.name("a name")?;
            model_of(file)?.name = name;
            Ok(())
        }
        ["model", ..] => set_in_model(model_of(file)?, path, given),
        ["train"] if given.is_none() => {
            file.items.retain(|item| !matches!(item, Item::Train(_)));
            Ok(())
        }
        ["train", _, ..] => set_entry(&mut train_of(file, given).entries, &keys::TRAIN, path, given),
        _ => Err(Refused::UnknownPath),
    }
}

fn model_of(file: &mut File) -> Result<&mut Model, Refused> {
    let models = file.items.iter_mut().filter_map(|item| match item {
        Item::Model(model) => Some(model),
        Item::Base(_) | Item::Train(_) => None,
    });
    models.into_iter().next().ok_or(Refused::UnknownPath)
}

/// Returns the `train` block, which begins with this override where there is none.
fn train_of<'a>(file: &'a mut File, given: &Override) -> &'a mut Train {
    if file.trains().next().is_none() {
        let entries = given.list(Delimiter::Brace);
        file.items.push(Item::Train(Train { keyword: given.path[0].span, entries, span: given.span }));
    }
    let trains = file.items.iter_mut().filter_map(|item| match item {
        Item::Train(train) => Some(train),
        Item::Base(_) | Item::Model(_) => None,
    });
    trains.into_iter().next().expect("there is one now")
}

/// Sets what the names behind `model` stand for.
fn set_in_model(model: &mut Model, path: &[Name], given: &Override) -> Applied {
    let (first, rest) = path.split_first().ok_or(Refused::UnknownPath)?;
    let deeper: Vec<&str> = rest.iter().map(|name| name.text.as_str()).collect();
    match (first.text.as_str(), &deeper[..]) {
        ("tokens", ["from"]) => {
            let state = given.name("a state")?;
            predict(model, "tokens", given, Some(state))?;
            Ok(())
        }
        ("tokens", _) => set_in_section(model, first, &keys::TOKENS, rest, given),
        ("puzzles" | "infer", []) if given.is_none() => {
            model.statements.retain(|statement| !is_section(statement, &first.text));
            Ok(())
        }
        ("puzzles", _) => set_in_section(model, first, &keys::PUZZLES, rest, given),
        ("infer", _) => set_in_section(model, first, &keys::INFER, rest, given),
        ("block", [_, ..]) => {
            let mut blocks = model.statements.iter_mut().filter_map(|statement| match &mut statement.kind {
                StatementKind::Block(block) => Some(block),
                _ => None,
            });
            let first = blocks.next().ok_or(Refused::UnknownPath)?;
            set_entry(&mut first.entries, &keys::BLOCK, rest, given)?;
            blocks.try_for_each(|block| set_entry(&mut block.entries, &keys::BLOCK, rest, given))
        }
        ("segment", [label]) => {
            let segment = model.statements.iter_mut().find_map(|statement| match &mut statement.kind {
                StatementKind::Segment(segment) => Some(segment),
                _ => None,
            });
            let count = segment.and_then(|segment| count_of(&mut segment.steps, label));
            *count.ok_or(Refused::UnknownPath)? = given.expr()?;
            Ok(())
        }
        ("gradient", []) => {
            let is_it = |kind: &StatementKind| matches!(kind, StatementKind::Gradient(_));
            let gradient = given.gradient()?;
            put(model, is_it, StatementKind::Gradient(gradient), given);
            Ok(())
        }
        ("q", []) if given.is_none() => {
            model.statements.retain(|statement| !predicts(statement, "q"));
            Ok(())
        }
        ("q", [_, ..]) => set_in_q(model, rest, given),
        ("halt", []) => {
            let is_it = |kind: &StatementKind| matches!(kind, StatementKind::Halt(_));
            let halt = halt_of(given.expr()?)?;
            put(model, is_it, StatementKind::Halt(halt), given);
            Ok(())
        }
        ("halt", [_, ..]) => {
            let halt = model.statements.iter_mut().find_map(|statement| match &mut statement.kind {
                StatementKind::Halt(halt) => Some(halt),
                _ => None,
            });
            let halt = halt.ok_or(Refused::UnknownPath)?;
            let choice = keys::HALT.choice(&halt.policy.text).ok_or(Refused::UnknownPath)?;
            let entries = halt.entries.get_or_insert_with(|| given.list(Delimiter::Brace));
            set_entry(entries, choice.group, rest, given)
        }
        (name, _) => set_named(model, name, rest, given),
    }
}

/// Returns whether a statement is the section of this name.
fn is_section(statement: &Statement, name: &str) -> bool {
    matches!(&statement.kind, StatementKind::Section(section) if section.name.text == name)
}

/// Returns whether a statement is `predict what from …`.
fn predicts(statement: &Statement, what: &str) -> bool {
    matches!(&statement.kind, StatementKind::Predict(predict) if predict.what.text == what)
}

/// Replaces a statement, or adds it where there is none of its kind.
fn put(model: &mut Model, is_it: impl Fn(&StatementKind) -> bool, kind: StatementKind, given: &Override) {
    let statement = given.statement(kind);
    match model.statements.iter_mut().find(|statement| is_it(&statement.kind)) {
        Some(written) => *written = statement,
        None => model.statements.push(statement),
    }
}

/// Sets a key of a section, which begins with this override where there is none.
fn set_in_section(
    model: &mut Model,
    title: &Name,
    group: &'static Group,
    path: &[Name],
    given: &Override,
) -> Applied {
    if path.is_empty() {
        return Err(Refused::UnknownPath);
    }
    let written = model.statements.iter().position(|statement| is_section(statement, &title.text));
    let index = written.unwrap_or_else(|| {
        let section = Section { name: title.clone(), entries: given.list(Delimiter::Brace) };
        model.statements.push(given.statement(StatementKind::Section(section)));
        model.statements.len() - 1
    });
    let StatementKind::Section(section) = &mut model.statements[index].kind else {
        unreachable!("it is a section")
    };
    set_entry(&mut section.entries, group, path, given)
}

/// Returns `predict what from …` with its state set; one that is not written yet reads the state that tokens are
/// predicted from unless `state` says otherwise.
fn predict<'a>(
    model: &'a mut Model,
    what: &str,
    given: &Override,
    state: Option<Name>,
) -> Result<&'a mut Predict, Refused> {
    let find =
        |model: &Model, what: &str| model.statements.iter().position(|statement| predicts(statement, what));
    let index = match find(model, what) {
        Some(index) => index,
        None => {
            let of_tokens = find(model, "tokens").and_then(|index| match &model.statements[index].kind {
                StatementKind::Predict(predict) => Some(predict.state.clone()),
                _ => None,
            });
            let state = state.clone().or(of_tokens).ok_or(Refused::UnknownPath)?;
            let what = Name { text: what.to_string(), span: given.path_span() };
            let predict = Predict { what, state, position: None, entries: None };
            model.statements.push(given.statement(StatementKind::Predict(predict)));
            model.statements.len() - 1
        }
    };
    let StatementKind::Predict(predict) = &mut model.statements[index].kind else {
        unreachable!("it is a prediction")
    };
    if let Some(state) = state {
        predict.state = state;
    }
    Ok(predict)
}

/// Sets what is said about the Q head.
fn set_in_q(model: &mut Model, path: &[Name], given: &Override) -> Applied {
    match path {
        [from] if from.text == "from" => {
            let state = given.name("a state")?;
            predict(model, "q", given, Some(state))?;
        }
        [position] if position.text == "position" => {
            let position = if given.is_none() { None } else { Some(given.expr()?) };
            predict(model, "q", given, None)?.position = position;
        }
        _ => {
            let group = keys::PREDICT.choice("q").expect("the table has this word").group;
            let predict = predict(model, "q", given, None)?;
            let entries = predict.entries.get_or_insert_with(|| given.list(Delimiter::Brace));
            set_entry(entries, group, path, given)?;
        }
    }
    Ok(())
}

fn halt_of(expr: Expr) -> Result<Halt, Refused> {
    match expr.kind {
        ExprKind::Name(policy) => Ok(Halt { policy: Name { text: policy, span: expr.span }, entries: None }),
        ExprKind::Call(Call { callee, arguments }) => Ok(Halt { policy: callee, entries: Some(arguments) }),
        _ => Err(wrong_kind(&expr, "a halting policy").into()),
    }
}

/// Returns the count of a labelled loop.
fn count_of<'a>(steps: &'a mut Steps, label: &str) -> Option<&'a mut Expr> {
    steps.steps.iter_mut().find_map(|step| {
        let StepKind::Repeat(repeat) = &mut step.kind else { return None };
        match &repeat.label {
            Some(its) if its.text == label => Some(&mut repeat.count),
            _ => count_of(&mut repeat.body, label),
        }
    })
}

/// Sets a `let`, network, state or block by its name.
fn set_named(model: &mut Model, name: &str, path: &[Name], given: &Override) -> Applied {
    let names = |statement: &Statement| match &statement.kind {
        StatementKind::Let(definition) | StatementKind::Network(definition) => definition.name.text == name,
        StatementKind::Block(section) => section.name.text == name,
        StatementKind::State(state) => state.names.iter().any(|own| own.text == name),
        _ => false,
    };
    let index = model.statements.iter().position(names).ok_or(Refused::UnknownPath)?;
    let deeper: Vec<&str> = path.iter().map(|name| name.text.as_str()).collect();
    match (&mut model.statements[index].kind, &deeper[..]) {
        (StatementKind::Let(definition) | StatementKind::Network(definition), []) => {
            definition.value = given.expr()?;
            Ok(())
        }
        (StatementKind::Network(network), ["layers"]) => set_layers(&mut network.value, given.expr()?),
        (StatementKind::Network(_), ["block", _, ..]) => {
            let block = own_block(model, index).ok_or(Refused::UnknownPath)?;
            set_entry(&mut block.entries, &keys::BLOCK, &path[1..], given)
        }
        (StatementKind::Block(block), [_, ..]) => set_entry(&mut block.entries, &keys::BLOCK, path, given),
        (StatementKind::State(_), _) => {
            let init = own_init(model, index, name);
            if path.is_empty() {
                *init = Some(given.expr()?);
                return Ok(());
            }
            let normal = ExprKind::Name(keys::STATE.default.expect("states begin somehow").to_string());
            let init = init.get_or_insert_with(|| Expr { kind: normal, span: given.span });
            set_in_choice(init, &keys::STATE, path, given)
        }
        _ => Err(Refused::UnknownPath),
    }
}

/// Sets the number of blocks of a network.
fn set_layers(value: &mut Expr, count: Expr) -> Applied {
    let span = count.span;
    match &mut value.kind {
        ExprKind::Group(inner) => return set_layers(inner, count),
        ExprKind::Binary(Binary { operator: Operator::Multiply, left, .. }) => **left = grouped(count),
        ExprKind::Name(_) => {
            let (left, right) = (Box::new(grouped(count)), Box::new(value.clone()));
            let kind = ExprKind::Binary(Binary { operator: Operator::Multiply, left, right });
            *value = Expr { kind, span };
        }
        _ => return Err(Refused::UnknownPath),
    }
    Ok(())
}

/// Returns an expression as a factor.
fn grouped(expr: Expr) -> Expr {
    let span = expr.span;
    match expr.kind {
        ExprKind::Binary(_) => Expr { kind: ExprKind::Group(Box::new(expr)), span },
        _ => expr,
    }
}

/// Returns the name of the block that a network is made of.
fn block_name(value: &mut Expr) -> Option<&mut String> {
    match &mut value.kind {
        ExprKind::Name(name) => Some(name),
        ExprKind::Group(inner) => block_name(inner),
        ExprKind::Binary(Binary { operator: Operator::Multiply, right, .. }) => block_name(right),
        _ => None,
    }
}

/// Returns the block of the network at `index`. What other networks are made of too is copied first, so that they keep
/// theirs.
fn own_block(model: &mut Model, index: usize) -> Option<&mut Section> {
    let mut block_of = |statement: &mut Statement| match &mut statement.kind {
        StatementKind::Network(network) => block_name(&mut network.value).cloned(),
        _ => None,
    };
    let name = block_of(&mut model.statements[index])?;
    let shared =
        model.statements.iter_mut().filter_map(&mut block_of).filter(|other| *other == name).count() > 1;
    let mut found = model.statements.iter().position(
        |statement| matches!(&statement.kind, StatementKind::Block(block) if block.name.text == name),
    )?;
    if shared {
        let mut copy = model.statements[found].clone();
        let StatementKind::Network(network) = &model.statements[index].kind else { return None };
        let mut own = format!("{name}_{}", network.name.text);
        let taken: Vec<String> = names_of(model);
        while taken.contains(&own) {
            own.push('_');
        }
        let StatementKind::Network(network) = &mut model.statements[index].kind else { return None };
        block_name(&mut network.value)?.clone_from(&own);
        let StatementKind::Block(block) = &mut copy.kind else { return None };
        block.name.text = own;
        found += 1;
        model.statements.insert(found, copy);
    }
    match &mut model.statements[found].kind {
        StatementKind::Block(block) => Some(block),
        _ => None,
    }
}

/// Returns the names that a model gives.
fn names_of(model: &Model) -> Vec<String> {
    let mut names = Vec::new();
    for statement in &model.statements {
        match &statement.kind {
            StatementKind::Let(definition) | StatementKind::Network(definition) => {
                names.push(definition.name.text.clone());
            }
            StatementKind::Block(section) => names.push(section.name.text.clone()),
            StatementKind::State(state) => names.extend(state.names.iter().map(|name| name.text.clone())),
            _ => {}
        }
    }
    names
}

/// Returns how a state begins, apart from those that are named in the same statement.
fn own_init<'a>(model: &'a mut Model, index: usize, name: &str) -> &'a mut Option<Expr> {
    let statement = model.statements.remove(index);
    let StatementKind::State(state) = statement.kind else { unreachable!("the caller saw a state") };
    let place = state.names.iter().position(|own| own.text == name).expect("the caller saw the name");
    let alone = state.names.into_iter().map(|name| {
        let kind = StatementKind::State(State { names: vec![name], init: state.init.clone() });
        Statement { kind, span: statement.span }
    });
    model.statements.splice(index..index, alone);
    match &mut model.statements[index + place].kind {
        StatementKind::State(state) => &mut state.init,
        _ => unreachable!("it was just put there"),
    }
}

/// Sets a key of a list of entries, or a setting of its value.
fn set_entry(list: &mut Entries, group: &'static Group, path: &[Name], given: &Override) -> Applied {
    let (first, deeper) = path.split_first().ok_or(Refused::UnknownPath)?;
    let key = group.key(&first.text).ok_or(Refused::UnknownPath)?;
    let position = |list: &Entries| {
        list.entries.iter().enumerate().position(|(index, entry)| match &entry.key {
            Some(name) => name.text == key.name,
            None => index == 0 && group.positional == Some(key.name),
        })
    };
    if deeper.is_empty() && given.is_none() && key.choice(NONE).is_none() {
        if let Some(index) = position(list) {
            list.entries.remove(index);
        }
        return Ok(());
    }
    let value = if deeper.is_empty() {
        given.value()?.clone()
    } else {
        let mut value = match position(list) {
            Some(index) => list.entries[index].value.clone(),
            None => {
                let word = key.default.ok_or(Refused::UnknownPath)?;
                let expr = Expr { kind: ExprKind::Name(word.to_string()), span: first.span };
                Value { expr, unit: None, span: first.span }
            }
        };
        set_in_choice(&mut value.expr, key, deeper, given)?;
        value
    };
    list.entries.retain(|entry| !is_excluded(entry, key));
    let entry = Entry { key: Some(first.clone()), value, span: given.span };
    match position(list) {
        Some(index) => list.entries[index] = entry,
        None => list.entries.push(entry),
    }
    Ok(())
}

/// Returns whether an entry cannot stand beside `key`.
fn is_excluded(entry: &Entry, key: &Key) -> bool {
    entry.key.as_ref().is_some_and(|name| key.excludes.contains(&name.text.as_str()))
}

/// Sets a setting of a word.
fn set_in_choice(expr: &mut Expr, key: &Key, path: &[Name], given: &Override) -> Applied {
    if let ExprKind::Group(inner) = &mut expr.kind {
        return set_in_choice(inner, key, path, given);
    }
    if let ExprKind::Name(word) = &expr.kind {
        let callee = Name { text: word.clone(), span: expr.span };
        expr.kind = ExprKind::Call(Call { callee, arguments: given.list(Delimiter::Paren) });
    }
    let ExprKind::Call(Call { callee, arguments }) = &mut expr.kind else { return Err(Refused::UnknownPath) };
    let choice = key.choice(&callee.text).ok_or(Refused::UnknownPath)?;
    set_entry(arguments, choice.group, path, given)
}

impl Override {
    /// Returns the value, which is not what follows `gradient`.
    fn value(&self) -> Result<&Value, Refused> {
        match &self.value {
            Given::Value(value) => Ok(value),
            Given::Gradient(_) => Err(Refused::UnknownPath),
        }
    }

    fn gradient(&self) -> Result<Gradient, Refused> {
        match &self.value {
            Given::Gradient(gradient) => Ok(gradient.clone()),
            Given::Value(_) => Err(Refused::UnknownPath),
        }
    }

    /// Returns the expression of a value that takes no unit.
    fn expr(&self) -> Result<Expr, Refused> {
        let value = self.value()?;
        match &value.unit {
            None => Ok(value.expr.clone()),
            Some(unit) => Err(unit_without_use(unit).into()),
        }
    }

    /// Returns the value as a name; `what` is what it should be the name of.
    fn name(&self, what: &str) -> Result<Name, Refused> {
        let expr = self.expr()?;
        match expr.kind {
            ExprKind::Name(text) => Ok(Name { text, span: expr.span }),
            _ => Err(wrong_kind(&expr, what).into()),
        }
    }

    /// Returns whether the value is the word `none`.
    fn is_none(&self) -> bool {
        let Given::Value(Value { expr, unit: None, .. }) = &self.value else { return false };
        matches!(&expr.kind, ExprKind::Name(word) if word == NONE)
    }

    fn statement(&self, kind: StatementKind) -> Statement {
        Statement { kind, span: self.span }
    }

    /// Returns an empty list.
    fn list(&self, delimiter: Delimiter) -> Entries {
        Entries { delimiter, entries: Vec::new(), without: Vec::new(), span: self.span, complete: true }
    }
}

/// Returns the paths that are worth a suggestion: those of everything that the spec writes, and of what it could.
fn known_paths(file: &File) -> Vec<String> {
    let mut paths = Vec::new();
    if let Some(model) = file.models().next() {
        paths.push("model".to_string());
        paths_of_model(model, &mut paths);
    }
    let train = file.trains().next().map(|train| &train.entries);
    paths_of_entries("train", &keys::TRAIN, train, &mut paths);
    paths.sort();
    paths.dedup();
    paths
}

fn paths_of_model(model: &Model, paths: &mut Vec<String>) {
    paths.extend(["model.gradient", "model.halt"].map(str::to_string));
    for (title, group) in [("tokens", &keys::TOKENS), ("puzzles", &keys::PUZZLES), ("infer", &keys::INFER)] {
        paths_of_entries(&format!("model.{title}"), group, None, paths);
    }
    for statement in &model.statements {
        match &statement.kind {
            StatementKind::Let(definition) => paths.push(format!("model.{}", definition.name.text)),
            StatementKind::Network(network) => {
                let path = format!("model.{}", network.name.text);
                paths.extend([format!("{path}.layers"), path]);
            }
            StatementKind::Block(section) => {
                let path = format!("model.{}", section.name.text);
                paths_of_entries(&path, &keys::BLOCK, Some(&section.entries), paths);
            }
            StatementKind::State(state) => {
                for name in &state.names {
                    let path = format!("model.{}", name.text);
                    paths_of_settings(&path, &keys::STATE, state.init.as_ref(), paths);
                    paths.push(path);
                }
            }
            StatementKind::Segment(segment) => paths_of_loops(&segment.steps, paths),
            StatementKind::Predict(predict) => {
                let path = format!("model.{}", predict.what.text);
                let Some(choice) = keys::PREDICT.choice(&predict.what.text) else { continue };
                paths.push(format!("{path}.from"));
                if choice.name == "q" {
                    paths.push(format!("{path}.position"));
                    paths_of_entries(&path, choice.group, predict.entries.as_ref(), paths);
                }
            }
            StatementKind::Halt(halt) => {
                if let Some(choice) = keys::HALT.choice(&halt.policy.text) {
                    paths_of_entries("model.halt", choice.group, halt.entries.as_ref(), paths);
                }
            }
            StatementKind::Section(_)
            | StatementKind::Gradient(_)
            | StatementKind::Without(_)
            | StatementKind::Entry(_) => {}
        }
    }
}

fn paths_of_loops(steps: &Steps, paths: &mut Vec<String>) {
    for step in &steps.steps {
        if let StepKind::Repeat(repeat) = &step.kind {
            paths.extend(repeat.label.iter().map(|label| format!("model.segment.{}", label.text)));
            paths_of_loops(&repeat.body, paths);
        }
    }
}

fn paths_of_entries(prefix: &str, group: &Group, entries: Option<&Entries>, paths: &mut Vec<String>) {
    for key in group.keys {
        let path = format!("{prefix}.{}", key.name);
        let named = |entry: &&Entry| entry.key.as_ref().is_some_and(|name| name.text == key.name);
        let written = entries.and_then(|entries| entries.entries.iter().find(named));
        paths_of_settings(&path, key, written.map(|entry| &entry.value.expr), paths);
        paths.push(path);
    }
}

fn paths_of_settings(path: &str, key: &Key, written: Option<&Expr>, paths: &mut Vec<String>) {
    let (word, entries) = match written.map(|expr| &expr.ungrouped().kind) {
        None => (key.default, None),
        Some(ExprKind::Name(word)) => (Some(word.as_str()), None),
        Some(ExprKind::Call(call)) => (Some(call.callee.text.as_str()), Some(&call.arguments)),
        Some(_) => (None, None),
    };
    if let Some(choice) = word.and_then(|word| key.choice(word)) {
        paths_of_entries(path, choice.group, entries, paths);
    }
}

fn unknown_path(given: &Override, known: &[String]) -> Diagnostic {
    let path = given.names().join(".");
    let last = |path: &str| path.rsplit('.').next().map(str::to_string);
    let mut ranked: Vec<(bool, usize, &String)> = known
        .iter()
        .map(|known| (last(known) != last(&path), strsim::damerau_levenshtein(&path, known), known))
        .collect();
    ranked.sort();
    let nearest: Vec<String> =
        ranked.iter().take(SUGGESTIONS).map(|(.., known)| format!("`{known}`")).collect();
    let message = format!("the spec has no `{path}`");
    Diagnostic::error(Code::UnknownPath, given.path_span(), message)
        .label("unknown path")
        .help(format!("the nearest paths are {}", nearest.join(", ")))
}

fn unit_without_use(unit: &Name) -> Diagnostic {
    Diagnostic::error(Code::WrongUnit, unit.span, format!("no unit is expected here, found `{}`", unit.text))
        .label("not expected")
        .help("remove it")
}

fn wrong_kind(found: &Expr, expected: &str) -> Diagnostic {
    let message = format!("expected {expected}, found {}", found.describe());
    Diagnostic::error(Code::WrongType, found.span, message).label(format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::{apply, known_paths};
    use crate::check::check;
    use crate::diagnostic::{Code, Diagnostic};
    use crate::ir;
    use crate::span::Source;
    use crate::syntax::ast::File;
    use crate::syntax::{parse, parse_override};

    const SPEC: &str = include_str!("../../specs/maze.hrm");

    fn file(spec: &str) -> File {
        let parsed = parse(&Source::new("a.hrm", spec));
        assert_eq!(parsed.diagnostics, []);
        parsed.file
    }

    fn overridden(spec: &str, overrides: &[&str]) -> Result<File, Box<Diagnostic>> {
        let mut file = file(spec);
        for text in overrides {
            apply(&mut file, &parse_override(text, spec.len()).expect("well formed"))?;
        }
        Ok(file)
    }

    fn model_of(spec: &str, overrides: &[&str]) -> ir::Model {
        let checked = check(&overridden(spec, overrides).expect("the paths exist"));
        // A number that an override hides is not used any more.
        let said = checked.diagnostics.iter().filter(|diagnostic| diagnostic.code != Code::UnusedLet);
        assert_eq!(said.collect::<Vec<_>>(), Vec::<&Diagnostic>::new(), "{overrides:?}");
        checked.model.expect("there are no problems")
    }

    fn model(overrides: &[&str]) -> ir::Model {
        model_of(SPEC, overrides)
    }

    fn train(overrides: &[&str]) -> ir::Train {
        model(overrides).train.expect("the spec has a train block")
    }

    #[test]
    fn written_values_are_replaced() {
        assert_eq!(train(&["train.batch=64"]).batch, 64);
        assert_eq!(train(&["train.optimizer.lr=0.5"]).optimizer.adam().lr, 0.5);
        assert_eq!(
            model(&["model.encoder.heads = 4 * 4"]).networks[0].block.mixing,
            ir::Mixing::Attention { heads: 16, rope_theta: Some(10_000.0) }
        );
        assert_eq!(model(&["model.halt.max_segments=3"]).max_segments(), 3);
        assert_eq!(ir::unroll(&model(&["model.N=3", "model.T=1"])).len(), 6);
        assert_eq!(model(&["model.low=2 * encoder"]).networks[0].layers, 2);
        assert_eq!(model(&["model.gradient=full"]).gradient, ir::Gradient::Full);
        assert_eq!(model(&["model=another"]).name, "another");
    }

    #[test]
    fn defaults_are_written_out_where_needed() {
        assert_eq!(train(&["train.seed=7", "train.ema=0.99"]).seed, 7);
        assert_eq!(model(&["model.puzzles.positions=2"]).prefix_positions(), 2);
        let infer = ["model.infer.halt=true", "model.infer.rollouts=3", "model.infer.noise=0.5"];
        assert_eq!(
            model(&infer).infer,
            Some(ir::Infer {
                segments: 16,
                halt: true,
                rollouts: Some(ir::Rollouts { count: 3, noise: 0.5 }),
                settle: None,
                check: None,
            })
        );
        let spec = SPEC.replace("    norm      = post_rms(eps = 1e-5)\n", "");
        assert_eq!(model_of(&spec, &["model.encoder.norm.eps=1e-3"]).networks[0].block.norm_eps, 1e-3);
    }

    #[test]
    fn one_length_replaces_the_other() {
        let train =
            train(&["train.steps=100", "train.eval_every=50 steps", "train.schedule.warmup_steps=10"]);
        assert_eq!(train.length, ir::Length::Steps(100));
        let width = |given: &[&str]| model(given).networks[0].block.inner;
        assert_eq!(width(&["model.encoder.mlp.width=96"]), 96);
        assert_eq!(width(&["model.encoder.mlp.width=96", "model.encoder.mlp.expansion=1"]), 512);
    }

    #[test]
    fn settings_of_a_lone_word_get_parentheses() {
        let train = train(&["train.schedule=linear", "train.schedule.min_ratio=0.5"]);
        assert_eq!(train.schedule.shape, ir::ScheduleShape::Linear);
        assert_eq!(train.schedule.min_ratio, 0.5);
    }

    #[test]
    fn what_may_be_left_out_is_taken_away() {
        let taken = ["model.puzzles=none", "train.puzzles=none", "train.eval_every=none", "train.ema=none"];
        let without = model(&taken);
        assert_eq!((without.puzzles, without.train.expect("it is there").eval_every), (None, None));
        let direct = model(&["model.q=none", "model.halt=fixed(3)"]);
        assert_eq!((direct.q_head, direct.halt), (None, ir::Halt::Fixed { segments: 3 }));
        assert_eq!(model(&["train=none"]).train, None);
        assert_eq!(model(&["model.infer.segments=4", "model.infer=none"]).infer, None);
        let placed = model(&["model.encoder.positions=none"]);
        assert!(matches!(placed.networks[0].block.mixing, ir::Mixing::Attention { rope_theta: None, .. }));
    }

    #[test]
    fn what_is_taken_away_can_be_given_again() {
        let back = ["model.q=none", "model.q.bias=-3", "model.q.from=z_low", "model.q.position=2"];
        let q_head = model(&back).q_head.expect("it is there again");
        assert_eq!((q_head.state, q_head.position, q_head.bias), (ir::StateId(0), 2, -3.0));
        let trained = model(&[
            "train=none",
            "train.data=\"data/maze\"",
            "train.optimizer=adamw(lr = 0.1)",
            "train.puzzles=sign_sgd(lr = 0.1)",
            "train.batch=2",
            "train.steps=3",
        ]);
        assert_eq!(trained.train.expect("it is there again").length, ir::Length::Steps(3));
    }

    #[test]
    fn heads_loops_and_gradients_have_paths() {
        let heads = ["model.tokens.from=z_low", "model.q.from=z_low", "model.gradient=full"];
        let changed = model(&heads);
        assert_eq!((changed.token_head.state, changed.gradient), (ir::StateId(0), ir::Gradient::Full));
        let changed = model(&["model.segment.step=5"]);
        assert_eq!(ir::unroll(&changed).len(), 2 * (5 + 1));
        let last = ir::Gradient::Last { count: 2, label: "cycle".to_string() };
        assert_eq!(model(&["model.gradient=last 2 cycle"]).gradient, last);
    }

    #[test]
    fn a_state_is_set_apart_from_those_beside_it() {
        let states = model(&["model.z_high.std=3"]).states;
        assert_eq!(states.iter().map(|state| state.init.std).collect::<Vec<_>>(), [1.0, 3.0]);
        let spec = SPEC.replace("state z_low, z_high = normal(std = 1, truncate = 2)", "state z_low, z_high");
        assert_eq!(model_of(&spec, &["model.z_low.truncate=5"]).states[0].init.truncate, 5.0);
        assert_eq!(model_of(&spec, &["model.z_low=normal(std = 7)"]).states[0].init.std, 7.0);
    }

    #[test]
    fn a_network_and_its_block_are_set_apart_from_the_others() {
        let networks = model(&["model.low.layers=1 + 2", "model.low.block.heads=4"]).networks;
        assert_eq!((networks[0].layers, networks[1].layers), (3, 4));
        let heads = |network: &ir::Network| match network.block.mixing {
            ir::Mixing::Attention { heads, .. } => heads,
            ir::Mixing::Mlp { .. } => 0,
        };
        assert_eq!((heads(&networks[0]), heads(&networks[1])), (4, 8));
        let both = model(&["model.low.block.heads=4", "model.block.heads=16"]).networks;
        assert_eq!((heads(&both[0]), heads(&both[1])), (16, 16));
        let spec = SPEC.replace("network low  = 4 * encoder", "network low = encoder");
        assert_eq!(model_of(&spec, &["model.low.layers=2"]).networks[0].layers, 2);
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        for (text, code, message) in [
            ("model=3", Code::WrongType, "expected a name, found the number 3"),
            ("model.tokens.from=1 + 2", Code::WrongType, "expected a state, found an arithmetic expression"),
            ("model.halt=3", Code::WrongType, "expected a halting policy, found the number 3"),
            ("model.N=3 epochs", Code::WrongUnit, "no unit is expected here, found `epochs`"),
        ] {
            let found = overridden(SPEC, &[text]).expect_err(text);
            assert_eq!((found.code, found.message.as_str()), (code, message), "{text}");
        }
    }

    #[test]
    fn unknown_paths_name_the_nearest() {
        for (path, near) in [
            ("train.optimizer.lrr", "`train.optimizer.lr`"),
            // A known key in the wrong place is suggested where it belongs.
            ("train.max_segments", "`model.halt.max_segments`"),
            ("model.segment.cycles", "`model.segment.cycle`"),
        ] {
            let found = overridden(SPEC, &[&format!("{path}=1")]).expect_err("no such path");
            assert_eq!(found.code, Code::UnknownPath);
            let help = found.help.as_ref().expect("there are near paths");
            assert!(help.contains(near), "{help}");
            assert_eq!(found.primary.span.start, SPEC.len());
        }
        for path in
            ["model.block", "model.encoder", "model.tokens", "model.q", "train", "tokens", "model.low.block"]
        {
            let found = overridden(SPEC, &[&format!("{path}=1")]).expect_err("no such path");
            assert_eq!(found.code, Code::UnknownPath, "{path}");
        }
    }

    #[test]
    fn every_path_that_is_suggested_is_accepted() {
        for spec in
            [SPEC, include_str!("../../specs/quickstart.hrm"), include_str!("../../specs/trm-sudoku.hrm")]
        {
            let paths = known_paths(&file(spec));
            assert!(paths.len() > 50, "{paths:?}");
            for path in paths {
                overridden(spec, &[&format!("{path}=word")])
                    .unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
            }
        }
    }
}
