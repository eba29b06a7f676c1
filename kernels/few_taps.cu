// few_taps.cu: rows of at most CS_TAPS taps (1, 2, 4 or 8): nearest, linear, cubic, and every narrow band besides.
//
// MATHS     resample.cu's, in its order: W, then H, then D; floats in 3-D W, D, H. Copies (CS_TAPS 1) move bits
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    per axis Window<taps>[n_out], in Axis::left; none for copies
// THREADS   CS_VECTOR elements of a row, and a run of rows: a thread walks down H and keeps the source rows of its window,
//           filtered along W (and D), in registers
//           packed: its elements are neighbours in memory, stored as one vector; else they lie as far apart as the row has
//           threads, so that neighbouring threads read and write neighbours
//           CS_WIDE: packed, and neighbours in `inner`, hence of one pixel, and read as one vector too
// TRAFFIC   reads a source row once a run, window - 1 rows twice; writes |out|; tables once a run, mostly from L1
// CONTRACT  resample.cu's; every row has a tap; extents, and offsets inside a row in bytes, fit an int; elements of a row
//           of out are one stride apart
//           packed: rows of out are dense, of a multiple of CS_VECTOR elements and aligned to it
//           CS_WIDE: so are the `inner` elements of a pixel, in source and out
// LAUNCH    x: planes times threads of a row, grid-stride; y and z split H and D into runs; any grid
// VERSIONS  instructions an output at bilinear 2x, bicubic 2x, gathered, sm_90 by NVRTC 12.9; not yet measured on a device
//           1 rolling rows, weights [tap][row], places outside of a window selected away: 32.0, 51.3 float32; 24.9, 54.4 float16
//           2 a row of a table in one load, addresses in bytes, stale rows cleared once: 20.6, 30.9 float32; 17.2, 33.9 float16
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#if CS_ARITHMETIC == CS_COPY
#include "pixel.cuh"
#endif

constexpr int V = CS_VECTOR;
constexpr int PIXELS = CS_WIDE ? 1 : V;  // of a thread
constexpr int TAPS_D = CS_AXES > 2 ? CS_TAPS : 1, TAPS_H = CS_AXES > 1 ? CS_TAPS : 1, TAPS_W = CS_TAPS;
#if CS_ARITHMETIC == CS_INTEGER || CS_ARITHMETIC == CS_FIXED
constexpr int HELD = TAPS_D;  // depths of a row kept apart: they round along H first
#else
constexpr int HELD = 1;
#endif

struct alignas(V * sizeof(Element)) Vector {
    Element e[V];
};

#if CS_STREAMED
template <int Bytes>
struct Word;
template <>
struct Word<1> {
    typedef unsigned char Type;
};
template <>
struct Word<2> {
    typedef unsigned short Type;
};
template <>
struct Word<4> {
    typedef unsigned Type;
};
template <>
struct Word<8> {
    typedef uint2 Type;
};
template <>
struct Word<16> {
    typedef uint4 Type;
};
#endif

// A row of an axis' matrix in the last `count` of N places, as the tables hold it; the weights before are 0. N is 1 for copies
// and for a missing axis.
template <int N>
struct alignas(16) Window {
    int left, count;
#if CS_ARITHMETIC == CS_COPY
    __device__ static Window of(const Axis& axis, Index i) { return {pixel(axis, i), 1}; }
    __device__ static Window whole(Index i) { return {i, 1}; }
    __device__ Sum sum(const Sum (&x)[N]) const { return x[0]; }
#else
    Weight w[N];

    __device__ static Window of(const Axis& axis, Index i) { return ((const Window*)axis.left)[i]; }
    __device__ static Window whole(Index i) { return {i, 1, {}}; }

    // Places before the window read its first pixel; they share its weight, for a weight of zero would make NaN of
    // infinity. Integers have none.
    __device__ void share() {
#if CS_ARITHMETIC == CS_FLOAT
#pragma unroll
        for (int k = N - 1; k > 0; --k) {
            const bool shared = k <= N - count;
            w[k] = shared ? w[k] * Weight(0.5) : w[k];
            w[k - 1] = shared ? w[k] : w[k - 1];
        }
#endif
    }

    __device__ Sum sum(const Sum (&x)[N]) const {
        if (N == 1) return x[0];
        Sum total = product(w[0], x[0]);
#pragma unroll
        for (int k = 1; k < N; ++k) total = accumulate(w[k], x[k], total);
        return total;
    }
#endif

