//! Text to syntax tree.
//!
//! The grammar decides what matches; this file turns the pairs of the parser generator into nodes, and
//! text that the grammar skipped into diagnostics.

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use super::grammar::{Grammar, Rule};
use super::repair::{Repaired, repair};
use super::{Scanner, Token, ast, expectation};
use crate::diagnostic::{self, Code, Diagnostic, Edit};
use crate::span::{Source, Span};

/// Most operators in one expression; keeps every tree shallow enough to walk.
const MAX_OPERATORS: usize = 200;

/// What reading a source yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Everything that could be read.
    pub file: ast::File,
    /// What could not be read, sorted by place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a file.
pub fn parse(source: &Source) -> Parsed {
    let whole = Span::new(0, source.text.len());
    let mut repaired = repair(&source.text);
    let mut diagnostics = std::mem::take(&mut repaired.diagnostics);
    let mut file = ast::File { items: Vec::new(), span: whole, complete: false };
    if !repaired.unreadable {
        match Grammar::parse(Rule::file, &repaired.text) {
            Ok(mut pairs) => {
                let pair = pairs.next().expect("a successful match yields the rule that was asked for");
                let mut tree = Tree::new(&repaired, 0, &mut diagnostics);
                file = tree.file(pair, whole);
                // Whatever was wrong, the tree is not quite what the text says.
                file.complete &= diagnostics.is_empty();
            }
            Err(error) => {
                let mut refused = expectation::explain(&repaired.text, 0, repaired.text.len(), &error);
                refused.move_places(|span| repaired.original(span));
                diagnostics.push(refused);
            }
        }
    }
    if !repaired.certain {
        // What is missing from the model may well stand elsewhere in the tree.
        file.items.iter_mut().for_each(mark_incomplete);
    }
    diagnostic::sort(&mut diagnostics);
    Parsed { file, diagnostics }
}

/// Reads a file whose text lacks what could not be read: nothing is said to be missing from it.
pub(super) fn parse_rest(source: &Source) -> ast::File {
    let mut file = parse(source).file;
    file.complete = false;
    for item in &mut file.items {
        mark_incomplete(item);
        let ast::Item::Model(model) = item else { continue };
        for statement in &mut model.statements {
            match &mut statement.kind {
                ast::StatementKind::Block(section) | ast::StatementKind::Section(section) => {
                    section.entries.complete = false;
                }
                _ => {}
            }
        }
    }
    file
}

/// Returns the text of a file that has mistakes, repaired as [`parse`] reads it; `None` if it cannot be read at all.
pub(super) fn readable(source: &Source) -> Option<Source> {
    let repaired = repair(&source.text);
    (!repaired.unreadable).then(|| repaired.source(source))
}

fn mark_incomplete(item: &mut ast::Item) {
    match item {
        ast::Item::Model(model) => model.complete = false,
        ast::Item::Train(train) => train.entries.complete = false,
        ast::Item::Base(_) => {}
    }
}

/// Part of a source that is read on its own.
#[derive(Clone, Copy)]
pub(super) struct Fragment<'a> {
    /// A text that begins somewhere in the source.
    pub(super) text: &'a str,
    /// Where it begins there.
    pub(super) place: usize,
    /// Where in the text the fragment begins; it ends with the text.
    pub(super) begin: usize,
}

/// Reads a value on its own.
pub(super) fn parse_value(fragment: Fragment<'_>) -> Result<ast::Value, Vec<Diagnostic>> {
    parse_alone(fragment, Rule::lone_value, |tree, mut pairs| {
        tree.value(pairs.next().expect("the rule begins with a value"))
    })
}

/// Reads what follows `gradient` on its own.
pub(super) fn parse_policy(fragment: Fragment<'_>) -> Result<ast::Gradient, Vec<Diagnostic>> {
    parse_alone(fragment, Rule::lone_policy, |tree, mut pairs| {
        let policy = tree.name(pairs.next().expect("the rule begins with a name"));
        let arguments = pairs.filter(|pair| pair.as_rule() == Rule::factor).map(|pair| tree.factor(pair));
        ast::Gradient { policy, arguments: arguments.collect() }
    })
}

