//! What `editors/` says about the language: its words are those of the checker, and it highlights as it should.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hrmc::internals::check::keys::{self, Group, Key};
use regex::Regex;
use serde_json::Value;

/// Reserved names that are no keywords.
const CONSTANTS: [&str; 2] = ["true", "false"];
/// Reserved names that stand for a value.
const VARIABLES: [&str; 2] = ["x", "q"];

/// The words of the language by role.
struct Vocabulary {
    keywords: BTreeSet<String>,
    keys: BTreeSet<String>,
    words: BTreeSet<String>,
    units: BTreeSet<String>,
}

fn visit_group(group: &Group, vocabulary: &mut Vocabulary) {
    for key in group.keys {
        vocabulary.keys.insert(key.name.to_string());
        visit_key(key, vocabulary);
    }
}

fn visit_key(key: &Key, vocabulary: &mut Vocabulary) {
    for choice in key.choices {
        vocabulary.words.insert(choice.name.to_string());
        visit_group(choice.group, vocabulary);
    }
}

/// Returns the words that the tables of the checker know.
fn vocabulary() -> Vocabulary {
    let set = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<BTreeSet<_>>();
    let mut vocabulary = Vocabulary {
        keywords: set(keys::RESERVED),
        keys: BTreeSet::new(),
        words: BTreeSet::new(),
        units: set(keys::UNITS),
    };
    for (_, group) in keys::SECTIONS {
        visit_group(group, &mut vocabulary);
    }
    for key in keys::STATEMENTS {
        visit_key(key, &mut vocabulary);
    }
    // A reserved word is shown as a keyword wherever it stands.
    vocabulary.words.retain(|word| !keys::RESERVED.contains(&word.as_str()));
    vocabulary
        .keywords
        .retain(|word| !CONSTANTS.contains(&word.as_str()) && !VARIABLES.contains(&word.as_str()));
    vocabulary
}

