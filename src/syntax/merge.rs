//! A spec over its base.
//!
//! The result is a text: that of the base, with every statement that the spec gives again replaced, the entries
//! of blocks, sections and `train` replaced one by one, and the rest added. It remembers where each piece is
//! from, so messages lead back to the file that somebody wrote. `without a, b` takes things away.
//!
//! A `let` stands before those that use it, so numbers may change places: what a number uses goes in front of it.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{
    Base, Definition, Entries, Entry, Expr, ExprKind, File, Item, Model, Name, Statement, StatementKind,
    Train,
};
use super::{Scanner, Token, nearest, parse, quote};
use crate::diagnostic::{self, Code, Diagnostic, Edit};
use crate::span::{Source, Span};

/// Most keys that are named where none is spelled alike.
const MAX_NAMED: usize = 12;

/// One change to the text of the base.
struct Splice {
    /// What is replaced; empty where something is added.
    span: Span,
    before: &'static str,
    part: Insertion,
    after: &'static str,
}

/// What is put in the place of something.
#[derive(Clone, Copy)]
enum Insertion {
    Nothing,
    /// A stretch of the spec.
    Spec(Span),
    /// A stretch of the base, which changes its place.
    Base(Span),
}

const NOTHING: Span = Span { start: 0, end: 0 };

/// Returns the text of `spec` over that of `base`; `base` follows the grammar and has no base itself, and what of
/// `spec` does not follow the grammar is left out.
///
/// # Errors
///
/// Returns what `spec` takes away although the base does not have it, and the like, with places in `spec`.
pub fn merge_base(base: &Source, spec: &Source) -> Result<Source, Vec<Diagnostic>> {
    let (under, over) = (parse(base).file, parse(spec).file);
    let mut merge = Merge {
        base: &under,
        text: &base.text,
        edits: Vec::new(),
        claims: BTreeMap::new(),
        problems: misplaced_bases(&over),
    };
    for model in over.models() {
        match under.models().next() {
            Some(old) => merge.model(old, model),
            None => merge.add(base.text.len(), Insertion::Spec(model.span), "\n", "\n"),
        }
    }
    for train in over.trains() {
        match under.trains().next() {
            Some(old) => merge.train(old, train),
            None => merge.add(base.text.len(), Insertion::Spec(train.span), "\n", "\n"),
        }
    }
    let Merge { mut edits, mut problems, .. } = merge;
    if !problems.is_empty() {
        diagnostic::sort(&mut problems);
        return Err(problems);
    }
    // From the back, so that places before an edit stay where they are; of two at one place the later goes first.
    edits.reverse();
    // What is replaced goes before what is added in front of it.
    edits.sort_by_key(|edit| (std::cmp::Reverse(edit.span.start), edit.span.start == edit.span.end));
    let mut merged = base.clone();
    // The text goes by the name of the spec, and every piece by that of the file it is from.
    merged.remove(NOTHING);
    merged.name.clone_from(&spec.name);
    for edit in edits {
        let (from, part) = match edit.part {
            Insertion::Nothing => (spec, NOTHING),
            Insertion::Spec(part) => (spec, part),
            Insertion::Base(part) => (base, part),
        };
        merged.splice(edit.span, edit.before, from, part, edit.after);
    }
    Ok(merged)
}

/// Returns what is wrong with where the bases of a file stand.
pub(super) fn misplaced_bases(file: &File) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut bases = file.bases();
    if let Some(first) = bases.next() {
        problems.extend(bases.map(|second| second_base(first, second)));
        match &file.items[0] {
            Item::Base(_) => {}
            Item::Model(model) => problems.push(base_behind(first, model.name.span, model.span)),
            Item::Train(train) => problems.push(base_behind(first, train.keyword, train.span)),
        }
    }
    problems
}

struct Merge<'a> {
    base: &'a File,
    /// Text of the base.
    text: &'a str,
    edits: Vec<Splice>,
    /// What of the base the spec changes, by its first byte, and where the spec does so.
    claims: BTreeMap<usize, Span>,
    problems: Vec<Diagnostic>,
}

impl<'a> Merge<'a> {
    fn add(&mut self, at: usize, part: Insertion, before: &'static str, after: &'static str) {
        self.edits.push(Splice { span: Span::new(at, at), before, part, after });
    }