fn parse_alone<T>(
    fragment: Fragment<'_>,
    rule: Rule,
    build: impl FnOnce(&mut Tree<'_>, Pairs<'_, Rule>) -> T,
) -> Result<T, Vec<Diagnostic>> {
    let Fragment { text, place, begin } = fragment;
    let mut repaired = repair(&text[begin..]);
    let diagnostics = std::mem::take(&mut repaired.diagnostics);
    if !diagnostics.is_empty() {
        return Err(shifted(diagnostics, place + begin));
    }
    match Grammar::parse(rule, &repaired.text) {
        Ok(pairs) => {
            let mut diagnostics = Vec::new();
            let built = build(&mut Tree::new(&repaired, place + begin, &mut diagnostics), pairs);
            if diagnostics.is_empty() { Ok(built) } else { Err(diagnostics) }
        }
        Err(error) => Err(shifted(vec![expectation::explain(text, begin, text.len(), &error)], place)),
    }
}

/// Reads a dotted path: the first `length` bytes of a text that begins at `place` of its source.
pub(super) fn parse_path(text: &str, length: usize, place: usize) -> Result<Vec<ast::Name>, Vec<Diagnostic>> {
    let mut pairs = Grammar::parse(Rule::lone_path, &text[..length])
        .map_err(|error| shifted(vec![expectation::explain(text, 0, length, &error)], place))?;
    let path = pairs.next().expect("the rule begins with a path");
    let name = |pair: Pair<'_, Rule>| ast::Name {
        text: pair.as_str().to_string(),
        span: Span::new(pair.as_span().start(), pair.as_span().end()).shifted(place),
    };
    Ok(path.into_inner().map(name).collect())
}

/// Moves diagnostics to the right.
fn shifted(mut diagnostics: Vec<Diagnostic>, offset: usize) -> Vec<Diagnostic> {
    diagnostics.iter_mut().for_each(|diagnostic| diagnostic.move_places(|span| span.shifted(offset)));
    diagnostics
}

/// Builds nodes.
struct Tree<'a> {
    /// The text that was matched.
    repaired: &'a Repaired<'a>,
    /// Where it begins in the whole text.
    offset: usize,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// Expressions around the one that is built.
    nested: usize,
    /// Operators of the outermost of them so far.
    operators: usize,
}

impl<'a> Tree<'a> {
    fn new(repaired: &'a Repaired<'a>, offset: usize, diagnostics: &'a mut Vec<Diagnostic>) -> Tree<'a> {
        Tree { repaired, offset, diagnostics, nested: 0, operators: 0 }
    }
}

/// Children of a pair without punctuation.
fn children(pair: Pair<'_, Rule>) -> impl Iterator<Item = Pair<'_, Rule>> {
    pair.into_inner().filter(|child| !is_punctuation(child.as_rule()))
}

fn is_punctuation(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::newline
            | Rule::comma
            | Rule::separator
            | Rule::end
            | Rule::EOI
            | Rule::equals
            | Rule::arrow
            | Rule::colon
            | Rule::open_paren
            | Rule::close_paren
            | Rule::open_bracket
            | Rule::close_bracket
            | Rule::open_brace
            | Rule::close_brace
            | Rule::kw_let
            | Rule::kw_block
            | Rule::kw_network
            | Rule::kw_state
            | Rule::kw_repeat
            | Rule::kw_gradient
            | Rule::kw_predict
            | Rule::kw_from
            | Rule::kw_halt
            | Rule::kw_without
            | Rule::kw_base
            | Rule::kw_model
    )
}

fn next<'a>(children: &mut impl Iterator<Item = Pair<'a, Rule>>) -> Pair<'a, Rule> {
    children.next().expect("the grammar requires this child")
}

