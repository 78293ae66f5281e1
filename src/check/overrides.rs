//! Values from a command line, put into the text of a spec.
//!
//! An override edits the text: the value it names is replaced, or its entry is added where the spec leaves
//! a default. Everything after that, messages included, works as if the spec had been written that way.

use std::collections::BTreeMap;

use super::keys::{self, Group, Key};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Source, Span};
use crate::syntax::ast::{Call, Delimiter, Entries, Entry, Expr, ExprKind, File, Model, StatementKind};
use crate::syntax::{Override, Rejected, parse};

/// Paths that are suggested for an unknown one.
const SUGGESTIONS: usize = 3;

/// Returns the text of the spec with every override in it, in the order given.
///
/// A spec that does not follow the grammar comes back as far as it could be edited before.
///
/// # Errors
///
/// Returns the overrides that name nothing, each with the nearest paths that do.
pub fn apply_overrides(source: &Source, overrides: &[Override]) -> Result<Source, Vec<Rejected>> {
    let mut source = source.clone();
    let mut rejected = Vec::new();
    for given in overrides {
        let parsed = parse(&source);
        if !parsed.diagnostics.is_empty() {
            break;
        }
        let paths = paths(&parsed.file);
        let names: Vec<&str> = given.path.iter().map(|name| name.text.as_str()).collect();
        let path = names.join(".");
        match paths.get(&path) {
            Some(edit) => {
                source.splice(edit.span, &edit.before, &given.source, given.value.span, &edit.after);
            }
            None => rejected.push(Rejected {
                source: given.source.clone(),
                diagnostics: vec![unknown_path(&path, given.path_span(), &paths)],
            }),
        }
    }
    if rejected.is_empty() { Ok(source) } else { Err(rejected) }
}

/// How to write a value into the text.
#[derive(Debug, Clone, PartialEq)]
struct Edit {
    /// What is replaced; empty where something is added.
    span: Span,
    /// Written before the value.
    before: String,
    /// Written after the value.
    after: String,
}

impl Edit {
    fn replace(span: Span) -> Edit {
        Edit { span, before: String::new(), after: String::new() }
    }

    fn insert(at: usize, before: impl Into<String>, after: impl Into<String>) -> Edit {
        Edit { span: Span::new(at, at), before: before.into(), after: after.into() }
    }
}

/// Every path of a file and how to set it.
type Paths = BTreeMap<String, Edit>;

fn paths(file: &File) -> Paths {
    let mut paths = Paths::new();
    if let Some(model) = file.models().next() {
        model_paths(model, &mut paths);
    }
    if let Some(train) = file.trains().next() {
        entry_paths("train", &keys::TRAIN, Place::List(&train.entries), &mut paths);
        // The two lengths exclude each other, so that setting one replaces the other.
        for (key, other) in [("epochs", "steps"), ("steps", "epochs")] {
            let written = |name: &str| {
                let named = |entry: &&Entry| entry.key.as_ref().is_some_and(|key| key.text == name);
                train.entries.entries.iter().find(named)
            };
            if let (None, Some(entry)) = (written(key), written(other)) {
                let edit = Edit { span: entry.span, before: format!("{key} = "), after: String::new() };
                paths.insert(format!("train.{key}"), edit);
            }
        }
    }
    paths
}

