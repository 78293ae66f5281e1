//! Reads sources as far as it takes to see which module uses which: paths with `::`, and what `use` brings in.
//!
//! Sources are read as tokens, so paths inside of macros are seen too, and comments and texts are not taken for code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names of a module from the root of the crate on, or of a path.
pub type Names = Vec<String>;

/// Something that a module uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Used {
    /// Another module of the crate, or something in it.
    Module(Names),
    /// A path that begins with the name of a crate, as `std::fs::read`.
    Extern(Names),
}

/// A path in the sources, where it stands.
struct Found {
    /// The module around it, modules within a file included.
    within: Names,
    /// Its names; the first one is empty where the path begins with `::`.
    path: Names,
}

/// The sources of a crate.
#[derive(Default)]
pub struct Sources {
    /// What each file says, by its module.
    files: BTreeMap<Names, Vec<Found>>,
    /// Names that `use` gives to paths, by module.
    given: BTreeMap<Names, BTreeMap<String, Names>>,
    /// Modules that are compiled for tests alone.
    tests: BTreeSet<Names>,
}

impl Sources {
    /// Reads all files below a folder.
    pub fn open(folder: &Path) -> Sources {
        let mut sources = Sources::default();
        let mut open = vec![folder.to_path_buf()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next).expect("the sources are checked in") {
                let path = entry.expect("the folder can be listed").path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let inner = path.strip_prefix(folder).expect("it lies in the folder").with_extension("");
                    let names: Names = inner.iter().map(|name| name.to_string_lossy().into_owned()).collect();
                    sources.add(names, &fs::read_to_string(&path).expect("sources are UTF-8"));
                }
            }
        }
        sources
    }

    /// Adds a file; `names` are those of its path, without the extension.
    pub fn add(&mut self, mut names: Names, text: &str) {
        if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
            names.pop();
        }
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{names:?}: {error}"));
        let mut found = Vec::new();
        self.read(stream, &names, &mut found);
        self.files.insert(names, found);
    }

    /// Returns the modules that have a file, without those for tests.
    pub fn modules(&self) -> impl Iterator<Item = &Names> {
        self.files.keys().filter(|module| !self.is_test(module))
    }

    fn is_test(&self, module: &[String]) -> bool {
        (1..=module.len()).any(|length| self.tests.contains(&module[..length]))
    }

    /// Returns what a file uses, tests left out.
    pub fn used(&self, module: &Names) -> BTreeSet<Used> {
        let found = self.files[module].iter().filter(|found| !self.is_test(&found.within));
        found.filter_map(|found| self.resolve(&found.within, &found.path, 0)).collect()
    }

    /// Returns whether there is such a module, with a file of its own.
    fn is_module(&self, names: &[String]) -> bool {
        names.is_empty()
            || self.files.range(names.to_vec()..).next().is_some_and(|(at, _)| at.starts_with(names))
    }

    /// Follows a path to the module that defines what it leads to.
    fn resolve(&self, within: &[String], path: &[String], depth: usize) -> Option<Used> {
        let mut whole = within.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "" => return Some(Used::Extern(path[1..].to_vec())),
            "crate" => (whole, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while let Some((_, after)) = rest.split_first().filter(|(first, _)| *first == "super") {
                    whole.pop();
                    rest = after;
                }
            }
            first => {
                whole.push(first.to_string());
                if !self.is_module(&whole) {
                    return path[0].starts_with(char::is_lowercase).then(|| Used::Extern(path.to_vec()));
                }
                whole.pop();
            }
        }
        while let Some((name, after)) = rest.split_first() {
            whole.push(name.clone());
            if self.is_module(&whole) {
                rest = after;
                continue;
            }
            whole.pop();
            break;
        }
        // Another name for something that lies elsewhere.
        let given = rest.first().and_then(|name| self.given.get(&whole)?.get(name));
        if let (Some(target), true) = (given, depth < 8) {
            let target: Names = target.iter().chain(&rest[1..]).cloned().collect();
            return self.resolve(&whole, &target, depth + 1);
        }
        // Modules within a file belong to the file.
        while !self.is_module(&whole) {
            whole.pop();
        }
        Some(Used::Module(whole))
    }

    fn read(&mut self, stream: TokenStream, within: &Names, found: &mut Vec<Found>) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        let mut for_tests = false;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    for_tests |= is_test_attribute(tokens.get(at + 1))
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => for_tests = false,
                TokenTree::Ident(ident) if ident == "mod" && is_name(tokens.get(at + 1)) => {
                    let mut inner = within.clone();
                    inner.push(tokens[at + 1].to_string());
                    if std::mem::take(&mut for_tests) {
                        self.tests.insert(inner.clone());
                    }
                    if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                        self.read(body.stream(), &inner, found);
                    }
                    at += 2;
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    let end = at + tokens[at..].iter().position(is_semicolon).unwrap_or(tokens.len() - at);
                    for (path, name) in use_tree(&tokens[at + 1..end], &[]) {
                        if !for_tests {
                            found.push(Found { within: within.clone(), path: path.clone() });
                        }
                        self.given.entry(within.clone()).or_default().insert(name, path);
                    }
                    for_tests = false;
                    at = end;
                }
                TokenTree::Ident(_) => {
                    let mut path = path_at(&tokens, at);
                    let (begins, longer) = (beginning(&tokens[..at]), path.len() - 1);
                    // Two tokens for `::`, one for the name behind it.
                    at += 3 * longer;
                    if begins == Beginning::WithColons {
                        path.insert(0, String::new());
                    }
                    if longer > 0 && begins != Beginning::Behind && !for_tests {
                        found.push(Found { within: within.clone(), path });
                    }
                }
                TokenTree::Group(group) => {
                    if !for_tests {
                        self.read(group.stream(), within, found);
                    }
                    // The body of a function, or the fields of a type: what an attribute was for ends with it.
                    for_tests &= group.delimiter() != Delimiter::Brace;
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// Returns whether a token is the inside of `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_test_attribute(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(attribute)) = token else { return false };
    let text: String =
        attribute.stream().to_string().chars().filter(|letter| !letter.is_whitespace()).collect();
    text.starts_with("cfg(test") || text.starts_with("cfg(all(test,")
}

