// ptx_on_host.h: the instructions of PTX that ptx.py writes as C++, for the host build.
//
// A register is so many bits, whatever an instruction takes them for: get<T> reads a T from one, PTX_SET writes one. One
// rounding each, as the build forbids contraction. A NaN that is computed is the one that a device returns.
#pragma once
#include "cuda_on_host.h"

namespace ptx {

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef float f32;
typedef double f64;
typedef __half f16;
typedef __nv_bfloat16 bf16;
typedef bool pred;
__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;

// ---- Registers and memory -------------------------------------------------------------------------------------------
template <class T, class Register>
T get(Register bits) {
    if constexpr (std::is_integral<T>::value) {
        return T(bits);
    } else {
        static_assert(sizeof(T) == sizeof(Register), "a float fills its register");
        T value;
        memcpy(static_cast<void*>(&value), &bits, sizeof value);
        return value;
    }
}

template <class Register, class T>
Register put(T value) {
    if constexpr (std::is_integral<T>::value) {
        return Register(value);  // a signed one is extended by its sign
    } else {
        static_assert(sizeof(T) == sizeof(Register), "a float fills its register");
        Register bits;
        memcpy(&bits, static_cast<const void*>(&value), sizeof bits);
        if (sizeof(T) == 4 && (u32(bits) & 0x7fffffff) > 0x7f800000) bits = Register(0x7fffffff);
        return bits;
    }
}
#define PTX_SET(to, ...) to = ptx::put<decltype(to)>(__VA_ARGS__)

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
    T element[N];
};
template <class T, int N>
__forceinline__ const Vector<T, N>& load(u64 address) {
    return *reinterpret_cast<const Vector<T, N>*>(address);
}
template <class T, int N>
__forceinline__ void store(u64 address, Vector<T, N> value) {
    *reinterpret_cast<Vector<T, N>*>(address) = value;
}
template <int Bytes>
void copy_ahead(u64 to, u64 from) {
    typedef Vector<u32, Bytes / 4> Copied;
    cuda_on_host::copy_ahead(reinterpret_cast<Copied*>(to), reinterpret_cast<const Copied*>(from));
}

// ---- Integers: what overflows wraps around --------------------------------------------------------------------------
template <class T, bool = std::is_integral<T>::value>
struct Wraps {
    typedef T Unsigned;
};
template <class T>
struct Wraps<T, true> {
    typedef typename std::make_unsigned<T>::type Unsigned;
};
template <class T>
struct Twice;
#define PTX_TWICE(narrow, wide) \
    template <>                 \
    struct Twice<narrow> {      \
        typedef wide type;      \
    };
PTX_TWICE(u16, u32)
PTX_TWICE(s16, s32)
PTX_TWICE(u32, u64)
PTX_TWICE(s32, s64)
PTX_TWICE(u64, u128)
PTX_TWICE(s64, s128)
#undef PTX_TWICE

