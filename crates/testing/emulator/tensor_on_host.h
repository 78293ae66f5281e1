// Twins of the instructions that `kernels/tensor.cu` wraps: the same fragments in the same lanes, computed by plain
// loops. What lanes hold passes through memory of their warp, as in a shuffle.
//
// A copy that runs beside its thread may happen at any time until it is waited for. Here it happens as it is asked for
// in the first of the orders of threads, which finds targets that others still read, and as late as possible in the
// other ones, which finds what is read too early.

#pragma once

namespace emulator {

// Registers of a warp, and addresses that lanes give; two sets, as for shuffles.
struct Fragments { uint32_t left[LANES][4], right[LANES][2]; const char *rows[LANES]; };
static Fragments fragments[MOST_THREADS / LANES][2];

static Fragments &own_fragments(int line) {
  Warp &warp = own_warp();
  if (warp.alive < LANES) fail("an instruction of a warp that is not whole", line);
  return fragments[number() / LANES][warp.barrier.passed % 2];
}

// One element of a register.
static float wide(uint32_t pair, int half) {
  uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

// sums [16, 8] += left [16, 16] right [16, 8].
static void multiply(float (&sums)[4], const uint32_t (&left)[4], const uint32_t (&right)[2], int line) {
  Fragments &all = own_fragments(line);
  int lane = number() % LANES;
  memcpy(all.left[lane], left, sizeof left);
  memcpy(all.right[lane], right, sizeof right);
  wait(own_warp().barrier, LANES, line);
  for (int i = 0; i < 4; i++) {
    int row = lane / 4, lower = i / 2, column = lane % 4 * 2 + i % 2;
    for (int term = 0; term < 16; term++) {
      uint32_t a = all.left[row * 4 + term % 8 / 2][term / 8 * 2 + lower];
      uint32_t b = all.right[column * 4 + term % 8 / 2][term / 8];
      sums[i] += wide(a, term % 2) * wide(b, term % 2);
    }
  }
}

// Four matrices of 8 x 8 elements of two bytes, whose rows the lanes name.
static void load_matrices(uint32_t (&words)[4], const void *row, bool turned, int line) {
  if ((uintptr_t)row % 16 != 0) fail("a row of a matrix is not at a multiple of 16 bytes", line);
  Fragments &all = own_fragments(line);
  int lane = number() % LANES;
  all.rows[lane] = (const char *)row;
  wait(own_warp().barrier, LANES, line);
  for (int matrix = 0; matrix < 4; matrix++) {
    uint16_t halves[2];
    for (int half = 0; half < 2; half++) {
      int at = lane / 4, along = lane % 4 * 2 + half;
      const char *from = all.rows[matrix * 8 + (turned ? along : at)];
      memcpy(&halves[half], from + 2 * (turned ? at : along), 2);
    }
    memcpy(&words[matrix], halves, sizeof halves);
  }
}

struct Copy { char *to; const char *from; int bytes; };
// Copies of a thread that have not happened; `closed` has how many of them each group ends with.
struct Copies {
  enum { MOST = 64 };
  uint64_t block;
  Copy all[MOST];
  int count, closed[MOST], groups;
};
static Copies copies[MOST_THREADS];

static Copies &own_copies() {
  Copies &own = copies[number()];
  if (own.block != blocks_started) own.block = blocks_started, own.count = own.groups = 0;
  return own;
}

static void make(const Copy &copy) {
  memcpy(copy.to, copy.from, copy.bytes);
  memset(copy.to + copy.bytes, 0, 16 - copy.bytes);
}

static void copy_later(void *to, const void *from, int bytes, int line) {
  if (((uintptr_t)to | (uintptr_t)from) % 16 != 0) fail("a copy is not at multiples of 16 bytes", line);
  Copy copy = {(char *)to, (const char *)from, bytes};
  if (order_of_launch == FORWARD) return make(copy);
  Copies &own = own_copies();
  if (own.count == Copies::MOST) fail("more copies on their way than the emulator holds", line);
  own.all[own.count++] = copy;
}

static void close_copies(int line) {
  Copies &own = own_copies();
  if (own.groups == Copies::MOST) fail("more groups of copies than the emulator holds", line);
  own.closed[own.groups++] = own.count;
}

static void await_copies(int left) {
  Copies &own = own_copies();
  int done = own.groups - left;
  if (done <= 0) return;
  int first = own.closed[done - 1];
  for (int i = 0; i < first; i++) make(own.all[i]);
  for (int i = first; i < own.count; i++) own.all[i - first] = own.all[i];
  for (int i = done; i < own.groups; i++) own.closed[i - done] = own.closed[i] - first;
  own.count -= first;
  own.groups -= done;
}

}
