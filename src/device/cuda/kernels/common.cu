// What all kernels share. Every launch has blocks in one dimension and threads in two; where the first of
// these is 32, the threads of equal `threadIdx.y` are one warp.
//
// A KERNEL is a template over the elements of what it reads and writes; what a device runs are entries that are
// written for the elements at hand, with their names behind the kernel's. Arithmetic is in f32.

typedef unsigned long long u64;

#define KERNEL static __device__ __forceinline__ void

// A number of 16 bits: the upper half of an f32, rounded to the nearest, ties to even.
struct Bf16 {
  unsigned short bits;

  union Word {
    float number;
    unsigned bits;
  };

  __device__ __forceinline__ operator float() const {
    Word word;
    word.bits = (unsigned)bits << 16;
    return word.number;
  }

  __device__ __forceinline__ Bf16 &operator=(float x) {
    Word word;
    word.number = x;
    bits = x == x ? (unsigned short)((word.bits + 0x7fffu + (word.bits >> 16 & 1u)) >> 16) : 0x7fff;
    return *this;
  }
};

// Neighbouring elements, which are moved at once; they begin at a multiple of COUNT from the start of memory.
template <class T, int COUNT> struct alignas(sizeof(T) * COUNT) Pack {
  T at[COUNT];
};

template <int COUNT, class T> static __device__ __forceinline__ Pack<T, COUNT> load(const T *from) {
  return *(const Pack<T, COUNT> *)from;
}

template <class T, int COUNT> static __device__ __forceinline__ void save(T *to, const Pack<T, COUNT> &pack) {
  *(Pack<T, COUNT> *)to = pack;
}

// Elements that a thread moves at once where the length of rows is a multiple of it.
#define EACH_THREAD 4

// Threads of a warp.
#define WARP 32
// Warps of a block that works on rows.
#define WARPS 8
#define ALL_LANES 0xffffffffu
// Below every number that is compared.
#define LOWEST -3.402823466e38f

// Number of this thread where blocks have one dimension of threads.
static __device__ __forceinline__ u64 element() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

static __device__ __forceinline__ float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }

static __device__ __forceinline__ float warp_sum(float x) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, distance);
  return x;
}

static __device__ __forceinline__ float warp_max(float x) {
  for (int distance = WARP / 2; distance > 0; distance /= 2)
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, distance));
  return x;
}

// Sum over all threads of a block of WARPS warps, whether they lie in one row or one below the other; `parts` is shared
// memory for one number of each warp.
static __device__ __forceinline__ float block_sum(float x, float *parts) {
  x = warp_sum(x);
  int thread = threadIdx.y * blockDim.x + threadIdx.x;
  if (thread % WARP == 0) parts[thread / WARP] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int warp = 0; warp < WARPS; warp++) sum += parts[warp];
  // The next sum may use the same memory.
  __syncthreads();
  return sum;
}