impl Tree<'_> {
    /// Returns the place of a pair, without the white space a rule may end with.
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let start = pair.as_span().start();
        let span = Span::new(start, start + trimmed_length(pair.as_str()));
        self.repaired.original(span).shifted(self.offset)
    }

    /// Reports text that the grammar skipped by reading it again with the rule it should have matched.
    fn skipped(&mut self, pair: &Pair<'_, Rule>, line: Rule) {
        let start = pair.as_span().start();
        let refused = &pair.as_str()[..trimmed_length(pair.as_str())];
        let end = start + refused.len();
        let mut refused = match Grammar::parse(line, refused) {
            Err(error) => expectation::explain(&self.repaired.text, start, end, &error),
            Ok(_) => Diagnostic::error(
                Code::MissingSeparator,
                Span::new(start, end),
                "expected a comma or a new line after this",
            )
            .label("one item")
            .mend("put a comma or a new line behind it", [Edit::behind(Span::new(start, end), ", ")]),
        };
        refused.move_places(|span| self.repaired.original(span));
        // After a repair the line may read oddly, which is no second mistake.
        if !self.repaired.is_reported(refused.primary.span.start) {
            self.diagnostics.push(refused);
        }
    }

    fn file(&mut self, pair: Pair<'_, Rule>, span: Span) -> ast::File {
        let mut items = Vec::new();
        let mut complete = true;
        for child in children(pair) {
            match child.as_rule() {
                Rule::top => items.push(self.item(next(&mut children(child)))),
                _ => {
                    complete = false;
                    self.skipped(&child, Rule::top_line);
                }
            }
        }
        ast::File { items, span, complete }
    }

    fn item(&mut self, pair: Pair<'_, Rule>) -> ast::Item {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let brace = pair.clone().into_inner().find(|child| child.as_rule() == Rule::open_brace);
        let mut parts = children(pair);
        let first = next(&mut parts);
        if rule == Rule::base {
            let (path, path_span) = (unescape(first.as_str()), self.span(&first));
            return ast::Item::Base(ast::Base { path, path_span, span });
        }
        if rule == Rule::train {
            let keyword = self.span(&first);
            return ast::Item::Train(ast::Train { keyword, entries: self.entries(next(&mut parts)), span });
        }
        let name = self.name(first);
        let brace = self.span(&brace.expect("the grammar requires this brace"));
        let body = Span::new(brace.start, span.end.max(brace.end));
        let mut statements = Vec::new();
        let mut complete = true;
        for child in parts {
            match child.as_rule() {
                Rule::statement => statements.push(self.statement(child)),
                _ => {
                    complete = false;
                    self.skipped(&child, Rule::statement_line);
                }
            }
        }
        ast::Item::Model(ast::Model { name, statements, body, span, complete })
    }

    fn name(&self, pair: Pair<'_, Rule>) -> ast::Name {
        ast::Name { text: pair.as_str().to_string(), span: self.span(&pair) }
    }

    fn statement(&mut self, pair: Pair<'_, Rule>) -> ast::Statement {
        let span = self.span(&pair);
        let inner = next(&mut children(pair));
        let rule = inner.as_rule();
        if rule == Rule::entry {
            return ast::Statement { kind: ast::StatementKind::Entry(self.entry(inner)), span };
        }
        let mut parts = children(inner);
        let kind = match rule {
            Rule::segment_statement => {
                let keyword = self.span(&next(&mut parts));
                let steps = self.steps(next(&mut parts));
                ast::StatementKind::Segment(ast::Segment { keyword, steps })
            }
            Rule::state_statement => self.state(parts),
            Rule::without_statement => {
                ast::StatementKind::Without(parts.map(|part| self.name(part)).collect())
            }
            _ => {
                let name = self.name(next(&mut parts));
                self.named_statement(rule, name, parts)
            }
        };
        ast::Statement { kind, span }
    }

    fn state<'a>(&mut self, parts: impl Iterator<Item = Pair<'a, Rule>>) -> ast::StatementKind {
        let mut names = Vec::new();
        let mut init = None;
        for part in parts {
            match part.as_rule() {
                Rule::name => names.push(self.name(part)),
                _ => init = Some(self.expression(part)),
            }
        }
        ast::StatementKind::State(ast::State { names, init })
    }

    /// Builds the statements that begin with a keyword and a name, or with a name.
    fn named_statement<'a>(
        &mut self,
        rule: Rule,
        name: ast::Name,
        mut parts: impl Iterator<Item = Pair<'a, Rule>>,
    ) -> ast::StatementKind {
        match rule {
            Rule::let_statement => {
                let value = self.expression(next(&mut parts));
                ast::StatementKind::Let(ast::Definition { name, value })
            }
            Rule::network_statement => {
                let value = self.expression(next(&mut parts));
                ast::StatementKind::Network(ast::Definition { name, value })
            }
            Rule::block_statement => {
                let entries = self.entries(next(&mut parts));
                ast::StatementKind::Block(ast::Section { name, entries })
            }
            Rule::section => {
                let entries = self.entries(next(&mut parts));
                ast::StatementKind::Section(ast::Section { name, entries })
            }
            Rule::gradient_statement => {
                let arguments = parts.map(|part| self.factor(part)).collect();
                ast::StatementKind::Gradient(ast::Gradient { policy: name, arguments })
            }
            Rule::halt_statement => {
                let entries = parts.next().map(|part| self.entries(part));
                ast::StatementKind::Halt(ast::Halt { policy: name, entries })
            }
            Rule::predict_statement => {
                let state = self.name(next(&mut parts));
                let mut position = None;
                let mut entries = None;
                for part in parts {
                    match part.as_rule() {
                        Rule::position => position = Some(self.expression(next(&mut children(part)))),
                        _ => entries = Some(self.entries(part)),
                    }
                }
                ast::StatementKind::Predict(ast::Predict { what: name, state, position, entries })
            }
            other => unreachable!("the grammar has no statement {other:?}"),
        }
    }

    fn steps(&mut self, pair: Pair<'_, Rule>) -> ast::Steps {
        let span = self.span(&pair);
        let mut steps = Vec::new();
        let mut complete = true;
        for child in children(pair) {
            match child.as_rule() {
                Rule::step => steps.push(self.step(child)),
                _ => {
                    complete = false;
                    self.skipped(&child, Rule::step_line);
                }
            }
        }
        ast::Steps { steps, span, complete }
    }

    fn step(&mut self, pair: Pair<'_, Rule>) -> ast::Step {
        let span = self.span(&pair);
        let inner = next(&mut children(pair));
        let rule = inner.as_rule();
        let mut parts = children(inner);
        let first = next(&mut parts);
        let kind = if rule == Rule::update {
            let state = self.name(first);
            ast::StepKind::Update(ast::Update { state, value: self.expression(next(&mut parts)) })
        } else {
            let (label, count) = match first.as_rule() {
                Rule::label => (Some(self.name(next(&mut children(first)))), next(&mut parts)),
                _ => (None, first),
            };
            let count = self.factor(count);
            ast::StepKind::Repeat(ast::Repeat { label, count, body: self.steps(next(&mut parts)) })
        };
        ast::Step { kind, span }
    }

    /// Builds entries between braces or arguments between parentheses.
    fn entries(&mut self, pair: Pair<'_, Rule>) -> ast::Entries {
        let span = self.span(&pair);
        let delimiter = match pair.as_rule() {
            Rule::arguments => ast::Delimiter::Paren,
            _ => ast::Delimiter::Brace,
        };
        let mut entries = Vec::new();
        let mut without = Vec::new();
        let mut complete = true;
        for child in children(pair) {
            match child.as_rule() {
                Rule::without_entry => {
                    let span = self.span(&child);
                    let names = children(child).map(|name| self.name(name)).collect();
                    without.push(ast::Without { names, span });
                }
                Rule::entry => entries.push(self.entry(child)),
                Rule::argument => {
                    let inner = next(&mut children(child));
                    entries.push(match inner.as_rule() {
                        Rule::entry => self.entry(inner),
                        _ => self.positional(inner),
                    });
                }
                _ => {
                    complete = false;
                    let takes = is_without(child.as_str());
                    self.skipped(&child, if takes { Rule::without_line } else { Rule::entry_line });
                }
            }
        }
        ast::Entries { delimiter, entries, without, span, complete }
    }

    fn entry(&mut self, pair: Pair<'_, Rule>) -> ast::Entry {
        let span = self.span(&pair);
        let mut parts = children(pair);
        let key = self.name(next(&mut parts));
        ast::Entry { key: Some(key), value: self.value(next(&mut parts)), span }
    }

    fn positional(&mut self, pair: Pair<'_, Rule>) -> ast::Entry {
        let span = self.span(&pair);
        ast::Entry { key: None, value: self.value(next(&mut children(pair))), span }
    }

    fn value(&mut self, pair: Pair<'_, Rule>) -> ast::Value {
        let span = self.span(&pair);
        let mut parts = children(pair);
        let expr = self.expression(next(&mut parts));
        let unit = parts.next().map(|unit| self.name(next(&mut children(unit))));
        ast::Value { expr, unit, span }
    }

    /// Builds sums and, one level down, products; both group to the left.
    fn expression(&mut self, pair: Pair<'_, Rule>) -> ast::Expr {
        let span = self.span(&pair);
        if self.nested == 0 {
            self.operators = 0;
        }
        self.nested += 1;
        let mut parts = children(pair);
        let first = next(&mut parts);
        let mut left = self.operand(first);
        while let Some(operator) = parts.next() {
            let operator = match operator.as_rule() {
                Rule::plus => ast::Operator::Add,
                Rule::minus => ast::Operator::Subtract,
                Rule::star => ast::Operator::Multiply,
                _ => ast::Operator::Divide,
            };
            let right = self.operand(next(&mut parts));
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                // What is around this expression has as many, which is worth no second message.
                if self.operators == MAX_OPERATORS + 1 {
                    self.diagnostics.push(too_many_operators(span));
                }
                break;
            }
            let span = left.span.to(right.span);
            let binary = ast::Binary { operator, left: Box::new(left), right: Box::new(right) };
            left = ast::Expr { kind: ast::ExprKind::Binary(binary), span };
        }
        self.nested -= 1;
        left
    }

    fn operand(&mut self, pair: Pair<'_, Rule>) -> ast::Expr {
        match pair.as_rule() {
            Rule::term => self.expression(pair),
            _ => self.factor(pair),
        }
    }

    fn factor(&mut self, pair: Pair<'_, Rule>) -> ast::Expr {
        let span = self.span(&pair);
        let mut parts = children(pair);
        let first = next(&mut parts);
        match first.as_rule() {
            Rule::minus => {
                let inner = self.primary(next(&mut parts));
                ast::Expr { kind: ast::ExprKind::Negative(Box::new(inner)), span }
            }
            _ => self.primary(first),
        }
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> ast::Expr {
        let span = self.span(&pair);
        let inner = next(&mut children(pair));
        let kind = match inner.as_rule() {
            Rule::number => ast::ExprKind::Number(inner.as_str().to_string()),
            Rule::string => ast::ExprKind::Text(unescape(inner.as_str())),
            Rule::name => ast::ExprKind::Name(inner.as_str().to_string()),
            Rule::call => {
                let mut parts = children(inner);
                let callee = self.name(next(&mut parts));
                ast::ExprKind::Call(ast::Call { callee, arguments: self.entries(next(&mut parts)) })
            }
            _ => {
                let mut parts: Vec<ast::Expr> = children(inner).map(|part| self.expression(part)).collect();
                match parts.len() {
                    1 => ast::ExprKind::Group(Box::new(parts.remove(0))),
                    _ => ast::ExprKind::Tuple(parts),
                }
            }
        };
        ast::Expr { kind, span }
    }
}

