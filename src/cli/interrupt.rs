//! Ends before the end: by a signal, or by `--max-time`.
//!
//! The first signal asks for an orderly end. A thread of its own answers it at once, whatever the command is doing, and
//! says what happens next. A second signal ends the process.

#![expect(
    clippy::disallowed_methods,
    reason = "a second signal ends the process at once, and time is limited"
)]

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::{Failure, Stop};
use super::{screen, terminal};

/// A signal that follows another one so soon is the same request: `timeout`, for example, sends its signal to the
/// command and then to the group that the command is in.
const ECHO: Duration = Duration::from_millis(100);

/// What a command is doing that an end at once would spoil.
#[derive(Debug, Clone)]
pub struct Busy {
    /// What the first signal leads to, as in `stopping after this step, to save`.
    pub next: String,
    /// What a second signal costs, after `ends now`; may be empty.
    pub cost: String,
}

/// Hears signals and watches the time.
#[derive(Clone)]
pub struct Interrupt {
    state: Arc<Mutex<Heard>>,
    begun: Instant,
}

/// What was asked for, and what an answer needs.
struct Heard {
    /// While there is none, the first signal ends the process.
    work: Option<Busy>,
    /// The answer to that signal.
    nothing_yet: &'static str,
    /// The first signal, and when it came.
    heard: Option<(Stop, Instant)>,
    deadline: Option<Instant>,
    time_is_up: bool,
}

