// Rows of a table.

template <class O> KERNEL embed(O *out, const float *table, const int *ids, u64 width, u64 count) {
  u64 i = element();
  if (i < count) out[i] = table[(u64)ids[i / width] * width + i % width];
}

// out[v] = sum of dy[r] over ids[r] = v: 32 columns of one row of the table for a block. Each warp takes every
// eighth token, so that the order of the sum, and with it the result, is always the same.
template <class D> KERNEL embed_grad(float *out, const int *ids, const D *dy, u64 tokens, u64 width) {
  __shared__ float parts[WARPS][WARP];
  u64 across = (width + WARP - 1) / WARP;
  u64 row = blockIdx.x / across, column = blockIdx.x % across * WARP + threadIdx.x;
  float sum = 0.0f;
  for (u64 token = threadIdx.y; token < tokens; token += WARPS)
    if ((u64)ids[token] == row && column < width) sum += dy[token * width + column];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= width) return;
  for (int warp = 1; warp < WARPS; warp++) sum += parts[warp][threadIdx.x];
  out[row * width + column] = sum;
}
