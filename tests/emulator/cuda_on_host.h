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
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
// Shared memory of all kernels is one section, so that it can be filled before each block.
#define __shared__ static __attribute__((section("emulated_shared")))

struct Index { unsigned x, y; };
static Index threadIdx, blockIdx, blockDim;

extern "C" {
extern char __start_emulated_shared[] __attribute__((visibility("hidden")));
extern char __stop_emulated_shared[] __attribute__((visibility("hidden")));
}

namespace emulator {

enum { LANES = 32, MOST_THREADS = 1024, STACK = 64 * 1024 };
enum Order { FORWARD, BACKWARD, SHUFFLED };

// A place where threads wait for each other. All must come from one line of the kernel.
struct Barrier { int waiting, line; unsigned passed; };
// Where a coroutine, or the scheduler, goes on: at its beginning, or where it changed to another one.
struct Context { ucontext_t beginning; jmp_buf place; bool begun; };
struct Thread { Context context; Index index; bool alive; Barrier *at; unsigned passed; };
// Two sets of slots: the values of the last shuffle are read while those of the next one are written.
struct Warp { Barrier barrier; int alive; uint64_t slots[2][LANES]; };

static Thread *threads;
static Thread *current;
static Warp *warps;
static Barrier block_barrier;
static int count, alive;
static bool moved;
static int order_of_launch;
static uint64_t blocks_started;
static Context scheduler;
static void (*body)(void **);
static void **arguments;
static char problem[200];
static char *stacks;

// Goes on at `to`. Jumps ask nothing of the system, as swapcontext does, and millions are made.
static __attribute__((noinline)) void change(Context &from, Context &to) {
  from.begun = true;
  if (_setjmp(from.place)) return;
  if (to.begun) _longjmp(to.place, 1);
  setcontext(&to.beginning);
}

// Ends the launch with a message.
static void fail(const char *what, int line) {
  snprintf(problem, sizeof problem, "%s, line %d", what, line);
  change(current->context, scheduler);
}

static void release(Barrier &barrier) {
  barrier.waiting = 0;
  barrier.passed++;
  moved = true;
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

static int number() { return (int)(current - threads); }
static Warp &own_warp() { return warps[number() / LANES]; }

static void run_thread() {
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

static void sync_threads(int line) { wait(block_barrier, alive, line); }

// The value of `lane` of this warp. A lane that has ended has no value, so all must be there.
template <class T> static T shuffle(T value, int lane, int line) {
  static_assert(sizeof(T) == 4, "values of four bytes are shuffled");
  Warp &warp = own_warp();
  if (warp.alive < LANES) fail("a shuffle of a warp that is not whole", line);
  uint64_t *slots = warp.slots[warp.barrier.passed % 2];
  memcpy(&slots[number() % LANES], &value, sizeof value);
  wait(warp.barrier, warp.alive, line);
  T result;
  memcpy(&result, &slots[lane % LANES], sizeof result);
  return result;
}

static unsigned state = 1;
static unsigned draw(unsigned bound) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % bound;
}

static void start_block() {
  memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
  alive = count;
  blocks_started++;
  block_barrier = Barrier();
  for (int w = 0; w * LANES < count; w++) {
    warps[w] = Warp();
    warps[w].alive = count - w * LANES < LANES ? count - w * LANES : LANES;
  }
  for (int i = 0; i < count; i++) {
    Thread &thread = threads[i];
    thread.index = Index{i % blockDim.x, i / blockDim.x};
    thread.alive = true;
    thread.at = nullptr;
    thread.context.begun = false;
    ucontext_t &beginning = thread.context.beginning;
    getcontext(&beginning);
    beginning.uc_stack.ss_sp = stacks + (size_t)i * STACK;
    beginning.uc_stack.ss_size = STACK;
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

// Runs a kernel and returns what is wrong with it, or null.
static const char *launch(void (*kernel)(void **), uint64_t blocks, unsigned x, unsigned y, void **values, int how) {
  problem[0] = 0;
  if (blocks == 0 || blocks > 0x7fffffff || x * y == 0 || x * y > MOST_THREADS)
    return "a launch that no device accepts";
  count = (int)(x * y);
  order_of_launch = how;
  blockDim = Index{x, y};
  body = kernel;
  arguments = values;
  int *order = new int[count];
  threads = new Thread[count];
  warps = new Warp[(count + LANES - 1) / LANES];
  stacks = (char *)malloc((size_t)count * STACK);
  for (int i = 0; i < count; i++) order[i] = how == BACKWARD ? count - 1 - i : i;
  for (uint64_t block = 0; block < blocks && !problem[0]; block++) {
    blockIdx = Index{(unsigned)block, 0};
    for (int i = count - 1; how == SHUFFLED && i > 0; i--) {
      int other = (int)draw((unsigned)i + 1), kept = order[i];
      order[i] = order[other];
      order[other] = kept;
    }
    run_block(order);
  }
  free(stacks);
  delete[] warps;
  delete[] threads;
  delete[] order;
  return problem[0] ? problem : nullptr;
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

}

#define __syncthreads() emulator::sync_threads(__LINE__)
#define __shfl_sync(lanes, value, lane) emulator::shuffle(value, lane, __LINE__)
#define __shfl_xor_sync(lanes, value, mask) emulator::shuffle(value, (emulator::number() % 32) ^ (mask), __LINE__)

#include "tensor_on_host.h"
