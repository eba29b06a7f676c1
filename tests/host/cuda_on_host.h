// cuda_on_host.h: the CUDA builtins that the kernels use, for g++ -std=c++17.
//
// Included once per translation unit, before the kernels, which follow in a namespace each. cuda_on_host.cpp runs them:
// one block at a time, each thread a fiber, so static __shared__ memory is a static variable.
//
// Dynamic shared memory enters a kernel through CS_SHARED_BYTES(name), which declares `name` as unsigned char*, aligned
// to 16. A kernel's text supplies the device's meaning where the macro is missing:
//     #ifndef CS_SHARED_BYTES
//     #define CS_SHARED_BYTES(name) extern __shared__ __align__(16) unsigned char name[]
//     #endif
//
// Copies to shared memory that a thread may compute beside enter it through CS_COPY_AHEAD, CS_COMMIT_COPIES and
// CS_WAIT_FOR_COPIES. Until a thread waits for it, its place holds NaN: what was there is lost at once, what comes is late.
// The access log has it as a write in every interval between barriers that it may fall into.
#pragma once
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <limits>
#include <type_traits>

#include "cuda_bf16.h"
#include "cuda_fp16.h"

#define CUDA_ON_HOST_EXPORT __attribute__((visibility("default")))

// ---- Specifiers -----------------------------------------------------------------------------------------------------
#define __global__ __attribute__((noinline))  // inlined into its caller it would lose the access log's instrumentation
#define __device__
#define __host__
#define __constant__ const
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define CS_COPY_AHEAD(shared, global) ::cuda_on_host::copy_ahead(shared, global)
#define CS_COMMIT_COPIES() ::cuda_on_host::commit_copies()
#define CS_WAIT_FOR_COPIES(still) ::cuda_on_host::wait_for_copies(still)
#define CS_SHARED_BYTES(name) unsigned char* const name = ::cuda_on_host::dynamic_shared()

// ---- Vector types, with the alignment that makes them one access ----------------------------------------------------
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef long long longlong;
typedef unsigned long long ulonglong;
#define CUDA_ON_HOST_VECTORS(name, type)                                               \
    struct alignas(2 * sizeof(type)) name##2 {                                         \
        type x, y;                                                                     \
    };                                                                                 \
    struct alignas(sizeof(type) == 8 ? 16 : 4 * sizeof(type)) name##4 {                \
        type x, y, z, w;                                                               \
    };                                                                                 \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                   \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CUDA_ON_HOST_VECTORS(char, signed char)
CUDA_ON_HOST_VECTORS(uchar, unsigned char)
CUDA_ON_HOST_VECTORS(short, short)
CUDA_ON_HOST_VECTORS(ushort, unsigned short)
CUDA_ON_HOST_VECTORS(int, int)
CUDA_ON_HOST_VECTORS(uint, unsigned int)
CUDA_ON_HOST_VECTORS(longlong, long long)
CUDA_ON_HOST_VECTORS(ulonglong, unsigned long long)
CUDA_ON_HOST_VECTORS(float, float)
CUDA_ON_HOST_VECTORS(double, double)
#undef CUDA_ON_HOST_VECTORS

struct uint3 {
    unsigned int x, y, z;
};
struct dim3 {
    unsigned int x, y, z;
};

// ---- Threads --------------------------------------------------------------------------------------------------------
namespace cuda_on_host {

struct Builtins {
    uint3 thread, block;
    dim3 threads, blocks;
};
extern Builtins builtins;  // of the running thread

unsigned char* dynamic_shared();

// A thread's copies, in groups: all but those of the last `still` groups are made when it waits.
typedef void Copy(void* to, const void* from);
void copy_later(Copy* copy, void* to, const void* from, size_t size);
void commit_copies();
void wait_for_copies(unsigned still);

template <class T>
void copy_ahead(T* to, const T* from) {
    memset(static_cast<void*>(to), 0xff, sizeof(T));
    Copy* const copy = [](void* t, const void* f) { *static_cast<T*>(t) = *static_cast<const T*>(f); };
    copy_later(copy, to, from, sizeof(T));
}

// Wait until every thread of the block waits here. A place is a line of source, for the compiler may copy a call.
void block_barrier(const char* file, int line);

// Wait until every thread of the warp that `mask` names waits here; return the value that lane `from` brought.
uint64_t exchange(unsigned mask, uint64_t value, unsigned from, const char* file, int line);

inline unsigned lane() {
    const Builtins& b = builtins;
    return (b.thread.x + b.threads.x * (b.thread.y + b.threads.y * b.thread.z)) % 32;
}

template <class T>
T shuffle(unsigned mask, T value, unsigned from, const char* file, int line) {
    static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 8, "a shuffle moves 1 to 8 bytes");
    uint64_t word = 0;
    memcpy(&word, &value, sizeof(T));
    word = exchange(mask, word, from, file, line);
    memcpy(static_cast<void*>(&value), &word, sizeof(T));
    return value;
}

