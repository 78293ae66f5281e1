//! `hrmc run --train`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::datasets::{self, Datasets};
use super::failure::{Failure, fail};
use super::interrupt::Interrupt;
use super::progress::{Progress, Window};
use super::project::Project;
use super::run::{Common, TrainArguments};
use super::terminal::{counted, duration, grouped, percent, rate};
use super::trained::TrainedRun;
use super::{memory, picture, spec, terminal};
use crate::check;
use crate::data::Dataset;
use crate::device::Device;
use crate::ir::{Data, Model, Precision, Train};
use crate::lower::parameters::trained_parameters;
use crate::lower::{Program, Sizes};
use crate::pipeline;
use crate::span::Source;
use crate::train::run_folder::MetricsLog;
use crate::train::schedule::steps_in;
use crate::train::{
    Evaluation, EvaluationRequest, MetricMeans, MetricsLine, RunFolder, RunManifest, Trainer, TrainerParts,
};

/// Held-out puzzles that are drawn at the end.
const DRAWN_PUZZLES: usize = 3;

/// What is to be trained, before anything is allocated.
struct Preparation {
    model: Model,
    train: Train,
    datasets: Datasets,
    /// The run to go on with.
    resumed: Option<RunFolder>,
    seed: u64,
    device: Device,
    options: Sizes,
    total_steps: u64,
}

/// Trains, and says how it went.
///
/// # Errors
///
/// Returns a failure if there is a problem with the spec, the data, the run or the memory.
pub fn run(
    subject: Option<&Path>,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project,
) -> Result<(), Failure> {
    let interrupt = Interrupt::listen()?;
    let subject = match &arguments.resume {
        Some(run) => Subject::Run(run.clone()),
        None => Subject::Spec(spec::read(subject, project)?),
    };
    let trained = train(subject, arguments, common, project, &interrupt)?;
    Report { arguments, common, trained: &trained }.print()
}

/// What to train.
pub enum Subject {
    /// A spec, from the beginning.
    Spec(Source),
    /// A run that was begun before.
    Run(PathBuf),
}

/// A training that has ended, at its last step or because it was interrupted.
pub struct Trained {
    /// Folder of the run.
    pub folder: PathBuf,
    /// Elements of the weights that are trained.
    pub parameters: u64,
    /// Optimizer steps done, those of earlier parts of the run included.
    pub step: u64,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
    /// The last evaluation, if there was one.
    pub evaluation: Option<Evaluation>,
    /// Best exact accuracy of any evaluation.
    pub best: Option<f64>,
    /// Time of this process.
    pub elapsed_s: f64,
    /// Step to stop at.
    stop: u64,
    /// Steps of the whole schedule.
    total_steps: u64,
    sequences_per_s: f64,
    test: Arc<Dataset>,
}

impl Trained {
    /// Returns whether Ctrl-C came before the last step.
    pub fn is_stopped(&self) -> bool {
        self.interrupted && self.step < self.stop
    }
}

/// Trains until the last step, or until Ctrl-C.
///
/// # Errors
///
/// Returns a failure if there is a problem with the spec, the data, the run or the memory.
pub fn train(
    subject: Subject,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project,
    interrupt: &Interrupt,
) -> Result<Trained, Failure> {
    let prepared = match subject {
        Subject::Run(run) => resume(&run, arguments, common, project)?,
        Subject::Spec(source) => begin(source, arguments, common, project)?,
    };
    let Preparation { model, datasets, device, options, .. } = &prepared;
    let averaged = prepared.train.ema.is_some();
    // Evaluation does not pay for rows that it will never have.
    let examples = arguments.eval_limit.unwrap_or(usize::MAX).min(datasets.test.examples());
    let evaluate_options = Sizes { batch: options.batch.min(examples).max(1), ..*options };
    let programs = [(Program::Train, *options), (Program::Evaluate { averaged }, evaluate_options)];
    memory::check(model, &programs, *device, "--set train.batch=")?;
    let [train, evaluate] =
        programs.map(|(program, options)| pipeline::executable(model, program, options, *device));
    let mut trainer = Trainer::new(TrainerParts {
        model: model.clone(),
        train,
        evaluate,
        puzzle_rows: options.puzzle_rows,
        threads: project.threads(common.threads),
        data: datasets.train.clone(),
        augment: datasets.augment.clone(),
        seed: prepared.seed,
        total_steps: prepared.total_steps,
    })
    .map_err(fail)?;
    let folder = match &prepared.resumed {
        Some(folder) => {
            trainer.restore(&folder.last()).map_err(fail)?;
            folder.clone()
        }
        None => {
            let manifest = RunManifest::new(
                &model.name,
                &check::show(model),
                prepared.seed,
                *device,
                &datasets.train,
                &datasets.test,
            )
            .with_overrides(&arguments.overrides);
            RunFolder::create(&project.runs(common.runs.as_deref()), &manifest).map_err(fail)?
        }
    };
    let stop = arguments.steps.map_or(prepared.total_steps, |steps| steps as u64);
    if trainer.steps_done() >= stop {
        return Err(Failure::message(format!(
            "`{}` has done {} already; ask for more with `--steps N`, counted from the beginning of the run",
            folder.path().display(),
            counted(trainer.steps_done() as usize, "step"),
        )));
    }
    introduce(&prepared, &folder, &trainer, stop);
    let mut training = Training {
        log: folder.metrics_log(trainer.steps_done()).map_err(fail)?,
        best: folder.best_accuracy().map_err(fail)?,
        eval_every: prepared
            .train
            .eval_every
            .map(|length| steps_in(length, prepared.datasets.train.metadata(), options.batch).max(1)),
        eval_limit: arguments.eval_limit,
        stop,
        test: &prepared.datasets.test,
        interrupt: interrupt.clone(),
        folder,
        trainer,
    };
    let outcome = training.run()?;
    Ok(Trained {
        folder: training.folder.path().to_path_buf(),
        parameters: trained_parameters(model, *options),
        step: training.trainer.steps_done(),
        interrupted: outcome.interrupted,
        evaluation: outcome.evaluation,
        best: training.best,
        elapsed_s: outcome.elapsed_s,
        stop,
        total_steps: training.trainer.total_steps(),
        sequences_per_s: outcome.sequences_per_s,
        test: Arc::clone(&datasets.test),
    })
}

