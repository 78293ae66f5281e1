// The driver of a device that the CPU emulates.
//
// Work on streams is kept until the host waits for it, so that a host that reads a result too early, or writes to
// pinned memory that is still to be copied, is found. Work runs in the order in which it was given, except that the
// streams that do not block others run only when they are waited for themselves, directly or through an event.
//
// Memory of the device begins as NaN, lies between pages that nobody may touch, and is checked after each kernel for
// writes into what is left of its first and last page. Launches run what `compiler.cpp` has compiled.
//
// The environment says what goes wrong:
//   FAKE_CUDA_DEVICES=0            there is no device
//   FAKE_CUDA_DRIVER_VERSION=n     version of the driver, 12080 for 12.8
//   FAKE_CUDA_CAPABILITY=n         compute capability, 90 for 9.0
//   FAKE_CUDA_MEMORY=bytes         memory of the device, 8 GiB otherwise
//   FAKE_CUDA_FAIL_ALLOCATION=n    the n-th allocation fails, counted from 1, pinned ones included
//   FAKE_CUDA_FAIL_LAUNCH=n        the n-th kernel that runs accesses what it may not: the context is lost
//   FAKE_CUDA_FAIL_COMPILE=1       kernels do not compile
//   FAKE_CUDA_ORDER=0|1|2          order of threads: forward, backward, shuffled
// and what is reported:
//   FAKE_CUDA_REPORT=path          counts at the end of the process, one JSON object
//   FAKE_CUDA_TRACE=path           counts whenever the host waited for the device, one JSON object a line
#include "fake_cuda.h"

