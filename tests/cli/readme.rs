//! The commands of README.md, typed in order on a fresh account: each does what it is there for.
//!
//! The account has an empty home and a folder with what of the repository the commands name. Every command runs in a
//! shell. Three things differ from what a reader does, and stand in the tables below: builds and downloads do not
//! happen, the commands that need a GPU are left out, and trainings, measurements and datasets are smaller.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Commands that do not run, exactly as README.md has them without their comments, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("cargo test", "it runs this test"),
    ("cargo install --path .", "the binary is built already, and on the path of the account"),
    (
        "cargo run --release --manifest-path crates/baseline/Cargo.toml -- devices",
        "`tests/repository/baseline.rs` builds and tests that package",
    ),
    (
        "curl -fL --create-dirs -o 'csv/sudoku/#1.csv' \
         'https://huggingface.co/datasets/sapientinc/sudoku-extreme/resolve/main/{train,test}.csv'",
        "a download: `csv_files` writes small files of that form",
    ),
    (
        "curl -fL --create-dirs -o 'csv/maze/#1.csv' \
         'https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k/resolve/main/{train,test}.csv'",
        "a download: `csv_files` writes small files of that form",
    ),
    ("git clone https://github.com/fchollet/ARC-AGI", "a download: `tasks` writes a task of that form"),
    (
        "git clone https://github.com/victorvikram/ConceptARC",
        "a download: `tasks` writes a task of that form",
    ),
    ("hrmc run specs/quickstart.hrm --train --device cuda", "it needs a GPU"),
];

/// What stands at the beginning of a command, and what runs in its place: the binary is built already.
const BUILT: (&str, &str) = ("cargo run --release -- ", "hrmc ");

/// Programs that commands may begin with, besides those of [`LEFT_OUT`].
const PROGRAMS: &[&str] = &["hrmc", "mkdir", "cat"];

/// Numbers that are smaller here. Steps are divided by 500, those of the quickstart's spec too.
const SMALLER: &[(&str, &str)] = &[
    ("--steps 1000", "--steps 2"),
    ("--steps 200", "--steps 1"),
    ("--steps 100", "--steps 1"),
    ("--train 1000 --test 500", "--train 8 --test 4"),
    ("--copies 1000", "--copies 3"),
];

/// Options that commands get, by what they begin with. A resumed run has the small spec in its folder.
const OPTIONS: &[(&str, &str)] = &[
    ("hrmc run --train --resume ", ""),
    ("hrmc run --train", QUICKSTART),
    ("hrmc run specs/quickstart.hrm --train", QUICKSTART),
    ("hrmc sweep specs/quickstart.hrm", QUICKSTART),
    ("hrmc run specs/sudoku-small.hrm --train", "--set train.batch=2"),
    ("hrmc bench ", "--batch 1 --repeat 1"),
];

/// A quickstart of few steps and puzzles.
const QUICKSTART: &str =
    "--set train.steps=8 --set train.batch=2 --set train.data.train=16 --set train.data.test=4";

/// A fenced block of README.md.
struct Block {
    language: String,
    lines: Vec<String>,
}

/// A command with what a reader sees of its output; nothing where README.md shows none.
struct Typed {
    command: String,
    shown: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks() -> Vec<Block> {
    let text = fs::read_to_string(root().join("README.md")).expect("README.md is checked in");
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some("") if inside => inside = false,
            Some(language) => {
                assert!(!inside, "a block ends before `{language}` begins");
                blocks.push(Block { language: language.to_string(), lines: Vec::new() });
                inside = true;
            }
            None if inside => blocks.last_mut().expect("a block is open").lines.push(line.to_string()),
            None => {}
        }
    }
    assert!(!inside, "the last block ends");
    blocks
}

/// Returns a line without the comment at its end.
fn without_comment(line: &str) -> &str {
    let line = line.split(" # ").next().expect("a text has a first part");
    line.trim_end()
}

