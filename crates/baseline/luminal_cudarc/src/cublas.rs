//! Products of cuBLAS: the four that luminal_cuda calls.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, Weak};

use cudarc::driver::CudaDevice;

use crate::provided;
use result::CublasError;
use sys::cublasHandle_t;

/// Types of cuBLAS's own interface.
pub mod sys {
    use std::ffi::{c_int, c_void};

    /// How a factor is read.
    #[allow(non_camel_case_types, reason = "luminal_cuda calls it so")]
    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum cublasOperation_t {
        /// As it is.
        CUBLAS_OP_N = 0,
        /// Transposed.
        CUBLAS_OP_T = 1,
    }

    /// A handle.
    #[allow(non_camel_case_types, reason = "luminal_cuda calls it so")]
    pub type cublasHandle_t = *mut c_void;

    /// What a function returns; zero is success.
    #[allow(non_camel_case_types, reason = "cuBLAS calls it so")]
    pub type cublasStatus_t = c_int;
}

/// The one handle of a process. It lives as long as a product does that was made with it.
struct Handle {
    handle: cublasHandle_t,
    /// The device's context has to outlive the handle.
    device: Arc<CudaDevice>,
}

// SAFETY: a handle may be used by any thread, by one at a time, which `CALLING` sees to.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.device.bind_to_thread().is_err() {
            return;
        }
        if let Ok(destroy) =
            result::function::<unsafe extern "C" fn(cublasHandle_t) -> i32>("cublasDestroy_v2")
        {
            // SAFETY: the handle is used by nobody else.
            unsafe { destroy(self.handle) };
        }
    }
}

static SHARED: Mutex<Weak<Handle>> = Mutex::new(Weak::new());

/// Held by whoever calls a product.
static CALLING: Mutex<()> = Mutex::new(());

/// cuBLAS on the default stream of a device, which is the stream of all that luminal_cuda does.
pub struct CudaBlas(Arc<Handle>);

impl CudaBlas {
    /// Returns cuBLAS on a device. luminal_cuda knows one device, so that all products share the handle.
    ///
    /// # Errors
    ///
    /// Returns what cuBLAS says if it cannot make a handle.
    pub fn new(device: Arc<CudaDevice>) -> Result<CudaBlas, CublasError> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(handle) = shared.upgrade() {
            return Ok(CudaBlas(handle));
        }
        device.bind_to_thread().map_err(|error| CublasError(format!("{error:?}")))?;
        let mut handle = std::ptr::null_mut::<c_void>();
        let create = result::function::<unsafe extern "C" fn(*mut cublasHandle_t) -> i32>("cublasCreate_v2")?;
        // SAFETY: the pointer is to a place for one handle.
        result::succeeded("cublasCreate_v2", unsafe { create(&mut handle) })?;
        let handle = Arc::new(Handle { handle, device });
        *shared = Arc::downgrade(&handle);
        Ok(CudaBlas(handle))
    }

    /// Returns the handle.
    pub fn handle(&self) -> &cublasHandle_t {
        &self.0.handle
    }
}

/// Calls that return a [`Result`].
pub mod result {
    use std::fmt;

    use half::f16;

    use super::sys::{cublasHandle_t, cublasOperation_t, cublasStatus_t};
    use super::{CALLING, provided};

    /// Why a call failed.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CublasError(
        /// The function and its status.
        pub String,
    );

    impl fmt::Display for CublasError {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(&self.0)
        }
    }

    impl std::error::Error for CublasError {}

    pub(super) fn succeeded(name: &str, status: cublasStatus_t) -> Result<(), CublasError> {
        if status == 0 { Ok(()) } else { Err(CublasError(format!("`{name}` gives the error {status}"))) }
    }

    pub(super) fn function<T: Copy>(name: &str) -> Result<T, CublasError> {
        // SAFETY: callers name the type of this function in cuBLAS 12 and 13, and the library stays loaded.
        let found = unsafe { provided().cublas.get::<T>(name.as_bytes()) };
        found.map(|symbol| *symbol).map_err(|_| CublasError(format!("cuBLAS has no function `{name}`")))
    }

    /// Defines a product and the product of a batch, whose matrices lie at equal distances.
    macro_rules! products {
        ($ty:ty, $product:ident, $symbol:literal, $batched:ident, $batched_symbol:literal) => {
            /// `c = alpha op(a) op(b) + beta c`, columns first.
            ///
            /// # Errors
            ///
            /// Returns what cuBLAS says if it refuses.
            ///
            /// # Safety
            ///
            /// The handle exists, `alpha` and `beta` are in the host's memory, and the matrices in the device's.
            #[expect(clippy::too_many_arguments, reason = "it is cuBLAS's interface")]
            pub unsafe fn $product(
                handle: cublasHandle_t,
                op_a: cublasOperation_t,
                op_b: cublasOperation_t,
                m: i32,
                n: i32,
                k: i32,
                alpha: *const $ty,
                a: *const $ty,
                lda: i32,
                b: *const $ty,
                ldb: i32,
                beta: *const $ty,
                c: *mut $ty,
                ldc: i32,
            ) -> Result<(), CublasError> {
                type Call = unsafe extern "C" fn(
                    cublasHandle_t,
                    cublasOperation_t,
                    cublasOperation_t,
                    i32,
                    i32,
                    i32,
                    *const $ty,
                    *const $ty,
                    i32,
                    *const $ty,
                    i32,
                    *const $ty,
                    *mut $ty,
                    i32,
                ) -> cublasStatus_t;
                let call = function::<Call>($symbol)?;
                let _alone = CALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let status =
                    // SAFETY: the caller's promise.
                    unsafe { call(handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) };
                succeeded($symbol, status)
            }

            /// The same for each of `count` triples of matrices.
            ///
            /// # Errors
            ///
            /// Returns what cuBLAS says if it refuses.
            ///
            /// # Safety
            ///
            /// As for one product.
            #[expect(clippy::too_many_arguments, reason = "it is cuBLAS's interface")]
            pub unsafe fn $batched(
                handle: cublasHandle_t,
                op_a: cublasOperation_t,
                op_b: cublasOperation_t,
                m: i32,
                n: i32,
                k: i32,
                alpha: *const $ty,
                a: *const $ty,
                lda: i32,
                stride_a: i64,
                b: *const $ty,
                ldb: i32,
                stride_b: i64,
                beta: *const $ty,
                c: *mut $ty,
                ldc: i32,
                stride_c: i64,
                count: i32,
            ) -> Result<(), CublasError> {
                type Call = unsafe extern "C" fn(
                    cublasHandle_t,
                    cublasOperation_t,
                    cublasOperation_t,
                    i32,
                    i32,
                    i32,
                    *const $ty,
                    *const $ty,
                    i32,
                    i64,
                    *const $ty,
                    i32,
                    i64,
                    *const $ty,
                    *mut $ty,
                    i32,
                    i64,
                    i32,
                ) -> cublasStatus_t;
                let call = function::<Call>($batched_symbol)?;
                let _alone = CALLING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                // SAFETY: the caller's promise.
                let status = unsafe {
                    call(
                        handle, op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc,
                        stride_c, count,
                    )
                };
                succeeded($batched_symbol, status)
            }
        };
    }

    products!(f32, sgemm, "cublasSgemm_v2", sgemm_strided_batched, "cublasSgemmStridedBatched");
    products!(f16, hgemm, "cublasHgemm", hgemm_strided_batched, "cublasHgemmStridedBatched");
}
