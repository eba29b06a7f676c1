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
//           packed: a thread's columns are neighbours by CS_VECTOR, read as vectors; else they lie as far apart as the
//           block is wide
// TRAFFIC   reads the source rows of a group once: ((rows - 1) step + taps) / (rows step) times |source|, what the group
//           before has read from L1 or L2; writes |out|; the sums never leave the block
// CONTRACT  resample.cu's; floats and means; extents, and offsets inside a row in bytes, fit an int; means of fewer than 2^24
//           pixels; blockDim.x = CS_THREADS, lanes = CS_THREADS / splits of it side by side; rows <= CS_ROWS; channels is the
//           whole of inner, rows of the source being one stride throughout, or divides the lanes; the window of a tile of
//           several pixels fits lanes CS_COLUMNS elements
//           packed: elements of a row of the source, or `channels` of a pixel, are dense, of a multiple of CS_VECTOR elements
//           and aligned to it
// LAUNCH    x: planes times tiles, grid-stride; y and z split the groups and D into runs; any grid
// VERSIONS  instructions an output at lanczos 1/2, bicubic antialias 1/4, float32, sm_90 by NVRTC 12.9; not yet measured
//           1 groups of 4 rows, each thread loads their weights: 295, 768
//           2 weights of a group in shared memory, NaN outside of a window; addresses in bytes: 169, 404
//           3 the sums of a group's rows side by side, read at once; twice the columns a thread; no branch around a sum: 129, 319
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "taps.cuh"

constexpr int V = CS_COLUMNS, ROWS = CS_ROWS, COLUMNS = CS_THREADS * V;
constexpr int NEIGHBOURS = CS_VECTOR, VECTORS = V / NEIGHBOURS;

constexpr int CHUNK = 64;  // source rows whose weights are in shared memory

// A thread's elements of a source row: vectors of neighbours, or one by one.
constexpr int WORDS = (NEIGHBOURS * sizeof(Element) + 3) / 4;  // a lone element is never packed
struct alignas(4 * WORDS) Neighbours {
    unsigned words[WORDS];  // not elements: these would be taken apart as soon as they are read
};
struct Packed {
    Neighbours vector[VECTORS];

    __device__ Sum operator[](int c) const {
        Element e;
        memcpy(&e, (const char*)vector + c * sizeof(Element), sizeof(Element));
        return widen(e);
    }
};
struct Apart {
    Element element[V];

    __device__ Sum operator[](int c) const { return widen(element[c]); }
};

// A number for each row of a group.
template <typename T>
struct alignas(16) Rows {
    T of[ROWS];
};

// Where a column lies in shared memory: one place in nine stays empty, so that columns a power of two apart lie in
// different banks.
__device__ inline Index place(Index column) { return column + (column >> 3); }

// The weight of a row that is outside of a window. Floats skip it: a weight of zero would make NaN of infinity.
#if CS_MEAN
__device__ inline Weight outside() { return 0; }
__device__ inline bool inside(Weight) { return true; }
#else
__device__ inline Weight outside() { return Weight(nan("")); }
__device__ inline bool inside(Weight w) { return w == w; }
#endif

// Addresses are a pointer and an offset in bytes: two instructions each, where an index into a pointer takes four.
__device__ inline const Element* moved(const Element* p, long long bytes) { return (const Element*)((const char*)p + bytes); }
__device__ inline Element* moved(Element* p, long long bytes) { return (Element*)((char*)p + bytes); }
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
        begin = g.packed && all == width ? pixel * width % NEIGHBOURS : 0;
        extent = begin + (last.left + last.count - pixel) * width;
    }
};

// A thread's columns of a part of the window, which begins at element `part`, and where they lie in a source row: runs of
// neighbours, `step` columns apart.
struct Columns {
    Index first, step;
    Index from, stride;  // bytes
    Index count;         // of runs

