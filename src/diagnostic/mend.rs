//! Mends: edits of a text after which a problem is gone.
//!
//! A check knows places and words, but neither commas nor lines. So it says what is to be done, and [`Edit::change`]
//! finds out in the text which bytes that takes.

use crate::span::{Origin, Source, Span};

/// What does away with a problem: edits that do not touch each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// What it does, as a command: lower case, no full stop.
    pub title: String,
    /// The edits, all of them needed.
    pub edits: Vec<Edit>,
}

/// One thing to be done to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Put these words in the place of others; before what follows, where the place is empty.
    Replace(Span, String),
    /// Take an item out of its list: an entry, a statement, a step, a name among several.
    Remove(Span),
    /// Put an item at the end of a list, whose place begins and ends with its delimiters.
    Add(Span, String),
}

/// Bytes of a text, and what is to stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The bytes.
    pub span: Span,
    /// What takes their place.
    pub text: String,
}

impl Mend {
    /// Returns the text that a user wrote and what changes in it, in its order. Returns `None` where the edits are of
    /// several texts, or of what no user wrote.
    pub fn changes<'a>(&self, source: &'a Source) -> Option<(Origin<'a>, Vec<Change>)> {
        let mut places = self.edits.iter().map(|edit| source.exact_origin(edit.span()));
        let first = places.next()??;
        let rest = places.collect::<Option<Vec<Origin<'_>>>>()?;
        if rest.iter().any(|place| place.name != first.name) {
            return None;
        }
        let spans = [first].into_iter().chain(rest).map(|place| place.span);
        let mut edits: Vec<(Span, &Edit)> = spans.zip(&self.edits).collect();
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(*span));
        // From the end on: what is before an edit is still in its place, and what is behind it has been edited.
        let mut text = first.text.to_string();
        let mut changes: Vec<Change> = Vec::new();
        for (span, edit) in edits {
            let mut change = edit.change(&text, span)?;
            text.replace_range(change.span.start..change.span.end, &change.text);
            while let Some(next) = changes.pop_if(|next| next.span.start < change.span.end) {
                if !next.text.is_empty() {
                    return None;
                }
                change.span.end += next.span.end - next.span.start;
            }
            changes.push(change);
        }
        changes.reverse();
        Some((first, changes))
    }
}

impl Edit {
    /// Returns the edit that puts a text in a place.
    pub fn replace(span: Span, text: impl Into<String>) -> Edit {
        Edit::Replace(span, text.into())
    }

    /// Returns the edit that puts a text behind a place.
    pub fn behind(span: Span, text: impl Into<String>) -> Edit {
        Edit::Replace(Span::new(span.end, span.end), text.into())
    }

    /// Returns the edit that puts a text before a place.
    pub fn before(span: Span, text: impl Into<String>) -> Edit {
        Edit::Replace(Span::new(span.start, span.start), text.into())
    }

    /// Returns the place that is edited.
    pub(super) fn span(&self) -> Span {
        match *self {
            Edit::Replace(span, _) | Edit::Remove(span) | Edit::Add(span, _) => span,
        }
    }

    /// Returns the place that is edited, to be moved.
    pub(super) fn span_mut(&mut self) -> &mut Span {
        match self {
            Edit::Replace(span, _) | Edit::Remove(span) | Edit::Add(span, _) => span,
        }
    }

    /// Returns what changes in a text, in which the edited place is `span`. Returns `None` where something is to be
    /// added to a list that is not closed.
    fn change(&self, text: &str, span: Span) -> Option<Change> {
        match self {
            Edit::Replace(_, with) => Some(Change { span, text: with.clone() }),
            Edit::Remove(_) => Some(Change { span: with_separator(text, span), text: String::new() }),
            Edit::Add(_, item) => added(text, span, item),
        }
    }
}

