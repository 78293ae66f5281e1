//! Checkpoints: folders with everything that a run needs to continue.
//!
//! ```text
//! weights.safetensors   the weights in training, under the names of the published state dict
//! average.safetensors   only with `ema`: the same with the moving averages, ready for use elsewhere
//! state.safetensors     moments, carry and the rows in the slots, under their names in a session
//! state.json            [`TrainerState`]: steps, random streams, loader
//! ```
//!
//! The bytes depend on the state of the training alone: no clock, no path, no order of a hash map.
//!
//! [`save`] writes a checkpoint to a folder beside its place (`last.new` for `last`), flushes it to the disk, and only
//! then renames it. Until that is done, the old checkpoint waits as `last.old`; if a crash leaves only that folder,
//! it is the checkpoint. An interrupted or failed save therefore never costs the old checkpoint.

#![expect(clippy::disallowed_methods, reason = "checkpoints are written and read")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::data::LoaderState;
use crate::device::{DeviceError, Session};
use crate::graph::{DType, TensorType};
use crate::hash::sha256;
use crate::ir::{self, Model};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::{PUZZLE_TABLE, Parameter, Role};
use crate::system;

/// File of the weights in training.
pub const WEIGHTS: &str = "weights.safetensors";
/// File of the moving averages.
pub const AVERAGE: &str = "average.safetensors";
/// File of the tensors that only training needs.
pub const STATE_TENSORS: &str = "state.safetensors";
/// File of everything that is not a tensor. It is written last.
pub const STATE: &str = "state.json";

/// Version of the format. It grows whenever an older hrmc could not read a checkpoint.
const FORMAT: u32 = 1;

/// The header of a safetensors file is padded to a multiple of this.
const HEADER_ALIGNMENT: usize = 8;

/// The error of reading or writing a checkpoint or a file of weights.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no checkpoint.
    #[error("there is no checkpoint in `{folder}`")]
    Absent {
        /// The folder that was looked in.
        folder: PathBuf,
    },
    /// A file that cannot be read.
    #[error("cannot read `{file}`: {}", system::reason(reason))]
    Read {
        /// The file.
        file: PathBuf,
        /// The error, in the words of the system.
        reason: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error(
        "cannot save the checkpoint: `{file}`: {}; an earlier checkpoint is still there, unchanged",
        system::reason(reason)
    )]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// The error, in the words of the system.
        reason: io::Error,
    },
    /// A file that cannot be parsed, or whose parts contradict each other.
    #[error("`{file}` is damaged: {reason}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that is missing, unexpected, or of another type or shape.
    #[error("`{file}`: tensor `{tensor}` {reason}")]
    Tensor {
        /// The file.
        file: PathBuf,
        /// Name of the tensor in the file.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// The device failed; an earlier checkpoint is still there, unchanged.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A checkpoint of another model, seed, dataset or format.
    #[error("cannot continue from `{folder}`: {reason}")]
    Unfit {
        /// The checkpoint.
        folder: PathBuf,
        /// How it differs.
        reason: String,
    },
}

impl CheckpointError {
    /// Returns the error for the checkpoint in `folder`, which does not belong to this training.
    pub fn unfit(folder: &Path, reason: String) -> Self {
        CheckpointError::Unfit { folder: folder.to_owned(), reason }
    }

    fn damaged(file: &Path, reason: impl ToString) -> Self {
        CheckpointError::Damaged { file: file.to_owned(), reason: reason.to_string() }
    }

    fn tensor(file: &Path, tensor: &str, reason: impl Into<String>) -> Self {
        CheckpointError::Tensor { file: file.to_owned(), tensor: tensor.to_owned(), reason: reason.into() }
    }
}

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

/// Only the first key of `state.json`, so that hrmc recognises other formats.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// A tensor of a file.
struct Stored {
    /// Name in the file.
    name: String,
    /// Name in the session; `None` for a tensor that is checked but not used.
    memory: Option<String>,
    ty: TensorType,
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
        has.then(|| Stored { name: parameter.name.clone(), memory: Some(memory), ty: parameter.ty() })
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
    };
    session.names().filter(|(name, _)| wanted.contains(*name)).map(stored).collect()
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

