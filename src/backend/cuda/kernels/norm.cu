// Root-mean-square norm of rows, one warp for a row.

// `residual` may be absent. `out` may be `x`: each thread reads an element before it writes it.
template <class O, class X, class R>
static __device__ __forceinline__ void norm_row(O *out, float *factor, const X *x, const R *residual, float eps,
                                                u64 rows, u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y;
  if (row >= rows) return;
  float squares = 0.0f;
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP) {
    float value = residual ? x[i] + residual[i] : (float)x[i];
    squares += value * value;
  }
  float r = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP)
    out[i] = (residual ? x[i] + residual[i] : (float)x[i]) * r;
  if (threadIdx.x == 0) factor[row] = r;
}

template <class O, class X> KERNEL rms_norm(O *out, float *factor, const X *x, float eps, u64 rows, u64 width) {
  norm_row(out, factor, x, (const X *)0, eps, rows, width);
}

template <class O, class X, class R>
KERNEL add_rms_norm(O *out, float *factor, const X *x, const R *residual, float eps, u64 rows, u64 width) {
  norm_row(out, factor, x, residual, eps, rows, width);
}

// dx = r (dy - y mean(dy y)).
template <class O, class Y, class D>
KERNEL rms_norm_grad(O *out, const Y *y, const float *factor, const D *dy, u64 rows, u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y;
  if (row >= rows) return;
  float along = 0.0f;
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP) along += dy[i] * y[i];
  float mean = warp_sum(along) / (float)width, r = factor[row];
  for (u64 i = row * width + threadIdx.x; i < (row + 1) * width; i += WARP) out[i] = r * (dy[i] - y[i] * mean);
}
