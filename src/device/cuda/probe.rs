//! Finds the CUDA driver, its devices, and the libraries that compile kernels and multiply matrices.
//!
//! The probe only asks questions: it makes no context and takes no memory. A library that was loaded stays loaded,
//! because a CUDA driver cannot be unloaded safely.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;
use std::mem;
use std::path::PathBuf;

use libloading::Library;

/// The oldest CUDA version that a driver has to support.
pub const OLDEST_DRIVER: Version = Version { major: 12, minor: 0 };

/// Names of the driver's library, in the order in which they are tried.
const DRIVER: &[&str] = &["libcuda.so.1", "libcuda.so"];
/// Names of NVRTC, the library that compiles kernels.
const NVRTC: &[&str] = &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
/// Names of cuBLAS, the library that multiplies matrices.
const CUBLAS: &[&str] = &["libcublas.so.13", "libcublas.so.12", "libcublas.so"];
/// The usual folder of a toolkit.
const TOOLKIT: &str = "/usr/local/cuda";

/// Attribute numbers of the driver's interface.
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

/// The parts of CUDA on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The driver.
    pub driver: Driver,
    /// The compiler of kernels, NVRTC.
    pub nvrtc: Loadable,
    /// The library that multiplies matrices, cuBLAS.
    pub cublas: Loadable,
}

/// State of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// The system's loader finds no library of the driver.
    Missing {
        /// Names that were tried.
        looked: Vec<String>,
    },
    /// The driver was loaded, but does not work.
    Broken {
        /// Its error.
        reason: String,
    },
    /// The driver supports only versions below [`OLDEST_DRIVER`].
    TooOld {
        /// Its version.
        version: Version,
    },
    /// The driver works, but finds no GPU.
    NoDevice {
        /// Its version.
        version: Version,
    },
    /// The driver works.
    Ready {
        /// The CUDA version that it supports.
        version: Version,
        /// Its devices, at least one.
        devices: Vec<CudaDevice>,
    },
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaDevice {
    /// Name that the driver gives it.
    pub name: String,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Its compute capability.
    pub capability: Version,
}

/// A library that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loadable {
    /// It was loaded.
    Found {
        /// Name or path under which it was loaded.
        from: String,
        /// Its version.
        version: Version,
    },
    /// It was loaded, but lacks a function that hrmc calls, or reports an error.
    Broken {
        /// Name or path under which it was loaded.
        from: String,
        /// The missing function, or the error.
        reason: String,
    },
    /// It was not found.
    Missing {
        /// Names and paths that were tried.
        looked: Vec<String>,
    },
}

/// A version, or a compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the point.
    pub major: i32,
    /// After the point.
    pub minor: i32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Driver {
    /// Returns why this driver cannot run programs; `None` if it can.
    pub fn problem(&self) -> Option<String> {
        match self {
            Driver::Missing { looked } => {
                Some(format!("the NVIDIA driver was not found; looked for {}", list(looked)))
            }
            Driver::Broken { reason } => Some(format!("the driver does not work: {reason}")),
            Driver::TooOld { version } => Some(format!(
                "the driver is too old: it supports CUDA {version}, and {OLDEST_DRIVER} or later is needed"
            )),
            Driver::NoDevice { version } => Some(format!("the driver, for CUDA {version}, finds no GPU")),
            Driver::Ready { .. } => None,
        }
    }
}

impl Found {
    /// Returns why CUDA cannot run programs here; `None` if it can.
    pub fn problem(&self) -> Option<String> {
        let library = |name: &str, library: &Loadable| match library {
            Loadable::Found { .. } => None,
            Loadable::Broken { from, reason } => Some(format!("{name}, `{from}`, does not work: {reason}")),
            Loadable::Missing { looked } => {
                Some(format!("{name} was not found; looked for {}", list(looked)))
            }
        };
        let driver = self.driver.problem();
        driver.or_else(|| library("NVRTC", &self.nvrtc)).or_else(|| library("cuBLAS", &self.cublas))
    }
}

/// Returns names between backticks.
pub fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Looks for all parts of CUDA: with the system's loader, in the given toolkits, and in the usual one.
pub fn probe(toolkits: &[PathBuf]) -> Found {
    let folders = toolkit_folders(toolkits);
    let library =
        |names: &[&str], version: fn(&Library) -> Result<Version, String>| match load(names, &folders) {
            Err(looked) => Loadable::Missing { looked },
            Ok((library, from)) => {
                let asked = version(&library);
                mem::forget(library);
                match asked {
                    Ok(version) => Loadable::Found { from, version },
                    Err(reason) => Loadable::Broken { from, reason },
                }
            }
        };
    Found {
        driver: probe_driver(),
        nvrtc: library(NVRTC, nvrtc_version),
        cublas: library(CUBLAS, cublas_version),
    }
}

/// Returns the folders with the libraries of toolkits.
fn toolkit_folders(toolkits: &[PathBuf]) -> Vec<PathBuf> {
    let usual = PathBuf::from(TOOLKIT);
    toolkits.iter().chain([&usual]).map(|toolkit| toolkit.join("lib64")).collect()
}

/// Loads NVRTC; returns the names and paths that were tried if it was not found.
pub(super) fn load_nvrtc(toolkits: &[PathBuf]) -> Result<Library, Vec<String>> {
    load(NVRTC, &toolkit_folders(toolkits)).map(|(library, _)| library)
}

