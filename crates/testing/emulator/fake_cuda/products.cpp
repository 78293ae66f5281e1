// cuBLAS for the emulated device: products of matrices in columns, put on a stream like kernels.
//
// Factors are f32, bf16 or f16, sums are f32. Where TF32 is asked for, factors lose the bits that a device would drop.
#include "fake_cuda.h"

#include <string.h>
#include <algorithm>
#include <set>
#include <vector>

namespace fake {

// Codes of cuBLAS (`cublas_api.h`, cublasStatus_t).
enum ProductStatus {
  PRODUCT_SUCCESS = 0,
  PRODUCT_NOT_INITIALIZED = 1,
  PRODUCT_INVALID_VALUE = 7,
  PRODUCT_EXECUTION_FAILED = 13,
  PRODUCT_NOT_SUPPORTED = 15,
};

// Element types (`library_types.h`, cudaDataType).
enum Type { F32 = 0, F16 = 2, BF16 = 14 };
// Kinds of sums (`cublas_api.h`, cublasComputeType_t).
enum Compute { COMPUTE_F16 = 64, COMPUTE_F32 = 68, COMPUTE_F32_PEDANTIC = 69, COMPUTE_F32_TF32 = 77 };
enum Math { DEFAULT_MATH = 0, PEDANTIC_MATH = 2, TF32_MATH = 3 };

struct Handle {
  void *stream;
  int math;
  bool factors_on_device;
};

static std::set<Handle *> handles;

static size_t bytes_of(int type) { return type == F32 ? 4 : 2; }

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Drops the last bits of a number, to nearest, ties to even.
static uint32_t rounded_bits(float value, int dropped) {
  uint32_t bits = bits_of(value);
  if (value != value) return (bits | 0x00400000u) >> dropped << dropped;
  uint32_t half = 1u << (dropped - 1), odd = bits >> dropped & 1;
  return (bits + half - 1 + odd) >> dropped << dropped;
}

static float load(const void *from, int type) {
  if (type == F32) return *(const float *)from;
  if (type == F16) return (float)*(const _Float16 *)from;
  return from_bits((uint32_t)*(const uint16_t *)from << 16);
}

static void store(void *to, int type, float value) {
  if (type == F32) *(float *)to = value;
  else if (type == F16) *(_Float16 *)to = (_Float16)value;
  else *(uint16_t *)to = (uint16_t)(rounded_bits(value, 16) >> 16);
}

// A matrix in memory: columns are `leading` elements apart, matrices of a batch `stride`.
struct Matrix {
  uint64_t start;
  int type, leading;
  long long stride;

