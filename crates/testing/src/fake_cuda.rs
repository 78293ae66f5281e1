//! The emulated CUDA driver: libraries for programs that call CUDA, where there is no GPU (tier T0).
//!
//! One shared library, built from `fake_cuda/`, stands in for the driver, NVRTC and cuBLAS. `fake_cuda/driver.cpp` says
//! what it does, and which variables make it fail or report.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::{fs, process};

/// Names under which CUDA's libraries are looked for.
const NAMES: &[&str] = &["libcuda.so.1", "libnvrtc.so.12", "libcublas.so.12"];

/// The sources of the libraries.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator");

/// Returns the folder with the libraries, in the folder `cache` and built only if they are not there, which a process
/// has to be given as `LD_LIBRARY_PATH`; `None`, after saying that T0 did not run, where there is no C++ compiler.
pub fn libraries(cache: &str) -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| build(cache)).clone()
}

/// Returns what the library and the kernels that it compiles are made from.
fn all_sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder).expect("the sources are checked in") {
            let path = entry.expect("the folder can be listed").path();
            if path.extension().is_some_and(|extension| extension == "h" || extension == "cpp") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn build(cache: &str) -> Option<PathBuf> {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    for source in all_sources(&[SOURCES, &format!("{SOURCES}/fake_cuda")]) {
        fs::read(source).expect("the sources are checked in").hash(&mut hasher);
    }
    let hash = format!("{:016x}", hasher.finish());
    let folder = PathBuf::from(cache).join(format!("fake-cuda-{hash}"));
    // Tests run beside each other: one builds, and others wait for it.
    let lock = File::create(folder.with_extension("lock")).expect("the folder for tests can be written");
    lock.lock().expect("files can be locked");
    if folder.exists() {
        return Some(folder);
    }
    let own = folder.with_extension(process::id().to_string());
    fs::create_dir_all(&own).expect("the folder for tests can be written");
    let library = own.join("libfake_cuda.so");
    let compiler = Command::new("g++")
        .args(["-std=c++17", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"])
        .arg(format!("-DFAKE_CUDA_HEADERS=\"{SOURCES}\""))
        .arg(format!("-DFAKE_CUDA_CACHE=\"{cache}\""))
        .arg(format!("-DFAKE_CUDA_HASH=\"{hash}\""))
        .arg("-o")
        .arg(&library)
        .args(["driver", "compiler", "products"].map(|part| format!("{SOURCES}/fake_cuda/{part}.cpp")))
        .arg("-ldl")
        .output();
    let Ok(output) = compiler else {
        eprintln!("T0 did not run: there is no C++ compiler `g++` to emulate CUDA with");
        fs::remove_dir_all(&own).expect("the folder for tests can be written");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the emulated driver compiles: {said}");
    for name in NAMES {
        symlink("libfake_cuda.so", own.join(name)).expect("the folder for tests can be written");
    }
    fs::rename(&own, &folder).expect("the folder for tests can be written");
    Some(folder)
}