#include <dlfcn.h>
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace fake {

Counts counts;
std::recursive_mutex lock;

uint64_t number_from(const char *variable, uint64_t otherwise) {
  const char *text = getenv(variable);
  return text ? strtoull(text, nullptr, 10) : otherwise;
}

// The compute capability of the device, 10 * major + minor.
static int capability() {
  static const int value = (int)number_from("FAKE_CUDA_CAPABILITY", 90);
  return value;
}

// --- Counts ---------------------------------------------------------------------------------------------------------

static void write_counts(const char *variable, const char *mode) {
  const char *path = getenv(variable);
  if (!path) return;
  FILE *file = fopen(path, mode);
  if (!file) {
    fprintf(stderr, "fake CUDA: cannot write `%s`\n", path);
    return;
  }
  const struct { const char *name; uint64_t value; } all[] = {
      {"allocations", counts.allocations},
      {"frees", counts.frees},
      {"host_allocations", counts.host_allocations},
      {"host_frees", counts.host_frees},
      {"live_bytes", counts.live_bytes},
      {"peak_bytes", counts.peak_bytes},
      {"host_live_bytes", counts.host_live_bytes},
      {"kernel_launches", counts.kernel_launches},
      {"graph_launches", counts.graph_launches},
      {"kernels", counts.kernels},
      {"products", counts.products},
      {"copies_in", counts.copies_in},
      {"copies_out", counts.copies_out},
      {"copies_within", counts.copies_within},
      {"memsets", counts.memsets},
      {"synchronisations", counts.synchronisations},
      {"compiles", counts.compiles},
      {"module_loads", counts.module_loads},
      {"captures", counts.captures},
  };
  const char *separator = "{";
  for (auto &count : all) {
    fprintf(file, "%s\"%s\": %llu", separator, count.name, (unsigned long long)count.value);
    separator = ", ";
  }
  fprintf(file, "}\n");
  fclose(file);
}

__attribute__((destructor)) static void report() { write_counts("FAKE_CUDA_REPORT", "w"); }

// --- State ----------------------------------------------------------------------------------------------------------

struct Allocation {
  char *mapping;
  // Bytes of the mapping between its two guards.
  size_t room;
  char *start;
  size_t bytes;
  bool on_host;
};

struct Operation {
  Stream *stream;
  Work work;
  // Where this waits for an event: the operation that has to be done before.
  Stream *after_stream;
  uint64_t after;
  uint64_t number;
};

struct Graph { std::vector<Work> work; };

// What is at the end of a stream.
struct Capture {
  std::shared_ptr<Graph> graph;
  int mode;
  pid_t thread;
  bool broken;
};

struct Stream {
  bool blocks_others;
  std::unique_ptr<Capture> capture;
};

struct Event {
  bool timed;
  // Where it was recorded last; zero if nowhere.
  uint64_t number;
  Stream *stream;
  bool done;
  double at_ms;
};

struct Module { void *library; };

struct Function {
  std::string name;
  const char *(*run)(const unsigned *dimensions, size_t shared_bytes, void **values, int order);
  std::vector<size_t> sizes;
  size_t shared_bytes;
  size_t most_dynamic_shared_bytes;
};

static bool initialised;
// How many hold the context.
static int holders;
// What broke the context.
static int lost;
static thread_local bool current;
static std::map<uint64_t, Allocation> allocations;
static std::deque<Operation> queue;
static uint64_t operations;
static Stream legacy{true, nullptr};
static std::set<Stream *> streams;
static std::set<Event *> events;
static std::set<Module *> modules;
static std::set<Graph *> graphs, instances;
static const char *running;

// --- What kernels may not do ----------------------------------------------------------------------------------------

// Writes without the C library's buffers, since this is also used where a signal came.
static void say(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(EXIT_CODE);
}

void die(const char *name, const char *what) {
  say("fake CUDA: kernel `");
  say(name);
  say("` ");
  say(what);
  say("\n");
  _exit(EXIT_CODE);
}

static void on_fault(int) { die(running, "accesses memory outside of every allocation"); }

void guarded(const char *name, const std::function<void()> &work) {
  struct sigaction ours = {}, segmentation, bus;
  ours.sa_handler = on_fault;
  ours.sa_flags = SA_ONSTACK;
  running = name;
  sigaction(SIGSEGV, &ours, &segmentation);
  sigaction(SIGBUS, &ours, &bus);
  work();
  sigaction(SIGSEGV, &segmentation, nullptr);
  sigaction(SIGBUS, &bus, nullptr);
  // A kernel may not write to the rest of the pages either.
  for (auto &entry : allocations) {
    const Allocation &allocation = entry.second;
    const char *end = allocation.mapping + allocation.room, *after = allocation.start + allocation.bytes;
    auto untouched = [](const char *from, const char *to) {
      return from == to || (*from == '\xff' && memcmp(from, from + 1, to - from - 1) == 0);
    };
    if (!untouched(allocation.mapping, allocation.start) || !untouched(after, end))
      die(name, "accesses memory outside of every allocation");
  }
}

// --- Memory ---------------------------------------------------------------------------------------------------------

enum { PAGE = 4096, ALIGNMENT = 16 };

static uint64_t device_memory() { return number_from("FAKE_CUDA_MEMORY", 8ull << 30); }

static size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

static int allocate(uint64_t *start, size_t bytes, bool on_host) {
  if (bytes == 0) return INVALID_VALUE;
  uint64_t attempt = counts.allocations + counts.host_allocations + 1;
  static bool failed = false;
  if (!failed && attempt == number_from("FAKE_CUDA_FAIL_ALLOCATION", 0)) {
    failed = true;
    return OUT_OF_MEMORY;
  }
  if (!on_host && (bytes > device_memory() || counts.live_bytes > device_memory() - bytes)) return OUT_OF_MEMORY;
  Allocation allocation;
  allocation.room = rounded(bytes, PAGE);
  char *whole = (char *)mmap(nullptr, allocation.room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (whole == MAP_FAILED) return OUT_OF_MEMORY;
  allocation.mapping = whole + PAGE;
  if (mprotect(allocation.mapping, allocation.room, PROT_READ | PROT_WRITE) != 0) {
    munmap(whole, allocation.room + 2 * PAGE);
    return OUT_OF_MEMORY;
  }
  memset(allocation.mapping, 0xff, allocation.room);
  allocation.start = allocation.mapping + allocation.room - rounded(bytes, ALIGNMENT);
  allocation.bytes = bytes;
  allocation.on_host = on_host;
  *start = (uint64_t)allocation.start;
  allocations[*start] = allocation;
  if (on_host) {
    counts.host_allocations++;
    counts.host_live_bytes += bytes;
  } else {
    counts.allocations++;
    counts.live_bytes += bytes;
    if (counts.live_bytes > counts.peak_bytes) counts.peak_bytes = counts.live_bytes;
  }
  return SUCCESS;
}

static int release(uint64_t start, bool on_host) {
  auto found = allocations.find(start);
  if (found == allocations.end() || found->second.on_host != on_host) return INVALID_VALUE;
  const Allocation &allocation = found->second;
  (on_host ? counts.host_live_bytes : counts.live_bytes) -= allocation.bytes;
  (on_host ? counts.host_frees : counts.frees)++;
  munmap(allocation.mapping - PAGE, allocation.room + 2 * PAGE);
  allocations.erase(found);
  return SUCCESS;
}

// The allocation that holds all of a piece of memory.
static const Allocation *holder(uint64_t start, size_t bytes) {
  auto next = allocations.upper_bound(start);
  if (next == allocations.begin()) return nullptr;
  const Allocation &allocation = std::prev(next)->second;
  uint64_t from = start - (uint64_t)allocation.start;
  return from <= allocation.bytes && bytes <= allocation.bytes - from ? &allocation : nullptr;
}

bool is_device_memory(uint64_t start, size_t bytes) { return holder(start, bytes) != nullptr; }

static bool on_device(uint64_t start, size_t bytes) {
  const Allocation *found = holder(start, bytes);
  return found && !found->on_host;
}

static bool pinned(const void *start, size_t bytes) {
  const Allocation *found = holder((uint64_t)start, bytes);
  return found && found->on_host;
}

// --- Streams --------------------------------------------------------------------------------------------------------

int ready() {
  if (!initialised) return NOT_INITIALIZED;
  if (!current || holders == 0) return INVALID_CONTEXT;
  return lost;
}

static double now_ms() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

// The stream that a handle names: zero, one and two are the streams that every context has.
static Stream *stream_of(void *handle) {
  if ((uintptr_t)handle <= 2) return &legacy;
  Stream *stream = (Stream *)handle;
  return streams.count(stream) ? stream : nullptr;
}

// Streams that block others are one sequence of work with the default stream.
static bool together(const Stream *a, const Stream *b) { return a == b || (a->blocks_others && b->blocks_others); }

// Runs what a stream has to do up to an operation, in order.
static void run_until(Stream *stream, uint64_t last) {
  for (size_t at = 0; at < queue.size() && queue[at].number <= last && !lost;) {
    if (!together(queue[at].stream, stream)) {
      at++;
      continue;
    }
    Operation operation = queue[at];
    queue.erase(queue.begin() + (ptrdiff_t)at);
    if (operation.after_stream) {
      run_until(operation.after_stream, operation.after);
      at = 0;
    }
    if (operation.work && !lost) lost = operation.work();
  }
  if (lost) queue.clear();
}

static void run_all() {
  while (!queue.empty()) run_until(queue.front().stream, operations);
}

// Ends a wait of the host for the device.
static int waited() {
  counts.synchronisations++;
  write_counts("FAKE_CUDA_TRACE", "a");
  return lost;
}

static Stream *capturing() {
  for (Stream *stream : streams)
    if (stream->capture) return stream;
  return nullptr;
}

// Says whether a call may be made that a capture cannot record; a capture that forbids it is broken by it.
static int outside_of_capture() {
  int status = ready();
  for (Stream *stream : streams) {
    Capture *capture = stream->capture.get();
    // Relaxed captures forbid nothing, and those of a thread nothing to others.
    if (!capture || capture->mode == 2 || (capture->mode == 1 && capture->thread != gettid())) continue;
    capture->broken = true;
    return STREAM_CAPTURE_UNSUPPORTED;
  }
  return status;
}

// The same for a call about one stream, which may not be captured in any way.
static int outside_of_capture(Stream *stream) {
  if (stream && stream->capture) {
    stream->capture->broken = true;
    return STREAM_CAPTURE_UNSUPPORTED;
  }
  return ready();
}

int enqueue(Stream *stream, Work work) {
  if (int status = ready()) return status;
  if (!stream) return INVALID_HANDLE;
  if (stream->capture) {
    if (stream->capture->broken) return STREAM_CAPTURE_INVALIDATED;
    stream->capture->graph->work.push_back(work);
    return SUCCESS;
  }
  // The default stream would wait for a stream that is captured.
  Stream *captured = capturing();
  if (stream == &legacy && captured && captured->blocks_others) {
    captured->capture->broken = true;
    return STREAM_CAPTURE_IMPLICIT;
  }
  queue.push_back(Operation{stream, work, nullptr, 0, ++operations});
  return SUCCESS;
}

int enqueue_on(void *handle, Work work) { return enqueue(stream_of(handle), work); }

// --- Copies ---------------------------------------------------------------------------------------------------------

static int copy(uint64_t *count, void *to, const void *from, size_t bytes) {
  ++*count;
  if ((char *)to < (const char *)from + bytes && (const char *)from < (char *)to + bytes)
    die("copy", "copies between places that overlap");
  memcpy(to, from, bytes);
  return SUCCESS;
}

// Runs all that comes before a call of the host that waits, on the default stream.
static int begin_synchronous() {
  if (int status = outside_of_capture()) return status;
  run_until(&legacy, operations);
  return lost;
}

static int copy_now(uint64_t *count, void *to, const void *from, size_t bytes) {
  if (int status = begin_synchronous()) return status;
  copy(count, to, from, bytes);
  return waited();
}

static int copy_later(Stream *stream, uint64_t *count, void *to, const void *from, size_t bytes) {
  return enqueue(stream, [=] {
    // Memory may be gone when a graph runs.
    bool there = (count == &counts.copies_in || is_device_memory((uint64_t)from, bytes)) &&
                 (count == &counts.copies_out || is_device_memory((uint64_t)to, bytes));
    return there ? copy(count, to, from, bytes) : (int)ILLEGAL_ADDRESS;
  });
}

// Copies memory of the host that is not pinned: what is there when the call returns.
static int copy_aside(Stream *stream, uint64_t to, const void *from, size_t bytes) {
  std::vector<char> kept((const char *)from, (const char *)from + bytes);
  return enqueue(stream, [=] {
    if (!is_device_memory(to, bytes)) return (int)ILLEGAL_ADDRESS;
    return copy(&counts.copies_in, (void *)to, kept.data(), bytes);
  });
}

static int fill(Stream *stream, uint64_t start, const void *pattern, size_t width, size_t times) {
  if (!on_device(start, width * times) || start % width != 0) return ready() ? ready() : (int)INVALID_VALUE;
  uint32_t value = 0;
  memcpy(&value, pattern, width);
  return enqueue(stream, [=] {
    if (!is_device_memory(start, width * times)) return (int)ILLEGAL_ADDRESS;
    counts.memsets++;
    for (size_t i = 0; i < times; i++) memcpy((char *)start + i * width, &value, width);
    return (int)SUCCESS;
  });
}

// --- Modules --------------------------------------------------------------------------------------------------------

// Static shared memory of a kernel: of the variables that are local to it, whose names begin with its own.
size_t shared_bytes_of(const char *library, const std::string &kernel) {
  size_t bytes = 0;
  FILE *file = fopen(library, "rb");
  if (!file) return 0;
  fseek(file, 0, SEEK_END);
  std::vector<char> image((size_t)ftell(file));
  rewind(file);
  bool whole = fread(image.data(), 1, image.size(), file) == image.size();
  fclose(file);
  if (!whole) return 0;
  const Elf64_Ehdr *header = (const Elf64_Ehdr *)image.data();
  const Elf64_Shdr *sections = (const Elf64_Shdr *)(image.data() + header->e_shoff);
  const char *names = image.data() + sections[header->e_shstrndx].sh_offset;
  std::string prefix = "_ZZ" + std::to_string(kernel.size()) + kernel;
  for (int s = 0; s < header->e_shnum; s++) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const Elf64_Sym *symbols = (const Elf64_Sym *)(image.data() + sections[s].sh_offset);
    const char *texts = image.data() + sections[sections[s].sh_link].sh_offset;
    for (size_t i = 0; i < sections[s].sh_size / sizeof(Elf64_Sym); i++) {
      const Elf64_Sym &symbol = symbols[i];
      if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= header->e_shnum) continue;
      bool shared = strcmp(names + sections[symbol.st_shndx].sh_name, "emulated_shared") == 0;
      if (shared && strncmp(texts + symbol.st_name, prefix.c_str(), prefix.size()) == 0) bytes += symbol.st_size;
    }
  }
  return bytes;
}

