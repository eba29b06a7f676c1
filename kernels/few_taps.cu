// few_taps.cu: rows of at most CS_TAPS taps (1, 2, 4 or 8): nearest, linear, cubic, and every narrow band besides.
//
// MATHS     resample.cu's, in its order: W, then H, then D; floats in 3-D W, D, H. Copies (CS_TAPS 1) move bits
// SHAPES    as resample.cu; a row is the last axis with `inner`, H the axis before it (in 1-D: outer[1]), D the first of three
// TABLES    of H and D Window<taps>[n_out], of W Neighbours<taps>[n_out], in Axis::left; none for copies. Fixed point: pairs of
//           weights, but of W where single bytes are read
// THREADS   CS_VECTOR elements of a row, and a run of rows: a thread walks down H and keeps the source rows of its window,
//           filtered along W (and D), in registers; of fixed point as bytes, four to a register
//           A window along W is read as CS_TAPS neighbouring pixels, one address and constant offsets if CS_PITCH says how far
//           apart they are; those outside of it weigh 0. Where one of these is infinite, and only there, a sum is no number:
//           it is made again of the window alone
//           packed: its elements are neighbours in memory, stored as one vector; else they lie as far apart as the row has
//           threads, so that neighbouring threads read and write neighbours
//           CS_WIDE: packed, and neighbours in `inner`, hence of one pixel, and read as one vector too
//           CS_SLOT: packed, and its windows lie in a few units of a row that it copies to shared memory, STAGES rows before
//           they are filtered; what a copy of its own brings, a thread reads without a barrier
//           CS_GROWTH: so, and the windows of its elements lie alike in every thread: it reads each unit once, and each pixel
//           of it where that is known when it is compiled; CS_SHRINK: pixels of the source for each CS_GROWTH of out
//           CS_WINDOWS: so, but its pixels may lie anyhow: it reads the words of each window by themselves, for all channels
//           CS_DEPTHS 2: so many depths of out, the last of which is even, share their window and are made at once
//           blockDim.z: depths, or as many at once, that are side by side in a block, whose L1 then has the planes they share
// TRAFFIC   reads a source row once a run, window - 1 rows twice, and in a block once for all depths side by side; writes |out|;
//           tables once a run, mostly from L1
// CONTRACT  resample.cu's; every row has a tap; extents, offsets inside a row in bytes and from row to row of the source fit an
//           int; elements of a row of out are one stride apart; the source has CS_TAPS pixels along W, or one
//           packed: rows of out are dense, of a multiple of CS_VECTOR elements and aligned to it
//           CS_WIDE: so are the `inner` elements of a pixel, in source and out
//           CS_PITCH: pixels of the source are so many elements apart along W; 0: any number
//           CS_SLOT: rows of the source are dense, of a multiple of CS_UNIT bytes and aligned to it; the windows of V neighbours
//           lie in CS_SLOT units; no row lies between two windows; CS_THREADS in a block
//           CS_WINDOWS: fixed point; `inner` is CS_PITCH, which divides V; CS_SLOT units hold windows with the word behind
//           CS_GROWTH: divides V CS_SHRINK; `inner` is 1; the window of pixel i lies in CS_TAPS pixels from begin_of(i), the
//           table's `left`
//           CS_DEPTHS 2: of floats in 3-D; depths 2z - 1 and 2z have the same window
// LAUNCH    x: planes times threads of a row, grid-stride; y and z split H and D into runs; any grid
// VERSIONS  instructions an output at bilinear 2x, bicubic 2x, gathered, sm_90 by NVRTC 12.9
//           1 rolling rows, weights [tap][row], places outside of a window selected away: 32.0, 51.3 float32; 24.9, 54.4 float16
//           2 a row of a table in one load, addresses in bytes, stale rows cleared once: 20.6, 30.9 float32; 17.2, 33.9 float16;
//             uint8 21.4, 35.0
//           3 one address for a window, a select for none of its taps; twice the elements a thread and twice the rows a run;
//             fixed point by two products an instruction along H: 17.0, 23.5 float32; 14.9, 21.9 float16; 14.7, 21.3 uint8;
//             with the rows that runs read twice, which the counts before leave out
//             share of a copy's bandwidth at (16,64,256,256), H100, 2026-11-27: 84, 60 % float32; 64, 50 % float16; 46, 29 %
//             uint8; a third of what it can issue, its warps waiting for each row of the source
//           4 rows on their way to shared memory, blocks of 128 threads, large results stored as what caches need not keep:
//             90, 79 % float32; 87, 59 % float16; 58, 35 % uint8
//           5 growth: a slot read by words, once, and no pixel widened twice; bytes of a window multiplied as they lie, two
//             products an instruction, and saturated two at a time; runs so long that they fill the device evenly: 19.2, 22.7
//             float32, 13.8, 17.8 float16, 7.8, 12.5 uint8; 90, 84 % float32, 88, 76 % float16, 79, 68 % uint8
//           6 antialias 1/2 of uint8: words of a thread copied once and not for each window, packed results, all channels of a
//             pixel by its weights; means divided by floats. Instructions before and after: bilinear 33, 28 contiguous, 44, 28
//             channels_last (174, 205 us measured before), bicubic 73, 46 (358 us), area 59, 40 (176 us); not yet measured
//           7 as 5 where a row has half the pixels of its source, in larger units, which L1 has for the next thread; not yet
//             measured: _tuning.py, SHRUNK_TAPS
//           8 pixels of the nearest modes by doubles only on long axes, a run's length without signs: nearest 2x 20.2 -> 17.4
//             float32, 9.7 -> 8.6 float16; before the first row of a thread 225 -> 206 (nearest), 243 -> 236 (bilinear), and no
//             doubles waited for; not yet measured
//           9 what is copied ahead is stored as vectors, which is now known when it is compiled: bilinear, bicubic 2x 16.7, 20.0
//             float32, 11.4, 15.1 float16, 7.4, 11.1 uint8; nearest 17.5, 7.7, 5.1. CS_DEPTHS: _tuning.py, TWO_DEPTHS; not yet
//             measured
//           10 depths side by side, and an end of D that has one depth for two makes it twice: volume float32 15.7 -> 14.8, float16
//             12.8 -> 12.0; sectors of a block at trilinear 2x 1.12 -> 1.06 of the minimum; not yet measured
//           11 divisions by what a launch knows are products, and H's table is asked before W's: 16.1, 19.5 float32, 11.7, 14.9
//             float16, 7.0, 10.9 uint8; before the first row of a thread nothing of a division is waited for, and answers of two
//             tables one after the other are not: 227 -> 180 instructions to a first store (nearest), 277 -> 212 (bilinear);
//             94 -> 80 registers of bilinear float16; not yet measured
//           Not taken: weights of W of 16 bits, from which NVRTC makes two products an instruction by itself, but puts the
//           pairs together for every row: 16.5, 23.9 uint8. The next row in registers while rows of out are computed: no
//           gain, for NVRTC has the loop wait for all loads at its end, and spills
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "arithmetic.cuh"
#include "ahead.cuh"
#if CS_ARITHMETIC == CS_COPY
#include "pixel.cuh"
#endif