    fn replace(&mut self, span: Span, part: Insertion) {
        self.edits.push(Splice { span, before: "", part, after: "" });
    }

    /// Notes that `by` changes what stands at `what` in the base; two changes of one thing would undo each other.
    fn claim(&mut self, what: Span, by: Span) -> bool {
        let first = self.claims.get(&what.start).copied();
        match first {
            Some(first) => self.problems.push(given_twice(by, first)),
            None => {
                self.claims.insert(what.start, by);
            }
        }
        first.is_none()
    }

    /// Removes an item of a list with the comma behind it, for there may be another before it.
    fn remove(&mut self, span: Span) {
        let mut rest = Scanner::new(self.text);
        rest.go_to(span.end);
        let next = rest.find(Token::is_content).filter(|next| next.is_symbol(","));
        let end = next.map_or(span.end, |comma| comma.span.end);
        self.replace(Span::new(span.start, end), Insertion::Nothing);
    }

    fn model(&mut self, old: &'a Model, new: &'a Model) {
        if self.claim(old.name.span, new.name.span) {
            self.replace(old.name.span, Insertion::Spec(new.name.span));
        }
        // Names of the base that go, and statements of the base with what stands there instead.
        let mut gone: BTreeSet<&str> = BTreeSet::new();
        let mut instead: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
        for statement in &new.statements {
            match &statement.kind {
                StatementKind::Without(names) => {
                    for name in names {
                        let mut given = new.statements.iter().filter_map(entries_of);
                        let afresh = given.any(|(given, _)| given.text == name.text);
                        self.without(old, name, afresh, &mut gone);
                    }
                }
                StatementKind::Block(block) | StatementKind::Section(block) => {
                    let same = |candidate: &&Statement| {
                        same_kind(&candidate.kind, &statement.kind)
                            && names(candidate).any(|name| name.text == block.name.text)
                    };
                    let found = old.statements.iter().enumerate().find(|(_, one)| same(one));
                    match found.and_then(|(index, found)| Some((index, entries_of(found)?))) {
                        // What is taken away and given again keeps nothing of the base.
                        Some((index, _)) if takes(new, &block.name) && block.entries.without.is_empty() => {
                            instead.entry(index).or_default().push(statement.span);
                        }
                        Some((_, (name, entries))) => {
                            if self.claim(name.span, block.name.span) {
                                self.entries(&block.name, entries, &block.entries);
                            }
                        }
                        _ => {
                            let keys = block.entries.without.iter().flat_map(|without| &without.names);
                            keys.for_each(|key| self.problems.push(nothing_to_take_from(key, &block.name)));
                            self.given(old, statement, &mut gone, &mut instead);
                        }
                    }
                }
                _ => self.given(old, statement, &mut gone, &mut instead),
            }
        }
        let again = |statement: &Statement| {
            let name = definition(statement).map(|(definition, _)| &definition.name.text);
            let mut given = new.statements.iter().filter_map(definition);
            name.is_some_and(|name| given.any(|(given, _)| given.name.text == *name))
        };
        for (index, statement) in old.statements.iter().enumerate().filter(|(_, one)| !again(one)) {
            self.put_instead(statement, &gone, instead.remove(&index).unwrap_or_default());
        }
        self.lets(old, new, &gone);
    }

    /// Takes what a statement gives again from the base, and finds its place.
    fn given(
        &mut self,
        old: &'a Model,
        statement: &'a Statement,
        gone: &mut BTreeSet<&'a str>,
        instead: &mut BTreeMap<usize, Vec<Span>>,
    ) {
        let (what, entries) = match &statement.kind {
            StatementKind::Predict(predict) => ("predict", predict.entries.as_ref()),
            StatementKind::Halt(halt) => ("halt", halt.entries.as_ref()),
            _ => ("", None),
        };
        let taken = entries.into_iter().flat_map(|entries| &entries.without);
        taken.for_each(|without| self.problems.push(given_whole(without.span, what)));
        let mut place = None;
        let given: Vec<&Name> = names(statement).collect();
        for (index, candidate) in old.statements.iter().enumerate() {
            let mut again = false;
            if given.is_empty() {
                again = same_kind(&candidate.kind, &statement.kind);
                if again && !self.claim(candidate.span, statement.span) {
                    return;
                }
            }
            for found in names(candidate) {
                if let Some(name) = given.iter().find(|name| name.text == found.text) {
                    again = true;
                    if !self.claim(found.span, name.span) {
                        return;
                    }
                    gone.insert(&found.text);
                }
            }
            if again {
                place = place.or(Some(index));
            }
        }
        // Numbers find their places together, see `lets`.
        if matches!(statement.kind, StatementKind::Let(_)) {
            return;
        }
        match place {
            Some(index) => instead.entry(index).or_default().push(statement.span),
            None => self.add(old.span.end - 1, Insertion::Spec(statement.span), "\n  ", "\n"),
        }
    }

