// Numbers of 16 bits as CUDA's header of this name has them, as far as luminal_cuda's kernels need it.

#pragma once
// Where kernels are only looked for, this is not part of their text.
#ifndef FAKE_CUDA_SCAN
#include "cuda_on_host.h"

struct __half {
  _Float16 value;
  __half() = default;
  __half(float from) : value((_Float16)from) {}
  __half(double from) : value((_Float16)from) {}
  __half(int from) : value((_Float16)from) {}
  operator float() const { return (float)value; }
};
typedef __half half;

static inline __half operator+(__half a, __half b) { return __half((float)a + (float)b); }
static inline __half operator-(__half a, __half b) { return __half((float)a - (float)b); }
static inline __half operator*(__half a, __half b) { return __half((float)a * (float)b); }
static inline __half operator/(__half a, __half b) { return __half((float)a / (float)b); }
static inline bool operator<(__half a, __half b) { return (float)a < (float)b; }
static inline bool operator==(__half a, __half b) { return (float)a == (float)b; }
static inline __half __float2half(float x) { return __half(x); }
static inline float __half2float(__half x) { return x; }
static inline __half hsqrt(__half x) { return __half(sqrtf(x)); }
static inline __half hrcp(__half x) { return __half(1.0f / (float)x); }
#endif
