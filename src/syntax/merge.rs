//! A spec over its base.
//!
//! The result is a text: that of the base, with every statement that the spec gives again replaced, the entries
//! of blocks, sections and `train` replaced one by one, and the rest added. It remembers where each piece is
//! from, so messages lead back to the file that somebody wrote. `without a, b` takes things away.

use super::ast::{Base, Entries, Entry, Expr, ExprKind, File, Model, Name, Statement, StatementKind, Train};
use super::{nearest, parse};
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Source, Span};

/// One change to the text of the base.
struct Edit {
    /// What is replaced; empty where something is added.
    span: Span,
    before: &'static str,
    /// What of the spec's text is put there.
    part: Span,
    after: &'static str,
}

const NOTHING: Span = Span { start: 0, end: 0 };

/// Returns the text of `spec` over that of `base`; both follow the grammar, and `base` has no base itself.
///
/// # Errors
///
/// Returns what `spec` takes away although the base does not have it, with places in `spec`.
pub fn merge_base(base: &Source, spec: &Source) -> Result<Source, Vec<Diagnostic>> {
    let (under, over) = (parse(base).file, parse(spec).file);
    let mut merge = Merge { base: &under, text: &base.text, edits: Vec::new(), problems: Vec::new() };
    let mut bases = over.bases();
    if let (Some(first), Some(second)) = (bases.next(), bases.next()) {
        merge.problems.push(second_base(first, second));
    }
    for model in over.models() {
        match under.models().next() {
            Some(old) => merge.model(old, model),
            None => merge.add(base.text.len(), model.span, "\n", "\n"),
        }
    }
    for train in over.trains() {
        match under.trains().next() {
            Some(old) => merge.train(old, train),
            None => merge.add(base.text.len(), train.span, "\n", "\n"),
        }
    }
    let Merge { mut edits, problems, .. } = merge;
    if !problems.is_empty() {
        return Err(problems);
    }
    // From the back, so that places before an edit stay where they are; of two at one place the later goes first.
    edits.reverse();
    // What is replaced goes before what is added in front of it.
    edits.sort_by_key(|edit| (std::cmp::Reverse(edit.span.start), edit.span.start == edit.span.end));
    // Neighbours that are both removed may claim the same comma; the one in front keeps it.
    for index in 1..edits.len() {
        let front_end = edits[index].span.end;
        let behind = &mut edits[index - 1].span;
        behind.start = behind.start.max(front_end.min(behind.end));
    }
    let mut merged = base.clone();
    // The text goes by the name of the spec, and every piece by that of the file it is from.
    merged.remove(NOTHING);
    merged.name.clone_from(&spec.name);
    for edit in edits {
        merged.splice(edit.span, edit.before, spec, edit.part, edit.after);
    }
    Ok(merged)
}

struct Merge<'a> {
    base: &'a File,
    /// Text of the base.
    text: &'a str,
    edits: Vec<Edit>,
    problems: Vec<Diagnostic>,
}