    /// Removes the names that are gone from a statement of the base and puts others beside it or in its place.
    fn put_instead(&mut self, statement: &'a Statement, gone: &BTreeSet<&str>, parts: Vec<Span>) {
        let names: Vec<&Name> = names(statement).collect();
        let is_gone = |name: &Name| gone.contains(name.text.as_str());
        let stays = names.iter().any(|name| !is_gone(name));
        if !stays && (!names.is_empty() || !parts.is_empty()) {
            let mut parts = parts.into_iter();
            match parts.next() {
                Some(first) => self.replace(statement.span, Insertion::Spec(first)),
                None => self.remove(statement.span),
            }
            parts.for_each(|part| self.add(statement.span.end, Insertion::Spec(part), "\n  ", ""));
            return;
        }
        for (index, name) in names.iter().enumerate().filter(|(_, name)| is_gone(name)) {
            let span = match names[..index].iter().any(|name| !is_gone(name)) {
                true => Span::new(names[index - 1].span.end, name.span.end),
                false => Span::new(name.span.start, names[index + 1].span.start),
            };
            self.replace(span, Insertion::Nothing);
        }
        // States keep their order where they can.
        let first_is_gone = names.first().is_some_and(|name| is_gone(name));
        for part in parts {
            match first_is_gone {
                true => self.add(statement.span.start, Insertion::Spec(part), "", "\n  "),
                false => self.add(statement.span.end, Insertion::Spec(part), "\n  ", ""),
            }
        }
    }

