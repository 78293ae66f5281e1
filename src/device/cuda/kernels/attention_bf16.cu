// Attention in bf16 on tensor cores, forward and backward; scores exist for a tile at a time and never in memory.
//
// A block has four warps and works on one tile of positions of one head, its "own" ones; each warp has 16 rows of
// them, or 32 in two parts, as fragments in registers. Tiles of the "other" positions pass through shared memory, the
// next one on its way while one is worked on. Queries and keys are rotated when they are read, and their gradients
// rotated back before they are stored. What is multiplied is rounded once: rotated queries and keys, weights, and
// gradients of scores. A tile has 64 columns, or 128 for wider heads; those that a head does not have are zeros.
//
// What bounds it. A head of width 64 has for S positions 256 S² operations and reads or writes 512 S bytes forward. At
// S = 82 (Sudoku) these are 41 operations a byte; an H100 makes 300 in the time of a byte, or 200 by the instructions
// used here, which reach two thirds of its rate. So memory bounds it: 77 us for 768 puzzles and 8 heads. At S = 901
// (Maze, ARC) these are 450: tensor cores bound it, 0.16 ms for 96 puzzles at the rate of the data sheet. The
// exponentials take as long: a multiprocessor computes 16 per cycle. Backward, queries have three products and keys
// four, 896 S² operations and 1,536 S bytes: 0.57 ms for Maze, and 0.23 ms for Sudoku, whose heads fit in one block
// that takes 0.14 ms. Without `out` there are two products more.

// Threads of a block: four warps.
#define TENSOR_WARPS 4
#define TENSOR_THREADS (TENSOR_WARPS * WARP)
// Positions of a tile of others.
#define OTHERS 32
// Units of shared memory of a block: two tiles of others, each twice. Own rows come and go through the same memory.
#define MEMORY_UNITS(width) (4 * OTHERS * (width) / 8)
// Positions of a head that one block holds, with two threads for each.
#define SHORT 96
#define SHORT_UNITS (SHORT * 8)
#define LOG2_OF_E 1.44269504088896f

// The rows of one head of one batch row. Those of queries and keys may be rotated by tables.
struct Head {
  const Bf16 *start;
  int stride;
  const float *cos, *sin;
};

// What a block works on. Sizes are counted in 32 bits, since registers are scarce; places in memory are not.
struct Own {
  int batch, head, row0, positions, heads, head_width;
};

template <int WIDTH, int PARTS>
static __device__ __forceinline__ Own own_of_block(u64 positions, u64 heads, u64 head_width) {
  int rows = TENSOR_WARPS * PARTS * 16, count = (int)heads;
  int tiles = ((int)positions + rows - 1) / rows, block = blockIdx.x;
  Own own = {block / tiles / count, block / tiles % count, block % tiles * rows, (int)positions, count,
             (int)head_width};
  return own;
}

// A third of qkv [B, S, 3D]: 0 queries, 1 keys, 2 values.
static __device__ __forceinline__ Head head_of_qkv(const Bf16 *qkv, int index, Own own, const float *cos,
                                                   const float *sin) {
  int width = own.heads * own.head_width;
  const Bf16 *start = qkv + (u64)own.batch * own.positions * 3 * width + index * width + own.head * own.head_width;
  Head head = {start, 3 * width, index < 2 ? cos : 0, index < 2 ? sin : 0};
  return head;
}

// The head of a tensor [B, S, D].
static __device__ __forceinline__ Head head_of(const Bf16 *x, Own own) {
  int width = own.heads * own.head_width;
  Head head = {x + (u64)own.batch * own.positions * width + own.head * own.head_width, width, 0, 0};
  return head;
}

// Rotates element `column` of a row by its angle.
static __device__ __forceinline__ float rotated(const Bf16 *row, const float *cos, const float *sin, int column,
                                                int width) {
  int half = width / 2;
  float other = column < half ? -wide_of(row[column + half]) : wide_of(row[column - half]);
  return wide_of(row[column]) * cos[column] + other * sin[column];
}

// Units `first` and `second` of a row, which are a pair of halves, rotated in place; `cos` and `sin` are those of
// `first`, and of `second` as well.
static __device__ __forceinline__ void rotate_units(Unit &first, Unit &second, const float *cos, const float *sin) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float c0 = cos[2 * i], c1 = cos[2 * i + 1], s0 = sin[2 * i], s1 = sin[2 * i + 1];
    float low = low_of(first.pairs[i]), high = high_of(first.pairs[i]);
    float other_low = low_of(second.pairs[i]), other_high = high_of(second.pairs[i]);
    first.pairs[i] = pair_of(low * c0 - other_low * s0, high * c1 - other_high * s1);
    second.pairs[i] = pair_of(other_low * c0 + low * s0, other_high * c1 + high * s1);
  }
}

