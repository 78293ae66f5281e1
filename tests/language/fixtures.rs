//! The language from text to checked model, on the fixtures: one snapshot a stage and case.
//!
//! `tests/fixtures/ok` holds specs without any problem, `warn` specs that are accepted with warnings, and
//! `err` specs that are refused, each named after the code it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use hrmc::internals::check::check;
use hrmc::internals::check::keys::{self, Group, Key};
use hrmc::internals::diagnostic::{self, Appearance, CODES, Code, Diagnostic, Severity, apply, render};
use hrmc::internals::ir;
use hrmc::internals::span::Source;
use hrmc::internals::spec::{Spec, Structure, examine_whole};
use hrmc::internals::spell;
use hrmc::internals::syntax::{format, merge_base, parse, to_text};
use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_assert_ne, proptest,
};

/// A spec of `tests/fixtures`.
pub struct Fixture {
    pub case: String,
    pub source: Source,
}

/// Everything the front end says about a spec.
pub struct Outcome {
    ast: String,
    model: Option<ir::Model>,
    pub diagnostics: Vec<Diagnostic>,
}

pub fn fixtures(kind: &str) -> Vec<Fixture> {
    let folder = Path::new("tests/fixtures").join(kind);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the fixtures are checked in")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hrm"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let case = path.file_stem().expect("fixtures have names").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("fixtures are UTF-8");
            Fixture { source: Source::new(format!("{case}.hrm"), text), case }
        })
        .collect()
}

pub fn outcome(source: &Source) -> Outcome {
    let parsed = parse(source);
    let checked = check(&parsed.file);
    let mut diagnostics = parsed.diagnostics;
    diagnostics.extend(checked.diagnostics);
    diagnostic::sort(&mut diagnostics);
    Outcome { ast: to_text(&parsed.file), model: checked.model, diagnostics }
}

fn snapshot(stage: &str, fixture: &Fixture, output: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new("../../snapshots").join(stage));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        let content = format!("{}\n---------- {stage} ----------\n\n{output}", fixture.source.text);
        insta::assert_snapshot!(fixture.case.as_str(), content);
    });
}

#[test]
fn accepted_specs_become_trees_and_models() {
    for fixture in fixtures("ok") {
        let outcome = outcome(&fixture.source);
        assert_eq!(outcome.diagnostics, [], "{}", fixture.case);
        let model = outcome.model.expect("a spec without problems has a model");
        assert_eq!(ir::validate(&model), Ok(()), "{}", fixture.case);
        snapshot("ast", &fixture, &outcome.ast);
        snapshot("model", &fixture, &ir::to_text(&model));
        snapshot("show", &fixture, &spell::text(&model));
    }
}

#[test]
fn shown_specs_check_to_equal_models() {
    for fixture in fixtures("ok").into_iter().chain(fixtures("warn")) {
        let model = outcome(&fixture.source).model.expect("the fixture is accepted");
        let shown = Source::new("shown.hrm", spell::text(&model));
        assert_eq!(outcome(&shown).model, Some(model), "{}", fixture.case);
    }
}

#[test]
fn formatting_is_idempotent_and_keeps_the_model() {
    for fixture in fixtures("ok").into_iter().chain(fixtures("warn")) {
        let once = Source::new("once.hrm", format(&fixture.source).expect("the fixture follows the grammar"));
        assert_eq!(format(&once).as_ref(), Ok(&once.text), "{}", fixture.case);
        assert_eq!(outcome(&once).model, outcome(&fixture.source).model, "{}", fixture.case);
    }
}

#[test]
fn doubtful_specs_are_accepted_with_a_warning() {
    for fixture in fixtures("warn") {
        let outcome = outcome(&fixture.source);
        assert!(outcome.model.is_some(), "{} is refused", fixture.case);
        assert!(!outcome.diagnostics.is_empty(), "{} has no warning", fixture.case);
        snapshot("diagnostics", &fixture, &render(&fixture.source, &outcome.diagnostics, Appearance::Plain));
    }
}

