//! The emulated CUDA driver: libraries for programs that call CUDA, where there is no GPU (tier T0).
//!
//! One shared library, built from `fake_cuda/`, stands in for the driver, NVRTC and cuBLAS. `fake_cuda/driver.cpp` says
//! what it does, and which variables make it fail or report.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::{fs, process};

/// What the library and the kernels it compiles are made from.
const SOURCES: &[&str] = &[
    "cuda_fp16.h",
    "cuda_on_host.h",
    "fake_cuda/compiler.cpp",
    "fake_cuda/driver.cpp",
    "fake_cuda/fake_cuda.h",
    "fake_cuda/products.cpp",
];

/// Names under which CUDA's libraries are looked for.
const NAMES: &[&str] = &["libcuda.so.1", "libnvrtc.so.12", "libcublas.so.12"];

/// Returns the folder with the libraries, which a process has to be given as `LD_LIBRARY_PATH`; `None`, after saying
/// that T0 did not run, where there is no C++ compiler.
pub fn libraries() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(build).clone()
}

fn build() -> Option<PathBuf> {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulator");
    let cache = env!("CARGO_TARGET_TMPDIR");
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    for source in SOURCES {
        fs::read(format!("{sources}/{source}")).expect("the sources are checked in").hash(&mut hasher);
    }
    let hash = format!("{:016x}", hasher.finish());
    let folder = PathBuf::from(cache).join(format!("fake-cuda-{hash}"));
    if folder.exists() {
        return Some(folder);
    }
    // Tests run beside each other: each makes its own folder, and whoever comes second finds the first one's.
    let own = folder.with_extension(process::id().to_string());
    fs::create_dir_all(&own).expect("the folder for tests can be written");
    let library = own.join("libfake_cuda.so");
    let compiler = Command::new("g++")
        .args(["-std=c++17", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"])
        .arg(format!("-DFAKE_CUDA_HEADERS=\"{sources}\""))
        .arg(format!("-DFAKE_CUDA_CACHE=\"{cache}\""))
        .arg(format!("-DFAKE_CUDA_HASH=\"{hash}\""))
        .arg("-o")
        .arg(&library)
        .args(["driver", "compiler", "products"].map(|part| format!("{sources}/fake_cuda/{part}.cpp")))
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
    if fs::rename(&own, &folder).is_err() {
        fs::remove_dir_all(&own).expect("the folder for tests can be written");
        assert!(folder.exists(), "the folder for tests can be written");
    }
    Some(folder)
}
