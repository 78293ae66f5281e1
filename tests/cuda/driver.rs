//! The emulated CUDA driver itself: that it does what a driver does, and finds what it is there to find.
//!
//! Each test runs again in a process of its own, which is given the emulated libraries.

use std::collections::BTreeMap;
use std::ffi::{CString, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::{env, fs, ptr};

use cudarc::cublas::{result as cublas, sys as cublas_sys};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdeviceptr, CUfunction, CUresult, CUstream};
use cudarc::nvrtc::result as nvrtc;
use hrmc_testing::fake_cuda;

use crate::{CACHE, HRMC};

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
    let libraries = fake_cuda::libraries(CACHE)?;
    let folder = tempfile::tempdir().expect("a folder for reports can be made");
    let [report, trace] = ["report", "trace"].map(|name| folder.path().join(name));
    let output = Command::new(env::current_exe().expect("the test has a path"))
        .args(["--exact", &format!("driver::{test}"), "--nocapture"])
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
    write(memory, values);
    memory
}

/// Copies values to the device and waits until they are there, for other streams too.
fn write<T>(memory: CUdeviceptr, values: &[T]) {
    cuda!(result::memcpy_htod_sync(memory, values)).expect("the memory is there");
    synchronize(ptr::null_mut()).expect("the copy is made");
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
fn a_copy_that_returned_may_not_have_arrived() {
    let outcome = emulated("a_copy_that_returned_may_not_have_arrived", &[], || {
        let (stream, memory, found) = (stream(), allocate(1), pinned(1));
        cuda!(result::memcpy_htod_sync(memory, &[1.0_f32])).expect("the copy is valid");
        cuda!(result::memcpy_dtoh_async(found, memory, stream)).expect("the copy is valid");
        synchronize(stream).expect("the copy is made");
        assert!(found[0].is_nan(), "this stream does not wait for the default one");
        assert_eq!(from_device(memory, 1), [1.0], "the default stream waits for itself");
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
    write(memory, &bits);
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

/// Asserts that a call was refused with this code.
fn refused<T>(outcome: Result<T, DriverError>, code: CUresult) {
    assert_eq!(outcome.err(), Some(DriverError(code)));
}

#[test]
fn there_may_be_no_device() {
    let outcome = emulated("there_may_be_no_device", &[("FAKE_CUDA_DEVICES", "0")], || {
        refused(result::init(), CUresult::CUDA_ERROR_NO_DEVICE);
        refused(result::device::get_count(), CUresult::CUDA_ERROR_NOT_INITIALIZED);
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn the_driver_may_be_old() {
    let outcome = emulated("the_driver_may_be_old", &[("FAKE_CUDA_DRIVER_VERSION", "11040")], || {
        let mut version = 0;
        let status = cuda!(sys::cuDriverGetVersion(&mut version));
        assert_eq!((status, version), (CUresult::CUDA_SUCCESS, 11040));
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn an_allocation_fails_on_request() {
    let outcome = emulated("an_allocation_fails_on_request", &[("FAKE_CUDA_FAIL_ALLOCATION", "3")], || {
        stream();
        allocate(1);
        pinned(1);
        refused(cuda!(result::malloc_host(4, 0)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        allocate(1);
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        assert_eq!((outcome.report["allocations"], outcome.report["host_allocations"]), (2, 1));
    }
}

#[test]
fn memory_has_an_end() {
    let outcome = emulated("memory_has_an_end", &[("FAKE_CUDA_MEMORY", "1000")], || {
        stream();
        let first = allocate(200);
        assert_eq!(result::mem_get_info(), Ok((200, 1000)));
        refused(cuda!(result::malloc_sync(201)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        cuda!(result::free_sync(first)).expect("the memory is there");
        cuda!(result::malloc_sync(201)).expect("there is room again");
        refused(cuda!(result::malloc_sync(0)), CUresult::CUDA_ERROR_INVALID_VALUE);
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        let counted = |name: &str| outcome.report[name];
        assert_eq!([counted("live_bytes"), counted("peak_bytes"), counted("frees")], [201, 800, 1]);
    }
}

#[test]
fn a_compilation_fails_on_request_and_by_itself() {
    let test = "a_compilation_fails_on_request_and_by_itself";
    let outcome = emulated(test, &[("FAKE_CUDA_FAIL_COMPILE", "1")], || {
        let log = compile(DOUBLE, "sm_90").expect_err("it was to fail");
        assert_eq!(log, "test.cu(1): error: FAKE_CUDA_FAIL_COMPILE is set\n\0");
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn what_no_compiler_accepts_is_refused() {
    let outcome = emulated("what_no_compiler_accepts_is_refused", &[], || {
        let log = compile("extern \"C\" __global__ void wrong() { unknown(); }", "sm_90");
        assert!(
            log.clone().is_err_and(|log| log.contains("test.cu:1") && log.contains("unknown")),
            "{log:?}"
        );
        let log = compile(DOUBLE, "sm_9");
        assert!(log.clone().is_err_and(|log| log.contains("gpu-architecture")), "{log:?}");
        let large = "extern \"C\" __global__ void large(float *out) {
          __shared__ float much[12289];
          much[threadIdx.x] = 1.0f;
          __syncthreads();
          out[threadIdx.x] = much[threadIdx.x + 1];
        }";
        let log = compile(large, "sm_90");
        assert!(log.clone().is_err_and(|log| log.contains("`large`") || log.contains("'large'")), "{log:?}");
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn images_run_on_devices_they_were_made_for() {
    let outcome = emulated("images_run_on_devices_they_were_made_for", &[], || {
        stream();
        let load = |image: &[i8]| cuda!(result::module::load_data(image.as_ptr().cast())).map(|_| ());
        let cubin = |architecture: &str| {
            let program = nvrtc::create_program(c"extern \"C\" __global__ void nothing() {}", None);
            let program = program.expect("programs can be made");
            let options = [format!("--gpu-architecture={architecture}")];
            cuda!(nvrtc::compile_program(program, &options)).expect("the kernel compiles");
            let mut size = 0;
            let status = cuda!(cudarc::nvrtc::sys::nvrtcGetCUBINSize(program, &mut size));
            assert_eq!(status, cudarc::nvrtc::sys::nvrtcResult::NVRTC_SUCCESS);
            let mut image = vec![0; size];
            let status = cuda!(cudarc::nvrtc::sys::nvrtcGetCUBIN(program, image.as_mut_ptr()));
            assert_eq!(status == cudarc::nvrtc::sys::nvrtcResult::NVRTC_SUCCESS, size > 0);
            image
        };
        assert_eq!(load(&cubin("sm_90")), Ok(()));
        refused(load(&cubin("sm_80")), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
        assert!(cubin("compute_80").is_empty(), "no device is of this architecture");
        let mut damaged = cubin("sm_90");
        let end = damaged.len();
        damaged[end - 4] = 0;
        refused(load(&damaged), CUresult::CUDA_ERROR_INVALID_IMAGE);
        refused(load(&b".version 8.7\0".map(|byte| byte as i8)), CUresult::CUDA_ERROR_INVALID_PTX);
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn a_launch_that_fails_is_seen_later_and_for_good() {
    let test = "a_launch_that_fails_is_seen_later_and_for_good";
    let outcome = emulated(test, &[("FAKE_CUDA_FAIL_LAUNCH", "2")], || {
        let stream = stream();
        let twice = kernel(DOUBLE, "twice");
        let memory = to_device(&[1.0]);
        for _ in 0..3 {
            launch(twice, 1, 1, stream, &[memory], 1).expect("the launch is valid");
        }
        refused(synchronize(stream), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        refused(synchronize(stream), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        refused(cuda!(result::malloc_sync(4)), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        refused(
            cuda!(result::memcpy_dtoh_sync(&mut [0.0_f32], memory)),
            CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        );
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        assert_eq!(outcome.report["kernels"], 2, "nothing runs after it");
    }
}

#[test]
fn what_no_driver_accepts_is_refused() {
    let outcome = emulated("what_no_driver_accepts_is_refused", &[], || {
        let text = "extern \"C\" __global__ void last(float *out, unsigned long long count) {
          extern __shared__ float room[];
          room[threadIdx.x] = threadIdx.x;
          __syncthreads();
          out[0] = room[count - 1];
        }";
        let stream = stream();
        let last = kernel(text, "last");
        let memory = allocate(1);
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        refused(launch(last, 0, 1, stream, &[memory], 1), invalid);
        refused(launch(last, 1, 1025, stream, &[memory], 1), invalid);
        let with_shared = |bytes| {
            let (mut to, mut count) = (memory, 1_u64);
            let mut values = [ptr::from_mut(&mut to).cast(), ptr::from_mut(&mut count).cast()];
            cuda!(result::launch_kernel(last, (1, 1, 1), (1, 1, 1), bytes, stream, &mut values))
        };
        let (usual, most) = (48 << 10, 227 << 10);
        with_shared(usual).expect("so much may be asked for without a word");
        refused(with_shared(usual + 1), invalid);
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let set = |bytes| cuda!(result::function::set_function_attribute(last, attribute, bytes));
        refused(set(most + 1), invalid);
        set(most).expect("so much has a block of this device");
        with_shared(most as u32).expect("so much was asked for");
        synchronize(stream).expect("the kernel runs");
        assert_eq!(from_device(memory, 1), [0.0]);
        let module = compile(text, "compute_80").expect("the kernel compiles");
        let module = cuda!(result::module::load_data(module.as_ptr().cast())).expect("PTX can be loaded");
        let unknown = cuda!(result::module::get_function(module, c"unknown".to_owned()));
        refused(unknown, CUresult::CUDA_ERROR_NOT_FOUND);
        refused(cuda!(result::memcpy_dtoh_sync(&mut [0.0_f32; 2], memory)), invalid);
        cuda!(result::free_sync(memory)).expect("the memory is there");
        refused(cuda!(result::free_sync(memory)), invalid);
        let host = pinned(1).as_mut_ptr();
        cuda!(result::free_host(host.cast())).expect("the memory is there");
        refused(cuda!(result::free_host(host.cast())), invalid);
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn hrmc_finds_the_device_and_says_what_it_is() {
    let Some(libraries) = fake_cuda::libraries(CACHE) else { return };
    let devices = || {
        let mut command = Command::new(HRMC);
        command.args(["devices", "--json"]).env("LD_LIBRARY_PATH", &libraries);
        command
    };
    let found = |mut command: Command| {
        let output = command.output().expect("hrmc starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = found(devices());
    for part in ["fake CUDA device (emulated on the CPU)", "libnvrtc.so.12", "libcublas.so.12"] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    let mut without = devices();
    without.env("FAKE_CUDA_DEVICES", "0");
    assert!(!found(without).contains("fake CUDA device"));
}

#[test]
fn calls_need_a_context() {
    let outcome = emulated("calls_need_a_context", &[], || {
        refused(result::device::get_count(), CUresult::CUDA_ERROR_NOT_INITIALIZED);
        result::init().expect("the driver starts");
        refused(cuda!(result::malloc_sync(4)), CUresult::CUDA_ERROR_INVALID_CONTEXT);
        assert!(cublas::create_handle().is_err());
        stream();
        allocate(1);
    });
    outcome.iter().for_each(Outcome::succeeded);
}

/// Runs a kernel on 1,000 numbers, which must end the process.
fn runs_into_a_wall(text: &str) {
    let stream = stream();
    let memory = to_device(&[1.0; 1000]);
    launch(kernel(text, "wrong"), 32, 32, stream, &[memory], 1000).expect("the launch is valid");
    let status = synchronize(stream);
    panic!("the kernel ran: {status:?}");
}

const OUTSIDE: &str = "fake CUDA: kernel `wrong` accesses memory outside of every allocation";

#[test]
fn a_write_beyond_the_end_is_found() {
    // Of 1,000 numbers the last one stands at the end of its page, and the next one in no allocation.
    let outcome = emulated("a_write_beyond_the_end_is_found", &[], || {
        runs_into_a_wall(
            "extern \"C\" __global__ void wrong(float *x, unsigned long long count) {
               unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x;
               if (i <= count) x[i] = 1.0f;
             }",
        );
    });
    outcome.iter().for_each(|outcome| outcome.died(OUTSIDE));
}

#[test]
fn a_read_beyond_the_end_is_found() {
    let outcome = emulated("a_read_beyond_the_end_is_found", &[], || {
        runs_into_a_wall(
            "extern \"C\" __global__ void wrong(float *x, unsigned long long count) {
               unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x;
               __syncthreads();
               if (i < count) x[i] = x[i + 1];
             }",
        );
    });
    outcome.iter().for_each(|outcome| outcome.died(OUTSIDE));
}

#[test]
fn a_write_before_the_beginning_is_found() {
    // The page has room before the allocation, which is looked at after the kernel.
    let outcome = emulated("a_write_before_the_beginning_is_found", &[], || {
        runs_into_a_wall(
            "extern \"C\" __global__ void wrong(float *x, unsigned long long count) {
               if (blockIdx.x == 0 && threadIdx.x == 0) x[-1] = 1.0f;
             }",
        );
    });
    outcome.iter().for_each(|outcome| outcome.died(OUTSIDE));
}

#[test]
fn a_write_to_freed_memory_is_found() {
    let outcome = emulated("a_write_to_freed_memory_is_found", &[], || {
        let stream = stream();
        let wrong = kernel(&DOUBLE.replace("twice", "wrong"), "wrong");
        let memory = to_device(&[1.0]);
        cuda!(result::free_sync(memory)).expect("the memory is there");
        launch(wrong, 1, 1, stream, &[memory], 1).expect("a launch does not look at pointers");
        let status = synchronize(stream);
        panic!("the kernel ran: {status:?}");
    });
    outcome.iter().for_each(|outcome| outcome.died(OUTSIDE));
}

/// Turns the numbers of a block around, through shared memory, in a function of its own.
const TURN: &str = "__device__ void turn(float *x) {
  __shared__ float kept[64];
  kept[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = kept[63 - threadIdx.x];
}
extern \"C\" __global__ void turned(float *x, unsigned long long count) { if (count) turn(x); }";

/// Returns what a text makes of 0, 1, ... 63.
fn turned(text: &str) -> Vec<f32> {
    let stream = stream();
    let memory = to_device(&(0..64).map(|i| i as f32).collect::<Vec<_>>());
    launch(kernel(text, "turned"), 1, 64, stream, &[memory], 64).expect("the launch is valid");
    synchronize(stream).expect("the kernel runs");
    from_device(memory, 64)
}

#[test]
fn a_barrier_in_a_called_function_is_kept() {
    for order in ["0", "1", "2"] {
        let test = "a_barrier_in_a_called_function_is_kept";
        let outcome = emulated(test, &[("FAKE_CUDA_ORDER", order)], || {
            assert_eq!(turned(TURN), (0..64).rev().map(|i| i as f32).collect::<Vec<_>>());
        });
        outcome.iter().for_each(Outcome::succeeded);
    }
}

#[test]
fn a_missing_barrier_is_found() {
    for order in ["0", "1", "2"] {
        let outcome = emulated("a_missing_barrier_is_found", &[("FAKE_CUDA_ORDER", order)], || {
            let found = turned(&TURN.replace("__syncthreads();", ""));
            assert!(found.iter().any(|value| value.is_nan()), "shared memory begins as NaN: {found:?}");
        });
        outcome.iter().for_each(Outcome::succeeded);
    }
}

#[test]
fn a_barrier_that_some_threads_miss_is_found() {
    let outcome = emulated("a_barrier_that_some_threads_miss_is_found", &[], || {
        let right = "__syncthreads();";
        turned(&TURN.replace(right, "if (threadIdx.x < 9) __syncthreads();\n else\n __syncthreads();"));
    });
    outcome.iter().for_each(|outcome| {
        outcome.died("fake CUDA: kernel `turned` threads meet at different barriers, line 6");
    });
}

#[test]
fn a_stack_that_is_too_small_is_found() {
    let outcome = emulated("a_stack_that_is_too_small_is_found", &[], || {
        turned(
            "extern \"C\" __global__ void turned(float *x, unsigned long long count) {
               volatile float much[20000];
               for (int i = 0; i < 20000; i++) much[i] = x[i % count];
               __syncthreads();
               x[threadIdx.x] = much[threadIdx.x];
             }",
        );
    });
    outcome.iter().for_each(|outcome| outcome.died("`turned` accesses memory outside of every allocation"));
}

#[test]
fn threads_run_in_three_orders() {
    let mut orders = Vec::new();
    for order in ["0", "1", "2"] {
        let variables = [("FAKE_CUDA_ORDER", order), ("FAKE_CUDA_TEST_ORDER", order)];
        let outcome = emulated("threads_run_in_three_orders", &variables, || {
            let text = "extern \"C\" __global__ void order(float *x, unsigned long long count) {
              if (threadIdx.x < count) x[atomicAdd((unsigned *)x + count, 1u)] = threadIdx.x;
            }";
            let stream = stream();
            let memory = to_device(&[0.0; 33]);
            launch(kernel(text, "order"), 1, 32, stream, &[memory], 32).expect("the launch is valid");
            synchronize(stream).expect("the kernel runs");
            eprintln!("order {:?}", &from_device(memory, 32)[..]);
        });
        let Some(outcome) = outcome else { return };
        outcome.succeeded();
        orders.push(outcome.said.lines().find(|line| line.starts_with("order ")).map(str::to_string));
    }
    let up: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let down: Vec<f32> = up.iter().rev().copied().collect();
    assert_eq!(orders[0], Some(format!("order {up:?}")));
    assert_eq!(orders[1], Some(format!("order {down:?}")));
    assert!(orders[2].is_some() && orders[2] != orders[0] && orders[2] != orders[1]);
}

#[test]
fn blocks_and_grids_have_three_dimensions() {
    let outcome = emulated("blocks_and_grids_have_three_dimensions", &[], || {
        let text = "extern \"C\" __global__ void __launch_bounds__(64) place(float *x) {
          unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
          unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
          x[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 100 + thread;
        }";
        let stream = stream();
        let mut memory = allocate(24 * 24);
        let mut values = [ptr::from_mut(&mut memory).cast()];
        let place = kernel(text, "place");
        cuda!(result::launch_kernel(place, (2, 3, 4), (4, 3, 2), 0, stream, &mut values))
            .expect("it is valid");
        synchronize(stream).expect("the kernel runs");
        let expected: Vec<f32> = (0..24 * 24).map(|i| (i / 24 * 100 + i % 24) as f32).collect();
        assert_eq!(from_device(memory, 24 * 24), expected);
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn lanes_exchange_values() {
    let outcome = emulated("lanes_exchange_values", &[("FAKE_CUDA_ORDER", "2")], || {
        let text = "#define LANES 0xffffffffu
        extern \"C\" __global__ void lanes(float *x) {
          int lane = threadIdx.x;
          float mine = lane;
          float *out = x + lane;
          out[0] = __shfl_sync(LANES, mine, 5);
          out[32] = __shfl_xor_sync(LANES, mine, 3);
          out[64] = __shfl_up_sync(LANES, mine, 2);
          out[96] = __shfl_down_sync(LANES, mine, 2);
          out[128] = __shfl_down_sync(LANES, mine, 1, 8);
          out[160] = __ballot_sync(LANES, lane < 4);
          out[192] = __any_sync(LANES, lane == 7) + 2 * __all_sync(LANES, lane == 7);
          __syncwarp();
        }";
        let stream = stream();
        let mut memory = allocate(7 * 32);
        let mut values = [ptr::from_mut(&mut memory).cast()];
        let lanes = kernel(text, "lanes");
        cuda!(result::launch_kernel(lanes, (1, 1, 1), (32, 1, 1), 0, stream, &mut values))
            .expect("it is valid");
        synchronize(stream).expect("the kernel runs");
        let of = |value: fn(usize) -> usize| (0..32).map(value).map(|value| value as f32).collect::<Vec<_>>();
        let expected = [
            of(|_| 5),
            of(|lane| lane ^ 3),
            of(|lane| if lane < 2 { lane } else { lane - 2 }),
            of(|lane| if lane < 30 { lane + 2 } else { lane }),
            of(|lane| if lane % 8 < 7 { lane + 1 } else { lane }),
            of(|_| 15),
            of(|_| 1),
        ];
        assert_eq!(from_device(memory, 7 * 32), expected.concat());
    });
    outcome.iter().for_each(Outcome::succeeded);
}

#[test]
fn segments_can_be_counted_apart() {
    let outcome = emulated("segments_can_be_counted_apart", &[], || {
        let stream = stream();
        let twice = kernel(DOUBLE, "twice");
        let memory = to_device(&[1.0]);
        for launches in [1, 3] {
            for _ in 0..launches {
                launch(twice, 1, 1, stream, &[memory], 1).expect("the launch is valid");
            }
            synchronize(stream).expect("the kernels run");
        }
        assert_eq!(from_device(memory, 1), [16.0]);
    });
    if let Some(outcome) = outcome {
        outcome.succeeded();
        let kernels: Vec<u64> = outcome.trace.iter().map(|counts| counts["kernels"]).collect();
        assert_eq!(kernels, [0, 0, 1, 4, 4], "a copy in and a wait for it, two segments, a copy out");
        assert_eq!(outcome.report, outcome.trace[4], "nothing happened after the last time");
    }
}

#[test]
fn kernels_with_the_header_of_half_numbers_run() {
    let outcome = emulated("kernels_with_the_header_of_half_numbers_run", &[], || {
        let text = "#include \"cuda_fp16.h\"
        extern \"C\" __global__ void kernel(float *out, const int numel) {
          if (threadIdx.x < numel) out[threadIdx.x] = (float)(__float2half(1.0f) / __float2half(3.0f));
        }";
        let stream = stream();
        let memory = allocate(2);
        launch(kernel(text, "kernel"), 1, 32, stream, &[memory], 2).expect("the launch is valid");
        synchronize(stream).expect("the kernel runs");
        assert_eq!(from_device(memory, 2), [half::f16::from_f32(1.0 / 3.0).to_f32(); 2]);
    });
    outcome.iter().for_each(Outcome::succeeded);
}
