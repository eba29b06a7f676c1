// band_integer.cu: rows of any number of taps, of integers: axis by axis as resample.cu does, because each axis rounds. Bytes in
// two axes are band_bytes.cu's, unless a pixel is in the windows of many rows.
//
// MATHS     resample.cu's of integers, in its order: W, then H, then D
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    as resample.cu; along W of uint8 FourWeights[words][n_out]: the weights of four pixels each, the first of which is left
//           rounded down to a multiple of 4
// THREADS   a block has a tile of a row of out: `pixels` neighbours of `channels` elements of inner, CS_ELEMENTS a thread; and
//           walks down groups of `rows`, whose source rows overlap. Four of these at a time
//           1 go to shared memory, side by side, so that one read gives a column of all four; the next four are on their way
//           2 a thread filters its elements along W and adds them to the sums of the group's rows along H
//           A window of one pixel that is longer than shared memory is taken in parts, but for uint8.
//           packed: as band.cu
// TRAFFIC   as band.cu
// CONTRACT  band.cu's, but for arithmetic and splits; pixels times channels are at most CS_THREADS CS_ELEMENTS; the window of a
//           tile of uint8 fits CS_THREADS CS_COLUMNS elements; weights of uint8 along W fit 16 bits
// LAUNCH    as band.cu
// VERSIONS  instructions an output at bicubic antialias 1/4, uint8, sm_90 by NVRTC 12.9; not yet measured on a device
//           1 the rows side by side, a product an instruction: 745
//           2 uint8 by two products an instruction, 16 bytes a thread and row: 293
//           3 places of bytes by steps, without branches: 288; a fifth shorter, NVRTC takes an eighth less time
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"
#include "band.cuh"
#include "window.cuh"

constexpr int P = CS_ELEMENTS;

template <typename Read>
__device__ inline void resample(const Element* __restrict__ source, Element* __restrict__ out, const Geometry& g,
                                SourceRows& window, Rows<Weight>* weights) {
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = axis_of_rows(g), &axis_d = g.axis[0];
    const Walk walk(g);

    for (unsigned t = blockIdx.x; t < walk.total; t += gridDim.x) {
        const Tile tile(g, axis, walk, t);
        const bool whole = CS_ARITHMETIC == CS_FIXED || tile.extent <= COLUMNS;
        Columns mine(g, axis, tile, Index(threadIdx.x), CS_THREADS, 0);
        Places places;
        places.set(g, tile, mine);
        Output outputs[P];
#pragma unroll
        for (int p = 0; p < P; ++p) outputs[p].set(g, axis, tile, p);

        for (Index z = walk.depths.begin; z < walk.depths.end; ++z) {
            const Index d_begin = CS_AXES > 2 ? axis_d.left[z] : 0, d_count = CS_AXES > 2 ? axis_d.count[z] : 1;
            for (Index r = walk.begin; r < walk.past; r += Index(g.rows)) {
                const Walk::Group group = walk.group(g, r);
                Sum depths[P][ROWS] = {};
                for (Index d = 0; d < d_count; ++d) {
                    const Element* const x =
                        source + tile.source + (CS_AXES > 2 ? (d_begin + d) * axis_d.source_stride : 0);
                    Sum column[P][ROWS] = {};
                    Source<Read> rows;
                    if (!whole) mine = Columns(g, axis, tile, Index(threadIdx.x), CS_THREADS, 0);
                    const auto row = [&](Index j) { return moved(x, bytes(j * walk.rows.source_stride) + mine.from); };
                    const long long stride = bytes(walk.rows.source_stride);
                    rows.ahead(mine, row(group.begin), stride, group.end - group.begin);
                    for (Index j = group.begin; j < group.end; j += AT_ONCE) {
                        const Index in_chunk = (j - group.begin) % CHUNK;
                        Sum sums[P][AT_ONCE] = {};
                        for (Index part = 0; part < tile.extent; part += COLUMNS) {
                            __syncthreads();  // nobody reads the weights and the rows before
                            if (part == 0 && in_chunk == 0)
                                weigh(axis_h, group, j, j + (group.end - j + AT_ONCE - 1) / AT_ONCE * AT_ONCE, 1, weights);
                            rows.write(g, mine, row(j), stride, group.end - j, places, window);
                            __syncthreads();
                            const bool last = whole || part + COLUMNS >= tile.extent;
                            const Index next = last ? j + AT_ONCE : j;
                            if (!whole) mine = Columns(g, axis, tile, Index(threadIdx.x), CS_THREADS, last ? 0 : part + COLUMNS);
                            if (next < group.end) rows.ahead(mine, row(next), stride, group.end - next);
#pragma unroll
                            for (int p = 0; p < P; ++p) outputs[p].filter(axis, g.channels, part, whole, window, sums[p]);
                        }
#pragma unroll
                        for (int a = 0; a < AT_ONCE; ++a) {
                            const Rows<Weight> w = weights[in_chunk + a];
#pragma unroll
                            for (int p = 0; p < P; ++p) {
                                const Sum filtered = finish(sums[p][a], axis.bits);
#pragma unroll
                                for (int b = 0; b < ROWS; ++b) column[p][b] = accumulate(w.of[b], filtered, column[p][b]);
                            }
                        }
                    }
                    const Weight w_d = CS_AXES > 2 ? Row(axis_d, z).weight(d) : Weight(1);
#pragma unroll
                    for (int p = 0; p < P; ++p)
#pragma unroll
                        for (int b = 0; b < ROWS; ++b) {
                            const Sum sum = CS_AXES > 1 ? finish(column[p][b], axis_h.bits) : column[p][b];
                            depths[p][b] = CS_AXES > 2 ? accumulate(w_d, sum, depths[p][b]) : sum;
                        }
                }

                Element* to = out + tile.out + group.first * walk.rows.out_stride;
                if (CS_AXES > 2) to += z * axis_d.out_stride;
#pragma unroll
                for (int p = 0; p < P; ++p) {
                    if (!outputs[p].exists()) continue;
                    Element* here = moved(to, Output::offset(g, axis, p));
#pragma unroll
                    for (int b = 0; b < ROWS; ++b, here = moved(here, bytes(walk.rows.out_stride)))
                        if (b < group.rows) *here = narrow(CS_AXES > 2 ? finish(depths[p][b], axis_d.bits) : depths[p][b]);
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(CS_THREADS, (CS_AXES > 2 ? 256 : 384) / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    __shared__ SourceRows window;
    __shared__ Rows<Weight> weights[CHUNK];
#if CS_PACKED
    resample<Packed>(source, out, g, window, weights);
#else
    resample<Apart>(source, out, g, window, weights);
#endif
}
