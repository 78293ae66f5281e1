//! Traces: the animation on a terminal of its own, frames without one, and the documents.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hrmc_testing::workplace::{TINY, Workplace};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use crate::HRMC;

const PUZZLE: &str = "1...\n....\n..2.\n....\n";

/// Time that an answer of a terminal may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a place with a trained run and a puzzle.
fn trained() -> Workplace {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", TINY);
    place.write("puzzle.txt", PUZZLE);
    place.succeed("run tiny.hrm --train");
    place
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// A command on a terminal of 100 columns and 40 lines.
struct Terminal {
    inner: File,
    child: Child,
    shown: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    seen: Vec<u8>,
}

impl Terminal {
    fn start(place: &Workplace, arguments: &str) -> Terminal {
        let inner: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&inner).and_then(|()| unlockpt(&inner)).expect("the terminal is ours");
        let name = ptsname(&inner, Vec::new()).expect("it has a name");
        tcsetwinsize(&inner, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("it has a size");
        let outer = || {
            let outer = File::options().read(true).write(true).open(name.to_str().expect("it is a path"));
            outer.expect("the terminal can be opened")
        };
        let mut command = Command::new(HRMC);
        command.current_dir(place.path("")).args(arguments.split(' ')).env("TERM", "xterm");
        let child = command.stdin(outer()).stdout(outer()).stderr(outer()).spawn().expect("the binary runs");
        let (send, shown) = channel();
        let inner = File::from(inner);
        let mut reader = inner.try_clone().expect("a terminal can be read twice");
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(bytes @ 1..) = reader.read(&mut piece) {
                if send.send(piece[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        let size = |number: u16| NonZero::new(number).expect("it is not 0");
        let screen = vt100::Parser::new(size(40), size(100), 0);
        Terminal { inner, child, shown, screen, seen: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.seen.extend(bytes);
    }

    /// Waits until the screen shows a text.
    fn wait_for(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.screen.screen().contents().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no `{text}` on:\n{}", self.screen.screen().contents());
            if let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(50)) {
                self.take(&bytes);
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.inner.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Returns whether the terminal hands over every key at once and shows none.
    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.inner).expect("the terminal has modes").local_modes;
        !modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO)
    }

    /// Waits for the end, and asserts that the terminal is as it was. Returns the exit code and what stands on it.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("it ends").code();
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(100)) {
            self.take(&bytes);
        }
        let screen = self.screen.screen();
        assert!(!self.is_raw(), "the terminal is no longer raw");
        assert!(!screen.alternate_screen(), "the screen is that of before");
        assert!(!screen.hide_cursor(), "the cursor is there");
        (code, screen.contents())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_animation_is_steered_by_keys_and_leaves_the_terminal_as_it_was() {
    let place = trained();
    let mut terminal = Terminal::start(&place, "run runs/tiny-001 --puzzle puzzle.txt --trace");
    terminal.wait_for("segment 1 of 3: z_low <- low");
    assert!(terminal.is_raw());
    assert!(terminal.screen.screen().alternate_screen() && terminal.screen.screen().hide_cursor());
    // Stop, then go to the first frame, one update on, one segment on, and to the end.
    terminal.press("\u{1b}[H");
    terminal.wait_for("segment 1 of 3: z_low <- low");
    terminal.press("\u{1b}[C");
    terminal.wait_for("segment 1 of 3: z_high <- high");
    terminal.press("\u{1b}[B");
    terminal.wait_for("segment 2 of 3: z_high <- high");
    terminal.press("\u{1b}[D");
    terminal.wait_for("segment 2 of 3: z_low <- low");
    terminal.press("G");
    terminal.wait_for("segment 3 of 3: z_high <- high");
    terminal.wait_for("solved");
    terminal.press("q");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0));
    assert!(shown.contains("+-----+-----+"), "the answer stays: {shown}");
}

#[test]
fn it_plays_to_the_end_by_itself() {
    let place = trained();
    let mut terminal = Terminal::start(&place, "eval runs/tiny-001 --trace 2");
    terminal.wait_for("puzzle 1 of 2");
    terminal.wait_for("segment 3 of 3: z_high <- high");
    terminal.press("n");
    terminal.wait_for("puzzle 2 of 2");
    terminal.press("q");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn ctrl_c_and_signals_give_the_terminal_back() {
    let place = trained();
    for (end, code) in [("\u{3}", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = Terminal::start(&place, "run runs/tiny-001 --puzzle puzzle.txt --trace");
        terminal.wait_for("segment 1 of 3");
        match end {
            "\u{3}" => terminal.press(end),
            signal => {
                let id = terminal.child.id().to_string();
                assert!(
                    Command::new("kill").args(["-s", signal, &id]).status().expect("kill runs").success()
                );
            }
        }
        assert_eq!(terminal.end().0, Some(code), "{end:?}");
    }
}

#[test]
fn without_a_terminal_there_is_a_frame_for_every_update() {
    let place = trained();
    let text = place.succeed("run runs/tiny-001 --puzzle puzzle.txt --trace");
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("segment ")).collect();
    let segment = |number| {
        [format!("segment {number} of 3: z_low <- low"), format!("segment {number} of 3: z_high <- high")]
    };
    assert_eq!(headings, [segment(1), segment(2), segment(3)].concat());
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("confidence, in tenths") && text.contains("against the rules"), "{text}");
}

#[test]
fn the_last_frame_is_the_answer_of_the_same_command_without_a_trace() {
    let place = trained();
    for set in
        ["", " --set model.infer.segments=5", " --set model.infer.rollouts=3 --set model.infer.noise=1"]
    {
        let solve = format!("run runs/tiny-001 --puzzle puzzle.txt --json{set}");
        let answer = json(&place.succeed(&solve));
        let trace = json(&place.succeed(&format!("{solve} --trace")));
        let puzzle = &trace["puzzles"][0];
        let best = &puzzle["rollouts"][puzzle["best"].as_u64().expect("it is a number") as usize];
        let frames = best["frames"].as_array().expect("it is a list");
        assert_eq!(frames[frames.len() - 1]["answer"], answer["answer"], "{set}");
        assert_eq!(best["segments"].as_u64(), answer["segments"].as_array().map(|all| all.len() as u64));
        assert_eq!(puzzle["best"].as_u64().map(|best| best + 1), answer["rollout"].as_u64());
        assert_eq!(puzzle["input"], answer["question"]);
        assert_eq!(frames.len(), 2 * best["segments"].as_u64().expect("it is a number") as usize);
    }
}

#[test]
fn rows_of_the_test_data_are_traced_with_their_labels() {
    let place = trained();
    let err = place.run("eval runs/tiny-001 --trace 20 -o trace.json").err;
    assert!(err.contains("wrote the trace to `trace.json` ("), "{err}");
    let trace = json(&std::fs::read_to_string(place.path("trace.json")).expect("it was written"));
    let rows: Vec<u64> = trace["puzzles"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|puzzle| puzzle["row"].as_u64().expect("it is a number"))
        .collect();
    assert_eq!(rows, (0..9).collect::<Vec<u64>>(), "there are nine");
    assert_eq!(trace["puzzles"][8]["label"].as_array().map(Vec::len), Some(16));
    assert!(err.contains("; left out: attention outside of the first and the last segment"), "{err}");
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let place = trained();
    for (arguments, expected) in [
        (
            "run runs/tiny-001 --puzzle puzzle.txt --trace -o trace.png",
            "expected one that ends in `.html` or `.json`",
        ),
        ("run runs/tiny-001 --puzzle puzzle.txt --trace -o absent/trace.json", "absent/trace.json"),
        ("run runs/tiny-001 --puzzle absent.txt --trace", "absent.txt"),
    ] {
        let message = place.fail(arguments);
        assert!(message.contains(expected), "{message}");
    }
    place.write("many.txt", &format!("{}\n", PUZZLE.replace('\n', "")).repeat(65));
    let message = place.fail("run runs/tiny-001 --puzzle many.txt --trace");
    assert!(message.contains("a trace has at most 64 puzzles, and these are 65"), "{message}");
    for arguments in [
        "run tiny.hrm --train --trace",
        "run runs/tiny-001 --puzzle puzzle.txt -o trace.json",
        "eval runs/tiny-001 --trace 2 --segments 1,2",
        "eval runs/tiny-001 -o trace.json",
    ] {
        assert_eq!(place.run(arguments).code, Some(2), "{arguments}");
    }
}