    /// Puts the numbers of the spec, and those of the base that use them, where each follows what it uses.
    fn lets(&mut self, old: &'a Model, new: &'a Model, gone: &BTreeSet<&str>) {
        let mut numbers: Vec<Number<'_>> = Vec::new();
        let given: Vec<(&Definition, Span)> = new.statements.iter().filter_map(definition).collect();
        for (found, span) in old.statements.iter().filter_map(definition) {
            let name = &found.name.text;
            let again = given.iter().find(|(definition, _)| definition.name.text == *name);
            match again {
                Some(&(definition, part)) => {
                    numbers.push(Number { definition, part: Insertion::Spec(part), slot: Some(span) });
                }
                None if gone.contains(name.as_str()) => {}
                None => {
                    numbers.push(Number { definition: found, part: Insertion::Base(span), slot: Some(span) });
                }
            }
        }
        for (definition, part) in given {
            let has_a_place = |number: &Number<'_>| {
                number.slot.is_some() && number.definition.name.text == definition.name.text
            };
            if !numbers.iter().any(has_a_place) {
                numbers.push(Number { definition, part: Insertion::Spec(part), slot: None });
            }
        }
        let mut order = Order { numbers: &numbers, done: vec![false; numbers.len()], open: Vec::new() };
        for (index, &number) in numbers.iter().enumerate() {
            let mut group = Vec::new();
            if let Err(circle) = order.visit(index, &mut group) {
                self.problems.extend(in_a_circle(&circle));
                return;
            }
            self.put_numbers(number, old, &group);
        }
    }

    /// Puts a number, the last of `group`, and those that have to stand before it.
    fn put_numbers(&mut self, number: Number<'a>, old: &Model, group: &[Number<'a>]) {
        let Some(slot) = number.slot else {
            group.iter().for_each(|one| self.add(old.span.end - 1, one.part, "\n  ", "\n"));
            return;
        };
        let Some((_, before)) = group.split_last() else {
            // It went to an earlier place.
            return self.remove(slot);
        };
        match number.part {
            // What stays as it is keeps its place.
            Insertion::Base(_) => before.iter().for_each(|one| self.add(slot.start, one.part, "", "\n  ")),
            _ => {
                self.replace(slot, group[0].part);
                group[1..].iter().for_each(|one| self.add(slot.end, one.part, "\n  ", ""));
            }
        }
    }

    fn train(&mut self, old: &Train, new: &Train) {
        if !self.claim(old.keyword, new.keyword) {
            return;
        }
        let keyword = Name { text: "train".to_string(), span: new.keyword };
        self.entries(&keyword, &old.entries, &new.entries);
        // The two lengths exclude each other, so that one takes the place of the other.
        for (key, other) in [("steps", "epochs"), ("epochs", "steps")] {
            if let (Some(given), Some(other)) = (entry(&new.entries, key), entry(&old.entries, other))
                && !self.claims.contains_key(&other.span.start)
            {
                self.claim(other.span, given.span);
                self.remove(other.span);
            }
        }
    }

    fn entries(&mut self, owner: &Name, old: &Entries, new: &Entries) {
        for name in new.without.iter().flat_map(|without| &without.names) {
            let Some(found) = entry(old, &name.text) else {
                let keys: Vec<&str> = old.entries.iter().filter_map(key).collect();
                self.problems.push(nothing_to_take(name, owner, &keys));
                continue;
            };
            if self.claim(found.span, name.span) {
                self.remove(found.span);
            }
        }
        for given in &new.entries {
            match key(given).and_then(|key| entry(old, key)) {
                Some(found) => {
                    if self.claim(found.span, given.span) {
                        self.replace(found.span, Insertion::Spec(given.span));
                    }
                }
                None => self.add(old.span.end - 1, Insertion::Spec(given.span), "\n    ", "\n"),
            }
        }
    }

    /// Takes away what `name` stands for in the base: a name of the model, the Q head, an entry of `train`. Of what is
    /// given `afresh`, a block or a section, entries of `train` that go by its name stay.
    fn without(&mut self, model: &'a Model, name: &Name, afresh: bool, gone: &mut BTreeSet<&'a str>) {
        let mut known: Vec<&str> = Vec::new();
        let mut is_there = false;
        for statement in &model.statements {
            for found in names(statement) {
                if found.text == name.text {
                    is_there = true;
                    self.claim(found.span, name.span);
                    gone.insert(&found.text);
                }
                known.push(&found.text);
            }
            if let StatementKind::Predict(predict) = &statement.kind
                && predict.what.text == "q"
            {
                if name.text == "q" {
                    is_there = true;
                    if self.claim(statement.span, name.span) {
                        self.remove(statement.span);
                    }
                }
                known.push("q");
            }
        }
        for entry in self.base.trains().next().into_iter().flat_map(|train| &train.entries.entries) {
            let Some(key) = key(entry) else { continue };
            if key == name.text && !(afresh && is_there) {
                is_there = true;
                if self.claim(entry.span, name.span) {
                    self.remove(entry.span);
                }
            }
            known.push(key);
        }
        if !is_there {
            let message = format!("the base has nothing called `{}`", name.text);
            self.problems.push(nothing_of_the_name(name, message, &known));
        }
    }
}

/// A number that has a name in the result.
#[derive(Clone, Copy)]
struct Number<'a> {
    definition: &'a Definition,
    /// Its statement.
    part: Insertion,
    /// Its place in the base, if it has one.
    slot: Option<Span>,
}

/// Goes through numbers so that each comes behind those it uses.
struct Order<'a, 'n> {
    numbers: &'n [Number<'a>],
    done: Vec<bool>,
    /// Numbers whose uses are looked at, from the outermost.
    open: Vec<usize>,
}

