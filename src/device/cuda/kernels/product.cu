// The product of the gated unit, portable, in f32 inside: sums over l of x(i, l) w(j, l). Plain products are cuBLAS's.
//
// A block of 16 x 16 threads makes a tile of 64 x 64 results from slices of 16 terms in shared memory; each
// thread has the 16 results at its place in the sixteen squares of the tile.

#define TILE 64
#define SIDE 16
#define SLICE 16
// Results of a thread in each direction.
#define EACH 4

typedef float Slice[TILE + 1];

// Copies a slice of a factor [rows, terms], a row of it side by side. GATED: the tile has 32 rows from `row0` on, then
// 32 rows that lie `rows` later.
template <bool GATED, class T>
static __device__ __forceinline__ void load_slice(Slice *slice, const T *factor, u64 row0, u64 rows, u64 term0,
                                                  u64 terms) {
  for (int i = threadIdx.y * SIDE + threadIdx.x; i < TILE * SLICE; i += SIDE * SIDE) {
    int at = i / SLICE, l = i % SLICE;
    u64 row = row0 + (GATED ? at % (TILE / 2) : at), term = term0 + l;
    bool there = row < rows && term < terms;
    u64 place = GATED && at >= TILE / 2 ? row + rows : row;
    slice[l][at] = there ? (float)factor[place * terms + term] : 0.0f;
  }
}

// x [rows, terms], w [2 inner, terms], gate rows before up rows, to silu(gate) up [rows, inner]. The wide product
// stays in registers: a tile has 32 columns of the gate, and the same 32 of what it gates.
template <class O, class F>
KERNEL linear_swiglu(O *out, const F *x, const F *w, u64 rows, u64 inner, u64 terms) {
  __shared__ float left[SLICE][TILE + 1], right[SLICE][TILE + 1];
  u64 across = (inner + TILE / 2 - 1) / (TILE / 2);
  u64 row0 = blockIdx.x / across * TILE, column0 = blockIdx.x % across * (TILE / 2);
  float sums[EACH][EACH] = {};
  for (u64 term0 = 0; term0 < terms; term0 += SLICE) {
    load_slice<false>(left, x, row0, rows, term0, terms);
    load_slice<true>(right, w, column0, inner, term0, terms);
    __syncthreads();
    for (int l = 0; l < SLICE; l++)
      for (int r = 0; r < EACH; r++)
        for (int c = 0; c < EACH; c++)
          sums[r][c] += left[l][threadIdx.y + SIDE * r] * right[l][threadIdx.x + SIDE * c];
    // Nobody may overwrite a slice that others still read.
    __syncthreads();
  }
  for (int r = 0; r < EACH; r++)
    for (int c = 0; c < EACH / 2; c++) {
      u64 row = row0 + threadIdx.y + SIDE * r, column = column0 + threadIdx.x + SIDE * c;
      float gate = sums[r][c], up = sums[r][c + EACH / 2];
      if (row < rows && column < inner) out[row * inner + column] = gate * logistic(gate) * up;
    }
}