impl Merge<'_> {
    fn add(&mut self, at: usize, part: Span, before: &'static str, after: &'static str) {
        self.edits.push(Edit { span: Span::new(at, at), before, part, after });
    }

    fn replace(&mut self, span: Span, part: Span) {
        // Two edits of one place would undo each other.
        if let Some(first) = self.edits.iter().find(|edit| edit.span == span && span.start < span.end) {
            let (first, second) = if part == NOTHING { (NOTHING, first.part) } else { (first.part, part) };
            self.problems.push(given_twice(second, first));
            return;
        }
        self.edits.push(Edit { span, before: "", part, after: "" });
    }

    /// Removes an item of a list with the comma behind it, or else with the one before it.
    fn remove(&mut self, span: Span) {
        let blank = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
        let after = span.end + blank(&self.text[span.end..]);
        let before = self.text[..span.start].trim_end_matches([' ', '\t']);
        let span = if self.text[after..].starts_with(',') {
            Span::new(span.start, after + 1)
        } else if before.ends_with(',') {
            Span::new(before.len() - 1, span.end)
        } else {
            span
        };
        self.replace(span, NOTHING);
    }

    fn model(&mut self, old: &Model, new: &Model) {
        self.replace(old.name.span, new.name.span);
        for statement in &new.statements {
            if let StatementKind::Without(names) = &statement.kind {
                names.iter().for_each(|name| self.without(old, name));
                continue;
            }
            let subject = subject(statement);
            let found = old.statements.iter().find(|candidate| self::subject(candidate) == subject);
            match (found.map(|found| (&found.kind, found.span)), &statement.kind) {
                (Some((StatementKind::Block(old), _)), StatementKind::Block(new))
                | (Some((StatementKind::Section(old), _)), StatementKind::Section(new)) => {
                    self.entries(&old.entries, &new.entries);
                }
                (Some((_, span)), _) => self.replace(span, statement.span),
                // Numbers of the base may use a new one that uses none itself.
                (None, StatementKind::Let(new)) if is_literal(&new.value) => {
                    let first = old.statements.first().map_or(old.span.end - 1, |first| first.span.start);
                    self.add(first, statement.span, "", "\n  ");
                }
                (None, _) => self.add(old.span.end - 1, statement.span, "\n  ", "\n"),
            }
        }
    }

    fn train(&mut self, old: &Train, new: &Train) {
        // The two lengths exclude each other, so that one takes the place of the other.
        for (key, other) in [("steps", "epochs"), ("epochs", "steps")] {
            if entry(&new.entries, key).is_some()
                && let Some(other) = entry(&old.entries, other)
            {
                self.remove(other.span);
            }
        }
        self.entries(&old.entries, &new.entries);
    }

    fn entries(&mut self, old: &Entries, new: &Entries) {
        for given in &new.entries {
            let key = given.key.as_ref().map(|key| key.text.as_str());
            match key.and_then(|key| entry(old, key)) {
                Some(found) => self.replace(found.span, given.span),
                None => self.add(old.span.end - 1, given.span, "\n    ", "\n"),
            }
        }
    }

    /// Takes away what `name` stands for in the base: a statement of the model, the Q head, an entry of `train`.
    fn without(&mut self, model: &Model, name: &Name) {
        let mut spans: Vec<Span> = Vec::new();
        let mut known: Vec<String> = Vec::new();
        for statement in &model.statements {
            let names = match subject(statement) {
                Subject::Named(names) => names,
                Subject::Predict(what) if what == "q" => vec![what],
                Subject::Predict(_) | Subject::Only(_) => continue,
            };
            if names.contains(&name.text) {
                spans.push(statement.span);
            }
            known.extend(names);
        }
        for entry in self.base.trains().next().into_iter().flat_map(|train| &train.entries.entries) {
            let Some(key) = &entry.key else { continue };
            if key.text == name.text {
                spans.push(entry.span);
            }
            known.push(key.text.clone());
        }
        if spans.is_empty() {
            self.problems.push(nothing_to_take(name, &known));
        }
        spans.into_iter().for_each(|span| self.remove(span));
    }
}

/// What a statement is about; a statement of a spec replaces the one of its base about the same.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    Named(Vec<String>),
    Predict(String),
    Only(&'static str),
}

fn subject(statement: &Statement) -> Subject {
    let one = |name: &Name| Subject::Named(vec![name.text.clone()]);
    match &statement.kind {
        StatementKind::Let(definition) | StatementKind::Network(definition) => one(&definition.name),
        StatementKind::Block(section) | StatementKind::Section(section) => one(&section.name),
        StatementKind::State(state) => {
            Subject::Named(state.names.iter().map(|name| name.text.clone()).collect())
        }
        StatementKind::Segment(_) => Subject::Only("segment"),
        StatementKind::Gradient(_) => Subject::Only("gradient"),
        StatementKind::Halt(_) => Subject::Only("halt"),
        StatementKind::Predict(predict) => Subject::Predict(predict.what.text.clone()),
        StatementKind::Without(_) => Subject::Only("without"),
        StatementKind::Entry(entry) => Subject::Named(entry.key.iter().map(|key| key.text.clone()).collect()),
    }
}

fn entry<'a>(entries: &'a Entries, key: &str) -> Option<&'a Entry> {
    entries.entries.iter().find(|entry| entry.key.as_ref().is_some_and(|name| name.text == key))
}

/// Returns whether an expression names nothing.
fn is_literal(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => true,
        ExprKind::Name(_) | ExprKind::Call(_) => false,
        ExprKind::Tuple(parts) => parts.iter().all(is_literal),
        ExprKind::Group(inner) | ExprKind::Negative(inner) => is_literal(inner),
        ExprKind::Binary(binary) => is_literal(&binary.left) && is_literal(&binary.right),
    }
}

fn given_twice(second: Span, first: Span) -> Diagnostic {
    let report = Diagnostic::error(
        Code::DuplicateStatement,
        second,
        "this changes what another part of the spec changes",
    )
    .label("second change")
    .help("keep one of the two");
    if first == NOTHING { report } else { report.secondary(first, "first change") }
}

