//! Syntax tree to text in the canonical layout.
//!
//! Two spaces a level, one item a line. A list between braces stays on one line if it stood on one and still
//! fits. At most one empty line separates items, and equal kinds of items on neighbouring lines are
//! aligned at their `=`, `{` or `from`, as are the comments behind them.
//!
//! Comments are no part of the tree, so they are found in the text and put back by place: behind the item
//! or the opening brace they follow on a line, on lines of their own otherwise. A comment inside an
//! expression moves before the item it is in.
//!
//! A tree that was made of a model has no text to go by. Its blocks and loops take several lines, its other lists one,
//! and empty lines set its kinds of statements apart.

use super::ast::{
    Delimiter, Entries, Entry, Expr, ExprKind, File, Gradient, Item, Name, Predict, Repeat, Section,
    Statement, StatementKind, Step, StepKind, Steps, Value, Without,
};
use super::{Scanner, Token, TokenKind, parse};
use crate::diagnostic::Diagnostic;
use crate::span::{Source, Span};

/// Longest line that is written if there is a choice.
const WIDTH: usize = 100;

/// Returns the text in the canonical layout. Formatting the result again changes nothing.
///
/// # Errors
///
/// Returns the syntax errors of a text that cannot be read.
pub fn format(source: &Source) -> Result<String, Vec<Diagnostic>> {
    let parsed = parse(source);
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let comments = comments(&source.text);
    let mut layout = Layout { text: Some(&source.text), comments: &comments, ..Layout::default() };
    layout.file(&parsed.file);
    Ok(write(&layout.finish()))
}

/// Returns the text of a tree that no text was read for, in the canonical layout.
pub fn print(file: &File) -> String {
    let mut layout = Layout::default();
    layout.file(file);
    write(&layout.finish())
}

/// Returns the lines of steps that no text was read for.
pub fn print_steps(steps: &Steps) -> Vec<String> {
    let mut layout = Layout::default();
    layout.steps(0, steps);
    layout.finish().iter().map(Line::code).collect()
}

/// Returns an expression on one line.
pub fn print_expr(expr: &Expr) -> String {
    inline_expr(expr)
}

/// Returns a value on one line, its unit included.
pub fn print_value(value: &Value) -> String {
    inline_value(value)
}

/// What lines are alike enough to be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alike {
    /// Aligned with nothing.
    None,
    Let,
    Network,
    State,
    Predict,
    /// A section on one line.
    Section,
    Entry,
}

/// One line of the result.
#[derive(Debug)]
struct Line {
    depth: usize,
    alike: Alike,
    /// What stands before the place of alignment.
    head: String,
    /// What stands after it.
    rest: String,
    comment: Option<String>,
    blank_before: bool,
}

/// One item, ready to be put on lines.
struct ItemLayout<'a> {
    alike: Alike,
    head: String,
    rest: String,
    body: Body<'a>,
    /// Whether it stands apart from the items before it, where no text says so.
    apart: bool,
}

