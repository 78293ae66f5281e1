//! Safe owners of what the driver and cuBLAS allocate: memory, modules, recorded graphs, events.
//!
//! All work is on one stream of the first device. The context is that of the process, and each thread makes it current
//! before it calls the driver ([`OpenCard::bind`]). A value frees what it owns when it is dropped. Errors of freeing
//! are not reported: a device that has failed reports its error at every later call.

use std::ffi::{CString, c_void};
use std::fmt::Display;
use std::sync::Arc;

use cudarc::cublas::{result as blas, sys as blas_sys};
use cudarc::driver::{DriverError, result, sys};

use super::launch::{Element, MAX_BLOCKS, Product, ProductKind};
use super::probe::{Found, Version, probe};
use crate::device::{DeviceError, Places};

/// Bytes of cuBLAS's workspace, as NVIDIA advises for its largest cards.
const WORKSPACE: usize = 32 << 20;

/// Index of the device that is used; the variable CUDA_VISIBLE_DEVICES decides which device comes first.
const FIRST: i32 = 0;

/// An address in the memory of a device.
pub(super) type Pointer = sys::CUdeviceptr;

/// A device, its context and its stream.
pub(super) struct OpenCard {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// Compute capability.
    pub(super) capability: Version,
}

// SAFETY: the driver may be called from any thread; a card is used by one at a time, or for giving memory back.
unsafe impl Send for OpenCard {}
// SAFETY: as above.
unsafe impl Sync for OpenCard {}

/// Turns an error of the driver into one that names the activity, as in `loading a kernel`.
fn at<T>(what: impl Display, result: Result<T, DriverError>) -> Result<T, DeviceError> {
    result.map_err(|error| {
        let name = error.error_name().map(|name| name.to_string_lossy().into_owned());
        let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
        let reason = match (name, text) {
            (Ok(name), Ok(text)) => format!("{name}, {text}"),
            _ => format!("error {}", error.0 as u32),
        };
        DeviceError::Device { what: what.to_string(), reason }
    })
}

fn at_blas<T>(what: &str, result: Result<T, blas::CublasError>) -> Result<T, DeviceError> {
    result.map_err(|error| DeviceError::Device { what: what.to_string(), reason: format!("{:?}", error.0) })
}

impl OpenCard {
    /// Opens the first device, after a probe has found it and all libraries.
    pub(super) fn open(places: &Places) -> Result<Arc<OpenCard>, DeviceError> {
        let found = probe(places);
        if let Some(reason) = Found::problem(&found) {
            return Err(DeviceError::NoCuda { reason });
        }
        at("starting the driver", result::init())?;
        let device = at("opening the device", result::device::get(FIRST))?;
        let attribute = |attribute| {
            // SAFETY: the device was given by the driver.
            at("asking the device for its compute capability", unsafe {
                result::device::get_attribute(device, attribute)
            })
        };
        let capability = Version {
            major: attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        };
        // SAFETY: as above; the context is given back when the card is dropped.
        let context = at("opening the device", unsafe { result::primary_ctx::retain(device) })?;
        let mut card = OpenCard { device, context, stream: std::ptr::null_mut(), capability };
        card.bind()?;
        card.stream =
            at("creating a stream", result::stream::create(result::stream::StreamKind::NonBlocking))?;
        Ok(Arc::new(card))
    }

