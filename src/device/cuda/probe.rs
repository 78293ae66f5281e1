//! Finds the CUDA driver, its devices, and the libraries that compile kernels and multiply matrices.
//!
//! Only functions that ask are called: no context is made and no memory is taken. A library that was loaded stays
//! loaded, since a driver does not like to be unloaded.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;
use std::mem;
use std::path::PathBuf;

use libloading::Library;

/// The oldest CUDA version of a driver that hrmc is meant for, as the driver counts: 12.0.
pub const OLDEST_DRIVER: Version = Version { major: 12, minor: 0 };

/// Names of the driver's library, the best first.
const DRIVER: &[&str] = &["libcuda.so.1", "libcuda.so"];
/// Names of the library that compiles kernels.
const NVRTC: &[&str] = &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
/// Names of the library of products.
const CUBLAS: &[&str] = &["libcublas.so.13", "libcublas.so.12", "libcublas.so"];
/// Where a toolkit usually is.
const TOOLKIT: &str = "/usr/local/cuda";

/// Attribute numbers of the driver's interface.
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

/// What a machine offers of CUDA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The driver.
    pub driver: Driver,
    /// The compiler of kernels, NVRTC.
    pub nvrtc: Loadable,
    /// The library of products, cuBLAS.
    pub cublas: Loadable,
}

/// State of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// No library of the driver can be loaded.
    Missing {
        /// What was tried.
        looked: Vec<String>,
    },
    /// It is there, and does not work.
    Broken {
        /// What it said.
        reason: String,
    },
    /// It works only up to a version below [`OLDEST_DRIVER`].
    TooOld {
        /// Its version.
        version: Version,
    },
    /// It works and sees no device.
    NoDevice {
        /// Its version.
        version: Version,
    },
    /// It works.
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
    /// What the driver calls it.
    pub name: String,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Its compute capability.
    pub capability: Version,
}

/// A library that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loadable {
    /// It was loaded.
    Found {
        /// Name or path under which it was loaded.
        from: String,
        /// Its version.
        version: Version,
    },
    /// It was loaded, and lacks what hrmc would call.
    Broken {
        /// Name or path under which it was loaded.
        from: String,
        /// What it lacks or said.
        reason: String,
    },
    /// It is not there.
    Missing {
        /// What was tried.
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
    /// Returns why nothing can run with this driver; `None` if something can.
    pub fn problem(&self) -> Option<String> {
        match self {
            Driver::Missing { looked } => {
                Some(format!("no driver: the system's loader knows none of {}", list(looked)))
            }
            Driver::Broken { reason } => Some(format!("the driver does not work: {reason}")),
            Driver::TooOld { version } => Some(format!(
                "the driver is too old: it supports CUDA {version}, and {OLDEST_DRIVER} or later is needed"
            )),
            Driver::NoDevice { version } => {
                Some(format!("no device: the driver, for CUDA {version}, sees none"))
            }
            Driver::Ready { .. } => None,
        }
    }
}

impl Found {
    /// Returns why no program can run here; `None` if one can.
    pub fn problem(&self) -> Option<String> {
        let library = |name: &str, library: &Loadable| match library {
            Loadable::Found { .. } => None,
            Loadable::Broken { from, reason } => Some(format!("{name}, `{from}`, does not work: {reason}")),
            Loadable::Missing { looked } => Some(format!("no {name}: there is none of {}", list(looked))),
        };
        let driver = self.driver.problem();
        driver.or_else(|| library("NVRTC", &self.nvrtc)).or_else(|| library("cuBLAS", &self.cublas))
    }
}

/// Returns names between backticks.
pub fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Asks the machine what it has, with the folders of toolkits that are known besides the usual one.
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

/// Loads NVRTC; returns all that was tried if it is not there.
pub(super) fn load_nvrtc(toolkits: &[PathBuf]) -> Result<Library, Vec<String>> {
    load(NVRTC, &toolkit_folders(toolkits)).map(|(library, _)| library)
}

/// Loads cuBLAS.
///
/// # Errors
///
/// Returns the names and paths that were tried if it is not there.
pub fn load_cublas(toolkits: &[PathBuf]) -> Result<Library, Vec<String>> {
    load(CUBLAS, &toolkit_folders(toolkits)).map(|(library, _)| library)
}

/// Loads the first library there is: by the system's rules under each name, then from each folder. Returns all that
/// was tried if there is none.
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

/// Calls `$name($arguments)` of a library, where a function of this type has to be; yields its status.
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

/// Status of a driver that sees no device.
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

/// Returns the driver's words for a status, if it has some.
fn explain(library: &Library, status: c_int) -> Option<String> {
    let mut text: *const c_char = std::ptr::null();
    let found = call!(library, "cuGetErrorString", (c_int, *mut *const c_char), status, &mut text).ok()?;
    if found != 0 || text.is_null() {
        return None;
    }
    // SAFETY: on success the driver stores a pointer to a constant text.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
