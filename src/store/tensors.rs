//! Files of tensors, in the format safetensors.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};

use super::error::CheckpointError;
use super::sums;
use crate::device::{DeviceError, Session};
use crate::graph::{DType, TensorType};
use crate::lower::parameters::PUZZLE_TABLE;
use crate::reading;

/// The header of a safetensors file is padded to a multiple of this.
const HEADER_ALIGNMENT: usize = 8;

/// A file of weights.
#[derive(Debug, Clone)]
pub struct WeightsFile {
    /// Where it is.
    pub path: PathBuf,
    /// Checksum of its bytes, where one is known.
    pub sha256: Option<String>,
}

impl From<&Path> for WeightsFile {
    fn from(path: &Path) -> Self {
        WeightsFile { path: path.to_owned(), sha256: None }
    }
}

/// A tensor of a file.
pub(super) struct Stored {
    /// Name in the file.
    pub(super) name: String,
    /// Name in the session; `None` for a tensor that is checked but not used.
    pub(super) memory: Option<String>,
    pub(super) ty: TensorType,
    /// The table that its values are rows of, if they are.
    pub(super) rows_of: Option<Table>,
}

/// A table whose rows are numbered.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// What messages call it.
    pub(super) name: String,
    pub(super) rows: usize,
    /// A number that stands for none of its rows.
    pub(super) none: Option<i32>,
}

impl Table {
    fn has(&self, row: i32) -> bool {
        usize::try_from(row).is_ok_and(|row| row < self.rows) || self.none == Some(row)
    }
}

/// Writes the tensors of a file, whose content a session has.
pub(super) fn write_tensors(writer: &mut dyn Write, session: &Session, tensors: &[Stored]) -> io::Result<()> {
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
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    for stored in tensors {
        match values_of(session, stored).map_err(io::Error::other)? {
            Content::F32(values) => write_values(writer, values, f32::to_le_bytes)?,
            Content::I32(values) => write_values(writer, values, i32::to_le_bytes)?,
        }
    }
    Ok(())
}

fn write_values<T: Copy>(writer: &mut dyn Write, values: &[T], bytes_of: fn(T) -> [u8; 4]) -> io::Result<()> {
    /// Values that are converted at a time.
    const BLOCK: usize = 1 << 14;
    let mut bytes = Vec::with_capacity(BLOCK * size_of::<[u8; 4]>());
    for block in values.chunks(BLOCK) {
        bytes.clear();
        block.iter().for_each(|&value| bytes.extend_from_slice(&bytes_of(value)));
        writer.write_all(&bytes)?;
    }
    Ok(())
}

/// Content of memory.
pub(super) enum Content<'a> {
    F32(&'a [f32]),
    I32(&'a [i32]),
}

/// Returns the content of a tensor that is saved.
pub(super) fn values_of<'a>(session: &'a Session, stored: &Stored) -> Result<Content<'a>, DeviceError> {
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

/// Returns the rows of the puzzle table in a file of weights; 1 if it has none.
///
/// Only the header is read. The weights are read and checked later, with the model.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or its header is damaged.
pub fn puzzle_rows(weights: &Path) -> Result<usize, CheckpointError> {
    let header = read_header(weights)?;
    // A row without a width takes no room in the file, so that its number means nothing.
    Ok(match header.info(PUZZLE_TABLE).map(|info| &info.shape[..]) {
        Some(&[rows, width]) if width > 0 => rows.max(1),
        _ => 1,
    })
}

/// Reads what a file of tensors says of them, and holds it against the length of the file.
pub(super) fn read_header(file: &Path) -> Result<Metadata, CheckpointError> {
    let (mut reader, length) =
        reading::open(file, &reading::TENSORS).map_err(|reason| CheckpointError::read(file, reason))?;
    reading::tensors::header(&mut reader, length)
        .map_err(|reason| CheckpointError::read(file, reason))?
        .map_err(|reason| {
            CheckpointError::damaged(file, format!("it is not a whole safetensors file: {reason}"))
        })
}

