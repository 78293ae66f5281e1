//! The emulated CUDA driver itself: that it does what a driver does, and finds what it is there to find.
//!
//! Each test runs again in a process of its own, which is given the emulated libraries.

#[path = "emulator/fake_cuda.rs"]
mod fake_cuda;

use std::collections::BTreeMap;
use std::ffi::{CString, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::{env, fs, ptr};

use cudarc::cublas::{result as cublas, sys as cublas_sys};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdeviceptr, CUfunction, CUresult, CUstream};
use cudarc::nvrtc::result as nvrtc;

/// Set in the process that has the emulated libraries.
const INSIDE: &str = "HRMC_TEST_INSIDE";

/// Calls a function of CUDA.
macro_rules! cuda {
    ($call:expr) => {
        // SAFETY: handles and pointers are those that the driver gave out and live as long as the call says; where a
        // test passes others on purpose, the emulated driver refuses them.
        unsafe { $call }
    };
}

type Counts = BTreeMap<String, u64>;

/// What a process with the emulated libraries left.
struct Outcome {
    code: Option<i32>,
    said: String,
    report: Counts,
    /// Counts at each time the host waited for the device.
    trace: Vec<Counts>,
}

/// Runs the body of a test in a process that has the emulated libraries and these variables. Returns what it left;
/// `None` in that process itself, or if there is no compiler.
fn emulated(test: &str, variables: &[(&str, &str)], body: fn()) -> Option<Outcome> {
    if env::var_os(INSIDE).is_some() {
        body();
        return None;
    }
    let libraries = fake_cuda::libraries()?;
    let folder = tempfile::tempdir().expect("a folder for reports can be made");
    let [report, trace] = ["report", "trace"].map(|name| folder.path().join(name));
    let output = Command::new(env::current_exe().expect("the test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("LD_LIBRARY_PATH", libraries)
        .env("FAKE_CUDA_REPORT", &report)
        .env("FAKE_CUDA_TRACE", &trace)
        .envs(variables.iter().copied())
        .output()
        .expect("the test can be started again");
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("counts are JSON")).collect::<Vec<Counts>>()
    };
    Some(Outcome {
        code: output.status.code(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
        report: lines(&report).pop().unwrap_or_default(),
        trace: lines(&trace),
    })
}

impl Outcome {
    /// Asserts that nothing failed in the process.
    fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}", self.said);
    }

    /// Asserts that the process ended with a message about a kernel.
    fn died(&self, message: &str) {
        assert!(self.said.contains(message), "`{message}` in: {}", self.said);
        assert_eq!(self.code, Some(86), "{}", self.said);
    }
}

/// Makes the context of the only device current, and a stream that does not wait for others.
fn stream() -> CUstream {
    result::init().expect("the driver starts");
    let device = result::device::get(0).expect("there is a device");
    let context = cuda!(result::primary_ctx::retain(device)).expect("it has a context");
    cuda!(result::ctx::set_current(context)).expect("it can be current");
    result::stream::create(result::stream::StreamKind::NonBlocking).expect("a stream can be made")
}

/// Compiles a text for an architecture; returns PTX, or the compiler's log.
fn compile(text: &str, architecture: &str) -> Result<Vec<i8>, String> {
    let text = CString::new(text).expect("texts have no zero");
    let program = nvrtc::create_program(&text, Some(c"test.cu")).expect("programs can be made");
    let option = format!("--gpu-architecture={architecture}");
    if cuda!(nvrtc::compile_program(program, &[option])).is_ok() {
        return Ok(cuda!(nvrtc::get_ptx(program)).expect("what was compiled has PTX"));
    }
    let log = cuda!(nvrtc::get_program_log(program)).expect("what was not compiled has a log");
    Err(log.iter().map(|&byte| byte as u8 as char).collect())
}

fn kernel(text: &str, name: &str) -> CUfunction {
    let ptx = compile(text, "compute_80").expect("the kernel compiles");
    let module = cuda!(result::module::load_data(ptx.as_ptr().cast())).expect("PTX can be loaded");
    let name = CString::new(name).expect("names have no zero");
    cuda!(result::module::get_function(module, name)).expect("the kernel has its name")
}

