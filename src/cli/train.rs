//! `hrmc run --train`.

#![expect(clippy::disallowed_methods, reason = "the user is told how long it took")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::curves::{CurveOf, LoggedLine};
use super::event_files::EventFile;
use super::failure::{Failure, Stop, fail_with_batch};
use super::interrupt::{Busy, Interrupt};
use super::picture::Expected;
use super::progress::{Progress, Window};
use super::project::Project;
use super::run_arguments::{self, Common, TrainArguments};
use super::terminal::{counted, duration, grouped, percent, rate};
use super::{data_check, picture, spec, terminal};
use crate::data::{Dataset, Split};
use crate::device::Device;
use crate::ir::Precision;
use crate::lower::Sizes;
use crate::lower::parameters::trained_parameters;
use crate::shell;
use crate::span::Source;
use crate::spec::Spec;
use crate::store::{MetricMeans, MetricsLine, RunFolder};
use crate::syntax::quote;
use crate::train::schedule::steps_in;
use crate::train::{
    Data, Evaluation, Event, Run, SHOWN_ANSWERS, Splits, TrainOptions, Training, evaluations_in_a_row,
};

/// Trains, and reports the result.
///
/// # Errors
///
/// Returns a failure if there is a problem with the spec, the data, the run or the memory.
pub fn run(
    subject: Option<&Path>,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project<'_>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    interrupt.prepare("stopped before the training began; there is nothing to save");
    if let Some(limit) = &arguments.max_time {
        interrupt.limit(limit.time)?;
    }
    let subject = match &arguments.resume {
        Some(_) if arguments.finds_run() => Subject::Spec(spec::read(subject, project)?, Reuse::Any),
        Some(run) => Subject::Run(run.clone()),
        None => Subject::Spec(spec::read(subject, project)?, Reuse::Nothing),
    };
    let trained = train(subject, arguments, common, project, interrupt)?;
    let printed = Report { arguments, common, trained: &trained }.print();
    match trained.stopped {
        // A terminal that was closed takes no report, and what is to be known is in the exit code.
        Some(stop) => Err(Failure::Stopped(stop)),
        None => printed,
    }
}

/// The subject of a training.
pub enum Subject {
    /// A spec.
    Spec(Source, Reuse),
    /// A run that was begun before.
    Run(PathBuf),
}

/// Which earlier run of the same spec, overrides and data takes the place of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// None.
    Nothing,
    /// The newest unfinished one, else the newest that is finished.
    Any,
    /// The same, of those that have not done more steps than are wanted and evaluated as many examples.
    Same,
}

/// The result of a training that came to its end or was stopped before it.
pub struct Trained {
    /// Folder of the run.
    pub folder: PathBuf,
    /// Elements of the weights that are trained.
    pub parameters: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// Best exact accuracy of any evaluation.
    pub best: Option<f64>,
    /// Step of that evaluation.
    pub best_step: Option<u64>,
    /// Evaluations in a row that found nothing better and so ended it before its last step.
    pub out_of_patience: Option<usize>,
    /// The last evaluation.
    pub evaluation: Option<Judged>,
    /// Why it ended before the last step and its evaluation were done; `None` if they were.
    pub stopped: Option<Stop>,
    /// Steps of the whole schedule.
    total_steps: u64,
    /// What this process did; `None` if the run was finished before.
    pub work: Option<Done>,
}

/// What an evaluation found.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Examples that were evaluated.
    pub examples: usize,
    /// Means over them.
    pub means: MetricMeans,
}

/// What a process did for a run.
pub struct Done {
    /// Its time.
    pub elapsed_s: f64,
    /// Optimizer steps.
    steps: u64,
    sequences_per_s: f64,
    /// The last evaluation, with its answers.
    evaluation: Option<Evaluation>,
    test: Arc<Dataset>,
}

