//! Progress of long work: a bar on a terminal, plain lines in a log.
//!
//! The bar is one or two lines, laid out for the width that the terminal has when they are drawn. Afterwards the cursor
//! stands at their beginning, so that everything from there on is the bar: it is erased as a whole, however a terminal
//! has wrapped it since, and nothing of it stays behind when the width changes.

#![expect(clippy::disallowed_methods, reason = "the user is told how fast it goes")]

use std::time::{Duration, Instant};

use super::project::terminal_is_dumb;
use super::terminal::{self, TerminalSize, duration, percent, rate};
use crate::store::MetricMeans;
use crate::train::{Metrics, StepReport};

/// Time between two lines of a log.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shortest time between two drawings of a bar.
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(50);

/// Steps over which shown losses and accuracies are averaged.
const WINDOW_STEPS: u32 = 100;

/// Most and fewest characters between the brackets of a bar.
const WIDEST: usize = 32;
const NARROWEST: usize = 8;

/// Separates what is said about the work.
const GAP: &str = "  ";

/// Shows the progress of one activity.
pub struct Progress {
    /// Name of the activity, e.g. `training`.
    title: &'static str,
    /// Whether a bar is drawn: standard error is a terminal that can erase.
    draws: bool,
    total: u64,
    begun: Instant,
    /// Units that were done before this process began.
    start: u64,
    last_line: Option<Instant>,
    shown: Shown,
}

/// What a bar shows.
#[derive(Debug, Clone, Default)]
struct Shown {
    title: &'static str,
    done: u64,
    total: u64,
    /// The remaining time, or another activity.
    remark: String,
    /// What is said on a line of its own, its parts separated by [`GAP`].
    message: String,
}

impl Progress {
    /// Begins to show `total` units of work, of which `start` are done already.
    pub fn new(title: &'static str, start: u64, total: u64) -> Progress {
        let draws = terminal::error_is_watched() && !terminal_is_dumb();
        let shown = Shown { title, done: start, total, ..Shown::default() };
        let mut progress =
            Progress { title, draws, total, begun: Instant::now(), start, last_line: None, shown };
        if draws {
            progress.draw();
        } else {
            progress.last_line = Some(progress.begun);
        }
        progress
    }

    /// Shows that `done` units are done. `message` is called only if it is shown.
    pub fn show(&mut self, done: u64, message: impl FnOnce() -> String) {
        if !self.is_time(done == self.total) {
            return;
        }
        let (message, remark) = (message(), self.time_left(done));
        if self.draws {
            self.shown = Shown { done, remark, message, ..self.shown };
            self.draw();
        } else {
            self.last_line = Some(Instant::now());
            terminal::note(format_args!("{} {done}/{}  {message}  {remark}", self.title, self.total));
        }
    }

    /// Shows another activity, while the count stands still.
    pub fn aside(&mut self, message: impl FnOnce() -> String) {
        if !self.is_time(false) {
            return;
        }
        if self.draws {
            self.shown.remark = message();
            self.draw();
        } else {
            self.last_line = Some(Instant::now());
            terminal::note(message());
        }
    }

    /// Returns whether the next line is due.
    fn is_time(&self, is_last: bool) -> bool {
        let between = if self.draws { BETWEEN_DRAWINGS } else { BETWEEN_LINES };
        is_last || self.last_line.is_none_or(|last| last.elapsed() >= between)
    }

    fn draw(&mut self) {
        self.last_line = Some(Instant::now());
        terminal::draw_bar(&lines(&self.shown, terminal::error_size()));
    }

    /// Returns the remaining time, estimated from the speed so far.
    fn time_left(&self, done: u64) -> String {
        let finished = done.saturating_sub(self.start);
        if finished == 0 {
            return String::new();
        }
        let per_unit = self.begun.elapsed().as_secs_f64() / finished as f64;
        format!("{} left", duration(per_unit * self.total.saturating_sub(done) as f64))
    }

