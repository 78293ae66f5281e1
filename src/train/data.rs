//! The data of a spec, which is opened or generated.

#![expect(clippy::disallowed_methods, reason = "a folder of data is looked for")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf, absolute};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::error::Error;
use super::fit::{check_fit, shape};
use crate::check::check_dataset;
use crate::data::arc::draw_task_copies;
use crate::data::{
    Augment, BuiltDataset, Copies, Dataset, DatasetBuilder, Finding, MazeRequest, Metadata, PuzzleKind,
    Split, SplitSize, SudokuRequest, SudokuSize, TaskCopies, audit, generate_maze_splits,
    generate_sudoku_splits, read_identifiers,
};
use crate::ir::{self, Augmentation, GeneratedMaze, GeneratedSudoku, Model};
use crate::shell;
use crate::spec::{Spec, SpecError};

/// The splits of data that are needed.
///
/// # Examples
///
/// ```
/// use hrmc::{Split, Splits};
///
/// assert!(Splits::Both.include(Split::Test));
/// assert!(!Splits::Only(Split::Train).include(Split::Test));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Splits {
    /// Both, for training with evaluations.
    #[default]
    Both,
    /// One: the training split for training without an evaluation, the test split for evaluation.
    Only(Split),
}

impl Splits {
    /// Returns whether a split is needed.
    pub fn include(self, split: Split) -> bool {
        self == Splits::Both || self == Splits::Only(split)
    }
}

/// Both splits of the data that a model is trained and judged on, or one of them.
///
/// A split that was not asked for is empty.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use hrmc::{Data, Dataset, Spec};
///
/// let small = ["train.data.train=64", "train.data.test=8"];
/// let spec = Spec::open("specs/quickstart.hrm", &small)?;
/// let generated = Data::of(&spec, Path::new("."))?;
/// assert_eq!(generated.train().examples(), 64);
///
/// let rows = [(vec![1, 2], vec![2, 1])];
/// let own = Data::given(Dataset::from_rows(3, &rows)?, Dataset::from_rows(3, &rows)?);
/// assert!(own.check_fit(&spec).is_err(), "the spec is for rows of 36 tokens");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Data {
    name: String,
    train: Arc<Dataset>,
    test: Arc<Dataset>,
    /// What generated Sudoku does to its rows by itself.
    augment: Option<Augment>,
    /// The copies of its tasks, if they are made when they are asked for.
    copies: Option<Arc<TaskCopies>>,
    origin: ChosenBy,
    /// The splits that were asked for; the other one is empty.
    splits: Splits,
    /// The folder that it was read from, if it was.
    folder: Option<PathBuf>,
    findings: OnceLock<Arc<[Finding]>>,
}

/// Who chose the data.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ChosenBy {
    /// The spec names or describes it.
    Spec,
    /// A folder that stands in for the data of the spec.
    Folder(String),
    /// A program made it.
    Given,
}

/// What was found in data, by the hashes of its splits: the trainings of a sweep often have the same data.
///
/// It is not kept on the disk. To find it there takes a hash of the data, which is about as much work as the audit.
static FINDINGS: Mutex<BTreeMap<SplitHashes, Arc<[Finding]>>> = Mutex::new(BTreeMap::new());

/// Hashes of the training and the test split, as far as they were asked for.
type SplitHashes = [Option<String>; 2];

impl Data {
    /// Opens or generates what the `train` block of a spec says.
    ///
    /// A folder with a relative path is looked for beside the file that names it, then below `root`.
    ///
    /// # Errors
    ///
    /// Returns an error if the spec has no `train` block, there is no such dataset, or it is broken.
    pub fn of(spec: &Spec, root: &Path) -> Result<Data, Error> {
        Data::splits_of(spec, root, Splits::Both)
    }

    /// Does the same for the splits that are needed; the other one may be missing.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Data::of`].
    pub fn splits_of(spec: &Spec, root: &Path, splits: Splits) -> Result<Data, Error> {
        Data::at(spec.model(), &places(spec, root), splits)
    }

    /// Does the same for a model whose folder of data may be in any of some places.
    pub(super) fn at(model: &Model, places: &[PathBuf], splits: Splits) -> Result<Data, Error> {
        let Some(train) = &model.train else { return Err(untrained(model)) };
        match &train.data {
            ir::Data::Folder(_) => open_folder(model, places, ChosenBy::Spec, splits),
            ir::Data::Sudoku(wanted) => generate_sudoku(wanted),
            ir::Data::Maze(wanted) => generate_mazes(wanted),
        }
    }

