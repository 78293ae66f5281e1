//! Checkpoints: folders with everything that a run needs to continue.
//!
//! ```text
//! weights.safetensors   the weights in training, under the names of the published state dict
//! average.safetensors   only with `ema`: the same with the moving averages, ready for use elsewhere
//! state.safetensors     moments, carry and the rows in the slots, under their names in a session
//! state.json            [`TrainerState`]: steps, random streams, loader
//! SHA256SUMS            the checksum of each of these files
//! ```
//!
//! The bytes depend on the state of the training alone: no clock, no path, no order of a hash map.
//!
//! [`save`] writes a checkpoint to a folder beside its place (`last.new` for `last`), flushes it to the disk, and only
//! then renames it. The checkpoint that was there is removed after that, or kept as the one before. So an interrupted or
//! failed save never costs the checkpoint before; where it waits under its other name, [`Saved::open`] finds it.
//!
//! Format 1 had no checksums: nothing guards such a checkpoint, but it is read.

#![expect(clippy::disallowed_methods, reason = "checkpoints are read")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::disk;
use super::error::CheckpointError;
use super::sums::{self, Summed, Sums};
use super::tensors::{
    Content, Stored, Table, TensorFile, WeightsFile, mean_of_puzzles, puzzle_rows, read_header, values_of,
    write_tensors,
};
use crate::data::{IGNORED_LABEL, LoaderState};
use crate::device::{DeviceError, Session};
use crate::graph::TensorType;
use crate::hash::sha256;
use crate::ir::{self, Model};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::{PUZZLE_TABLE, Parameter, Role};
use crate::reading;

/// File of the weights in training.
pub const WEIGHTS: &str = "weights.safetensors";
/// File of the moving averages.
pub const AVERAGE: &str = "average.safetensors";
/// File of the tensors that only training needs.
pub const STATE_TENSORS: &str = "state.safetensors";
/// File of everything that is not a tensor.
pub const STATE: &str = "state.json";

/// Version of the format. It grows whenever an older hrmc could not read a checkpoint.
const FORMAT: u32 = 2;
/// The format without checksums.
const UNGUARDED_FORMAT: u32 = 1;

/// The state of a trainer, besides tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerState {
    /// Optimizer steps done.
    pub step: u64,
    /// Seed of every random stream.
    pub seed: u64,
    /// Segments each slot has done on its row.
    pub steps: Vec<u32>,
    /// Whether each slot takes a new row before the next segment.
    pub halted: Vec<bool>,
    /// Place in the training data.
    pub loader: LoaderState,
    /// Words drawn from the stream `explore`.
    pub explore_position: u64,
    /// Fingerprint of the training data.
    pub data: String,
    /// Exact accuracy of the evaluation after which the checkpoint was kept.
    pub exact_accuracy: Option<f64>,
    /// Mean loss of that evaluation. Checkpoints of format 1 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// How often the training had gone back because a number was not finite.
    #[serde(default, skip_serializing_if = "is_never")]
    pub rollbacks: u32,
    /// How long the training had waited for a better evaluation; only with `patience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Waited>,
    /// SHA-256 of the lines of `metrics.jsonl` up to the one of this step, without those of evaluations that are not
    /// due by the schedule. Checkpoints of format 1 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_sha256: Option<String>,
}

fn is_never(rollbacks: &u32) -> bool {
    *rollbacks == 0
}

/// How long a training has waited for a better evaluation. Those of the schedule count, up to the one before the step of
/// the checkpoint; of the checkpoint with which `patience` ends the training, the one after its step does, too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waited {
    /// Exact accuracy of the best of these evaluations.
    pub exact_accuracy: f64,
    /// Mean loss of that evaluation.
    pub loss: f64,
    /// Evaluations since then.
    pub evaluations: usize,
}

/// Most steps, segments, epochs or random words that are counted: a training would take centuries to get there.
const MOST_COUNTED: u64 = 1 << 56;

impl TrainerState {
    /// Checks that the counters are far from their ends, so that they can be counted on.
    fn check(&self) -> Result<(), String> {
        let counters = [
            ("step", self.step),
            ("explore_position", self.explore_position),
            ("loader.epoch", self.loader.epoch),
            ("loader.draw_position", self.loader.draw_position),
        ];
        match counters.into_iter().find(|(_, count)| *count > MOST_COUNTED) {
            Some((name, count)) => Err(format!("`{name}` is {count}, which no training reaches")),
            None if self.steps.iter().any(|&steps| steps > i32::MAX as u32) => {
                Err("`steps` has a number that no training reaches".to_owned())
            }
            None => Ok(()),
        }
    }
}