    // The source index of place k.
    __device__ Index at(int k) const { return left + (k > N - count ? k - (N - count) : 0); }
};

// CS_STREAMED: what is written leaves the caches first, for nobody here reads it again.
__device__ inline void put(Vector* to, const Vector& y) {
#if CS_STREAMED
    typename Word<sizeof(Vector)>::Type word;
    memcpy(&word, &y, sizeof word);
    __stcs((decltype(&word))to, word);
#else
    *to = y;
#endif
}

// A thread's elements of a row: where they lie in out, and what they read of a source row.
struct Elements {
    Index first, step, past;  // numbers in the row of out
    Index stride;
    bool packed;
    Index from[PIXELS][TAPS_W];  // bytes
    int bits;
#if CS_ARITHMETIC != CS_COPY
    Weight w[PIXELS][TAPS_W];
#endif
#if CS_MEAN
    Sum pixels[PIXELS];
#endif

    __device__ Elements(const Geometry& g, const Axis& axis, Index thread, Index threads, Index elements)
        : first(thread), step(threads), past(elements), packed(CS_WIDE || g.packed), bits(axis.bits) {
        const Batch& inner = g.inner;
        stride = Index(inner.extent == 1 ? axis.out_stride : inner.out_stride);
        if (packed) {
            first = thread * V;
            step = 1;
        }
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            Index e = first + c * step;
            e = e < past ? e : past - 1;
            const Index i = inner.extent == 1 ? e : e / Index(inner.extent), channel = e - i * Index(inner.extent);
            Window<TAPS_W> window = Window<TAPS_W>::of(axis, i);
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k)
                from[c][k] = Index(sizeof(Element)) * (window.at(k) * Index(axis.source_stride) + channel * Index(inner.source_stride));
#if CS_ARITHMETIC != CS_COPY
            window.share();
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k) w[c][k] = window.w[k];
#endif
#if CS_MEAN
            pixels[c] = window.count;
#endif
        }
    }

    // A source row, filtered along W.
    __device__ void filter(const Element* __restrict__ row, Sum (&sums)[V]) const {
        Vector x[TAPS_W];
#pragma unroll
        for (int k = 0; k < TAPS_W; ++k) {
#if CS_WIDE
            x[k] = *(const Vector*)moved(row, from[0][k]);
#else
#pragma unroll
            for (int c = 0; c < V; ++c) x[k].e[c] = *moved(row, from[c][k]);
#endif
        }
#pragma unroll
        for (int c = 0; c < V; ++c) {
            sums[c] = widen(x[0].e[c]);
#if CS_ARITHMETIC != CS_COPY
            const Weight(&weight)[TAPS_W] = w[CS_WIDE ? 0 : c];
            sums[c] = product(weight[0], sums[c]);
#pragma unroll
            for (int k = 1; k < TAPS_W; ++k) sums[c] = accumulate(weight[k], widen(x[k].e[c]), sums[c]);
            sums[c] = finish(sums[c], bits);
#endif
        }
    }

    // A source row at each depth of the window, filtered along W; floats along D too.
    __device__ void read(const Element* __restrict__ row, const long long (&depths)[TAPS_D], const Window<TAPS_D>& window,
                         Sum (&sums)[HELD][V]) const {
        Sum filtered[TAPS_D][V];
#pragma unroll
        for (int d = 0; d < TAPS_D; ++d) filter(moved(row, depths[d]), filtered[d]);
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum column[TAPS_D];
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) column[d] = filtered[d][c];
#pragma unroll
            for (int d = 0; d < HELD; ++d) sums[d][c] = HELD < TAPS_D ? window.sum(column) : column[d];
        }
    }

    __device__ void store(Element* __restrict__ row, const Sum (&sums)[V]) const {
        Vector y;
#pragma unroll
        for (int c = 0; c < V; ++c) y.e[c] = narrow(sums[c]);
        if (packed) {
            put((Vector*)(row + first), y);
            return;
        }
#pragma unroll
        for (int c = 0; c < V; ++c)
            if (first + c * step < past) row[(first + c * step) * stride] = y.e[c];
    }
};