/// Returns the bytes of an item with what would be left over without it: its lines, or the comma next to it.
fn with_separator(text: &str, item: Span) -> Span {
    let begins = text[..item.start].rfind('\n').map_or(0, |newline| newline + 1);
    let ends = text[item.end..].find('\n').map_or(text.len(), |length| item.end + length);
    let (before, after) = (&text[begins..item.start], &text[item.end..ends]);
    let behind = after.trim_start();
    let behind_comma = behind.strip_prefix(',').map(str::trim_start);
    let rest = behind_comma.unwrap_or(behind);
    if before.trim().is_empty() && (rest.is_empty() || rest.starts_with('#')) {
        // The last line of a text may end without a line feed.
        let begins = if ends == text.len() { begins.saturating_sub(1) } else { begins };
        return Span::new(begins, text.len().min(ends + 1));
    }
    let kept = before.trim_end();
    match behind_comma {
        Some(rest) => Span::new(item.start, ends - rest.len()),
        None if kept.ends_with(',') => Span::new(begins + kept.len() - 1, item.end),
        None if kept.is_empty() => Span::new(item.start, ends - behind.len()),
        None if behind.is_empty() || behind.len() < after.len() => Span::new(begins + kept.len(), item.end),
        None => item,
    }
}

/// Returns what changes in a text so that a list has one more item, laid out as the others.
fn added(text: &str, list: Span, item: &str) -> Option<Change> {
    let inner = text[list.start..list.end].strip_prefix(['{', '('])?.strip_suffix(['}', ')'])?;
    let begins = list.start + 1;
    let content = inner.trim_end();
    let at = begins + content.len();
    let last_line = inner.rfind('\n').map(|newline| (newline, &inner[newline + 1..]));
    match last_line {
        Some((newline, indent)) if indent.trim().is_empty() => {
            let inside = inner.lines().skip(1).find(|line| !line.trim().is_empty());
            let inside = inside.map_or(format!("{indent}  "), |line| {
                line[..line.len() - line.trim_start().len()].to_string()
            });
            let feed = if inner[..newline].ends_with('\r') { "\r\n" } else { "\n" };
            let place = begins + newline + 1;
            Some(Change { span: Span::new(place, place), text: format!("{inside}{item}{feed}") })
        }
        _ if content.is_empty() => {
            let text = if text[..begins].ends_with('{') { format!(" {item} ") } else { item.to_string() };
            Some(Change { span: Span::new(begins, list.end - 1), text })
        }
        _ => {
            let comma = if content.ends_with(',') { " " } else { ", " };
            Some(Change { span: Span::new(at, at), text: format!("{comma}{item}") })
        }
    }
}

/// Returns a text after changes that do not touch each other, in its order.
pub fn apply(text: &str, changes: &[Change]) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut end = 0;
    for change in changes {
        changed.push_str(&text[end..change.span.start]);
        changed.push_str(&change.text);
        end = change.span.end;
    }
    changed.push_str(&text[end..]);
    changed
}

#[cfg(test)]
mod tests {
    use super::{Edit, Mend, apply};
    use crate::span::{Source, Span};

    /// Returns a text after an edit of the part between `«` and `»`.
    fn edited(marked: &str, edit: impl Fn(Span) -> Edit) -> Option<String> {
        let start = marked.find('«').expect("the part is marked");
        let end = marked.find('»').expect("the part is marked") - '«'.len_utf8();
        let source = Source::new("a.hrm", marked.replace(['«', '»'], ""));
        let mend = Mend { title: String::new(), edits: vec![edit(Span::new(start, end))] };
        let (origin, changes) = mend.changes(&source)?;
        Some(apply(origin.text, &changes))
    }

