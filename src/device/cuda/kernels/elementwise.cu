// One thread for each element, or for a few that lie side by side.

template <int COUNT, class O, class A, class B>
static __device__ __forceinline__ void add_pack(O *out, const A *a, const B *b) {
  Pack<A, COUNT> left = load<COUNT>(a);
  Pack<B, COUNT> right = load<COUNT>(b);
  Pack<O, COUNT> sum;
  for (int l = 0; l < COUNT; l++) sum.at[l] = left.at[l] + right.at[l];
  save(out, sum);
}

template <class O, class A, class B> KERNEL add(O *out, const A *a, const B *b, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i + EACH_THREAD <= count)
    add_pack<EACH_THREAD>(out + i, a + i, b + i);
  else
    for (; i < count; i++) add_pack<1>(out + i, a + i, b + i);
}

template <int COUNT, class O, class A, class B>
static __device__ __forceinline__ void multiply_pack(O *out, const A *a, const B *b) {
  Pack<A, COUNT> left = load<COUNT>(a);
  Pack<B, COUNT> right = load<COUNT>(b);
  Pack<O, COUNT> product;
  for (int l = 0; l < COUNT; l++) product.at[l] = left.at[l] * right.at[l];
  save(out, product);
}

template <class O, class A, class B> KERNEL multiply(O *out, const A *a, const B *b, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i + EACH_THREAD <= count)
    multiply_pack<EACH_THREAD>(out + i, a + i, b + i);
  else
    for (; i < count; i++) multiply_pack<1>(out + i, a + i, b + i);
}

template <class O, class X> KERNEL scale(O *out, const X *x, float factor, u64 count) {
  u64 i = element();
  if (i < count) out[i] = factor * x[i];
}

template <class O, class X> KERNEL scale_by(O *out, const X *x, const float *factor, u64 count) {
  u64 i = element();
  if (i < count) out[i] = *factor * x[i];
}

// `suffix` has `size` elements and is repeated.
template <class O, class X, class S> KERNEL add_suffix(O *out, const X *x, const S *suffix, u64 size, u64 count) {
  u64 i = element();
  if (i < count) out[i] = x[i] + suffix[i % size];
}

// out[part, i] = sum of x[r, i] over the `each` rows of a part, of `rows` in all: 32 columns of a part for a block,
// each warp taking every eighth row.
template <class X> KERNEL sum_leading(float *out, const X *x, u64 each, u64 rows, u64 size) {
  __shared__ float parts[WARPS][WARP];
  u64 across = (size + WARP - 1) / WARP, part = blockIdx.x / across, first = part * each;
  u64 column = blockIdx.x % across * WARP + threadIdx.x, end = first + each < rows ? first + each : rows;
  float sum = 0.0f;
  if (column < size)
    for (u64 row = first + threadIdx.y; row < end; row += WARPS) sum += x[row * size + column];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= size) return;
  for (int warp = 1; warp < WARPS; warp++) sum += parts[warp][threadIdx.x];
  out[part * size + column] = sum;
}

template <class O> KERNEL fill(O *out, float value, u64 count) {
  u64 i = element();
  if (i < count) out[i] = value;
}

extern "C" __global__ void sigmoid(float *out, const float *x, u64 count) {
  u64 i = element();
  if (i < count) out[i] = logistic(x[i]);
}

extern "C" __global__ void maximum(float *out, const float *a, const float *b, u64 count) {
  u64 i = element();
  if (i < count) out[i] = a[i] < b[i] ? b[i] : a[i];
}

extern "C" __global__ void choose(float *out, const float *mask, const float *a, const float *b, u64 count) {
  u64 i = element();
  if (i < count) out[i] = mask[i] != 0.0f ? a[i] : b[i];
}

extern "C" __global__ void equal(float *out, const float *a, const float *b, u64 count) {
  u64 i = element();
  if (i < count) out[i] = a[i] == b[i] ? 1.0f : 0.0f;
}

// 2 sqrt(2 / pi), and the factor of the cube.
#define GELU_SLOPE 1.5957691f
#define GELU_CUBE 0.044715f

static __device__ __forceinline__ float gelu_share(float x) {
  return logistic(GELU_SLOPE * x * (1.0f + GELU_CUBE * x * x));
}

