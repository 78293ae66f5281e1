//! `hrmc data`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::failure::{Failure, fail};
use super::interrupt::{Busy, Interrupt};
use super::terminal::{self, counted};
use super::{data_check, data_show};
use crate::data::arc::{ArcBuild, WrittenArc, read_tasks};
use crate::data::{
    Copies, DataError, Existing, MazeBuild, MazeRequest, PuzzleBuild, PuzzleKind, SudokuBuild, SudokuRequest,
    SudokuSize, WrittenDataset, build_maze, build_sudoku, generate_maze_splits, generate_sudoku_splits,
};
use crate::shell;
use crate::syntax::quote;

const EXAMPLES: &str = "\
Examples:
  hrmc data sudoku --generate --size 6 -o data/sudoku-6x6
  hrmc data sudoku --from csv/sudoku --subsample 1000 --augment 1000 -o data/sudoku-extreme-1k-aug-1000
  hrmc data maze --from csv/maze -o data/maze-30x30-hard-1k
  hrmc data arc --from ARC-AGI -o data/arc-aug-1000
  hrmc data check data/sudoku-6x6
  hrmc data show data/sudoku-6x6";

const SUDOKU_EXAMPLES: &str = "\
Examples:
  hrmc data sudoku --generate --size 6 --givens 24 --train 4000 --test 512 -o data/sudoku-6x6
  hrmc data sudoku --from csv/sudoku -o data/sudoku
  hrmc data sudoku --from csv/sudoku --subsample 1000 --augment 1000 -o data/sudoku-extreme-1k-aug-1000";

const MAZE_EXAMPLES: &str = "\
Examples:
  hrmc data maze --from csv/maze -o data/maze-30x30-hard-1k
  hrmc data maze --from csv/maze --dihedral -o data/maze-aug
  hrmc data maze --generate --size 9 --min-path 12 --train 2000 --test 500 -o data/maze-9x9";

const ARC_EXAMPLES: &str = "\
Examples:
  hrmc data arc --from ARC-AGI ConceptARC -o data/arc-aug-1000
  hrmc data arc --from ARC-AGI-2/data --copies 300 -o data/arc-2-aug-300
  hrmc data arc --from training.json evaluation.json --copies 0 -o data/arc-plain";

/// Build datasets from files or from generated puzzles, and check them.
///
/// A dataset is a folder in the format of the published HRM code, which can read it too.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Arguments {
    /// Build a Sudoku dataset.
    ///
    /// The puzzles come from a folder with `train.csv` and `test.csv` (columns source,question,answer,rating), or
    /// `--generate` makes them, each with exactly one solution. No solution grid is in both training and test.
    #[command(after_help = SUDOKU_EXAMPLES)]
    Sudoku(SudokuArguments),
    /// Build a maze dataset.
    ///
    /// The mazes come from a folder with `train.csv` and `test.csv` (columns source,question,answer,rating), or
    /// `--generate` makes them; the answer is then the path that a breadth-first search finds.
    #[command(after_help = MAZE_EXAMPLES)]
    Maze(MazeArguments),
    /// Build a dataset of ARC tasks.
    ///
    /// The tasks come from folders as published, such as clones of ARC-AGI and ConceptARC, or from files with all tasks
    /// by their names. Those of `evaluation/` or `evaluation.json` are for testing: training sees their demonstrations,
    /// and never their test pairs. Each task has random copies, in other colours, turned and flipped.
    #[command(after_help = ARC_EXAMPLES)]
    Arc(ArcArguments),
    Check(data_check::Arguments),
    Show(data_show::Arguments),
}

/// Where a dataset is written to.
#[derive(Debug, Args)]
struct OutputArguments {
    /// Folder to write the dataset to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the dataset that is already there
    #[arg(long)]
    replace: bool,
}