    /// Makes the context current in this thread.
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained as long as the card is there.
        at("making the device current", unsafe { result::ctx::set_current(self.context) })
    }

    /// Waits until all work is done, and returns the error of that work, if there was one.
    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: the stream exists.
        at("running a program", unsafe { result::stream::synchronize(self.stream) })
    }

    /// Allocates memory whose content is arbitrary.
    pub(super) fn allocate(
        self: &Arc<OpenCard>,
        bytes: usize,
        what: &str,
    ) -> Result<DeviceMemory, DeviceError> {
        let bytes = bytes.max(1);
        // SAFETY: the memory is given back once, when it is dropped.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(start) => Ok(DeviceMemory { card: Arc::clone(self), start, bytes }),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                Err(DeviceError::OutOfMemory { bytes, what: format!("{what} on the GPU") })
            }
            Err(error) => at(format!("allocating memory for {what}"), Err(error)),
        }
    }

    /// Allocates pinned host memory, through which copies go.
    pub(super) fn allocate_staging(
        self: &Arc<OpenCard>,
        bytes: usize,
        what: &str,
    ) -> Result<Staging, DeviceError> {
        // SAFETY: the memory is given back once, when it is dropped.
        match unsafe { result::malloc_host(bytes.max(1), 0) } {
            Ok(start) => Ok(Staging { card: Arc::clone(self), start: start.cast(), bytes }),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(DeviceError::OutOfMemory {
                bytes,
                what: format!("{what} in memory that the GPU can read"),
            }),
            Err(error) => at(format!("allocating memory for {what}"), Err(error)),
        }
    }

    /// Copies words to the device after all work that was started before, and waits.
    ///
    /// The copy is on our stream. The driver's synchronous copy is on another stream and may return before the words
    /// have arrived, and our stream would not wait for them.
    pub(super) fn write(&self, to: Pointer, words: &[u32]) -> Result<(), DeviceError> {
        // SAFETY: callers give places inside of memory that is at least as long, and the words live until the wait.
        at("copying to the device", unsafe { result::memcpy_htod_async(to, words, self.stream) })?;
        self.synchronize()
    }

    /// Copies words from the device after all work that was started before, and waits.
    pub(super) fn read(&self, words: &mut [u32], from: Pointer) -> Result<(), DeviceError> {
        // SAFETY: callers give places inside of memory that is at least as long, and the words live until the wait.
        at("copying from the device", unsafe { result::memcpy_dtoh_async(words, from, self.stream) })?;
        self.synchronize()
    }

    /// Starts a copy of a part of staging memory to the device. The part must not change before the next wait.
    pub(super) fn begin_write(
        &self,
        to: Pointer,
        from: &Staging,
        start: usize,
        words: usize,
    ) -> Result<(), DeviceError> {
        let source = &from.words()[start..start + words];
        // SAFETY: the target is inside of memory that is long enough, and the source lives until the next wait.
        at("copying to the device", unsafe { result::memcpy_htod_async(to, source, self.stream) })
    }

    /// Starts a copy from the device to the beginning of staging memory, which has the content after the next wait.
    pub(super) fn begin_read(
        &self,
        to: &mut Staging,
        from: Pointer,
        words: usize,
    ) -> Result<(), DeviceError> {
        // SAFETY: the source is inside of memory that is long enough, and the target lives until the next wait.
        at("copying from the device", unsafe {
            result::memcpy_dtoh_async(&mut to.words_mut()[..words], from, self.stream)
        })
    }

    /// Loads compiled kernels: an image for this device, or portable assembly that ends with zero.
    pub(super) fn load(self: &Arc<OpenCard>, image: &[u8], what: &str) -> Result<Module, DeviceError> {
        // SAFETY: the image is whole: it comes from the compiler, or from a file whose hash was checked.
        let module = unsafe { result::module::load_data(image.as_ptr().cast::<c_void>()) };
        Ok(Module { card: Arc::clone(self), module: at(format!("loading {what}"), module)? })
    }

    /// Starts a launch. The kernel declares its shared memory, and reads of each argument as many bytes as it declares,
    /// at most eight.
    pub(super) fn launch(
        &self,
        function: Function,
        blocks: u64,
        threads: [u32; 2],
        arguments: &mut [u64],
        what: &str,
    ) -> Result<(), DeviceError> {
        let refused = || DeviceError::Device {
            what: format!("launching `{what}`"),
            reason: "the launch has more blocks than a device accepts; use a smaller batch".to_string(),
        };
        let blocks = u32::try_from(blocks)
            .ok()
            .filter(|&blocks| u64::from(blocks) <= MAX_BLOCKS)
            .ok_or_else(refused)?;
        let mut pointers: Vec<*mut c_void> =
            arguments.iter_mut().map(|argument| std::ptr::from_mut(argument).cast()).collect();
        // SAFETY: the arguments are as many and of the kinds that the kernel takes, which `Program` has checked, and
        // pointers among them lead to memory that outlives the work.
        at(format!("launching `{what}`"), unsafe {
            let grid = (blocks, 1, 1);
            let block = (threads[0], threads[1], 1);
            result::launch_kernel(function.0, grid, block, 0, self.stream, &mut pointers)
        })
    }

    /// Records the work that `work` starts, without doing it.
    pub(super) fn record(
        self: &Arc<OpenCard>,
        work: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Recorded, DeviceError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream exists and records nothing yet.
        at("recording a program", unsafe { result::stream::begin_capture(self.stream, mode) })?;
        let worked = work();
        // SAFETY: recording was begun above and has to end whatever happened.
        let graph = at("recording a program", unsafe { result::stream::end_capture(self.stream) });
        worked?;
        let graph = graph?;
        // SAFETY: the graph was just recorded, and is no longer needed once it is made executable.
        let executable = unsafe {
            let made = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            made
        };
        Ok(Recorded { card: Arc::clone(self), graph: at("recording a program", executable)? })
    }

    /// Starts the recorded work.
    pub(super) fn replay(&self, recorded: &Recorded) -> Result<(), DeviceError> {
        // SAFETY: both exist; what the recorded work reads and writes is owned by whoever owns the recording.
        at("launching a recorded program", unsafe { result::graph::launch(recorded.graph, self.stream) })
    }

    /// Creates an event, whose time the device can record.
    pub(super) fn event(self: &Arc<OpenCard>) -> Result<DeviceEvent, DeviceError> {
        let event = at("measuring time", result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
        Ok(DeviceEvent { card: Arc::clone(self), event })
    }

    /// Has the device record the time when it reaches this place in its work.
    pub(super) fn note(&self, event: &DeviceEvent) -> Result<(), DeviceError> {
        // SAFETY: both exist.
        at("measuring time", unsafe { result::event::record(event.event, self.stream) })
    }
}