    /// Writes a line above the bar.
    pub fn note(&mut self, line: &str) {
        terminal::note(line);
        if self.draws {
            self.draw();
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        terminal::erase_bar();
    }
}

/// Returns the lines of a bar, each shorter than the terminal is wide, and no more than it is high.
fn lines(shown: &Shown, size: TerminalSize) -> Vec<String> {
    // In the last column some terminals wrap at once, and others with the next character.
    let width = size.columns.saturating_sub(1);
    let mut lines = vec![first_line(shown, width)];
    let mut message = String::new();
    for part in shown.message.split(GAP) {
        let gap = if message.is_empty() { "" } else { GAP };
        if message.chars().count() + gap.len() + part.chars().count() > width {
            break;
        }
        message.push_str(gap);
        message.push_str(part);
    }
    if !message.is_empty() {
        lines.push(message);
    }
    lines.truncate(size.rows.max(1));
    lines
}

/// Returns title, bar, count and remark, or as many of them as fit.
fn first_line(shown: &Shown, width: usize) -> String {
    let Shown { title, done, total, remark, .. } = shown;
    let count = format!("{done}/{total}");
    let remark = if remark.is_empty() { String::new() } else { format!("{GAP}{remark}") };
    let fits = |line: &String| line.chars().count() <= width;
    let without_bar = format!("{title} [] {count}{remark}").chars().count();
    if without_bar + NARROWEST <= width {
        let bar = bar(*done, *total, (width - without_bar).min(WIDEST));
        return format!("{title} [{bar}] {count}{remark}");
    }
    let shorter = [format!("{title} {count}{remark}"), format!("{title} {count}"), count.clone()];
    shorter.into_iter().find(fits).unwrap_or_else(|| count.chars().take(width).collect())
}

fn bar(done: u64, total: u64, width: usize) -> String {
    let filled = (width as u128 * u128::from(done.min(total)) / u128::from(total.max(1))) as usize;
    let head = if filled < width { ">" } else { "" };
    format!("{:<width$}", format!("{}{head}", "=".repeat(filled)))
}

/// Averages the metrics of the last training steps.
pub struct Window {
    metrics: Metrics,
    steps: u32,
    shown: Option<MetricMeans>,
    begun: Instant,
    rows: u64,
}

impl Window {
    /// Returns an empty window; the clock starts now.
    pub fn new() -> Window {
        Window { metrics: Metrics::default(), steps: 0, shown: None, begun: Instant::now(), rows: 0 }
    }

    /// Adds a step of `batch` rows.
    pub fn add(&mut self, report: &StepReport, batch: usize) {
        if self.steps == WINDOW_STEPS {
            self.shown = Some(self.metrics.means());
            self.metrics = Metrics::default();
            self.steps = 0;
        }
        self.metrics.add(&report.metrics);
        self.steps += 1;
        self.rows += batch as u64;
    }

    /// Excludes time that was not spent on training.
    pub fn pause(&mut self, time: Duration) {
        self.begun += time;
    }

    /// Returns rows per second: each row of a batch counts once in every segment.
    pub fn sequences_per_second(&self) -> f64 {
        self.rows as f64 / self.begun.elapsed().as_secs_f64().max(1e-9)
    }