/// What an item has between braces.
enum Body<'a> {
    None,
    Entries(&'a Entries),
    /// The entries of a block.
    Block(&'a Entries),
    Steps(&'a Steps),
    Arguments(&'a Entries),
}

/// A comment of the text.
#[derive(Debug)]
struct Comment {
    span: Span,
    text: String,
}

fn span_of(item: &Item) -> Span {
    match item {
        Item::Base(base) => base.span,
        Item::Model(model) => model.span,
        Item::Train(train) => train.span,
    }
}

#[derive(Default)]
struct Layout<'a> {
    /// The text that the tree was read from, if there is one.
    text: Option<&'a str>,
    comments: &'a [Comment],
    /// First comment that is not written yet.
    next_comment: usize,
    lines: Vec<Line>,
}

impl<'a> Layout<'a> {
    fn file(&mut self, file: &'a File) {
        let mut end = 0;
        for (index, item) in file.items.iter().enumerate() {
            let span = span_of(item);
            let first = self.lines.len();
            self.comments_before(0, span.start, &mut end);
            self.loose_comments(0, span, span_of_body(item));
            match item {
                Item::Base(base) => {
                    let blank = self.gap(end, span.start);
                    self.push(0, Alike::None, format!("base {}", quote(&base.path)), String::new(), blank);
                }
                Item::Model(model) => {
                    let blank = self.gap(end, span.start);
                    self.push(0, Alike::None, format!("model {} {{", model.name.text), String::new(), blank);
                    let spans = model.statements.iter().map(|statement| statement.span).collect::<Vec<_>>();
                    self.list(1, between(model.body), &spans, |layout, index| {
                        let before = index.checked_sub(1).map(|before| &model.statements[before].kind);
                        let statement = &model.statements[index];
                        let apart = layout.text.is_none() && stands_apart(&statement.kind, before);
                        ItemLayout { apart, ..layout.statement(statement) }
                    });
                }
                Item::Train(train) => {
                    let blank = self.gap(end, span.start);
                    self.push(0, Alike::None, "train {".to_string(), String::new(), blank);
                    self.entries(1, &train.entries);
                }
            }
            if !matches!(item, Item::Base(_)) {
                self.push(0, Alike::None, "}".to_string(), String::new(), false);
            }
            end = span.end;
            let next = file.items.get(index + 1).map_or(file.span.end, |next| span_of(next).start);
            self.trailing_comment(&mut end, next);
            // A file reads better with air between its items.
            if index > 0
                && let Some(line) = self.lines.get_mut(first)
            {
                line.blank_before = true;
            }
        }
        self.comments_before(0, file.span.end, &mut end);
        if let Some(first) = self.lines.first_mut() {
            first.blank_before = false;
        }
    }

    /// Returns the lines, aligned.
    fn finish(mut self) -> Vec<Line> {
        align(&mut self.lines);
        self.lines
    }

    fn push(&mut self, depth: usize, alike: Alike, head: String, rest: String, blank_before: bool) {
        self.lines.push(Line { depth, alike, head, rest, comment: None, blank_before });
    }

    /// Returns whether an empty line separates two places of the text.
    fn gap(&self, end: usize, start: usize) -> bool {
        self.text.and_then(|text| text.get(end..start)).is_some_and(|between| {
            let mut newlines = between.matches('\n').count();
            if between.contains('#') {
                newlines = 0;
            }
            newlines > 1
        })
    }

    /// Writes the comments before `start` on lines of their own; `end` is where the last thing ended.
    fn comments_before(&mut self, depth: usize, start: usize, end: &mut usize) {
        while let Some(comment) =
            self.comments.get(self.next_comment).filter(|comment| comment.span.start < start)
        {
            let blank = self.gap(*end, comment.span.start);
            self.push(depth, Alike::None, comment.text.clone(), String::new(), blank);
            *end = comment.span.end;
            self.next_comment += 1;
        }
    }

    /// Writes the comments in `span` but outside of `body`, which find no place of their own.
    fn loose_comments(&mut self, depth: usize, span: Span, body: Span) {
        let mut end = span.start;
        self.comments_before(depth, body.start, &mut end);
    }

    /// Puts a comment that follows on the same line, before `next`, behind the last line.
    fn trailing_comment(&mut self, end: &mut usize, next: usize) {
        let (Some(text), Some(comment)) = (self.text, self.comments.get(self.next_comment)) else { return };
        let follows = comment.span.start >= *end
            && !text[*end..comment.span.start].contains('\n')
            && comment.span.start < next;
        if follows {
            self.lines.last_mut().expect("an item was written").comment = Some(comment.text.clone());
            *end = comment.span.end;
            self.next_comment += 1;
        }
    }

    /// Writes the items of a list between delimiters, one or more lines each.
    fn list(
        &mut self,
        depth: usize,
        inner: Span,
        spans: &[Span],
        piece: impl Fn(&Self, usize) -> ItemLayout<'a>,
    ) {
        let mut end = inner.start;
        self.trailing_comment(&mut end, spans.first().map_or(inner.end, |span| span.start));
        let first_line = self.lines.len();
        for (index, span) in spans.iter().enumerate() {
            self.comments_before(depth, span.start, &mut end);
            let before = self.lines.len();
            let blank = self.gap(end, span.start);
            let piece = piece(self, index);
            let blank = blank || piece.apart;
            self.item(depth, *span, piece);
            if let Some(line) = self.lines.get_mut(before) {
                line.blank_before |= blank;
            }
            end = span.end;
            self.trailing_comment(&mut end, spans.get(index + 1).map_or(inner.end, |next| next.start));
        }
        self.comments_before(depth, inner.end, &mut end);
        if let Some(line) = self.lines.get_mut(first_line) {
            line.blank_before = false;
        }
    }

    fn item(&mut self, depth: usize, span: Span, piece: ItemLayout<'a>) {
        let (body, inline) = match piece.body {
            Body::None => (span, Some(String::new())),
            Body::Block(entries) if self.text.is_none() => (entries.span, None),
            Body::Entries(entries) | Body::Block(entries) => (entries.span, self.inline_entries(entries)),
            Body::Steps(steps) => (steps.span, self.inline_steps(steps)),
            Body::Arguments(entries) => (entries.span, Some(inline_arguments(entries))),
        };
        let is_plain = matches!(piece.body, Body::None);
        let separator = usize::from(!piece.rest.is_empty());
        let length = |inline: &String| {
            2 * depth
                + piece.head.len()
                + separator
                + piece.rest.len()
                + usize::from(!is_plain)
                + inline.len()
        };
        let body = if is_plain { Span::new(body.end, body.end) } else { body };
        self.loose_comments(depth, span, body);
        match inline.filter(|inline| is_plain || self.no_comments(body) && length(inline) <= WIDTH) {
            Some(inline) => {
                let mut rest = piece.rest;
                if !is_plain && !rest.is_empty() && !matches!(piece.body, Body::Arguments(_)) {
                    rest.push(' ');
                }
                rest.push_str(&inline);
                self.push(depth, piece.alike, piece.head, rest, false);
            }
            None => {
                let close = match piece.body {
                    Body::Arguments(_) => ")",
                    Body::None | Body::Entries(_) | Body::Block(_) | Body::Steps(_) => "}",
                };
                let mut opening = piece.rest;
                match piece.body {
                    Body::Arguments(_) => opening.push('('),
                    Body::None | Body::Entries(_) | Body::Block(_) | Body::Steps(_) => {
                        if !opening.is_empty() {
                            opening.push(' ');
                        }
                        opening.push('{');
                    }
                }
                self.push(depth, Alike::None, format!("{} {opening}", piece.head), String::new(), false);
                match piece.body {
                    Body::Steps(steps) => self.steps(depth + 1, steps),
                    Body::Entries(entries) | Body::Block(entries) | Body::Arguments(entries) => {
                        self.entries(depth + 1, entries);
                    }
                    Body::None => {}
                }
                self.push(depth, Alike::None, close.to_string(), String::new(), false);
                // What follows the body on its last line, such as the rest of an expression, was written with it.
                let mut end = body.end;
                self.loose_after(depth, span, &mut end);
            }
        }
    }

    /// Writes comments between the end of a body and the end of its item.
    fn loose_after(&mut self, depth: usize, span: Span, end: &mut usize) {
        self.comments_before(depth, span.end, end);
    }

    fn no_comments(&self, span: Span) -> bool {
        let open = &self.comments[self.next_comment..];
        !open.iter().any(|comment| span.start < comment.span.start && comment.span.start < span.end)
    }

    /// Returns whether the text has something on one line; without a text, whatever fits is.
    fn on_one_line(&self, span: Span) -> bool {
        self.text.is_none_or(|text| !text[span.start..span.end].contains('\n'))
    }

    fn entries(&mut self, depth: usize, entries: &'a Entries) {
        let parts = parts(entries);
        let spans: Vec<Span> = parts.iter().map(|part| part.span()).collect();
        self.list(depth, between(entries.span), &spans, |_, index| match parts[index] {
            Part::Entry(entry) => entry_piece(entry),
            Part::Without(without) => plain(Alike::None, inline_without(&without.names), String::new()),
        });
    }

    fn steps(&mut self, depth: usize, steps: &'a Steps) {
        let spans: Vec<Span> = steps.steps.iter().map(|step| step.span).collect();
        self.list(depth, between(steps.span), &spans, |_, index| step_piece(&steps.steps[index]));
    }

    fn inline_entries(&self, entries: &Entries) -> Option<String> {
        let parts: Vec<String> = parts(entries).iter().map(Part::inline).collect();
        match parts.is_empty() {
            true => Some("{}".to_string()),
            false => self.on_one_line(entries.span).then(|| format!("{{ {} }}", parts.join(", "))),
        }
    }

    fn inline_steps(&self, steps: &Steps) -> Option<String> {
        let mut parts = Vec::new();
        for step in &steps.steps {
            parts.push(match &step.kind {
                StepKind::Update(update) => {
                    format!("{} <- {}", update.state.text, inline_expr(&update.value))
                }
                StepKind::Repeat(repeat) => {
                    format!("{} {}", repeat_head(repeat), self.inline_steps(&repeat.body)?)
                }
            });
        }
        match parts.is_empty() {
            true => Some("{}".to_string()),
            false if self.text.is_none() => None,
            false => self.on_one_line(steps.span).then(|| format!("{{ {} }}", parts.join(", "))),
        }
    }

    fn statement(&self, statement: &'a Statement) -> ItemLayout<'a> {
        match &statement.kind {
            StatementKind::Let(definition) => {
                let rest = format!("= {}", inline_expr(&definition.value));
                plain(Alike::Let, format!("let {}", definition.name.text), rest)
            }
            StatementKind::Network(definition) => {
                let rest = format!("= {}", inline_expr(&definition.value));
                plain(Alike::Network, format!("network {}", definition.name.text), rest)
            }
            StatementKind::State(state) => {
                let names: Vec<&str> = state.names.iter().map(|name| name.text.as_str()).collect();
                let rest =
                    state.init.as_ref().map_or(String::new(), |init| format!("= {}", inline_expr(init)));
                plain(Alike::State, format!("state {}", names.join(", ")), rest)
            }
            StatementKind::Block(section) => {
                let head = format!("block {}", section.name.text);
                ItemLayout { body: Body::Block(&section.entries), ..section_piece(head, section) }
            }
            StatementKind::Section(section) => section_piece(section.name.text.clone(), section),
            StatementKind::Segment(segment) => ItemLayout {
                alike: Alike::Section,
                head: "segment".to_string(),
                rest: String::new(),
                body: Body::Steps(&segment.steps),
                apart: false,
            },
            StatementKind::Gradient(Gradient { policy, arguments }) => {
                let mut line = format!("gradient {}", policy.text);
                for argument in arguments {
                    line.push(' ');
                    line.push_str(&inline_expr(argument));
                }
                plain(Alike::None, line, String::new())
            }
            StatementKind::Predict(predict) => predict_piece(predict),
            StatementKind::Halt(halt) => match &halt.entries {
                Some(entries) if entries.delimiter == Delimiter::Brace => ItemLayout {
                    alike: Alike::None,
                    head: format!("halt {}", halt.policy.text),
                    rest: String::new(),
                    body: Body::Entries(entries),
                    apart: false,
                },
                Some(entries) => {
                    let line = format!("halt {}{}", halt.policy.text, inline_arguments(entries));
                    plain(Alike::None, line, String::new())
                }
                None => plain(Alike::None, format!("halt {}", halt.policy.text), String::new()),
            },
            StatementKind::Without(names) => plain(Alike::None, inline_without(names), String::new()),
            StatementKind::Entry(entry) => entry_piece(entry),
        }
    }
}

fn plain<'a>(alike: Alike, head: String, rest: String) -> ItemLayout<'a> {
    ItemLayout { alike, head, rest, body: Body::None, apart: false }
}

fn section_piece(head: String, section: &Section) -> ItemLayout<'_> {
    ItemLayout {
        alike: Alike::Section,
        head,
        rest: String::new(),
        body: Body::Entries(&section.entries),
        apart: false,
    }
}

fn predict_piece(predict: &Predict) -> ItemLayout<'_> {
    let Predict { what, state: Name { text: state, .. }, position, entries } = predict;
    let position = position.as_ref().map_or(String::new(), |position| format!("[{}]", inline_expr(position)));
    ItemLayout {
        alike: Alike::Predict,
        head: format!("predict {}", what.text),
        rest: format!("from {state}{position}"),
        body: entries.as_ref().map_or(Body::None, Body::Entries),
        apart: false,
    }
}

fn step_piece(step: &Step) -> ItemLayout<'_> {
    match &step.kind {
        StepKind::Update(update) => plain(
            Alike::None,
            format!("{} <- {}", update.state.text, inline_expr(&update.value)),
            String::new(),
        ),
        StepKind::Repeat(repeat) => ItemLayout {
            alike: Alike::None,
            head: repeat_head(repeat),
            rest: String::new(),
            body: Body::Steps(&repeat.body),
            apart: false,
        },
    }
}

