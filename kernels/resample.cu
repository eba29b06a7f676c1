// resample.cu: apply a banded linear operator along N axes; the specification of every faster kernel.
//
// MATHS     out[o, i_0 … i_N-1, c] = Σ_k0 w_0[i_0, k_0] Σ_k1 w_1[i_1, k_1] … source[o, left_0[i_0] + k_0 …, c]:
//           the last axis innermost, taps in ascending order
// SHAPES    source [outer, outer, n_in_0 …, inner], out [outer, outer, n_out_0 …, inner], any strides; see geometry.cuh
// TABLES    per axis left int[n_out], count int[n_out], weight Weight[width][n_out]; or computed rows; see taps.cuh
// THREADS   one thread, one output at a time; neighbours in x are neighbours in the last dimension
// TRAFFIC   reads source once from DRAM while taps overlap in L1 and L2, writes |out|;
//           tables Σ n_out_d (8 + width_d sizeof(Weight)), cached
// CONTRACT  0 <= left, 0 <= count, left + count <= n_in (_taps.py checks), hence no test for borders;
//           addresses and strides are multiples of the element; out overlaps neither itself nor source
// LAUNCH    any 1-D grid and block: grid-stride; no shared memory, no atomics, so the same bits on every run
// VERSIONS  1 plain gather, one output a thread: predicted from counted bytes, not yet measured
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"

template <int D>
__device__ Sum gather(const Element* source, const Geometry& g, const Row (&rows)[CS_AXES]) {
    const Row& row = rows[D];
    const Index stride = Index(g.axis[D].source_stride);
    source += row.left * stride;
    Sum sum = Sum(0);
#if CS_COMPUTED
#pragma unroll 1  // a computed weight is long enough, and copies of it cost registers
#endif
    for (Index k = 0; k < row.count; ++k, source += stride) {
        Sum x;
        if constexpr (D + 1 == CS_AXES)
            x = widen(*source);
        else
            x = gather<D + 1>(source, g, rows);
        const Weight w = row.weight(k);
        sum = k ? accumulate(w, x, sum) : product(w, x);
    }
    return finish(sum, g.axis[D].bits);
}

extern "C" __global__ void CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out,
                                    const __grid_constant__ Geometry g) {
    const Index total = g.outputs();
    for (Index t = first_output(); t < total; t += output_step()) {
        const Position p(g, t);
#if CS_AXES == 1
        const Row rows[] = {Row(g.axis[0], p.i[0])};
#elif CS_AXES == 2
        const Row rows[] = {Row(g.axis[0], p.i[0]), Row(g.axis[1], p.i[1])};
#else
        const Row rows[] = {Row(g.axis[0], p.i[0]), Row(g.axis[1], p.i[1]), Row(g.axis[2], p.i[2])};
#endif
        Sum sum = gather<0>(source + p.source, g, rows);
#if CS_MEAN
        Sum pixels = 1;
        for (int d = 0; d < CS_AXES; ++d) pixels *= Sum(rows[d].count);
        sum = mean(sum, pixels);
#endif
        out[p.out] = narrow(sum);
    }
}
