//! The data of a spec: opened or generated, and checked against the model.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::{Failure, fail};
use super::project::Project;
use super::spec::{self, Spec};
use crate::check::{DatasetShape, check_dataset};
use crate::data::{
    Augment, BuiltDataset, Copies, Dataset, MazeRequest, Metadata, PuzzleKind, Split, SudokuRequest,
    SudokuSize, generate_maze_splits, generate_sudoku_splits,
};
use crate::ir::{Data, GeneratedMaze, GeneratedSudoku, Model};

/// Both splits of the data of a spec.
pub struct Datasets {
    /// Where they come from, for messages.
    pub name: String,
    /// Training split.
    pub train: Arc<Dataset>,
    /// Test split.
    pub test: Arc<Dataset>,
    /// What happens to every training row that is drawn.
    pub augment: Option<Augment>,
}

/// Number of rows of the puzzle table and where it comes from.
pub struct PuzzleRows {
    /// The number; at least 1.
    pub count: usize,
    /// Where it comes from, for reports; absent if the model has no puzzle table.
    pub origin: Option<String>,
}

/// Returns the number of puzzle identifiers of the dataset, or 1 where it is not there.
///
/// # Errors
///
/// Returns a failure if the dataset is there but its metadata cannot be read.
pub fn puzzle_rows(model: &Model, project: &Project) -> Result<PuzzleRows, Failure> {
    if model.puzzles.is_none() {
        return Ok(PuzzleRows { count: 1, origin: None });
    }
    let assumed = |why: String| Ok(PuzzleRows { count: 1, origin: Some(why) });
    match model.train.as_ref().map(|train| &train.data) {
        None => assumed("assumed, since the spec names no data".to_string()),
        Some(Data::Sudoku(_) | Data::Maze(_)) => {
            assumed("since generated puzzles share one identifier".to_string())
        }
        Some(Data::Folder(folder)) => {
            let folder = project.resolve(folder);
            let file = folder.join(Split::Train.name()).join("dataset.json");
            if !file.exists() {
                return assumed(format!("assumed, since there is no dataset `{}`", folder.display()));
            }
            let text = fs::read_to_string(&file).map_err(|error| Failure::cannot_read(&file, &error))?;
            let metadata: Metadata = serde_json::from_str(&text).map_err(|error| {
                Failure::message(format!("`{}` is not dataset metadata: {error}", file.display()))
            })?;
            let origin = Some(format!("from `{}`", folder.display()));
            Ok(PuzzleRows { count: metadata.num_puzzle_identifiers.max(1), origin })
        }
    }
}

/// Opens or generates the data of `model`; [`check_fit`] says whether the two belong together.
///
/// `folder` replaces what the spec says; `seed` decides what is generated.
///
/// # Errors
///
/// Returns a failure if there is no such dataset, or it is broken.
pub fn open(
    model: &Model,
    data: &Data,
    folder: Option<&Path>,
    seed: u64,
    project: &Project,
) -> Result<Datasets, Failure> {
    let datasets = match (folder, data) {
        (Some(folder), _) => open_folder(model, folder.to_path_buf())?,
        (None, Data::Folder(folder)) => open_folder(model, project.resolve(folder))?,
        (None, Data::Sudoku(wanted)) => generate_sudoku(wanted, seed)?,
        (None, Data::Maze(wanted)) => generate_mazes(wanted, seed)?,
    };
    Ok(datasets)
}

fn open_folder(model: &Model, folder: PathBuf) -> Result<Datasets, Failure> {
    if !folder.is_dir() {
        return Err(Failure::message(format!(
            "there is no dataset `{}`; {}",
            folder.display(),
            how_to_build(model, &folder)
        )));
    }
    let open = |split| Dataset::open(&folder, split).map(Arc::new).map_err(fail);
    Ok(Datasets {
        name: format!("`{}`", folder.display()),
        train: open(Split::Train)?,
        test: open(Split::Test)?,
        augment: None,
    })
}

