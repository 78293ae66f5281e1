//! Reads lists of entries by the table of keys.
//!
//! Unknown, duplicate and missing keys, units where none belong, values of the wrong kind and numbers out
//! of range are handled here, once, for every list of the language.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::constant::{Constant, is_no_name};
use super::keys::{Group, Key, usual_value};
use super::names::{listed, suggest};
use super::{Context, keep_one};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::span::Span;
use crate::syntax::ast::{Call, Entries, Expr, ExprKind, Name, Value};
use crate::syntax::nearest;

/// Largest integer that a count may be.
pub(super) const MAX_INTEGER: i128 = i32::MAX as i128;
/// Largest width, or number of positions. With the bounds below, numbers of elements fit into 64 bits; what
/// is larger than any memory is not counted further.
pub(super) const MAX_WIDTH: i128 = 1 << 16;
/// Largest vocabulary, batch, puzzle vector, or step that widths are rounded to.
pub const MAX_ROWS: i128 = 1 << 20;
/// Largest width of a gated unit.
pub(super) const MAX_UNIT_WIDTH: i128 = 1 << 26;

/// The entries of one list, by key.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    group: &'static Group,
    /// Where to point when something is missing.
    owner: Span,
    /// The list with its delimiters, if there is one.
    list: Option<Span>,
    /// Whether every entry of the text is here.
    complete: bool,
    found: BTreeMap<&'static str, Field<'a>>,
    /// Keys that were surely meant by unknown ones, which are not missing on top of that.
    misspelt: BTreeSet<&'static str>,
}

#[derive(Debug)]
struct Field<'a> {
    entry: Span,
    value: &'a Value,
}

/// Range of a real number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reals {
    /// Any finite number.
    All,
    /// Above 0.
    Positive,
    /// 0 or above.
    NotNegative,
    /// From 0 to 1, both included.
    Fraction,
    /// From 0 up to, but not including, 1.
    Decay,
    /// Between 0 and 1, both excluded.
    OpenFraction,
}

impl Reals {
    fn contains(self, value: f64) -> bool {
        match self {
            Reals::All => true,
            Reals::Positive => value > 0.0,
            Reals::NotNegative => value >= 0.0,
            Reals::Fraction => (0.0..=1.0).contains(&value),
            Reals::Decay => (0.0..1.0).contains(&value),
            Reals::OpenFraction => value > 0.0 && value < 1.0,
        }
    }

    fn describe_number(self) -> String {
        match self {
            Reals::All => "a number".to_string(),
            _ => format!("a number {}", self.describe()),
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Reals::All => "a number that f32 can hold",
            Reals::Positive => "above 0",
            Reals::NotNegative => "at least 0",
            Reals::Fraction => "between 0 and 1",
            Reals::Decay => "at least 0 and below 1",
            Reals::OpenFraction => "above 0 and below 1",
        }
    }
}

impl<'a> Fields<'a> {
    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        debug_assert!(self.group.key(key).is_some(), "`{key}` is not in the table of {}", self.group.title);
        self.found.get(key).map(|field| field.value)
    }

    /// Returns the place of the value of a key, or of the whole list.
    pub(super) fn span(&self, key: &str) -> Span {
        self.get(key).map_or(self.owner, |value| value.span)
    }

    /// Returns the place of the entry of a key, if there is one.
    pub(super) fn entry_span(&self, key: &str) -> Option<Span> {
        self.found.get(key).map(|field| field.entry)
    }

    /// Returns the edit that adds an entry.
    pub(super) fn add(&self, entry: &str) -> Edit {
        match self.list {
            Some(list) => Edit::Add(list, entry.to_string()),
            // A word without settings.
            None => Edit::behind(self.owner, format!("({entry})")),
        }
    }

    /// Returns the edit that gives a key a value.
    pub(super) fn set(&self, key: &str, value: &str) -> Edit {
        match self.get(key) {
            Some(old) => Edit::replace(old.span, value),
            None => self.add(&format!("{key} = {value}")),
        }
    }

    /// Returns the edits that take keys away.
    pub(super) fn remove(&self, keys: &[&str]) -> Vec<Edit> {
        keys.iter().filter_map(|key| self.entry_span(key)).map(Edit::Remove).collect()
    }

    /// Returns where to point when something is missing.
    pub(super) fn owner(&self) -> Span {
        self.owner
    }

    /// Returns whether the absence of a key is worth a message: nothing else was wrong that explains it.
    pub(super) fn may_miss(&self, key: &str) -> bool {
        self.complete && !self.misspelt.contains(key)
    }
}

