// Rows of a table, and positions that are sums of two rows.

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

// Zeros for `prefix` positions, then rows[t / side] + columns[t % side] for each token of a square.
template <class O>
KERNEL grid_positions(O *out, const float *rows, const float *columns, u64 prefix, u64 side, u64 width, u64 count) {
  u64 i = element();
  if (i >= count) return;
  u64 position = i / width, at = i % width, token = position - prefix;
  out[i] = position < prefix ? 0.0f : rows[token / side * width + at] + columns[token % side * width + at];
}

// out[v] = sum of dy over `side` tokens of a square, its row or its column `v`: the first is token `v first`, and the
// next ones lie `stride` tokens apart.
template <class D>
KERNEL grid_positions_grad(float *out, const D *dy, u64 prefix, u64 first, u64 stride, u64 side, u64 width,
                           u64 count) {
  u64 i = element();
  if (i >= count) return;
  dy += (prefix + i / width * first) * width + i % width;
  float sum = 0.0f;
  for (u64 token = 0; token < side; token++) sum += dy[token * stride * width];
  out[i] = sum;
}