fn repeat_head(repeat: &Repeat) -> String {
    let label = repeat.label.as_ref().map_or(String::new(), |label| format!("{}: ", label.text));
    format!("{label}repeat {}", inline_expr(&repeat.count))
}

fn entry_piece(entry: &Entry) -> ItemLayout<'_> {
    let Some(key) = &entry.key else {
        return plain(Alike::None, inline_value(&entry.value), String::new());
    };
    match &entry.value {
        Value { expr: Expr { kind: ExprKind::Call(call), .. }, unit: None, .. } => ItemLayout {
            alike: Alike::Entry,
            head: key.text.clone(),
            rest: format!("= {}", call.callee.text),
            body: Body::Arguments(&call.arguments),
            apart: false,
        },
        value => plain(Alike::Entry, key.text.clone(), format!("= {}", inline_value(value))),
    }
}

/// One of the items between the braces of a list of entries.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Entry(&'a Entry),
    Without(&'a Without),
}

impl Part<'_> {
    fn span(&self) -> Span {
        match self {
            Part::Entry(entry) => entry.span,
            Part::Without(without) => without.span,
        }
    }

    fn inline(&self) -> String {
        match self {
            Part::Entry(entry) => inline_entry(entry),
            Part::Without(without) => inline_without(&without.names),
        }
    }
}

