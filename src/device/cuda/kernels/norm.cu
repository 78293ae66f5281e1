// Root-mean-square norm of rows, one warp for a row.

// `residual` may be absent. `out` may be `x`: each thread reads an element before it writes it.
template <int COUNT, class O, class X, class R>
static __device__ __forceinline__ void norm_row(O *out, float *factor, const X *x, const R *residual, float eps,
                                                u64 rows, u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y, start = row * width + threadIdx.x * COUNT, end = (row + 1) * width;
  if (row >= rows) return;
  float squares = 0.0f;
  for (u64 i = start; i < end; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    Pack<R, COUNT> other = residual ? load<COUNT>(residual + i) : Pack<R, COUNT>();
    for (int l = 0; l < COUNT; l++) {
      float value = residual ? pack.at[l] + other.at[l] : (float)pack.at[l];
      squares += value * value;
    }
  }
  float r = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
  for (u64 i = start; i < end; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    Pack<R, COUNT> other = residual ? load<COUNT>(residual + i) : Pack<R, COUNT>();
    Pack<O, COUNT> result;
    for (int l = 0; l < COUNT; l++)
      result.at[l] = (residual ? pack.at[l] + other.at[l] : (float)pack.at[l]) * r;
    save(out + i, result);
  }
  if (threadIdx.x == 0) factor[row] = r;
}

template <class O, class X> KERNEL rms_norm(O *out, float *factor, const X *x, float eps, u64 rows, u64 width) {
  if (width % EACH_THREAD == 0)
    norm_row<EACH_THREAD>(out, factor, x, (const X *)0, eps, rows, width);
  else
    norm_row<1>(out, factor, x, (const X *)0, eps, rows, width);
}

template <class O, class X, class R>
KERNEL add_rms_norm(O *out, float *factor, const X *x, const R *residual, float eps, u64 rows, u64 width) {
  if (width % EACH_THREAD == 0)
    norm_row<EACH_THREAD>(out, factor, x, residual, eps, rows, width);
  else
    norm_row<1>(out, factor, x, residual, eps, rows, width);
}

template <int COUNT, class O, class Y, class D>
static __device__ __forceinline__ void norm_grad_row(O *out, const Y *y, const float *factor, const D *dy, u64 rows,
                                                     u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y, start = row * width + threadIdx.x * COUNT, end = (row + 1) * width;
  if (row >= rows) return;
  float along = 0.0f;
  for (u64 i = start; i < end; i += WARP * COUNT) {
    Pack<Y, COUNT> normal = load<COUNT>(y + i);
    Pack<D, COUNT> change = load<COUNT>(dy + i);
    for (int l = 0; l < COUNT; l++) along += change.at[l] * normal.at[l];
  }
  float mean = warp_sum(along) / (float)width, r = factor[row];
  for (u64 i = start; i < end; i += WARP * COUNT) {
    Pack<Y, COUNT> normal = load<COUNT>(y + i);
    Pack<D, COUNT> change = load<COUNT>(dy + i);
    Pack<O, COUNT> result;
    for (int l = 0; l < COUNT; l++) result.at[l] = r * (change.at[l] - normal.at[l] * mean);
    save(out + i, result);
  }
}

// dx = r (dy - y mean(dy y)).
template <class O, class Y, class D>
KERNEL rms_norm_grad(O *out, const Y *y, const float *factor, const D *dy, u64 rows, u64 width) {
  if (width % EACH_THREAD == 0)
    norm_grad_row<EACH_THREAD>(out, y, factor, dy, rows, width);
  else
    norm_grad_row<1>(out, y, factor, dy, rows, width);
}