/// Arguments of puzzles that can be generated.
#[derive(Debug, Args)]
struct BuildArguments {
    /// Folder with `train.csv` and `test.csv`
    #[arg(long, value_name = "CSVDIR", required_unless_present = "generate", conflicts_with = "generate")]
    from: Option<PathBuf>,
    /// Generate puzzles instead of reading them
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    output: OutputArguments,
    /// Training puzzles to generate [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "from", value_parser = super::positive)]
    train: Option<usize>,
    /// Test puzzles to generate [default: 500]
    #[arg(long, value_name = "N", conflicts_with = "from", value_parser = super::positive)]
    test: Option<usize>,
    /// Training puzzles to keep, drawn at random [default: all]
    #[arg(long, value_name = "N", conflicts_with = "generate", value_parser = super::positive)]
    subsample: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Arguments of `hrmc data sudoku`.
#[derive(Debug, Args)]
pub struct SudokuArguments {
    #[command(flatten)]
    common: BuildArguments,
    /// Cells on one side: 4, 6 or 9, and with `--from` also 16
    #[arg(long, value_name = "SIDE", default_value = "9", value_parser = sudoku_size)]
    size: SudokuSize,
    /// Given cells of each generated puzzle [default: 8, 20 or 32 by size]
    #[arg(long, value_name = "N", conflicts_with = "from")]
    givens: Option<usize>,
    /// Random symmetric copies of each training puzzle
    #[arg(long, value_name = "N", default_value_t = 0)]
    augment: usize,
    /// Lowest rating to keep
    #[arg(long, value_name = "RATING", conflicts_with = "generate")]
    min_difficulty: Option<i64>,
}

/// Arguments of `hrmc data maze`.
#[derive(Debug, Args)]
pub struct MazeArguments {
    #[command(flatten)]
    common: BuildArguments,
    /// Cells on one side of each generated maze [default: 30]; CSV files have their own size
    #[arg(long, value_name = "SIDE", conflicts_with = "from")]
    size: Option<usize>,
    /// Fewest cells on the path, start and goal included [default: the side]
    #[arg(long, value_name = "N", conflicts_with = "from")]
    min_path: Option<usize>,
    /// Add all eight rotations and reflections of each training maze
    #[arg(long)]
    dihedral: bool,
}

/// Arguments of `hrmc data arc`.
#[derive(Debug, Args)]
pub struct ArcArguments {
    /// Folders of tasks, or files of one or many tasks
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    from: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
    /// Different copies of each task, besides the task itself
    #[arg(long, value_name = "N", value_parser = super::copies, default_value_t = ARC_COPIES)]
    copies: usize,
    /// Leave all grids in the corner of their canvas
    #[arg(long)]
    no_translation: bool,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

fn sudoku_size(text: &str) -> Result<SudokuSize, String> {
    text.parse().ok().and_then(SudokuSize::from_side).ok_or_else(|| "expected 4, 6, 9 or 16".to_string())
}

/// Default number of training puzzles.
const TRAIN_PUZZLES: usize = 1000;
/// Default number of test puzzles.
const TEST_PUZZLES: usize = 500;
/// Default number of copies of a task, that of the paper.
const ARC_COPIES: usize = 1000;
/// Default side of a maze, that of Maze-Hard.
const MAZE_SIDE: usize = 30;

fn default_givens(size: SudokuSize) -> usize {
    match size {
        SudokuSize::Four => 8,
        SudokuSize::Six => 20,
        SudokuSize::Nine => 32,
        // It is not generated.
        SudokuSize::Sixteen => 0,
    }
}

/// Runs `hrmc data`.
///
/// # Errors
///
/// Returns a failure if the puzzles cannot be read or made, or the dataset cannot be written, or is to be checked and
/// cannot be trained on, or is to be shown and is spoiled.
pub fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<(), Failure> {
    match arguments {
        Arguments::Sudoku(arguments) => {
            write_puzzles(&sudoku(arguments)?, &arguments.common.output, interrupt)
        }
        Arguments::Maze(arguments) => write_puzzles(&maze(arguments)?, &arguments.common.output, interrupt),
        Arguments::Arc(arguments) => write_arc(arguments, interrupt),
        Arguments::Check(arguments) => data_check::run(arguments),
        Arguments::Show(arguments) => data_show::run(arguments),
    }
}

fn write_puzzles(
    build: &PuzzleBuild,
    output: &OutputArguments,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let written =
        written(output, interrupt, |existing, may_go_on| build.write(&output.output, existing, may_go_on))?;
    terminal::print(summary(&written, &output.output))
}

fn write_arc(arguments: &ArcArguments, interrupt: &Interrupt) -> Result<(), Failure> {
    let ArcArguments { from, output, copies, no_translation, seed } = arguments;
    let tasks = read_tasks(from).map_err(fail)?;
    let build = ArcBuild { copies: *copies, translate: !no_translation, seed: *seed };
    let WrittenArc { dataset, short_tasks } = written(output, interrupt, |existing, may_go_on| {
        build.write(&tasks, &output.output, existing, may_go_on)
    })?;
    let mut text = summary(&dataset, &output.output);
    if short_tasks > 0 {
        text.push_str(&format!(
            "{} of few colours or much symmetry got fewer than {copies} different copies\n",
            counted(short_tasks, "task"),
        ));
    }
    terminal::print(text)
}

/// Writes a dataset with `write`, which a signal stops.
fn written<T>(
    output: &OutputArguments,
    interrupt: &Interrupt,
    write: impl FnOnce(Existing, &mut dyn FnMut() -> ControlFlow<()>) -> Result<ControlFlow<(), T>, DataError>,
) -> Result<T, Failure> {
    let existing = if output.replace { Existing::Replace } else { Existing::Refuse };
    interrupt.begin(Busy {
        next: "stopping before the next group; nothing of the dataset stays".to_string(),
        cost: String::new(),
    });
    let mut may_go_on = || match interrupt.reason() {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    };
    match write(existing, &mut may_go_on).map_err(fail)? {
        ControlFlow::Continue(written) => Ok(written),
        ControlFlow::Break(()) => {
            let folder = output.output.display();
            terminal::note(format_args!("stopped before the end; `{folder}` is as it was"));
            Err(Failure::Stopped(interrupt.reason().expect("only a signal stops it")))
        }
    }
}

fn sudoku(arguments: &SudokuArguments) -> Result<PuzzleBuild, Failure> {
    let SudokuArguments { common, size, .. } = arguments;
    let (size, seed) = (*size, common.seed);
    if let Some(folder) = &common.from {
        let options = SudokuBuild {
            size,
            subsample: common.subsample,
            copies: arguments.augment,
            min_difficulty: arguments.min_difficulty,
            seed,
        };
        return build_sudoku(folder, &options).map_err(fail);
    }
    let splits = generate_sudoku_splits(&SudokuRequest {
        size,
        givens: arguments.givens.unwrap_or_else(|| default_givens(size)),
        train: common.train.unwrap_or(TRAIN_PUZZLES),
        test: common.test.unwrap_or(TEST_PUZZLES),
        seed,
    })
    .map_err(fail)?;
    let copies = Copies::Symmetries(arguments.augment);
    PuzzleBuild::new(PuzzleKind::Sudoku(size), splits, copies, seed).map_err(fail)
}

fn maze(arguments: &MazeArguments) -> Result<PuzzleBuild, Failure> {
    let common = &arguments.common;
    let seed = common.seed;
    if let Some(folder) = &common.from {
        let options = MazeBuild { subsample: common.subsample, dihedral: arguments.dihedral, seed };
        return build_maze(folder, &options).map_err(fail);
    }
    let side = arguments.size.unwrap_or(MAZE_SIDE);
    let splits = generate_maze_splits(&MazeRequest {
        side,
        min_path: arguments.min_path.unwrap_or(side),
        train: common.train.unwrap_or(TRAIN_PUZZLES),
        test: common.test.unwrap_or(TEST_PUZZLES),
        seed,
    })
    .map_err(fail)?;
    let copies = if arguments.dihedral { Copies::Dihedral } else { Copies::None };
    PuzzleBuild::new(PuzzleKind::Maze { side }, splits, copies, seed).map_err(fail)
}

fn summary(written: &WrittenDataset, folder: &Path) -> String {
    let (train, test) = (written.train, written.test);
    let mut text = format!(
        "wrote `{}`: {} in {} for training, {} for evaluation, rows of {}, vocabulary of {}\n",
        folder.display(),
        counted(train.examples, "example"),
        counted(train.groups, "group"),
        counted(test.examples, "example"),
        counted(written.seq_len, "token"),
        written.vocab_size,
    );
    if let Some(name) = folder.to_str() {
        text.push_str(&format!(
            "train on it with `data = {}` in a spec, or `hrmc run SPEC --train --data {}`\n",
            quote(name),
            shell::path(folder),
        ));
    }
    text
}