/// Returns the items of a list in the order of the text.
fn parts(entries: &Entries) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = entries.entries.iter().map(Part::Entry).collect();
    parts.extend(entries.without.iter().map(Part::Without));
    parts.sort_by_key(|part| part.span().start);
    parts
}

fn inline_without(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
    format!("without {}", names.join(", "))
}

fn inline_entry(entry: &Entry) -> String {
    let value = inline_value(&entry.value);
    entry.key.as_ref().map_or(value.clone(), |key| format!("{} = {value}", key.text))
}

fn inline_arguments(entries: &Entries) -> String {
    let parts: Vec<String> = entries.entries.iter().map(inline_entry).collect();
    format!("({})", parts.join(", "))
}

fn inline_value(value: &Value) -> String {
    let expr = inline_expr(&value.expr);
    value.unit.as_ref().map_or(expr.clone(), |unit| format!("{expr} {}", unit.text))
}

fn inline_expr(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(text) | ExprKind::Name(text) => text.clone(),
        ExprKind::Text(text) => quote(text),
        ExprKind::Call(call) => format!("{}{}", call.callee.text, inline_arguments(&call.arguments)),
        ExprKind::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(inline_expr).collect();
            format!("({})", parts.join(", "))
        }
        ExprKind::Group(inner) => format!("({})", inline_expr(inner)),
        ExprKind::Negative(inner) => format!("-{}", inline_expr(inner)),
        ExprKind::Binary(binary) => {
            let (left, right) = (inline_expr(&binary.left), inline_expr(&binary.right));
            format!("{left} {} {right}", binary.operator.symbol())
        }
    }
}

