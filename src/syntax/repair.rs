//! Makes a text readable for the grammar in spite of slips that would hide everything behind them.
//!
//! The grammar goes on after a mistake only in text whose delimiters pair up, so this runs before it. It
//! reports characters the language does not have, strings that are not closed, and braces, brackets and
//! parentheses without a partner, and edits a copy of the text so that the rest can be read. Places in the
//! copy are mapped back, so that nobody sees it.
//!
//! Where a delimiter is missing is a guess. Three readings compete, and the one with the fewest edits wins:
//! lines that are no deeper than the line of an opening delimiter end it; the same, but a brace at the end of
//! a line may close one of an earlier line; or indentation means nothing. In all of them a line such as
//! `network low = …` ends everything up to the body of the model, for it can stand nowhere else.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{Scanner, Token, TokenKind};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::span::{Source, Span};

/// Deepest nesting that is read; far beyond any spec and far below what exhausts the stack.
const MAX_DEPTH: usize = 64;

/// A text that the grammar can go through.
pub(super) struct Repaired<'a> {
    /// The text with every edit.
    pub(super) text: Cow<'a, str>,
    /// What had to be repaired.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether the structure of the text is lost: it is of no use to the grammar.
    pub(super) unreadable: bool,
    /// Whether every delimiter was put where indentation or a keyword asks for one.
    pub(super) certain: bool,
    /// First bytes of the lines of the original text.
    starts: Vec<usize>,
    edits: Vec<Replacement>,
    /// Where the replacement of each edit begins in the repaired text.
    begins: Vec<usize>,
    /// First bytes of lines about which something has been said already.
    reported: BTreeSet<usize>,
}

/// A piece of the original text that is replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Replacement {
    start: usize,
    end: usize,
    text: &'static str,
}

impl Replacement {
    /// Returns what a user can do in its place.
    fn mend(&self) -> Edit {
        Edit::replace(Span::new(self.start, self.end), self.text)
    }
}

impl Repaired<'_> {
    /// Returns the place in the original text of a place in the repaired one.
    pub(super) fn original(&self, span: Span) -> Span {
        let start = self.original_byte(span.start);
        Span::new(start, self.original_byte(span.end).max(start))
    }

    fn original_byte(&self, at: usize) -> usize {
        // Of the edits that begin before the place, the last one alone matters.
        let Some(last) = self.begins.partition_point(|&begins| begins < at).checked_sub(1) else {
            return at;
        };
        let (edit, begins) = (&self.edits[last], self.begins[last]);
        if at < begins + edit.text.len() { edit.start } else { edit.end + (at - begins - edit.text.len()) }
    }

    /// Returns the repaired text of `source`, which leads back to the original places.
    pub(super) fn source(&self, source: &Source) -> Source {
        let mut text = source.clone();
        for edit in self.edits.iter().rev() {
            let nothing = Source::new("", "");
            text.splice(Span::new(edit.start, edit.end), edit.text, &nothing, Span::new(0, 0), "");
        }
        text
    }

    /// Returns whether the line of a place in the original text has been reported already.
    pub(super) fn is_reported(&self, at: usize) -> bool {
        self.reported.contains(&line_start(&self.starts, at))
    }
}

/// Returns the first bytes of the lines of a text.
fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect()
}

/// Returns where the line of a place begins.
fn line_start(starts: &[usize], at: usize) -> usize {
    starts[starts.partition_point(|&start| start <= at) - 1]
}