    /// Opens a dataset folder for a spec, in place of the data that the spec names.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such dataset, or it is broken.
    pub fn open(spec: &Spec, folder: impl AsRef<Path>) -> Result<Data, Error> {
        Data::open_splits(spec, folder, Splits::Both)
    }

    /// Does the same for the splits that are needed; the other one may be missing.
    ///
    /// # Errors
    ///
    /// Returns an error as [`Data::open`].
    pub fn open_splits(spec: &Spec, folder: impl AsRef<Path>, splits: Splits) -> Result<Data, Error> {
        let folder = folder.as_ref();
        // A path that leads to the same folder from wherever a run is continued.
        let text = absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let text = text.into_os_string().into_string().map_err(|path| {
            Error::unsuitable(format!(
                "the path `{}` is not UTF-8 text, which a spec needs",
                Path::new(&path).display()
            ))
        })?;
        open_folder(spec.model(), &[folder.to_path_buf()], ChosenBy::Folder(text), splits)
    }

    /// Returns data that a program made, with a training and a test split.
    ///
    /// The `data` of the spec is ignored then. It may be any text, for example `data = "made by the program"`.
    ///
    /// ```
    /// use hrmc::{Data, Dataset, Spec, TrainOptions, Training};
    ///
    /// let spec = Spec::open("specs/quickstart.hrm", &["model.tokens.positions=2", "train.data=\"made here\""])?;
    /// let train = Dataset::from_rows(8, &[(vec![1, 2], vec![2, 1]), (vec![3, 1], vec![1, 3])])?;
    /// let test = Dataset::from_rows(8, &[(vec![2, 3], vec![3, 2])])?;
    /// let data = Data::given(train, test);
    /// let mut training = Training::new(&spec, data, TrainOptions::default())?;
    /// assert_eq!(training.step()?.step, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn given(train: Dataset, test: Dataset) -> Data {
        Data {
            name: "the program's data".to_string(),
            train: Arc::new(train),
            test: Arc::new(test),
            augment: None,
            copies: None,
            origin: ChosenBy::Given,
            splits: Splits::Both,
            folder: None,
            findings: OnceLock::new(),
        }
    }

    /// Returns what keeps the data from teaching or measuring, errors first; empty for sound data.
    ///
    /// It is looked for once in a process, however often data of the same hash is opened.
    pub fn findings(&self) -> &[Finding] {
        self.findings.get_or_init(|| {
            // Generators keep the rules that are looked at.
            if self.origin == ChosenBy::Spec && self.folder.is_none() {
                return Arc::new([]);
            }
            let [train, test] =
                [Split::Train, Split::Test].map(|split| self.split(split).map(|dataset| &**dataset));
            let key = [train, test].map(|dataset| dataset.map(Dataset::fingerprint));
            let mut known = FINDINGS.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(key).or_insert_with(|| {
                // Copies that are not stored are right where what they are made of is.
                let [train, test] = [train, test].map(|dataset| dataset.map(Dataset::without_copies));
                audit(train.as_deref(), test.as_deref()).into()
            }))
        })
    }

    /// Refuses training data without a label that counts.
    pub(super) fn refuse_what_teaches_nothing(&self) -> Result<(), Error> {
        match self.findings().iter().find(|finding| finding.kind.is_error()) {
            Some(finding) => Err(Error::unsuitable(format!("{} cannot be trained on: {finding}", self.name))),
            None => Ok(()),
        }
    }

    /// Returns where the data comes from, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the training split; empty if it was not asked for.
    pub fn train(&self) -> &Arc<Dataset> {
        &self.train
    }

    /// Returns the test split; empty if it was not asked for.
    pub fn test(&self) -> &Arc<Dataset> {
        &self.test
    }

    /// Returns a split; empty if it was not asked for.
    pub fn of_split(&self, split: Split) -> &Arc<Dataset> {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }

    /// Returns what is done to every training row of a model when it is drawn.
    ///
    /// What is held out is looked for in the test split, also if that was not asked for: rows do not depend on whether
    /// a training evaluates.
    ///
    /// # Errors
    ///
    /// Returns an error if the model asks for symmetries of puzzles that have none, or the test split cannot be read.
    pub(super) fn augment(&self, model: &Model) -> Result<Option<Augment>, Error> {
        match model.train.as_ref().map(|train| train.augment) {
            None | Some(Augmentation::None) => Ok(self.augment.clone()),
            Some(Augmentation::Symmetries) if self.augment.is_some() => Ok(self.augment.clone()),
            Some(Augmentation::Symmetries) => {
                let kind = self.train.kind();
                let augment = Augment::of_kind(kind).ok_or_else(|| self.no_symmetries(kind))?;
                match (self.split(Split::Test), &self.folder) {
                    (Some(test), _) => Ok(Some(augment.with_held_out(test))),
                    (None, Some(folder)) if Metadata::read(folder, Split::Test)?.is_some() => {
                        Ok(Some(augment.with_held_out(&Dataset::open(folder, Split::Test)?)))
                    }
                    (None, _) => Ok(Some(augment)),
                }
            }
            Some(Augmentation::Copies { .. }) if self.copies.is_some() => Ok(Some(Augment::places())),
            Some(Augmentation::Copies { .. }) => Err(Error::unsuitable(format!(
                "`augment = copies(…)` is for dataset folders, and not for {}; remove it, and give data with copies",
                self.name
            ))),
        }
    }

    fn no_symmetries(&self, kind: PuzzleKind) -> Error {
        let instead = match kind {
            PuzzleKind::Arc => "write `augment = copies(1_000)` for random copies of its tasks",
            _ => "remove it",
        };
        Error::unsuitable(format!(
            "`augment = symmetries` is for Sudoku and mazes, and the rows of {} are of the kind `{}`; {instead}",
            self.name,
            kind.family()
        ))
    }

    /// Returns a split, if it was asked for.
    pub(super) fn split(&self, split: Split) -> Option<&Arc<Dataset>> {
        self.splits.include(split).then_some(self.of_split(split))
    }

    /// Returns the hash of the test split, also if it is there but was not asked for.
    pub(super) fn test_hash(&self) -> Option<String> {
        match (self.split(Split::Test), &self.folder) {
            (Some(test), _) => Some(test.fingerprint()),
            (None, Some(folder)) => {
                Some(open_split(folder, Split::Test, self.copies.as_ref()).ok()?.fingerprint())
            }
            (None, None) => None,
        }
    }

    /// Returns the folder that the data was read from, if it was.
    pub fn read_from(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the names of its puzzle identifiers; `None` if it was not read from a folder.
    ///
    /// # Errors
    ///
    /// Returns an error if `identifiers.json` is missing, or is no list of texts.
    #[cfg(feature = "cli")]
    pub(crate) fn identifier_names(&self) -> Result<Option<crate::data::IdentifierNames>, Error> {
        use crate::data::IdentifierNames;
        match (&self.copies, &self.folder) {
            (Some(copies), _) => Ok(Some(IdentifierNames::Copied(Arc::clone(copies)))),
            (None, Some(folder)) => Ok(Some(IdentifierNames::Stored(read_identifiers(folder)?))),
            (None, None) => Ok(None),
        }
    }

    /// Returns whether copies of its tasks are made when they are asked for.
    #[cfg(feature = "cli")]
    pub(crate) fn makes_copies(&self) -> bool {
        self.copies.is_some()
    }

    /// Returns the path of the folder that stands in for the data of the spec, if one does.
    pub(crate) fn folder(&self) -> Option<&str> {
        match &self.origin {
            ChosenBy::Folder(path) => Some(path),
            ChosenBy::Spec | ChosenBy::Given => None,
        }
    }

    /// Returns `spec` as a run on this data keeps it, so that it can be resumed without naming the data again.
    pub(crate) fn kept_in(&self, spec: &Spec) -> Spec {
        let mut spec = spec.clone();
        if let Some(path) = self.folder() {
            let folder = ir::Data::Folder(path.to_string());
            spec.change_training(|train| train.data = folder);
        }
        spec
    }

    /// Returns the rows that a model trained on the data has in its puzzle table, at least 1.
    pub fn puzzle_rows(&self, model: &Model) -> usize {
        let identifiers = |dataset: &Dataset| dataset.metadata().num_puzzle_identifiers;
        match model.puzzles {
            Some(_) => identifiers(&self.train).max(identifiers(&self.test)).max(1),
            None => 1,
        }
    }

    /// Checks that rows and vocabulary of both splits are those of the model of `spec`.
    ///
    /// # Errors
    ///
    /// Returns an error that names both sides if they are not. Where the data is that of the spec, it points at the
    /// places in its text.
    pub fn check_fit(&self, spec: &Spec) -> Result<(), Error> {
        if self.origin == ChosenBy::Spec {
            for dataset in [&self.train, &self.test] {
                let found = check_dataset(spec.file(), spec.model(), &shape(dataset, &self.what()));
                if !found.is_empty() {
                    return Err(SpecError::Faulty(vec![(spec.source().clone(), found)]).into());
                }
            }
        }
        self.check_fit_of(spec.model())
    }

    /// Does the same for a model without a text to point at.
    pub(crate) fn check_fit_of(&self, model: &Model) -> Result<(), Error> {
        let rows = self.puzzle_rows(model);
        [&self.train, &self.test]
            .into_iter()
            .try_for_each(|dataset| check_fit(model, rows, dataset, &self.what()))
    }

    fn what(&self) -> String {
        format!("the puzzles in {}", self.name)
    }
}

