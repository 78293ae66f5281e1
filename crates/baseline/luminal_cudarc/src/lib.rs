//! Stands in for the crate of this name that luminal_cuda 0.2.0 is built on.
//!
//! That one wants the libraries of a CUDA toolkit when it is built and when the program starts. This one has the same
//! driver interface from `cudarc`, which loads the driver at the first call, and is given the other two things
//! once, by [`provide`]: a compiler of kernels and the library of products. So it also works with the libraries of
//! CUDA 13, knows the device's own architecture, and needs no headers.
//!
//! Two things differ from the original, and both only save time and memory: the text of a kernel is compiled once per
//! process, and products share one handle of cuBLAS, where luminal_cuda would make one, with a workspace of
//! megabytes, for each product.

pub mod cublas;
pub mod nvrtc;

use std::sync::OnceLock;

use libloading::Library;

pub use cudarc::{driver, types};

/// Compiles the text of kernels to portable assembly.
pub type Compile = Box<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// What luminal_cuda needs besides the driver.
pub struct Provided {
    /// The compiler of kernels.
    pub compile: Compile,
    /// cuBLAS.
    pub cublas: Library,
}

static PROVIDED: OnceLock<Provided> = OnceLock::new();

/// Gives luminal_cuda what it needs besides the driver. Only the first call of a process has an effect.
pub fn provide(provided: Provided) {
    // An error returns what came too late; the first is as good.
    let _ = PROVIDED.set(provided);
}

fn provided() -> &'static Provided {
    PROVIDED.get().expect("`provide` was called before luminal_cuda is used")
}
