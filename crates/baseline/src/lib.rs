//! The baseline that hrmc's CUDA kernels are compared with: the same graphs, compiled by luminal_cuda.
//!
//! hrmc builds a graph of its own operators, and can decompose each of them into primitives of luminal. The device
//! `reference` interprets these primitives. [`LuminalCuda`] gives them to luminal_cuda, luminal's own compiler for
//! NVIDIA GPUs: one kernel and one allocation for each primitive that it does not fuse, all in f32. What hrmc's device
//! `cuda` gains is measured against this, and both have to compute the same.
//!
//! The binary `hrmc-baseline` is the command line of hrmc with this device added to its list.
//!
//! * [`door`] is the only code that calls luminal_cuda: programs, tensors, copies, and panics turned into errors.
//! * [`faults`] changes graphs so that luminal_cuda's compiler does not come to what it gets wrong.
//! * The device, in `device.rs`, keeps track of which memory is newer on the host and which on the GPU.
//!
//! luminal_cuda is built on a crate, luminal_cudarc, that needs a CUDA toolkit. The crate of this name beside this one
//! stands in for it: it loads the driver when it is called, and is given the NVRTC and the cuBLAS that hrmc has found.
//! hrmc is to be built and published without that patch, which is why this package is a workspace of its own.

mod device;
pub mod door;
pub mod faults;

pub use device::LuminalCuda;