template <class Source, class Out, class Parameters>
__attribute__((no_sanitize("thread"))) void call(void (*kernel)(Source, Out, Parameters), const void* source, void* out,
                                                 const void* parameters) {
    static_assert(std::is_trivially_copyable<Parameters>::value, "parameters are copied as bytes");
    kernel(static_cast<Source>(source), static_cast<Out>(out), *static_cast<const Parameters*>(parameters));
}

template <class Source, class Out, class Parameters>
constexpr size_t size_of_parameters(void (*)(Source, Out, Parameters)) {
    return sizeof(Parameters);
}

}  // namespace cuda_on_host

#define threadIdx cuda_on_host::builtins.thread
#define blockIdx cuda_on_host::builtins.block
#define blockDim cuda_on_host::builtins.threads
#define gridDim cuda_on_host::builtins.blocks

#define CUDA_ON_HOST_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CUDA_ON_HOST_PLACE) { cuda_on_host::block_barrier(file, line); }

inline void __syncwarp(unsigned mask = 0xffffffff, CUDA_ON_HOST_PLACE) {
    cuda_on_host::exchange(mask, 0, cuda_on_host::lane(), file, line);
}

// A lane outside the segment of `width` lanes gives a thread its own value back; __shfl_sync wraps around.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, CUDA_ON_HOST_PLACE) {
    const int lane = int(cuda_on_host::lane()), first = lane & -width;
    return cuda_on_host::shuffle(mask, value, unsigned(first + (from & (width - 1))), file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_ON_HOST_PLACE) {
    const int lane = int(cuda_on_host::lane()), first = lane & -width, from = lane - int(delta);
    return cuda_on_host::shuffle(mask, value, unsigned(from >= first ? from : lane), file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_ON_HOST_PLACE) {
    const int lane = int(cuda_on_host::lane()), past = (lane & -width) + width, from = lane + int(delta);
    return cuda_on_host::shuffle(mask, value, unsigned(from < past ? from : lane), file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUDA_ON_HOST_PLACE) {
    const int lane = int(cuda_on_host::lane()), past = (lane & -width) + width, from = lane ^ bits;
    return cuda_on_host::shuffle(mask, value, unsigned(from < past ? from : lane), file, line);
}
#undef CUDA_ON_HOST_PLACE

// ---- Memory ---------------------------------------------------------------------------------------------------------
template <class T>
__forceinline__ T __ldg(const T* address) {
    return *address;
}

// ---- Arithmetic: one rounding each; the build forbids contraction ---------------------------------------------------
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
template <typename T>
inline void __stcs(T* to, T value) {
    *to = value;
}

// Four of the eight bytes of two words; a nibble of `selector` each.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const std::uint64_t bytes = std::uint64_t(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= unsigned(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
    return result;
}

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// sin(pi x). fmod is exact, so the argument of sin is small. A macro: later C libraries declare a sinpi of their own.
namespace cuda_on_host {
inline double sinpi(double x) {
    const double r = fmod(x, 2.0);
    return fmod(r, 1.0) == 0.0 ? copysign(0.0, x) : sin(3.14159265358979323846 * r);
}
inline float sinpif(float x) { return float(sinpi(double(x))); }
}  // namespace cuda_on_host
#define sinpi cuda_on_host::sinpi
#define sinpif cuda_on_host::sinpif

// min and max, overloaded as CUDA overloads them: mixed signs compare as unsigned, and a NaN loses.
#define CUDA_ON_HOST_EXTREMES(a, b, result)                                                       \
    inline result min(a x, b y) { return result(x) < result(y) ? result(x) : result(y); } \
    inline result max(a x, b y) { return result(x) < result(y) ? result(y) : result(x); }
#define CUDA_ON_HOST_INTEGERS(type, utype)     \
    CUDA_ON_HOST_EXTREMES(type, type, type)    \
    CUDA_ON_HOST_EXTREMES(utype, utype, utype) \
    CUDA_ON_HOST_EXTREMES(type, utype, utype)  \
    CUDA_ON_HOST_EXTREMES(utype, type, utype)
CUDA_ON_HOST_INTEGERS(int, uint)
CUDA_ON_HOST_INTEGERS(long, ulong)
CUDA_ON_HOST_INTEGERS(longlong, ulonglong)
#undef CUDA_ON_HOST_INTEGERS
#undef CUDA_ON_HOST_EXTREMES
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }
inline double min(float x, double y) { return fmin(double(x), y); }
inline double max(float x, double y) { return fmax(double(x), y); }
inline double min(double x, float y) { return fmin(x, double(y)); }
inline double max(double x, float y) { return fmax(x, double(y)); }