// Brings ROWS rows of a head from `row0` on into a tile; zeros where there is nothing. Rows that are not rotated are
// copied meanwhile, if a head is whole units.
template <int WIDTH, int ROWS, int THREADS = TENSOR_THREADS>
static __device__ __forceinline__ void load_tile(Unit *tile, Head x, int row0, Own own) {
  const int UNITS = WIDTH / 8;
  int thread = threadIdx.y * WARP + threadIdx.x, width = (int)own.head_width;
  if (!x.cos) {
#pragma unroll 1
    for (int i = thread; i < ROWS * UNITS; i += THREADS) {
      int row = i / UNITS, unit = i % UNITS, left = width - 8 * unit;
      bool there = row0 + row < own.positions && left > 0;
      const Bf16 *from = x.start + (there ? (u64)(row0 + row) * x.stride + 8 * unit : 0);
      copy_unit_from(tile + place_in_tile<UNITS>(row, unit), from, !there ? 0 : left < 8 ? left : 8, width % 8 == 0);
    }
    return;
  }
  int half = width / 16;
#pragma unroll 1
  for (int i = thread; i < ROWS * UNITS / 2; i += THREADS) {
    int row = i / (UNITS / 2), unit = i % (UNITS / 2);
    bool there = row0 + row < own.positions;
    const Bf16 *from = x.start + (u64)(row0 + row) * x.stride;
    const float *cos = x.cos + (row0 + row) * width, *sin = x.sin + (row0 + row) * width;
    Unit units[2] = {};
    // The units of both halves, then those behind the head: each has one thread.
    int places[2] = {unit, unit + half};
    if (width % 16 != 0 || unit >= half) places[0] = 2 * unit, places[1] = 2 * unit + 1;
    if (there && width % 16 == 0 && unit < half) {
      units[0] = *(const Unit *)(from + 8 * places[0]);
      units[1] = *(const Unit *)(from + 8 * places[1]);
      rotate_units(units[0], units[1], cos + 8 * unit, sin + 8 * unit);
    } else if (there && width % 16 != 0) {
      for (int e = 0; e < 16; e += 2) {
        int column = 8 * places[0] + e;
        float low = column < width ? rotated(from, cos, sin, column, width) : 0.0f;
        float high = column + 1 < width ? rotated(from, cos, sin, column + 1, width) : 0.0f;
        units[e / 8].pairs[e % 8 / 2] = pair_of(low, high);
      }
    }
    tile[place_in_tile<UNITS>(row, places[0])] = units[0];
    tile[place_in_tile<UNITS>(row, places[1])] = units[1];
  }
}

// The fragments of the own rows of this warp, by way of shared memory.
template <int WIDTH, int PARTS>
static __device__ __forceinline__ void load_own(u32 (&words)[PARTS][WIDTH / 16][4], Unit *memory, Head x, Own own) {
  load_tile<WIDTH, TENSOR_WARPS * PARTS * 16>(memory, x, own.row0, own);
  close_copies();
  await_copies<0>();
  __syncthreads();
#pragma unroll
  for (int part = 0; part < PARTS; part++)
#pragma unroll
    for (int step = 0; step < WIDTH / 16; step++)
      load_left<WIDTH / 8>(words[part][step], memory, (threadIdx.y * PARTS + part) * 16, 2 * step);
  // Nobody may overwrite what others still read.
  __syncthreads();
}

// Products of the own rows and of rows row0 .. row0 + 16 of a tile.
template <int WIDTH, int PARTS>
static __device__ __forceinline__ void multiply_rows(float (&sums)[PARTS][2][4], const u32 (&own)[PARTS][WIDTH / 16][4],
                                                     const Unit *tile, int row0) {
#pragma unroll
  for (int part = 0; part < PARTS; part++)
#pragma unroll
    for (int i = 0; i < 8; i++) sums[part][i / 4][i % 4] = 0.0f;
#pragma unroll
  for (int step = 0; step < WIDTH / 16; step++) {
    u32 right[2][2];
    load_right<WIDTH / 8>(right, tile, row0, 2 * step);
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      multiply(sums[part][0], own[part][step], right[0]);
      multiply(sums[part][1], own[part][step], right[1]);
    }
  }
}

