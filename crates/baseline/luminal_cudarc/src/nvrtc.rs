//! Kernels from text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

pub use cudarc::nvrtc::CompileOptions;
use cudarc::nvrtc::Ptx;

use crate::provided;

/// A line that luminal_cuda puts before every kernel; only those in half precision need it.
const HALF_HEADER: &str = "#include \"cuda_fp16.h\"";

/// Why a kernel does not compile.
#[derive(Clone, PartialEq, Eq)]
pub struct CompileError(
    /// What the compiler says.
    pub String,
);

impl fmt::Display for CompileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// luminal_cuda panics with this.
impl fmt::Debug for CompileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a kernel does not compile: {self}")
    }
}

impl std::error::Error for CompileError {}

static COMPILED: Mutex<Option<BTreeMap<String, String>>> = Mutex::new(None);

/// Compiles the text of a kernel.
///
/// The options name an architecture and a folder of headers that luminal_cuda has fixed; the compiler that was
/// [provided](crate::provide) knows the right one, and headers are not needed.
///
/// # Errors
///
/// Returns what the compiler says if it does not accept the text.
pub fn compile_ptx_with_opts(text: impl AsRef<str>, _: CompileOptions) -> Result<Ptx, CompileError> {
    let mut text = text.as_ref().to_string();
    if !text.contains("__half") {
        text = text.replace(HALF_HEADER, "");
    }
    let mut compiled = COMPILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let compiled = compiled.get_or_insert_default();
    if let Some(ptx) = compiled.get(&text) {
        return Ok(Ptx::from_src(ptx));
    }
    let ptx = (provided().compile)(&text).map_err(CompileError)?;
    compiled.insert(text, ptx.clone());
    Ok(Ptx::from_src(ptx))
}
