// coordinates.cuh: output index to source coordinate, as cupysample/_coordinates.py computes it, rounding by rounding.
#pragma once

// The longest axis whose pixels a float counts, and its quarters.
constexpr long long FLOAT32_EXTENT = 1 << 22;

// float: one rounding. double: product and sum rounded separately, so that the CPU gives the same bits without an FMA.
__device__ inline float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline double fused(double a, double b, double c) { return __dadd_rn(__dmul_rn(a, b), c); }

// Products and sums that no compiler contracts.
__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double plus(double a, double b) { return __dadd_rn(a, b); }

// Centres to centres: (i + 1/2) step - 1/2.
template <typename Real>
__device__ Real half_pixel(Real i, Real step) {
    return fused(step, plus(i, Real(0.5)), Real(-0.5));
}

// Corner centres to corner centres: i step.
template <typename Real>
__device__ Real align_corners(Real i, Real step) {
    return times(i, step);
}

// The pixel of the nearest modes: min(floor((i + offset) step), n_in - 1).
template <typename Real>
__device__ Index nearest_pixel(Index i, Real step, Real offset, Index n_in) {
    const Index pixel = Index(floor(times(plus(Real(i), offset), step)));
    return pixel < n_in - 1 ? pixel : n_in - 1;
}
