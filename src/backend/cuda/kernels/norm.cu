// Root-mean-square norm of rows, one warp for a row.

// `residual` may be absent. `out` may be `x`: each thread reads an element before it writes it.
static __device__ __forceinline__ void norm_row(float *out, float *factor, const float *x, const float *residual,
                                                float eps, u64 rows, u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y;
  if (row >= rows) return;
  float squares = 0.0f;
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP) {
    float value = residual ? x[i] + residual[i] : x[i];
    squares += value * value;
  }
  float r = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP)
    out[i] = (residual ? x[i] + residual[i] : x[i]) * r;
  if (threadIdx.x == 0) factor[row] = r;
}

extern "C" __global__ void rms_norm(float *out, float *factor, const float *x, float eps, u64 rows, u64 width) {
  norm_row(out, factor, x, 0, eps, rows, width);
}

extern "C" __global__ void add_rms_norm(float *out, float *factor, const float *x, const float *residual, float eps,
                                        u64 rows, u64 width) {
  norm_row(out, factor, x, residual, eps, rows, width);
}

// dx = r (dy - y mean(dy y)).
extern "C" __global__ void rms_norm_grad(float *out, const float *y, const float *factor, const float *dy, u64 rows,
                                         u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y;
  if (row >= rows) return;
  float along = 0.0f;
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP) along += dy[i] * y[i];
  float mean = warp_sum(along) / (float)width, r = factor[row];
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP) out[i] = r * (dy[i] - y[i] * mean);
}