static int load_module(Module **module, const char *image) {
  if (int status = outside_of_capture()) return status;
  // An image is a text that `compiler.cpp` writes: what it is, for which architecture, and where the code lies.
  char kind[8], path[4096], end[4];
  int architecture;
  if (sscanf(image, IMAGE_FORM, kind, &architecture, path, end) != 4 || strcmp(end, "end") != 0)
    return strncmp(image, "//", 2) == 0 || image[0] == '.' ? INVALID_PTX : INVALID_IMAGE;
  // Portable code runs on later devices, other code on those of the same generation.
  bool runs = architecture <= capability() && (strcmp(kind, "ptx") == 0 || architecture / 10 == capability() / 10);
  if (!runs) return NO_BINARY_FOR_GPU;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return INVALID_IMAGE;
  counts.module_loads++;
  *module = new Module{library};
  modules.insert(*module);
  return SUCCESS;
}

static int find_function(Function **function, Module *module, const char *name) {
  if (int status = ready()) return status;
  if (!modules.count(module)) return INVALID_HANDLE;
  auto run = (decltype(Function::run))dlsym(module->library, (std::string("emulate_") + name).c_str());
  auto sizes = (int (*)(size_t *))dlsym(module->library, (std::string("sizes_of_") + name).c_str());
  if (!run || !sizes) return NOT_FOUND;
  size_t all[1024];
  int count = sizes(all);
  Dl_info where;
  dladdr((void *)run, &where);
  size_t shared_bytes = shared_bytes_of(where.dli_fname, name);
  size_t dynamic = shared_bytes < SHARED_BYTES ? SHARED_BYTES - shared_bytes : 0;
  *function = new Function{name, run, std::vector<size_t>(all, all + count), shared_bytes, dynamic};
  return SUCCESS;
}

