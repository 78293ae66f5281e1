// Attention and the rotation of its queries and keys; scores exist for 8 x 32 pairs at a time and never in memory.
//
// A row of qkv [B, S, 3D] holds the heads of the queries, of the keys and of the values. A block has eight warps, and
// each warp one position, the "own" one: a query, or in the gradient of keys and values a key. The lanes of a warp
// have 32 "other" positions at a time for scores, and columns of the head for results. A block makes 64 columns,
// which is all of a head in the models of the paper; the blocks of a wider head compute the scores again.

// Columns of a head that a block makes.
#define COLUMNS 64

// The rows of one head of one batch row, with tables where they are rotated.
template <class T> struct Rows {
  const T *start;
  u64 stride;
  const float *cos;
  const float *sin;
};

// What the kernels know of their place.
struct Place {
  u64 batch, head, own, column0, width;
};

static __device__ __forceinline__ Place place_of(u64 positions, u64 heads, u64 head_width) {
  u64 chunks = (head_width + COLUMNS - 1) / COLUMNS, tiles = (positions + WARPS - 1) / WARPS;
  u64 block = blockIdx.x;
  Place at;
  at.column0 = block % chunks * COLUMNS;
  block /= chunks;
  at.own = block % tiles * WARPS + threadIdx.y;
  block /= tiles;
  at.head = block % heads;
  at.batch = block / heads;
  at.width = heads * head_width;
  return at;
}

// A third of qkv: 0 queries, 1 keys, 2 values, of which the last are never rotated.
template <class T>
static __device__ __forceinline__ Rows<T> third(const T *qkv, u64 index, Place at, u64 positions, u64 head_width,
                                                const float *cos, const float *sin) {
  Rows<T> rows;
  rows.stride = 3 * at.width;
  rows.start = qkv + at.batch * positions * rows.stride + index * at.width + at.head * head_width;
  rows.cos = index < 2 ? cos : 0;
  rows.sin = index < 2 ? sin : 0;
  return rows;
}

// The heads of a tensor [B, S, D].
template <class T>
static __device__ __forceinline__ Rows<T> narrow(const T *x, Place at, u64 positions, u64 head_width) {
  Rows<T> rows;
  rows.stride = at.width;
  rows.start = x + at.batch * positions * at.width + at.head * head_width;
  rows.cos = 0;
  rows.sin = 0;
  return rows;
}

template <class T>
static __device__ __forceinline__ float read(Rows<T> rows, u64 position, u64 column, u64 head_width) {
  const T *row = rows.start + position * rows.stride;
  if (!rows.cos) return row[column];
  u64 half = head_width / 2, table = position * head_width + column;
  float turned = column < half ? -row[column + half] : row[column - half];
  return row[column] * rows.cos[table] + turned * rows.sin[table];
}

// Product of the own row of `a` and, for each lane, row `other0 + lane` of `b`; both have `positions` rows.
template <class A, class B>
static __device__ __forceinline__ float scores(Rows<A> a, u64 own, Rows<B> b, u64 other0, u64 positions,
                                               u64 head_width, float (*left)[WARP + 1], float (*right)[WARP + 1]) {
  float sum = 0.0f;
  for (u64 column0 = 0; column0 < head_width; column0 += WARP) {
    u64 column = column0 + threadIdx.x;
    bool there = column < head_width;
    left[threadIdx.y][threadIdx.x] = there && own < positions ? read(a, own, column, head_width) : 0.0f;
    for (u64 i = threadIdx.y; i < WARP; i += WARPS)
      right[i][threadIdx.x] = there && other0 + i < positions ? read(b, other0 + i, column, head_width) : 0.0f;
    __syncthreads();
    for (int l = 0; l < WARP; l++) sum += left[threadIdx.y][l] * right[threadIdx.x][l];
    // Nobody may overwrite what others still read.
    __syncthreads();
  }
  return sum;
}

