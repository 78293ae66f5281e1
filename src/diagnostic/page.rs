//! A page for every code: what it means, a spec that raises it, and the same spec mended.
//!
//! Pages are text files in the manner of Markdown under `pages/`, one a code: a title, what the code means, a
//! spec between fences, how to mend it, and the mended spec. Where the fault lies on the command line, a
//! second pair of fences holds the command.

use super::Code;

/// What `hrmc help CODE` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What the code means, in paragraphs.
    pub about: &'static str,
    /// A spec that raises the code and no other.
    pub wrong: Example,
    /// How to mend it.
    pub mending: &'static str,
    /// The spec without the fault.
    pub mended: Example,
}

/// A spec and how it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The text of the spec.
    pub spec: &'static str,
    /// Values of `--set`.
    pub overrides: Vec<&'static str>,
}

/// What a fence says of a spec.
const SPEC: &str = "```hrm\n";
/// What a fence says of a command.
const COMMAND: &str = "```sh\n";
const FENCE: &str = "\n```\n";

impl Code {
    /// Returns the page of the code.
    pub fn page(self) -> Page {
        parse(self.page_text()).expect("a test reads every page")
    }
}

/// Takes a page apart; `None` if it lacks something.
fn parse(text: &'static str) -> Option<Page> {
    let (title, rest) = text.split_once('\n')?;
    title.strip_prefix("# ")?;
    let (about, rest) = rest.split_once(SPEC)?;
    let (wrong, rest) = example(rest)?;
    let (mending, rest) = rest.split_once(SPEC)?;
    let (mended, rest) = example(rest)?;
    let page = Page { about: about.trim(), wrong, mending: mending.trim(), mended };
    rest.trim().is_empty().then_some(page)
}

fn example(text: &'static str) -> Option<(Example, &'static str)> {
    let (spec, mut rest) = text.split_once(FENCE)?;
    let mut overrides = Vec::new();
    while let Some(command) = rest.trim_start().strip_prefix(COMMAND) {
        let (command, after) = command.split_once(FENCE)?;
        overrides.extend(command.split(" --set ").skip(1));
        rest = after;
    }
    Some((Example { spec, overrides }, rest))
}

#[cfg(test)]
mod tests {
    use super::{COMMAND, parse};
    use crate::diagnostic::CODES;

    #[test]
    fn every_page_has_its_title_and_all_parts() {
        for code in CODES {
            let text = code.page_text();
            assert_eq!(text.lines().next(), Some(format!("# {}", code.as_str()).as_str()));
            let page = parse(text).unwrap_or_else(|| panic!("the page of `{}` lacks a part", code.as_str()));
            for part in [page.about, page.mending] {
                assert!(part.ends_with('.'), "`{}`: {part}", code.as_str());
                assert!(part.lines().all(|line| line.chars().count() <= 100), "`{}`", code.as_str());
            }
            assert_ne!(page.wrong, page.mended, "`{}` is not mended", code.as_str());
            assert_eq!(page.wrong.overrides.is_empty(), !text.contains(COMMAND), "`{}`", code.as_str());
        }
    }

    #[test]
    fn a_page_without_a_mended_spec_is_refused() {
        assert_eq!(parse("# a\n\nabout\n\n```hrm\nmodel\n```\n\nmend it\n"), None);
    }
}