constexpr int V = CS_VECTOR;
constexpr int CHANNELS = CS_WINDOWS ? CS_PITCH : 1;  // neighbours that share a window
constexpr int PIXELS = CS_WIDE ? 1 : V / CHANNELS;  // of a thread
constexpr int TAPS_D = CS_AXES > 2 ? CS_TAPS : 1, TAPS_H = CS_AXES > 1 ? CS_TAPS : 1, TAPS_W = CS_TAPS;
// Sums of a row that are kept: of every plane of the window, which round along H first; else of every depth of out.
#if CS_ARITHMETIC == CS_INTEGER || CS_ARITHMETIC == CS_FIXED
constexpr int HELD = TAPS_D;
#else
constexpr int HELD = CS_DEPTHS;
#endif

constexpr int BYTES = V * sizeof(Element), STORED = BYTES & -BYTES;  // at once
struct alignas(STORED) Vector {
    Element e[V];
};

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

#if CS_SLOT
constexpr int STAGES = CS_STAGES;
typedef Word<CS_UNIT>::Type Unit;
// Units of a thread: from one to the next, of a depth, and of a stage of the block. Neighbouring threads' are in different banks.
constexpr bool ASIDE = CS_GROWTH || CS_WINDOWS;  // whose units are read by the address alone
constexpr int APART = ASIDE ? CS_THREADS : 1, OF_DEPTH = CS_SLOT * APART, OF_STAGE = CS_SLOT * TAPS_D * CS_THREADS;
#endif
#if CS_GROWTH
// Where windows begin along W: pixels of the source, some of them before the first; and in the first unit that has a part of one.
constexpr int AHEAD = CS_TAPS > 1 ? CS_GROWTH / 2 : 0, BEHIND = (CS_SHRINK > 1 ? CS_TAPS - CS_SHRINK : CS_TAPS) / 2;
__device__ constexpr Index advance_of(Index i) { return (i * CS_SHRINK + AHEAD) / CS_GROWTH; }
__device__ constexpr Index begin_of(Index i) { return advance_of(i) - BEHIND; }
constexpr int PIXELS_READ = advance_of(V - 1) + CS_TAPS;
constexpr int FIRST_READ = (CS_UNIT - BEHIND * int(sizeof(Element)) % CS_UNIT) % CS_UNIT / int(sizeof(Element));
typedef Unit Read;
#elif CS_WINDOWS
constexpr int WORDS = (CS_TAPS * CHANNELS + 6) / 4;  // that have a part of a window
typedef Unit Read;
#else
typedef Element Read;
#endif

