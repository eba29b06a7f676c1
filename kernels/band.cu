// band.cu: rows of any number of taps, separably: every axis but the last in registers, the last through shared memory.
//
// MATHS     resample.cu's for floats, in the order D and H, then W: fewest products where an axis shrinks
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    as resample.cu
// THREADS   a block has a tile of a row of out: `pixels` neighbours of `channels` elements of inner; and walks down groups of
//           `rows`, whose source rows overlap. For each of them
//           1 a thread sums CS_VECTOR columns of the tile's source window over the rows of D and H, for all rows of the group
//           2 the sums go to shared memory, and a thread filters some elements of the tile along W, for all rows at once
//           A window of one pixel that is longer than shared memory is taken in parts.
//           packed: a thread's columns are neighbours, read as one vector; else they lie as far apart as the block is wide
// TRAFFIC   reads the source rows of a group once: ((rows - 1) step + taps) / (rows step) times |source|, what the group
//           before has read from L1 or L2; writes |out|; the sums never leave the block
// CONTRACT  resample.cu's; floats alone; extents, and offsets inside a row in bytes, fit an int; blockDim.x = CS_THREADS;
//           rows <= CS_ROWS; channels is the whole of inner, rows of the source being one stride throughout, or divides
//           CS_THREADS; the window of a tile of several pixels fits CS_THREADS CS_VECTOR elements
//           packed: elements of a row of the source, or `channels` of a pixel, are dense, of a multiple of CS_VECTOR elements
//           and aligned to it
// LAUNCH    x: planes times tiles, grid-stride; y and z split the groups and D into runs; any grid
// VERSIONS  instructions an output at lanczos 1/2, bicubic antialias 1/4, float32, sm_90 by NVRTC 12.9; not yet measured
//           1 groups of 4 rows, each thread loads their weights: 295, 768
//           2 weights of a group in shared memory, NaN outside of a window; addresses in bytes: 169, 404
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"

constexpr int V = CS_VECTOR, ROWS = CS_ROWS, WINDOW = CS_THREADS * V;

constexpr int CHUNK = 64;  // source rows whose weights are in shared memory

struct alignas(V * sizeof(Element)) Vector {
    Element e[V];
};

struct alignas(16) Weights {
    Weight of[ROWS];
};

// Addresses are a pointer and an offset in bytes: two instructions each, where an index into a pointer takes four.
__device__ inline const Element* moved(const Element* p, long long bytes) { return (const Element*)((const char*)p + bytes); }
__device__ inline long long bytes(long long elements) { return elements * (long long)sizeof(Element); }

__device__ inline Index quotient(Index a, Index b) { return b == 1 ? a : a / b; }
__device__ inline Index at_most(Index a, Index b) { return a < b ? a : b; }

// A part of a row of out, and the window of the source row that it reads: `extent` elements, [pixel][g.channels], from
// `begin` elements before its first pixel, so that vectors are aligned.
struct Tile {
    Index i, pixels, channel, channels;  // of out; where g.channels are more than are left, some are nobody's
    Index pixel, begin, extent;          // of source

    __device__ Tile(const Geometry& g, const Axis& axis, Index number) {
        const Index all = Index(g.inner.extent), width = Index(g.channels), channel_blocks = (all - 1) / width + 1;
        const Index block = number / channel_blocks;
        i = block * Index(g.pixels);
        pixels = at_most(Index(axis.n_out) - i, Index(g.pixels));
        channel = (number - block * channel_blocks) * width;
        channels = at_most(all - channel, width);
        const Row first(axis, i), last(axis, i + pixels - 1);
        pixel = first.left;
        begin = g.packed && all == width ? pixel * width % V : 0;
        extent = begin + (last.left + last.count - pixel) * width;
    }
};

// A thread's columns of a part of the window, which begins at element `part`, and where they lie in a source row.
struct Columns {
    Index first, step;
    Index from, stride;  // bytes
    Index count;
    bool packed;