/// The content of `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    format: u32,
    /// SHA-256 of the text form of the model, training settings included.
    model: String,
    trainer: TrainerState,
}

/// Only one key of `state.json` or `run.toml`, so that hrmc recognises other formats.
#[derive(Deserialize)]
pub(super) struct FormatOnly {
    pub(super) format: u32,
}

/// Which tensors a file of weights holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weights {
    Trained,
    Averaged,
}

/// Returns the tensors of a file of weights, for as many weights as the session has.
fn weight_tensors(session: &Session, parameters: &[Parameter], which: Weights) -> Vec<Stored> {
    let stored = |parameter: &Parameter| {
        let averaged = which == Weights::Averaged && parameter.role == Role::Trained;
        let memory =
            if averaged { names::average(&parameter.name) } else { names::parameter(&parameter.name) };
        let has = session.has(&memory);
        has.then(|| Stored {
            name: parameter.name.clone(),
            memory: Some(memory),
            ty: parameter.ty(),
            rows_of: None,
        })
    };
    parameters.iter().filter_map(stored).collect()
}

/// Returns the tensors that only training needs.
fn state_tensors(session: &Session, model: &Model, parameters: &[Parameter]) -> Vec<Stored> {
    let scope = Scope::Train;
    let moments = parameters
        .iter()
        .flat_map(|parameter| [names::moment1(&parameter.name), names::moment2(&parameter.name)]);
    let carry = model.states.iter().map(|state| scope.carry(&state.name));
    let wanted: BTreeSet<String> =
        moments.chain(carry).chain([scope.tokens(), scope.labels(), scope.puzzles()]).collect();
    let stored = |(name, ty): (&str, &TensorType)| Stored {
        name: name.to_owned(),
        memory: Some(name.to_owned()),
        ty: ty.clone(),
        rows_of: table_of(name, model, parameters),
    };
    session.names().filter(|(name, _)| wanted.contains(*name)).map(stored).collect()
}

/// Returns the table that a tensor of rows in slots has rows of.
fn table_of(name: &str, model: &Model, parameters: &[Parameter]) -> Option<Table> {
    let scope = Scope::Train;
    let vocab = model.tokens.vocab;
    let words = |none| Table { name: format!("the vocabulary of {vocab}"), rows: vocab, none };
    if name == scope.tokens() {
        Some(words(None))
    } else if name == scope.labels() {
        Some(words(Some(IGNORED_LABEL)))
    } else if name == scope.puzzles() {
        let table = parameters.iter().find(|parameter| parameter.name == PUZZLE_TABLE);
        let rows = table.map_or(1, |table| table.ty().shape[0]);
        Some(Table { name: format!("the puzzle table of {rows}"), rows, none: None })
    } else {
        None
    }
}

/// Returns the files of tensors of a checkpoint.
fn tensor_files(
    session: &Session,
    model: &Model,
    parameters: &[Parameter],
) -> Vec<(&'static str, Vec<Stored>)> {
    let mut files = vec![(WEIGHTS, weight_tensors(session, parameters, Weights::Trained))];
    if model.train.as_ref().is_some_and(|train| train.ema.is_some()) {
        files.push((AVERAGE, weight_tensors(session, parameters, Weights::Averaged)));
    }
    files.push((STATE_TENSORS, state_tensors(session, model, parameters)));
    files
}

/// What becomes of the checkpoint that is where a new one is saved.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// It is removed.
    Removed,
    /// It is kept in this folder, in place of what is there.
    Kept(&'a Path),
}