/// Returns the commands of a block of `sh`: a line each, but for lines that end with `\` and for texts up to `END`.
fn commands(block: &Block) -> Vec<Typed> {
    let mut commands = Vec::new();
    let mut lines = block.lines.iter();
    while let Some(line) = lines.next() {
        let mut command = without_comment(line).to_string();
        while command.ends_with('\\') {
            let next = lines.next().expect("a line that ends with `\\` goes on");
            command =
                format!("{} {}", command.trim_end_matches('\\').trim_end(), without_comment(next).trim());
        }
        if command.ends_with("<<'END'") {
            let text: Vec<&str> =
                lines.by_ref().take_while(|line| *line != "END").map(String::as_str).collect();
            command = format!("{command}\n{}\nEND", text.join("\n"));
        }
        if !command.is_empty() {
            commands.push(Typed { command, shown: Vec::new() });
        }
    }
    commands
}

/// Returns the commands of a block of `console`, each behind `$`, with the output that follows it.
fn dialogue(block: &Block) -> Vec<Typed> {
    let mut typed: Vec<Typed> = Vec::new();
    for line in &block.lines {
        match line.strip_prefix("$ ") {
            Some(command) => typed.push(Typed { command: command.to_string(), shown: Vec::new() }),
            None => typed.last_mut().expect("a command comes first").shown.push(line.clone()),
        }
    }
    typed
}

/// Returns the command that runs in place of one of README.md.
fn smaller(command: &str) -> String {
    let mut command = match command.strip_prefix(BUILT.0) {
        Some(rest) => format!("{}{rest}", BUILT.1),
        None => command.to_string(),
    };
    for (large, small) in SMALLER {
        command = command.replace(large, small);
    }
    match OPTIONS.iter().find(|(beginning, _)| command.starts_with(beginning)) {
        Some((_, options)) => format!("{command} {options}"),
        None => command,
    }
}

/// A fresh account, with what of the repository the commands name.
struct Account {
    folder: TempDir,
}