fn is_name(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Ident(_)))
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

/// Returns whether `::` stands at a place.
fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// How a name begins a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// As `std::fs`.
    Plain,
    /// As `::std::fs`.
    WithColons,
    /// Not at all: it goes on behind generic arguments, as in `Vec::<u8>::new`.
    Behind,
}

/// Says how a name begins a path by what stands before it.
fn beginning(before: &[TokenTree]) -> Beginning {
    match before {
        [rest @ .., _, _] if is_separator(before, before.len() - 2) => match rest.last() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == '>' => Beginning::Behind,
            _ => Beginning::WithColons,
        },
        _ => Beginning::Plain,
    }
}

/// Returns the names of a path that begins at a place, one if nothing follows the first.
fn path_at(tokens: &[TokenTree], at: usize) -> Names {
    let mut path = vec![tokens[at].to_string()];
    let mut next = at + 1;
    while is_separator(tokens, next) && is_name(tokens.get(next + 2)) {
        path.push(tokens[next + 2].to_string());
        next += 3;
    }
    path
}

/// Returns the paths of a tree of `use`, each with the name that it gives to what the path leads to.
fn use_tree(tokens: &[TokenTree], before: &[String]) -> Vec<(Names, String)> {
    let commas = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let mut all = Vec::new();
    for one in tokens.split(commas).filter(|one| !one.is_empty()) {
        let mut path = before.to_vec();
        if path.is_empty() && is_separator(one, 0) {
            path.push(String::new());
        }
        let mut name = None;
        let mut group = None;
        let mut rest = one.iter();
        while let Some(token) = rest.next() {
            match token {
                TokenTree::Ident(ident) if ident == "as" => name = rest.next().map(ToString::to_string),
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Group(inner) => group = Some(inner.stream().into_iter().collect::<Vec<_>>()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        match group {
            Some(inner) => all.extend(use_tree(&inner, &path)),
            None => {
                // `{self, …}` is the module before the braces.
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let name = name.unwrap_or_else(|| path.last().cloned().unwrap_or_default());
                all.push((path, name));
            }
        }
    }
    all
}