/// Returns the error for a model that says nothing about training.
pub(crate) fn untrained(model: &Model) -> Error {
    Error::unsuitable(format!(
        "`{}` has no `train` block, so there is nothing that says how to train it; add one, like \
         that of the built-in spec, which `hrmc show` prints",
        model.name
    ))
}

/// The size of the data that a model names, known without its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSize {
    /// Bytes of both splits in memory.
    pub bytes: u64,
    /// Examples of the test split.
    pub test_examples: usize,
}

impl DataSize {
    /// Returns the size of data in memory.
    pub fn of_data(data: &Data) -> DataSize {
        let bytes = |dataset: &Dataset| SplitSize::of(dataset).bytes(dataset.metadata());
        let copies = data.copies.as_ref().map_or(0, |copies| copies.bytes());
        DataSize {
            bytes: bytes(&data.train).saturating_add(bytes(&data.test)).saturating_add(copies),
            test_examples: data.test.examples(),
        }
    }

    /// Returns the size of the data that `spec` names; none if it is not there, or the spec names no data.
    ///
    /// Only metadata and the headers of arrays are read, unless copies of tasks are made of what is there.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset is there but cannot be read.
    pub fn of(spec: &Spec, root: &Path) -> Result<Option<DataSize>, Error> {
        let model = spec.model();
        let generated = |train: usize, test: usize| {
            let metadata = Metadata::new(model.tokens.vocab, model.tokens.positions);
            let bytes = |examples| SplitSize::of_examples(examples).bytes(&metadata);
            DataSize { bytes: bytes(train).saturating_add(bytes(test)), test_examples: test }
        };
        let folder = match model.train.as_ref().map(|train| &train.data) {
            None => return Ok(None),
            Some(ir::Data::Sudoku(wanted)) => return Ok(Some(generated(wanted.train, wanted.test))),
            Some(ir::Data::Maze(wanted)) => return Ok(Some(generated(wanted.train, wanted.test))),
            Some(ir::Data::Folder(_)) => {
                let places = places(spec, root);
                let Some(folder) = found(&places) else { return Ok(None) };
                folder.to_path_buf()
            }
        };
        let mut size = DataSize { bytes: 0, test_examples: 0 };
        for split in [Split::Train, Split::Test] {
            let Some(metadata) = Metadata::read(&folder, split)? else { return Ok(None) };
            let found = SplitSize::read(&folder, split, &metadata)?;
            size.bytes = size.bytes.saturating_add(found.bytes(&metadata));
            size.test_examples = found.examples;
        }
        if wanted_copies(model).is_some() {
            let data = open_folder(model, &[folder], ChosenBy::Spec, Splits::Both)?;
            return Ok(Some(DataSize::of_data(&data)));
        }
        Ok(Some(size))
    }
}