// Adds rows row0 .. row0 + 16 of a tile, each times its weight, to sums of all columns.
template <int WIDTH, int PARTS>
static __device__ __forceinline__ void add_weighted(float (&sums)[PARTS][WIDTH / 8][4],
                                                    const float (&weights)[PARTS][2][4], const Unit *tile, int row0) {
  u32 left[PARTS][4];
#pragma unroll
  for (int part = 0; part < PARTS; part++) left_of_sums(left[part], weights[part]);
#pragma unroll
  for (int unit = 0; unit < WIDTH / 8; unit += 2) {
    u32 right[2][2];
    load_right_turned<WIDTH / 8>(right, tile, row0, unit);
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      multiply(sums[part][unit], left[part], right[0]);
      multiply(sums[part][unit + 1], left[part], right[1]);
    }
  }
}

// Stores the own rows of each warp, those of each lane's two rows times their factors, rotated back by tables if there
// are any. `to` is row 0 of the head. All threads of the block come here, and nobody reads `memory` any more.
template <int WIDTH, int PARTS>
static __device__ __forceinline__ void store_own(Bf16 *to, int stride, const float (&sums)[PARTS][WIDTH / 8][4],
                                                 const float (&factors)[PARTS][2], const float *cos, const float *sin,
                                                 Unit *memory, Own own) {
  const int UNITS = WIDTH / 8;
  int lane = threadIdx.x, width = (int)own.head_width, half = width / 2;
  // Rows of WIDTH numbers, of which groups of eight change places so that four rows are in all 32 banks.
  float *stage = (float *)memory + threadIdx.y * 16 * WIDTH;
#pragma unroll
  for (int part = 0; part < PARTS; part++) {
#pragma unroll
    for (int i = 0; i < UNITS * 4; i++) {
      int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      stage[row * WIDTH + (column ^ (row % 4 * 8))] = sums[part][i / 4][i % 4] * factors[part][i / 2 % 2];
    }
    __syncthreads();
    int row0 = own.row0 + ((int)threadIdx.y * PARTS + part) * 16;
#pragma unroll 1
    for (int i = lane; i < 16 * UNITS; i += WARP) {
      int row = i / UNITS, column0 = i % UNITS * 8;
      int position = row0 + row;
      if (position >= own.positions || column0 >= width) continue;
      const float *values = stage + row * WIDTH;
      int turn = row % 4 * 8;
      float numbers[8];
#pragma unroll
      for (int e = 0; e < 8; e++) {
        int column = column0 + e;
        float number = values[column ^ turn];
        if (cos && column < width) {
          float other = column < half ? values[(column + half) ^ turn] : -values[(column - half) ^ turn];
          number = number * cos[position * width + column] + other * sin[position * width + column];
        }
        numbers[e] = number;
      }
      Bf16 *at = to + (u64)position * stride + column0;
      if (width % 8 == 0) {
        Unit unit;
#pragma unroll
        for (int e = 0; e < 4; e++) unit.pairs[e] = pair_of(numbers[2 * e], numbers[2 * e + 1]);
        *(Unit *)at = unit;
      } else {
#pragma unroll
        for (int e = 0; e < 8; e++)
          if (column0 + e < width) at[e] = narrow_of(numbers[e]);
      }
    }
    // The next part, or whoever comes next, uses the same memory.
    __syncthreads();
  }
}

