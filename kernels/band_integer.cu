// band_integer.cu: rows of any number of taps, of integers: axis by axis as resample.cu does, because each axis rounds.
//
// MATHS     resample.cu's of integers, in its order: W, then H, then D
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    as resample.cu; along W of uint8 Pairs[words][n_out]: the weights of four pixels each, the first of which is left
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

constexpr int P = CS_ELEMENTS, AT_ONCE = 4;  // source rows

#if CS_ARITHMETIC == CS_FIXED

// uint8: rows of bytes, the pixels of a channel side by side. Weights are pairs of 16 bits, four to a word of pixels, so that
// one instruction adds two products. Behind a row each thread has a byte for columns that are not the tile's.
constexpr int ROW_BYTES = COLUMNS + 8 * 64, ROW_WORDS = (ROW_BYTES + CS_THREADS) / 4;

struct Window {
    unsigned words[AT_ONCE][ROW_WORDS];
};

// Where a thread's columns lie in a row of the window: a pixel's place is congruent to it modulo 4.
static_assert(VECTORS == 1, "a thread's columns are equally far apart");
struct Places {
    unsigned pairs[(V + 1) / 2];

    // Whether the bytes of a row lie in the window as they do in memory.
    __device__ static bool in_order(const Geometry& g) { return is_packed(g) && g.channels == 1; }
    __device__ static Index first(const Geometry& g, const Tile& tile) {
        return in_order(g) ? tile.begin : tile.pixel & 3;
    }
    __device__ static Index pitch(const Geometry& g, const Tile& tile) {
        return g.channels == 1 ? 0 : ((tile.extent - tile.begin) / Index(g.channels) + 3 + 7) & ~3;
    }

    __device__ void set(const Geometry& g, const Tile& tile, const Columns& mine) {
        const Index width = Index(g.channels), step = is_packed(g) ? 1 : mine.step;
        const Index pixels = quotient(step, width), channels = step - pixels * width;
        Index e = mine.first - tile.begin, p = quotient(e + V * width, width) - V, channel = e - p * width;  // e may be < 0
#pragma unroll
        for (int c = 0; c < V; ++c) {
            unsigned place = unsigned(channel * pitch(g, tile) + first(g, tile) + p);
            if (!in_order(g) && (e < 0 || e >= tile.extent - tile.begin)) place = ROW_BYTES + threadIdx.x;
            pairs[c / 2] = c % 2 ? pairs[c / 2] | place << 16 : place;
            e += step;
            p += pixels;
            channel += channels;
            if (channel >= width) {
                channel -= width;
                ++p;
            }
        }
    }

    template <typename Read>
    __device__ void write(const Geometry& g, const Columns&, int j, const Read& x, Window& window) const {
        if (write_words(g, x, window.words[j] + (pairs[0] & 0xffff) / 4)) return;
#pragma unroll
        for (int c = 0; c < V; ++c) ((Element*)window.words[j])[pairs[c / 2] >> (c % 2 ? 16 : 0) & 0xffff] = x[c];
    }

    __device__ bool write_words(const Geometry&, const Apart&, unsigned*) const { return false; }
    __device__ bool write_words(const Geometry& g, const Packed& x, unsigned* to) const {
        if (!in_order(g)) return false;
#pragma unroll
        for (int w = 0; w < WORDS; ++w) to[w] = x.vector[0].words[w];
        return true;
    }
};

// An element of the tile: the first word of its window, and how many there are.
struct Output {
    Index i, at, count;

    __device__ void set(const Geometry& g, const Axis& axis, const Tile& tile, Index e) {
        const Index width = Index(g.channels), p = quotient(e, width), channel = e - p * width;
        i = at = count = 0;  // of nobody's
        if (p >= tile.pixels || channel >= tile.channels) return;
        i = tile.i + p;
        const Index left = axis.left[i];
        at = (channel * Places::pitch(g, tile) + Places::first(g, tile) + left - tile.pixel) / 4;
        count = ((left & 3) + axis.count[i] + 3) / 4;
    }

    __device__ bool exists() const { return count > 0; }

    struct alignas(8) Pairs {
        int low, high;
    };
    __device__ Pairs pairs(const Axis& axis, Index k) const { return ((const Pairs*)axis.weight)[i + k * Index(axis.n_out)]; }

    __device__ void filter(const Axis& axis, Index, Index, bool, const Window& window, Sum (&sums)[AT_ONCE]) const {
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) sums[j] = 0;
#pragma unroll 2
        for (Index k = 0; k < count; ++k) {
            const Pairs w = pairs(axis, k);
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) {
                const unsigned x = window.words[j][at + k];
                sums[j] = add_pair<true>(w.high, x, add_pair<false>(w.low, x, sums[j]));
            }
        }
    }
};

#else

// A column of the rows, read at once.
struct alignas(AT_ONCE * sizeof(Element)) Column {
    Element row[AT_ONCE];
};