/// Number of rows of the puzzle table and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PuzzleRows {
    /// The number; at least 1.
    pub count: usize,
    /// Where it comes from, for reports; absent if the model has no puzzle table.
    pub origin: Option<String>,
}

impl PuzzleRows {
    /// Returns the number of puzzle identifiers of the dataset that `spec` names, or 1 where it is not there.
    ///
    /// Only the metadata is read, unless copies of tasks are made of what is there.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset is there but cannot be read.
    pub fn of(spec: &Spec, root: &Path) -> Result<PuzzleRows, Error> {
        let model = spec.model();
        if model.puzzles.is_none() {
            return Ok(PuzzleRows { count: 1, origin: None });
        }
        let assumed = |why: String| Ok(PuzzleRows { count: 1, origin: Some(why) });
        match model.train.as_ref().map(|train| &train.data) {
            None => assumed("assumed, since the spec names no data".to_string()),
            Some(ir::Data::Sudoku(_) | ir::Data::Maze(_)) => {
                assumed("since generated puzzles share one identifier".to_string())
            }
            Some(ir::Data::Folder(_)) => {
                let places = places(spec, root);
                let folder = found(&places).unwrap_or_else(|| root_place(&places));
                match training_metadata(model, folder)? {
                    None => assumed(format!("assumed, since there is no dataset `{}`", folder.display())),
                    Some(metadata) => {
                        let copies = wanted_copies(model).map_or(String::new(), |(count, _)| {
                            format!(", with `augment = copies({count})`")
                        });
                        let origin = Some(format!("from `{}`{copies}", folder.display()));
                        Ok(PuzzleRows { count: metadata.num_puzzle_identifiers.max(1), origin })
                    }
                }
            }
        }
    }
}

