//! The data of a spec, which is opened or generated.

#![expect(clippy::disallowed_methods, reason = "a folder of data is looked for")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::fit::{check_fit, shape};
use crate::check::check_dataset;
use crate::data::{
    Augment, BuiltDataset, Copies, Dataset, MazeRequest, Metadata, PuzzleKind, Split, SplitSize,
    SudokuRequest, SudokuSize, generate_maze_splits, generate_sudoku_splits,
};
use crate::ir::{self, GeneratedMaze, GeneratedSudoku, Model};
use crate::shell;
use crate::spec::{Spec, SpecError};

/// Both splits of the data that a model is trained and judged on.
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
    augment: Option<Augment>,
    origin: ChosenBy,
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

impl Data {
    /// Opens or generates what the `train` block of a spec says; a folder with a relative path is looked for below
    /// `root`.
    ///
    /// # Errors
    ///
    /// Returns an error if the spec has no `train` block, there is no such dataset, or it is broken.
    pub fn of(spec: &Spec, root: &Path) -> Result<Data, Error> {
        Data::of_model(spec.model(), root)
    }

    /// Does the same for a model.
    pub(crate) fn of_model(model: &Model, root: &Path) -> Result<Data, Error> {
        let Some(train) = &model.train else { return Err(untrained(model)) };
        match &train.data {
            ir::Data::Folder(folder) => open_folder(model, root.join(folder), ChosenBy::Spec),
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
        Data::open_for(spec.model(), folder.as_ref())
    }

    /// Does the same for a model.
    pub(crate) fn open_for(model: &Model, folder: &Path) -> Result<Data, Error> {
        // A path that leads to the same folder from wherever a run is continued.
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let text = absolute.into_os_string().into_string().map_err(|path| {
            Error::unsuitable(format!(
                "the path `{}` is not UTF-8 text, which a spec needs",
                Path::new(&path).display()
            ))
        })?;
        open_folder(model, folder.to_path_buf(), ChosenBy::Folder(text))
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
            origin: ChosenBy::Given,
        }
    }

    /// Returns where the data comes from, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the training split.
    pub fn train(&self) -> &Arc<Dataset> {
        &self.train
    }

    /// Returns the test split.
    pub fn test(&self) -> &Arc<Dataset> {
        &self.test
    }

    /// Returns the symmetries that are applied to every training row when it is drawn.
    pub(crate) fn augment(&self) -> Option<&Augment> {
        self.augment.as_ref()
    }

