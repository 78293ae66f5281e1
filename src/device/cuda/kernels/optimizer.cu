// Update rules, in place. Scalars that change from step to step are in memory.
//
// A launch works on many tensors, cut into chunks that a table lists: one block for a chunk.

// Elements of a weight that share one sum of squares.
#define STRETCH 4096

// A chunk of a weight with its moments and gradient, and the sum of the squares of the gradient for each stretch of it.
struct Weights {
  float *p, *m, *v;
  const float *g;
  float *squares;
  u64 count;
};

static __device__ __forceinline__ bool finite(float x) { return fabsf(x) <= 3.402823466e38f; }

// What spoils a sum.
static __device__ __forceinline__ float infinite() { return __int_as_float(0x7f800000); }

// A chunk that is changed by another one.
template <class T, class F> struct Pair {
  T *to;
  const F *from;
  u64 count;
};

extern "C" __global__ void adam_atan2(const Weights *chunks, const float *lr, const float *step_scale,
                                      const float *root_scale, float beta1, float beta2, float weight_decay) {
  __shared__ float parts[WARPS];
  Weights w = chunks[blockIdx.x];
  for (u64 start = 0; start < w.count; start += STRETCH) {
    float squares = 0.0f;
    for (u64 i = start + threadIdx.x; i < start + STRETCH && i < w.count; i += blockDim.x) {
      float g = w.g[i], m = beta1 * w.m[i] + (1.0f - beta1) * g, v = beta2 * w.v[i] + (1.0f - beta2) * g * g;
      float p = w.p[i] * (1.0f - *lr * weight_decay) - *step_scale * atan2f(m, sqrtf(v) * *root_scale);
      w.m[i] = m;
      w.v[i] = v;
      w.p[i] = p;
      squares += finite(p) && finite(v) ? g * g : infinite();
    }
    squares = block_sum(squares, parts);
    if (threadIdx.x == 0) w.squares[start / STRETCH] = squares;
  }
}

extern "C" __global__ void adam_w(const Weights *chunks, const float *lr, const float *step_scale,
                                  const float *root_scale, float beta1, float beta2, float weight_decay, float eps) {
  __shared__ float parts[WARPS];
  Weights w = chunks[blockIdx.x];
  for (u64 start = 0; start < w.count; start += STRETCH) {
    float squares = 0.0f;
    for (u64 i = start + threadIdx.x; i < start + STRETCH && i < w.count; i += blockDim.x) {
      float g = w.g[i], m = beta1 * w.m[i] + (1.0f - beta1) * g, v = beta2 * w.v[i] + (1.0f - beta2) * g * g;
      float p = w.p[i] * (1.0f - *lr * weight_decay) - *step_scale * m / (sqrtf(v) * *root_scale + eps);
      w.m[i] = m;
      w.v[i] = v;
      w.p[i] = p;
      squares += finite(p) && finite(v) ? g * g : infinite();
    }
    squares = block_sum(squares, parts);
    if (threadIdx.x == 0) w.squares[start / STRETCH] = squares;
  }
}

// One block for a row of the batch. The first of those with one row number moves that row of the table.
template <class G>
KERNEL sign_sgd_rows(float *table, float *squares, const int *ids, const G *g, const float *lr, float weight_decay,
                     u64 batch, u64 width) {
  __shared__ float parts[WARPS];
  u64 own = blockIdx.x;
  for (u64 other = 0; other < own; other++)
    if (ids[other] == ids[own]) return;
  float own_squares = 0.0f;
  for (u64 i = threadIdx.x; i < width; i += blockDim.x) {
    float sum = 0.0f;
    for (u64 other = own; other < batch; other++)
      if (ids[other] == ids[own]) sum += g[other * width + i];
    float sign = sum > 0.0f ? 1.0f : sum < 0.0f ? -1.0f : 0.0f;
    float *weight = table + (u64)ids[own] * width + i;
    float moved = *weight * (1.0f - *lr * weight_decay) - *lr * sign;
    *weight = moved;
    own_squares += finite(moved) ? sum * sum : infinite();
  }
  own_squares = block_sum(own_squares, parts);
  for (u64 other = own + threadIdx.x; other < batch; other += blockDim.x)
    if (ids[other] == ids[own]) squares[other] = own_squares;
}

extern "C" __global__ void average(const Pair<float, float> *chunks, float rate) {
  Pair<float, float> w = chunks[blockIdx.x];
  for (u64 i = threadIdx.x; i < w.count; i += blockDim.x) w.to[i] = rate * w.to[i] + (1.0f - rate) * w.from[i];
}

// Stores values in memory, or makes rounded copies of them.
template <class T, class F> KERNEL assign(const Pair<T, F> *chunks) {
  Pair<T, F> w = chunks[blockIdx.x];
  for (u64 i = threadIdx.x; i < w.count; i += blockDim.x) w.to[i] = (float)w.from[i];
}