/// Returns the metadata of the training split in a folder as a training of `model` has it, with copies that it makes;
/// `None` if there is no dataset.
///
/// # Errors
///
/// Returns an error if the dataset is there but cannot be read, or has no tasks to copy.
pub(super) fn training_metadata(model: &Model, folder: &Path) -> Result<Option<Metadata>, Error> {
    let found = Metadata::read(folder, Split::Train)?;
    if found.is_none() || wanted_copies(model).is_none() {
        return Ok(found);
    }
    let copies = task_copies(model, folder)?;
    Ok(Some(open_split(folder, Split::Train, copies.as_ref())?.metadata().clone()))
}

/// Returns how many copies of each task a model is trained on, and their seed, if they are made when asked for.
fn wanted_copies(model: &Model) -> Option<(usize, u64)> {
    match model.train.as_ref()?.augment {
        Augmentation::Copies { count, seed } => Some((count, seed)),
        Augmentation::None | Augmentation::Symmetries => None,
    }
}

/// Draws the copies that a model wants of the tasks in a folder. They depend on both splits, whichever is needed.
fn task_copies(model: &Model, folder: &Path) -> Result<Option<Arc<TaskCopies>>, Error> {
    let Some((count, seed)) = wanted_copies(model) else { return Ok(None) };
    let mut splits = Vec::new();
    for split in [Split::Train, Split::Test] {
        if Metadata::read(folder, split)?.is_some() {
            splits.push(Dataset::open(folder, split)?);
        }
    }
    if splits.is_empty() {
        // Whoever opens a split says what is there instead.
        return Ok(None);
    }
    let splits: Vec<&Dataset> = splits.iter().collect();
    let copies = draw_task_copies(&splits, read_identifiers(folder)?, count, seed).map_err(|error| {
        Error::unsuitable(format!(
            "`augment = copies({count})` does not fit the data `{}`: {error}",
            folder.display()
        ))
    })?;
    Ok(Some(Arc::new(copies)))
}

fn open_split(folder: &Path, split: Split, copies: Option<&Arc<TaskCopies>>) -> Result<Dataset, Error> {
    let dataset = Dataset::open(folder, split)?;
    match copies {
        None => Ok(dataset),
        Some(copies) => Ok(dataset.with_copies(copies)?),
    }
}

/// Returns what the rows are that `model` is trained on; a folder of data is in one of `places`.
pub(super) fn kind_of(model: &Model, places: &[PathBuf]) -> PuzzleKind {
    let (length, vocab) = (model.tokens.positions, model.tokens.vocab);
    let unknown = PuzzleKind::Tokens { length, vocab };
    match model.train.as_ref().map(|train| &train.data) {
        None => unknown,
        Some(ir::Data::Sudoku(sudoku)) => {
            SudokuSize::from_side(sudoku.size).map_or(unknown, PuzzleKind::Sudoku)
        }
        Some(ir::Data::Maze(maze)) => PuzzleKind::Maze { side: maze.size },
        Some(ir::Data::Folder(_)) => {
            let open = |split| Dataset::open(found(places)?, split).ok().filter(|split| split.examples() > 0);
            open(Split::Test).or_else(|| open(Split::Train)).map_or(unknown, |dataset| dataset.kind())
        }
    }
}

/// Returns the places where the folder of data that a spec names may be, the first one being the best; none if it names
/// no folder.
///
/// A relative path counts from the folder of the file that names it, as that of a base does. The second place is the
/// same path from `root`, the folder of the project: specs in a folder of their own name the data of the project.
pub(super) fn places(spec: &Spec, root: &Path) -> Vec<PathBuf> {
    let Some(ir::Data::Folder(folder)) = spec.model().train.as_ref().map(|train| &train.data) else {
        return Vec::new();
    };
    let in_root = plain(&root.join(folder));
    let beside = spec.folder_of_data().map(|beside| plain(&beside.join(folder)));
    let is_another = |place: &PathBuf| absolute(place).ok() != absolute(&in_root).ok();
    beside.into_iter().filter(is_another).chain([in_root.clone()]).collect()
}

