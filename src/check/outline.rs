//! The statements of a model by kind, with every name checked for being new.

use super::keys::RESERVED;
use super::names::{Named, suggestion};
use super::reader::without_base;
use super::{Context, Let, keep_one};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::span::Span;
use crate::syntax::ast::{
    Definition, Entries, Expr, Gradient, Halt, Model, Name, Predict, Section, Segment, StatementKind,
};
use crate::syntax::{STATEMENT_KEYWORDS, nearest};

/// What a model says, by kind.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    /// Where to point when a whole statement is missing.
    pub(super) name: &'a Name,
    /// Where a statement is added.
    pub(super) body: Span,
    pub(super) tokens: Option<&'a Section>,
    pub(super) puzzles: Option<&'a Section>,
    pub(super) blocks: Vec<&'a Section>,
    pub(super) networks: Vec<&'a Definition>,
    pub(super) states: Vec<StateName<'a>>,
    pub(super) segment: Option<&'a Segment>,
    pub(super) gradient: Option<&'a Gradient>,
    pub(super) predict_tokens: Option<&'a Predict>,
    pub(super) predict_q: Option<&'a Predict>,
    pub(super) halt: Option<&'a Halt>,
    pub(super) infer: Option<&'a Section>,
}

impl Outline<'_> {
    /// Returns the name of a block, for an example.
    pub(super) fn block(&self) -> &str {
        self.blocks.first().map_or("encoder", |block| block.name.text.as_str())
    }

    /// Returns the name of a network, for an example.
    pub(super) fn network(&self) -> &str {
        self.networks.first().map_or("net", |network| network.name.text.as_str())
    }

    /// Returns the name of a state, for an example.
    pub(super) fn state(&self) -> &str {
        self.states.first().map_or("z", |state| state.name.text.as_str())
    }
}

/// A state and how it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateName<'a> {
    pub(super) name: &'a Name,
    /// What is left out where there is no such state: its statement, or its name among others.
    pub(super) item: Span,
    pub(super) init: Option<&'a Expr>,
}