/// Reads the spec of a new run and its data.
fn begin(
    source: Source,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project,
) -> Result<Preparation, Failure> {
    let spec = spec::load(source, &arguments.overrides)?;
    let mut model = spec.model.clone();
    let Some(train) = &mut model.train else {
        return Err(Failure::message(format!(
            "`{}` has no `train` block, so there is nothing that says how to train it; add one, as in \
             `specs/quickstart.hrm`",
            model.name
        )));
    };
    // The run keeps the spec with what the command line says, so that it can go on without it.
    if let Some(seed) = arguments.seed {
        train.seed = seed;
    }
    if let Some(data) = &arguments.data {
        train.data = Data::Folder(data_path(data)?);
    }
    let seed = train.seed;
    let device = project.device(common.device);
    let prepared = prepare(model, None, seed, device, arguments, project)?;
    let blamed = if arguments.data.is_none() { Some(&spec) } else { None };
    datasets::check_fit(&prepared.model, &prepared.datasets, blamed)?;
    Ok(prepared)
}

/// Opens the run to go on with and its data.
fn resume(
    run: &Path,
    arguments: &TrainArguments,
    common: &Common,
    project: &Project,
) -> Result<Preparation, Failure> {
    let TrainedRun { folder, manifest, model } = TrainedRun::open(run, &[])?;
    let device = match common.device {
        Some(name) => name.device(),
        None => {
            Device::ALL.iter().copied().find(|device| device.name() == manifest.device).ok_or_else(|| {
                Failure::message(format!(
                    "`{}` was begun on the device `{}`, which this hrmc does not have; choose one with \
                     `--device`",
                    run.display(),
                    manifest.device
                ))
            })?
        }
    };
    let prepared = prepare(model, Some(folder), manifest.seed, device, arguments, project)?;
    datasets::check_fit(&prepared.model, &prepared.datasets, None)?;
    Ok(prepared)
}

fn prepare(
    model: Model,
    resumed: Option<RunFolder>,
    seed: u64,
    device: Device,
    arguments: &TrainArguments,
    project: &Project,
) -> Result<Preparation, Failure> {
    let train = model.train.clone().expect("a run has a spec with a `train` block");
    let datasets = datasets::open(&model, &train.data, arguments.data.as_deref(), seed, project)?;
    let identifiers = |dataset: &Dataset| dataset.metadata().num_puzzle_identifiers;
    let puzzle_rows = match model.puzzles {
        Some(_) => identifiers(&datasets.train).max(identifiers(&datasets.test)).max(1),
        None => 1,
    };
    let options = Sizes { batch: train.batch, puzzle_rows };
    let total_steps = steps_in(train.length, datasets.train.metadata(), options.batch);
    if total_steps == 0 {
        return Err(Failure::message(format!(
            "`{}` is to be trained for less than one step; raise `train.epochs` or lower `train.batch`",
            model.name
        )));
    }
    Ok(Preparation { model, train, datasets, resumed, seed, device, options, total_steps })
}

