//! The errors of devices.

/// The error of a device.
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
        /// Size of the request.
        bytes: usize,
        /// Purpose of the memory.
        what: String,
    },
    /// CUDA cannot run on this machine.
    #[error(
        "cannot run on CUDA: {reason}; `hrmc devices` lists what was found, and the device `cpu` works everywhere"
    )]
    NoCuda {
        /// The part that is missing or does not work.
        reason: String,
    },
    /// A device failed.
    #[error("the GPU reported an error while {what}: {reason}")]
    Device {
        /// The activity that failed, as in `running a program`.
        what: String,
        /// The error, in the words of the driver.
        reason: String,
    },
    /// The compiler does not accept a kernel.
    #[error(
        "cannot compile the kernels of `{file}` for {architecture}: {reason}; this is a fault of hrmc or of NVRTC, \
         and the device `cpu` works everywhere"
    )]
    Kernel {
        /// Name of the file.
        file: String,
        /// Architecture that it was compiled for.
        architecture: String,
        /// The messages of the compiler.
        reason: String,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}; use fewer threads")]
    Threads {
        /// Threads that were asked for.
        threads: usize,
        /// The error, in the words of the system.
        reason: String,
    },
    /// The device does not run programs of this form.
    #[error("the device `{device}` does not run {form}; compile the program for this device")]
    Form {
        /// Name of the device.
        device: &'static str,
        /// The form of the program.
        form: &'static str,
    },
    /// Another error, in the words of a device.
    #[error("{0}")]
    Other(String),
}