// The four lanes that share rows.
static __device__ __forceinline__ float row_sum(float x) {
  x += __shfl_xor_sync(ALL_LANES, x, 1);
  return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

static __device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
  return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

// Scores of one tile to weights, given what is known of the rows so far; a larger score shrinks what was summed.
template <int WIDTH, int PARTS>
static __device__ __forceinline__ void soften(float (&scores)[OTHERS / 16][PARTS][2][4], float (&most)[PARTS][2],
                                              float (&sum)[PARTS][2], float (&mixed)[PARTS][WIDTH / 8][4],
                                              float factor, int other0, int positions) {
  if (other0 + OTHERS > positions) {
#pragma unroll
    for (int i = 0; i < OTHERS / 16 * PARTS * 8; i++) {
      int chunk = i / 8 / PARTS, column = chunk * 16 + i / 4 % 2 * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
      if (other0 + column >= positions) scores[chunk][i / 8 % PARTS][i / 4 % 2][i % 4] = LOWEST;
    }
  }
#pragma unroll
  for (int part = 0; part < PARTS; part++)
#pragma unroll
    for (int row = 0; row < 2; row++) {
      float larger = LOWEST, total = 0.0f;
#pragma unroll
      for (int i = 0; i < OTHERS / 4; i++) larger = fmaxf(larger, scores[i / 4][part][i / 2 % 2][row * 2 + i % 2]);
      larger = fmaxf(most[part][row], row_max(larger));
      float shrink = exp2f((most[part][row] - larger) * factor);
#pragma unroll
      for (int i = 0; i < OTHERS / 4; i++) {
        float &score = scores[i / 4][part][i / 2 % 2][row * 2 + i % 2];
        score = exp2f((score - larger) * factor);
        total += score;
      }
      most[part][row] = larger;
      // Each lane sums its columns; the lanes of a row are added at the end.
      sum[part][row] = sum[part][row] * shrink + total;
#pragma unroll
      for (int unit = 0; unit < WIDTH / 8; unit++) {
        mixed[part][unit][row * 2] *= shrink;
        mixed[part][unit][row * 2 + 1] *= shrink;
      }
    }
}

template <int WIDTH, int PARTS>
static __device__ __forceinline__ void attention_of_tile(Bf16 *out, float *lse, const Bf16 *qkv, const float *cos,
                                                         const float *sin, float scale, Own own, Unit *memory) {
  const int TILE_UNITS = OTHERS * WIDTH / 8;
  Head keys = head_of_qkv(qkv, 1, own, cos, sin), values = head_of_qkv(qkv, 2, own, cos, sin);
  u32 queries[PARTS][WIDTH / 16][4];
  load_own<WIDTH, PARTS>(queries, memory, head_of_qkv(qkv, 0, own, cos, sin), own);
  float mixed[PARTS][WIDTH / 8][4] = {}, most[PARTS][2], sum[PARTS][2] = {}, factors[PARTS][2];
#pragma unroll
  for (int i = 0; i < PARTS * 2; i++) most[i / 2][i % 2] = LOWEST;
  int first = own.row0 + (int)threadIdx.y * PARTS * 16;

  load_tile<WIDTH, OTHERS>(memory, keys, 0, own);
  load_tile<WIDTH, OTHERS>(memory + TILE_UNITS, values, 0, own);
  close_copies();
  int turn = 0;
  for (int other0 = 0; other0 < own.positions; other0 += OTHERS, turn = 1 - turn) {
    await_copies<0>();
    // From here on all see this tile, and nobody needs the other one.
    __syncthreads();
    Unit *here = memory + turn * 2 * TILE_UNITS, *next = memory + (1 - turn) * 2 * TILE_UNITS;
    if (other0 + OTHERS < own.positions) {
      load_tile<WIDTH, OTHERS>(next, keys, other0 + OTHERS, own);
      load_tile<WIDTH, OTHERS>(next + TILE_UNITS, values, other0 + OTHERS, own);
      close_copies();
    }
    if (first >= own.positions) continue;
    float scores[OTHERS / 16][PARTS][2][4];
#pragma unroll
    for (int chunk = 0; chunk < OTHERS / 16; chunk++)
      multiply_rows<WIDTH, PARTS>(scores[chunk], queries, here, chunk * 16);
    soften<WIDTH, PARTS>(scores, most, sum, mixed, scale * LOG2_OF_E, other0, own.positions);
#pragma unroll
    for (int chunk = 0; chunk < OTHERS / 16; chunk++)
      add_weighted<WIDTH, PARTS>(mixed, scores[chunk], here + TILE_UNITS, chunk * 16);
  }
  __syncthreads();

#pragma unroll
  for (int i = 0; i < PARTS * 2; i++) {
    float total = row_sum(sum[i / 2][i % 2]);
    factors[i / 2][i % 2] = 1.0f / total;
    int position = first + i * 8 + (int)threadIdx.x / 4;
    if (position < own.positions && threadIdx.x % 4 == 0)
      lse[(u64)(own.batch * own.heads + own.head) * own.positions + position] =
          most[i / 2][i % 2] * scale + logf(total);
  }
  Head to = head_of(out, own);
  store_own<WIDTH, PARTS>((Bf16 *)to.start, to.stride, mixed, factors, 0, 0, memory, own);
}

// qkv [B, S, 3D] to out [B, S, D] and lse [B, A, S], for heads of at most 64 columns. Tables may be absent.
extern "C" __global__ void attention_bf16_64(Bf16 *out, float *lse, const Bf16 *qkv, const float *cos,
                                             const float *sin, float scale, u64 positions, u64 heads, u64 head_width) {
  __shared__ Unit memory[MEMORY_UNITS(64)];
  Own own = own_of_block<64, 2>(positions, heads, head_width);
  attention_of_tile<64, 2>(out, lse, qkv, cos, sin, scale, own, memory);
}

// For heads of at most 128 columns.
extern "C" __global__ void attention_bf16_128(Bf16 *out, float *lse, const Bf16 *qkv, const float *cos,
                                              const float *sin, float scale, u64 positions, u64 heads,
                                              u64 head_width) {
  __shared__ Unit memory[MEMORY_UNITS(128)];
  Own own = own_of_block<128, 1>(positions, heads, head_width);
  attention_of_tile<128, 1>(out, lse, qkv, cos, sin, scale, own, memory);
}

// delta [B, A, S], the sum over the keys of P dP, and the first third of dqkv. The own positions are queries. Where
// `out` is given, delta is the sum over the columns of dout and out; else a pass of its own over the keys finds it.
template <int WIDTH, int PARTS>
static __device__ __forceinline__ void gradient_of_queries(Bf16 *dqkv, float *delta, const Bf16 *qkv, const Bf16 *out,
                                                           const float *lse, const Bf16 *dout, const float *cos,
                                                           const float *sin, float scale, Own own, Unit *memory) {
  const int TILE_UNITS = OTHERS * WIDTH / 8;
  Head keys = head_of_qkv(qkv, 1, own, cos, sin), values = head_of_qkv(qkv, 2, own, cos, sin);
  u32 queries[PARTS][WIDTH / 16][4], douts[PARTS][WIDTH / 16][4];
  load_own<WIDTH, PARTS>(queries, memory, head_of_qkv(qkv, 0, own, cos, sin), own);
  load_own<WIDTH, PARTS>(douts, memory, head_of(dout, own), own);
  float factor = scale * LOG2_OF_E, logs[PARTS][2], centres[PARTS][2] = {}, dq[PARTS][WIDTH / 8][4] = {};
  int first = own.row0 + (int)threadIdx.y * PARTS * 16;
  u64 row0 = (u64)(own.batch * own.heads + own.head) * own.positions;
#pragma unroll
  for (int i = 0; i < PARTS * 2; i++) {
    int position = first + i * 8 + (int)threadIdx.x / 4;
    logs[i / 2][i % 2] = position < own.positions ? lse[row0 + position] * LOG2_OF_E : 0.0f;
  }
  if (out) {
    u32 outs[PARTS][WIDTH / 16][4];
    load_own<WIDTH, PARTS>(outs, memory, head_of(out, own), own);
#pragma unroll
    for (int i = 0; i < PARTS * WIDTH / 4; i++) {
      int part = i / (WIDTH / 4), step = i / 4 % (WIDTH / 16);
      u32 a = outs[part][step][i % 4], b = douts[part][step][i % 4];
      centres[part][i % 2] += low_of(a) * low_of(b) + high_of(a) * high_of(b);
    }
#pragma unroll
    for (int i = 0; i < PARTS * 2; i++) centres[i / 2][i % 2] = row_sum(centres[i / 2][i % 2]);
  }
  for (int pass = out ? 1 : 0; pass < 2; pass++) {
    load_tile<WIDTH, OTHERS>(memory, keys, 0, own);
    load_tile<WIDTH, OTHERS>(memory + TILE_UNITS, values, 0, own);
    close_copies();
    int turn = 0;
    for (int other0 = 0; other0 < own.positions; other0 += OTHERS, turn = 1 - turn) {
      await_copies<0>();
      // From here on all see these keys, and nobody needs the others.
      __syncthreads();
      Unit *here = memory + turn * 2 * TILE_UNITS, *next = memory + (1 - turn) * 2 * TILE_UNITS;
      if (other0 + OTHERS < own.positions) {
        load_tile<WIDTH, OTHERS>(next, keys, other0 + OTHERS, own);
        load_tile<WIDTH, OTHERS>(next + TILE_UNITS, values, other0 + OTHERS, own);
        close_copies();
      }
      if (first >= own.positions) continue;
#pragma unroll 1
      for (int chunk = 0; chunk < OTHERS; chunk += 16) {
        float scores[PARTS][2][4], changes[PARTS][2][4];
        multiply_rows<WIDTH, PARTS>(scores, queries, here, chunk);
        multiply_rows<WIDTH, PARTS>(changes, douts, here + TILE_UNITS, chunk);
#pragma unroll
        for (int i = 0; i < PARTS * 8; i++) {
          int part = i / 8, row = i / 2 % 2;
          int key = other0 + chunk + i / 4 % 2 * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
          float &score = scores[part][i / 4 % 2][i % 4], change = changes[part][i / 4 % 2][i % 4];
          float weight = key < own.positions ? exp2f(score * factor - logs[part][row]) : 0.0f;
          if (pass == 0) centres[part][row] += weight * change;
          score = weight * (change - centres[part][row]);
        }
        if (pass == 1) add_weighted<WIDTH, PARTS>(dq, scores, here, chunk);
      }
    }
    __syncthreads();
    if (pass == 0)
#pragma unroll
      for (int i = 0; i < PARTS * 2; i++) centres[i / 2][i % 2] = row_sum(centres[i / 2][i % 2]);
  }

  float factors[PARTS][2];
#pragma unroll
  for (int i = 0; i < PARTS * 2; i++) {
    factors[i / 2][i % 2] = scale;
    int position = first + i * 8 + (int)threadIdx.x / 4;
    if (position < own.positions && threadIdx.x % 4 == 0) delta[row0 + position] = centres[i / 2][i % 2];
  }
  Head to = head_of_qkv(dqkv, 0, own, cos, sin);
  store_own<WIDTH, PARTS>((Bf16 *)to.start, to.stride, dq, factors, cos, sin, memory, own);
}

// Brings a tile of queries and of their gradients, and what is known of each: logarithms and deltas.
template <int WIDTH>
static __device__ __forceinline__ void load_queries(Unit *tiles, float (*rows)[OTHERS], Head queries, Head douts,
                                                    const float *lse, const float *delta, int other0, Own own) {
  load_tile<WIDTH, OTHERS>(tiles, queries, other0, own);
  load_tile<WIDTH, OTHERS>(tiles + OTHERS * WIDTH / 8, douts, other0, own);
  close_copies();
  int query = other0 + (int)threadIdx.x;
  u64 at = (u64)(own.batch * own.heads + own.head) * own.positions + query;
  bool there = query < own.positions;
  // For queries that do not exist there are zeros in both tiles, so that nothing comes of their weights.
  if (threadIdx.y == 0) rows[0][threadIdx.x] = there ? lse[at] * LOG2_OF_E : 0.0f;
  if (threadIdx.y == 1) rows[1][threadIdx.x] = there ? delta[at] : 0.0f;
}

// Adds to the gradients of keys, of values, or of both what all queries have for the own positions, which are keys: a
// row of scores is that of a key, a column that of a query. `rows` has logarithms and deltas of the queries of a tile.
template <int WIDTH, bool OF_KEYS, bool OF_VALUES>
static __device__ __forceinline__ void add_queries(float (&dk)[1][WIDTH / 8][4], float (&dv)[1][WIDTH / 8][4],
                                                   const u32 (&keys)[1][WIDTH / 16][4],
                                                   const u32 (&values)[1][WIDTH / 16][4], Head queries, Head douts,
                                                   const float *lse, const float *delta, float factor, Own own,
                                                   Unit *memory, float (*rows)[2][OTHERS]) {
  const int TILE_UNITS = OTHERS * WIDTH / 8;
  int first = own.row0 + (int)threadIdx.y * 16;
  load_queries<WIDTH>(memory, rows[0], queries, douts, lse, delta, 0, own);
  int turn = 0;
  for (int other0 = 0; other0 < own.positions; other0 += OTHERS, turn = 1 - turn) {
    await_copies<0>();
    // From here on all see these queries, and nobody needs the others.
    __syncthreads();
    Unit *here = memory + turn * 2 * TILE_UNITS, *next = memory + (1 - turn) * 2 * TILE_UNITS;
    if (other0 + OTHERS < own.positions)
      load_queries<WIDTH>(next, rows[1 - turn], queries, douts, lse, delta, other0 + OTHERS, own);
    if (first >= own.positions) continue;
#pragma unroll 1
    for (int chunk = 0; chunk < OTHERS; chunk += 16) {
      float weights[1][2][4], changes[1][2][4];
      multiply_rows<WIDTH, 1>(weights, keys, here, chunk);
      if (OF_KEYS) multiply_rows<WIDTH, 1>(changes, values, here + TILE_UNITS, chunk);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        int query = chunk + i / 4 * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
        float &weight = weights[0][i / 4][i % 4], &change = changes[0][i / 4][i % 4];
        weight = exp2f(weight * factor - rows[turn][0][query]);
        if (OF_KEYS) change = weight * (change - rows[turn][1][query]);
      }
      if (OF_VALUES) add_weighted<WIDTH, 1>(dv, weights, here + TILE_UNITS, chunk);
      if (OF_KEYS) add_weighted<WIDTH, 1>(dk, changes, here, chunk);
    }
  }
  __syncthreads();
}

