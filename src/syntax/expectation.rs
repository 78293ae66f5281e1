//! Turns what the parser generator says about a failure into words a user knows.

use pest::error::{ErrorVariant, InputLocation};

use super::grammar::Rule;
use super::{STATEMENT_KEYWORDS, Scanner, nearest};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::span::Span;

/// Returns the diagnostic for text that does not match.
///
/// `text` is the whole source, `offset` where the refused part begins in it, `end` where it ends.
pub(super) fn explain(text: &str, offset: usize, end: usize, error: &pest::error::Error<Rule>) -> Diagnostic {
    let at = offset
        + match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
    let positives = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { .. } => &[],
    };
    let expected = describe(positives);
    let (found, span) = found(text, at);
    let code = if expected == SEPARATOR { Code::MissingSeparator } else { Code::Syntax };
    let refused = Span::new(offset, end);
    let diagnostic = Diagnostic::error(code, span, format!("expected {expected}, found {found}"))
        .label(format!("expected {expected}"));
    if let Some((help, edits)) = habit(text, refused, span, positives) {
        return if edits.is_empty() { diagnostic.help(help) } else { diagnostic.mend(help, edits) };
    }
    if let Some(comma) = decimal_comma(text, span.start) {
        let point = [Edit::replace(comma, ".")];
        return diagnostic.mend("write a fraction with a point, as in `0.1`", point);
    }
    if let Some((place, keyword)) = meant_keyword(text, refused, span, positives) {
        return diagnostic.meant(place, keyword);
    }
    // Whatever stands before it ends there.
    let gap = Span::new(text[..span.start].trim_end_matches([' ', '\t', '\r']).len(), span.start);
    match expected.as_str() {
        SEPARATOR => {
            // Only a list has commas.
            let separator = if positives.contains(&Rule::separator) { ", " } else { "\n" };
            diagnostic.mend("put a comma or a new line before it", [Edit::replace(gap, separator)])
        }
        "`=`" | "`from`" if span.start < span.end => {
            let word = expected.trim_matches('`');
            diagnostic.offer(format!("write {expected} before it"), [Edit::replace(gap, format!(" {word} "))])
        }
        _ => diagnostic,
    }
}

/// Returns what to write where the text follows the habits of another language, with the edits that are certain.
///
/// `refused` is the item that does not match, `found` what it stops matching at.
fn habit(text: &str, refused: Span, found: Span, positives: &[Rule]) -> Option<(&'static str, Vec<Edit>)> {
    let expects = |rule: Rule| positives.contains(&rule);
    let start = refused.start;
    let (refused, rest) = (&text[start..refused.end], &text[found.start..]);
    let word = first_word(refused);
    let first = Span::new(found.start, found.start + rest.chars().next().map_or(0, char::len_utf8));
    for comment in ["//", "/*", "--"] {
        let place = [(start, refused), (found.start, rest)];
        if let Some((at, _)) = place.into_iter().find(|(_, text)| text.starts_with(comment)) {
            let begin = Edit::replace(Span::new(at, at + comment.len()), "#");
            // What ends a comment of several lines stays behind.
            let edits = if comment == "/*" { Vec::new() } else { vec![begin] };
            return Some(("begin comments with `#`", edits));
        }
    }
    let advice = match (word, rest.chars().next()) {
        ("for" | "while" | "loop", _) => ("write a loop as `label: repeat N { … }`", Vec::new()),
        ("const" | "var" | "def", _) => {
            let keyword = Span::new(start, start + word.len());
            ("define numbers with `let name = value`", vec![Edit::replace(keyword, "let")])
        }
        ("data", _) if refused.contains('/') && !refused.contains('"') => {
            let value = refused.split_once('=').map(|(_, value)| value.trim_start());
            let quotes = value.filter(|value| !value.is_empty()).map_or(Vec::new(), |value| {
                let end = start + refused.len();
                let place = Span::new(end - value.len(), end);
                vec![Edit::before(place, "\""), Edit::behind(place, "\"")]
            });
            ("put the path of the folder between `\"`", quotes)
        }
        (_, Some('{'))
            if refused.contains('=') && positives.iter().any(|rule| phrase(*rule) == SEPARATOR) =>
        {
            let edits = delimited(text, found.start, ["(", ")"]);
            ("put the settings between parentheses, `(…)`", edits)
        }
        (_, Some('=')) if expects(Rule::arrow) => {
            ("update a state with `<-`", vec![Edit::replace(first, "<-")])
        }
        (_, Some(':')) if expects(Rule::equals) && expects(Rule::open_brace) => {
            ("leave the `:` out", vec![Edit::replace(first, "")])
        }
        (_, Some(':')) if expects(Rule::equals) => {
            ("put `=` between a key and its value", vec![Edit::replace(first, " =")])
        }
        (_, None | Some('}' | ',' | ')' | '\n' | '\r' | '#'))
            if expects(Rule::equals) && !expects(Rule::open_brace) =>
        {
            ("give it a value, as in `key = value`", Vec::new())
        }
        (_, Some('<')) if expects(Rule::equals) => ("updates stand in `segment { … }`", Vec::new()),
        (_, Some('(')) if expects(Rule::open_brace) => {
            ("put it between braces, `{ … }`", delimited(text, found.start, [" { ", " }"]))
        }
        (_, Some('*')) if refused.contains("**") => ("there are no powers; write a product", Vec::new()),
        (_, Some('+' | '-' | '*' | '/')) if rest[1..].starts_with('=') => {
            ("write the whole update, as in `z <- net(z + x)`", Vec::new())
        }
        _ => return None,
    };
    Some(advice)
}