impl Interrupt {
    /// Begins to hear Ctrl-C, the request to terminate, and the end of the terminal.
    ///
    /// # Errors
    ///
    /// Returns a failure if the system refuses.
    pub fn listen() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt::deaf();
        let hearing = interrupt.clone();
        hear(move |stop| hearing.hear(stop))
            .map_err(|error| Failure::message(format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Returns one that hears no signal.
    fn deaf() -> Interrupt {
        let state = Heard {
            work: None,
            nothing_yet: "stopped before the end; there is no result",
            heard: None,
            deadline: None,
            time_is_up: false,
        };
        Interrupt { state: Arc::new(Mutex::new(state)), begun: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, Heard> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what to answer to a signal while the command does nothing that an end at once would spoil.
    pub fn prepare(&self, answer: &'static str) {
        self.state().nothing_yet = answer;
    }

    /// Tells what the command does from now on; an end at once would spoil it.
    pub fn begin(&self, work: Busy) {
        self.state().work = Some(work);
    }

    /// Limits the time of the command, counted from its beginning. While it does nothing that an end at once would
    /// spoil, such as making puzzles, the process ends when the time is over.
    ///
    /// # Errors
    ///
    /// Returns a failure if the system has no thread to watch the time.
    pub fn limit(&self, time: Duration) -> Result<(), Failure> {
        self.state().deadline = self.begun.checked_add(time);
        let watching = self.clone();
        let watch = move || {
            while let Some(left) = watching.time_left().filter(|left| !left.is_zero()) {
                std::thread::sleep(left);
            }
            let line = {
                let state = watching.state();
                (state.work.is_none() && state.deadline.is_some()).then_some(state.nothing_yet)
            };
            if line.is_some() {
                end(Stop::TimeIsUp, line);
            }
        };
        let watcher = std::thread::Builder::new().name("time".to_string()).spawn(watch);
        watcher.map_err(|error| Failure::message(format!("cannot watch the time: {error}")))?;
        Ok(())
    }

    /// Returns the time that is left; `None` without a limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.state().deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Asks for an orderly end, since what comes next would not fit in the time that is left.
    pub fn end_for_time(&self) {
        self.state().time_is_up = true;
    }

    /// Returns why an end was asked for, if one was.
    pub fn reason(&self) -> Option<Stop> {
        let state = self.state();
        state.heard.map(|(stop, _)| stop).or(state.time_is_up.then_some(Stop::TimeIsUp))
    }

    /// Answers a signal.
    fn hear(&self, stop: Stop) {
        let reaction = self.state().answer(stop, Instant::now());
        // The lock is free again: an answer that cannot be written must not hold up what is being saved.
        match reaction {
            Reaction::Nothing => {}
            Reaction::Say(line) => terminal::note(line),
            Reaction::End(line) => end(stop, line),
        }
    }
}

/// Ends the process at once, with a last word.
fn end(stop: Stop, line: Option<&str>) -> ! {
    screen::leave();
    terminal::erase_bar();
    if let Some(line) = line {
        terminal::note(line);
    }
    process::exit(stop.code().into());
}

/// What follows a signal.
enum Reaction {
    Nothing,
    Say(String),
    End(Option<&'static str>),
}

impl Heard {
    fn answer(&mut self, stop: Stop, now: Instant) -> Reaction {
        match (self.heard, &self.work) {
            (Some((_, first)), _) if now.saturating_duration_since(first) < ECHO => Reaction::Nothing,
            (Some(_), _) => Reaction::End(None),
            (None, None) => Reaction::End(Some(self.nothing_yet)),
            (None, Some(Busy { next, cost })) => {
                self.heard = Some((stop, now));
                let again = match stop {
                    Stop::Interrupted => "Ctrl-C again",
                    Stop::Terminated | Stop::HungUp | Stop::TimeIsUp => "a second signal",
                };
                Reaction::Say(format!("{next}; {again} ends now{cost}"))
            }
        }
    }
}

/// Calls `answer` in a thread of its own for every signal.
#[cfg(unix)]
fn hear(answer: impl Fn(Stop) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut wanted = vec![SIGINT, SIGTERM];
    // Whoever starts a command with `nohup` wants it to outlive the terminal.
    if !crate::system::ignores_hang_up() {
        wanted.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    std::thread::Builder::new().name("signals".to_string()).spawn(move || {
        for signal in signals.forever() {
            answer(match signal {
                SIGTERM => Stop::Terminated,
                SIGHUP => Stop::HungUp,
                _ => Stop::Interrupted,
            });
        }
    })?;
    Ok(())
}

/// Calls `answer` in a thread of its own for every Ctrl-C.
#[cfg(not(unix))]
fn hear(answer: impl Fn(Stop) + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || answer(Stop::Interrupted))
}

/// A time that a command line limits, such as `1h30m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeLimit {
    /// As it was written.
    pub text: String,
    /// The time.
    pub time: Duration,
}

impl TimeLimit {
    /// Reads `90s`, `30m`, `11h`, `1h30m` or `2d`: numbers, each with its unit, the largest unit first.
    ///
    /// # Errors
    ///
    /// Returns what was expected.
    pub fn parse(text: &str) -> Result<TimeLimit, String> {
        const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
        let expected = || "expected a time such as 90s, 30m, 11h, 1h30m or 2d".to_string();
        let mut units = UNITS.iter();
        let (mut seconds, mut rest) = (0u64, text);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
            let number: u64 = rest[..digits].parse().map_err(|_| expected())?;
            let unit = rest[digits..].chars().next().ok_or_else(expected)?;
            // What is behind the unit in the list is smaller, and each unit comes once.
            let (_, in_seconds) = units.find(|(name, _)| *name == unit).ok_or_else(expected)?;
            seconds = number
                .checked_mul(*in_seconds)
                .and_then(|more| seconds.checked_add(more))
                .ok_or_else(|| "this is longer than any time".to_string())?;
            rest = &rest[digits + 1..];
        }
        if seconds == 0 {
            return Err(expected());
        }
        Ok(TimeLimit { text: text.to_string(), time: Duration::from_secs(seconds) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: Reaction) -> String {
        match answer {
            Reaction::Nothing => "nothing".to_string(),
            Reaction::Say(line) => line,
            Reaction::End(line) => format!("end: {}", line.unwrap_or("")),
        }
    }

    #[test]
    fn the_first_signal_is_answered_and_a_second_one_ends() {
        let interrupt = Interrupt::deaf();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let hear = |stop, ms| said(interrupt.state().answer(stop, at(ms)));
        assert_eq!(hear(Stop::Terminated, 0), "end: stopped before the end; there is no result");
        let work = Busy {
            next: "stopping after this step, to save".to_string(),
            cost: " without saving".to_string(),
        };
        interrupt.begin(work);
        assert_eq!(interrupt.reason(), None);
        assert_eq!(
            hear(Stop::Interrupted, 5),
            "stopping after this step, to save; Ctrl-C again ends now without saving"
        );
        assert_eq!(interrupt.reason(), Some(Stop::Interrupted));
        assert_eq!(hear(Stop::Interrupted, 50), "nothing", "one request may come twice");
        assert_eq!(hear(Stop::Interrupted, 500), "end: ");
    }

    #[test]
    fn a_signal_other_than_ctrl_c_is_not_called_ctrl_c() {
        let interrupt = Interrupt::deaf();
        interrupt.begin(Busy { next: "stopping".to_string(), cost: String::new() });
        interrupt.end_for_time();
        assert_eq!(interrupt.reason(), Some(Stop::TimeIsUp));
        let answer = interrupt.state().answer(Stop::HungUp, Instant::now());
        assert_eq!(said(answer), "stopping; a second signal ends now");
        assert_eq!(interrupt.reason(), Some(Stop::HungUp), "the signal decides about the exit code");
    }

    #[test]
    fn times_have_units() {
        let read = |text| TimeLimit::parse(text).map(|limit| limit.time.as_secs());
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1_800),
            ("11h", 39_600),
            ("1h30m", 5_400),
            ("2d", 172_800),
            ("1d1s", 86_401),
        ] {
            assert_eq!(read(text), Ok(seconds), "{text}");
        }
        for text in ["", "90", "h", "1x", "30m1h", "1h1h", "0s", "-1h", "1.5h", "1 h", "1hé"] {
            assert!(read(text).expect_err("it is no time").starts_with("expected a time"), "{text}");
        }
        assert!(read("99999999999999999999s").is_err());
        assert_eq!(read("999999999999999999d"), Err("this is longer than any time".to_string()));
    }
}
