// One shared library stands in for libcuda, libnvrtc and libcublas on a machine without a GPU. This is what its parts
// share: memory, the queue of work, errors and counts. See `driver.cpp`.

#pragma once
#include <stddef.h>
#include <stdint.h>
#include <functional>
#include <mutex>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

namespace fake {

// Codes of the driver's interface (`cuda.h`, CUresult).
enum Status {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209,
  INVALID_PTX = 218,
  INVALID_HANDLE = 400,
  ILLEGAL_STATE = 401,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  NOT_SUPPORTED = 801,
  STREAM_CAPTURE_UNSUPPORTED = 900,
  STREAM_CAPTURE_INVALIDATED = 901,
  STREAM_CAPTURE_UNMATCHED = 903,
  STREAM_CAPTURE_IMPLICIT = 906,
  STREAM_CAPTURE_WRONG_THREAD = 908,
};

// Static shared memory that a kernel may have, and all that it may have after it was asked for, in bytes.
enum { SHARED_BYTES = 48 * 1024, MOST_SHARED_BYTES = 227 * 1024 };
// How a process ends whose kernel does what no kernel may do.
enum { EXIT_CODE = 86 };

struct Counts {
  uint64_t allocations, frees, host_allocations, host_frees, live_bytes, peak_bytes, host_live_bytes;
  // Calls that launch a kernel or a graph, and what ran of it: kernels of graphs as well.
  uint64_t kernel_launches, graph_launches, kernels, products;
  uint64_t copies_in, copies_out, copies_within, memsets;
  // How often the host waited for the device.
  uint64_t synchronisations;
  uint64_t compiles, module_loads, captures;
};
extern Counts counts;

// One lock for everything: the device does one thing at a time. A function holds it while it runs.
extern std::recursive_mutex lock;
typedef std::lock_guard<std::recursive_mutex> Guard;

struct Stream;
typedef std::function<int()> Work;

// Puts work on a stream, or into the graph that the stream captures. Returns a Status.
int enqueue(Stream *stream, Work work);
// The same for a handle that a program has.
int enqueue_on(void *handle, Work work);
// Says whether a call may be made now: initialised, with a context that is whole.
int ready();
// Runs `work` as the kernel `name`: touching what is no memory ends the process with a message that has this name.
void guarded(const char *name, const std::function<void()> &work);
// Ends the process with a message about a kernel.
[[noreturn]] void die(const char *name, const char *what);
// Says whether this many bytes lie in one allocation of the device, or in pinned memory of the host.
bool is_device_memory(uint64_t start, size_t bytes);

// How an image of kernels is read and written: kind, architecture, path of the code.
#define IMAGE_FORM "fake CUDA %7s %d\n%4095[^\n]\n%3s"
// Bytes of shared memory that a kernel in a library declares.
size_t shared_bytes_of(const char *library, const std::string &kernel);

// A number from the environment.
uint64_t number_from(const char *variable, uint64_t otherwise);

}
