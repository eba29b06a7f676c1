// band.cu: rows of any number of taps, separably: every axis but the last in registers, the last through shared memory.
//
// MATHS     resample.cu's for floats, in the order D and H, then W: fewest products where an axis shrinks; and its means
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    as resample.cu
// THREADS   a block has a tile of a row of out: `pixels` neighbours of `channels` elements of inner; and walks down groups of
//           `rows`, whose source rows overlap. For each of them
//           1 a thread sums CS_COLUMNS columns of the tile's source window over the rows of D and H, for all rows of the
//             group; where outputs are few, over one in `splits` of these rows, and the parts are added in order
//           2 the sums go to shared memory, and a thread filters some elements of the tile along W, for all rows at once
//           A window of one pixel that is longer than shared memory is taken in parts.
//           packed: a thread's columns are neighbours by CS_VECTOR, read as vectors, STAGES rows before they are added: where
//           the sums go in 2, a thread has slots of its own in 1, to which its rows are copied ahead, on from chunk to chunk
//           of weights and from depth to depth; else columns lie as far apart as the block is wide
// TRAFFIC   reads the source rows of a group once: ((rows - 1) step + taps) / (rows step) times |source|, what another
//           group has read from L2, or if not packed from L1; writes |out|; the sums never leave the block
// CONTRACT  resample.cu's; floats and means; extents, and offsets inside a row in bytes, fit an int; means of fewer than 2^24
//           pixels; blockDim.x = CS_THREADS, lanes = CS_THREADS / splits of it side by side; rows <= CS_ROWS; channels is the
//           whole of inner, rows of the source being one stride throughout, or divides the lanes, packed the lanes CS_VECTOR;
//           the window of a tile of several pixels fits lanes CS_COLUMNS elements
//           packed: elements of a row of the source, or `channels` of a pixel, are dense, of a multiple of CS_VECTOR elements
//           and aligned to it
// LAUNCH    x: planes times tiles, grid-stride; y and z split the groups and D into runs; any grid
// VERSIONS  instructions an output at lanczos 1/2, bicubic antialias 1/4, float32, sm_90 by NVRTC 12.9
//           1 groups of 4 rows, each thread loads their weights: 295, 768
//           2 weights of a group in shared memory, NaN outside of a window; addresses in bytes: 169, 404
//           3 the sums of a group's rows side by side, read at once; twice the columns a thread; no branch around a sum: 129, 319
//             measured on an H100, 2026-11-27: 684, 473 us, where a copy of as many bytes takes 330, 280; a third of what it
//             can issue, its warps waiting for two rows on their way in registers, which every group begins anew
//           4 rows on their way in shared memory, 4 of float32 and 8 of float16; 80 registers, so 3 large blocks and not 2:
//             124, 305 in runs of 8 groups; of one group each 194, 438, and faster: 461, 361 us (BAND_GROUPS says why)
//           5 divisions by what a launch knows are products: bilinear antialias 1/2 134 -> 107, not yet measured
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"
#include "ahead.cuh"
#include "band.cuh"
#include "columns_ahead.cuh"

constexpr int LINE = 8;  // columns

// Source rows that are on their way to a thread: as many as fit where the sums of its columns go later.
constexpr bool PACKS = NEIGHBOURS > 1;
constexpr int FITTING = sizeof(Rows<Sum>) / sizeof(Element), STAGES = !PACKS ? 1 : FITTING < 8 ? FITTING : 8;

// The rows of a group, depth by depth.
struct Cursor {
    static constexpr int ROWS_AT_ONCE = 1;

    const Element* at;
    long long stride, jump;    // bytes to the next row, and from behind the last one of a depth to the first of the next
    Index rows, left, depths;  // of a depth; and what is left

    __device__ bool has(int) const { return left > 0; }
    __device__ const Element* row(int) const { return at; }
    __device__ void advance() {
        at = moved(at, stride);
        if (--left == 0 && CS_AXES > 2 && --depths > 0) {
            at = moved(at, jump);
            left = rows;
        }
    }
};
typedef Ahead<STAGES, Cursor> Copies;

union Shared {
    Rows<Sum> window[COLUMNS + COLUMNS / LINE];
    Neighbours ahead[STAGES][VECTORS][CS_THREADS];
};

// Threads that a multiprocessor holds at least: three large blocks of floats, whose copies take no registers; two else.
constexpr int RESIDENT = CS_COPIES_AHEAD && CS_THREADS >= 128 && sizeof(Sum) == 4 && CS_ARITHMETIC == CS_FLOAT ? 768 : 512;

// Add source rows `begin`, `begin` + `step` … of a chunk.
__device__ inline void add_vectors(const Columns& mine, Copies& ahead, Index begin, Index past, Index step,
                                   const Rows<Weight>* weights, Sum (&sums)[ROWS][V]) {
    if (mine.count == 0) return;
#pragma unroll 1
    for (const Rows<Weight>* w = weights + begin; begin < past; begin += step, w += step) {
        Packed x[1];
        ahead.read(mine, x);
        add(x[0], *w, sums);
    }
}
__device__ inline void add_elements(const Columns& mine, const Element* __restrict__ row, long long stride, Index begin,
                                    Index past, Index step, const Rows<Weight>* weights, Sum (&sums)[ROWS][V]) {
    if (mine.count == 0) return;
#pragma unroll 1
    for (Index i = begin; i < past; i += step, row = moved(row, stride)) {
        Apart x;
        mine.read(row, x);
        add(x, weights[i], sums);
    }
}