/// Returns the edits that put other delimiters around what the delimiter at `start` opens.
fn delimited(text: &str, start: usize, [open, close]: [&str; 2]) -> Vec<Edit> {
    let mut scanner = Scanner::new(text);
    scanner.go_to(start);
    let mut depth = 0;
    for token in scanner {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let opening = Span::new(start, start + 1);
            return vec![Edit::replace(opening, open), Edit::replace(token.span, close)];
        }
    }
    Vec::new()
}

/// Returns the comma before a digit at `at`, if it follows another digit.
fn decimal_comma(text: &str, at: usize) -> Option<Span> {
    let is_digit = |c: char| c.is_ascii_digit();
    let before = text[..at].strip_suffix(',')?;
    (text[at..].starts_with(is_digit) && before.ends_with(is_digit)).then(|| Span::new(before.len(), at))
}

/// Returns the word a text begins with; empty if it begins with none.
fn first_word(text: &str) -> &str {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && first_word(text) == text
}

/// Returns the keyword that was meant by a word, where the refused text or the rest of it begins with something like
/// one, and the place of the word.
fn meant_keyword(text: &str, refused: Span, found: Span, positives: &[Rule]) -> Option<(Span, &'static str)> {
    let expected = positives.iter().map(|rule| phrase(*rule).trim_matches('`'));
    let word = first_word(&text[found.start..]);
    if let Some(keyword) = nearest(word, expected.filter(|phrase| is_word(phrase))) {
        return Some((Span::new(found.start, found.start + word.len()), keyword));
    }
    let word = first_word(&text[refused.start..refused.end]);
    let known = STATEMENT_KEYWORDS.iter().copied().chain(["repeat", "model", "train", "base"]);
    if word.is_empty() || known.clone().any(|keyword| keyword == word) {
        return None;
    }
    let candidates: Vec<&str> =
        if positives.contains(&Rule::top) { vec!["base", "model", "train"] } else { known.collect() };
    let place = Span::new(refused.start, refused.start + word.len());
    nearest(word, candidates).map(|keyword| (place, keyword))
}