/// Returns a string literal that reads as `text`.
pub fn quote(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

/// Returns the place of the body of an item, delimiters included.
fn span_of_body(item: &Item) -> Span {
    match item {
        Item::Base(base) => Span::new(base.span.end, base.span.end),
        Item::Train(train) => train.entries.span,
        Item::Model(model) => model.body,
    }
}

/// Returns the place between the delimiters of a list.
fn between(list: Span) -> Span {
    if list == Span::EMPTY { list } else { Span::new(list.start + 1, list.end - 1) }
}

/// Returns whether an empty line stands before a statement that no text was read for.
fn stands_apart(statement: &StatementKind, before: Option<&StatementKind>) -> bool {
    match statement {
        StatementKind::Block(_) | StatementKind::Segment(_) | StatementKind::Halt(_) => true,
        StatementKind::Network(_) | StatementKind::State(_) | StatementKind::Predict(_) => {
            before.is_none_or(|before| std::mem::discriminant(before) != std::mem::discriminant(statement))
        }
        _ => false,
    }
}

/// Returns the comments of a text.
fn comments(text: &str) -> Vec<Comment> {
    let comments = Scanner::new(text).filter(|token| token.kind == TokenKind::Comment);
    let comment = |token: Token<'_>| {
        let (start, text) = (token.span.start, token.text.trim_end());
        Comment { span: Span::new(start, start + text.len()), text: text.to_string() }
    };
    comments.map(comment).collect()
}