// A sum of N products; N is 1 for copies and for a missing axis, which have no weights.
template <int N>
struct Weights;
template <>
struct Weights<1> {
    __device__ Sum sum(const Sum (&x)[1], int) const { return x[0]; }
};
#if CS_ARITHMETIC == CS_COPY
#define ALONG_W Weights
#define ROLLING Weights
#else
template <int N>
struct Weights {
    Weight of[N];

    __device__ Sum sum(const Sum (&x)[N], int bits) const {
        Sum total = opening(of[0], x[0], bits);
#pragma unroll
        for (int k = 1; k < N; ++k) total = accumulate(of[k], x[k], total);
        return closing(total, bits);
    }
};

#if CS_ARITHMETIC == CS_FIXED
// Weights of 16 bits, of which one instruction multiplies two by bytes that lie side by side.
template <int N>
struct Pairs {
    int of[(N + 1) / 2];

    // The sum of products with the N bytes from `first`, rounded.
    __device__ Sum sum(const unsigned* words, int first, int bits) const {
        Sum total = 1 << bits >> 1;
        words += first / 4;
        const int odd = first % 2 ? first % 4 : 0;
#pragma unroll
        for (int k = 0; k < N; k += 2) {
            const int byte = odd ? k : first % 4 + k;
            const unsigned word = odd ? __byte_perm(words[k / 4], words[k / 4 + 1], 0x3210 + 0x1111 * odd) : words[byte / 4];
            total = byte % 4 ? add_pair<true>(of[k / 2], word, total) : add_pair<false>(of[k / 2], word, total);
        }
        return closing(total, bits);
    }
};
#define ROLLING Pairs
#else
#define ROLLING Weights
#endif
#if CS_ARITHMETIC == CS_FIXED && (CS_GROWTH || CS_WINDOWS)
#define ALONG_W Pairs
#else
#define ALONG_W Weights
#endif

// A row of the matrix of W in N neighbouring pixels, of which those with a bit in `inside` are its window; the others weigh 0.
// Bit N: so is the pixel behind them, with weight 0: the second, where a coordinate was clamped to the first.
template <int N>
struct alignas(16) Neighbours {
    int left, inside;
    ALONG_W<N> w;

    __device__ static const Neighbours& of(const Axis& axis, Index i) { return ((const Neighbours*)axis.left)[i]; }
};
constexpr int PLACES = (1 << TAPS_W) - 1;
#endif

// A row of the matrix of H or D in the last `count` of N places, as the tables hold it; the weights before are 0.
template <int N>
struct alignas(16) Window {
    int left, count;
    ROLLING<N> w;

    __device__ static Window whole(Index i) { return {i, 1, {}}; }
#if CS_ARITHMETIC == CS_COPY
    __device__ static Window of(const Axis& axis, Index i) { return {pixel(axis, i), 1, {}}; }
#else
    __device__ static Window of(const Axis& axis, Index i) { return ((const Window*)axis.left)[i]; }
#endif

#if CS_ARITHMETIC == CS_FLOAT
    // Places before the window read its first pixel; they share its weight, for a weight of zero would make NaN of
    // infinity.
    __device__ void share() {
#pragma unroll
        for (int k = N - 1; k > 0; --k) {
            const bool shared = k <= N - count;
            w.of[k] = shared ? w.of[k] * Weight(0.5) : w.of[k];
            w.of[k - 1] = shared ? w.of[k] : w.of[k - 1];
        }
    }
#endif

    // The source index of place k.
    __device__ Index at(int k) const { return left + (k > N - count ? k - (N - count) : 0); }
};

// The newest N rows of a column, filtered along W.
template <int N>
struct Column {
#if CS_ARITHMETIC == CS_FIXED
    // Bytes, of which the last N count.
    static constexpr int WORDS = (N + 3) / 4, FIRST = 4 * WORDS - N;
    unsigned words[WORDS];

    __device__ void push(Sum x) { push(saturated(x, x, 0), 0x4321); }
    // Two columns: what is saturated in one instruction.
    __device__ static void push(Column& a, Column& b, Sum x, Sum y) {
        const unsigned bytes = saturated(x, y, 0);
        a.push(bytes, 0x4321);
        b.push(bytes, 0x5321);
    }
    __device__ void push(unsigned bytes, int chosen) {
#pragma unroll
        for (int i = 0; i < WORDS; ++i)
            words[i] = i + 1 < WORDS ? __byte_perm(words[i], words[i + 1], 0x4321) : __byte_perm(words[i], bytes, chosen);
    }
    __device__ void forget(int) {}

