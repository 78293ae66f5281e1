// Losses and correctness: one block for a row of the batch, each warp taking every eighth token. A negative label
// does not count.

static __device__ __forceinline__ float stable(float x) { return x < 0.0f ? 1.0f / (1.0f - x) : x + 1.0f; }

// Largest of the logits of a token.
static __device__ __forceinline__ float largest(const float *x, u64 vocab) {
  float most = LOWEST;
  for (u64 v = threadIdx.x; v < vocab; v += WARP) most = fmaxf(most, x[v]);
  return warp_max(most);
}

// Sum of e^(x - shift), or of s(x), over the logits of a token.
static __device__ __forceinline__ float denominator(const float *x, u64 vocab, bool softmax, float shift) {
  float sum = 0.0f;
  for (u64 v = threadIdx.x; v < vocab; v += WARP) sum += softmax ? expf(x[v] - shift) : stable(x[v]);
  return warp_sum(sum);
}

// Labels of the row that count.
static __device__ __forceinline__ float counted(const int *labels, u64 positions, float *parts) {
  float count = 0.0f;
  for (u64 t = threadIdx.y * WARP + threadIdx.x; t < positions; t += WARPS * WARP)
    count += labels[t] >= 0 ? 1.0f : 0.0f;
  return block_sum(count, parts);
}

extern "C" __global__ void token_loss(float *out, const float *logits, const int *labels, u64 softmax, u64 positions,
                                      u64 vocab) {
  __shared__ float parts[WARPS];
  labels += blockIdx.x * positions;
  logits += blockIdx.x * positions * vocab;
  float count = counted(labels, positions, parts), loss = 0.0f;
  for (u64 t = threadIdx.y; t < positions; t += WARPS) {
    if (labels[t] < 0) continue;
    const float *x = logits + t * vocab;
    float shift = softmax ? largest(x, vocab) : 0.0f;
    float sum = denominator(x, vocab, softmax, shift), chosen = x[labels[t]];
    if (threadIdx.x == 0) loss += logf(sum) - (softmax ? chosen - shift : logf(stable(chosen)));
  }
  loss = block_sum(loss, parts);
  if (threadIdx.x == 0 && threadIdx.y == 0) out[blockIdx.x] = loss / fmaxf(count, 1.0f);
}

template <class O>
KERNEL token_loss_grad(O *out, const float *logits, const int *labels, const float *dloss, u64 softmax, u64 positions,
                       u64 vocab) {
  __shared__ float parts[WARPS];
  labels += blockIdx.x * positions;
  logits += blockIdx.x * positions * vocab;
  out += blockIdx.x * positions * vocab;
  float weight = dloss[blockIdx.x] / fmaxf(counted(labels, positions, parts), 1.0f);
  for (u64 t = threadIdx.y; t < positions; t += WARPS) {
    const float *x = logits + t * vocab;
    float shift = softmax ? largest(x, vocab) : 0.0f;
    float sum = denominator(x, vocab, softmax, shift);
    for (u64 v = threadIdx.x; v < vocab; v += WARP) {
      float hot = labels[t] >= 0 && (u64)labels[t] == v ? 1.0f : 0.0f, s = stable(x[v]), slope;
      if (softmax)
        slope = expf(x[v] - shift) / sum - hot;
      else
        slope = (x[v] < 0.0f ? s * s : 1.0f) * (1.0f / sum - hot / s);
      out[t * vocab + v] = labels[t] < 0 ? 0.0f : slope * weight;
    }
  }
}

// The prediction is the first of the largest logits.
extern "C" __global__ void correctness(float *right, float *all, const float *logits, const int *labels, u64 positions,
                                       u64 vocab) {
  __shared__ float parts[WARPS];
  labels += blockIdx.x * positions;
  logits += blockIdx.x * positions * vocab;
  float count = counted(labels, positions, parts), hits = 0.0f;
  for (u64 t = threadIdx.y; t < positions; t += WARPS) {
    float most = LOWEST;
    int best = (int)vocab;
    for (u64 v = threadIdx.x; v < vocab; v += WARP)
      if (logits[t * vocab + v] > most || best == (int)vocab) {
        most = logits[t * vocab + v];
        best = (int)v;
      }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
      float other = __shfl_xor_sync(ALL_LANES, most, distance);
      int where = __shfl_xor_sync(ALL_LANES, best, distance);
      if (other > most || (other == most && where < best)) {
        most = other;
        best = where;
      }
    }
    if (threadIdx.x == 0 && labels[t] == best) hits += 1.0f;
  }
  hits = block_sum(hits, parts);
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    right[blockIdx.x] = hits;
    all[blockIdx.x] = count;
  }
}

extern "C" __global__ void bce_with_logits(float *out, const float *q, const float *target, u64 count) {
  u64 i = element();
  if (i < count) out[i] = fmaxf(q[i], 0.0f) - q[i] * target[i] + logf(1.0f + expf(-fabsf(q[i])));
}

template <class O>
KERNEL bce_with_logits_grad(O *out, const float *q, const float *target, const float *dloss, u64 count) {
  u64 i = element();
  if (i < count) out[i] = dloss[i] * (logistic(q[i]) - target[i]);
}