/// Trains until the last step, or until a signal or the limit of time ends it.
///
/// # Errors
///
/// Returns a failure if there is a problem with the spec, the data, the run or the memory.
pub fn train(
    subject: Subject,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project<'_>,
    interrupt: &Interrupt,
) -> Result<Trained, Failure> {
    let (mut training, run) = match subject {
        Subject::Run(path) => resume(&path, None, arguments, common, project)?,
        Subject::Spec(source, reuse) => match begin(source, reuse, arguments, common, project, interrupt)? {
            Prepared::ToTrain(training, run) => (*training, *run),
            Prepared::Finished(trained) => return Ok(*trained),
        },
    };
    introduce(&training, &run);
    introduce_sample(&training);
    let (begun, begun_at) = (Instant::now(), training.steps_done());
    let parameters = trained_parameters(training.spec().model(), training.sizes());
    let mut watcher = Watcher {
        interrupt,
        progress: Progress::new("training", training.steps_done(), training.last_step()),
        window: Window::new(),
        batch: training.sizes().batch,
        last_step: training.last_step(),
        stepped: begun,
        saved: (training.steps_done() > 0).then(|| training.steps_done()),
        evaluated: None,
        is_evaluating: false,
        pace: Pace::of(parameters),
        evaluations: Evaluations {
            every: training.eval_every(),
            last_step: training.last_step(),
            took: Duration::ZERO,
            begun: None,
        },
        step: begun_at,
        best: run.best_accuracy(),
        events: event_file(arguments.tensorboard.as_deref(), &run, begun_at)?,
    };
    watcher.tell_what_is_next();
    let outcome = training.run(&run, |event| watcher.see(event))?;
    watcher.progress.clear();
    let is_evaluated = arguments.eval_limit == Some(0) || watcher.evaluated == Some(outcome.step);
    let is_done = outcome.is_out_of_patience || (outcome.step >= training.last_step() && is_evaluated);
    let stopped = if outcome.interrupted && !is_done { interrupt.reason() } else { None };
    Ok(Trained {
        folder: run.path().to_path_buf(),
        parameters,
        step: outcome.step,
        best: outcome.best,
        best_step: outcome.best_step,
        out_of_patience: patience_of(training.spec()).filter(|_| outcome.is_out_of_patience),
        evaluation: outcome
            .evaluation
            .as_ref()
            .map(|found| Judged { examples: found.examples, means: found.metrics.means() }),
        stopped,
        total_steps: training.total_steps(),
        work: Some(Done {
            elapsed_s: begun.elapsed().as_secs_f64(),
            steps: outcome.step - begun_at,
            sequences_per_s: watcher.window.sequences_per_second(),
            evaluation: outcome.evaluation,
            test: Arc::clone(training.data().test()),
        }),
    })
}

/// Begins the event file of a run that has done `step` steps, in the folder that the user says.
fn event_file(folder: Option<&Path>, run: &Run, step: u64) -> Result<Option<EventFile>, Failure> {
    let name = |folder: &Path| folder.join(run.path().file_name().unwrap_or_default());
    folder.map(|folder| EventFile::create(&name(folder), step)).transpose()
}

/// Returns after how many evaluations in a row without a better result a spec ends its training.
fn patience_of(spec: &Spec) -> Option<usize> {
    spec.model().train.as_ref()?.patience
}

fn options(
    arguments: &TrainArguments,
    common: &Common,
    project: &Project<'_>,
    device: Arc<dyn Device>,
) -> Result<TrainOptions, Failure> {
    Ok(TrainOptions {
        device,
        threads: project.threads(common.threads)?,
        steps: arguments.steps.map(|steps| steps as u64),
        eval_limit: arguments.eval_limit,
        ..TrainOptions::default()
    })
}

/// Returns the splits that a training needs.
fn splits(arguments: &TrainArguments) -> Splits {
    if arguments.eval_limit == Some(0) { Splits::Only(Split::Train) } else { Splits::Both }
}

fn too_large(error: crate::train::Error) -> Failure {
    fail_with_batch(error, "--set train.batch=")
}

/// What there is to do for a spec.
enum Prepared {
    ToTrain(Box<Training>, Box<Run>),
    /// Nothing: a run was finished before.
    Finished(Box<Trained>),
}

