// taps.cuh: a row of an axis' matrix, the window a thread reads and its weights: from tables in memory (CS_COMPUTED 0), or
// computed where an axis is too long for one.
#pragma once

#if CS_COMPUTED
#include "computed_taps.cuh"
#else

struct Row {
    Index left, count;
    const Weight* weights;
    Index rows;

    __device__ Row(const Axis& axis, Index i)
        : left(axis.left[i]), count(axis.count[i]), weights((const Weight*)axis.weight + i), rows(Index(axis.n_out)) {}
    __device__ Weight weight(Index k) const { return weights[k * rows]; }
};

#endif