static int run_kernel(const Function *function, const unsigned *dimensions, size_t shared_bytes, void **values) {
  counts.kernels++;
  if (counts.kernels == number_from("FAKE_CUDA_FAIL_LAUNCH", 0)) return ILLEGAL_ADDRESS;
  const char *problem = nullptr;
  int order = (int)number_from("FAKE_CUDA_ORDER", 0);
  guarded(function->name.c_str(), [&] { problem = function->run(dimensions, shared_bytes, values, order); });
  if (problem) die(function->name.c_str(), problem);
  return SUCCESS;
}

static int launch(Function *function, const unsigned *dimensions, size_t shared_bytes, Stream *stream, void **values) {
  if (int status = ready()) return status;
  if (!function) return INVALID_HANDLE;
  static const unsigned most[6] = {0x7fffffff, 65535, 65535, 1024, 1024, 64};
  for (int i = 0; i < 6; i++)
    if (dimensions[i] == 0 || dimensions[i] > most[i]) return INVALID_VALUE;
  if ((uint64_t)dimensions[3] * dimensions[4] * dimensions[5] > 1024) return INVALID_VALUE;
  if (shared_bytes > function->most_dynamic_shared_bytes) return INVALID_VALUE;
  if (!values && !function->sizes.empty()) return INVALID_VALUE;
  std::vector<std::vector<char>> kept;
  for (size_t i = 0; i < function->sizes.size(); i++)
    kept.emplace_back((char *)values[i], (char *)values[i] + function->sizes[i]);
  std::vector<unsigned> wanted(dimensions, dimensions + 6);
  if (stream && !stream->capture) counts.kernel_launches++;
  return enqueue(stream, [=] {
    std::vector<std::vector<char>> own = kept;
    std::vector<void *> pointers;
    for (auto &value : own) pointers.push_back(value.data());
    return run_kernel(function, wanted.data(), shared_bytes, pointers.data());
  });
}

}