/// Returns a path that leads to the same folder from wherever the run is continued.
fn data_path(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| Failure::cannot_read(path, &error))?;
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::message(format!("the path `{}` is not UTF-8 text, which a spec needs", path.display()))
    })
}

/// Says what is about to be trained.
fn introduce(prepared: &Preparation, folder: &RunFolder, trainer: &Trainer, stop: u64) {
    let Preparation { model, datasets, options, .. } = prepared;
    terminal::note(format_args!(
        "training `{}`: {} parameters on {}, {} and {}, batch {}, seed {}, device {}",
        model.name,
        grouped(trained_parameters(model, *options)),
        datasets.name,
        counted(datasets.train.examples(), "training example"),
        counted(datasets.test.examples(), "test example"),
        options.batch,
        prepared.seed,
        prepared.device.name(),
    ));
    if prepared.train.precision == Precision::Bf16 && !prepared.device.multiplies_in_bf16() {
        terminal::note(format_args!(
            "`precision = bf16`: no products in bf16 here; everything is computed in f32"
        ));
    }
    let steps = if trainer.steps_done() == 0 {
        format!("steps 1 to {}", grouped(stop))
    } else {
        format!("going on with steps {} to {}", grouped(trainer.steps_done() + 1), grouped(stop))
    };
    let schedule = if stop == trainer.total_steps() {
        String::new()
    } else {
        format!(" of {}", grouped(trainer.total_steps()))
    };
    terminal::note(format_args!("{steps}{schedule}; run folder `{}`", folder.path().display()));
}

/// A training that is under way.
struct Training<'a> {
    trainer: Trainer,
    folder: RunFolder,
    log: MetricsLog,
    /// Best exact accuracy so far.
    best: Option<f64>,
    /// Steps between two evaluations.
    eval_every: Option<u64>,
    /// Examples to evaluate; `None` for all.
    eval_limit: Option<usize>,
    /// Step to stop at.
    stop: u64,
    test: &'a Dataset,
    interrupt: Interrupt,
}

/// How a training ended.
struct Outcome {
    interrupted: bool,
    /// The last evaluation, if there was one.
    evaluation: Option<Evaluation>,
    elapsed_s: f64,
    sequences_per_s: f64,
}

/// Longest time that a crash of the machine can take away.
const SAVE_EVERY: Duration = Duration::from_secs(300);

impl Training<'_> {
    fn run(&mut self) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        let mut progress = Progress::new("training", self.trainer.steps_done(), self.stop);
        let mut window = Window::new();
        let mut latest = None;
        let mut saved = begun;
        while self.trainer.steps_done() < self.stop && !self.interrupt.is_requested() {
            let report = self.trainer.step().map_err(fail)?;
            self.log.append(&MetricsLine::train(&report)).map_err(fail)?;
            window.add(&report, self.trainer.batch());
            progress.show(report.step, || window.message());
            let is_due = self.eval_every.is_some_and(|every| report.step.is_multiple_of(every));
            if is_due || report.step == self.stop {
                let before = Instant::now();
                // Evaluation leaves the state of training alone and may take long, so the state is safe first.
                self.save_last()?;
                saved = Instant::now();
                if let Some(evaluation) = self.evaluate(&mut progress)? {
                    latest = Some(evaluation);
                }
                window.pause(before.elapsed());
            } else if saved.elapsed() > SAVE_EVERY {
                self.save_last()?;
                saved = Instant::now();
            }
        }
        progress.clear();
        let interrupted = self.interrupt.is_requested();
        if interrupted {
            self.save_last()?;
        }
        Ok(Outcome {
            interrupted,
            evaluation: latest,
            elapsed_s: begun.elapsed().as_secs_f64(),
            sequences_per_s: window.sequences_per_second(),
        })
    }

    fn save_last(&mut self) -> Result<(), Failure> {
        self.trainer.save(&self.folder.last(), None).map_err(fail)
    }

    /// Evaluates, logs the result and keeps the checkpoint if it is the best so far.
    fn evaluate(&mut self, progress: &mut Progress) -> Result<Option<Evaluation>, Failure> {
        if self.eval_limit == Some(0) {
            return Ok(None);
        }
        let step = self.trainer.steps_done();
        // The answers are drawn at the end.
        let request = EvaluationRequest { limit: self.eval_limit, keep_predictions: step == self.stop };
        let interrupt = self.interrupt.clone();
        let evaluation = self.trainer.evaluate(self.test, request, &mut |done| {
            progress.aside(|| format!("evaluating {}/{}", done.examples, done.total));
            if interrupt.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Some(evaluation) = evaluation.map_err(fail)? else { return Ok(None) };
        self.log.append(&MetricsLine::evaluation(step, &evaluation)).map_err(fail)?;
        let means = evaluation.metrics.means();
        let accuracy = means.exact_accuracy.unwrap_or(0.0);
        let is_best = self.best.is_none_or(|best| accuracy >= best);
        if is_best {
            self.trainer.save(&self.folder.best(), Some(accuracy)).map_err(fail)?;
            self.best = Some(accuracy);
        }
        progress.note(&format!(
            "step {}: {}{}",
            grouped(step),
            summarize(&means, evaluation.examples),
            if is_best { ", best so far" } else { "" },
        ));
        Ok(Some(evaluation))
    }
}

/// Returns one line on an evaluation.
pub fn summarize(means: &MetricMeans, examples: usize) -> String {
    let share = |value: Option<f64>| value.map_or("-".to_string(), percent);
    let segments = means.mean_segments.map_or("-".to_string(), |mean| format!("{mean:.2}"));
    format!(
        "{} exact, {} of the tokens, on {}; {segments} segments each, loss {:.4}",
        share(means.exact_accuracy),
        share(means.accuracy),
        counted(examples, "held-out puzzle"),
        means.loss,
    )
}

/// What is said at the end.
struct Report<'a> {
    arguments: &'a TrainArguments,
    common: &'a Common,
    trained: &'a Trained,
}

