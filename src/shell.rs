//! Words of command lines that messages suggest, so that they can be copied into a shell.

use std::path::Path;

/// Returns text as one word of a command line of a POSIX shell: quoted where the shell would see more in it.
pub fn word(text: &str) -> String {
    // Only a zero byte cannot be quoted, and no argument can have one.
    shlex::try_quote(text).map_or_else(|_| text.to_string(), |quoted| quoted.into_owned())
}

/// Returns a path as one word of a command line, where it cannot be taken for an option.
pub fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { word(&format!("./{text}")) } else { word(&text) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{path, word};

    #[test]
    fn a_shell_reads_back_what_is_quoted() {
        for text in [
            "runs/tiny-001",
            "my runs/a",
            "it's",
            "$HOME",
            "a\"b",
            "`a`",
            "a\\b",
            "*?",
            "~a",
            "a!b",
            "",
            "ä b",
        ] {
            assert_eq!(shlex::split(&word(text)), Some(vec![text.to_string()]), "{}", word(text));
        }
        assert_eq!(word("runs/tiny-001"), "runs/tiny-001");
        assert_eq!(word("my runs/$a"), "'my runs/$a'");
    }

    #[test]
    fn a_path_is_never_an_option() {
        assert_eq!(path(Path::new("-o")), "./-o");
        assert_eq!(path(Path::new("- o")), "'./- o'");
        assert_eq!(path(Path::new("a-o")), "a-o");
    }
}
