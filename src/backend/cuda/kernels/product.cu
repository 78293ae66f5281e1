// Products, portable and in f32: out[i, j] = sum over l of a(i, l) b(j, l).
//
// A block of 16 x 16 threads makes a tile of 64 x 64 results from slices of 16 terms in shared memory; each
// thread has the 16 results at its place in the sixteen squares of the tile.

#define TILE 64
#define SIDE 16
#define SLICE 16
// Results of a thread in each direction.
#define EACH 4

typedef float Slice[TILE + 1];

// Copies a slice of a factor of `rows` rows and `terms` columns. BY_ROWS: a row lies side by side; else a column.
// GATED: the tile has 32 rows from `row0` on, then 32 rows that lie `rows` later.
template <bool BY_ROWS, bool GATED>
static __device__ __forceinline__ void load_slice(Slice *slice, const float *factor, u64 row0, u64 rows, u64 term0,
                                                  u64 terms) {
  for (int i = threadIdx.y * SIDE + threadIdx.x; i < TILE * SLICE; i += SIDE * SIDE) {
    int at = BY_ROWS ? i / SLICE : i % TILE, l = BY_ROWS ? i % SLICE : i / TILE;
    u64 row = row0 + (GATED ? at % (TILE / 2) : at), term = term0 + l;
    bool there = row < rows && term < terms;
    u64 place = GATED && at >= TILE / 2 ? row + rows : row;
    slice[l][at] = !there ? 0.0f : BY_ROWS ? factor[place * terms + term] : factor[term * rows + place];
  }
}

template <bool A_BY_ROWS, bool B_BY_ROWS, bool GATED>
static __device__ __forceinline__ void accumulate(float sums[EACH][EACH], Slice *left, Slice *right, const float *a,
                                                  const float *b, u64 row0, u64 rows, u64 column0, u64 columns,
                                                  u64 terms) {
  for (u64 term0 = 0; term0 < terms; term0 += SLICE) {
    load_slice<A_BY_ROWS, false>(left, a, row0, rows, term0, terms);
    load_slice<B_BY_ROWS, GATED>(right, b, column0, columns, term0, terms);
    __syncthreads();
    for (int l = 0; l < SLICE; l++)
      for (int r = 0; r < EACH; r++)
        for (int c = 0; c < EACH; c++)
          sums[r][c] += left[l][threadIdx.y + SIDE * r] * right[l][threadIdx.x + SIDE * c];
    // Nobody may overwrite a slice that others still read.
    __syncthreads();
  }
}

template <bool A_BY_ROWS, bool B_BY_ROWS>
static __device__ __forceinline__ void product(float *out, const float *a, const float *b, u64 rows, u64 columns,
                                               u64 terms, Slice *left, Slice *right) {
  u64 across = (columns + TILE - 1) / TILE;
  u64 row0 = blockIdx.x / across * TILE, column0 = blockIdx.x % across * TILE;
  float sums[EACH][EACH] = {};
  accumulate<A_BY_ROWS, B_BY_ROWS, false>(sums, left, right, a, b, row0, rows, column0, columns, terms);
  for (int r = 0; r < EACH; r++)
    for (int c = 0; c < EACH; c++) {
      u64 row = row0 + threadIdx.y + SIDE * r, column = column0 + threadIdx.x + SIDE * c;
      if (row < rows && column < columns) out[row * columns + column] = sums[r][c];
    }
}

// a [rows, terms], b [columns, terms]: the forward pass.
extern "C" __global__ void product_nt(float *out, const float *a, const float *b, u64 rows, u64 columns, u64 terms) {
  __shared__ float left[SLICE][TILE + 1], right[SLICE][TILE + 1];
  product<true, true>(out, a, b, rows, columns, terms, left, right);
}

// a [rows, terms], b [terms, columns]: the gradient of the input.
extern "C" __global__ void product_nn(float *out, const float *a, const float *b, u64 rows, u64 columns, u64 terms) {
  __shared__ float left[SLICE][TILE + 1], right[SLICE][TILE + 1];
  product<true, false>(out, a, b, rows, columns, terms, left, right);
}

// a [terms, rows], b [terms, columns]: the gradient of the weight.
extern "C" __global__ void product_tn(float *out, const float *a, const float *b, u64 rows, u64 columns, u64 terms) {
  __shared__ float left[SLICE][TILE + 1], right[SLICE][TILE + 1];
  product<false, false>(out, a, b, rows, columns, terms, left, right);
}

// x [rows, terms], w [2 inner, terms], gate rows before up rows, to silu(gate) up [rows, inner]. The wide product
// stays in registers: a tile has 32 columns of the gate, and the same 32 of what it gates.
extern "C" __global__ void product_swiglu(float *out, const float *x, const float *w, u64 rows, u64 inner, u64 terms) {
  __shared__ float left[SLICE][TILE + 1], right[SLICE][TILE + 1];
  u64 across = (inner + TILE / 2 - 1) / (TILE / 2);
  u64 row0 = blockIdx.x / across * TILE, column0 = blockIdx.x % across * (TILE / 2);
  float sums[EACH][EACH] = {};
  accumulate<true, true, true>(sums, left, right, x, w, row0, rows, column0, inner, terms);
  for (int r = 0; r < EACH; r++)
    for (int c = 0; c < EACH / 2; c++) {
      u64 row = row0 + threadIdx.y + SIDE * r, column = column0 + threadIdx.x + SIDE * c;
      float gate = sums[r][c], up = sums[r][c + EACH / 2];
      if (row < rows && column < inner) out[row * inner + column] = gate * logistic(gate) * up;
    }
}