/// Returns a path without the steps that lead nowhere, as in `./data`.
fn plain(path: &Path) -> PathBuf {
    let path: PathBuf = path.components().filter(|step| *step != Component::CurDir).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// Returns an absolute path as text; `None` if it is no text.
pub(super) fn absolute_text(path: &Path) -> Option<String> {
    absolute(path).ok()?.to_str().map(str::to_string)
}

/// Returns the places that are folders. Of several paths to one folder, it has the last.
pub(super) fn distinct_folders(places: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders: Vec<(PathBuf, &PathBuf)> = Vec::new();
    for place in places.iter().filter(|place| fs::metadata(place).is_ok_and(|found| found.is_dir())) {
        let real = real(place);
        folders.retain(|(other, _)| *other != real);
        folders.push((real, place));
    }
    folders.into_iter().map(|(_, place)| place.clone()).collect()
}

/// Returns the path that leads to `data` from the folder of a run in `runs`; `None` if none does.
pub(super) fn path_from_run_in(runs: &Path, data: &Path) -> Option<String> {
    let (run, data) = (real(runs).join("run"), real(data));
    let common = run.components().zip(data.components()).take_while(|(one, other)| one == other).count();
    // On Windows, a path does not lead from one disk to another.
    if common == 0 {
        return None;
    }
    let up = run.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(data.components().skip(common)).collect();
    path.to_str().map(str::to_string)
}

/// Returns an absolute path without symbolic links, as far as there are folders on it: `..` leads back on such a path.
fn real(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let known = path.ancestors().find_map(|known| Some((known, fs::canonicalize(known).ok()?)));
    let Some((known, real)) = known else { return path };
    match path.strip_prefix(known) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => path,
    }
}

/// Returns the first place that is a folder.
pub(super) fn found(places: &[PathBuf]) -> Option<&Path> {
    places.iter().find(|place| fs::metadata(place).is_ok_and(|found| found.is_dir())).map(PathBuf::as_path)
}

/// Returns the place in the folder of the project, where a dataset is best built.
fn root_place(places: &[PathBuf]) -> &Path {
    places.last().expect("a folder is looked for in one place at least")
}

fn open_folder(model: &Model, places: &[PathBuf], origin: ChosenBy, splits: Splits) -> Result<Data, Error> {
    let Some(folder) = found(places) else {
        let looked: Vec<String> = places.iter().rev().map(|place| format!("`{}`", place.display())).collect();
        return Err(Error::unsuitable(format!(
            "there is no dataset {}; {}",
            looked.join(", nor "),
            how_to_build(model, root_place(places))
        )));
    };
    refuse_missing_split(folder, splits)?;
    let copies = task_copies(model, folder)?;
    let open = |split| splits.include(split).then(|| open_split(folder, split, copies.as_ref())).transpose();
    let (train, test) = match (open(Split::Train)?, open(Split::Test)?) {
        (Some(train), Some(test)) => (train, test),
        (Some(train), None) => {
            let test = without_rows(folder, Split::Test, train.metadata())?;
            (train, test)
        }
        (None, Some(test)) => (without_rows(folder, Split::Train, test.metadata())?, test),
        (None, None) => unreachable!("a split is needed"),
    };
    Ok(Data {
        name: format!("`{}`", folder.display()),
        train: Arc::new(train),
        test: Arc::new(test),
        augment: None,
        copies,
        origin,
        splits,
        folder: Some(folder.to_path_buf()),
        findings: OnceLock::new(),
    })
}

/// Refuses a folder that has only the other split than the one that is needed.
fn refuse_missing_split(folder: &Path, splits: Splits) -> Result<(), Error> {
    let has = |split| fs::metadata(Metadata::file(folder, split)).is_ok();
    let lacks = |split: Split, other: Split| splits.include(split) && !has(split) && has(other);
    let missing = |split: Split, what: &str| {
        let file = Metadata::file(folder, split);
        Error::unsuitable(format!(
            "`{}` has no {what} split: there is no file `{}`",
            folder.display(),
            file.display()
        ))
    };
    if lacks(Split::Train, Split::Test) {
        return Err(missing(Split::Train, "training"));
    }
    if lacks(Split::Test, Split::Train) {
        let error = missing(Split::Test, "test");
        return Err(match splits {
            Splits::Only(_) => error,
            Splits::Both => Error::unsuitable(format!(
                "{error}; train without evaluations (`--eval-limit 0`), or choose data that has one"
            )),
        });
    }
    Ok(())
}

/// Returns a split without rows, of the sizes of the other split, in place of one that is not needed.
fn without_rows(folder: &Path, split: Split, other: &Metadata) -> Result<Dataset, Error> {
    let mut metadata = other.clone();
    // Identifiers are counted over both splits. What cannot be read is not needed.
    if let Ok(Some(own)) = Metadata::read(folder, split) {
        metadata.num_puzzle_identifiers = metadata.num_puzzle_identifiers.max(own.num_puzzle_identifiers);
    }
    Ok(DatasetBuilder::new(metadata)?.finish()?)
}

