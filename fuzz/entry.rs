//! What is done with arbitrary bytes, by the fuzz target and by `tests/fuzz_corpus.rs` alike.

use hrmc::check::{apply_overrides, check, show};
use hrmc::diagnostic::{self, Appearance, render, to_json};
use hrmc::ir;
use hrmc::span::Source;
use hrmc::syntax::{format, parse, parse_override, to_text};

/// Reads, checks, formats and shows bytes as a spec, and panics where hrmc breaks a promise.
pub fn exercise(bytes: &[u8]) {
    // Bytes that are no text never reach the language; the command line refuses them.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Source::new("fuzz.hrm", text);
    let parsed = parse(&source);
    to_text(&parsed.file);
    let checked = check(&parsed.file);
    let mut diagnostics = parsed.diagnostics.clone();
    diagnostics.extend(checked.diagnostics);
    diagnostic::sort(&mut diagnostics);
    render(&source, &diagnostics, Appearance::Coloured);
    to_json(&source, &diagnostics);
    assert_eq!(checked.model.is_none(), diagnostic::has_errors(&diagnostics), "refused without a reason");
    if let Some(model) = &checked.model {
        assert_eq!(ir::verify(model), Ok(()), "a checked model breaks the rules of the IR");
        assert_eq!(model_of(&show(model)).as_ref(), Some(model), "a shown spec says something else");
    }
    match format(&source) {
        Ok(once) => {
            let again = format(&Source::new("once.hrm", once.as_str()));
            assert_eq!(again.as_ref(), Ok(&once), "formatting twice differs from once");
            assert_eq!(model_of(&once), checked.model, "formatting changes the model");
        }
        Err(refused) => assert_eq!(refused, parsed.diagnostics, "fmt and check disagree"),
    }
    // The first line as a value of `--set`, for a spec that the rest of the text is.
    if let Some((line, rest)) = text.split_once('\n')
        && let Ok(given) = parse_override(line)
    {
        let _ = apply_overrides(&Source::new("rest.hrm", rest), &[given]);
    }
}

fn model_of(text: &str) -> Option<ir::Model> {
    check(&parse(&Source::new("again.hrm", text)).file).model
}