/// Prepares a new run, or an earlier one that takes its place.
fn begin(
    source: Source,
    reuse: Reuse,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project<'_>,
    interrupt: &Interrupt,
) -> Result<Prepared, Failure> {
    let mut spec = load(source, arguments)?;
    if let Some(seed) = arguments.seed {
        spec.change_training(|train| train.seed = seed);
    }
    let data = match &arguments.data {
        Some(folder) => Data::open_splits(&spec, folder, splits(arguments))?,
        None => Data::splits_of(&spec, project.root(), splits(arguments))?,
    };
    let runs = project.runs(common.runs.as_deref());
    // Of two jobs that begin together, the second one finds the run of the first.
    let turn = (reuse != Reuse::Nothing).then(|| RunFolder::turn(&runs)).transpose();
    let _turn = turn.map_err(crate::train::Error::from)?;
    match earlier(&spec, &data, reuse, arguments, &runs)? {
        Earlier::Nothing => {}
        Earlier::Finished(trained) => return Ok(Prepared::Finished(trained)),
        Earlier::Unfinished(path) => {
            let (training, run) = resume(&path, Some(data), arguments, common, project)?;
            return Ok(Prepared::ToTrain(Box::new(training), Box::new(run)));
        }
    }
    let options = options(arguments, common, project, project.device(common.device.as_deref()))?;
    let mut training = Training::new(&spec, data, options).map_err(too_large)?;
    data_check::warn(training.data());
    if let Some(stop) = interrupt.reason() {
        return Err(Failure::Stopped(stop));
    }
    let run = Run::create(&runs, &training)?;
    training.take(&run)?;
    Ok(Prepared::ToTrain(Box::new(training), Box::new(run)))
}

/// Reads the spec. Where it does not fit the data that it names or describes itself, it is read with the data of
/// `--data` in place of that.
fn load(source: Source, arguments: &TrainArguments) -> Result<Spec, Failure> {
    let with_own_data = match (Spec::read(source.clone(), &arguments.overrides), &arguments.data) {
        (Err(error), Some(folder)) => {
            let data = format!("train.data={}", quote(&folder.to_string_lossy()));
            let overrides = [arguments.overrides.clone(), vec![data]].concat();
            Spec::read(source, &overrides).map_err(|_| error)
        }
        (read, _) => read,
    };
    let spec = with_own_data?;
    spec::report(spec.warnings());
    Ok(spec)
}

/// An earlier run of a spec.
enum Earlier {
    Nothing,
    Unfinished(PathBuf),
    Finished(Box<Trained>),
}

/// Finds the run that takes the place of a new one.
fn earlier(
    spec: &Spec,
    data: &Data,
    reuse: Reuse,
    arguments: &TrainArguments,
    runs: &Path,
) -> Result<Earlier, Failure> {
    let model = spec.model();
    // A spec that does not train is refused later, with the reason.
    let (Some(train), true) = (&model.train, reuse != Reuse::Nothing) else { return Ok(Earlier::Nothing) };
    let total_steps = steps_in(train.length, data.train().metadata(), train.batch);
    let wanted = arguments.steps.map_or(total_steps, |steps| steps as u64);
    let is_judged = arguments.eval_limit != Some(0) && data.test().has_labels();
    let examples = arguments.eval_limit.unwrap_or(usize::MAX).min(data.test().examples());
    let (alike, unreadable) = Run::alike(runs, spec, data)?;
    unreadable.iter().for_each(|why| terminal::warning(&format!("{why}; this run is passed over")));
    let mut finished = None;
    for run in alike {
        if let Some(holder) = run.holder() {
            return Err(Failure::message(format!(
                "`{}` trains the same and is being trained by {holder}; wait for its end, or begin another run \
                 (`run` without `--resume auto`, `sweep` with `--new-runs`)",
                run.path().display()
            )));
        }
        let step = run.steps_done();
        let evaluation = run.evaluation_after(step).map(|(examples, means)| Judged { examples, means });
        let out_of_patience = train.patience.filter(|_| run.is_out_of_patience());
        // Training makes up an evaluation that was cut off.
        let is_cut_off = step == wanted && is_judged && evaluation.is_none();
        if out_of_patience.is_none() && (step < wanted || is_cut_off) {
            return Ok(Earlier::Unfinished(run.path().to_path_buf()));
        }
        // The evaluation after the last step takes no sample.
        let sample =
            run.manifest().eval_rows.filter(|_| arguments.eval_limit.is_none() && step != total_steps);
        let examples = sample.unwrap_or(usize::MAX).min(examples);
        let is_judged_alike = evaluation.as_ref().is_none_or(|found| found.examples == examples);
        let is_as_long = step == wanted || (step < wanted && out_of_patience.is_some());
        if reuse == Reuse::Same && !(is_as_long && is_judged_alike) {
            continue;
        }
        finished.get_or_insert_with(|| {
            let sizes = Sizes { batch: train.batch, puzzle_rows: data.puzzle_rows(model) };
            Box::new(Trained {
                folder: run.path().to_path_buf(),
                parameters: trained_parameters(model, sizes),
                step,
                best: run.best_accuracy(),
                best_step: run.best_step(),
                out_of_patience,
                evaluation,
                stopped: None,
                total_steps,
                work: None,
            })
        });
    }
    Ok(finished.map_or(Earlier::Nothing, Earlier::Finished))
}

