// Runs CUDA kernels on the CPU, to test what they mean. The text of the kernels is compiled as C++ behind this header.
//
// Each thread of a block is a coroutine with a stack of its own. One runs until it meets a barrier or a shuffle, which
// is a barrier of its warp; then another one runs. A kernel that lacks a barrier therefore reads what was not written
// yet, in at least one of the orders in which threads may run: shared memory holds NaN when a block starts.
//
// What this cannot show: anything about time, streams, the memory model of a GPU, or instructions that only a GPU has.

#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
// Shared memory of all kernels is one section, so that it can be filled before each block.
#define __shared__ static __attribute__((section("emulated_shared")))

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

extern "C" {
extern char __start_emulated_shared[] __attribute__((visibility("hidden")));
extern char __stop_emulated_shared[] __attribute__((visibility("hidden")));
}

namespace emulator {

// Stacks are a few lines longer than a power of two, since a cache keeps only few places that are one apart.
enum { LANES = 32, MOST_THREADS = 1024, STACK = 72 * 1024 + 9 * 64, PAGE = 4096 };
// Most bytes of shared memory that a launch may ask for, as an H100 has them.
enum { MOST_DYNAMIC_SHARED = 227 * 1024, SHARED_ALIGNMENT = 128 };
// So that a text that declares no shared memory has the section as well.
static __attribute__((section("emulated_shared"), used)) char no_shared[16];
enum Order { FORWARD, BACKWARD, SHUFFLED };

// A place where threads wait for each other. All must come from one line of the kernel.
struct Barrier { int waiting, line; unsigned passed; };
// Where a coroutine, or the scheduler, goes on: at its beginning, or where it changed to another one.
struct Context { void *place[5]; bool begun; ucontext_t beginning; };
struct Thread { bool made, alive; int number; Barrier *at; unsigned passed; Index index; Context context; };
// Two sets of slots: the values of the last shuffle are read while those of the next one are written.
struct Warp { Barrier barrier; int alive; uint64_t slots[2][LANES]; };

// Threads and their stacks stay from launch to launch: making them costs more than most kernels.
static Thread threads[MOST_THREADS];
// The thread that runs; null where threads run one after the other, without coroutines.
static Thread *current;
static Warp warps[MOST_THREADS / LANES];
static Barrier block_barrier;
static int count, alive;
static bool moved;
static int order_of_launch;
static uint64_t blocks_started;
static Context scheduler;
static jmp_buf without_coroutines;
static void (*body)(void **);
static void **arguments;
static char problem[200];
static char *stacks;
// Shared memory whose size the launch says. The text of a kernel has to name it where CUDA has `extern __shared__`.
static char *dynamic_shared;
static size_t dynamic_shared_bytes;

[[noreturn]] static __attribute__((noinline)) void jump(Context &to) {
  if (to.begun) __builtin_longjmp(to.place, 1);
  setcontext(&to.beginning);
  abort();
}

// Goes on at `to`. Jumps ask nothing of the system, as swapcontext does, and millions are made; those of the compiler
// do less than those of the C library.
static __attribute__((noinline)) void change(Context &from, Context &to) {
  from.begun = true;
  if (__builtin_setjmp(from.place)) return;
  jump(to);
}

// Ends the launch with a message.
static void fail(const char *what, int line) {
  snprintf(problem, sizeof problem, "%s, line %d", what, line);
  if (!current) _longjmp(without_coroutines, 1);
  change(current->context, scheduler);
}

static void release(Barrier &barrier) {
  barrier.waiting = 0;
  barrier.passed++;
  moved = true;
}

// Fails where a kernel that was to run without coroutines needs them.
static void need_coroutines(int line) {
  if (!current) fail("a barrier in a kernel that seemed to have none", line);
}

static void wait(Barrier &barrier, int needed, int line) {
  if (barrier.waiting > 0 && barrier.line != line) fail("threads meet at different barriers", line);
  barrier.line = line;
  unsigned passed = barrier.passed;
  if (++barrier.waiting >= needed) return release(barrier);
  Thread *self = current;
  self->at = &barrier;
  self->passed = passed;
  change(self->context, scheduler);
  self->at = nullptr;
}

static int number() { return current->number; }
static Warp &own_warp() { return warps[number() / LANES]; }

// Runs a thread of one block after the other.
static void run_thread() {
  for (;;) {
    body(arguments);
    current->alive = false;
    alive--;
    moved = true;
    Warp &warp = own_warp();
    warp.alive--;
    // Those that wait for a thread that has ended wait no longer.
    if (warp.barrier.waiting > 0 && warp.barrier.waiting >= warp.alive) release(warp.barrier);
    if (block_barrier.waiting > 0 && block_barrier.waiting >= alive) release(block_barrier);
    change(current->context, scheduler);
  }
}

static void sync_threads(int line) {
  need_coroutines(line);
  wait(block_barrier, alive, line);
}

// The warp of this thread, whose lanes are all there: a lane that has ended has no value.
static Warp &whole_warp(unsigned lanes, int line) {
  need_coroutines(line);
  Warp &warp = own_warp();
  if (warp.alive < LANES) fail("a shuffle of a warp that is not whole", line);
  if (lanes != 0xffffffffu) fail("a shuffle that names only some lanes", line);
  return warp;
}

// Leaves the values of all lanes of this warp where each lane reads them, and returns them.
template <class T> static __forceinline__ const uint64_t *exchange(unsigned lanes, T value, int line) {
  static_assert(sizeof(T) <= 8, "values of at most eight bytes are exchanged");
  Warp &warp = whole_warp(lanes, line);
  uint64_t *slots = warp.slots[warp.barrier.passed % 2];
  memcpy(&slots[number() % LANES], &value, sizeof value);
  wait(warp.barrier, warp.alive, line);
  return slots;
}

// The value of lane `lane` of the `width` lanes that this one belongs to; its own value where that is none of them.
template <class T> static __forceinline__ T shuffle(unsigned lanes, T value, int lane, int width, int line) {
  const uint64_t *slots = exchange(lanes, value, line);
  int first = number() % LANES / width * width;
  T result = value;
  if (lane >= 0 && lane < width) memcpy(&result, &slots[first + lane], sizeof result);
  return result;
}

// Number of this lane among `width` lanes.
static int lane_of(int width) { return number() % width; }

template <class T> static __forceinline__ T shuffle_from(unsigned lanes, T value, int lane, int line, int width = LANES) {
  return shuffle(lanes, value, lane & (width - 1), width, line);
}
template <class T> static __forceinline__ T shuffle_xor(unsigned lanes, T value, int mask, int line, int width = LANES) {
  return shuffle(lanes, value, lane_of(width) ^ mask, width, line);
}
template <class T> static __forceinline__ T shuffle_up(unsigned lanes, T value, unsigned distance, int line, int width = LANES) {
  return shuffle(lanes, value, lane_of(width) - (int)distance, width, line);
}
template <class T> static __forceinline__ T shuffle_down(unsigned lanes, T value, unsigned distance, int line, int width = LANES) {
  return shuffle(lanes, value, lane_of(width) + (int)distance, width, line);
}

// Which lanes of this warp say yes, a bit for each.
static unsigned ballot(unsigned lanes, bool yes, int line) {
  const uint64_t *slots = exchange(lanes, (uint64_t)yes, line);
  unsigned all = 0;
  for (int lane = 0; lane < LANES; lane++) all |= (unsigned)slots[lane] << lane;
  return all;
}

static void sync_warp(unsigned lanes, int line) { exchange(lanes, 0, line); }

static unsigned state = 1;
static unsigned draw(unsigned bound) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % bound;
}

