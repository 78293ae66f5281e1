//! Compiles kernels with NVRTC, which needs no device.
//!
//! The architecture is a real one, so that the compiler also assembles, and reports the registers and the shared memory
//! of each kernel.

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::ptr;

use libloading::Library;

use super::kernels::{Family, Kernel, source};
use super::probe::{NotLoaded, Version, load_nvrtc, nvrtc_version};

/// NVRTC, loaded.
pub struct Compiler {
    nvrtc: ManuallyDrop<Library>,
}

/// What the text of a family becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledFamily {
    /// Portable assembly.
    pub ptx: String,
    /// What a device of the architecture loads; portable assembly that ends with zero if it is that of no device.
    pub image: Vec<u8>,
    /// What each kernel takes, sorted by name.
    pub usage: Vec<Usage>,
}

/// What one kernel takes of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Usage {
    /// Name of the kernel.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
    /// Bytes of registers that are kept in memory for want of registers.
    pub spilled_bytes: u32,
}

type ProgramHandle = *mut c_void;

/// How architectures are called that are none of a device.
const PORTABLE: &str = "compute_";

/// Returns the architecture to compile for: that of the device, or, where the compiler is older than the device, the
/// newest portable one that it knows. `capability` is that of the device, `known` the architectures of the compiler.
pub fn architecture_for(capability: Version, known: &[c_int]) -> String {
    let own = 10 * capability.major + capability.minor;
    match known.iter().filter(|&&other| other <= own).max() {
        Some(&newest) if !known.contains(&own) => format!("{PORTABLE}{newest}"),
        _ => format!("sm_{own}"),
    }
}

impl Compiler {
    /// Loads NVRTC, which may be in a folder of `toolkits`.
    ///
    /// # Errors
    ///
    /// Returns why it was not loaded.
    pub fn load(toolkits: &[PathBuf]) -> Result<Compiler, NotLoaded> {
        // A library of CUDA is never unloaded.
        load_nvrtc(toolkits).map(|library| Compiler { nvrtc: ManuallyDrop::new(library) })
    }

    /// Returns the version of the compiler.
    pub fn version(&self) -> String {
        nvrtc_version(&self.nvrtc).map_or_else(|problem| problem, |version| version.to_string())
    }

    /// Returns the architectures that the compiler knows, as numbers like 90; none where it does not tell.
    pub fn architectures(&self) -> Vec<c_int> {
        let count = self.function::<unsafe extern "C" fn(*mut c_int) -> c_int>("nvrtcGetNumSupportedArchs");
        let list = self.function::<unsafe extern "C" fn(*mut c_int) -> c_int>("nvrtcGetSupportedArchs");
        let (Ok(count), Ok(list)) = (count, list) else { return Vec::new() };
        let mut number = 0;
        // SAFETY: the function stores one number.
        if unsafe { count(&mut number) } != 0 {
            return Vec::new();
        }
        let mut known = vec![0; usize::try_from(number).unwrap_or(0)];
        // SAFETY: the function stores as many numbers as the other one says.
        if unsafe { list(known.as_mut_ptr()) } != 0 {
            return Vec::new();
        }
        known
    }

    /// Compiles a family with those of `kernels` that it has, for an architecture like `sm_90`.
    ///
    /// # Errors
    ///
    /// Returns what the compiler says if it does not accept the text.
    pub fn compile(
        &self,
        family: Family,
        kernels: &[Kernel],
        architecture: &str,
    ) -> Result<CompiledFamily, String> {
        self.compile_text(family.file(), &source(family, kernels), architecture)
    }