/// Puzzles of the paper, for those who have no files yet.
const SUDOKU_EXTREME: &str = "https://huggingface.co/datasets/sapientinc/sudoku-extreme";
const MAZE_HARD: &str = "https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k";
const ARC_AGI: &str = "https://github.com/fchollet/ARC-AGI";
const ARC_AGI_2: &str = "https://github.com/arcprize/ARC-AGI-2";
/// Side of the mazes of the paper.
const MAZE_HARD_SIDE: usize = 30;

/// Returns how to get the dataset that `model` names, in words: the command that builds it, with the copies that the
/// name of the folder asks for, and where its source is to be had.
fn how_to_build(model: &Model, folder: &Path) -> String {
    let (named, out) = (NamedDataset::of(folder), shell::path(folder));
    let Some(kind) = PuzzleKind::of_sizes(model.tokens.positions, model.tokens.vocab) else {
        let copies = match (wanted_copies(model), named.copies) {
            (Some(_), _) => " --copies 0".to_string(),
            (None, Some(copies)) => format!(" --copies {copies}"),
            (None, None) => String::new(),
        };
        return format!(
            "put a dataset there, or choose another folder (`--data DIR`, or `Data::open`); one of ARC is built with \
             `hrmc data arc --from ARC-AGI{copies} -o {out}` from the tasks of {ARC_AGI} or {ARC_AGI_2}"
        );
    };
    let (side, family) = (kind.shape().0, kind.family());
    let (source, from, generate) = match kind {
        PuzzleKind::Sudoku(size) => {
            let copies = named.copies.map_or(String::new(), |copies| format!(" --augment {copies}"));
            let sized = if size == SudokuSize::Nine { String::new() } else { format!(" --size {side}") };
            let kept = named.puzzles.map_or(String::new(), |puzzles| format!(" --subsample {puzzles}"));
            let made = named.puzzles.map_or(String::new(), |puzzles| format!(" --train {puzzles}"));
            let source = (size == SudokuSize::Nine).then_some(SUDOKU_EXTREME);
            (source, format!("{sized}{kept}{copies}"), format!(" --size {side}{made}{copies}"))
        }
        _ => {
            let copies = if named.copies.is_some() { " --dihedral" } else { "" };
            let source = (side == MAZE_HARD_SIDE).then_some(MAZE_HARD);
            (source, copies.to_string(), format!(" --size {side}{copies}"))
        }
    };
    let files = match source {
        Some(source) => format!("put `train.csv` and `test.csv` of {source} into a folder CSVDIR, and "),
        None => String::new(),
    };
    format!(
        "{files}build it with `hrmc data {family} --from CSVDIR{from} -o {out}`, or make one with `hrmc data {family} \
         --generate{generate} -o {out}`"
    )
}

/// What the name of a dataset folder says, as in `sudoku-extreme-1k-aug-1000`.
#[derive(Debug, Default, PartialEq, Eq)]
struct NamedDataset {
    /// Training puzzles.
    puzzles: Option<usize>,
    /// Copies of each.
    copies: Option<usize>,
}

impl NamedDataset {
    fn of(folder: &Path) -> NamedDataset {
        let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let number = |word: &str| match word.strip_suffix('k') {
            Some(thousands) => thousands.parse().ok().and_then(|number: usize| number.checked_mul(1000)),
            None => word.parse().ok(),
        };
        let mut named = NamedDataset::default();
        let mut before = "";
        for word in name.split(['-', '_']) {
            match number(word).filter(|&number| number > 0) {
                Some(number) if before.starts_with("aug") => named.copies = Some(number),
                // A lone small number is that of a copy of the folder.
                Some(number) if number >= 100 => named.puzzles = Some(number),
                _ => {}
            }
            before = word;
        }
        named
    }
}

fn generate_sudoku(wanted: &GeneratedSudoku) -> Result<Data, Error> {
    let size = SudokuSize::from_side(wanted.size).ok_or_else(|| {
        Error::unsuitable(format!("cannot generate Sudoku of size {}; use 4, 6 or 9", wanted.size))
    })?;
    let GeneratedSudoku { givens, train, test, seed, .. } = *wanted;
    let splits = generate_sudoku_splits(&SudokuRequest { size, givens, train, test, seed })?;
    let built = BuiltDataset::from_puzzles(PuzzleKind::Sudoku(size), &splits, Copies::None, seed)?;
    let augment = wanted.augment.then(|| Augment::new(size).with_held_out(&built.test));
    Ok(generated(format!("generated {size} Sudoku"), built, augment))
}