impl Report<'_> {
    fn print(&self) -> Result<(), Failure> {
        let trained = self.trained;
        let (path, step) = (&trained.folder, trained.step);
        let go_on = self.how_to_go_on(path);
        let finished = step >= trained.total_steps;
        if self.common.json {
            return terminal::print_json(&json!({
                "run": path,
                "step": step,
                "total_steps": trained.total_steps,
                "interrupted": trained.interrupted,
                "seconds": trained.elapsed_s,
                "sequences_per_second": trained.sequences_per_s,
                "examples": trained.evaluation.as_ref().map(|evaluation| evaluation.examples),
                "evaluation": trained.evaluation.as_ref().map(|evaluation| evaluation.metrics.means()),
                "best_exact_accuracy": trained.best,
            }));
        }
        if trained.is_stopped() {
            terminal::note(format_args!(
                "stopped after step {}; everything is saved in `{}`",
                grouped(step),
                path.display()
            ));
            return terminal::print(format!("go on with `{go_on}`\n"));
        }
        let mut text = trained
            .evaluation
            .as_ref()
            .map_or(String::new(), |evaluation| draw_solved(&trained.test, evaluation));
        text.push_str(&format!(
            "trained to step {} in {}, {} sequences/s\n",
            grouped(step),
            duration(trained.elapsed_s),
            rate(trained.sequences_per_s),
        ));
        if let Some(evaluation) = &trained.evaluation {
            let means = evaluation.metrics.means();
            text.push_str(&format!("accuracy: {}\n", summarize(&means, evaluation.examples)));
        }
        if trained.interrupted {
            text.push_str(&format!(
                "the last evaluation was stopped; run it with `hrmc eval {}`\n",
                path.display()
            ));
        }
        text.push_str(&format!("run folder: {}\n", path.display()));
        if !finished {
            text.push_str(&format!("go on with `{go_on}`\n"));
        }
        if trained.test.kind().is_some() {
            text.push_str(&format!("solve a puzzle with `hrmc run {} --puzzle FILE`\n", path.display()));
        }
        terminal::print(text)
    }

    /// Returns the command that goes on with the run.
    fn how_to_go_on(&self, path: &Path) -> String {
        let mut command = format!("hrmc run --train --resume {}", path.display());
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                command.push_str(&format!(" {name} {value}"));
            }
        };
        if self.trained.interrupted {
            option("--steps", self.arguments.steps.map(|steps| steps.to_string()));
        }
        option("--data", self.arguments.data.as_ref().map(|data: &PathBuf| data.display().to_string()));
        option("--eval-limit", self.arguments.eval_limit.map(|limit| limit.to_string()));
        option("--threads", self.common.threads.map(|threads| threads.to_string()));
        command
    }
}

/// Draws the first held-out puzzles with the answers of an evaluation; empty for data that hrmc cannot draw.
fn draw_solved(test: &Dataset, evaluation: &Evaluation) -> String {
    let Some(kind) = test.kind() else { return String::new() };
    let mut text = String::new();
    for (example, answer) in evaluation.predictions.iter().take(DRAWN_PUZZLES).enumerate() {
        let question: Vec<i32> = test.inputs(example).collect();
        let labels: Vec<i32> = test.labels(example).collect();
        let title = terminal::heading(&format!("held-out puzzle {}", example + 1));
        let picture = picture::side_by_side(kind, &question, answer);
        let verdict = picture::verdict(kind, &question, answer, Some(&labels));
        text.push_str(&format!("{title}\n{picture}{verdict}\n\n"));
    }
    text
}