/// Prepares to continue a run, on data that is there already or else on its own.
fn resume(
    path: &Path,
    data: Option<Data>,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project<'_>,
) -> Result<(Training, Run), Failure> {
    let run = run_arguments::open(path, &[])?;
    let name = common.device.as_deref().unwrap_or(&run.manifest().device);
    let device = project.device_named(name).ok_or_else(|| {
        Failure::message(format!(
            "`{}` was begun on the device `{name}`, which this build of hrmc does not have; choose another one \
             with `--device`",
            path.display(),
        ))
    })?;
    let options = options(arguments, common, project, device)?;
    let data = match (data, &arguments.data) {
        (Some(data), _) => data,
        (None, Some(folder)) => Data::open_splits(run.spec(), folder, splits(arguments))?,
        (None, None) => run.splits(project.root(), splits(arguments))?,
    };
    let training = Training::resume(&run, data, options).map_err(too_large)?;
    // What the run began with was looked at then.
    if run.changed(training.data()).contains(&Split::Test) {
        terminal::warning(&format!(
            "the test puzzles of {} are not those that `{}` began with: accuracies before and after this step cannot \
             be compared, and the best checkpoint may be one of before",
            training.data().name(),
            path.display()
        ));
        data_check::warn(training.data());
    }
    Ok((training, run))
}

/// Prints the model, the data and the steps of the training that begins.
fn introduce(training: &Training, run: &Run) {
    let (model, data, device) = (training.spec().model(), training.data(), &training.options().device);
    let train = model.train.as_ref().expect("a training has a spec with a `train` block");
    terminal::note(format_args!(
        "training `{}`: {} parameters on {}, {} and {}, batch {}, seed {}, device {}",
        model.name,
        grouped(trained_parameters(model, training.sizes())),
        data.name(),
        counted(data.train().examples(), "training example"),
        counted(data.test().examples(), "test example"),
        training.sizes().batch,
        training.seed(),
        device.name(),
    ));
    if train.precision == Precision::Bf16 && !device.multiplies_in_bf16() {
        terminal::note(format_args!(
            "`precision = bf16`: this device has no products in bf16, so everything is computed in f32"
        ));
    }
    let (done, stop) = (training.steps_done(), training.last_step());
    let steps = if done == 0 {
        format!("steps 1 to {}", grouped(stop))
    } else if done == stop {
        format!("making up the evaluation of step {}", grouped(stop))
    } else {
        format!("continuing with steps {} to {}", grouped(done + 1), grouped(stop))
    };
    let schedule = if stop == training.total_steps() {
        String::new()
    } else {
        format!(" of {}", grouped(training.total_steps()))
    };
    terminal::note(format_args!("{steps}{schedule}; run folder `{}`", run.path().display()));
}