  char *at(int matrix, size_t row, size_t column) const {
    size_t index = (size_t)matrix * (size_t)stride + row + column * (size_t)leading;
    return (char *)start + index * bytes_of(type);
  }
};

struct Product {
  bool transpose_a, transpose_b;
  int m, n, k, batch;
  float alpha, beta;
  const void *alpha_on_device, *beta_on_device;
  int factor_type;
  Matrix a, b, c;
  bool tf32;
};

// Copies a factor as rows of `k` numbers each.
static void arrange(std::vector<float> &rows, const Matrix &from, int matrix, bool k_is_row, int count, int k, bool tf32) {
  rows.resize((size_t)count * (size_t)k);
  for (int i = 0; i < count; i++)
    for (int l = 0; l < k; l++) {
      const char *at = k_is_row ? from.at(matrix, (size_t)l, (size_t)i) : from.at(matrix, (size_t)i, (size_t)l);
      float value = load(at, from.type);
      rows[(size_t)i * (size_t)k + (size_t)l] = tf32 ? from_bits(rounded_bits(value, 13)) : value;
    }
}

// Elements of the result that are made at a time, and partial sums of each, so that the processor has much to do side
// by side. The order of each sum depends on `k` alone.
enum { COLUMNS = 4, LANES = 16 };

// Products of one row with some others.
template <int Count> static void row_products(float *sums, const float *row, const float *others, int k) {
  float parts[Count][LANES] = {};
  int l = 0;
  for (; l + LANES <= k; l += LANES)
    for (int c = 0; c < Count; c++)
      for (int lane = 0; lane < LANES; lane++) parts[c][lane] += row[l + lane] * others[(size_t)c * (size_t)k + l + lane];
  for (int c = 0; c < Count; c++) {
    float sum = 0.0f;
    for (float part : parts[c]) sum += part;
    for (int rest = l; rest < k; rest++) sum += row[rest] * others[(size_t)c * (size_t)k + rest];
    sums[c] = sum;
  }
}

static void make(const Product &product) {
  float alpha = product.alpha_on_device ? load(product.alpha_on_device, product.factor_type) : product.alpha;
  float beta = product.beta_on_device ? load(product.beta_on_device, product.factor_type) : product.beta;
  int k = product.k;
  std::vector<float> a, b;
  for (int matrix = 0; matrix < product.batch; matrix++) {
    arrange(a, product.a, matrix, product.transpose_a, product.m, k, product.tf32);
    arrange(b, product.b, matrix, !product.transpose_b, product.n, k, product.tf32);
    for (int first = 0; first < product.n; first += COLUMNS) {
      int columns = std::min<int>(COLUMNS, product.n - first);
      const float *others = b.data() + (size_t)first * (size_t)k;
      for (int i = 0; i < product.m; i++) {
        const float *row = a.data() + (size_t)i * (size_t)k;
        float sums[COLUMNS];
        if (columns == COLUMNS) row_products<COLUMNS>(sums, row, others, k);
        else
          for (int c = 0; c < columns; c++) row_products<1>(sums + c, row, others + (size_t)c * (size_t)k, k);
        for (int c = 0; c < columns; c++) {
          char *to = product.c.at(matrix, (size_t)i, (size_t)(first + c));
          // What is not asked for is not read: it may be anything.
          float old = beta != 0.0f ? beta * load(to, product.c.type) : 0.0f;
          store(to, product.c.type, alpha * sums[c] + old);
        }
      }
    }
  }
}

static int multiply(Handle *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha, Matrix a,
                    Matrix b, const void *beta, Matrix c, int batch, int compute) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  bool transposed_a = transpose_a != 0, transposed_b = transpose_b != 0;
  if (transpose_a < 0 || transpose_a > 2 || transpose_b < 0 || transpose_b > 2) return PRODUCT_INVALID_VALUE;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || !alpha || !beta) return PRODUCT_INVALID_VALUE;
  if (a.leading < std::max(1, transposed_a ? k : m) || b.leading < std::max(1, transposed_b ? n : k) ||
      c.leading < std::max(1, m))
    return PRODUCT_INVALID_VALUE;
  bool f32_sums = compute == COMPUTE_F32 || compute == COMPUTE_F32_PEDANTIC || compute == COMPUTE_F32_TF32;
  bool known = a.type == F32    ? b.type == F32 && c.type == F32 && f32_sums
               : a.type == BF16 ? b.type == BF16 && (c.type == BF16 || c.type == F32) && f32_sums
               : a.type == F16  ? b.type == F16 && (c.type == F16 || (c.type == F32 && f32_sums)) &&
                                     (f32_sums || compute == COMPUTE_F16)
                                : false;
  if (!known) return PRODUCT_NOT_SUPPORTED;
  // A device reads elements where they may stand.
  for (const Matrix *matrix : {&a, &b, &c})
    if (matrix->start % bytes_of(matrix->type) != 0) return PRODUCT_INVALID_VALUE;
  if (m == 0 || n == 0 || batch == 0) return PRODUCT_SUCCESS;
  Product product{};
  product.transpose_a = transposed_a;
  product.transpose_b = transposed_b;
  product.m = m;
  product.n = n;
  product.k = k;
  product.batch = batch;
  product.factor_type = compute == COMPUTE_F16 ? F16 : F32;
  if (handle->factors_on_device) {
    product.alpha_on_device = alpha;
    product.beta_on_device = beta;
  } else {
    product.alpha = load(alpha, product.factor_type);
    product.beta = load(beta, product.factor_type);
  }
  product.a = a;
  product.b = b;
  product.c = c;
  product.tf32 = a.type == F32 && (compute == COMPUTE_F32_TF32 || (compute == COMPUTE_F32 && handle->math == TF32_MATH));
  int status = enqueue_on(handle->stream, [product] {
    counts.products++;
    guarded("product", [&] { make(product); });
    return (int)SUCCESS;
  });
  return status ? PRODUCT_EXECUTION_FAILED : PRODUCT_SUCCESS;
}

static Matrix matrix(const void *start, int type, int leading, long long stride = 0) {
  return Matrix{(uint64_t)start, type, leading, stride};
}

}

using namespace fake;

API int cublasCreate_v2(Handle **handle) {
  Guard guard(lock);
  if (ready()) return PRODUCT_NOT_INITIALIZED;
  *handle = new Handle{nullptr, DEFAULT_MATH, false};
  handles.insert(*handle);
  return PRODUCT_SUCCESS;
}

API int cublasDestroy_v2(Handle *handle) {
  Guard guard(lock);
  if (!handles.erase(handle)) return PRODUCT_NOT_INITIALIZED;
  delete handle;
  return PRODUCT_SUCCESS;
}

API int cublasGetVersion_v2(Handle *, int *version) {
  *version = 120800;
  return PRODUCT_SUCCESS;
}