/// Reads a text and repairs what is broken in it.
pub(super) fn repair(text: &str) -> Repaired<'_> {
    let mut lexed = lex(text);
    let starts = line_starts(text);
    let mut unreadable = false;
    let mut certain = true;
    let lone = lone_returns(text);
    if let Some(first) = lone.first() {
        // Where the lines of the text end is unknown, so that nothing else can be said about it.
        let feeds = lone.iter().map(|span| Edit::replace(*span, "\n"));
        let alone = returns_alone(first.start).offer("end the lines with line feeds", feeds);
        lexed = Lexed { diagnostics: vec![alone], ..Lexed::default() };
        unreadable = true;
    }
    match balance(text, &lexed) {
        Ok(balanced) => {
            certain = balanced.certain;
            for fix in balanced.fixes {
                lexed.edits.push(fix.edit());
                if !lexed.bad_strings.contains(&line_start(&starts, fix.place())) {
                    let (title, edit) = (fix.title(), fix.edit().mend());
                    lexed.diagnostics.push(fix.diagnostic().offer(title, [edit]));
                }
            }
        }
        Err(at) => {
            unreadable = true;
            lexed.diagnostics.push(too_deep(at));
        }
    }
    // Edits at one place stay in the order they were found in.
    lexed.edits.sort_by_key(|edit| (edit.start, edit.end));
    let reported = lexed.diagnostics.iter().flat_map(|diagnostic| {
        let places = diagnostic.secondary.iter().chain([&diagnostic.primary]);
        places.map(|label| line_start(&starts, label.span.start)).collect::<Vec<_>>()
    });
    let reported = reported.collect();
    let mut shift = 0;
    let begins = lexed.edits.iter().map(|edit| {
        let begins = edit.start.wrapping_add_signed(shift);
        shift += edit.text.len() as isize - (edit.end - edit.start) as isize;
        begins
    });
    Repaired {
        begins: begins.collect(),
        reported,
        text: apply(text, &lexed.edits),
        diagnostics: lexed.diagnostics,
        unreadable,
        certain,
        starts,
        edits: lexed.edits,
    }
}

/// Returns the carriage returns, one or several in a row, that neither a line feed nor the end of the text follows.
fn lone_returns(text: &str) -> Vec<Span> {
    let mut found = Vec::new();
    let mut begin = 0;
    while let Some(start) = text[begin..].find('\r').map(|at| begin + at) {
        let rest = text[start..].trim_start_matches('\r');
        begin = text.len() - rest.len();
        if !matches!(rest.chars().next(), None | Some('\n')) {
            found.push(Span::new(start, begin));
        }
    }
    found
}

fn apply<'a>(text: &'a str, edits: &[Replacement]) -> Cow<'a, str> {
    if edits.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len() + edits.len());
    let mut end = 0;
    for edit in edits {
        repaired.push_str(&text[end..edit.start]);
        repaired.push_str(edit.text);
        end = edit.end;
    }
    repaired.push_str(&text[end..]);
    Cow::Owned(repaired)
}

/// What a text is made of, as far as delimiters are concerned.
#[derive(Debug, Default)]
struct Lexed {
    lines: Vec<SourceLine>,
    diagnostics: Vec<Diagnostic>,
    edits: Vec<Replacement>,
    /// First bytes of lines with a string that is not closed.
    bad_strings: BTreeSet<usize>,
}

/// A line with something on it besides white space and a comment.
#[derive(Debug)]
struct SourceLine {
    /// First byte that is no white space.
    first: usize,
    /// Bytes of white space before it.
    indent: usize,
    /// Where its content ends, comments and white space left out.
    end: usize,
    delimiters: Vec<Delimiter>,
}

#[derive(Debug, Clone, Copy)]
struct Delimiter {
    character: char,
    at: usize,
    /// Where the content before it on its line ends.
    after: usize,
}

fn lex(text: &str) -> Lexed {
    let mut lexed = Lexed::default();
    let mut scanner = Scanner::new(text);
    let mut line = text_of_line(text, 0);
    // Editors of one system write this mark before the text; it means nothing.
    if let Some(rest) = line.text.strip_prefix('\u{feff}') {
        let at = line.text.len() - rest.len();
        lexed.edits.push(Replacement { start: 0, end: at, text: "" });
        line = TextOfLine { at, text: rest };
        scanner.go_to(at);
    }
    let mut content: Option<SourceLine> = None;
    while let Some(token) = scanner.next() {
        let start = token.span.start;
        let end = match token.kind {
            TokenKind::Newline => {
                lexed.lines.extend(content.take());
                line = text_of_line(text, token.span.end);
                continue;
            }
            TokenKind::Comment => continue,
            TokenKind::Text => lexed.string(token, line),
            TokenKind::Unexpected => line.at + lexed.unexpected(line, start - line.at),
            TokenKind::Name | TokenKind::Number | TokenKind::Symbol => token.span.end,
        };
        scanner.go_to(end);
        let before = content.as_ref().map(|content| content.end);
        let content = content.get_or_insert_with(|| SourceLine {
            first: start,
            indent: start - line.at,
            end,
            delimiters: Vec::new(),
        });
        content.end = end;
        if token.kind == TokenKind::Symbol
            && let "{" | "}" | "(" | ")" | "[" | "]" = token.text
        {
            let character = token.text.chars().next().expect("a token is never empty");
            content.delimiters.push(Delimiter { character, at: start, after: before.unwrap_or(start) });
        }
    }
    lexed.lines.extend(content);
    lexed
}