/// Prints how many rows an evaluation on the way takes, if not all.
fn introduce_sample(training: &Training) {
    if let (Some(rows), Some(every)) = (training.sample_rows(), training.eval_every()) {
        let all = grouped(training.data().test().examples() as u64);
        let every = counted(every as usize, "step");
        terminal::note(format_args!(
            "evaluating {} of {all} test examples every {every} (`eval_share`), and all after step {}",
            grouped(rows as u64),
            grouped(training.total_steps()),
        ));
    }
}

/// Shows the progress of a training, and ends it when that is asked for.
struct Watcher<'a> {
    interrupt: &'a Interrupt,
    progress: Progress,
    window: Window,
    /// Rows in a batch.
    batch: usize,
    last_step: u64,
    /// End of the last step, or of the last pause after it.
    stepped: Instant,
    /// Step of the newest checkpoint.
    saved: Option<u64>,
    /// Step of the last evaluation.
    evaluated: Option<u64>,
    is_evaluating: bool,
    pace: Pace,
    evaluations: Evaluations,
    /// Optimizer steps done.
    step: u64,
    /// Best exact accuracy of the evaluations of the run.
    best: Option<f64>,
    /// The event file that is written, if any.
    events: Option<EventFile>,
}

impl Watcher<'_> {
    fn see(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        let took = self.stepped.elapsed();
        let was_evaluating = self.is_evaluating;
        self.is_evaluating = false;
        match event {
            Event::Begin => {}
            Event::Note(note) => self.progress.note(&format!("warning: {note}")),
            Event::Step(report) => {
                self.pace.step.add(took);
                self.log(&report.line());
                self.window.add(report, self.batch);
                let (window, best) = (&self.window, self.best);
                self.progress.show_with_trend(report.step, || (window.message(best), window.trend()));
                self.step = report.step;
                self.stepped = Instant::now();
            }
            Event::Evaluating { examples, total } => {
                if was_evaluating {
                    self.pace.segment.add(took);
                }
                self.is_evaluating = examples < total;
                self.evaluations.begin();
                self.progress.show_evaluation(*examples as u64, *total as u64);
                self.pause();
            }
            Event::Evaluated { step, evaluation, best } => {
                self.evaluated = Some(*step);
                self.evaluations.end();
                self.progress.end_evaluation();
                let (examples, means) = (evaluation.examples, evaluation.metrics.means());
                self.best = if *best { means.exact_accuracy } else { self.best };
                self.log(&MetricsLine::Evaluation { step: *step, examples, means });
                self.progress.note(&format!(
                    "step {}: {}{}",
                    grouped(*step),
                    summarize(&evaluation.metrics.means(), evaluation.examples, Split::Test),
                    if *best { ", best so far" } else { "" },
                ));
                self.pause();
            }
            Event::Saved { step } => {
                self.pace.save.add(took);
                // The one before the first step is not worth a word.
                self.saved = (*step > 0).then_some(*step);
                self.tell_what_is_next();
                self.pause();
            }
            Event::Concern { step, concern } => {
                self.progress.note(&format!("warning: step {}: {concern}", grouped(*step)));
            }
            Event::WentBack { divergence, step, rate_factor } => {
                self.progress.note(&format!(
                    "warning: {divergence}; it goes back to step {}, and on with learning rates times {:?}",
                    grouped(*step),
                    *rate_factor as f32,
                ));
                self.write_events(|events| events.start(*step));
                self.step = *step;
                self.saved = Some(*step);
                self.tell_what_is_next();
                self.pause();
            }
        }
        if was_evaluating != self.is_evaluating {
            self.tell_what_is_next();
        }
        if self.interrupt.reason().is_none() && self.time_is_up(event) {
            self.interrupt.end_for_time();
        }
        if self.interrupt.reason().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Adds a line of metrics to the event file, if there is one.
    fn log(&mut self, line: &MetricsLine) {
        let of = if line.is_evaluation() { CurveOf::Evaluation } else { CurveOf::Training };
        let line = LoggedLine { line, of, epochs: None, flops: None, times: None };
        self.write_events(|events| events.add(&line));
    }

    /// Writes to the event file, if there is one. What cannot be written is missing there alone.
    fn write_events(&mut self, write: impl FnOnce(&mut EventFile) -> Result<(), Failure>) {
        let Some(events) = &mut self.events else { return };
        if let Err(Failure::Message(message)) = write(events) {
            self.progress.note(&format!(
                "warning: {message}; the training goes on without `--tensorboard`, and `hrmc plot RUN --to tensorboard` \
                 writes the curves afterwards"
            ));
            self.events = None;
        }
    }

    /// Returns whether what follows an event would not be done and saved before the limit of time.
    fn time_is_up(&self, event: &Event<'_>) -> bool {
        let Some(left) = self.interrupt.time_left() else { return false };
        let next = match event {
            Event::Begin | Event::Step(_) => self.pace.step.longest(),
            Event::Evaluating { examples, total } if examples < total => self.pace.segment.longest(),
            Event::Evaluated { step, .. } if *step < self.last_step => self.pace.step.longest(),
            // Nothing follows, or only what asks again before it takes long.
            Event::Note(_)
            | Event::Evaluating { .. }
            | Event::Evaluated { .. }
            | Event::Concern { .. }
            | Event::WentBack { .. }
            | Event::Saved { .. } => return false,
        };
        left <= next + self.pace.save.longest()
    }

    /// Says what a signal leads to from now on.
    fn tell_what_is_next(&self) {
        let saved = match self.saved {
            Some(step) => format!("last saved: step {}", grouped(step)),
            None => "no step is saved yet".to_string(),
        };
        self.interrupt.begin(if self.is_evaluating {
            Busy { next: format!("stopping the evaluation after this segment; {saved}"), cost: String::new() }
        } else {
            Busy {
                next: "stopping after this step, to save".to_string(),
                cost: format!(" without saving ({saved})"),
            }
        });
    }

    /// Excludes the time since the last step from the measured speed.
    fn pause(&mut self) {
        let time = self.stepped.elapsed();
        self.window.pause(time);
        self.progress.pause(time, self.evaluations.seconds_to_come(self.step));
        self.stepped = Instant::now();
    }
}

