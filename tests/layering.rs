//! Borders between modules are borders between stages: a module uses only modules of a lower order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Order of every module; those of one order do not use each other.
const ORDER: &[(&str, u32)] = &[
    ("hash", 0),
    ("span", 0),
    ("system", 0),
    ("units", 0),
    ("diagnostic", 1),
    ("data", 1),
    ("syntax", 2),
    ("ir", 2),
    ("graph", 2),
    ("check", 3),
    ("autodiff", 3),
    ("optim", 3),
    ("passes", 3),
    ("plan", 3),
    ("lower", 4),
    ("device", 4),
    ("spell", 4),
    ("pipeline", 5),
    ("spec", 5),
    ("store", 5),
    ("census", 6),
    ("train", 6),
    // Whole programs besides training, which the command line starts: parity, timing, an editor's server.
    ("parity", 7),
    ("bench", 7),
    ("lsp", 7),
    ("cli", 8),
];

/// Crates that only the named modules may use.
const GUARDED: &[(&str, &[&str])] = &[
    ("pest", &["syntax"]),
    ("pest_derive", &["syntax"]),
    ("luminal", &["graph"]),
    ("codespan_reporting", &["diagnostic"]),
    ("libloading", &["device"]),
    ("cudarc", &["device"]),
    ("lsp_server", &["lsp"]),
    ("lsp_types", &["lsp"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are checked in") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the module a file belongs to: the first part of its path below `src`.
fn module(path: &Path) -> String {
    let inner = path.strip_prefix("src").expect("sources lie in src");
    let first = inner.iter().next().expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// Returns the lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Returns the first names of the paths that begin with `crate::`, groups in braces included.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("crate::") {
        if text[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => found.push(rest.chars().take_while(|&character| is_word(character)).collect()),
            Some(group) => {
                let mut depth = 0;
                let mut name = String::new();
                let mut first = true;
                for character in group.chars() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.push(std::mem::take(&mut name));
                            first = true;
                        }
                        _ if depth == 0 && first && is_word(character) => name.push(character),
                        _ if depth == 0 && !character.is_whitespace() => first = false,
                        _ => {}
                    }
                }
                found.push(name);
            }
        }
    }
    found.retain(|name: &String| !name.is_empty());
    found
}

#[test]
fn groups_in_braces_are_seen() {
    let text = "use crate::{ir::{Model, State}, span, syntax::parse};\nlet a = crate::check::check();";
    assert_eq!(crate_paths(text), ["ir", "span", "syntax", "check"]);
}

#[test]
fn modules_use_only_modules_of_a_lower_order() {
    let order: BTreeMap<&str, u32> = ORDER.iter().copied().collect();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut breaches = Vec::new();
    for path in files {
        let module = module(&path);
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let Some(&own) = order.get(module.as_str()) else {
            breaches.push(format!("{}: the module `{module}` has no order", path.display()));
            continue;
        };
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        let text: String = code(&text).map(|(_, line)| format!("{line}\n")).collect();
        for used in crate_paths(&text) {
            match order.get(used.as_str()) {
                Some(&other) if used == module || other < own => {}
                Some(_) => breaches.push(format!("{}: `{module}` uses `{used}`", path.display())),
                None => breaches.push(format!("{}: `crate::{used}` is no module", path.display())),
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn guarded_crates_stay_behind_their_module() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut breaches = Vec::new();
    for path in files {
        let module = module(&path);
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        for (line, code) in code(&text) {
            for (guarded, owners) in GUARDED {
                let path_start = format!("{guarded}::");
                let used = code.match_indices(&path_start).any(|(at, _)| {
                    !code[..at].chars().next_back().is_some_and(|before| is_word(before) || before == ':')
                });
                if used && !owners.contains(&module.as_str()) {
                    breaches.push(format!("{}:{line}: `{module}` uses `{guarded}`", path.display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}