/// Returns the name of the first tensor of a file that is not finite, if there is one.
///
/// # Errors
///
/// Returns an error if the file cannot be read.
pub fn not_finite(file: &Path) -> Result<Option<String>, CheckpointError> {
    let file = TensorFile::read(&file.into())?;
    let tensors = file.tensors()?;
    let found = tensors.iter().find(|(_, view)| first_not_finite(view).is_some());
    Ok(found.map(|(name, _)| name.to_owned()))
}

/// A safetensors file in memory.
pub(super) struct TensorFile {
    file: PathBuf,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file, and checks that its bytes are those that were saved.
    pub(super) fn read(file: &WeightsFile) -> Result<Self, CheckpointError> {
        let bytes = reading::bytes(&file.path, &reading::TENSORS)
            .map_err(|reason| CheckpointError::read(&file.path, reason))?;
        if let Some(sum) = &file.sha256 {
            sums::check(&file.path, &bytes, sum)?;
        }
        Ok(TensorFile::of(&file.path, bytes))
    }

    /// Takes the bytes of a file.
    pub(super) fn of(file: &Path, bytes: Vec<u8>) -> Self {
        TensorFile { file: file.to_owned(), bytes }
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, CheckpointError> {
        reading::tensors::whole(&self.bytes).map_err(|reason| {
            CheckpointError::damaged(&self.file, format!("it is not a whole safetensors file: {reason}"))
        })
    }

    /// Checks that the file has exactly the `wanted` tensors, of their own types or one of the `other` types.
    pub(super) fn check(&self, wanted: &[Stored], other: &[Dtype]) -> Result<(), CheckpointError> {
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
            if let Some(element) = first_not_finite(&view) {
                return Err(fault(format!("is not finite: element {element} is no number")));
            }
            if let Some(table) = &stored.rows_of
                && let Some(row) = i32_values(&view).find(|&row| !table.has(row))
            {
                return Err(fault(format!("has {row}, which is not in {}", table.name)));
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
    pub(super) fn write_into(&self, session: &mut Session, tensors: &[Stored]) -> Result<(), DeviceError> {
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

/// Returns the mean of the rows of the puzzle table in a file of weights that was checked, `[width]`, without the first,
/// that of the blank puzzle, if there are others.
pub(super) fn mean_of_puzzles(file: &TensorFile) -> Vec<f32> {
    let tensors = file.tensors().expect("the file was checked");
    let view = tensors.tensor(PUZZLE_TABLE).expect("the file was checked");
    let width = view.shape()[1];
    let mut values = vec![0.0; view.shape().iter().product()];
    fill_f32(&mut values, &view);
    let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
    let learned = if rows.len() > 1 { &rows[1..] } else { &rows[..] };
    let mean = |column: usize| {
        let sum: f64 = learned.iter().map(|row| f64::from(row[column])).sum();
        (sum / learned.len() as f64) as f32
    };
    (0..width).map(mean).collect()
}

/// Returns the index of the first element of a tensor that is infinite or not a number.
fn first_not_finite(view: &TensorView<'_>) -> Option<usize> {
    fn first<const N: usize>(bytes: &[u8], is_finite: impl Fn([u8; N]) -> bool) -> Option<usize> {
        let mut elements = bytes.chunks_exact(N);
        elements.position(|bytes| !is_finite(bytes.try_into().expect("the chunks have this size")))
    }
    match view.dtype() {
        Dtype::F32 => first(view.data(), |bytes| f32::from_le_bytes(bytes).is_finite()),
        Dtype::F16 => first(view.data(), |bytes| f16::from_le_bytes(bytes).is_finite()),
        Dtype::BF16 => first(view.data(), |bytes| bf16::from_le_bytes(bytes).is_finite()),
        _ => None,
    }
}

fn i32_values(view: &TensorView<'_>) -> impl Iterator<Item = i32> {
    let (values, _) = view.data().as_chunks::<4>();
    values.iter().map(|bytes| i32::from_le_bytes(*bytes))
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