/// How long the parts of a training take.
struct Pace {
    step: Longest,
    segment: Longest,
    save: Longest,
}

impl Pace {
    /// Returns the pace of a training of some trained elements that has not begun.
    fn of(parameters: u64) -> Pace {
        // Weights, averages and two moments of 4 bytes each, to a slow disk: a guess until something was saved.
        const BYTES: f64 = 16.0;
        const BYTES_PER_S: f64 = 100e6;
        let save = Duration::from_secs_f64(BYTES * parameters as f64 / BYTES_PER_S);
        Pace { step: Longest::default(), segment: Longest::default(), save: Longest(save) }
    }
}

/// The evaluations of a training, and how long the last one took.
struct Evaluations {
    /// Steps between two of them; `None` if there is only one, after the last step.
    every: Option<u64>,
    last_step: u64,
    took: Duration,
    /// When the one under way began.
    begun: Option<Instant>,
}

impl Evaluations {
    fn begin(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    fn end(&mut self) {
        self.took = self.begun.take().map_or(self.took, |begun| begun.elapsed());
    }

    /// Returns the seconds that those after `step` will take, as far as one is known.
    fn seconds_to_come(&self, step: u64) -> f64 {
        let every = self.every.unwrap_or(self.last_step).max(1);
        let on_the_way = (self.last_step / every).saturating_sub(step / every);
        let at_the_end = u64::from(step < self.last_step && !self.last_step.is_multiple_of(every));
        (on_the_way + at_the_end) as f64 * self.took.as_secs_f64()
    }
}

/// The longest of some times. The first ones, which are longer than those that follow, are forgotten bit by bit.
#[derive(Default)]
struct Longest(Duration);

impl Longest {
    fn add(&mut self, time: Duration) {
        self.0 = time.max(self.0.mul_f64(0.9));
    }