// The other two thirds of dqkv. Registers hold the sums of both only if the head is narrow; else one after the other.
template <int WIDTH>
static __device__ __forceinline__ void gradient_of_keys(Bf16 *dqkv, const Bf16 *qkv, const float *lse,
                                                        const Bf16 *dout, const float *delta, const float *cos,
                                                        const float *sin, float scale, Own own, Unit *memory,
                                                        float (*rows)[2][OTHERS]) {
  const bool TOGETHER = WIDTH <= 64;
  Head queries = head_of_qkv(qkv, 0, own, cos, sin), douts = head_of(dout, own);
  Head dk_to = head_of_qkv(dqkv, 1, own, 0, 0), dv_to = head_of_qkv(dqkv, 2, own, 0, 0);
  u32 keys[1][WIDTH / 16][4], values[1][WIDTH / 16][4];
  load_own<WIDTH, 1>(keys, memory, head_of_qkv(qkv, 1, own, cos, sin), own);
  if (TOGETHER) load_own<WIDTH, 1>(values, memory, head_of_qkv(qkv, 2, own, cos, sin), own);
  float factor = scale * LOG2_OF_E, scales[1][2] = {{scale, scale}}, ones[1][2] = {{1.0f, 1.0f}};
  float dk[1][WIDTH / 8][4] = {}, dv[1][WIDTH / 8][4] = {};
  add_queries<WIDTH, TOGETHER, true>(dk, dv, keys, values, queries, douts, lse, delta, factor, own, memory, rows);
  store_own<WIDTH, 1>((Bf16 *)dv_to.start, dv_to.stride, dv, ones, 0, 0, memory, own);
  if (!TOGETHER) {
    load_own<WIDTH, 1>(values, memory, head_of_qkv(qkv, 2, own, cos, sin), own);
    add_queries<WIDTH, true, false>(dk, dv, keys, values, queries, douts, lse, delta, factor, own, memory, rows);
  }
  store_own<WIDTH, 1>((Bf16 *)dk_to.start, dk_to.stride, dk, scales, cos, sin, memory, own);
}