fn generate_mazes(wanted: &GeneratedMaze) -> Result<Data, Error> {
    let GeneratedMaze { size: side, min_path, train, test, seed } = *wanted;
    let splits = generate_maze_splits(&MazeRequest { side, min_path, train, test, seed })?;
    let built = BuiltDataset::from_puzzles(PuzzleKind::Maze { side }, &splits, Copies::None, seed)?;
    Ok(generated(format!("generated {side}x{side} mazes"), built, None))
}

fn generated(name: String, built: BuiltDataset, augment: Option<Augment>) -> Data {
    let (train, test) = (Arc::new(built.train), Arc::new(built.test));
    let (origin, splits) = (ChosenBy::Spec, Splits::Both);
    let (copies, folder) = (None, None);
    Data { name, train, test, augment, copies, origin, splits, folder, findings: OnceLock::new() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Data, NamedDataset, how_to_build};
    use crate::data::{Augment, SudokuSize};
    use crate::spec::Spec;
    use crate::train::testing;

    fn hint(spec: &str, folder: &str) -> String {
        how_to_build(Spec::open(spec, &[""; 0]).expect("hrmc ships it").model(), Path::new(folder))
    }

    #[test]
    fn data_of_a_program_has_symmetries_but_no_copies() {
        let built = testing::data();
        let sudoku = Augment::new(SudokuSize::Four).with_held_out(&built.test);
        let data = Data::given(built.train, built.test);
        let augment = |overrides: &[&str]| {
            let spec = [&["train.data=\"made\""], overrides].concat();
            data.augment(Spec::open("specs/quickstart.hrm", &spec).expect("hrmc ships it").model())
        };
        assert!(augment(&[]).expect("nothing is asked for").is_none());
        assert_eq!(augment(&["train.augment=symmetries"]).expect("it is Sudoku"), Some(sudoku));
        let copies = ["model.tokens.vocab=12", "model.tokens.positions=900", "train.augment=copies(3)"];
        let message = augment(&copies).expect_err("there is no folder").to_string();
        assert!(message.contains("for dataset folders, and not for the program's data"), "{message}");
    }

    #[test]
    fn a_missing_dataset_is_built_as_its_name_says() {
        let named = |puzzles, copies| NamedDataset { puzzles, copies };
        for (folder, expected) in [
            ("data/sudoku-extreme-1k-aug-1000", named(Some(1000), Some(1000))),
            ("data/sudoku-extreme-full", named(None, None)),
            ("maze-30x30-hard-1k-aug-8", named(Some(1000), Some(8))),
            ("sudoku-500", named(Some(500), None)),
            ("sudoku-2", named(None, None)),
            ("..", named(None, None)),
        ] {
            assert_eq!(NamedDataset::of(Path::new(folder)), expected, "{folder}");
        }
    }

    #[test]
    fn the_hint_for_missing_data_has_the_whole_command_and_the_source() {
        assert_eq!(
            hint("specs/sudoku.hrm", "my data/sudoku-extreme-1k-aug-1000"),
            "put `train.csv` and `test.csv` of https://huggingface.co/datasets/sapientinc/sudoku-extreme into a folder \
             CSVDIR, and build it with `hrmc data sudoku --from CSVDIR --subsample 1000 --augment 1000 -o \
             'my data/sudoku-extreme-1k-aug-1000'`, or make one with `hrmc data sudoku --generate --size 9 --train 1000 \
             --augment 1000 -o 'my data/sudoku-extreme-1k-aug-1000'`"
        );
        assert_eq!(
            hint("specs/maze.hrm", "data/maze-30x30-hard-1k"),
            "put `train.csv` and `test.csv` of https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k into a \
             folder CSVDIR, and build it with `hrmc data maze --from CSVDIR -o data/maze-30x30-hard-1k`, or make one \
             with `hrmc data maze --generate --size 30 -o data/maze-30x30-hard-1k`"
        );
        assert_eq!(
            hint("specs/quickstart.hrm", "six"),
            "build it with `hrmc data sudoku --from CSVDIR --size 6 -o six`, or make one with `hrmc data sudoku \
             --generate --size 6 -o six`"
        );
        assert!(hint("specs/arc-1.hrm", "data/arc-aug-300").contains(
            "`hrmc data arc --from ARC-AGI --copies 300 -o data/arc-aug-300` from the tasks of https://github.com/"
        ));
        let made = Spec::open("specs/arc-1.hrm", &["train.augment=copies(300)"]).expect("hrmc ships it");
        assert!(
            how_to_build(made.model(), Path::new("data/arc-aug-300"))
                .contains("--copies 0 -o data/arc-aug-300`")
        );
    }
}