/// Saves a checkpoint in `folder`, in place of the one that is there.
///
/// # Errors
///
/// Returns an error if a file cannot be written. The old checkpoint is then still there.
pub fn save(
    folder: &Path,
    session: &Session,
    model: &Model,
    parameters: &[Parameter],
    state: &TrainerState,
) -> Result<(), CheckpointError> {
    // Memory of a device is fetched first: if that fails, nothing on the disk has changed.
    for (_, tensors) in tensor_files(session, model, parameters) {
        for stored in &tensors {
            values_of(session, stored)?;
        }
    }
    let [new, old] = [beside(folder, ".new"), beside(folder, ".old")];
    settle(folder, &old)?;
    let written = write_folder(&new, session, model, parameters, state);
    if written.is_err() {
        // The partial folder is useless, and it may be what fills the disk. Only the first error is reported.
        let _ = fs::remove_dir_all(&new);
    }
    written?;
    if folder.exists() {
        change(&old, fs::rename(folder, &old))?;
    }
    change(folder, fs::rename(&new, folder))?;
    change(folder, sync_folder(parent(folder)))?;
    change(&old, remove_folder(&old))
}

/// Finishes an interrupted save: puts the old checkpoint back if there is no newer one.
fn settle(folder: &Path, old: &Path) -> Result<(), CheckpointError> {
    if folder.exists() {
        change(old, remove_folder(old))
    } else if old.exists() {
        change(folder, fs::rename(old, folder))
    } else {
        Ok(())
    }
}

fn write_folder(
    folder: &Path,
    session: &Session,
    model: &Model,
    parameters: &[Parameter],
    state: &TrainerState,
) -> Result<(), CheckpointError> {
    change(folder, remove_folder(folder))?;
    change(folder, fs::create_dir_all(folder))?;
    for (name, tensors) in tensor_files(session, model, parameters) {
        let file = folder.join(name);
        change(&file, write_tensors(&file, session, &tensors))?;
    }
    let state = StateFile { format: FORMAT, model: model_hash(model), trainer: state.clone() };
    let mut json = serde_json::to_string_pretty(&state).expect("the state is plain data");
    json.push('\n');
    let file = folder.join(STATE);
    change(&file, write_synced(&file, |writer| writer.write_all(json.as_bytes())))?;
    change(folder, sync_folder(folder))
}

fn change<T>(file: &Path, result: io::Result<T>) -> Result<T, CheckpointError> {
    result.map_err(|reason| CheckpointError::Write { file: file.to_owned(), reason })
}

fn write_tensors(file: &Path, session: &Session, tensors: &[Stored]) -> io::Result<()> {
    let mut end = 0;
    let infos = tensors.iter().map(|stored| {
        let start = end;
        end += stored.ty.bytes();
        let info = TensorInfo {
            dtype: stored_dtype(stored.ty.dtype),
            shape: stored.ty.shape.clone(),
            data_offsets: (start, end),
        };
        (stored.name.clone(), info)
    });
    let metadata = Metadata::new(None, infos.collect()).expect("the tensors follow each other");
    let mut header = serde_json::to_string(&metadata).expect("the header is plain data");
    let padded = header.len().next_multiple_of(HEADER_ALIGNMENT);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    write_synced(file, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(header.as_bytes())?;
        for stored in tensors {
            match values_of(session, stored).map_err(io::Error::other)? {
                Content::F32(values) => {
                    values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))?;
                }
                Content::I32(values) => {
                    values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))?;
                }
            }
        }
        Ok(())
    })
}

/// Writes a file and waits until it is on the disk.
fn write_synced(file: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    /// Bytes in one call of the system.
    const BUFFER: usize = 1 << 20;
    let mut writer = BufWriter::with_capacity(BUFFER, File::create(file)?);
    write(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

/// Content of memory.
enum Content<'a> {
    F32(&'a [f32]),
    I32(&'a [i32]),
}

/// Returns the content of a tensor that is saved.
fn values_of<'a>(session: &'a Session, stored: &Stored) -> Result<Content<'a>, DeviceError> {
    let memory = stored.memory.as_ref().expect("saved tensors have memory");
    Ok(match stored.ty.dtype {
        DType::F32 => Content::F32(session.f32(memory)?),
        DType::I32 => Content::I32(session.i32(memory)?),
    })
}

fn stored_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::I32 => Dtype::I32,
    }
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