/// A line of the text without its end.
#[derive(Debug, Clone, Copy)]
struct TextOfLine<'a> {
    /// Its first byte.
    at: usize,
    text: &'a str,
}

/// Returns the line that begins at a byte.
fn text_of_line(text: &str, at: usize) -> TextOfLine<'_> {
    let rest = &text[at..];
    let length = rest.find('\n').unwrap_or(rest.len());
    TextOfLine { at, text: rest[..length].trim_end_matches('\r') }
}

impl Lexed {
    /// Checks a string and returns where it ends: one that is never closed where it was most likely meant to.
    fn string(&mut self, token: Token<'_>, line: TextOfLine<'_>) -> usize {
        let start = token.span.start;
        let mut characters = token.text.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            if character != '\\' {
                continue;
            }
            match characters.next() {
                Some((_, '"' | '\\' | 'n' | 't')) | None => {}
                Some((next, other)) => {
                    let span = Span::new(start + at, start + next + other.len_utf8());
                    let edit = Replacement { start: start + at, end: start + at, text: "\\" };
                    self.diagnostics.push(unknown_escape(span, other).offer("write `\\\\`", [edit.mend()]));
                    self.edits.push(edit);
                }
            }
        }
        if token.is_closed() {
            return token.span.end;
        }
        // What follows a comma or a closing delimiter was hardly meant to be in it.
        let rest = &token.text[1..];
        let length = rest.find([',', ')', '}', '#']).filter(|&length| length > 0).unwrap_or(rest.len());
        let inner = rest[..length].trim_end();
        let end = start + 1 + inner.len();
        // A backslash at the very end would escape the quote that is added.
        let escapes = inner.bytes().rev().take_while(|&byte| byte == b'\\').count();
        let text = if escapes % 2 == 1 { "\\\"" } else { "\"" };
        let edit = Replacement { start: end, end, text };
        let unclosed = unclosed_string(Span::new(start, end));
        self.diagnostics.push(unclosed.mend("add the missing `\"`", [edit.mend()]));
        self.edits.push(edit);
        self.bad_strings.insert(line.at);
        end
    }

    /// Reads characters the language does not have, from byte `begin` of a line, and returns where they end there.
    fn unexpected(&mut self, line: TextOfLine<'_>, begin: usize) -> usize {
        let TextOfLine { at: line_at, text: line } = line;
        let rest = &line[begin..];
        let first = rest.chars().next().expect("the caller saw a character");
        let at = line_at + begin;
        if is_quote(first)
            && let Some(length) = rest[first.len_utf8()..].find(|c| is_quote(c) || c == '"')
        {
            let closing = begin + first.len_utf8() + length;
            let width = line[closing..].chars().next().map_or(0, char::len_utf8);
            let end = closing + width;
            let mut edits = vec![
                Replacement { start: at, end: at + first.len_utf8(), text: "\"" },
                Replacement { start: line_at + closing, end: line_at + end, text: "\"" },
            ];
            // What stands between them is a string now, and may hold a backslash.
            for (place, _) in line[begin + first.len_utf8()..closing].match_indices('\\') {
                let place = at + first.len_utf8() + place;
                edits.push(Replacement { start: place, end: place, text: "\\" });
            }
            let wrong = other_quotes(Span::new(at, line_at + end), first);
            let title = "put it between plain double quotes";
            self.diagnostics.push(wrong.mend(title, edits.iter().map(Replacement::mend)));
            self.edits.extend(edits);
            return end;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())
        } else {
            let same = |c: char| c != first;
            rest.find(same).unwrap_or(rest.len())
        };
        let end = begin + length;
        let span = Span::new(at, at + length);
        // A word may have begun with letters that the language has.
        let word = &line[..begin];
        let head = word.len() - word.trim_end_matches(is_word).len();
        if is_word(first) {
            let span = Span::new(at - head, span.end);
            self.diagnostics.push(foreign_word(span, &line[begin - head..end]));
        } else {
            let arrow = first == '>' && line[..begin].ends_with('-');
            let (replacement, help) = stand_in(first, arrow);
            let wrong = unexpected(span, first, help);
            self.diagnostics.push(match replacement {
                Some(" ") => wrong.offer("replace it with a plain space", [Edit::replace(span, " ")]),
                Some(text) => wrong.write(span, text),
                None if help == REMOVE => wrong.offer(REMOVE, [Edit::replace(span, "")]),
                None => wrong,
            });
            if let Some(text) = replacement {
                for (place, character) in line[begin..end].char_indices() {
                    let start = at + place;
                    self.edits.push(Replacement { start, end: start + character.len_utf8(), text });
                }
            }
        }
        end
    }
}

