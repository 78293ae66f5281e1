//! A spec over its base, and that over its own.

use std::path::{Path, PathBuf};

use super::{merge_base, parse};
use crate::diagnostic::{self, Code, Diagnostic};
use crate::span::Source;

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

/// Returns a spec over its base, and that over its own. A spec without a base comes back as it is.
///
/// The path of a base counts from the folder of the file that names it, which is the name of its source. `read`
/// reads a file or says why it cannot. `identity` is what the system calls the file of the spec, if it is one.
///
/// # Errors
///
/// Returns the text that is at fault with what is wrong: it does not follow the grammar, its base cannot be read,
/// or it is a base of itself.
pub fn over_base(
    source: Source,
    identity: Option<PathBuf>,
    read: &dyn Fn(&Path) -> Result<BaseFile, String>,
) -> Result<Source, Faulty> {
    over(source, read, &mut identity.into_iter().collect())
}

/// Puts a spec over its base; `open` holds the files on the way.
fn over(
    source: Source,
    read: &dyn Fn(&Path) -> Result<BaseFile, String>,
    open: &mut Vec<PathBuf>,
) -> Result<Source, Faulty> {
    let parsed = parse(&source);
    let Some(base) = parsed.file.bases().next() else { return Ok(source) };
    if diagnostic::has_errors(&parsed.diagnostics) {
        return Err((source, parsed.diagnostics));
    }
    let beside = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    let path = beside.join(&base.path);
    let refuse =
        |message: String| vec![Diagnostic::error(Code::Base, base.path_span, message).label("this file")];
    let file = match read(&path) {
        Ok(file) => file,
        Err(reason) => {
            let message = format!("cannot read the base `{}`: {reason}", path.display());
            return Err((source, refuse(message)));
        }
    };
    if open.contains(&file.identity) {
        let message = format!("`{}` is a base of itself", path.display());
        return Err((source, refuse(message)));
    }
    open.push(file.identity);
    let under = over(Source::new(path.display().to_string(), file.text), read, open)?;
    let parsed = parse(&under);
    if diagnostic::has_errors(&parsed.diagnostics) {
        return Err((under, parsed.diagnostics));
    }
    merge_base(&under, &source).map_err(|problems| (source, problems))
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
            .map(|source| source.text)
            .map_err(|(_, problems)| problems[0].message.clone())
    }

    #[test]
    fn bases_of_bases_are_found_beside_the_file_that_names_them() {
        let text = over("base \"b.hrm\"\nmodel c { let N = 3 }").expect("the files are there");
        assert!(text.starts_with("model c {") && text.contains("N = 3") && text.contains("M = 2"), "{text}");
    }

    #[test]
    fn bases_that_cannot_be_used_are_named() {
        let message = over("base \"d.hrm\"").expect_err("it is not there");
        assert_eq!(message, "cannot read the base `specs/d.hrm`: there is no such file");
        assert_eq!(over("base \"loop.hrm\""), Err("`specs/loop.hrm` is a base of itself".to_string()));
    }
}