/// Saves a checkpoint in `folder`, in place of the one that is there.
///
/// # Errors
///
/// Returns an error if a number is not finite; nothing on the disk has changed then. Returns one if a file cannot be
/// written. The checkpoint that was there is then still in its place, or where
/// [`Saved::open`] or the caller finds it: beside it, or where it is kept.
pub fn save(
    folder: &Path,
    before: Before<'_>,
    session: &Session,
    model: &Model,
    parameters: &[Parameter],
    state: &TrainerState,
) -> Result<(), CheckpointError> {
    // Memory of a device is fetched first: if that fails, nothing on the disk has changed.
    for (name, tensors) in tensor_files(session, model, parameters) {
        for stored in &tensors {
            if let Content::F32(values) = values_of(session, stored)?
                && values.iter().any(|value| !value.is_finite())
            {
                let file = folder.join(name);
                return Err(CheckpointError::tensor(
                    &file,
                    &stored.name,
                    "is not finite, so nothing is saved",
                ));
            }
        }
    }
    let [new, beside_it] = [beside(folder, ".new"), beside(folder, ".old")];
    settle(folder, &beside_it)?;
    let written = write_folder(&new, session, model, parameters, state);
    if written.is_err() {
        // The partial folder is useless, and it may be what fills the disk. Only the first error is reported.
        let _ = disk::remove_folder(&new);
    }
    written?;
    let old = match before {
        Before::Removed => &beside_it,
        Before::Kept(kept) => kept,
    };
    if folder.exists() {
        CheckpointError::change(old, disk::remove_folder(old))?;
        CheckpointError::change(old, disk::rename(folder, old))?;
    }
    CheckpointError::change(folder, disk::rename(&new, folder))?;
    CheckpointError::change(folder, disk::sync_folder(disk::parent(folder)))?;
    match before {
        Before::Removed => CheckpointError::change(old, disk::remove_folder(old)),
        Before::Kept(_) => Ok(()),
    }
}

/// Finishes an interrupted save: puts the old checkpoint back if there is no newer one.
fn settle(folder: &Path, old: &Path) -> Result<(), CheckpointError> {
    if !old.exists() {
        Ok(())
    } else if folder.exists() {
        CheckpointError::change(old, disk::remove_folder(old))
    } else {
        CheckpointError::change(folder, disk::rename(old, folder))
    }
}

fn write_folder(
    folder: &Path,
    session: &Session,
    model: &Model,
    parameters: &[Parameter],
    state: &TrainerState,
) -> Result<(), CheckpointError> {
    CheckpointError::change(folder, disk::remove_folder(folder))?;
    CheckpointError::change(folder, disk::create_folder(folder))?;
    let mut files = Summed::new(folder);
    for (name, tensors) in tensor_files(session, model, parameters) {
        files.write(name, |writer| write_tensors(writer, session, &tensors))?;
    }
    let state = StateFile { format: FORMAT, model: model_hash(model), trainer: state.clone() };
    let mut json = serde_json::to_string_pretty(&state).expect("the state is plain data");
    json.push('\n');
    files.write(STATE, |writer| writer.write_all(json.as_bytes()))?;
    files.finish()
}

/// Returns the bytes of a checkpoint of a model, in all its files, without the little that is not in tensors.
pub fn size_bytes(session: &Session, model: &Model, parameters: &[Parameter]) -> u64 {
    let files = tensor_files(session, model, parameters);
    files.iter().flat_map(|(_, tensors)| tensors).map(|stored| stored.ty.bytes() as u64).sum()
}

fn model_hash(model: &Model) -> String {
    sha256(ir::to_text(model))
}

/// Returns the path of a folder with another ending.
pub fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(suffix);
    folder.with_file_name(name)
}

/// A checkpoint on the disk, of which everything that is not a tensor was read.
pub struct Saved {
    folder: PathBuf,
    sums: Option<Sums>,
    state: StateFile,
}

impl Saved {
    /// Opens the checkpoint in `folder`, or the one that an interrupted save left beside it.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no checkpoint, its state is damaged, or it has a format of a newer hrmc.
    pub fn open(folder: &Path) -> Result<Saved, CheckpointError> {
        let old = beside(folder, ".old");
        let present = [folder, &old].into_iter().find(|candidate| candidate.exists());
        let folder = present.ok_or_else(|| CheckpointError::Absent { folder: folder.to_owned() })?.to_owned();
        let file = folder.join(STATE);
        let json =
            reading::bytes(&file, &reading::STATE).map_err(|reason| CheckpointError::read(&file, reason))?;
        Saved::of(folder, json, Sums::read)
    }

