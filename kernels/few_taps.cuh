// few_taps.cuh: what a thread of few_taps.cu has at once: elements of a row of out, stored as one vector, and units of a slot.
#pragma once

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
