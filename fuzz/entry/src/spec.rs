//! What is done with arbitrary bytes as a spec.

use hrmc::internals::check::check;
use hrmc::internals::diagnostic::{self, Appearance, render, to_json};
use hrmc::internals::ir;
use hrmc::internals::span::Source;
use hrmc::internals::spec::examine_whole;
use hrmc::internals::spell;
use hrmc::internals::syntax::{BaseFile, format, over_base, parse, parse_override, to_text};

/// A spec that takes away, replaces and adds.
const OVER: &str = "base \"base.hrm\"\nmodel over {\n  let N = T, let T = 2\n  block encoder { without heads\n    mixing = mlp }\n  \
                    state z_low = normal(std = 2)\n}\ntrain { without ema, steps = 3 }\n";

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
        assert_eq!(ir::validate(model), Ok(()), "a checked model breaks the rules of the IR");
        assert_eq!(model_of(&spell::text(model)).as_ref(), Some(model), "a shown spec says something else");
    }
    match format(&source) {
        Ok(once) => {
            let again = format(&Source::new("once.hrm", once.as_str()));
            assert_eq!(again.as_ref(), Ok(&once), "formatting twice differs from once");
            assert_eq!(model_of(&once), checked.model, "formatting changes the model");
        }
        Err(refused) => assert_eq!(refused, parsed.diagnostics, "fmt and check disagree"),
    }
    over(include_str!("../../../specs/quickstart.hrm"), &format!("base \"base.hrm\"\n{text}"));
    over(text, OVER);
    // The first line as an override of a spec that the rest of the text is.
    if let Some((line, rest)) = text.split_once('\n')
        && parse_override(line, 0).is_ok()
    {
        let examined = examine_whole(Source::new("rest.hrm", rest), &[line]);
        for (source, found) in &examined.diagnostics {
            render(source, found, Appearance::Coloured);
        }
    }
}

/// Puts a spec over a base and checks what comes of it.
fn over(base: &str, spec: &str) {
    // Whatever the path, there is one file.
    let read = |_: &std::path::Path| Ok(BaseFile { text: base.to_string(), identity: "base.hrm".into() });
    let whole = match over_base(Source::new("over.hrm", spec), None, &read) {
        Ok(whole) => whole,
        Err((source, found)) => {
            assert!(diagnostic::has_errors(&found), "refused without a reason");
            render(&source, &found, Appearance::Coloured);
            return;
        }
    };
    if let Some((source, found)) = &whole.refused {
        assert!(diagnostic::has_errors(found), "refused without a reason");
        render(source, found, Appearance::Coloured);
    }
    let parsed = whole.parse();
    // Where not even the name of the base can be read, the text comes back as it is.
    if whole.source.text == spec {
        return assert!(diagnostic::has_errors(&parsed.diagnostics), "a spec over a base has one");
    }
    assert_eq!(parsed.diagnostics, [], "two texts that follow the grammar make one that does not");
    let checked = check(&parsed.file);
    render(&whole.source, &checked.diagnostics, Appearance::Coloured);
    assert!(checked.model.is_none() || whole.refused.is_none(), "a broken spec is accepted");
    let refused = whole.refused.is_some() || diagnostic::has_errors(&checked.diagnostics);
    assert_eq!(checked.model.is_none(), refused, "refused without a reason");
}

fn model_of(text: &str) -> Option<ir::Model> {
    check(&parse(&Source::new("again.hrm", text)).file).model
}
