//! Runs: folders of trainings, which can be continued, evaluated and used to solve puzzles.

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::data::{Data, Splits, absolute_text, distinct_folders, kind_of, path_from_run_in};
use super::error::Error;
use super::evaluate::Evaluator;
use super::memory::{Wanted, check_memory};
use super::solver::{SolveOptions, Solver};
use crate::data::{Dataset, Metadata, PuzzleKind, Split, SplitSize};
use crate::device::EngineOptions;
use crate::diagnostic::Severity;
use crate::ir;
use crate::lower::{Program, Sizes};
use crate::shell;
use crate::span::Source;
use crate::spec::Spec;
use crate::store::checkpoint::Saved;
use crate::store::tensors::{WeightsFile, not_finite, puzzle_rows};
use crate::store::{CheckpointError, MetricsLine, OWN_DATA, RunFolder, RunManifest};
use crate::syntax::parse_override;
use crate::units::bytes;

/// How often a checkpoint is read while another process trains the run.
const TRIES_BESIDE_A_TRAINING: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// One of the checkpoints of a run.
///
/// # Examples
///
/// ```
/// use hrmc::{Checkpoint, SolveOptions};
///
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// // After one evaluation, the newest checkpoint is also the best.
/// for checkpoint in [Checkpoint::BestOrLast, Checkpoint::Best, Checkpoint::Last] {
///     run.solver(checkpoint, SolveOptions::default())?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checkpoint {
    /// The checkpoint with the best exact accuracy, or the newest one if there was no evaluation yet.
    #[default]
    BestOrLast,
    /// The checkpoint with the best exact accuracy, among equals the one with the lowest loss, then the newest. Before the
    /// first evaluation there is none.
    Best,
    /// The newest checkpoint.
    Last,
    /// The checkpoint before the newest one.
    Previous,
}

/// A run: its folder, its spec, and its checkpoints.
///
/// # Examples
///
/// ```
/// use hrmc::{Checkpoint, Run, SolveOptions};
///
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// let run = Run::open(run.path())?;
/// assert_eq!(run.spec().model().name, "quickstart");
/// let solver = run.solver(Checkpoint::Last, SolveOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Run {
    folder: RunFolder,
    manifest: RunManifest,
    spec: Spec,
}

impl Run {
    /// Makes a folder in `runs`.
    pub(super) fn create_folder(runs: &Path, mut manifest: RunManifest, spec: Spec) -> Result<Run, Error> {
        manifest.data_from_run =
            manifest.data_folder.as_deref().and_then(|data| path_from_run_in(runs, Path::new(data)));
        let folder = RunFolder::create(runs, &manifest)?;
        Ok(Run { folder, manifest, spec })
    }