/// Launches a kernel that takes pointers and then a count.
fn launch(
    kernel: CUfunction,
    blocks: u32,
    threads: u32,
    stream: CUstream,
    pointers: &[CUdeviceptr],
    count: u64,
) -> Result<(), DriverError> {
    let mut values: Vec<u64> = pointers.iter().copied().chain([count]).collect();
    let mut arguments: Vec<*mut c_void> =
        values.iter_mut().map(|value| ptr::from_mut(value).cast()).collect();
    cuda!(result::launch_kernel(kernel, (blocks, 1, 1), (threads, 1, 1), 0, stream, &mut arguments))
}

fn allocate(values: usize) -> CUdeviceptr {
    cuda!(result::malloc_sync(values * size_of::<f32>())).expect("there is memory")
}

fn to_device(values: &[f32]) -> CUdeviceptr {
    let memory = allocate(values.len());
    cuda!(result::memcpy_htod_sync(memory, values)).expect("the memory is there");
    memory
}

fn from_device(memory: CUdeviceptr, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    cuda!(result::memcpy_dtoh_sync(&mut values, memory)).expect("the memory is there");
    values
}

fn synchronize(stream: CUstream) -> Result<(), DriverError> {
    cuda!(result::stream::synchronize(stream))
}

fn pinned(values: usize) -> &'static mut [f32] {
    let start = cuda!(result::malloc_host(values * size_of::<f32>(), 0)).expect("there is memory");
    // SAFETY: the memory is as large, and lives until the end of the process.
    unsafe { std::slice::from_raw_parts_mut(start.cast(), values) }
}

const DOUBLE: &str = "extern \"C\" __global__ void twice(float *x, unsigned long long count) {
  unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) x[i] *= 2.0f;
}";

