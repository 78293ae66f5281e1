//! Syntax tree to checked model: the last stage that may blame the user.
//!
//! [`check`] resolves names, evaluates constant expressions, writes in the defaults and tests everything
//! that can be known without data or a device. It reports every problem of the file at once and yields a
//! model only if none of them is an error.

mod block;
mod constant;
mod dataset;
mod flow;
mod heads;
mod infer;
pub mod keys;
mod missed;
mod names;
mod outline;
mod reader;
mod segment;
mod train;

use std::collections::{BTreeMap, BTreeSet};

pub use dataset::{DatasetShape, Misfits, check_dataset, fit};
pub use reader::MAX_ROWS;
pub(crate) use segment::name_storage;

use crate::diagnostic::{self, Code, Diagnostic, Edit, Label};
use crate::ir;
use crate::span::Span;
use crate::syntax::ast;
use constant::Constant;
use names::Named;
use outline::Outline;

/// What checking a file yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The model, if there is no error.
    pub model: Option<ir::Model>,
    /// Errors and warnings, sorted by place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks a file.
///
/// A file with syntax errors is checked as far as it could be read; it never yields a model, and nothing is
/// said to be missing from what could not be read.
pub fn check(file: &ast::File) -> Checked {
    let mut context = Context::new(file);
    let model = context.file(file);
    context.name_origins();
    let mut diagnostics = context.diagnostics;
    // What seems unused may be what a name that stands for nothing was meant to be.
    if diagnostics.iter().any(|diagnostic| matches!(diagnostic.code, Code::UnknownName | Code::WrongName)) {
        diagnostics.retain(|diagnostic| !matches!(diagnostic.code, Code::UnusedLet | Code::UnusedBlock));
    }
    diagnostic::sort(&mut diagnostics);
    let model = model.filter(|_| !context.refused && !diagnostic::has_errors(&diagnostics));
    if let Some(model) = &model {
        debug_assert_eq!(ir::validate(model), Ok(()), "a model without errors obeys the rules of the IR");
    }
    Checked { model, diagnostics }
}

/// Returns the value of every `let` of a file that has one, as a spec spells it.
pub fn let_values(file: &ast::File) -> BTreeMap<String, String> {
    let mut context = Context::new(file);
    if let Some(model) = file.models().next() {
        context.outline(model);
    }
    let value = |(name, definition): (&&str, &Let)| Some((name.to_string(), definition.value?.to_string()));
    context.lets.iter().filter_map(value).collect()
}

/// What is known while a file is checked.
struct Context<'a> {
    diagnostics: Vec<Diagnostic>,
    lets: BTreeMap<&'a str, Let>,
    /// Where each `let` of the model stands, those not reached yet included.
    let_names: BTreeMap<&'a str, Span>,
    /// Every use of a `let`: its place, and the name it stands for.
    let_uses: Vec<(Span, &'a str)>,
    /// Places of names that a check has looked at.
    seen: BTreeSet<Span>,
    /// What each name of the model is.
    names: BTreeMap<&'a str, Named>,
    /// Places of the statements of the model.
    statements: Vec<Span>,
    /// Statements that were surely meant by unknown ones, which are not missing on top of that.
    misspelt: BTreeSet<String>,
    /// Whether every statement of the text is in the tree; names may be unknown for another reason if not.
    complete: bool,
    /// Whether the file cannot yield a model whatever is in it.
    refused: bool,
}

/// A number with a name.
struct Let {
    name: Span,
    value: Option<Constant>,
    used: bool,
}