fn is_quote(character: char) -> bool {
    matches!(character, '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
}

/// Returns what a character is read as, and what to write for it.
fn stand_in(character: char, arrow: bool) -> (Option<&'static str>, &'static str) {
    match character {
        '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{200b}' | '\u{feff}' | '\u{3000}' => {
            (Some(" "), "replace it with a plain space, or remove it")
        }
        ';' => (Some(","), "separate with a comma or a new line"),
        '×' | '·' | '∗' => (Some("*"), "multiply with `*`"),
        '−' | '–' | '—' => (Some("-"), "write the sign `-`"),
        '÷' => (Some("/"), "divide with `/`"),
        '←' => (Some("<-"), "write `<-`"),
        '＝' | '≔' => (Some("="), "write `=`"),
        '→' => (None, "an update is written `state <- network(…)`"),
        '>' if arrow => (None, "an update is written `state <- network(…)`"),
        '^' => (None, "there are no powers; write a product"),
        '%' => (None, "write a percentage as a fraction such as `0.1`, or begin a comment with `#`"),
        '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '«' | '»' => {
            (None, "put strings between `\"`")
        }
        _ => (None, REMOVE),
    }
}

/// What to do with a character that stands for nothing.
const REMOVE: &str = "remove it";

/// What pairs the delimiters up.
struct Balanced {
    fixes: Vec<Fix>,
    certain: bool,
}

/// A way to give one delimiter a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fix {
    /// Close what `opening` opened at `opened`.
    Close { opening: char, opened: usize, at: usize },
    /// Drop a closing delimiter.
    Drop { closing: char, at: usize },
    /// Open what is closed at `closed`.
    Open { at: usize, closed: usize },
}

impl Fix {
    /// Returns the place that is reported.
    fn place(&self) -> usize {
        match *self {
            Fix::Close { opened, .. } => opened,
            Fix::Drop { at, .. } | Fix::Open { at, .. } => at,
        }
    }

    fn edit(&self) -> Replacement {
        match *self {
            Fix::Close { opening, at, .. } => {
                let text = match opening {
                    '{' => "}",
                    '(' => ")",
                    _ => "]",
                };
                Replacement { start: at, end: at, text }
            }
            Fix::Drop { at, .. } => Replacement { start: at, end: at + 1, text: " " },
            Fix::Open { at, .. } => Replacement { start: at, end: at, text: " {" },
        }
    }

    /// Returns what it does for a user.
    fn title(&self) -> String {
        match *self {
            Fix::Close { opening, .. } => format!("add the missing `{}`", partner(opening)),
            Fix::Drop { .. } => "remove it".to_string(),
            Fix::Open { .. } => "add the missing `{`".to_string(),
        }
    }

    fn diagnostic(&self) -> Diagnostic {
        match *self {
            Fix::Close { opening, opened, at } => unclosed(opening, opened, at),
            Fix::Drop { closing, at } => unopened(closing, at),
            Fix::Open { at, closed } => not_opened(at, closed),
        }
    }
}

/// How much indentation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Braces of several lines close at the beginning of a line.
    Strict,
    /// They close anywhere.
    Lenient,
    /// Only keywords mean something.
    Plain,
}