#[test]
fn broken_specs_are_refused_with_every_problem() {
    for fixture in fixtures("err") {
        let outcome = outcome(&fixture.source);
        assert_eq!(outcome.model, None, "{} is accepted", fixture.case);
        assert!(diagnostic::has_errors(&outcome.diagnostics), "{} has no error", fixture.case);
        snapshot("diagnostics", &fixture, &render(&fixture.source, &outcome.diagnostics, Appearance::Plain));
    }
}

#[test]
fn fixtures_are_named_after_the_code_they_show() {
    for (kind, severity) in [("err", Severity::Error), ("warn", Severity::Warning)] {
        for fixture in fixtures(kind) {
            let diagnostics = outcome(&fixture.source).diagnostics;
            let named = |diagnostic: &Diagnostic| {
                fixture.case.starts_with(&diagnostic.code.as_str().replace('-', "_"))
                    && diagnostic.severity == severity
            };
            // The one fixture that shows many codes has a name of its own.
            let many = fixture.case == "every_problem_is_reported" && diagnostics.len() > 15;
            assert!(many || diagnostics.iter().any(named), "{}", fixture.case);
        }
    }
}

#[test]
fn every_code_of_the_catalog_has_a_fixture() {
    let mut shown: BTreeSet<Code> = BTreeSet::new();
    for fixture in fixtures("err").into_iter().chain(fixtures("warn")) {
        shown.extend(outcome(&fixture.source).diagnostics.iter().map(|diagnostic| diagnostic.code));
    }
    let source = Source::new("a.hrm", "train {\n}\n");
    for (_, found) in examine_whole(source, &["train.bath=3"]).diagnostics {
        shown.extend(found.iter().map(|diagnostic| diagnostic.code));
    }
    let missing: Vec<&str> =
        CODES.iter().filter(|code| !shown.contains(code)).map(|code| code.as_str()).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_snapshot_of_the_language_belongs_to_a_fixture() {
    let names = |kinds: &[&str]| -> BTreeSet<String> {
        kinds.iter().flat_map(|kind| fixtures(kind)).map(|fixture| format!("{}.snap", fixture.case)).collect()
    };
    for (stage, kinds) in
        [("ast", ["ok"].as_slice()), ("model", &["ok"]), ("show", &["ok"]), ("diagnostics", &["err", "warn"])]
    {
        let found: BTreeSet<String> = fs::read_dir(Path::new("snapshots").join(stage))
            .expect("snapshots are checked in")
            .map(|entry| entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".snap"))
            .collect();
        assert_eq!(found, names(kinds), "snapshots/{stage}");
    }
}

#[test]
fn messages_never_show_the_rules_of_the_grammar() {
    let grammar = fs::read_to_string("grammar/hrm.pest").expect("the grammar is checked in");
    let rules: Vec<&str> = grammar
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(rule, _)| rule.trim())
        .filter(|rule| rule.contains('_') && !rule.starts_with("//"))
        .collect();
    assert!(rules.len() > 20, "the rules are found in the grammar");
    for fixture in fixtures("err") {
        for diagnostic in outcome(&fixture.source).diagnostics {
            let text = format!("{diagnostic:?}");
            for rule in &rules {
                assert!(!text.contains(rule), "{}: `{rule}` in {text}", fixture.case);
            }
        }
    }
}

#[test]
fn messages_are_lower_case_without_a_full_stop() {
    for fixture in fixtures("err").into_iter().chain(fixtures("warn")) {
        for diagnostic in outcome(&fixture.source).diagnostics {
            let texts = [&diagnostic.message, &diagnostic.primary.text]
                .into_iter()
                .chain(diagnostic.secondary.iter().map(|label| &label.text))
                .chain(&diagnostic.notes)
                .chain(&diagnostic.help);
            for text in texts {
                assert!(!text.ends_with('.'), "{}: {text}", fixture.case);
                let first = text.chars().next();
                let proper = text.starts_with("Sudoku");
                assert!(
                    proper || first.is_none_or(|first| !first.is_uppercase()),
                    "{}: {text}",
                    fixture.case
                );
            }
        }
    }
}