    __device__ Sum sum(const Window<N>& window, int bits) const {
        return N == 1 ? Sum(words[0] >> 24) : window.w.sum(words, FIRST, bits);
    }
#else
    Sum rows[N];

    __device__ void push(Sum x) {
#pragma unroll
        for (int k = 0; k + 1 < N; ++k) rows[k] = rows[k + 1];
        rows[N - 1] = x;
    }
    // The rows above the window, which no later one has, may be infinite.
    __device__ void forget(int above) {
#if CS_ARITHMETIC == CS_FLOAT
#pragma unroll
        for (int k = 0; k + 1 < N; ++k) rows[k] = k < above ? Sum{} : rows[k];
#else
        (void)above;
#endif
    }

    __device__ Sum sum(const Window<N>& window, int bits) const { return window.w.sum(rows, bits); }
#endif
};

template <int N>
__device__ void push(Column<N> (&columns)[V], const Sum (&x)[V]) {
#if CS_ARITHMETIC == CS_FIXED
#pragma unroll
    for (int c = 0; c < V; c += 2) Column<N>::push(columns[c], columns[c + 1], x[c], x[c + 1]);
#else
#pragma unroll
    for (int c = 0; c < V; ++c) columns[c].push(x[c]);
#endif
}

__device__ inline Vector packed_together(const Sum (&x)[V]) {
    Vector y;
#if CS_ARITHMETIC == CS_FIXED
    unsigned words[V / 4];
#pragma unroll
    for (int i = 0; i < V / 4; ++i) words[i] = saturated(x[4 * i], x[4 * i + 1], saturated(x[4 * i + 2], x[4 * i + 3], 0));
    memcpy(&y, words, sizeof y);
#elif CS_TYPE == CS_UINT8
    unsigned words[V / 4];  // by permutations of bytes, half as many as shifts and unions
#pragma unroll
    for (int i = 0; i < V / 4; ++i) {
        const unsigned low = __byte_perm(unsigned(x[4 * i]), unsigned(x[4 * i + 1]), 0x0040);
        words[i] = __byte_perm(low, __byte_perm(unsigned(x[4 * i + 2]), unsigned(x[4 * i + 3]), 0x0040), 0x5410);
    }
    memcpy(&y, words, sizeof y);
#else
#pragma unroll
    for (int c = 0; c < V; ++c) y.e[c] = narrow(x[c]);
#endif
    return y;
}

// A column along D.
template <int N>
__device__ Sum sum_of(const Sum (&depths)[N], const Window<N>& window, int bits) {
    Column<N> column = {};
#pragma unroll
    for (int d = 0; d < N; ++d) column.push(depths[d]);
    return column.sum(window, bits);
}

// streamed: what is written leaves the caches first, for they hold too little of it for whoever reads it.
__device__ inline void put(Vector* to, const Vector& y, bool streamed) {
    if (streamed) {
        typename Word<STORED>::Type words[BYTES / STORED];
        memcpy(words, &y, sizeof words);
#pragma unroll
        for (int i = 0; i < BYTES / STORED; ++i) __stcs((decltype(&words[0]))to + i, words[i]);
    } else {
        *to = y;
    }
}

// A thread's elements of a row: where they lie in out, and what they read of a source row.
struct Elements {
    const Geometry& g;
    const Axis& axis;
    Index first, step;        // numbers in the row of out
    bool packed, cut, hangs;  // cut: some window has fewer taps than places; hangs: the first ones have the pixel behind them
    Index out, apart;         // bytes: the first, and from one to the next
    Index begin, pitch;       // bytes in a source row: of the first pixel of all, and from pixel to pixel
    unsigned from[PIXELS];    // bytes behind it: of the first pixel of each window; CS_WINDOWS: behind a slot, its first word
    unsigned chosen[PIXELS];  // CS_WINDOWS: of two words, the four bytes from the first of the window
    unsigned copied;          // CS_SLOT: units from `begin` that have a part of a window; CS_GROWTH: a bit for each in the row
    ALONG_W<TAPS_W> w[PIXELS];