    fn longest(&self) -> Duration {
        self.0
    }
}

/// Returns one line about an evaluation.
pub fn summarize(means: &MetricMeans, examples: usize, split: Split) -> String {
    let share = |value: Option<f64>| value.map_or("-".to_string(), percent);
    let segments = means.mean_segments.map_or("-".to_string(), |mean| format!("{mean:.2}"));
    // Of a maze any shortest path is right, and the label is one of them.
    let valid = means.valid_accuracy.filter(|valid| Some(*valid) != means.exact_accuracy);
    let valid = valid.map_or(String::new(), |valid| format!(" ({} obey the rules)", percent(valid)));
    format!(
        "{} exact{valid}, {} of the tokens, on {}; {segments} segments each, loss {:.4}",
        share(means.exact_accuracy),
        share(means.accuracy),
        counted(examples, if split == Split::Test { "held-out puzzle" } else { "training puzzle" }),
        means.loss,
    )
}

/// The report at the end of a training.
struct Report<'a> {
    arguments: &'a TrainArguments,
    common: &'a Common,
    trained: &'a Trained,
}

impl Report<'_> {
    fn print(&self) -> Result<(), Failure> {
        let Trained { folder, step, total_steps, best, best_step, evaluation, stopped, work, .. } =
            self.trained;
        if self.common.json {
            return terminal::print_json(&json!({
                "run": terminal::path_text(folder),
                "step": step,
                "total_steps": total_steps,
                "interrupted": stopped.is_some(),
                "stopped_by": stopped.map(Stop::name),
                "was_finished": work.is_none(),
                "out_of_patience": self.trained.out_of_patience.is_some(),
                "seconds": work.as_ref().map(|work| work.elapsed_s),
                "sequences_per_second": work.as_ref().map(|work| work.sequences_per_s),
                "examples": evaluation.as_ref().map(|found| found.examples),
                "evaluation": evaluation.as_ref().map(|found| &found.means),
                "best_exact_accuracy": best,
                "best_step": best_step,
            }));
        }
        let path = folder.display();
        let step = grouped(*step);
        if let Some(stop) = stopped {
            terminal::note(format_args!(
                "stopped after step {step} ({}); everything is saved in `{path}`",
                self.cause(*stop)
            ));
            if *stop == Stop::TimeIsUp && work.as_ref().is_some_and(|work| work.steps == 0) {
                terminal::warning(
                    "no step was done: the time is too short for the preparation, or for the evaluation \
                     that was under way; give more, or evaluate fewer examples with `--eval-limit N`",
                );
            }
            return terminal::print(format!("continue with `{}`\n", self.resuming_command(folder)));
        }
        let early_end = self.early_end();
        if let Some(end) = early_end.as_ref().filter(|_| work.is_some()) {
            terminal::note(end);
        }
        let mut text = match work {
            None => {
                let why = early_end.clone().unwrap_or_else(|| format!("it has done {step} steps"));
                format!("`{path}` was finished before: {why}\n")
            }
            Some(work) => {
                let drawn = work.evaluation.as_ref().map(|evaluation| draw_solved(&work.test, evaluation));
                format!(
                    "{}trained to step {step} in {}, {} sequences/s\n",
                    drawn.unwrap_or_default(),
                    duration(work.elapsed_s),
                    rate(work.sequences_per_s),
                )
            }
        };
        if let Some(Judged { examples, means }) = evaluation {
            text.push_str(&format!("accuracy: {}\n", summarize(means, *examples, Split::Test)));
        }
        if work.is_none() {
            text.push_str("train once more with the same command without `--resume auto`\n");
            return terminal::print(text);
        }
        text.push_str(&format!("run folder: {path}\n"));
        let (wanted, found) = (work.as_ref().map(|work| work.test.examples()), evaluation.as_ref());
        if self.arguments.eval_limit.is_none() && found.is_some_and(|found| Some(found.examples) < wanted) {
            text.push_str(&format!(
                "evaluate all held-out puzzles with `hrmc eval {}`\n",
                shell::path(folder)
            ));
        }
        if early_end.is_none() && self.trained.step < *total_steps {
            text.push_str(&format!("continue with `{}`\n", self.resuming_command(folder)));
        }
        text.push_str(&format!("solve a puzzle with `hrmc run {} --puzzle FILE`\n", shell::path(folder)));
        terminal::print(text)
    }

    /// Returns why the training ended before its last step, in words, if `patience` ended it.
    fn early_end(&self) -> Option<String> {
        let Trained { step, best_step, out_of_patience, .. } = self.trained;
        let evaluations = evaluations_in_a_row((*out_of_patience)?);
        // Of equals, `best` is the newest.
        let before = best_step.filter(|best| best < step);
        let best = before.map_or(String::new(), |best| format!(" than after step {}", grouped(best)));
        Some(format!(
            "stopped after step {}: {evaluations} found nothing better{best} (`patience`)",
            grouped(*step)
        ))
    }

    /// Returns what ended the training, in words.
    fn cause(&self, stop: Stop) -> String {
        match (stop, &self.arguments.max_time) {
            (Stop::Interrupted, _) => "Ctrl-C".to_string(),
            (Stop::TimeIsUp, Some(limit)) => format!("`--max-time {}`", limit.text),
            (stop, _) => stop.name().to_string(),
        }
    }

    /// Returns the command that continues the run.
    fn resuming_command(&self, path: &Path) -> String {
        let mut command = format!("hrmc run --train --resume {}", shell::path(path));
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                command.push_str(&format!(" {name} {value}"));
            }
        };
        if self.trained.stopped.is_some() {
            option("--steps", self.arguments.steps.map(|steps| steps.to_string()));
        }
        // A run knows the data that it began with.
        if self.arguments.resume.is_some() {
            option("--data", self.arguments.data.as_deref().map(shell::path));
        }
        option("--eval-limit", self.arguments.eval_limit.map(|limit| limit.to_string()));
        option("--tensorboard", self.arguments.tensorboard.as_deref().map(shell::path));
        option("--max-time", self.arguments.max_time.as_ref().map(|limit| limit.text.clone()));
        option("--device", self.common.device.clone());
        option("--threads", self.common.threads.map(|threads| threads.to_string()));
        command
    }
}