impl<'a> Order<'a, '_> {
    /// Adds a number to `group` behind what it uses, unless it came before; fails with numbers that use each other.
    fn visit(&mut self, index: usize, group: &mut Vec<Number<'a>>) -> Result<(), Vec<Number<'a>>> {
        if let Some(begin) = self.open.iter().position(|&open| open == index) {
            return Err(self.open[begin..].iter().map(|&open| self.numbers[open]).collect());
        }
        if self.done[index] {
            return Ok(());
        }
        self.open.push(index);
        let mut used = Vec::new();
        collect_names(&self.numbers[index].definition.value, &mut used);
        for name in used {
            let found = self.numbers.iter().position(|number| number.definition.name.text == name);
            found.map_or(Ok(()), |found| self.visit(found, group))?;
        }
        self.open.pop();
        self.done[index] = true;
        group.push(self.numbers[index]);
        Ok(())
    }
}

fn collect_names<'a>(expr: &'a Expr, names: &mut Vec<&'a str>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Call(_) => {}
        ExprKind::Name(name) => names.push(name),
        ExprKind::Tuple(parts) => parts.iter().for_each(|part| collect_names(part, names)),
        ExprKind::Group(inner) | ExprKind::Negative(inner) => collect_names(inner, names),
        ExprKind::Binary(binary) => {
            collect_names(&binary.left, names);
            collect_names(&binary.right, names);
        }
    }
}

/// Returns the names that a statement gives.
fn names(statement: &Statement) -> impl Iterator<Item = &Name> {
    let (one, many): (Option<&Name>, &[Name]) = match &statement.kind {
        StatementKind::Let(definition) | StatementKind::Network(definition) => (Some(&definition.name), &[]),
        StatementKind::Block(section) | StatementKind::Section(section) => (Some(&section.name), &[]),
        StatementKind::Entry(entry) => (entry.key.as_ref(), &[]),
        StatementKind::State(state) => (None, &state.names),
        StatementKind::Segment(_)
        | StatementKind::Gradient(_)
        | StatementKind::Predict(_)
        | StatementKind::Halt(_)
        | StatementKind::Without(_) => (None, &[]),
    };
    one.into_iter().chain(many)
}

/// Returns the name and the entries of a block or a section.
fn entries_of(statement: &Statement) -> Option<(&Name, &Entries)> {
    match &statement.kind {
        StatementKind::Block(section) | StatementKind::Section(section) => {
            Some((&section.name, &section.entries))
        }
        _ => None,
    }
}

/// Returns whether a model takes away what goes by `name`.
fn takes(model: &Model, name: &Name) -> bool {
    model.statements.iter().any(|statement| match &statement.kind {
        StatementKind::Without(names) => names.iter().any(|taken| taken.text == name.text),
        _ => false,
    })
}

/// Returns the number that a statement defines, and the place of the statement.
fn definition(statement: &Statement) -> Option<(&Definition, Span)> {
    match &statement.kind {
        StatementKind::Let(definition) => Some((definition, statement.span)),
        _ => None,
    }
}

fn same_kind(one: &StatementKind, other: &StatementKind) -> bool {
    match (one, other) {
        (StatementKind::Predict(one), StatementKind::Predict(other)) => one.what.text == other.what.text,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn key(entry: &Entry) -> Option<&str> {
    entry.key.as_ref().map(|key| key.text.as_str())
}

fn entry<'a>(entries: &'a Entries, name: &str) -> Option<&'a Entry> {
    entries.entries.iter().find(|entry| key(entry) == Some(name))
}

fn given_twice(second: Span, first: Span) -> Diagnostic {
    Diagnostic::error(Code::DuplicateStatement, second, "this changes what another part of the spec changes")
        .label("second change")
        .secondary(first, "first change")
        .help("keep one of the two")
}

fn given_whole(span: Span, what: &str) -> Diagnostic {
    let message =
        format!("`{what}` takes the place of that of the base, so that nothing is left to take away");
    Diagnostic::error(Code::Without, span, message)
        .label("nothing to take away")
        .mend("remove it", [Edit::Remove(span)])
}

fn second_base(first: &Base, second: &Base) -> Diagnostic {
    Diagnostic::error(Code::Base, second.span, "a spec has one base")
        .label("second base")
        .secondary(first.span, "first base")
        .help("let one of the files be the base of the other")
}

fn base_behind(base: &Base, first: Span, item: Span) -> Diagnostic {
    let top = Edit::before(item, format!("base {}\n\n", quote(&base.path)));
    Diagnostic::error(Code::Base, base.span, "`base` stands first in a spec")
        .label("the base that the spec starts from")
        .secondary(first, "stands before it")
        .mend("move it to the top of the file", [top, Edit::Remove(base.span)])
}

