//! Runs that were begun before: their model, their data and their checkpoints.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::failure::{Failure, fail};
use super::memory;
use super::project::Project;
use super::spec;
use crate::data::{Metadata, PuzzleKind, Split, SudokuSize};
use crate::device::Device;
use crate::diagnostic::{Diagnostic, Severity};
use crate::ir::{Data, Model};
use crate::lower::parameters::PUZZLE_TABLE;
use crate::lower::{Program, Sizes};
use crate::pipeline;
use crate::span::Source;
use crate::syntax::parse_override;
use crate::train::checkpoint::usable_weights;
use crate::train::{Evaluator, RunFolder, RunManifest};

/// Name of the file that makes a folder the folder of a run.
const MANIFEST: &str = "run.toml";

/// Bytes before the header of a safetensors file: its length.
const LENGTH_BYTES: u64 = 8;

/// Longest header of a safetensors file that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// One of the checkpoints of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckpointName {
    /// The one with the best exact accuracy
    Best,
    /// The newest one
    Last,
}

/// A run that was begun before.
pub struct TrainedRun {
    /// Its folder.
    pub folder: RunFolder,
    /// What it trains, on what, with which seed.
    pub manifest: RunManifest,
    /// Its model.
    pub model: Model,
}

/// Returns whether `path` is the folder of a run.
pub fn is_run(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

impl TrainedRun {
    /// Opens the folder of a run. `overrides` may change how its model is used, which is what `infer` says.
    ///
    /// # Errors
    ///
    /// Returns a failure if it is not one, its description is damaged, or an override cannot be used.
    pub fn open(path: &Path, overrides: &[String]) -> Result<TrainedRun, Failure> {
        if !path.exists() {
            return Err(Failure::message(format!(
                "there is no run `{}`; train one with `hrmc run SPEC --train`",
                path.display()
            )));
        }
        let folder = RunFolder::open(path).map_err(fail)?;
        let manifest = folder.manifest().map_err(fail)?;
        let name = format!("{} (its spec)", path.join(MANIFEST).display());
        refuse_what_is_fixed(path, overrides)?;
        let source = Source::new(name, manifest.spec.clone());
        let mut examined = spec::examine(source.clone(), overrides);
        if !overrides.is_empty() {
            // What a warning would say about the rest was said when the run began.
            let said = spec::examine(source, &[]).diagnostics;
            for (_, found) in &mut examined.diagnostics {
                let is_old = |one: &Diagnostic| {
                    let mut old = said.iter().flat_map(|(_, said)| said);
                    old.any(|old| (old.code, &old.message) == (one.code, &one.message))
                };
                found.retain(|one| one.severity == Severity::Error || !is_old(one));
            }
            if examined.model.is_some() {
                spec::report(&examined.diagnostics);
            }
        }
        let Some(model) = examined.model else {
            spec::report(&examined.diagnostics);
            return Err(Failure::Reported);
        };
        Ok(TrainedRun { folder, manifest, model })
    }

    /// Returns the folder of a checkpoint: the one asked for, else the one to use the model with.
    fn checkpoint(&self, wanted: Option<CheckpointName>) -> Result<PathBuf, Failure> {
        match wanted {
            Some(CheckpointName::Best) => Ok(self.folder.best()),
            Some(CheckpointName::Last) => Ok(self.folder.last()),
            None => self.folder.usable_checkpoint().map_err(fail),
        }
    }

    /// Loads the model with the weights of a checkpoint.
    ///
    /// # Errors
    ///
    /// Returns a failure if there is no such checkpoint, it is damaged, or memory cannot be had.
    pub fn evaluator(
        &self,
        wanted: Option<CheckpointName>,
        batch: usize,
        device: Device,
        threads: usize,
    ) -> Result<Evaluator, Failure> {
        let weights = usable_weights(&self.checkpoint(wanted)?).map_err(fail)?;
        let puzzle_rows = puzzle_rows(&weights)?;
        let options = Sizes { batch, puzzle_rows };
        let program = Program::Evaluate { averaged: false };
        memory::check(&self.model, &[(program, options)], device, "--batch ")?;
        let executable = pipeline::executable(&self.model, program, options, device);
        let mut evaluator =
            Evaluator::new(self.model.clone(), executable, puzzle_rows, threads).map_err(fail)?;
        evaluator.load_weights(&weights).map_err(fail)?;
        Ok(evaluator)
    }

    /// Returns the kind of puzzle the run was trained on, where hrmc knows it.
    pub fn kind(&self, project: &Project) -> Option<PuzzleKind> {
        let sizes = || PuzzleKind::of(&Metadata::new(self.model.tokens.vocab, self.model.tokens.positions));
        match &self.model.train.as_ref()?.data {
            Data::Sudoku(sudoku) => SudokuSize::from_side(sudoku.size).map(PuzzleKind::Sudoku),
            Data::Maze(maze) => Some(PuzzleKind::Maze { side: maze.size }),
            // The dataset may have gone since; then the sizes have to do.
            Data::Folder(folder) => {
                let folder = project.resolve(folder);
                read_metadata(&folder).map_or_else(sizes, |metadata| PuzzleKind::of(&metadata))
            }
        }
    }
}

/// Refuses overrides of anything but `infer`: the weights were trained under the rest.
fn refuse_what_is_fixed(run: &Path, overrides: &[String]) -> Result<(), Failure> {
    for text in overrides {
        // What does not follow the grammar is reported with all else that is wrong.
        let Ok(given) = parse_override(text) else { continue };
        let names: Vec<&str> = given.path.iter().map(|name| name.text.as_str()).collect();
        if !matches!(names[..], ["model", "infer", ..]) {
            return Err(Failure::message(format!(
                "`{}` is fixed by the run `{}`; `--set model.infer.…` alone can change, as in \
                 `--set model.infer.segments=16`",
                names.join("."),
                run.display()
            )));
        }
    }
    Ok(())
}

fn read_metadata(folder: &Path) -> Option<Metadata> {
    let file = File::open(folder.join(Split::Test.name()).join("dataset.json")).ok()?;
    serde_json::from_reader(file).ok()
}

/// Returns the rows of the puzzle table in a file of weights; 1 if it has none.
///
/// Only the header is read; the weights themselves, and all that may be wrong with them, are read with the
/// model.
fn puzzle_rows(weights: &Path) -> Result<usize, Failure> {
    let header = read_header(weights).map_err(|error| Failure::cannot_read(weights, &error))?;
    let header: serde_json::Value = serde_json::from_slice(&header).map_err(|_| {
        Failure::message(format!("`{}` is damaged: its header cannot be read", weights.display()))
    })?;
    let rows = header[PUZZLE_TABLE]["shape"][0].as_u64();
    Ok(rows.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(1).max(1))
}

/// Reads what says where the tensors of a safetensors file are: a length in eight bytes, then JSON.
fn read_header(weights: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(weights)?;
    let mut length = Vec::new();
    file.by_ref().take(LENGTH_BYTES).read_to_end(&mut length)?;
    let mut header = Vec::new();
    if let Ok(length) = length.try_into().map(u64::from_le_bytes) {
        file.take(length.min(LONGEST_HEADER)).read_to_end(&mut header)?;
    }
    Ok(header)
}