    __device__ Elements(const Geometry& geometry, const Axis& along, Index thread)
        : g(geometry), axis(along), first(thread), step(Index(g.parts)), packed(CS_WIDE || CS_SLOT || g.packed), cut(false),
          hangs(false) {
        if (packed) {
            first = thread * V;
            step = 1;
        }
        const Index stride = Index(g.inner.extent == 1 ? axis.out_stride : g.inner.out_stride) * Index(sizeof(Element));
        out = first * stride;
        apart = step * stride;
        pitch = Index(sizeof(Element)) * (CS_PITCH ? CS_PITCH : axis.n_in > 1 ? Index(axis.source_stride) : 0);
        Index at[PIXELS];
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            Index channel;
            const Index i = pixel_of(c * CHANNELS, channel);
#if CS_ARITHMETIC == CS_COPY
            const Index left = CS_GROWTH ? 0 : pixel(axis, i);
#else
            const Neighbours<TAPS_W> window = Neighbours<TAPS_W>::of(axis, i);
            const Index left = window.left;
            cut |= (window.inside & PLACES) != PLACES;
            if (c == 0) hangs = window.inside >> TAPS_W & 1;
            w[c] = window.w;
#endif
            at[c] = left * pitch + channel * Index(g.inner.source_stride) * Index(sizeof(Element));
            begin = c == 0 || at[c] < begin ? at[c] : begin;
        }
#if CS_GROWTH
        begin = (begin_of(first) - FIRST_READ) * Index(sizeof(Element));
        copied = 0;
#pragma unroll
        for (int i = 0; i < CS_SLOT; ++i) {
            const Index unit = begin + i * CS_UNIT;
            copied |= unsigned(unit >= 0 && unit < Index(axis.n_in) * Index(sizeof(Element))) << i;
        }
#else
        if (CS_SLOT) begin &= ~3;
        Index last = 0;
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            from[c] = unsigned(at[c] - begin);
            last = Index(from[c]) > last ? Index(from[c]) : last;
        }
        copied = unsigned(last + (TAPS_W - 1) * pitch + CHANNELS * Index(sizeof(Element)) + 3) / 4;
#endif
#if CS_WINDOWS
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            chosen[c] = 0x3210 + 0x1111 * (from[c] & 3);
            from[c] = from[c] / 4 * APART * CS_UNIT;
        }
#endif
    }

    // The pixel of element c along W, and its place in `inner`; beyond the row, another of its last pixel.
    __device__ Index pixel_of(Index c, Index& channel) const {
        const Index e = first + c * step, i = CS_GROWTH ? e : e / g.inner.extent;
        channel = CS_GROWTH ? 0 : e - i * Index(g.inner.extent);
        return CS_WIDE || CS_SLOT || i < Index(axis.n_out) ? i : Index(axis.n_out) - 1;
    }

#if CS_SLOT
    __device__ bool copies(int unit) const { return CS_GROWTH ? copied >> unit & 1 : unsigned(unit) < copied; }
#endif

#if CS_WINDOWS
    // The bytes of a channel, side by side.
    __device__ static void bytes_of(int channel, const unsigned (&window)[WORDS - 1], unsigned (&bytes)[(TAPS_W + 3) / 4]) {
#pragma unroll
        for (int i = 0; i < (TAPS_W + 3) / 4; ++i) {
            const unsigned* x = window + i * CHANNELS;  // four pixels
            bytes[i] = CHANNELS == 1 ? x[0] : __byte_perm(x[0], x[1], permutation(channel, false));
            if (CHANNELS > 1 && TAPS_W > 2) bytes[i] = __byte_perm(bytes[i], x[2], permutation(channel, true));
        }
    }
    // Of the bytes of a channel of four pixels, those of the first two words; then of the third, behind what is found.
    __device__ static constexpr unsigned permutation(int channel, bool third) {
        unsigned chosen = 0;
        for (int k = 0; k < 4; ++k) {
            const int at = channel + k * CHANNELS;
            chosen |= unsigned(third ? at < 8 ? k : at - 4 : at & 7) << 4 * k;
        }
        return chosen;
    }
#endif

    // A source row, filtered along W; `windows`: where it is read, there or in a slot.
    __device__ void filter(const Read* windows, const Element* __restrict__ row, Sum (&sums)[V]) const {
#if CS_GROWTH
        Unit units[CS_SLOT];
#pragma unroll
        for (int i = 0; i < CS_SLOT; ++i) units[i] = windows[i * APART];
#if CS_ARITHMETIC == CS_FIXED
        unsigned words[CS_SLOT * CS_UNIT / 4 + 1] = {};
        memcpy(words, units, sizeof units);
#pragma unroll
        for (int c = 0; c < V; ++c) sums[c] = w[c].sum(words, FIRST_READ + advance_of(c), axis.bits);
#else
        Element read[CS_SLOT * CS_UNIT / int(sizeof(Element))];
        memcpy(read, units, sizeof units);
        Sum x[PIXELS_READ];
#pragma unroll
        for (int i = 0; i < PIXELS_READ; ++i) x[i] = widen(read[FIRST_READ + i]);
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum pixels[TAPS_W];
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k) pixels[k] = x[advance_of(c) + k];
            sums[c] = w[c].sum(pixels, axis.bits);
        }
