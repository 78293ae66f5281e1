//! Finds braces, brackets and parentheses without a partner.
//!
//! The grammar needs balanced text to go on after a mistake, so this runs before it. A closing
//! delimiter of the wrong kind closes everything up to the nearest opening one of its kind.

use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;

/// Deepest nesting that is read; far beyond any spec and far below what exhausts the stack.
const DEEPEST: usize = 64;

/// Returns one diagnostic for every delimiter without a partner.
pub(super) fn check(text: &str) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '#' => while characters.next_if(|&(_, next)| next != '\n').is_some() {},
            '"' => {
                let mut escaped = false;
                while let Some((_, next)) = characters.next_if(|&(_, next)| next != '\n') {
                    if next == '"' && !escaped {
                        break;
                    }
                    escaped = next == '\\' && !escaped;
                }
            }
            '{' | '(' | '[' => {
                open.push((character, at));
                if open.len() == DEEPEST + 1 {
                    return vec![too_deep(at)];
                }
            }
            '}' | ')' | ']' => match open.iter().rposition(|&(opening, _)| partner(opening) == character) {
                Some(index) => {
                    diagnostics.extend(open.drain(index + 1..).map(|(o, place)| unclosed(o, place, at)));
                    open.pop();
                }
                None => diagnostics.push(unopened(character, at)),
            },
            _ => {}
        }
    }
    diagnostics
        .extend(open.into_iter().map(|(opening, place)| unclosed(opening, place, text.trim_end().len())));
    diagnostics
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

fn too_deep(at: usize) -> Diagnostic {
    Diagnostic::error(
        Code::UnbalancedDelimiter,
        Span::new(at, at + 1),
        format!("more than {DEEPEST} delimiters are open at once"),
    )
    .help("nest less deeply")
}

#[cfg(test)]
mod tests {
    use super::check;

    fn messages(text: &str) -> Vec<String> {
        check(text).into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn balanced_text_passes_whatever_strings_and_comments_hold() {
        assert!(messages("a { b(\"}\\\"{\") # ) }\n [c] }").is_empty());
    }

    #[test]
    fn each_delimiter_without_a_partner_is_reported() {
        assert_eq!(messages("a { b( }"), ["`(` is never closed"]);
        assert_eq!(messages("a } b )"), ["`}` closes nothing", "`)` closes nothing"]);
        assert_eq!(messages("a { b {"), ["`{` is never closed", "`{` is never closed"]);
    }

    #[test]
    fn endless_nesting_is_refused_once() {
        assert_eq!(messages(&"(".repeat(100_000)).len(), 1);
    }
}