impl Drop for OpenCard {
    fn drop(&mut self) {
        // SAFETY: both were made in `open` and are not used again; all that was allocated keeps the card alive.
        unsafe {
            if self.bind().is_ok() && !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// Memory of the device.
pub(super) struct DeviceMemory {
    card: Arc<OpenCard>,
    start: Pointer,
    bytes: usize,
}

impl DeviceMemory {
    pub(super) fn start(&self) -> Pointer {
        self.start
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // Work that was begun may still use it.
        if self.card.bind().is_ok() && self.card.synchronize().is_ok() {
            // SAFETY: it was allocated in `allocate`, and whoever holds its start has given it up.
            let _ = unsafe { result::free_sync(self.start) };
        }
    }
}

/// Pinned host memory, which the device copies from and to by itself.
pub(super) struct Staging {
    card: Arc<OpenCard>,
    start: *mut u32,
    bytes: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for Staging {}

impl Staging {
    pub(super) fn words(&self) -> &[u32] {
        // SAFETY: the memory is as long and aligned to pages; a borrow keeps others from writing, and copies to it
        // have ended when anybody reads.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes / 4) }
    }

    pub(super) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as above, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes / 4) }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.card.bind().is_ok() && self.card.synchronize().is_ok() {
            // SAFETY: it was allocated in `allocate_staging`, and no copy is under way.
            let _ = unsafe { result::free_host(self.start.cast()) };
        }
    }
}

/// Kernels on the device.
pub(super) struct Module {
    card: Arc<OpenCard>,
    module: sys::CUmodule,
}

// SAFETY: modules may be used from any thread.
unsafe impl Send for Module {}

/// A kernel of a module; valid as long as that is.
#[derive(Clone, Copy)]
pub(super) struct Function(sys::CUfunction);

// SAFETY: functions may be used from any thread.
unsafe impl Send for Function {}

impl Module {
    /// Finds a kernel.
    pub(super) fn function(&self, name: &str) -> Result<Function, DeviceError> {
        let text = CString::new(name).expect("names of kernels have no zero");
        // SAFETY: the module is loaded.
        let function = unsafe { result::module::get_function(self.module, text) };
        at(format!("finding `{name}`"), function).map(Function)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.card.bind().is_ok() {
            // SAFETY: it was loaded in `load`; its functions are not used again.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

/// Recorded work, which one launch starts.
pub(super) struct Recorded {
    card: Arc<OpenCard>,
    graph: sys::CUgraphExec,
}

// SAFETY: recorded work may be begun from any thread.
unsafe impl Send for Recorded {}

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.card.bind().is_ok() && self.card.synchronize().is_ok() {
            // SAFETY: it was made in `record` and is not under way.
            let _ = unsafe { result::graph::exec_destroy(self.graph) };
        }
    }
}

/// A time on the device.
pub(super) struct DeviceEvent {
    card: Arc<OpenCard>,
    event: sys::CUevent,
}

impl DeviceEvent {
    /// Returns the seconds between two events, whose times the device has recorded.
    pub(super) fn seconds_to(&self, later: &DeviceEvent) -> Result<f64, DeviceError> {
        type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;
        // `cudarc` calls a second version of it, which drivers before CUDA 12.8 do not have, and panics without it.
        // SAFETY: the driver is loaded, and the function has this type in every version.
        let elapsed = unsafe { sys::culib().get::<Elapsed>(b"cuEventElapsedTime\0") };
        let elapsed = elapsed.map_err(|_| DeviceError::Device {
            what: "measuring time".to_string(),
            reason: "the driver has no function `cuEventElapsedTime`".to_string(),
        })?;
        let mut milliseconds = 0.0;
        // SAFETY: both events exist, and the number lives on.
        at("measuring time", unsafe { elapsed(&mut milliseconds, self.event, later.event) }.result())?;
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

impl Drop for DeviceEvent {
    fn drop(&mut self) {
        if self.card.bind().is_ok() {
            // SAFETY: it was made in `event`.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}

/// cuBLAS with its workspace.
pub(super) struct Blas {
    handle: blas_sys::cublasHandle_t,
    workspace: DeviceMemory,
}

// SAFETY: a handle may be used from any thread, by one at a time.
unsafe impl Send for Blas {}

impl Blas {
    /// Opens cuBLAS on the stream of a card.
    pub(super) fn open(card: &Arc<OpenCard>) -> Result<Blas, DeviceError> {
        let workspace = card.allocate(WORKSPACE, "products")?;
        let blas = Blas { handle: at_blas("opening cuBLAS", blas::create_handle())?, workspace };
        // SAFETY: the handle and the stream exist, and the workspace lives as long as the handle.
        unsafe {
            at_blas("opening cuBLAS", blas::set_stream(blas.handle, card.stream.cast()))?;
            let start = blas.workspace.start() as *mut c_void;
            at_blas(
                "opening cuBLAS",
                blas_sys::cublasSetWorkspace_v2(blas.handle, start, WORKSPACE).result(),
            )?;
            // Otherwise cuBLAS may add parts of a sum in bf16 if the result is in bf16. TF32 is off in either mode.
            let exact = blas_sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
            at_blas("opening cuBLAS", blas_sys::cublasSetMathMode(blas.handle, exact).result())?;
        }
        Ok(blas)
    }

    /// Starts a matrix product of factors at the given addresses.
    pub(super) fn product(
        &self,
        product: &Product,
        a: Pointer,
        b: Pointer,
        out: Pointer,
    ) -> Result<(), DeviceError> {
        use blas_sys::cublasOperation_t::{CUBLAS_OP_N as PLAIN, CUBLAS_OP_T as TURNED};
        let Product { rows, columns, terms, .. } = *product;
        let too_large = |_| DeviceError::Device {
            what: "multiplying matrices".to_string(),
            reason: "the product has more rows or columns than cuBLAS can count; use a smaller batch"
                .to_string(),
        };
        let [m, n, k] = [columns, rows, terms].map(i32::try_from);
        let (m, n, k) = (m.map_err(too_large)?, n.map_err(too_large)?, k.map_err(too_large)?);
        // cuBLAS stores matrices by columns, so it sees each of ours transposed. It therefore computes the transposed
        // product, from the transposed factors in reverse order.
        let (left, left_leading, right, right_leading) = match product.kind {
            ProductKind::Nt => (TURNED, k, PLAIN, k),
            ProductKind::Nn => (PLAIN, m, PLAIN, k),
            ProductKind::Tn => (PLAIN, m, TURNED, n),
        };
        let (alpha, beta) = (1.0_f32, 0.0_f32);
        let number = |number: &f32| std::ptr::from_ref(number).cast::<c_void>();
        // SAFETY: the matrices have the sizes of the plan, inside of memory that outlives the work.
        at_blas("multiplying matrices", unsafe {
            blas::gemm_ex(
                self.handle,
                left,
                right,
                m,
                n,
                k,
                number(&alpha),
                b as *const c_void,
                data_type(product.factors),
                left_leading,
                a as *const c_void,
                data_type(product.factors),
                right_leading,
                number(&beta),
                out as *mut c_void,
                data_type(product.result),
                m,
                blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        })
    }

    /// Returns the bytes of its workspace.
    pub(super) fn bytes(&self) -> usize {
        self.workspace.bytes()
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        if self.workspace.card.bind().is_ok() && self.workspace.card.synchronize().is_ok() {
            // SAFETY: it was made in `open` and has no work under way.
            let _ = unsafe { blas::destroy_handle(self.handle) };
        }
    }
}

fn data_type(element: Element) -> blas_sys::cudaDataType {
    match element {
        Element::F32 => blas_sys::cudaDataType::CUDA_R_32F,
        Element::Bf16 => blas_sys::cudaDataType::CUDA_R_16BF,
        Element::I32 => unreachable!("products are of floating-point numbers"),
    }
}
