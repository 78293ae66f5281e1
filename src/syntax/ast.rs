//! What a spec says, word for word, with a span on every node.
//!
//! The tree keeps everything but white space and comments: parentheses, the spelling of numbers, the order
//! of entries. Names are not resolved and numbers are not evaluated; `check` does both. A list whose text
//! has a syntax error somewhere is marked incomplete, so that later stages do not complain about what is
//! missing from it.
//!
//! A tree can also be made of a model (`spell`). No text was read for its nodes, so their spans are [`Span::EMPTY`].

use crate::span::Span;

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Models and train blocks in the order of the text.
    pub items: Vec<Item>,
    /// The whole text.
    pub span: Span,
    /// Whether every item of the text is in the tree.
    pub complete: bool,
}

/// An item of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `base "file"`.
    Base(Base),
    /// `model name { … }`.
    Model(Model),
    /// `train { … }`.
    Train(Train),
}

/// `model name { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Name of the model.
    pub name: Name,
    /// What it says.
    pub statements: Vec<Statement>,
    /// From brace to brace.
    pub body: Span,
    /// From the keyword to the closing brace.
    pub span: Span,
    /// Whether every statement of the text is in the tree.
    pub complete: bool,
}

/// `train { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Train {
    /// The keyword.
    pub keyword: Span,
    /// What it says.
    pub entries: Entries,
    /// From the keyword to the closing brace.
    pub span: Span,
}

/// The spec that this one starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The path as it is written.
    pub path: String,
    /// Place of the path.
    pub path_span: Span,
    /// Place of the whole item.
    pub span: Span,
}

/// A word that stands for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The word.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A statement of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// From its first to its last character.
    pub span: Span,
}

/// Kinds of statements.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementKind {
    /// `let name = value`.
    Let(Definition),
    /// `block name { … }`.
    Block(Section),
    /// `network name = count * block`.
    Network(Definition),
    /// `state a, b = distribution`.
    State(State),
    /// `segment { … }`.
    Segment(Segment),
    /// `gradient policy`.
    Gradient(Gradient),
    /// `predict what from state`.
    Predict(Predict),
    /// `halt policy { … }`.
    Halt(Halt),
    /// `without a, b`.
    Without(Vec<Name>),
    /// `name { … }`.
    Section(Section),
    /// `key = value`, which a model has no use for.
    Entry(Entry),
}

/// A name and what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The name.
    pub name: Name,
    /// What it stands for.
    pub value: Expr,
}

/// A named list of entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The name.
    pub name: Name,
    /// The entries.
    pub entries: Entries,
}

/// States that begin alike.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Their names; never empty.
    pub names: Vec<Name>,
    /// How the initial vectors are drawn.
    pub init: Option<Expr>,
}

/// The loop nest.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The keyword.
    pub keyword: Span,
    /// What is done, in order.
    pub steps: Steps,
}

/// Steps between braces.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// The steps.
    pub steps: Vec<Step>,
    /// From brace to brace.
    pub span: Span,
    /// Whether every step of the text is in the tree.
    pub complete: bool,
}

/// One step of a loop nest.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is done.
    pub kind: StepKind,
    /// From its first to its last character.
    pub span: Span,
}

/// Kinds of steps.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// `state <- value`.
    Update(Update),
    /// `label: repeat count { … }`.
    Repeat(Repeat),
}

/// `state <- value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// State that is replaced.
    pub state: Name,
    /// Its new value.
    pub value: Expr,
}

/// `label: repeat count { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeat {
    /// The label.
    pub label: Option<Name>,
    /// How often.
    pub count: Expr,
    /// What is repeated.
    pub body: Steps,
}

/// `gradient policy argument argument`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// `one_step`, `last` or `full`.
    pub policy: Name,
    /// After `last`: the loop, or a number and the loop.
    pub arguments: Vec<Expr>,
}

