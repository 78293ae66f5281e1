//! Progress of long work: a bar on a terminal, plain lines in a log.
//!
//! The bar is a line for the work, one for what is said about it, and one for an evaluation that is under way, laid out
//! for the width that the terminal has when they are drawn: parts that do not fit are left out, and none is cut.
//! Afterwards the cursor stands at their beginning, so that everything from there on is the bar: it is erased as a whole,
//! however a terminal has wrapped it since, and nothing of it stays behind when the width changes. Crates that draw bars
//! count the lines that they have drawn, which is wrong when a terminal wraps them anew, and cut what is too long.

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

/// Most and fewest characters of a sparkline.
const LONGEST_TREND: usize = 24;
const SHORTEST_TREND: usize = 8;

/// Separates what is said about the work.
const GAP: &str = "  ";

/// Seconds after which a measurement of speed counts a third of a new one.
const FADE_S: f64 = 30.0;

/// How fast units of work are done: their number by the time that they took, of which the last ones count most.
#[derive(Debug, Clone)]
struct Speed {
    units: f64,
    seconds: f64,
    done: u64,
    measured: Instant,
}

impl Speed {
    fn new(done: u64) -> Speed {
        Speed { units: 0.0, seconds: 0.0, done, measured: Instant::now() }
    }

    /// So many units are done by now.
    fn add(&mut self, done: u64) {
        let now = Instant::now();
        self.fade((now - self.measured).as_secs_f64(), done.saturating_sub(self.done));
        (self.done, self.measured) = (done, now);
    }

    fn fade(&mut self, seconds: f64, units: u64) {
        let left = libm::exp(-seconds / FADE_S);
        self.units = self.units * left + units as f64;
        self.seconds = self.seconds * left + seconds;
    }

    /// Excludes time that was not spent on these units.
    fn pause(&mut self, time: Duration) {
        self.measured += time;
    }

    /// Returns the seconds that so many more units take; `None` as long as nothing is known.
    fn seconds_for(&self, units: u64) -> Option<f64> {
        (self.units > 0.0).then(|| units as f64 * self.seconds / self.units)
    }
}

/// Shows the progress of one activity, and of an evaluation within it.
pub struct Progress {
    /// Name of the activity, e.g. `training`.
    title: &'static str,
    /// Whether a bar is drawn: standard error is a terminal that can erase.
    draws: bool,
    total: u64,
    speed: Speed,
    /// Speed of the evaluation that is under way.
    inner_speed: Option<Speed>,
    /// Seconds that will be spent on other things before the end.
    besides: f64,
    last_line: Option<Instant>,
    shown: Shown,
}

/// What a bar shows.
#[derive(Debug, Clone, Default)]
struct Shown {
    work: Activity,
    /// The evaluation that is under way.
    inner: Option<Activity>,
    /// What is said on a line of its own, its parts separated by [`GAP`].
    message: String,
    /// The curve behind the first part of it.
    trend: Vec<f64>,
}

/// An activity.
#[derive(Debug, Clone, Default)]
struct Activity {
    title: &'static str,
    done: u64,
    total: u64,
    /// The remaining time.
    remark: String,
}

impl Progress {
    /// Begins to show `total` units of work, of which `start` are done already.
    pub fn new(title: &'static str, start: u64, total: u64) -> Progress {
        let draws = terminal::error_is_watched() && !terminal_is_dumb();
        let work = Activity { title, done: start, total, ..Activity::default() };
        let shown = Shown { work, ..Shown::default() };
        let mut progress = Progress {
            title,
            draws,
            total,
            speed: Speed::new(start),
            inner_speed: None,
            besides: 0.0,
            last_line: None,
            shown,
        };
        if draws {
            progress.draw();
        } else {
            progress.last_line = Some(Instant::now());
        }
        progress
    }

    /// Shows that `done` units are done. `message` is called only if it is shown.
    pub fn show(&mut self, done: u64, message: impl FnOnce() -> String) {
        self.show_with_trend(done, || (message(), Vec::new()));
    }