API int cublasGetProperty(int property, int *value) {
  static const int version[3] = {12, 8, 0};
  if (property < 0 || property > 2) return PRODUCT_INVALID_VALUE;
  *value = version[property];
  return PRODUCT_SUCCESS;
}

API int cublasSetStream_v2(Handle *handle, void *stream) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  handle->stream = stream;
  return PRODUCT_SUCCESS;
}

API int cublasGetStream_v2(Handle *handle, void **stream) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  *stream = handle->stream;
  return PRODUCT_SUCCESS;
}

API int cublasSetWorkspace_v2(Handle *handle, void *start, size_t bytes) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  bool there = bytes == 0 || (is_device_memory((uint64_t)start, bytes) && (uint64_t)start % 256 == 0);
  return there ? PRODUCT_SUCCESS : PRODUCT_INVALID_VALUE;
}

API int cublasSetMathMode(Handle *handle, int mode) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  // The low bits are the mode, higher ones flags about reductions.
  int math = mode & 0xf;
  if (math != DEFAULT_MATH && math != PEDANTIC_MATH && math != TF32_MATH) return PRODUCT_INVALID_VALUE;
  handle->math = math;
  return PRODUCT_SUCCESS;
}

API int cublasGetMathMode(Handle *handle, int *mode) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  *mode = handle->math;
  return PRODUCT_SUCCESS;
}

API int cublasSetPointerMode_v2(Handle *handle, int mode) {
  Guard guard(lock);
  if (!handles.count(handle)) return PRODUCT_NOT_INITIALIZED;
  if (mode < 0 || mode > 1) return PRODUCT_INVALID_VALUE;
  handle->factors_on_device = mode == 1;
  return PRODUCT_SUCCESS;
}

API int cublasSetAtomicsMode(Handle *handle, int) {
  Guard guard(lock);
  // Sums here have one order in any case.
  return handles.count(handle) ? PRODUCT_SUCCESS : PRODUCT_NOT_INITIALIZED;
}

API const char *cublasGetStatusName(int status) {
  switch (status) {
    case PRODUCT_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case PRODUCT_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case PRODUCT_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case PRODUCT_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case PRODUCT_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "CUBLAS_STATUS_UNKNOWN";
  }
}
API const char *cublasGetStatusString(int status) { return cublasGetStatusName(status); }

API int cublasGemmEx(Handle *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,
                     const void *a, int type_a, int leading_a, const void *b, int type_b, int leading_b,
                     const void *beta, void *c, int type_c, int leading_c, int compute, int) {
  return multiply(handle, transpose_a, transpose_b, m, n, k, alpha, matrix(a, type_a, leading_a),
                  matrix(b, type_b, leading_b), beta, matrix(c, type_c, leading_c), 1, compute);
}

API int cublasGemmStridedBatchedEx(Handle *handle, int transpose_a, int transpose_b, int m, int n, int k,
                                   const void *alpha, const void *a, int type_a, int leading_a, long long stride_a,
                                   const void *b, int type_b, int leading_b, long long stride_b, const void *beta,
                                   void *c, int type_c, int leading_c, long long stride_c, int batch, int compute,
                                   int) {
  return multiply(handle, transpose_a, transpose_b, m, n, k, alpha, matrix(a, type_a, leading_a, stride_a),
                  matrix(b, type_b, leading_b, stride_b), beta, matrix(c, type_c, leading_c, stride_c), batch, compute);
}

#define PRODUCT_OF(name, batched, type, compute)                                                                       \
  API int name(Handle *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,              \
               const void *a, int leading_a, const void *b, int leading_b, const void *beta, void *c, int leading_c) { \
    return multiply(handle, transpose_a, transpose_b, m, n, k, alpha, matrix(a, type, leading_a),                     \
                    matrix(b, type, leading_b), beta, matrix(c, type, leading_c), 1, compute);                        \
  }                                                                                                                    \
  API int batched(Handle *handle, int transpose_a, int transpose_b, int m, int n, int k, const void *alpha,           \
                  const void *a, int leading_a, long long stride_a, const void *b, int leading_b, long long stride_b, \
                  const void *beta, void *c, int leading_c, long long stride_c, int batch) {                          \
    return multiply(handle, transpose_a, transpose_b, m, n, k, alpha, matrix(a, type, leading_a, stride_a),           \
                    matrix(b, type, leading_b, stride_b), beta, matrix(c, type, leading_c, stride_c), batch, compute); \
  }

PRODUCT_OF(cublasSgemm_v2, cublasSgemmStridedBatched, F32, COMPUTE_F32)
PRODUCT_OF(cublasHgemm, cublasHgemmStridedBatched, F16, COMPUTE_F16)
