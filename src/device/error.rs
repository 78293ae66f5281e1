//! Why a device does not do what is asked.

/// Why a device does not do what is asked.
///
/// # Examples
///
/// ```
/// use hrmc::{Data, Error, Spec, TrainOptions, Training};
///
/// # let small = ["train.data.train=64", "train.data.test=8"];
/// # let spec = Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = Data::of(&spec, ".".as_ref())?;
/// match Training::new(&spec, data, TrainOptions::default()) {
///     Ok(training) => println!("{} steps to go", training.last_step()),
///     Err(Error::Device(error)) => println!("the device says: {error}"),
///     Err(other) => return Err(other.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The system refused memory.
    #[error("cannot allocate {bytes} bytes for {what}; use a smaller batch or model")]
    OutOfMemory {
        /// Size that was asked for.
        bytes: usize,
        /// What it was for.
        what: String,
    },
    /// There is no CUDA to run on.
    #[error(
        "cannot run on CUDA: {reason}; `hrmc devices` shows what there is, and `--device cpu` works everywhere"
    )]
    NoCuda {
        /// What is missing.
        reason: String,
    },
    /// A device failed.
    #[error("the GPU failed at {what}: {reason}; what was saved before is still there")]
    Device {
        /// What was being done.
        what: String,
        /// What the driver says.
        reason: String,
    },
    /// A kernel was not accepted.
    #[error(
        "cannot compile the kernels of `{file}` for {architecture}: {reason}; this is a fault of hrmc or of NVRTC, \
         and `--device cpu` works everywhere"
    )]
    Kernel {
        /// The file.
        file: String,
        /// What it was compiled for.
        architecture: String,
        /// What the compiler says.
        reason: String,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}; try fewer with `--threads`")]
    Threads {
        /// Threads that were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// A program of a form that the device does not run.
    #[error("the device `{device}` does not run {form}; compile the program for this device")]
    Form {
        /// Name of the device.
        device: &'static str,
        /// The form of the program.
        form: &'static str,
    },
    /// Anything else, in the words of a device.
    #[error("{0}")]
    Other(String),
}