fn model_paths(model: &Model, paths: &mut Paths) {
    let end = model.span.end - 1;
    paths.insert("model.gradient".to_string(), Edit::insert(end, "\n  gradient ", "\n"));
    for key in keys::INFER.keys {
        let edit = Edit::insert(end, format!("\n  infer {{ {} = ", key.name), " }\n");
        paths.insert(format!("model.infer.{}", key.name), edit);
    }
    for statement in &model.statements {
        match &statement.kind {
            StatementKind::Let(definition) | StatementKind::Network(definition) => {
                paths.insert(format!("model.{}", definition.name.text), Edit::replace(definition.value.span));
            }
            StatementKind::Block(section) => {
                let place = Place::List(&section.entries);
                entry_paths(&format!("model.{}", section.name.text), &keys::BLOCK, place, paths);
            }
            StatementKind::Section(section) => {
                let group = match section.name.text.as_str() {
                    "tokens" => &keys::TOKENS,
                    "puzzles" => &keys::PUZZLES,
                    "infer" => &keys::INFER,
                    _ => continue,
                };
                entry_paths(
                    &format!("model.{}", section.name.text),
                    group,
                    Place::List(&section.entries),
                    paths,
                );
            }
            StatementKind::State(state) => {
                for name in &state.names {
                    let path = format!("model.{}", name.text);
                    match &state.init {
                        Some(init) => value_paths(&path, &keys::STATE, init, init.span, paths),
                        None => {
                            paths.insert(path, Edit::insert(statement.span.end, " = ", ""));
                        }
                    }
                }
            }
            StatementKind::Gradient(gradient) => {
                let span = Span::new(gradient.policy.span.start, statement.span.end);
                paths.insert("model.gradient".to_string(), Edit::replace(span));
            }
            StatementKind::Predict(predict) if predict.what.text == "q" => {
                let place = Place::of(predict.entries.as_ref(), statement.span.end, Delimiter::Brace);
                choice_paths("model.q", &keys::PREDICT, "q", place, paths);
            }
            StatementKind::Halt(halt) => {
                let span = Span::new(halt.policy.span.start, statement.span.end);
                paths.insert("model.halt".to_string(), Edit::replace(span));
                let place = Place::of(halt.entries.as_ref(), halt.policy.span.end, Delimiter::Brace);
                choice_paths("model.halt", &keys::HALT, &halt.policy.text, place, paths);
            }
            StatementKind::Predict(_)
            | StatementKind::Segment(_)
            | StatementKind::Without(_)
            | StatementKind::Entry(_) => {}
        }
    }
}

/// Where entries are, or would be.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    /// In this list.
    List(&'a Entries),
    /// In a list that would begin here.
    None { at: usize, delimiter: Delimiter },
}