fn in_a_circle(circle: &[Number<'_>]) -> Option<Diagnostic> {
    // A circle in the base alone is found when the result is checked.
    let given = circle.iter().find(|number| matches!(number.part, Insertion::Spec(_)))?;
    let name = &given.definition.name;
    let message = match circle {
        [_] => format!("`{0}` is defined by `{0}`", name.text),
        _ => {
            let names: Vec<String> =
                circle.iter().map(|number| format!("`{}`", number.definition.name.text)).collect();
            format!("{} are defined by each other", names.join(", "))
        }
    };
    let diagnostic = Diagnostic::error(Code::UnknownName, given.definition.value.span, message)
        .label("uses what it defines")
        .note("a `let` takes the place of that of the base, whose value is gone");
    Some(diagnostic.help("write a number, or give it another name"))
}

fn nothing_of_the_name(name: &Name, message: String, known: &[&str]) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code::Without, name.span, message).label("nothing to take away");
    match nearest(&name.text, known.iter().copied()) {
        Some(word) => diagnostic.meant(name.span, word),
        None if known.is_empty() || known.len() > MAX_NAMED => diagnostic,
        None => {
            let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            diagnostic.note(format!("there is {}", known.join(", ")))
        }
    }
}

fn nothing_to_take(name: &Name, owner: &Name, known: &[&str]) -> Diagnostic {
    let message = format!("`{}` of the base has no `{}`", owner.text, name.text);
    nothing_of_the_name(name, message, known)
}