/// Returns the fewest fixes after which delimiters pair up, or where they are nested too deeply.
fn balance(text: &str, lexed: &Lexed) -> Result<Balanced, usize> {
    if pairs_up(lexed)? {
        return Ok(Balanced { fixes: Vec::new(), certain: true });
    }
    let mut best: Option<Balanced> = None;
    for reading in [Reading::Strict, Reading::Lenient, Reading::Plain] {
        let fixes = Balancing { text, lines: &lexed.lines, reading, open: Vec::new(), fixes: Vec::new() };
        let fixes = fixes.run()?;
        if best.as_ref().is_none_or(|best| fixes.len() < best.fixes.len()) {
            best = Some(Balanced { fixes, certain: reading != Reading::Plain });
        }
    }
    Ok(best.expect("there is a reading"))
}

/// Returns whether every delimiter has a partner of its kind as the text stands.
fn pairs_up(lexed: &Lexed) -> Result<bool, usize> {
    let mut open = Vec::new();
    for delimiter in lexed.lines.iter().flat_map(|line| &line.delimiters) {
        if matches!(delimiter.character, '{' | '(' | '[') {
            open.push(delimiter.character);
            if open.len() > MAX_DEPTH {
                return Err(delimiter.at);
            }
        } else if open.pop().map(partner) != Some(delimiter.character) {
            return Ok(false);
        }
    }
    Ok(open.is_empty())
}

/// An opening delimiter that waits for its partner.
#[derive(Debug, Clone, Copy)]
struct Open {
    character: char,
    at: usize,
    /// Its line, as an index.
    line: usize,
}

struct Balancing<'a> {
    text: &'a str,
    lines: &'a [SourceLine],
    reading: Reading,
    open: Vec<Open>,
    fixes: Vec<Fix>,
}

impl Balancing<'_> {
    fn run(mut self) -> Result<Vec<Fix>, usize> {
        for index in 0..self.lines.len() {
            let dropped = self.begin_line(index);
            for (place, delimiter) in self.lines[index].delimiters.iter().enumerate() {
                if place == 0 && dropped {
                    continue;
                }
                if matches!(delimiter.character, '{' | '(' | '[') {
                    self.open.push(Open { character: delimiter.character, at: delimiter.at, line: index });
                    if self.open.len() > MAX_DEPTH {
                        return Err(delimiter.at);
                    }
                } else {
                    self.close(index, *delimiter);
                }
            }
        }
        let end = self.lines.last().map_or(0, |line| line.end);
        self.close_down_to(0, end);
        Ok(self.fixes)
    }

    /// Closes what cannot reach this line. Returns whether the delimiter the line begins with is dropped.
    fn begin_line(&mut self, index: usize) -> bool {
        let line = &self.lines[index];
        let before = index.checked_sub(1).map_or(line.first, |before| self.lines[before].end);
        if let Some(depth) = depth_of(&self.text[line.first..line.end]) {
            self.close_down_to(depth, before);
        }
        if self.reading == Reading::Plain {
            return false;
        }
        let closing = line
            .delimiters
            .first()
            .filter(|first| first.at == line.first && matches!(first.character, '}' | ')' | ']'));
        let Some(closing) = closing else {
            while self.open.last().is_some_and(|open| self.lines[open.line].indent >= line.indent) {
                self.close_down_to(self.open.len() - 1, before);
            }
            return false;
        };
        let fits = |open: &Open| {
            partner(open.character) == closing.character && self.lines[open.line].indent == line.indent
        };
        if let Some(depth) = self.open.iter().rposition(fits) {
            self.close_down_to(depth + 1, before);
            return false;
        }
        // It closes nothing of its own depth, so it is one too many, or what it closes was never opened.
        let shallower = |open: &Open| self.lines[open.line].indent < line.indent;
        if !self.open.iter().all(shallower) {
            return false;
        }
        match self.header(index).filter(|_| closing.character == '}') {
            Some(at) => self.fixes.push(Fix::Open { at, closed: closing.at }),
            None => self.fixes.push(Fix::Drop { closing: closing.character, at: closing.at }),
        }
        true
    }

    /// Returns where the line ends that the lines above `index` belong to, if it opens nothing.
    fn header(&self, index: usize) -> Option<usize> {
        let depth = self.lines[index].indent;
        let header = self.lines[..index].iter().rposition(|line| line.indent <= depth)?;
        let line = &self.lines[header];
        let opens = self.open.iter().any(|open| open.line == header);
        let is_word = self.text[line.first..].starts_with(|c: char| c.is_ascii_alphabetic());
        let text = &self.text[line.first..line.end];
        let is_item = !text.contains('=') && line.delimiters.is_empty();
        (header + 1 < index && line.indent == depth && !opens && is_word && is_item).then_some(line.end)
    }

    fn close(&mut self, index: usize, delimiter: Delimiter) {
        let fits = |open: &Open| partner(open.character) == delimiter.character;
        let depth = self.open.iter().rposition(fits);
        // Where braces of several lines close at the beginning of a line, this one is not theirs.
        let stray = self.reading == Reading::Strict
            && delimiter.character == '}'
            && delimiter.at != self.lines[index].first
            && depth.is_some_and(|depth| self.open[depth].line != index);
        match depth.filter(|_| !stray) {
            Some(depth) => {
                self.close_down_to(depth + 1, delimiter.after);
                self.open.pop();
            }
            None => {
                let line = &self.lines[index];
                let head = head_length(&self.text[line.first..line.end]).map(|length| line.first + length);
                match head.filter(|_| delimiter.character == '}') {
                    Some(at) => self.fixes.push(Fix::Open { at, closed: delimiter.at }),
                    None => self.fixes.push(Fix::Drop { closing: delimiter.character, at: delimiter.at }),
                }
            }
        }
    }

    fn close_down_to(&mut self, depth: usize, at: usize) {
        while self.open.len() > depth {
            let open = self.open.pop().expect("it is not empty");
            // Nothing is closed before it was opened.
            self.fixes.push(Fix::Close { opening: open.character, opened: open.at, at: at.max(open.at + 1) });
        }
    }
}