using namespace fake;

// --- Interface: devices and contexts --------------------------------------------------------------------------------

API int cuInit(unsigned flags) {
  Guard guard(lock);
  if (flags != 0) return INVALID_VALUE;
  if (number_from("FAKE_CUDA_DEVICES", 1) == 0) return NO_DEVICE;
  initialised = true;
  return SUCCESS;
}

API int cuDriverGetVersion(int *version) {
  *version = (int)number_from("FAKE_CUDA_DRIVER_VERSION", 12080);
  return SUCCESS;
}

API int cuDeviceGetCount(int *count) {
  if (!initialised) return NOT_INITIALIZED;
  *count = 1;
  return SUCCESS;
}

API int cuDeviceGet(int *device, int ordinal) {
  if (!initialised) return NOT_INITIALIZED;
  if (ordinal != 0) return INVALID_DEVICE;
  *device = 0;
  return SUCCESS;
}

API int cuDeviceGetName(char *name, int length, int device) {
  if (device != 0) return INVALID_DEVICE;
  snprintf(name, (size_t)length, "fake CUDA device (emulated on the CPU)");
  return SUCCESS;
}

API int cuDeviceGetUuid(char *uuid, int device) {
  if (device != 0) return INVALID_DEVICE;
  memcpy(uuid, "fake CUDA device", 16);
  return SUCCESS;
}
API int cuDeviceGetUuid_v2(char *uuid, int device) { return cuDeviceGetUuid(uuid, device); }

API int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  if (device != 0) return INVALID_DEVICE;
  *bytes = device_memory();
  return SUCCESS;
}

// Numbers of an H100, by the attributes of `cuda.h`.
API int cuDeviceGetAttribute(int *value, int attribute, int device) {
  if (device != 0) return INVALID_DEVICE;
  static const std::map<int, int> known = {
      {1, 1024},       {2, 1024},        {3, 1024},   {4, 64},      {5, 0x7fffffff},         {6, 65535},
      {7, 65535},      {8, SHARED_BYTES}, {9, 65536}, {10, 32},     {12, 65536},             {13, 1980000},
      {16, 132},       {19, 1},          {31, 1},     {36, 2619000}, {37, 5120},             {38, 52428800},
      {39, 2048},      {40, 3},          {41, 1},     {75, capability() / 10}, {76, capability() % 10}, {78, 1},
      {81, 233472},    {82, 65536},      {95, 1},     {97, MOST_SHARED_BYTES}, {99, 1},      {106, 32},
      {111, 1024},     {115, 1},         {120, 1},
  };
  if (attribute < 1 || attribute > 147) return INVALID_VALUE;
  auto found = known.find(attribute);
  *value = found == known.end() ? 0 : found->second;
  return SUCCESS;
}

// There is one context.
static void *const CONTEXT = &legacy;

API int cuDevicePrimaryCtxRetain(void **context, int device) {
  Guard guard(lock);
  if (!initialised) return NOT_INITIALIZED;
  if (device != 0) return INVALID_DEVICE;
  holders++;
  *context = CONTEXT;
  return SUCCESS;
}

API int cuDevicePrimaryCtxRelease_v2(int device) {
  Guard guard(lock);
  if (device != 0) return INVALID_DEVICE;
  if (holders == 0) return INVALID_CONTEXT;
  if (--holders > 0) return SUCCESS;
  // All that belongs to the context goes with it.
  if (!lost) run_all();
  queue.clear();
  while (!allocations.empty()) release(allocations.begin()->first, allocations.begin()->second.on_host);
  lost = 0;
  return SUCCESS;
}

API int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  if (device != 0) return INVALID_DEVICE;
  *flags = 0;
  *active = holders > 0;
  return SUCCESS;
}

API int cuCtxSetCurrent(void *context) {
  if (!initialised) return NOT_INITIALIZED;
  if (context && (context != CONTEXT || holders == 0)) return INVALID_CONTEXT;
  current = context != nullptr;
  return SUCCESS;
}