fn nothing_to_take_from(name: &Name, owner: &Name) -> Diagnostic {
    let message = format!("the base has no `{}` that `{}` could be taken from", owner.text, name.text);
    nothing_of_the_name(name, message, &[])
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
            text.starts_with("model b {\n  let N = 3\n  tokens { vocab = 6, positions = 9 }")
                && text.contains("let T = 1"),
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

    /// Returns the text of `spec` over `base`, which follows the grammar.
    fn over(base: &str, spec: &str) -> Result<String, String> {
        let spec = format!("base \"base.hrm\"\n{spec}");
        let merged = merge_base(&Source::new("base.hrm", base), &Source::new("spec.hrm", spec));
        let text = merged.map_err(|problems| problems[0].message.clone())?.text;
        let parsed = crate::syntax::parse(&Source::new("merged.hrm", text.clone()));
        assert_eq!(parsed.diagnostics, [], "{text}");
        Ok(text)
    }

    #[test]
    fn keys_are_taken_away_where_they_stand() {
        let base =
            "model a { block b { hidden = 8, heads = 2  # two\n  positions = none } }\ntrain { ema = 0.9 }\n";
        let text = over(base, "model c { block b { without heads, positions, mixing = mlp } }").unwrap();
        assert!(text.contains("hidden = 8") && text.contains("mixing = mlp"), "{text}");
        assert!(!text.contains("heads") && !text.contains("positions"), "{text}");
        let text = over(base, "train { without ema\n  seed = 1 }").unwrap();
        assert!(!text.contains("ema") && text.contains("seed = 1"), "{text}");
        for (spec, message) in [
            ("model c { block b { without head } }", "`b` of the base has no `head`"),
            ("model c { block d { without heads } }", "the base has no `d` that `heads` could be taken from"),
            ("train { without seed }", "`train` of the base has no `seed`"),
            (
                "model c { halt bce { without explore } }",
                "`halt` takes the place of that of the base, so that nothing is left to take away",
            ),
            (
                "model c { block b { without heads, heads = 4 } }",
                "this changes what another part of the spec changes",
            ),
        ] {
            assert_eq!(over(base, spec), Err(message.to_string()), "{spec}");
        }
    }

    #[test]
    fn what_is_taken_away_and_given_again_begins_afresh() {
        let base = "model a {\n  puzzles { width = 8, positions = 2 }\n  block b { hidden = 8, heads = 2 }\n}\n\
                    train { puzzles = sign_sgd(lr = 1) }\n";
        for spec in [
            "without b\n  block b { hidden = 16 }",
            "block b { hidden = 16 }\n  without b",
            "without b, puzzles\n  puzzles { width = 4 }\n  block b { hidden = 16 }",
        ] {
            let text = over(base, &format!("model c {{\n  {spec}\n}}")).unwrap();
            assert!(text.contains("block b { hidden = 16 }") && !text.contains("heads"), "{text}");
            assert_eq!(text.contains("puzzles { width = 4 }"), spec.contains("puzzles"), "{text}");
            assert!(text.contains("sign_sgd"), "the optimizer stays: {text}");
        }
        let twice = "without b, b\n  block b { hidden = 16 }";
        let problem = over(base, &format!("model c {{ {twice} }}")).unwrap_err();
        assert_eq!(problem, "this changes what another part of the spec changes");
        let both = "without b\n  block b { without heads }";
        let problem = over(base, &format!("model c {{ {both} }}")).unwrap_err();
        assert_eq!(problem, "this changes what another part of the spec changes");
    }

    #[test]
    fn one_of_several_states_goes_alone() {
        let base = "model a {\n  state u, v,\n    w = normal(std = 1)\n}\n";
        for (taken, left) in [
            ("u", "state v,\n    w ="),
            ("v", "state u,\n    w ="),
            ("w", "state u, v ="),
            ("u, v", "state w ="),
            ("w, u", "state v ="),
            ("v, w", "state u ="),
        ] {
            let text = over(base, &format!("model b {{ without {taken} }}")).unwrap();
            assert!(text.contains(left), "{taken}: {text}");
        }
        assert!(!over(base, "model b { without u, v, w }").unwrap().contains("state"));
    }

    #[test]
    fn a_state_given_again_leaves_the_others() {
        let base = "model a {\n  state u, v = normal(std = 1)\n  state w\n}\n";
        let text = over(base, "model b { state u = normal(std = 2) }").unwrap();
        assert!(text.contains("state u = normal(std = 2)\n  state v = normal(std = 1)"), "{text}");
        let text = over(base, "model b { state v = normal(std = 2) }").unwrap();
        assert!(text.contains("state u = normal(std = 1)\n  state v = normal(std = 2)"), "{text}");
        let text = over(base, "model b { state v, w }").unwrap();
        assert!(text.contains("state u = normal(std = 1)\n  state v, w\n"), "{text}");
        assert_eq!(text.matches("state").count(), 2, "{text}");
        let problem = over(base, "model b { without u, state u }").unwrap_err();
        assert_eq!(problem, "this changes what another part of the spec changes");
    }

    #[test]
    fn numbers_stand_before_those_that_use_them() {
        let base = "model a {\n  let A = 1\n  let B = A\n  let C = 3\n  let D = B\n}\n";
        for (spec, order) in [
            ("let A = C", ["C = 3", "A = C", "B = A", "D = B"].as_slice()),
            ("let A = X, let X = C + Y, let Y = 1", &["C = 3", "Y = 1", "X = C + Y", "A = X", "B = A"]),
            ("let E = D", &["A = 1", "B = A", "C = 3", "D = B", "E = D"]),
            ("let C = D", &["A = 1", "B = A", "D = B", "C = D"]),
            ("without C, let B = 2 * D, let D = A", &["A = 1", "D = A", "B = 2 * D"]),
        ] {
            let text = over(base, &format!("model b {{ {spec} }}")).unwrap();
            let places: Vec<usize> = order
                .iter()
                .map(|number| {
                    let found = format!("let {number}");
                    assert_eq!(text.matches(&found).count(), 1, "{spec}: {text}");
                    text.find(&found).unwrap()
                })
                .collect();
            assert!(places.is_sorted(), "{spec}: {text}");
        }
        for (spec, message) in [
            ("let A = A + 1", "`A` is defined by `A`"),
            ("let A = D", "`A`, `D`, `B` are defined by each other"),
        ] {
            assert_eq!(over(base, &format!("model b {{ {spec} }}")), Err(message.to_string()));
        }
    }

    #[test]
    fn the_base_stands_first() {
        let base = Source::new("base.hrm", BASE);
        let spec = Source::new("spec.hrm", "model b { }\nbase \"base.hrm\"\n");
        assert_eq!(merge_base(&base, &spec).unwrap_err()[0].message, "`base` stands first in a spec");
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