impl<'a> Context<'a> {
    /// Sorts the statements of a model by kind and evaluates its `let`s.
    pub(super) fn outline(&mut self, model: &'a Model) -> Outline<'a> {
        let mut outline = Outline {
            name: &model.name,
            body: model.body,
            tokens: None,
            puzzles: None,
            blocks: Vec::new(),
            networks: Vec::new(),
            states: Vec::new(),
            segment: None,
            gradient: None,
            predict_tokens: None,
            predict_q: None,
            halt: None,
            infer: None,
        };
        self.statements = model.statements.iter().map(|statement| statement.span).collect();
        for statement in &model.statements {
            if let StatementKind::Let(definition) = &statement.kind {
                self.let_names.entry(&definition.name.text).or_insert(definition.name.span);
            }
        }
        for statement in &model.statements {
            match &statement.kind {
                StatementKind::Let(definition) => {
                    let value = self.constant(&definition.value);
                    if self.new_name(&definition.name, "a number") {
                        let definition_of = Let { name: definition.name.span, value, used: false };
                        self.lets.insert(&definition.name.text, definition_of);
                    }
                }
                StatementKind::Block(section) => {
                    if self.new_name(&section.name, "a block") {
                        outline.blocks.push(section);
                    }
                }
                StatementKind::Network(definition) => {
                    if self.new_name(&definition.name, "a network") {
                        outline.networks.push(definition);
                    }
                }
                StatementKind::State(state) => {
                    for name in &state.names {
                        if self.new_name(name, "a state") {
                            let item = if state.names.len() == 1 { statement.span } else { name.span };
                            outline.states.push(StateName { name, item, init: state.init.as_ref() });
                        }
                    }
                }
                StatementKind::Segment(segment) => {
                    let first = outline.segment.map(|first| first.keyword);
                    if self.only(first, "segment", segment.keyword) {
                        outline.segment = Some(segment);
                    }
                }
                StatementKind::Gradient(gradient) => {
                    let first = outline.gradient.map(|first| first.policy.span);
                    if self.only(first, "gradient", gradient.policy.span) {
                        outline.gradient = Some(gradient);
                    }
                }
                StatementKind::Predict(predict) => self.outline_predict(&mut outline, predict),
                StatementKind::Halt(halt) => {
                    let first = outline.halt.map(|first| first.policy.span);
                    if self.only(first, "halt", halt.policy.span) {
                        outline.halt = Some(halt);
                    }
                }
                StatementKind::Section(section) => self.outline_section(&mut outline, section),
                StatementKind::Without(names) => self.report(without_base(&names[0], statement.span)),
                StatementKind::Entry(entry) => {
                    let key = entry.key.as_ref().expect("the grammar gives statements a key");
                    let statements = STATEMENT_KEYWORDS.iter().copied();
                    let help = suggestion(&key.text, statements);
                    self.report(unknown_statement(key).maybe_help(help));
                }
            }
        }
        outline
    }

    fn outline_predict(&mut self, outline: &mut Outline<'a>, predict: &'a Predict) {
        let (slot, label) = match predict.what.text.as_str() {
            "tokens" => (&mut outline.predict_tokens, "predict tokens"),
            "q" => (&mut outline.predict_q, "predict q"),
            // Choosing reports the word, since it is none of the choices.
            other => {
                if let Some(word) = nearest(other, ["tokens", "q"]) {
                    self.misspelt.insert(format!("predict {word}"));
                }
                self.chosen_word(&super::keys::PREDICT, other, predict.what.span, None);
                return;
            }
        };
        let first = slot.map(|first| first.what.span);
        if self.only(first, label, predict.what.span) {
            *slot = Some(predict);
        }
    }

    fn outline_section(&mut self, outline: &mut Outline<'a>, section: &'a Section) {
        let slot = match section.name.text.as_str() {
            "tokens" => &mut outline.tokens,
            "puzzles" => &mut outline.puzzles,
            "infer" => &mut outline.infer,
            other => {
                self.misspelt.extend(nearest(other, STATEMENT_KEYWORDS.iter().copied()).map(str::to_string));
                self.report(unknown_section(&section.name));
                return;
            }
        };
        let first = slot.map(|first| first.name.span);
        if self.only(first, &section.name.text, section.name.span) {
            *slot = Some(section);
        }
    }

    /// Reports a statement that may stand only once and stands there already.
    fn only(&mut self, first: Option<Span>, what: &str, span: Span) -> bool {
        if let Some(first) = first {
            let wholes = [self.statement(span), self.statement(first)];
            self.report(second_statement(what, span, first, wholes));
        }
        first.is_none()
    }

    /// Enters a name, or reports that it is taken.
    fn new_name(&mut self, name: &'a Name, kind: &'static str) -> bool {
        if RESERVED.contains(&name.text.as_str()) {
            self.report(reserved(name));
            return false;
        }
        if let Some(first) = self.names.get(name.text.as_str()) {
            self.report(duplicate_name(name, *first));
            return false;
        }
        self.names.insert(&name.text, Named { span: name.span, kind });
        true
    }

    /// Reports that a statement no model can do without is missing.
    pub(super) fn missing_statement(&mut self, outline: &Outline<'a>, what: &str, example: &str) {
        if self.complete && !self.misspelt.contains(what) {
            self.report(missing_statement(outline, what, example));
        }
    }
}

/// Returns the entries of a section and where to point when one is missing.
pub(super) fn parts(section: &Section) -> (Span, Option<&Entries>) {
    (section.name.span, Some(&section.entries))
}

fn unknown_statement(name: &Name) -> Diagnostic {
    Diagnostic::error(Code::UnknownKey, name.span, format!("a model has no `{}`", name.text))
        .label("not known here")
}

/// Reports a word that stands before braces. Only that of a section may take its place, for others need a name as well.
fn unknown_section(name: &Name) -> Diagnostic {
    let diagnostic = unknown_statement(name);
    match nearest(&name.text, STATEMENT_KEYWORDS.iter().copied()) {
        _ if name.text == "train" => diagnostic.help("close the model with `}` before it"),
        Some(word @ ("tokens" | "puzzles" | "infer" | "segment")) => diagnostic.meant(name.span, word),
        _ => diagnostic.maybe_help(suggestion(&name.text, STATEMENT_KEYWORDS.iter().copied())),
    }
}

fn second_statement(what: &str, span: Span, first: Span, wholes: [Span; 2]) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code::DuplicateStatement, span, format!("`{what}` is given twice"))
        .label("given again here")
        .secondary(first, "first given here");
    keep_one(diagnostic, wholes)
}

fn reserved(name: &Name) -> Diagnostic {
    let message = format!("`{}` means something in every spec and cannot be defined", name.text);
    Diagnostic::error(Code::ReservedName, name.span, message).label("reserved").help("choose another name")
}

fn duplicate_name(name: &Name, first: Named) -> Diagnostic {
    Diagnostic::error(Code::DuplicateName, name.span, format!("`{}` is already {}", name.text, first.kind))
        .label("defined again here")
        .secondary(first.span, format!("{} here", first.kind))
        .help("choose another name")
}

fn missing_statement(outline: &Outline<'_>, what: &str, example: &str) -> Diagnostic {
    let model = outline.name;
    Diagnostic::error(
        Code::MissingStatement,
        model.span,
        format!("the model `{}` has no `{what}`", model.text),
    )
    .label(format!("`{what}` is missing"))
    .mend(format!("add `{example}`"), [Edit::Add(outline.body, example.to_string())])
}