fn json(path: &str) -> Value {
    let text = fs::read_to_string(path).expect("the file is checked in");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{path}` is not JSON: {error}"))
}

fn text_mate() -> Value {
    json("editors/vscode/syntaxes/hrm.tmLanguage.json")
}

/// Returns the words of the alternation in a pattern, `(a|b|c)`.
fn alternation(pattern: &str) -> BTreeSet<String> {
    let start = pattern.find('(').expect("the pattern has a group") + 1;
    let end = start + pattern[start..].find(')').expect("the group is closed");
    pattern[start..end].split('|').map(str::to_string).collect()
}

/// One rule of the TextMate grammar.
struct Rule {
    regex: Regex,
    /// Scope of a whole match.
    name: Option<String>,
    /// Scopes of groups.
    captures: BTreeMap<usize, String>,
}

/// Returns the rules in order; the grammar has no nested ones, so that this is all that it says.
fn rules(grammar: &Value) -> Vec<Rule> {
    let patterns = grammar["patterns"].as_array().expect("it is a list");
    let rule = |include: &Value| {
        let name = include["include"].as_str().and_then(|name| name.strip_prefix('#')).expect("it includes");
        let rule = &grammar["repository"][name];
        let pattern = rule["match"].as_str().unwrap_or_else(|| panic!("`{name}` has a pattern"));
        let captures = rule["captures"].as_object().into_iter().flatten();
        Rule {
            regex: Regex::new(pattern).unwrap_or_else(|error| panic!("`{name}`: {error}")),
            name: rule["name"].as_str().map(str::to_string),
            captures: captures
                .map(|(group, scope)| {
                    let scope = scope["name"].as_str().expect("a capture has a scope").to_string();
                    (group.parse().expect("a capture has a number"), scope)
                })
                .collect(),
        }
    };
    patterns.iter().map(rule).collect()
}

/// Returns the pieces of a line that have a scope, as an editor finds them: the earliest match, and the first
/// rule among several.
fn scopes(rules: &[Rule], line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let matches = rules.iter().filter_map(|rule| Some((rule, rule.regex.captures_at(line, at)?)));
        let Some((rule, captures)) =
            matches.min_by_key(|(_, captures)| captures.get(0).map(|whole| whole.start()))
        else {
            break;
        };
        let whole = captures.get(0).expect("a match has a whole");
        assert!(!whole.is_empty(), "a rule that matches nothing would never end");
        if let Some(name) = &rule.name {
            found.push((whole.as_str().to_string(), name.clone()));
        }
        for (group, scope) in &rule.captures {
            if let Some(part) = captures.get(*group) {
                found.push((part.as_str().to_string(), scope.clone()));
            }
        }
        at = whole.end();
    }
    found
}

#[test]
fn the_words_of_the_text_mate_grammar_are_those_of_the_checker() {
    let grammar = text_mate();
    let words = |name: &str| {
        alternation(grammar["repository"][name]["match"].as_str().expect("the rule has a pattern"))
    };
    let expected = vocabulary();
    assert_eq!(words("keywords"), expected.keywords);
    assert_eq!(words("keys"), expected.keys);
    assert_eq!(words("words"), expected.words);
    assert_eq!(words("units"), expected.units);
    assert_eq!(words("constants"), CONSTANTS.map(str::to_string).into());
    assert_eq!(words("variables"), VARIABLES.map(str::to_string).into());
}

#[test]
fn the_words_of_the_vim_syntax_are_those_of_the_checker() {
    let text = fs::read_to_string("editors/vim/syntax/hrm.vim").expect("the file is checked in");
    let words = |group: &str| -> BTreeSet<String> {
        let start = format!("syntax keyword {group} ");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
        lines.flat_map(str::split_whitespace).map(str::to_string).collect()
    };
    let expected = vocabulary();
    // Vim has one class for a keyword wherever it stands, so what is a key and a keyword is a keyword.
    let without = |set: &BTreeSet<String>, others: &[&BTreeSet<String>]| -> BTreeSet<String> {
        set.iter().filter(|word| !others.iter().any(|other| other.contains(*word))).cloned().collect()
    };
    assert_eq!(words("hrmKeyword"), expected.keywords);
    assert_eq!(words("hrmKey"), without(&expected.keys, &[&expected.keywords]));
    assert_eq!(words("hrmWord"), without(&expected.words, &[&expected.keys]));
    assert_eq!(words("hrmUnit"), without(&expected.units, &[&expected.keys]));
    assert_eq!(words("hrmBoolean"), CONSTANTS.map(str::to_string).into());
    assert_eq!(words("hrmVariable"), VARIABLES.map(str::to_string).into());
}

#[test]
fn lines_are_highlighted() {
    let rules = rules(&text_mate());
    for (line, expected) in [
        ("model m {  # a model", vec![("model", "keyword"), ("m", "entity.name"), ("# a model", "comment")]),
        (
            "  let N = 1_000",
            vec![("let", "keyword"), ("N", "entity.name"), ("=", "operator"), ("1_000", "numeric")],
        ),
        (
            "block e { hidden = 8 }",
            vec![
                ("block", "keyword"),
                ("e", "entity.name"),
                ("hidden", "property"),
                ("=", "operator"),
                ("8", "numeric"),
            ],
        ),
        (
            "positions = rope(theta = 1e-4)",
            vec![
                ("positions", "property"),
                ("=", "operator"),
                ("rope", "support.constant"),
                ("theta", "property"),
                ("=", "operator"),
                ("1e-4", "numeric"),
            ],
        ),
        (
            "cycle: repeat N { z <- net(y + x) }",
            vec![
                ("cycle", "label"),
                ("repeat", "keyword"),
                ("<-", "operator"),
                ("+", "operator"),
                ("x", "variable.language"),
            ],
        ),
        (
            "data = \"a # \\\" b\" # c",
            vec![("data", "property"), ("=", "operator"), ("\"a # \\\" b\"", "string"), ("# c", "comment")],
        ),
        (
            "eval_every = 2_000 epochs",
            vec![("eval_every", "property"), ("=", "operator"), ("2_000", "numeric"), ("epochs", "unit")],
        ),
        ("epochs = 3", vec![("epochs", "property"), ("=", "operator"), ("3", "numeric")]),
        (
            "puzzles = sign_sgd",
            vec![("puzzles", "property"), ("=", "operator"), ("sign_sgd", "support.constant")],
        ),
        ("puzzles { }", vec![("puzzles", "keyword")]),
        (
            "predict q from z[0]",
            vec![("predict", "keyword"), ("q", "variable.language"), ("from", "keyword"), ("0", "numeric")],
        ),
        ("augment = true", vec![("augment", "property"), ("=", "operator"), ("true", "constant.language")]),
        ("repeats heads_of z_high2", vec![]),
    ] {
        let found = scopes(&rules, line);
        let shown: Vec<_> = found.iter().map(|(text, scope)| (text.as_str(), scope.as_str())).collect();
        assert_eq!(shown.len(), expected.len(), "{line}: {shown:?}");
        for ((text, scope), (expected_text, part)) in shown.iter().zip(&expected) {
            assert_eq!(text, expected_text, "{line}: {shown:?}");
            assert!(scope.contains(part) && scope.ends_with(".hrm"), "{line}: `{text}` is {scope}");
        }
    }
}

#[test]
fn shipped_specs_have_no_key_without_a_scope() {
    let rules = rules(&text_mate());
    let expected = vocabulary();
    let key = Regex::new(r"\b([a-z_]+)\s*=").expect("it is a pattern");
    let mut seen = 0;
    for entry in fs::read_dir("specs").expect("the specs are checked in") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_none_or(|extension| extension != "hrm") {
            continue;
        }
        for line in fs::read_to_string(&path).expect("it is text").lines() {
            let code = line.split('#').next().unwrap_or_default();
            let found = scopes(&rules, line);
            for name in key.captures_iter(code).map(|captures| captures[1].to_string()) {
                if expected.keys.contains(&name) {
                    seen += 1;
                    let is_key =
                        |(text, scope): &(String, String)| *text == name && scope.contains("property");
                    assert!(found.iter().any(is_key), "{}: `{name}` in `{line}`", path.display());
                }
            }
        }
    }
    assert!(seen > 50, "the specs have keys");
}

#[test]
fn the_extension_names_files_that_are_there() {
    let package = json("editors/vscode/package.json");
    let contributes = &package["contributes"];
    assert_eq!(contributes["grammars"][0]["scopeName"], text_mate()["scopeName"]);
    let language = &contributes["languages"][0];
    assert_eq!(language["id"], contributes["grammars"][0]["language"]);
    for path in
        [&language["configuration"], &contributes["grammars"][0]["path"], &package["main"]].map(Value::as_str)
    {
        let path = format!("editors/vscode/{}", path.expect("it is a path"));
        assert!(fs::metadata(&path).is_ok(), "`{path}` is missing");
    }
    let configuration = json("editors/vscode/language-configuration.json");
    assert_eq!(configuration["comments"]["lineComment"], "#");
    for pattern in [
        &configuration["wordPattern"],
        &configuration["indentationRules"]["increaseIndentPattern"],
        &configuration["indentationRules"]["decreaseIndentPattern"],
    ] {
        Regex::new(pattern.as_str().expect("it is text")).expect("it is a pattern");
    }
    let extension = fs::read_to_string("editors/vscode/extension.js").expect("the file is checked in");
    let setting = contributes["configuration"]["properties"]["hrm.server.path"]["default"].as_str();
    assert_eq!(setting, Some("hrmc"));
    assert!(extension.contains("[\"lsp\"]"), "it starts `hrmc lsp`");
}