fn describe(positives: &[Rule]) -> String {
    // Where an item may end, its optional continuations are noise, and so is what a value may begin with.
    if positives.iter().any(|rule| phrase(*rule) == SEPARATOR) {
        return SEPARATOR.to_string();
    }
    let values = positives.iter().any(|rule| phrase(*rule) == VALUE);
    let mut phrases: Vec<&str> = Vec::new();
    for rule in positives {
        let phrase = phrase(*rule);
        let noise = values && matches!(rule, Rule::minus | Rule::open_paren | Rule::name);
        if !noise && !phrase.is_empty() && !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
    }
    match phrases.split_last() {
        None => "something else".to_string(),
        Some((last, [])) => (*last).to_string(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

const SEPARATOR: &str = "a comma or a new line";
const VALUE: &str = "a value";

/// Returns what a rule is called in messages; empty where it is never worth naming.
fn phrase(rule: Rule) -> &'static str {
    match rule {
        Rule::EOI
        | Rule::end
        | Rule::separator
        | Rule::comma
        | Rule::entry_line
        | Rule::without_line
        | Rule::statement_line
        | Rule::step_line
        | Rule::top_line => SEPARATOR,
        Rule::value
        | Rule::lone_value
        | Rule::expression
        | Rule::term
        | Rule::factor
        | Rule::primary
        | Rule::number
        | Rule::string
        | Rule::call
        | Rule::tuple
        | Rule::digits => VALUE,
        Rule::argument | Rule::positional => "an argument",
        Rule::arguments | Rule::open_paren => "`(`",
        Rule::close_paren => "`)`",
        Rule::position | Rule::open_bracket => "`[`",
        Rule::close_bracket => "`]`",
        Rule::entries | Rule::steps | Rule::open_brace => "`{`",
        Rule::close_brace => "`}`",
        Rule::equals => "`=`",
        Rule::arrow => "`<-`",
        Rule::colon => "`:`",
        Rule::plus => "`+`",
        Rule::minus => "`-`",
        Rule::star => "`*`",
        Rule::slash => "`/`",
        Rule::kw_base => "`base`",
        Rule::kw_without => "`without`",
        Rule::kw_model => "`model`",
        Rule::kw_train => "`train`",
        Rule::kw_let => "`let`",
        Rule::kw_block => "`block`",
        Rule::kw_network => "`network`",
        Rule::kw_state => "`state`",
        Rule::kw_segment => "`segment`",
        Rule::kw_repeat => "`repeat`",
        Rule::kw_gradient => "`gradient`",
        Rule::kw_predict => "`predict`",
        Rule::kw_from => "`from`",
        Rule::kw_halt => "`halt`",
        Rule::name | Rule::path | Rule::lone_path | Rule::policy | Rule::lone_policy => "a name",
        Rule::unit => "a unit",
        Rule::entry | Rule::entry_slot => "`key = value`",
        Rule::statement
        | Rule::statement_slot
        | Rule::let_statement
        | Rule::block_statement
        | Rule::network_statement
        | Rule::state_statement
        | Rule::segment_statement
        | Rule::gradient_statement
        | Rule::predict_statement
        | Rule::halt_statement
        | Rule::without_statement
        | Rule::section => "a statement",
        Rule::without_entry => "`without`",
        Rule::step | Rule::step_slot | Rule::update => "an update or a `repeat`",
        Rule::repeat => "`repeat`",
        Rule::label => "a label",
        Rule::top | Rule::top_slot | Rule::base | Rule::model | Rule::train | Rule::file => {
            "`model` or `train`"
        }
        Rule::WHITESPACE
        | Rule::COMMENT
        | Rule::word_start
        | Rule::word_part
        | Rule::newline
        | Rule::keyword
        | Rule::another
        | Rule::skipped
        | Rule::balanced => "",
    }
}

/// Returns what stands at `at` or behind the white space there, in words, and its place.
fn found(text: &str, at: usize) -> (String, Span) {
    let start = at + text[at..].len() - text[at..].trim_start_matches([' ', '\t', '\r']).len();
    let rest = &text[start..];
    let Some(first) = rest.chars().next().filter(|first| !matches!(first, '\n' | '#')) else {
        return ("the end of the line".to_string(), Span::new(at, at));
    };
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let length = if is_word(first) {
        rest.find(|character: char| !is_word(character)).unwrap_or(rest.len())
    } else if rest.starts_with("<-") {
        2
    } else {
        first.len_utf8()
    };
    let span = Span::new(start, start + length);
    match first {
        '"' => ("a string that is not closed or has an unknown escape".to_string(), span),
        _ => (format!("`{}`", &rest[..length]), span),
    }
}