// Adds the rows `other0 ..` of `x`, each times the weight that its lane has, to the columns of this lane. `weights` has
// a row for each warp, which nobody else reads or writes now.
template <class T>
static __device__ __forceinline__ void add_rows(float *sums, float weight, float (*weights)[WARP + 1], Rows<T> x,
                                                u64 other0, Place at, u64 positions, u64 head_width) {
  weights[threadIdx.y][threadIdx.x] = weight;
  __syncwarp();
  for (int lane = 0; lane < WARP; lane++) {
    float factor = weights[threadIdx.y][lane];
    for (int part = 0; part < COLUMNS / WARP; part++) {
      u64 column = at.column0 + part * WARP + threadIdx.x;
      if (other0 + lane < positions && column < head_width)
        sums[part] += factor * read(x, other0 + lane, column, head_width);
    }
  }
  // No lane may overwrite what others still read.
  __syncwarp();
}

template <class T>
static __device__ __forceinline__ void store(T *out, u64 stride, u64 start, const float *sums, float factor,
                                             Place at, u64 positions, u64 head_width) {
  if (at.own >= positions) return;
  for (int part = 0; part < COLUMNS / WARP; part++) {
    u64 column = at.column0 + part * WARP + threadIdx.x;
    if (column < head_width)
      out[(at.batch * positions + at.own) * stride + start + at.head * head_width + column] = sums[part] * factor;
  }
}

// out [B, S, D], lse [B, A, S]. The softmax is that of the positions so far; a larger score shrinks what was summed.
template <class O, class Q>
KERNEL attention(O *out, float *lse, const Q *qkv, const float *cos, const float *sin, float scale, u64 positions,
                 u64 heads, u64 head_width) {
  __shared__ float left[WARPS][WARP + 1], right[WARP][WARP + 1];
  Place at = place_of(positions, heads, head_width);
  auto q = third(qkv, 0, at, positions, head_width, cos, sin);
  auto k = third(qkv, 1, at, positions, head_width, cos, sin);
  auto v = third(qkv, 2, at, positions, head_width, cos, sin);
  float most = LOWEST, sum = 0.0f, mixed[COLUMNS / WARP] = {};
  for (u64 other0 = 0; other0 < positions; other0 += WARP) {
    float score = scale * scores(q, at.own, k, other0, positions, head_width, left, right);
    bool there = other0 + threadIdx.x < positions;
    float larger = fmaxf(most, warp_max(there ? score : LOWEST));
    float shrink = expf(most - larger), power = there ? expf(score - larger) : 0.0f;
    most = larger;
    sum = sum * shrink + warp_sum(power);
    for (int part = 0; part < COLUMNS / WARP; part++) mixed[part] *= shrink;
    add_rows(mixed, power, left, v, other0, at, positions, head_width);
  }
  store(out, at.width, 0, mixed, 1.0f / sum, at, positions, head_width);
  if (at.own < positions && at.column0 == 0 && threadIdx.x == 0)
    lse[(at.batch * heads + at.head) * positions + at.own] = most + logf(sum);
}

// delta [B, A, S] = sum over the keys of P dP, which both of the kernels below need.
template <class Q, class D>
KERNEL attention_grad_delta(float *delta, const Q *qkv, const float *lse, const D *dout, const float *cos,
                            const float *sin, float scale, u64 positions, u64 heads, u64 head_width) {
  __shared__ float left[WARPS][WARP + 1], right[WARP][WARP + 1];
  // One block for eight queries, however wide the head is.
  u64 tiles = (positions + WARPS - 1) / WARPS, block = blockIdx.x;
  Place at;
  at.own = block % tiles * WARPS + threadIdx.y;
  at.head = block / tiles % heads;
  at.batch = block / tiles / heads;
  at.width = heads * head_width;
  at.column0 = 0;
  auto q = third(qkv, 0, at, positions, head_width, cos, sin);
  auto k = third(qkv, 1, at, positions, head_width, cos, sin);
  auto v = third(qkv, 2, at, positions, head_width, cos, sin);
  auto d = narrow(dout, at, positions, head_width);
  u64 row = (at.batch * heads + at.head) * positions + at.own;
  float log = at.own < positions ? lse[row] : 0.0f, sum = 0.0f;
  for (u64 other0 = 0; other0 < positions; other0 += WARP) {
    float score = scale * scores(q, at.own, k, other0, positions, head_width, left, right);
    float change = scores(d, at.own, v, other0, positions, head_width, left, right);
    if (other0 + threadIdx.x < positions) sum += expf(score - log) * change;
  }
  sum = warp_sum(sum);
  if (at.own < positions && threadIdx.x == 0) delta[row] = sum;
}