#if CS_ARITHMETIC == CS_FLOAT && CS_TAPS == 2
#pragma unroll
        for (int c = 0; c < AHEAD; ++c) sums[c] = hangs ? accumulate(0, x[TAPS_W], sums[c]) : sums[c];
#endif
#endif
#elif CS_WINDOWS
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) {
            unsigned words[WORDS], window[WORDS - 1], bytes[(TAPS_W + 3) / 4];
#pragma unroll
            for (int i = 0; i < WORDS; ++i) words[i] = ((const unsigned*)((const char*)windows + int(from[p])))[i * APART];
#pragma unroll
            for (int i = 0; i < WORDS - 1; ++i) window[i] = __byte_perm(words[i], words[i + 1], chosen[p]);
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                bytes_of(c, window, bytes);
                sums[p * CHANNELS + c] = w[p].sum(bytes, 0, axis.bits);
            }
        }
#else
        Vector x[TAPS_W];
#pragma unroll
        for (int c = 0; c < PIXELS; ++c) {
            const Element* from_here = moved(windows, from[c]);
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k, from_here = moved(from_here, pitch)) {
#if CS_WIDE
                x[k] = *(const Vector*)from_here;
#else
                x[k].e[c] = *from_here;
#endif
            }
        }
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum pixels[TAPS_W];
#pragma unroll
            for (int k = 0; k < TAPS_W; ++k) pixels[k] = widen(x[k].e[c]);
            sums[c] = w[CS_WIDE ? 0 : c].sum(pixels, axis.bits);
        }
#endif
#if CS_ARITHMETIC == CS_FLOAT
        bool number = true;
#pragma unroll
        for (int c = 0; c < V; c += 2) number &= sums[c] <= sums[(c + 1) % V] || sums[c] > sums[(c + 1) % V];
        if (cut && !number) without_neighbours(row, sums);
#else
        (void)row;
#endif
    }

#if CS_ARITHMETIC == CS_FLOAT
    // The sums that are no numbers again, tap by tap: a neighbour of the window that weighs 0 may be infinite.
    __device__ void without_neighbours(const Element* __restrict__ row, Sum (&sums)[V]) const {
#pragma unroll 1
        for (int c = 0; c < V; ++c) {
            Index channel;
            const Neighbours<TAPS_W>& window = Neighbours<TAPS_W>::of(axis, pixel_of(c, channel));
            const Element* x = moved(row, window.left * pitch + channel * Index(g.inner.source_stride) * Index(sizeof(Element)));
            x = moved(x, -begin);
            Sum sum = 0;
#pragma unroll 1
            for (int k = 0; k < TAPS_W + (CS_GROWTH && CS_TAPS == 2); ++k, x = moved(x, pitch))
                if (window.inside >> k & 1) sum = accumulate(k < TAPS_W ? window.w.of[k] : 0, widen(*x), sum);
#pragma unroll
            for (int e = 0; e < V; ++e) sums[e] = e == c && sums[e] != sums[e] ? sum : sums[e];
        }
    }
#endif

    // A source row in each plane of the window, filtered along W; floats along D too.
    template <typename At>
    __device__ void filter(const At& windows, const Element* __restrict__ row, const long long (&depths)[TAPS_D],
                           const Window<TAPS_D> (&windows_d)[CS_DEPTHS], Sum (&sums)[HELD][V]) const {
        Sum filtered[TAPS_D][V];
#pragma unroll
        for (int d = 0; d < TAPS_D; ++d) filter(windows(d), moved(row, depths[d]), filtered[d]);
#pragma unroll
        for (int c = 0; c < V; ++c) {
            Sum column[TAPS_D];
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) column[d] = filtered[d][c];
#pragma unroll
            for (int d = 0; d < HELD; ++d)
                sums[d][c] = TAPS_D > 1 && HELD == CS_DEPTHS ? sum_of(column, windows_d[d % CS_DEPTHS], 0) : column[d];
        }
    }

    // In a row of out that begins with the first element.
    __device__ void store(Element* __restrict__ row, const Sum (&sums)[V]) const {
        const Vector y = packed_together(sums);
        if (packed) {
            put((Vector*)row, y, g.streamed);
            return;
        }
#pragma unroll
        for (int c = 0; c < V; ++c)
            if (first + c * step < Index(axis.n_out) * Index(g.inner.extent)) *moved(row, c * apart) = y.e[c];
    }

#if CS_MEAN
    __device__ float pixels(int c) const {
        Sum total = 0;
#pragma unroll
        for (int k = 0; k < TAPS_W; ++k) total += w[CS_WIDE ? 0 : c].of[k];
        return float(total);
    }
#endif
};