// The gradient with respect to qkv before its rotation, from qkv, lse and dout [B, S, D]; `out` may be null. Two
// launches: this one makes delta [B, A, S] and the gradient of the queries, the next one that of keys and values.
extern "C" __global__ void attention_grad_queries_bf16_64(Bf16 *dqkv, float *delta, const Bf16 *qkv, const Bf16 *out,
                                                          const float *lse, const Bf16 *dout, const float *cos,
                                                          const float *sin, float scale, u64 positions, u64 heads,
                                                          u64 head_width) {
  __shared__ Unit memory[MEMORY_UNITS(64)];
  Own own = own_of_block<64, 2>(positions, heads, head_width);
  gradient_of_queries<64, 2>(dqkv, delta, qkv, out, lse, dout, cos, sin, scale, own, memory);
}

extern "C" __global__ void attention_grad_queries_bf16_128(Bf16 *dqkv, float *delta, const Bf16 *qkv,
                                                           const Bf16 *out, const float *lse, const Bf16 *dout,
                                                           const float *cos, const float *sin, float scale,
                                                           u64 positions, u64 heads, u64 head_width) {
  __shared__ Unit memory[MEMORY_UNITS(128)];
  Own own = own_of_block<128, 1>(positions, heads, head_width);
  gradient_of_queries<128, 1>(dqkv, delta, qkv, out, lse, dout, cos, sin, scale, own, memory);
}

