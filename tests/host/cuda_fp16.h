// cuda_fp16.h for the host build: the storage type __half and its conversions, without NVIDIA's headers.
//
// Stricter than NVIDIA's type: no implicit conversion and no arithmetic, so that a kernel says where it rounds.
#pragma once
#include <cstdint>
#include <cstring>

struct alignas(2) __half {
    std::uint16_t bits;

    __half() = default;  // trivial, as shared memory and unions need
    explicit __half(float x);
    explicit operator float() const;
};
typedef __half half;

// Sign, exponent and fraction move to their places in a float. The product with 2^112 corrects the exponent's bias and
// normalises subnormals, exactly; infinity and NaN get the float's largest exponent instead.
inline float __half2float(__half h) {
    const std::uint32_t magnitude = std::uint32_t(h.bits & 0x7fff) << 13;
    float x;
    std::memcpy(&x, &magnitude, 4);
    x *= 0x1p112f;
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if (magnitude >= 0x7c00u << 13) bits = magnitude | 0x7f800000;
    bits |= std::uint32_t(h.bits & 0x8000) << 16;
    std::memcpy(&x, &bits, 4);
    return x;
}

// To nearest, ties to even. A NaN becomes the one NaN that the GPU returns.
inline __half __float2half_rn(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const std::uint32_t sign = bits & 0x80000000;
    bits ^= sign;
    __half h;
    if (bits > 0x7f800000) {
        h.bits = 0x7fff;
        return h;
    }
    if (bits >= 0x477ff000) {  // 65520: half-way between the largest half and 2^16
        bits = 0x7c00;
    } else if (bits < 0x38800000) {  // below 2^-14: adding 1/2 rounds to multiples of 2^-24, the subnormals' step
        float shifted;
        std::memcpy(&shifted, &bits, 4);
        shifted += 0.5f;
        std::memcpy(&bits, &shifted, 4);
        bits -= 0x3f000000;
    } else {  // a carry out of the fraction raises the exponent, as it should
        bits = (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
    }
    h.bits = std::uint16_t(bits | sign >> 16);
    return h;
}

inline __half __float2half(float x) { return __float2half_rn(x); }
inline __half::__half(float x) { *this = __float2half_rn(x); }
inline __half::operator float() const { return __half2float(*this); }

inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline __half __ushort_as_half(unsigned short bits) {
    __half h;
    h.bits = bits;
    return h;
}
