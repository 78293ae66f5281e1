// Update rules, in place. Scalars that change from step to step are in memory.

extern "C" __global__ void adam_atan2(float *p, float *m, float *v, const float *g, const float *lr,
                                      const float *step_scale, const float *root_scale, float beta1, float beta2,
                                      float weight_decay, u64 count) {
  u64 i = element();
  if (i >= count) return;
  m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
  v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
  p[i] = p[i] * (1.0f - *lr * weight_decay) - *step_scale * atan2f(m[i], sqrtf(v[i]) * *root_scale);
}

extern "C" __global__ void adam_w(float *p, float *m, float *v, const float *g, const float *lr,
                                  const float *step_scale, const float *root_scale, float beta1, float beta2,
                                  float weight_decay, float eps, u64 count) {
  u64 i = element();
  if (i >= count) return;
  m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
  v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
  p[i] = p[i] * (1.0f - *lr * weight_decay) - *step_scale * m[i] / (sqrtf(v[i]) * *root_scale + eps);
}

// One block for a row of the batch. The first of those with one row number moves that row of the table.
extern "C" __global__ void sign_sgd_rows(float *table, const int *ids, const float *g, const float *lr,
                                         float weight_decay, u64 batch, u64 width) {
  u64 own = blockIdx.x;
  for (u64 other = 0; other < own; other++)
    if (ids[other] == ids[own]) return;
  for (u64 i = threadIdx.x; i < width; i += blockDim.x) {
    float sum = 0.0f;
    for (u64 other = own; other < batch; other++)
      if (ids[other] == ids[own]) sum += g[other * width + i];
    float sign = sum > 0.0f ? 1.0f : sum < 0.0f ? -1.0f : 0.0f;
    float *weight = table + (u64)ids[own] * width + i;
    *weight = *weight * (1.0f - *lr * weight_decay) - *lr * sign;
  }
}

extern "C" __global__ void average(float *a, const float *p, float rate, u64 count) {
  u64 i = element();
  if (i < count) a[i] = rate * a[i] + (1.0f - rate) * p[i];
}