    /// Returns `spec` as a run on this data keeps it, so that it can be resumed without naming the data again.
    pub(crate) fn kept_in(&self, spec: &Spec) -> Spec {
        let mut spec = spec.clone();
        if let ChosenBy::Folder(path) = &self.origin {
            let folder = ir::Data::Folder(path.clone());
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
        DataSize {
            bytes: bytes(&data.train).saturating_add(bytes(&data.test)),
            test_examples: data.test.examples(),
        }
    }

    /// Returns the size of the data that `model` names; none if it is not there, or the spec names no data.
    ///
    /// Only metadata and the headers of arrays are read.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset is there but cannot be read.
    pub fn of(model: &Model, root: &Path) -> Result<Option<DataSize>, Error> {
        let generated = |train: usize, test: usize| {
            let metadata = Metadata::new(model.tokens.vocab, model.tokens.positions);
            let bytes = |examples| SplitSize::of_examples(examples).bytes(&metadata);
            DataSize { bytes: bytes(train).saturating_add(bytes(test)), test_examples: test }
        };
        let folder = match model.train.as_ref().map(|train| &train.data) {
            None => return Ok(None),
            Some(ir::Data::Sudoku(wanted)) => return Ok(Some(generated(wanted.train, wanted.test))),
            Some(ir::Data::Maze(wanted)) => return Ok(Some(generated(wanted.train, wanted.test))),
            Some(ir::Data::Folder(folder)) => root.join(folder),
        };
        let mut size = DataSize { bytes: 0, test_examples: 0 };
        for split in [Split::Train, Split::Test] {
            let Some(metadata) = Metadata::read(&folder, split)? else { return Ok(None) };
            let found = SplitSize::read(&folder, split, &metadata)?;
            size.bytes = size.bytes.saturating_add(found.bytes(&metadata));
            size.test_examples = found.examples;
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
    /// Returns the number of puzzle identifiers of the dataset that `model` names, or 1 where it is not there.
    ///
    /// Only the metadata is read.
    ///
    /// # Errors
    ///
    /// Returns an error if the dataset is there but its metadata cannot be read.
    pub fn of(model: &Model, root: &Path) -> Result<PuzzleRows, Error> {
        if model.puzzles.is_none() {
            return Ok(PuzzleRows { count: 1, origin: None });
        }
        let assumed = |why: String| Ok(PuzzleRows { count: 1, origin: Some(why) });
        match model.train.as_ref().map(|train| &train.data) {
            None => assumed("assumed, since the spec names no data".to_string()),
            Some(ir::Data::Sudoku(_) | ir::Data::Maze(_)) => {
                assumed("since generated puzzles share one identifier".to_string())
            }
            Some(ir::Data::Folder(folder)) => {
                let folder = root.join(folder);
                match Metadata::read(&folder, Split::Train)? {
                    None => assumed(format!("assumed, since there is no dataset `{}`", folder.display())),
                    Some(metadata) => {
                        let origin = Some(format!("from `{}`", folder.display()));
                        Ok(PuzzleRows { count: metadata.num_puzzle_identifiers.max(1), origin })
                    }
                }
            }
        }
    }
}

/// Returns the kind of puzzle that `model` is trained on, where hrmc knows it.
pub fn kind_of(model: &Model, root: &Path) -> Option<PuzzleKind> {
    let sizes = || PuzzleKind::of(&Metadata::new(model.tokens.vocab, model.tokens.positions));
    match &model.train.as_ref()?.data {
        ir::Data::Sudoku(sudoku) => SudokuSize::from_side(sudoku.size).map(PuzzleKind::Sudoku),
        ir::Data::Maze(maze) => Some(PuzzleKind::Maze { side: maze.size }),
        // The dataset may have been removed since; then the sizes decide.
        ir::Data::Folder(folder) => match Metadata::read(&root.join(folder), Split::Test) {
            Ok(Some(metadata)) => PuzzleKind::of(&metadata),
            Ok(None) | Err(_) => sizes(),
        },
    }
}

fn open_folder(model: &Model, folder: PathBuf, origin: ChosenBy) -> Result<Data, Error> {
    if !fs::metadata(&folder).is_ok_and(|found| found.is_dir()) {
        return Err(Error::unsuitable(format!(
            "there is no dataset `{}`; {}",
            folder.display(),
            how_to_build(model, &folder)
        )));
    }
    let open = |split| Dataset::open(&folder, split).map(Arc::new);
    Ok(Data {
        name: format!("`{}`", folder.display()),
        train: open(Split::Train)?,
        test: open(Split::Test)?,
        augment: None,
        origin,
    })
}

/// Puzzles of the paper, for those who have no files yet.
const SUDOKU_EXTREME: &str = "https://huggingface.co/datasets/sapientinc/sudoku-extreme";
const MAZE_HARD: &str = "https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k";
/// Side of the mazes of the paper.
const MAZE_HARD_SIDE: usize = 30;

/// Returns how to get the dataset that `model` names, in words: the command that builds it, with the copies that the
/// name of the folder asks for, and where its source is to be had.
fn how_to_build(model: &Model, folder: &Path) -> String {
    let Some(kind) = PuzzleKind::of(&Metadata::new(model.tokens.vocab, model.tokens.positions)) else {
        return "put a dataset there, or choose another folder (`--data DIR`, or `Data::open`); those of ARC are built \
                by `dataset/build_arc_dataset.py` of https://github.com/sapientinc/HRM"
            .to_string();
    };
    let named = NamedDataset::of(folder);
    let (side, family, out) = (kind.side(), kind.family(), shell::path(folder));
    let (source, from, generate) = match kind {
        PuzzleKind::Sudoku(size) => {
            let copies = named.copies.map_or(String::new(), |copies| format!(" --augment {copies}"));
            let sized = if size == SudokuSize::Nine { String::new() } else { format!(" --size {side}") };
            let kept = named.puzzles.map_or(String::new(), |puzzles| format!(" --subsample {puzzles}"));
            let made = named.puzzles.map_or(String::new(), |puzzles| format!(" --train {puzzles}"));
            let source = (size == SudokuSize::Nine).then_some(SUDOKU_EXTREME);
            (source, format!("{sized}{kept}{copies}"), format!(" --size {side}{made}{copies}"))
        }
        PuzzleKind::Maze { .. } => {
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
    Data { name, train, test, augment, origin: ChosenBy::Spec }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{NamedDataset, how_to_build};
    use crate::spec::Spec;

    fn hint(spec: &str, folder: &str) -> String {
        how_to_build(Spec::open(spec, &[""; 0]).expect("hrmc ships it").model(), Path::new(folder))
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
        assert!(hint("specs/arc-1.hrm", "data/arc-aug-1000").contains("build_arc_dataset.py"));
    }
}