template <int COUNT, class O, class X> static __device__ __forceinline__ void gelu_pack(O *out, const X *x) {
  Pack<X, COUNT> pack = load<COUNT>(x);
  Pack<O, COUNT> result;
  for (int l = 0; l < COUNT; l++) result.at[l] = pack.at[l] * gelu_share(pack.at[l]);
  save(out, result);
}

// x s with s = 1 / (1 + e^-2u), 2 u = GELU_SLOPE x (1 + GELU_CUBE x^2).
template <class O, class X> KERNEL gelu(O *out, const X *x, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i + EACH_THREAD <= count)
    gelu_pack<EACH_THREAD>(out + i, x + i);
  else
    for (; i < count; i++) gelu_pack<1>(out + i, x + i);
}

template <int COUNT, class O, class X, class D>
static __device__ __forceinline__ void gelu_grad_pack(O *out, const X *x, const D *dy) {
  Pack<X, COUNT> pack = load<COUNT>(x);
  Pack<D, COUNT> change = load<COUNT>(dy);
  Pack<O, COUNT> result;
  for (int l = 0; l < COUNT; l++) {
    float value = pack.at[l], s = gelu_share(value);
    float slope = GELU_SLOPE * (1.0f + 3.0f * GELU_CUBE * value * value);
    result.at[l] = change.at[l] * (s + value * s * (1.0f - s) * slope);
  }
  save(out, result);
}

// dx = dy (s + x s (1 - s) 2 u').
template <class O, class X, class D> KERNEL gelu_grad(O *out, const X *x, const D *dy, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i + EACH_THREAD <= count)
    gelu_grad_pack<EACH_THREAD>(out + i, x + i, dy + i);
  else
    for (; i < count; i++) gelu_grad_pack<1>(out + i, x + i, dy + i);
}

// The end of MurmurHash3: every bit of the result depends on every bit of `x`.
static __device__ __forceinline__ unsigned mixed(unsigned x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  return x ^ x >> 16;
}

// `residual` may be absent.
template <int COUNT, class O, class X, class R>
static __device__ __forceinline__ void dropout_pack(O *out, const X *x, const int *keys, const R *residual, u64 site,
                                                    u64 threshold, float factor, u64 row, u64 i) {
  unsigned seed = mixed((unsigned)keys[i / row] + mixed((unsigned)site + 1u)), index = (unsigned)(i % row);
  Pack<X, COUNT> pack = load<COUNT>(x + i);
  Pack<R, COUNT> other = residual ? load<COUNT>(residual + i) : Pack<R, COUNT>();
  Pack<O, COUNT> result;
  for (int l = 0; l < COUNT; l++) {
    bool dropped = mixed((index + l) * 0x9e3779b9u + seed) < (unsigned)threshold;
    float kept = dropped ? 0.0f : factor * pack.at[l];
    result.at[l] = residual ? kept + other.at[l] : kept;
  }
  save(out + i, result);
}

template <class O, class X, class R>
static __device__ __forceinline__ void dropout_of_thread(O *out, const X *x, const int *keys, const R *residual,
                                                         u64 site, u64 threshold, float factor, u64 row, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i < count && row % EACH_THREAD == 0)
    dropout_pack<EACH_THREAD>(out, x, keys, residual, site, threshold, factor, row, i);
  else
    for (u64 end = i + EACH_THREAD; i < end && i < count; i++)
      dropout_pack<1>(out, x, keys, residual, site, threshold, factor, row, i);
}

// Zero where a number that follows from the key of the row, the site and the place in the row is below the threshold,
// else factor x. Rows have `row` elements.
template <class O, class X>
KERNEL dropout(O *out, const X *x, const int *keys, u64 site, u64 threshold, float factor, u64 row, u64 count) {
  dropout_of_thread(out, x, keys, (const X *)0, site, threshold, factor, row, count);
}

template <class O, class X, class R>
KERNEL dropout_add(O *out, const X *x, const int *keys, const R *residual, u64 site, u64 threshold, float factor,
                   u64 row, u64 count) {
  dropout_of_thread(out, x, keys, residual, site, threshold, factor, row, count);
}