static Index index_of(unsigned thread) {
  return Index{thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

static void forget_shared_memory() {
  memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
  memset(dynamic_shared, 0xff, dynamic_shared_bytes);
}

// Gives a thread a stack that ends where nothing may be touched.
static void make_stack(ucontext_t &beginning, int thread) {
  char *start = stacks + (size_t)thread * STACK;
  mprotect((char *)(((uintptr_t)start + PAGE - 1) / PAGE * PAGE), PAGE, PROT_NONE);
  beginning.uc_stack.ss_sp = start;
  beginning.uc_stack.ss_size = STACK;
}

static void start_block() {
  alive = count;
  blocks_started++;
  block_barrier = Barrier();
  for (int w = 0; w * LANES < count; w++) {
    warps[w] = Warp();
    warps[w].alive = count - w * LANES < LANES ? count - w * LANES : LANES;
  }
  for (int i = 0; i < count; i++) {
    Thread &thread = threads[i];
    thread.number = i;
    thread.index = index_of((unsigned)i);
    thread.alive = true;
    thread.at = nullptr;
    if (thread.made) continue;
    thread.made = true;
    thread.context.begun = false;
    ucontext_t &beginning = thread.context.beginning;
    getcontext(&beginning);
    make_stack(beginning, i);
    beginning.uc_link = nullptr;
    makecontext(&beginning, run_thread, 0);
  }
}

// Runs the threads of a block to their end, each as far as it gets.
static void run_block(const int *order) {
  start_block();
  while (alive > 0) {
    moved = false;
    for (int k = 0; k < count; k++) {
      Thread &thread = threads[order[k]];
      if (!thread.alive || (thread.at && thread.at->passed == thread.passed)) continue;
      current = &thread;
      threadIdx = thread.index;
      moved = true;
      change(scheduler, thread.context);
      if (problem[0]) return;
    }
    if (!moved) {
      snprintf(problem, sizeof problem, "threads wait at a barrier that others never reach");
      return;
    }
  }
}

// Runs the threads of a block one after the other.
static void run_block_without_coroutines(const int *order) {
  current = nullptr;
  if (_setjmp(without_coroutines)) return;
  for (int k = 0; k < count; k++) {
    threadIdx = index_of((unsigned)order[k]);
    body(arguments);
  }
}

// Makes room for shared memory that ends where nothing may be touched.
static void make_dynamic_shared(size_t bytes) {
  enum { ROOM = (MOST_DYNAMIC_SHARED + PAGE - 1) / PAGE * PAGE };
  static char *room;
  if (!room) {
    room = (char *)mmap(nullptr, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED || mprotect(room + ROOM, PAGE, PROT_NONE) != 0) abort();
  }
  dynamic_shared_bytes = (bytes + SHARED_ALIGNMENT - 1) / SHARED_ALIGNMENT * SHARED_ALIGNMENT;
  dynamic_shared = room + ROOM - dynamic_shared_bytes;
}

// Runs a kernel and returns what is wrong with it, or null.
static const char *launch(void (*kernel)(void **), Index grid, Index block, size_t shared_bytes, void **values, int how,
                          bool coroutines) {
  problem[0] = 0;
  uint64_t wanted = (uint64_t)block.x * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 ||
      wanted == 0 || wanted > MOST_THREADS || block.z > 64 || shared_bytes > MOST_DYNAMIC_SHARED)
    return "a launch that no device accepts";
  count = (int)wanted;
  order_of_launch = how;
  blockDim = block;
  gridDim = grid;
  body = kernel;
  arguments = values;
  make_dynamic_shared(shared_bytes);
  if (!stacks) stacks = (char *)malloc((size_t)MOST_THREADS * STACK);
  int order[MOST_THREADS];
  for (int i = 0; i < count; i++) order[i] = how == BACKWARD ? count - 1 - i : i;
  uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
  for (uint64_t at = 0; at < blocks && !problem[0]; at++) {
    blockIdx = Index{(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / grid.x / grid.y)};
    for (int i = count - 1; how == SHUFFLED && i > 0; i--) {
      int other = (int)draw((unsigned)i + 1), kept = order[i];
      order[i] = order[other];
      order[other] = kept;
    }
    forget_shared_memory();
    if (coroutines) run_block(order);
    else run_block_without_coroutines(order);
  }
  if (!problem[0]) return nullptr;
  // Threads that are in the middle of this kernel begin anew.
  for (int i = 0; i < MOST_THREADS; i++) threads[i].made = false;
  return problem;
}

// The same for a grid of one dimension and a block of two.
static const char *launch(void (*kernel)(void **), uint64_t blocks, unsigned x, unsigned y, void **values, int how) {
  if (blocks > 0x7fffffff) return "a launch that no device accepts";
  return launch(kernel, Index{(unsigned)blocks, 1, 1}, Index{x, y, 1}, 0, values, how, true);
}

// Calls a kernel with the values that pointers lead to.
template <class... Types> struct Caller {
  template <size_t... At> struct Numbers {};
  template <size_t Left, size_t... At> struct Count : Count<Left - 1, Left - 1, At...> {};
  template <size_t... At> struct Count<0, At...> { typedef Numbers<At...> All; };
  template <size_t... At> static void call(void (*kernel)(Types...), void **values, Numbers<At...>) {
    kernel(*(Types *)values[At]...);
  }
};
template <class... Types> static void call(void (*kernel)(Types...), void **values) {
  typedef Caller<Types...> Here;
  Here::call(kernel, values, typename Here::template Count<sizeof...(Types)>::All());
}

// How many values a kernel takes, and the bytes of each.
template <class... Types> static int sizes_of_values(void (*)(Types...), size_t *sizes) {
  size_t all[] = {sizeof(Types)..., 0};
  for (size_t i = 0; i < sizeof...(Types); i++) sizes[i] = all[i];
  return (int)sizeof...(Types);
}

}