    /// Does the same with a curve behind the first part of the message.
    pub fn show_with_trend(&mut self, done: u64, message: impl FnOnce() -> (String, Vec<f64>)) {
        self.speed.add(done);
        self.inner_speed = None;
        if !self.is_time(done == self.total) {
            return;
        }
        let left = self.total.saturating_sub(done);
        let remark = time_left(self.speed.seconds_for(left).map(|seconds| seconds + self.besides));
        let (message, trend) = message();
        if self.draws {
            let work = Activity { done, remark, ..self.shown.work };
            self.shown = Shown { work, inner: None, message, trend };
            self.draw();
        } else {
            self.last_line = Some(Instant::now());
            terminal::note(format_args!("{} {done}/{}  {message}  {remark}", self.title, self.total));
        }
    }

    /// Shows an evaluation on a line of its own, while the count of the work stands still.
    pub fn show_evaluation(&mut self, done: u64, total: u64) {
        const TITLE: &str = "evaluating";
        let speed = self.inner_speed.get_or_insert_with(|| Speed::new(done));
        speed.add(done);
        let left = speed.seconds_for(total.saturating_sub(done));
        if !self.is_time(false) {
            return;
        }
        let remark = time_left(left);
        if self.draws {
            self.shown.inner = Some(Activity { title: TITLE, done, total, remark });
            self.draw();
        } else {
            self.last_line = Some(Instant::now());
            terminal::note(format_args!("{TITLE} {done}/{total}  {remark}"));
        }
    }

    /// The evaluation is over.
    pub fn end_evaluation(&mut self) {
        (self.inner_speed, self.shown.inner) = (None, None);
    }

