// The product of the gated unit in bf16 on tensor cores, gated before it leaves the registers.
//
// A block of eight warps makes 256 rows of 64 columns: 128 columns of the product, since a tile of weights has 64 rows
// of the gate, then the 64 of what they gate. Slices of 32 terms of both factors pass through shared memory, the next
// one on its way while one is worked on. A warp makes 64 rows of 32 columns, of gate and gated alike, so that a lane
// holds both factors of each result. Rows of weights lie in their tile in an order that gives a lane eight neighbouring
// columns.
//
// What bounds it. With D = 512 terms and F = 1,536 columns a row has 4 D F operations and 2 (D + F) bytes, 4 F more
// where the product is kept: 768 operations a byte, or 307. An H100 makes 300 bf16 operations in the time of a byte:
// tensor cores bound it, at 0.20 ms for the 62,976 rows of Sudoku (768 puzzles) by the data sheet, and 0.30 ms at the
// two thirds of that rate that these instructions reach; where the product is kept, memory alone takes 0.19 ms. A block
// reads 24 KiB for the 2.1 million operations of a slice, 85 a byte, from the second-level cache: hence one large
// block on a multiprocessor, whose sums are half of the registers, and not two that read a third more. Of shared memory
// a slice reads 64 KiB and writes 24: 700 cycles, beside 500 to 800 of tensor cores.

// Rows of a block, and columns of the gate.
#define GATED_ROWS 256
#define GATED_COLUMNS 64
// Rows of a warp by sixteen.
#define GATED_PARTS 4
// Terms of a slice, and the units that these are.
#define GATED_TERMS 32
#define GATED_UNITS 4
#define GATED_THREADS 256
// Units of a slice of both factors.
#define GATED_SLICE ((GATED_ROWS + 2 * GATED_COLUMNS) * GATED_UNITS)

// Brings a slice of both factors, zeros where there is nothing.
static __device__ __forceinline__ void load_gated_slice(Unit *slice, const Bf16 *x, const Bf16 *w, u64 row0, u64 rows,
                                                        u64 column0, u64 inner, u64 term0, u64 terms) {
  bool aligned = terms % 8 == 0;
#pragma unroll
  for (int i = threadIdx.y * WARP + threadIdx.x; i < GATED_SLICE; i += GATED_THREADS) {
    int row = i / GATED_UNITS, unit = i % GATED_UNITS;
    u64 term = term0 + 8 * unit, left = term < terms ? terms - term : 0;
    const Bf16 *from = x + (row0 + row) * terms;
    bool there = row0 + row < rows;
    if (row >= GATED_ROWS) {
      // A lane has columns 2 t, 2 t + 1 of fragment f, t = lane % 4, and gets columns 8 t + 2 f, 8 t + 2 f + 1.
      int at = row % 8, fragment = row / 8 % 4, up = (row - GATED_ROWS) / GATED_COLUMNS;
      u64 column = column0 + row / 32 % 2 * 32 + at / 2 * 8 + fragment * 2 + at % 2;
      from = w + (up * inner + column) * terms;
      there = column < inner;
    }
    int elements = !there ? 0 : left < 8 ? (int)left : 8;
    copy_unit_from(slice + place_in_tile<GATED_UNITS>(row, unit), elements ? from + term : x, elements, aligned);
  }
  close_copies();
}

// Stores eight neighbouring numbers of a row of `width`, as many as it has from `column` on.
static __device__ __forceinline__ void store_eight(Bf16 *row, u64 column, u64 width, const u32 (&pairs)[4]) {
  if (width % 8 == 0) {
    Unit unit;
#pragma unroll
    for (int i = 0; i < 4; i++) unit.pairs[i] = pairs[i];
    *(Unit *)(row + column) = unit;
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (column + i < width) row[column + i].bits = (unsigned short)(pairs[i / 2] >> i % 2 * 16);
}

// x [rows, terms], w [2 inner, terms], gate rows before up rows, to silu(gate) up [rows, inner] and, unless `wide` is
// null, the product [rows, 2 inner]. The gate and what it gates are rounded first, as if they had been in memory: what
// is computed from the product again has the same bits.
extern "C" __global__ void linear_swiglu_bf16(Bf16 *out, Bf16 *wide, const Bf16 *x, const Bf16 *w, u64 rows,
                                               u64 inner, u64 terms) {
  __shared__ Unit slices[2 * GATED_SLICE];
  u64 across = (inner + GATED_COLUMNS - 1) / GATED_COLUMNS;
  u64 row0 = blockIdx.x / across * GATED_ROWS, column0 = blockIdx.x % across * GATED_COLUMNS;
  int part_row = threadIdx.y % 4 * GATED_PARTS * 16, part_column = threadIdx.y / 4 * 32;
  // Of each part: four fragments of the gate, four of what it gates.
  float sums[GATED_PARTS][8][4] = {};
  load_gated_slice(slices, x, w, row0, rows, column0, inner, 0, terms);
  int turn = 0;
  for (u64 term0 = 0; term0 < terms; term0 += GATED_TERMS, turn = 1 - turn) {
    await_copies<0>();
    // From here on all see this slice, and nobody needs the other one.
    __syncthreads();
    const Unit *slice = slices + turn * GATED_SLICE;
    if (term0 + GATED_TERMS < terms)
      load_gated_slice(slices + (1 - turn) * GATED_SLICE, x, w, row0, rows, column0, inner, term0 + GATED_TERMS,
                       terms);
#pragma unroll
    for (int unit = 0; unit < GATED_UNITS; unit += 2) {
      u32 left[GATED_PARTS][4], right[2][2];
#pragma unroll
      for (int part = 0; part < GATED_PARTS; part++)
        load_left<GATED_UNITS>(left[part], slice, part_row + part * 16, unit);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        load_right<GATED_UNITS>(right, slice, GATED_ROWS + i / 2 * GATED_COLUMNS + part_column + i % 2 * 16, unit);
#pragma unroll
        for (int part = 0; part < GATED_PARTS; part++) {
          multiply(sums[part][2 * i], left[part], right[0]);
          multiply(sums[part][2 * i + 1], left[part], right[1]);
        }
      }
    }
  }

  u64 column = column0 + part_column + threadIdx.x % 4 * 8;
  if (column >= inner) return;
#pragma unroll
  for (int i = 0; i < 2 * GATED_PARTS; i++) {
    u64 row = row0 + part_row + i * 8 + threadIdx.x / 4;
    if (row >= rows) continue;
    u32 gates[4], ups[4], results[4];
#pragma unroll
    for (int f = 0; f < 4; f++) {
      const float *gate = sums[i / 2][f] + i % 2 * 2, *up = sums[i / 2][f + 4] + i % 2 * 2;
      gates[f] = pair_of(gate[0], gate[1]);
      ups[f] = pair_of(up[0], up[1]);
      float low = low_of(gates[f]), high = high_of(gates[f]);
      results[f] = pair_of(low * logistic(low) * low_of(ups[f]), high * logistic(high) * high_of(ups[f]));
    }
    store_eight(out + row * inner, column, inner, results);
    if (wide) {
      store_eight(wide + row * 2 * inner, column, inner, gates);
      store_eight(wide + row * 2 * inner + inner, column, inner, ups);
    }
  }
}