// One place in every 128 bytes stays empty, so that columns a power of two apart lie in different banks.
constexpr int LINE = 128 / sizeof(Column);
__device__ inline Index place(Index column) { return column + unsigned(column) / LINE; }

struct Window {
    Column columns[COLUMNS + COLUMNS / LINE];
};

struct Places {
    __device__ void set(const Geometry&, const Tile&, const Columns&) {}

    template <typename Read>
    __device__ void write(const Geometry& g, const Columns& mine, int j, const Read& x, Window& window) const {
#pragma unroll
        for (int c = 0; c < V; ++c) window.columns[place(mine.column(g, c))].row[j] = x[c];
    }
};

// An element of the tile: the column that tap 0 reads, and how many taps there are.
struct Output {
    Index i, at, count;

    __device__ void set(const Geometry& g, const Axis& axis, const Tile& tile, Index e) {
        const Index width = Index(g.channels), p = quotient(e, width), channel = e - p * width;
        i = at = count = 0;  // of nobody's
        if (p >= tile.pixels || channel >= tile.channels) return;
        i = tile.i + p;
        const Row row(axis, i);
        at = tile.begin + (row.left - tile.pixel) * width + channel;
        count = row.count;
    }

    __device__ bool exists() const { return count > 0; }

    // Add the taps whose columns are in the part of the window.
    __device__ void filter(const Axis& axis, Index width, Index part, bool whole, const Window& window,
                           Sum (&sums)[AT_ONCE]) const {
        Index column = at - part, k = 0, past = count;
        if (!whole) {
            k = column < 0 ? (width - 1 - column) / width : 0;
            past = at_most(past, column < COLUMNS ? (COLUMNS - 1 - column) / width + 1 : 0);
            column += k * width;
        }
        const Weight* w = (const Weight*)axis.weight + i + k * Index(axis.n_out);
#pragma unroll 2
        for (; k < past; ++k, w += Index(axis.n_out), column += width) {
            const Weight weight = *w;
            const Column tap = window.columns[place(column)];
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) sums[j] = accumulate(weight, widen(tap.row[j]), sums[j]);
        }
    }
};

#endif

// A thread's columns of the source rows taken at once; those beyond the last are the last again. Vectors are read ahead; of
// elements, which take a register each, one row is held at a time.
template <typename Read>
struct Source;

template <>
struct Source<Packed> {
    Packed x[AT_ONCE];

    __device__ void ahead(const Columns& mine, const Element* __restrict__ row, long long stride, Index rows) {
        if (mine.count == 0) return;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            mine.read(row, x[j]);
            row = moved(row, j + 1 < rows ? stride : 0);
        }
    }
    __device__ void write(const Geometry& g, const Columns& mine, const Element*, long long, Index, const Places& places,
                          Window& window) const {
        if (mine.count == 0) return;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) places.write(g, mine, j, x[j], window);
    }
};

template <>
struct Source<Apart> {
    __device__ void ahead(const Columns&, const Element*, long long, Index) {}
    __device__ void write(const Geometry& g, const Columns& mine, const Element* __restrict__ row, long long stride, Index rows,
                          const Places& places, Window& window) const {
        if (mine.count == 0) return;
#pragma unroll 1
        for (int j = 0; j < AT_ONCE; ++j) {
            Apart x;
            mine.read(row, x);
            places.write(g, mine, j, x, window);
            row = moved(row, j + 1 < rows ? stride : 0);
        }
    }
};

template <typename Read>
__device__ inline void resample(const Element* __restrict__ source, Element* __restrict__ out, const Geometry& g,
                                Window& window, Rows<Weight>* weights) {
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES > 1 ? CS_AXES - 2 : 0], &axis_d = g.axis[0];
    const Walk walk(g);
    const Index width = Index(g.channels);

    for (unsigned t = blockIdx.x; t < walk.total; t += gridDim.x) {
        const Tile tile(g, axis, walk, t);
        const bool whole = CS_ARITHMETIC == CS_FIXED || tile.extent <= COLUMNS;
        Columns mine(g, axis, tile, Index(threadIdx.x), CS_THREADS, 0);
        Places places;
        places.set(g, tile, mine);
        Output outputs[P];
#pragma unroll
        for (int p = 0; p < P; ++p) outputs[p].set(g, axis, tile, Index(threadIdx.x) + p * CS_THREADS);

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
                            for (int p = 0; p < P; ++p) outputs[p].filter(axis, width, part, whole, window, sums[p]);
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
                    const Index e = Index(threadIdx.x) + p * CS_THREADS, pixel = quotient(e, width);
                    const Index channel = e - pixel * width;
                    Element* here = moved(to, bytes(pixel * Index(axis.out_stride) + channel * Index(g.inner.out_stride)));
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
    __shared__ Window window;
    __shared__ Rows<Weight> weights[CHUNK];
#if CS_PACKED
    resample<Packed>(source, out, g, window, weights);
#else
    resample<Apart>(source, out, g, window, weights);
#endif
}