    __device__ Columns(const Geometry& g, const Axis& axis, const Tile& tile, Index part)
        : first(Index(threadIdx.x)), step(CS_THREADS), packed(g.packed) {
        if (packed) {
            first *= V;
            step = 1;
        }
        const Index width = Index(g.channels), e = first + part - tile.begin;
        const Index unit = Index(g.inner.extent == 1 ? axis.source_stride : g.inner.source_stride);
        // Before the tile's first pixel there is another: only dense rows have a `begin`.
        const Index p = e < 0 ? 0 : quotient(e, width), channel = e - p * width;
        from = (tile.pixel + p) * Index(axis.source_stride) + (tile.channel + channel) * unit;
        from *= Index(sizeof(Element));
        // The next column is `step` elements on; if rows have gaps, it is the same channel of another pixel.
        stride = axis.source_stride == width * unit ? step * unit : CS_THREADS / width * Index(axis.source_stride);
        stride *= Index(sizeof(Element));
        const Index left = at_most(tile.extent - part, WINDOW) - first;
        count = left <= 0 || channel >= tile.channels ? 0 : at_most((left - 1) / step + 1, V);
    }

    __device__ Vector read(const Element* __restrict__ row) const {
        row = moved(row, from);
        if (packed) return *(const Vector*)row;
        Vector x;
#pragma unroll
        for (int c = 0; c < V; ++c) x.e[c] = *moved(row, (c < count ? c : 0) * stride);
        return x;
    }
};

// The rows of a group along H; in 1-D each has itself as its only tap.
struct Group {
    Index left[ROWS], count[ROWS];
    Index begin, end;
    int rows;

    __device__ Group(const Axis& axis, Index r, Index past, Index most) {
        rows = int(at_most(past - r, most));
#pragma unroll
        for (int a = 0; a < ROWS; ++a) {
            const Index mine = r + at_most(a, rows - 1);
            left[a] = CS_AXES > 1 ? axis.left[mine] : mine;
            count[a] = a >= rows ? 0 : CS_AXES > 1 ? axis.count[mine] : 1;
        }
        begin = left[0];
        end = left[ROWS - 1] + (CS_AXES > 1 ? axis.count[r + rows - 1] : 1);
    }

    // The weights of source rows j … j + CHUNK - 1, times w_d, for all rows of the group; NaN outside of a row's window.
    __device__ void weigh(const Axis& axis, Index r, Index j, Weight w_d, Weights* weights) const {
        for (Index e = Index(threadIdx.x); e < CHUNK * ROWS; e += CS_THREADS) {
            const Index i = e / ROWS, mine = e - i * ROWS;
            Index first = 0, taps = 0;
#pragma unroll
            for (int a = 0; a < ROWS; ++a) {  // an index known only at run time would need local memory
                first = a == mine ? left[a] : first;
                taps = a == mine ? count[a] : taps;
            }
            const Index k = j + i - first;
            Weight w = Weight(nan(""));
            if (k >= 0 && k < taps) w = CS_AXES > 1 ? w_d * Row(axis, r + mine).weight(k) : w_d;
            weights[i].of[mine] = w;
        }
    }
};