fn second_base(first: &Base, second: &Base) -> Diagnostic {
    Diagnostic::error(Code::Base, second.span, "a spec has one base")
        .label("second base")
        .secondary(first.span, "first base")
        .help("let one of the files be the base of the other")
}

fn nothing_to_take(name: &Name, known: &[String]) -> Diagnostic {
    let message = format!("the base has nothing called `{}`", name.text);
    let suggestion = nearest(&name.text, known.iter().map(String::as_str));
    Diagnostic::error(Code::Without, name.span, message)
        .label("nothing to take away")
        .maybe_help(suggestion.map(|word| format!("did you mean `{word}`?")))
}

#[cfg(test)]
mod tests {
    use super::merge_base;
    use crate::span::{Source, Span};

    const BASE: &str = "model a {\n  let N = 2\n  tokens { vocab = 6, positions = 4 }\n  predict q from z[0]\n}\n\
                        train {\n  batch = 8\n  epochs = 3\n}\n";

    fn merged(spec: &str) -> Result<Source, Vec<String>> {
        merge_base(&Source::new("base.hrm", BASE), &Source::new("spec.hrm", spec))
            .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn what_is_given_again_replaces_and_the_rest_is_added() {
        let text = merged("base \"base.hrm\"\nmodel b { let N = 3, let T = 1, tokens { positions = 9 } }")
            .unwrap()
            .text;
        assert!(
            text.starts_with("model b {\n  let T = 1\n  let N = 3\n  tokens { vocab = 6, positions = 9 }"),
            "{text}"
        );
        assert!(!text.contains("base"), "{text}");
    }

    #[test]
    fn one_length_of_training_takes_the_place_of_the_other() {
        let text = merged("base \"base.hrm\"\ntrain { steps = 5, batch = 2 }").unwrap().text;
        assert!(text.contains("steps = 5") && text.contains("batch = 2"), "{text}");
        assert!(!text.contains("epochs") && !text.contains("batch = 8"), "{text}");
    }

    #[test]
    fn without_takes_away_and_says_what_is_not_there() {
        let text = merged("base \"base.hrm\"\nmodel b { without q }").unwrap().text;
        assert!(!text.contains("predict"), "{text}");
        let problems = merged("base \"base.hrm\"\nmodel b { without toknes }").unwrap_err();
        assert_eq!(problems, ["the base has nothing called `toknes`"]);
        let problems = merged("base \"a.hrm\"\nbase \"b.hrm\"").unwrap_err();
        assert_eq!(problems, ["a spec has one base"]);
    }

    #[test]
    fn nothing_is_changed_twice() {
        for spec in ["model b { let N = 3, let N = 4 }", "model b { without q, predict q from z[1] }"] {
            let problems = merged(&format!("base \"base.hrm\"\n{spec}")).unwrap_err();
            assert_eq!(problems, ["this changes what another part of the spec changes"], "{spec}");
        }
        let problems = merged("base \"base.hrm\"\ntrain { batch = 1, batch = 2 }").unwrap_err();
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn a_new_number_stands_before_those_that_use_it() {
        let text = merged("base \"base.hrm\"\nmodel b { let M = 1, let N = M * 3 }").unwrap().text;
        assert!(text.find("let M = 1").unwrap() < text.find("let N = M * 3").unwrap(), "{text}");
    }

    #[test]
    fn neighbours_can_both_be_taken_away() {
        let base = Source::new(
            "base.hrm",
            "model a { tokens { vocab = 6 } }\ntrain { batch = 8, ema = 0.9, seed = 1 }\n",
        );
        let spec =
            Source::new("spec.hrm", "base \"base.hrm\"\nmodel b {\n  without ema\n  without seed\n}\n");
        let text = merge_base(&base, &spec).unwrap().text;
        assert!(text.contains("train { batch = 8"), "{text}");
        assert!(!text.contains("ema") && !text.contains("seed"), "{text}");
        assert!(
            crate::syntax::parse(&Source::new("merged.hrm", text.clone())).diagnostics.is_empty(),
            "{text}"
        );
    }

    #[test]
    fn places_lead_back_to_the_file_they_are_from() {
        let merged = merged("base \"base.hrm\"\nmodel b { let N = 3 }").unwrap();
        let three = merged.text.find('3').unwrap();
        let origin = merged.origin(Span::new(three, three + 1));
        assert_eq!((origin.name, &origin.text[origin.span.start..origin.span.end]), ("spec.hrm", "3"));
        let vocab = merged.text.find("vocab").unwrap();
        let origin = merged.origin(Span::new(vocab, vocab + 5));
        assert_eq!((origin.name, &origin.text[origin.span.start..origin.span.end]), ("base.hrm", "vocab"));
    }
}