/// Says which command builds a dataset that `model` fits.
fn how_to_build(model: &Model, folder: &Path) -> String {
    let folder = folder.display();
    match PuzzleKind::of(&Metadata::new(model.tokens.vocab, model.tokens.positions)) {
        Some(PuzzleKind::Sudoku(size)) => format!(
            "build it with `hrmc data sudoku --from CSVDIR --size {0} -o {folder}`, or make one with `hrmc \
             data sudoku --generate --size {0} -o {folder}`",
            size.side()
        ),
        Some(PuzzleKind::Maze { side }) => format!(
            "build it with `hrmc data maze --from CSVDIR -o {folder}`, or make one with `hrmc data maze \
             --generate --size {side} -o {folder}`"
        ),
        None => "put one there, or name another one with `--data DIR`".to_string(),
    }
}

fn generate_sudoku(wanted: &GeneratedSudoku, seed: u64) -> Result<Datasets, Failure> {
    let size = SudokuSize::from_side(wanted.size).ok_or_else(|| {
        Failure::message(format!("cannot generate Sudoku of size {}; use 4, 6 or 9", wanted.size))
    })?;
    let GeneratedSudoku { givens, train, test, .. } = *wanted;
    let splits = generate_sudoku_splits(&SudokuRequest { size, givens, train, test, seed }).map_err(fail)?;
    let built =
        BuiltDataset::from_puzzles(PuzzleKind::Sudoku(size), &splits, Copies::None, seed).map_err(fail)?;
    let augment = wanted.augment.then(|| Augment::new(size).with_held_out(&built.test));
    Ok(Datasets {
        name: format!("generated {size} Sudoku"),
        train: Arc::new(built.train),
        test: Arc::new(built.test),
        augment,
    })
}

fn generate_mazes(wanted: &GeneratedMaze, seed: u64) -> Result<Datasets, Failure> {
    let GeneratedMaze { size: side, min_path, train, test } = *wanted;
    let splits = generate_maze_splits(&MazeRequest { side, min_path, train, test, seed }).map_err(fail)?;
    let built =
        BuiltDataset::from_puzzles(PuzzleKind::Maze { side }, &splits, Copies::None, seed).map_err(fail)?;
    Ok(Datasets {
        name: format!("generated {side}x{side} mazes"),
        train: Arc::new(built.train),
        test: Arc::new(built.test),
        augment: None,
    })
}

/// Checks that rows and vocabulary of the data are those of the model.
///
/// # Errors
///
/// Returns a failure that names both sides if they are not. Where the data is that of `spec`, it points at the
/// places in its text.
pub fn check_fit(model: &Model, datasets: &Datasets, spec: Option<&Spec>) -> Result<(), Failure> {
    for dataset in [&datasets.train, &datasets.test] {
        let metadata = dataset.metadata();
        let shape = DatasetShape {
            what: format!("the puzzles in {}", datasets.name),
            vocab: metadata.vocab_size,
            positions: metadata.seq_len,
        };
        if let Some(spec) = spec {
            let found = check_dataset(&spec.file, model, &shape);
            if !found.is_empty() {
                spec::report(&[(spec.source.clone(), found)]);
                return Err(Failure::Reported);
            }
        }
        let sizes = [
            ("vocab", model.tokens.vocab, shape.vocab),
            ("positions", model.tokens.positions, shape.positions),
        ];
        let differences: Vec<String> = sizes
            .iter()
            .filter(|(_, model, data)| model != data)
            .map(|(key, model, data)| format!("{key} = {model} in the model, {data} in the data"))
            .collect();
        if !differences.is_empty() {
            return Err(Failure::message(format!(
                "`{}` does not fit {}: {}; use other data",
                model.name,
                shape.what,
                differences.join("; "),
            )));
        }
    }
    Ok(())
}