extern "C" __global__ void attention_grad_keys_bf16_64(Bf16 *dqkv, const Bf16 *qkv, const float *lse,
                                                       const Bf16 *dout, const float *delta, const float *cos,
                                                       const float *sin, float scale, u64 positions, u64 heads,
                                                       u64 head_width) {
  __shared__ Unit memory[MEMORY_UNITS(64)];
  __shared__ float rows[2][2][OTHERS];
  Own own = own_of_block<64, 1>(positions, heads, head_width);
  gradient_of_keys<64>(dqkv, qkv, lse, dout, delta, cos, sin, scale, own, memory, rows);
}

extern "C" __global__ void attention_grad_keys_bf16_128(Bf16 *dqkv, const Bf16 *qkv, const float *lse,
                                                        const Bf16 *dout, const float *delta, const float *cos,
                                                        const float *sin, float scale, u64 positions, u64 heads,
                                                        u64 head_width) {
  __shared__ Unit memory[MEMORY_UNITS(128)];
  __shared__ float rows[2][2][OTHERS];
  Own own = own_of_block<128, 1>(positions, heads, head_width);
  gradient_of_keys<128>(dqkv, qkv, lse, dout, delta, cos, sin, scale, own, memory, rows);
}

// The whole gradient for one head of at most 96 positions and 64 columns, all of which are in shared memory: a warp
// has 16 queries, then 16 keys, of these the gradient of the values and then that of the keys. Memory is read and
// written once, 896 S bytes in place of 1,408 by the two launches, or 0.14 ms for Sudoku; for that scores are made
// four times, and ten products in all are 0.12 ms at two thirds of the rate of an H100.
extern "C" __global__ void attention_grad_bf16_short(Bf16 *dqkv, float *delta, const Bf16 *qkv, const float *lse,
                                                     const Bf16 *dout, const float *cos, const float *sin, float scale,
                                                     u64 positions, u64 heads, u64 head_width) {
  __shared__ Unit memory[4 * SHORT_UNITS];
  int block = blockIdx.x, count = (int)heads, rows = (int)positions;
  Own own = {block / count, block % count, 0, rows, count, (int)head_width};
  Unit *queries = memory, *keys = queries + SHORT_UNITS, *values = keys + SHORT_UNITS, *douts = values + SHORT_UNITS;
  load_tile<64, SHORT, SHORT * 2>(values, head_of_qkv(qkv, 2, own, cos, sin), 0, own);
  load_tile<64, SHORT, SHORT * 2>(douts, head_of(dout, own), 0, own);
  load_tile<64, SHORT, SHORT * 2>(queries, head_of_qkv(qkv, 0, own, cos, sin), 0, own);
  load_tile<64, SHORT, SHORT * 2>(keys, head_of_qkv(qkv, 1, own, cos, sin), 0, own);
  close_copies();
  await_copies<0>();
  // From here on all see the whole head.
  __syncthreads();
  float factor = scale * LOG2_OF_E, factors[1][2] = {{scale, scale}};
  int first = (int)threadIdx.y * 16;
  u64 row0 = (u64)block * rows;
  float sums[1][8][4] = {};
  u32 left[1][4][4], right[1][4][4];
  if (first < rows) {
#pragma unroll
    for (int step = 0; step < 4; step++) {
      load_left<8>(left[0][step], queries, first, 2 * step);
      load_left<8>(right[0][step], douts, first, 2 * step);
    }
    float logs[2], centres[2] = {};
#pragma unroll
    for (int row = 0; row < 2; row++) {
      int position = first + row * 8 + (int)threadIdx.x / 4;
      logs[row] = position < rows ? lse[row0 + position] * LOG2_OF_E : 0.0f;
    }
#pragma unroll 1
    for (int pass = 0; pass < 2; pass++) {
#pragma unroll 1
      for (int chunk = 0; chunk < rows; chunk += 16) {
        float weights[1][2][4], changes[1][2][4];
        multiply_rows<64, 1>(weights, left, keys, chunk);
        multiply_rows<64, 1>(changes, right, values, chunk);
#pragma unroll
        for (int i = 0; i < 8; i++) {
          int key = chunk + i / 4 * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
          float &weight = weights[0][i / 4][i % 4], change = changes[0][i / 4][i % 4];
          weight = key < rows ? exp2f(weight * factor - logs[i / 2 % 2]) : 0.0f;
          if (pass == 0) centres[i / 2 % 2] += weight * change;
          weight *= change - centres[i / 2 % 2];
        }
        if (pass == 1) add_weighted<64, 1>(sums, weights, keys, chunk);
      }
      if (pass == 0)
        for (int row = 0; row < 2; row++) centres[row] = row_sum(centres[row]);
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
      int position = first + row * 8 + (int)threadIdx.x / 4;
      if (position < rows && threadIdx.x % 4 == 0) delta[row0 + position] = centres[row];
    }
  }
  // The own keys go to registers, so that their tiles are free.
#pragma unroll
  for (int step = 0; step < 4; step++) {
    load_left<8>(left[0][step], keys, first, 2 * step);
    load_left<8>(right[0][step], values, first, 2 * step);
  }
  // From here on all see delta, and nobody needs keys and values.
  __syncthreads();
  Head to = head_of_qkv(dqkv, 0, own, 0, 0);
  store_own<64, 1>((Bf16 *)to.start, to.stride, sums, factors, cos, sin, keys, own);
#pragma unroll 1
  for (int third = 2; third > 0; third--) {
    factors[0][0] = factors[0][1] = third == 2 ? 1.0f : scale;
#pragma unroll
    for (int i = 0; i < 32; i++) sums[0][i / 4][i % 4] = 0.0f;
#pragma unroll 1
    for (int chunk = 0; chunk < rows && first < rows; chunk += 16) {
      float weights[1][2][4], changes[1][2][4];
      multiply_rows<64, 1>(weights, left, queries, chunk);
      if (third == 1) multiply_rows<64, 1>(changes, right, douts, chunk);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        int query = chunk + i / 4 * 8 + (int)threadIdx.x % 4 * 2 + i % 2;
        bool there = query < rows;
        float log = there ? lse[row0 + query] * LOG2_OF_E : 0.0f;
        float &weight = weights[0][i / 4][i % 4];
        weight = exp2f(weight * factor - log);
        if (third == 1) weight *= changes[0][i / 4][i % 4] - (there ? delta[row0 + query] : 0.0f);
      }
      add_weighted<64, 1>(sums, weights, third == 2 ? douts : queries, chunk);
    }
    to = head_of_qkv(dqkv, third, own, cos, sin);
    store_own<64, 1>((Bf16 *)to.start, to.stride, sums, factors, to.cos, to.sin, keys, own);
  }
}
