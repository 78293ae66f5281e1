//! Progress of long work: a bar on a terminal, plain lines in a log.

#![expect(clippy::disallowed_methods, reason = "the user is told how fast it goes")]

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{self, duration, percent, rate};
use crate::store::MetricMeans;
use crate::train::{Metrics, StepReport};

/// Time between two lines of a log.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Steps over which shown losses and accuracies are averaged.
const WINDOW_STEPS: u32 = 100;

/// Shows the progress of one activity.
pub struct Progress {
    /// Name of the activity, e.g. `training`.
    title: &'static str,
    /// Absent if standard error is not a terminal.
    bar: Option<ProgressBar>,
    total: u64,
    begun: Instant,
    /// Units that were done before this process began.
    start: u64,
    last_line: Instant,
}

impl Progress {
    /// Begins to show `total` units of work, of which `start` are done already.
    pub fn new(title: &'static str, start: u64, total: u64) -> Progress {
        let bar = terminal::error_is_watched().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} [{bar:32}] {pos}/{len}  {msg}")
                .expect("the template is well-formed")
                .progress_chars("=> ");
            bar.set_style(style);
            bar.set_prefix(title);
            bar.set_position(start);
            bar
        });
        let now = Instant::now();
        Progress { title, bar, total, begun: now, start, last_line: now }
    }

    /// Shows that `done` units are done. `message` is called only if it is shown.
    pub fn show(&mut self, done: u64, message: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                // On a line of its own, so that both lines fit in a narrow terminal.
                bar.set_message(format!("{}\n{}", self.time_left(done), message()));
            }
            None if self.last_line.elapsed() >= BETWEEN_LINES || done == self.total => {
                self.last_line = Instant::now();
                let time_left = self.time_left(done);
                terminal::note(format_args!(
                    "{} {done}/{}  {}  {time_left}",
                    self.title,
                    self.total,
                    message()
                ));
            }
            None => {}
        }
    }

    /// Shows another activity, while the count stands still.
    pub fn aside(&mut self, message: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => bar.set_message(message()),
            None if self.last_line.elapsed() >= BETWEEN_LINES => {
                self.last_line = Instant::now();
                terminal::note(message());
            }
            None => {}
        }
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

    /// Writes a line without disturbing the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| terminal::note(line)),
            None => terminal::note(line),
        }
    }

    /// Returns a function that does the same, for other threads.
    pub fn note_from_elsewhere(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |line| match &bar {
            Some(bar) => bar.suspend(|| terminal::note(line)),
            None => terminal::note(line),
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
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
