// Norms of rows, one warp for a row: by the root of the mean square, and by mean and variance.

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

// `out` may not be `x`: mean, variance and result take a reading each.
template <int COUNT, class O, class X>
static __device__ __forceinline__ void layer_norm_row(O *out, float *mean, float *factor, const X *x,
                                                      const float *scale, const float *shift, float eps, u64 rows,
                                                      u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y, start = threadIdx.x * COUNT;
  if (row >= rows) return;
  x += row * width;
  out += row * width;
  float sum = 0.0f, squares = 0.0f;
  for (u64 i = start; i < width; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    for (int l = 0; l < COUNT; l++) sum += pack.at[l];
  }
  float m = warp_sum(sum) / (float)width;
  for (u64 i = start; i < width; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    for (int l = 0; l < COUNT; l++) squares += (pack.at[l] - m) * (pack.at[l] - m);
  }
  float s = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
  for (u64 i = start; i < width; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    Pack<float, COUNT> by = load<COUNT>(scale + i), plus = load<COUNT>(shift + i);
    Pack<O, COUNT> result;
    for (int l = 0; l < COUNT; l++) result.at[l] = (pack.at[l] - m) * s * by.at[l] + plus.at[l];
    save(out + i, result);
  }
  if (threadIdx.x == 0) {
    mean[row] = m;
    factor[row] = s;
  }
}

template <class O, class X>
KERNEL layer_norm(O *out, float *mean, float *factor, const X *x, const float *scale, const float *shift, float eps,
                  u64 rows, u64 width) {
  if (width % EACH_THREAD == 0)
    layer_norm_row<EACH_THREAD>(out, mean, factor, x, scale, shift, eps, rows, width);
  else
    layer_norm_row<1>(out, mean, factor, x, scale, shift, eps, rows, width);
}

template <int COUNT, class O, class X, class D>
static __device__ __forceinline__ void layer_norm_grad_row(O *out, const X *x, const float *mean, const float *factor,
                                                           const float *scale, const D *dy, u64 rows, u64 width) {
  u64 row = (u64)blockIdx.x * WARPS + threadIdx.y, start = threadIdx.x * COUNT;
  if (row >= rows) return;
  x += row * width;
  dy += row * width;
  out += row * width;
  float m = mean[row], s = factor[row], sum = 0.0f, along = 0.0f;
  for (u64 i = start; i < width; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    Pack<D, COUNT> change = load<COUNT>(dy + i);
    Pack<float, COUNT> by = load<COUNT>(scale + i);
    for (int l = 0; l < COUNT; l++) {
      float g = change.at[l] * by.at[l];
      sum += g;
      along += g * (pack.at[l] - m) * s;
    }
  }
  sum = warp_sum(sum) / (float)width;
  along = warp_sum(along) / (float)width;
  for (u64 i = start; i < width; i += WARP * COUNT) {
    Pack<X, COUNT> pack = load<COUNT>(x + i);
    Pack<D, COUNT> change = load<COUNT>(dy + i);
    Pack<float, COUNT> by = load<COUNT>(scale + i);
    Pack<O, COUNT> result;
    for (int l = 0; l < COUNT; l++)
      result.at[l] = s * (change.at[l] * by.at[l] - sum - (pack.at[l] - m) * s * along);
    save(out + i, result);
  }
}

// dx = s (g - mean(g) - n mean(g n)) with g = dy scale and n = (x - m) s.
template <class O, class X, class D>
KERNEL layer_norm_grad(O *out, const X *x, const float *mean, const float *factor, const float *scale, const D *dy,
                       u64 rows, u64 width) {
  if (width % EACH_THREAD == 0)
    layer_norm_grad_row<EACH_THREAD>(out, x, mean, factor, scale, dy, rows, width);
  else
    layer_norm_grad_row<1>(out, x, mean, factor, scale, dy, rows, width);
}

// out[part, i] = sum of dy (x - m) s over the `each` rows of a part, of `rows` in all: 32 columns of a part for a
// block, each warp taking every eighth row.
template <class X, class D>
KERNEL layer_norm_grad_scale(float *out, const X *x, const float *mean, const float *factor, const D *dy, u64 each,
                             u64 rows, u64 width) {
  __shared__ float parts[WARPS][WARP];
  u64 across = (width + WARP - 1) / WARP, part = blockIdx.x / across, first = part * each;
  u64 column = blockIdx.x % across * WARP + threadIdx.x, end = first + each < rows ? first + each : rows;
  float sum = 0.0f;
  if (column < width)
    for (u64 row = first + threadIdx.y; row < end; row += WARPS)
      sum += dy[row * width + column] * (x[row * width + column] - mean[row]) * factor[row];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= width) return;
  for (int warp = 1; warp < WARPS; warp++) sum += parts[warp][threadIdx.x];
  out[part * width + column] = sum;
}