    /// Compiles any text for an architecture like `sm_90`; the compiler calls it `file`.
    ///
    /// # Errors
    ///
    /// Returns what the compiler says if it does not accept the text.
    pub fn compile_text(&self, file: &str, text: &str, architecture: &str) -> Result<CompiledFamily, String> {
        let text = CString::new(text).expect("kernels have no zero");
        let name = CString::new(file).expect("a file name has no zero");
        let mut program: ProgramHandle = ptr::null_mut();
        type Create = unsafe extern "C" fn(
            *mut ProgramHandle,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        let create = self.function::<Create>("nvrtcCreateProgram")?;
        // SAFETY: the texts end with zero and live on; there are no headers.
        let status =
            unsafe { create(&mut program, text.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null()) };
        if status != 0 {
            return Err(format!("`nvrtcCreateProgram` gives the error {status}"));
        }
        let compiled = self.compile_program(program, architecture);
        let destroy =
            self.function::<unsafe extern "C" fn(*mut ProgramHandle) -> c_int>("nvrtcDestroyProgram")?;
        // SAFETY: the program was created above and is not used again.
        unsafe { destroy(&mut program) };
        compiled
    }

    fn compile_program(&self, program: ProgramHandle, architecture: &str) -> Result<CompiledFamily, String> {
        // Families share functions of which none uses all; 177 is the warning about that.
        let options = ["--std=c++17", "--ptxas-options=--verbose", "--diag-suppress=177"].map(str::to_string);
        let options: Vec<CString> = options
            .into_iter()
            .chain([format!("--gpu-architecture={architecture}")])
            .map(|option| CString::new(option).expect("options have no zero"))
            .collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        type Compile = unsafe extern "C" fn(ProgramHandle, c_int, *const *const c_char) -> c_int;
        let compile = self.function::<Compile>("nvrtcCompileProgram")?;
        // SAFETY: the program exists, and as many options as said live on.
        let status = unsafe { compile(program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = self.text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
        if status != 0 {
            return Err(log.trim().to_string());
        }
        let ptx = self.text(program, "nvrtcGetPTXSize", "nvrtcGetPTX")?;
        // What is compiled for no device in particular is assembled by the driver.
        let image = if architecture.starts_with(PORTABLE) {
            [ptx.as_bytes(), &[0]].concat()
        } else {
            self.bytes(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")?
        };
        Ok(CompiledFamily { ptx, image, usage: usage(&log) })
    }

    fn function<T: Copy>(&self, name: &str) -> Result<T, String> {
        // SAFETY: `T` is the type of this function in NVRTC 12 and 13, and the library stays loaded.
        let found = unsafe { self.nvrtc.get::<T>(format!("{name}\0").as_bytes()) };
        found.map(|symbol| *symbol).map_err(|_| format!("NVRTC has no function `{name}`"))
    }

    /// Returns a text of a program, by the functions for its size, the zero at its end included, and for itself.
    fn text(&self, program: ProgramHandle, size_function: &str, function: &str) -> Result<String, String> {
        let mut bytes = self.bytes(program, size_function, function)?;
        bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns a part of a program, by the functions for its size and for itself.
    fn bytes(&self, program: ProgramHandle, size_function: &str, function: &str) -> Result<Vec<u8>, String> {
        let size_of =
            self.function::<unsafe extern "C" fn(ProgramHandle, *mut usize) -> c_int>(size_function)?;
        let copy = self.function::<unsafe extern "C" fn(ProgramHandle, *mut c_char) -> c_int>(function)?;
        let mut size = 0;
        // SAFETY: the program exists.
        let status = unsafe { size_of(program, &mut size) };
        let mut bytes = vec![0_u8; size];
        // SAFETY: there are as many bytes as the other function says.
        if status != 0 || unsafe { copy(program, bytes.as_mut_ptr().cast()) } != 0 {
            return Err(format!("`{function}` gives an error"));
        }
        Ok(bytes)
    }
}

/// Reads what the assembler says about each kernel.
fn usage(log: &str) -> Vec<Usage> {
    let mut all: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let kernel = rest.split('\'').next().unwrap_or_default().to_string();
            all.push(Usage { kernel, registers: 0, shared_bytes: 0, spilled_bytes: 0 });
        } else if let Some(last) = all.last_mut() {
            let before = |unit: &str| -> Option<u32> {
                line.split(unit)
                    .next()
                    .filter(|text| text.len() < line.len())?
                    .split_whitespace()
                    .last()?
                    .parse()
                    .ok()
            };
            last.registers = before(" registers").unwrap_or(last.registers);
            last.shared_bytes = before(" bytes smem").unwrap_or(last.shared_bytes);
            let spilled =
                before(" bytes spill stores").unwrap_or(0) + before(" bytes spill loads").unwrap_or(0);
            last.spilled_bytes += spilled;
        }
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::{Usage, Version, architecture_for, usage};

    #[test]
    fn a_compiler_older_than_the_device_leaves_the_rest_to_the_driver() {
        let device = |major, minor| Version { major, minor };
        let known = [80, 86, 89, 90];
        assert_eq!(architecture_for(device(8, 6), &known), "sm_86");
        assert_eq!(architecture_for(device(10, 0), &known), "compute_90");
        assert_eq!(architecture_for(device(12, 0), &known), "compute_90");
        assert_eq!(architecture_for(device(8, 7), &known), "compute_86");
        // What is older than all that is known, or if nothing is known, is for the compiler to refuse.
        assert_eq!(architecture_for(device(5, 0), &known), "sm_50");
        assert_eq!(architecture_for(device(9, 0), &[]), "sm_90");
    }

    #[test]
    fn the_words_of_the_assembler_are_read() {
        let log = "\
ptxas info    : 24 bytes gmem
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
ptxas         .     48 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 5280 bytes smem
ptxas info    : Compile time = 1.2 ms
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 26 registers, used 0 barriers
";
        let one = |kernel: &str, registers, shared_bytes, spilled_bytes| Usage {
            kernel: kernel.to_string(),
            registers,
            shared_bytes,
            spilled_bytes,
        };
        assert_eq!(usage(log), [one("first", 26, 0, 0), one("second", 255, 5280, 28)]);
    }
}