// The first third of dqkv, with respect to the rotated queries.
template <class O, class Q, class D>
KERNEL attention_grad_queries(O *dqkv, const Q *qkv, const float *lse, const D *dout, const float *delta,
                              const float *cos, const float *sin, float scale, u64 positions, u64 heads,
                              u64 head_width) {
  __shared__ float left[WARPS][WARP + 1], right[WARP][WARP + 1];
  Place at = place_of(positions, heads, head_width);
  auto q = third(qkv, 0, at, positions, head_width, cos, sin);
  auto k = third(qkv, 1, at, positions, head_width, cos, sin);
  auto v = third(qkv, 2, at, positions, head_width, cos, sin);
  auto d = narrow(dout, at, positions, head_width);
  u64 row = (at.batch * heads + at.head) * positions + at.own;
  bool own = at.own < positions;
  float log = own ? lse[row] : 0.0f, centre = own ? delta[row] : 0.0f, dq[COLUMNS / WARP] = {};
  for (u64 other0 = 0; other0 < positions; other0 += WARP) {
    float score = scale * scores(q, at.own, k, other0, positions, head_width, left, right);
    float change = scores(d, at.own, v, other0, positions, head_width, left, right);
    float dscore = other0 + threadIdx.x < positions ? expf(score - log) * (change - centre) : 0.0f;
    add_rows(dq, dscore, left, k, other0, at, positions, head_width);
  }
  store(dqkv, 3 * at.width, 0, dq, scale, at, positions, head_width);
}

// The other two thirds, with respect to the rotated keys and to the values. Here a warp has a key, a lane a query.
template <class O, class Q, class D>
KERNEL attention_grad_keys(O *dqkv, const Q *qkv, const float *lse, const D *dout, const float *delta, const float *cos,
                           const float *sin, float scale, u64 positions, u64 heads, u64 head_width) {
  __shared__ float left[WARPS][WARP + 1], right[WARP][WARP + 1];
  Place at = place_of(positions, heads, head_width);
  auto q = third(qkv, 0, at, positions, head_width, cos, sin);
  auto k = third(qkv, 1, at, positions, head_width, cos, sin);
  auto v = third(qkv, 2, at, positions, head_width, cos, sin);
  auto d = narrow(dout, at, positions, head_width);
  u64 row0 = (at.batch * heads + at.head) * positions;
  float dk[COLUMNS / WARP] = {}, dv[COLUMNS / WARP] = {};
  for (u64 other0 = 0; other0 < positions; other0 += WARP) {
    float score = scale * scores(k, at.own, q, other0, positions, head_width, left, right);
    float change = scores(v, at.own, d, other0, positions, head_width, left, right);
    u64 query = other0 + threadIdx.x;
    float power = query < positions ? expf(score - lse[row0 + query]) : 0.0f;
    float dscore = query < positions ? power * (change - delta[row0 + query]) : 0.0f;
    add_rows(dk, dscore, left, q, other0, at, positions, head_width);
    add_rows(dv, power, left, d, other0, at, positions, head_width);
  }
  store(dqkv, 3 * at.width, at.width, dk, scale, at, positions, head_width);
  store(dqkv, 3 * at.width, 2 * at.width, dv, 1.0f, at, positions, head_width);
}

// Rotates queries and keys by `sign` times their angle and copies the values; `out` may be `qkv`. One thread for a
// pair of columns: of the six halves of a head of all thirds, those of column `d` and `d + head_width / 2`.
template <class O, class X>
KERNEL rotate(O *out, const X *qkv, const float *cos, const float *sin, float sign, u64 positions, u64 heads,
                  u64 head_width, u64 count) {
  u64 i = element();
  if (i >= count) return;
  u64 half = head_width / 2, column = i % half, head = i / half % (3 * heads), token = i / half / (3 * heads);
  u64 start = (token * 3 * heads + head) * head_width + column, table = token % positions * head_width + column;
  float first = qkv[start], second = qkv[start + half];
  bool turns = head < 2 * heads;
  float c = turns ? cos[table] : 1.0f, s = turns ? sign * sin[table] : 0.0f;
  out[start] = first * c - second * s;
  out[start + half] = second * c + first * s;
}