/// Returns a shipped spec with a few pieces cut out and others put in.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = "[a-z0-9_ \\n{}()\\[\\],=:#\"\\\\+*/<.é-]{0,6}";
    let edit = (any::<prop::sample::Index>(), 0usize..12, pieces);
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut text = include_str!("../../specs/maze.hrm").to_string();
        for (at, length, piece) in edits {
            let boundary = |mut at: usize| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let start = boundary(at.index(text.len() + 1));
            let end = boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &piece);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_refused_or_accepted_without_a_panic(text in mutated()) {
        let source = Source::new("mutated.hrm", text);
        let outcome = outcome(&source);
        render(&source, &outcome.diagnostics, Appearance::Coloured);
        prop_assert_eq!(outcome.model.is_none(), diagnostic::has_errors(&outcome.diagnostics));
        for mend in outcome.diagnostics.iter().flat_map(|one| &one.mends) {
            if let Some((origin, changes)) = mend.changes(&source) {
                prop_assert_ne!(apply(origin.text, &changes), source.text.as_str(), "{} does nothing", mend.title);
            }
        }
        match format(&source) {
            Ok(once) => {
                let twice = format(&Source::new("once.hrm", once.as_str()));
                prop_assert_eq!(twice, Ok(once.clone()));
                let comments = |text: &str| text.matches('#').count();
                prop_assert_eq!(comments(&once), comments(&source.text));
            }
            Err(diagnostics) => prop_assert!(!diagnostics.is_empty()),
        }
    }
}

/// Adds every key and word that may stand in a group or behind a key.
fn vocabulary_of_group(group: &Group, words: &mut BTreeSet<&'static str>) {
    for key in group.keys {
        words.insert(key.name);
        vocabulary_of_key(key, words);
    }
}

fn vocabulary_of_key(key: &Key, words: &mut BTreeSet<&'static str>) {
    for choice in key.choices {
        words.insert(choice.name);
        vocabulary_of_group(choice.group, words);
    }
}