    /// Reads the bytes of `state.json` of the checkpoint in `folder`; `sums` gives its checksums, which only a known
    /// format has.
    fn of(
        folder: PathBuf,
        json: Vec<u8>,
        sums: impl FnOnce(&Path) -> Result<Option<Sums>, CheckpointError>,
    ) -> Result<Saved, CheckpointError> {
        let file = folder.join(STATE);
        let damaged = |reason: &dyn ToString| CheckpointError::damaged(&file, reason.to_string());
        let text = reading::decode(json.clone()).map_err(|reason| CheckpointError::read(&file, reason))?;
        let FormatOnly { format } = reading::json::value(&text).map_err(|fault| damaged(&fault))?;
        if format == 0 || format > FORMAT {
            let reason =
                format!("it has format {format}, of another version of hrmc; this one reads up to {FORMAT}");
            return Err(CheckpointError::unfit(&folder, reason));
        }
        let sums = sums(&folder)?;
        match &sums {
            Some(sums) => sums::check(&file, &json, sums.of(STATE)?)?,
            None if format == UNGUARDED_FORMAT => {}
            None => return Err(CheckpointError::damaged(&folder.join(sums::SUMS), "it is missing")),
        }
        let state: StateFile = reading::json::value(&text).map_err(|fault| damaged(&fault))?;
        state.trainer.check().map_err(|reason| damaged(&reason))?;
        Ok(Saved { folder, sums, state })
    }

    /// Returns everything of the trainer that is not a tensor.
    pub fn state(&self) -> &TrainerState {
        &self.state.trainer
    }

    /// Returns whether checksums guard its files.
    pub fn is_guarded(&self) -> bool {
        self.sums.is_some()
    }

    /// Returns what the user should know about it.
    pub fn warning(&self) -> Option<String> {
        (!self.is_guarded()).then(|| {
            let folder = self.folder.display();
            format!(
                "`{folder}` was saved by an hrmc that kept no checksums: nothing guards it against damage"
            )
        })
    }

    /// Returns the file of the weights to use it with: the moving averages if the model is `averaged`, else the weights
    /// in training.
    ///
    /// # Errors
    ///
    /// Returns an error if the checksums do not have it.
    pub fn weights_to_use(&self, averaged: bool) -> Result<WeightsFile, CheckpointError> {
        self.file(if averaged { AVERAGE } else { WEIGHTS })
    }

    /// Checks that every file of it is there with the bytes that were saved.
    ///
    /// # Errors
    ///
    /// Returns an error for the first file that is not.
    pub fn check_bytes(&self) -> Result<(), CheckpointError> {
        self.sums
            .iter()
            .flat_map(Sums::all)
            .try_for_each(|(name, sum)| sums::check_file(&self.folder.join(name), sum))
    }

    /// Checks that the files of its tensors are there and have the length that they say, without reading them.
    ///
    /// # Errors
    ///
    /// Returns an error for the first file that is not.
    pub fn check_headers(&self) -> Result<(), CheckpointError> {
        let files = self.sums.iter().flat_map(Sums::all).map(|(name, _)| self.folder.join(name));
        files
            .filter(|file| file.extension().is_some_and(|kind| kind == "safetensors"))
            .try_for_each(|file| read_header(&file).map(|_| ()))
    }

    /// Reads the tensors, and checks that they fit the session and the model.
    ///
    /// # Errors
    ///
    /// Returns an error if a file is damaged, or the checkpoint belongs to another model.
    pub fn read(
        self,
        session: &Session,
        model: &Model,
        parameters: &[Parameter],
    ) -> Result<StoredCheckpoint, CheckpointError> {
        if self.state.model != model_hash(model) {
            let reason =
                format!("it belongs to another model or other training settings than `{}`", model.name);
            return Err(CheckpointError::unfit(&self.folder, reason));
        }
        let open = |name: &str| TensorFile::read(&self.file(name)?);
        let files = check_files(tensor_files(session, model, parameters), &open)?;
        Ok(StoredCheckpoint { state: self.state.trainer, files })
    }

    fn file(&self, name: &str) -> Result<WeightsFile, CheckpointError> {
        let sum = self.sums.as_ref().map(|sums| sums.of(name)).transpose()?;
        Ok(WeightsFile { path: self.folder.join(name), sha256: sum.map(str::to_owned) })
    }
}

/// Files of tensors, each with those that it has.
type CheckedFiles = Vec<(TensorFile, Vec<Stored>)>;