impl<'a> Context<'a> {
    fn new(file: &ast::File) -> Context<'a> {
        // Names are defined in the model, so what could not be read outside of it hides none.
        let complete = file.models().all(|model| model.complete);
        Context {
            diagnostics: Vec::new(),
            lets: BTreeMap::new(),
            let_names: BTreeMap::new(),
            let_uses: Vec::new(),
            seen: BTreeSet::new(),
            names: BTreeMap::new(),
            statements: Vec::new(),
            misspelt: BTreeSet::new(),
            complete,
            refused: !complete || !file.complete,
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn file(&mut self, file: &'a ast::File) -> Option<ir::Model> {
        if let Some(base) = file.bases().next() {
            // What seems to be missing is in the base.
            self.report(unresolved_base(base));
            self.refused = true;
            return None;
        }
        let mut models = file.models();
        let model = models.next();
        for extra in models {
            let model = model.expect("there is one before the second");
            let first = model.name.span;
            self.report(second("model", extra.name.span, first, [extra.span, model.span]));
        }
        let mut trains = file.trains();
        let train = trains.next();
        for extra in trains {
            let train = train.expect("there is one before the second");
            self.report(second("train", extra.keyword, train.keyword, [extra.span, train.span]));
        }
        let Some(model) = model else {
            if file.complete {
                self.report(no_model(file.span));
            }
            return None;
        };
        let outline = self.outline(model);
        let body = self.model(&outline);
        let checked_train = train.map(|train| self.train(train, &outline, body.as_ref()));
        self.missed_names(model, train, &outline);
        if file.complete {
            self.unused_lets();
        }
        let mut body = body?;
        if let Some(train) = checked_train {
            body.train = Some(train?);
        }
        Some(body)
    }

    /// Checks everything but the `train` block.
    fn model(&mut self, outline: &Outline<'a>) -> Option<ir::Model> {
        let sizes = self.sizes(outline);
        let inits = self.state_inits(outline);
        let nest = self.nest(outline, sizes.as_ref().map(|sizes| &sizes.networks[..]));
        let token_state = self.token_head(outline);
        let positions = sizes.as_ref().map(|sizes| {
            sizes.tokens.positions + sizes.puzzles.as_ref().map_or(0, |puzzles| puzzles.positions)
        });
        let q = self.q_head(outline, positions);
        if let (Some(nest), Some(q)) = (&nest, &q) {
            let q_state = q.as_ref().map(|q| q.state);
            self.idle_states(outline, nest, &[token_state, q_state]);
        }
        let halt = self.halt(outline, q);
        let infer = self.infer(outline, halt.as_ref(), sizes.as_ref().map(|sizes| &sizes.tokens));
        let gradient = self.gradient(outline, nest.as_ref());
        let (sizes, mut nest, token_state) = (sizes?, nest?, token_state?);
        if !nest.is_whole() {
            self.refused = true;
            return None;
        }
        let (halt, q_head) = halt?;
        let states = outline.states.iter().zip(inits).map(|(state, init)| {
            Some(ir::State { name: state.name.text.clone(), stored_as: String::new(), init: init? })
        });
        let mut model = ir::Model {
            name: outline.name.text.clone(),
            hidden: sizes.hidden,
            tokens: sizes.tokens,
            puzzles: sizes.puzzles,
            networks: sizes.networks,
            states: states.collect::<Option<Vec<_>>>()?,
            segment: std::mem::take(&mut nest.steps),
            gradient: gradient?,
            token_head: ir::TokenHead { state: token_state },
            q_head,
            halt,
            infer: infer?,
            train: None,
        };
        name_storage(&mut model);
        self.flow(outline, &nest, &model);
        Some(model)
    }

    /// Adds, to what is said about a value, where the numbers in it were defined.
    fn name_origins(&mut self) {
        for diagnostic in &mut self.diagnostics {
            if !is_about_a_value(diagnostic.code) {
                continue;
            }
            let mut named = BTreeSet::new();
            let places: Vec<Span> = diagnostic.secondary.iter().map(|label| label.span).collect();
            for place in places.into_iter().chain([diagnostic.primary.span]) {
                let inside = |used: &Span| place.start <= used.start && used.end <= place.end;
                named.extend(self.let_uses.iter().filter(|(used, _)| inside(used)).map(|&(_, name)| name));
            }
            for name in named {
                let definition = &self.lets[name];
                if let Some(value) = definition.value {
                    let label = Label { span: definition.name, text: format!("`{name}` is {value}") };
                    diagnostic.secondary.push(label);
                }
            }
        }
    }

    /// Returns the place of the statement of the model in which something stands.
    fn statement(&self, part: Span) -> Span {
        let after = self.statements.partition_point(|statement| statement.start <= part.start);
        after.checked_sub(1).map_or(part, |index| self.statements[index])
    }

    fn unused_lets(&mut self) {
        if self.complete {
            let unused: Vec<Diagnostic> = self
                .lets
                .iter()
                .filter(|(_, definition)| !definition.used)
                .map(|(name, definition)| unused_let(name, definition.name, self.statement(definition.name)))
                .collect();
            self.diagnostics.extend(unused);
        }
    }
}

/// Returns whether a diagnostic is about a number that may come from a `let`.
fn is_about_a_value(code: Code) -> bool {
    matches!(
        code,
        Code::WrongType
            | Code::OutOfRange
            | Code::DivisionByZero
            | Code::NumberTooLarge
            | Code::HeadWidth
            | Code::OddHeadWidth
            | Code::ShapeMismatch
            | Code::PuzzleWidth
            | Code::DataMismatch
            | Code::EmptyLoop
            | Code::SegmentTooLong
    )
}

fn second(what: &str, span: Span, first: Span, wholes: [Span; 2]) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(Code::DuplicateStatement, span, format!("a file has one `{what}`, found a second"))
            .label("the second")
            .secondary(first, "the first");
    keep_one(diagnostic, wholes)
}

