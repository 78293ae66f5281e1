//! Words on the terminal: commands that can be typed, lines that fit, and answers to what people type.

use std::fs::{self, File};
use std::io::Read;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use hrmc_testing::workplace::{Said, TINY, Workplace};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::HRMC;

/// A name that a shell takes apart, and that looks like an option.
const ODD: &str = "-my 'runs' $HOME";

fn odd_place() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    fs::create_dir(place.path("bin")).expect("the folder can be made");
    symlink(HRMC, place.path("bin/hrmc")).expect("the folder can be written");
    place
}

fn run(place: &Workplace, arguments: &[&str]) -> Said {
    Said::of(place.command("").args(arguments).output().expect("the binary runs"))
}

/// Types the command of a text that begins so into a shell; it must succeed.
fn type_in_shell(place: &Workplace, text: &str, begin: &str) -> Said {
    let at = text.find(&format!("`{begin}")).unwrap_or_else(|| panic!("`{begin}` is missing in: {text}"));
    let command = text[at + 1..].split('`').next().expect("there is a first part");
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let typed =
        Command::new("sh").current_dir(place.path("")).env("PATH", path).args(["-c", command]).output();
    let said = Said::of(typed.expect("there is a shell"));
    assert_eq!(said.code, Some(0), "`{command}`: {}", said.err);
    said
}

#[test]
fn suggested_commands_can_be_typed_into_a_shell_whatever_the_names_are() {
    let place = odd_place();
    let runs = format!("--runs={ODD}");
    let begun = run(&place, &["run", "tiny.hrm", "--train", "--steps", "2", "--eval-limit", "2", &runs]);
    assert_eq!(begun.code, Some(0), "{}", begun.err);
    // The suggestion goes on to the end of the schedule.
    type_in_shell(&place, &begun.out, "hrmc run --train --resume");
    place.write("FILE", "1...\n....\n..2.\n....\n");
    let solving = begun.out.split("solve a puzzle with ").last().expect("there is a last part");
    assert!(type_in_shell(&place, solving, "hrmc run ").out.contains("segment 1: "));

    let begun = run(&place, &["run", "tiny.hrm", "--train", "--steps", "2", "--eval-limit", "0", &runs]);
    assert_eq!(begun.code, Some(0), "{}", begun.err);
    let refused = run(&place, &["run", &format!("./{ODD}/tiny-002"), "--train"]);
    refused.assert_one_message("run RUN --train");
    type_in_shell(&place, &refused.err, "hrmc run --train --resume");

    fs::write(place.path("odd $a.hrm"), TINY.replace("block encoder", "block  encoder"))
        .expect("it can be written");
    let refused = run(&place, &["fmt", "--check", "odd $a.hrm"]);
    type_in_shell(&place, &refused.err, "hrmc fmt");
    assert_eq!(run(&place, &["fmt", "--check", "odd $a.hrm"]).code, Some(0));
    let refused = run(&place, &["run", "odd $a.hrm", "--puzzle", "FILE"]);
    type_in_shell(&place, &refused.err, "hrmc run 'odd $a.hrm'");

    let refused = run(&place, &["run", "tiny.hrm", "--train", "--data=my $data"]);
    type_in_shell(&place, &refused.err, "hrmc data sudoku --generate");
    assert!(
        place.path("my $data/train/dataset.json").exists(),
        "the hint builds the folder that was missing"
    );
    let made =
        run(&place, &["data", "sudoku", "--generate", "--size", "4", "--train", "8", "-o", "a \"b\"\\c"]);
    place.write("SPEC", TINY);
    type_in_shell(&place, &made.out, "hrmc run SPEC");
    let key = made.out.split('`').find(|part| part.starts_with("data = ")).expect("it is suggested");
    fs::write(place.path("own.hrm"), format!("base \"tiny.hrm\"\ntrain {{ {key} }}\n"))
        .expect("it can be written");
    assert_eq!(run(&place, &["run", "own.hrm", "--train", "--steps", "1"]).code, Some(0));
}

