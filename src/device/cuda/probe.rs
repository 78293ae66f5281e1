//! Finds the CUDA driver, its devices, and the libraries that compile kernels and multiply matrices.
//!
//! The probe only asks questions: it makes no context and takes no memory. A library that was loaded stays loaded,
//! because a CUDA driver cannot be unloaded safely.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};

use libloading::Library;
use serde::Serialize;

use crate::device::Places;

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
    /// The value of CUDA_VISIBLE_DEVICES, by which the driver hides devices; absent where it is not set.
    pub visible_devices: Option<String>,
}

/// State of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// The system's loader finds no library of the driver, or refuses it.
    NotLoaded(NotLoaded),
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
    /// It was not found, or the system's loader refuses it.
    NotLoaded(NotLoaded),
}

/// Why a library was not loaded. Displays as `not found; looked for …`, or as the words of the loader about each file
/// that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotLoaded {
    /// Names and paths that were tried.
    pub looked: Vec<String>,
    /// The files that are there, but cannot be loaded.
    pub refused: Vec<UnloadableFile>,
}

/// A library that is there, but cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnloadableFile {
    /// Its path, or the name under which the system's loader found it.
    pub from: String,
    /// Why, in the words of the loader.
    pub reason: String,
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refused.is_empty() {
            return write!(f, "not found; looked for {}", list(&self.looked));
        }
        for (index, UnloadableFile { from, reason }) in self.refused.iter().enumerate() {
            write!(f, "{}`{from}` cannot be loaded: {reason}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl NotLoaded {
    /// Returns the same as a sentence about `library`.
    pub fn about(&self, library: &str) -> String {
        if self.refused.is_empty() { format!("{library} was {self}") } else { format!("{library}: {self}") }
    }

    /// Adds what the loader says about a name or a path that it could not load.
    fn add(&mut self, tried: &Path, said: &str) {
        let shown = tried.display().to_string();
        // The loader begins with the file that it means, which is another one where that one is needed.
        let (from, reason) = match said.split_once(": ") {
            Some((file, reason)) if Path::new(file).ends_with(tried) => (file, reason),
            _ => (shown.as_str(), said),
        };
        let is_absent = from == shown && reason.starts_with("cannot open") && reason.contains("No such file");
        // CUDA is a matter of Linux. Other systems word this otherwise, and do not have it.
        if !is_absent && cfg!(target_os = "linux") {
            // The system's loader may find by its name what is tried again by its path.
            self.refused.retain(|other| !(other.reason == reason && Path::new(from).ends_with(&other.from)));
            self.refused.push(UnloadableFile { from: from.to_string(), reason: reason.to_string() });
        }
        self.looked.push(shown);
    }
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
            Driver::NotLoaded(why) => Some(why.about("the NVIDIA driver")),
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
    /// Returns why the driver cannot run programs, and what may hide its devices; `None` if it can.
    pub fn driver_problem(&self) -> Option<String> {
        let problem = self.driver.problem()?;
        let hiding = match (&self.driver, &self.visible_devices) {
            (Driver::NoDevice { .. }, Some(value)) if value.is_empty() => {
                "; CUDA_VISIBLE_DEVICES is set and empty, which may hide them"
            }
            (Driver::NoDevice { .. }, Some(value)) => {
                &format!("; CUDA_VISIBLE_DEVICES is set to `{value}`, which may hide them")
            }
            _ => "",
        };
        Some(problem + hiding)
    }

    /// Returns why CUDA cannot run programs here; `None` if it can.
    pub fn problem(&self) -> Option<String> {
        let library = |name: &str, library: &Loadable| match library {
            Loadable::Found { .. } => None,
            Loadable::Broken { from, reason } => Some(format!("{name}, `{from}`, does not work: {reason}")),
            Loadable::NotLoaded(why) => Some(why.about(name)),
        };
        self.driver_problem()
            .or_else(|| library("NVRTC", &self.nvrtc))
            .or_else(|| library("cuBLAS", &self.cublas))
    }
}

/// Returns names between backticks.
pub fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Looks for all parts of CUDA: with the system's loader, in the given toolkits, and in the usual one.
pub fn probe(places: &Places) -> Found {
    let folders = toolkit_folders(&places.toolkits);
    let library =
        |names: &[&str], version: fn(&Library) -> Result<Version, String>| match load(names, &folders) {
            Err(why) => Loadable::NotLoaded(why),
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
        visible_devices: places.visible_devices.clone(),
    }
}

/// Returns the folders with the libraries of toolkits.
fn toolkit_folders(toolkits: &[PathBuf]) -> Vec<PathBuf> {
    let usual = PathBuf::from(TOOLKIT);
    toolkits.iter().chain([&usual]).map(|toolkit| toolkit.join("lib64")).collect()
}

/// Loads NVRTC.
pub(super) fn load_nvrtc(toolkits: &[PathBuf]) -> Result<Library, NotLoaded> {
    load(NVRTC, &toolkit_folders(toolkits)).map(|(library, _)| library)
}

/// Loads cuBLAS.
///
/// # Errors
///
/// Returns why it was not loaded.
pub fn load_cublas(toolkits: &[PathBuf]) -> Result<Library, NotLoaded> {
    load(CUBLAS, &toolkit_folders(toolkits)).map(|(library, _)| library)
}

/// Loads the first library that can be: by the system's loader under each name, then from each folder.
fn load(names: &[&str], folders: &[PathBuf]) -> Result<(Library, String), NotLoaded> {
    let mut why = NotLoaded { looked: Vec::new(), refused: Vec::new() };
    let in_folders = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    for candidate in names.iter().map(PathBuf::from).chain(in_folders) {
        // SAFETY: the libraries of CUDA may be loaded at any time; their initialisers have no demands.
        match unsafe { Library::new(&candidate) } {
            Ok(library) => return Ok((library, candidate.display().to_string())),
            Err(error) => why.add(&candidate, &error.to_string()),
        }
    }
    Err(why)
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
        Err(why) => Driver::NotLoaded(why),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::NotLoaded;

    /// Returns what is said of names and paths, each with the words of the loader.
    fn said(tried: &[(&str, &str)]) -> String {
        let mut why = NotLoaded { looked: Vec::new(), refused: Vec::new() };
        tried.iter().for_each(|(tried, said)| why.add(Path::new(tried), said));
        why.about("cuBLAS")
    }

    const ABSENT: &str = "cannot open shared object file: No such file or directory";

    #[test]
    fn a_library_is_not_found_only_where_there_is_no_file() {
        let absent = [
            ("libc.so.13", &*format!("libc.so.13: {ABSENT}")),
            ("/t/libc.so", &*format!("/t/libc.so: {ABSENT}")),
        ];
        assert_eq!(said(&absent), "cuBLAS was not found; looked for `libc.so.13`, `/t/libc.so`");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_there_is_named_once_with_the_words_of_the_loader() {
        let needs = format!("libdep.so.1: {ABSENT}");
        let tried = [
            ("libc.so.13", &*format!("libc.so.13: {ABSENT}")),
            ("libc.so", &*needs),
            ("/t/libc.so", &*needs),
        ];
        assert_eq!(said(&tried), format!("cuBLAS: `/t/libc.so` cannot be loaded: libdep.so.1: {ABSENT}"));
        let damaged = "/t/libc.so: invalid ELF header";
        let tried =
            [("libc.so", damaged), ("/t/libc.so", damaged), ("/u/libc.so", "/u/libc.so: file too short")];
        assert_eq!(
            said(&tried),
            "cuBLAS: `/t/libc.so` cannot be loaded: invalid ELF header; `/u/libc.so` cannot be loaded: file too short"
        );
    }
}