    /// Returns loss, exact accuracy, mean segments and speed, averaged over the last steps.
    pub fn message(&self) -> String {
        let recent = self.metrics.means();
        // A window that has just begun says little.
        let means = match &self.shown {
            Some(shown) if self.steps < WINDOW_STEPS / 2 => shown,
            _ => &recent,
        };
        let optional = |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or("-".to_string(), show);
        format!(
            "loss {:.4}  exact {}  segments {}  {} sequences/s",
            means.loss,
            optional(means.exact_accuracy, &percent),
            optional(means.mean_segments, &|value| format!("{value:.2}")),
            rate(self.sequences_per_second()),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::super::terminal::{ERASE_BAR, TerminalSize, bar_text};
    use super::{Shown, lines};

    fn shown(done: u64) -> Shown {
        Shown {
            title: "training",
            done,
            total: 200_000,
            remark: "2 h 40 min left".to_string(),
            message: "loss 1.2345  exact 12.34%  segments 3.21  1234 sequences/s".to_string(),
        }
    }

    fn at(columns: usize) -> Vec<String> {
        lines(&shown(50_000), TerminalSize { columns, rows: 24 })
    }

    #[test]
    fn a_bar_is_laid_out_for_the_width_of_the_terminal() {
        assert_eq!(
            at(100),
            [
                "training [========>                       ] 50000/200000  2 h 40 min left",
                "loss 1.2345  exact 12.34%  segments 3.21  1234 sequences/s"
            ]
        );
        assert_eq!(
            at(60),
            [
                "training [====>             ] 50000/200000  2 h 40 min left",
                "loss 1.2345  exact 12.34%  segments 3.21  1234 sequences/s"
            ]
        );
        assert_eq!(at(40), ["training 50000/200000  2 h 40 min left", "loss 1.2345  exact 12.34%"]);
        assert_eq!(at(20), ["50000/200000", "loss 1.2345"]);
        for columns in 1..120 {
            assert!(
                at(columns).iter().all(|line| line.chars().count() < columns),
                "{columns}: {:?}",
                at(columns)
            );
        }
        assert_eq!(lines(&shown(1), TerminalSize { columns: 80, rows: 1 }).len(), 1);
    }

    fn at_least_one(number: u16) -> NonZero<u16> {
        NonZero::new(number).expect("a terminal has a size")
    }

    /// A terminal that shows a text already, with the cursor in the line below.
    fn terminal(rows: u16, columns: u16, text: &str) -> vt100::Parser {
        let mut terminal = vt100::Parser::new(at_least_one(rows), at_least_one(columns), 1000);
        terminal.process(text.replace('\n', "\r\n").as_bytes());
        terminal
    }

    fn draw(terminal: &mut vt100::Parser, done: u64) {
        let (rows, columns) = terminal.screen().size();
        let size = TerminalSize { columns: columns.get().into(), rows: rows.get().into() };
        terminal.process(bar_text(&lines(&shown(done), size)).replace('\n', "\r\n").as_bytes());
    }

    /// Returns all lines that a terminal has shown, those that have left the screen too.
    fn all_lines(terminal: &mut vt100::Parser) -> Vec<String> {
        let (rows, columns) = terminal.screen().size();
        terminal.screen_mut().set_scrollback(usize::MAX);
        let gone = terminal.screen().scrollback();
        let mut all = Vec::new();
        for offset in (1..=gone).rev() {
            terminal.screen_mut().set_scrollback(offset);
            all.extend(terminal.screen().rows(0, columns.get()).next());
        }
        terminal.screen_mut().set_scrollback(0);
        all.extend(terminal.screen().rows(0, columns.get()).take(rows.get().into()));
        while all.last().is_some_and(String::is_empty) {
            all.pop();
        }
        all
    }

    #[test]
    fn a_bar_leaves_no_trail_at_any_width_nor_when_it_changes() {
        let before = (0..40).map(|line| format!("line {line}\n")).collect::<String>();
        for rows in [1, 2, 3, 24] {
            let mut screen = terminal(rows, 100, &before);
            let mut done = 0;
            for columns in [100, 81, 80, 79, 60, 40, 20, 7, 1, 20, 60, 120, 33] {
                screen.screen_mut().set_size(at_least_one(rows), at_least_one(columns));
                for _ in 0..5 {
                    done += 1;
                    draw(&mut screen, done);
                }
            }
            screen.screen_mut().set_size(at_least_one(rows), at_least_one(100));
            screen.process(ERASE_BAR.as_bytes());
            let left = all_lines(&mut screen);
            // One column leaves a letter of the last line; nothing of a bar but its message begins with that letter.
            let bars = left.iter().filter(|line| !line.starts_with('l') || line.starts_with("lo")).count();
            assert_eq!(bars, 0, "{left:?}");
        }
    }

    #[test]
    fn one_bar_is_on_the_screen_while_it_is_drawn() {
        let mut screen = terminal(10, 60, "before\n");
        (1..100).for_each(|done| draw(&mut screen, done));
        let all = all_lines(&mut screen);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[1].starts_with("training [>") && all[1].contains(" 99/200000"), "{all:?}");
    }
}
