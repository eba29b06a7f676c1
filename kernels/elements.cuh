// elements.cuh: what is stored, what is accumulated, and the rounding between the two.
//
// CS_TYPE is one of the numbers below; each gives Element (in memory) and Sum (the accumulate type), widen() and
// narrow(). Integers are rounded half to even and saturate. Bits are copied: they serve every dtype of their size.
#pragma once

#define CS_FLOAT16 1
#define CS_BFLOAT16 2
#define CS_FLOAT32 3
#define CS_FLOAT64 4
#define CS_UINT8 5
#define CS_INT8 6
#define CS_INT16 7
#define CS_UINT16 8
#define CS_INT32 9
#define CS_UINT32 10
#define CS_INT64 11
#define CS_UINT64 12
#define CS_BITS8 13
#define CS_BITS16 14
#define CS_BITS32 15
#define CS_BITS64 16
#define CS_BITS128 17

#if CS_TYPE >= CS_BITS8
#if CS_TYPE == CS_BITS8
typedef unsigned char Element;
#elif CS_TYPE == CS_BITS16
typedef unsigned short Element;
#elif CS_TYPE == CS_BITS32
typedef unsigned int Element;
#elif CS_TYPE == CS_BITS64
typedef unsigned long long Element;
#else
struct alignas(16) Element {
    unsigned long long bits[2];
};
#endif
typedef Element Sum;
__device__ inline Sum widen(Element x) { return x; }
__device__ inline Element narrow(Sum x) { return x; }

#elif CS_TYPE == CS_FLOAT16
#include <cuda_fp16.h>
typedef __half Element;
typedef float Sum;
__device__ inline Sum widen(Element x) { return __half2float(x); }
__device__ inline Element narrow(Sum x) { return __float2half_rn(x); }

#elif CS_TYPE == CS_BFLOAT16
#include <cuda_bf16.h>
typedef __nv_bfloat16 Element;
typedef float Sum;
__device__ inline Sum widen(Element x) { return __bfloat162float(x); }
__device__ inline Element narrow(Sum x) { return __float2bfloat16_rn(x); }

#elif CS_TYPE == CS_FLOAT32 || CS_TYPE == CS_FLOAT64
#if CS_TYPE == CS_FLOAT32
typedef float Element;
#else
typedef double Element;
#endif
typedef Element Sum;
__device__ inline Sum widen(Element x) { return x; }
__device__ inline Element narrow(Sum x) { return x; }

#elif CS_TYPE == CS_UINT8
// Fixed-point sums fit an int: weights have total variation below 2 and at most 22 fractional bits (_taps.py).
// Means of tabulated rows have fewer than 2^24 pixels (_launch.py), others sum in 64 bits.
typedef unsigned char Element;
#define CS_MEAN (CS_ARITHMETIC == 4)
#if CS_MEAN && CS_COMPUTED
typedef unsigned long long Sum;
#elif CS_MEAN
typedef unsigned Sum;
#else
typedef int Sum;
#endif
__device__ inline Sum widen(Element x) { return Sum(x); }
__device__ inline Element narrow(Sum x) { return Element(x); }

#else
// Limits as Sum: [LOWEST, PAST) is what the type holds; PAST is a power of two, so exact.
#if CS_TYPE == CS_INT8
typedef signed char Element;
typedef float Sum;
#define CS_LIMITS(f) f(-128.0f, 128.0f, 127)
#elif CS_TYPE == CS_INT16
typedef short Element;
typedef float Sum;
#define CS_LIMITS(f) f(-32768.0f, 32768.0f, 32767)
#elif CS_TYPE == CS_UINT16
typedef unsigned short Element;
typedef float Sum;
#define CS_LIMITS(f) f(0.0f, 65536.0f, 65535)
#elif CS_TYPE == CS_INT32
typedef int Element;
typedef double Sum;
#define CS_LIMITS(f) f(-2147483648.0, 2147483648.0, 2147483647)
#elif CS_TYPE == CS_UINT32
typedef unsigned int Element;
typedef double Sum;
#define CS_LIMITS(f) f(0.0, 4294967296.0, 4294967295u)
#elif CS_TYPE == CS_INT64
typedef long long Element;
typedef double Sum;
#define CS_LIMITS(f) f(-9223372036854775808.0, 9223372036854775808.0, 9223372036854775807ll)
#elif CS_TYPE == CS_UINT64
typedef unsigned long long Element;
typedef double Sum;
#define CS_LIMITS(f) f(0.0, 18446744073709551616.0, 18446744073709551615ull)
#endif
__device__ inline Sum nearest_even(float x) { return rintf(x); }
__device__ inline Sum nearest_even(double x) { return rint(x); }
__device__ inline Sum widen(Element x) { return Sum(x); }
__device__ inline Element narrow(Sum x) {
    const Sum r = nearest_even(x);
#define CS_SATURATE(lowest, past, largest) \
    return r >= past ? Element(largest) : r <= lowest ? Element(lowest) : Element(r)
    CS_LIMITS(CS_SATURATE);
#undef CS_SATURATE
}
#endif

// Addresses are a pointer and an offset in bytes: two instructions each, where an index into a pointer takes four.
__device__ inline const Element* moved(const Element* p, long long bytes) { return (const Element*)((const char*)p + bytes); }
__device__ inline Element* moved(Element* p, long long bytes) { return (Element*)((char*)p + bytes); }
__device__ inline long long bytes(long long elements) { return elements * (long long)sizeof(Element); }