impl<'a> Context<'a> {
    /// Sorts the entries of a list by key.
    pub(super) fn fields(
        &mut self,
        group: &'static Group,
        owner: Span,
        entries: Option<&'a Entries>,
    ) -> Fields<'a> {
        let list = entries.map(|entries| entries.span);
        let mut fields =
            Fields { group, owner, list, complete: true, found: BTreeMap::new(), misspelt: BTreeSet::new() };
        let Some(entries) = entries else { return fields };
        fields.complete = entries.complete;
        self.refused |= !entries.complete;
        entries.without.iter().for_each(|without| self.report(without_base(&without.names[0], without.span)));
        for (index, entry) in entries.entries.iter().enumerate() {
            let (name, place) = match (&entry.key, group.positional) {
                (Some(key), _) => (key.text.as_str(), key.span),
                (None, Some(key)) if index == 0 => (key, entry.span),
                (None, _) => {
                    self.report(no_key(entry.span, group));
                    continue;
                }
            };
            let Some(key) = group.key(name) else {
                fields.misspelt.extend(nearest(name, group.keys.iter().map(|key| key.name)));
                self.report(unknown_key(name, place, entry.span, group));
                continue;
            };
            if let Some(first) = fields.found.get(key.name) {
                self.report(duplicate_key(name, place, [entry.span, first.entry]));
                continue;
            }
            fields.found.insert(key.name, Field { entry: entry.span, value: &entry.value });
        }
        fields
    }

    /// Returns the value of a key that has no default. `example` gives it a usual one.
    pub(super) fn required(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        example: Option<String>,
    ) -> Option<&'a Value> {
        let value = fields.get(key);
        if value.is_none() && fields.may_miss(key) {
            self.report(missing_key(key, fields, example));
        }
        value
    }

    /// Returns the expression of a value that takes no unit.
    pub(super) fn unitless(&mut self, value: &'a Value) -> Option<&'a Expr> {
        match &value.unit {
            None => Some(&value.expr),
            Some(unit) => {
                self.report(unit_without_use(unit, value.expr.span));
                None
            }
        }
    }

    /// Returns an integer in a range, from a key without a default.
    pub(super) fn integer(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        range: RangeInclusive<i128>,
    ) -> Option<usize> {
        let value = self.required(fields, key, integer_example(key, &range))?;
        let expr = self.unitless(value)?;
        self.integer_value(expr, key, range).map(to_usize)
    }

    /// Returns an integer in a range, or the default.
    pub(super) fn integer_or(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        range: RangeInclusive<i128>,
        default: usize,
    ) -> Option<usize> {
        match fields.get(key) {
            Some(_) => self.integer(fields, key, range),
            None => Some(default),
        }
    }

    /// Returns the value of an expression that must be an integer in a range.
    pub(super) fn integer_value(
        &mut self,
        expr: &'a Expr,
        what: &str,
        range: RangeInclusive<i128>,
    ) -> Option<i128> {
        let expected =
            || (format!("an integer of at least {}", range.start()), integer_example(what, &range));
        let constant = self.number(expr, what, &expected)?;
        let Some(number) = constant.integer() else {
            self.report(not_an_integer(expr.span, what, constant));
            return None;
        };
        if !range.contains(&number) {
            self.report(integer_out_of_range(expr.span, what, number, &range));
            return None;
        }
        Some(number)
    }

    /// Returns the value of an expression that must be a number. `expected` says what number, with an example.
    pub(super) fn number(
        &mut self,
        expr: &'a Expr,
        what: &str,
        expected: &dyn Fn() -> (String, Option<String>),
    ) -> Option<Constant> {
        let inner = expr.ungrouped();
        let is_number = match &inner.kind {
            ExprKind::Text(_) | ExprKind::Call(_) | ExprKind::Tuple(_) => false,
            ExprKind::Name(name) => self.lets.contains_key(name.as_str()) || !is_no_name(name),
            ExprKind::Negative(negated) => match &negated.ungrouped().kind {
                ExprKind::Name(name) => !is_no_name(name),
                _ => true,
            },
            _ => true,
        };
        if is_number {
            return self.constant(expr);
        }
        // The word itself is not looked up any more.
        let mut word = inner;
        while let ExprKind::Group(within) | ExprKind::Negative(within) = &word.kind {
            word = within;
        }
        self.seen.insert(word.span);
        let (expected, example) = expected();
        self.report(not_a_number(inner, what, &expected, example));
        None
    }

    /// Returns a real number in a range, from a key without a default.
    pub(super) fn real(&mut self, fields: &Fields<'a>, key: &'static str, range: Reals) -> Option<f32> {
        let value = self.required(fields, key, real_example(key, range))?;
        let expr = self.unitless(value)?;
        self.real_number(expr, key, range)
    }

    /// Returns a real number in a range, or the default.
    pub(super) fn real_or(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        range: Reals,
        default: f32,
    ) -> Option<f32> {
        match fields.get(key) {
            Some(_) => self.real(fields, key, range),
            None => Some(default),
        }
    }

    /// Returns the value of an expression that must be a real number in a range, also after rounding to f32.
    pub(super) fn real_number(&mut self, expr: &'a Expr, what: &str, range: Reals) -> Option<f32> {
        let expected = || (range.describe_number(), real_example(what, range));
        let constant = self.number(expr, what, &expected)?;
        let rounded = constant.real() as f32;
        if !rounded.is_finite() || !range.contains(constant.real()) || !range.contains(f64::from(rounded)) {
            self.report(real_out_of_range(expr.span, what, constant, range));
            return None;
        }
        Some(rounded)
    }

    /// Returns which of its words a key is set to, and what is set in parentheses; the default word if it is not.
    pub(super) fn choice(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        default: &'static str,
    ) -> Option<(&'static str, Fields<'a>)> {
        let table = fields.group.key(key).expect("the caller asks for keys of the table");
        match fields.get(key) {
            Some(value) => {
                let expr = self.unitless(value)?;
                self.chosen(table, expr)
            }
            None => {
                let choice = table.choices.iter().find(|choice| choice.name == default);
                let choice = choice.expect("the default is one of the words");
                Some((choice.name, self.fields(choice.group, fields.owner, None)))
            }
        }
    }

    /// Returns which of its words a key without a default is set to, and what is set in parentheses. `example` is a
    /// usual value.
    pub(super) fn required_choice(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        example: Option<&str>,
    ) -> Option<(&'static str, Fields<'a>)> {
        let table = fields.group.key(key).expect("the caller asks for keys of the table");
        let value = self.required(fields, key, example.map(|example| format!("{key} = {example}")))?;
        let expr = self.unitless(value)?;
        self.chosen(table, expr)
    }

    /// Returns which of the words of `key` an expression is.
    pub(super) fn chosen(&mut self, key: &'static Key, expr: &'a Expr) -> Option<(&'static str, Fields<'a>)> {
        match &expr.ungrouped().kind {
            ExprKind::Name(name) => self.chosen_word(key, name, expr.span, None),
            ExprKind::Call(Call { callee, arguments }) => {
                self.chosen_word(key, &callee.text, callee.span, Some(arguments))
            }
            _ => {
                self.report(not_a_choice(key, expr));
                None
            }
        }
    }

    /// Returns which of the words of `key` a word is, with the entries behind it.
    pub(super) fn chosen_word(
        &mut self,
        key: &'static Key,
        word: &str,
        span: Span,
        entries: Option<&'a Entries>,
    ) -> Option<(&'static str, Fields<'a>)> {
        match key.choices.iter().find(|choice| choice.name == word) {
            Some(choice) => Some((choice.name, self.fields(choice.group, span, entries))),
            None => {
                self.report(unknown_choice(key, word, span));
                None
            }
        }
    }
}