extern "C" __global__ void __launch_bounds__(CS_THREADS, RESIDENT / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    __shared__ Shared shared;
    __shared__ Rows<Weight> weights[CHUNK];
    __shared__ Rows<Sum> carried[CS_CHANNELS];  // from part to part, each by the thread that has the element of the one pixel
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = axis_of_rows(g), &axis_d = g.axis[0];
    const Walk walk(g);
    const Index width = Index(g.channels), splits = Index(g.splits), lanes = CS_THREADS / g.splits, whole = lanes * V;
    const Index split = Index(threadIdx.x) * splits / CS_THREADS, lane = Index(threadIdx.x) - split * lanes;

    for (unsigned t = blockIdx.x; t < walk.total; t += gridDim.x) {
        const Tile tile(g, axis, walk, t);
        Columns mine(g, axis, tile, lane, lanes, 0);

        for (Index z = walk.depths.begin; z < walk.depths.end; ++z) {
            const Index d_begin = CS_AXES > 2 ? axis_d.left[z] : 0, d_count = CS_AXES > 2 ? axis_d.count[z] : 1;
            for (Index r = walk.begin; r < walk.past; r += Index(g.rows)) {
                const Walk::Group group = walk.group(g, r);
                for (Index part = 0; part < tile.extent || part == 0; part += whole) {
                    if (tile.extent > whole) mine = Columns(g, axis, tile, lane, lanes, part);
                    Sum column[ROWS][V] = {};
                    const Element* row = moved(source + tile.source, bytes((group.begin + split) * walk.rows.source_stride));
                    row = moved(row, mine.from);
                    if (CS_AXES > 2) row += d_begin * axis_d.source_stride;
                    const long long stride = bytes(splits * walk.rows.source_stride);
                    const Index rows = (group.end - group.begin - split + splits - 1) / g.splits;
                    const long long jump = CS_AXES > 2 ? bytes(axis_d.source_stride) - rows * stride : 0;
                    __syncthreads();  // nobody reads the sums of the part before
                    const Cursor cursor = {row, stride, jump, rows, d_count > 0 ? rows : 0, d_count};
                    Copies ahead(cursor, &shared.ahead[0][0][threadIdx.x]);
                    if (PACKS && is_packed(g)) ahead.start(mine);
                    for (Index d = 0; d < d_count; ++d) {
                        const Weight w_d = CS_AXES > 2 ? Row(axis_d, z).weight(d) : Weight(1);
                        for (Index j = group.begin; j < group.end; j += CHUNK) {
                            weigh(axis_h, group, j, group.end, w_d, weights);
                            __syncthreads();
                            const Index past = at_most(group.end - j, CHUNK);
                            if (PACKS && is_packed(g))
                                add_vectors(mine, ahead, split, past, splits, weights, column);
                            else
                                add_elements(mine, moved(row, bytes((j - group.begin) * walk.rows.source_stride)), stride,
                                             split, past, splits, weights, column);
                            __syncthreads();  // nobody reads these weights any more, nor, at last, vectors
                        }
                        if (CS_AXES > 2) row += axis_d.source_stride;
                    }
                    Rows<Sum>* const window = shared.window;
#pragma unroll
                    for (int c = 0; c < V; ++c) {
                        Rows<Sum> sums;
#pragma unroll
                        for (int a = 0; a < ROWS; ++a) sums.of[a] = column[a][c];
                        window[place<LINE>(split * whole + mine.column(g, c))] = sums;
                    }
                    __syncthreads();
                    if (splits > 1) {
                        for (Index c = Index(threadIdx.x); c < whole; c += CS_THREADS) {
                            Rows<Sum> sums = window[place<LINE>(c)];
                            for (Index s = 1; s < splits; ++s) {
                                const Rows<Sum> more = window[place<LINE>(s * whole + c)];
#pragma unroll
                                for (int a = 0; a < ROWS; ++a) sums.of[a] += more.of[a];
                            }
                            window[place<LINE>(c)] = sums;
                        }
                        __syncthreads();
                    }

#if CS_MEAN
                    Index pixels[ROWS];
#pragma unroll
                    for (int a = 0; a < ROWS; ++a)
                        pixels[a] = CS_AXES > 1 && a < group.rows ? d_count * axis_h.count[group.first + a] : d_count;
#endif
                    Element* to = out + tile.out + group.first * walk.rows.out_stride;
                    if (CS_AXES > 2) to += z * axis_d.out_stride;
                    for (Index e = Index(threadIdx.x); e < tile.pixels * width; e += CS_THREADS) {
                        const Index p = e / g.channels, channel = e - p * width;
                        if (channel >= tile.channels) continue;
                        const Row row(axis, tile.i + p);
                        Part tap(tile.begin + (row.left - tile.pixel) * width + channel - part, row.count, g.channels, whole,
                                 tile.extent <= whole);
                        Rows<Sum> sums = {};
                        if (part > 0) sums = carried[e];
                        const Weight* w = row.weights + tap.k * row.rows;
#pragma unroll 4
                        for (; tap.k < tap.past; ++tap.k, w += row.rows, tap.at += width) {
                            const Weight weight = *w;
                            const Rows<Sum> column = window[place<LINE>(tap.at)];
#pragma unroll
                            for (int a = 0; a < ROWS; ++a) sums.of[a] = accumulate(weight, column.of[a], sums.of[a]);
                        }
                        if (part + whole < tile.extent) {
                            carried[e] = sums;
                            continue;
                        }
                        Element* here = moved(to, bytes(p * Index(axis.out_stride) + channel * Index(g.inner.out_stride)));
#pragma unroll
                        for (int a = 0; a < ROWS; ++a, here = moved(here, bytes(walk.rows.out_stride)))
                            if (a < group.rows) {
#if CS_MEAN
                                sums.of[a] = mean(sums.of[a], Sum(row.count * pixels[a]));
#endif
                                *here = narrow(sums.of[a]);
                            }
                    }
                }
            }
        }
    }
}
