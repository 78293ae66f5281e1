//! The language reference, looked up by statement and key.
//!
//! The tables of `grammar/REFERENCE.md` are the one place that explains keys; hover and completion show them.

use std::sync::LazyLock;

/// The text of the reference.
const TEXT: &str = include_str!("../../grammar/REFERENCE.md");

/// The tables of the reference.
pub(super) static REFERENCE: LazyLock<LanguageReference> = LazyLock::new(|| LanguageReference::read(TEXT));

/// What the reference says.
#[derive(Debug)]
pub(super) struct LanguageReference {
    sections: Vec<Section>,
}

/// What it says about one statement.
#[derive(Debug)]
struct Section {
    /// The statement, e.g. `predict q`.
    name: String,
    /// The heading, without hashes.
    heading: String,
    /// The first paragraph.
    paragraph: String,
    rows: Vec<KeyRow>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRow {
    /// What is explained: keys, settings, or the word that begins a policy.
    names: Vec<String>,
    /// Words the settings belong to; empty for keys.
    of: Vec<String>,
    /// What it may be and what it means.
    pub(super) value: String,
    /// What it is if it is left out.
    pub(super) default: Option<String>,
}

impl LanguageReference {
    fn read(text: &str) -> LanguageReference {
        let mut sections: Vec<Section> = Vec::new();
        let mut columns: Vec<String> = Vec::new();
        for line in text.lines() {
            if line.starts_with("##") {
                let heading = line.trim_start_matches('#').trim();
                sections.push(Section {
                    name: name(heading),
                    heading: heading.to_string(),
                    paragraph: String::new(),
                    rows: Vec::new(),
                });
                columns.clear();
                continue;
            }
            let Some(section) = sections.last_mut() else { continue };
            let Some(cells) = cells(line) else {
                columns.clear();
                let done = section.paragraph.ends_with("\n\n") || !section.rows.is_empty();
                if !done && (!line.is_empty() || !section.paragraph.is_empty()) {
                    section.paragraph.push_str(line);
                    section.paragraph.push('\n');
                }
                continue;
            };
            if columns.is_empty() {
                columns = cells.iter().map(|cell| cell.to_string()).collect();
            } else if !cells[0].starts_with("---") {
                section.rows.extend(row(&columns, &cells));
            }
        }
        LanguageReference { sections }
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Returns heading and first paragraph of what it says about a statement.
    pub(super) fn statement(&self, name: &str) -> Option<String> {
        let section = self.section(name)?;
        Some(format!("{}\n\n{}", section.heading, section.paragraph.trim_end()))
    }

    /// Returns what it says about a key of a statement, or about a setting of one of its words.
    pub(super) fn key(&self, section: &str, word: Option<&str>, key: &str) -> Option<&KeyRow> {
        let fits = |row: &&KeyRow| match word {
            Some(word) => row.of.is_empty() || row.of.iter().any(|of| of == word),
            None => row.of.is_empty(),
        };
        let rows = self.section(section)?.rows.iter();
        // A setting of the word beats a key of the same name, as `width` of `swiglu`.
        rows.filter(|row| row.names.iter().any(|name| name == key))
            .filter(fits)
            .max_by_key(|row| row.of.len())
    }
}

/// Returns the cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn row(columns: &[String], cells: &[&str]) -> Option<KeyRow> {
    let cell = |names: &[&str]| {
        columns.iter().position(|column| names.contains(&column.as_str())).and_then(|at| cells.get(at))
    };
    let first = cell(&["key", "setting", "policy", "code"])?;
    Some(KeyRow {
        names: quoted(first).iter().map(|text| first_word(text)).collect(),
        of: cell(&["of"]).map_or(Vec::new(), |cell| quoted(cell)),
        value: cell(&["value", "meaning", "differentiates"])?.to_string(),
        default: cell(&["default"]).filter(|cell| **cell != "-").map(|cell| cell.to_string()),
    })
}

/// Returns the texts between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

fn first_word(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len());
    text[..end].to_string()
}

/// Returns the statement that a heading is about.
fn name(heading: &str) -> String {
    let quoted = heading.split('`').nth(1).unwrap_or(heading);
    let mut words = quoted.split_whitespace();
    let first = first_word(words.next().unwrap_or_default());
    match (first.as_str(), words.next()) {
        ("predict", Some(what)) => format!("predict {what}"),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::REFERENCE;
    use crate::check::keys::{self, Group};
    use crate::lsp::place::section_of;
    use crate::syntax::STATEMENT_KEYWORDS;

    fn visit(section: &str, word: Option<&str>, group: &Group, missing: &mut Vec<String>) {
        for key in group.keys {
            if REFERENCE.key(section, word, key.name).is_none() {
                missing.push(format!("{section} {} {}", word.unwrap_or("-"), key.name));
            }
            for choice in key.choices {
                visit(section, Some(choice.name), choice.group, missing);
            }
        }
    }

    #[test]
    fn every_key_of_the_table_is_explained_where_it_belongs() {
        let mut missing = Vec::new();
        for (section, group) in keys::SECTIONS {
            visit(section, None, group, &mut missing);
        }
        for key in keys::STATEMENTS {
            for choice in key.choices {
                visit(&section_of(key, choice.name), Some(choice.name), choice.group, &mut missing);
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn every_statement_is_explained() {
        for keyword in STATEMENT_KEYWORDS.iter().filter(|keyword| **keyword != "predict") {
            assert!(REFERENCE.statement(keyword).is_some(), "{keyword}");
        }
        let tokens = REFERENCE.statement("predict tokens").expect("it is explained");
        assert!(tokens.contains("Takes no settings."), "{tokens}");
    }

    #[test]
    fn settings_of_one_name_are_told_apart() {
        let size = |word| REFERENCE.key("train", Some(word), "size").expect("it is explained").value.clone();
        assert!(size("sudoku").starts_with("4, 6 or 9"));
        assert!(size("maze").starts_with("integer, 3 to 200"));
        let theta = REFERENCE.key("block", Some("rope"), "theta").expect("it is explained");
        assert_eq!(theta.default.as_deref(), Some("10_000"));
        let vocab = REFERENCE.key("tokens", None, "vocab").expect("it is explained");
        assert_eq!(vocab.default, None);
    }
}