// ---- Conversions: out of range saturates; NaN gives 0 in 32 bits and 2^63 in 64, as on the GPU ----------------------
namespace cuda_on_host {
template <class T>
T to_integer(double x) {
    typedef std::numeric_limits<T> Limits;
    if (isnan(x)) return sizeof(T) == 4 ? T(0) : T(1ull << 63);
    if (x < double(Limits::min())) return Limits::min();
    if (x >= ldexp(1.0, Limits::digits)) return Limits::max();
    return T(x);
}
}  // namespace cuda_on_host

#define CUDA_ON_HOST_TO_INTEGER(from, prefix, to, suffix)                                                          \
    inline to __##prefix##2##suffix##_rn(from x) { return cuda_on_host::to_integer<to>(rint(double(x))); }         \
    inline to __##prefix##2##suffix##_rz(from x) { return cuda_on_host::to_integer<to>(trunc(double(x))); }        \
    inline to __##prefix##2##suffix##_rd(from x) { return cuda_on_host::to_integer<to>(floor(double(x))); }        \
    inline to __##prefix##2##suffix##_ru(from x) { return cuda_on_host::to_integer<to>(ceil(double(x))); }         \
    inline from __##suffix##2##prefix##_rn(to x) { return from(x); }
CUDA_ON_HOST_TO_INTEGER(float, float, int, int)
CUDA_ON_HOST_TO_INTEGER(float, float, unsigned int, uint)
CUDA_ON_HOST_TO_INTEGER(float, float, long long, ll)
CUDA_ON_HOST_TO_INTEGER(float, float, unsigned long long, ull)
CUDA_ON_HOST_TO_INTEGER(double, double, int, int)
CUDA_ON_HOST_TO_INTEGER(double, double, unsigned int, uint)
CUDA_ON_HOST_TO_INTEGER(double, double, long long, ll)
CUDA_ON_HOST_TO_INTEGER(double, double, unsigned long long, ull)
#undef CUDA_ON_HOST_TO_INTEGER
inline float __double2float_rn(double x) { return float(x); }

#define CUDA_ON_HOST_SAME_BITS(name, from, to)  \
    inline to name(from x) {                    \
        to y;                                   \
        static_assert(sizeof x == sizeof y, ""); \
        memcpy(&y, &x, sizeof y);          \
        return y;                               \
    }
CUDA_ON_HOST_SAME_BITS(__float_as_int, float, int)
CUDA_ON_HOST_SAME_BITS(__float_as_uint, float, unsigned int)
CUDA_ON_HOST_SAME_BITS(__int_as_float, int, float)
CUDA_ON_HOST_SAME_BITS(__uint_as_float, unsigned int, float)
CUDA_ON_HOST_SAME_BITS(__double_as_longlong, double, long long)
CUDA_ON_HOST_SAME_BITS(__longlong_as_double, long long, double)
#undef CUDA_ON_HOST_SAME_BITS

// Within 2 units in the last place on a device: here one off, up or down, so that nothing depends on the last bit.
inline float __fdividef(float a, float b) {
    const float quotient = a / b;
    return nextafterf(quotient, __float_as_uint(quotient) & 1 ? 0.0f : INFINITY);
}

// The upper half of a product.
inline unsigned int __umulhi(unsigned int a, unsigned int b) { return (unsigned int)((uint64_t)a * b >> 32); }
inline int __mulhi(int a, int b) { return int((int64_t)a * b >> 32); }
__extension__ typedef unsigned __int128 cuda_on_host_uint128;
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((cuda_on_host_uint128)a * b >> 64);
}

// How the runtime calls an instance. Not instrumented: the copy of the parameters is the launch's, not the kernel's.
#define CUDA_ON_HOST_INSTANCE(entry, name, parameter_bytes)                                           \
    extern "C" CUDA_ON_HOST_EXPORT __attribute__((no_sanitize("thread"))) void name(                  \
        const void* source, void* out, const void* parameters) {                                      \
        cuda_on_host::call(entry, source, out, parameters);                                           \
    }                                                                                                 \
    extern "C" CUDA_ON_HOST_EXPORT const size_t parameter_bytes;                                      \
    const size_t parameter_bytes = cuda_on_host::size_of_parameters(entry);