    #[test]
    fn an_item_leaves_no_comma_and_no_line_behind() {
        for (marked, expected) in [
            ("{ «a = 1», b = 2 }", "{ b = 2 }"),
            ("{ a = 1, «b = 2» }", "{ a = 1 }"),
            ("{ «a = 1» }", "{ }"),
            ("f(«a = 1»)", "f()"),
            ("f(a = 1, «b = 2»)", "f(a = 1)"),
            ("{\n  «a = 1»\n  b = 2\n}", "{\n  b = 2\n}"),
            ("{\n  «a = 1»,  # one\n  b = 2\n}", "{\n  b = 2\n}"),
            ("{\n  a = 1  # one\n  «b {\n    c = 2\n  }»\n}", "{\n  a = 1  # one\n}"),
            ("{\n  «a = 1» }", "{\n  }"),
            ("a\n«b»", "a"),
            ("«a»", ""),
            ("state «a», b = normal", "state b = normal"),
            ("state a, «b» = normal", "state a = normal"),
        ] {
            assert_eq!(edited(marked, Edit::Remove).as_deref(), Some(expected), "{marked}");
        }
    }

    #[test]
    fn neighbours_are_taken_out_together() {
        for (text, expected) in [
            ("{ a = 1, b = 2, c = 3 }", "{ a = 1 }"),
            ("{ b = 2, c = 3, a = 1 }", "{ a = 1 }"),
            ("{ b = 2, a = 1, c = 3 }", "{ a = 1 }"),
            ("{ b = 2, c = 3 }", "{ }"),
            ("{\n  a = 1\n  b = 2\n  c = 3\n}", "{\n  a = 1\n}"),
        ] {
            let source = Source::new("a.hrm", text);
            let item = |name: &str| {
                let start = text.find(name).expect("it is there");
                Edit::Remove(Span::new(start, start + "b = 2".len()))
            };
            let mend = Mend { title: String::new(), edits: vec![item("b"), item("c")] };
            let (origin, changes) = mend.changes(&source).expect("it is one text");
            assert_eq!(apply(origin.text, &changes), expected);
        }
    }

    #[test]
    fn an_item_is_added_as_the_others_are_laid_out() {
        for (marked, expected) in [
            ("«{ a = 1 }»", Some("{ a = 1, b = 2 }")),
            ("«{ a = 1, }»", Some("{ a = 1, b = 2 }")),
            ("«{}»", Some("{ b = 2 }")),
            ("f«()»", Some("f(b = 2)")),
            ("f«(a = 1)»", Some("f(a = 1, b = 2)")),
            ("train «{\n    a = 1\n}»", Some("train {\n    a = 1\n    b = 2\n}")),
            ("  train «{\n  }»", Some("  train {\n    b = 2\n  }")),
            ("«{\r\n  a = 1\r\n}»", Some("{\r\n  a = 1\r\n  b = 2\r\n}")),
            ("«{\n  a = 1 }»", Some("{\n  a = 1, b = 2 }")),
            ("«{ a = 1»", None),
        ] {
            let added = edited(marked, |span| Edit::Add(span, "b = 2".to_string()));
            assert_eq!(added.as_deref(), expected, "{marked}");
        }
    }

    #[test]
    fn what_no_user_wrote_and_what_stands_in_two_texts_is_not_edited() {
        let mut source = Source::new("a.hrm", "ab");
        let other = source.append(&Source::new("b.hrm", "cd"));
        let replace = |start: usize, end: usize| Edit::Replace(Span::new(start, end), "x".to_string());
        let changed = |edits: Vec<Edit>| {
            let (origin, changes) = Mend { title: String::new(), edits }.changes(&source)?;
            Some((origin.name, apply(origin.text, &changes)))
        };
        assert_eq!(changed(vec![replace(1, 2), replace(0, 1)]), Some(("a.hrm", "xx".to_string())));
        assert_eq!(changed(vec![replace(other, other + 1)]), Some(("b.hrm", "xd".to_string())));
        assert_eq!(changed(vec![replace(0, 1), replace(other, other + 1)]), None);
        assert_eq!(changed(vec![replace(1, other + 1)]), None);
        assert_eq!(changed(vec![replace(2, 3)]), None, "the line feed between them");
        assert_eq!(changed(vec![replace(1, 1)]), Some(("a.hrm", "axb".to_string())));
        assert_eq!(changed(vec![replace(2, 2)]), None, "the end of one text or what is behind it");
    }
}