/// Loads cuBLAS.
///
/// # Errors
///
/// Returns the names and paths that were tried if it was not found.
pub fn load_cublas(toolkits: &[PathBuf]) -> Result<Library, Vec<String>> {
    load(CUBLAS, &toolkit_folders(toolkits)).map(|(library, _)| library)
}

/// Loads the first library that is found: by the system's loader under each name, then from each folder. Returns the
/// names and paths that were tried if there is none.
fn load(names: &[&str], folders: &[PathBuf]) -> Result<(Library, String), Vec<String>> {
    let mut tried = Vec::new();
    let in_folders = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    for candidate in names.iter().map(PathBuf::from).chain(in_folders) {
        let shown = candidate.display().to_string();
        // SAFETY: the libraries of CUDA may be loaded at any time; their initialisers have no demands.
        match unsafe { Library::new(&candidate) } {
            Ok(library) => return Ok((library, shown)),
            Err(_) => tried.push(shown),
        }
    }
    Err(tried)
}

/// Calls the function `$name` of a library, which has these types of arguments; yields its status.
macro_rules! call {
    ($library:expr, $name:literal, ($($ty:ty),*), $($argument:expr),*) => {
        // SAFETY: the type is that of the function in CUDA 12 and 13, and pointers are to values that live long enough.
        match unsafe { $library.get::<unsafe extern "C" fn($($ty),*) -> c_int>(concat!($name, "\0").as_bytes()) } {
            // SAFETY: as above.
            Ok(function) => Ok(unsafe { function($($argument),*) }),
            Err(_) => Err(format!("it has no function `{}`", $name)),
        }
    };
}

pub(super) fn nvrtc_version(library: &Library) -> Result<Version, String> {
    let (mut major, mut minor) = (0, 0);
    let status = call!(library, "nvrtcVersion", (*mut c_int, *mut c_int), &mut major, &mut minor)?;
    succeeded("nvrtcVersion", status)?;
    Ok(Version { major, minor })
}

fn cublas_version(library: &Library) -> Result<Version, String> {
    let mut parts = [0; 2];
    for (property, part) in parts.iter_mut().enumerate() {
        let status = call!(library, "cublasGetProperty", (c_int, *mut c_int), property as c_int, part)?;
        succeeded("cublasGetProperty", status)?;
    }
    Ok(Version { major: parts[0], minor: parts[1] })
}

fn succeeded(function: &str, status: c_int) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(format!("`{function}` gives the error {status}")) }
}

fn probe_driver() -> Driver {
    match load(DRIVER, &[]) {
        Err(looked) => Driver::Missing { looked },
        Ok((library, _)) => {
            let driver = ask_driver(&library).unwrap_or_else(|reason| Driver::Broken { reason });
            mem::forget(library);
            driver
        }
    }
}

/// Status of a driver that finds no GPU.
const NO_DEVICE: c_int = 100;

fn ask_driver(library: &Library) -> Result<Driver, String> {
    let check = |function: &str, status: c_int| {
        succeeded(function, status).map_err(|error| match explain(library, status) {
            Some(meaning) => format!("{error}, {meaning}"),
            None => error,
        })
    };
    let mut number = 0;
    check("cuDriverGetVersion", call!(library, "cuDriverGetVersion", (*mut c_int), &mut number)?)?;
    let version = Version { major: number / 1000, minor: number % 1000 / 10 };
    if version < OLDEST_DRIVER {
        return Ok(Driver::TooOld { version });
    }
    let status = call!(library, "cuInit", (c_uint), 0)?;
    if status == NO_DEVICE {
        return Ok(Driver::NoDevice { version });
    }
    check("cuInit", status)?;
    let mut count = 0;
    check("cuDeviceGetCount", call!(library, "cuDeviceGetCount", (*mut c_int), &mut count)?)?;
    if count < 1 {
        return Ok(Driver::NoDevice { version });
    }
    let mut devices = Vec::new();
    for ordinal in 0..count {
        let mut device = 0;
        check("cuDeviceGet", call!(library, "cuDeviceGet", (*mut c_int, c_int), &mut device, ordinal)?)?;
        let mut name = [0 as c_char; 256];
        let length = name.len() as c_int - 1;
        let status = call!(
            library,
            "cuDeviceGetName",
            (*mut c_char, c_int, c_int),
            name.as_mut_ptr(),
            length,
            device
        )?;
        check("cuDeviceGetName", status)?;
        let mut memory = 0_usize;
        let status = call!(library, "cuDeviceTotalMem_v2", (*mut usize, c_int), &mut memory, device)?;
        check("cuDeviceTotalMem_v2", status)?;
        let attribute = |number: c_int| {
            let mut value = 0;
            let status = call!(
                library,
                "cuDeviceGetAttribute",
                (*mut c_int, c_int, c_int),
                &mut value,
                number,
                device
            )?;
            check("cuDeviceGetAttribute", status).map(|()| value)
        };
        devices.push(CudaDevice {
            // SAFETY: the last byte was zero and is not written, so the text ends inside the array.
            name: unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned(),
            memory_bytes: memory as u64,
            capability: Version { major: attribute(CAPABILITY_MAJOR)?, minor: attribute(CAPABILITY_MINOR)? },
        });
    }
    Ok(Driver::Ready { version, devices })
}

/// Returns the driver's explanation of a status, if it has one.
fn explain(library: &Library, status: c_int) -> Option<String> {
    let mut text: *const c_char = std::ptr::null();
    let found = call!(library, "cuGetErrorString", (c_int, *mut *const c_char), status, &mut text).ok()?;
    if found != 0 || text.is_null() {
        return None;
    }
    // SAFETY: on success the driver stores a pointer to a constant text.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