/// Returns whether a line begins with the word `without`.
fn is_without(line: &str) -> bool {
    let rest = line.strip_prefix("without");
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

fn too_many_operators(span: Span) -> Diagnostic {
    Diagnostic::error(
        Code::ExpressionTooLong,
        span,
        format!("more than {MAX_OPERATORS} operators in one expression"),
    )
    .help("split it with `let`")
}

/// Returns the length of `text` without the white space and the comments at its end.
fn trimmed_length(text: &str) -> usize {
    Scanner::new(text).filter(Token::is_content).last().map_or(0, |token| token.span.end)
}

/// Returns the text between the quotes of a literal that matches the grammar.
fn unescape(literal: &str) -> String {
    let mut text = String::new();
    let mut characters = literal[1..literal.len() - 1].chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::span::Source;

    fn messages(text: &str) -> Vec<String> {
        let source = Source::new("a.hrm", text);
        let at = |diagnostic: &super::Diagnostic| source.location(diagnostic.primary.span.start);
        parse(&source)
            .diagnostics
            .iter()
            .map(|diagnostic| {
                let place = at(diagnostic);
                format!("{}:{} {}", place.line, place.column, diagnostic.message)
            })
            .collect()
    }

    #[test]
    fn shipped_specs_parse() {
        for text in [
            include_str!("../../specs/maze.hrm"),
            include_str!("../../specs/sudoku.hrm"),
            include_str!("../../specs/sudoku-small.hrm"),
            include_str!("../../specs/quickstart.hrm"),
        ] {
            assert_eq!(messages(text), Vec::<String>::new());
        }
    }

    #[test]
    fn every_broken_item_is_reported_and_the_rest_is_read() {
        let text = "model a {\n  let = 2\n  tokens { vocab = , positions 81 }\n  netwrok low = 4 * b\n  \
                    segment {\n    repeat { z <- f(z) }\n    z = f(z)\n  }\n  let N = 2 let M = 3\n}\ntrian { }\n";
        assert_eq!(
            messages(text),
            [
                "2:7 expected a name, found `=`",
                "3:20 expected a value, found `,`",
                "3:32 expected `=`, found `81`",
                "4:11 expected `=` or `{`, found `low`",
                "6:12 expected a value, found `{`",
                "7:7 expected `<-` or `:`, found `=`",
                "9:13 expected a comma or a new line, found `let`",
                "11:1 expected `model` or `train`, found `trian`",
            ]
        );
    }
}
