//! Subcommands that people type and that hrmc does not have, answered with what to write instead.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is said about a word. It names commands that there are.
const ANSWERS: &[(&[&str], &str)] = &[
    (&["train", "fit"], "`hrmc run SPEC --train` trains a model"),
    (&["resume", "continue"], "`hrmc run --train --resume RUN` continues a run"),
    (
        &["solve", "infer", "answer"],
        "`hrmc run RUN --puzzle FILE` solves a puzzle with a trained model, and `hrmc predict RUN FILE` many",
    ),
    (&["evaluate", "test", "score"], "`hrmc eval RUN` evaluates a trained model on held-out puzzles"),
    (
        &["init", "new", "create"],
        "hrmc cannot do that yet; `hrmc show > my.hrm` writes the built-in spec to a file to begin from",
    ),
    (
        &["chart", "draw", "curves"],
        "`hrmc plot RUN` draws the curves of a run, and `hrmc plot RUN -o curves.html` writes them as a page",
    ),
    (&["tensorboard"], "`hrmc plot RUN --to tensorboard -o DIR` writes event files of a run for TensorBoard"),
    (
        &["import", "convert"],
        "hrmc does not import weights yet; datasets in the format of the published code are read as they are, with \
         `hrmc run SPEC --train --data DIR`, and `hrmc data sudoku --from CSVDIR -o DIR` builds one from CSV files",
    ),
    (
        &["export", "save"],
        "hrmc does not export yet; `best/weights.safetensors` in the folder of a run has the weights, in a format that \
         other programs read",
    ),
    (&["generate", "dataset"], "`hrmc data sudoku --generate -o DIR` makes a dataset"),
    (&["validate", "lint"], "`hrmc check SPEC` reports every problem of a spec"),
    (&["build", "inspect", "cost"], "`hrmc compile SPEC` reports what a spec costs, without running it"),
    (&["format"], "`hrmc fmt SPEC` puts a spec into the canonical layout"),
    (&["print", "cat"], "`hrmc show SPEC` prints a spec with every default"),
    (&["compare"], "`hrmc diff SPEC SPEC` compares two specs"),
    (&["benchmark", "profile", "time"], "`hrmc bench SPEC` times a segment"),
    (&["device", "gpu", "info"], "`hrmc devices` lists the devices of this machine"),
    (&["version"], "`hrmc --version` prints the version"),
];

/// Returns what to write in place of a subcommand that there is not, if that is known.
pub fn answer(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    ANSWERS.iter().find(|(words, _)| words.contains(&&*word)).map(|(_, answer)| *answer)
}

/// Returns the message for a command line that cannot be parsed because of such a word.
pub fn message(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => {
            Some(format!("there is no subcommand `{word}`; {}", answer(word)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::command_with;
    use super::{ANSWERS, message};
    use crate::device::{Places, devices};

    #[test]
    fn what_people_type_is_answered_with_commands_that_there_are() {
        let command = command_with(&devices(&Places::default()));
        let said = |line: &str| {
            let matches = command.clone().try_get_matches_from(line.split_whitespace());
            matches.map(|_| ()).map_err(|error| message(&error))
        };
        for (words, answer) in ANSWERS {
            for word in *words {
                let expected = format!("there is no subcommand `{word}`; {answer}");
                assert_eq!(said(&format!("hrmc {word} my.hrm --steps 3")), Err(Some(expected)), "{word}");
            }
            for suggested in answer.split('`').skip(1).step_by(2).filter(|text| text.starts_with("hrmc ")) {
                // `--version` is an error to the parser; a shell keeps what is behind `>`.
                let parsed = said(suggested.split(" >").next().unwrap_or(suggested));
                assert!(parsed == Ok(()) || suggested == "hrmc --version", "`{suggested}`");
            }
        }
        assert_eq!(said("hrmc frobnicate"), Err(None));
        assert_eq!(said("hrmc data frobnicate"), Err(None));
    }
}
