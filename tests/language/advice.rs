//! Advice in messages: whoever follows it does not meet the next error.

use hrmc::Spec;

/// Specs, and paths in them whose values are numbers.
const NUMBERS: &[(&str, &[&str])] = &[
    (
        "specs/sudoku.hrm",
        &[
            "model.tokens.vocab",
            "model.puzzles.width",
            "model.encoder.hidden",
            "model.encoder.heads",
            "model.encoder.positions.theta",
            "model.encoder.mlp.expansion",
            "model.encoder.norm.eps",
            "model.halt.max_segments",
            "model.halt.explore",
            "train.optimizer.lr",
            "train.optimizer.weight_decay",
            "train.schedule.warmup_steps",
            "train.schedule.min_ratio",
            "train.ema",
            "train.batch",
            "train.epochs",
            "train.seed",
        ],
    ),
    (
        "specs/quickstart.hrm",
        &["train.data.size", "train.data.givens", "train.data.train", "train.data.test"],
    ),
];

/// Words for which other languages have a value, as people type them.
const WORDS: &[&str] =
    &["true", "True", "false", "False", "None", "null", "nan", "NaN", "inf", "-inf", "auto"];

/// Returns messages and advice of a spec with an override.
fn said(spec: &str, given: &str) -> Vec<(String, Option<String>)> {
    match Spec::open(spec, &[given]) {
        Ok(_) => Vec::new(),
        Err(error) => error.diagnostics().map(|one| (one.message.clone(), one.help.clone())).collect(),
    }
}

#[test]
fn a_word_in_place_of_a_number_is_answered_with_what_the_key_takes_and_an_example_that_works() {
    for (spec, paths) in NUMBERS {
        for path in *paths {
            let key = path.rsplit('.').next().expect("a path has a last part");
            for word in WORDS {
                let found = said(spec, &format!("{path}={word}"));
                let begin = format!("`{key}` takes a");
                let Some((message, help)) = found.iter().find(|(message, _)| message.starts_with(&begin))
                else {
                    panic!("{path}={word}: {found:?}");
                };
                assert!(
                    message.contains("found ") && message.contains(word.trim_start_matches('-')),
                    "{message}"
                );
                let example =
                    help.as_deref().and_then(|help| help.strip_prefix("for example `")?.strip_suffix('`'));
                let example = example.unwrap_or_else(|| panic!("{path}={word}: {help:?}"));
                let value = example.strip_prefix(key).and_then(|rest| rest.strip_prefix(" = "));
                let followed = said(spec, &format!("{path}={}", value.expect("it sets the key")));
                let is_about_it =
                    |(message, _): &&(String, Option<String>)| message.contains(&format!("`{key}`"));
                assert_eq!(followed.iter().find(is_about_it), None, "{path}: `{example}`");
            }
        }
    }
}

#[test]
fn a_reserved_word_is_never_suggested_as_the_name_of_a_let() {
    for word in hrmc::internals::check::keys::RESERVED.iter().chain(WORDS) {
        for given in
            [format!("train.batch={word}"), format!("train.batch=2*{word}"), format!("model.N={word}")]
        {
            for (message, help) in said("specs/sudoku.hrm", &given) {
                assert!(
                    !help.as_ref().is_some_and(|help| help.contains("with `let")),
                    "{given}: {message}: {help:?}"
                );
            }
        }
    }
}