/// Converts a number that a range has kept small.
pub(super) fn to_usize(number: i128) -> usize {
    usize::try_from(number).expect("ranges of integers end far below what usize holds")
}

/// Reports a `without` that no base was put under.
pub(super) fn without_base(name: &Name, whole: Span) -> Diagnostic {
    Diagnostic::error(
        Code::Without,
        name.span,
        "`without` takes away what a base has, and this spec has no base",
    )
    .label("nothing to take it from")
    .help("remove the statement, or begin the file with `base \"other.hrm\"`")
    .offer("remove the statement", [Edit::Remove(whole)])
}

fn unknown_key(name: &str, span: Span, entry: Span, group: &Group) -> Diagnostic {
    let message = match group.keys {
        [] => format!("nothing can be set here, found `{name}`"),
        _ => format!("{} has no key `{name}`", group.title),
    };
    let diagnostic = Diagnostic::error(Code::UnknownKey, span, message).label("unknown key");
    match group.keys {
        [] => diagnostic.mend("remove it", [Edit::Remove(entry)]),
        keys => suggest(diagnostic, span, name, keys.iter().map(|key| key.name)),
    }
}

fn no_key(span: Span, group: &Group) -> Diagnostic {
    let known = match group.keys {
        [] => "takes no settings".to_string(),
        keys => format!("takes {} by name", listed(keys.iter().map(|key| key.name))),
    };
    let diagnostic = Diagnostic::error(Code::UnnamedValue, span, format!("{} {known}", group.title))
        .label("expected `key = value`");
    match group.keys {
        [] => diagnostic.mend("remove it", [Edit::Remove(span)]),
        [key] => {
            let named = format!("{} = ", key.name);
            diagnostic.offer(format!("write `{}` before it", named.trim_end()), [Edit::before(span, named)])
        }
        _ => diagnostic,
    }
}

fn duplicate_key(name: &str, span: Span, entries: [Span; 2]) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code::DuplicateKey, span, format!("`{name}` is given twice"))
        .label("given again here")
        .secondary(entries[1], "first given here");
    keep_one(diagnostic, entries)
}

