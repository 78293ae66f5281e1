//! Turns what the parser generator says about a failure into words a user knows.

use pest::error::{ErrorVariant, InputLocation};

use super::grammar::Rule;
use super::{STATEMENT_KEYWORDS, nearest};
use crate::diagnostic::{Code, Diagnostic};
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
    let refused = &text[offset..end];
    let separator = || (expected == SEPARATOR).then(|| "put a comma or a new line before it".to_string());
    let help = habit_help(refused, &text[span.start..], positives).or_else(|| {
        is_decimal_comma(text, span.start).then_some("write a fraction with a point, as in `0.1`")
    });
    Diagnostic::error(code, span, format!("expected {expected}, found {found}"))
        .label(format!("expected {expected}"))
        .maybe_help(
            help.map(str::to_string)
                .or_else(|| keyword_help(refused, &text[span.start..], positives))
                .or_else(separator),
        )
}

/// Suggests what to write where the text follows the habits of another language.
///
/// `refused` is the item that does not match, `rest` the text from where it stops matching.
fn habit_help(refused: &str, rest: &str, positives: &[Rule]) -> Option<&'static str> {
    let expects = |rule: Rule| positives.contains(&rule);
    if ["//", "/*", "--"].iter().any(|comment| refused.starts_with(comment) || rest.starts_with(comment)) {
        return Some("begin comments with `#`");
    }
    match (first_word(refused), rest.chars().next()) {
        ("for" | "while" | "loop", _) => Some("write a loop as `label: repeat N { … }`"),
        ("const" | "var" | "def", _) => Some("define numbers with `let name = value`"),
        ("data", _) if refused.contains('/') && !refused.contains('"') => {
            Some("put the path of the folder between `\"`")
        }
        (_, Some('{'))
            if refused.contains('=') && positives.iter().any(|rule| phrase(*rule) == SEPARATOR) =>
        {
            Some("put the settings between parentheses, `(…)`")
        }
        (_, Some('=')) if expects(Rule::arrow) => Some("update a state with `<-`"),
        (_, Some(':')) if expects(Rule::equals) && expects(Rule::open_brace) => Some("leave the `:` out"),
        (_, Some(':')) if expects(Rule::equals) => Some("put `=` between a key and its value"),
        (_, None | Some('}' | ',' | ')' | '\n' | '\r' | '#'))
            if expects(Rule::equals) && !expects(Rule::open_brace) =>
        {
            Some("give it a value, as in `key = value`")
        }
        (_, Some('<')) if expects(Rule::equals) => Some("updates stand in `segment { … }`"),
        (_, Some('(')) if expects(Rule::open_brace) => Some("put it between braces, `{ … }`"),
        (_, Some('*')) if refused.contains("**") => Some("there are no powers; write a product"),
        (_, Some('+' | '-' | '*' | '/')) if rest[1..].starts_with('=') => {
            Some("write the whole update, as in `z <- net(z + x)`")
        }
        _ => None,
    }
}

/// Returns whether a digit at `at` follows a comma that follows a digit.
fn is_decimal_comma(text: &str, at: usize) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    let before = text[..at].strip_suffix(',');
    text[at..].starts_with(is_digit) && before.is_some_and(|before| before.ends_with(is_digit))
}

/// Returns the word a text begins with; empty if it begins with none.
fn first_word(text: &str) -> &str {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && first_word(text) == text
}

/// Suggests a keyword where the refused text begins with something like one.
fn keyword_help(refused: &str, rest: &str, positives: &[Rule]) -> Option<String> {
    let expected = positives.iter().map(|rule| phrase(*rule).trim_matches('`'));
    if let Some(keyword) = nearest(first_word(rest), expected.filter(|phrase| is_word(phrase))) {
        return Some(format!("did you mean `{keyword}`?"));
    }
    let word = first_word(refused);
    let known = STATEMENT_KEYWORDS.iter().copied().chain(["repeat", "model", "train", "base"]);
    if word.is_empty() || known.clone().any(|keyword| keyword == word) {
        return None;
    }
    let candidates: Vec<&str> =
        if positives.contains(&Rule::top) { vec!["base", "model", "train"] } else { known.collect() };
    nearest(word, candidates).map(|keyword| format!("did you mean `{keyword}`?"))
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