#[test]
fn the_reference_names_every_key_word_and_code() {
    let reference = fs::read_to_string("grammar/REFERENCE.md").expect("the reference is checked in");
    let mut words: BTreeSet<&'static str> = keys::UNITS.iter().copied().collect();
    for (_, group) in keys::SECTIONS {
        vocabulary_of_group(group, &mut words);
    }
    for key in keys::STATEMENTS {
        vocabulary_of_key(key, &mut words);
    }
    assert!(words.len() > 60, "the tables are walked to the end");
    words.extend(CODES.iter().map(|code| code.as_str()));
    words.extend(hrmc::internals::syntax::STATEMENT_KEYWORDS);
    // Examples name keys too, but explain nothing.
    let explained: String = reference.split("```").step_by(2).collect();
    let quoted: BTreeSet<&str> = explained.split('`').skip(1).step_by(2).collect();
    let named = |word: &&&str| {
        let begins = |quote: &&str| {
            quote.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).any(|part| part == **word)
        };
        quoted.iter().any(begins)
    };
    let missing: Vec<&&str> = words.iter().filter(|word| !named(word)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

#[test]
fn the_examples_of_the_reference_are_accepted() {
    let reference = fs::read_to_string("grammar/REFERENCE.md").expect("the reference is checked in");
    let examples: Vec<&str> = reference
        .split("```hrm\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("splitting yields a first part"))
        .collect();
    assert!(!examples.is_empty(), "the reference has an example");
    for example in examples {
        let mut source = Source::new("REFERENCE.md", example);
        let parsed = parse(&source).file;
        if let Some(base) = parsed.bases().next() {
            let path = Path::new("specs").join(&base.path);
            let text = fs::read_to_string(path).expect("examples start from shipped specs");
            source = merge_base(&Source::new(base.path.as_str(), text), &source).expect("they fit together");
        }
        let outcome = outcome(&source);
        assert_eq!(outcome.diagnostics, [], "{example}");
    }
}

/// Returns the codes that checking an example of a page raises, overrides applied.
fn codes_of(example: &diagnostic::Example) -> BTreeSet<&'static str> {
    let mut source = Source::new("tiny.hrm", example.spec);
    if let Some(file) = example.files.first() {
        match merge_base(&Source::new(file.name, file.text), &source) {
            Ok(whole) => source = whole,
            Err(problems) => return problems.iter().map(|problem| problem.code.as_str()).collect(),
        }
    }
    let examined = examine_whole(source, &example.overrides);
    examined
        .diagnostics
        .iter()
        .flat_map(|(_, found)| found)
        .map(|diagnostic| diagnostic.code.as_str())
        .collect()
}

#[test]
fn every_page_shows_its_code_and_how_to_be_rid_of_it() {
    assert!(CODES.len() >= 40, "{} codes", CODES.len());
    let mut untrue = Vec::new();
    for code in CODES {
        let page = code.page();
        let (wrong, mended) = (codes_of(&page.wrong), codes_of(&page.mended));
        if wrong != BTreeSet::from([code.as_str()]) || !mended.is_empty() {
            untrue.push(format!("{}: shows {wrong:?}, mended {mended:?}", code.as_str()));
        }
    }
    assert!(untrue.is_empty(), "{untrue:#?}");
}

#[test]
fn every_page_belongs_to_a_code() {
    let pages: BTreeSet<String> = fs::read_dir("src/diagnostic/pages")
        .expect("the pages are checked in")
        .map(|entry| entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    let codes: BTreeSet<String> = CODES.iter().map(|code| format!("{}.md", code.as_str())).collect();
    assert_eq!(pages, codes);
}

/// Returns the first error of a shipped spec in which one piece of text is replaced.
fn first_error_with(piece: &str, replacement: &str) -> Diagnostic {
    let text = include_str!("../../specs/maze.hrm");
    assert!(text.contains(piece), "`{piece}` is in the spec");
    let source = Source::new("maze.hrm", text.replacen(piece, replacement, 1));
    let found = outcome(&source).diagnostics.into_iter().find(|one| one.severity == Severity::Error);
    found.unwrap_or_else(|| panic!("`{replacement}` is accepted"))
}

#[test]
fn misspelt_words_of_every_kind_get_a_suggestion() {
    let mut unanswered = Vec::new();
    for (piece, misspelt, meant) in [
        // Keywords.
        ("model maze", "modle maze", "model"),
        ("network low", "netwrok low", "network"),
        ("repeat N", "repaet N", "repeat"),
        ("tokens  {", "token  {", "tokens"),
        // Keys of every list.
        ("vocab", "vocba", "vocab"),
        ("heads", "haeds", "heads"),
        ("max_segments", "max_segment", "max_segments"),
        ("bias", "bais", "bias"),
        ("batch ", "Batch ", "batch"),
        ("theta", "thetha", "theta"),
        ("weight_decay", "weigth_decay", "weight_decay"),
        ("truncate", "trunkate", "truncate"),
        // Words.
        ("rope", "roep", "rope"),
        ("swiglu", "swi_glu", "swiglu"),
        ("stablemax", "stable_max", "stablemax"),
        ("adam_atan2", "adam_atan", "adam_atan2"),
        ("cosine", "cosinus", "cosine"),
        ("one_step", "onestep", "one_step"),
        ("q_learning", "qlearning", "q_learning"),
        ("continue", "contineu", "continue"),
        ("bf16", "bf_16", "bf16"),
        ("predict tokens", "predict token", "tokens"),
        // Names.
        ("<- low(", "<- lwo(", "low"),
        ("(z_low + z_high + x)", "(z_lwo + z_high + x)", "z_low"),
        ("4 * encoder", "4 * enocder", "encoder"),
        ("repeat T", "repeat t", "T"),
        ("gradient one_step", "gradient last cylce", "cycle"),
        ("predict tokens from z_high", "predict tokens from z_hgih", "z_high"),
        // Units.
        ("2_000 epochs", "2_000 epoch", "epochs"),
    ] {
        let error = first_error_with(piece, misspelt);
        let expected = format!("did you mean `{meant}`?");
        if error.help.as_ref() != Some(&expected) {
            unanswered.push(format!("{misspelt}: {} ({:?})", error.message, error.help));
        }
    }
    assert!(unanswered.is_empty(), "{unanswered:#?}");
}

#[test]
fn habits_of_other_languages_are_answered() {
    for (piece, habit, help) in [
        ("# Maze", "// Maze", "begin comments with `#`"),
        ("z_high <- high", "z_high = high", "update a state with `<-`"),
        ("hidden    =", "hidden    :", "put `=` between a key and its value"),
        ("puzzles {", "puzzles: {", "leave the `:` out"),
        ("explore = 0.1", "explore = 0,1", "write a fraction with a point, as in `0.1`"),
        ("30 * 30", "30 ** 2", "there are no powers; write a product"),
        ("4 * encoder", "4 × encoder", "multiply with `*`"),
        ("step: repeat T {", "for i in range(T) {", "write a loop as `label: repeat N { … }`"),
        ("z_high <- high", "z_high += high", "write the whole update, as in `z <- net(z + x)`"),
        ("\"data/maze-30x30-hard-1k\"", "data/maze-hard", "put the path of the folder between `\"`"),
        ("\"data/maze-30x30-hard-1k\"", "'data/maze'", "put it between plain double quotes"),
        ("tokens  {", "tokens(a) {", "put it between braces, `{ … }`"),
        ("rope(theta = 10_000)", "rope { theta = 10_000 }", "put the settings between parentheses, `(…)`"),
    ] {
        let error = first_error_with(piece, habit);
        assert_eq!(error.help.as_deref(), Some(help), "{habit}: {error:?}");
    }
}

/// Returns the specs that are shipped, by their names.
fn shipped_specs() -> Vec<(String, Spec)> {
    let mut paths: Vec<PathBuf> = fs::read_dir("specs")
        .expect("the specs are checked in")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hrm"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().expect("specs have names").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), Spec::open(path, &[]).expect("it is shipped"))).collect()
}

#[test]
fn the_difference_of_two_specs_is_overrides_and_structure() {
    let specs = shipped_specs();
    let mut in_full = Vec::new();
    let mut in_part: BTreeMap<Vec<Structure>, Vec<String>> = BTreeMap::new();
    for (first_name, first) in &specs {
        for (second_name, second) in specs.iter().filter(|(name, _)| name != first_name) {
            let pair = format!("{first_name} -> {second_name}");
            let diff = first.diff(second);
            let overrides = diff.overrides();
            let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
            let arrived = first.with(&overrides);
            if let Err(error) = &arrived {
                let codes: BTreeSet<Code> = error.diagnostics().map(|diagnostic| diagnostic.code).collect();
                let refused = [Code::UnknownPath, Code::Syntax, Code::WrongUnit, Code::WrongType];
                assert!(refused.iter().all(|code| !codes.contains(code)), "{pair}: {error}");
            }
            let structure = diff.structure();
            let is_second = arrived.is_ok_and(|arrived| arrived.model() == second.model());
            assert_eq!(is_second, structure.is_empty(), "{pair}: {structure:?}, {overrides:#?}");
            match is_second {
                true => in_full.push(pair),
                false => in_part.entry(structure).or_default().push(pair),
            }
        }
    }
    let pairs = specs.len() * (specs.len() - 1);
    let mut text = format!("{} of {pairs} pairs arrive in full\n", in_full.len());
    in_full.iter().for_each(|pair| writeln!(text, "  {pair}").expect("memory takes every byte"));
    for (structure, pairs) in in_part {
        let parts: Vec<&str> = structure.iter().map(|part| part.name()).collect();
        write!(text, "\n{} differ in {}\n", pairs.len(), parts.join(", ")).expect("memory takes every byte");
        pairs.iter().for_each(|pair| writeln!(text, "  {pair}").expect("memory takes every byte"));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots/diff");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("shipped_specs_replayed_as_overrides", text));
}