    /// Excludes time that was not spent on the units of the work from their speed, and says how much of such time is
    /// still to come.
    pub fn pause(&mut self, time: Duration, to_come: f64) {
        self.speed.pause(time);
        self.besides = to_come;
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

fn time_left(seconds: Option<f64>) -> String {
    seconds.map_or(String::new(), |seconds| format!("{} left", duration(seconds)))
}

/// Returns the lines of a bar, each shorter than the terminal is wide, and no more than it is high.
fn lines(shown: &Shown, size: TerminalSize) -> Vec<String> {
    // In the last column some terminals wrap at once, and others with the next character.
    let width = size.columns.saturating_sub(1);
    let mut lines = vec![shown.work.line(width)];
    lines.extend(Some(message_line(shown, width)).filter(|line| !line.is_empty()));
    lines.extend(shown.inner.as_ref().map(|inner| inner.line(width)));
    lines.truncate(size.rows.max(1));
    lines
}

/// Returns the parts of the message that fit, with the curve behind the first one.
fn message_line(shown: &Shown, width: usize) -> String {
    let length = |text: &str| text.chars().count();
    let first = shown.message.split(GAP).next().unwrap_or_default();
    let has_trend = shown.trend.len() >= SHORTEST_TREND && length(first) + 1 + SHORTEST_TREND <= width;
    let room = if has_trend { width - 1 - SHORTEST_TREND } else { width };
    let mut parts = Vec::new();
    let mut used = 0;
    for part in shown.message.split(GAP) {
        let needed = length(part) + if parts.is_empty() { 0 } else { GAP.len() };
        if used + needed > room {
            break;
        }
        used += needed;
        parts.push(part.to_string());
    }
    if let (true, Some(first)) = (has_trend, parts.first_mut()) {
        let marks = (width - used - 1).min(LONGEST_TREND).min(shown.trend.len());
        first.push(' ');
        first.push_str(&sparkline(&shown.trend[shown.trend.len() - marks..]));
    }
    parts.join(GAP)
}

/// Returns numbers as bars of eight heights, from the least of them to the greatest.
fn sparkline(numbers: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || numbers.iter().copied().filter(|number| number.is_finite());
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let bar = |number: &f64| {
        if !number.is_finite() {
            return ' ';
        }
        let height = if most > least { (number - least) / (most - least) } else { 0.0 };
        BARS[(height * 7.0).round() as usize]
    };
    numbers.iter().map(bar).collect()
}

impl Activity {
    /// Returns title, bar, share, count and remark, or as many of them as fit.
    fn line(&self, width: usize) -> String {
        let Activity { title, done, total, remark } = self;
        let share = format!("{}%", 100 * u128::from(*done.min(total)) / u128::from((*total).max(1)));
        let count = format!("{done}/{total}");
        let remark = if remark.is_empty() { String::new() } else { format!("{GAP}{remark}") };
        let fits = |line: &String| line.chars().count() <= width;
        let without_bar = format!("{title} [] {share} {count}{remark}").chars().count();
        if without_bar + NARROWEST <= width {
            let bar = bar(*done, *total, (width - without_bar).min(WIDEST));
            return format!("{title} [{bar}] {share} {count}{remark}");
        }
        let shorter = [
            format!("{title} {share} {count}{remark}"),
            format!("{title} {share}{remark}"),
            format!("{title} {share}"),
            share.clone(),
        ];
        shorter.into_iter().find(fits).unwrap_or_else(|| share.chars().take(width).collect())
    }
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
    trend: Trend,
}

impl Window {
    /// Returns an empty window; the clock starts now.
    pub fn new() -> Window {
        Window {
            metrics: Metrics::default(),
            steps: 0,
            shown: None,
            begun: Instant::now(),
            rows: 0,
            trend: Trend { means: Vec::new(), steps: 1, sum: 0.0, added: 0 },
        }
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
        self.trend.add(report.means().loss);
    }

    /// Excludes time that was not spent on training.
    pub fn pause(&mut self, time: Duration) {
        self.begun += time;
    }

    /// Returns rows per second: each row of a batch counts once in every segment.
    pub fn sequences_per_second(&self) -> f64 {
        self.rows as f64 / self.begun.elapsed().as_secs_f64().max(1e-9)
    }

    /// Returns loss, exact accuracy, the best one of the evaluations so far, mean segments and speed, averaged over the
    /// last steps.
    pub fn message(&self, best: Option<f64>) -> String {
        let recent = self.metrics.means();
        // A window that has just begun says little.
        let means = match &self.shown {
            Some(shown) if self.steps < WINDOW_STEPS / 2 => shown,
            _ => &recent,
        };
        let optional = |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or("-".to_string(), show);
        let best = best.map_or(String::new(), |best| format!("best {}{GAP}", percent(best)));
        format!(
            "loss {:.4}{GAP}exact {}{GAP}{best}segments {}{GAP}{} sequences/s",
            means.loss,
            optional(means.exact_accuracy, &percent),
            optional(means.mean_segments, &|value| format!("{value:.2}")),
            rate(self.sequences_per_second()),
        )
    }

    /// Returns the mean losses of windows of steps, from the first step of this process to the last.
    pub fn trend(&self) -> Vec<f64> {
        self.trend.means.clone()
    }
}

/// Means over windows that grow with the number of steps, so that there are never many.
struct Trend {
    means: Vec<f64>,
    /// Steps of a window.
    steps: u64,
    sum: f64,
    /// Steps of the last window so far.
    added: u64,
}

impl Trend {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.added += 1;
        if self.added < self.steps {
            return;
        }
        self.means.push(self.sum / self.added as f64);
        (self.sum, self.added) = (0.0, 0);
        if self.means.len() == 2 * LONGEST_TREND {
            self.means = self.means.chunks(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
            self.steps *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::super::terminal::{ERASE_BAR, TerminalSize, bar_text};
    use super::{Activity, LONGEST_TREND, Shown, Speed, Trend, lines, sparkline};

    fn shown(done: u64) -> Shown {
        Shown {
            work: Activity { title: "training", done, total: 200_000, remark: "2 h 40 min left".to_string() },
            inner: None,
            message: "loss 1.2345  exact 12.34%  best 45.60%  segments 3.21  1234 sequences/s".to_string(),
            trend: (0..LONGEST_TREND).map(|window| 2.0 / (window + 1) as f64).collect(),
        }
    }

    fn with_evaluation(done: u64) -> Shown {
        let inner =
            Activity { title: "evaluating", done: 450, total: 1000, remark: "12.0 s left".to_string() };
        Shown { inner: Some(inner), ..shown(done) }
    }

    fn at(columns: usize) -> Vec<String> {
        lines(&with_evaluation(50_000), TerminalSize { columns, rows: 24 })
    }

    #[test]
    fn a_bar_is_laid_out_for_the_width_of_the_terminal() {
        assert_eq!(
            at(200),
            [
                "training [========>                       ] 25% 50000/200000  2 h 40 min left",
                "loss 1.2345 █▄▃▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  exact 12.34%  best 45.60%  segments 3.21  1234 sequences/s",
                "evaluating [==============>                 ] 45% 450/1000  12.0 s left"
            ]
        );
        assert_eq!(
            at(80),
            [
                "training [========>                       ] 25% 50000/200000  2 h 40 min left",
                "loss 1.2345 █▄▃▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  exact 12.34%  best 45.60%  segments 3.21",
                "evaluating [==============>                 ] 45% 450/1000  12.0 s left"
            ]
        );
        assert_eq!(
            at(40),
            [
                "training 25%  2 h 40 min left",
                "loss 1.2345 █▇▆▅▅▄▃▃▂▂▂▁▁  exact 12.34%",
                "evaluating 45% 450/1000  12.0 s left"
            ]
        );
        assert_eq!(at(14), ["training 25%", "loss 1.2345", "45%"]);
        for columns in 1..=200 {
            assert!(
                at(columns).iter().all(|line| line.chars().count() < columns),
                "{columns}: {:?}",
                at(columns)
            );
        }
        for columns in 40..=200 {
            let [work, message, evaluation] = &at(columns)[..] else { panic!("there are three lines") };
            let parts = [
                (work, "25%"),
                (work, "2 h 40 min left"),
                (message, "▁"),
                (message, "exact"),
                (evaluation, "45%"),
            ];
            assert!(parts.iter().all(|(line, part)| line.contains(part)), "{columns}: {:?}", at(columns));
        }
        assert_eq!(lines(&shown(1), TerminalSize { columns: 80, rows: 1 }).len(), 1);
    }

    #[test]
    fn a_sparkline_goes_from_the_least_number_to_the_greatest() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.5, 7.0, f64::NAN]), "▁▂▃▅█ ");
        assert_eq!(sparkline(&[2.0, 2.0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn windows_of_a_trend_grow_so_that_there_are_never_many() {
        let mut trend = Trend { means: Vec::new(), steps: 1, sum: 0.0, added: 0 };
        for step in 0..10_000 {
            trend.add(f64::from(step));
            assert!(trend.means.len() < 2 * LONGEST_TREND);
        }
        assert!(trend.means.len() >= LONGEST_TREND && trend.means.is_sorted(), "{:?}", trend.means);
        // Windows of 256 steps, the first of which are 0 to 255.
        assert_eq!((trend.steps, trend.means[0]), (256, 127.5));
    }

    #[test]
    fn the_speed_follows_the_last_units_and_leaves_pauses_out() {
        let mut speed = Speed::new(10);
        assert_eq!(speed.seconds_for(5), None);
        // A slow beginning, and then ten units a second for five minutes.
        speed.fade(60.0, 1);
        assert_eq!(speed.seconds_for(5), Some(300.0));
        (0..300).for_each(|_| speed.fade(1.0, 10));
        let left = speed.seconds_for(100).expect("units were done");
        assert!((left - 10.0).abs() < 0.1, "{left}");
        // Now it takes ten times as long, and the estimate has followed after a minute.
        (0..60).for_each(|_| speed.fade(1.0, 1));
        let left = speed.seconds_for(100).expect("units were done");
        assert!((40.0..100.0).contains(&left), "{left}");
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
        terminal.process(bar_text(&lines(&with_evaluation(done), size)).replace('\n', "\r\n").as_bytes());
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
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[1].starts_with("training [>") && all[1].contains(" 0% 99/200000"), "{all:?}");
    }
}
