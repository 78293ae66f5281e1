//! The animation of a trace in the terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::document::TraceDocument;
use super::frames::frame_text;
use crate::cli::failure::{Failure, Stop};
use crate::cli::screen::Screen;
use crate::cli::terminal;
use crate::system::reason;

/// Moves to the top left corner.
const HOME: &str = "\u{1b}[H";
/// Clears what is right of the cursor, and what is below it.
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Time from frame to frame.
const FRAME_TIME: Duration = Duration::from_millis(300);
/// Time until it is looked for another size of the terminal while nothing plays.
const IDLE_TIME: Duration = Duration::from_millis(500);

const KEYS: &str =
    "space plays and stops, left and right go by updates, up and down by segments, home and end";
const MORE_KEYS: &str = ", n and p go to another puzzle";

/// Returns whether an animation can be shown and steered: both ends are terminals.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Where the animation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PlayerPlace {
    puzzle: usize,
    frame: usize,
    plays: bool,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    PlayOrStop,
    Updates(isize),
    Segments(isize),
    First,
    Last,
    Puzzles(isize),
    End,
}

/// Plays a trace until it is left.
///
/// # Errors
///
/// Returns a failure if the terminal fails, or Ctrl-C is pressed.
pub fn play(document: &TraceDocument) -> Result<(), Failure> {
    let screen = Screen::take()?;
    let mut place = PlayerPlace { puzzle: 0, frame: 0, plays: true };
    let outcome = loop {
        if let Err(failure) = show(document, place) {
            break Err(failure);
        }
        let failed = |error: io::Error| Failure::message(format!("cannot read keys: {}", reason(&error)));
        let time = if place.plays { FRAME_TIME } else { IDLE_TIME };
        match event::poll(time).map_err(failed) {
            Err(failure) => break Err(failure),
            Ok(false) if place.plays => place = next_frame(document, place),
            Ok(false) => {}
            Ok(true) => match event::read().map_err(failed) {
                Err(failure) => break Err(failure),
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
                        break Err(Failure::Stopped(Stop::Interrupted));
                    }
                    match wish(key.code) {
                        Some(Wish::End) => break Ok(()),
                        Some(wish) => place = followed(document, place, wish),
                        None => {}
                    }
                }
                Ok(_) => {}
            },
        }
    };
    drop(screen);
    outcome
}

/// Returns the place one frame later. The last frame stays.
fn next_frame(document: &TraceDocument, place: PlayerPlace) -> PlayerPlace {
    let frames = document.puzzles[place.puzzle].frames();
    match place.frame + 1 < frames {
        true => PlayerPlace { frame: place.frame + 1, ..place },
        false => PlayerPlace { plays: false, ..place },
    }
}

fn wish(key: KeyCode) -> Option<Wish> {
    Some(match key {
        KeyCode::Char(' ') => Wish::PlayOrStop,
        KeyCode::Right | KeyCode::Char('l') => Wish::Updates(1),
        KeyCode::Left | KeyCode::Char('h') => Wish::Updates(-1),
        KeyCode::Down | KeyCode::PageDown | KeyCode::Char('j') => Wish::Segments(1),
        KeyCode::Up | KeyCode::PageUp | KeyCode::Char('k') => Wish::Segments(-1),
        KeyCode::Home | KeyCode::Char('g') => Wish::First,
        KeyCode::End | KeyCode::Char('G') => Wish::Last,
        KeyCode::Char('n') => Wish::Puzzles(1),
        KeyCode::Char('p') => Wish::Puzzles(-1),
        KeyCode::Char('q') | KeyCode::Esc => Wish::End,
        _ => return None,
    })
}

/// Returns the place that a wish leads to. Going somewhere stops the animation.
fn followed(document: &TraceDocument, place: PlayerPlace, wish: Wish) -> PlayerPlace {
    let last = document.puzzles[place.puzzle].frames() - 1;
    let to = |frame: usize| PlayerPlace { frame: frame.min(last), plays: false, ..place };
    let updates = document.updates.len();
    match wish {
        // At the end it plays once more.
        Wish::PlayOrStop if place.frame == last => PlayerPlace { frame: 0, plays: true, ..place },
        Wish::PlayOrStop => PlayerPlace { plays: !place.plays, ..place },
        Wish::Updates(by) => to(place.frame.saturating_add_signed(by)),
        Wish::Segments(by) => {
            // By segments, it stands at the last update of each, where the answer of the segment is.
            let segment = place.frame / updates;
            let is_end = place.frame % updates == updates - 1;
            let segment = match by {
                1.. if !is_end => segment,
                by => segment.saturating_add_signed(by),
            };
            to((segment + 1) * updates - 1)
        }
        Wish::First => to(0),
        Wish::Last => to(last),
        Wish::Puzzles(by) => {
            let puzzle = place.puzzle.saturating_add_signed(by).min(document.puzzles.len() - 1);
            PlayerPlace { puzzle, frame: if puzzle == place.puzzle { place.frame } else { 0 }, ..place }
        }
        Wish::End => place,
    }
}

