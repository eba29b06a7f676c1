// pixel.cuh: the one pixel that a row of the nearest modes reads; offset 0 (nearest), 1/2 (nearest-exact).
#pragma once

__device__ inline Index pixel(const Axis& axis, Index i) {
    const double offset = axis.method == 1 ? 0.5 : 0.0;
    return Index(axis.wide ? nearest_pixel<double>(i, axis.step, offset, axis.n_in)
                           : nearest_pixel<float>(i, float(axis.step), float(offset), axis.n_in));
}
