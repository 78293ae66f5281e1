// Kernels that move elements.

// Copies `run` elements of each stretch of `in_stride` to a stretch of `out_stride`; `count` is all that is copied.
template <class O, class X>
KERNEL copy_axis(O *out, const X *x, u64 run, u64 out_stride, u64 out_start, u64 in_stride, u64 in_start, u64 count) {
  u64 i = element();
  if (i >= count) return;
  u64 stretch = i / run, at = i % run;
  out[stretch * out_stride + out_start + at] = x[stretch * in_stride + in_start + at];
}

// Each stretch of `stride` gets `run` elements of `x` from `start` on, and zeros elsewhere; `count` is all of `out`.
template <class O, class X> KERNEL pad(O *out, const X *x, u64 run, u64 stride, u64 start, u64 count) {
  u64 i = element();
  if (i >= count) return;
  u64 stretch = i / stride, at = i % stride;
  out[i] = at >= start && at < start + run ? (float)x[stretch * run + at - start] : 0.0f;
}

// x [B, rows, columns] to out [B, columns, rows], by squares that are turned in shared memory.
template <class O, class X> KERNEL transpose(O *out, const X *x, u64 rows, u64 columns) {
  // The column that is too many keeps the threads that read down a column off one bank.
  __shared__ float square[WARP][WARP + 1];
  u64 across = (columns + WARP - 1) / WARP, down = (rows + WARP - 1) / WARP;
  u64 column0 = blockIdx.x % across * WARP, row0 = blockIdx.x / across % down * WARP;
  u64 matrix = blockIdx.x / (across * down) * rows * columns;
  for (u64 i = threadIdx.y; i < WARP; i += WARPS)
    if (row0 + i < rows && column0 + threadIdx.x < columns)
      square[i][threadIdx.x] = x[matrix + (row0 + i) * columns + column0 + threadIdx.x];
  __syncthreads();
  for (u64 i = threadIdx.y; i < WARP; i += WARPS)
    if (column0 + i < columns && row0 + threadIdx.x < rows)
      out[matrix + (column0 + i) * rows + row0 + threadIdx.x] = square[threadIdx.x][i];
}

// z [B, row] with every position of the rows of mask 1 replaced by init [width].
template <class O, class Z>
KERNEL reset_rows(O *out, const Z *z, const float *mask, const float *init, u64 row, u64 width, u64 count) {
  u64 i = element();
  if (i < count) out[i] = mask[i / row] != 0.0f ? init[i % width] : (float)z[i];
}

// sqrt(sum (now - old)^2 / (sum old^2 + least)) of each row, one block for a row.
template <class N, class W> KERNEL row_distance(float *out, const N *now, const W *old, float least, u64 row) {
  __shared__ float parts[WARPS];
  float moved = 0.0f, before = 0.0f;
  for (u64 i = threadIdx.y * WARP + threadIdx.x; i < row; i += WARPS * WARP) {
    float was = old[blockIdx.x * row + i], change = now[blockIdx.x * row + i] - was;
    moved += change * change;
    before += was * was;
  }
  moved = block_sum(moved, parts);
  before = block_sum(before, parts);
  if (threadIdx.x == 0 && threadIdx.y == 0) out[blockIdx.x] = sqrtf(moved / (before + least));
}