API int cuCtxGetCurrent(void **context) {
  if (!initialised) return NOT_INITIALIZED;
  *context = current ? CONTEXT : nullptr;
  return SUCCESS;
}

API int cuCtxGetDevice(int *device) {
  if (!current) return INVALID_CONTEXT;
  *device = 0;
  return SUCCESS;
}

API int cuCtxSynchronize() {
  Guard guard(lock);
  if (int status = ready()) return status;
  if (Stream *stream = capturing()) return outside_of_capture(stream);
  run_all();
  return waited();
}

// --- Interface: streams and events ----------------------------------------------------------------------------------

API int cuStreamCreate(Stream **stream, unsigned flags) {
  Guard guard(lock);
  if (int status = ready()) return status;
  if (flags > 1) return INVALID_VALUE;
  *stream = new Stream{flags == 0, nullptr};
  streams.insert(*stream);
  return SUCCESS;
}

API int cuStreamCreateWithPriority(Stream **stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }

API int cuStreamDestroy_v2(void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream || stream == &legacy) return INVALID_HANDLE;
  if (!lost) run_until(stream, operations);
  streams.erase(stream);
  delete stream;
  return SUCCESS;
}

API int cuStreamSynchronize(void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (int status = outside_of_capture(stream)) return status;
  run_until(stream, operations);
  return waited();
}

API int cuStreamQuery(void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (int status = outside_of_capture(stream)) return status;
  for (auto &operation : queue)
    if (together(operation.stream, stream)) return NOT_READY;
  return SUCCESS;
}

API int cuStreamWaitEvent(void *handle, Event *event, unsigned) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream || !events.count(event)) return INVALID_HANDLE;
  if (int status = ready()) return status;
  // An event of the same stream is waited for by the order of work; another one would lead out of the capture.
  if (stream->capture) return event->stream == stream ? SUCCESS : outside_of_capture(stream);
  if (event->number == 0) return SUCCESS;
  queue.push_back(Operation{stream, nullptr, event->stream, event->number, ++operations});
  return SUCCESS;
}

API int cuEventCreate(Event **event, unsigned flags) {
  Guard guard(lock);
  if (int status = ready()) return status;
  *event = new Event{(flags & 2) == 0, 0, nullptr, true, 0.0};
  events.insert(*event);
  return SUCCESS;
}

API int cuEventDestroy_v2(Event *event) {
  Guard guard(lock);
  if (!events.erase(event)) return INVALID_HANDLE;
  // Work that is still to come may name it.
  if (!lost && !event->done) run_until(event->stream, event->number);
  delete event;
  return SUCCESS;
}

API int cuEventRecord(Event *event, void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream || !events.count(event)) return INVALID_HANDLE;
  int status = enqueue(stream, [=] {
    if (!events.count(event)) return (int)SUCCESS;
    event->at_ms = now_ms();
    event->done = true;
    return (int)SUCCESS;
  });
  if (status) return status;
  event->stream = stream;
  // In a capture there is nothing to wait for until the graph runs.
  event->number = stream->capture ? 0 : operations;
  event->done = false;
  return SUCCESS;
}

API int cuEventQuery(Event *event) {
  Guard guard(lock);
  if (!events.count(event)) return INVALID_HANDLE;
  if (int status = outside_of_capture()) return status;
  return event->done ? SUCCESS : NOT_READY;
}

API int cuEventSynchronize(Event *event) {
  Guard guard(lock);
  if (!events.count(event)) return INVALID_HANDLE;
  if (int status = outside_of_capture()) return status;
  if (event->number) run_until(event->stream, event->number);
  return waited();
}

API int cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
  Guard guard(lock);
  if (!events.count(start) || !events.count(end) || !start->timed || !end->timed) return INVALID_HANDLE;
  if (!start->stream || !end->stream) return INVALID_HANDLE;
  if (!start->done || !end->done) return lost ? lost : (int)NOT_READY;
  *milliseconds = (float)(end->at_ms - start->at_ms);
  return SUCCESS;
}
API int cuEventElapsedTime_v2(float *milliseconds, Event *start, Event *end) {
  return cuEventElapsedTime(milliseconds, start, end);
}

// --- Interface: memory ----------------------------------------------------------------------------------------------

API int cuMemGetInfo_v2(size_t *unused, size_t *total) {
  Guard guard(lock);
  if (int status = ready()) return status;
  *total = device_memory();
  *unused = *total - counts.live_bytes;
  return SUCCESS;
}

API int cuMemAlloc_v2(uint64_t *start, size_t bytes) {
  Guard guard(lock);
  if (int status = outside_of_capture()) return status;
  return allocate(start, bytes, false);
}

API int cuMemFree_v2(uint64_t start) {
  Guard guard(lock);
  if (int status = outside_of_capture()) return status;
  if (start == 0) return SUCCESS;
  // The driver waits for what may still use the memory.
  run_all();
  if (lost) return lost;
  return release(start, false);
}