/// Returns how many delimiters can be open before a line, if it begins with a keyword that says so.
fn depth_of(line: &str) -> Option<usize> {
    let (first, rest) = word(line)?;
    let (second, after) = word(rest).map_or(("", rest), |(second, after)| (second, after));
    let starts = |rest: &str, what: &str| rest.trim_start().starts_with(what);
    match first {
        "model" if !second.is_empty() && starts(after, "{") => Some(0),
        "train" if starts(rest, "{") => Some(0),
        "base" if starts(rest, "\"") => Some(0),
        "let" | "network" if !second.is_empty() && starts(after, "=") => Some(1),
        "block" if !second.is_empty() && starts(after, "{") => Some(1),
        "state" | "gradient" | "predict" | "without" if !second.is_empty() => Some(1),
        "halt" if !second.is_empty() && !starts(rest, "=") => Some(1),
        "tokens" | "puzzles" | "segment" | "infer" if starts(rest, "{") => Some(1),
        _ => None,
    }
}

/// Returns the length of what stands before the `{` that a line such as `tokens vocab = 6 }` lacks.
fn head_length(line: &str) -> Option<usize> {
    let (first, rest) = word(line)?;
    let words = match first {
        "tokens" | "puzzles" | "segment" | "infer" | "train" => 1,
        "block" | "halt" | "model" | "repeat" => 2,
        _ => return None,
    };
    let rest = if words == 1 { rest } else { word(rest)?.1 };
    let follows = rest.trim_start();
    (!follows.is_empty() && !follows.starts_with(['{', '=', '('])).then_some(line.len() - rest.len())
}

/// Splits the word a text begins with, white space aside, from what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn partner(opening: char) -> char {
    match opening {
        '{' => '}',
        '(' => ')',
        _ => ']',
    }
}

fn unclosed(opening: char, at: usize, expected_at: usize) -> Diagnostic {
    let closing = partner(opening);
    Diagnostic::error(
        Code::UnbalancedDelimiter,
        Span::new(at, at + 1),
        format!("`{opening}` is never closed"),
    )
    .label("opened here")
    .secondary(Span::new(expected_at, expected_at), format!("no `{closing}` up to here"))
    .help(format!("add the missing `{closing}`"))
}