fn missing_key(key: &str, fields: &Fields<'_>, example: Option<String>) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(Code::MissingKey, fields.owner, format!("{} needs `{key}`", fields.group.title))
            .label(format!("`{key}` is missing"))
            .help(format!("add `{key} = …`"));
    match example {
        Some(example) => diagnostic.offer(format!("add `{example}`"), [fields.add(&example)]),
        None => diagnostic,
    }
}

fn unit_without_use(unit: &Name, number: Span) -> Diagnostic {
    Diagnostic::error(Code::WrongUnit, unit.span, format!("no unit is expected here, found `{}`", unit.text))
        .label("not expected")
        .help("remove it, or put a comma or a new line before it")
        .offer("remove it", [Edit::replace(Span::new(number.end, unit.span.end), "")])
}

/// Returns a key as it is typed; what has no key is said in several words, `number of blocks`.
fn called(what: &str) -> String {
    if what.contains(' ') { format!("the {what}") } else { format!("`{what}`") }
}

/// Returns how a usual number is given to `what`, if it is in the range.
fn integer_example(what: &str, range: &RangeInclusive<i128>) -> Option<String> {
    let usual = usual_value(what)?;
    // What is no number alone, but a number with a unit, is in every range.
    match usual.replace('_', "").parse() {
        Ok(number) if !range.contains(&number) => Some(format!("{what} = {}", range.start())),
        _ => Some(format!("{what} = {usual}")),
    }
}

/// Returns how a usual number is given to `what`, if it is in the range.
fn real_example(what: &str, range: Reals) -> Option<String> {
    let usual = usual_value(what)?;
    let is_in = usual.replace('_', "").parse().map_or(true, |number| range.contains(number));
    is_in.then(|| format!("{what} = {usual}"))
}

fn not_a_number(expr: &Expr, what: &str, expected: &str, example: Option<String>) -> Diagnostic {
    let found = match &expr.kind {
        ExprKind::Negative(inner) => format!("minus {}", inner.describe()),
        _ => expr.describe(),
    };
    let message = format!("{} takes {expected}, found {found}", called(what));
    let diagnostic = Diagnostic::error(Code::WrongType, expr.span, message).label("expected a number");
    match &expr.kind {
        ExprKind::Text(text) if text.parse::<f64>().is_ok() => {
            diagnostic.mend("remove the quotes", [Edit::replace(expr.span, text)])
        }
        _ => diagnostic.maybe_help(example.map(|example| format!("for example `{example}`"))),
    }
}

fn not_an_integer(span: Span, what: &str, found: Constant) -> Diagnostic {
    Diagnostic::error(Code::WrongType, span, format!("{} takes an integer, found {found}", called(what)))
        .label("expected an integer")
}

fn integer_out_of_range(span: Span, what: &str, found: i128, range: &RangeInclusive<i128>) -> Diagnostic {
    let (side, limit) = if found < *range.start() { ("least", range.start()) } else { ("most", range.end()) };
    let message = format!("{} must be at {side} {limit}, found {found}", called(what));
    let diagnostic =
        Diagnostic::error(Code::OutOfRange, span, message).label(format!("expected at {side} {limit}"));
    // A range that holds nothing has another cause.
    if range.is_empty() { diagnostic } else { diagnostic.write(span, &limit.to_string()) }
}

fn real_out_of_range(span: Span, what: &str, found: Constant, range: Reals) -> Diagnostic {
    let expected = range.describe();
    let message = format!("{} must be {expected}, found {found}", called(what));
    let diagnostic = Diagnostic::error(Code::OutOfRange, span, message).label(format!("expected {expected}"));
    match (range, found.real() < 0.0) {
        (Reals::NotNegative | Reals::Fraction | Reals::Decay, true) => diagnostic.write(span, "0"),
        (Reals::Fraction, false) => diagnostic.write(span, "1"),
        _ => diagnostic,
    }
}

fn not_a_choice(key: &Key, expr: &Expr) -> Diagnostic {
    let expected = listed(key.choices.iter().map(|choice| choice.name));
    let message = format!("`{}` takes {expected}, found {}", key.name, expr.describe());
    Diagnostic::error(Code::WrongType, expr.span, message).label(format!("expected {expected}"))
}

fn unknown_choice(key: &Key, word: &str, span: Span) -> Diagnostic {
    let choices = key.choices.iter().map(|choice| choice.name);
    let diagnostic =
        Diagnostic::error(Code::UnknownValue, span, format!("`{word}` is no choice for `{}`", key.name))
            .label(format!("expected {}", listed(choices.clone())));
    match nearest(word, choices) {
        Some(choice) => diagnostic.meant(span, choice),
        None => diagnostic,
    }
}
