// band_bytes.cu: rows of any number of taps, of bytes in two axes: a thread walks down columns of out and holds the sums of
// the rows that have begun.
//
// MATHS     resample.cu's of uint8: W, rounded to bytes, then H
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it
// TABLES    of W as band_integer.cu. Of H by words of four source rows: left[words + 1], the first row of out that ends in the
//           word or behind it; count[2][n_out], the words in which a row of out begins and behind which it ends; weight
//           FourWeights[words][CS_ROWS], the weights of the four pixels for that row and those behind it, 0 outside of their windows
// THREADS   a block has a tile of a row of out, as in band_integer.cu, and walks down a run of rows. For a word of source rows
//           1 these go to shared memory; the next four are on their way
//           2 a thread filters its elements along W: four bytes each, one for each row
//           3 and adds them to the sums of CS_ROWS rows of out, two products an instruction; those that end are written
// TRAFFIC   as band.cu, in runs instead of groups: a window less a step is read twice by two runs
// CONTRACT  band_integer.cu's of uint8; CS_AXES is 2; no row of out begins before the CS_ROWS-th before it has ended
//           CS_PACKED 2: packed, and g.channels is 1
// LAUNCH    x: planes times tiles of a row, grid-stride; y splits H into runs; any grid
// VERSIONS  instructions an output at bicubic antialias 1/4, sm_90 by NVRTC 12.9; not yet measured on a device
//           0 band_integer.cu, groups of 8 rows, each of whose source rows is filtered for every group, and multiplied by 8 weights
//             of which it has four: 288 (measured, H100, 2026-11-27, 28 % of a copy's bandwidth)
//           1 walking down, bytes filtered once, two products an instruction along H too: 186; NVRTC takes 0.19 s for bytes in
//             order and 0.3 for others, where band_integer.cu takes 0.33
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"
#include "band.cuh"
#include "window.cuh"

constexpr int P = CS_ELEMENTS;

// Weights of a word of source rows for those of out.
struct alignas(16) Begun {
    FourWeights of[ROWS];
};

// Each element's four bytes, one for each row of the window.
__device__ inline void filter(const Output (&outputs)[P], const Axis& axis, const SourceRows& window, unsigned (&bytes)[P]) {
    Sum sums[P][AT_ONCE];
    const unsigned* from[P];
    Index words = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
        from[p] = window.words[0] + outputs[p].at;
        words = outputs[p].count > words ? outputs[p].count : words;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) sums[p][j] = 1 << axis.bits >> 1;
    }
#pragma unroll(4 / P)
    for (Index k = 0; k < words; ++k)  // what lies behind an element's window weighs 0
#pragma unroll
        for (int p = 0; p < P; ++p) {
            const FourWeights w = outputs[p].four_weights(axis, k);
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) sums[p][j] = add_four(w, from[p][j * ROW_WORDS], sums[p][j]);
            ++from[p];
        }
#pragma unroll
    for (int p = 0; p < P; ++p) bytes[p] = packed_together(sums[p], axis.bits);
}

template <typename Read>
__device__ inline void resample(const Element* __restrict__ source, Element* __restrict__ out, const Geometry& g, SourceRows& window) {
    const Axis &axis = g.axis[1], &axis_h = g.axis[0];
    const Walk walk(g);
    const Index stride = Index(walk.rows.source_stride);
    const Begun* const weights = (const Begun*)axis_h.weight;

    for (unsigned t = blockIdx.x; t < walk.total; t += gridDim.x) {
        const Tile tile(g, axis, walk, t);
        const Columns mine(g, axis, tile, Index(threadIdx.x), CS_THREADS, 0);
        Places places;
        places.set(g, tile, mine);
        Output outputs[P];
        Element* to[P];
#pragma unroll
        for (int p = 0; p < P; ++p) {
            outputs[p].set(g, axis, tile, p);
            to[p] = moved(out + tile.out, bytes(walk.begin * walk.rows.out_stride) + Output::offset(g, axis, p));
        }
        if (walk.begin >= walk.past) continue;

        // The rows that have begun, from the first that has not ended.
        Sum sums[P][ROWS];
#pragma unroll
        for (int p = 0; p < P; ++p)
#pragma unroll
            for (int a = 0; a < ROWS; ++a) sums[p][a] = 1 << axis_h.bits >> 1;

        const Element* const x = moved(source + tile.source, mine.from);
        const auto row = [&](Index q) { return moved(x, (long long)(q * AT_ONCE) * stride); };
        const Index height = Index(axis_h.n_in);
        Source<Read> rows;
        Index q = axis_h.count[walk.begin], first = axis_h.left[q];
        rows.ahead(mine, row(q), stride, height - q * AT_ONCE);
        while (first < walk.past) {
            __syncthreads();  // nobody reads the rows before
            rows.write(g, mine, row(q), stride, height - q * AT_ONCE, places, window);
            __syncthreads();
            const Index next = axis_h.left[q + 1];
            if (next < walk.past) rows.ahead(mine, row(q + 1), stride, height - (q + 1) * AT_ONCE);
            unsigned filtered[P];
            filter(outputs, axis, window, filtered);
            const Begun begun = weights[q];
#pragma unroll
            for (int a = 0; a < ROWS; ++a)
#pragma unroll
                for (int p = 0; p < P; ++p) sums[p][a] = add_four(begun.of[a], filtered[p], sums[p][a]);
#pragma unroll 1
            for (; first < next; ++first)
#pragma unroll
                for (int p = 0; p < P; ++p) {
                    if (first >= walk.begin && first < walk.past) {
                        if (outputs[p].exists()) *to[p] = narrow(saturated(closing(sums[p][0], axis_h.bits)));
                        to[p] = moved(to[p], bytes(walk.rows.out_stride));
                    }
#pragma unroll
                    for (int a = 0; a + 1 < ROWS; ++a) sums[p][a] = sums[p][a + 1];
                    sums[p][ROWS - 1] = 1 << axis_h.bits >> 1;
                }
            ++q;
        }
    }
}

// Threads that a multiprocessor holds at least: what has no places of its own for bytes takes fewer registers, elements that are
// read one by one more.
constexpr int RESIDENT = CS_PACKED == Places::IN_ORDER ? 640 : CS_PACKED ? 512 : 384;

extern "C" __global__ void __launch_bounds__(CS_THREADS, RESIDENT / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    __shared__ SourceRows window;
#if CS_PACKED
    resample<Packed>(source, out, g, window);
#else
    resample<Apart>(source, out, g, window);
#endif
}
