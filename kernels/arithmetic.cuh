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
#endif

// Rounding after each axis; `bits` are those of its weights.
__device__ inline Sum closing(Sum sum, int bits) {
#if CS_ARITHMETIC == CS_FIXED
    sum >>= bits;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
#else
    (void)bits;
    return sum;
#endif
}
__device__ inline Sum finish(Sum sum, int bits) {
#if CS_ARITHMETIC == CS_FIXED
    sum += 1 << bits >> 1;
#endif
    return closing(sum, bits);
}

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
