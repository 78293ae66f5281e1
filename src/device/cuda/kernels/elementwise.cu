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

template <class O, class X> KERNEL scale(O *out, const X *x, float factor, u64 count) {
  u64 i = element();
  if (i < count) out[i] = factor * x[i];
}

// `suffix` has `size` elements and is repeated.
template <class O, class X, class S> KERNEL add_suffix(O *out, const X *x, const S *suffix, u64 size, u64 count) {
  u64 i = element();
  if (i < count) out[i] = x[i] + suffix[i % size];
}

// out[i] = sum of x[r, i] over `rows` rows: 32 columns for a block, each warp taking every eighth row.
template <class X> KERNEL sum_leading(float *out, const X *x, u64 rows, u64 size) {
  __shared__ float parts[WARPS][WARP];
  u64 column = (u64)blockIdx.x * WARP + threadIdx.x;
  float sum = 0.0f;
  if (column < size)
    for (u64 row = threadIdx.y; row < rows; row += WARPS) sum += x[row * size + column];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= size) return;
  for (int warp = 1; warp < WARPS; warp++) sum += parts[warp][threadIdx.x];
  out[column] = sum;
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