extern "C" __global__ void __launch_bounds__(CS_THREADS, 512 / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    __shared__ Sum window[ROWS][WINDOW];
    __shared__ Weights weights[CHUNK];
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES > 1 ? CS_AXES - 2 : 0], &axis_d = g.axis[0];
    const Batch one = {1, 0, 0}, rows_h = {axis_h.n_out, axis_h.source_stride, axis_h.out_stride};
    const Batch rows = CS_AXES > 1 ? rows_h : g.outer[1], planes = CS_AXES > 1 ? g.outer[1] : one;
    const Run height((Index(rows.extent) - 1) / Index(g.rows) + 1, gridDim.y, blockIdx.y);  // of groups
    const Index r_begin = height.begin * Index(g.rows), r_end = at_most(height.end * Index(g.rows), Index(rows.extent));
    const Run depth(CS_AXES > 2 ? Index(axis_d.n_out) : 1, gridDim.z, blockIdx.z);
    const unsigned tiles = unsigned((axis.n_out - 1) / g.pixels + 1) * unsigned((g.inner.extent - 1) / g.channels + 1);
    const Index width = Index(g.channels);
    const unsigned total = tiles * unsigned(planes.extent) * unsigned(g.outer[0].extent);

    for (unsigned t = blockIdx.x; t < total; t += gridDim.x) {
        const unsigned plane = t / tiles, outer = plane / unsigned(planes.extent);
        const long long p0 = outer, p1 = plane - outer * unsigned(planes.extent);
        const Tile tile(g, axis, Index(t - plane * tiles));
        const Element* const x = source + p0 * g.outer[0].source_stride + p1 * planes.source_stride;
        Element* const y = out + p0 * g.outer[0].out_stride + p1 * planes.out_stride;

        for (Index z = depth.begin; z < depth.end; ++z) {
            const Index d_begin = CS_AXES > 2 ? axis_d.left[z] : 0, d_count = CS_AXES > 2 ? axis_d.count[z] : 1;
            for (Index r = r_begin; r < r_end; r += Index(g.rows)) {
                const Group group(axis_h, r, r_end, Index(g.rows));
                Sum carried[ROWS] = {};  // from part to part: then a tile is one pixel, and a thread has one element of it
                for (Index part = 0; part < tile.extent || part == 0; part += WINDOW) {
                    const Columns mine(g, axis, tile, part);
                    Sum column[ROWS][V] = {};
                    for (Index d = 0; d < d_count; ++d) {
                        const Element* row = moved(x, bytes(group.begin * rows.source_stride +
                                                            (CS_AXES > 2 ? (d_begin + d) * axis_d.source_stride : 0)));
                        const Weight w_d = CS_AXES > 2 ? Row(axis_d, z).weight(d) : Weight(1);
                        Vector next = {};
                        if (mine.count > 0 && group.begin < group.end) next = mine.read(row);
                        for (Index j = group.begin; j < group.end; j += CHUNK) {
                            __syncthreads();  // nobody reads the weights of the chunk before
                            group.weigh(axis_h, r, j, w_d, weights);
                            __syncthreads();
                            const Index past = mine.count > 0 ? at_most(group.end - j, CHUNK) : 0;
#pragma unroll 1
                            for (Index i = 0; i < past; ++i) {
                                const Vector v = next;  // read while the row before is summed
                                row = moved(row, bytes(rows.source_stride));
                                if (j + i + 1 < group.end) next = mine.read(row);
                                const Weights w = weights[i];
#pragma unroll
                                for (int a = 0; a < ROWS; ++a) {
                                    if (w.of[a] != w.of[a]) continue;
#pragma unroll
                                    for (int c = 0; c < V; ++c)
                                        column[a][c] = accumulate(w.of[a], widen(v.e[c]), column[a][c]);
                                }
                            }
                        }
                    }
                    __syncthreads();  // nobody reads the sums of the part before
#pragma unroll
                    for (int a = 0; a < ROWS; ++a)
#pragma unroll
                        for (int c = 0; c < V; ++c) window[a][mine.first + c * mine.step] = column[a][c];
                    __syncthreads();

                    const bool last = part + WINDOW >= tile.extent;
                    for (Index e = Index(threadIdx.x); e < tile.pixels * width; e += CS_THREADS) {
                        const Index p = quotient(e, width), channel = e - p * width;
                        if (channel >= tile.channels) continue;
                        const Row row(axis, tile.i + p);
                        // The element of the part that tap 0 reads, and the taps whose elements are in the part.
                        const Index base = tile.begin + (row.left - tile.pixel) * width + channel - part;
                        Index k = 0, past = row.count;
                        if (tile.extent > WINDOW) {
                            k = base < 0 ? (width - 1 - base) / width : 0;
                            past = at_most(past, base < WINDOW ? (WINDOW - 1 - base) / width + 1 : 0);
                        }
                        Sum sums[ROWS];
#pragma unroll
                        for (int a = 0; a < ROWS; ++a) sums[a] = part > 0 ? carried[a] : Sum(0);
                        const Weight* w = row.weights + k * row.rows;
                        const Sum* tap = &window[0][base + k * width];
#pragma unroll 2
                        for (; k < past; ++k, w += row.rows, tap += width)
#pragma unroll
                            for (int a = 0; a < ROWS; ++a) sums[a] = accumulate(*w, tap[a * WINDOW], sums[a]);
                        if (last) {
                            Element* const to = y + (CS_AXES > 2 ? z * axis_d.out_stride : 0) + r * rows.out_stride +
                                                (tile.i + p) * axis.out_stride +
                                                (tile.channel + channel) * g.inner.out_stride;
#pragma unroll
                            for (int a = 0; a < ROWS; ++a)
                                if (a < group.rows) to[a * rows.out_stride] = narrow(sums[a]);
                        } else {
#pragma unroll
                            for (int a = 0; a < ROWS; ++a) carried[a] = sums[a];
                        }
                    }
                }
            }
        }
    }
}