// The depth, or the one nearest to it that there is, which is then made twice; alone, it is there.
__device__ inline Index within(Index depth, Index depths) {
    return CS_DEPTHS == 1 ? depth : depth < 0 ? 0 : depth < depths ? depth : depths - 1;
}

// The first and the last source row that row i of out reads.
__device__ inline Index first_row(const Axis& axis, Index i) {
    return CS_AXES == 1 ? i : Window<TAPS_H>::of(axis, i).left;
}
__device__ inline Index last_row(const Axis& axis, Index i) {
    if (CS_AXES == 1) return i;
    const auto window = Window<TAPS_H>::of(axis, i);
    return window.left + window.count - 1;
}

#if CS_SLOT
// A thread's parts of source rows, on their way to shared memory, where it alone reads them: STAGES rows at a time.
struct Ring {
    Unit* slots;       // of the thread
    Address address;   // of these
    Index next, last;  // the row to be copied next, and the last one of all
    unsigned stage;    // of the row to be read

    __device__ int at(int d) const { return int(stage) * OF_STAGE + d * OF_DEPTH; }
    __device__ const Unit* slot(int d) const { return slots + at(d); }
    __device__ void copy(const Elements& mine, const Element* __restrict__ x, long long stride, const long long (&depths)[TAPS_D]) {
        if (next <= last) {
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) {
                const Element* const row = moved(moved(x, next * stride), depths[d]);
#pragma unroll
                for (int i = 0; i < CS_SLOT; ++i)
                    if (mine.copies(i)) copy_ahead<false>(address + (at(d) + i * APART) * CS_UNIT, (const Unit*)row + i);
            }
            ++next;
        }
        commit_copies();  // also nothing, so that the row to be read is always STAGES commits back
        stage = (stage + 1) % STAGES;
    }
    __device__ void start(const Elements& mine, const Element* __restrict__ x, long long stride,
                          const long long (&depths)[TAPS_D]) {
#pragma unroll 1
        for (int s = 0; s < STAGES; ++s) {
#if CS_GROWTH
            if (mine.copied != (1u << CS_SLOT) - 1)  // what lies outside of the row weighs 0, and is no NaN
#pragma unroll
                for (int i = 0; i < CS_SLOT * TAPS_D; ++i) slots[at(0) + i * APART] = Unit{};
#endif
            copy(mine, x, stride, depths);
        }
    }
};
#endif

// Threads that a multiprocessor holds at least, in 2-D and of several depths: 384 where 128 registers a thread would spill on some
// architecture.
#if CS_TYPE == CS_UINT8 && __CUDA_ARCH__ != 900
constexpr int AT_LEAST = 384;
#else
constexpr int AT_LEAST = CS_TAPS == 8 && sizeof(Element) == 2 && !CS_WIDE && !CS_PITCH ? 384 : 512;
#endif
constexpr int RESIDENT = CS_AXES == 2 ? AT_LEAST : CS_DEPTHS == 1 ? CS_THREADS : sizeof(Element) == 2 ? 512 : 640;