API int cuMemAllocAsync(uint64_t *start, size_t bytes, void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (int status = outside_of_capture(stream)) return status;
  return allocate(start, bytes, false);
}

API int cuMemFreeAsync(uint64_t start, void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (int status = outside_of_capture(stream)) return status;
  if (!on_device(start, 0)) return INVALID_VALUE;
  return enqueue(stream, [=] { return release(start, false) ? (int)ILLEGAL_ADDRESS : (int)SUCCESS; });
}

API int cuMemHostAlloc(void **start, size_t bytes, unsigned flags) {
  Guard guard(lock);
  if (int status = outside_of_capture()) return status;
  if (flags > 7) return INVALID_VALUE;
  return allocate((uint64_t *)start, bytes, true);
}
API int cuMemAllocHost_v2(void **start, size_t bytes) { return cuMemHostAlloc(start, bytes, 0); }

API int cuMemFreeHost(void *start) {
  Guard guard(lock);
  if (int status = outside_of_capture()) return status;
  run_all();
  if (lost) return lost;
  return release((uint64_t)start, true);
}

API int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  Guard guard(lock);
  if (!on_device(to, bytes)) return ready() ? ready() : (int)INVALID_VALUE;
  if (pinned(from, bytes)) return copy_now(&counts.copies_in, (void *)to, from, bytes);
  // Other memory is copied aside, and arrives after the call: only the default stream, and what waits for it, sees it.
  if (int status = begin_synchronous()) return status;
  if (int status = copy_aside(&legacy, to, from, bytes)) return status;
  return waited();
}

API int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  Guard guard(lock);
  if (!on_device(from, bytes)) return ready() ? ready() : (int)INVALID_VALUE;
  return copy_now(&counts.copies_out, to, (const void *)from, bytes);
}

API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (!on_device(to, bytes)) return ready() ? ready() : (int)INVALID_VALUE;
  // A graph reads the host's memory whenever it runs, and pinned memory is read when its turn comes.
  if (stream->capture || pinned(from, bytes))
    return copy_later(stream, &counts.copies_in, (void *)to, from, bytes);
  return copy_aside(stream, to, from, bytes);
}

API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *handle) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (!on_device(from, bytes)) return ready() ? ready() : (int)INVALID_VALUE;
  if (int status = copy_later(stream, &counts.copies_out, to, (const void *)from, bytes)) return status;
  if (stream->capture || pinned(to, bytes)) return SUCCESS;
  // A copy to memory that is not pinned returns when it is done.
  run_until(stream, operations);
  return waited();
}

API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *handle) {
  Guard guard(lock);
  if (!on_device(from, bytes) || !on_device(to, bytes)) return ready() ? ready() : (int)INVALID_VALUE;
  return copy_later(stream_of(handle), &counts.copies_within, (void *)to, (const void *)from, bytes);
}
API int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
  return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr);
}

API int cuMemsetD8Async(uint64_t start, unsigned char value, size_t times, void *handle) {
  Guard guard(lock);
  return fill(stream_of(handle), start, &value, 1, times);
}
API int cuMemsetD32Async(uint64_t start, unsigned value, size_t times, void *handle) {
  Guard guard(lock);
  return fill(stream_of(handle), start, &value, 4, times);
}
API int cuMemsetD8_v2(uint64_t start, unsigned char value, size_t times) {
  return cuMemsetD8Async(start, value, times, nullptr);
}
API int cuMemsetD32_v2(uint64_t start, unsigned value, size_t times) {
  return cuMemsetD32Async(start, value, times, nullptr);
}

// --- Interface: kernels ---------------------------------------------------------------------------------------------

API int cuModuleLoadData(Module **module, const char *image) {
  Guard guard(lock);
  return load_module(module, image);
}
API int cuModuleLoadDataEx(Module **module, const char *image, unsigned, int *, void **) {
  return cuModuleLoadData(module, image);
}

API int cuModuleUnload(Module *module) {
  Guard guard(lock);
  if (!modules.erase(module)) return INVALID_HANDLE;
  if (!lost) run_all();
  // The library stays: graphs may have its kernels.
  delete module;
  return SUCCESS;
}

API int cuModuleGetFunction(Function **function, Module *module, const char *name) {
  Guard guard(lock);
  return find_function(function, module, name);
}

API int cuFuncGetAttribute(int *value, int attribute, Function *function) {
  if (int status = ready()) return status;
  switch (attribute) {
    case 0: *value = 1024; return SUCCESS;                                       // MAX_THREADS_PER_BLOCK
    case 1: *value = (int)function->shared_bytes; return SUCCESS;                // SHARED_SIZE_BYTES
    case 2: case 3: case 7: *value = 0; return SUCCESS;                          // constants, local memory, caching
    case 4: *value = 32; return SUCCESS;                                         // NUM_REGS
    case 5: case 6: *value = capability(); return SUCCESS;                         // PTX_VERSION, BINARY_VERSION
    case 8: *value = (int)function->most_dynamic_shared_bytes; return SUCCESS;   // MAX_DYNAMIC_SHARED_SIZE_BYTES
    default: return INVALID_VALUE;
  }
}

