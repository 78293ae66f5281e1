//! Mends of diagnostics: whoever takes one is rid of the problem, and has no other error instead.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hrmc::internals::diagnostic::{CODES, Code, Diagnostic, Mend, Severity, apply};
use hrmc::internals::span::Source;
use hrmc::internals::syntax::{BaseFile, over_base, parse};

use crate::fixtures::{Fixture, fixtures, outcome};

/// Codes of problems that have no certain mend, since a user has to choose a name, a number or another design.
const WITHOUT: &[Code] = &[
    Code::Base,
    Code::NestingTooDeep,
    Code::ExpressionTooLong,
    Code::DuplicateName,
    Code::ReservedName,
    Code::MissingModel,
    Code::DivisionByZero,
    Code::NumberTooLarge,
    Code::SegmentTooLong,
    Code::NetworkWithoutGradient,
    Code::InputNeverRead,
    Code::InputWithoutGradient,
    Code::UnknownPath,
];

/// Fixtures in which so much is wrong that an error comes to light behind another.
const SEVERAL_ERRORS: &[&str] = &[
    "duplicate_statement_model",
    "every_problem_is_reported",
    "missing_key_everything",
    "missing_separator",
    "syntax_habits_of_other_languages",
    "unbalanced_delimiter_without_indentation",
    "unknown_key_infer",
];

fn broken() -> impl Iterator<Item = Fixture> {
    fixtures("err").into_iter().chain(fixtures("warn"))
}

/// Returns a text after a mend.
fn mended(source: &Source, mend: &Mend) -> Source {
    let (origin, changes) = mend.changes(source).expect("the edits are of this text");
    Source::new("mended.hrm", apply(origin.text, &changes))
}

/// Returns what tells problems apart, whatever their places.
fn said(diagnostics: &[Diagnostic], severity: Severity) -> Vec<(Code, &str)> {
    let worst = diagnostics.iter().filter(|one| one.severity == severity);
    worst.map(|one| (one.code, one.message.as_str())).collect()
}

#[test]
fn every_mend_does_away_with_its_problem() {
    let mut count = 0;
    for fixture in broken() {
        let before = outcome(&fixture.source).diagnostics;
        let slips = parse(&fixture.source).diagnostics.len();
        for diagnostic in &before {
            for mend in &diagnostic.mends {
                count += 1;
                let mended = mended(&fixture.source, mend);
                let what =
                    format!("{}: {}: {}:\n{}", fixture.case, diagnostic.message, mend.title, mended.text);
                let after = outcome(&mended).diagnostics;
                let times = |all: &[Diagnostic]| {
                    let key = (diagnostic.code, diagnostic.message.as_str());
                    said(all, diagnostic.severity).into_iter().filter(|one| *one == key).count()
                };
                assert!(times(&after) < times(&before), "{what}");
                assert!(parse(&mended).diagnostics.len() <= slips, "{what}");
                let known = said(&before, Severity::Error);
                let new: Vec<_> =
                    said(&after, Severity::Error).into_iter().filter(|one| !known.contains(one)).collect();
                assert!(new.is_empty() || SEVERAL_ERRORS.contains(&&*fixture.case), "{new:?}: {what}");
            }
        }
    }
    assert!(count > 150, "{count} mends");
}

#[test]
fn every_code_is_mended_somewhere_or_has_no_certain_mend() {
    let mut mended = BTreeSet::new();
    for fixture in broken() {
        let found = outcome(&fixture.source).diagnostics;
        mended.extend(found.iter().filter(|one| !one.mends.is_empty()).map(|one| one.code));
    }
    for &code in CODES {
        assert_ne!(mended.contains(&code), WITHOUT.contains(&code), "{}", code.as_str());
    }
}

#[test]
fn a_title_is_a_command_and_two_mends_of_one_problem_differ() {
    for fixture in broken() {
        for diagnostic in outcome(&fixture.source).diagnostics {
            let titles: BTreeSet<&str> = diagnostic.mends.iter().map(|mend| mend.title.as_str()).collect();
            assert_eq!(titles.len(), diagnostic.mends.len(), "{}: {titles:?}", fixture.case);
            for title in titles {
                let first = title.chars().next().expect("a title is not empty");
                assert!(first.is_lowercase() && !title.ends_with('.'), "{}: {title}", fixture.case);
            }
        }
    }
}

/// Returns what is wrong with a spec over a base, and the text that it is wrong with.
fn over(spec: &str) -> (Source, Vec<Diagnostic>) {
    let read = |path: &Path| {
        let text = "model base_model {\n  block encoder { hidden = 8, heads = 2 }\n}\n".to_string();
        Ok(BaseFile { text, identity: PathBuf::from(path) })
    };
    over_base(Source::new("spec.hrm", spec), None, &read).expect_err("something is wrong with the spec")
}

#[test]
fn what_a_spec_does_to_its_base_is_mended() {
    for (spec, expected) in [
        ("# mine\nmodel a {\n}\nbase \"b.hrm\"\n", "# mine\nbase \"b.hrm\"\n\nmodel a {\n}\n"),
        (
            "base \"b.hrm\"\nmodel a {\n  without encodr\n}\n",
            "base \"b.hrm\"\nmodel a {\n  without encoder\n}\n",
        ),
        (
            "base \"b.hrm\"\nmodel a {\n  block encoder { without headds, hidden = 4 }\n}\n",
            "base \"b.hrm\"\nmodel a {\n  block encoder { without heads, hidden = 4 }\n}\n",
        ),
        (
            "base \"b.hrm\"\nmodel a {\n  halt fixed { without segments, segments = 1 }\n}\n",
            "base \"b.hrm\"\nmodel a {\n  halt fixed { segments = 1 }\n}\n",
        ),
    ] {
        let (source, found) = over(spec);
        let mend = found.first().and_then(|one| one.mends.first()).unwrap_or_else(|| panic!("{spec}"));
        assert_eq!(mended(&source, mend).text, expected);
    }
}