#[test]
fn the_folder_of_a_run_stands_for_its_spec() {
    let place = odd_place();
    place.succeed("run tiny.hrm --train --steps 1 --eval-limit 0 --set train.batch=5");
    let run = "runs/tiny-001";
    let resolved = place.succeed("show tiny.hrm --set train.batch=5");
    assert_eq!(place.succeed(&format!("show {run}")), resolved);
    assert_eq!(
        place.succeed(&format!("diff {run} tiny.hrm --set-b train.batch=5")),
        "the two specs mean the same\n"
    );
    let compiled = place.succeed("compile tiny.hrm --set train.batch=5");
    assert_eq!(place.succeed(&format!("compile {run}")), compiled);
    assert_eq!(place.run(&format!("check {run}")).code, Some(0));
    let wrong = place.fail(&format!("check {run} --set model.encoder.heads=3"));
    assert!(wrong.contains("runs/tiny-001/run.toml (its spec)") || wrong.contains("--set"), "{wrong}");
    let message = place.fail("show runs");
    assert!(message.contains("`runs` is a folder without `run.toml`"), "{message}");
}

#[test]
fn a_subcommand_that_there_is_not_is_answered_with_what_to_write() {
    let place = Workplace::new(HRMC);
    for (line, expected) in [
        ("train my.hrm", "error: there is no subcommand `train`; `hrmc run SPEC --train` trains a model\n"),
        ("chart", "error: there is no subcommand `chart`; `hrmc plot RUN` draws the curves of a run"),
    ] {
        let said = place.run(line);
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(said.err.starts_with(expected), "{}", said.err);
    }
    assert!(place.fail("help train").contains("`hrmc run SPEC --train` trains a model"));
}

/// Runs a command on a terminal of a width, which grows to 100 columns on the way, and returns the lines that it shows.
fn on_terminal(place: &Workplace, arguments: &[&str], columns: u16) -> Vec<String> {
    let size = |columns| Winsize { ws_row: 60, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let inner: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&inner).and_then(|()| unlockpt(&inner)).expect("the terminal is ours");
    let name = ptsname(&inner, Vec::new()).expect("it has a name");
    let outer = File::options().read(true).write(true).open(name.to_str().expect("it is a path"));
    let outer = outer.expect("the terminal can be opened");
    tcsetwinsize(&inner, size(columns)).expect("it has a size");
    let mut command = Command::new(HRMC);
    command.current_dir(place.path("")).args(arguments).env("TERM", "xterm");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(outer).spawn();
    // It holds the other side of the terminal, which would keep it open.
    drop(command);
    let mut child = child.expect("the binary runs");
    let at_least_one = |number: u16| NonZero::new(number).expect("it is not 0");
    let mut screen = vt100::Parser::new(at_least_one(60), at_least_one(columns), 10_000);
    let mut inner = File::from(inner);
    let mut piece = [0; 4096];
    let mut seen = 0;
    // A terminal whose other side is closed says so by an error.
    while let Ok(bytes @ 1..) = inner.read(&mut piece) {
        screen.process(&piece[..bytes]);
        seen += bytes;
        if seen > 2000 && screen.screen().size().1.get() < 100 {
            tcsetwinsize(&inner, size(100)).expect("it has a size");
            screen.screen_mut().set_size(at_least_one(60), at_least_one(100));
        }
    }
    assert!(child.wait().expect("it ends").success());
    screen.screen_mut().set_scrollback(usize::MAX);
    assert_eq!(
        screen.screen().scrollback(),
        0,
        "everything fits on the screen:\n{}",
        screen.screen().contents()
    );
    screen.screen().contents().lines().map(str::to_string).collect()
}

#[test]
fn the_bar_leaves_no_trail_on_a_narrow_terminal() {
    let place = odd_place();
    for columns in [60, 20] {
        let shown = on_terminal(
            &place,
            &[
                "run",
                "tiny.hrm",
                "--train",
                "--set",
                "train.steps=40",
                "--set",
                "train.eval_every=8 steps",
                "--eval-limit",
                "1",
            ],
            columns,
        );
        assert!(shown.iter().any(|line| line.contains("step 40: ")), "{shown:#?}");
        let bars = shown.iter().filter(|line| line.contains("/40")).count();
        assert_eq!(bars, 0, "{shown:#?}");
    }
}