impl<'a> Place<'a> {
    fn of(entries: Option<&'a Entries>, at: usize, delimiter: Delimiter) -> Place<'a> {
        entries.map_or(Place::None { at, delimiter }, Place::List)
    }

    /// Returns how to add an entry.
    fn insert(self, key: &str) -> Edit {
        match self {
            Place::List(entries) => match entries.entries.last() {
                Some(last) => Edit::insert(last.span.end, format!(", {key} = "), ""),
                None => Edit::insert(entries.span.start + 1, format!("{key} = "), ""),
            },
            Place::None { at, delimiter: Delimiter::Brace } => {
                Edit::insert(at, format!(" {{ {key} = "), " }")
            }
            Place::None { at, delimiter: Delimiter::Paren } => Edit::insert(at, format!("({key} = "), ")"),
        }
    }
}

/// Adds the paths of every key of a list, written or not.
fn entry_paths(prefix: &str, group: &Group, place: Place<'_>, paths: &mut Paths) {
    for key in group.keys {
        let path = format!("{prefix}.{}", key.name);
        let written = match place {
            Place::None { .. } => None,
            Place::List(entries) => {
                entries.entries.iter().enumerate().find(|(index, entry)| match &entry.key {
                    Some(name) => name.text == key.name,
                    None => *index == 0 && group.positional == Some(key.name),
                })
            }
        };
        match written {
            Some((_, entry)) => value_paths(&path, key, &entry.value.expr, entry.value.span, paths),
            None => {
                paths.insert(path, place.insert(key.name));
            }
        }
    }
}

/// Adds the path of a value and those of the settings in its parentheses.
fn value_paths(path: &str, key: &Key, expr: &Expr, span: Span, paths: &mut Paths) {
    paths.insert(path.to_string(), Edit::replace(span));
    match &expr.kind {
        ExprKind::Name(word) => {
            let place = Place::None { at: expr.span.end, delimiter: Delimiter::Paren };
            choice_paths(path, key, word, place, paths);
        }
        ExprKind::Call(Call { callee, arguments }) => {
            choice_paths(path, key, &callee.text, Place::List(arguments), paths);
        }
        _ => {}
    }
}

fn choice_paths(prefix: &str, key: &Key, word: &str, place: Place<'_>, paths: &mut Paths) {
    if let Some(choice) = key.choices.iter().find(|choice| choice.name == word) {
        entry_paths(prefix, choice.group, place, paths);
    }
}

fn unknown_path(path: &str, span: Span, paths: &Paths) -> Diagnostic {
    let last = |path: &str| path.rsplit('.').next().map(str::to_string);
    let mut ranked: Vec<(bool, usize, &String)> = paths
        .keys()
        .map(|known| (last(known) != last(path), strsim::damerau_levenshtein(path, known), known))
        .collect();
    ranked.sort();
    let nearest: Vec<String> =
        ranked.iter().take(SUGGESTIONS).map(|(.., known)| format!("`{known}`")).collect();
    let diagnostic =
        Diagnostic::error(Code::UnknownPath, span, format!("the spec has no `{path}`")).label("unknown path");
    match nearest.is_empty() {
        true => diagnostic.note("the spec has neither a model nor a train block"),
        false => diagnostic.help(format!("the nearest paths are {}", nearest.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::apply_overrides;
    use crate::check::check;
    use crate::diagnostic::Code;
    use crate::ir;
    use crate::span::Source;
    use crate::syntax::{parse, parse_override};

    const SPEC: &str = include_str!("../../specs/maze.hrm");

    fn overridden(overrides: &[&str]) -> Source {
        let overrides: Vec<_> =
            overrides.iter().map(|text| parse_override(text).expect("well formed")).collect();
        apply_overrides(&Source::new("maze.hrm", SPEC), &overrides).expect("the paths exist")
    }

    fn model(overrides: &[&str]) -> ir::Model {
        let source = overridden(overrides);
        let parsed = parse(&source);
        assert_eq!(parsed.diagnostics, [], "{}", source.text);
        let checked = check(&parsed.file);
        assert_eq!(checked.diagnostics, [], "{}", source.text);
        checked.model.expect("there are no problems")
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
            })
        );
    }

    #[test]
    fn one_length_replaces_the_other() {
        let train =
            train(&["train.steps=100", "train.eval_every=50 steps", "train.schedule.warmup_steps=10"]);
        assert_eq!(train.length, ir::Length::Steps(100));
    }

    #[test]
    fn settings_of_a_lone_word_get_parentheses() {
        let train = train(&["train.schedule=linear", "train.schedule.min_ratio=0.5"]);
        assert_eq!(train.schedule.shape, ir::ScheduleShape::Linear);
        assert_eq!(train.schedule.min_ratio, 0.5);
    }

    #[test]
    fn unknown_paths_name_the_nearest() {
        let unknown = parse_override("train.optimizer.lrr=1").expect("well formed");
        let rejected = apply_overrides(&Source::new("maze.hrm", SPEC), &[unknown]).expect_err("no such path");
        let diagnostic = &rejected[0].diagnostics[0];
        assert_eq!(diagnostic.code, Code::UnknownPath);
        let help = diagnostic.help.as_ref().expect("there are near paths");
        assert!(help.contains("`train.optimizer.lr`"), "{help}");
        assert_eq!(rejected[0].source.slice(diagnostic.primary.span), "train.optimizer.lrr");
    }

    #[test]
    fn a_known_key_in_the_wrong_place_is_suggested_where_it_belongs() {
        let unknown = parse_override("train.max_segments=4").expect("well formed");
        let rejected = apply_overrides(&Source::new("maze.hrm", SPEC), &[unknown]).expect_err("no such path");
        let help = rejected[0].diagnostics[0].help.as_ref().expect("there are near paths");
        assert!(help.contains("`model.halt.max_segments`"), "{help}");
    }
}