fn parent(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Waits until the entries of a folder are on the disk. Only Unix can open a folder for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Returns the folder to read: the checkpoint, or the old one if a crash left only that.
fn present(folder: &Path) -> Result<PathBuf, CheckpointError> {
    let old = beside(folder, ".old");
    [folder, &old]
        .into_iter()
        .find(|candidate| candidate.join(STATE).is_file())
        .map(Path::to_owned)
        .ok_or_else(|| CheckpointError::Absent { folder: folder.to_owned() })
}

/// A checkpoint that was read and found to fit.
pub struct StoredCheckpoint {
    state: TrainerState,
    files: Vec<(TensorFile, Vec<Stored>)>,
}

impl StoredCheckpoint {
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

/// Reads a checkpoint and checks that it fits the session and the model.
///
/// # Errors
///
/// Returns an error if there is no checkpoint, it is damaged, or it belongs to another model.
pub fn read(
    folder: &Path,
    session: &Session,
    model: &Model,
    parameters: &[Parameter],
) -> Result<StoredCheckpoint, CheckpointError> {
    let folder = present(folder)?;
    let state = read_state(&folder)?;
    if state.model != model_hash(model) {
        let reason = format!("it belongs to another model or other training settings than `{}`", model.name);
        return Err(CheckpointError::unfit(&folder, reason));
    }
    let files = tensor_files(session, model, parameters)
        .into_iter()
        .map(|(name, tensors)| {
            let file = TensorFile::read(folder.join(name))?;
            file.check(&tensors, &[])?;
            Ok((file, tensors))
        })
        .collect::<Result<_, CheckpointError>>()?;
    Ok(StoredCheckpoint { state: state.trainer, files })
}

fn read_state(folder: &Path) -> Result<StateFile, CheckpointError> {
    let file = folder.join(STATE);
    let json =
        fs::read_to_string(&file).map_err(|reason| CheckpointError::Read { file: file.clone(), reason })?;
    let FormatOnly { format } =
        serde_json::from_str(&json).map_err(|error| CheckpointError::damaged(&file, error))?;
    if format != FORMAT {
        let reason = format!("it has format {format}, but this hrmc reads format {FORMAT}");
        return Err(CheckpointError::unfit(folder, reason));
    }
    serde_json::from_str(&json).map_err(|error| CheckpointError::damaged(&file, error))
}

/// Returns the trainer's state in the `state.json` of a checkpoint.
///
/// # Errors
///
/// Returns an error if there is no checkpoint, or its state cannot be read.
pub fn trainer_state(folder: &Path) -> Result<TrainerState, CheckpointError> {
    Ok(read_state(&present(folder)?)?.trainer)
}

/// Returns the file of the weights to use a checkpoint with: the moving averages if it has them, else the
/// weights in training.
///
/// # Errors
///
/// Returns an error if there is no checkpoint.
pub fn weights_to_use(folder: &Path) -> Result<PathBuf, CheckpointError> {
    let folder = present(folder)?;
    let average = folder.join(AVERAGE);
    Ok(if average.is_file() { average } else { folder.join(WEIGHTS) })
}

/// Reads weights from a safetensors file with the names of the published state dict.
///
/// F16 and BF16 tensors are widened. Moving averages begin equal to the weights. The session changes only if every
/// tensor fits.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or a tensor is missing, unexpected or of another shape.
pub fn load_weights(
    session: &mut Session,
    parameters: &[Parameter],
    file: &Path,
) -> Result<(), CheckpointError> {
    let memory = |parameter: &Parameter, name: fn(&str) -> String| Stored {
        name: parameter.name.clone(),
        memory: Some(name(&parameter.name)).filter(|name| session.has(name)),
        ty: parameter.ty(),
    };
    let weights: Vec<Stored> =
        parameters.iter().map(|parameter| memory(parameter, names::parameter)).collect();
    let averages: Vec<Stored> =
        parameters.iter().map(|parameter| memory(parameter, names::average)).collect();
    let file = TensorFile::read(file.to_owned())?;
    file.check(&weights, &[Dtype::F16, Dtype::BF16])?;
    file.write_into(session, &weights)?;
    file.write_into(session, &averages)?;
    Ok(())
}

/// Bytes before the header of a safetensors file: its length.
const LENGTH_BYTES: u64 = 8;

/// Longest header of a safetensors file that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Returns the rows of the puzzle table in a file of weights; 1 if it has none.
///
/// Only the header is read. The weights are read and checked later, with the model.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or its header is damaged.
pub fn puzzle_rows(weights: &Path) -> Result<usize, CheckpointError> {
    let header =
        read_header(weights).map_err(|reason| CheckpointError::Read { file: weights.to_owned(), reason })?;
    let header: serde_json::Value = serde_json::from_slice(&header)
        .map_err(|_| CheckpointError::damaged(weights, "its header cannot be read"))?;
    let rows = header[PUZZLE_TABLE]["shape"][0].as_u64();
    Ok(rows.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(1).max(1))
}

/// Reads the header of a safetensors file, which says where the tensors are: a length in eight bytes, then JSON.
fn read_header(weights: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(weights)?;
    let mut length = Vec::new();
    Read::by_ref(&mut file).take(LENGTH_BYTES).read_to_end(&mut length)?;
    let mut header = Vec::new();
    if let Ok(length) = length.try_into().map(u64::from_le_bytes) {
        file.take(length.min(MAX_HEADER)).read_to_end(&mut header)?;
    }
    Ok(header)
}

/// A safetensors file in memory.
struct TensorFile {
    file: PathBuf,
    bytes: Vec<u8>,
}

impl TensorFile {
    fn read(file: PathBuf) -> Result<Self, CheckpointError> {
        match fs::read(&file) {
            Ok(bytes) => Ok(TensorFile { file, bytes }),
            Err(reason) => Err(CheckpointError::Read { file, reason }),
        }
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, CheckpointError> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| {
            CheckpointError::damaged(&self.file, format!("it is not a whole safetensors file ({error})"))
        })
    }

    /// Checks that the file has exactly the `wanted` tensors, of their own types or one of the `other` types.
    fn check(&self, wanted: &[Stored], other: &[Dtype]) -> Result<(), CheckpointError> {
        let tensors = self.tensors()?;
        for stored in wanted {
            let fault = |reason: String| CheckpointError::tensor(&self.file, &stored.name, reason);
            let view = tensors.tensor(&stored.name).map_err(|_| fault("is missing".to_owned()))?;
            let dtype = stored_dtype(stored.ty.dtype);
            if view.dtype() != dtype && !other.contains(&view.dtype()) {
                let known: Vec<String> =
                    [dtype].iter().chain(other).map(|dtype| format!("{dtype}")).collect();
                return Err(fault(format!("has type {}; expected {}", view.dtype(), known.join(" or "))));
            }
            if view.shape() != stored.ty.shape {
                let reason = format!("has shape {:?}; expected {:?}", view.shape(), stored.ty.shape);
                return Err(fault(reason));
            }
        }
        let known: BTreeSet<&str> = wanted.iter().map(|stored| stored.name.as_str()).collect();
        let found: BTreeSet<&str> = tensors.names().into_iter().collect();
        match found.difference(&known).next() {
            None => Ok(()),
            Some(name) => Err(CheckpointError::tensor(&self.file, name, "does not belong to the model")),
        }
    }

    /// Copies the tensors of a file that was checked into the session.
    fn write_into(&self, session: &mut Session, tensors: &[Stored]) -> Result<(), DeviceError> {
        let views = self.tensors().expect("the file was checked");
        for stored in tensors {
            let Some(memory) = &stored.memory else { continue };
            let view = views.tensor(&stored.name).expect("the file was checked");
            match stored.ty.dtype {
                DType::F32 => fill_f32(session.f32_mut(memory)?, &view),
                DType::I32 => fill(session.i32_mut(memory)?, view.data(), i32::from_le_bytes),
            }
        }
        Ok(())
    }
}

fn fill_f32(target: &mut [f32], view: &TensorView<'_>) {
    match view.dtype() {
        Dtype::F32 => fill(target, view.data(), f32::from_le_bytes),
        Dtype::F16 => fill(target, view.data(), |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => fill(target, view.data(), |bytes| bf16::from_le_bytes(bytes).to_f32()),
        other => unreachable!("a checked tensor is never {other}"),
    }
}

fn fill<T, const N: usize>(target: &mut [T], bytes: &[u8], convert: impl Fn([u8; N]) -> T) {
    for (value, bytes) in target.iter_mut().zip(bytes.chunks_exact(N)) {
        *value = convert(bytes.try_into().expect("the chunks have this size"));
    }
}