template <class T>
T add(T a, T b) {
    typedef typename Wraps<T>::Unsigned U;
    return T(U(a) + U(b));
}
template <class T>
T sub(T a, T b) {
    typedef typename Wraps<T>::Unsigned U;
    return T(U(a) - U(b));
}
template <class T>
T neg(T a) {
    typedef typename Wraps<T>::Unsigned U;
    return T(std::is_integral<T>::value ? U(0) - U(a) : -U(a));
}
template <class T>
T mul(T a, T b) {
    return a * b;
}
template <class T>
typename Twice<T>::type mul_wide(T a, T b) {
    typedef typename Twice<T>::type W;
    return W(W(a) * W(b));
}
template <class T>
T mul_lo(T a, T b) {
    return T(mul_wide<typename Wraps<T>::Unsigned>(a, b));
}
template <class T>
T mul_hi(T a, T b) {
    return T(mul_wide(a, b) >> 8 * sizeof(T));
}
template <class T>
T mad_lo(T a, T b, T c) {
    return add(mul_lo(a, b), c);
}
template <class T>
T mad_hi(T a, T b, T c) {
    return add(mul_hi(a, b), c);
}
template <class T>
T shl(T a, u32 by) {
    return by < 8 * sizeof(T) ? T(a << by) : T(0);
}
template <class T>
T shr(T a, u32 by) {
    return by < 8 * sizeof(T) ? T(a >> by) : T(a < 0 ? -1 : 0);
}
template <class T>
T bit_and(T a, T b) {
    return T(a & b);
}
template <class T>
T bit_or(T a, T b) {
    return T(a | b);
}
template <class T>
T bit_xor(T a, T b) {
    return T(a ^ b);
}
template <class T>
T bit_not(T a) {
    return std::is_same<T, pred>::value ? T(!a) : T(~u64(a));
}
template <class T>
T rem(T a, T b) {
    return a % b;
}
template <class T>
u32 popc(T a) {
    return u32(__builtin_popcountll(u64(a)));
}
// The low bits of `a`, so many, in `b`, at a place.
inline u32 bfi(u32 a, u32 b, u32 place, u32 bits) {
    const u64 mask = ((u64(1) << (bits & 255)) - 1) << (place & 255);
    return u32((u64(b) & ~mask) | ((u64(a) << (place & 255)) & mask));
}
// Four of the bytes of two words, or their signs.
inline u32 prmt(u32 a, u32 b, u32 selector) {
    const u64 bytes = u64(b) << 32 | a;
    u32 result = 0;
    for (int i = 0; i < 4; ++i) {
        const u32 nibble = selector >> 4 * i;
        const u8 byte = u8(bytes >> 8 * (nibble & 7));
        result |= u32(nibble & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << 8 * i;
    }
    return result;
}
// Two signed halves of `a` by two bytes of `b`, the low or the high ones.
inline s32 dp2a(s32 a, u32 b, s32 c) { return add(c, add(s32(s16(a)) * s32(b & 255), (a >> 16) * s32(b >> 8 & 255))); }
inline s32 dp2a_lo(s32 a, u32 b, s32 c) { return dp2a(a, b, c); }
inline s32 dp2a_hi(s32 a, u32 b, s32 c) { return dp2a(a, b >> 16, c); }
inline u32 saturated(s32 a) { return u32(a < 0 ? 0 : a > 255 ? 255 : a); }
inline u32 cvt_pack(s32 a, s32 b, u32 above) { return above << 16 | saturated(a) << 8 | saturated(b); }

// ---- Floats ---------------------------------------------------------------------------------------------------------
inline f32 ftz(f32 a) { return fabsf(a) < 0x1p-126f ? copysignf(0.0f, a) : a; }
inline f32 fma(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
inline f64 fma(f64 a, f64 b, f64 c) { return ::fma(a, b, c); }
template <class T>
T div(T a, T b) {
    return a / b;
}
inline f32 div_approx(f32 a, f32 b) { return __fdividef(a, b); }
template <class T>
T rcp(T a) {
    return T(1) / a;
}
template <class T>
T abs(T a) {
    return a < T(0) ? neg(a) : a == T(0) ? T(0) : a;
}
using ::max;
using ::min;
template <class T>
T sat(T a) {
    return a > T(0) ? a < T(1) ? a : T(1) : T(0);
}
template <class T>
T rni(T a) {
    return T(rint(a));
}
template <class T>
T rzi(T a) {
    return T(trunc(a));
}
template <class T>
T rmi(T a) {
    return T(floor(a));
}
template <class T>
T rpi(T a) {
    return T(ceil(a));
}

// ---- Comparisons: where one is no number false, and true by a name that ends in u ------------------------------------
#define PTX_COMPARISON(name, operation)            \
    template <class T>                             \
    bool name(T a, T b) {                          \
        return a operation b;                      \
    }                                              \
    template <class T>                             \
    bool name##u(T a, T b) {                       \
        return a != a || b != b || a operation b;  \
    }
PTX_COMPARISON(eq, ==)
PTX_COMPARISON(lt, <)
PTX_COMPARISON(le, <=)
PTX_COMPARISON(gt, >)
PTX_COMPARISON(ge, >=)
#undef PTX_COMPARISON
template <class T>
bool ne(T a, T b) {
    return a < b || a > b;
}
template <class T>
bool neu(T a, T b) {
    return a != b;
}
template <class T>
bool nan(T a, T b) {
    return a != a || b != b;
}
template <class T>
bool num(T a, T b) {
    return a == a && b == b;
}

}  // namespace ptx