    /// Makes a folder in `runs`, and moves the folder `data` into it, which is the data of the run.
    pub(super) fn move_with_data(
        runs: &Path,
        mut manifest: RunManifest,
        spec: Spec,
        data: &Path,
    ) -> Result<Run, Error> {
        let folder = RunFolder::reserve(runs, &manifest.name)?;
        manifest.data_folder = absolute_text(&folder.take_data(data)?);
        manifest.data_from_run = Some(OWN_DATA.to_string());
        folder.describe(&manifest)?;
        Ok(Run { folder, manifest, spec })
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not one, or its description is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Run, Error> {
        Run::open_with(path, &[])
    }

    /// Does the same with overrides of `infer`, as in `model.infer.segments=16`. The rest of the spec is fixed by the
    /// training.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Run::open`], or if an override cannot be used.
    pub fn open_with(path: impl AsRef<Path>, overrides: &[String]) -> Result<Run, Error> {
        let path = path.as_ref();
        let folder = RunFolder::open(path)?;
        let manifest = folder.manifest()?;
        refuse_what_is_fixed(path, overrides)?;
        let source = source(&folder, &manifest);
        let mut spec = Spec::read(source.clone(), overrides)?;
        if !spec.writes_seed_of_data() {
            // A run of the time when generated puzzles had the seed of the training.
            let seed = manifest.seed;
            spec.change_training(|train| match &mut train.data {
                ir::Data::Sudoku(sudoku) => sudoku.seed = seed,
                ir::Data::Maze(maze) => maze.seed = seed,
                ir::Data::Folder(_) => {}
            });
        }
        if !overrides.is_empty() {
            // Warnings about the rest were reported when the run began.
            let said = Spec::read::<&str>(source, &[])?;
            spec.retain_warnings(|one| {
                let mut old = said.warnings().iter().flat_map(|(_, found)| found);
                let is_old = old.any(|old| (old.code, &old.message) == (one.code, &one.message));
                one.severity == Severity::Error || !is_old
            });
        }
        Ok(Run { folder, manifest, spec })
    }

    /// Reads the spec of the run in the folder `path`, every default written out and every override applied.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not the folder of a run, or its description is damaged.
    #[cfg(feature = "cli")]
    pub(crate) fn read_spec(path: &Path) -> Result<Source, Error> {
        let folder = RunFolder::open(path)?;
        let manifest = folder.manifest()?;
        Ok(source(&folder, &manifest))
    }

    /// Returns whether `path` is the folder of a run.
    pub fn is_run(path: impl AsRef<Path>) -> bool {
        RunFolder::open(path.as_ref()).is_ok()
    }

    /// Returns the run with the highest number in `runs` of the model `name`, if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` cannot be read, or that run is damaged.
    pub fn newest(runs: impl AsRef<Path>, name: &str) -> Result<Option<PathBuf>, Error> {
        Ok(RunFolder::newest(runs.as_ref(), name)?.map(|folder| folder.path().to_path_buf()))
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the content of `run.toml`.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// Returns the spec, with the overrides it was opened with.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the measurements of training and evaluation.
    ///
    /// # Errors
    ///
    /// Returns an error if `metrics.jsonl` cannot be read or is damaged.
    pub fn metrics(&self) -> Result<Vec<MetricsLine>, Error> {
        Ok(self.folder.metrics()?)
    }

    /// Opens or generates the data that it was trained on.
    ///
    /// A folder is looked for where it was, and where it was as seen from the folder of the run; for a run of an hrmc
    /// that did not write these down, below `root`. If there are several, it is the one that has not changed.
    ///
    /// Data that a program [made](Data::given) is not stored: the program has to make it again.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such dataset, or it is broken.
    pub fn data(&self, root: impl AsRef<Path>) -> Result<Data, Error> {
        self.splits(root, Splits::Both)
    }

    /// Does the same for the splits that are needed; the other one may be missing.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Run::data`].
    pub fn splits(&self, root: impl AsRef<Path>, splits: Splits) -> Result<Data, Error> {
        let model = self.spec.model();
        let places = self.places(root.as_ref());
        let there = distinct_folders(&places);
        for place in there.iter().filter(|_| there.len() > 1) {
            if let Ok(data) = Data::at(model, slice::from_ref(place), splits)
                && self.changed(&data).is_empty()
            {
                return Ok(data);
            }
        }
        Data::at(model, there.last().map_or(&places, slice::from_ref), splits)
    }

    /// Returns the rows that it was trained on, or why they cannot be looked at: they are not there any more, or have more
    /// than `most_bytes`.
    pub fn training_rows(&self, root: impl AsRef<Path>, most_bytes: u64) -> Result<Arc<Dataset>, String> {
        let places = distinct_folders(&self.places(root.as_ref()));
        if let Some(folder) = places.last() {
            let size = Metadata::read(folder, Split::Train).ok().flatten().and_then(|metadata| {
                Some(SplitSize::read(folder, Split::Train, &metadata).ok()?.bytes(&metadata))
            });
            if let Some(size) = size.filter(|&size| size > most_bytes) {
                return Err(format!(
                    "its training data has {}, which takes long to look through; `hrmc data show --against {}` compares",
                    bytes(size),
                    shell::path(folder)
                ));
            }
        }
        let data = self.splits(root, Splits::Only(Split::Train)).map_err(|error| error.to_string())?;
        match self.changed(&data).contains(&Split::Train) {
            true => Err(format!("its training puzzles in {} have changed since", data.name())),
            false => Ok(Arc::clone(data.train())),
        }
    }

    /// Returns the splits of data that are not those that the run began with.
    ///
    /// # Examples
    ///
    /// ```
    /// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
    /// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
    /// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
    /// # let training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
    /// # let folder = tempfile::tempdir()?;
    /// # let run = hrmc::Run::create(folder.path(), &training)?;
    /// assert_eq!(run.changed(&run.data(".")?), []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn changed(&self, data: &Data) -> Vec<Split> {
        let RunManifest { train_data_sha256, test_data_sha256, .. } = &self.manifest;
        [(Split::Train, train_data_sha256), (Split::Test, test_data_sha256)]
            .into_iter()
            .filter(|(split, hash)| {
                data.split(*split).is_some_and(|found| !hash.is_empty() && found.fingerprint() != **hash)
            })
            .map(|(split, _)| split)
            .collect()
    }

    /// Refuses to go on with other test puzzles, unless somebody chose them: which checkpoint is best would be decided
    /// by accuracies on different puzzles.
    pub(super) fn refuse_other_puzzles(&self, data: &Data, eval_limit: Option<usize>) -> Result<(), Error> {
        let is_needed = eval_limit != Some(0) && data.folder().is_none();
        if !is_needed || !self.changed(data).contains(&Split::Test) {
            return Ok(());
        }
        if self.changed(data).contains(&Split::Train) {
            return Err(Error::unsuitable(format!(
                "{} is not the data that `{}` began with: its puzzles, training and test, are others; bring the old ones \
                 back, or name the place to which they were moved (`--data DIR`)",
                data.name(),
                self.path().display()
            )));
        }
        let chosen = data.read_from().map_or(String::new(), |folder| {
            format!(
                ", go on with this data on purpose (`--data {}`, or `Data::open`): then old and new accuracies cannot \
                 be compared",
                shell::path(folder)
            )
        });
        Err(Error::unsuitable(format!(
            "the test puzzles of {} have changed since `{}` began, and the best checkpoint is found by the accuracy on \
             them; bring the old ones back, train without evaluations (`--eval-limit 0`){chosen}",
            data.name(),
            self.path().display()
        )))
    }

    /// Returns the places where the folder of its data may be.
    fn places(&self, root: &Path) -> Vec<PathBuf> {
        let Some(ir::Data::Folder(folder)) = self.spec.model().train.as_ref().map(|train| &train.data) else {
            return Vec::new();
        };
        let in_root = root.join(folder);
        let Some(recorded) = &self.manifest.data_folder else { return vec![in_root] };
        let is_in_root = absolute_text(&in_root).as_ref() == Some(recorded);
        let recorded = if is_in_root { in_root } else { PathBuf::from(recorded) };
        let from_run = self.manifest.data_from_run.as_ref().map(|data| self.path().join(data));
        from_run.into_iter().chain([recorded]).collect()
    }

    /// Returns what the rows are that it was trained on. A run of an older version does not say so; its data does, and a
    /// relative path of that is looked for below `root`.
    pub fn kind(&self, root: impl AsRef<Path>) -> PuzzleKind {
        let model = self.spec.model();
        let kind = self.manifest.kind.clone();
        let metadata = Metadata {
            kind,
            columns: self.manifest.columns,
            ..Metadata::new(model.tokens.vocab, model.tokens.positions)
        };
        metadata.declared_kind().unwrap_or_else(|| kind_of(model, &self.places(root.as_ref())))
    }

    /// Returns the names of the puzzle identifiers of its data; none if the data has no names, or is not there.
    #[cfg(feature = "cli")]
    pub(crate) fn identifiers(&self, root: impl AsRef<Path>) -> Option<crate::data::IdentifierNames> {
        use super::data::found;
        use crate::data::{IdentifierNames, read_identifiers};
        let train = self.spec.model().train.as_ref();
        if train.is_some_and(|train| matches!(train.augment, ir::Augmentation::Copies { .. })) {
            return self.splits(root, Splits::Only(Split::Train)).ok()?.identifier_names().ok()?;
        }
        // Without the rows, of which there may be very many.
        let places = self.places(root.as_ref());
        Some(IdentifierNames::Stored(read_identifiers(found(&places)?).ok()?))
    }

    /// Loads the model with the weights of a checkpoint, averaged if the spec asks for averages.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such checkpoint, it is damaged, or memory cannot be had.
    pub fn solver(&self, checkpoint: Checkpoint, options: SolveOptions) -> Result<Solver, Error> {
        // A training may replace the checkpoint between two files that are read.
        for _ in 1..TRIES_BESIDE_A_TRAINING {
            let found = self.load(checkpoint, &options);
            if found.is_ok() || self.folder.holder().is_none() {
                return found;
            }
            sleep(BETWEEN_TRIES);
        }
        self.load(checkpoint, &options)
    }

    fn load(&self, checkpoint: Checkpoint, options: &SolveOptions) -> Result<Solver, Error> {
        let model = self.spec.model();
        let (warning, weights) = self.weights(checkpoint)?;
        let rows = puzzle_rows(&weights.path).map_err(|error| self.with_another(error))?;
        let sizes = Sizes { batch: options.batch.max(1), puzzle_rows: rows };
        let engine = EngineOptions { threads: options.threads };
        let programs = [(Program::Evaluate { averaged: false }, sizes)];
        check_memory(&Wanted { model, programs: &programs, data_bytes: 0 }, &*options.device, &engine)?;
        let mut evaluator = Evaluator::new(model.clone(), sizes, &*options.device, &engine)?;
        evaluator.load_weights(&weights).map_err(|error| self.with_another(error))?;
        Ok(Solver::new(evaluator, options.clone(), sizes, weights, warning.into_iter().collect()))
    }

    /// Returns the weights of a checkpoint, averaged if the spec asks for averages, and what is to be known about them.
    pub(super) fn weights(&self, checkpoint: Checkpoint) -> Result<(Option<String>, WeightsFile), Error> {
        let saved = match checkpoint {
            Checkpoint::BestOrLast => self.folder.best_or_last(),
            Checkpoint::Best => Saved::open(&self.folder.best()),
            Checkpoint::Last => self.folder.newest_checkpoint(),
            Checkpoint::Previous => Saved::open(&self.folder.previous()),
        };
        let opened = saved.and_then(|saved| {
            let averaged = self.spec.model().train.as_ref().is_some_and(|train| train.ema.is_some());
            Ok((saved.warning(), saved.weights_to_use(averaged)?))
        });
        opened.map_err(|error| self.with_another(error))
    }

    /// Adds to the error of a checkpoint which other one of the run is whole.
    fn with_another(&self, error: CheckpointError) -> Error {
        let names = ["last", "previous", "best"];
        let mut others = self.folder.checkpoints().into_iter().zip(names);
        let whole = others.find_map(|(folder, name)| {
            let saved = Saved::open(&folder).ok()?;
            (saved.is_guarded() && saved.check_bytes().is_ok()).then(|| (saved.state().step, name))
        });
        match whole {
            Some((step, name)) if error.is_of_this_checkpoint() => Error::unsuitable(format!(
                "{error}; the checkpoint `{name}` of step {step} is whole: use it with `--checkpoint {name}`"
            )),
            _ => error.into(),
        }
    }

    /// Returns what is said about the weights that this run would be used with, if they are not finite.
    pub fn unusable_numbers(&self) -> Option<String> {
        let averaged = self.spec.model().train.as_ref().is_some_and(|train| train.ema.is_some());
        let saved = self.folder.best_or_last().ok()?;
        let weights = saved.weights_to_use(averaged).ok()?;
        let tensor = not_finite(&weights.path).ok()??;
        let file = weights.path.display();
        Some(format!(
            "`{file}`: tensor `{tensor}` is not finite, so this run has no weights that can be used"
        ))
    }

    pub(super) fn folder(&self) -> &RunFolder {
        &self.folder
    }
}

fn source(folder: &RunFolder, manifest: &RunManifest) -> Source {
    Source::new(format!("{} (its spec)", folder.manifest_path().display()), manifest.spec.clone())
}

/// Refuses overrides of anything but `infer`: the weights were trained with the other values.
fn refuse_what_is_fixed(run: &Path, overrides: &[String]) -> Result<(), Error> {
    for text in overrides {
        // An override that does not parse is reported later, with all other problems.
        let Ok(given) = parse_override(text, 0) else { continue };
        let names = given.names();
        if !matches!(names[..], ["model", "infer", ..]) {
            return Err(Error::unsuitable(format!(
                "`{}` is fixed by the run `{}`; only values below `model.infer` can be replaced, as in \
                 `model.infer.segments=16`",
                names.join("."),
                run.display()
            )));
        }
    }
    Ok(())
}