#[test]
fn a_kernel_runs() {
    let outcome = emulated("a_kernel_runs", &[], || {
        let stream = stream();
        let twice = kernel(DOUBLE, "twice");
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let memory = to_device(&values);
        launch(twice, 4, 32, stream, &[memory], 100).expect("the launch is valid");
        synchronize(stream).expect("the kernel runs");
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(from_device(memory, 100), doubled);
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        let counted = |name: &str| outcome.report[name];
        assert_eq!(counted("kernels"), 1);
        assert_eq!(counted("kernel_launches"), 1);
        assert_eq!(counted("copies_in"), 1);
        assert_eq!(counted("copies_out"), 1);
        assert_eq!(counted("peak_bytes"), 400);
        assert_eq!(outcome.trace.len() as u64, counted("synchronisations"));
    }
}

#[test]
fn work_waits_until_the_host_waits_for_it() {
    let outcome = emulated("work_waits_until_the_host_waits_for_it", &[], || {
        let stream = stream();
        let twice = kernel(DOUBLE, "twice");
        let memory = to_device(&[1.0, 2.0]);
        let found = pinned(2);
        assert!(found[0].is_nan(), "memory of the host begins as NaN as well");
        launch(twice, 1, 32, stream, &[memory], 2).expect("the launch is valid");
        cuda!(result::memcpy_dtoh_async(found, memory, stream)).expect("the copy is valid");
        assert!(found[0].is_nan(), "nothing has run yet");
        synchronize(stream).expect("the kernel runs");
        assert_eq!(found, [2.0, 4.0]);
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        assert_eq!(outcome.report["host_allocations"], 1);
    }
}

#[test]
fn a_source_that_is_overwritten_too_early_is_seen() {
    let outcome = emulated("a_source_that_is_overwritten_too_early_is_seen", &[], || {
        let stream = stream();
        let memory = allocate(1);
        let source = pinned(1);
        source[0] = 1.0;
        cuda!(result::memcpy_htod_async(memory, source, stream)).expect("the copy is valid");
        source[0] = 2.0;
        synchronize(stream).expect("the copy is made");
        assert_eq!(from_device(memory, 1), [2.0], "pinned memory is read when the copy is made");
        let mut source = [1.0_f32];
        cuda!(result::memcpy_htod_async(memory, &source, stream)).expect("the copy is valid");
        source[0] = 2.0;
        synchronize(stream).expect("the copy is made");
        assert_eq!(
            (from_device(memory, 1)[0], source[0]),
            (1.0, 2.0),
            "other memory is copied aside at once"
        );
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn a_stream_alone_is_not_waited_for() {
    let outcome = emulated("a_stream_alone_is_not_waited_for", &[], || {
        let (first, second) = (stream(), stream());
        let twice = kernel(DOUBLE, "twice");
        let memory = to_device(&[1.0]);
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).expect("events can be made");
        launch(twice, 1, 1, first, &[memory], 1).expect("the launch is valid");
        cuda!(result::event::record(event, first)).expect("the event can be recorded");
        let found = pinned(1);
        cuda!(result::memcpy_dtoh_async(found, memory, second)).expect("the copy is valid");
        synchronize(second).expect("the copy is made");
        assert_eq!(found, [1.0], "the other stream was not waited for");
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        cuda!(result::stream::wait_event(second, event, flags)).expect("the event can be waited for");
        cuda!(result::memcpy_dtoh_async(found, memory, second)).expect("the copy is valid");
        synchronize(second).expect("the copy is made");
        assert_eq!(found, [2.0], "the event was waited for");
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn events_time_what_lies_between() {
    let outcome = emulated("events_time_what_lies_between", &[], || {
        let stream = stream();
        let create =
            || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).expect("events can be made");
        let (start, end) = (create(), create());
        cuda!(result::event::record(start, stream)).expect("the event can be recorded");
        let memory = to_device(&[1.0; 4096]);
        launch(kernel(DOUBLE, "twice"), 16, 256, stream, &[memory], 4096).expect("the launch is valid");
        cuda!(result::event::record(end, stream)).expect("the event can be recorded");
        let early = cuda!(result::event::elapsed(start, end));
        assert_eq!(early, Err(DriverError(CUresult::CUDA_ERROR_NOT_READY)));
        cuda!(result::event::synchronize(end)).expect("the event comes");
        assert!(cuda!(result::event::elapsed(start, end)).expect("both came") > 0.0);
    });
    outcome.iter().for_each(Outcome::succeeded);
}

fn capture(stream: CUstream) {
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
    cuda!(result::stream::begin_capture(stream, mode)).expect("a capture can begin");
}

#[test]
fn a_graph_replays_what_was_captured() {
    let outcome = emulated("a_graph_replays_what_was_captured", &[], || {
        let stream = stream();
        let twice = kernel(DOUBLE, "twice");
        let memory = to_device(&[1.0, 1.0]);
        capture(stream);
        // The argument is that of now, whatever becomes of its place.
        launch(twice, 1, 32, stream, &[memory], 1).expect("the launch is recorded");
        let graph = cuda!(result::stream::end_capture(stream)).expect("the capture ends");
        let flags = sys::CUgraphInstantiate_flags(0);
        let instance = cuda!(result::graph::instantiate(graph, flags)).expect("the graph is valid");
        cuda!(result::graph::destroy(graph)).expect("the graph is there");
        synchronize(stream).expect("nothing is to be done");
        assert_eq!(from_device(memory, 2), [1.0, 1.0], "a capture runs nothing");
        for _ in 0..3 {
            cuda!(result::graph::launch(instance, stream)).expect("the graph can be launched");
        }
        synchronize(stream).expect("the graph runs");
        assert_eq!(from_device(memory, 2), [8.0, 1.0]);
        cuda!(result::graph::exec_destroy(instance)).expect("the graph is there");
        assert!(cuda!(result::graph::exec_destroy(instance)).is_err());
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        let counted = |name: &str| outcome.report[name];
        assert_eq!([counted("kernels"), counted("kernel_launches"), counted("graph_launches")], [3, 0, 3]);
    }
}

#[test]
fn a_capture_is_broken_by_what_it_cannot_record() {
    let outcome = emulated("a_capture_is_broken_by_what_it_cannot_record", &[], || {
        let stream = stream();
        let unsupported = Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
        let broken = Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED));
        let memory = to_device(&[1.0]);
        capture(stream);
        assert_eq!(cuda!(result::malloc_sync(4)), unsupported.map(|()| 0));
        assert_eq!(cuda!(result::memset_d8_async(memory, 0, 4, stream)), broken);
        assert_eq!(cuda!(result::stream::end_capture(stream)), broken.map(|()| ptr::null_mut()));
        capture(stream);
        assert_eq!(synchronize(stream), unsupported);
        assert!(cuda!(result::stream::end_capture(stream)).is_err());
        capture(stream);
        assert_eq!(cuda!(result::memcpy_dtoh_sync(&mut [0.0_f32], memory)), unsupported);
        assert!(cuda!(result::stream::end_capture(stream)).is_err());
        capture(stream);
        cuda!(result::memset_d8_async(memory, 0, 4, stream)).expect("a memset is recorded");
        cuda!(result::stream::end_capture(stream)).expect("nothing broke this capture");
        assert!(cuda!(result::stream::end_capture(stream)).is_err(), "there is no capture");
    });
    outcome.iter().for_each(Outcome::succeeded);
}

/// Element types of factors and result.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Precision {
    F32,
    Bf16ToF32,
    Bf16,
}

fn rounded(value: f32) -> u16 {
    half::bf16::from_f32(value).to_bits()
}

/// Numbers of a small range that bf16 has exactly.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 33) as f32 / 8.0 - 2.0).collect()
}

fn factor_to_device(values: &[f32], precision: Precision) -> CUdeviceptr {
    if precision == Precision::F32 {
        return to_device(values);
    }
    let bits: Vec<u16> = values.iter().map(|&value| rounded(value)).collect();
    let memory = cuda!(result::malloc_sync(bits.len() * 2)).expect("there is memory");
    cuda!(result::memcpy_htod_sync(memory, &bits)).expect("the memory is there");
    memory
}

/// Multiplies two batches of matrices, `op(a) [m, k]` and `op(b) [k, n]` in columns, in both ways.
fn product_is_right(handle: cublas_sys::cublasHandle_t, transposed: [bool; 2], precision: Precision) {
    let [m, n, k, batch] = [7_usize, 6, 37, 2];
    let (a, b) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
    let operation = |transposed| match transposed {
        true => cublas_sys::cublasOperation_t::CUBLAS_OP_T,
        false => cublas_sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let (wide, narrow) = (cublas_sys::cudaDataType::CUDA_R_32F, cublas_sys::cudaDataType::CUDA_R_16BF);
    let (factor, made) = match precision {
        Precision::F32 => (wide, wide),
        Precision::Bf16ToF32 => (narrow, wide),
        Precision::Bf16 => (narrow, narrow),
    };
    let leading = [if transposed[0] { k } else { m }, if transposed[1] { n } else { k }];
    let at = |matrix: &[f32], which: usize, batch: usize, row: usize, column: usize| {
        let (row, column) = if transposed[which] { (column, row) } else { (row, column) };
        matrix[batch * if which == 0 { m * k } else { k * n } + row + column * leading[which]]
    };
    let out = allocate(batch * m * n);
    let [left, right] = [&a, &b].map(|values| factor_to_device(values, precision));
    let (alpha, beta) = (0.5_f32, 0.0_f32);
    let outcome = cuda!(cublas::gemm_strided_batched_ex(
        handle,
        operation(transposed[0]),
        operation(transposed[1]),
        m as c_int,
        n as c_int,
        k as c_int,
        ptr::from_ref(&alpha).cast(),
        left as *const c_void,
        factor,
        leading[0] as c_int,
        (m * k) as i64,
        right as *const c_void,
        factor,
        leading[1] as c_int,
        (k * n) as i64,
        ptr::from_ref(&beta).cast(),
        out as *mut c_void,
        made,
        m as c_int,
        (m * n) as i64,
        batch as c_int,
        cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
    ));
    outcome.expect("the product is valid");
    result::ctx::synchronize().expect("the product is made");
    let found = if made == wide {
        from_device(out, batch * m * n)
    } else {
        let mut bits = vec![0_u16; batch * m * n];
        cuda!(result::memcpy_dtoh_sync(&mut bits, out)).expect("the memory is there");
        bits.into_iter().map(|bits| half::bf16::from_bits(bits).to_f32()).collect()
    };
    for matrix in 0..batch {
        for row in 0..m {
            for column in 0..n {
                let term = |l| at(&a, 0, matrix, row, l) * at(&b, 1, matrix, l, column);
                // Sums of multiples of 1/64 below 2^10 have one value in f32, in any order.
                let mut expected = alpha * (0..k).map(term).sum::<f32>();
                if made == narrow {
                    expected = half::bf16::from_bits(rounded(expected)).to_f32();
                }
                let found = found[matrix * m * n + row + column * m];
                assert_eq!(found, expected, "{transposed:?} {precision:?} {matrix} {row} {column}");
            }
        }
    }
}

#[test]
fn products_equal_a_plain_loop() {
    let outcome = emulated("products_equal_a_plain_loop", &[], || {
        let stream = stream();
        let handle = cublas::create_handle().expect("a handle can be made");
        cuda!(cublas::set_stream(handle, stream.cast())).expect("the stream is there");
        for precision in [Precision::F32, Precision::Bf16ToF32, Precision::Bf16] {
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                product_is_right(handle, transposed, precision);
            }
        }
        cuda!(cublas::destroy_handle(handle)).expect("the handle is there");
        assert!(cuda!(cublas::destroy_handle(handle)).is_err());
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        assert_eq!(outcome.report["products"], 12);
    }
}

fn square(handle: cublas_sys::cublasHandle_t, memory: CUdeviceptr, size: c_int, leading: c_int) -> bool {
    let (alpha, beta) = (1.0_f32, 1.0_f32);
    let none = cublas_sys::cublasOperation_t::CUBLAS_OP_N;
    let (at, out) = (memory as *const f32, memory as *mut f32);
    let made = cuda!(cublas::sgemm(
        handle, none, none, size, size, size, &alpha, at, leading, at, leading, &beta, out, leading
    ));
    made.is_ok()
}

#[test]
fn products_keep_to_the_mode_and_refuse_what_is_wrong() {
    let outcome = emulated("products_keep_to_the_mode_and_refuse_what_is_wrong", &[], || {
        stream();
        let handle = cublas::create_handle().expect("a handle can be made");
        // TF32 has ten bits after the point.
        let value = 1.0 + 1.0 / 4096.0;
        let memory = to_device(&[value]);
        assert!(square(handle, memory, 1, 1));
        assert_eq!(from_device(memory, 1), [value * value + value]);
        let mode = cublas_sys::cublasMath_t::CUBLAS_TF32_TENSOR_OP_MATH;
        let status = cuda!(cublas_sys::cublasSetMathMode(handle, mode));
        assert_eq!(status, cublas_sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS);
        let memory = to_device(&[value]);
        assert!(square(handle, memory, 1, 1));
        assert_eq!(from_device(memory, 1), [1.0 + value]);
        assert!(!square(handle, memory, 2, 1), "rows are at least as far apart as they are long");
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn a_product_beyond_the_end_is_found() {
    let outcome = emulated("a_product_beyond_the_end_is_found", &[], || {
        stream();
        let handle = cublas::create_handle().expect("a handle can be made");
        square(handle, to_device(&[1.0; 1024]), 33, 33);
        let _ = result::ctx::synchronize();
    });
    if let Some(outcome) = outcome {
        outcome.died("fake CUDA: kernel `product` accesses memory outside of every allocation");
    }
}
