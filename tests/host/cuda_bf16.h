// cuda_bf16.h for the host build: the storage type __nv_bfloat16 and its conversions, without NVIDIA's headers.
//
// Stricter than NVIDIA's type: no implicit conversion and no arithmetic, so that a kernel says where it rounds.
#pragma once
#include <cstdint>
#include <cstring>

struct alignas(2) __nv_bfloat16 {
    std::uint16_t bits;

    __nv_bfloat16() = default;  // trivial, as shared memory and unions need
    explicit __nv_bfloat16(float x);
    explicit operator float() const;
};
typedef __nv_bfloat16 nv_bfloat16;

// The upper half of a float.
inline float __bfloat162float(__nv_bfloat16 h) {
    const std::uint32_t bits = std::uint32_t(h.bits) << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// To nearest, ties to even. A NaN becomes the one NaN that the GPU returns.
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    __nv_bfloat16 h;
    if ((bits & 0x7fffffff) > 0x7f800000)
        h.bits = 0x7fff;
    else  // a carry out of the fraction raises the exponent, to infinity at the end
        h.bits = std::uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    return h;
}

inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
inline __nv_bfloat16::__nv_bfloat16(float x) { *this = __float2bfloat16_rn(x); }
inline __nv_bfloat16::operator float() const { return __bfloat162float(*this); }

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h) { return h.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    __nv_bfloat16 h;
    h.bits = bits;
    return h;
}