fn show(document: &TraceDocument, place: PlayerPlace) -> Result<(), Failure> {
    let size = terminal::output_size();
    let mut lines = Vec::new();
    if document.puzzles.len() > 1 {
        lines.push(format!("puzzle {} of {}", place.puzzle + 1, document.puzzles.len()));
    }
    let frame = frame_text(document, place.puzzle, place.frame, size.columns);
    let mut add = |text: &str| lines.extend(text.lines().map(ToString::to_string));
    add(&terminal::wrapped(&frame.heading, size.columns));
    // Pictures are never wrapped: they fit, or they are cut.
    add(&frame.pictures);
    frame.remarks.iter().for_each(|remark| add(&terminal::wrapped(remark, size.columns)));
    if place.frame + 1 == document.puzzles[place.puzzle].frames() {
        lines.push(document.puzzles[place.puzzle].verdict.to_string());
    }
    let more = if document.puzzles.len() > 1 { MORE_KEYS } else { "" };
    let keys = terminal::wrapped(&format!("{KEYS}{more}, q ends"), size.columns);
    let keys: Vec<&str> = keys.lines().collect();
    let room = size.rows.saturating_sub(keys.len() + 1).max(1);
    if lines.len() > room {
        lines.truncate(room - 1);
        lines.push("(the terminal is too small for the rest)".to_string());
    }
    let mut screen = HOME.to_string();
    for line in lines.iter().map(String::as_str).chain([""]).chain(keys) {
        screen.push_str(&format!("{line}{CLEAR_LINE}\r\n"));
    }
    // Without the last line break, which would scroll a full screen.
    let screen = screen.trim_end_matches("\r\n");
    terminal::print(format!("{screen}{CLEAR_BELOW}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::testing::document;

    fn at(frame: usize) -> PlayerPlace {
        PlayerPlace { puzzle: 0, frame, plays: false }
    }

    fn after(frame: usize, wish: Wish) -> usize {
        followed(&document(), at(frame), wish).frame
    }

    #[test]
    fn keys_go_by_updates_and_by_segments() {
        // Three segments of two updates each.
        assert_eq!((after(0, Wish::Updates(1)), after(0, Wish::Updates(-1))), (1, 0));
        assert_eq!((after(5, Wish::Updates(1)), after(2, Wish::First), after(0, Wish::Last)), (5, 0, 5));
        // To the end of the segment, then to that of the next one.
        assert_eq!((after(0, Wish::Segments(1)), after(1, Wish::Segments(1))), (1, 3));
        assert_eq!((after(5, Wish::Segments(1)), after(5, Wish::Segments(-1))), (5, 3));
        assert_eq!(after(1, Wish::Segments(-1)), 1);
    }

    #[test]
    fn it_plays_to_the_end_and_then_once_more() {
        let document = document();
        let mut place = PlayerPlace { plays: true, ..at(0) };
        for _ in 0..6 {
            place = next_frame(&document, place);
        }
        assert_eq!(place, at(5));
        assert_eq!(followed(&document, place, Wish::PlayOrStop), PlayerPlace { plays: true, ..at(0) });
        let stopped = followed(&document, PlayerPlace { plays: true, ..at(2) }, Wish::PlayOrStop);
        assert_eq!(stopped, at(2));
    }

    #[test]
    fn another_puzzle_begins_at_its_first_frame() {
        let mut two = document();
        two.puzzles.push(two.puzzles[0].clone());
        let next = followed(&two, at(3), Wish::Puzzles(1));
        assert_eq!((next.puzzle, next.frame), (1, 0));
        assert_eq!(
            followed(&two, PlayerPlace { frame: 2, ..next }, Wish::Puzzles(1)).frame,
            2,
            "it is the last one"
        );
    }

    #[test]
    fn keys_that_mean_nothing_do_nothing() {
        assert_eq!(wish(KeyCode::Char('x')), None);
        assert_eq!(wish(KeyCode::Char('q')), Some(Wish::End));
    }
}