extern "C" __global__ void __launch_bounds__(CS_THREADS, RESIDENT / CS_THREADS)
    CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out, const __grid_constant__ Geometry g) {
#if CS_SLOT
    __shared__ Unit slots[STAGES * OF_STAGE];
#endif
    const Axis &axis = g.axis[CS_AXES - 1], &axis_h = g.axis[CS_AXES > 1 ? CS_AXES - 2 : 0], &axis_d = g.axis[0];
    const Batch rows_h = {axis_h.n_out, axis_h.source_stride, axis_h.out_stride};
    const Batch rows = CS_AXES > 1 ? rows_h : g.outer[1], planes = CS_AXES > 1 ? g.outer[1] : ONE;
    const int row_stride = int(rows.source_stride) * int(sizeof(Element));
    const Run height(Index(rows.extent), g.runs_h, gridDim.y, blockIdx.y);
    const Index depths_out = CS_AXES > 2 ? Index(axis_d.n_out) : 1;
    const long long depth_stride = CS_AXES > 2 ? axis_d.out_stride : 0;
    const unsigned layers = CS_AXES > 2 ? blockDim.z : 1, layer = CS_AXES > 2 ? threadIdx.z : 0;
    const Run depth(depths_out / CS_DEPTHS + CS_DEPTHS / 2, g.runs_d, gridDim.z * layers, blockIdx.z * layers + layer);
    if (height.begin >= height.end) return;  // more blocks than runs
    const unsigned total = unsigned(g.parts) * unsigned(planes.extent) * unsigned(g.outer[0].extent);

    for (unsigned t = blockIdx.x * blockDim.x + threadIdx.x; t < total; t += gridDim.x * blockDim.x) {
        // Where elements are gathered a division: behind a product ptxas has so much on its way to registers that it spills.
        const unsigned plane = t / g.parts;
        const unsigned outer = CS_WIDE || CS_SLOT ? plane / planes.extent : plane / unsigned(planes.extent);
        const long long p0 = outer, p1 = plane - outer * unsigned(planes.extent);
#if CS_SLOT
        // Asked of H's table before W's is: an answer takes long.
        const Index first = first_row(axis_h, height.begin), last = last_row(axis_h, height.end - 1);
#endif
        const Elements mine(g, axis, Index(t - plane * unsigned(g.parts)));
        const Element* const x = moved(source + p0 * g.outer[0].source_stride + p1 * planes.source_stride, mine.begin);
        Element* const y = moved(out + p0 * g.outer[0].out_stride + p1 * planes.out_stride, mine.out);

        for (Index z = depth.begin; z < depth.end; ++z) {
            Index deep[CS_DEPTHS];  // of out
            Window<TAPS_D> windows_d[CS_DEPTHS];
#pragma unroll
            for (int o = 0; o < CS_DEPTHS; ++o) {
                deep[o] = within(z * CS_DEPTHS - CS_DEPTHS / 2 + o, depths_out);
                windows_d[o] = CS_AXES > 2 ? Window<TAPS_D>::of(axis_d, deep[o]) : Window<TAPS_D>::whole(0);
            }
            long long depths[TAPS_D];  // bytes
#pragma unroll
            for (int d = 0; d < TAPS_D; ++d) depths[d] = CS_AXES > 2 ? bytes(windows_d[0].at(d) * axis_d.source_stride) : 0;
#if CS_ARITHMETIC == CS_FLOAT && CS_AXES > 2
#pragma unroll
            for (int o = 0; o < CS_DEPTHS; ++o) windows_d[o].share();
#endif
            Column<TAPS_H> held[HELD][V] = {};
#if CS_MEAN
            float pixels[PIXELS];
#pragma unroll
            for (int c = 0; c < PIXELS; ++c) pixels[c] = mine.pixels(c);
#endif
#if CS_SLOT
            Unit* const units = slots + (layer * blockDim.x + threadIdx.x) * (ASIDE ? 1 : OF_STAGE / CS_THREADS);
            Ring ring = {units, address_of(units), first, last, 0};
            ring.start(mine, x, row_stride, depths);
#endif
            Index newest = -1;  // source row, the last in `held`
            Element* to = moved(y, bytes(height.begin * rows.out_stride + deep[0] * depth_stride));
            for (Index r = height.begin; r < height.end; ++r, to = moved(to, bytes(rows.out_stride))) {
                const auto window_h = CS_AXES > 1 ? Window<TAPS_H>::of(axis_h, r) : Window<TAPS_H>::whole(r);
                const Index lowest = window_h.left + window_h.count - 1;
                newest = newest < window_h.left - 1 ? window_h.left - 1 : newest;  // no window has the rows between
#pragma unroll 1
                while (newest < lowest) {
                    ++newest;
                    const Element* const row = moved(x, (long long)newest * row_stride);
                    Sum sums[HELD][V];
#if CS_SLOT
                    wait_for_copies<STAGES - 1>();
                    mine.filter([&](int d) { return (const Read*)ring.slot(d); }, row, depths, windows_d, sums);
                    ring.copy(mine, x, row_stride, depths);
#else
                    mine.filter([&](int d) { return moved(row, depths[d]); }, row, depths, windows_d, sums);
#endif
#pragma unroll
                    for (int d = 0; d < HELD; ++d) push(held[d], sums[d]);
                }
                if (window_h.count < TAPS_H)
#pragma unroll
                    for (int d = 0; d < HELD; ++d)
#pragma unroll
                        for (int c = 0; c < V; ++c) held[d][c].forget(TAPS_H - window_h.count);
#if CS_MEAN
                const float above = float(window_h.count * windows_d[0].count);
#endif
#pragma unroll
                for (int o = 0; o < CS_DEPTHS; ++o) {
                    Sum sums[V];
#pragma unroll
                    for (int c = 0; c < V; ++c) {
                        Sum column[TAPS_D];
#pragma unroll
                        for (int d = 0; d < HELD; ++d) column[d] = held[d][c].sum(window_h, axis_h.bits);
                        sums[c] = HELD > CS_DEPTHS ? sum_of(column, windows_d[0], axis_d.bits) : column[o];
#if CS_MEAN
                        sums[c] = mean_of_few(sums[c], pixels[CS_WIDE ? 0 : c] * above);
#endif
                    }
                    mine.store(moved(to, bytes((deep[o] - deep[0]) * depth_stride)), sums);
                }
            }
        }
    }
}
