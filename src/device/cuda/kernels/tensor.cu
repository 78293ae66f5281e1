// Products of small tiles in bf16 with sums in f32, which tensor cores make: what attention and the gated product in
// bf16 share. All of it needs sm_80, and nothing newer.
//
// A warp multiplies 16 x 16 by 16 x 8 at once. Each lane holds a fragment of both factors and of the result. With
// row = lane / 4 and pair = 2 (lane % 4) these are, in registers of two neighbouring elements each,
//
//   left [16, 16]:  (row, pair), (row + 8, pair), (row, pair + 8), (row + 8, pair + 8)
//   right [16, 8]:  (pair, row), (pair + 8, row), where the two elements are below each other
//   sums [16, 8]:   (row, pair), (row, pair + 1), (row + 8, pair), (row + 8, pair + 1), one element each, in f32
//
// The fragments of two neighbouring results are therefore the left fragment of the next product. Outside of a device
// the instructions have twins with the same fragments, which come with the emulator.

typedef unsigned int u32;

// Eight neighbouring elements, which are moved at once; in a word the first element is the lower half.
struct alignas(16) Unit {
  u32 pairs[4];
};

union Word {
  u32 bits;
  float number;
};

static __device__ __forceinline__ float number_of(u32 bits) {
  Word word;
  word.bits = bits;
  return word.number;
}

static __device__ __forceinline__ float low_of(u32 pair) { return number_of(pair << 16); }
static __device__ __forceinline__ float high_of(u32 pair) { return number_of(pair & 0xffff0000u); }
static __device__ __forceinline__ float wide_of(Bf16 x) { return number_of((u32)x.bits << 16); }

// Rounds two numbers to the nearest, ties to even.
static __device__ __forceinline__ u32 pair_of(float low, float high) {
#if defined(__CUDA_ARCH__)
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  u32 halves[2];
  float numbers[2] = {low, high};
  for (int i = 0; i < 2; i++) {
    Word word;
    word.number = numbers[i];
    bool number = numbers[i] == numbers[i];
    halves[i] = number ? (word.bits + 0x7fffu + (word.bits >> 16 & 1)) >> 16 : 0x7fffu;
  }
  return halves[1] << 16 | halves[0];
#endif
}

static __device__ __forceinline__ Bf16 narrow_of(float x) {
  Bf16 result;
  result.bits = (unsigned short)(pair_of(x, 0.0f) & 0xffffu);
  return result;
}

#if defined(__CUDA_ARCH__)
static __device__ __forceinline__ u32 shared_address(const void *at) { return (u32)__cvta_generic_to_shared(at); }
#endif

// sums += left right.
static __device__ __forceinline__ void multiply(float (&sums)[4], const u32 (&left)[4], const u32 (&right)[2]) {
#if defined(__CUDA_ARCH__)
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
#else
  emulator::multiply(sums, left, right, __LINE__);
#endif
}

// Four matrices of 8 x 8 from shared memory. Lane 8 m + r says where row r of matrix m is; it gets word m of the
// fragments, elements (row, pair) and (row, pair + 1) of matrix m.
static __device__ __forceinline__ void load_matrices(u32 (&words)[4], const Unit *row) {
#if defined(__CUDA_ARCH__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared_address(row))
               : "memory");
#else
  emulator::load_matrices(words, row, false, __LINE__);
#endif
}

// The same of the matrices turned around: elements (pair, row) and (pair + 1, row).
static __device__ __forceinline__ void load_matrices_turned(u32 (&words)[4], const Unit *row) {
#if defined(__CUDA_ARCH__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(shared_address(row))
               : "memory");
#else
  emulator::load_matrices(words, row, true, __LINE__);
#endif
}

// Begins to copy the first `elements` of a unit to shared memory, zeros for the rest. `from` is at a multiple of 16
// bytes, and is not read for no elements.
static __device__ __forceinline__ void copy_unit(Unit *to, const Bf16 *from, int elements) {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(2 * elements)
               : "memory");
#else
  emulator::copy_later(to, from, 2 * elements, __LINE__);
#endif
}

// Makes one group of the copies of this thread that are in none.
static __device__ __forceinline__ void close_copies() {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::close_copies(__LINE__);
#endif
}

// Waits until at most LEFT groups of this thread are on their way, the last ones. Others see what was copied only
// behind a barrier.
template <int LEFT> static __device__ __forceinline__ void await_copies() {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#else
  emulator::await_copies(LEFT);
#endif
}

// Copies a unit like `copy_unit`, at once where `from` may be anywhere.
static __device__ __forceinline__ void copy_unit_from(Unit *to, const Bf16 *from, int elements, bool aligned) {
  if (aligned) return copy_unit(to, from, elements);
  Unit unit;
  for (int i = 0; i < 4; i++) {
    u32 low = 2 * i < elements ? from[2 * i].bits : 0, high = 2 * i + 1 < elements ? from[2 * i + 1].bits : 0;
    unit.pairs[i] = high << 16 | low;
  }
  *to = unit;
}

// Where a unit of a row is in a tile in shared memory of UNITS a row, so that the same unit of eight neighbouring rows
// is in all 32 banks.
template <int UNITS> static __device__ __forceinline__ int place_in_tile(int row, int unit) {
  int turn = UNITS >= 8 ? row & 7 : row / (8 / UNITS) & (UNITS - 1);
  return row * UNITS + (unit ^ turn);
}

// Left fragment of rows row0 .. row0 + 16 and units unit0, unit0 + 1 of a tile. Here and below `row0` is a multiple of
// eight: the place of a lane is the same for all of them.
template <int UNITS>
static __device__ __forceinline__ void load_left(u32 (&words)[4], const Unit *tile, int row0, int unit0) {
  int lane = threadIdx.x;
  load_matrices(words, tile + row0 * UNITS + place_in_tile<UNITS>(lane % 16, unit0 + lane / 16));
}

// Right fragments of two neighbouring results: rows row0 .. row0 + 16 of a tile are the columns of the factor.
template <int UNITS>
static __device__ __forceinline__ void load_right(u32 (&words)[2][2], const Unit *tile, int row0, int unit0) {
  int lane = threadIdx.x;
  u32 all[4];
  load_matrices(all, tile + row0 * UNITS + place_in_tile<UNITS>(lane / 16 * 8 + lane % 8, unit0 + lane / 8 % 2));
  for (int i = 0; i < 4; i++) words[i / 2][i % 2] = all[i];
}

// Right fragments of two neighbouring results: rows row0 .. row0 + 16 of a tile are the rows of the factor.
template <int UNITS>
static __device__ __forceinline__ void load_right_turned(u32 (&words)[2][2], const Unit *tile, int row0, int unit0) {
  int lane = threadIdx.x;
  u32 all[4];
  load_matrices_turned(all, tile + row0 * UNITS + place_in_tile<UNITS>(lane % 16, unit0 + lane / 16));
  for (int i = 0; i < 4; i++) words[i / 2][i % 2] = all[i];
}

// The left fragment that the sums of two neighbouring results are.
static __device__ __forceinline__ void left_of_sums(u32 (&words)[4], const float (&sums)[2][4]) {
  for (int i = 0; i < 4; i++) words[i] = pair_of(sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
}