    __device__ Columns(const Geometry& g, const Axis& axis, const Tile& tile, Index lane, Index lanes, Index part)
        : first(lane), step(lanes) {
        if (g.packed) {
            first *= NEIGHBOURS;
            step *= NEIGHBOURS;
        }
        const Index width = Index(g.channels), e = first + part - tile.begin;
        const Index unit = Index(g.inner.extent == 1 ? axis.source_stride : g.inner.source_stride);
        // Before the tile's first pixel there is another: only dense rows have a `begin`.
        const Index p = e < 0 ? 0 : quotient(e, width), channel = e - p * width;
        from = (tile.pixel + p) * Index(axis.source_stride) + (tile.channel + channel) * unit;
        from *= Index(sizeof(Element));
        // If rows have gaps, a step leads to the same channel of another pixel.
        stride = axis.source_stride == width * unit ? step * unit : quotient(step, width) * Index(axis.source_stride);
        stride *= Index(sizeof(Element));
        const Index left = at_most(tile.extent - part, lanes * V) - first;
        count = left <= 0 || channel >= tile.channels ? 0 : at_most((left - 1) / step + 1, V);
    }

    __device__ Index column(const Geometry& g, int c) const {
        return g.packed ? first + c / NEIGHBOURS * step + c % NEIGHBOURS : first + c * step;
    }

    __device__ void read(const Element* __restrict__ row, Packed& x) const {
#pragma unroll
        for (int c = 0; c < VECTORS; ++c) {
            x.vector[c] = *(const Neighbours*)row;
            row = moved(row, c + 1 < count ? stride : 0);  // beyond the window, the last one again
        }
    }
    __device__ void read(const Element* __restrict__ row, Apart& x) const {
#pragma unroll
        for (int c = 0; c < V; ++c) {
            x.element[c] = *row;
            row = moved(row, c + 1 < count ? stride : 0);  // beyond the window, the last one again
        }
    }

    // Add source rows `begin`, `begin` + `step` … of a chunk, `stride` bytes apart, to the sums of a group's rows: two rows of
    // vectors are on their way while one is added, of elements there are enough in a row.
    __device__ void add_vectors(const Element* __restrict__ row, long long stride, Index begin, Index past, Index step,
                                const Rows<Weight>* weights, Sum (&sums)[ROWS][V]) const {
        if (begin >= past || count == 0) return;
        Packed even, odd = {};
        read(row, even);
        row = moved(row, stride);
        if (begin + step < past) read(row, odd);
#pragma unroll 1
        for (Index i = begin;; i += step) {
            add(even, row, stride, i + 2 * step < past, weights[i], sums);
            if ((i += step) >= past) return;
            add(odd, row, stride, i + 2 * step < past, weights[i], sums);
            if (i + step >= past) return;
        }
    }
    __device__ void add_elements(const Element* __restrict__ row, long long stride, Index begin, Index past, Index step,
                                 const Rows<Weight>* weights, Sum (&sums)[ROWS][V]) const {
        if (count == 0) return;
#pragma unroll 1
        for (Index i = begin; i < past; i += step, row = moved(row, stride)) {
            Apart x;
            read(row, x);
            add(x, row, 0, false, weights[i], sums);
        }
    }

    // Add one row, and read the one after the next instead if there are more.
    template <typename Read>
    __device__ void add(Read& x, const Element* __restrict__& row, long long stride, bool more, const Rows<Weight>& w,
                        Sum (&sums)[ROWS][V]) const {
        constexpr int AT_ONCE = V < 4 ? V : 4;  // sums that are skipped by predicates: of more the branch would be taken
        Sum wide[V];
#pragma unroll
        for (int c = 0; c < V; ++c) wide[c] = x[c];
        row = moved(row, stride);
        if (more) read(row, x);
#pragma unroll
        for (int b = 0; b < V; b += AT_ONCE)
#pragma unroll
            for (int a = 0; a < ROWS; ++a)
                if (inside(w.of[a]))
#pragma unroll
                    for (int c = b; c < b + AT_ONCE; ++c) sums[a][c] = accumulate(w.of[a], wide[c], sums[a][c]);
    }
};