/// `predict what from state[position] { … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Predict {
    /// `tokens` or `q`.
    pub what: Name,
    /// State that is read.
    pub state: Name,
    /// Position that is read.
    pub position: Option<Expr>,
    /// Settings.
    pub entries: Option<Entries>,
}

/// `halt policy { … }` or `halt policy(…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Halt {
    /// The policy.
    pub policy: Name,
    /// Settings.
    pub entries: Option<Entries>,
}

/// Entries between braces or parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries {
    /// What they stand between.
    pub delimiter: Delimiter,
    /// The entries.
    pub entries: Vec<Entry>,
    /// What is taken away from the entries of a base; stands between braces only.
    pub without: Vec<Without>,
    /// From delimiter to delimiter.
    pub span: Span,
    /// Whether every entry of the text is in the tree.
    pub complete: bool,
}

/// `without a, b` among entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Without {
    /// Keys that are taken away; never empty.
    pub names: Vec<Name>,
    /// From its first to its last character.
    pub span: Span,
}

/// What a list of entries stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// `{ … }`.
    Brace,
    /// `( … )`.
    Paren,
}

/// `key = value`, or a value alone between parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key; absent for a positional argument.
    pub key: Option<Name>,
    /// The value.
    pub value: Value,
    /// From its first to its last character.
    pub span: Span,
}

/// An expression, maybe with a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The expression.
    pub expr: Expr,
    /// The unit.
    pub unit: Option<Name>,
    /// From its first to its last character.
    pub span: Span,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// From its first to its last character.
    pub span: Span,
}

/// Kinds of expressions.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number as it is spelled.
    Number(String),
    /// The text between quotes, escapes resolved.
    Text(String),
    /// A name alone.
    Name(String),
    /// `name(…)`.
    Call(Call),
    /// `(a, b)`; never just one.
    Tuple(Vec<Expr>),
    /// `(a)`.
    Group(Box<Expr>),
    /// `-a`.
    Negative(Box<Expr>),
    /// `a + b`.
    Binary(Binary),
}

/// `name(…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub callee: Name,
    /// With what.
    pub arguments: Entries,
}

/// `a + b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// What is done.
    pub operator: Operator,
    /// To the left.
    pub left: Box<Expr>,
    /// To the right.
    pub right: Box<Expr>,
}

/// Arithmetic operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
}

impl Operator {
    /// Returns how the operator is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
        }
    }
}

impl Expr {
    /// Returns the expression without the parentheses around it.
    pub fn ungrouped(&self) -> &Expr {
        match &self.kind {
            ExprKind::Group(inner) => inner.ungrouped(),
            _ => self,
        }
    }

    /// Returns a few words on what the expression is, for messages.
    pub fn describe(&self) -> String {
        match &self.kind {
            ExprKind::Number(text) => format!("the number {text}"),
            ExprKind::Text(_) => "a string".to_string(),
            ExprKind::Name(name) => format!("`{name}`"),
            ExprKind::Call(call) => format!("`{}(…)`", call.callee.text),
            ExprKind::Tuple(parts) => format!("a list of {}", parts.len()),
            ExprKind::Group(inner) => inner.describe(),
            ExprKind::Negative(_) | ExprKind::Binary(_) => "an arithmetic expression".to_string(),
        }
    }
}

impl File {
    /// Returns the models of the file.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.items.iter().filter_map(|item| match item {
            Item::Model(model) => Some(model),
            Item::Base(_) | Item::Train(_) => None,
        })
    }

    /// Returns the bases, in order.
    pub fn bases(&self) -> impl Iterator<Item = &Base> {
        self.items.iter().filter_map(|item| match item {
            Item::Base(base) => Some(base),
            Item::Model(_) | Item::Train(_) => None,
        })
    }

    /// Returns the `train` blocks, in order.
    pub fn trains(&self) -> impl Iterator<Item = &Train> {
        self.items.iter().filter_map(|item| match item {
            Item::Train(train) => Some(train),
            Item::Base(_) | Item::Model(_) => None,
        })
    }
}