/// Pads neighbouring lines that are alike, and the comments behind neighbouring lines.
fn align(lines: &mut [Line]) {
    let mut start = 0;
    while start < lines.len() {
        let (depth, alike) = (lines[start].depth, lines[start].alike);
        let run = run_length(&lines[start..], |line| line.depth == depth && line.alike == alike);
        if alike != Alike::None {
            // A state without an initial value has nothing to align, and should not push the others away.
            let aligned = |line: &&mut Line| !line.rest.is_empty();
            let heads = lines[start..start + run].iter().filter(|line| !line.rest.is_empty());
            let width = heads.map(|line| line.head.len()).max().unwrap_or(0);
            for line in lines[start..start + run].iter_mut().filter(aligned) {
                line.head = format!("{:width$}", line.head);
            }
        }
        start += run;
    }
    let mut start = 0;
    while start < lines.len() {
        let run = run_length(&lines[start..], |line| line.comment.is_some());
        let width =
            lines[start..start + run].iter().map(|line| line.code().chars().count()).max().unwrap_or(0);
        for line in &mut lines[start..start + run] {
            if let Some(comment) = &mut line.comment {
                let padding = width - Line::code_width(line.depth, &line.head, &line.rest);
                *comment = format!("{}{comment}", " ".repeat(padding));
            }
        }
        start += run;
    }
}

/// Returns how many lines from the first on belong together; at least 1.
fn run_length(lines: &[Line], together: impl Fn(&Line) -> bool) -> usize {
    if !together(&lines[0]) {
        return 1;
    }
    1 + lines[1..].iter().take_while(|line| !line.blank_before && together(line)).count()
}

impl Line {
    fn code(&self) -> String {
        let separator = if self.rest.is_empty() { "" } else { " " };
        format!("{}{}{separator}{}", "  ".repeat(self.depth), self.head, self.rest)
    }

    fn code_width(depth: usize, head: &str, rest: &str) -> usize {
        2 * depth + head.chars().count() + usize::from(!rest.is_empty()) + rest.chars().count()
    }
}