/// Says that the second or the first of two items is to be removed.
fn keep_one(diagnostic: Diagnostic, [second, first]: [Span; 2]) -> Diagnostic {
    diagnostic
        .help("keep one of the two")
        .offer("remove the second of the two", [Edit::Remove(second)])
        .offer("remove the first of the two", [Edit::Remove(first)])
}

fn unresolved_base(base: &ast::Base) -> Diagnostic {
    Diagnostic::error(
        Code::Base,
        base.path_span,
        format!("the base `{}` is not put under this spec", base.path),
    )
    .label("this file is needed")
    .help("give the spec as a file, so that its base can be found beside it")
}

fn no_model(span: Span) -> Diagnostic {
    Diagnostic::error(Code::MissingModel, Span::new(span.end, span.end), "the file has no `model`")
        .help("add `model name { … }`")
}

fn unused_let(name: &str, span: Span, statement: Span) -> Diagnostic {
    Diagnostic::warning(Code::UnusedLet, span, format!("`{name}` is never used"))
        .label("defined here")
        .mend("remove it", [Edit::Remove(statement)])
}

#[cfg(test)]
mod tests {
    use super::{Checked, check};
    use crate::ir;
    use crate::span::Source;
    use crate::syntax::parse;

    /// Checks a text that follows the grammar.
    pub(super) fn checked(text: &str) -> Checked {
        let parsed = parse(&Source::new("test.hrm", text));
        assert_eq!(parsed.diagnostics, [], "the text follows the grammar");
        check(&parsed.file)
    }

    /// Returns the model of a text without any problem.
    pub(super) fn model(text: &str) -> ir::Model {
        let checked = checked(text);
        assert_eq!(checked.diagnostics, []);
        checked.model.expect("a text without problems yields a model")
    }

    #[test]
    fn shipped_specs_have_no_problems() {
        for text in [
            include_str!("../../specs/maze.hrm"),
            include_str!("../../specs/sudoku.hrm"),
            include_str!("../../specs/sudoku-small.hrm"),
            include_str!("../../specs/quickstart.hrm"),
        ] {
            assert_eq!(ir::validate(&model(text)), Ok(()));
        }
    }
}