/// Opens the files of tensors of a checkpoint, and checks what is in them.
fn check_files(
    wanted: Vec<(&'static str, Vec<Stored>)>,
    open: &dyn Fn(&str) -> Result<TensorFile, CheckpointError>,
) -> Result<CheckedFiles, CheckpointError> {
    let check = |(name, tensors): (&str, Vec<Stored>)| {
        let file = open(name)?;
        file.check(&tensors, &[])?;
        Ok((file, tensors))
    };
    wanted.into_iter().map(check).collect()
}

/// A checkpoint that was read and found to fit.
pub struct StoredCheckpoint {
    state: TrainerState,
    files: CheckedFiles,
}

impl StoredCheckpoint {
    /// Reads a checkpoint from memory, of any model with the same tensors: `bytes` are those of a file.
    ///
    /// # Errors
    ///
    /// Returns an error if a file is damaged.
    pub fn from_memory(
        bytes: &dyn Fn(&str) -> Vec<u8>,
        session: &Session,
        model: &Model,
        parameters: &[Parameter],
    ) -> Result<StoredCheckpoint, CheckpointError> {
        let saved = Saved::of(PathBuf::new(), bytes(STATE), |_| Ok(None))?;
        let open = |name: &str| Ok(TensorFile::of(Path::new(name), bytes(name)));
        let files = check_files(tensor_files(session, model, parameters), &open)?;
        Ok(StoredCheckpoint { state: saved.state.trainer, files })
    }

    /// Returns everything that is not a tensor.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// Writes every tensor into the session.
    ///
    /// # Errors
    ///
    /// Returns an error if the device fails.
    pub fn write_into(&self, session: &mut Session) -> Result<(), DeviceError> {
        self.files.iter().try_for_each(|(file, tensors)| file.write_into(session, tensors))
    }
}

/// Reads weights from a safetensors file with the names of the published state dict.
///
/// F16 and BF16 tensors are widened. Moving averages begin equal to the weights. The session changes only if every
/// tensor fits.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is damaged, or a tensor is missing, unexpected or of another shape.
pub fn load_weights(
    session: &mut Session,
    parameters: &[Parameter],
    file: &WeightsFile,
) -> Result<(), CheckpointError> {
    let memory = |parameter: &Parameter, name: fn(&str) -> String| Stored {
        name: parameter.name.clone(),
        memory: Some(name(&parameter.name)).filter(|name| session.has(name)),
        ty: parameter.ty(),
        rows_of: None,
    };
    let weights: Vec<Stored> =
        parameters.iter().map(|parameter| memory(parameter, names::parameter)).collect();
    let averages: Vec<Stored> =
        parameters.iter().map(|parameter| memory(parameter, names::average)).collect();
    let file = TensorFile::read(file)?;
    file.check(&weights, &[Dtype::F16, Dtype::BF16])?;
    file.write_into(session, &weights)?;
    file.write_into(session, &averages)?;
    Ok(())
}

/// Reads weights as [`load_weights`] for other puzzles: the puzzle table of the file may have any number of rows, and
/// each row of the session becomes their mean.
///
/// # Errors
///
/// As [`load_weights`].
pub fn load_weights_for_other_puzzles(
    session: &mut Session,
    parameters: &[Parameter],
    file: &WeightsFile,
) -> Result<(), CheckpointError> {
    let rows = puzzle_rows(&file.path)?;
    let stored = |parameter: &Parameter| {
        let is_table = parameter.role == Role::PuzzleTable;
        let mut shape = parameter.shape.clone();
        if is_table {
            shape[0] = rows;
        }
        let memory = Some(names::parameter(&parameter.name)).filter(|_| !is_table);
        Stored { name: parameter.name.clone(), memory, ty: TensorType::f32(&shape), rows_of: None }
    };
    let weights: Vec<Stored> = parameters.iter().map(stored).collect();
    let file = TensorFile::read(file)?;
    file.check(&weights, &[Dtype::F16, Dtype::BF16])?;
    file.write_into(session, &weights)?;
    let mean = mean_of_puzzles(&file);
    let table = session.f32_mut(&names::parameter(PUZZLE_TABLE))?;
    table.chunks_exact_mut(mean.len()).for_each(|row| row.copy_from_slice(&mean));
    Ok(())
}