fn write(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        if line.blank_before {
            text.push('\n');
        }
        text.push_str(line.code().trim_end());
        if let Some(comment) = &line.comment {
            text.push_str("  ");
            text.push_str(comment);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::format;
    use crate::span::Source;
    use crate::syntax::{parse, to_text};

    fn formatted(text: &str) -> String {
        format(&Source::new("a.hrm", text)).expect("the text follows the grammar")
    }

    /// Formats and checks that formatting again changes nothing.
    fn stable(text: &str) -> String {
        let once = formatted(text);
        assert_eq!(formatted(&once), once, "formatting is not idempotent");
        once
    }

    #[test]
    fn neighbouring_entries_are_aligned() {
        assert_eq!(
            stable("train{batch=3\nepochs = 20_000 ,\n\n\n\nprecision=bf16}"),
            "train {\n  batch  = 3\n  epochs = 20_000\n\n  precision = bf16\n}\n"
        );
    }

    #[test]
    fn lists_on_one_line_stay_there_while_they_fit() {
        assert_eq!(
            stable("model a { tokens {vocab=6,positions=30*30,}\npuzzles{width=512}\n}"),
            "model a {\n  tokens  { vocab = 6, positions = 30 * 30 }\n  puzzles { width = 512 }\n}\n"
        );
        let long = format!("model a {{ tokens {{ vocab = {}, positions = 3 }} }}", "1 + ".repeat(30) + "1");
        assert!(stable(&long).contains("tokens {\n"));
    }

    #[test]
    fn comments_stay_where_they_were() {
        let text = "# top\nmodel a { # opening\n  # own line\n  let N = 2 # two\n  let long = 3   # three\n\n  # last\n} # end\n# bottom\n";
        assert_eq!(
            stable(text),
            "# top\nmodel a {  # opening\n  # own line\n  let N    = 2  # two\n  let long = 3  # three\n\n  # last\n}  # end\n# bottom\n"
        );
    }

    #[test]
    fn comments_inside_an_expression_move_before_it() {
        let text = "train {\n  optimizer = adam_atan2( # rate\n    lr = 1, # decay\n    weight_decay = 2\n  )\n  loss = # kind\n softmax\n}\n";
        let result = stable(text);
        for comment in ["# rate", "# decay", "# kind"] {
            assert_eq!(result.matches(comment).count(), 1, "{result}");
        }
    }

    #[test]
    fn long_calls_break_into_one_argument_a_line() {
        let text =
            format!("train {{ optimizer = adam_atan2(lr = {}, weight_decay = 1) }}", "1 + ".repeat(30) + "1");
        assert!(stable(&text).contains("optimizer = adam_atan2(\n    lr           = 1 + 1"));
    }

    #[test]
    fn loop_nests_keep_their_shape() {
        let text = "model a {\n segment {\n cycle:repeat N{\n step : repeat T {z<-low(z+x)}\n y <- high (y+z)\n}\n}\n}";
        assert_eq!(
            stable(text),
            "model a {\n  segment {\n    cycle: repeat N {\n      step: repeat T { z <- low(z + x) }\n      y <- high(y + z)\n    }\n  }\n}\n"
        );
    }

    #[test]
    fn shipped_specs_are_in_canonical_layout() {
        for text in [
            include_str!("../../specs/maze.hrm"),
            include_str!("../../specs/sudoku.hrm"),
            include_str!("../../specs/sudoku-small.hrm"),
            include_str!("../../specs/quickstart.hrm"),
        ] {
            assert_eq!(stable(text), text);
        }
    }

    #[test]
    fn formatting_keeps_the_tree() {
        /// Returns the text form without places, which formatting moves.
        fn shape(text: &str) -> String {
            let tree = to_text(&parse(&Source::new("a.hrm", text)).file);
            tree.lines()
                .map(|line| line.rsplit_once(" @").map_or(line, |(head, _)| head))
                .collect::<Vec<_>>()
                .join("\n")
        }
        let text = "model a{state y,z=normal\nlet s = -(1+2)*3/4\ngradient last 2 cycle\npredict q from z[0]{outputs=(halt,continue)}\nhalt fixed(1)}train{data=\"a\\\"b\\\\\"\neval_every=3 steps}";
        assert_eq!(shape(&stable(text)), shape(text));
    }

    #[test]
    fn broken_text_is_not_formatted() {
        assert!(format(&Source::new("a.hrm", "model {")).is_err());
    }
}