extern "C" __global__ void __launch_bounds__(256, CS_AXES > 2 ? 1 : 2)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES > 1 ? CS_AXES - 2 : 0], &axis_d = g.axis[0];
    const Batch one = {1, 0, 0}, rows_h = {axis_h.n_out, axis_h.source_stride, axis_h.out_stride};
    const Batch rows = CS_AXES > 1 ? rows_h : g.outer[1], planes = CS_AXES > 1 ? g.outer[1] : one;
    const Run height(Index(rows.extent), gridDim.y, blockIdx.y);
    const Run depth(CS_AXES > 2 ? Index(axis_d.n_out) : 1, gridDim.z, blockIdx.z);
    const Index elements = Index(axis.n_out) * Index(g.inner.extent), threads = (elements + V - 1) / V;
    const unsigned total = unsigned(threads) * unsigned(planes.extent) * unsigned(g.outer[0].extent);

    for (unsigned t = blockIdx.x * blockDim.x + threadIdx.x; t < total; t += gridDim.x * blockDim.x) {
        const unsigned plane = t / unsigned(threads), outer = plane / unsigned(planes.extent);
        const long long p0 = outer, p1 = plane - outer * unsigned(planes.extent);
        const Elements mine(g, axis, Index(t - plane * unsigned(threads)), threads, elements);
        const Element* const x = source + p0 * g.outer[0].source_stride + p1 * planes.source_stride;
        Element* const y = out + p0 * g.outer[0].out_stride + p1 * planes.out_stride;

        for (Index z = depth.begin; z < depth.end; ++z) {
            auto window_d = CS_AXES > 2 ? Window<TAPS_D>::of(axis_d, z) : Window<TAPS_D>::whole(0);
            long long depths[TAPS_D];  // bytes
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) depths[d] = CS_AXES > 2 ? bytes(window_d.at(d) * axis_d.source_stride) : 0;
#if CS_ARITHMETIC != CS_COPY
            window_d.share();
#endif
            Sum held[TAPS_H][HELD][V] = {};  // the newest source rows, filtered
            Index newest = -1;
            const Element* from = moved(x, -bytes(rows.source_stride));  // row `newest`
            Element* to = moved(y, bytes(height.begin * rows.out_stride + (CS_AXES > 2 ? z * axis_d.out_stride : 0)));
            for (Index r = height.begin; r < height.end; ++r, to = moved(to, bytes(rows.out_stride))) {
                const auto window_h = CS_AXES > 1 ? Window<TAPS_H>::of(axis_h, r) : Window<TAPS_H>::whole(r);
                if (newest < window_h.left - 1) {  // no window has the rows between
                    from = moved(from, bytes((window_h.left - 1 - newest) * rows.source_stride));
                    newest = window_h.left - 1;
                }
#pragma unroll 1
                for (; newest < window_h.left + window_h.count - 1; ++newest) {
#pragma unroll
                    for (int k = 0; k + 1 < TAPS_H; ++k)
#pragma unroll
                        for (int d = 0; d < HELD; ++d)
#pragma unroll
                            for (int c = 0; c < V; ++c) held[k][d][c] = held[k + 1][d][c];
                    from = moved(from, bytes(rows.source_stride));
                    mine.read(from, depths, window_d, held[TAPS_H - 1]);
                }
                if (window_h.count < TAPS_H)  // rows above the window, which no later one has, may be infinite
#pragma unroll
                    for (int k = 0; k + 1 < TAPS_H; ++k)
#pragma unroll
                        for (int d = 0; d < HELD; ++d)
#pragma unroll
                            for (int c = 0; c < V; ++c) held[k][d][c] = k < TAPS_H - window_h.count ? Sum{} : held[k][d][c];
                Sum sums[V];
#pragma unroll
                for (int c = 0; c < V; ++c) {
                    Sum column[TAPS_D];
#pragma unroll
                    for (int d = 0; d < HELD; ++d) {
                        Sum row[TAPS_H];
#pragma unroll
                        for (int k = 0; k < TAPS_H; ++k) row[k] = held[k][d][c];
                        column[d] = CS_AXES > 1 ? finish(window_h.sum(row), axis_h.bits) : row[0];
                    }
                    sums[c] = HELD > 1 ? finish(window_d.sum(column), axis_d.bits) : column[0];
#if CS_MEAN
                    sums[c] = mean(sums[c], mine.pixels[CS_WIDE ? 0 : c] * window_h.count * window_d.count);
#endif
                }
                mine.store(to, sums);
            }
        }
    }
}