API int cuFuncSetAttribute(Function *function, int attribute, int value) {
  Guard guard(lock);
  if (int status = ready()) return status;
  if (attribute == 9) return value >= -1 && value <= 100 ? SUCCESS : INVALID_VALUE;  // a preference, no promise
  if (attribute != 8 || value < 0 || (size_t)value + function->shared_bytes > MOST_SHARED_BYTES) return INVALID_VALUE;
  function->most_dynamic_shared_bytes = (size_t)value;
  return SUCCESS;
}

API int cuFuncSetCacheConfig(Function *, int) { return ready(); }

API int cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned shared_bytes, void *handle, void **values,
                       void **extra) {
  Guard guard(lock);
  if (extra) return NOT_SUPPORTED;
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  const unsigned dimensions[6] = {grid_x, grid_y, grid_z, block_x, block_y, block_z};
  return launch(function, dimensions, shared_bytes, stream, values);
}

// --- Interface: graphs ----------------------------------------------------------------------------------------------

API int cuStreamBeginCapture_v2(void *handle, int mode) {
  Guard guard(lock);
  if (int status = ready()) return status;
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (mode < 0 || mode > 2) return INVALID_VALUE;
  if (stream == &legacy) return STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture) return ILLEGAL_STATE;
  stream->capture.reset(new Capture{std::make_shared<Graph>(), mode, gettid(), false});
  return SUCCESS;
}

API int cuStreamEndCapture(void *handle, Graph **graph) {
  Guard guard(lock);
  if (int status = ready()) return status;
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  if (!stream->capture) return ILLEGAL_STATE;
  if (stream->capture->mode != 2 && stream->capture->thread != gettid()) return STREAM_CAPTURE_WRONG_THREAD;
  std::unique_ptr<Capture> capture = std::move(stream->capture);
  *graph = nullptr;
  if (capture->broken) return STREAM_CAPTURE_INVALIDATED;
  counts.captures++;
  *graph = new Graph(*capture->graph);
  graphs.insert(*graph);
  return SUCCESS;
}

API int cuStreamIsCapturing(void *handle, int *status) {
  Guard guard(lock);
  Stream *stream = stream_of(handle);
  if (!stream) return INVALID_HANDLE;
  *status = !stream->capture ? 0 : stream->capture->broken ? 2 : 1;
  return SUCCESS;
}

API int cuGraphGetNodes(Graph *graph, void **nodes, size_t *count) {
  Guard guard(lock);
  if (!graphs.count(graph)) return INVALID_VALUE;
  // Nodes cannot be looked at, only counted.
  if (nodes) return NOT_SUPPORTED;
  *count = graph->work.size();
  return SUCCESS;
}

API int cuGraphInstantiateWithFlags(Graph **instance, Graph *graph, unsigned long long) {
  Guard guard(lock);
  if (int status = ready()) return status;
  if (!graphs.count(graph)) return INVALID_VALUE;
  *instance = new Graph(*graph);
  instances.insert(*instance);
  return SUCCESS;
}

API int cuGraphUpload(Graph *instance, void *handle) {
  Guard guard(lock);
  if (!instances.count(instance)) return INVALID_VALUE;
  return stream_of(handle) ? ready() : (int)INVALID_HANDLE;
}

API int cuGraphLaunch(Graph *instance, void *handle) {
  Guard guard(lock);
  if (!instances.count(instance)) return INVALID_VALUE;
  Stream *stream = stream_of(handle);
  if (stream && !stream->capture) counts.graph_launches++;
  Graph kept = *instance;
  return enqueue(stream, [kept] {
    for (auto &work : kept.work)
      if (int status = work()) return status;
    return (int)SUCCESS;
  });
}

static int destroy(std::set<Graph *> &all, Graph *graph) {
  Guard guard(lock);
  if (!all.erase(graph)) return INVALID_VALUE;
  delete graph;
  return SUCCESS;
}
API int cuGraphDestroy(Graph *graph) { return destroy(graphs, graph); }
API int cuGraphExecDestroy(Graph *instance) { return destroy(instances, instance); }

// --- Interface: words -----------------------------------------------------------------------------------------------

static const struct { int status; const char *name, *text; } WORDS[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

API int cuGetErrorName(int status, const char **name) {
  for (auto &words : WORDS)
    if (words.status == status) {
      *name = words.name;
      return SUCCESS;
    }
  *name = nullptr;
  return INVALID_VALUE;
}

API int cuGetErrorString(int status, const char **text) {
  for (auto &words : WORDS)
    if (words.status == status) {
      *text = words.text;
      return SUCCESS;
    }
  *text = nullptr;
  return INVALID_VALUE;
}