// The weights of source rows j … j + CHUNK - 1, times w_d, for rows r … r + rows - 1; in 1-D each has itself as its only tap.
__device__ inline void weigh(const Axis& axis, Index r, Index rows, Index j, Index past, Weight w_d, Rows<Weight>* weights) {
#pragma unroll 1
    for (Index e = Index(threadIdx.x); e < at_most(past - j, CHUNK) * ROWS; e += CS_THREADS) {
        const Index i = e / ROWS, a = e % ROWS;
        Weight w = outside();
        if (CS_AXES > 1 && a < rows) {
            const Row row(axis, r + a);
            const Index k = j + i - row.left;
            if (k >= 0 && k < row.count) w = w_d * row.weight(k);
        }
        if (CS_AXES == 1 && j + i == r + a) w = w_d;
        weights[i].of[a] = w;
    }
}

extern "C" __global__ void __launch_bounds__(CS_THREADS, 512 / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    __shared__ Rows<Sum> window[COLUMNS + COLUMNS / 8];
    __shared__ Rows<Weight> weights[CHUNK];
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES > 1 ? CS_AXES - 2 : 0], &axis_d = g.axis[0];
    const Batch one = {1, 0, 0}, rows_h = {axis_h.n_out, axis_h.source_stride, axis_h.out_stride};
    const Batch rows = CS_AXES > 1 ? rows_h : g.outer[1], planes = CS_AXES > 1 ? g.outer[1] : one;
    const Run height((Index(rows.extent) - 1) / Index(g.rows) + 1, gridDim.y, blockIdx.y);  // of groups
    const Index r_begin = height.begin * Index(g.rows), r_end = at_most(height.end * Index(g.rows), Index(rows.extent));
    const Run depth(CS_AXES > 2 ? Index(axis_d.n_out) : 1, gridDim.z, blockIdx.z);
    const unsigned tiles = unsigned((axis.n_out - 1) / g.pixels + 1) * unsigned((g.inner.extent - 1) / g.channels + 1);
    const Index width = Index(g.channels), splits = Index(g.splits), lanes = CS_THREADS / splits, whole = lanes * V;
    const Index split = Index(threadIdx.x) / lanes, lane = Index(threadIdx.x) - split * lanes;
    const unsigned total = tiles * unsigned(planes.extent) * unsigned(g.outer[0].extent);

    for (unsigned t = blockIdx.x; t < total; t += gridDim.x) {
        const unsigned plane = t / tiles, outer = plane / unsigned(planes.extent);
        const long long p0 = outer, p1 = plane - outer * unsigned(planes.extent);
        const Tile tile(g, axis, Index(t - plane * tiles));
        const Element* const x = source + p0 * g.outer[0].source_stride + p1 * planes.source_stride;
        Element* const y = out + p0 * g.outer[0].out_stride + p1 * planes.out_stride + tile.i * axis.out_stride +
                           tile.channel * g.inner.out_stride;
        Columns mine(g, axis, tile, lane, lanes, 0);

        for (Index z = depth.begin; z < depth.end; ++z) {
            const Index d_begin = CS_AXES > 2 ? axis_d.left[z] : 0, d_count = CS_AXES > 2 ? axis_d.count[z] : 1;
            for (Index r = r_begin; r < r_end; r += Index(g.rows)) {
                const Index group = at_most(r_end - r, Index(g.rows)), bottom = r + group - 1;
                const Index begin = CS_AXES > 1 ? axis_h.left[r] : r;
                const Index end = CS_AXES > 1 ? axis_h.left[bottom] + axis_h.count[bottom] : bottom + 1;
                Sum carried[ROWS] = {};  // from part to part: then a tile is one pixel, and a thread has one element of it
                for (Index part = 0; part < tile.extent || part == 0; part += whole) {
                    if (tile.extent > whole) mine = Columns(g, axis, tile, lane, lanes, part);
                    Sum column[ROWS][V] = {};
                    for (Index d = 0; d < d_count; ++d) {
                        const Element* row = moved(x, bytes((begin + split) * rows.source_stride +
                                                            (CS_AXES > 2 ? (d_begin + d) * axis_d.source_stride : 0)));
                        row = moved(row, mine.from);
                        const Weight w_d = CS_AXES > 2 ? Row(axis_d, z).weight(d) : Weight(1);
                        for (Index j = begin; j < end; j += CHUNK) {
                            __syncthreads();  // nobody reads the weights of the chunk before
                            weigh(axis_h, r, group, j, end, w_d, weights);
                            __syncthreads();
                            const Index past = at_most(end - j, CHUNK);
                            if (g.packed)
                                mine.add_vectors(row, bytes(splits * rows.source_stride), split, past, splits, weights, column);
                            else
                                mine.add_elements(row, bytes(splits * rows.source_stride), split, past, splits, weights, column);
                            row = moved(row, bytes(CHUNK * rows.source_stride));
                        }
                    }
                    __syncthreads();  // nobody reads the sums of the part before
#pragma unroll
                    for (int c = 0; c < V; ++c) {
                        Rows<Sum> sums;
#pragma unroll
                        for (int a = 0; a < ROWS; ++a) sums.of[a] = column[a][c];
                        window[place(split * whole + mine.column(g, c))] = sums;
                    }
                    __syncthreads();
                    if (splits > 1) {
                        for (Index c = Index(threadIdx.x); c < whole; c += CS_THREADS) {
                            Rows<Sum> sums = window[place(c)];
                            for (Index s = 1; s < splits; ++s) {
                                const Rows<Sum> more = window[place(s * whole + c)];
#pragma unroll
                                for (int a = 0; a < ROWS; ++a) sums.of[a] += more.of[a];
                            }
                            window[place(c)] = sums;
                        }
                        __syncthreads();
                    }

                    Element* const to = moved(y, bytes(r * rows.out_stride + (CS_AXES > 2 ? z * axis_d.out_stride : 0)));
                    for (Index e = Index(threadIdx.x); e < tile.pixels * width; e += CS_THREADS) {
                        const Index p = quotient(e, width), channel = e - p * width;
                        if (channel >= tile.channels) continue;
                        const Row row(axis, tile.i + p);
                        // The column that tap 0 reads, and the taps whose columns are in the part.
                        Index at = tile.begin + (row.left - tile.pixel) * width + channel - part;
                        Index k = 0, past = row.count;
                        if (tile.extent > whole) {
                            k = at < 0 ? (width - 1 - at) / width : 0;
                            past = at_most(past, at < whole ? (whole - 1 - at) / width + 1 : 0);
                            at += k * width;
                        }
                        Sum sums[ROWS];
#pragma unroll
                        for (int a = 0; a < ROWS; ++a) sums[a] = carried[a];
                        const Weight* w = row.weights + k * row.rows;
#pragma unroll 4
                        for (; k < past; ++k, w += row.rows, at += width) {
                            const Weight weight = *w;
                            const Rows<Sum> tap = window[place(at)];
#pragma unroll
                            for (int a = 0; a < ROWS; ++a) sums[a] = accumulate(weight, tap.of[a], sums[a]);
                        }
                        if (part + whole < tile.extent) {
#pragma unroll
                            for (int a = 0; a < ROWS; ++a) carried[a] = sums[a];
                            continue;
                        }
                        Element* here = moved(to, bytes(p * Index(axis.out_stride) + channel * Index(g.inner.out_stride)));
#pragma unroll
                        for (int a = 0; a < ROWS; ++a, here = moved(here, bytes(rows.out_stride)))
                            if (a < group) {
#if CS_MEAN
                                Index pixels = row.count * (CS_AXES > 1 ? axis_h.count[r + a] : 1);
                                if (CS_AXES > 2) pixels *= d_count;
                                sums[a] = mean(sums[a], Sum(pixels));
#endif
                                *here = narrow(sums[a]);
                            }
                    }
                }
            }
        }
    }
}
