// arithmetic.cuh: weights, products and sums, and what is rounded when.
//
// CS_ARITHMETIC  1 float: products fused into sums, one rounding at the end
//                2 integer: every product and sum rounded by itself, as NumPy does
//                3 fixed: uint8 in fixed point, rounded and saturated after every axis, as torch's CPU kernels do
//                4 mean: exact integer sums, divided by the number of pixels, half to even
//                5 copy: bits, no arithmetic
#pragma once

#define CS_FLOAT 1
#define CS_INTEGER 2
#define CS_FIXED 3
#define CS_COPY 5

// Weight: as tables hold it. Real: what coordinates are computed in.
#if CS_MEAN
typedef Sum Weight;  // every pixel of a mean counts once
typedef double Real;
#elif CS_TYPE == CS_UINT8
typedef int Weight;
typedef double Real;
#elif CS_ARITHMETIC != CS_COPY
typedef Sum Weight;
typedef Sum Real;
#endif

#if CS_ARITHMETIC == CS_FLOAT
__device__ inline Sum product(Weight w, Sum x) { return w * x; }
__device__ inline Sum accumulate(Weight w, Sum x, Sum sum) { return fma(w, x, sum); }
#elif CS_ARITHMETIC == CS_INTEGER
__device__ inline Sum product(Weight w, Sum x) { return times(w, x); }
__device__ inline Sum accumulate(Weight w, Sum x, Sum sum) { return plus(sum, times(w, x)); }
#elif CS_ARITHMETIC == CS_FIXED
__device__ inline Sum product(Weight w, Sum x) { return w * x; }
__device__ inline Sum accumulate(Weight w, Sum x, Sum sum) { return w * x + sum; }
#elif CS_MEAN
__device__ inline Sum product(Weight w, Sum x) { return w * x; }
__device__ inline Sum accumulate(Weight w, Sum x, Sum sum) { return w * x + sum; }

// The sum of so many pixels, divided by their number, half to even.
__device__ inline Sum mean(Sum sum, Sum pixels) {
    const Sum quotient = sum / pixels, rest = sum - quotient * pixels;
    return quotient + (2 * rest > pixels || (2 * rest == pixels && (quotient & 1)) ? 1 : 0);
}

// The same, of so few pixels that floats hold their number and the sum: a quotient mended by its rest is the nearest float, and
// 2^23 more the nearest integer. A quarter of the instructions.
__device__ inline Sum mean_of_few(Sum sum, float pixels) {
    constexpr float unit = 8388608.0f;
    const float x = __uint_as_float(__float_as_uint(unit) + unsigned(sum)) - unit, reciprocal = __fdividef(1, pixels);
    const float near = x * reciprocal, rest = fma(-near, pixels, x);
    return __float_as_uint(fma(rest, reciprocal, near) + unit) & 0xff;
}
#endif

// Rounding after each axis; `bits` are those of its weights. What is closed is still to be saturated.
__device__ inline Sum closing(Sum sum, int bits) {
#if CS_ARITHMETIC == CS_FIXED
    return sum >> bits;
#else
    (void)bits;
    return sum;
#endif
}
#if CS_ARITHMETIC == CS_FIXED
__device__ inline Sum saturated(Sum sum) { return sum < 0 ? 0 : sum > 255 ? 255 : sum; }
#endif
__device__ inline Sum finish(Sum sum, int bits) {
#if CS_ARITHMETIC == CS_FIXED
    return saturated(closing(sum + (1 << bits >> 1), bits));
#else
    return closing(sum, bits);
#endif
}

#if CS_ARITHMETIC == CS_FIXED
// Two bytes of what is saturated, the low half of a word; the low half of `above` is the other.
__device__ inline unsigned saturated(Sum low, Sum high, unsigned above) {
#if __CUDA_ARCH__ >= 720
    unsigned word;
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(word) : "r"(high), "r"(low), "r"(above));
    return word;
#else
    return above << 16 | unsigned(saturated(high)) << 8 | unsigned(saturated(low));
#endif
}

// A sum and two products more: of 16-bit weights with the low, or the high, bytes of a word.
template <bool High>
__device__ inline Sum add_pair(int weights, unsigned bytes, Sum sum) {
#if __CUDA_ARCH__ >= 610
    if (High)
        asm("dp2a.hi.s32.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(weights), "r"(bytes));
    else
        asm("dp2a.lo.s32.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(weights), "r"(bytes));
    return sum;
#else
    bytes >>= High ? 16 : 0;
    return sum + short(weights) * int(bytes & 0xff) + (weights >> 16) * int(bytes >> 8 & 0xff);
#endif
}
#endif

// The first product of a sum that closing() rounds: the half is in it already.
#if CS_ARITHMETIC != CS_COPY
__device__ inline Sum opening(Weight w, Sum x, int bits) {
#if CS_ARITHMETIC == CS_FIXED
    return accumulate(w, x, 1 << bits >> 1);
#else
    (void)bits;
    return product(w, x);
#endif
}
#endif