fn unopened(closing: char, at: usize) -> Diagnostic {
    Diagnostic::error(Code::UnbalancedDelimiter, Span::new(at, at + 1), format!("`{closing}` closes nothing"))
        .label("nothing is open here")
        .help("remove it, or add what should open before it")
}

fn not_opened(at: usize, closed: usize) -> Diagnostic {
    Diagnostic::error(Code::UnbalancedDelimiter, Span::new(at, at), "a `{` is missing")
        .label("expected `{`")
        .secondary(Span::new(closed, closed + 1), "nothing else is closed here")
        .help("add the missing `{`")
}

fn returns_alone(at: usize) -> Diagnostic {
    let message = "a line ends with a carriage return alone, which does not end a line here";
    Diagnostic::error(Code::UnexpectedCharacter, Span::new(at, at + 1), message)
        .label("carriage return")
        .help("save the file with line feeds at the ends of its lines, as LF or CRLF")
}

fn too_deep(at: usize) -> Diagnostic {
    Diagnostic::error(
        Code::NestingTooDeep,
        Span::new(at, at + 1),
        format!("more than {MAX_DEPTH} delimiters are open at once"),
    )
    .label("one too many")
    .help("nest less deeply")
}

fn unclosed_string(span: Span) -> Diagnostic {
    Diagnostic::error(Code::UnclosedString, span, "this string is never closed")
        .label("no `\"` ends it on this line")
}

fn unknown_escape(span: Span, escaped: char) -> Diagnostic {
    Diagnostic::error(Code::UnknownEscape, span, format!("`\\{escaped}` means nothing in a string"))
        .label("expected `\\\\`, `\\\"`, `\\n` or `\\t`")
        .help("write `\\\\` for a backslash; paths may be written with `/`")
}

fn other_quotes(span: Span, found: char) -> Diagnostic {
    Diagnostic::error(
        Code::UnexpectedCharacter,
        span,
        format!("strings stand between `\"`, found {}", spelled(found)),
    )
    .label("expected `\"…\"`")
}

fn foreign_word(span: Span, word: &str) -> Diagnostic {
    let message = format!("names are made of the letters a to z, digits and `_`, found `{word}`");
    Diagnostic::error(Code::UnexpectedCharacter, span, message)
        .label("has another letter")
        .help("spell it with plain letters")
}

fn unexpected(span: Span, found: char, help: &str) -> Diagnostic {
    Diagnostic::error(Code::UnexpectedCharacter, span, format!("{} means nothing here", spelled(found)))
        .label("not expected")
        .help(help)
}

/// Returns a character as a message shows it: by its number where it cannot be seen.
fn spelled(character: char) -> String {
    let invisible = character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if invisible {
        format!("the invisible character U+{:04X}", u32::from(character))
    } else if character == '`' {
        "a backquote".to_string()
    } else {
        format!("`{character}`")
    }
}

#[cfg(test)]
mod tests {
    use super::repair;
    use crate::span::{Source, Span};

