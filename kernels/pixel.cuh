// pixel.cuh: the one pixel that a row of the nearest modes reads; offset 0 (nearest), 1/2 (nearest-exact).
#pragma once

// Not inlined: the other axes would wait for its doubles too. Nor is the offset handed over: these would then have it at hand, for
// three instructions a row.
__device__ __attribute__((noinline)) Index wide_pixel(const Axis& axis, Index i) {
    return nearest_pixel<double>(i, axis.step, axis.method == NEAREST_EXACT ? 0.5 : 0.0, Index(axis.n_in));
}

__device__ inline Index pixel(const Axis& axis, Index i) {
    const float offset = axis.method == NEAREST_EXACT ? 0.5f : 0.0f;
    return axis.in_double ? wide_pixel(axis, i) : nearest_pixel<float>(i, float(axis.step), offset, Index(axis.n_in));
}