impl Account {
    fn new() -> Account {
        let account = Account { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        for folder in ["home", "bin", "hrmc/specs", "hrmc/tests/fixtures"] {
            fs::create_dir_all(account.path(folder)).expect("the folder can be made");
        }
        symlink(env!("CARGO_BIN_EXE_hrmc"), account.path("bin/hrmc")).expect("a link can be made");
        for entry in fs::read_dir(root().join("specs")).expect("the specs are checked in") {
            account.copy(&entry.expect("the folder can be read").path());
        }
        for file in ["rope-puzzle.json", "rope-puzzle.safetensors"] {
            account.copy(&root().join("tests/fixtures").join(file));
        }
        account
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies a file of the repository to the same place in that of the account.
    fn copy(&self, file: &Path) {
        let inner = file.strip_prefix(root()).expect("the file is in the repository");
        fs::copy(file, self.path("hrmc").join(inner)).expect("the file can be copied");
    }

    fn run(&self, command: &str) -> Output {
        let path = std::env::var("PATH").expect("there is a path");
        Command::new("sh")
            .args(["-c", command])
            .current_dir(self.path("hrmc"))
            .env("HOME", self.path("home"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env_remove("XDG_CACHE_HOME")
            .env_remove("CLICOLOR_FORCE")
            .output()
            .expect("a shell runs")
    }

    /// Writes the folders that a reader clones, with one task in each folder of tasks.
    fn tasks(&self) {
        let pair = "{\"input\": [[1, 2]], \"output\": [[3]]}";
        for file in ["ARC-AGI/data/training/a", "ARC-AGI/data/evaluation/b", "ConceptARC/corpus/Order/Order1"]
        {
            let path = self.path("hrmc").join(file).with_extension("json");
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
            fs::write(path, format!("{{\"train\": [{pair}], \"test\": [{pair}]}}"))
                .expect("the file can be written");
        }
    }

    /// Writes the files that a reader downloads, with one puzzle each.
    fn csv_files(&self) {
        let cell = |row: usize, column: usize| (row * 3 + row / 3 + column) % 9 + 1;
        let answer: String = (0..81).map(|at| cell(at / 9, at % 9).to_string()).collect();
        let question: String =
            answer.chars().enumerate().map(|(at, digit)| if at % 3 == 0 { '.' } else { digit }).collect();
        let rows = [("sudoku", format!("{question},{answer}")), ("maze", "S ## ## G,So##o##oG".to_string())];
        for (family, row) in rows {
            let folder = self.path("hrmc/csv").join(family);
            fs::create_dir_all(&folder).expect("the folder can be made");
            for split in ["train", "test"] {
                let text = format!("source,question,answer,rating\nmade here,{row},1\n");
                fs::write(folder.join(format!("{split}.csv")), text).expect("the file can be written");
            }
        }
    }
}

/// Fails unless a command did what README.md shows: by its exit code, and up to `…` by its output.
fn check(typed: &Typed, run: &str, output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let is_error = typed.shown.first().is_some_and(|line| line.starts_with("error"));
    let said = format!("`{run}`, for `{}`, said:\n{out}{err}", typed.command);
    assert_eq!(output.status.code(), Some(i32::from(is_error)), "{said}");
    let both = format!("{out}{err}");
    let mut lines = both.lines().map(str::trim_end);
    for shown in typed.shown.iter().take_while(|line| *line != "…") {
        assert_eq!(lines.next(), Some(shown.trim_end()), "{said}");
    }
}

#[test]
fn commands_work_in_order_on_a_fresh_account() {
    let account = Account::new();
    account.csv_files();
    account.tasks();
    let mut left_out: Vec<String> = Vec::new();
    for block in blocks() {
        let typed = match block.language.as_str() {
            "sh" => commands(&block),
            "console" => dialogue(&block),
            "hrm" | "rust,no_run" | "text" | "toml" => continue,
            other => panic!("`{other}` is the language of no block whose commands are known"),
        };
        for typed in typed {
            let command = typed.command.as_str();
            if LEFT_OUT.iter().any(|(line, _)| *line == command) {
                left_out.push(command.to_string());
                continue;
            }
            let run = smaller(command);
            let program = run.split_whitespace().next().expect("a command has a program");
            assert!(PROGRAMS.contains(&program), "`{command}` is neither run nor listed as left out");
            check(&typed, &run, &account.run(&run));
        }
    }
    for (line, _) in LEFT_OUT {
        assert!(left_out.iter().any(|command| command == line), "README.md has no command `{line}`");
    }
    let script = account.path("home/.local/share/bash-completion/completions/hrmc");
    let script = fs::read_to_string(script).expect("the completions are where a shell looks for them");
    assert!(script.contains("complete"), "{script}");
    for run in ["quickstart-001", "quickstart-002"] {
        let metrics = account.path("hrmc/runs").join(run).join("metrics.jsonl");
        let metrics = fs::read_to_string(metrics).expect("a run leaves metrics");
        let steps = metrics.lines().filter(|line| line.contains("\"kind\":\"train\"")).count();
        assert_eq!(steps, 8, "`{run}` is trained to its end");
    }
    for entry in fs::read_dir(root().join("specs")).expect("the specs are checked in") {
        let file = entry.expect("the folder can be read").path();
        let copy = account.path("hrmc").join(file.strip_prefix(root()).expect("it is in the repository"));
        let [before, after] = [file, copy].map(|file| fs::read(file).expect("the file can be read"));
        assert!(before == after, "`hrmc fmt` changes nothing of what is shipped");
    }
}

#[test]
fn a_comment_and_a_continued_line_are_no_part_of_a_command() {
    let lines = ["hrmc fmt a.hrm   # why", "", "curl 'a/#1' \\", "  'b'", "cat > f <<'END'", "1 # 2", "END"];
    let block = Block { language: "sh".to_string(), lines: lines.iter().map(ToString::to_string).collect() };
    let commands: Vec<String> = commands(&block).into_iter().map(|typed| typed.command).collect();
    assert_eq!(commands, ["hrmc fmt a.hrm", "curl 'a/#1' 'b'", "cat > f <<'END'\n1 # 2\nEND"]);
}

#[test]
fn specs_and_defaults_are_accepted() {
    let account = Account::new();
    let mut seen = Vec::new();
    for block in blocks() {
        let text = block.lines.join("\n") + "\n";
        let command = match block.language.as_str() {
            "hrm" => {
                fs::write(account.path("hrmc/readme.hrm"), text).expect("the file can be written");
                "hrmc check readme.hrm"
            }
            "toml" => {
                fs::write(account.path("hrmc/hrmc.toml"), text).expect("the file can be written");
                // The spec of the file is what is checked.
                "hrmc check --json"
            }
            _ => continue,
        };
        let output = account.run(command);
        let [out, err] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(output.status.success() && err.is_empty(), "`{command}` said:\n{out}{err}");
        seen.push(block.language);
    }
    assert_eq!(seen, ["hrm", "toml"]);
}