    fn messages(text: &str) -> Vec<String> {
        repair(text).diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    /// Returns the repaired text and the lines that are reported.
    fn repaired(text: &str) -> (String, Vec<usize>) {
        let source = Source::new("a.hrm", text);
        let repaired = repair(text);
        let line = |diagnostic: &super::Diagnostic| source.location(diagnostic.primary.span.start).line;
        (repaired.text.to_string(), repaired.diagnostics.iter().map(line).collect())
    }

    #[test]
    fn sound_text_passes_whatever_strings_and_comments_hold() {
        let text = "a { b(\"}\\\"{é\") # ) é ;\n [c] }";
        assert!(messages(text).is_empty());
        assert_eq!(repair(text).text, text);
    }

    #[test]
    fn each_delimiter_without_a_partner_is_reported() {
        assert_eq!(messages("a { b( }"), ["`(` is never closed"]);
        assert_eq!(messages("a } b )"), ["`}` closes nothing", "`)` closes nothing"]);
        assert_eq!(messages("a { b {"), ["`{` is never closed", "`{` is never closed"]);
    }

    #[test]
    fn a_line_of_any_length_is_read_once() {
        for (text, found) in [("}".repeat(300_000), 300_000), ("a ".repeat(1_000_000) + "}", 1)] {
            assert_eq!(repair(&text).diagnostics.len(), found);
        }
    }

    #[test]
    fn endless_nesting_is_refused_once() {
        for open in ["(", "{", "[", "a(", "repeat 2 {\n"] {
            let repaired = repair(&open.repeat(100_000)).diagnostics;
            assert_eq!(repaired.len(), 1, "{open}");
        }
    }

    #[test]
    fn a_list_ends_before_a_line_that_is_no_deeper() {
        let (text, lines) = repaired("model a {\n  tokens { vocab = 6  # six\n  puzzles { width = 3 }\n}\n");
        assert_eq!(text, "model a {\n  tokens { vocab = 6}  # six\n  puzzles { width = 3 }\n}\n");
        assert_eq!(lines, [2]);
    }

    #[test]
    fn a_block_ends_before_a_keyword_even_without_indentation() {
        let (text, lines) = repaired("model a {\nblock b {\nheads = 2\nnetwork n = 2 * b\n}\n");
        assert_eq!(text, "model a {\nblock b {\nheads = 2}\nnetwork n = 2 * b\n}\n");
        assert_eq!(lines, [2]);
    }

    #[test]
    fn settings_end_at_the_end_of_their_line() {
        let (text, lines) = repaired("train {\n  optimizer = adamw(lr = 1\n  batch = 3\n}\n");
        assert_eq!(text, "train {\n  optimizer = adamw(lr = 1)\n  batch = 3\n}\n");
        assert_eq!(lines, [2]);
    }

    #[test]
    fn a_brace_too_many_is_dropped_where_it_stands() {
        let (text, lines) = repaired("model a {\n  tokens { vocab = 6 } }\n  state z\n}\n");
        assert_eq!(text, "model a {\n  tokens { vocab = 6 }  \n  state z\n}\n");
        assert_eq!(lines, [2]);
        let (_, lines) = repaired("model a {\n  segment {\n    z <- f(z)\n    }\n  }\n}\n");
        assert_eq!(lines, [4]);
    }

    #[test]
    fn a_missing_opening_brace_is_put_behind_the_head() {
        let (text, lines) = repaired("model a {\n  block b\n    heads = 2\n  }\n  state z\n}\n");
        assert_eq!(text, "model a {\n  block b {\n    heads = 2\n  }\n  state z\n}\n");
        assert_eq!(lines, [2]);
        let (text, lines) = repaired("model a {\n  tokens vocab = 6 }\n  state z\n}\n");
        assert_eq!(text, "model a {\n  tokens { vocab = 6 }\n  state z\n}\n");
        assert_eq!(lines, [2]);
    }

    #[test]
    fn a_string_ends_with_its_line() {
        let (text, lines) = repaired("train {\n  data = maze(\"a\n  batch = 3\n}\n");
        assert_eq!(text, "train {\n  data = maze(\"a\")\n  batch = 3\n}\n");
        assert_eq!(lines, [2], "the parenthesis in the string is not reported");
        assert_eq!(messages("a = \"x\\y\""), ["`\\y` means nothing in a string"]);
        assert_eq!(messages("a = \"x\\"), ["this string is never closed"]);
    }

    #[test]
    fn characters_of_other_systems_are_read_as_what_they_stand_for() {
        assert_eq!(repair("\u{feff}a").text, "a");
        assert!(messages("\u{feff}a").is_empty());
        assert_eq!(repaired("a = “b\\c”; d = 2 × 3"), ("a = \"b\\\\c\", d = 2 * 3".to_string(), vec![1; 3]));
        assert_eq!(
            messages("naïve = 1"),
            ["names are made of the letters a to z, digits and `_`, found `naïve`"]
        );
        assert_eq!(messages("a\u{a0}= 1"), ["the invisible character U+00A0 means nothing here"]);
    }

    #[test]
    fn places_are_those_of_the_original() {
        let text = "a { b\n\u{a0}c = ‘d’ }} e";
        let repaired = repair(text);
        let at = repaired.text.find('e').expect("it is kept");
        let original = repaired.original(Span::new(at, at + 1));
        assert_eq!(&text[original.start..original.end], "e");
    }
}