/// Draws the first held-out puzzles with the answers of an evaluation.
fn draw_solved(test: &Dataset, evaluation: &Evaluation) -> String {
    let kind = test.kind();
    let mut text = String::new();
    for (number, answer) in evaluation.answers.iter().take(SHOWN_ANSWERS).enumerate() {
        let (example, answer) = (answer.row, &answer.tokens);
        let question: Vec<i32> = test.inputs(example).collect();
        let labels: Vec<i32> = test.labels(example).collect();
        let title = terminal::heading(&format!("held-out puzzle {}", number + 1));
        let expected = Expected { tokens: &labels, name: "the answer in the data" };
        let picture = picture::side_by_side(kind, &question, answer, Some(expected));
        let verdict = picture::verdict(kind, &question, answer, Some(&labels));
        text.push_str(&format!("{title}\n{picture}{verdict}\n\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_counts_the_evaluations_to_come() {
        let took = Duration::from_secs(2);
        let seconds = |every: Option<u64>, last_step: u64, step: u64| {
            Evaluations { every, last_step, took, begun: None }.seconds_to_come(step)
        };
        // After steps 8, 16 and 20.
        assert_eq!(
            [0, 7, 8, 16, 19, 20].map(|step| seconds(Some(8), 20, step)),
            [6.0, 6.0, 4.0, 2.0, 2.0, 0.0]
        );
        assert_eq!([0, 8, 16].map(|step| seconds(Some(8), 16, step)), [4.0, 2.0, 0.0]);
        assert_eq!([0, 19, 20].map(|step| seconds(None, 20, step)), [2.0, 2.0, 0.0]);
    }
}
