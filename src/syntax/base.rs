//! Finds the base of a spec, and the base of that base, and puts each spec over its base.

use std::path::{Path, PathBuf};

use super::merge::{merge_base, misplaced_bases};
use super::parse::{Parsed, parse, parse_rest, readable};
use crate::diagnostic::{self, Code, Diagnostic};
use crate::span::{Source, Span};

/// Most bases that stand over each other; far more than anyone follows, far less than exhausts the stack.
const MAX_BASES: usize = 64;

/// A file that was read to be a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFile {
    /// Its text.
    pub text: String,
    /// What the system calls the file, however its path is spelled.
    pub identity: PathBuf,
}

/// A text with what is wrong with it.
pub type Faulty = (Source, Vec<Diagnostic>);

/// A spec over its base.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// The text.
    pub source: Source,
    /// The spec with what of it does not follow the grammar and is left out of the text, if it has a base.
    pub refused: Option<Faulty>,
}

impl Whole {
    /// Reads the text. What was left out of it is not said to be missing, and `refused` says what is wrong with that.
    pub fn parse(&self) -> Parsed {
        match self.refused {
            None => parse(&self.source),
            Some(_) => Parsed { file: parse_rest(&self.source), diagnostics: Vec::new() },
        }
    }
}

/// Returns a spec over its base, and that over its own. A spec without a base comes back as it is.
///
/// The path of a base counts from the folder of the file that names it, which is the name of its source. `read`
/// reads a file or says why it cannot. `identity` is what the system calls the file of the spec, if it is one.
///
/// # Errors
///
/// Returns the text that is at fault with what is wrong: a base does not follow the grammar or cannot be read, it is a
/// base of itself, or the spec changes what the base does not have.
pub fn over_base(
    source: Source,
    identity: Option<PathBuf>,
    read: &dyn Fn(&Path) -> Result<BaseFile, String>,
) -> Result<Whole, Faulty> {
    over(source, read, &mut identity.into_iter().collect())
}

/// Puts a spec over its base; `open` holds the files on the way.
fn over(
    source: Source,
    read: &dyn Fn(&Path) -> Result<BaseFile, String>,
    open: &mut Vec<PathBuf>,
) -> Result<Whole, Faulty> {
    let Parsed { file: spec, diagnostics: mut problems } = parse(&source);
    let Some(base) = spec.bases().next() else { return Ok(Whole { source, refused: None }) };
    let readable = if problems.is_empty() { Some(source.clone()) } else { readable(&source) };
    problems.extend(misplaced_bases(&spec));
    let Some(readable) = readable.filter(|_| misplaced_bases(&spec).is_empty()) else {
        diagnostic::sort(&mut problems);
        return Err((source, problems));
    };
    let beside = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    let path = beside.join(&base.path);
    let refuse = |mut problems: Vec<Diagnostic>, message: String| {
        problems.push(Diagnostic::error(Code::Base, base.path_span, message).label("this file"));
        diagnostic::sort(&mut problems);
        problems
    };
    let file = match read(&path) {
        Ok(file) => file,
        Err(reason) => {
            let message = format!("cannot read the base `{}`: {reason}", path.display());
            return Err((source, refuse(problems, message)));
        }
    };
    if open.contains(&file.identity) {
        let message = format!("`{}` is a base of itself", path.display());
        return Err((source, refuse(problems, message)));
    }
    if open.len() > MAX_BASES {
        let message = format!("a spec has at most {MAX_BASES} bases over each other");
        return Err((source, refuse(problems, message)));
    }
    open.push(file.identity);
    let under = over(Source::new(path.display().to_string(), file.text), read, open)?;
    if let Some(refused) = under.refused {
        return Err(refused);
    }
    let parsed = parse(&under.source);
    if diagnostic::has_errors(&parsed.diagnostics) {
        return Err((under.source, parsed.diagnostics));
    }
    match merge_base(&under.source, &readable) {
        Ok(merged) => {
            let refused = (!problems.is_empty()).then_some((source, problems));
            Ok(Whole { source: merged, refused })
        }
        Err(found) => {
            for mut one in found {
                // From the repaired text to the original one.
                let original = |at: usize| readable.origin(Span::new(at, at)).span.end;
                one.move_places(|span| Span::new(original(span.start), original(span.end)));
                problems.push(one);
            }
            diagnostic::sort(&mut problems);
            Err((source, problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{BaseFile, over_base};
    use crate::span::Source;

    /// Reads one of three files.
    fn read(path: &Path) -> Result<BaseFile, String> {
        let text = match path.to_str() {
            Some("specs/a.hrm") => "model a { let N = 1 }",
            Some("specs/b.hrm") => "base \"a.hrm\"\nmodel b { let M = 2 }",
            Some("specs/loop.hrm") => "base \"loop.hrm\"\n",
            _ => return Err("there is no such file".to_string()),
        };
        Ok(BaseFile { text: text.to_string(), identity: PathBuf::from(path) })
    }

    fn over(text: &str) -> Result<String, String> {
        over_base(Source::new("specs/c.hrm", text), None, &read)
            .map(|whole| whole.source.text)
            .map_err(|(_, problems)| problems[0].message.clone())
    }

    #[test]
    fn bases_of_bases_are_found_beside_the_file_that_names_them() {
        let text = over("base \"b.hrm\"\nmodel c { let N = 3 }").expect("the files are there");
        assert!(text.starts_with("model c {") && text.contains("N = 3") && text.contains("M = 2"), "{text}");
    }

    #[test]
    fn what_can_be_read_of_a_broken_spec_is_put_over_its_base() {
        let text = "base \"a.hrm\"\nmodel c {\n  let N = \n  let K = 4\n  let s = \"x\ntrain { batch 3, seed = 1 }\n";
        let whole = over_base(Source::new("specs/c.hrm", text), None, &read).expect("the base is there");
        let merged = &whole.source.text;
        assert!(
            merged.contains("N = 1") && merged.contains("K = 4") && merged.contains("seed = 1"),
            "{merged}"
        );
        let refused = whole.refused.as_ref().expect("the text is broken");
        assert_eq!(refused.0.text, text);
        assert_eq!(refused.1.len(), 4, "{:?}", refused.1);
        let parsed = whole.parse();
        assert_eq!(parsed.diagnostics, []);
        assert!(!parsed.file.complete && parsed.file.models().all(|model| !model.complete));
        let seed = merged.find("seed").expect("it is there");
        let origin = whole.source.origin(crate::span::Span::new(seed, seed + 4));
        assert_eq!((origin.name, &text[origin.span.start..origin.span.end]), ("specs/c.hrm", "seed"));
    }

    #[test]
    fn endless_bases_are_refused() {
        let read = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("it has a name");
            let next: usize = stem.parse::<usize>().expect("it is a number") + 1;
            Ok(BaseFile { text: format!("base \"{next}.hrm\"\n"), identity: path.to_path_buf() })
        };
        let spec = Source::new("0.hrm", "base \"1.hrm\"\n");
        let (source, problems) =
            over_base(spec, Some(PathBuf::from("0.hrm")), &read).expect_err("there is no end");
        assert_eq!(source.name, "64.hrm");
        assert_eq!(problems[0].message, "a spec has at most 64 bases over each other");
    }

    #[test]
    fn bases_that_cannot_be_used_are_named() {
        let message = over("base \"d.hrm\"").expect_err("it is not there");
        assert_eq!(message, "cannot read the base `specs/d.hrm`: there is no such file");
        assert_eq!(over("base \"loop.hrm\""), Err("`specs/loop.hrm` is a base of itself".to_string()));
    }
}