#define __syncthreads() emulator::sync_threads(__LINE__)
#define __syncwarp() emulator::sync_warp(0xffffffffu, __LINE__)
// The last argument may be a width.
#define __shfl_sync(lanes, value, lane, ...) emulator::shuffle_from(lanes, value, lane, __LINE__, ##__VA_ARGS__)
#define __shfl_xor_sync(lanes, value, mask, ...) emulator::shuffle_xor(lanes, value, mask, __LINE__, ##__VA_ARGS__)
#define __shfl_up_sync(lanes, value, by, ...) emulator::shuffle_up(lanes, value, by, __LINE__, ##__VA_ARGS__)
#define __shfl_down_sync(lanes, value, by, ...) emulator::shuffle_down(lanes, value, by, __LINE__, ##__VA_ARGS__)
#define __ballot_sync(lanes, yes) emulator::ballot(lanes, yes, __LINE__)
#define __any_sync(lanes, yes) (emulator::ballot(lanes, yes, __LINE__) != 0)
#define __all_sync(lanes, yes) (emulator::ballot(lanes, yes, __LINE__) == 0xffffffffu)
// Memory has one order here.
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)
#define __ldg(pointer) (*(pointer))

// Types and functions that are part of CUDA's language.
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return float2{x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return int2{x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return int4{x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return uint2{x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

template <class To, class From> static inline To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "values of one size have the same bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
static inline float __int_as_float(int x) { return same_bits<float>(x); }
static inline int __float_as_int(float x) { return same_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fdividef(float a, float b) { return a / b; }
// The C library has functions of these names.
#define __expf expf
#define __logf logf
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
static inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
static inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
static inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
// Threads take turns, so nothing comes between.
template <class T> static inline T atomicAdd(T *at, T value) {
  T old = *at;
  *at = old + value;
  return old;
}

#include "tensor_on_host.h"
